"""Small material over people: recordings of tokens that follow a planted rule, and films with their skeletons."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from nbpkg.baking.people import PersonRecording
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.settings.people import PeopleTrainSettings
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.video.frames import FrameStore, StoreWriter

CLASSES = ("low", "high")
WINDOWS = 8
TINY = {"width": 8, "heads": 2, "modal_layers": 1, "memory_layers": 1, "person_layers": 1, "memory_tokens": 2}


def settings(network: dict | None = None, learning: dict | None = None, **more) -> PeopleTrainSettings:
    """Settings of a small training; ``dropout`` off, so that it learns in few epochs."""
    how = {"epochs": 20, "batch_size": 2, "learning_rate": 0.01, "weight_decay": 0.0, "patience": 0}
    return PeopleTrainSettings(
        network={**TINY, "dropout": 0.0, **(network or {})},
        learning={**how, **(learning or {})},
        **{"scale": "none", **more},
    )


def tables_of(clips: list[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clips and folds: as many families in each of four folds, the last one kept for the test."""
    table = pd.DataFrame(clips).assign(rating=float("nan"), raters=0, split="", path="x")
    families = table.drop_duplicates("session").set_index("session")["family"]
    fold = families.map(lambda name: int(name[1:]) * 4 // families.nunique())
    role = np.where(fold == fold.max(), "test", "train")
    folds = pd.DataFrame({"session": families.index, "group": families.to_numpy(), "fold": fold.to_numpy()})
    return table, folds.assign(role=role)


def conversations(*, families: int = 16, seed: int = 0) -> PeopleMaterial:
    """The class of a window is the sign of the second person's first feature; two modalities, one person at times."""
    rng = np.random.default_rng(seed)
    clips, recordings = [], {}
    for number in range(families):
        family = name = f"f{number}"
        labels = rng.permutation(np.arange(WINDOWS) % 2).astype(np.int64)
        tokens = {m: torch.from_numpy(rng.normal(0, 0.3, (1, WINDOWS, 2, 3, 4))).float() for m in ("pose", "video")}
        tokens["video"][0, :, 1, :, 0] += torch.from_numpy(2.0 * labels - 1)[:, None].float()
        valid = {m: torch.ones(1, WINDOWS, 2, 3, dtype=torch.bool) for m in tokens}
        valid["pose"][0, 0, 0] = False
        names = tuple(f"{name}_{window}" for window in range(WINDOWS))
        recordings[name] = PersonRecording(
            name,
            (name,),
            family,
            names,
            labels,
            ("parent", "child"),
            Conversations(tokens, valid, torch.arange(2)[None]),
        )
        clips += [
            {"sample_id": names[window], "session": name, "family": family, "recording": name, "window": window,
             "first": 10 * window, "frames": 10, "label": int(labels[window])}
            for window in range(WINDOWS)
        ]  # fmt: skip
    table, folds = tables_of(clips)
    return PeopleMaterial(table, folds, CLASSES, recordings=recordings)


def films(folder: Path, *, families: int = 8, frames: int = 24) -> PeopleMaterial:
    """Two clips of each family, a bright and a dark one, in a frame store at half the source's rate; one person."""
    rng = np.random.default_rng(0)
    clips, stores, poses, people, media = [], {}, {}, [], []
    for number in range(families):
        name = f"f{number}"
        shades = np.repeat([60, 190], frames // 2)[:, None, None, None]
        pictures = (shades + rng.integers(-40, 40, (frames, 32, 40, 3))).astype(np.uint8)
        (folder / name).mkdir(parents=True)
        writer = StoreWriter(folder / name, (32, 40), fps=Fraction(5))
        for picture in pictures:
            writer.add(picture)
        writer.finish()
        stores[name] = FrameStore(folder / name)
        pose = rng.uniform(0.3, 0.7, (2, frames, 17, 3)).astype(np.float32)
        pose[..., 2] = 0.9
        pose[1, :4] = 0
        poses[name] = pose
        for label in (0, 1):
            clips.append(
                {"sample_id": f"{name}_{label}", "session": name, "family": name, "recording": name, "window": label,
                 "first": label * frames, "frames": frames, "label": label}
            )  # fmt: skip
        people += [
            {"session": name, "frame": frame, "person": 0, "who": "child", "x0": 0.2, "y0": 0.1, "x1": 0.8, "y1": 0.9,
             "score": 0.9, "how": "seen", "face_x0": 0.4, "face_y0": 0.2, "face_x1": 0.6, "face_y1": 0.4}
            for frame in range(frames)
        ]  # fmt: skip
        media.append(
            {"session": name, "frames": frames, "fps_num": 5, "fps_den": 1, "source_fps": 10.0, "width": 40,
             "height": 32, "source_frames": 2 * frames}
        )  # fmt: skip
    table, folds = tables_of(clips)
    return PeopleMaterial(
        table, folds, CLASSES, stores=stores, poses=poses, people=pd.DataFrame(people), media=pd.DataFrame(media)
    )
