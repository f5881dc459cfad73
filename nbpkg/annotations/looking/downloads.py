"""Commands that fetch full videos and cut clips from them, as text: nothing is run."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from nbpkg.annotations.looking.clips import why_no_name
from nbpkg.annotations.looking.strict import Notes, show
from nbpkg.errors import Problem

VIDEO, PLACE = "video_uid", "canonical_s3_location"
WHOLE, CLIPS = "data/tmp", "data/videos"
HEAD = ("set -eu", f"mkdir -p {WHOLE} {CLIPS}")


def read_manifest(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """Read where each full video lies, from a CSV with columns ``video_uid`` and ``canonical_s3_location``.

    Returns
    -------
    places : dict
        Video uid to its place; the first row of a video counts.
    problems : list of Problem
        A file that cannot be read or lacks a column is an error, a row without a place a warning.
    """
    notes = Notes(path.name)
    places: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            lacking = [name for name in (VIDEO, PLACE) if name not in (reader.fieldnames or [])]
            if lacking:
                notes.note(
                    f"The table has no column {' and '.join(lacking)}.",
                    expected=f"Columns {VIDEO} and {PLACE}.",
                    remedy="Correct parse.manifest.",
                )
                return {}, notes.problems
            for row in reader:
                uid, place = (row[VIDEO] or "").strip(), (row[PLACE] or "").strip()
                if not uid or not place.startswith("s3://"):
                    notes.note(f"{PLACE} of {show(uid)} is {show(place)}.", place=f"Line {reader.line_num}",
                               expected="A place that begins with s3://.", severity="warning")  # fmt: skip
                else:
                    places.setdefault(uid, place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        notes.note(f"The table cannot be read: {error}.", remedy="Correct parse.manifest.")
    return places, notes.problems


def fetch_command(video: str, place: str, *, compat: bool = False) -> str:
    """Return the command that copies a full video; with `compat` its place must end in its uid.

    Examples
    --------
    >>> fetch_command("v 1", "s3://bucket/x.mp4"), fetch_command("v", "s3://bucket/v", compat=True)
    ("aws s3 cp s3://bucket/x.mp4 'data/tmp/v 1'", 'aws s3 cp s3://bucket/v data/tmp/')
    """
    return f"aws s3 cp {shlex.quote(place)} {WHOLE + '/' if compat else shlex.quote(f'{WHOLE}/{video}')}"


def cut_command(session: str, video: str, span: tuple[float, float], *, compat: bool = False) -> str:
    """Return the command that cuts a clip from its full video; with `compat` as published, letter by letter.

    Parameters
    ----------
    session, video
        Uids of the clip and of the video.
    span
        Begin and end in the video, seconds.
    compat
        Say ``-y`` twice and leave two blanks where the published program does.

    Examples
    --------
    >>> cut_command("c", "v", (12.5, 312.5))
    'ffmpeg -y -i data/tmp/v -ss 12.5 -to 312.5 -c:a copy -vcodec libx264 -keyint_min 2 -g 1 data/videos/c.mp4'
    """
    source, target = shlex.quote(f"{WHOLE}/{video}"), shlex.quote(f"{CLIPS}/{session}.mp4")
    cut = f"ffmpeg -y -i {source} -ss {span[0]!r} -to {span[1]!r} -c:a copy -vcodec libx264 -keyint_min 2 -g 1"
    return f"{cut}{'  -y' if compat else ''} {target}"


def clip_commands(footage: pd.DataFrame, places: Mapping[str, str], *, compat: bool = False) -> pd.DataFrame:
    """Say for each clip how its video is fetched and how it is cut.

    Parameters
    ----------
    footage
        Table ``footage``.
    places
        Of `read_manifest`.
    compat
        Write commands as published.

    Returns
    -------
    pandas.DataFrame
        session, video, fetch, cut, in the order of the published program (clips of ``val`` first); clips whose place or
        cut points are not known are left out.
    """
    usable = footage["video"].isin(list(places)) & footage["start_s"].notna() & footage["end_s"].notna()
    usable &= ~footage["session"].map(why_no_name).astype(bool) & ~footage["video"].map(why_no_name).astype(bool)
    known = footage[usable]
    first = known["split"].eq("val").groupby(known["video"]).transform("any")
    known = pd.concat([known[first], known[~first]])
    known = known.assign(order=known.groupby("video", sort=False).ngroup()).sort_values("order", kind="stable")
    spans = zip(known["start_s"].tolist(), known["end_s"].tolist(), strict=True)
    return pd.DataFrame(
        {
            "session": known["session"].tolist(),
            "video": known["video"].tolist(),
            "fetch": [fetch_command(video, places[video], compat=compat) for video in known["video"]],
            "cut": [
                cut_command(session, video, span, compat=compat)
                for session, video, span in zip(known["session"], known["video"], spans, strict=True)
            ],
        }
    )


def list_downloads(
    footage: pd.DataFrame, places: Mapping[str, str], *, compat: bool = False
) -> tuple[list[str], list[Problem]]:
    """List commands that fetch every full video once, cut its clips and remove it.

    Parameters
    ----------
    footage
        Table ``footage``.
    places
        Of `read_manifest`.
    compat
        As published: the commands alone, which go on after one that failed.

    Returns
    -------
    lines : list of str
        For a shell; empty where nothing can be fetched.
    problems : list of Problem
        A warning for clips whose place or cut points are not known.

    Source
    ------
    EGO4D/social-interactions (branch lam), ``scripts/download_clips.py``.
    """
    commands = clip_commands(footage, places, compat=compat)
    lines: list[str] = []
    for video, own in commands.groupby("video", sort=False):
        remove = [] if compat else [f"rm -- {shlex.quote(f'{WHOLE}/{video}')}"]
        lines += [str(own["fetch"].iloc[0]), *own["cut"], *remove]
    wanted = footage[footage["labelled"] | footage["start_s"].notna()]
    lacking = sorted(set(wanted["session"]) - set(commands["session"]))
    notes = Notes("")
    if lacking:
        shown = ", ".join(map(show, lacking[:5])) + (", …" if len(lacking) > 5 else "")
        notes.note(
            f"{len(lacking)} clips cannot be fetched: {shown}.",
            expected="Their video in the manifest, and cut points in the annotation.",
            severity="warning",
        )
    return ([*HEAD, *lines] if lines and not compat else lines), notes.problems
