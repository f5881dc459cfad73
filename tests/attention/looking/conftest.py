"""Made-up clips of faces for the tests of this folder, and what makes tables of tracks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "features" / "looking"))
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    from window_world import make_world

    return make_world(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="session")
def trained(world):
    from window_world import train_shortly

    return train_shortly(world)
