"""The study of who looks at the camera wearer: parameter files, contradictions, and what does not apply."""

from __future__ import annotations

import pytest

from nbpkg.errors import SettingsError
from nbpkg.runs.graph import own_steps, reads_of, settings_of
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol
from nbpkg.training.looking.rounds import list_rounds


@pytest.fixture
def values(root):
    return read_file(root / "params" / "looking_at_me" / "full.yaml")


def test_every_parameter_file_is_in_order(root):
    files = sorted((root / "params" / "looking_at_me").glob("*.yaml"))
    assert {"full", "ablations", "gaze_lstm", "baseline_lstm", "sample", "sample_baked"} <= {one.stem for one in files}
    for path in files:
        _, experiment = protocol.check_values(read_file(path))
        assert experiment.kind == "tracks"
        for phase in experiment.stages["train"].phases:
            assert list_rounds(phase, experiment.stages["train"])


def test_the_published_ablations_are_one_sweep(root):
    _, experiment = protocol.check_values(read_file(root / "params" / "looking_at_me" / "ablations.yaml"))
    rounds = list_rounds("sweep", experiment.stages["train"])
    by_name = {one.variant: one.settings for one in rounds}
    assert len(rounds) == 5 * len(by_name)
    assert by_name["no_spatial"].network.name == "gaze_lstm"
    assert not by_name["no_temporal"].window.temporal_dropout
    assert by_name["no_temporal"].window.quality_filter  # the published flag switches both
    assert [by_name[f"head_{name}"].network.split for name in ("half_degree", "5_degrees")] == [0.5, 5.0]


@pytest.mark.parametrize(
    ("stage", "change", "told"),
    [
        ("prepare", {"head_pose": "none"}, "network.head is true"),
        ("prepare", {"landmarks": "none"}, "network.landmarks is true"),
        ("prepare", {"quality": False}, "by quality"),
        ("prepare", {"head_pose": "hopenet"}, "names no file"),
        ("bake", {"encoder": "imagenet"}, "nobody uses them"),
        ("bake", {"encoder": "imagnet"}, "imagnet"),
        ("train", {"variant": "best"}, "is none of full"),
        ("train", {"network": {"name": "BaselineLSTM"}}, "BaselineLSTM"),
        ("train", {"learning": {"weights": [0.1]}}, "at least 2"),
        ("parse", {"max_gap": -1}, "max_gap"),
        ("paint", {"folder": "../painted"}, "inside the data folder"),
    ],
)
def test_contradictions_are_told_before_anything_is_computed(values, stage, change, told):
    values[stage] = {**(values.get(stage) or {}), **change}
    with pytest.raises(SettingsError, match=told):
        protocol.check_values(values)


def test_baked_crops_cannot_vary(values):
    values["bake"] = {"encoder": "imagenet"}
    values["train"] = {**values["train"], "learning": {"freeze": True}}
    with pytest.raises(SettingsError, match="cannot vary"):
        protocol.check_values(values)
    values["train"] |= {"augment": {"mirror": False, "crop": 1.0}}
    protocol.check_values(values)


def test_a_sweep_alone_has_no_network_to_explain(root):
    study, experiment = protocol.check_values(read_file(root / "params" / "looking_at_me" / "ablations.yaml"))
    assert own_steps(experiment) == ["train/sweep", "evaluate"]
    assert "no final" in study.why_not("evaluate", experiment)
    assert study.why_not("train", experiment) == ""


def test_steps_read_what_they_use_and_no_more(values):
    _, experiment = protocol.check_values(values)
    assert "challenge.csv" in reads_of(experiment, "prepare")["parse"]
    assert "model" not in reads_of(experiment, "bake")
    assert reads_of(experiment, "train/final")["train/sweep"] == ("looking_trials.csv",)
    assert settings_of(experiment, "prepare")["parse.challenge"] == "videos_challenge"
    assert "parse.second" not in settings_of(experiment, "prepare")
