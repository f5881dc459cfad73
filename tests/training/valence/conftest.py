"""Let the tests of this folder import the modules beside them, and share the tree of the golden vectors."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
VECTORS = Path(__file__).parents[2] / "golden" / "valence_fusion"


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Input and output pairs from running the published programs."""
    return VECTORS


@pytest.fixture(scope="session")
def tiny_trees(tmp_path_factory) -> dict[str, Path]:
    """The tiny data that the vectors were made with, plain and ragged; every byte as it was there."""
    known = json.loads((VECTORS / "tiny_data_sha256_open.json").read_text())
    trees = {}
    for name, flags in (("open", []), ("open --ragged", ["--ragged"])):
        folder = trees[name] = tmp_path_factory.mktemp("tiny")
        subprocess.run([sys.executable, VECTORS / "make_tiny_data.py", "open", folder, *flags], check=True)
        for path, digest in known[name].items():
            assert hashlib.sha256((folder / path).read_bytes()).hexdigest().startswith(digest), path
    return trees


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
