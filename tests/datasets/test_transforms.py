"""Random changes of clips, against the published ones and by what they promise."""

from __future__ import annotations

import json
import pickle
import random

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from nbpkg.datasets import reference
from nbpkg.datasets import transforms as tr
from nbpkg.errors import MediaError, SettingsError

PYTHON = reference.PythonDraws()


@pytest.fixture(scope="module")
def vectors(golden):
    with np.load(golden / "transforms_open.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def facts(golden):
    return json.loads((golden / "transforms_open.json").read_text())


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


CASES = {
    "adjust_values_fixed": tr.AdjustValues((0.1, 0.1), (1.2, 1.2)),
    "adjust_color_fixed": tr.AdjustColorChannels((0.1, 0.1), (1.2, 1.2)),
    "length_central_4": tr.AdjustLengthCentral((4, 4)),
    "length_central_5": tr.AdjustLengthCentral((5, 5)),
    "length_keep_longer": tr.AdjustLength((60, 60)),
    "length_central_keep8_bug": reference.DefectiveLengthCentral((8, 8)),
    "length_central_keep9_bug": reference.DefectiveLengthCentral((9, 9)),
    "adjust_values": tr.AdjustValues((-0.15, 0.15), (0.75, 1.25), PYTHON),
    "adjust_color": tr.AdjustColorChannels((-0.1, 0.1), (0.8, 1.2)),
    "normal_noise": tr.NormalNoise((0.01, 0.03), PYTHON),
    "adjust_length": tr.AdjustLength((4, 6), PYTHON),
    "block_region": tr.BlockRegion((0.2, 0.6), PYTHON),
    "temporal_downsample": tr.TemporalDownsample((2, 4), PYTHON),
    "salt_pepper": tr.SaltPepperNoise((0.01, 0.1), (0.01, 0.1), PYTHON),
    "gaussian_blur5_sigma": tr.v2.GaussianBlur(5, sigma=(1.3, 1.3)),
    "center_crop10": tr.evaluation_pipeline(10),
}


class TestGolden:
    @pytest.mark.parametrize("name", CASES)
    def test_published_results_come_back(self, vectors, facts, name):
        seed = facts.get(name, {}).get("seed", 0)
        random.seed(seed)
        torch.manual_seed(seed)
        close(CASES[name](vectors["x"]), vectors[name])

    def test_central_crop_pads_with_zeros(self, vectors):
        close(tr.evaluation_pipeline(20)(vectors["x"][:, :1]), vectors["center_crop20_pads"])

    def test_library_functions_that_the_pipeline_uses_agree(self, vectors, facts):
        x, box = vectors["x"], facts["resized_crop"]["top_left_height_width"]
        angle = facts["rotate_bilinear"]["angle"]
        close(F.rotate(x, angle, interpolation=InterpolationMode.BILINEAR), vectors["rotate_bilinear"])
        for name, antialias in (("resized_crop_noaa", False), ("resized_crop_aa", True)):
            close(F.resized_crop(x, *box, facts["resized_crop"]["size"], antialias=antialias), vectors[name])

    def test_published_pipelines_give_the_published_shapes(self, facts):
        clip = torch.rand(3, 15, 160, 288)
        assert list(reference.published_train_pipeline()(clip).shape) == facts["default_train_shape"]
        assert list(reference.published_test_pipeline()(clip).shape) == facts["default_test_shape"]
        assert torch.equal(reference.published_test_pipeline(flip=False)(clip), clip[..., 64:224])
        for pipeline in (reference.published_train_pipeline(), reference.published_test_pipeline()):
            with pytest.raises(MediaError, match="288 x 150 pixels"):
                pipeline(clip[..., :150, :])


OURS = [transform for name, transform in CASES.items() if "bug" not in name] + [
    tr.AdjustValues((-0.15, 0.15), (0.75, 1.25)),
    tr.NormalNoise((0.01, 0.03)),
    tr.AdjustLength((4, 6)),
    tr.BlockRegion((0.2, 0.6)),
    tr.TemporalDownsample((2, 4)),
    tr.SaltPepperNoise((0.01, 0.1), (0.01, 0.1)),
    tr.MakeContiguous(),
    tr.train_pipeline(tr.Augment(probability=1.0), 8),
]


class TestTransforms:
    @pytest.mark.parametrize("transform", OURS, ids=repr)
    def test_the_callers_clip_stays_as_it_was(self, transform, vectors):
        clip = vectors["x"].clone()
        result = transform(clip)
        assert torch.equal(clip, vectors["x"])
        assert result.dtype == torch.float32
        assert torch.isfinite(result).all()

    @pytest.mark.parametrize("frames", [1, 2, 7, 8, 9])
    def test_central_frames_are_kept_for_every_surplus(self, frames):
        clip = torch.arange(8.0).view(1, 8, 1, 1)
        kept = tr.AdjustLengthCentral((frames, frames))(clip).flatten().tolist()
        surplus = max(8 - frames, 0)
        assert kept == list(range(surplus - surplus // 2, 8 - surplus // 2))
        assert len(kept) == min(frames, 8)

    def test_kept_frames_follow_one_another_and_every_start_occurs(self):
        clip = torch.arange(8.0).view(1, 8, 1, 1)
        kept = [tuple(tr.seeded(tr.AdjustLength((5, 6)), clip, seed).flatten().tolist()) for seed in range(80)]
        assert set(kept) == {tuple(map(float, range(s, s + n))) for n in (5, 6) for s in range(9 - n)}
        every = {tuple(tr.seeded(tr.TemporalDownsample((3, 3)), clip, s).flatten().tolist()) for s in range(40)}
        assert every == {(0.0, 3.0, 6.0), (1.0, 4.0, 7.0), (2.0, 5.0)}

    def test_a_box_of_allowed_size_is_blocked_in_all_colours(self):
        clip = torch.ones(3, 10, 20, 30)
        for seed in range(30):
            hole = tr.seeded(tr.BlockRegion((0.2, 0.5)), clip, seed) == 0
            sides = [len(torch.unique(axis)) for axis in torch.nonzero(hole[0], as_tuple=True)]
            assert all(0.2 * span <= side <= 0.5 * span for side, span in zip(sides, (10, 20, 30), strict=True))
            assert hole.sum() == 3 * np.prod(sides)

    def test_salt_and_pepper_hit_all_colours_at_their_rates(self):
        clip = torch.rand(3, 20, 50, 50)
        clip[:, 0, 0, :2] = torch.tensor([0.0, 1.0])  # the extremes stand at one place in all colours
        found = tr.seeded(tr.SaltPepperNoise((0.1, 0.1), (0.02, 0.02)), clip, 1)
        salt, pepper = (found == clip.max()).float().mean((1, 2, 3)), (found == clip.min()).float().mean((1, 2, 3))
        assert torch.allclose(salt, torch.full((3,), 0.1), atol=0.005)
        assert torch.allclose(pepper, torch.full((3,), 0.02), atol=0.003)
        assert torch.equal(found[0] == clip.max(), found[1] == clip.max())

    def test_ranges_of_brightness_colour_and_noise_are_kept_and_used(self):
        clip = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)], dim=1).expand(3, -1, -1, -1)
        pairs = [tr.seeded(tr.AdjustValues((-0.1, 0.2), (0.5, 2.0)), clip, seed)[0, :, 0, 0] for seed in range(200)]
        bias, scale = torch.stack(pairs).T
        scale = scale - bias
        for values, low, high in ((bias, -0.1, 0.2), (scale, 0.5, 2.0)):
            assert low <= values.min() < low + 0.03 * (high - low) + 0.01
            assert high >= values.max() > high - 0.03 * (high - low) - 0.01
        colours = tr.seeded(tr.AdjustColorChannels((-0.1, 0.1), (0.8, 1.2)), clip, 0)[:, :, 0, 0]
        assert len(set(colours[:, 0].tolist())) == len(set((colours[:, 1] - colours[:, 0]).tolist())) == 3
        noise = tr.seeded(tr.NormalNoise((0.5, 0.5)), torch.zeros(3, 10, 40, 40), 0)
        assert abs(noise.std() - 0.5) < 0.01

    @pytest.mark.parametrize(
        "make",
        [
            lambda: tr.AdjustValues((1, 0), (1, 1)),
            lambda: tr.AdjustColorChannels((0, 0), (2, 1)),
            lambda: tr.NormalNoise((-1, 1)),
            lambda: tr.AdjustLength((0, 4)),
            lambda: tr.AdjustLengthCentral((0, 4)),
            lambda: tr.BlockRegion((0.5, 1.1)),
            lambda: tr.TemporalDownsample((0, 2)),
            lambda: tr.SaltPepperNoise((0, 0.1), (0.1, 0.1)),
            lambda: tr.SaltPepperNoise((0.1, 0.1), (float("nan"), 0.1)),
        ],
    )
    def test_impossible_ranges_are_refused(self, make):
        with pytest.raises(SettingsError, match="no range to draw from"):
            make()


class TestTrainPipeline:
    def test_all_frames_get_the_same_draw(self):
        frame = torch.rand(3, 1, 30, 50)
        pipeline = tr.train_pipeline(tr.Augment(noise_std=(0, 0), probability=0.7), 16)
        results = [tr.seeded(pipeline, frame.expand(-1, 6, -1, -1), seed) for seed in range(20)]
        for result in results:
            assert result.shape == (3, 6, 16, 16)
            torch.testing.assert_close(result, result[:, :1].expand_as(result), rtol=0, atol=1e-6)
        assert len({float(result.sum()) for result in results}) == 20

    def test_published_order_of_what_is_done(self):
        clip = torch.rand(3, 4, 12, 12)
        augment = tr.Augment(
            rotation_degrees=0,
            crop_area=(1, 1),
            crop_aspect=(1, 1),
            flip=1,
            bias=0,
            scale=(2, 2),
            channel_bias=0,
            channel_scale=(3, 3),
            blur_sigma=(1.1, 1.1),
            noise_std=(0.4, 0.4),
            probability=1,
        )
        found = tr.seeded(tr.train_pipeline(augment, 7), clip, 5)
        quiet = tr.seeded(tr.train_pipeline(tr.Augment(**{**vars(augment), "noise_std": (0, 0)}), 7), clip, 5)
        small = F.resize(clip, [7, 7], antialias=False).flip(-1)
        expected = F.gaussian_blur(small * 6, [5, 5], [1.1, 1.1])
        torch.testing.assert_close(quiet, expected, rtol=0, atol=1e-5)
        assert abs((found - quiet).std() - 0.4) < 0.03  # noise comes last: it is neither scaled nor blurred

    @pytest.mark.parametrize("antialias", [False, True])
    def test_antialias_is_as_chosen(self, antialias):
        clip = torch.rand(3, 2, 40, 40)
        plain = tr.Augment(crop_area=(1, 1), crop_aspect=(1, 1), flip=0, probability=0, antialias=antialias)
        expected = F.resize(clip, [9, 9], antialias=antialias)
        torch.testing.assert_close(tr.seeded(tr.train_pipeline(plain, 9), clip, 0), expected)

    def test_each_change_happens_as_often_as_asked(self):
        clip = torch.rand(1, 1, 6, 6).expand(3, 2, 6, 6)
        still = {"crop_area": (1, 1), "crop_aspect": (1, 1), "rotation_degrees": 0, "blur_sigma": (0.1, 0.1)}
        noisy = tr.train_pipeline(tr.Augment(**still, flip=0, channel_bias=0, channel_scale=(1, 1)), 6)
        coloured = tr.train_pipeline(tr.Augment(**still, flip=0, noise_std=(0, 0), bias=0, scale=(1, 1)), 6)
        both = [(tr.seeded(noisy, clip, seed), tr.seeded(coloured, clip, seed)) for seed in range(300)]
        noise = np.mean([not torch.allclose(x[0], x[1], atol=1e-5) for x, _ in both])
        colour = np.mean([not torch.allclose(x[0], x[1], atol=1e-4) for _, x in both])
        assert abs(noise - 0.35) < 0.08
        assert abs(colour - 0.35) < 0.08
        mirror = tr.train_pipeline(tr.Augment(**still, probability=0), 6)
        flips = np.mean([torch.equal(tr.seeded(mirror, clip, seed), clip.flip(-1)) for seed in range(300)])
        assert abs(flips - 0.5) < 0.08

    def test_one_seed_one_result_whatever_was_drawn_before(self):
        clip, pipeline = torch.rand(3, 4, 20, 30), tr.train_pipeline(tr.Augment(probability=1), 8)
        torch.manual_seed(1)
        first = tr.seeded(pipeline, clip, 9)
        after = torch.rand(3)
        torch.manual_seed(1)
        random.seed(3)
        assert torch.equal(torch.rand(3), after)  # seeded() left the global generator where it was
        assert torch.equal(tr.seeded(pickle.loads(pickle.dumps(pipeline)), clip, 9), first)
        assert not torch.equal(tr.seeded(pipeline, clip, 10), first)
