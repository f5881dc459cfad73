"""Files written and read back, and copies that leave the originals alone."""

import json

import pandas as pd
import pytest
from gaze_cases import draw, draw_all, texts, vat_tree, voc_text, write, write_rows
from PIL import Image

from nbpkg.annotations.gaze.convert import copy_pictures, plan_copies, plan_tree
from nbpkg.annotations.gaze.gazefollow import read_gazefollow
from nbpkg.annotations.gaze.gazelle_json import export_gazelle, read_gazelle, write_gazelle
from nbpkg.annotations.gaze.headfile import read_head_files
from nbpkg.annotations.gaze.lookup import PictureIndex
from nbpkg.annotations.gaze.objectattention import read_objectattention
from nbpkg.annotations.gaze.rows import add_flag
from nbpkg.annotations.gaze.videoattention import read_videoattention
from nbpkg.annotations.gaze.write import write_head_files, write_objectattention, write_videoattention
from nbpkg.errors import AnnotationError, MediaError


@pytest.fixture
def data(tmp_path):
    """A small video data set of two annotators and its table."""
    vat_tree(tmp_path)
    folder = tmp_path / "annotations" / "test" / "ShowB" / "1_20"
    write(folder / "s00__a2.txt", (folder / "s00.txt").read_text().replace("30,40", "31.5,40"))
    table, problems = read_videoattention(tmp_path)
    assert problems == []
    return tmp_path, table


@pytest.mark.parametrize(
    ("write_files", "read"),
    [(write_videoattention, read_videoattention), (write_objectattention, read_objectattention)],
)
def test_text_files_come_back_as_the_same_table(data, write_files, read):
    root, table = data
    before = {path: path.read_text() for path in (root / "annotations").rglob("*.txt")}
    written = write_files(table, root)
    assert written["rows"].sum() == len(table)
    written = write_files(table, root)  # twice is once: nothing is appended
    options = {"cut_at_targets": False} if read is read_objectattention else {}
    back, problems = read(root, dataset="videoattention", **options)
    assert problems == []
    pd.testing.assert_frame_equal(back, table)
    if write_files is write_videoattention:
        assert before == {path: path.read_text() for path in (root / "annotations").rglob("*.txt")}
    else:
        lines = (root / "annotations/train/ShowA/1_20/s00.txt").read_text().splitlines()
        assert lines[:2] == ["frame x_min y_min x_max y_max gaze_x gaze_y", "00000001, 10, 5, 20, 15, 30.0, 40.0"]


def test_rows_that_cannot_be_written_are_counted(data):
    root, table = data
    written = write_videoattention(add_flag(table, "excluded", table["frame"] == 0), root / "out")
    assert written[["rows", "left_out"]].to_numpy().tolist() == [[5, 1]] * 3
    with pytest.raises(AnnotationError, match="cannot be part of a file name"):
        write_videoattention(table.assign(person="../x"), root / "out")
    with pytest.raises(AnnotationError, match="outside the data folder"):
        write_videoattention(table.assign(image="../x/1.jpg"), root / "out")


def test_head_files_come_back(data):
    root, table = data
    written = write_head_files(table, root / "heads")
    assert written["file"].tolist() == ["ShowA--1_20/s00.txt", "ShowB--1_20/s00.txt"]
    back, problems = read_head_files(
        [root / "heads" / written["file"][0]], "images/ShowA/1_20", pictures=PictureIndex(root)
    )
    assert problems == []
    assert back["x0"].tolist() == [10.0] * 6


def test_gazelle_lists_come_back_as_boxes_and_points(data, tmp_path):
    root, table = data
    written = write_gazelle(table, root / "json", form="video")
    assert written["file"].tolist() == ["test_preprocessed.json", "train_preprocessed.json"]
    assert written[["rows", "left_out"]].to_numpy().tolist() == [[12, 0], [6, 0]]
    back, problems = read_gazelle(
        root / "json" / "test_preprocessed.json", pictures=PictureIndex(root), split="test", dataset="videoattention"
    )
    assert problems == []
    test = table[table["split"] == "test"].reset_index(drop=True)
    same = ["session", "participant", "rater", "frame", "image", "inside"]
    pd.testing.assert_frame_equal(back[same], test[same])
    pd.testing.assert_frame_equal(back[["x0", "y1", "gaze_x"]], test[["x0", "y1", "gaze_x"]])
    for text in ("{", "[1]", '[{"path": "a"}]'):
        with pytest.raises(AnnotationError, match="no list"):
            read_gazelle(write(tmp_path / "bad.json", text), pictures=PictureIndex(root))
    assert read_gazelle(write(tmp_path / "bad.json", "[]"), pictures=PictureIndex(root))[1][0].severity == "error"


def test_gazelle_picture_lists_keep_people_and_annotators(tmp_path):
    draw(tmp_path / "test2/0/t.jpg", (100, 80))
    line = "test2/0/t.jpg,7,.1,.1,.3,.8,{},.2,{},.5,10,10,20,20,src,meta"
    rows = [[line.format(eye, gaze)] for eye, gaze in ((0.5, 0.1), (0.5, 0.2), (0.3, 0.3))]
    write_rows(tmp_path / "test_annotations_release.txt", rows)
    table, _ = read_gazefollow(tmp_path, files={"test": "test_annotations_release.txt"})
    heads = export_gazelle(table, form="pictures")["test"][0]["heads"]
    assert [head["num_annot"] for head in heads] == [1, 2]
    assert heads[1]["gazex"] == [10, 20]
    write_gazelle(table, tmp_path, form="pictures")
    back, _ = read_gazelle(tmp_path / "test_preprocessed.json", pictures=PictureIndex(tmp_path), split="test")
    pd.testing.assert_frame_equal(back.assign(dataset="gazefollow"), table)


def test_rows_without_box_or_point_are_not_exported(data):
    _, table = data
    table = add_flag(table.assign(x0=table["x0"].where(table["frame"] != 1)), "inout_invalid", table["frame"] == 2)
    frames = export_gazelle(table, form="video")["train"][0]["frames"]
    assert [frame["path"][-7:] for frame in frames] == ["001.jpg", "004.jpg", "005.jpg", "006.jpg"]


def test_pictures_are_renumbered_into_one_sequence_that_goes_on(tmp_path):
    draw_all(tmp_path / "a" / "rgb", ["10.ppm", "9.ppm"])
    draw_all(tmp_path / "b" / "rgb", ["x.JPG"])
    write(tmp_path / "a" / "rgb" / ".hidden", "")
    draw_all(tmp_path / "all", ["00000006.ppm"])
    mapping = plan_copies(tmp_path, ["a/rgb", "b/rgb"], digits=8, start=None, into="all")
    assert list(zip(mapping["old"], mapping["new"], strict=True)) == [
        ("a/rgb/9.ppm", "all/00000007.ppm"),
        ("a/rgb/10.ppm", "all/00000008.ppm"),
        ("b/rgb/x.JPG", "all/00000009.JPG"),
    ]
    with pytest.raises(AnnotationError, match="more than 1 digits"):
        plan_copies(tmp_path, ["a/rgb"], digits=1, start=9, into="all")
    with pytest.raises(AnnotationError, match="no pictures"):
        plan_copies(tmp_path, ["none"])
    with pytest.raises(AnnotationError, match="from 1"):
        plan_copies(tmp_path, ["a/rgb"], every=0)


def test_every_nth_picture_and_its_json_keep_their_names(tmp_path):
    draw_all(tmp_path / "rgb", [f"{n}.ppm" for n in range(5)])
    for n in (0, 1, 4):  # what is missing for one picture moves no other
        write(tmp_path / "rgb_openpose_json" / f"{n}_keypoints.json", "{}")
    mapping = plan_copies(tmp_path, ["rgb"], every=2)
    assert mapping["new"].tolist() == ["rgb/0.ppm", "rgb/2.ppm", "rgb/4.ppm"]
    assert mapping["new_json"].tolist() == [
        "rgb_openpose_json/0_keypoints.json", "", "rgb_openpose_json/4_keypoints.json",
    ]  # fmt: skip
    copy_pictures(mapping, tmp_path, tmp_path / "half")
    assert sorted(path.name for path in (tmp_path / "half").rglob("*.*")) == [
        "0.ppm", "0_keypoints.json", "2.ppm", "4.ppm", "4_keypoints.json", "mapping.csv",
    ]  # fmt: skip
    assert pd.read_csv(tmp_path / "half" / "mapping.csv")["old"].tolist() == mapping["old"].tolist()


def test_copies_convert_never_touch_and_never_overwrite(tmp_path):
    draw_all(tmp_path / "data" / "rgb", ["1.ppm", "2.ppm"])
    mapping = plan_copies(tmp_path / "data", ["rgb"])
    written = copy_pictures(mapping, tmp_path / "data", tmp_path / "jpg", ending=".jpg")
    assert written["new"].tolist() == ["rgb/1.jpg", "rgb/2.jpg"]
    with Image.open(tmp_path / "jpg" / "rgb" / "1.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))
    assert sorted(path.name for path in (tmp_path / "data" / "rgb").iterdir()) == ["1.ppm", "2.ppm"]
    with pytest.raises(AnnotationError, match="already there"):
        copy_pictures(mapping, tmp_path / "data", tmp_path / "jpg")
    draw(tmp_path / "data" / "rgb" / "1.png")
    with pytest.raises(AnnotationError, match="share their new names"):
        copy_pictures(plan_copies(tmp_path / "data", ["rgb"]), tmp_path / "data", tmp_path / "b", ending=".jpg")


@pytest.mark.parametrize("damage", ["text", "gone"])
def test_a_picture_that_cannot_be_copied_leaves_nothing_behind(tmp_path, damage):
    draw_all(tmp_path / "rgb", ["1.ppm", "2.ppm"])
    mapping = plan_copies(tmp_path, ["rgb"])
    (tmp_path / "rgb" / "2.ppm").unlink() if damage == "gone" else write(tmp_path / "rgb" / "2.ppm", "text")
    with pytest.raises(MediaError, match=r"(?s)(cannot be read|is not there).*2\.ppm"):
        copy_pictures(mapping, tmp_path, tmp_path / "out", ending=".jpg")
    assert not list(tmp_path.glob("*out*"))


def test_a_tree_without_key_points_takes_its_boxes_from_the_xml(tmp_path):
    place = tmp_path / "Anna" / "session_1" / "cup" / "rgb"
    draw_all(place, [f"{n:08d}.ppm" for n in range(5)])
    write(place / "00000002.xml", voc_text([("cup", 1, 1, 5, 5), ("head", 10, 10, 20, 20)], "00000002.ppm"))
    draw(tmp_path / "Anna" / "session_1" / "stray" / "rgb" / "1.ppm")
    table, mapping, problems = plan_tree(tmp_path, split="train")
    assert table["box_source"].tolist() == ["propagated", "manual", "propagated"]
    assert table["frame"].tolist() == [0, 2, 4]
    assert mapping["new"].tolist() == [f"images/Anna/session_1/0000{n}.ppm" for n in range(3)]
    assert "There is no XML file" in texts(problems)[0]
    assert json.loads(table.to_json(orient="records"))[0]["target"] == "cup"
