"""Executed notebooks to HTML that opens offline, and one index of all studies: headlines, methods, reports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nbpkg.overview.facts import list_facts, trace_receipts
from nbpkg.overview.headlines import read_headlines
from nbpkg.overview.methods import write_methods
from nbpkg.runs import NODES, cells
from nbpkg.runs.files import new_file, read_json
from nbpkg.runs.graph import KINDS
from nbpkg.studies import protocol

_REMOTE = (
    "require_js_url",
    "mathjax_url",
    "mermaid_js_url",
    "mermaid_layout_elk_js_url",
    "jquery_url",
    "widget_renderer_url",
)
_STYLE = """
<style>
  body.jp-Notebook { max-width: 1080px; margin: 0 auto; padding: 2rem 1.5rem; background: #fff; }
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
  .jp-InputArea { opacity: .85; } .jp-InputArea-editor { font-size: 12px; border-radius: 6px; }
  .jp-RenderedImage img { max-width: 100%; height: auto; }
  .jp-RenderedHTMLCommon table { font-size: 12.5px; display: block; overflow-x: auto; margin-left: 0; }
  .jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"] { background: #f4f4f2; color: #444; }
</style>
"""


def write_report(notebook: Path, page: Path, *, kind: str = cells.EVERY) -> Path:
    """Turn an executed notebook into one HTML file that needs no network.

    Parameters
    ----------
    notebook
        Executed notebook. Frames of participants are in it only as ``plots.frames`` drew them.
    page
        HTML file to write; figures are embedded, nothing is loaded from elsewhere, no widget state is kept.
    kind
        What the study learns; cells for another kind are left out. See `nbpkg.runs.cells`.
    """
    import nbformat
    from nbconvert import HTMLExporter

    content = nbformat.read(notebook, as_version=4)
    content.metadata.pop("widgets", None)
    content.cells = _of_kind(content.cells, kind)
    exporter = HTMLExporter(template_name="lab", embed_images=True, exclude_anchor_links=True)
    for name in _REMOTE:
        setattr(exporter, name, "")
    body, _ = exporter.from_notebook_node(content, resources={"metadata": {"name": _title(content)}})
    body = re.sub(r'<script[^>]*src="(https?:)?//[^>]*>\s*</script>|<script[^>]*src=""[^>]*>\s*</script>', "", body)
    with new_file(page) as temporary:
        temporary.write_text(body.replace("</head>", f"{_STYLE}</head>", 1), encoding="utf-8")
    return page


def write_index(outputs: Path) -> Path:
    """Write ``index.html``: what each experiment found, how it was done, and the way to all reports below a folder.

    Parameters
    ----------
    outputs
        Folder that holds ``<study>/<experiment>/<stage>/receipt.json``, or one experiment's own folder.
    """
    from jinja2 import Environment, PackageLoader  # comes with nbconvert

    found = [path for path in sorted(outputs.rglob("receipt.json")) if "runs" not in path.parts]
    groups: dict[str, dict[str, Any]] = {}
    for path in sorted(found, key=_order):
        receipt = read_json(path)
        name = f"{receipt['study']} · {receipt['experiment']}"
        group = groups.setdefault(name, {"entries": [], **_title_of(receipt)})
        group["entries"].append(_entry(receipt, path, outputs))
        if receipt["stage"] == "evaluate" and receipt["state"] == "done":
            group |= _found(receipt, path, outputs)
    environment = Environment(loader=PackageLoader("nbpkg", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    with new_file(outputs / "index.html") as temporary:
        temporary.write_text(environment.get_template("index.html").render(groups=groups), encoding="utf-8")
    return outputs / "index.html"


def _title_of(receipt: dict[str, Any]) -> dict[str, Any]:
    """Return how a study is called, and what its experiment is; a study that is gone keeps the name of its module."""
    study, experiment = receipt["study"], receipt["experiment"]
    known = protocol.load(study).card if study in protocol.names() else None
    anchor = f"{study}-{experiment}"
    return {"title": known.title if known else study, "experiment": experiment, "anchor": anchor, "headlines": []}


def _found(receipt: dict[str, Any], path: Path, outputs: Path) -> dict[str, Any]:
    """Return headline and methods paragraph of an experiment whose 06 is finished."""
    run = path.parent / str(receipt["run"])
    traced = trace_receipts(receipt, path.parents[2])
    headlines = read_headlines(receipt, run)
    card = protocol.load(receipt["study"]).card if receipt["study"] in protocol.names() else None
    told = write_methods(list_facts(traced), headlines, [one for one, _ in traced.values()], card=card)
    return {"headlines": headlines, "methods": told, "evaluation": _link(run / "report.html", outputs)}


def _of_kind(stored: list[Any], kind: str) -> list[Any]:
    """Leave out the cells of other kinds; of a stage that does not apply, all behind the one that opens it."""
    opening = next((place for place, cell in enumerate(stored) if "open_stage(" in cell.source), -1)
    return [cell for place, cell in enumerate(stored) if place <= opening or cells.belongs(cell.source, kind)]


def _order(path: Path) -> tuple[str, int]:
    """Stages as their folders are numbered, phases as they follow each other."""
    receipt = read_json(path)
    phases = [*KINDS[receipt.get("kind", "clips")][receipt["stage"]].phases, ""]
    stage = path.parent if not receipt["phase"] else path.parent.parent
    return str(stage), phases.index(receipt["phase"])


def _entry(receipt: dict[str, Any], path: Path, outputs: Path) -> dict[str, Any]:
    run = path.parent / str(receipt["run"])
    figures = [run / name for name in receipt["outputs"] if name.startswith("figures/")]  # as the notebook shows them
    provenance = receipt["provenance"]
    commit = (provenance["git_commit"] or "no git")[:8]
    return {
        "notebook": f"{NODES[receipt['stage']].notebook} {receipt['phase'].replace('_', ' ')}".rstrip(),
        "key": receipt["key"][:8],
        "ended": receipt["ended"].replace("T", " ")[:16],
        "seconds": receipt["seconds"],
        "checks": len(receipt["checks"]),
        "warnings": len(receipt["warnings"]),
        "dropped": receipt["dropped"],
        "metrics": {name: _number(value) for name, value in receipt["metrics"].items()},
        "code": commit + (" + changes" if provenance["git_changes_sha256"] else ""),
        "report": _link(run / "report.html", outputs),
        "receipt": _link(run / "receipt.json", outputs),
        "figure": _link(figures[0], outputs) if figures else None,
    }


def _link(path: Path, outputs: Path) -> str | None:
    return path.relative_to(outputs).as_posix() if path.is_file() else None


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _title(content: Any) -> str:
    for cell in content.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("# "):
            return str(cell.source.splitlines()[0].removeprefix("# "))
    return "Report"
