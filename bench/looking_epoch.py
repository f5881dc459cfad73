"""An epoch over windows of faces with the network of faces kept as it is, and answers for every face.

Training: features of each crop computed once before, against encoding the seven crops of every window anew, as the
published programs do; windows at every third face, the network of faces is ResNet-18. What baking costs is told beside
it. Answering: faces shared by the windows of a batch are encoded once, against seven for each window. Targets: 2 times
as fast with the same losses and answers (1e-4).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from bench.common import clock, median_of_rounds, show
from nbpkg.annotations.looking.faces import FACE_DTYPE
from nbpkg.baking.looking import bake_faces, open_baked
from nbpkg.datasets.looking.windows import Windows
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import FromPictures, PackRecipe, cut_all
from nbpkg.features.looking.packs import CropPacks, read_facts
from nbpkg.features.looking.priors import gather_priors
from nbpkg.features.looking.quality import QUALITY_DTYPE
from nbpkg.models.looking.build import build_face_encoder
from nbpkg.runs.files import write_json
from nbpkg.settings.looking import FaceFeatureSettings, FaceTrainSettings
from nbpkg.training.looking.learner import FaceLearner, Setting
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.looking.networks import build_face_network
from nbpkg.training.peers import ALONE

TRACKS, LENGTH, SIDE, STRIDE, BATCH = 6, 60, 64, 3, 32
CPU = torch.device("cpu")
SETTINGS = FaceTrainSettings.model_validate(
    {
        "network": {"name": "gaze_lstm", "size": SIDE},
        "augment": {"mirror": False, "crop": 1.0},
        "learning": {"freeze": True, "batch_size": BATCH},
    }
)


def make_material(folder: Path) -> FaceMaterial:
    """Tracks of noise in one clip, cut and baked."""
    chance = np.random.default_rng(0)
    offsets = np.arange(TRACKS) * LENGTH
    tracks = pd.DataFrame({"session": "a", "track": [str(one) for one in range(TRACKS)], "person": "1"})
    tracks = tracks.assign(first=0, last=LENGTH - 1, offset=offsets, rows=LENGTH)
    faces = np.zeros(TRACKS * LENGTH, FACE_DTYPE)
    faces["frame"], faces["label"] = np.arange(len(faces)) % LENGTH, np.arange(len(faces)) // 10 % 2
    (folder / "pictures").mkdir()
    for row in range(len(faces)):
        picture = cv2.resize(chance.integers(0, 255, (8, 8, 3), dtype=np.uint8), (SIDE, SIDE))
        cv2.imwrite(str(folder / "pictures" / f"{row}.jpg"), picture)
    source = FromPictures(folder / "pictures", tuple(f"{row}.jpg" for row in range(len(faces))))
    cut_all(tracks, faces, {"a": source}, folder=folder / "crops", recipe=PackRecipe(CropRule(size=SIDE)))
    return FaceMaterial(
        footage=pd.DataFrame({"session": ["a"], "video": ["v"]}),
        tracks=tracks,
        faces=faces,
        priors=gather_priors(read_facts(folder / "crops", tracks)),
        quality=np.full(len(faces), np.nan, QUALITY_DTYPE),
        crops=CropPacks(folder / "crops", tracks),
        folds=pd.DataFrame({"session": ["a"], "group": ["v"], "fold": [0], "role": ["train"]}),
        baked=None,
        fps=Fraction(30),
        system="bench",
        data=folder,
    )


def bake(material: FaceMaterial, folder: Path) -> FaceMaterial:
    """Compute the features of all crops."""
    how = FaceFeatureSettings(encoder="random", network="resnet18", size=SIDE, maps=False)
    encoder = build_face_encoder("resnet18", seed=0)
    crops, tracks, has_crop = material.crops, material.tracks, material.priors["crop"]
    index = bake_faces(encoder, crops, tracks, has_crop=has_crop, settings=how, folder=folder, device=CPU)
    write_json(folder / "features.json", index)
    return replace(material, baked=open_baked(folder))


def begin(material: FaceMaterial, encoder: dict[str, torch.Tensor]) -> FaceLearner:
    """Return the same network each time."""
    network = build_face_network(SETTINGS.network, seed=0, encoder=encoder).network
    learner = FaceLearner(network, Setting.of(material, SETTINGS, seed=0), (1.0, 1.0))
    learner.enter(CPU, ALONE)
    return learner


def step_by_features(learner: FaceLearner, windows: Windows) -> list[float]:
    """Train an epoch from features; losses."""
    optimiser = torch.optim.Adam([item for item in learner.network.parameters() if item.requires_grad], lr=1e-4)
    losses = []
    for batch in learner.epoch(windows, BATCH, epoch=1):
        optimiser.zero_grad()
        losses.append(learner.learn(batch)[0])
        optimiser.step()
    return losses


def step_by_windows(learner: FaceLearner, windows: Windows) -> list[float]:
    """Train an epoch, encoding the seven crops of every window; losses."""
    optimiser = torch.optim.Adam([item for item in learner.network.parameters() if item.requires_grad], lr=1e-4)
    losses = []
    for batch in learner.epoch(windows, BATCH, epoch=1):
        learner.network.train().base_model.eval()
        loss = F.cross_entropy(learner.network(batch.crops[batch.where], batch.head, batch.points), batch.label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@torch.inference_mode()
def answer_by_windows(learner: FaceLearner, windows: Windows) -> np.ndarray:
    """Answer, encoding the seven crops of every window; log odds."""
    network, found = learner.network.eval(), []
    for batch in learner.setting.batches(windows, training=False).each(np.arange(len(windows)), batch=BATCH):
        logits = network(batch.crops[batch.where], batch.head, batch.points)
        found.append((logits[:, 1] - logits[:, 0]).numpy())
    return np.concatenate(found)


def compare(name: str, sides: dict[str, Callable[[], object]], **facts: object) -> dict:
    """Time both sides and hold their results against each other."""
    one, other = (np.asarray(work()) for work in sides.values())
    fast, slow = median_of_rounds(sides).values()
    row = {"what": name, **facts, "as it is, s": f"{fast:.2f}", "seven crops a window, s": f"{slow:.2f}"}
    return {**row, "times faster": f"{slow / fast:.1f}", "greatest difference": f"{np.abs(one - other).max():.0e}"}


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = make_material(folder)
        seconds = clock(lambda: bake(material, folder / "baked"))
        baked = bake(material, folder / "baked")  # finds it done
        if baked.baked is None:
            raise RuntimeError("nothing was baked")
        encoder = baked.baked.encoder
        windows = {stride: material.list_windows(["a"], stride=stride, labelled=True) for stride in (1, STRIDE)}
        training: dict[str, Callable[[], object]] = {
            "features": lambda: step_by_features(begin(baked, encoder), windows[STRIDE]),
            "windows": lambda: step_by_windows(begin(material, encoder), windows[STRIDE]),
        }
        answering: dict[str, Callable[[], object]] = {
            "shared": lambda: begin(material, encoder).answer(windows[1]),
            "windows": lambda: answer_by_windows(begin(material, encoder), windows[1]),
        }
        rows = [
            compare(
                "epoch from baked features", training, windows=len(windows[STRIDE]), baking=f"{seconds:.1f} s once"
            ),
            compare("answers from shared faces", answering, windows=len(windows[1])),
        ]
    show(f"Frozen ResNet-18 over windows of {TRACKS} tracks of {LENGTH} faces, {SIDE} px", rows)


if __name__ == "__main__":
    main()
