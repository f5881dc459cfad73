"""Learning rates of every iteration, against the published ones and torch's own schedulers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, StepLR

from nbpkg.errors import SettingsError
from nbpkg.training.people.schedules import (
    Schedule,
    Span,
    find_unreached,
    rate_at,
    schedule_optimiser,
    warm_cosine,
)

KNOWN = json.loads((Path(__file__).parents[2] / "golden" / "joint_engagement" / "lr_open.json").read_text())
POLICIES = {"fixed": "fixed", "step": "step", "CosineAnnealing": "cosine"}
WARMUPS = {None: "none", "linear": "linear", "exp": "exponential", "constant": "constant"}
NAMES = {
    "by_epoch": "by_epoch",
    "gamma": "gamma",
    "min_lr": "floor",
    "warmup_iters": "warmup_length",
    "warmup_ratio": "warmup_ratio",
    "warmup_by_epoch": "warmup_by_epoch",
}


def translate(config: dict) -> Schedule:
    config = dict(config)
    policy, warmup, steps = POLICIES[config.pop("policy")], WARMUPS[config.pop("warmup", None)], config.pop("step", ())
    steps = tuple(steps) if isinstance(steps, list) else steps
    return Schedule(policy, steps=steps, warmup=warmup, **{NAMES[name]: value for name, value in config.items()})


@pytest.mark.parametrize("case", KNOWN, ids=[case["config"] for case in KNOWN])
def test_as_published(case):
    schedule, span = translate(case["lr_config"]), Span(case["epochs"], case["iters_per_epoch"])
    found = [rate_at(schedule, place, base=case["base_lr"], span=span) for place in range(len(case["lr_per_iter"]))]
    assert found == pytest.approx(case["lr_per_iter"], rel=1e-9)


def make(*rates: float) -> SGD:
    return SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in rates], lr=1.0)


def run(optimiser: SGD, scheduler, count: int) -> list[list[float]]:
    rates = []
    for _ in range(count):
        rates.append([group["lr"] for group in optimiser.param_groups])
        optimiser.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "theirs"),
    [
        (Schedule("step", by_epoch=False, steps=(2, 5)), lambda one: MultiStepLR(one, [2, 5])),
        (Schedule("step", by_epoch=False, steps=3, gamma=0.5), lambda one: StepLR(one, 3, gamma=0.5)),
        (Schedule("cosine", by_epoch=False, floor=0.001), lambda one: CosineAnnealingLR(one, 12, eta_min=0.001)),
    ],
)
def test_as_torch_where_torch_has_it(schedule, theirs):
    ours, other = make(0.1, 0.01), make(0.1, 0.01)
    found = run(ours, schedule_optimiser(ours, schedule, span=Span(4, 3)), 12)
    for own, wanted in zip(found, run(other, theirs(other), 12), strict=True):
        assert own == pytest.approx(wanted, rel=1e-6)


def test_an_optimiser_follows_and_resumes():
    schedule, span = Schedule("cosine", warmup="linear", warmup_length=4), Span(3, 4)
    wanted = [[rate_at(schedule, place, base=base, span=span) for base in (0.1, 0.3)] for place in range(12)]
    optimiser = make(0.1, 0.3)
    scheduler = schedule_optimiser(optimiser, schedule, span=span)
    first = run(optimiser, scheduler, 5)
    kept, again = (optimiser.state_dict(), scheduler.state_dict()), make(0.1, 0.3)
    resumed = schedule_optimiser(again, schedule, span=span)
    again.load_state_dict(kept[0])
    resumed.load_state_dict(kept[1])
    for own, known in zip([*first, *run(again, resumed, 7)], wanted, strict=True):
        assert own == pytest.approx(known, rel=1e-12)


def test_warm_cosine_rises_for_its_share_and_ends_at_0():
    span = Span(10, 10)
    schedule = warm_cosine(span)
    rates = [rate_at(schedule, place, base=1.0, span=span) for place in range(101)]
    assert schedule.warmup_length == 5
    assert rates.index(max(rates)) == 5
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0)
    assert warm_cosine(Span(1, 3)).warmup == "none"


def test_what_is_never_reached_is_told():
    late = find_unreached(Schedule("step", steps=(20, 40, 80)), Span(25, 100))
    assert [problem.what for problem in late] == ["The rate is to fall after 40, 80 of 25 epochs."]
    long = Schedule("cosine", warmup="linear", warmup_length=34, warmup_by_epoch=True)
    (endless,) = find_unreached(long, Span(25, 100))
    assert "3400 of 2500 iterations" in endless.what
    assert ([problem.severity for problem in late], endless.severity) == (["warning"], "error")
    assert find_unreached(long, Span(256, 100)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"policy": "poly"}, "policy is 'poly'"),
        ({"policy": "step"}, r"steps are \(\)"),
        ({"policy": "step", "steps": (5, 5)}, "Rising"),
        ({"policy": "step", "steps": 0}, "Rising"),
        ({"policy": "cosine", "steps": (32, 48)}, "policy cosine has steps"),
        ({"warmup": "linear"}, "warmup_length 0"),
        ({"warmup_length": 5}, "warmup is 'none'"),
        ({"warmup": "linear", "warmup_length": 5, "warmup_ratio": 0.0}, "warmup_ratio is 0.0"),
        ({"gamma": 0.0, "floor": -1.0}, "2 problems"),
    ],
)
def test_settings_that_cannot_be_or_do_nothing_are_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        Schedule(**changes)


def test_a_training_without_iterations_is_refused():
    with pytest.raises(SettingsError, match="3 epochs of 0 iterations"):
        Span(3, 0)
