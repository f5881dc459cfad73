"""Which augmented copies are trained on: a mixture of two variants, and never a copy of a clip that is held out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from nbpkg import seeding
from nbpkg.datasets.people.balance import share_out
from nbpkg.errors import FoldError, TableError


def select_mixed(general: pd.DataFrame, deepfake: pd.DataFrame, *, size: int, seed: int) -> pd.DataFrame:
    """Choose copies of the variants General and DeepFake, half each, with the labels in the same proportions.

    Parameters
    ----------
    general, deepfake
        Copies that there are: columns clip_id (of the original), copy and label; others are kept.
    size
        How many are chosen; of an odd number General has one more.
    seed
        The experiment's seed.

    Returns
    -------
    pandas.DataFrame
        `size` rows with column ``variant``, no copy twice; both halves have the labels in the proportions of all copies
        together, to whole numbers.

    Raises
    ------
    TableError
        Naming the variant and label of which there are too few.
    """
    labels = pd.concat([general["label"], deepfake["label"]]).value_counts().sort_index()
    if size < 1 or labels.empty:
        raise TableError(f"{size} of {labels.sum()} copies cannot be chosen.", expected="At least one of each.")
    halves = [("general", general, size - size // 2), ("deepfake", deepfake, size // 2)]
    chosen = []
    for variant, copies, half in halves:
        wanted = share_out(labels.tolist(), half)
        for label, count in zip(labels.index, wanted.tolist(), strict=True):
            rows = copies[copies["label"] == label].sort_values(["clip_id", "copy"])
            if len(rows) < count:
                raise TableError(
                    f"There are {len(rows)} copies of label {label}, but {count} are to be chosen.",
                    where=f"variant {variant}",
                    remedy=f"Make more copies, or choose fewer than {size}.",
                )
            order = seeding.generator(seed, "mixed", variant, str(label)).permutation(len(rows))[:count]
            chosen.append(rows.iloc[np.sort(order)].assign(variant=variant))
    mixed: pd.DataFrame = pd.concat(chosen, ignore_index=True)
    return mixed


def keep_training_copies(copies: pd.DataFrame, *, training: Collection[str], held_out: Collection[str]) -> pd.DataFrame:
    """Keep the copies of training clips: validation and test see original clips only.

    Parameters
    ----------
    copies
        Column clip_id, the original of each copy.
    training, held_out
        Original clips to learn from, and those of validation and test.

    Returns
    -------
    pandas.DataFrame
        Rows of `copies` whose original is a training clip.

    Raises
    ------
    FoldError
        When a clip is in both.

    Source
    ------
    The published lists hold augmented copies in validation and test, too.
    """
    both = sorted(set(training) & set(held_out))
    if both:
        raise FoldError(
            f"{len(both)} clips are in training and held out at once, {both[0]!r} first.",
            expected="Each clip in one split.",
            remedy="Split by family before anything else.",
        )
    return copies.loc[copies["clip_id"].isin(list(training))].reset_index(drop=True)
