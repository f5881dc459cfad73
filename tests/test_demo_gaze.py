"""What `make demo` leaves of the gaze study: honest folds, numbers beside blind answers, memory, another network."""

from __future__ import annotations

import pandas as pd
import pytest
from demo_outputs import made_by

from nbpkg.runs.files import read_json

pytestmark = [pytest.mark.demo, pytest.mark.usefixtures("demo")]
SAMPLE, VIDEO, GAZELLE = (made_by(f"gaze_target/{name}") for name in ("sample", "sample_video", "sample_gazelle"))
BOTH = pytest.mark.parametrize("made", [SAMPLE, GAZELLE], ids=["vtd", "gazelle"])
ALL = pytest.mark.parametrize("made", [SAMPLE, GAZELLE, VIDEO], ids=["vtd", "gazelle", "memory"])


def mean_distance(scores: pd.DataFrame) -> float:
    """Mean distance over frames of video whose target is inside."""
    own = scores[(scores["dataset"] == "videoattention") & (scores["inside"] == 1)]
    return float(own["distance"].mean())


def test_data_sets_of_several_formats_and_picture_kinds_are_one_table():
    gaze = SAMPLE["parse"].table("gaze")
    assert set(gaze["dataset"]) == {"videoattention", "objectattention", "recorded", "gazefollow"}
    endings = gaze["image"].str.rsplit(".", n=1).str[1].str.lower()
    assert set(endings) >= {"ppm", "jpg"}
    assert gaze.groupby("dataset")["width"].nunique()["gazefollow"] > 1
    assert (gaze["inside"] == 0).any()
    assert gaze.query("dataset == 'videoattention' and split == 'test'")["rater"].nunique() == 2


def test_nobody_and_nothing_is_in_two_folds():
    gaze, folds = SAMPLE["parse"].table("gaze"), SAMPLE["stratify"].table("folds")
    dealt = gaze.merge(folds, on="session")
    assert (dealt.groupby("participant")["fold"].nunique() == 1).all()
    assert (dealt.groupby("image")["fold"].nunique() == 1).all()
    official = dealt[dealt["split"] != ""].groupby("session")[["split", "role"]].first()
    assert (official["split"] == official["role"]).all()


@ALL
def test_no_test_session_trained_a_network(made):
    from nbpkg.training.gaze.answers import load_gaze_networks

    folds = SAMPLE["stratify"].table("folds")
    (trained,) = load_gaze_networks(made["train/final"].run).values()
    assert set(trained.card.facts["sessions"]) == set(folds.query("role == 'train'")["session"])


@ALL
@pytest.mark.parametrize("blind", ["centre of the picture", "head position", "training density", "random"])
def test_networks_beat_answers_that_do_not_see_where_the_head_points(made, blind):
    others = pd.read_csv(made["evaluate"].run / "tables" / "blind_scores.csv")
    own = mean_distance(made["evaluate"].table("gaze_scores"))
    assert own < 0.95 * mean_distance(others[others["predictor"] == blind])


@ALL
def test_scores_have_chance_ceiling_size_and_interval(made):
    metrics = made["evaluate"].table("metrics").query("by == 'all' and task == 'videoattention'").set_index("metric")
    row = metrics.loc["distance"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["ceiling"] < min(row["value"], row["chance"])
    assert row["n"] > 500
    assert 0.5 < metrics.loc["average_precision", "value"] <= 1


def test_every_test_row_was_answered():
    gaze, folds = SAMPLE["parse"].table("gaze"), SAMPLE["stratify"].table("folds")
    asked = gaze.query("valid == 1 and dataset != 'gazefollow'").merge(folds.query("role == 'test'")[["session"]])
    keys = ["session", "person", "rater", "frame"]
    answered = SAMPLE["evaluate"].table("gaze_scores").query("truth == 'box'")
    assert set(map(tuple, asked[keys].to_numpy())) == set(map(tuple, answered[keys].to_numpy()))


def test_the_grid_was_swept_and_its_best_cell_was_trained():
    cells = VIDEO["train/sweep"].table("gaze_settings")
    assert len(cells) == 4
    assert not cells["failed"].any()
    history = VIDEO["train/sweep"].table("gaze_history").query("split == 'validation' and metric == 'distance'")
    assert set(history["epoch"]) == {0, 1, 2}  # every epoch of every cell was scored
    assert history.groupby("setting")["fold"].nunique().eq(3).all()
    best, trained = cells.query("chosen").iloc[0], VIDEO["train/final"].table("gaze_trials").iloc[0]
    assert best["distance"] == cells["distance"].min()
    assert (trained["batch_size"], trained["chunk"]) == (best["batch_size"], best["chunk"])


def test_memory_was_put_on_top_of_the_first_network_without_touching_its_trunk():
    from nbpkg.training.gaze.answers import load_gaze_networks

    (first,) = load_gaze_networks(SAMPLE["train/final"].run).values()
    (second,) = load_gaze_networks(VIDEO["train/final"].run).values()
    before, after = first.network.state_dict(), second.network.state_dict()
    assert all((before[key] == after[key]).all() for key in before if key.startswith(("layer", "conv1", "compress")))
    assert any((before[key] != after[key]).any() for key in before if key.startswith("deconv"))


@BOTH
def test_baking_does_not_apply_where_all_of_a_network_learns(made):
    receipt = made["bake"].receipt
    assert receipt["state"] == "not_applicable"
    page = (made["bake"].run / "report.html").read_text(encoding="utf-8")
    assert "Does not apply" in page
    assert "bake_gaze" not in page


def test_reports_hold_the_cells_of_this_kind_only():
    page = (SAMPLE["train/final"].run / "report.html").read_text(encoding="utf-8")
    assert "train_gaze_phase" in page
    assert "space_of_phase" not in page


def test_the_human_map_is_the_annotators_points():
    snippets, paintings = (SAMPLE["paint"].table(name) for name in ("snippets", "paintings"))
    folds = SAMPLE["stratify"].table("folds")
    assert set(snippets["session"]) <= set(folds.query("role == 'test'")["session"])
    assert set(paintings["snippet_id"]) == set(snippets["snippet_id"])
    assert paintings["painter"].nunique() > 1
    attention = SAMPLE["compare"].table("attention")
    own = attention.query("source == 'network' and method == 'heatmap' and metric == 'linear_correlation'")
    assert (own["value"] > own["chance"]).all()
    twin = attention.query("source == 'random network' and method == 'heatmap' and metric == 'linear_correlation'")
    assert own["value"].max() > twin["value"].fillna(0).max()


def test_the_exchange_formats_are_written():
    names = [name for name in SAMPLE["parse"].receipt["outputs"] if name.startswith("exchange/")]
    assert any(name.endswith(".json") for name in names)
    assert any(name.endswith(".txt") for name in names)
    assert read_json(SAMPLE["parse"].run / next(name for name in names if name.endswith(".json")))
