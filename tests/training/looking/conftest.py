"""Let the tests of this folder import `looking_world`, which stands beside them, and run on one thread."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """Six clips of two face tracks each; nothing is baked."""
    import looking_world

    return looking_world.make_material(tmp_path_factory.mktemp("faces"))


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
