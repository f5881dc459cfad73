"""What training over people may see: clips with their classes, tokens, frames, skeletons, and who is where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.baking.people import PeopleRecordings, PersonRecording
from nbpkg.errors import FoldError, SettingsError
from nbpkg.features.people.poses import PoseFolder
from nbpkg.features.people.tokens import window_frames
from nbpkg.models.people.families import Family
from nbpkg.video.stores import Store, open_stores


class FrameSpan(NamedTuple):
    """Where a clip lies in its frame store: number of its first frame, and how many it has."""

    first: int
    frames: int


@dataclass(frozen=True)
class PeopleFacts:
    """What a network over people has to know of the material before it can be built.

    Parameters
    ----------
    classes
        Their names, in order of their numbers.
    widths
        Features of a token of each modality; empty for networks of clips and skeletons.
    places
        Places of people, one for each role.
    roles
        Who has which place.
    """

    classes: tuple[str, ...]
    widths: Mapping[str, int] = field(default_factory=dict)
    places: int = 1
    roles: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        whole = {"classes": list(self.classes), "widths": dict(sorted(self.widths.items()))}
        return {**whole, "places": self.places, "roles": list(self.roles)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> PeopleFacts:
        """Read what `plain` gives."""
        return cls(tuple(plain["classes"]), dict(plain["widths"]), int(plain["places"]), tuple(plain["roles"]))


@dataclass(frozen=True)
class PeopleMaterial:
    """All that is known of some clips.

    Parameters
    ----------
    clips
        Table ``clips``.
    folds
        Table ``folds`` of their sessions; ``group`` is the family.
    classes
        Names of the classes, in order of their numbers.
    recordings
        Baked recordings by name, for networks over tokens.
    stores
        Open frame store of each session, for networks of clips.
    poses
        Skeletons of each session ``[P, F, 17, 3]``, x and y as shares of the picture and the score, for networks over
        skeletons; F as in the frame store.
    people
        Table ``people``; None where nobody was followed.
    media
        Table ``media``, which says how frames of the source become frames of the store; None where they are the same.
    system
        Name of this way of answering: the experiment's.
    data
        Data folder, in which files of weights are named; None when none is.

    Raises
    ------
    FoldError
        When a clip's session has no fold, or a family is in two.
    """

    clips: pd.DataFrame
    folds: pd.DataFrame
    classes: tuple[str, ...]
    recordings: Mapping[str, PersonRecording] = field(default_factory=dict)
    stores: Mapping[str, Store] = field(default_factory=dict)
    poses: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    people: pd.DataFrame | None = None
    media: pd.DataFrame | None = None
    system: str = "people"
    data: Path | None = None

    def __post_init__(self) -> None:
        """Refuse clips that were not dealt, and families that part."""
        lost = sorted(set(self.clips["session"]) - set(self.folds["session"]))
        families = self.folds.groupby("group")["fold"].nunique()
        parted = [str(name) for name in families[families > 1].index]
        if lost or parted:
            text = f"Sessions have no fold: {', '.join(lost[:5])}." if lost else ""
            raise FoldError(
                text or f"Families are in several folds: {', '.join(parted[:5])}.",
                expected="Each session in a fold, all sessions of a family in the same one.",
                remedy="Run notebooks/03_stratify.ipynb again.",
            )

    def of_folds(self, *roles: Literal["train", "test"]) -> PeopleMaterial:
        """Return what belongs to sessions with these roles; tokens, frames and skeletons are only read when used."""
        folds = self.folds[self.folds["role"].isin(roles)].reset_index(drop=True)
        clips = self.clips[self.clips["session"].isin(folds["session"])].reset_index(drop=True)
        people = self.people
        if people is not None:
            people = people[people["session"].isin(folds["session"])].reset_index(drop=True)
        return replace(self, clips=clips, folds=folds, people=people)

    def list_items(self, sessions: Sequence[str] | None = None) -> list[str]:
        """Return the names of the clips of some sessions, or of all, in the order of the table."""
        clips = self.clips if sessions is None else self.clips[self.clips["session"].isin(list(sessions))]
        return [str(name) for name in clips["sample_id"]]

    def take_labels(self, items: Sequence[str]) -> NDArray[np.int64]:
        """Return the classes of some clips."""
        return np.array([self.labels[name] for name in items], dtype=np.int64)

    @cached_property
    def labels(self) -> dict[str, int]:
        """Class of each clip."""
        return dict(zip(map(str, self.clips["sample_id"]), self.clips["label"].astype(int).tolist(), strict=True))

    def describe(self, family: Family) -> PeopleFacts:
        """Say what a network of some family has to know.

        Raises
        ------
        SettingsError
            When the material lacks what such a network looks at.
        """
        if family == "clips":
            _need(self.stores, "frames of clips", "networks of clips", "Run notebooks/02_prepare.ipynb.")
            return PeopleFacts(self.classes)
        if family == "skeletons":
            _need(self.poses, "skeletons", "networks over skeletons", "Name a pickle of skeletons in person.poses.")
            own = [self.poses[name] for name in sorted(set(self.clips["session"])) if name in self.poses]
            roles = list_roles(self.people)
            return PeopleFacts(self.classes, {}, max(len(roles), *(len(pose) for pose in own), 1), tuple(roles))
        _need(self.recordings, "baked recordings", "networks over tokens", "Run notebooks/04_bake.ipynb.")
        return self._describe_tokens()

    def _describe_tokens(self) -> PeopleFacts:
        widths: dict[str, int] = {}
        roles: dict[int, str] = {}
        for name in sorted(set(self.clips["recording"])):
            one = self.recordings[name]
            for modality, tokens in one.conversations.tokens.items():
                if widths.setdefault(modality, tokens.shape[-1]) != tokens.shape[-1]:
                    raise SettingsError(
                        f"Tokens of {modality} have {tokens.shape[-1]} features, those of others {widths[modality]}.",
                        where=f"recording {name}",
                        remedy="Run notebooks/04_bake.ipynb again, for all recordings.",
                    )
            numbers = one.conversations.roles[0].tolist()
            roles |= {int(number): role for number, role in zip(numbers, one.roles, strict=True)}
        places = max(roles, default=0) + 1
        return PeopleFacts(self.classes, widths, places, tuple(roles.get(number, "") for number in range(places)))


def open_material(
    clips: pd.DataFrame,
    folds: pd.DataFrame,
    *,
    media: pd.DataFrame,
    people: pd.DataFrame,
    prepared: Path,
    baked: Path,
    classes: Sequence[str],
    system: str,
    data: Path,
) -> PeopleMaterial:
    """Put together what earlier stages made of the sessions of some folds; frames and tokens are read when used.

    Parameters
    ----------
    clips, folds, media, people
        Tables of stages 01, 03 and 02; clips of other sessions than those of the folds are left out.
    prepared, baked
        Run folders of stages 02 and 04.
    classes, system, data
        As in `PeopleMaterial`.

    Raises
    ------
    StageError
        When a file of these stages is missing or was changed.
    """
    kept = clips[clips["session"].isin(folds["session"])].reset_index(drop=True)
    return PeopleMaterial(
        clips=kept,
        folds=folds,
        classes=tuple(classes),
        recordings=PeopleRecordings(baked),
        stores=open_stores(prepared, media),
        poses=PoseFolder(prepared),
        people=people,
        media=media,
        system=system,
        data=data,
    )


def locate_clips(clips: pd.DataFrame, media: pd.DataFrame | None, lengths: Mapping[str, int]) -> dict[str, FrameSpan]:
    """Find clips in their frame stores.

    Parameters
    ----------
    clips
        Table ``clips``, which counts frames of the source.
    media
        Table ``media``; None when stores have the frames of the source.
    lengths
        Frames of the store of each session; only looked at without `media`.

    Returns
    -------
    dict
        Name of the clip to its frames; at least one, cut at the end of the store.

    Raises
    ------
    MediaError
        Listing clips that begin behind the end of their store, or whose session has none.
    """
    if media is None:
        same = {"fps_num": 1, "fps_den": 1, "source_fps": 1.0}
        rows = [{"session": name, "frames": count, "source_frames": count, **same} for name, count in lengths.items()]
        media = pd.DataFrame(rows)
    windows = window_frames(clips, media)
    return {name: FrameSpan(one.first, one.stop - one.first) for name, one in windows.items()}


def list_roles(people: pd.DataFrame | None) -> list[str]:
    """Return who there is, in the order of the numbers that they mostly have."""
    if people is None or people.empty:
        return []
    numbers = people.groupby("who")["person"].min()
    return [str(name) for name in sorted(numbers.index, key=lambda who: (int(numbers[who]), str(who)))]


def _need(what: Mapping[str, object], name: str, whom: str, remedy: str) -> None:
    if not what:
        raise SettingsError(f"There are no {name}.", expected=f"What {whom} look at.", remedy=remedy)
