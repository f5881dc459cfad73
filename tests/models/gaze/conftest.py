"""Golden vectors and networks with their weights, each filled once."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from nbpkg.models.gaze.dinov2 import build_dinov2
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal

GOLDEN = Path(__file__).parents[2] / "golden"


class Case:
    """Golden files and the rule by which their inputs and weights are made."""

    def __init__(self, rule: ModuleType, fill: ModuleType) -> None:
        self.rule, self.fill = rule, fill

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / "gaze_target" / f"{name}.npz", allow_pickle=False) as file:
            return dict(file)

    def json(self, name: str):
        return json.loads((GOLDEN / "gaze_target" / f"{name}.json").read_text())

    def normal(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self.rule.normal(name, shape))

    def frames(self, name: str, boxes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scene, head channel and face."""
        shape = (len(boxes), 3, 224, 224)
        head = torch.from_numpy(self.rule.head_map(boxes.tolist()))
        return self.normal(f"{name}_image", shape), head, self.normal(f"{name}_face", shape)


@pytest.fixture(scope="session")
def case() -> Case:
    sys.path.insert(0, str(GOLDEN))  # the rule imports `fill`
    modules = []
    for name, path in (("gaze_golden_rule", GOLDEN / "gaze_target" / "inputs.py"), ("gaze_fill", GOLDEN / "fill.py")):
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    return Case(*modules)


@pytest.fixture(scope="session")
def spatial(case) -> VtdSpatial:
    network = VtdSpatial()
    network.load_state_dict(case.rule.filled(network.state_dict()))
    return network.eval()


@pytest.fixture(scope="session")
def temporal(case) -> VtdTemporal:
    network = VtdTemporal(single_frame_norm="reference")
    network.load_state_dict(case.rule.filled(network.state_dict()))
    return network.eval()


@pytest.fixture(scope="session")
def vitb14(case):
    backbone = build_dinov2("vitb14")
    backbone.net.load_state_dict(case.fill.fill_state_dict(backbone.net.state_dict()))
    return backbone
