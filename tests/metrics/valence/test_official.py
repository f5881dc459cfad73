"""The challenge's report, and its files, against the source system and with what is wrong with files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbpkg.errors import TableError
from nbpkg.metrics.valence.files import in_file_order, read_courses, write_prediction_files
from nbpkg.metrics.valence.official import report_scores, score_courses, score_folders, write_report

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "valence_fusion" / "scorer_open.json").read_text())


@pytest.fixture
def folders(tmp_path):
    """Truth and answers of the source system's case, as files."""
    for side in ("true", "pred"):
        (tmp_path / side).mkdir()
        for name, case in GOLDEN["files"].items():
            (tmp_path / side / name).write_text("valence\r\n" + "".join(f"{value}\r\n" for value in case[side]))
    (tmp_path / "true" / ".DS_Store").write_text("x")  # stands between files, and names no session
    (tmp_path / "pred" / "#Subject_1_Story_3.csv#").write_text("x")
    return tmp_path / "true", tmp_path / "pred"


@pytest.mark.parametrize("edge", ["zero", "nan"])
def test_report_as_published(folders, edge):
    report = score_folders(*folders, edge=edge)
    assert [f"{name}.csv" for name in report.scores["session"]] == GOLDEN["order"]
    wanted = [GOLDEN["files"][name]["ccc"] for name in GOLDEN["order"]]
    np.testing.assert_allclose(report.scores["ccc"], wanted, rtol=0, atol=1e-8)
    for track, ids, means, std in (
        ("personalized", "subjects", "personalized_per_subject", "std_subject_means_ddof0"),
        ("generalized", "stories", "generalized_per_story", "std_story_means_ddof0"),
    ):
        found = [report.value(track, str(one)) for one in GOLDEN[ids]]
        np.testing.assert_allclose(found, GOLDEN[means], rtol=0, atol=1e-8)
        assert report.value(track) == pytest.approx(GOLDEN["mean"], abs=1e-8)
        assert report.value(track, "Std") == pytest.approx(GOLDEN[std], abs=1e-8)
    assert report.value("all", "Std") == pytest.approx(GOLDEN["std_all_ddof0"], abs=1e-8)


def test_text_as_published_and_with_real_names(folders):
    report = score_folders(*folders)
    assert write_report(report, labels="numbers") == GOLDEN["stdout"]
    text = write_report(report)
    assert "Subjects   | Story 3 | Story 6 | " in text
    assert "Subject 10 | 0.59    | 0.60    | " in text
    assert "Story 6 | 0.63" in text


def test_files_are_paired_by_name_not_by_place(folders):
    truth, answers = folders
    for path in sorted(answers.glob("*.csv")):
        path.rename(path.with_name(f"{path.stem}_our_team.csv"))  # sorts otherwise than the truth's names
    assert score_folders(truth, answers).value("all") == pytest.approx(GOLDEN["mean"], abs=1e-8)


def test_grids_with_gaps_are_reported(folders):
    for folder in folders:
        (folder / "Subject_2_Story_3.csv").unlink()
    report = score_folders(*folders)
    cell = {name[:-4]: case["ccc"] for name, case in GOLDEN["files"].items()}
    assert report.value("personalized", "2") == pytest.approx(cell["Subject_2_Story_6"], abs=1e-8)
    stories = [(cell["Subject_1_Story_3"] + cell["Subject_10_Story_3"]) / 2, GOLDEN["generalized_per_story"][1]]
    assert report.value("generalized") == pytest.approx(np.mean(stories), abs=1e-8)
    assert "Subject 2  | -       | 0.64    | " in write_report(report)


def test_a_withheld_truth_is_labelled_and_enters_no_average():
    moving = np.array([0.0, 0.5, 1.0, 0.5])
    truth = {"Subject_1_Story_3": np.zeros(4), "Subject_1_Story_6": moving, "Subject_2_Story_6": moving}
    answers = {"Subject_1_Story_3": moving, "Subject_1_Story_6": moving, "Subject_2_Story_6": np.full(4, 0.5)}
    report = score_courses(truth, answers)
    by_session = report.scores.set_index("session")
    assert by_session["withheld"].tolist() == [True, False, False]
    assert "dummy" in by_session.loc["Subject_1_Story_3", "reason"]
    assert by_session.loc["Subject_2_Story_6", ["ccc", "reason"]].tolist() == [0.0, "the answer is constant"]
    assert report.value("all") == pytest.approx(0.5)
    assert "3" not in set(report.tracks.loc[report.tracks["track"] == "generalized", "name"])
    assert math.isnan(score_courses(truth, answers, edge="nan").value("all"))  # as published
    with pytest.raises(TableError, match="No session can be averaged"):
        score_courses({"Subject_1_Story_3": np.zeros(4)}, {"Subject_1_Story_3": moving})


def test_every_file_that_does_not_fit_is_named(folders):
    truth, answers = folders
    short = answers / "Subject_1_Story_6.csv"
    short.write_text("\n".join(short.read_text().splitlines()[:-1]))
    (answers / "Subject_2_Story_6.csv").unlink()
    (truth / "Subject_10_Story_3.csv").unlink()
    with pytest.raises(TableError) as caught:
        score_folders(truth, answers)
    said = str(caught.value)
    assert "Subject_1_Story_6.csv: The answer has 37 frames, the truth 38." in said
    assert "Subject_2_Story_6.csv: There is no answer to it." in said
    assert "Subject_10_Story_3.csv: There is no truth for this answer." in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("valence\n0.1\n\n0.2\n", "row 3: A row is blank"),
        ("0.1\n0.2\n", "Its header is '0.1'"),
        ("valence\n0.1\nhigh\n", "row 3: 'high' is no number"),
        ("valence\n0.1\ninf\n", "'inf' is no number"),
        ("valence\n", "It has no row"),
        ("", "Its header is ''"),
    ],
)
def test_files_that_would_shift_or_lose_frames_are_refused(tmp_path, content, said):
    (tmp_path / "Subject_1_Story_2.csv").write_text(content)
    with pytest.raises(TableError) as caught:
        read_courses(tmp_path)
    assert said in str(caught.value)
    assert "Subject_1_Story_2.csv" in str(caught.value)


def test_mixed_line_ends_and_missing_values_are_read(tmp_path):
    (tmp_path / "Subject_01_Story_2.csv").write_bytes(b'\xef\xbb\xbfvalence\r\n0.1\nnan\r""\r\n-1\r\n\r\n')
    found = read_courses(tmp_path)
    np.testing.assert_array_equal(found["Subject_1_Story_2"], [0.1, np.nan, np.nan, -1])


def test_two_files_of_one_session_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(TableError, match="No file of valence"):
        read_courses(tmp_path)
    for name in ("Subject_1_Story_2.csv", "Subject_1_Story_2_again.csv"):
        (tmp_path / name).write_text("valence\n0.1\n")
    with pytest.raises(TableError, match="second file"):
        read_courses(tmp_path)
    with pytest.raises(TableError, match="folder is not there"):
        read_courses(tmp_path / "gone")


def predictions(**columns) -> pd.DataFrame:
    table = pd.DataFrame({"session": "Subject_10_Story_4", "step": [1, 0, 2], "predicted": [-1 / 3, 0.1, 2.0]})
    same = {"system": "a", "round": "final", "role": "test", "subject": "10", "story": "4", "truth": 0.0}
    return table.assign(**same).assign(**columns)


def test_prediction_files_are_as_published_and_read_back(tmp_path):
    found = write_prediction_files(
        predictions(), {"Subject_10_Story_4": 5}, folder=tmp_path / "pred_test", ratio=2, pad="hold"
    )
    assert [path.name for path in found] == ["Subject_10_Story_4.csv"]
    assert found[0].read_bytes() == b"valence\n0.1\n0.1\n-0.33333334\n-0.33333334\n2.0\n"
    as_pandas = pd.DataFrame({"valence": np.array([0.1, 0.1, -1 / 3, -1 / 3, 2], np.float32)}).to_csv(index=False)
    assert found[0].read_text() == as_pandas
    assert len(read_courses(tmp_path / "pred_test")["Subject_10_Story_4"]) == 5


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"system": ["a", "a", "b"]}, "several systems: a, b"),
        ({"session": "Subject_1_Story_1"}, "Subject_1_Story_1"),
        ({"predicted": np.nan}, "no finite answer"),
    ],
)
def test_predictions_that_make_no_files_are_refused(tmp_path, columns, said):
    with pytest.raises(TableError, match=said):
        write_prediction_files(predictions(**columns), {"Subject_10_Story_4": 5}, folder=tmp_path, ratio=2)
    assert not list(tmp_path.iterdir())


def test_a_session_cannot_write_elsewhere(tmp_path):
    with pytest.raises(TableError, match="cannot name a file"):
        write_prediction_files(predictions(session="../x"), {"../x": 5}, folder=tmp_path / "out", ratio=2)


def test_files_go_in_the_published_order():
    names = ["Subject_1_Story_2", "Subject_10_Story_1", "Subject_2_Story_1"]
    assert in_file_order(names) == ["Subject_10_Story_1", "Subject_1_Story_2", "Subject_2_Story_1"]


def test_scores_of_one_subject_and_story_twice_are_refused():
    rows = pd.DataFrame({"subject": ["1", "1"], "story": ["2", "2"], "ccc": [0.1, 0.2]})
    with pytest.raises(TableError, match="Subject 1, story 2 occurs twice"):
        report_scores(rows)
