"""Attention maps laid over frames: films with several maps side by side, and figures of a few moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import cv2
import numpy as np
from matplotlib import colormaps, font_manager, pyplot
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from nbpkg.attention.maps import METHOD_FACTS, enlarge
from nbpkg.errors import ExplainError
from nbpkg.plots import style
from nbpkg.plots.frames import BLOCKS, COARSE, FACE_BLOCKS, veil

Frames = NDArray[np.uint8]
HEAT = "inferno"  # perceptually even; on grey frames its hues tell heat from picture, which those of cividis do not
FINEST = 32  # cells along the short side of a map over veiled frames: maps of pixels would draw the faces again
_BLOCKS_HIGH = BLOCKS * 9 / 16  # rows of the mosaic of a whole 16:9 picture; parts of pictures get no more
_TOP = 0.999
_DIM = 0.8  # the strongest heat is light, so that the picture below is made darker
_PAPER, _GAP, _BEHIND = 255, 4, 0.8 * 210  # paper, pixels between pictures, grey behind the scale
_PANEL = 1.25  # inches


def find_limits(values: ArrayLike) -> tuple[float, float]:
    """Return the values of a map that are drawn as nothing and as the strongest heat, one pair for the whole clip.

    Parameters
    ----------
    values
        ``[T, h, w]``, finite.

    Returns
    -------
    low, high
        The smallest value, or 0 where values are negative (what speaks against the class is not drawn), and the value
        that one in a thousand of those above it exceeds, so that a single pixel does not darken all others.

    Examples
    --------
    >>> find_limits([[[-1.0, 0.5], [2.0, 2.0]]])
    (0.0, 2.0)
    """
    array = np.asarray(values, np.float64)
    low = 0.0 if array.min() < 0 else float(array.min())
    drawn = array[array > low]
    return low, float(np.quantile(drawn, _TOP)) if drawn.size else low


def overlay(frames: Frames, values: ArrayLike, *, privacy: str, limits: tuple[float, float] | None = None) -> Frames:
    """Lay a map over frames: the picture in grey, heat the more opaque the higher the value.

    Parameters
    ----------
    frames
        RGB, uint8 ``[T, H, W, 3]``, as recorded: they are veiled here.
    values
        The map ``[t, h, w]``, finite, of the same part of the picture; brought to the frames by linear interpolation.
    privacy
        See `nbpkg.plots.frames.veil`. Unless it is ``full``, maps are made as coarse as `FINEST` cells, or half as many
        where it is ``coarse``: guided backprop, for one, draws what the frames no longer show.
    limits
        Values drawn as nothing and as the strongest heat; None for `find_limits`. One scale for the whole clip, so that
        brightness over time means something.

    Returns
    -------
    ndarray
        uint8 ``[T, H, W, 3]``.

    Raises
    ------
    ExplainError
        When the map is no ``[t, h, w]`` of finite numbers.
    SettingsError
        As `nbpkg.plots.frames.veil` does.
    """
    heat = _fit(values, frames.shape[:3], privacy=privacy, limits=limits)
    grey = _veil(frames, privacy) @ (_DIM * np.array([0.299, 0.587, 0.114]))
    return _mix(grey, heat)


def side_by_side(
    frames: Frames, maps: Mapping[str, ArrayLike], *, privacy: str, height: int, titles: Sequence[str] = ()
) -> Frames:
    """Make the frames of a film: the recording, and beside it every map over it, each on its own scale.

    Parameters
    ----------
    frames, privacy
        As in `overlay`.
    maps
        Name to map ``[t, h, w]``, in order from left to right; names of methods are written as their titles.
    height
        Height of each picture, pixels.
    titles
        One for each frame, e.g. its time, written below; none for no titles.

    Returns
    -------
    ndarray
        uint8 ``[T, H', W', 3]``, pictures with names above them, and a scale below.

    Raises
    ------
    ExplainError, SettingsError
        As `overlay` does.
    """
    width = max(1, round(frames.shape[2] * height / frames.shape[1]))
    large = _resize(frames, height, width)
    shown = [_veil(large, privacy), *(overlay(large, values, privacy=privacy) for values in maps.values())]
    gap = np.full((len(frames), height, _GAP, 3), _PAPER, np.uint8)
    row = np.concatenate([part for picture in shown for part in (gap, picture)][1:], axis=2)
    letters = max(11, height // 13)
    names = ["recording", *map(name_map, maps)]
    head = _caption(
        [(place * (width + _GAP) + width / 2, name) for place, name in enumerate(names)], row.shape[2], letters=letters
    )
    written = [
        np.concatenate([head, picture, _foot(titles[number] if titles else "", row.shape[2], letters=letters)])
        for number, picture in enumerate(row)
    ]
    return np.stack(written)


def show_maps(
    frames: Frames,
    maps: Mapping[str, ArrayLike],
    *,
    privacy: str,
    titles: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
    moments: int = 6,
) -> Figure:
    """Draw a few moments of a clip: a row for the recording and for every map, each on one scale for the whole clip.

    Parameters
    ----------
    frames, maps, privacy
        As in `side_by_side`.
    titles
        One for each frame, e.g. its time.
    notes
        Name of a map to a remark below its name.
    moments
        Columns: frames at even distances.
    """
    places = np.unique(np.linspace(0, len(frames) - 1, min(moments, len(frames))).round().astype(int))
    pictures = {"recording": _veil(frames[places], privacy)}
    for name, values in maps.items():
        pictures[name] = overlay(frames, values, privacy=privacy)[places]
    if len(places) == 1:
        figure, axes = _row_of_maps(pictures, notes or {})
        return _add_scale(figure, axes)
    figure, axes = _grid(len(pictures), len(places), shape=frames.shape[1:3])
    for row, (name, picture) in enumerate(pictures.items()):
        note = (notes or {}).get(name, "")
        for column, axis in enumerate(axes[row]):
            axis.imshow(picture[column], interpolation="antialiased")
            if row == 0 and titles:
                axis.set_title(titles[places[column]], fontsize=8)
        text = f"{name_map(name)}\n{note}" if note else name_map(name)
        axes[row, 0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9, color=style.INK, labelpad=6)
    return _add_scale(figure, axes)


def _row_of_maps(pictures: Mapping[str, Frames], notes: Mapping[str, str]) -> tuple[Figure, NDArray[np.object_]]:
    """Draw the maps of a single moment beside each other, larger, names above them."""
    columns = min(len(pictures), 4)
    height = next(iter(pictures.values())).shape[1] / next(iter(pictures.values())).shape[2]
    rows = -(-len(pictures) // columns)
    figure, axes = style.panels(rows, columns, width=2.3, height=2.3 * height + 0.25, share=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, picture) in zip(axes.flat, pictures.items(), strict=False):
        axis.imshow(picture[0], interpolation="antialiased")
        axis.set_title("\n".join(filter(None, (name_map(name), notes.get(name, "")))), fontsize=8.5, color=style.INK)
    return figure, axes


def _add_scale(figure: Figure, axes: NDArray[np.object_]) -> Figure:
    """Say below the panels what the colours of maps mean."""
    heat = ListedColormap(_mix(np.full(256, _BEHIND), np.linspace(0, 1, 256)) / 255)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), heat), ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.02
    )
    bar.set_ticks([0, 1], labels=["lowest", "highest"])
    bar.set_label("importance; each map on one scale of its own over the whole clip", fontsize=8)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def name_map(name: str) -> str:
    """Return the name of a map as it stands in figures: of a method its title."""
    return METHOD_FACTS[name].title if name in METHOD_FACTS else name


def _fit(
    values: ArrayLike, shape: Sequence[int], *, privacy: str, limits: tuple[float, float] | None
) -> NDArray[np.float64]:
    """Bring a map to 0..1 and to the frames."""
    array = np.asarray(values, np.float32)
    if array.ndim != 3 or not array.size or not np.isfinite(array).all():
        raise ExplainError(
            f"A map {list(array.shape)} cannot be laid over frames.",
            expected="Finite numbers [t, h, w].",
            remedy="Leave out maps that are undefined.",
        )
    short = min(array.shape[1:])
    finest = FINEST * FACE_BLOCKS // BLOCKS if privacy == COARSE else FINEST
    if privacy != "full" and short > finest:
        size = (round(array.shape[2] * finest / short), round(array.shape[1] * finest / short))
        array = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in array])
    low, high = limits if limits is not None else find_limits(array)
    large = enlarge(array, shape, "trilinear").astype(np.float64)
    return np.clip((large - low) / (high - low), 0, 1) if high > low else np.zeros_like(large)


def _mix(grey: NDArray[np.float64], heat: NDArray[np.float64]) -> Frames:
    """Mix grey [...], 0..255, with the colours of heat [...], 0..1, to RGB [..., 3]."""
    colours = colormaps[HEAT](0.2 + 0.8 * heat)[..., :3] * 255
    share = 0.95 * heat[..., None]
    mixed: Frames = np.rint((1 - share) * grey[..., None] + share * colours).astype(np.uint8)
    return mixed


def _grid(rows: int, columns: int, *, shape: tuple[int, ...]) -> tuple[Figure, NDArray[np.object_]]:
    """Make panels of the shape of the frames, close together, with room for names at the left and a scale below."""
    height = _PANEL * shape[0] / shape[1]
    size = (columns * (_PANEL + 0.04) + 1.3, rows * (height + 0.04) + 0.85)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    pyplot.close(figure)  # see style.panels
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    return figure, axes


def _veil(frames: Frames, privacy: str) -> Frames:
    """Veil frames, a part of a picture as coarsely as the whole."""
    blocks = max(1, round(_BLOCKS_HIGH * frames.shape[2] / frames.shape[1]))
    return veil(frames, privacy=privacy, blocks=min(BLOCKS, blocks))


def _resize(frames: Frames, height: int, width: int) -> Frames:
    how = cv2.INTER_AREA if height < frames.shape[1] else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames])


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def _caption(texts: Sequence[tuple[float, str]], width: int, *, letters: int) -> Frames:
    """Write texts, each centred on its place, on a strip of paper."""
    strip = Image.new("RGB", (width, round(1.7 * letters)), (_PAPER,) * 3)
    pen = ImageDraw.Draw(strip)
    for centre, text in texts:
        pen.text((centre, strip.height / 2), text, font=_font(letters), fill=style.INK, anchor="mm")
    return np.asarray(strip)


def _foot(title: str, width: int, *, letters: int) -> Frames:
    """Write a title at the left and the scale at the right of a strip of paper."""
    strip = Image.new("RGB", (width, round(1.7 * letters)), (_PAPER,) * 3)
    pen, middle, font = ImageDraw.Draw(strip), strip.height / 2, _font(letters)
    pen.text((letters / 2, middle), title, font=font, fill=style.INK, anchor="lm")
    ramp = np.repeat(np.linspace(0, 1, 6 * letters)[None], letters, axis=0)
    colours = _mix(np.full(ramp.shape, _BEHIND), ramp)
    right = width - letters / 2
    pen.text((right, middle), "highest", font=font, fill=style.INK, anchor="rm")
    right -= font.getlength("highest ") + ramp.shape[1]
    strip.paste(Image.fromarray(colours), (round(right), round(middle - letters / 2)))
    pen.text((right - letters / 3, middle), "lowest", font=font, fill=style.INK, anchor="rm")
    return np.asarray(strip)
