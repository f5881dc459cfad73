"""The pictures of one session, prepared: a view that only names them, or a frame store with a copy of each."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nbpkg.errors import MediaError, SettingsError
from nbpkg.video.convert import VIDEO, Converted, Film, Recipe, target_size
from nbpkg.video.folders import (
    FPS,
    Picture,
    PictureStore,
    hash_pictures,
    index_pictures,
    raise_together,
    write_index,
)
from nbpkg.video.frames import StoreHeader, StoreWriter
from nbpkg.video.pictures import check_picture, list_pictures, read_size, shrunk_size
from nbpkg.video.probe import MediaFacts

Source = Path | tuple[Path, ...]


@dataclass(frozen=True)
class PictureRecipe:
    """What becomes of sessions that are picture folders.

    Parameters
    ----------
    keep
        ``view``: an index, the originals are read; ``store``: a frame store, scaled as videos are; ``auto``: a store
        where all pictures of the session have one size, else a view.
    fps
        Pictures per second. No picture is left out or repeated.
    longest
        Longer side, pixels, to which the larger pictures of a view are resized when decoded; 0 for none.

    Raises
    ------
    SettingsError
        When a value cannot be used.
    """

    keep: Literal["auto", "view", "store"] = "auto"
    fps: Fraction = FPS
    longest: int = 0

    def __post_init__(self) -> None:
        good = self.keep in ("auto", "view", "store") and isinstance(self.fps, Fraction) and self.fps > 0
        if not good or self.longest < 0:
            raise SettingsError(
                f"Picture folders cannot be prepared with {self}.",
                expected="keep auto, view or store; an exact positive fraction as rate; longest 0 or more.",
                remedy="Correct the values in the parameter file.",
            )


@dataclass(frozen=True)
class ViewRecipe:
    """What a view was asked to be.

    Parameters
    ----------
    fps, longest
        As in `PictureRecipe`.
    folder
        The way from the session's folder to the pictures, with ``/``; when they are moved, the view is made again.
    """

    fps: Fraction
    longest: int
    folder: str


class Album:
    """The picture files of one session and what is to become of them.

    Parameters
    ----------
    source
        The picture folder, or files anywhere below one folder in the order wanted.
    how
        What becomes of it.

    Raises
    ------
    MediaError
        When there are no pictures.
    """

    def __init__(self, source: Source, how: PictureRecipe) -> None:
        self.files = list_pictures(source) if isinstance(source, Path) else list(source)
        if not self.files:
            raise MediaError("A session has no picture files.", remedy="Name at least one picture, or leave it out.")
        self.base = place_of(source)
        self.how = how
        self._pictures: list[Picture] = []
        self._even = True

    def look(self) -> MediaFacts:
        """Read all headers, not the pixels: what the pictures are, without hash.

        Raises
        ------
        MediaError
            When files cannot be read; all are named.
        """
        sizes, broken = [], []
        for file in self.files:
            try:
                sizes.append(read_size(file))
            except MediaError as error:
                broken.append(error)
        raise_together(broken, self.base)
        return self._facts(sizes, sum(file.stat().st_size for file in self.files), "")

    def probe(self) -> MediaFacts:
        """Read all files: what the pictures are, with one hash over names, order and bytes.

        Raises
        ------
        MediaError
            As in `look`.
        """
        self._pictures = index_pictures(self.files, self.base)
        sizes = [(one.height, one.width) for one in self._pictures]
        return self._facts(sizes, sum(one.bytes for one in self._pictures), hash_pictures(self._pictures))

    def recipe(self, recipe: Recipe, final: Path) -> Recipe | ViewRecipe:
        """Return what is to be made, a store or a view; `look` or `probe` must have seen the sizes.

        Parameters
        ----------
        recipe
            What is made of videos.
        final
            Folder of the session; a view names its pictures from there.
        """
        if self.how.keep == "store" or (self.how.keep == "auto" and self._even):
            return replace(recipe, fps=self.how.fps)
        start, end = final.parent.resolve() / final.name, self.base.resolve()
        same_drive = start.drive == end.drive
        way = os.path.relpath(end, start) if same_drive else str(end)
        return ViewRecipe(self.how.fps, self.how.longest, Path(way).as_posix())

    def convert(
        self, folder: Path, *, facts: MediaFacts, recipe: Recipe | ViewRecipe, tick: Callable[[float], None]
    ) -> Converted:
        """Make view or store in an empty folder, decoding each picture once.

        Parameters
        ----------
        folder
            Existing folder.
        facts, recipe
            What `probe` and `recipe` said.
        tick
            Called with the seconds of pictures done since the last call.

        Raises
        ------
        MediaError
            When pictures are damaged, or differ in size and are to be a store.
        """
        if isinstance(recipe, ViewRecipe):
            return self._make_view(folder, facts, recipe, tick)
        return self._make_store(folder, facts, recipe, tick)

    def _facts(self, sizes: list[tuple[int, int]], size: int, sha256: str) -> MediaFacts:
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        self._even = len(set(sizes)) == 1
        endings = sorted({file.suffix.lower().lstrip(".") for file in self.files})
        return MediaFacts(
            container="pictures",
            codec=" ".join(endings),
            fps=self.how.fps,
            frames=len(sizes),
            frames_from="packets",
            width=width,
            height=height,
            pixel_aspect=Fraction(1),
            rotation=0,
            start=Fraction(0),
            delay=Fraction(0),
            duration=len(sizes) / self.how.fps,
            variable_rate=False,
            has_sound=False,
            bytes=size,
            sha256=sha256,
        )

    def _make_view(
        self, folder: Path, facts: MediaFacts, recipe: ViewRecipe, tick: Callable[[float], None]
    ) -> Converted:
        broken = []
        for file in self.files:
            try:
                check_picture(file.read_bytes(), file)
            except MediaError as error:
                broken.append(error)
            tick(float(1 / recipe.fps))
        raise_together(broken, self.base)
        index = write_index(folder, self._pictures, base=recipe.folder, fps=recipe.fps, longest=recipe.longest)
        sizes = [shrunk_size((one.height, one.width), recipe.longest) for one in self._pictures]
        height, width = (max(sides) for sides in zip(*sizes, strict=True))
        shape = (len(self.files), height, width, 3)
        header = StoreHeader("view", shape, recipe.fps, index.stat().st_size, facts.sha256)
        return Converted(header, len(self.files))

    def _make_store(self, folder: Path, facts: MediaFacts, recipe: Recipe, tick: Callable[[float], None]) -> Converted:
        size = target_size(facts, recipe)
        store = PictureStore(self.files, fps=recipe.fps, facts=self._pictures, path=self.base)
        _ = store.shape  # refuses pictures of different size before anything is written
        writer = StoreWriter(folder, size, fps=recipe.fps, encoding=recipe.encoding, jpeg_quality=recipe.jpeg_quality)
        film = Film(folder / VIDEO, facts, recipe, size=size) if recipe.write_video else None
        broken = []
        try:
            for number in range(len(store)):
                tick(float(1 / recipe.fps))
                try:
                    pixels = _scale(store.picture(number), size)
                except MediaError as error:
                    broken.append(error)
                    continue
                writer.add(pixels)
                if film:
                    film.add(pixels)
            raise_together(broken, self.base)
            if film:
                film.finish()
            return Converted(writer.finish(), len(store))
        finally:
            writer.close()
            if film:
                film.close()


def place_of(source: Source) -> Path:
    """Return the folder that pictures lie in, or under."""
    return source if isinstance(source, Path) else Path(os.path.commonpath([file.parent for file in source]))


def _scale(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a picture to ``(height, width)``; bicubic that widens its kernel when it shrinks, as for videos."""
    if pixels.shape[:2] == size:
        return pixels
    return np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
