"""Recordings of several modalities, aligned to the annotation: baked once, one file each, and read when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.annotations.valence.recordings import whole_ratio
from nbpkg.datasets.valence.align import Absent, Length, Short, align_recording
from nbpkg.datasets.valence.moments import Moments, measure, merge
from nbpkg.datasets.valence.recording import Recording
from nbpkg.datasets.valence.storage import is_recording, read_notes, read_recording, write_recording
from nbpkg.errors import AnnotationError, Problem, StageError, TableError, raise_all
from nbpkg.progress import Report
from nbpkg.runs.files import digest
from nbpkg.runs.files import sha256 as hash_file

FOLDER = "recordings"
VERSION = 1  # of the files; counts into what makes them stale
Incomplete = Literal["mask", "drop"]


class Baked(NamedTuple):
    """What was baked.

    Parameters
    ----------
    files
        Session to file, in the order of the table ``recordings``.
    alignment
        Table ``alignment``.
    problems
        Warnings: modalities that are missing, sessions left out, masked rows.
    """

    files: dict[str, Path]
    alignment: pd.DataFrame
    problems: list[Problem]

    @property
    def hashes(self) -> dict[str, str]:
        """Hash of each session's file, by its path in the run folder."""
        return {f"{FOLDER}/{path.name}": hash_file(path) for path in self.files.values()}


@dataclass(frozen=True)
class _Plan:
    """How recordings are baked; it enters the hash of a file beside its inputs."""

    modalities: tuple[str, ...]
    widths: Mapping[str, int]
    ratio: int
    length: Length
    short: Short
    incomplete: Incomplete


class _Inputs(NamedTuple):
    """What recordings are made of: the folder of features, its files and the annotation, by session."""

    folder: Path
    files: Mapping[str, pd.DataFrame]
    frames: Mapping[str, pd.DataFrame]


def recording_path(folder: Path, session: str) -> Path:
    """Return where a recording lies in the run folder of stage 04."""
    if Path(session).name != session:
        raise TableError(
            f"Session {session!r} cannot name a file.", expected="A name without slashes.", remedy="Rename the session."
        )
    return folder / FOLDER / f"{session}.npz"


def bake_recordings(
    valence: pd.DataFrame,
    recordings: pd.DataFrame,
    modalities: pd.DataFrame,
    features: Path,
    folder: Path,
    *,
    ratio: float,
    length: Length,
    short: Short,
    rater: str = "self",
    incomplete: Incomplete = "mask",
    order: Sequence[str] | None = None,
) -> Baked:
    """Align every session and write it as ``recordings/<session>.npz``; what an earlier run finished stays.

    Parameters
    ----------
    valence, recordings, modalities
        The tables of these names.
    features
        Run folder that `file` of the table ``modalities`` is relative to.
    folder
        Run folder to write to.
    ratio
        Annotated frames of a step.
    length, short
        See `align_recording`.
    rater
        Whose annotation is learnt.
    incomplete
        What is done with a session that has no file of a modality: ``mask`` the modality throughout, or ``drop`` the
        session.
    order
        Which modalities, in this order; None takes all in the order in which the table names them.

    Returns
    -------
    Baked
        Files, table ``alignment`` and warnings. The same whether files were made now or before.

    Raises
    ------
    SettingsError
        When a step is not a whole number of frames.
    StageError
        When a file of features is not what the table says, or no session is left.
    TableError
        When a modality has several widths, or the rater no annotation; or listing every session and modality of which
        nothing can be used.
    """
    plan = _Plan(
        *_choose(modalities, order), ratio=whole_ratio(ratio), length=length, short=short, incomplete=incomplete
    )
    own = modalities[modalities["modality"].isin(plan.modalities)]
    inputs = _Inputs(
        features,
        {str(name): rows.set_index("modality") for name, rows in own.groupby("session", sort=False)},
        {str(name): rows for name, rows in _by_rater(valence, rater, recordings).groupby("session", sort=False)},
    )
    files: dict[str, Path] = {}
    notes: list[dict[str, Any]] = []
    problems: list[Problem] = []
    report = Report("bake", total=len(recordings), unit="session")
    for row in recordings.to_dict("records"):
        session = str(row["session"])
        left_out, found = _note_absent(session, inputs, plan)
        problems += found
        if not left_out:
            path = recording_path(folder, session)
            try:
                alignment, found = _bake_session(path, row, inputs, plan=plan)
            except (TableError, AnnotationError) as error:  # all sessions are looked at before anything is refused
                problems.append(Problem(error.what, error.expected, error.remedy, file=session))
                continue
            files[session] = path
            notes += alignment
            problems += found
        report.step(note=session)
    report.close()
    raise_all(problems, TableError, summary="recordings cannot be aligned.")
    if not files:
        raise StageError(
            f"None of {len(recordings)} sessions has the features that are asked for.",
            where=problems[0].what if problems else "",
            remedy="Add features, or correct the modalities in the parameter file.",
        )
    return Baked(files, tables.from_rows(notes, "alignment"), problems)


def read_baked(folder: Path, sessions: Sequence[str] | None = None) -> dict[str, Recording]:
    """Open baked recordings; their features stay on disk until they are used.

    Parameters
    ----------
    folder
        Run folder of stage 04.
    sessions
        Which, in this order; None takes all, in order of name.

    Returns
    -------
    dict
        Recording of each session.

    Raises
    ------
    StageError
        When one is missing or damaged, or there is none at all.
    """
    names = sorted(path.stem for path in (folder / FOLDER).glob("[!.]*.npz")) if sessions is None else sessions
    if not names and sessions is None:
        raise StageError(
            "There is no baked recording.", where=str(folder / FOLDER), remedy="Run notebooks/04_bake.ipynb."
        )
    return {session: read_recording(recording_path(folder, session)) for session in names}


def feature_ranges(recordings: Mapping[str, Recording], folds: pd.DataFrame) -> pd.DataFrame:
    """Measure how far the features of each fold lie from those of the other folds.

    Parameters
    ----------
    recordings
        Baked recordings; training sessions that were left out do not count.
    folds
        Table ``folds``.

    Returns
    -------
    pandas.DataFrame
        Columns fold, modality, quantity, value. Quantities: ``outside``, the share of values beyond the range of the
        other folds (0 .. 1); ``shift``, the mean over features of the distance between the means, in standard
        deviations of the other folds, over features that vary there; ``constant``, the share of features that do not.
        NaN where a fold, or all others, have no row of a modality. Test sessions are not looked at.
    """
    dealt = folds[(folds["role"] == "train") & folds["session"].isin(list(recordings))].set_index("session")["fold"]
    modalities = list(dict.fromkeys(name for session in dealt.index for name in recordings[session].modalities))
    rows = []
    for modality in modalities:
        own = {session: recordings[session] for session in dealt.index if modality in recordings[session].features}
        found = {session: measure(_there(recording, modality)) for session, recording in own.items()}
        for fold in sorted(set(dealt)):
            inside = [session for session in own if dealt[session] == fold]
            others = [found[session] for session in own if dealt[session] != fold]
            values = _compare_fold([(own[session], found[session]) for session in inside], others, modality)
            rows += [[int(fold), modality, quantity, value] for quantity, value in values.items()]
    return pd.DataFrame(rows, columns=["fold", "modality", "quantity", "value"])


def _compare_fold(
    fold: Sequence[tuple[Recording, Moments]], others: Sequence[Moments], modality: str
) -> dict[str, float]:
    nothing = {"outside": np.nan, "shift": np.nan, "constant": np.nan}
    if not fold or not others:
        return nothing
    own, rest = merge([moments for _, moments in fold]), merge(others)
    if not own.rows or not rest.rows:
        return nothing
    outside = 0
    for recording, _ in fold:
        values = _there(recording, modality)
        outside += int(((values < rest.least) | (values > rest.greatest)).sum())
    varied = ~rest.constant
    shifts = np.abs(own.mean - rest.mean)[varied] / rest.std[varied]
    return {
        "outside": outside / (own.rows * len(own.mean)),
        "shift": float(shifts.mean()) if varied.any() else np.nan,
        "constant": float(rest.constant.mean()),
    }


def _there(recording: Recording, modality: str) -> NDArray[np.float32]:
    return recording.features[modality][recording.present[modality]]


def _choose(modalities: pd.DataFrame, order: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return which modalities are baked, and their widths."""
    known = list(dict.fromkeys(modalities["modality"]))
    chosen = tuple(known if order is None else order)
    unknown = [modality for modality in chosen if modality not in known]
    if unknown or not chosen:
        raise TableError(
            f"There are no features of {', '.join(unknown) or 'any modality'}.",
            expected=f"One of {', '.join(known) or 'none'}.",
            remedy="Correct the modalities in the parameter file, or prepare their features in notebook 02.",
        )
    widths = {}
    for modality in chosen:
        own = modalities[modalities["modality"] == modality]
        usual = int(own["width"].mode().iloc[0])
        odd = own[own["width"] != usual]
        if len(odd):
            first = odd.iloc[0]
            raise TableError(
                f"Modality {modality!r} of session {first['session']!r} is {first['width']} wide, others are {usual} "
                "wide.",
                where=f"{len(odd)} of {len(own)} sessions: {', '.join(odd['session'].iloc[:5])}.",
                expected="The same features in every session.",
                remedy="Extract this modality of all videos with the same settings.",
            )
        widths[modality] = usual
    return chosen, widths


def _by_rater(valence: pd.DataFrame, rater: str, recordings: pd.DataFrame) -> pd.DataFrame:
    own = valence[valence["rater"] == rater]
    if own.empty and not recordings["hidden"].all():
        raise TableError(
            f"There is no annotation of rater {rater!r}.",
            expected=f"One of {', '.join(sorted(set(valence['rater']))) or 'none'}.",
            remedy="Correct the rater in the parameter file.",
        )
    return own


def _note_absent(session: str, inputs: _Inputs, plan: _Plan) -> tuple[bool, list[Problem]]:
    """Tell whether a session is left out, and say what it lacks."""
    there = set(inputs.files[session].index) if session in inputs.files else set()
    absent = [modality for modality in plan.modalities if modality not in there]
    left_out = bool(absent) and (plan.incomplete == "drop" or len(absent) == len(plan.modalities))
    if not absent:
        return False, []
    done = "The session is left out." if left_out else "It counts as missing in every second."
    return left_out, [
        Problem(
            f"There are no features of {', '.join(absent)}. {done}",
            expected=f"Features of {', '.join(plan.modalities)}.",
            remedy="Add them, or leave the session out.",
            file=session,
            severity="warning",
        )
    ]


def _bake_session(
    path: Path, row: Mapping[Any, Any], inputs: _Inputs, *, plan: _Plan
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Write one session unless its file was made of the same; return its rows of ``alignment`` and what is odd."""
    facts: dict[str, Any] = {name: str(row[name]) for name in ("session", "subject", "story", "part", "actor")}
    session, hidden = facts["session"], bool(row["hidden"])
    original = _frames(inputs.frames.get(session), session, frames=int(row["frames"]), hidden=hidden)
    files = {str(file["modality"]): file for file in inputs.files[session].reset_index().to_dict("records")}
    hashes = {modality: file["sha256"] for modality, file in files.items()}
    made_of = digest([VERSION, vars(plan), facts, hidden, hashes, sha256(original.tobytes()).hexdigest()])
    notes: dict[str, Any] = read_notes(path) if is_recording(path) else {"made_of": ""}
    if notes["made_of"] != made_of:
        given = {
            modality: _load(inputs.folder, files[modality]) if modality in files else Absent(plan.widths[modality])
            for modality in plan.modalities
        }
        aligned, alignment = align_recording(
            original, given, session=session, ratio=plan.ratio, length=plan.length, short=plan.short
        )
        recording = Recording(**facts, **aligned._asdict(), original=original, hidden=hidden)
        notes = {"made_of": made_of, "alignment": alignment}
        write_recording(path, recording, notes=notes)
    odd = [
        f"Modality {note['modality']!r}: {note['flags']}."
        for note in notes["alignment"]
        if note["flags"] and note["rows"]
    ]
    if not hidden and np.isnan(original).all():
        odd.append("There is no value in its annotation: nothing can be learnt from it or scored.")
    return notes["alignment"], [Problem(what, file=session, severity="warning") for what in odd]


def _frames(rows: pd.DataFrame | None, session: str, *, frames: int, hidden: bool) -> NDArray[np.float64]:
    """Return one value per frame; NaN where there is none, everywhere when the truth is withheld."""
    values = np.full(frames, np.nan)
    if rows is None or hidden:
        return values
    places = rows["frame"].to_numpy(np.int64)
    if places.max(initial=-1) >= frames:
        raise TableError(
            f"Session {session!r} has a value at frame {places.max()}, but {frames} frames.",
            remedy="Run notebooks/01_parse_annotations.ipynb again.",
        )
    values[places] = rows["value"].to_numpy(np.float64)
    return values


def _load(folder: Path, file: Mapping[Any, Any]) -> NDArray[np.float32]:
    path, wanted = folder / str(file["file"]), (int(file["rows"]), int(file["width"]))
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise StageError(
            f"Features cannot be read: {error}.", where=str(path), remedy="Run notebooks/02_prepare_videos.ipynb again."
        ) from None
    if found.shape != wanted or found.dtype != np.float32:
        raise StageError(
            f"Features are {found.dtype} {found.shape}.",
            where=str(path),
            expected=f"float32 {wanted}, as the table 'modalities' says.",
            remedy="Run notebooks/02_prepare_videos.ipynb again.",
        )
    return found
