"""Views of picture folders: what is chosen, how it is named, and that originals never change."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nbpkg.errors import MediaError
from nbpkg.video import views

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden/gaze_target/subsample_rename_annotate_open.json").read_text(encoding="utf-8")
)


def write(folder: Path, count: int, *, ending: str = ".ppm", shade: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(np.full((6, 8, 3), shade + 10 * number, np.uint8)).save(folder / f"{number:08}{ending}")
    (folder / "data.log").write_text("log")
    (folder / ".hidden.ppm").write_text("no picture")
    return folder


def state(folder: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(f): (hashlib.sha256(f.read_bytes()).hexdigest(), f.stat().st_mtime_ns) for f in files}


def test_golden_subsampling_and_renaming_across_objects(tmp_path):
    """As the reference, whose order of folders is our order; its hidden files and logs do not count here."""
    folders = []
    for name, count in GOLDEN["objects"].items():
        folder = tmp_path / name / "rgb"
        folder.mkdir(parents=True)
        folders.append(folder)
        for number in range(count):
            (folder / f"{number:08}.ppm").write_text(f"{name}{number}")
        (folder / ".a.ppm").touch()
        (folder / "data.log").touch()
    assert GOLDEN["listdir_order"] == sorted(GOLDEN["objects"])
    view = views.renumber(views.keep_every(views.view_pictures(tmp_path, folders), 2))
    views.copy_view(view, tmp_path, tmp_path / "subsampled_frames")
    found = {path.name: path.read_text() for path in (tmp_path / "subsampled_frames").iterdir()}
    assert found == GOLDEN["frames"]


def test_renaming_goes_on_after_the_last_number_and_changes_nothing(tmp_path):
    folder = write(tmp_path / "rgb", 3)
    before = state(tmp_path)
    first = views.next_number(["00000000", "00000041", "frame"])
    view = views.renumber(views.view_pictures(folder), digits=8, first=first)
    assert view["new"].tolist() == ["00000042.ppm", "00000043.ppm", "00000044.ppm"]
    assert view["old"].tolist() == ["00000000.ppm", "00000001.ppm", "00000002.ppm"]
    path = views.write_view(view, tmp_path / "views/names.csv")
    assert path.read_text() == (
        "old,new\n00000000.ppm,00000042.ppm\n00000001.ppm,00000043.ppm\n00000002.ppm,00000044.ppm\n"
    )
    assert views.read_view(path).equals(view)
    assert views.copy_view(view, folder, tmp_path / "renamed") == 3
    assert (tmp_path / "renamed/00000044.ppm").read_bytes() == (folder / "00000002.ppm").read_bytes()
    assert (tmp_path / "renamed/00000044.ppm").stat().st_mtime_ns == (folder / "00000002.ppm").stat().st_mtime_ns
    assert {name: value for name, value in state(tmp_path).items() if name in before} == before


@pytest.mark.parametrize(("ending", "exact"), [(".jpg", False), (".png", True), (".bmp", True)])
def test_conversion(ending, exact, tmp_path):
    folder = write(tmp_path / "rgb", 4)
    view = views.change_format(views.view_pictures(folder), ending)
    assert view["new"].tolist()[1] == f"00000001{ending}"
    views.copy_view(view, folder, tmp_path / "new")
    for number in range(4):
        pixels = np.asarray(Image.open(tmp_path / f"new/{number:08}{ending}").convert("RGB")).astype(int)
        assert np.abs(pixels - 10 * number).max() <= (0 if exact else 2)
    with pytest.raises(MediaError, match=r"'\.gif'"):
        views.change_format(view, ".gif")


def test_key_points_follow_their_pictures_also_when_one_is_missing(tmp_path):
    view = views.renumber(views.keep_every(views.view_pictures(write(tmp_path / "rgb", 7)), 2))
    names = [f"json/{number:08}_keypoints.json" for number in (0, 1, 4, 6)]  # 2 has none: in the reference all shift
    follow = views.follow_view(view, names)
    assert follow["old"].tolist() == [names[0], names[2], names[3]]
    assert follow["new"].tolist() == ["00000.json", "00002.json", "00003.json"]


def test_what_would_lose_files_is_refused(tmp_path):
    folder = write(tmp_path / "rgb", 3)
    view = views.view_pictures(folder)
    with pytest.raises(MediaError, match="already there"):
        views.copy_view(view, folder, folder)
    for new in (["a.ppm", "A.ppm", "b.ppm"], ["../a.ppm", "b.ppm", "c.ppm"], ["/a.ppm", "b.ppm", "c.ppm"]):
        with pytest.raises(MediaError, match="cannot be used"):
            views.write_view(view.assign(new=new), tmp_path / "v.csv")
    assert not (tmp_path / "v.csv").exists()
    (folder / "00000001.ppm").unlink()
    with pytest.raises(MediaError, match=r"00000001\.ppm.*not there"):
        views.copy_view(view, folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "w.csv").write_text("a,b\n1,2\n")
    with pytest.raises(MediaError, match="no view"):
        views.read_view(tmp_path / "w.csv")
    with pytest.raises(MediaError, match="cannot be kept"):
        views.keep_every(view, 0)
