"""Figures of trainings over face tracks show what the tables say, with n."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg import tables
from nbpkg.plots import looking_training as plots

GAINS = {"full": 0.62, "no_head": 0.55, "no_dropout": 0.6}


def make_tables(repeats: int = 3, within: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and history of three variants; choosing windows are scored twice an epoch."""
    chance, trials, history = np.random.default_rng(0), [], []
    for variant, gain in GAINS.items():
        for repeat in range(repeats):
            name, moments = f"{variant}_repeat_{repeat}", np.arange(1, 10 * within + 1) / within
            best = gain + chance.normal(0, 0.015)
            course = best - 0.3 * np.exp(-moments / 2) - 0.002 * np.maximum(moments - 6, 0) ** 2
            for moment, value in zip(moments, course, strict=True):
                history += [(name, moment, "inner", "map", value), (name, moment, "inner", "loss", 1 - value)]
                if moment % 1 == 0:
                    history += [(name, moment, "train", "map", 0.9 - 0.5 * np.exp(-moment / 3)),
                                (name, moment, "train", "loss", 0.2 + 0.6 * np.exp(-moment / 3)),
                                (name, moment, "train", "accuracy", 0.8),
                                (name, moment, "train", "rate", 1e-4)]  # fmt: skip
            facts = {"system": "sample", "round": name, "variant": variant, "repeat": repeat, "weights": "random"}
            facts |= {"epoch": moments[course.argmax()], "epochs": 10, "inner_map": course.max(), "train_map": 0.88}
            counts = {"n_train": 900, "n_looking": 120, "n_filtered": 0, "n_inner": 412, "parameters": 10}
            trials.append({**facts, **counts, "seconds": 1.0})
    columns = ["round", "epoch", "split", "metric", "value"]
    found = tables.check(pd.DataFrame(history, columns=columns), "looking_history")
    return tables.check(pd.DataFrame(trials)[list(tables.empty("looking_trials").columns)], "looking_trials"), found


def words(figure: Figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def labelled(axis, label: str) -> list[np.ndarray]:
    return [np.asarray(line.get_xydata(), float) for line in axis.get_lines() if line.get_label() == label]


def test_curves_show_both_splits_and_the_moment_that_was_kept():
    trials, history = make_tables()
    figure = plots.training_curves(history, trials)
    assert len(figure.axes) == 2 * len(GAINS)
    right = figure.axes[1]
    own = history[(history["round"] == "full_repeat_0") & (history["metric"] == "map")]
    for split, (_, label) in plots.SPLITS.items():
        np.testing.assert_allclose(labelled(right, label)[0], own.loc[own["split"] == split, ["epoch", "value"]])
    kept = [points[0] for points in labelled(right, "kept")]
    np.testing.assert_allclose(kept, trials.loc[trials["variant"] == "full", ["epoch", "inner_map"]])
    assert "no_head\n3 trainings\nn = 412 windows" in words(figure)


def test_variants_show_every_repeat_and_the_difference_to_the_first():
    trials, _ = make_tables()
    figure = plots.variants(trials, chance=0.5)
    scores, differences = figure.axes
    by = trials.set_index(["variant", "repeat"])["inner_map"]
    for row, name in enumerate(GAINS):
        assert labelled(scores, "one training")[row][:, 0] == pytest.approx(by[name].to_numpy())
        assert labelled(scores, "mean")[row][0, 0] == pytest.approx(by[name].mean())
    assert labelled(differences, "one training")[0][:, 0] == pytest.approx((by["no_head"] - by["full"]).to_numpy())
    assert labelled(scores, "answering without looking")[0][0, 0] == 0.5
    said = words(figure)
    assert "full\n(3 trainings, n = 412 windows)" in said
    assert "difference to full" in said


def test_one_training_and_none():
    trials, history = make_tables()
    one = trials[trials["round"] == "full_repeat_0"]
    assert "1 training\nn = 412 windows" in words(plots.training_curves(history, one))
    figure = plots.variants(one)
    assert "nothing to compare with" in words(figure)
    assert labelled(figure.axes[0], "mean") == []
    assert "no epochs yet" in words(plots.training_curves(history[:0], trials[:0]))
    assert "no variants yet" in words(plots.variants(trials[:0]))
