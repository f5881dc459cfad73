"""The published evaluation programs from end to end: pictures, networks with filled weights, and their scores."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.annotations.gaze.rows import DEFAULTS
from nbpkg.annotations.gaze.smoothing import smooth_boxes
from nbpkg.datasets.gaze.blocks import BlockDataset
from nbpkg.datasets.gaze.items import Preparation
from nbpkg.datasets.gaze.pictures import plan_pictures
from nbpkg.datasets.gaze.plans import plan_blocks
from nbpkg.metrics.gaze import inout
from nbpkg.metrics.gaze.scores import summarise_scores
from nbpkg.metrics.gaze.stream import ScoreStream, one_row_per_map
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal

GOLDEN = Path(__file__).parents[2] / "golden"
TOLERANCE = 2e-4


class Frames:
    """Pictures made by the golden rule."""

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def frames(self, indices) -> np.ndarray:
        return np.stack([self.pictures[index] for index in indices])


@pytest.fixture(scope="module")
def rule() -> ModuleType:
    """How the inputs and weights of the golden vectors are made."""
    sys.path.insert(0, str(GOLDEN))  # it imports `fill`
    spec = importlib.util.spec_from_file_location("gaze_eval_rule", GOLDEN / "gaze_target" / "inputs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(name: str):
    return json.loads((GOLDEN / "gaze_target" / f"{name}.json").read_text())


def fill(network: torch.nn.Module, rule: ModuleType) -> torch.nn.Module:
    network.load_state_dict(rule.filled(network.state_dict()), assign=True)
    return network.eval()


@pytest.fixture(scope="module")
def temporal(rule) -> torch.nn.Module:
    with torch.device("meta"):
        empty = VtdTemporal(single_frame_norm="reference")
    return fill(empty.to_empty(device="cpu"), rule)


def make_table(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([{**DEFAULTS, **row} for row in rows])


def smooth_as_published(table: pd.DataFrame) -> pd.DataFrame:
    """Smooth as the published loader does; its rounding counts."""
    return smooth_boxes(table, compat="reference")


def make_video(facts: dict) -> pd.DataFrame:
    rows = []
    for name, sequence in facts["sequences"].items():
        for frame, (*box, x, y) in enumerate(sequence):
            inside = int((x, y) != (-1, -1))
            where = {
                "session": name.replace("/", "--"),
                "participant": name.split("/")[0],
                "person": "s00",
                "frame": frame,
            }
            gaze = {"gaze_x": x if inside else np.nan, "gaze_y": y if inside else np.nan, "inside": inside}
            box = dict(zip(["x0", "y0", "x1", "y1"], map(float, box), strict=True))
            rows.append(
                {**where, **gaze, **box, "width": facts["width"], "height": facts["height"], "dataset": "video"}
            )
    return smooth_as_published(make_table(rows))


def evaluate_video(table: pd.DataFrame, network: torch.nn.Module, stores: dict, *, batch: int) -> pd.DataFrame:
    """Whole tracks, three time steps at a time, with the state carried on."""
    how = Preparation(compat="reference")
    plan = plan_blocks(table, batch=batch, chunk=3, how=how)
    dataset, found, state = BlockDataset(plan, table, stores=stores, how=how), ScoreStream(table, truth="box"), None
    for block in (dataset[index] for index in range(len(dataset))):
        kept = None if block.first else tuple(part[:, : block.keep] for part in state)
        with torch.inference_mode():
            heat, logit, state = network(*block.pixels.make_inputs(), batch_sizes=block.batch_sizes, state=kept)
        found.add(heat, block.rows, logits=logit)
    return found.table()


def assert_summary(text: str, *values: float) -> None:
    published = [float(part.rsplit(":", 1)[1]) for part in text.split("\t")]
    np.testing.assert_allclose(values, published, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("batch", [1, 2])
def test_video_attention_target_is_evaluated_as_published(rule, temporal, batch):
    facts = read("eval_vat_open")
    table = make_video(facts)
    stores = {
        name: Frames(
            [rule.frame(f"ev_open_{name}_{frame}", facts["width"], facts["height"]) for frame in range(len(rows))]
        )
        for name, rows in facts["sequences"].items()
    }
    found = evaluate_video(table, temporal, stores, batch=batch)
    published = facts["result"][f"batch_size_{batch}"]
    inside = found[found["inside"] == 1]
    np.testing.assert_allclose(sorted(inside["auc"]), sorted(published["auc"]), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(sorted(inside["distance"]), sorted(published["dist"]), rtol=0, atol=5e-5)
    values = summarise_scores(found, seed=0, resamples=9, by=("all",)).set_index("metric")["value"]
    assert_summary(published["summary"], values["auc_box"], values["distance"], values["average_precision"])


def test_object_attention_is_evaluated_as_published(rule, temporal):
    facts = read("eval_objectattention_open")
    table = make_video(facts)
    stores = {
        name.replace("/", "--"): Frames(
            [rule.frame(f"evoa_open_{name}_{frame}", facts["width"], facts["height"]) for frame in range(len(rows))]
        )
        for name, rows in facts["sequences"].items()
    }
    found = evaluate_video(table, temporal, stores, batch=16)
    np.testing.assert_allclose(sorted(found["auc"]), facts["auc_sorted"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(sorted(found["distance"]), facts["dist_sorted"], rtol=0, atol=5e-5)
    precision = inout.measure_average_precision(found["inside"], found["logit"], compat="reference")
    assert_summary(facts["summary"], found["auc"].mean(), found["distance"].mean(), precision.value)


def test_gazefollow_is_evaluated_as_published(rule):
    facts = read("eval_gazefollow_open")
    rows, stores = [], {}
    for path, width, height, points, box, _ in facts["items"]:
        box = dict(zip(["x0", "y0", "x1", "y1"], map(float, box), strict=True))
        stores[path] = Frames([rule.frame(f"evgf_open_{path}", width, height)])
        for number, (x, y) in enumerate(points):
            gaze = {"gaze_x": x * width, "gaze_y": y * height, "inside": 1, "rater": f"a{number + 1}"}
            rows.append({"session": path, "participant": path, **gaze, **box, "width": width, "height": height})
    table = make_table(rows).assign(dataset="gazefollow")
    how = Preparation(widened=0.1, compat="reference")
    people = one_row_per_map(table)
    part = table.iloc[people].reset_index(drop=True)
    dataset = BlockDataset(plan_pictures(part, batch=48, how=how), part, stores=stores, how=how)
    network, found = fill(VtdSpatial(), rule), ScoreStream(table, truth="points")
    for block in (dataset[index] for index in range(len(dataset))):
        with torch.inference_mode():
            heat, _, logit = network(*block.pixels.make_inputs())
        found.add(heat, people[block.rows], logits=logit)
    scores = found.table()
    np.testing.assert_allclose(sorted(scores["auc"]), facts["auc_sorted"], rtol=0, atol=TOLERANCE)
    values = summarise_scores(scores, seed=0, resamples=9, by=("all",)).set_index("metric")["value"]
    assert_summary(facts["summary"], values["auc_points"], values["min_distance"], values["avg_distance"])
