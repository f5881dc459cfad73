"""Our own checkpoints: written whole, read strictly, the same bytes for the same content."""

from __future__ import annotations

import hashlib
import json
import math
import resource

import pytest
import torch
from pydantic import ValidationError
from safetensors import safe_open

from nbpkg.errors import StageError, WeightsError
from nbpkg.models.checkpoints import Card, load_network, read_checkpoint, save_checkpoint
from nbpkg.models.network import build_classifier, build_network

FACTS = {
    "encoder": "mc3_18",
    "classes": ("not engaged", "engaged"),
    "task": "people",
    "variable": "attending",
    "clip_ms": 5000,
    "preprocess": {"size": 16, "frames": 4, "mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)},
    "fps": "25/8",
    "train_size": 112,
    "test_size": 160,
    "training": {"epoch": 3, "learning_rate": 1e-4, "folds": [0, 1], "f1": math.nan},
}
CARD = Card(**FACTS)
HEAD = CARD.model_copy(update={"part": "head"})


@pytest.fixture
def head(tmp_path):
    """A small checkpoint: a head."""
    save_checkpoint(tmp_path / "head.safetensors", build_classifier(512, seed=0).state_dict(), card=HEAD)
    return tmp_path / "head.safetensors"


def rewrite_card(path, **changes):
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def test_a_network_comes_back_as_it_was(tmp_path):
    net = build_network("mc3_18", "none", seed=0, size=16, frames=4)
    with torch.no_grad():
        net.encoder.base_model.stem[1].running_mean += 1
    path = tmp_path / "new" / "folder" / "net.safetensors"
    written = save_checkpoint(path, net.state_dict(), card=CARD)
    found, card = load_network(path)
    clip = torch.randn(2, 3, 4, 16, 16)
    with torch.inference_mode():
        assert torch.equal(found(clip), net(clip))
    assert not found.training
    assert sorted(file.name for file in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    assert card.model_copy(update={"training": {}}) == written.model_copy(update={"training": {}})
    assert card.training == {**FACTS["training"], "f1": None}
    assert (card.preprocess.mean, card.fps, card.classes) == (FACTS["preprocess"]["mean"], "25/8", FACTS["classes"])


def test_same_content_same_bytes(tmp_path):
    state = build_classifier(512, seed=0).state_dict()
    turned = dict(reversed(state.items()))
    turned["fc.weight"] = turned["fc.weight"].T.contiguous().T.requires_grad_()  # other strides, same numbers
    for name, item in (("one", state), ("two", turned)):
        save_checkpoint(tmp_path / f"{name}.safetensors", item, card=HEAD)
    for suffix in (".safetensors", ".json"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_slices_of_one_batched_training_can_be_saved(tmp_path):
    weights = torch.randn(5, 2, 512)
    save_checkpoint(tmp_path / "a.safetensors", {"fc.weight": weights[1], "fc.bias": weights[1, :, 0]}, card=HEAD)
    _, state = read_checkpoint(tmp_path / "a.safetensors")
    assert torch.equal(state["fc.weight"], weights[1])
    assert (tmp_path / "a.safetensors").stat().st_size < 6000


def test_saving_over_a_checkpoint_replaces_both_files(head):
    state = build_classifier(512, seed=9).state_dict()
    card = HEAD.model_copy(update={"task": "objects"})
    assert save_checkpoint(head, state, card=card).sha256 != HEAD.sha256
    found, read = read_checkpoint(head)
    assert found.task == "objects"
    assert torch.equal(read["fc.weight"], state["fc.weight"])
    assert sorted(file.name for file in head.parent.iterdir()) == ["head.json", "head.safetensors"]


def test_missing_files_are_told_apart(head, tmp_path):
    with pytest.raises(WeightsError, match="checkpoint is not there"):
        load_network(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="cannot end in '.pt'"):
        save_checkpoint(tmp_path / "other.pt", {}, card=HEAD)
    head.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="card is not there"):
        read_checkpoint(head)


def test_cut_and_changed_weights_are_refused(head):
    whole = head.read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]):
        head.write_bytes(damaged)
        with pytest.raises(WeightsError, match="cut, changed or not those of the card"):
            read_checkpoint(head)


def test_a_file_in_another_format_is_refused_even_with_the_right_hash(head):

    head.write_bytes(b"no weights at all")
    rewrite_card(head, sha256=hashlib.sha256(b"no weights at all").hexdigest())
    with pytest.raises(WeightsError, match="holds no weights"):
        read_checkpoint(head)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version"),
        ({"format": "other"}, "format"),
        ({"classes": ["one"]}, "classes"),
        ({"fps": "1/0"}, "fps: .*fraction above zero"),
        ({"fps": "fast"}, "fps"),
        ({"preprocess": {"size": 16}}, "preprocess.frames"),
        ({"surprise": 1}, "surprise"),
        ({"encoder": "resnet"}, "unknown encoder 'resnet'"),
    ],
)
def test_cards_that_cannot_be_used_say_why(head, changes, words):
    rewrite_card(head, **changes)
    with pytest.raises(WeightsError, match=words):
        read_checkpoint(head)


def test_a_cut_card_is_refused(head):
    card = head.with_suffix(".json")
    card.write_text(card.read_text()[:100])
    with pytest.raises(WeightsError, match="card cannot be used"):
        read_checkpoint(head)


def test_an_incomplete_card_cannot_be_made():
    with pytest.raises(ValidationError, match="clip_ms"):
        Card(**{key: value for key, value in FACTS.items() if key != "clip_ms"})


def test_a_head_is_no_network_and_another_architecture_names_its_keys(head, tmp_path):
    with pytest.raises(WeightsError, match="head without its encoder"):
        load_network(head)
    rewrite_card(head, part="network")
    with pytest.raises(WeightsError) as caught:
        load_network(head)
    assert "122 missing (encoder.base_model.stem.0.weight, " in caught.value.what
    assert "2 unexpected (fc.bias, fc.weight)" in caught.value.what


def test_a_write_that_fails_leaves_the_old_checkpoint(head):
    before = {file.name: file.read_bytes() for file in head.parent.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # the system refuses to write more into a file
    try:
        with pytest.raises(StageError, match="cannot be written"):
            save_checkpoint(head, build_classifier(512, seed=9).state_dict(), card=HEAD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in head.parent.iterdir()} == before


def test_weights_hold_nothing_but_tensors(head):
    with safe_open(head, framework="pt") as file:
        assert file.metadata() is None
        assert sorted(file.keys()) == ["fc.bias", "fc.weight"]
