"""Gaze-target detection: where in the frame does this person look, or do they look out of it.

Sources: Chong et al., "Detecting Attended Visual Targets in Video", CVPR 2020 (VTD), and its fine-tuning on
ObjectAttention; Ryan et al., "Gaze-LLE: Gaze Target Estimation via Large-Scale Learned Encoders", CVPR 2025. What
differs from their programs, and why, is in ``docs/why.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel

from nbpkg.annotations.gaze.exclusions import apply_exclusions, read_exclusions
from nbpkg.annotations.gaze.gazefollow import FILES, read_gazefollow
from nbpkg.annotations.gaze.lookup import PictureIndex, plain_name
from nbpkg.annotations.gaze.objectattention import read_objectattention
from nbpkg.annotations.gaze.rows import check_parts, combine_gaze
from nbpkg.annotations.gaze.videoattention import read_videoattention
from nbpkg.annotations.gaze.voc_tree import list_picture_folders, read_voc_tree
from nbpkg.errors import AnnotationError, Problem
from nbpkg.settings.attention import CompareSettings
from nbpkg.settings.experiment import Experiment
from nbpkg.settings.gaze import (
    GazeAnnotationSettings,
    GazeEvaluationSettings,
    GazeFoldSettings,
    GazeNetworkSettings,
    GazePointSettings,
    GazeSource,
    GazeTrainSettings,
    PictureSettings,
)
from nbpkg.studies.protocol import StudyCard

if TYPE_CHECKING:
    import torch

CARD = StudyCard(
    title="Gaze target",
    question="Where does this person look: at which place in the frame, or out of it?",
    unit="a frame and the box of one person's head",
    target="a heat map of the place looked at, and whether it lies inside the frame",
    citation="Chong, Wang, Ruiz, Rehg: Detecting Attended Visual Targets in Video, CVPR 2020; Ryan, Bati, Lee, Bolya, "
    "Hoffman, Rehg: Gaze-LLE, CVPR 2025",
    stages={
        "parse": "Annotators drew head boxes and marked where each person looks; all formats become one table of "
        "frames, people and annotators.",
        "prepare": "Folders of pictures are read where they lie or copied at an even size; nothing is renamed, and "
        "nothing is changed in place.",
        "stratify": "Participants or shows are dealt into folds whole, by the official lists or evenly; what leaks "
        "between the official parts is listed.",
        "bake": "What frozen layers see of every training frame and head is computed once, so that an epoch costs only "
        "what learns.",
        "train": "A grid of batch sizes, chunks and rates, every epoch scored on participants left out; then the "
        "training that is evaluated.",
        "evaluate": "The network answers for every frame of the test fold, beside answers that look at nothing, at "
        "the head's place only, and beside a second annotator.",
        "paint": "Nobody paints: the annotators' gaze points are the human map.",
        "compare": "The predicted map, and where the network looks to predict it, beside the annotators' points, "
        "chance, and a network that has learnt nothing.",
    },
)


class GazeTarget:
    """The study; see `nbpkg.studies.protocol.Study` for what each method is for."""

    card = CARD
    kind = "heatmap"
    settings: Mapping[str, type[BaseModel]] = {
        "parse": GazeAnnotationSettings,
        "prepare": PictureSettings,
        "stratify": GazeFoldSettings,
        "bake": GazeNetworkSettings,
        "train": GazeTrainSettings,
        "evaluate": GazeEvaluationSettings,
        "paint": GazePointSettings,
        "compare": CompareSettings,
    }

    def conflicts(self, stages: Mapping[str, BaseModel]) -> list[str]:
        """Return networks that do not suit the footage, and values that nothing provides."""
        found = []
        network, train, parse = stages.get("bake"), stages.get("train"), stages.get("parse")
        if isinstance(parse, GazeAnnotationSettings):
            names = [source.name for source in parse.sources]
            twice = sorted({name for name in names if names.count(name) > 1})
            found += [f"parse.sources: {name!r} stands twice." for name in twice]
        if isinstance(network, GazeNetworkSettings) and isinstance(train, GazeTrainSettings):
            temporal = network.network.endswith("_temporal")
            if temporal != (train.footage == "video"):
                wanted = "video" if temporal else "pictures"
                found.append(f"train.footage is {train.footage!r}, but {network.network} learns from {wanted!r}.")
            if temporal and not network.frozen:
                found.append("bake.frozen is false, but the temporal part is trained on a frozen trunk.")
        if isinstance(train, GazeTrainSettings) and "sweep" not in train.phases:
            lacking = [name for name in ("batch_size", "chunk", "learning_rate") if getattr(train.final, name) is None]
            found += [f"train.final.{name} is null, but train.phases has no sweep to find it." for name in lacking]
        return found

    def why_not(self, stage: str, experiment: Experiment) -> str:
        """Return that nothing is computed once where all of a network learns, or frames are changed in every epoch."""
        settings = experiment.of("bake", GazeNetworkSettings)
        if stage == "bake" and not settings.frozen:
            return "Does not apply: no part of this network is frozen, so there is nothing to compute once."
        if stage == "bake" and not settings.stored:
            return "Does not apply: frames are changed at random in every epoch, so nothing can be computed once."
        return ""

    def sources(self, stage: str, experiment: Experiment) -> list[Path]:
        """Return annotation files for parse, pictures for prepare, weights for bake and train."""
        if stage == "parse":
            return self._annotation_files(experiment)
        if stage == "prepare":
            index = PictureIndex(experiment.data)
            folders = [folder for _, folder in self.media_jobs(experiment)]
            return [folder / name for folder in folders for name in index.names(_relative(folder, experiment))]
        if stage in ("bake", "train"):
            settings = experiment.of("bake", GazeNetworkSettings)
            places = [_locate(name, experiment) for name in (settings.weights, settings.backbone)]
            return [place for place in places if isinstance(place, Path) and place.is_file()]
        return []

    def read_annotations(self, experiment: Experiment) -> tuple[pd.DataFrame, list[Problem]]:
        """Read all data sets into one table ``gaze``, head boxes as drawn."""
        settings = experiment.of("parse", GazeAnnotationSettings)
        index = PictureIndex(experiment.data)
        read = [_read_source(source, index, settings) for source in settings.sources]
        table = combine_gaze(part for part, _ in read)
        problems = [problem for _, found in read for problem in found]
        if settings.exclusions:
            path = experiment.data / settings.exclusions
            table, found = apply_exclusions(table, read_exclusions(path), file=settings.exclusions)
            problems += found
        parts = sorted({part for source in settings.sources for part in _parts(source)})
        return table, problems + check_parts(table, parts)

    def media_jobs(self, experiment: Experiment) -> list[tuple[str, Path]]:
        """Return each folder of pictures under the name that the annotations give it."""
        found: list[tuple[str, str, Path]] = []
        for source in experiment.of("parse", GazeAnnotationSettings).sources:
            folder = experiment.data / source.folder
            base = folder / "images" if source.format in ("videoattention", "objectattention") else folder
            if base.is_dir():
                for place in list_picture_folders(base):
                    parts = Path(place).parts or ("pictures",)
                    found.append((source.name, plain_name(parts), base / place))
        names = [name for _, name, _ in found]
        return [(f"{source}--{name}" if names.count(name) > 1 else name, folder) for source, name, folder in found]

    def sessions(self, experiment: Experiment) -> pd.DataFrame:
        """Return session and group: the first folder of its name (participant or show)."""
        names = [name for name, _ in self.media_jobs(experiment)]
        return pd.DataFrame({"session": names, "group": [name.partition("--")[0] for name in names]})

    def encoder(self, experiment: Experiment) -> torch.nn.Module:
        """Return the network named in the settings, with the weights it begins with."""
        from nbpkg.models.gaze.weights import FROM_SPATIAL, WITHOUT_INOUT, build_gaze_model

        settings = experiment.of("bake", GazeNetworkSettings)
        return build_gaze_model(
            settings.network,
            weights=_locate(settings.weights, experiment),
            backbone_weights=_locate(settings.backbone, experiment),
            seed=experiment.header.seed,
            allow=FROM_SPATIAL if settings.network.endswith("_temporal") else WITHOUT_INOUT,
            compat=settings.single_frame_norm if settings.single_frame_norm == "reference" else "none",
        )

    def _annotation_files(self, experiment: Experiment) -> list[Path]:
        settings = experiment.of("parse", GazeAnnotationSettings)
        files: list[Path] = []
        for source in settings.sources:
            folder = experiment.data / source.folder
            if source.format == "gazefollow":
                files += [folder / name for part, name in FILES.items() if part in source.parts]
            elif source.format == "voc":
                files += sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".xml")
            else:
                places = [folder / "annotations" / part for part in source.parts]
                files += sorted(path for place in places for path in place.rglob("*.txt"))
        if settings.exclusions:
            files.append(experiment.data / settings.exclusions)
        return [path for path in files if path.is_file()]


def _read_source(
    source: GazeSource, index: PictureIndex, settings: GazeAnnotationSettings
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read one data set."""
    folder, name, compat = index.root / source.folder, source.name, settings.compat
    try:
        if source.format == "gazefollow":
            files: dict[str, str] = {part: FILES[part] for part in source.parts}
            return read_gazefollow(folder, pictures=index, files=files, dataset=name, compat=compat)
        if source.format == "voc":
            return read_voc_tree(folder, pictures=index, split=source.split, dataset=name)
        if source.format == "videoattention":
            return read_videoattention(folder, pictures=index, splits=source.parts, dataset=name, compat=compat)
        return read_objectattention(folder, pictures=index, splits=source.parts, dataset=name, compat=compat)
    except AnnotationError as error:
        raise AnnotationError(
            error.what,
            where=f"parse.sources, {source.name}: {error.where}",
            expected=error.expected,
            remedy=error.remedy,
        ) from None


def _parts(source: GazeSource) -> list[str]:
    """Parts of the official list that a source must have."""
    if source.format == "voc":
        return [source.split] if source.split else []
    return list(source.parts)


def _relative(folder: Path, experiment: Experiment) -> str:
    return folder.relative_to(experiment.data).as_posix()


def _locate(name: str, experiment: Experiment) -> Path | str:
    """Path of a file of weights in the data folder; a name as it is."""
    return experiment.data / name if Path(name).suffix else name


STUDY = GazeTarget()
