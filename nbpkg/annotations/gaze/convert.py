"""Subsampled, renamed and annotated copies of collections, in a new folder; mostly the mapping alone will do."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from nbpkg.annotations.gaze.lookup import FORMATS, PictureIndex, natural_key, plain_name, split_stem
from nbpkg.annotations.gaze.openpose import read_openpose, stem_of_json
from nbpkg.annotations.gaze.rows import finish, remove_flag
from nbpkg.annotations.gaze.tracks import relative_folder
from nbpkg.annotations.gaze.voc import find_target, propagate
from nbpkg.annotations.gaze.voc_tree import find_xml, guess_target, list_picture_folders
from nbpkg.errors import AnnotationError, MediaError, Problem
from nbpkg.runs.files import cannot_write

MAPPING = ["folder", "segment", "position", "old", "new", "old_json", "new_json"]
JSON_ENDING = "_openpose_json"


def plan_copies(
    root: Path,
    places: Sequence[str],
    *,
    every: int = 1,
    digits: int = 0,
    start: int | None = 0,
    into: str = "",
) -> pd.DataFrame:
    """Say which pictures (and JSON files about them) get which name, and copy nothing.

    Parameters
    ----------
    root
        Data folder.
    places
        Picture folders relative to it, in the order in which they follow each other.
    every
        Keep pictures 0, every, 2 every, … of each folder.
    digits
        Length of running numbers that replace the names, over all folders in one sequence; 0 keeps the names.
    start
        First number; None goes on after the last picture of folder `into`.
    into
        New folder, relative to where the copies go, of a sequence; without running numbers each folder keeps its path.

    Returns
    -------
    pandas.DataFrame
        folder, segment (number of the folder), position (number in its new folder), old, new, old_json, new_json
        (paths; JSON found by the picture's stem in ``<folder>_openpose_json``, empty when there is none).

    Raises
    ------
    AnnotationError
        When a folder has no pictures, two pictures would get one name, or a number does not fit.
    """
    index = PictureIndex(root)
    if every < 1:
        raise AnnotationError(f"Every {every}th picture cannot be taken.", expected="A whole number from 1.")
    first = _find_start(index, into) if start is None else start
    rows: list[tuple[object, ...]] = []
    for segment, place in enumerate(places):
        names = index.names(place)
        if not names:
            raise AnnotationError(
                "The folder has no pictures.", where=str(root / place), remedy="Correct the path or leave it out."
            )
        files = _find_json(root / f"{place}{JSON_ENDING}")
        for count, name in enumerate(names[::every]):
            stem, ending = split_stem(name)
            position = first + len(rows) if digits else count
            new = str(PurePosixPath(into, f"{position:0{digits}d}{ending}") if digits else PurePosixPath(place, name))
            old_json = f"{place}{JSON_ENDING}/{files[stem]}" if stem in files else ""
            new_json = ""
            if old_json and digits:
                new_json = str(PurePosixPath(f"{into}{JSON_ENDING}", f"{position:0{digits}d}.json"))
            elif old_json:
                new_json = old_json
            old = str(PurePosixPath(place, name))
            rows.append((into if digits else place, segment, position, old, new, old_json, new_json))
    mapping = pd.DataFrame(rows, columns=MAPPING)
    _check_mapping(mapping, digits)
    return mapping


def plan_tree(
    folder: Path,
    *,
    pictures: PictureIndex | None = None,
    every: int = 2,
    digits: int = 5,
    head: int | None = None,
    split: str = "",
    dataset: str = "objectattention",
) -> tuple[pd.DataFrame, pd.DataFrame, list[Problem]]:
    """Subsample, rename and annotate a collection, on paper: the originals stay where and as they are.

    Parameters
    ----------
    folder
        The data set: ``<participant>/<session>/<setting>/<object>/rgb…/`` (a session may lack settings), XML files
        beside or above the pictures, JSON of OpenPose in ``rgb…_openpose_json`` beside them.
    pictures
        Index of the data folder in which it lies; of `folder` itself when not given.
    every
        Keep pictures 0, every, 2 every, … of each folder.
    digits
        Length of the running numbers of a setting.
    head
        Which of several heads of an XML file.
    split, dataset
        Columns of the table.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze`` about the originals, kept pictures only. Boxes come from OpenPose where there is JSON, else from
        the XML; the target is the object after which a folder is named.
    mapping : pandas.DataFrame
        As from `plan_copies`: the objects of a setting follow each other in natural order in ``images/<setting>/``,
        JSON paired with its picture by stem.
    problems : list of Problem
        Everything noticed; folders that could not be read are errors and in neither table.

    Raises
    ------
    AnnotationError
        When the data set is not there.
    """
    index = pictures or PictureIndex(folder)
    base = relative_folder(folder, index.root)
    problems: list[Problem] = []
    parts: list[pd.DataFrame] = []
    settings: dict[str, list[str]] = {}
    for place in list_picture_folders(folder):
        try:
            table, setting = _annotate(folder, base, place, index, head, problems)
        except AnnotationError as error:
            problems.append(Problem(error.what, error.expected, error.remedy, error.where or place))
            continue
        settings.setdefault(setting, []).append(str(PurePosixPath(base, place)))
        parts.append(table[table["frame"] % every == 0])
    if not parts:
        return finish(pd.DataFrame()), pd.DataFrame(columns=MAPPING), problems
    mapping = pd.concat(
        [
            plan_copies(index.root, places, every=every, digits=digits, into=str(PurePosixPath("images", setting)))
            for setting, places in settings.items()
        ],
        ignore_index=True,
    )
    table = pd.concat(parts, ignore_index=True).assign(dataset=dataset, split=split)
    return finish(table), mapping, problems


def apply_mapping(table: pd.DataFrame, mapping: pd.DataFrame) -> pd.DataFrame:
    """Make the table of the copies from that of the originals.

    Parameters
    ----------
    table
        Table ``gaze`` about the originals.
    mapping
        Of `plan_copies` or `plan_tree`; pictures that are not in it are left out.

    Returns
    -------
    pandas.DataFrame
        Table ``gaze``: session and frame are those of the new folder, each old folder a segment of it.
    """
    own = table.merge(mapping.rename(columns={"segment": "part"}), left_on="image", right_on="old", how="inner")
    below = [
        parts[1:] if (parts := PurePosixPath(folder).parts)[:1] == ("images",) else parts for folder in own["folder"]
    ]
    own["session"] = [plain_name(parts or ("pictures",)) for parts in below]
    own["frame"] = own["position"] - own.groupby("folder")["position"].transform("min")
    # a cut inside an original stays one
    by = ["session", "part", "segment"]
    numbers = own[by].drop_duplicates().sort_values(by)
    numbers["number"] = numbers.groupby("session").cumcount()
    own["segment"] = own.merge(numbers, on=by, how="left")["number"]
    own["image"] = own["new"]
    return finish(own[table.columns])


def copy_pictures(
    mapping: pd.DataFrame, root: Path, destination: Path, *, ending: str = "", quality: int = 95
) -> pd.DataFrame:
    """Copy what a mapping lists into a new folder, with ``mapping.csv`` beside it; complete or not there.

    Parameters
    ----------
    mapping
        Of `plan_copies` or `plan_tree`.
    root
        Data folder of the originals, which are only read.
    destination
        Folder to make; it must not be there yet.
    ending
        Picture ending to convert to, e.g. ``.jpg``; empty copies the files as they are, times included.
    quality
        Of JPEG, 1 to 95.

    Returns
    -------
    pandas.DataFrame
        The mapping with the new names as written.

    Raises
    ------
    AnnotationError
        When the destination is there, or two pictures would get one name.
    MediaError
        When a file is not there or a picture cannot be read.
    StageError
        When the disk is full or the folder cannot be written.
    """
    if destination.exists():
        raise AnnotationError(
            "The folder for the copies is already there.",
            where=str(destination),
            expected="A new folder, as nothing is changed in place.",
            remedy="Choose another one, or remove it.",
        )
    if ending:
        mapping = mapping.assign(new=[str(PurePosixPath(new).with_suffix(ending)) for new in mapping["new"]])
        _check_mapping(mapping, 0)
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for row in mapping.to_dict("records"):
            _copy(root / row["old"], partial / row["new"], quality)
            if row["new_json"]:
                _copy(root / row["old_json"], partial / row["new_json"], quality)
        mapping.to_csv(partial / "mapping.csv", index=False, lineterminator="\n")
        partial.replace(destination)
    except OSError as error:
        raise cannot_write(destination, error) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return mapping


def _annotate(
    folder: Path, base: str, place: str, index: PictureIndex, head: int | None, problems: list[Problem]
) -> tuple[pd.DataFrame, str]:
    """Annotate one picture folder; also say which setting (relative to the data set) it belongs to."""
    images = str(PurePosixPath(base, place))
    files = find_xml(folder, place, index.names(images))
    target = guess_target(files[0], place)
    parts = PurePosixPath(place).parts
    above = next(number for number in reversed(range(len(parts))) if parts[number].lower() == target.lower())
    setting = str(PurePosixPath(*parts[:above])) if above else "."
    json_folder = index.root / f"{images}{JSON_ENDING}"
    if json_folder.is_dir():
        table, found = read_openpose(json_folder, images, pictures=index)
        x, y = find_target(files[0], target)
        labelled = table.assign(gaze_x=x, gaze_y=y, inside=1, target=target)
        table = remove_flag(labelled, "unlabelled", np.ones(len(table), dtype=bool))
    else:
        table, found = propagate(files, images, pictures=index, target=target, head=head)
    problems += found
    return table.assign(session=plain_name(parts), participant=parts[0]), setting


def _find_start(index: PictureIndex, into: str) -> int:
    stems = [split_stem(name)[0] for name in index.names(into)]
    return max((int(stem) for stem in stems if stem.isdecimal()), default=-1) + 1


def _find_json(folder: Path) -> dict[str, str]:
    paths = folder.glob("*.json") if folder.is_dir() else ()
    return {stem_of_json(path.name): path.name for path in sorted(paths, key=lambda path: natural_key(path.name))}


def _check_mapping(mapping: pd.DataFrame, digits: int) -> None:
    # a system that minds no capitals would write one file over the other
    again = mapping[mapping["new"].str.lower().duplicated(keep=False)]
    if len(again):
        raise AnnotationError(
            f"{len(again)} pictures would share their new names.",
            where=", ".join(again["old"].head(4)),
            remedy="Keep one picture of each stem, or give running numbers.",
        )
    if digits and int(mapping["position"].max()) >= 10**digits:
        raise AnnotationError(
            f"The number {mapping['position'].max()} has more than {digits} digits.", remedy="Allow more digits."
        )


def _copy(source: Path, target: Path, quality: int) -> None:
    """Copy or convert one file; what cannot be read is told apart from what cannot be written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file():
        raise _unreadable(source, "is not there")
    if source.suffix.lower() == target.suffix.lower():
        shutil.copy2(source, target)
        return
    try:
        with Image.open(source, formats=FORMATS) as picture:
            decoded = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(source, f"cannot be read ({type(error).__name__})") from None
    decoded.save(target, quality=quality)


def _unreadable(source: Path, what: str) -> MediaError:
    return MediaError(f"The file {what}.", where=str(source), remedy="Copy it again from its source, then start again.")
