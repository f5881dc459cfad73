"""Reader of VideoAttentionTarget: one headerless text file per person and clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nbpkg.annotations.gaze.judge import Protocol
from nbpkg.annotations.gaze.lookup import PictureIndex
from nbpkg.annotations.gaze.rows import Compat
from nbpkg.annotations.gaze.tracks import TrackRules, read_tracks
from nbpkg.errors import Problem


def read_videoattention(
    folder: Path,
    *,
    pictures: PictureIndex | None = None,
    splits: Sequence[str] = ("train", "test"),
    protocol: Protocol = "gazelle",
    dataset: str = "videoattention",
    compat: Compat = "none",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read ``annotations/<split>/<show>/<clip>/<track>.txt`` about ``images/<show>/<clip>/``.

    Rows are ``picture, x_min, y_min, x_max, y_max, gaze_x, gaze_y`` in pixels, gaze -1 -1 outside the frame. A header,
    blanks after commas, names without ending and any picture ending are understood as well. A file ``s00__a2.txt`` is
    what annotator a2 says about person s00.

    Parameters
    ----------
    folder
        The data set.
    pictures
        Index of the data folder in which it lies; of `folder` itself when not given.
    splits
        Parts of the official list.
    protocol
        What counts as outside the frame: both coordinates negative (``gazelle``), or both exactly -1 (``vtd``).
    dataset
        Name of the data set in the table.
    compat
        ``reference`` leaves the written coordinates of targets outside the frame in the table.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``; participant is the show, session the picture folder (``<show>--<clip>``), person the track.
    problems : list of Problem
        Everything noticed; raise on them with `raise_all`.

    Raises
    ------
    AnnotationError
        When the data set is not there.
    """
    rules = TrackRules(dataset, protocol=protocol, keep_outside=compat == "reference")
    return read_tracks(folder, rules, splits=splits, pictures=pictures or PictureIndex(folder))
