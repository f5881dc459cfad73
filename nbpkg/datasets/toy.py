"""Points on two sides of a plane: data of which one knows the best classifier, to try trainings and searches on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import TensorDataset

from nbpkg import seeding
from nbpkg.errors import SettingsError

SPREAD = 10.0


class Plane(NamedTuple):
    """The border between the two classes: points with ``normal · x + bias > 0`` are of class 1.

    Parameters
    ----------
    normal
        float64 ``[dimensions]``, of length 1, all parts at least 0.
    bias
        In 0..1.
    """

    normal: torch.Tensor
    bias: float


def draw_toy(count: int, dimensions: int, *, seed: int, name: str = "train") -> tuple[TensorDataset, Plane]:
    """Draw points around the origin and label them by the side of a random plane on which they lie.

    Parameters
    ----------
    count, dimensions
        Number of points, and of coordinates of each.
    seed
        Of the plane, and with `name` of the points.
    name
        Which points: data sets of one seed and several names share the plane.

    Returns
    -------
    data : torch.utils.data.TensorDataset
        Points float32 ``[count, dimensions]``, each coordinate normal with mean 0 and standard deviation 10, and
        labels int64 ``[count]``, 0 or 1.
    plane : Plane
        The border.

    Raises
    ------
    SettingsError
        When `count` is negative or there are no dimensions.

    Source
    ------
    infant-engagement, ``local/datasets/linear_dataset.py``: a normal drawn uniformly from 0..1 in every coordinate and
    brought to length 1, a bias drawn uniformly from 0..1. Its points are new at every access; ours stay.

    Examples
    --------
    >>> data, plane = draw_toy(4, 2, seed=0)
    >>> points, labels = data.tensors
    >>> points.shape, bool((labels == (points.double() @ plane.normal + plane.bias > 0)).all())
    (torch.Size([4, 2]), True)
    """
    if count < 0 or dimensions < 1:
        raise SettingsError(
            f"{count} points of {dimensions} coordinates cannot be drawn.", expected="At least 0 points, 1 coordinate."
        )
    border = seeding.generator(seed, "toy", "plane", dimensions)
    normal = border.random(dimensions)
    normal /= np.linalg.norm(normal)
    plane = Plane(torch.from_numpy(normal), float(border.random()))
    random = seeding.generator(seed, "toy", "points", dimensions, name)
    points = torch.from_numpy((SPREAD * random.standard_normal((count, dimensions))).astype(np.float32))
    labels = (points.double() @ plane.normal + plane.bias > 0).long()
    return TensorDataset(points, labels), plane
