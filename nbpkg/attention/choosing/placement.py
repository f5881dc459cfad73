"""Place clips of equal length on several time lines so that none overlap, each kind as often as wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nbpkg.attention.choosing.programme import ROUGHLY, Programme

Integers = NDArray[np.int64]
_MANY = 10_000  # possible clips beyond which no more are looked at; about a minute of work
_SWEEPS = 30  # how often every clip is drawn anew; after that nobody sees where it began


class Placement(NamedTuple):
    """Clips as placed.

    Parameters
    ----------
    clips
        int64 ``[clips, 4]``: session, kind, start and number of the clip already there (-1 for a new one); by session
        and start.
    exact
        Whether it is proven that no placement has more clips.
    """

    clips: Integers
    exact: bool


@dataclass(frozen=True)
class _Paths:
    """One path of time through each session: a possible clip leads from its start to the next start after its end.

    Parameters
    ----------
    session, kind, start, given
        Where, what, when (milliseconds), and which of the clips already there (-1 for a new one), ``[clips]``.
    tail, head
        Nodes that each clip leads from and to, ``[clips]``.
    waits
        Nodes from which doing nothing leads to the next one.
    ends
        First and last node of each session, ``[sessions, 2]``.
    """

    session: Integers
    kind: Integers
    start: Integers
    given: Integers
    tail: Integers
    head: Integers
    waits: Integers
    ends: Integers


def place_clips(
    regions: Integers, given: Integers, *, clip_ms: int, wanted: int, worth: Integers, random: np.random.Generator
) -> Placement:
    """Choose as many clips as possible, at most `wanted` of each kind, none overlapping another of its session.

    Aims, in this order: as many as possible of the clips already there; most clips; most worth; all kinds alike often;
    each kind alike often in all sessions; all sessions alike often; chance. Then every new clip gets a random start, as
    if drawn from all placements of the same kinds in the same sessions.

    The number of clips is exact, unless `exact` says otherwise: a clip can be moved to an earlier start until it meets
    the start of a region or the end of the clip before it, so starts of regions plus whole numbers of clips are all
    that has to be looked at. They are the nodes of one path for each session, and an integer program (HiGHS, no gap)
    chooses the paths. The first few such starts of each region usually reach a bound that no placement can exceed; only
    where they do not, more are looked at, up to some ten thousand. The later aims are reached exactly on the starts
    looked at.

    Parameters
    ----------
    regions
        Possible starts, ``[regions, 4]``: number of the session, number of the kind, first start and the first instant
        that is no start any more, milliseconds. Regions of one session and kind are disjoint.
    given
        Clips already there, ``[given, 3]``: session, kind and start, each in a region.
    clip_ms
        Length of all clips, milliseconds.
    wanted
        How many of each kind.
    worth
        Whole number for each session: what a clip in it is worth.
    random
        Draws where there is a choice.

    Raises
    ------
    PaintingError
        When the solver gives up.
    """
    if not len(regions) or wanted < 1:
        return Placement(np.empty((0, 4), dtype=np.int64), exact=True)
    bound = _bound_count(regions, clip_ms=clip_ms, wanted=wanted)
    longest, links = wanted * len(np.unique(regions[:, 1])), 1
    while True:
        paths = _lay_paths(regions, given, clip_ms=clip_ms, links=min(links, longest))
        programme = _set_rules(paths, wanted)
        if len(given):
            programme.maximise(paths.given >= 0)
        most = programme.maximise(np.ones(len(paths.start)))
        exact = most >= bound or links >= longest
        if exact or len(paths.start) > _MANY:
            break
        links *= 2
    rooms = [pack_clips(regions[regions[:, 0] == session], clip_ms=clip_ms) for session in np.unique(regions[:, 0])]
    _spread(programme, paths, wanted=wanted, room=max(rooms), worth=worth, random=random)
    clips = np.stack([paths.session, paths.kind, paths.start, paths.given], axis=1)[programme.chosen]
    return Placement(_draw_starts(clips, regions, clip_ms=clip_ms, random=random), exact)


def pack_clips(regions: Integers, *, clip_ms: int) -> int:
    """Count how many clips fit side by side into regions, whatever their kind.

    Parameters
    ----------
    regions
        As in `place_clips`; they may overlap.
    clip_ms
        Length of the clips, milliseconds.

    Examples
    --------
    >>> pack_clips(np.array([[0, 0, 0, 6], [0, 1, 4, 7], [0, 0, 11, 12], [1, 0, 0, 1]]), clip_ms=5)
    4
    """
    count, free, now = 0, 0, -1
    for session, _, first, stop in regions[np.lexsort([regions[:, 2], regions[:, 0]])].tolist():
        free, now = (free if session == now else first), session
        begin = max(first, free)
        if begin < stop:  # the earliest clip is never worse than a later one
            more = -(-(stop - begin) // clip_ms)
            count, free = count + more, begin + more * clip_ms
    return count


def _bound_count(regions: Integers, *, clip_ms: int, wanted: int) -> int:
    """Return a number of clips that no placement exceeds: by kinds, or by room in the sessions."""
    kinds = [regions[regions[:, 1] == kind] for kind in np.unique(regions[:, 1])]
    by_kind = sum(min(wanted, pack_clips(rows, clip_ms=clip_ms)) for rows in kinds)
    return min(by_kind, pack_clips(regions, clip_ms=clip_ms))


def _lay_paths(regions: Integers, given: Integers, *, clip_ms: int, links: int) -> _Paths:
    """List possible clips of every session, up to `links` in a row from each start, and join them into paths."""
    columns: list[Integers] = []
    waits, ends, nodes = [], [], 0
    for session in np.unique(regions[:, 0]):
        rows, there = regions[regions[:, 0] == session], np.flatnonzero(given[:, 0] == session)
        fixed = given[there]
        roots = np.unique(np.concatenate([rows[:, 2], fixed[:, 2] + clip_ms]))
        times = np.unique(roots[:, None] + clip_ms * np.arange(links))
        parts = [np.stack([fixed[:, 1], fixed[:, 2], there], axis=1)]
        for kind in np.unique(rows[:, 1]):
            own = rows[rows[:, 1] == kind]
            own = own[np.argsort(own[:, 2])]
            place = np.searchsorted(own[:, 2], times, side="right") - 1
            inside = times[(place >= 0) & (times < own[np.maximum(place, 0), 3])]
            parts.append(np.stack([np.full_like(inside, kind), inside, np.full_like(inside, -1)], axis=1))
        clips = np.concatenate(parts)
        starts = np.unique(clips[:, 1])  # a node for each, and one for the end of the session
        tails, heads = (np.searchsorted(starts, clips[:, 1] + shift) for shift in (0, clip_ms))
        columns.append(np.column_stack([np.full(len(clips), session), clips, tails + nodes, heads + nodes]))
        waits.append(nodes + np.arange(len(starts)))
        ends.append((nodes, nodes + len(starts)))
        nodes += len(starts) + 1
    names = ("session", "kind", "start", "given", "tail", "head")
    clip_columns = dict(zip(names, np.concatenate(columns).T, strict=True))
    return _Paths(**clip_columns, waits=np.concatenate(waits), ends=np.array(ends))


def _set_rules(paths: _Paths, wanted: int) -> Programme:
    """Let one path go through each session, with no more clips of a kind than wanted."""
    tails, heads = np.concatenate([paths.tail, paths.waits]), np.concatenate([paths.head, paths.waits + 1])
    columns, ones, nodes = np.arange(len(tails)), np.ones(len(tails)), int(paths.ends[-1, 1]) + 1
    places = (np.concatenate([tails, heads]), np.tile(columns, 2))
    flow = sparse.csr_array((np.concatenate([ones, -ones]), places), shape=(nodes, len(tails)))
    balance = np.zeros(nodes)
    balance[paths.ends[:, 0]], balance[paths.ends[:, 1]] = 1, -1
    programme = Programme(len(paths.start), helpers=len(paths.waits))
    programme.require(flow, balance, balance)
    programme.count(paths.kind, at_most=wanted)
    return programme


def _spread(
    programme: Programme, paths: _Paths, *, wanted: int, room: int, worth: Integers, random: np.random.Generator
) -> None:
    """Pursue the aims that come after the number of clips; those that cannot change anything are left out."""
    kinds, sessions = len(np.unique(paths.kind)), len(np.unique(paths.session))
    pair = paths.session * (paths.kind.max() + 1) + paths.kind
    is_full = programme.chosen.sum() == wanted * kinds
    if len(np.unique(worth[paths.session])) > 1:
        programme.maximise(worth[paths.session])
    if wanted > 1 and not is_full:
        programme.level(paths.kind, at_most=wanted)
    if wanted > 1 and sessions > 1:
        programme.level(pair, at_most=wanted)
    if sessions > 1:
        programme.level(paths.session, at_most=room)
    if sessions > 1 or not is_full:
        programme.maximise(random.permutation(pair.max() + 1)[pair], gap=ROUGHLY)


def _draw_starts(clips: Integers, regions: Integers, *, clip_ms: int, random: np.random.Generator) -> Integers:
    """Draw the start of every new clip anew, many times, uniformly from all starts at which it meets no other."""
    clips = clips[np.lexsort([clips[:, 2], clips[:, 1], clips[:, 0]])]
    for session in np.unique(clips[:, 0]):
        here = np.flatnonzero(clips[:, 0] == session)
        new = here[clips[here, 3] < 0]
        own = {
            kind: regions[(regions[:, 0] == session) & (regions[:, 1] == kind), 2:]
            for kind in np.unique(clips[new, 1]).tolist()
        }
        for _ in range(_SWEEPS if len(new) else 0):
            for clip in random.permutation(new):
                others = np.sort(clips[here[here != clip], 2])
                clips[clip, 2] = _draw_start(own[int(clips[clip, 1])], others, clip_ms=clip_ms, random=random)
    return clips[np.lexsort([clips[:, 2], clips[:, 0]])]


def _draw_start(regions: Integers, others: Integers, *, clip_ms: int, random: np.random.Generator) -> int:
    """Draw a start in the regions at which a clip overlaps none of the others."""
    opens = np.concatenate([[np.iinfo(np.int64).min // 2], others + clip_ms])  # free from here …
    shuts = np.concatenate([others - clip_ms + 1, [np.iinfo(np.int64).max // 2]])  # … to before here
    low = np.maximum(regions[:, 0, None], opens[None])
    high = np.minimum(regions[:, 1, None], shuts[None])
    lengths = np.maximum(high - low, 0).ravel()
    drawn = int(random.integers(lengths.sum()))
    before = np.cumsum(lengths)
    place = int(np.searchsorted(before, drawn, side="right"))
    return int(low.ravel()[place] + drawn - (before[place] - lengths[place]))
