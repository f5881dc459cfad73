"""What is written: table, list of frames without heads, film, pictures, maps; and the command that does it all."""

from __future__ import annotations

import argparse
import json

import av
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from nbpkg.errors import AnnotationError, NbpkgError, SettingsError
from nbpkg.gaze.command import add_gaze_command
from nbpkg.gaze.film import FilmStyle, draw_gaze
from nbpkg.gaze.footage import Frame, open_footage
from nbpkg.gaze.heads import group_heads, read_heads
from nbpkg.gaze.networks import wrap_network
from nbpkg.gaze.outputs import GazeWriter, Wanted, write_in_background
from nbpkg.gaze.predict import FrameGaze, PersonGaze, predict_gaze, take_heads
from nbpkg.plots.gaze_reference import modulate


def run(*arguments) -> int:
    parser = argparse.ArgumentParser()
    add_gaze_command(parser.add_subparsers())
    options = parser.parse_args(["gaze", *map(str, arguments)])
    return options.command(options)


def read_film(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], stream.average_rate


@pytest.fixture(scope="module")
def one(footage, head_files, networks) -> FrameGaze:
    heads = take_heads(group_heads(read_heads(head_files, footage).boxes))
    gazer = wrap_network(networks["vtd_small"], "v")
    return next(predict_gaze(footage, heads, gazer, device=torch.device("cpu")))


def made_up(inside: float = 0.9, *, picture=None) -> FrameGaze:
    """Somebody who looks at the lower left of a large frame."""
    heat = np.zeros((64, 64), np.float32)
    heat[44:48, 12:16] = 0.8
    person = PersonGaze("anna", (300.0, 40.0, 360.0, 120.0), "file", heat, 1.0, inside, (13, 45), 135.0, 340.0, 0.8)
    return FrameGaze(
        Frame(3, "a.png", 0.0, np.full((480, 640, 3), 120, np.uint8) if picture is None else picture), [person]
    )


def test_command_writes_everything_for_pictures_and_heads(tmp_path, pictures, head_files, capsys):
    assert run("--pictures", pictures, "--heads", *head_files, "--model", "vtd_small", "--out", tmp_path, "--maps",
               "--save-pictures", "--device", "cpu") == 0  # fmt: skip
    table = pd.read_csv(tmp_path / "gaze.csv", dtype={"image": str})
    assert len(table) == 20
    assert set(table["person"]) == {"anna", "ben"}
    assert set(table["method"]) == {"vtd_small"}
    assert table.loc[0, ["frame", "image", "x0", "y0", "x1", "y1"]].tolist() == [0, "00000000.png", 40, 14, 60, 38]
    assert table["inside"].between(0, 1).all()
    assert table[["peak_x", "peak_y", "peak"]].notna().all().all()
    assert pd.read_csv(tmp_path / "frames_without_head.csv")["frame"].tolist() == [9]
    maps = np.load(tmp_path / "maps.npz", allow_pickle=False)
    assert maps["heat"].shape == (20, 64, 64)
    assert maps["frame"].tolist() == table["frame"].tolist()
    assert maps["person"].tolist() == table["person"].tolist()
    assert maps["heat"].max(axis=(1, 2)) == pytest.approx(table["peak"], rel=2e-3, abs=1e-3)
    frames, rate = read_film(tmp_path / "gaze.mp4")
    assert (len(frames), rate, frames[0].shape) == (12, 5, (96, 128, 3))
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 12
    record = json.loads((tmp_path / "gaze.json").read_text())
    assert record["frames_without_head"] == 1
    assert record["settings"]["model"] == "vtd_small"
    said = capsys.readouterr().err
    assert "1 of 12 frames have no head box" in said
    assert not list(tmp_path.glob(".*"))  # nothing half-written


def test_command_takes_a_video_and_every_second_frame(tmp_path, video):
    (tmp_path / "p.txt").write_text("\n".join(f"{n},40,14,70,50" for n in range(12)))
    assert run("--video", video, "--heads", tmp_path / "p.txt", "--model", "vtd_small_temporal", "--every", 2, "--out",
               tmp_path / "out", "--device", "cpu", "--frames", "full") == 0  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "gaze.csv")
    assert table["frame"].tolist() == [0, 2, 4, 6, 8, 10]
    assert table["time_ms"].tolist() == [0, 80, 160, 240, 320, 400]
    frames, rate = read_film(tmp_path / "out" / "gaze.mp4")
    assert (len(frames), rate) == (6, 12.5)


def test_command_asks_gazelle_without_heads(tmp_path, pictures):
    assert (
        run("--pictures", pictures, "--model", "gazelle_small", "--out", tmp_path, "--no-film", "--device", "cpu") == 0
    )
    table = pd.read_csv(tmp_path / "gaze.csv")
    assert len(table) == 12
    assert set(table["person"]) == {"scene"}
    assert table["x0"].isna().all()
    assert not (tmp_path / "gaze.mp4").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--model", "vtd_smell"], "vtd_smell"),
        (["--heads", "nowhere.txt"], "nowhere.txt"),
        (["--weights", "nowhere.pt"], "not there"),
        (["--batch", 0], "--batch"),
        (["--threshold", 3], "probability"),
        (["--detector", "yunet.onnx"], "YuNet"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(tmp_path, pictures, head_files, changes, words):
    start = {"--model": "vtd_small", "--heads": head_files[0], "--device": "cpu"}
    start |= dict(zip(changes[::2], changes[1::2], strict=True))
    if "--detector" in start:
        del start["--heads"]
    with pytest.raises(NbpkgError, match=words):
        run("--pictures", pictures, "--out", tmp_path, *(part for pair in start.items() for part in pair))
    assert not (tmp_path / "gaze.csv").exists()


def test_vtd_without_heads_says_what_is_needed(tmp_path, pictures):
    with pytest.raises(AnnotationError, match=r"--heads.*--detector"):
        run("--pictures", pictures, "--model", "vtd_small", "--out", tmp_path)


def test_a_run_that_fails_leaves_no_files(tmp_path, footage, one):
    def results():
        yield one
        raise SettingsError("enough")

    with (
        pytest.raises(SettingsError, match="enough"),
        GazeWriter(tmp_path, footage, method="m", wanted=Wanted(maps=True)) as writer,
    ):
        write_in_background(results(), writer)
    assert list(tmp_path.iterdir()) == []


def test_what_fails_while_writing_is_told(tmp_path, footage, one, monkeypatch):
    writer = GazeWriter(tmp_path, footage, method="m", wanted=Wanted())
    monkeypatch.setattr(writer, "add", lambda _: (_ for _ in ()).throw(SettingsError("full")))
    with pytest.raises(SettingsError, match="full"):
        write_in_background([one] * 500, writer)


def test_heat_and_arrow_lie_where_the_person_looks():
    frame = made_up()
    plain = draw_gaze(frame, FilmStyle("heatmap", privacy="full"))
    assert plain.shape == (480, 640, 3)
    colour = np.ptp(plain.astype(int), axis=-1)
    assert colour[335:355, 125:150].min() > 40
    assert colour[200:280, 300:600].max() == 0
    arrow = draw_gaze(frame, FilmStyle("arrow", privacy="full"))
    assert np.abs(arrow[340, 135].astype(int) - 120).max() > 50  # the dot at the peak
    away = draw_gaze(made_up(0.2), FilmStyle("arrow", privacy="full"))
    assert np.abs(away[340, 135].astype(int) - 120).max() == 0  # looks out of the frame
    small = draw_gaze(frame, FilmStyle(height=240, privacy="full"))
    assert small.shape == (240, 320, 3)
    assert np.ptp(small[172, 68].astype(int)) > 40


def test_heat_is_on_one_scale_and_weighed_with_inside():
    colour = {chance: np.ptp(draw_gaze(made_up(chance), FilmStyle("heatmap", privacy="full"))[345, 138].astype(int))
              for chance in (0.05, 0.5, 0.95)}  # fmt: skip
    assert colour[0.05] < colour[0.5] < colour[0.95]


def test_people_are_veiled_unless_asked(one):
    sharp = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    frame = made_up(picture=sharp)
    for privacy, elsewhere in (("pixelated", False), ("heads", True), ("none", False), ("full", True)):
        shown = draw_gaze(frame, FilmStyle("arrow", privacy=privacy))
        assert np.array_equal(shown[400:, 400:], sharp[400:, 400:]) == elsewhere
        assert np.array_equal(shown[50:75, 335:355], sharp[50:75, 335:355]) == (privacy == "full")
    nobody = draw_gaze(FrameGaze(frame.frame, []), FilmStyle(privacy="heads"))
    assert not np.array_equal(nobody[:200], sharp[:200])


def test_the_published_pictures_are_met():
    frame = made_up()
    person = frame.people[0]
    shown = draw_gaze(frame, FilmStyle("heatmap", privacy="full", reference="vtd", height=0))
    level = modulate(person.heat, person.logit, size=(640, 480))
    from matplotlib import colormaps

    expected = 0.8 * 120 + 0.2 * 255 * colormaps["jet"](np.clip(level[345, 138] / 255, 0, 1))[0]
    assert shown[345, 138, 0] == pytest.approx(expected, abs=1)
    assert tuple(shown[34, 320]) == (0, 255, 0) or tuple(shown[32, 320]) == (0, 255, 0)  # the widened box
    arrow = draw_gaze(frame, FilmStyle("arrow", privacy="full", reference="vtd", height=0, threshold=0.5))
    assert tuple(arrow[round(45 / 64 * 480), round(13 / 64 * 640)]) == (0, 255, 0)
    gazelle = draw_gaze(frame, FilmStyle(privacy="full", reference="gazelle", height=0))
    assert gazelle[345, 138].tolist() != [120, 120, 120]
    assert tuple(gazelle[40, 320]) == (0, 255, 0)


def test_pictures_of_several_sizes_make_one_film(tmp_path, networks):
    for number, size in enumerate([(96, 128), (128, 96), (49, 65)]):
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(tmp_path / f"{number}.png")
    footage = open_footage(tmp_path)
    heads = {number: [("p", (10.0, 10.0, 30.0, 30.0), "file")] for number in range(3)}
    results = predict_gaze(
        footage, take_heads(heads), wrap_network(networks["vtd_small"], "v"), device=torch.device("cpu")
    )
    with GazeWriter(tmp_path / "out", footage, method="v", wanted=Wanted(FilmStyle(privacy="full"))) as writer:
        write_in_background(results, writer)
    frames, _ = read_film(tmp_path / "out" / "gaze.mp4")
    assert [frame.shape for frame in frames] == [(96, 128, 3)] * 3
    table = pd.read_csv(tmp_path / "out" / "gaze.csv")
    assert table["peak_x"].tolist()[1] <= 96
