"""Reader of ObjectAttention as restructured for fine-tuning: one text file per setting, targets are objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from nbpkg.annotations.gaze.lookup import PictureIndex
from nbpkg.annotations.gaze.rows import Compat
from nbpkg.annotations.gaze.tracks import TrackRules, read_tracks
from nbpkg.errors import Problem


def read_objectattention(
    folder: Path,
    *,
    pictures: PictureIndex | None = None,
    splits: Sequence[str] = ("train", "test"),
    participants: Mapping[str, str] | None = None,
    cut_at_targets: bool = True,
    dataset: str = "objectattention",
    compat: Compat = "none",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``annotations/<split>/<session>/<setting>/<name>.txt`` about ``images/<session>/<setting>/``.

    Rows are ``stem, x_min, y_min, x_max, y_max, gaze_x, gaze_y`` in pixels. The header is found, not assumed: a file
    without one keeps its first row. Names may have an ending or not, pictures any known one.

    Parameters
    ----------
    folder
        The data set.
    pictures
        Index of the data folder in which it lies; of `folder` itself when not given.
    splits
        Parts of the official list.
    participants
        Name of the participant for each first folder; the folder's own name for all others.
    cut_at_targets
        Start a new segment where the gaze point changes, because there another take begins.
    dataset
        Name of the data set in the table.
    compat
        ``reference`` takes the first line for a header whatever it is, so that a file without one loses its first
        frame, and does not cut at targets, as the published loader does.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``; session is the picture folder (``<session>--<setting>``).
    problems : list of Problem
        Everything noticed; raise on them with `raise_all`.

    Raises
    ------
    AnnotationError
        When the data set is not there.
    """
    rules = TrackRules(
        dataset,
        cut_at_targets=cut_at_targets and compat == "none",
        keep_outside=compat == "reference",
        participants=participants or {},
        lost=1 if compat == "reference" else 0,
    )
    return read_tracks(folder, rules, splits=splits, pictures=pictures or PictureIndex(folder))
