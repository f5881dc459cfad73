"""The published programs' outputs, reproduced; and what ours says where they are wrong."""

import numpy as np
import pandas as pd
import pytest
from gaze_cases import GOLDEN, draw, draw_all, load, pose_text, voc_text, write, write_rows

from nbpkg.annotations.gaze.convert import apply_mapping, copy_pictures, plan_tree
from nbpkg.annotations.gaze.density import list_targets, measure_density, reference_density
from nbpkg.annotations.gaze.gazefollow import read_gazefollow
from nbpkg.annotations.gaze.gazelle_json import export_gazelle
from nbpkg.annotations.gaze.lookup import PictureIndex
from nbpkg.annotations.gaze.openpose import find_head_boxes, read_people, reference_head_box
from nbpkg.annotations.gaze.reference_convert import subsample_setting
from nbpkg.annotations.gaze.rows import BOX, finish
from nbpkg.annotations.gaze.smoothing import smooth_boxes, smooth_values
from nbpkg.annotations.gaze.videoattention import read_videoattention
from nbpkg.annotations.gaze.voc import choose_head, find_target, propagate, read_voc
from nbpkg.annotations.gaze.voc_tree import read_voc_heads
from nbpkg.annotations.gaze.write import write_head_files, write_objectattention
from nbpkg.errors import AnnotationError


def approx(value):
    """Compare nested lists and dictionaries of numbers to 1e-9."""
    if isinstance(value, dict):
        return {key: approx(one) for key, one in value.items()}
    if isinstance(value, list):
        return [approx(one) for one in value]
    return pytest.approx(value, abs=1e-9) if isinstance(value, (int, float)) else value


@pytest.mark.parametrize("case", load("voc_to_txt_open"), ids=lambda case: case["note"][:20])
def test_xml_gives_the_published_head_and_gaze_under_reference(case, tmp_path):
    voc, published = read_voc(write(tmp_path / "a.xml", case["xml"])), case["reference"]
    assert voc.picture == "00000003.ppm"
    if "head" in published:
        head = choose_head(voc, compat="reference")
        assert [voc.picture, *(str(int(edge)) for edge in head.box)] == published["head"]
    else:
        with pytest.raises(AnnotationError, match="exactly 'head'"):
            choose_head(voc, compat="reference")
    if "gaze" in published:
        assert [str(one) for one in find_target(voc, case["target"], compat="reference")] == published["gaze"]
    else:
        with pytest.raises(AnnotationError, match=r"(?s)driller.*a\.xml"):
            find_target(voc, case["target"], compat="reference")


@pytest.mark.parametrize("case", load("voc_to_txt_open"), ids=lambda case: case["note"][:20])
def test_xml_gives_the_right_head_in_any_order_and_the_published_lines(case, tmp_path):
    heads = [box for name, *box in case["objects"] if name.lower() == "head"]
    names = [f"{stem}.ppm" for stem in case["reference"]["frames"]]
    draw_all(tmp_path / "images" / "s" / "t", [*names, "data.ppm~"][:3], (640, 480))
    write(tmp_path / "images" / "s" / "t" / "data.log", "no picture")
    voc = read_voc(write(tmp_path / "a.xml", case["xml"]))
    assert list(choose_head(voc).box) == heads[0] == (case["reference"]["correct_head_box"] or heads[0])
    pictures = PictureIndex(tmp_path)
    if sum(name == case["target"] for name, *_ in case["objects"]) != 1:
        with pytest.raises(AnnotationError, match=case["target"]):
            propagate([voc], "images/s/t", pictures=pictures, target=case["target"])
        return
    table, _ = propagate([voc], "images/s/t", pictures=pictures, target=case["target"])
    write_objectattention(table, tmp_path / "out")
    lines = (tmp_path / "out/annotations/all/s/t/p00.txt").read_text().splitlines()
    if heads[0] == [int(one) for one in case["reference"].get("head", ["", 0, 0, 0, 0])[1:]]:
        assert lines[1:] == case["reference"]["txt_lines"]
    assert len(lines) == 4
    assert lines[0] == "frame x_min y_min x_max y_max gaze_x gaze_y"
    assert lines[1].startswith("00000001, " + ", ".join(map(str, heads[0])))


def test_demo_xml_gives_the_published_head_file(tmp_path):
    case = load("voc_demo_txt_open")
    for one in case["files"]:
        write(tmp_path / one["xml_name"], voc_text(one["objects"], one["filename"]))
        draw(tmp_path / "frames" / one["filename"], (640, 480))
    for compat, first in (("reference", "1,2,3,4"), ("none", "322,6,450,146")):
        table, problems = read_voc_heads(
            list(tmp_path.glob("*.xml")), "frames", pictures=PictureIndex(tmp_path), compat=compat
        )
        assert problems == []
        write_head_files(table, tmp_path / compat)
        text = (tmp_path / compat / "frames" / "p00.txt").read_text()
        assert text == case["txt"].replace("1,2,3,4", first)


@pytest.mark.parametrize("case", load("openpose_box_open"), ids=lambda case: case["note"])
def test_key_points_give_the_published_box(case, tmp_path):
    people = read_people(write(tmp_path / "a.json", pose_text(case["people"])))
    boxes, _ = find_head_boxes(people, 640, 480)
    if isinstance(case["box"], str):
        with pytest.raises(AnnotationError, match="nobody"):
            reference_head_box(people)
        assert len(boxes) == 0
    elif case["box"][0] is None:
        assert reference_head_box(people) is None
        assert np.isnan(boxes[0]).all()
    else:
        assert reference_head_box(people) == case["box"]
        x0, y0, x1, y1 = case["box"]
        # a box without area is none in ours
        assert np.isnan(boxes[0]).all() if x0 == x1 or y0 == y1 else boxes[0].tolist() == case["box"]


@pytest.mark.parametrize("compat", ["none", "reference"])
def test_smoothing_is_the_published_one(compat):
    case = load("smoothing_open")
    for track, smoothed in zip(case["tracks"], case["smoothed"], strict=True):
        assert smooth_values(np.array(track)).tolist() == pytest.approx(smoothed, abs=1e-9)
        table = finish(pd.DataFrame({"session": "s", "frame": range(len(track)), **dict.fromkeys(BOX, track)}))
        mine = smooth_boxes(table, compat=compat)
        for edge in BOX:
            assert mine[edge].tolist() == pytest.approx(smoothed, abs=1e-9)


@pytest.fixture
def take(tmp_path):
    """The tree that gave the golden lines: key points moving right by one pixel per picture."""
    case = load("subsample_rename_annotate_open")
    setting = tmp_path / "Anna" / "session_2" / "set-a"
    objects = {"mustard": (100, 200, 140, 260), "masterchef": (150, 210, 190, 250)}
    write(setting / "a.xml", voc_text([(name, *box) for name, box in objects.items()], size=(640, 480)))
    for name, count in case["objects"].items():
        for number in range(count):
            picture = draw(setting / name / "rgb" / f"{number:08d}.ppm", (640, 480))
            picture.write_bytes(picture.read_bytes() + f"#{name}{number}".encode())
            joints = {0: (301 + number, 98), 15: (290 + number, 92), 16: (312 + number, 92)}
            write(setting / name / "rgb_openpose_json" / f"{number:08d}_keypoints.json", pose_text([joints]))
    return tmp_path, setting, case


def test_subsampling_reproduces_the_published_lines_under_reference(take):
    _, setting, case = take
    made = subsample_setting(setting, case["listdir_order"])
    assert "".join(f"{line}\n" for line in made.lines) == case["txt"]
    marks = {name: path.read_bytes().rpartition(b"#")[2].decode() for name, path in made.frames.items()}
    assert marks == case["frames"]
    assert list(made.json) == case["json"]


def test_our_subsampling_pairs_by_stem_and_gives_a_usable_file(take, tmp_path):
    root, setting, case = take
    (setting / "masterchef" / "rgb_openpose_json" / "00000001_keypoints.json").unlink()  # moves nothing in ours
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    table, mapping, problems = plan_tree(root)
    assert [problem.severity for problem in problems] == ["warning"]  # the JSON file that is missing
    assert mapping["new"].tolist()[:2] == [f"images/Anna/session_2/set-a/0000{n}.ppm" for n in (0, 1)]
    assert sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*")) == before
    copied = copy_pictures(mapping, root, tmp_path / "copies")
    assert (tmp_path / "copies" / "mapping.csv").is_file()
    marks = [(tmp_path / "copies" / new).read_bytes().rpartition(b"#")[2].decode() for new in copied["new"].tolist()]
    assert marks == list(case["frames"].values())  # here natural order is that of the golden run
    write_objectattention(apply_mapping(table, mapping), tmp_path / "copies")
    lines = (tmp_path / "copies/annotations/all/Anna/session_2/set-a/p00.txt").read_text().splitlines()
    assert lines[1:] == case["txt"].replace(".json", "").splitlines()
    moved = apply_mapping(table, mapping)
    assert moved["segment"].tolist() == [0, 0, 1, 1, 1]
    assert moved["frame"].tolist() == [0, 1, 2, 3, 4]


def test_gazelle_video_lists_are_the_published_ones(tmp_path):
    case = load("gazelle_prep_vat_open")
    for split, clips in case["input"].items():
        for clip in clips:
            place = f"{clip['show']}/{clip['clip']}"
            for name, rows in clip["files"].items():
                write_rows(tmp_path / "annotations" / split / place / name, rows)
                draw_all(tmp_path / "images" / place, [row[0] for row in rows], (clip["width"], clip["height"]))
    table, _ = read_videoattention(tmp_path, compat="reference")
    made = export_gazelle(table, form="video", compat="reference")
    assert made == approx(case["output"])


def test_gazelle_picture_lists_are_the_published_ones(tmp_path):
    case = load("gazelle_prep_gazefollow_open")
    lines = {"train": [], "test": []}
    for number, (path, width, height, gaze_x, gaze_y, *rest) in enumerate(case["input"]["train"]):
        draw(tmp_path / path, (width, height))
        lines["train"].append((path, number, 0.1, 0.1, 0.3, 0.8, 0.2, 0.3, gaze_x, gaze_y, *rest, "src", "orig"))
    for number, (path, width, height, eye_x, gaze_x, gaze_y, *rest) in enumerate(case["input"]["test"]):
        draw(tmp_path / path, (width, height))
        lines["test"].append((path, number, 0.1, 0.1, 0.3, 0.8, eye_x, 0.3, gaze_x, gaze_y, *rest, "src", "orig"))
    for split, rows in lines.items():
        write_rows(tmp_path / f"{split}_annotations_release.txt", rows)
    table, _ = read_gazefollow(tmp_path, compat="reference")
    assert export_gazelle(table, form="pictures") == approx(case["output"])


def test_density_maps_are_the_published_ones(tmp_path):
    for take in load("location_density_open"):
        setting = tmp_path / take["participant"] / take["session"] / take["setting"]
        objects = [[one[key] for key in ("name", "xmin", "ymin", "xmax", "ymax")] for one in take["objects"]]
        write(setting / "a.xml", voc_text(objects, size=(640, 480)))
        for one in take["objects"]:
            draw_all(setting / one["name"] / "rgb", [f"{n:08d}.ppm" for n in range(one["frames"])])
    targets, problems = list_targets(tmp_path)
    assert problems == []
    golden = np.load(GOLDEN / "location_density_open.npz")
    assert targets["frames"].sum() == golden["total_frames"]
    for shape, name in (("box", "rect"), ("circle", "circle")):
        made = reference_density(targets[BOX].to_numpy(), targets["frames"], shape=shape)
        np.testing.assert_array_equal(made.density, golden[f"{name}_density"])
        np.testing.assert_array_equal(made.equalised, golden[f"{name}_equalised"])
        share = measure_density(targets[BOX].to_numpy(), targets["frames"], shape=shape)
        grey = golden[f"{name}_density"] / 255
        assert np.abs(share - (grey if shape == "box" else 1 - grey)).max() < 1 / 255
