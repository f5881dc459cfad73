"""Figures of valence over time and of what there is to perceive in each second."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all

RATERS = {"self": (style.BLUE, "the listener"), "third_party": (style.HUMAN, "another person")}
PARTS = {"Training": style.BLUE, "Validation": style.ORANGE, "Testing": style.GREEN}
_LATE = 1  # seconds by which a modality may differ because its last second is in part


def natural(name: object) -> tuple[tuple[int, str], ...]:
    """Give a key that sorts names with numbers as people do.

    Examples
    --------
    >>> sorted(["s10", "s2", "s1"], key=natural)
    ['s1', 's2', 's10']
    """
    parts = re.findall(r"\d+|\D+", str(name))
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def courses(valence: pd.DataFrame, session: str, *, fps: float = 25) -> Figure:
    """Draw what the listener and others say of one session over time.

    Parameters
    ----------
    valence
        Table ``valence``.
    session
        Which session.
    fps
        Annotated frames per second.
    """
    own = valence[valence["session"] == session]
    if own.empty:
        raise TableError(f"Table 'valence' has no session {session!r}.", expected="One of its sessions.")
    figure, axes = style.panels(1, 1, width=7.2, height=2.3)
    axis = axes[0, 0]
    for rater, rows in own.groupby("rater", sort=True):
        colour, words = RATERS.get(str(rater), (style.PURPLE, str(rater)))
        whole = rows.set_index("frame")["value"].reindex(range(int(rows["frame"].max()) + 1))
        lacking = int(whole.isna().sum())
        label = f"{words} (n = {len(whole) - lacking} frames" + (f", {lacking} without value)" if lacking else ")")
        axis.step(whole.index / fps, whole, where="post", color=colour, lw=1.7 if rater == "self" else 1.2, label=label)
    draw_valence_axis(axis)
    axis.set_xlabel("time (seconds)")
    axis.set_title(session, fontsize=9)
    style.legend(figure, axis)
    return figure


def draw_stairs(axis: Axes, steps: pd.Series, values: pd.Series, *, step_seconds: float) -> None:
    """Draw the listener's valence of each second, the last one to its end."""
    at = np.append(steps.to_numpy(np.float64), float(steps.iloc[-1]) + 1) * step_seconds
    heights = np.append(values.to_numpy(np.float64), float(values.iloc[-1]))
    axis.step(at, heights, where="post", color=style.INK, lw=1.6, label=RATERS["self"][1])


def draw_valence_axis(axis: Axes) -> None:
    """Give a panel the scale of valence and a line where it is neutral."""
    axis.axhline(0, color=style.PALE, lw=1, zorder=0)
    axis.set_ylim(-1.05, 1.05)
    axis.set_yticks([-1, 0, 1])
    axis.set_ylabel("valence\n(−1 unpleasant, 1 pleasant)", fontsize=8)
    axis.margins(x=0.01)


def values(recordings: pd.DataFrame) -> Figure:
    """Draw for each session where valence lies, how much it varies and how often it changes.

    Parameters
    ----------
    recordings
        Table ``recordings``. Hidden sessions, whose annotation is a dummy, are named and not drawn.
    """
    if recordings.empty:
        return style.blank("recordings")
    rows = recordings.iloc[sorted(range(len(recordings)), key=lambda row: natural(recordings["session"].iloc[row]))]
    figure, axes = style.panels(1, 3, width=2.6, height=0.17 * len(rows) + 0.9, share=False)
    across, spread, changes = axes[0]
    hidden = rows["hidden"].astype(bool).tolist()
    for row, (one, is_hidden) in enumerate(zip(each_row(rows), hidden, strict=True)):
        if is_hidden:
            across.text(0, row, "hidden", ha="center", va="center", fontsize=6.5, color=style.GREY)
            continue
        colour = PARTS.get(one.part, style.PURPLE)
        across.plot([one.least, one.greatest], [row, row], color=colour, lw=1, alpha=0.6)
        across.plot([one.mean], [row], "o", ms=3.5, color=colour, label=one.part)
        spread.barh(row, one.std, height=0.7, color=colour)
        changes.barh(row, one.changes, height=0.7, color=colour)
    titles = ("valence: mean, and least to greatest", "standard deviation of valence", "frames that change the value")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_yticks(range(len(rows)), rows["session"] if axis is across else [""] * len(rows), fontsize=6.5)
        axis.set_xlabel(title, fontsize=8)
        axis.grid(axis="x", color=style.PALE, lw=0.6)
        axis.set_axisbelow(True)
    across.set_xlim(-1.05, 1.05)
    spread.set_xlim(left=0)
    changes.set_xlim(left=0)
    changes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    changes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    shown = len(rows) - sum(hidden)
    across.set_title(f"n = {shown} sessions" + (f", {sum(hidden)} hidden" if any(hidden) else ""), fontsize=9)
    style.legend(figure, across)
    return figure


def alignment(alignment: pd.DataFrame) -> Figure:
    """Draw by how many seconds the rows of each modality differ from the annotation, so that differences stand out.

    Parameters
    ----------
    alignment
        Table ``alignment``. No rows at all mean that the file is missing.
    """
    if alignment.empty:
        return style.blank("modalities to align")
    sessions = sorted(set(alignment["session"]), key=natural)
    names = list(dict.fromkeys(alignment["modality"]))
    figure, axes = style.panels(1, 1, width=0.95 * len(names) + 1.8, height=0.19 * len(sessions) + 0.8)
    axis = axes[0, 0]
    found = {"as long as the annotation": style.PALE, f"differs by {_LATE} s (a last second in part)": style.SKY,
             "differs by more": style.ORANGE, "no file": style.RED}  # fmt: skip
    kinds = dict(zip(("same", "late", "far", "none"), found.values(), strict=True))
    for one in each_row(alignment):
        gap = one.rows - one.steps
        size = abs(gap)
        kind = "none" if one.rows == 0 else "same" if size == 0 else "late" if size <= _LATE else "far"
        place = names.index(one.modality), sessions.index(one.session)
        axis.add_patch(Rectangle((place[0] - 0.48, place[1] - 0.46), 0.96, 0.92, fc=kinds[kind], lw=0))
        text = "no file" if kind == "none" else f"{gap:+d} s".replace("-", "−") if gap else ""
        text += f"{'; ' if text else ''}{one.missing} s empty" if one.missing and kind != "none" else ""
        ink = "white" if kind == "none" else style.INK
        axis.text(*place, text, ha="center", va="center", fontsize=6.5, color=ink)
    axis.set_xticks(range(len(names)), [f"{name}\n(n = {(alignment['modality'] == name).sum()})" for name in names])
    axis.set_yticks(range(len(sessions)), sessions, fontsize=6.5)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.set_ylim(len(sessions) - 0.5, -0.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("modality (n sessions)\ncells: seconds more or less than the annotation", fontsize=8)
    handles = [Patch(color=colour, label=label) for label, colour in found.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def presence(present: Mapping[str, Mapping[str, NDArray[np.bool_]]]) -> Figure:
    """Draw in which seconds of each session there is nothing to perceive in a modality.

    Parameters
    ----------
    present
        Session to modality to whether there is something, bool (seconds,).
    """
    if not any(present.values()):
        return style.blank("features")
    sessions = sorted(present, key=natural)
    names = list(dict.fromkeys(name for own in present.values() for name in own))
    figure, axes = style.panels(1, len(names), width=max(1.9, 7.2 / len(names)), height=0.17 * len(sessions) + 0.8)
    for axis, name in zip(axes[0], names, strict=True):
        known = {session: present[session][name] for session in sessions if name in present[session]}
        for session, there in known.items():
            row = sessions.index(session)
            axis.broken_barh([(0, len(there))], (row - 0.4, 0.8), fc=style.SKY, label="something there")
            axis.broken_barh(_stretches(~there), (row - 0.4, 0.8), fc=style.RED, label="nothing")
        lacking = sum(int((~there).sum()) for there in known.values())
        total = sum(len(there) for there in known.values())
        axis.set_title(f"{name}\nn = {total} s, {lacking} without", fontsize=9)
        axis.set_yticks(range(len(sessions)), sessions, fontsize=6.5)
        axis.set_ylim(len(sessions) - 0.4, -0.6)
    figure.supxlabel("time (seconds)", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def _stretches(chosen: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """List stretches of true values as start and length."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(int)))
    return [(float(start), float(stop - start)) for start, stop in edges.reshape(-1, 2).tolist()]


def feature_rows(modalities: pd.DataFrame) -> Figure:
    """Draw how many seconds of features each session has, and how many of them hold nothing.

    Parameters
    ----------
    modalities
        Table ``modalities``.
    """
    if modalities.empty:
        return style.blank("features")
    sessions = sorted(set(modalities["session"]), key=natural)
    names = list(dict.fromkeys(modalities["modality"]))
    figure, axes = style.panels(1, len(names), width=max(1.9, 7.2 / len(names)), height=0.17 * len(sessions) + 0.9)
    for axis, name in zip(axes[0], names, strict=True):
        own = modalities[modalities["modality"] == name]
        at = [sessions.index(session) for session in own["session"]]
        there = own["rows"] - own["missing"]
        axis.barh(at, there, height=0.75, color=style.BLUE, label="seconds with features")
        axis.barh(at, own["missing"], left=there, height=0.75, color=style.ORANGE, label="seconds with nothing there")
        for row in sorted(set(range(len(sessions))) - set(at)):
            axis.plot([0.5], [row], "x", ms=4, color=style.RED, label="no file")
        widths = sorted(set(own["width"]))
        axis.set_title(f"{name}, width {' and '.join(map(str, widths))}\nn = {len(own)} sessions", fontsize=9)
        axis.set_yticks(range(len(sessions)), sessions, fontsize=6.5)
        axis.set_ylim(len(sessions) - 0.4, -0.6)
        axis.set_xlim(left=0)
    figure.supxlabel("rows (seconds)", fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure
