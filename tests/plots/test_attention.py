"""Figures of compared attention: values, chance, controls, ceiling and n are those of the tables, and all are named."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from nbpkg.attention.comparing.measures import MEASURES
from nbpkg.attention.comparing.summary import rank_methods, summarise_comparisons
from nbpkg.attention.faithfulness_scores import MAP, RANDOM, average_curves
from nbpkg.errors import TableError
from nbpkg.plots import attention as figures
from nbpkg.plots import faithfulness, style

METHODS = {"gradcam": 0.5, "occlusion": 0.4}
SKILL = {"human": 0.8, "uniform": 0.05, "centre": 0.3, "motion": 0.35, "other snippet": 0.2}
USED = ("linear_correlation", "earth_mover", "auc_judd")


def words(figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def marks(axis, kind: str, face: str = "") -> list[float]:
    """Places of all single marks of a kind, in order of drawing."""
    chosen = [line for line in axis.lines if line.get_marker() == kind and len(line.get_xdata()) == 1]
    return [float(line.get_xdata()[0]) for line in chosen if not face or line.get_markerfacecolor() == face]


def dashed(axis) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axis.lines if line.get_linestyle() == "--"]


@pytest.fixture(scope="module")
def comparisons() -> pd.DataFrame:
    """Four sessions, two pairs, two snippets of each; uniform maps have no correlation."""
    random = np.random.default_rng(0)
    rows = []
    for session in ("s1", "s2", "s3", "s4"):
        for task in ("eggs", "drums"):
            for label in (0, 1):
                keys = [(source, "", "", skill) for source, skill in SKILL.items()]
                for method, skill in METHODS.items():
                    keys += [("network", method, "matching", skill), ("network", method, "opposite", skill - 0.2)]
                    keys += [("random network", method, name, 0.25) for name in ("matching", "opposite")]
                for source, method, condition, skill in keys:
                    for metric in USED:
                        value = skill + 0.05 * random.standard_normal()
                        value = 10 * (1 - value) if MEASURES[metric].direction == "lower" else value
                        if source == "uniform" and metric == "linear_correlation":
                            value = np.nan
                        head = (f"{session}_{task}_{label}", session, task, "attending", label)
                        rows.append((*head, source, method, condition, metric, "frame", value, 16, 16, 2))
    names = ["snippet_id", "session", "task", "variable", "label", "source", "method", "condition", "metric", "level"]
    return pd.DataFrame(rows, columns=[*names, "value", "frames", "frames_defined", "references"])


@pytest.fixture(scope="module")
def attention(comparisons) -> pd.DataFrame:
    return summarise_comparisons(comparisons, seed=0, resamples=100)


def one(attention: pd.DataFrame, **wanted: str) -> pd.Series:
    rows = attention
    for name, value in {"task": "all", "metric": "linear_correlation", "method": "", "condition": "", **wanted}.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_scores_show_methods_twins_controls_people_chance_and_direction(attention):
    figure = figures.scores(attention, metrics=[*USED, "pointing_game"])
    axis = figure.axes[0]
    network = [one(attention, source="network", method=name, condition="matching")["value"] for name in METHODS]
    twins = [one(attention, source="random network", method=name, condition="matching")["value"] for name in METHODS]
    assert marks(axis, "o", style.MODEL) == network
    assert marks(axis, "o", "white") == twins
    controls = [one(attention, source=name)["value"] for name in ("centre", "motion", "other snippet")]
    assert marks(axis, "s") == controls
    assert marks(axis, "D") == [one(attention, source="human")["value"]]
    assert dashed(axis) == [max(controls)]
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["Grad-CAM", "Occlusion", "uniform", "centre", "motion", "people, another session's snippet",
                     "one painter against another"]  # fmt: skip
    text = words(figure)
    for expected in ("Linear correlation", "higher is better", "lower is better", "n = 16 snippets, 4 sessions",
                     "undefined", "random network", "chance: the best control", "trained network, 95 % over sessions",
                     "people against each other", "maps for the class on which the raters agree"):  # fmt: skip
        assert expected in text
    assert "Pointing" not in text  # it was not measured
    lowest = min(one(attention, source=name, metric="earth_mover")["value"] for name in SKILL if name != "human")
    assert dashed(figure.axes[1]) == [lowest]


def test_scores_of_the_other_class_of_one_pair_and_of_a_level_that_is_not_there(attention):
    figure = figures.scores(attention, metrics=USED, condition="opposite", task="eggs", variable="attending")
    expected = one(attention, source="network", method="gradcam", condition="opposite", task="eggs")["value"]
    assert marks(figure.axes[0], "o", style.MODEL)[0] == expected
    assert "maps for the other class" in words(figure)
    with pytest.raises(TableError, match="all · all · clip"):
        figures.scores(attention, level="clip")


def test_one_measure_for_every_pair(attention):
    figure = figures.scores_by_pair(attention, metric="earth_mover")
    text = words(figure)
    for expected in ("drums · attending", "eggs · attending", "n = 8 snippets, 4 sessions", "lower is better"):
        assert expected in text
    drums = one(
        attention, source="network", method="occlusion", condition="matching", task="drums", metric="earth_mover"
    )
    assert marks(figure.axes[0], "o", style.MODEL)[1] == drums["value"]
    with pytest.raises(TableError, match="no 'beauty'"):
        figures.scores_by_pair(attention, metric="beauty")


@pytest.mark.parametrize(("kind", "source", "condition"), [
    ("condition", "network", "difference"), ("random", "network - random", "matching"),
])  # fmt: skip
def test_differences_say_which_side_is_better(attention, kind, source, condition):
    figure = figures.differences(attention, kind=kind, metrics=USED)
    expected = [one(attention, source=source, method=name, condition=condition)["value"] for name in METHODS]
    assert marks(figure.axes[0], "o") == expected
    assert min(expected) > 0
    assert dashed(figure.axes[0]) == [0]
    low, high = figure.axes[0].get_xlim()
    assert low == -high
    titles = [axis.get_title() for axis in figure.axes[:3]]
    assert ["right is better" in title for title in titles] == [True, False, True]
    assert "left is better" in titles[1]
    assert all("n = 16 snippets, 4 sessions" in title for title in titles)
    with pytest.raises(TableError, match="no differences 'weather'"):
        figures.differences(attention, kind="weather")


def test_the_table_writes_every_value_with_its_interval(attention):
    text = words(figures.controls(attention, metrics=USED))
    people = one(attention, source="human")
    written = f"{people['value']:.2f} [{people['low']:.2f}, {people['high']:.2f}]"
    for expected in (written, "Grad-CAM, random network", "Occlusion", "uniform", "motion", "–", "(lower is better)",
                     "n = 16 snippets, 4 sessions"):  # fmt: skip
        assert expected in text


def test_ranking_shows_shares_of_the_way_from_chance_to_people(attention):
    ranked = rank_methods(attention, USED)
    figure = figures.ranking(ranked)
    text = words(figure)
    assert f"{ranked['median'][0]:.0f} %" in text
    for expected in ("Grad-CAM", "Occlusion, random network", "people", "knows nothing", "median"):
        assert expected in text
    first = figure.axes[0].get_images()[0].get_array()[0]
    assert np.allclose(first, ranked[[*USED, "median"]].iloc[0].astype(float).clip(-100, 100))
    with pytest.raises(TableError, match="no methods"):
        figures.ranking(ranked[:0])


@pytest.fixture(scope="module")
def tested() -> pd.DataFrame:
    """Deletion, insertion and randomisation of two methods; one has no map at the end of the cascade."""
    random, rows = np.random.default_rng(1), []
    share = np.linspace(0, 1, 6)
    for session in ("s1", "s2", "s3"):
        for method, speed in (("occlusion", 6.0), ("gradcam", 3.0)):
            head = (f"{session}_0", session, "eggs", "attending", method)
            for note, rate in ((MAP, speed), (RANDOM, 1.0)):
                fall = np.exp(-rate * share) + 0.01 * random.random(6)
                for test, curve in (("deletion", fall), ("insertion", 1 - fall)):
                    rows += [
                        (*head, test, step, value, note) for step, value in zip(share, curve.clip(0, 1), strict=True)
                    ]
            for step, block, value in ((0, "", 1.0), (0.5, "classifier", 0.4), (1, "stem", 0.1)):
                gone = block == "stem" and method == "gradcam"
                note = f"{block} (the map is the same everywhere)" if gone else block
                rows.append((*head, "randomisation", step, np.nan if gone else value, note))
    columns = ["snippet_id", "session", "task", "variable", "method", "test", "step", "value", "note"]
    return pd.DataFrame(rows, columns=columns)


def test_curves_show_map_and_random_order_of_both_tests(tested):
    means = average_curves(tested, seed=0, resamples=50)
    figure = faithfulness.curves(means)  # the only pair stands for all
    axis = figure.axes[0]
    assert axis.get_title() == "Occlusion"
    lines = {line.get_linestyle(): line.get_ydata() for line in axis.lines}
    own = means.query("method == 'occlusion' and test == 'deletion'")
    assert np.allclose(lines["-"], own[own["note"] == MAP]["value"])
    assert np.allclose(lines["--"], own[own["note"] == RANDOM]["value"])
    text = words(figure)
    for expected in ("deletion\n(lower is better)", "insertion\n(higher is better)", "random order",
                     "n = 3, 3 sessions", "probability of the raters' class"):  # fmt: skip
        assert expected in text
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["0%", "50%", "100%"]
    with pytest.raises(TableError, match="nothing to draw for drums"):
        faithfulness.curves(means, task="drums", variable="attending")


def test_randomisation_shows_every_block_and_what_is_undefined(tested):
    means = average_curves(tested, seed=0, resamples=50)
    figure = faithfulness.randomisation(means)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["trained", "classifier", "stem"]
    curve = next(line for line in figure.axes[0].lines if line.get_marker() == "o")
    assert np.allclose(curve.get_ydata(), [1, 0.4, 0.1])
    crosses = [line.get_xdata() for line in figure.axes[1].lines if line.get_marker() == "x"]
    assert [list(values) for values in crosses] == [[2]]
    assert "undefined" in words(figure)
    whole = average_curves(tested[tested["method"] == "occlusion"], seed=0, resamples=50)
    assert "undefined" not in words(faithfulness.randomisation(whole))
    with pytest.raises(TableError, match="was not made"):
        faithfulness.randomisation(means[means["test"] != "randomisation"])


def test_these_figures_load_no_torch(root):
    code = (
        "import sys; from nbpkg.plots import attention, faithfulness, overlay, painting; print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
