"""The published networks of one modality."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nbpkg.models.valence.build import build_network
from nbpkg.models.valence.options import NetworkOptions

TINY = NetworkOptions(embed=3, hidden=4)


def ones(batch: int, steps: int) -> torch.Tensor:
    return torch.ones(batch, steps, 1, dtype=torch.bool)


def test_text_network_answers_as_published(case):
    golden = case.json("text_open")
    network = case.filled(build_network("text_lstm", ["text"], {"text": 300}))
    assert {key: list(item.shape) for key, item in network.state_dict().items()} == golden["state_dict"]
    inputs = {"text": torch.from_numpy(case.normal("text:open", (6, 1, 300))).transpose(0, 1)}
    with torch.no_grad():
        answers = network(inputs, ones(1, 6))
    np.testing.assert_allclose(answers.flatten(), golden["model"]["output"], rtol=0, atol=1e-5)


def test_visual_network_answers_as_published(case):
    golden = case.arrays("vgg_lstm_open")
    network = case.filled(build_network("visual_lstm", ["v_sub"], {"v_sub": 4096}))
    shapes = {key: tuple(item.shape) for key, item in network.state_dict().items()}
    assert shapes["lstm1.weight_ih_l0"] == (2048, 4096)
    assert list(shapes)[4:] == ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]
    inputs = {"v_sub": torch.from_numpy(case.normal("vgglstm:open", (2, 5, 4096)).clip(0))}
    with torch.no_grad():
        answers, features = network(inputs, ones(2, 5)), network.embed(inputs, ones(2, 5))
    np.testing.assert_allclose(answers[..., 0], golden["valence"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(features, golden["features"], rtol=0, atol=1e-5)


def test_text_network_drops_whole_seconds():
    torch.manual_seed(0)
    options = NetworkOptions(embed=3, hidden=40, dropout={"text": 0.5})
    network = build_network("text_lstm", ["text"], {"text": 5}, options=options)
    torch.nn.init.eye_(network.linear1.weight)
    inputs = {"text": torch.randn(8, 30, 5)}
    with torch.no_grad():
        kept = network.embed(inputs, ones(8, 30)) - network.linear1.bias
        network.eval()
        whole = network.embed(inputs, ones(8, 30)) - network.linear1.bias
    ratio = kept / whole
    gone = ratio.abs().max(dim=-1).values < 1e-3
    assert 0.3 < gone.float().mean() < 0.7
    torch.testing.assert_close(ratio[~gone], torch.full_like(ratio[~gone], 2.0), rtol=1e-3, atol=0)


def test_text_network_reads_along_time():
    """Trained with batches laid out again as time, items of a batch would see each other."""
    torch.manual_seed(0)
    network = build_network("text_lstm", ["text"], {"text": 5}, options=TINY).eval()
    values = torch.randn(3, 4, 5)
    changed = values.clone()
    changed[1, 2] += 1
    with torch.no_grad():
        moved = network({"text": values}, ones(3, 4)) != network({"text": changed}, ones(3, 4))
    assert moved[..., 0].tolist() == [[False] * 4, [False, False, True, True], [False] * 4]


def test_visual_network_adds_up_both_directions():
    torch.manual_seed(0)
    options = NetworkOptions(embed=3, hidden=4, both_directions=True)
    both = build_network("visual_lstm", ["v_sub"], {"v_sub": 5}, options=options).eval()
    one = torch.nn.LSTM(5, 4, batch_first=True)
    back = torch.nn.LSTM(5, 4, batch_first=True)
    state = both.lstm1.state_dict()
    one.load_state_dict({key: item for key, item in state.items() if not key.endswith("_reverse")})
    back.load_state_dict(
        {key.removesuffix("_reverse"): item for key, item in state.items() if key.endswith("_reverse")}
    )
    lengths = [2, 6, 4]  # not sorted
    values = torch.randn(3, 6, 5)
    mask = (torch.arange(6)[None] < torch.tensor(lengths)[:, None])[..., None]
    with torch.no_grad():
        features = both.embed({"v_sub": values}, mask)
        for at, length in enumerate(lengths):
            own = values[at : at + 1, :length]
            states = one(own)[0] + back(own.flip(1))[0].flip(1)
            torch.testing.assert_close(features[at : at + 1, :length], both.linear1(states))
            assert (features[at, length:] == 0).all()


@pytest.mark.parametrize("name", ["text_lstm", "visual_lstm"])
def test_what_stands_in_missing_seconds_does_not_matter(name):
    torch.manual_seed(0)
    network = build_network(name, ["text"], {"text": 5}, options=TINY).eval()
    values = torch.randn(1, 4, 5)
    spoiled = values.clone()
    spoiled[0, 1] = torch.nan
    present = {"text": torch.tensor([[True, False, True, True]])}
    with torch.no_grad():
        expected = network({"text": values}, ones(1, 4), present=present)
        assert torch.equal(network({"text": spoiled}, ones(1, 4), present=present), expected)
        assert not torch.equal(network({"text": values}, ones(1, 4)), expected)
    assert expected.abs().max() < 1


def test_shares_dropped_are_the_published_ones():
    assert build_network("text_lstm", ["text"], {"text": 5}, options=TINY).dropout == 0.2
    assert build_network("visual_lstm", ["v_sub"], {"v_sub": 5}, options=TINY).dropout == 0.5
    named = NetworkOptions(embed=2, hidden=2, dropout={"v_sub": 0.0})
    assert build_network("visual_lstm", ["v_sub"], {"v_sub": 5}, options=named).dropout == 0.0
