"""Which clips are baked: random draws to train on, and a fixed grid to choose by; never one of a test session."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.errors import FoldError

GRID, TRAIN = "grid", "train"


def training_sessions(folds: pd.DataFrame) -> list[str]:
    """Return the sessions outside the test fold.

    Raises
    ------
    FoldError
        When fewer than two folds are left to train on.
    """
    own = folds[folds["role"] == "train"]
    if own["fold"].nunique() < 2:
        raise FoldError(
            f"{own['fold'].nunique()} of {folds['fold'].nunique()} folds are left for training.",
            expected="At least two training folds, so that one can be left out.",
            remedy="Set stratify.folds to 3 or more.",
        )
    return own["session"].tolist()


def repeat_draws(
    draw: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], repeats: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the clips that heads are trained on, all repeats together.

    Parameters
    ----------
    draw
        Keyword ``epoch``, the number of the repeat from 1, to the tables ``draws`` and ``dropped`` of that one.
    repeats
        How often every chunk is drawn from.

    Returns
    -------
    tuple of pandas.DataFrame
        Tables ``draws`` and ``dropped``; what is too short to draw from is so in every repeat, and listed once.

    Raises
    ------
    FoldError
        When no session is long enough for a clip.
    """
    parts = [draw(epoch=repeat) for repeat in range(1, repeats + 1)]
    draws = pd.concat([drawn for drawn, _ in parts], ignore_index=True)
    if draws.empty:
        raise FoldError(
            "No training session is long enough for a clip.",
            expected="Tasks longer than stratify.clip_seconds.",
            remedy="Take shorter clips.",
        )
    return tables.check(draws, "draws"), parts[0][1]


def plan_features(draws: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """List every clip to encode once, whatever tasks, variables and raters share it.

    Parameters
    ----------
    draws
        Table ``draws``: encoded with random changes, view ``train``.
    samples
        Table ``samples`` of the training sessions: encoded as they are, view ``grid``.

    Returns
    -------
    pandas.DataFrame
        Table ``features``: clips in the order of their shards (one for each session and view) and rows.
    """
    own = ["session", "rater", "start_ms", "end_ms", "repeat"]
    train = draws.drop_duplicates("draw_id").assign(view=TRAIN, clip_id=lambda rows: rows["draw_id"])
    grid = samples.drop_duplicates("clip_id").assign(view=GRID, rater="", repeat=0)
    order = ["session", "view", "repeat", "start_ms", "clip_id"]
    plan = pd.concat([rows[["clip_id", "view", *own]] for rows in (train, grid)]).sort_values(order, ignore_index=True)
    shards = plan.groupby(["session", "view"], sort=False)
    plan["shard"] = plan["session"] + "_" + plan["view"]
    plan["row"] = shards.cumcount().to_numpy(np.int64)
    return tables.check(plan, "features")
