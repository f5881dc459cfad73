"""What is computed of faces once and for all: how sharp they are beside others, and features of a frozen network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from nbpkg.annotations.gaze.lookup import plain_name
from nbpkg.datasets.looking.windows import find_around
from nbpkg.features.looking.packs import CropPacks
from nbpkg.features.looking.pixels import normalise_crops, resize_crops
from nbpkg.features.looking.prior_files import FILTER, P, read_prior_files
from nbpkg.features.looking.quality import SharpnessScale, rate_quality
from nbpkg.models.weights import State, read_state
from nbpkg.progress import Report, say
from nbpkg.runs.files import check_hashes, digest, hash_below, new_file, read_json, sha256, write_array, write_json
from nbpkg.settings.looking import FaceFeatureSettings

FOLDER, INDEX, ENCODER = "features", "features.json", "features/encoder.safetensors"
KINDS = {"features": np.float32, "maps": np.float16}
BATCH = 256  # crops at a time
_REMEDY = "Run notebooks/04_bake.ipynb again; it makes only what is missing."


@dataclass(frozen=True)
class BakedFaces:
    """Features of crops, each read where it is asked for.

    Parameters
    ----------
    folder
        Run folder of stage 04.
    index
        Content of ``features.json``.
    """

    folder: Path
    index: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Side of a crop as the network saw it, pixels."""
        return int(self.index["size"])

    @property
    def has_maps(self) -> bool:
        """Whether maps were kept."""
        return bool(self.index["map_shape"])

    def read(self, rows: NDArray[np.int64], name: Literal["features", "maps"]) -> NDArray[np.float32]:
        """Return features ``[n, F]`` or maps ``[n, C, h, w]`` of faces with a crop, by their rows."""
        starts = np.array([one["first"] for one in self.index["clips"]])
        place = np.searchsorted(starts, rows, side="right") - 1
        shape = self.index["feature_shape" if name == "features" else "map_shape"]
        found = np.zeros((len(rows), *shape), np.float32)
        for number in np.unique(place):
            own, clip = place == number, self.index["clips"][number]
            found[own] = _open(self.folder, clip["name"], name)[rows[own] - clip["first"]]
        return found

    @property
    def encoder(self) -> State:
        """Weights of the network of faces that made them."""
        return read_state(self.folder / ENCODER)


def rate_faces(
    tracks: pd.DataFrame, faces: NDArray[Any], priors: NDArray[Any], *, folds: pd.DataFrame, fit: str
) -> tuple[NDArray[Any], dict[str, SharpnessScale]]:
    """Hold the sharpness of each face against that of training faces, or of its own part.

    Parameters
    ----------
    tracks, faces, priors
        Table and arrays of 01 and 02.
    folds
        Table ``folds``; the parts are the training clips and the test clips.
    fit
        ``train``, or ``split``: each part against itself, as published.

    Returns
    -------
    ndarray, dict
        As `nbpkg.features.looking.quality.rate_quality`; of clips without a fold nothing is known.

    Raises
    ------
    StageError
        When the sharpness of the training faces cannot be described.
    """
    roles = tracks["session"].map(folds.set_index("session")["role"]).fillna("").to_numpy()
    order = np.argsort(tracks["offset"].to_numpy(), kind="stable")
    own = np.repeat(roles[order], tracks["rows"].to_numpy()[order])
    parts = {name: own == name for name in ("train", "test")}
    rows = np.flatnonzero(priors["crop"])
    slots = np.full((len(faces), 7), -1, np.int64)
    slots[rows] = find_around(tracks, faces["frame"], rows)
    slots = np.where((slots >= 0) & priors["crop"][slots.clip(min=0)], slots, -1)
    return rate_quality(priors["sharpness"], slots, parts=parts, teaching="train" if fit == "train" else None)


def read_quality(
    tracks: pd.DataFrame, faces: NDArray[Any], *, folder: Path, challenge: pd.DataFrame
) -> tuple[NDArray[Any], dict[str, SharpnessScale]]:
    """Read how sharp faces are from published files, and which windows hold a usable one; nothing is measured.

    Parameters
    ----------
    tracks, faces, challenge
        Tables and array of 01.
    folder
        Of the files.

    Raises
    ------
    AnnotationError
        Listing what is wrong with the files.
    """
    found, problems = read_prior_files(folder, tracks, faces, kinds=(P, FILTER), challenge=challenge)
    for one in problems:
        say(f"{one.file}: {one.what}")
    return found.quality, {}


def bake_faces(
    encoder: nn.Module | None,
    crops: CropPacks,
    tracks: pd.DataFrame,
    *,
    has_crop: NDArray[np.bool_],
    settings: FaceFeatureSettings,
    folder: Path,
    device: torch.device,
) -> dict[str, Any]:
    """Compute features and maps of every crop once, clip by clip; a run that was cut off goes on at its clip.

    Parameters
    ----------
    encoder
        Frozen network of faces; None where it is trained with the rest, and nothing is computed.
    crops
        Pictures.
    tracks
        Table ``tracks``.
    has_crop
        Which faces have one, ``[faces]``.
    settings
        Of the stage.
    folder
        Run folder: ``features/<clip>.features.npy`` float32 ``[faces, F]`` and, where they are kept,
        ``features/<clip>.maps.npy`` float16 ``[faces, C, h, w]`` for each clip, zeros where there is no crop; and
        ``features/encoder.safetensors``.
    device
        Where to compute.

    Returns
    -------
    dict
        Content of ``features.json``.
    """
    if encoder is None:
        return {"encoder": "none", "clips": [], "feature_shape": [0], "map_shape": [], "files": {}}
    encoder = encoder.to(device).eval()
    with new_file(folder / ENCODER) as temporary:
        save_file({key: value.detach().cpu().contiguous() for key, value in encoder.state_dict().items()}, temporary)
    identity = {"encoder": sha256(folder / ENCODER), "settings": settings.model_dump(mode="json")}
    report = Report("bake", total=tracks["session"].nunique(), unit="clip")
    clips: list[dict[str, Any]] = []
    with torch.inference_mode():
        encode = _Encoding(encoder, crops, settings, device)
        shapes = encode.find_shapes()
        for session, own in tracks.groupby("session", sort=True):
            first, stop = int(own["offset"].min()), int((own["offset"] + own["rows"]).max())
            facts: dict[str, Any] = {"name": plain_name([str(session)]), "identity": digest(identity)}
            facts |= {"first": first, "stop": stop}
            note = folder / FOLDER / f"{facts['name']}.json"
            if not note.is_file() or read_json(note) != facts:
                rows = first + np.flatnonzero(has_crop[first:stop])
                _bake_clip(encode, rows, facts, folder / FOLDER, shapes)
                write_json(note, facts)
            clips.append(facts)
            report.step(note=str(session))
    report.close()
    clips.sort(key=lambda one: int(one["first"]))
    return {
        "encoder": settings.encoder,
        "size": settings.size,
        "clips": clips,
        "feature_shape": shapes["features"],
        "map_shape": shapes.get("maps", []),
        "files": hash_below(folder, FOLDER),
    }


class _Encoding(NamedTuple):
    encoder: nn.Module
    crops: CropPacks
    settings: FaceFeatureSettings
    device: torch.device

    def __call__(self, crops: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """Encode some crops."""
        pictures = normalise_crops(resize_crops(crops, self.settings.size)).to(self.device)
        features, maps = self.encoder(pictures)
        found = {"features": features.float().cpu().numpy()}
        return {**found, "maps": maps.half().cpu().numpy()} if self.settings.maps else found

    def find_shapes(self) -> dict[str, list[int]]:
        """Return the shape of what is kept of a crop, told from one that nobody asks for."""
        blank = np.zeros((1, self.settings.size, self.settings.size, 3), np.uint8)
        return {name: list(values.shape[1:]) for name, values in self(blank).items()}


def _bake_clip(
    encode: _Encoding, rows: NDArray[np.int64], facts: Mapping[str, Any], folder: Path, shapes: Mapping[str, list[int]]
) -> None:
    """Write what is kept of the crops of a clip, zeros where there is none."""
    length = facts["stop"] - facts["first"]
    arrays = {name: np.zeros((length, *shape), KINDS[name]) for name, shape in shapes.items()}
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        for name, values in encode(encode.crops.read(part)).items():
            arrays[name][part - facts["first"]] = values
    for name, array in arrays.items():
        write_array(folder / f"{facts['name']}.{name}.npy", array)


def _open(folder: Path, clip: str, name: str) -> NDArray[Any]:
    path = folder / FOLDER / f"{clip}.{name}.npy"
    return _open_once(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=128)  # each keeps a file open, of which a system allows a few hundred
def _open_once(path: Path, _written: int) -> NDArray[Any]:
    found: NDArray[Any] = np.load(path, mmap_mode="r")
    return found


def open_baked(folder: Path) -> BakedFaces | None:
    """Open the features that stage 04 left; None where none were made.

    Raises
    ------
    StageError
        When a file is missing or was changed.
    """
    index = read_json(folder / INDEX)
    if index["encoder"] == "none":
        return None
    check_hashes(folder, index["files"], what="features", remedy=_REMEDY)
    return BakedFaces(folder, index)
