"""Scores of frames as they stream in, their summary, baselines that look at nothing, and people."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics.gaze import auc, baselines, distance, human, inout, published, scores, stream

WIDTHS = ["width", "height"]


def draw_maps(gaze: pd.DataFrame, *, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    """Maps that are right, apart from noise."""
    target = np.nan_to_num(stream.locate_targets(gaze), nan=0.5)
    return baselines.draw_gaussians(target) + noise * np.random.default_rng(seed).random(
        (len(gaze), 64, 64), np.float32
    )


def score(
    gaze: pd.DataFrame, *, block: int = 7, truth: str = "box", seed: int = 0, noise: float = 0.5, **options: str
) -> pd.DataFrame:
    """Score noisy maps block by block."""
    rows = stream.one_row_per_map(gaze) if truth == "points" else np.arange(len(gaze))
    maps, logits = draw_maps(gaze, seed=seed, noise=noise), np.random.default_rng(seed).normal(gaze["inside"], 1)
    found = stream.ScoreStream(gaze, truth=truth, **options)
    for part in np.array_split(rows, range(block, len(rows), block)):
        found.add(maps[part], part, logits=logits[part])
    return found.table()


def test_blocks_give_what_one_call_gives_in_the_order_of_the_gaze_table(make_gaze):
    gaze = make_gaze()
    whole, backwards = score(gaze, block=99), stream.ScoreStream(gaze, truth="box")
    maps, logits = draw_maps(gaze), np.random.default_rng(0).normal(gaze["inside"], 1)
    for part in np.array_split(np.arange(len(gaze))[::-1], 5):
        backwards.add(maps[part][:, None], part, logits=logits[part][:, None])
    pd.testing.assert_frame_equal(score(gaze, block=5), whole)
    pd.testing.assert_frame_equal(backwards.table(), whole)
    pd.testing.assert_frame_equal(whole[stream.KEY], gaze[stream.KEY])
    inside = (gaze["inside"] == 1).to_numpy()
    target = (gaze[["gaze_x", "gaze_y"]].to_numpy() / gaze[WIDTHS].to_numpy())[inside]
    np.testing.assert_allclose(whole["auc"][inside], auc.auc_box(maps[inside], target), atol=1e-12)
    guess = distance.read_points(distance.find_peaks(maps[inside]))
    np.testing.assert_allclose(whole["distance"][inside], distance.measure_distances(guess, target), atol=1e-12)
    assert whole.loc[~inside, ["auc", "distance", "min_distance", "angle"]].isna().all(axis=None)
    assert whole.loc[inside, "min_distance"].equals(whole.loc[inside, "distance"])
    np.testing.assert_allclose(whole["score"], 1 / (1 + np.exp(-logits)))
    assert set(whole["reason"]) == {""}


def test_running_means_are_those_of_the_table(make_gaze):
    gaze = make_gaze()
    found = stream.ScoreStream(gaze, truth="box")
    assert found.means()["frames"] == 0
    assert found.table().empty
    found.add(draw_maps(gaze)[:20], np.arange(20), logits=np.arange(20.0))
    means, table = found.means(), found.table()
    assert means["frames"] == len(table) == 20
    assert means["auc"] == pytest.approx(table["auc"].mean())
    assert means["distance"] == pytest.approx(table["distance"].mean())
    assert means["average_precision"] == inout.measure_average_precision(table["inside"], table["logit"]).value


def test_a_person_in_a_picture_is_scored_once_against_all_annotators(make_gaze):
    gaze = make_gaze(raters="abc", outside=0)
    gaze = gaze.sample(frac=1, random_state=0).reset_index(drop=True)  # order must not matter
    found = score(gaze, truth="points")
    assert len(found) == 36
    assert set(found["rater"]) == {"all"}
    assert set(found["raters"]) == {3}
    row = found.iloc[5]
    rows = stream.one_row_per_map(gaze)
    maps = draw_maps(gaze)[rows[5] : rows[5] + 1]
    said = gaze.merge(row[stream.PICTURE].to_frame().T)[["gaze_x", "gaze_y"]].to_numpy(float) / (640, 480)
    guess = distance.read_points(distance.find_peaks(maps))
    assert row["auc"] == pytest.approx(auc.auc_points(maps, said, item=[0, 0, 0], sizes=[[640, 480]])[0])
    assert row["min_distance"] == pytest.approx(np.linalg.norm(said - guess, axis=1).min())
    assert row["distance"] == pytest.approx(np.linalg.norm(said.mean(axis=0) - guess[0]))


def test_frames_without_a_score_say_why_and_are_counted(make_gaze):
    gaze = make_gaze(participants=2, outside=0).astype({"gaze_x": float})
    gaze.loc[0, "gaze_x"] = 640 * 1.3
    gaze.loc[1, ["gaze_x", "gaze_y"]] = np.nan
    gaze.loc[2, "x0"] = np.nan
    gaze.loc[3, "gaze_x"] = -4.0
    maps = draw_maps(gaze)
    maps[4, 3, 3] = np.nan
    found = stream.ScoreStream(gaze, truth="box")
    found.add(maps, np.arange(24))
    table = found.table()
    assert table["reason"].tolist()[:5] == [stream.REASONS[1], stream.REASONS[3], "", "", stream.REASONS[2]]
    assert table["auc"].isna().sum() == 3
    assert np.isfinite(table["distance"][0])  # too far right for the map, but its distance is known
    assert table["peak"].isna().tolist()[4]
    summary = summarise(table).set_index(["by", "metric"])
    row = summary.loc[("all", "auc_box")]
    assert row["n"] == 21
    assert row["reason"] == (
        "3 of 24 frames left out: 1 × no heat map; 1 × the target is on no cell of the map; "
        "1 × where the person looks is unknown"
    )
    assert "1 × no head box" in summary.loc[("all", "angle"), "reason"]
    assert summary.loc[("all", "average_precision"), "reason"] == "n/a: 24 of 24 frames have no in/out answer"


def test_rows_out_of_place_are_refused(make_gaze):
    gaze = make_gaze(raters="ab")
    found = stream.ScoreStream(gaze, truth="points")
    maps = np.zeros((2, 64, 64))
    with pytest.raises(TableError, match="2 heat maps were given for 1 rows"):
        found.add(maps, [0])
    with pytest.raises(TableError, match="Row -1"):
        found.add(maps, [0, -1])
    with pytest.raises(TableError, match="scored twice"):
        found.add(maps, [0, 12])  # the two raters of one frame
    found.add(maps, [0, 1])
    with pytest.raises(TableError, match="scored twice"):
        found.add(maps, [3, 1])
    with pytest.raises(TableError, match="repeat another one"):
        stream.ScoreStream(pd.concat([gaze, gaze]), truth="box")


def summarise(table: pd.DataFrame, **options) -> pd.DataFrame:
    return scores.summarise_scores(table, **{"seed": 0, "resamples": 200, **options})


def test_summary_averages_frames_tracks_and_participants(make_gaze):
    short, long = make_gaze(participants=3, frames=6), make_gaze(participants=1, frames=30, seed=5)
    long = long.assign(session="p0--two")
    gaze = tables.check(pd.concat([short, long]), "gaze")
    table = score(gaze)
    found = summarise(table, by=("all", "participant", "session", "track"))
    assert found.columns.tolist() == [column.name for column in tables.CONTRACTS["metrics"].columns]
    whole = found[found["by"] == "all"].set_index("metric")
    inside = table[table["inside"] == 1]
    assert whole.loc["auc_box", "value"] == pytest.approx(inside["auc"].mean())
    by_track = inside.groupby(scores.TRACK)["distance"].mean()
    assert whole.loc["distance_track_mean", "value"] == pytest.approx(by_track.mean())
    by_person = inside.groupby("participant")["distance"].mean()
    assert whole.loc["distance_participant_mean", "value"] == pytest.approx(by_person.mean())
    assert whole.loc[["auc_box", "auc_box_track_mean", "auc_box_participant_mean"], "n"].tolist() == [len(inside), 4, 3]
    assert set(whole["n_groups"]) == {3}
    assert (whole["low"] <= whole["value"]).all()
    assert (whole["value"] <= whole["high"]).all()
    assert whole["direction"].to_dict()["auc_box"] == "higher"
    assert set(whole.loc[whole.index.str.contains("distance|angle"), "direction"]) == {"lower"}
    own = found[(found["by"] == "participant") & (found["metric"] == "distance")].set_index("name")
    assert own["value"].to_dict() == pytest.approx(by_person.to_dict())
    assert own["n_groups"].to_dict() == {"p0": 2, "p1": 1, "p2": 1}  # tracks, as there is one participant
    assert own["low"].notna().to_dict() == {"p0": True, "p1": False, "p2": False}
    precision = inout.measure_average_precision(table["inside"], table["logit"]).value
    assert whole.loc["average_precision", "value"] == pytest.approx(precision)
    assert len(found[(found["by"] == "track") & (found["metric"] == "auc_box")]) == 4


def test_intervals_are_those_of_resampled_participants(make_gaze):
    table = score(make_gaze(participants=5))
    found = summarise(table, by=("all",)).set_index("metric")
    weights = scores.intervals.draw_weights(5, seed=0, resamples=200)
    inside = table[table["inside"] == 1]
    drawn = [
        np.average(
            inside["auc"],
            weights=inside["participant"].map(dict(zip(["p0", "p1", "p2", "p3", "p4"], weight, strict=True))),
        )
        for weight in weights
    ]
    np.testing.assert_allclose(found.loc["auc_box", ["low", "high"]].astype(float), np.quantile(drawn, [0.025, 0.975]))


def test_one_class_gives_no_precision_and_the_protocol_is_named(make_gaze):
    found = summarise(score(make_gaze(outside=0), protocol="gazelle"), by=("all",)).set_index("metric")
    assert "auc_box_gazelle" in found.index
    assert "auc_box" not in found.index
    assert np.isnan(found.loc["average_precision", "value"])
    assert found.loc["average_precision", "reason"] == "n/a: all 36 targets are inside the frame"
    assert np.isnan(found.loc["balanced_accuracy", "low"])


def test_chance_and_ceiling_stand_beside_each_score(make_gaze):
    train, gaze = make_gaze(seed=1, participants=6), make_gaze(raters="ab")
    table = score(gaze, noise=30)
    prior = baselines.score_baseline(baselines.density_baseline(train), gaze, truth="box")
    people = human.score_annotators(gaze, truth="box")
    found = summarise(table, chance=prior, ceiling=people).set_index(["by", "name", "metric"])
    value = found.loc[("all", "", "distance")]
    assert value["chance"] == pytest.approx(prior["distance"].mean())
    assert value["ceiling"] == pytest.approx(people["distance"].mean())
    assert value["ceiling"] < value["value"] < value["chance"]
    own = found.loc[("participant", "p1", "auc_box")]
    assert own["chance"] == pytest.approx(prior.loc[prior["participant"] == "p1", "auc"].mean())
    assert own["ceiling"] == pytest.approx(people.loc[people["participant"] == "p1", "auc"].mean())
    in_out = found.loc[("all", "", "average_precision")]
    assert in_out["chance"] == pytest.approx((gaze["inside"] == 1).mean())
    assert in_out["ceiling"] == 1
    assert found.loc[("all", "", "balanced_accuracy"), "chance"] == 0.5
    with pytest.raises(TableError, match="lacks 1 of 72 frames"):
        summarise(table, chance=prior.iloc[1:])
    with pytest.raises(TableError, match="2 kinds of predictor"):
        summarise(pd.concat([table, prior]))


def test_epochs_are_summarised_side_by_side(make_gaze):
    gaze = make_gaze()
    found = scores.summarise_epochs({2: score(gaze, seed=2), 1: score(gaze)}, seed=0, role="validation", resamples=50)
    assert found.columns[0] == "epoch"
    areas = found[found["metric"] == "auc_box"]
    assert areas["epoch"].tolist() == [1, 2]
    assert areas["value"].tolist() == [
        summarise(score(gaze, seed=seed)).query("by=='all' and metric=='auc_box'")["value"].item() for seed in (0, 2)
    ]
    assert set(areas["role"]) == {"validation"}
    assert scores.summarise_epochs({}, seed=0, role="test").empty


def test_scores_survive_being_written(make_gaze, tmp_path):
    table = score(make_gaze())
    unanswered = table.assign(logit=np.nan, score=np.nan)  # a network without in/out answers
    for made in (table, unanswered):
        again = tables.read(tables.write(made, tmp_path / "gaze_scores.csv", "gaze_scores"), "gaze_scores")
        pd.testing.assert_frame_equal(summarise(again), summarise(made))


def test_people_are_scored_against_each_other(make_gaze):
    gaze = make_gaze(raters="abc", participants=2, frames=5)
    lone = make_gaze(participants=1, frames=3, session="alone")
    found = human.score_annotators(tables.check(pd.concat([gaze, lone]), "gaze"), truth="box")
    assert "alone" not in set(found["session"])
    assert len(found) == 2 * 5 * 3 * 2  # each of three against the two others
    assert (found["predictor"] != found["rater"]).all()
    one = found[(found["predictor"] == "b") & (found["rater"] == "a") & (found["inside"] == 1)].iloc[0]
    points = gaze[(gaze["session"] == one["session"]) & (gaze["frame"] == one["frame"])].set_index("rater")[
        ["gaze_x", "gaze_y"]
    ]
    gap = (points.loc["a"] - points.loc["b"]).to_numpy() / (640, 480)
    assert one["distance"] == pytest.approx(np.hypot(*gap))
    assert one["auc"] > 0.9
    assert one["reading"] == "exact"
    jointly = human.score_annotators(gaze, truth="points")
    assert len(jointly) == 2 * 5 * 3
    assert set(jointly.loc[jointly["inside"] == 1, "raters"]) == {2}
    assert human.score_annotators(lone, truth="box").empty


def test_an_annotator_who_says_outside_has_no_map_but_an_in_out_answer(make_gaze):
    gaze = make_gaze(raters="ab", outside=0, participants=1, frames=4)
    gaze.loc[0, ["inside", "gaze_x", "gaze_y"]] = 0, np.nan, np.nan  # rater a, frame 0
    found = human.score_annotators(gaze, truth="box").set_index(["predictor", "frame"])
    assert found.loc[("a", 0), "reason"] == "no heat map"
    assert found.loc[("a", 0), "score"] == 0
    assert found.loc[("b", 0), "score"] == 1
    assert found.loc[("b", 0), "inside"] == 0
    assert found["auc"].isna().sum() == 2


def test_baselines_know_the_training_part_and_nothing_of_the_picture(make_gaze):
    train, gaze = make_gaze(seed=1, participants=6, frames=20), make_gaze(frames=6)
    made = baselines.make_baselines(train, seed=3)
    assert len({baseline.name for baseline in made}) == 5
    share = (train["inside"] == 1).mean()
    for baseline in made:
        maps = baseline.draw(gaze)
        assert maps.shape == (18, 64, 64)
        np.testing.assert_array_equal(maps[4:9], baseline.draw(gaze.iloc[4:9]))  # blocks may be cut anyhow
        table = baselines.score_baseline(baseline, gaze, truth="box")
        assert set(table["predictor"]) == {baseline.name}
        np.testing.assert_allclose(table["score"], share)
        moved = gaze.assign(gaze_x=640 - gaze["gaze_x"], image="other")
        np.testing.assert_array_equal(baseline.draw(moved), maps)
    assert len(baselines.score_baseline(made[0], make_gaze(raters="ab"), truth="points")) == 36


def test_baselines_answer_what_they_say(make_gaze):
    train, gaze = make_gaze(seed=1, participants=6, frames=20), make_gaze(outside=0)
    known = train[train["inside"] == 1]
    mean = np.array([known["gaze_x"].mean() / 640, known["gaze_y"].mean() / 480])
    found = baselines.score_baseline(baselines.mean_baseline(train), gaze, truth="box")
    np.testing.assert_allclose(found[["peak_x", "peak_y"]], np.tile(mean, (36, 1)))
    density = baselines.density_baseline(train).draw(gaze)[0]
    assert density.sum() == pytest.approx(1, abs=0.1)  # some of it lies beyond the edge
    noise = baselines.score_baseline(baselines.random_baseline(train, seed=0), gaze, truth="box")
    assert noise["auc"].mean() == pytest.approx(0.5, abs=0.05)


def test_head_position_says_where_heads_there_look(make_gaze):
    """Heads on the left look to the right and the other way round; the training density cannot know that."""
    train, gaze = make_gaze(seed=1, participants=6, frames=40, outside=0), make_gaze(outside=0)
    train, gaze = (
        table.assign(gaze_x=np.where(table["x0"] < 250, 600.0, 40.0), gaze_y=240.0) for table in (train, gaze)
    )
    head = baselines.score_baseline(baselines.head_baseline(train, neighbours=8), gaze, truth="box")
    density = baselines.score_baseline(baselines.density_baseline(train), gaze, truth="box")
    assert head["distance"].mean() < 0.1 < density["distance"].mean()
    faceless = gaze.assign(x0=np.nan)
    assert np.ptp(baselines.head_baseline(train).draw(faceless), axis=0).max() == 0
    kept = baselines.head_baseline(train, neighbours=1, per_track=1).draw(gaze)
    assert len({heat.tobytes() for heat in kept}) <= 6  # one row of each training track


def test_baselines_need_somebody_who_looks_somewhere(make_gaze):
    nowhere = make_gaze(outside=1.1)
    for make in (baselines.mean_baseline, baselines.density_baseline, baselines.head_baseline):
        with pytest.raises(TableError, match="No training row"):
            make(nowhere)
    assert baselines.centre_baseline(nowhere).share == 0


def test_published_results_are_there_to_compare_with():
    found = published.published_results()
    assert found.columns.tolist() == ["source", "dataset", "method", "metric", "value"]
    assert not found.duplicated(["source", "dataset", "method", "metric"]).any()
    human_row = found[(found["method"] == "one human") & (found["dataset"] == "gazefollow")].set_index("metric")[
        "value"
    ]
    assert human_row.to_dict() == {"auc_points": 0.924, "avg_distance": 0.096, "min_distance": 0.040}
    assert set(published.published_results("videoattention")["dataset"]) == {"videoattention"}
