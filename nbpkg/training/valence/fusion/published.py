"""Decision-level fusion as published, for comparison only (``compat: reference``).

Known to be wrong, and kept: ranges of features take in the test sessions; switched on without test stories of its own,
bringing features to a range does nothing at all; training sessions' features come from networks that learnt from them;
the one setting is judged on the story it is reported on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.svm import SVR

from nbpkg.errors import TableError
from nbpkg.metrics.valence.concordance import ccc
from nbpkg.metrics.valence.files import NAME, in_file_order
from nbpkg.metrics.valence.frames import steps_to_frames
from nbpkg.metrics.valence.summary import crossval_table

Array = NDArray[np.float64]
Rows = NDArray[np.floating]


class PublishedFusion(NamedTuple):
    """What the published program makes of one fit.

    Parameters
    ----------
    regressor
        scikit-learn's, fitted.
    train, test
        Session to [frames], answers, in the order in which they were made.
    train_ccc, test_ccc
        Mean concordance over sessions.
    steps
        Session to [T], answers before they were brought to frames; test sessions.
    """

    regressor: SVR
    train: dict[str, Array]
    test: dict[str, Array]
    train_ccc: float
    test_ccc: float
    steps: dict[str, Array]


def concatenate_features(systems: Sequence[Mapping[str, Rows]]) -> dict[str, Rows]:
    """Put the features of several systems beside each other, session by session.

    Raises
    ------
    TableError
        When a system lacks a session, or has another number of seconds.
    """
    found: dict[str, Rows] = {}
    for session in systems[0]:
        rows = [own[session] for own in systems if session in own]
        lengths = [len(one) for one in rows]
        if len(rows) < len(systems) or len(set(lengths)) > 1:
            raise TableError(
                f"{len(rows)} of {len(systems)} systems have {session}, with {lengths} seconds.",
                expected="The same session in all systems, equally long.",
            )
        found[session] = np.concatenate(rows, axis=1)
    return found


def fuse_as_published(
    features: Mapping[str, Rows],
    originals: Mapping[str, Array],
    *,
    train: Collection[str],
    test: Collection[str],
    normalise: bool = False,
    test_stories: Collection[str] = (),
    ratio: int = 25,
) -> PublishedFusion:
    """Fuse as the published program ``fusion.py`` does.

    Parameters
    ----------
    features
        Session to (T, E).
    originals
        Session to [frames], the annotation.
    train, test
        Sessions of the training and of the validation folder.
    normalise
        Bring features to -1 .. 1 by the range over training and test sessions. Without `test_stories` it does nothing.
    test_stories
        Stories that are the test instead, out of both folders.
    ratio
        Frames of a step.
    """
    learnt, asked = in_file_order(train), in_file_order(test)
    used = {session: features[session] for session in [*learnt, *asked]}
    if test_stories:
        used = _scale_all(used) if normalise else used
        learnt = [session for session in used if story_of(session) not in set(test_stories)]
        asked = [session for session in used if story_of(session) in set(test_stories)]
    return _fit_published(used, originals, learnt=learnt, asked=asked, ratio=ratio)


def cross_validate_as_published(
    rounds: Mapping[str, Mapping[str, Rows]],
    originals: Mapping[str, Array],
    *,
    normalise: bool = True,
    ratio: int = 25,
) -> tuple[pd.DataFrame, dict[str, PublishedFusion]]:
    """Cross-validate fusion as the published program ``cv_fusion.py`` does, without its copies and its deletions.

    Parameters
    ----------
    rounds
        Story left out to session to (T, E), the features of all sessions from the networks that left this story out.
    originals
        Session to [frames].
    normalise
        Bring features to -1 .. 1 by the range over all sessions, the ones held out too.
    ratio
        Frames of a step.

    Returns
    -------
    tuple
        The published table (`nbpkg.metrics.valence.summary.crossval_table`), and each story's fit.
    """
    found = {}
    for story in sorted(rounds, key=int):
        used = {session: rounds[story][session] for session in in_file_order(rounds[story])}
        used = _scale_all(used) if normalise else used
        learnt = [session for session in used if story_of(session) != story]
        asked = [session for session in used if story_of(session) == story]
        found[story] = _fit_published(used, originals, learnt=learnt, asked=asked, ratio=ratio)
    trials = pd.DataFrame(
        [("fusion", int(story), one.train_ccc, one.test_ccc) for story, one in found.items()],
        columns=["system", "fold", "train_ccc", "held_out_ccc"],
    )
    return crossval_table(trials), found


def story_of(session: str) -> str:
    """Take the story out of a session's name."""
    named = NAME.fullmatch(f"{session}.csv")
    if named is None:
        raise TableError(f"{session!r} names no subject and story.", expected="Subject_<subject>_Story_<story>.")
    return named.group(2)


def _fit_published(
    features: Mapping[str, Rows],
    originals: Mapping[str, Array],
    *,
    learnt: Sequence[str],
    asked: Sequence[str],
    ratio: int,
) -> PublishedFusion:
    truth = [_mean_steps(originals[session], ratio) for session in learnt]
    regressor = SVR(kernel="rbf", C=0.01, gamma="auto", epsilon=0.1, tol=0.01, cache_size=1000)
    regressor.fit(np.concatenate([features[session] for session in learnt]), np.concatenate(truth))
    steps = {session: regressor.predict(features[session]) for session in [*learnt, *asked]}
    frames = {
        session: steps_to_frames(own, len(originals[session]), ratio=ratio, pad="replay")
        for session, own in steps.items()
    }
    scores = {session: ccc(originals[session], own, edge="training") for session, own in frames.items()}
    return PublishedFusion(
        regressor,
        {session: frames[session] for session in learnt},
        {session: frames[session] for session in asked},
        float(np.mean([scores[session] for session in learnt])),
        float(np.mean([scores[session] for session in asked])),
        {session: steps[session] for session in asked},
    )


def _scale_all(features: Mapping[str, Rows]) -> dict[str, Rows]:
    """Bring features to -1 .. 1 by their range in all sessions, in the published mixture of 32 and 64 bits."""
    rows = np.concatenate(list(features.values()))
    low = rows.min(axis=0)
    span = (rows.max(axis=0) - low).astype(np.float64)
    span[span <= 0] = 1e-10
    return {session: (own - low) / span * 2 - 1 for session, own in features.items()}


def _mean_steps(original: Array, ratio: int) -> Array:
    starts = np.arange(0, len(original), ratio)
    sizes = np.diff([*starts, len(original)])
    means: Array = np.add.reduceat(original, starts) / sizes
    return means
