"""New footage, a video file or a folder of pictures, frame after frame, one frame in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.video.convert import Recipe, Shrinker, VideoReader
from nbpkg.video.folders import PictureStore
from nbpkg.video.pictures import list_pictures, read_size
from nbpkg.video.probe import MediaFacts, open_video, probe

PICTURE_RATE = Fraction(5)  # pictures of a folder are shown for 0.2 s each, as in VTD's demonstration


@dataclass(frozen=True)
class Frame:
    """One frame.

    Parameters
    ----------
    number
        From 0; of a folder the place of the picture in natural order.
    name
        File name of a picture; of a video the number with eight digits.
    time_ms
        When it is shown, from the start of the file, milliseconds.
    picture
        RGB ``[H, W, 3]``, uint8, as large as stored.
    """

    number: int
    name: str
    time_ms: float
    picture: NDArray[np.uint8]


@dataclass(frozen=True)
class Footage:
    """A video or a folder of pictures that can be gone through.

    Parameters
    ----------
    path
        The file or folder.
    fps
        Mean rate of the source, frames per second.
    facts
        What `nbpkg.video.probe.probe` says of a video; None for pictures.
    files
        The pictures in natural order; empty for a video.
    step
        Every how many frames one is taken.
    """

    path: Path
    fps: Fraction
    facts: MediaFacts | None
    files: tuple[Path, ...]
    step: int = 1

    def __len__(self) -> int:
        return -(-self.frames // self.step)

    @property
    def frames(self) -> int:
        """Frames of the source, whether taken or not."""
        return self.facts.frames if self.facts else len(self.files)

    def size_of(self, number: int) -> tuple[int, int]:
        """Return width and height of a frame, pixels; of a picture its header is read."""
        if self.facts:
            return self.facts.width, self.facts.height
        height, width = read_size(self.files[number])
        return width, height

    @property
    def rate(self) -> Fraction:
        """Frames per second of what is taken."""
        return self.fps / self.step

    def __iter__(self) -> Iterator[Frame]:
        return self._decode(self.facts) if self.facts else self._read()

    def number_of(self, name: str, *, first: int = 0) -> int | None:
        """Find the frame that a name in an annotation file means.

        Parameters
        ----------
        name
            Name with or without ending. In a folder it is that of a picture, as it stands or up to the ending; of a
            video, the number in it counts.
        first
            Number that the names give to the first frame of a video.

        Returns
        -------
        int or None
            None when there is no such frame.
        """
        if self.facts is None:
            return self._places.get(name, self._places.get(Path(name).stem))
        digits = "".join(letter if letter.isdecimal() else " " for letter in Path(name).stem).split()
        number = int(digits[-1]) - first if digits else -1
        return number if 0 <= number < self.facts.frames else None

    @cached_property
    def _places(self) -> dict[str, int]:
        """Number of each picture by name, and by stem where no other picture has it."""
        stems = Counter(file.stem for file in self.files)
        by_stem = {file.stem: place for place, file in enumerate(self.files) if stems[file.stem] == 1}
        return by_stem | {file.name: place for place, file in enumerate(self.files)}

    def _read(self) -> Iterator[Frame]:
        store = PictureStore(self.files, fps=self.fps, path=self.path)
        for number in range(0, len(self.files), self.step):
            name, time = self.files[number].name, float(number * 1000 / self.fps)
            yield Frame(number, name, time, store.picture(number))

    def _decode(self, facts: MediaFacts) -> Iterator[Frame]:
        recipe = Recipe(height=facts.height, fps=facts.fps, write_video=False)
        shrink = Shrinker(facts, recipe, size=(facts.height, facts.width))
        with open_video(self.path) as (container, stream):
            stream.thread_type = "AUTO"
            for number, (start, frame) in enumerate(VideoReader(container, stream, facts)):
                if number % self.step == 0:
                    yield Frame(number, f"{number:08}", float(1000 * start), shrink(frame))


def open_footage(path: Path, *, step: int = 1, fps: Fraction = PICTURE_RATE) -> Footage:
    """Open a video file or a folder of pictures; other files in the folder are passed over.

    Parameters
    ----------
    path
        The file or folder.
    step
        Every how many frames one is taken, from 1.
    fps
        Pictures per second of a folder.

    Raises
    ------
    MediaError
        When it is neither, holds no picture, or `step` or `fps` are not positive.
    """
    if step < 1 or fps <= 0:
        raise MediaError(
            f"Every {step}th frame of a film of {fps} frames per second cannot be taken.",
            expected="A whole number from 1, and a rate above 0.",
            remedy="Correct '--every' or '--fps'.",
        )
    if path.is_dir():
        return Footage(path, fps, None, tuple(list_pictures(path)), step)
    facts = probe(path)
    return Footage(path, facts.fps, facts, (), step)
