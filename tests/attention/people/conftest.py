"""Golden vectors of networks for clips, and the rule by which their weights are made."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parents[2] / "golden"


class Golden:
    """Golden files and weights."""

    def __init__(self) -> None:
        spec = importlib.util.spec_from_file_location("people_fill", GOLDEN / "fill.py")
        self.fill = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.fill)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / "joint_engagement" / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    def json(self, name: str):
        return json.loads((GOLDEN / "joint_engagement" / f"{name}.json").read_text())

    def filled(self, network: torch.nn.Module) -> torch.nn.Module:
        network.load_state_dict(self.fill.fill_state_dict(network.state_dict()))
        return network.eval()


@pytest.fixture(scope="session")
def golden_people() -> Golden:
    return Golden()
