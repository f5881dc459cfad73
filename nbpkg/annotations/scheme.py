"""What the annotation files should hold: the ``parse`` section of a parameter file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

FIELD = re.compile(r"\{([^{}]*)\}")


def normalise(text: str) -> str:
    r"""Bring a name into one Unicode form (macOS writes ``ü`` as two characters, other systems as one).

    Examples
    --------
    >>> normalise("u\u0308") == "ü"
    True
    """
    return unicodedata.normalize("NFC", text)


def _check_name(name: str) -> str:
    """Refuse names that could not be part of a file name or a table cell on every system."""
    if not name or name != name.strip() or name in (".", ".."):
        raise ValueError(f"{name!r} is no usable name: empty, dots only, or white space at an end")
    if any(character in '/\\:*?"<>|' or unicodedata.category(character) == "Cc" for character in name):
        raise ValueError(f"{name!r} holds a character that file names cannot hold on every system")
    return normalise(name)


Name = Annotated[str, AfterValidator(_check_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Tier(_Strict):
    """One tier of the annotation files."""

    required: bool = Field(True, description="whether every file must hold at least one annotation on this tier")
    values: list[str] = Field(
        description="labels allowed, from the weakest to the strongest (weighted kappa and overlaps use the order); "
        "[] = free text"
    )
    spelling: dict[str, str] = Field(
        default_factory=dict, description="known misspellings and what they stand for, both compared in lower case"
    )

    @model_validator(mode="after")
    def _agree(self) -> Tier:
        wrong = [f"value {value!r} stands twice" for value in _repeated(value.lower() for value in self.values)]
        wrong += ["a value is empty"] if any(not value.strip() for value in self.values) else []
        known = {value.lower() for value in self.values}
        wrong += [
            f"spelling {wrong_one!r}: {right!r} is none of the values {', '.join(self.values)}"
            for wrong_one, right in self.spelling.items()
            if self.values and right.lower() not in known
        ]
        wrong += [
            f"spelling {wrong_one!r} is a value itself" for wrong_one in self.spelling if wrong_one.lower() in known
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class AnnotationScheme(_Strict):
    """Files, names, raters, tiers and rules of one set of annotations.

    Every contradiction between the fields is refused when the model is built, all of them in one message.
    """

    folder: str = Field(description="folder of the annotation files, relative to the data folder")
    format: Literal["eaf", "elan_tab", "boris", "csv"] = Field(
        "eaf",
        description="eaf = ELAN document, elan_tab = ELAN tab-delimited text, boris = BORIS tabular or aggregated "
        "events, csv = columns tier,value,start_ms,end_ms (or start_s,end_s) and session,rater unless the name tells",
    )
    name_pattern: str = Field(
        "{session}_{rater}_{date}",
        description="file name without ending; {session}, {rater} and, if wanted, {date} (yyyymmdd) between fixed text",
    )
    date_from: int | None = Field(None, description="first day accepted, yyyymmdd; null = no limit")
    date_before: int | None = Field(None, description="first day no longer accepted, yyyymmdd; null = no limit")
    sessions: list[Name] = Field(min_length=1, description="recording sessions, in the order tables are sorted by")
    raters: list[Name] = Field(min_length=1, description="people who annotate, in the order tables are sorted by")
    assignments: dict[str, list[str]] = Field(
        default_factory=dict,
        description="who rates which sessions; {} = anyone may rate any session, each needs at least one rater",
    )
    unassigned: Literal["error", "keep", "drop"] = Field(
        "error", description="what becomes of a file by a rater who is not assigned to its session"
    )
    task_tier: str | None = Field(
        "task", description="tier that says when each task takes place; null = the whole recording is the only task"
    )
    tasks: list[Name] = Field(min_length=1, description="parts of a session, e.g. games, in order")
    task_order: Literal["fixed", "any"] = Field(
        "fixed", description="fixed = every session holds the tasks in the order above; any = in any order"
    )
    variables: list[Name] = Field(min_length=1, description="tiers that are rated, in the order tables are sorted by")
    absent: str = Field("no", description="value given to time that is not marked")
    tiers: dict[str, Tier] = Field(description="what each tier of a file may hold")
    extra_tiers: Literal["error", "warn"] = Field(
        "error", description="what to do about a tier not named here that holds annotations; an empty one only warns"
    )
    overlaps: Literal["error", "earlier_start", "later_start", "positive"] = Field(
        "later_start",
        description="which span wins where spans of a rated tier overlap; positive = the later in `values`; error = "
        "overlaps are refused, of tasks too",
    )
    task_slack_ms: int = Field(
        500,
        ge=0,
        description="how long a task may run into the next one with a warning only, milliseconds; that time then "
        "counts for both tasks",
    )
    minimum_ms: int = Field(1, ge=1, description="spans shorter than this after repair are reported, milliseconds")
    media_offset: Literal["apply", "ignore"] = Field(
        "apply", description="whether times are shifted to the video's own zero when ELAN notes an offset (TIME_ORIGIN)"
    )
    media_slack_ms: int = Field(
        100,
        ge=0,
        description="how far past the end of the video an annotation may end with a warning only, milliseconds",
    )
    compat: Literal["none", "reference"] = Field(
        "none",
        description="reference = decide, fill and count as the published program does, known defects included",
    )

    @model_validator(mode="after")
    def _agree(self) -> AnnotationScheme:
        wrong = [*self._wrong_names(), *self._wrong_pattern(), *self._wrong_tiers(), *self._wrong_dates()]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _wrong_names(self) -> list[str]:
        lists = {"sessions": self.sessions, "raters": self.raters, "tasks": self.tasks, "variables": self.variables}
        wrong = [f"{key}: {name!r} stands twice" for key, names in lists.items() for name in _repeated(names)]
        reserved = {"raters": ("all", "human"), "tasks": ("all",), "variables": ("all",)}  # rows of table agreement
        wrong += [
            f"{key}: {name!r} is a reserved word"
            for key, words in reserved.items()
            for name in words
            if name in lists[key]
        ]
        wrong += [
            f"assignments: rater {name!r} is not in raters" for name in self.assignments if name not in self.raters
        ]
        if self.assignments:
            wrong += [f"assignments: rater {name!r} has none" for name in self.raters if name not in self.assignments]
            rated = {session for sessions in self.assignments.values() for session in sessions}
            wrong += [f"assignments: nobody rates session {name!r}" for name in self.sessions if name not in rated]
        for rater, sessions in self.assignments.items():
            wrong += [
                f"assignments of {rater!r}: {name!r} is not in sessions"
                for name in sessions
                if name not in self.sessions
            ]
            wrong += [f"assignments of {rater!r}: {name!r} stands twice" for name in _repeated(sessions)]
        return wrong

    def _wrong_pattern(self) -> list[str]:
        fields = FIELD.findall(self.name_pattern)
        wrong = [
            f"name_pattern: unknown field {{{name}}}" for name in fields if name not in ("session", "rater", "date")
        ]
        wrong += [f"name_pattern: {{{name}}} stands twice" for name in _repeated(fields)]
        if self.format != "csv":
            wrong += [f"name_pattern: {{{name}}} is missing" for name in ("session", "rater") if name not in fields]
        if "}{" in self.name_pattern:
            wrong.append("name_pattern: two fields stand side by side without text between them")
        if (self.date_from or self.date_before) and "date" not in fields:
            wrong.append("date_from and date_before need {date} in name_pattern")
        return wrong

    def _wrong_tiers(self) -> list[str]:
        wrong = [f"variables: {name!r} is no tier" for name in self.variables if name not in self.tiers]
        wrong += [f"variables: {name!r} is the task tier" for name in self.variables if name == self.task_tier]
        for name in self.variables:
            values = self.tiers[name].values if name in self.tiers else ["-"]
            wrong += [] if values else [f"tiers.{name}: a rated tier needs values"]
            if self.absent in values:
                wrong.append(f"tiers.{name}: the value {self.absent!r} of unmarked time cannot be marked as well")
        if self.task_tier is None:
            only = len(self.tasks) == 1
            return wrong if only else [*wrong, "tasks: without a task_tier there is one task, the whole recording"]
        if self.task_tier not in self.tiers:
            return [*wrong, f"task_tier: {self.task_tier!r} is no tier"]
        listed = self.tiers[self.task_tier].values
        wrong += [
            f"tasks: {name!r} is no value of tier {self.task_tier!r}" for name in self.tasks if name not in listed
        ]
        wrong += [f"tiers.{self.task_tier}: value {name!r} is no task" for name in listed if name not in self.tasks]
        return wrong

    def _wrong_dates(self) -> list[str]:
        dates = {"date_from": self.date_from, "date_before": self.date_before}
        wrong = [
            f"{key}: {value} is no date yyyymmdd"
            for key, value in dates.items()
            if value is not None and not 10_000_101 <= value <= 99_991_231
        ]
        if self.date_from and self.date_before and self.date_from >= self.date_before:
            wrong.append(f"date_from {self.date_from} is not before date_before {self.date_before}")
        return wrong

    def expected_pairs(self) -> list[tuple[str, str]]:
        """Return the (session, rater) pairs that must be there, in table order."""
        return [
            (session, rater)
            for session in self.sessions
            for rater in self.raters
            if session in self.assignments.get(rater, [])
        ]

    def is_assigned(self, session: str, rater: str) -> bool:
        """Tell whether `rater` may rate `session`."""
        return not self.assignments or session in self.assignments.get(rater, [])

    def categories(self, variable: str) -> list[str]:
        """Return all values of a variable from weakest to strongest, unmarked time first.

        Parameters
        ----------
        variable
            A rated tier.
        """
        return [self.absent, *self.tiers[variable].values]


def _repeated(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, each once."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    return [name for name, count in seen.items() if count > 1]
