"""Features and videos held against annotations, by name."""

import pandas as pd
import pytest
from valence_files import describe, texts, write

from nbpkg import tables
from nbpkg.annotations.valence.alignment import check_alignment
from nbpkg.annotations.valence.frame_counts import check_frame_counts, make_dummies, read_frame_counts
from nbpkg.annotations.valence.recordings import describe_recordings

A, B, C, D = (f"Subject_{number}_Story_2" for number in (1, 2, 3, 4))


def align(frames, rows, names=("audio",), **columns):
    """Check files given as (session, modality, rows)."""
    found = pd.DataFrame(rows, columns=["session", "modality", "rows", *columns])
    return check_alignment(describe(frames), found, names=names)


def test_files_that_fit_leave_nothing_to_say():
    table, problems = align({A: 250, B: 300}, [(A, "audio", 10), (B, "audio", 12)])
    assert problems == []
    assert table[["session", "modality", "rows", "steps", "lost", "padded", "missing"]].to_numpy().tolist() == [
        [A, "audio", 10, 10, 0, 0, 0],
        [B, "audio", 12, 12, 0, 0, 0],
    ]
    assert table["flags"].tolist() == ["", ""]


def test_lengths_are_told_by_modality_with_both_numbers():
    rows = [(A, "audio", 9), (B, "audio", 15), (A, "text", 10), (B, "text", 12)]
    table, problems = align({A: 250, B: 300}, rows, ("text", "audio"))
    assert texts(problems, "warning") == [
        f": audio is shorter than the annotation in 1 session: {A} (9 of 10).",
        f": audio is longer than the annotation in 1 session: {B} (15 of 12).",
    ]
    assert table["modality"].tolist() == ["text", "audio", "text", "audio"]
    assert table[["lost", "padded", "missing"]].to_numpy().tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0], [3, 0, 0]]
    assert table["flags"].tolist() == ["", "too short", "", "too long"]


def test_a_missing_file_is_told_and_has_a_row():
    table, problems = align({A: 250, B: 300}, [(A, "audio", 10), (A, "text", 10), (B, "text", 12)], ("audio", "text"))
    assert texts(problems, "warning") == [f": audio has no file for 1 session: {B}."]
    row = table[(table["session"] == B) & (table["modality"] == "audio")].iloc[0]
    assert row[["rows", "padded", "missing", "flags"]].tolist() == [0, 12, 12, "missing file"]


def test_without_any_file_all_are_missing():
    table, problems = align({A: 250, B: 300}, [], ("audio", "text"))
    assert table["flags"].tolist() == ["missing file"] * 4
    assert texts(problems) == [f": {name} has no file for 2 sessions: {A}, {B}." for name in ("audio", "text")]


def test_files_without_annotation_are_told_and_not_used():
    table, problems = align({A: 250}, [(A, "audio", 10), (C, "audio", 10), (D, "video", 3)])
    assert texts(problems, "warning") == [f": audio has 1 file without annotation: {C}."]
    assert table["session"].tolist() == [A]


def test_two_files_of_a_modality_are_an_error_and_named():
    found = [(A, "audio", 10, "a.csv"), (A, "audio", 12, "a_old.csv"), (B, "audio", 12, "b.csv")]
    table, problems = align({A: 250, B: 300}, found, source=True)
    assert texts(problems, "error") == [f": {A} has 2 files of audio: a.csv, a_old.csv."]
    assert len(table) == 2


def test_a_modality_off_by_the_same_everywhere_is_told_once():
    frames = {A: 250, B: 300, C: 350, D: 400}
    table, problems = align(frames, [(A, "audio", 9), (B, "audio", 11), (C, "audio", 13), (D, "audio", 15)])
    assert texts(problems, "warning") == [": audio has 1 row less than the annotation in 4 of 4 sessions."]
    assert table["padded"].tolist() == [1, 1, 1, 1]


def test_seconds_that_are_not_whole_explain_one_row():
    frames = {A: 260, B: 310, C: 360, D: 400}
    table, problems = align(frames, [(A, "audio", 10), (B, "audio", 12), (C, "audio", 14), (D, "audio", 16)])
    assert texts(problems) == [
        f": audio has no row for the last, partial second of 3 sessions: {A} (10 of 11), {B} (12 of 13), "
        f"{C} (14 of 15)."
    ]
    assert table["flags"].tolist() == [*["no last partial second"] * 3, ""]


def test_swapped_files_are_suspected_and_not_swapped():
    frames = {A: 250, B: 275, C: 300}
    table, problems = align(frames, [(A, "audio", 11), (B, "audio", 10), (C, "audio", 12)])
    assert texts(problems)[2:] == [
        f": The audio of {A} has 11 rows, its annotation 10 seconds; it may belong to {B}.",
        f": The audio of {B} has 10 rows, its annotation 11 seconds; it may belong to {A}.",
    ]
    assert table["flags"].tolist() == [f"too long; may belong to {B}", f"too short; may belong to {A}", ""]
    assert table["rows"].tolist() == [11, 10, 12]


def test_a_file_far_off_that_fits_another_session_is_suspected():
    table, _ = align({A: 250, B: 1000}, [(A, "audio", 40), (B, "audio", 40)])
    assert table["flags"].tolist() == [f"too long; may belong to {B}", ""]


def test_a_neighbour_in_length_is_not_suspected():
    table, _ = align({A: 250, B: 275}, [(A, "audio", 11), (B, "audio", 11)])
    assert table["flags"].tolist() == ["too long", ""]


def test_rows_in_which_there_is_nothing_are_counted():
    table, _ = align({A: 250}, [(A, "face", 8, 3)], ("face",), missing=True)
    assert table[["padded", "missing"]].to_numpy().tolist() == [[2, 5]]


COUNTS = """
Subject_3_Story_6.csv - 7000 Frames

Subject_10_Story_6.csv - 250 Frames
Subject_2_Story_3.mp4 : 300 frames
"""


def test_frame_counts_are_read_in_both_forms(tmp_path):
    counts, problems = read_frame_counts(write(tmp_path / "Frames_Count.txt", COUNTS.replace("\n", "\r\n")))
    assert counts == {"Subject_3_Story_6": 7000, "Subject_10_Story_6": 250, "Subject_2_Story_3": 300}
    assert problems == []


@pytest.mark.parametrize(
    "line",
    [
        "Subject_3_Story_7.csv - many Frames",
        "Subject_3_Story_7.csv -  Frames",
        "Subject_3_Story_7.csv",
        "story.csv - 7000 Frames",
        "Subject_3_Story_7.csv - 0 Frames",
    ],
)
def test_a_line_that_says_no_length_is_named(tmp_path, line):
    counts, problems = read_frame_counts(
        write(tmp_path / "Frames_Count.txt", f"Subject_1_Story_1.csv - 5 Frames\n\n{line}\n")
    )
    assert counts == {"Subject_1_Story_1": 5}
    assert texts(problems, "error") == [
        f"Frames_Count.txt, row 3: {line!r} does not say how many frames which session has."
    ]


def test_two_lengths_of_a_session_are_an_error(tmp_path):
    text = "Subject_1_Story_1.csv - 5 Frames\nSubject_1_Story_1.csv - 5 Frames\nSubject_1_Story_1.csv - 6 Frames\n"
    _, problems = read_frame_counts(write(tmp_path / "c.txt", text))
    assert texts(problems, "error") == ["c.txt, row 3: Subject_1_Story_1 has 5 frames in an earlier line, 6 here."]


def test_annotations_longer_or_shorter_than_their_video_are_told():
    found = describe({A: 250, B: 300, C: 350})
    problems = check_frame_counts(found, {A: 240, B: 301, D: 9}, source="Frames_Count.txt")
    assert texts(problems, "warning") == [
        f"Frames_Count.txt: The annotation of {A} has 250 frames, 10 more than its video (240).",
        f"Frames_Count.txt: The annotation of {B} has 300 frames, 1 less than its video (301).",
        f"Frames_Count.txt: Annotated sessions that are not named (1): {C}.",
        f"Frames_Count.txt: Sessions without annotation (1): {D}.",
    ]
    assert check_frame_counts(found, {A: 250, B: 300, C: 350}, source="x") == []


def test_a_dummy_of_the_wrong_length_is_an_error():
    found = describe({A: 250}, hidden=["Training"])
    problems = check_frame_counts(found, {A: 240}, source="Frames_Count.txt")
    assert [problem.severity for problem in problems] == ["error"]
    assert "right number of rows" in problems[0].remedy


def test_parts_that_no_list_names_do_not_count():
    found = describe({A: 250, B: 300}).assign(part=["Training", "Testing"])
    assert check_frame_counts(found, {B: 300}, source="x") == []
    assert len(check_frame_counts(found, {B: 300}, source="videos", complete=True)) == 1


def test_dummies_are_made_from_lengths_alone():
    table = make_dummies({"Subject_10_Story_3": 30, "Subject_2_Story_3": 26}, part="Testing")
    found = describe_recordings(table, ratio=25)
    assert found[["session", "subject", "story", "frames", "steps", "missing"]].to_numpy().tolist() == [
        ["Subject_10_Story_3", "10", "3", 30, 2, 30],
        ["Subject_2_Story_3", "2", "3", 26, 2, 26],
    ]
    assert found["hidden"].all()
    assert make_dummies({}, part="Testing").equals(tables.empty("valence"))
