"""Every error we raise says what is wrong, where, what was expected and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class NbpkgError(Exception):
    """An error written for the person who gets it, one sentence for each question.

    Parameters
    ----------
    what
        What is wrong, with the offending value.
    where
        File, tier, row, key or time at which it was found.
    expected
        What would have been right.
    remedy
        What to do now.

    Examples
    --------
    >>> print(NbpkgError("'egg' is no known task.", where="a.eaf, row 3.", remedy="Correct it in ELAN."))
    'egg' is no known task.
      Where: a.eaf, row 3.
      Do this: Correct it in ELAN.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", remedy: str = "") -> None:
        self.what, self.where, self.expected, self.remedy = what, where, expected, remedy
        parts = [("Where", where), ("Expected", expected), ("Do this", remedy)]
        super().__init__("\n  ".join([what, *(f"{name}: {text}" for name, text in parts if text)]))

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the four parts when the error crosses a process border."""
        return _rebuild, (type(self), self.what, self.where, self.expected, self.remedy)

    def _render_traceback_(self) -> list[str]:
        """Show the message, not the call stack, when a notebook cell raises this error."""
        return [f"{type(self).__name__}: {self}"]


def _rebuild(kind: type[NbpkgError], what: str, where: str, expected: str, remedy: str) -> NbpkgError:
    return kind(what, where=where, expected=expected, remedy=remedy)


class SettingsError(NbpkgError):
    """A parameter file or parameters cell that cannot be used."""


class AnnotationError(NbpkgError):
    """Annotation files that cannot be read or contradict the scheme."""


class MediaError(NbpkgError):
    """A video or sound file that cannot be read, or is not what it should be."""


class TableError(NbpkgError):
    """A table that breaks its contract."""


class FoldError(NbpkgError):
    """Sessions that cannot be dealt into the folds asked for."""


class WeightsError(NbpkgError):
    """Network weights that do not fit the network."""


class StageError(NbpkgError):
    """A stage that cannot start, or whose checks did not hold."""


class ExplainError(NbpkgError):
    """A network, layer or map from which no explanation follows."""


class PaintingError(NbpkgError):
    """Strokes or snippets that cannot be used."""


class DivergedError(StageError):
    """A training whose loss or weights stopped being finite numbers."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one place of the input.

    Parameters
    ----------
    what, expected, remedy
        One sentence each, as in `NbpkgError`.
    file, tier
        Where; empty when the problem is about no single file or tier.
    row
        Number of the annotation in its tier (or line of the file), from 1; 0 when unknown.
    start_ms
        Time of the annotation in milliseconds; -1 when unknown.
    severity
        ``error`` (the input is refused), ``repaired`` (a stated repair was made) or ``warning``.
    """

    what: str
    expected: str = ""
    remedy: str = ""
    file: str = ""
    tier: str = ""
    row: int = 0
    start_ms: int = -1
    severity: str = "error"

    @property
    def where(self) -> str:
        """The place in words, e.g. ``s01_ew.eaf, tier 'task', row 3, 0:12.500``."""
        parts = [self.file, f"tier {self.tier!r}" if self.tier else "", f"row {self.row}" if self.row else ""]
        if self.start_ms >= 0:
            minutes, ms = divmod(self.start_ms, 60_000)
            parts.append(f"{minutes}:{ms / 1000:06.3f}")
        return ", ".join(part for part in parts if part)


def raise_all(problems: Iterable[Problem], kind: type[NbpkgError], *, summary: str, limit: int = 20) -> None:
    """Raise one error that lists every problem of severity ``error``; return quietly when there is none.

    Parameters
    ----------
    problems
        What was found; only those of severity ``error`` count.
    kind
        The class to raise.
    summary
        Opening words, e.g. ``annotation files cannot be used``; the count is put before them.
    limit
        How many problems to spell out; the rest is counted.

    Raises
    ------
    NbpkgError
        Of class `kind`, when at least one problem is an error.
    """
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    lines = []
    for problem in errors[:limit]:
        place = f"{problem.where}: " if problem.where else ""
        tail = " ".join(text for text in (problem.expected, problem.remedy) if text)
        lines.append(f"- {place}{problem.what} {tail}".rstrip())
    if len(errors) > limit:
        lines.append(f"- … and {len(errors) - limit} more.")
    count = f"{len(errors)} problem{'s' if len(errors) > 1 else ''}"
    raise kind(f"{count}: {summary}\n" + "\n".join(lines))
