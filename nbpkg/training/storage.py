"""Heads as plain arrays and text, which is all that a file of weights may hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from nbpkg.errors import WeightsError
from nbpkg.training.linear import Head

_PARTS = ("weight", "bias", "mean", "std")


def pack_heads(
    heads: Mapping[tuple[str, str], Head],
) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Turn heads into named arrays and facts, ready for safetensors.

    Parameters
    ----------
    heads
        Keyed by (task, variable), from `nbpkg.training.heads.search_heads`.

    Returns
    -------
    dict
        Arrays named ``<number>.<part>``.
    dict
        ``heads``: JSON list of each head's facts, in order of number.
    """
    ordered = [heads[key] for key in sorted(heads)]
    arrays = {f"{number}.{part}": head.arrays[part] for number, head in enumerate(ordered) for part in _PARTS}
    return arrays, {"heads": json.dumps([head.metadata for head in ordered], sort_keys=True)}


def load_heads(path: Path) -> dict[tuple[str, str], Head]:
    """Read heads written from `pack_heads`.

    Raises
    ------
    WeightsError
        When the file is missing, damaged, or holds no heads.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["heads"])
            parts = [{part: file.get_tensor(f"{number}.{part}") for part in _PARTS} for number in range(len(facts))]
    except (OSError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"The file holds no heads: {error}.", where=str(path), remedy="Run notebooks/05_train.ipynb again."
        ) from None
    pairs = zip(facts, parts, strict=True)
    return {(fact["task"], fact["variable"]): Head(arrays, fact) for fact, arrays in pairs}
