"""VGG-Face: keys and figures of the published network, and weights under either name."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from nbpkg.errors import WeightsError
from nbpkg.models.valence import vgg_face

GOLDEN = Path(__file__).parents[2] / "golden"
sys.path.insert(0, str(GOLDEN))
from fill import fill_array  # noqa: E402


@pytest.fixture(scope="module")
def keys() -> dict[str, list[int]]:
    return json.loads((GOLDEN / "valence_fusion" / "vgg_face_state_dict_keys.json").read_text())


def test_keys_and_shapes_are_the_published_ones(keys):
    with torch.device("meta"):
        network = vgg_face.VggFace()
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == keys
    pools = [layer for layer in network if isinstance(layer, torch.nn.MaxPool2d)]
    assert len(pools) == 5
    assert all(pool.ceil_mode for pool in pools)


def test_golden_features_logits_and_input(keys, tmp_path):
    with np.load(GOLDEN / "valence_fusion" / "vgg_face_open.npz", allow_pickle=False) as file:
        golden = dict(file)
    state = {}
    for key, shape in keys.items():
        values = fill_array(key, tuple(shape))
        state[key] = torch.from_numpy(values * np.float32(np.sqrt(2)) if len(shape) > 1 else values)
    with torch.device("meta"):
        network = vgg_face.VggFace()
    network.load_state_dict(state, assign=True)
    network.eval()

    small = np.random.default_rng(zlib.crc32(b"face:open")).integers(0, 256, (13, 11, 3)).astype(np.uint8)
    entering = vgg_face.to_input(small.repeat(8, 0).repeat(8, 1)[:96, :80])
    assert entering.mean().item() == pytest.approx(golden["input_mean"].item(), rel=1e-3)
    assert entering.std().item() == pytest.approx(golden["input_std"].item(), rel=1e-3)
    np.testing.assert_allclose(entering[:, :4, :4], golden["input_patch"], rtol=1e-3)
    with torch.inference_mode():
        described = network.fc7(entering[None])
        logits = network(entering[None])[:, :64]
    scale = np.abs(golden["fc7"]).max()
    np.testing.assert_allclose(described, golden["fc7"], rtol=1e-3, atol=1e-3 * scale)
    np.testing.assert_allclose(logits, golden["logits"], rtol=1e-3, atol=1e-3 * np.abs(golden["logits"]).max())
    assert described.shape == (1, 4096)
    assert described.min() == 0


def test_names_of_torchvision_are_translated(keys):
    with torch.device("meta"):
        theirs = __import__("torchvision").models.vgg16(num_classes=2622).state_dict()
    renamed = vgg_face.rename_vgg16(theirs)
    assert {key: list(value.shape) for key, value in renamed.items()} == keys
    assert vgg_face.rename_vgg16(renamed) == renamed


def test_weights_of_another_network_are_refused_by_key(tmp_path):
    torch.save({"0.weight": torch.zeros(64, 3, 3, 3), "40.bias": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"31 missing \(0\.bias.*1 unexpected \(40\.bias\)"):
        vgg_face.build_vgg_face(tmp_path / "other.pth")
