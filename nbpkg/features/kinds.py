"""What is to be made of a file: the kinds of features with their options, each saying in words how it does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbpkg.features.boxes import SPLIT, Box, Missed
from nbpkg.features.words import Silence


@dataclass(frozen=True)
class SoundHow:
    """openSMILE's emobase set of the sound; see `nbpkg.features.audio.emobase_seconds`."""

    seconds: float = 1.0
    time_columns: bool = False
    partial: Literal["drop", "keep"] = "keep"

    def describe(self) -> str:
        """Say how in words."""
        return "openSMILE emobase, centred frames" + (", with the time" if self.time_columns else "")


@dataclass(frozen=True)
class WordsHow:
    """What is said; see `nbpkg.features.words`.

    Parameters
    ----------
    cues
        ``(start_ms, end_ms, text)`` of each utterance, in order of time; the job's source is the file they are from.
    rows
        Seconds wanted; 0 for as many as the utterances reach.
    vectors
        File of word vectors; None for hashed words.
    width
        Columns of hashed words.
    stop_words
        Leave out English words that say little.
    silence
        What becomes of seconds in which nothing is said.
    seconds
        Length of a row.
    """

    cues: tuple[tuple[int, int, str], ...]
    rows: int = 0
    vectors: Path | None = None
    width: int = 512
    stop_words: bool = False
    silence: Silence = "missing"
    seconds: float = 1.0

    def describe(self) -> str:
        """Say how in words."""
        made = f"means of word vectors ({self.vectors.name})" if self.vectors else f"words hashed to {self.width}"
        without = ", without stop words" if self.stop_words else ""
        return f"{made}{without}, silence: {self.silence}"


@dataclass(frozen=True)
class FaceHow:
    """A face, or any other part of the picture; see `nbpkg.features.faces.face_seconds`.

    Parameters
    ----------
    side
        ``listener`` or ``actor``.
    boxes
        File or folder of face boxes.
    detector
        YuNet model that finds faces within the region, where there are no boxes.
    region
        x0, y0, x1, y1 in pixels: where the detector looks, or without one the crop itself; None for the side's half of
        the corpus' picture.
    network, weights, size
        See `nbpkg.features.embed.Embedder`; weights that are a file are a path.
    every, missed, fps, seconds
        See `nbpkg.features.faces.face_seconds`.
    split
        Of the published boxes and of the halves, the column at which the listener's half begins.
    """

    side: Literal["listener", "actor"]
    boxes: Path | None = None
    detector: Path | None = None
    region: Box | None = None
    network: str = "resnet18"
    weights: str | Path = "none"
    size: int = 224
    every: int = 1
    missed: Missed = "missing"
    fps: int = 25
    seconds: float = 1.0
    split: int = SPLIT

    def describe(self) -> str:
        """Say how in words."""
        place = "boxes from files" if self.boxes else "faces found" if self.detector else "a fixed region"
        weights = self.weights.name if isinstance(self.weights, Path) else self.weights
        pace = "" if self.every == 1 else f", every {self.every}th frame"
        return f"{self.network} ({weights}) on {place}{pace}, seconds without: {self.missed}"


@dataclass(frozen=True)
class TableHow:
    """Features made elsewhere; see `nbpkg.features.tables.read_table`."""

    time_columns: bool = False

    def describe(self) -> str:
        """Say how in words."""
        return "made elsewhere" + (", with the time" if self.time_columns else "")


How = SoundHow | WordsHow | FaceHow | TableHow


@dataclass(frozen=True)
class Job:
    """One modality of one session.

    Parameters
    ----------
    session, modality
        Whose, and what it is called.
    how
        Kind of features, with its options.
    source
        File they are made from.
    """

    session: str
    modality: str
    how: How
    source: Path
