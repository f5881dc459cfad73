"""Networks asked for every row: whatever the blocks, whoever stands beside whom, and only with the saved weights."""

from __future__ import annotations

import json

import gaze_world as world
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from nbpkg.errors import WeightsError
from nbpkg.models.gaze.weights import build_gaze_model, collect_state
from nbpkg.runs.files import sha256, write_json
from nbpkg.training.gaze.answers import (
    Asking,
    GazeCard,
    TrainedGaze,
    answer_rows,
    load_gaze_networks,
    score_network,
    show_answers,
)

FACTS = {"network": "tiny", "prepare": {"size": world.TINY.size}, "sessions": [], "footage": "video"}
KINDS = pytest.mark.parametrize("kind", ["temporal", "spatial", "gazelle"])


def asked(kind: str) -> tuple[TrainedGaze, pd.DataFrame, dict[str, world.Film]]:
    torch.set_num_threads(1)
    table = world.make_table()
    stores = {session: world.Film(rows) for session, rows in table.groupby("session")}
    return TrainedGaze(world.make_network(kind), GazeCard(FACTS, "0" * 64)), table, stores


def collect(kind: str, *, batch: int, chunk: int, drop: list[int] = ()) -> tuple[np.ndarray, np.ndarray]:
    trained, table, stores = asked(kind)
    table = table.drop(index=list(drop)).reset_index(drop=True)
    heat, logit = np.full((len(table), 64, 64), np.nan), np.full(len(table), np.nan)
    for answer in answer_rows(trained, table, stores=stores, asking=Asking(batch, chunk, world.CPU)):
        assert np.isnan(logit[answer.rows]).all()  # no row twice
        heat[answer.rows], logit[answer.rows] = answer.heat, answer.inside
    return heat, logit


@KINDS
def test_every_row_is_answered_once_whatever_the_blocks(kind):
    heat, logit = collect(kind, batch=3, chunk=2)
    assert np.isfinite(heat).all()
    assert np.isfinite(logit).all()
    again, other = collect(kind, batch=16, chunk=50)
    assert np.abs(heat - again).max() < 1e-4
    assert np.abs(logit - other).max() < 1e-4


def test_memory_matters_in_video_only():
    first = list(range(1, 4))  # without these frames of the first track
    for kind, same in (("temporal", False), ("spatial", True)):
        whole, part = collect(kind, batch=4, chunk=3)[0], collect(kind, batch=4, chunk=3, drop=first)[0]
        assert np.allclose(whole[4], part[1], atol=1e-5) is same


@KINDS
def test_scores_are_those_of_the_answers(kind):
    trained, table, stores = asked(kind)
    scores = score_network(trained, table, stores=stores, asking=Asking(4, 3, world.CPU), truth="box", protocol="vtd")
    assert len(scores) == len(table)
    heat, logit = collect(kind, batch=4, chunk=3)
    row, column = np.divmod(heat.reshape(len(heat), -1).argmax(axis=1), 64)
    inside = table["inside"].to_numpy() == 1
    error = np.hypot(column / 64 - table["gaze_x"] / world.WIDTH, row / 64 - table["gaze_y"] / world.HEIGHT)
    assert scores["distance"].to_numpy()[inside] == pytest.approx(error.to_numpy()[inside], abs=1e-5)
    assert scores["logit"].to_numpy() == pytest.approx(logit, abs=1e-5)
    frames, maps = show_answers(trained, table.iloc[[5, 9]], stores=stores, asking=Asking(4, 3, world.CPU))
    assert [frame.shape for frame in frames] == [(world.HEIGHT, world.WIDTH, 3)] * 2
    if kind != "temporal":
        assert maps == pytest.approx(heat[[5, 9]], abs=1e-5)


def write_network(folder, network):
    path = folder / "networks" / "gaze" / "vtd_small.safetensors"
    path.parent.mkdir(parents=True)
    card = {**FACTS, "network": "vtd_small"}
    save_file({key: one.contiguous() for key, one in collect_state(network).items()}, path, {"card": json.dumps(card)})
    entry = {"task": "gaze", "variable": "vtd_small", "file": "networks/gaze/vtd_small.safetensors"}
    write_json(folder / "networks.json", [{**entry, "sha256": sha256(path)}])
    return path


def test_saved_networks_come_back_and_others_are_refused(tmp_path):
    network = build_gaze_model("vtd_small", seed=5)
    path = write_network(tmp_path, network)
    (trained,) = load_gaze_networks(tmp_path).values()
    assert all((one == trained.network.state_dict()[key]).all() for key, one in network.state_dict().items())
    assert trained.card.prepare.size == world.TINY.size
    path.write_bytes(path.read_bytes()[:-4] + b"abcd")
    with pytest.raises(WeightsError, match="not the one that the final phase wrote down"):
        load_gaze_networks(tmp_path)
