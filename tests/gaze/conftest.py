"""A short film of somebody at a table, as video and as pictures, with head boxes; small networks."""

from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nbpkg.gaze.footage import Footage, open_footage
from nbpkg.models.gaze.weights import build_gaze_model
from nbpkg.video.film import write_film

GOLDEN = Path(__file__).parents[1] / "golden"
COUNT = 12


def draw(number: int) -> np.ndarray:
    """One frame of 96 x 128, in which a head moves to the right."""
    frame = np.full((96, 128, 3), 150, np.uint8)
    frame[60:] = (110, 80, 60)
    frame[50:64, 20:30] = (200, 40, 40)
    frame[14:38, 40 + 2 * number : 60 + 2 * number] = (210, 170, 140)
    return frame


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        Image.fromarray(draw(number)).save(folder / f"{number:08}.png")
    (folder / "data.log").write_text("not a picture")
    return folder


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    frames = np.stack([draw(number) for number in range(COUNT)])
    return write_film(frames, tmp_path_factory.mktemp("video") / "clip.mp4", fps=Fraction(25))


@pytest.fixture(scope="session")
def footage(pictures) -> Footage:
    return open_footage(pictures)


@pytest.fixture(scope="session")
def head_files(tmp_path_factory) -> list[Path]:
    """Two people; the second is missing in frames 5 and 6, and nobody is marked in frame 9."""
    folder = tmp_path_factory.mktemp("heads")
    for person, missing in (("anna", {9}), ("ben", {5, 6, 9})):
        shift = 0 if person == "anna" else 30
        rows = [f"{n:08}.png,{40 + 2 * n + shift},14,{60 + 2 * n + shift},38" for n in range(COUNT) if n not in missing]
        (folder / f"{person}.txt").write_text("\n".join(rows))
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def networks() -> dict[str, torch.nn.Module]:
    return {name: build_gaze_model(name, seed=1) for name in ("vtd_small", "vtd_small_temporal", "gazelle_small")}


@pytest.fixture(scope="session")
def golden_rule():
    """Module of the golden inputs."""
    sys.path.insert(0, str(GOLDEN))  # the rule imports `fill`
    spec = importlib.util.spec_from_file_location("gaze_demo_rule", GOLDEN / "gaze_target" / "inputs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
