"""Which frames of a clip a network sees, as mmaction2 0.24 chooses them, with the source of chance stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem, SettingsError

Draws = np.random.Generator | np.random.RandomState
Numbers = NDArray[np.int64]
_SEED = 255  # with which the published program makes uniform sampling repeatable in tests


@dataclass(frozen=True)
class SampleFrames:
    """Several runs of evenly spaced frames, spread over the clip.

    Parameters
    ----------
    length
        Frames of a run.
    interval
        Frames of the clip from one frame of a run to the next.
    runs
        How many runs.
    test
        Whether runs lie at fixed places, in the middle of equal parts; else their starts are drawn.
    jitter
        Move each frame by a draw from 0 to ``interval - 1``.
    twice
        In tests, take a second set of runs that start where the equal parts start.
    beyond
        What stands for frames after the clip's end: ``loop`` begins the clip anew, ``repeat_last`` repeats the last
        frame of the run that there is.
    keep_tail
        In training, let the last part reach to the end of the clip.

    Source
    ------
    mmaction2 0.24.1, ``SampleFrames``, draws in the same order. A clip shorter than `span` is looped, which puts frames
    out of order: see `find_short_clips`.
    """

    length: int
    interval: int = 1
    runs: int = 1
    test: bool = False
    jitter: bool = False
    twice: bool = False
    beyond: Literal["loop", "repeat_last"] = "loop"
    keep_tail: bool = False

    def __post_init__(self) -> None:
        _check_positive(self, "length", "interval", "runs")
        if self.beyond not in ("loop", "repeat_last"):
            raise SettingsError(f"Frames beyond the end cannot be {self.beyond!r}.", expected="'loop', 'repeat_last'.")

    @property
    def span(self) -> int:
        """Frames of a clip that one run takes up."""
        return self.length * self.interval

    def choose(self, total: int, draws: Draws, *, first: int = 0) -> Numbers:
        """Choose frames of one clip.

        Parameters
        ----------
        total
            Frames of the clip, at least 1.
        draws
            Where random numbers come from: `nbpkg.seeding.generator`, or for parity with the published program a
            seeded `numpy.random.RandomState`.
        first
            Number of the clip's first frame: 0 in a video, 1 in folders of the published layout.

        Returns
        -------
        ndarray
            Frame numbers, int64 ``[runs, length]``.

        Raises
        ------
        MediaError
            When the clip has no frames; the published program then asks for frame 0.
        """
        _check_total(total)
        starts = self._start_in_test(total) if self.test else self._draw_starts(total, draws)
        frames = starts[:, None] + np.arange(self.length) * self.interval
        if self.jitter:
            frames = frames + _integers(draws, self.interval, frames.size).reshape(frames.shape)
        if self.beyond == "loop":
            frames = frames % total
        else:
            inside = frames < total
            frames = np.where(inside, frames, (inside * frames).max(axis=1, keepdims=True))
        return (frames + first).astype(np.int64)

    def _start_in_test(self, total: int) -> NDArray[np.float64] | Numbers:
        if total < self.span:
            return np.zeros(self.runs, dtype=np.int64)
        part = (total - self.span + 1) / self.runs
        bases = np.arange(self.runs) * part
        starts = (bases + part / 2).astype(np.int64)
        return np.concatenate([starts, bases]) if self.twice else starts

    def _draw_starts(self, total: int, draws: Draws) -> Numbers:
        spare, number = total - self.span + 1, np.arange(self.runs)
        if self.keep_tail:
            if spare <= 0:
                return np.zeros(self.runs, dtype=np.int64)
            part = spare / self.runs
            return (number * part + draws.uniform(0, part, self.runs)).astype(np.int64)
        whole = spare // self.runs
        if whole > 0:
            return number * whole + _integers(draws, whole, self.runs)
        if total > max(self.runs, self.span):
            return np.sort(_integers(draws, spare, self.runs))
        if whole == 0:
            return np.around(number * (spare / self.runs)).astype(np.int64)
        return np.zeros(self.runs, dtype=np.int64)


@dataclass(frozen=True)
class DenseSampleFrames:
    """Runs close together inside one stretch of the clip.

    Parameters
    ----------
    length, interval, runs, test
        As in `SampleFrames`.
    stretch
        Frames over which the runs are spread.
    positions
        In tests, at how many evenly spaced starts the stretch is taken.

    Source
    ------
    mmaction2 0.24.1, ``DenseSampleFrames``. It reports `runs` also in tests, where ``positions * runs`` come out.
    """

    length: int
    interval: int = 1
    runs: int = 1
    test: bool = False
    stretch: int = 64
    positions: int = 10

    def __post_init__(self) -> None:
        _check_positive(self, "length", "interval", "runs", "stretch", "positions")

    def choose(self, total: int, draws: Draws, *, first: int = 0) -> Numbers:
        """Choose frames of one clip; ``[runs, length]``, in tests ``[positions * runs, length]``.

        Parameters, exceptions and the rest as in `SampleFrames.choose`.
        """
        _check_total(total)
        room = max(1, 1 + total - self.stretch)
        steps = np.arange(self.runs) * (self.stretch // self.runs)
        if self.test:
            begins = np.linspace(0, room - 1, self.positions, dtype=np.int64)
            starts = ((begins[:, None] + steps) % total).reshape(-1)
        else:
            begin = 0 if room == 1 else int(_integers(draws, room - 1, 1)[0])
            starts = (steps + begin) % total
        frames = starts[:, None] + np.arange(self.length) * self.interval
        return (frames % total + first).astype(np.int64)


@dataclass(frozen=True)
class UniformSampleFrames:
    """Frames spread over the whole clip, one from each of as many equal parts.

    Parameters
    ----------
    length
        Frames of a run.
    runs
        How many runs; more than one only in tests or with `portion`.
    test
        Whether the same frames are chosen every time.
    seed
        In tests, seed of the draws.
    portion
        Least and most share of the clip that a run is taken from, as PYSKL does; ``(1, 1)`` changes nothing but draws
        two numbers more for each run. None takes the whole clip without drawing.

    Source
    ------
    mmaction2 0.24.1, ``UniformSampleFrames``, and PYSKL's ``UniformSampleFrames`` (`portion`). In tests both set the
    seed of NumPy's global generator; here tests have a generator of their own that gives the same numbers.
    """

    length: int
    runs: int = 1
    test: bool = False
    seed: int = _SEED
    portion: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "length", "runs")
        if self.runs > 1 and not self.test and self.portion is None:
            raise SettingsError(
                f"Uniform sampling cannot draw {self.runs} runs in training.", expected="One run, or test: true."
            )
        if self.portion is not None and not 0 < self.portion[0] <= self.portion[1] <= 1:
            raise SettingsError(f"A clip has no portion {self.portion}.", expected="0 < least <= most <= 1.")

    def choose(self, total: int, draws: Draws, *, first: int = 0) -> Numbers:
        """Choose frames of one clip; ``[runs, length]``, as `SampleFrames.choose`."""
        _check_total(total)
        source = np.random.RandomState(self.seed) if self.test else draws
        frames = np.stack([self._run(number, total, source) for number in range(self.runs)])
        return (frames % total + first).astype(np.int64)

    def _run(self, number: int, total: int, draws: Draws) -> Numbers:
        part, begin = total, 0
        if self.portion is not None:
            least, most = self.portion
            part = max(1, int((draws.random() * (most - least) + least) * total))
            begin = int(_integers(draws, total - part + 1, 1)[0])
        if part < self.length:
            if not self.test:
                return begin + int(_integers(draws, part, 1)[0]) + np.arange(self.length)
            start = number if part < self.runs else number * part // self.runs
            return begin + start + np.arange(self.length)
        if part < 2 * self.length:
            jumps = np.zeros(self.length + 1, dtype=np.int64)
            jumps[draws.choice(self.length + 1, part - self.length, replace=False)] = 1
            return begin + np.arange(self.length) + np.cumsum(jumps)[:-1]
        edges = np.arange(self.length + 1) * part // self.length
        return begin + edges[:-1] + _each(draws, np.diff(edges))


@dataclass(frozen=True)
class PaddingWithLoop:
    """One run of consecutive frames from the first on; a shorter clip begins anew.

    Parameters
    ----------
    length
        Frames of the run.

    Source
    ------
    mmaction2 0.24.1, ``PaddingWithLoop``.
    """

    length: int

    def __post_init__(self) -> None:
        _check_positive(self, "length")

    def choose(self, total: int, draws: Draws | None = None, *, first: int = 0) -> Numbers:  # noqa: ARG002 - as others
        """Choose frames of one clip; ``[1, length]``, as `SampleFrames.choose`, without draws."""
        _check_total(total)
        return np.arange(self.length, dtype=np.int64)[None] % total + first


@dataclass(frozen=True)
class UntrimmedSampleFrames:
    """Short runs of consecutive frames round evenly spaced centres, as many as a long recording holds.

    Parameters
    ----------
    length
        Frames of a run.
    interval
        Frames from centre to centre.

    Source
    ------
    mmaction2 0.24.1, ``UntrimmedSampleFrames``.
    """

    length: int = 1
    interval: int = 16

    def __post_init__(self) -> None:
        _check_positive(self, "length", "interval")

    def choose(self, total: int, draws: Draws | None = None, *, first: int = 0) -> Numbers:  # noqa: ARG002 - as others
        """Choose frames of one clip; ``[centres, length]``, as `SampleFrames.choose`, without draws."""
        _check_total(total)
        centres = np.arange(self.interval // 2, total, self.interval)
        if not len(centres):
            raise MediaError(
                f"A recording of {total} frames has no run every {self.interval} frames.",
                expected=f"At least {self.interval // 2 + 1} frames.",
                remedy="Choose a shorter interval.",
            )
        frames = centres[:, None] + np.arange(-(self.length // 2), self.length - self.length // 2)
        return np.asarray(np.clip(frames, 0, total - 1) + first, dtype=np.int64)


Sampling = SampleFrames | DenseSampleFrames | UniformSampleFrames | PaddingWithLoop | UntrimmedSampleFrames


def find_short_clips(sampling: SampleFrames, totals: Mapping[str, int], *, severity: str = "warning") -> list[Problem]:
    """List clips that are shorter than a run, so that the run begins anew and its frames are out of order.

    Parameters
    ----------
    sampling
        How frames are chosen.
    totals
        Frames of each clip.
    severity
        Of the problems.

    Returns
    -------
    list of Problem
        One for each such clip, in the order given.

    Source
    ------
    The published TimeSformer training asks for 8 frames at interval 32 of clips of 125, without a word.
    """
    return [
        Problem(
            f"The clip has {total} frames, but {sampling.length} frames at interval {sampling.interval} span "
            f"{sampling.span}: frames repeat and their order breaks.",
            expected=f"At least {sampling.span} frames.",
            remedy=f"Set the interval to {widest_interval(total, sampling.length)} or less.",
            file=clip,
            severity=severity,
        )
        for clip, total in totals.items()
        if total < sampling.span
    ]


def widest_interval(total: int, length: int) -> int:
    """Return the widest interval at which a run of `length` frames fits into a clip, at least 1.

    Parameters
    ----------
    total
        Frames of the clip.
    length
        Frames of the run.

    Examples
    --------
    >>> widest_interval(125, 8), widest_interval(5, 8)
    (15, 1)
    """
    return max(1, total // length)


def _integers(draws: Draws, end: int, count: int) -> Numbers:
    """Draw whole numbers from 0 to end - 1."""
    if isinstance(draws, np.random.RandomState):
        return np.asarray(draws.randint(end, size=count), dtype=np.int64)
    return np.asarray(draws.integers(end, size=count), dtype=np.int64)


def _each(draws: Draws, ends: Numbers) -> Numbers:
    """Draw one whole number below each of several ends."""
    if isinstance(draws, np.random.RandomState):
        return np.asarray(draws.randint(ends), dtype=np.int64)
    return np.asarray(draws.integers(ends), dtype=np.int64)


def _check_positive(sampling: object, *names: str) -> None:
    wrong = {name: getattr(sampling, name) for name in names if getattr(sampling, name) < 1}
    if wrong:
        raise SettingsError(
            f"Frames cannot be chosen with {', '.join(f'{name} {number}' for name, number in wrong.items())}.",
            expected="Whole numbers from 1.",
            remedy="Correct the parameter file.",
        )


def _check_total(total: int) -> None:
    if total < 1:
        raise MediaError(
            f"No frame can be chosen from a clip of {total} frames.",
            expected="At least one frame.",
            remedy="Leave the clip out, or extract its frames again.",
        )
