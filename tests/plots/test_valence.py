"""Figures of valence: what they show, that every panel says n, and that what is lacking is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg import tables
from nbpkg.attention.valence.importance import summarise_importance
from nbpkg.errors import TableError
from nbpkg.metrics.valence.summary import compare_baselines, compare_systems
from nbpkg.plots import style, valence, valence_folds, valence_importance, valence_scores, valence_training

sys.path.insert(0, str(Path(__file__).parent))
import valence_figures as made  # noqa: E402

SESSIONS = made.SESSIONS


def words(figure: Figure) -> str:
    """All text of a figure, drawn once so that tick labels exist."""
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def labelled(figure: Figure, label: str) -> list[np.ndarray]:
    """Points [n, 2] of the lines with this label, panel by panel."""
    lines = [line for axis in figure.axes for line in axis.get_lines() if line.get_label() == label]
    return [np.asarray(line.get_xydata(), dtype=float) for line in lines]


def test_courses_run_in_seconds_and_break_where_values_lack():
    figure = valence.courses(made.valence_table(SESSIONS[:2]), SESSIONS[1])
    own, other = (line for line in figure.axes[0].get_lines() if str(line.get_label()).count("frames"))
    points = np.asarray(own.get_xydata(), dtype=float)
    assert points[-1, 0] == pytest.approx((made.SECONDS * 25 - 1) / 25)
    assert np.isnan(points[100:110, 1]).all()
    assert np.isfinite(points[:100, 1]).all()
    assert other.get_color() == style.HUMAN
    text = words(figure)
    assert all(part in text for part in (SESSIONS[1], "n = 990 frames, 10 without value", "time (seconds)", "valence"))
    with pytest.raises(TableError, match="Subject_9"):
        valence.courses(made.valence_table(SESSIONS[:1]), "Subject_9")


def test_values_name_hidden_sessions_and_do_not_draw_them():
    figure = valence.values(made.recording_table())
    text = words(figure)
    assert text.count("hidden") == 3 + 1
    assert "n = 12 sessions, 3 hidden" in text
    assert len(figure.axes[1].patches) == 12
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names.index("Subject_2_Story_1") < names.index("Subject_10_Story_1")


def test_alignment_makes_differences_stand_out():
    figure = valence.alignment(made.alignment_table())
    text = words(figure)
    assert text.count("−1 s") == 15
    assert all(part in text for part in ("+7 s", "3 s empty", "audio\n(n = 15)"))
    fills = [tuple(np.round(patch.get_facecolor()[:3], 2)) for patch in figure.axes[0].patches]
    red = tuple(np.round([int(style.RED[k : k + 2], 16) / 255 for k in (1, 3, 5)], 2))
    assert fills.count(red) == 1
    assert fills.count(tuple(np.round([int(style.ORANGE[k : k + 2], 16) / 255 for k in (1, 3, 5)], 2))) == 1


def test_presence_shows_each_stretch_without_anything():
    arrays = {"Subject_1_Story_2": {"v_sub": np.array([True, False, False, True, False])}}
    figure = valence.presence(arrays)
    there, nothing = figure.axes[0].collections
    assert [path.get_extents().intervalx.tolist() for path in nothing.get_paths()] == [[1, 3], [4, 5]]
    assert [path.get_extents().intervalx.tolist() for path in there.get_paths()] == [[0, 5]]
    assert "n = 5 s, 3 without" in words(figure)
    assert len(valence.presence(made.presence_arrays()).axes) == 3


def test_feature_rows_say_width_and_which_file_is_missing():
    figure = valence.feature_rows(made.modality_table())
    text = words(figure)
    assert "audio, width 988\nn = 15 sessions" in text
    assert "v_sub, width 512\nn = 14 sessions" in text
    assert [len(labelled_points) for labelled_points in labelled(figure, "no file")] == [1]


def test_fold_grid_marks_test_hidden_and_unused_sessions():
    figure = valence_folds.fold_grid(made.recording_table(), made.fold_table())
    text = words(figure)
    assert text.count("test\nhidden") == 3
    assert text.count("unused") == 1
    assert all(part in text for part in ("fold 0: 1 (n = 2)", "test: 3, 6 (n = 6)", "n = 15 sessions", "6\nben"))
    assert sum(bool(patch.get_hatch()) for patch in figure.axes[0].patches) == 6


def test_ranges_have_a_panel_for_each_quantity_and_modality():
    figure = valence_folds.ranges(made.range_table())
    assert len(figure.axes) == 9
    assert len(labelled(figure, "undefined")) == 1
    assert "text (n = 4 folds)" in words(figure)


def test_epoch_curves_mark_the_epoch_kept():
    figure = valence_training.epoch_curves(made.history_table(), made.trial_table())
    assert len(figure.axes) == 3 * 3
    assert {points[0, 0] for points in labelled(figure, "epoch kept")} == {25}
    text = words(figure)
    assert all(part in text for part in ("story 2\n(n = 41 epochs)", "loss", "CCC", "inner fold, which chooses"))
    many = valence_training.epoch_curves(made.history_table(8, epochs=4))
    assert len(many.axes) == 3
    assert "n = 8 trainings" in words(many)
    assert not labelled(many, "epoch kept")


def test_epoch_search_shows_folds_and_says_that_the_choice_is_optimistic():
    table = made.epoch_table()
    figure = valence_training.epoch_search(table)
    best = table.loc[table["mean"].idxmax()]
    (chosen,) = labelled(figure, f"epoch taken: {int(best['epoch'])} (mean {best['mean']:.2f})")
    assert chosen.tolist() == [[best["epoch"], best["mean"]]]
    assert len(labelled(figure, "one fold")) == 3
    (below,) = labelled(figure, "mean − standard deviation")
    assert below[:, 1] == pytest.approx(table["mean_minus_std"].to_numpy())
    assert all(part in words(figure) for part in ("n = 3 folds, 12 epochs", "optimistic"))


def test_fold_scores_stand_beside_optimistic_ones_with_mean_and_mean_less_deviation():
    figure = valence_training.fold_scores(made.trial_table())
    honest = np.array([points[0] for points in labelled(figure, "epoch kept")])
    known = np.array([0.41, 0.22])
    assert honest[:, 0] == pytest.approx([*known, np.nan, known.mean(), known.mean() - known.std()], nan_ok=True)
    best = np.array([points[0] for points in labelled(figure, "best epoch on the fold itself (optimistic)")])
    assert best[:2, 0] == pytest.approx(known + 0.12)
    text = words(figure)
    assert all(part in text for part in ("Mean", "Mean − Std", "3: the truth is constant", "by an inner fold"))
    assert "final" not in text
    assert len(valence_training.fold_scores(made.trial_table(("at", "atv"))).axes) == 2


def test_scores_stand_beside_chance_and_another_person():
    figure = valence_scores.scores(made.metric_table(), names=("ccc", "mse"))
    metrics = made.metric_table()
    rows = metrics[(metrics["by"] == "all") & (metrics["metric"] == "ccc")]
    own = figure.axes[0]
    held = [line.get_xdata()[0] for line in own.get_lines() if line.get_label() == "network, left out"]
    assert sorted(held) == pytest.approx(sorted(rows.loc[rows["role"] == "validation", "value"]))
    people = [line.get_xdata()[0] for line in own.get_lines() if line.get_label() == "another person"]
    assert sorted(people) == pytest.approx(sorted(rows["ceiling"]))
    text = words(figure)
    assert all(part in text for part in ("at\nleft out", "atv\ntest", "9, 3", "lower is better", "95 % interval"))
    with pytest.raises(TableError, match="rmse"):
        valence_scores.scores(metrics, names=("rmse",))


def test_video_grid_leaves_hidden_sessions_pale():
    figure = valence_scores.video_grid(made.score_table())
    picture = figure.axes[0].get_images()[0].get_array()
    assert picture.shape == (3, 5)
    assert np.ma.getmaskarray(picture)[:, 4].all()
    assert np.ma.count(picture) == 12
    text = words(figure)
    assert all(part in text for part in ("at\nn = 12 sessions", "6\nhidden", "3\ntest", "listener", "CCC"))
    assert figure.axes[0].get_images()[0].get_cmap().name == style.HEAT


def test_prediction_courses_draw_no_truth_of_hidden_sessions():
    scores = made.score_table()
    figure = valence_scores.prediction_courses(made.prediction_table(), made.valence_table(), scores=scores)
    panels = {axis.get_title().split(" (")[0]: axis for axis in figure.axes if axis.get_visible()}
    assert list(panels) == sorted(SESSIONS, key=valence.natural)[:6]
    labels = {name: {line.get_label() for line in axis.get_lines()} for name, axis in panels.items()}
    assert "the listener" in labels["Subject_1_Story_1"]
    assert "the listener" not in labels["Subject_1_Story_6"]
    assert "no truth" in panels["Subject_1_Story_6"].get_title()
    value = scores.loc[scores["session"] == "Subject_1_Story_1", "ccc"].iloc[0]
    assert f"CCC {value:.2f}" in panels["Subject_1_Story_1"].get_title()
    (answer,) = (line for line in panels["Subject_1_Story_1"].get_lines() if line.get_label() == "network")
    assert answer.get_xdata()[0] == 0.5
    both = valence_scores.prediction_courses(made.prediction_table(("at", "atv")), sessions=SESSIONS[:2])
    assert all(part in words(both) for part in ("network atv", "n = 40 s", "time (seconds)"))
    with pytest.raises(TableError, match="nobody"):
        valence_scores.prediction_courses(made.prediction_table(), sessions=["nobody"])


def test_stairs_reach_the_end_of_the_last_second():
    figure = valence_scores.prediction_courses(made.prediction_table(), sessions=SESSIONS[:1])
    (truth,) = labelled(figure, "the listener")
    assert truth[-1].tolist() == [made.SECONDS, made.staircase(SESSIONS[0])[-1]]


def test_systems_show_paired_differences_and_whether_they_are_sure():
    scores = made.score_table()
    figure = valence_scores.systems(compare_systems(scores, seed=0, resamples=50))
    text = words(figure)
    assert all(part in text for part in ("at − atv", "left out", "test", "9, 3", "difference in CCC"))
    against = compare_baselines(scores, seed=0, resamples=50)
    figure = valence_scores.systems(against)
    sure = labelled(figure, "interval without 0")
    expected = against[(against["metric"] == "ccc") & ((against["low"] > 0) | (against["high"] < 0))]
    assert len(sure) == len(expected)
    assert "at − constant" in words(figure)


def test_by_subject_shows_every_session_and_both_means():
    scores = made.score_table(("at",))
    figure = valence_scores.by_subject(scores)
    rows = scores[(scores["predictor"] == "network") & (scores["role"] == "held_out")]
    means = [points[0, 0] for points in labelled(figure, "network, mean")]
    assert means == pytest.approx([rows.loc[rows["subject"] == name, "ccc"].mean() for name in ("1", "2", "10")])
    assert [len(points) for points in labelled(figure, "network, a session")] == [3, 3, 3]
    assert len(labelled(figure, "another person, mean")) == 3
    assert len(labelled(figure, "a constant answer")) == 1
    assert "at\n(left out, n = 9 sessions)" in words(figure)
    assert "(test, n = 3 sessions)" in words(valence_scores.by_subject(scores, role="test"))


def test_importance_over_time_has_modalities_as_rows_and_seconds_as_columns():
    importance = made.importance_table()
    figure = valence_importance.importance_over_time(importance, SESSIONS[0], made.prediction_table())
    above, below = figure.axes[:2]
    heat = below.get_images()[0]
    assert heat.get_array().shape == (3, made.SECONDS)
    assert heat.get_cmap().name == style.HEAT
    own = importance[(importance["session"] == SESSIONS[0]) & (importance["modality"] == "text")]
    assert np.asarray(heat.get_array())[1] == pytest.approx(own["value"].to_numpy())
    assert {line.get_label() for line in above.get_lines()} >= {"the listener", "network"}
    assert above.get_xlim() == below.get_xlim() == (0, made.SECONDS)
    assert all(
        part in words(figure) for part in (f"{SESSIONS[0]} (n = 40 s)", "occlusion", "time of what is perceived")
    )
    with pytest.raises(TableError, match="Subject_9"):
        valence_importance.importance_over_time(importance, "Subject_9", made.prediction_table())


def test_importance_shares_have_intervals_and_equal_shares_as_a_line():
    summary = summarise_importance(made.importance_table(SESSIONS[:4]), seed=0, resamples=50)
    figure = valence_importance.importance_shares(summary)
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == pytest.approx(summary["share"].tolist())
    (alike,) = labelled(figure, "all modalities alike")
    assert alike[0, 0] == pytest.approx(1 / 3)
    assert "at: occlusion\n(n = 4 sessions)" in words(figure)


def test_lag_profiles_show_sessions_their_mean_and_the_planted_lag():
    profile = made.profile_table()
    figure = valence_importance.lag_profile(profile, planted={"text": 2})
    assert len(labelled(figure, "a session")) == 3 * 5
    mean = labelled(figure, "mean over sessions")[1]
    assert mean[mean[:, 1].argmax(), 0] == 2
    assert [points[0, 0] for points in labelled(figure, "planted lag")] == [2]
    for axis in figure.axes:
        assert axis.get_ylim()[0] == 0
        assert axis.get_ylim()[1] > profile["change"].max()
    one = profile[profile["session"] == SESSIONS[0]].drop(columns="session")
    assert "n = 1 session" in words(valence_importance.lag_profile(one))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: valence.values(tables.empty("recordings")),
        lambda: valence.alignment(tables.empty("alignment")),
        lambda: valence.presence({}),
        lambda: valence.feature_rows(tables.empty("modalities")),
        lambda: valence_folds.fold_grid(tables.empty("recordings"), tables.empty("folds")),
        lambda: valence_folds.ranges(made.range_table().iloc[:0]),
        lambda: valence_training.epoch_curves(tables.empty("valence_history")),
        lambda: valence_training.epoch_search(tables.empty("valence_epochs")),
        lambda: valence_training.fold_scores(tables.empty("valence_trials")),
        lambda: valence_scores.video_grid(tables.empty("valence_scores")),
        lambda: valence_scores.prediction_courses(tables.empty("valence_predictions")),
        lambda: valence_scores.systems(compare_systems(tables.empty("valence_scores"), seed=0)),
        lambda: valence_scores.by_subject(tables.empty("valence_scores")),
        lambda: valence_importance.importance_shares(pd.DataFrame(columns=["system", "method", "modality"])),
        lambda: valence_importance.lag_profile(made.profile_table().iloc[:0]),
    ],
)
def test_nothing_to_draw_is_said(draw):
    text = words(draw())
    assert text.startswith("no ") or " | no " in text
    assert text.endswith(" yet")
