"""Windows are those of the published loaders, and are listed in seconds."""

from __future__ import annotations

import random

import numpy as np
import pytest
from looking_faces import golden_crops, golden_faces, make_tracks, read_golden

from nbpkg.annotations.looking.faces import FACE_DTYPE
from nbpkg.datasets.looking.windows import drop_slots, fill_slots, find_around, list_windows, weigh_classes
from nbpkg.features.looking.prior_files import FILTER, P, read_prior_files
from nbpkg.features.looking.quality import is_usable


@pytest.mark.parametrize("case", range(64))
def test_golden_filling(case):
    golden = read_golden("pad_video")[case]
    slots = np.where(golden["missing"], -1, np.arange(7))[None]
    assert fill_slots(slots, "reference")[0].tolist() == golden["source_index_or_-1_black"]


@pytest.mark.parametrize("case", range(14))
def test_golden_temporal_dropout(case):
    golden = read_golden("gauss_dropout")[case]
    slots = np.where(golden["crop_exists"], np.arange(7), -1)[None]
    p = np.array([np.nan if value is None else value for value in golden["p_by_offset_-3..3"]])
    training = golden["mode"] == "train"
    if golden["gaussian_dropout"]:
        slots = drop_slots(slots, p, training=training, uniform=np.array([golden["uniform_draws"][1:]]))
    assert fill_slots(slots, "reference")[0].tolist() == golden["window"]
    assert (golden["uniform_draws"][0] > 0.5 and training) == golden["flip"]


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("stride", [1, 3, 13])
def test_golden_key_faces_of_the_official_loader(part, stride):
    tracks, faces = golden_faces(part)
    windows = list_windows(tracks, faces, crop=np.ones(len(faces), bool), stride=stride)
    assert windows.row.tolist() == read_golden("index_lam")[f"{part}_stride{stride}_keyframes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The golden prior files on disk."""
    import json

    place = tmp_path_factory.mktemp("priors")
    for name, content in read_golden("index_gazepose")["priors"].items():
        (place / name).write_text(json.dumps(content))
    return place


@pytest.mark.parametrize("name", list(read_golden("index_gazepose")["runs"]))
def test_golden_windows_of_gazepose(name, folder):
    golden = read_golden("index_gazepose")["runs"][name]
    part, gauss, stride = name.split("_")
    training, dropout = part == "train", gauss == "gauss1"
    tracks, faces = golden_faces(part)
    quality = read_prior_files(folder, tracks, faces, kinds=(P, FILTER))[0].quality
    windows = list_windows(
        tracks,
        faces,
        crop=golden_crops(tracks, faces),
        stride=int(stride.removeprefix("stride")),
        keep=is_usable(quality["filter"]) if training and dropout else None,
    )
    assert windows.row.tolist() == golden["keyframes"]
    assert windows.filtered.tolist() == golden["filtered_keyframe_indices"]
    assert windows.label.tolist() == golden["labels"]
    assert (windows.label == 1).sum() == golden["n_positive"]
    assert weigh_classes(windows.label) == pytest.approx(golden["class_weights"], abs=1e-12)
    for number, sample in enumerate(golden.get("samples", [])):
        draws = random.Random(sample["python_random_seed"])
        flipped = draws.random() > 0.5 and training
        slots = windows.slots[number : number + 1]
        if dropout:
            uniform = np.array([[draws.random() for _ in range(6)]]) if training else None
            slots = drop_slots(slots, quality["p"], training=training, uniform=uniform)
        filled = fill_slots(slots, "reference")[0]
        assert [[int(faces["frame"][row]), flipped] for row in filled] == sample["window"]


@pytest.mark.parametrize("run", ["gauss0_stride1", "gauss0_stride3", "gauss1_stride1", "gauss1_stride3"])
def test_golden_windows_of_test_crops(run):
    golden = read_golden("test_loader")
    listed = [
        (session, name, [int(file.split("_")[0]) for file in sorted(files)])
        for session, own in golden["files"].items()
        for name, files in own.items()
    ]
    tracks, faces = make_tracks(listed)
    ids = [image[2] for image in golden["runs"][run]["images"]]
    p = [golden["test_p"][image[0]][image[1]].get(image[2], np.nan) for image in golden["runs"][run]["images"]]
    stride = int(run.split("stride")[1])
    windows = list_windows(tracks, faces, crop=np.ones(len(faces), bool), stride=stride)
    assert windows.row.tolist() == golden["runs"][run]["keyframes"]
    for slots, row, sample in zip(windows.slots, windows.row, golden["runs"][run]["samples"], strict=True):
        assert ids[row] == sample["target"][2]
        if run.startswith("gauss1"):
            slots = drop_slots(slots[None], np.array(p), training=False, drop_centre=True)[0]
        filled = fill_slots(slots[None], "reference")[0]
        found = [None if place < 0 else int(faces["frame"][place]) for place in filled]
        assert found == sample["window_frame_ids_None=black"]


def test_the_face_asked_about_is_never_left_out_by_default():
    slots = np.arange(7)[None]
    blurred = np.zeros(7)
    assert drop_slots(slots, blurred, training=False)[0].tolist() == [-1, -1, -1, 3, -1, -1, -1]
    assert drop_slots(slots, blurred, training=True, uniform=np.full((1, 6), 0.99))[0, 3] == 3
    assert drop_slots(slots, blurred, training=False, drop_centre=True)[0, 3] == -1


def test_nearest_filling_keeps_time_and_never_moves_a_face():
    for code in range(128):
        missing = np.array([code >> place & 1 for place in range(7)], bool)
        filled = fill_slots(np.where(missing, -1, np.arange(7))[None], "nearest")[0]
        there = np.flatnonzero(~missing)
        if len(there) == 0:
            assert (filled == -1).all()
            continue
        assert (filled[there] == there).all()
        assert all(abs(filled[place] - place) == np.abs(there - place).min() for place in range(7))


def test_gaps_and_repeated_frames_and_faces_without_crops():
    tracks, faces = make_tracks([("a", "1", [10, 10, 11, 14, 15]), ("a", "2", [11, 12]), ("b", "1", [5])])
    crop = np.array([True, True, True, True, False, True, True, False])
    windows = list_windows(tracks, faces, crop=crop, stride=1)
    assert windows.row.tolist() == [0, 1, 2, 3, 5, 6]
    assert windows.without_crop.tolist() == [4, 7]
    assert windows.slots.tolist() == [
        [-1, -1, -1, 0, 2, -1, -1],
        [-1, -1, -1, 1, 2, -1, -1],
        [-1, -1, 1, 2, -1, -1, 3],
        [2, -1, -1, 3, -1, -1, -1],
        [-1, -1, -1, 5, 6, -1, -1],
        [-1, -1, 5, 6, -1, -1, -1],
    ]


def test_some_tracks_only_and_no_tracks_at_all():
    tracks, faces = make_tracks([("a", "1", [1, 2, 3]), ("b", "1", [1, 2]), ("c", "1", [7, 8])])
    crop = np.ones(len(faces), bool)
    some = list_windows(tracks[tracks["session"] != "b"], faces, crop=crop, stride=2)
    assert some.row.tolist() == [0, 2, 5]
    assert some.slots[2].tolist() == [-1, -1, -1, 5, 6, -1, -1]
    assert len(list_windows(tracks.iloc[:0], faces, crop=crop, stride=1)) == 0


def test_ten_thousand_tracks_give_the_windows_that_single_tracks_give():
    rng = np.random.default_rng(0)
    count, length = 10_000, 500
    tracks, _ = make_tracks([("a", str(number), [0]) for number in range(count)])
    tracks["rows"], tracks["offset"] = length, np.arange(count) * length
    faces = np.zeros(count * length, FACE_DTYPE)
    faces["frame"] = np.arange(count * length) % length + np.repeat(rng.integers(0, 9000, count), length)
    crop = rng.random(len(faces)) < 0.9
    windows = list_windows(tracks, faces, crop=crop, stride=3)
    assert len(windows) == crop.reshape(count, length)[:, ::3].sum()
    for number in rng.integers(0, len(windows), 50):
        row = int(windows.row[number])
        near = [row + offset for offset in range(-3, 4)]
        wanted = [place if place // length == row // length and crop[place] else -1 for place in near]
        assert windows.slots[number].tolist() == wanted
    assert np.array_equal(find_around(tracks, faces["frame"], windows.row)[:, 3], windows.row)
