"""Joint engagement of several people: who responds to whom, and what happened before.

Sources: recognition of joint engagement in triads of parent, child and robot (AAMAS'23, arXiv 2212.14128; clip and
skeleton classifiers), Multipar-T, and the cross-person memory transformer of HIINT (ICMI'23, doi
10.1145/3577190.3614122), whose code was never published. What differs from their programs, and why, is in
``docs/why.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from pydantic import BaseModel

from nbpkg.annotations.people.clips import list_sources, read_clips
from nbpkg.errors import Problem
from nbpkg.models.people.families import family_of
from nbpkg.settings.experiment import Experiment
from nbpkg.settings.people import (
    PeopleAnnotationSettings,
    PeopleEvaluationSettings,
    PeopleExplainSettings,
    PeopleFoldSettings,
    PeopleTrainSettings,
    PersonFeatureSettings,
    PersonSettings,
)
from nbpkg.studies.protocol import StudyCard

CARD = StudyCard(
    title="Joint engagement of several people",
    question="How much are these people engaged with each other, low, medium or high?",
    unit="a clip of a few seconds that shows several people; clips of a recording follow each other",
    target="class of the mean rating of annotators; scored by macro F1, beside the commonest class",
    citation="AAMAS'23 (arXiv 2212.14128) and HIINT, ICMI'23 (doi 10.1145/3577190.3614122)",
    stages={
        "parse": "Lists, tables or folders of clips, and what annotators said of them, become one table.",
        "prepare": "Recordings become frames; people are followed through them, each under one number and role.",
        "stratify": "Families never part, and classes are spread as evenly as families allow.",
        "bake": "What is perceived of each person becomes tokens, window by window.",
        "train": "A network for each fold of families left out, with parts taken out in turn, and one for the test.",
        "evaluate": "Classes answered for families never seen, beside the commonest class and a further annotator.",
        "paint": "Nobody paints: maps are held against faces, bodies and motion instead.",
        "compare": "Which person, which modality and how long before; for networks of clips, where they look.",
    },
)


class JointEngagement:
    """The study; see `nbpkg.studies.protocol.Study` for what each method is for."""

    card = CARD
    kind = "people"
    settings: Mapping[str, type[BaseModel]] = {
        "parse": PeopleAnnotationSettings,
        "prepare": PersonSettings,
        "stratify": PeopleFoldSettings,
        "bake": PersonFeatureSettings,
        "train": PeopleTrainSettings,
        "evaluate": PeopleEvaluationSettings,
        "compare": PeopleExplainSettings,
    }

    def conflicts(self, stages: Mapping[str, BaseModel]) -> list[str]:
        """Return parts that a network does not have, and top-k accuracies that say nothing."""
        found = []
        parse, bake, train, evaluate = (stages.get(name) for name in ("parse", "bake", "train", "evaluate"))
        if isinstance(parse, PeopleAnnotationSettings) and isinstance(evaluate, PeopleEvaluationSettings):
            found += [
                f"evaluate.topk has {k}, but with {len(parse.classes)} classes that accuracy is always 1."
                for k in evaluate.topk
                if not 1 <= k < len(parse.classes)
            ]
        if isinstance(train, PeopleTrainSettings):
            found += _check_variants(train, bake if isinstance(bake, PersonFeatureSettings) else None)
        return found

    def why_not(self, stage: str, experiment: Experiment) -> str:
        """Without a final network there is none to explain; networks of skeletons have no maps of pictures."""
        if stage != "compare":
            return ""
        train = experiment.of("train", PeopleTrainSettings)
        if "final" not in train.phases:
            return "Does not apply: train.phases has no final, whose network is the one that is explained."
        family = family_of(train.network.name)
        if family in ("conversation", "clips"):
            return ""
        return f"Does not apply: {train.network.name} sees {family}, which are neither pictures nor windows of people."

    def sources(self, stage: str, experiment: Experiment) -> list[Path]:
        """Return lists and ratings, boxes and poses, tables of features, or published weights."""
        data, parse = experiment.data, experiment.of("parse", PeopleAnnotationSettings)
        named = [parse.table if parse.form == "table" else "", *parse.lists.values(), parse.ratings]
        if stage == "parse":
            return _existing(data / name for name in named if name)
        if stage == "prepare":
            own = experiment.of("prepare", PersonSettings)
            boxes = _below(data / own.boxes) if own.boxes else []
            videos = [path for _, path in self.media_jobs(experiment)]
            return _existing([*videos, *boxes, *(data / name for name in (own.poses, own.roles) if name)])
        if stage == "bake":
            modalities = experiment.of("bake", PersonFeatureSettings).modalities.values()
            tables = [path for one in modalities if one.folder for path in _below(data / one.folder)]
            return _existing([*tables, *(data / one.weights for one in modalities)])
        if stage == "train":
            return _existing([data / experiment.of("train", PeopleTrainSettings).network.weights])
        return _existing([data / parse.ratings]) if stage == "evaluate" and parse.ratings else []

    def read_annotations(self, experiment: Experiment) -> tuple[pd.DataFrame, list[Problem]]:
        """Read lists, tables or folders, and ratings, into the table ``clips``."""
        read = read_clips(experiment.data, experiment.of("parse", PeopleAnnotationSettings))
        return read.clips, read.problems

    def media_jobs(self, experiment: Experiment) -> list[tuple[str, Path]]:
        """Return each video or folder of pictures in which clips lie."""
        return sorted(list_sources(experiment.data, experiment.of("parse", PeopleAnnotationSettings)).items())

    def sessions(self, experiment: Experiment) -> pd.DataFrame:
        """Return session and group: the family."""
        clips, _ = self.read_annotations(experiment)
        return clips[["session", "family"]].drop_duplicates("session").rename(columns={"family": "group"})


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def _existing(paths: Iterable[Path]) -> list[Path]:
    return sorted({path for path in paths if path.is_file()})


def _check_variants(train: PeopleTrainSettings, bake: PersonFeatureSettings | None) -> list[str]:
    """Return variants that the network does not have."""
    known = {"full"}
    if family_of(train.network.name) == "conversation":
        modalities = list(bake.modalities) if bake else []
        known |= {"no_memory", "no_cross_modal", "no_cross_person", *(f"without_{name}" for name in modalities)}
        if bake is None:
            return []
    asked = {"train.crossval.variants": train.crossval.variants, "train.final.variant": [train.final.variant]}
    return [
        f"{key} names {name!r}, which {train.network.name} does not have: {', '.join(sorted(known))}."
        for key, names in asked.items()
        for name in names
        if name not in known
    ]


STUDY = JointEngagement()
