"""Packs of crops: the JPEG files of a clip's faces one behind the other, any of them read without the others.

For each session a folder holds ``<session>.jpgs``; ``<session>.npy``, where each face begins (int64 ``[faces + 1]``, in
the order of ``faces.npy``; equal neighbours: no crop); ``<session>.facts.npy``, why a face has none, and how sharp it
is; and ``<session>.json``, written last: a session without it is not finished.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem, raise_all

FORMAT = "nbpkg crops"
OPEN = 32  # files kept open: a system may allow 256 to all of a program, and there are many hundred clips
CUT, NO_FRAME, EMPTY = 0, 1, 2  # what became of a face
FACT_DTYPE = np.dtype([("reason", "u1"), ("sharpness", "<f8")])
_REMEDY = "Run the preparation again; it makes only what is missing."


@dataclass(frozen=True)
class PackFacts:
    """What became of all faces.

    Parameters
    ----------
    reason
        `CUT`, `NO_FRAME` or `EMPTY`, ``[faces]``.
    sharpness
        Of each crop, ``[faces]``; NaN where there is none or it was not measured.
    """

    reason: NDArray[np.uint8]
    sharpness: NDArray[np.float64]

    @property
    def has_crop(self) -> NDArray[np.bool_]:
        """Which faces have a crop, ``[faces]``."""
        return np.asarray(self.reason == CUT)


class CropPacks:
    """The crops of some sessions, read by the row that a face has in ``faces.npy``.

    Opening checks sizes. Only the `OPEN` files asked for last are kept open, and threads may read at the same time.
    Packs can be sent to another process: they are opened again there.

    Parameters
    ----------
    folder
        Where packs are.
    tracks
        Table ``tracks``, or those of its rows whose crops are wanted.

    Attributes
    ----------
    size
        Side of the crops, pixels.

    Raises
    ------
    MediaError
        When packs are missing, cut short, of several sizes, or made for other tracks.
    """

    def __init__(self, folder: Path, tracks: pd.DataFrame) -> None:
        self.folder, self._tracks = Path(folder), tracks[["session", "offset", "rows"]]
        groups = self._tracks.groupby("session")
        spans = groups["offset"].min().sort_values()
        ends = (self._tracks["offset"] + self._tracks["rows"]).groupby(self._tracks["session"]).max()
        packs, problems = [], []
        for session in spans.index:
            try:
                pack = _Pack(self.folder, str(session))
                pack.check_span(int(spans[session]), int(ends[session]))
                packs.append(pack)
            except MediaError as error:
                problems.append(Problem(error.what, error.expected, error.remedy, file=str(session)))
        raise_all(problems, MediaError, summary="crops cannot be read.")
        sizes = {pack.size for pack in packs}
        if len(sizes) > 1:
            raise MediaError(
                f"Crops are {' and '.join(map(str, sorted(sizes)))} pixels wide.",
                where=str(folder),
                expected="One size.",
                remedy="Delete the packs of one size and run the preparation again.",
            )
        self._packs = packs
        self._firsts = np.array([pack.first for pack in packs], np.int64)
        self.size = sizes.pop() if sizes else 0
        self._map = lru_cache(maxsize=OPEN)(_Pack.map)  # a file that is dropped closes when its last reader is done

    def __reduce__(self) -> tuple[object, ...]:
        return CropPacks, (self.folder, self._tracks)

    def has(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which faces have a crop, bool ``[n]``."""
        found = np.zeros(len(rows), bool)
        for pack, places, inside in self._by_pack(np.asarray(rows, np.int64)):
            found[places] = pack.offsets[inside + 1] > pack.offsets[inside]
        return found

    def read_bytes(self, row: int) -> bytes:
        """Read the picture file of one face.

        Raises
        ------
        MediaError
            When it has none.
        """
        [(pack, _, inside)] = self._by_pack(np.array([row], np.int64))
        return pack.read_bytes(self._map(pack), int(inside[0]))

    def read(self, rows: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read crops, uint8 RGB ``[n, size, size, 3]``, in the order asked for.

        Raises
        ------
        MediaError
            When a face has no crop, or it is damaged.
        """
        out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for pack, places, inside in self._by_pack(np.asarray(rows, np.int64)):
            data = self._map(pack)
            for place, number in zip(places.tolist(), inside.tolist(), strict=True):
                file = np.frombuffer(pack.read_bytes(data, number), np.uint8)
                picture = cv2.imdecode(file, cv2.IMREAD_COLOR)
                if picture is None or picture.shape != out.shape[1:]:
                    raise _broken(pack.file, f"holds a damaged crop of row {rows[place]}")
                cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=out[place])
        return out

    def _by_pack(self, rows: NDArray[np.int64]) -> list[tuple[_Pack, NDArray[np.int64], NDArray[np.int64]]]:
        """Return each pack asked for, places in `rows` that it answers, and numbers of those faces in it."""
        which = np.searchsorted(self._firsts, rows, side="right") - 1
        found = []
        for number in np.unique(which).tolist():
            places = np.flatnonzero(which == number)
            pack = self._packs[number] if number >= 0 else None
            if pack is None or int(rows[places].max()) >= pack.first + len(pack):
                raise MediaError(
                    "Crops are asked for of faces that are in none of these packs.",
                    where=str(self.folder),
                    expected="Rows of the tracks that the packs were opened for.",
                    remedy="Open the packs with the tracks that these faces are in.",
                )
            found.append((pack, places, rows[places] - pack.first))
        return found


class _Pack:
    """The crops of one session."""

    def __init__(self, folder: Path, session: str) -> None:
        record = read_record(folder, session)
        self.file = folder / f"{session}.jpgs"
        if record is None:
            raise _broken(self.file, "is not finished, or is not there")
        try:
            self.first, self.size = int(record["first"]), int(record["size"])
            self.offsets: NDArray[np.int64] = np.load(folder / f"{session}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
            raise _broken(self.file, f"cannot be read ({error})") from None
        length = self.file.stat().st_size if self.file.is_file() else -1
        fits = self.offsets.ndim == 1 and len(self.offsets) > 0 and bool(np.all(np.diff(self.offsets) >= 0))
        if not fits or int(self.offsets[-1]) != length or length != record.get("bytes"):
            raise _broken(self.file, f"has {length} bytes, but {record.get('bytes')} were written")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def check_span(self, first: int, stop: int) -> None:
        """Refuse faces that the pack was not made for."""
        if first < self.first or stop > self.first + len(self):
            raise MediaError(
                f"Crops were made for rows {self.first} to {self.first + len(self) - 1}.",
                where=str(self.file),
                expected=f"Rows {first} to {stop - 1}, as in table tracks.",
                remedy="Run the preparation again with these tracks.",
            )

    def map(self) -> NDArray[np.uint8]:
        """Open the file; it stays open as long as what is returned is held."""
        if not self.offsets[-1]:
            return np.zeros(0, np.uint8)
        try:
            data = np.memmap(self.file, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise _broken(self.file, f"cannot be read any more ({error})") from None
        if len(data) != self.offsets[-1]:
            raise _broken(self.file, f"has {len(data)} bytes, but had {self.offsets[-1]} before")
        return data

    def read_bytes(self, data: NDArray[np.uint8], number: int) -> bytes:
        """Return the file of one face, from what `map` returned."""
        start, stop = self.offsets[number : number + 2].tolist()
        if start == stop:
            raise _broken(self.file, f"holds no crop of row {self.first + number}")
        return data[start:stop].tobytes()


def read_facts(folder: Path, tracks: pd.DataFrame) -> PackFacts:
    """Read what became of all faces of table ``tracks``.

    Parameters
    ----------
    folder
        Where packs are.
    tracks
        Table ``tracks``, whole.

    Raises
    ------
    MediaError
        When sessions are missing or were made for other tracks.
    """
    total = int(tracks["rows"].sum())
    facts = np.zeros(total, FACT_DTYPE)
    facts["reason"], facts["sharpness"] = NO_FRAME, np.nan
    for session in tracks["session"].unique():
        record, file = read_record(folder, str(session)), folder / f"{session}.facts.npy"
        if record is None or not file.is_file():
            raise _broken(folder / f"{session}.jpgs", "is not finished, or is not there")
        own = np.load(file, allow_pickle=False)
        span = slice(int(record["first"]), int(record["first"]) + len(own))
        if own.dtype != FACT_DTYPE or span.stop > total:
            raise _broken(file, "was made for other tracks")
        facts[span] = own
    return PackFacts(facts["reason"].copy(), facts["sharpness"].copy())


def read_record(folder: Path, session: str) -> dict[str, Any] | None:
    """Read what is written last about a session; None when it is not finished."""
    file = folder / f"{session}.json"
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise _broken(file, "is no JSON") from None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def _broken(file: Path, what: str) -> MediaError:
    return MediaError(
        f"Crops: {file.name!r} {what}.", where=str(file), expected="A pack that `cut_all` wrote.", remedy=_REMEDY
    )
