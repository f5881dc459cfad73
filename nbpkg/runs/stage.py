"""One stage of one experiment, from opening to the receipt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbpkg import progress
from nbpkg.errors import Problem, StageError
from nbpkg.runs import files
from nbpkg.runs.graph import current_run, how_to_run, own_steps, split_step, step_folder, worker_folder
from nbpkg.settings.experiment import Experiment

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class SavedFigure:
    """A figure on disk, shown when it ends a cell."""

    path: Path

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


@dataclass
class Stage:
    """An open stage: reads what came before, writes artefacts, collects checks, closes with a receipt.

    Parameters
    ----------
    name
        Stage, a key of `NODES`.
    experiment
        The checked experiment.
    about
        What the stage means in this study, a sentence.
    folder
        Run folder that receives the artefacts.
    receipt
        What will be the receipt; kept as ``receipt.running.json`` until `close`.
    step
        Stage and phase, e.g. ``train/final``; the stage alone when it runs once.
    shared
        Run folder of the step, where all workers of a shared one meet; `folder` but for such a worker.
    """

    name: str
    experiment: Experiment
    about: str
    folder: Path
    receipt: dict[str, Any]
    step: str = ""
    shared: Path = Path()
    _dropped: list[pd.DataFrame] = field(default_factory=list)

    @property
    def phase(self) -> str:
        """Phase of a stage that runs several times; else empty."""
        return split_step(self.step)[1]

    @property
    def settings(self) -> Any:
        """The settings of this stage."""
        return self.experiment.stages[self.name]

    @property
    def data(self) -> Path:
        """Folder of the raw data."""
        return self.experiment.data

    @property
    def seed(self) -> int:
        """The experiment's seed; use it through `nbpkg.seeding` with a name."""
        return self.experiment.header.seed

    @property
    def frames(self) -> str:
        """How frames of participants are shown: pixelated, full or none."""
        return self.experiment.header.report.frames

    def input(self, stage: str) -> Path:
        """Return the run folder of an earlier stage."""
        return current_run(self.experiment, stage)

    def read(self, stage: str, table: str) -> pd.DataFrame:
        """Read a table of an earlier stage, as it was when this stage was opened.

        Raises
        ------
        StageError
            When this stage did not declare that it reads the table, or the file has changed meanwhile.
        """
        from nbpkg import tables  # pandas only when needed

        name = f"{table}.csv"
        known = self.receipt["inputs"].get(stage, {}).get("artefacts", {})
        path = self.input(stage) / name
        if name not in known or files.sha256(path) != known[name]:
            raise StageError(
                f"{name} of stage {stage!r} is not what it was when this stage was opened.",
                where=str(path),
                expected="An input declared in nbpkg/runs/graph.py, unchanged since.",
                remedy="Run this notebook again from the top.",
            )
        return tables.read(path, table)

    def changed_sources(self, paths: Sequence[Path]) -> list[str]:
        """Return which raw files are new, gone or different since this stage was opened, relative to the data folder.

        Parameters
        ----------
        paths
            The raw files as they are now.
        """
        known = {name: entry["sha256"] for name, entry in self.receipt["sources"].items()}
        cache = self.experiment.folder.parent.parent / ".hashes.json"
        found = files.source_hashes(list(paths), base=self.data, cache=cache)
        now_there = {name: entry["sha256"] for name, entry in found.items()}
        return sorted(name for name in known | now_there if known.get(name) != now_there.get(name))

    def write_table(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Check a table against its contract, write it and return it."""
        from nbpkg import tables

        checked = tables.check(table, name)
        path = self.folder / f"{name}.csv"
        try:
            tables.write(checked, path, name)
        except OSError as error:
            raise files.cannot_write(path, error) from None
        self._add_output(path, rows=len(checked))
        return checked

    def write_extra(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Write a table for people, which no later stage reads and no contract binds."""
        with files.new_file(self.folder / "tables" / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
        self._add_output(self.folder / "tables" / f"{name}.csv", rows=len(table))
        return table

    def write_array(self, array: np.ndarray, name: str) -> np.ndarray:
        """Write an array as ``.npy`` and return it."""
        self._add_output(files.write_array(self.folder / f"{name}.npy", array), rows=len(array))
        return array

    def write_weights(self, tensors: Mapping[str, np.ndarray], name: str, *, facts: Mapping[str, str]) -> Path:
        """Write named arrays and a few facts about them as ``.safetensors``."""
        from safetensors.numpy import save_file

        with files.new_file(self.folder / f"{name}.safetensors") as temporary:
            ordered = {key: np.asarray(tensors[key], order="C") for key in sorted(tensors)}
            save_file(ordered, temporary, metadata=dict(sorted(facts.items())))
        return self._add_output(self.folder / f"{name}.safetensors", rows=len(tensors))

    def write_json(self, value: Any, name: str) -> Any:
        """Write plain data as JSON and return it."""
        self._add_output(files.write_json(self.folder / f"{name}.json", value))
        return value

    def write_text(self, text: str, name: str) -> Path:
        """Write a text file, name with ending."""
        with files.new_file(self.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return self._add_output(self.folder / name)

    def note(self, problems: Sequence[Problem]) -> pd.DataFrame:
        """Write everything noticed about the input as table ``problems``; repairs and warnings count as warnings."""
        from nbpkg import tables

        for problem in problems:
            if problem.severity != "error":
                self.receipt["warnings"].append(f"{problem.where}: {problem.what}")
        return self.write_table(tables.from_problems(problems), "problems")

    def adopt_all(self, folder: str) -> None:
        """Take every file below a folder of the run folder into the receipt."""
        for path in sorted((self.folder / folder).rglob("*")):
            if path.is_file():
                self._add_output(path)

    def adopt(self, path: Path) -> Path:
        """Take a file that a room has written into the run folder into the receipt."""
        return self._add_output(path)

    def figure(self, figure: Figure, name: str) -> SavedFigure:
        """Save a figure and return the saved picture, so that report and file show the same, drawn once."""
        from matplotlib import pyplot

        path = self.folder / "figures" / f"{name}.png"
        with files.new_file(path) as temporary:
            figure.savefig(temporary, dpi=110, metadata={"Software": None})
        pyplot.close(figure)
        return SavedFigure(self._add_output(path))

    def drop(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Record what was left out (table ``dropped``) and return it."""
        self._dropped.append(rows)
        return rows

    def warn(self, text: str) -> None:
        """Record a warning and show it."""
        self.receipt["warnings"].append(text)
        progress.say(f"Warning: {text}")

    def check(self, claim: str, held: bool, detail: str = "") -> None:
        """Record whether a claim held; `close` refuses when one did not."""
        self.receipt["checks"].append({"claim": claim, "held": bool(held), "detail": detail})

    def checks(self) -> pd.DataFrame:
        """Return the checks so far, for showing."""
        import pandas as pd

        marks = [
            {"": "✓" if item["held"] else "✗", "claim": item["claim"], "found": item["detail"]}
            for item in self.receipt["checks"]
        ]
        return pd.DataFrame(marks, columns=["", "claim", "found"])

    def close(self, metrics: Mapping[str, float | int | str] | None = None) -> str:
        """Write metrics and receipt if every check held, and name the next notebook.

        Parameters
        ----------
        metrics
            Headline numbers, shown in the index of reports.

        Raises
        ------
        StageError
            Listing the checks that did not hold; then there is no receipt.
        """
        self._write_dropped()
        failed = [item for item in self.receipt["checks"] if not item["held"]]
        if failed:
            lines = "\n".join(f"- {item['claim']}: {item['detail']}" for item in failed)
            raise StageError(
                f"{len(failed)} of {len(self.receipt['checks'])} checks did not hold.\n{lines}",
                where=str(self.folder),
                remedy="Look at the figures above; correct the input or the settings and run the notebook again.",
            )
        self.receipt["metrics"] = self.write_json(dict(metrics or {}), "metrics")
        return self._write_receipt("done")

    def pass_by(self, why: str) -> str:
        """Close a stage that does not apply to this experiment: a receipt without artefacts that says why."""
        self._write_dropped()
        self.receipt |= {"metrics": {}, "why": why}
        self.about = why
        return self._write_receipt("not_applicable")

    def _write_receipt(self, state: str) -> str:
        self.receipt |= {"state": state, **ended(self.receipt)}
        files.write_json(self.folder / "receipt.json", self.receipt)
        worker = self.experiment.header.launch.worker
        files.write_json(worker_folder(step_folder(self.experiment, self.step), worker) / "receipt.json", self.receipt)
        (self.folder / "receipt.running.json").unlink(missing_ok=True)
        return self._farewell()

    def _write_dropped(self) -> None:
        from nbpkg import tables

        import pandas as pd  # isort: skip

        rows = pd.concat(self._dropped) if self._dropped else tables.empty("dropped")
        self.write_table(rows, "dropped")
        self.receipt["dropped"] = int(rows["rows"].sum()) if len(rows) else 0

    def _farewell(self) -> str:
        order = own_steps(self.experiment)
        following = order[order.index(self.step) + 1 :] if self.step in order else []
        size = sum(entry["bytes"] for entry in self.receipt["outputs"].values())
        count = len(self.receipt["outputs"])
        text = f"Done: {count} files, {size / 1e6:.1f} MB, in {self.folder.relative_to(self.experiment.folder)}."
        return f"{text} Next: {how_to_run(following[0])}" if following else text

    def _add_output(self, path: Path, *, rows: int | None = None) -> Path:
        entry: dict[str, Any] = {"sha256": files.sha256(path), "bytes": path.stat().st_size}
        if rows is not None:
            entry["rows"] = rows
        self.receipt["outputs"][path.relative_to(self.folder).as_posix()] = entry
        return path

    def _repr_markdown_(self) -> str:
        """Show what the stage means here, its inputs and settings, when it ends a cell."""
        lines = [f"**{self.about}**\n", "| reads | experiment | run | made |", "|---|---|---|---|"]
        for stage, entry in self.receipt["inputs"].items():
            lines.append(f"| {stage} | {entry['experiment']} | `{entry['key'][:8]}` | {_age(entry['ended'])} |")
        if self.receipt["sources"]:
            size = sum(entry["bytes"] for entry in self.receipt["sources"].values()) / 1e6
            lines.append(f"| raw data | {len(self.receipt['sources'])} files, {size:.1f} MB | | |")
        lines += ["", "| setting | value | meaning |", "|---|---|---|"]
        for name, info in type(self.settings).model_fields.items():
            value = _short(getattr(self.settings, name))
            lines.append(f"| `{name}` | {value} | {info.description or ''} |")
        state = "continues what an earlier run began" if self.receipt["resumed"] else "new"
        lines.append(f"\nSeed {self.seed}; run `{self.receipt['key'][:8]}` ({state}).")
        return "\n".join(lines)


def now() -> str:
    """Return the time, UTC, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def ended(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return when a stage that ends now ended, and how long it took."""
    begun = dt.datetime.fromisoformat(receipt["started"])
    end = dt.datetime.fromisoformat(now())
    return {"ended": end.isoformat(), "seconds": round((end - begun).total_seconds())}


def _age(moment: str) -> str:
    minutes = (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(moment)).total_seconds() / 60
    if minutes < 60:
        return f"{minutes:.0f} min ago"
    return f"{minutes / 60:.0f} h ago" if minutes < 48 * 60 else f"{minutes / 60 / 24:.0f} days ago"


def _short(value: Any) -> str:
    text = str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= 60 else f"{text[:57]}…"
