"""All features of a study: one NumPy file per session and modality; what is finished stays, the rest is made again."""

from __future__ import annotations

import importlib.metadata
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial as bind
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import NbpkgError, Problem, StageError
from nbpkg.features.kinds import FaceHow, Job, SoundHow, WordsHow
from nbpkg.features.make import Machine, make_features
from nbpkg.features.rows import Features, missing_rows
from nbpkg.features.tables import check_widths
from nbpkg.features.words import read_vectors, tokens
from nbpkg.progress import Report
from nbpkg.runs.files import digest, read_json, sha256, write_array, write_json
from nbpkg.video import workers as pools

_VERSION = 1
Vectors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Place:
    """Where a job's result goes, and by what it is known again."""

    job: Job
    file: Path
    key: str
    source: str

    @property
    def facts(self) -> Path:
        return self.file.with_suffix(".json")


def extract_modalities(
    jobs: Sequence[Job],
    folder: Path,
    *,
    workers: int = 1,
    machine: Machine | None = None,
    sources: Path | None = None,
    run_folder: Path | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Make the features of every session and modality.

    Each becomes ``<modality>/<session>.npy`` (float32 ``[T, D]``) with a JSON beside it that says what it was made from
    and names the columns. A file is left as it is when that JSON tells of the same source and the same options. Faces
    of two sides of one video are made in one pass.

    Parameters
    ----------
    jobs
        What to make.
    folder
        Where files go; made if needed.
    workers
        Recordings looked at once, each in a process of its own; 0 and 1 work in this process.
    machine
        Where networks compute.
    sources
        Folder that the table's ``source`` paths start from; None gives file names only.
    run_folder
        Folder that the table's ``file`` paths start from; None takes `folder`.

    Returns
    -------
    pandas.DataFrame
        Table ``modalities``, one row for each job that came out, in the order of `jobs`.
    list of Problem
        ``error`` for jobs that did not, naming the file; ``warning`` and ``repaired`` for what was noticed in others.

    Raises
    ------
    StageError
        When names cannot be file names, the folder cannot be written, or a worker process dies.
    """
    _check_names(jobs)
    where = machine or Machine()
    places, problems = _find_places(jobs, folder, sources, where)
    done = {place.job: facts for place in places if (facts := _read_finished(place)) is not None}
    kept = len(done)
    waiting, lacking = _with_vectors([place for place in places if place.job not in done])
    problems.extend(lacking)
    report = Report("features", total=len(jobs), unit="file")
    report.step(len(jobs) - len(waiting))
    for made in _make_all(list(_units(waiting)), workers, where):
        for job, result in made.items():
            report.step()
            if isinstance(result, Problem):
                problems.append(result)
            else:
                done[job] = result
    report.close(note=f"{len(done)} of {len(jobs)} are ready, {kept} of them were before")
    base = run_folder or folder
    ready = [(place, done[place.job]) for place in places if place.job in done]
    problems.extend(Problem(**entry) for _, facts in ready for entry in facts["problems"])
    problems.extend(_check_all_widths(ready))
    return tables.from_rows([_row(place, facts, base) for place, facts in ready], "modalities"), problems


def _check_names(jobs: Sequence[Job]) -> None:
    """Refuse names that are no file names, or not different ones on every system."""
    known: set[tuple[str, str]] = set()
    for job in jobs:
        for name in (job.session, job.modality):
            bad = not name or name.startswith(".") or name.endswith((".", " ")) or not name.isprintable()
            if bad or set(name) & set('/\\:*?"<>|'):
                raise StageError(
                    f"{name!r} cannot be the name of a file.",
                    expected='A printable name without / \\ : * ? " < > |, not starting with a dot.',
                    remedy="Rename the session or modality.",
                )
        pair = (job.session.casefold(), job.modality.casefold())
        if pair in known:
            raise StageError(
                f"Session {job.session!r} has modality {job.modality!r} twice.", remedy="Keep one file of each."
            )
        known.add(pair)


def _find_places(
    jobs: Sequence[Job], folder: Path, sources: Path | None, machine: Machine
) -> tuple[list[_Place], list[Problem]]:
    """Hash what each job reads, every file once."""
    places, problems = [], []
    hashes: dict[Path, str] = {}
    for job in jobs:
        name = _show(job.source, sources)
        try:
            key = digest([_VERSION, job.session, _hash(job.source, hashes), _options(job, hashes, machine)])
        except OSError as error:
            text = f"{Path(error.filename or job.source).name!r}, for {job.modality}, cannot be read: {error.strerror}."
            problems.append(Problem(text, remedy="Put the file there, or leave this session out.", file=name))
            continue
        places.append(_Place(job, folder / job.modality / f"{job.session}.npy", key, name))
    return places, problems


def _options(job: Job, hashes: dict[Path, str], machine: Machine) -> dict[str, Any]:
    """Return what a job's result depends on beside its source; files count by what they hold."""
    found: dict[str, Any] = {"kind": type(job.how).__name__}
    for field in fields(job.how):
        value = getattr(job.how, field.name)
        found[field.name] = _hash(value, hashes) if isinstance(value, Path) else value
    if isinstance(job.how, SoundHow):
        with suppress(importlib.metadata.PackageNotFoundError):  # said when the job is done
            found["library"] = importlib.metadata.version("opensmile")
    if isinstance(job.how, FaceHow):
        found["machine"] = [machine.seed, machine.threads]
    return found


def _hash(path: Path, hashes: dict[Path, str]) -> str:
    if path not in hashes:
        if path.is_dir():
            hashes[path] = digest([[file.name, sha256(file)] for file in sorted(path.iterdir()) if file.is_file()])
        else:
            hashes[path] = sha256(path)
    return hashes[path]


def _read_finished(place: _Place) -> dict[str, Any] | None:
    """Return the facts of a file that is whole and made of the same; None when it has to be made."""
    if not (place.facts.is_file() and place.file.is_file()):
        return None
    try:
        facts: dict[str, Any] = read_json(place.facts)
    except ValueError:  # not ours, or damaged: made again
        return None
    is_same = isinstance(facts, dict) and facts.get("key") == place.key and facts.get("sha256") == sha256(place.file)
    return facts if is_same else None


def _with_vectors(places: list[_Place]) -> tuple[list[tuple[_Place, Vectors]], list[Problem]]:
    """Read each file of word vectors once, for the words of all sessions."""
    words: dict[Path, set[str]] = defaultdict(set)
    for how in (place.job.how for place in places):
        if isinstance(how, WordsHow) and how.vectors is not None:
            words[how.vectors].update(word for _, _, text in how.cues for word in tokens(text))
    found: dict[Path, Vectors] = {}
    broken: dict[Path, NbpkgError] = {}
    for path, vocabulary in words.items():
        try:
            found[path] = read_vectors(path, vocabulary)
        except NbpkgError as error:
            broken[path] = error
    ready: list[tuple[_Place, Vectors]] = []
    problems = []
    for place in places:
        needed = place.job.how.vectors if isinstance(place.job.how, WordsHow) else None
        if needed in broken:
            problems.append(_as_problem(broken[needed], place))
        else:
            ready.append((place, found[needed] if needed is not None else {}))
    return ready, problems


def _units(waiting: list[tuple[_Place, Vectors]]) -> Iterator[list[tuple[_Place, Vectors]]]:
    """Group faces of one video that are made in the same way, to be made in one pass."""
    groups: dict[object, list[tuple[_Place, Vectors]]] = defaultdict(list)
    for place, vectors in waiting:
        how = place.job.how
        alike: object = place.file
        if isinstance(how, FaceHow):
            alike = (place.job.source, replace(how, side="listener", boxes=None, region=None, detector=None))
        groups[alike].append((place, vectors))
    yield from groups.values()


def _make_all(
    units: list[list[tuple[_Place, Vectors]]], workers: int, machine: Machine
) -> Iterator[dict[Job, dict[str, Any] | Problem]]:
    if workers < 2 or len(units) < 2:
        for unit in units:
            yield _make(unit, machine, _no_tick)
        return
    with pools.start(min(workers, len(units))) as pool:
        for unit in units:
            pool.submit(unit[0][0].source, bind(_make, unit, machine))
        for _, made in pool.results(_no_tick):
            yield made


def _no_tick(_: float) -> None:
    """Files are counted, not seconds."""


def _make(
    unit: list[tuple[_Place, Vectors]], machine: Machine, tick: Callable[[float], None]
) -> dict[Job, dict[str, Any] | Problem]:
    """Make and write the features of one recording; what is wrong with it is a problem of it alone."""
    tick(0)  # ends the work here when the parent has stopped waiting
    by_job = {place.job: place for place, _ in unit}
    vectors: Mapping[Job, Vectors] = {place.job: found for place, found in unit}
    made: dict[Job, dict[str, Any] | Problem] = {}
    for job, result in make_features(list(by_job), vectors, machine).items():
        place = by_job[job]
        made[job] = _as_problem(result, place) if isinstance(result, NbpkgError) else _write(place, result)
    return made


def _write(place: _Place, features: Features) -> dict[str, Any]:
    """Write a file and then what it is; only both together count."""
    write_array(place.file, np.asarray(features.rows, dtype=np.float32))
    facts = {
        "key": place.key,
        "source": place.source,
        "how": place.job.how.describe(),
        "rows": int(features.rows.shape[0]),
        "width": int(features.rows.shape[1]),
        "missing": int(missing_rows(features.rows).sum()),
        "sha256": sha256(place.file),
        "problems": [asdict(replace(problem, file=place.source)) for problem in features.problems],
        "columns": features.names,
    }
    write_json(place.facts, facts)
    return facts


def _as_problem(error: NbpkgError, place: _Place) -> Problem:
    what = f"{place.job.modality} of {place.job.session} cannot be made: {error.what}"
    return Problem(what, expected=error.expected, remedy=error.remedy, file=place.source)


def _row(place: _Place, facts: Mapping[str, Any], base: Path) -> dict[str, object]:
    file = Path(os.path.relpath(place.file, base)).as_posix()
    known = {name: facts[name] for name in ("rows", "width", "missing", "how", "sha256")}
    return {"session": place.job.session, "modality": place.job.modality, "file": file, "source": place.source} | known


def _check_all_widths(ready: list[tuple[_Place, dict[str, Any]]]) -> list[Problem]:
    widths: dict[str, dict[str, int]] = defaultdict(dict)
    for place, facts in ready:
        widths[place.job.modality][place.source] = facts["width"]
    return [problem for modality, found in widths.items() for problem in check_widths(found, modality=modality)]


def _show(source: Path, sources: Path | None) -> str:
    inside = sources is not None and source.is_relative_to(sources)
    return source.relative_to(sources).as_posix() if inside and sources is not None else source.name
