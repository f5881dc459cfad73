"""Explaining session by session: which network, which sessions, and the twin that has learnt nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nbpkg import tables
from nbpkg.attention.valence.sessions import explain_recordings, profile_lags, random_twin
from nbpkg.datasets.valence.preparation import fit_preparation
from nbpkg.datasets.valence.recording import Recording
from nbpkg.errors import ExplainError
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.training.valence.networks import Shape, Trained

WIDTHS = {"audio": 3, "text": 2}
HOW = {"window": 4, "stride": 2, "fill": "mean", "steps": 2}


def recording(story: str, steps: int) -> Recording:
    chance = np.random.default_rng(int(story))
    features = {name: chance.standard_normal((steps, width)).astype(np.float32) for name, width in WIDTHS.items()}
    present = {name: np.ones(steps, bool) for name in WIDTHS}
    present["audio"][-3:] = False
    features["audio"][-3:] = 0
    valence = np.zeros(steps)
    session = f"Subject_1_Story_{story}"
    return Recording(session, "1", story, "Testing", "", features, present, valence, np.repeat(valence, 25), False)


@pytest.fixture
def recordings():
    return {one.session: one for one in (recording("3", 12), recording("6", 9))}


@pytest.fixture
def trained():
    torch.manual_seed(0)
    shape = Shape("combined_lstm", tuple(WIDTHS), WIDTHS, NetworkOptions(embed=8, hidden=32))
    learnt = recording("2", 15)
    preparation = fit_preparation([learnt], list(WIDTHS), scale="standard", reduce={}, seed=0)
    sessions = {"train": ("Subject_1_Story_2",), "inner": ("Subject_1_Story_4",), "held_out": ()}
    network = shape.build().eval()
    return Trained(network, preparation, shape, "s", "final", "final", -1, 3, "last", **sessions)


def test_every_second_of_every_modality_is_explained_by_both_methods(trained, recordings):
    found = explain_recordings(trained, recordings, system="s", **HOW)
    tables.check(found, "valence_importance")
    counts = found.groupby(["session", "modality", "method"])["step"].agg(["size", "nunique"])
    assert set(counts.index.get_level_values("method")) == {"occlusion", "integrated_gradients"}
    assert len(counts) == 2 * 2 * 2
    for session, one in recordings.items():
        assert (counts.loc[session] == one.steps).all(axis=None)
    assert found["value"].notna().all()
    assert (found["value"] != 0).any()


def test_what_taught_the_network_or_chose_its_epoch_is_refused(trained, recordings):
    for story in ("2", "4"):
        seen = recording(story, 8)
        with pytest.raises(ExplainError, match=f"has learnt from {seen.session}"):
            explain_recordings(trained, {**recordings, seen.session: seen}, system="s", **HOW)


def test_nothing_to_explain_is_an_empty_table(trained):
    assert explain_recordings(trained, {}, system="s", **HOW).empty


def test_lags_are_found_session_by_session(trained, recordings):
    found = profile_lags(trained, recordings, lags=range(3), fill="mean")
    assert list(found.columns) == ["session", "modality", "lag", "change"]
    assert len(found) == 2 * 2 * 3
    assert (found["change"] >= 0).all()


def test_the_twin_differs_in_its_weights_alone_and_is_the_same_for_a_seed(trained):
    before = torch.random.get_rng_state()
    one, same, other = (random_twin(trained, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert replace(one, network=trained.network) == trained
    states = [item.network.state_dict() for item in (trained, one, same, other)]
    key = "lstm.weight_ih_l0"
    assert torch.equal(states[1][key], states[2][key])
    assert not torch.equal(states[1][key], states[0][key])
    assert not torch.equal(states[1][key], states[3][key])
    assert not one.network.training
