"""Figures of gaze: what they show, that every panel says n, and that people stay veiled."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg.annotations.gaze.collection import measure_geometry
from nbpkg.errors import SettingsError, TableError
from nbpkg.plots import gaze as data
from nbpkg.plots import gaze_maps, gaze_overlay, gaze_reference, gaze_scores, gaze_training

sys.path.insert(0, str(Path(__file__).parent))
from gaze_figures import blob, cell_table, gaze_table, history_table, metric_table, scene, score_table  # noqa: E402

CHANCE = {"auc": 0.81, "distance": 0.15}


def words(figure: Figure) -> str:
    """All text of a figure, drawn once so that tick labels exist."""
    figure.canvas.draw()
    return " | ".join(text.get_text() for text in figure.findobj(match=pyplot.Text) if text.get_text())


@pytest.fixture(scope="module")
def gaze() -> pd.DataFrame:
    return gaze_table()


@pytest.fixture(scope="module")
def scored(gaze) -> pd.DataFrame:
    return score_table(gaze)


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    return history_table(epochs=4)


@pytest.fixture(scope="module")
def shown(scored, gaze) -> pd.DataFrame:
    """Four answered frames with their head boxes."""
    joined = scored[scored["inside"] == 1].merge(gaze, on=["session", "person", "rater", "frame"], suffixes=("", "_b"))
    return joined.iloc[[0, 20, 40, 60]]


def pictures(figure: Figure) -> list[np.ndarray]:
    """The pictures of a figure."""
    return [np.asarray(image.get_array()) for axis in figure.axes for image in axis.get_images()]


def test_density_has_one_scale_and_n():
    half = np.zeros((24, 32))
    half[10:14, 4:8] = 0.5
    figure = data.location_density({"boxes": half, "circles": half / 2}, sizes={"boxes": 5231, "circles": 12})
    text = words(figure)
    assert "boxes (n = 5231 frames)" in text
    assert "share of frames with the target here" in text
    assert {image.norm.vmax for axis in figure.axes[:2] for image in axis.get_images()} == {0.5}


def test_collection_writes_every_count_sums_and_flags():
    counts = pd.DataFrame(
        [("p0", "s1", 100, ""), ("p0", "s2", 150, "not bending"), ("p1", "s1", 80, "")],
        columns=["participant", "session", "frames", "flags"],
    )
    text = words(data.collection(counts, rows="participant", columns="session"))
    for expected in ("100", "150*", "–", "p0 (250)", "s1\n(180)", "n = 330 frames; * flagged"):
        assert expected in text


def test_directions_heads_and_inside_say_n(gaze):
    text = words(data.directions(pd.concat([gaze["dataset"], measure_geometry(gaze)], axis=1)))
    assert all(expected in text for expected in ("oa (n = 264)", "vat (n = 132)", "right", "up"))
    missing = gaze.assign(x0=gaze["x0"].where(gaze["frame"] > 0))
    assert "oa (n = 432, 8 without a box)" in words(data.head_positions(missing))
    figure = data.inside_timelines(gaze, "p00--s1")
    assert all(expected in words(figure) for expected in ("s00 · a1", "s01 · a2", "n = 60, 36 inside", "unknown"))
    with pytest.raises(TableError, match="no gaze"):
        data.inside_timelines(gaze, "nobody")


def test_a_gap_in_a_timeline_stays_white(gaze):
    lanes = data.inside_timelines(gaze, "p00--s1").axes[0].collections
    covered = {x for lane in lanes for path in lane.get_paths() for x in path.vertices[:, 0]
               if abs(path.vertices[:, 1].mean() - 2) < 0.1}  # fmt: skip
    assert not any(19.5 < x < 29.5 for x in covered)
    assert {19.5, 29.5} <= covered


@pytest.mark.parametrize(("privacy", "same"), [("pixelated", False), ("none", False), ("heads", False), ("full", True)])
def test_frames_are_veiled_unless_asked(gaze, shown, privacy, same):
    frame = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for figure in (
        data.contact_sheet(gaze.iloc[:2], [frame] * 2, privacy=privacy),
        gaze_maps.examples(shown.iloc[:1], [frame], [blob(0.5, 0.5)], privacy=privacy),
        gaze_maps.best_and_worst(shown.iloc[:1].assign(place="best"), [frame], privacy=privacy),
        data.augmented(frame[None, :, :240], np.pad(np.ones((1, 40, 40)), ((0, 0), (20, 180), (130, 70))),
                       np.zeros((1, 64, 64)), privacy=privacy),
    ):  # fmt: skip
        picture = pictures(figure)[0]
        assert np.array_equal(picture[40:60, 150:170], frame[40:60, 150:170]) == same
    with pytest.raises(SettingsError):
        data.contact_sheet(gaze.iloc[:1], [frame], privacy="blurred")


def test_contact_sheet_and_augmented_samples_name_what_they_show(gaze):
    rows = gaze.iloc[[0, 12, 58]]
    text = words(data.contact_sheet(rows, [scene()] * 3))
    assert all(expected in text for expected in ("frame 0 · mustard", "frame 12 · outside", "n = 3 frames"))
    maps = np.stack([blob(0.3, 0.6), np.zeros((64, 64))])
    heads = np.zeros((2, 240, 320))
    heads[:, 20:80, 100:140] = 1
    text = words(data.augmented(np.stack([scene()] * 2), heads, maps, titles=["flipped", "cropped"]))
    assert all(expected in text for expected in ("flipped", "empty: target outside", "n = 2 samples"))


def test_learning_curves_have_a_row_for_each_setting(history):
    two = history[history["setting"].isin([0, 4])]
    figure = gaze_training.learning_curves(two, baselines=CHANCE)
    text = words(figure)
    assert text.count("n = 2 trainings") == 2
    assert all(expected in text for expected in ("batch size 4", "AUC", "answering without looking", "validation"))
    assert len(figure.axes) == 6
    assert "no epochs yet" in words(gaze_training.learning_curves(history[:0]))


def test_trainings_of_one_fold_are_lines_of_their_own(history):
    again = pd.concat([history.assign(repetition=0), history.assign(repetition=1, value=history["value"] * 0.9)])
    figure = gaze_training.epochs(again[again["setting"] == 0], split="validation")
    assert "n = 4 training(s)" in words(figure)
    assert len(figure.axes[0].get_lines()) == 4


def test_the_grid_shows_every_cell_and_why_one_failed(history):
    part = history[history["setting"] != 8]
    figure = gaze_training.sweep_grid(part, failures={(16, 4): "out of memory"}, baselines=CHANCE)
    text = words(figure)
    assert all(f"batch size {b} · chunk {c}" in text for b in (4, 8, 16) for c in (2, 3, 4))
    assert text.count("out of memory") == 2
    assert text.count("n = 2") == 8
    limits = {tuple(axis.get_ylim()) for axis in figure.axes[3:6]}
    assert len(limits) == 1  # distances of all cells on one scale
    table = words(gaze_training.sweep_table(cell_table()))
    assert "out of memory\non the GPU" in table
    assert "epoch 11, n = 2" in table


def test_every_epoch_has_its_tick(history):
    figure = gaze_training.epochs(history[history["setting"] == 0], split="validation", title="4 × 2", baselines=CHANCE)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["1", "2", "3", "4"]
    assert "4 × 2 · n = 2 training(s)" in words(figure)
    with pytest.raises(TableError, match="one setting"):
        gaze_training.epochs(history)


def test_scores_stand_beside_priors_people_and_published_values():
    references = pd.DataFrame(
        [("auc_box", "training density", "prior", 0.84), ("auc_box", "VTD (paper, VAT)", "published", 0.86),
         ("distance", "one human (VAT)", "human", 0.051)],
        columns=["metric", "name", "kind", "value"],
    )  # fmt: skip
    text = words(gaze_scores.scores(metric_table(), references=references))
    for expected in ("training density", "VTD (paper, VAT)", "one human (VAT)", "one annotator against another",
                     "answering without looking", "(5231, 14)", "undefined: one class", "95 % interval"):  # fmt: skip
        assert expected in text
    with pytest.raises(TableError, match="'hearsay'"):
        gaze_scores.scores(metric_table(), references=references.assign(kind="hearsay"))
    with pytest.raises(TableError, match="lacks"):
        gaze_scores.scores(metric_table(), names=["accuracy"])


def test_errors_by_answerer_group_and_head_size_say_n(gaze, scored):
    others = {"model": scored, "training mean point": score_table(gaze, 0.1)}
    text = words(gaze_scores.error_distributions(others))
    assert "n = 198 (training mean point)" in text
    text = words(gaze_scores.error_by(scored, by="session", chance=0.15))
    assert text.count("n = 66") == 3
    assert "answering without looking" in text
    assert "n = 198 frames" in words(gaze_scores.error_by_head_size(scored))
    many = pd.concat([scored] * 20, ignore_index=True)
    assert "n = 3960 frames" in words(gaze_scores.error_by_head_size(many))


def test_precision_shows_the_share_of_frames_inside():
    curve = pd.DataFrame({"name": "vat", "recall": [0.5, 1.0], "precision": [1.0, 0.8], "average_precision": 0.9,
                          "positive": 0.64, "n": 500})  # fmt: skip
    figure = gaze_scores.inside_precision(curve)
    assert "average precision 0.900\nn = 500" in words(figure)
    assert any(list(line.get_ydata()) == [0.64, 0.64] for line in figure.axes[0].get_lines())
    assert "no frames with targets" in words(gaze_scores.inside_precision(curve[:0]))


def test_examples_show_peak_truth_and_scores(gaze, shown):
    frames, maps = [scene()] * 4, [blob(x, y) for x, y in zip(shown["peak_x"], shown["peak_y"], strict=True)]
    figure = gaze_maps.examples(shown, frames, maps, marked=gaze)
    text = words(figure)
    assert "2 marks" in text
    assert "(n = 4)" in text
    arrows = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_arrowstyle")]
    assert arrows[0]._posA_posB[1] == pytest.approx((shown["peak_x"].iloc[0] * 320, shown["peak_y"].iloc[0] * 240))
    both = shown.assign(place=["best", "best", "worst", "worst"])
    text = words(gaze_maps.best_and_worst(both, frames, marked=gaze))
    assert "best (n = 2)" in text
    assert f"distance {shown['distance'].iloc[3]:.3f}" in text


def test_a_track_over_time_breaks_at_gaps(gaze, scored):
    own = scored[(scored["session"] == "p00--s1") & (scored["person"] == "s01")]
    marked = gaze[(gaze["session"] == "p00--s1") & (gaze["person"] == "s01")]
    figure = gaze_maps.inside_over_time(own, marked)
    line = figure.axes[0].get_lines()[0].get_ydata()
    assert np.isnan(line).sum() == 1
    assert all(expected in words(figure) for expected in ("n = 50 frames", "a1", "a2", "threshold"))
    with pytest.raises(TableError, match="one person"):
        gaze_maps.inside_over_time(scored, marked)


def test_heat_over_a_frame_is_on_a_fixed_scale():
    grey = np.full((48, 64, 3), 100, np.uint8)
    weak, strong = (
        np.ptp(gaze_overlay.lay_heat(grey, blob(0.5, 0.5, strength=s)).astype(int), axis=-1) for s in (0.2, 1)
    )
    assert weak.max() < strong.max()
    assert strong[:5].max() == 0
    nothing = gaze_overlay.lay_heat(grey, np.full((64, 64), -0.5))
    assert np.ptp(nothing.astype(int), axis=-1).max() == 0


def test_the_published_modulation_is_met(root):
    case = np.load(root / "tests" / "golden" / "gaze_target" / "demo_norm_map_open.npz", allow_pickle=False)
    logit, size = float(case["inout_logit"]), (int(case["width"]), int(case["height"]))
    found = gaze_reference.modulate(case["raw"][0, 0], logit, size=size)
    assert np.abs(found[::4, ::4] - case["norm_map_stride4"]).max() < 1
    assert (found.min(), found.max()) == pytest.approx((float(case["min"]), float(case["max"])), abs=1)
    assert gaze_reference.outside_level(logit) == pytest.approx(float(case["modulation"].item()), abs=1e-3)
    flat = gaze_reference.modulate(np.full((64, 64), 0.3), 0.0, size=(10, 8))
    assert flat == pytest.approx(np.full((8, 10), -127.5))
