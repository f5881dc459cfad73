"""What is kept of predictions on new footage: a table, a list of frames without heads, film, pictures and maps."""

from __future__ import annotations

import csv
import queue
import zipfile
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from PIL import Image

from nbpkg.gaze.film import FilmStyle, GazeFilm, draw_gaze
from nbpkg.gaze.footage import Footage
from nbpkg.gaze.predict import FrameGaze
from nbpkg.runs.files import new_file

TABLE, WITHOUT, FILM, MAPS, PICTURES = "gaze.csv", "frames_without_head.csv", "gaze.mp4", "maps.npz", "pictures"
COLUMNS = (
    "frame", "image", "time_ms", "person", "x0", "y0", "x1", "y1", "box_source", "peak_x", "peak_y", "inside", "peak",
    "method",
)  # fmt: skip
_WAITING = 32  # frames that wait to be drawn
_COPIED = 1 << 20  # bytes


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Parameters
    ----------
    style
        How frames are drawn.
    film, pictures, maps
        Whether to write the film, a picture for every frame, and the heat maps.
    """

    style: FilmStyle = field(default_factory=FilmStyle)
    film: bool = True
    pictures: bool = False
    maps: bool = False


class GazeWriter:
    """Writes predictions as they come; all files are complete or not there.

    ``gaze.csv`` holds one row per frame and person: boxes and peaks in pixels of the original frame, ``inside`` the
    probability of a target inside the frame (empty when the network does not say), ``peak`` the highest value of the
    map. ``maps.npz`` holds ``frame``, ``person`` and ``heat`` (float16 ``[N, 64, 64]``), in the order of the table.

    Parameters
    ----------
    folder
        Where to; made if need be.
    footage
        What is predicted for.
    method
        Name of the network.
    wanted
        Which files.
    """

    def __init__(self, folder: Path, footage: Footage, *, method: str, wanted: Wanted) -> None:
        self.folder, self.footage, self.method, self.wanted = folder, footage, method, wanted
        self.frames, self.rows, self.without = 0, 0, 0
        self.people: set[str] = set()
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.table = self._open_table(TABLE, COLUMNS)
            self.list = self._open_table(WITHOUT, COLUMNS[:3])
            self.film = self.maps = None
            if self.wanted.film:
                self.film = GazeFilm(self.stack.enter_context(new_file(self.folder / FILM)), self.footage)
            if self.wanted.maps:
                self.maps = _Maps(self.stack.enter_context(new_file(self.folder / MAPS)))
                self.stack.enter_context(self.maps)
        except BaseException:
            self.stack.close()
            raise
        return self

    def _open_table(self, name: str, columns: Iterable[str]) -> Any:
        path = self.stack.enter_context(new_file(self.folder / name))
        stream = self.stack.enter_context(path.open("w", encoding="utf-8", newline=""))
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        return writer

    def add(self, one: FrameGaze) -> None:
        """Write one frame."""
        frame = one.frame
        place = (frame.number, frame.name, f"{frame.time_ms:.1f}")
        self.frames += 1
        if not one.people:
            self.without += 1
            self.list.writerow(place)
        for person in one.people:
            self.rows += 1
            self.people.add(person.person)
            numbers = [*person.box, person.peak_x, person.peak_y, person.inside, person.peak]
            texts = [_text(value) for value in numbers]
            self.table.writerow([*place, person.person, *texts[:4], person.box_source, *texts[4:], self.method])
            if self.maps:
                self.maps.add(frame.number, person.person, person.heat)
        if self.film or self.wanted.pictures:
            self._draw(one)

    def _draw(self, one: FrameGaze) -> None:
        drawn = draw_gaze(one, self.wanted.style)
        if self.film:
            self.film.add(drawn)
        if self.wanted.pictures:
            with new_file(self.folder / PICTURES / f"{Path(one.frame.name).stem}.png") as temporary:
                Image.fromarray(drawn).save(temporary)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.film:
            self.stack.callback(self.film.close if kind else self.film.finish)
        self.stack.__exit__(kind, error, trace)


class _Maps:
    """Maps on their way into an NPZ: they wait in a file, so that their number costs no memory."""

    def __init__(self, path: Path) -> None:
        self.path, self.raw = path, path.with_suffix(".raw")
        self.frames: list[int] = []
        self.people: list[str] = []
        self.shape = (64, 64)
        self.stream: IO[bytes] = self.raw.open("wb")

    def add(self, frame: int, person: str, heat: np.ndarray) -> None:
        """Append one map."""
        self.frames.append(frame)
        self.people.append(person)
        self.shape = (heat.shape[0], heat.shape[1])
        self.stream.write(heat.astype(np.float16).tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.close()
        if kind is None:
            with zipfile.ZipFile(self.path, "w", zipfile.ZIP_DEFLATED) as archive:
                self._write(archive)
        self.raw.unlink()

    def _write(self, archive: zipfile.ZipFile) -> None:
        for name, values in (("frame", np.array(self.frames, np.int64)), ("person", np.array(self.people, np.str_))):
            with archive.open(f"{name}.npy", "w") as out:
                np.lib.format.write_array(out, values, allow_pickle=False)
        with archive.open("heat.npy", "w", force_zip64=True) as out, self.raw.open("rb") as raw:
            shape = (len(self.frames), *self.shape)
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(out, header)
            while block := raw.read(_COPIED):
                out.write(block)


def write_in_background(results: Iterable[FrameGaze], writer: GazeWriter) -> None:
    """Draw and write in a thread of its own, so that the network goes on meanwhile; a few frames wait at most."""
    waiting: queue.Queue[FrameGaze | None] = queue.Queue(_WAITING)

    def drain() -> None:
        while (one := waiting.get()) is not None:
            writer.add(one)

    with ThreadPoolExecutor(1, "write") as pool:
        done = pool.submit(drain)
        try:
            for one in results:
                _hand_over(waiting, one, done)
        finally:
            _hand_over(waiting, None, done)
        done.result()


def _hand_over(waiting: queue.Queue[FrameGaze | None], item: FrameGaze | None, done: Future[None]) -> None:
    while not done.done():
        try:
            return waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
    if item is not None:
        done.result()  # it ended before its time: by an error
    return None


def _text(value: float) -> str:
    return "" if value != value else f"{value:.6g}"
