"""Picture folders as frame stores: order, sizes, what is noticed, and the preparation of folders beside videos."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nbpkg import tables
from nbpkg.annotations.gaze import lookup
from nbpkg.errors import MediaError, SettingsError
from nbpkg.video.albums import PictureRecipe
from nbpkg.video.convert import Recipe
from nbpkg.video.folders import INDEX, PictureStore, open_view
from nbpkg.video.frames import FrameStore
from nbpkg.video.pictures import ENDINGS, list_pictures, natural_key
from nbpkg.video.prepare import prepare_sessions
from nbpkg.video.stores import middle_frames, open_store, open_stores

FAST = Recipe(height=48, preset="ultrafast", crf=30)
KILLS = int(os.environ.get("NBPKG_KILLS", "3"))


def picture(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Draw a picture whose grey is its number times ten."""
    return np.full((*size, 3), 10 * number, np.uint8)


def write(folder: Path, names: list[str], sizes: list[tuple[int, int]] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = picture(number, sizes[number] if sizes else (48, 64))
        Image.fromarray(pixels).save(folder / name, format={"jpg": "JPEG", "jpeg": "JPEG"}.get(name[-3:].lower()))
    return folder


def numbers(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in frames]


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_pictures_come_in_natural_order_and_nothing_else_does(tmp_path):
    folder = write(tmp_path / "rgb", ["1.ppm", "2.PPM", "9.jpg", "10.JPG", "11.jpeg", "100.png", "a1.bmp"])
    for name in ("data.log", "info.log", ".5.ppm", "._1.ppm", "Thumbs.db", "3.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "4.ppm").mkdir()
    store = PictureStore(folder)
    assert [file.name for file in store.files] == ["1.ppm", "2.PPM", "9.jpg", "10.JPG", "11.jpeg", "100.png", "a1.bmp"]
    assert numbers(store.frames(range(7))) == list(range(7))
    assert numbers(store.frames([6, 0, 6])) == [6, 0, 6]
    assert store.shape == (7, 48, 64, 3)
    assert store.frames([]).shape == (0, 48, 64, 3)
    assert PictureStore([folder / "10.JPG", folder / "1.ppm"]).picture(0).mean() == pytest.approx(30, abs=1)


@given(st.lists(st.text("aB1209._- é", min_size=1, max_size=8), unique=True))
@settings(max_examples=200, deadline=None)
def test_order_is_that_of_the_annotation_readers(names):
    """Frame numbers of the gaze table and of the store mean the same picture."""
    assert sorted(names, key=natural_key) == sorted(names, key=lookup.natural_key)
    assert set(ENDINGS) == set(lookup.EXTENSIONS)


def test_store_answers_like_a_frame_store(tmp_path):
    store = PictureStore(write(tmp_path / "rgb", [f"{n:08}.ppm" for n in range(6)]), fps=Fraction(25, 2))
    assert len(store) == 6
    assert store.fps == Fraction(25, 2)
    assert store.times_ms.tolist() == [0, 80, 160, 240, 320, 400]
    assert store.end_ms == 480
    assert "6 pictures" in repr(store)
    again = pickle.loads(pickle.dumps(store))
    assert (again.frames([4]) == store.frames([4])).all()
    assert again.fps == store.fps


def test_mixed_sizes_are_read_one_by_one(tmp_path):
    store = PictureStore(write(tmp_path / "photos", ["a.jpg", "b.jpg", "c.jpg"], [(48, 64), (48, 64), (80, 40)]))
    assert store.frames([0, 1]).shape == (2, 48, 64, 3)
    assert store.picture(2).shape == (80, 40, 3)
    assert store.sizes.tolist() == [[48, 64], [48, 64], [80, 40]]
    with pytest.raises(MediaError, match="2 different sizes"):
        store.frames([1, 2])
    with pytest.raises(MediaError, match="different sizes"):
        _ = store.shape


@pytest.mark.parametrize("ending", ["jpg", "png", "ppm"])
def test_large_pictures_are_resized_when_decoded(ending, tmp_path):
    ramp = np.linspace(0, 255, 960, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(ramp[None, :, None], (540, 960, 3)).copy()).save(tmp_path / f"a.{ending}")
    small = write(tmp_path, ["b.ppm"])
    store = PictureStore([tmp_path / f"a.{ending}", small / "b.ppm"], longest=240)
    assert store.sizes.tolist() == [[135, 240], [48, 64]]
    assert store.source_sizes.tolist() == [[540, 960], [48, 64]]
    seen = store.picture(0)
    assert seen.shape == (135, 240, 3)
    assert np.abs(seen[60, :, 0].astype(int) - np.linspace(0, 255, 240)).max() < 5


def test_pixels_are_as_stored(tmp_path):
    """A rotation flag turns nothing, 16 bits become 8, grey, palette and alpha become RGB."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8).repeat(2, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    deep = (rng.random((20, 30)) * 65535).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    image.convert("P").save(tmp_path / "palette.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.convert("L").save(tmp_path / "grey.ppm")
    store = PictureStore([tmp_path / n for n in ("turned.jpg", "deep.png", "palette.png", "alpha.png", "grey.ppm")])
    assert store.picture(0).shape == (40, 30, 3)
    assert (store.picture(1)[..., 1] == deep >> 8).all()
    assert (store.picture(3) == np.asarray(image)).all()
    assert all(store.picture(n).dtype == np.uint8 and store.picture(n).shape[2] == 3 for n in (2, 4))


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.ppm", "cut.bmp", "text.jpg", "empty.png", "script.ppm"])
def test_damaged_picture_is_named(name, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    path = tmp_path / name
    if name.startswith("cut"):
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:-900])
    else:
        path.write_bytes({"text.jpg": b"hello", "empty.png": b"", "script.ppm": b"%!PS-Adobe-3.0 EPSF-3.0\n"}[name])
    with pytest.raises(MediaError, match=f"{name}.*cannot be read"):
        PictureStore([path]).picture(0)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(MediaError, match="no picture folder 'nowhere'"):
        PictureStore(tmp_path / "nowhere")
    with pytest.raises(MediaError, match="holds no picture"):
        PictureStore(tmp_path)
    with pytest.raises(MediaError, match="at least one"):
        PictureStore([])
    store = PictureStore(write(tmp_path / "a", ["1.ppm"]))
    for number in (-1, 1):
        with pytest.raises(MediaError, match=f"Frame {number} does not exist"):
            store.frames([number])
    (tmp_path / "a/1.ppm").unlink()
    with pytest.raises(MediaError, match=r"'1\.ppm' is not there"):
        store.picture(0)


def test_files_are_closed(tmp_path):
    store = PictureStore(write(tmp_path / "a", [f"{n}.ppm" for n in range(5)]))
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(20):
        store.frames(range(5))
    assert len(list(Path("/dev/fd").iterdir())) == before


def make_world(tmp_path: Path, video) -> list[tuple[str, Path | tuple[Path, ...]]]:
    """A video, frames of one size in two formats, photographs of mixed size, and a list of files."""
    data = tmp_path / "data"
    data.mkdir()
    even = write(data / "p1/table/rgb", [f"{n:05}.{'ppm' if n % 2 else 'JPG'}" for n in range(12)])
    (even / "data.log").write_text("log")
    mixed = write(data / "photos", ["a.jpg", "b.jpg", "c.png"], [(48, 64), (80, 40), (30, 30)])
    chosen = tuple(list_pictures(even)[::2])
    film = video(data / "film.mp4", 20, size=(96, 128))
    return [("film", film), ("table", even), ("photos", mixed), ("half", chosen)]


def test_videos_and_folders_are_prepared_in_one_call(tmp_path, video):
    jobs = make_world(tmp_path, video)
    places = {"sources": tmp_path / "data", "run_folder": tmp_path}
    media, problems = prepare_sessions(jobs, tmp_path / "out/sessions", recipe=FAST, **places)
    assert problems == []
    tables.check(media, "media")
    media = media.set_index("session")
    assert media["source"].tolist() == ["film.mp4", "p1/table/rgb", "photos", "p1/table/rgb"]
    assert media["source_codec"].tolist() == ["h264", "jpg ppm", "jpg png", "jpg"]
    assert media["frames"].tolist() == [3, 12, 3, 6]  # of the folders every picture, whatever the rate of videos
    assert media["video"].tolist()[1:] == ["out/sessions/table/video.mp4", "", "out/sessions/half/video.mp4"]
    assert media.loc["photos", ["width", "height"]].tolist() == [64, 80]
    assert media.loc["table", ["fps_num", "fps_den", "duration_ms"]].tolist() == [30, 1, 400]
    stores = open_stores(tmp_path, media.reset_index())
    assert [type(store) for store in stores.values()] == [FrameStore, FrameStore, PictureStore, FrameStore]
    assert numbers(stores["table"].frames(range(12))) == list(range(12))
    assert stores["table"].picture(3).shape == (48, 64, 3)
    assert numbers(stores["half"].frames(range(6))) == [0, 2, 4, 6, 8, 10]
    assert stores["photos"].picture(1).shape == (80, 40, 3)
    assert len(middle_frames(stores)) == 4
    assert not list((tmp_path / "out/sessions/photos").glob("*.jpg"))


def test_processes_and_repeats_give_the_same_bytes_and_only_what_changed_is_made(tmp_path, video):
    jobs = make_world(tmp_path, video)
    prepare_sessions(jobs, tmp_path / "one", recipe=FAST)
    prepare_sessions(jobs, tmp_path / "two", recipe=FAST, workers=2)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one").rglob("manifest.json")}
    write(tmp_path / "data/photos", ["a.jpg"], [(50, 64)])
    prepare_sessions(jobs, tmp_path / "one", recipe=FAST)
    changed = {path.parent.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed == {"photos"}
    recipe = PictureRecipe(keep="view", longest=32, fps=Fraction(10))
    media, _ = prepare_sessions(jobs, tmp_path / "one", recipe=FAST, pictures=recipe)
    assert media["video"].tolist() == ["film/video.mp4", "", "", ""]
    store = open_store(tmp_path / "one/table")
    assert store.shape == (12, 24, 32, 3)
    assert media["width"].tolist()[1] == 32
    assert media["duration_ms"].tolist()[1] == 1200


def test_view_opens_again_elsewhere_and_notices_changes(tmp_path, video):
    jobs = make_world(tmp_path, video)[2:3]
    prepare_sessions(jobs, tmp_path / "out", recipe=FAST)
    view = tmp_path / "out/photos"
    assert str(tmp_path) not in (view / INDEX).read_text()
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(tmp_path / "out", moved / "out")
    shutil.move(tmp_path / "data", moved / "data")
    store = open_view(moved / "out/photos")
    assert pickle.loads(pickle.dumps(store)).picture(2).shape == (30, 30, 3)
    store.verify()
    picture_file = moved / "data/photos/b.jpg"
    whole = picture_file.read_bytes()
    picture_file.write_bytes(whole[:-20] + bytes(20))  # same size, other bytes
    with pytest.raises(MediaError, match=r"'b\.jpg' is not the one that was prepared"):
        store.verify()
    picture_file.write_bytes(whole + b"x")
    with pytest.raises(MediaError, match=r"'b\.jpg' is not the one"):
        store.picture(1)
    (moved / "data/photos/a.jpg").unlink()
    with pytest.raises(MediaError, match=r"2 pictures cannot be used(.|\n)*a\.jpg(.|\n)*b\.jpg"):
        open_view(moved / "out/photos")


@pytest.mark.parametrize("edit", [{"pictures": []}, {"format": "x"}, {"fps": [1, 0]}, {"folder": 3}, None])
def test_broken_index_is_said(edit, tmp_path, video):
    prepare_sessions(make_world(tmp_path, video)[2:3], tmp_path / "out", recipe=FAST)
    file = tmp_path / "out/photos" / INDEX
    content = json.loads(file.read_text())
    bad = [["../../secret.png", 1, 1, 1, ""]]
    file.write_text(json.dumps({**content, **(edit or {"pictures": bad})}))
    with pytest.raises(MediaError, match="Picture index"):
        open_view(file.parent)


def test_problems_of_folders_are_collected_and_the_good_ones_made(tmp_path):
    write(tmp_path / "good", ["1.ppm"])
    (tmp_path / "empty").mkdir()
    broken = write(tmp_path / "broken", ["1.ppm", "2.jpg", "3.jpg"])
    for name in ("1.ppm", "3.jpg"):
        (broken / name).write_bytes(b"no picture")
    cut = write(tmp_path / "cut", ["1.ppm", "2.ppm", "3.ppm"])
    for name in ("1.ppm", "3.ppm"):
        (cut / name).write_bytes((cut / name).read_bytes()[:-50])
    jobs = [(name, tmp_path / name) for name in ("good", "empty", "broken", "cut")]
    for keep in ("view", "store"):
        out = tmp_path / keep
        media, problems = prepare_sessions(jobs, out, recipe=FAST, pictures=PictureRecipe(keep=keep))
        assert media["session"].tolist() == ["good"]
        assert [problem.file for problem in problems] == ["empty", "broken", "cut"]
        assert "'1.ppm'" in problems[1].what
        assert "'3.jpg'" in problems[1].what
        assert "2 pictures" in problems[2].what
        assert sorted(path.name for path in out.iterdir()) == ["good"]


def test_mixed_sizes_are_no_store_and_bad_settings_are_refused(tmp_path):
    folder = write(tmp_path / "photos", ["a.jpg", "b.jpg"], [(48, 64), (80, 40)])
    media, problems = prepare_sessions(
        [("a", folder)], tmp_path / "out", recipe=FAST, pictures=PictureRecipe(keep="store")
    )
    assert media.empty
    assert "2 different sizes" in problems[0].what
    for wrong in ({"keep": "copy"}, {"longest": -1}, {"fps": Fraction(0)}):
        with pytest.raises(SettingsError, match="cannot be prepared"):
            PictureRecipe(**wrong)


CODE = """
import sys
from pathlib import Path
from nbpkg.video.convert import Recipe
from nbpkg.video.prepare import prepare_sessions
if __name__ == "__main__":
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    jobs = [(path.name, path) for path in sorted(data.iterdir())]
    print("begun", flush=True)
    media, problems = prepare_sessions(jobs, out, recipe=Recipe(height=96, preset="ultrafast", encoding="jpeg"))
    media.to_csv(out / "media.csv")
    sys.exit(len(problems))
"""


def test_killed_and_run_again_gives_the_same_bytes(tmp_path):
    (tmp_path / "work.py").write_text(CODE)
    for number in range(3):
        write(tmp_path / f"data/even{number}", [f"{n}.ppm" for n in range(25)], [(480, 640)] * 25)
        write(tmp_path / f"data/mixed{number}", [f"{n}.ppm" for n in range(25)], [(480, 640 - n) for n in range(25)])

    def start(out: Path) -> subprocess.Popen:
        command = [sys.executable, str(tmp_path / "work.py"), str(tmp_path / "data"), str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        return process

    began = start(tmp_path / "out/whole")
    at = time.monotonic()
    assert began.wait() == 0
    length = time.monotonic() - at
    caught = 0
    for kill in range(KILLS):
        process = start(tmp_path / "out/killed")
        time.sleep(length * (kill + 0.5) / (KILLS + 1) * 0.6)
        caught += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "out/killed").wait() == 0
    assert hashes(tmp_path / "out/killed") == hashes(tmp_path / "out/whole")
    assert caught
