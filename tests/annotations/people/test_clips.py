"""Clips of any list, table or folder in one table, with classes from ratings; folds of families."""

import json

import numpy as np
import pandas as pd
import pytest

from nbpkg.annotations.people.agreement import describe_raters
from nbpkg.annotations.people.clips import list_sources, read_clips
from nbpkg.annotations.people.lists import ListForm, read_list
from nbpkg.annotations.people.ratings import Cut, read_ratings
from nbpkg.annotations.people.write import write_parts
from nbpkg.errors import FoldError
from nbpkg.folds.families import deal_families, find_family_leakage, share_classes
from nbpkg.settings.people import PeopleAnnotationSettings


@pytest.fixture
def data(tmp_path):
    for family in range(6):
        folder = tmp_path / "videos" / f"fam{family}"
        folder.mkdir(parents=True)
        (folder / "s10.mp4").write_bytes(b"a")
        (folder / "s2.mp4").write_bytes(b"b")
    rows = [f"fam{f}/{s}.mp4,{k * 8},8,fam{f},{s}" for f in range(6) for s in ("s10", "s2") for k in (2, 0, 1)]
    (tmp_path / "clips.csv").write_text("path,offset,frames,family,session\n" + "\n".join(rows) + "\n")
    said = ["clip,rater,rating"]
    for f in range(6):
        for s in ("s10", "s2"):
            for k, rating in enumerate((1, 3, 5)):
                name = f"fam{f}/{s}" + (f"@{k * 8}" if k else "")
                said += [f"{name},ann,{rating}", f"{name},ben,{rating}", f"{name},cem,1"]
    (tmp_path / "ratings.csv").write_text("\n".join(said) + "\n")
    return tmp_path


def settings(**own):
    return PeopleAnnotationSettings(**{"ratings": "ratings.csv", "raters": ["ann", "ben"], **own})


def test_a_table_with_ratings_becomes_windows_in_order_of_time(data):
    read = read_clips(data, settings())
    assert [problem.what for problem in read.problems] == []
    one = read.clips[read.clips["recording"] == "fam3--s2"]
    assert one["window"].tolist() == [0, 1, 2]
    assert one["first"].tolist() == [0, 8, 16]
    assert one["label"].tolist() == [0, 1, 2]
    assert one["rating"].tolist() == [1, 3, 5]
    assert one["raters"].tolist() == [2, 2, 2]
    assert one["path"].unique().tolist() == ["videos/fam3/s2.mp4"]
    assert read.clips["recording"].unique().tolist()[:3] == ["fam0--s2", "fam0--s10", "fam1--s2"]  # 2 before 10
    assert list_sources(data, settings())["fam3--s2"] == data / "videos/fam3/s2.mp4"


def test_cuts_decide_the_class_and_unrated_clips_are_told(data):
    lines = (data / "ratings.csv").read_text().splitlines()
    (data / "ratings.csv").write_text("\n".join(line for line in lines if not line.startswith("fam0/s2,")) + "\n")
    cuts = [{"at": 0.5, "belongs_to": "lower"}, {"at": 3, "belongs_to": "lower"}]
    read = read_clips(data, settings(cuts=cuts))
    assert read.clips.loc[read.clips["recording"] == "fam1--s2", "label"].tolist() == [1, 1, 2]
    assert "fam0/s2" not in set(read.clips["sample_id"])
    (warning,) = read.problems[:1]
    assert warning.severity == "warning"
    assert "1 clips have no rating" in warning.what


def test_what_is_wrong_with_a_table_is_told_at_once(data):
    (data / "clips.csv").write_text(
        "path,offset,frames,label\nfam0/s2.mp4,-3,8,low\nfam0/s2.mp4,0,no,low\nfam9/s1.mp4,0,8,low\n"
        "fam1/s2.mp4,0,8,low\nfam1/s2.mp4,4,8,high\n"
    )
    read = read_clips(data, PeopleAnnotationSettings())
    told = " ".join(problem.what for problem in read.problems)
    for part in ("'-3' in column 'offset'", "'no' in column 'frames'", "There is no video fam9/s1"):
        assert part in told
    (data / "clips.csv").unlink()
    assert "cannot be read" in read_clips(data, PeopleAnnotationSettings()).problems[0].what


def test_overlapping_clips_are_told(data):
    (data / "clips.csv").write_text("path,offset,frames,label\nfam1/s2.mp4,0,8,low\nfam1/s2.mp4,4,8,high\n")
    read = read_clips(data, PeopleAnnotationSettings())
    assert any("begin before the one before ends" in problem.what for problem in read.problems)


def test_lists_and_folders_give_the_same_table(data):
    (data / "train.txt").write_text("fam0/s2.mp4 0\nfam1/s2.mp4 2\n")
    (data / "test.txt").write_text("fam2/s2.mp4 1\n")
    listed = read_clips(data, PeopleAnnotationSettings(form="lists", lists={"train": "train.txt", "test": "test.txt"}))
    assert listed.clips[["recording", "label", "split"]].to_numpy().tolist() == [
        ["fam0", 0, "train"],
        ["fam1", 2, "train"],
        ["fam2", 1, "test"],
    ]
    folds = deal_families(listed.clips, folds=3, scheme="official", seed=0)
    assert folds.set_index("session")["role"].to_dict() == {
        "fam0--s2": "train",
        "fam1--s2": "train",
        "fam2--s2": "test",
    }


def test_families_never_part_and_classes_are_spread(data):
    clips = read_clips(data, settings()).clips
    folds = deal_families(clips, folds=3, scheme="families", seed=1)
    assert folds.groupby("group")["fold"].nunique().eq(1).all()
    assert folds.groupby("fold")["group"].nunique().tolist() == [2, 2, 2]
    assert folds[folds["role"] == "test"]["fold"].unique().tolist() == [2]
    assert find_family_leakage(clips, folds)["shared"].eq(0).all()
    spread = share_classes(clips, folds, ["low", "medium", "high"])
    assert np.allclose(spread[["low", "medium", "high"]], 1 / 3)
    copied = find_family_leakage(clips, folds, hashes=dict.fromkeys(clips["session"], "same"))
    assert copied.set_index("what")["shared"].to_dict() == {"family": 0, "recording": 0, "clip": 0, "content": 1}


def test_folds_refuse_what_cannot_be_honest(data):
    clips = read_clips(data, settings()).clips
    with pytest.raises(FoldError, match="6 families cannot be dealt into 7 folds"):
        deal_families(clips, folds=7, scheme="families", seed=0)
    both = clips.assign(split=np.where(clips["window"] == 0, "train", "test"))
    with pytest.raises(FoldError, match="families are in several parts"):
        deal_families(both, folds=3, scheme="official", seed=0)
    mixed = clips.assign(family=clips["family"] + pd.Series(np.where(clips["window"] == 0, "", "x")))
    with pytest.raises(FoldError, match="several families"):
        deal_families(mixed, folds=3, scheme="families", seed=0)


def test_parts_of_the_folds_are_written_as_lists(data):
    clips = read_clips(data, settings()).clips
    folds = deal_families(clips, folds=3, scheme="families", seed=1)
    paths = write_parts(clips, folds, data / "lists", kind="video")
    assert [path.name for path in paths] == ["train_list.json", "val_list.json", "test_list.json"]
    entries = [entry for path in paths for entry in json.loads(path.read_text())]
    assert len(entries) == len(clips)
    assert set(entries[0]) == {"filename", "first_frame", "total_frames", "label"}
    (path, *_) = write_parts(clips[clips["first"] == 0], folds, data / "whole", kind="video")
    assert path.read_text().splitlines()[0].split()[1] == "0"
    assert len(read_list(path, ListForm())[0]) == 4


def test_agreement_of_annotators(data):
    ratings, _ = read_ratings(data / "ratings.csv")
    found = describe_raters(ratings, cuts=[Cut(2, "lower"), Cut(4, "upper")])
    table = found.pairs.set_index(["rater_1", "rater_2"])
    assert table.loc[("ann", "ben"), "same_class"] == 1
    assert table.loc[("ann", "cem"), "same_class"] == pytest.approx(1 / 3)
    assert table.loc[("ann", "cem"), "kappa_quadratic"] == 0
    assert np.isfinite(found.icc)
    assert describe_raters(None, cuts=[]).pairs.empty
