"""How far other people agree with the listener: the ceiling of any network that learns from the listener."""

from __future__ import annotations

import pandas as pd

from nbpkg.metrics.valence.concordance import ccc, mse, pearson, why_degenerate

COLUMNS = ("session", "subject", "story", "rater", "ccc", "pearson", "mse", "frames", "reason")


def compare_raters(valence: pd.DataFrame, *, learnt: str = "self") -> pd.DataFrame:
    """Hold every other rater against the one that is learnt, on the frames that both have.

    Parameters
    ----------
    valence
        Table ``valence``.
    learnt
        The rater whose marks are learnt.

    Returns
    -------
    pandas.DataFrame
        A row for each session and other rater: session, subject, story, rater, ccc, pearson, mse, frames (of both),
        reason (why it says little; else empty). Without rows when there is one rater.
    """
    own = valence[valence["rater"] == learnt].drop(columns=["rater", "part"])
    both = valence[valence["rater"] != learnt].merge(own[["session", "frame", "value"]], on=["session", "frame"])
    both = both.dropna(subset=["value_x", "value_y"])
    rows = []
    for (session, subject, story, rater), frames in both.groupby(["session", "subject", "story", "rater"], sort=False):
        truth, answer = frames["value_y"].to_numpy(), frames["value_x"].to_numpy()
        scores = (ccc(truth, answer), pearson(truth, answer), mse(truth, answer))
        rows.append([session, subject, story, rater, *scores, len(frames), why_degenerate(truth, answer)])
    return pd.DataFrame(rows, columns=list(COLUMNS))
