"""Toy data: labels follow the plane, seeds and names do what they promise, and a linear classifier learns it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbpkg.datasets.toy import SPREAD, draw_toy
from nbpkg.errors import SettingsError


@pytest.mark.parametrize("dimensions", [1, 2, 7, 512])
def test_labels_are_the_sides_of_a_plane_with_a_unit_normal_in_the_positive_orthant(dimensions):
    data, plane = draw_toy(200, dimensions, seed=3)
    points, labels = data.tensors
    assert (points.shape, points.dtype, labels.dtype) == ((200, dimensions), torch.float32, torch.int64)
    assert float(plane.normal.norm()) == pytest.approx(1)
    assert (plane.normal >= 0).all()
    assert 0 <= plane.bias < 1
    distance = points.double() @ plane.normal + plane.bias
    assert torch.equal(labels, (distance > 0).long())
    assert 0.2 < labels.double().mean() < 0.8


def test_points_are_normal_with_spread_ten():
    points = draw_toy(4000, 3, seed=0)[0].tensors[0].numpy()
    assert np.allclose(points.mean(axis=0), 0, atol=0.6)
    assert np.allclose(np.cov(points.T), SPREAD**2 * np.eye(3), atol=6)


def test_same_seed_same_data_and_names_share_the_plane():
    (first, plane), (again, _) = draw_toy(50, 4, seed=5), draw_toy(50, 4, seed=5)
    assert all(torch.equal(one, two) for one, two in zip(first.tensors, again.tensors, strict=True))
    test, same = draw_toy(50, 4, seed=5, name="test")
    other = draw_toy(50, 4, seed=6)[1]
    assert torch.equal(plane.normal, same.normal)
    assert plane.bias == same.bias
    assert not torch.equal(first.tensors[0], test.tensors[0])
    assert not torch.equal(plane.normal, other.normal)


def test_a_linear_classifier_learns_it():
    points, labels = draw_toy(400, 5, seed=1)[0].tensors
    new, truth = draw_toy(400, 5, seed=1, name="test")[0].tensors
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 2)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layer(points / SPREAD), labels).backward()
        optimiser.step()
    assert (layer(new / SPREAD).argmax(dim=1) == truth).double().mean() > 0.95


@pytest.mark.parametrize(("count", "dimensions"), [(-1, 2), (3, 0)])
def test_impossible_sizes_are_refused(count, dimensions):
    with pytest.raises(SettingsError, match="cannot be drawn"):
        draw_toy(count, dimensions, seed=0)
