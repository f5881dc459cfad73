"""Make a small complete raw data set for the study of who looks at the camera wearer, in the layout of Ego4D."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from nbpkg import progress
from nbpkg.sample.looking_challenge import list_points, list_poses, write_crops
from nbpkg.sample.looking_files import (
    annotate,
    annotate_again,
    estimate_points,
    estimate_poses,
    list_manifest,
    list_truth,
    write_json,
)
from nbpkg.sample.looking_film import film_clip
from nbpkg.sample.looking_painters import FOLDER as PAINTED
from nbpkg.sample.looking_painters import paint_sample
from nbpkg.sample.looking_plan import BLURRED, CHALLENGE, LOOKING_PITCH, LOOKING_YAW, Clip, plan_clip, plan_clips
from nbpkg.sample.people_files import write_table
from nbpkg.sample.record import is_made, new_sample

VERSION = 2  # raise it whenever the same seed would give other bytes
FRAMES, CHALLENGE_FRAMES = 100, 36
_THREADS = 2
_SPLITS = ("train", "val", "test")
_README = """\
Made-up data for the study looking_at_me, in the layout of the Ego4D social benchmark. All people are drawn by a
program; nobody was filmed. Twelve videos (v1 to v12), six of two clips and six, for the test, of one; 10 frames a
second, with sound.

json/av_train.json, av_val.json, av_test.json   face tracks, looking and talking segments; person 0 wears the camera
csv/manifest.csv                the full videos (there are none)
split/                          train, val and test list (with the challenge's clips); clips of a video stay together
videos/<clip>.mp4               the clips
json_prior/                     what other programs found out: head poses, also of blurred faces, off by 12 degrees at
                                most, 5 % missing; five points of the face, 10 % missing, far off where it is blurred.
                                Labelled test clips stand in the files of val, the challenge's crops in those of test.
second_LAM/<clip>.json          looking segments of a second annotator: ends 1 to 3 frames off, a few not seen
videos_challenge/<clip>/<track>/<frame>_<unique id>.jpg   test crops without labels
painted/<painter>/<snippet>.jsonl   what three made-up people painted on faces of the test clips to say what told them
truth.csv                       what was drawn, frame by frame; for tests only, the study does not read it

What was planned. Heads turn to the camera and away. Somebody looks at the camera wearer while yaw is below {yaw:.0f}
and pitch below {pitch:.0f} degrees, to either side. In stretches, {blurred:.0f} % of the frames, a face is so blurred
that only the head pose in the prior files tells; blur says nothing about looking.

Odd on purpose, as in real files: gaps in tracks (one of 18 frames), unsorted boxes, boxes of no size, a face partly
outside the picture, a tiny face, a person that nobody knows (-1), segments of nobody and of somebody without a track, a
clip in which nobody looks (null), a film that ends two frames early, a camera wearer who is listed last, track ids
with a colon, a head pose of five numbers, unique ids that look like numbers.

Made by: python -m nbpkg sample looking_at_me --seed {seed}
"""


def make_sample(folder: Path, *, seed: int, frames: int = FRAMES) -> None:
    """Make the sample, complete or not at all; return at once when it is there.

    Writes ``json/``, ``csv/``, ``split/``, ``videos/``, ``json_prior/``, ``second_LAM/``, ``videos_challenge/``,
    ``painted/``, ``truth.csv``, ``README.txt`` and last ``sample.json`` with the SHA-256 of every file. Files that are
    not from an earlier sample are left alone.

    Parameters
    ----------
    folder
        Where to put it.
    seed
        Same seed, same bytes (on the same kind of machine).
    frames
        Frames of the longest clip; the shortest has a fifth less. 60 or more.

    Raises
    ------
    StageError
        When the folder holds files of other origin under the names of the sample.
    """
    facts = {"version": VERSION, "seed": seed, "frames": frames}
    if is_made(folder, facts, strokes=PAINTED):
        return
    clips = plan_clips(seed, frames=frames)
    crops = [plan_clip(name, name[:2], seed, frames=CHALLENGE_FRAMES) for name in CHALLENGE]
    with new_sample(folder, facts, strokes=PAINTED) as new, ThreadPoolExecutor(_THREADS) as pool:
        # Drawing and encoding run outside Python's lock.
        films = pool.map(lambda clip: film_clip(new / "videos" / f"{clip.name}.mp4", clip, seed), clips)
        for _ in progress.track(films, "film clips", unit="film", total=len(clips)):
            pass
        _write_annotations(new, clips, seed)
        _write_priors(new / "json_prior", clips, crops, seed)
        for clip in crops:
            write_crops(new / "videos_challenge", clip, seed)
        paint_sample(new, clips, seed=seed)
        write_table(new / "truth.csv", pd.concat([list_truth(clip) for clip in [*clips, *crops]], ignore_index=True))
        words = {"yaw": LOOKING_YAW, "pitch": LOOKING_PITCH, "blurred": 100 * BLURRED, "seed": seed}
        (new / "README.txt").write_bytes(_README.format_map(words).encode())


def _write_annotations(folder: Path, clips: Sequence[Clip], seed: int) -> None:
    for split in _SPLITS:
        own = [clip for clip in clips if clip.part == split]
        write_json(folder / "json" / f"av_{split}.json", annotate(own, seed))
        path = folder / "split" / f"{split}.list"
        path.parent.mkdir(exist_ok=True)
        names = [clip.name for clip in own] + (list(CHALLENGE) if split == "test" else [])
        path.write_bytes("\n".join(names).encode())  # the published lists end without a line break
    write_table(folder / "csv" / "manifest.csv", list_manifest(clips))
    for clip in clips:
        again = annotate_again(clip, seed)
        if again:
            write_json(folder / "second_LAM" / f"{clip.name}.json", again)


def _write_priors(folder: Path, clips: Sequence[Clip], crops: Sequence[Clip], seed: int) -> None:
    poses: dict[str, dict[str, list[float]]] = {"train": {}, "val": {}}
    points: dict[str, dict[str, Any]] = {"train": {}, "val": {}}
    for clip in clips:
        part = "train" if clip.part == "train" else "val"
        looks = {person.name: person.looks for person in clip.people}
        for (person, track, frame), angles in estimate_poses(clip, seed).items():
            label = float(looks[person][frame])
            poses[part][f"{clip.name}:{track}:{frame}"] = [*angles, label, 0, 0]
        points[part][clip.name] = estimate_points(clip, seed)
    next(iter(poses["val"].values())).pop()  # published programs take an entry of another length for missing
    write_json(folder / "train_headpose.json", poses["train"])
    write_json(folder / "val_headpose-all.json", poses["val"])
    write_json(
        folder / "test_headpose.json", {key: one for clip in crops for key, one in list_poses(clip, seed).items()}
    )
    for part, found in points.items():
        write_json(folder / f"{part}_mesh.json", found)
    write_json(folder / "test_mesh.json", {clip.name: list_points(clip, seed) for clip in crops})
