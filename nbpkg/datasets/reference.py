"""Clips and transforms as the published program draws them, known defects included (``compat: reference``)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2

from nbpkg.datasets.transforms import AdjustLength, Augment, MakeContiguous, Transform, train_pipeline
from nbpkg.errors import MediaError, TableError
from nbpkg.video.frames import FrameStore

CLIP_S, CLIP_MS = 5.0, 5000


class Sample(NamedTuple):
    """One clip of the published program.

    Parameters
    ----------
    session, rater
        Whose video, and whose label.
    start_ms
        Start, milliseconds, not rounded.
    label
        1 when more than half of the 5000 ms is engaged.
    first, frames
        Number of the first frame, and how many follow one another from it.
    """

    session: str
    rater: str
    start_ms: float
    label: int
    first: int
    frames: int


class PublishedSampling:
    """The published data set of one task and variable: every access draws another clip from torch's global generator.

    Parameters
    ----------
    spans
        Rows of one task and variable: columns session, rater, start_ms, end_ms, engaged (0 or 1). Rows may be reversed,
        as the published filling makes them: such a row counts negatively.
    folds
        Sessions of each fold, in the order of the folds.
    fps
        Frames per second; 3.12 is what the published reader believed of 25/8.
    subdivision
        Clips of each session.
    lengths
        Frames of each session's video; sessions that are not named are not checked.

    Raises
    ------
    TableError
        When a session has no rows.

    Source
    ------
    infant-engagement: local/datasets/video_dataset.py. Its demand of two or three raters for each session is left out.
    """

    def __init__(
        self,
        spans: pd.DataFrame,
        *,
        folds: list[list[str]],
        fps: float = 3.12,
        subdivision: int = 10,
        lengths: Mapping[str, int] | None = None,
    ) -> None:
        self.sessions = [session for fold in folds for session in sorted(fold)]
        self.fps, self.subdivision, self.lengths = fps, subdivision, dict(lengths or {})
        self._rows: dict[str, dict[str, NDArray[np.int64]]] = {}
        for (session, rater), rows in spans.groupby(["session", "rater"], sort=True):
            columns = rows[["engaged", "start_ms", "end_ms"]].to_numpy(dtype=np.int64)
            self._rows.setdefault(str(session), {})[str(rater)] = columns
        for session in self.sessions:
            self.list_raters(session)

    def __len__(self) -> int:
        return self.subdivision * len(self.sessions)

    def __getitem__(self, index: int) -> Sample:
        """Draw rater, then start, of one chunk of one session."""
        index = range(len(self))[index]
        session, chunk = self.sessions[index // self.subdivision], index % self.subdivision
        raters = self.list_raters(session)
        rater = raters[int(torch.randint(0, len(raters), (1,)).item())]
        start, end = self.get_span(session, rater)
        width = (end - start - CLIP_MS) / self.subdivision  # negative when the task is shorter than a clip
        return self._sample(session, rater, start + chunk * width + torch.rand(1).item() * width)

    def list_raters(self, session: str) -> list[str]:
        """Return who rated a session, sorted."""
        if session not in self._rows:
            raise _unknown(f"Session {session!r} has no labels.", sorted(self._rows))
        return list(self._rows[session])

    def get_span(self, session: str, rater: str) -> tuple[int, int]:
        """Return from the earliest start to the latest end of a rater's rows, milliseconds."""
        if rater not in self.list_raters(session):
            raise _unknown(f"{rater!r} did not rate session {session!r}.", self.list_raters(session))
        rows = self._rows[session][rater]
        return int(rows[:, 1].min()), int(rows[:, 2].max())

    def get_sample(self, session: str, rater: str, start_ms: float) -> Sample:
        """Return the clip at a given start.

        Raises
        ------
        TableError
            When session or rater is unknown, or the clip is not inside the rater's task.
        MediaError
            When the clip runs past the end of the video.
        """
        start, end = self.get_span(session, rater)
        if start_ms < start or start_ms + CLIP_MS > end:
            raise _outside(f"The clip from {start_ms} to {start_ms + CLIP_MS} ms", session, (start, end))
        return self._sample(session, rater, start_ms)

    def get_common_times(self, session: str) -> tuple[int, int]:
        """Return the part of the task that all raters of a session share, milliseconds.

        Raises
        ------
        TableError
            When it starts at 0 (a published defect) or ends after an hour.
        """
        spans = [self.get_span(session, rater) for rater in self.list_raters(session)]
        start, end = max(span[0] for span in spans), min(span[1] for span in spans)
        if start <= 0 or end >= 3_600_000:
            raise _outside(f"The common time {start} to {end} ms", session, (1, 3_599_999))
        return start, end

    def draw_common_start(self, session: str) -> float:
        """Draw a start uniformly such that the clip is inside the time that all raters share, milliseconds."""
        start, end = self.get_common_times(session)
        if end - start < CLIP_MS:
            raise _outside(f"A clip of {CLIP_MS} ms", session, (start, end))
        return start + torch.rand(1).item() * (end - start - CLIP_MS)

    def _sample(self, session: str, rater: str, start_ms: float) -> Sample:
        first, frames = math.floor(start_ms * self.fps / 1000), math.floor(CLIP_S * self.fps)
        length = self.lengths.get(session, first + frames)
        if first < 0 or first + frames > length:
            raise MediaError(
                f"The clip from {start_ms:.0f} ms takes frames {first} to {first + frames - 1}.",
                where=f"session {session}",
                expected=f"Frames 0 to {length - 1}.",
                remedy="The published program cannot pad; set compat: none.",
            )
        return Sample(session, rater, start_ms, label_clip(self._rows[session][rater], start_ms), first, frames)


def label_clip(rows: NDArray[np.int64], start_ms: float) -> int:
    """Return 1 when more than half of 5000 ms is engaged; a reversed row counts negatively.

    Parameters
    ----------
    rows
        ``[n, 3]``: engaged, start, end, milliseconds.
    start_ms
        Start of the clip.

    Examples
    --------
    >>> label_clip(np.array([[1, 0, 2500], [0, 2500, 5000]]), 0), label_clip(np.array([[1, 0, 2501]]), 0)
    (0, 1)
    """
    inside = np.clip(rows[:, 1:], start_ms, start_ms + CLIP_MS)
    return int((rows[:, 0] * (inside[:, 1] - inside[:, 0])).sum() > CLIP_MS / 2)


def read_sample(store: FrameStore, sample: Sample) -> NDArray[np.uint8]:
    """Read the frames of a clip, uint8 RGB ``[15, H, W, 3]``: they cover 4.8 s of the label's 5 s."""
    return store.frames(np.arange(sample.first, sample.first + sample.frames))


@dataclass(frozen=True)
class PythonDraws:
    """Single random numbers from Python's global generator, as the published transforms draw them."""

    def draw_number(self, low: float, high: float) -> float:
        """Draw uniformly from ``low .. high``."""
        return random.uniform(low, high)

    def draw_integer(self, low: int, high: int) -> int:
        """Draw uniformly from the whole numbers ``low .. high``, both included."""
        return random.randint(low, high)


@dataclass(frozen=True)
class DefectiveLengthCentral:
    """Keep the middle frames, and none where one or none should go (see `transforms.AdjustLengthCentral`).

    Parameters
    ----------
    keep
        Least and most frames.
    """

    keep: tuple[int, int]

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        surplus = max(clip.shape[1] - random.randint(*self.keep), 0)
        return clip[:, surplus - surplus // 2 : -(surplus // 2)]  # an end of -0 leaves nothing


@dataclass(frozen=True)
class CheckDims:
    """Let only frames of one size pass.

    Parameters
    ----------
    width, height
        Pixels; None allows any.
    """

    width: int | None = None
    height: int | None = None

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the same clip, or raise a MediaError."""
        height, width = clip.shape[-2:]
        if (self.height or height, self.width or width) != (height, width):
            raise MediaError(
                f"The frames are {width} x {height} pixels.",
                expected=f"{self.width or 'Any'} x {self.height or 'any'} pixels (width x height).",
                remedy="Prepare the videos at that height.",
            )
        return clip


def published_train_pipeline() -> Transform:
    """Return the published changes of training clips: frames of height 160 to squares of 112 pixels."""
    steps = [CheckDims(height=160), AdjustLength((60, 60), PythonDraws())]
    pipeline: Transform = v2.Compose([*steps, train_pipeline(Augment(), 112, draws=PythonDraws())])
    return pipeline


def published_test_pipeline(*, flip: bool = True) -> Transform:
    """Return the published treatment at evaluation: frames of height 160 to squares, mirrored half of the time.

    Parameters
    ----------
    flip
        False for the published analyses (attention maps, the machine as a rater).
    """
    steps = [CheckDims(height=160), AdjustLength((60, 60), PythonDraws()), v2.CenterCrop(160), MakeContiguous()]
    pipeline: Transform = v2.Compose([*steps, *([v2.RandomHorizontalFlip(0.5)] if flip else [])])
    return pipeline


def _unknown(what: str, known: list[str]) -> TableError:
    return TableError(
        what, expected=f"One of {', '.join(known) or 'none'}.", remedy="Correct the name, or add its labels."
    )


def _outside(what: str, session: str, span: tuple[int, int]) -> TableError:
    return TableError(
        f"{what} does not fit.",
        where=f"session {session}",
        expected=f"Inside {span[0]} to {span[1]} ms.",
        remedy="Choose a start inside the rater's task.",
    )
