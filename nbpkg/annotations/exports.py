"""Tables that annotation programs export, to marks on tiers; and tables for other agreement programs."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nbpkg.annotations.marks import Document, Mark, show_name
from nbpkg.annotations.scheme import AnnotationScheme

CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:[.,]\d+)?)")


@dataclass(frozen=True)
class _Rows:
    """Rows of a text table by column name, with the line of the file each came from."""

    header: list[str]
    rows: list[tuple[int, dict[str, str]]]


def read_elan_tab(path: Path) -> Document:
    """Read ELAN's tab-delimited text (File > Export As), with or without column names.

    Known are one annotation per row (columns Tier, Begin Time, End Time, Annotation), one column per tier, and
    rows without column names whose times are written as hh:mm:ss.ms.

    Parameters
    ----------
    path
        The exported file, UTF-8.
    """
    document = Document(show_name(path.name))
    cells = _read_cells(path, document, delimiter="\t")
    if not cells:
        return document
    lower = [name.strip().lower() for name in cells[0][1]]
    begin, end = _find_time(lower, "begin time"), _find_time(lower, "end time")
    if begin is None or end is None:
        _read_headless(cells, document)
        return document
    skipped = ("begin time", "end time", "duration", "file", "participant")
    single = {"tier", "annotation"} <= set(lower)
    for line, values in cells[1:]:
        times = _read_times(values, begin, end, document, line)
        if times is None:
            continue
        if single:
            pairs = [(values[lower.index("tier")], values[lower.index("annotation")])]
        else:
            named = zip(cells[0][1], lower, values, strict=True)
            pairs = [(name, value) for name, key, value in named if value and not key.startswith(skipped)]
        for tier, value in pairs:
            document.tiers.setdefault(tier.strip(), "")
            document.marks.append(Mark(tier.strip(), value.strip(), *times, line))
    return document


def read_csv(path: Path) -> Document:
    """Read a CSV table with columns tier, value, start_ms, end_ms (or start_s, end_s), and session, rater if wanted.

    Parameters
    ----------
    path
        The table: UTF-8, separated by commas, semicolons or tabs.
    """
    document = Document(show_name(path.name))
    cells = _read_cells(path, document, delimiter=None)
    if not cells:
        return document
    header = [name.strip().lower() for name in cells[0][1]]
    in_seconds = "start_s" in header
    start, end = ("start_s", "end_s") if in_seconds else ("start_ms", "end_ms")
    missing = [name for name in ("tier", "value", start, end) if name not in header]
    if missing:
        document.note(
            f"Column {', '.join(map(repr, missing))} is missing.",
            expected="Columns session,rater,tier,value,start_ms,end_ms (or start_s,end_s).",
            remedy="Name the columns so.",
            row=1,
        )
        return document
    for line, values in cells[1:]:
        row = dict(zip(header, values, strict=True))
        times = [_to_ms(row[name], in_seconds=in_seconds) for name in (start, end)]
        if times[0] is None or times[1] is None:
            document.note(
                f"The times {row[start]!r} and {row[end]!r} cannot be read.",
                expected="Seconds." if in_seconds else "Whole milliseconds.",
                remedy="Correct the row.",
                row=line,
            )
            continue
        tier = row["tier"].strip()
        document.tiers.setdefault(tier, "")
        names = (row.get("session", "").strip(), row.get("rater", "").strip())
        document.marks.append(Mark(tier, row["value"].strip(), times[0], times[1], line, *names))
    return document


def read_boris(path: Path) -> Document:
    """Read BORIS's tabular events (START and STOP rows) or aggregated events (one row per event).

    The tier is the behavioural category and the value the behaviour; a behaviour without category is its own tier,
    with the first modifier, if any, as value. Point events have no length in BORIS and get 1 ms here, so that
    their onsets count and their duration does not matter.

    Parameters
    ----------
    path
        The export, separated by tabs or commas.
    """
    document = Document(show_name(path.name))
    cells = _read_cells(path, document, delimiter=None, is_padded=True)
    table = _find_boris_header(cells, document)
    if table is None:
        return document
    if "start (s)" in table.header:
        _read_aggregated(table, document)
    else:
        _pair_states(table, document)
    document.marks.sort(key=lambda mark: (mark.row, mark.tier))
    return document


def two_rater_tables(annotations: pd.DataFrame, scheme: AnnotationScheme) -> dict[str, pd.DataFrame]:
    """Make the two-rater tables that EasyDIAg reads, one for each pair of raters.

    Parameters
    ----------
    annotations
        Table ``annotations``.
    scheme
        Gives the order of the raters; with ``compat: reference`` sessions that only one of them rated stay in.

    Returns
    -------
    dict of str to pandas.DataFrame
        By file name ``<first>_<second>.txt``: tier with ``_R1`` or ``_R2``, start_ms, end_ms, value, file; sorted
        by tier, file and start. Written without column names, separated by tabs (see `write_two_rater_tables`).

    Source
    ------
    infant-engagement: scripts/data_processing/process_elan.py, which keeps sessions of one rater and has no order.
    """
    made = {}
    raters = [rater for rater in scheme.raters if (annotations["rater"] == rater).any()]
    for position, first in enumerate(raters):
        for second in raters[position + 1 :]:
            parts = []
            both = set(annotations.loc[annotations["rater"] == first, "session"])
            both &= set(annotations.loc[annotations["rater"] == second, "session"])
            for rater, suffix in ((first, "_R1"), (second, "_R2")):
                rows = annotations[annotations["rater"] == rater]
                if scheme.compat == "none":
                    rows = rows[rows["session"].isin(both)]
                parts.append(
                    pd.DataFrame(
                        {
                            "tier": rows["tier"] + suffix,
                            "start_ms": rows["start_ms"],
                            "end_ms": rows["end_ms"],
                            "value": rows["value"],
                            "file": rows["session"] + f"_{first}_{second}.eaf",
                        }
                    )
                )
            table = pd.concat(parts).sort_values(["tier", "file", "start_ms", "end_ms", "value"], kind="stable")
            made[f"{first}_{second}.txt"] = table.reset_index(drop=True)
    return made


def two_rater_text(table: pd.DataFrame) -> str:
    """Write one of the two-rater tables as EasyDIAg reads it: tabs, no column names, no tabs or breaks in labels."""
    plain = table.assign(value=table["value"].str.replace(r"\s+", " ", regex=True))
    return str(
        plain.to_csv(
            None, sep="\t", header=False, index=False, lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\"
        )
    )


def _read_cells(
    path: Path, document: Document, *, delimiter: str | None, is_padded: bool = False
) -> list[tuple[int, list[str]]]:
    """Split a text table into numbered lines of cells; report what is no text or has a broken line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        document.note(f"The file cannot be opened: {error.strerror}.", remedy="Check the file and its permissions.")
        return []
    if not content.strip():
        document.note("The file is empty.", expected="A table.", remedy="Export it again.")
        return []
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        document.note(f"Byte {error.start} is no UTF-8 text.", remedy="Export the table as UTF-8.")
        return []
    first = text.splitlines()[0]
    mark = delimiter or max("\t;,", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=mark, quoting=csv.QUOTE_NONE if delimiter else csv.QUOTE_MINIMAL)
    cells: list[tuple[int, list[str]]] = []
    try:
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if cells and len(values) != len(cells[0][1]) and not is_padded:
                document.note(
                    f"The line has {len(values)} cells, the first one {len(cells[0][1])}.",
                    remedy="Correct the line.",
                    row=reader.line_num,
                )
                continue
            cells.append((reader.line_num, values))
    except csv.Error as error:
        document.note(f"The table breaks off: {error}.", remedy="Export it again.", row=reader.line_num)
    return cells


def _to_ms(text: str, *, in_seconds: bool) -> int | None:
    """Read a time; None when it is none. A comma may stand for the decimal point."""
    plain = text.strip().replace(",", ".")
    match = CLOCK.fullmatch(plain)
    if match:
        return 3_600_000 * int(match[1] or 0) + 60_000 * int(match[2]) + round(1000 * float(match[3]))
    try:
        number = float(plain)
    except ValueError:
        return None
    number = 1000 * number if in_seconds else number
    if not math.isfinite(number) or (not in_seconds and number != int(number)):
        return None
    return round(number)


def _find_time(header: Sequence[str], name: str) -> tuple[int, bool] | None:
    """Find a time column and whether it is in seconds: milliseconds if exported, then clock time, then seconds."""
    for ending, in_seconds in ((" - msec", False), (" - hh:mm:ss.ms", True), (" - ss.msec", True), ("", True)):
        if name + ending in header:
            return header.index(name + ending), in_seconds
    return None


def _read_times(
    values: Sequence[str], begin: tuple[int, bool], end: tuple[int, bool], document: Document, line: int
) -> tuple[int, int] | None:
    start = _to_ms(values[begin[0]], in_seconds=begin[1])
    stop = _to_ms(values[end[0]], in_seconds=end[1])
    if start is None or stop is None:
        document.note(
            f"The times {values[begin[0]]!r} and {values[end[0]]!r} cannot be read.",
            remedy="Correct the line.",
            row=line,
        )
        return None
    return start, stop


def _read_headless(cells: list[tuple[int, list[str]]], document: Document) -> None:
    """Read rows tier, participant, begin, end[, duration], text by the clock times they hold."""
    clocks = [index for index, value in enumerate(cells[0][1]) if CLOCK.fullmatch(value.strip())]
    if len(clocks) < 2 or clocks[0] == 0:
        document.note(
            "The table has no column names and no times written as hh:mm:ss.ms.",
            expected="Columns Tier, Begin Time, End Time, Annotation.",
            remedy="Export it again with column names (or with hh:mm:ss.ms).",
            row=1,
        )
        return
    for line, values in cells:
        times = _read_times(values, (clocks[0], True), (clocks[1], True), document, line)
        if times is not None:
            document.tiers.setdefault(values[0].strip(), "")
            document.marks.append(Mark(values[0].strip(), values[-1].strip(), *times, line))


def _find_boris_header(cells: list[tuple[int, list[str]]], document: Document) -> _Rows | None:
    """Find the line with the column names, which older exports put below a description of the observation."""
    for position, (_, values) in enumerate(cells):
        header = [value.strip().lower() for value in values]
        is_tabular = "time" in header and ({"status", "behavior type"} & set(header))
        if "behavior" in header and (is_tabular or {"start (s)", "stop (s)"} <= set(header)):
            rows = []
            for line, row in cells[position + 1 :]:
                if len(row) != len(header):
                    document.note(f"The line has {len(row)} cells, not {len(header)}.", remedy="Correct it.", row=line)
                else:
                    rows.append((line, dict(zip(header, map(str.strip, row), strict=True))))
            return _Rows(header, rows)
    if cells:
        document.note(
            "No line names the columns of a BORIS export.",
            expected="Behavior and Time with Status or Behavior type, or Behavior with Start (s) and Stop (s).",
            remedy="Export tabular or aggregated events from BORIS.",
        )
    return None


def _name_behaviour(row: Mapping[str, str]) -> tuple[str, str]:
    """Return tier and value of a BORIS row."""
    category = row.get("behavioral category", "")
    if category and category.lower() != "not defined":
        return category, row["behavior"]
    modifiers = [row[name] for name in ("modifier #1", "modifiers", "modifier 1") if row.get(name)]
    return row["behavior"], modifiers[0] if modifiers else row["behavior"]


def _read_aggregated(table: _Rows, document: Document) -> None:
    for line, row in table.rows:
        start, end = (_to_ms(row[name], in_seconds=True) for name in ("start (s)", "stop (s)"))
        tier, value = _name_behaviour(row)
        document.tiers.setdefault(tier, "")
        if start is not None and row.get("behavior type", "").upper() == "POINT":
            document.marks.append(Mark(tier, value, start, start + 1, line))
        elif start is None or end is None:
            document.note(
                f"The times of {row['behavior']!r} cannot be read.", remedy="Correct the row.", tier=tier, row=line
            )
        else:
            document.marks.append(Mark(tier, value, start, end, line))


def _pair_states(table: _Rows, document: Document) -> None:
    """Join each START with the STOP of the same subject and behaviour."""
    status = "behavior type" if "behavior type" in table.header else "status"
    running: dict[tuple[str, str, str], tuple[int, int]] = {}
    for line, row in table.rows:
        tier, value = _name_behaviour(row)
        document.tiers.setdefault(tier, "")
        time = _to_ms(row["time"], in_seconds=True)
        key = (row.get("subject", ""), tier, value)
        kind = row[status].upper()
        if time is None or kind not in ("START", "STOP", "POINT"):
            document.note(
                f"{value!r} has time {row['time']!r} and status {row[status]!r}.",
                expected="Seconds, and START, STOP or POINT.",
                remedy="Correct the row.",
                tier=tier,
                row=line,
            )
        elif kind == "POINT":
            document.marks.append(Mark(tier, value, time, time + 1, line))
        elif (kind == "START") == (key in running):
            document.note(
                f"{value!r} {'starts again before it stopped' if kind == 'START' else 'stops but never started'}.",
                expected="START and STOP in turn.",
                remedy="Correct the events in BORIS.",
                tier=tier,
                row=line,
                start_ms=time,
            )
        elif kind == "START":
            running[key] = (time, line)
        else:
            start, first = running.pop(key)
            document.marks.append(Mark(tier, value, start, time, first))
    for (_, tier, value), (start, line) in running.items():
        document.note(
            f"{value!r} starts but never stops.", remedy="Add the STOP in BORIS.", tier=tier, row=line, start_ms=start
        )
