"""Figures of a search and of trainings: what they show, with one setting and with many, with one pair and with six."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg.errors import TableError
from nbpkg.metrics import search as tables
from nbpkg.plots import style, training
from nbpkg.training import importance
from nbpkg.training.spaces import PUBLISHED_HEAD, draw_settings

ONE = [("people", "attending")]
SIX = list(itertools.product(("drums", "eggs", "people"), ("attending", "participating")))
BASELINES = pd.DataFrame(
    [{"task": t, "variable": v, "accuracy": 0.62, "f1": 0.76, "balanced_accuracy": 0.5} for t, v in SIX]
)


def words(figure: Figure) -> str:
    """All text of a figure, drawn once so that tick labels exist."""
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def trainings(count: int, pairs: list[tuple[str, str]]) -> pd.DataFrame:
    rows, random = [], np.random.default_rng(0)
    for task, variable in pairs:
        for index, setting in enumerate(draw_settings(PUBLISHED_HEAD, count, seed=0, name=task)):
            for fold in range(3):
                failed = index == 7
                f1 = math.nan if failed else 0.8 - 0.1 * abs(math.log10(setting["learning_rate"]) + 2)
                scores = {"train_f1": 0.9, "validation_f1": f1 + 0.01 * random.standard_normal(), "failed": failed}
                place = {"task": task, "variable": variable, "setting": index, "fold": fold, "repetition": 0}
                rows.append({**place, **setting, "optimiser": "adam", "best_epoch": 3 + fold, **scores})
    return pd.DataFrame(rows)


def history(pairs: list[tuple[str, str]], *, folds: int, epochs: int = 10) -> pd.DataFrame:
    names = ["task", "variable", "fold", "repetition", "split", "metric", "epoch", "value"]
    every = itertools.product(pairs, range(folds), ("train", "validation"), training.MEASURES, range(epochs + 1))
    rows = [(*pair, fold, 0, split, metric, epoch, 1 / (epoch + 2)) for pair, fold, split, metric, epoch in every]
    return pd.DataFrame(rows, columns=names)


@pytest.mark.parametrize(("count", "pairs"), [(1, ONE), (40, SIX)])
def test_all_figures_of_a_search_say_n_and_are_closed(count, pairs):
    before = pyplot.get_fignums()
    trials = trainings(count, pairs)
    settings = tables.summarise_trials(trials)
    noun = "n = 1 setting" if count == 1 else f"n = {count} settings"
    assert noun in words(training.score_distribution(settings, baselines=BASELINES))
    assert noun in words(training.parameter_effects(settings, pairs[0], trials=trials, baselines=BASELINES))
    ranked = importance.rank_importance(settings, space=PUBLISHED_HEAD, seed=0, method="ped_anova")
    text = words(training.importance(ranked))
    assert "fewer than 10" in text if count == 1 else "(n = 39)" in text
    assert f"(n = {count})" in words(training.score_against_budget(tables.score_budgets(settings)))
    chosen = trials.merge(settings.loc[settings["chosen"], ["task", "variable", "setting"]])
    text = words(training.fold_scores(chosen, baselines=BASELINES))
    assert text.count("(n = 3)") == len(pairs)
    assert "validation fold" in text
    assert pyplot.get_fignums() == before


def test_score_distribution_marks_chosen_failed_and_chance():
    settings = tables.summarise_trials(trainings(40, ONE))
    figure = training.score_distribution(settings, baselines=BASELINES)
    text = words(figure)
    for expected in ("people · attending", "chosen", "1 failed", "answering without looking", "validation F1"):
        assert expected in text
    axis = figure.axes[0]
    assert axis.get_xlim() == (0, 1)
    best = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
    assert best == [settings["average_validation_f1"].max()]
    assert [line.get_xdata()[0] for line in axis.lines if line.get_label() == "answering without looking"] == [0.76]
    assert len(axis.collections) == 1, "40 settings have a density"
    few = training.score_distribution(tables.summarise_trials(trainings(3, ONE)))
    assert not few.axes[0].collections


def test_zeros_stand_in_their_own_slot_left_of_the_powers_of_ten():
    settings = tables.summarise_trials(trainings(40, ONE))
    figure = training.parameter_effects(settings, ONE[0])
    axes = {axis.get_xlabel(): axis for axis in figure.axes}
    assert list(axes) == ["learning rate", "lr decay", "weight decay", "class weights"]
    zeros = int(((settings["weight_decay"] == 0) & settings["average_validation_f1"].notna()).sum())
    points = next(line for line in axes["weight decay"].lines if str(line.get_label()).startswith("setting"))
    at, scores = points.get_xdata(), points.get_ydata()
    lowest = np.log10(settings.loc[settings["weight_decay"] > 0, "weight_decay"].min())
    assert int(((at < lowest) & np.isfinite(scores)).sum()) == zeros > 0
    text = words(figure)
    assert "0" in [label.get_text() for label in axes["weight decay"].get_xticklabels()]
    assert "0" not in [label.get_text() for label in axes["learning rate"].get_xticklabels()]
    assert "$\\mathdefault{10^{-2}}$" in text or "$10^{-2}$" in text
    assert [label.get_text() for label in axes["class weights"].get_xticklabels()] == ["no", "yes"]
    strips = next(line for line in axes["class weights"].lines if str(line.get_label()).startswith("setting"))
    assert np.round(strips.get_xdata()).tolist() == settings["class_weights"].astype(float).tolist()


def test_the_chosen_setting_is_marked_on_its_own_point_in_every_panel():
    figure = training.parameter_effects(tables.summarise_trials(trainings(40, ONE)), ONE[0])
    for axis in figure.axes:
        points = next(line for line in axis.lines if str(line.get_label()).startswith("setting"))
        best = next(line for line in axis.lines if line.get_marker() == "D")
        assert (best.get_xdata()[0], best.get_ydata()[0]) in list(
            zip(points.get_xdata(), points.get_ydata(), strict=True)
        )


def test_parameter_effects_of_a_pair_that_was_not_searched_are_refused():
    with pytest.raises(TableError, match="No setting was tried for eggs · attending"):
        training.parameter_effects(tables.summarise_trials(trainings(2, ONE)), ("eggs", "attending"))


def test_learning_curves_show_baseline_epoch_kept_and_both_curves():
    best = pd.DataFrame([{"task": "people", "variable": "attending", "fold": 0, "repetition": 0, "best_epoch": 4}])
    plain = history(ONE, folds=1)
    figure = training.learning_curves(tables.smooth_history(plain, window=5), best, baselines=BASELINES)
    text = words(figure)
    for expected in ("cross entropy", "F1", "balanced accuracy", "epoch kept", "train, smoothed", "n = 1 training"):
        assert expected in text
    loss, accuracy = figure.axes[0], figure.axes[1]
    kept = [line for line in loss.lines if line.get_label() == "epoch kept"]
    assert [line.get_xdata()[0] for line in kept] == [4]
    assert kept[0].get_color() == style.RED
    dashed = [line for line in accuracy.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [0.62]
    assert not [line for line in loss.lines if line.get_linestyle() == "--"], "loss has no baseline"
    curves = [line for line in loss.lines if len(line.get_xdata()) == 11]
    assert len(curves) == 4, "original and smoothed of train and validation"
    assert len(training.learning_curves(plain).axes[0].lines) == 2


def test_learning_curves_of_six_pairs_have_a_row_each_and_a_line_for_each_fold():
    figure = training.learning_curves(history(SIX, folds=4), measures=("loss", "f1"))
    assert len(figure.axes) == 12
    assert words(figure).count("n = 4 trainings") == 6
    assert len(figure.axes[0].lines) == 8


def test_head_and_network_of_a_pair_have_a_row_each():
    both = pd.concat([history(ONE, folds=1).assign(part=part) for part in ("head", "network")])
    best = pd.DataFrame([("people", "attending", "head", 2), ("people", "attending", "network", 5)])
    best.columns = ["task", "variable", "part", "best_epoch"]
    figure = training.learning_curves(both, best, measures=("loss",))
    assert len(figure.axes) == 2
    for axis, part, epoch in zip(figure.axes, ("head", "network"), (2, 5), strict=True):
        assert axis.get_ylabel() == f"people\nattending\n{part}, n = 1 training"
        assert [line.get_xdata()[0] for line in axis.lines if line.get_label() == "epoch kept"] == [epoch]


def test_a_loss_that_went_far_up_is_drawn_on_a_logarithmic_axis():
    far = history(ONE, folds=1)
    far.loc[far["epoch"] == 9, "value"] = 1e6
    assert training.learning_curves(far).axes[0].get_yscale() == "log"
    assert training.learning_curves(history(ONE, folds=1)).axes[0].get_yscale() == "linear"


def test_fold_scores_draw_every_training():
    trials = trainings(1, ONE)
    lines = training.fold_scores(trials).axes[0].lines
    points = next(line for line in lines if line.get_label() == "validation")
    assert points.get_ydata().tolist() == trials["validation_f1"].tolist()
    assert np.round(points.get_xdata()).tolist() == [0, 1, 2]
