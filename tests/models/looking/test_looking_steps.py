"""A few steps of training, the schedule and the loss: as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nbpkg.models.looking.build import make_window_network
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.models.looking.priors import quantise_landmarks

SMALL = {"dmodel": 64, "feedforward": 96, "encoder_layers": 2, "decoder_layers": 1, "dropout": 0.0}
RUNS = {
    "GazeLSTM": ("gaze_lstm", WindowNetworkOptions()),
    "GazePose_small_head_only": ("gazepose", WindowNetworkOptions(landmarks=False, **SMALL)),
    "GazePose_small_head_landmark_frozen_tables": ("gazepose", WindowNetworkOptions(train_tables=False, **SMALL)),
}


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_four_steps_of_training_lose_as_published(case, run):
    golden = case.json("train_steps_open")
    facts, (name, options) = golden[run], RUNS[run]
    network = case.filled(make_window_network(name, options)).train()
    before = {key: item.detach().clone() for key, item in network.named_parameters()}
    rows = quantise_landmarks(facts["head2D"], options.dsplit, csplit=options.csplit, compat="reference")
    clips = case.pictures(golden["input_seed"], 4, 7, 3, 14, 14)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses = []
    for _ in range(4):
        logits = network(clips, torch.tensor(facts["head_index"]), torch.from_numpy(rows))
        loss = F.cross_entropy(logits, torch.tensor(facts["labels"]), weight=torch.tensor([0.25, 0.75]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, facts["losses_before_each_step"], rtol=1e-3)
    np.testing.assert_allclose(logits.detach(), facts["logits_last"], rtol=1e-3)
    assert [key for key, item in network.named_parameters() if torch.equal(item, before[key])] == facts[
        "unchanged_params"
    ]


@pytest.mark.parametrize("first", ["0.0001", "5e-05"])
def test_the_rate_falls_and_rises_as_published(case, first):
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=float(first))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=10, eta_min=5e-6)
    found = []
    for _ in range(25):
        found.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    np.testing.assert_allclose(found, case.json("lr_schedule_open")[first], rtol=0, atol=1e-12)


def test_the_weighted_loss_is_the_published_one(case):
    golden = case.json("weighted_ce_open")
    logits, labels = torch.tensor(golden["logits"]), torch.tensor(golden["labels"])
    assert F.cross_entropy(logits, labels, weight=torch.tensor([0.0730, 0.9269])).item() == pytest.approx(
        golden["loss_default_weights"], abs=1e-6
    )
    counts = torch.tensor([golden["n_neg"], golden["n_pos"]], dtype=torch.float32)
    weights = 1 - counts / counts.sum()
    np.testing.assert_allclose(weights, golden["weights_from_counts"], rtol=0, atol=1e-6)
    assert F.cross_entropy(logits, labels, weight=weights).item() == pytest.approx(
        golden["loss_count_weights"], abs=1e-6
    )
