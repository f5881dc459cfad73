"""Figures of face tracks: who is followed and looks when, how long and large tracks are, how much is looked."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from nbpkg.plots import style

MOST = 20  # tracks that one timeline can show
LOOKING = style.ORANGE


def track_timeline(
    tracks: pd.DataFrame, faces: NDArray[np.void], session: str, *, fps: float | None = 30.0, most: int = MOST
) -> Figure:
    """Draw when each face of a clip is followed, and when it looks at the camera wearer.

    Pale where the box lies between two that are annotated; orange where the face looks.

    Parameters
    ----------
    tracks
        Table ``tracks``.
    faces
        Rows of ``faces.npy``.
    session
        Which clip.
    fps
        Rate of the annotation, for an axis in seconds; None for frames.
    most
        Only so many tracks, those that begin first.
    """
    every = tracks[tracks["session"] == session].sort_values(["first", "track"], kind="stable")
    if every.empty:
        return style.blank(f"face tracks in {session}")
    own = every.head(most)
    step = 1.0 if fps is None else 1 / fps
    figure, axes = style.panels(1, 1, width=7.2, height=0.24 * len(own) + 0.9)
    axis = axes[0, 0]
    for place, (offset, rows) in enumerate(zip(own["offset"], own["rows"], strict=True)):
        _draw_track(axis, faces[offset : offset + rows], place, step)
    people = [f"{track} · {person}" if person else str(track)
              for track, person in zip(own["track"], own["person"], strict=True)]  # fmt: skip
    axis.set_yticks(range(len(own)), [f"{name[:24]}…" if len(name) > 25 else name for name in people])
    axis.set_ylim(len(own) - 0.4, -0.6)
    axis.set_xlim(left=0)
    axis.set_xlabel("frame of the clip" if fps is None else "time in the clip (s)")
    axis.set_ylabel("track · person")
    more = f", the first {len(own)} shown" if len(own) < len(every) else ""
    axis.set_title(f"{session} (n = {int(every['rows'].sum())} faces in {len(every)} tracks{more})", fontsize=9)
    handles = [Patch(fc=style.BLUE, label="followed"), Patch(fc=style.BLUE, alpha=0.35, label="between two boxes"),
               Patch(fc=LOOKING, label="looks at the camera wearer")]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False, fontsize=7)
    return figure


def _draw_track(axis: Axes, faces: NDArray[np.void], place: int, step: float) -> None:
    """Draw one bar, and within it what looks; the bar stays visible above and below."""
    frames, seen = faces["frame"].astype(np.int64), faces["seen"]
    for chosen, alpha, edge in ((~seen, 0.35, 0), (seen, 1.0, 0.8)):
        bars = [(first * step, length * step) for first, length in _find_runs(frames[chosen])]
        # with an edge a track of a few frames can be seen beside minutes
        axis.broken_barh(bars, (place - 0.36, 0.72), fc=style.BLUE, ec=style.BLUE, alpha=alpha, lw=edge)
    bars = [(first * step, length * step) for first, length in _find_runs(frames[faces["label"] == 1])]
    axis.broken_barh(bars, (place - 0.2, 0.4), fc=LOOKING, ec=LOOKING, lw=0.8, zorder=3)


def _find_runs(frames: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return first frame and length of each unbroken run of ascending frames."""
    if not len(frames):
        return []
    starts = np.flatnonzero(np.diff(frames, prepend=frames[0] - 2) > 1)
    ends = np.append(starts[1:], len(frames))
    return [(int(frames[start]), int(end - start)) for start, end in zip(starts, ends, strict=True)]


def track_overview(
    footage: pd.DataFrame, tracks: pd.DataFrame, faces: NDArray[np.void], *, fps: float = 30.0
) -> Figure:
    """Draw how long tracks are, how large faces are, and which share of the faces of each clip looks.

    Parameters
    ----------
    footage, tracks
        Tables of these names.
    faces
        Rows of ``faces.npy``.
    fps
        Rate of the annotation.
    """
    if tracks.empty:
        return style.blank("face tracks")
    figure, axes = style.panels(1, 3, width=3.2, height=2.6, share=False)
    lengths, size, looks = axes[0]
    _draw_histogram(lengths, tracks["rows"].to_numpy(np.float64) / fps, "length of a track (s)", "tracks")
    sides = np.sqrt((faces["x1"] - faces["x0"]) * (faces["y1"] - faces["y0"]))
    _draw_histogram(size, sides[np.isfinite(sides)], "size of a face, √(width × height) (px)", "faces")
    _draw_shares(looks, footage, tracks)
    return figure


def _draw_histogram(axis: Axes, values: NDArray[np.float64], name: str, what: str) -> None:
    """Draw a histogram over a logarithmic axis, with its median: both lengths and sizes span orders of magnitude."""
    axis.set_xlabel(name)
    axis.set_ylabel(what)
    positive = values[values > 0]
    style.note(axis, f"n = {len(values)}", corner="upper right")
    if not len(positive):
        return
    low, high = positive.min(), positive.max()
    bins = np.geomspace(low * 0.98, high * 1.02, 25).tolist()
    axis.hist(positive, bins=bins, color=style.BLUE, lw=0)
    _scale(axis, low, high)
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    middle = float(np.median(positive))
    axis.axvline(middle, color=style.INK, lw=1, ls="--")
    axis.set_title(f"median {middle:.3g}", fontsize=8)
    axis.margins(y=0.15)


def fold_shares(footage: pd.DataFrame, tracks: pd.DataFrame, folds: pd.DataFrame) -> Figure:
    """Draw the share of looking faces of each fold, a dot for each of its clips, and of all together.

    Parameters
    ----------
    footage, tracks, folds
        Tables of these names; clips without labels are counted, not drawn.
    """
    sums = tracks.groupby("session")[["looking", "rows"]].sum()
    own = folds.merge(footage[["session", "labelled"]], on="session").join(sums, on="session")
    own[["looking", "rows"]] = own[["looking", "rows"]].fillna(0)
    known = own[own["labelled"] & (own["rows"] > 0)]
    if known.empty:
        return style.blank("folds")
    figure, axes = style.panels(1, 1, width=5.2, height=2.6)
    axis, names = axes[0, 0], []
    for place, (fold, rows) in enumerate(own.groupby("fold", sort=True)):
        drawn = known[known["fold"] == fold]
        shares = drawn["looking"] / drawn["rows"]
        axis.scatter(np.full(len(drawn), place), shares, s=18, color=style.BLUE, alpha=0.6, lw=0, zorder=3)
        if len(drawn):
            mean = drawn["looking"].sum() / drawn["rows"].sum()
            axis.plot([place - 0.25, place + 0.25], [mean, mean], color=LOOKING, lw=2.5, zorder=4)
        blind = int((~rows["labelled"]).sum())
        also = f"\n+ {blind} without labels" if blind else ""
        names.append(
            f"fold {fold} ({rows['role'].iloc[0]})\nn = {len(drawn)} clips, {drawn['group'].nunique()} videos{also}"
        )
    whole = known["looking"].sum() / known["rows"].sum()
    axis.axhline(whole, color=style.CHANCE, ls="--", lw=1, label=f"all: {whole:.1%}")
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("share of faces that look")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style.legend(figure, axis, columns=1)
    return figure


def _scale(axis: Axes, low: float, high: float) -> None:
    """Make the horizontal axis logarithmic, with few ticks in plain numbers."""
    axis.set_xscale("log")
    ticks = [one * 10.0**power for power in range(-3, 8) for one in (1, 2, 5) if low <= one * 10.0**power <= high]
    ticks = ticks[:: max(1, -(-len(ticks) // 5))] or [low]
    axis.set_xticks(ticks, [f"{tick:.3g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks], minor=False)
    axis.minorticks_off()


def _draw_shares(axis: Axes, footage: pd.DataFrame, tracks: pd.DataFrame) -> None:
    """Draw a dot for each labelled clip, a line for all their faces together."""
    known = footage.loc[footage["labelled"], ["session"]]
    sums = tracks.groupby("session")[["looking", "rows"]].sum()
    shares = known.join(sums, on="session", how="inner").sort_values("rows", ascending=False)
    axis.set_xlabel("faces of the clip")
    axis.set_ylabel("share that looks")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style.note(axis, f"n = {len(shares)} clips", corner="upper right")
    if shares.empty:
        return
    part = shares["looking"] / shares["rows"]
    axis.scatter(shares["rows"], part, s=16, color=style.BLUE, alpha=0.7, lw=0, clip_on=False, zorder=3)
    whole = shares["looking"].sum() / shares["rows"].sum()
    axis.axhline(whole, color=LOOKING, lw=1.5)
    _scale(axis, float(shares["rows"].min()), float(shares["rows"].max()))
    axis.set_ylim(0, max(0.05, 1.25 * float(part.max())))
    axis.set_title(f"{whole:.1%} of all faces (orange)", fontsize=8)
