"""Who paints which snippet, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from nbpkg import seeding, tables
from nbpkg.attention.choosing.programme import ROUGHLY, Programme


class _Offer(NamedTuple):
    """One painter who may paint one snippet, and place in the earlier queue (-1: was not in it)."""

    snippet_id: str
    painter: str
    cell: tuple[str, str, int]
    place: int


def deal_snippets(
    snippets: pd.DataFrame,
    may_paint: Mapping[str, Sequence[str]],
    *,
    earlier: pd.DataFrame | None,
    per_snippet: int,
    seed: int,
) -> pd.DataFrame:
    """Give every snippet to as many painters as wanted, all painters alike often, and every painter an order.

    Also within each task, variable and label painters get alike many. The order is drawn at random, so that neither
    fatigue nor learning falls on one label; adding snippets does not change the order of the others.

    Parameters
    ----------
    snippets
        Table ``snippets``.
    may_paint
        Who may paint each session.
    earlier
        Table ``queue``: who painted or began what. They keep it, whether named in `may_paint` or not, and come to it
        first, in the old order. Rows of other snippets are left out.
    per_snippet
        How many painters each snippet should have; a snippet gets fewer where no more may paint it.
    seed
        Same seed, same queue.

    Returns
    -------
    pandas.DataFrame
        Table ``queue``, by painter and position.

    Raises
    ------
    PaintingError
        When the solver gives up.
    """
    offers, needed = _list_offers(snippets, may_paint, earlier, per_snippet)
    if not offers:
        return tables.empty("queue")
    programme = Programme(len(offers), helpers=0)
    names = np.array([offer.snippet_id for offer in offers])
    painters = np.unique([offer.painter for offer in offers], return_inverse=True)[1]
    cells = sorted({offer.cell for offer in offers})
    kinds = np.array([cells.index(offer.cell) for offer in offers])
    wanted = np.array([needed[name] for name in np.unique(names)])
    programme.count(names, at_least=wanted, at_most=wanted)
    fixed = np.array([offer.place >= 0 for offer in offers])
    if fixed.any():
        programme.maximise(fixed)
    programme.level(painters, at_most=len(snippets))
    programme.level(painters * len(cells) + kinds, at_most=len(snippets))
    programme.maximise(seeding.generator(seed, "painters").permutation(len(offers)), gap=ROUGHLY)

    def order(offer: _Offer) -> tuple[object, ...]:
        drawn = seeding.child(seed, "order", offer.painter, offer.snippet_id)
        return offer.painter, offer.place < 0, offer.place, drawn

    dealt = sorted((offer for offer, chosen in zip(offers, programme.chosen, strict=True) if chosen), key=order)
    queue = pd.DataFrame([(offer.snippet_id, offer.painter) for offer in dealt], columns=["snippet_id", "painter"])
    return tables.check(queue.assign(position=queue.groupby("painter").cumcount()), "queue")


def _list_offers(
    snippets: pd.DataFrame,
    may_paint: Mapping[str, Sequence[str]],
    earlier: pd.DataFrame | None,
    per_snippet: int,
) -> tuple[list[_Offer], dict[str, int]]:
    """List who may paint what, and how many each snippet shall have."""
    kept: dict[tuple[str, str], int] = {}
    if earlier is not None:
        rows = earlier.sort_values(["painter", "position", "snippet_id"])
        kept = {pair: place for place, pair in enumerate(zip(rows["snippet_id"], rows["painter"], strict=True))}
    offers, needed = [], {}
    ordered = snippets.sort_values("snippet_id")
    columns = ("snippet_id", "session", "task", "variable", "label")
    for name, session, task, variable, label in zip(*(ordered[column] for column in columns), strict=True):
        before = {painter for snippet_id, painter in kept if snippet_id == name}
        free = set(may_paint[session])
        offers += [
            _Offer(name, painter, (task, variable, label), kept.get((name, painter), -1))
            for painter in sorted(before | free)
        ]
        needed[name] = max(len(before), min(per_snippet, len(before | free)))
    return offers, needed
