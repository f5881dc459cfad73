"""What one `make demo` leaves behind: receipts, artefacts, lineage, notebooks, reports and honest numbers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from demo_outputs import MADE, PAIRS, STEPS, VALUES, run_of, sessions_of, table_of
from safetensors import safe_open

from nbpkg import report, tables
from nbpkg.annotations.elan import read_eaf
from nbpkg.runs import NODES
from nbpkg.runs.files import read_json, sha256
from nbpkg.runs.graph import KINDS, current_run, reads_of, settings_of, split_step
from nbpkg.training.answers import load_networks

pytestmark = pytest.mark.demo
# What the demo promises of its best pair: balanced accuracy on the test fold, and an interval above chance.
PROMISED = 0.85
LARGEST_REPORT = 8_000_000
each_step = pytest.mark.parametrize("made", MADE, ids=str)


class Page(HTMLParser):
    """What a page loads, where it leads and what it is called."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.scripts: list[str] = []
        self.places: set[str] = set()
        self.title = ""
        self._in_title = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        self._in_title = tag == "title" or (self._in_title and tag != "svg")
        self.places.add(values.get("id", ""))
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


def test_the_demo_runs_every_stage_and_all_three_phases_of_training():
    phases = ["train/head_search", "train/finetune_search", "train/final"]
    assert ["parse", "prepare", "stratify", "bake", *phases, "evaluate", "paint", "compare"] == STEPS


@pytest.mark.usefixtures("demo")
@each_step
class TestEveryStep:
    def test_every_stage_has_receipt_log_notebook_and_report(self, made):
        folder = made.folder
        receipt, run = read_json(folder / "receipt.json"), made.run
        assert receipt == read_json(run / "receipt.json")
        assert (receipt["stage"], receipt["phase"]) == split_step(made.step)
        assert receipt["experiment"] == made.experiment.header.experiment
        assert (receipt["state"] == "done" and receipt["checks"]) or receipt["why"].startswith("Does not apply")
        assert not (run / "receipt.running.json").exists()
        assert [check for check in receipt["checks"] if not check["held"]] == []
        attempts = (folder / "log.txt").read_text(encoding="utf-8").split(" begins on ")
        log = attempts[-1]  # the file keeps all attempts
        assert len(attempts) > 1
        assert "Traceback" not in log
        assert "failed" not in log
        for path in (folder / "executed.ipynb", run / "executed.ipynb", run / "report.html"):
            assert path.stat().st_size > 0, path

    def test_the_receipt_holds_the_present_settings_of_this_step_only(self, made):
        stated = read_json(made.run / "receipt.json")["settings"]
        assert stated == json.loads(json.dumps(settings_of(made.experiment, made.step)))
        stage, phase = split_step(made.step)
        assert not (set(KINDS[made.experiment.kind][stage].phases) - {phase}) & set(stated)

    def test_every_output_of_the_receipt_is_there_unchanged(self, made):
        run = made.run
        outputs = read_json(run / "receipt.json")["outputs"]
        assert outputs
        for file, entry in outputs.items():
            assert (run / file).stat().st_size == entry["bytes"], file
            assert sha256(run / file) == entry["sha256"], file

    def test_no_half_written_file_stays(self, made):
        assert [path for path in made.folder.rglob("*") if ".partial" in path.name] == []

    def test_every_table_keeps_its_contract(self, made):
        run = made.run
        found = sorted(run.glob("*.csv"))
        assert found
        for path in found:
            rows = read_json(run / "receipt.json")["outputs"][path.name]["rows"]
            assert len(tables.read(path, path.stem)) == rows

    def test_inputs_are_what_the_steps_before_made(self, made):
        inputs, reads = read_json(made.run / "receipt.json")["inputs"], reads_of(made.experiment, made.step)
        assert list(inputs) == list(reads)
        for earlier, entry in inputs.items():
            before = read_json(current_run(made.experiment, earlier) / "receipt.json")
            assert entry["key"] == before["key"], earlier
            assert set(entry["artefacts"]) == (set(reads[earlier]) if before["state"] == "done" else {"receipt.json"})
            for file, digest in entry["artefacts"].items() if before["state"] == "done" else ():
                assert before["outputs"][file]["sha256"] == digest, file

    def test_the_executed_notebook_ran_through_and_holds_no_widgets(self, made):
        content = nbformat.read(made.run / "executed.ipynb", as_version=4)
        assert "widgets" not in content.metadata
        for cell in content.cells:
            if cell.cell_type != "code":
                continue
            assert cell.execution_count is not None, cell.source
            for output in cell.outputs:
                assert output.output_type != "error"
                assert not any("widget" in kind for kind in output.get("data", {}))

    def test_the_report_opens_offline(self, made):
        path = made.run / "report.html"
        page, text = Page(path), path.read_text(encoding="utf-8")
        assert path.stat().st_size < LARGEST_REPORT
        assert [address for address in page.loads if address and not address.startswith(("data:", "#"))] == []
        assert re.findall(r"@import[^;]*|url\(\s*[\"']?https?:[^)]*\)", text) == []
        assert re.findall(r"\b(?:import\(|from\s|require\()\s*[\"']https?:[^\"']*", text) == []

    def test_the_report_carries_the_notebooks_title(self, made, root):
        stored = nbformat.read(root / "notebooks" / f"{NODES[split_step(made.step)[0]].notebook}.ipynb", as_version=4)
        title = stored.cells[0].source.splitlines()[0].removeprefix("# ")
        assert Page(made.run / "report.html").title.strip() == title


def test_a_report_made_now_has_no_script_from_a_file(demo, tmp_path):
    path = report.write_report(run_of(demo, "train/final") / "executed.ipynb", tmp_path / "report.html")
    assert Page(path).scripts == []


@pytest.mark.parametrize("index", ["index.html", "../../index.html"])
def test_every_link_and_picture_of_the_index_is_there(demo, index):
    path = (demo / index).resolve()
    if not path.is_file():
        pytest.fail(f"{path} is missing: `make demo` writes it")
    page = Page(path)
    reports = [address for address in page.leads if address.endswith("report.html")]
    shown = {(path.parent / address).resolve() for address in reports}
    assert {(run_of(demo, step) / "report.html").resolve() for step in STEPS} <= shown
    for address in (*page.leads, *page.loads):
        if address.startswith("#"):
            assert address[1:] in page.places, address
        else:
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

    def test_no_clip_of_a_test_session_was_baked(self, demo):
        test = sessions_of(demo, "test")
        assert test
        for name in ("features", "draws"):
            table = table_of(demo, "bake", name)
            assert len(table)
            assert not set(table["session"]) & test, name
        made = {path.stem.split("_")[0] for path in (run_of(demo, "bake") / "shards").glob("*.npy")}
        assert made == sessions_of(demo, "train")

    @pytest.mark.parametrize("phase", ["head_search", "finetune_search", "final"])
    def test_searches_and_training_leave_out_training_folds_only(self, demo, phase):
        step, folds = f"train/{phase}", table_of(demo, "stratify", "folds")
        known = set(folds.loc[folds["role"] == "train", "fold"])
        trials, settings = table_of(demo, step, "trials"), table_of(demo, step, "settings")
        assert set(trials[["task", "variable"]].itertuples(index=False, name=None)) == PAIRS
        assert set(trials["fold"]) == ({max(known)} if phase == "final" else known)
        assert set(table_of(demo, step, "history")["fold"]) <= {-1, *known}
        assert (settings.groupby(["task", "variable"])["chosen"].sum() == 1).all()
        best = settings.groupby(["task", "variable"])["average_validation_f1"].transform("max")
        assert (settings.loc[settings["chosen"], "average_validation_f1"] == best[settings["chosen"]]).all()

    def test_the_head_search_leaves_a_head_for_every_fold_left_out_and_the_best(self, demo):
        places = [f"fold{fold}" for fold in range(VALUES["stratify"]["folds"] - 1)]
        wanted = {f"{task}/{variable}/{place}" for task, variable in PAIRS for place in (*places, "best")}
        with safe_open(run_of(demo, "train/head_search") / "heads.safetensors", "numpy") as file:
            heads = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert set(heads) == {f"{name}.{part}" for name in wanted for part in ("weight", "bias")}
        features = read_json(run_of(demo, "bake") / "encoder.json")["features"]
        for name in wanted:
            assert heads[f"{name}.weight"].shape == (2, features)
        for task, variable in PAIRS:  # trained on different sessions, so not one head under five names
            weights = {heads[f"{task}/{variable}/{place}.weight"].tobytes() for place in places}
            assert len(weights) == len(places)

    def test_the_networks_load_and_were_trained_without_the_folds_that_judge_them(self, demo):
        networks, folds = load_networks(run_of(demo, "train/final")), table_of(demo, "stratify", "folds")
        assert set(networks) == PAIRS
        for (task, variable), (net, card) in networks.items():
            assert (card.task, card.variable, card.encoder) == (task, variable, VALUES["bake"]["encoder"])
            assert not net.training
            seen = folds[(folds["role"] == "train") & (folds["fold"] != card.training["validation_fold"])]
            assert sorted(card.training["sessions"]) == sorted(seen["session"])
            assert not set(card.training["sessions"]) & sessions_of(demo, "test")

    def test_the_test_fold_is_large_enough_to_say_something(self, demo):
        predictions = table_of(demo, "evaluate", "predictions").query("role == 'test'")
        assert set(predictions["session"]) == sessions_of(demo, "test")
        assert predictions["session"].nunique() >= 4
        clips = predictions.drop_duplicates(["task", "variable", "session", "start_ms"])
        assert clips.groupby(["task", "variable"]).size().min() >= 30

    def test_every_sample_is_answered_once_with_its_label_fold_and_role(self, demo):
        predictions, samples = table_of(demo, "evaluate", "predictions"), table_of(demo, "stratify", "samples")
        both = predictions.merge(samples, on="sample_id", suffixes=("", "_stated"), validate="one_to_one")
        pairs = samples[["task", "variable"]].apply(tuple, axis=1)
        assert len(both) == len(predictions) == pairs.isin(PAIRS).sum()
        assert (both["label"] == both["label_stated"]).all()
        assert predictions["score"].between(0, 1).all()
        assert ((predictions["score"] > 0.5) == predictions["predicted"]).all()
        folds = table_of(demo, "stratify", "folds").set_index("session")
        assert (predictions["fold"] == predictions["session"].map(folds["fold"])).all()
        last = max(folds["fold"])
        expected = {**dict.fromkeys(range(last), "train"), last - 1: "validation", last: "test"}
        assert dict(predictions[["fold", "role"]].drop_duplicates().itertuples(index=False)) == expected

    def test_every_number_carries_size_interval_chance_and_ceiling(self, demo):
        metrics = table_of(demo, "evaluate", "metrics")
        test = table_of(demo, "evaluate", "predictions").query("role == 'test'")
        sizes = test.groupby(["task", "variable"]).size()
        for row in metrics.query("by == 'all'").itertuples():
            assert row.n == sizes[row.task, row.variable]
            assert row.n_groups == len(sessions_of(demo, "test"))
        assert set(metrics.loc[metrics["by"].isin(["all", "majority"]), "role"]) == {"test"}
        defined = metrics[metrics["value"].notna()]
        bounded = defined[defined["low"].notna()]
        assert (bounded["low"] <= bounded["value"]).all()
        assert (bounded["value"] <= bounded["high"]).all()
        assert defined.query("by in ['all', 'majority']")[["low", "high"]].notna().all(axis=None)
        assert defined.query("metric != 'calibration_error'")["chance"].notna().all()
        assert (metrics.loc[metrics["value"].isna(), "reason"] != "").all()
        main = metrics.query("metric == 'balanced_accuracy' and by in ['all', 'majority']")
        assert len(main) == 2 * len(PAIRS)
        assert (main["chance"] == 0.5).all()
        assert main["ceiling"].between(0.5, 1).all()

    def test_the_predictions_give_the_balanced_accuracy_again(self, demo):
        predictions = table_of(demo, "evaluate", "predictions").query("role == 'test'")
        stated = self.headline(demo).set_index(["task", "variable"])["value"]
        for key, part in predictions.groupby(["task", "variable"]):
            right = (part["label"] == part["predicted"]).groupby(part["label"]).mean()
            assert len(right) == 2
            assert right.mean() == pytest.approx(stated[key], abs=1e-9)

    def test_the_best_pair_keeps_the_promise_and_no_pair_is_kept_quiet(self, demo):
        main = self.headline(demo)
        assert set(main[["task", "variable"]].itertuples(index=False, name=None)) == PAIRS
        assert ("people", "participating") in PAIRS  # hard to see: reported even where it stays at chance
        assert main["value"].notna().all()
        kept = main[(main["value"] >= PROMISED) & (main["low"] > 0.5)]
        assert len(kept) >= 1, main[["task", "variable", "value", "low", "high"]].to_string()

    def test_the_answers_come_back_as_tiers_of_copies(self, demo, root):
        run, predictions = run_of(demo, "evaluate"), table_of(demo, "evaluate", "predictions")
        copies = sorted((run / "eaf").glob("*.eaf"))
        assert {path.name.split("_")[0] for path in copies} == sessions_of(demo, "test")
        for path in copies:
            document = read_eaf(path)
            assert [problem for problem in document.problems if problem.severity == "error"] == []
            own = read_eaf(root / VALUES["data"] / VALUES["parse"]["folder"] / path.name).marks
            kept = [(mark.tier, mark.start_ms, mark.end_ms, mark.value) for mark in document.marks]
            assert {(mark.tier, mark.start_ms, mark.end_ms, mark.value) for mark in own} <= set(kept)
            answered = predictions[predictions["session"] == path.name.split("_")[0]]
            assert {tier for tier, *_ in kept if tier.startswith("model_")} == {
                f"model_{variable}" for variable in answered["variable"]
            }

    def test_the_receipts_headline_is_that_of_the_table(self, demo):
        headline = json.loads((run_of(demo, "evaluate") / "metrics.json").read_text())
        main = self.headline(demo)
        assert headline["balanced accuracy"] == pytest.approx(main["value"].mean())
        assert headline["best pair"] == pytest.approx(main["value"].max())
        assert headline["shown above chance"] == f"{(main['low'] > 0.5).sum()} of {len(PAIRS)}"
        assert read_json(run_of(demo, "evaluate") / "receipt.json")["metrics"] == headline

    def headline(self, demo):
        """Balanced accuracy of each pair on all labels of the test fold."""
        return table_of(demo, "evaluate", "metrics").query("metric == 'balanced_accuracy' and by == 'all'")
