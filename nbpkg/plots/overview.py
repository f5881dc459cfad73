"""Figures behind the pickers: one rater, one fold, one session's frames, one clip."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.plots import style
from nbpkg.plots.frames import show_frames
from nbpkg.video.frames import FrameStore


def rater_sessions(spans: pd.DataFrame, rater: str, *, scheme: AnnotationScheme) -> Figure:
    """Draw everything one rater marked, a row per session, a panel per variable.

    Parameters
    ----------
    spans
        Table ``spans``.
    rater
        The rater to draw.
    scheme
        Order of sessions, variables and values.
    """
    own = spans[spans["rater"] == rater]
    sessions = [name for name in scheme.sessions if (own["session"] == name).any()]
    height = 0.17 * len(sessions) + 0.6
    figure, axes = style.panels(1, len(scheme.variables), width=4.6, height=height)
    for axis, variable in zip(axes[0], scheme.variables, strict=True):
        part = own[own["variable"] == variable]
        colours = dict(zip(scheme.tiers[variable].values, style.CYCLE, strict=False))
        for value, colour in {scheme.absent: style.PALE, **colours}.items():
            for row, session in enumerate(sessions):
                rows = part[(part["value"] == value) & (part["session"] == session)]
                bars = list(zip(rows["start_ms"] / 60_000, (rows["end_ms"] - rows["start_ms"]) / 60_000, strict=True))
                axis.broken_barh(bars, (row - 0.4, 0.8), color=colour, lw=0, label=value if row == 0 else None)
        axis.set_yticks(range(len(sessions)), sessions)
        axis.set_ylim(len(sessions) - 0.4, -0.6)
        axis.set_xlim(left=0)
        marked = int((part["value"] != scheme.absent).sum())
        axis.set_title(f"{variable} (n = {marked} spans marked)", fontsize=9, loc="left")
        axis.legend(ncols=3, fontsize=7, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.06), borderpad=0)
    style.outer_labels(figure, f"minutes in the video; everything rater {rater} marked", "session")
    return figure


def fold_labels(shares: pd.DataFrame, fold: str) -> Figure:
    """Draw the share of positive clips in every session of a fold, for every task and variable.

    Parameters
    ----------
    shares
        Columns fold, session, task, variable, label (mean), one row each.
    fold
        Number of the fold.
    """
    own = shares[shares["fold"].astype(str) == fold]
    table = own.pivot_table(index=["variable", "task"], columns="session", values="label")
    wide, high = 0.75 * len(table.columns) + 1.6, 0.34 * len(table) + 0.3
    figure, axes = style.panels(1, 1, width=wide, height=high)
    axis = axes[0, 0]
    image = axis.imshow(table.to_numpy(), cmap=style.HEAT, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        text = "–" if np.isnan(value) else f"{value:.0%}"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if value < 0.6 else style.INK)
    axis.set_xticks(range(len(table.columns)), table.columns)
    axis.set_yticks(range(len(table)), [f"{task} · {variable}" for variable, task in table.index])
    axis.set_title(f"Fold {fold}: share of positive clip labels (n = {len(table.columns)} sessions)", fontsize=9)
    figure.colorbar(image, ax=axis, label="share")
    return figure


def session_frames(stores: Mapping[str, FrameStore], session: str, *, privacy: str, count: int = 10) -> Figure:
    """Show frames of one session at even distances, with their times.

    Parameters
    ----------
    stores
        Open frame stores.
    session
        The session to show.
    privacy
        See `nbpkg.plots.frames.veil`.
    count
        Number of frames.
    """
    store = stores[session]
    places = np.linspace(0, len(store) - 1, min(count, len(store))).round().astype(int)
    titles = [f"{session}, {float(place / store.fps):.1f} s" for place in places.tolist()]
    return show_frames(store.frames(places), titles=titles, privacy=privacy)


def clip_frames(
    predictions: pd.DataFrame, stores: Mapping[str, FrameStore], clip: str, *, privacy: str, count: int = 5
) -> Figure:
    """Show frames of one clip, the model's probabilities and what each rater said.

    Parameters
    ----------
    predictions
        Table ``predictions``.
    stores
        Open frame stores.
    clip
        ``<session> <start in milliseconds>``.
    privacy
        See `nbpkg.plots.frames.veil`.
    count
        Number of frames.
    """
    session, start = clip.rsplit(" ", 1)
    rows = predictions[(predictions["session"] == session) & (predictions["start_ms"] == int(start))]
    frames = stores[session].clip(int(start), int(rows["end_ms"].iloc[0]))
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    said = []
    for variable, part in rows.groupby("variable"):
        raters = ", ".join(f"{row.rater} {'yes' if row.label else 'no'}" for row in part.itertuples())
        said.append(f"{variable}: model {part['score'].iloc[0]:.2f}; {raters}")
    figure = show_frames(frames[places], privacy=privacy)
    figure.suptitle(f"{session}, {int(start) / 1000:.1f} s, {rows['task'].iloc[0]}\n" + "\n".join(said), fontsize=9)
    return figure
