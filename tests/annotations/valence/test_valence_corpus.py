"""Annotations read as they are: nothing moves in silence, nothing is written, and mistakes are told by file and row."""

import numpy as np
import pandas as pd
import pytest
from valence_files import GOLDEN, PARTS, annotate, make_tree, snapshot, staircase, texts, unpack, write

from nbpkg.annotations.valence.corpus import read_annotation, read_valence
from nbpkg.annotations.valence.names import find_key, find_session_files
from nbpkg.errors import AnnotationError, SettingsError, raise_all

FILE = "Training/Annotations/Subject_1_Story_2.csv"


def one(tmp_path, content):
    """Read one file."""
    return read_annotation(write(tmp_path / "a.csv", content), file="a.csv")


def test_a_tree_is_read_by_key_in_the_published_order(tmp_path):
    table, problems = read_valence(make_tree(tmp_path), parts=PARTS, hidden=["Testing"])
    assert problems == []
    first = table.drop_duplicates("session")
    assert first["session"].tolist() == [
        "Subject_10_Story_10", "Subject_10_Story_2", "Subject_1_Story_10", "Subject_1_Story_2",
        "Subject_10_Story_1", "Subject_1_Story_1", "Subject_10_Story_3", "Subject_1_Story_3",
    ]  # fmt: skip
    assert first[["subject", "story", "part", "rater"]].iloc[1].tolist() == ["10", "2", "Training", "self"]
    own = table[table["session"] == "Subject_1_Story_2"]
    assert own["frame"].tolist() == list(range(60))
    assert own["value"].tolist() == staircase(60, 102)


def test_published_files_give_published_videos(tmp_path):
    unpack(tmp_path)
    with np.load(GOLDEN / "dataset_open.npz", allow_pickle=False) as golden:
        for part, where in (("Training", "train_trunc"), ("Validation", "val_untrunc")):
            table, problems = read_valence(tmp_path, parts={part: part}, compat="reference")
            assert texts(problems, "error") == []
            first = table.drop_duplicates("session")
            assert first["subject"].astype(int).tolist() == golden[f"expect:{where}/subjects"].tolist()
            assert first["story"].astype(int).tolist() == golden[f"expect:{where}/stories"].tolist()
            lengths = table.groupby("session", sort=False).size().tolist()
            assert lengths == [int(golden[f"expect:{where}/val_orig_len/{n}"]) for n in range(len(lengths))]


def test_the_blank_row_of_the_published_files_is_found(tmp_path):
    table, problems = read_valence(unpack(tmp_path), parts={"Training": "Training"})
    blank = [problem for problem in problems if "blank" in problem.what]
    assert [problem.file for problem in blank] == ["Training/Annotations/Subject_10_Story_2.csv"]
    own = table[table["session"] == "Subject_10_Story_2"]
    assert own["frame"].tolist() == list(range(125))
    assert own.loc[own["value"].isna(), "frame"].tolist() == [blank[0].row - 2]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\r\r\n"], ids=repr)
def test_any_line_end_and_byte_order_mark_is_read(tmp_path, end):
    values, problems = one(tmp_path, b"\xef\xbb\xbf" + end.join([b"valence", b"0.1", b"-0.2", b"1e-1"]))
    assert values.tolist() == [0.1, -0.2, 0.1]
    assert problems == []


def test_mixed_line_ends_are_read(tmp_path):
    values, problems = one(tmp_path, "valence\r\n0.1\n0.2\r0.3\r\n")
    assert values.tolist() == [0.1, 0.2, 0.3]
    assert problems == []


def test_a_blank_row_is_a_frame_without_value_and_no_later_frame_moves(tmp_path):
    values, problems = one(tmp_path, "valence\n0.1\n\n0.3\n  \n0.5\n")
    np.testing.assert_array_equal(values, [0.1, np.nan, 0.3, np.nan, 0.5])
    assert texts(problems, "warning") == ["a.csv, row 3, 0:00.040: 2 rows are blank: 3, 5."]
    assert "no later frame moves" in problems[0].expected


def test_the_published_reader_drops_blank_rows_and_we_say_so(tmp_path):
    path = write(tmp_path / "a.csv", "valence\n0.1\n\n0.3\n")
    values, problems = read_annotation(path, file="a.csv", compat="reference")
    assert values.tolist() == [0.1, 0.3]
    assert "all later frames move" in problems[0].expected


def test_blank_rows_at_the_end_are_no_frames_and_told(tmp_path):
    values, problems = one(tmp_path, "valence\n0.1\n0.2\n\n\n")
    assert values.tolist() == [0.1, 0.2]
    assert texts(problems, "repaired") == ["a.csv, row 4: 2 blank rows at the end were left out."]


def test_nan_and_empty_quoted_cells_have_no_value_and_need_no_warning(tmp_path):
    values, problems = one(tmp_path, 'valence\nnan\n""\nNaN\n"0.5"\nNA\n')
    np.testing.assert_array_equal(values, [np.nan, np.nan, np.nan, 0.5, np.nan])
    assert problems == []


def test_text_is_an_error_with_its_row(tmp_path):
    _, problems = one(tmp_path, "valence\n0.1\nhappy\n0.2\ninf\n1-2\n1_0\n")
    assert texts(problems, "error") == [
        "a.csv, row 3, 0:00.040: 4 rows are text: 3 ('happy'), 5 ('inf'), 6 ('1-2'), 7 ('1_0')."
    ]


def test_decimal_commas_are_an_error_with_their_row(tmp_path):
    _, problems = one(tmp_path, "valence\n0.1\n0,2\n")
    assert texts(problems, "error") == ["a.csv, row 3, 0:00.040: 1 row is of several cells: 3."]


def test_values_off_the_scale_are_warned_of_and_kept(tmp_path):
    values, problems = one(tmp_path, "valence\n0.1\n1.5\n-1\n-1.01\n1\n")
    assert values.tolist() == [0.1, 1.5, -1, -1.01, 1]
    assert texts(problems, "warning") == ["a.csv, row 3, 0:00.040: 2 rows are outside -1 to 1: 3, 5."]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("arousal", "The column is 'arousal'."),
        ("Valence", "The column is 'Valence'."),
        (",valence", "There are 2 columns: '', 'valence'."),
        ("valence,arousal", "There are 2 columns: 'valence', 'arousal'."),
        ("time;valence", "The column is 'time;valence'."),
        ("x,y", "The columns are 'x', 'y'."),
        ("0.3", "There is no header: the first row is '0.3'."),
    ],
)
def test_another_header_is_refused_by_name(tmp_path, header, words):
    annotate(tmp_path, "Subject_1_Story_1", staircase(30))
    write(tmp_path / FILE, f"{header}\n0.1\n0.2\n")
    table, problems = read_valence(tmp_path, parts={"Training": "Training"})
    assert set(table["session"]) == {"Subject_1_Story_1"}
    assert texts(problems) == [f"{FILE}, row 1: {words}"]
    with pytest.raises(AnnotationError, match=r"(?s)Subject_1_Story_2\.csv, row 1.*The single column 'valence'"):
        raise_all(problems, AnnotationError, summary="annotations cannot be used.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty."),
        (b"\r\n \n", "The file is empty."),
        (b"valence\n", "There is a header and no row."),
        (b"valence\n\n\n", "There is a header and no row."),
        (b"valence\n\xe9\n", "Byte 8 of the file is no UTF-8 text."),
    ],
)
def test_files_without_values_are_errors(tmp_path, content, words):
    values, problems = one(tmp_path, content)
    assert len(values) == 0
    assert texts(problems, "error") == [f"a.csv: {words}"]


def test_two_files_of_one_session_are_an_error_and_both_are_named(tmp_path):
    annotate(tmp_path, "Subject_1_Story_2", staircase(30))
    annotate(tmp_path, "Subject_1_Story_2_old", staircase(40))
    annotate(tmp_path, "Subject_01_Story_2", staircase(50))
    _, problems = read_valence(tmp_path, parts={"Training": "Training"})
    assert [text.split(": ", 1)[1] for text in texts(problems, "error")] == [
        "Subject_1_Story_2 has two files: Subject_01_Story_2.csv and Subject_1_Story_2.csv.",
        "Subject_1_Story_2 has two files: Subject_01_Story_2.csv and Subject_1_Story_2_old.csv.",
    ]


def test_a_session_in_two_parts_is_an_error_and_both_files_are_named(tmp_path):
    annotate(make_tree(tmp_path), "Subject_1_Story_2", staircase(30), part="Validation")
    _, problems = read_valence(tmp_path, parts=PARTS, hidden=["Testing"])
    assert texts(problems) == [
        f"Validation/Annotations/Subject_1_Story_2.csv: Subject_1_Story_2 is also in part 'Training': {FILE}."
    ]


def test_other_files_are_listed_once_and_hidden_ones_not_at_all(tmp_path):
    folder = make_tree(tmp_path) / "Training" / "Annotations"
    for name in ("notes.txt", "subject_1_story_2.csv", "Subject_1_Story_2.csv~", ".DS_Store", "Subject_x_Story_2.csv"):
        write(folder / name, "valence\n0\n")
    (folder / "Subject_1_Story_9.csv").mkdir()
    _, problems = read_valence(tmp_path, parts=PARTS, hidden=["Testing"])
    assert texts(problems) == [
        "Training/Annotations: 4 files were not read: Subject_1_Story_2.csv~, Subject_x_Story_2.csv, notes.txt, "
        "subject_1_story_2.csv."
    ]
    assert problems[0].severity == "warning"


def test_names_may_go_on_after_the_story(tmp_path):
    write(tmp_path / "Subject_1_Story_12_acousticFeatures.csv", "a\n1\n")
    write(tmp_path / "Subject_1_Story_1.npy", "")
    files, problems = find_session_files(tmp_path, endings=(".csv", ".npy"), show="x")
    assert list(files) == ["Subject_1_Story_1", "Subject_1_Story_12"]
    assert problems == []
    assert find_key("Subject_1_Storys_2.csv") is None


def test_a_slash_behind_a_folder_changes_nothing_and_nothing_is_written(tmp_path):
    make_tree(tmp_path)
    annotate(tmp_path, "Subject_1_Story_2", staircase(60), folder="Others")
    before = snapshot(tmp_path)
    plain, first = read_valence(tmp_path, parts=PARTS, third_party="Others", hidden=["Testing"])
    slashed = {part: f"{folder}/" for part, folder in PARTS.items()}
    other, second = read_valence(
        tmp_path / "", parts=slashed, annotations="Annotations/", third_party="Others/", hidden=["Testing"]
    )
    pd.testing.assert_frame_equal(plain, other)
    assert texts(first) == texts(second)
    assert snapshot(tmp_path) == before


def test_a_part_without_folder_or_files_is_an_error(tmp_path):
    make_tree(tmp_path)
    (tmp_path / "Empty" / "Annotations").mkdir(parents=True)
    _, problems = read_valence(tmp_path, parts={"Training": "Training", "Empty": "Empty", "None": "None"})
    assert texts(problems, "error") == [
        "Empty/Annotations: Part 'Empty' has no annotation file.",
        "None/Annotations: Part 'None' has no folder None/Annotations.",
    ]


def test_another_persons_annotation_stands_beside_the_listeners(tmp_path):
    make_tree(tmp_path)
    annotate(tmp_path, "Subject_1_Story_2", staircase(50), folder="listener_ThirdParty")
    annotate(tmp_path, "Subject_7_Story_2", staircase(60), folder="listener_ThirdParty")
    table, problems = read_valence(tmp_path, parts={"Training": "Training"}, third_party="listener_ThirdParty")
    both = table[table["session"] == "Subject_1_Story_2"]
    assert both.groupby("rater", sort=False).size().to_dict() == {"self": 60, "third_party": 50}
    assert "Subject_7_Story_2" not in set(table["session"])
    assert texts(problems, "error") == []
    assert [text.rpartition(": ")[0] or text for text in texts(problems)][1:] == [
        ": Another person's annotations without one by the listener were left out (1)",
        ": Sessions without annotation by another person (3)",
    ]
    assert "50 frames, the listener's own annotation 60" in problems[0].what


def test_another_persons_folder_that_no_part_has_is_an_error(tmp_path):
    _, problems = read_valence(make_tree(tmp_path), parts=PARTS, third_party="Others", hidden=["Testing"])
    assert texts(problems, "error") == [": No part has a folder Others."]


def test_dummies_that_vary_are_told(tmp_path):
    _, problems = read_valence(make_tree(tmp_path), parts=PARTS, hidden=["Testing", "Validation"])
    assert texts(problems, "warning") == [
        ": Part 'Validation' is named hidden, but annotations are not constant (2): Subject_10_Story_1, "
        "Subject_1_Story_1."
    ]


def test_an_annotation_shorter_than_a_step_is_told(tmp_path):
    annotate(tmp_path, "Subject_1_Story_2", staircase(24))
    _, problems = read_valence(tmp_path, parts={"Training": "Training"})
    assert texts(problems, "warning") == [f"{FILE}: The annotation has 24 frames, less than one step."]


def test_a_step_of_no_whole_number_of_frames_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"(?s)12\.5 frames.*whole number.*step_seconds"):
        read_valence(make_tree(tmp_path), parts=PARTS, fps=25, step_seconds=0.5)
