"""Face tracks as sessions of their own, so that snippets of them are chosen, painted and compared like those of videos.

A track begins at 0 ms with its first face; its pictures are its crops.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg import tables
from nbpkg.annotations.gaze.lookup import plain_name
from nbpkg.errors import MediaError, PaintingError
from nbpkg.features.looking.packs import CropPacks

TASK, VARIABLE = "face", "looking"
LOOKING, ELSEWHERE = "looking", "elsewhere"
_FIRST = "first"


def name_track(session: str, track: str) -> str:
    """Return a name for a track that files can have, another one for each track.

    Examples
    --------
    >>> name_track("clip-1", "t2")
    'clip-1--t2'
    >>> name_track("clip-1", "2:0") != name_track("clip-1", "2_0")
    True
    """
    return plain_name([session, track])


def find_nearest(frames: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find for each number the place of the nearest frame: of two as near the earlier one, of equal ones the last.

    Parameters
    ----------
    frames
        ``[n]``, never falling, at least one.
    numbers
        ``[m]``.

    Examples
    --------
    >>> find_nearest(np.array([2, 4, 4, 9]), np.array([0, 3, 4, 7])).tolist()
    [0, 0, 2, 3]
    """
    before = (np.searchsorted(frames, numbers, side="right") - 1).clip(min=0)
    after = np.searchsorted(frames, numbers, side="left").clip(max=len(frames) - 1)
    nearer = np.abs(frames[before] - numbers) <= np.abs(frames[after] - numbers)
    nearest = frames[np.where(nearer, before, after)]
    return np.searchsorted(frames, nearest, side="right") - 1


class TrackStore:
    """The crops of one track, as frames.

    Parameters
    ----------
    crops
        Crops of all tracks.
    rows
        Rows of ``faces.npy`` of the faces of the track that have a crop, at least one.
    frames
        Their frames, counted from the track's first one.
    length
        Frames of the track. A frame without a crop shows the nearest one.
    fps
        Frames per second of the annotation.
    path
        For messages.
    """

    closeup = True  # as of `FrameStore`

    def __init__(
        self,
        crops: CropPacks,
        rows: NDArray[np.int64],
        *,
        frames: NDArray[np.int64],
        length: int,
        fps: Fraction,
        path: str,
    ) -> None:
        self.crops, self.fps, self.path, self.length = crops, fps, path, length
        self.shown = rows[find_nearest(frames, np.arange(length))]

    def __len__(self) -> int:
        return self.length

    @property
    def end_ms(self) -> int:
        """When the track ends, milliseconds, rounded down."""
        return int(self.length * 1000 / self.fps)

    def frames(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Read crops by frame of the track, uint8 RGB ``[n, S, S, 3]``.

        Raises
        ------
        MediaError
            When there is no such frame.
        """
        numbers = np.asarray(indices, np.int64)
        outside = numbers[(numbers < 0) | (numbers >= self.length)]
        if outside.size:
            raise MediaError(
                f"The track has no frame {int(outside[0])}.",
                where=self.path,
                expected=f"0 to {self.length - 1}.",
                remedy="Choose the snippets again with the present tracks.",
            )
        return self.crops.read(self.shown[numbers])


def track_stores(
    crops: CropPacks, tracks: pd.DataFrame, *, faces: NDArray[Any], has_crop: NDArray[np.bool_], fps: Fraction
) -> dict[str, TrackStore]:
    """Return the crops of each track that has any, by its name.

    Parameters
    ----------
    crops
        Crops of all tracks.
    tracks
        Table ``tracks``, or some of its rows.
    faces
        Of all tracks, with ``frame``.
    has_crop
        Which of them have one, ``[faces]``.
    fps
        Frames per second of the annotation.
    """
    stores = {}
    for track in tracks.to_dict("records"):
        first, stop = int(track["offset"]), int(track["offset"]) + int(track["rows"])
        rows = first + np.flatnonzero(has_crop[first:stop])
        if len(rows):
            name = name_track(str(track["session"]), str(track["track"]))
            stores[name] = TrackStore(
                crops,
                rows,
                frames=faces["frame"][rows].astype(np.int64) - int(track["first"]),
                length=_length(track),
                fps=fps,
                path=f"track {track['track']} of {track['session']}",
            )
    return stores


def track_spans(
    tracks: pd.DataFrame, segments: pd.DataFrame, *, faces: NDArray[Any], fps: Fraction, names: Collection[str]
) -> pd.DataFrame:
    """Return when the person of each track looks at the camera wearer, annotator by annotator.

    Parameters
    ----------
    tracks
        Table ``tracks``, or some of its rows.
    segments
        Table ``segments``; looking ones count.
    faces
        Of all tracks, with ``label``; tracks of which nothing is known, as of the challenge's test crops, are left out.
    fps
        Frames per second of the annotation.
    names
        Tracks that are wanted, by name, e.g. those that have crops.

    Returns
    -------
    pandas.DataFrame
        Table ``spans``: session is the track's name, task ``face``, variable ``looking``, value ``looking`` or
        ``elsewhere``. The first annotator speaks of every track, any other one of the clips in which she marked
        somebody: what she left unmarked there is ``elsewhere``, of other clips nobody knows whether she saw them.

    Raises
    ------
    PaintingError
        When no track is left.
    """
    wanted, marked = set(names), _list_marked(segments)
    clips: dict[str, list[str]] = {}
    for annotator, session, _ in marked:
        clips.setdefault(session, []).append(annotator)
    rows: list[dict[str, object]] = []
    for track in tracks.to_dict("records"):
        session, person = str(track["session"]), str(track["person"])
        name = name_track(session, str(track["track"]))
        if name not in wanted or int(faces["label"][int(track["offset"])]) < 0:
            continue
        for annotator in sorted({_FIRST, *clips.get(session, [])}):
            flags = _flag(marked.get((annotator, session, person), []), int(track["first"]), _length(track))
            facts = {"session": name, "rater": annotator, "task": TASK, "variable": VARIABLE}
            rows += _cut(flags, facts, fps=fps)
    if not rows:
        raise PaintingError(
            "No track of the test clips has crops and labels.",
            expected="At least one.",
            remedy="Look at table crops (02); without one remove 'paint' and 'compare' from the parameter file.",
        )
    return tables.from_rows(rows, "spans")


def _length(track: Mapping[Any, Any]) -> int:
    return int(track["last"]) - int(track["first"]) + 1


def _list_marked(segments: pd.DataFrame) -> dict[tuple[str, str, str], list[tuple[int, int]]]:
    """Return first and last frames of looking segments by annotator, clip and person."""
    marked: dict[tuple[str, str, str], list[tuple[int, int]]] = {}
    names = ["annotator", "session", "person", "start_frame", "end_frame"]
    for annotator, session, person, start, end in segments.loc[segments["kind"] == LOOKING, names].itertuples(
        index=False, name=None
    ):
        marked.setdefault((str(annotator), str(session), str(person)), []).append((int(start), int(end)))
    return marked


def _flag(segments: list[tuple[int, int]], first: int, length: int) -> NDArray[np.bool_]:
    """Return for each frame of a track whether it lies in a segment; both ends count."""
    flags = np.zeros(length, np.bool_)
    for start, end in segments:
        flags[max(0, start - first) : max(0, end - first + 1)] = True
    return flags


def _cut(flags: NDArray[np.bool_], facts: Mapping[str, object], *, fps: Fraction) -> list[dict[str, object]]:
    """Cut one track into spans of looking and of looking elsewhere."""
    edges = [0, *(np.flatnonzero(np.diff(flags)) + 1).tolist(), len(flags)]
    return [
        {
            **facts,
            "value": LOOKING if flags[start] else ELSEWHERE,
            "start_ms": round(start * 1000 / fps),
            "end_ms": round(stop * 1000 / fps),
        }
        for start, stop in pairwise(edges)
    ]
