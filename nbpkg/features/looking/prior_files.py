"""Files of priors as published with GazePose (``json_prior``): read by clip, track and frame, and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import AnnotationError, Problem, raise_all
from nbpkg.features.looking.quality import QUALITY_DTYPE
from nbpkg.features.looking.sources import match_challenge

HEAD, POINTS, P, FILTER = "head pose", "points", "p", "filter"
SHAPES: dict[str, tuple[int, ...]] = {HEAD: (3,), POINTS: (5, 4), P: (), FILTER: ()}
NEIGHBOURS = (-1, 1, -2, 2, 3, -3)  # in this order, as published
_SPAN = 1 << 40  # more frames than any clip has


@dataclass(frozen=True)
class PriorFile:
    """One published file.

    Parameters
    ----------
    name
        Its name in the folder.
    kind
        `HEAD`, `POINTS`, `P` or `FILTER`.
    length
        Numbers of an entry of a head pose; of another length it counts as missing.
    test
        Whether entries are named by the unique id of a test crop, not by frame alone.
    """

    name: str
    kind: str
    length: int = 0
    test: bool = False


FILES = (
    PriorFile("train_headpose.json", HEAD, 6),
    PriorFile("val_headpose-all.json", HEAD, 6),
    PriorFile("test_headpose.json", HEAD, 3, test=True),
    PriorFile("train_mesh.json", POINTS),
    PriorFile("val_mesh.json", POINTS),
    PriorFile("test_mesh.json", POINTS, test=True),
    PriorFile("train_p.json", P),
    PriorFile("val_p.json", P),
    PriorFile("test_p.json", P, test=True),
    PriorFile("train_filter_all.json", FILTER),
)


@dataclass(frozen=True)
class FilePriors:
    """What published files say of all faces; NaN where they say nothing.

    Parameters
    ----------
    head_pose
        ``[faces, 3]``: yaw, pitch, roll, degrees.
    points
        ``[faces, 5, 4]``: nose, eyes, corners of the mouth.
    quality
        ``p`` and ``filter``, `nbpkg.features.looking.quality.QUALITY_DTYPE` ``[faces]``.
    report
        A row for each file: ``file``, ``prior``, ``entries``, ``wrong`` (of another length, or no numbers), ``other``
        (of clips, tracks, frames or test crops that are not here), ``used``; faces that got it from a neighbour
        (``borrowed``).
    """

    head_pose: NDArray[np.float64]
    points: NDArray[np.float64]
    quality: NDArray[np.void]
    report: pd.DataFrame


@dataclass
class _Entries:
    """Entries of one kind, gathered from several files: place in the data, value."""

    codes: list[int] = field(default_factory=list)
    numbers: list[Any] = field(default_factory=list)


class _Places:
    """Finds the code of an entry: track × span + frame; -1 for tracks and test crops that are not here."""

    def __init__(self, tracks: pd.DataFrame, faces: NDArray[np.void], challenge: pd.DataFrame | None) -> None:
        keys = zip(tracks["session"].astype(str), tracks["track"].astype(str), strict=True)
        self._track = {f"{session}:{name}": place for place, (session, name) in enumerate(keys)}
        counts = tracks["rows"].to_numpy(np.int64)
        starts = tracks["offset"].to_numpy(np.int64)
        owner = np.empty(int(counts.sum()), np.int64)
        for place, (start, count) in enumerate(zip(starts.tolist(), counts.tolist(), strict=True)):
            owner[start : start + count] = place
        self.faces = owner * _SPAN + faces["frame"].astype(np.int64)
        self._unique: dict[tuple[str, str], int] = {}
        if challenge is not None and len(challenge):
            codes = self.faces[match_challenge(challenge, tracks, faces)].tolist()
            names = challenge["session"].astype(str) + ":" + challenge["track"].astype(str)
            self._unique = dict(zip(zip(names, challenge["unique_id"].astype(str), strict=True), codes, strict=True))

    def of_frame(self, name: str, frame: str) -> int:
        """Return the code of ``uid:track`` and a frame, e.g. ``12`` or ``00012``."""
        place = self._track.get(name, -1)
        return place * _SPAN + int(frame) if place >= 0 and frame.isascii() and frame.isdigit() else -1

    def of_crop(self, name: str, unique: str) -> int:
        """Return the code of ``uid:track`` and the unique id of a test crop."""
        return self._unique.get((name, unique), -1)


def read_prior_files(
    folder: Path,
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    *,
    kinds: tuple[str, ...] = (HEAD, POINTS, P, FILTER),
    challenge: pd.DataFrame | None = None,
    neighbours: bool = False,
) -> tuple[FilePriors, list[Problem]]:
    """Read published prior files; each face gets what is said of its clip, track and frame, in whichever file.

    Keys are split from the right, since tracks may hold ``:``; of a key that occurs twice the first counts.

    Parameters
    ----------
    folder
        Where the files are (see `FILES`); of each kind asked for at least one.
    tracks
        Table ``tracks``.
    faces
        All faces, with ``frame``.
    kinds
        What is wanted: `HEAD`, `POINTS`, `P`, `FILTER`.
    challenge
        Test crops, with ``session``, ``track``, ``frame``, ``unique_id``, in the order of their faces; None for none.
    neighbours
        A face of a labelled clip without points takes those of frame -1, +1, -2, +2, +3 or -3 of its track, the first
        that has any, as published; test crops never do.

    Returns
    -------
    FilePriors
    list of Problem
        Warnings: entries that are wrong, or of other faces, with their number.

    Raises
    ------
    AnnotationError
        Listing files that are no JSON, are not nested as they should be, or in which no entry is right; and kinds of
        which there is no file.
    """
    places = _Places(tracks, faces, challenge)
    gathered = {kind: _Entries() for kind in SHAPES}
    rows, problems = [], []
    for file in (file for file in FILES if file.kind in kinds and (folder / file.name).is_file()):
        content, own = _read_json(folder / file.name)
        row = {"file": file.name, "prior": file.kind, "entries": 0, "wrong": 0, "other": 0, "used": 0}
        if not own:
            row, own = _gather(file, content, places, gathered[file.kind])
        problems.extend(own)
        rows.append(row)
    problems.extend(_missing_kinds(folder, kinds, {str(row["prior"]) for row in rows}))
    raise_all(problems, AnnotationError, summary="prior files cannot be used.")
    values = {kind: _spread(gathered[kind], places.faces, SHAPES[kind]) for kind in SHAPES}
    report = pd.DataFrame(rows, columns=["file", "prior", "entries", "wrong", "other", "used"])
    report["borrowed"] = 0
    if neighbours and POINTS in kinds:
        borrowed = _borrow(values[POINTS], gathered[POINTS], places, tracks, challenge)
        report.loc[report.index[report["prior"] == POINTS][:1], "borrowed"] = borrowed
    quality = np.full(len(faces), np.nan, QUALITY_DTYPE)
    quality["p"], quality["filter"] = values[P], values[FILTER]
    return FilePriors(values[HEAD], values[POINTS], quality, report), problems


def _read_json(path: Path) -> tuple[dict, list[Problem]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        return {}, [Problem(f"It is no JSON ({error}).", "A file of priors.", "Copy it again.", file=path.name)]
    if not isinstance(content, dict):
        return {}, [Problem("It holds no entries by name.", "An object.", "Copy it again.", file=path.name)]
    return content, []


def _missing_kinds(folder: Path, kinds: tuple[str, ...], found: set[str]) -> list[Problem]:
    return [
        Problem(
            f"There is no file of {kind}.",
            f"One of {', '.join(file.name for file in FILES if file.kind == kind)}.",
            "Correct 'prepare.priors', or do not ask for prior files.",
            file=folder.name,
        )
        for kind in kinds
        if kind not in found
    ]


def _gather(
    file: PriorFile, content: dict, places: _Places, entries: _Entries
) -> tuple[dict[str, object], list[Problem]]:
    """Add the entries of one file, and count them."""
    codes: list[int] = []
    wrong = 0
    flat = _flat_keys if file.kind in (HEAD, FILTER) else _nested_keys
    for code, value in flat(file, content, places):
        numbers = _READ[file.kind](value, file)
        if numbers is None:
            wrong += 1
            continue
        codes.append(code)
        if code >= 0:  # also of a frame without a face, whose points a neighbour may take
            entries.codes.append(code)
            entries.numbers.append(numbers)
    used = int(np.isin(codes, places.faces).sum())
    counts = {"entries": wrong + len(codes), "wrong": wrong, "other": len(codes) - used, "used": used}
    problems = []
    if counts["entries"] and counts["wrong"] == counts["entries"]:
        expected = f"{_EXPECTED[file.kind]}{f', {file.length} numbers' if file.length else ''}."
        problems.append(Problem("None of its entries can be used.", expected, "Use the right file.", file=file.name))
    elif counts["wrong"]:
        text = f"{counts['wrong']} of {counts['entries']} entries have another length, and count as missing."
        problems.append(Problem(text, file=file.name, severity="warning"))
    if counts["other"]:
        text = f"{counts['other']} of {counts['entries']} entries are of faces that are not here, and are left out."
        problems.append(Problem(text, file=file.name, severity="warning"))
    return {"file": file.name, "prior": file.kind, **counts}, problems


def _flat_keys(file: PriorFile, content: dict, places: _Places) -> Iterator[tuple[int, object]]:
    """Read ``uid:track:frame`` or ``uid:track:unique_id:frame``."""
    for key, value in content.items():
        parts = key.rsplit(":", 2 if file.test else 1)
        if file.test:
            yield (places.of_crop(parts[0], parts[1]) if len(parts) == 3 else -1), value
        else:
            yield (places.of_frame(parts[0], parts[1]) if len(parts) == 2 else -1), value


def _nested_keys(file: PriorFile, content: dict, places: _Places) -> Iterator[tuple[int, object]]:
    """Read ``{uid: {track: {frame or unique id: value}}}``."""
    find = places.of_crop if file.test else places.of_frame
    for session, names in content.items():
        if not isinstance(names, dict):
            yield -1, None
            continue
        for name, own in names.items():
            if not isinstance(own, dict):
                yield -1, None
                continue
            for key, value in own.items():
                yield find(f"{session}:{name}", key), value


def _read_numbers(value: object, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    if isinstance(value, bool | str | dict) or value is None:
        return None
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return numbers if numbers.shape == shape and np.isfinite(numbers).all() else None


def _read_head(value: object, file: PriorFile) -> NDArray[np.float64] | None:
    numbers = _read_numbers(value, (file.length,))
    return None if numbers is None else numbers[:3]


def _read_points(value: object, file: PriorFile) -> NDArray[np.float64] | None:  # noqa: ARG001 - one interface
    return _read_numbers(value, SHAPES[POINTS])


def _read_p(value: object, file: PriorFile) -> NDArray[np.float64] | None:  # noqa: ARG001 - one interface
    return _read_numbers(value, ())


def _read_filter(value: object, file: PriorFile) -> NDArray[np.float64] | None:  # noqa: ARG001 - one interface
    if not isinstance(value, dict) or not isinstance(value.get("array"), list):
        return None
    best, scores = value.get("max_index"), value["array"]
    if not isinstance(best, int) or isinstance(best, bool) or not 0 <= best < len(scores):
        return None
    return _read_numbers(scores[best], ())


_READ: Mapping[str, Callable[[object, PriorFile], NDArray[np.float64] | None]] = {
    HEAD: _read_head,
    POINTS: _read_points,
    P: _read_p,
    FILTER: _read_filter,
}
_EXPECTED = {
    HEAD: "yaw, pitch and roll of each face",
    POINTS: "Five points of each face, with x, y, z, visibility",
    P: "A number for each face",
    FILTER: "max_index and array of each face",
}


def _spread(entries: _Entries, faces: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Give every face its entry."""
    out = np.full((len(faces), *shape), np.nan)
    if not entries.codes or not len(faces):
        return out
    codes, first = np.unique(np.array(entries.codes, np.int64), return_index=True)
    values = np.stack(entries.numbers)[first]
    place = np.searchsorted(codes, faces).clip(max=len(codes) - 1)
    there = codes[place] == faces
    out[there] = values[place[there]]
    return out


def _borrow(
    points: NDArray[np.float64],
    entries: _Entries,
    places: _Places,
    tracks: pd.DataFrame,
    challenge: pd.DataFrame | None,
) -> int:
    """Give faces without points those of a neighbour, in place; return how many."""
    tests = set() if challenge is None else set(challenge["session"].astype(str))
    free = ~np.repeat(tracks["session"].astype(str).isin(list(tests)).to_numpy(), tracks["rows"].to_numpy(np.int64))
    wanted = np.flatnonzero(np.isnan(points[:, 0, 0]) & free)
    total = len(wanted)
    for offset in NEIGHBOURS:
        points[wanted] = _spread(entries, places.faces[wanted] + offset, SHAPES[POINTS])
        wanted = wanted[np.isnan(points[wanted, 0, 0])]
    return total - len(wanted)


def write_prior_files(
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    *,
    head_pose: NDArray[np.floating],
    points: NDArray[np.floating],
    quality: NDArray[np.void],
    parts: Mapping[str, str],
    window_scores: NDArray[np.floating] | None = None,
) -> dict[str, dict]:
    """Give the content of prior files in the published form; faces of which nothing is known have no entry.

    Parameters
    ----------
    tracks
        Table ``tracks``.
    faces
        All faces, with ``frame`` and ``label``.
    head_pose, points, quality
        As in `FilePriors`.
    parts
        Part of each session, ``train`` or ``val``; sessions in no part are left out.
    window_scores
        Scores of the seven faces around each face, ``[faces, 7]`` (`nbpkg.features.looking.quality.score_windows`),
        for the filter; None writes none. A place without a face gets 0, unusable.

    Returns
    -------
    dict
        Content of each file by its name.
    """
    names = {"train": "train_headpose.json", "val": "val_headpose-all.json"}
    files: dict[str, dict] = {}
    for row in cast(list[dict[str, Any]], tracks.to_dict("records")):
        session, name, part = str(row["session"]), str(row["track"]), parts.get(str(row["session"]), "")
        if part not in names:
            continue
        for face in range(int(row["offset"]), int(row["offset"]) + int(row["rows"])):
            frame = str(int(faces["frame"][face]))
            key = f"{session}:{name}:{frame}"
            if np.isfinite(head_pose[face]).all():
                label = max(0, int(faces["label"][face]))
                angles = [float(angle) for angle in head_pose[face]]
                files.setdefault(names[part], {}).setdefault(key, [*angles, label, 0, 0])
            if np.isfinite(points[face]).all():
                _nest(files, f"{part}_mesh.json", session, name)[frame] = points[face].tolist()
            if np.isfinite(quality["p"][face]):
                _nest(files, f"{part}_p.json", session, name)[frame] = float(quality["p"][face])
            if part == "train" and window_scores is not None and np.isfinite(window_scores[face]).any():
                scores = np.nan_to_num(window_scores[face].astype(np.float64), nan=0.0)
                best = int(np.nanargmax(window_scores[face]))
                entry = {"max_index": best, "array": scores.tolist()}
                files.setdefault("train_filter_all.json", {}).setdefault(key, entry)
    return files


def _nest(files: dict[str, dict], file: str, session: str, name: str) -> dict:
    own: dict = files.setdefault(file, {}).setdefault(session, {}).setdefault(name, {})
    return own
