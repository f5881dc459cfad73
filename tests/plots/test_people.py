"""Figures of several people: what they show, that every panel says n, and that what is lacking is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from nbpkg import tables
from nbpkg.annotations.people.ratings import classify, count_pairs
from nbpkg.errors import TableError
from nbpkg.metrics.people.summary import count_people, rate_ceiling, summarise_people
from nbpkg.metrics.people.systems import SYSTEMS, VARIANTS, compare_systems, compare_variants
from nbpkg.plots import people_clips, people_courses, people_scores, people_training, style

sys.path.insert(0, str(Path(__file__).parent))
import people_figures as made  # noqa: E402

CLASSES = made.CLASSES


def words(figure: Figure) -> str:
    """All text of a figure, drawn once so that tick labels exist."""
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def labelled(figure: Figure, label: str) -> list[np.ndarray]:
    """Points [n, 2] of the lines with this label, panel by panel."""
    lines = [line for axis in figure.axes for line in axis.get_lines() if line.get_label() == label]
    return [np.asarray(line.get_xydata(), dtype=float) for line in lines]


@pytest.fixture(scope="module")
def clips() -> pd.DataFrame:
    return made.clip_table()


@pytest.fixture(scope="module")
def folds() -> pd.DataFrame:
    return made.fold_table()


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return made.prediction_table(("full", "no_memory"))


@pytest.fixture(scope="module")
def metrics(predictions) -> pd.DataFrame:
    rated = rate_ceiling(made.rating_table(), classify)
    return summarise_people(predictions, classes=CLASSES, seed=0, resamples=100, rated=rated)


def test_class_shares_of_each_family_add_up_and_say_what_is_test(clips, folds):
    figure = people_clips.class_shares(clips, folds, classes=CLASSES)
    bars = figure.axes[0].patches
    assert len(bars) == (3 + len(made.FAMILIES)) * 3
    widths = np.array([bar.get_width() for bar in bars]).reshape(-1, 3)
    assert widths.sum(axis=1) == pytest.approx(np.ones(15))
    assert widths[0] == pytest.approx(np.bincount(clips["label"]) / len(clips))
    text = words(figure)
    assert all(part in text for part in ("n = 276", "n = 24, test", "n = 12, training", "family_12"))
    many = pd.concat([clips.assign(family=f"f{number}") for number in range(61)])
    assert len(people_clips.class_shares(many, folds, classes=CLASSES).axes[0].patches) == 3 * 3
    parts = clips.assign(split=np.where(clips["window"] < 6, "train", "val"))
    assert "validation" in words(people_clips.class_shares(parts, classes=CLASSES))


def test_folds_are_bracketed_with_their_families_and_counts(clips, folds):
    figure = people_clips.fold_families(clips, folds, classes=CLASSES)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[:3] == ["family_01", "family_05", "family_09"]
    shown = np.asarray(figure.axes[0].get_images()[0].get_array())
    own = np.bincount(clips.loc[clips["family"] == "family_05", "label"], minlength=3)
    assert shown[1] == pytest.approx(own / own.sum())
    assert "test\nn = 72" in words(figure)
    shares = people_clips.fold_shares(clips, folds, classes=CLASSES)
    assert "n = 60 clips, 3 families" in words(shares)
    assert "fold 3 (test)" in words(shares)


def test_ratings_are_stacked_by_class_and_cuts_say_who_gets_the_border(clips):
    figure = people_clips.ratings(clips, classes=CLASSES, cuts=((2, "lower"), (4, "upper")))
    axis = figure.axes[0]
    assert sum(bar.get_height() for bar in axis.patches) == len(clips)
    assert [line.get_xdata()[0] for line in axis.get_lines()] == [2, 4]
    text = words(figure)
    assert "cut: 2\nis low" in text
    assert "cut: 4\nis high" in text
    assert f"clips (n = {len(clips)})" in text
    fine = clips.assign(rating=clips["rating"] + np.linspace(0, 0.04, len(clips)))
    bars = people_clips.ratings(fine, classes=CLASSES, cuts=()).axes[0].patches
    assert {round(bar.get_width(), 6) for bar in bars} == {0.09}


def test_annotators_are_compared_pair_by_pair():
    counts = count_pairs(made.rating_table())
    figure = people_clips.annotators(counts, classes=CLASSES)
    shown = [np.asarray(axis.get_images()[0].get_array()) for axis in figure.axes[:3]]
    table = counts["Anna", "Ben"]
    assert shown[0] == pytest.approx(table / table.sum(axis=1, keepdims=True))
    assert f"n = {table.sum()} clips, {np.trace(table) / table.sum():.0%} alike" in words(figure)


def test_courses_of_trainings_mark_the_epoch_kept_on_the_inner_families():
    history, trials = made.history_table(), made.trial_table()
    figure = people_training.training_curves(history, trials)
    assert len(figure.axes) == 2 * 3
    kept = labelled(figure, "epoch kept")
    assert len(kept) == 2 * 3 * 6
    row = history[(history["round"] == "full-0-0") & (history["split"] == "inner") & (history["epoch"] == 10)]
    assert kept[0][0] == pytest.approx([10, row.loc[row["metric"] == "loss", "value"].item()])
    assert "(n = 6 trainings)" in words(figure)
    assert "epoch kept" not in words(people_training.training_curves(history))
    other = history[history["metric"] == "loss"].assign(metric="grad_norm")
    assert "norm of the gradient" in words(people_training.training_curves(other))


def test_folds_left_out_show_each_training_and_count_those_without_result():
    trials = made.trial_table()
    figure = people_training.fold_scores(trials, chance=0.22)
    own = trials[(trials["variant"] == "full") & (trials["fold"] >= 0)]["held_out_macro_f1"]
    means = labelled(figure, "mean ± 1 standard deviation")
    assert means[0][0, 0] == pytest.approx(own.mean())
    assert [points[0, 0] for points in labelled(figure, "always the most frequent class")] == [0.22]
    assert "6, 1 without result" in words(figure)


def test_scores_show_interval_constant_answer_and_annotators(metrics):
    figure = people_scores.scores(metrics)
    row = metrics[(metrics["by"] == "all") & (metrics["metric"] == "macro_f1") & (metrics["variable"] == "full")]
    row = row[row["role"] == "validation"].iloc[0]
    assert labelled(figure, "network, left out")[0][0] == pytest.approx([row["value"], 0])
    assert labelled(figure, "always the same class")[0][:, 0] == pytest.approx([row["chance"]] * 2)
    assert labelled(figure, "an annotator against the others")[0][0, 0] == pytest.approx(row["ceiling"])
    assert "204, 9" in words(figure)
    assert "full (test)" in words(figure)
    with pytest.raises(TableError, match="f1_nobody"):
        people_scores.scores(metrics, names=["f1_nobody"])


def test_negative_scores_are_inside_the_axis(metrics):
    low = metrics.assign(value=-0.3, low=-0.4)
    assert people_scores.scores(low, names=["kappa_quadratic"]).axes[0].get_xlim()[0] < -0.4


def test_variants_are_filled_where_they_differ_more_than_repetitions(predictions):
    compared = compare_variants(predictions, classes=CLASSES, seed=0, resamples=100)
    figure = people_scores.variants(compared)
    own = compared[(compared["metric"] == "macro_f1") & (compared["role"] == "validation")].set_index("variant")
    (point,) = labelled(figure, "more than repetitions differ")
    assert point[0] == pytest.approx([own.loc["no_memory", "difference"], 1])
    spread = labelled(figure, "± 1 standard deviation")[0][:, 0]
    assert spread[1] - spread[0] == pytest.approx(2 * own.loc["full", "spread"])
    assert "n = 3 repetitions" in words(figure)
    assert "the reference" in words(figure)
    single = compare_variants(predictions[predictions["repeat"] == 0], classes=CLASSES, seed=0, resamples=100)
    assert len(labelled(people_scores.variants(single), "less than repetitions differ, or unknown")) == 1


def test_systems_are_compared_role_by_role():
    table = made.prediction_table(("full",), systems=("cpm_t", "i3d"))
    compared = compare_systems(table, classes=CLASSES, seed=0, resamples=100)
    figure = people_scores.systems(compared)
    assert [axis.get_title() for axis in figure.axes] == ["left out", "test"]
    own = compared[(compared["metric"] == "macro_f1") & (compared["role"] == "validation")]
    assert labelled(figure, "interval without 0")[0][0, 0] == pytest.approx(own["difference"].item())
    assert "cpm_t − i3d" in words(figure)


def test_confusions_have_four_panels_with_all_classes(predictions):
    counts = count_people(predictions, classes=CLASSES)
    figure = people_scores.confusions(counts, classes=CLASSES)
    shown = [np.asarray(axis.get_images()[0].get_array()) for axis in figure.axes[:4]]
    own = predictions[(predictions["variant"] == "full") & (predictions["role"] == "held_out")]
    wanted = pd.crosstab(own["truth"], own["predicted"]).to_numpy()
    assert shown[0] == pytest.approx(wanted)
    assert shown[1].sum(axis=1) == pytest.approx(np.ones(3))
    assert shown[2].sum(axis=0) == pytest.approx(np.ones(3))
    assert shown[3].sum() == pytest.approx(1)
    assert f"n = {len(own)} answers in 3 repetitions" in words(figure)


def test_every_family_has_its_own_row_in_natural_order(metrics):
    figure = people_scores.families(metrics)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == made.FAMILIES
    assert len(labelled(figure, "network, left out")) == 9
    assert len(labelled(figure, "network, test")) == 3
    assert "12, 1" in words(figure)


def test_timeline_shows_truth_and_mean_probabilities_in_seconds(predictions):
    figure = people_courses.timeline(predictions, "family_01_play1", classes=CLASSES, seconds=3.0)
    strip, axis = figure.axes
    assert axis.get_xlim() == strip.get_xlim() == (0, 3 * made.WINDOWS)
    own = predictions[(predictions["recording"] == "family_01_play1") & (predictions["variant"] == "full")]
    means = own.groupby("window")["p_low"].mean()
    assert [bar.get_height() for bar in axis.patches[: made.WINDOWS]] == pytest.approx(means.tolist())
    colours = list(people_clips.class_colours(CLASSES).values())
    truth = own.drop_duplicates("window").sort_values("window")["truth"]
    assert [to_hex(bar.get_facecolor()) for bar in strip.patches] == [colours[label] for label in truth]
    assert "(left out, n = 12 windows)" in words(figure)
    two = people_courses.timeline(predictions, "family_01_play1", classes=CLASSES, variants=("full", "no_memory"))
    assert len(two.axes) == 3
    assert "no_memory" in words(two)
    with pytest.raises(TableError, match="nowhere"):
        people_courses.timeline(predictions, "nowhere", classes=CLASSES)


def test_slid_answers_lie_in_time_with_the_labelled_clips_above(clips):
    own = clips[clips["session"] == "family_01_play1"]
    spans = {"start_s": own["first"] / 25, "end_s": (own["first"] + own["frames"]) / 25, "label": own["label"]}
    answers = made.slide_table()
    figure = people_courses.slide_timeline(answers, "family_01_play1", classes=CLASSES, labelled=pd.DataFrame(spans))
    strip, axis = figure.axes
    assert strip.patches[-1].get_x() + strip.patches[-1].get_width() == pytest.approx(36)
    assert axis.get_xlim()[1] == pytest.approx(answers["seconds"].max() + 0.32)
    assert axis.patches[0].get_x() + axis.patches[0].get_width() / 2 == pytest.approx(1.28)
    assert "one every 0.64 s" in words(figure)
    assert "no labelled clips" in words(people_courses.slide_timeline(answers, "family_01_play1", classes=CLASSES))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: people_clips.class_shares(tables.empty("clips"), classes=CLASSES),
        lambda: people_clips.fold_shares(tables.empty("clips"), tables.empty("folds"), classes=CLASSES),
        lambda: people_clips.fold_families(tables.empty("clips"), tables.empty("folds"), classes=CLASSES),
        lambda: people_clips.ratings(tables.empty("clips"), classes=CLASSES, cuts=()),
        lambda: people_clips.annotators({}, classes=CLASSES),
        lambda: people_training.training_curves(tables.empty("people_history")),
        lambda: people_training.fold_scores(tables.empty("people_trials")),
        lambda: people_scores.variants(pd.DataFrame(columns=VARIANTS)),
        lambda: people_scores.systems(pd.DataFrame(columns=SYSTEMS)),
        lambda: people_scores.families(tables.empty("metrics")),
        lambda: people_scores.confusions(count_people(made.prediction_table(("full",), 1), classes=CLASSES).iloc[:0],
                                         classes=CLASSES),
    ],
)  # fmt: skip
def test_nothing_to_draw_is_said(draw):
    text = words(draw())
    assert text.startswith("no ") or " | no " in text
    assert text.endswith(" yet")


def test_classes_are_told_apart_without_colour():
    """From dark to light in order, so that print and colour-blind readers see the order, too."""
    rgb = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in
                    people_clips.class_colours(("a", "b", "c", "d", "e")).values()])  # fmt: skip
    light = rgb @ [0.299, 0.587, 0.114]
    assert (np.diff(light) > 20).all()
    assert style.HEAT == "cividis"
