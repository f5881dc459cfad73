"""Files of maps: what the table says, resumption, damage, and the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg import seeding, tables
from nbpkg.attention.explain import METHODS, Options
from nbpkg.attention.machine import explain_snippets, look_at_clips, read_map
from nbpkg.attention.maps import read_about
from nbpkg.datasets.preprocess import crop, normalise, read_clip
from nbpkg.errors import ExplainError
from nbpkg.models.checkpoints import Card, Preparation
from nbpkg.models.network import build_network
from nbpkg.training.answers import Trained
from nbpkg.video.frames import FrameStore, StoreWriter

OPTIONS = Options(occlusion_radius=(4, 4, 4), occlusion_stride=(4, 8, 8), batch_size=4)
USED = ["gradient", "gradcam", "occlusion"]
PREPARED = Preparation(size=24, frames=4, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("stores"))


def make_stores(folder: Path) -> dict[str, FrameStore]:
    """Write noise as the frames of two sessions."""
    found = {}
    for session in ("s1", "s2"):
        (folder / session).mkdir(parents=True)
        writer = StoreWriter(folder / session, (30, 40), fps=Fraction(25, 8))
        chance = seeding.generator(0, session)
        for _ in range(20):
            writer.add(chance.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        writer.finish()
        writer.close()
        found[session] = FrameStore(folder / session)
    return found


def network(seed: int = 0) -> Trained:
    net = build_network("small", "none", seed=seed, size=24, frames=4)
    card = Card(
        encoder="small",
        classes=("no", "yes"),
        task="eggs",
        variable="smile",
        clip_ms=2000,
        preprocess=PREPARED,
        fps="25/8",
        train_size=24,
        test_size=24,
        sha256=f"{seed:064d}",
    )
    return Trained(net, card)


def snippets() -> pd.DataFrame:
    rows = [
        {"snippet_id": f"{session}_{start}_eggs_smile", "session": session, "task": "eggs", "variable": "smile"}
        | {"start_ms": start, "end_ms": start + 2000, "label": label, "raters": 2, "painted": False}
        for session, start, label in (("s1", 0, 1), ("s1", 2500, 0), ("s2", 400, 1))
    ]
    return tables.from_rows(rows, "snippets")


@pytest.fixture
def make(stores, tmp_path):
    def call(**changes) -> pd.DataFrame:
        arguments = {"snippets": snippets(), "networks": {("eggs", "smile"): network()}}
        arguments |= {"methods": USED, "options": OPTIONS, "folder": tmp_path, "seed": 5}
        arguments |= {"look": look_at_clips(stores, torch.device("cpu")), "randomised": True, **changes}
        return explain_snippets(arguments.pop("snippets"), arguments.pop("networks"), **arguments)

    return call


def bytes_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "maps").iterdir())}


def test_table_and_files_say_the_same(make, stores, tmp_path):
    table = make()
    pd.testing.assert_frame_equal(table, tables.check(table, "maps"))
    assert len(table) == 3 * len(USED) * 3  # both classes of the network, the raters' class of its twin
    assert len(bytes_of(tmp_path)) == 6
    assert set(table["file"]) == {f"maps/{name}" for name in bytes_of(tmp_path)}
    trained = network()
    for row in table.to_dict("records"):
        snippet = snippets().set_index("snippet_id").loc[row["snippet_id"]]
        values = read_map(tmp_path, row)
        assert values.dtype == np.float32
        assert (values.min(), values.max()) == (np.float32(row["minimum"]), np.float32(row["maximum"]))
        assert row["condition"] == ("matching" if row["target"] == snippet["label"] else "opposite")
        assert row["source"] == "network" or row["condition"] == "matching"
        assert (row["layer"] == "encoder.base_model.layers.3") == (row["method"] == "gradcam")
        if row["source"] == "network":
            frames, _ = read_clip(stores[snippet["session"]], snippet["start_ms"], snippet["end_ms"], count=4)
            clip = normalise(torch.from_numpy(crop(frames, 24)), trained.preprocess)
            wanted = METHODS[row["method"]].run(trained.net, clip, [row["target"]], OPTIONS)[row["target"]]
            np.testing.assert_allclose(values, wanted.values, rtol=1e-3, atol=1e-6)
            with torch.no_grad():
                chances = trained.net(clip[None]).softmax(1)[0]
            assert row["probability"] == pytest.approx(float(chances[row["target"]]), abs=1e-5)
            assert row["predicted"] == int(chances.argmax())
    pairs = table[(table["method"] == "gradient") & (table["condition"] == "matching")].groupby("snippet_id")
    for _, rows in pairs:
        one, other = (read_map(tmp_path, row) for row in rows.to_dict("records"))
        assert not np.allclose(one, other)


def test_same_seed_same_bytes_and_another_seed_another_twin(make, tmp_path):
    make(folder=tmp_path / "one")
    make(folder=tmp_path / "two")
    make(folder=tmp_path / "three", seed=6)
    one, two, three = (bytes_of(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert {name for name in one if one[name] != three[name]} == {name for name in one if name.endswith("random.npz")}


def test_finished_files_are_kept_and_damaged_ones_made_again(make, tmp_path):
    table = make()
    files = sorted((tmp_path / "maps").iterdir())
    before = bytes_of(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in files}
    pd.testing.assert_frame_equal(make(), table)
    assert {path: path.stat().st_mtime_ns for path in files} == times
    whole = before[files[0].name]
    middle = len(whole) // 2
    damaged = [
        whole[: len(whole) // 2],
        b"",
        b"no archive",
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    ]
    for content in damaged:
        files[0].write_bytes(content)
        pd.testing.assert_frame_equal(make(), table)
        assert bytes_of(tmp_path) == before
    np.savez(files[1], about=np.frombuffer(json.dumps({"version": 1}).encode(), dtype=np.uint8))
    files[2].unlink()
    pd.testing.assert_frame_equal(make(), table)
    assert bytes_of(tmp_path) == before
    assert {path for path in files[3:] if path.stat().st_mtime_ns != times[path]} == set()


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"networks": {("eggs", "smile"): network(1)}}, 6),
        ({"methods": ["gradient", "occlusion"]}, 6),
        ({"options": replace(OPTIONS, occlusion_fill=1.0)}, 6),
        ({"options": replace(OPTIONS, batch_size=2)}, 0),
        ({"snippets": snippets().assign(start_ms=lambda t: t["start_ms"] + 80)}, 6),
        ({"seed": 9}, 3),
        ({"randomised": False}, 0),
    ],
)
def test_only_what_was_asked_for_is_kept(make, tmp_path, change, again):
    make()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "maps").iterdir()}
    make(**change)
    assert sum(path.stat().st_mtime_ns != time for path, time in before.items()) == again


def test_snippets_without_a_network_are_left_out_and_said(make, capfd):
    assert len(make(snippets=snippets().assign(task=["eggs", "drums", "drums"]), methods=["gradient"])) == 3
    assert "2 snippets are of pairs without a network" in capfd.readouterr().err
    assert make(snippets=snippets().iloc[:0]).empty


def test_networks_that_compute_no_numbers_name_snippet_and_layer(make, tmp_path):
    broken = network()
    with torch.no_grad():
        broken.net.encoder.base_model.layers[2][0].weight[0] = float("nan")
    with pytest.raises(ExplainError, match=r"no finite numbers[\s\S]*s1_0_eggs_smile, network[\s\S]*layers\.2\.0"):
        make(networks={("eggs", "smile"): broken})
    assert not list(tmp_path.rglob("*.npz"))


def test_maps_in_which_nothing_stands_out_are_kept_and_said(make, tmp_path, capfd):
    flat = network()
    torch.nn.init.zeros_(flat.net.classifier.fc.weight)
    table = make(networks={("eggs", "smile"): flat}, methods=["gradcam"])
    rows = table[table["source"] == "network"]
    assert (rows["minimum"] == 0).all()
    assert (rows["maximum"] == 0).all()
    assert "gradcam, layer 'encoder.base_model.layers.3', class 0 is 0 everywhere" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["gradient", "lime"]}, "no explanation method 'lime'"),
        ({"methods": ["gradient", "gradient"]}, "named twice"),
        ({"methods": ["rollout"]}, r"no torch.nn.MultiheadAttention[\s\S]*Snippet s1_0"),
        ({"snippets": snippets().assign(snippet_id=["a/../../b", "c", "d"])}, "cannot be part of a file's name"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(make, change, message):
    with pytest.raises(ExplainError, match=message):
        make(**change)


def test_a_missing_or_damaged_map_is_told(make, tmp_path):
    row = make(methods=["gradient"]).to_dict("records")[0]
    assert read_about(tmp_path / row["file"])["methods"] == ["gradient"]
    with pytest.raises(ExplainError, match="'gradient_7' cannot be read"):
        read_map(tmp_path, {**row, "entry": "gradient_7"})
    (tmp_path / row["file"]).unlink()
    with pytest.raises(ExplainError, match=r"cannot be read[\s\S]*08_compare"):
        read_map(tmp_path, row)
