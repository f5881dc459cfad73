"""Paintings as the published painting tool stored them: written for its comparison program, and read back.

A folder ``snippet_<index>__<rater>_<session>_<whole seconds>s_<variable>`` holds ``heatmap.npy`` (float32
``[T, H, W]``), ``info.json`` and ``visualization.mp4``.

Source: the published painter; its ``info.json`` lacks the task, the rate and the frames' times, which stand here under
``painting``, and its comparison stops at any folder of another name, where this lists it and goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbpkg.attention.painting.strokes import Painting
from nbpkg.errors import PaintingError
from nbpkg.runs.files import new_file, write_array
from nbpkg.video.film import write_film

_FIELD = re.compile(r"[^_/\\]+")


@dataclass(frozen=True)
class PublishedName:
    """What the name of a published folder says.

    Parameters
    ----------
    index
        Position of the snippet in the tool's list, from 0.
    rater, session, variable
        Painter, recording session, and what was painted.
    seconds
        Start of the snippet, whole seconds, cut off.
    """

    index: int
    rater: str
    session: str
    seconds: int
    variable: str

    @classmethod
    def parse(cls, name: str) -> PublishedName | None:
        """Read a folder's name; None when it is no published one.

        Examples
        --------
        >>> PublishedName.parse("snippet_0__ew_fp13_4s_participating")
        PublishedName(index=0, rater='ew', session='fp13', seconds=4, variable='participating')
        >>> PublishedName.parse("snippet_0_ew_fp13") is None
        True
        """
        found = re.fullmatch(r"snippet_([0-9]+)__([^_]+)_([^_]+)_([0-9]+)s_([^_]+)", name)
        if found is None:
            return None
        index, rater, session, seconds, variable = found.groups()
        return cls(int(index), rater, session, int(seconds), variable)

    def __str__(self) -> str:
        """Name of the folder.

        Raises
        ------
        PaintingError
            When a part holds a character that its readers take for the end of the part.
        """
        for what, part in (("rater", self.rater), ("session", self.session), ("variable", self.variable)):
            if not _FIELD.fullmatch(part):
                raise PaintingError(
                    f"{part!r} cannot be the {what} in a published folder's name.",
                    expected="At least one character, none of them '_', '/' or '\\': they separate the parts.",
                    remedy=f"Rename the {what}, or do without the published form.",
                )
        return f"snippet_{self.index}__{self.rater}_{self.session}_{self.seconds}s_{self.variable}"


@dataclass(frozen=True, eq=False)
class PublishedPainting:
    """A painting as read from a published folder.

    Parameters
    ----------
    folder, name
        Where it lies, and what its name says.
    heat
        float32 ``[T, H, W]``, 0 to 1.
    start_ms
        Start of the snippet, milliseconds.
    label
        The raters' consensus, 0 or 1.
    labels
        The painter's own answers, by variable.
    saved
        When it was saved, as text.
    task, fps, frame_ms
        Empty, None and empty when the published tool itself wrote it: it did not store them.
    """

    folder: Path
    name: PublishedName
    heat: NDArray[np.float32]
    start_ms: int
    label: int
    labels: Mapping[str, str]
    saved: str
    task: str
    fps: Fraction | None
    frame_ms: tuple[int, ...]


def published_info(
    name: PublishedName, *, start_ms: int, label: int, labels: Mapping[str, str], saved: str
) -> dict[str, Any]:
    """Return what the published tool wrote to ``info.json``."""
    sample = {
        "session": name.session,
        "annotator": name.rater,
        "start_time_s": start_ms / 1000,
        "target_variable": name.variable,
        "consensus_label": label,
    }
    return {"saved": saved, "sample": sample, "labels": dict(labels)}


def write_published(
    painting: Painting,
    folder: Path,
    *,
    heat: NDArray[np.float32],
    index: int,
    label: int,
    fps: Fraction,
    saved: str,
    frames: NDArray[np.uint8] | None = None,
) -> Path:
    """Write a painting as the published tool stored it; files of the same name are replaced.

    Parameters
    ----------
    painting
        The painting.
    folder
        Takes the painting's folder.
    heat
        float32 ``[T, H, W]``, the painting's strokes as a map.
    index
        Position of the snippet in the painter's list, from 0.
    label
        The raters' consensus, 0 or 1.
    fps
        Rate of the painted frames, frames per second.
    saved
        When it was saved, as text; given by the caller so that the same painting gives the same bytes.
    frames
        uint8 ``[T, H, W, 3]`` to film; nothing is filmed without them.

    Returns
    -------
    pathlib.Path
        The painting's folder, with ``heatmap.npy``, ``info.json`` (indented by 4, the published fields and, under
        ``painting``, ``task``, ``fps``, ``start_ms``, ``end_ms``, ``frame_ms`` and ``seconds``) and, with `frames`,
        ``visualization.mp4`` (H.264).

    Raises
    ------
    PaintingError
        When map or frames do not fit the painting, or a name cannot be written.
    StageError
        When the disk is full or the folder cannot be written.
    """
    name = PublishedName(index, painting.painter, painting.session, painting.start_ms // 1000, painting.variable)
    target = folder / str(name)
    count = len(painting.frame_ms)
    _check_heat(heat, str(target), shape=None)
    if len(heat) != count or (frames is not None and (frames.shape != (count, *frames.shape[1:3], 3))):
        raise PaintingError(
            f"{len(heat)} maps and {count if frames is None else frames.shape} pictures do not fit the painting.",
            where=str(target),
            expected=f"{count} of each, pictures of shape [T, H, W, 3].",
        )
    info = published_info(name, start_ms=painting.start_ms, label=label, labels=painting.answers, saved=saved)
    times = {"start_ms": painting.start_ms, "end_ms": painting.end_ms, "frame_ms": list(painting.frame_ms)}
    info["painting"] = {"task": painting.task, "fps": str(fps), **times, "seconds": painting.seconds}
    write_array(target / "heatmap.npy", heat)
    with new_file(target / "info.json") as temporary:
        temporary.write_text(json.dumps(info, indent=4, ensure_ascii=False), encoding="utf-8")
    if frames is not None:
        write_film(frames, target / "visualization.mp4", fps=fps)
    return target


def list_published(folder: Path) -> tuple[list[Path], list[str]]:
    """List the published folders in a folder, by index, and say what else there is.

    Returns
    -------
    tuple
        The folders, and a note for each folder that was left out because of its name.

    Raises
    ------
    PaintingError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise PaintingError("The folder of published paintings is not there.", where=str(folder), remedy="Correct it.")
    found, notes = [], []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        name = PublishedName.parse(path.name)
        if name is None:
            notes.append(f"{path.name}: left out, it is not named snippet_<index>__<rater>_<session>_<s>s_<variable>.")
        else:
            found.append((name.index, path))
    return [path for _, path in sorted(found)], notes


def read_published(folder: Path, *, shape: tuple[int, int, int] | None = None) -> PublishedPainting:
    """Read one published folder.

    Parameters
    ----------
    folder
        The painting's folder.
    shape
        ``(T, H, W)`` that its map must have; None for any.

    Raises
    ------
    PaintingError
        Naming the folder, when its name does not follow the rule, a file is missing or damaged, the map is no float32
        ``[T, H, W]`` within 0..1 or of another shape, or ``info.json`` contradicts the name.
    """
    name = PublishedName.parse(folder.name)
    if name is None:
        raise PaintingError(
            f"{folder.name!r} is no name of a published painting.",
            where=str(folder),
            expected="snippet_<index>__<rater>_<session>_<seconds>s_<variable>, no '_' within a part.",
            remedy="Give the folder its name back; list_published lists those that can be read.",
        )
    heat = _load(folder)
    _check_heat(heat, str(folder), shape=shape)
    try:
        info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        return _painting(folder, name, heat, info)
    except FileNotFoundError:
        raise _broken(folder, "It holds no info.json.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise _broken(folder, f"info.json cannot be used: {type(error).__name__} {error}.") from None


def _painting(folder: Path, name: PublishedName, heat: NDArray[np.float32], info: dict[str, Any]) -> PublishedPainting:
    sample, ours = info["sample"], info.get("painting", {})
    start_ms = round(float(sample["start_time_s"]) * 1000)
    said = (sample["session"], sample["annotator"], sample["target_variable"], start_ms // 1000)
    if said != (name.session, name.rater, name.variable, name.seconds):
        raise ValueError(f"it is about {said}, the folder's name about another painting")
    if sample["consensus_label"] not in (0, 1) or not all(isinstance(value, str) for value in info["labels"].values()):
        raise ValueError(f"labels {sample['consensus_label']!r}, {info['labels']!r}")
    times = tuple(int(at) for at in ours.get("frame_ms", ()))
    if times and len(times) != len(heat):
        raise ValueError(f"{len(times)} times of {len(heat)} frames")
    return PublishedPainting(
        folder,
        name,
        heat=heat,
        start_ms=start_ms,
        label=int(sample["consensus_label"]),
        labels=info["labels"],
        saved=str(info["saved"]),
        task=str(ours.get("task", "")),
        fps=Fraction(ours["fps"]) if "fps" in ours else None,
        frame_ms=times,
    )


def _load(folder: Path) -> Any:
    path = folder / "heatmap.npy"
    if not path.is_file():
        raise _broken(folder, "It holds no heatmap.npy.")
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _broken(folder, f"heatmap.npy cannot be read: {error}.") from None


def _check_heat(heat: Any, where: str, *, shape: tuple[int, int, int] | None) -> None:
    if not isinstance(heat, np.ndarray) or heat.dtype != np.float32 or heat.ndim != 3 or 0 in heat.shape:
        found = f"{heat.dtype} {list(heat.shape)}" if isinstance(heat, np.ndarray) else type(heat).__name__
        raise PaintingError(f"The map is {found}.", where=where, expected="A float32 map of shape [T, H, W].")
    if shape is not None and heat.shape != shape:
        raise PaintingError(
            f"The map has shape {list(heat.shape)}.",
            where=where,
            expected=f"{list(shape)}: frames, height and width of the prepared video.",
            remedy="Prepare the video as it was when it was painted.",
        )
    if not (heat.min() >= 0 and heat.max() <= 1):  # so that NaN is refused too
        raise PaintingError("The map holds values outside 0..1.", where=where, expected="Paint from 0 to 1.")


def _broken(folder: Path, what: str) -> PaintingError:
    return PaintingError(
        what,
        where=str(folder),
        expected="heatmap.npy and info.json as the published painting tool writes them.",
        remedy="Take the folder from its backup, or move it away.",
    )
