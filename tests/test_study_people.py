"""The study of several people: parameter files, contradictions, and what does not apply."""

from __future__ import annotations

import pytest

from nbpkg.errors import SettingsError
from nbpkg.runs.graph import KINDS, reads_of, settings_of
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol


@pytest.fixture
def values(root):
    return read_file(root / "params" / "joint_engagement" / "full.yaml")


def test_every_parameter_file_is_in_order(root):
    files = sorted((root / "params" / "joint_engagement").glob("*.yaml"))
    assert {"full", "i3d", "ctr_gcn", "sample"} <= {path.stem for path in files}
    for path in files:
        assert protocol.check_values(read_file(path))[1].kind == "people"


@pytest.mark.parametrize(
    ("stage", "change", "told"),
    [
        ("evaluate", {"topk": [1, 3]}, "always 1"),
        ("train", {"crossval": {"variants": ["full", "without_smell"]}}, "without_smell"),
        ("train", {"crossval": {"variants": ["full", "full"]}}, "stands twice"),
        ("train", {"network": {"name": "i3d"}, "crossval": {"variants": ["full", "no_memory"]}}, "does not have"),
        ("train", {"network": {"name": "resnet_of_mine"}}, "resnet_of_mine"),
        ("train", {"learning": {"schedule": "cosine", "steps": [3]}}, "which has none"),
        ("train", {"learning": {"schedule": "step", "steps": [40], "epochs": 25}}, "before epoch 25"),
        ("parse", {"form": "lists"}, "names no file"),
        ("parse", {"ratings": "ratings.csv", "classes": ["low", "high"]}, "need 1 cuts"),
    ],
)
def test_contradictions_are_told_before_anything_is_computed(values, stage, change, told):
    values[stage] = {**(values[stage] or {}), **change}
    with pytest.raises(SettingsError, match=told):
        protocol.check_values(values)


def test_what_does_not_apply_says_why(values):
    study, experiment = protocol.check_values(values)
    assert study.why_not("compare", experiment) == ""
    values["train"] = {**(values["train"] or {}), "network": {"name": "ctr_gcn"}, "crossval": {}}
    study, experiment = protocol.check_values(values)
    assert "neither pictures" in study.why_not("compare", experiment)
    values["train"] = {"phases": ["crossval"]}
    study, experiment = protocol.check_values(values)
    assert "no final" in study.why_not("compare", experiment)


def test_settings_of_other_stages_enter_the_keys(values):
    _, experiment = protocol.check_values(values)
    assert settings_of(experiment, "bake")["prepare.who"] == ["parent", "child", "robot"]
    assert "parse.cuts" in settings_of(experiment, "evaluate")
    assert "parse.cuts" not in settings_of(experiment, "prepare")
    assert "people_trials.csv" in reads_of(experiment, "evaluate")["train/crossval"]
    assert KINDS["people"]["train"].phases.keys() == {"crossval", "final"}
