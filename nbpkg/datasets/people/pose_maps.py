"""Skeletons as maps of heat, one per joint or limb, which networks over volumes take like film."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nbpkg.datasets.people.images import draw_flip
from nbpkg.datasets.people.images_crops import Draws as Uniform
from nbpkg.datasets.people.images_crops import draw_resized_crop
from nbpkg.datasets.people.pose import (
    Pose,
    compact_pose,
    crop_centre_pose,
    crop_pose,
    flip_pose,
    pick_frames,
    resize_pose,
)
from nbpkg.datasets.people.sampling import Draws, UniformSampleFrames
from nbpkg.errors import MediaError, SettingsError
from nbpkg.models.people.skeleton.graphs import Skeleton, find_skeleton

Floats = NDArray[np.float32]
FAINT = 1e-4  # scores below are not painted
POINT = 1.0  # pixels² of a limb that is painted as a point


@dataclass(frozen=True)
class PoseMaps:
    """How skeletons are painted.

    Parameters
    ----------
    layout
        Skeleton or its name.
    joints, limbs
        What is painted; joints come before limbs.
    sigma
        Width of a spot or stroke, pixels.
    use_score
        Whether heat is the score, else 1.
    length, runs
        Frames of a run, and runs in tests.
    side
        Side of the maps, pixels.
    train_side
        The same in training.
    area
        Least and most share of the frame that training cuts out.
    flip
        Share of clips that training mirrors.
    double
        Whether each run comes once more, mirrored; in tests.
    compat
        ``none``: joints that were not found leave no heat. ``reference``: their score is painted wherever 0 comes to
        lie, as published.

    Raises
    ------
    SettingsError
        When nothing is to be painted, or with no width.

    Source
    ------
    PoseC3D (Duan et al. 2022) as in mmaction2 0.24.1.
    """

    layout: str | Skeleton = "coco"
    joints: bool = True
    limbs: bool = False
    sigma: float = 0.6
    use_score: bool = True
    length: int = 48
    runs: int = 1
    side: int = 64
    train_side: int = 56
    area: tuple[float, float] = (0.56, 1.0)
    flip: float = 0.5
    double: bool = False
    compat: Literal["none", "reference"] = "none"

    def __post_init__(self) -> None:
        skeleton = find_skeleton(self.layout)
        if not (self.joints or (self.limbs and skeleton.limbs)) or self.sigma <= 0:
            raise SettingsError(
                f"Nothing can be painted of skeleton {skeleton.name!r} with sigma {self.sigma}.",
                expected="Joints, or limbs of a skeleton that has some; a sigma above 0.",
                remedy="Correct the setting.",
            )


def prepare_maps(pose: Pose, how: PoseMaps) -> Floats:
    """Paint a clip for tests: the same every time.

    Parameters
    ----------
    pose
        The clip.
    how
        Settings.

    Returns
    -------
    numpy.ndarray
        float32 ``(runs, maps, length, side, side)``; with `double` the mirrored runs follow.
    """
    sampling = UniformSampleFrames(how.length, how.runs, test=True)
    source = np.random.default_rng(0)  # not drawn from: tests have numbers of their own
    picked = compact_pose(pick_frames(_weigh(pose, how), sampling.choose(pose.frames, source)))
    fitted = crop_centre_pose(resize_pose(picked, (-1, how.side)), (how.side, how.side))
    maps = paint_pose(fitted, how)
    if how.double:
        mirrored = flip_pose(fitted, find_skeleton(how.layout).mirror)  # x becomes width - x, so maps are painted anew
        maps = np.concatenate([maps, paint_pose(mirrored, how)])
    return _shape_runs(maps, how.length)


def draw_maps(pose: Pose, draws: Draws, integers: random.Random, how: PoseMaps) -> Floats:
    """Paint a clip for training: frames, part and mirroring are drawn.

    Parameters
    ----------
    pose
        The clip.
    draws, integers
        Where random numbers come from: everything but the place of the part; that place.
    how
        Settings.

    Returns
    -------
    numpy.ndarray
        float32 ``(1, maps, length, train_side, train_side)``.
    """
    frames = UniformSampleFrames(how.length).choose(pose.frames, draws)
    fitted = resize_pose(compact_pose(pick_frames(_weigh(pose, how), frames)), (-1, how.side))
    uniform: Uniform = draws
    part = draw_resized_crop(fitted.size, uniform, integers, area=how.area)
    fitted = resize_pose(crop_pose(fitted, part), (how.train_side, how.train_side), keep_ratio=False)
    if draw_flip(uniform, how.flip):
        fitted = flip_pose(fitted, find_skeleton(how.layout).mirror)
    return _shape_runs(paint_pose(fitted, how), how.length)


def paint_pose(pose: Pose, how: PoseMaps) -> Floats:
    """Paint all persons of each frame; where they overlap, the hotter one is seen.

    Parameters
    ----------
    pose
        The clip, of two coordinates; heat is its scores, 1 without.
    how
        Settings: what is painted, and how wide.

    Returns
    -------
    numpy.ndarray
        float32 ``(T, maps, H, W)``.

    Raises
    ------
    MediaError
        When the joints are not those of the layout.

    Source
    ------
    mmaction2 0.24.1, ``GeneratePoseTarget``: a spot is cut off 3 sigma from its middle, at whole pixels.
    """
    skeleton = find_skeleton(how.layout)
    if pose.keypoint.shape[2:] != (skeleton.joints, 2):
        raise MediaError(
            f"Skeletons of {pose.keypoint.shape[2]} joints in {pose.keypoint.shape[3]} dimensions cannot be painted.",
            expected=f"{skeleton.joints} joints ({skeleton.name}) with x and y.",
            remedy="Name the layout the skeletons were extracted in.",
        )
    heat = np.ones(pose.keypoint.shape[:3], np.float32) if pose.score is None else pose.score
    painted: list[Floats] = []
    if how.joints:
        painted.append(paint_points(pose.keypoint, heat, pose.size, sigma=how.sigma))
    if how.limbs:
        ends = [pose.keypoint[:, :, [limb[at] for limb in skeleton.limbs]] for at in (0, 1)]
        heats = [heat[:, :, [limb[at] for limb in skeleton.limbs]] for at in (0, 1)]
        painted.append(paint_segments(ends[0], ends[1], heats[0], heats[1], pose.size, sigma=how.sigma))
    return np.concatenate(painted, axis=1)


def _weigh(pose: Pose, how: PoseMaps) -> Pose:
    """Make scores what is painted; done first, as a joint that was not found is at 0 only before frames are cropped."""
    heat = pose.score if how.use_score else None
    if how.compat == "none":
        found = ~pose.find_missing()
        heat = found.astype(np.float32) if heat is None else heat * found
    return replace(pose, score=heat)


def paint_points(points: Floats, heat: Floats, size: tuple[int, int], *, sigma: float) -> Floats:
    """Paint a spot at each point.

    Parameters
    ----------
    points
        ``(M, T, K, 2)``, pixels.
    heat
        ``(M, T, K)``.
    size
        ``(height, width)``.
    sigma
        Pixels.

    Returns
    -------
    numpy.ndarray
        float32 ``(T, K, height, width)``, the maximum over persons.
    """
    maps = np.zeros((*points.shape[1:3], *size), dtype=np.float32)
    for person, own in zip(points, heat, strict=True):
        across = _profile(person[..., 0], size[1], sigma)
        down = _profile(person[..., 1], size[0], sigma) * np.where(own < FAINT, 0, own)[..., None]
        np.maximum(maps, down[..., :, None] * across[..., None, :], out=maps)
    return maps


def paint_segments(
    starts: Floats, ends: Floats, start_heat: Floats, end_heat: Floats, size: tuple[int, int], *, sigma: float
) -> Floats:
    """Paint a stroke along each segment, as hot as its fainter end; below a pixel it is a spot as hot as its start.

    Parameters
    ----------
    starts, ends
        ``(M, T, K, 2)``, pixels.
    start_heat, end_heat
        ``(M, T, K)``.
    size
        ``(height, width)``.
    sigma
        Pixels.

    Returns
    -------
    numpy.ndarray
        float32 ``(T, K, height, width)``, the maximum over persons.
    """
    maps = np.zeros((*starts.shape[1:3], *size), dtype=np.float32)
    heat = np.minimum(start_heat, end_heat)
    for person, frame, limb in np.argwhere(heat >= FAINT):
        begin, end, hot = starts[person, frame, limb], ends[person, frame, limb], heat[person, frame, limb]
        if ((end - begin) ** 2).sum() < POINT:
            end, hot = begin, start_heat[person, frame, limb]
        low, high = np.minimum(begin, end), np.maximum(begin, end)
        (left, right), (top, bottom) = (_reach(low[axis], high[axis], size[1 - axis], sigma) for axis in (0, 1))
        if left >= right or top >= bottom:
            continue
        pixels = np.stack(np.meshgrid(np.arange(left, right), np.arange(top, bottom)), axis=-1).astype(np.float32)
        way = end - begin
        length = float(way @ way)
        along = np.zeros(pixels.shape[:2]) if length == 0 else ((pixels - begin) @ way / length).clip(0, 1)
        squares = ((pixels - begin - along[..., None] * way) ** 2).sum(axis=-1)
        stroke = np.exp(-squares / (2 * sigma**2)) * hot
        patch = maps[frame, limb, top:bottom, left:right]
        np.maximum(patch, stroke, out=patch, casting="same_kind")
    return maps


def _profile(middles: Floats, size: int, sigma: float) -> Floats:
    """Return the fall of heat along one axis, ``(..., size)``; 0 beyond the reach."""
    pixels = np.arange(size, dtype=np.float32)
    first = np.trunc(middles - 3 * sigma)[..., None]
    last = np.trunc(middles + 3 * sigma)[..., None]
    fall = np.exp(-((pixels - middles[..., None]) ** 2) / (2 * sigma**2))
    return np.where((pixels >= first) & (pixels <= last), fall, 0).astype(np.float32)


def _reach(low: float, high: float, size: int, sigma: float) -> tuple[int, int]:
    return max(int(low - 3 * sigma), 0), min(int(high + 3 * sigma) + 1, size)


def _shape_runs(maps: Floats, length: int) -> Floats:
    """Lay out ``(runs * length, maps, H, W)`` as ``(runs, maps, length, H, W)``."""
    return np.ascontiguousarray(maps.reshape(-1, length, *maps.shape[1:]).swapaxes(1, 2))
