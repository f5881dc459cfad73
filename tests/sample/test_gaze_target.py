"""The made-up gaze data: complete, repeatable, readable by the readers, and true to what is drawn."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from nbpkg.annotations.gaze.gazefollow import read_gazefollow
from nbpkg.annotations.gaze.lookup import PictureIndex
from nbpkg.annotations.gaze.objectattention import read_objectattention
from nbpkg.annotations.gaze.openpose import find_head_boxes, read_people
from nbpkg.annotations.gaze.videoattention import read_videoattention
from nbpkg.annotations.gaze.voc_tree import read_voc_tree
from nbpkg.errors import StageError
from nbpkg.sample.gaze_clips import FRAMES, SHOWS
from nbpkg.sample.gaze_table import PARTICIPANTS
from nbpkg.sample.gaze_target import VERSION, make_sample
from nbpkg.sample.record import is_made, new_sample

BOX = ["x0", "y0", "x1", "y1"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "sample"
    make_sample(folder, seed=3)
    return folder


@pytest.fixture(scope="module")
def tables(sample):
    """Read everything with the package's readers; nothing may be wrong with it."""
    index = PictureIndex(sample)
    read = {
        "vat": read_videoattention(sample / "vat", pictures=index),
        "table": read_objectattention(sample / "object_attention", pictures=index),
        "raw": read_voc_tree(sample / "object_attention/raw", pictures=index),
        "photos": read_gazefollow(sample / "gazefollow", pictures=index),
    }
    for _, problems in read.values():
        assert not [problem for problem in problems if problem.severity == "error"]
    return {name: table for name, (table, _) in read.items()}


@pytest.fixture(scope="module")
def truth(sample):
    table = pd.read_csv(sample / "truth/gaze.csv", keep_default_na=False, na_values=[""], dtype={"person": str})
    return table.assign(image=table["folder"] + "/" + table["file"])


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_seed_gives_same_bytes_and_all_are_recorded(sample, tmp_path):
    make_sample(tmp_path / "again", seed=3)
    found = hashes(sample)
    assert hashes(tmp_path / "again") == found
    record = json.loads((sample / "sample.json").read_text())
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        name: value for name, value in found.items() if name != "sample.json"
    }
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) < 14e6
    pictures = [name for name in found if name.lower().endswith((".jpg", ".ppm"))]
    assert 1000 <= len(pictures) <= 1500
    assert "gaze-target" in (sample / "README.txt").read_text()
    assert not list(tmp_path.glob(".*"))


def fill(folder: Path, seed: int, names: list[str]) -> None:
    with new_sample(folder, {"seed": seed}) as new:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_text(f"{name} {seed}")


def test_finished_sample_is_left_alone(sample):
    at = (sample / "README.txt").stat().st_mtime_ns
    make_sample(sample, seed=3)
    assert (sample / "README.txt").stat().st_mtime_ns == at
    facts = {"version": VERSION, "seed": 3}
    assert is_made(sample, facts)
    assert not is_made(sample, {**facts, "seed": 4})
    track = next((sample / "vat/annotations/train").rglob("*.txt"))
    whole = track.read_bytes()
    track.write_bytes(whole[:-10])
    assert not is_made(sample, facts)
    track.write_bytes(whole)


def test_new_sample_takes_the_place_of_the_earlier_one_and_others_files_stay(tmp_path):
    folder = tmp_path / "sample"
    fill(folder, 1, ["a/x.txt", "README.txt"])
    (folder / "notes.txt").write_text("mine")
    fill(folder, 2, ["README.txt", "b/y.txt"])
    assert {name for name in hashes(folder) if name != "sample.json"} == {"README.txt", "b/y.txt", "notes.txt"}
    assert (folder / "README.txt").read_text() == "README.txt 2"
    with pytest.raises(StageError, match=r"notes\.txt"):
        fill(folder, 3, ["notes.txt", "README.txt"])
    assert (folder / "notes.txt").read_text() == "mine"
    assert is_made(folder, {"seed": 2})
    with pytest.raises(KeyboardInterrupt), new_sample(folder, {"seed": 4}):
        raise KeyboardInterrupt
    assert is_made(folder, {"seed": 2})
    assert not list(tmp_path.glob(".*"))


def test_boxes_and_gaze_points_lie_in_the_frame(tables):
    for table in tables.values():
        assert len(table)
        assert (table[["x0", "y0"]] >= 0).all(axis=None)
        assert (table["x1"] <= table["width"]).all()
        assert (table["y1"] <= table["height"]).all()
        inside = table[table["inside"] == 1]
        assert inside["gaze_x"].between(0, inside["width"], inclusive="left").all()
        assert inside["gaze_y"].between(0, inside["height"], inclusive="left").all()
        assert table.loc[table["inside"] == 0, ["gaze_x", "gaze_y"]].isna().all(axis=None)
        share = (table["y1"] - table["y0"]) / table["height"]
        assert share.between(0.15, 0.3).all()


def test_targets_are_inside_exactly_where_annotated_so(tables, truth):
    for name in ("vat", "table", "raw"):
        table = tables[name][tables[name]["rater"] == "a1"]
        both = table.merge(truth, on=["image"] if name != "vat" else ["image", "person"], suffixes=("", "_true"))
        assert len(both) == len(table)
        assert ((both["target_true"] != "outside") == (both["inside"] == 1)).all()
        near = np.hypot(both["gaze_x"] - both["x"], both["gaze_y"] - both["y"])[both["inside"] == 1]
        assert near.max() < (0.06 * 224 if name == "vat" else 1)


def test_clips_are_as_the_study_needs_them(tables):
    vat = tables["vat"]
    first = vat[vat["rater"] == "a1"]
    assert first.groupby("split")["participant"].unique().map(sorted).to_dict() == {
        split: sorted(show for show, part in SHOWS.items() if part == split) for split in ("train", "test")
    }
    assert 0.15 < 1 - first["inside"].mean() < 0.35
    sizes = first.groupby(["session", "person"]).size()
    assert (sizes == FRAMES).sum() == len(sizes) - len(SHOWS)
    assert (sizes == FRAMES - 3).sum() == len(SHOWS)
    gaps = first.groupby(["session", "person"])["frame"].agg(lambda frames: np.diff(frames).max())
    assert sorted(gaps.unique()) == [1, 4]


def test_two_annotators_of_the_test_part_agree_as_people_do(tables):
    vat = tables["vat"]
    again = vat[vat["rater"] == "a2"]
    assert set(again["split"]) == {"test"}
    both = vat[(vat["rater"] == "a1") & (vat["split"] == "test")].merge(again, on=["session", "person", "frame"])
    assert len(both) == len(again)
    assert 0.7 < cohen_kappa_score(both["inside_x"], both["inside_y"]) < 0.88
    seen = both[(both["inside_x"] == 1) & (both["inside_y"] == 1)]
    apart = np.hypot(seen["gaze_x_x"] - seen["gaze_x_y"], seen["gaze_y_x"] - seen["gaze_y_y"]) / 224
    assert 0.01 < apart.mean() < 0.06
    assert (both[[f"{edge}_x" for edge in BOX]].to_numpy() != both[[f"{edge}_y" for edge in BOX]].to_numpy()).any()


def test_table_scenes_mix_endings_headers_and_digits(sample, tables):
    table, raw = tables["table"], tables["raw"]
    endings = table["image"].map(lambda image: Path(image).suffix).groupby(table["participant"]).unique()
    assert endings.map(list).to_dict() == {name: [one.ending] for name, one in PARTICIPANTS.items()}
    assert table.groupby("split")["participant"].nunique().to_dict() == {"test": 2, "train": 4}
    for name, one in PARTICIPANTS.items():
        text = next((sample / "object_attention/annotations").rglob(f"{name}/*/S01.txt")).read_text()
        assert text.startswith("frame x_min") == one.header
    assert (table["inside"] == 1).all()
    assert table.groupby(["session", "segment"]).size().eq(6).all()
    assert (table[["gaze_x", "gaze_y"]] * 2 % 1 == 0).all(axis=None)
    assert set(raw["participant"]) == {"p07"}
    assert len(raw) == 8 + 2 * 6 + 2 * 4
    assert set(raw["box_source"]) == {"manual", "propagated"}
    xml = [path.read_text() for path in (sample / "object_attention/raw").rglob("*.xml")]
    assert len(xml) == 4
    assert sum("<name>Head</name>" in text for text in xml) == 1
    assert all(text.lower().count("<name>head</name>") == 1 for text in xml)
    assert len(list((sample / "object_attention/raw").rglob("data.log"))) == 5


def test_key_points_give_the_head_that_was_drawn(sample, tables):
    files = sorted((sample / "object_attention/raw").rglob("*_keypoints.json"))
    assert len(files) == 6
    folder = files[0].parent.with_name("rgb").relative_to(sample).as_posix()
    drawn = tables["raw"][tables["raw"]["image"].str.startswith(folder)][BOX].to_numpy()
    for path, box in zip(files, drawn, strict=True):
        found = find_head_boxes(read_people(path), 160, 120)[0][0]
        low, high = np.maximum(found[:2], box[:2]), np.minimum(found[2:], box[2:])
        assert (high > low).all()
        assert np.prod(high - low) > 0.4 * np.prod(box[2:] - box[:2])


def test_photographs_have_different_sizes_and_several_annotators(sample, tables):
    photos = tables["photos"]
    assert len(photos[["width", "height"]].drop_duplicates()) >= 4
    train = (sample / "gazefollow/train_annotations_release.txt").read_text().splitlines()
    test = (sample / "gazefollow/test_annotations_release.txt").read_text().splitlines()
    assert {line.count(",") for line in train} == {16}
    assert {line.count(",") for line in test} == {15}
    assert sum(line.split(",")[14] == "-1" for line in train) == 2
    judged = photos[photos["split"] == "test"].groupby(["image", "person"])["rater"].nunique()
    assert (judged == 6).all()
    assert (photos.loc[photos["split"] == "test", "inside"] == 1).all()


def test_the_head_points_to_the_target_and_to_nothing_else(tables, truth):
    """The line of sight, drawn from the head box, passes the target and no other target of that clip as near."""
    vat = tables["vat"][tables["vat"]["rater"] == "a1"]
    both = vat.merge(truth, on=["image", "person"], suffixes=("", "_true"))
    both = both[(both["inside"] == 1) & (both["target_true"] != "person")]
    middle = np.stack([(both["x0"] + both["x1"]) / 2, (both["y0"] + both["y1"]) / 2], axis=1)
    way = both[["right", "down"]].to_numpy()
    to = both[["x", "y"]].to_numpy() - middle
    cosine = (way * to).sum(1) / np.linalg.norm(way, axis=1) / np.linalg.norm(to, axis=1)
    assert np.quantile(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 0.85) < 12


def test_faces_change_with_the_direction_and_pictures_are_colourful(sample, tables):
    """Crops of one head differ more between targets than within one."""
    vat = tables["vat"][(tables["vat"]["rater"] == "a1") & (tables["vat"]["participant"] == "Porch")]
    track = vat[(vat["session"] == vat["session"].iloc[0]) & (vat["person"] == "s00")]
    crops, points = [], []
    for row in track.itertuples():
        with Image.open(sample / row.image) as image:
            crop = image.crop((row.x0, row.y0, row.x1, row.y1)).resize((24, 28))
        crops.append(np.asarray(crop, dtype=float))
        points.append((row.inside, row.gaze_x if row.inside else -1, row.gaze_y if row.inside else -1))
    change = np.array([np.abs(one - other).mean() for one, other in zip(crops, crops[1:], strict=False)])
    jump = np.abs(np.diff(np.array(points), axis=0)).max(axis=1) > 15
    assert jump.any()
    assert change[jump].mean() > 2 * np.median(change[~jump])
