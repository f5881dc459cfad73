"""Three made-up raters: how each of them sees the true states, and the slips they make when typing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from nbpkg import seeding
from nbpkg.sample.plan import VARIABLES
from nbpkg.sample.states import Game


@dataclass(frozen=True)
class Style:
    """How a person rates.

    Parameters
    ----------
    lag_ms
        How late starts and ends are marked, on average.
    misses
        Share of engaged episodes not marked.
    invents
        Share of pauses in which engagement is marked.
    shortest_ms
        Shorter engagement is not marked.
    bridges_ms
        Shorter pauses are marked over.
    reluctance_ms
        How much more of each end of an episode must be clear before it is marked; negative for a generous person.
    """

    lag_ms: float
    misses: float
    invents: float
    shortest_ms: int
    bridges_ms: int
    reluctance_ms: float


STYLES = {
    "r1": Style(lag_ms=180, misses=0.06, invents=0.09, shortest_ms=800, bridges_ms=700, reluctance_ms=0),
    "r2": Style(lag_ms=320, misses=0.04, invents=0.13, shortest_ms=600, bridges_ms=1200, reluctance_ms=-250),
    "r3": Style(lag_ms=240, misses=0.09, invents=0.06, shortest_ms=1300, bridges_ms=400, reluctance_ms=250),
}
_CONFUSED = {"self": "joint", "joint": "self", "attending": "excited", "excited": "attending"}
_REMARKS = ("egg fell", "stick fell", "flip the drum", "child looks at camera")


@dataclass(frozen=True)
class Mark:
    """One annotation as written: tier, text and time in milliseconds."""

    tier: str
    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Slip:
    """One planted mistake of a kind that real annotation files have.

    Parameters
    ----------
    kind
        ``spelling``, ``case``, ``space``, ``partial overlap`` or ``nested overlap``.
    tier
        Tier to make it in.
    meant, written
        The value and what is written instead; for overlaps both are the value that overlaps.
    """

    kind: str
    tier: str
    meant: str
    written: str


SLIPS = (
    Slip("spelling", "attending", "attending", "attednding"),
    Slip("spelling", "attending", "attending", "attendinh"),
    Slip("spelling", "attending", "excited", "excitied"),
    Slip("spelling", "task", "eggs", "egg"),
    Slip("case", "participating", "joint", "Joint"),
    Slip("space", "attending", "attending", " attending "),
    Slip("case", "task", "drums", "DRUMS"),
    Slip("partial overlap", "participating", "self", "self"),
    Slip("nested overlap", "attending", "excited", "excited"),
)


def rate(truth: pd.DataFrame, games: Sequence[Game], rater: str, *, seed: int, session: str) -> list[Mark]:
    """Annotate one session as one rater would.

    Parameters
    ----------
    truth
        The session's true states, see `states.state_spans`.
    games
        The session's games, in playing order.
    rater
        A key of `STYLES`.
    seed, session
        Choose the random numbers.

    Returns
    -------
    list of Mark
        Tiers ``participating``, ``attending`` and ``task``, and sometimes ``ignore``; without overlaps.
    """
    random = seeding.generator(seed, "rater", session, rater)
    style = STYLES[rater]
    marks = []
    for game in games:
        start_ms, end_ms = (int(time_ms + random.uniform(-300, 300)) for time_ms in (game.start_ms, game.end_ms))
        marks.append(Mark("task", game.task, start_ms, end_ms))
        for variable in VARIABLES:
            spans = _merged(truth[truth["task"] == game.task], variable)
            marks += _rate_variable(spans, style, random, variable=variable, start_ms=start_ms, end_ms=end_ms)
    if random.random() < 0.5:
        at_ms = int(random.uniform(games[1].start_ms, games[2].end_ms - 3000))
        marks.append(Mark("ignore", str(random.choice(_REMARKS)), at_ms, at_ms + int(random.uniform(900, 2500))))
    return sorted(marks, key=lambda mark: (mark.tier, mark.start_ms))


def make_slips(marks: list[Mark], slips: list[Slip]) -> tuple[list[Mark], list[dict[str, object]]]:
    """Make mistakes in a list of annotations.

    Returns
    -------
    tuple
        The annotations with mistakes, and a record for each mistake made: ``kind, tier, meant, written, start_ms``.
        A mistake for which there is no fitting annotation is not made.
    """
    made: list[dict[str, object]] = []
    for slip in slips:
        for position in _fitting(marks, slip):
            changed = _slipped(marks, position, slip)
            made.append({**asdict(slip), "start_ms": changed[0].start_ms})
            marks = sorted([*marks[:position], *changed, *marks[position + 1 :]], key=lambda m: (m.tier, m.start_ms))
            break
    return marks, made


def _merged(truth: pd.DataFrame, variable: str) -> list[tuple[int, int, str]]:
    """Join neighbouring spans with the same value of one variable; spans of ``no`` are kept."""
    spans: list[tuple[int, int, str]] = []
    for start_ms, end_ms, value in truth[["start_ms", "end_ms", variable]].itertuples(index=False):
        if spans and spans[-1][2] == value:
            spans[-1] = (spans[-1][0], int(end_ms), value)
        else:
            spans.append((int(start_ms), int(end_ms), str(value)))
    return spans


def _episodes(spans: list[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    """Group spans into episodes that are engaged throughout, or a single ``no``."""
    current: list[tuple[int, int, str]] = []
    for span in spans:
        if current and (span[2] == "no") != (current[-1][2] == "no"):
            yield current
            current = []
        current.append(span)
    if current:
        yield current


def _rate_variable(
    spans: list[tuple[int, int, str]],
    style: Style,
    random: np.random.Generator,
    *,
    variable: str,
    start_ms: int,
    end_ms: int,
) -> list[Mark]:
    """Mark one variable in one game: miss and invent episodes, move boundaries, confuse kinds of engagement."""
    marks: list[Mark] = []
    for episode in _episodes(spans):
        length_ms = episode[-1][1] - episode[0][0]
        if episode[0][2] == "no":
            if length_ms > 2000 and random.random() < style.invents:
                at_ms = episode[0][0] + int(random.uniform(0, 0.4) * length_ms)
                value = "self" if variable == "participating" else "attending"
                marks.append(Mark(variable, value, at_ms, at_ms + int(random.uniform(0.5, 0.9) * length_ms)))
            continue
        if random.random() < style.misses * (2.0 if length_ms < 3000 else 1.0):
            continue
        moves = style.lag_ms + random.uniform(-400, 400, size=len(episode) + 1)
        moves[0] += style.reluctance_ms + _hesitation(random)
        moves[-1] -= style.reluctance_ms + _hesitation(random)
        edges = [episode[0][0], *(span[1] for span in episode)]
        moved = [int(edge + move) for edge, move in zip(edges, moves, strict=True)]
        for (_, _, value), start, end in zip(episode, moved, moved[1:], strict=False):
            seen = _CONFUSED[value] if random.random() < 0.12 else value
            marks.append(Mark(variable, seen, start, end))
    return _tidied(marks, style, start_ms=start_ms, end_ms=end_ms)


def _hesitation(random: np.random.Generator) -> float:
    """Draw how much of an episode's end is overlooked, milliseconds; mostly nothing."""
    return float(random.exponential(1100)) if random.random() < 0.3 else 0.0


def _tidied(marks: list[Mark], style: Style, *, start_ms: int, end_ms: int) -> list[Mark]:
    """Cut to the game, mark over short pauses, join equal neighbours and leave out what is too short."""
    tidy: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: mark.start_ms):
        earliest = max(start_ms, tidy[-1].end_ms if tidy else start_ms)
        cut = replace(mark, start_ms=max(mark.start_ms, earliest), end_ms=min(mark.end_ms, end_ms))
        if cut.end_ms - cut.start_ms < style.shortest_ms:
            continue
        if tidy and cut.start_ms - tidy[-1].end_ms < style.bridges_ms:
            cut = replace(cut, start_ms=tidy[-1].end_ms)
        if tidy and cut.text == tidy[-1].text and cut.start_ms == tidy[-1].end_ms:
            cut = replace(cut, start_ms=tidy.pop().start_ms)
        tidy.append(cut)
    return tidy


def _fitting(marks: list[Mark], slip: Slip) -> list[int]:
    """Find the annotations that a slip could change, by position."""
    long_enough = 3000 if slip.kind.endswith("overlap") else 0
    found = []
    for position, mark in enumerate(marks):
        if mark.tier != slip.tier or mark.end_ms - mark.start_ms <= long_enough:
            continue
        after = marks[position + 1] if position + 1 < len(marks) else None
        if slip.kind == "nested overlap":
            fits = mark.text != slip.meant
        elif slip.kind == "partial overlap":
            near = after is not None and after.tier == mark.tier and after.start_ms - mark.end_ms < 6000
            fits = near and after is not None and after.end_ms - after.start_ms > long_enough
        else:
            fits = mark.text == slip.meant
        if fits:
            found.append(position)
    return found


def _slipped(marks: list[Mark], position: int, slip: Slip) -> list[Mark]:
    """Write the annotation with the mistake; the mark that carries it comes first."""
    mark = marks[position]
    if slip.kind == "nested overlap":
        return [replace(mark, text=slip.written, start_ms=mark.start_ms + 900, end_ms=mark.end_ms - 900), mark]
    if slip.kind == "partial overlap":
        return [replace(mark, end_ms=marks[position + 1].start_ms + 700)]
    return [replace(mark, text=slip.written)]
