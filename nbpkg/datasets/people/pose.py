"""Skeletons of one clip, and what is done to them: frames chosen, boxes tightened, cropped, resized, mirrored, scaled.

Coordinates are pixels, x before y. A joint that was not found is at (0, 0). Each person keeps one place in all frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbpkg.datasets.people.images import fit_size
from nbpkg.datasets.people.images_crops import Part, Size
from nbpkg.errors import MediaError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Pose:
    """Keypoints of everybody in a clip.

    Parameters
    ----------
    keypoint
        ``(M, T, V, 2 or 3)``: persons, frames, joints, coordinates; becomes float32. Not a number becomes 0.
    score
        ``(M, T, V)``, how sure each joint is, 0 to 1; ``None`` where nothing says so.
    size
        ``(height, width)`` of the frames, pixels.

    Raises
    ------
    MediaError
        When shapes do not fit each other, or there are no frames.
    """

    keypoint: Floats
    score: Floats | None
    size: Size

    def __post_init__(self) -> None:
        keypoint = np.nan_to_num(np.asarray(self.keypoint, dtype=np.float32), posinf=np.inf, neginf=-np.inf)
        score = None if self.score is None else np.asarray(self.score, dtype=np.float32)
        shapes = f"{keypoint.shape}" if score is None else f"{keypoint.shape} with scores {score.shape}"
        fits = keypoint.ndim == 4 and keypoint.shape[3] in (2, 3) and 0 not in keypoint.shape[1:]
        if not fits or (score is not None and score.shape != keypoint.shape[:3]) or min(self.size) < 1:
            raise MediaError(
                f"Keypoints {shapes} of frames of {self.size[1]} x {self.size[0]} are no skeletons of a clip.",
                expected="(persons, frames, joints, 2 or 3), a score for each joint or none, at least one frame.",
                remedy="Extract the skeletons of this clip again.",
            )
        object.__setattr__(self, "keypoint", keypoint)
        object.__setattr__(self, "score", score)

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return int(self.keypoint.shape[1])

    def find_present(self) -> NDArray[np.bool_]:
        """Return bool ``(M, T)``: whether a person has a joint that was found."""
        return np.asarray(~self.find_missing().all(axis=2))

    def find_missing(self) -> NDArray[np.bool_]:
        """Return bool ``(M, T, V)``: whether a joint was not found."""
        return np.asarray((self.keypoint[..., :2] == 0).all(axis=3))

    def join_score(self) -> Floats:
        """Return keypoints with the score as last value, ``(M, T, V, C)``; as they are without scores."""
        if self.score is None:
            return self.keypoint
        return np.concatenate([self.keypoint, self.score[..., None]], axis=3)


def pick_frames(pose: Pose, frames: ArrayLike) -> Pose:
    """Return the frames chosen, in the order given.

    Parameters
    ----------
    pose
        The clip.
    frames
        Frame numbers from 0, any shape; runs follow one another.

    Returns
    -------
    Pose
        As many frames as numbers.

    Raises
    ------
    MediaError
        When the clip has no such frame.
    """
    numbers = np.asarray(frames, dtype=np.int64).reshape(-1)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < pose.frames:
        raise MediaError(
            f"Frames {numbers.min()} to {numbers.max()} were chosen of a clip whose skeletons have {pose.frames}.",
            expected="Frame numbers from 0, below the number of frames.",
            remedy="Choose frames by the number of frames of the skeletons.",
        )
    score = None if pose.score is None else pose.score[:, numbers]
    return Pose(pose.keypoint[:, numbers], score, pose.size)


def compact_pose(
    pose: Pose,
    *,
    padding: float = 0.25,
    threshold: float = 10.0,
    ratio: float | tuple[float, float] | None = 1.0,
    beyond: bool = True,
) -> Pose:
    """Crop to the box of all joints of all persons and frames, padded.

    Parameters
    ----------
    pose
        The clip.
    padding
        By which share the box is widened.
    threshold
        A box narrower or lower than this, pixels, is left alone: the clip stays as it is.
    ratio
        Least height over width, and least width over height as its inverse (one number for both); ``None`` keeps it.
    beyond
        Whether the box may reach beyond the frame.

    Returns
    -------
    Pose
        Joints that were not found stay 0, also if only one coordinate is 0.

    Source
    ------
    mmaction2 0.24.1, ``PoseCompact``.
    """
    found = [axis[axis != 0] for axis in (pose.keypoint[..., 0], pose.keypoint[..., 1])]
    if any(not len(axis) or axis.max() - axis.min() < threshold for axis in found):
        return pose
    centre = [(float(axis.max()) + float(axis.min())) / 2 for axis in found]
    half = [(float(axis.max()) - float(axis.min())) / 2 * (1 + padding) for axis in found]
    if ratio is not None:
        low, high = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        half[1] = max(low * half[0], half[1])
        half[0] = max(half[1] / high, half[0])
    starts = [middle - reach for middle, reach in zip(centre, half, strict=True)]
    ends = [middle + reach for middle, reach in zip(centre, half, strict=True)]
    if not beyond:
        starts = [max(0.0, start) for start in starts]
        ends = [min(float(limit), end) for end, limit in zip(ends, (pose.size[1], pose.size[0]), strict=True)]
    left, top, right, bottom = (int(edge) for edge in (*starts, *ends))
    shift = np.zeros(pose.keypoint.shape[3], dtype=np.float32)
    shift[:2] = left, top
    keypoint = np.where(pose.keypoint != 0, pose.keypoint - shift, pose.keypoint)
    return Pose(keypoint, pose.score, (bottom - top, right - left))


def resize_pose(pose: Pose, scale: tuple[int, int], *, keep_ratio: bool = True) -> Pose:
    """Resize frames of skeletons; `scale` and `keep_ratio` as for `nbpkg.datasets.people.images.fit_size`."""
    size = fit_size(pose.size, scale, keep_ratio=keep_ratio)
    factor = np.ones(pose.keypoint.shape[3], dtype=np.float32)
    factor[:2] = size[1] / pose.size[1], size[0] / pose.size[0]
    return Pose(pose.keypoint * factor, pose.score, size)


def crop_pose(pose: Pose, part: Part) -> Pose:
    """Cut out a part of the frames: its corner becomes the origin, also for joints that were not found."""
    shift = np.zeros(pose.keypoint.shape[3], dtype=np.float32)
    shift[:2] = part.left, part.top
    return Pose(pose.keypoint - shift, pose.score, (part.height, part.width))


def crop_centre_pose(pose: Pose, size: Size) -> Pose:
    """Cut out the middle; it may be larger than the frames."""
    height, width = pose.size
    return crop_pose(pose, Part((width - size[1]) // 2, (height - size[0]) // 2, size[1], size[0]))


def flip_pose(pose: Pose, mirror: Sequence[tuple[int, int]]) -> Pose:
    """Mirror left and right: places, and which joint is which.

    Parameters
    ----------
    pose
        The clip.
    mirror
        Pairs of joints (left, right).

    Returns
    -------
    Pose
        A joint at x = 0 stays there: it was not found.
    """
    order = mirror_order(pose.keypoint.shape[2], mirror)
    keypoint = pose.keypoint.copy()
    across = keypoint[..., 0]
    across[across != 0] = pose.size[1] - across[across != 0]
    score = None if pose.score is None else pose.score[:, :, order]
    return Pose(keypoint[:, :, order], score, pose.size)


def mirror_order(count: int, mirror: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """Return which of `count` items stands in whose place when left and right are exchanged.

    Examples
    --------
    >>> mirror_order(4, [(1, 2)]).tolist()
    [0, 2, 1, 3]
    """
    order = np.arange(count)
    for left, right in mirror:
        order[[left, right]] = right, left
    return order


class PoseScale(NamedTuple):
    """By what x, y and the third value are scaled: ``(value - mean) / (most - least)``.

    Parameters
    ----------
    mean, most, least
        One number for each value.
    """

    mean: tuple[float, ...]
    most: tuple[float, ...]
    least: tuple[float, ...] = (0.0, 0.0, 0.0)

    @classmethod
    def of_size(cls, size: Size) -> PoseScale:
        """Return the scale that brings frames of this size (height, width), and scores, to -0.5 .. 0.5."""
        height, width = size
        return cls((width / 2, height / 2, 0.5), (width, height, 1.0))


# Of frames of 1920 x 1080: the published setting, also where frames are smaller.
PUBLISHED_SCALE = PoseScale.of_size((1080, 1920))


def normalise_pose(values: Floats, scale: PoseScale) -> Floats:
    """Scale joints.

    Parameters
    ----------
    values
        ``(..., C)``: x, y and, if there is one, a third value.
    scale
        By what; `PoseScale.of_size` of the clip's frames, or `PUBLISHED_SCALE`.

    Returns
    -------
    numpy.ndarray
        float32, the same shape. A joint that was not found becomes -0.5 in each value, as published.

    Source
    ------
    mmaction2 0.24.1, ``PoseNormalize``.
    """
    count = values.shape[-1]
    mean, most, least = (np.array(item[:count], dtype=np.float32) for item in scale)
    return np.asarray((values - mean) / (most - least), dtype=np.float32)


def place_persons(values: NDArray, persons: int) -> NDArray:
    """Fill a fixed number of places in the order of persons; empty places are 0 (or false), persons beyond are cut.

    Parameters
    ----------
    values
        ``(M, ...)``.
    persons
        Places.

    Returns
    -------
    numpy.ndarray
        ``(persons, ...)``.
    """
    placed = np.zeros((persons, *values.shape[1:]), dtype=values.dtype)
    placed[: len(values)] = values[:persons]
    return placed


def arrange_persons(pose: Pose, places: Sequence[int], *, count: int) -> Pose:
    """Put each person in a place of its own, e.g. by role, so that a network meets the parent always in the same place.

    Parameters
    ----------
    pose
        The clip.
    places
        For each person the place from 0, or -1 for one who is left out.
    count
        Places; those nobody takes are 0.

    Returns
    -------
    Pose
        Of `count` persons.

    Raises
    ------
    MediaError
        When places are missing, shared, or not there.
    """
    taken = [place for place in places if place >= 0]
    if len(places) != len(pose.keypoint) or len(set(taken)) < len(taken) or max(taken, default=0) >= count:
        raise MediaError(
            f"{len(pose.keypoint)} persons cannot take the places {list(places)} of {count}.",
            expected=f"One number below {count} for each person, no two the same, or -1.",
            remedy="Correct the roles of the persons in this clip.",
        )
    persons = [person for person, place in enumerate(places) if place >= 0]
    keypoint = np.zeros((count, *pose.keypoint.shape[1:]), dtype=np.float32)
    keypoint[taken] = pose.keypoint[persons]
    score = None
    if pose.score is not None:
        score = np.zeros(keypoint.shape[:3], dtype=np.float32)
        score[taken] = pose.score[persons]
    return Pose(keypoint, score, pose.size)


def zero_unsure(pose: Pose, threshold: float) -> Pose:
    """Set joints to 0 whose score is not above a threshold; scores stay."""
    if pose.score is None:
        return pose
    return replace(pose, keypoint=np.where(pose.score[..., None] > threshold, pose.keypoint, np.float32(0)))
