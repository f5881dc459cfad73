"""Valence of a listener from sound, words and faces: how pleasant a story is, second by second, for who hears it.

Source: the system of team A*AI for the OMG-Empathy challenge 2018 (arXiv 1812.04891): feature-level fusion with local
attention, cross-validation over stories, personal networks, fusion of decisions. What differs from their programs, and
why, is in ``docs/why.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from nbpkg.annotations.valence.corpus import read_valence
from nbpkg.annotations.valence.names import find_session_files
from nbpkg.errors import AnnotationError, Problem, raise_all
from nbpkg.features.plan import ENDINGS
from nbpkg.settings.experiment import Experiment
from nbpkg.settings.valence import (
    FeatureSettings,
    ImportanceSettings,
    SequenceFoldSettings,
    SequenceSettings,
    ValenceAnnotationSettings,
    ValenceEvaluationSettings,
    ValenceTrainSettings,
)
from nbpkg.studies.protocol import StudyCard

CARD = StudyCard(
    title="Valence of a listener",
    question="How pleasant is this story for the person who hears it, second by second?",
    unit="a session: one listener and one story; sound, words and faces, one row of features per second",
    target="the listener's own valence, -1 to 1, marked with a joystick; scored by concordance correlation (CCC)",
    citation="team A*AI in the OMG-Empathy challenge 2018: arXiv 1812.04891; corpus: Barros et al., OMG-Empathy",
    stages={
        "parse": "Listeners said how pleasant each moment was; their files become one table of frames, and "
        "every length is held against every other.",
        "prepare": "Voices, transcripts and faces become one row of features per second; features made elsewhere drop "
        "into the same place.",
        "stratify": "Whole stories, subjects or actors are left out together; what training and test still share is "
        "listed.",
        "bake": "All modalities of a session are laid on the seconds of its annotation; what is missing is masked, "
        "never shifted.",
        "train": "One training for each story left out, its epochs scored again, a network for the test stories, "
        "and one for each subject.",
        "evaluate": "Concordance with the listener, frame by frame, beside answers that hear nothing and beside "
        "another person; then systems are fused.",
        "paint": "Nobody paints: there is no picture to look at.",
        "compare": "Which second of which modality moves the answer, and how long before it.",
    },
)


class ValenceFusion:
    """The study; see `nbpkg.studies.protocol.Study` for what each method is for."""

    card = CARD
    kind = "sequence"
    settings: Mapping[str, type[BaseModel]] = {
        "parse": ValenceAnnotationSettings,
        "prepare": FeatureSettings,
        "stratify": SequenceFoldSettings,
        "bake": SequenceSettings,
        "train": ValenceTrainSettings,
        "evaluate": ValenceEvaluationSettings,
        "compare": ImportanceSettings,
    }

    def conflicts(self, stages: Mapping[str, BaseModel]) -> list[str]:
        """Return names that nothing provides, and phases that lack what they begin with."""
        found = []
        parse, prepare, folds, train = (stages.get(name) for name in ("parse", "prepare", "stratify", "train"))
        if isinstance(parse, ValenceAnnotationSettings):
            named = [("parse.hidden", parse.hidden)]
            if isinstance(folds, SequenceFoldSettings):
                named.append(("stratify.test_parts", folds.test_parts))
            for key, names in named:
                lacking = [name for name in names if name not in parse.parts]
                found += [f"{key} names {name!r}, which is no part in parse.parts." for name in lacking]
        if isinstance(train, ValenceTrainSettings):
            found += _check_training(train, prepare.modalities if isinstance(prepare, FeatureSettings) else None)
        return found

    def why_not(self, stage: str, experiment: Experiment) -> str:
        """Without a final network there is none whose answers 08 could explain."""
        if stage != "compare" or "final" in experiment.of("train", ValenceTrainSettings).phases:
            return ""
        return "Does not apply: train.phases has no final, whose network is the one that is explained."

    def sources(self, stage: str, experiment: Experiment) -> list[Path]:
        """Return annotation files, files of each modality, or a published checkpoint."""
        parse = experiment.of("parse", ValenceAnnotationSettings)
        if stage == "parse":
            folders = [name for name in (parse.annotations, parse.third_party) if name]
            named = [name for name in (parse.actors, parse.frame_counts) if name]
            found = [path for name in folders for path in _find(experiment, name, (".csv",)).values()]
            media = [path for _, path in self.media_jobs(experiment)]  # 01 holds their lengths against the annotation
            return _existing([*found, *media, *(experiment.data / name for name in named)])
        if stage == "prepare":
            files = [path for _, path in self.media_jobs(experiment)]
            for one in experiment.of("prepare", FeatureSettings).modalities.values():
                files += [experiment.data / name for name in (one.vectors, one.detector, one.weights)]
                if one.boxes:
                    files += [
                        path for part in parse.parts.values() for path in _below(experiment.data / part / one.boxes)
                    ]
            return _existing(files)
        if stage == "train":
            train = experiment.of("train", ValenceTrainSettings)
            return _existing(experiment.data / name for name in (train.network.weights, train.personal.initial))
        if stage == "evaluate":
            return _existing([experiment.data / experiment.of("evaluate", ValenceEvaluationSettings).fusion.saved])
        return []

    def read_annotations(self, experiment: Experiment) -> tuple[pd.DataFrame, list[Problem]]:
        """Read the files of the listeners, and of others if there are any, into one table ``valence``."""
        settings = experiment.of("parse", ValenceAnnotationSettings)
        return read_valence(
            experiment.data,
            parts=settings.parts,
            annotations=settings.annotations,
            third_party=settings.third_party,
            fps=settings.fps,
            step_seconds=settings.step_seconds,
            hidden=settings.hidden,
        )

    def media_jobs(self, experiment: Experiment) -> list[tuple[str, Path]]:
        """Return the files of each session, whatever the modality that they are for."""
        modalities = experiment.of("prepare", FeatureSettings).modalities.values()
        wanted = sorted({(one.folder, ENDINGS[one.kind]) for one in modalities})
        found = {item for folder, endings in wanted for item in _find(experiment, folder, endings).items()}
        return sorted(found)

    def sessions(self, experiment: Experiment) -> pd.DataFrame:
        """Return session and group: the subject."""
        settings = experiment.of("parse", ValenceAnnotationSettings)
        names = list(_find(experiment, settings.annotations, (".csv",)))
        return pd.DataFrame({"session": names, "group": [name.split("_")[1] for name in names]})


def _find(experiment: Experiment, folder: str, endings: tuple[str, ...]) -> dict[str, Path]:
    """Return, by session, the files of that folder in each part."""
    parts = experiment.of("parse", ValenceAnnotationSettings).parts.values()
    places = [(f"{part}/{folder}", experiment.data / part / folder) for part in parts]
    loose = ".srt" in endings  # transcripts of the corpus: transcribed_subject_1_story_2.srt
    looked = [
        find_session_files(place, endings=endings, show=name, loose=loose) for name, place in places if place.is_dir()
    ]
    problems = [problem for _, found in looked for problem in found if problem.severity == "error"]
    found: dict[str, Path] = {}
    for session, path in (item for files, _ in looked for item in files.items()):
        first = found.setdefault(session, path)
        if first is not path:
            remedy = "Move the one that does not belong elsewhere."
            both = " and ".join(one.relative_to(experiment.data).as_posix() for one in (first, path))
            problems.append(Problem(f"{session} is in two parts: {both}.", remedy=remedy))
    raise_all(problems, AnnotationError, summary=f"the files in {folder} cannot be told apart.")
    return found


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _existing(paths: Iterable[Path]) -> list[Path]:
    return sorted({path for path in paths if path.is_file()})


def _check_training(train: ValenceTrainSettings, modalities: Mapping[str, BaseModel] | None) -> list[str]:
    """Return what the phases of a training lack."""
    found = []
    for key, names in (("modalities", train.modalities), ("reduce", list(train.reduce))):
        lacking = [name for name in names if modalities is not None and name not in modalities]
        found += [f"train.{key} names {name!r}, which is no modality in prepare.modalities." for name in lacking]
    phases, single = set(train.phases), train.network.name in ("text_lstm", "visual_lstm")
    used = train.modalities or list(modalities or {})
    if single and len(used) != 1:
        found.append(f"train.network.name is {train.network.name!r}, which takes one modality; there are {len(used)}.")
    if "rescore" in phases and "crossval" not in phases:
        found.append("train.phases has rescore, but no crossval whose epochs it could score.")
    if (
        "personal" in phases
        and train.personal.initial in ("crossval", "final")
        and train.personal.initial not in phases
    ):
        found.append(f"train.personal.initial is {train.personal.initial!r}, which train.phases does not have.")
    if "final" in phases and train.final.epochs is None and "crossval" not in phases:
        found.append("train.final.epochs is null, but train.phases has no crossval to find it.")
    if train.crossval.epoch is not None and train.crossval.select != "epoch":
        found.append("train.crossval.epoch is given, but train.crossval.select is not 'epoch'.")
    return found + (_check_epochs(train) if {"rescore", "crossval"} <= phases else [])


def _check_epochs(train: ValenceTrainSettings) -> list[str]:
    """Return what keeps the epochs that are scored again from having been saved: hours later it would be too late."""
    own, made, every = train.rescore, train.crossval.epochs, train.save_every
    if own.epoch is None and own.first > own.last:
        return ["train.rescore.first is greater than train.rescore.last."]
    wanted = [own.epoch] if own.epoch is not None else range(own.first, own.last + 1, own.step)
    lacking = [epoch for epoch in wanted if epoch > made or (epoch % every and epoch != made)]
    if not lacking:
        return []
    key = "epoch" if own.epoch is not None else "first, last and step"
    return [
        f"train.rescore.{key} ask for epoch {lacking[0]}, but crossval makes {made} epochs (train.crossval.epochs) and "
        f"saves every {every} (train.save_every)."
    ]


STUDY = ValenceFusion()
