"""Golden vectors of networks over windows, and the rule by which their inputs and weights are made."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from nbpkg.models.looking.backbone import FaceEncoder

GOLDEN = Path(__file__).parents[2] / "golden"


class Case:
    """Golden files, inputs and weights."""

    def __init__(self, fill: ModuleType) -> None:
        self.fill = fill

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / "looking_at_me" / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    def json(self, name: str):
        return json.loads((GOLDEN / "looking_at_me" / f"{name}.json").read_text())

    def pictures(self, seed: int, *shape: int) -> torch.Tensor:
        """Blocks of 16 × 16 equal pixels."""
        small = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        return torch.from_numpy(small.repeat(16, axis=-2).repeat(16, axis=-1))

    def filled(self, network: torch.nn.Module) -> torch.nn.Module:
        network.load_state_dict(self.fill.fill_state_dict(network.state_dict()))
        return network.eval()


@pytest.fixture(scope="session")
def case() -> Case:
    spec = importlib.util.spec_from_file_location("looking_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Case(module)


@pytest.fixture(scope="session")
def encoded(case) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and maps of three golden clips: networks over windows share the network of crops and its weights."""
    network = torch.nn.ModuleDict({"base_model": FaceEncoder()})
    encoder = case.filled(network)["base_model"]
    with torch.inference_mode():
        features, maps = encoder(case.pictures(101, 3, 7, 3, 14, 14).flatten(0, 1))
    return features.reshape(3, 7, -1), maps.reshape(3, 7, *maps.shape[1:])
