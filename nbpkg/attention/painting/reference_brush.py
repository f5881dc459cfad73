"""The brush of the published painting tool, with its defects, for ``paint.compat: reference`` and for its golden data.

Its brush adds a Gaussian to the shown frame once per pointer event, so that paint depends on the speed of the hand and
on the machine; a click paints nothing; choosing a snippet always starts blank, and saving then replaces what was saved;
the answers of one snippet stay for the next. `nbpkg.attention.painting.raster` does none of that.

Source: the published painting tool, followed bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbpkg.attention.painting.exchange import PublishedName, published_info
from nbpkg.attention.painting.strokes import Stroke
from nbpkg.errors import PaintingError

PEAK = 0.1
_WHEEL = 1.15
_MODES = {"left": 1.0, "right": -1.0}


@dataclass(frozen=True)
class PublishedSnippet:
    """A row of the published tool's list.

    Parameters
    ----------
    rater, session, start_ms, label, task, variable
        Painter, recording session, start in milliseconds, the raters' consensus, task and variable.
    """

    rater: str
    session: str
    start_ms: int
    label: int
    task: str
    variable: str


@dataclass(frozen=True, eq=False)
class Saved:
    """What one press of the published tool's save button writes.

    Parameters
    ----------
    folder
        Name of the folder; an earlier one of that name is replaced.
    heat
        float32 ``[T, H, W]``, ``heatmap.npy``.
    info
        ``info.json``; ``saved`` is left empty, it was the time.
    frame, slider
        The frame shown, and where the slider stands: the two part when a snippet is chosen.
    sigma
        Of the brush, pixels.
    """

    folder: str
    heat: NDArray[np.float32]
    info: Mapping[str, Any]
    frame: int
    slider: int
    sigma: float


def published_kernel(sigma: float) -> NDArray[np.float64]:
    """Return the published brush: a Gaussian on a square of side max(1, int(5 sigma)), with 0.1 as its maximum.

    Parameters
    ----------
    sigma
        Spread of the Gaussian, pixels; radius of the circle on the screen.

    Returns
    -------
    numpy.ndarray
        float64 ``[side, side]``, symmetric about its middle, be it a pixel or a border.

    Examples
    --------
    >>> published_kernel(0.5).round(4).tolist(), published_kernel(1.92).shape
    ([[0.1, 0.1], [0.1, 0.1]], (9, 9))
    """
    side = max(1, int(5 * sigma))
    steps = np.arange(side) - (side - 1) / 2
    line = np.exp(-0.5 * steps**2 / sigma**2)
    kernel = np.outer(line, line)
    kernel /= kernel.sum()
    result: NDArray[np.float64] = PEAK * kernel / kernel.max()
    return result


def rasterise_published(
    strokes: Iterable[Stroke], *, shape: tuple[int, int, int], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Paint our strokes with the published brush: its Gaussian once per pointer point.

    The circle seen while painting is the same, so a stroke's radius is the Gaussian's sigma. As in the published tool,
    the point at which the button goes down paints nothing, points outside the picture paint nothing, and neither
    strength nor pressure counts. Where that tool would fail, a brush of one pixel at the border, nothing is painted.

    Parameters
    ----------
    strokes
        Strokes in the order in which they were painted.
    shape
        ``(T, H, W)`` of the map.
    size
        ``(width, height)`` of the picture that was shown; the brush keeps its share of the short side.

    Returns
    -------
    numpy.ndarray
        float32 ``[T, H, W]``, 0 to 1. Unlike those of `rasterise`, maps of two resolutions do not agree.

    Raises
    ------
    PaintingError
        When a stroke lies on a frame that the map lacks.
    """
    heat = np.zeros(shape, np.float32)
    scale = min(shape[2] / size[0], shape[1] / size[1]) * min(size)  # the short side, pixels of the map
    for stroke in strokes:
        if not 0 <= stroke.frame < len(heat):
            raise PaintingError(f"A stroke lies on frame {stroke.frame}.", expected=f"Frames 0 to {len(heat) - 1}.")
        kernel = published_kernel(stroke.radius * scale)
        if stroke.tool == "eraser":
            kernel = -kernel
        for _, x, y, *_ in stroke.points[1:]:
            if 0 <= x <= 1 and 0 <= y <= 1:  # the published tool puts pixel centres at whole numbers
                _add(heat[stroke.frame], kernel, x * shape[2] - 0.5, y * shape[1] - 0.5)
    return heat


def replay_events(
    events: Iterable[Sequence[Any]], *, snippets: Sequence[PublishedSnippet], size: tuple[int, int], frames: int = 15
) -> dict[str, Saved]:
    """Do with events what the published tool did with them.

    Parameters
    ----------
    events
        ``press left|right|middle``, ``release``, ``move x y`` (pixels, None = outside), ``wheel up|down``,
        ``slider i``, ``step_back``, ``step_forward``, ``clear_frame``, ``labels participating attending``,
        ``select_sample i`` and ``save tag``.
    snippets
        The tool's list, in the order of its drop-down; the first is shown at first.
    size
        ``(width, height)`` of the video, pixels.
    frames
        Frames of each snippet.

    Returns
    -------
    dict
        What was saved, by tag.

    Raises
    ------
    PaintingError
        When an event is unknown, or the published tool would fail: a brush that meets no pixel.
    """
    tool = _Tool(list(snippets), size, frames)
    saved: dict[str, Saved] = {}
    for number, (kind, *rest) in enumerate(events):
        if kind == "save":
            saved[rest[0]] = tool.saved()
        elif not tool.take(kind, rest):
            raise PaintingError(f"Event {number} {kind!r} cannot be replayed.", remedy="Correct the list of events.")
    return saved


class _Tool:
    """State of the published tool."""

    def __init__(self, snippets: list[PublishedSnippet], size: tuple[int, int], frames: int) -> None:
        self.snippets, self.size, self.frames = snippets, size, frames
        self.labels = {"participating": "no", "attending": "no"}
        self.slider = 0
        self.sign = 0.0
        self._choose(0)

    def _choose(self, index: int) -> None:
        """Show a snippet: always blank, and neither labels nor slider go back, though the first frame is shown."""
        self.index, self.frame = index, 0
        self.sigma = min(self.size) / 25
        self.heat = np.zeros((self.frames, self.size[1], self.size[0]), np.float32)

    def take(self, kind: str, rest: Sequence[Any]) -> bool:
        """Do what an event does; False when it is unknown."""
        match kind, *rest:
            case "press", button:
                self.sign = _MODES.get(button, self.sign)
            case ("release",):
                self.sign = 0.0
            case "move", x, y:
                self._move(x, y)
            case "wheel", ("up" | "down") as way:
                self.sigma = self.sigma * _WHEEL if way == "up" else self.sigma / _WHEEL
            case "slider", value:
                self._slide(value)
            case (("step_back" | "step_forward") as way,):
                self._slide((self.slider + (1 if way == "step_forward" else -1)) % self.frames)
            case ("clear_frame",):
                self.heat[self.frame] = 0
            case "labels", participating, attending:
                self.labels = {"participating": participating, "attending": attending}
            case "select_sample", index if index != self.index:
                self._choose(index)
            case "select_sample", _:
                pass  # a drop-down tells only of changes
            case _:
                return False
        return True

    def _move(self, x: float | None, y: float | None) -> None:
        if not self.sign or x is None or y is None:
            return
        if not _add(self.heat[self.frame], self.sign * published_kernel(self.sigma), x, y):
            raise PaintingError(
                f"The published tool fails here: its brush meets no pixel at ({x}, {y}).",
                expected="A larger brush, or a pointer farther inside.",
            )

    def _slide(self, value: int) -> None:
        """Move the slider; where it stands already nothing happens, even if another frame is shown."""
        if value != self.slider:
            self.frame = value
        self.slider = value

    def saved(self) -> Saved:
        """Return what the save button writes."""
        snippet = self.snippets[self.index]
        name = PublishedName(self.index, snippet.rater, snippet.session, int(snippet.start_ms / 1000), snippet.variable)
        info = published_info(name, start_ms=snippet.start_ms, label=snippet.label, labels=self.labels, saved="")
        return Saved(str(name), self.heat.copy(), info, self.frame, self.slider, self.sigma)


def _add(frame: NDArray[np.float32], kernel: NDArray[np.float64], x: float, y: float) -> bool:
    """Add a kernel to a frame around a place, in pixels, and clip; False when it meets no pixel."""
    side = len(kernel)
    top, left = (int(np.round(at - side / 2)) for at in (y, x))
    rows = slice(max(top, 0), max(min(top + side, frame.shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + side, frame.shape[1]), 0))
    patch = frame[rows, columns]
    if not patch.size:
        return False
    part = kernel[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    patch[...] = np.clip(patch + part, 0.0, 1.0)
    return True
