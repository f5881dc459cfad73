"""Figures of who is seen when and where, and of how much is known of each person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter

from nbpkg.plots import style
from nbpkg.plots.frames import veil
from nbpkg.video.stores import Store

_CORNERS = ["x0", "y0", "x1", "y1"]
_FACE = ["face_x0", "face_y0", "face_x1", "face_y1"]


def role_colours(people: pd.DataFrame) -> dict[str, str]:
    """Return a colour for each role, in the order of the persons' numbers."""
    roles = people.groupby("who")["person"].min().sort_values(kind="stable").index
    return {str(role): style.CYCLE[place % len(style.CYCLE)] for place, role in enumerate(roles)}


def people_over_time(people: pd.DataFrame, session: str, *, fps: float | None = None, frames: int = 0) -> Figure:
    """Draw when each person of a session is seen; pale where the box lies between two that were seen.

    Parameters
    ----------
    people
        Table ``people``.
    session
        Which session.
    fps
        Rate of the prepared video, for an axis in seconds; None for frames.
    frames
        Frames of the prepared video; 0 where it ends with the last box.
    """
    own = people[people["session"] == session]
    if own.empty:
        return style.blank(f"people in {session}")
    colours = role_colours(people)
    roles = [role for role in colours if role in set(own["who"])]
    count = max(frames, int(own["frame"].max()) + 1)
    step = 1.0 if fps is None else 1 / fps
    figure, axes = style.panels(1, 1, width=6.6, height=0.42 * len(roles) + 0.9)
    axis = axes[0, 0]
    for place, role in enumerate(roles):
        rows = own[own["who"] == role]
        for how, alpha in (("seen", 1.0), ("between", 0.35)):
            spans = _find_spans(rows.loc[rows["how"] == how, "frame"].to_numpy(np.int64))
            axis.broken_barh([(first * step, length * step) for first, length in spans], (place - 0.32, 0.64),
                             fc=colours[role], alpha=alpha, lw=0)  # fmt: skip
    shares = [len(set(own.loc[own["who"] == role, "frame"])) / count for role in roles]
    axis.set_yticks(range(len(roles)), [f"{role}\n{share:.0%}" for role, share in zip(roles, shares, strict=True)])
    axis.set_ylim(len(roles) - 0.5, -0.5)
    axis.set_xlim(0, count * step)
    axis.set_xlabel("frame of the prepared video" if fps is None else "time (s)")
    axis.set_title(f"{session} (n = {count} frames)", fontsize=9)
    handles = [Patch(fc=style.INK, label="seen"), Patch(fc=style.INK, alpha=0.35, label="between two that were seen")]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=7)
    return figure


def _find_spans(frames: np.ndarray) -> list[tuple[int, int]]:
    """Return first frame and length of each unbroken run of frames, in order."""
    if not len(frames):
        return []
    ordered = np.sort(frames)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 2) > 1)
    ends = np.append(starts[1:], len(ordered))
    return [(int(ordered[start]), int(end - start)) for start, end in zip(starts, ends, strict=True)]


def people_frames(
    stores: Mapping[str, Store],
    people: pd.DataFrame,
    session: str,
    *,
    privacy: str = "pixelated",
    frames: Sequence[int] = (),
    count: int = 4,
) -> Figure:
    """Draw boxes of people and faces over some frames of a session; dashed where they lie between two seen ones.

    Parameters
    ----------
    stores
        Open frame store of each session.
    people
        Table ``people``.
    session
        Which session.
    privacy
        See `nbpkg.plots.frames.veil`.
    frames
        Frames of the store; empty for `count` spread over the session.
    count
        How many frames, where none are named.
    """
    store, own = stores[session], people[people["session"] == session]
    chosen = list(frames) or sorted({int(at) for at in np.linspace(0, len(store) - 1, count + 2)[1:-1]})
    colours = role_colours(people)
    pictures = [store.picture(number) for number in chosen]
    tallest = max(picture.shape[0] / picture.shape[1] for picture in pictures)
    columns = min(4, len(chosen))
    figure, axes = style.panels(
        -(-len(chosen) // columns), columns, width=2.6, height=2.6 * tallest + 0.35, share=False
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, number, picture in zip(axes.flat, chosen, pictures, strict=False):
        axis.imshow(veil(picture, privacy=privacy), interpolation="antialiased")
        sides = np.tile(picture.shape[1::-1], 2)
        rows = own[own["frame"] == number]
        for role, how, body, face in zip(rows["who"], rows["how"], rows[_CORNERS].to_numpy() * sides,
                                         rows[_FACE].to_numpy() * sides, strict=True):  # fmt: skip
            line = "-" if how == "seen" else "--"
            for (x0, y0, x1, y1), width in ((body, 1.6), (face, 0.9)):
                if np.isfinite([x0, y0, x1, y1]).all():
                    axis.add_patch(
                        Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colours[role], lw=width, ls=line)
                    )
            above = body[1] > 0.1 * picture.shape[0]  # else the label would lie outside of the picture
            axis.text(body[0], body[1], f" {role}", va="bottom" if above else "top", ha="left", fontsize=7,
                      color="white", bbox={"fc": colours[role], "lw": 0, "pad": 0.8})  # fmt: skip
        axis.set_title(f"{_time(number, float(store.fps))} · {len(rows)} seen", fontsize=8, color=style.INK)
    figure.suptitle(f"{session}: {len(chosen)} of {len(store)} frames", fontsize=9, color=style.INK)
    return figure


def _time(frame: int, fps: float) -> str:
    return f"{frame / fps:.1f} s"


def token_shares(table: pd.DataFrame) -> Figure:
    """Draw which share of tokens holds something, a dot for each recording, a row for each modality.

    Parameters
    ----------
    table
        As `nbpkg.baking.people.bake_people` returns it.
    """
    if table.empty:
        return style.blank("baked recordings")
    names = sorted(set(table["modality"]))
    figure, axes = style.panels(1, 1, width=5.6, height=0.5 * len(names) + 0.9)
    axis = axes[0, 0]
    for place, name in enumerate(names):
        own = table[table["modality"] == name]
        shares = np.sort(own["share_valid"].to_numpy(np.float64))
        # spread in a fixed pattern, so that equal shares stay countable
        spread = np.linspace(-0.22, 0.22, len(shares)) if len(shares) > 1 else np.zeros(1)
        axis.scatter(shares, place + spread, s=14, color=style.MODEL, alpha=0.6, lw=0, clip_on=False, zorder=3)
        axis.plot([np.median(shares)] * 2, [place - 0.35, place + 0.35], color=style.ORANGE, lw=2, zorder=4)
    width = table.groupby("modality")["width"].first()
    axis.set_yticks(range(len(names)), [f"{name}\n{width[name]} features" for name in names])
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(PercentFormatter(1))
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_xlabel("tokens of all people that hold something; orange: median")
    axis.set_title(f"n = {table['recording'].nunique()} recordings", fontsize=9)
    return figure
