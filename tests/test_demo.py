"""What one `make demo` leaves behind: receipts, artefacts, lineage, notebooks, reports and honest numbers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from nbpkg import report, tables
from nbpkg.runs import NODES
from nbpkg.runs.files import read_json, sha256
from nbpkg.training.storage import load_heads

pytestmark = pytest.mark.demo
# Test balanced accuracy of `attending`, mean over the tasks: above chance, not better than planted noise allows.
ATTENDING = (0.6, 0.95)
LARGEST_REPORT = 8_000_000
each_stage = pytest.mark.parametrize("name", NODES)


def run_of(demo: Path, name: str) -> Path:
    """Run folder that the stage's receipt names."""
    folder = demo / NODES[name].folder
    return folder / read_json(folder / "receipt.json")["run"]


def table_of(demo: Path, stage: str, table: str):
    return tables.read(run_of(demo, stage) / f"{table}.csv", table)


class Page(HTMLParser):
    """What a page loads, where it leads and what it is called."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.scripts: list[str] = []
        self.title = ""
        self._in_title = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self._in_title = tag == "title" or (self._in_title and tag != "svg")
        if tag == "a":
            self.leads.append(values.get("href", ""))
        elif "href" in values and tag == "link":
            self.loads.append(values["href"])
        self.loads += [values[name] for name in ("src", "srcset", "data", "poster") if name in values]
        if tag == "script" and "src" in values:
            self.scripts.append(values["src"])

    def handle_endtag(self, tag):
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data):
        self.title += data if self._in_title else ""


@each_stage
class TestEveryStage:
    def test_every_stage_has_receipt_log_notebook_and_report(self, demo, name):
        folder = demo / NODES[name].folder
        receipt, run = read_json(folder / "receipt.json"), run_of(demo, name)
        assert receipt == read_json(run / "receipt.json")
        assert (receipt["state"], receipt["stage"], receipt["experiment"]) == ("done", name, "sample")
        assert not (run / "receipt.running.json").exists()
        assert receipt["checks"]
        assert [check for check in receipt["checks"] if not check["held"]] == []
        log = (folder / "log.txt").read_text(encoding="utf-8")
        assert "Traceback" not in log
        assert "failed" not in log
        for path in (folder / "executed.ipynb", run / "executed.ipynb", run / "report.html"):
            assert path.stat().st_size > 0, path

    def test_every_output_of_the_receipt_is_there_unchanged(self, demo, name):
        run = run_of(demo, name)
        outputs = read_json(run / "receipt.json")["outputs"]
        assert outputs
        for file, entry in outputs.items():
            assert (run / file).stat().st_size == entry["bytes"], file
            assert sha256(run / file) == entry["sha256"], file

    def test_no_half_written_file_stays(self, demo, name):
        assert [path for path in (demo / NODES[name].folder).rglob("*") if ".partial" in path.name] == []

    def test_every_table_keeps_its_contract(self, demo, name):
        run = run_of(demo, name)
        found = sorted(run.glob("*.csv"))
        assert found
        for path in found:
            rows = read_json(run / "receipt.json")["outputs"][path.name]["rows"]
            assert len(tables.read(path, path.stem)) == rows

    def test_inputs_are_what_the_stages_before_made(self, demo, name):
        inputs = read_json(run_of(demo, name) / "receipt.json")["inputs"]
        assert list(inputs) == list(NODES[name].reads)
        for earlier, entry in inputs.items():
            made = read_json(run_of(demo, earlier) / "receipt.json")
            assert entry["key"] == made["key"]
            assert set(entry["artefacts"]) == set(NODES[name].reads[earlier])
            for file, digest in entry["artefacts"].items():
                assert made["outputs"][file]["sha256"] == digest, file

    def test_the_executed_notebook_ran_through_and_holds_no_widgets(self, demo, name):
        content = nbformat.read(run_of(demo, name) / "executed.ipynb", as_version=4)
        assert "widgets" not in content.metadata
        for cell in content.cells:
            if cell.cell_type != "code":
                continue
            assert cell.execution_count is not None, cell.source
            for output in cell.outputs:
                assert output.output_type != "error"
                assert not any("widget" in kind for kind in output.get("data", {}))

    def test_the_report_opens_offline(self, demo, name):
        path = run_of(demo, name) / "report.html"
        page, text = Page(path), path.read_text(encoding="utf-8")
        assert path.stat().st_size < LARGEST_REPORT
        assert [address for address in page.loads if address and not address.startswith(("data:", "#"))] == []
        assert re.findall(r"@import[^;]*|url\(\s*[\"']?https?:[^)]*\)", text) == []
        assert re.findall(r"\b(?:import\(|from\s|require\()\s*[\"']https?:[^\"']*", text) == []

    def test_the_report_carries_the_notebooks_title(self, demo, name, root):
        stored = nbformat.read(root / "notebooks" / f"{NODES[name].notebook}.ipynb", as_version=4)
        title = stored.cells[0].source.splitlines()[0].removeprefix("# ")
        assert Page(run_of(demo, name) / "report.html").title.strip() == title


def test_a_report_made_now_has_no_script_from_a_file(demo, tmp_path):
    path = report.write_report(run_of(demo, "train") / "executed.ipynb", tmp_path / "report.html")
    assert Page(path).scripts == []


@pytest.mark.parametrize("index", ["index.html", "../../index.html"])
def test_every_link_and_picture_of_the_index_is_there(demo, index):
    path = (demo / index).resolve()
    if not path.is_file():
        pytest.fail(f"{path} is missing: `make demo` writes it")
    page = Page(path)
    reports = [address for address in page.leads if address.endswith("report.html")]
    assert {f"{NODES[name].folder}/{run_of(demo, name).relative_to(demo / NODES[name].folder)}" for name in NODES} <= {
        str((path.parent / address).resolve().parent.relative_to(demo.resolve()))
        for address in reports
        if (path.parent / address).resolve().is_relative_to(demo.resolve())
    }
    for address in (*page.leads, *page.loads):
        assert (path.parent / address).is_file(), address


class TestHonestNumbers:
    def test_no_participant_is_in_two_folds(self, demo):
        folds, samples = table_of(demo, "stratify", "folds"), table_of(demo, "stratify", "samples")
        dealt = samples.merge(folds, on="session", suffixes=("", "_of_fold"))
        assert len(dealt) == len(samples)
        assert (dealt["group"] == dealt["group_of_fold"]).all()
        assert (dealt.groupby("group")["fold"].nunique() == 1).all()
        assert (folds.groupby("fold")["role"].nunique() == 1).all()
        assert folds.loc[folds["role"] == "test", "fold"].unique().tolist() == [folds["fold"].max()]
        assert samples.groupby("group")["session"].nunique().max() > 1, "no child came twice: this shows nothing"

    def test_no_test_session_trained_a_head(self, demo):
        folds = table_of(demo, "stratify", "folds")
        test = set(folds.loc[folds["role"] == "test", "session"])
        samples = table_of(demo, "stratify", "samples")
        heads = load_heads(run_of(demo, "train") / "heads.safetensors")
        assert set(heads) == set(samples[["task", "variable"]].itertuples(index=False, name=None))
        for head in heads.values():
            assert head.sessions
            assert not set(head.sessions) & test
        assert set(table_of(demo, "train", "history")["fold"]) <= {"none", *map(str, range(folds["fold"].max()))}

    def test_the_test_fold_is_large_enough_to_say_something(self, demo):
        predictions, folds = table_of(demo, "evaluate", "predictions"), table_of(demo, "stratify", "folds")
        test = set(folds.loc[folds["role"] == "test", "session"])
        assert set(predictions["session"]) == test
        assert len(test) >= 4
        clips = predictions.groupby(["task", "variable"])[["session", "start_ms"]].apply(
            lambda part: part.drop_duplicates()
        )
        assert clips.groupby(["task", "variable"]).size().min() >= 30

    def test_every_test_sample_is_answered_once_with_its_label(self, demo):
        predictions, samples = table_of(demo, "evaluate", "predictions"), table_of(demo, "stratify", "samples")
        both = predictions.merge(samples, on="sample_id", suffixes=("", "_stated"), validate="one_to_one")
        assert len(both) == len(predictions) == samples["session"].isin(predictions["session"]).sum()
        assert (both["label"] == both["label_stated"]).all()
        assert predictions["score"].between(0, 1).all()
        assert ((predictions["score"] >= 0.5) == predictions["predicted"]).all()

    def test_every_number_carries_size_interval_chance_and_ceiling(self, demo):
        metrics = table_of(demo, "evaluate", "metrics")
        sizes = table_of(demo, "evaluate", "predictions").groupby(["task", "variable"]).size()
        for row in metrics.itertuples():
            assert row.n == sizes[row.task, row.variable]
            assert row.n_groups >= 4
        defined = metrics[metrics["value"].notna()]
        assert (defined["low"] <= defined["value"]).all()
        assert (defined["value"] <= defined["high"]).all()
        assert defined["chance"].notna().all()
        assert (metrics.loc[metrics["value"].isna(), "reason"] != "").all()
        main = metrics.query("metric == 'balanced_accuracy'")
        assert len(main) == len(sizes) == 6
        assert (main["chance"] == 0.5).all()
        assert main["ceiling"].between(0.5, 1).all()

    def test_the_predictions_give_the_balanced_accuracy_again(self, demo):
        predictions = table_of(demo, "evaluate", "predictions")
        stated = table_of(demo, "evaluate", "metrics").query("metric == 'balanced_accuracy'")
        stated = stated.set_index(["task", "variable"])["value"]
        for key, part in predictions.groupby(["task", "variable"]):
            right = (part["label"] == part["predicted"]).groupby(part["label"]).mean()
            assert len(right) == 2
            assert right.mean() == pytest.approx(stated[key], abs=1e-9)

    def test_attending_is_seen_above_chance(self, demo):
        main = table_of(demo, "evaluate", "metrics").query("metric == 'balanced_accuracy' and variable == 'attending'")
        assert ATTENDING[0] <= main["value"].mean() <= ATTENDING[1]

    def test_the_receipts_headline_is_that_of_the_table(self, demo):
        headline = json.loads((run_of(demo, "evaluate") / "metrics.json").read_text())
        main = table_of(demo, "evaluate", "metrics").query("metric == 'balanced_accuracy'")
        assert headline["balanced accuracy"] == pytest.approx(main["value"].mean())
        assert read_json(run_of(demo, "evaluate") / "receipt.json")["metrics"] == headline
