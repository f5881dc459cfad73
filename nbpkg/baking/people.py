"""Recordings of several people as tokens by window, person and modality: one file each, read when needed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from safetensors.torch import load_file

from nbpkg.annotations.gaze.lookup import plain_name
from nbpkg.baking.people_sources import Sources, describe_windows, find_widths, hash_inputs
from nbpkg.errors import Problem, StageError, TableError, raise_all
from nbpkg.features.people.tokens import Window, find_cast, join_windows, window_frames
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.progress import Report
from nbpkg.runs.files import check_hashes, digest, new_file, read_json, sha256
from nbpkg.settings.people import PersonFeatureSettings
from nbpkg.video.stores import Store

FOLDER = "recordings"
VERSION = 1  # of the files; counts into what makes them stale
COLUMNS = ["recording", "windows", "people", "modality", "width", "share_valid", "file", "note"]
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_REMEDY = "Run notebooks/04_bake.ipynb again; it makes only what is missing."


@dataclass(frozen=True)
class PersonRecording:
    """One recording, window by window.

    Parameters
    ----------
    name
        As in column ``recording`` of the table ``clips``.
    sessions
        Prepared videos that its windows lie in, in order, each once.
    family
        Whom it shows.
    clips
        Sample of each of its K windows, in order.
    labels
        Class of each window, int64 ``[K]``.
    roles
        Role of each of its P people, e.g. parent, child.
    conversations
        Their tokens; B is 1.
    """

    name: str
    sessions: tuple[str, ...]
    family: str
    clips: tuple[str, ...]
    labels: NDArray[np.int64]
    roles: tuple[str, ...]
    conversations: Conversations


class PeopleRecordings(Mapping[str, PersonRecording]):
    """Recordings of stage 04, each read when first asked for; another process gets the folder, not the tokens.

    Parameters
    ----------
    folder
        Run folder of stage 04, with ``recordings.json`` and the files that it names.

    Raises
    ------
    StageError
        When a file is missing or was changed since stage 04 made it.
    """

    def __init__(self, folder: Path) -> None:
        known = read_json(folder / "recordings.json")
        check_hashes(folder, known, what="recordings", remedy=_REMEDY)
        self.folder = folder
        self.files = {str(read_facts(folder / name)["name"]): str(name) for name in known}
        self._read: dict[str, PersonRecording] = {}

    def __getitem__(self, name: str) -> PersonRecording:
        if name not in self._read:
            self._read[name] = read_recording(self.folder / self.files[name])
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "files": self.files, "_read": {}}


def read_recording(path: Path) -> PersonRecording:
    """Read a baked recording; tokens stay on disk until they are used.

    Raises
    ------
    StageError
        When the file is missing, cut, or not one of these.
    """
    facts = read_facts(path)
    tensors = load_file(path)
    names = list(facts["modalities"])
    conversations = Conversations(
        {name: tensors[f"tokens/{name}"] for name in names},
        {name: tensors[f"valid/{name}"] for name in names},
        tensors["roles"],
    )
    return PersonRecording(
        name=facts["name"],
        sessions=tuple(facts["sessions"]),
        family=facts["family"],
        clips=tuple(facts["clips"]),
        labels=tensors["labels"].numpy(),
        roles=tuple(facts["roles"]),
        conversations=conversations,
    )


def read_facts(path: Path) -> dict[str, Any]:
    """Return what the header of a baked recording says (see `read_recording` for what it raises)."""
    try:
        with safe_open(path, framework="numpy") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            return facts
    except FileNotFoundError:
        raise StageError("A baked recording is not there.", where=str(path), remedy=_REMEDY) from None
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        raise StageError(
            f"A baked recording cannot be read: {error}.",
            where=str(path),
            expected="A file that notebooks/04_bake.ipynb wrote.",
            remedy=_REMEDY,
        ) from None


def bake_people(
    clips: pd.DataFrame,
    people: pd.DataFrame,
    media: pd.DataFrame,
    *,
    stores: Mapping[str, Store],
    poses: Mapping[str, NDArray[np.float32]],
    settings: PersonFeatureSettings,
    who: Sequence[str],
    data: Path,
    folder: Path,
    places: Mapping[str, str] | None = None,
    workers: int = 1,
    device: torch.device | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Describe everybody in every window and write ``recordings/<name>.safetensors``; what is finished stays.

    Parameters
    ----------
    clips, people, media
        The tables of the same names.
    stores
        Open frame store of each session; only crops need them.
    poses
        Skeletons of each session, see `nbpkg.features.people.poses.PoseFolder`; only poses need them.
    settings
        Modalities.
    who
        Roles that have a place in every recording, be they there or not; others follow where they are.
    data, folder
        Data folder, and run folder to write to.
    places
        Path of each session's recording without its ending, which files of features are named after; None where that is
        the session.
    workers
        Threads that read frames.
    device, seed, cache
        Of networks that describe crops.

    Returns
    -------
    pandas.DataFrame
        A row for each recording and modality: recording, windows, people, modality, width, share_valid (share of all
        people's tokens that hold something), file (relative to `folder`), note (what is odd; else empty). The same
        whether files were made now or before; `hash_recordings` makes ``recordings.json`` of it.

    Raises
    ------
    TableError
        When a recording has several families, or files of features cannot be used.
    MediaError
        When clips do not lie in their videos.
    """
    windows = window_frames(clips, media)
    rows_of = {str(row["session"]): row for row in media.to_dict("records")}
    sources = Sources(
        rows_of, people, stores, poses, settings, tuple(who), data, places or {}, workers, device, seed, cache
    )
    sources = replace(sources, widths=find_widths(sources, sorted(set(clips["session"]))))
    groups = {str(name): own.sort_values("window") for name, own in clips.groupby("recording", sort=True)}
    files = _name_files(groups)
    rows = []
    report = Report("bake", total=len(groups), unit="recording")
    for name, own in groups.items():
        rows += _bake_recording(folder / files[name], own, windows, sources)
        report.step(note=name)
    report.close()
    return pd.DataFrame(rows, columns=[column for column in COLUMNS if column != "file"]).assign(
        file=lambda table: table["recording"].map(files)
    )[COLUMNS]


def hash_recordings(table: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Return the hash of each file that `bake_people` names, the content of ``recordings.json``."""
    return {str(name): sha256(folder / str(name)) for name in dict.fromkeys(table["file"])}


def _name_files(groups: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Return the file of each recording; recordings of several families, and names that meet, are refused."""
    problems = []
    files: dict[str, str] = {}
    for name, own in groups.items():
        families = sorted(set(own["family"]))
        if len(families) > 1:
            text = f"It shows several families: {', '.join(families)}."
            problems.append(Problem(text, remedy="Correct how recordings are read off paths.", file=name))
        plain = name if _PLAIN.fullmatch(name) else plain_name(name.split("/"))
        files[name] = f"{FOLDER}/{plain}.safetensors"
        if list(files.values()).count(files[name]) > 1:
            problems.append(Problem("Another recording has the same plain name.", remedy="Rename it.", file=name))
    raise_all(problems, TableError, summary="recordings cannot be baked.")
    return files


def _bake_recording(
    path: Path, own: pd.DataFrame, windows: Mapping[str, Window], sources: Sources
) -> list[dict[str, Any]]:
    """Write one recording unless its file was made of the same; return its rows of the table."""
    places = [windows[str(sample)] for sample in own["sample_id"]]
    sessions = {one.session: int(sources.media[one.session]["frames"]) for one in places}
    cast = find_cast(sources.people, sessions, sources.who)
    facts: dict[str, Any] = {
        "name": str(own["recording"].iloc[0]),
        "sessions": list(sessions),
        "family": str(own["family"].iloc[0]),
        "clips": [str(sample) for sample in own["sample_id"]],
        "roles": list(cast.roles),
        "modalities": list(sources.settings.modalities),
    }
    made_of = digest([VERSION, facts, own["label"].tolist(), places, sources.seed, hash_inputs(cast, sources)])
    known = _read_finished(path)
    if known.get("made_of") == made_of:
        rows: list[dict[str, Any]] = known["rows"]
        return rows
    tensors: dict[str, NDArray[Any]] = {
        "roles": np.arange(len(cast.roles), dtype=np.int64)[None],
        "labels": own["label"].to_numpy(np.int64),
    }
    rows = []
    for name in sources.settings.modalities:
        several, notes = describe_windows(name, places, cast, sources)
        joined = join_windows(several)
        tensors[f"tokens/{name}"], tensors[f"valid/{name}"] = joined.tokens[None], joined.valid[None]
        share = float(joined.valid.sum() / sum(one.valid.size for one in several))
        rows.append({"recording": facts["name"], "windows": len(places), "people": len(cast.roles), "modality": name,
                     "width": joined.tokens.shape[-1], "share_valid": share, "note": " ".join(notes)})  # fmt: skip
    text = json.dumps({**facts, "made_of": made_of, "rows": rows}, ensure_ascii=False)
    with new_file(path) as temporary:
        save_file(tensors, temporary, metadata={"facts": text})
    return rows


def _read_finished(path: Path) -> dict[str, Any]:
    """Return what a file of an earlier run says; nothing where there is none, or it is broken and made again."""
    try:
        return read_facts(path)
    except StageError:
        return {}
