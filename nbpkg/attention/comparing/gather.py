"""What is compared: painters' maps from their strokes, machines' maps from their files, and the frames."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.attention.comparing.measures import Options
from nbpkg.attention.maps import METHOD_FACTS, read_map
from nbpkg.attention.painting.pictures import Clip, read_pictures
from nbpkg.attention.painting.raster import rasterise
from nbpkg.attention.painting.reference_brush import rasterise_published
from nbpkg.attention.painting.strokes import Painting
from nbpkg.errors import PaintingError
from nbpkg.settings.attention import CompareSettings
from nbpkg.video.clips import find_frames
from nbpkg.video.frames import FrameStore

Map = NDArray[np.float32]
Key = tuple[str, str, str]  # source, method, condition
FINER = 5  # pixels of a painted map for each cell compared, as in the published 160 to 32


def paint_maps(paintings: Iterable[Painting], *, size: int, published: bool = False) -> dict[str, dict[str, Map]]:
    """Turn strokes into maps.

    Parameters
    ----------
    paintings
        Submitted paintings; others are left out.
    size
        Cells along the short side at which maps will be compared; maps are `FINER` times finer.
    published
        Use the published brush (`nbpkg.attention.painting.reference_brush`).

    Returns
    -------
    dict
        Snippet to painter to float32 ``[T, H, W]`` of the whole picture, 0 to 1.
    """
    result: dict[str, dict[str, Map]] = {}
    for painting in paintings:
        if painting.state != "done":
            continue
        short = min(painting.width, painting.height)
        height, width = (max(1, round(FINER * size * side / short)) for side in (painting.height, painting.width))
        shape, shown = (len(painting.frame_ms), height, width), (painting.width, painting.height)
        paint = rasterise_published if published else rasterise
        result.setdefault(painting.snippet_id, {})[painting.painter] = paint(painting.strokes, shape=shape, size=shown)
    return result


def average_places(
    maps: Mapping[str, Mapping[str, Map]], snippets: pd.DataFrame
) -> tuple[dict[str, Map], dict[str, int]]:
    """Average painted maps over painters, time and the snippets of one task, variable and label.

    Parameters
    ----------
    maps
        From `paint_maps`.
    snippets
        Table ``snippets``.

    Returns
    -------
    means, counts
        Name of the kind of snippet to the mean map ``[H, W]``, and to the number of paintings in it. Pictures of other
        proportions than the first are stretched.
    """
    kinds: dict[str, list[Map]] = {}
    height, width = next((own.shape[1:] for found in maps.values() for own in found.values()), (1, 1))
    for row in snippets.sort_values(["task", "variable", "label"], kind="stable").itertuples():
        kind = f"{row.task} · {row.variable} · {'yes' if row.label else 'no'}"
        means_of = [values.mean(axis=0) for values in maps.get(str(row.snippet_id), {}).values()]
        kinds.setdefault(kind, []).extend(cv2.resize(mean, (width, height)) for mean in means_of)
    means = {kind: np.mean(own, axis=0) for kind, own in kinds.items() if own}
    return means, {kind: len(kinds[kind]) for kind in means}


def machine_maps(maps: pd.DataFrame, folder: Path, snippet_id: str) -> dict[Key, Map]:
    """Read the maps of one snippet, what speaks for the class: values below 0 of signed methods become 0.

    Parameters
    ----------
    maps
        Table ``maps``.
    folder
        Run folder that holds its files.
    snippet_id
        The snippet.

    Returns
    -------
    dict
        ``(source, method, condition)`` to float32 ``[t, h, w]``, as coarse as the method gives it. Methods whose map
        says of no place more than of another, which a random network may give, are constant.

    Raises
    ------
    ExplainError
        When a file is damaged.
    """
    found = {}
    for row in maps[maps["snippet_id"] == snippet_id].to_dict("records"):
        named = {str(name): value for name, value in row.items()}
        values = read_map(folder, named)
        signed = METHOD_FACTS[str(named["method"])].signed
        found[str(named["source"]), str(named["method"]), str(named["condition"])] = (
            values.clip(0) if signed else values
        )
    return found


def painted_frames(
    stores: Mapping[str, FrameStore], paintings: Mapping[str, Painting], snippet_id: str
) -> NDArray[np.uint8]:
    """Read the frames that were painted, as prepared, uint8 RGB ``[T, H, W, 3]``."""
    painting = paintings[snippet_id]
    store = stores[painting.session]
    middles = np.asarray(painting.frame_ms) + 1  # a frame is shown from its start on; the start is rounded down
    numbers = middles * store.fps.numerator // (1000 * store.fps.denominator)
    return store.frames(np.minimum(numbers, len(store) - 1))


def snippet_clip(
    snippets: pd.DataFrame,
    stores: Mapping[str, FrameStore],
    snippet_id: str,
    *,
    sources: Mapping[str, Path],
    frames: int,
    longest: int,
) -> Clip:
    """Read the pictures of one snippet for its painter: the frames a network sees, as large as the source has them.

    Parameters
    ----------
    snippets
        Table ``snippets``.
    stores
        Open frame store of each session.
    snippet_id
        The snippet.
    sources
        Video of each session that has one.
    frames
        Frames of a snippet.
    longest
        Longest side of the pictures, pixels.
    """
    (row,) = snippets[snippets["snippet_id"] == snippet_id].to_dict("records")
    store = stores[str(row["session"])]
    numbers, _ = find_frames(store, int(row["start_ms"]), int(row["end_ms"]), count=frames)
    return read_pictures(sources.get(str(row["session"])), store, numbers=numbers, longest=longest)


def compare_options(settings: CompareSettings) -> Options:
    """Return what the measures need to know."""
    return Options(
        size=settings.size,
        transport_size=settings.transport_size,
        top=settings.top_share,
        tolerance=settings.tolerance,
        floor=settings.floor,
        centre=settings.centre,
    )


def select_painted(
    snippets: pd.DataFrame, people: Mapping[str, object], pairs: Collection[tuple[str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take the snippets that somebody painted and that have a network, and say why others are left out.

    Parameters
    ----------
    snippets
        Table ``snippets``.
    people
        Keys are the snippets that were painted.
    pairs
        Task and variable of each network.

    Returns
    -------
    snippets, dropped
        Rows of ``snippets``, and a table ``dropped``.

    Raises
    ------
    PaintingError
        When nothing is left.
    """
    pair = list(zip(snippets["task"], snippets["variable"], strict=True))
    reasons = [
        "nobody has painted it"
        if name not in people
        else "no network for its task and variable"
        if own not in pairs
        else ""
        for name, own in zip(snippets["snippet_id"], pair, strict=True)
    ]
    kept = snippets[[not reason for reason in reasons]].reset_index(drop=True)
    if kept.empty:
        raise PaintingError(
            f"None of the {len(snippets)} snippets can be compared.",
            expected="At least one that somebody has painted and submitted, and a network for its task and variable.",
            remedy="Paint in notebooks/07_paint_human_attention.ipynb, run it again from the top, then this one.",
        )
    left_out = [
        {"stage": "compare", "key": name, "rows": 1, "reason": reason}
        for name, reason in zip(snippets["snippet_id"], reasons, strict=True)
        if reason
    ]
    return kept, tables.from_rows(left_out, "dropped")


def spread_over(snippets: pd.DataFrame, count: int) -> pd.DataFrame:
    """Take rows at even distances: `count` of them, or all when it is 0 or more than there are.

    Examples
    --------
    >>> spread_over(pd.DataFrame({"snippet_id": list("abcde")}), 3)["snippet_id"].tolist()
    ['a', 'c', 'e']
    """
    if not 0 < count < len(snippets):
        return snippets
    return snippets.iloc[np.unique(np.linspace(0, len(snippets) - 1, count).round().astype(int))]
