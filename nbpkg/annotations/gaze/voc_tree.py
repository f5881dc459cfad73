"""Collections of picture folders that labelImg XML files are about, and single pictures with one XML file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.judge import judge_boxes
from nbpkg.annotations.gaze.lookup import (
    PictureIndex,
    list_pictures,
    natural_key,
    plain_name,
    report_missing,
    split_stem,
)
from nbpkg.annotations.gaze.rows import BOX, Compat, drop_repeats, finish, join_flags, report_flags
from nbpkg.annotations.gaze.tracks import relative_folder
from nbpkg.annotations.gaze.voc import HEAD, VocFile, choose_head, propagate, read_voc
from nbpkg.errors import AnnotationError, Problem


def read_voc_tree(
    folder: Path,
    *,
    pictures: PictureIndex | None = None,
    targets: Mapping[str, str] | None = None,
    head: int | None = None,
    split: str = "",
    dataset: str = "objectattention",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a collection: picture folders, and XML files in them or in a folder above.

    Parameters
    ----------
    folder
        The data set, e.g. ``<participant>/<session>/<setting>/<object>/rgb/``.
    pictures
        Index of the data folder in which it lies; of `folder` itself when not given.
    targets
        Object looked at for each picture folder (relative to `folder`); for all others the nearest folder name that is
        an object of the XML.
    head
        Which of several heads.
    split, dataset
        Columns of the table.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``; participant is the first folder below the data set.
    problems : list of Problem
        Everything noticed; folders that could not be read are errors and not in the table.

    Raises
    ------
    AnnotationError
        When the data set is not there.
    """
    index = pictures or PictureIndex(folder)
    base = relative_folder(folder, index.root)
    problems: list[Problem] = []
    parts = []
    for place in list_picture_folders(folder):
        images = str(PurePosixPath(base, place))
        try:
            files = find_xml(folder, place, index.names(images))
            target = (targets or {}).get(place) or guess_target(files[0], place)
            table, found = propagate(files, images, pictures=index, target=target, head=head)
        except AnnotationError as error:
            problems.append(Problem(error.what, error.expected, error.remedy, error.where or images))
            continue
        problems += found
        whole = plain_name(PurePosixPath(place).parts or ("pictures",))
        parts.append(table.assign(session=whole, participant=PurePosixPath(place).parts[0] if place != "." else whole))
    if not parts and not problems:
        problems.append(Problem("There are no picture folders.", file=str(folder)))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return finish(table.assign(dataset=dataset, split=split)), problems


def list_picture_folders(folder: Path) -> list[str]:
    """List the folders with pictures below a folder (relative to it), in natural order, without OpenPose's own."""
    inner = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    places = [path.relative_to(folder).as_posix() for path in inner if list_pictures(path)]
    return sorted((place for place in places if "openpose" not in place.lower()), key=natural_key)


def find_xml(folder: Path, place: str, names: Sequence[str]) -> list[VocFile]:
    """Find the XML files about a picture folder: in it, or in the nearest folder above that has any.

    Raises
    ------
    AnnotationError
        When there is none, or several of which none is about one of the pictures.
    """
    stems = {split_stem(name)[0] for name in names}
    for where in (PurePosixPath(place), *PurePosixPath(place).parents):
        paths = [path for path in (folder / where).glob("*") if path.suffix.lower() == ".xml"]
        paths.sort(key=lambda path: natural_key(path.name))
        files = [read_voc(path, file=path.relative_to(folder).as_posix()) for path in paths]
        own = [one for one in files if split_stem(one.picture)[0] in stems] if len(files) > 1 else files
        if own:
            # of several files about folders below, a stem that occurs in each of them tells nothing
            return own if where == PurePosixPath(place) else own[:1]
        if files:
            raise AnnotationError(
                f"None of {len(files)} XML files is about a picture of {place}.",
                where=str(where),
                expected="One XML file, or some that name pictures of the folder.",
                remedy="Put the XML file into the picture folder.",
            )
    raise AnnotationError(
        "There is no XML file.", where=place, remedy="Annotate one picture of the folder in labelImg."
    )


def guess_target(voc: VocFile, place: str) -> str:
    """Take the nearest folder name that is an object of the picture as the target.

    Raises
    ------
    AnnotationError
        When no folder is named like an object.
    """
    for part in reversed(PurePosixPath(place).parts):
        if part.lower() != HEAD and voc.named(part):
            return voc.named(part)[0].name
    names = sorted({one.name for one in voc.objects})
    raise AnnotationError(
        f"No folder of {place} is named like an object.",
        where=voc.file,
        expected=f"One of the objects {', '.join(names)}.",
        remedy="Name the folder after the object looked at, or name its target.",
    )


def read_voc_heads(
    files: Sequence[Path],
    images: str,
    *,
    pictures: PictureIndex,
    head: int | None = None,
    person: str = "p00",
    compat: Compat = "none",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the head of one person from one XML file per picture, as a demonstration needs them.

    Parameters
    ----------
    files
        The XML files; they are taken in natural order of their names.
    images
        Picture folder, relative to the data folder.
    pictures
        Index of the data folder.
    head
        Which of several heads, in file order from 0; one call per person.
    person
        Name of the person in the table.
    compat
        ``reference`` takes the first object of each file, whatever its name.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze`` with boxes and without gaze points (flag ``unlabelled``).
    problems : list of Problem
        Everything noticed; files that could not be read are errors and not in the table.
    """
    problems: list[Problem] = []
    rows = []
    for path in sorted(files, key=lambda one: natural_key(one.name)):
        try:
            voc = read_voc(path)
            found = voc.objects[0] if compat == "reference" else choose_head(voc, head=head)
        except AnnotationError as error:
            problems.append(Problem(error.what, error.expected, error.remedy, error.where or path.name))
            continue
        rows.append((voc.picture, path.name, 1, *found.box))
    table = pd.DataFrame(rows, columns=["name", "file", "line", *BOX])
    if table.empty:
        return finish(table), problems
    table = pd.concat([table, pictures.resolve([images] * len(table), table["name"].tolist())], axis=1)
    problems += report_missing(table[table["trouble"] != ""].assign(folder=images))
    table = table[table["trouble"] == ""].reset_index(drop=True)
    sizes = pictures.sizes(table["image"])
    boxes, masks = judge_boxes(table[BOX].to_numpy(np.float64), sizes)
    masks = {**masks, "picture_unreadable": (sizes == 0).any(axis=1)}
    problems += report_flags(masks, table["file"].to_numpy(), table["line"].to_numpy())
    masks["unlabelled"] = np.ones(len(table), dtype=bool)
    name = plain_name([part for part in PurePosixPath(images).parts if part != "."] or ["pictures"])
    table = table.assign(
        participant=name,
        session=name,
        person=person,
        rater="a1",
        box_source="manual",
        gaze_x=np.nan,
        gaze_y=np.nan,
        width=sizes[:, 0],
        height=sizes[:, 1],
        flags=join_flags(masks, len(table)),
        **dict(zip(BOX, boxes.T, strict=True)),
    )
    table, repeats = drop_repeats(table)
    return finish(table), [*problems, *repeats]
