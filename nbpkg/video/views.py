"""Choosing, renumbering and converting picture files on paper: tables of old and new names; originals stay."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image

from nbpkg.errors import MediaError, Problem, raise_all
from nbpkg.runs.files import new_file
from nbpkg.video.files import sync_and_close, sync_folder
from nbpkg.video.pictures import ENDINGS, decode_picture, list_pictures, natural_key

COLUMNS = ["old", "new"]
_JPEG_QUALITY = 95


def view_pictures(base: Path, folders: Sequence[Path] | None = None) -> pd.DataFrame:
    """List the pictures of folders as a view in which every name stays as it is.

    Parameters
    ----------
    base
        Folder from which names start.
    folders
        The folders, all below `base`; they are taken in natural order of their paths, not as given. None takes `base`.

    Returns
    -------
    pandas.DataFrame
        ``old, new``: path of each picture relative to `base`, with ``/``, in natural order folder by folder.

    Raises
    ------
    MediaError
        When a folder is missing, empty, or not below `base`.
    """
    names = []
    for folder in sorted(folders or [base], key=lambda folder: natural_key(folder.as_posix())):
        if not folder.is_relative_to(base):
            raise MediaError(f"Folder {folder.name!r} is not below {base.name!r}.", where=str(folder))
        names += [path.relative_to(base).as_posix() for path in list_pictures(folder)]
    return pd.DataFrame({"old": names, "new": names}, columns=COLUMNS)


def keep_every(view: pd.DataFrame, step: int, *, start: int = 0) -> pd.DataFrame:
    """Keep every `step`-th picture of each folder, from number `start` on.

    Parameters
    ----------
    view
        ``old, new`` in order.
    step
        1 or more; 2 keeps numbers 0, 2, 4, ….
    start
        Number of the first picture kept.

    Examples
    --------
    >>> view = pd.DataFrame({"old": ["a/1.ppm", "a/2.ppm", "a/3.ppm", "b/1.ppm"], "new": list("wxyz")})
    >>> keep_every(view, 2)["old"].tolist()
    ['a/1.ppm', 'a/3.ppm', 'b/1.ppm']
    """
    if step < 1 or start < 0:
        raise MediaError(f"Every {step}th picture from number {start} cannot be kept.", expected="Step 1 or more.")
    number = view.groupby(_folder_of(view["old"]), sort=False).cumcount() - start
    return view[(number >= 0) & (number % step == 0)].reset_index(drop=True)


def renumber(view: pd.DataFrame, *, digits: int = 5, first: int = 0, folder: str = "") -> pd.DataFrame:
    """Name the pictures by running numbers, in the order of the view, whatever folders they come from.

    Parameters
    ----------
    view
        ``old, new``.
    digits
        Least number of digits; in the collections 8 or 5.
    first
        The first number; `next_number` says which follows the names there are.
    folder
        Folder of the new names.

    Examples
    --------
    >>> view = pd.DataFrame({"old": ["a/07.PPM", "b/07.ppm"], "new": ["a/07.PPM", "b/07.ppm"]})
    >>> renumber(view, first=9)["new"].tolist()
    ['00009.ppm', '00010.ppm']
    """
    endings = [PurePosixPath(name).suffix.lower() for name in view["new"]]
    names = [f"{first + place:0{digits}}{ending}" for place, ending in enumerate(endings)]
    return view.assign(new=[str(PurePosixPath(folder, name)) for name in names])


def next_number(names: Sequence[str]) -> int:
    """Return the number after the largest among names like ``00000041`` or ``00041.ppm``; 0 when there is none.

    Examples
    --------
    >>> next_number(["00000009.ppm", "00000041", "frame"]), next_number([])
    (42, 0)
    """
    stems = [PurePosixPath(name).stem for name in names]
    return max((int(stem) + 1 for stem in stems if re.fullmatch("[0-9]+", stem)), default=0)


def change_format(view: pd.DataFrame, ending: str) -> pd.DataFrame:
    """Give the new names another ending, e.g. ``.jpg``; `copy_view` then converts the pictures.

    Raises
    ------
    MediaError
        When no pictures are written with this ending.
    """
    if ending not in ENDINGS:
        raise MediaError(f"Pictures cannot be written as {ending!r}.", expected=f"One of {', '.join(ENDINGS)}.")
    return view.assign(new=[str(PurePosixPath(name).with_suffix(ending)) for name in view["new"]])


def follow_view(view: pd.DataFrame, names: Sequence[str], *, suffix: str = "_keypoints") -> pd.DataFrame:
    """Take other files, e.g. key points, along with their pictures, paired by stem.

    Parameters
    ----------
    view
        ``old, new`` of pictures of one folder.
    names
        The other files; of ``00000002_keypoints.json`` the stem is ``00000002``.
    suffix
        What stands between stem and ending.

    Returns
    -------
    pandas.DataFrame
        ``old, new`` of those files whose picture is in the view; a picture without such a file moves no other.
    """
    by_stem = {PurePosixPath(name).name.partition(".")[0].removesuffix(suffix): name for name in names}
    rows = []
    for old, new in view[COLUMNS].itertuples(index=False):
        name = by_stem.get(PurePosixPath(old).stem)
        if name is not None:
            rows.append((name, str(PurePosixPath(new).with_suffix(PurePosixPath(name).suffix))))
    return pd.DataFrame(rows, columns=COLUMNS)


def write_view(view: pd.DataFrame, path: Path) -> Path:
    """Write a view as CSV, complete or not at all; refuses what `check_view` refuses."""
    check_view(view)
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        view[COLUMNS].to_csv(stream, index=False, lineterminator="\n")
    return path


def read_view(path: Path) -> pd.DataFrame:
    """Read a view that `write_view` wrote."""
    view = pd.read_csv(path, dtype=str, keep_default_na=False)
    if list(view.columns) != COLUMNS:
        raise MediaError(
            f"{path.name!r} is no view.", where=str(path), expected="Columns old and new.", remedy="Write it again."
        )
    check_view(view)
    return view


def check_view(view: pd.DataFrame) -> None:
    """Refuse new names that occur twice (also where capitals do not count) or lead out of their folder.

    Raises
    ------
    MediaError
        With every such name.
    """
    names = view["new"].str.lower()
    problems = [
        Problem(f"{row.new!r} is the new name of {row.old!r} and of another file.", remedy="Renumber the view.")
        for row in view[names.duplicated(keep=False)].itertuples()
    ]
    lost = [name for name in [*view["old"], *view["new"]] if _leads_out(name)]
    lost += [name for name in view["new"] if set(name) & set("\\:")]
    problems += [Problem(f"{name!r} leads out of the folder.", expected="A path below it, with '/'.") for name in lost]
    raise_all(problems, MediaError, summary="names cannot be used.")


def copy_view(view: pd.DataFrame, source: Path, target: Path, *, jpeg_quality: int = _JPEG_QUALITY) -> int:
    """Copy the files of a view under their new names into a new folder; a new ending converts the picture.

    Files whose ending stays are copied bit by bit with their times. The folder appears when all is in it.

    Parameters
    ----------
    view
        ``old, new``.
    source
        Folder from which old names start.
    target
        The new folder; it must not be there.
    jpeg_quality
        1 to 100.

    Returns
    -------
    int
        Files written.

    Raises
    ------
    MediaError
        When the target is there, a file is missing or cannot be converted.
    """
    check_view(view)
    if target.exists():
        raise MediaError(
            f"{target.name!r} is already there; pictures are never changed in place.",
            where=str(target),
            expected="The path of a new folder.",
            remedy="Choose another folder, or remove it if it is an earlier copy.",
        )
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for old, new in view[COLUMNS].itertuples(index=False):
            _copy(source / old, partial / new, jpeg_quality)
        sync_folder(partial)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(view)


def _copy(old: Path, new: Path, jpeg_quality: int) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    if not old.is_file():
        raise MediaError(f"File {old.name!r} is not there.", where=str(old), remedy="Make the view again.")
    if _kind(old) == _kind(new):
        shutil.copy2(old, new)
        return
    stream = io.BytesIO()
    picture = Image.fromarray(decode_picture(old.read_bytes(), old))
    names = {".jpg": "JPEG", ".png": "PNG", ".ppm": "PPM", ".bmp": "BMP"}
    picture.save(stream, format=names[_kind(new)], quality=jpeg_quality)
    with new.open("wb") as file:
        file.write(stream.getvalue())
        sync_and_close(file)
    facts = old.stat()
    os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _leads_out(name: str) -> bool:
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts


def _kind(path: Path) -> str:
    ending = path.suffix.lower()
    return ".jpg" if ending == ".jpeg" else ending


def _folder_of(names: pd.Series) -> pd.Series:
    return names.map(lambda name: str(PurePosixPath(name).parent))
