"""People in the network's place: the segments of one annotator scored against another's.

An annotator says yes or no and gives no order, so that average precision is undefined; accuracy, recall, F1 and kappa
are what a network can be held against.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

from nbpkg.errors import TableError
from nbpkg.metrics import classification

FACE = ["session", "track", "frame"]
COLUMNS = ["annotator", "session", "group", "track", "frame", "person", "label"]


def answer_for_annotators(labels: pd.DataFrame) -> pd.DataFrame:
    """Let each annotator answer for each other one, face by face.

    Parameters
    ----------
    labels
        annotator, session, group, track, frame, person and label (1 looking, 0 not, -1 unknown): one row for each face
        and annotator. Faces that only one annotator saw are left out.

    Returns
    -------
    pandas.DataFrame
        Table ``looking_predictions``, system ``<annotator> for <other>``: label the other's, score 0 or 1, quality NaN.
        Without a row when no face has two annotators.

    Raises
    ------
    TableError
        When a column lacks, or an annotator has a face twice.

    Examples
    --------
    >>> face = {"session": "c", "group": "v", "track": "t", "frame": 3, "person": "1"}
    >>> rows = [{**face, "annotator": "A", "label": 1}, {**face, "annotator": "B", "label": 0}]
    >>> answer_for_annotators(pd.DataFrame(rows))[["system", "label", "score"]].values.tolist()
    [['A for B', 0, 1.0], ['B for A', 1, 0.0]]
    """
    missing = [name for name in COLUMNS if name not in labels.columns]
    if missing:
        raise TableError(f"The labels lack {', '.join(missing)}.", expected=f"Columns {', '.join(COLUMNS)}.")
    known = labels[labels["label"] >= 0]
    again = known.duplicated(["annotator", *FACE])
    if again.any():
        one = known[again].iloc[0]
        raise TableError(
            f"An annotator has {int(again.sum())} faces twice.",
            where=f"annotator {one['annotator']!r}, {one['session']}:{one['frame']}:{one['track']}",
            expected="One label for each face and annotator.",
        )
    parts = []
    for own, other in permutations(sorted(set(known["annotator"])), 2):
        said = known.loc[known["annotator"] == own, [*FACE, "label"]].rename(columns={"label": "score"})
        both = known[known["annotator"] == other].merge(said, on=FACE, how="inner").sort_values(FACE, kind="stable")
        parts.append(both.assign(system=f"{own} for {other}"))
    found = pd.concat(parts, ignore_index=True) if parts else known.iloc[:0].assign(system="", score=0)
    found = found.assign(score=found["score"].astype("float64"), quality=np.nan)
    return found[["system", "session", "group", "track", "frame", "person", "label", "score", "quality"]]


def measure_ceiling(answers: pd.DataFrame, frames: pd.DataFrame | None = None) -> dict[str, float]:
    """Average over the pairs of annotators what one reaches against another.

    Parameters
    ----------
    answers
        From `answer_for_annotators`.
    frames
        session, track, frame of the faces that count; None for all.

    Returns
    -------
    dict
        accuracy, balanced_accuracy, recall_looking, recall_not_looking, f1_looking and kappa: means over the pairs for
        which they are defined, NaN when there is none; and n, the different faces.
    """
    own = answers
    if frames is not None:
        own = answers[pd.MultiIndex.from_frame(answers[FACE]).isin(pd.MultiIndex.from_frame(frames[FACE]))]
    pairs = [
        classification.confusion(rows["label"], rows["score"].astype("int64")).astype(np.float64)
        for _, rows in own.groupby("system", sort=True)
    ]
    matrices = np.stack(pairs) if pairs else np.full((1, 2, 2), np.nan)
    found = {name: _mean(compute(matrices)) for name, compute in FROM_COUNTS.items()}
    return {**found, "n": float(len(own.drop_duplicates(FACE)))}


FROM_COUNTS = {
    "accuracy": classification.accuracy,
    "balanced_accuracy": classification.balanced_accuracy,
    "recall_looking": classification.recall,
    "recall_not_looking": classification.specificity,
    "f1_looking": classification.f1,
    "kappa": classification.cohen_kappa,
}


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
