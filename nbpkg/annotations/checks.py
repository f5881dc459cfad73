"""What one annotation file must hold: tiers, values, times, overlaps, tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from nbpkg.annotations.marks import Document, Mark
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.annotations.sweep import cut_overlaps


@dataclass(frozen=True)
class Rated:
    """Marks that one rater made in one session."""

    session: str
    rater: str
    marks: tuple[Mark, ...]


def check_tiers(document: Document, scheme: AnnotationScheme, present: dict[str, str]) -> None:
    """Report unknown tiers; `present` names the tiers the file has."""
    filled = {mark.tier for mark in document.marks}
    for name in present:
        if name in scheme.tiers:
            continue
        alike = [known for known in scheme.tiers if known.lower() == name.strip().lower()]
        if alike:
            document.note(
                f"Tier {name!r} is not {alike[0]!r}: capitals and white space count.",
                remedy=f"Rename it to {alike[0]!r} in ELAN.",
                tier=name,
            )
        elif name in filled:
            is_error = scheme.extra_tiers == "error"
            document.note(
                f"Tier {name!r} is unknown and holds annotations{'' if is_error else '; they were left out'}.",
                expected=f"Tiers {', '.join(scheme.tiers)}.",
                remedy="Remove or rename it, or name it under tiers.",
                tier=name,
                severity="error" if is_error else "warning",
                reference="error",
            )
        else:
            document.note(f"The empty tier {name!r} is unknown.", tier=name, severity="warning", reference="error")


def check_marks(rated: Rated, document: Document, scheme: AnnotationScheme) -> list[Mark]:
    """Correct spelling, check every mark of one rater in one session, and return those that can be used.

    Parameters
    ----------
    rated
        The marks.
    document
        Takes the findings.
    scheme
        What is allowed.
    """
    usable = []
    for mark in rated.marks:
        spelled = _spell(mark, document, scheme)
        if spelled is None:
            continue
        if _check_times(spelled, document) or scheme.compat == "reference":
            usable.append(spelled)
    filled = {mark.tier for mark in rated.marks}
    for name, tier in scheme.tiers.items():
        if tier.required and name not in filled:
            document.note(
                f"Tier {name!r} is missing or empty.",
                expected=f"At least one annotation of {rated.rater} in {rated.session}.",
                remedy="Annotate it, or set required: false.",
                tier=name,
            )
    if scheme.task_tier is not None:
        _check_tasks([mark for mark in usable if mark.tier == scheme.task_tier], document, scheme)
    for name in scheme.variables:
        _check_overlaps([mark for mark in usable if mark.tier == name], document, scheme)
    return usable


def check_end(mark: Mark, end_ms: int, document: Document, scheme: AnnotationScheme) -> None:
    """Report a mark that goes beyond the end of the video."""
    if mark.end_ms <= end_ms:
        return
    over = mark.end_ms - end_ms
    slight = over <= scheme.media_slack_ms and mark.start_ms < end_ms
    document.note(
        f"{mark.value!r} ends {over} ms after the video, which is {end_ms} ms long.",
        remedy="Check that this is the right video." if slight else "Correct the annotation, or give the right video.",
        tier=mark.tier,
        row=mark.row,
        start_ms=mark.start_ms,
        severity="warning" if slight else "error",
        reference="accepted",
    )


def _spell(mark: Mark, document: Document, scheme: AnnotationScheme) -> Mark | None:
    """Bring a label into its listed spelling; None, with a finding, when there is no such label."""
    tier = scheme.tiers.get(mark.tier)
    if tier is None:
        return None
    plain = " ".join(mark.value.split()).lower()
    corrections = {wrong.lower(): right for wrong, right in tier.spelling.items()}
    value = corrections.get(plain, plain)
    if not plain:
        document.note(
            "The annotation has no text.",
            expected=f"One of {', '.join(tier.values)}." if tier.values else "Text.",
            remedy="Fill it in or delete it." if tier.values else "",
            tier=mark.tier,
            row=mark.row,
            start_ms=mark.start_ms,
            severity="error" if tier.values else "warning",
            reference="error",
        )
        return None if tier.values else replace(mark, value="")
    if not tier.values:
        return replace(mark, value=value)
    listed = {known.lower(): known for known in tier.values}
    if value.lower() not in listed:
        document.note(
            f"{mark.value!r} is not a value of tier {mark.tier!r}.",
            expected=f"One of {', '.join(tier.values)}.",
            remedy="Correct it in the file, or add it under spelling.",
            tier=mark.tier,
            row=mark.row,
            start_ms=mark.start_ms,
        )
        return None
    if plain in corrections:
        document.note(
            f"{mark.value!r} was read as {listed[value.lower()]!r}.",
            tier=mark.tier,
            row=mark.row,
            start_ms=mark.start_ms,
            severity="repaired",
        )
    return replace(mark, value=listed[value.lower()])


def _check_times(mark: Mark, document: Document) -> bool:
    """Report reversed, zero-length and negative times; tell whether the mark can be used."""
    if 0 <= mark.start_ms < mark.end_ms:
        return True
    if mark.start_ms < 0:
        what = f"{mark.value!r} starts {-mark.start_ms} ms before the video"
    elif mark.start_ms == mark.end_ms:
        what = f"{mark.value!r} has no length (start and end are {mark.start_ms} ms)"
    else:
        what = f"{mark.value!r} ends at {mark.end_ms} ms, before it starts at {mark.start_ms} ms"
    document.note(
        f"{what}.",
        expected="End after start.",
        remedy="Correct or delete it in the file.",
        tier=mark.tier,
        row=mark.row,
        start_ms=mark.start_ms,
        reference="accepted",
    )
    return False


def _check_tasks(marks: list[Mark], document: Document, scheme: AnnotationScheme) -> None:
    """Report tasks that are missing, doubled, out of order or overlapping."""
    if not marks:
        return  # a missing tier is reported once, by its name
    names = [mark.value for mark in marks]
    right = names == scheme.tasks if scheme.task_order == "fixed" else sorted(names) == sorted(scheme.tasks)
    if not right:
        missing = [task for task in scheme.tasks if task not in names]
        doubled = [task for task in scheme.tasks if names.count(task) > 1]
        what = f"Task {missing[0]!r} is missing." if missing else "The tasks are out of order."
        document.note(
            f"Task {doubled[0]!r} stands {names.count(doubled[0])} times." if doubled else what,
            expected=f"{', '.join(scheme.tasks)}{', each once' if doubled else ''}; found {', '.join(names)}.",
            remedy="Correct the task tier" + (", or set task_order: any." if not missing and not doubled else "."),
            tier=scheme.task_tier or "",
        )
        return
    if scheme.task_order == "fixed" and [mark.start_ms for mark in marks] != sorted(mark.start_ms for mark in marks):
        found = ", ".join(mark.value for mark in sorted(marks, key=lambda mark: mark.start_ms))
        document.note(
            f"In time the tasks follow as {found}.",
            expected=f"{', '.join(scheme.tasks)}.",
            remedy="Correct the task tier, or set task_order: any.",
            tier=scheme.task_tier or "",
            reference="accepted",
        )
    in_time = sorted(marks, key=lambda mark: mark.start_ms)
    for first, second in pairwise(in_time):
        shared = first.end_ms - second.start_ms
        if shared > 0:
            slight = shared <= scheme.task_slack_ms and scheme.overlaps != "error"
            document.note(
                f"Task {second.value!r} starts {shared} ms before {first.value!r} ends"
                + ("; that time counts for both." if slight else "."),
                expected="Tasks one after the other.",
                remedy=""
                if slight
                else "Correct the task tier, or raise task_slack_ms if the time is to count for both.",
                tier=scheme.task_tier or "",
                row=second.row,
                start_ms=second.start_ms,
                severity="warning" if slight else "error",
                reference="accepted",
            )


def _check_overlaps(marks: list[Mark], document: Document, scheme: AnnotationScheme) -> None:
    """Report overlapping and doubled spans of a rated tier, and what remains of them."""
    sound = sorted((mark for mark in marks if mark.start_ms < mark.end_ms), key=lambda mark: (mark.start_ms, mark.row))
    severity = "error" if scheme.overlaps == "error" else "repaired"
    rule = {
        "earlier_start": "the one that starts earlier counts",
        "later_start": "the one that starts later counts",
        "positive": "the stronger value counts",
    }.get(scheme.overlaps, "")
    longest: Mark | None = None  # the span so far that ends last
    for mark in sound:
        if longest is not None and mark.start_ms < longest.end_ms:
            is_same = (mark.start_ms, mark.end_ms, mark.value) == (longest.start_ms, longest.end_ms, longest.value)
            over = min(mark.end_ms, longest.end_ms) - mark.start_ms
            what = (
                f"{mark.value!r} stands twice at the same time"
                if is_same
                else (f"{mark.value!r} overlaps {longest.value!r} of row {longest.row} by {over} ms")
            )
            tail = "" if severity == "error" else "; it counts once" if is_same else f"; where they overlap, {rule}"
            document.note(
                f"{what}{tail}.",
                remedy="Correct it in the file, or choose which one counts (overlaps)." if severity == "error" else "",
                tier=mark.tier,
                row=mark.row,
                start_ms=mark.start_ms,
                severity=severity,
                reference="accepted",
            )
        if longest is None or mark.end_ms > longest.end_ms:
            longest = mark
    if scheme.overlaps == "error" or scheme.compat == "reference":
        _warn_if_short([(mark, mark.start_ms, mark.end_ms) for mark in sound], document, scheme)
    else:
        _warn_if_short(cut_overlaps(sound, scheme), document, scheme)


def _warn_if_short(pieces: list[tuple[Mark, int, int]], document: Document, scheme: AnnotationScheme) -> None:
    for mark, start, end in pieces:
        if end - start < scheme.minimum_ms:
            document.note(
                f"{mark.value!r} is {end - start} ms long (from {start} ms).",
                expected=f"At least {scheme.minimum_ms} ms.",
                remedy="Check whether it was meant.",
                tier=mark.tier,
                row=mark.row,
                start_ms=mark.start_ms,
                severity="warning",
                reference="accepted",
            )
