"""Faithfulness: a map of what a network uses does better than a random one, and follows its weights."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nbpkg.attention.explain import Options, randomise
from nbpkg.attention.faithfulness import (
    delete_and_insert,
    explain_by,
    list_blocks,
    measure_faithfulness,
    randomisation,
)
from nbpkg.attention.faithfulness_scores import MAP, RANDOM, average_curves, measure_areas
from nbpkg.attention.machine import look_at_clips
from nbpkg.datasets.preprocess import Preprocess
from nbpkg.errors import ExplainError
from nbpkg.models.checkpoints import Card, Preparation
from nbpkg.models.encoders import ENCODERS
from nbpkg.models.network import build_network
from nbpkg.training.answers import Trained
from nbpkg.video.frames import FrameStore, StoreWriter

FRAMES, SIZE = 4, 16
SETTINGS = {"steps": 8, "fill": "mean", "batch_size": 3, "seed": 5}
CPU = torch.device("cpu")


class Corner(nn.Module):
    """Says class 1 as far as the left upper eighth of the picture is bright in the first half of the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(6.0))
        self.dropout = nn.Dropout(0.5)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        bright = self.dropout(clips)[:, :, :2, :8, :8].mean(dim=(1, 2, 3, 4))
        return torch.stack([torch.zeros_like(bright), self.gain * (bright - 0.5)], dim=1)


def corner_map() -> np.ndarray:
    values = np.zeros((FRAMES, SIZE, SIZE), np.float32)
    values[:2, :8, :8] = 1
    return values


@pytest.fixture(scope="module")
def bright() -> torch.Tensor:
    return torch.ones(3, FRAMES, SIZE, SIZE)


def test_the_right_map_takes_everything_at_once_and_gives_it_back(bright):
    curves = delete_and_insert(Corner(), bright, corner_map(), target=1, **SETTINGS)
    high, low = 1 / (1 + np.exp(-3.0)), 1 / (1 + np.exp(3.0))
    assert np.allclose(curves.share, np.arange(9) / 8)
    assert np.allclose(curves.deletion, [high, *[low] * 8])
    assert np.allclose(curves.insertion, [low, *[high] * 8])
    # what is removed at random is as much of the corner as of the rest, so that both areas are middling
    assert curves.area("deletion") < 0.15 < 0.3 < curves.area("random_deletion") < 0.7
    assert curves.area("insertion") > 0.85 > 0.7 > curves.area("random_insertion") > 0.3
    assert curves.area("deletion") == pytest.approx((high + low) / 16 + 7 / 8 * low)


def test_the_other_class_and_a_wrong_map_mirror_it(bright):
    right = delete_and_insert(Corner(), bright, corner_map(), target=1, **SETTINGS)
    other = delete_and_insert(Corner(), bright, corner_map(), target=0, **SETTINGS)
    wrong = delete_and_insert(Corner(), bright, -corner_map(), target=1, **SETTINGS)
    assert np.allclose(other.deletion, 1 - right.deletion)
    assert np.allclose(wrong.deletion, right.insertion[::-1])
    assert np.allclose(wrong.insertion, right.deletion[::-1])


def test_a_coarse_map_is_enlarged_and_compared_with_coarse_random_orders(bright):
    coarse = np.zeros((2, 2, 2), np.float32)
    coarse[0, 0, 0] = 1
    curves = delete_and_insert(Corner(), bright, coarse, target=1, **SETTINGS)
    assert curves.area("deletion") < 0.2 < 0.35 < curves.area("random_deletion")
    fine = delete_and_insert(Corner(), bright, corner_map(), target=1, **{**SETTINGS, "orders": 40})
    blocks = delete_and_insert(Corner(), bright, coarse, target=1, **{**SETTINGS, "orders": 40})
    # single pixels go evenly, whole eighths do not; both are middling on average
    assert abs(fine.random_deletion[4] - 0.5) < 0.05
    assert 0.3 < blocks.random_deletion[4] < 0.7


def test_a_constant_map_is_a_random_order(bright):
    many = {**SETTINGS, "orders": 60}
    flat = [
        delete_and_insert(Corner(), bright, np.full((2, 4, 4), 3.0), target=1, **{**many, "orders": 1, "seed": seed})
        for seed in range(30)
    ]
    known = delete_and_insert(Corner(), bright, np.full((2, 4, 4), 3.0), target=1, **many)
    assert np.mean([one.area("deletion") for one in flat]) == pytest.approx(known.area("random_deletion"), abs=0.05)


def test_same_seed_same_curves_whatever_the_batch_and_another_seed_others(bright):
    values = np.zeros((2, 4, 4))
    first = delete_and_insert(Corner(), bright, values, target=1, **SETTINGS)
    again = delete_and_insert(Corner(), bright, values, target=1, **{**SETTINGS, "batch_size": 100})
    other = delete_and_insert(Corner(), bright, values, target=1, **{**SETTINGS, "seed": 6})
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first.deletion, other.deletion)


@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_ends_are_the_clip_and_the_fill(fill):
    net = build_network("small", "none", seed=0, size=SIZE, frames=FRAMES)
    clip = torch.randn(3, FRAMES, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    curves = delete_and_insert(net, clip, corner_map(), target=1, **{**SETTINGS, "fill": fill})
    with torch.no_grad():
        whole = float(net(clip[None]).softmax(dim=1)[0, 1])
        empty = float(net(torch.zeros_like(clip)[None]).softmax(dim=1)[0, 1])
    assert curves.deletion[0] == curves.random_deletion[0] == pytest.approx(whole, abs=1e-6)
    assert curves.insertion[-1] == curves.random_insertion[-1] == pytest.approx(whole, abs=1e-6)
    assert (curves.deletion[-1] == pytest.approx(empty, abs=1e-6)) == (fill == "mean")
    assert curves.deletion[-1] == pytest.approx(curves.insertion[0], abs=1e-6)


def test_blur_keeps_the_mean_and_loses_detail():
    stripes = torch.zeros(3, FRAMES, SIZE, SIZE)
    stripes[..., ::2] = 1
    seen = []

    class Watch(nn.Module):
        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            seen.append(clips)
            return torch.zeros(len(clips), 2)

    delete_and_insert(Watch(), stripes, corner_map(), target=0, **{**SETTINGS, "fill": "blur"})
    blurred = seen[2][-1]  # three calls of three clips each for a curve; the last clip is all fill
    assert torch.allclose(blurred.mean(), torch.tensor(0.5), atol=0.05)
    assert blurred.std() < 0.05


def test_the_network_is_left_as_it_was(bright):
    net = Corner().train()
    net.dropout.eval()
    delete_and_insert(net, bright, corner_map(), target=1, **SETTINGS)
    assert net.training
    assert not net.dropout.training
    assert net.gain.grad is None
    assert net.gain.requires_grad
    with pytest.raises(ExplainError):
        delete_and_insert(net, bright, corner_map(), target=2, **SETTINGS)
    assert net.training


@pytest.mark.parametrize(
    "changes",
    [
        {"values": np.zeros((4, 4))},
        {"values": np.full((1, 2, 2), np.nan)},
        {"values": np.zeros((0, 2, 2))},
        {"steps": 0},
        {"orders": 0},
        {"fill": "black"},
        {"target": -1},
    ],
    ids=str,
)
def test_impossible_tests_are_refused(bright, changes):
    values = changes.pop("values", corner_map())
    with pytest.raises(ExplainError):
        delete_and_insert(Corner(), bright, values, **{"target": 1, **SETTINGS, **changes})


explain = explain_by(["gradient"], Options())["gradient"]


@pytest.fixture(scope="module")
def net():
    return build_network("small", "none", seed=0, size=24, frames=FRAMES)


@pytest.fixture(scope="module")
def clip() -> torch.Tensor:
    return torch.randn(3, FRAMES, 24, 24, generator=torch.Generator().manual_seed(1))


def test_randomisation_goes_down_block_by_block_and_leaves_the_network(net, clip):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen, last = [], {}

    def watch(one):
        state = one.state_dict()
        # ones and zeros of batch normalisation are what it begins with, too
        seen.append({name for name, value in state.items() if not torch.equal(value, before[name])})
        last.update(state)
        return explain(one, clip, 1)

    torch.manual_seed(3)
    state = torch.get_rng_state()
    stages = randomisation(net, watch, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [stage.block for stage in stages] == ["", "classifier", *(f"layers.{number}" for number in (3, 2, 1, 0))]
    assert [stage.share for stage in stages] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert stages[0].correlation == pytest.approx(1)
    assert stages[-1].correlation < 0.9
    assert [len(names) for names in seen] == [0, 2, 3, 4, 5, 6]
    twin = randomise(net, seed=1).state_dict()
    assert all(torch.equal(value, twin[name]) for name, value in last.items())  # it ends with the random twin
    again = randomisation(net, lambda one: explain(one, clip, 1), seed=1)
    other = randomisation(net, lambda one: explain(one, clip, 1), seed=2)
    assert again == stages
    assert other != stages


def test_a_map_that_ignores_the_weights_fails_the_test_and_one_without_values_is_undefined(net):
    edges = np.random.default_rng(0).random((FRAMES, 6, 6))
    assert all(stage.correlation == pytest.approx(1) for stage in randomisation(net, lambda _: -edges, seed=0))
    flat = randomisation(net, lambda _: np.ones((FRAMES, 6, 6)), seed=0)
    assert all(np.isnan(stage.correlation) and "same everywhere" in stage.reason for stage in flat)
    turns = iter(range(10))

    def fail(_):
        if next(turns) == 2:
            raise ExplainError("All values are 0.")
        return edges

    found = randomisation(net, fail, seed=0)
    assert np.isnan(found[2].correlation)
    assert found[2].reason == "All values are 0."
    assert found[3].correlation == pytest.approx(1)


@pytest.mark.parametrize("name", ["small", "r3d_18", "s3d", "swin3d_t", "mvit_v2_s"])
def test_blocks_hold_every_weight_once_from_the_top_down(name):
    facts = ENCODERS[name]
    whole = build_network(name, "none", seed=0, size=facts.size, frames=facts.frames)
    blocks = list_blocks(whole)
    inside = [id(weight) for _, block in blocks for weight in block.parameters()]
    assert sorted(inside) == sorted(id(weight) for weight in whole.parameters())
    assert blocks[0][0] == "classifier"
    assert 5 <= len(blocks) <= 21
    assert next(blocks[-1][1].parameters()) is next(whole.encoder.parameters())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three sessions, two of them with two snippets; one pair has a network."""
    stores, rows = {}, []
    for number, session in enumerate(["s1", "s2", "s3"]):
        folder = tmp_path_factory.mktemp(session)
        writer = StoreWriter(folder, (24, 40), fps=Fraction(4), encoding="raw", jpeg_quality=90)
        random = np.random.default_rng(number)
        for _ in range(16):
            writer.add(random.integers(0, 255, (24, 40, 3), np.uint8))
        writer.finish()
        writer.close()
        stores[session] = FrameStore(folder)
        for start in (0, 2000)[: 1 + (number < 2)]:
            rows.append((f"{session}_{start}", session, "play", "looking", start, start + 1000, start % 4000 // 2000))
    rows.append(("other", "s1", "rest", "looking", 0, 1000, 1))
    columns = ["snippet_id", "session", "task", "variable", "start_ms", "end_ms", "label"]
    how = Preprocess(24, FRAMES, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
    net = build_network("small", "none", seed=0, size=24, frames=FRAMES)
    card = Card(
        encoder="small",
        classes=("no", "yes"),
        task="play",
        variable="looking",
        clip_ms=1000,
        preprocess=Preparation(**how.to_json()),
        fps="4",
        train_size=24,
        test_size=24,
    )
    return pd.DataFrame(rows, columns=columns), {("play", "looking"): Trained(net, card)}, stores


@pytest.fixture(scope="module")
def table(world):
    snippets, networks, stores = world
    return measure_faithfulness(
        snippets,
        networks,
        {"gradient": explain, "edges": lambda _net, clip, _target: clip.abs().mean(dim=0).numpy()},
        look=look_at_clips(stores, CPU),
        **{**SETTINGS, "steps": 4},
        randomised=3,
    )


def test_the_table_has_every_snippet_method_and_test(table):
    assert list(table.columns) == [
        "snippet_id", "session", "task", "variable", "method", "test", "step", "value", "note",
    ]  # fmt: skip
    assert set(table["snippet_id"]) == {"s1_0", "s1_2000", "s2_0", "s2_2000", "s3_0"}
    assert table.groupby(["snippet_id", "method", "test", "note", "step"]).size().max() == 1
    curves = table[table["test"] != "randomisation"]
    assert set(curves["note"]) == {MAP, RANDOM}
    assert curves.groupby(["snippet_id", "method", "test", "note"]).size().eq(5).all()
    assert curves["value"].between(0, 1).all()
    cascade = table[table["test"] == "randomisation"]
    assert set(cascade["snippet_id"]) == {"s1_0", "s2_0", "s3_0"}  # one of each session before a second of any
    assert (cascade.loc[cascade["method"] == "edges", "value"] - 1).abs().max() < 1e-6
    assert set(cascade["note"]) == {"", "classifier", "layers.0", "layers.1", "layers.2", "layers.3"}


def test_means_and_areas_are_over_snippets_with_intervals_over_sessions(table):
    means = average_curves(table, seed=0, resamples=200)
    one = means.query("method == 'gradient' and test == 'deletion' and note == 'map' and step == 0.5").iloc[0]
    own = table.query("method == 'gradient' and test == 'deletion' and note == 'map' and step == 0.5")
    assert one["value"] == pytest.approx(own["value"].mean())
    assert (one["n"], one["n_groups"]) == (5, 3)
    assert one["low"] <= one["value"] <= one["high"]
    areas = measure_areas(table, seed=0, resamples=200)
    assert list(areas["direction"]) == ["lower" if test == "deletion" else "higher" for test in areas["test"]]
    row = areas.query("method == 'gradient' and test == 'insertion'").iloc[0]
    curves = table.query("method == 'gradient' and test == 'insertion'").groupby(["snippet_id", "note"])
    by_hand = {key: np.trapezoid(part["value"], part["step"]) for key, part in curves}
    assert row["value"] == pytest.approx(np.mean([area for (_, note), area in by_hand.items() if note == MAP]))
    assert row["gain"] == pytest.approx(row["value"] - row["random"])
    down = areas.query("method == 'gradient' and test == 'deletion'").iloc[0]
    assert down["gain"] == pytest.approx(down["random"] - down["value"])
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]


def test_several_pairs_are_also_taken_together_and_undefined_values_left_out(table):
    second = table.assign(variable="laughing", note=table["note"].replace({"classifier": "classifier (why not)"}))
    second.loc[second["note"].str.startswith("classifier"), "value"] = np.nan
    both = average_curves(pd.concat([table, second]), seed=0, resamples=50)
    assert set(both["variable"]) == {"all", "looking", "laughing"}
    at = both[(both["note"] == "classifier") & (both["method"] == "gradient")].set_index("variable")
    assert at["n"].to_dict() == {"all": 3, "looking": 3, "laughing": 0}
    assert np.isnan(at.loc["laughing", "value"])
    assert set(measure_areas(pd.concat([table, second]), seed=0, resamples=50)["variable"]) == {
        "all",
        "looking",
        "laughing",
    }
