"""Deterministic weights: the same state_dict on both sides of a comparison, with nothing to ship.

Every tensor is drawn from a generator seeded by its own key, so two implementations whose keys and shapes
agree get identical weights, whatever order they build their layers in.
"""

import zlib

import numpy as np


def fill_array(name: str, shape: tuple) -> np.ndarray:
    """float32 array of `shape` determined by `name` alone; running variances are positive, scales near 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    x = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return np.abs(x) * 0.1 + 1.0
    if name.endswith("running_mean"):
        return x * 0.05
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        return x / np.sqrt(max(fan_in, 1), dtype=np.float32)
    if name.endswith("weight"):  # norm scales
        return 1.0 + 0.05 * x
    return 0.05 * x  # biases and the rest


def fill_state_dict(state_dict: dict) -> dict:
    """A copy of a torch state_dict with every floating tensor replaced; integer tensors are zeroed."""
    import torch

    out = {}
    for k, v in state_dict.items():
        if v.is_floating_point():
            out[k] = torch.from_numpy(np.ascontiguousarray(fill_array(k, tuple(v.shape)))).to(v.dtype)
        else:
            out[k] = torch.zeros_like(v)
    return out
