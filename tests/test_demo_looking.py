"""What `make demo` leaves of the study of who looks at the camera wearer."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from demo_outputs import ROOT, made_by

from nbpkg.metrics.looking.precision import average_precision
from nbpkg.metrics.looking.submission import check_submission, list_pictures
from nbpkg.runs.files import read_json
from nbpkg.training.looking.answers import answer_faces
from nbpkg.training.looking.material import open_material
from nbpkg.training.looking.saved import load_face_networks

pytestmark = [pytest.mark.demo, pytest.mark.usefixtures("demo")]
SAMPLE = made_by("looking_at_me/sample")
DATA = ROOT / "data" / "looking_at_me" / "sample"


def scores(part: str = "all") -> pd.DataFrame:
    table = SAMPLE["evaluate"].table("looking_scores").query("part == @part")
    return table.set_index(["system", "measure"])


def test_faces_are_labelled_by_segments_and_short_gaps_are_filled():
    tracks, faces = SAMPLE["parse"].table("tracks"), np.load(SAMPLE["parse"].run / "faces.npy")
    assert tracks["rows"].sum() == len(faces)
    assert {-1, 0, 1} == set(faces["label"].tolist())
    assert 0 < (~faces["seen"]).mean() < 0.1
    labelled = faces[faces["label"] >= 0]
    assert 0.15 < labelled["label"].mean() < 0.35


def test_annotations_are_written_as_published():
    folder = SAMPLE["parse"].run / "exports"
    merged = json.loads((folder / "av.json").read_text())
    assert len(merged["videos"]) == 12
    clips = {path.stem for path in (folder / "result_LAM").iterdir()}
    assert "v5-b" not in clips  # nobody was annotated there
    assert {path.name for path in (folder / "json_original").iterdir()} > clips


def test_nearly_every_face_has_a_crop_and_what_is_missing_is_counted():
    crops = SAMPLE["prepare"].table("crops")
    assert crops["crops"].sum() > 0.98 * crops["faces"].sum()
    assert (crops["crops"] + crops["no_frame"] + crops["empty"] == crops["faces"]).all()
    missing = pd.read_csv(SAMPLE["prepare"].run / "tables" / "missing.csv")
    assert missing.loc[missing["prior"] == "head pose", "missing"].sum() > 0
    assert len(list((SAMPLE["prepare"].run / "audio").glob("*.wav"))) == 18


def test_videos_never_part_and_test_clips_teach_nobody():
    folds = SAMPLE["stratify"].table("folds")
    assert folds.groupby("group")["fold"].nunique().eq(1).all()
    kept = set(folds.loc[folds["role"] == "test", "session"])
    for step in ("train/sweep", "train/final"):
        for one in read_json(SAMPLE[step].run / "networks.json")["networks"]:
            assert not kept & {*one["train"], *one["inner"]}
            assert not set(one["train"]) & set(one["inner"])


def test_priors_win_over_the_baseline_without_them_on_blurred_faces():
    trials = SAMPLE["train/sweep"].table("looking_trials").set_index("variant")
    assert trials.loc["full", "inner_map"] > trials.loc["baseline", "inner_map"] + 0.05
    tables = {name: SAMPLE["parse"].table(name) for name in ("footage", "tracks")}
    tables["folds"] = SAMPLE["stratify"].table("folds")
    places = {"parsed": SAMPLE["parse"].run, "prepared": SAMPLE["prepare"].run, "baked": SAMPLE["bake"].run}
    material = open_material(tables, **places, fps="10", system="sample", data=DATA)
    found = {}
    for network in load_face_networks(SAMPLE["train/sweep"].run):
        answers = answer_faces([network], material.of_folds("test"), stride=1, device=torch.device("cpu"))
        blurred = answers[(answers["label"] >= 0) & (answers["quality"] < 20)]
        assert len(blurred) > 200
        found[network.variant] = average_precision(blurred["label"], blurred["score"])
    assert found["full"] > found["baseline"] + 0.2


@pytest.mark.parametrize("part", ["all", "quality_low"])
def test_the_network_beats_chance_and_answers_that_see_no_face(part):
    found = scores(part)
    own, blind = found.loc[("sample", "map")], found.loc[("size and place", "map")]
    assert own["low"] > own["chance"] + 0.2
    assert own["value"] > blind["value"] + 0.2
    assert own["n_groups"] == 6
    assert found.loc[("sample", "f1_looking"), "ceiling"] > 0.7


def test_every_face_and_test_crop_is_answered_in_the_published_form():
    folder = SAMPLE["evaluate"].run / "files" / "sample"
    rows = [line.split(",") for line in (folder / "pred.csv").read_text().splitlines()]
    truth = (folder / "gt.csv").read_text().splitlines()
    assert len(rows) == len(truth) == int(scores().loc[("sample", "map"), "n"])
    assert {row[-2] for row in rows} == {"1"}
    answered = check_submission(folder / "submission.json", list_pictures(DATA / "videos_challenge"))
    assert answered == len(list(DATA.glob("videos_challenge/*/*/*.jpg")))


def test_painters_and_maps_are_compared_and_films_are_made():
    attention = SAMPLE["compare"].table("attention")
    assert {"gradcam", "occlusion"} <= set(attention["method"])
    people = attention[attention["source"] == "human"]
    assert people["value"].notna().any()
    films = pd.read_csv(SAMPLE["evaluate"].run / "tables" / "films.csv")
    assert len(films) == 1
