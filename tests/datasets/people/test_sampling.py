"""Frames are chosen as the published programs choose them, draw for draw, and never from nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from nbpkg import seeding
from nbpkg.datasets.people.sampling import (
    DenseSampleFrames,
    PaddingWithLoop,
    SampleFrames,
    UniformSampleFrames,
    UntrimmedSampleFrames,
    find_short_clips,
    widest_interval,
)
from nbpkg.errors import MediaError, SettingsError

GOLDEN = Path(__file__).parents[2] / "golden" / "joint_engagement"
ROWS = json.loads((GOLDEN / "sampling_open.json").read_text())
KINDS = {
    kind.__name__: kind
    for kind in (SampleFrames, DenseSampleFrames, UniformSampleFrames, PaddingWithLoop, UntrimmedSampleFrames)
}
NAMES = {
    "clip_len": "length",
    "frame_interval": "interval",
    "num_clips": "runs",
    "test_mode": "test",
    "temporal_jitter": "jitter",
    "twice_sample": "twice",
    "out_of_bound_opt": "beyond",
    "keep_tail_frames": "keep_tail",
    "sample_range": "stretch",
    "num_sample_positions": "positions",
}


def build(row: dict):
    return KINDS[row["transform"]](**{NAMES[name]: value for name, value in row["kwargs"].items()})


def choose(row: dict) -> np.ndarray:
    draws = np.random.RandomState(row["numpy_seed"] if row["numpy_seed"] is not None else 99)
    return build(row).choose(row["total_frames"], draws, first=row["start_index"])


def test_all_published_choices_are_made_exactly():
    rows = [row for row in ROWS if row["total_frames"] and "error" not in row]
    assert len(rows) > 200
    for row in rows:
        found = choose(row)
        assert found.dtype == np.int64
        assert found.reshape(-1).tolist() == row["frame_inds"], row


def test_a_clip_without_frames_is_an_error_though_the_published_program_takes_frame_0():
    rows = [row for row in ROWS if not row["total_frames"] or "error" in row]
    assert {row["transform"] for row in rows} >= {"SampleFrames", "DenseSampleFrames", "UntrimmedSampleFrames"}
    for row in rows:
        with pytest.raises(MediaError, match="frames"):
            choose(row)


@pytest.mark.parametrize("row", [row for row in ROWS if row["total_frames"] == 125][::4], ids=lambda row: "case")
def test_named_generators_of_the_package_give_frames_of_the_clip_and_the_same_each_time(row):
    draw = lambda: build(row).choose(125, seeding.generator(3, "clip", "a"))  # noqa: E731
    found = draw()
    assert found.min() >= 0
    assert found.max() < 125
    assert (found == draw()).all()


def test_tests_leave_the_global_generator_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    UniformSampleFrames(48, runs=3, test=True).choose(70, np.random.default_rng(0))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize(("name", "runs"), [("test10", 2), ("bone", 1)])
def test_pyskl_draws_two_numbers_more_for_each_run(name, runs):
    with np.load(GOLDEN / "pyskl_pipeline_open.npz", allow_pickle=False) as file:
        expected = file[f"{name}_frame_inds"].tolist()
    sampling = UniformSampleFrames(100, runs=runs, test=True, portion=(1, 1))
    assert sampling.choose(125, np.random.RandomState(0)).reshape(-1).tolist() == expected


def test_a_portion_of_the_clip_holds_the_whole_run():
    part = UniformSampleFrames(8, portion=(0.3, 0.3)).choose(100, np.random.RandomState(5))
    assert part.max() - part.min() < 30


def test_clips_that_are_shorter_than_a_run_are_named():
    problems = find_short_clips(SampleFrames(8, interval=32), {"a": 125, "b": 256})
    assert [(problem.file, problem.severity) for problem in problems] == [("a", "warning")]
    assert "Set the interval to 15" in problems[0].remedy
    fitting = SampleFrames(8, interval=widest_interval(125, 8)).choose(125, np.random.default_rng(0))
    assert (np.diff(fitting) > 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SampleFrames(0),
        lambda: SampleFrames(4, interval=0),
        lambda: SampleFrames(4, beyond="mirror"),
        lambda: DenseSampleFrames(1, positions=0),
        lambda: UniformSampleFrames(4, runs=2),
        lambda: UniformSampleFrames(4, portion=(0, 1)),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(SettingsError):
        make()
