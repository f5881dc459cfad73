"""Folds by story, listener and actor, and what their sides share."""

import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.errors import FoldError
from nbpkg.folds.stories import check_sequence_folds, deal_sequences, find_sequence_leakage, session_grid

ACTORS = {"1": "Anna", "2": "Ben", "4": "Anna", "5": "Cem", "8": "Ben", "3": "Cem", "10": "Dora"}


def describe(subjects=("1", "2", "10"), training=("2", "4", "5", "8"), test=("3",), *, actors=ACTORS, hidden=True):
    """Recordings as published: story 1 validates, `test` is withheld."""
    parts = [("Training", training), ("Validation", ("1",)), ("Testing", test)]
    rows = [
        {"session": f"Subject_{subject}_Story_{story}", "subject": subject, "story": story, "part": part}
        | {"actor": actors.get(story, ""), "frames": 50, "steps": 2, "missing": 0, "least": 0.0, "greatest": 1.0}
        | {"mean": 0.5, "std": 0.1, "changes": 0.1, "hidden": hidden and part == "Testing", "flags": ""}
        for part, stories in parts
        for story in stories
        for subject in sorted(subjects)
    ]
    return tables.from_rows(rows, "recordings")


def groups(folds):
    return folds.drop_duplicates("fold").set_index("fold")["group"].to_dict()


def test_stories_become_folds_in_natural_order_and_the_test_fold_is_last():
    folds = deal_sequences(describe(training=("10", "2", "4", "5")), test_parts=["Testing"])
    assert groups(folds) == {0: "1", 1: "2", 2: "4", 3: "5", 4: "10", 5: "3"}
    assert folds.groupby("fold")["role"].unique().map(list).tolist() == [["train"]] * 5 + [["test"]]
    assert folds.loc[folds["fold"] == 0, "session"].tolist() == [
        "Subject_1_Story_1", "Subject_10_Story_1", "Subject_2_Story_1",
    ]  # fmt: skip


def test_subjects_become_folds_and_are_known_in_the_test_fold():
    folds = deal_sequences(describe(), scheme="subject", test_parts=["Testing"])
    assert groups(folds) == {0: "1", 1: "2", 2: "10", 3: "1"}
    assert (folds["fold"].value_counts().sort_index() == [5, 5, 5, 3]).all()


def test_actors_become_folds_whatever_stories_they_tell():
    folds = deal_sequences(describe(), scheme="actor", test_parts=["Testing"])
    assert groups(folds) == {0: "Anna", 1: "Ben", 2: "Cem", 3: "Cem"}
    stories = folds["session"].str.split("_").str[3].groupby(folds["fold"]).unique().map(set)
    assert stories.tolist() == [{"1", "4"}, {"2", "8"}, {"5"}, {"3"}]


def test_unknown_actors_are_refused_by_story():
    with pytest.raises(FoldError, match=r"(?s)who tells story 1, 5\..*parse\.actors"):
        deal_sequences(describe(actors={"2": "Ben", "4": "Anna", "8": "Ben"}), scheme="actor", test_parts=["Testing"])


def test_hidden_sessions_are_in_the_test_fold_whatever_is_named():
    folds = deal_sequences(describe())
    assert folds.loc[folds["role"] == "test", "session"].tolist() == [
        "Subject_1_Story_3", "Subject_10_Story_3", "Subject_2_Story_3",
    ]  # fmt: skip


def test_without_test_sessions_there_is_no_test_fold():
    folds = deal_sequences(describe(hidden=False))
    assert set(folds["role"]) == {"train"}
    assert folds["fold"].nunique() == 6


def test_test_stories_stand_beside_test_parts():
    folds = deal_sequences(describe(), test_parts=["Testing"], test_stories=["5", "8"])
    assert groups(folds) == {0: "1", 1: "2", 2: "4", 3: "5"}
    assert set(folds.loc[folds["fold"] == 3, "group"]) == {"3", "5", "8"}


def test_stories_and_subjects_that_are_not_named_are_in_no_fold():
    folds = deal_sequences(describe(), test_parts=["Testing"], stories=["2", "8"], subjects=["10", "1"])
    assert sorted(folds["session"]) == sorted(
        f"Subject_{subject}_Story_{story}" for subject in ("1", "10") for story in ("2", "8", "3")
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"test_parts": ["Test"]}, r"(?s)stratify\.test_parts names Test\..*Testing, Training, Validation"),
        ({"test_stories": ["7"]}, r"(?s)stratify\.test_stories names 7\..*1, 2, 3, 4, 5, 8"),
        ({"stories": ["2", "7"]}, r"stratify\.stories names 7\."),
        ({"subjects": ["3"]}, r"(?s)stratify\.subjects names 3\..*1, 2, 10"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(options, words):
    with pytest.raises(FoldError, match=words):
        deal_sequences(describe(), **options)


def test_a_story_for_training_and_for_the_test_is_refused():
    with pytest.raises(FoldError, match=r"Stories 4, 8 are for training and for the test \(named in stories and in"):
        deal_sequences(describe(), stories=["2", "4", "8"], test_stories=["8", "4"])


def test_a_story_in_two_parts_is_refused_under_scheme_story_and_told_under_others():
    mixed = describe(test=("3", "10"))
    mixed.loc[mixed["session"] == "Subject_1_Story_2", "part"] = "Testing"
    with pytest.raises(FoldError, match=r"Story 2 is for training and for the test \(in both\)"):
        deal_sequences(mixed, test_parts=["Testing"])
    folds = deal_sequences(mixed, scheme="subject", test_parts=["Testing"])
    leakage = find_sequence_leakage(mixed, folds)
    row = leakage[(leakage["fold"] == 3) & (leakage["what"] == "story")].iloc[0]
    assert (row["shared"], row["n"]) == ("2", 1)


def test_a_single_training_fold_is_refused():
    with pytest.raises(FoldError, match=r"1 stories only: 2\."):
        deal_sequences(describe(), test_parts=["Testing"], stories=["2"])
    with pytest.raises(FoldError, match=r"0 actors only: none\."):
        deal_sequences(describe(), scheme="actor", test_parts=["Testing", "Training", "Validation"])


def leakage_of(scheme, **options):
    recordings = describe()
    found = find_sequence_leakage(
        recordings, deal_sequences(recordings, scheme=scheme, test_parts=["Testing"]), **options
    )
    return found.set_index(["fold", "what"])


def test_leakage_names_what_training_and_held_out_sessions_share():
    found = leakage_of("story")
    assert list(found.reset_index().columns) == ["fold", "what", "shared", "n", "meaning"]
    assert found.loc[(0, "subject"), ["shared", "n"]].tolist() == ["1; 2; 10", 3]
    assert found.loc[(0, "story"), ["shared", "n"]].tolist() == ["", 0]
    assert found.loc[(0, "actor"), ["shared", "n"]].tolist() == ["Anna", 1]  # she also tells story 4
    assert found.loc[(5, "actor"), "shared"] == "Cem"
    assert "not for new listeners" in found.loc[(0, "subject"), "meaning"]
    assert found.loc[(0, "story"), "meaning"] == "Stories are new."


def test_stricter_schemes_share_less():
    assert leakage_of("subject").loc[(0, "subject"), "n"] == 0
    assert leakage_of("subject").loc[(0, "story"), "n"] == 5
    assert leakage_of("actor").loc[[(0, "actor"), (0, "story")], "n"].tolist() == [0, 0]


def test_unknown_actors_are_said_to_be_unknown():
    recordings = describe(actors={})
    found = find_sequence_leakage(recordings, deal_sequences(recordings)).set_index(["fold", "what"])
    assert found.loc[(0, "actor"), ["n", "meaning"]].tolist() == [
        0, "Actors are not known for all stories, so they may be shared.",
    ]  # fmt: skip


def test_copied_annotations_are_found():
    hashes = {session: session for session in describe()["session"]}
    hashes |= dict.fromkeys(["Subject_1_Story_1", "Subject_2_Story_8"], "copy")
    hashes |= dict.fromkeys(["Subject_1_Story_3", "Subject_2_Story_3", "Subject_10_Story_2"], "dummy")
    found = leakage_of("story", hashes=hashes)
    assert found.loc[(0, "annotation"), ["shared", "n"]].tolist() == ["Subject_1_Story_1 = Subject_2_Story_8", 1]
    assert found.loc[(4, "annotation"), "shared"] == "Subject_2_Story_8 = Subject_1_Story_1"
    assert found.loc[[(1, "annotation"), (5, "annotation")], "n"].tolist() == [0, 0]  # dummies are no copies


def test_a_session_in_two_folds_is_refused():
    folds = deal_sequences(describe(), test_parts=["Testing"])
    doubled = pd.concat([folds, folds.head(1).assign(fold=3)])
    with pytest.raises(FoldError, match="1 sessions are in two folds: Subject_1_Story_1"):
        find_sequence_leakage(describe(), doubled)


def test_folds_changed_by_hand_are_checked():
    folds = deal_sequences(describe(), test_parts=["Testing"])
    moved = folds.assign(fold=folds["fold"].where(folds["session"] != "Subject_1_Story_1", 3))
    with pytest.raises(FoldError, match="1 is in two training folds"):
        check_sequence_folds(moved)
    mixed = folds.assign(role=folds["role"].where(folds["session"] != "Subject_1_Story_1", "test"))
    with pytest.raises(FoldError, match="Fold 0 is both for training and for the test"):
        check_sequence_folds(mixed)
    with pytest.raises(FoldError, match="not described: Subject_10_Story_1, "):
        find_sequence_leakage(describe().iloc[15:], folds)


def test_the_grid_shows_folds_by_subject_and_story():
    recordings = describe().query("session != 'Subject_2_Story_5'")
    grid = session_grid(recordings, deal_sequences(recordings, test_parts=["Testing"], stories=["1", "2", "5"]))
    assert list(grid.index) == ["1", "2", "10"]
    assert list(grid.columns) == ["1", "2", "3", "4", "5", "8"]
    assert grid.loc["10"].tolist() == [0, 1, 3, -1, 2, -1]
    assert pd.isna(grid.loc["2", "5"])
