"""Figures of painting: every session, painter and cell is there, with n, and numbers are those of the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba

from nbpkg.plots import painting, style
from nbpkg.plots.overlay import overlay

TASKS, VARIABLES, VALUES = ("eggs", "drums"), ("attending", "participating"), ("no", "self", "joint")


def words(figure) -> str:
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def bars(axis) -> list[tuple[float, float, tuple]]:
    """Start, length and colour of every span drawn with broken_barh."""
    found = []
    for collection in axis.collections:
        for path in collection.get_paths():
            low, high = path.get_extents().intervalx
            found.append((round(float(low), 4), round(float(high - low), 4), tuple(collection.get_facecolor()[0])))
    return found


@pytest.fixture(scope="module")
def regions() -> pd.DataFrame:
    rows = []
    for session in ("s1", "s2", "s3"):
        for task, start in zip(TASKS, (60_000, 180_000), strict=True):
            for variable in VARIABLES:
                rows.append((session, task, variable, 1, start, start + 30_000))
                rows.append((session, task, variable, 0, start + 40_000, start + 70_000))
    return pd.DataFrame(rows, columns=["session", "task", "variable", "label", "start_ms", "end_ms"])


@pytest.fixture(scope="module")
def snippets(regions) -> pd.DataFrame:
    chosen = regions[(regions["session"] != "s3") | (regions["label"] == 1)]
    chosen = chosen.assign(start_ms=chosen["start_ms"] + 6000, raters=2, painted=False)
    chosen = chosen.assign(end_ms=chosen["start_ms"] + 5000)
    names = chosen["session"] + "_" + chosen["start_ms"].astype(str) + "_" + chosen["variable"]
    return chosen.assign(snippet_id=names).reset_index(drop=True)


@pytest.fixture(scope="module")
def paintings(snippets) -> pd.DataFrame:
    """Painter p1 has finished, p2 is in the middle, p3 has not begun."""
    rows = []
    for painter, done in (("p1", len(snippets)), ("p2", 5), ("p3", 0)):
        for place, name in enumerate(snippets["snippet_id"]):
            state = "done" if place < done else "todo"
            state = {5: "begun", 6: "skipped"}.get(place, state) if painter == "p2" else state
            worked = state != "todo"
            rows.append((name, painter, state, 16 * worked, 8 * worked, (20 + place) * worked, 90.0 * worked, ""))
    columns = ["snippet_id", "painter", "state", "frames", "painted_frames", "strokes", "seconds", "reason"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def answers(snippets, paintings) -> pd.DataFrame:
    """p1 answers as the raters but for one snippet, p2 always says no; both answer both questions."""
    label = snippets.set_index("snippet_id")["label"]
    rows = []
    for one in paintings[paintings["state"] == "done"].itertuples():
        wrong = one.painter == "p1" and one.snippet_id == snippets["snippet_id"][0]
        yes = one.painter == "p1" and bool(label[one.snippet_id]) != wrong
        rows += [(one.snippet_id, one.painter, question, "self" if yes else "no") for question in VARIABLES]
    return pd.DataFrame(rows, columns=["snippet_id", "painter", "question", "value"])


def test_regions_and_choice_lie_at_their_times(regions, snippets):
    figure = painting.regions(regions, snippets)
    text = words(figure)
    for expected in ("session s1 (n = 8 snippets)", "session s3 (n = 4 snippets)", "eggs", "drums", "minutes",
                     "attending", "participating", "chosen: yes", "chosen: no", "all raters say yes"):  # fmt: skip
        assert expected in text
    assert len(figure.axes) == 3
    drawn = bars(figure.axes[0])
    yes, faint = to_rgba(style.ORANGE), to_rgba(style.ORANGE, 0.55)
    assert (1.0, 0.5, faint) in drawn
    assert (1.1, round(5 / 60, 4), yes) in drawn
    assert sum(colour == yes for _, _, colour in drawn) == 4
    assert sum(colour == to_rgba(style.SKY) for _, _, colour in bars(figure.axes[2])) == 0


def test_progress_shows_states_n_and_work(paintings):
    figure = painting.progress(paintings)
    text = words(figure)
    for expected in ("p1", "p2", "p3", "to do", "skipped", "n = 20, 30.0 min of work", "n = 20, 0.0 min of work"):
        assert expected in text
    lengths = [patch.get_width() for patch in figure.axes[0].patches]
    assert lengths == [20, 0, 0, 0, 5, 1, 1, 13, 0, 0, 0, 20]


def test_effort_shows_finished_paintings_only(paintings):
    figure = painting.effort(paintings)
    text = words(figure)
    assert "p1 (n = 20)" in text
    assert "p2 (n = 5)" in text
    assert "p3" not in text
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [20, 5]
    assert set(np.concatenate([line.get_xdata() for line in dots])) == {50.0}
    medians = [line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() == "None"]
    assert medians == [29.5, 22.0]


def test_a_snippet_shows_what_each_painter_painted_and_answered(snippets, answers):
    frames = np.random.default_rng(0).integers(0, 255, (16, 36, 64, 3), np.uint8)
    maps = {name: np.random.default_rng(place).random((16, 9, 16)) for place, name in enumerate(("p1", "p2"))}
    figure = painting.painted_snippet(snippets.iloc[1].to_dict(), frames, maps, answers, privacy="pixelated", moments=4)
    text = words(figure)
    for expected in (
        "p1\nno, no",
        "p2\nno, no",
        "s1 · eggs · attending, raters agree: no",
        "n = 2 painters",
        "106.2 s",
    ):
        assert expected in text
    assert len(figure.axes) == 3 * 4 + 1
    shown = figure.axes[4 + 3].get_images()[0].get_array()
    assert np.array_equal(shown, overlay(frames, maps["p1"], privacy="pixelated")[15])


def test_places_share_one_scale_and_say_n():
    means = {"attending · yes": np.full((4, 6), 0.2), "attending · no": np.eye(4, 6) * 0.6}
    figure = painting.painted_places(means, {"attending · yes": 7, "attending · no": 3})
    assert "attending · yes\nn = 7 paintings" in words(figure)
    images = [axis.get_images()[0] for axis in figure.axes[:2]]
    assert all(image.get_clim() == (0, 0.6) for image in images)
    assert np.array_equal(images[1].get_array(), means["attending · no"])
    assert painting.painted_places({"x": np.zeros((2, 2))}, {"x": 0}).axes


def test_answers_stand_beside_the_consensus(answers, snippets):
    figure = painting.answers(answers, snippets, absent="no")
    text = words(figure)
    right = {"attending": (10 - 1) + 1, "participating": 10 + 1}  # of p2, those labelled no
    own = answers.merge(snippets, on="snippet_id")
    for question, count in right.items():
        n = len(own[(own["question"] == question) & (own["variable"] == question)])
        assert f"{question}: {count} of n = {n} agree" in text
    for expected in ("p1 · raters: yes", "p2 · raters: no", "self", "share of the row's snippets"):
        assert expected in text
    matrix = figure.axes[0].get_images()[0].get_array()
    assert np.allclose(matrix[0], [1, 0])  # p1, raters say no
    assert np.allclose(matrix[1], [1 / 6, 5 / 6])
    framed = [patch.get_xy() for patch in figure.axes[0].patches]
    assert len(framed) == 4


def test_agreement_of_painters_shows_every_pair_direction_and_n():
    rows = [
        (one, two, metric, value, value - 0.1, value + 0.1, 9)
        for one, two, value in (("p1", "p2", 0.5), ("p2", "p1", 0.6))
        for metric in ("linear_correlation", "earth_mover")
    ]
    rows.append(("p1", "p3", "linear_correlation", np.nan, np.nan, np.nan, 0))
    table = pd.DataFrame(rows, columns=["painter", "other", "metric", "value", "low", "high", "n"])
    figure = painting.painter_agreement(table, metrics=["linear_correlation", "earth_mover"])
    text = words(figure)
    for expected in (
        "p1 – p2",
        "p2 – p1",
        "p1 – p3",
        "higher is more alike",
        "lower is more alike",
        "n = 9",
        "n = 0: undefined",
    ):
        assert expected in text
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert marks[:2] == [0.5, 0.6]


def test_nothing_to_draw_yet_is_said_in_the_figure(regions, snippets, paintings, answers):
    """A person who opens the notebook before anything is painted needs the painter, not an error."""
    for figure, what in (
        (painting.regions(regions[:0], snippets[:0]), "no regions yet"),
        (painting.progress(paintings[:0]), "no paintings yet"),
        (painting.effort(paintings[paintings["painter"] == "p3"]), "no finished paintings yet"),
        (painting.answers(answers[answers["question"] == "smiling"], snippets, absent="no"), "no answers"),
        (painting.painted_places({}, {}), "no paintings yet"),
    ):
        assert figure.axes[0].texts[0].get_text().startswith(what)
