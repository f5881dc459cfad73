"""Grad-CAM films and region scores of clips that a network has not learnt from, resumed clip by clip."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from nbpkg import seeding, tables
from nbpkg.attention.maps import Values
from nbpkg.attention.people.clip_regions import score_clip
from nbpkg.attention.people.film import Frames, overlay, write_map_films
from nbpkg.attention.people.gradcam import ViewMaps, explain_views
from nbpkg.attention.people.views import Look, Seen
from nbpkg.errors import ExplainError
from nbpkg.progress import track
from nbpkg.runs.files import digest, new_file, read_json, sha256, write_json
from nbpkg.settings.people import PeopleExplainSettings

FOLDER = "films"
MOMENTS = 6  # pictures of a clip whose maps are kept for figures
Veil = Callable[..., Frames]  # nbpkg.plots.frames.veil: frames, and ``privacy`` by name
_VERSION = 1
_FILMS = ("film", "pictures", "heat")
_COLUMNS = ["system", "sample_id", "session", "family", "label", "target", "score", *_FILMS, "moments", "frames",
            "views", "constant"]  # fmt: skip


class ExplainedClips(NamedTuple):
    """What a network of clips was found to look at.

    Parameters
    ----------
    films
        One row per clip: system, sample_id, session, family, label, target (class explained: the one answered), score
        (its averaged score or probability), film, pictures, heat (files relative to the folder), moments (file of a few
        maps), frames (of a film), views, constant (whether no place stands out: nothing spoke for the class).
    regions
        Table ``people_regions``.
    """

    films: pd.DataFrame
    regions: pd.DataFrame


class Moments(NamedTuple):
    """A few pictures of a clip, evenly spaced in time, with their maps.

    Parameters
    ----------
    pictures
        As recorded: uint8 RGB ``[n, H, W, 3]``; they are veiled where they are drawn.
    maps
        0..1, ``[n, H, W]``.
    frames
        Frame of the store of each, ``[n]``.
    """

    pictures: Frames
    maps: Values
    frames: np.ndarray


class _Work(NamedTuple):
    """One clip to explain, and what the result depends on."""

    row: Any
    stem: Path
    about: dict[str, Any]


def choose_explained(
    clips: pd.DataFrame, folds: pd.DataFrame, *, count: int, seed: int, inner: int | None = None
) -> pd.DataFrame:
    """Choose clips of families that the network has not learnt from: classes in turn, families in turn within a class.

    Parameters
    ----------
    clips
        Table ``clips``.
    folds
        Table ``folds``.
    count
        How many; all there are where there are fewer.
    seed
        Same seed, same choice, whatever the order of the rows.
    inner
        A training fold that was held out, too; None when there is none.

    Returns
    -------
    pandas.DataFrame
        Rows of `clips`, by sample.

    Raises
    ------
    ExplainError
        When no clip is held out.
    """
    held = folds[(folds["role"] == "test") | (folds["fold"] == (-1 if inner is None else inner))]
    own = clips[clips["session"].isin(held["session"])].sort_values("sample_id")
    if own.empty:
        raise ExplainError(
            "There is no clip to explain that the network has not learnt from.",
            expected="A test fold, or an inner fold.",
            remedy="Look at the folds that notebooks/03_stratify.ipynb made.",
        )
    shuffled = own.iloc[seeding.generator(seed, "explained clips").permutation(len(own))]
    # How manieth of its class and family a clip is, then how manieth of its class: everybody comes first once.
    turn = shuffled.groupby(["label", "family"]).cumcount()
    ordered = shuffled.assign(turn=turn).sort_values("turn", kind="stable")
    ordered = ordered.assign(turn=ordered.groupby("label").cumcount()).sort_values("turn", kind="stable")
    return ordered.head(count).drop(columns="turn").sort_values("sample_id").reset_index(drop=True)


def explain_clips(
    network: nn.Module,
    clips: pd.DataFrame,
    *,
    look: Look,
    people: pd.DataFrame | None,
    settings: PeopleExplainSettings,
    folder: Path,
    system: str,
    veil: Veil,
    privacy: str = "pixelated",
) -> ExplainedClips:
    """Explain the class that a network answers for each clip, write its films and score what it looks at.

    Parameters
    ----------
    network
        A network of clips, trained; left as it was.
    clips
        Rows of the table ``clips``, e.g. from `choose_explained`.
    look
        How it sees a clip, e.g. `nbpkg.attention.people.views.look_at_clips`.
    people
        Table ``people``; None where nobody was followed: only motion and the whole picture are scored then.
    settings
        Layer, scale, and how films look.
    folder
        Run folder. Writes ``films/<sample>.mp4`` (or ``.gif``), beside it ``_orig`` and ``_heat``, ``.npz`` with a few
        maps and ``.json``, which says what they are of. A clip whose files are there, whole, and of the same network,
        frames, people and settings is kept; any other is made anew.
    system
        What the rows are called.
    veil, privacy
        `nbpkg.plots.frames.veil`, and how people may be shown in films.

    Returns
    -------
    ExplainedClips
        Films and region scores. The films hold all views one after another, with exactly their frames.

    Raises
    ------
    ExplainError
        When layer or views do not fit the network, naming the clip; clips finished by then are kept.
    MediaError
        When a clip cannot be read.

    Source
    ------
    mmaction2 0.24.1, ``demo_gradcam``; region scores as in `nbpkg.attention.people.regions`.
    """
    films, regions = [], []
    weights = _hash_weights(network)
    chosen = list(clips.itertuples(index=False))
    for row in track(chosen, f"explain {system}", unit="clip"):
        own = _take_people(people, row)
        seen = look(row)
        about = _tell(row, seen, own, settings, weights, privacy)
        work = _Work(row, folder / FOLDER / name_file(str(row.sample_id)), about)
        facts = _read_finished(work)
        if facts is None:
            facts = _make(network, work, seen, own, settings, lambda frames: veil(frames, privacy=privacy))
        named = {name: f"{FOLDER}/{facts['files'][name]}" for name in (*_FILMS, "moments")}
        films.append({"system": system, **_identify(row), **facts["found"], **named})
        regions += [
            {"system": system, "sample_id": str(row.sample_id), "family": str(row.family), **_restore(one)}
            for one in facts["regions"]
        ]
    return ExplainedClips(pd.DataFrame(films, columns=_COLUMNS), tables.from_rows(regions, "people_regions"))


def read_moments(film: Any, *, folder: Path, look: Look) -> Moments:
    """Read pictures and maps of a few moments of an explained clip, for figures.

    Parameters
    ----------
    film
        Row of `ExplainedClips.films`.
    folder
        As in `explain_clips`.
    look
        The same as there: pictures are read from the frame store again.
    """
    with np.load(folder / str(film.moments), allow_pickle=False) as kept:
        maps, picks = kept["maps"].astype(np.float32), kept["picks"]
    seen = look(film)
    return Moments(seen.pictures()[picks], maps, seen.numbers.reshape(-1)[picks])


def name_file(sample: str) -> str:
    """Turn a sample's name into one that can be a file's; two samples never get the same.

    Parameters
    ----------
    sample
        Any text.

    Examples
    --------
    >>> name_file("f01_0003"), name_file("f01/a.mp4")
    ('f01_0003', 'f01_a_mp4-8bbcd7b5')
    """
    plain = re.sub(r"[^\w-]", "_", sample, flags=re.ASCII)
    return plain if plain == sample else f"{plain}-{hashlib.sha256(sample.encode()).hexdigest()[:8]}"


def _make(
    network: nn.Module,
    work: _Work,
    seen: Seen,
    people: pd.DataFrame,
    settings: PeopleExplainSettings,
    veil: Callable[[Frames], Frames],
) -> dict[str, Any]:
    """Explain one clip and write its files, the one that says so last."""
    try:
        found = explain_views(network, seen.views, layer=settings.layer, average=seen.average)
    except ExplainError as error:
        where = ", ".join(part for part in (str(work.row.sample_id), error.where) if part)
        raise ExplainError(error.what, where=where, expected=error.expected, remedy=error.remedy) from None
    maps = found.scaled(settings.scale)
    pictures = overlay(veil(seen.pictures()), maps, alpha=settings.alpha)
    resolution = None if settings.resolution is None else (settings.resolution[0], settings.resolution[1])
    paths = write_map_films(
        pictures,
        work.stem.with_name(f"{work.stem.name}.{settings.format}"),
        fps=Fraction(settings.fps),
        resolution=resolution,
        algorithm=settings.resize,
    )
    one_scale = found.scaled("clip")
    moments = _write_moments(work.stem.with_name(f"{work.stem.name}.npz"), one_scale, seen)
    regions = score_clip(one_scale, seen, people, alpha=settings.alpha)
    files = dict(zip((*_FILMS, "moments"), (*paths, moments), strict=True))
    facts = {
        "about": work.about,
        "files": {name: path.name for name, path in files.items()},
        "sha256": {path.name: sha256(path) for path in files.values()},
        "found": _describe(found, len(pictures.blended)),
        "regions": [_keep(one) for one in regions.to_dict("records")],
    }
    write_json(work.stem.with_name(f"{work.stem.name}.json"), facts)
    return facts


def _read_finished(work: _Work) -> dict[str, Any] | None:
    """Return what was found before, when its files are there, whole, and of the same."""
    path = work.stem.with_name(f"{work.stem.name}.json")
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = read_json(path)
    except ValueError:
        return None
    known = facts.get("sha256", {})
    whole = all((path.parent / name).is_file() and sha256(path.parent / name) == was for name, was in known.items())
    return facts if facts.get("about") == work.about and known and whole else None


def _tell(
    row: Any, seen: Seen, people: pd.DataFrame, settings: PeopleExplainSettings, weights: str, privacy: str
) -> dict[str, Any]:
    """Say what the files of a clip depend on, as JSON has it."""
    how = settings.model_dump(mode="json", exclude={"clips", "lags", "resamples"})
    near = people[people["frame"].isin(np.unique(seen.numbers))]
    views = np.ascontiguousarray(seen.views.detach().cpu().numpy())
    about = {
        "version": _VERSION,
        "clip": _identify(row),
        "network": weights,
        "views": hashlib.sha256(views.tobytes()).hexdigest(),
        "frames": seen.numbers.tolist(),
        "people": hashlib.sha256(near.to_csv(index=False).encode()).hexdigest(),
        "settings": digest(how),
        "privacy": privacy,
    }
    told: dict[str, Any] = json.loads(json.dumps(about))
    return told


def _identify(row: Any) -> dict[str, Any]:
    return {
        "sample_id": str(row.sample_id),
        "session": str(row.session),
        "family": str(row.family),
        "label": int(row.label),
    }


def _describe(found: ViewMaps, frames: int) -> dict[str, Any]:
    return {
        "target": found.target,
        "score": float(found.scores[found.target]),
        "frames": frames,
        "views": len(found.views),
        "constant": bool(np.ptp(found.values) == 0),
    }


def _take_people(people: pd.DataFrame | None, row: Any) -> pd.DataFrame:
    if people is None:
        return tables.empty("people")
    own: pd.DataFrame = people[people["session"] == row.session]
    return own


def _write_moments(path: Path, maps: Values, seen: Seen) -> Path:
    """Keep the maps of a few pictures, evenly spaced in time."""
    order = np.argsort(seen.numbers.reshape(-1), kind="stable")
    picks = order[np.unique(np.linspace(0, len(order) - 1, MOMENTS).round().astype(np.int64))]
    chosen = maps.reshape(-1, *maps.shape[-2:])[picks].astype(np.float16)
    with new_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, maps=chosen, picks=picks)
    return path


def _hash_weights(network: nn.Module) -> str:
    """Hash names and values of all weights."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _keep(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Make a row of scores JSON, in which there is no NaN."""
    return {str(key): None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}


def _restore(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: np.nan if value is None else value for key, value in row.items()}
