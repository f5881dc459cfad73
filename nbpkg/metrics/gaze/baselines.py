"""Answers of predictors that do not look at the picture: the line every gaze result has to beat.

Where all targets lie on one table, a map of where people look on average scores high. Each baseline goes through the
same scoring as a model (`score_baseline`), so that its table is the ``chance`` of `summarise_scores`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from nbpkg import seeding
from nbpkg.errors import TableError
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.metrics.gaze.distance import Reading
from nbpkg.metrics.gaze.stream import KEY, ScoreStream, Truth, locate_targets, one_row_per_map

Array = NDArray[np.float64]
Maps = NDArray[np.float32]
CELLS, SIGMA = 64, 3.0
BLOCK = 256


@dataclass(frozen=True)
class Baseline:
    """A predictor that looks at nothing.

    Parameters
    ----------
    name
        What it goes by in tables and figures.
    share
        Its in/out answer for every frame: the share of training targets inside the frame.
    draw
        Rows of table ``gaze`` to heat maps [rows, 64, 64].
    point
        The point it predicts when that is one and the same; else None, and the highest cell counts.
    """

    name: str
    share: float
    draw: Callable[[pd.DataFrame], Maps]
    point: tuple[float, float] | None = None


def draw_gaussians(points: ArrayLike, *, sigma: float = SIGMA, cells: int = CELLS) -> Maps:
    """Draw one Gaussian for each point, uncut, so that no two distances from it score alike.

    Parameters
    ----------
    points
        [N, 2], fractions of width and height; NaN gives a map of NaN.
    sigma
        Width in cells.
    cells
        Side of the maps.

    Returns
    -------
    numpy.ndarray
        [N, cells, cells], highest in the cell that holds the point.
    """
    place = np.asarray(points, np.float64).reshape(-1, 2) * cells - 0.5
    bell = np.exp(-((np.arange(cells) - place[..., None]) ** 2) / (2 * sigma**2))
    return (bell[:, 1, :, None] * bell[:, 0, None, :]).astype(np.float32)


def centre_baseline(train: pd.DataFrame, *, sigma: float = CELLS / 4) -> Baseline:
    """Make the baseline that answers the centre of the picture, a Gaussian of `sigma` cells; only shares are learnt."""
    return _constant("centre of the picture", train, draw_gaussians([[0.5, 0.5]], sigma=sigma)[0], (0.5, 0.5))


def mean_baseline(train: pd.DataFrame) -> Baseline:
    """Make the baseline that answers the mean of the training targets."""
    x, y = _known_targets(train).mean(axis=0).tolist()
    return _constant("mean training point", train, draw_gaussians([[x, y]])[0], (x, y))


def density_baseline(train: pd.DataFrame, *, sigma: float = SIGMA) -> Baseline:
    """Make the baseline that answers where training targets lie: their share per cell, smoothed by `sigma` cells."""
    return _constant("training density", train, _blur(_count_cells(_known_targets(train))[None], sigma)[0])


def head_baseline(train: pd.DataFrame, *, neighbours: int = 32, per_track: int = 16, sigma: float = SIGMA) -> Baseline:
    """Make the baseline that answers where people with a head in the same place looked in training.

    It is all that can be known without seeing them.

    Parameters
    ----------
    train
        Table ``gaze``, training rows.
    neighbours
        How many training rows with the most similar head box (centre, width and height as fractions) are averaged.
    per_track
        Rows kept of each session, person and rater, evenly spaced: frames of one track are near copies, and all
        neighbours would be of one track.
    sigma
        Smoothing in cells. Rows without a head box get the training density.
    """
    box, target = _describe_heads(train), locate_targets(train)
    has_both = np.isfinite(box).all(axis=1) & np.isfinite(target).all(axis=1)
    usable = train[["session", "person", "rater"]].iloc[np.flatnonzero(has_both)].assign(place=np.flatnonzero(has_both))
    kept = np.sort(_spread(usable, per_track))
    if not len(kept):
        raise _nothing_to_learn()
    tree, cells, known = cKDTree(box[kept]), _cell_of(target[kept]), min(neighbours, len(kept))
    everywhere = _count_cells(target[kept])

    def draw(rows: pd.DataFrame) -> Maps:
        head = _describe_heads(rows)
        counts = np.tile(everywhere, (len(rows), 1, 1)).reshape(len(rows), -1)
        seen = np.flatnonzero(np.isfinite(head).all(axis=1))
        nearest = tree.query(head[seen], k=known)[1].reshape(len(seen), known)
        place = (np.arange(len(seen))[:, None] * CELLS**2 + cells[nearest]).ravel()
        counts[seen] = np.bincount(place, minlength=len(seen) * CELLS**2).reshape(len(seen), CELLS**2) / known
        return _blur(counts.reshape(-1, CELLS, CELLS), sigma)

    return Baseline("head position", share_inside(train), draw)


def random_baseline(train: pd.DataFrame, *, seed: int) -> Baseline:
    """Make the baseline that answers noise, drawn for each row from its own seed, so that blocks may be cut anyhow."""

    def draw(rows: pd.DataFrame) -> Maps:
        made = [
            seeding.generator(seed, "random gaze", *key).random((CELLS, CELLS), dtype=np.float32)
            for key in rows[KEY].itertuples(index=False, name=None)
        ]
        return np.stack(made) if made else np.zeros((0, CELLS, CELLS), np.float32)

    return Baseline("random", share_inside(train), draw)


def make_baselines(train: pd.DataFrame, *, seed: int) -> list[Baseline]:
    """Make all baselines from the training rows of one data set."""
    return [
        random_baseline(train, seed=seed),
        centre_baseline(train),
        mean_baseline(train),
        density_baseline(train),
        head_baseline(train),
    ]


def score_baseline(
    baseline: Baseline,
    gaze: pd.DataFrame,
    *,
    truth: Truth,
    protocol: Protocol = "vtd",
    reading: Reading = "index",
) -> pd.DataFrame:
    """Score a baseline on the rows of a test set as a model is scored.

    Parameters
    ----------
    baseline
        From one of the functions above.
    gaze
        Table ``gaze``, the rows to answer.
    truth, protocol, reading
        As in `ScoreStream`.

    Returns
    -------
    pandas.DataFrame
        Table ``gaze_scores`` with the baseline's name as predictor.
    """
    stream = ScoreStream(gaze, truth=truth, protocol=protocol, reading=reading, predictor=baseline.name)
    rows = one_row_per_map(gaze) if truth == "points" else np.arange(len(gaze))
    for block in np.array_split(rows, max(1, -(-len(rows) // BLOCK))):
        points = None if baseline.point is None else np.tile(baseline.point, (len(block), 1))
        shares = np.full(len(block), baseline.share)
        stream.add(baseline.draw(gaze.iloc[block]), block, probabilities=shares, points=points)
    return stream.table()


def share_inside(train: pd.DataFrame) -> float:
    """Share of training rows whose target is inside the frame; NaN when it is known of none."""
    known = train.loc[train["inside"] >= 0, "inside"]
    return float((known == 1).mean()) if len(known) else float("nan")


def _constant(name: str, train: pd.DataFrame, heat: Maps, point: tuple[float, float] | None = None) -> Baseline:
    def draw(rows: pd.DataFrame) -> Maps:
        return np.broadcast_to(heat, (len(rows), *heat.shape))

    return Baseline(name, share_inside(train), draw, point)


def _known_targets(train: pd.DataFrame) -> Array:
    targets = locate_targets(train)
    targets = targets[np.isfinite(targets).all(axis=1)]
    if not len(targets):
        raise _nothing_to_learn()
    return targets


def _nothing_to_learn() -> TableError:
    return TableError(
        "No training row tells where a person looks inside the frame.",
        where="table 'gaze', rows given as training rows",
        expected="Rows with inside 1, gaze_x and gaze_y, and for the head position with a head box.",
        remedy="Give the rows of the training part.",
    )


def _cell_of(targets: Array) -> NDArray[np.int64]:
    cell = np.clip((targets * CELLS).astype(np.int64), 0, CELLS - 1)
    flat: NDArray[np.int64] = cell[:, 1] * CELLS + cell[:, 0]
    return flat


def _count_cells(targets: Array) -> Array:
    counts = np.bincount(_cell_of(targets), minlength=CELLS**2).reshape(CELLS, CELLS)
    return counts / len(targets)


def _blur(counts: Array, sigma: float) -> Maps:
    blurred: Maps = gaussian_filter(counts, (0, sigma, sigma), mode="constant").astype(np.float32)
    return blurred


def _describe_heads(rows: pd.DataFrame) -> Array:
    """Give centre, width and height of the head boxes as fractions, [rows, 4]."""
    x0, y0, x1, y1, width, height = rows[["x0", "y0", "x1", "y1", "width", "height"]].to_numpy(np.float64).T
    width, height = np.where(width > 0, width, np.nan), np.where(height > 0, height, np.nan)
    return np.stack([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height], axis=1)


def _spread(usable: pd.DataFrame, per_track: int) -> NDArray[np.int64]:
    """Keep up to `per_track` evenly spaced places of each track."""
    tracks = usable.groupby(["session", "person", "rater"], sort=False)["place"]
    rank, size = tracks.cumcount().to_numpy(), tracks.transform("size").to_numpy()
    kept = np.minimum(size, per_track)
    is_kept = (rank * kept) // size != ((rank - 1) * kept) // size  # the first of each of `kept` equal parts
    places: NDArray[np.int64] = usable["place"].to_numpy(np.int64)[is_kept]
    return places
