"""The clip to explain, from a video file or a folder of frames, without anything prepared."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError
from nbpkg.video.convert import Recipe, Shrinker, VideoReader
from nbpkg.video.folders import FPS, PictureStore
from nbpkg.video.pictures import list_pictures
from nbpkg.video.probe import MediaFacts, open_video, probe


@dataclass(frozen=True)
class ClipSource:
    """A video file or a folder of frames.

    Parameters
    ----------
    path
        Which.
    total
        Its frames.
    fps
        Frames per second; of a folder what was said when it was opened.
    facts
        Of a video; None for a folder.
    files
        Frames of a folder, in natural order.
    """

    path: Path
    total: int
    fps: Fraction
    facts: MediaFacts | None
    files: tuple[Path, ...] = ()

    def read(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read frames by number.

        Parameters
        ----------
        numbers
            From 0, in any order and shape, repeats allowed, e.g. from `nbpkg.datasets.people.sampling`.

        Returns
        -------
        ndarray
            uint8 RGB ``[numbers.size, H, W, 3]``. At the end of a video, a frame that cannot be decoded is as the last
            one that can.

        Raises
        ------
        MediaError
            When there is no such frame, frames differ in size, or the file is damaged.
        """
        wanted = numbers.reshape(-1)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.total):
            raise MediaError(
                f"Frame {int(wanted.min() if wanted.min() < 0 else wanted.max())} does not exist.",
                where=str(self.path),
                expected=f"Frame numbers 0 to {self.total - 1}.",
            )
        needed, place = np.unique(wanted, return_inverse=True)
        if self.facts is None:
            return PictureStore(self.files, fps=self.fps, path=self.path).frames(needed)[place]
        return np.stack(self._decode(self.facts, needed.tolist()))[place]

    def _decode(self, facts: MediaFacts, needed: list[int]) -> list[NDArray[np.uint8]]:
        recipe = Recipe(height=facts.height, fps=facts.fps, write_video=False)
        shrink = Shrinker(facts, recipe, size=(facts.height, facts.width))
        found: list[NDArray[np.uint8]] = []
        last = None
        with open_video(self.path) as (container, stream):
            for number, (_, frame) in enumerate(VideoReader(container, stream, facts)):
                last = frame
                if number == needed[len(found)]:
                    found.append(shrink(frame))
                    if len(found) == len(needed):
                        return found
            if last is None:
                raise MediaError("No frame of the video can be decoded.", where=str(self.path))
            return found + [shrink(last)] * (len(needed) - len(found))


def open_clip(path: Path, *, use_frames: bool = False, pattern: str = "*", fps: Fraction = FPS) -> ClipSource:
    """Open a video file or a folder of frames.

    Parameters
    ----------
    path
        Which.
    use_frames
        Whether it is a folder of frames; said explicitly, so that a wrong path is noticed.
    pattern
        Names of the frames in the folder, e.g. ``img_*.jpg``: where the pictures of optical flow lie beside them, they
        are no frames.
    fps
        Frames per second of a folder.

    Returns
    -------
    ClipSource
        With the number of frames; other files of a folder do not count.

    Raises
    ------
    MediaError
        When there is no such file or folder, it is the other of the two, or holds no frame.

    Source
    ------
    mmaction2 0.24.1, ``demo_gradcam``, which counts every entry of the folder as a frame.
    """
    if not path.exists():
        raise MediaError(f"There is no {path.name!r}.", where=str(path.parent), remedy="Correct the path.")
    if path.is_dir() != use_frames:
        raise MediaError(
            f"{path.name!r} is a {'folder' if path.is_dir() else 'file'}.",
            where=str(path.parent),
            expected="A folder of frames." if use_frames else "A video file.",
            remedy="Say whether frames are to be used, or correct the path.",
        )
    if not use_frames:
        facts = probe(path)
        return ClipSource(path, facts.frames, facts.fps, facts)
    files = tuple(file for file in list_pictures(path) if fnmatch(file.name, pattern))
    if not files:
        raise MediaError(
            f"No picture is named {pattern!r}.",
            where=str(path),
            expected=f"Names as {list_pictures(path)[0].name!r}.",
            remedy="Correct the pattern.",
        )
    return ClipSource(path, len(files), fps, None, files)
