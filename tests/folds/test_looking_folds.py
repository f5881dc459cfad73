"""Folds of clips: official parts with their order, whole videos, and what leaks."""

import pandas as pd
import pytest

from nbpkg.errors import FoldError
from nbpkg.folds.looking import check_clip_folds, chooser_fold, deal_clips, find_video_leakage


def footage(*rows):
    """session, video, split, labelled, tracks"""
    return pd.DataFrame([(*row, *(True, 3)[len(row) - 3 :]) for row in rows],
                         columns=["session", "video", "split", "labelled", "tracks"])  # fmt: skip


OFFICIAL = [(f"c{number}", f"v{number}", "train" if number < 8 else "val") for number in range(10)]


def by_fold(folds):
    return {number: set(own["session"]) for number, own in folds.groupby("fold")}


def test_official_parts_keep_their_order():
    clips = footage(*OFFICIAL, ("t1", "v20", "test"), ("x", "v21", ""))
    folds = deal_clips(clips)
    assert by_fold(folds) == {0: {f"c{n}" for n in range(8)}, 1: {"c8", "c9"}, 2: {"t1"}}
    assert folds.loc[folds["fold"] == 2, "role"].tolist() == ["test"]
    assert folds["group"].tolist()[:2] == ["v0", "v1"]
    assert chooser_fold(folds) == 1


def test_val_is_the_test_where_no_test_clip_is_labelled_and_training_videos_choose():
    clips = footage(*OFFICIAL, ("c0b", "v0", "train"), ("t1", "t1", "test", False), ("t2", "t2", "test", False))
    folds = deal_clips(clips, seed=3)
    dealt = by_fold(folds)
    assert dealt[2] == {"c8", "c9", "t1", "t2"}
    assert dealt[0] | dealt[1] == {f"c{n}" for n in range(8)} | {"c0b"}
    assert folds[folds["fold"] == 1]["group"].nunique() == 2  # of eight videos
    assert folds.equals(deal_clips(clips, seed=3))
    assert len({frozenset(by_fold(deal_clips(clips, seed=seed))[1]) for seed in range(10)}) > 3
    assert not set(folds[folds["fold"] == 0]["group"]) & set(folds[folds["fold"] == 1]["group"])


def test_test_without_val_lets_training_videos_choose():
    folds = deal_clips(footage(*OFFICIAL[:8], ("t1", "v20", "test")))
    assert by_fold(folds)[2] == {"t1"}
    assert folds[folds["fold"] == 1]["group"].nunique() == 2


def test_a_video_in_several_parts_is_refused_unless_kept():
    clips = footage(*OFFICIAL, ("c8b", "v0", "val"), ("t1", "v20", "test"))
    with pytest.raises(FoldError, match=r"1 videos have clips in several official parts: v0 \(train, val\)") as error:
        deal_clips(clips)
    assert "stratify.scheme: videos" in error.value.remedy
    assert "stratify.keep_shared: true" in error.value.remedy
    folds = deal_clips(clips, keep_shared=True)
    leaks = find_video_leakage(clips, folds)
    assert leaks.to_dict("records") == [
        {"video": "v0", "folds": "0; 1", "roles": "train", "clips": 2, "sessions": "c0; c8b"}]  # fmt: skip
    with pytest.raises(FoldError, match="1 videos are in two folds: v0"):
        check_clip_folds(folds)
    whole = deal_clips(clips, scheme="videos", folds=4)
    assert find_video_leakage(clips, whole).empty


def test_a_kept_test_video_does_not_choose():
    shared = footage(("a", "v0", "train"), ("b", "v1", "train"), ("c", "v2", "train"), ("d", "v0", "val"))
    for seed in range(8):
        folds = deal_clips(shared, keep_shared=True, seed=seed)
        assert by_fold(folds)[1] in ({"b"}, {"c"})


@pytest.mark.parametrize("clips", [footage(*OFFICIAL[:8]), footage(*OFFICIAL[8:]), footage(("c", "v", "")),
                                   footage(("c0", "v0", "train"), ("c1", "v0", "train"), ("c2", "v2", "val")),
                                   footage(("t", "t", "test", False))])  # fmt: skip
def test_empty_parts_are_refused(clips):
    with pytest.raises(FoldError):
        deal_clips(clips)


def test_whole_videos_are_dealt_evenly():
    clips = footage(*[(f"c{n}_{part}", f"v{n}", "", True, 1 + n) for n in range(12) for part in range(2)])
    folds = deal_clips(clips, scheme="videos", folds=4, seed=1)
    assert (folds.groupby("group")["fold"].nunique() == 1).all()
    loads = folds.merge(clips, on="session").groupby("fold")["tracks"].sum()
    assert loads.index.tolist() == [0, 1, 2, 3]
    assert loads.max() - loads.min() <= 2 * 12
    assert set(folds.loc[folds["fold"] == 3, "role"]) == {"test"}
    assert len({tuple(deal_clips(clips, scheme="videos", folds=4, seed=seed)["fold"]) for seed in range(5)}) > 1
    with pytest.raises(FoldError, match="cannot be dealt into 13 folds"):
        deal_clips(clips, scheme="videos", folds=13)


def test_videos_with_clips_to_be_answered_for_are_in_the_test_fold():
    clips = footage(*[(f"c{n}", f"v{n}", "") for n in range(6)], ("t", "v0", "test", False), ("u", "u", "test", False))
    for seed in range(5):
        folds = deal_clips(clips, scheme="videos", folds=3, seed=seed).set_index("session")["fold"]
        assert folds[["t", "u", "c0"]].tolist() == [2, 2, 2]
        assert set(folds) == {0, 1, 2}
    some = footage(*[(f"c{n}", f"v{n}", "") for n in range(3)], *[(f"t{n}", f"v{n}", "test", False) for n in range(2)])
    with pytest.raises(FoldError, match="cannot be dealt"):
        deal_clips(some, scheme="videos", folds=3)


def test_folds_changed_by_hand_are_checked():
    folds = deal_clips(footage(*OFFICIAL, ("t1", "v20", "test")))
    with pytest.raises(FoldError, match="Training folds are"):
        check_clip_folds(folds.assign(role="train"))
    with pytest.raises(FoldError, match="Training folds are"):
        check_clip_folds(folds.assign(fold=2 - folds["fold"]))
    with pytest.raises(FoldError, match="1 clips of the folds are not described: t1"):
        find_video_leakage(footage(*OFFICIAL), folds)
