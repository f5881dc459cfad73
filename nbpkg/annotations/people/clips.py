"""Table of clips: samples of any list or table, their classes from ratings if there are any, in order of their time."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.annotations.gaze.lookup import natural_key, plain_name
from nbpkg.annotations.people.build import Headings, Labelled, list_folders, list_table
from nbpkg.annotations.people.checks import check_files
from nbpkg.annotations.people.lists import ListForm, read_lists
from nbpkg.annotations.people.ratings import COLUMNS, Cut, RatingForm, rate_clips, read_ratings
from nbpkg.annotations.people.samples import VIDEO_ENDINGS, join_samples
from nbpkg.errors import Problem
from nbpkg.settings.people import PeopleAnnotationSettings

_KNOWN = ("family", "session", "split", "offset", "frames")


class ClipsRead(NamedTuple):
    """What was read.

    Parameters
    ----------
    clips
        Table ``clips``.
    samples
        The same rows as the published programs list them (`nbpkg.annotations.people.samples`).
    problems
        Everything noticed.
    """

    clips: pd.DataFrame
    samples: pd.DataFrame
    problems: list[Problem]


def read_clips(data: Path, settings: PeopleAnnotationSettings) -> ClipsRead:
    """Read lists, a table or folders named after classes, and ratings where classes are made of them.

    Parameters
    ----------
    data
        Data folder of the experiment.
    settings
        Which files, and how they are written.

    Returns
    -------
    ClipsRead
        Clips without a rating are left out and told; clips shorter than their list says, and paths outside the data
        folder, are errors.
    """
    root = data / settings.folder
    rated, problems = _rate(data, settings)
    samples, wrong = _list(data, root, settings, rated=rated)
    problems += wrong
    if not any(problem.severity == "error" for problem in problems):
        problems += check_files(samples, template=settings.template)
        problems += _check_places(samples, root)
    if rated is not None and settings.form != "table":
        samples, lacking = _apply_ratings(samples, rated)
        problems += lacking
    return ClipsRead(_tabulate(samples, rated, data), samples, problems)


def list_sources(data: Path, settings: PeopleAnnotationSettings) -> dict[str, Path]:
    """Return, by the name they get in tables, the videos or folders of pictures that the clips lie in."""
    found = read_clips(data, settings).clips
    return {str(name): data / str(path) for name, path in zip(found["session"], found["path"], strict=True)}


def name_source(path: str) -> str:
    """Return the session's name of a path relative to the folder of clips.

    Examples
    --------
    >>> name_source("fam03/s1.mp4"), name_source("fam03/000123")
    ('fam03--s1', 'fam03--000123')
    """
    place = PurePosixPath(path)
    place = place.with_suffix("") if place.suffix.lower() in VIDEO_ENDINGS else place
    return plain_name(place.parts)


def read_settings_ratings(data: Path, settings: PeopleAnnotationSettings) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the ratings that the settings name (see `read_ratings`); no rows where classes are given."""
    if not settings.ratings:
        return pd.DataFrame(columns=COLUMNS), []
    said = settings.rating_columns
    form = RatingForm(
        clip=said.get("clip", "clip"), rater=said.get("rater", "rater"), rating=said.get("rating", "rating")
    )
    return read_ratings(data / settings.ratings, form)


def list_cuts(settings: PeopleAnnotationSettings) -> list[Cut]:
    """Return where classes of ratings end."""
    return [Cut(cut.at, cut.belongs_to) for cut in settings.cuts]


def _rate(data: Path, settings: PeopleAnnotationSettings) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Return clip, rating, raters and label of each rated clip; None where classes are given."""
    if not settings.ratings:
        return None, []
    ratings, problems = read_settings_ratings(data, settings)
    rated, wrong = rate_clips(ratings, cuts=list_cuts(settings), raters=settings.raters)
    return rated, [*problems, *wrong]


def _list(
    data: Path, root: Path, settings: PeopleAnnotationSettings, *, rated: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read samples in whichever form they are listed."""
    if settings.form == "lists":
        classes = len(settings.classes)
        form = ListForm(settings.kind, with_offset=settings.offsets, classes=classes, names=settings.names)
        return read_lists({part: data / name for part, name in settings.lists.items()}, form, prefix=root)
    labelled = Labelled(tuple(settings.classes), settings.kind, settings.template, settings.names)
    if settings.form == "folders":
        return list_folders(root, labelled)
    path = data / settings.table
    try:
        table = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        return join_samples([]), [Problem(f"The table cannot be read: {error}.", file=settings.table)]
    said = {str(name): heading for name, heading in settings.columns.items()}
    named = {name: said.get(name, name) for name in ("path", "label", *_KNOWN)}
    problems: list[Problem] = []
    if rated is not None and {named["path"]} <= set(table):
        table, problems = _label_rows(table, rated, named, settings)
    there = {name: named[name] if named[name] in table else "" for name in _KNOWN}
    heads = Headings(path=named["path"], label=named["label"], **there)
    samples, wrong = list_table(table, root, labelled, headings=heads, file=settings.table)
    return samples, [*problems, *wrong]


def _label_rows(
    table: pd.DataFrame, rated: pd.DataFrame, named: dict[str, str], settings: PeopleAnnotationSettings
) -> tuple[pd.DataFrame, list[Problem]]:
    """Give each row of a table the class of its clip's ratings, and leave out rows without."""
    offsets = table[named["offset"]] if named["offset"] in table else pd.Series("0", index=table.index)
    clips = table[named["path"]].map(lambda path: _without_ending(str(path)))
    names = clips + np.where(offsets.isin(["", "0"]), "", "@" + offsets)
    label = names.map(rated.set_index("clip")["label"].to_dict())
    strange = sorted(set(rated["clip"]) - set(names))
    problems = _tell_unrated(names[label.isna()].tolist())
    if strange:
        what = f"{len(strange)} rated clips are not in {settings.table}, e.g. {strange[0]}."
        problems.append(Problem(what, expected="The names of the table's clips.", file=settings.ratings))
    kept = table[label.notna()].reset_index(drop=True)
    classes = label[label.notna()].astype("int64").map(lambda index: settings.classes[index])
    return kept.assign(**{named["label"]: classes.to_numpy()}), problems


def _apply_ratings(samples: pd.DataFrame, rated: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Put the classes of ratings in the place of those of the list."""
    label = samples["sample_id"].map(rated.set_index("clip")["label"].to_dict())
    problems = _tell_unrated(samples.loc[label.isna(), "sample_id"].tolist())
    kept = samples[label.notna()].reset_index(drop=True)
    own = label[label.notna()].astype("int64").to_numpy()
    return kept.assign(label=own, labels=own.astype("str")), problems


def _tell_unrated(names: list[str]) -> list[Problem]:
    if not names:
        return []
    return [Problem(f"{len(names)} clips have no rating and are left out, e.g. {names[0]}.", severity="warning")]


def _check_places(samples: pd.DataFrame, root: Path) -> list[Problem]:
    """Report clips that overlap in one recording: their labels would contradict each other."""
    problems = []
    for path, part in samples[samples["frames"] > 0].groupby("path", sort=False):
        ordered = part.sort_values("offset")
        ends = (ordered["offset"] + ordered["frames"]).to_numpy()[:-1]
        wrong = ordered[1:][ordered["offset"].to_numpy()[1:] < ends]
        if len(wrong):
            what = f"{len(wrong)} clips of {os.path.relpath(str(path), root)} begin before the one before ends."
            file, row = str(wrong["file"].iloc[0]), int(wrong["row"].iloc[0])
            problems.append(Problem(what, "Clips that follow each other.", file=file, row=row, severity="warning"))
    return problems


def _tabulate(samples: pd.DataFrame, rated: pd.DataFrame | None, data: Path) -> pd.DataFrame:
    """Return the table ``clips``, recordings in natural order, windows in order of their time."""
    paths = samples["path"].map(lambda path: Path(os.path.relpath(path, data.resolve())).as_posix()).astype("str")
    known = {} if rated is None else rated.set_index("clip").to_dict("index")
    made = pd.DataFrame(
        {
            "sample_id": samples["sample_id"],
            "session": samples["clip"].map(name_source),
            "family": samples["family"].where(samples["family"] != "", samples["clip"]),
            "recording": samples["session"].where(samples["session"] != "", samples["clip"].map(name_source)),
            "first": samples["offset"],
            "frames": samples["frames"],
            "label": samples["label"],
            "rating": [float(known.get(name, {}).get("rating", np.nan)) for name in samples["sample_id"]],
            "raters": [int(known.get(name, {}).get("raters", 0)) for name in samples["sample_id"]],
            "split": samples["split"],
            "path": paths,
        }
    )
    keys = [(natural_key(str(one)), natural_key(str(path))) for one, path in made[["recording", "path"]].to_numpy()]
    order = sorted(range(len(made)), key=lambda row: (*keys[row], int(samples["offset"].iloc[row])))
    made = made.iloc[order].reset_index(drop=True)
    made.insert(4, "window", made.groupby("recording", sort=False).cumcount())
    return tables.check(made, "clips") if len(made) else made


def _without_ending(path: str) -> str:
    place = PurePosixPath(path)
    return place.with_suffix("").as_posix() if place.suffix.lower() in VIDEO_ENDINGS else path


def place_sources(clips: pd.DataFrame, folder: str) -> dict[str, str]:
    """Return, for each session, the path of its source below the folder of clips, without ending.

    Parameters
    ----------
    clips
        Table ``clips``.
    folder
        Folder of the clips below the data folder: files of boxes and features are named after what follows it.
    """
    first = clips.drop_duplicates("session").set_index("session")["path"]
    return {str(name): _without_ending(os.path.relpath(str(path), folder or ".")) for name, path in first.items()}
