"""The painter: a widget in which one person after another paints where the picture made them answer as they did.

The browser paints; this side gives it the pictures of one snippet at a time and puts every finished stroke on disk
before it says so (`nbpkg.attention.painting.log`). Nothing travels as widget state, so that no saved notebook holds a
frame.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import progress
from nbpkg.attention.painting.lines import find_painting
from nbpkg.attention.painting.log import Acknowledged, PaintingLog, painting_path
from nbpkg.attention.painting.operations import check_name
from nbpkg.attention.painting.pictures import Clip
from nbpkg.errors import NbpkgError, PaintingError

_QUEUE_FACTS = ("session", "task", "variable")  # what a painter may know of a snippet: never its label or its raters
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class PainterOptions:
    """How the painter begins; each person's later choices are kept in the browser.

    Parameters
    ----------
    title
        Shown at the top while no snippet is open.
    instructions
        What painters are asked to do; shown before they begin.
    radius, eraser_radius
        Of brush and eraser, as share of the picture's short side, 0.004 to 0.5.
    strength, eraser_strength
        Paint that one touch lays on or takes away at the centre, 0.02 to 1.
    opacity
        Of the paint shown over the picture, 0.1 to 1.

    Raises
    ------
    PaintingError
        When a number lies outside its range.
    """

    title: str = ""
    instructions: str = ""
    radius: float = 0.06
    eraser_radius: float = 0.06
    strength: float = 0.2
    eraser_strength: float = 0.5
    opacity: float = 0.75

    def __post_init__(self) -> None:
        size, amount = (0.004, 0.5), (0.02, 1.0)
        ranges = {"radius": size, "eraser_radius": size, "strength": amount, "eraser_strength": amount}
        for name, (low, high) in (ranges | {"opacity": (0.1, 1.0)}).items():
            if not low <= getattr(self, name) <= high:
                raise PaintingError(
                    f"{name} = {getattr(self, name)!r} cannot be used.", expected=f"A number from {low} to {high}."
                )

    def to_json(self) -> dict[str, Any]:
        """Return the tools as the browser holds them."""
        return {
            "brush": {"radius": self.radius, "strength": self.strength},
            "eraser": {"radius": self.eraser_radius, "strength": self.eraser_strength},
            "opacity": self.opacity,
        }


class Painter(anywidget.AnyWidget):
    """The widget; show it as the last expression of a cell.

    Messages may arrive in any thread of the kernel. All answers but the pictures are small; those go out once for each
    opening, as JPEG. What goes wrong here is shown in the browser, in words.

    Parameters
    ----------
    queue
        Table ``queue``: who paints which snippet, in which order.
    snippets
        Table ``snippets``.
    folder
        Where paintings lie, one folder for each painter.
    load
        Gives the pictures of a snippet by its name. Called in a thread of its own, one call at a time.
    questions
        What painters answer for each snippet, and the answers there are.
    painters
        Who may paint; each has rows in the queue, or none.
    options
        How the painter begins.

    Raises
    ------
    PaintingError
        When a name cannot be that of a file, a snippet of the queue is unknown, a question has no answers, or somebody
        in the queue is no painter.
    """

    _esm = Path(__file__).with_name("painter.js")
    _css = Path(__file__).with_name("painter.css")

    def __init__(
        self,
        queue: pd.DataFrame,
        snippets: pd.DataFrame,
        *,
        folder: Path,
        load: Callable[[str], Clip],
        questions: Mapping[str, Sequence[str]],
        painters: Sequence[str],
        options: PainterOptions | None = None,
    ) -> None:
        _check_queue(queue, snippets, questions=questions, painters=painters)
        self._queue = queue.sort_values(["painter", "position"], kind="stable")
        self._snippets = {str(row["snippet_id"]): row for row in snippets.to_dict("records")}
        self._folder, self._load, self._painters = Path(folder), load, list(painters)
        self._questions = {name: list(values) for name, values in questions.items()}
        self._options = options or PainterOptions()
        self._logs: dict[tuple[str, str], PaintingLog] = {}
        self._pictures: dict[str, Future[tuple[Clip, list[bytes]]]] = {}
        self._guard = threading.RLock()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="painter-pictures")
        super().__init__()
        self.on_msg(self._receive)

    def close(self) -> None:
        """Let others paint on, and take the widget off the page."""
        if hasattr(self, "_guard"):
            with self._guard:
                for log in self._logs.values():
                    log.close()
                self._logs.clear()
            self._reader.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _receive(self, _widget: object, message: Mapping[str, Any], _buffers: object) -> None:
        answers = {"hello": self._hello, "who": self._hello, "open": self._open, "op": self._append}
        answer = answers.get(str(message.get("type")), self._refuse)
        try:
            with self._guard:
                answer(message)
        except NbpkgError as error:
            self._complain(message, str(error))
        except Exception as error:
            self._complain(message, f"{type(error).__name__} in the kernel: {error}")
            raise

    def _answer(self, message: Mapping[str, Any], kind: str, content: dict[str, Any]) -> None:
        self.send({"type": kind, "client": message.get("client"), **content})

    def _complain(self, message: Mapping[str, Any], text: str) -> None:
        self._answer(message, "error", {"text": text, "about": message.get("type")})

    def _refuse(self, message: Mapping[str, Any]) -> None:
        what = f"The browser sent {message.get('type')!r}, which is unknown."
        raise PaintingError(what, remedy="Save the notebook, load the page again and run the cell.")

    def _hello(self, message: Mapping[str, Any]) -> None:
        """Say who may paint, and to a painter what there is to paint: the own queue, and nothing of others."""
        painter = message.get("painter")
        if painter is not None and painter not in self._painters:
            raise PaintingError(f"{painter!r} is not among the painters.", expected=", ".join(self._painters))
        queue, damaged = self._read_queue(painter) if painter is not None else ([], [])
        content = {
            "store": hashlib.sha256(str(self._folder.resolve()).encode()).hexdigest()[:12],
            "painters": self._painters,
            "painter": painter,
            "questions": [{"question": name, "values": values} for name, values in self._questions.items()],
            "queue": queue,
            "tools": self._options.to_json(),
            "title": self._options.title,
            "instructions": self._options.instructions,
        }
        self._answer(message, "state", content)
        if damaged:
            self._complain(message, "\n".join(damaged))

    def _read_queue(self, painter: str) -> tuple[list[dict[str, Any]], list[str]]:
        rows, damaged = [], []
        for place, name in enumerate(self._queue.loc[self._queue["painter"] == painter, "snippet_id"]):
            snippet_id, state, path = str(name), "todo", painting_path(self._folder, painter, str(name))
            try:
                found = find_painting(path) if path.is_file() else None
                state = found.state if found else "todo"
            except PaintingError as error:
                state = "begun"  # something is there; opening it says again what is wrong
                damaged.append(str(error))
            snippet = self._snippets[snippet_id]
            facts = {key: str(snippet[key]) for key in _QUEUE_FACTS}
            times = {key: int(snippet[key]) for key in ("start_ms", "end_ms")}
            rows.append({"snippet_id": snippet_id, "position": place, "state": state, **facts, **times})
        return rows, damaged

    def _open(self, message: Mapping[str, Any]) -> None:
        """Send the pictures of a snippet and all that was painted on it; other windows let go of it."""
        painter, snippet_id = self._in_queue(message)
        clip, pictures = self._read(snippet_id).result()
        log = self._log(painter, snippet_id, clip)
        key = {"client": message.get("client"), "painter": painter, "snippet_id": snippet_id}
        self.send({"type": "opened", **key})
        content = {"header": log.header, "ops": log.operations, "fps": float(clip.fps)}
        self.send({"type": "clip", **key, **content}, buffers=pictures)
        self._read_ahead(painter, snippet_id)

    def _append(self, message: Mapping[str, Any]) -> None:
        painter, snippet_id = self._in_queue(message)
        log = self._logs.get((painter, snippet_id))
        if log is None:
            raise PaintingError(f"Snippet {snippet_id!r} is not open.", remedy="Open it again from the list.")
        result = log.append(message.get("op"))
        content: dict[str, Any] = {"painter": painter, "snippet_id": snippet_id, "n": result.n}
        if isinstance(result, Acknowledged):
            self._answer(message, "ack", content | {"state": result.state})
        else:
            self._answer(message, "refused", content | {"why": result.why, "last": result.last})

    def _in_queue(self, message: Mapping[str, Any]) -> tuple[str, str]:
        painter, snippet_id = message.get("painter"), message.get("snippet_id")
        rows = self._queue[(self._queue["painter"] == painter) & (self._queue["snippet_id"] == snippet_id)]
        if rows.empty:
            raise PaintingError(f"Snippet {snippet_id!r} is not in the queue of {painter!r}.")
        return str(painter), str(snippet_id)

    def _log(self, painter: str, snippet_id: str, clip: Clip) -> PaintingLog:
        key, snippet = (painter, snippet_id), self._snippets[snippet_id]
        if key in self._logs:  # the file may have been moved away: opening looks again
            self._logs.pop(key).close()
        header = {
            "snippet_id": snippet_id,
            "painter": painter,
            **{name: str(snippet[name]) for name in _QUEUE_FACTS},
            **{name: int(snippet[name]) for name in ("start_ms", "end_ms")},
            "frame_ms": list(clip.frame_ms),
            "width": clip.width,
            "height": clip.height,
        }
        path = painting_path(self._folder, painter, snippet_id)
        self._logs[key] = PaintingLog.open(path, header, self._questions)
        return self._logs[key]

    def _read(self, snippet_id: str) -> Future[tuple[Clip, list[bytes]]]:
        """Read pictures in the thread for that; what failed is tried again."""
        known = self._pictures.get(snippet_id)
        if known is None or (known.done() and known.exception() is not None):
            self._pictures[snippet_id] = self._reader.submit(self._encode, snippet_id)
        return self._pictures[snippet_id]

    def _encode(self, snippet_id: str) -> tuple[Clip, list[bytes]]:
        clip = self._load(snippet_id)
        return clip, [encode_jpeg(frame) for frame in clip.frames]

    def _read_ahead(self, painter: str, snippet_id: str) -> None:
        """Have the next snippet ready, so that it opens at once, and let go of all others."""
        own = self._queue.loc[self._queue["painter"] == painter, "snippet_id"].astype(str).tolist()
        place = own.index(snippet_id)
        following = own[place + 1 : place + 2]
        self._pictures = {name: kept for name, kept in self._pictures.items() if name in (snippet_id, *following)}
        for name in following:
            self._read(name)


def show_painter(
    queue: pd.DataFrame,
    snippets: pd.DataFrame,
    *,
    folder: Path,
    load: Callable[[str], Clip],
    questions: Mapping[str, Sequence[str]],
    painters: Sequence[str],
    options: PainterOptions | None = None,
) -> Painter | None:
    """Give the painter where a person is at the notebook; elsewhere say how many snippets wait, and give None.

    Parameters are those of `Painter`. Headless, no widget is made at all, so that no report holds its state.
    """
    if progress.is_live():
        return Painter(
            queue, snippets, folder=folder, load=load, questions=questions, painters=painters, options=options
        )
    progress.say(f"{len(queue)} snippets for {len(painters)} painters; open the notebook in JupyterLab to paint.")
    return None


def encode_jpeg(frame: NDArray[np.uint8]) -> bytes:
    """Return an RGB picture ``[H, W, 3]`` as a JPEG file."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def _check_queue(
    queue: pd.DataFrame, snippets: pd.DataFrame, *, questions: Mapping[str, Sequence[str]], painters: Sequence[str]
) -> None:
    for painter in painters:
        check_name(painter, "painter")
    for snippet_id in queue["snippet_id"]:
        check_name(snippet_id, "snippet")
    unknown = sorted(set(queue["snippet_id"]) - set(snippets["snippet_id"]))
    strangers = sorted(set(queue["painter"]) - set(painters))
    empty = [name for name, values in questions.items() if not values]
    faults = {"snippets that are not in the table": unknown, "people who are no painters": strangers}
    for what, found in (faults | {"questions without answers": empty}).items():
        if found:
            raise PaintingError(
                f"The queue cannot be painted: it has {what}: {', '.join(found)}.",
                remedy="Make the queue anew from the snippets, painters and questions of the parameter file.",
            )
