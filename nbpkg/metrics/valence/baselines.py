"""Answers that perceive nothing of the session: the lines that a network has to beat.

Only training sessions are known to them, and never the truth of the session that they answer, save that `shifted` uses
by design what the same person reported in other sessions, wherever these belong: what remains when time is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.metrics.valence.concordance import Edge
from nbpkg.metrics.valence.scores import UNDEFINED, network_rows, score_course

Array = NDArray[np.float64]
People = Mapping[str, tuple[str, str]]  # session to subject and story
BASELINES = ("constant", "person mean", "story mean", "shifted")


def list_training(folds: pd.DataFrame) -> dict[str, list[str]]:
    """List for each session what a network that answers it may have learnt from: the training sessions of other folds.

    Parameters
    ----------
    folds
        Table ``folds``.

    Returns
    -------
    dict
        Session to training sessions, by name. For a session with role ``test`` all training sessions.
    """
    train = folds[folds["role"] == "train"]
    members = {
        fold: sorted(train.loc[train["fold"] != fold, "session"]) for fold in sorted(set(folds["fold"].tolist()))
    }
    everybody = sorted(train["session"])
    return {str(one.session): members[one.fold] if one.role == "train" else everybody for one in folds.itertuples()}


def score_baselines(
    scores: pd.DataFrame,
    originals: Mapping[str, Array],
    *,
    people: People,
    training: Mapping[str, Sequence[str]],
    edge: Edge = "zero",
) -> pd.DataFrame:
    """Score answers that perceive nothing, on the sessions that networks were scored on.

    - ``constant``: the mean of all training frames, always. Its concordance is 0, its squared error is not.
    - ``person mean``: the mean of the same person's training frames, always.
    - ``story mean``: what other people reported at the same time of the same story, on average over those whose session
      is in training, cut or held to the length of this one; not defined where the story is left out.
    - ``shifted``: what the same person reported in another session, cut or held to the length of this one; the mean of
      the scores over all their other sessions. It shows what is owed to a person's level and way of moving.

    Parameters
    ----------
    scores
        Table ``valence_scores``; its rows of predictor ``network`` are answered.
    originals
        Session to [frames], all annotations that are known (none of a withheld session).
    people
        Session to subject and story, of all sessions in `originals`.
    training
        Session to the sessions that may be learnt from (`list_training`). The session itself never counts.
    edge
        As in `nbpkg.metrics.valence.scores.score_predictions`.

    Returns
    -------
    pandas.DataFrame
        Table ``valence_scores``, a row per baseline, system and session; NaN with the reason where not defined.

    Raises
    ------
    TableError
        When a session is unknown to `people` or `training`.
    """
    rows = [row for row in network_rows(scores) if row["role"] != "hidden"]
    named = {str(row["session"]) for row in rows}
    lost = sorted({*(named - set(training)), *(named - set(people)), *(set(originals) - set(people))})
    if lost:
        raise TableError(
            f"It is not known who tells what in {len(lost)} sessions, or what may be learnt for them: "
            f"{', '.join(lost[:5])}.",
            expected="Subject and story of each annotation, and training sessions of each session scored.",
        )
    known = {name: course for name, course in originals.items() if not np.isnan(course).all()}
    found = {
        session: _answer(session, known, people=people, training=training[session], edge=edge)
        for session in sorted(named & set(known))
    }
    return tables.from_rows(
        (
            {**row, "predictor": name, **found[str(row["session"])][name]}
            for name in BASELINES
            for row in rows
            if str(row["session"]) in found
        ),
        "valence_scores",
    )


def _answer(
    session: str, known: Mapping[str, Array], *, people: People, training: Sequence[str], edge: Edge
) -> dict[str, dict[str, object]]:
    """Score all baselines on one session."""
    truth, (subject, story) = known[session], people[session]
    learnt = [name for name in dict.fromkeys(training) if name != session and name in known]
    own = [name for name in learnt if people[name][0] == subject]
    same_story = [name for name in learnt if people[name][1] == story and people[name][0] != subject]
    others = [name for name in sorted(known) if name != session and people[name][0] == subject]

    def score(answer: Array) -> dict[str, object]:
        return score_course(truth, answer, edge=edge)

    return {
        "constant": _constant(learnt, known, len(truth), score, "nothing is known from training"),
        "person mean": _constant(own, known, len(truth), score, "the person is not in training"),
        "story mean": _story(same_story, known, len(truth), score),
        "shifted": _shifted(others, known, len(truth), score),
    }


def _undefined(reason: str) -> dict[str, object]:
    return {**UNDEFINED, "reason": reason}


def _constant(
    names: Sequence[str],
    known: Mapping[str, Array],
    frames: int,
    score: Callable[[Array], dict[str, object]],
    otherwise: str,
) -> dict[str, object]:
    if not names:
        return _undefined(otherwise)
    value = float(np.nanmean(np.concatenate([known[name] for name in names])))
    return score(np.full(frames, value))


def _story(
    names: Sequence[str], known: Mapping[str, Array], frames: int, score: Callable[[Array], dict[str, object]]
) -> dict[str, object]:
    if not names:
        return _undefined("nobody else hears this story in training")
    return score(np.mean([fit_length(_fill(known[name]), frames) for name in names], axis=0))


def _shifted(
    names: Sequence[str], known: Mapping[str, Array], frames: int, score: Callable[[Array], dict[str, object]]
) -> dict[str, object]:
    if not names:
        return _undefined("the person has no other session")
    found = pd.DataFrame([score(fit_length(_fill(known[name]), frames)) for name in names])
    means = {metric: float(found[metric].mean()) for metric in ("ccc", "pearson", "mse")}  # leaves undefined ones out
    note = f"mean over {len(names)} other sessions of the person, whose truth it uses"
    return {**means, "frames": int(found["frames"].iloc[0]), "reason": note}


def fit_length(course: Array, frames: int) -> Array:
    """Cut a course, or hold its last value, to a number of frames."""
    return np.concatenate([course[:frames], np.full(max(0, frames - len(course)), course[-1])])


def _fill(course: Array) -> Array:
    """Hold the last value over frames without one; those at the start get the first value there is."""
    place = np.maximum.accumulate(np.where(np.isnan(course), -1, np.arange(len(course))))
    first = int(np.flatnonzero(~np.isnan(course))[0])
    return course[np.where(place < 0, first, place)]
