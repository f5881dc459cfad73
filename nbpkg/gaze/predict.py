"""Where people look in footage, frame after frame, while the next frames are read and prepared in the background."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nbpkg.features.boxes import Box
from nbpkg.gaze.footage import Frame
from nbpkg.gaze.networks import Answers, Gazer, Looks
from nbpkg.metrics.gaze.distance import Reading, find_peaks, read_points

Found = tuple[str, Box, str]  # person, head box, where the box comes from
Finder = Callable[[Frame], Sequence[Found]]
BATCH, WORKERS = 16, 2
NO_BOX: Box = (float("nan"), float("nan"), float("nan"), float("nan"))
_AHEAD = 2  # batches that wait for the network


@dataclass(frozen=True)
class PersonGaze:
    """Where one person looks in one frame.

    Parameters
    ----------
    person, box, box_source
        Whose head, pixels; NaN when the whole frame was asked about.
    heat
        The network's map ``[64, 64]``.
    logit
        Positive for a target inside the frame; NaN when the network does not say.
    inside
        The same as a probability.
    cell
        Column and row of the peak.
    peak_x, peak_y
        The peak in the frame, pixels.
    peak
        Value of the map there.
    """

    person: str
    box: Box
    box_source: str
    heat: NDArray[np.float32]
    logit: float
    inside: float
    cell: tuple[int, int]
    peak_x: float
    peak_y: float
    peak: float


@dataclass(frozen=True)
class FrameGaze:
    """One frame and all its people; nobody where there was no head box."""

    frame: Frame
    people: list[PersonGaze]


class _Work(NamedTuple):
    frame: Frame
    found: Sequence[Found]
    looks: Looks | None


class _Batch(NamedTuple):
    works: list[_Work]
    looks: list[Looks]
    tensors: tuple[torch.Tensor, ...]


class _Stopped(Exception):  # noqa: N818 - no error: the reader has left
    """The results are no longer wanted."""


def take_heads(heads: Mapping[int, Sequence[Found]]) -> Finder:
    """Look head boxes up by frame number."""
    return lambda frame: heads.get(frame.number, ())


def take_scene(frame: Frame) -> Sequence[Found]:  # noqa: ARG001
    """Ask about the whole frame, without a head: for Gaze-LLE only."""
    return [("scene", NO_BOX, "none")]


def predict_gaze(
    frames: Iterable[Frame],
    find: Finder,
    gazer: Gazer,
    *,
    device: torch.device,
    batch: int = BATCH,
    workers: int = WORKERS,
    reading: Reading = "centre",
) -> Iterator[FrameGaze]:
    """Say where people look, in order, a few batches of frames in memory at any time.

    Frames are decoded in one thread, prepared in some others and joined in one more, so that the network never waits
    unless all of them together are slower than it.

    Parameters
    ----------
    frames
        In order, such as a `nbpkg.gaze.footage.Footage`.
    find
        Head boxes of a frame; called in order.
    gazer
        The network.
    device
        Where it is.
    batch
        People answered for at once, about.
    workers
        Threads that prepare frames.
    reading
        Whether a peak stands for the ``centre`` of its cell, or, as published, its ``index``, half a cell too far up
        and left.

    Yields
    ------
    FrameGaze
        For every frame, also those without people.
    """
    with closing(_Line(frames, find, gazer, batch=batch, workers=workers, pin=device.type == "cuda")) as line:
        waiting: tuple[_Batch, Answers | None] | None = None
        for one in line:
            answers = _ask(gazer, one, device)
            if waiting:  # the device works on `one` while the answers before are used
                yield from _spell(*waiting, reading=reading)
            waiting = (one, answers)
        if waiting:
            yield from _spell(*waiting, reading=reading)


@torch.inference_mode()
def _ask(gazer: Gazer, one: _Batch, device: torch.device) -> Answers | None:
    if not one.looks:
        return None
    return gazer.answer(one.looks, [tensor.to(device, non_blocking=True) for tensor in one.tensors])


def _spell(one: _Batch, answers: Answers | None, *, reading: Reading) -> Iterator[FrameGaze]:
    """Turn answers on the device into numbers."""
    heat = np.zeros((0, 1, 1), np.float32) if answers is None else answers.heat.float().cpu().numpy()
    logits = [] if answers is None else answers.logit.double().cpu().tolist()
    peaks = find_peaks(heat) if len(heat) else None
    points = read_points(peaks, reading=reading, cells=heat.shape[-1]) if peaks else np.zeros((0, 2))
    row = 0
    for frame, found, _ in one.works:
        height, width = frame.picture.shape[:2]
        people = []
        for name, box, source in found:
            if peaks is None:
                continue
            chance = float(1 / (1 + np.exp(-np.float64(logits[row])))) if logits[row] == logits[row] else float("nan")
            people.append(
                PersonGaze(
                    name, box, source, heat[row], logits[row], chance, (int(peaks.column[row]), int(peaks.row[row])),
                    float(points[row, 0] * width), float(points[row, 1] * height), float(peaks.value[row]),
                )
            )  # fmt: skip
            row += 1
        yield FrameGaze(frame, people)


class _Line:
    """Frames on their way to the network: read, prepared, joined to batches, a bounded number at any time."""

    def __init__(
        self, frames: Iterable[Frame], find: Finder, gazer: Gazer, *, batch: int, workers: int, pin: bool
    ) -> None:
        self.frames, self.find, self.gazer, self.batch, self.pin = frames, find, gazer, batch, pin
        self.stopped = threading.Event()
        self.read: queue.Queue[tuple[Frame, Sequence[Found], Future[Looks] | None] | BaseException | None]
        self.read = queue.Queue(2 * batch)
        self.joined: queue.Queue[_Batch | BaseException | None] = queue.Queue(_AHEAD)
        self.pool = ThreadPoolExecutor(max(1, workers), "prepare")
        self.threads = [
            threading.Thread(target=self._guard, args=(work, out), daemon=True)
            for work, out in ((self._read_all, self.read), (self._join_all, self.joined))
        ]
        for thread in self.threads:
            thread.start()

    def __iter__(self) -> Iterator[_Batch]:
        while (one := self.joined.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one

    def close(self) -> None:
        """Let all threads end, also when the frames were not used up."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        self.pool.shutdown(cancel_futures=True)

    def _guard(self, work: Callable[[], None], out: queue.Queue[Any]) -> None:
        """Hand an error of a thread on to whoever waits for what it makes."""
        try:
            work()
            self._put(out, None)
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - raised again where the results are read
            if not self.stopped.is_set():
                self._put(out, error)

    def _put(self, out: queue.Queue[Any], item: object) -> None:
        while True:
            if self.stopped.is_set():
                raise _Stopped
            try:
                return out.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _read_all(self) -> None:
        for frame in self.frames:
            found = sorted(self.find(frame), key=lambda one: one[0])
            future = self.pool.submit(self._prepare, frame, found) if found else None
            self._put(self.read, (frame, found, future))

    def _prepare(self, frame: Frame, found: Sequence[Found]) -> Looks:
        boxes = np.array([box for _, box, _ in found], np.float64)
        return Looks(frame.number, tuple(name for name, _, _ in found), self.gazer.prepare(frame.picture, boxes))

    def _join_all(self) -> None:
        works: list[_Work] = []
        while True:
            item = self._get()
            if item is not None:
                frame, found, future = item
                works.append(_Work(frame, found, future.result() if future else None))
            people = sum(len(work.found) for work in works)
            if works and (item is None or people >= self.batch or len(works) >= 2 * self.batch):
                self._put(self.joined, self._join(works))
                works = []
            if item is None:
                return

    def _get(self) -> tuple[Frame, Sequence[Found], Future[Looks] | None] | None:
        while True:
            if self.stopped.is_set():
                raise _Stopped
            try:
                item = self.read.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            return item

    def _join(self, works: list[_Work]) -> _Batch:
        looks = [work.looks for work in works if work.looks]
        columns = zip(*(look.tensors for look in looks), strict=True)
        tensors = tuple(torch.cat(column) for column in columns)
        return _Batch(works, looks, tuple(tensor.pin_memory() for tensor in tensors) if self.pin else tensors)
