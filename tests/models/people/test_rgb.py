"""Classifiers of clips: views, options, norms, relations, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nbpkg.errors import SettingsError
from nbpkg.models.encoders import ENCODERS
from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import RGB_NETWORKS, RgbOptions, find_rgb_network
from nbpkg.models.people.rgb.networks import SegmentNetwork
from nbpkg.models.people.rgb.relations import as_reference, choose_at_random, choose_evenly, choose_relations
from nbpkg.models.people.rgb.resnet2d import shift_channels
from nbpkg.models.people.rgb.views import average_views, score_views

THIN = RgbOptions(width=8, blocks=(1, 1, 1, 1))
# Each family at a size that trains in a moment, with a clip (or the frames of one) that it takes.
TINY = {
    "i3d_r50": (THIN, (3, 8, 32, 32)),
    "slowfast_r50_4x16": (THIN, (3, 16, 32, 32)),
    "slowonly_r50_4x16": (THIN, (3, 2, 32, 32)),
    "r2plus1d_r34": (THIN, (3, 4, 32, 32)),
    "ircsn_r50": (THIN, (3, 8, 32, 32)),
    "x3d_m": (THIN, (3, 4, 32, 32)),
    "c3d": (RgbOptions(width=4), (3, 16, 40, 56)),
    "timesformer_joint": (RgbOptions(width=2, blocks=(2,), frames=3, size=32), (3, 3, 32, 32)),
    "timesformer_divided": (RgbOptions(width=2, blocks=(2,), frames=3, size=32), (3, 3, 32, 32)),
    "tsn_r50": (THIN, (5, 3, 32, 32)),
    "tsm_r50": (RgbOptions(width=8, blocks=(1, 1, 1, 1), segments=4), (4, 3, 32, 32)),
    "trn_r50": (RgbOptions(width=8, blocks=(1, 1, 1, 1), segments=4), (4, 3, 32, 32)),
    "posec3d_custom": (RgbOptions(width=8, blocks=(1, 1, 1), channels=5), (5, 4, 16, 16)),
    "posec3d_custom2": (RgbOptions(width=8, blocks=(1, 1, 1)), (17, 4, 16, 16)),
    "small": (None, (3, 4, 24, 24)),
    "r2plus1d_18": (RgbOptions(frames=4, size=32), (3, 4, 32, 32)),
}


def build(name: str, **more):
    options, shape = TINY[name]
    return build_rgb_network(name, classes=4, options=options, **more), shape


@pytest.fixture(scope="module")
def i3d():
    return build("i3d_r50", seed=3)[0]


def test_every_network_is_tried_or_is_torchvisions():
    assert set(RGB_NETWORKS) - set(TINY) <= set(ENCODERS)


@pytest.mark.parametrize("name", TINY)
def test_a_step_of_training_moves_every_weight_of_each_family(name):
    network, shape = build(name)
    frozen = {key for key, item in network.named_parameters() if not item.requires_grad}
    assert bool(frozen) == (name == "ircsn_r50")
    torch.manual_seed(0)
    clips = torch.randn(2, *shape)
    with torch.no_grad():
        features, scores = network.features(clips), network(clips)
    assert features.ndim == 2
    assert scores.shape == (2, 4)
    last = [layer for layer in network.cls_head.modules() if isinstance(layer, nn.Linear)][-1]
    assert last.out_features == 4
    # What begins as nothing hides what stands before it; a divided TimeSformer begins without time.
    for item in network.parameters():
        if not item.any():
            nn.init.normal_(item, std=0.1)
    network.train()
    network(clips).square().sum().backward()
    still = {key for key, item in network.named_parameters() if item.grad is None or not item.grad.any()}
    assert still - {"backbone.transformer_layers.layers.0.attentions.0.attn.in_proj_bias"} == frozen


def test_torchvisions_networks_are_their_encoders_with_a_head():
    network, shape = build("r2plus1d_18", seed=5)
    clips = torch.randn(1, *shape)
    with torch.no_grad():
        features = network.features(clips)
        assert torch.equal(features, network.backbone(clips))
        assert torch.equal(network(clips), network.cls_head.fc_cls(features))
    assert features.shape == (1, ENCODERS["r2plus1d_18"].features)
    facts = RGB_NETWORKS["mvit_v2_s"]
    assert (facts.size, facts.frames) == (224, 16)
    assert facts.mean == pytest.approx((114.75,) * 3)
    with pytest.raises(SettingsError, match="cannot take clips of 8 frames"):
        build_rgb_network("mvit_v2_s", classes=3, options=RgbOptions(frames=8))


@pytest.mark.parametrize("name", ["torchvision.mobilenet_v3_small", "timm.resnet10t"])
def test_networks_of_pictures_become_classifiers_over_frames(name):
    network = build_rgb_network(name, classes=3)
    clips = torch.randn(2, 3, 3, 64, 64)
    with torch.no_grad():
        frames = network.backbone(clips.flatten(0, 1)).unflatten(0, (2, 3))
        torch.testing.assert_close(network.features(clips), frames.mean(dim=1))
        assert network(clips).shape == (2, 3)


def test_a_network_of_pictures_that_does_not_pool_says_so():
    network = build_rgb_network("torchvision.squeezenet1_1", classes=3)
    with pytest.raises(SettingsError, match=r"features of frames of \[64, 64\] pixels"):
        network(torch.zeros(1, 1, 3, 64, 64))


@pytest.mark.parametrize("name", ["torchvision.nothing", "timm.nothing", "mmcls.ResNet", "i3d"])
def test_unknown_names_are_refused_with_those_there_are(name):
    with pytest.raises(SettingsError, match=r"no (network of pictures|classifier)"):
        build_rgb_network(name, classes=3)


def test_weights_follow_from_the_seed_and_leave_torchs_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (build("slowonly_r50_4x16", seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    key = "backbone.layer3.0.conv2.conv.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


def test_first_weights_are_the_published_kind():
    slow, csn = build("slowonly_r50_4x16")[0], build("ircsn_r50")[0]
    assert not slow.backbone.layer2[0].conv3.bn.weight.any()
    assert csn.backbone.layer2[0].conv3.bn.weight.all()
    weight = slow.backbone.conv1.conv.weight
    assert float(weight.detach().std()) == pytest.approx((2 / (8 * 49)) ** 0.5, rel=0.1)
    assert not slow.cls_head.fc_cls.bias.any()
    assert float(build("timesformer_joint")[0].cls_head.fc_cls.weight.detach().std()) == pytest.approx(0.02, rel=0.3)


# Views


def test_views_are_averaged_by_each_rule():
    scores = torch.tensor([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 9.0], [0.0, 1.0, 0.0]])
    assert torch.equal(average_views(scores, 2, None), scores)
    torch.testing.assert_close(average_views(scores, 2, "score")[0], torch.tensor([2.0, 1.0, 0.0]))
    probable = average_views(scores, 2, "prob")
    torch.testing.assert_close(probable[1], (scores[2].softmax(0) + scores[3].softmax(0)) / 2)
    torch.testing.assert_close(probable.sum(dim=1), torch.ones(2))
    with pytest.raises(SettingsError, match="no averaging 'mean'"):
        average_views(scores, 2, "mean")
    with pytest.raises(SettingsError, match="4 rows of scores do not divide into 3"):
        average_views(scores, 3, "prob")


@pytest.mark.parametrize("how", ["prob", "score", None])
def test_views_in_chunks_give_the_same(i3d, how):
    torch.manual_seed(1)
    clips = torch.randn(2, 3, 3, 8, 32, 32)
    with torch.no_grad():
        whole = score_views(i3d, clips, how=how, at_once=6)
        assert whole.shape == ((6, 4) if how is None else (2, 4))
        assert whole.std() > 1e-6
        for at_once in (1, 4):
            torch.testing.assert_close(score_views(i3d, clips, how=how, at_once=at_once), whole, rtol=1e-5, atol=1e-7)
        low = score_views(i3d, clips, how=how, precision="bfloat16")
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, whole, rtol=0, atol=0.02)
    assert not torch.equal(low, whole)


def test_views_need_their_axis_and_a_network_at_rest(i3d):
    with pytest.raises(SettingsError, match="cannot be scored 10 at a time"):
        score_views(i3d, torch.zeros(2, 3, 8, 32, 32), how="prob")
    with pytest.raises(SettingsError, match="by a network in training"):
        score_views(build("i3d_r50")[0].train(), torch.zeros(1, 1, 3, 8, 32, 32), how="prob")


def test_frames_beyond_the_segments_are_further_views():
    network, shape = build("tsm_r50")
    torch.manual_seed(2)
    clips = torch.randn(1, 2 * shape[0], *shape[1:])
    with torch.no_grad():
        both = network(clips)
        apart = torch.cat([network(clips[:, :4]), network(clips[:, 4:])])
        torch.testing.assert_close(both, apart)
        nested = clips.unflatten(1, (2, 4))
        torch.testing.assert_close(score_views(network, nested, how="score"), apart.mean(dim=0, keepdim=True))
    with pytest.raises(SettingsError, match="a multiple of 4"):
        network(clips[:, :6])


# Shapes and options


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("i3d_r50", (1, 3, 4, 32, 32), "at least 5"),
        ("i3d_r50", (1, 5, 8, 32, 32), r"Clips \[B, 3, T, H, W\]"),
        ("slowfast_r50_4x16", (1, 3, 12, 32, 32), "a multiple of 8"),
        ("c3d", (1, 3, 8, 40, 56), "at least 16"),
        ("timesformer_joint", (1, 3, 4, 32, 32), "3 frames of 32 × 32"),
        ("timesformer_divided", (1, 3, 3, 48, 32), "3 frames of 32 × 32"),
        ("posec3d_custom", (1, 17, 4, 16, 16), r"Clips \[B, 5, T, H, W\]"),
        ("tsn_r50", (1, 3, 5, 32, 32), r"Clips \[B, S, 3, H, W\]"),
    ],
)
def test_clips_of_another_shape_are_refused(name, shape, message):
    network, _ = build(name)
    with pytest.raises(SettingsError, match=message):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("c3d", RgbOptions(blocks=(1, 1)), "c3d has no blocks to choose"),
        ("i3d_r50", RgbOptions(segments=8), "i3d_r50 has no segments to choose"),
        ("i3d_r50", RgbOptions(blocks=(1, 1)), "4 of blocks"),
        ("i3d_r50", RgbOptions(width=0), "width 0"),
        ("slowfast_r50_4x16", RgbOptions(width=12), "a multiple of 8"),
        ("x3d_m", RgbOptions(dropout=1.0), "dropout under 1"),
        ("trn_r50", RgbOptions(width=8, segments=1), "at least 2 segments"),
        ("tsm_r50", RgbOptions(segments=0), "segments 0"),
        ("timesformer_joint", RgbOptions(size=100), "do not divide into patches"),
        ("timesformer_joint", RgbOptions(size=(32, 64)), "takes squares"),
        ("c3d", RgbOptions(width=1, size=(8, 112)), "C3D cannot take clips of 16 frames of 8 × 112"),
    ],
)
def test_options_that_make_no_network_are_refused(name, options, message):
    with pytest.raises(SettingsError, match=message):
        build_rgb_network(name, classes=3, options=options)


def test_weights_by_name_are_for_torchvisions_networks_only():
    with pytest.raises(SettingsError, match="takes no weights when it is built"):
        build_rgb_network("i3d_r50", classes=3, weights="KINETICS400_V1")
    with pytest.raises(SettingsError, match="mc3_18 has no weights"):
        build_rgb_network("mc3_18", classes=3, weights="SPORTS1M")


def test_c3d_takes_any_size_unless_made_for_one():
    free, fixed = (
        build_rgb_network("c3d", classes=3, options=RgbOptions(width=2, size=size)) for size in (None, (112, 112))
    )
    fixed.load_state_dict(free.state_dict())  # the published first wide layer fits both
    torch.manual_seed(0)
    clip = torch.randn(1, 3, 16, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(free(clip), fixed(clip))
        assert free(torch.randn(1, 3, 20, 64, 80)).shape == (1, 3)
        with pytest.raises(SettingsError, match=r"16 frames of 128 × 128 .*\n.*\(112, 112\)"):
            fixed(torch.randn(1, 3, 16, 128, 128))


# Norms


@pytest.mark.parametrize(("norms", "moving"), [("trained", "all"), ("frozen", "none"), ("first_trained", "first")])
def test_norms_are_held_through_training(norms, moving):
    options = RgbOptions(width=8, blocks=(1, 1, 1, 1), norms=norms)
    network = build_rgb_network("tsn_r50", classes=3, options=options)
    means = {key: item.clone() for key, item in network.named_buffers() if key.endswith("running_mean")}
    network.train()
    network(torch.randn(2, 3, 3, 32, 32)).sum().backward()
    moved = [key for key, item in means.items() if not torch.equal(network.get_buffer(key), item)]
    assert moved == {"all": list(means), "none": [], "first": [next(iter(means))]}[moving]
    learnt = [item.requires_grad for key, item in network.named_parameters() if ".bn." in key]
    assert set(learnt) == {norms != "frozen"}
    assert network.cls_head.training


# Segments


def test_channels_are_shifted_between_the_frames_of_one_clip():
    maps = torch.arange(2 * 3 * 16, dtype=torch.float32).reshape(6, 16, 1, 1)
    shifted = shift_channels(maps, 3)[:, :, 0, 0]
    flat = maps[:, :, 0, 0]
    for clip in (0, 3):
        assert torch.equal(shifted[clip : clip + 2, :2], flat[clip + 1 : clip + 3, :2])
        assert torch.equal(shifted[clip + 1 : clip + 3, 2:4], flat[clip : clip + 2, 2:4])
        assert not shifted[clip + 2, :2].any()
        assert not shifted[clip, 2:4].any()
    assert torch.equal(shifted[:, 4:], flat[:, 4:])


def test_answers_about_relations_do_not_depend_on_chance():
    network, shape = build("trn_r50")
    torch.manual_seed(0)
    clips = torch.randn(1, *shape)
    with torch.no_grad():
        first, again = network(clips), network(clips)
        assert torch.equal(first, again)
        network.cls_head.at_test = choose_relations(4, as_reference(np.random.RandomState(3)))
        assert not torch.equal(network(clips), first)


def test_relations_are_in_order_and_at_most_three_of_a_scale():
    for choose in (choose_evenly, choose_at_random, as_reference(np.random.RandomState(1))):
        chosen = choose_relations(6, choose)
        assert [len(relations) for relations in chosen] == [1, 3, 3, 3, 3]
        for scale, relations in zip(range(6, 1, -1), chosen, strict=True):
            assert len(set(relations)) == len(relations)
            assert all(len(relation) == scale and list(relation) == sorted(relation) for relation in relations)
    assert choose_evenly(28, 3) == [0, 13, 27]
    with pytest.raises(SettingsError, match="at least 2 segments"):
        build_rgb_network("trn_r50", classes=3, options=RgbOptions(width=8, segments=1))


def test_segments_are_told_apart_by_layout():
    for name in TINY:
        network, _ = build(name)
        assert isinstance(network, SegmentNetwork) == (find_rgb_network(name).layout == "segments")
