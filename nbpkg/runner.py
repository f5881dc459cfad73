"""Run one notebook headlessly: papermill, with signals, one retry on a port clash, and the receipt as verdict."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbpkg.errors import StageError
from nbpkg.progress import say
from nbpkg.runs import NODES
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import step_folder, step_of, worker_folder
from nbpkg.settings.experiment import Experiment

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def stage_of(notebook: Path) -> str:
    """Return the stage that a notebook runs.

    Raises
    ------
    StageError
        When it is none of ours.
    """
    for node in NODES.values():
        if node.notebook == notebook.stem:
            return node.name
    raise StageError(
        f"{notebook.name!r} runs no stage.",
        expected=f"One of {', '.join(node.notebook for node in NODES.values())}.",
        remedy="Name a notebook of the folder notebooks/.",
    )


def run_notebook(notebook: Path, output: Path | None, values: Mapping[str, Any], experiment: Experiment) -> int:
    """Execute a notebook with an experiment's values.

    Parameters
    ----------
    notebook
        The stored notebook.
    output
        Where the executed copy goes; ``executed.ipynb`` in the stage's folder when None. A copy also goes to the
        run folder.
    values
        As in the parameter file.
    experiment
        The same, checked.

    Returns
    -------
    int
        Exit status: 0 when a fresh receipt says ``done``, 1 when not, 128 + N after signal N.
    """
    name = stage_of(notebook)
    step = step_folder(experiment, step_of(experiment, name))
    folder = worker_folder(step, experiment.header.launch.worker)
    executed = output or folder / "executed.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    before = _receipt_stamp(folder)
    status, message = _execute_with_retry(notebook, executed, values)
    if status == 0 and _receipt_stamp(folder) == before:
        status, message = 1, "The notebook ended without a receipt: its last cells did not close the stage."
    if status:
        say(f"{notebook.stem} failed.\n{message}\nThe executed notebook shows where: {executed}")
        return status
    _file_with_run(executed, step / str(read_json(folder / "receipt.json")["run"]))
    return 0


def _execute_with_retry(notebook: Path, executed: Path, values: Mapping[str, Any]) -> tuple[int, str]:
    """Execute; once more if the kernel lost the race for a port (papermill issue 511)."""
    for attempt in (1, 2):
        try:
            with _headless_environment():
                return _execute(notebook, executed, values)
        except RuntimeError as error:
            clash = "Kernel died before replying" in str(error) or "Address already in use" in str(error)
            if attempt == 2 or not clash:
                return 1, f"The notebook's kernel stopped: {error}"
            say("The kernel could not start, probably because its port was just taken; trying once more.")
    return 1, "The notebook's kernel could not start."


def _execute(notebook: Path, executed: Path, values: Mapping[str, Any]) -> tuple[int, str]:
    # A grammar for web addresses that jsonschema compiles at import and we never use: up to four seconds a run.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
    from papermill.exceptions import PapermillExecutionError

    received: list[int] = []
    clients: list[Any] = []

    class Engine(NBClientEngine):  # type: ignore[misc]
        """Papermill's own engine, keeping the client so that signals reach its kernel."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
            client = PapermillNotebookClient(
                nb_man,
                kernel_name=kernel_name,
                startup_timeout=120,
                timeout=None,
                store_widget_state=False,
                extra_arguments=["--log-level=40"],  # the kernel warns at every start that loopback is not encrypted
            )
            client.on_cell_start = refuse
            clients.append(client)
            return client.execute()

    def refuse(**_: Any) -> None:
        """Begin no cell after a signal: a kernel that is starting or idle takes no notice of an interrupt."""
        if received:
            raise InterruptedError

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        if clients and clients[0].km is not None and clients[0].km.provisioner is not None:
            os.kill(clients[0].km.provisioner.pid, signal.SIGINT)

    papermill_engines.register("nbpkg", Engine)
    previous = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        papermill.execute_notebook(
            str(notebook), str(executed), parameters=dict(values), engine_name="nbpkg", progress_bar=False
        )
    except (PapermillExecutionError, RuntimeError, InterruptedError) as error:
        if received:
            return 128 + received[0], f"Interrupted by {signal.Signals(received[0]).name}; run it again to resume."
        if isinstance(error, PapermillExecutionError):
            return 1, f"{error.ename}: {error.evalue}"
        if not isinstance(error, (DeadKernelError, CellTimeoutError)):
            raise
        return 1, f"The kernel died, most often because memory ran out ({error}). Ask for more memory or fewer workers."
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0, ""


@contextmanager
def _headless_environment() -> Iterator[None]:
    """Tell the kernel that nobody watches, that progress bars belong in no log, and which package this is."""
    wanted = {"NBPKG_LIVE": "0", "TQDM_DISABLE": "1", "PYTHONHASHSEED": "0"}
    # Threads that wait asleep: beside another process, spinning ones made a training step up to ten times longer.
    wanted["OMP_WAIT_POLICY"] = "PASSIVE"
    before = {name: os.environ.get(name) for name in (*wanted, "JPY_SESSION_NAME")}
    os.environ.pop("JPY_SESSION_NAME", None)
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _receipt_stamp(folder: Path) -> tuple[int, str] | None:
    path = folder / "receipt.json"
    if not path.is_file():
        return None
    return path.stat().st_mtime_ns, str(read_json(path)["state"])


def _file_with_run(executed: Path, run: Path) -> None:
    """Put the executed notebook and its report into the run folder."""
    from nbpkg import report

    (run / "executed.ipynb").write_bytes(executed.read_bytes())
    report.write_report(run / "executed.ipynb", run / "report.html")
