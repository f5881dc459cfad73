"""The JSON files of Gaze-LLE: lists of pictures with heads (GazeFollow), or of clips whose frames have them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.judge import judge_boxes
from nbpkg.annotations.gaze.lookup import PictureIndex, natural_key, plain_name, report_missing
from nbpkg.annotations.gaze.rows import BOX, Compat, drop_repeats, finish, join_flags, report_flags
from nbpkg.annotations.gaze.smoothing import smooth_boxes
from nbpkg.errors import AnnotationError, Problem
from nbpkg.runs.files import new_file

Form = Literal["pictures", "video"]
NAME = "{split}_preprocessed.json"


def export_gazelle(
    table: pd.DataFrame, *, form: Form, root: str = "", compat: Compat = "none"
) -> dict[str, list[dict[str, Any]]]:
    """Bring table ``gaze`` into the form of Gaze-LLE's preprocessed lists.

    Parameters
    ----------
    table
        Table ``gaze``. Rows without box and rows whose ``inside`` is unknown are left out.
    form
        ``pictures``: one entry per picture, heads in order of the persons, every annotator's point (GazeFollow).
        ``video``: one entry per picture folder, boxes smoothed over 11 frames.
    root
        Folder of the data set within the data folder; it is taken off the paths.
    compat
        ``reference`` smooths over rows (see `smooth_boxes`).

    Returns
    -------
    dict
        Part of the official list -> entries in order of their paths. Boxes are cut to the picture; a gaze point outside
        the frame is written as the table has it, or as -1 where it has none.
    """
    rows = smooth_boxes(table, compat=compat) if form == "video" else table
    rows = rows[rows["x0"].notna() & (rows["inside"] >= 0) & (rows["width"] > 0) & (rows["valid"] == 1)]
    rows = rows.assign(image=[_relative(image, root) for image in rows["image"]])
    ranks = {name: _rank(rows[name]) for name in ("person", "rater")}
    rows = rows.assign(folder=rows["image"].str.rpartition("/")[0], **ranks).sort_values(
        ["split", "folder", "image", "person", "rater"] if form == "video" else ["split", "image", "person", "rater"],
        kind="stable",
    )
    lists = {}
    for split, part in rows.groupby("split", sort=True):
        heads = _list_heads(part)
        # only the test part has several annotators, and only there the published lists count them
        lists[str(split)] = list(_list_clips(heads) if form == "video" else _list_pictures(heads, split == "test"))
    return lists


def write_gazelle(
    table: pd.DataFrame, folder: Path, *, form: Form, root: str = "", compat: Compat = "none"
) -> pd.DataFrame:
    """Write `export_gazelle`'s lists as ``<split>_preprocessed.json``.

    Returns
    -------
    pandas.DataFrame
        file, rows written, left_out.

    Raises
    ------
    StageError
        When a file cannot be written.
    """
    rows = []
    for split, entries in export_gazelle(table, form=form, root=root, compat=compat).items():
        path = folder / NAME.format(split=split or "all")
        with new_file(path) as temporary:
            temporary.write_text(json.dumps(entries) + "\n", encoding="utf-8")
        frames = [one for entry in entries for one in entry.get("frames", [entry])]
        written = sum(len(head["gazex"]) for frame in frames for head in frame["heads"])
        rows.append((path.name, written, int((table["split"] == split).sum()) - written))
    return pd.DataFrame(rows, columns=["file", "rows", "left_out"])


def read_gazelle(
    path: Path, *, pictures: PictureIndex, split: str = "", root: str = "", dataset: str = ""
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read one of Gaze-LLE's preprocessed lists, of either form.

    The format names no persons across frames, so heads are numbered within each frame, and each frame is a segment of
    its own: nothing may be taken for a track.

    Parameters
    ----------
    path
        The JSON file.
    pictures
        Index of the data folder.
    split
        Part of the official list it belongs to.
    root
        Folder of the data set within the data folder.
    dataset
        Name of the data set in the table.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``; gaze points as numbered annotators a1, a2, ….
    problems : list of Problem
        Everything noticed.

    Raises
    ------
    AnnotationError
        When the file is no such list.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        frames = [frame for entry in entries for frame in entry.get("frames", [entry])]
        records = [_read_head(frame["path"], head) for frame in frames for head in enumerate(frame["heads"])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(
            f"The file is no list that Gaze-LLE's preprocessing writes ({type(error).__name__}: {error}).",
            where=path.name,
            expected="A list of entries with path and heads, or with frames that have them.",
            remedy="Make it again from the annotations.",
        ) from None
    rows = pd.DataFrame([one for record in records for one in record])
    if rows.empty:
        return finish(rows), [Problem("The list is empty.", file=path.name)]
    form = "video" if "frames" in entries[0] else "pictures"
    return _judge(rows.assign(file=path.name), pictures, root, {"split": split, "dataset": dataset, "form": form})


def _judge(
    rows: pd.DataFrame, pictures: PictureIndex, root: str, names: dict[str, str]
) -> tuple[pd.DataFrame, list[Problem]]:
    places = [PurePosixPath(root, path) for path in rows["path"]]
    rows = rows.assign(folder=[str(place.parent) for place in places], name=[place.name for place in places])
    rows = pd.concat([rows, pictures.resolve(rows["folder"].tolist(), rows["name"].tolist())], axis=1)
    problems = report_missing(rows[rows["trouble"] != ""])
    rows = rows[rows["trouble"] == ""].reset_index(drop=True)
    sizes = pictures.sizes(rows["image"])
    boxes, masks = judge_boxes(rows[BOX].to_numpy(np.float64), sizes)
    inside, points = rows["inside"].to_numpy(), rows[["gaze_x", "gaze_y"]].to_numpy(np.float64)
    absent = (inside == 1) & ~np.isfinite(points).all(axis=1)
    masks = {**masks, "no_gaze": absent, "picture_unreadable": (sizes == 0).any(axis=1)}
    problems += report_flags(masks, rows["file"].to_numpy(), rows["line"].to_numpy())
    points = np.where((inside == 1)[:, None], points, np.nan)
    # of videos a show holds several clips; of photographs the folder is what may not be split
    first = plain_name if names.pop("form") == "pictures" else itemgetter(0)
    folders = {folder: _name_folder(folder, root) for folder in rows["folder"].unique()}
    rows = rows.assign(
        **names,
        session=rows["folder"].map({folder: plain_name(parts) for folder, parts in folders.items()}),
        participant=rows["folder"].map({folder: first(parts) for folder, parts in folders.items()}),
        segment=rows["frame"],
        width=sizes[:, 0],
        height=sizes[:, 1],
        gaze_x=points[:, 0],
        gaze_y=points[:, 1],
        inside=np.where(absent, -1, inside),
        flags=join_flags(masks, len(rows)),
        **dict(zip(BOX, boxes.T, strict=True)),
    )
    rows, repeats = drop_repeats(rows)
    return finish(rows), [*problems, *repeats]


def _name_folder(folder: str, root: str) -> tuple[str, ...]:
    parts = PurePosixPath(_relative(folder, root)).parts
    return (parts[1:] if parts[:1] == ("images",) else parts) or ("pictures",)


def _read_head(path: str, numbered: tuple[int, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give one row per gaze point of a head."""
    number, head = numbered
    x0, y0, x1, y1 = (float(edge) for edge in head["bbox"])
    edges = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    person = f"p{int(head.get('head_id', number)):02d}"
    for count, (x, y) in enumerate(zip(head["gazex"], head["gazey"], strict=True), 1):
        place = {"path": path, "person": person, "rater": f"a{count}", "line": number + 1}
        yield {**place, **edges, "gaze_x": float(x), "gaze_y": float(y), "inside": int(head["inout"])}


def _list_heads(rows: pd.DataFrame) -> Iterator[tuple[str, tuple[int, int], dict[str, Any]]]:
    """Give path, picture size and head for each person of each picture, in the order of the rows."""
    edges = rows[BOX].to_numpy(np.float64)
    sizes = rows[["width", "height"]].to_numpy()
    edges = np.clip(edges, 0, np.concatenate([sizes, sizes], axis=1))
    points = rows[["gaze_x", "gaze_y"]].to_numpy(np.float64)
    columns = [rows[name].tolist() for name in ("image", "person", "inside")]
    last: tuple[str, int] | None = None
    held: tuple[str, tuple[int, int], dict[str, Any]] | None = None
    for image, person, inside, box, (x, y), (width, height) in zip(
        *columns, edges.tolist(), points.tolist(), sizes.tolist(), strict=True
    ):
        if (image, person) != last:
            if held is not None:
                yield held
            x0, y0, x1, y1 = box
            norm = [x0 / width, y0 / height, x1 / width, y1 / height]
            lists: dict[str, list[float]] = {name: [] for name in ("gazex", "gazey", "gazex_norm", "gazey_norm")}
            held = image, (width, height), {"bbox": box, "bbox_norm": norm, **lists, "inout": inside}
            last = image, person
        if held is not None:
            x, y = (-1.0 if math.isnan(one) else one for one in (x, y))
            for name, value in (("gazex", x), ("gazey", y), ("gazex_norm", x / width), ("gazey_norm", y / height)):
                held[2][name].append(value)
    if held is not None:
        yield held


def _list_pictures(
    heads: Iterator[tuple[str, tuple[int, int], dict[str, Any]]], counts: bool
) -> Iterator[dict[str, Any]]:
    entry: dict[str, Any] = {}
    for path, (width, height), head in heads:
        if path != entry.get("path"):
            if entry:
                yield entry
            entry = {"path": path, "heads": [], "num_heads": 0, "width": width, "height": height}
        annotators = {"num_annot": len(head["gazex"])} if counts else {}
        entry["heads"].append({**head, **annotators, "head_id": entry["num_heads"]})
        entry["num_heads"] += 1
    if entry:
        yield entry


def _list_clips(heads: Iterator[tuple[str, tuple[int, int], dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    clip: dict[str, Any] = {}
    for path, (width, height), head in heads:
        folder = path.rpartition("/")[0]
        if folder != clip.get("path"):
            if clip:
                yield clip
            clip = {"path": folder, "width": width, "height": height, "frames": []}
        if not clip["frames"] or clip["frames"][-1]["path"] != path:
            clip["frames"].append({"path": path, "heads": []})
        clip["frames"][-1]["heads"].append(head)
    if clip:
        yield clip


def _relative(path: str, root: str) -> str:
    return str(PurePosixPath(path).relative_to(root)) if root and PurePosixPath(path).is_relative_to(root) else path


def _rank(names: pd.Series) -> pd.Series:
    order: Sequence[str] = sorted(names.unique(), key=natural_key)
    return names.map({name: number for number, name in enumerate(order)})
