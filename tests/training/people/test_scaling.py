"""Scales of tokens: fitted on what is there, on the families learnt from, and carried along."""

import numpy as np
import pytest
import torch

from nbpkg.baking.people import PersonRecording
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.training.people.scaling import ScaledRecordings, fit_scales


def recording(name: str, level: float) -> PersonRecording:
    random = torch.Generator().manual_seed(3)
    tokens = torch.randn(1, 4, 2, 5, 3, generator=random) * torch.tensor([1.0, 200.0, 0.0]) + level
    valid = torch.ones(1, 4, 2, 5, dtype=torch.bool)
    valid[:, 2] = False
    tokens[:, 2] = 1e6  # what is not there must not count
    talks = Conversations({"audio": tokens}, {"audio": valid}, torch.tensor([[0, 1]]))
    return PersonRecording(name, (name,), name, tuple("abcd"), np.zeros(4, np.int64), ("parent", "child"), talks)


def test_tokens_that_are_there_have_mean_0_and_spread_1():
    one = recording("a", 50.0)
    scales = fit_scales([one])
    seen = ScaledRecordings({"a": one}, scales)["a"].conversations
    there = seen.tokens["audio"][seen.valid["audio"]].double()
    assert there.mean(dim=0).abs().max() < 1e-5
    assert there.std(dim=0, unbiased=False)[:2].tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (there[:, 2] == 0).all()  # a feature that never changes
    assert one.conversations.tokens["audio"][0, 0].mean() > 10  # what was baked stays


def test_other_recordings_have_no_say():
    first, other = recording("a", 0.0), recording("b", 1000.0)
    scaled = ScaledRecordings({"a": first, "b": other}, fit_scales([first]))
    assert list(scaled) == ["a", "b"]
    assert scaled["b"].conversations.tokens["audio"][0, 0, :, :, 0].mean() > 500
