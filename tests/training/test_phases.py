"""The three phases of training on a tiny world: what they choose, what they must not see, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_world
import torch
from killing import kill_in_the_middle, watch
from tiny_world import PAIR, SESSIONS

from nbpkg import tables
from nbpkg.errors import FoldError, SettingsError, StageError, WeightsError
from nbpkg.metrics.evaluation import score_predictions
from nbpkg.models.checkpoints import load_network
from nbpkg.runs.files import write_json
from nbpkg.training.answers import load_networks, predict_samples
from nbpkg.training.final import Searched, train_final
from nbpkg.training.finetune_search import search_finetuning
from nbpkg.training.head_search import pick_head
from nbpkg.training.heads import HeadSettings, initial_heads, train_heads
from nbpkg.training.rounds import Where, list_pairs
from nbpkg.video.frames import FrameStore


def evaluate(folder: Path, known, stores, networks) -> pd.DataFrame:
    write_json(folder / "networks.json", networks)
    how = {"folds": known.folds, "stores": stores, "batch_size": 8, "device": torch.device("cpu")}
    answers = predict_samples(load_networks(folder), known.samples, **how)
    return score_predictions(answers, known.samples, seed=0, resamples=200).set_index(["by", "metric"])


def all_stores(world) -> dict[str, FrameStore]:
    return {session: FrameStore(world.folder / "stores" / session) for session in SESSIONS}


def test_tables_keep_their_contracts(world):
    for phase in ("head_search", "finetune_search", "final"):
        found = world.found[phase]
        for name in ("trials", "settings", "history"):
            tables.check(getattr(found, name), name)
        assert found.settings["chosen"].sum() == 1
        assert not found.trials["failed"].any()
    trials = world.found["head_search"].trials
    assert len(trials) == 6 * 2 * 4  # settings × repetitions × folds left out
    assert sorted(trials["fold"].unique()) == [0, 1, 2, 3]


def test_the_winner_has_the_highest_mean_validation_f1(world):
    found = world.found["head_search"]
    means = found.trials.groupby("setting")["validation_f1"].mean()
    assert found.settings.query("chosen")["setting"].item() == means.idxmax()
    assert found.settings["average_validation_f1"].to_numpy() == pytest.approx(means.to_numpy())


def test_a_round_starts_from_a_head_that_never_saw_its_fold(world):
    """The head of fold k equals one trained by hand on the rows of the other folds alone."""
    found = world.found["head_search"]
    chosen = found.settings.query("chosen").iloc[0]
    for fold in world.material.numbers:
        train, validation = world.material.rows(PAIR, fold)
        assert not set(world.material.sessions(without=fold)) & {f"s{2 * fold}", f"s{2 * fold + 1}"}
        setting = HeadSettings(*(np.array([chosen[name]]) for name in HeadSettings.__dataclass_fields__))
        from nbpkg import seeding

        start = initial_heads([seeding.child(0, PAIR.name, "head", fold, 0)], train[0].shape[1])
        runs = train_heads(train, validation, settings=setting, weights=start, epochs=6, window=2, warm_up=1)
        weight, _ = pick_head(found.heads, PAIR, f"fold{fold}", where="here")
        assert weight.numpy() == pytest.approx(runs.last.weight[0], abs=1e-5)


def test_published_leakage_comes_back_only_when_asked_for(world, tmp_path):
    """compat: reference starts all rounds from one head; the rounds then differ from ours."""
    heads = world.found["head_search"].heads
    where = Where(tmp_path, 0, tiny_world.CPU, 0)
    settings = tiny_world.FINETUNE.model_copy(update={"settings": 1, "epochs": 0})
    shared = search_finetuning(world.material, [PAIR], settings=settings, heads=heads, shared=True, where=where)
    where = Where(tmp_path / "ours", 0, tiny_world.CPU, 0)
    ours = search_finetuning(world.material, [PAIR], settings=settings, heads=heads, shared=False, where=where)
    assert (shared.trials["best_epoch"] == 0).all()
    assert not np.allclose(shared.trials["validation_loss"], ours.trials["validation_loss"])


def test_the_final_network_is_that_of_the_best_epoch_and_knows_its_sessions(world):
    folder = world.folder / "phases" / "final"
    net, card = load_network(folder / world.found["final"].networks[0]["file"])
    assert card.training["sessions"] == SESSIONS[:6]
    assert card.training["validation_fold"] == 3
    trials = world.found["final"].trials.set_index("part")
    assert card.training["epochs"] == trials.loc["network", "best_epoch"]
    clips = world.material.clips(PAIR, 3, chunks=1, seed=0).validation
    scores = torch.stack([net(clips[i][0][None])[0] for i in range(len(clips))])
    labels = torch.tensor(clips.labels)
    balance = world.material.balance(PAIR, 3) if trials.loc["network", "class_weights"] else (1.0, 1.0)
    loss = torch.nn.functional.cross_entropy(scores, labels, weight=torch.tensor(balance)).item()
    assert loss == pytest.approx(trials.loc["network", "validation_loss"], rel=1e-3)


def test_the_network_learns_what_is_there_and_nothing_from_shuffled_labels(world, tmp_path):
    folder = world.folder / "phases" / "final"
    metrics = evaluate(folder, tiny_world.make_tables(), all_stores(world), world.found["final"].networks)
    learnt = metrics.loc["all", "balanced_accuracy"]
    assert learnt["value"] >= 0.85
    assert learnt["low"] > 0.5

    material = tiny_world.make_material(tmp_path, shuffled=True, stores=all_stores(world))
    found = tiny_world.run_phases(material, tmp_path / "phases")
    shuffled = tiny_world.make_tables(shuffled=True)
    metrics = evaluate(tmp_path / "phases" / "final", shuffled, all_stores(world), found["final"].networks)
    nothing = metrics.loc["all", "balanced_accuracy"]
    # Two test sessions: their interval may lie above one half by luck, the score may not come near what is learnt.
    assert nothing["value"] < min(0.75, learnt["value"] - 0.1)


def test_the_test_fold_touches_nothing_before_evaluation(world, tmp_path):
    """Noise for its frames, wrong labels, no spans: heads, settings, epochs and networks keep their bytes."""
    poisoned = tiny_world.make_material(tmp_path, poisoned=True)
    found = tiny_world.run_phases(poisoned, tmp_path / "phases")
    before, after = (
        tiny_world.results(one, folder)
        for one, folder in ((world.found, world.folder / "phases"), (found, tmp_path / "phases"))
    )
    assert len(before) > 20
    assert before == after
    stores = {session: FrameStore(tmp_path / "stores" / session) for session in SESSIONS}
    assert (stores["s8"].frames([3]) != all_stores(world)["s8"].frames([3])).any()
    clean = evaluate(
        world.folder / "phases" / "final", tiny_world.make_tables(), all_stores(world), found["final"].networks
    )
    noisy = evaluate(tmp_path / "phases" / "final", tiny_world.make_tables(), stores, found["final"].networks)
    score = ("all", "balanced_accuracy")
    assert noisy.loc[score]["value"] != clean.loc[score]["value"]  # 06 is where it is seen


@pytest.mark.parametrize("name", ["samples", "folds", "spans", "tasks", "draws", "index"])
def test_material_refuses_a_test_session(world, name):
    from dataclasses import replace

    table = getattr(world.material, name)
    strange = pd.concat([table, table.head(1).assign(session="s9", role="test", fold=4)])
    with pytest.raises(FoldError, match=r"training must not see: s9"):
        replace(world.material, **{name: strange})


def test_retraining_uses_all_training_folds(world, tmp_path):
    settings = tiny_world.FINAL.model_copy(update={"retrain": True})
    searched = Searched(world.found["head_search"].settings, world.found["finetune_search"].settings)
    where = Where(tmp_path, 0, tiny_world.CPU, 0)
    how = {"settings": settings, "fold": 0, "searched": searched, "where": where}
    found = train_final(world.material, [PAIR], **how)
    _, card = load_network(tmp_path / found.networks[0]["file"])
    epochs = int(found.trials.set_index("part").loc["network", "best_epoch"])
    assert card.training["retrained_on_all_folds"] == (epochs > 0)
    assert card.training["sessions"] == (SESSIONS[:8] if epochs else SESSIONS[2:8])


def test_a_parameter_that_nobody_gives_is_named(world, tmp_path):
    where = Where(tmp_path, 0, tiny_world.CPU, 0)
    how = {"fold": -1, "searched": Searched(None, None), "where": where}
    with pytest.raises(SettingsError, match=r"train.final.head.learning_rate"):
        train_final(world.material, [PAIR], settings=tiny_world.FINAL, **how)
    with pytest.raises(SettingsError, match=r"validation_fold is 4"):
        train_final(world.material, [PAIR], settings=tiny_world.FINAL, **{**how, "fold": 4})


def test_unknown_pairs_are_named(world):
    assert list_pairs(world.material.samples, []) == [PAIR]
    with pytest.raises(SettingsError, match=r"train.pairs names play/smiling"):
        list_pairs(world.material.samples, ["play/smiling"])


def test_a_fold_with_a_single_class_is_named(world):
    from dataclasses import replace

    draws = world.material.draws.assign(label=1)
    with pytest.raises(FoldError, match=r"all \d+ training clips of play looking are of class 1"):
        replace(world.material, draws=draws).rows(PAIR, 2)
    with pytest.raises(FoldError, match="class 1"):
        replace(world.material, draws=draws).balance(PAIR, 2)


def test_a_head_that_is_not_there_is_named():
    with pytest.raises(WeightsError, match=r"There is no head 'play/looking/fold7'"):
        pick_head({}, PAIR, "fold7", where="here")


def test_a_diverging_setting_fails_alone(world, tmp_path):
    """A learning rate without measure: its trainings are marked, the other setting wins."""
    space = {"learning_rate": [1e20, 1e-3], "settings": 4, "epochs": 2}
    settings = tiny_world.FINETUNE.model_copy(update=space)
    where = Where(tmp_path, 0, tiny_world.CPU, 0)
    heads = world.found["head_search"].heads
    found = search_finetuning(world.material, [PAIR], settings=settings, heads=heads, shared=False, where=where)
    rates = found.settings.set_index("learning_rate")
    assert set(found.settings["learning_rate"]) == {1e20, 1e-3}
    assert rates.loc[[1e20], "average_validation_f1"].isna().all()
    assert found.settings.query("chosen")["learning_rate"].item() == 1e-3


def test_a_diverging_final_training_stops_and_says_where(world, tmp_path):
    settings = tiny_world.FINAL.model_copy(deep=True)
    fine = settings.finetune.model_copy(update={"learning_rate": 1e20})
    settings = settings.model_copy(update={"finetune": fine})
    searched = Searched(world.found["head_search"].settings, world.found["finetune_search"].settings)
    where = Where(tmp_path, 0, tiny_world.CPU, 0)
    with pytest.raises(StageError, match=r"(?s)epoch 1.*learning_rate"):
        train_final(world.material, [PAIR], settings=settings, fold=-1, searched=searched, where=where)


def test_tpe_search_runs_and_is_repeatable(world, tmp_path):
    from nbpkg.training.head_search import search_heads

    settings = tiny_world.SEARCH.model_copy(update={"sampler": "tpe", "settings": 12, "epochs": 2})
    one, two = (
        search_heads(world.material, [PAIR], settings=settings, where=Where(tmp_path / name, 0, tiny_world.CPU, 0))
        for name in ("one", "two")
    )
    pd.testing.assert_frame_equal(one.settings, two.settings)
    assert one.settings["setting"].tolist() == list(range(12))


@pytest.mark.parametrize("phase", ["bake", "head_search", "finetune_search"])
def test_killed_and_run_again_gives_the_same_bytes(world, nursery, phase):
    """SIGKILL at random moments; what a stage would write is the same as without."""
    whole, work = world.folder / f"whole_{phase}", world.folder / f"killed_{phase}"
    for folder in (whole, work):
        folder.mkdir()
    course, run = watch(lambda: nursery.start(tiny_world.work, whole, phase, world.ready), whole)
    assert len(run.result()) >= 5
    kill_in_the_middle(lambda: nursery.start(tiny_world.work, work, phase, world.ready), work, whole=course)
    assert nursery.start(tiny_world.work, work, phase, world.ready).result() == run.result()


class CountingStore(FrameStore):
    """A frame store that counts how often each frame is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.read = np.zeros(len(self), int)

    def frames(self, indices):
        np.add.at(self.read, np.asarray(indices, dtype=int), 1)
        return super().frames(indices)


def test_evaluation_reads_no_frame_twice_however_many_networks_and_overlaps(world):
    known = tiny_world.make_tables()
    folder = world.folder / "phases" / "final"
    write_json(folder / "networks.json", world.found["final"].networks)
    (one,) = load_networks(folder).values()
    both = {PAIR: one, (PAIR.task, "smiling"): one}
    samples = pd.concat(
        [known.samples, known.samples.assign(variable="smiling", sample_id="x" + known.samples["sample_id"])]
    )
    overlapping = samples.assign(
        start_ms=samples["start_ms"] + 1000,
        end_ms=samples["end_ms"] + 1000,
        clip_id="b" + samples["clip_id"],
        sample_id="b" + samples["sample_id"],
    )
    overlapping = overlapping[overlapping["end_ms"] <= 1000 * tiny_world.SECONDS]
    stores = {session: CountingStore(world.folder / "stores" / session) for session in SESSIONS}
    asked = pd.concat([samples, overlapping], ignore_index=True)
    found = predict_samples(both, asked, folds=known.folds, stores=stores, batch_size=5, device=tiny_world.CPU)
    assert len(found) == len(asked)
    assert max(store.read.max() for store in stores.values()) == 1
    assert set(found["role"]) == {"train", "validation", "test"}
    alone = predict_samples(
        {PAIR: one}, known.samples, folds=known.folds, stores=stores, batch_size=8, device=tiny_world.CPU
    )
    same = found.set_index("sample_id").loc[alone["sample_id"], "score"].to_numpy()
    assert alone["score"].to_numpy() == pytest.approx(same, abs=1e-5)


def test_a_checkpoint_of_another_architecture_names_its_keys(world, tmp_path):
    import json
    import shutil

    shutil.copytree(world.folder / "phases" / "final" / "networks", tmp_path / "networks")
    card = tmp_path / "networks" / "play" / "looking.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    card.write_text(json.dumps({**content, "encoder": "r3d_18"}), encoding="utf-8")
    write_json(tmp_path / "networks.json", world.found["final"].networks)
    with pytest.raises(WeightsError, match=r"(?s)do not fit.*r3d_18.*stem"):
        load_networks(tmp_path)
    card.write_text(json.dumps(content), encoding="utf-8")
    entry = {**world.found["final"].networks[0], "sha256": "0" * 64}
    write_json(tmp_path / "networks.json", [entry])
    with pytest.raises(WeightsError, match="not the one that the final phase wrote down"):
        load_networks(tmp_path)


def test_median_pruning_stops_settings_and_still_chooses_a_whole_one(world, tmp_path):
    space = {"settings": 8, "epochs": 1, "pruner": "median", "chunks": 1}
    settings = tiny_world.FINETUNE.model_copy(update=space)
    where = Where(tmp_path, 0, tiny_world.CPU, 0)
    heads = world.found["head_search"].heads
    found = search_finetuning(world.material, [PAIR], settings=settings, heads=heads, shared=False, where=where)
    assert len(found.settings) == 8
    whole = found.settings[found.settings["average_validation_f1"].notna()]
    assert whole["n"].eq(4).all()
    assert found.settings.query("chosen")["setting"].item() in set(whole["setting"])
