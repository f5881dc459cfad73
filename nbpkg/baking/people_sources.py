"""What recordings of several people are made of: frames, skeletons and features made elsewhere, by session."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg.errors import Problem, TableError, raise_all
from nbpkg.features.people.crops import Describe, build_describer, crop_tokens
from nbpkg.features.people.tokens import (
    JOINTS,
    Cast,
    Window,
    WindowTokens,
    no_tokens,
    pose_tokens,
    read_rows,
    row_tokens,
)
from nbpkg.runs.files import sha256
from nbpkg.settings.people import PersonFeatureSettings, PersonModality
from nbpkg.video.stores import Store


@dataclass(frozen=True)
class Sources:
    """What recordings are made of.

    Parameters
    ----------
    media
        Row of the table ``media`` of each session.
    people
        Table ``people``.
    stores, poses
        Open frame store and skeletons of each session.
    settings, who, data, places, workers, device, seed, cache
        As `nbpkg.baking.people.bake_people` gets them.
    widths
        Features of each modality but crops.
    """

    media: Mapping[str, Mapping[Any, Any]]
    people: pd.DataFrame
    stores: Mapping[str, Store]
    poses: Mapping[str, NDArray[np.float32]]
    settings: PersonFeatureSettings
    who: tuple[str, ...]
    data: Path
    places: Mapping[str, str]
    workers: int
    device: torch.device | None
    seed: int
    cache: Path | None
    widths: Mapping[str, int] = field(default_factory=dict)
    _describers: dict[str, Describe] = field(default_factory=dict)

    def describer(self, name: str) -> Describe:
        """Return what describes crops; networks are only built when a recording needs them."""
        if name not in self._describers:
            self._describers[name] = build_describer(
                self.settings.modalities[name], data=self.data, device=self.device, seed=self.seed, cache=self.cache
            )
        return self._describers[name]

    def table(self, modality: PersonModality, session: str) -> Path:
        """Return where features of a session that were made elsewhere are."""
        return self.data / modality.folder / f"{self.places.get(session, session)}.csv"


def find_widths(sources: Sources, sessions: Sequence[str]) -> dict[str, int]:
    """Return the features of each modality but crops.

    Raises
    ------
    TableError
        When files of features differ or cannot be read, or there is nothing at all of a modality.
    """
    problems = []
    widths = {}
    for name, modality in sources.settings.modalities.items():
        if modality.kind == "pose":
            widths[name] = 3 * JOINTS
            if not any(session in sources.poses for session in sessions):
                problems.append(Problem(f"There are no skeletons for {name!r}.", remedy="Name them in 'poses'."))
        elif modality.kind == "table":
            found: dict[tuple[str, ...], str] = {}
            for session in sessions:
                rows, odd = read_rows(sources.table(modality, session))
                problems += [problem for problem in odd if problem.severity == "error"]
                if rows is not None:
                    found.setdefault(rows.names, session)
            if not found:
                text = f"There is no file of features for {name!r}."
                problems.append(Problem(text, expected=f"One per recording in {modality.folder!r}."))
            elif len(found) > 1:
                text = f"Files of {name!r} have different columns, e.g. of {' and '.join(list(found.values())[:2])}."
                problems.append(Problem(text, remedy="Make them all alike."))
            widths[name] = len(next(iter(found), ()))
    raise_all(problems, TableError, summary="people cannot be described.")
    return widths


def hash_inputs(cast: Cast, sources: Sources) -> dict[str, Any]:
    """Return hashes of all that the tokens of one recording are made of, beside its clips."""
    hashes: dict[str, Any] = {}
    for session, boxes in cast.boxes.items():
        place = hashlib.sha256(boxes.tobytes() + cast.persons[session].tobytes())
        hashes[f"boxes of {session}"] = place.hexdigest()
    for name, modality in sources.settings.modalities.items():
        hashes[name] = modality.model_dump()
        weights = sources.data / modality.weights
        if modality.kind == "crops" and weights.is_file():
            hashes[f"weights of {name}"] = sha256(weights)
        for session in cast.boxes:
            if modality.kind == "crops":
                hashes[f"{name} of {session}"] = str(sources.media[session]["sha256"])
            elif modality.kind == "pose" and session in sources.poses:
                hashes[f"{name} of {session}"] = hashlib.sha256(sources.poses[session].tobytes()).hexdigest()
            elif modality.kind == "table" and sources.table(modality, session).is_file():
                hashes[f"{name} of {session}"] = sha256(sources.table(modality, session))
    return hashes


def describe_windows(
    name: str, windows: Sequence[Window], cast: Cast, sources: Sources
) -> tuple[list[WindowTokens], list[str]]:
    """Return the tokens of one modality in all windows of a recording, and what is odd."""
    modality = sources.settings.modalities[name]
    if modality.kind == "crops":
        describe = sources.describer(name)
        return crop_tokens(
            windows, cast, sources.stores, describe=describe, rate=modality.rate, threads=sources.workers
        ), []
    notes: list[str] = []
    found: dict[str, Any] = {}
    for session in cast.boxes:
        if modality.kind == "pose":
            found[session] = _order_poses(sources.poses.get(session), cast, session)
            notes += [] if session in sources.poses else [f"{session}: there are no skeletons."]
        else:
            rows, problems = read_rows(sources.table(modality, session))
            found[session] = rows
            notes += [f"{session}: {problem.what}" for problem in problems]
            strangers = sorted(set(rows.roles) - set(cast.roles)) if rows else []
            notes += [f"{session}: nobody is {role!r}." for role in strangers]
    tokens = []
    for one in windows:
        given = found[one.session]
        if given is None:
            tokens.append(no_tokens(one, len(cast.roles), sources.widths[name], rate=modality.rate))
        elif modality.kind == "pose":
            tokens.append(pose_tokens(one, given, cast.boxes[one.session], rate=modality.rate))
        else:
            tokens.append(row_tokens(one, given, cast.roles, rate=modality.rate))
    return tokens, notes


def _order_poses(poses: NDArray[np.float32] | None, cast: Cast, session: str) -> NDArray[np.float32] | None:
    """Return skeletons in the order of the cast's roles; nothing for who has none."""
    if poses is None:
        return None
    frames = cast.boxes[session].shape[1]
    ordered = np.zeros((len(cast.roles), frames, *poses.shape[2:]), np.float32)
    for place, person in enumerate(cast.persons[session]):
        if 0 <= person < len(poses):
            ordered[place] = poses[person, :frames]
    return ordered
