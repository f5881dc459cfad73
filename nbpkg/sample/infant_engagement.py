"""Make a small complete raw data set for the infant-engagement study: films, annotations, paintings, planted truth."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from nbpkg import progress, seeding
from nbpkg.errors import StageError
from nbpkg.sample import figures, rig, room, scene, sound
from nbpkg.sample.eaf import write_eaf
from nbpkg.sample.media import frame_times, write_film
from nbpkg.sample.painters import FOLDER as PAINTED
from nbpkg.sample.painters import paint_sample
from nbpkg.sample.plan import Visit, plan, plan_visits
from nbpkg.sample.raters import SLIPS, make_slips, rate
from nbpkg.sample.states import draw_course, state_spans

VERSION = 2  # raise it whenever the same seed would give other bytes
DRAWN_HZ = 25 / 3  # figures move this often, as in drawn films; the frames between show the same picture
REGION_STEP_MS = 200
_CHILD_DRUM_X, _ADULT_DRUM_X = 124.0, 212.0
_RECORD = "sample.json"


@dataclass(frozen=True)
class Job:
    """Everything one process needs to film one session."""

    folder: Path
    seed: int
    visit: Visit
    task_seconds: float


def make_sample(folder: Path, *, seed: int, sessions: int = 20, workers: int = 2, task_seconds: float = 33.0) -> None:
    """Make the sample, complete or not at all; return at once when it is there.

    Writes ``sessions.csv``, ``video/<session>.mp4``, ``engagement/<session>_<rater>_<yyyymmdd>.eaf``, strokes of
    made-up painters in ``painted/<painter>/<snippet_id>.jsonl``, what is really the case in ``truth/``
    (``states.csv``, ``slips.csv``, ``<session>_regions.csv``), and last ``sample.json`` with the settings and the
    SHA-256 of every file. Files that are not from an earlier sample are left alone, and so are strokes that somebody
    has changed or added since.

    Parameters
    ----------
    folder
        Where to put it.
    seed
        Same seed, same bytes (on the same kind of machine).
    sessions
        How many sessions, 3 or more; from 5 on every kind of camera occurs.
    workers
        How many processes make films at the same time; it does not change the result.
    task_seconds
        Typical length of one of the three games in a session, seconds.

    Raises
    ------
    StageError
        When the folder holds files of other origin under the names of the sample.
    """
    facts = {"version": VERSION, "seed": seed, "sessions": sessions, "task_seconds": task_seconds}
    if is_made(folder, facts):
        return
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    for name in ("video", "engagement", "truth"):
        (temporary / name).mkdir(parents=True)
    visits = plan_visits(seed, sessions)
    _write_csv(plan(seed, sessions)[["session", "child", "experimenter", "note"]], temporary / "sessions.csv")
    _write_annotations(temporary, visits, seed, task_seconds)
    _refuse_foreign(folder, temporary, visits)
    jobs = [Job(temporary, seed, visit, task_seconds) for visit in visits]
    for _ in progress.track(_run_all(jobs, workers), "film sessions", unit="session", total=len(jobs)):
        pass
    paint_sample(temporary, visits, seed=seed)
    _write_record(temporary, facts)
    _move_into_place(temporary, folder)


def is_made(folder: Path, facts: dict[str, int | float]) -> bool:
    """Tell whether a folder holds the complete sample with these facts (``version, seed, sessions, task_seconds``).

    Strokes do not count: people may change, add and remove them.
    """
    record = _read_record(folder)
    if {name: record.get(name) for name in facts} != facts:
        return False
    paths = [(folder / file["path"], file["bytes"]) for file in record["files"]]
    return all(_is_painting(folder, path) or (path.is_file() and path.stat().st_size == size) for path, size in paths)


def make_film(job: Job) -> str:
    """Film one session, write where its regions are, and return the session's name."""
    cv2.setNumThreads(1)
    seed, visit, session = job.seed, job.visit, job.visit.session
    random = seeding.generator(seed, "camera", session)
    course = draw_course(seed, session, task_seconds=job.task_seconds)
    rhythm = rig.draw_rhythm(course, seed, session)
    child = rig.move_child(course, rhythm, seed, session)
    adult = rig.move_experimenter(rhythm, seed, session)
    look = dress_child(seed, visit.child, session)
    camera = scene.Camera(float(random.uniform(1.0, 1.16)), float(random.uniform(2, 20)), float(random.uniform(-5, 3)))
    light = float(random.uniform(0.84, 1.04))
    times_s = frame_times(random, seconds=course.seconds, fps=visit.fps, variable=visit.video == "variable")
    drawn = np.floor(times_s * DRAWN_HZ + 1e-6).astype(int)
    drawn_s = np.arange(drawn[-1] + 1) / DRAWN_HZ
    stack = _set_stage(seed, visit, look, child.at(drawn_s), adult.at(drawn_s), game=rhythm.game_at(drawn_s))
    backdrop = room.draw_room(seeding.generator(seed, "room", session), camera, light=light)
    write_film(
        job.folder / "video" / f"{session}.mp4",
        scene.render(stack, backdrop, camera, light=light),
        times_s,
        drawn=drawn,
        sound=sound.draw_sound(course, rhythm, seed, session),
        fps=visit.fps,
        turned=visit.video == "rotated",
        grain=_draw_grain(random),
    )
    starts_ms = np.arange(0, int(course.seconds * 1000) - REGION_STEP_MS + 1, REGION_STEP_MS)
    middles_s = (starts_ms + REGION_STEP_MS / 2) / 1000
    regions = _locate_regions(starts_ms, child.at(middles_s), rhythm.game_at(middles_s), look, camera)
    _write_csv(regions, job.folder / "truth" / f"{session}_regions.csv")
    return session


def dress_child(seed: int, child: str, session: str) -> figures.Look:
    """Choose what a child looks like: hair and skin are the child's, the clothes those of the day."""
    own, day = seeding.generator(seed, "look", child), seeding.generator(seed, "clothes", session)
    skin = int(own.integers(len(figures.SKINS)))
    hairs = len(figures.HAIRS) if skin < 2 else figures.DARK_HAIRS
    return figures.Look(
        skin=figures.SKINS[skin],
        hair=figures.HAIRS[own.integers(hairs)],
        shirt=figures.SHIRTS[day.integers(len(figures.SHIRTS))],
        style=str(own.choice(figures.HAIR_STYLES)),
        head=float(own.uniform(26.2, 28.2)),
    )


def _set_stage(
    seed: int, visit: Visit, look: figures.Look, child: rig.Pose, adult: rig.Pose, *, game: np.ndarray
) -> scene.Stack:
    """Put both people and their toys on the stage."""
    day = seeding.generator(seed, "toys", visit.session)
    colours = [figures.SHIRTS[index] for index in day.permutation(len(figures.SHIRTS))[:4]]
    stack = scene.Stack(len(game))
    figures.add_person(stack, figures.EXPERIMENTERS[visit.experimenter], adult)
    figures.add_person(stack, look, child)
    figures.add_toys(stack, adult, game, _ADULT_DRUM_X, colours=(colours[0], colours[1]))
    figures.add_toys(stack, child, game, _CHILD_DRUM_X, colours=(colours[2], colours[3]))
    return stack


def _draw_grain(random: np.random.Generator) -> np.ndarray:
    """Draw noise of one camera, 8 pictures, uint8 around 3."""
    noise = random.normal(3, random.uniform(0.4, 1.2), size=(8, scene.HEIGHT, scene.WIDTH))
    return np.clip(np.rint(noise), 0, 8).astype(np.uint8)


def _locate_regions(
    starts_ms: np.ndarray, pose: rig.Pose, game: np.ndarray, look: figures.Look, camera: scene.Camera
) -> pd.DataFrame:
    """Box the child's head, hands and toys, in pixels of the film as displayed, cut at its border."""
    radius = look.head + 2
    hands = np.stack([pose.left, pose.right], axis=1)
    boxes = {
        "head": np.concatenate([pose.head - radius, pose.head + radius], axis=1),
        "hands": np.concatenate([hands.min(axis=1) - 8, hands.max(axis=1) + 8], axis=1),
        "toy": figures.toy_boxes(pose, game, _CHILD_DRUM_X),
    }
    tables = []
    limits = np.array([scene.WIDTH, scene.HEIGHT])
    for region, box in boxes.items():
        known = ~np.isnan(box[:, 0])
        corners = np.clip(np.rint(camera.to_pixels(box[known].reshape(-1, 2, 2))), 0, limits).astype(int)
        table = pd.DataFrame(corners.reshape(-1, 4), columns=["x0", "y0", "x1", "y1"])
        table.insert(0, "region", region)
        table.insert(0, "end_ms", starts_ms[known] + REGION_STEP_MS)
        table.insert(0, "start_ms", starts_ms[known])
        tables.append(table)
    return pd.concat(tables).sort_values(["start_ms", "region"], kind="stable")


def _write_annotations(folder: Path, visits: list[Visit], seed: int, task_seconds: float) -> None:
    """Write the true states and, through the raters' eyes, the annotation files."""
    files = sum(len(visit.raters) for visit in visits)
    states, slips_made, number = [], [], 0
    for visit in visits:
        course = draw_course(seed, visit.session, task_seconds=task_seconds)
        truth = state_spans(course, visit.session)
        states.append(truth)
        for rater in visit.raters:
            marks = rate(truth, course.games, rater, seed=seed, session=visit.session)
            # A stride without common divisor spreads the slips over the files, each in its own where there are enough.
            slips = [slip for place, slip in enumerate(SLIPS) if (place * 5 + 1) % files == number]
            marks, made = make_slips(marks, slips)
            day = visit.first_day + timedelta(days=number % 3)
            name = f"{visit.session}_{rater}_{day:%Y%m%d}.eaf"
            slips_made += [{"file": name, **slip} for slip in made]
            has_remark = any(mark.tier == "ignore" for mark in marks)
            habit = "default" if number % 8 == 1 else "attached" if has_remark and number % 3 == 0 else "plain"
            path = folder / "engagement" / name
            write_eaf(path, marks, session=visit.session, rater=rater, day=day, habit=habit)
            number += 1
    _write_csv(pd.concat(states), folder / "truth" / "states.csv")
    _write_csv(pd.DataFrame(slips_made), folder / "truth" / "slips.csv")


def _run_all(jobs: list[Job], workers: int) -> Iterator[str]:
    """Film all sessions, in this process or in several."""
    if workers <= 1:
        yield from map(make_film, jobs)
        return
    # A fresh interpreter for each worker: forking one that runs threads (Jupyter, torch) can hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(make_film, jobs)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table.to_csv(stream, index=False, lineterminator="\n")


def _write_record(folder: Path, facts: dict[str, int | float]) -> None:
    """List all files with size and SHA-256; the record's presence says that the sample is complete."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [_describe(folder, path) for path in paths]
    with (folder / _RECORD).open("w", encoding="utf-8") as stream:
        json.dump({**facts, "files": files}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())


def _is_painting(folder: Path, path: Path) -> bool:
    """Tell whether a file holds strokes."""
    return path.is_relative_to(folder / PAINTED)


def _describe(folder: Path, path: Path) -> dict[str, object]:
    content = path.read_bytes()
    return {
        "path": path.relative_to(folder).as_posix(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / _RECORD
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return record


def _refuse_foreign(folder: Path, temporary: Path, visits: list[Visit]) -> None:
    """Raise when files that no earlier sample wrote are where the new ones belong."""
    names = {path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file()}
    names |= {f"video/{visit.session}.mp4" for visit in visits}
    names |= {f"truth/{visit.session}_regions.csv" for visit in visits}
    names -= {file["path"] for file in _read_record(folder).get("files", [])}
    foreign = sorted(name for name in names if (folder / name).exists())
    if foreign:
        shutil.rmtree(temporary)
        raise StageError(
            f"{len(foreign)} files in the way of the sample were not made by it, e.g. {foreign[0]}.",
            where=str(folder),
            expected="An empty folder, or one with an earlier sample.",
            remedy="Choose another data folder, or move these files away.",
        )


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename the finished folder, or put its files in place of those of an earlier sample; nobody's strokes go."""
    if not folder.exists():
        temporary.rename(folder)
        return
    earlier = _read_record(folder).get("files", [])
    new = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
    (folder / _RECORD).unlink(missing_ok=True)  # first, so that a half-replaced sample never looks complete
    _remove(folder / file["path"] for file in earlier if not _is_changed_painting(folder, file))
    for name in sorted(new, key=lambda name: name == _RECORD):  # the record last
        if _is_painting(folder, folder / name) and (folder / name).exists():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).replace(folder / name)
    shutil.rmtree(temporary)


def _is_changed_painting(folder: Path, file: dict[str, Any]) -> bool:
    """Tell whether a file of an earlier sample holds strokes that somebody has changed or added to."""
    path = folder / file["path"]
    return _is_painting(folder, path) and path.is_file() and _describe(folder, path)["sha256"] != file["sha256"]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
