"""Which picture an annotation means, and what a check of all pictures says."""

import pytest
from gaze_cases import draw, draw_all, write

from nbpkg.annotations.gaze import lookup
from nbpkg.annotations.gaze.lookup import PictureIndex, check_pictures, find_oddities, list_pictures, summarise_pictures
from nbpkg.errors import AnnotationError
from nbpkg.video import pictures as video_pictures


def resolve(root, name):
    row = PictureIndex(root).resolve(["f"], [name]).iloc[0]
    return row["trouble"] or row["image"]


@pytest.mark.parametrize(
    ("files", "name", "meant"),
    [
        (["a.ppm"], "a.ppm", "f/a.ppm"),
        (["a.ppm"], "a", "f/a.ppm"),
        (["a.JPG"], "a", "f/a.JPG"),
        (["a.JPG"], "a.ppm", "f/a.JPG"),
        (["a.png", "a.bmp"], "a.BMP", "f/a.bmp"),
        (["a.ppm", "a.jpg"], "a.jpg", "f/a.jpg"),
        (["a.ppm", "a.jpg"], "a.jpeg", "ambiguous"),
        (["a.ppm", "a.jpg"], "a", "ambiguous"),
        (["a.ppm"], "b", "missing"),
        (["take.0001.jpg"], "take.0001", "f/take.0001.jpg"),
        (["a.ppm"], "../f/a.ppm", "missing"),
    ],
)
def test_a_name_means_one_file_or_none(tmp_path, files, name, meant):
    draw_all(tmp_path / "f", files)
    assert resolve(tmp_path, name) == meant


def test_pictures_come_in_natural_order_without_logs(tmp_path):
    draw_all(tmp_path / "f", ["10.ppm", "9.jpg", "00000002.PNG"])
    for name in ("data.log", "info.log", "._9.jpg", "Thumbs.db"):
        write(tmp_path / "f" / name, "x")
    assert list_pictures(tmp_path / "f") == ["00000002.PNG", "9.jpg", "10.ppm"]
    found = PictureIndex(tmp_path).resolve(["f"] * 3, ["10", "9", "2"])
    assert found["frame"].tolist() == [2, 1, -1]


def test_frame_numbers_are_those_of_the_frame_store(tmp_path):
    names = ["10.jpg", "9.jpg", "b2.ppm", "B10.ppm", "a.png", "a1.png", "1a.png", "01.png", "1.png", "2 b.bmp"]
    draw_all(tmp_path / "f", names)
    assert list_pictures(tmp_path / "f") == [path.name for path in video_pictures.list_pictures(tmp_path / "f")]


def test_the_check_reads_every_header_once_and_says_what_is_odd(tmp_path):
    draw_all(tmp_path / "a", ["1.ppm", "2.jpg"])
    draw(tmp_path / "a" / "3.png", (32, 20))
    draw(tmp_path / "b" / "1.ppm")
    write(tmp_path / "b" / "broken" / "1.jpg", "")
    draw_all(tmp_path / "c", ["1.ppm", "1.jpg"])
    report = check_pictures(tmp_path)
    assert report[["width", "height"]].to_numpy().tolist()[:3] == [[64, 48], [64, 48], [32, 20]]
    summary = summarise_pictures(report).set_index("folder")
    assert summary.loc["a", "sizes"] == "64 x 48: 2; 32 x 20: 1"
    assert summary.loc["c", "doubled"] == 1
    told = {problem.file: problem for problem in find_oddities(report)}
    assert "empty" in told["b/broken/1.jpg"].what
    assert told["b/broken/1.jpg"].severity == "error"
    assert "several sizes" in told["a"].what
    assert "one picture only" in told["b"].what
    assert "several endings" in told["c"].what
    with pytest.raises(AnnotationError, match="not there"):
        check_pictures(tmp_path / "none")


def test_sizes_are_remembered_and_taken_from_a_report(tmp_path, monkeypatch):
    draw_all(tmp_path / "f", ["1.ppm", "2.ppm"])
    report = check_pictures(tmp_path)
    opened = []
    monkeypatch.setattr(lookup, "read_header", lambda path: opened.append(path.name) or (1, 1, "PPM", ""))
    draw(tmp_path / "f" / "2.ppm", (10, 10))  # its bytes are other ones now
    index = PictureIndex(tmp_path, known=report)
    assert index.sizes(["f/1.ppm", "f/2.ppm", "f/2.ppm"]).tolist() == [[64, 48], [1, 1], [1, 1]]
    index.sizes(["f/2.ppm"])
    assert opened == ["2.ppm"]


def test_session_names_are_plain_and_never_shared():
    assert lookup.plain_name(["ShowA", "1_20"]) == "ShowA--1_20"
    odd = {
        lookup.plain_name(parts) for parts in (["A B", "1"], ["A_B", "1"], ["A?B", "1"], ["A", "B--1"], ["A--B", "1"])
    }
    assert len(odd) == 5
    assert all(set(name) <= set("ABCDEFabcdef0123456789_-.") for name in odd)
