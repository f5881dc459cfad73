"""Answers for faces that no training has seen: the table, faces shared by windows, several processes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from looking_world import CPU, LENGTH, STILL, bake, train

from nbpkg import tables
from nbpkg.datasets.looking.windows import Windows
from nbpkg.errors import FoldError, StageError
from nbpkg.models.looking.build import build_face_encoder
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training.looking.answers import answer_faces
from nbpkg.training.looking.learner import Setting
from nbpkg.training.looking.saved import load_face_networks

PAIR = LaunchSettings(processes=2)


@pytest.fixture(scope="module")
def network(tmp_path_factory, material):
    folder = tmp_path_factory.mktemp("trained")
    train(folder, material, network={"name": "gazepose"})
    return load_face_networks(folder)[0]


def test_every_face_with_a_crop_is_answered(network, material):
    test = material.of_folds("test")
    found = answer_faces([network], test, stride=1, device=CPU)
    assert list(tables.check(found, "looking_predictions")) == list(found)
    assert len(found) == 2 * LENGTH
    assert set(found["session"]) == {"clip f"}
    assert set(found["group"]) == {"video f"}
    np.testing.assert_array_equal(found["label"], material.faces["label"][found["row"]])
    np.testing.assert_array_equal(found["frame"], material.faces["frame"][found["row"]])
    np.testing.assert_array_equal(found["quality"], material.priors["sharpness"][found["row"]])
    assert {"x0", "y0", "x1", "y1"} <= set(found)
    looking, others = (found.loc[found["label"] == label, "score"] for label in (1, 0))
    assert looking.mean() > others.mean() + 0.2
    every_third = answer_faces([network], test, stride=3, device=CPU)
    assert every_third["row"].tolist() == [row for row in found["row"] if (row % LENGTH) % 3 == 0]


def test_faces_without_a_label_are_answered_and_those_without_a_crop_are_not(network, material):
    unseen = replace(network, train=(), inner=())
    found = answer_faces([unseen], material.of_sessions(["clip a", "clip b"]), stride=1, device=CPU)
    assert (found["label"] == -1).sum() == LENGTH
    assert len(found) == 4 * LENGTH - 1


def test_of_two_faces_in_one_frame_the_first_is_answered(network, material):
    faces = material.faces.copy()
    start = 10 * LENGTH
    faces["frame"][start + 4] = faces["frame"][start + 3]
    found = answer_faces([network], replace(material, faces=faces).of_folds("test"), stride=1, device=CPU)
    assert start + 4 not in set(found["row"])
    assert len(found) == 2 * LENGTH - 1


def test_clips_that_a_network_has_seen_are_refused(network, material):
    with pytest.raises(FoldError, match="has seen these clips: clip a, clip b"):
        answer_faces([network], material, stride=1, device=CPU)


def test_without_faces_or_networks_the_table_is_empty(network, material):
    assert answer_faces([], material.of_folds("test"), stride=1, device=CPU).empty
    assert answer_faces([network], material.of_sessions([]), stride=1, device=CPU).empty


def test_shared_faces_are_encoded_once_and_answer_as_window_by_window(network, material):
    from nbpkg.training.looking.answers import _open

    test = material.of_folds("test")
    windows = test.list_windows(["clip f"], stride=1, labelled=False)
    learner, seen = _open(network, test), []
    learner.network.base_model.register_forward_hook(lambda _, crops, __: seen.append(len(crops[0])))
    together = learner.answer(windows)
    assert sum(seen) == len(windows) == 2 * LENGTH  # one batch
    assert together == pytest.approx(window_by_window(network, test, windows), abs=1e-5)


def window_by_window(network, material, windows: Windows) -> np.ndarray:
    """Encode the seven crops of each window by itself; log odds."""
    batches = Setting.of(material, network.settings, seed=0).batches(windows, training=False)
    built, found = network.build(), []
    with torch.inference_mode():
        for number in range(len(windows)):
            batch = batches.make([number])
            logits = built(batch.crops[batch.where], batch.head, batch.points)[0]
            found.append(float(logits[1] - logits[0]))
    return np.array(found)


def test_baked_features_answer_as_crops_do_and_others_are_refused(material, tmp_path):
    encoder = build_face_encoder("small", seed=4)
    baked = bake(material, tmp_path / "baked", encoder)
    train(tmp_path / "trained", baked, augment=STILL, learning={"freeze": True, "epochs": 1})
    network = load_face_networks(tmp_path / "trained")[0]
    one = answer_faces([network], baked.of_folds("test"), stride=1, device=CPU)
    two = answer_faces([network], material.of_folds("test"), stride=1, device=CPU)
    assert one["score"].to_numpy() == pytest.approx(two["score"].to_numpy(), abs=1e-5)
    other = bake(material, tmp_path / "other", build_face_encoder("small", seed=5))
    with pytest.raises(StageError, match="another network of faces than that of round final"):
        answer_faces([network], other.of_folds("test"), stride=1, device=CPU)


@pytest.mark.slow
def test_two_processes_train_as_one_does(material, tmp_path):
    """Batches of thirteen: of the last one, with a single window, nothing is left for the second process."""
    how = {"network": {"name": "gazepose"}, "learning": {"batch_size": 13, "epochs": 2, "validate_within": 3}}
    one, two = (train(tmp_path / str(size.group), material, launch=size, **how) for size in (LaunchSettings(), PAIR))
    assert one.trials["n_train"].iloc[0] % 13 == 1
    assert two.history.drop(columns="value").equals(one.history.drop(columns="value"))
    np.testing.assert_allclose(two.history["value"], one.history["value"], atol=1e-4)
    networks = [load_face_networks(tmp_path / str(group))[0] for group in (1, 2)]
    for key, item in networks[0].state.items():
        # Nothing depends on biases of attention's keys, and Adam makes steps of what rounding leaves of their gradient.
        own = slice(0, len(item) // 3) if key.endswith("in_proj_bias") else slice(None)
        torch.testing.assert_close(networks[1].state[key][own], item[own], rtol=1e-3, atol=1e-4)
    assert not (tmp_path / "2" / "trainings" / "final" / "state.pt").exists()


@pytest.mark.slow
def test_two_processes_answer_as_one_does_also_from_features(material, tmp_path):
    baked = bake(material, tmp_path / "baked", build_face_encoder("small", seed=4))
    train(tmp_path / "trained", baked, augment=STILL, learning={"freeze": True, "epochs": 1})
    networks, everywhere = load_face_networks(tmp_path / "trained"), baked.of_folds("train", "test")
    unseen = [replace(networks[0], train=(), inner=())]  # of two batches, one for each process
    alone = answer_faces(unseen, everywhere, stride=2, device=CPU)
    shared = answer_faces(unseen, everywhere, stride=2, device=CPU, launch=PAIR)
    assert len(alone) > 64
    assert shared.drop(columns="score").equals(alone.drop(columns="score"))
    assert shared["score"].to_numpy() == pytest.approx(alone["score"].to_numpy(), abs=1e-6)
