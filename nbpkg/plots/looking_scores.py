"""Figures of how well looking at the camera wearer is recognised, beside chance and what annotators reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nbpkg.errors import TableError
from nbpkg.plots import style
from nbpkg.plots.evaluation import each_row, legend_of_all
from nbpkg.plots.people_clips import ink_on
from nbpkg.plots.valence import natural

TITLES = {
    "map": "mAP", "ap_looking": "AP, looking", "ap_not_looking": "AP, not looking", "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy", "recall_looking": "recall, looking", "f1_looking": "F1, looking",
    "recall_not_looking": "recall, not looking", "kappa": "Cohen's kappa",
}  # fmt: skip
PARTS = {"all": "all faces", "quality_low": "less sharp half", "quality_high": "sharper half"}
CLASSES = {"looking": "looking", "not_looking": "not looking"}
_ANSWERS = ("not looking", "looking")
_MOST_SYSTEMS = len(style.CYCLE)
_LINES = (style.BLUE, style.GREEN, style.SKY, style.INK)  # none of those of annotators and missing crops
_ANNOTATORS = {"first": style.HUMAN, "second": style.PURPLE}


def scores(
    table: pd.DataFrame, *, names: Sequence[str] = ("map", "ap_looking", "accuracy"), parts: Sequence[str] = ("all",)
) -> Figure:
    """Draw scores of each system with interval, chance, what annotators reach, and n.

    Parameters
    ----------
    table
        Table ``looking_scores``.
    names
        Which measures, a panel each.
    parts
        Which parts: ``all``, ``quality_low``, ``quality_high``; a row for each system and part.
    """
    main = table[table["part"].isin(list(parts))]
    lacking = [name for name in names if not (main["measure"] == name).any()]
    if main.empty or lacking:
        raise TableError(
            f"Table 'looking_scores' lacks {lacking or list(parts)}.", expected=f"Of {sorted(set(table['measure']))}."
        )
    rows = sorted(
        dict.fromkeys(zip(main["system"], main["split"], main["stride"], main["part"], strict=True)),
        key=lambda row: (list(dict.fromkeys(main["system"])).index(row[0]), row[1], row[2], list(parts).index(row[3])),
    )
    figure, axes = style.panels(
        1, len(names), width=max(2.3, 7.2 / len(names)), height=0.36 * len(rows) + 0.9, share=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        own = main[main["measure"] == name]
        for one in each_row(own):
            row = rows.index((one.system, one.split, one.stride, one.part))
            _draw_score(axis, one, row, ceiling="one annotator against the other")
            if axis is axes[0, -1]:
                _write_size(axis, f"{one.n}, {one.n_groups}", row, one.value)
        _finish_rows(axis, _name_rows(rows) if axis is axes[0, 0] else [""] * len(rows))
        _limit(axis, own)
        axis.set_title(TITLES.get(name, name), fontsize=9)
    what = " and ".join(sorted({f"{split}, stride {stride}" for _, split, stride, _ in rows}))
    text = f"higher is better ({what}); bars: 95 % interval over videos; right: n faces, videos"
    figure.supxlabel(text, fontsize=9, color=style.INK)
    legend_of_all(figure, list(axes.flat))
    return figure


def precision_recall(curves: pd.DataFrame, *, part: str = "all", systems: Sequence[str] = ()) -> Figure:
    """Draw precision over recall of both classes, a line for each system, with the chance line and n.

    Parameters
    ----------
    curves
        Table ``looking_curves``.
    part
        ``all``, ``quality_low`` or ``quality_high``.
    systems
        Which systems; empty for the first six.
    """
    own = curves[curves["part"] == part]
    chosen = list(systems or dict.fromkeys(own["system"]))[:_MOST_SYSTEMS]
    if own.empty:
        return style.blank("curves of answers to labelled faces")
    figure, axes = style.panels(1, len(CLASSES), width=3.4, height=2.9)
    for axis, (kind, title) in zip(axes[0], CLASSES.items(), strict=True):
        lines = own[own["class"] == kind]
        for system, colour in zip(chosen, style.CYCLE, strict=False):
            line = lines[lines["system"] == system]
            if len(line):
                _draw_curve(axis, line, f"{system}: AP {line['average_precision'].iloc[0]:.3f}", colour)
        for place, share in enumerate(sorted(set(lines["share"]))):
            axis.axhline(share, color=style.CHANCE, ls="--", lw=1, label=None if place else f"chance {share:.3f}")
        sizes = sorted(set(lines["n"]))
        n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}" if sizes else "0"
        axis.set_title(f"{title} (n = {n} faces)", fontsize=9)
        axis.set_xlim(0, 1.01)
        axis.set_ylim(0, 1.03)
        axis.set_xlabel("recall (share of the class found)")
        if len(lines):
            below = (0.5, -0.17)  # inside it would cover a curve
            axis.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=below, ncols=2, frameon=False)
        else:
            style.note(axis, "nobody of this class")
    axes[0, 0].set_ylabel("precision (share of answers that are right)")
    figure.suptitle(f"{PARTS[part]}; {_say_split(own)}; pale: precision at each threshold", fontsize=9)
    return figure


def confusions(counts: pd.DataFrame, *, part: str = "all", systems: Sequence[str] = ()) -> Figure:
    """Draw the confusion matrix of each system: shares of each label's faces, and their number.

    Parameters
    ----------
    counts
        Table ``looking_confusion``.
    part
        ``all``, ``quality_low`` or ``quality_high``.
    systems
        Which systems; empty for the first six.
    """
    own = counts[counts["part"] == part]
    chosen = list(systems or dict.fromkeys(own["system"]))[:_MOST_SYSTEMS]
    if own.empty:
        return style.blank("answers to labelled faces")
    columns = min(3, len(chosen))
    figure, axes = style.panels(-(-len(chosen) // columns), columns, width=2.3, height=2.1)
    colours, norm = colormaps[style.HEAT], Normalize(0, 1)
    for axis in axes.flat[len(chosen) :]:
        axis.set_axis_off()
    for axis, system in zip(axes.flat, chosen, strict=False):
        _draw_confusion(axis, own[own["system"] == system], colours, norm)
        axis.set_title(f"{system} (n = {own.loc[own['system'] == system, 'n'].sum()} faces)", fontsize=9)
    threshold = " or ".join(f"{value:g}" for value in sorted(set(own["threshold"])))
    style.outer_labels(figure, f"answer (looking from a score of {threshold}); {_say_split(own)}", "label")
    scale = figure.colorbar(ScalarMappable(norm, colours), ax=list(axes.flat), shrink=0.8)
    scale.set_label("share of the label's faces", fontsize=8)
    scale.ax.tick_params(labelsize=7.5)
    return figure


def videos(table: pd.DataFrame, *, measure: str = "map", systems: Sequence[str] = ()) -> Figure:
    """Draw a score of every video with its interval, a panel for each system, beside chance and annotators.

    Parameters
    ----------
    table
        Table ``looking_scores`` with rows of part ``video``.
    measure
        Its name in the table.
    systems
        Which systems; empty for the first three.
    """
    rows = table[(table["part"] == "video") & (table["measure"] == measure)]
    chosen = list(systems or dict.fromkeys(rows["system"]))[:3]
    if rows.empty:
        return style.blank("videos scored")
    names = sorted(set(rows["name"]), key=natural)
    figure, axes = style.panels(1, len(chosen), width=max(3.0, 6.4 / len(chosen)), height=0.27 * len(names) + 0.9)
    for axis, system in zip(axes[0], chosen, strict=True):
        own = rows[rows["system"] == system]
        for one in each_row(own):
            _draw_score(axis, one, names.index(one.name), ceiling="one annotator against the other")
            _write_size(axis, f"{one.n}, {one.positives}", names.index(one.name), one.value)
        _finish_rows(axis, [_shorten(name) for name in names])
        _limit(axis, own)
        axis.set_title(f"{system} (n = {own['name'].nunique()} videos)", fontsize=9)
    text = f"{TITLES.get(measure, measure)} (higher is better; {_say_split(rows)}); bars: 95 % interval over tracks"
    style.outer_labels(figure, f"{text};\nright: n faces, of these looking", "video")
    legend_of_all(figure, list(axes.flat))
    return figure


def named_timeline(
    predictions: pd.DataFrame, segments: pd.DataFrame, name: str, *, threshold: float = 0.5, fps: float = 30.0
) -> Figure:
    """Draw the score along a track (`timeline`) that is named as `name_tracks` does."""
    session, track = name_tracks(predictions)[name]
    own = predictions[(predictions["session"] == session) & (predictions["track"] == track)]
    return timeline(own, segments, session=session, track=track, threshold=threshold, fps=fps)


def name_tracks(predictions: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Return clip and track of every track that is answered, by a name for people."""
    tracks = predictions[["session", "track"]].drop_duplicates().sort_values(["session", "track"])
    return {f"{one.session} · {one.track}": (str(one.session), str(one.track)) for one in tracks.itertuples()}


def timeline(
    predictions: pd.DataFrame,
    segments: pd.DataFrame,
    *,
    session: str,
    track: str,
    missing: Sequence[int] = (),
    threshold: float = 0.5,
    fps: float = 30.0,
) -> Figure:
    """Draw the score along a track, with the annotated segments above and frames without a crop below.

    Parameters
    ----------
    predictions
        Table ``looking_predictions``; the first four systems are lines, which break where answers are missing.
    segments
        Table ``segments``; looking segments of the track's person are drawn, a row for each annotator.
    session, track
        Which one.
    missing
        Frames of the track that have no crop.
    threshold
        From which score the answer is "looking".
    fps
        Frames of the annotation per second.
    """
    own = predictions[(predictions["session"] == session) & (predictions["track"] == track)].sort_values("frame")
    if own.empty:
        raise TableError(
            f"There are no answers for track {track!r} of clip {session!r}.",
            where="table 'looking_predictions'",
            expected="A clip and track of the predictions.",
        )
    person = str(own["person"].iloc[0])
    looks = segments[
        (segments["session"] == session) & (segments["person"] == person) & (segments["kind"] == "looking")
    ]  # fmt: skip
    figure, axes = style.panels(2, 1, width=7.2, height=1.2, share=False)
    figure.set_size_inches(7.8, 3.2)
    axes[0, 0].get_gridspec().set_height_ratios([0.28, 1.0])
    strip, axis = axes[:, 0]
    frames = np.concatenate([own["frame"].to_numpy(np.float64), np.asarray(missing, np.float64)])
    ends = (float(frames.min()) / fps, (float(frames.max()) + 1) / fps)
    _draw_segments(strip, looks, ends, fps)
    for system, colour in zip(dict.fromkeys(own["system"]), _LINES, strict=False):
        line = own[own["system"] == system]
        _draw_course(axis, line["frame"].to_numpy(np.int64), line["score"].to_numpy(np.float64), fps, system, colour)
    axis.axhline(threshold, color=style.CHANCE, ls="--", lw=1, label=f"threshold {threshold:g}")
    if len(missing):
        shown = np.asarray(missing, np.float64) / fps
        axis.bar(shown, 0.05, width=1 / fps, bottom=-0.09, align="edge", color=style.RED, lw=0, label="no crop")
    axis.set_ylim(-0.1, 1.04)
    axis.set_xlim(*ends)
    axis.set_ylabel("score of looking", fontsize=8)
    axis.set_xlabel("time in the clip (seconds)")
    count = len(own.drop_duplicates("frame"))
    n = f"n = {count} faces, {len(missing)} without a crop"
    strip.set_title(f"{_shorten(session)}, track {_shorten(track)}, person {person} ({n})", fontsize=9)
    style.legend(figure, axis, columns=6)
    return figure


def _draw_score(axis: Axes, one: Any, row: int, *, ceiling: str) -> None:
    """Draw a score with interval, chance as a bar, and annotators as a diamond."""
    if np.isfinite(one.chance):
        axis.plot([one.chance] * 2, [row - 0.36, row + 0.36], color=style.CHANCE, lw=2.2, label="answering blindly")
    if np.isfinite(one.ceiling):
        axis.plot([one.ceiling], [row], "D", ms=7, mfc="none", mew=1.5, color=style.HUMAN, zorder=4, label=ceiling)
    axis.plot([one.low, one.high], [row, row], color=style.MODEL, lw=2.4, alpha=0.5)
    axis.plot([one.value], [row], "o", ms=6, color=style.MODEL, label="score")


def _write_size(axis: Axes, text: str, row: int, value: float) -> None:
    text += "" if np.isfinite(value) else ": undefined"
    axis.text(1.03, row, text, transform=axis.get_yaxis_transform(), va="center", fontsize=7, color=style.INK)


def _name_rows(rows: Sequence[tuple[str, str, int, str]]) -> list[str]:
    """Name rows by what distinguishes them."""
    splits, parts = {(split, stride) for _, split, stride, _ in rows}, {part for *_, part in rows}
    names = []
    for system, split, stride, part in rows:
        words = [system]
        words += [f"{split}, stride {stride}"] if len(splits) > 1 else []
        words += [PARTS[part]] if len(parts) > 1 else []
        names.append(", ".join(words))
    return names


def _finish_rows(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels, fontsize=7.5)
    if not any(labels):
        axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(labels) - 0.5, -0.5)
    axis.grid(axis="x", color=style.PALE, lw=0.6)
    axis.set_axisbelow(True)


def _limit(axis: Axes, own: pd.DataFrame) -> None:
    """Show all from 0, or from below where a score is negative, to 1."""
    known = own[["value", "low", "chance"]].to_numpy(np.float64)
    least = float(np.nanmin(known)) if np.isfinite(known).any() else 0.0
    axis.set_xlim(least - 0.05 if least < 0 else -0.03, 1.03)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5))


def _draw_curve(axis: Axes, line: pd.DataFrame, label: str, colour: str) -> None:
    """Draw the envelope, which average precision adds up, and pale the precision at each threshold."""
    recall = np.append(0.0, line["recall"].to_numpy(np.float64))
    envelope, precision = (line[name].to_numpy(np.float64) for name in ("envelope", "precision"))
    axis.plot(recall[1:], precision, color=colour, lw=0.8, alpha=0.35)
    axis.step(recall, np.append(envelope[:1], envelope), where="pre", color=colour, lw=1.6, label=label)


def _draw_confusion(axis: Axes, own: pd.DataFrame, colours: Any, norm: Normalize) -> None:
    shares, sizes = np.full((2, 2), np.nan), np.zeros((2, 2), int)
    shares[own["label"], own["predicted"]] = own["share"]
    sizes[own["label"], own["predicted"]] = own["n"]
    axis.set_facecolor(style.PALE)
    axis.imshow(np.ma.masked_invalid(shares), cmap=colours, norm=norm)
    for (row, column), share in np.ndenumerate(shares):
        known = np.isfinite(share)
        ink = ink_on(colours(norm(share))[:3]) if known else style.INK
        text = f"{share:.1%}\n{sizes[row, column]}" if known else "–\n0"
        axis.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    axis.set_xticks(range(2), _ANSWERS, fontsize=7.5)
    axis.set_yticks(range(2), ["not\nlooking", "looking"], fontsize=7.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _draw_segments(strip: Axes, looks: pd.DataFrame, ends: tuple[float, float], fps: float) -> None:
    """Draw when a person looks at the camera wearer, a row for each annotator."""
    names = sorted(set(looks["annotator"])) or ["first"]
    for row, name in enumerate(names):
        own = looks[looks["annotator"] == name]
        starts = own["start_frame"].to_numpy(np.float64) / fps
        widths = (own["end_frame"].to_numpy(np.float64) + 1) / fps - starts
        strip.barh([row] * len(own), widths, left=starts, height=0.7, color=_ANNOTATORS.get(name, style.INK), lw=0)
    if looks.empty:
        strip.text(0.5, 0.5, "no looking segment of this person", transform=strip.transAxes, ha="center", va="center",
                   fontsize=8, color=style.GREY)  # fmt: skip
    labels = ["looks"] if len(names) == 1 else [f"looks, {name} annotator" for name in names]
    strip.set_yticks(range(len(names)), labels, fontsize=7.5)
    strip.set_ylim(len(names) - 0.4, -0.6)
    strip.set_xlim(*ends)
    strip.set_xticks([])
    strip.tick_params(axis="y", length=0)
    strip.spines[:].set_visible(False)


def _draw_course(
    axis: Axes, frames: NDArray[np.int64], values: NDArray[np.float64], fps: float, system: str, colour: str
) -> None:
    """Draw scores at the middles of their frames; the line breaks where answers are farther apart than elsewhere."""
    gaps = np.diff(frames)
    step = int(np.median(gaps)) if len(gaps) else 1
    breaks = np.flatnonzero(gaps > step) + 1
    times = np.insert((frames + 0.5) / fps, breaks, np.nan)
    marks = "o" if len(frames) < 80 else ""
    axis.plot(times, np.insert(values, breaks, np.nan), marks, ls="-", ms=3, lw=1.3, color=colour, label=system)


def _say_split(rows: pd.DataFrame) -> str:
    pairs = sorted(set(zip(rows["split"], rows["stride"], strict=True)))
    return " and ".join(f"{split}, stride {stride}" for split, stride in pairs)


def _shorten(name: str) -> str:
    """Cut a long id, which would push the panel aside."""
    return name if len(name) <= 14 else f"{name[:8]}…{name[-4:]}"
