"""Six clips of two face tracks each: faces that look are bright above, others below."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from nbpkg.annotations.looking.faces import FACE_DTYPE
from nbpkg.baking.looking import bake_faces, open_baked, rate_faces
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import FromPictures, PackRecipe, cut_all
from nbpkg.features.looking.packs import CropPacks, read_facts
from nbpkg.features.looking.priors import gather_priors
from nbpkg.runs.files import write_json
from nbpkg.settings.launch import LaunchSettings
from nbpkg.settings.looking import FaceFeatureSettings, FaceTrainSettings
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.looking.phases import FacesFound, train_face_phase
from nbpkg.training.looking.saved import LIST
from nbpkg.training.rounds import Where

CPU = torch.device("cpu")
CLIPS = ("clip a", "clip b", "clip c", "clip d", "clip e", "clip f")  # fold 0: a, b, c; d and e choose; f is the test
FOLDS = (0, 0, 0, 1, 1, 2)
LENGTH, SIDE, RUN = 16, 32, 4  # faces of a track, side of a crop, faces between changes of mind
BLURRED, UNKNOWN, LOST = 1, 3, (0, 9)  # a track of plain faces, one without labels, a face without a crop
NETWORK = {
    "name": "gaze_lstm",
    "encoder": "small",
    "size": 24,
    "hidden": 8,
    "width": 16,
    "heads": 2,
    "feedforward": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
    "split": 10,
    "dsplit": 0.5,
    "csplit": 0.5,
}
LEARNING = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01}
STILL = {"mirror": False, "crop": 1.0}  # crops do not vary


def make_material(folder: Path) -> FaceMaterial:
    """Cut packs of pictures drawn here, and put together what stages 01 to 04 would have made."""
    chance = np.random.default_rng(0)
    tracks = make_tracks()
    faces = np.zeros(int(tracks["rows"].sum()), FACE_DTYPE)
    faces["frame"], faces["seen"] = np.arange(len(faces)) % LENGTH + 5, True
    faces["label"] = np.arange(len(faces)) // RUN % 2
    faces["label"][tracks["offset"][UNKNOWN] :][:LENGTH] = -1
    faces["x0"], faces["y0"], faces["x1"], faces["y1"] = 10, 20, 40, 60
    sources = draw_faces(folder / "pictures", tracks, chance)
    _, problems = cut_all(tracks, faces, sources, folder=folder / "crops", recipe=PackRecipe(CropRule(size=SIDE)))
    assert not problems
    head = chance.uniform(-80, 80, (len(faces), 3))
    points = chance.uniform(0, 1, (len(faces), 5, 4))
    head[::7], points[::5] = np.nan, np.nan
    priors = gather_priors(read_facts(folder / "crops", tracks), head_pose=head, points=points)
    folds = pd.DataFrame({"session": CLIPS, "group": [f"video {clip[-1]}" for clip in CLIPS], "fold": FOLDS})
    folds["role"] = np.where(folds["fold"] == 2, "test", "train")
    quality, _ = rate_faces(tracks, faces, priors, folds=folds, fit="train")
    return FaceMaterial(
        footage=pd.DataFrame({"session": CLIPS, "video": folds["group"], "split": "train", "labelled": True}),
        tracks=tracks,
        faces=faces,
        priors=priors,
        quality=quality,
        crops=CropPacks(folder / "crops", tracks),
        folds=folds,
        baked=None,
        fps=Fraction(30),
        system="tiny",
        data=folder,
    )


def make_tracks() -> pd.DataFrame:
    """Table of two tracks for each clip."""
    rows = [(clip, name, person) for clip in CLIPS for name, person in (("1:a", "1"), ("2:b", "2"))]
    table = pd.DataFrame(rows, columns=["session", "track", "person"])
    offsets = LENGTH * np.arange(len(table))
    return table.assign(first=5, last=5 + LENGTH - 1, offset=offsets, rows=LENGTH)


def draw_faces(folder: Path, tracks: pd.DataFrame, chance: np.random.Generator) -> dict[str, FromPictures]:
    """Write a picture for every face but one."""
    sources = {}
    folder.mkdir()
    for clip in CLIPS:
        paths = []
        for place in np.flatnonzero(tracks["session"] == clip):
            for number in range(LENGTH):
                row, path = place * LENGTH + number, f"{place}_{number}.jpg"
                picture = np.full((SIDE, SIDE, 3), 90.0)
                half = slice(0, SIDE // 2) if row // RUN % 2 else slice(SIDE // 2, SIDE)
                picture[half] += 12
                if place != BLURRED:
                    picture += chance.normal(0, 12, picture.shape)
                cv2.imwrite(str(folder / path), picture.clip(0, 255).astype(np.uint8))
                paths.append("" if (place, number) == LOST else path)
        sources[clip] = FromPictures(folder, tuple(paths))
    return sources


def bake(material: FaceMaterial, folder: Path, encoder: torch.nn.Module, **changes) -> FaceMaterial:
    """Return the material with features of its crops."""
    how = FaceFeatureSettings(encoder="random", network="small", size=24, **changes)
    places = {"has_crop": material.priors["crop"], "settings": how, "folder": folder, "device": CPU}
    write_json(folder / "features.json", bake_faces(encoder, material.crops, material.tracks, **places))
    return replace(material, baked=open_baked(folder))


def settings(*, variant: str = "", **groups) -> FaceTrainSettings:
    """Small settings with changes, group by group."""
    values: dict = {"network": dict(NETWORK), "learning": dict(LEARNING), "window": {"stride": 1, "inner_stride": 2}}
    for name, changes in groups.items():
        values[name] = {**values.get(name, {}), **changes}
    return FaceTrainSettings.model_validate({**values, "variant": variant})


def train(
    folder: Path, material: FaceMaterial, phase: str = "final", *, seed: int = 0, launch=None, start=None, **how
) -> FacesFound:
    """Run a phase on the training clips, and leave its list of networks as the notebook does."""
    where = Where(folder, seed, CPU, 0, launch or LaunchSettings())
    own = material.of_folds("train")
    found = train_face_phase(phase, own, settings=settings(**how), where=where, start=start)
    (folder / LIST).write_text(json.dumps(found.networks))
    return found
