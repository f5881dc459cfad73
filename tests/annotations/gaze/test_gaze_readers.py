"""The published data sets read, and everything that may be wrong with them told and counted."""

import os
import time

import pandas as pd
import pytest
from gaze_cases import HEADER, draw, draw_all, pose_text, texts, vat_tree, voc_text, write, write_rows

from nbpkg.annotations.gaze.gazefollow import read_gazefollow
from nbpkg.annotations.gaze.headfile import read_head_files
from nbpkg.annotations.gaze.lookup import PictureIndex, check_pictures
from nbpkg.annotations.gaze.objectattention import read_objectattention
from nbpkg.annotations.gaze.openpose import plan_openpose, read_openpose
from nbpkg.annotations.gaze.rows import check_parts, combine_gaze
from nbpkg.annotations.gaze.videoattention import read_videoattention
from nbpkg.annotations.gaze.voc_tree import read_voc_tree
from nbpkg.errors import AnnotationError


def vat(root, lines, *, names=("1.jpg", "2.jpg", "3.jpg"), size=(64, 48), **options):
    """Read one track of text lines about three pictures."""
    draw_all(root / "images" / "Show" / "clip", names, size)
    path = root / "annotations" / "train" / "Show" / "clip" / "s00.txt"
    write(path, "\n".join(lines) + "\n")
    return read_videoattention(root, splits=["train"], **options)


def test_videoattention_gives_tracks_frames_and_inside(tmp_path):
    table, problems = read_videoattention(vat_tree(tmp_path))
    assert problems == []
    assert table["inside"].tolist() == [1, 1, 0, 1, 1, 0] * 2
    assert table["frame"].tolist() == [0, 1, 2, 3, 4, 5] * 2
    first = table.iloc[0]
    assert first[["dataset", "split", "participant", "session", "person", "rater", "image"]].tolist() == [
        "videoattention", "train", "ShowA", "ShowA--1_20", "s00", "a1", "images/ShowA/1_20/00000001.jpg",
    ]  # fmt: skip
    assert first[["width", "height", "x0", "y0", "x1", "y1", "gaze_x", "gaze_y", "valid"]].tolist() == [
        64, 48, 10, 5, 20, 15, 30, 40, 1,
    ]  # fmt: skip
    assert table.loc[table["inside"] == 0, ["gaze_x", "gaze_y"]].isna().all(axis=None)


@pytest.mark.parametrize("protocol", ["gazelle", "vtd"])
def test_what_is_outside_depends_on_the_protocol(tmp_path, protocol):
    lines = ["1.jpg,1,2,30,40,-1,-1", "2.jpg,1,2,30,40,-3,-2", "3.jpg,1,2,30,40,-2,30"]
    table, problems = vat(tmp_path, lines, protocol=protocol)
    assert table["inside"].tolist() == ([0, 0, 1] if protocol == "gazelle" else [0, 1, 1])
    assert table["gaze_x"].tolist()[2] == 0
    if protocol == "vtd":
        assert table[["gaze_x", "gaze_y"]].iloc[1].tolist() == [0, 0]
    assert "lines 3" in texts(problems)[0] or "lines 2, 3" in texts(problems)[0]


BAD = [
    ("2.jpg,None,None,None,None,30,20", "no_box", "no head box"),
    ("2.jpg,,,,,30,20", "no_box", "no head box"),
    ("2.jpg,-1,-1,-1,-1,30,20", "no_box", "no head box"),
    ("2.jpg,1,2,30,inf,30,20", "not_finite", "not finite"),
    ("2.jpg,1,2,nan,40,30,20", "not_finite", "not finite"),
    ("2.jpg,1,2,30,forty,30,20", "unreadable", "no number"),
    ("2.jpg,1,2,30,40,30", "unreadable", "fields are missing"),
    ("2.jpg,1,2,30,40,30,20,7", "unreadable", "too many"),
    ("2.jpg,1,2,30,40,None,", "no_gaze", "no gaze point"),
    ("2.jpg,5,5,5,40,30,20", "zero_area", "no area"),
    ("2.jpg,100,100,120,130,30,20", "off_image", "wholly outside"),
    ("2.jpg,-40,5,-10,40,30,20", "off_image", "wholly outside"),
]
ODD = [
    ("2.jpg,30,40,1,2,30,20", "swapped", "inverted", [1, 2, 30, 40]),
    ("2.jpg,-5,2,30,60,30,20", "outside_image", "partly outside", [-5, 2, 30, 60]),
    ("2.jpg,1,2,30,40,70,20", "gaze_beyond_edge", "right or lower edge", [1, 2, 30, 40]),
    ("2.jpg,1,2,30,40,-4,20", "gaze_to_edge", "set to 0", [1, 2, 30, 40]),
]


@pytest.mark.parametrize(("line", "flag", "words"), BAD, ids=lambda one: str(one)[:24])
def test_a_row_that_cannot_be_used_is_kept_flagged_and_told_with_file_and_line(tmp_path, line, flag, words):
    table, problems = vat(tmp_path, ["1.jpg,1,2,30,40,30,20", line, "3.jpg,1,2,30,40,30,20"])
    assert table["valid"].tolist() == [1, 0, 1]
    assert flag in table["flags"].iloc[1].split(";")
    assert len(problems) == 1
    assert words in problems[0].what
    assert (problems[0].file, problems[0].row) == ("annotations/train/Show/clip/s00.txt", 2)


@pytest.mark.parametrize(("line", "flag", "words", "box"), ODD, ids=lambda one: str(one)[:24])
def test_a_row_that_is_odd_stays_valid_and_is_told(tmp_path, line, flag, words, box):
    table, problems = vat(tmp_path, ["1.jpg,1,2,30,40,30,20", line])
    assert table["valid"].tolist() == [1, 1]
    assert table["flags"].iloc[1] == flag
    assert table[["x0", "y0", "x1", "y1"]].iloc[1].tolist() == box
    assert len(problems) == 1
    assert words in problems[0].what


def test_missing_pictures_are_counted_per_folder_and_named(tmp_path):
    table, problems = vat(tmp_path, [f"{n}.jpg,1,2,30,40,30,20" for n in range(1, 11)])
    assert len(table) == 3
    assert [problem.severity for problem in problems] == ["error"]
    assert "7 pictures of folder images/Show/clip are missing: 4.jpg, 5.jpg" in problems[0].what
    assert "(7 rows were left out)" in problems[0].what
    assert problems[0].row == 4


def test_repeated_frames_are_left_out_and_told_by_whether_they_agree(tmp_path):
    lines = ["1.jpg,1,2,30,40,30,20", "2.jpg,1,2,30,40,30,20"]
    table, problems = vat(tmp_path / "same", [*lines, *lines])
    assert len(table) == 2
    assert [problem.severity for problem in problems] == ["repaired"]
    table, problems = vat(tmp_path / "other", [*lines, "2.jpg,1,2,30,40,31,20", "2,1,2,30,40,30,20"])
    assert table["gaze_x"].tolist() == [30, 30]
    assert sorted(problem.severity for problem in problems) == ["error", "repaired"]


def test_a_file_that_was_appended_to_with_its_header_again_is_repaired(tmp_path):
    draw_all(tmp_path / "images" / "s" / "t", ["00000000.ppm", "00000001.ppm"])
    text = HEADER + "00000000, 1, 2, 30, 40, 12.5, 20.0\n00000001, 1, 2, 30, 40, 12.5, 20.0\n"
    write(tmp_path / "annotations" / "train" / "s" / "t" / "S01.txt", text + text)
    table, problems = read_objectattention(tmp_path, splits=["train"])
    assert len(table) == 2
    assert [problem.severity for problem in problems] == ["repaired", "repaired"]
    assert "second header" in problems[0].what.lower()
    assert problems[0].row == 4


def test_a_damaged_picture_spoils_its_rows_and_is_told(tmp_path):
    draw_all(tmp_path / "images" / "Show" / "clip", ["1.jpg"])
    write(tmp_path / "images" / "Show" / "clip" / "2.jpg", "no picture")
    table, problems = vat(tmp_path, ["1.jpg,1,2,30,40,30,20", "2.jpg,1,2,30,40,30,20"], names=["1.jpg"])
    assert table["valid"].tolist() == [1, 0]
    assert texts(problems, "error") == [
        "annotations/train/Show/clip/s00.txt, row 2: In 1 row the picture cannot be opened (lines 2)."
    ]


def test_empty_parts_files_and_other_encodings_are_told(tmp_path):
    vat_tree(tmp_path, shows=[("train", "ShowA")])
    (tmp_path / "annotations" / "test").mkdir()
    write(tmp_path / "annotations" / "train" / "ShowA" / "1_20" / "s01.txt", "\n\n")
    write(tmp_path / "annotations" / "train" / "ShowA" / "1_20" / "s02.txt", "00000001.jpg,1,2,3,4,5,6\n", "utf-16")
    write(tmp_path / "annotations" / "train" / "loose.txt", "00000001.jpg,1,2,3,4,5,6\n")
    table, problems = read_videoattention(tmp_path)
    told = "\n".join(texts(problems))
    for words in (
        "part 'test' is empty",
        "s01.txt: The file has no rows",
        "s02.txt: The file is not UTF-8",
        "no folder of",
    ):
        assert words in told
    assert [problem.what for problem in check_parts(table)] == ["The part 'test' is empty."]
    _, problems = read_videoattention(tmp_path, splits=["validation"])
    assert "part 'validation' is not there" in problems[0].what
    with pytest.raises(AnnotationError, match="data set is not there"):
        read_videoattention(tmp_path / "none")


@pytest.mark.parametrize("header", ["", HEADER, "frame,x_min,y_min,x_max,y_max,gaze_x,gaze_y\n", "\ufeff" + HEADER])
@pytest.mark.parametrize(("separator", "ending"), [(", ", ""), (",", ""), (",", ".ppm")])
def test_objectattention_loses_no_row_with_or_without_header(tmp_path, header, separator, ending):
    draw_all(tmp_path / "images" / "p01" / "set-a", ["00000000.ppm", "00000001.jpg", "00000002.PNG"])
    rows = [[f"0000000{n}{ending}", "1", "2", "30", "40", "12.5", "20.0"] for n in range(3)]
    text = header + "".join(separator.join(row) + "\n" for row in rows)
    write(tmp_path / "annotations" / "train" / "p01" / "set-a" / "S01.txt", text)
    table, problems = read_objectattention(tmp_path, splits=["train"], participants={"p01": "Anna"})
    assert problems == []
    assert table["image"].str.rpartition("/")[2].tolist() == ["00000000.ppm", "00000001.jpg", "00000002.PNG"]
    assert table["gaze_x"].tolist() == [12.5] * 3
    assert set(table["participant"]) == {"Anna"}
    published, _ = read_objectattention(tmp_path, splits=["train"], compat="reference")
    assert len(published) == (3 if header else 2)  # it takes the first line for a header, whatever it is


def test_a_header_in_another_order_is_obeyed_and_an_unknown_one_told(tmp_path):
    header = "frame,gaze_x,gaze_y,xmin,ymin,xmax,ymax"
    table, problems = vat(tmp_path / "a", [header, "1.jpg,30,20,1,2,31,42"])
    assert problems == []
    assert table[["x0", "y0", "x1", "y1", "gaze_x", "gaze_y"]].to_numpy().tolist() == [[1, 2, 31, 42, 30, 20]]
    _, problems = vat(tmp_path / "b", ["frame,x_min,y_min,breadth,height,gaze_x,gaze_y", "1.jpg,1,2,30,40,30,20"])
    assert "The header names frame, x_min" in problems[0].what


def test_a_change_of_target_starts_a_segment(tmp_path):
    draw_all(tmp_path / "images" / "s" / "t", [f"{n}.ppm" for n in range(6)])
    points = [(5, 5), (5, 5), ("None", "None"), (5, 5), (9, 5), (9, 5)]
    rows = [(n, 1, 2, 30, 40, *point) for n, point in enumerate(points)]
    write_rows(tmp_path / "annotations" / "train" / "s" / "t" / "S01.txt", rows)
    table, _ = read_objectattention(tmp_path, splits=["train"])
    assert table["segment"].tolist() == [0, 0, 0, 0, 1, 1]
    table, _ = read_objectattention(tmp_path, splits=["train"], compat="reference")
    assert table["segment"].tolist() == [0] * 5  # in one piece, and its first line taken for a header


def test_a_second_annotator_is_a_file_beside_the_first(tmp_path):
    vat_tree(tmp_path, shows=[("train", "ShowA")])
    folder = tmp_path / "annotations" / "train" / "ShowA" / "1_20"
    write(folder / "s00__a2.txt", (folder / "s00.txt").read_text())
    table, _ = read_videoattention(tmp_path, splits=["train"])
    assert table.groupby("rater").size().to_dict() == {"a1": 6, "a2": 6}
    assert set(table["person"]) == {"s00"}


def test_data_sets_of_several_formats_and_endings_mix(tmp_path):
    vat_tree(tmp_path / "vat")
    draw_all(tmp_path / "oa" / "images" / "ShowA" / "1_20", ["00000000.ppm"])
    rows = [("00000000", 1, 2, 30, 40, 12.5, 20.0)]
    write_rows(tmp_path / "oa" / "annotations" / "train" / "ShowA" / "1_20" / "S01.txt", rows)
    pictures = PictureIndex(tmp_path)
    first, _ = read_videoattention(tmp_path / "vat", pictures=pictures)
    second, _ = read_objectattention(tmp_path / "oa", pictures=pictures, splits=["train"])
    table = combine_gaze([first, second])
    assert len(table) == 13
    assert set(table["session"]) == {"videoattention--ShowA--1_20", "ShowB--1_20", "objectattention--ShowA--1_20"}
    assert {image.split("/")[0] for image in table["image"]} == {"vat", "oa"}
    with pytest.raises(AnnotationError, match="occur in several tables"):
        combine_gaze([first, first])
    with pytest.raises(AnnotationError, match="outside the data folder"):
        read_videoattention(tmp_path / "vat", pictures=PictureIndex(tmp_path / "oa"))


TRAIN = "train/0/a.jpg,7,.1,.1,.3,.8,.27,.31,.60,.50,60,40,110,110,1,src,orig"


@pytest.mark.parametrize(("cut", "bom"), [(0, ""), (1, "\ufeff")])
def test_gazefollow_takes_both_column_counts_and_a_byte_order_mark(tmp_path, cut, bom):
    draw(tmp_path / "train/0/a.jpg", (320, 240))
    draw(tmp_path / "test2/0/t.jpg", (320, 240))
    shorten = lambda line: line.rsplit(",", cut)[0] if cut else line  # noqa: E731
    write(tmp_path / "train_annotations_release.txt", bom + shorten(TRAIN) + "\n")
    test = "test2/0/t.jpg,7,.1,.1,.3,.8,{},.31,{},.50,60,40,110,110,src,meta"
    lines = [test.format(0.7, 0.5), test.format(0.27, 0.1), test.format(0.27, 0.2)]
    write(tmp_path / "test_annotations_release.txt", bom + "".join(shorten(line) + "\n" for line in lines))
    table, problems = read_gazefollow(tmp_path)
    assert problems == []
    train, test = table[table["split"] == "train"], table[table["split"] == "test"]
    assert train[["gaze_x", "gaze_y", "x0", "y1", "inside"]].to_numpy().tolist() == [[192, 120, 60, 110, 1]]
    assert list(zip(test["person"], test["rater"], test["gaze_x"], strict=True)) == [
        ("p00", "a1", 32), ("p00", "a2", 64), ("p01", "a1", 160),
    ]  # fmt: skip
    assert test["inside"].tolist() == [1, 1, 1]


def test_gazefollow_flags_invalid_swapped_and_outside_rows(tmp_path):
    draw(tmp_path / "train/0/a.jpg", (320, 240))
    parts = TRAIN.split(",")
    change = lambda **new: ",".join(new.get(f"c{n}", part) for n, part in enumerate(parts))  # noqa: E731
    lines = [
        TRAIN,
        change(c14="-1"),
        change(c14="0", c8="-1", c9="-1"),
        change(c10="200", c11="180", c12="150", c13="260"),
        change(c0="../secret.jpg"),
        change(c0="train/0/gone.jpg"),
        change(c8="None"),
        change(c0=r"train\0\a.jpg", c10="1"),
    ]
    write_rows(tmp_path / "train_annotations_release.txt", [[line] for line in lines])
    table, problems = read_gazefollow(tmp_path)
    assert table["inside"].tolist() == [1, -1, 0, 1, -1, 1]
    assert table["valid"].tolist() == [1, 0, 1, 1, 0, 1]
    assert table["flags"].tolist()[3] == "swapped;outside_image"
    told = "\n".join(texts(problems))
    for words in (
        "row 5: The path '../secret.jpg' leaves the data set",
        "row 6: 1 pictures of folder train/0 are missing: gone.jpg",
        "row 7: In 1 row there is no gaze point",
        "itself marks the row as invalid",
        "The part 'test' is not there",
    ):
        assert words in told


def test_gazefollow_tells_people_with_one_eye_x_apart_unless_as_published(tmp_path):
    draw(tmp_path / "test2/0/t.jpg")
    line = "test2/0/t.jpg,7,.1,.1,.3,.8,.5,{},.6,.5,10,10,20,20,src,meta"
    write(tmp_path / "test_annotations_release.txt", line.format(0.2) + "\n" + line.format(0.6) + "\n")
    names = {"test": "test_annotations_release.txt"}
    persons = {compat: read_gazefollow(tmp_path, files=names, compat=compat)[0] for compat in ("none", "reference")}
    assert persons["none"]["person"].tolist() == ["p00", "p01"]
    assert persons["reference"]["person"].tolist() == ["p00", "p00"]
    write(tmp_path / "test_annotations_release.txt", (line.format(0.2) + "\n") * 21)
    _, problems = read_gazefollow(tmp_path, files=names)
    assert "annotator number 21" in problems[0].what


def test_head_files_give_boxes_of_several_people(tmp_path):
    draw_all(tmp_path / "frames", ["1.ppm", "2.jpg"])
    first = write(tmp_path / "person1.txt", "1.jpg,5,6,25,36\n2.jpg,7,6,27,36\n")
    second = write(tmp_path / "person2.txt", "frame,left,top,right,bottom\n2.ppm,40,6,60,36\n")
    table, problems = read_head_files([first, second], "frames", pictures=PictureIndex(tmp_path))
    assert problems == []
    assert table.groupby("person")["x0"].agg(list).to_dict() == {"person1": [5, 7], "person2": [40]}
    assert set(table["flags"]) == {"unlabelled"}
    assert table["valid"].sum() == 0


def test_a_collection_of_xml_files_gives_targets_by_folder_name(tmp_path):
    objects = [("cup", 50, 10, 60, 20), ("HEAD", 5, 6, 25, 36), ("Mustard", 30, 30, 40, 44)]
    for place in ("Anna/session_1/mustard/rgb", "Anna/session_2/set-a/cup/rgb", "Anna/session_2/set-a/nothing/rgb"):
        draw_all(tmp_path / place, ["00000000.ppm", "00000001.ppm", "00000002.ppm"])
        write(tmp_path / place / "data.log", "")
    draw(tmp_path / "Anna/session_1/mustard/rgb_openpose_images" / "1.png")
    write(tmp_path / "Anna/session_1/mustard/rgb/00000001.xml", voc_text(objects))
    write(tmp_path / "Anna/session_2/set-a/00000001.xml", voc_text(objects))
    table, problems = read_voc_tree(tmp_path)
    assert table.groupby("target")["gaze_x"].first().to_dict() == {"Mustard": 35, "cup": 55}
    assert table["box_source"].tolist()[:3] == ["propagated", "manual", "propagated"]
    assert table["x0"].tolist() == [5.0] * 6
    assert set(table["participant"]) == {"Anna"}
    assert ["No folder of Anna/session_2/set-a/nothing/rgb is named like an object." in texts(problems)[0]] == [True]
    two = [*objects, ("head", 1, 1, 9, 9)]
    write(tmp_path / "Anna/session_1/mustard/rgb/00000001.xml", voc_text(two))
    _, problems = read_voc_tree(tmp_path)
    assert "2 objects are called 'head'" in texts(problems)[0]
    table, _ = read_voc_tree(tmp_path, head=1, targets={"Anna/session_1/mustard/rgb": "cup"})
    assert table[["x0", "gaze_x"]].iloc[0].tolist() == [1, 55]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "no readable XML"),
        ("", "no readable XML"),
        ('<!DOCTYPE a [<!ENTITY e "x">]><annotation>&e;</annotation>', "no readable XML"),
        ("<annotation></annotation>", "no object"),
        (voc_text([("head", "a", 1, 2, 3)]), "Object 1 ('head') has the box 'a'"),
        (voc_text([("cup", 0, 1, 2, 3)]), "There is no object 'head'"),
    ],
)
def test_a_bad_xml_file_is_told_and_its_folder_not_read(tmp_path, text, words):
    draw_all(tmp_path / "p" / "cup" / "rgb", ["00000001.ppm"])
    write(tmp_path / "p" / "cup" / "rgb" / "a.xml", text)
    table, problems = read_voc_tree(tmp_path)
    assert table.empty
    assert words in "\n".join(texts(problems, "error"))


def test_key_points_follow_one_person_and_fill_short_gaps(tmp_path):
    names = [f"{n:08d}" for n in range(8)]
    draw_all(tmp_path / "rgb", [f"{name}.ppm" for name in names], (640, 480))
    for n, name in enumerate(names):
        me = {0: (320 + n, 100), 15: (305 + n, 90), 16: (340 + n, 90)}
        other = {0: (120, 100), 15: (105, 90), 16: (140, 90)}
        people = [me, other] if n % 2 else [other, me]  # the order in the file means nothing
        if n in (3, 4):
            people = [other, {15: (300, 90)}]  # one joint is no box
        if n == 6:
            people[1 - n % 2] = {joint: (*xy, 0.01) for joint, xy in me.items()}  # nothing to rely on
        write(tmp_path / "json" / f"{name}_keypoints.json", pose_text(people))
    write(tmp_path / "json" / "99999999_keypoints.json", pose_text([]))
    (tmp_path / "json" / "00000007_keypoints.json").write_text("{")
    table, problems = read_openpose(tmp_path / "json", "rgb", pictures=PictureIndex(tmp_path), people=2)
    mine = table[table["person"] == "p01"]
    assert mine["x0"].tolist()[:6] == [298, 299, 300, 301, 302, 303]
    assert mine["box_source"].tolist()[3:5] == ["interpolated"] * 2
    assert mine["flags"].iloc[3] == "unlabelled;interpolated"
    assert mine["x0"].isna().tolist() == [False] * 6 + [True] * 2  # nothing after it to interpolate towards
    told = "\n".join(texts(problems))
    assert "1 JSON files have no picture: 99999999" in told
    assert "00000007_keypoints.json: The file holds no key points" in told
    assert "no head box" in told


def test_openpose_is_called_only_where_json_is_missing(tmp_path):
    for place in ("a/rgb", "b/rgb"):
        draw_all(tmp_path / place, ["1.ppm", "2.ppm"])
    for name in ("1", "2"):
        write(tmp_path / "a" / "rgb_openpose_json" / f"{name}_keypoints.json", pose_text([]))
    plan = plan_openpose(tmp_path, ["a/rgb", "b/rgb"]).set_index("folder")
    assert plan["state"].tolist() == ["done", "to run"]
    assert plan.loc["a/rgb", "command"] == []
    command = plan.loc["b/rgb", "command"]
    assert command[:2] == ["openpose.bin", "--image_dir"]
    assert command[command.index("--scale_number") :][:4] == ["--scale_number", "4", "--scale_gap", "0.25"]
    assert command[-2:] == ["--render_pose", "0"]
    assert command[command.index("--write_json") + 1] == str(tmp_path / "b/rgb_openpose_json")


def test_twenty_thousand_rows_take_seconds(tmp_path):
    one = draw(tmp_path / "one.jpg", (64, 48))
    names = [f"{n:08d}.jpg" for n in range(125)]
    for clip in range(16):
        folder = tmp_path / "images" / f"show{clip}" / "1"
        folder.mkdir(parents=True)
        for name in names:
            os.link(one, folder / name)
        for track in range(10):
            rows = [(name, 1, 2, 30, 40, 30, 20) for name in names]
            write_rows(tmp_path / "annotations" / "train" / f"show{clip}" / "1" / f"s{track:02d}.txt", rows)
    index = PictureIndex(tmp_path, known=check_pictures(tmp_path))
    started = time.perf_counter()
    table, problems = read_videoattention(tmp_path, splits=["train"], pictures=index)
    assert len(table) == 20_000
    assert problems == []
    assert time.perf_counter() - started < 10  # about 1 s; a loop over rows in pandas takes half a minute


def test_an_empty_table_stays_one():
    assert combine_gaze([]).empty
    assert len(check_parts(combine_gaze([pd.DataFrame()]))) == 2
