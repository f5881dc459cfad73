"""Deterministic inputs of the gaze_target golden vectors (written for this purpose; no reference code in it)."""

import zlib

import numpy as np


def rng(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def normal(name, shape):
    """float32 standard normal array determined by `name`."""
    return rng(name).standard_normal(shape).astype(np.float32)


def uniform(name, shape):
    """float64 uniform [0, 1) array determined by `name`."""
    return rng(name).random(shape)


def frame(name, width, height, block=8):
    """uint8 RGB frame (height, width, 3): a random value per block x block tile, plus a horizontal ramp 0..31."""
    h, w = -(-height // block), -(-width // block)
    tiles = rng(name).integers(0, 224, (h, w, 3))
    img = np.repeat(np.repeat(tiles, block, 0), block, 1)[:height, :width]
    ramp = (np.arange(width) * 32 // max(width, 1))[None, :, None]
    return (img + ramp).astype(np.uint8)


def head_map(boxes, size=224):
    """float32 (N, 1, size, size); boxes = list of (x1, y1, x2, y2) integer pixel boxes, half open."""
    out = np.zeros((len(boxes), 1, size, size), np.float32)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        out[i, 0, y1:y2, x1:x2] = 1
    return out


OVERRIDES = {  # applied after fill.py, so that no final ReLU is dead
    "compress_bn2_inout.bias": 1.0,
    "deconv_bn3.bias": 0.5,
}


def filled(state_dict):
    import torch
    from fill import fill_state_dict

    sd = fill_state_dict(state_dict)
    for k, v in OVERRIDES.items():
        if k in sd:
            sd[k] = torch.full_like(sd[k], v)
    return sd
