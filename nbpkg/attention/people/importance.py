"""What moves a memory transformer's answer: which person, which of their modalities, how many windows before.

A piece is covered by telling the network that its tokens are not there, so that it need not imagine others; the answer
is asked again, in the window itself and in those after it, which know of the piece through the memory alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import seeding, tables
from nbpkg.attention.explain.passes import at_rest
from nbpkg.baking.people import PersonRecording
from nbpkg.errors import ExplainError, TableError
from nbpkg.metrics.intervals import bootstrap_counts
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.progress import track

TABLE = "people_importance"
TWIN = "random twin"  # what the rows of the network without learning are called
EVERYTHING = "all"  # in the place of a modality: the whole person
NOT_PART = -1  # lag of a summary that does not tell lags apart
COLUMNS = ["system", "by", "who", "modality", "lag", "share", "share_low", "share_high", "value", "low", "high",
           "flipped", "n"]  # fmt: skip
_CELL = ["who", "modality", "lag"]
# What is told apart, and whether pieces are whole persons.
_GROUPINGS: Mapping[str, tuple[list[str], bool]] = {
    "who": (["who"], True),
    "modality": (["modality"], False),
    "lag": (["lag"], True),
    "who and modality": (["who", "modality"], False),
    "who and lag": (["who", "lag"], True),
    "modality and lag": (["modality", "lag"], False),
}


class _Cover(NamedTuple):
    """A piece: a person (place among the people) and the modalities that are covered, under one name."""

    person: int
    name: str
    modalities: tuple[str, ...]


def explain_conversations(
    network: CrossPersonMemoryTransformer,
    recordings: Mapping[str, PersonRecording],
    *,
    lags: int,
    system: str,
    learnt: Collection[str] = (),
) -> pd.DataFrame:
    """Cover each person's modalities, and each person as a whole, window by window, and see how the answers change.

    Parameters
    ----------
    network
        Trained, with one answer for all; left as it was.
    recordings
        Recordings by name, e.g. `nbpkg.baking.people.PeopleRecordings`; of families it has not learnt from.
    lags
        Windows before the answer that are covered, too, one at a time.
    system
        What the rows are called; `TWIN` for the network of `random_twin`.
    learnt
        Families that the network has learnt from.

    Returns
    -------
    pandas.DataFrame
        Table ``people_importance``. There is a row where something was there to cover, somebody was there when the
        answer was given, and somebody still is without what is covered.

    Raises
    ------
    ExplainError
        When the network answers for each person, lags are negative, a recording's family taught the network, or names
        of clips and roles do not fit it.

    Source
    ------
    Occlusion (Zeiler and Fergus, ECCV 2014) of people instead of places. The published study shows attention weights,
    which say what is read, not what counts.
    """
    if network.options.target != "joint" or lags < 0:
        raise ExplainError(
            f"A network with target {network.options.target!r} cannot be explained {lags} windows back.",
            expected="Target 'joint' and 0 windows or more.",
            remedy="Correct the settings.",
        )
    tables_found = []
    with at_rest(network), torch.no_grad():
        for name, recording in track(recordings.items(), f"explain {system}", unit="recording"):
            _check_recording(name, recording, learnt)
            rows = list(_cover_recording(network, recording, lags))
            found = pd.DataFrame(rows, columns=["sample_id", "window", *_CELL, "value", "flipped"])
            tables_found.append(found.assign(system=system, recording=name))
    if not any(len(found) for found in tables_found):
        return tables.empty(TABLE)
    return tables.check(pd.concat(tables_found, ignore_index=True), TABLE)


def random_twin(network: CrossPersonMemoryTransformer, *, seed: int) -> CrossPersonMemoryTransformer:
    """Return the same network with weights drawn anew: what its explanations show is owed to the data alone.

    Parameters
    ----------
    network
        Of any variant.
    seed
        The experiment's seed.
    """
    options = replace(network.options, without=())  # the widths are of the modalities that are left
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, TWIN))
        twin = CrossPersonMemoryTransformer(network.widths, network.classes, options=options)
    return twin.to(network.mem_init.device).eval()


def summarise_importance(
    importance: pd.DataFrame, *, seed: int, resamples: int = 2000, families: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Say how much moves the answers by person, by modality, by lag, and by two of them at once.

    Parameters
    ----------
    importance
        Table ``people_importance``, of one or several systems.
    seed
        The experiment's seed.
    resamples
        Of the bootstrap.
    families
        Family of each recording, which then are what is resampled; None resamples recordings.

    Returns
    -------
    pandas.DataFrame
        One row for each system, ``by`` (``who``, ``modality``, ``lag``, ``who and modality``, ``who and lag``,
        ``modality and lag``) and part: ``who`` and ``modality`` empty and ``lag`` -1 where they are not told apart;
        ``value``, the mean total variation over recordings of the recording's mean, with ``low`` and ``high`` (95 %
        percentile bootstrap; NaN for one family); ``share``, the mean over recordings of the part's share of the sum
        over all parts, with ``share_low`` and ``share_high``; ``flipped``, how often another class is answered; ``n``,
        recordings. People and lags are compared by covering whole persons, modalities by covering one of them.
        Recordings in which nothing moves the answer have no shares.

    Raises
    ------
    TableError
        When the table has no rows, or a recording has no family.
    """
    if importance.empty:
        raise TableError("No explanation was given.", expected=f"Rows of the table {TABLE}.")
    known = {str(name): str(name) for name in importance["recording"].unique()} if families is None else families
    homeless = sorted(set(importance["recording"].astype(str)) - set(known))
    if homeless:
        raise TableError(f"Recording {homeless[0]!r} has no family.", expected="A family for each recording.")
    found = []
    for system, rows in importance.groupby("system", sort=False):
        for by, (columns, whole) in _GROUPINGS.items():
            chosen = rows[(rows["modality"] == EVERYTHING) == whole]
            if len(chosen):
                own = _summarise(chosen, columns, known, seed=seed, resamples=resamples)
                found.append(own.assign(system=str(system), by=by))
    return pd.concat(found, ignore_index=True)[COLUMNS]


def _cover_recording(
    network: CrossPersonMemoryTransformer, recording: PersonRecording, lags: int
) -> Iterator[tuple[str, int, str, str, int, float, bool]]:
    """Give clip, window, role, modality, lag, change and flip of every cover and answer after it."""
    batch = recording.conversations.to(network.mem_init.device)
    answers, memories = _follow(network, batch)
    present = batch.find_present()[0].any(dim=-1)
    windows = len(answers)
    for window in range(windows):
        covers = _list_covers(network, batch, window)
        if not covers:
            continue
        span = slice(window, min(window + lags + 1, windows))
        covered = _cover(batch.take(span), covers)
        memory = memories[window].expand(len(covers), -1, -1, -1)
        changed = network(covered, memory).logits.double().softmax(dim=-1)
        left = covered.find_present().any(dim=-1)
        away = (changed - answers[None, span]).abs().sum(dim=-1) / 2
        flipped = changed.argmax(dim=-1) != answers[None, span].argmax(dim=-1)
        for row, cover in enumerate(covers):
            for lag in range(span.stop - span.start):
                if present[window + lag] and left[row, lag]:
                    at = window + lag
                    facts = (recording.roles[cover.person], cover.name, lag)
                    yield recording.clips[at], at, *facts, float(away[row, lag]), bool(flipped[row, lag])


def _follow(network: CrossPersonMemoryTransformer, batch: Conversations) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return probabilities ``[K, C]``, and the memory before each window."""
    people, windows = batch.size[2], batch.size[1]
    memory = network.mem_init.expand(1, people, -1, -1)
    answers, memories = [], []
    for window in range(windows):
        memories.append(memory)
        logits, memory = network(batch.take(slice(window, window + 1)), memory)
        answers.append(logits[0, 0].double().softmax(dim=-1))
    return torch.stack(answers), memories


def _list_covers(network: CrossPersonMemoryTransformer, batch: Conversations, window: int) -> list[_Cover]:
    """List the pieces of a window that are there."""
    known = [name for name in network.modalities if name in batch.valid]
    covers = []
    for person in range(batch.size[2]):
        there = tuple(name for name in known if bool(batch.valid[name][0, window, person].any()))
        covers += [_Cover(person, name, (name,)) for name in there]
        covers += [_Cover(person, EVERYTHING, there)] if there else []
    return covers


def _cover(batch: Conversations, covers: list[_Cover]) -> Conversations:
    """Return a batch with a row for each cover, of which the first window is covered."""
    valid = {name: flags.repeat(len(covers), 1, 1, 1) for name, flags in batch.valid.items()}
    for row, cover in enumerate(covers):
        for name in cover.modalities:
            valid[name][row, 0, cover.person] = False
    tokens = {name: values.expand(len(covers), -1, -1, -1, -1) for name, values in batch.tokens.items()}
    return Conversations(tokens, valid, batch.roles.expand(len(covers), -1))


def _summarise(
    rows: pd.DataFrame, columns: list[str], families: Mapping[str, str], *, seed: int, resamples: int
) -> pd.DataFrame:
    """Summarise one system, told apart by some columns."""
    means = rows.groupby(["recording", *columns], sort=False)[["value", "flipped"]].mean().reset_index()
    parts = rows[columns].drop_duplicates()
    parts = parts.sort_values("lag", kind="stable") if "lag" in columns else parts
    totals = means.groupby("recording")["value"].transform("sum")
    means["share"] = means["value"].div(totals.where(totals > 0))
    means["family"] = means["recording"].astype(str).map(families)
    moved = means.loc[totals > 0, ["recording", "family"]].drop_duplicates()
    found = []
    for part in parts.itertuples(index=False, name=None):
        own = means[(means[columns] == list(part)).all(axis=1)]
        # In a recording where the part never was, it has no share of what moved the answers there, not an unknown one.
        shares = moved.merge(own[["recording", "share"]], on="recording", how="left").fillna({"share": 0.0})
        value, low, high = _average(own, "value", seed=seed, resamples=resamples)
        share, share_low, share_high = _average(shares, "share", seed=seed, resamples=resamples)
        told = {"who": "", "modality": "", "lag": NOT_PART} | dict(zip(columns, part, strict=True))
        numbers = {"value": value, "low": low, "high": high, "flipped": float(own["flipped"].mean()), "n": len(own)}
        found.append(told | numbers | {"share": share, "share_low": share_low, "share_high": share_high})
    return pd.DataFrame(found)


def _average(rows: pd.DataFrame, column: str, *, seed: int, resamples: int) -> tuple[float, float, float]:
    """Return the mean over recordings and its interval, families resampled."""
    if rows.empty:
        return np.nan, np.nan, np.nan
    counts = rows.groupby("family")[column].agg(["sum", "count"]).to_numpy(np.float64)
    interval = bootstrap_counts(counts, _divide, seed=seed, resamples=resamples)
    return float(_divide(counts.sum(axis=0, keepdims=True))[0]), interval.low, interval.high


def _divide(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means of sums and counts ``[n, 2]``; NaN where nothing was counted."""
    means = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=means, where=sums[:, 1] > 0)
    return means


def _check_recording(name: str, recording: PersonRecording, learnt: Collection[str]) -> None:
    if recording.family in learnt:
        raise ExplainError(
            f"The network has learnt from family {recording.family!r}, which it is to explain.",
            where=name,
            expected="Families kept for the end, or left out of this training.",
            remedy="Explain recordings of the test families.",
        )
    rows, windows, people = recording.conversations.size
    wrong = rows != 1 or len(recording.clips) != windows or len(recording.roles) != people
    if wrong or len(set(recording.roles)) < people:
        raise ExplainError(
            f"The recording has {windows} windows of {people} people, but {len(recording.clips)} clips and roles "
            f"{', '.join(recording.roles) or 'none'}.",
            where=name,
            expected="A clip for each window, and a role of its own for each person.",
            remedy="Bake the recording again.",
        )
