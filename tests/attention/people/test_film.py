"""Films of maps: read back frame for frame, at full brightness, in the size and with the names asked for."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from nbpkg.attention.people.film import (
    FPS,
    fit_resolution,
    overlay,
    place_in_time,
    to_pictures,
    write_map_film,
    write_map_films,
)
from nbpkg.attention.people.sources import open_clip
from nbpkg.datasets.people.images import ALGORITHMS
from nbpkg.datasets.people.sampling import SampleFrames
from nbpkg.errors import ExplainError, MediaError, SettingsError
from nbpkg.video.film import write_film


def grey(*levels: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def read(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# --- pictures and colours ---


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("bgr", [False, True])
def test_pictures_come_back_from_views(segments, bgr):
    levels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), dtype=np.uint8)  # views, frames, rows, columns
    mean, std = np.array([104.0, 117, 128]), np.array([58.4, 57.1, 57.4])
    seen = levels[..., ::-1] if bgr else levels
    axes = (0, 1, 4, 2, 3) if segments else (0, 4, 1, 2, 3)
    views = torch.from_numpy(np.ascontiguousarray(((seen - mean) / std).transpose(axes), dtype=np.float32))
    before = views.clone()
    assert (to_pictures(views, mean, std, segments=segments, bgr=bgr) == levels.reshape(6, 4, 5, 3)).all()
    assert torch.equal(views, before)


def test_colours_are_viridis_in_256_steps_over_pictures_at_full_brightness():
    maps = np.array([[[0.0, 0.5, 1.0, 0.999]]], np.float32)
    pictures = np.full((1, 1, 4, 3), 200, np.uint8)
    found = overlay(pictures, maps)
    viridis = np.array([[0.267004, 0.004874, 0.329415], [0.127568, 0.566949, 0.550556], [0.993248, 0.906157, 0.143936]])
    assert np.abs(found.heat[0, 0, :3] - 255 * viridis).max() < 1
    assert (found.heat[0, 0, 3] == found.heat[0, 0, 2]).all()
    assert (found.pictures == pictures).all()
    assert np.abs(found.blended[0, 0, :3] - (0.5 * 255 * viridis + 100)).max() < 1
    assert (overlay(pictures, maps, alpha=0).blended == 200).all()


@pytest.mark.parametrize("maps", [np.zeros((2, 4, 5), np.float32), np.full((1, 4, 5), 1.1, np.float32)])
def test_maps_must_belong_to_the_pictures_and_be_scaled(maps):
    with pytest.raises(ExplainError, match="cannot be laid over"):
        overlay(np.zeros((1, 4, 5, 3), np.uint8), maps)


# --- files ---


def test_mp4_and_gif_hold_exactly_the_frames_at_five_frames_per_second(tmp_path):
    frames = grey(*range(10, 170, 10))
    film = read(write_map_film(frames, tmp_path / "a.mp4"))
    assert film.shape == frames.shape
    assert np.abs(film.astype(int) - frames).max() <= 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == FPS == 5
    with Image.open(write_map_film(frames, tmp_path / "a.gif", fps=Fraction(10))) as gif:
        shown = [np.asarray(frame.convert("RGB"))[0, 0, 0] for frame in ImageSequence.Iterator(gif)]
        assert gif.info["duration"] == 100
    assert len(shown) == 16
    assert np.abs(np.array(shown, int) - frames[:, 0, 0, 0]).max() <= 3


def test_side_films_lie_beside_the_film_under_its_whole_name(tmp_path):
    folder = tmp_path / "a.b"
    folder.mkdir()
    found = overlay(grey(200, 100), np.ones((2, 48, 64), np.float32))
    files = write_map_films(found, folder / "x.y.mp4")
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "a.b/x.y.mp4",
        "a.b/x.y_orig.mp4",
        "a.b/x.y_heat.mp4",
    ]
    assert np.abs(read(files[1]).astype(int) - grey(200, 100)).max() <= 3
    assert np.abs(read(files[2]).astype(int) - [253, 231, 36]).max() <= 6  # H.264 halves the resolution of colours


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [(None, (48, 64)), ((-1, -1), (48, 64)), ((-1, 24), (24, 32)), ((30, 100), (30, 40)), ((128, 999), (128, 171))],
)
def test_resolutions_keep_proportions(resolution, expected):
    assert fit_resolution((48, 64), resolution) == expected


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_films_are_resized_as_asked(tmp_path, algorithm):
    frames = np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3), dtype=np.uint8)
    path = write_map_film(frames, tmp_path / "a.gif", resolution=(24, 32), algorithm=algorithm)
    with Image.open(path) as gif:
        shown = np.asarray(gif.convert("RGB")).astype(int)
    expected = cv2.resize(frames[0], (32, 24), interpolation=ALGORITHMS[algorithm])
    assert shown.shape == (24, 32, 3)
    assert np.abs(shown - expected).mean() < 12  # of 256 colours for 768 places


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(SettingsError, match="ends in .mp4 or .gif"):
        write_map_film(grey(1), tmp_path / "a.avi")
    with pytest.raises(SettingsError, match="resized"):
        write_map_film(grey(1), tmp_path / "a.mp4", resolution=(0, 5))
    with pytest.raises(SettingsError, match="'spline'"):
        write_map_film(grey(1), tmp_path / "a.mp4", algorithm="spline")
    assert not list(tmp_path.iterdir())


# --- frames of the source ---


def test_maps_go_back_to_the_frames_they_came_from():
    maps = np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    numbers = np.array([[2, 4, 6], [4, 6, 8]])
    placed = place_in_time(maps, numbers, total=11)
    assert placed[:, 0, 0].tolist() == [1, 1, 1, 1, 3, 3, 4, 4, 6, 6, 6]  # 4 is the mean of 2 and 4, 6 of 3 and 5
    with pytest.raises(ExplainError, match="video of 8"):
        place_in_time(maps, numbers, total=8)
    with pytest.raises(ExplainError, match="cannot be placed"):
        place_in_time(maps, numbers[:, :2], total=11)


@pytest.fixture(params=["frames", "video"])
def source(request, tmp_path):
    """Twelve frames, grey level 10 times their number, as a folder or a video, opened."""
    frames = grey(*range(0, 120, 10))
    if request.param == "video":
        return open_clip(write_film(frames, tmp_path / "a.mp4", fps=Fraction(25)))
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"img_{number + 1}.png")  # 10 comes behind 9, not behind 1
        Image.fromarray(frame[..., 0]).save(folder / f"flow_{number + 1}.png")
    (folder / "report.txt").write_text("not a frame")
    return open_clip(folder, use_frames=True, pattern="img_*.png", fps=Fraction(25))


def test_frames_and_videos_are_read_alike(source):
    assert (source.total, source.fps) == (12, 25)
    numbers = SampleFrames(3, interval=2, runs=2, test=True).choose(source.total, np.random.default_rng(0))
    found = source.read(numbers)
    assert found.shape == (6, 48, 64, 3)
    assert np.abs(found[:, 5, 5, 0].astype(int) - 10 * numbers.reshape(-1)).max() <= 3
    backwards = source.read(np.array([11, 0, 11]))
    assert np.abs(backwards[:, 0, 0, 0].astype(int) - [110, 0, 110]).max() <= 3
    with pytest.raises(MediaError, match="Frame 12 does not exist"):
        source.read(np.array([3, 12]))


def test_files_folders_and_nothing_are_told_apart(tmp_path):
    film = write_film(grey(1, 2), tmp_path / "a.mp4", fps=Fraction(25))
    for path, use_frames, message in (
        (tmp_path / "b.mp4", False, "There is no 'b.mp4'"),
        (film, True, "is a file"),
        (tmp_path, False, "is a folder"),
        (tmp_path, True, "holds no picture"),
    ):
        with pytest.raises(MediaError, match=message):
            open_clip(path, use_frames=use_frames)
    Image.fromarray(grey(1)[0]).save(tmp_path / "img_1.png")
    with pytest.raises(MediaError, match="No picture is named 'flow"):
        open_clip(tmp_path, use_frames=True, pattern="flow_*")
