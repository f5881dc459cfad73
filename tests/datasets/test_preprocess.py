"""Which frames a clip takes, what is cut out of them, and on which scale."""

from __future__ import annotations

import json
from fractions import Fraction
from math import floor

import cv2
import numpy as np
import pytest
import torch

from nbpkg.datasets.preprocess import Preprocess, crop, normalise, read_clip
from nbpkg.errors import MediaError, SettingsError, WeightsError
from nbpkg.video.clips import find_frames, frame_numbers

FPS = Fraction(25, 8)
KINETICS = Preprocess(size=8, frames=4, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989))


class TestFrameNumbers:
    @pytest.mark.parametrize("fps", [FPS, Fraction(30000, 1001), Fraction(25)])
    def test_each_frame_is_the_one_shown_at_its_time(self, fps):
        rng = np.random.default_rng(0)
        starts = rng.integers(0, 3_600_000, 200)
        ends = starts + rng.integers(1, 9000, 200)
        for count in (1, 15, 16):
            found = frame_numbers(starts, ends, fps=fps, count=count)
            for start, end, numbers in zip(starts.tolist(), ends.tolist(), found.tolist(), strict=True):
                times = [start + (k + Fraction(1, 2)) * (end - start) / count for k in range(count)]
                assert numbers == [floor(time * fps / 1000) for time in times]

    def test_a_time_on_the_border_of_frames_belongs_to_the_later_one_even_after_an_hour(self):
        for number in (1, 3125, 11_250, 11_251):
            middle = number * 320
            assert frame_numbers(middle - 320, middle + 320, fps=FPS, count=1).tolist() == [number]
            assert frame_numbers(middle - 322, middle + 320, fps=FPS, count=1).tolist() == [number - 1]

    def test_the_rate_is_not_rounded(self):
        at_900_s = frame_numbers(900_000, 905_000, fps=FPS, count=15)
        assert at_900_s[0] == floor((900_000 + 5000 / 30) * 3.125 / 1000) == 2813
        assert floor((900_000 + 5000 / 30) * 3.12 / 1000) == 2808

    def test_frames_cover_the_clip_from_its_first_to_its_last_part(self):
        numbers = frame_numbers(np.arange(0, 4000), np.arange(5000, 9000), fps=FPS, count=15)
        shown = numbers[:, [0, -1]] * 320
        assert np.all(np.abs(shown[:, 0] - np.arange(4000)) < 320)
        assert np.all((5000 + np.arange(4000) - shown[:, 1] > 0) & (5000 + np.arange(4000) - shown[:, 1] < 640))

    @pytest.mark.parametrize(("times", "count"), [((5, 5), 3), ((6, 5), 3), ((0, 5), 0)])
    def test_a_clip_without_length_or_frames_is_refused(self, times, count):
        with pytest.raises(SettingsError, match="No"):
            frame_numbers(*times, fps=FPS, count=count)


class TestReadClip:
    def test_reads_the_frames_of_its_times(self, make_store, number):
        frames, repeated = read_clip(make_store("a", 400), 100_000, 105_000, count=15)
        assert repeated == 0
        assert number(frames).tolist() == frame_numbers(100_000, 105_000, fps=FPS, count=15).tolist()

    def test_repeats_the_last_frame_at_the_end_and_counts(self, make_store, number):
        store = make_store("a", 100)  # ends at 32000 ms
        frames, repeated = read_clip(store, 29_000, 34_000, count=10)
        wanted = frame_numbers(29_000, 34_000, fps=FPS, count=10)
        assert repeated == 4 == int((wanted > 99).sum())
        assert number(frames).tolist() == np.minimum(wanted, 99).tolist()

    def test_half_beyond_the_end_is_padded_and_more_is_refused(self, make_store):
        store = make_store("a", 100)
        assert read_clip(store, 29_500, 34_500, count=10)[1] == 5
        with pytest.raises(MediaError, match="29900 to 34900 ms lies outside"):
            read_clip(store, 29_900, 34_900, count=10)

    def test_a_start_before_the_video_is_refused(self, make_store):
        with pytest.raises(MediaError, match="-1 to 4999"):
            find_frames(make_store("a", 100), [0, -1], [5000, 4999], count=10)


class TestCrop:
    def test_takes_the_centre_of_frames_of_the_right_height(self):
        frames = np.random.default_rng(0).integers(0, 256, (3, 10, 17, 3), dtype=np.uint8)
        assert np.array_equal(crop(frames, 10), frames[:, :, 3:13])
        assert np.array_equal(crop(frames.transpose(0, 2, 1, 3), 10), frames.transpose(0, 2, 1, 3)[:, 3:13])
        assert not np.shares_memory(crop(frames[:, :, 3:13], 10), frames)

    def test_scales_by_area_first(self):
        frames = np.random.default_rng(0).integers(0, 256, (2, 20, 36, 3), dtype=np.uint8)
        scaled = np.stack([cv2.resize(frame, (18, 10), interpolation=cv2.INTER_AREA) for frame in frames])
        assert np.array_equal(crop(frames, 10), scaled[:, :, 4:14])
        means = frames.reshape(2, 10, 2, 18, 2, 3).mean((2, 4))[:, :, 4:14]
        assert np.abs(crop(frames, 10) - means).max() <= 0.5

    @pytest.mark.parametrize("shape", [(7, 7), (161, 287), (3, 40)])
    def test_gives_a_square_of_any_frame(self, shape):
        assert crop(np.zeros((1, *shape, 3), np.uint8), 11).shape == (1, 11, 11, 3)


class TestNormalise:
    def test_is_the_formula_for_one_clip_and_for_a_batch(self):
        clips = torch.randint(0, 256, (2, 4, 5, 7, 3), dtype=torch.uint8)
        before = clips.clone()
        mean, std = torch.tensor(KINETICS.mean).double(), torch.tensor(KINETICS.std).double()
        expected = ((clips.double() / 255 - mean) / std).permute(0, 4, 1, 2, 3)
        found = normalise(clips, KINETICS)
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() < 1e-6
        assert torch.equal(normalise(clips[1], KINETICS), found[1])
        assert torch.equal(clips, before)

    def test_takes_views_and_lies_as_networks_like_it(self):
        clips = torch.randint(0, 256, (2, 4, 9, 11, 3), dtype=torch.uint8)
        part = clips[:, 1:3, 2:7, 1:6]
        found = normalise(part, KINETICS)
        assert torch.equal(found, normalise(part.clone(), KINETICS))
        assert found.is_contiguous(memory_format=torch.channels_last_3d)


class TestPreprocess:
    def test_survives_json(self):
        assert Preprocess.from_json(json.loads(json.dumps(KINETICS.to_json()))) == KINETICS

    @pytest.mark.parametrize(
        "change",
        [
            {"mean": [0.1, 0.2]},
            {"size": "8"},
            {"size": True},
            {"frames": 0},
            {"std": [1.0, 1.0, 0.0]},
            {"mean": [0.1, 0.2, float("nan")]},
            {"colour": 1},
            {"std": None},
        ],
    )
    def test_broken_content_is_refused(self, change):
        with pytest.raises(WeightsError, match="preprocessing cannot be read"):
            Preprocess.from_json({**KINETICS.to_json(), **change})

    def test_a_missing_part_is_refused(self):
        with pytest.raises(WeightsError, match="std"):
            Preprocess.from_json({"size": 8, "frames": 4, "mean": [0, 0, 0]})
