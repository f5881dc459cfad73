"""Cells for one kind of study do nothing in another, in a real kernel too."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from nbpkg.runs import cells

SOURCES = {
    "all": "x = 1",
    "clips": "#| clips\nx = 1",
    "both": "#| clips, heatmap\nx = 1",
    "text": "<!-- heatmap -->\n**A**",
}


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("clips", {"all", "clips", "both"}),
        ("heatmap", {"all", "both", "text"}),
        (cells.EVERY, set(SOURCES)),
        (cells.NONE, set()),
    ],
)
def test_a_cell_belongs_to_the_kinds_it_names(kind, wanted):
    assert {name for name, source in SOURCES.items() if cells.belongs(source, kind)} == wanted


@pytest.mark.parametrize("source", ["# | clips\nx", "x = 1  #| clips", "#|clips", "\n#| clips", "# clips"])
def test_nothing_else_is_a_mark(source):
    assert cells.kinds_of(source) == ()


def test_a_kernel_leaves_out_what_is_for_others_and_can_choose_anew():
    code = [
        "from nbpkg.runs.cells import choose_cells, NONE",
        "choose_cells('heatmap')  # open_stage(",
        "seen = ['all']",
        "#| clips\nseen.append('clips')",
        "#| heatmap\nseen.append('heatmap')",
        "#| clips\nthis is ( no python",
        "choose_cells('clips')  # open_stage(",
        "#| clips\nseen.append('clips at last')",
        "choose_cells(NONE)  # open_stage(",
        "seen.append('never')",
        "print(seen)  # open_stage(",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert notebook.cells[-1].outputs[0].text.strip() == "['all', 'heatmap', 'clips at last']"
    assert all(cell.execution_count for cell in notebook.cells)
