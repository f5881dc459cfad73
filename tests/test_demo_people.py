"""What `make demo` leaves of the study of several people: honest folds, a planted rule that is found, films, files."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from demo_outputs import made_by

from nbpkg.runs.files import read_json
from nbpkg.sample.joint_engagement import FAMILIES, WINDOWS

pytestmark = [pytest.mark.demo, pytest.mark.usefixtures("demo")]
SAMPLE, CLIPS = (made_by(f"joint_engagement/{name}") for name in ("sample", "sample_clips"))


def extra(made, step: str, name: str) -> pd.DataFrame:
    """A table of a step that has no contract."""
    return pd.read_csv(made[step].run / "tables" / f"{name}.csv")


def scores(made, role: str) -> pd.DataFrame:
    metrics = made["evaluate"].table("metrics").query("by == 'all' and variable == 'full' and role == @role")
    return metrics.set_index(["task", "metric"])


def test_every_window_is_a_clip_with_its_place_in_the_recording():
    clips = SAMPLE["parse"].table("clips")
    assert len(clips) == FAMILIES * WINDOWS
    assert (clips.groupby("recording")["window"].max() == WINDOWS - 1).all()
    assert set(clips["label"]) == {0, 1, 2}
    assert (clips["raters"] == 2).all()


def test_people_keep_their_numbers_though_the_detector_shuffles_them():
    people = SAMPLE["prepare"].table("people")
    assert set(people["who"]) == {"parent", "child", "robot"}
    assert (people.groupby("session")["person"].nunique() == 3).all()
    steps = people.sort_values("frame").groupby(["session", "person"])["x0"].diff().abs()
    assert steps.max() < 0.1  # nobody's box jumps to somebody else
    assert 0 < (people["how"] == "between").mean() < 0.1


def test_families_never_part_and_test_families_teach_nobody():
    folds = SAMPLE["stratify"].table("folds")
    assert folds.groupby("group")["fold"].nunique().eq(1).all()
    kept = set(folds.loc[folds["role"] == "test", "session"])
    for made in (SAMPLE, CLIPS):
        for step in (name for name in made if name.startswith("train/")):
            for one in read_json(made[step].run / "networks.json")["networks"]:
                assert not kept & {*one["train"], *one["inner"], *one["held_out"]}
                assert not set(one["train"]) & {*one["inner"], *one["held_out"]}


@pytest.mark.parametrize("role", ["validation", "test"])
def test_the_planted_rule_is_found_beyond_the_commonest_class(role):
    row = scores(SAMPLE, role).loc[("sample", "macro_f1")]
    assert row["low"] > row["chance"] + 0.2
    assert row["value"] > 0.6
    assert row["ceiling"] > row["chance"]


def test_past_windows_and_the_child_move_the_answer():
    shares = extra(SAMPLE, "compare", "shares").query("system == 'sample'")
    lags = shares[shares["by"] == "lag"].set_index("lag")["value"]
    assert lags[1] > 0.02  # what was said a window ago still counts
    assert set(shares.loc[shares["by"] == "modality", "modality"]) == {"audio", "pose", "video"}


def test_films_have_exactly_their_frames_and_regions_are_scored():
    films = extra(CLIPS, "compare", "films")
    assert len(films) == 3
    for name in films["film"]:
        assert (CLIPS["compare"].run / name).is_file()
    regions = CLIPS["compare"].table("people_regions")
    assert {"parent", "child", "robot"} <= set(regions["who"])
    assert regions["share"].between(0, 1).all()


def test_predictions_are_written_with_names_and_as_published():
    folder = SAMPLE["evaluate"].run / "predictions"
    table, *_ = sorted(folder.glob("sample_full_test_best*.csv"))
    old, *_ = sorted(folder.glob("sample_full_test_best*.pkl"))
    rows = pd.read_csv(table)
    scores_of = np.asarray(pickle.loads(old.read_bytes()))  # noqa: S301 - our own file
    assert scores_of.shape == (len(rows), 3)
    assert scores_of.dtype == np.float32


def test_systems_are_fused_and_compared():
    metrics = scores(CLIPS, "test")
    assert {"sample", "sample_clips", "fusion"} <= set(metrics.index.get_level_values("task"))
    assert len(extra(CLIPS, "evaluate", "systems"))
    assert len(extra(CLIPS, "evaluate", "timeline"))
