"""People's maps against machines' maps, controls and each other: table ``comparisons``.

Every painter is left out once. The mean of the other painters' maps is the *reference*; the machines, the controls and
the painter left out are all held against this same reference, and values are averaged over the painters left out. Thus
the human ceiling (how near a person comes to the others) and the score of a machine answer the same question. Each map
of a painter is scaled to a maximum of 1 over the clip before it is averaged: one who paints faintly counts as much.

A painter whose map of the snippet is 0 throughout has no map of it and is left out of both sides. With a single painter
the reference is that painter's map, and the human ceiling is unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg import progress
from nbpkg.attention.comparing import controls
from nbpkg.attention.comparing.measures import MEASURES, Level, Options, measure_maps
from nbpkg.attention.comparing.resample import prepare_map
from nbpkg.attention.comparing.similarity import fixated_pixels, mean_of_frames
from nbpkg.errors import ExplainError
from nbpkg.runs.files import digest, new_file

Array = NDArray[np.float64]
Map = NDArray[np.float32]
Key = tuple[str, str, str]  # source, method, condition
COLUMNS = [
    "snippet_id", "session", "task", "variable", "label", "source", "method", "condition", "metric", "level", "value",
    "frames", "frames_defined", "references",
]  # fmt: skip
_OF_SNIPPET, _OF_MAP = COLUMNS[:5], COLUMNS[5:8]
_NUMBERS = {"label": "int64", "value": "float64", "frames": "int64", "frames_defined": "int64", "references": "int64"}
HUMAN: Key = ("human", "", "")


def compare_snippets(
    snippets: pd.DataFrame,
    human: Callable[[str], Mapping[str, ArrayLike]],
    *,
    machine: Callable[[str], Mapping[Key, ArrayLike]],
    frames: Callable[[str], ArrayLike],
    options: Options,
    folder: Path,
    seed: int,
) -> pd.DataFrame:
    """Compare the maps of all painted snippets, keeping each finished snippet.

    Parameters
    ----------
    snippets
        Table ``snippets``; those that nobody painted give no rows.
    human
        From a snippet's name to each painter's map ``[T, H, W]`` of the whole picture, at least 0. Called once for
        each snippet.
    machine
        From a snippet's name to machines' maps ``[t, h, w]`` of the central square, of any size, with t at most T; keys
        are source, method and condition. Called only for snippets that are not finished yet.
    frames
        From a snippet's name to the painted frames, uint8 RGB ``[T, H, W, 3]``. Called as `machine`.
    options
        See `nbpkg.attention.comparing.measures.Options`.
    folder
        Where each finished snippet is kept, in a file named by the hash of its row, the options, the seed and all human
        maps. The machines' maps are not in the hash: give each set of these its own folder.
    seed
        The experiment's seed, for the choice of other snippets.

    Returns
    -------
    pandas.DataFrame
        Table ``comparisons``, in the order of `snippets`.

    Raises
    ------
    ExplainError
        When maps of one snippet do not fit each other, or are not finite.
    """
    names = [str(name) for name in snippets["snippet_id"]]
    people = {name: prepare_humans(human(name), options.size) for name in names}
    painted = {name: maps for name, maps in people.items() if maps}
    others = controls.choose_others(snippets, list(painted), seed=seed)
    elsewhere = count_fixations_elsewhere(painted, options)
    shared = {"options": asdict(options), "seed": seed, "maps": _hash_maps(painted)}
    tables = []
    rows = [{str(k): v for k, v in row.items()} for row in snippets.to_dict("records") if row["snippet_id"] in painted]
    for row in progress.track(rows, "compare", unit="snippet"):
        name = str(row["snippet_id"])
        own = {column: str(row[column]) for column in _OF_SNIPPET}
        path = folder / f"{digest({**shared, 'snippet': own})[:16]}.csv"
        if not path.is_file():
            count = len(next(iter(painted[name].values())))
            candidates = _list_candidates(machine(name), frames(name), count=count, options=options)
            other = others[name]
            candidates["other snippet", "", ""] = None if other is None else average_maps(painted[other])
            found = compare_snippet(
                row, painted[name], candidates=candidates, options=options, negatives=elsewhere[name]
            )
            _keep(found, path)
        tables.append(_read_kept(path))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS).astype(_NUMBERS)


def compare_snippet(
    snippet: Mapping[str, object],
    humans: Mapping[str, ArrayLike],
    *,
    candidates: Mapping[Key, ArrayLike | None],
    options: Options,
    negatives: ArrayLike | None,
) -> pd.DataFrame:
    """Compare the maps of one snippet.

    Parameters
    ----------
    snippet
        A row of table ``snippets``.
    humans
        Each painter's map, ``[T, S, S]`` as `prepare_map` gives it; not 0 throughout.
    candidates
        What is compared, ``[T, S, S]`` likewise, by source, method and condition; None where there is no such map.
    options
        See `nbpkg.attention.comparing.measures.Options`.
    negatives
        ``[S, S]``, how often each pixel was fixated in other snippets; None when there is no other.

    Returns
    -------
    pandas.DataFrame
        Rows of table ``comparisons``: each candidate in order, then ``human``. ``value`` is the mean over the painters
        left out (of level ``frame``: of their means over defined frames). ``frames`` counts the frames compared, T for
        each painter left out, and ``frames_defined`` those that entered the value; a frame that a reference leaves
        unpainted is undefined. ``references`` counts the references that entered; with one painter the row of source
        ``human`` is NaN with 0 references.

    Raises
    ------
    ExplainError
        When there is no painter, or the maps do not fit each other.
    """
    if not humans:
        raise ExplainError("There is no human map.", where=str(snippet["snippet_id"]), remedy="Have it painted first.")
    references, left_out = leave_one_out(humans)
    present = {key: np.asarray(values) for key, values in candidates.items() if values is not None}
    found: dict[Key, dict[tuple[str, Level], Array]] = {}
    if present:
        every = measure_maps(
            references[:, None], np.stack(list(present.values())), options=options, negatives=negatives
        )
        for place, key in enumerate(present):
            found[key] = {measure: values[:, place] for measure, values in every.items()}
    if left_out is not None:
        found[HUMAN] = measure_maps(references, left_out, options=options, negatives=negatives)
    own = {name: snippet[name] for name in _OF_SNIPPET}
    frames = references.shape[0] * references.shape[1]
    rows = [
        {**own, **dict(zip(_OF_MAP, key, strict=True)), "metric": metric, "level": level, "frames": frames}
        | _summarise(found[key][metric, level] if key in found else None, level, references.shape[1])
        for key in [*candidates, HUMAN]
        for metric, measure in MEASURES.items()
        for level in measure.levels
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def leave_one_out(humans: Mapping[str, ArrayLike]) -> tuple[Array, Array | None]:
    """Leave each painter out once.

    Parameters
    ----------
    humans
        Each painter's map ``[T, S, S]``, at least 0, not 0 throughout.

    Returns
    -------
    references : ndarray
        float64 ``[R, T, S, S]``: for each painter the mean of the others' maps, each scaled to a maximum of 1.
    left_out : ndarray or None
        float64 ``[R, T, S, S]``: the painters' own maps. None with a single painter, whose map is then the reference.

    Examples
    --------
    >>> references, left_out = leave_one_out({"a": np.full((1, 1, 2), 2.0), "b": np.array([[[0.0, 5.0]]])})
    >>> references.ravel().tolist(), left_out.ravel().tolist()
    ([0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0])
    """
    maps = _stack_scaled(humans)
    if len(maps) == 1:
        return maps, None
    return (maps.sum(axis=0) - maps) / (len(maps) - 1), maps


def average_maps(humans: Mapping[str, ArrayLike]) -> Map:
    """Average painters' maps ``[T, S, S]``, each scaled to a maximum of 1 first; float32."""
    mean: Map = _stack_scaled(humans).mean(axis=0).astype(np.float32)
    return mean


def prepare_humans(maps: Mapping[str, ArrayLike], size: int) -> dict[str, Map]:
    """Bring painters' maps ``[T, H, W]`` to the common size, in order of name; leave out those of 0 throughout."""
    arrays = {painter: np.asarray(maps[painter]) for painter in sorted(maps)}
    ready = {name: prepare_map(array, size, kind="human", frames=len(array)) for name, array in arrays.items()}
    return {name: values for name, values in ready.items() if values.any()}


def count_fixations_elsewhere(
    people: Mapping[str, Mapping[str, ArrayLike]], options: Options
) -> dict[str, Array | None]:
    """Count how often each pixel is fixated in the other snippets: the negatives of the shuffled area.

    Parameters
    ----------
    people
        Snippet to painters' maps ``[T, S, S]``.
    options
        See `nbpkg.attention.comparing.measures.Options`.

    Returns
    -------
    dict
        Snippet to float64 ``[S, S]``, frames of all other snippets in which the pixel is fixated in the mean of the
        painters' maps; None when there is no other snippet.
    """
    counts = {}
    for name, maps in people.items():
        mean = average_maps(maps)
        marked = fixated_pixels(mean.reshape(len(mean), -1), options.top)
        counts[name] = marked.sum(axis=0).reshape(mean.shape[1:]).astype(np.float64)
    total = np.sum(list(counts.values()), axis=0)
    return {name: total - own if len(counts) > 1 else None for name, own in counts.items()}


def _stack_scaled(humans: Mapping[str, ArrayLike]) -> Array:
    maps = [np.asarray(values, np.float64) for values in humans.values()]
    if len({values.shape for values in maps}) > 1:
        raise ExplainError(
            f"Painters' maps of one snippet have the shapes {', '.join(str(values.shape) for values in maps)}.",
            expected="One shape.",
            remedy="Paint the same frames of the same video, or leave the other painting out.",
        )
    return np.stack([values / values.max() for values in maps])


def _summarise(values: Array | None, level: Level, frames: int) -> dict[str, object]:
    """Average values ``[R, T]`` of frames, or ``[R]`` of clips, and count what entered."""
    if values is None:
        return {"value": np.nan, "frames_defined": 0, "references": 0}
    of_painters, count = mean_of_frames(values) if level == "frame" else (values, frames * ~np.isnan(values))
    mean, references = mean_of_frames(of_painters)
    return {"value": float(mean), "frames_defined": int(count.sum()), "references": int(references)}


def _list_candidates(
    machine: Mapping[Key, ArrayLike], frames: ArrayLike, *, count: int, options: Options
) -> dict[Key, Map | None]:
    """Bring the machines' maps to the common size, and add the controls that need no other snippet."""
    size = options.size
    result: dict[Key, Map | None] = {
        key: prepare_map(values, size, kind="machine", frames=count) for key, values in machine.items()
    }
    result["uniform", "", ""] = controls.uniform_map(count, size)
    result["centre", "", ""] = controls.centre_map(count, size, sigma=options.centre)
    result["motion", "", ""] = controls.motion_map(frames, size)
    return result


def _hash_maps(people: Mapping[str, Mapping[str, Map]]) -> str:
    """Hash all human maps: those of one snippet also serve as the other snippets' controls."""
    total = hashlib.sha256()
    for name, maps in sorted(people.items()):
        for painter, values in maps.items():
            total.update(f"{name}/{painter}/{values.shape}".encode())
            total.update(np.ascontiguousarray(values).data)
    return total.hexdigest()


def _keep(table: pd.DataFrame, path: Path) -> None:
    with new_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


def _read_kept(path: Path) -> pd.DataFrame:
    """Read what `_keep` wrote."""
    kinds = {name: _NUMBERS.get(name, "str") for name in COLUMNS}
    undefined = {"value": ["", "nan"]}
    return pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=undefined)  # type: ignore[call-overload,no-any-return]
