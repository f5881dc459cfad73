"""The gaze study: settings that contradict each other, stages that do not apply, sessions and their pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nbpkg.errors import AnnotationError, SettingsError
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol


@pytest.fixture
def values(root):
    return read_file(root / "params" / "gaze_target" / "sample.yaml")


def checked(values, **changes):
    return protocol.check_values({**values, "overrides": changes})


def test_every_parameter_file_is_in_order(root):
    for path in sorted((root / "params" / "gaze_target").glob("*.yaml")):
        assert checked(read_file(path))[1].kind == "heatmap"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.footage": "video"}, "vtd_small learns from 'pictures'"),
        ({"bake.network": "vtd_small_temporal"}, "vtd_small_temporal learns from 'video'"),
        ({"bake.network": "vtd_small_temporal", "train.footage": "video"}, "trained on a frozen trunk"),
        ({"train.final.batch_size": None}, "train.final.batch_size is null"),
        ({"bake.network": "vtd_big"}, "bake.network is 'vtd_big'"),
        ({"parse.smooth": 4}, "must be odd"),
        ({"train.phases": ["final", "sweep"]}, "in this order"),
        ({"prepare.fps": "0"}, "greater than 0"),
    ],
)
def test_contradictions_are_named(values, changes, said):
    with pytest.raises(SettingsError, match=said):
        checked(values, **changes)


def test_a_name_that_stands_twice_is_named(values):
    values["parse"]["sources"][1]["name"] = "videoattention"
    with pytest.raises(SettingsError, match="'videoattention' stands twice"):
        checked(values)


def test_baking_applies_where_something_is_frozen_and_stays(values):
    study, whole = checked(values)
    assert study.why_not("bake", whole).startswith("Does not apply: no part of this network is frozen")
    _, kept = checked(values, **{"bake.frozen": True})
    assert study.why_not("bake", kept) == ""
    _, changing = checked(values, **{"bake.frozen": True, "bake.stored": False})
    assert "changed at random in every epoch" in study.why_not("bake", changing)
    assert study.why_not("train", whole) == ""


def test_folders_of_one_name_in_two_data_sets_stay_apart(values, tmp_path):
    for source in ("vat", "object_attention"):
        folder = tmp_path / source / "images" / "p01" / "kitchen"
        folder.mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "0.png")
    study, experiment = checked({**values, "data": str(tmp_path)})
    names = [name for name, _ in study.media_jobs(experiment)]
    assert names == ["videoattention--p01--kitchen", "objectattention--p01--kitchen"]
    assert study.sources("prepare", experiment) == [folder / "0.png" for _, folder in study.media_jobs(experiment)]


def test_a_data_set_that_is_not_there_is_named(values, tmp_path):
    study, experiment = checked({**values, "data": str(tmp_path)})
    with pytest.raises(AnnotationError, match=r"parse.sources, videoattention"):
        study.read_annotations(experiment)


def test_networks_begin_alike_for_a_seed(values):
    study, experiment = checked(values)
    one, two = (study.encoder(experiment).state_dict() for _ in range(2))
    assert all((one[key] == two[key]).all() for key in one)
