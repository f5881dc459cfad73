"""What a session was recorded as, a video or a folder of pictures, under one interface for the preparation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from nbpkg.video.albums import Album, PictureRecipe, Source, ViewRecipe
from nbpkg.video.convert import Converted, Recipe, convert
from nbpkg.video.probe import MediaFacts, probe


class Recording(Protocol):
    """What `nbpkg.video.prepare` needs of a source; see `Album`, which has the same methods."""

    def look(self) -> MediaFacts:
        """Read headers only."""

    def probe(self) -> MediaFacts:
        """Read everything, with hash."""

    def recipe(self, recipe: Recipe, final: Path) -> Recipe | ViewRecipe:
        """Say what is to be made."""

    def convert(
        self, folder: Path, *, facts: MediaFacts, recipe: Recipe | ViewRecipe, tick: Callable[[float], None]
    ) -> Converted:
        """Make it in an empty folder."""


class Video:
    """A video file as a `Recording`.

    Parameters
    ----------
    source
        The file.
    decode_threads
        Threads of the decoder; 0 leaves it to FFmpeg.
    """

    def __init__(self, source: Path, *, decode_threads: int = 0) -> None:
        self.source, self.decode_threads, self._asked = source, decode_threads, Recipe()

    def look(self) -> MediaFacts:
        """Read the header only."""
        return probe(self.source, header_only=True)

    def probe(self) -> MediaFacts:
        """Read all packets, and hash the file."""
        return probe(self.source)

    def recipe(self, recipe: Recipe, final: Path) -> Recipe | ViewRecipe:  # noqa: ARG002 - an album needs it
        """Return what is to be made: what was asked for."""
        self._asked = recipe
        return recipe

    def convert(
        self,
        folder: Path,
        *,
        facts: MediaFacts,
        recipe: Recipe | ViewRecipe,  # noqa: ARG002 - what `recipe` returned
        tick: Callable[[float], None],
    ) -> Converted:
        """Write frame store and MP4 (see `nbpkg.video.convert.convert`)."""
        threads = self.decode_threads
        return convert(self.source, folder, facts=facts, recipe=self._asked, decode_threads=threads, tick=tick)


def open_recording(source: Source, pictures: PictureRecipe, *, decode_threads: int = 0) -> Recording:
    """Take a source for what it is: a folder or several files for pictures, anything else for a video.

    Parameters
    ----------
    source
        A video file, a picture folder, or picture files.
    pictures
        What becomes of pictures.
    decode_threads
        Threads of a video's decoder; 0 leaves it to FFmpeg.

    Raises
    ------
    MediaError
        When a picture folder holds no pictures.
    """
    if isinstance(source, Path) and not source.is_dir():
        return Video(source, decode_threads=decode_threads)
    return Album(source, pictures)
