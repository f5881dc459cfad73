"""Explanations of networks over sequences, on networks whose modality and lag are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.attention.valence.explain import integrated_gradients, lag_profile, occlude
from nbpkg.attention.valence.importance import summarise_importance
from nbpkg.errors import ExplainError, TableError
from nbpkg.models.valence.build import build_network
from nbpkg.models.valence.combined import CombinedLstm
from nbpkg.models.valence.options import NetworkOptions

WIDTHS = {"audio": 4, "text": 3, "v_sub": 2}
STEPS = 40
LAG = 3


def planted(*, weight: float = 1.0) -> CombinedLstm:
    """A network that answers with what the text said three seconds ago, and with a little of the audio."""
    options = NetworkOptions(embed=2, hidden=6, attention_steps=5)
    network = build_network("combined_lstm", list(WIDTHS), WIDTHS, options=options)
    with torch.no_grad():
        for item in network.parameters():
            item.zero_()
        network.embed_text[1].weight[0, 0] = weight
        network.embed_text[1].bias[0] = 5.0  # away from the bend of the ReLU
        network.embed_audio[1].weight[0, 1] = 0.1
        network.embed_audio[1].bias[0] = 5.0
        network.attn[2].bias[LAG] = 200.0
        keep, forget, cell, show = range(0, 24, 6)
        network.lstm.bias_ih_l0[keep : keep + 6] = 20.0
        network.lstm.bias_ih_l0[forget : forget + 6] = -200.0  # no memory but the look back
        network.lstm.bias_ih_l0[show : show + 6] = 20.0
        network.lstm.weight_ih_l0[cell, 2] = network.lstm.weight_ih_l0[cell, 0] = 0.1
        network.lstm.bias_ih_l0[cell] = -1.0
        network.dec_target[0].weight[0, 0] = 1.0
        network.dec_target[0].bias[0] = 5.0
        network.dec_target[2].weight[0, 0] = 1.0
    return network.eval()


def twin(*, seed: int = 1) -> CombinedLstm:
    """The same network, with weights that know nothing."""
    torch.manual_seed(seed)
    options = NetworkOptions(embed=2, hidden=6, attention_steps=5)
    return build_network("combined_lstm", list(WIDTHS), WIDTHS, options=options).eval()


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)
    return {name: random.standard_normal((STEPS, width)).astype(np.float32) for name, width in WIDTHS.items()}


def share(table: pd.DataFrame) -> pd.Series:
    moved = table.assign(value=table["value"].abs()).groupby("modality")["value"].sum()
    return moved / moved.sum()


@pytest.mark.parametrize("fill", ["mean", "missing"])
def test_covering_finds_the_modality_and_not_in_a_twin(inputs, fill):
    found = occlude(planted(), inputs, window_steps=4, stride=2, fill=fill)
    assert list(found.columns) == ["step", "modality", "value"]
    assert found.groupby("modality")["step"].apply(list).to_dict() == {name: list(range(STEPS)) for name in WIDTHS}
    assert share(found)["v_sub"] == 0
    least = 0.8 if fill == "mean" else 0.4  # without audio its constant is gone, too
    assert share(found)["text"] > least
    assert share(occlude(twin(), inputs, window_steps=4, stride=2, fill=fill)).max() < 0.8


def test_covering_is_worth_what_the_answer_moves(inputs):
    """Block by block against the network asked by hand."""
    network = twin()
    found = occlude(network, inputs, modalities=["audio"], window_steps=7, stride=7)

    def ask(audio):
        batch = {name: torch.from_numpy(item)[None] for name, item in (inputs | {"audio": audio}).items()}
        with torch.no_grad():
            return network(batch, torch.ones(1, STEPS, 1, dtype=torch.bool))[0, :, 0].double().numpy()

    for first in range(0, STEPS, 7):
        covered = inputs["audio"].copy()
        covered[first : first + 7] = inputs["audio"].mean(axis=0)
        length = min(7, STEPS - first)  # the last block is shorter
        expected = np.abs(ask(covered) - ask(inputs["audio"])).mean() / length
        np.testing.assert_allclose(found["value"][first : first + length], expected, rtol=1e-3)


def test_batches_change_nothing_and_networks_stay_as_they_were(inputs):
    network = twin().train()
    network.attn[0].weight.requires_grad_(False)
    one, many = (occlude(network, inputs, window_steps=3, stride=1, batch_size=size) for size in (1, 64))
    np.testing.assert_allclose(one["value"], many["value"], rtol=1e-4, atol=1e-8)
    few, all_at_once = (integrated_gradients(network, inputs, steps=9, batch_size=size) for size in (2, 9))
    np.testing.assert_allclose(few.importance["value"], all_at_once.importance["value"], rtol=1e-4, atol=1e-8)
    assert network.training
    assert network.dec_target.training
    assert [item.requires_grad for item in network.attn[0].parameters()] == [False, True]
    assert all(item.grad is None for item in network.parameters())


def test_integrated_gradients_account_for_the_answer(inputs):
    found = integrated_gradients(planted(), inputs, baseline="zero")
    assert abs(found.difference) > 1e-3
    assert found.error < 1e-5
    assert found.accounted == pytest.approx(found.importance["value"].sum())
    assert share(found.importance)["text"] > 0.8
    assert share(found.importance)["v_sub"] == 0
    assert share(integrated_gradients(twin(), inputs, baseline="zero").importance).max() < 0.8
    late = found.importance.query("modality == 'text'").set_index("step")["value"].abs()
    assert (late.iloc[-LAG:] == 0).all()  # nothing is answered that long after the end
    assert late.iloc[:-LAG].min() > 0


def test_integrated_gradients_have_the_sign_of_what_they_do():
    inputs = {name: np.zeros((STEPS, width), np.float32) for name, width in WIDTHS.items()}
    inputs["text"][5, 0], inputs["text"][9, 0] = 1.0, -1.0
    value = integrated_gradients(planted(), inputs, baseline="zero").importance.query("modality == 'text'")
    value = value.set_index("step")["value"]
    assert value[5] > 0 > value[9]
    assert (value.drop([5, 9]) == 0).all()


def test_the_planted_lag_is_found_and_not_in_a_twin(inputs):
    profile = lag_profile(planted(), inputs, lags=range(-2, 9)).set_index(["modality", "lag"])["change"]
    assert profile.idxmax() == ("text", LAG)
    assert profile["text"].idxmax() == profile["audio"].idxmax() == LAG
    assert (profile["text"].drop(LAG) == 0).all()
    assert (profile["v_sub"] == 0).all()
    other = lag_profile(twin(), inputs, lags=range(-2, 9)).set_index(["modality", "lag"])["change"]
    assert (other[:, -1] == 0).all()  # it reads forward only
    assert all(other[name].drop(LAG).max() > 0.2 * other[name, LAG] for name in WIDTHS)


def test_lags_without_an_answer_have_no_value(inputs):
    short = {name: item[:4] for name, item in inputs.items()}
    profile = lag_profile(planted(), short, modalities=["text"], lags=[0, 3, 4]).set_index("lag")["change"]
    assert profile.isna().to_dict() == {0: False, 3: False, 4: True}


def test_missing_seconds_are_not_covered(inputs):
    present = {"text": np.ones(STEPS, bool)}
    present["text"][10:20] = False
    inputs["text"][10:20] = np.nan
    found = occlude(planted(), inputs, present, modalities=["text"], window_steps=1, stride=1).set_index("step")[
        "value"
    ]
    assert (found[10:20] == 0).all()
    assert found[:10].min() > 0
    attributed = integrated_gradients(planted(), inputs, present, modalities=["text"])
    assert attributed.importance["value"].notna().all()
    assert (attributed.importance.set_index("step")["value"][10:20] == 0).all()
    assert attributed.error < 1e-5
    profile = lag_profile(planted(), inputs, present, modalities=["text"])
    assert profile.loc[profile["change"].idxmax(), "lag"] == LAG


def test_an_absent_modality_moves_nothing(inputs):
    torch.manual_seed(0)
    options = NetworkOptions(embed=8, heads=2, window=2)
    network = build_network("cross_modal", list(WIDTHS), WIDTHS, options=options).eval()
    present = {"text": np.zeros(STEPS, bool)}
    found = occlude(network, inputs, present)
    assert share(found)["text"] == 0
    assert (share(found)[["audio", "v_sub"]] > 0.1).all()
    assert lag_profile(network, inputs, present, modalities=["text"])["change"].isna().all()
    del inputs["text"]
    without = occlude(network, inputs)
    np.testing.assert_allclose(without["value"], found.query("modality != 'text'")["value"], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"window_steps": 2, "stride": 3}, "leave seconds uncovered"),
        ({"window_steps": 0, "stride": 0}, "window_steps = 0, stride = 0"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"modalities": ["smell"]}, "cannot be asked about smell"),
    ],
)
def test_questions_without_an_answer_are_refused(inputs, changes, part):
    with pytest.raises(ExplainError, match=part):
        occlude(planted(), inputs, **changes)


def test_recordings_that_cannot_be_explained_are_refused(inputs):
    with pytest.raises(ExplainError, match="'text': 4"):
        occlude(planted(), inputs | {"text": inputs["text"][:4]})
    with pytest.raises(ExplainError, match="seconds"):
        occlude(planted(), {name: item[:0] for name, item in inputs.items()})
    inputs["text"][3, 1] = np.nan
    with pytest.raises(ExplainError, match="text hold numbers that are not finite"):
        integrated_gradients(planted(), inputs)


def test_shares_over_sessions():
    rows = [
        ("AT", session, 0, modality, "occlusion", value)
        for session, values in {"a": (3, -1), "b": (1, 1), "c": (0, 0)}.items()
        for modality, value in zip(("text", "audio"), values, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["system", "session", "step", "modality", "method", "value"])
    found = summarise_importance(table, seed=0).set_index("modality")
    assert found["share"].to_dict() == {"text": 0.625, "audio": 0.375}
    assert (found["n"] == 2).all()  # in c nothing moves the answer
    assert found.loc["text", ["low", "high"]].tolist() == [0.5, 0.75]
    one = summarise_importance(table[table["session"] == "a"], seed=0).set_index("modality")
    assert one["share"].to_dict() == {"text": 0.75, "audio": 0.25}
    assert one[["low", "high"]].isna().all(axis=None)
    nothing = summarise_importance(table[table["session"] == "c"], seed=0)
    assert nothing["share"].isna().all()
    assert (nothing["n"] == 0).all()
    both = summarise_importance(pd.concat([table, table.assign(method="integrated_gradients")]), seed=0)
    assert both.groupby("method")["share"].sum().tolist() == [1.0, 1.0]
    with pytest.raises(TableError, match="No explanation"):
        summarise_importance(table.iloc[:0], seed=0)
