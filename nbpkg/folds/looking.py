"""Folds of clips: the official parts, or whole videos dealt at random; clips of a video stay together."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from nbpkg import seeding, tables
from nbpkg.errors import FoldError

SHARE = 5  # one training video of so many chooses, where no part does
LEAKAGE = ["video", "folds", "roles", "clips", "sessions"]


def deal_clips(
    footage: pd.DataFrame,
    *,
    scheme: Literal["official", "videos"] = "official",
    folds: int = 5,
    keep_shared: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Deal clips into folds: the last is the test, the one before it chooses.

    Parameters
    ----------
    footage
        Table ``footage``. Clips without labels go to the test fold: they are answered for, not scored.
    scheme
        ``official``: train is fold 0, val fold 1 and test fold 2. Where no test clip is labelled, val is the test, and
        one in five training videos chooses; so it does where there is no val. Clips in no part are in no fold.
        ``videos``: whole videos dealt into `folds` folds of about equally many tracks, whatever their part.
    folds
        For ``videos``.
    keep_shared
        For ``official``: accept videos with clips in several parts, as published.
    seed
        Which videos choose, and which of several fair dealings.

    Returns
    -------
    pandas.DataFrame
        Table ``folds``, sorted by session; `group` is the video.

    Raises
    ------
    FoldError
        When a video has clips in several parts, a part is empty, or there are too few videos.
    """
    known = footage[footage["labelled"]]
    if scheme == "videos":
        dealt = _deal_videos(known, folds, seed, tested=set(footage.loc[~footage["labelled"], "video"]))
    else:
        parts = known[known["split"] != ""]
        if not keep_shared:
            _refuse_shared(footage[footage["split"] != ""])
        dealt = _deal_parts(parts, seed)
    last = max(dealt.values())
    dealt |= dict.fromkeys(footage.loc[~footage["labelled"], "session"], last)
    own = footage[footage["session"].isin(list(dealt))]
    number = own["session"].map(dealt)
    table = pd.DataFrame({"session": own["session"], "group": own["video"], "fold": number})
    table = table.assign(role=np.where(number == last, "test", "train"))
    return check_clip_folds(table.sort_values("session", kind="stable"), keep_shared=keep_shared)


def check_clip_folds(folds: pd.DataFrame, *, keep_shared: bool = False) -> pd.DataFrame:
    """Hold folds of clips against their contract and make sure that no video is in two of them.

    Parameters
    ----------
    folds
        Table ``folds``.
    keep_shared
        Accept videos in several folds; `find_video_leakage` lists them.

    Raises
    ------
    FoldError
        Naming videos in two folds, or when there are no two training folds and a test fold behind them.
    """
    table = tables.check(folds, "folds")
    spread = table.groupby("group")["fold"].nunique()
    both = sorted(spread.index[spread > 1])
    if both and not keep_shared:
        raise FoldError(
            f"{len(both)} videos are in two folds: {', '.join(both[:5])}.",
            expected="All clips of a video in one fold.",
            remedy="Make the folds again, or correct the table by hand.",
        )
    train, test = (sorted(set(table.loc[table["role"] == role, "fold"])) for role in ("train", "test"))
    if len(test) != 1 or len(train) < 2 or test[0] <= train[-1]:
        raise FoldError(
            f"Training folds are {train}, test folds {test}.",
            expected="At least two training folds, the last of which chooses, and one test fold behind them.",
            remedy="Make the folds again, or correct the table by hand.",
        )
    return table


def chooser_fold(folds: pd.DataFrame) -> int:
    """Return the fold whose clips choose epoch and variant: the last that is not the test.

    Examples
    --------
    >>> chooser_fold(pd.DataFrame({"fold": [0, 1, 2], "role": ["train", "train", "test"]}))
    1
    """
    return int(folds.loc[folds["role"] == "train", "fold"].max())


def find_video_leakage(footage: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """List videos with clips in several folds: people and places of one were seen in another.

    Parameters
    ----------
    footage
        Table ``footage``.
    folds
        Table ``folds``.

    Returns
    -------
    pandas.DataFrame
        video, folds and roles (between semicolons), clips (how many), sessions (between semicolons); no row where
        every video is in one fold.

    Raises
    ------
    FoldError
        When a clip of the folds is not described.
    """
    lacking = sorted(set(folds["session"]) - set(footage["session"]))
    if lacking:
        raise FoldError(
            f"{len(lacking)} clips of the folds are not described: {', '.join(lacking[:5])}.",
            remedy="Describe and deal the same clips.",
        )
    joined = folds[["session", "fold", "role"]].merge(footage[["session", "video"]], on="session")
    rows = [
        {
            "video": video,
            "folds": "; ".join(str(fold) for fold in sorted(set(own["fold"]))),
            "roles": "; ".join(dict.fromkeys(own.sort_values("fold")["role"])),
            "clips": len(own),
            "sessions": "; ".join(sorted(own["session"])),
        }
        for video, own in joined.groupby("video", sort=True)
        if len(set(own["fold"])) > 1
    ]
    return pd.DataFrame(rows, columns=LEAKAGE)


def _refuse_shared(footage: pd.DataFrame) -> None:
    parts = footage.groupby("video")["split"].agg(lambda own: sorted(set(own)))
    shared = parts[parts.map(len) > 1]
    if len(shared):
        shown = ", ".join(f"{video} ({', '.join(own)})" for video, own in shared.head(5).items())
        raise FoldError(
            f"{len(shared)} videos have clips in several official parts: {shown}.",
            expected="All clips of a video in one part; otherwise people and places of the test are known.",
            remedy="Deal whole videos (stratify.scheme: videos), or go on as published (stratify.keep_shared: true).",
        )


def _deal_parts(parts: pd.DataFrame, seed: int) -> dict[str, int]:
    """Give the official parts their numbers, and let some training videos choose where no part is left for it."""
    found = {name: parts[parts["split"] == name] for name in ("train", "val", "test")}
    train, val, test = found.values()
    chooses = val if len(test) else test  # val is the test where no test clip is labelled
    tested = test if len(test) else val
    if train.empty or tested.empty:
        raise FoldError(
            f"There are {len(train)} training, {len(val)} val and {len(test)} test clips with labels.",
            expected="Training clips, and clips of val or test.",
            remedy="Name the official lists in parse.lists, or use stratify.scheme: videos.",
        )
    if chooses.empty:
        videos = sorted(set(train["video"]) - set(tested["video"])) or sorted(set(train["video"]))
        if len(videos) < 2:
            raise FoldError(
                f"The training clips are of {len(videos)} video, of which none can choose the epoch.",
                expected="At least two training videos, or labelled clips of both val and test.",
                remedy="Add videos, or use stratify.scheme: videos.",
            )
        random = seeding.generator(seed, "videos that choose")
        drawn = random.permutation(videos)[: max(1, round(len(videos) / SHARE))]
        chosen = train["video"].isin(list(drawn))
        train, chooses = train[~chosen], train[chosen]
    return {session: fold for fold, own in enumerate((train, chooses, tested)) for session in own["session"]}


def _deal_videos(known: pd.DataFrame, folds: int, seed: int, *, tested: set[str]) -> dict[str, int]:
    """Deal videos, those with most tracks first, into the fold with the fewest tracks; `tested` into the last."""
    sizes = known.groupby("video")["tracks"].sum()
    free = int((~sizes.index.isin(list(tested))).sum())
    if folds < 3 or free < folds - (free < len(sizes)):
        raise FoldError(
            f"{len(sizes)} videos with labels cannot be dealt into {folds} folds.",
            expected="At least three folds, and at most as many as videos.",
            remedy="Correct stratify.folds, or add videos.",
        )
    random = seeding.generator(seed, "dealt videos")
    order = sizes.iloc[random.permutation(len(sizes))].sort_values(ascending=False, kind="stable")
    order = order.iloc[np.argsort(~order.index.isin(list(tested)), kind="stable")]
    loads, of_video = np.zeros(folds), {}
    ranks = random.permutation(folds)
    for video, size in order.items():
        least = min(range(folds), key=lambda one: (loads[one], ranks[one]))
        fold = folds - 1 if video in tested else least
        # a video without tracks counts a little, so that none of the folds stays empty
        loads[fold] += max(int(size), 1e-3)
        of_video[video] = fold
    return {session: of_video[video] for session, video in zip(known["session"], known["video"], strict=True)}
