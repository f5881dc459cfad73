"""Make a small complete raw data set for the study of joint engagement: films of three people, ratings, the truth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from nbpkg import progress
from nbpkg.sample.people_files import (
    detect,
    list_clips,
    list_ratings,
    list_signs,
    list_truth,
    make_skeleton,
    name_roles,
    tabulate_boxes,
    tabulate_sound,
    write_skeletons,
    write_table,
)
from nbpkg.sample.people_film import draw_pictures, stage_scene, write_film
from nbpkg.sample.people_rule import Meeting, plan_meeting
from nbpkg.sample.record import is_made, new_sample

VERSION = 2  # raise it whenever the same seed would give other bytes
FAMILIES, WINDOWS = 24, 64
_THREADS = 2
_README = """\
Made-up data for the study of joint engagement. All people are drawn by a program; nobody was filmed. In each of
{families} recordings a parent, a child and a robot sit at a table; who sits where differs. 4 frames a second; every
clip is a window of 6 frames (1.5 s), and windows follow each other.

videos/<family>/<session>.mp4   the films
clips.csv       path, offset and frames (in frames), family, session: one row for each window
ratings.csv     clip, rater, rating (1 to 5). The class is made of the mean of ana and ben; cleo rated all, too.
boxes/          where a detector saw people and faces, frame by frame, the surest first; 2 % are missed, and now and
                then it takes the shelf for somebody (score below 0.5)
poses.pkl       skeletons (COCO) of each recording, people in the detector's order, as the published programs write
                them. They come from a camera that sees under the table, where the hands are.
audio/          loudness, pitch and brightness of each one's voice, 8 rows a second
roles.csv       a point on each person in one frame of each film, and who it is
truth/          what was planned; the study does not read it

What was planned. In about half of the windows there is an invitation: everybody speaks, the voice high or low in each
of 6 steps, and knocks under the table, the hand up or down. A good invitation: the hand goes with the voice in all
steps; a bad one: against it in all. In every window, the child's lamp is on in some steps; those of parent and robot
are on with it in all steps (a response), or not in half of them. Engagement is high where there is a response and the
last invitation was good, low where neither is so, and medium otherwise.

Made by: python -m nbpkg sample joint_engagement --seed {seed}
"""


def make_sample(folder: Path, *, seed: int, families: int = FAMILIES, windows: int = WINDOWS) -> None:
    """Make the sample, complete or not at all; return at once when it is there.

    Writes ``videos/``, ``boxes/``, ``audio/``, ``poses.pkl``, ``roles.csv``, ``clips.csv``, ``ratings.csv``,
    ``truth/``, ``README.txt`` and last ``sample.json`` with the SHA-256 of every file. Files that are not from an
    earlier sample are left alone.

    Parameters
    ----------
    folder
        Where to put it.
    seed
        Same seed, same bytes (on the same kind of machine).
    families, windows
        How many families, and windows in the recording of each.

    Raises
    ------
    StageError
        When the folder holds files of other origin under the names of the sample.
    """
    facts = {"version": VERSION, "seed": seed, "families": families, "windows": windows}
    if is_made(folder, facts):
        return
    meetings = [plan_meeting(number, seed, windows=windows) for number in range(1, families + 1)]
    with new_sample(folder, facts) as new, ThreadPoolExecutor(_THREADS) as pool:
        made = pool.map(partial(_record, new, seed), meetings)  # drawing and encoding run outside Python's lock
        found = list(progress.track(made, "film families", unit="film", total=families))
        write_table(new / "roles.csv", pd.concat([roles for roles, _ in found], ignore_index=True))
        write_skeletons(new / "poses.pkl", [skeleton for _, skeleton in found])
        for name, parts in _list(meetings, seed).items():
            write_table(new / f"{name}.csv", pd.concat(parts, ignore_index=True))
        (new / "README.txt").write_bytes(_README.format(families=families, seed=seed).encode())


def _list(meetings: list[Meeting], seed: int) -> dict[str, list[pd.DataFrame]]:
    """Return the lists of all recordings by the name of their file."""
    return {
        "clips": [list_clips(one) for one in meetings],
        "ratings": [list_ratings(one, seed) for one in meetings],
        "truth/windows": [list_truth(one) for one in meetings],
        "truth/signs": [list_signs(one) for one in meetings],
    }


def _record(folder: Path, seed: int, meeting: Meeting) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Write a recording's film, boxes and sound; return who is who in it, and its skeletons."""
    scene = stage_scene(meeting, seed)
    film = folder / "videos" / f"{meeting.name}.mp4"
    film.parent.mkdir(parents=True, exist_ok=True)
    write_film(film, draw_pictures(scene))
    scores = detect(meeting, scene, seed)
    write_table(folder / "boxes" / f"{meeting.name}.csv", tabulate_boxes(meeting, scene, scores, seed))
    write_table(folder / "audio" / f"{meeting.name}.csv", tabulate_sound(meeting, seed))
    return name_roles(meeting, scene), make_skeleton(meeting, scene, scores)
