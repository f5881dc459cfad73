"""Networks over windows: the published outputs and entries, two parts, one sample, tables that learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nbpkg.errors import SettingsError, StageError
from nbpkg.models.looking.backbone import SmallFaceEncoder, hold_statistics
from nbpkg.models.looking.build import build_face_encoder, build_window_network, make_window_network
from nbpkg.models.looking.hopenet import Hopenet, load_hopenet, to_degrees
from nbpkg.models.looking.lstm_heads import Gaze360Lstm, angles_to_vectors
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.models.looking.position import place_sines
from nbpkg.models.looking.priors import quantise_landmarks
from nbpkg.models.looking.window import WindowPriors

PUBLISHED = WindowNetworkOptions()
POSES = {
    "head_landmark": PUBLISHED,
    "head_only": replace(PUBLISHED, landmarks=False),
    "landmark_only": replace(PUBLISHED, head=False),
    "none": replace(PUBLISHED, head=False, landmarks=False),
    "head_landmark_split5_dsplit05": replace(PUBLISHED, split=5, dsplit=0.5, csplit=0.25),
    "small": replace(PUBLISHED, dmodel=64, feedforward=96, encoder_layers=2, decoder_layers=1),
}
TINY = WindowNetworkOptions(
    encoder="small", hidden=8, dmodel=16, feedforward=16, heads=4, encoder_layers=1, decoder_layers=1, dropout=0.0
)
NAMES = ("gazepose", "gaze_lstm", "gaze_lstm_lam", "baseline_lstm")


def entries(network):
    return {key: [list(item.shape), str(item.dtype)[6:]] for key, item in network.state_dict().items()}


def draw(batch, *, seed=0, size=48):
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(batch, 7, 3, size, size, generator=generator)
    rows = torch.randint(0, 11, (batch, 8, 2), generator=generator)
    return clips, WindowPriors(rows[:, :3, 0], rows[:, 3:])


def expected_entries(case):
    found = [(f"GazePose_{name}", "gazepose", options) for name, options in POSES.items()]
    golden = case.json("state_dict_gazepose")
    yield from ((golden[key], make_window_network(name, options)) for key, name, options in found)
    yield golden["GazeLSTM"], make_window_network("gaze_lstm", PUBLISHED)
    lam = case.json("state_dict_lam")
    yield lam["BaselineLSTM"], make_window_network("baseline_lstm", PUBLISHED)
    yield lam["GazeLSTM"], make_window_network("gaze_lstm_lam", PUBLISHED)
    yield case.json("state_dict_gaze360")["GazeLSTM"], Gaze360Lstm()
    yield case.json("state_dict_hopenet")["Hopenet"], Hopenet()


def test_entries_are_the_published_ones_in_their_order(case):
    seen = 0
    with torch.device("meta"):
        for golden, network in expected_entries(case):
            assert list(entries(network).items()) == list(golden.items())
            seen += len(golden)
    assert seen == 338 + 337 + 336 + 335 + 338 + 200 + 142 + 144 + 144 + 142 + 326


@pytest.mark.parametrize("name", POSES)
def test_gazepose_outputs_are_the_published_ones(case, encoded, name):
    golden, options = case.arrays("model_gazepose_open"), POSES[name]
    network = case.filled(make_window_network("gazepose", options))
    features, maps = encoded
    head = torch.from_numpy(golden[f"{name}/head_index"])
    rows = quantise_landmarks(golden[f"{name}/head2D"], options.dsplit, csplit=options.csplit, compat="reference")
    seen = {}
    for part in ("input_proj", "transformer.encoder", "transformer", "lstm", "fusion_layer"):
        network.get_submodule(part).register_forward_hook(lambda _m, _i, out, part=part: seen.update({part: out}))
    with torch.inference_mode():
        logits = network.decide(features, maps[:, 3], head, torch.from_numpy(rows))
        query = network.ask(3, head, torch.from_numpy(rows))
    mine = {
        "logits": logits,
        "prob1": logits.softmax(1)[:, 1],
        "frame_features_0_3": features[0, 3, :32],
        "lstm_mid_0": seen["lstm"][0][0, 3, ::16],
        "src_0_every8ch_centre": seen["input_proj"][0, ::8, 3, 3],
        "query_0_every16": query[0, :, ::16],
        "memory_0_every8ch_centre": seen["transformer.encoder"][0, 24, ::8],
        "hs_0_every16": seen["transformer"][0, :, ::16],
        "fusion_0_every16": seen["fusion_layer"][0, ::16],
    }
    for key, found in mine.items():
        np.testing.assert_allclose(found, golden[f"{name}/{key}"], rtol=0, atol=1e-4, err_msg=key)


def test_places_are_described_as_published(case):
    golden = case.arrays("model_gazepose_open")["pos_embed_every32"]
    np.testing.assert_allclose(place_sines(7, 7, 512)[::32], golden, rtol=0, atol=1e-4)


def test_lstm_networks_give_the_published_logits(case, encoded):
    lam = case.arrays("model_lam_open")
    expected = {
        "gaze_lstm": case.arrays("model_gazepose_open")["GazeLSTM/logits"],
        "baseline_lstm": lam["BaselineLSTM/logits"],
        "gaze_lstm_lam": lam["GazeLSTM/logits"],
    }
    features = {3: encoded[0]}
    shared = case.filled(make_window_network("gaze_lstm", PUBLISHED))
    with torch.inference_mode():
        features[2] = shared.encode(case.pictures(101, 2, 7, 3, 14, 14).flatten(0, 1))[0].reshape(2, 7, -1)
        for name, golden in expected.items():
            network = case.filled(make_window_network(name, PUBLISHED))
            np.testing.assert_allclose(network.decide(features[len(golden)]), golden, rtol=0, atol=1e-4)


def test_gaze360_gives_the_published_angles(case):
    golden = case.arrays("model_gaze360_open")
    with torch.inference_mode():
        angles, spread = case.filled(Gaze360Lstm())(case.pictures(101, 2, 7, 3, 14, 14))
    np.testing.assert_allclose(angles, golden["angles"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(spread, golden["var"], rtol=0, atol=1e-4)


def test_hopenet_gives_the_published_degrees(case, tmp_path):
    golden = case.arrays("model_hopenet_open")
    filled = case.filled(Hopenet())
    path = tmp_path / "hopenet_robust_alpha1.pkl"
    # As in 2017: no counters of batches, and torch's first format.
    state = {key: item for key, item in filled.state_dict().items() if not key.endswith("batches_tracked")}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with torch.inference_mode():
        scores = load_hopenet(path)(case.pictures(101, 3, 3, 14, 14))
    for name, found in scores._asdict().items():
        np.testing.assert_allclose(found, golden[f"logits_{name}"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(to_degrees(scores), golden["yaw_pitch_roll_deg"], rtol=0, atol=1e-2)


def test_directions_become_the_published_vectors(case):
    golden = case.json("spherical_open")
    vectors = angles_to_vectors(torch.tensor(golden["azimuth_elevation_rad"]))
    np.testing.assert_allclose(vectors, golden["xyz"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(vectors.norm(dim=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_windows_that_share_crops_get_the_scores_of_each_by_itself(name):
    network = build_window_network(name, options=TINY, seed=3)
    clips, priors = draw(3)
    film = clips.flatten(0, 1)
    windows = torch.stack([film[start : start + 7] for start in (0, 3, 6, 9)])
    rows = WindowPriors(*(item[[0, 1, 2, 0]] for item in priors))
    features, maps = network.encode(film)
    shared = torch.stack([features[start : start + 7] for start in (0, 3, 6, 9)])
    centre = maps[[3, 6, 9, 12]]
    scores = network.decide(shared, centre, *rows)
    torch.testing.assert_close(scores, network(windows, *rows), rtol=0, atol=1e-5)
    assert not torch.allclose(scores[0], scores[1], atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_is_a_batch_and_gets_the_same_scores(name):
    network = build_window_network(name, options=TINY, seed=3).eval()
    clips, priors = draw(3)
    alone = network(clips[:1], *(item[:1] for item in priors))
    assert alone.shape == (1, 2)
    torch.testing.assert_close(alone, network(clips, *priors)[:1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("train_tables", [True, False])
def test_tables_of_landmarks_learn_unless_told_otherwise(train_tables):
    network = build_window_network("gazepose", options=replace(TINY, train_tables=train_tables), seed=1)
    clips, priors = draw(2)
    before = {key: item.clone() for key, item in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    torch.nn.functional.cross_entropy(network(clips, *priors), torch.tensor([0, 1])).backward()
    optimiser.step()
    same = {key for key, item in network.state_dict().items() if torch.equal(item, before[key])}
    assert same == (set() if train_tables else {"joint_embed.weight", "c_embed.weight"})


def test_poses_beyond_the_table_count_as_its_last_row():
    network = build_window_network("gazepose", options=TINY, seed=1).eval()
    clips, (_, landmarks) = draw(1)
    beyond, last = (network(clips, torch.tensor([[row, 5, 7]]), landmarks) for row in (98, 90))
    assert torch.equal(beyond, last)


@pytest.mark.parametrize("given", ["maps", "head", "landmarks"])
def test_what_gazepose_looks_at_has_to_be_given(given):
    network = build_window_network("gazepose", options=TINY, seed=1)
    clips, priors = draw(1)
    features, maps = network.encode(clips[0])
    inputs = {"maps": maps[3:4], "head": priors.head, "landmarks": priors.landmarks, given: None}
    with pytest.raises(StageError, match="asked without"):
        network.decide(features[None], *inputs.values())


def test_priors_that_are_off_are_not_looked_at():
    network = build_window_network("gazepose", options=replace(TINY, head=False, landmarks=False), seed=1).eval()
    clips, priors = draw(2)
    assert (network.uses_maps, network.uses_head, network.uses_landmarks) == (True, False, False)
    assert torch.equal(network(clips, *priors), network(clips))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_weights_and_torchs_own_generator_stays(name):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, same, other = (build_window_network(name, options=TINY, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(item, same[key]) for key, item in first.items())
    assert not torch.equal(first["base_model.fc.weight"], other["base_model.fc.weight"])


def test_beginnings_are_as_published():
    network = build_window_network("gazepose", options=replace(PUBLISHED, encoder_layers=1, decoder_layers=1), seed=0)
    state = network.state_dict()
    deviations = {key: state[key].std().item() for key in ("headpos_emeb", "yaw_embed.weight", "joint_embed.weight")}
    assert deviations == pytest.approx(dict.fromkeys(deviations, 1.0), abs=0.05)
    linear = state["transformer.encoder.layers.0.linear1.weight"]
    assert linear.abs().max().item() == pytest.approx((6 / (512 + 2048)) ** 0.5, rel=1e-3)
    convolution = state["base_model.layer2.0.conv1.weight"]
    assert convolution.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert torch.equal(state["base_model.bn1.weight"], torch.ones(64))


def test_held_statistics_do_not_change_in_training():
    encoder = build_face_encoder("resnet18", seed=0).train()
    hold_statistics(encoder)
    before = encoder.bn1.running_mean.clone()
    encoder(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(encoder.bn1.running_mean, before)
    encoder.train()
    encoder(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert not torch.equal(encoder.bn1.running_mean, before)


def test_the_small_network_has_the_sizes_asked_for_and_ignores_light():
    torch.manual_seed(0)
    encoder = SmallFaceEncoder((8, 12), features=20)
    crops = torch.rand(2, 3, 50, 46, generator=torch.Generator().manual_seed(1))
    features, maps = encoder(crops)
    assert features.shape == (2, encoder.features) == (2, 20)
    assert maps.shape == (2, encoder.map_channels, 13, 12) == (2, 12, 13, 12)
    torch.testing.assert_close(encoder(0.5 * crops + 0.3)[0], features, rtol=0, atol=0.02)
    assert encoder(torch.zeros(1, 3, 48, 48))[0].isfinite().all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hidden": 1, "split": 0}, r"hidden is 1(.|\n)*split is 0"),
        ({"dmodel": 20}, "dmodel is 20"),
        ({"decoder_layers": 0}, "decoder_layers is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
        ({"encoder": "resnet50"}, "resnet50"),
    ],
)
def test_sizes_out_of_range_are_refused_together(change, match):
    with pytest.raises(SettingsError, match=match):
        replace(PUBLISHED, **change)


def test_an_unknown_network_is_refused():
    with pytest.raises(SettingsError, match="no network over windows 'GazePose'"):
        build_window_network("GazePose", seed=0)
    with pytest.raises(SettingsError, match="no network of faces 'resnet50'"):
        build_face_encoder("resnet50", seed=0)
