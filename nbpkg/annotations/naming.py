"""File names of annotation files: which files to take, and what their names say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from nbpkg.annotations.marks import Document, show_name
from nbpkg.annotations.scheme import FIELD, AnnotationScheme, normalise

SUFFIXES = {"eaf": (".eaf",), "elan_tab": (".txt", ".tsv", ".tab"), "boris": (".tsv", ".csv", ".txt"), "csv": (".csv",)}


@dataclass(frozen=True)
class NameParts:
    """What a file's name says: session and rater (empty when the pattern has no such field)."""

    session: str
    rater: str


def list_files(folder: Path, scheme: AnnotationScheme) -> tuple[list[Path], list[Document]]:
    """List the annotation files of a folder by full name, and note those that look meant but are not taken.

    Parameters
    ----------
    folder
        Folder of the annotation files; subfolders are not searched.
    scheme
        Says which endings count.
    """
    taken, noted = [], []
    suffixes = SUFFIXES[scheme.format]
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        hidden = path.name.startswith(".") and scheme.compat == "none"
        if path.suffix in suffixes and path.is_file() and not hidden:
            taken.append(path)
        elif path.suffix.lower() in suffixes:
            document = Document(show_name(path.name))
            why = (
                "is hidden"
                if hidden
                else "is no file"
                if not path.is_file()
                else f"does not end in {path.suffix.lower()}"
            )
            document.note(
                f"It was not read because it {why}.",
                remedy="Rename it if it is meant to be read.",
                severity="warning",
                reference="accepted",
            )
            noted.append(document)
    return taken, noted


def read_name(path: Path, scheme: AnnotationScheme, document: Document) -> NameParts | None:
    """Take session, rater and date from a file's name; None, with findings, when the name tells no session and rater.

    Parameters
    ----------
    path
        The annotation file.
    scheme
        Holds the pattern, the names there may be and the days accepted.
    document
        Takes the findings.
    """
    stem = normalise(path.stem)
    if not stem.isprintable():
        document.note("The file's name holds control characters.", remedy="Rename the file.")
        return None
    known = {"session": _any_of(scheme.sessions), "rater": _any_of(scheme.raters), "date": r"[^\W_]*\d[\d-]*"}
    match = re.fullmatch(_pattern(scheme, known), stem)
    literals = "".join(FIELD.split(scheme.name_pattern)[::2])
    if match is None:
        loose = f"[^{re.escape(literals)}]+" if literals else ".+"
        match = re.fullmatch(_pattern(scheme, {**dict.fromkeys(("session", "rater"), loose), "date": loose}), stem)
    if match is None:
        document.note(
            f"The name {show_name(stem)!r} does not fit the pattern {scheme.name_pattern}.",
            expected=f"For example {_example(scheme)!r}.",
            remedy="Rename the file or correct name_pattern.",
        )
        return None
    fields = match.groupdict()
    sound = True
    for key, names in (("session", scheme.sessions), ("rater", scheme.raters)):
        if key in fields and fields[key] not in names:
            sound = False
            same = [name for name in names if name.lower() == fields[key].lower()]
            document.note(
                f"The {key} {fields[key]!r} is unknown.",
                expected=f"One of {', '.join(names)}.",
                remedy=f"Rename the file: capitals count, {same[0]!r} is meant."
                if same
                else "Rename the file or add the name.",
            )
    sound &= _check_date(fields.get("date"), scheme, document)
    return NameParts(fields.get("session", ""), fields.get("rater", "")) if sound else None


def _pattern(scheme: AnnotationScheme, fields: dict[str, str]) -> str:
    pieces = FIELD.split(normalise(scheme.name_pattern))
    return "".join(
        f"(?P<{piece}>{fields[piece]})" if index % 2 else re.escape(piece) for index, piece in enumerate(pieces)
    )


def _any_of(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


def _example(scheme: AnnotationScheme) -> str:
    values = {"session": scheme.sessions[0], "rater": scheme.raters[0], "date": str(scheme.date_from or 20220228)}
    return FIELD.sub(lambda match: values[match[1]], scheme.name_pattern)


def _check_date(text: str | None, scheme: AnnotationScheme, document: Document) -> bool:
    """Check a date against the calendar and the days accepted; tell whether the file can be used."""
    if text is None:
        return True
    if not (text.isascii() and text.isdecimal() and len(text) == 8):
        document.note(f"The date {text!r} in the file name is not written as yyyymmdd.", remedy="Rename the file.")
        return False
    number = int(text)
    low, high = scheme.date_from, scheme.date_before
    if (low is not None and number < low) or (high is not None and number >= high):
        document.note(
            f"The date {text} in the file name is outside the time of annotation.",
            expected=f"From {low or 'any day'} to before {high or 'any day'}.",
            remedy="Correct the name, or date_from and date_before.",
        )
        return False
    try:
        date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        document.note(
            f"The date {text} in the file name is no day of the calendar.",
            remedy="Rename the file.",
            reference="accepted",
        )
        return scheme.compat == "reference"
    return True
