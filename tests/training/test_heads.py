"""All head trainings at once: each as if it were trained alone, by the published loop."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nbpkg.errors import FoldError, SettingsError, TableError, WeightsError
from nbpkg.training import head_passes, heads
from nbpkg.training.heads import HeadSettings, Weights, initial_heads, train_heads
from nbpkg.training.history import choose_epoch, score

pytestmark = pytest.mark.usefixtures("one_thread")  # small work waits for its threads more than it gains
GOLDEN = json.loads((Path(__file__).parents[1] / "golden/infant_engagement/training_open.json").read_text())


def draw_rows(count: int, *, width: int = 12, seed: int = 0, share: float = 0.6, strength: float = 0.4):
    """Features of two overlapping classes."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < share).astype(int)
    direction = np.random.default_rng(9).standard_normal(width)
    features = random.standard_normal((count, width)) + strength * (2 * labels - 1)[:, None] * direction
    return features.astype(np.float32), labels


def draw_settings(runs: int, *, seed: int = 1, top: float = 0.0) -> HeadSettings:
    """The published ranges."""
    random = np.random.default_rng(seed)
    decay = np.where(random.random(runs) < 0.2, 0, 10 ** random.uniform(-3, -1, runs))
    weight_decay = np.where(random.random(runs) < 0.2, 0, 10 ** random.uniform(-4, 1, runs))
    return HeadSettings(10 ** random.uniform(-5, top, runs), decay, weight_decay, random.random(runs) < 0.5)


def train_alone(splits, setting, start, epochs: int):
    """The published loop with torch's own Linear, Adam and cross entropy; weights after each epoch too."""
    rate, lr_decay, weight_decay, weighted = setting
    layer = torch.nn.Linear(start[0].shape[1], 2)
    layer.load_state_dict({"weight": torch.tensor(start[0]), "bias": torch.tensor(start[1])})
    optimiser = torch.optim.Adam(layer.parameters(), lr=rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 1 - lr_decay)
    share = float(np.mean(splits["train"][1]))
    balance = torch.tensor([1 / (1 - share), 1 / share]) if weighted else None
    data = {name: (torch.from_numpy(x), torch.as_tensor(y)) for name, (x, y) in splits.items()}
    losses, tables, states = {name: [] for name in data}, {name: [] for name in data}, []

    def measure(name):
        scores = layer(data[name][0])
        loss = F.cross_entropy(scores, data[name][1], balance)
        losses[name].append(loss.item())
        cells = torch.bincount(2 * data[name][1] + scores.argmax(dim=1), minlength=4)
        tables[name].append(cells.reshape(2, 2).numpy())
        return loss

    for epoch in range(epochs + 1):
        optimiser.zero_grad()
        loss = measure("train")
        if epoch:
            loss.backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            for name in set(data) - {"train"}:
                measure(name)
        states.append((layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()))
    return {n: np.array(v) for n, v in losses.items()}, {n: np.array(v, float) for n, v in tables.items()}, states


# as one by one


@pytest.mark.parametrize(("width", "threads"), [(12, 1), (70, 2)])
def test_runs_equal_those_of_torch_one_by_one(width, threads, monkeypatch):
    monkeypatch.setattr(head_passes, "BLOCK", 64)  # several blocks, tiles, chunks and groups
    monkeypatch.setattr(head_passes, "TILE", 16 * 10)
    monkeypatch.setattr(heads, "RUNS", 16)
    monkeypatch.setattr(heads, "MOVED", 16 * 5)
    splits = {
        "train": draw_rows(501, width=width),
        "validation": draw_rows(170, width=width, seed=1),
        "test": draw_rows(33, width=width, seed=2, share=0.3),
    }
    settings, weights = draw_settings(37), initial_heads(range(37), width)
    torch.set_num_threads(threads)
    runs = train_heads(
        splits["train"], splits["validation"], settings=settings, weights=weights, epochs=20, window=3, warm_up=2,
        watch={"test": splits["test"]},
    )  # fmt: skip
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    for run, setting in enumerate(zip(*vars(settings).values(), strict=True)):
        losses, tables, states = train_alone(splits, setting, (weights.weight[run], weights.bias[run]), 20)
        for name, course in runs.splits.items():
            np.testing.assert_allclose(course.loss[run], losses[name], rtol=1e-4, atol=1e-4)
            # a score within rounding of a tie may fall either way, so that one row may change sides
            assert np.abs(course.confusion[run] - tables[name]).max() <= 1
            assert (course.confusion[run].sum(axis=-1) == tables[name].sum(axis=-1)).all()
        best = runs.best_epoch[run]
        np.testing.assert_allclose(runs.last.weight[run], states[-1][0], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(runs.last.bias[run], states[-1][1], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(runs.best.weight[run], states[best][0], atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(runs.best.bias[run], states[best][1], atol=1e-4, rtol=1e-4)
    assert (np.concatenate([runs.splits["train"].confusion, runs.splits["test"].confusion]) >= 0).all()


@pytest.mark.parametrize(("window", "warm_up"), [(5, 5), (0, 0), (2, 7), (50, 1), (1, 60)])
def test_best_epoch_is_that_of_the_rule_and_its_weights_were_kept(window, warm_up):
    train, validation = draw_rows(60, seed=3), draw_rows(25, seed=4)
    settings, weights = draw_settings(40, seed=5), initial_heads(range(40), 12)
    runs = train_heads(train, validation, settings=settings, weights=weights, epochs=30, window=window, warm_up=warm_up)
    expected, _ = choose_epoch(score(runs.splits["validation"].confusion, "f1"), window=window, warm_up=warm_up)
    np.testing.assert_array_equal(runs.best_epoch, expected)
    scores = np.einsum("nd,rcd->nrc", validation[0], runs.best.weight) + runs.best.bias
    for run, epoch in enumerate(runs.best_epoch):
        table = np.bincount(2 * validation[1] + scores[:, run].argmax(axis=1), minlength=4).reshape(2, 2)
        np.testing.assert_array_equal(table, runs.splits["validation"].confusion[run, epoch])
    if warm_up < 30:
        assert len(set(runs.best_epoch)) > 2
    else:
        assert not runs.best_epoch.any()
        np.testing.assert_array_equal(runs.best.weight, weights.weight)


def test_initial_heads_are_those_of_torch_and_its_generator_is_left_alone():
    torch.manual_seed(77)
    before = torch.random.get_rng_state()
    found = initial_heads([3, 2**62 + 1, 3], 20)
    assert torch.equal(torch.random.get_rng_state(), before)
    for run, seed in enumerate([3, 2**62 + 1, 3]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(20, 2)
        np.testing.assert_array_equal(found.weight[run], layer.weight.detach().numpy())
        np.testing.assert_array_equal(found.bias[run], layer.bias.detach().numpy())


@pytest.mark.parametrize("threads", [1, 2])
def test_same_bytes_every_time_and_memory_mapped_features_are_fine(threads, tmp_path):
    torch.set_num_threads(threads)
    train, validation = draw_rows(2000, width=40), draw_rows(300, width=40, seed=1)
    np.save(tmp_path / "x.npy", train[0])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r"), train[1]
    settings, weights = draw_settings(20), initial_heads(range(20), 40)
    both = [
        train_heads(rows, validation, settings=settings, weights=weights, epochs=8, window=5, warm_up=5)
        for rows in (train, mapped)
    ]
    for name in ("train", "validation"):
        assert both[0].splits[name].loss.tobytes() == both[1].splits[name].loss.tobytes()
    assert both[0].best.weight.tobytes() == both[1].best.weight.tobytes()
    assert both[0].last.bias.tobytes() == both[1].last.bias.tobytes()


def test_zero_epochs_measure_and_no_validation_keeps_the_last():
    train, settings, weights = draw_rows(50), draw_settings(3, top=-1), initial_heads(range(3), 12)
    none = train_heads(train, draw_rows(9), settings=settings, weights=weights, epochs=0, window=5, warm_up=5)
    some = train_heads(train, None, settings=settings, weights=weights, epochs=4, window=5, warm_up=5)
    assert none.splits["train"].loss.shape == (3, 1)
    np.testing.assert_allclose(none.splits["train"].loss[:, 0], some.splits["train"].loss[:, 0])
    np.testing.assert_array_equal(none.best.weight, weights.weight)
    assert list(some.splits) == ["train"]
    assert some.best_epoch.tolist() == [4, 4, 4]
    np.testing.assert_array_equal(some.best.weight, some.last.weight)
    np.testing.assert_array_equal(some.splits["train"].loss[:, 0], some.splits["train"].loss[:, 1])
    history = some.history(1)
    assert history.best_epoch == 4
    assert history.at(4, "train")["loss"] == some.splits["train"].loss[1, 4]


def test_ties_are_answered_with_class_0():
    rows = np.zeros((4, 3), np.float32), np.array([0, 0, 0, 1])
    weights = Weights(np.ones((2, 2, 3), np.float32), np.array([[0, 0], [0, 1e-6]], np.float32))
    settings = HeadSettings(*(np.full(2, value) for value in (0.1, 0, 0, False)))
    table = train_heads(rows, None, settings=settings, weights=weights, epochs=0, window=0, warm_up=0)
    assert table.splits["train"].confusion[:, 0].tolist() == [[[3, 0], [1, 0]], [[0, 3], [0, 1]]]


def test_a_run_that_overflows_is_marked_and_disturbs_no_other():
    train, validation = draw_rows(200), draw_rows(80, seed=1)
    rates = np.array([0.01, 3e37, 0.1])
    settings = HeadSettings(rates, np.zeros(3), np.zeros(3), np.zeros(3, bool))
    few = HeadSettings(rates[::2], np.zeros(2), np.zeros(2), np.zeros(2, bool))
    weights = initial_heads(range(3), 12)
    some = Weights(weights.weight[::2], weights.bias[::2])
    options = {"epochs": 12, "window": 1, "warm_up": 0}
    runs = train_heads(train, validation, settings=settings, weights=weights, **options)
    alone = train_heads(train, validation, settings=few, weights=some, **options)
    assert runs.failed_at.tolist() == [-1, 1, -1]
    assert runs.best_epoch[1] == 0
    np.testing.assert_array_equal(runs.best.weight[1], weights.weight[1])
    assert np.isnan(runs.splits["train"].confusion[1, 1:]).all()
    assert np.isfinite(runs.splits["train"].confusion[1, 0]).all()
    np.testing.assert_array_equal(runs.splits["validation"].loss[::2], alone.splits["validation"].loss)
    np.testing.assert_array_equal(runs.last.weight[::2], alone.last.weight)


def test_huge_scores_keep_their_loss():
    rows = np.array([[1000.0], [1000.0]], np.float32), np.array([0, 1])
    weights = Weights(np.array([[[-1.0], [1.0]]], np.float32), np.zeros((1, 2), np.float32))
    settings = HeadSettings(*(np.full(1, value) for value in (0.1, 0, 0, False)))
    runs = train_heads(rows, None, settings=settings, weights=weights, epochs=0, window=0, warm_up=0)
    assert runs.splits["train"].loss[0, 0] == pytest.approx(1000.0)


# golden vectors


def golden_rows(seed: int, count: int):
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.65).astype(int)
    direction = np.random.default_rng(999).standard_normal(512)
    direction /= np.linalg.norm(direction)
    drift = (0.25 * np.sqrt(512) / 8 * (2 * labels - 1)[:, None] * direction[None]).astype(np.float32)
    features = random.standard_normal((count, 512)).astype(np.float32) + drift
    return features, np.where(random.random(count) < 0.1, 1 - labels, labels)


def golden_weights() -> Weights:
    """What golden/fill.py writes into ``fc.weight`` and ``fc.bias``."""
    arrays = {
        key: np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
        for key, shape in {"fc.weight": (2, 512), "fc.bias": (2,)}.items()
    }
    weight = arrays["fc.weight"] / np.sqrt(512, dtype=np.float32)
    return Weights(weight[None], 0.05 * arrays["fc.bias"][None])


def golden_settings(params) -> HeadSettings:
    names = ("lr_init", "lr_decay", "weight_decay", "use_class_weights")
    return HeadSettings(*(np.array([params[name]]) for name in names))


@pytest.mark.parametrize("name", sorted(GOLDEN["runs"]))
def test_published_runs(name):
    case = GOLDEN["runs"][name]
    optimiser = "lbfgs" if name == "lbfgs" else "adam"
    near = 1e-3 if optimiser == "lbfgs" else 1e-4
    train, validation, test = (golden_rows(*pair) for pair in zip(GOLDEN["seeds"], GOLDEN["n"], strict=True))
    assert train[1].sum() == GOLDEN["train_positive"]
    runs = train_heads(
        train, validation, settings=golden_settings(case["params"]), weights=golden_weights(), epochs=case["epochs"],
        window=case["options"]["smoothing_window"], warm_up=case["options"]["warmup_window"], optimiser=optimiser,
        watch={"test": test},
    )  # fmt: skip
    assert runs.best_epoch[0] == case["best_val_epoch"]
    for ours, theirs in {"train": "train", "validation": "val", "test": "test"}.items():
        expected, course = case["original"][theirs], runs.splits[ours]
        np.testing.assert_allclose(course.loss[0], expected["loss"], atol=near, rtol=near)
        np.testing.assert_array_equal(course.confusion[0], expected["confusion"])
        for measure, values in expected["metrics"].items():
            np.testing.assert_allclose(course.measure(measure)[0], values, atol=1e-6)
    np.testing.assert_allclose(runs.best.weight[0, 0, :8], case["best_fc_weight_first8"], atol=near)
    np.testing.assert_allclose(runs.best.bias[0], case["best_fc_bias"], atol=near)
    np.testing.assert_allclose(runs.last.weight[0, 0, :8], case["final_fc_weight_first8"], atol=near)
    np.testing.assert_allclose(np.abs(runs.last.weight).sum(), case["final_fc_weight_sum_abs"], rtol=near)


def test_published_run_without_validation():
    case = GOLDEN["no_validation"]
    settings = HeadSettings(*(np.array([value]) for value in (0.01, 0, 0, False)))
    runs = train_heads(
        golden_rows(71, 48), None, settings=settings, weights=golden_weights(), window=5, warm_up=5,
        epochs=len(case["train_loss"]) - 1,
    )  # fmt: skip
    np.testing.assert_allclose(runs.splits["train"].loss[0], case["train_loss"], atol=1e-4)


def test_lbfgs_runs_are_independent_and_keep_the_best():
    train, validation = draw_rows(60), draw_rows(30, seed=1)
    settings, weights = draw_settings(4), initial_heads(range(4), 12)
    options = {"epochs": 5, "window": 1, "warm_up": 0, "optimiser": "lbfgs"}
    runs = train_heads(train, validation, settings=settings, weights=weights, **options)
    one = HeadSettings(*(column[2:3] for column in vars(settings).values()))
    alone = train_heads(
        train, validation, settings=one, weights=Weights(weights.weight[2:3], weights.bias[2:3]), **options
    )
    np.testing.assert_array_equal(runs.splits["validation"].loss[2], alone.splits["validation"].loss[0])
    for run, epoch in enumerate(runs.best_epoch):
        scores = validation[0] @ runs.best.weight[run].T + runs.best.bias[run]
        table = np.bincount(2 * validation[1] + scores.argmax(axis=1), minlength=4).reshape(2, 2)
        np.testing.assert_array_equal(table, runs.splits["validation"].confusion[run, epoch])


# bad input


def train_with(**changes):
    options = {
        "train": draw_rows(20), "validation": draw_rows(10, seed=1), "settings": draw_settings(2),
        "weights": initial_heads(range(2), 12), "epochs": 2, "window": 1, "warm_up": 1,
    } | changes  # fmt: skip
    return train_heads(options.pop("train"), options.pop("validation"), **options)


def with_nan(rows, place: int):
    rows[0][place, 3] = np.nan
    return rows


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"train": with_nan(draw_rows(20), 17)}, TableError, "row 17 are not finite.\n  Where: train rows"),
        ({"validation": with_nan(draw_rows(20), 2)}, TableError, "row 2 are not finite.\n  Where: validation rows"),
        ({"watch": {"extra": with_nan(draw_rows(20), 2)}}, TableError, "Where: extra rows"),
        ({"watch": {"train": draw_rows(20)}}, SettingsError, "another name"),
        ({"train": draw_rows(20, share=0)}, FoldError, "All 20 training rows are of class 0"),
        ({"train": draw_rows(20, share=1)}, FoldError, "All 20 training rows are of class 1"),
        ({"train": (draw_rows(20)[0], np.ones(19))}, TableError, "labels (19,)"),
        ({"train": (draw_rows(20)[0], np.full(20, 2))}, TableError, "Labels hold 2"),
        ({"train": (np.zeros(12, np.float32), np.ones(12))}, TableError, "shape (12,)"),
        ({"validation": draw_rows(5, width=11)}, TableError, "Features [n, 12]"),
        ({"validation": draw_rows(0)}, TableError, "n at least 1"),
        ({"weights": initial_heads(range(3), 12)}, WeightsError, "(2, 2, 12)"),
        ({"weights": Weights(np.full((2, 2, 12), np.inf), np.zeros((2, 2)))}, WeightsError, "not finite"),
        ({"optimiser": "sgd"}, SettingsError, "no optimiser 'sgd'"),
        ({"epochs": -1}, SettingsError, "epochs is -1"),
    ],
)
def test_bad_input_is_named(changes, kind, text):
    with pytest.raises(kind) as error:
        train_with(**changes)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        (([0.1, 0.0], [0, 0], [0, 0], [True, False]), "learning_rate is 0.0.\n  Where: run 1"),
        (([0.1], [1.5], [0], [True]), "lr_decay is 1.5"),
        (([0.1], [0.5], [-1], [True]), "weight_decay is -1.0"),
        (([np.nan], [0.5], [1], [True]), "learning_rate is nan"),
        (([0.1, 0.2], [0.5], [1], [True]), "learning_rate (2,)"),
        (([], [], [], []), "R at least 1"),
    ],
)
def test_bad_settings_are_named(columns, text):
    with pytest.raises(SettingsError) as error:
        HeadSettings(*columns)
    assert text in str(error.value)


def test_settings_repeat_run_by_run():
    twice = HeadSettings([0.1, 0.2], [0, 0.5], [0, 1], [True, False]).repeat(2)
    assert twice.learning_rate.tolist() == [0.1, 0.1, 0.2, 0.2]
    assert twice.class_weights.tolist() == [True, True, False, False]


def test_one_class_in_validation_is_only_measured():
    runs = train_with(validation=draw_rows(10, share=0))
    assert np.isfinite(runs.splits["validation"].loss).all()
    assert not runs.splits["validation"].confusion[:, :, 1].any()


@pytest.mark.may_skip
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu():
    train, validation = draw_rows(3000, width=64), draw_rows(400, width=64, seed=1)
    settings, weights = draw_settings(50), initial_heads(range(50), 64)
    options = {"settings": settings, "weights": weights, "epochs": 20, "window": 5, "warm_up": 5}
    cpu, gpu = (train_heads(train, validation, device=device, **options) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.splits["validation"].loss, cpu.splits["validation"].loss, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(gpu.last.weight, cpu.last.weight, atol=1e-4, rtol=1e-4)
