"""Pickled networks of the published program: read without its code, and without running anything."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.encoders import build_encoder
from nbpkg.models.network import build_classifier, build_network, load_head
from nbpkg.models.pickled import import_pickled, import_published
from nbpkg.models.weights import load_strictly

# The published classes by name and layout; only their pickles are of interest.
CLASSES = """
import torchvision
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.base_model = torchvision.models.video.mc3_18(weights=None)
        self.base_model.fc = nn.Identity()

class Classifier(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.fc = nn.Linear(512, outputs)

class Net(nn.Module):
    def __init__(self, outputs=2):
        super().__init__()
        self.encoder = Encoder()
        self.classifier = Classifier(outputs)

class Stranger(nn.Linear):
    pass
"""
SCRIPT = """
import copy, torch
from safetensors.torch import save_file
from local.network_models import Classifier, Net, Stranger

torch.manual_seed(4)
net = Net()
with torch.no_grad():
    for item in net.state_dict().values():
        item.add_(torch.rand_like(item)) if item.is_floating_point() else item.add_(7)
save_file(net.state_dict(), "net.safetensors")
torch.save(copy.deepcopy(net), "net.pt")
torch.save(net.classifier, "best_net.pt")
torch.save(net.state_dict(), "state.pt")
torch.save(net.state_dict(), "old.pt", _use_new_zipfile_serialization=False)
torch.save(net.classifier.state_dict(), "head_state.pt")
single = Classifier(1)
save_file(single.state_dict(), "single.safetensors")
torch.save(single, "single.pt")
torch.save(Stranger(2, 2), "stranger.pt")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files as the published program writes them, from a process that has its classes."""
    place = tmp_path_factory.mktemp("published")
    (place / "local").mkdir()
    (place / "local" / "__init__.py").write_text("")
    (place / "local" / "network_models.py").write_text(CLASSES)
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=place, check=True, env=environment)
    assert "local.network_models" not in sys.modules
    return place


def same(found, expected):
    return list(found) == list(expected) and all(torch.equal(found[key], expected[key]) for key in expected)


def write_pickle(path, program: bytes, *, storages: dict[str, bytes] | None = None, how=zipfile.ZIP_STORED):
    """A file in torch's layout around a given pickle."""
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", "little")
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def program_of(value: object, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    pickle.Pickler(stream, protocol).dump(value)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["net.pt", "state.pt", "old.pt", "net.safetensors"])
def test_networks_come_in_from_every_kind_of_file(folder, name):
    expected = load_file(folder / "net.safetensors")
    found = import_published(folder / name)
    assert len(found) == 122
    assert {key: item.tolist() for key, item in found.items() if item.ndim == 0} == dict.fromkeys(
        [key for key in expected if key.endswith("num_batches_tracked")], 7
    )
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    net = build_network("mc3_18", "none", seed=0, size=16, frames=4)
    load_strictly(net, found, what="mc3_18", where=name)


def test_an_encoder_takes_its_weights_from_a_pickled_network(folder):
    """What bake.weights names in a parameter file."""
    expected = load_file(folder / "net.safetensors")
    encoder = build_encoder("mc3_18", folder / "net.pt", seed=0, size=16, frames=4)
    for key, item in encoder.base_model.state_dict().items():
        assert torch.equal(item, expected[f"encoder.base_model.{key}"]), key
    with pytest.raises(WeightsError, match="Stranger"):
        build_encoder("mc3_18", folder / "stranger.pt", seed=0, size=16, frames=4)


def test_a_pickled_network_gives_its_entries_in_its_own_order(folder):
    net = build_network("mc3_18", "none", seed=0, size=16, frames=4)
    assert list(import_pickled(folder / "net.pt")) == list(net.state_dict())
    assert same(import_pickled(folder / "net.pt"), import_pickled(folder / "state.pt"))


@pytest.mark.parametrize("name", ["best_net.pt", "head_state.pt"])
def test_heads_come_in_alone(folder, name):
    expected = load_file(folder / "net.safetensors")
    found = import_published(folder / name)
    assert list(found) == ["fc.weight", "fc.bias"]
    assert all(torch.equal(found[key], expected[f"classifier.{key}"]) for key in found)
    load_head(build_classifier(512, seed=0), found, where=name)


def test_a_single_logit_becomes_class_one(folder):
    expected = load_file(folder / "single.safetensors")
    assert expected["fc.weight"].shape == (1, 512)
    assert same(import_pickled(folder / "single.pt"), {key: expected[key] for key in ("fc.weight", "fc.bias")})
    found = import_published(folder / "single.pt")
    assert torch.equal(found["fc.weight"], torch.cat([torch.zeros(1, 512), expected["fc.weight"]]))
    assert torch.equal(found["fc.bias"], torch.cat([torch.zeros(1), expected["fc.bias"]]))


def test_weights_of_another_network_name_the_keys(folder):
    with pytest.raises(WeightsError, match=r"of another shape \(encoder.base_model.layer2.0.conv1.0.weight is 128×64"):
        import_published(folder / "net.pt", encoder="r3d_18")
    with pytest.raises(WeightsError, match="missing"):
        import_published(folder / "net.pt", encoder="r2plus1d_18")
    with pytest.raises(SettingsError, match="no encoder"):
        import_published(folder / "net.pt", encoder="mc4")


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *values) -> None:
        self.function, self.values = function, values

    def __reduce__(self):
        return self.function, self.values


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (getattr, "getattr"), (torch.load, "load"), (subprocess.run, "run")],
)
def test_a_file_that_wants_to_run_something_is_refused_and_does_not(tmp_path, protocol, function, name):
    marker = tmp_path / "ran"
    call = Call(function, f"touch '{marker}'" if function is os.system else f"open({str(marker)!r}, 'w')")
    hidden = OrderedDict(weight=torch.zeros, inner=call)
    for value in (call, {"fc.weight": call}, [call, hidden]):
        write_pickle(tmp_path / "evil.pt", program_of(value, protocol))
        for read in (import_pickled, import_published):
            with pytest.raises(WeightsError, match=f"'[a-z_0-9.]*{name}'.*nothing of it was run"):
                read(tmp_path / "evil.pt")
    assert not marker.exists()


def test_the_marker_would_show_a_call(tmp_path):
    pickle.loads(program_of(Call(os.system, f"touch '{tmp_path / 'ran'}'")))
    assert (tmp_path / "ran").exists()


def test_unknown_classes_are_refused_by_name(folder):
    with pytest.raises(WeightsError, match=r"'local\.network_models\.Stranger'"):
        import_pickled(folder / "stranger.pt")


def test_names_with_dots_reach_nothing_behind_an_allowed_class(tmp_path):
    program = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(t)]) + t for t in (b"collections", b"OrderedDict.fromkeys"))
    write_pickle(tmp_path / "dots.pt", program + b"\x93.")
    with pytest.raises(WeightsError, match=r"'collections\.OrderedDict\.fromkeys'"):
        import_pickled(tmp_path / "dots.pt")


def test_cut_files_are_refused(folder, tmp_path):
    for name in ("best_net.pt", "net.pt"):
        whole = (folder / name).read_bytes()
        for kept in (0, 10, len(whole) // 3, len(whole) - 30, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:kept])
            for read in (import_pickled, import_published):
                with pytest.raises(WeightsError, match="cut"):
                    read(tmp_path / name)
    with pytest.raises(WeightsError, match="not there"):
        import_pickled(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="not there"):
        import_published(tmp_path / "none.pt")


def test_flipped_bytes_give_an_error_or_the_same_weights(folder, tmp_path):
    whole = (folder / "best_net.pt").read_bytes()
    expected = import_published(folder / "best_net.pt")
    draw = random.Random(0)
    refused = 0
    for _ in range(150):
        place = draw.randrange(len(whole))
        (tmp_path / "x.pt").write_bytes(
            whole[:place] + bytes([whole[place] ^ draw.randrange(1, 256)]) + whole[place + 1 :]
        )
        try:
            found = import_published(tmp_path / "x.pt")
        except WeightsError:
            refused += 1
        else:
            assert same(found, expected)
    assert refused > 50


def test_nonsense_programs_end_in_an_error_of_ours(folder, tmp_path):
    with zipfile.ZipFile(folder / "best_net.pt") as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    whole = members["data.pkl"]
    storages = {name.removeprefix("data/"): item for name, item in members.items() if name.startswith("data/")}
    draw = random.Random(1)
    refused = 0
    for _ in range(400):
        program = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            program[draw.randrange(len(program))] = draw.randrange(256)
        write_pickle(tmp_path / "x.pt", bytes(program), storages=storages)
        try:
            found = import_pickled(tmp_path / "x.pt")
        except WeightsError:
            refused += 1
        else:
            assert all(isinstance(item, torch.Tensor) for item in found.values())
    assert refused > 100


def test_files_that_would_swell_or_never_end_are_refused(tmp_path):
    storage = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
    wide = b"\x80\x02}(X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n" + storage
    holder = b"\x80\x02clocal.network_models\nNet\n)\x81"
    cases = {
        "larger than its storage": (wide + b"K\x00(J\xff\xff\xff\x7ftK\x00\x85\x89NtRu.", zipfile.ZIP_STORED),
        "larger than itself": (b"\x80\x02]r\xff\xff\xff\xef.", zipfile.ZIP_STORED),
        "compressed": (program_of({"a": 0}), zipfile.ZIP_DEFLATED),
        "no module of its own": (
            holder + b"q\x00}X\x08\x00\x00\x00_modules}X\x04\x00\x00\x00selfh\x00ssb.",
            zipfile.ZIP_STORED,
        ),
        "without weights": (holder + b"}b.", zipfile.ZIP_STORED),
        "neither a network": (program_of([1]), zipfile.ZIP_STORED),
        "storage 0 is cut": (wide.replace(b"K\x04tQ", b"K\x05tQ") + b".", zipfile.ZIP_STORED),
    }
    for words, (program, how) in cases.items():
        write_pickle(tmp_path / "x.pt", program, storages={"0": bytes(16)}, how=how)
        with pytest.raises(WeightsError, match=words):
            import_pickled(tmp_path / "x.pt")


def test_numbers_in_another_byte_order_are_refused(folder, tmp_path):
    with zipfile.ZipFile(folder / "best_net.pt") as source, zipfile.ZipFile(tmp_path / "big.pt", "w") as target:
        for name in source.namelist():
            target.writestr(name, b"big" if name.endswith("byteorder") else source.read(name))
    with pytest.raises(WeightsError, match="byte order"):
        import_pickled(tmp_path / "big.pt")
