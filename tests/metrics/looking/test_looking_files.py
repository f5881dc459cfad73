"""Files of the benchmark: read, matched by face, averaged, written to the letter, submitted with ids intact."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.errors import TableError
from nbpkg.metrics.looking.command import average_files, convert_submission, score_files
from nbpkg.metrics.looking.files import (
    ANSWERS,
    average_answers,
    match_answers,
    read_answers,
    read_truth,
    write_answers,
    write_truth,
)
from nbpkg.metrics.looking.precision import format_reference, score_answers
from nbpkg.metrics.looking.submission import check_submission, find_problems, make_submission, write_submission

GOLDEN = Path(__file__).parents[2] / "golden" / "looking_at_me"
NEAR = 1e-12


def load(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}_open.json").read_text())


METRICS = load("metrics")
# what the published program says of input that we refuse too
REFUSED = {
    "prediction_row_missing": "v1:22:track_2 has no answer",
    "box_mismatch": "box of v1:16:track_1 is another",
    "nan_score": "has no score",
    "pred_label_not_1": "label other than 1",
}


def write_rows(rows: list, path: Path) -> Path:
    lines = (",".join("" if value is None or value != value else str(value) for value in row) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def pair(tmp_path):
    """Write a golden pair of files."""

    def make(name: str) -> tuple[Path, Path]:
        case = METRICS[name]
        return write_rows(case["gt"], tmp_path / "gt.csv"), write_rows(case["pred"], tmp_path / "pred.csv")

    return make


@pytest.mark.parametrize(
    "name", [name for name, case in METRICS.items() if "error" not in case["result_stable_sort"]]
)  # fmt: skip
def test_golden_scores_of_file_pairs(name, pair):
    case = METRICS[name]
    wanted = case["result_stable_sort"]
    truth, answers = pair(name)
    matched, _ = match_answers(read_truth(truth), read_answers(answers))
    found = score_answers(matched["label"], matched["score"], threshold=case["threshold"], compat=True)
    for value, key in ((found.mean_precision, "mAP"), (found.looking, "AP_looking")):
        assert value == pytest.approx(wanted[key], abs=NEAR, nan_ok=True)
    assert found.not_looking == pytest.approx(wanted["AP_not_looking"], abs=NEAR, nan_ok=True)
    assert format_reference(found) == wanted["printed"]
    if not math.isnan(wanted["mAP"]):
        assert score_files(truth, answers, threshold=case["threshold"]) == wanted["printed"]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_golden_pairs_that_do_not_fit_are_refused_with_their_rows(name, pair):
    assert "error" in METRICS[name]["result_stable_sort"]
    with pytest.raises(TableError, match=REFUSED[name]) as caught:
        score_files(*pair(name))
    assert "row " in str(caught.value)


@pytest.mark.parametrize("name", ["all_positive", "all_negative"])
def test_golden_pairs_of_one_class_are_scored_by_that_class(name, pair):
    text = score_files(*pair(name))
    assert "No sample is" in text
    assert "mAP is that of the other class alone" in text
    assert "nan" not in text.splitlines()[0]
    matched, _ = match_answers(*(read(path) for read, path in zip((read_truth, read_answers), pair(name), strict=True)))
    with pytest.raises(TableError, match="recall is undefined"):
        score_answers(matched["label"], matched["score"], compat=True)


def test_golden_pair_with_numeric_ids_is_scored(pair):
    truth, answers = pair("numeric_ids")
    assert set(read_truth(truth)["track"]) <= {str(row[6]) for row in METRICS["numeric_ids"]["gt"]}
    assert score_files(truth, answers).startswith("mAP: 0.")


def test_golden_files_written_to_the_letter(tmp_path):
    case = load("postprocess")
    scores = torch.softmax(torch.tensor(case["logits"]), dim=1)[:, 1].numpy()
    assert scores.dtype == np.float32
    boxes = dict(zip(("x1", "y1", "x2", "y2"), case["boxes_x1y1x2y2"], strict=True))
    ids = {"uid": case["uid"], "frame": case["frame"], "track": case["track"]}
    table = pd.DataFrame({**ids, **boxes, "label": case["label"], "score": scores.astype(np.float64)})
    truth, answers = write_truth(table, tmp_path / "gt.csv"), write_answers(table, tmp_path / "pred.csv")
    assert truth.read_text() == case["gt_csv"]
    assert answers.read_text() == case["pred_csv"]
    assert score_files(truth, answers) == case["printed"]
    matched, _ = match_answers(read_truth(truth), read_answers(answers))
    assert score_answers(matched["label"], matched["score"]).mean_precision == pytest.approx(case["mAP"], abs=NEAR)
    test = table[["uid", "track", "score"]].assign(unique_id=case["test_unique"])
    assert write_answers(test, tmp_path / "test.csv").read_text() == case["test_pred_csv"]
    assert read_answers(answers)["score"].tolist() == scores.astype(float).tolist()


@pytest.mark.parametrize("shuffled", [False, True])
def test_golden_average_is_by_face(tmp_path, shuffled):
    case = load("ensemble")
    random = np.random.default_rng(0)
    paths = []
    for number, scores in enumerate(case["scores_per_model"]):
        rows = [[*row[:7], 1, score] for row, score in zip(case["gt"], scores, strict=True)]
        if shuffled and number:
            rows = [rows[place] for place in random.permutation(len(rows))]
        paths.append(write_rows(rows, tmp_path / f"pred{number}.csv"))
    assert average_files(paths, tmp_path / "pred.csv") == len(case["gt"])
    assert (tmp_path / "pred.csv").read_text() == case["pred_csv"]
    assert score_files(write_rows(case["gt"], tmp_path / "gt.csv"), tmp_path / "pred.csv") == case["printed"]


def test_golden_submission(tmp_path):
    case = load("csv_to_json")
    (tmp_path / "pred.csv").write_text(case["pred_csv"])
    count = convert_submission(tmp_path / "pred.csv", tmp_path / "out.json")
    assert (tmp_path / "out.json").read_text() == case["json_text"]
    assert json.loads(case["json_text"]) == case["json"]
    assert check_submission(tmp_path / "out.json") == count == len(case["json"]["results"])


def test_ids_that_look_like_numbers_stay_text(tmp_path):
    case = load("csv_to_json_numeric")
    (tmp_path / "pred.csv").write_text(case["pred_csv"] + "007,1e3,0x1,1,0.25\n")
    convert_submission(tmp_path / "pred.csv", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [one["unique_id"] for one in found] == ["00012", "00013", "1e3"]
    assert [one["track_id"] for one in found] == ["7", "7", "0x1"]
    assert found[2]["video_id"] == "007"
    assert [one["unique_id"] for one in case["json"]["results"]] == [12, 13]  # the damage that was published


def rows_of(count: int, *, score: float = 0.5) -> list:
    return [["u", frame, 1.5, 2.5, 3.5, 4.5, f"t:{frame % 2}", 1, score] for frame in range(count)]


def test_every_problem_of_a_file_is_named_at_once(tmp_path):
    rows = rows_of(6)
    rows[1] = rows[1][:-1]
    rows[2][1] = "3.5"
    rows[3][2] = "wide"
    rows[4][6] = ""
    rows[5][8] = "inf"
    with pytest.raises(TableError, match="5 problems") as caught:
        read_answers(write_rows(rows, tmp_path / "pred.csv"))
    for text in ("row 2: There are 8 columns", "'frame' holds '3.5'", "'x1' holds 'wide'", "'track' holds ''", "'inf'"):
        assert text in str(caught.value)


def test_labels_other_than_0_and_1_are_refused(tmp_path):
    rows = [row[:8] for row in rows_of(3)]
    rows[2][7] = 2
    with pytest.raises(TableError, match="row 3: Label 2 is unknown"):
        read_truth(write_rows(rows, tmp_path / "gt.csv"))


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe,1\n", b"\n\n"])
def test_files_that_hold_nothing(tmp_path, content):
    path = tmp_path / "gt.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TableError):
        read_truth(path)


def test_files_that_do_not_match_name_faces_of_both(tmp_path):
    truth = [row[:8] for row in rows_of(4)]
    answers = rows_of(4)
    answers[0][0], answers[1][8], answers[3][7] = "other", "", 0
    gt, pred = write_rows(truth, tmp_path / "gt.csv"), write_rows(answers, tmp_path / "pred.csv")
    with pytest.raises(TableError, match="4 problems") as caught:
        score_files(gt, pred)
    for text in ("u:0:t:0 has no answer", "other:0:t:0 has no label", "u:1:t:1 has no score", "u:3:t:1 has a label"):
        assert text in str(caught.value)


def test_answers_to_test_pictures_cannot_be_scored(tmp_path):
    gt = write_rows([row[:8] for row in rows_of(1)], tmp_path / "gt.csv")
    with pytest.raises(TableError, match="test pictures"):
        score_files(gt, write_rows([["u", "1", "t", 1, 0.5]], tmp_path / "pred.csv"))


def test_order_of_rows_is_that_of_the_labels(tmp_path):
    rows = rows_of(5)
    for place, row in enumerate(rows):
        row[8] = place / 10
    truth = read_truth(write_rows([row[:8] for row in rows], tmp_path / "gt.csv"))
    matched, notes = match_answers(truth, read_answers(write_rows([*rows[::-1], rows[0]], tmp_path / "pred.csv")))
    assert matched["score"].tolist() == [0, 0.1, 0.2, 0.3, 0.4]
    assert [(note.what, note.row) for note in notes] == [("u:0:t:0 occurs again; its first row counts.", 6)]


def test_averages_of_other_faces_are_refused(tmp_path):
    first, second = rows_of(3), rows_of(3)
    second[0][0], second[2][2] = "v", 9.0
    tables = [read_answers(write_rows(rows, tmp_path / f"{k}.csv")) for k, rows in enumerate((first, second))]
    with pytest.raises(TableError, match="3 problems") as caught:
        average_answers(tables)
    assert "file 2, row 3: The box of u:2:t:0" in str(caught.value)
    test = read_answers(write_rows([["u", "1", "t", 1, 0.5]], tmp_path / "test.csv"))
    with pytest.raises(TableError, match="mixed"):
        average_answers([tables[0], test])
    with pytest.raises(TableError, match="no answers"):
        average_answers([])


def test_test_pictures_are_averaged_too(tmp_path):
    rows = [["u", "01", "t", 1, 0.25], ["u", "02", "t", 1, 0.5]]
    paths = [write_rows(rows, tmp_path / "a.csv"), write_rows(rows[::-1], tmp_path / "b.csv")]
    average_files(paths, tmp_path / "mean.csv")
    assert (tmp_path / "mean.csv").read_text() == "u,01,t,1,0.25\nu,02,t,1,0.5\n"


def test_missing_scores_are_not_written(tmp_path):
    table = pd.DataFrame({name: [1] for name in ANSWERS}).assign(score=np.nan)
    with pytest.raises(TableError, match="no finite score"):
        write_answers(table, tmp_path / "pred.csv")
    with pytest.raises(TableError, match="lacks score"):
        write_answers(table.drop(columns="score"), tmp_path / "pred.csv")
    assert not list(tmp_path.iterdir())


def test_every_test_picture_is_answered_once(tmp_path):
    for track, name in (("t1", "00001_0a.jpg"), ("t1", "00002_b_c.jpg"), ("t:2", "00001_d.jpg")):
        (tmp_path / "pictures" / "u" / track).mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / "u" / track / name).touch()
    rows = [["u", "0a", "t1", 1, 0.5], ["u", "b_c", "t1", 1, 0.5], ["u", "d", "t:2", 1, 0.5]]
    out, pictures = tmp_path / "out.json", tmp_path / "pictures"
    assert convert_submission(write_rows(rows, tmp_path / "p.csv"), out, pictures=pictures) == 3
    out.unlink()
    rows[2] = ["u", "e", "t:2", 1, 0.5]
    with pytest.raises(TableError, match="2 problems") as caught:
        convert_submission(write_rows(rows, tmp_path / "p.csv"), out, pictures=pictures)
    assert "u:t:2:d is not answered" in str(caught.value)
    assert "u:t:2:e is no test picture" in str(caught.value)
    assert not out.exists()
    with pytest.raises(TableError, match="answered 2 times"):
        convert_submission(write_rows([*rows[:2], rows[0]], tmp_path / "p.csv"), out)
    (pictures / "u" / "t1" / "00003.jpg").touch()
    with pytest.raises(TableError, match="another form"):
        convert_submission(write_rows(rows, tmp_path / "p.csv"), out, pictures=pictures)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("score", 1.5, "'score' is 1.5"),
        ("score", float("nan"), "'score' is nan"),
        ("score", "0.5", "'score' is '0.5'"),
        ("label", 0, "'label' is 0"),
        ("track_id", 7, "'track_id' is 7"),
        ("more", 1, "other fields"),
    ],
)
def test_wrong_fields_of_a_submission_are_found(field, value, text, tmp_path):
    answers = pd.DataFrame({"uid": ["u"], "unique_id": ["1"], "track": ["t"], "label": [1], "score": [0.5]})
    content = make_submission(answers)
    content["results"][0][field] = value
    assert text in find_problems(content)[0].what
    with pytest.raises(TableError, match="cannot be submitted"):
        check_submission(write_submission(content, tmp_path / "out.json"))


def test_a_submission_needs_its_head(tmp_path):
    assert "no list of results" in find_problems([])[0].what
    assert [one.what for one in find_problems({"version": "2", "challenge": "ego4d_looking_at_me", "results": []})] == [
        "Field 'version' is '2'."
    ]
    with pytest.raises(TableError, match="cannot be read"):
        check_submission(tmp_path / "none.json")
    with pytest.raises(TableError, match="lack unique_id"):
        make_submission(pd.DataFrame({"uid": ["u"], "track": ["t"], "score": [0.5]}))
