"""The scaffold of a new study: what it writes runs at once through all notebooks, or nothing is written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nbpkg
from nbpkg.errors import NbpkgError, SettingsError, StageError
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import KINDS, NODES
from nbpkg.scaffold.kinds import STARTS
from nbpkg.scaffold.write import MARK, checkout, new_study
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

ROOT = Path(__file__).parent.parent
NAME = "shared_reading"
RUN = f"""
from pathlib import Path
from nbpkg.__main__ import main
from nbpkg.runs.graph import NODES, own_steps, split_step
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

file = "params/{NAME}/sample.yaml"
assert main(["sample", "{NAME}"]) == 0
_, experiment = protocol.check_values(read_file(Path(file)))
for step in own_steps(experiment):
    stage, phase = split_step(step)
    notebook = f"notebooks/{{NODES[stage].notebook}}.ipynb"
    assert main(["run", notebook, "-f", file, *(["-p", "phase", phase] if phase else [])]) == 0, step
assert main(["report", "outputs"]) == 0
"""


def copy_params(folder: Path) -> Path:
    """A folder with what the scaffold reads."""
    for start in STARTS.values():
        shutil.copytree(ROOT / "params" / start.like, folder / "params" / start.like)
    return folder


def files_in(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def must_pass(command: list[str], folder: Path) -> None:
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]


def check_style(folder: Path) -> None:
    ours = ["--config", 'lint.isort.known-first-party = ["nbpkg"]']  # though only some of it lies in this folder
    for command in (["check", *ours], ["format", "--check"]):
        must_pass([sys.executable, "-m", "ruff", *command, "--no-cache", "."], folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, and a new study in it."""
    folder = copy_params(tmp_path_factory.mktemp("project"))
    for name in ("nbpkg", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name in ("tests", "docs"):
        (folder / name).mkdir()
    for name in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy2(ROOT / name, folder / name)
    must_pass([sys.executable, "-m", "nbpkg", "new-study", NAME], folder)
    return folder


@pytest.mark.slow
def test_a_new_study_runs_through_all_notebooks(project):
    must_pass([sys.executable, "-c", RUN], project)
    outputs = project / "outputs" / NAME / "sample"
    receipts = [read_json(path) for path in outputs.rglob("receipt.json") if "runs" not in path.parts]
    assert {receipt["stage"] for receipt in receipts} == set(NODES)
    assert {receipt["state"] for receipt in receipts} == {"done"}
    assert all(receipt["checks"] for receipt in receipts)
    index = (project / "outputs" / "index.html").read_text(encoding="utf-8")
    assert "Shared reading" in index
    assert "Balanced accuracy" in index


def test_a_new_study_keeps_the_rules_of_the_project(project):
    check_style(project / "nbpkg" / "studies")
    must_pass([str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], project)
    assert f"## {NAME}: parse" in (project / "docs" / "params.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_tests_it_brings_pass(project):
    must_pass([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "tests"], project)


@pytest.mark.parametrize("name", ["a", "x" * 32], ids=["shortest", "longest"])
@pytest.mark.parametrize("kind", STARTS)
def test_what_is_written_is_short_and_says_what_to_change(tmp_path, kind, name):
    root = copy_params(tmp_path)
    shutil.copy2(ROOT / "pyproject.toml", root)
    before = files_in(root)
    written = new_study(name, kind=kind, root=root)
    assert {path.relative_to(root) for path in written if path.is_file()} == {
        path for path in files_in(root) - before if (root / path).is_file()
    }
    code = [path for path in written if path.suffix == ".py"]
    assert len(code) == 3
    for path in (*code, root / "params" / name / "full.yaml"):
        assert MARK in path.read_text(encoding="utf-8")
    assert max(len(path.read_text(encoding="utf-8").splitlines()) for path in code) < 80
    assert read_file(root / "params" / name / "sample.yaml")["data"] == f"data/{name}/sample"
    check_style(root)


def test_each_start_is_a_study_of_its_kind():
    assert set(STARTS) <= set(KINDS)
    assert {kind: protocol.load(start.like).kind for kind, start in STARTS.items()} == {kind: kind for kind in STARTS}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("2nd", "no plain lower-case name"),
        ("Shared", "no plain lower-case name"),
        ("shared-reading", "no plain lower-case name"),
        ("shared__reading", "no plain lower-case name"),
        ("größe", "no plain lower-case name"),
        ("../outside", "no plain lower-case name"),
        ("", "no plain lower-case name"),
        ("y" * 33, "longer than 32"),
        ("lambda", "a word of Python"),
        ("match", "a word of Python"),
        ("statistics", "Python's library"),
        ("infant_engagement", "there is a study"),
        ("protocol", "there is a study"),
    ],
)
def test_bad_names_are_refused_and_nothing_is_written(tmp_path, name, told):
    root = copy_params(tmp_path)
    before = files_in(root)
    with pytest.raises(SettingsError, match=told):
        new_study(name, root=root)
    assert files_in(root) == before


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no kind 'smell'"):
        new_study(NAME, kind="smell", root=copy_params(tmp_path))


def test_files_in_the_way_are_named_and_kept(tmp_path):
    root = copy_params(tmp_path)
    mine = root / "nbpkg" / "sample" / f"{NAME}.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    before = files_in(root)
    with pytest.raises(SettingsError, match=rf"nbpkg/sample/{NAME}\.py exists"):
        new_study(NAME, root=root)
    assert files_in(root) == before
    assert mine.read_text() == "mine"


def test_when_one_file_cannot_be_written_none_stays(tmp_path):
    root = copy_params(tmp_path)
    (root / "nbpkg" / "studies").mkdir(parents=True)
    (root / "nbpkg" / "sample").mkdir()
    (root / "tests").write_text("a file where the folder of tests should be")
    before = files_in(root)
    with pytest.raises(StageError, match="A file lies where a folder is needed"):
        new_study(NAME, root=root)
    assert files_in(root) == before


def test_a_package_without_its_project_says_so(tmp_path, monkeypatch):
    installed = tmp_path / "site-packages" / "nbpkg"
    installed.mkdir(parents=True)
    monkeypatch.setattr(nbpkg, "__file__", str(installed / "__init__.py"))
    with pytest.raises(NbpkgError, match="no notebooks, params, tests"):
        checkout()
