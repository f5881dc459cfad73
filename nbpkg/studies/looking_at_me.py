"""Looking at me: whether a person whose face was followed looks at the one who wears the camera.

Sources: the social benchmark of Ego4D with its baseline (github.com/EGO4D/social-interactions, branch lam), and
GazePose (github.com/lemon-prog123/GazePose, first in the challenge of 2023), whose network asks the middle face of
seven by head pose and landmarks. What differs from their programs, and why, is in ``docs/why.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from nbpkg.annotations.looking.faces import build_tracks
from nbpkg.errors import Problem
from nbpkg.settings.attention import CompareSettings, PaintSettings
from nbpkg.settings.experiment import Experiment
from nbpkg.settings.looking import (
    FaceEvaluationSettings,
    FaceFeatureSettings,
    FaceFoldSettings,
    FaceTrackSettings,
    FaceTrainSettings,
    FaceVideoSettings,
)
from nbpkg.studies.protocol import StudyCard

CARD = StudyCard(
    title="Looking at me",
    question="Does this person, whose face was followed, look at the one who wears the camera?",
    unit="a face of a track with the three before and the three after it",
    target="looking or not, as annotated; scored by mean average precision over both",
    citation="Ego4D (CVPR'22, arXiv 2110.07058) and GazePose (challenge report 2023)",
    stages={
        "parse": "Boxes of each face track are cleaned and filled; looking segments become a label for each face.",
        "prepare": "Clips become frames and sound; every face is cut out, its pose and sharpness told.",
        "stratify": "Official parts, or whole videos dealt into folds; a video never parts.",
        "bake": "How sharp a face is beside the training faces; features of crops where their network is frozen.",
        "train": "Variants side by side on the clips that choose, then the network for the test.",
        "evaluate": "Every face of the test clips answered, beside chance and a further annotator; challenge files.",
        "paint": "People paint on the face what tells them that somebody looks at them.",
        "compare": "Where in the seven faces the network looks, beside people's paint and chance.",
    },
)


class LookingAtMe:
    """The study; see `nbpkg.studies.protocol.Study` for what each method is for."""

    card = CARD
    kind = "tracks"
    settings: Mapping[str, type[BaseModel]] = {
        "parse": FaceTrackSettings,
        "prepare": FaceVideoSettings,
        "stratify": FaceFoldSettings,
        "bake": FaceFeatureSettings,
        "train": FaceTrainSettings,
        "evaluate": FaceEvaluationSettings,
        "paint": PaintSettings,
        "compare": CompareSettings,
    }

    def conflicts(self, stages: Mapping[str, BaseModel]) -> list[str]:
        """Return priors that a network asks for and nothing provides, and crops that cannot vary."""
        found = []
        prepare, bake, train = (stages.get(name) for name in ("prepare", "bake", "train"))
        if isinstance(prepare, FaceVideoSettings) and isinstance(train, FaceTrainSettings):
            network = train.network
            lacking = [("head", network.head, prepare.head_pose), ("landmarks", network.landmarks, prepare.landmarks)]
            found += [
                f"train.network.{name} is true, but prepare says where they come from: none."
                for name, wanted, source in lacking
                if network.name == "gazepose" and wanted and source == "none"
            ]
            wants = train.window.temporal_dropout or train.window.quality_filter
            if wants and not prepare.quality:
                found.append("train.window leaves faces out by quality, but prepare.quality is false.")
            if prepare.head_pose == "hopenet" and not prepare.head_weights:
                found.append("prepare.head_pose is hopenet, but prepare.head_weights names no file.")
        if isinstance(bake, FaceFeatureSettings) and isinstance(train, FaceTrainSettings):
            if bake.encoder != "none" and not train.learning.freeze:
                found.append("bake.encoder makes features, but train.learning.freeze is false, so nobody uses them.")
            varied = train.augment.mirror or train.augment.crop < 1
            if bake.encoder != "none" and train.learning.freeze and varied:
                found.append("features are baked, so crops cannot vary: set train.augment to mirror false and crop 1.")
        return found

    def why_not(self, stage: str, experiment: Experiment) -> str:
        """Without a final network there is none to ask: a sweep compares variants where epochs are chosen, in 05."""
        asked = stage in ("evaluate", "compare")
        if asked and "final" not in experiment.of("train", FaceTrainSettings).phases:
            return "Does not apply: train.phases has no final, whose network is the one that is asked."
        return ""

    def sources(self, stage: str, experiment: Experiment) -> list[Path]:
        """Return annotations and lists, clips and prior files, strokes, or published weights."""
        data, parse = experiment.data, experiment.of("parse", FaceTrackSettings)
        if stage == "parse":
            named = [data / name for name in (*parse.annotations, parse.manifest, *parse.lists.values()) if name]
            folders = [
                parse.second,
                parse.challenge,
                *([] if parse.form == "ego4d" else [parse.tracks, parse.segments]),
            ]
            return _existing([*named, *(path for name in folders if name for path in _below(data / name))])
        if stage == "prepare":
            own = experiment.of("prepare", FaceVideoSettings)
            crops = own.crop_folder if own.crops == "given" else ""
            priors = own.priors if "file" in (own.head_pose, own.landmarks) else ""
            below = [path for name in (parse.challenge, crops, priors) if name for path in _below(data / name)]
            weights = [data / own.head_weights] if own.head_weights else []
            return _existing([*(path for _, path in self.media_jobs(experiment)), *below, *weights])
        if stage == "bake" and experiment.of("bake", FaceFeatureSettings).quality == "file":
            return _existing(_below(data / experiment.of("prepare", FaceVideoSettings).priors))
        if stage == "train":
            return _existing([data / experiment.of("train", FaceTrainSettings).network.weights])
        if stage == "evaluate":
            return _existing([data / experiment.of("evaluate", FaceEvaluationSettings).arrow])
        if stage == "paint":
            return _existing(_below(data / experiment.of("paint", PaintSettings).folder))
        return []

    def read_annotations(self, experiment: Experiment) -> tuple[pd.DataFrame, list[Problem]]:
        """Read clips into the table ``footage``; tracks and faces come from `build_tracks` itself."""
        found = build_tracks(experiment.data, experiment.of("parse", FaceTrackSettings))
        return found.footage, found.problems

    def media_jobs(self, experiment: Experiment) -> list[tuple[str, Path]]:
        """Return the video of each annotated clip that is there."""
        own = experiment.of("prepare", FaceVideoSettings)
        footage, _ = self.read_annotations(experiment)
        places = {str(path.stem): path for path in _below(experiment.data / own.folder) if path.suffix == ".mp4"}
        return [(str(name), places[str(name)]) for name in footage["session"] if str(name) in places]

    def sessions(self, experiment: Experiment) -> pd.DataFrame:
        """Return session and group: the full video."""
        footage, _ = self.read_annotations(experiment)
        return footage[["session", "video"]].rename(columns={"video": "group"})


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _existing(paths: Iterable[Path]) -> list[Path]:
    return sorted({path for path in paths if path.is_file()})


STUDY = LookingAtMe()
