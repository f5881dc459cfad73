"""The answers for a recording drawn over its frames, and the same as JSON: one clip, or a window after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from nbpkg.attention.people.film import Frames, fit_resolution
from nbpkg.datasets.people.images import ALGORITHMS, resize
from nbpkg.errors import MediaError, Problem, SettingsError, TableError, raise_all
from nbpkg.runs.files import write_json
from nbpkg.video.film import write_gif
from nbpkg.video.streamed import stream_film

WAITING = "no answer yet"
_PREFIX = "p_"


@dataclass(frozen=True)
class LabelStyle:
    """How answers are drawn.

    Parameters
    ----------
    most
        Labels shown at once, the likeliest first.
    threshold
        Least score of a label that is shown.
    text_share
        Height of a line, share of the height of the film.
    colour, ground
        Of letters and of the strip below them, names or ``#rrggbb``.
    waiting
        What is written before the first answer.
    resolution, algorithm
        As for `nbpkg.attention.people.film.write_map_film`.

    Source
    ------
    mmaction2 0.24.1, ``demo`` (5 labels, letters of a fixed size) and ``long_video_demo`` (threshold 0.01).
    """

    most: int = 5
    threshold: float = 0.01
    text_share: float = 0.06
    colour: str = "white"
    ground: str = "#333333"
    waiting: str = WAITING
    resolution: tuple[int, int] | None = None
    algorithm: str = "bilinear"

    def __post_init__(self) -> None:
        wrong = not 0 < self.text_share <= 0.5 or self.most < 1 or not 0 <= self.threshold <= 1
        if wrong or self.algorithm not in ALGORITHMS:
            raise SettingsError(
                f"Labels cannot be drawn by {self}.",
                expected=f"At least one label, shares within 0 to 1, one of {', '.join(ALGORITHMS)}.",
                remedy="Correct the settings.",
            )


def write_label_film(
    frames: Iterable[Frames],
    answers: pd.DataFrame,
    path: Path,
    *,
    fps: Fraction,
    classes: Sequence[str],
    style: LabelStyle | None = None,
) -> tuple[Path, Path]:
    """Draw the likeliest labels over a recording, and write the same as JSON beside it.

    Parameters
    ----------
    frames
        RGB, uint8 ``[H, W, 3]`` each, in order and as they may be shown: frames of people go through
        `nbpkg.plots.frames.veil` first. One is in memory at a time, but for GIF.
    answers
        Column ``frame``, counted from the first of `frames`, and a column ``p_<class>`` for each class; a row of NaN
        says that there is no answer. With a column ``frames``, as from `nbpkg.training.people.answers.slide`, an answer
        is for a window of so many frames from ``frame`` on, and each frame of the film shows the window whose middle is
        nearest. Without, an answer holds from its frame until the next one's.
    path
        The film, ``.mp4`` or ``.gif``.
    fps
        Frames per second, exact; for GIF at most 50.
    classes
        Names of the classes, in order.
    style
        How labels are drawn.

    Returns
    -------
    tuple of Path
        The film, and ``<name>.json``: a list with first frame, time in seconds, first frame in which it is shown, and
        labels with scores of each answer.

    Raises
    ------
    TableError
        When a column is missing, or frames do not rise.
    SettingsError
        When the name ends otherwise, or the style cannot be.
    MediaError
        When there is no frame, or frames differ in size.
    StageError
        When a file cannot be written.

    Source
    ------
    mmaction2 0.24.1, ``demo`` and ``long_video_demo``, of which the second writes either the film or JSON.
    """
    how = style or LabelStyle()
    ending = path.suffix.lower()
    if ending not in (".mp4", ".gif"):
        raise SettingsError(
            f"A film cannot be written as {path.name!r}.",
            where=str(path.parent),
            expected="A name that ends in .mp4 or .gif.",
            remedy="Correct the name.",
        )
    _check_answers(answers, classes)
    starts = _find_starts(answers)
    told = [_tell(row, classes, how) for row in answers[[f"{_PREFIX}{name}" for name in classes]].to_numpy(np.float64)]
    drawn = _draw_all(frames, starts, told, how)
    if ending == ".gif":
        held = list(drawn)
        write_gif(np.stack(held) if held else np.zeros((0, 1, 1, 3), np.uint8), path, fps=fps)
    else:
        stream_film(drawn, path, fps=fps)
    spoken = [
        {
            "frame": int(first),
            "seconds": float(int(first) / fps),
            "shown_from": int(start),
            "labels": [{"label": label, "score": score} for label, score in labels],
        }
        for first, start, labels in zip(answers["frame"], starts, told, strict=True)
    ]
    return path, write_json(path.with_suffix(".json"), spoken)


def _check_answers(answers: pd.DataFrame, classes: Sequence[str]) -> None:
    problems = [
        Problem(f"The answers have no column {name!r}.", expected="frame, and p_<class> for each class.")
        for name in ("frame", *(f"{_PREFIX}{name}" for name in classes))
        if name not in answers
    ]
    if not problems:
        starts = answers["frame"].to_numpy(np.float64)
        if (starts < 0).any() or (np.diff(starts) <= 0).any():
            problems.append(Problem("Frames of the answers do not rise.", expected="Each larger than the one before."))
    raise_all(problems, TableError, summary="answers cannot be drawn.")


def _find_starts(answers: pd.DataFrame) -> NDArray[np.int64]:
    """Return the frame from which on each answer is shown."""
    firsts = answers["frame"].to_numpy(np.int64)
    if "frames" not in answers:
        return firsts
    middles = firsts + (answers["frames"].to_numpy(np.float64) - 1) / 2
    between = np.floor((middles[1:] + middles[:-1]) / 2) + 1  # of two equally near ones the earlier
    return np.concatenate([np.zeros(min(len(firsts), 1), np.int64), between.astype(np.int64)])


def _tell(scores: NDArray[np.float64], classes: Sequence[str], how: LabelStyle) -> list[tuple[str, float]]:
    """Return the likeliest labels and their scores; none where there is no answer."""
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[: how.most]
    return [(classes[place], float(scores[place])) for place in order if scores[place] >= how.threshold]


def _draw_all(
    frames: Iterable[Frames], starts: NDArray[np.int64], told: Sequence[list[tuple[str, float]]], how: LabelStyle
) -> Iterator[Frames]:
    """Give the frames of the film."""
    size: tuple[int, ...] | None = None
    for number, frame in enumerate(frames):
        if size is not None and frame.shape != size:
            raise MediaError(
                f"Frame {number} is {list(frame.shape)}, those before {list(size)}.", expected="Frames of one size."
            )
        size = frame.shape
        wanted = fit_resolution((frame.shape[0], frame.shape[1]), how.resolution)
        shown = resize(frame[None], wanted, algorithm=how.algorithm)[0]
        place = int(np.searchsorted(starts, number, side="right")) - 1
        labels = told[place] if place >= 0 else []
        lines = tuple(f"{label}  {score:.2f}" for label, score in labels) or (how.waiting,)
        yield _draw(shown, lines, how)


def _draw(frame: Frames, lines: tuple[str, ...], how: LabelStyle) -> Frames:
    """Write lines on a strip at the upper left; the picture around stays as it is."""
    strip = _write(lines, frame.shape[0], how.text_share, how.colour, how.ground)
    out = frame.copy()
    height, width = min(strip.shape[0], frame.shape[0]), min(strip.shape[1], frame.shape[1])
    out[:height, :width] = strip[:height, :width]
    return out


@lru_cache(maxsize=64)
def _write(lines: tuple[str, ...], height: int, share: float, colour: str, ground: str) -> Frames:
    """Return a strip with lines of text, uint8 ``[h, w, 3]``; windows last for many frames, so that strips repeat."""
    letters = max(8, round(share * height))
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), letters)
    step, edge = round(1.35 * letters), round(0.35 * letters)
    width = round(max(font.getlength(line) for line in lines)) + 2 * edge
    strip = Image.new("RGB", (width, step * len(lines) + edge), ImageColor.getrgb(ground))
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        middle = edge / 2 + (number + 0.5) * step
        pen.text((edge, middle), line, font=font, fill=ImageColor.getrgb(colour), anchor="lm")
    return np.asarray(strip)
