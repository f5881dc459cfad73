"""Writing annotations as ELAN files, the way ELAN and the pympi library do."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pympi

from nbpkg.sample.raters import Mark

_TIERS = ("participating", "attending", "task", "ignore")


def write_eaf(path: Path, marks: list[Mark], *, session: str, rater: str, day: date, habit: str = "plain") -> None:
    """Write one annotation file, the same bytes for the same input.

    Parameters
    ----------
    path
        File to write.
    marks
        The annotations.
    session, rater
        Names put into the file; the film is linked as ``../video/<session>.mp4``.
    day
        Date of the annotation.
    habit
        How the document was begun: ``plain``; ``default`` keeps ELAN's empty tier of that name; ``attached`` hangs the
        remarks of tier ``ignore`` on the annotations of ``task`` instead of giving them times of their own.
    """
    document = pympi.Eaf(author=rater)
    document.adocument["DATE"] = f"{day:%Y-%m-%d}T10:00:00+00:00"
    document.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    document.add_linked_file(f"file:///data/video/{session}.mp4", f"../video/{session}.mp4", "video/mp4")
    used = {mark.tier for mark in marks}
    attached = habit == "attached"
    if attached:
        document.add_linguistic_type("remark", constraints="Symbolic_Association", timealignable=False)
    for tier in _TIERS:
        if tier == "ignore" and attached:
            document.add_tier(tier, ling="remark", parent="task", part="child", ann=rater)
        elif tier != "ignore" or tier in used:
            document.add_tier(tier, ling="default-lt", part="child", ann=rater)
    for mark in sorted(marks, key=lambda mark: _TIERS.index(mark.tier)):  # parents first
        if mark.tier == "ignore" and attached:
            document.add_ref_annotation("ignore", "task", _middle_of_task(marks, mark), mark.text)
        else:
            document.add_annotation(mark.tier, mark.start_ms, mark.end_ms, mark.text)
    if habit != "default":
        document.remove_tier("default")
    document.to_file(str(path))


def _middle_of_task(marks: list[Mark], remark: Mark) -> int:
    """Find a time within the game nearest to a remark, milliseconds."""
    games = [(game.start_ms + game.end_ms) // 2 for game in marks if game.tier == "task"]
    return min(games, key=lambda middle: abs(middle - remark.start_ms))
