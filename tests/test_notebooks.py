"""The stored notebooks keep to their anatomy."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import nbformat
import pytest

from nbpkg.runs import NODES
from nbpkg.settings.experiment import PARAMETERS_CELL

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def test_there_is_one_notebook_for_each_stage_of_the_graph():
    assert [path.stem for path in NOTEBOOKS] == [node.notebook for node in NODES.values()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestAnatomy:
    def cells(self, path, kind=None):
        return [cell for cell in nbformat.read(path, as_version=4).cells if kind in (None, cell.cell_type)]

    def code_lines(self, path):
        return [
            len(cell.source.splitlines()) for cell in self.cells(path, "code") if "parameters" not in self.tags(cell)
        ]

    def tags(self, cell):
        return cell.metadata.get("tags", [])

    def test_stored_without_outputs_and_with_stable_ids(self, path):
        content = nbformat.read(path, as_version=4)
        nbformat.validate(content)
        assert "widgets" not in content.metadata
        for cell in self.cells(path, "code"):
            assert not cell.outputs
            assert cell.execution_count is None
        ids = [cell.id for cell in self.cells(path)]
        assert len(set(ids)) == len(ids)
        assert path.stat().st_size < 30_000

    def test_one_parameters_cell_the_same_everywhere(self, path):
        found = [cell.source for cell in self.cells(path, "code") if "parameters" in self.tags(cell)]
        assert found == [PARAMETERS_CELL.strip()]

    def test_sizes(self, path):
        cells, lines = self.cells(path), self.code_lines(path)
        assert len(cells) <= 30
        assert 0.4 <= len(self.cells(path, "markdown")) / len(cells) <= 0.6
        assert statistics.median(lines) <= 4
        assert max(lines) <= 15

    def test_parts_in_order(self, path):
        text = "\n".join(cell.source for cell in self.cells(path, "markdown"))
        parts = (
            "# ",
            "| Reads |",
            "## Open",
            "## What came in",
            "## The work",
            "## Look",
            "## Checks",
            "## Reading guide",
        )
        places = [text.index(part) for part in parts]
        assert places == sorted(places)

    def test_nothing_is_defined_shelled_out_or_bent(self, path):
        for cell in self.cells(path, "code"):
            assert not any(line.startswith(("!", "%")) for line in cell.source.splitlines())
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, DEFINING), ast.unparse(node)
            for word in ("sys.path", "os.chdir", "autoreload", "await "):
                assert word not in cell.source

    def test_one_figure_per_cell_under_a_sentence(self, path):
        cells = self.cells(path)
        for before, cell in zip(cells, cells[1:], strict=False):
            if cell.cell_type == "code" and "stage.figure(" in cell.source:
                assert cell.source.count("stage.figure(") == 1
                assert before.cell_type == "markdown" or "stage.figure(" in before.source
