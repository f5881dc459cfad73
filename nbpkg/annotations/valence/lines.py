"""Lines of small text files, whatever their line ends and byte order mark."""

from __future__ import annotations

import re
from pathlib import Path

from nbpkg.errors import Problem

# programs that turn line ends into those of Windows twice leave two carriage returns; that is still one line end
LINE_END = re.compile(r"\r*\n|\r")


def read_text_lines(path: Path, *, file: str, keep_mark: bool = False) -> tuple[list[str], list[Problem]]:
    """Read the lines of a text file.

    Parameters
    ----------
    path
        The file: UTF-8, or UTF-16 with byte order mark; lines may end in CR, LF or both, even mixed.
    file
        Name shown in problems.
    keep_mark
        Leave a byte order mark in the first line.

    Returns
    -------
    lines : list of str
        Without line ends; what stands behind the last line end is a line only if it is not blank. Line `n` of an
        editor is at `n - 1`.
    problems : list of Problem
        An error when the file cannot be read or is empty.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "Check that the file is there and may be read."
        return [], [Problem(f"The file cannot be read: {error.strerror or error}.", remedy=remedy, file=file)]
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8" if keep_mark else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = f"Byte {error.start} of the file is no UTF-8 text."
        return [], [Problem(what, remedy="Save the file as UTF-8.", file=file)]
    if not text.strip():
        return [], [Problem("The file is empty.", remedy="Export it again, or remove it.", file=file)]
    lines = LINE_END.split(text)
    return (lines if lines[-1].strip() else lines[:-1]), []
