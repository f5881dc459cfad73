"""Heads survive their file, and other files are refused."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from nbpkg.errors import WeightsError
from nbpkg.training.linear import Head
from nbpkg.training.storage import load_heads, pack_heads


def make_head(task: str) -> Head:
    draw = np.random.default_rng(len(task))
    shapes = {"weight": (2, 3), "bias": (2,), "mean": (3,), "std": (3,)}
    arrays = {name: draw.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return Head(arrays, {"task": task, "variable": "attending", "sessions": '["s1", "s2"]'})


def test_heads_come_back_as_they_were(tmp_path):
    heads = {(task, "attending"): make_head(task) for task in ("people", "eggs")}
    arrays, facts = pack_heads(heads)
    save_file(arrays, tmp_path / "h.safetensors", metadata=facts)
    found = load_heads(tmp_path / "h.safetensors")
    assert set(found) == set(heads)
    assert found["eggs", "attending"].sessions == ["s1", "s2"]
    for key, head in heads.items():
        for name, array in head.arrays.items():
            np.testing.assert_array_equal(found[key].arrays[name], array)


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "h.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"holds no heads(.|\n)*05_train.ipynb again"):
        load_heads(path)
