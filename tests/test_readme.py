"""Every command that the README shows can be typed as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nbpkg.__main__ import _parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands_in(text: str) -> list[list[str]]:
    """Words of each command line in the ``sh`` blocks; comments left out, continued lines joined."""
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(part, comments=True) for line in lines for part in re.split(r"&&|\|", line)]
    return [[word for word in command if not re.fullmatch(r"[A-Z_]+=.*", word)] for command in words if command]


def program_of(command: list[str]) -> tuple[str, list[str]]:
    """Name of the program, whatever folder or ``python -m`` stands before it, and its arguments."""
    name, rest = Path(command[0]).name, command[1:]
    if name.startswith("python") and rest[:1] == ["-m"]:
        return rest[1], rest[2:]
    return name, rest


def must_exist(name: str) -> None:
    # Outputs and placeholders such as OUT or <study> are the reader's; the rest must be there.
    if re.search(r"[<>*]|\b[A-Z]{3,}\b", name) or name.startswith(("outputs/", "data/", "/")):
        return
    assert (ROOT / name).exists(), name


def check_make(arguments: list[str]) -> None:
    targets = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [word for word in arguments if not word.startswith("-")]
    assert set(named) <= targets, f"make {' '.join(named)}: known are {', '.join(sorted(targets))}"


def check_nbpkg(arguments: list[str]) -> None:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit:
        pytest.fail(f"python -m nbpkg {' '.join(arguments)} is refused")
    for name in ("file", "notebook"):
        if getattr(options, name, None):
            must_exist(str(getattr(options, name)))


def check_papermill(arguments: list[str]) -> None:
    notebook, output = arguments[:2]
    must_exist(notebook)
    assert notebook.endswith(".ipynb")
    assert not output.startswith("-")
    for flag, value in zip(arguments, arguments[1:], strict=False):
        if flag == "-f":
            must_exist(value)


def check_snakemake(arguments: list[str]) -> None:
    known = set(re.findall(r"config\.get\(['\"](\w+)['\"]", (ROOT / "Snakefile").read_text()))
    keys = [word.partition("=")[0] for word in arguments if re.match(r"\w+=", word)]
    assert set(keys) <= known, f"the Snakefile knows {', '.join(sorted(known))}"
    for flag, value in zip(arguments, arguments[1:], strict=False):
        if flag in ("--profile", "--workflow-profile", "-s", "--snakefile"):
            must_exist(value)


def check_plain(arguments: list[str]) -> None:
    """Programs that are not ours: nothing to hold them against."""


CHECKS = {
    "make": check_make,
    "nbpkg": check_nbpkg,
    "papermill": check_papermill,
    "snakemake": check_snakemake,
    **dict.fromkeys(
        ("cd", "git", "jupyter", "pip", "uv", "sbatch", "pytest", "conda", "bench", "apptainer"), check_plain
    ),
}


def check_command(command: list[str]) -> None:
    program, arguments = program_of(command)
    assert program in CHECKS, f"{' '.join(command)}: nobody here knows {program!r}"
    CHECKS[program](arguments)


def test_every_command_of_the_readme_is_known():
    for command in commands_in(README):
        check_command(command)


def test_every_local_link_of_the_readme_leads_somewhere():
    for address in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", README):
        must_exist(address)


GOOD = """
```sh
make demo && make test   # two commands
papermill notebooks/03_stratify.ipynb OUT.ipynb \\
  -f params/infant_engagement/sample.yaml -p seed 1
.venv/bin/python -m nbpkg run notebooks/05_train.ipynb -f params/infant_engagement/sample.yaml
NBPKG_KILLS=20 .venv/bin/snakemake -c2 --config study=infant_engagement experiment=sample
```
"""
BAD = (
    "make demmo",
    "papermill notebooks/3_stratify.ipynb OUT.ipynb",
    "python -m nbpkg runn notebooks/05_train.ipynb",
    "python -m nbpkg check -f params/infant_engagement/smaple.yaml",
    "snakemake -c2 --config studdy=infant_engagement",
    "rn -rf outputs",
)


def test_this_test_reads_commands_and_knows_wrong_ones():
    commands = commands_in(GOOD)
    assert len(commands) == 5
    for command in commands:
        check_command(command)
    for line in BAD:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            check_command(shlex.split(line))
