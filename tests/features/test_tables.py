"""Features made elsewhere: both file forms, what is odd about them, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from nbpkg.errors import MediaError
from nbpkg.features.rows import missing_rows
from nbpkg.features.tables import check_widths, read_table

PUBLISHED = "frameIndex, frameTime, loud_max, f0_min\n0, 0.0125, 1.5, 2\n1, 1.0125, 3.25, 4\n"


def test_published_sound_features_without_and_with_their_time(tmp_path):
    path = tmp_path / "Subject_1_Story_1.csv_acousticFeatures"  # the ending counts anywhere
    path.write_text(PUBLISHED)
    found = read_table(path)
    assert found.names == ["loud_max", "f0_min"]
    assert found.rows.tolist() == [[1.5, 2], [3.25, 4]]
    assert found.rows.dtype == np.float32
    assert "frameIndex, frameTime" in found.problems[0].what
    full = read_table(path, time_columns=True)
    assert full.names == ["frameIndex", "frameTime", "loud_max", "f0_min"]
    assert full.rows[:, 0].tolist() == [0, 1]
    assert full.problems == []


def test_row_numbers_that_pandas_wrote_are_time_too(tmp_path):
    (tmp_path / "a.csv").write_text(",x,y\n0,5,2\n1,6,3\n2,9,5\n")
    assert read_table(tmp_path / "a.csv").names == ["x", "y"]
    (tmp_path / "b.csv").write_text("0,1\n5,2\n6,3\n")  # columns that pandas numbered
    assert read_table(tmp_path / "b.csv").rows.tolist() == [[5, 2], [6, 3]]


def test_a_blank_row_is_a_missing_second_and_moves_nothing(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x,y\r\n1,2\r\n\r\n3,4\n,\n5,6\r\n\r\n")
    found = read_table(tmp_path / "a.csv")
    assert missing_rows(found.rows).tolist() == [False, True, False, True, False]
    assert found.rows[4].tolist() == [5, 6]
    assert found.problems == []


def test_incomplete_and_infinite_rows_become_missing_and_are_told(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,7\n3,,7\ninf,5,7\n1e300,6,7\n4,8,7\n")
    found = read_table(tmp_path / "a.csv")
    assert missing_rows(found.rows).tolist() == [False, True, True, True, False]
    text = {problem.severity: problem.what for problem in found.problems if "constant" not in problem.what}
    assert "1, 2, 3" in text["repaired"]
    assert "infinite values: x" in text["warning"]
    assert [problem.what for problem in found.problems if "constant" in problem.what] == ["Columns are constant: z."]


def test_arrays_of_more_axes_are_flattened(tmp_path):
    values = np.arange(24, dtype=np.float64).reshape(3, 2, 4)
    values[1] = np.nan
    np.save(tmp_path / "a.npy", values)
    found = read_table(tmp_path / "a.npy")
    assert found.rows.shape == (3, 8)
    assert missing_rows(found.rows).tolist() == [False, True, False]
    assert found.names[0] == "column_1"
    np.save(tmp_path / "b.npy", np.arange(4))
    assert read_table(tmp_path / "b.npy").rows.shape == (4, 1)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"x,y\n1,2\n3,four\n5,?\n", r"2 problems(.|\n)*row 3: 'four' in column 'y'(.|\n)*row 4"),
        ("a.csv", b"0.5,0.7\n1,2\n", "first line holds numbers"),
        ("a.csv", b"", "it is empty"),
        ("a.csv", b"x,y\n", "0 rows of 2 features"),
        ("a.csv", b"x,y\n1,2\n1,2,3\n", "is no table"),
        ("a.csv", b"x\n\xff\xfe\n", "UTF-8"),
        ("a.csv", b"x,y\n1,\n2,\n", "no number at all: y"),
        ("a.npy", b"hello", "is no table"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=said):
        read_table(tmp_path / name)


def test_arrays_that_could_run_something_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(MediaError, match="is no table"):
        read_table(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array(["a"]))
    with pytest.raises(MediaError, match="<U1"):
        read_table(tmp_path / "b.npy")
    with pytest.raises(MediaError, match="no file"):
        read_table(tmp_path / "c.npy")


def test_widths_that_differ_name_the_files():
    problems = check_widths({"a.npy": 4, "b.npy": 4, "c.npy": 5}, modality="audio")
    assert [(problem.file, problem.severity) for problem in problems] == [("c.npy", "error")]
    assert "4 features, as in 2 of 3 files of audio" in problems[0].expected
    assert check_widths({"a.npy": 4, "b.npy": 4}, modality="audio") == []
