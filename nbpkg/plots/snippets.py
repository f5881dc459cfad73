"""Figures and films behind the pickers of 07 and 08: everything there is about one snippet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nbpkg.attention.comparing.comparison import average_maps
from nbpkg.attention.comparing.gather import Map, machine_maps, painted_frames
from nbpkg.attention.comparing.resample import central_square
from nbpkg.attention.maps import METHOD_FACTS
from nbpkg.attention.painting.strokes import Painting
from nbpkg.plots.frames import veil_crops
from nbpkg.plots.overlay import show_maps, side_by_side
from nbpkg.plots.painting import painted_snippet
from nbpkg.video.film import write_film
from nbpkg.video.frames import FrameStore

Stores = Mapping[str, FrameStore]
People = Mapping[str, Mapping[str, Map]]
FILM_HEIGHT = 220
PEOPLE = "people"


def painted(
    snippets: pd.DataFrame,
    paintings: Mapping[str, Painting],
    maps: People,
    stores: Stores,
    answers: pd.DataFrame,
    snippet_id: str,
    *,
    privacy: str,
) -> Figure:
    """Show what every painter painted of one snippet, and answered.

    Parameters
    ----------
    snippets, answers
        The tables of the same names.
    paintings
        Snippet to a painting of it, which says which frames were painted.
    maps
        Snippet to painter to map ``[T, H, W]`` of the whole picture.
    stores
        Open frame store of each session; of one that holds crops of faces, pictures are veiled more coarsely.
    snippet_id
        The snippet.
    privacy
        See `nbpkg.plots.frames.veil`.
    """
    (row,) = snippets[snippets["snippet_id"] == snippet_id].to_dict("records")
    named = {str(name): value for name, value in row.items()}
    frames = painted_frames(stores, paintings, snippet_id)
    shown = _fit_privacy(privacy, stores, paintings[snippet_id])
    return painted_snippet(named, frames, maps[snippet_id], answers, privacy=shown)


def compared(
    maps: pd.DataFrame,
    folder: Path,
    people: People,
    stores: Stores,
    paintings: Mapping[str, Painting],
    snippet_id: str,
    *,
    privacy: str,
) -> Figure:
    """Show the maps of the people and of every method for one snippet, for the class on which the raters agree.

    Parameters
    ----------
    maps
        Table ``maps``.
    folder
        Run folder that holds its files.
    people
        Snippet to painter to map ``[T, H, W]`` of the whole picture.
    stores, paintings, snippet_id, privacy
        As in `painted`.
    """
    shown = _all_maps(maps, folder, people, snippet_id)
    frames = central_square(painted_frames(stores, paintings, snippet_id).swapaxes(1, 3)).swapaxes(1, 3)
    own = _fit_privacy(privacy, stores, paintings[snippet_id])
    return show_maps(frames, shown, privacy=own, titles=_times(paintings[snippet_id]))


def write_films(
    maps: pd.DataFrame,
    folder: Path,
    people: People,
    stores: Stores,
    paintings: Mapping[str, Painting],
    snippets: Sequence[str],
    *,
    privacy: str,
) -> list[Path]:
    """Write a film of each snippet: the recording, the people's map and every method's, side by side.

    Parameters
    ----------
    maps, folder, people, stores, paintings, privacy
        As in `compared`; films go to ``<folder>/films/<snippet_id>.mp4``.
    snippets
        Of which to make films.
    """
    paths = []
    for name in snippets:
        frames = central_square(painted_frames(stores, paintings, name).swapaxes(1, 3)).swapaxes(1, 3)
        titles, shown = _times(paintings[name]), _all_maps(maps, folder, people, name)
        own = _fit_privacy(privacy, stores, paintings[name])
        pictures = side_by_side(frames, shown, privacy=own, height=FILM_HEIGHT, titles=titles)
        path = folder / "films" / f"{name}.mp4"
        length_ms = paintings[name].end_ms - paintings[name].start_ms
        write_film(pictures, path, fps=Fraction(1000 * len(pictures), length_ms))
        paths.append(path)
    return paths


def _all_maps(maps: pd.DataFrame, folder: Path, people: People, snippet_id: str) -> dict[str, NDArray[np.float32]]:
    """People's mean map first, then every method's for the consensus class."""
    found = machine_maps(maps, folder, snippet_id)
    own = {METHOD_FACTS[method].title: found[source, method, condition] for source, method, condition in found
           if (source, condition) == ("network", "matching")}  # fmt: skip
    squares = {painter: central_square(values) for painter, values in people[snippet_id].items()}
    return {PEOPLE: average_maps(squares), **own}


def _fit_privacy(privacy: str, stores: Stores, painting: Painting) -> str:
    """Veil crops of faces more coarsely than other pictures."""
    return veil_crops(privacy) if stores[painting.session].closeup else privacy


def _times(painting: Painting) -> list[str]:
    return [f"{(start - painting.start_ms) / 1000:.1f} s" for start in painting.frame_ms]
