"""Losses of classifiers over people, against the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from nbpkg.errors import SettingsError
from nbpkg.training.people.losses import (
    LabelLoss,
    add_up_losses,
    balance_classes,
    binary_cross_entropy,
    cross_entropy,
    focal_loss,
    head_loss,
)

KNOWN = json.loads((Path(__file__).parents[2] / "golden" / "joint_engagement" / "loss_open.json").read_text())
SCORES, LABELS = torch.tensor(KNOWN["scores"]), torch.tensor(KNOWN["labels"])
SOFT, SEVERAL, WEIGHTS = (torch.tensor(KNOWN[name]) for name in ("soft", "many_hot", "class_weight"))
FIRST_IGNORED = torch.cat([torch.tensor([-100]), LABELS[1:]])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ce", cross_entropy(SCORES, LABELS)),
        ("ce_weight", cross_entropy(SCORES, LABELS, class_weights=WEIGHTS)),
        ("ce_lossweight0.3", cross_entropy(SCORES, LABELS, weight=0.3)),
        ("ce_soft", cross_entropy(SCORES, SOFT)),
        ("ce_soft_weight", cross_entropy(SCORES, SOFT, class_weights=WEIGHTS)),
        ("bce", binary_cross_entropy(SCORES, SEVERAL)),
        ("bce_weight", binary_cross_entropy(SCORES, SEVERAL, class_weights=WEIGHTS)),
        ("focal_gamma0", focal_loss(SCORES, LABELS, gamma=0)),
        ("focal_gamma2", focal_loss(SCORES, LABELS, gamma=2)),
        ("focal_gamma10", focal_loss(SCORES, LABELS, gamma=10)),
        ("focal_alpha_gamma2", focal_loss(SCORES, LABELS, gamma=2, class_weights=WEIGHTS)),
        ("focal_ignore_first", focal_loss(SCORES, FIRST_IGNORED, gamma=2)),
        ("focal_all_ignored", focal_loss(SCORES, torch.full_like(LABELS, -100), gamma=2)),
    ],
)
def test_as_published(name, found):
    assert float(found) == pytest.approx(KNOWN[name], abs=1e-6)


def test_heads_as_published():
    plain = head_loss(SCORES, LABELS)
    assert {name: float(value) for name, value in plain.items()} == pytest.approx(KNOWN["head_loss"], abs=1e-6)
    several = head_loss(SCORES, SEVERAL, several=True, smoothing=0.1, binary=True)
    wanted = KNOWN["head_loss_multiclass_smooth0.1_bce"]
    assert {name: float(value) for name, value in several.items()} == pytest.approx(wanted, abs=1e-6)


def test_ranks_among_equal_scores_and_more_than_classes():
    scores, labels = torch.zeros(3, 3), torch.tensor([0, 1, 2])
    found = head_loss(scores, labels, ranks=(1, 2, 7))
    assert [float(found[f"top{rank}_acc"]) for rank in (1, 2, 7)] == pytest.approx([1 / 3, 2 / 3, 1])
    assert list(head_loss(SCORES, SOFT)) == ["loss_cls"]


def test_only_losses_are_added_up():
    entries = {"top1_acc": torch.tensor(5.0), "loss_cls": torch.tensor(1.0), "aux.loss": torch.tensor(0.5)}
    assert float(add_up_losses(entries)) == 1.5
    with pytest.raises(SettingsError, match="None of top1_acc is a loss"):
        add_up_losses({"top1_acc": torch.tensor(5.0)})


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 10.0])
def test_focal_gradients_are_numbers_where_the_answer_is_certain(gamma):
    scores = torch.tensor([[200.0, 0.0], [0.0, 200.0], [0.1, 0.0]], requires_grad=True)
    loss = focal_loss(scores, torch.tensor([0, 0, 1]), gamma=gamma)
    loss.backward()
    assert scores.grad.isfinite().all()
    assert scores.grad[0].abs().max() < 1e-6 < scores.grad[1].abs().max()


@pytest.mark.parametrize(
    ("loss", "whole"),
    [
        (LabelLoss(), cross_entropy(SCORES, LABELS)),
        (LabelLoss(class_weights=(2.0, 0.5, 1.25)), cross_entropy(SCORES, LABELS, class_weights=WEIGHTS)),
        (LabelLoss("focal", (2.0, 0.5, 1.25)), focal_loss(SCORES, LABELS, gamma=2, class_weights=WEIGHTS)),
    ],
)
def test_parts_add_up_to_the_whole(loss, whole):
    parts = [loss.add_up(SCORES[rows], LABELS[rows]) for rows in (slice(0, 1), slice(1, 6))]
    assert float(sum(parts)) / loss.measure(LABELS) == pytest.approx(float(whole), abs=1e-6)


def test_balanced_classes_weigh_alike():
    counts = [8, 50, 42]
    weights = balance_classes(counts)
    assert (weights * torch.tensor(counts)).tolist() == pytest.approx([100 / 3] * 3, rel=1e-6)
    scores = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    each = F.cross_entropy(scores, labels, reduction="none")
    wanted = torch.stack([each[labels == label].mean() for label in range(3)]).mean()
    assert float(cross_entropy(scores, labels, class_weights=weights)) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1]])
def test_counts_without_clips_are_refused(counts):
    with pytest.raises(SettingsError, match="above 0"):
        balance_classes(counts)


@pytest.mark.parametrize(
    "changes", [{"name": "hinge"}, {"gamma": -1.0}, {"class_weights": (1.0, float("nan"))}, {"gamma": float("nan")}]
)
def test_losses_that_are_none_are_refused(changes):
    with pytest.raises(SettingsError, match="from 0"):
        LabelLoss(**changes)
