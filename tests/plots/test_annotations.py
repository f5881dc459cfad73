"""Figures of annotations: they hold what the tables hold, and say how much that is."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.collections import PolyCollection

from nbpkg.annotations.agreement import count_pairs, measure_agreement, widen
from nbpkg.annotations.sampling import unroll
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import TableError
from nbpkg.plots import annotations as plots

SCHEME = AnnotationScheme.model_validate(
    {
        "folder": "x",
        "name_pattern": "{session}_{rater}",
        "sessions": ["s01", "s02"],
        "raters": ["ana", "bob", "machine"],
        "tasks": ["people", "drums"],
        "variables": ["attending", "participating"],
        "tiers": {
            "attending": {"values": ["attending", "excited"]},
            "participating": {"values": ["self"]},
            "task": {"values": ["people", "drums"]},
        },
    }
)


@pytest.fixture(scope="module")
def spans():
    generator = np.random.default_rng(1)
    rows = []
    for session in SCHEME.sessions:
        for rater in SCHEME.raters:
            for task, start in (("people", 0), ("drums", 70_000)):
                for variable in SCHEME.variables:
                    cuts = [start, *sorted(start + generator.choice(59_000, 7, replace=False) + 500), start + 60_000]
                    for low, high in zip(cuts, cuts[1:], strict=False):
                        value = generator.choice(SCHEME.categories(variable))
                        rows.append((session, rater, task, variable, value, low, high))
    return pd.DataFrame(rows, columns=["session", "rater", "task", "variable", "value", "start_ms", "end_ms"])


@pytest.fixture(scope="module")
def agreement(spans):
    wide = widen(unroll(spans, SCHEME), SCHEME)
    return pd.concat(
        [measure_agreement(count_pairs(wide, SCHEME, labels=labels), resamples=50) for labels in ("all", "binary")]
    )


def texts(figure):
    figure.canvas.draw()
    found = [
        text.get_text()
        for axes in figure.axes
        for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels(), axes.title)
    ]
    found += [text.get_text() for text in figure.texts]
    return found + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_timelines_draw_every_span(spans):
    figure = plots.timelines(spans, "s01", scheme=SCHEME)
    drawn = sum(len(item.get_paths()) for item in figure.axes[0].collections if isinstance(item, PolyCollection))
    assert drawn == (spans["session"] == "s01").sum()
    words = texts(figure)
    marked = ((spans["session"] == "s01") & (spans["rater"] == "ana") & (spans["value"] != "no")).sum()
    assert f"rater ana, n = {marked} spans marked" in words
    assert {"people", "drums", "1:00", "attending: excited", "no (not marked)"} <= set(words)
    with pytest.raises(TableError, match="nothing to draw for session 's09'"):
        plots.timelines(spans, "s09", scheme=SCHEME)


def test_matrices_show_value_interval_and_n(agreement):
    figure = plots.agreement_matrices(agreement, "cohen_kappa", labels="binary")
    row = agreement[
        (agreement["labels"] == "binary") & (agreement["statistic"] == "cohen_kappa") & (agreement["task"] == "people")
        & (agreement["variable"] == "attending") & (agreement["rater_2"] == "bob")
    ].iloc[0]  # fmt: skip
    words = texts(figure)
    assert f"{row['value']:.2f}" in words
    assert any(f"n = {row['n']} in {row['n_sessions']}" in text and f"[{row['low']:.2f}" in text for text in words)
    assert "machine" in words
    images = [image for axes in figure.axes for image in axes.images]
    assert images[0].norm.vmin == -1, "negative values have their own colours"


def test_anonymised_figures_name_nobody(agreement):
    for draw in (plots.agreement_matrices, plots.agreement_bars):
        words = " ".join(texts(draw(agreement, anonymise=True)))
        assert not any(name in words for name in ("ana", "bob", "machine"))
        assert "network" in words


def test_undefined_cells_are_said_to_be(agreement):
    broken = agreement.assign(value=agreement["value"].where(agreement["task"] != "people"), low=np.nan, high=np.nan)
    assert any("undefined" in text for text in texts(plots.agreement_matrices(broken)))
    assert any("undefined" in text for text in texts(plots.agreement_bars(broken)))
    with pytest.raises(TableError, match="nothing to draw for statistic 'guess'"):
        plots.agreement_matrices(agreement, "guess")


def test_durations_say_n_and_draw_no_random_numbers(spans):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    words = texts(plots.durations(spans, scheme=SCHEME))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    count = ((spans["variable"] == "attending") & (spans["value"] == "excited")).sum()
    assert f"excited\nn = {count}" in words


def test_figures_are_not_left_open(spans, agreement):
    before = pyplot.get_fignums()
    plots.agreement_bars(agreement, "raw_agreement")
    plots.timelines(spans, "s02", scheme=SCHEME)
    assert pyplot.get_fignums() == before
