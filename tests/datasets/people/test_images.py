"""Frames become the published pixels, through the same steps and draws."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from nbpkg.datasets.people import images, images_crops
from nbpkg.datasets.people.sampling import SampleFrames
from nbpkg.errors import MediaError, SettingsError

GOLDEN = Path(__file__).parents[2] / "golden" / "joint_engagement"
ABOUT = json.loads((GOLDEN / "transforms_open.json").read_text())


def make_frames(numbers: np.ndarray) -> np.ndarray:
    """Frames by the golden file's rule."""
    k, height, width = ABOUT["k"], ABOUT["h"], ABOUT["w"]
    t, y, x, c = np.ix_(numbers, range(height), range(width), range(3))
    values = 7 * x + 11 * y + 13 * t + 29 * c + k * (x * y // 5) + (x // 8) * (y // 6) * 5
    return (values % 256).astype(np.uint8)


class Pipeline:
    """The published steps, each by the function that does it."""

    def __init__(self, seed: int | None) -> None:
        self.draws, self.integers = np.random.RandomState(seed or 0), random.Random(seed)
        self.frames, self.label, self.length = np.empty(0), 2, 1

    def run(self, step: dict) -> None:
        getattr(self, step["type"])({name: value for name, value in step.items() if name != "type"})

    def SampleFrames(self, step: dict) -> None:  # noqa: N802
        self.length = step["clip_len"]
        sampling = SampleFrames(
            self.length, interval=step["frame_interval"], runs=step["num_clips"], test=step.get("test_mode", False)
        )
        self.frames = make_frames(sampling.choose(ABOUT["n"], self.draws).reshape(-1))

    def Resize(self, step: dict) -> None:  # noqa: N802
        scale, keep = tuple(step["scale"]), step.get("keep_ratio", True)
        self.frames = images.resize(self.frames, images.fit_size(self.frames.shape[1:3], scale, keep_ratio=keep))

    def Flip(self, step: dict) -> None:  # noqa: N802
        if images.draw_flip(self.draws, step["flip_ratio"]):
            pairs = {int(key): value for key, value in step.get("flip_label_map", {}).items()}
            self.frames, self.label = images.flip(self.frames), images.flip_label(self.label, pairs, classes=5)

    def CenterCrop(self, step: dict) -> None:  # noqa: N802
        self.frames = images_crops.crop_centre(self.frames, (step["crop_size"],) * 2)

    def ThreeCrop(self, step: dict) -> None:  # noqa: N802
        self.frames = images_crops.crop_three(self.frames, (step["crop_size"],) * 2)

    def TenCrop(self, step: dict) -> None:  # noqa: N802
        self.frames = images_crops.crop_ten(self.frames, (step["crop_size"],) * 2)

    def RandomResizedCrop(self, step: dict) -> None:  # noqa: N802
        self.frames = images_crops.draw_resized_crop(self.frames.shape[1:3], self.draws, self.integers).cut(self.frames)

    def MultiScaleCrop(self, step: dict) -> None:  # noqa: N802
        part = images_crops.draw_scaled_crop(
            self.frames.shape[1:3],
            self.integers,
            wanted=(step["input_size"],) * 2,
            scales=step["scales"],
            gap=step["max_wh_scale_gap"],
            anywhere=step["random_crop"],
        )
        self.frames = part.cut(self.frames)

    def Normalize(self, step: dict) -> None:  # noqa: N802
        self.frames = images.normalise(self.frames, step["mean"], step["std"], to_bgr=step["to_bgr"])

    def FormatShape(self, step: dict) -> None:  # noqa: N802
        volume = step["input_format"] == "NCTHW"
        self.frames = images.shape_clips(self.frames, self.length) if volume else images.shape_pictures(self.frames)


@pytest.mark.parametrize("name", list(ABOUT["cases"]))
def test_published_pipelines_give_the_published_tensors(name):
    case = ABOUT["cases"][name]
    pipeline = Pipeline(case["seed"])
    for step in case["steps"]:
        if step["type"] not in ("RawFrameDecode", "Collect", "ToTensor"):
            pipeline.run(step)
    with np.load(GOLDEN / "transforms_open.npz", allow_pickle=False) as file:
        expected = file[name]
    assert pipeline.frames.dtype == np.float32
    assert pipeline.label == case["label"]
    resized = any(step["type"] == "Resize" for step in case["steps"])
    np.testing.assert_allclose(pipeline.frames, expected, rtol=0, atol=1.001 / 57 if resized else 1e-4)
    assert np.mean(np.abs(pipeline.frames - expected) < 1e-4) > 0.98  # what differs is rounding of single pixels


def test_parts_that_reach_outside_are_refused():
    frames = make_frames(np.arange(2))
    with pytest.raises(MediaError, match="reach outside"):
        images_crops.crop_centre(frames, (40, 20))
    with pytest.raises(MediaError, match="three parts"):
        images_crops.crop_three(frames, (20, 20))
    with pytest.raises(MediaError, match="reach outside"):
        images_crops.crop_ten(frames, (37, 20))


def test_thirteen_places_are_offered_and_reached():
    parts = {
        images_crops.draw_scaled_crop((40, 80), random.Random(seed), wanted=(20, 20), scales=(0.5,), gap=0, places=13)
        for seed in range(200)
    }
    assert len(parts) == 13
    assert {part[2:] for part in parts} == {(20, 20)}


def test_a_part_without_a_fit_is_the_central_square():
    part = images_crops.draw_resized_crop((10, 100), np.random.default_rng(0), random.Random(0), area=(0.9, 1.0))
    assert part == (45, 0, 10, 10)


def test_labels_of_mirrored_clips_must_exist():
    assert images.flip_label(0, {0: 1, 1: 0}, classes=3) == 1
    with pytest.raises(SettingsError, match="class 4"):
        images.flip_label(2, {2: 4, 4: 2}, classes=3)


@pytest.mark.parametrize(("scale", "keep"), [((0, 5), True), ((-1, -1), True), ((-1, 20), False)])
def test_impossible_sizes_are_refused(scale, keep):
    with pytest.raises(SettingsError, match="cannot be resized"):
        images.fit_size((10, 20), scale, keep_ratio=keep)


@pytest.mark.parametrize("algorithm", list(images.ALGORITHMS))
def test_every_algorithm_keeps_even_areas(algorithm):
    frames = np.full((2, 9, 13, 3), 77, np.uint8)
    assert (images.resize(frames, (20, 6), algorithm=algorithm) == 77).all()
    with pytest.raises(SettingsError, match="area"):
        images.resize(frames, (20, 6), algorithm="spline")


def test_frames_must_be_whole_runs():
    with pytest.raises(MediaError, match="whole number of runs"):
        images.shape_clips(np.zeros((7, 4, 4, 3), np.float32), 2)
