"""Faces of noise, of which those that look at the camera wearer carry stripes in one corner, and a network that knows.

Two clips: ``a`` with track ``1:0`` of 60 frames (no crop in frames 20 and 21) and ``1/1``, a short one that begins at
frame 70; ``b`` with track ``2:0``, which has a gap, and ``x``, a track of nobody knows whom without labels or crops.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from looking_faces import make_tracks

from nbpkg import tables
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import FromPictures, PackRecipe, cut_all
from nbpkg.features.looking.packs import CropPacks, read_facts
from nbpkg.features.looking.priors import gather_priors
from nbpkg.features.looking.quality import QUALITY_DTYPE
from nbpkg.settings.looking import FaceTrainSettings
from nbpkg.training.looking.learner import Setting
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.looking.networks import build_face_network
from nbpkg.training.looking.saved import TrainedFaceNetwork

SIDE = 32
CORNER = slice(2, 14)  # rows and columns of the stripes: upper left
FPS = Fraction(10)
TRACKS = [
    ("a", "1:0", list(range(60))),
    ("a", "1/1", list(range(70, 75))),
    ("b", "2:0", [*range(5, 30), *range(36, 66)]),
    ("b", "x", list(range(8))),
]
SEGMENTS = [
    ("a", "first", "1", 10, 29),
    ("a", "first", "1", 45, 59),
    ("b", "first", "2", 0, 24),
    ("b", "first", "2", 50, 62),
    ("a", "second", "1", 12, 31),
    ("a", "second", "1", 40, 59),
]


def list_segments() -> pd.DataFrame:
    names = ["session", "annotator", "person", "start_frame", "end_frame"]
    rows = [dict(zip(names, segment, strict=True)) | {"kind": "looking", "target": ""} for segment in SEGMENTS]
    talking = {**rows[0], "kind": "talking", "start_frame": 0, "end_frame": 59}
    return tables.from_rows([*rows, talking], "segments")


def make_world(folder: Path) -> FaceMaterial:
    tracks, faces = make_tracks(TRACKS)
    tracks["person"] = ["1", "1", "2", ""]
    for track in tracks.to_dict("records"):
        own = faces[track["offset"] : track["offset"] + track["rows"]]
        own["label"] = -1 if track["track"] == "x" else 0
        for session, annotator, person, start, end in SEGMENTS:
            if (session, annotator, person) == (track["session"], "first", track["person"]):
                own["label"][(own["frame"] >= start) & (own["frame"] <= end)] = 1
    paths: dict[str, list[str]] = {}
    rows = zip(np.repeat(tracks["session"], tracks["rows"]), np.repeat(tracks["track"], tracks["rows"]), strict=True)
    for number, (session, track) in enumerate(rows):
        missing = track == "x" or (track == "1:0" and number in (20, 21))
        paths.setdefault(session, []).append("" if missing else f"{number}.png")
        if not missing:
            cv2.imwrite(str(folder / f"{number}.png"), draw_face(number, looks=bool(faces["label"][number] == 1)))
    sources = {session: FromPictures(folder, tuple(own)) for session, own in paths.items()}
    cut_all(tracks, faces, sources, folder=folder / "crops", recipe=PackRecipe(CropRule(size=SIDE)))
    poses = np.random.default_rng(0).uniform(-40, 40, (len(faces), 3))
    priors = gather_priors(read_facts(folder / "crops", tracks), head_pose=poses)
    quality = np.full(len(faces), 0.9, QUALITY_DTYPE)
    folds = pd.DataFrame({"session": ["a", "b"], "group": ["v", "w"], "fold": [0, 0], "role": ["test", "test"]})
    footage = pd.DataFrame({"session": ["a", "b"], "video": ["v", "w"], "split": "test", "labelled": True})
    crops = CropPacks(folder / "crops", tracks)
    return FaceMaterial(footage, tracks, faces, priors, quality, crops, folds, None, FPS, "made up", folder)


def draw_face(number: int, *, looks: bool) -> np.ndarray:
    picture = np.random.default_rng(number).integers(96, 160, (SIDE, SIDE, 3), dtype=np.uint8)
    if looks:
        picture[CORNER, CORNER] = np.where(np.arange(12) // 2 % 2, 30, 225)[:, None, None]
    return picture


def ask_network(**changes) -> FaceTrainSettings:
    small = {"encoder": "small", "size": SIDE, "hidden": 16, "head": True, "landmarks": False, "width": 16, "heads": 2}
    small |= {"feedforward": 32, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0, "split": 10.0}
    return FaceTrainSettings(network=small | {"name": "gaze_lstm"} | changes)


def wrap(settings: FaceTrainSettings, state: dict) -> TrainedFaceNetwork:
    names = dict.fromkeys(("system", "phase", "round", "variant"), "made up")
    facts = {"repeat": 0, "epoch": 1.0, "epochs": 1, "chosen_by": "last", "weights": "", "train": (), "inner": ()}
    return TrainedFaceNetwork(settings, **names, **facts, state=state, digest=f"sha of {settings.network.name}")


def train_shortly(world: FaceMaterial) -> TrainedFaceNetwork:
    """Some steps over all windows; what is learnt is the stripes, nothing else tells."""
    settings = ask_network()
    windows = world.list_windows(["a", "b"], stride=1, labelled=True)
    batches = Setting.of(world, settings, seed=0).batches(windows, training=False)
    network = build_face_network(settings.network, seed=1).network
    steps = torch.optim.Adam(network.parameters(), lr=3e-3)
    for epoch in range(8):
        for batch in batches.each(batches.shuffle(epoch), batch=32):
            features, maps = network.encode(batch.crops)
            scores = network.decide(features[batch.where], maps[batch.where[:, 3]], batch.head, batch.points)
            steps.zero_grad()
            torch.nn.functional.cross_entropy(scores, batch.label).backward()
            steps.step()
    return wrap(settings, {key: value.detach() for key, value in network.state_dict().items()})
