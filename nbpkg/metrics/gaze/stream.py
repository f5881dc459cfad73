"""Scores of every frame, fed block by block: heat maps are scored and let go, a few numbers per frame stay."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics.gaze.auc import Protocol, auc_box, auc_points
from nbpkg.metrics.gaze.distance import (
    Reading,
    average_points,
    find_peaks,
    measure_angles,
    measure_distances,
    measure_to_annotators,
    read_points,
)
from nbpkg.metrics.gaze.inout import measure_average_precision

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Truth = Literal["box", "points"]
PICTURE = ["session", "person", "frame"]
KEY = ["session", "person", "rater", "frame"]
REASONS = ("", "the target is on no cell of the map", "no heat map", "where the person looks is unknown")
_COPIED = ["dataset", "participant", *KEY, "segment"]
_SCORES = ("logit", "auc", "distance", "min_distance", "angle", "peak_x", "peak_y", "peak")


class _Items(NamedTuple):
    """What is scored once, and the rows of the gaze table that it consists of."""

    of_row: Rows  # [rows], number of the item
    rows: Rows  # [rows], sorted by item
    starts: Rows  # [items + 1], where the rows of each item begin

    def members(self, chosen: Rows) -> tuple[Rows, Rows]:
        """List the rows of some items, and for each the place of its item in `chosen`."""
        count = self.starts[chosen + 1] - self.starts[chosen]
        place = np.repeat(np.arange(len(chosen)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return self.rows[self.starts[chosen][place] + within], place

    def maximum(self, values: Rows) -> Rows:
        """Take the largest value [rows] of each item."""
        largest = np.maximum.reduceat(values[self.rows], self.starts[:-1]) if len(values) else values
        return np.asarray(largest, np.int64)


class ScoreStream:
    """Scores heat maps and in/out answers as they come, and keeps no map.

    Parameters
    ----------
    gaze
        Table ``gaze``: what the annotators say of all frames that will be scored.
    truth
        ``box``: each row of `gaze` is scored, with `auc_box`. ``points``: each person in a picture is scored once,
        against all annotators together, with `auc_points`.
    protocol
        Whose area under the curve: ``vtd`` or ``gazelle``.
    reading
        Which point of the highest cell is the predicted one, see `read_points`.
    predictor
        Who answers: name of the model, baseline or annotator, written into the table.
    """

    def __init__(
        self,
        gaze: pd.DataFrame,
        *,
        truth: Truth,
        protocol: Protocol = "vtd",
        reading: Reading = "index",
        predictor: str = "model",
    ) -> None:
        self._gaze, self._truth, self._protocol, self._reading = gaze, truth, protocol, reading
        self._predictor = predictor
        self._size = gaze[["width", "height"]].to_numpy(np.float64)
        self._target = locate_targets(gaze)
        edges = gaze[["x0", "y0", "x1", "y1"]].to_numpy(np.float64)
        self._head = (edges[:, :2] + edges[:, 2:]) / 2
        self._items = _group_rows(gaze, truth)
        count = len(self._items.starts) - 1
        self._inside = self._items.maximum(np.asarray(gaze["inside"], np.int64))
        self._is_known = self._items.maximum(_are_points(self._target).astype(np.int64)) == 1
        self._scores = {name: np.full(count, np.nan) for name in _SCORES}
        self._reason, self._is_seen = np.zeros(count, np.int64), np.zeros(count, bool)
        self._is_exact = np.zeros(count, bool)

    def add(
        self,
        maps: ArrayLike,
        rows: ArrayLike,
        *,
        logits: ArrayLike | None = None,
        probabilities: ArrayLike | None = None,
        points: ArrayLike | None = None,
    ) -> None:
        """Score one block.

        Parameters
        ----------
        maps
            [n, 64, 64] or [n, 1, 64, 64], heat maps; a map with NaN counts as none.
        rows
            [n], position in `gaze` of the row that each map answers; with ``points`` any row of the same person and
            picture will do (`one_row_per_map`).
        logits, probabilities
            [n] or [n, 1], in/out answers, one of the two; positive or above one half is inside.
        points
            [n, 2], the predicted points as fractions of width and height where they are known better than to a cell.

        Raises
        ------
        TableError
            When a row is unknown or is scored twice, or maps and rows differ in number.
        """
        heat, row = np.asarray(maps, np.float32), np.asarray(rows, np.int64)
        heat = heat[:, 0] if heat.ndim == 4 else heat
        item = self._claim(row, len(heat))
        if not len(item):
            return
        answer = logits if probabilities is None else logit(np.asarray(probabilities, np.float64))
        if answer is not None:
            self._scores["logit"][item] = np.asarray(answer, np.float64).reshape(len(item))
        is_map = np.asarray(np.isfinite(heat).all(axis=(1, 2)), bool)
        peaks = find_peaks(heat)
        guess = read_points(peaks, reading=self._reading, cells=heat.shape[-1])
        guess = np.where(is_map[:, None], guess if points is None else np.asarray(points, np.float64), np.nan)
        self._is_exact[item] = points is not None
        found = self._measure(heat, guess, row=row, item=item)
        found["peak"] = np.where(is_map, peaks.value, np.nan)
        for name, values in found.items():
            self._scores[name][item] = values
        self._reason[item] = np.select([~self._is_known[item], ~is_map, np.isnan(found["auc"])], [3, 2, 1], 0)

    def means(self) -> dict[str, float]:
        """Return the means over the frames so far: auc, distance, min_distance, average_precision; and frames."""
        seen = self._is_seen
        names = ("auc", "distance", "min_distance")
        means = {name: _mean(self._scores[name][seen]) for name in names}
        known = seen & (self._inside >= 0)
        precision = measure_average_precision(self._inside[known], self._scores["logit"][known])
        return {**means, "average_precision": precision.value, "frames": float(seen.sum())}

    def table(self) -> pd.DataFrame:
        """Return what was scored so far.

        Returns
        -------
        pandas.DataFrame
            Table ``gaze_scores`` in the order of `gaze`: the columns of its contract, and predictor, truth, protocol,
            reading (``exact`` where points were given), segment, raters (annotators who say where), logit, and reason
            (why an inside frame has no auc). With truth ``points``, rater is ``all`` where there are several.
        """
        seen = np.flatnonzero(self._is_seen)
        first = self._items.rows[self._items.starts[seen]]
        order = np.argsort(first, kind="stable")
        seen, first = seen[order], first[order]
        members, owner = self._items.members(seen)
        says_where = _are_points(self._target[members])
        several = np.bincount(owner, minlength=len(seen)) > 1
        copied = self._gaze.iloc[first][_COPIED].reset_index(drop=True)
        scores = {name: values[seen] for name, values in self._scores.items()}
        inside = self._inside[seen]
        found = copied.assign(
            rater=copied["rater"].mask(several, "all"),
            inside=inside,
            **scores,
            score=expit(scores["logit"]),
            predictor=self._predictor,
            truth=self._truth,
            protocol=self._protocol,
            reading=np.where(self._is_exact[seen], "exact", self._reading),
            raters=np.bincount(owner[says_where], minlength=len(seen)),
            reason=np.array(REASONS)[np.where(inside == 1, self._reason[seen], 0)],
        )
        return tables.check(found, "gaze_scores")

    def _claim(self, row: Rows, maps: int) -> Rows:
        """Find the items of the rows, and note that they are being scored."""
        if len(row) != maps:
            raise TableError(f"{maps} heat maps were given for {len(row)} rows.", expected="One map for each row.")
        unknown = row[(row < 0) | (row >= len(self._gaze))]
        if len(unknown):
            raise TableError(
                f"Row {unknown[0]} of the gaze table was answered.",
                expected=f"Rows 0 to {len(self._gaze) - 1}.",
                remedy="Give the stream the same table as the data set.",
            )
        item = self._items.of_row[row]
        kinds, times = np.unique(item, return_counts=True)
        twice = np.append(item[self._is_seen[item]], kinds[times > 1])
        if len(twice):
            one = self._gaze.iloc[self._items.rows[self._items.starts[twice[0]]]]
            raise TableError(
                f"{len(twice)} frames are scored twice.",
                where=f"session {one['session']!r}, person {one['person']!r}, frame {one['frame']}",
                remedy="Answer each row once; with truth 'points' one row per person and picture (one_row_per_map).",
            )
        self._is_seen[item] = True
        return item

    def _measure(self, heat: NDArray[np.float32], guess: Array, *, row: Rows, item: Rows) -> dict[str, Array]:
        """Compute area, distances and angle of one block."""
        members, owner = self._items.members(item)
        said, size = self._target[members], self._size[row]
        mean = average_points(said, item=owner, items=len(item))
        if self._truth == "box":
            area = auc_box(heat, mean, protocol=self._protocol)
        else:
            area = auc_points(heat, said, item=owner, sizes=size, protocol=self._protocol)
        return {
            "auc": area,
            "distance": measure_distances(guess, mean),
            "min_distance": measure_to_annotators(guess, said, item=owner)[0],
            "angle": measure_angles(guess * size, mean * size, head=self._head[row]),
            "peak_x": guess[:, 0],
            "peak_y": guess[:, 1],
        }


def locate_targets(gaze: pd.DataFrame) -> Array:
    """Turn the gaze points of table ``gaze`` into fractions [rows, 2]; NaN where the target is not known to be inside.

    A target annotated beyond the left or upper edge counts as on it, as in the published readers; one beyond the
    right or lower edge stays where it is.
    """
    size = gaze[["width", "height"]].to_numpy(np.float64)
    pixels = gaze[["gaze_x", "gaze_y"]].to_numpy(np.float64)
    is_known = (gaze["inside"].to_numpy() == 1)[:, None] & np.isfinite(pixels).all(axis=1, keepdims=True) & (size > 0)
    found = np.full(pixels.shape, np.nan)
    np.divide(np.maximum(pixels, 0), size, out=found, where=is_known.all(axis=1, keepdims=True))
    return found


def one_row_per_map(gaze: pd.DataFrame) -> Rows:
    """Find the first row of each person in each picture: what is to be answered when the truth is ``points``."""
    rows: Rows = np.flatnonzero(~gaze.duplicated(PICTURE).to_numpy())
    return rows


def _group_rows(gaze: pd.DataFrame, truth: Truth) -> _Items:
    keys = PICTURE if truth == "points" else KEY
    repeated = gaze.duplicated(KEY).to_numpy()
    if repeated.any():
        one = gaze.iloc[int(repeated.argmax())]
        raise TableError(
            f"{repeated.sum()} rows of the gaze table repeat another one.",
            where=f"session {one['session']!r}, person {one['person']!r}, rater {one['rater']!r}, frame {one['frame']}",
            expected="One row per session, person, rater and frame.",
        )
    number = np.asarray(gaze.groupby(keys, sort=False).ngroup(), np.int64)
    rows = np.asarray(np.argsort(number, kind="stable"), np.int64)
    starts = np.asarray(np.searchsorted(number[rows], np.arange(number.max(initial=-1) + 2)), np.int64)
    return _Items(number, rows, starts)


def _are_points(points: Array) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(axis=1), bool)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
