"""Fine-tuning: the published loop, repeatable, resumed, and never dying of a full memory without a word."""

from __future__ import annotations

import copy
import ctypes
import importlib.util
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from killing import kill_in_the_middle, watch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from nbpkg.errors import DivergedError, NbpkgError, SettingsError, StageError, TableError
from nbpkg.models.encoders import Encoder
from nbpkg.models.network import Classifier, Net
from nbpkg.training.finetune import FineTune, fine_tune
from nbpkg.training.history import MEASURES, smooth

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
HOW = FineTune(epochs=3, batch_size=4, learning_rate=0.05, lr_decay=0.1, weight_decay=0.01, window=1, warm_up=0)


def clips(seed: int, count: int = 22) -> TensorDataset:
    x = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, (x[:, 0] + 0.3 * x[:, 1] > 0).long())


def small(*layers: nn.Module) -> nn.Module:
    """A network of fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(5, 8), *layers, nn.Tanh(), nn.Linear(8, 2))


def lively() -> nn.Module:
    """A network with all that makes repeating hard."""
    return small(nn.BatchNorm1d(8), nn.Dropout(0.3))


def run(folder: Path, network: nn.Module | None = None, **changes):
    arguments = {"train": clips, "validation": clips(99, 13), "watch": {"test": clips(98, 5)}, "how": HOW}
    arguments |= {"seed": 1, "device": CPU, "workers": 0, **changes}
    return fine_tune(network or lively(), folder=folder, **arguments)


def losses(trained, split: str = "train") -> np.ndarray:
    return trained.history.splits[split].loss


def same(one, other) -> bool:
    """Whether two results are equal to the last bit."""
    weights = [(a[key], b[key]) for a, b in ((one.best, other.best), (one.last, other.last)) for key in a]
    courses = [(one.history.splits[name], other.history.splits[name]) for name in one.history.splits]
    return (
        one.best_epoch == other.best_epoch
        and all(torch.equal(a, b) for a, b in weights)
        and all((a.loss == b.loss).all() and (a.confusion == b.confusion).all() for a, b in courses)
    )


# ---- the published program


def fill_weights(network: nn.Module, root: Path) -> nn.Module:
    spec = importlib.util.spec_from_file_location("fill", root / "tests" / "golden" / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    network.load_state_dict(fill.fill_state_dict(network.state_dict()), strict=True)
    return network


def test_whole_network_trains_as_the_published_program(root, golden, tmp_path):
    wanted = json.loads((golden / "training_open.json").read_text())["finetune_tiny"]
    dice = np.random.default_rng(int(wanted["data"].split("default_rng(")[1].split(")")[0]))
    drawn = [(dice.standard_normal((4, 3, 6, 32, 32)).astype(np.float32), dice.integers(0, 2, 4)) for _ in range(4)]
    train, validation = (
        TensorDataset(*(torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*half, strict=True)))
        for half in (drawn[:2], drawn[2:])
    )
    rate, decay, weight_decay, weighted = wanted["params"]
    assert not weighted
    how = FineTune(wanted["epochs"], 4, rate, decay, weight_decay, window=8, warm_up=0, shuffle=False)
    network = fill_weights(Net(Encoder("mc3_18"), Classifier(512)), root)
    trained = run(tmp_path, network, train=lambda epoch: train, validation=validation, watch={}, how=how)
    for ours, theirs in (("train", "train"), ("validation", "val")):
        course = trained.history.splits[ours]
        np.testing.assert_allclose(course.loss, wanted[theirs]["loss"], atol=2e-3)
        np.testing.assert_array_equal(course.confusion, wanted[theirs]["confusion"])
        for name in MEASURES[1:]:
            np.testing.assert_allclose(course.measure(name), wanted[theirs]["metrics"][name], atol=1e-6)
    assert trained.best_epoch == wanted["best_val_epoch"]
    means = trained.last["encoder.base_model.stem.1.running_mean"][:4]
    np.testing.assert_allclose(means, wanted["bn_running_mean_first4"], atol=2e-3)
    np.testing.assert_allclose(trained.last["classifier.fc.bias"], wanted["fc_bias"], atol=2e-3)


def published_rows(seed: int, count: int) -> TensorDataset:
    dice = np.random.default_rng(seed)
    y = (dice.random(count) < 0.65).astype(int)
    w = np.random.default_rng(999).standard_normal(512)
    w /= np.linalg.norm(w)
    x = dice.standard_normal((count, 512)).astype(np.float32)
    x += (0.25 * np.sqrt(512) / 8 * (2 * y - 1)[:, None] * w[None]).astype(np.float32)
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(np.where(dice.random(count) < 0.1, 1 - y, y)))


@pytest.mark.parametrize("name", ["adam_weighted", "adam_plain_smooth8_warm0", "adam_named", "adam_diverging", "lbfgs"])
def test_heads_as_networks_train_as_the_published_program(name, root, golden, tmp_path):
    document = json.loads((golden / "training_open.json").read_text())
    wanted = document["runs"][name]
    params, options = wanted["params"], wanted["options"]
    train, validation, test = map(published_rows, document["seeds"], document["n"])
    how = FineTune(
        wanted["epochs"],
        len(train),
        params["lr_init"],
        params["lr_decay"],
        params["weight_decay"],
        class_weights=wanted["class_weights"] and tuple(wanted["class_weights"]),
        optimiser="lbfgs" if name == "lbfgs" else "adam",
        window=options["smoothing_window"],
        warm_up=options["warmup_window"],
    )
    network = fill_weights(nn.ModuleDict({"fc": nn.Linear(512, 2)}), root)["fc"]
    watch = {"test": test}
    trained = run(tmp_path, network, train=lambda epoch: train, validation=validation, watch=watch, how=how)
    close = {"rtol": 1e-3, "atol": 1e-3} if name == "lbfgs" else {"rtol": 1e-4, "atol": 1e-4}
    for ours, theirs in (("train", "train"), ("validation", "val"), ("test", "test")):
        course = trained.history.splits[ours]
        np.testing.assert_allclose(course.loss, wanted["original"][theirs]["loss"], **close)
        np.testing.assert_array_equal(course.confusion, wanted["original"][theirs]["confusion"])
    assert trained.best_epoch == wanted["best_val_epoch"]
    np.testing.assert_allclose(trained.best["bias"], wanted["best_fc_bias"], **close)


# ---- the loop against a plain one


def plain_loop(network: nn.Module, data: TensorDataset, how: FineTune) -> tuple[nn.Module, list[float]]:
    """Train by a loop of a few lines, whole batches, in the order of the data."""
    network, course = copy.deepcopy(network).train(), []
    optimiser = torch.optim.Adam(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    weight = None if how.class_weights is None else torch.tensor(how.class_weights)
    for epoch in range(how.epochs):
        optimiser.param_groups[0]["lr"] = how.learning_rate * (1 - how.lr_decay) ** epoch
        values = []
        for start in range(0, len(data), how.batch_size):
            x, y = data[start : start + how.batch_size]
            loss = F.cross_entropy(network(x), y, weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            values.append(loss.item())
        course.append(float(np.mean(values)))
    return network, course


@pytest.mark.parametrize("weights", [None, (4.0, 1.25)])
def test_steps_are_those_of_a_plain_loop_however_they_are_cut(weights, tmp_path):
    how, data = replace(HOW, class_weights=weights, shuffle=False, batch_size=8), clips(0, 21)  # the last batch: 5
    network, course = plain_loop(small(), data, how)
    for part, count in ((8, 1), (4, 2), (2, 4), (1, 8)):
        cut = replace(how, batch_size=part, accumulate=count)
        trained = run(tmp_path / str(part), small(), train=lambda epoch: data, how=cut)
        np.testing.assert_allclose(losses(trained)[1:], course, rtol=1e-5)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(trained.last[key], value, rtol=1e-4, atol=1e-5)
        assert (trained.batch_size, trained.accumulate) == (part, count)
    with torch.no_grad():
        expected = F.cross_entropy(network(data.tensors[0]), data.tensors[1], weights and torch.tensor(weights))
    # What is measured in evaluation mode does not depend on batches at all.
    again = run(tmp_path / "again", small(), train=lambda epoch: data, watch={"test": data}, how=how)
    assert losses(again, "test")[-1] == pytest.approx(float(expected), rel=1e-4)


def test_lbfgs_can_accumulate(tmp_path):
    # One step of twenty tries: more of them would enlarge the rounding of sums.
    how = replace(HOW, optimiser="lbfgs", epochs=1, learning_rate=0.3, batch_size=22, weight_decay=0.001)
    whole, cut = (run(tmp_path / str(n), small(), how=replace(how, batch_size=22 // n, accumulate=n)) for n in (1, 2))
    assert losses(whole)[-1] < 0.8 * losses(whole)[0]
    np.testing.assert_allclose(losses(cut), losses(whole), rtol=1e-3)


def test_each_epoch_has_its_own_clips_in_its_own_order(tmp_path):
    asked: list[int] = []
    seen: list[tuple[int, list[int]]] = []

    class Watched(Dataset):
        def __init__(self, epoch: int) -> None:
            asked.append(epoch)
            seen.append((epoch, []))
            self.data, self.order = clips(0), seen[-1][1]

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int):
            self.order.append(index)
            return self.data[index]

    run(tmp_path / "a", train=Watched)
    orders = {epoch: order for epoch, order in seen if order}
    assert sorted(asked) == [0, 1, 2, 3]
    assert orders[0] == list(range(22))
    assert all(sorted(order) == list(range(22)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    seen.clear()
    run(tmp_path / "b", train=Watched, how=replace(HOW, max_batches=2))
    assert [len(order) for _, order in sorted(seen)] == [8, 8, 8, 8]


def test_max_batches_limits_every_split(tmp_path):
    trained = run(tmp_path, how=replace(HOW, max_batches=1))
    totals = {name: course.confusion.sum(axis=(1, 2)) for name, course in trained.history.splits.items()}
    assert {name: set(values) for name, values in totals.items()} == {"train": {4}, "validation": {4}, "test": {4}}


def test_zero_epochs_measure_the_network_as_it_is(tmp_path):
    network = lively()
    asked: list[int] = []
    trained = run(
        tmp_path, network, train=lambda epoch: asked.append(epoch) or clips(epoch), how=replace(HOW, epochs=0)
    )
    assert asked == [0]
    assert trained.best_epoch == 0
    assert {len(course.loss) for course in trained.history.splits.values()} == {1}
    assert all(torch.equal(trained.best[key], value) for key, value in network.state_dict().items())


def test_the_best_epoch_is_kept_and_the_network_passed_in_is_not_touched(tmp_path):
    network = lively()
    before = copy.deepcopy(network.state_dict())
    how = replace(HOW, epochs=8, learning_rate=0.3, window=0)
    trained = run(tmp_path, network, how=how)
    f1 = trained.history.splits["validation"].measure("f1")
    assert trained.best_epoch == int(np.argmax(f1)) != 8
    assert f1.max() > f1[0]
    shorter = run(tmp_path / "shorter", network, how=replace(how, epochs=trained.best_epoch))
    assert all(torch.equal(trained.best[key], value) for key, value in shorter.last.items())
    assert any(not torch.equal(trained.last[key], trained.best[key]) for key in before)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_without_validation_the_last_epoch_is_kept(tmp_path):
    trained = run(tmp_path, validation=None, watch={})
    assert trained.best_epoch == HOW.epochs
    assert list(trained.history.splits) == ["train"]
    assert all(torch.equal(trained.best[key], trained.last[key]) for key in trained.best)


def test_batch_normalisation_keeps_its_statistics_when_asked_to(tmp_path):
    start = lively().state_dict()
    free, kept = (run(tmp_path / str(moves), how=replace(HOW, batch_statistics=moves)).last for moves in (True, False))
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(kept[name], start[name])
        assert not torch.equal(free[name], start[name])
    assert not torch.equal(kept["1.weight"], start["1.weight"]), "its own weights still learn"


def test_patience_stops_when_nothing_gets_better(tmp_path):
    how = replace(HOW, epochs=40, patience=3, warm_up=2, learning_rate=0.5)
    trained = run(tmp_path, how=how)
    epochs = len(losses(trained)) - 1
    assert epochs < 40
    assert epochs == max(trained.best_epoch, 2) + 3
    f1 = smooth(trained.history.splits["validation"].measure("f1"), 1)
    assert f1[trained.best_epoch + 1 :].max() <= f1[trained.best_epoch] or trained.best_epoch == 0


# ---- repeated and resumed


def test_same_seed_same_bytes_whatever_the_workers_and_the_caller_drew(tmp_path):
    state = torch.get_rng_state()
    torch.use_deterministic_algorithms(mode=False)  # whatever tests before this one have left
    one = run(tmp_path / "one")
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()
    torch.rand(7)
    assert same(one, run(tmp_path / "two", workers=2))
    assert not same(one, run(tmp_path / "three", seed=2))
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["best.ckpt", "last.ckpt", "trained.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


class Interrupted(Dataset):
    """Clips that end a training as Ctrl-C does."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int):
        os.kill(os.getpid(), signal.SIGINT)
        return clips(0)[index]


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_interrupted_and_called_again_it_ends_with_the_same_result(optimiser, tmp_path):
    how = replace(HOW, optimiser=optimiser, learning_rate=0.02)
    whole = run(tmp_path / "whole", how=how)
    handler = signal.getsignal(signal.SIGINT)
    for epoch in (1, 3):  # KeyboardInterrupt, not the end of the process that Lightning makes of it
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", how=how, train=lambda now, stop=epoch: Interrupted() if now == stop else clips(now))
        assert signal.getsignal(signal.SIGINT) is handler
    asked: list[int] = []
    again = run(tmp_path / "cut", how=how, train=lambda epoch: asked.append(epoch) or clips(epoch))
    assert asked == [3]
    assert same(again, whole)


LONG = replace(HOW, epochs=25)


def train_long(folder: str) -> None:
    """A training of many epochs, in a process that may be killed."""
    run(Path(folder), how=LONG)


def test_kill_at_random_moments_leaves_the_same_bytes(nursery, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    course, _ = watch(lambda: nursery.start(train_long, str(whole)), whole)
    kill_in_the_middle(lambda: nursery.start(train_long, str(killed)), killed, whole=course)
    assert nursery.start(train_long, str(killed)).wait() == 0
    assert sorted(path.name for path in killed.iterdir()) == ["best.ckpt", "last.ckpt", "trained.json"]
    for name in ("trained.json", "best.ckpt"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert same(run(whole, how=LONG), run(killed, how=LONG))


def test_a_finished_training_is_read_not_repeated(tmp_path):
    one = run(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    def refuse(epoch: int):
        raise AssertionError(epoch)

    assert same(one, run(tmp_path, train=refuse, how=replace(HOW, profile=True)))
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_another_training_in_the_folder_is_refused_by_name(tmp_path):
    run(tmp_path)
    with pytest.raises(StageError, match=r"learning_rate 0\.05 there and 0\.01 here"):
        run(tmp_path, how=replace(HOW, learning_rate=0.01))
    (tmp_path / "trained.json").unlink()
    with pytest.raises(StageError, match="seed 1 there and 2 here"):
        run(tmp_path, seed=2)
    with pytest.raises(StageError, match="starting_weights"):
        run(tmp_path, small(nn.BatchNorm1d(8)))


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_damaged_or_foreign_checkpoints_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    run(folder)
    (folder / "trained.json").unlink()
    whole = (folder / "last.ckpt").read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        (folder / "last.ckpt").write_bytes(damaged)
        with pytest.raises(StageError, match="cannot be read"):
            run(folder)
    torch.save({"nbpkg": Trap(), "state_dict": {}}, folder / "last.ckpt")
    with pytest.raises(StageError, match="cannot be read"):
        run(folder)
    assert not (tmp_path / "sprung").exists()
    torch.save({"weights": torch.zeros(2)}, folder / "last.ckpt")
    with pytest.raises(StageError, match="no checkpoint of a fine-tuning"):
        run(folder)


# ---- memory, divergence, disk


class Greedy(nn.Module):
    """Asks the allocator for what no machine has when more than `most` clips come at once."""

    def __init__(self, most: int, *, in_training: bool = False) -> None:
        super().__init__()
        self.inner, self.most, self.in_training = small(), most, in_training

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.most and (self.training or not self.in_training):
            torch.empty(2**48)
        return self.inner(x)


@pytest.mark.parametrize("in_training", [False, True])  # the first to fail: the measures of epoch 0, or a step
def test_a_batch_too_large_for_memory_is_halved_and_accumulated(in_training, tmp_path, capfd):
    how = replace(HOW, batch_size=8, class_weights=(2.0, 1.0))
    roomy = run(tmp_path / "roomy", Greedy(8), how=how)
    tight = run(tmp_path / "tight", Greedy(2, in_training=in_training), how=how)
    assert (roomy.batch_size, roomy.accumulate) == (8, 1)
    assert (tight.batch_size, tight.accumulate) == (2, 4)
    text = capfd.readouterr().err
    assert "A batch of 8 clips does not fit into memory; going on with 4 at a time" in text
    assert "going on with 2 at a time, gradients of 4 accumulated" in text
    assert ("from the last checkpoint" in text) == in_training
    for name in roomy.history.splits:
        np.testing.assert_allclose(losses(tight, name), losses(roomy, name), rtol=1e-5)
    for key, value in roomy.last.items():
        torch.testing.assert_close(tight.last[key], value, rtol=1e-4, atol=1e-5)


def test_a_single_clip_too_large_for_memory_is_an_error_in_words(tmp_path):
    with pytest.raises(StageError, match="Not even a single clip fits into memory") as caught:
        run(tmp_path, Greedy(0))
    assert "smaller frames" in caught.value.remedy


def test_other_errors_of_the_network_are_not_taken_for_a_full_memory(tmp_path):
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(tmp_path, nn.Linear(7, 2))


def with_infinity(data: TensorDataset, index: int) -> TensorDataset:
    x = data.tensors[0].clone()
    x[index] = float("inf")
    return TensorDataset(x, data.tensors[1])


def test_a_clip_that_is_not_finite_stops_at_its_step_and_keeps_the_last_checkpoint(tmp_path):
    how = replace(HOW, shuffle=False, epochs=4)
    good = run(tmp_path / "good", small(), how=replace(how, epochs=2))

    def train(epoch: int) -> TensorDataset:
        return with_infinity(clips(epoch), 9) if epoch == 3 else clips(epoch)

    with pytest.raises(DivergedError, match=r"The loss is nan in epoch 3, training step 3\.") as caught:
        run(tmp_path / "bad", small(), train=train, how=how)
    kept = tmp_path / "bad" / "last.ckpt"
    assert f"of epoch 2, is {kept}" in caught.value.where
    weights = torch.load(kept, weights_only=True)["state_dict"]
    assert all(torch.equal(weights[f"network.{key}"], value) for key, value in good.last.items())
    whole = run(tmp_path / "whole", small(), how=how)
    assert same(run(tmp_path / "bad", small(), how=how), whole)  # the clip mended, it goes on


def test_other_losses_that_are_not_finite_say_which(tmp_path):
    with pytest.raises(StageError, match=r"epoch 0, batch 3 of validation") as caught:
        run(tmp_path / "a", small(), validation=with_infinity(clips(9), 8))
    assert caught.value.where == "the network before any training"
    assert not isinstance(caught.value, DivergedError)
    with pytest.raises(StageError, match=r"epoch 0, batch 1 of test"):
        run(tmp_path / "b", small(), watch={"test": with_infinity(clips(9), 0)})


class Cubed(nn.Module):
    """Scores that explode with the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) ** 3


def test_a_training_that_diverges_stops_with_finite_weights_on_disk(tmp_path):
    how = replace(HOW, learning_rate=1e30, epochs=3)
    with pytest.raises(DivergedError, match=r"The loss is (nan|inf) in epoch 1, training step \d") as caught:
        run(tmp_path / "steps", Cubed(), how=how)
    assert "learning_rate" in caught.value.remedy
    last = torch.load(tmp_path / "steps" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in last.values())


class Cornered(nn.Module):
    """Finite scores whose gradient is not."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) + (self.fc.bias - self.fc.bias.detach()).abs().sqrt().sum()


def test_weights_that_diverge_in_the_last_step_never_reach_the_disk(tmp_path):
    with pytest.raises(DivergedError, match=r"Weight fc.bias is no longer finite after epoch 1, training step 1\."):
        run(tmp_path, Cornered(), how=replace(HOW, max_batches=1), validation=None, watch={})
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in last.values())


def wide() -> nn.Module:
    """A network of half a megabyte."""
    return nn.Sequential(nn.Linear(5, 16_000), nn.Linear(16_000, 2))


def train_on_small_disk(folder: str) -> tuple[str, list[str]] | None:
    """What a training says on a file system of its own that is too small, and which files stay; None: not allowed."""
    owner, libc = (os.getuid(), os.getgid()), ctypes.CDLL(None)
    if libc.unshare(0x10000000 | 0x20000) != 0:  # CLONE_NEWUSER, CLONE_NEWNS
        return None
    maps = {"setgroups": "deny", "uid_map": f"0 {owner[0]} 1", "gid_map": f"0 {owner[1]} 1"}
    for name, text in maps.items():
        Path(f"/proc/self/{name}").write_text(text)
    # Room for the checkpoints of epoch 0, not for Adam's moments, which come with epoch 1.
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
        return None
    try:
        run(Path(folder), wide())
    except NbpkgError as error:
        return str(error), sorted(path.name for path in Path(folder).iterdir())
    return "", []


def test_a_full_disk_is_said_in_words_and_the_last_checkpoint_stays(nursery, tmp_path):
    found = nursery.start(train_on_small_disk, str(tmp_path)).result()
    if found is None:
        pytest.skip("no file system of one's own here")
    said, files = found
    assert "The disk is full." in said
    assert "Free some space and run the stage again." in said
    assert files == ["best.ckpt", "last.ckpt"]


# ---- settings


def test_mixed_precision_changes_the_numbers_a_little(tmp_path):
    exact, rough = (run(tmp_path / name, small(), how=replace(HOW, precision=name)) for name in ("float32", "bfloat16"))
    assert not same(exact, rough)
    np.testing.assert_allclose(losses(rough), losses(exact), atol=0.03)
    assert {value.dtype for value in rough.best.values()} == {torch.float32}
    with pytest.raises(SettingsError, match="float16"):
        run(tmp_path / "half", small(), how=replace(HOW, precision="float16"))


def test_the_profiler_records_one_step_with_stacks_and_memory(tmp_path):
    trained = run(tmp_path / "a", how=replace(HOW, epochs=1, profile=True))
    trace = json.loads((tmp_path / "a" / "profile" / "trace.json").read_text())["traceEvents"]
    steps = [event["name"] for event in trace if event.get("name", "").startswith("ProfilerStep")]
    assert steps == ["ProfilerStep#4"]
    assert any("[memory]" in event.get("name", "") for event in trace)
    assert any("lightning_loop.py" in event.get("name", "") for event in trace)
    assert same(trained, run(tmp_path / "b", how=replace(HOW, epochs=1)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("lr_decay", 1.5),
        ("weight_decay", -1.0),
        ("class_weights", (float("inf"), 1.0)),
        ("optimiser", "sgd"),
        ("precision", "float64"),
        ("accumulate", 0),
        ("patience", -1),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(SettingsError, match=name):
        replace(HOW, **{name: value})


def test_lbfgs_in_float16_and_empty_splits_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="lbfgs"):
        replace(HOW, optimiser="lbfgs", precision="float16")
    with pytest.raises(TableError, match="no clips"):
        run(tmp_path, validation=clips(0, 0))


def test_it_says_only_what_it_is_doing_and_runs_inside_a_slurm_allocation(tmp_path, capfd, monkeypatch):
    for name, value in {"JOB_ID": "7", "JOB_NAME": "train", "NTASKS": "2", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODEID", "0")
    run(tmp_path, label="final")
    written = capfd.readouterr()
    assert written.out == ""
    lines = written.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("final: 18 steps in ")
