"""The only way in which frames of people are shown: unrecognisable unless somebody has asked for more."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nbpkg.errors import SettingsError
from nbpkg.plots import style

PRIVACY = ("pixelated", "full", "none")  # what may be asked for
COARSE = "coarse"  # what crops of faces become where pictures are pixelated
BLOCKS = 12  # across the picture: a face gets one to three blocks; people recognise known faces from about sixteen
FACE_BLOCKS = 6  # across a picture that holds little but a face
_WITHHELD = 200


def veil(frames: NDArray[np.uint8], *, privacy: str = "pixelated", blocks: int = BLOCKS) -> NDArray[np.uint8]:
    """Make frames fit to be shown.

    Parameters
    ----------
    frames
        RGB ``[..., H, W, 3]``, uint8.
    privacy
        ``pixelated``: mosaic, the detail is gone from the data; ``coarse``: the same with at most `FACE_BLOCKS` blocks;
        ``full``: as they are; ``none``: plain grey.
    blocks
        Blocks of the mosaic across the width.

    Returns
    -------
    ndarray
        New array of the same shape.

    Raises
    ------
    SettingsError
        When `privacy` is none of the four.
    """
    if privacy not in (*PRIVACY, COARSE):
        raise SettingsError(
            f"Frames cannot be shown {privacy!r}.",
            expected=f"One of {', '.join(PRIVACY)}.",
            remedy="Correct the setting 'report.frames' in the parameter file.",
        )
    if privacy == "full":
        return frames.copy()
    if privacy == "none":
        return np.full_like(frames, _WITHHELD)
    blocks = min(blocks, FACE_BLOCKS) if privacy == COARSE else blocks
    height, width = frames.shape[-3:-1]
    rows = max(1, round(blocks * height / width))
    out = np.empty_like(frames, order="C").reshape(-1, height, width, 3)
    for place, frame in zip(out, frames.reshape(-1, height, width, 3), strict=True):
        mosaic = cv2.resize(frame, (blocks, rows), interpolation=cv2.INTER_AREA)
        cv2.resize(mosaic, (width, height), dst=place, interpolation=cv2.INTER_NEAREST)
    return out.reshape(frames.shape)


def veil_crops(privacy: str) -> str:
    """Return how crops of faces are shown where pictures of people are shown as `privacy` says.

    Examples
    --------
    >>> veil_crops("pixelated"), veil_crops("full")
    ('coarse', 'full')
    """
    return COARSE if privacy == PRIVACY[0] else privacy


def show_frames(
    frames: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    *,
    titles: Sequence[str] = (),
    privacy: str = "pixelated",
    columns: int = 5,
) -> Figure:
    """Draw frames in reading order.

    Parameters
    ----------
    frames
        RGB frames, uint8, ``[T, H, W, 3]`` or a sequence of ``[H, W, 3]`` of any sizes.
    titles
        One per frame, e.g. the time; none for no titles.
    privacy
        See `veil`.
    columns
        Frames in a row, at most.
    """
    count = len(frames)
    columns = max(1, min(columns, count))
    tallest = max((frame.shape[0] / frame.shape[1] for frame in frames), default=0.6)
    figure, axes = style.panels(
        max(1, -(-count // columns)),
        columns,
        width=2.4,
        height=2.4 * tallest + 0.3 + 0.15 * _lines(titles),
        share=False,
    )
    for number, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if number < count:
            _draw(axis, frames[number], privacy)
        if number < min(count, len(titles)):
            axis.set_title(titles[number], fontsize=8, color=style.INK)
    if count == 0:
        style.note(axes[0, 0], "no frames")
    return figure


def contact_sheet(media: pd.DataFrame, frames: Sequence[NDArray[np.uint8]], *, privacy: str = "pixelated") -> Figure:
    """Draw one frame of every session with the session's name, length, rate and size.

    Parameters
    ----------
    media
        Table ``media``.
    frames
        One RGB frame per row of `media`, in its order.
    privacy
        See `veil`.
    """
    facts = zip(
        media["session"],
        media["duration_ms"].tolist(),
        media["width"].tolist(),
        media["height"].tolist(),
        (media["fps_num"] / media["fps_den"]).tolist(),
        strict=True,
    )
    titles = [
        f"{session}\n{_clock(length)} min · {width}×{height} · {fps:g} fps"
        for session, length, width, height, fps in facts
    ]
    return show_frames(frames, titles=titles, privacy=privacy, columns=4)


def _draw(axis: Axes, frame: NDArray[np.uint8], privacy: str) -> None:
    axis.imshow(veil(frame, privacy=privacy), interpolation="antialiased")
    if privacy == "none":
        axis.text(0.5, 0.5, "frame withheld", transform=axis.transAxes, ha="center", va="center", fontsize=8)


def _lines(titles: Sequence[str]) -> int:
    return max((title.count("\n") + 1 for title in titles), default=0)


def _clock(milliseconds: int) -> str:
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes}:{seconds:02}"
