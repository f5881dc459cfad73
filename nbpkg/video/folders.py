"""Picture folders as frame stores: originals are read where they are, an index says which and whether they changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.video.files import hash_file, sync_and_close
from nbpkg.video.pictures import decode_picture, list_pictures, missing_picture, read_size, shrunk_size

INDEX = "pictures.json"
FPS = Fraction(30)
_FORMAT, _VERSION = "nbpkg picture view", 1


@dataclass(frozen=True)
class Picture:
    """One picture of an index.

    Parameters
    ----------
    file
        Its path below the picture folder, with ``/``.
    width, height
        Size as stored, pixels.
    bytes, sha256
        Size and hash of the file.
    """

    file: str
    width: int
    height: int
    bytes: int
    sha256: str


class PictureStore:
    """Picture files as a frame store: frame k is the k-th picture, read from the original in any order.

    Answers like `nbpkg.video.frames.FrameStore`, and may besides hold pictures of different size, which `picture`
    reads one by one. No file is kept open, and nothing is kept in memory. A store can be sent to another process.

    Parameters
    ----------
    pictures
        A folder, whose pictures come in natural order, or the files themselves in the order wanted.
    fps
        Pictures per second.
    longest
        Larger pictures are resized to this longer side, pixels, while they are decoded; 0 leaves them. Boxes in
        pixels of the originals then have to be multiplied by ``sizes / source_sizes``.
    facts
        What an index says about the files; None reads their headers when a size is asked for.
    path
        Folder that stands for the store in messages, and that holds the index if there is one.

    Raises
    ------
    MediaError
        When there is no picture.
    """

    closeup = False  # as of `FrameStore`

    def __init__(
        self,
        pictures: Path | Sequence[Path],
        *,
        fps: Fraction = FPS,
        longest: int = 0,
        facts: Sequence[Picture] | None = None,
        path: Path | None = None,
    ) -> None:
        self.files = list_pictures(pictures) if isinstance(pictures, Path) else [Path(file) for file in pictures]
        if not self.files:
            raise MediaError("A picture store needs at least one picture.", remedy="Name the picture files.")
        self.path = path or (pictures if isinstance(pictures, Path) else self.files[0].parent)
        self.fps, self.longest, self.facts = fps, longest, facts
        self._sizes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"PictureStore({self.path.name!r}, {len(self)} pictures, {self.fps} fps)"

    def __reduce__(self) -> tuple[object, ...]:
        if self.facts is not None:
            return _open_again, (self.path,)
        return _list_again, (self.files, self.fps, self.longest, self.path)

    @property
    def source_sizes(self) -> NDArray[np.int64]:
        """Height and width of each original, pixels, shape ``[frames, 2]``."""
        if self._sizes is None:
            known = [(fact.height, fact.width) for fact in self.facts or ()] or [read_size(file) for file in self.files]
            self._sizes = np.array(known, dtype=np.int64)
        return self._sizes

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Height and width of each picture as `picture` gives it, pixels, shape ``[frames, 2]``."""
        return np.array([shrunk_size((int(h), int(w)), self.longest) for h, w in self.source_sizes], dtype=np.int64)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(frames, height, width, 3)``; an error when the pictures differ in size."""
        sizes = np.unique(self.sizes, axis=0)
        if len(sizes) > 1:
            raise self._uneven(len(sizes), "all")
        return len(self), int(sizes[0, 0]), int(sizes[0, 1]), 3

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Start of each picture, milliseconds, shape ``[frames]``."""
        return np.arange(len(self)) * 1000 * self.fps.denominator / self.fps.numerator

    @property
    def end_ms(self) -> int:
        """End of the last picture, milliseconds, rounded down."""
        return int(len(self) * 1000 / self.fps)

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Read one picture in its own size, uint8 RGB ``[h, w, 3]``.

        Raises
        ------
        MediaError
            When there is no such picture, it is damaged, or it is not the one that the index names.
        """
        if not 0 <= number < len(self):
            raise MediaError(
                f"Frame {number} does not exist.",
                where=str(self.path),
                expected=f"Frame numbers 0 to {len(self) - 1}.",
                remedy="Check that labels and pictures belong to the same session.",
            )
        file = self.files[number]
        if not file.is_file():
            raise missing_picture(file)
        data = file.read_bytes()
        if self.facts is not None and len(data) != self.facts[number].bytes:
            raise _changed(file, f"has {len(data)} bytes", f"{self.facts[number].bytes} bytes")
        return decode_picture(data, file, longest=self.longest)

    def frames(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read pictures of one size by number.

        Parameters
        ----------
        indices
            Numbers from 0, in any order, repeats allowed; shape ``[T]``.

        Returns
        -------
        ndarray
            uint8 RGB ``[T, H, W, 3]``.

        Raises
        ------
        MediaError
            As in `picture`, and when these pictures differ in size.
        """
        pictures = [self.picture(int(number)) for number in indices]
        if not pictures:
            return np.empty((0, *self.shape[1:]), dtype=np.uint8)
        sizes = {picture.shape for picture in pictures}
        if len(sizes) > 1:
            raise self._uneven(len(sizes), "these")
        return np.stack(pictures)

    def verify(self) -> None:
        """Read all files and hold them against the index's hashes.

        Raises
        ------
        MediaError
            When a byte has changed.
        """
        for file, fact in zip(self.files, self.facts or (), strict=False):
            found = hash_file(file)
            if found != fact.sha256:
                raise _changed(file, f"has hash {found[:12]}…", f"hash {fact.sha256[:12]}…")

    def _uneven(self, count: int, which: str) -> MediaError:
        return MediaError(
            f"The pictures have {count} different sizes, so {which} cannot be one array.",
            where=str(self.path),
            expected="Pictures of one size.",
            remedy="Read them one by one with `picture`.",
        )


def index_pictures(files: Sequence[Path], base: Path) -> list[Picture]:
    """Read size and hash of pictures that lie below a folder.

    Raises
    ------
    MediaError
        When files cannot be read; all of them are named.
    """
    found, broken = [], []
    for file in files:
        try:
            height, width = read_size(file)
        except MediaError as error:
            broken.append(error)
            continue
        name = file.relative_to(base).as_posix()
        found.append(Picture(name, width, height, file.stat().st_size, hash_file(file)))
    raise_together(broken, base)
    return found


def raise_together(broken: Sequence[MediaError], folder: Path, *, limit: int = 5) -> None:
    """Raise what is wrong with pictures of one folder as one error; return quietly when nothing is."""
    if len(broken) < 2:
        for error in broken:
            raise error
        return
    named = " ".join(error.what for error in broken[:limit])
    more = f" … and {len(broken) - limit} more." if len(broken) > limit else ""
    raise MediaError(
        f"{len(broken)} pictures cannot be used: {named}{more}",
        where=str(folder),
        expected=broken[0].expected,
        remedy=broken[0].remedy,
    )


def hash_pictures(pictures: Sequence[Picture]) -> str:
    """Return one hash for names, order and bytes of all pictures."""
    lines = "".join(f"{picture.file}\n{picture.sha256}\n" for picture in pictures)
    return hashlib.sha256(lines.encode()).hexdigest()


def write_index(folder: Path, pictures: Sequence[Picture], *, base: str, fps: Fraction, longest: int) -> Path:
    """Write the index of a view into a folder.

    Parameters
    ----------
    folder
        Existing folder.
    pictures
        The pictures, in order.
    base
        Path from `folder` to the picture folder, with ``/``.
    fps, longest
        As in `PictureStore`.
    """
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "folder": base,
        "fps": [fps.numerator, fps.denominator],
        "longest": longest,
        "columns": ["file", "width", "height", "bytes", "sha256"],
    }
    rows = ",\n".join(
        json.dumps([one.file, one.width, one.height, one.bytes, one.sha256], ensure_ascii=False) for one in pictures
    )
    with (folder / INDEX).open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f'{json.dumps(head, ensure_ascii=False)[:-1]},\n"pictures": [\n{rows}\n]}}\n')
        sync_and_close(stream)
    return folder / INDEX


def open_view(folder: Path, *, check: bool = True) -> PictureStore:
    """Open the pictures that an index names.

    Parameters
    ----------
    folder
        Folder of the index.
    check
        Look whether every file is there with its size. Reading a picture compares its size in any case; `verify`
        compares the hashes.

    Raises
    ------
    MediaError
        When the index cannot be read, or pictures are missing or changed.
    """
    base, fps, longest, facts = _read_index(folder / INDEX)
    files = [base / fact.file for fact in facts]
    if check:
        wrong = []
        for file, fact in zip(files, facts, strict=True):
            size = file.stat().st_size if file.is_file() else -1
            if size != fact.bytes:
                wrong.append(
                    missing_picture(file) if size < 0 else _changed(file, f"has {size} bytes", f"{fact.bytes} bytes")
                )
        raise_together(wrong, base)
    return PictureStore(files, fps=fps, longest=longest, facts=facts, path=folder)


def _read_index(file: Path) -> tuple[Path, Fraction, int, list[Picture]]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["format"] == _FORMAT and content["version"] == _VERSION
        rows = content["pictures"]
        facts = [Picture(str(name), int(w), int(h), int(size), str(sha)) for name, w, h, size, sha in rows]
        base = Path(file.parent.resolve(), content["folder"])
        fps, longest = Fraction(*content["fps"]), int(content["longest"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise _broken_index(file, f"cannot be read ({error!r})") from None
    names = [PurePosixPath(fact.file) for fact in facts]
    inside = not any(name.is_absolute() or ".." in name.parts for name in names)
    if not (known and facts and inside and fps > 0 and longest >= 0):
        raise _broken_index(file, "describes no pictures known here")
    return base, fps, longest, facts


def _broken_index(file: Path, what: str) -> MediaError:
    return MediaError(
        f"Picture index {file.name!r} {what}.",
        where=str(file),
        expected=f"{_FORMAT}, version {_VERSION}.",
        remedy="Delete the session's folder and run the preparation again; it makes only what is missing.",
    )


def _open_again(folder: Path) -> PictureStore:
    return open_view(folder, check=False)  # the process it comes from has looked


def _list_again(files: list[Path], fps: Fraction, longest: int, path: Path) -> PictureStore:
    return PictureStore(files, fps=fps, longest=longest, path=path)


def _changed(file: Path, what: str, expected: str) -> MediaError:
    return MediaError(
        f"Picture {file.name!r} is not the one that was prepared: it {what}.",
        where=str(file),
        expected=f"{expected[0].upper()}{expected[1:]}, as {INDEX} says.",
        remedy="Put the original back, or run the preparation again.",
    )
