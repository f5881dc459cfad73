"""A world small enough for tests: people whose heads are bright squares and who look at dark ones.

Ten sessions of five participants; participant p4 is the test fold. Imported by the tests, and by the processes that
they kill.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from nbpkg.baking.gaze import BakedGaze, GazeBake, bake_gaze, plan_gaze_features
from nbpkg.datasets.gaze.items import Preparation
from nbpkg.models.gaze.dinov2 import SmallBackbone
from nbpkg.models.gaze.gazelle import GazeLle, GazelleSize
from nbpkg.models.gaze.vtd import VtdSize, VtdSpatial, VtdTemporal
from nbpkg.settings.gaze import GazeFinalSettings, GazeSweepSettings, GazeTrainSettings
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.gaze.material import GazeMaterial
from nbpkg.training.gaze.phases import train_gaze_phase
from nbpkg.training.gaze.tabulate import GazeFound
from nbpkg.training.rounds import Where

CPU = torch.device("cpu")
WIDTH, HEIGHT = 64, 48
SESSIONS = [f"p{person}_{number}" for person in range(5) for number in range(2)]
TINY = VtdSize(
    size=56,
    stem=4,
    planes=(4, 4, 4, 4, 4),
    blocks=(1, 1, 1, 1, 1),
    strides=(1, 2, 1, 1, 1),
    compress=(8, 8),
    inout=4,
    decoder=(8, 8, 4),
)
PREPARE = Preparation(size=TINY.size)
TINY_GAZELLE = GazelleSize(size=56, width=16, blocks=1, heads=2)
SETTINGS = GazeTrainSettings(
    sweep=GazeSweepSettings(epochs=1, batch_size=[4], chunk=[2], learning_rate=[1e-3, 3e-3]),
    final=GazeFinalSettings(epochs=3, batch_size=2, chunk=2, learning_rate=1e-3),
    longest_track=6,
)


class Film:
    """Frames made when asked for."""

    fps = Fraction(25)

    def __init__(self, table: pd.DataFrame, *, poisoned: bool = False) -> None:
        self.rows, self.poisoned, self.asked = table, poisoned, 0

    def __len__(self) -> int:
        return int(self.rows["frame"].max()) + 1

    def frames(self, indices: Any) -> np.ndarray:
        self.asked += 1
        return np.stack([self._draw(int(index)) for index in indices])

    def _draw(self, index: int) -> np.ndarray:
        chance = np.random.default_rng(index)
        if self.poisoned:
            return chance.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        picture = chance.integers(110, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for row in self.rows[self.rows["frame"] == index].to_dict("records"):
            picture[int(row["y0"]) : int(row["y1"]), int(row["x0"]) : int(row["x1"])] = 230
            if row["inside"] == 1:
                x, y = int(row["gaze_x"]), int(row["gaze_y"])
                picture[max(y - 3, 0) : y + 3, max(x - 3, 0) : x + 3] = 20
        return picture


def make_table() -> pd.DataFrame:
    """Tracks of 5 to 9 frames; in every other session two people, and in each a target that is outside at times."""
    parts = []
    for number, session in enumerate(SESSIONS):
        for person in range(1 + number % 2):
            chance = np.random.default_rng([number, person])
            length = 5 + (number + 2 * person) % 5
            corner = chance.uniform([2 + 30 * person, 4], [10 + 30 * person, 20])
            gaze = np.linspace(chance.uniform([4, 4], [60, 44]), chance.uniform([4, 4], [60, 44]), length)
            inside = (chance.random(length) > 0.2).astype(np.int64)
            gaze[inside == 0] = np.nan
            parts.append(
                pd.DataFrame(
                    {
                        "dataset": "made",
                        "split": "",
                        "participant": session[:2],
                        "session": session,
                        "person": f"s{person:02d}",
                        "rater": "a1",
                        "frame": np.arange(length),
                        "image": [f"{session}/{one}.png" for one in range(length)],
                        "width": WIDTH,
                        "height": HEIGHT,
                        "x0": corner[0],
                        "y0": corner[1],
                        "x1": corner[0] + 14,
                        "y1": corner[1] + 16,
                        "box_source": "manual",
                        "gaze_x": gaze[:, 0],
                        "gaze_y": gaze[:, 1],
                        "inside": inside,
                        "target": "",
                        "segment": 0,
                        "valid": 1,
                        "flags": "",
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def make_folds() -> pd.DataFrame:
    """Two participants in each of the training folds 0 and 1, the fifth in the test fold."""
    fold = [int(session[1]) // 2 for session in SESSIONS]
    folds = pd.DataFrame({"session": SESSIONS, "group": [name[:2] for name in SESSIONS], "fold": fold})
    return folds.assign(role=np.where(folds["fold"] == 2, "test", "train"))


def make_network(kind: str = "temporal") -> nn.Module:
    """A network with fixed random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if kind == "gazelle":
            backbone = SmallBackbone()
            return GazeLle(backbone.features, TINY_GAZELLE, backbone=backbone, inout=True).eval()
        made = VtdSpatial(TINY) if kind == "spatial" else VtdTemporal(TINY, dropout=0.0 if kind == "dry" else 0.5)
        return made.eval()


def make_material(kind: str = "temporal", *, baked: Path | None = None, poisoned: str = "", **how: Any) -> GazeMaterial:
    """What training may see; poisoned: frames and targets of this participant are noise."""
    torch.set_num_threads(1)
    table, folds = make_table(), make_folds()
    folds = folds[folds["role"] == "train"].reset_index(drop=True)
    table = table[table["session"].isin(folds["session"])].reset_index(drop=True)
    own = {session: table[table["session"] == session] for session in folds["session"]}
    stores = {session: Film(rows, poisoned=session[:2] == poisoned) for session, rows in own.items()}
    if poisoned:
        hit = (table["participant"] == poisoned) & (table["inside"] == 1)
        table.loc[hit, "gaze_x"] = WIDTH - table.loc[hit, "gaze_x"]
    network = make_network(kind)
    stored = bake(baked, network, table, stores) if baked is not None else None
    footage = "pictures" if kind in ("spatial", "gazelle") else "video"
    given = {"footage": footage, "longest": SETTINGS.longest_track, "baked": stored, **how}
    return GazeMaterial(table, folds, stores, network, f"vtd_{kind}", PREPARE, **given)


def bake(folder: Path, network: nn.Module, table: pd.DataFrame, stores: dict[str, Film]) -> BakedGaze:
    """Bake all rows."""
    index = plan_gaze_features(table, stores, pictures=isinstance(network, GazeLle))
    bake_gaze(network, table, index, stores=stores, folder=folder, how=GazeBake(PREPARE, 8, CPU))
    return BakedGaze(folder, index)


def run(phase: str, folder: Path, material: GazeMaterial, settings: GazeTrainSettings = SETTINGS, **launch: Any) -> Any:
    """Run a phase."""
    where = Where(folder, 0, CPU, 0, LaunchSettings(**launch))
    return train_gaze_phase(phase, material, settings=settings, searched=None, where=where)


def results(found: GazeFound, folder: Path) -> dict[str, bytes]:
    """Everything that a stage would put into its receipt, as bytes."""
    kept = {name: getattr(found, name).to_csv(index=False).encode() for name in ("trials", "settings", "history")}
    return kept | {path.name: path.read_bytes() for path in sorted((folder / "networks").rglob("*.safetensors"))}


def work(folder: Path, phase: str, kind: str = "temporal") -> dict[str, bytes]:
    """Run a phase from nothing but a folder, for a test that kills it."""
    return results(run(phase, folder, make_material(kind)), folder)
