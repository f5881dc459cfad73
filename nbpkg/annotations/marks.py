"""What every reader hands on: marks on tiers, and what was noticed while reading them."""

from __future__ import annotations

from dataclasses import dataclass, field

from nbpkg.errors import Problem


@dataclass(frozen=True)
class Mark:
    """One annotation as the file has it, unchecked: it may be reversed, empty or unknown.

    Parameters
    ----------
    tier, value
        Tier and label, white space at the ends removed.
    start_ms, end_ms
        Times in milliseconds.
    row
        Number of the annotation in its tier (in tables: line of the file), from 1.
    session, rater
        When the file itself says so; else empty.
    """

    tier: str
    value: str
    start_ms: int
    end_ms: int
    row: int
    session: str = ""
    rater: str = ""


@dataclass(frozen=True)
class Finding:
    """A problem, and how severe the published program finds it (empty: the same; ``accepted``: not at all)."""

    problem: Problem
    reference: str = ""


@dataclass
class Document:
    """Contents of one annotation file.

    Parameters
    ----------
    file
        Name of the file, control characters escaped.
    marks
        All annotations in document order.
    tiers
        Names of all tiers, empty ones included, and the annotator each one notes (or an empty text).
    media
        Media files the document names.
    findings
        What was noticed.
    """

    file: str
    marks: list[Mark] = field(default_factory=list)
    tiers: dict[str, str] = field(default_factory=dict)
    media: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def note(
        self,
        what: str,
        *,
        expected: str = "",
        remedy: str = "",
        tier: str = "",
        row: int = 0,
        start_ms: int = -1,
        severity: str = "error",
        reference: str = "",
    ) -> None:
        """Add a finding about this file (see `nbpkg.errors.Problem` and `Finding`)."""
        problem = Problem(what, expected, remedy, self.file, tier, row, max(start_ms, -1), severity)
        self.findings.append(Finding(problem, reference))

    @property
    def is_broken(self) -> bool:
        """Tell whether nothing of the file could be read, so that listing what it lacks would help nobody."""
        return not self.tiers and any(finding.problem.severity == "error" for finding in self.findings)

    @property
    def problems(self) -> list[Problem]:
        """What was noticed, without the reference's view of it."""
        return [finding.problem for finding in self.findings]


def show_name(name: str) -> str:
    r"""Return a file name fit for a message: control characters escaped.

    Examples
    --------
    >>> show_name("a\nb.eaf")
    'a\\nb.eaf'
    """
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in name)
