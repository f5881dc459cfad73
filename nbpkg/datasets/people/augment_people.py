"""The variant General of clips: other backgrounds, noise, rotation, mirroring, colours of the parts of the body.

Everything is drawn once for a clip and its copy, from the seed, the clip's name and the number of the copy, so that a
copy is the same in whatever order copies are made. Frames are uint8 RGB ``[T, H, W, 3]``, boxes ``x0 y0 x1 y1`` in
pixels, float ``[T, P, 4]`` for P persons, NaN where a person or face is not there. Nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg import seeding
from nbpkg.datasets.people.augment_people_faces import Boxes, Frames
from nbpkg.errors import MediaError, SettingsError

MODES = ("keep", "colour", "indoor", "blur")
PARTS = ("other", "head", "face", "upper body")
_COLOURS = np.array([[128, 128, 128], [230, 159, 0], [86, 180, 233], [0, 158, 115]], dtype=np.float32)  # of `PARTS`


@dataclass(frozen=True)
class General:
    """What the variant General may do to a clip.

    Parameters
    ----------
    modes
        Backgrounds among which one is drawn, of `MODES`: left as it is, one colour, a picture of a room, blurred.
    blur
        Spread of the blur, pixels.
    noise, noise_share
        Spread of Gaussian noise, grey levels, and the share of clips that get it.
    degrees, rotation_share
        Largest rotation to either side, and the share of clips that are rotated.
    flip_share
        Share of clips that are mirrored.
    overlay, overlay_share
        How much the colours of the body's parts cover, 0 to 1, and the share of clips that get them.

    Source
    ------
    General Aug of the AAMAS'23 study, of which neither code nor numbers were published: all numbers are our choice.
    """

    modes: tuple[str, ...] = MODES
    blur: float = 15.0
    noise: float = 10.0
    noise_share: float = 0.5
    degrees: float = 15.0
    rotation_share: float = 0.5
    flip_share: float = 0.5
    overlay: float = 0.4
    overlay_share: float = 0.3

    def __post_init__(self) -> None:
        shares = (self.noise_share, self.rotation_share, self.flip_share, self.overlay_share, self.overlay)
        unknown = [mode for mode in self.modes if mode not in MODES]
        if not self.modes or unknown or not all(0 <= share <= 1 for share in shares):
            raise SettingsError(
                f"Clips cannot be varied by {self}.",
                expected=f"Backgrounds of {', '.join(MODES)}, at least one; shares from 0 to 1.",
                remedy="Correct the parameter file.",
            )
        if self.blur <= 0 or self.noise < 0 or self.degrees < 0:
            raise SettingsError(
                f"Clips cannot be varied by {self}.", expected="Blur above 0, noise and degrees from 0."
            )


@dataclass(frozen=True)
class GeneralDraw:
    """What is done to all frames of one copy.

    Parameters
    ----------
    mode
        Background.
    colour
        Of the background, RGB.
    room
        Number of the picture of a room; -1 when there is none.
    noise
        Seed of the noise; None for none.
    degrees
        Rotation, counter-clockwise; 0 for none.
    flip
        Whether left and right are exchanged.
    overlay
        Whether the parts of the body are coloured.
    """

    mode: str
    colour: tuple[int, int, int]
    room: int
    noise: int | None
    degrees: float
    flip: bool
    overlay: bool


def draw_general(clip: str, copy: int, *, seed: int, general: General, rooms: int = 0) -> GeneralDraw:
    """Draw what is done to one copy of a clip; what does not happen is drawn, too, so that the rest stays as it was.

    Parameters
    ----------
    clip
        Name of the original clip.
    copy
        Number of the copy.
    seed
        The experiment's seed.
    general
        What may be done.
    rooms
        How many pictures of rooms there are.

    Raises
    ------
    SettingsError
        When rooms may be drawn but there are none.
    """
    if "indoor" in general.modes and rooms < 1:
        raise SettingsError(
            "There is no picture of a room for the background 'indoor'.",
            expected="At least one picture.",
            remedy="Name a folder of pictures, or leave 'indoor' out of the backgrounds.",
        )
    draws = seeding.generator(seed, "general", clip, copy)
    mode = general.modes[int(draws.integers(len(general.modes)))]
    red, green, blue = draws.integers(256, size=3).tolist()
    room = int(draws.integers(max(rooms, 1))) if rooms else -1
    degrees = float(draws.uniform(-general.degrees, general.degrees))
    noisy, turned, mirrored, coloured = (draws.random(4) < _shares(general)).tolist()
    return GeneralDraw(
        mode=mode,
        colour=(red, green, blue),
        room=room,
        noise=seeding.child(seed, "general", clip, copy, "noise") if noisy else None,
        degrees=degrees if turned else 0.0,
        flip=mirrored,
        overlay=coloured,
    )


def vary(
    frames: Frames,
    draw: GeneralDraw,
    *,
    general: General,
    masks: NDArray[np.bool_],
    rooms: Sequence[Frames] = (),
    parts: NDArray[np.uint8] | None = None,
) -> Frames:
    """Make one copy of a clip: background, noise, rotation, mirroring, colours of the parts, in this order.

    Parameters
    ----------
    frames
        uint8 ``[T, H, W, 3]``.
    draw
        From `draw_general`.
    general
        From which it was drawn.
    masks
        Where persons are, bool ``[T, H, W]``.
    rooms
        Pictures of rooms, uint8 ``[h, w, 3]``, of any size.
    parts
        Number in `PARTS` of each pixel, uint8 ``[T, H, W]``, e.g. from `part_boxes`; needed for the colours only.

    Returns
    -------
    ndarray
        uint8 ``[T, H, W, 3]``.

    Raises
    ------
    MediaError
        When masks or parts are not of the frames' shape.
    SettingsError
        When a room or the parts are missing.
    """
    _check_masks(frames, masks, parts)
    if draw.overlay and parts is None:
        raise SettingsError(
            "The colours of the body's parts were drawn, but no parts are given.",
            remedy="Give a map of parts, or set the share of clips with colours to 0.",
        )
    ground = _background(frames, draw, general, rooms)
    out = frames if ground is None else np.where(masks[..., None], frames, ground)
    if draw.noise is not None:
        field = seeding.generator(draw.noise).normal(0, general.noise, size=frames.shape[1:])
        out = _to_grey_levels(out + field)
    out = move(out, draw)
    if draw.overlay and parts is not None:
        colours = _COLOURS[move(parts, draw, smooth=False)]
        out = _to_grey_levels((1 - general.overlay) * out + general.overlay * colours)
    return np.ascontiguousarray(out)


def move(pictures: NDArray[np.uint8], draw: GeneralDraw, *, smooth: bool = True) -> NDArray[np.uint8]:
    """Rotate and mirror pictures as a copy is; what comes from outside is 0.

    Parameters
    ----------
    pictures
        uint8 ``[T, H, W, 3]``, or numbers ``[T, H, W]``.
    draw
        The draw.
    smooth
        Whether values between pixels are mixed; False for numbers of parts.
    """
    out = pictures
    if draw.degrees:
        height, width = pictures.shape[1:3]
        how = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        turn = _rotation((height, width), draw.degrees)
        out = np.stack([cv2.warpAffine(picture, turn, (width, height), flags=how) for picture in pictures])
    return out[:, :, ::-1] if draw.flip else out


def move_boxes(boxes: Boxes, draw: GeneralDraw, size: tuple[int, int]) -> Boxes:
    """Move boxes as `move` moves pixels: to the smallest upright box that holds the moved one, cut to the frame.

    Parameters
    ----------
    boxes
        ``[..., 4]``.
    draw
        The draw.
    size
        ``(height, width)`` of the frames, pixels.

    Returns
    -------
    ndarray
        ``[..., 4]``; NaN where nothing of a box is left in the frame.
    """
    corners = boxes[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]
    height, width = size
    if draw.degrees:
        turn = _rotation(size, draw.degrees)
        corners = (corners - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5  # OpenCV counts from the centres of pixels
    if draw.flip:
        corners = np.stack([width - corners[..., 0], corners[..., 1]], axis=-1)
    moved = np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)
    moved = np.clip(moved, 0, [width, height, width, height])
    gone = (moved[..., 2] <= moved[..., 0]) | (moved[..., 3] <= moved[..., 1])
    return np.where(gone[..., None], np.nan, moved)


def part_boxes(size: tuple[int, int], *, faces: Boxes, persons: Boxes, head: float = 1.6) -> NDArray[np.uint8]:
    """Draw a rough map of parts from boxes, for where no segmentation is at hand.

    Parameters
    ----------
    size
        ``(height, width)``, pixels.
    faces, persons
        Boxes ``[T, P, 4]``.
    head
        Side of the head as a multiple of the face box's.

    Returns
    -------
    ndarray
        Number in `PARTS` of each pixel, uint8 ``[T, H, W]``: the upper half of a person, over it the head, over it the
        face.
    """
    height, width = size
    out = np.zeros((len(faces), height, width), dtype=np.uint8)
    centre, half = (faces[..., :2] + faces[..., 2:]) / 2, head * (faces[..., 2:] - faces[..., :2]) / 2
    upper = persons.copy()
    upper[..., 3] = (persons[..., 1] + persons[..., 3]) / 2
    for part, boxes in ((3, upper), (1, np.concatenate([centre - half, centre + half], axis=-1)), (2, faces)):
        for time, place in np.argwhere(np.isfinite(boxes).all(axis=2)):
            x0, y0, x1, y1 = np.clip(np.round(boxes[time, place]), 0, [width, height, width, height]).astype(int)
            out[time, y0:y1, x0:x1] = part
    return out


def _shares(general: General) -> NDArray[np.float64]:
    return np.array([general.noise_share, general.rotation_share, general.flip_share, general.overlay_share])


def _check_masks(frames: Frames, masks: NDArray, parts: NDArray | None) -> None:
    for name, found in (("masks", masks), ("parts", masks if parts is None else parts)):
        if found.shape != frames.shape[:3]:
            raise MediaError(
                f"The {name} have the shape {list(found.shape)}.", expected=f"{list(frames.shape[:3])}, as the frames."
            )
    if parts is not None and parts.size and parts.max() >= len(PARTS):
        raise MediaError(
            f"There is no part {int(parts.max())}.", expected=f"0 to {len(PARTS) - 1}: {', '.join(PARTS)}."
        )


def _background(frames: Frames, draw: GeneralDraw, general: General, rooms: Sequence[Frames]) -> Frames | None:
    height, width = frames.shape[1:3]
    if draw.mode == "colour":
        return np.broadcast_to(np.array(draw.colour, dtype=np.uint8), frames.shape)
    if draw.mode == "indoor":
        if not 0 <= draw.room < len(rooms):
            raise SettingsError(f"There is no picture {draw.room} of a room.", expected=f"{len(rooms)} pictures.")
        room = cv2.resize(rooms[draw.room], (width, height), interpolation=cv2.INTER_AREA)
        return np.broadcast_to(room, frames.shape)
    if draw.mode == "blur":
        return np.stack([cv2.GaussianBlur(frame, (0, 0), general.blur) for frame in frames])
    return None


def _rotation(size: tuple[int, int], degrees: float) -> NDArray[np.float64]:
    height, width = size
    return np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0), dtype=np.float64)


def _to_grey_levels(values: NDArray) -> Frames:
    levels: Frames = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels
