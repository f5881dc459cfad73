"""Folds of families: classes balanced as far as families allow, no family on two sides, official lists held to that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from nbpkg.errors import FoldError
from nbpkg.folds.search import check_folds

_PARTS = ("train", "val", "test")


def deal_families(
    clips: pd.DataFrame, *, folds: int, scheme: Literal["families", "official"], seed: int
) -> pd.DataFrame:
    """Deal families into folds; the last fold is the test fold, the one before it chooses epochs of the final network.

    Parameters
    ----------
    clips
        Table ``clips``.
    folds
        Number of folds, the test fold among them; with ``official`` and a part ``val`` there are three.
    scheme
        ``families``: dealt so that shares of classes are alike; ``official``: test (and val) as in the lists.
    seed
        Which of several fair dealings.

    Returns
    -------
    pandas.DataFrame
        Table ``folds``: session, group (family), fold and role, sorted by session.

    Raises
    ------
    FoldError
        When there are too few families, a session shows several, or official parts share a family.
    """
    families = clips.groupby("session")["family"].agg(["nunique", "first"])
    mixed = sorted(families.index[families["nunique"] > 1])
    if mixed:
        raise FoldError(
            f"{len(mixed)} recordings hold clips of several families: {', '.join(mixed[:5])}.",
            expected="One family in each recording.",
            remedy="Correct the column of families, or the pattern parse.names.",
        )
    dealt = _follow_lists(clips, folds, seed) if scheme == "official" else _deal(clips, folds, seed)
    count = int(dealt.max()) + 1
    table = pd.DataFrame({"session": clips["session"], "group": clips["family"], "fold": dealt})
    table["role"] = np.where(table["fold"] == count - 1, "test", "train")
    table = table.drop_duplicates("session").sort_values("session", kind="stable").reset_index(drop=True)
    return check_folds(table)


def _deal(clips: pd.DataFrame, folds: int, seed: int) -> NDArray[np.int64]:
    families = clips["family"].nunique()
    if families < folds:
        raise FoldError(
            f"{families} families cannot be dealt into {folds} folds.",
            expected="At most as many folds as families.",
            remedy="Lower stratify.folds, or add families.",
        )
    dealt = np.zeros(len(clips), np.int64)
    if folds > 1:
        # A class with fewer clips than folds cannot be spread; the splitter refuses when all are like that.
        spread = int(clips["label"].value_counts().max()) >= folds
        kind = StratifiedGroupKFold if spread else GroupKFold
        splitter = kind(folds, shuffle=True, random_state=seed)
        for number, (_, held) in enumerate(splitter.split(clips, clips["label"], clips["family"])):
            dealt[held] = number
    return dealt


def _follow_lists(clips: pd.DataFrame, folds: int, seed: int) -> NDArray[np.int64]:
    """Put the official parts into folds; without a part to choose by, training families are dealt."""
    parts = clips.groupby("family")["split"].nunique()
    both = sorted(parts.index[parts > 1])
    if both:
        raise FoldError(
            f"{len(both)} families are in several parts of the official lists: {', '.join(both[:5])}.",
            expected="Each family in one part; else the test score is too good.",
            remedy="Use stratify.scheme: families, or correct the lists.",
        )
    split = clips["split"].to_numpy()
    if not {"train", "test"} <= set(split) or not set(split) <= set(_PARTS):
        raise FoldError(
            f"The lists have the parts {', '.join(sorted(map(repr, set(split))))}.",
            expected="train and test, and val if there is one.",
            remedy="Name them in parse.lists or the column split, or use stratify.scheme: families.",
        )
    if "val" in set(split):
        return np.select([split == "train", split == "val"], [0, 1], 2).astype(np.int64)
    learnt = split == "train"
    dealt = np.full(len(clips), folds - 1, np.int64)
    dealt[learnt] = _deal(clips[learnt].reset_index(drop=True), folds - 1, seed)
    return dealt


def find_family_leakage(
    clips: pd.DataFrame, folds: pd.DataFrame, *, hashes: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """List what several folds share: families, recordings, clips, or sources of the same content.

    Parameters
    ----------
    clips
        Table ``clips``.
    folds
        Table ``folds``.
    hashes
        Hash of each session's source: a copy under another name is the same.

    Returns
    -------
    pandas.DataFrame
        what, folds compared, shared (how many) and names of some; a row for each kind of thing, with 0 where all is
        well.
    """
    joined = clips.merge(folds[["session", "fold"]], on="session")
    joined = joined.assign(clip=joined["path"] + "@" + joined["first"].astype("str"))
    keys = {"family": joined["family"], "recording": joined["recording"], "clip": joined["clip"]}
    if hashes is not None:
        keys["content"] = joined["session"].map(dict(hashes))
    rows = []
    for what, names in keys.items():
        spread = joined.assign(name=names).groupby("name")["fold"].nunique()
        shared = sorted(map(str, spread.index[spread > 1]))
        rows.append({"what": what, "checked": len(spread), "shared": len(shared), "names": ", ".join(shared[:5])})
    return pd.DataFrame(rows)


def share_classes(clips: pd.DataFrame, folds: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Return, for each fold, role, families, clips and the share of each class, and what the commonest class scores."""
    joined = clips.merge(folds[["session", "fold", "role"]], on="session")
    families = joined.groupby("fold")["family"].nunique()
    shares = share_by(joined, "fold", classes)
    shares.insert(1, "role", joined.groupby("fold")["role"].first().to_numpy())
    shares.insert(2, "families", families.to_numpy())
    return shares


def share_by(clips: pd.DataFrame, column: str, classes: list[str]) -> pd.DataFrame:
    """Return, for each value of a column, clips, the share of each class, and the largest of these shares."""
    counts = pd.crosstab(clips[column], clips["label"]).reindex(columns=range(len(classes)), fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0).set_axis(classes, axis=1)
    shares.insert(0, "clips", counts.sum(axis=1))
    return shares.assign(majority=shares[classes].max(axis=1)).reset_index()
