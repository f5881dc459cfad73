"""How well each session was answered, frame by frame, whoever answered."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import Problem, TableError, raise_all
from nbpkg.metrics.valence.concordance import Edge, ccc, mse, pearson, why_degenerate
from nbpkg.metrics.valence.frames import Pad, frames_lacking, steps_to_frames

Array = NDArray[np.float64]
NETWORK, HUMAN = "network", "third_party"
WHO = ["system", "role", "session", "subject", "story", "fold"]
UNDEFINED = {"ccc": np.nan, "pearson": np.nan, "mse": np.nan, "frames": 0}


def score_predictions(
    predictions: pd.DataFrame,
    originals: Mapping[str, Array],
    *,
    folds: Mapping[str, int],
    ratio: int,
    pad: Pad = "hold",
    edge: Edge = "zero",
) -> pd.DataFrame:
    """Score the answers of systems against each session's annotation, frame by frame.

    Parameters
    ----------
    predictions
        Table ``valence_predictions``.
    originals
        Session to [frames], the annotation as it is; NaN where it has no value. Of role ``hidden`` none is needed.
    folds
        Session to its fold, as in table ``folds``.
    ratio, pad
        Frames of a step, and how frames behind the last step are filled (`steps_to_frames`).
    edge
        What concordance is where a side is constant (`nbpkg.metrics.valence.concordance.ccc`).

    Returns
    -------
    pandas.DataFrame
        Table ``valence_scores`` with predictor ``network``. Frames without a value in the annotation are left out and
        counted in ``reason``; a session with role ``hidden`` has no score.

    Raises
    ------
    TableError
        Listing every session without annotation or fold, with steps missing, or of two roles.
    """
    sessions = predictions.groupby(["system", "session"], sort=True)
    raise_all(_find_unusable(sessions, originals, folds), TableError, summary="answers cannot be scored")
    rows = []
    for (system, session), steps in sessions:
        one = steps.iloc[0]
        who = {name: one[name] for name in ("role", "subject", "story")}
        who |= {"predictor": NETWORK, "system": system, "session": session, "fold": folds[str(session)]}
        if one["role"] == "hidden":
            rows.append({**who, **UNDEFINED, "reason": "the truth is withheld"})
            continue
        truth = originals[str(session)]
        course = steps.sort_values("step")["predicted"].to_numpy(np.float64)
        lacking = frames_lacking(len(course), len(truth), ratio=ratio)
        note = f"{lacking} of {len(truth)} frames lie behind the last answer ({pad})" if lacking else ""
        answer = steps_to_frames(course, len(truth), ratio=ratio, pad=pad)
        rows.append({**who, **score_course(truth, answer, edge=edge, note=note)})
    return tables.from_rows(rows, "valence_scores")


def score_raters(
    scores: pd.DataFrame, originals: Mapping[str, Array], *, others: Mapping[str, Array], edge: Edge = "zero"
) -> pd.DataFrame:
    """Score another person's annotation in the network's place: what can be known from outside.

    Parameters
    ----------
    scores
        Table ``valence_scores``; the sessions that its network rows name are scored.
    originals
        Session to [frames], the listener's own annotation.
    others
        Session to [frames], the other person's; sessions that nobody else annotated are left out.
    edge
        As in `score_predictions`.

    Returns
    -------
    pandas.DataFrame
        Table ``valence_scores`` with predictor ``third_party``, on the same sessions, as far as known.

    Raises
    ------
    TableError
        Listing every session of which the two annotations differ in length.
    """
    asked = [row for row in network_rows(scores) if row["session"] in others and row["role"] != "hidden"]
    names = sorted({str(row["session"]) for row in asked})
    raise_all(
        (
            Problem(
                f"The other person annotated {len(others[name])} frames, the listener {len(originals[name])}.",
                file=name,
            )
            for name in names
            if len(others[name]) != len(originals[name])
        ),
        TableError,
        summary="annotations of two people differ in length",
    )
    found = {name: score_course(originals[name], others[name], edge=edge) for name in names}
    rows = [{**row, "predictor": HUMAN, **found[str(row["session"])]} for row in asked]
    return tables.from_rows(rows, "valence_scores")


def score_course(truth: Array, answer: Array, *, edge: Edge, note: str = "") -> dict[str, object]:
    """Score one course on the frames that have a truth.

    Parameters
    ----------
    truth, answer
        [frames]; NaN in `truth` is left out, NaN in `answer` makes all scores undefined.
    edge
        As in `score_predictions`.
    note
        What else there is to say about it.

    Returns
    -------
    dict
        ccc, pearson, mse, frames and reason, as in table ``valence_scores``.
    """
    known = ~np.isnan(truth)
    notes = [note, "" if known.all() else f"{int((~known).sum())} of {len(truth)} frames have no truth"]
    if not known.any():
        return {**UNDEFINED, "reason": "no frame has a truth"}
    a, b = truth[known], answer[known]
    reason = "; ".join(text for text in (why_degenerate(a, b), *notes) if text)
    values = {"ccc": ccc(a, b, edge=edge), "pearson": pearson(a, b), "mse": mse(a, b)}
    return {**values, "frames": len(a), "reason": reason}


def network_rows(scores: pd.DataFrame) -> list[dict[str, object]]:
    """Give who and what of each session that networks were scored on, as records."""
    rows = scores.loc[scores["predictor"] == NETWORK, WHO]
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _find_unusable(
    sessions: pd.api.typing.DataFrameGroupBy, originals: Mapping[str, Array], folds: Mapping[str, int]
) -> list[Problem]:
    problems = []
    for (system, session), steps in sessions:
        where = f"{session}, system {system}"
        numbers = np.sort(steps["step"].to_numpy())
        if session not in folds:
            problems.append(Problem("It has no fold.", file=where, remedy="Give the folds of stage 03."))
        if len(set(steps["role"])) > 1:
            problems.append(Problem("It has two roles.", file=where, expected="One role per system and session."))
        if not np.array_equal(numbers, np.arange(len(numbers))):
            problems.append(
                Problem(
                    f"Its {len(numbers)} steps are not 0 to {len(numbers) - 1}.",
                    file=where,
                    expected="Each step once, none left out.",
                    remedy="Predict again.",
                )
            )
        if session not in originals and not (steps["role"] == "hidden").all():
            problems.append(Problem("Its annotation was not given.", file=where, remedy="Give all recordings."))
    return problems
