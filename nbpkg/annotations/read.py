"""A folder of annotation files to one table, with every problem of every file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from nbpkg import tables
from nbpkg.annotations.checks import Rated, check_end, check_marks, check_tiers
from nbpkg.annotations.elan import read_eaf
from nbpkg.annotations.exports import read_boris, read_csv, read_elan_tab
from nbpkg.annotations.marks import Document, Finding, Mark
from nbpkg.annotations.naming import list_files, read_name
from nbpkg.annotations.scheme import AnnotationScheme, normalise
from nbpkg.errors import Problem

COLUMNS = [column.name for column in tables.CONTRACTS["annotations"].columns]


def read_annotations(
    folder: Path, scheme: AnnotationScheme, *, media_ms: Mapping[str, int] | None = None
) -> tuple[pd.DataFrame, list[Problem]]:
    """Read all annotation files of a folder and check them against a scheme.

    Nothing stops at the first problem and nothing is raised: give the problems to `nbpkg.errors.raise_all` (with
    `AnnotationError`) and to `nbpkg.tables.from_problems`.

    Parameters
    ----------
    folder
        Folder that holds the files.
    scheme
        What they should hold. With ``compat: reference`` files are accepted and refused as by the published program.
    media_ms
        Length of each session's video in milliseconds; None skips the check against the videos.

    Returns
    -------
    annotations : pandas.DataFrame
        Table ``annotations``: the usable annotations after spelling fixes, files by name, tiers and rows as in the
        file. With ``compat: reference`` reversed and zero-length ones stay in, so the contract may not hold.
    problems : list of Problem
        Errors, repairs and warnings, by file.

    Source
    ------
    infant-engagement: scripts/data_processing/process_elan.py; its over-strict cases warn here, its over-lax ones are
    errors or stated repairs.
    """
    if not folder.is_dir():
        problem = Problem(
            f"The folder {folder.name!r} is not there.",
            expected=f"Annotation files in {folder}.",
            remedy="Correct parse.folder or the data folder.",
        )
        return tables.empty("annotations"), [problem]
    paths, documents = list_files(folder, scheme)
    files: dict[tuple[str, str], list[str]] = defaultdict(list)
    rows: list[dict[str, object]] = []
    for path in paths:
        document, rated = _read_file(path, scheme)
        documents.append(document)
        for part in rated:
            files[part.session, part.rater].append(document.file)
            if document.is_broken or not _is_wanted(part, document, scheme):
                continue
            usable = check_marks(part, document, scheme)
            for mark in usable:
                if media_ms is not None and part.session in media_ms:
                    check_end(mark, media_ms[part.session], document, scheme)
            rows += [_as_row(mark, part, document.file) for mark in usable]
    findings = [finding for document in sorted(documents, key=lambda item: item.file) for finding in document.findings]
    findings += _compare_files(files, scheme, media_ms)
    table = pd.DataFrame(rows, columns=COLUMNS) if rows else tables.empty("annotations")
    if scheme.compat == "reference":
        return table, _as_reference(findings)
    return tables.check(table, "annotations"), [finding.problem for finding in findings]


def _read_file(path: Path, scheme: AnnotationScheme) -> tuple[Document, list[Rated]]:
    """Read one file and divide its marks by session and rater."""
    if scheme.format == "eaf":
        document = read_eaf(path, media_offset="ignore" if scheme.compat == "reference" else scheme.media_offset)
    elif scheme.format == "elan_tab":
        document = read_elan_tab(path)
    elif scheme.format == "boris":
        document = read_boris(path)
    else:
        document = read_csv(path)
    names_itself = scheme.format == "csv" and any(mark.session or mark.rater for mark in document.marks)
    if names_itself:
        check_tiers(document, scheme, document.tiers)
        return document, _divide(document, scheme)
    named = read_name(path, scheme, document)
    if named is None:
        return document, []
    check_tiers(document, scheme, document.tiers)
    return document, [Rated(named.session, named.rater, tuple(document.marks))]


def _divide(document: Document, scheme: AnnotationScheme) -> list[Rated]:
    """Divide a table that names session and rater in every row, and report unknown ones."""
    parts: dict[tuple[str, str], list[Mark]] = defaultdict(list)
    for mark in document.marks:
        parts[normalise(mark.session), normalise(mark.rater)].append(mark)
    known = []
    for (session, rater), marks in parts.items():
        for what, name, names in (("session", session, scheme.sessions), ("rater", rater, scheme.raters)):
            if name not in names:
                document.note(
                    f"The {what} {name!r} is unknown ({len(marks)} rows).",
                    expected=f"One of {', '.join(names)}.",
                    remedy="Correct the column or add the name.",
                    row=marks[0].row,
                )
        if session in scheme.sessions and rater in scheme.raters:
            known.append(Rated(session, rater, tuple(marks)))
    return known


def _is_wanted(part: Rated, document: Document, scheme: AnnotationScheme) -> bool:
    """Apply the rule for raters who are not assigned to the session."""
    if scheme.is_assigned(part.session, part.rater):
        return True
    keeps = scheme.unassigned == "keep" or scheme.compat == "reference"
    severity = {"error": "error", "keep": "warning", "drop": "repaired"}[scheme.unassigned]
    document.note(
        f"{part.rater} is not assigned to session {part.session}{'; the file was left out' if not keeps else ''}.",
        remedy="Remove the file, correct assignments, or choose unassigned: keep or drop."
        if severity == "error"
        else "",
        severity=severity,
        reference="accepted",
    )
    return keeps


def _compare_files(
    files: Mapping[tuple[str, str], list[str]], scheme: AnnotationScheme, media_ms: Mapping[str, int] | None
) -> list[Finding]:
    """Report doubled and missing files, sessions without rater or video."""
    problems = [
        Problem(
            f"{rater} has {len(names)} files for session {session}.",
            expected="One.",
            remedy=f"Keep one of {', '.join(names)}.",
            file=names[-1],
        )
        for (session, rater), names in files.items()
        if len(names) > 1
    ]
    problems += [
        Problem(
            f"The file of rater {rater} for session {session} is missing.",
            expected=f"A file named like {scheme.name_pattern}.",
            remedy="Add the file or correct assignments.",
        )
        for session, rater in scheme.expected_pairs()
        if (session, rater) not in files
    ]
    found = {session for session, _ in files}
    if not scheme.assignments:
        problems += [
            Problem(f"Session {session} has no annotation file.", remedy="Add one or remove the session.")
            for session in scheme.sessions
            if session not in found
        ]
    if media_ms is not None:
        problems += [
            Problem(f"Session {session} has annotations but no video.", remedy="Add the video or remove the session.")
            for session in scheme.sessions
            if session in found and session not in media_ms
        ]
    return [Finding(problem) for problem in problems]


def _as_reference(findings: list[Finding]) -> list[Problem]:
    """Grade what was found as the published program would: refused, or accepted (then a warning here)."""
    grades = {"": None, "error": "error", "accepted": "warning"}
    return [
        finding.problem if (grade := grades[finding.reference]) is None else replace(finding.problem, severity=grade)
        for finding in findings
    ]


def _as_row(mark: Mark, part: Rated, file: str) -> dict[str, object]:
    return {
        "session": part.session,
        "rater": part.rater,
        "tier": mark.tier,
        "value": mark.value,
        "start_ms": mark.start_ms,
        "end_ms": mark.end_ms,
        "file": file,
        "row": mark.row,
    }
