"""Published checkpoints: every format, the order of modalities, widths, and files that are something else."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from nbpkg.errors import WeightsError
from nbpkg.models.valence.build import build_network
from nbpkg.models.valence.loading import check_widths, infer_modalities, load_combined, load_published
from nbpkg.models.valence.options import NetworkOptions

OPTIONS = NetworkOptions(embed=5, hidden=4, layers=2, attention_steps=4)
WIDTHS = {"text": 3, "audio": 990}


@pytest.fixture
def network():
    torch.manual_seed(3)
    return build_network("combined_lstm", ["text", "audio"], WIDTHS, options=OPTIONS)


def ask(network, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    inputs = {name: torch.randn(2, 6, width) for name, width in network.widths.items()}
    with torch.no_grad():
        return network.eval()(inputs, torch.ones(2, 6, 1, dtype=torch.bool))


class Python2Pickler(pickle._Pickler):
    """Writes text as Python 2.7 did, with which the published checkpoints were made."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_str(self, text: str) -> None:
        raw = text.encode()
        self.write((b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + len(raw).to_bytes(4, "little")) + raw)
        self.memoize(text)

    dispatch[str] = save_str


def write(state, path, layout: str) -> None:
    if layout == "today":
        torch.save(state, path)
    elif layout == "before 1.6":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif layout == "parallel":
        torch.save({f"module.{key}": item for key, item in state.items()}, path)
    elif layout == "python 2":

        def dump(value, file, protocol=2):
            Python2Pickler(file, protocol).dump(value)

        shim = SimpleNamespace(__name__="pickle", dump=dump, Pickler=Python2Pickler)
        torch.save(
            OrderedDict(state), path, pickle_module=shim, pickle_protocol=2, _use_new_zipfile_serialization=False
        )


@pytest.mark.parametrize("layout", ["today", "before 1.6", "parallel", "python 2"])
def test_every_layout_gives_the_network_back(tmp_path, network, layout):
    path = tmp_path / "best.save"
    write(network.state_dict(), path, layout)
    if layout == "python 2":
        assert b"embed_text.1.weight" in path.read_bytes()
        assert b"X\x13\x00\x00\x00embed_text.1.weight" not in path.read_bytes()
    state = torch.get_rng_state()
    found = load_combined(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.modalities == ("text", "audio")
    assert found.widths == WIDTHS
    assert found.options == OPTIONS
    assert not found.training
    assert torch.equal(ask(found), ask(network))


def test_the_published_size_is_recognised(tmp_path, case):
    network = case.filled(build_network("combined_lstm", ["audio", "text"], {"audio": 990, "text": 300}))
    torch.save(network.state_dict(), tmp_path / "a.save", _use_new_zipfile_serialization=False)
    found = load_combined(tmp_path / "a.save", modalities=["audio", "text"])
    assert sum(item.numel() for item in found.parameters()) == 1_841_412
    assert all(torch.equal(item, network.state_dict()[key]) for key, item in found.state_dict().items())


def test_an_order_that_contradicts_the_file_is_an_error(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "a.save")
    assert load_combined(tmp_path / "a.save", modalities=["text", "audio"]).modalities == ("text", "audio")
    for wrong in (["audio", "text"], ["audio"], ["text", "audio", "v_sub"]):
        with pytest.raises(WeightsError, match="text, audio in this order, not for"):
            load_combined(tmp_path / "a.save", modalities=wrong)


@pytest.mark.parametrize("kind", ["safetensors", "sorted"])
def test_a_file_without_order_needs_one_told(tmp_path, network, kind):
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_file(network.state_dict(), path)
    else:
        torch.save(dict(sorted(network.state_dict().items())), path)
    with pytest.raises(WeightsError, match="does not keep the order"):
        load_combined(path)
    found = load_combined(path, modalities=["text", "audio"])
    assert torch.equal(ask(found), ask(network))
    with pytest.raises(WeightsError, match="not for text, v_sub"):
        load_combined(path, modalities=["text", "v_sub"])


def test_a_single_modality_needs_no_order(tmp_path):
    network = build_network("combined_lstm", ["v_act"], {"v_act": 6}, options=OPTIONS)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    assert load_combined(tmp_path / "a.safetensors").modalities == ("v_act",)


@pytest.mark.parametrize(("wide", "part"), [(988, "time_columns to true"), (987, "Use the features")])
def test_data_of_another_width_are_named(tmp_path, network, wide, part):
    torch.save(network.state_dict(), tmp_path / "a.save")
    found = load_combined(tmp_path / "a.save")
    check_widths(found, {"audio": 990, "text": 3, "v_sub": 1}, where="a.save")
    with pytest.raises(WeightsError, match=f"takes 990 features of audio, the data have {wide}") as caught:
        check_widths(found, {"audio": wide, "text": 3}, where="a.save")
    assert part in str(caught.value)
    other = build_network("combined_lstm", ["text", "audio"], WIDTHS | {"audio": wide}, options=OPTIONS)
    before = {key: item.clone() for key, item in other.state_dict().items()}
    with pytest.raises(WeightsError, match=f"takes 990 features of audio, the data have {wide}"):
        load_published(tmp_path / "a.save", other)
    assert all(torch.equal(item, before[key]) for key, item in other.state_dict().items())


def test_weights_go_into_a_network_at_hand(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "a.save")
    torch.manual_seed(9)
    other = build_network("combined_lstm", ["text", "audio"], WIDTHS, options=OPTIONS)
    assert not torch.equal(ask(other), ask(network))
    assert load_published(tmp_path / "a.save", other) is other
    assert torch.equal(ask(other), ask(network))
    turned = build_network("combined_lstm", ["audio", "text"], WIDTHS, options=OPTIONS)
    with pytest.raises(WeightsError, match="text, audio in this order, not for audio, text"):
        load_published(tmp_path / "a.save", turned, modalities=["text", "audio"])
    text = build_network("text_lstm", ["text"], {"text": 3}, options=OPTIONS)
    with pytest.raises(WeightsError, match="of a CombinedLstm, the network is a TextLstm"):
        load_published(tmp_path / "a.save", text)
    smaller = build_network("combined_lstm", ["text", "audio"], WIDTHS, options=NetworkOptions(embed=5, hidden=3))
    with pytest.raises(WeightsError, match="do not fit the network"):
        load_published(tmp_path / "a.save", smaller)


@pytest.mark.parametrize(
    ("name", "modality", "given", "options"),
    [
        ("text_lstm", "text", None, NetworkOptions(embed=5, hidden=4)),
        ("visual_lstm", "v_sub", None, NetworkOptions(embed=5, hidden=4, both_directions=True)),
        ("visual_lstm", "v_act", ["v_act"], NetworkOptions(embed=5, hidden=4, layers=2)),
    ],
)
def test_networks_of_one_modality_are_recognised(tmp_path, name, modality, given, options):
    network = build_network(name, [modality], {modality: 7}, options=options)
    torch.save(network.state_dict(), tmp_path / "model_1_best.pt")
    found = load_published(tmp_path / "model_1_best.pt", modalities=given)
    assert type(found) is type(network)
    assert found.modalities == (modality,)
    assert torch.equal(ask(found), ask(network))
    with pytest.raises(WeightsError, match=f"weights of a {type(network).__name__}"):
        load_combined(tmp_path / "model_1_best.pt", modalities=given)


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda state: state.pop("lstm.bias_hh_l1"), "1 missing .lstm.bias_hh_l1"),
        (lambda state: state.pop("attn.2.weight"), "no entry attn.2.weight"),
        (lambda state: state.update({"extra": torch.zeros(1)}), "1 unexpected .extra"),
        (lambda state: state.update({"embed_audio.1.weight": torch.zeros(7, 990)}), "of another shape"),
        (lambda state: state.update({"dec_target.0.weight": torch.zeros(5)}), "has the shape"),
        (
            lambda state: state.update({"dec_target.0.weight": torch.zeros(5, 0)}),
            "shape",
        ),
        (lambda state: state["attn.0.bias"].fill_(torch.nan), "no finite numbers"),
    ],
)
def test_incomplete_weights_are_refused(tmp_path, network, spoil, part):
    state = dict(network.state_dict())
    spoil(state)
    torch.save(state, tmp_path / "a.save")
    with pytest.raises(WeightsError, match=part):
        load_combined(tmp_path / "a.save", modalities=["text", "audio"])


def test_a_size_that_would_take_all_memory_is_refused_before(tmp_path, network):
    state = dict(network.state_dict())
    state["dec_target.0.weight"] = torch.zeros(5, 10**6)  # an LSTM of such a width takes terabytes
    torch.save(state, tmp_path / "a.save")
    with pytest.raises(WeightsError, match="do not fit together"):
        load_combined(tmp_path / "a.save")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_files_that_are_no_weights_are_not_run(tmp_path, capsys):
    for name, write_it in (
        ("evil", lambda path: path.write_bytes(pickle.dumps({"embed_a.1.weight": Evil()}, protocol=2))),
        ("torch_evil", lambda path: torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=False)),
        ("text", lambda path: path.write_text("valence\n0.1\n")),
        ("empty", lambda path: path.write_bytes(b"")),
        ("other", lambda path: torch.save({"conv.weight": torch.zeros(1)}, path)),
    ):
        path = tmp_path / f"{name}.save"
        write_it(path)
        with pytest.raises(WeightsError) as caught:
            load_published(path)
        assert str(path) in str(caught.value)
    with pytest.raises(WeightsError, match="not there"):
        load_published(tmp_path / "none.save")
    assert capsys.readouterr().out == ""


def test_modalities_are_read_from_entries_only():
    names = ["embed_v_sub.1.weight", "embed_v_sub.1.bias", "embed_audio.1.weight", "embed.2.weight", "attn.0.weight"]
    assert infer_modalities({name: torch.zeros(1) for name in names}) == ("v_sub", "audio")
