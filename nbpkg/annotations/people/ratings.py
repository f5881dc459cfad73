"""Ratings of several annotators on a scale, and the classes made of their mean.

The Joint Engagement Rating Inventory has five steps; a clip's rating is the mean over its annotators. Where low ends
and high begins was not published, so both are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nbpkg.errors import Problem, SettingsError

COLUMNS = ["clip", "rater", "rating", "file", "row"]
CLASSES = ["clip", "rating", "raters", "spread", "label"]
MISSING = ("", "nan", "na", "n/a")
NEAR = 9  # decimals to which means are rounded, so that sums such as 0.1 + 0.2 reach a cut


class Cut(NamedTuple):
    """Where one class ends and the next begins.

    Parameters
    ----------
    at
        Rating.
    belongs_to
        Which of the two a rating of exactly `at` belongs to.
    """

    at: float
    belongs_to: Literal["lower", "upper"]


CUTS = (Cut(2.0, "lower"), Cut(4.0, "upper"))


@dataclass(frozen=True)
class RatingForm:
    """How a table of ratings is written.

    Parameters
    ----------
    clip
        Column that names the clip.
    raters
        Columns of the annotators, one each; empty when there is one rating per row, in columns `rater` and `rating`.
    rater, rating
        Columns of the annotator's name and the rating.
    least, greatest
        Ends of the scale.
    separator
        What stands between columns.
    """

    clip: str = "clip"
    raters: tuple[str, ...] = ()
    rater: str = "rater"
    rating: str = "rating"
    least: float = 1
    greatest: float = 5
    separator: str = ","


def read_ratings(path: Path, form: RatingForm | None = None) -> tuple[pd.DataFrame, list[Problem]]:
    """Read who rated which clip how.

    Parameters
    ----------
    path
        Text file with a header.
    form
        How it is written.

    Returns
    -------
    ratings : pandas.DataFrame
        clip, rater, rating, file, row; without the entries that are wrong or missing.
    problems : list of Problem
        Entries that are no number or off the scale, clips rated twice by one annotator, rows without clip; a warning
        that counts missing ratings.
    """
    how, file = form or RatingForm(), str(path)
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, sep=how.separator, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        return pd.DataFrame(columns=COLUMNS), [Problem(f"The file cannot be read: {error}.", file=file)]
    wanted = [how.clip, *(how.raters or (how.rater, how.rating))]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        expected = f"Columns {', '.join(wanted)}; found {', '.join(map(str, table.columns))}."
        return pd.DataFrame(columns=COLUMNS), [Problem(f"There is no column {missing[0]!r}.", expected, file=file)]
    table = table.assign(row=range(2, len(table) + 2))
    if how.raters:
        entries = table.melt([how.clip, "row"], list(how.raters), var_name="rater", value_name="rating")
    else:
        entries = table[[how.clip, "row", how.rater, how.rating]]
    entries = entries.set_axis(["clip", "row", "rater", "rating"], axis=1).assign(file=file)
    return _judge(entries.sort_values("row", kind="stable"), how, file)


def classify(ratings: ArrayLike, cuts: Sequence[Cut] = CUTS) -> NDArray[np.int64]:
    """Turn ratings into classes: how many cuts each has passed.

    Parameters
    ----------
    ratings
        [n], without NaN.
    cuts
        From low to high.

    Returns
    -------
    numpy.ndarray
        int64 [n], 0 to the number of cuts.

    Raises
    ------
    SettingsError
        When the cuts are not in order.

    Examples
    --------
    >>> classify([1, 2, 2.5, 3.5, 4, 5]).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    places = [cut.at for cut in cuts]
    if not cuts or any(first >= second for first, second in pairwise(places)):
        raise SettingsError(
            f"The cuts between classes are {places}.", expected="Numbers from low to high.", remedy="Correct the cuts."
        )
    values = np.round(np.asarray(ratings, np.float64), NEAR)
    passed = [values > cut.at if cut.belongs_to == "lower" else values >= cut.at for cut in cuts]
    return np.asarray(np.sum(passed, axis=0), np.int64)


def rate_clips(
    ratings: pd.DataFrame, *, cuts: Sequence[Cut] = CUTS, raters: Sequence[str] = (), at_least: int = 1
) -> tuple[pd.DataFrame, list[Problem]]:
    """Average the ratings of each clip and turn them into its class.

    Parameters
    ----------
    ratings
        Of `read_ratings`.
    cuts
        Where classes end.
    raters
        Annotators that count; empty for all. The published labels count two of three.
    at_least
        Ratings that a clip needs.

    Returns
    -------
    clips : pandas.DataFrame
        clip, rating (mean), raters (how many), spread (largest minus smallest rating), label; sorted by clip.
    problems : list of Problem
        Annotators that are not there; a warning that counts the clips left out.
    """
    unknown = [name for name in raters if len(ratings) and name not in set(ratings["rater"])]
    problems = [
        Problem(f"Nobody is called {name!r}.", f"{', '.join(sorted(set(ratings['rater'])))}.") for name in unknown
    ]
    counted = ratings[ratings["rater"].isin(list(raters))] if raters else ratings
    grouped = counted.groupby("clip", sort=True)["rating"]
    table = pd.DataFrame(
        {"rating": grouped.mean().round(NEAR), "raters": grouped.size(), "spread": grouped.max() - grouped.min()}
    ).reset_index()
    kept = table[table["raters"] >= at_least].reset_index(drop=True)
    left_out = sorted(set(ratings["clip"]) - set(kept["clip"]))
    if left_out:
        what = f"{len(left_out)} clips have fewer than {at_least} ratings and were left out, e.g. {left_out[0]}."
        problems.append(Problem(what, severity="warning"))
    return kept.assign(label=classify(kept["rating"], cuts))[CLASSES], problems


def tabulate_raters(ratings: pd.DataFrame) -> pd.DataFrame:
    """Put ratings into a table of clips and annotators, NaN where one did not rate: what agreement is computed of."""
    return ratings.pivot_table(index="clip", columns="rater", values="rating").astype("float64")


def count_pairs(ratings: pd.DataFrame, cuts: Sequence[Cut] = CUTS) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Count how often two annotators put a clip into which classes, for `nbpkg.annotations.coefficients`.

    Parameters
    ----------
    ratings
        Of `read_ratings`.
    cuts
        Where classes end.

    Returns
    -------
    dict
        Pair of annotators to [classes, classes], the first one's class in rows.
    """
    table, size = tabulate_raters(ratings), len(cuts) + 1
    counts = {}
    for first, second in combinations(table.columns, 2):
        both = table[[first, second]].dropna()
        cells = classify(both[first], cuts) * size + classify(both[second], cuts)
        counts[str(first), str(second)] = np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.int64)
    return counts


def intraclass_correlation(ratings: pd.DataFrame) -> float:
    """Return ICC(3,1): how far annotators order clips alike, whatever level each of them is used to.

    Parameters
    ----------
    ratings
        Of `read_ratings`; only clips that all annotators rated count.

    Returns
    -------
    float
        1 for the same differences between clips; NaN with fewer than two annotators or clips, or without differences.

    Source
    ------
    Shrout and Fleiss (1979), Intraclass correlations; two-way mixed model, consistency, single ratings.
    """
    values = tabulate_raters(ratings).dropna().to_numpy()
    clips, raters = values.shape
    if clips < 2 or raters < 2:
        return float("nan")
    by_clip, by_rater, mean = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True), values.mean()
    between = raters * ((by_clip - mean) ** 2).sum() / (clips - 1)
    left = ((values - by_clip - by_rater + mean) ** 2).sum() / ((clips - 1) * (raters - 1))
    whole = between + (raters - 1) * left
    return float((between - left) / whole) if whole > 0 else float("nan")


def _judge(entries: pd.DataFrame, form: RatingForm, file: str) -> tuple[pd.DataFrame, list[Problem]]:
    """Keep the entries that are right, and say what is wrong with the others."""
    texts = entries["rating"].str.strip()
    missing = texts.str.lower().isin(MISSING)
    values = pd.to_numeric(texts.where(~missing), errors="coerce")
    expected = f"A number from {form.least:g} to {form.greatest:g}."
    problems = []
    good = []
    seen: dict[tuple[str, str], int] = {}
    rows = zip(entries["clip"].str.strip(), entries["rater"].str.strip(), entries["row"], texts, values, strict=True)
    for place, (clip, rater, row, text, value) in enumerate(rows):
        what = ""
        if not clip or not rater:
            what = "The row names no clip." if not clip else "The row names nobody who rated."
        elif (clip, rater) in seen:
            what = f"{rater} has already rated {clip} in row {seen[clip, rater]}."
        elif not missing.iloc[place] and not form.least <= value <= form.greatest:
            what = f"{rater} rated {clip} {text!r}."
        if what:
            problems.append(Problem(what, expected if "rated" in what else "", file=file, row=int(row)))
            continue
        seen[clip, rater] = int(row)
        if not missing.iloc[place]:
            good.append((clip, rater, float(value), file, int(row)))
    if missing.any():
        what = f"{int(missing.sum())} of {len(missing)} ratings are missing."
        problems.append(Problem(what, file=file, severity="warning"))
    if not good:
        problems.append(Problem("There is no rating.", expected, file=file))
    return pd.DataFrame(good, columns=COLUMNS), problems
