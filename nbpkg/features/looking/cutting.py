"""Writing packs of crops: one pass over the frames of a clip, however many faces each of them holds."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem
from nbpkg.features.looking.cropping import CropRule, cut_crop, cut_edges
from nbpkg.features.looking.packs import CUT, EMPTY, FACT_DTYPE, FORMAT, NO_FRAME, read_facts, read_record
from nbpkg.features.looking.priors import gather_priors, table_crops
from nbpkg.features.looking.quality import measure_sharpness
from nbpkg.progress import Report
from nbpkg.runs.files import new_file, write_array, write_json
from nbpkg.video import workers as pools
from nbpkg.video.stores import open_store

_FORBIDDEN = set("/\\\0")


@dataclass(frozen=True)
class PackRecipe:
    """How packs are made.

    Parameters
    ----------
    rule
        How a box becomes a crop.
    quality
        JPEG quality of crops that are cut, 1 to 100.
    shift
        Frames between the annotation's number and the one that is cut: 0; -1 as in the published programs, whose
        pictures are counted from 1, so that each crop is of the frame before and frame 0 has none.
    measure
        Measure how sharp each crop is.
    """

    rule: CropRule = field(default_factory=CropRule)
    quality: int = 95
    shift: int = 0
    measure: bool = True


@dataclass(frozen=True)
class FromFrames:
    """Faces are cut out of a frame store whose frame i is frame i of the annotation.

    Parameters
    ----------
    store
        Its folder.
    scale
        Width and height of its frames, as shares of those that boxes count in.
    """

    store: Path
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class FromPictures:
    """Crops are there already, a picture file each.

    Parameters
    ----------
    folder
        Folder that paths start from.
    paths
        Of each face of the session, in the order of ``faces.npy``; empty where it has none.
    """

    folder: Path
    paths: tuple[str, ...]


Source = FromFrames | FromPictures


@dataclass(frozen=True)
class _Job:
    """One session."""

    session: str
    first: int
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]
    source: Source | None
    folder: Path
    recipe: PackRecipe


def cut_all(
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    sources: Mapping[str, Source],
    *,
    folder: Path,
    recipe: PackRecipe,
    workers: int = 1,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Write a pack for every session, those that are finished excepted.

    Parameters
    ----------
    tracks
        Table ``tracks``; the tracks of a session stand together, as their faces do.
    faces
        All faces, with ``frame`` and the corners of the box.
    sources
        Where the crops of each session come from (`find_stores`, `find_given`, `find_challenge`); of a session that is
        not in it no face has a crop.
    folder
        Where packs go; made if needed.
    recipe
        How.
    workers
        Sessions at once, each in a process of its own; 1 works in this one.

    Returns
    -------
    pandas.DataFrame
        Table ``crops``, as yet without priors; empty when a problem is an error.
    list of Problem
        ``error``: crops of another size, or that cannot be read; their session is not finished. ``warning``: sessions
        without a source, tracks without any crop.

    Raises
    ------
    MediaError
        When a session cannot be the name of a file, or a frame store cannot be read.
    StageError
        When the folder cannot be written, or a worker dies.
    """
    jobs = list(_list_jobs(tracks, faces, sources, folder, recipe))
    report = Report("crops", total=len(faces), unit="face")
    problems = [
        Problem(f"Clip {job.session!r} has no pictures, so none of its faces has a crop.", severity="warning")
        for job in jobs
        if job.source is None
    ]
    found = dict(_run(jobs, workers, lambda count: report.step(int(count))))
    report.close()
    problems.extend(problem for job in jobs for problem in found[job.session])
    if any(problem.severity == "error" for problem in problems):
        return pd.DataFrame(), problems
    facts = read_facts(folder, tracks)
    crops = table_crops(tracks, gather_priors(facts), facts=facts)
    problems.extend(
        Problem(f"Track {row.track!r} of clip {row.session!r} has no crop.", severity="warning")
        for row in crops[crops["crops"] == 0].itertuples()
        if sources.get(str(row.session)) is not None
    )
    return crops, problems


def _list_jobs(
    tracks: pd.DataFrame, faces: NDArray[np.void], sources: Mapping[str, Source], folder: Path, recipe: PackRecipe
) -> Iterator[_Job]:
    for session, own in tracks.groupby("session", sort=False):
        check_name(str(session), "clip")
        first, stop = int(own["offset"].min()), int((own["offset"] + own["rows"]).max())
        part = faces[first:stop]
        if stop - first != int(own["rows"].sum()):
            raise MediaError(
                f"The faces of clip {session!r} do not stand together.",
                expected="Tracks in the order of their clips.",
                remedy="Read the annotations again.",
            )
        boxes = np.stack([part[name] for name in ("x0", "y0", "x1", "y1")], axis=-1).astype(np.float64)
        frames = part["frame"].astype(np.int64)
        yield _Job(str(session), first, frames, boxes, sources.get(str(session)), folder, recipe)


def _run(jobs: Sequence[_Job], workers: int, tick: Callable[[float], None]) -> Iterator[tuple[str, list[Problem]]]:
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job.session, _pack_session(job, tick)
        return
    with pools.start(min(workers, len(jobs))) as pool:
        for job in jobs:
            pool.submit(job.session, partial(_pack_session, job))
        yield from pool.results(tick)


def _pack_session(job: _Job, tick: Callable[[float], None]) -> list[Problem]:
    """Write one pack, or find it finished."""
    made = _digest(job)
    record = read_record(job.folder, job.session)
    if record is not None and record.get("made_from") == made:
        tick(len(job.frames))
        return []
    problems: list[Problem] = []
    facts = np.zeros(len(job.frames), FACT_DTYPE)
    facts["reason"], facts["sharpness"] = NO_FRAME, np.nan
    spans = np.zeros((len(job.frames), 2), np.int64)
    job.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=job.folder) as spool:  # frame by frame; a pack is face by face
        for row, data, reason in _each_file(job, problems):
            facts["reason"][row] = reason
            if reason == CUT:
                spans[row] = spool.tell(), spool.tell() + len(data)
                spool.write(data)
                facts["sharpness"][row] = _measure(data) if job.recipe.measure else np.nan
            tick(1)
        if problems:
            return problems
        _sort_file(spool, job.folder / f"{job.session}.jpgs", spans)
    ends = np.cumsum(spans[:, 1] - spans[:, 0])
    write_array(job.folder / f"{job.session}.npy", np.concatenate([[0], ends]).astype(np.int64))
    write_array(job.folder / f"{job.session}.facts.npy", facts)
    record = {"format": FORMAT, "first": job.first, "faces": len(facts), "size": job.recipe.rule.size}
    write_json(
        job.folder / f"{job.session}.json", record | {"bytes": int(ends[-1]) if len(ends) else 0, "made_from": made}
    )
    return []


def _each_file(job: _Job, problems: list[Problem]) -> Iterator[tuple[int, bytes, int]]:
    """Yield row, picture file and what became of it, for all faces in any order."""
    if isinstance(job.source, FromFrames):
        yield from _cut_frames(job, job.source)
    elif isinstance(job.source, FromPictures):
        yield from _take_pictures(job, job.source, problems)


def _cut_frames(job: _Job, source: FromFrames) -> Iterator[tuple[int, bytes, int]]:
    store, rule = open_store(source.store), job.recipe.rule
    edges = cut_edges(job.boxes * np.tile(source.scale, 2), rule)
    numbers = job.frames + job.recipe.shift
    order = np.argsort(numbers, kind="stable")
    picture, current = np.zeros((0, 0, 3), np.uint8), -1
    for row in order.tolist():
        number = int(numbers[row])
        if not 0 <= number < len(store):
            yield row, b"", NO_FRAME
            continue
        if number != current:
            picture, current = store.picture(number), number
        crop = cut_crop(picture, edges[row], rule)
        if crop is None:
            yield row, b"", EMPTY
        else:
            yield row, encode_crop(crop, job.recipe.quality), CUT


def _take_pictures(job: _Job, source: FromPictures, problems: list[Problem]) -> Iterator[tuple[int, bytes, int]]:
    side = job.recipe.rule.size
    for row, path in enumerate(source.paths):
        file = source.folder / path
        if not path or not file.is_file():
            yield row, b"", NO_FRAME
            continue
        data = file.read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if picture is None:
            problems.append(
                Problem("It cannot be read.", "A whole JPEG or PNG file.", "Copy it again, or delete it.", file=path)
            )
        elif picture.shape != (side, side, 3):
            height, width = picture.shape[:2]
            problems.append(
                Problem(
                    f"It is {width} × {height} pixels.",
                    f"{side} × {side}.",
                    "Correct 'prepare.crop_size', or cut the crops again.",
                    file=path,
                )
            )
        else:
            yield row, data, CUT


def encode_crop(crop: NDArray[np.uint8], quality: int) -> bytes:
    """Write a crop, uint8 RGB ``[H, W, 3]``, as a JPEG file."""
    data = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return data.tobytes()


def check_name(name: str, what: str) -> None:
    """Refuse names of clips and tracks that would lead elsewhere as the name of a file or folder.

    Raises
    ------
    MediaError
        When it is empty, has path parts or begins with a dot.
    """
    if not name or name.startswith(".") or set(name) & _FORBIDDEN or not name.isprintable():
        raise MediaError(
            f"The {what} {name!r} cannot be the name of a folder.",
            expected="A printable name without slashes that does not begin with a dot.",
            remedy=f"Rename the {what} in the annotation.",
        )


def _sort_file(spool: IO[bytes], target: Path, spans: NDArray[np.int64]) -> None:
    """Copy what was written frame by frame in the order of the faces."""
    with new_file(target) as temporary, temporary.open("wb") as stream:
        for start, stop in spans.tolist():
            if stop > start:
                spool.seek(start)
                stream.write(spool.read(stop - start))


def _measure(data: bytes) -> float:
    """Measure a crop as it is in its file, so that cut and given crops are measured alike."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.nan if picture is None else measure_sharpness(np.asarray(picture, np.uint8))


def _digest(job: _Job) -> str:
    """Say in one line what a pack is made of; sources have their hashes in the stage's key."""
    whole = hashlib.sha256(job.frames.tobytes() + job.boxes.tobytes())
    if isinstance(job.source, FromPictures):
        whole.update("\n".join(job.source.paths).encode())
    kind = type(job.source).__name__ if job.source else "nothing"
    scale = job.source.scale if isinstance(job.source, FromFrames) else ()
    return f"{kind} {scale} {job.first} {sorted(asdict(job.recipe).items())!r} {whole.hexdigest()}"
