"""Maps: scaling and resizing are visible acts, and what has no answer is an error, not NaN."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nbpkg import seeding
from nbpkg.attention.maps import Map, check_map, enlarge, is_constant, normalise, saliency
from nbpkg.errors import ExplainError


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return seeding.generator(seed, "maps", *shape).standard_normal(shape).astype(np.float32)


def by_torch(values: np.ndarray, shape: tuple[int, ...], mode: str) -> np.ndarray:
    names = {1: "linear", 2: "bilinear", 3: "trilinear"}
    how = names[values.ndim] if mode == "trilinear" else mode
    corners = {} if mode == "nearest" else {"align_corners": False}
    return F.interpolate(torch.from_numpy(values)[None, None], size=shape, mode=how, **corners)[0, 0].numpy()


@pytest.mark.parametrize("mode", ["trilinear", "nearest"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((3, 4, 5), (8, 9, 7)),
        ((8, 9, 7), (3, 4, 5)),
        ((1, 1, 1), (2, 3, 4)),
        ((4, 5), (9, 5)),
        ((6,), (4,)),
        ((5,), (5,)),
    ],
)
def test_resizing_is_that_of_torch(old, new, mode):
    values = draw(*old)
    found = enlarge(values, new, mode)
    assert (found.shape, found.dtype) == (new, np.float32)
    np.testing.assert_allclose(found, by_torch(values, new, mode), atol=1e-5)


@pytest.mark.parametrize("new", [(9, 11), (3, 4), (5, 6)])
def test_cubic_resizing_is_that_of_torch_and_linear_over_time(new):
    picture = draw(5, 6)
    np.testing.assert_allclose(enlarge(picture, new, "bicubic"), by_torch(picture, new, "bicubic"), atol=1e-5)
    film = draw(2, 5, 6)
    wanted = np.stack([by_torch(frame, new, "bicubic") for frame in film])
    np.testing.assert_allclose(enlarge(film, (2, *new), "bicubic"), wanted, atol=1e-5)
    longer = enlarge(film, (4, *new), "bicubic")
    np.testing.assert_allclose(longer[1], 0.75 * wanted[0] + 0.25 * wanted[1], atol=1e-5)


@given(st.lists(st.integers(1, 6), min_size=3, max_size=3), st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_linear_resizing_stays_in_range_and_keeps_constants(old, new):
    values = draw(*old)
    found = enlarge(values, new, "trilinear")
    assert values.min() - 1e-6 <= found.min() <= found.max() <= values.max() + 1e-6
    np.testing.assert_allclose(enlarge(np.full(old, 3.5, np.float32), new, "bicubic"), 3.5, rtol=1e-6)


def test_scales_are_kept_until_asked_for():
    raw = np.array([[[-4.0, 0.0], [1.0, 2.0]], [[3.0, 0.5], [-1.5, 0.0]]], np.float32)
    np.testing.assert_array_equal(saliency(raw), [[4.0, 0.5], [1.5, 2.0]])
    film = draw(3, 4, 5) * np.array([1, 10, 0], np.float32)[:, None, None]
    whole = normalise(film, "clip")
    assert (whole.min(), whole.max()) == (0, 1)
    np.testing.assert_allclose(whole, (film - film.min()) / (film.max() - film.min()), atol=1e-6)
    each = normalise(film, "frame")
    assert [(frame.min(), frame.max()) for frame in each] == [(0, 1), (0, 1), (0, 0)]
    tiny = normalise(np.array([1.0, 1.0000001], np.float32), "clip")
    assert np.isfinite(tiny).all()


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3), np.float32), np.full(4, 7.0, np.float32), np.ones((1, 1), np.float32)]
)
@pytest.mark.parametrize("how", ["clip", "frame"])
def test_constant_maps_are_refused_by_name(values, how):
    explained = Map(values, "gradcam", "layer4", 1, signed=False)
    assert is_constant(values)
    with pytest.raises(ExplainError, match=r"no place matters[\s\S]*gradcam, layer 'layer4', class 1"):
        check_map(explained)
    with pytest.raises(ExplainError, match=r"no place matters[\s\S]*layer4"):
        normalise(values, how, where=explained.where)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_by_name(bad):
    values = np.array([1.0, bad, 2.0], np.float32)
    with pytest.raises(ExplainError, match=r"1 of 3 values[\s\S]*occlusion, class 0"):
        check_map(Map(values, "occlusion", "", 0, signed=False))
    with pytest.raises(ExplainError, match="no finite numbers"):
        normalise(values, "clip")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: enlarge(draw(2, 3), (4, 5, 6), "nearest"),
        lambda: enlarge(draw(2, 3), (0, 5), "nearest"),
        lambda: enlarge(draw(2, 3), (4, 5), "linear"),
        lambda: normalise(draw(2, 3), "video"),
    ],
)
def test_impossible_requests_are_one_clear_error(wrong):
    with pytest.raises(ExplainError):
        wrong()


def test_maps_can_be_read_and_shown_without_torch():
    code = "import sys; from nbpkg.attention import maps, reference_overlay; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
