"""Clips with faces covered, or exchanged by a program of one's own.

Frames are uint8 RGB ``[T, H, W, 3]``, boxes ``x0 y0 x1 y1`` in pixels, float ``[T, P, 4]`` for P persons, NaN where a
person or face is not there. Nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.errors import MediaError, SettingsError

Frames = NDArray[np.uint8]
Boxes = NDArray[np.float64]


def cut_out(frames: Frames, faces: Boxes, *, scale: float = 1.2) -> Frames:
    """Cover every tracked face by a black square, to take away what faces tell.

    Parameters
    ----------
    frames
        uint8 ``[T, H, W, 3]``.
    faces
        Face boxes ``[T, P, 4]``.
    scale
        Side of the square as a multiple of the box's longer side, at least 1 so that no pixel of the face stays.

    Returns
    -------
    ndarray
        uint8 ``[T, H, W, 3]``.

    Raises
    ------
    SettingsError
        When the scale is below 1.
    MediaError
        When frames and boxes do not belong together.

    Source
    ------
    CutOut of the AAMAS'23 study, of which the project page shows only a picture; the side is our choice.
    """
    if scale < 1:
        raise SettingsError(f"Squares of {scale} face boxes would leave faces visible.", expected="At least 1.")
    check_boxes(frames, faces)
    out = frames.copy()
    height, width = frames.shape[1:3]
    for time, place in np.argwhere(np.isfinite(faces).all(axis=2)):
        x0, y0, x1, y1 = faces[time, place]
        half = scale * max(x1 - x0, y1 - y0) / 2
        left, right = np.clip([np.floor((x0 + x1) / 2 - half), np.ceil((x0 + x1) / 2 + half)], 0, width).astype(int)
        top, bottom = np.clip([np.floor((y0 + y1) / 2 - half), np.ceil((y0 + y1) / 2 + half)], 0, height).astype(int)
        out[time, top:bottom, left:right] = 0
    return out


class FaceSwap(Protocol):
    """What exchanges faces: a program of one's own, as no weights can be shipped."""

    def swap(self, frame: Frames, faces: Boxes, identities: Sequence[Frames]) -> Frames:
        """Return a frame with other faces.

        Parameters
        ----------
        frame
            uint8 ``[H, W, 3]``; not to be changed.
        faces
            Boxes of the faces in it, ``[n, 4]``.
        identities
            For each of them a picture of the face to put there.
        """


def swap_faces(
    frames: Frames, faces: Boxes, *, clip: str, copy: int, seed: int, swap: FaceSwap, identities: Sequence[Frames]
) -> Frames:
    """Exchange the faces of a clip; each person keeps one new face throughout.

    Parameters
    ----------
    frames, faces
        As in `cut_out`; the same place is the same person in all frames.
    clip, copy, seed
        What the draw of the new faces depends on.
    swap
        What exchanges them; it is called once for each frame with a face.
    identities
        Pictures of faces to draw from, at least one for each person: no two persons get the same.

    Returns
    -------
    ndarray
        uint8 ``[T, H, W, 3]``.

    Raises
    ------
    SettingsError
        When there are fewer faces than persons.
    MediaError
        When frames and boxes do not belong together, or `swap` returns anything but a frame of the same shape.

    Source
    ------
    DeepFake of the AAMAS'23 study, which used SimSwap and generated faces.
    """
    check_boxes(frames, faces)
    persons = faces.shape[1]
    if len(identities) < persons:
        raise SettingsError(
            f"There are {len(identities)} faces for {persons} persons.",
            where=f"clip {clip!r}",
            expected="At least one for each person.",
            remedy="Add pictures of faces.",
        )
    chosen = seeding.generator(seed, "faces", clip, copy).permutation(len(identities))[:persons]
    out = frames.copy()
    for time, frame in enumerate(frames):
        seen = np.flatnonzero(np.isfinite(faces[time]).all(axis=1))
        if len(seen):
            found = swap.swap(frame.copy(), faces[time, seen], [identities[chosen[place]] for place in seen])
            if found.shape != frame.shape or found.dtype != np.uint8:
                raise MediaError(
                    f"The face swap returned {found.dtype} {list(found.shape)}.",
                    where=f"clip {clip!r}, frame {time}",
                    expected=f"uint8 {list(frame.shape)}, as it was given.",
                )
            out[time] = found
    return out


def check_boxes(frames: Frames, boxes: Boxes) -> None:
    """Refuse frames and boxes that do not belong together.

    Raises
    ------
    MediaError
        When frames are not uint8 ``[T, H, W, 3]``, boxes not ``[T, P, 4]``, or a box is the wrong way round.
    """
    right = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3
    if not right or boxes.ndim != 3 or boxes.shape[2] != 4 or len(boxes) != len(frames):
        raise MediaError(
            f"Frames {frames.dtype} {list(frames.shape)} and boxes {list(boxes.shape)} do not belong together.",
            expected="Frames uint8 [T, H, W, 3] and boxes [T, P, 4] of the same T.",
        )
    turned = (boxes[..., 2] < boxes[..., 0]) | (boxes[..., 3] < boxes[..., 1])
    if turned.any():
        time, place = np.argwhere(turned)[0]
        raise MediaError(
            f"A box {boxes[time, place].tolist()} is the wrong way round.",
            where=f"frame {time}, person {place}",
            expected="x0 y0 x1 y1 with x0 <= x1 and y0 <= y1.",
        )
