"""labelImg (Pascal VOC) XML: head and objects of one picture, found by name, and carried over to its whole folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree  # only for its error; reading is defusedxml's

import defusedxml.ElementTree as SafeTree
import numpy as np
import pandas as pd
from defusedxml import DefusedXmlException

from nbpkg.annotations.gaze.judge import judge_boxes
from nbpkg.annotations.gaze.lookup import PictureIndex, plain_name
from nbpkg.annotations.gaze.rows import BOX, Compat, finish, join_flags, report_flags
from nbpkg.errors import AnnotationError, Problem, raise_all

HEAD = "head"
EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocObject:
    """One object of a picture: its name and box x0 y0 x1 y1 in pixels."""

    name: str
    box: tuple[float, float, float, float]

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, pixels."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True)
class VocFile:
    """What one XML file says: its name, the annotated picture, its size (0 unknown) and the objects in file order."""

    file: str
    picture: str
    width: int
    height: int
    objects: tuple[VocObject, ...]

    def named(self, name: str) -> list[VocObject]:
        """List the objects of a name, whatever its capitals."""
        return [one for one in self.objects if one.name.strip().lower() == name.strip().lower()]


def read_voc(path: Path, *, file: str = "") -> VocFile:
    """Read a labelImg XML file.

    Parameters
    ----------
    path
        The file.
    file
        Name shown in problems; the file's own when not given.

    Raises
    ------
    AnnotationError
        Listing everything that is wrong: no XML, entities in it, no object, boxes that are no numbers.
    """
    shown = file or path.name
    try:
        root = SafeTree.parse(path).getroot()
    except (ElementTree.ParseError, DefusedXmlException, OSError, LookupError, ValueError) as error:
        raise AnnotationError(
            f"The file is no readable XML ({type(error).__name__}).",
            where=shown,
            expected="The XML that labelImg writes.",
            remedy="Annotate the picture again.",
        ) from None
    problems: list[Problem] = []
    if root.tag != "annotation":
        problems.append(Problem(f"The outermost element is {root.tag!r}.", "annotation.", file=shown))
    objects = [_read_object(element, number, shown, problems) for number, element in enumerate(root.iter("object"), 1)]
    if not objects:
        problems.append(Problem("There is no object.", remedy="Annotate head and objects.", file=shown))
    raise_all(problems, AnnotationError, summary="the annotation of a picture cannot be used.")
    size = [_to_number(root.findtext(f"size/{name}", "0")) for name in ("width", "height")]
    width, height = (0 if np.isnan(one) else int(one) for one in size)
    picture = (root.findtext("filename") or path.stem).strip().replace("\\", "/").rpartition("/")[2]
    return VocFile(shown, picture, width, height, tuple(one for one in objects if one is not None))


def choose_head(voc: VocFile, *, head: int | None = None, compat: Compat = "none") -> VocObject:
    """Return the head of a picture.

    Parameters
    ----------
    voc
        The file.
    head
        Which of several heads, in file order from 0.
    compat
        ``reference`` returns the first object of the file, whatever it is, as long as some object is called ``head``.

    Raises
    ------
    AnnotationError
        When there is no head, or several and none is chosen.
    """
    if compat == "reference":
        if any(one.name == HEAD for one in voc.objects):
            return voc.objects[0]
        raise lacking(voc, "object called exactly 'head'")
    return _choose(voc, HEAD, head, "head")


def find_target(voc: VocFile, name: str, *, which: int | None = None, compat: Compat = "none") -> tuple[float, float]:
    """Return the centre of the object that is looked at.

    Parameters
    ----------
    voc
        The file.
    name
        Name of the object, whatever its capitals.
    which
        Which of several objects of that name, in file order from 0.
    compat
        ``reference`` takes the last of several and minds capitals.

    Raises
    ------
    AnnotationError
        When there is no such object, or several and none is chosen.
    """
    if compat == "reference":
        own = [one for one in voc.objects if one.name == name]
        if not own:
            raise lacking(voc, f"object called exactly {name!r}")
        return own[-1].centre
    return _choose(voc, name, which, "which").centre


def propagate(
    files: Sequence[VocFile],
    images: str,
    *,
    pictures: PictureIndex,
    target: str = "",
    head: int | None = None,
    compat: Compat = "none",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Carry the head and target annotated in one or some pictures of a folder over to all of them.

    Parameters
    ----------
    files
        Annotations; each holds from its picture to the next annotated one, the first one for all before it too.
    images
        Picture folder, relative to the data folder.
    pictures
        Index of the data folder.
    target
        Name of the object looked at; without it there are boxes only.
    head
        Which of several heads.
    compat
        Passed to `choose_head` and `find_target`.

    Returns
    -------
    table : pandas.DataFrame
        Table ``gaze``, one row per picture; ``box_source`` is manual for annotated pictures, else propagated.
    problems : list of Problem
        What was noticed.

    Raises
    ------
    AnnotationError
        When head or target cannot be told.
    """
    names = pictures.names(images)
    if not names:
        return finish(pd.DataFrame()), [Problem("The folder has no pictures.", file=images)]
    found = pictures.resolve([images] * len(files), [one.picture for one in files])
    problems = [
        Problem(f"The annotated picture {one.picture} is not in {images}.", file=one.file, severity="warning")
        for one, frame in zip(files, found["frame"], strict=True)
        if frame < 0
    ]
    order = np.argsort(found["frame"].to_numpy(), kind="stable")
    ranked, frames = [files[place] for place in order], found["frame"].to_numpy()[order]
    # a row takes what was annotated last before it
    source = np.maximum(np.searchsorted(frames, np.arange(len(names)), side="right") - 1, 0)
    heads = np.array([choose_head(one, head=head, compat=compat).box for one in ranked], dtype=np.float64)
    points = np.array([find_target(one, target, compat=compat) if target else (np.nan, np.nan) for one in ranked])
    sizes = pictures.sizes(str(PurePosixPath(images, name)) for name in names)
    problems += _compare_sizes(ranked, sizes[np.maximum(frames, 0)])
    boxes, masks = judge_boxes(heads[source], sizes)
    masks = {**masks, "picture_unreadable": (sizes == 0).any(axis=1)}
    shown = np.array([one.file for one in ranked], dtype=object)[source]
    problems += report_flags(masks, shown, np.arange(1, len(names) + 1))
    masks["unlabelled"] = np.full(len(names), not target)
    parts = [part for part in PurePosixPath(images).parts if part != "."] or ["pictures"]
    rows = pd.DataFrame(
        {
            "session": plain_name(parts),
            "participant": parts[0],
            "frame": np.arange(len(names)),
            "image": [str(PurePosixPath(images, name)) for name in names],
            "width": sizes[:, 0],
            "height": sizes[:, 1],
            "box_source": np.where(np.isin(np.arange(len(names)), frames), "manual", "propagated"),
            "gaze_x": points[source, 0],
            "gaze_y": points[source, 1],
            "inside": 1 if target else -1,
            "target": target,
            "flags": join_flags(masks, len(names)),
            **dict(zip(BOX, boxes.T, strict=True)),
        }
    )
    return finish(rows), problems


def _choose(voc: VocFile, name: str, which: int | None, setting: str) -> VocObject:
    own = voc.named(name)
    if not own:
        raise lacking(voc, f"object {name!r}")
    if which is None and len(own) > 1:
        raise AnnotationError(
            f"{len(own)} objects are called {name!r}.",
            where=voc.file,
            expected="One.",
            remedy=f"Say which one by {setting} (0 to {len(own) - 1}, in file order), or correct the file.",
        )
    if which is not None and not 0 <= which < len(own):
        raise AnnotationError(
            f"There is no {name!r} number {which}.",
            where=voc.file,
            expected=f"0 to {len(own) - 1}.",
            remedy=f"Correct {setting}.",
        )
    return own[which or 0]


def lacking(voc: VocFile, what: str) -> AnnotationError:
    """Say that an object is not in a file, and which are."""
    names = ", ".join(one.name for one in voc.objects)
    return AnnotationError(
        f"There is no {what}.", where=voc.file, expected=f"It among the objects ({names}).", remedy="Annotate it."
    )


def _compare_sizes(files: Sequence[VocFile], sizes: np.ndarray) -> list[Problem]:
    return [
        Problem(
            f"The file was made for a picture of {one.width} x {one.height}, the folder's has {size[0]} x {size[1]}.",
            remedy="Annotate a picture of this folder.",
            file=one.file,
            severity="warning",
        )
        for one, size in zip(files, sizes.tolist(), strict=True)
        if one.width and one.height and (one.width, one.height) != tuple(size)
    ]


def _read_object(element: ElementTree.Element, number: int, file: str, problems: list[Problem]) -> VocObject | None:
    name = (element.findtext("name") or "").strip()
    texts = [element.findtext(f"bndbox/{edge}", "") for edge in EDGES]
    x0, y0, x1, y1 = (_to_number(text) for text in texts)
    if not name or not np.isfinite([x0, y0, x1, y1]).all():
        problems.append(
            Problem(
                f"Object {number} ({name!r}) has the box {', '.join(map(repr, texts))}.",
                expected="A name and four numbers.",
                remedy="Correct it in labelImg.",
                file=file,
                row=number,
            )
        )
        return None
    return VocObject(name, (x0, y0, x1, y1))


def _to_number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return float("nan")
