"""Choose recordings by subject and story, and repeat those of chosen subjects."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import SettingsError


def select_recordings(
    recordings: Sequence[Recording], *, subjects: Collection[str] | None = None, stories: Collection[str] | None = None
) -> tuple[list[Recording], list[Recording]]:
    """Split recordings into those of these subjects that tell these stories, and the rest.

    Parameters
    ----------
    recordings
        The recordings; their order is kept.
    subjects, stories
        Which; None takes all.

    Returns
    -------
    list of Recording
        Those that meet both.
    list of Recording
        All others.

    Raises
    ------
    SettingsError
        Naming subjects or stories of which there is no recording, or when no recording meets both.
    """
    for what, wanted, found in (
        ("subject", subjects, {recording.subject for recording in recordings}),
        ("story", stories, {recording.story for recording in recordings}),
    ):
        unknown = [name for name in wanted or () if name not in found]
        if unknown:
            raise SettingsError(
                f"There is no recording of {what} {', '.join(unknown)}.",
                expected=f"One of {', '.join(sorted(found)) or 'none'}.",
                remedy="Correct the parameter file.",
            )
    chosen: list[Recording] = []
    rest: list[Recording] = []
    for recording in recordings:
        meets = (subjects is None or recording.subject in subjects) and (stories is None or recording.story in stories)
        (chosen if meets else rest).append(recording)
    if not chosen:
        raise SettingsError(
            "No recording is of one of the subjects and one of the stories at once.",
            where=f"Subjects {', '.join(subjects or ['all'])}; stories {', '.join(stories or ['all'])}.",
            remedy="Correct the parameter file.",
        )
    return chosen, rest


def augment_recordings(
    recordings: Sequence[Recording],
    *,
    copies: int,
    subjects: Collection[str] | None = None,
    stories: Collection[str] | None = None,
) -> list[Recording]:
    """Append chosen recordings `copies` times behind all, so that they weigh more in training.

    Parameters
    ----------
    recordings
        The recordings.
    copies
        How many times the chosen ones are appended, block after block; 0 changes nothing.
    subjects, stories
        Which are chosen; None takes all.

    Returns
    -------
    list of Recording
        The chosen ones occur ``1 + copies`` times. Nothing is copied in memory.

    Raises
    ------
    SettingsError
        As `select_recordings`, or when `copies` is negative.
    """
    if copies < 0:
        raise SettingsError(f"Recordings cannot be repeated {copies} times.", expected="A whole number from 0.")
    return [*recordings, *select_recordings(recordings, subjects=subjects, stories=stories)[0] * copies]


def choose_subjects(
    train: Sequence[Recording], held_out: Sequence[Recording], *, subjects: Collection[str], copies: int = 0
) -> tuple[list[Recording], list[Recording]]:
    """Restrict training and scoring to some subjects, or lay weight on them.

    Parameters
    ----------
    train, held_out
        The recordings to learn from and to score on.
    subjects
        Whom the scores are about.
    copies
        0 trains on their recordings only; otherwise on all, and theirs are appended this often.

    Returns
    -------
    list of Recording
        To learn from.
    list of Recording
        To score on: only recordings of these subjects.

    Raises
    ------
    SettingsError
        Naming subjects of whom one of the two has no recording.

    Source: ``--subjects`` and ``--augment`` of the published training program.
    """
    scored = select_recordings(held_out, subjects=subjects)[0]
    if copies:
        return augment_recordings(train, copies=copies, subjects=subjects), scored
    return select_recordings(train, subjects=subjects)[0], scored
