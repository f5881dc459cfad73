"""The published fusion network: golden answers, initial weights, padding, one step alone, missing seconds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.valence.build import NETWORKS, build_network
from nbpkg.models.valence.combined import CombinedLstm, look_back
from nbpkg.models.valence.options import NetworkOptions

WIDTHS = {"audio": 990, "text": 300, "v_sub": 4096, "v_act": 4096}
SMALL = NetworkOptions(embed=6, hidden=5, attention_steps=4)
GOLDEN = ("AT_open", "ATV_open", "ATVV_open", "V_open", "small_open")
TOLERANCE = 4e-6


def small(*, seed: int = 0, **changes) -> CombinedLstm:
    torch.manual_seed(seed)
    options = NetworkOptions(**({"embed": 6, "hidden": 5, "attention_steps": 4} | changes))
    return CombinedLstm(["audio", "text"], {"audio": 7, "text": 3}, options=options).eval()


def batch(lengths, *, seed: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(seed)
    mask = mask_of(lengths)
    return {
        name: torch.randn(len(lengths), max(lengths), width) * mask for name, width in (("audio", 7), ("text", 3))
    }, mask


def mask_of(lengths) -> torch.Tensor:
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None])[..., None]


@pytest.mark.parametrize("name", GOLDEN)
def test_answers_are_the_published_ones(case, name):
    golden = case.arrays("combined_lstm_open")
    facts = json.loads(str(golden["meta"]))[name]
    given = facts["hyper"]
    options = NetworkOptions(
        embed=given.get("embed_dim", 128),
        hidden=given.get("hidden_dim"),
        layers=given.get("n_layers"),
        attention_steps=given.get("attn_len", 3),
    )
    network = case.filled(
        build_network(
            "combined_lstm", facts["mods"], dict(zip(facts["mods"], facts["dims"], strict=True)), options=options
        )
    )
    mask = mask_of(facts["lengths"])
    inputs = {}
    for modality, width in network.widths.items():
        drawn = case.normal(f"input:{name}:{modality}", (*mask.shape[:2], width))
        inputs[modality] = torch.from_numpy(drawn.clip(0) if modality.startswith("v_") else drawn) * mask
    with torch.no_grad():
        found = {
            "valence": network(inputs, mask, facts["lengths"]),
            "features": network.embed(inputs, mask),
            "attention": network.attend(inputs),
        }
    assert np.array_equal(golden[f"{name}/mask"], mask)
    for kind, values in found.items():
        np.testing.assert_allclose(values, golden[f"{name}/{kind}"], rtol=0, atol=TOLERANCE, err_msg=kind)


@pytest.mark.parametrize("modalities", ["audio,text", "audio,text,v_sub"])
def test_initial_weights_are_the_published_ones(case, modalities):
    golden = case.json("initial_weights_open")
    torch.manual_seed(golden["seed"])
    state = build_network("combined_lstm", modalities.split(","), WIDTHS).state_dict()
    expected = golden["state_dict"][modalities]
    assert set(state) == set(expected)
    for key, facts in expected.items():
        assert float(state[key].double().sum()) == pytest.approx(facts["sum"], abs=2e-5), key
        np.testing.assert_allclose(state[key].flatten()[:3], facts["first"], rtol=0, atol=1e-7, err_msg=key)


@pytest.mark.parametrize(
    ("modalities", "count"),
    [("audio,text", 1_841_412), ("audio,text,v_sub", 2_644_356), (",".join(WIDTHS), 3_447_300), ("audio", 1_524_356)],
)
def test_networks_have_the_published_size(modalities, count):
    with torch.device("meta"):
        network = build_network("combined_lstm", modalities.split(","), WIDTHS)
    assert sum(item.numel() for item in network.parameters()) == count
    names = modalities.split(",")
    assert list(network.state_dict())[: 2 * len(names)] == [
        f"embed_{name}.1.{kind}" for name in names for kind in ("weight", "bias")
    ]


def test_padding_and_the_order_of_sequences_change_nothing():
    network = small(layers=2)
    lengths = [3, 9, 1, 6]
    inputs, mask = batch(lengths)
    rubbish = {name: torch.where(mask, item, 50.0) for name, item in inputs.items()}
    with torch.no_grad():
        together, features = network(rubbish, mask), network.embed(rubbish, mask)
        for at, length in enumerate(lengths):
            own = {name: item[at : at + 1, :length] for name, item in inputs.items()}
            alone = network(own, mask_of([length]))
            torch.testing.assert_close(together[at : at + 1, :length], alone, rtol=0, atol=1e-6)
    assert (together[~mask] == 0).all()
    assert (features[~mask[..., 0]] == 0).all()
    assert together[mask].abs().min() > 0


def test_training_is_that_of_packed_sequences():
    network, lengths = small(), [9, 6, 3]
    inputs, mask = batch(lengths)
    network(inputs, mask).square().sum().backward()
    found = {name: item.grad.clone() for name, item in network.named_parameters()}
    network.zero_grad()
    joined = network._join(inputs, None)
    packed, _ = network.lstm(pack_padded_sequence(joined, lengths, batch_first=True))
    states, _ = pad_packed_sequence(packed, batch_first=True)
    answers = network.dec_target(look_back(states, torch.softmax(network.attn(joined), dim=-1))) * mask
    answers.square().sum().backward()
    for name, item in network.named_parameters():
        torch.testing.assert_close(found[name], item.grad, rtol=1e-5, atol=1e-7)
        assert item.grad.abs().max() > 0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_sequences_shorter_than_the_look_back_work(steps):
    network = small()
    short, mask = batch([steps])
    long = {name: torch.cat([item, torch.randn(1, 6, item.shape[-1])], dim=1) for name, item in short.items()}
    with torch.no_grad():
        torch.testing.assert_close(network(short, mask), network(long, mask_of([steps + 6]))[:, :steps])


def test_a_missing_second_says_nothing_and_spoils_no_gradient():
    network = small()
    inputs, mask = batch([5, 4])
    present = {"audio": torch.ones(2, 5, dtype=torch.bool)}
    with torch.no_grad():
        whole = network(inputs, mask)
        assert torch.equal(network(inputs, mask, present=present), whole)
        present["audio"][0, 2] = False
        missing = network(inputs, mask, present=present)
    assert torch.equal(missing[0, :2], whole[0, :2])
    assert torch.equal(missing[1], whole[1])
    assert not torch.equal(missing[0, 2:], whole[0, 2:])
    inputs["audio"][0, 2] = torch.nan
    answers = network(inputs, mask, present=present)
    assert torch.equal(answers.detach(), missing)
    answers.sum().backward()
    assert all(item.grad.isfinite().all() for item in network.parameters())


def test_a_missing_second_is_not_one_of_zeros():
    network = small()
    inputs, mask = batch([1])
    inputs["audio"][:] = 0
    joined = network._join(inputs, {"audio": torch.zeros(1, 1, dtype=torch.bool)})
    assert (joined[..., :6] == 0).all()
    assert (network._join(inputs, None)[..., :6] != 0).any()


def test_dropout_is_by_modality():
    published = build_network("combined_lstm", list(WIDTHS), dict.fromkeys(WIDTHS, 2), options=SMALL)
    assert [published.get_submodule(f"embed_{name}")[0].p for name in WIDTHS] == [0.1, 0.1, 0.2, 0.2]
    named = NetworkOptions(embed=2, hidden=2, dropout={"audio": 0.0})
    other = build_network("combined_lstm", ["audio", "pose"], {"audio": 1, "pose": 1}, options=named)
    assert (other.embed_audio[0].p, other.embed_pose[0].p) == (0.0, 0.1)


def test_features_that_do_not_fit_are_named():
    network = CombinedLstm(["audio", "text"], {"audio": 990, "text": 3}, options=SMALL)
    inputs = {"audio": torch.zeros(1, 2, 988)}
    with pytest.raises(WeightsError) as caught:
        network(inputs, mask_of([2]))
    text = str(caught.value)
    assert "takes 990 features of audio, the data have 988" in text
    assert "time_columns to true" in text
    assert "needs text" in text


@pytest.mark.parametrize(
    ("name", "modalities", "widths", "part"),
    [
        ("combined_lstm", [], {}, "no modality"),
        ("combined_lstm", ["audio", "audio"], {"audio": 3}, "occurs twice"),
        ("combined_lstm", ["audio", "text"], {"audio": 3}, "'text' has the width none"),
        ("combined_lstm", ["audio"], {"audio": 0}, "width 0"),
        ("combined_lstm", ["a.b"], {"a.b": 3}, "cannot name a modality"),
        ("lstm", ["audio"], {"audio": 3}, "no network 'lstm'"),
        ("text_lstm", ["audio", "text"], {"audio": 3, "text": 2}, "text_lstm got 2 modalities"),
        ("visual_lstm", ["audio", "text"], {"audio": 3, "text": 2}, "visual_lstm got 2 modalities"),
    ],
)
def test_what_cannot_be_built_is_refused(name, modalities, widths, part):
    with pytest.raises(SettingsError, match=part):
        build_network(name, modalities, widths)


@pytest.mark.parametrize(
    "changes",
    [
        {"embed": 0},
        {"hidden": 0},
        {"layers": 1.5},
        {"attention_steps": 0},
        {"window": -1},
        {"modality_dropout": 1.0},
        {"dropout": {"audio": -0.1}},
        {"block_dropout": float("nan")},
    ],
)
def test_sizes_out_of_range_are_refused(changes):
    with pytest.raises(SettingsError, match=next(iter(changes))):
        NetworkOptions(**changes)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_all_networks_are_asked_alike(name):
    torch.manual_seed(0)
    network = build_network(name, ["audio"], {"audio": 7}, options=NetworkOptions(embed=8, hidden=6)).eval()
    inputs, mask = batch([4, 2])
    present = {"audio": torch.tensor([[True, False, True, True]] * 2)}
    with torch.no_grad():
        answers = network({"audio": inputs["audio"]}, mask, [4, 2], present=present)
        features = network.embed({"audio": inputs["audio"]}, mask, [4, 2], present=present)
    assert network.modalities == ("audio",)
    assert network.widths == {"audio": 7}
    assert answers.shape == (2, 4, 1)
    assert features.shape == (2, 4, 8)
    assert (answers[~mask] == 0).all()
    assert (features[1, 2:] == 0).all()
