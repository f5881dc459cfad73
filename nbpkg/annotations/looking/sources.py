"""All that is annotated of a study's face tracks, from wherever the settings say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from nbpkg.annotations.looking.challenge import COLUMNS, read_challenge
from nbpkg.annotations.looking.clips import Clip, Segment
from nbpkg.annotations.looking.ego4d import read_ego4d
from nbpkg.annotations.looking.lists import read_lists
from nbpkg.annotations.looking.prepared import read_prepared, read_segment_files
from nbpkg.annotations.looking.strict import show
from nbpkg.errors import AnnotationError, Problem, raise_all
from nbpkg.settings.looking import FaceTrackSettings


@dataclass(frozen=True)
class Sources:
    """What was read.

    Parameters
    ----------
    clips
        Annotated clips in order of their uids, the tracks of each in order of theirs.
    splits
        Clip to its part of the official lists; empty where it is in none.
    second
        Clip to the looking segments of a second annotator, for clips that have any file of theirs.
    pictures
        Test crops of the challenge, see `read_challenge`; `path` is relative to the data folder.
    problems
        Everything noticed, no error among it.
    """

    clips: tuple[Clip, ...]
    splits: dict[str, str]
    second: dict[str, tuple[Segment, ...]]
    pictures: pd.DataFrame
    problems: list[Problem]


def read_sources(data: Path, settings: FaceTrackSettings) -> Sources:
    """Read annotations, lists, second annotations and test crops.

    Parameters
    ----------
    data
        Data folder.
    settings
        What is where.

    Raises
    ------
    AnnotationError
        Listing everything that cannot be used, of all files.
    """
    if settings.form == "ego4d":
        paths = [data / name for name in settings.annotations]
        clips, problems = read_ego4d(paths, compat=settings.compat == "reference")
    else:
        clips, problems = read_prepared(data / settings.tracks, data / settings.segments)
    known = {clip.session for clip in clips}
    pictures, noted = read_challenge(data / settings.challenge) if settings.challenge else (_no_pictures(), [])
    problems += noted
    crops = set(pictures["session"])
    problems += _check_both(sorted(known & crops), settings.challenge)
    splits = {clip.session: clip.split for clip in clips}
    if settings.lists:
        found, noted = read_lists(data, settings.lists, known=known | crops)
        splits = {session: found.get(session, "") for session in splits}
        problems += noted
    second: dict[str, tuple[Segment, ...]] = {}
    if settings.second:
        second, noted = read_segment_files(data / settings.second, known)
        problems += noted
    raise_all(problems, AnnotationError, summary="annotations of face tracks cannot be used")
    if not clips and pictures.empty:
        raise AnnotationError(
            "No clip is annotated.", where=str(data), expected="Clips with face tracks.", remedy="Correct parse."
        )
    pictures = pictures.assign(path=[f"{settings.challenge}/{path}" for path in pictures["path"]])
    return Sources(
        tuple(sorted(map(_in_order, clips), key=lambda clip: clip.session)), splits, second, pictures, problems
    )


def _in_order(clip: Clip) -> Clip:
    return replace(clip, tracks=tuple(sorted(clip.tracks, key=lambda track: track.track)))


def _no_pictures() -> pd.DataFrame:
    return pd.DataFrame(columns=COLUMNS).astype({"frame": "int64"})


def _check_both(sessions: list[str], folder: str) -> list[Problem]:
    if not sessions:
        return []
    return [
        Problem(
            f"{len(sessions)} clips are annotated and have test crops, too: {', '.join(map(show, sessions[:5]))}.",
            expected="Test crops of other clips.",
            remedy="Remove them from the annotations, or leave parse.challenge empty.",
            file=folder,
        )
    ]
