"""Steps through recordings: truncated gradients, memory beyond them, padding left out, and something learnt."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nbpkg.errors import DivergedError, SettingsError, TableError
from nbpkg.models.people.cross_person.conversations import Conversations, pad_conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.models.people.cross_person.options import MemoryTransformerOptions
from nbpkg.training.people.losses import LabelLoss
from nbpkg.training.people.recurrent import answer_recordings, learn_recordings

WIDTHS = {"audio": 3, "video": 2}


def build(*, seed: int = 0, std: float = 0.4, **changes) -> CrossPersonMemoryTransformer:
    torch.manual_seed(seed)
    sizes = {"width": 8, "heads": 2, "memory_tokens": 2, "dropout": 0.0, "modal_layers": 1, "person_layers": 1}
    network = CrossPersonMemoryTransformer(WIDTHS, 3, options=MemoryTransformerOptions(**(sizes | changes)))
    for item in network.parameters():
        torch.nn.init.normal_(item, std=std)
    return network


def draw(rows: int, windows: int, people: int = 2, *, seed: int = 0) -> Conversations:
    chance = torch.Generator().manual_seed(seed)
    shape = (rows, windows, people, 3)
    tokens = {name: torch.randn(*shape, width, generator=chance) for name, width in WIDTHS.items()}
    return Conversations(
        tokens,
        {name: torch.rand(shape, generator=chance) > 0.2 for name in WIDTHS},
        torch.arange(people).expand(rows, -1),
    )


def mark(shape: tuple[int, ...], *, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, shape, generator=torch.Generator().manual_seed(seed))


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: item.grad.clone() for name, item in network.named_parameters() if item.grad is not None}
    network.zero_grad()
    return found


def learn(network, batch, labels, **how):
    return learn_recordings(network, batch, labels, **({"loss": LabelLoss(), "backward": torch.Tensor.backward} | how))


def compare(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(wanted)
    for name, item in found.items():
        torch.testing.assert_close(item, wanted[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("target", ["joint", "person"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 9])
def test_gradients_go_back_a_chunk_and_no_further(chunk, target):
    network, batch = build(target=target), draw(2, 5)
    labels = mark((2, 5, 2) if target == "person" else (2, 5))
    labels[0, 3] = -1
    found = learn(network, batch, labels, chunk=chunk)
    own = gradients(network)
    memory, total = None, 0.0
    for start in range(0, 5, chunk):
        answer = network(batch.take(slice(start, start + chunk)), memory)
        memory = answer.memory.detach()
        wanted = labels[:, start : start + chunk]
        losses = F.cross_entropy(answer.logits.flatten(0, -2), wanted.flatten(), ignore_index=-1, reduction="sum")
        total = total + losses / int((labels >= 0).sum())
    total.backward()
    compare(own, gradients(network))
    assert found.loss == pytest.approx(float(total.detach()), rel=1e-5)
    assert found.labels == int((labels >= 0).sum())


def test_chunks_change_gradients_but_no_answers():
    network, batch, labels = build(), draw(2, 6), mark((2, 6))
    with torch.no_grad():
        whole = network(batch).logits
    found = []
    for chunk in (1, 6):
        torch.testing.assert_close(answer_recordings(network, batch, chunk=chunk), whole, rtol=0, atol=1e-5)
        learn(network, batch, labels, chunk=chunk)
        found.append(gradients(network)["gate.weight"])
    assert (found[0] - found[1]).abs().max() > 1e-3 * found[1].abs().max()


def test_every_recording_begins_anew():
    network, batch, labels = build(), draw(2, 4), mark((2, 4))
    first = learn(network, batch, labels)
    own = gradients(network)
    learn(network, draw(2, 4, seed=5), labels)
    network.zero_grad()
    assert learn(network, batch, labels) == first
    compare(gradients(network), own)


@pytest.mark.parametrize("loss", [LabelLoss(), LabelLoss(class_weights=(2.0, 0.5, 1.0)), LabelLoss("focal")])
def test_a_padded_batch_is_learnt_from_as_its_recordings(loss):
    """Windows of padding have labels here, which must not count."""
    network = build()
    recordings = [draw(1, 5, 2, seed=1), draw(1, 2, 3, seed=2), draw(1, 3, 1, seed=3)]
    batch, labels = pad_conversations(recordings), mark((3, 5))
    together = learn(network, batch, labels, loss=loss, chunk=2)
    own = gradients(network)
    counted = torch.cat([labels[row, : one.size[1]] for row, one in enumerate(recordings)])
    for row, one in enumerate(recordings):
        part = labels[row : row + 1, : one.size[1]]
        share = loss.measure(part.flatten()) / loss.measure(counted)
        learn(network, one, part, loss=loss, chunk=2, backward=lambda item, share=share: (item * share).backward())
    compare(own, gradients(network))
    assert together.labels == len(counted)
    answers = answer_recordings(network, batch, chunk=2)
    present = batch.find_present().any(dim=-1)
    assert torch.equal(answers.isnan().any(dim=-1), ~present)
    with torch.no_grad():
        for row, one in enumerate(recordings):
            alone = network(one).logits[0]
            torch.testing.assert_close(answers[row, : len(alone)], alone, rtol=0, atol=1e-5)


def test_recordings_that_are_over_cost_nothing():
    network, seen = build(), []
    network.mem.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    batch = pad_conversations([draw(1, 7, 2, seed=1), draw(1, 2, 2, seed=2)])
    learn(network, batch, mark((2, 7)), chunk=2)
    assert seen == [4, 4, 2, 2, 2, 2, 2]  # recordings times people, window by window


def test_who_comes_late_begins_with_a_memory_that_learns():
    network, batch = build(target="person"), draw(1, 4)
    for flags in batch.valid.values():
        flags[:, :3, 1] = False
    labels = torch.full((1, 4, 2), -1)
    labels[0, 3, 1] = 2
    learn(network, batch, labels, chunk=1)
    assert gradients(network)["mem_init"].abs().max() > 1e-5


def test_the_optimiser_may_step_after_every_chunk():
    network, batch, labels = build(), draw(2, 5), mark((2, 5))
    labels[:, 2:4] = -1  # a chunk without labels: nothing to step on
    losses, steps = [], []

    def backward(loss: torch.Tensor) -> None:
        losses.append(float(loss.detach()))
        loss.backward()

    learn(network, batch, labels, chunk=2, backward=backward, after_chunk=lambda: steps.append(len(losses)))
    assert steps == [1, 2]
    with torch.no_grad():
        logits = network(batch).logits
    wanted = [F.cross_entropy(logits[:, part].flatten(0, 1), labels[:, part].flatten()) for part in (slice(0, 2), [4])]
    assert losses == pytest.approx([float(one) for one in wanted], rel=1e-4)


def test_what_was_shown_before_is_learnt_with_a_memory_only():
    """The label is what the window before showed, which no window shows itself."""
    shown = mark((24, 5), seed=1)
    tokens = {"video": F.one_hot(shown, 3)[..., :2].float()[:, :, None, None]}
    batch = Conversations(tokens, {"video": torch.ones(24, 5, 1, 1, dtype=torch.bool)}, torch.zeros(24, 1).long())
    labels = torch.cat([torch.full((24, 1), -1), shown[:, :-1]], dim=1)
    found = {}
    for memory in (True, False):
        torch.manual_seed(0)
        options = MemoryTransformerOptions(
            width=16, heads=2, memory_tokens=2, dropout=0.0, modal_layers=1, memory_layers=1, memory=memory
        )
        network = CrossPersonMemoryTransformer({"video": 2}, 3, options=options)
        optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=0.01)
        for _ in range(60):
            optimiser.zero_grad()
            found[memory] = learn(network, batch, labels, chunk=5).loss
            optimiser.step()
    assert found[True] < 0.3 < 0.9 < found[False]


def test_losses_that_are_no_numbers_stop_before_the_step():
    network, batch = build(), draw(2, 4)
    batch.tokens["audio"][1, 2] = torch.nan
    batch.valid["audio"][1, 2] = True
    with pytest.raises(DivergedError, match="The loss is nan in windows 2 to 3"):
        learn(network, batch, mark((2, 4)), chunk=2)
    assert all(item.isfinite().all() for item in gradients(network).values())


def test_labels_and_chunks_that_do_not_fit_are_refused():
    network, batch = build(), draw(2, 4)
    labels = mark((2, 4))
    labels[1, 2] = 3
    with pytest.raises(TableError, match=r"\[1, 2\] is labelled 3"):
        learn(network, batch, labels)
    with pytest.raises(TableError, match=r"torch.int64 \(2, 4\)"):
        learn(network, batch, mark((2, 4, 2)))
    with pytest.raises(TableError, match="torch.float32"):
        learn(network, batch, mark((2, 4)).float())
    for call in (
        lambda: learn(network, batch, mark((2, 4)), chunk=0),
        lambda: answer_recordings(network, batch, chunk=0),
    ):
        with pytest.raises(SettingsError, match="go back 0 windows"):
            call()


def test_nothing_to_learn_from_changes_nothing():
    network, batch = build(), draw(2, 3)
    nothing = Conversations(
        batch.tokens, {name: torch.zeros_like(one) for name, one in batch.valid.items()}, batch.roles
    )
    for labels, one in ((mark((2, 3)), nothing), (torch.full((2, 3), -1), batch)):
        found = learn(network, one, labels)
        assert found == (0.0, 0)
        assert gradients(network) == {}
    assert answer_recordings(network, nothing).isnan().all()
