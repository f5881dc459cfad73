"""All that is found out about faces before they are learnt from, in one go."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from looking_faces import make_tracks

from nbpkg import tables
from nbpkg.errors import SettingsError, WeightsError
from nbpkg.features.looking.describe import cut_faces, describe_all, list_parts, write_sounds
from nbpkg.settings.looking import FaceVideoSettings

NOTHING = tables.empty("challenge")
HOW = {"crops": "given", "crop_size": 32}


@pytest.fixture
def data(tmp_path):
    """A data folder with crops of two clips, of which one lacks its first."""
    tracks, faces = make_tracks([("a", "1", range(4)), ("b", "2", range(3))])
    chance = np.random.default_rng(0)
    for session, track, frames in (("a", "1", range(4)), ("b", "2", range(1, 3))):
        folder = tmp_path / "data" / "face_imgs" / session / track
        folder.mkdir(parents=True)
        for frame in frames:
            picture = chance.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"face_{frame:05d}.jpg"), picture)
    return tmp_path, tracks, faces


def run(data, **changes):
    place, tracks, faces = data
    how = FaceVideoSettings.model_validate({**HOW, **changes})
    both = {"challenge": NOTHING, "settings": how, "folder": place / "run", "data": place / "data"}
    problems = cut_faces(tracks, faces, tables.empty("media"), **both)
    parts = {"train": np.ones(len(faces), bool)}
    return problems, describe_all(tracks, faces, **both, device="cpu", threads=1, parts=parts)


def test_given_crops_are_packed_and_described(data):
    problems, told = run(data)
    assert problems == told.problems == []
    assert told.priors["crop"].tolist() == [True] * 4 + [False] + [True] * 2
    assert np.isfinite(told.priors["sharpness"]).tolist() == told.priors["crop"].tolist()
    assert np.isnan(told.priors["yaw"]).all()
    assert told.crops["crops"].tolist() == [4, 2]
    assert told.missing.set_index("prior")["missing"].to_dict() == {"head pose": 6, "points": 6, "sharpness": 0}
    assert sorted(name for name in told.packs if name.endswith(".jpgs")) == ["crops/a.jpgs", "crops/b.jpgs"]
    assert told.files is None


def test_pictures_are_written_again_where_asked_for(data):
    run(data, export_crops=True)
    written = data[0] / "run" / "face_imgs" / "a" / "1" / "face_00003.jpg"
    given = data[0] / "data" / "face_imgs" / "a" / "1" / "face_00003.jpg"
    assert written.read_bytes() == given.read_bytes()


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [("../hopenet.pkl", SettingsError, "outside the data"), ("lost.pkl", WeightsError, "lost")],
)
def test_weights_are_looked_for_in_the_data_folder(weights, error, words, data):
    with pytest.raises(error, match=words):
        run(data, head_pose="hopenet", head_weights=weights)


def test_faces_are_told_by_the_part_of_their_clip(data):
    _, tracks, _ = data
    footage = pd.DataFrame({"session": ["b", "a"], "split": ["val", ""]})
    parts = list_parts(tracks.iloc[::-1], footage)
    assert {name: own.tolist() for name, own in parts.items()} == {
        "no list": [True] * 4 + [False] * 3,
        "val": [False] * 4 + [True] * 3,
    }


def test_no_sound_is_written_where_none_is_wanted(tmp_path):
    assert write_sounds([("a", tmp_path / "lost.mp4")], tmp_path, wanted=False) == []
    assert not (tmp_path / "audio").exists()
