"""Classes come in the shares asked for, with one process as with several."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from nbpkg.datasets.people.balance import BalancedSampler, share_out
from nbpkg.errors import AnnotationError, SettingsError

LABELS = [0] * 4 + [1] * 25 + [2] * 21


def count(order) -> list[int]:
    found = Counter(LABELS[clip] for clip in order)
    return [found[label] for label in range(3)]


def test_classes_come_in_their_shares_and_clips_in_turn():
    sampler = BalancedSampler(LABELS, power=0, seed=1)
    order = list(sampler)
    assert len(order) == len(sampler) == 50
    assert sorted(count(order)) == [16, 17, 17]
    uses = Counter(order)
    assert {uses[clip] for clip in range(4)} <= {4, 5}
    assert max(uses[clip] for clip in range(4, 50)) == 1
    assert count(BalancedSampler(LABELS, power=1, seed=1)) == [4, 25, 21]


def test_cover_draws_every_clip_and_balances_by_repeating_the_rare_ones():
    order = list(BalancedSampler(LABELS, power=0, seed=1, length="cover"))
    assert set(order) == set(range(50))
    assert count(order) == [25, 25, 25]
    half = list(BalancedSampler(LABELS, power=0.5, seed=1, length="cover"))
    assert set(half) == set(range(50))


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_share_one_order(processes):
    alone = BalancedSampler(LABELS, power=0.3, seed=4).order()
    parts = [list(BalancedSampler(LABELS, power=0.3, seed=4, process=k, processes=processes)) for k in range(processes)]
    assert len({len(part) for part in parts}) == 1
    together = np.stack(parts, axis=1).reshape(-1)
    assert together[:50].tolist() == alone.tolist()
    assert together[50:].tolist() == alone[: len(together) - 50].tolist()


def test_passes_differ_and_repeat_for_the_same_seed():
    sampler = BalancedSampler(LABELS, power=0, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first != second
    assert list(BalancedSampler(LABELS, power=0, seed=1)) == first
    assert list(BalancedSampler(LABELS, power=0, seed=2)) != first


def test_a_loader_takes_it_as_it_takes_any_sampler():
    data = TensorDataset(torch.tensor(LABELS))
    loader = DataLoader(data, batch_size=10, sampler=BalancedSampler(LABELS, power=0, seed=1))
    drawn = torch.cat([batch for (batch,) in loader])
    assert sorted(torch.bincount(drawn).tolist()) == [16, 17, 17]


def test_whole_numbers_stay_within_one_of_their_shares():
    assert share_out([1 / 3] * 3, 100).tolist() == [34, 33, 33]
    assert share_out([0.0, 1.0], 3).tolist() == [0, 3]
    weights = np.random.default_rng(0).random(9)
    found = share_out(weights, 1000)
    assert found.sum() == 1000
    assert np.abs(found - 1000 * weights / weights.sum()).max() < 1


def test_what_cannot_be_balanced_is_refused():
    with pytest.raises(SettingsError, match="power"):
        BalancedSampler([0, 1], power=2, seed=0)
    with pytest.raises(AnnotationError, match="every sample has one"):
        BalancedSampler([], power=0, seed=0)
    with pytest.raises(SettingsError, match="process 2 of 2"):
        BalancedSampler([0, 1], power=0, seed=0, process=2, processes=2)
