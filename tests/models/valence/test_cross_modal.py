"""The transformer of several modalities: any length, missing modalities and seconds, time only as differences."""

from __future__ import annotations

import pytest
import torch

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.valence.cross_modal import CrossModalBlock, CrossModalTransformer, keep_modalities
from nbpkg.models.valence.options import NetworkOptions

WIDTHS = {"audio": 6, "text": 4, "v_sub": 5}


def build(*, seed: int = 0, **changes) -> CrossModalTransformer:
    torch.manual_seed(seed)
    options = NetworkOptions(**({"embed": 16, "window": 3, "heads": 2} | changes))
    network = CrossModalTransformer(list(WIDTHS), WIDTHS, options=options).eval()
    for name, item in network.named_parameters():  # what begins at 0 would hide mistakes
        if "lags" in name or "nothing" in name:
            torch.nn.init.normal_(item, std=0.5)
    return network


def batch(lengths, *, seed: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    torch.manual_seed(seed)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None])[..., None]
    return {name: torch.randn(len(lengths), max(lengths), width) for name, width in WIDTHS.items()}, mask


@pytest.mark.parametrize("steps", [1, 2, 60, 500])
def test_any_length_works_without_a_modality(steps):
    network = build(window=10)
    inputs, mask = batch([steps])
    present = {"v_sub": torch.zeros(1, steps, dtype=torch.bool)}
    with torch.no_grad():
        answers = network(inputs, mask, present=present)
        assert answers.isfinite().all()
        inputs["v_sub"] = torch.full_like(inputs["v_sub"], torch.nan)
        assert torch.equal(network(inputs, mask, present=present), answers)
        del inputs["v_sub"]
        assert torch.equal(network(inputs, mask), answers)
        inputs["text"] = inputs["text"] + 1
        assert not torch.equal(network(inputs, mask), answers)


def test_missing_seconds_have_no_influence_and_leave_gradients_finite():
    network = build()
    inputs, mask = batch([20])
    present = {name: torch.ones(1, 20, dtype=torch.bool) for name in WIDTHS}
    present["audio"][0, 4:9] = False
    present["text"][0, 6] = present["v_sub"][0, 6] = False  # nothing at all in this second
    answers = network(inputs, mask, present=present)
    inputs["audio"][0, 4:9] = torch.nan
    inputs["text"][0, 6] = torch.inf
    spoiled = network(inputs, mask, present=present)
    assert torch.equal(answers, spoiled)
    spoiled.sum().backward()
    assert all(item.grad is not None and item.grad.isfinite().all() for item in network.parameters())
    inputs["audio"][0, 3] += 1
    assert not torch.equal(network(inputs, mask, present=present), answers)


def test_a_recording_in_which_nothing_is_there_gets_finite_answers():
    network = build()
    inputs, mask = batch([5])
    present = {name: torch.zeros(1, 5, dtype=torch.bool) for name in WIDTHS}
    answers = network(inputs, mask, present=present)
    assert answers.isfinite().all()
    answers.sum().backward()
    assert all(item.grad is None or item.grad.isfinite().all() for item in network.parameters())


def test_padding_and_neighbours_in_the_batch_change_nothing():
    network = build()
    lengths = [3, 17, 8]
    inputs, mask = batch(lengths)
    with torch.no_grad():
        together, features = network(inputs, mask), network.embed(inputs, mask)
        for at, length in enumerate(lengths):
            own = {name: item[at : at + 1, :length] for name, item in inputs.items()}
            alone = network(own, torch.ones(1, length, 1, dtype=torch.bool))
            torch.testing.assert_close(together[at : at + 1, :length], alone, rtol=0, atol=1e-5)
    assert (together[~mask] == 0).all()
    assert (features[~mask[..., 0]] == 0).all()


@pytest.mark.parametrize(("window", "layers"), [(0, 2), (1, 1), (3, 1), (3, 2)])
def test_a_step_sees_its_surroundings_and_no_further(window, layers):
    network = build(window=window, layers=layers)
    inputs, mask = batch([30])
    network = network.double()
    inputs = {name: item.double() for name, item in inputs.items()}
    with torch.no_grad():
        before = network(inputs, mask)
        inputs["audio"][0, 14] += 1
        moved = (network(inputs, mask) != before)[0, :, 0].nonzero().flatten().tolist()
    assert moved == list(range(14 - window * layers, 14 + window * layers + 1))


def test_the_time_elapsed_is_not_known():
    network = build()
    inputs, mask = batch([40])
    with torch.no_grad():
        whole = network(inputs, mask)
        later = network({name: item[:, 13:] for name, item in inputs.items()}, mask[:, 13:])
    inner = slice(6, -6)  # beyond the reach of two layers of three steps
    torch.testing.assert_close(later[:, inner], whole[:, 13:][:, inner], rtol=0, atol=1e-5)
    assert whole.std() > 0.01


@pytest.mark.parametrize("window", [0, 1, 4, 30])
def test_attention_in_blocks_is_attention_under_a_mask(window):
    torch.manual_seed(0)
    options = NetworkOptions(embed=8, heads=2, window=window)
    block = CrossModalBlock(3, options=options).eval()
    torch.nn.init.normal_(block.lags)
    torch.nn.init.normal_(block.nothing)
    streams, there = torch.randn(2, 11, 3, 8), torch.rand(2, 11, 3) > 0.3
    with torch.no_grad():
        torch.testing.assert_close(block._attend(streams, there), attend_naively(block, streams, there))


def attend_naively(block: CrossModalBlock, streams: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Each query with each key it may see, one after the other."""
    query, key, value = block.qkv(streams).chunk(3, dim=-1)
    mixed, depth = torch.zeros_like(streams), streams.shape[-1] // block.heads
    for b, t, m in torch.cartesian_prod(*(torch.arange(size) for size in streams.shape[:3])).tolist():
        seen = [
            (s, n)
            for s in range(max(0, t - block.window), min(streams.shape[1], t + block.window + 1))
            for n in range(streams.shape[2])
            if there[b, s, n]
        ]
        keys = torch.stack([block.nothing[0], *(key[b, s, n] for s, n in seen)])
        values = torch.stack([block.nothing[1], *(value[b, s, n] for s, n in seen)])
        for head in range(block.heads):
            part = slice(head * depth, (head + 1) * depth)
            bias = torch.stack([torch.zeros(()), *(block.lags[head, n, s - t + block.window] for s, n in seen)])
            weights = (keys[:, part] @ query[b, t, m, part] / depth**0.5 + bias).softmax(dim=0)
            mixed[b, t, m, part] = weights @ values[:, part]
    return mixed


def test_training_hides_modalities_but_never_the_last():
    torch.manual_seed(0)
    available = torch.tensor([[True, True, True], [False, True, False], [True, False, True]]).repeat(500, 1)
    keep = keep_modalities(available, share=0.7) & available
    assert keep.any(dim=1).all()
    shares = keep[0::3].float().mean(dim=0)
    assert ((shares > 0.3) & (shares < 0.55)).all()  # 0.3, and a third of 0.7 ** 3 more
    assert keep_modalities(available, share=0.0)[available].all()


def test_hiding_happens_in_training_only():
    network = build(modality_dropout=0.9, block_dropout=0.0, dropout=dict.fromkeys(WIDTHS, 0.0))
    inputs, mask = batch([6])
    with torch.no_grad():
        assert torch.equal(network(inputs, mask), network(inputs, mask))
        network.train()
        assert len({round(float(network(inputs, mask).sum()), 5) for _ in range(20)}) >= 3


def test_a_lagged_signal_is_learnt_also_when_its_twin_is_away():
    """Audio and text tell the same story, three seconds ahead; either alone must do at test time."""
    torch.manual_seed(0)
    options = NetworkOptions(embed=16, heads=2, layers=1, window=4, modality_dropout=0.4, block_dropout=0.0)
    network = CrossModalTransformer(["audio", "text"], {"audio": 2, "text": 2}, options=options)
    signal = torch.randn(16, 60, 1)
    truth = torch.nn.functional.pad(signal[:, :-3], (0, 0, 3, 0))
    inputs = {name: torch.cat([signal, torch.randn(16, 60, 1)], dim=-1) for name in ("audio", "text")}
    mask = torch.ones(16, 60, 1, dtype=torch.bool)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        ((network(inputs, mask) - truth) ** 2).mean().backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        for names in (["audio"], ["text"], ["audio", "text"]):
            error = ((network({name: inputs[name] for name in names}, mask) - truth) ** 2).mean()
            assert error < 0.3 * truth.var(), names


def test_what_does_not_fit_is_refused():
    with pytest.raises(SettingsError, match="heads divides embed"):
        build(embed=10, heads=4)
    inputs, mask = batch([4])
    inputs["text"] = inputs["text"][..., :2]
    with pytest.raises(WeightsError, match="takes 4 features of text, the data have 2"):
        build()(inputs, mask)
    with pytest.raises(WeightsError, match="no modality"):
        build()({}, mask)
