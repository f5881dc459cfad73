"""Folds of participants: official parts stay parts, sizes are alike, nobody is in two folds."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.errors import FoldError
from nbpkg.folds.lists import compare_folds, deal_participants

SESSIONS = pd.DataFrame(
    {
        "session": [f"s{number}" for number in range(12)],
        "group": [f"p{number // 2}" for number in range(12)],
        "split": ["train"] * 8 + ["test"] * 4,
        "frames": [10, 20, 30, 5, 5, 5, 40, 1, 9, 9, 9, 9],
    }
)
OFFICIAL = {"folds": 3, "scheme": "official", "test": [], "seed": 0}


def test_the_official_test_part_is_the_test_fold():
    folds = deal_participants(SESSIONS, **OFFICIAL)
    assert set(folds.query("role == 'test'")["session"]) == {"s8", "s9", "s10", "s11"}
    assert set(folds.query("role == 'test'")["fold"]) == {2}
    assert set(folds.query("role == 'train'")["fold"]) == {0, 1}


def test_participants_are_dealt_by_frames():
    folds = deal_participants(SESSIONS, folds=3, scheme="participants", test=[], seed=0)
    frames = folds.merge(SESSIONS).groupby("fold")["frames"].sum()
    assert frames.max() - frames.min() <= 20


def test_named_participants_are_the_test_fold():
    folds = deal_participants(SESSIONS, **{**OFFICIAL, "test": ["p0"]})
    assert set(folds.query("role == 'test'")["group"]) == {"p0"}


@given(st.integers(2, 6), st.integers(0, 5), st.lists(st.integers(0, 50), min_size=12, max_size=12))
@settings(max_examples=25, deadline=None)
def test_no_participant_is_ever_in_two_folds(folds, seed, frames):
    found = deal_participants(SESSIONS.assign(frames=frames), folds=folds, scheme="participants", test=[], seed=seed)
    assert found.groupby("group")["fold"].nunique().max() == 1
    assert sorted(set(found["fold"])) == list(range(folds))


@pytest.mark.parametrize(
    ("changes", "how", "said"),
    [
        ({}, {"folds": 9}, "cannot be dealt into 8 folds"),
        ({}, {"test": ["nobody"]}, "stratify.test names nobody"),
        ({"split": ""}, {}, "0 test sessions of 12"),
        ({"split": ["train", "test"] * 6}, {}, "6 participants are in more than one part"),
    ],
)
def test_what_cannot_be_dealt_is_said(changes, how, said):
    with pytest.raises(FoldError, match=said):
        deal_participants(SESSIONS.assign(**changes), **{**OFFICIAL, **how})


def test_shares_are_held_against_random_dealings():
    folds = deal_participants(SESSIONS, **OFFICIAL)
    rows = SESSIONS.loc[SESSIONS.index.repeat(SESSIONS["frames"]), ["session"]].assign(inside=1)
    rows.loc[rows["session"].isin(["s0", "s1"]), "inside"] = 0
    balance = compare_folds(rows, folds, seed=0, tries=50).set_index(["stratum", "fold"])
    assert balance["whole"].unique() == pytest.approx([1 - 30 / 152])
    assert balance.loc[("inside", 2), "value"] == 1
    own = int(folds.query("session == 's0'")["fold"].iloc[0])
    mates = set(folds.query("fold == @own")["session"])
    frames = SESSIONS.set_index("session")["frames"]
    assert balance.loc[("inside", own), "value"] == pytest.approx(1 - 30 / frames[list(mates)].sum())
    assert (balance["chance_low"] <= balance["chance_high"]).all()
