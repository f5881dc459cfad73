"""From settings and what lies on disk to what is to be painted."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.attention.choosing.choice import choose
from nbpkg.attention.painting.log import PaintingLog, painting_path
from nbpkg.errors import SettingsError
from nbpkg.runs.graph import own_steps
from nbpkg.settings.attention import PaintSettings
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

GOLDEN = Path(__file__).parent.parent / "golden" / "infant_engagement"


@pytest.fixture(scope="module")
def spans():
    table = pd.read_csv(GOLDEN / "annotations_open_filled.csv").rename(columns={"annotator": "rater"})
    return tables.check(table[table["end_ms"] > table["start_ms"]], "spans")


@pytest.fixture(scope="module")
def sessions():
    facts = json.loads((GOLDEN / "snippets_open.json").read_text())
    return [name for name, fold in facts["fold_of_session"].items() if fold == facts["test_fold"]]


def run(spans, sessions, folder, **settings):
    return choose(spans, sessions, settings=PaintSettings(**settings), absent="no", folder=folder, seed=3)


def test_raters_paint_where_nobody_is_named_and_only_what_they_did_not_rate(spans, sessions, tmp_path):
    choice = run(spans, sessions, tmp_path, painters_per_snippet=1)
    assert set(choice.queue["painter"]) <= set(spans["rater"])
    rated = set(spans[["session", "rater"]].itertuples(index=False, name=None))
    places = choice.queue.merge(choice.snippets, on="snippet_id")
    assert not rated & set(places[["session", "painter"]].itertuples(index=False, name=None))
    assert len(choice.snippets) > 0


def test_what_somebody_has_begun_comes_first_and_others_work_stays(spans, sessions, tmp_path):
    how = {"painters": ["a", "b"], "painters_per_snippet": 2, "pairs": ["people/attending"]}
    row = run(spans, sessions, tmp_path, **how).snippets.iloc[0]
    start = int(row["start_ms"]) + 1  # one that would hardly be drawn by itself
    header = {"snippet_id": f"{row['session']}_{start}_people_attending", "painter": "a", "session": row["session"]}
    header |= {"task": "people", "variable": "attending", "start_ms": start, "end_ms": start + 5000}
    header |= {"frame_ms": [start], "width": 32, "height": 24}
    with PaintingLog.open(painting_path(tmp_path, "a", header["snippet_id"]), header, {}) as log:
        log.append({"op": "clear", "n": 1, "frame": 0})
    choice = run(spans, sessions, tmp_path, **how)
    kept = choice.snippets[choice.snippets["painted"]]
    if header["snippet_id"] in set(choice.snippets["snippet_id"]):
        assert kept["snippet_id"].tolist() == [header["snippet_id"]]
        mine = choice.queue[choice.queue["painter"] == "a"].sort_values("position")
        assert mine["snippet_id"].iloc[0] == header["snippet_id"]
    else:  # a millisecond later the raters no longer agree: it is said
        assert header["snippet_id"] in set(choice.shortfalls["snippet_id"])
    assert painting_path(tmp_path, "a", header["snippet_id"]).is_file()


def test_the_published_choice_is_had_by_compat_and_says_what_it_missed(spans, sessions, tmp_path):
    choice = run(spans, sessions, tmp_path, compat="reference")
    again = run(spans, sessions, tmp_path, compat="reference")
    pd.testing.assert_frame_equal(choice.snippets, again.snippets)
    assert set(choice.queue["painter"]) <= set(spans["rater"])
    wanted = 3 * 12  # three raters, three tasks, two variables, two labels
    assert len(choice.snippets) + (choice.shortfalls["wanted"] - choice.shortfalls["found"]).sum() == wanted
    assert choice.shortfalls["reason"].str.contains("gave up").all()


def test_an_experiment_without_painters_has_no_such_stages(root):
    values = read_file(root / "params" / "infant_engagement" / "sample.yaml")
    short = {name: value for name, value in values.items() if name not in ("paint", "compare")}
    experiment = protocol.check_values(short)[1]
    assert own_steps(experiment)[-1] == "evaluate"
    with pytest.raises(SettingsError, match="has no settings for 'paint'"):
        protocol.open_stage("paint", {**dict.fromkeys(("paint", "compare"), {}), **short})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("paint.frames", 8, "networks see bake.frames = 16"),
        ("paint.clip_seconds", 4.0, "stratify.clip_seconds"),
        ("paint.questions", {"attending": ["no"]}, "two to nine different answers"),
        ("paint.painters", ["../p1"], "plain name"),
        ("compare.explain.methods", ["gradcamm"], "gradcamm"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(root, key, value, said):
    values = read_file(root / "params" / "infant_engagement" / "sample.yaml")
    with pytest.raises(SettingsError, match=said):
        protocol.check_values({**values, "overrides": {key: value}})
