"""Infant engagement during guided play: is the child engaged in this clip, according to this rater.

Source: Fraile et al., "End-to-End Learning and Analysis of Infant Engagement During Guided Play: Prediction and
Explainability", ICMI 2022. What differs from its program, and why, is in ``docs/why.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import BaseModel

from nbpkg import tables
from nbpkg.annotations.naming import list_files
from nbpkg.annotations.read import read_annotations
from nbpkg.annotations.sampling import common_window
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.annotations.spans import overlap_ms
from nbpkg.errors import MediaError, Problem
from nbpkg.settings.attention import CompareSettings, PaintSettings
from nbpkg.settings.base import FoldSettings, VideoSettings
from nbpkg.settings.experiment import Experiment
from nbpkg.settings.learning import EncoderSettings, EvaluationSettings, TrainSettings
from nbpkg.studies.protocol import StudyCard
from nbpkg.video.clips import grid

if TYPE_CHECKING:
    import torch

CARD = StudyCard(
    title="Infant engagement",
    question="Is an infant attending to, and taking part in, a guided game, and can a network see it?",
    unit="a five-second clip of one task, as judged by one rater",
    target="engaged or not, for each task (game) and variable (attending, participating)",
    citation="Fraile, Fawcett, Lindblad, Sladoje, Castellano: End-to-End Learning and Analysis of Infant Engagement "
    "During Guided Play, ICMI 2022, doi 10.1145/3536221.3556629",
    stages={
        "parse": "Raters marked in ELAN when the child attends and participates; unmarked time is not engaged.",
        "prepare": "The session videos become small silent copies at every eighth frame, and stores for training.",
        "stratify": "Sessions are dealt into folds so that each fold holds as much engagement as the others; the last "
        "fold is the test fold and no child is in two folds.",
        "bake": "A frozen video network turns clips of the training sessions into features once: random ones, "
        "changed at random, to learn from, and those of the grid to choose by.",
        "train": "For each task and variable a linear head on the features, then the whole network from there; "
        "settings and epochs are chosen on training folds.",
        "evaluate": "Each network answers for the clips of the test fold, beside chance, raters' agreement, and each "
        "rater left out in turn.",
        "paint": "Painters paint over short clips of test sessions where they looked to tell whether the child is "
        "engaged; they know neither the raters' label nor the network's answer.",
        "compare": "Maps of where each network looks, beside those of the painters, of chance, and of each painter "
        "held against the others.",
    },
)


class InfantEngagement:
    """The study; see `nbpkg.studies.protocol.Study` for what each method is for."""

    card = CARD
    kind = "clips"
    settings: Mapping[str, type[BaseModel]] = {
        "parse": AnnotationScheme,
        "prepare": VideoSettings,
        "stratify": FoldSettings,
        "bake": EncoderSettings,
        "train": TrainSettings,
        "evaluate": EvaluationSettings,
        "paint": PaintSettings,
        "compare": CompareSettings,
    }

    def conflicts(self, stages: Mapping[str, BaseModel]) -> list[str]:
        """Return sessions named in stratify that parse does not know, and sessions in two groups."""
        scheme, folds = stages.get("parse"), stages.get("stratify")
        paint, encoder = stages.get("paint"), stages.get("bake")
        found = []
        if isinstance(paint, PaintSettings) and isinstance(encoder, EncoderSettings) and paint.frames != encoder.frames:
            found.append(f"paint.frames is {paint.frames}, but networks see bake.frames = {encoder.frames} frames.")
        if (
            isinstance(paint, PaintSettings)
            and isinstance(folds, FoldSettings)
            and paint.clip_seconds != folds.clip_seconds
        ):
            found.append(f"paint.clip_seconds is {paint.clip_seconds}, but stratify.clip_seconds {folds.clip_seconds}.")
        if not isinstance(scheme, AnnotationScheme) or not isinstance(folds, FoldSettings):
            return found
        known = set(scheme.sessions)
        for key, named in (("balance", folds.balance), ("groups", folds.groups)):
            for name, sessions in named.items():
                strange = [session for session in sessions if session not in known]
                if strange:
                    found.append(
                        f"stratify.{key}.{name} names sessions that parse.sessions lacks: {', '.join(strange)}."
                    )
        members = [session for sessions in folds.groups.values() for session in sessions]
        twice = sorted({session for session in members if members.count(session) > 1})
        if twice:
            found.append(f"stratify.groups puts sessions into two groups: {', '.join(twice)}.")
        return found

    def why_not(self, stage: str, experiment: Experiment) -> str:  # noqa: ARG002
        """Return nothing: every stage applies."""
        return ""

    def sources(self, stage: str, experiment: Experiment) -> list[Path]:
        """Return annotation files for parse and evaluate, videos for prepare, strokes for paint, weights for bake."""
        if stage == "parse":
            scheme = experiment.of("parse", AnnotationScheme)
            return list_files(experiment.data / scheme.folder, scheme)[0]
        if stage == "prepare":
            return [path for _, path in self.media_jobs(experiment)]
        if stage == "evaluate" and experiment.of("evaluate", EvaluationSettings).write_eaf:
            return self.sources("parse", experiment)
        if stage == "paint":
            return sorted((experiment.data / experiment.of("paint", PaintSettings).folder).glob("*/*.jsonl"))
        weights = _weights(experiment) if stage == "bake" else None
        return [weights] if weights is not None and weights.is_file() else []

    def read_annotations(self, experiment: Experiment) -> tuple[pd.DataFrame, list[Problem]]:
        """Read all annotation files, and hold their times against the videos' lengths where videos are there."""
        from nbpkg.video.probe import probe

        scheme = experiment.of("parse", AnnotationScheme)
        lengths = {
            session: round(probe(path, header_only=True).duration * 1000)
            for session, path in self.media_jobs(experiment)
        }
        annotations, problems = read_annotations(experiment.data / scheme.folder, scheme, media_ms=lengths or None)
        return annotations, problems

    def media_jobs(self, experiment: Experiment) -> list[tuple[str, Path]]:
        """Return the video of each session that has one."""
        settings = experiment.of("prepare", VideoSettings)
        folder = experiment.data / settings.folder
        present = sorted(folder.iterdir()) if folder.is_dir() else []
        jobs = []
        for session in experiment.of("parse", AnnotationScheme).sessions:
            stem = settings.name_pattern.replace("{session}", session)
            found = [path for path in present if path.stem == stem and path.is_file()]
            if len(found) > 1:
                raise MediaError(
                    f"Session {session} has {len(found)} videos: {', '.join(path.name for path in found)}.",
                    where=str(folder),
                    expected="One video for each session.",
                    remedy="Move the others out of this folder.",
                )
            jobs += [(session, path) for path in found]
        return jobs

    def sessions(self, experiment: Experiment) -> pd.DataFrame:
        """Return session, group (child) and one flag per property to balance."""
        folds = experiment.of("stratify", FoldSettings)
        child = {session: name for name, sessions in folds.groups.items() for session in sessions}
        rows = [
            {
                "session": session,
                "group": child.get(session, session),
                **{name: int(session in members) for name, members in folds.balance.items()},
            }
            for session in experiment.of("parse", AnnotationScheme).sessions
        ]
        return pd.DataFrame(rows)

    def samples(
        self, spans: pd.DataFrame, sessions: pd.DataFrame, experiment: Experiment
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Cut each task into equal clips on a fixed grid, one sample per clip, rater and variable.

        The grid lies in the time that all raters of the session share, so that all of them judge the same clips. The
        label is 1 when the rater's marks cover strictly more than half of the clip.
        """
        scheme, folds = experiment.of("parse", AnnotationScheme), experiment.of("stratify", FoldSettings)
        clip_ms, stride_ms = round(folds.clip_seconds * 1000), round(folds.stride_seconds * 1000)
        keys = ["session", "rater", "task", "variable"]
        rated = dict(list(spans.groupby(keys, sort=False)))
        group = dict(zip(sessions["session"], sessions["group"], strict=True))
        tasks = spans.groupby(keys[:3], sort=False).agg(start_ms=("start_ms", "min"), end_ms=("end_ms", "max"))
        shared = common_window(tasks.reset_index())
        windows = {
            (session, task): grid(int(start), int(end), clip_ms=clip_ms, stride_ms=stride_ms)
            for session, task, start, end, _ in shared.itertuples(index=False, name=None)
        }
        rows = []
        for (session, rater, task, variable), own in rated.items():
            marked = set(own["value"]) - {scheme.absent}
            clips = windows[session, task]
            for (start, end), covered in zip(clips, overlap_ms(own, clips, values=marked), strict=True):
                rows.append(
                    {
                        "sample_id": f"{session}_{start}_{rater}_{variable}",
                        "session": session,
                        "group": group[session],
                        "rater": rater,
                        "task": task,
                        "variable": variable,
                        "clip_id": f"{session}_{start}",
                        "start_ms": int(start),
                        "end_ms": int(end),
                        "label": int(2 * covered > end - start),
                    }
                )
        short = [
            {"stage": "stratify", "key": f"{session} {task}", "rows": 1, "reason": "shorter than a clip for its raters"}
            for (session, task), clips in windows.items()
            if len(clips) == 0
        ]
        return tables.from_rows(rows, "samples"), tables.from_rows(short, "dropped")

    def draws(
        self, tasks: pd.DataFrame, spans: pd.DataFrame, experiment: Experiment, *, chunks: int, epoch: int, seed: int
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Draw one clip from each chunk of each task, with a rater drawn at random, and label it for every variable."""
        from nbpkg.datasets.draws import draw_clips, label_draws

        scheme, folds = experiment.of("parse", AnnotationScheme), experiment.of("stratify", FoldSettings)
        clip_ms = round(folds.clip_seconds * 1000)
        clips, dropped = draw_clips(tasks, clip_ms=clip_ms, chunks=chunks, seed=seed, epoch=epoch)
        labelled = [
            clips.assign(variable=name, label=label_draws(clips, spans, variable=name, absent=scheme.absent))
            for name in sorted(set(spans["variable"]))
        ]
        return pd.concat(labelled, ignore_index=True).rename(columns={"epoch": "repeat"}), dropped

    def encoder(self, experiment: Experiment) -> torch.nn.Module:
        """Return the video network named in the settings, with its weights."""
        from nbpkg.models.encoders import build_encoder

        settings = experiment.of("bake", EncoderSettings)
        return build_encoder(
            settings.encoder,
            _weights(experiment) or settings.weights,
            seed=experiment.header.seed,
            size=settings.size,
            frames=settings.frames,
        )


def _weights(experiment: Experiment) -> Path | None:
    """Path of the weights file; None for random weights and for a name that torchvision knows."""
    name = experiment.of("bake", EncoderSettings).weights
    return experiment.data / name if Path(name).suffix else None


STUDY = InfantEngagement()
