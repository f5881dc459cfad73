"""The stored notebooks keep to their anatomy."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

import nbformat
import pytest

from nbpkg.runs import NODES, cells
from nbpkg.runs.graph import KINDS
from nbpkg.settings.experiment import PARAMETERS_CELL
from nbpkg.studies import protocol

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
STUDIES = [protocol.load(name) for name in protocol.names()]
RUN = {kind: {NODES[stage].notebook for own in STUDIES if own.kind == kind for stage in own.settings} for kind in KINDS}
DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def test_there_is_one_notebook_for_each_stage_of_the_graph():
    assert [path.stem for path in NOTEBOOKS] == [node.notebook for node in NODES.values()]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestAnatomy:
    def cells(self, path, kind=None):
        return [cell for cell in nbformat.read(path, as_version=4).cells if kind in (None, cell.cell_type)]

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
        assert path.stat().st_size < 30_000 * len(KINDS)

    def test_one_parameters_cell_the_same_everywhere(self, path):
        found = [cell.source for cell in self.cells(path, "code") if "parameters" in self.tags(cell)]
        assert found == [PARAMETERS_CELL.strip()]

    @pytest.mark.parametrize("learnt", KINDS)
    def test_sizes(self, path, learnt):
        """What one study runs is a notebook of its own right."""
        if path.stem not in RUN[learnt]:
            return
        seen = [cell for cell in self.cells(path) if cells.belongs(cell.source, learnt)]
        code = [cell for cell in seen if cell.cell_type == "code" and "parameters" not in self.tags(cell)]
        lines = [len(cell.source.splitlines()) for cell in code]
        assert len(seen) <= 30
        assert 0.4 <= sum(cell.cell_type == "markdown" for cell in seen) / len(seen) <= 0.6
        marks = [bool(cells.kinds_of(cell.source)) for cell in code]
        assert statistics.median(length - mark for length, mark in zip(lines, marks, strict=True)) <= 4
        assert max(lines) <= 15

    def test_cells_name_known_kinds(self, path):
        for cell in self.cells(path):
            assert set(cells.kinds_of(cell.source)) <= set(KINDS)
            assert not any(line.startswith(("#|", "<!--")) for line in cell.source.splitlines()[1:])

    @pytest.mark.parametrize("learnt", KINDS)
    def test_parts_in_order(self, path, learnt):
        if path.stem not in RUN[learnt]:
            return  # no study of this kind has the stage, so that nobody opens its notebook
        texts = [cell.source for cell in self.cells(path, "markdown") if cells.belongs(cell.source, learnt)]
        text = "\n".join(texts)
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
        for learnt in KINDS:
            self.check_figures([cell for cell in self.cells(path) if cells.belongs(cell.source, learnt)])

    def check_figures(self, seen):
        for before, cell in zip(seen, seen[1:], strict=False):
            if cell.cell_type == "code" and "stage.figure(" in cell.source:
                assert cell.source.count("stage.figure(") == 1
                assert before.cell_type == "markdown" or "stage.figure(" in before.source
