"""Features are scaled and made fewer by training recordings only, and the same way everywhere."""

import json
from dataclasses import replace

import numpy as np
import pytest
from valence_recordings import make_recording

from nbpkg.datasets.valence.decompose import decompose
from nbpkg.datasets.valence.moments import measure, merge
from nbpkg.datasets.valence.preparation import Preparation, fit_preparation
from nbpkg.errors import SettingsError, TableError, WeightsError


def fit(recordings, modalities=("audio", "text"), *, scale="standard", reduce=None, seed=0):
    return fit_preparation(recordings, modalities, scale=scale, reduce=reduce or {}, seed=seed)


@pytest.fixture
def recordings():
    return [
        make_recording("Subject_1_Story_2", steps=6, missing={"text": [0, 5]}),
        make_recording("Subject_2_Story_2", steps=9, missing={"audio": [3]}),
        make_recording("Subject_10_Story_4", steps=4),
    ]


def stack(recordings, modality):
    return np.concatenate([one.features[modality][one.present[modality]] for one in recordings]).astype(float)


def test_standard_uses_the_rows_that_are_there(recordings):
    preparation = fit(recordings)
    for modality in ("audio", "text"):
        rows = stack(recordings, modality)
        for one in recordings:
            there = one.present[modality]
            expected = (one.features[modality] - rows.mean(axis=0)) / rows.std(axis=0)
            found = preparation.apply(one)[modality]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found[there], expected[there], rtol=1e-5, atol=1e-6)
            assert not found[~there].any()


def test_range_reaches_from_minus_one_to_one_and_constants_are_minus_one(recordings):
    flat = [
        replace(one, features={**one.features, "audio": one.features["audio"] * np.float32([1, 1, 0])})
        for one in recordings
    ]
    preparation = fit(flat, scale="range")
    rows = np.concatenate([preparation.apply(one)["audio"][one.present["audio"]] for one in flat])
    assert rows.min(axis=0).tolist() == [-1, -1, -1]
    assert rows.max(axis=0).tolist() == [1, 1, -1]
    text = stack(flat, "text")
    expected = (text - text.min(0)) / (text.max(0) - text.min(0)) * 2 - 1
    found = np.concatenate([preparation.apply(one)["text"][one.present["text"]] for one in flat])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    other = make_recording("Subject_3_Story_1", steps=3)
    assert (preparation.apply(other)["audio"][:, 2] == -1).all()  # varies here, did not in training


def test_a_constant_feature_is_shifted_not_blown_up():
    third = np.full((7, 1), 0.1)
    flat = make_recording(features={"audio": np.hstack([np.arange(7.0)[:, None], third])})
    assert fit([flat], ["audio"]).apply(flat)["audio"][:, 1].tolist() == [0] * 7
    moved = replace(flat, features={"audio": flat.features["audio"] + np.float32(0.5)})
    assert fit([flat], ["audio"]).apply(moved)["audio"][:, 1] == pytest.approx([0.5] * 7)


def test_none_leaves_features_as_they_are_but_copies_them(recordings):
    prepared = fit(recordings, scale="none").apply(recordings[0])["audio"]
    assert np.array_equal(prepared, recordings[0].features["audio"])
    assert not np.shares_memory(prepared, recordings[0].features["audio"])


def test_only_the_recordings_given_count(recordings):
    alone = fit(recordings[:1])
    assert alone.facts()["sessions"] == ["Subject_1_Story_2"]
    loud = replace(
        recordings[1], features={name: rows * 1000 for name, rows in recordings[1].features.items()}, hidden=True
    )
    before = alone.apply(recordings[0])["text"]
    alone.apply(loud)
    assert np.array_equal(alone.apply(recordings[0])["text"], before)
    assert not np.allclose(fit([recordings[0], loud]).apply(recordings[0])["text"], before)


def test_a_subset_of_modalities_in_the_order_asked_for(recordings):
    preparation = fit(recordings, ["text", "audio"])
    assert preparation.modalities == ("text", "audio") == tuple(preparation.apply(recordings[0]))
    assert fit(recordings, ["text"]).widths == {"text": 4}


def test_fewer_components_are_those_of_a_singular_value_decomposition(recordings):
    preparation = fit(recordings, scale="none", reduce={"text": 2})
    assert preparation.widths == {"audio": 3, "text": 2}
    rows = stack(recordings, "text")
    vectors = np.linalg.svd(rows, full_matrices=False)[2][:2]
    vectors *= np.sign(vectors[np.arange(2), np.abs(vectors).argmax(axis=1)])[:, None]
    found = preparation.apply(recordings[2])["text"]
    np.testing.assert_allclose(found, recordings[2].features["text"] @ vectors.T, atol=1e-5)


def test_components_of_wide_rows_agree_with_the_decomposition_of_all_rows():
    draws = np.random.default_rng(1)
    rows = (draws.standard_normal((120, 8)) * 2.0 ** -np.arange(8)) @ draws.standard_normal((8, 300))
    rows = (rows + 0.001 * draws.standard_normal(rows.shape)).astype(np.float32)
    found = decompose(lambda: iter([rows[:50], rows[50:50], rows[50:]]), 300, components=6, seed=3)
    exact = np.linalg.svd(rows.astype(float), full_matrices=False)[2][:6]
    assert np.abs((found * exact).sum(axis=1)) == pytest.approx(np.ones(6), abs=1e-9)
    np.testing.assert_allclose(found, decompose(lambda: [rows], 300, components=6, seed=4), atol=1e-7)  # any seed
    assert (found[np.arange(6), np.abs(found).argmax(axis=1)] > 0).all()


def test_components_beyond_the_rank_are_nothing_not_noise():
    rows = np.outer(np.arange(1.0, 6), [1.0, 2.0, 3.0, 4.0])
    one = make_recording(features={"text": rows})
    found = fit([one], ["text"], reduce={"text": 3}).apply(one)["text"]
    assert found[:, 0].std() == pytest.approx(1, abs=1e-6)
    assert not found[:, 1:].any()


def test_the_same_recordings_give_the_same_bytes(recordings):
    first, second = (fit(recordings, scale="range", reduce={"text": 2}, seed=5) for _ in range(2))
    for one in recordings:
        assert first.apply(one)["text"].tobytes() == second.apply(one)["text"].tobytes()


@pytest.mark.parametrize("scale", ["none", "range", "standard"])
def test_a_preparation_is_stored_and_rebuilt(recordings, scale):
    preparation = fit(recordings, scale=scale, reduce={"text": 2})
    facts = json.loads(json.dumps(preparation.facts()))
    again = Preparation.from_tensors(preparation.tensors(), facts)
    assert (again.modalities, again.widths, again.facts()) == (preparation.modalities, preparation.widths, facts)
    for modality, rows in preparation.apply(recordings[1]).items():
        assert np.array_equal(again.apply(recordings[1])[modality], rows)


def test_numbers_of_another_training_do_not_fit(recordings):
    tensors, facts = fit(recordings, reduce={"text": 2}).tensors(), fit(recordings).facts()
    with pytest.raises(WeightsError, match="does not fit its description"):
        Preparation.from_tensors(tensors, facts)
    with pytest.raises(WeightsError, match="does not fit"):
        Preparation.from_tensors({}, facts)


def test_another_width_names_session_modality_and_both_widths(recordings):
    wide = make_recording("Subject_7_Story_1", features={"audio": np.ones((3, 5)), "text": np.ones((3, 4))})
    with pytest.raises(TableError, match="'Subject_7_Story_1': modality 'audio' is 5 wide, others are 3 wide"):
        fit(recordings).apply(wide)
    with pytest.raises(TableError, match="'Subject_7_Story_1': modality 'audio' is 5 wide, others are 3 wide"):
        fit([*recordings, wide])


def test_a_modality_that_is_not_there_is_named(recordings):
    with pytest.raises(TableError, match="'Subject_1_Story_2' has no modality 'face'"):
        fit(recordings, ["audio", "face"])
    nothing = make_recording(steps=3, missing={"text": [0, 1, 2]})
    with pytest.raises(TableError, match="No training recording has a row of modality 'text'"):
        fit([nothing])
    assert not fit(recordings).apply(nothing)["text"].any()


def test_requests_that_cannot_be_met(recordings):
    with pytest.raises(SettingsError, match="'text' is 4 wide and cannot be reduced to 5"):
        fit(recordings, reduce={"text": 5})
    with pytest.raises(SettingsError, match="reduced to 0 components"):
        fit(recordings, reduce={"text": 0})
    with pytest.raises(SettingsError, match="from 0 recordings"):
        fit([])
    with pytest.raises(SettingsError, match="each modality once|audio, audio"):
        fit(recordings, ["audio", "audio"])


def test_moments_of_parts_are_those_of_the_whole():
    rows = np.random.default_rng(0).standard_normal((50, 3)) * [1, 1e-3, 100] + [0, 1e4, 5]
    found = merge([measure(rows[:7]), measure(rows[7:7]), measure(rows[7:])])
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, rows.std(axis=0), rtol=1e-9)
    assert found.least.tolist() == rows.min(axis=0).tolist()
    assert found.rows == 50
