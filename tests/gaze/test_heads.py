"""Head boxes from every kind of file, brought to frames and people."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from nbpkg.errors import AnnotationError, MediaError, WeightsError
from nbpkg.gaze.following import FaceFinder, Follower, grow_face
from nbpkg.gaze.footage import open_footage
from nbpkg.gaze.heads import fill_gaps, group_heads, read_heads

VOC = """<annotation><folder>f</folder><filename>00000000.png</filename>
<size><width>128</width><height>96</height><depth>3</depth></size>{}</annotation>"""
OBJECT = (
    """<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
)


def pose(shift: float, joints: int = 5) -> dict:
    """Somebody of whom `joints` face joints were found."""
    points = np.zeros((25, 3))
    for joint, (x, y) in list(
        zip((0, 15, 16, 17, 18), ((50, 26), (46, 22), (54, 22), (42, 24), (58, 24)), strict=True)
    )[:joints]:
        points[joint] = (x + shift, y, 0.9)
    return {"pose_keypoints_2d": points.ravel().tolist()}


def test_head_files_are_people(head_files, footage):
    heads = read_heads(head_files, footage)
    assert heads.problems == []
    assert heads.boxes["person"].value_counts().to_dict() == {"anna": 11, "ben": 9}
    assert heads.boxes.loc[0, ["x0", "y0", "x1", "y1"]].tolist() == [40, 14, 60, 38]
    assert [name for name, _, _ in group_heads(heads.boxes)[5]] == ["anna"]


def test_names_are_looked_up_with_and_without_ending(tmp_path, footage):
    (tmp_path / "p.txt").write_text("frame,x_min,y_min,x_max,y_max\n00000003, 1, 2, 9, 8\n00000004.ppm,1,2,9,8\n")
    assert read_heads([tmp_path / "p.txt"], footage).boxes["frame"].tolist() == [3, 4]


def test_of_a_video_the_number_in_the_name_counts(tmp_path, video):
    (tmp_path / "p.txt").write_text("img00000001.jpg,1,2,9,8\nimg00000012.jpg,1,2,9,8\n")
    footage = open_footage(video)
    assert read_heads([tmp_path / "p.txt"], footage, first=1).boxes["frame"].tolist() == [0, 11]
    heads = read_heads([tmp_path / "p.txt"], footage)
    assert heads.boxes["frame"].tolist() == [1]
    assert "1 boxes name no frame" in heads.problems[0].what


def test_missing_and_empty_boxes_are_told_and_left_out(tmp_path, footage):
    lines = ["00000000.png,None,None,None,None", "00000001.png,5,5,5,9", "00000002.png,1,2,9,8", "nowhere.png,1,2,9,8",
             "00000002.png,3,3,9,9"]  # fmt: skip
    (tmp_path / "p.txt").write_text("\n".join(lines))
    heads = read_heads([tmp_path / "p.txt"], footage)
    assert heads.boxes["frame"].tolist() == [2]
    text = " ".join(problem.what for problem in heads.problems)
    assert all(words in text for words in ("nowhere.png", "given twice", "2 boxes are empty"))


@pytest.mark.parametrize(
    ("content", "words"),
    [("00000000.png,1,2,x,8", "no head box"), ("elsewhere.png,1,2,9,8", "No head box belongs"), ("", "no rows")],
)
def test_files_that_cannot_be_used_are_refused(tmp_path, footage, content, words):
    (tmp_path / "p.txt").write_text(content)
    with pytest.raises(AnnotationError, match=words):
        read_heads([tmp_path / "p.txt"], footage)


def test_one_xml_holds_for_all_frames_whatever_the_order_of_its_objects(tmp_path, footage):
    objects = OBJECT.format("mustard", 1, 1, 5, 5) + OBJECT.format("Head", 40, 14, 60, 38)
    (tmp_path / "one.xml").write_text(VOC.format(objects))
    boxes = read_heads([tmp_path / "one.xml"], footage).boxes
    assert len(boxes) == 12
    assert set(boxes["box_source"]) == {"propagated"}
    assert boxes.loc[11, ["x0", "y1"]].tolist() == [40, 38]
    (tmp_path / "one.xml").write_text(VOC.format(OBJECT.format("mustard", 1, 1, 5, 5)))
    with pytest.raises(AnnotationError, match="head"):
        read_heads([tmp_path / "one.xml"], footage)


def test_heads_in_a_folder_of_xml_are_followed_though_their_order_changes(tmp_path, footage):
    left, right = (10, 14, 30, 38), (80, 14, 100, 38)
    for number, order in ((0, (left, right)), (1, (right, left)), (2, (left, right))):
        (tmp_path / f"{number:08}.xml").write_text(VOC.format("".join(OBJECT.format("head", *box) for box in order)))
    boxes = read_heads([tmp_path], footage).boxes
    assert len(boxes) == 6
    assert boxes.groupby("person")["x0"].nunique().tolist() == [1, 1]


def test_openpose_gives_one_box_per_person_seen(tmp_path, footage):
    for number in range(4):
        people = [pose(2 * number), pose(60)] if number < 3 else [pose(0, joints=0)]
        (tmp_path / f"{number:08}_keypoints.json").write_text(json.dumps({"people": people}))
    (tmp_path / "00000099_keypoints.json").write_text(json.dumps({"people": []}))
    heads = read_heads([tmp_path], footage)
    assert len(heads.boxes) == 6
    assert set(heads.boxes["box_source"]) == {"openpose"}
    first = heads.boxes.query("frame == 0 and x0 < 60").iloc[0]
    assert first[["x0", "x1"]].tolist() == [38, 61]  # 42 - 0.2 * 16 and 58 + 0.2 * 19.2, rounded down
    assert "00000099" in heads.problems[0].what


def test_a_table_of_boxes_is_taken_as_it_is(tmp_path, footage):
    rows = pd.DataFrame({"session": "s", "person": "s00", "rater": ["a1", "a2", "a1"], "frame": [0, 0, 40], "x0": 1.0,
                         "y0": 2.0, "x1": 9.0, "y1": 8.0, "box_source": "manual"})  # fmt: skip
    rows.to_csv(tmp_path / "t.csv", index=False)
    heads = read_heads([tmp_path / "t.csv"], footage)
    assert heads.boxes["frame"].tolist() == [0]
    assert heads.boxes["box_source"].tolist() == ["manual"]
    assert "beyond" in heads.problems[0].what
    rows.assign(session=["a", "b", "c"]).to_csv(tmp_path / "t.csv")
    with pytest.raises(AnnotationError, match="3 sessions"):
        read_heads([tmp_path / "t.csv"], footage)
    rows.assign(x0="left").to_csv(tmp_path / "t.csv")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_heads([tmp_path / "t.csv"], footage)


def test_kinds_are_not_mixed_and_paths_are_checked(tmp_path, head_files, footage):
    with pytest.raises(AnnotationError, match="several kinds"):
        read_heads([head_files[0], tmp_path], footage)
    with pytest.raises(AnnotationError, match="no 'nothing.txt'"):
        read_heads([tmp_path / "nothing.txt"], footage)
    with pytest.raises(AnnotationError, match="neither labelImg nor OpenPose"):
        read_heads([tmp_path], footage)


def test_short_gaps_are_filled_and_marked(head_files, footage):
    boxes = read_heads(head_files, footage).boxes
    filled = fill_gaps(boxes, longest=1)
    new = filled[filled["box_source"] == "interpolated"]
    assert new[["frame", "person"]].to_numpy().tolist() == [[9, "anna"], [9, "ben"]]
    assert new["x0"].tolist() == [58, 88]
    assert len(fill_gaps(boxes, longest=2)) == 24


def test_people_keep_their_names_until_they_are_gone_for_long():
    follower = Follower(patience=3)
    left, right = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0)
    assert follower.name(0, [left, right]) == ["s00", "s01"]
    assert follower.name(1, [(51.0, 0.0, 61.0, 10.0), (1.0, 0.0, 11.0, 10.0)]) == ["s01", "s00"]
    assert follower.name(3, [left]) == ["s00"]
    assert follower.name(9, [left]) == ["s02"]


def test_a_face_becomes_a_head_inside_the_frame():
    assert grow_face((40, 40, 60, 60), (100, 100)) == (36, 33, 64, 61)
    assert grow_face((0, 0, 20, 20), (100, 21)) == (0, 0, 24, 21)


def test_a_missing_or_broken_face_detector_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"yunet\.onnx.*(.|\n)*mark the boxes yourself"):
        FaceFinder(tmp_path / "yunet.onnx")
    (tmp_path / "yunet.onnx").write_text("no network")
    with pytest.raises(WeightsError, match="no face detector that OpenCV can load"):
        FaceFinder(tmp_path / "yunet.onnx")


def test_video_and_pictures_give_the_same_frames(video, pictures):
    film, folder = open_footage(video), open_footage(pictures, fps=25)
    assert (len(film), film.rate) == (len(folder), folder.rate) == (12, 25)
    for one, other in zip(film, folder, strict=True):
        assert one.number == other.number
        assert one.time_ms == pytest.approx(other.time_ms)
        assert one.picture.shape == other.picture.shape == (96, 128, 3)
        assert np.abs(one.picture.astype(int) - other.picture).mean() < 4  # H.264 loses a little
    assert [frame.number for frame in open_footage(video, step=5)] == [0, 5, 10]
    with pytest.raises(MediaError, match="Every 0th"):
        open_footage(video, step=0)
