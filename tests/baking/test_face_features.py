"""Features of crops: each crop is encoded once, a run that was cut off goes on, damaged files are refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nbpkg.baking.looking import FOLDER, bake_faces, open_baked, rate_faces, read_quality
from nbpkg.errors import AnnotationError, StageError
from nbpkg.models.looking.build import build_face_encoder
from nbpkg.runs.files import hash_below
from nbpkg.settings.looking import FaceFeatureSettings
from nbpkg.tables import empty

sys.path.insert(0, str(Path(__file__).parents[1] / "training" / "looking"))
CPU = torch.device("cpu")
HOW = FaceFeatureSettings(encoder="random", network="small", size=24)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    import looking_world

    return looking_world.make_material(tmp_path_factory.mktemp("faces"))


@pytest.fixture
def encoder():
    return build_face_encoder("small", seed=1)


def bake(material, encoder, folder, how=HOW, *, crops=None):
    places = {"has_crop": material.priors["crop"], "settings": how, "folder": folder, "device": CPU}
    index = bake_faces(encoder, crops or material.crops, material.tracks, **places)
    (folder / "features.json").write_text(json.dumps(index))
    return open_baked(folder)


def test_features_are_those_of_each_crop_by_itself(material, encoder, tmp_path):
    baked = bake(material, encoder, tmp_path)
    rows = np.array([170, 3, 33, 64, 3])
    batch = _look(material, rows)
    with torch.inference_mode():
        features, maps = encoder.eval()(batch)
    np.testing.assert_allclose(baked.read(rows, "features"), features, atol=1e-5)
    np.testing.assert_allclose(baked.read(rows, "maps"), maps, rtol=1e-3, atol=1e-3)
    assert (baked.size, baked.has_maps) == (24, True)
    assert all(torch.equal(item, baked.encoder[key]) for key, item in encoder.state_dict().items())


def _look(material, rows):
    from nbpkg.features.looking.pixels import normalise_crops, resize_crops

    return normalise_crops(resize_crops(material.crops.read(rows), 24))


def test_each_crop_is_encoded_once(material, encoder, tmp_path):
    seen = []
    encoder.register_forward_hook(lambda _, crops, __: seen.append(len(crops[0])))
    baked = bake(material, encoder, tmp_path, HOW.model_copy(update={"maps": False}))
    assert sum(seen) == material.priors["crop"].sum() + 1  # and one of nothing, for the shapes
    assert not baked.has_maps
    assert not list((tmp_path / FOLDER).glob("*.maps.npy"))


class _Breaking:
    """Crops of which a run is cut off at the third clip."""

    def __init__(self, crops, calls: int) -> None:
        self.crops, self.calls = crops, calls

    def read(self, rows):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return self.crops.read(rows)


def test_a_run_that_was_cut_off_goes_on_at_its_clip(material, encoder, tmp_path):
    whole = bake(material, encoder, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        bake(material, encoder, tmp_path / "cut", crops=_Breaking(material.crops, 2))
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut" / FOLDER).glob("*.npy")}
    assert len(done) == 4
    again = bake(material, encoder, tmp_path / "cut", crops=_Breaking(material.crops, 4))
    assert {name: (tmp_path / "cut" / FOLDER / name).stat().st_mtime_ns for name in done} == done
    assert again.index == whole.index
    assert hash_below(tmp_path / "cut", FOLDER) == hash_below(tmp_path / "whole", FOLDER)


def test_other_weights_or_settings_are_baked_anew(material, encoder, tmp_path):
    rows = np.array([1, 40])
    first = bake(material, encoder, tmp_path).read(rows, "features")
    other = bake(material, build_face_encoder("small", seed=2), tmp_path).read(rows, "features")
    assert np.abs(first - other).max() > 1e-3


def test_damaged_features_are_refused_and_without_any_there_are_none(material, encoder, tmp_path):
    assert bake(material, None, tmp_path) is None
    bake(material, encoder, tmp_path)
    path = next((tmp_path / FOLDER).glob("*.features.npy"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StageError, match="features"):
        open_baked(tmp_path)


def test_sharpness_is_held_against_training_faces_only(material):
    priors = material.priors.copy()
    test = np.arange(len(priors)) >= 10 * 16
    before, scales = rate_faces(material.tracks, material.faces, priors, folds=material.folds, fit="train")
    priors["sharpness"][test] *= 7
    after, _ = rate_faces(material.tracks, material.faces, priors, folds=material.folds, fit="train")
    for name in ("p", "filter"):
        np.testing.assert_array_equal(before[name][~test], after[name][~test])
    assert (after["p"][test] > before["p"][test]).all()
    assert scales["train"] == scales["test"]
    _, apart = rate_faces(material.tracks, material.faces, priors, folds=material.folds, fit="split")
    assert apart["test"].mean > 5 * apart["train"].mean
    assert np.isnan([before["p"][9], before["filter"][9]]).all()  # the face without a crop


def test_published_quality_is_read_as_it_is(material, tmp_path):
    clip, track = (str(material.tracks.iloc[0][name]) for name in ("session", "track"))
    (tmp_path / "train_p.json").write_text(json.dumps({clip: {track: {"5": 0.3}}}))
    scores = {"max_index": 2, "array": [0, 0, -0.5, 0, 0, 0, 0]}
    (tmp_path / "train_filter_all.json").write_text(json.dumps({f"{clip}:{track}:6": scores}))
    nobody = empty("challenge")
    quality, scales = read_quality(material.tracks, material.faces, folder=tmp_path, challenge=nobody)
    assert quality["p"][0] == pytest.approx(0.3)
    assert quality["filter"][1] == pytest.approx(-0.5)
    assert np.isnan(quality["p"][1:]).all()
    assert scales == {}
    (tmp_path / "train_p.json").write_text("[]")
    with pytest.raises(AnnotationError, match="no entries by name"):
        read_quality(material.tracks, material.faces, folder=tmp_path, challenge=nobody)
