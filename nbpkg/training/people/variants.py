"""Varied copies of training clips: which there are, and how each is made; clips that are held out are never varied."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.datasets.people.augment_people import General, draw_general, part_boxes, vary
from nbpkg.datasets.people.augment_people_copies import keep_training_copies, select_mixed
from nbpkg.datasets.people.augment_people_faces import FaceSwap, cut_out, swap_faces
from nbpkg.errors import SettingsError
from nbpkg.settings.people import VariantSettings

Frames = NDArray[np.uint8]
Boxes = NDArray[np.float64]
_SIDES = ("x0", "y0", "x1", "y1")
GENERAL = General(modes=("keep", "colour", "blur"))  # no pictures of rooms are at hand


class Item(NamedTuple):
    """A clip as it is learnt from: its name, number of the copy (0 is the original), and how that is varied."""

    sample: str
    copy: int = 0
    variant: str = "none"


def list_copies(
    items: Sequence[str], labels: Sequence[int], *, settings: VariantSettings, seed: int, held_out: Sequence[str]
) -> list[Item]:
    """List the clips that a network learns from: originals, then their copies.

    Parameters
    ----------
    items, labels
        Training clips and their classes.
    settings
        Variant and number of copies; ``mixed`` chooses half of each kind, with the classes in proportion.
    seed
        The experiment's.
    held_out
        Clips that must have no copy.

    Raises
    ------
    FoldError
        When a clip is in training and held out.
    """
    found = [Item(name) for name in items]
    if settings.variant == "none" or not settings.copies:
        return found
    rows = pd.DataFrame({"clip_id": list(items), "label": list(labels)})
    copies = pd.concat([rows.assign(copy=number) for number in range(1, settings.copies + 1)], ignore_index=True)
    if settings.variant == "mixed":
        copies = select_mixed(copies, copies, size=len(copies), seed=seed)
    else:
        copies = copies.assign(variant=settings.variant)
    copies = keep_training_copies(copies, training=items, held_out=held_out)
    listed = copies.to_dict("records")
    return found + [Item(str(row["clip_id"]), int(row["copy"]), str(row["variant"])) for row in listed]


class Varying:
    """Makes copies of clips.

    Parameters
    ----------
    settings
        Variant, and the plug-in that exchanges faces.
    people
        Table ``people``.
    seed
        The experiment's.

    Raises
    ------
    SettingsError
        When nobody was followed, or there is no such plug-in.
    """

    def __init__(self, settings: VariantSettings, people: pd.DataFrame | None, *, seed: int) -> None:
        if people is None or people.empty:
            raise SettingsError(
                f"Clips are to be varied ({settings.variant}), but nobody was followed in them.",
                expected="Boxes of people: the variants change what is on their faces, or behind them.",
                remedy="Give person.boxes or person.poses, or set train.augment.variant to 'none'.",
            )
        self.seed = seed
        self.people = {str(name): own for name, own in people.groupby("session")}
        wants_swap = settings.variant in ("deepfake", "mixed")
        self.swap = load_swap(settings.swap) if wants_swap else None
        self.identities = getattr(self.swap, "identities", ()) if wants_swap else ()

    def make(self, frames: Frames, item: Item, *, session: str, numbers: NDArray[np.int64]) -> Frames:
        """Vary some frames of a clip as all frames of this copy are.

        Parameters
        ----------
        frames
            uint8 ``[T, H, W, 3]``.
        item
            The copy.
        session
            Whose frames they are.
        numbers
            Their numbers in the frame store ``[T]``.
        """
        size = (frames.shape[1], frames.shape[2])
        faces = self._place(session, numbers, size, prefix="face_")
        if item.variant == "cutout":
            return cut_out(frames, faces)
        if item.variant == "deepfake" and self.swap is not None:
            return swap_faces(
                frames,
                faces,
                clip=item.sample,
                copy=item.copy,
                seed=self.seed,
                swap=self.swap,
                identities=self.identities,
            )
        persons = self._place(session, numbers, size)
        parts = part_boxes(size, faces=faces, persons=persons)
        draw = draw_general(item.sample, item.copy, seed=self.seed, general=GENERAL)
        return vary(frames, draw, general=GENERAL, masks=_fill(size, persons), parts=parts)

    def _place(self, session: str, numbers: NDArray[np.int64], size: tuple[int, int], *, prefix: str = "") -> Boxes:
        """Return boxes ``[T, P, 4]`` in pixels; NaN where nobody is."""
        known = self.people.get(session)
        if known is None:
            return np.full((len(numbers), 1, 4), np.nan)
        boxes = np.full((len(numbers), int(known["person"].max()) + 1, 4), np.nan)
        rows = known[known["frame"].isin(numbers)]
        sides = rows[[prefix + side for side in _SIDES]].to_numpy(np.float64) * np.array([size[1], size[0]] * 2)
        for frame, person, box in zip(rows["frame"], rows["person"], sides, strict=True):
            boxes[numbers == frame, person] = box
        return boxes


def load_swap(name: str) -> FaceSwap:
    """Load the program that exchanges faces.

    Parameters
    ----------
    name
        ``module:object``; the object, or what it gives when it is a class, has a method ``swap`` and pictures of faces
        ``identities``.

    Raises
    ------
    SettingsError
        When there is no such program, or it has neither.
    """
    place, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(place), attribute) if place and attribute else None
    except (ImportError, AttributeError):
        found = None
    made: Any = found() if isinstance(found, type) else found
    if not callable(getattr(made, "swap", None)) or not len(getattr(made, "identities", ())):
        raise SettingsError(
            f"train.augment.swap is {name!r}, which exchanges no faces.",
            expected="module:object with a method swap and pictures of faces called identities.",
            remedy="Install such a program and name it, or choose another variant.",
        )
    swap: FaceSwap = made
    return swap


def _fill(size: tuple[int, int], boxes: Boxes) -> NDArray[np.bool_]:
    """Mark the pixels inside any box, ``[T, H, W]``."""
    mask = np.zeros((len(boxes), *size), dtype=bool)
    for time, place in np.argwhere(np.isfinite(boxes).all(axis=2)):
        x0, y0, x1, y1 = np.clip(np.round(boxes[time, place]), 0, [size[1], size[0]] * 2).astype(int)
        mask[time, y0:y1, x0:x1] = True
    return mask
