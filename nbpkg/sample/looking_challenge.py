"""Test crops as the challenge gives them out: pictures of faces without labels, with ids that look like numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2

from nbpkg import seeding
from nbpkg.errors import MediaError
from nbpkg.sample.looking_files import estimate_points, estimate_poses
from nbpkg.sample.looking_film import cut_faces
from nbpkg.sample.looking_plan import CHALLENGE, Clip

SIZE = 96  # 224 as published; as large as those of the sample's own tracks, of which all have one size
_ODD_IDS = {CHALLENGE[0]: ("00012", "1e3", "00003"), CHALLENGE[1]: ("ab_cd", "7", "0x1F")}
_LETTERS = "ghijklmnop"
_QUALITY = 90
Place = tuple[str, str, int]  # person, track, frame


def name_crops(clip: Clip, seed: int) -> dict[Place, str]:
    """Choose the unique id of each crop; faces in the gap of a track are not given.

    The first ids are such as a careless program reads as numbers, cuts at a line, or takes for a frame.
    """
    random = seeding.generator(seed, "ids", clip.name)
    places = [
        (person.name, track.name, frame)
        for person in clip.people
        for track in person.tracks
        for frame in range(track.first, track.stop)
        if frame not in track.hidden
    ]
    ids = ["".join(_LETTERS[one] for one in row) for row in random.integers(len(_LETTERS), size=(len(places), 8))]
    odd = _ODD_IDS.get(clip.name, ())
    ids[: len(odd)] = odd
    return dict(zip(places, ids, strict=True))


def write_crops(folder: Path, clip: Clip, seed: int) -> None:
    """Write the crops of a clip as ``<clip>/<track>/<frame>_<unique id>.jpg``.

    Raises
    ------
    MediaError
        When a picture cannot be encoded.
    """
    crops = cut_faces(clip, seed, size=SIZE)
    for (person, track, frame), name in name_crops(clip, seed).items():
        path = folder / clip.name / track / f"{frame:05d}_{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.cvtColor(crops[person, frame], cv2.COLOR_RGB2BGR)
        done, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise MediaError("A crop could not be encoded as JPEG.", where=str(path))
        path.write_bytes(content.tobytes())


def list_poses(clip: Clip, seed: int) -> dict[str, list[float]]:
    """Return the head poses of a clip's crops under ``clip:track:unique id:frame``."""
    poses, names = estimate_poses(clip, seed), name_crops(clip, seed)
    return {f"{clip.name}:{place[1]}:{name}:{place[2]:05d}": poses[place] for place, name in names.items()
            if place in poses}  # fmt: skip


def list_points(clip: Clip, seed: int) -> dict[str, Any]:
    """Return the five points of a clip's crops by track and unique id."""
    points = estimate_points(clip, seed)
    found: dict[str, Any] = {}
    for (_, track, frame), name in name_crops(clip, seed).items():
        if str(frame) in points[track]:
            found.setdefault(track, {})[name] = points[track][str(frame)]
    return found
