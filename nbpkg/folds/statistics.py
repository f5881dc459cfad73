"""Colour statistics per fold, and the files of the published program."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import FoldError, MediaError
from nbpkg.folds.objective import strata_durations

CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class PixelSums:
    """Sums over the pixels of some frames, as Python integers, so that nothing is ever rounded.

    Parameters
    ----------
    frames, pixels
        How many.
    values, squares
        Sums of the values 0 .. 255 and of their squares, for red, green and blue.
    """

    frames: int
    pixels: int
    values: tuple[int, int, int]
    squares: tuple[int, int, int]

    def __add__(self, other: PixelSums) -> PixelSums:
        """Join two sets of frames."""
        return PixelSums(
            self.frames + other.frames,
            self.pixels + other.pixels,
            tuple(a + b for a, b in zip(self.values, other.values, strict=True)),  # type: ignore[arg-type]
            tuple(a + b for a, b in zip(self.squares, other.squares, strict=True)),  # type: ignore[arg-type]
        )

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel, 0 .. 255."""
        return tuple(value / self.pixels for value in self.values)

    @property
    def std(self) -> tuple[float, ...]:
        """Population standard deviation of each channel, 0 .. 255."""
        return tuple(
            math.sqrt(self.pixels * square - value * value) / self.pixels
            for value, square in zip(self.values, self.squares, strict=True)
        )


NO_PIXELS = PixelSums(0, 0, (0, 0, 0), (0, 0, 0))


def sum_pixels(frames: Iterable[NDArray[np.uint8]]) -> PixelSums:
    """Add up the pixels of one session's frames, one frame in memory at a time.

    Parameters
    ----------
    frames
        Arrays [H, W, 3] or [T, H, W, 3], uint8, red green blue; sizes may differ.

    Raises
    ------
    MediaError
        When an array has another shape or type.

    Examples
    --------
    >>> sums = sum_pixels([np.full((2, 3, 3), 10, np.uint8), np.full((1, 2, 3), 30, np.uint8)])
    >>> sums.frames, sums.pixels, sums.mean, [round(value, 3) for value in sums.std]
    (2, 8, (15.0, 15.0, 15.0), [8.66, 8.66, 8.66])
    """
    count = pixels = 0
    values, squares = np.zeros(3, np.uint64), np.zeros(3, np.uint64)
    for array in frames:
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3:
            raise MediaError(
                f"Frames have shape {array.shape} and type {array.dtype}.",
                expected="[height, width, 3] or [frames, height, width, 3], uint8, red green blue.",
                remedy="Read them from the frame store.",
            )
        for frame in array.reshape(-1, *array.shape[-3:]):
            flat = frame.reshape(-1, 3).astype(np.float64)  # a frame's sums stay far below 2**53 and so are exact
            ones = np.ones(len(flat))  # a product with ones adds up columns several times faster than sum(axis=0)
            values += (ones @ flat).astype(np.uint64)
            squares += (ones @ (flat * flat)).astype(np.uint64)
            count, pixels = count + 1, pixels + len(flat)
    red, green, blue = map(int, values)
    return PixelSums(count, pixels, (red, green, blue), tuple(map(int, squares)))  # type: ignore[arg-type]


def fold_statistics(sums: Mapping[str, PixelSums], folds: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of the colours of each fold, and of all training folds together.

    The row ``train`` is what a network may be normalised with; statistics of the test fold are for looking only.

    Parameters
    ----------
    sums
        Session → what `sum_pixels` gave.
    folds
        Table ``folds``.

    Returns
    -------
    pandas.DataFrame
        fold (number, or ``train``), channel, mean, std (0 .. 255, population), frames, pixels.

    Raises
    ------
    FoldError
        When a session of `folds` has no sums, or no pixel.
    """
    lacking = [name for name in folds["session"] if name not in sums or sums[name].pixels == 0]
    if lacking:
        raise FoldError(
            f"{len(lacking)} sessions have no frames: {', '.join(lacking[:5])}.",
            remedy="Prepare their videos, or drop these sessions before the folds are searched.",
        )
    parts = {str(fold): list(rows["session"]) for fold, rows in folds.groupby("fold")}
    parts["train"] = list(folds.loc[folds["role"] == "train", "session"])
    rows = []
    for name, sessions in parts.items():
        total = sum((sums[session] for session in sessions), NO_PIXELS)
        rows += [
            {"fold": name, "channel": channel, "mean": mean, "std": std, "frames": total.frames, "pixels": total.pixels}
            for channel, mean, std in zip(CHANNELS, total.mean, total.std, strict=True)
        ]
    return pd.DataFrame(rows)


def stratified_csv(spans: pd.DataFrame, folds: pd.DataFrame, *, absent: str) -> str:
    """Write the spans as the published ``stratified_annotation_spans.csv``, byte for byte.

    Columns session, annotator, task, variable, fold, engaged (0 or 1), start_ms, end_ms; sorted by task, variable,
    session, annotator and time.

    Source
    ------
    MarcFraile/infant-engagement, ``stratify_samples.py``.
    """
    _check_covered(spans, folds)
    numbered = spans.merge(folds[["session", "fold"]], on="session", validate="many_to_one")
    table = pd.DataFrame(
        {
            "session": numbered["session"],
            "annotator": numbered["rater"],
            "task": numbered["task"],
            "variable": numbered["variable"],
            "fold": numbered["fold"],
            "engaged": (numbered["value"] != absent).astype(int),
            "start_ms": numbered["start_ms"],
            "end_ms": numbered["end_ms"],
        }
    )
    order = ["task", "variable", "session", "annotator", "start_ms", "end_ms"]
    return table.sort_values(order, kind="stable").to_csv(index=False, lineterminator="\n")


def fold_statistics_json(
    spans: pd.DataFrame, folds: pd.DataFrame, *, absent: str, tasks: Sequence[str], statistics: pd.DataFrame
) -> str:
    """Write shares, sessions and colours per fold as the published ``fold_statistics.json``.

    Parameters
    ----------
    spans, folds
        The tables.
    absent
        Value that means the behaviour is not there.
    tasks
        Tasks in the order to write them.
    statistics
        From `fold_statistics`.

    Source
    ------
    MarcFraile/infant-engagement, ``stratify_samples.py``. A (task, variable) that a fold lacks is null here.
    """
    _check_covered(spans, folds)
    entries = []
    for fold, members in folds.groupby("fold"):
        durations = strata_durations(spans[spans["session"].isin(members["session"])], absent)
        share = dict(zip(durations.strata, durations.positive_ms.sum(axis=0), strict=True))
        total = dict(zip(durations.strata, durations.total_ms.sum(axis=0), strict=True))
        variables = sorted({variable for _, variable in durations.strata})
        colours = statistics[statistics["fold"] == str(fold)].set_index("channel").loc[list(CHANNELS)]
        entries.append(
            {
                "empirical_probability": {
                    task: {name: _ratio(share.get((task, name), 0), total.get((task, name), 0)) for name in variables}
                    for task in tasks
                },
                "sessions": sorted(members["session"]),
                "pixel_values": {"mean": list(colours["mean"]), "std": list(colours["std"])},
            }
        )
    return json.dumps({"num_folds": len(entries), "stats": entries}, indent=4)


def _ratio(part: int, whole: int) -> float | None:
    return int(part) / int(whole) if whole else None


def _check_covered(spans: pd.DataFrame, folds: pd.DataFrame) -> None:
    homeless = sorted(set(spans["session"]) - set(folds["session"]))
    if homeless:
        raise FoldError(
            f"{len(homeless)} annotated sessions have no fold: {', '.join(homeless[:5])}.",
            remedy="Drop them first (drop_sessions_without_video), or search the folds again.",
        )
