"""Figures of scores of looking: what they show, that every panel says n, and that what is lacking is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg.errors import TableError
from nbpkg.metrics.looking.curves import count_looking, trace_looking
from nbpkg.metrics.looking.scores import summarise_looking
from nbpkg.plots import looking_scores

sys.path.insert(0, str(Path(__file__).parent))
import looking_score_figures as made  # noqa: E402

CHANCE, HUMAN = "answering blindly", "one annotator against the other"


def words(figure: Figure) -> str:
    """All text of a figure, drawn once so that tick labels exist."""
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


def labelled(figure: Figure, label: str) -> list[np.ndarray]:
    """Points [n, 2] of the lines with this label, panel by panel."""
    lines = [line for axis in figure.axes for line in axis.get_lines() if line.get_label() == label]
    return [np.asarray(line.get_xydata(), dtype=float) for line in lines]


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return made.prediction_table()


@pytest.fixture(scope="module")
def table(predictions) -> pd.DataFrame:
    return summarise_looking(predictions, made.PLAN, people=made.people_table())


def test_scores_show_chance_annotators_and_n(table):
    figure = looking_scores.scores(table)
    own = table[(table["part"] == "all") & (table["system"] == "gazepose")].set_index("measure")
    assert labelled(figure, "score")[0][0] == pytest.approx([own.loc["map", "value"], 0])
    assert len(labelled(figure, CHANCE)) == 9
    assert [points[0, 0] for points in labelled(figure, HUMAN)] == [own.loc["accuracy", "ceiling"]] * 3
    text = words(figure)
    assert "n faces, videos" in text
    assert "990, 6" in text
    assert "val, stride 3" in text


def test_halves_of_quality_are_rows_of_their_own(table):
    text = words(looking_scores.scores(table, names=("map",), parts=("quality_low", "quality_high")))
    assert "gazepose, less sharp half | gazepose, sharper half" in text
    with pytest.raises(TableError, match="lacks \\['auc'\\]"):
        looking_scores.scores(table, names=("auc",))


def test_undefined_scores_say_so(table):
    own = table.assign(value=np.nan)
    assert "990, 6: undefined" in words(looking_scores.scores(own))


def test_curves_have_a_chance_line_and_n(predictions):
    curves = trace_looking(predictions, made.PLAN)
    figure = looking_scores.precision_recall(curves)
    share = predictions["label"].mean()
    assert [points[0, 1] for points in labelled(figure, f"chance {share:.3f}")] == pytest.approx([share])
    area = curves[(curves["system"] == "gazepose") & (curves["part"] == "all") & (curves["class"] == "looking")]
    label = f"gazepose: AP {area['average_precision'].iloc[0]:.3f}"
    (line,) = labelled(figure, label)
    assert line[-1] == pytest.approx([1, area["envelope"].iloc[-1]])
    assert "looking (n = 990 faces)" in words(figure)
    half = words(looking_scores.precision_recall(curves, part="quality_low", systems=["baseline"]))
    assert "less sharp half" in half
    assert "gazepose" not in half
    one = curves[curves["class"] == "looking"]
    assert "nobody of this class" in words(looking_scores.precision_recall(one))
    assert "no curves" in words(looking_scores.precision_recall(curves.iloc[:0]))


def test_confusions_show_shares_and_counts(predictions):
    counts = count_looking(predictions, made.PLAN)
    figure = looking_scores.confusions(counts)
    own = counts[(counts["system"] == "gazepose") & (counts["part"] == "all")]
    shown = np.asarray(figure.axes[0].get_images()[0].get_array())
    for one in own.itertuples():
        assert shown[one.label, one.predicted] == pytest.approx(one.share)
        assert f"{one.share:.1%}\n{one.n}" in words(figure)
    assert "looking from a score of 0.5" in words(figure)
    positive = count_looking(predictions[predictions["label"] == 1], made.PLAN)
    assert "–\n0" in words(looking_scores.confusions(positive))
    assert "no answers" in words(looking_scores.confusions(counts.iloc[:0]))


def test_every_video_has_its_row(table):
    figure = looking_scores.videos(table, measure="accuracy")
    text = words(figure)
    assert "gazepose (n = 6 videos)" in text
    own = table[(table["part"] == "video") & (table["measure"] == "accuracy") & (table["system"] == "gazepose")]
    assert [points[0, 0] for points in labelled(figure, "score")][:6] == own["value"].tolist()
    assert f"{own['n'].iloc[0]}, {own['positives'].iloc[0]}" in text
    assert len(labelled(figure, HUMAN)) == 9
    assert "no videos" in words(looking_scores.videos(table[table["part"] == "all"]))


def test_a_timeline_shows_segments_gaps_and_missing_crops(predictions):
    segments = made.segment_table()
    clip = made.name_clip(1)
    figure = looking_scores.timeline(
        predictions, segments, session=clip, track="1:0", missing=range(90, 105), fps=10
    )  # fmt: skip
    strip, axis = figure.axes
    own = segments[(segments["session"] == clip) & (segments["person"] == "1")]
    starts = sorted(bar.get_x() for bar in strip.patches)
    assert starts == pytest.approx(sorted(own["start_frame"] / 10))
    assert sum(bar.get_width() for bar in strip.patches) == pytest.approx(
        ((own["end_frame"] - own["start_frame"] + 1) / 10).sum()
    )
    (course,) = labelled(figure, "gazepose")
    assert np.isnan(course).any(axis=1).sum() == 1
    assert len(axis.patches) == 15
    text = words(figure)
    assert "n = 55 faces, 15 without a crop" in text
    assert "looks, second annotator" in text


def test_a_track_without_segments_says_so(predictions):
    segments = made.segment_table().iloc[:0]
    text = words(looking_scores.timeline(predictions, segments, session=made.name_clip(0), track="0:0"))
    assert "no looking segment of this person" in text
    with pytest.raises(TableError, match="no answers for track 'none'"):
        looking_scores.timeline(predictions, segments, session=made.name_clip(0), track="none")
