"""The cross-person memory transformer: golden answers, the loop it replaces, what is missing, ablations, causality."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nbpkg.errors import ExplainError, SettingsError, TableError, WeightsError
from nbpkg.models.people.cross_person.causality import check_causality
from nbpkg.models.people.cross_person.conversations import Conversations, pad_conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.models.people.cross_person.options import MemoryTransformerOptions

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
WIDTHS = {"audio": 3, "pose": 4, "video": 5}
LENGTHS = {"audio": 4, "pose": 2, "video": 3}
SMALL = {"width": 8, "heads": 2, "memory_tokens": 2, "dropout": 0.0}


def load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def loop():
    """The bench's twin: one person and one window after the other."""
    sys.path.insert(0, str(ROOT))
    yield load("cross_person_bench", ROOT / "bench" / "cross_person.py").answer_one_by_one
    sys.path.remove(str(ROOT))


def build(*, seed: int = 0, widths=WIDTHS, classes: int = 3, **changes) -> CrossPersonMemoryTransformer:
    torch.manual_seed(seed)
    network = CrossPersonMemoryTransformer(
        widths, classes, options=MemoryTransformerOptions(**(SMALL | changes))
    ).eval()
    for item in network.parameters():  # what begins at 0 or alike would hide mistakes
        torch.nn.init.normal_(item, std=0.4)
    return network


def draw(rows: int = 2, windows: int = 3, people: int = 3, *, seed: int = 0, missing: float = 0.3) -> Conversations:
    chance = torch.Generator().manual_seed(seed)
    shapes = {name: (rows, windows, people, length) for name, length in LENGTHS.items()}
    tokens = {name: torch.randn(*shape, WIDTHS[name], generator=chance) for name, shape in shapes.items()}
    valid = {name: torch.rand(shape, generator=chance) >= missing for name, shape in shapes.items()}
    return Conversations(tokens, valid, torch.arange(people).expand(rows, -1))


def leave(batch: Conversations, *place) -> Conversations:
    """Hide all that is at a place: rows, windows, people."""
    valid = {name: flags.clone() for name, flags in batch.valid.items()}
    for flags in valid.values():
        flags[place] = False
    return batch._replace(valid=valid)


def test_golden_windows_together_and_one_after_the_other():
    known = json.loads((GOLDEN / "joint_engagement" / "cpmt_ourchoice_open.json").read_text())
    with np.load(GOLDEN / "joint_engagement" / "cpmt_ourchoice_open.npz") as file:
        arrays = {key: torch.from_numpy(item) for key, item in file.items()}
    options = MemoryTransformerOptions(
        width=known["d"], heads=known["heads"], memory_tokens=known["n_mem"], target=known["target"]
    )
    network = CrossPersonMemoryTransformer(known["dims"], known["num_classes"], options=options).eval()
    state = network.state_dict()
    assert {key: list(item.shape) for key, item in state.items()} == known["state_keys"]
    network.load_state_dict(load("people_fill", GOLDEN / "fill.py").fill_state_dict(state))
    names, count = list(known["dims"]), range(known["windows"])
    tokens = {name: torch.stack([arrays[f"w{k}_x_{name}"] for k in count], dim=1) for name in names}
    valid = {name: torch.stack([arrays[f"w{k}_valid_{name}"] for k in count], dim=1) for name in names}
    batch = Conversations(tokens, valid, torch.tensor([known["roles"]] * known["B"]))
    with torch.no_grad():
        together, memory = network(batch), None
        for k in count:
            one = network(batch.take(slice(k, k + 1)), memory)
            memory = one.memory
            for found in (together.logits[:, k], one.logits[:, 0]):
                torch.testing.assert_close(found, arrays[f"w{k}_logits"], rtol=0, atol=1e-4)
            torch.testing.assert_close(memory, arrays[f"w{k}_memory"], rtol=0, atol=1e-4)
    torch.testing.assert_close(together.memory, memory, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"target": "person", "modal_layers": 1},
        {"memory": False},
        {"cross_modal": False},
        {"cross_person": False, "target": "person"},
        {"without": ("pose",)},
        {"without": ("audio", "video"), "memory": False, "cross_person": False},
    ],
)
def test_together_is_as_one_person_and_window_after_the_other(loop, changes):
    """Answers, memory and gradients, also where tokens, people, and everybody in a window are missing."""
    network = build(**changes)
    batch = leave(leave(leave(draw(), 0, 1, 2), 1, 0), 1, 2, slice(0, 2))
    found = []
    for ask in (lambda: network(batch), lambda: loop(network, batch)):
        network.zero_grad()
        logits, memory = ask()
        logits.square().sum().backward()
        gradients = [torch.zeros(1) if item.grad is None else item.grad.clone() for item in network.parameters()]
        found.append([logits.detach(), memory.detach(), *gradients])
    assert found[0][0].shape == ((2, 3, 3, 3) if changes.get("target") == "person" else (2, 3, 3))
    assert sum(bool(item.any()) for item in found[0][2:]) > 20
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("people", [1, 2, 5])
def test_any_number_of_people_in_any_order(people):
    network, batch = build(target="person"), draw(people=people)
    order = torch.arange(people - 1, -1, -1)
    turned = Conversations(
        {name: item[:, :, order] for name, item in batch.tokens.items()},
        {name: item[:, :, order] for name, item in batch.valid.items()},
        batch.roles[:, order],
    )
    with torch.no_grad():
        straight = network(batch).logits
        torch.testing.assert_close(network(turned).logits[:, :, order], straight, rtol=0, atol=1e-5)
        other = network(batch._replace(roles=(batch.roles + 1) % 8)).logits
    assert not torch.allclose(straight, other, atol=1e-3)


def test_what_is_not_there_has_no_influence_and_leaves_gradients_finite():
    network, batch = build(), leave(draw(), 0, 1, 2)
    answers = network(batch)
    spoiled = {name: item.masked_fill(~batch.valid[name][..., None], torch.nan) for name, item in batch.tokens.items()}
    again = network(batch._replace(tokens=spoiled))
    assert torch.equal(again.logits, answers.logits)
    again.logits.sum().backward()
    assert all(item.grad is None or item.grad.isfinite().all() for item in network.parameters())
    gone = leave(batch, slice(None))
    nobody = network(gone)
    assert nobody.logits.isfinite().all()
    assert torch.equal(nobody.memory, network.mem_init.expand(2, 3, -1, -1))


def test_who_is_away_keeps_the_memory_and_comes_back_with_it():
    network, batch = build(target="person"), leave(draw(missing=0.0), slice(None), 1, 0)
    with torch.no_grad():
        first = network(batch.take(slice(0, 1))).memory
        second = network(batch.take(slice(0, 2))).memory
        last = network(batch).memory
    assert torch.equal(second[:, 0], first[:, 0])
    assert not torch.allclose(second[:, 1], first[:, 1], atol=1e-3)
    assert not torch.allclose(last[:, 0], first[:, 0], atol=1e-3)


def test_padding_to_a_batch_changes_no_answer():
    """Recordings with other windows, people, tokens and modalities."""
    network = build()
    long, short = draw(1, 4, 2, seed=1), draw(1, 2, 3, seed=2)
    cut = {
        name: {key: item[..., :2, :] if name == "tokens" else item[..., :2] for key, item in part.items()}
        for name, part in (("tokens", short.tokens), ("valid", short.valid))
    }
    short = Conversations(
        {key: item for key, item in cut["tokens"].items() if key != "pose"},
        {key: item for key, item in cut["valid"].items() if key != "pose"},
        short.roles,
    )
    batch = pad_conversations([long, short])
    assert batch.size == (2, 4, 3)
    with torch.no_grad():
        together = network(batch).logits
        torch.testing.assert_close(together[:1], network(long).logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(together[1:, :2], network(short).logits, rtol=0, atol=1e-5)


def change_person(batch: Conversations, window: int, person: int) -> Conversations:
    tokens = {name: item.clone() for name, item in batch.tokens.items()}
    for item in tokens.values():
        item[:, window, person] += 1
    return batch._replace(tokens=tokens)


@pytest.mark.parametrize("part", ["memory", "cross_person"])
def test_each_ablation_cuts_what_it_names(part):
    """Who else, and what was before, is felt in the whole network and not without the part."""
    whole, cut = build(target="person"), build(target="person", **{part: False})
    batch = draw(missing=0.0)
    window, person, place = {"memory": (0, 0, (slice(None), 1, 0)), "cross_person": (0, 1, (slice(None), 0, 0))}[part]
    changed = change_person(batch, window, person)
    with torch.no_grad():
        moved = [(net(changed).logits - net(batch).logits)[place].abs().max() for net in (whole, cut)]
    assert moved[0] > 1e-3
    assert moved[1] < 1e-6


def test_without_crossing_modalities_a_modality_is_changed_by_itself_only():
    batch = draw(1, 1, 1, missing=0.0)
    louder = batch._replace(tokens={**batch.tokens, "audio": batch.tokens["audio"] + 1})
    with torch.no_grad():
        for crossed in (True, False):
            network = build(cross_modal=crossed)
            assert sorted(network.cm) == (
                ["audio__pose", "audio__video", "pose__audio", "pose__video", "video__audio", "video__pose"]
                if crossed
                else ["audio__audio", "pose__pose", "video__video"]
            )
            change = (network._embed(louder)[0] - network._embed(batch)[0]).abs()[0, 0, 0].amax(dim=-1)
            assert (change[: LENGTHS["audio"]] > 1e-4).all()
            assert (change[LENGTHS["audio"] :] > 1e-4).all() == crossed
            assert crossed or (change[LENGTHS["audio"] :] == 0).all()


def test_a_modality_left_out_is_not_looked_at():
    network, batch = build(without=("audio",)), draw()
    assert not any("audio" in key for key in network.state_dict())
    with torch.no_grad():
        before = network(batch).logits
        changed = batch._replace(tokens={**batch.tokens, "audio": batch.tokens["audio"] + 5})
        assert torch.equal(network(changed).logits, before)
        del changed.tokens["audio"]
        only = batch._replace(tokens=changed.tokens, valid={name: batch.valid[name] for name in changed.tokens})
        assert torch.equal(network(only).logits, before)


@pytest.mark.parametrize("target", ["joint", "person"])
def test_no_answer_changes_by_what_comes_later(target):
    network, batch = build(target=target), draw(windows=4)
    found = check_causality(lambda one: network(one).logits, batch)
    assert found.holds(tolerance=1e-6)
    assert len(found.earlier) == len(found.later) == 3


def test_the_causal_check_finds_a_leak_and_an_answer_that_never_changes():
    network, batch = build(), draw(windows=4)

    def look_ahead(one: Conversations) -> torch.Tensor:
        logits = network(one).logits
        return logits + 0.01 * F.pad(logits[:, 1:], (0, 0, 0, 1))

    leaking = check_causality(look_ahead, batch)
    assert not leaking.holds()
    assert min(leaking.earlier) > 1e-4
    constant = check_causality(lambda one: torch.zeros(2, 4, 3), batch)
    assert not constant.holds()
    with pytest.raises(ExplainError, match="not numbers"):
        check_causality(lambda one: torch.full((2, 4, 3), torch.nan), batch)
    with pytest.raises(ExplainError, match="1 window"):
        check_causality(look_ahead, batch.take(slice(0, 1)))


def test_dropout_is_drawn_in_training_only():
    network, batch = build(dropout=0.3), draw()
    with torch.no_grad():
        assert torch.equal(network(batch).logits, network(batch).logits)
        network.train()
        assert not torch.equal(network(batch).logits, network(batch).logits)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda one: one._replace(roles=one.roles + 7), "Roles are from 7 to 9"),
        (lambda one: one._replace(roles=one.roles[:, :2]), r"Roles are \(2, 2\)"),
        (lambda one: one._replace(valid={"video": one.valid["video"]}), "flags of video"),
        (
            lambda one: one._replace(tokens={**one.tokens, "video": one.tokens["video"][..., :2]}),
            "video have 2 features",
        ),
        (lambda one: one._replace(tokens={**one.tokens, "pose": one.tokens["pose"][:, :2]}), "Tokens of pose are"),
        (lambda one: one._replace(valid={**one.valid, "pose": one.valid["pose"].float()}), "float32"),
        (lambda one: one.take(slice(0, 0)), "at least one recording, window and person"),
        (
            lambda one: Conversations({"smell": one.tokens["pose"]}, {"smell": one.valid["pose"]}, one.roles),
            "no modality",
        ),
    ],
)
def test_batches_that_do_not_fit_are_refused(spoil, words):
    with pytest.raises(WeightsError, match=words):
        build()(spoil(draw()))


def test_a_memory_of_another_size_is_refused():
    with pytest.raises(WeightsError, match=r"memory is \(2, 3, 5, 8\)"):
        build()(draw(), torch.zeros(2, 3, 5, 8))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 9}, "9 cannot be shared"),
        ({"width": 12, "heads": 8}, "12 cannot be shared"),
        ({"heads": 0, "memory_tokens": True}, "2 problems"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"target": "group"}, "joint or person"),
        ({"without": ("smell",)}, "'smell' is to be left out"),
        ({"without": tuple(WIDTHS)}, "No modality is left"),
        ({"widths": {"a__b": 2}}, "'a__b' cannot name"),
        ({"widths": {"keys": 2}}, "'keys' cannot name"),
        ({"widths": {"audio": 0}}, "has the width 0"),
        ({"classes": 0}, "0 classes"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        build(**changes)


def test_recordings_that_do_not_go_together_are_refused():
    with pytest.raises(TableError, match="no recording"):
        pad_conversations([])
    wide = draw()
    wide = wide._replace(tokens={**wide.tokens, "pose": torch.zeros(2, 3, 3, 2, 9)})
    with pytest.raises(TableError, match="pose have 4, 9 features"):
        pad_conversations([draw(), wide])
