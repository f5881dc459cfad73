"""Trainings over people: a planted rule is learnt, what was cut off ends with the same bytes, nobody looks ahead."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from people_world import conversations, settings

from nbpkg.errors import DivergedError, FoldError, SettingsError, StageError, WeightsError
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.people.answers import load_people_networks, predict_people
from nbpkg.training.people.one_round import Place, Plan, train_round
from nbpkg.training.people.phases import train_people_phase
from nbpkg.training.people.rounds import list_rounds
from nbpkg.training.people.saved import LIST
from nbpkg.training.rounds import Where

CPU = torch.device("cpu")


def run(folder: Path, phase: str, material=None, *, workers: int = 1, seed: int = 0, **how):
    own = (material or conversations()).of_folds("train")
    found = train_people_phase(
        phase, own, settings=settings(**how), earlier={}, where=Where(folder, seed, CPU, workers)
    )
    (folder / LIST).write_text(json.dumps(found.networks))
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossval")
    return folder, run(folder, "crossval", learning={"patience": 10})


def test_a_planted_rule_is_learnt_and_told_in_tables(trained):
    folder, found = trained
    assert found.trials["held_out_accuracy"].min() > 0.9
    assert found.trials["held_out_macro_f1"].min() > 0.9
    assert found.trials["fold"].tolist() == [0, 1, 2]
    assert (found.trials[["n_train", "n_held_out"]] == 32).all(axis=None)
    assert set(found.history["split"]) == {"train", "inner"}
    first = found.history[found.history["round"] == "full_repeat_0_fold_0"]
    losses = first[(first["split"] == "train") & (first["metric"] == "loss")]["value"].to_numpy()
    assert losses[-1] < 0.5 * losses[0]
    chosen = first[(first["metric"] == "macro_f1")].set_index("epoch")["value"]
    assert chosen.idxmax() == found.trials["epoch"].iloc[0]
    assert found.trials["epochs"].iloc[0] == min(20, found.trials["epoch"].iloc[0] + 10)
    lines = (folder / "trainings" / "full_repeat_0_fold_0" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, found.trials["epochs"].iloc[0] + 1))
    assert {"lr", "loss", "top1_acc", "grad_norm", "data_s", "step_s"} <= set(json.loads(lines[0]))


def test_each_clip_is_answered_by_the_network_that_left_it_out(trained):
    folder, found = trained
    networks, material = load_people_networks(folder), conversations()
    table = predict_people(networks, material, system="people", device=CPU, checkpoints=("best", "last"))
    assert len(table) == 2 * 12 * 8
    best = table[table["checkpoint"] == "best"].set_index("sample_id")
    assert set(best.index) == set(material.of_folds("train").clips["sample_id"])
    rows = best.groupby("round")[["truth", "predicted"]].apply(lambda own: (own["truth"] == own["predicted"]).mean())
    trials = found.trials.set_index("round")["held_out_accuracy"]
    assert rows.to_dict() == pytest.approx(trials.to_dict())
    assert np.allclose(best[["p_low", "p_high"]].sum(axis=1), 1)
    test = predict_people(networks[:1], material, system="people", device=CPU, roles=("test",))
    assert set(test["family"]) == {"f12", "f13", "f14", "f15"}
    with pytest.raises(StageError, match="no clip to answer"):
        predict_people(networks, material.of_folds("train"), system="people", device=CPU, roles=("test",))


def test_windows_with_nobody_get_the_shares_of_training_and_later_ones_change_nothing(trained):
    folder, _ = trained
    network = next(one for one in load_people_networks(folder) if one.fold == 0)
    material = conversations()
    name = network.held_out[0]
    one = material.recordings[name]
    flags = {m: valid.clone() for m, valid in one.conversations.valid.items()}
    for valid in flags.values():
        valid[:, 5] = False
    empty = replace(one, conversations=one.conversations._replace(valid=flags))
    changed = replace(material, recordings={**material.recordings, name: empty})
    before, after = (
        predict_people([network], some, system="people", device=CPU).set_index("sample_id").loc[list(one.clips)]
        for some in (material, changed)
    )
    columns = ["p_low", "p_high"]
    assert after[columns].iloc[5].tolist() == pytest.approx(list(network.prior))
    pd.testing.assert_frame_equal(before[columns][:5], after[columns][:5])
    assert (before[columns][6:] - after[columns][6:]).abs().to_numpy().max() > 0


def one_round(folder: Path, tick, **how):
    material, own = conversations().of_folds("train"), settings(learning={"epochs": 5, **how})
    plan = Plan("crossval", own, material.describe("conversation"), 3)
    one = list_rounds("crossval", material.folds, settings=own)[1]
    return train_round(material, one, plan=plan, place=Place(folder, CPU, tick, 0.0))


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_training_cut_off_ends_with_the_same_bytes(tmp_path, optimiser):
    whole = one_round(tmp_path / "whole", lambda _: None, optimiser=optimiser)
    made = []

    def stop(amount: float) -> None:
        made.append(amount)
        if len(made) in (2, 4):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            one_round(tmp_path / "cut", stop, optimiser=optimiser)
    found = one_round(tmp_path / "cut", stop, optimiser=optimiser)
    assert len(made) == 5
    names = [Path(whole.network["file"]), Path(whole.network["last_file"])]
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    timeless = {name: value for name, value in found.trial.items() if name != "seconds"}
    assert timeless == {name: value for name, value in whole.trial.items() if name != "seconds"}
    assert found.history == whole.history
    log = (tmp_path / "cut" / "trainings" / found.trial["round"] / "log.jsonl").read_text().splitlines()
    assert len(log) == 5
    made.clear()
    again = one_round(tmp_path / "cut", made.append, optimiser=optimiser)
    assert made == [5.0]
    assert again.trial == found.trial
    with pytest.raises(StageError, match="learning_rate differ"):
        one_round(tmp_path / "cut", stop, optimiser=optimiser, learning_rate=0.5)


def test_rounds_side_by_side_give_the_same_as_one_after_the_other(tmp_path):
    how = {"learning": {"epochs": 2}, "crossval": {"folds": [0, 2]}}
    tables = [run(tmp_path / str(workers), "crossval", workers=workers, **how) for workers in (1, 2)]
    first, second = (json.loads(json.dumps(found.networks)) for found in tables)
    assert first == second  # with the hashes of the weights
    pd.testing.assert_frame_equal(tables[0].history, tables[1].history)


def test_the_final_network_chooses_its_epoch_unless_it_is_given(tmp_path):
    found = run(tmp_path / "chosen", "final", learning={"epochs": 3})
    (network,) = load_people_networks(tmp_path / "chosen")
    assert set(network.inner) == {"f8", "f9", "f10", "f11"}
    assert set(network.train) == {f"f{number}" for number in range(8)}
    assert found.trials["held_out_accuracy"].isna().all()
    given = run(tmp_path / "given", "final", final={"epochs": 2})
    (network,) = load_people_networks(tmp_path / "given")
    assert (network.inner, len(network.train), network.epoch, network.chosen_by) == ((), 12, 2, "last")
    assert given.trials["epochs"].tolist() == [2]
    weights = [network.best, network.last]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("schedule", [{"schedule": "step", "steps": [1]}, {"schedule": "constant", "warm_up": 0.0}])
def test_rates_follow_the_schedule(tmp_path, schedule):
    run(tmp_path, "crossval", learning={"epochs": 2, "warm_up": 0.0, **schedule}, crossval={"folds": [0]})
    lines = (tmp_path / "trainings" / "full_repeat_0_fold_0" / "log.jsonl").read_text().splitlines()
    falls = 0.1 if schedule["schedule"] == "step" else 1
    assert [json.loads(line)["lr"] for line in lines] == pytest.approx([0.01, 0.01 * falls])


@pytest.mark.parametrize("schedule", [{"schedule": "cosine"}, {"schedule": "step", "steps": [1]}])
def test_a_warm_up_without_end_is_refused_before_anything_is_trained(tmp_path, schedule):
    with pytest.raises(SettingsError, match=r"warm-up of 1 of all steps .* never gets to 0\.01"):
        run(tmp_path, "crossval", learning={"epochs": 2, "warm_up": 1.0, **schedule})
    assert list(tmp_path.iterdir()) == []
    run(tmp_path, "crossval", learning={"epochs": 2, "warm_up": 0.9, **schedule}, crossval={"folds": [0]})


def test_falls_behind_the_end_of_a_shorter_final_training_are_said(tmp_path, capsys):
    learning = {"epochs": 4, "schedule": "step", "steps": [1, 3]}
    run(tmp_path, "final", learning=learning, final={"epochs": 2})
    assert "fall after 3 of 2 epochs" in capsys.readouterr().err
    run(tmp_path, "crossval", learning=learning, crossval={"folds": [0]})
    assert "fall after" not in capsys.readouterr().err


def test_what_must_not_be_is_refused(tmp_path, trained):
    material = conversations()
    where = Where(tmp_path, 0, CPU, 1)
    with pytest.raises(FoldError, match="must not see these sessions: f12, f13, f14"):
        train_people_phase("final", material, settings=settings(), earlier={}, where=where)
    own = material.of_folds("train")
    several = where.__class__(tmp_path, 0, CPU, 1, LaunchSettings(processes=2))
    with pytest.raises(SettingsError, match="launch asks for 2 processes"):
        train_people_phase("final", own, settings=settings(), earlier={}, where=several)
    with pytest.raises(SettingsError, match="folds names 3"):
        run(tmp_path, "crossval", crossval={"folds": [3]})
    parted = own.folds.assign(group=["a"] * len(own.folds))
    with pytest.raises(FoldError, match="in several folds: a"):
        replace(own, folds=parted)
    with pytest.raises(SettingsError, match="sees no pictures"):
        run(tmp_path, "crossval", augment={"variant": "cutout"})
    with pytest.raises(DivergedError):
        run(tmp_path / "far", "final", learning={"learning_rate": 10.0, "optimiser": "sgd", "clip_norm": 0.0,
                                                 "epochs": 300, "warm_up": 0.0, "schedule": "constant"})  # fmt: skip
    folder, _ = trained
    (network, *_) = load_people_networks(folder)
    with pytest.raises(StageError, match="answers low, high"):
        predict_people([network], replace(material, classes=("low", "top")), system="x", device=CPU)
    with pytest.raises(WeightsError):
        replace(network, variant="no_memory").build()
