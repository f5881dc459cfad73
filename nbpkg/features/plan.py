"""Which file of which session becomes which modality, and how: settings of a parameter file to jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nbpkg.annotations.valence.srt import read_srt
from nbpkg.errors import AnnotationError, raise_all
from nbpkg.features.kinds import FaceHow, How, Job, SoundHow, TableHow, WordsHow
from nbpkg.settings.valence import ModalitySettings

# which files of its folder each kind of modality takes
ENDINGS = {
    "table": (".csv", ".npy"),
    "sound": (".mp4", ".mov", ".mkv", ".avi", ".wav"),
    "words": (".srt",),
    "face": (".mp4", ".mov", ".mkv", ".avi"),
}


def plan_features(
    files: Sequence[tuple[str, Path]],
    modalities: Mapping[str, ModalitySettings],
    *,
    data: Path,
    fps: int = 25,
    seconds: float = 1.0,
) -> list[Job]:
    """Say what is to be made of the files of each session.

    Parameters
    ----------
    files
        (session, file) of everything there is; a file belongs to the modalities whose folder it lies in and whose kind
        has its ending. Where folders end alike (``audio``, ``features/audio``), the longest counts.
    modalities
        Name to settings, in order.
    data
        Data folder, in which files of weights, word vectors and detectors are named.
    fps
        Annotated frames per second, in which faces are counted.
    seconds
        Length of a row.

    Returns
    -------
    list of Job
        By modality in the order given, then by session; sessions without a file for a modality have no job.

    Raises
    ------
    AnnotationError
        When a transcript cannot be read.
    """
    jobs = []
    folders = {Path(settings.folder) for settings in modalities.values()}
    place = {path.parent: _find_folder(path.parent, folders) for _, path in files}
    for name, settings in modalities.items():
        folder, endings = Path(settings.folder), ENDINGS[settings.kind]
        own = [one for one in files if place[one[1].parent] == folder and one[1].name.lower().endswith(endings)]
        jobs += [Job(session, name, _how(settings, path, data, fps, seconds), path) for session, path in own]
    return jobs


def _find_folder(parent: Path, folders: Collection[Path]) -> Path | None:
    """Return which folder of a part files lie in: the longest that their own ends with."""
    fitting = [one for one in folders if not one.parts or parent.parts[-len(one.parts) :] == one.parts]
    return max(fitting, key=lambda folder: len(folder.parts), default=None)


def _how(settings: ModalitySettings, path: Path, data: Path, fps: int, seconds: float) -> How:
    """Return what is to be made of one file."""
    if settings.kind == "sound":
        return SoundHow(seconds=seconds, time_columns=settings.time_columns)
    if settings.kind == "words":
        return _words(settings, path, data, seconds)
    if settings.kind == "table":
        return TableHow(time_columns=settings.time_columns)
    boxes = path.parent.parent / settings.boxes / f"{path.stem}.csv" if settings.boxes else None
    folder = path.parent.parent / settings.boxes / path.stem if settings.boxes else None
    x0, y0, x1, y1 = settings.region or (0, 0, 0, 0)
    return FaceHow(
        side=settings.side,
        boxes=folder if folder is not None and folder.is_dir() else boxes,
        detector=data / settings.detector if settings.detector else None,
        region=(x0, y0, x1, y1) if settings.region else None,
        network=settings.network,
        weights=data / settings.weights if Path(settings.weights).suffix else settings.weights,
        size=settings.size,
        every=settings.every,
        missed=settings.missed,
        fps=fps,
        seconds=seconds,
    )


def _words(settings: ModalitySettings, path: Path, data: Path, seconds: float) -> WordsHow:
    cues, problems = read_srt(path)
    errors = [problem for problem in problems if problem.severity == "error"]
    raise_all(errors, AnnotationError, summary="a transcript cannot be read.")
    return WordsHow(
        cues=tuple((cue.start_ms, cue.end_ms, cue.text) for cue in cues),
        vectors=data / settings.vectors if settings.vectors else None,
        width=settings.width,
        stop_words=settings.stop_words,
        silence=settings.silence,
        seconds=seconds,
    )
