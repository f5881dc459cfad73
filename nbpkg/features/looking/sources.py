"""Where crops come from, and where they go as pictures: frame stores, folders of crops, the challenge's test crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem, TableError, raise_all
from nbpkg.features.looking.cutting import FromFrames, FromPictures, check_name
from nbpkg.features.looking.packs import CropPacks
from nbpkg.progress import track
from nbpkg.runs.files import new_file

ENDINGS = (".jpg", ".jpeg", ".png")
_JPEG = b"\xff\xd8"


def find_stores(media: pd.DataFrame, run_folder: Path, *, fps: str | Fraction) -> dict[str, FromFrames]:
    """Take crops from prepared videos; boxes count in the pixels of their sources.

    Parameters
    ----------
    media
        Table ``media``.
    run_folder
        Folder that its paths start from.
    fps
        Rate of the annotation, at which videos must have been prepared.

    Raises
    ------
    MediaError
        Listing videos of another rate.
    """
    found, problems = {}, []
    for row in media.to_dict("records"):
        rate = Fraction(int(row["fps_num"]), int(row["fps_den"]))
        if rate != Fraction(fps):
            problems.append(Problem(f"It has {rate} frames/s.", f"{fps}.", file=str(row["session"])))
        scale = (row["width"] / row["source_width"], row["height"] / row["source_height"])
        found[str(row["session"])] = FromFrames(run_folder / str(row["store"]), scale)
    raise_all(problems, MediaError, summary="prepared videos do not have the annotation's rate.")
    return found


def find_given(folder: Path, tracks: pd.DataFrame, faces: NDArray[np.void]) -> dict[str, FromPictures]:
    """Take crops that were cut beforehand: ``<clip>/<track>/face_<frame>.jpg``, the frame with five digits.

    Parameters
    ----------
    folder
        Where they are.
    tracks
        Table ``tracks``.
    faces
        All faces, with ``frame``.

    Returns
    -------
    dict
        Of each session that has a folder there.
    """
    paths: dict[str, list[str]] = {}
    for session, name, offset, rows in _each_track(tracks):
        check_name(session, "clip")
        check_name(name, "track")
        if not (folder / session).is_dir():
            continue
        own = folder / session / name
        there = {file.stem: file.name for file in sorted(own.iterdir())} if own.is_dir() else {}
        usable = {stem: file for stem, file in there.items() if Path(file).suffix.lower() in ENDINGS}
        names = (usable.get(f"face_{frame:05d}") for frame in faces["frame"][offset : offset + rows].tolist())
        paths.setdefault(session, []).extend(f"{session}/{name}/{file}" if file else "" for file in names)
    return {session: FromPictures(folder, tuple(own)) for session, own in paths.items()}


def find_challenge(folder: Path, challenge: pd.DataFrame) -> dict[str, FromPictures]:
    """Take the challenge's test crops.

    Parameters
    ----------
    folder
        Folder that the table's paths start from.
    challenge
        Table with ``session`` and ``path``, a row for each face in the order of ``faces.npy``.
    """
    groups = challenge.groupby("session", sort=False)
    return {str(session): FromPictures(folder, tuple(own["path"].astype(str))) for session, own in groups}


def export_crops(packs: CropPacks, tracks: pd.DataFrame, faces: NDArray[np.void], *, folder: Path) -> int:
    """Write crops as picture files ``<clip>/<track>/face_<frame>.jpg``, byte by byte as they are in the packs.

    Parameters
    ----------
    packs
        Of these tracks.
    tracks
        Table ``tracks``.
    faces
        All faces.
    folder
        Where the pictures go; made if needed.

    Returns
    -------
    int
        How many were written.

    Raises
    ------
    MediaError
        When a clip or track cannot be the name of a folder, or a crop is damaged.
    """
    count = 0
    for session, name, offset, rows in track(list(_each_track(tracks)), "pictures of crops", unit="track"):
        check_name(session, "clip")
        check_name(name, "track")
        own = np.arange(offset, offset + rows)
        for row in own[packs.has(own)].tolist():
            data = packs.read_bytes(row)
            ending = ".jpg" if data.startswith(_JPEG) else ".png"
            with new_file(folder / session / name / f"face_{faces['frame'][row]:05d}{ending}") as temporary:
                temporary.write_bytes(data)
            count += 1
    return count


def match_challenge(challenge: pd.DataFrame, tracks: pd.DataFrame, faces: NDArray[np.void]) -> NDArray[np.int64]:
    """Find the face of each test crop of the challenge.

    Parameters
    ----------
    challenge
        Table with ``session``, ``track``, ``frame``, a row for each crop, track by track in the order of the faces.
    tracks
        Table ``tracks``.
    faces
        All faces.

    Returns
    -------
    ndarray
        Rows of ``faces.npy``, int64 ``[crops]``.

    Raises
    ------
    TableError
        When the table names other tracks or frames.
    """
    offsets = {(session, name): (offset, rows) for session, name, offset, rows in _each_track(tracks)}
    found = np.full(len(challenge), -1, np.int64)
    place = challenge.groupby(["session", "track"]).cumcount().to_numpy()
    keys = zip(challenge["session"].astype(str), challenge["track"].astype(str), strict=True)
    for number, key in enumerate(keys):
        offset, rows = offsets.get(key, (0, 0))
        found[number] = offset + place[number] if place[number] < rows else -1
    wrong = (found < 0) | (faces["frame"][found.clip(min=0)] != challenge["frame"].to_numpy()) if len(found) else found
    if np.any(wrong):
        raise TableError(
            f"{int(np.sum(wrong))} of {len(found)} test crops belong to no face.",
            where="table challenge",
            expected="The tracks and frames of table tracks, in the same order.",
            remedy="Read the test crops again.",
        )
    return found


def _each_track(tracks: pd.DataFrame) -> Iterator[tuple[str, str, int, int]]:
    """Yield session, track, row of its first face, number of faces."""
    for row in cast(list[Mapping[str, object]], tracks.to_dict("records")):
        yield str(row["session"]), str(row["track"]), int(cast(int, row["offset"])), int(cast(int, row["rows"]))
