"""All videos and picture folders of a study, prepared in parallel; what is finished stays, the rest is made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path

import pandas as pd

from nbpkg import tables
from nbpkg.errors import MediaError, Problem, StageError
from nbpkg.progress import Report, say
from nbpkg.runs.files import cannot_write
from nbpkg.video import manifest as manifests
from nbpkg.video import workers as pools
from nbpkg.video.albums import PictureRecipe, Source, ViewRecipe, place_of
from nbpkg.video.convert import Recipe, count_frames, target_size
from nbpkg.video.files import sync_folder
from nbpkg.video.frames import JPEG
from nbpkg.video.probe import MediaFacts
from nbpkg.video.recordings import open_recording

Job = tuple[str, Source]
_PARTIAL = ".partial"
# Bytes per pixel, measured on people in rooms at 288x160; JPEG by quality: coarse, and doubling above 95.
_JPEG_BYTES = {50: 0.12, 75: 0.18, 90: 0.28, 95: 0.40, 100: 1.0}
_VIDEO_BYTES, _INDEX_BYTES = 0.03, 120
_AS_FOUND = PictureRecipe()


@dataclass
class Outcome:
    """What came of one session.

    Parameters
    ----------
    manifest
        What was made (see `manifest.write`); empty when the source cannot be used.
    fresh
        Whether it was made now, not found finished.
    problems
        What was noticed about the source.
    """

    manifest: dict
    fresh: bool
    problems: list[Problem]


def prepare_sessions(
    jobs: Sequence[Job],
    folder: Path,
    *,
    recipe: Recipe,
    pictures: PictureRecipe = _AS_FOUND,
    workers: int = 1,
    sources: Path | None = None,
    run_folder: Path | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Prepare the video or picture folder of every session: frame store, MP4 to watch, manifest.

    Each session gets a folder of its name. It is written as ``.<session>.<process>.partial`` and renamed when all is
    on disk, the manifest last, so that a session's folder is either complete or not there. A session is left as it
    is when its manifest names the same source hash and recipe, and all its files have the hashes named there. Killed
    at any moment and run again, the result has the same bytes.

    Of a picture folder every picture is one frame, in natural order. It becomes a frame store like a video, or a view:
    an index by which `nbpkg.video.stores.open_store` reads the originals; then ``video`` is empty, and ``width`` and
    ``height`` are the largest.

    Parameters
    ----------
    jobs
        ``(session, source)`` pairs; a source is a video file, a picture folder, or picture files as a tuple of paths.
    folder
        Where the sessions' folders go; made if needed. One run at a time may write there.
    recipe
        What to make.
    pictures
        What becomes of picture folders.
    workers
        Sessions prepared at once, each in a process of its own; 1 works in this process.
    sources
        Folder that the table's ``source`` paths start from; None gives file names only.
    run_folder
        Folder that the table's ``store`` and ``video`` paths start from; None takes `folder`.

    Returns
    -------
    pandas.DataFrame
        Table ``media``, one row per prepared session in the order of `jobs`.
    list of Problem
        What is wrong with sources: ``error``, not prepared; ``repaired``, prepared with the repair that is named.

    Raises
    ------
    StageError
        When sessions cannot be folder names, the folder cannot be written, the disk is or would be full, or a worker
        process dies.
    """
    _check_sessions([session for session, _ in jobs])
    with _clear_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(f".*{_PARTIAL}"):
            shutil.rmtree(stale)
    facts, needs, problems = _look_at_headers(jobs, folder, recipe, pictures)
    good = [job for job in jobs if job[0] in facts]
    _announce_size(needs, folder, recipe)
    seconds = round(sum(float(fact.duration) for fact in facts.values()))
    report = Report("prepare", total=seconds, unit="video second")
    outcomes: dict[str, Outcome] = {}
    for session, outcome in _prepare_all(
        good, folder, recipe, pictures=pictures, workers=workers, tick=_whole_steps(report)
    ):
        problems.extend(outcome.problems)
        outcomes[session] = outcome
    made = [outcomes[session] for session, _ in jobs if session in outcomes and outcomes[session].manifest]
    kept = sum(not outcome.fresh for outcome in made)
    report.close(note=f"{len(made)} of {len(jobs)} sessions ready, {kept} of them were before")
    base = os.path.relpath(folder, run_folder) if run_folder else "."
    places = {session: _place(source, sources) for session, source in jobs}
    rows = [manifests.media_row(outcome.manifest, base=base, places=places) for outcome in made]
    return tables.from_rows(rows, "media"), problems


def estimate_bytes(facts: MediaFacts, recipe: Recipe | ViewRecipe) -> int:
    """Estimate what one prepared video takes on disk, in bytes.

    Raw frame stores are exact but for the MP4; JPEG and MP4 depend on the picture, half to twice the estimate.
    """
    if isinstance(recipe, ViewRecipe):
        return facts.frames * _INDEX_BYTES + 4096
    height, width = target_size(facts, recipe)
    pixels = height * width * count_frames(facts.duration, recipe.fps)
    quality = next(limit for limit in _JPEG_BYTES if recipe.jpeg_quality <= limit)
    per_pixel = _JPEG_BYTES[quality] if recipe.encoding == JPEG else 3.0
    return round(pixels * (per_pixel + (_VIDEO_BYTES if recipe.write_video else 0))) + 4096


def prepare_session(
    job: Job,
    folder: Path,
    recipe: Recipe,
    tick: Callable[[float], None],
    *,
    pictures: PictureRecipe = _AS_FOUND,
    decode_threads: int = 0,
) -> Outcome:
    """Prepare one session, or find it finished; a source that cannot be used becomes a problem, not an error.

    Parameters
    ----------
    job, folder, recipe, pictures
        As in `prepare_sessions`.
    tick
        Called with seconds of video done.
    decode_threads
        Threads of the decoder; 0 leaves it to FFmpeg.
    """
    session, source = job
    partial = folder / f".{session}.{os.getpid()}{_PARTIAL}"
    with _clear_disk_errors(folder):
        try:
            recording = open_recording(source, pictures, decode_threads=decode_threads)
            facts = recording.probe()
            asked = recording.recipe(recipe, folder / session)
            found = manifests.read_finished(folder / session, facts.sha256, asked)
            if found is not None:
                tick(float(facts.duration))
                return Outcome(found, fresh=False, problems=manifests.problems(found))
            partial.mkdir()
            made = recording.convert(partial, facts=facts, recipe=asked, tick=tick)
            name = place_of(source).name
            written = manifests.write(partial, session=session, source=name, facts=facts, recipe=asked, made=made)
        except MediaError as error:
            problem = Problem(error.what, error.expected, error.remedy, file=place_of(source).name)
            return Outcome({}, fresh=False, problems=[problem])
        else:
            _put_in_place(partial, folder / session)
            return Outcome(written, fresh=True, problems=manifests.problems(written))
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _put_in_place(partial: Path, final: Path) -> None:
    """Rename a complete folder to its place; an outdated one there goes first, so that no mixture can be seen."""
    sync_folder(partial)
    if final.exists():
        outdated = partial.with_name(f".{final.name}.outdated{_PARTIAL}")
        final.rename(outdated)
        shutil.rmtree(outdated)
    partial.rename(final)
    sync_folder(final.parent)


def _prepare_all(
    jobs: Sequence[Job],
    folder: Path,
    recipe: Recipe,
    *,
    pictures: PictureRecipe,
    workers: int,
    tick: Callable[[float], None],
) -> Iterator[tuple[str, Outcome]]:
    """Prepare the jobs here or in worker processes; outcomes come as they are finished."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job[0], prepare_session(job, folder, recipe, tick, pictures=pictures)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    with pools.start(min(workers, len(jobs))) as pool:
        for job in jobs:
            work = bind(prepare_session, job, folder, recipe, pictures=pictures, decode_threads=threads)
            pool.submit(job[0], work)
        yield from pool.results(tick)


def _check_sessions(sessions: Sequence[str]) -> None:
    """Refuse session names that are no folder names, or not two different ones on every system."""
    known: set[str] = set()
    for session in sessions:
        bad = not session or session.startswith(".") or session.endswith((".", " ")) or not session.isprintable()
        if bad or set(session) & set('/\\:*?"<>|'):
            raise StageError(
                f"Session {session!r} cannot be the name of a folder.",
                expected='A printable name without / \\ : * ? " < > |, not starting with a dot.',
                remedy="Rename the session.",
            )
        if session.casefold() in known:
            raise StageError(f"Session {session!r} occurs twice.", remedy="Keep one video per session.")
        known.add(session.casefold())


def _look_at_headers(
    jobs: Sequence[Job], folder: Path, recipe: Recipe, pictures: PictureRecipe
) -> tuple[dict[str, MediaFacts], dict[str, int], list[Problem]]:
    """Read all headers first, so that size (bytes of each session) and problems are known before hours of work."""
    facts: dict[str, MediaFacts] = {}
    needs: dict[str, int] = {}
    problems: list[Problem] = []
    for session, source in jobs:
        try:
            recording = open_recording(source, pictures)
            fact = recording.look()
        except MediaError as error:
            problems.append(Problem(error.what, error.expected, error.remedy, file=place_of(source).name))
            continue
        facts[session], needs[session] = fact, estimate_bytes(fact, recording.recipe(recipe, folder / session))
    return facts, needs, problems


def _announce_size(needs: Mapping[str, int], folder: Path, recipe: Recipe) -> None:
    """Say how much disk the sessions that are not there yet will take, and refuse what cannot fit."""
    missing = [size for session, size in needs.items() if not (folder / session).is_dir()]
    needed, free = sum(missing), shutil.disk_usage(folder).free
    say(
        f"prepare: {len(missing)} of {len(needs)} recordings to make, about {needed / 1e6:,.0f} MB "
        f"({recipe.encoding} frames{' and MP4' if recipe.write_video else ''}); {free / 1e6:,.0f} MB free"
    )
    if needed > free:
        raise StageError(
            f"The prepared recordings need about {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free.",
            where=str(folder),
            remedy="Free some space, set 'outputs' to a larger disk, or set the encoding to jpeg.",
        )


@contextmanager
def _clear_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the disk says into one `StageError` that names the folder."""
    try:
        yield
    except OSError as error:
        raise cannot_write(folder / "session", error) from None


def _whole_steps(report: Report) -> Callable[[float], None]:
    """Let fractions of a second add up to the whole steps that a report counts."""
    exact = 0.0

    def tick(amount: float) -> None:
        nonlocal exact
        exact = min(exact + amount, float(report.total or 0))
        report.step(int(exact) - report.done)

    return tick


def _place(source: Source, sources: Path | None) -> str:
    place = place_of(source)
    return Path(os.path.relpath(place, sources)).as_posix() if sources else place.name
