"""Where the maps of clips lie: in faces and bodies, on what moves, and what social cues go with it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.attention.maps import Values
from nbpkg.attention.people.regions import (
    SIDES,
    average_frames,
    correlate_cues,
    draw_semantic,
    measure_motion,
    score_regions,
)
from nbpkg.attention.people.views import Seen
from nbpkg.datasets.people.augment_people import part_boxes
from nbpkg.errors import TableError

FACE, BODY = "face", "body"
EVERYBODY, TOGETHER, PICTURE = "all", "together", "picture"
FACE_SIDES = [f"face_{side}" for side in SIDES]
CUES = ("body_distance", "movement", "face_seen")


def score_clip(maps: Values, seen: Seen, people: pd.DataFrame, *, alpha: float) -> pd.DataFrame:
    """Score how far the maps of one clip agree with its people and what moves.

    Parameters
    ----------
    maps
        One scale for the clip, 0..1, ``[views, T, H, W]``.
    seen
        The clip as the network saw it.
    people
        Rows of the table ``people`` of the clip's session; none where nobody was followed.
    alpha
        Weight of faces and bodies against motion, see `nbpkg.attention.people.regions.score_regions`.

    Returns
    -------
    pandas.DataFrame
        who, region, mutual_information, cross_entropy, share, area, frames, of ``face`` and ``body`` of each role of
        the session, of the box round everybody (``all``, ``together``) and of the ``picture``. A frame that several
        views hold counts once, with the mean of its maps. ``share`` and ``area`` are means over the same frames: those
        in which the region is there and the map is anywhere above 0.
    """
    frames, place, first = _find_frames(seen)
    cam = _average_maps(maps, place, len(frames))
    boxes, roles = _find_boxes(people, frames, seen)
    size = (cam.shape[1], cam.shape[2])
    parts = part_boxes(size, faces=boxes[:, :, 1], persons=boxes[:, :, 0])
    motion = measure_motion(seen.pictures()[first])
    regions = _list_regions(boxes, roles, size)
    scores = average_frames(score_regions(cam, draw_semantic(parts), motion, regions, alpha=alpha))
    shares = _share_mass(cam, regions)
    found = scores.merge(shares, on=["role", "part"], validate="one_to_one")
    return found.rename(columns={"role": "who", "part": "region", "n": "frames"})


def measure_cues(people: pd.DataFrame, clips: pd.DataFrame, *, spans: Mapping[str, tuple[int, int]],
                 media: pd.DataFrame) -> pd.DataFrame:  # fmt: skip
    """Measure what boxes tell about how people are together.

    Parameters
    ----------
    people
        Table ``people``.
    clips
        Rows of the table ``clips``.
    spans
        First frame and number of frames of each sample, in frames of the store.
    media
        Table ``media``.

    Returns
    -------
    pandas.DataFrame
        unit (sample), ``body_distance`` (between the middles of two people, mean over pairs and frames) and
        ``movement`` (of the middle of a person in a second, mean over people and frames), both in widths of the
        picture, and ``face_seen`` (share of boxes of people with a face); NaN where nobody or only one person is.
    """
    columns = ["width", "height", "fps_num", "fps_den"]
    sizes = dict(zip(media["session"], media[columns].to_numpy(np.float64), strict=True))
    rows = []
    for row in clips.itertuples():
        first, count = spans[str(row.sample_id)]
        own = people[(people["session"] == row.session) & people["frame"].between(first, first + count - 1)]
        width, height, frames, seconds = sizes[str(row.session)]
        flat = height / width
        middle = own.assign(x=(own["x0"] + own["x1"]) / 2, y=flat * (own["y0"] + own["y1"]) / 2)
        grid = middle.pivot_table(index="frame", columns="person", values=["x", "y"])
        faces = own[FACE_SIDES].notna().all(axis=1)
        moved = _measure_movement(grid) * frames / seconds
        cues = (_measure_distance(grid), moved, float(faces.mean()) if len(own) else np.nan)
        rows.append((str(row.sample_id), *cues))
    return pd.DataFrame(rows, columns=["unit", *CUES])


def correlate_regions(regions: pd.DataFrame, cues: pd.DataFrame) -> pd.DataFrame:
    """Correlate the region scores of clips with social cues.

    Parameters
    ----------
    regions
        Table ``people_regions`` of one system.
    cues
        Column unit (sample) and one numeric column for each cue, e.g. from `measure_cues`, or smiles and angles of the
        head from another program.

    Returns
    -------
    pandas.DataFrame
        who, region, measure, cue, pearson, spearman, n (clips with both); NaN below 3 clips.

    Raises
    ------
    TableError
        When there are several systems, or the cues have no column unit.
    """
    if len(set(regions["system"])) > 1:
        raise TableError("Region scores of several systems cannot be correlated at once.", expected="One system.")
    named = {"sample_id": "unit", "who": "role", "region": "part"}
    found = correlate_cues(regions.rename(columns=named), cues)
    return found.rename(columns={"role": "who", "part": "region"})


def _find_frames(seen: Seen) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the frames of the store seen, which of them each picture is, and a picture of each."""
    frames, first, place = np.unique(seen.numbers, return_index=True, return_inverse=True)
    return frames, place.reshape(-1).astype(np.int64), first.astype(np.int64)


def _average_maps(maps: Values, place: NDArray[np.int64], count: int) -> Values:
    """Return the mean map of each frame, ``[count, H, W]``."""
    means = np.zeros((count, *maps.shape[-2:]), dtype=np.float64)
    np.add.at(means, place, maps.reshape(-1, *maps.shape[-2:]))
    means /= np.bincount(place, minlength=count)[:, None, None]
    return np.clip(means, 0, 1).astype(np.float32)


def _find_boxes(
    people: pd.DataFrame, frames: NDArray[np.int64], seen: Seen
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return boxes in pixels of the maps, ``[frames, roles, body or face, 4]``, NaN where there is none; and roles."""
    roles = tuple(dict.fromkeys(people.sort_values("person")["who"].astype(str)))
    boxes = np.full((len(frames), len(roles), 2, 4), np.nan)
    own = people[people["frame"].isin(frames)]
    times = np.searchsorted(frames, own["frame"].to_numpy(np.int64))
    places = [roles.index(str(role)) for role in own["who"]]
    for kind, sides in enumerate((SIDES, FACE_SIDES)):
        boxes[times, places, kind] = seen.place(own[sides].to_numpy(np.float64))
    return boxes, roles


def _list_regions(boxes: NDArray[np.float64], roles: tuple[str, ...], size: tuple[int, int]) -> pd.DataFrame:
    """List all regions of all frames as `score_regions` takes them."""
    frames, parts = range(len(boxes)), []
    for place, role in enumerate(roles):
        for kind, part in enumerate((BODY, FACE)):
            parts.append(_tabulate(role, part, boxes[:, place, kind]))
    if roles:
        bodies = boxes[:, :, 0]
        low = np.where(np.isnan(bodies), np.inf, bodies).min(axis=1)[:, :2]
        high = np.where(np.isnan(bodies), -np.inf, bodies).max(axis=1)[:, 2:]
        both = np.concatenate([low, high], axis=1)
        parts.append(_tabulate(EVERYBODY, TOGETHER, np.where(np.isfinite(both), both, np.nan)))
    whole = np.broadcast_to(np.array([0.0, 0.0, size[1], size[0]]), (len(frames), 4))
    return pd.concat([*parts, _tabulate(EVERYBODY, PICTURE, whole)], ignore_index=True)


def _tabulate(role: str, part: str, boxes: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(boxes, columns=SIDES).assign(frame=np.arange(len(boxes)), role=role, part=part)


def _share_mass(cam: Values, regions: pd.DataFrame) -> pd.DataFrame:
    """Return role, part, share of the map's mass inside and area, means over frames with any mass."""
    height, width = cam.shape[1:]
    masses = cam.sum(axis=(1, 2), dtype=np.float64)
    edges = np.nan_to_num(regions[SIDES].to_numpy(np.float64), nan=0.0)
    cut = np.clip(np.trunc(edges), 0, [width, height, width, height]).astype(np.int64)
    rows = []
    for (x0, y0, x1, y1), frame, role, part in zip(
        cut, regions["frame"], regions["role"], regions["part"], strict=True
    ):
        there = x0 < x1 and y0 < y1
        area = (x1 - x0) * (y1 - y0) / (height * width) if there else np.nan
        mass = masses[frame]
        inside = float(cam[frame, y0:y1, x0:x1].sum(dtype=np.float64)) / mass if there and mass > 0 else np.nan
        rows.append((role, part, inside, area if there and mass > 0 else np.nan, area))
    table = pd.DataFrame(rows, columns=["role", "part", "share", "area", "whole"])
    means = table.groupby(["role", "part"], sort=True).mean().reset_index()
    # Of a map that is 0 throughout, only the area is known.
    return means.assign(area=means["area"].fillna(means["whole"])).drop(columns="whole")


def _measure_distance(grid: pd.DataFrame) -> float:
    if grid.empty:
        return np.nan
    pairs = list(combinations(grid["x"].columns, 2))
    apart = [np.hypot(grid["x"][a] - grid["x"][b], grid["y"][a] - grid["y"][b]) for a, b in pairs]
    return float(pd.concat(apart).mean()) if apart else np.nan


def _measure_movement(grid: pd.DataFrame) -> float:
    """Return the mean path of a person from one frame to the next; frames without the person are left out."""
    if len(grid) < 2:
        return np.nan
    x, y = (np.diff(grid[axis].to_numpy(np.float64), axis=0) for axis in ("x", "y"))
    steps = np.hypot(x, y) / np.diff(grid.index.to_numpy(np.float64))[:, None]
    return float(steps[np.isfinite(steps)].mean()) if np.isfinite(steps).any() else np.nan
