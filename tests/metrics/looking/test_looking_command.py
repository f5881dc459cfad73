"""The command line over files of the benchmark."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from nbpkg.errors import TableError
from nbpkg.metrics.looking.command import add_looking_command

GOLDEN = Path(__file__).parents[2] / "golden" / "looking_at_me"


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_looking_command(parser.add_subparsers(required=True))
    options = parser.parse_args(["looking", *map(str, arguments)])
    return int(options.command(options))


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    case = json.loads((GOLDEN / "postprocess_open.json").read_text())
    for name in ("gt_csv", "pred_csv"):
        (tmp_path / f"{name}.csv").write_text(case[name])
    return tmp_path / "gt_csv.csv", tmp_path / "pred_csv.csv"


def test_a_pair_is_scored_with_a_threshold(files, capsys):
    assert run("score", "-g", files[0], "-p", files[1]) == 0
    assert capsys.readouterr().err.startswith("mAP: 0.791667\nTOP-1 Acc:83.333%\n")
    assert run("score", "-g", files[0], "-p", files[1], "-t", 0.9, "-v", "--ties", "grouped") == 0
    said = capsys.readouterr().err
    assert "mAP: 0.791667\nTOP-1 Acc:33.333%" in said
    assert "n: 6 faces, 3 looking" in said
    assert "AP not looking: " in said


def test_warnings_are_said_when_asked_for(files, capsys):
    files[1].write_text(files[1].read_text() + files[1].read_text().splitlines()[0] + "\n")
    run("score", "-g", files[0], "-p", files[1], "-v")
    assert "answers, row 7: u1:1:t1 occurs again" in capsys.readouterr().err


def test_files_are_averaged_and_converted(files, tmp_path, capsys):
    assert run("average", files[1], files[1], "--out", tmp_path / "mean.csv") == 0
    assert (tmp_path / "mean.csv").read_text() == files[1].read_text()
    assert "6 faces, mean of 2 systems" in capsys.readouterr().err
    (tmp_path / "test.csv").write_text("u,007,1,1,0.5\n")
    assert run("submission", tmp_path / "test.csv", "--out", tmp_path / "out.json") == 0
    assert '"unique_id": "007", "track_id": "1"' in (tmp_path / "out.json").read_text()
    assert "was not checked" in capsys.readouterr().err


def test_answers_to_faces_are_no_submission(files, tmp_path):
    with pytest.raises(TableError, match="lack unique_id"):
        run("submission", files[1], "--out", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
