"""All that 02 does with faces: cut them out, read or find what is known of them, write their sound."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import Problem, SettingsError
from nbpkg.features.looking.audio_files import write_all_audio
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import PackRecipe, Source, cut_all
from nbpkg.features.looking.each_crop import HEAD_POSE, LANDMARKS, describe_faces
from nbpkg.features.looking.landmarks import LandmarkFinder
from nbpkg.features.looking.packs import CropPacks, read_facts
from nbpkg.features.looking.prior_files import HEAD, POINTS, read_prior_files
from nbpkg.features.looking.priors import count_missing, gather_priors, table_crops
from nbpkg.features.looking.sources import export_crops, find_challenge, find_given, find_stores
from nbpkg.runs.files import hash_below
from nbpkg.settings.looking import FaceVideoSettings

CROPS, AUDIO, PICTURES = "crops", "audio", "face_imgs"
Given = tuple[NDArray[np.floating] | None, NDArray[np.floating] | None]


class Described(NamedTuple):
    """What is known of all faces.

    Parameters
    ----------
    priors
        `nbpkg.features.looking.priors.PRIOR_DTYPE` ``[faces]``.
    crops
        Table ``crops``.
    missing
        What is missing, from `nbpkg.features.looking.priors.count_missing`.
    files
        What the prior files held; None where none were read.
    packs
        Hashes of the packs.
    problems
        Errors and warnings.
    """

    priors: NDArray[np.void]
    crops: pd.DataFrame
    missing: pd.DataFrame
    files: pd.DataFrame | None
    packs: dict[str, str]
    problems: list[Problem]


def cut_faces(
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    media: pd.DataFrame,
    *,
    challenge: pd.DataFrame,
    settings: FaceVideoSettings,
    folder: Path,
    data: Path,
    test_crops: str = "",
    workers: int = 1,
) -> list[Problem]:
    """Cut out every face, or take crops that are there; finished clips are kept.

    Parameters
    ----------
    tracks, challenge, media
        Tables of these names.
    faces
        All faces.
    settings
        Of the stage.
    folder
        Run folder: packs go to ``crops``, pictures to ``face_imgs`` where asked for.
    data
        Data folder.
    test_crops
        Folder of the challenge's test crops in it.
    workers
        Clips at once.

    Raises
    ------
    MediaError
        When clips have another rate than the annotation, or a frame store cannot be read.
    StageError
        When the folder cannot be written.
    """
    if settings.crops == "given":
        sources: dict[str, Source] = {**find_given(data / settings.crop_folder, tracks, faces)}
    else:
        sources = {**find_stores(media, folder, fps=settings.fps)}
    sources |= find_challenge(data, challenge) if test_crops else {}
    rule = CropRule(size=settings.crop_size, enlarge=settings.enlarge)
    shift = -1 if settings.frame_offset == "reference" else 0
    recipe = PackRecipe(rule, settings.crop_quality, shift, settings.quality)
    _, problems = cut_all(tracks, faces, sources, folder=folder / CROPS, recipe=recipe, workers=workers)
    if settings.export_crops and not any(problem.severity == "error" for problem in problems):
        export_crops(CropPacks(folder / CROPS, tracks), tracks, faces, folder=folder / PICTURES)
    return problems


def describe_all(
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    *,
    challenge: pd.DataFrame,
    settings: FaceVideoSettings,
    folder: Path,
    data: Path,
    device: str,
    threads: int,
    parts: Mapping[str, NDArray[np.bool_]],
) -> Described:
    """Read or find head pose and landmarks of every crop; what is not known is NaN and counted.

    Parameters
    ----------
    tracks, faces, challenge, settings, folder, data
        As for `cut_faces`.
    device, threads
        Where networks run, as `nbpkg.models.device.choose_device` takes it.
    parts
        Which faces are in each part, for the counts.

    Raises
    ------
    StageError
        When landmarks are to be found and MediaPipe is not there.
    WeightsError
        When weights of Hopenet are missing or do not fit.
    """
    facts = read_facts(folder / CROPS, tracks)
    packs = CropPacks(folder / CROPS, tracks)
    (head, points), files, problems = _read_files(tracks, faces, challenge, settings=settings, data=data)
    if settings.head_pose == "hopenet":
        from nbpkg.features.looking.head_pose import HeadPoseEstimator  # with torch, which nothing else here needs
        from nbpkg.models.device import choose_device
        from nbpkg.models.looking.hopenet import load_hopenet

        network = load_hopenet(_find_file("head_weights", settings.head_weights, data))
        estimate = HeadPoseEstimator(network, device=choose_device(device, threads=threads))
        head = describe_faces(packs, tracks, estimate, shape=(3,), folder=folder / "found" / HEAD_POSE)
    if settings.landmarks == "mediapipe":
        with LandmarkFinder(_find_file("landmark_model", settings.landmark_model, data)) as finder:
            points = describe_faces(packs, tracks, finder, shape=(5, 4), folder=folder / "found" / LANDMARKS)
    priors = gather_priors(facts, head_pose=head, points=points)
    shutil.rmtree(folder / "found", ignore_errors=True)  # all of it is in the priors
    return Described(
        priors,
        table_crops(tracks, priors, facts=facts),
        count_missing(priors, dict(parts)),
        files,
        hash_below(folder, CROPS),
        problems,
    )


def list_parts(tracks: pd.DataFrame, footage: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Tell which faces are in each part of the official lists, in the order of ``faces.npy``."""
    splits = tracks.sort_values("offset", kind="stable")
    own = np.repeat(splits["session"].map(footage.set_index("session")["split"]).to_numpy(), splits["rows"].to_numpy())
    return {str(name) or "no list": own == name for name in sorted(set(own.tolist()))}


def write_sounds(jobs: Sequence[tuple[str, Path]], folder: Path, *, wanted: bool, workers: int = 1) -> list[Problem]:
    """Write the sound of every clip, 16 kHz, to ``audio``; nothing where it is not wanted."""
    return write_all_audio(dict(jobs), folder / AUDIO, workers=workers) if wanted else []


def _read_files(
    tracks: pd.DataFrame,
    faces: NDArray[np.void],
    challenge: pd.DataFrame,
    *,
    settings: FaceVideoSettings,
    data: Path,
) -> tuple[Given, pd.DataFrame | None, list[Problem]]:
    wanted = {HEAD: settings.head_pose, POINTS: settings.landmarks}
    kinds = tuple(kind for kind, source in wanted.items() if source == "file")
    if not kinds:
        return (None, None), None, []
    found, problems = read_prior_files(data / settings.priors, tracks, faces, kinds=kinds, challenge=challenge)
    given: Any = (found.head_pose if HEAD in kinds else None, found.points if POINTS in kinds else None)
    return given, found.report, problems


def _find_file(name: str, value: str, data: Path) -> Path:
    path = data / value
    if not path.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"prepare.{name} {value!r} lies outside the data folder.",
            expected=f"A file below {data}.",
            remedy="Copy it there, and name it relative to the data folder.",
        )
    return path
