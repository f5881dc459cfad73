"""Skeletons, score files and ratings: what a file names is never run, and what it lacks is said."""

from __future__ import annotations

import json
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest

from nbpkg.annotations.coefficients import cohen_kappa
from nbpkg.annotations.people.lists import ListForm, read_list
from nbpkg.annotations.people.pickles import read_plain_pickle
from nbpkg.annotations.people.ratings import (
    Cut,
    RatingForm,
    classify,
    count_pairs,
    intraclass_correlation,
    rate_clips,
    read_ratings,
    tabulate_raters,
)
from nbpkg.annotations.people.samples import COLUMNS
from nbpkg.annotations.people.score_files import read_scores, write_scores
from nbpkg.annotations.people.skeleton_files import load_skeletons, write_skeletons
from nbpkg.annotations.people.skeletons import SkeletonForm, read_skeletons
from nbpkg.errors import AnnotationError, SettingsError


class Harm:
    """What would write a file if it were unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def make_clip(name="fam1/s1/c1", *, persons=2, frames=6, joints=17, label=1, **more) -> dict:
    random = np.random.default_rng(len(name))
    points = random.uniform(1, 300, (persons, frames, joints, 2)).astype(np.float16)
    return {
        "frame_dir": name,
        "total_frames": frames,
        "img_shape": (360, 640),
        "original_shape": (360, 640),
        "label": label,
        "keypoint": points,
        "keypoint_score": random.uniform(0, 1, points.shape[:3]).astype(np.float16),
        **more,
    }


def dump(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_of_every_protocol_are_read(protocol, tmp_path):
    value = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "turned": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        "big": np.arange(4, dtype=">i4"),
        "none": np.zeros((0, 3), np.float32),
        "flags": np.array([True, False]),
        "names": np.array(["parent", "child"]),
        "numbers": [np.float32(1.5), np.int64(3), np.str_("a"), 2, 2.5, True, None, "text"],
        "size": (360, 640),
    }
    found = read_plain_pickle(dump(tmp_path / "p.pkl", value, protocol))
    assert list(found) == list(value)
    for name in ("half", "columns", "turned", "big", "none", "flags", "names"):
        np.testing.assert_array_equal(found[name], value[name])
        assert found[name].dtype == value[name].dtype
    assert found["numbers"] == [1.5, 3, "a", 2, 2.5, True, None, "text"]
    assert [type(one) for one in found["numbers"][:3]] == [float, int, str]
    assert found["size"] == (360, 640)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_what_a_pickle_names_is_not_run(protocol, tmp_path):
    harm = tmp_path / "harm"
    with pytest.raises(AnnotationError, match="open.*nothing of it was run"):
        read_plain_pickle(dump(tmp_path / "p.pkl", [np.zeros(2), Harm(harm)], protocol))
    assert not harm.exists()


def same_twice(times):
    value = ["x"]
    for _ in range(times):
        value = [value, value]
    return value


def holds_itself():
    value = []
    value.append(value)
    return value


REFUSED = {
    "another class": (pickle.dumps(OrderedDict()), "collections.OrderedDict"),
    "objects in an array": (pickle.dumps(np.array([{}], object)), "hold 'O8'"),
    "a set": (pickle.dumps({1}), "set"),
    "bytes": (pickle.dumps([b"abc"], 4), "holds a bytes"),
    "complex numbers": (pickle.dumps(np.zeros(2, complex)), "hold 'c16'"),
    "itself": (pickle.dumps(holds_itself()), "holds itself"),
    "a cut file": (pickle.dumps(np.zeros(100))[:-20], "cut"),
    "no pickle": (b"not a pickle", "no pickle"),
    "nothing": (b"", "no pickle"),
    "a table beyond need": (b"\x80\x02]r" + struct.pack("<I", 2**31) + b".", "table larger than itself"),
    "a text longer than the file": (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".", "cut"),
    # shape of 2**40 numbers with eight bytes of content
    "an array beyond its bytes": (
        pickle.dumps(np.zeros(1), 2).replace(b"K\x01\x85q\n", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85q\n", 1),
        "shape",
    ),
    "a change of a function": (b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.", "change a function"),
    "a function as content": (b"\x80\x02cnumpy\ndtype\n.", "holds a"),
    "an array without content": (b"\x80\x02cnumpy\nndarray\n)R.", "without content"),
    # one short text turned into bytes over and over
    "more bytes than the file": (
        b"\x80\x02c_codecs\nencode\nq\x00X\x64\x00\x00\x00" + b"a" * 100 + b"X\x06\x00\x00\x00latin1\x86q\x010"
        + b"h\x00h\x01R0" * 60 + b"N.",
        "more bytes than the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_pickles_of_anything_else_are_refused(name, tmp_path):
    content, words = REFUSED[name]
    path = tmp_path / "p.pkl"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=words) as caught:
        read_plain_pickle(path)
    assert str(path) in str(caught.value)


def test_what_occurs_twice_is_made_once(tmp_path):
    found = read_plain_pickle(dump(tmp_path / "p.pkl", same_twice(60)))  # 2**60 texts if written out
    assert found[0] is found[1]
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_plain_pickle(tmp_path / "none.pkl")


def test_skeletons_are_read_with_their_samples(tmp_path):
    clips = [make_clip(), make_clip("fam2/s1/c2", persons=3, track_id=[4, 5, 9], role=["parent", "child", "robot"])]
    clips[1]["keypoint"][:, :2] = 0
    path = dump(tmp_path / "t.pkl", clips)
    skeletons, samples, problems = read_skeletons(path, SkeletonForm(classes=3))
    assert not problems
    np.testing.assert_array_equal(skeletons[0].keypoints, clips[0]["keypoint"])
    assert skeletons[0].keypoints.dtype == np.float16
    assert skeletons[1].tracks == (4, 5, 9)
    assert skeletons[1].roles == ("parent", "child", "robot")
    assert skeletons[1].size == (360, 640)
    assert list(samples.columns)[: len(COLUMNS)] == list(COLUMNS)
    facts = ["family", "kind", "frames", "persons", "joints", "height", "width", "valid_frames", "empty_frames"]
    assert samples[facts].to_numpy().tolist() == [
        ["fam1", "skeleton", 6, 2, 17, 360, 640, 6, 0],
        ["fam2", "skeleton", 6, 3, 17, 360, 640, 4, 2],
    ]


def test_a_part_of_a_pickle_with_parts_is_chosen(tmp_path):
    clips = [make_clip(f"f{one}/c") for one in range(4)]
    value = {"split": {"train": ["f0/c", "f2/c"], "test": ["f3/c"]}, "annotations": clips}
    path = dump(tmp_path / "t.pkl", value)
    skeletons, samples, problems = read_skeletons(path, SkeletonForm(split="train"))
    assert [one.clip for one in skeletons] == ["f0/c", "f2/c"]
    assert samples["split"].tolist() == ["train", "train"]
    assert not problems
    for form, words in ((SkeletonForm(split="val"), "no part 'val'"), (SkeletonForm(), "none was chosen")):
        assert words in read_skeletons(path, form)[2][0].what
    value["split"] = {"train": ["f0/c", "gone"], "test": ["f0/c"]}
    found = [problem.what for problem in read_skeletons(dump(path, value), SkeletonForm(split="train"))[2]]
    assert found == [
        "gone is in part 'train' but has no skeleton.",
        "1 clips are in several parts, e.g. f0/c.",
    ]
    plain = dump(path, clips)
    assert "no part 'train'" in read_skeletons(plain, SkeletonForm(split="train"))[2][0].what


def test_clips_of_which_too_little_was_found_are_left_out(tmp_path):
    clips = [
        make_clip("a", valid_frames=6, **{"valid@0.7": 3}, box_score=[0.9, 0.9, 0.9, 0.1, 0.6, 0.5]),
        make_clip("b", valid_frames=2, valid={0.7: 5}, box_score=[0.8] * 6),
    ]
    path = dump(tmp_path / "t.pkl", clips)
    skeletons, _, problems = read_skeletons(path, SkeletonForm(valid_ratio=0.5))
    assert [one.clip for one in skeletons] == ["a"]
    assert problems[0].what == "1 clips have somebody in less than 0.5 of their frames, e.g. b, and were left out."
    assert problems[0].severity == "warning"
    skeletons, _, _ = read_skeletons(path, SkeletonForm(valid_ratio=0.5, box_threshold=0.7))
    assert [one.clip for one in skeletons] == ["a", "b"]
    assert skeletons[0].frames_kept.tolist() == [0, 1, 2]
    _, _, problems = read_skeletons(path, SkeletonForm(valid_ratio=0.5, box_threshold=0.9))
    assert "no 'valid@0.9'" in problems[0].what
    for wrong in ({"box_threshold": 0.75}, {"valid_ratio": 2.0}):
        with pytest.raises(SettingsError):
            SkeletonForm(**wrong)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frame_dir": 3}, "no name"),
        ({"keypoint": np.zeros((2, 6, 17), np.float16)}, "no array of"),
        ({"keypoint": np.full((2, 6, 17, 2), np.nan)}, "no finite number"),
        ({"total_frames": 7}, "'total_frames' is 7, 'keypoint' has 6 frames"),
        ({"keypoint": np.zeros((2, 6, 25, 2), np.float16)}, "25 joints, not 17"),
        ({"keypoint_score": np.zeros((2, 6), np.float16)}, "'keypoint_score' is no array"),
        ({"keypoint_score": None}, "no 'keypoint_score'"),
        ({"label": [1]}, "its label is"),
        ({"label": -1}, "Label -1"),
        ({"label": 3}, "Label 3"),
        ({"img_shape": "360x640"}, "size of its picture"),
        ({"role": ["parent"]}, "2 persons, 0 tracks and 1 roles"),
        ({"frame_dir": "first"}, "first is also clip 1"),
    ],
)
def test_skeletons_that_cannot_be_used_are_named(change, words, tmp_path):
    path = dump(tmp_path / "t.pkl", [make_clip("first"), make_clip("second") | change])
    skeletons, samples, problems = read_skeletons(path, SkeletonForm(classes=3))
    assert [problem.row for problem in problems] == [2]
    assert words in problems[0].what
    assert len(skeletons) == len(samples)
    assert skeletons[0].clip == "first"


@pytest.mark.parametrize("content", [[], {}, 3, {"split": {}, "annotations": 4}])
def test_a_pickle_without_clips_is_a_problem(content, tmp_path):
    skeletons, samples, problems = read_skeletons(dump(tmp_path / "t.pkl", content))
    assert not skeletons
    assert samples.empty
    assert "The file" in problems[0].what


def test_nobody_in_a_clip_is_warned_of(tmp_path):
    clip = make_clip("a")
    clip["keypoint"][:] = 0
    clip3d = make_clip("b", joints=25) | {"keypoint": np.ones((1, 6, 25, 3), np.float32)}
    del clip3d["keypoint_score"]
    _, samples, problems = read_skeletons(dump(tmp_path / "t.pkl", [clip, clip3d]), SkeletonForm(joints=0))
    assert [(problem.what, problem.severity) for problem in problems] == [
        ("Nobody was found in 1 clips, e.g. a.", "warning")
    ]
    assert samples["dimensions"].tolist() == [2, 3]


def test_our_own_skeleton_files_keep_everything(tmp_path):
    clips = [
        make_clip("a", track_id=[4, 5], role=["parent", "child"], box_score=[0.9] * 6, **{"valid@0.6": 6}),
        make_clip("b", persons=1, **{"valid@0.6": 6}, box_score=[0.9, 0.9, 0.1, 0.9, 0.9, 0.9]),
    ]
    path = dump(tmp_path / "t.pkl", clips)
    skeletons, _, _ = read_skeletons(path, SkeletonForm(valid_ratio=0.5, box_threshold=0.6))
    again = load_skeletons(write_skeletons(skeletons, tmp_path / "ours.npz"))
    for one, other in zip(skeletons, again, strict=True):
        for name in ("keypoints", "scores", "frames_kept"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert (one.clip, one.size, one.label, one.tracks, one.roles) == (
            other.clip,
            other.size,
            other.label,
            other.tracks,
            other.roles,
        )
    with pytest.raises(AnnotationError, match="share a name"):
        write_skeletons([skeletons[0]] * 2, tmp_path / "twice.npz")
    facts = tmp_path / "ours.json"
    facts.write_text(facts.read_text().replace("[\n        2,", "[\n        3,", 1))
    with pytest.raises(AnnotationError, match="cannot be read: a has shape"):
        load_skeletons(tmp_path / "ours.npz")
    facts.write_text(json.dumps({"format": "other", "clips": []}))
    with pytest.raises(AnnotationError, match="format is 'other'"):
        load_skeletons(tmp_path / "ours.npz")
    facts.unlink()
    with pytest.raises(AnnotationError, match="cannot be read"):
        load_skeletons(tmp_path / "ours.npz")


@pytest.fixture
def samples(tmp_path) -> pd.DataFrame:
    (tmp_path / "test.txt").write_text("f1/a.mp4 0\nf1/b.mp4 2\nf2/c.mp4 1\n")
    return read_list(tmp_path / "test.txt", ListForm())[0]


@pytest.mark.parametrize("ending", ["pkl", "json", "yaml"])
def test_score_files_of_the_old_form_are_written_and_read(ending, samples, tmp_path):
    scores = np.random.default_rng(0).dirichlet(np.ones(3), 3).astype(np.float32)
    path = write_scores(scores, tmp_path / f"last_pred.{ending}")
    np.testing.assert_array_equal(read_scores(path, samples), scores)
    with pytest.raises(AnnotationError, match="scores of 3 clips, the list has 2"):
        read_scores(path, samples[:2])


def test_pickled_scores_are_what_the_published_tools_load(samples, tmp_path):
    scores = np.arange(9, dtype=np.float32).reshape(3, 3)
    content = write_scores(scores, tmp_path / "p.pkl").read_bytes()
    assert content[:2] == b"\x80\x02"
    assert b"numpy._core" not in content  # unknown to the NumPy of their time
    loaded = pickle.loads(content)
    assert isinstance(loaded, list)
    assert [(row.dtype, row.shape) for row in loaded] == [(np.float32, (3,))] * 3
    np.testing.assert_array_equal(np.stack(loaded), scores)


def test_score_files_that_are_none_are_refused(samples, tmp_path):
    harm = tmp_path / "harm"
    with pytest.raises(AnnotationError, match="nothing of it was run"):
        read_scores(dump(tmp_path / "p.pkl", [Harm(harm)]), samples)
    assert not harm.exists()
    (tmp_path / "p.yaml").write_text("- !!python/object/apply:os.system ['true']")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_scores(tmp_path / "p.yaml", samples)
    for content in ("[]", "[[1, 2], [3]]", '["a"]', "{}"):
        (tmp_path / "p.json").write_text(content)
        with pytest.raises(AnnotationError, match="no table"):
            read_scores(tmp_path / "p.json", samples)
    with pytest.raises(AnnotationError, match="not kept in p.txt"):
        write_scores([[1.0, 2.0]], tmp_path / "p.txt")


LONG = "clip,rater,rating\na,r1,1\na,r2,3\na,r3,5\nb,r1,4\nb,r2,4\nb,r3,3\nc,r1,2\nc,r2,3\nc,r3,\n"
WIDE = "clip;r1;r2;r3\na;1;3;5\nb;4;4;3\nc;2;3;NA\n"


def rate(folder, text, **form):
    path = folder / "ratings.csv"
    path.write_text(text)
    return read_ratings(path, RatingForm(**form))


def test_ratings_are_read_from_rows_and_from_columns(tmp_path):
    long, problems = rate(tmp_path, LONG)
    assert [(one.what, one.severity) for one in problems] == [("1 of 9 ratings are missing.", "warning")]
    wide, _ = rate(tmp_path, WIDE, raters=("r1", "r2", "r3"), separator=";")
    key = ["clip", "rater", "rating"]
    pd.testing.assert_frame_equal(
        long[key].sort_values(key).reset_index(drop=True), wide[key].sort_values(key).reset_index(drop=True)
    )


def test_clips_get_the_class_of_their_mean_rating(tmp_path):
    ratings, _ = rate(tmp_path, LONG)
    clips, problems = rate_clips(ratings, raters=("r1", "r2"), at_least=2)
    assert clips.to_numpy().tolist() == [["a", 2.0, 2, 2.0, 0], ["b", 4.0, 2, 0.0, 2], ["c", 2.5, 2, 1.0, 1]]
    assert not problems
    clips, problems = rate_clips(ratings, at_least=3, cuts=(Cut(3.0, "lower"),))
    assert clips["label"].tolist() == [0, 1]
    assert "1 clips have fewer than 3 ratings" in problems[0].what
    assert "Nobody is called 'r9'" in rate_clips(ratings, raters=("r1", "r9"))[1][0].what


def test_cuts_are_parameters():
    steps = tuple(Cut(at, "upper") for at in (-1.0, 0.0, 1.0))
    ratings = np.linspace(-2, 2, 41)
    assert classify(ratings, steps).tolist() == np.floor(np.clip(np.round(ratings, 9) + 2, 0, 3)).tolist()
    assert classify([0.1 + 0.2], [Cut(0.3, "lower")]).tolist() == [0]  # 0.30000000000000004
    for cuts in ((), (Cut(4.0, "upper"), Cut(2.0, "lower"))):
        with pytest.raises(SettingsError, match="cuts"):
            classify([1], cuts)


def test_wrong_ratings_are_named(tmp_path):
    text = "clip,rater,rating\na,r1,6\na,r2,high\n,r1,3\na,,3\nb,r1,3\nb,r1,4\nc,r1,inf\n"
    ratings, problems = rate(tmp_path, text)
    assert ratings["clip"].tolist() == ["b"]
    assert [problem.row for problem in problems] == [2, 3, 4, 5, 7, 8]
    assert "already rated b in row 6" in problems[4].what
    assert "no column 'rating'" in rate(tmp_path, "clip,rater\n")[1][0].what
    assert "There is no rating" in rate(tmp_path, "clip,rater,rating\na,r1,\n")[1][-1].what
    assert "cannot be read" in read_ratings(tmp_path / "none.csv")[1][0].what


def test_agreement_is_fed_from_ratings(tmp_path):
    # six targets and four judges of Shrout and Fleiss (1979), table 2: ICC(3,1) is 0.71
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    names = ("j1", "j2", "j3", "j4")
    text = "clip,j1,j2,j3,j4\n" + "".join(f"t{row},{','.join(map(str, one))}\n" for row, one in enumerate(table))
    ratings, problems = rate(tmp_path, text, raters=names, greatest=10)
    assert not problems
    assert intraclass_correlation(ratings) == pytest.approx(0.71, abs=0.005)
    assert tabulate_raters(ratings).to_numpy().tolist() == table
    counts = count_pairs(ratings, cuts=(Cut(3.0, "lower"), Cut(6.0, "upper")))
    assert sorted(counts)[0] == ("j1", "j2")
    assert counts["j1", "j4"].tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 5]]
    assert np.isfinite(cohen_kappa(counts["j2", "j3"]))
    assert np.isnan(intraclass_correlation(ratings[ratings["rater"] == "j1"]))
