"""The frame store: the frames of one prepared video, any of them at once, without decoding what lies before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.video.files import hash_file, sync_and_close

HEADER = "store.json"
RAW, JPEG = "raw", "jpeg"
_FORMAT, _VERSION = "nbpkg frame store", 1
_FILES = {RAW: "frames.npy", JPEG: "frames.jpegs"}
_OFFSETS = "offsets.npy"
_NPY_HEADER = 128  # bytes of the .npy header that NumPy writes for a shape of four axes


@dataclass(frozen=True)
class StoreHeader:
    """What a frame store says about itself.

    Parameters
    ----------
    encoding
        ``raw`` or ``jpeg``.
    shape
        ``(frames, height, width, 3)``.
    fps
        Exact rate, frames per second.
    bytes
        Size of the file with the frames.
    sha256
        Hash of all frames: of their pixels (raw) or of their JPEG files, one after the other.
    """

    encoding: str
    shape: tuple[int, int, int, int]
    fps: Fraction
    bytes: int
    sha256: str


class FrameStore:
    """The frames of one prepared video, memory-mapped, read in any order.

    Opening checks header and sizes; `verify` reads everything and checks the hash. Both encodings (raw pixels, one
    JPEG per frame) answer alike. A store can be sent to another process: it is opened again there.

    Parameters
    ----------
    path
        Folder of the store.

    Raises
    ------
    MediaError
        When the store is missing, cut short or contradicts its header.
    """

    closeup = False  # whether the pictures are crops of faces

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.header = _read_header(self.path)
        file = self.path / _FILES[self.header.encoding]
        size = file.stat().st_size if file.is_file() else 0
        if size != self.header.bytes:
            raise _broken(file, f"has {size} bytes", f"{self.header.bytes} bytes, as {HEADER} says")
        self._offsets: NDArray[np.int64] | None = None
        if self.header.encoding == RAW:
            self._data = _map_raw(file, self.header.shape)
        else:
            self._data = np.memmap(file, dtype=np.uint8, mode="r")
            self._offsets = _read_offsets(self.path / _OFFSETS, len(self), size)

    def __len__(self) -> int:
        return self.header.shape[0]

    def __repr__(self) -> str:
        count, height, width, _ = self.header.shape
        return (
            f"FrameStore({self.path.name!r}, {count} frames {width}x{height}, {self.fps} fps, {self.header.encoding})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return FrameStore, (self.path,)

    @property
    def fps(self) -> Fraction:
        """Exact rate, frames per second."""
        return self.header.fps

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(frames, height, width, 3)``."""
        return self.header.shape

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Start of each frame, milliseconds, shape ``[frames]``."""
        return np.arange(len(self)) * 1000 * self.fps.denominator / self.fps.numerator

    @property
    def end_ms(self) -> int:
        """End of the last frame, milliseconds, rounded down."""
        return int(len(self) * 1000 / self.fps)

    def frames(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read frames by number.

        Parameters
        ----------
        indices
            Frame numbers from 0, in any order, repeats allowed; shape ``[T]``.

        Returns
        -------
        ndarray
            Own copy, uint8 RGB ``[T, H, W, 3]``.

        Raises
        ------
        MediaError
            When a number lies outside the store or a frame is damaged.
        """
        numbers = np.asarray(indices, dtype=np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise MediaError(
                f"Frame {int(numbers.min()) if numbers.min() < 0 else int(numbers.max())} does not exist.",
                where=str(self.path),
                expected=f"Frame numbers 0 to {len(self) - 1}.",
                remedy="Check that labels and video belong to the same session.",
            )
        if self._offsets is not None:
            return self._decode(numbers, self._offsets)
        if numbers.size and numbers[-1] - numbers[0] == numbers.size - 1 and np.all(np.diff(numbers) == 1):
            return np.array(self._data[numbers[0] : numbers[-1] + 1])  # one run: one copy, not one per frame
        return np.asarray(self._data[numbers])

    def picture(self, number: int) -> NDArray[np.uint8]:
        """Read one frame, uint8 RGB ``[H, W, 3]``; raises as `frames` does."""
        frame: NDArray[np.uint8] = self.frames([number])[0]
        return frame

    def clip(self, start_ms: int, end_ms: int, *, count: int | None = None) -> NDArray[np.uint8]:
        """Read the frames of an interval (see `interval`).

        Parameters
        ----------
        start_ms, end_ms
            The interval ``[start, end)``, milliseconds.
        count
            Take the first `count` frames of the interval, so that clips of one length have one shape (at 25/8
            frames/s 5000 ms hold 15 or 16 frames); None takes all.

        Returns
        -------
        ndarray
            uint8 RGB ``[T, H, W, 3]``.

        Raises
        ------
        MediaError
            When the interval is not covered by the video or holds fewer than `count` frames.
        """
        first, last = interval(start_ms, end_ms, self.fps)
        # The number of frames was rounded, so up to half a frame of the video may have no frame of its own.
        last = min(last, len(self)) if last <= len(self) + 1 else last
        if start_ms < 0 or first >= last or last > len(self) or (count is not None and last - first < count):
            raise MediaError(
                f"Clip {start_ms} to {end_ms} ms cannot be taken{f' with {count} frames' if count else ''}.",
                where=str(self.path),
                expected=f"An interval inside 0 to {self.end_ms} ms that holds {count or 1} frames or more.",
                remedy="Cut clips with `clips.grid` inside the video, or check that labels and video belong together.",
            )
        return self.frames(np.arange(first, last if count is None else first + count))

    def verify(self) -> None:
        """Read the whole store and hold it against its hash.

        Raises
        ------
        MediaError
            When a byte of a frame has changed.
        """
        raw = self.header.encoding == RAW
        file = self.path / _FILES[self.header.encoding]
        found = hash_file(file, skip=_NPY_HEADER if raw else 0)
        if found != self.header.sha256:
            raise _broken(file, f"has hash {found[:12]}…", f"hash {self.header.sha256[:12]}…, as {HEADER} says")

    def _decode(self, numbers: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        out = np.empty((len(numbers), *self.shape[1:]), dtype=np.uint8)
        for row, number in enumerate(numbers):
            picture = cv2.imdecode(self._data[offsets[number] : offsets[number + 1]], cv2.IMREAD_COLOR)
            if picture is None or picture.shape != self.shape[1:]:
                raise _broken(self.path, f"has a damaged frame {number}", f"a JPEG of shape {self.shape[1:]}")
            cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=out[row])
        return out


class StoreWriter:
    """Writes a frame store frame by frame, holding one frame in memory.

    Parameters
    ----------
    folder
        Existing folder to write into.
    size
        ``(height, width)`` of every frame.
    fps
        Exact rate, frames per second.
    encoding
        ``raw`` or ``jpeg``.
    jpeg_quality
        1 to 100; only for ``jpeg``.
    """

    def __init__(
        self, folder: Path, size: tuple[int, int], *, fps: Fraction, encoding: str = RAW, jpeg_quality: int = 90
    ) -> None:
        self.folder, self.size, self.fps, self.encoding, self.quality = folder, size, fps, encoding, jpeg_quality
        self._stream = (folder / _FILES[encoding]).open("wb")
        self._hash, self._ends = hashlib.sha256(), [0]
        if encoding == RAW:
            self._stream.write(bytes(_NPY_HEADER))  # the number of frames is known only at the end

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append one RGB frame ``[H, W, 3]``."""
        if self.encoding == RAW:
            data = np.ascontiguousarray(frame).tobytes()
        else:
            data = cv2.imencode(
                ".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            )[1].tobytes()
        self._stream.write(data)
        self._hash.update(data)
        self._ends.append(self._ends[-1] + len(data))

    def finish(self) -> StoreHeader:
        """Flush everything to disk, write the header and return it."""
        shape = (len(self._ends) - 1, *self.size, 3)
        if self.encoding == RAW:
            self._stream.seek(0)
            np.lib.format.write_array_header_1_0(self._stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        sync_and_close(self._stream)
        if self.encoding == JPEG:
            with (self.folder / _OFFSETS).open("wb") as stream:
                np.save(stream, np.asarray(self._ends, dtype=np.int64))
                sync_and_close(stream)
        size = (self.folder / _FILES[self.encoding]).stat().st_size
        header = StoreHeader(self.encoding, shape, self.fps, size, self._hash.hexdigest())
        with (self.folder / HEADER).open("w", encoding="utf-8") as text:
            json.dump(_to_json(header), text, indent=1)
            sync_and_close(text)
        return header

    def close(self) -> None:
        """Let go of the file without finishing the store."""
        self._stream.close()


def interval(start_ms: int, end_ms: int, fps: Fraction) -> tuple[int, int]:
    """Return the first frame of an interval and the one after its last.

    Frame k belongs to ``[start, end)`` when its own start does: ``start_ms <= k * 1000 / fps < end_ms``. So
    intervals that touch share no frame and lose none, as the labels of the same intervals do. Whole numbers and
    fractions only: 25/8 frames/s is never 3.12 or 3.1250001.

    Parameters
    ----------
    start_ms, end_ms
        The interval, milliseconds.
    fps
        Exact rate.

    Examples
    --------
    >>> interval(0, 640, Fraction(25, 8)), interval(640, 641, Fraction(25, 8)), interval(321, 640, Fraction(25, 8))
    ((0, 2), (2, 3), (2, 2))
    """
    per_frame, scale = 1000 * fps.denominator, fps.numerator
    return -(-start_ms * scale // per_frame), -(-end_ms * scale // per_frame)


def _to_json(header: StoreHeader) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "encoding": header.encoding,
        "shape": list(header.shape),
        "fps": [header.fps.numerator, header.fps.denominator],
        "bytes": header.bytes,
        "sha256": header.sha256,
    }


def _read_header(folder: Path) -> StoreHeader:
    file = folder / HEADER
    if not file.is_file():
        raise _broken(file, "is not there", "a folder that `prepare_sessions` wrote")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        known = content["format"] == _FORMAT and content["version"] == _VERSION and content["encoding"] in _FILES
        frames, height, width, channels = map(int, content["shape"])
        header = StoreHeader(
            content["encoding"],
            (frames, height, width, channels),
            Fraction(*content["fps"]),
            int(content["bytes"]),
            str(content["sha256"]),
        )
    except (ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise _broken(file, f"cannot be read ({error!r})", "the header of a frame store") from None
    if not known or min(header.shape) < 1 or channels != 3 or header.fps <= 0:
        raise _broken(file, "describes no frame store known here", f"{_FORMAT}, version {_VERSION}")
    return header


def _map_raw(file: Path, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    try:
        data = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _broken(file, f"cannot be read ({error})", "an array as NumPy writes it") from None
    if data.shape != shape or data.dtype != np.uint8:
        raise _broken(file, f"holds {data.dtype} {data.shape}", f"uint8 {shape}, as {HEADER} says")
    pixels: NDArray[np.uint8] = data
    return pixels


def _read_offsets(file: Path, frames: int, size: int) -> NDArray[np.int64]:
    try:
        offsets = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _broken(file, f"cannot be read ({error})", "where each frame starts") from None
    fits = (
        offsets.shape == (frames + 1,)
        and offsets[0] == 0
        and offsets[-1] == size
        and bool(np.all(np.diff(offsets) > 0))
    )
    if not fits:
        raise _broken(file, "contradicts the frames", f"{frames + 1} rising numbers from 0 to {size}")
    places: NDArray[np.int64] = offsets
    return places


def _broken(file: Path, what: str, expected: str) -> MediaError:
    return MediaError(
        f"Frame store: {file.name!r} {what}.",
        where=str(file),
        expected=f"{expected[0].upper()}{expected[1:]}.",
        remedy="Delete the session's folder and run the preparation again; it makes only what is missing.",
    )
