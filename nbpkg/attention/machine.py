"""Attention maps of trained networks, and of their random twins, for every snippet; resumed where they were cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from nbpkg import progress, seeding, tables
from nbpkg.attention.explain import Options, randomise
from nbpkg.attention.explain.methods import find_method
from nbpkg.attention.explain.passes import at_rest, probability, run
from nbpkg.attention.maps import ABOUT, UNREADABLE, Map, read_about, read_map
from nbpkg.datasets.preprocess import crop, normalise, read_clip
from nbpkg.errors import ExplainError
from nbpkg.models.device import to_channels_last
from nbpkg.models.network import decide
from nbpkg.runs.files import new_file
from nbpkg.training.answers import Trained
from nbpkg.video.frames import FrameStore

__all__ = ["FOLDER", "NETWORK", "RANDOM", "explain_snippets", "read_map"]

FOLDER = "maps"
NETWORK, RANDOM = "network", "random network"
TARGETS = (0, 1)
_VERSION = 1


class Hashed(Protocol):
    """Anything that says which weights it has."""

    sha256: str


class Explained(Protocol):
    """A trained network and the card that names its weights."""

    @property
    def card(self) -> Hashed:
        """Return its card."""


# A row of table ``snippets`` and its network to the module that gives scores ``[B, K]``, and the clip ``[C, T, H, W]``.
Look = Callable[[Mapping[str, Any], Any], tuple[nn.Module, torch.Tensor]]


def look_at_clips(stores: Mapping[str, FrameStore], device: torch.device) -> Look:
    """Return how a network that answers for clips sees a snippet.

    Parameters
    ----------
    stores
        Open frame store of each session.
    device
        Where to compute; networks are brought there.
    """

    def look(snippet: Mapping[str, Any], trained: Trained) -> tuple[nn.Module, torch.Tensor]:
        how = trained.preprocess
        store = stores[str(snippet["session"])]
        frames, _ = read_clip(store, int(snippet["start_ms"]), int(snippet["end_ms"]), count=how.frames)
        net = to_channels_last(trained.net.to(device))
        return net, normalise(torch.from_numpy(crop(frames, how.size)).to(device), how)

    return look


@dataclass(frozen=True)
class _Work:
    """One file of maps: what is in it, apart from what the network answers."""

    row: Any
    trained: Explained
    source: str
    targets: tuple[int, ...]
    path: Path
    about: dict[str, Any]


def explain_snippets(
    snippets: pd.DataFrame,
    networks: Mapping[tuple[str, str], Explained],
    *,
    look: Look,
    methods: Sequence[str],
    options: Options,
    folder: Path,
    seed: int,
    randomised: bool,
    targets: tuple[int, ...] = TARGETS,
) -> pd.DataFrame:
    """Explain both classes of every snippet by every method, and keep the maps as files.

    Parameters
    ----------
    snippets
        Table ``snippets``; those of pairs without a network are left out, which is said.
    networks
        Of task and variable, e.g. from `nbpkg.training.answers.load_networks`.
    look
        How a network sees a snippet, e.g. `look_at_clips`.
    methods
        Names of `nbpkg.attention.explain.METHODS`.
    options
        Their settings.
    folder
        Run folder. Writes ``maps/<snippet_id>__network.npz`` and ``maps/<snippet_id>__random.npz``: entries
        ``<method>_<class>``, float32 on the method's own scale and as coarse as the method gives it, and ``about``,
        JSON of what the maps are of. A file that is there, whole, and of the same clip, network, methods and settings
        is kept; any other is made anew.
    seed
        Seed of the random twins, one for each pair.
    randomised
        Whether to explain the random twins, too: the raters' class only, by the same methods.
    targets
        Classes explained.

    Returns
    -------
    pandas.DataFrame
        Table ``maps``. A constant map, e.g. of Grad-CAM where nothing speaks for a class, is kept as it is and said:
        its minimum and maximum are the same, and comparisons with it are undefined.

    Raises
    ------
    ExplainError
        When a method does not suit a network or a map is not finite, naming snippet and layer. Files that are finished
        by then are kept.
    MediaError
        When a clip cannot be read.
    """
    _check_methods(methods)
    known = pd.MultiIndex.from_frame(snippets[["task", "variable"]]).isin(list(networks))
    if not known.all():
        progress.say(f"{int((~known).sum())} snippets are of pairs without a network and are not explained.")
    works = list(_list_works(snippets[known], networks, methods, options, folder, seed, randomised, targets))
    report = progress.Report("explain", total=len(works), unit="file")
    rows: list[dict[str, object]] = []
    for work in works:
        about = _read_finished(work)
        if about is None:
            about = _make_file(work, methods, options, look, seed)
        rows += _tabulate(work, about, folder)
        report.step(note=work.path.stem)
    report.close()
    return tables.from_rows(rows, "maps")


def _check_methods(methods: Sequence[str]) -> None:
    for name in methods:
        find_method(name)
    if len(set(methods)) < len(methods):
        raise ExplainError("A method is named twice.", expected="Each once.", remedy="Correct the list of methods.")


def _list_works(
    snippets: pd.DataFrame,
    networks: Mapping[tuple[str, str], Explained],
    methods: Sequence[str],
    options: Options,
    folder: Path,
    seed: int,
    randomised: bool,
    classes: tuple[int, ...],
) -> Iterator[_Work]:
    settings = {name: value for name, value in asdict(options).items() if name != "batch_size"}
    row: Any
    for row in snippets.itertuples(index=False):
        name = str(row.snippet_id)
        if Path(name).name != name or name.startswith("."):
            raise ExplainError(
                f"{name!r} cannot be part of a file's name.", expected="Letters, digits and underscores."
            )
        trained = networks[str(row.task), str(row.variable)]
        clip = {"session": row.session, "start_ms": int(row.start_ms), "end_ms": int(row.end_ms)}
        for source in (NETWORK, RANDOM) if randomised else (NETWORK,):
            targets = classes if source == NETWORK else (int(row.label),)
            about = {
                "version": _VERSION,
                "clip": clip,
                "source": source,
                "network": trained.card.sha256,
                "seed": seed if source == RANDOM else None,
                "targets": list(targets),
                "methods": list(methods),
                "settings": json.loads(json.dumps(settings)),
            }
            path = folder / FOLDER / f"{name}__{'network' if source == NETWORK else 'random'}.npz"
            yield _Work(row, trained, source, targets, path, about)


def _read_finished(work: _Work) -> dict[str, Any] | None:
    """Return what a finished file says about itself; None when there is none, or not the one that is wanted."""
    if not work.path.is_file():
        return None
    try:
        about = read_about(work.path)
        with np.load(work.path, allow_pickle=False) as content:  # reads every map: a flipped bit breaks its checksum
            whole = all(content[entry["entry"]].dtype == np.float32 for entry in about["maps"])
    except (*UNREADABLE, TypeError) as error:
        progress.say(f"{work.path.name} is damaged ({type(error).__name__}) and is made again.")
        return None
    same = whole and {name: about.get(name) for name in work.about} == work.about
    return about if same else None


def _make_file(
    work: _Work,
    methods: Sequence[str],
    options: Options,
    look: Look,
    seed: int,
) -> dict[str, Any]:
    """Explain one snippet by one network and write the file."""
    net, clip = look(work.row._asdict(), work.trained)
    if work.source == RANDOM:
        net = randomise(net, seed=seeding.child(seed, "random network", work.row.task, work.row.variable))
    with at_rest(net), torch.no_grad():
        scores = run(net, clip[None]).float()
    found = [one for name in methods for one in _explain(net, clip, name, work, options)]
    about = {
        **work.about,
        "probability": [float(probability(scores, target)[0]) for target in TARGETS],
        "predicted": int(scores[0, 0] > 0) if scores.shape[1] == 1 else int(decide(scores)[0]),
        "maps": [_describe(one) for one in found],
    }
    entries = {_entry(one): one.values for one in found}  # noqa: PD011 - no data frame
    entries[ABOUT] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    with new_file(work.path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **entries)  # type: ignore[arg-type]
    return about


def _explain(net: nn.Module, clip: torch.Tensor, name: str, work: _Work, options: Options) -> list[Map]:
    """Run one method, and say of which maps nothing stands out."""
    try:
        maps = find_method(name).run(net, clip, work.targets, options)
    except ExplainError as error:
        where = f"Snippet {work.row.snippet_id}, {work.source}; {error.where}".rstrip("; ")
        raise ExplainError(error.what, where=where, expected=error.expected, remedy=error.remedy) from None
    for one in maps.values():
        low, high = one.range
        if low == high:
            progress.say(f"{work.row.snippet_id}, {work.source}: {one.where} is {low:.3g} everywhere.")
    return list(maps.values())


def _entry(one: Map) -> str:
    return f"{one.method}_{one.target}"


def _describe(one: Map) -> dict[str, object]:
    low, high = one.range
    return {
        "entry": _entry(one),
        "method": one.method,
        "target": one.target,
        "layer": one.layer,
        "minimum": low,
        "maximum": high,
    }


def _tabulate(work: _Work, about: Mapping[str, Any], folder: Path) -> list[dict[str, object]]:
    """Return the rows of table ``maps`` for one file."""
    return [
        {
            "snippet_id": work.row.snippet_id,
            "task": work.row.task,
            "variable": work.row.variable,
            "source": work.source,
            "method": one["method"],
            "target": one["target"],
            "condition": "matching" if one["target"] == work.row.label else "opposite",
            "layer": one["layer"],
            "file": work.path.relative_to(folder).as_posix(),
            "entry": one["entry"],
            "minimum": one["minimum"],
            "maximum": one["maximum"],
            "probability": about["probability"][one["target"]],
            "predicted": about["predicted"],
        }
        for one in about["maps"]
    ]
