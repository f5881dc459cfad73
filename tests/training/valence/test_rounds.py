"""Which sessions a round learns from, chooses by and is scored on."""

from __future__ import annotations

import pandas as pd
import pytest

from nbpkg.errors import FoldError, SettingsError
from nbpkg.training.valence.rounds import Round, list_crossval, list_final, list_personal

SUBJECTS = {f"Subject_{subject}_Story_{story}": subject for subject in ("1", "2", "10") for story in (1, 2)}


def make_folds(count: int) -> pd.DataFrame:
    rows = [(f"Subject_{subject}_Story_{fold}", fold) for fold in range(count) for subject in (1, 10)]
    return pd.DataFrame(rows, columns=["session", "fold"])


def test_the_next_fold_chooses_the_epoch():
    rounds = list_crossval(make_folds(3), select="inner")
    assert [(one.name, one.fold) for one in rounds] == [("fold_0", 0), ("fold_1", 1), ("fold_2", 2)]
    last = rounds[2]
    assert last.held_out == ("Subject_10_Story_2", "Subject_1_Story_2")
    assert last.inner == ("Subject_10_Story_0", "Subject_1_Story_0")
    assert last.train == ("Subject_10_Story_1", "Subject_1_Story_1")


def test_too_few_folds_are_refused():
    assert len(list_crossval(make_folds(2), select="epoch")) == 2
    with pytest.raises(FoldError, match="2 training folds"):
        list_crossval(make_folds(2), select="inner")
    with pytest.raises(FoldError, match="1 training folds"):
        list_crossval(make_folds(1), select="held_out")


def test_no_session_is_learnt_from_and_scored():
    with pytest.raises(FoldError, match="learnt from and scored: b"):
        Round("x", 0, ("a", "b"), ("b",), ("c",))


def test_some_subjects_alone_or_repeated_behind_everybody():
    alone = list_final(SUBJECTS, chosen=["10"])
    assert alone.train == ("Subject_10_Story_1", "Subject_10_Story_2")
    repeated = list_final(SUBJECTS, chosen=["10"], augment=2)
    assert repeated.train == (*sorted(SUBJECTS), *alone.train, *alone.train)
    named = list_final(SUBJECTS, chosen=["2"], held_out=["Subject_2_Story_1", "Subject_1_Story_1"])
    assert (named.train, named.held_out) == (("Subject_2_Story_2",), ("Subject_2_Story_1",))
    with pytest.raises(SettingsError, match="no subject is named"):
        list_final(SUBJECTS, augment=1)
    with pytest.raises(SettingsError, match="no such sessions to train with: x"):
        list_final(SUBJECTS, held_out=["x"])
    with pytest.raises(SettingsError, match="Nothing is left"):
        list_final(SUBJECTS, chosen=["2"], held_out=["Subject_2_Story_1", "Subject_2_Story_2"])


def test_personal_rounds_by_number_of_the_subject_with_reasons():
    first = [name for name in sorted(SUBJECTS) if name.endswith("1")]
    outer = Round("fold_0", 0, tuple(first), (), ("Subject_1_Story_2", "Subject_10_Story_2"))
    rounds = list_personal(SUBJECTS, outer=[outer], augment=1)
    assert [one.name for one in rounds] == ["subject_1", "subject_2", "subject_10"]
    assert rounds[0].train == (*first, "Subject_1_Story_1")
    assert rounds[0].held_out == ("Subject_1_Story_2",)
    assert [one.reason for one in rounds] == ["", "the subject has no session among those left out", ""]
    nothing = list_personal(SUBJECTS, outer=[Round("final", -1, ("Subject_2_Story_1",))])
    assert [bool(one.reason) for one in nothing] == [True, False, True]
    assert nothing[0].reason == "the subject has no session to learn from"
