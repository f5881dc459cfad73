"""Single pictures for the spatial model: one person each, and the points of several annotators."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg import seeding
from nbpkg.datasets.gaze.augment import UNCHANGED, Augment, draw_picture
from nbpkg.datasets.gaze.items import Preparation, read_persons, ready_persons
from nbpkg.datasets.gaze.maps import Floats
from nbpkg.datasets.gaze.plans import BlockPlan, BlockRows, check_settings, no_rows, usable_rows
from nbpkg.errors import TableError

MOST_ANNOTATORS = 20
_SEEN = ["session", "person", "frame"]


def plan_pictures(
    table: pd.DataFrame,
    *,
    batch: int,
    how: Preparation,
    seed: int | None = None,
    epoch: int = 0,
    augment: Augment | None = None,
    need_targets: bool = True,
) -> BlockPlan:
    """Plan one pass through the rows of a table, each by itself: blocks of one time step, all of them first.

    Parameters
    ----------
    table
        Table `gaze`.
    batch
        Rows of each block.
    how
        How rows are prepared; GazeFollow's head boxes are widened by 0.1.
    seed
        For training: rows are shuffled, and changes drawn, from this and the epoch. None keeps the table's order.
    epoch
        Number of the pass; each has its own draws.
    augment
        Random changes; None for none.
    need_targets
        As in `plans.list_tracks`.

    Returns
    -------
    BlockPlan
        For `blocks.BlockDataset`. Its `tracks` are session, person, rater and frame of each row.

    Raises
    ------
    SettingsError
        When the batch has no row, or something is to be drawn without a seed.
    TableError
        When no row is left.
    """
    check_settings(batch=batch, chunk=1, limit=None, seed=seed, random=augment is not None)
    rows = np.flatnonzero(usable_rows(table, need_targets=need_targets)).astype(np.int64)
    if not len(rows):
        raise no_rows(table, need_targets=need_targets)
    if seed is not None:
        rows = seeding.generator(seed, "gaze pictures", epoch).permutation(rows)
    names = table[["session", "person", "rater", "frame"]].iloc[rows].astype(str).agg("/".join, axis=1).tolist()
    changes = [UNCHANGED] * len(rows)
    if seed is not None and augment is not None:
        people = ready_persons(read_persons(table).take(rows), how)
        for place, name in enumerate(names):
            draws = seeding.generator(seed, "gaze picture", epoch, name)
            person = people.take([place])
            changes[place] = draw_picture(draws, person, augment=augment, compat=how.compat)
    blocks = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        blocks.append(BlockRows(part, np.arange(start, start + len(part)), (len(part),), first=True, keep=len(part)))
    return BlockPlan(tuple(blocks), tuple(changes), tuple(names), len(table) - len(rows))


def merge_annotators(table: pd.DataFrame, *, most: int = MOST_ANNOTATORS) -> tuple[pd.DataFrame, Floats]:
    """Bring the annotators of a person in a picture together, as GazeFollow's test part is scored.

    Parameters
    ----------
    table
        Table `gaze`, one row per annotator.
    most
        Room for so many points.

    Returns
    -------
    first : DataFrame
        The first row of each person in each picture, in the table's order, index from 0.
    points : ndarray
        Points inside the picture as fractions of width and height, NaN where an annotator gave none or there are
        fewer, float64 ``[N, most, 2]``.

    Raises
    ------
    TableError
        When a person has more annotators than there is room for.
    """
    whose = table.groupby(_SEEN, sort=False, observed=True).ngroup().to_numpy()
    place = table.groupby(_SEEN, sort=False, observed=True).cumcount().to_numpy()
    if len(place) and place.max() >= most:
        row = table.iloc[int(np.argmax(place))]
        raise TableError(
            f"{int(place.max()) + 1} annotators have looked at one person.",
            where=f"session {row['session']}, person {row['person']}, frame {row['frame']}.",
            expected=f"At most {most}.",
            remedy="Look for rows that stand there twice, or make more room.",
        )
    people = read_persons(table)
    points = np.full((int(whose.max(initial=-1)) + 1, most, 2), np.nan)
    inside = people.inside == 1
    points[whose[inside], place[inside]] = (np.maximum(people.gaze, 0) / people.sizes)[inside]
    return table[place == 0].reset_index(drop=True), points
