"""The index over all studies: headline, chance, ceiling and methods paragraph out of receipts and tables."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from nbpkg import report
from nbpkg.overview.facts import list_facts, trace_receipts
from nbpkg.overview.headlines import CHOICES, read_headlines
from nbpkg.overview.sentences import SENTENCES
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import KINDS

PROVENANCE = {
    "nbpkg": "0.1.0",
    "git_commit": "abcdef0123",
    "git_changes_sha256": "",
    "python": "3.11.0",
    "packages": {"torch": "2.11.0"},
}


def row(**own):
    base = {"task": "mine", "variable": "full", "by": "all", "name": "", "role": "test", "metric": "macro_f1"}
    numbers = {"value": 0.7, "low": 0.6, "high": 0.8, "chance": 0.2, "ceiling": 0.9, "n": 40, "n_groups": 4}
    return {**base, "direction": "higher", **numbers, "reason": "", **own}


@pytest.fixture
def write(tmp_path):
    """Write the receipt and tables of one step of an experiment of several people."""

    def write(folder, stage, *, key, inputs=None, metrics=None, settings=None, phase="", kind="people", tables=None):
        place = tmp_path / "joint_engagement" / "mine" / folder
        run = place / "runs" / key[:8]
        run.mkdir(parents=True)
        receipt = {"state": "done", "study": "joint_engagement", "kind": kind, "experiment": "mine", "stage": stage}
        receipt |= {"phase": phase, "settings": settings or {}, "seed": 7, "inputs": inputs or {}, "key": key}
        receipt |= {"run": f"runs/{key[:8]}", "metrics": metrics or {}, "outputs": {}, "checks": [], "warnings": []}
        receipt |= {"provenance": PROVENANCE, "ended": "2026-01-02T03:04:05+00:00", "seconds": 3, "dropped": 0}
        for path in (run / "receipt.json", place / "receipt.json"):
            path.write_text(json.dumps(receipt))
        for name, rows in (tables or {}).items():
            pd.DataFrame(rows).to_csv(run / f"{name}.csv", index=False)
        return receipt, run

    return write


def entry(key):
    return {"experiment": "mine", "key": key, "ended": "", "artefacts": {}}


def test_every_kind_has_a_headline_and_sentences():
    assert set(KINDS) <= set(CHOICES)
    assert set(CHOICES) == set(SENTENCES)


def test_the_headline_is_the_experiments_own_on_the_test_sessions(write):
    rows = [
        row(task="other", value=0.99),
        row(role="validation", value=0.98),
        row(variable="no_memory", value=0.97),
        row(metric="auc", value=0.96),
        row(by="fold", name="1", value=0.95),
        row(),
    ]
    (found,) = read_headlines(*write("06_evaluate", "evaluate", key="a" * 64, tables={"metrics": rows}))
    assert (found.value, found.low, found.high, found.chance, found.ceiling) == (0.7, 0.6, 0.8, 0.2, 0.9)
    assert (found.measure, found.role, found.n, found.n_groups) == ("macro F1", "test", 40, 4)


def test_without_test_scores_the_headline_says_it_is_of_folds_left_out(write):
    rows = [row(role="validation", value=0.5), row(value=float("nan"))]
    (found,) = read_headlines(*write("06_evaluate", "evaluate", key="b" * 64, tables={"metrics": rows}))
    assert (found.role, found.value) == ("validation", 0.5)


def test_scores_of_face_tracks_are_those_of_the_experiments_own_network(write):
    own = {"task": "looking", "metric": "map", "variable": "mine"}
    rows = [row(**own), row(**{**own, "metric": "accuracy"}, value=0.8), row(**{**own, "variable": "size"}, value=0.4)]
    (found,) = read_headlines(*write("06_evaluate", "evaluate", key="c" * 64, kind="tracks", tables={"metrics": rows}))
    assert (found.measure, found.value, found.role) == ("mean average precision", 0.7, "test")


def test_numbers_beyond_the_line_make_it_longer(write):
    rows = [row(value=0.0, low=-1.0, high=0.5, chance=0.0, ceiling=1.0)]
    (found,) = read_headlines(*write("06_evaluate", "evaluate", key="d" * 64, tables={"metrics": rows}))
    assert found.marks == {"low": 0.0, "high": 75.0, "value": 50.0, "chance": 50.0, "ceiling": 100.0}


def make_experiment(write):
    """An experiment whose 01 was run again after its 06, with other data."""
    early, late = "1" * 64, "2" * 64
    numbers = {"recordings": 4, "families": 4, "commonest class": 0.5}
    write("01_parse", "parse", key=early, metrics={"clips": 1234, **numbers})
    folds = [
        {"session": f"s{n}", "group": f"g{n // 2}", "fold": n // 4, "role": "test" if n > 3 else "train"}
        for n in range(6)
    ]
    dealt = {"scheme": "families", "folds": 2}
    inputs = {"parse": entry(early)}
    write("03_stratify", "stratify", key="3" * 64, inputs=inputs, settings=dealt, tables={"folds": folds})
    again = {"parse": entry(early), "stratify": entry("3" * 64), "system_other": entry("9" * 64)}
    made = write(
        "06_evaluate",
        "evaluate",
        key="6" * 64,
        inputs=again,
        settings={"resamples": 500},
        tables={"metrics": [row(ceiling=float("nan"))]},
    )
    write("01_parse", "parse", key=late, metrics={"clips": 99, **numbers})
    return made


def test_facts_are_those_of_the_runs_that_the_scores_rest_on(write, tmp_path):
    receipt, _ = make_experiment(write)
    facts = list_facts(trace_receipts(receipt, tmp_path / "joint_engagement"))
    assert facts["parse:clips"] == 1234
    assert (facts["folds:train sessions"], facts["folds:train groups"]) == (4, 2)
    assert (facts["folds:test sessions"], facts["folds:test groups"]) == (2, 1)


def test_the_index_carries_headline_and_paragraph_and_loads_nothing(write, tmp_path):
    make_experiment(write)
    page = report.write_index(tmp_path).read_text(encoding="utf-8")
    (told,) = re.findall(r'<p class="methods"><strong>[^<]*</strong>(.*?)</p>', page)
    assert "1,234 clips in 4 recordings of 4 families were read" in told
    assert "4 sessions of 2 families were learnt from; 2 sessions of 1 families were kept for the test." in told
    assert "macro F1 was 0.700 (95 % interval 0.600 to 0.800; n = 40 clips of 4 families; chance 0.200)." in told
    assert "Intervals come from 500 bootstrap samples of families." in told
    assert "seed 7" in told
    assert "code abcdef01)" in told
    assert "PyTorch 2.11.0" in told
    assert "{" not in told
    assert "intraclass" not in told, "a sentence whose number is not known"
    assert '<td class="number"><b>0.700</b></td>' in page
    assert "0.600 to 0.800" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


def test_an_experiment_without_scores_has_no_headline(write, tmp_path):
    write("01_parse", "parse", key="1" * 64)
    page = report.write_index(tmp_path).read_text(encoding="utf-8")
    assert "<table>" not in page
    assert 'class="methods"' not in page
    assert "01_parse" in page


@pytest.mark.demo
def test_the_demos_headline_is_its_table(demo):
    receipt = read_json(demo / "06_evaluate" / "receipt.json")
    run = demo / "06_evaluate" / receipt["run"]
    metrics = pd.read_csv(run / "metrics.csv").query("metric == 'balanced_accuracy' and by == 'all'")
    found = read_headlines(receipt, run)
    assert [one.value for one in found] == metrics["value"].tolist()
    assert [one.label for one in found] == (metrics["task"] + ", " + metrics["variable"]).tolist()
