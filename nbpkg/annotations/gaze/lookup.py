"""Which picture on disk an annotation means, and how large each picture is, all before anything is computed."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from zlib import crc32

import numpy as np
import pandas as pd
from PIL import Image

from nbpkg.errors import AnnotationError, Problem

EXTENSIONS = (".ppm", ".jpg", ".jpeg", ".png", ".bmp")
FORMATS = ("PPM", "JPEG", "PNG", "BMP")
REPORT = ["image", "folder", "width", "height", "format", "bytes", "problem"]
# headers are small reads that mostly wait, on a network disk above all
READERS = 8
PORTION = 64


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Give the key by which ``img2`` comes before ``img10``; equal numbers are told apart by their spelling.

    The order is that in which picture folders are opened as videos (`nbpkg.video.pictures`), a sibling room: frame
    numbers depend on both being one.

    Examples
    --------
    >>> sorted(["img10.png", "img2.png", "IMG3.png"], key=natural_key)
    ['img2.png', 'IMG3.png', 'img10.png']
    """
    parts = re.split(r"([0-9]+)", name.lower())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], name


def plain_name(parts: Sequence[str]) -> str:
    """Make the name of a session from the parts of its path: letters, digits and ``_ - .``, parts joined by ``--``.

    A name that had to be changed ends in a check sum of the original, so that no two folders share one.

    Examples
    --------
    >>> plain_name(["ShowA", "1_20"])
    'ShowA--1_20'
    >>> plain_name(["It's on", "1"])
    'It_s_on--1-988150c9'
    """
    text = "--".join(parts)
    simple = re.sub(r"[^A-Za-z0-9_.-]", "_", unicodedata.normalize("NFKD", text))
    simple = re.sub(r"^[.-]", "_", simple)
    original = "/".join(parts).encode()
    changed = simple != text or any("--" in part for part in parts)
    return f"{simple}-{crc32(original):08x}" if changed else simple


def is_picture(name: str) -> bool:
    """Tell whether a file name is that of a picture; hidden files are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122


def list_pictures(folder: Path) -> list[str]:
    """List the names of the picture files of a folder in natural order; logs and other files are passed over."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if is_picture(entry.name) and entry.is_file()]
    return sorted(names, key=natural_key)


def split_stem(name: str) -> tuple[str, str]:
    """Split a name into stem and picture ending; a name that ends otherwise is all stem.

    Examples
    --------
    >>> split_stem("00000001.JPG"), split_stem("take.0001")
    (('00000001', '.JPG'), ('take.0001', ''))
    """
    stem, ending = os.path.splitext(name)  # noqa: PTH122
    return (stem, ending) if ending.lower() in EXTENSIONS else (name, "")


@dataclass(frozen=True)
class _Folder:
    """The pictures of one folder."""

    numbers: dict[str, int]
    by_stem: dict[str, list[str]]

    def find(self, name: str) -> tuple[str, str]:
        """Return the file that a name means, or an empty text and why there is none."""
        if name in self.numbers:
            return name, ""
        stem, ending = split_stem(name)
        found = self.by_stem.get(stem, [])
        if len(found) > 1:
            found = [one for one in found if ending and split_stem(one)[1].lower() == ending.lower()]
            if len(found) != 1:
                return "", "ambiguous"
        return (found[0], "") if found else ("", "missing")


@dataclass
class PictureIndex:
    """The pictures below a data folder: each folder is listed once, each header opened once.

    Parameters
    ----------
    root
        Data folder; pictures are named by their path relative to it.
    known
        A report of `check_pictures`: sizes of pictures whose bytes have not changed in number are taken from it.
    """

    root: Path
    known: pd.DataFrame | None = None
    _folders: dict[str, _Folder] = field(default_factory=dict, init=False, repr=False)
    _sizes: dict[str, tuple[int, int]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.known is not None:
            good = self.known[self.known["problem"] == ""]
            for image, width, height, size in good[["image", "width", "height", "bytes"]].itertuples(index=False):
                path = self.root / image
                if path.is_file() and path.stat().st_size == size:
                    self._sizes[image] = (int(width), int(height))

    def names(self, folder: str) -> list[str]:
        """List the pictures of a folder (relative to the root, ``/`` between parts) in natural order."""
        return list(self._folder(folder).numbers)

    def resolve(self, folders: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        """Find the picture that each annotation means.

        The exact name wins; else the stem with any known ending in any case; of several files with one stem, the one
        whose ending the annotation names.

        Parameters
        ----------
        folders, names
            Picture folder relative to the root and name as annotated, one each per row.

        Returns
        -------
        pandas.DataFrame
            image (relative path, empty when there is none), frame (number of the picture in its folder, -1 when there
            is none) and trouble (empty, ``missing`` or ``ambiguous``), one row per input row.
        """
        known: dict[tuple[str, str], tuple[str, int, str]] = {}
        prefixes = {folder: _as_prefix(folder) for folder in set(folders)}
        for key in zip(folders, names, strict=True):
            if key not in known:
                folder = self._folder(key[0])
                name, trouble = folder.find(key[1])
                image = f"{prefixes[key[0]]}{name}" if name else ""
                known[key] = (image, folder.numbers[name] if name else -1, trouble)
        rows = [known[key] for key in zip(folders, names, strict=True)]
        return pd.DataFrame(rows, columns=["image", "frame", "trouble"])

    def sizes(self, images: Iterable[str]) -> np.ndarray:
        """Read the width and height of pictures from their headers.

        Returns
        -------
        numpy.ndarray
            [n, 2] whole pixels; 0 0 for a file that is no readable picture.
        """
        wanted = list(images)
        fresh = [image for image in dict.fromkeys(wanted) if image not in self._sizes]
        for image, (width, height, _, _) in zip(fresh, _read_headers(self.root, fresh), strict=True):
            self._sizes[image] = (width, height)
        return np.array([self._sizes[image] for image in wanted], dtype=np.int64).reshape(-1, 2)

    def _folder(self, name: str) -> _Folder:
        if name not in self._folders:
            files = list_pictures(self.root / name)
            by_stem = defaultdict(list)
            for file in files:
                by_stem[split_stem(file)[0]].append(file)
            self._folders[name] = _Folder({file: number for number, file in enumerate(files)}, dict(by_stem))
        return self._folders[name]


def read_header(path: Path) -> tuple[int, int, str, str]:
    """Read width, height and format of a picture without decoding it; the file is closed.

    Returns
    -------
    tuple
        Width and height in pixels (0 when unreadable), format, and what is wrong in words (else empty).
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.width, picture.height, str(picture.format), ""
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "the file is empty" if path.is_file() and path.stat().st_size == 0 else type(error).__name__
        return 0, 0, "", f"cannot be opened as a picture ({reason})"


def check_pictures(root: Path, images: Iterable[str] | None = None) -> pd.DataFrame:
    """Open the header of every picture once and report what is there.

    Parameters
    ----------
    root
        Data folder.
    images
        Pictures relative to it; all below it when not given.

    Returns
    -------
    pandas.DataFrame
        image, folder, width, height, format, bytes, problem (empty when all is well), in natural order by folder.

    Raises
    ------
    AnnotationError
        When the data folder is not there.
    """
    if not root.is_dir():
        raise AnnotationError(
            "The data folder is not there.", where=str(root), remedy="Correct the path or put the data there."
        )
    wanted = list(dict.fromkeys(images)) if images is not None else _walk_pictures(root)
    headers = _read_headers(root, wanted)
    rows = [
        (image, str(PurePosixPath(image).parent), *header[:3], _count_bytes(root / image), header[3])
        for image, header in zip(wanted, headers, strict=True)
    ]
    return pd.DataFrame(rows, columns=REPORT)


def summarise_pictures(report: pd.DataFrame) -> pd.DataFrame:
    """Count pictures, sizes and formats of each folder of a report of `check_pictures`.

    Returns
    -------
    pandas.DataFrame
        folder, pictures, unreadable, sizes (``640 x 480: 120; 320 x 240: 3``), formats, doubled (stems with several
        files).
    """
    rows = []
    for folder, part in report.groupby("folder", sort=False):
        good = part[part["problem"] == ""]
        sizes = zip(good["width"], good["height"], strict=True)
        stems = Counter(split_stem(PurePosixPath(image).name)[0] for image in part["image"])
        rows.append(
            {
                "folder": folder,
                "pictures": len(part),
                "unreadable": len(part) - len(good),
                "sizes": _count_words(f"{width} x {height}" for width, height in sizes),
                "formats": _count_words(good["format"]),
                "doubled": sum(count > 1 for count in stems.values()),
            }
        )
    return pd.DataFrame(rows, columns=["folder", "pictures", "unreadable", "sizes", "formats", "doubled"])


def find_oddities(report: pd.DataFrame) -> list[Problem]:
    """Say what is odd about picture folders: unreadable files, mixed sizes, one picture only, doubled stems."""
    found = [
        Problem(f"The picture {row['problem']}.", remedy="Copy it again from its source.", file=row["image"])
        for row in report[report["problem"] != ""].to_dict("records")
    ]
    for row in summarise_pictures(report).to_dict("records"):
        for odd, text in (
            (row["pictures"] == 1, "The folder holds one picture only, so nothing can be learnt from its sequence."),
            (";" in row["sizes"], f"The pictures are of several sizes ({row['sizes']}); each is read in its own."),
            (
                row["doubled"] > 0,
                f"{row['doubled']} names occur with several endings; annotations must name the ending.",
            ),
        ):
            if odd:
                found.append(Problem(text, file=str(row["folder"]), severity="warning"))
    return found


def report_missing(rows: pd.DataFrame) -> list[Problem]:
    """Make one problem for each folder whose annotated pictures are missing or ambiguous.

    Parameters
    ----------
    rows
        Columns folder, name, file (annotation file), line, trouble (``missing`` or ``ambiguous``).
    """
    found = []
    for (folder, trouble), part in rows.groupby(["folder", "trouble"], sort=True):
        names = list(dict.fromkeys(part["name"]))
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        what = {
            "missing": f"{len(names)} pictures of folder {folder} are missing: {shown}",
            "ambiguous": f"{len(names)} names of folder {folder} fit several files: {shown}",
        }[str(trouble)]
        found.append(
            Problem(
                f"{what} ({len(part)} rows were left out).",
                expected=f"Each name with one of the endings {', '.join(EXTENSIONS)}, or as annotated.",
                remedy="Put the pictures there or correct the names."
                if trouble == "missing"
                else "Name the ending in the annotation, or keep one file of each name.",
                file=str(part["file"].iloc[0]),
                row=int(part["line"].iloc[0]),
            )
        )
    return found


def _read_headers(root: Path, images: Sequence[str]) -> list[tuple[int, int, str, str]]:
    """Read many headers, some at a time, as handing each to a thread costs as much as reading it."""
    parts = [images[start : start + PORTION] for start in range(0, len(images), PORTION)]
    with ThreadPoolExecutor(READERS) as pool:
        read = pool.map(lambda part: [read_header(root / image) for image in part], parts)
        return [header for part in read for header in part]


def _as_prefix(folder: str) -> str:
    place = str(PurePosixPath(folder))
    return "" if place == "." else f"{place}/"


def _walk_pictures(root: Path) -> list[str]:
    found = []
    for folder, inner, _ in os.walk(root):
        inner[:] = sorted((name for name in inner if not name.startswith(".")), key=natural_key)
        place = PurePosixPath(Path(folder).relative_to(root).as_posix())
        found += [str(place / name) for name in list_pictures(Path(folder))]
    return found


def _count_bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _count_words(words: Iterable[str]) -> str:
    return "; ".join(f"{word}: {count}" if word else str(count) for word, count in Counter(words).most_common())
