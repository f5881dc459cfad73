"""Write a new study: all of its files, or none."""

from __future__ import annotations

import keyword
import os
import re
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import nbpkg
from nbpkg.errors import Problem, SettingsError, raise_all
from nbpkg.runs.files import new_file
from nbpkg.scaffold.kinds import STARTS, Start, change
from nbpkg.settings.document import write_yaml
from nbpkg.settings.experiment import read_file, resolve
from nbpkg.studies import protocol

MARK = "CHANGE HERE"
_LONGEST = 32  # lines of the files written stay short enough
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def checkout() -> Path:
    """Return the project folder of the package that is running.

    Raises
    ------
    SettingsError
        When the package is installed without its project, or its folder cannot be written.
    """
    package = Path(nbpkg.__file__).parent
    root = package.parent
    lacking = [name for name in ("notebooks", "params", "tests") if not (root / name).is_dir()]
    closed = [str(path) for path in (package / "studies", package / "sample") if not os.access(path, os.W_OK)]
    if not lacking and not closed:
        return root
    raise SettingsError(
        f"A study cannot be added here: {'there is no ' + ', '.join(lacking) if lacking else 'it cannot be written'}.",
        where=str(root if lacking else ", ".join(closed)),
        expected="The project's own folder, installed as it lies (`pip install -e .`), with the right to write.",
        remedy="Clone the project, run `make .venv/.ready` in it, and use its .venv/bin/python.",
    )


def new_study(name: str, *, kind: str = "clips", root: Path | None = None) -> list[Path]:
    """Write module, sample maker, parameter files and tests of a new study that runs at once.

    Parameters
    ----------
    name
        Name of the study: a module of ``nbpkg/studies``.
    kind
        What it learns, a key of `STARTS`.
    root
        Project folder; `checkout` when not given.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    SettingsError
        When the name cannot be used, the kind is unknown, or files of that name are in the way; then nothing is
        written.
    """
    root = checkout() if root is None else root
    start = STARTS.get(kind)
    if start is None:
        raise SettingsError(
            f"There is no kind {kind!r} to begin with.",
            expected=f"One of {', '.join(STARTS)}.",
            remedy="docs/adding_a_study.md says what each kind learns.",
        )
    check_name(name)
    texts = {root / place: text for place, text in _texts(name, kind, start, root).items()}
    taken = [path for path in texts if path.exists()]
    problems = [Problem(f"{path.relative_to(root)} exists.", remedy="Choose another name.") for path in taken]
    raise_all(problems, SettingsError, summary=f"study {name!r} was not written: its files would replace others")
    _write_all(texts)
    return list(texts)


def check_name(name: str) -> None:
    """Refuse a name that cannot be a module of its own.

    Raises
    ------
    SettingsError
        When it is no plain lower-case identifier, a word of Python, a module of Python's library, or a study's.

    Examples
    --------
    >>> check_name("shared_reading")
    >>> check_name("2nd-study")
    Traceback (most recent call last):
    ...
    nbpkg.errors.SettingsError: '2nd-study' cannot be a study's name: it is no plain lower-case name.
      Expected: Lower-case letters, digits and single '_', beginning with a letter, such as shared_reading.
      Do this: Choose another name.
    """
    reasons = {
        "it is no plain lower-case name": not _NAME.fullmatch(name) or not name.isascii(),
        f"it is longer than {_LONGEST} letters": len(name) > _LONGEST,
        "it is a word of Python": keyword.iskeyword(name) or keyword.issoftkeyword(name),
        "Python's library has a module of that name": name in sys.stdlib_module_names,
        "there is a study of that name": name in (*protocol.names(), "protocol"),
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        raise SettingsError(
            f"{name!r} cannot be a study's name: {' and '.join(found)}.",
            expected="Lower-case letters, digits and single '_', beginning with a letter, such as shared_reading.",
            remedy="Choose another name.",
        )


def _texts(name: str, kind: str, start: Start, root: Path) -> dict[str, str]:
    """Return the text of each file by its place in the project."""
    words = {
        "name": name,
        "kind": kind,
        "like": start.like,
        "table": start.table,
        "title": name.replace("_", " ").capitalize(),
        "parent": type(protocol.load(start.like)).__name__,
        "study": "".join(part.capitalize() for part in name.split("_")) + "Study",
        "size": "".join(f", {key}={value}" for key, value in start.size.items()),
    }
    folder = resources.files(nbpkg) / "scaffold" / "templates"
    files = {
        f"nbpkg/studies/{name}.py": "study",
        f"nbpkg/sample/{name}.py": "sample",
        f"tests/test_study_{name}.py": "test",
    }
    texts = {
        place: Template((folder / f"{source}.py.txt").read_text(encoding="utf-8")).substitute(words)
        for place, source in files.items()
    }
    return _parameters(words, start, root) | texts


def _parameters(words: Mapping[str, str], start: Start, root: Path) -> dict[str, str]:
    """Return both parameter files, made from those of the study that this one begins as, and checked."""
    like = protocol.load(start.like)
    texts = {}
    for experiment, changes in (("sample", start.changes), ("full", {})):
        place = f"params/{words['name']}/{experiment}.yaml"
        given = read_file(root / "params" / start.like / f"{experiment}.yaml")
        data = given["data"].replace(start.like, words["name"])
        values: dict[str, Any] = change({**given, "study": words["name"], "data": data}, changes)
        resolve(values, like.settings, kind=like.kind, find_conflicts=like.conflicts, root=root)
        text = write_yaml(values, like.settings, title=f"{words['title']}: experiment {experiment}")
        hint = f"# {MARK}: what suits your data; {start.like} begins with these values.\n"
        texts[place] = text if experiment == "sample" else hint + text
    return texts


def _write_all(texts: Mapping[Path, str]) -> None:
    """Write all files; when one cannot be written, take the others back."""
    folders = [path.parent for path in texts if not path.parent.exists()]
    written: list[Path] = []
    try:
        for path, text in texts.items():
            with new_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink()
        for folder in {folder for folder in folders if folder.is_dir() and not any(folder.iterdir())}:
            folder.rmdir()
        raise
