"""Lists of clips in the two forms of the published programs, and from one to the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from nbpkg.annotations.people.lists import ListForm, read_list
from nbpkg.annotations.people.samples import Kind, name_inside, parse_labels, resolve_prefix
from nbpkg.errors import AnnotationError, raise_all
from nbpkg.runs.files import new_file

_KEYS = {"frames": "frame_dir", "video": "filename"}


def write_list(
    samples: pd.DataFrame, path: Path, *, prefix: str | Path | None = None, with_offset: bool = False
) -> Path:
    """Write a list of clips that the published programs, and `read_list`, can read.

    Parameters
    ----------
    samples
        Table of samples, all videos or all folders of pictures, in the order to write.
    path
        Ends in ``.json`` for JSON, else text.
    prefix
        Data folder; it is taken off the paths.
    with_offset
        Write the offset of each folder of pictures.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    AnnotationError
        When the form cannot express a row: no label, no number of frames, an offset that is not to be written, a path
        with a blank in a text list, or several kinds of clips.
    """
    kinds = sorted(set(samples["kind"]))
    if len(kinds) != 1 or kinds[0] not in _KEYS:
        raise AnnotationError(
            f"A list cannot hold {' and '.join(kinds) or 'no clip at all'}.",
            where=str(path),
            expected="Videos, or folders of pictures, at least one.",
            remedy="Write a list of each kind.",
        )
    folder = resolve_prefix(prefix)
    entries = [
        {_KEYS[kinds[0]]: name_inside(place, folder), "offset": offset, "total_frames": frames, "label": list(labels)}
        for place, offset, frames, labels in zip(
            samples["path"], samples["offset"], samples["frames"], parse_labels(samples["labels"]), strict=True
        )
    ]
    as_json = path.suffix == ".json"
    for row, entry in enumerate(entries, start=1):
        _check_entry(entry, kinds[0], f"{path}, row {row}", blanks=as_json, offsets=with_offset)
    unknown = {"offset"} if not with_offset else set()
    kept = [{key: value for key, value in entry.items() if key not in unknown and value != -1} for entry in entries]
    text = json.dumps(kept, ensure_ascii=False) + "\n" if as_json else "".join(map(_as_line, kept))
    with new_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_parts(clips: pd.DataFrame, folds: pd.DataFrame, folder: Path, *, kind: Kind) -> list[Path]:
    """Write the lists ``train``, ``val`` and ``test`` of a table of clips: the fold before the test fold is ``val``.

    Parameters
    ----------
    clips
        Table ``clips``.
    folds
        Table ``folds``.
    folder
        Where to; made if it is not there.
    kind
        What clips are. Clips that begin within a recording can be listed as folders of pictures only; those of videos
        are listed as JSON, with keys ``first_frame`` and ``total_frames`` that the published programs do not read.

    Returns
    -------
    list of pathlib.Path
        The lists that have clips.
    """
    folder.mkdir(parents=True, exist_ok=True)
    joined = clips.merge(folds[["session", "fold"]], on="session")
    last = int(joined["fold"].max())
    part = joined["fold"].map(lambda fold: "test" if fold == last else "val" if fold == last - 1 else "train")
    rows = joined.assign(kind=kind, offset=joined["first"], labels=joined["label"].astype("str"))
    inside = bool((rows["offset"] > 0).any())
    made = []
    for name in ("train", "val", "test"):
        own = rows[part == name]
        if own.empty:
            continue
        path = folder / f"{name}_list.{'json' if inside and kind == 'video' else 'txt'}"
        if path.suffix == ".json":
            _write_windows(own, path)
        else:
            write_list(own.assign(frames=-1) if kind == "video" else own, path, with_offset=inside)
        made.append(path)
    return made


def _write_windows(rows: pd.DataFrame, path: Path) -> None:
    """Write windows of videos, which no published list can express."""
    named = {"path": "filename", "first": "first_frame", "frames": "total_frames"}
    listed = rows.rename(columns=named)[[*named.values(), "label"]].to_dict("records")
    entries = [{**entry, "label": [entry["label"]]} for entry in listed]
    with new_file(path) as temporary:
        temporary.write_text(json.dumps(entries, ensure_ascii=False) + "\n", encoding="utf-8")


def convert_list(source: Path, target: Path, form: ListForm) -> Path:
    """Turn a text list into a JSON list or the other way round, paths as they are.

    Parameters
    ----------
    source
        The list to read; ends in ``.json`` for JSON.
    target
        The list to write; ends in ``.json`` for JSON.
    form
        How `source` is written.

    Raises
    ------
    AnnotationError
        Listing every line of `source` that cannot be used, or naming the row that `target` cannot express.

    Source
    ------
    open-mmlab/mmaction2, ``tools/data/anno_txt2json.py``, one way only.
    """
    samples, problems = read_list(source, form)
    raise_all(problems, AnnotationError, summary="the list cannot be converted")
    return write_list(samples, target, with_offset=form.with_offset)


def _check_entry(entry: dict[str, Any], kind: str, where: str, *, blanks: bool, offsets: bool) -> None:
    """Refuse what the form cannot express, which would be read as something else."""
    place = str(entry[_KEYS[kind]])
    wrong = ""
    if not entry["label"]:
        wrong = f"{place} has no label."
    elif kind == "frames" and entry["total_frames"] < 1:
        wrong = f"The number of frames of {place} is unknown."
    elif entry["offset"] and not (offsets and kind == "frames"):
        wrong = f"{place} begins at frame {entry['offset']}, which the list would not say."
    elif not blanks and place.split() != [place]:
        wrong = f"The path {place!r} has a blank."
    if wrong:
        raise AnnotationError(
            wrong,
            where=where,
            expected="What every line of such a list says.",
            remedy="Choose another form of list, or correct the samples.",
        )


def _as_line(entry: dict[str, Any]) -> str:
    tokens = [
        token for value in entry.values() for token in (map(str, value) if isinstance(value, list) else [str(value)])
    ]
    return " ".join(tokens) + "\n"
