"""Where on the picture targets lie: the share of frames whose target covers each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import cv2
import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.lookup import list_pictures
from nbpkg.annotations.gaze.rows import BOX
from nbpkg.annotations.gaze.voc_tree import find_xml, guess_target, list_picture_folders
from nbpkg.errors import AnnotationError, Problem

Shape = Literal["box", "circle", "fixed_circle"]
FIXED_RADIUS = 30
COLUMNS = ["participant", "folder", "object", "frames", *BOX, "width", "height"]


class ReferenceDensity(NamedTuple):
    """A density map as the published program makes it: 8 bit [H, W], before and after histogram equalisation."""

    density: np.ndarray
    equalised: np.ndarray


def list_targets(folder: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """List the object looked at in each picture folder of a collection.

    Parameters
    ----------
    folder
        The data set, e.g. ``<participant>/<session>/<setting>/<object>/rgb/`` with XML files in it.

    Returns
    -------
    targets : pandas.DataFrame
        participant, folder, object, frames, x0 y0 x1 y1, width, height (of the XML; 0 unknown).
    problems : list of Problem
        Folders that tell no target.
    """
    rows, problems = [], []
    for place in list_picture_folders(folder):
        names = list_pictures(folder / place)
        try:
            voc = find_xml(folder, place, names)[0]
            own = voc.named(guess_target(voc, place))
        except AnnotationError as error:
            problems.append(Problem(error.what, error.expected, error.remedy, error.where or place))
            continue
        if len(own) > 1:
            problems.append(
                Problem(f"{len(own)} objects are called {own[0].name!r}; the last was taken.", file=voc.file)
            )
        participant = (*PurePosixPath(place).parts, "")[0]
        rows.append((participant, place, own[-1].name, len(names), *own[-1].box, voc.width, voc.height))
    return pd.DataFrame(rows, columns=COLUMNS), problems


def measure_density(
    boxes: np.ndarray, frames: Sequence[int] | np.ndarray, *, width: int = 640, height: int = 480, shape: Shape = "box"
) -> np.ndarray:
    """Compute the share of frames whose target covers each pixel.

    Parameters
    ----------
    boxes
        [n, 4] x0 y0 x1 y1 of the targets, pixels; a pixel x belongs to a box when x0 <= x < x1.
    frames
        [n] how many frames have that target.
    width, height
        Of the picture, pixels.
    shape
        ``box``; ``circle`` around the box centre with half the shorter side as radius; ``fixed_circle`` of radius 30.

    Returns
    -------
    numpy.ndarray
        float64 [height, width], 0 to 1.

    Raises
    ------
    AnnotationError
        When there are no frames.
    """
    weights = np.asarray(frames, dtype=np.float64)
    if not len(weights) or weights.sum() <= 0:
        raise AnnotationError("No frames to make a density map of.", remedy="Choose participants that have some.")
    total = np.zeros((height, width))
    for box, weight in zip(np.asarray(boxes, dtype=np.float64), weights.tolist(), strict=True):
        total += weight * _draw(box, width, height, shape)
    return np.asarray(total / weights.sum())


def reference_density(
    boxes: np.ndarray, frames: Sequence[int] | np.ndarray, *, width: int = 640, height: int = 480, shape: Shape = "box"
) -> ReferenceDensity:
    """Make a density map as the published program does, in 8 bit.

    Circles: the program adds 1 to a picture of 0 and 255, which wraps to background 1 and circle 0, and inverts the
    result before it is equalised; so the density before is that of the background.

    Parameters
    ----------
    boxes, frames, width, height, shape
        As for `measure_density`.

    Raises
    ------
    AnnotationError
        When a folder has more than 255 frames, where the program overflows, or none.
    """
    if len(frames) and max(frames) > 255:
        raise AnnotationError(
            f"A folder has {max(frames)} frames.",
            expected="Up to 255, as the published program counts in 8 bit.",
            remedy="Do without compat: reference.",
        )
    share = measure_density(boxes, frames, width=width, height=height, shape=shape)
    # the sums of whole frames are exact, so that a value on the border of two grey levels falls as published
    total = float(np.sum(frames))
    counts = np.rint(share * total)
    grey = ((counts if shape == "box" else total - counts) / total * 255).astype(np.uint8)
    return ReferenceDensity(grey, cv2.equalizeHist(grey if shape == "box" else 255 - grey))


def measure_point_density(table: pd.DataFrame, *, size: int = 64, radius: float = 3.0) -> np.ndarray:
    """Compute where gaze points lie in pictures of any size, as a map of the whole frame.

    Parameters
    ----------
    table
        Table ``gaze``; valid rows with a target inside the frame count, one time each.
    size
        Cells along each side.
    radius
        Of the disc drawn for a point, cells.

    Returns
    -------
    numpy.ndarray
        float64 [size, size], the share of points within `radius` of each cell; to be compared between data sets.

    Raises
    ------
    AnnotationError
        When no row has a target inside the frame.
    """
    rows = table[(table["inside"] == 1) & (table["valid"] == 1) & (table["width"] > 0)]
    if rows.empty:
        raise AnnotationError("No row has a target inside the frame.", remedy="Choose another part of the data.")
    cells = [
        np.clip(rows[point] / rows[side] * size, 0, size - 1).to_numpy().astype(np.int64)
        for point, side in (("gaze_x", "width"), ("gaze_y", "height"))
    ]
    counts = np.zeros((size, size))
    np.add.at(counts, (cells[1], cells[0]), 1.0)
    reach = int(radius)
    steps = np.arange(-reach, reach + 1)
    disc = (steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).astype(np.float64)
    return np.asarray(cv2.filter2D(counts, -1, disc, borderType=cv2.BORDER_CONSTANT) / len(rows))


def tabulate_density(density: np.ndarray) -> pd.DataFrame:
    """List the pixels of a density map that are covered at all, for a CSV file.

    Returns
    -------
    pandas.DataFrame
        x, y (pixels) and share.
    """
    y, x = np.nonzero(density)
    return pd.DataFrame({"x": x, "y": y, "share": density[y, x]})


def _draw(box: np.ndarray, width: int, height: int, shape: Shape) -> np.ndarray:
    """Return 1 where a pixel belongs to the shape, else 0."""
    canvas = np.zeros((height, width), dtype=np.uint8)
    x0, y0, x1, y1 = box.tolist()
    if shape == "box":
        columns, rows = np.arange(width), np.arange(height)
        covered = ((rows >= y0) & (rows < y1))[:, None] & ((columns >= x0) & (columns < x1))[None]
        return np.asarray(covered, dtype=np.uint8)
    centre = (int((x0 + x1) // 2), int((y0 + y1) // 2))
    radius = FIXED_RADIUS if shape == "fixed_circle" else int(min((x1 - x0) // 2, (y1 - y0) // 2))
    return np.asarray(cv2.circle(canvas, centre, radius, 1, -1))
