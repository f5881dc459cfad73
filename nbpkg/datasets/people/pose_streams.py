"""Skeletons as input of graph networks: joints, bones and their motion, persons in places, and who is there.

Everything comes out persons first, ``(..., M, T, V, C)``, as `nbpkg.models.people.skeleton` takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from nbpkg.datasets.people.pose import Pose, PoseScale, normalise_pose, pick_frames, place_persons, zero_unsure
from nbpkg.datasets.people.sampling import Draws, PaddingWithLoop, UniformSampleFrames
from nbpkg.errors import MediaError, SettingsError
from nbpkg.models.people.skeleton.graphs import Skeleton, find_skeleton

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]
Compat = Literal["none", "reference"]
Floats = NDArray[np.float32]
UNSURE = 0.01


class Skeletons(NamedTuple):
    """Input of a graph network.

    Parameters
    ----------
    values
        float32 ``(..., M, T, V, C)``.
    present
        bool ``(..., M, T)``: who is there.
    """

    values: Floats
    present: NDArray[np.bool_]


def prepare_long(
    pose: Pose,
    *,
    layout: str | Skeleton = "coco",
    frames: int = 300,
    persons: int = 2,
    stream: Literal["joint", "bone"] = "joint",
    scale: PoseScale | None = None,
    compat: Compat = "none",
) -> Skeletons:
    """Prepare a clip whole, begun anew until it is long enough, as ST-GCN and 2s-AGCN take it.

    Parameters
    ----------
    pose
        The clip.
    layout
        Skeleton or its name.
    frames
        How many frames come out.
    persons
        Places.
    stream
        Joints, or bones of which the score remains the joint's.
    scale
        How joints are scaled; ``None`` leaves pixels.
    compat
        ``none``: joints that were not found are 0 in all values, and so are bones that begin or end there; more
        persons than places are refused. ``reference``: missing joints are treated like others, persons beyond the
        places are cut.

    Returns
    -------
    Skeletons
        ``(M, T, V, C)``; the score is the last value where there are scores.

    Raises
    ------
    MediaError
        When the joints are not those of the layout, or persons are too many.

    Source
    ------
    mmaction2 0.24.1: PaddingWithLoop, PoseDecode, JointToBone, FormatGCNInput, PoseNormalize; ``CTVM`` there is
    ``values.transpose(3, 1, 2, 0)`` here.
    """
    skeleton = _check_layout(pose, layout)
    _check_choice(stream, ("joint", "bone"))
    picked = pick_frames(pose, PaddingWithLoop(frames).choose(pose.frames))
    present, missing = _place_present(picked, persons, compat), picked.find_missing()
    if stream == "bone":
        # before scores are joined to them, so that they stay those of joints, as published
        picked = replace(picked, keypoint=make_bones(picked.keypoint, skeleton.parents, scored=False))
        missing = missing | missing[:, :, list(skeleton.parents)]
    values = picked.join_score()
    empty = place_persons(missing, persons)
    values = place_persons(values, persons)
    if scale is not None:
        values = normalise_pose(values, scale)
    if compat == "none":
        values[empty | ~present[..., None]] = 0
    return Skeletons(values, present)


def prepare_runs(
    pose: Pose,
    draws: Draws,
    *,
    layout: str | Skeleton = "coco",
    sampling: UniformSampleFrames | None = None,
    persons: int = 2,
    streams: Sequence[Stream] = ("joint",),
    compat: Compat = "none",
) -> Skeletons:
    """Prepare runs of frames spread over the clip, as CTR-GCN, ST-GCN++, ST-GCN and MS-G3D take them.

    Parameters
    ----------
    pose
        The clip.
    draws
        Where random numbers come from; not used in tests.
    layout
        Skeleton or its name.
    sampling
        Which frames; ``None`` draws one run of 100, as published in training.
    persons
        Places.
    streams
        What is made of the joints; several are joined as further values of each joint.
    compat
        ``none``: more persons than places are refused. ``reference``: persons beyond the places are cut.

    Returns
    -------
    Skeletons
        ``(runs, M, T, V, C)``; scores are the last value of each stream. Motion is that of the whole clip, from the
        frame chosen to the next one of the clip.

    Raises
    ------
    MediaError
        When the joints are not those of the layout, or persons are too many.

    Source
    ------
    PYSKL: PreNormalize2D, GenSkeFeat, UniformSample, PoseDecode, FormatGCNInput. Three coordinates stay as they are.
    """
    skeleton = _check_layout(pose, layout)
    sampling = sampling or UniformSampleFrames(100, portion=(1.0, 1.0))
    present = _place_present(pose, persons, compat)
    flat = pose.keypoint.shape[3] == 2
    values = normalise_plane(pose) if flat else pose.join_score()
    scored = pose.score is not None
    made = [make_stream(values, stream, skeleton.parents, scored=scored) for stream in streams]
    frames = sampling.choose(pose.frames, draws)
    placed = place_persons(np.concatenate(made, axis=-1), persons)[:, frames]
    there = present[:, frames]
    return Skeletons(np.ascontiguousarray(placed.swapaxes(0, 1)), np.ascontiguousarray(there.swapaxes(0, 1)))


def normalise_plane(pose: Pose, *, unsure: float = UNSURE) -> Floats:
    """Scale x and y to -1 .. 1 from the middle of the frame; joints whose score is at most `unsure` come to lie there.

    Parameters
    ----------
    pose
        Of two coordinates.
    unsure
        Score up to which a joint counts as not found.

    Returns
    -------
    numpy.ndarray
        ``(M, T, V, C)``, the score last where there are scores, as it was.

    Source
    ------
    PYSKL ``PreNormalize2D``.
    """
    half = np.array([pose.size[1] / 2, pose.size[0] / 2], dtype=np.float32)
    centred = Pose((pose.keypoint - half) / half, pose.score, pose.size)
    return zero_unsure(centred, unsure).join_score()


def make_stream(values: Floats, stream: Stream, parents: Sequence[int], *, scored: bool) -> Floats:
    """Return joints, bones, or the motion of either.

    Parameters
    ----------
    values
        ``(M, T, V, C)``.
    stream
        Which.
    parents
        Joint from which each joint's bone starts.
    scored
        Whether the last value is a score.

    Returns
    -------
    numpy.ndarray
        The same shape.

    Raises
    ------
    SettingsError
        When there is no such stream.

    Source
    ------
    PYSKL ``GenSkeFeat``.
    """
    _check_choice(stream, get_args(Stream))
    made = make_bones(values, parents, scored=scored) if stream.startswith("bone") else values
    return make_motion(made, scored=scored) if stream.endswith("motion") else made


def make_bones(values: Floats, parents: Sequence[int], *, scored: bool) -> Floats:
    """Return each joint minus the joint from which its bone starts.

    Parameters
    ----------
    values
        ``(M, T, V, C)``.
    parents
        For each joint the number of that joint.
    scored
        Whether the last value is a score: then it becomes the mean of both.

    Returns
    -------
    numpy.ndarray
        The same shape.
    """
    starts = values[:, :, list(parents)]
    bones = values - starts
    if scored:
        bones[..., -1] = (values[..., -1] + starts[..., -1]) / 2
    return bones


def make_motion(values: Floats, *, scored: bool) -> Floats:
    """Return the way from each frame to the next, 0 in the last frame.

    Parameters
    ----------
    values
        ``(M, T, V, C)``.
    scored
        Whether the last value is a score: then it becomes the mean of both frames, in the last frame 0.

    Returns
    -------
    numpy.ndarray
        The same shape.
    """
    motion = np.zeros_like(values)
    motion[:, :-1] = values[:, 1:] - values[:, :-1]
    if scored:
        motion[:, :-1, :, -1] = (values[:, 1:, :, -1] + values[:, :-1, :, -1]) / 2
    return motion


def _place_present(pose: Pose, persons: int, compat: Compat) -> NDArray[np.bool_]:
    """Return who is there in which place, unless somebody would be left out without a word."""
    present = pose.find_present()
    if compat == "none" and present[persons:].any():
        last = int(np.flatnonzero(present.any(axis=1))[-1]) + 1
        raise MediaError(
            f"Place {last} is taken by somebody, and there are {persons} places.",
            expected=f"People in the first {persons} places only.",
            remedy="Give each person a place with arrange_persons, ask for more places, or set compat: reference.",
        )
    return place_persons(present, persons)


def _check_layout(pose: Pose, layout: str | Skeleton) -> Skeleton:
    skeleton = find_skeleton(layout)
    if pose.keypoint.shape[2] != skeleton.joints:
        raise MediaError(
            f"The skeletons have {pose.keypoint.shape[2]} joints, layout {skeleton.name!r} has {skeleton.joints}.",
            expected=f"{skeleton.joints} joints.",
            remedy="Name the layout the skeletons were extracted in.",
        )
    return skeleton


def _check_choice(stream: str, known: Sequence[str]) -> None:
    if stream not in known:
        raise SettingsError(
            f"There is no stream {stream!r} of skeletons.",
            expected=f"One of {', '.join(known)}.",
            remedy="Correct the setting.",
        )
