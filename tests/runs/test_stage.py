"""A stage: what it writes, what it refuses, and what its receipt is worth."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from nbpkg import runs, tables
from nbpkg.errors import StageError
from nbpkg.runs import files, inspect
from nbpkg.settings.base import FoldSettings, VideoSettings
from nbpkg.settings.experiment import resolve
from nbpkg.settings.learning import EncoderSettings, EvaluationSettings, TrainSettings

# What stage `parse` does with its settings matters to none of these tests, so that any small group will do.
MODELS = {
    "parse": EvaluationSettings,
    "prepare": VideoSettings,
    "stratify": FoldSettings,
    "bake": EncoderSettings,
    "train": TrainSettings,
    "evaluate": EvaluationSettings,
}
SPAN = {
    "session": "s1",
    "rater": "r1",
    "task": "eggs",
    "variable": "attending",
    "value": "no",
    "start_ms": 0,
    "end_ms": 9,
}
TASK = {"session": "s1", "rater": "r1", "task": "eggs", "start_ms": 0, "end_ms": 9}


def make(root, **changes):
    return resolve({"study": "x", "experiment": "y", "data": "data", **changes}, MODELS, root=root)


def finish_parse(root, **changes):
    stage = runs.open_stage("parse", make(root, **changes), about="a")
    stage.write_table(tables.from_rows([SPAN], "spans"), "spans")
    stage.write_table(tables.from_rows([TASK], "tasks"), "tasks")
    stage.check("all is well", True)
    stage.close({"spans": 1})
    return stage


def finish_prepare(root):
    stage = runs.open_stage("prepare", make(root), about="a")
    (stage.folder / "media.csv").write_text("made by hand for this test\n")
    stage.adopt(stage.folder / "media.csv")
    stage.close()


def test_receipt_names_run_settings_outputs_and_code(tmp_path):
    stage = finish_parse(tmp_path)
    receipt = json.loads((tmp_path / "outputs/x/y/01_parse/receipt.json").read_text())
    assert receipt["state"] == "done"
    assert receipt["run"] == f"runs/{receipt['key'][:8]}"
    assert receipt["outputs"]["spans.csv"]["rows"] == 1
    assert receipt["metrics"] == {"spans": 1}
    assert receipt["provenance"]["packages"]["numpy"]
    assert not (stage.folder / "receipt.running.json").exists()


def test_a_failed_check_leaves_no_receipt_and_says_which(tmp_path):
    stage = runs.open_stage("parse", make(tmp_path), about="a")
    stage.check("no participant in two folds", False, "child c1 in folds 1 and 3")
    stage.check("every class in every fold", True)
    with pytest.raises(StageError, match="1 of 2 checks did not hold.\n- no participant in two folds: child c1"):
        stage.close()
    assert not (tmp_path / "outputs/x/y/01_parse/receipt.json").exists()
    assert (stage.folder / "receipt.running.json").exists()


def test_missing_earlier_stage_is_named_with_its_notebook(tmp_path):
    finish_parse(tmp_path)
    with pytest.raises(StageError, match=r"'prepare' has not finished(.|\n)*02_prepare_videos.ipynb first"):
        runs.open_stage("stratify", make(tmp_path), about="a")


def test_changed_artefact_of_an_earlier_stage_is_refused(tmp_path):
    stage = finish_parse(tmp_path)
    finish_prepare(tmp_path)
    (stage.folder / "spans.csv").write_text("tampered\n")
    with pytest.raises(StageError, match="spans.csv of 'parse' is missing or was changed"):
        runs.open_stage("stratify", make(tmp_path), about="a")
    assert inspect.state_in_words(make(tmp_path), "parse")[1] is False


def test_reading_what_was_not_declared_is_refused(tmp_path):
    finish_parse(tmp_path)
    finish_prepare(tmp_path)
    stage = runs.open_stage("stratify", make(tmp_path), about="a")
    assert len(stage.read("parse", "spans")) == 1
    with pytest.raises(StageError, match="not what it was"):
        stage.read("parse", "agreement")


def test_key_follows_settings_seed_and_inputs_but_not_device_or_workers(tmp_path):
    def key(**changes):
        return runs.open_stage("parse", make(tmp_path, **changes), about="a").receipt["key"]

    assert key() == key(device="cpu", workers=7)
    assert len({key(), key(seed=1), key(threads=3), key(parse={"write_eaf": False})}) == 4


def test_another_setting_never_overwrites_a_result(tmp_path):
    first = finish_parse(tmp_path)
    second = finish_parse(tmp_path, seed=1)
    assert first.folder != second.folder
    assert inspect.older_runs(make(tmp_path), "parse") == [first.folder]


def test_another_experiments_stage_can_be_read(tmp_path):
    finish_parse(tmp_path)
    finish_prepare(tmp_path)
    other = resolve(
        {"study": "x", "experiment": "z", "data": "data", "inputs": {"parse": "y", "prepare": "y"}},
        MODELS,
        root=tmp_path,
    )
    stage = runs.open_stage("stratify", other, about="a")
    assert stage.receipt["inputs"]["parse"]["experiment"] == "y"
    assert len(stage.read("parse", "spans")) == 1


def finish(root, name, files, **changes):
    """Finish a step that wrote these files, whatever is in them."""
    stage = runs.open_stage(name, make(root, **changes), about="a")
    for file in files:
        (stage.folder / file).write_text(f"made by hand for this test: {name} {stage.phase} {file}\n")
        stage.adopt(stage.folder / file)
    return stage, stage.close()


@pytest.fixture
def baked(tmp_path):
    """A project in which everything before training has finished."""
    for name, made in {
        "parse": ("spans.csv", "tasks.csv"),
        "prepare": ("media.csv",),
        "stratify": ("samples.csv", "folds.csv"),
        "bake": ("features.csv", "draws.csv", "shards.json", "encoder.json", "encoder.safetensors"),
    }.items():
        finish(tmp_path, name, made)
    return tmp_path


SEARCHED = ("settings.csv", "heads.safetensors")


class TestPhases:
    """A stage that runs several times: folders, keys and what each phase reads."""

    def test_each_phase_has_its_own_folder_and_receipt_and_names_the_next(self, baked):
        first, said = finish(baked, "train", SEARCHED, phase="head_search")
        place = baked / "outputs/x/y/05_train"
        assert first.folder.parent == place / "head_search" / "runs"
        assert (first.phase, first.step) == ("head_search", "train/head_search")
        assert not (place / "receipt.json").exists()
        receipt = json.loads((place / "head_search/receipt.json").read_text())
        assert (receipt["stage"], receipt["phase"]) == ("train", "head_search")
        assert said.endswith("Next: notebooks/05_train.ipynb with phase = 'finetune_search'")
        second, _ = finish(baked, "train", ("settings.csv",), phase="finetune_search")
        assert list(second.receipt["inputs"]["train/head_search"]["artefacts"]) == list(SEARCHED)

    def test_an_empty_phase_opens_the_last(self, baked):
        finish(baked, "train", SEARCHED, phase="head_search")
        finish(baked, "train", ("settings.csv",), phase="finetune_search")
        stage = runs.open_stage("train", make(baked), about="a")
        assert stage.step == "train/final"
        assert stage.receipt["key"] == runs.open_stage("train", make(baked, phase="final"), about="a").receipt["key"]
        searches = {"phases": ["head_search", "finetune_search"]}
        assert runs.open_stage("train", make(baked, train=searches), about="a").step == "train/finetune_search"

    def test_a_phase_that_is_not_run_is_not_waited_for(self, baked):
        stage = runs.open_stage("train", make(baked, train={"phases": ["final"]}), about="a")
        assert list(stage.receipt["inputs"]) == ["parse", "prepare", "stratify", "bake"]

    def test_a_phase_before_is_waited_for_and_named(self, baked):
        expected = r"'train/head_search' has not finished(.|\n)*05_train.ipynb with phase = 'head_search' first"
        with pytest.raises(StageError, match=expected):
            runs.open_stage("train", make(baked, phase="finetune_search"), about="a")

    def test_settings_of_other_phases_do_not_enter_the_key(self, baked):
        def key(phase, **train):
            return runs.open_stage("train", make(baked, phase=phase, train=train), about="a").receipt["key"]

        plain = key("head_search")
        assert plain == key("head_search", final={"retrain": True}, finetune_search={"settings": 3})
        assert plain == key("head_search", phases=["head_search"])
        others = [key("head_search", head_search={"settings": 3}), key("head_search", validation_fold=1)]
        assert len({plain, *others}) == 3
        finish(baked, "train", SEARCHED, phase="head_search")
        assert key("finetune_search") != key("finetune_search", finetune_search={"settings": 3})

    def test_a_search_that_found_something_else_gives_the_final_phase_another_key(self, baked):
        finish(baked, "train", SEARCHED, phase="head_search")
        finish(baked, "train", ("settings.csv",), phase="finetune_search")
        before = runs.open_stage("train", make(baked), about="a").receipt["key"]
        again = runs.open_stage("train", make(baked, phase="head_search", seed=0), about="a")
        (again.folder / "heads.safetensors").write_text("found something else\n")
        for file in SEARCHED:
            again.adopt(again.folder / file)
        again.close()
        assert runs.open_stage("train", make(baked), about="a").receipt["key"] != before

    def test_the_state_of_every_phase_is_said(self, baked):
        finish(baked, "train", SEARCHED, phase="head_search")
        said = {step: inspect.state_in_words(make(baked), step) for step in ("train/head_search", "train/final")}
        assert said["train/final"] == ("05_train final: not begun.", True)
        assert said["train/head_search"][0].startswith("05_train head_search: done ")
        finish(baked, "train", SEARCHED, phase="head_search", train={"head_search": {"settings": 3}})
        assert len(inspect.older_runs(make(baked), "train/head_search")) == 1

    def test_a_phase_of_another_experiment_can_be_read(self, baked):
        finish(baked, "train", SEARCHED, phase="head_search")
        values = {"experiment": "z", "inputs": dict.fromkeys(("parse", "prepare", "stratify", "bake"), "y")}
        values["train"] = {"phases": ["final"]}
        stage, _ = finish(baked, "train", ("networks.json",), **values)
        assert stage.receipt["inputs"]["bake"]["experiment"] == "y"
        reading = {**values, "experiment": "w", "inputs": {**values["inputs"], "train": {"experiment": "z"}}}
        del reading["train"]
        evaluating = runs.open_stage("evaluate", make(baked, **reading), about="a")
        assert evaluating.receipt["inputs"]["train/final"]["key"] == stage.receipt["key"]
        assert evaluating.input("train/final") == stage.folder


def test_source_hashes_see_changed_content(tmp_path):
    raw = tmp_path / "data" / "a.eaf"
    raw.parent.mkdir()
    keys = []
    for text in ("one", "two"):
        raw.write_text(text)
        keys.append(runs.open_stage("parse", make(tmp_path), about="a", sources=[raw]).receipt["key"])
    assert keys[0] != keys[1]


def test_dropped_rows_are_counted(tmp_path):
    stage = runs.open_stage("parse", make(tmp_path), about="a")
    stage.drop(pd.DataFrame([{"stage": "parse", "key": "tier ignore", "rows": 3, "reason": "not rated"}]))
    stage.close()
    assert stage.receipt["dropped"] == 3
    assert len(tables.read(stage.folder / "dropped.csv", "dropped")) == 1


SCRIPT = """
import sys; sys.path.insert(0, {root!r}); sys.path.insert(0, {tests!r})
import numpy as np
from pathlib import Path
from nbpkg import runs
from nbpkg.errors import NbpkgError
from test_stage import make
try:
    stage = runs.open_stage("parse", make(Path({folder!r})), about="a")
    stage.write_array(np.zeros(200_000), "big")
except NbpkgError as error:
    print(error)
"""


def in_tmpfs(root, tmp_path, size: str, after: str) -> str:
    """Run the script above with its outputs on a small file system of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (Linux) for a file system of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(root), tests=str(root / "tests" / "runs"), folder=str(folder)))
    command = f"mount -t tmpfs -o size={size} tmpfs {folder} && {after} exec {sys.executable} {script}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True, timeout=1200)
    if done.returncode != 0 and "mount" in done.stderr:
        pytest.skip(f"no file system of one's own here: {done.stderr.strip()}")
    return done.stdout + done.stderr


def test_full_disk_is_said_in_words_and_nothing_half_written_stays(root, tmp_path):
    text = in_tmpfs(root, tmp_path, "1m", "")
    assert "The disk is full." in text
    assert "Free some space and run the stage again." in text
    assert "Traceback" not in text


def test_read_only_output_folder_is_said_in_words(root, tmp_path):
    text = in_tmpfs(root, tmp_path, "1m", f"mount -o remount,ro,size=1m tmpfs {tmp_path / 'disk'} &&")
    assert "The output folder cannot be written." in text
    assert "Give yourself write permission there" in text
    assert "Traceback" not in text


def test_a_file_where_a_folder_is_needed_is_said_in_words(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(StageError, match="A file lies where a folder is needed"):
        files.write_json(tmp_path / "runs" / "metrics.json", {})


def test_threads_are_those_of_the_settings_whatever_the_environment_says():
    """Snakemake and SLURM set OMP_NUM_THREADS; with other threads sums have other last digits."""
    code = """
from nbpkg.seeding import seed_everything
seed_everything(0, threads=2)
from nbpkg.models.device import choose_device
import torch
print(torch.get_num_threads())
choose_device("cpu", threads=5)
print(torch.get_num_threads())
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=1200)
    loaded, pinned = map(int, done.stdout.split())
    assert loaded == min(2, os.cpu_count()), "torch takes no more by itself than there are cores"
    assert pinned == 5
