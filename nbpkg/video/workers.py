"""Worker processes that report what they have done, stop when asked, and never outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from typing import Generic, TypeVar

from nbpkg.errors import StageError

Result = TypeVar("Result")
_EVERY_S = 0.2
_link: tuple[SimpleQueue, Event] | None = None  # set in each worker when it starts


class Stopped(Exception):  # noqa: N818 - no error: the parent asked for it
    """Raised inside a worker whose parent has stopped waiting."""


class Pool(Generic[Result]):
    """Runs pieces of work in processes of their own.

    Parameters
    ----------
    executor, queue
        As made by `start`.
    """

    def __init__(self, executor: ProcessPoolExecutor, queue: SimpleQueue) -> None:
        self._executor, self._queue = executor, queue
        self._waiting: dict[Future[Result], str] = {}

    def submit(self, name: str, work: Callable[[Callable[[float], None]], Result]) -> None:
        """Queue a piece of work: something picklable that takes a function to report progress with."""
        self._waiting[self._executor.submit(_run, work)] = name

    def results(self, tick: Callable[[float], None]) -> Iterator[tuple[str, Result]]:
        """Yield ``(name, result)`` as work is done, passing the workers' progress on to `tick`.

        Raises
        ------
        StageError
            When a worker process dies.
        """
        while self._waiting:
            done, _ = wait(self._waiting, timeout=_EVERY_S, return_when=FIRST_COMPLETED)
            while not self._queue.empty():
                tick(self._queue.get())
            for future in done:
                name = self._waiting.pop(future)
                try:
                    yield name, future.result()
                except BrokenProcessPool:
                    raise StageError(
                        "A worker process died, most often because memory ran out.",
                        where=f"{name}, or another that was done at the same time",
                        remedy="Run again, it goes on where it stopped; with fewer workers if it dies again.",
                    ) from None
        while not self._queue.empty():
            tick(self._queue.get())


@contextmanager
def start(workers: int) -> Iterator[Pool]:
    """Start worker processes and end them with the block; an error or interrupt stops what they are doing.

    They are spawned, not forked: a fork of a process with threads (torch, OpenCV, FFmpeg) can hang.
    """
    context = multiprocessing.get_context("spawn")
    queue: SimpleQueue = context.SimpleQueue()
    stop = context.Event()
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(queue, stop))
    try:
        yield Pool(executor, queue)
    except BaseException:
        stop.set()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(queue: SimpleQueue, stop: Event) -> None:
    """Prepare a worker: the parent handles Ctrl-C, and when the parent is gone so is the worker."""
    global _link
    _link = (queue, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(work: Callable[[Callable[[float], None]], Result]) -> Result:
    if _link is None:
        raise StageError("Work for a worker process was started elsewhere.", remedy="Use `workers.start`.")
    queue, stop = _link
    gathered, sent_at = 0.0, time.monotonic()

    def tick(amount: float) -> None:
        nonlocal gathered, sent_at
        if stop.is_set():
            raise Stopped
        gathered += amount
        if time.monotonic() - sent_at >= _EVERY_S:
            queue.put(gathered)
            gathered, sent_at = 0.0, time.monotonic()

    result = work(tick)
    queue.put(gathered)
    return result
