"""Golden vectors of networks over sequences, and the rule by which their inputs and weights are made."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parents[2] / "golden"


class Case:
    """Golden files, inputs and weights."""

    def __init__(self, fill: ModuleType) -> None:
        self.fill = fill

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / "valence_fusion" / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    def json(self, name: str):
        return json.loads((GOLDEN / "valence_fusion" / f"{name}.json").read_text())

    def normal(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)

    def filled(self, network: torch.nn.Module) -> torch.nn.Module:
        network.load_state_dict(self.fill.fill_state_dict(network.state_dict()))
        return network.eval()


@pytest.fixture(scope="session")
def case() -> Case:
    spec = importlib.util.spec_from_file_location("valence_fill", GOLDEN / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Case(module)
