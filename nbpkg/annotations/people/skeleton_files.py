"""Our own files of skeletons: arrays in an ``.npz``, all else in a ``.json`` beside it; neither can run anything."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nbpkg.annotations.people.skeletons import Skeleton
from nbpkg.errors import AnnotationError
from nbpkg.runs.files import new_file, write_json

FORMAT = "skeletons 1"


def write_skeletons(skeletons: Sequence[Skeleton], path: Path) -> Path:
    """Write skeletons with who is who.

    Parameters
    ----------
    skeletons
        Clips of different names.
    path
        Name of the ``.npz``; the ``.json`` beside it gets the same stem.

    Raises
    ------
    AnnotationError
        When two clips share a name, or the name does not end in ``.npz``.
    StageError
        When a file cannot be written.
    """
    names = [one.clip for one in skeletons]
    if path.suffix != ".npz" or len(set(names)) != len(names):
        wrong = "Two clips share a name." if path.suffix == ".npz" else f"Skeletons are not written to {path.name}."
        raise AnnotationError(wrong, where=str(path), expected="Clips of different names, a file ending in .npz.")
    arrays: dict[str, np.ndarray] = {}
    facts = []
    for number, one in enumerate(skeletons):
        arrays[f"{number}_keypoints"] = one.keypoints
        parts = {"scores": one.scores, "frames_kept": one.frames_kept}
        arrays |= {f"{number}_{key}": value for key, value in parts.items() if value is not None}
        facts.append(
            {
                "clip": one.clip,
                "shape": list(one.keypoints.shape),
                "size": list(one.size),
                "label": one.label,
                "tracks": list(one.tracks),
                "roles": list(one.roles),
            }
        )
    with new_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    write_json(path.with_suffix(".json"), {"format": FORMAT, "clips": facts})
    return path


def load_skeletons(path: Path) -> list[Skeleton]:
    """Read what `write_skeletons` wrote.

    Parameters
    ----------
    path
        The ``.npz``.

    Raises
    ------
    AnnotationError
        When one of the two files is missing or damaged, or they do not belong together.
    """
    try:
        facts: Any = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        _check_format(facts["format"])
        with np.load(path, allow_pickle=False) as arrays:
            return [_load_one(number, entry, arrays) for number, entry in enumerate(facts["clips"])]
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise AnnotationError(
            f"The skeletons cannot be read: {error}.",
            where=str(path),
            expected=f"{path.name} and {path.with_suffix('.json').name}, as they were written.",
            remedy="Make both files again.",
        ) from None


def _check_format(found: object) -> None:
    if found != FORMAT:
        raise ValueError(f"their format is {found!r}, not {FORMAT!r}")


def _load_one(number: int, entry: dict[str, Any], arrays: Any) -> Skeleton:
    points = arrays[f"{number}_keypoints"]
    if list(points.shape) != entry["shape"]:
        raise ValueError(f"{entry['clip']} has shape {points.shape}, not {entry['shape']}")
    extra = {key: f"{number}_{key}" for key in ("scores", "frames_kept")}
    found = {key: arrays.get(name) for key, name in extra.items()}
    return Skeleton(
        str(entry["clip"]),
        points,
        found["scores"],
        (int(entry["size"][0]), int(entry["size"][1])),
        int(entry["label"]),
        found["frames_kept"],
        tuple(map(int, entry["tracks"])),
        tuple(map(str, entry["roles"])),
    )
