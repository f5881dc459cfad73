"""Tables of clips, tracks and segments, and one row per face: what all later stages read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.annotations.looking.clips import Clip, Segment, TrackBoxes
from nbpkg.annotations.looking.sources import Sources, read_sources
from nbpkg.annotations.looking.strict import show
from nbpkg.annotations.looking.tracks import clean_track, label_faces
from nbpkg.errors import Problem
from nbpkg.settings.looking import FaceTrackSettings

FACE_DTYPE = np.dtype(
    [("frame", "<i4"), ("x0", "<f8"), ("y0", "<f8"), ("x1", "<f8"), ("y1", "<f8"), ("label", "i1"), ("seen", "?")]
)
CHALLENGE = ["session", "track", "frame", "unique_id", "path"]
NO_LABEL = -1


@dataclass(frozen=True)
class TracksFound:
    """Everything that stage 01 knows of face tracks.

    Parameters
    ----------
    footage, tracks, segments
        Tables of these names.
    faces
        `FACE_DTYPE`, ``[n]``: frame, box in pixels (NaN for test crops), label (-1: nothing known), and whether the box
        is annotated. In order of `tracks`, frames ascending within each.
    challenge
        session, track, frame, unique_id and path of every test crop, in the order of `faces`.
    clips
        What was annotated, for exports.
    problems
        Everything noticed, no error among it.
    """

    footage: pd.DataFrame
    tracks: pd.DataFrame
    segments: pd.DataFrame
    faces: NDArray[np.void]
    challenge: pd.DataFrame
    clips: tuple[Clip, ...]
    problems: list[Problem]


class ClassCounts(NamedTuple):
    """How many faces do not look and do, and the weights of both in a loss: the share of the other one."""

    others: int
    looking: int
    weights: tuple[float, float]


class _Track(NamedTuple):
    """One track with its faces, and how many boxes its annotation has."""

    row: dict[str, Any]
    faces: NDArray[np.void]
    repeated: int


def build_tracks(data: Path, settings: FaceTrackSettings) -> TracksFound:
    """Read what is annotated of face tracks and bring it into tables.

    Parameters
    ----------
    data
        Data folder.
    settings
        What is where, and how tracks are cleaned.

    Raises
    ------
    AnnotationError
        Listing everything that cannot be used, of all files.
    """
    return index_tracks(read_sources(data, settings), max_gap=settings.max_gap, compat=settings.compat == "reference")


def index_tracks(sources: Sources, *, max_gap: int | None = 15, compat: bool = False) -> TracksFound:
    """Bring what was read into tables.

    Parameters
    ----------
    sources
        Of `read_sources`.
    max_gap, compat
        See `clean_track`. With `compat` apostrophes around the person of a segment stay, so that it is nobody's.

    Returns
    -------
    TracksFound
        Tracks without a usable box are left out, and named among the problems.
    """
    problems = list(sources.problems)
    parts: list[tuple[str, dict[str, Any], list[_Track]]] = []
    for clip in sources.clips:
        split = sources.splits.get(clip.session, "")
        # of test clips the organisers keep the segments back; elsewhere no segments means that nobody looks
        labelled = not (split == "test" and clip.looking is None)
        spans = _spans(clip.looking or (), compat=compat) if labelled else None
        found = [_clean(clip, track, spans, max_gap=max_gap, compat=compat) for track in clip.tracks]
        problems += _judge(clip, found, labelled=labelled)
        kept = [track for track in found if len(track.faces)]
        parts.append((clip.session, _describe(clip, split, labelled=labelled, tracks=len(kept)), kept))
    parts += _challenge_parts(sources.pictures)
    parts.sort(key=lambda part: part[0])
    tracks = [track for _, _, own in parts for track in own]
    lengths = [len(track.faces) for track in tracks]
    offsets = np.cumsum([0, *lengths])[:-1]
    rows = [{**track.row, "offset": int(at)} for track, at in zip(tracks, offsets, strict=True)]
    return TracksFound(
        footage=tables.from_rows((row for _, row, _ in parts), "footage"),
        tracks=tables.from_rows(rows, "tracks"),
        segments=tables.from_rows(_list_segments(sources, compat=compat), "segments"),
        faces=np.concatenate([track.faces for track in tracks]) if tracks else np.zeros(0, FACE_DTYPE),
        challenge=sources.pictures[CHALLENGE].reset_index(drop=True),
        clips=sources.clips,
        problems=problems,
    )


def list_key_frames(tracks: pd.DataFrame, stride: int, *, keep: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """List the faces that are answered for: every `stride`-th of each track, from its first.

    Parameters
    ----------
    tracks
        Table ``tracks``, or some of its rows.
    stride
        Faces from one to the next.
    keep
        Whether each face of ``faces.npy`` may be one; those that may not are left out, the others stay the same.

    Returns
    -------
    numpy.ndarray
        Rows of ``faces.npy``, in the order of `tracks`.

    Source
    ------
    EGO4D/social-interactions (branch lam), ``dataset/data_loader.py``.

    Examples
    --------
    >>> list_key_frames(pd.DataFrame({"offset": [0, 4], "rows": [4, 2]}), 3).tolist()
    [0, 3, 4]
    """
    rows = tracks["rows"].to_numpy(np.int64)
    counts = -(-rows // stride)
    starts = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(starts, counts)
    keys: NDArray[np.int64] = np.repeat(tracks["offset"].to_numpy(np.int64), counts) + stride * within
    return keys if keep is None else keys[keep[keys]]


def count_classes(labels: NDArray[np.int8]) -> ClassCounts:
    """Count faces that look and that do not; faces of which nothing is known do not count.

    Examples
    --------
    >>> count_classes(np.array([0, 0, 1, 0, -1], np.int8))
    ClassCounts(others=3, looking=1, weights=(0.25, 0.75))
    """
    others, looking = int((labels == 0).sum()), int((labels == 1).sum())
    total = others + looking
    return ClassCounts(others, looking, (looking / total, others / total) if total else (0.5, 0.5))


def count_marks(footage: pd.DataFrame) -> pd.DataFrame:
    """Count looking segments, and how many are marked as directed at the camera wearer or at anybody.

    Every segment counts as looking at the camera wearer, whatever it is marked as: the data set's maintainers say so.

    Parameters
    ----------
    footage
        Table ``footage``.

    Returns
    -------
    pandas.DataFrame
        split, clips, without_segments (clips that have none annotated), segments, at_me, with_target; a row for each
        split and one for all (``all``).
    """
    counted = footage.assign(
        clips=1, without_segments=(footage["looking"] < 0).astype(int), segments=footage["looking"].clip(lower=0)
    )
    names = ["clips", "without_segments", "segments", "at_me", "with_target"]
    table = counted.groupby("split", sort=True)[names].sum().reset_index()
    whole = pd.DataFrame([{"split": "all", **counted[names].sum().to_dict()}])
    return pd.concat([table, whole], ignore_index=True)


def _spans(segments: Sequence[Segment], *, compat: bool) -> dict[str, NDArray[np.int64]]:
    """Return first and last frames of the segments of each person, ``[m, 2]``."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for one in segments:
        spans.setdefault(one.person if compat else one.who, []).append((one.start, one.end))
    return {who: np.array(pairs, np.int64) for who, pairs in spans.items()}


def _clean(
    clip: Clip,
    track: TrackBoxes,
    spans: dict[str, NDArray[np.int64]] | None,
    *,
    max_gap: int | None,
    compat: bool,
) -> _Track:
    clean = clean_track(track.frames, track.boxes, named=track.named, max_gap=max_gap, compat=compat)
    faces = np.empty(len(clean.frames), FACE_DTYPE)
    faces["frame"], faces["seen"] = clean.frames, clean.seen
    for side, name in enumerate(("x0", "y0", "x1", "y1")):
        faces[name] = clean.boxes[:, side]
    own = spans.get(track.person) if spans is not None else None
    faces["label"] = NO_LABEL if spans is None else 0 if own is None else label_faces(clean.frames, own)
    row = _row(clip.session, track.track, track.person, faces)
    return _Track({**row, "records": len(track.frames), "dropped": clean.dropped}, faces, clean.repeated)


def _row(session: str, track: str, person: str, faces: NDArray[np.void]) -> dict[str, Any]:
    some = len(faces) > 0
    return {
        "session": session,
        "track": track,
        "person": person,
        "first": int(faces["frame"][0]) if some else 0,
        "last": int(faces["frame"][-1]) if some else 0,
        "rows": len(faces),
        "records": len(faces),
        "dropped": 0,
        "between": int((~faces["seen"]).sum()),
        "looking": int((faces["label"] == 1).sum()),
    }


def _describe(clip: Clip, split: str, *, labelled: bool, tracks: int) -> dict[str, Any]:
    looking = clip.looking or ()
    return {
        "session": clip.session,
        "video": clip.video,
        "split": split,
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "persons": clip.persons,
        "tracks": tracks,
        "looking": -1 if clip.looking is None else len(looking),
        "at_me": sum(one.at_me for one in looking),
        "with_target": sum(bool(one.target) for one in looking),
        "talking": -1 if clip.talking is None else len(clip.talking),
        "labelled": labelled,
    }


def _challenge_parts(pictures: pd.DataFrame) -> list[tuple[str, dict[str, Any], list[_Track]]]:
    """Make clips and tracks of test crops, whose boxes and labels nobody gave away."""
    parts = []
    for session, own in pictures.groupby("session", sort=True):
        tracks = []
        for track, rows in own.groupby("track", sort=True):
            faces = np.zeros(len(rows), FACE_DTYPE)
            for name in ("x0", "y0", "x1", "y1"):
                faces[name] = np.nan
            faces["frame"], faces["label"], faces["seen"] = rows["frame"], NO_LABEL, True
            tracks.append(_Track(_row(str(session), str(track), "", faces), faces, 0))
        clip = Clip(str(session), str(session), "test", (), None, None, 0)
        parts.append((clip.session, _describe(clip, "test", labelled=False, tracks=len(tracks)), tracks))
    return parts


def _list_segments(sources: Sources, *, compat: bool) -> Iterator[dict[str, Any]]:
    for clip in sources.clips:
        annotated = (
            ("first", "looking", clip.looking),
            ("second", "looking", sources.second.get(clip.session)),
            ("first", "talking", clip.talking),
        )
        for annotator, kind, segments in annotated:
            for one in segments or ():
                if one.who:
                    yield {
                        "session": clip.session,
                        "annotator": annotator,
                        "kind": kind,
                        "person": one.person if compat else one.who,
                        "start_frame": one.start,
                        "end_frame": one.end,
                        "target": one.target.replace("'", ""),
                    }


def _judge(clip: Clip, found: Sequence[_Track], *, labelled: bool) -> list[Problem]:
    """Say what was left out or repaired of a clip, a sentence for each kind."""
    said: list[tuple[str, str]] = []
    if clip.looking is None:
        means = "nobody counts as looking" if labelled else "nothing is known of who looks"
        said.append((f"has no looking segments: {means}", "warning"))
    looking = clip.looking or ()
    said += [
        (f"has {count} looking segments {what}", severity)
        for count, what, severity in (
            (sum(not one.who for one in looking), "without a person, which are left out", "warning"),
            (sum(one.start > one.end for one in looking), "that end before they begin, which are left out", "warning"),
            (sum(one.person != one.who for one in looking), "with apostrophes around the person", "repaired"),
        )
        if count
    ]
    unknown = {one.who for one in looking} - {track.person for track in clip.tracks} - {"", "-1"}
    if unknown:
        said.append((f"has looking segments of {', '.join(map(show, sorted(unknown)))}, who has no track", "warning"))
    repeated = {track.row["track"]: track.repeated for track in found if track.repeated}
    if repeated:
        names = ", ".join(map(show, list(repeated)[:5]))
        text = f"has {sum(repeated.values())} further boxes for frames that have one, in track {names}"
        said.append((text, "repaired"))
    dropped = sum(track.row["dropped"] for track in found)
    if dropped:
        said.append((f"has {dropped} boxes without size, outside of the picture, of frame 0 or of nobody", "repaired"))
    empty = [track.row["track"] for track in found if not len(track.faces)]
    if empty:
        said.append((f"has tracks without a usable box: {', '.join(map(show, empty[:5]))}", "warning"))
    return [Problem(f"Clip {show(clip.session)} {text}.", file=clip.file, severity=how) for text, how in said]
