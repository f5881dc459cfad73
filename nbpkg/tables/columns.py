"""What a contract of a table is made of, and the columns that many tables have."""

from __future__ import annotations

from dataclasses import dataclass

TEXT, INTEGER, NUMBER, FLAG = "text", "integer", "number", "flag"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name, meaning
        The column's name and what it holds, with unit.
    kind
        ``text``, ``integer``, ``number`` (may be NaN: undefined) or ``flag`` (true or false).
    allowed
        The only values there may be; empty for no limit.
    least
        The smallest value there may be.
    """

    name: str
    kind: str
    meaning: str
    allowed: tuple[str, ...] = ()
    least: float | None = None


@dataclass(frozen=True)
class Contract:
    """One table: its columns, its key (unique in the table) and what it is for.

    Parameters
    ----------
    name, purpose
        File name without ending, and one sentence.
    columns
        All columns, in order. With `open_ended` further ones may follow.
    key
        Columns whose values together occur once; empty when rows may repeat.
    before
        Pairs of columns of which the first must be smaller in every row.
    """

    name: str
    purpose: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    open_ended: bool = False


SESSION = Column("session", TEXT, "recording session")
RATER = Column("rater", TEXT, "person who annotated")
TASK = Column("task", TEXT, "part of the session, e.g. a game")
VARIABLE = Column("variable", TEXT, "what was rated")
START = Column("start_ms", INTEGER, "start, milliseconds from the start of the video, inclusive", least=0)
END = Column("end_ms", INTEGER, "end, milliseconds, exclusive")
SAMPLE = Column("sample_id", TEXT, "name of the sample")
LABEL = Column("label", INTEGER, "class index of the label", least=0)
FOLD = Column("fold", INTEGER, "number of the fold, from 0", least=0)
SPAN = (("start_ms", "end_ms"),)
