"""Let the tests of this folder import `tiny_world`, which stands beside them, and share one run of it."""

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Material of the tiny world, and all three phases run on it once."""
    import tiny_world

    folder = tmp_path_factory.mktemp("world")
    material = tiny_world.make_material(folder)
    found = tiny_world.run_phases(material, folder / "phases")
    ready = folder / "material.pickle"  # for processes of their own
    ready.write_bytes(pickle.dumps(material))
    return SimpleNamespace(folder=folder, material=material, found=found, ready=ready)


@pytest.fixture
def one_thread():
    """Torch with one thread, and afterwards with as many as before."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
