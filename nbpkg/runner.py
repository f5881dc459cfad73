"""Run one notebook headlessly: papermill, with signals, one retry on a port clash, and a verdict that can be trusted.

Exit status: 0 done, 1 failed, 128 + N stopped by signal N (143 after SIGTERM); run it again to resume. Done means that
papermill ended well, that the stage wrote a fresh receipt, and that every cell was executed.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from nbpkg.errors import StageError
from nbpkg.progress import say
from nbpkg.runs import NODES, cells
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import step_folder, step_of, worker_folder
from nbpkg.runs.stage import now
from nbpkg.runs.watch import RUNNING, STOPS, note_end
from nbpkg.settings.experiment import Experiment

# New objects before Python looks for cycles among them; at its usual 700 a fifth of the time of our imports goes there.
COLLECT_AFTER = 20_000
SAVE_SECONDS = 1  # least time from one writing of the notebook that runs to the next
GRACE_SECONDS = 25  # for the cell to end after a signal; SLURM kills everything after 30 (KillWait)


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
    """Execute a notebook with an experiment's values; what its cells print goes to standard error at once.

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
        Exit status: 0 when papermill ended well, a fresh receipt says ``done`` and every cell was executed; 128 + N
        after signal N to this process or to the kernel; else 1.
    """
    name = stage_of(notebook)
    step = step_folder(experiment, step_of(experiment, name))
    worker = experiment.header.launch.worker
    folder = worker_folder(step, worker)
    executed = output or folder / "executed.ipynb"
    executed.parent.mkdir(parents=True, exist_ok=True)
    stop = _Stop()
    with redirect_stderr(cast(TextIO, _LastingStream(sys.stderr))), stop.listening():
        say(_greeting(notebook))
        before = _receipt_stamp(folder), _running_stamps(step, worker)
        reason = _execute_with_retry(notebook, executed, values, stop)
        if not reason and _receipt_stamp(folder) == before[0]:
            reason = "The notebook ended without a receipt: its last cells did not close the stage."
        reason = reason or _unexecuted(executed)
        if not reason:
            _file_with_run(executed, step, read_json(folder / "receipt.json"))
            return 0
        begun = [path for path, stamp in _running_stamps(step, worker).items() if before[1].get(path) != stamp]
        number = _settle(begun, reason, stop.number)
        say(_farewell(notebook, executed, reason, number))
        return 128 + number if number else 1


def _greeting(notebook: Path) -> str:
    """Begin an attempt in a log that may hold several: when, what, where."""
    job = f", SLURM job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    again = f", start {int(os.environ['SLURM_RESTART_COUNT']) + 1}" if "SLURM_RESTART_COUNT" in os.environ else ""
    return f"{now()} {notebook.stem} begins on {socket.gethostname()}{job}{again}"


class _Stopped(Exception):  # noqa: N818  it is no error
    """Raised instead of beginning something after a signal."""


class _Stop:
    """The wish to stop: taken from a signal, passed on to the kernel, enforced when the time of grace is over."""

    def __init__(self) -> None:
        self.number, self.was_enforced = 0, False
        self.kernel: subprocess.Popen[bytes] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals within the block; after one, go on doing so: the process is about to end."""
        handlers: dict[int, Callable[[int, object], None]] = {**dict.fromkeys(STOPS, self.take)}
        handlers[signal.SIGALRM] = self.enforce
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                if not self.number:
                    signal.signal(number, handler)

    def take(self, number: int, _: object) -> None:
        """Remember the first signal; the kernel is told once, however often somebody presses Ctrl-C."""
        if not self.number:
            self.number = number
            signal.alarm(GRACE_SECONDS)
            self.pass_on()

    def pass_on(self) -> None:
        """Tell the kernel, by the one signal that ends it while it starts and interrupts its cell later."""
        if self.number and self.kernel is not None:
            self.kernel.terminate()

    def enforce(self, _number: int, _frame: object) -> None:
        """Kill a kernel that takes no notice, e.g. in the middle of long work in C."""
        if self.kernel is not None:
            self.was_enforced = True
            self.kernel.kill()

    def refuse(self, **_: Any) -> None:
        """Begin nothing after a signal: a kernel that is starting or idle may have taken no notice of it."""
        if self.number:
            raise _Stopped

    def sweep(self) -> None:
        """Ask what a dead kernel left behind to end; the kernel leads a process group of its own."""
        if self.kernel is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.kernel.pid, signal.SIGTERM)


class _LastingStream(io.TextIOBase):
    """Standard error that may lose its reader: ``scancel`` and Ctrl-C end the ``tee`` behind a pipe as well."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        for do in (lambda: self.stream.write(text), self.stream.flush):
            try:
                do()
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EIO):  # the reader of a pipe, or a terminal, is gone
                    raise
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)
                do()  # a log file beside the screen shall have it
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()


def _execute_with_retry(notebook: Path, executed: Path, values: Mapping[str, Any], stop: _Stop) -> str:
    """Execute; once more if the kernel lost the race for a port (papermill issue 511). Return why it failed, or ''."""
    with _headless_environment():
        reason, clash = _execute(notebook, executed, values, stop)
        if clash:
            say("The kernel could not start, probably because its port was just taken; trying once more.")
            reason, _ = _execute(notebook, executed, values, stop)
    return reason


def _execute(notebook: Path, executed: Path, values: Mapping[str, Any], stop: _Stop) -> tuple[str, bool]:
    """Execute once; return why it failed, or '', and whether the kernel gave up by itself while it started."""
    # Grammars, for web addresses and durations, that jsonschema compiles at import and we never use: up to 4 s a run.
    for unused in ("rfc3987_syntax", "isoduration"):
        sys.modules.setdefault(unused, None)  # type: ignore[arg-type]
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    _register_engine(stop)
    stop.kernel = None
    try:
        papermill.execute_notebook(
            str(notebook), str(executed), parameters=dict(values), engine_name="nbpkg", progress_bar=False
        )
    except _Stopped:
        return "Stopped before the next cell.", False
    except PapermillExecutionError as error:
        return f"{error.ename}: {error.evalue}", False
    except NoSuchKernel as error:
        return f"The notebook wants the kernel {error.name!r}, which is not installed.", False
    except CellTimeoutError:
        return "The output of a cell did not arrive within a minute of its end; the machine may be overloaded.", False
    except RuntimeError as error:
        status = stop.kernel.poll() if stop.kernel is not None else None
        if isinstance(error, DeadKernelError) or (status is not None and status < 0):
            return _obituary(status, executed, stop), False
        return (
            f"The notebook's kernel could not start: {error}. Its own words stand above.",
            status is not None and not stop.number,
        )
    finally:
        stop.sweep()
    return "", False


def _register_engine(stop: _Stop) -> None:
    """Make papermill use a client that hears of signals and shows the kernel's text as it comes."""
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import CellTimeoutError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines

    class Manager(AsyncKernelManager):
        """Jupyter's own manager."""

        async def _async_interrupt_kernel(self) -> None:
            """Do not interrupt before shutting down: no cell runs, and the kernel would log it as an error."""

    class Client(PapermillNotebookClient):  # type: ignore[misc]
        """Papermill's own client."""

        def start_new_kernel(self) -> None:
            """Start the kernel unless told to stop; it may have become so meanwhile."""
            stop.refuse()
            super().start_new_kernel()
            stop.kernel = self.km.provisioner.process
            stop.pass_on()

        def execute(self) -> Any:
            """Mark where the kernel was lost; papermill would mark that cell and all later ones as completed."""
            try:
                return super().execute()
            except (CellTimeoutError, RuntimeError, _Stopped):
                begun = [cell for cell in self.nb.cells if cell.metadata.papermill.start_time] or self.nb.cells[:1]
                self.nb_man.cell_exception(begun[-1])
                raise

    class Engine(NBClientEngine):  # type: ignore[misc]
        """Papermill's own engine."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
            """Run all cells."""
            client = Client(
                nb_man,
                kernel_name=kernel_name,
                kernel_manager_class=Manager,
                startup_timeout=120,
                timeout=None,
                iopub_timeout=60,  # a busy machine may take more than the usual 4 s to deliver a cell's last output
                store_widget_state=False,
                stdout_file=sys.stderr,
                stderr_file=sys.stderr,
                extra_arguments=[
                    "--log-level=40",  # the kernel warns at every start that loopback is not encrypted
                    f"--IPKernelApp.exec_lines=__import__('gc').set_threshold({COLLECT_AFTER})",
                ],
            )
            client.on_cell_start = stop.refuse
            nb_man.save = _seldom(nb_man.save)
            try:
                return client.execute()
            finally:
                del nb_man.save  # so that the last state is written whenever it comes

    papermill_engines.register("nbpkg", Engine)


def _seldom(save: Callable[[], None]) -> Callable[[], None]:
    """Let through one call in a while; papermill writes the whole notebook before and after every cell."""
    last = 0.0

    def save_seldom() -> None:
        nonlocal last
        if time.monotonic() - last >= SAVE_SECONDS:
            save()
            last = time.monotonic()

    return save_seldom


def _obituary(status: int | None, executed: Path, stop: _Stop) -> str:
    """Say how the kernel died; the signals that ask a run to stop may have been sent to the kernel alone."""
    cause = signal.Signals(-status).name if status is not None and status < 0 else f"exit status {status}"
    if not stop.number and status is not None and -status in STOPS:
        stop.number = -status
    if stop.number:
        deaf = f" after {GRACE_SECONDS} s, in which the cell took no notice of the signal" if stop.was_enforced else ""
        return f"The kernel was ended by {cause}{deaf}."
    unexecuted = _unexecuted(executed)
    reason = f"The kernel died, most often because memory ran out ({cause}). Ask for more memory or fewer workers."
    return f"{reason}\n{unexecuted}" if unexecuted else reason


def _unexecuted(executed: Path) -> str:
    """Name the first cell that was not executed; '' when all were."""
    cells = [cell for cell in read_json(executed)["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"]).strip()
        if source and cell["execution_count"] is None:
            line = source.splitlines()[0]
            return f"Code cell {number} of {len(cells)} was the first that was not executed: {line}"
    return ""


def _settle(begun: list[Path], reason: str, number: int) -> int:
    """Write into running receipts what their kernel could not write any more; return the signal that ended the run."""
    for path in begun:
        receipt = read_json(path)
        known = {signal.Signals(stop).name: stop for stop in STOPS}.get(receipt.get("signal"), 0)
        number = number or known
        if number:
            error = receipt.get("error", reason)
            note_end(path, receipt, state="interrupted", error=error, number=number)
        elif receipt["state"] == "running":
            note_end(path, receipt, state="failed", error=reason)
    return number


def _farewell(notebook: Path, executed: Path, reason: str, number: int) -> str:
    """Say why the run did not end well and what to do."""
    if not number:
        return f"{notebook.stem} failed.\n{reason}\nThe executed notebook shows where: {executed}"
    text = f"Interrupted by {signal.Signals(number).name}; run it again to resume."
    return text if "SLURM_JOB_ID" in os.environ else f"{text}\nThe notebook up to there: {executed}"


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


def _running_stamps(step: Path, worker: int) -> dict[Path, int]:
    """Return when the running receipts of this step and worker were written, in nanoseconds."""
    paths = [worker_folder(run, worker) / RUNNING for run in step.glob("runs/*")]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


def _file_with_run(executed: Path, step: Path, receipt: Mapping[str, Any]) -> None:
    """Put the executed notebook and its report into the run folder."""
    from nbpkg import report

    run = step / str(receipt["run"])
    (run / "executed.ipynb").write_bytes(executed.read_bytes())
    kind = receipt["kind"] if receipt["state"] == "done" else cells.NONE
    report.write_report(run / "executed.ipynb", run / "report.html", kind=kind)
