"""What moves a memory transformer: covers are exact, reach back through the memory alone, and are summed up fairly."""

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg import tables
from nbpkg.attention.people.importance import (
    EVERYTHING,
    TWIN,
    explain_conversations,
    random_twin,
    summarise_importance,
)
from nbpkg.baking.people import PersonRecording
from nbpkg.errors import ExplainError, TableError
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.models.people.cross_person.options import MemoryTransformerOptions

WIDTHS = {"pose": 3, "video": 5}
ROLES = ("parent", "child", "robot")
LENGTHS = {"pose": 2, "video": 4}


def make_network(**how) -> CrossPersonMemoryTransformer:
    sizes = {"width": 8, "heads": 2, "modal_layers": 1, "memory_layers": 1, "person_layers": 1, "memory_tokens": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        options = MemoryTransformerOptions(**{**sizes, "dropout": 0.3, "roles": 3, **how})
        network = CrossPersonMemoryTransformer(WIDTHS, 3, options=options)
        with torch.no_grad():  # at its start, a network hardly answers to anything
            for parameter in network.parameters():
                parameter.add_(0.4 * torch.randn(parameter.shape))
    return network


def make_recording(name="f0", *, windows=5, people=3, away=()) -> PersonRecording:
    """Random tokens; away: (window, person) who is not there."""
    chance = torch.Generator().manual_seed(sum(map(ord, name)))
    tokens, valid = {}, {}
    for modality, width in WIDTHS.items():
        shape = (1, windows, people, LENGTHS[modality])
        tokens[modality] = torch.randn(*shape, width, generator=chance)
        valid[modality] = torch.rand(shape, generator=chance) > 0.1
        for window, person in away:
            valid[modality][0, window, person] = False
    roles = torch.arange(people)[None]
    return PersonRecording(
        name,
        (name,),
        f"family {name}",
        tuple(f"{name}_{window}" for window in range(windows)),
        np.zeros(windows, np.int64),
        ROLES[:people],
        Conversations(tokens, valid, roles),
    )


def answer(network, conversation: Conversations) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(conversation).logits[0].double().softmax(dim=-1)


def explain(network, recordings, lags=2, **how) -> pd.DataFrame:
    return explain_conversations(network, {one.name: one for one in recordings}, lags=lags, system="tried", **how)


# --- covers ---


def test_covers_are_as_if_the_whole_recording_had_been_asked_again():
    network, recording = make_network(), make_recording(away=((2, 1),))
    found = explain(network, [recording], lags=3)
    assert list(found.columns) == [column.name for column in tables.CONTRACTS["people_importance"].columns]
    whole = answer(network, recording.conversations)
    for row in found.itertuples():
        batch, covered = recording.conversations, row.window - row.lag
        valid = {name: flags.clone() for name, flags in batch.valid.items()}
        for name in WIDTHS if row.modality == EVERYTHING else (row.modality,):
            valid[name][0, covered, ROLES.index(row.who)] = False
        without = answer(network, batch._replace(valid=valid))[row.window]
        assert row.value == pytest.approx(float((without - whole[row.window]).abs().sum() / 2), abs=1e-6)
        assert row.flipped == bool(without.argmax() != whole[row.window].argmax())
        assert row.sample_id == f"f0_{row.window}"
    assert found["value"].max() > 0.05
    assert found.loc[found["lag"] == 3, "value"].max() > 0.001
    there = found[found["lag"] == 0].groupby(["window", "who"]).size().unstack()
    assert np.isnan(there.loc[2, "child"])  # nothing to cover
    assert there.drop(index=2).eq(3).all(axis=None)  # two modalities, and all
    assert set(found["lag"]) == {0, 1, 2, 3}


def test_without_a_memory_nothing_reaches_back():
    found = explain(make_network(memory=False), [make_recording()])
    assert found.loc[found["lag"] == 0, "value"].min() > 0
    assert found.loc[found["lag"] > 0, "value"].max() < 1e-6


def test_a_person_alone_cannot_be_covered_in_the_window_answered_for():
    network = make_network()
    found = explain(network, [make_recording(people=1)])
    assert set(found.loc[found["modality"] == EVERYTHING, "lag"]) == {1, 2}
    assert set(found.loc[found["modality"] == "pose", "lag"]) == {0, 1, 2}
    empty = make_recording(windows=2, people=1, away=((0, 0), (1, 0)))
    assert explain(network, [empty]).empty


def test_modalities_that_the_network_does_not_know_are_not_covered():
    found = explain(make_network(without=("video",)), [make_recording()])
    assert set(found["modality"]) == {"pose", EVERYTHING}


def test_the_network_is_left_as_it_was():
    network = make_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    explain(network, [make_recording()])
    assert network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_families_that_taught_the_network_and_other_targets_are_refused():
    with pytest.raises(ExplainError, match="learnt from family 'family f0'"):
        explain(make_network(), [make_recording()], learnt=["family f0"])
    with pytest.raises(ExplainError, match="target 'person'"):
        explain(make_network(target="person"), [make_recording()])
    with pytest.raises(ExplainError, match="-1 windows"):
        explain(make_network(), [make_recording()], lags=-1)


@pytest.mark.parametrize("how", [{}, {"memory": False}, {"cross_person": False}, {"without": ("video",)}])
def test_a_twin_has_the_same_parts_and_other_weights_that_follow_from_the_seed(how):
    network = make_network(**how)
    twin, again, other = (random_twin(network, seed=seed) for seed in (0, 0, 1))
    shapes = [{name: value.shape for name, value in one.state_dict().items()} for one in (network, twin)]
    assert shapes[0] == shapes[1]
    assert torch.equal(twin.head[0].weight, again.head[0].weight)
    assert not torch.equal(twin.head[0].weight, other.head[0].weight)
    assert len(explain(twin, [make_recording()]))


# --- summaries ---


def make_table(values, system="tried") -> pd.DataFrame:
    """Rows of (recording, window, who, modality, lag, value)."""
    columns = ["recording", "window", "who", "modality", "lag", "value"]
    table = pd.DataFrame(values, columns=columns).assign(system=system, flipped=False)
    table["sample_id"] = table["recording"] + "_" + table["window"].astype(str)
    return tables.check(table, "people_importance")


def pick(summary, by, **part) -> pd.Series:
    rows = summary[summary["by"] == by]
    for column, value in part.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_shares_are_of_means_so_that_long_recordings_and_rare_people_count_like_others():
    rows = [
        *[("a", window, "parent", EVERYTHING, 0, 0.3) for window in range(9)],
        ("a", 0, "child", EVERYTHING, 0, 0.1),
        ("b", 0, "parent", EVERYTHING, 0, 0.1),
        ("b", 0, "child", EVERYTHING, 0, 0.1),
        ("c", 0, "parent", EVERYTHING, 0, 0.0),  # nothing moves: no shares
        ("d", 0, "child", EVERYTHING, 0, 0.2),  # no parent, who has no share there
    ]
    found = summarise_importance(make_table(rows), seed=0, resamples=200)
    parent, child = (pick(found, "who", who=who) for who in ("parent", "child"))
    assert parent["share"] == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert child["share"] == pytest.approx((0.25 + 0.5 + 1) / 3)
    assert (parent["value"], parent["n"]) == (pytest.approx((0.3 + 0.1 + 0) / 3), 3)
    assert parent["share_low"] < parent["share"] < parent["share_high"]
    assert pick(found, "lag", lag=0)["share"] == pytest.approx(1)
    assert not (found["by"] == "modality").any()  # whole people only


def test_families_are_what_is_resampled():
    rows = [(name, 0, "parent", "pose", 0, value) for name, value in zip("abcd", (0.1, 0.1, 0.5, 0.5), strict=True)]
    table = make_table(rows)
    alone = pick(summarise_importance(table, seed=0), "modality", modality="pose")
    one = pick(summarise_importance(table, seed=0, families=dict.fromkeys("abcd", "f")), "modality", modality="pose")
    assert alone["low"] < alone["value"] < alone["high"]
    assert one["value"] == pytest.approx(alone["value"])
    assert np.isnan([one["low"], one["high"]]).all()  # one family says nothing about others
    with pytest.raises(TableError, match="'d' has no family"):
        summarise_importance(table, seed=0, families=dict.fromkeys("abc", "f"))


def test_systems_are_summed_up_apart_and_shares_add_up_to_one():
    network, recordings = make_network(), [make_recording(name) for name in ("f0", "f1")]
    both = pd.concat(
        [explain(network, recordings), explain(random_twin(network, seed=0), recordings).assign(system=TWIN)]
    )
    found = summarise_importance(both, seed=0, resamples=200)
    assert set(found["system"]) == {"tried", TWIN}
    sums = found.groupby(["system", "by"])["share"].sum()
    assert np.allclose(sums, 1)
    assert found.loc[found["by"] == "lag", "lag"].tolist() == [0, 1, 2] * 2
    with pytest.raises(TableError, match="No explanation"):
        summarise_importance(tables.empty("people_importance"), seed=0)
