"""Yardsticks of the package's own code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nbpkg.runs.cells import belongs
from nbpkg.runs.graph import KINDS

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "nbpkg").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
FUNCTIONS = [
    (path, node) for path, tree in TREES.items() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
]


def body_lines(node: ast.FunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    has_text = ast.get_docstring(node) is not None
    body = node.body[1:] if has_text else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def inner_nodes(tree: ast.Module) -> set[ast.AST]:
    """Everything that stands inside a function or a private class."""
    hidden = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name.startswith("_")]
    outer = [*hidden, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]
    return {inner for node in outer for inner in ast.walk(node) if inner is not node}


def test_files_and_functions_stay_short():
    long_files = {str(path): n for path in MODULES if (n := len(path.read_text().splitlines())) > 400}
    long_functions = {f"{path.name}:{node.name}": n for path, node in FUNCTIONS if (n := body_lines(node)) > 60}
    lengths = sorted(body_lines(node) for _, node in FUNCTIONS)
    assert not long_files
    assert not long_functions
    assert lengths[int(0.9 * len(lengths))] <= 30


def test_public_functions_and_classes_say_what_they_do_and_take():
    missing = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
            if public and node not in inner_nodes(tree) and ast.get_docstring(node) is None:
                missing.append(f"{path.name}:{node.name}")
            if isinstance(node, ast.FunctionDef) and node.returns is None and node.name != "__init__":
                missing.append(f"{path.name}:{node.name} has no return type")
    assert not missing


def test_no_assert_print_broad_except_or_passed_through_keywords():
    found = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            bad = (
                isinstance(node, ast.Assert)
                or (isinstance(node, ast.ExceptHandler) and node.type is None)
                or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print")
                or (isinstance(node, ast.FunctionDef) and node.args.kwarg is not None and node.args.kwarg.arg != "_")
            )
            if bad:
                found.append(f"{path.name}:{getattr(node, 'lineno', '?')}")
    assert not found


def test_study_names_occur_only_in_studies_and_samples():
    names = [
        path.stem for path in (ROOT / "nbpkg" / "studies").glob("*.py") if path.stem not in ("__init__", "protocol")
    ]
    stock = "experiment.py"  # the parameters cell names a study as its default
    for path in MODULES:
        if path.parent.name not in ("studies", "sample") and path.name != stock:
            compared = [ast.unparse(node) for node in ast.walk(TREES[path]) if isinstance(node, ast.Compare)]
            assert not any(name in text for name in names for text in compared), path


def test_study_protocol_stays_small():
    nodes = ast.walk(TREES[ROOT / "nbpkg/studies/protocol.py"])
    protocol = next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == "Study")
    assert len([node for node in protocol.body if isinstance(node, ast.FunctionDef)]) <= 10


def test_import_is_quick_and_loads_no_torch():
    code = "import sys, time; t = time.time(); import nbpkg; print(time.time() - t, 'torch' in sys.modules)"
    seconds, torch = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert float(seconds) < 0.3
    assert torch == "False"


def test_rooms_without_networks_import_without_torch_or_display(tmp_path):
    code = """
import sys
from nbpkg import report, runner, runs, tables
from nbpkg.plots import annotations, folds, frames
from nbpkg.studies import protocol
protocol.load("infant_engagement")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})


def imports_of(notebook: str, kind: str) -> list[str]:
    """Import lines of a notebook's code cells for one kind."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    trees = [ast.parse(source) for source in sources if belongs(source, kind)]
    return [ast.unparse(node) for tree in trees for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]


@pytest.mark.parametrize("file", sorted((ROOT / "params").glob("*/sample*.yaml")), ids=lambda path: path.stem)
def test_settings_are_checked_and_the_first_notebooks_imported_without_torch(file):
    code = """
from pathlib import Path
import sys
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol
_, experiment = protocol.check_values(read_file(Path(sys.argv[1])))
"""
    lines = {kind: [f"if experiment.kind == {kind!r}:", "    pass"] for kind in KINDS}
    for kind, own in lines.items():
        for notebook in ("01_parse_annotations", "02_prepare_videos", "03_stratify"):
            own += [f"    {line}" for line in imports_of(notebook, kind)]
    code += "\n".join(line for own in lines.values() for line in own) + "\nassert 'torch' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, cwd=ROOT)


def test_coverage_map_names_tests_that_exist():
    text = (ROOT / "docs" / "coverage.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    numbers = [int(line.split("|")[1]) for line in rows]
    assert numbers == [*range(1, 25), *range(1, 42), *range(1, 35), *range(1, 34), *range(1, 43)]
    for line in rows:
        state, proof = line.split("|")[3].strip(), line.split("|")[4]
        for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", proof):
            assert (ROOT / file).is_file(), line
            assert not name or re.search(rf"\b(def|class) {name}\b", (ROOT / file).read_text()), line
        assert state in ("works", "in part", "planned", "will not"), line
        assert state in ("planned", "will not") or "`tests/" in proof, line


@pytest.mark.parametrize("folder", ["nbpkg", "tests", "notebooks", "params", "docs", "bench"])
def test_no_path_of_a_machine_and_no_registry_host(folder):
    machine = re.compile(
        r"/(home|Users|root|work)/\w+|pypi\.org|files\.pythonhosted|registry\.npmjs|conda\.anaconda\.org"
    )
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix in (".py", ".ipynb", ".yaml", ".md", ".yml", ".html", ".js") and path != Path(__file__):
            assert not machine.search(path.read_text(encoding="utf-8")), path
