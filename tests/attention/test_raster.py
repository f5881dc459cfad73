"""The rasteriser: the rule of its docstring pixel by pixel, and what must hold whatever is painted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.attention.painting.raster import dabs, rasterise
from nbpkg.attention.painting.strokes import Stroke
from nbpkg.errors import PaintingError

T, H, W = 3, 24, 40
SIZE = (320, 192)

coordinate = st.integers(-20_000, 120_000).map(lambda n: n / 100_000)
point = st.tuples(coordinate, coordinate, st.integers(0, 1000).map(lambda n: n / 1000))


@st.composite
def any_stroke(draw, tools=("brush", "eraser")) -> Stroke:
    points = draw(st.lists(point, min_size=1, max_size=5))
    return Stroke(
        frame=draw(st.integers(0, T - 1)),
        tool=draw(st.sampled_from(tools)),
        radius=draw(st.integers(100, 5000)) / 10_000,
        strength=draw(st.integers(0, 10_000)) / 10_000,
        points=tuple((10 * i, *where) for i, where in enumerate(points)),
    )


strokes = st.lists(any_stroke(), max_size=4)
quick = settings(max_examples=40, deadline=None)


def paint(made, shape=(T, H, W), size=SIZE):
    return rasterise(made, shape=shape, size=size)


def walk(stroke: Stroke, size: tuple[int, int]) -> list[tuple[float, float, float]]:
    """Lay dabs from point to point, as the module's docstring tells it and as a preview in a browser does."""
    short = min(size)
    at = [(x * size[0] / short, y * size[1] / short, *(more or [1.0])) for _, x, y, *more in stroke.points]
    laid, k, travelled, step = [at[0]], 1, 0.0, stroke.radius / 4
    for a, b in zip(at, at[1:], strict=False):
        length = math.hypot(b[0] - a[0], b[1] - a[1])
        while length > 0 and k * step <= travelled + length + 1e-9:
            share = min(1.0, (k * step - travelled) / length)
            laid.append(tuple(p + (q - p) * share for p, q in zip(a, b, strict=True)))
            k += 1
        travelled += length
    return [(u, v, stroke.strength * pressure) for u, v, pressure in laid]


def pixel_by_pixel(made, shape, size):
    heat = np.zeros(shape, np.float32)
    short = min(size)
    for stroke in made:
        for cu, cv, strength in walk(stroke, size):
            for i in range(shape[1]):
                for j in range(shape[2]):
                    u, v = (j + 0.5) * size[0] / (shape[2] * short), (i + 0.5) * size[1] / (shape[1] * short)
                    q = math.hypot(u - cu, v - cv) / stroke.radius
                    if q < 1:
                        a = strength * (1 - q * q) ** 2
                        old = float(heat[stroke.frame, i, j])
                        heat[stroke.frame, i, j] = old + a * (1 - old) if stroke.tool == "brush" else old - a * old
    return heat


@given(made=st.lists(any_stroke(), max_size=2))
@settings(max_examples=25, deadline=None)
def test_it_is_the_rule_pixel_by_pixel(made):
    made = [replace(stroke, radius=max(stroke.radius, 0.1), points=stroke.points[:3]) for stroke in made]
    for stroke in made:
        np.testing.assert_allclose(dabs(stroke, SIZE), walk(stroke, SIZE), atol=1e-9)
    shape = (T, 9, 13)  # not of the picture's proportions
    np.testing.assert_allclose(paint(made, shape), pixel_by_pixel(made, shape, SIZE), atol=1e-6)


@given(stroke=any_stroke())
@quick
def test_dabs_lie_a_quarter_of_a_radius_apart(stroke):
    laid = dabs(stroke, SIZE)
    np.testing.assert_allclose(laid, walk(stroke, SIZE), atol=1e-9)
    gaps = np.hypot(*np.diff(laid[:, :2], axis=0).T)
    assert (gaps <= stroke.radius / 4 + 1e-9).all()


@pytest.mark.parametrize("size", [(320, 180), (180, 320), (200, 200)])
def test_lengths_are_shares_of_the_short_side(size):
    line = Stroke(0, "brush", 0.1, 0.5, ((0, 0.0, 0.5), (9, 1.0, 0.5)))
    laid = dabs(line, size)
    assert len(laid) == int(size[0] / min(size) / 0.025 + 1e-6) + 1
    assert laid[0].tolist() == [0.0, 0.5 * size[1] / min(size), 0.5]
    np.testing.assert_allclose(np.diff(laid[:, 0]), 0.025)


def test_a_dab_that_falls_on_the_last_point_is_laid_whatever_the_rounding():
    for steps in range(1, 200):
        for start in (0.0, 0.1, 0.33333):
            end = round(start + steps * 0.0025, 5)
            stroke = Stroke(0, "brush", 0.01, 1.0, ((0, start, 0.5), (5, end, 0.5)))
            assert len(dabs(stroke, (100, 100))) == steps + 1


def test_pressure_runs_along_the_segment_and_a_pen_that_rests_paints_once():
    stroke = Stroke(0, "brush", 0.2, 0.5, ((0, 0.1, 0.5, 0.2), (5, 0.1, 0.5, 0.6), (9, 0.3, 0.5, 1.0)))
    assert dabs(stroke, (100, 100))[:, 2].round(4).tolist() == [0.1, 0.35, 0.4, 0.45, 0.5]
    resting = replace(stroke, points=stroke.points[:2])
    assert dabs(resting, (100, 100)).tolist() == [[0.1, 0.5, 0.1]]
    heat = paint([resting], (1, 50, 50), (100, 100))
    assert heat.max() == np.float32(heat[0, 24, 4])
    np.testing.assert_array_equal(heat, paint([replace(stroke, points=stroke.points[:1])], (1, 50, 50), (100, 100)))


@given(made=strokes, shift=st.tuples(st.integers(-6, 6), st.integers(-6, 6)))
@quick
def test_moving_strokes_by_whole_pixels_moves_the_map(made, shift):
    """In a margin wide enough that nothing is cut."""
    shape, size = (T, 200, 200), (200, 200)

    def put(stroke, down, right):
        points = tuple((t, 0.35 + x / 4 + right / 200, 0.35 + y / 4 + down / 200, p) for t, x, y, p in stroke.points)
        return replace(stroke, points=points, radius=min(stroke.radius, 0.2))

    still = paint([put(stroke, 0, 0) for stroke in made], shape, size)
    moved = paint([put(stroke, *shift) for stroke in made], shape, size)
    np.testing.assert_allclose(np.roll(still, shift, axis=(1, 2)), moved, atol=1e-6)


@given(made=strokes)
@quick
def test_frames_are_independent_and_values_lie_within_0_and_1(made):
    heat = paint(made)
    assert heat.dtype == np.float32
    assert heat.shape == (T, H, W)
    assert heat.min() >= 0
    assert heat.max() <= 1
    for frame in range(T):
        mine = [stroke for stroke in made if stroke.frame == frame]
        np.testing.assert_array_equal(heat[frame], paint(mine)[frame])
        assert mine or not heat[frame].any()


@given(made=strokes, last=any_stroke(tools=("brush",)))
@quick
def test_the_brush_raises_and_the_eraser_lowers(made, last):
    before = paint(made)
    assert (paint([*made, last]) >= before).all()
    assert (paint([*made, replace(last, tool="eraser")]) <= before).all()
    erased = paint([*made, last, replace(last, tool="eraser")])
    assert (erased <= paint([*made, last])).all()


def test_full_strength_fills_and_erases_at_the_centre():
    click = Stroke(0, "brush", 0.15, 1.0, ((0, 0.5, 0.5),))
    heat = paint([click], (1, 5, 5), (100, 100))
    assert heat[0, 2, 2] == 1
    assert paint([click, replace(click, tool="eraser")], (1, 5, 5), (100, 100))[0, 2, 2] == 0
    assert (heat > 0).sum() == 1
    assert not paint([replace(click, strength=0.0)], (1, 5, 5), (100, 100)).any()


grid = st.integers(0, 25).map(lambda n: n * 4000)  # hundred-thousandths; corners whose quarter points are exact too


@given(
    corners=st.lists(st.tuples(grid, grid), min_size=2, max_size=4, unique=True),
    cuts=st.lists(st.integers(0, 3), min_size=3, max_size=3),
    radius=st.integers(2, 20),
)
@quick
def test_more_points_on_the_same_lines_change_nothing(corners, cuts, radius):
    """Whether a slow or a fast machine reports the hand, the paint is the same."""
    few = [(x / 1e5, y / 1e5) for x, y in corners]
    many = [few[0]]
    for (x0, y0), (x1, y1), cut in zip(corners, corners[1:], cuts, strict=False):
        many += [((x0 * (4 - k) + x1 * k) / 4e5, (y0 * (4 - k) + y1 * k) / 4e5) for k in range(1, cut + 1)]
        many.append((x1 / 1e5, y1 / 1e5))
    maps = [
        paint([Stroke(0, "brush", radius / 100, 0.6, tuple((0, *at) for at in points))], (1, 45, 80), (320, 180))
        for points in (few, many)
    ]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)


@given(made=st.lists(any_stroke(tools=("brush",)), min_size=1, max_size=3))
@quick
def test_the_map_does_not_depend_on_its_resolution(made):
    made = [replace(stroke, radius=max(stroke.radius, 0.2)) for stroke in made]
    fine = paint(made, (T, 2 * H, 2 * W))
    coarse = fine.reshape(T, H, 2, W, 2).mean(axis=(2, 4))
    assert np.abs(coarse - paint(made)).max() < 0.035
    np.testing.assert_array_equal(fine, paint(made, (T, 2 * H, 2 * W), (SIZE[0] * 3, SIZE[1] * 3)))


@given(made=strokes)
@quick
def test_a_brush_that_meets_the_border_paints_what_it_would_inside_of_it(made):
    """The map is the middle part of a larger picture's map."""
    wide = [
        replace(one, points=tuple((t, (x + 1) / 3, (y + 1) / 3, p) for t, x, y, p in one.points), radius=one.radius / 3)
        for one in made
    ]
    large = paint(wide, (T, 3 * H, 3 * W), (3 * SIZE[0], 3 * SIZE[1]))
    np.testing.assert_allclose(large[:, H : 2 * H, W : 2 * W], paint(made), atol=2e-6)


@pytest.mark.parametrize("where", [(-9.0, 0.5), (0.5, 9.0), (-0.26, 0.5), (0.5, 1.26)])
def test_a_brush_outside_of_the_picture_paints_nothing(where):
    size = (100, 100)
    assert not paint([Stroke(0, "brush", 0.25, 1.0, ((0, *where),))], (1, 20, 20), size).any()
    assert paint([Stroke(0, "brush", 0.25, 1.0, ((0, *where), (9, 0.5, 0.5)))], (1, 20, 20), size).any()


def test_one_pixel_and_very_large_brushes_are_painted():
    broad = Stroke(0, "brush", 1.0, 1.0, ((0, 0.0, 0.0), (9, 1.0, 1.0)))
    assert paint([broad], (1, 1, 1), (100, 100))[0, 0, 0] > 0.99
    assert (paint([broad], (1, 300, 500), (500, 300)) >= 0).all()
    fine = Stroke(0, "brush", 0.001, 1.0, ((0, 0.0, 0.5), (9, 1.0, 0.5)))
    assert paint([fine], (1, 5, 5), (100, 100))[0, 2].all()


def test_the_same_strokes_give_the_same_bytes():
    dice = np.random.default_rng(0)
    made = [
        Stroke(0, "brush", 0.1, 0.3, tuple((0, *at) for at in dice.random((20, 2)).round(5).tolist()))
        for _ in range(10)
    ]
    assert paint(made).tobytes() == paint(made).tobytes()


@pytest.mark.parametrize(
    ("frame", "shape", "size"), [(3, (3, 9, 9), (9, 9)), (0, (0, 9, 9), (9, 9)), (0, (1, 9, 9), (0, 9))]
)
def test_frames_and_sizes_that_are_not_there_are_refused(frame, shape, size):
    with pytest.raises(PaintingError):
        rasterise([Stroke(frame, "brush", 0.1, 0.1, ((0, 0.5, 0.5),))], shape=shape, size=size)
