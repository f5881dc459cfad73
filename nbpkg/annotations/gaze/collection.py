"""What a collection holds: frames and segments of each participant, head boxes, and where and how far people look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from nbpkg.annotations.gaze.rows import BOX, TRACK, split_flags
from nbpkg.errors import AnnotationError

GROUP = ["dataset", "participant"]


def measure_geometry(table: pd.DataFrame) -> pd.DataFrame:
    """Measure head boxes and gaze of each row.

    Parameters
    ----------
    table
        Table ``gaze``.

    Returns
    -------
    pandas.DataFrame
        The same index; head_width, head_height (pixels), head_x, head_y (centre, fractions of the picture), head_share
        (of the picture's area), distance (head centre to gaze point, pixels), distance_share (of the picture's
        diagonal), distance_heads (in head heights), direction (degrees from right over up, -180 to 180). NaN where
        there is no box, or no point inside.
    """
    known = table[["width", "height"]].astype("float64").where(table["width"] > 0)
    wide, high = table["x1"] - table["x0"], table["y1"] - table["y0"]
    centre_x, centre_y = (table["x0"] + table["x1"]) / 2, (table["y0"] + table["y1"]) / 2
    inside = table["inside"] == 1
    right, up = (table["gaze_x"] - centre_x).where(inside), (centre_y - table["gaze_y"]).where(inside)
    distance = pd.Series(np.hypot(right, up), index=table.index)
    return pd.DataFrame(
        {
            "head_width": wide,
            "head_height": high,
            "head_x": centre_x / known["width"],
            "head_y": centre_y / known["height"],
            "head_share": wide * high / (known["width"] * known["height"]),
            "distance": distance,
            "distance_share": distance / np.hypot(known["width"], known["height"]),
            "distance_heads": distance / high.where(high > 0),
            "direction": pd.Series(np.degrees(np.arctan2(up, right)), index=table.index).where(distance > 0),
        },
        index=table.index,
    )


def count_collection(table: pd.DataFrame, by: Sequence[str] = (*GROUP, "session")) -> pd.DataFrame:
    """Make the collection table: what there is for each participant and session.

    Parameters
    ----------
    table
        Table ``gaze``.
    by
        Columns whose values make a row.

    Returns
    -------
    pandas.DataFrame
        `by`, pictures, rows, persons, raters, segments (of all tracks), targets, inside, outside, unknown, valid,
        missing_boxes, gaps (places at which a track skips pictures), skipped (pictures skipped), flags (words with
        how often they occur).
    """
    keys = list(by)
    _refuse_unknown(table, keys)
    groups = table.groupby(keys, sort=True)
    named = groups.agg(
        pictures=("image", "nunique"),
        rows=("image", "size"),
        persons=("person", "nunique"),
        raters=("rater", "nunique"),
        valid=("valid", "sum"),
    )
    counts: dict[str, pd.Series] = {
        "segments": table.drop_duplicates([*dict.fromkeys([*keys, *TRACK])]).groupby(keys).size(),
        "targets": table[table["target"] != ""].groupby(keys)["target"].nunique(),
        "inside": (table["inside"] == 1).groupby([table[key] for key in keys]).sum(),
        "outside": (table["inside"] == 0).groupby([table[key] for key in keys]).sum(),
        "unknown": (table["inside"] < 0).groupby([table[key] for key in keys]).sum(),
        "missing_boxes": table["x0"].isna().groupby([table[key] for key in keys]).sum(),
    }
    steps = _measure_steps(table)
    wide = steps[steps > 1]
    counts["gaps"] = wide.groupby([table.loc[wide.index, key] for key in keys]).size()
    counts["skipped"] = (wide - 1).groupby([table.loc[wide.index, key] for key in keys]).sum()
    for name, count in counts.items():
        named[name] = count.reindex(named.index).fillna(0).astype("int64")
    named["flags"] = groups["flags"].agg(_count_flags)
    order = ["pictures", "rows", "persons", "raters", "segments", "targets", "inside", "outside", "unknown", "valid"]
    return named[[*order, "missing_boxes", "gaps", "skipped", "flags"]].reset_index()


def describe_gaze(table: pd.DataFrame, by: Sequence[str] = (*GROUP, "target")) -> pd.DataFrame:
    """Describe head boxes and gaze of each participant and object.

    Parameters
    ----------
    table
        Table ``gaze``.
    by
        Columns whose values make a row.

    Returns
    -------
    pandas.DataFrame
        `by`, all counts of `count_collection`, for every measure of `measure_geometry` but the direction its median and
        quartiles (``<measure>``, ``<measure>_q25``, ``<measure>_q75``), and the mean direction (degrees) with its
        concentration (0 all over, 1 one direction).
    """
    keys = list(by)
    counts = count_collection(table, keys).set_index(keys)
    geometry = measure_geometry(table)
    names = [table[key] for key in keys]
    lengths = geometry.drop(columns="direction")
    angle = np.radians(geometry["direction"])
    mean_x, mean_y = np.cos(angle).groupby(names).mean(), np.sin(angle).groupby(names).mean()
    for suffix, share in (("", 0.5), ("_q25", 0.25), ("_q75", 0.75)):
        counts = counts.join(lengths.groupby(names).quantile(share).add_suffix(suffix))
    counts["direction"] = np.degrees(np.arctan2(mean_y, mean_x))
    counts["direction_concentration"] = np.hypot(mean_x, mean_y)
    return counts.reset_index()


def count_directions(table: pd.DataFrame, by: Sequence[str] = GROUP, *, sectors: int = 12) -> pd.DataFrame:
    """Count gaze directions in equal sectors, the first one centred on "right", going on upwards.

    Returns
    -------
    pandas.DataFrame
        `by`, direction (centre of the sector, degrees 0 to 360), rows; sectors without rows are listed with 0.
    """
    angle = measure_geometry(table)["direction"].dropna()
    width = 360 / sectors
    place = (np.floor((angle + width / 2) / width).astype("int64") % sectors) * width
    return _count_bins(table, place.rename("direction"), list(by), [number * width for number in range(sectors)])


def count_distances(
    table: pd.DataFrame, by: Sequence[str] = GROUP, *, bins: int = 20, measure: str = "distance_share"
) -> pd.DataFrame:
    """Count distances between head and gaze point in equal bins from 0 to the largest one.

    Parameters
    ----------
    table
        Table ``gaze``.
    by
        Columns whose values make a group.
    bins
        Number of bins.
    measure
        ``distance``, ``distance_share`` or ``distance_heads`` of `measure_geometry`.

    Returns
    -------
    pandas.DataFrame
        `by`, the measure (lower edge of the bin), rows; bins without rows are listed with 0.
    """
    values = measure_geometry(table)[measure].dropna()
    top = float(values.max()) if len(values) and values.max() > 0 else 1.0
    edges = np.linspace(0, top, bins + 1)[:-1]
    place = np.minimum((values / top * bins).astype("int64"), bins - 1)
    return _count_bins(table, pd.Series(edges[place], index=values.index, name=measure), list(by), edges.tolist())


def _count_bins(table: pd.DataFrame, place: pd.Series, by: list[str], bins: Sequence[float]) -> pd.DataFrame:
    _refuse_unknown(table, by)
    name = str(place.name)
    counts = table.loc[place.index, by].assign(**{name: place}).groupby([*by, name]).size().rename("rows").reset_index()
    groups = table[by].drop_duplicates().sort_values(by)
    grid = groups.merge(pd.DataFrame({name: bins}), how="cross").merge(counts, on=[*by, name], how="left")
    return grid.assign(rows=grid["rows"].fillna(0).astype("int64"))


def _measure_steps(table: pd.DataFrame) -> pd.Series:
    ordered = table.sort_values([*TRACK, "frame"], kind="stable")
    return ordered.groupby(TRACK, sort=False)["frame"].diff()


def _count_flags(flags: pd.Series) -> str:
    counts: Counter[str] = Counter()
    for text, times in flags.value_counts().items():
        for word in split_flags(str(text)):
            counts[word] += int(times)
    return "; ".join(f"{word} ({count})" for word, count in sorted(counts.items()))


def _refuse_unknown(table: pd.DataFrame, by: Sequence[str]) -> None:
    unknown = [name for name in by if name not in table or name in BOX]
    if unknown:
        raise AnnotationError(
            f"Table 'gaze' has no column {', '.join(map(repr, unknown))} to count by.",
            expected=f"Some of {', '.join(table.columns)}.",
        )
