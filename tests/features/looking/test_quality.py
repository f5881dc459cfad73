"""Sharpness, its normal curve and the filter of windows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from looking_faces import make_tracks, read_golden
from scipy.stats import norm

from nbpkg.datasets.looking.windows import find_around
from nbpkg.errors import StageError
from nbpkg.features.looking.quality import (
    best_of_windows,
    fit_sharpness,
    is_usable,
    measure_sharpness,
    rate_quality,
    rate_sharpness,
    score_faces,
)


def draw_crop(session: str, track: str, frame: int) -> np.ndarray:
    """The golden set's rule of a crop."""
    block, seed = 1 + (frame * 5) % 13, frame + 1000 * len(track) + 7 * len(session)
    count = math.ceil(224 / block)
    cells = np.random.default_rng(seed).integers(0, 200, (count, count, 3))
    return np.repeat(np.repeat(cells, block, axis=0), block, axis=1)[:224, :224].astype(np.uint8)


@pytest.mark.parametrize("stride", ["stride1", "stride3"])
def test_golden_sharpness_and_its_normal_curve(stride):
    golden = read_golden("face_quality")[stride]
    keys = [
        (session, name, frame)
        for session, tracks in golden["var"].items()
        for name, frames in tracks.items()
        for frame in frames
    ]
    found = np.array([measure_sharpness(draw_crop(session, name, int(frame))) for session, name, frame in keys])
    wanted = [golden["var"][session][name][frame] for session, name, frame in keys]
    assert found == pytest.approx(wanted, rel=1e-9)
    scale = fit_sharpness(np.append(found, np.nan))
    assert (scale.mean, scale.std, scale.count) == pytest.approx((golden["mean"], golden["std_ddof1"], golden["n"]))
    rated = rate_sharpness(found, scale)
    assert rated == pytest.approx([golden["p"][session][name][frame] for session, name, frame in keys], rel=1e-9)


def test_every_face_is_held_against_the_clips_that_teach_or_against_its_own_part():
    rng = np.random.default_rng(1)
    sharpness = np.concatenate([rng.lognormal(3, 1, 200), rng.lognormal(5, 1, 200)])
    sharpness[7] = np.nan
    tracks, faces = make_tracks([("a", "1", list(range(200))), ("b", "1", list(range(200)))])
    slots = find_around(tracks, faces["frame"], np.arange(400))
    parts = {"train": np.arange(400) < 200, "test": np.arange(400) >= 200}
    against_train, scales = rate_quality(sharpness, slots, parts=parts, teaching="train")
    assert scales["test"] == scales["train"] == fit_sharpness(sharpness[:200])
    own, _ = rate_quality(sharpness, slots, parts=parts, teaching=None)
    test = sharpness[200:]
    assert own["p"][200:] == pytest.approx(norm.cdf((test - test.mean()) / test.std(ddof=1)), rel=1e-5)
    assert np.array_equal(own["p"][:200], against_train["p"][:200], equal_nan=True)
    assert np.isnan(own["p"][7])
    assert against_train["p"][200:].mean() > own["p"][200:].mean()
    scores = score_faces(sharpness, scales["train"])
    assert against_train["filter"][50] == pytest.approx(scores[47:54].max(), rel=1e-5)
    assert not np.isnan(against_train["filter"][7])  # its neighbours are known


def test_windows_whose_best_face_is_two_deviations_below_the_mean_are_not_usable():
    logs = np.random.default_rng(2).normal(0, 1, 5000)
    scale = fit_sharpness(np.exp(logs))
    borders = np.exp(np.array([scale.log_mean - 2.01 * scale.log_std, scale.log_mean - 1.99 * scale.log_std]))
    scores = score_faces(np.append(borders, np.nan), scale)
    slots = np.array([[0, -1, -1, 0, -1, -1, -1], [0, 1, 0, 0, 0, 0, 0], [2, 2, 2, 2, 2, 2, -1]])
    assert is_usable(best_of_windows(scores, slots)).tolist() == [False, True, True]


def test_sharpness_that_cannot_be_described_is_an_error():
    with pytest.raises(StageError, match="Two crops or more"):
        fit_sharpness(np.array([4.0, np.nan]))
    with pytest.raises(StageError, match="2 crops of 1 degrees"):
        fit_sharpness(np.array([4.0, 4.0]))
