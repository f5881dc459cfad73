"""The whole published head search: all heads at once against one after the other with torch's own Linear and Adam.

250 settings × 4 folds × 4 repetitions × 20 epochs on features of 512 numbers, with the rows of 14 sessions to train
on and the rest of 19 left out: 10 chunks of a session, each drawn for 100 epochs of clips. Ours is run in full; of the
heads trained one after the other some of each fold are timed, with the same looks at the same rows, and extrapolated.
All heads take equally long, so that the quickest of each side is compared: other programs disturb the torch loop more
than ours. Both sides end with the same losses. Run: python -m bench.head_search
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch.nn import functional as F

from bench.common import clock, show
from nbpkg.training.heads import HeadRuns, HeadSettings, Rows, initial_heads, train_heads
from nbpkg.training.history import score, smooth

SETTINGS, FOLDS, REPETITIONS, EPOCHS, WINDOW, WARM_UP = 250, 4, 4, 20, 5, 5
WIDTH, TRAIN, VALIDATION = 512, 14_000, 4_600
ALONE = 6  # heads of each fold that are trained one after the other
RUNS = SETTINGS * REPETITIONS
Found = TypeVar("Found")


class Fold(NamedTuple):
    """Rows of one round."""

    train: Rows
    validation: Rows


def draw_fold(seed: int) -> Fold:
    """Rows like those of a network's last layer: nothing below 0, and two overlapping classes."""
    random = np.random.default_rng(seed)
    direction = random.standard_normal(WIDTH) / WIDTH**0.5
    parts = []
    for count in (TRAIN, VALIDATION):
        labels = (random.random(count) < 0.65).astype(np.int64)
        features = np.abs(random.standard_normal((count, WIDTH))) + 0.3 * (2 * labels - 1)[:, None] * direction
        parts.append((np.maximum(features, 0).astype(np.float32), labels))
    return Fold(*parts)


def draw_settings(seed: int) -> HeadSettings:
    """Settings of the published search, each for as many runs as there are repetitions."""
    random = np.random.default_rng(seed)
    lr_decay = np.where(random.random(SETTINGS) < 0.2, 0, 10 ** random.uniform(-3, -1, SETTINGS))
    weight_decay = np.where(random.random(SETTINGS) < 0.2, 0, 10 ** random.uniform(-4, 1, SETTINGS))
    rate = 10 ** random.uniform(-5, 0, SETTINGS)
    return HeadSettings(rate, lr_decay, weight_decay, random.random(SETTINGS) < 0.5).repeat(REPETITIONS)


def train_alone(fold: list[torch.Tensor], settings: HeadSettings, run: int) -> list[float]:
    """Train one head as the published loop does; returns the training losses."""
    train, labels, validation, truth = fold
    torch.manual_seed(run)
    layer = torch.nn.Linear(WIDTH, 2).to(train.device)
    optimiser = torch.optim.Adam(
        layer.parameters(), lr=settings.learning_rate[run], weight_decay=settings.weight_decay[run]
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 1 - settings.lr_decay[run])
    share = labels.double().mean().item()
    balance = train.new_tensor([1 / (1 - share), 1 / share]) if settings.class_weights[run] else None
    losses, tables, f1, best = [], [], [], (-1.0, layer)
    for epoch in range(EPOCHS + 1):
        if epoch:
            optimiser.zero_grad()
            scores = layer(train)
            loss = F.cross_entropy(scores, labels, balance)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            tables.append(torch.bincount(2 * labels + scores.argmax(dim=1), minlength=4).cpu())
        with torch.no_grad():
            scores = layer(validation)
            losses.append(F.cross_entropy(scores, truth, balance).item())
            table = torch.bincount(2 * truth + scores.argmax(dim=1), minlength=4).cpu()
        f1.append(float(score(table.reshape(2, 2).numpy(), "f1")))
        now = f1[-1] if epoch == 0 else float(smooth(np.array(f1[-WINDOW - 1 :]), WINDOW)[-1])
        if (epoch == 0 or epoch > WARM_UP) and now > best[0]:
            best = (now, deepcopy(layer).cpu())
    return losses[1::2]


def seconds_and(work: Callable[[], Found]) -> tuple[float, Found]:
    """Run once; return the seconds it took and what it returned."""
    found: list[Found] = []
    return clock(lambda: found.append(work())), found[0]


def measure(device: torch.device) -> list[dict[str, object]]:
    """Time both sides fold by fold, in turn, and the machine's own matrix product between them."""
    settings, weights = draw_settings(0), initial_heads(range(RUNS), WIDTH)
    side = 4096 if device.type == "cpu" else 8192
    square = torch.randn(side, side, device=device)
    alone, together, products, apart = [], [], [], 0.0

    def multiply() -> None:
        torch.mm(square, square)[0, 0].item()  # on a GPU: wait until it is done

    def train_fold(fold: Fold, epochs: int) -> HeadRuns:
        return train_heads(
            *fold, settings=settings, weights=weights, epochs=epochs, window=WINDOW, warm_up=WARM_UP, device=device
        )

    for number in range(FOLDS):
        fold = draw_fold(number)
        ready = [torch.as_tensor(part).to(device) for rows in fold for part in rows]
        if number == 0:  # what is done once: libraries loaded, memory taken
            train_alone(ready, settings, 0), train_fold(fold, 1), multiply()
        chosen = np.random.default_rng(number).choice(RUNS, ALONE, replace=False).tolist()
        first = [seconds_and(partial(train_alone, ready, settings, run)) for run in chosen[: ALONE // 2]]
        products.append(clock(multiply))
        seconds, found = seconds_and(partial(train_fold, fold, EPOCHS))
        products.append(clock(multiply))
        last = [seconds_and(partial(train_alone, ready, settings, run)) for run in chosen[ALONE // 2 :]]
        together.append(seconds)
        for run, (one, losses) in zip(chosen, first + last, strict=True):
            alone.append(one)
            gap = np.abs(found.splits["train"].loss[run, 1:] - losses) / np.maximum(1, losses)
            apart = max(apart, float(gap.max()))
    work = FOLDS * RUNS * WIDTH * (4 * TRAIN * EPOCHS + 2 * VALIDATION * (EPOCHS + 1)) / 1e9
    slow, fast, product = min(alone) * FOLDS * RUNS, min(together) * FOLDS, 2 * side**3 / 1e9 / min(products)
    return [
        {
            "heads": f"one after the other, torch ({len(alone)} of {FOLDS * RUNS:,} timed, extrapolated)",
            "seconds": round(slow, 1),
            "median round": round(statistics.median(alone) * FOLDS * RUNS, 1),
            "times faster": 1,
            "GFLOP/s": round(work / slow, 1),
        },
        {
            "heads": "ours, all of a fold at once",
            "seconds": round(fast, 2),
            "median round": round(statistics.median(together) * FOLDS, 2),
            "times faster": round(slow / fast, 1),
            "GFLOP/s": round(work / fast),
            "of the matrix product": f"{work / fast / product:.0%}",
            "largest difference of a loss": f"{apart:.0e}",
        },
        {"heads": f"one matrix product, {side} × {side} × {side}, between the folds", "GFLOP/s": round(product)},
    ]


def main() -> list[dict[str, object]]:
    """Time both sides on the CPU, and on a GPU where one is at hand, and print Markdown tables."""
    rows = measure(torch.device("cpu"))
    shape = f"{SETTINGS} settings × {FOLDS} folds × {REPETITIONS} repetitions × {EPOCHS} epochs"
    show(f"Head search: {shape}, {TRAIN:,} + {VALIDATION:,} rows × {WIDTH}, {torch.get_num_threads()} threads", rows)
    if torch.cuda.is_available():
        on_gpu = measure(torch.device("cuda"))
        show(f"Head search on {torch.cuda.get_device_name()}: {shape}", on_gpu)
        rows += on_gpu
    return rows


if __name__ == "__main__":
    main()
