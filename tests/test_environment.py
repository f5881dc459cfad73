"""The environment: pyproject.toml says what, the lock says exactly which, and all ways to install agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WANTED = [Requirement(text) for text in (*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), []))]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
NO_WHEEL = {"connection-pool"}  # pure Python, comes with Snakemake


def locked() -> list[tuple[Requirement, list[str]]]:
    """Requirements of the lock and their hashes; a package may stand there once per range of Python versions."""
    blocks = re.findall(r"^([a-z0-9][^\\\n]*?) *\\\n((?: +--hash=\S+(?: \\)?\n)+)", LOCK, re.MULTILINE)
    return [(Requirement(text), re.findall(r"--hash=(\S+)", hashes)) for text, hashes in blocks]


def test_lock_holds_nothing_but_versions_and_hashes():
    entries = locked()
    assert len(entries) > 200
    assert len(re.findall(r"^\S", LOCK, re.MULTILINE)) == len(entries)  # nothing between them, no line without a hash
    assert all(re.fullmatch(r"==[^=,*]+", str(entry.specifier)) for entry, _ in entries)
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", code) for _, codes in entries for code in codes)


def test_lock_answers_to_every_dependency():
    versions = {}
    for entry, _ in locked():
        versions.setdefault(canonicalize_name(entry.name), []).append(str(entry.specifier)[2:])
    for wanted in WANTED:
        found = versions.get(canonicalize_name(wanted.name), [])
        assert found, f"run `make lock`: {wanted.name} is missing"
        assert all(wanted.specifier.contains(version) for version in found), f"run `make lock`: {wanted}"


def test_only_the_opencv_without_a_display_comes_in():
    names = {entry.name for entry, _ in locked()}
    assert {name for name in names if name.startswith("opencv")} == {"opencv-python-headless"}


def test_this_environment_is_the_locked_one():
    """`.venv` was made from the lock: same versions, whatever the machine."""
    if Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("these tests run in another environment than .venv")
    installed = {canonicalize_name(package.name): package.version for package in metadata.distributions()}
    here = [entry for entry, _ in locked() if entry.marker is None or entry.marker.evaluate()]
    wrong = {
        str(entry): installed.get(canonicalize_name(entry.name))
        for entry in here
        if str(entry.specifier) != f"=={installed.get(canonicalize_name(entry.name))}"
    }
    assert not wrong, "run `make .venv/.ready`"


@pytest.mark.may_skip
@pytest.mark.parametrize(
    ("system", "python"),
    [
        ("x86_64-manylinux_2_28", "3.11"),
        ("x86_64-manylinux_2_28", "3.13"),
        ("aarch64-manylinux_2_28", "3.12"),
        ("aarch64-apple-darwin", "3.11"),
        ("aarch64-apple-darwin", "3.13"),
    ],
)
def test_lock_installs_on(system, python, tmp_path, monkeypatch):
    """A dry run that looks every package up and finds a wheel with a known hash for that system."""
    monkeypatch.setenv("MACOSX_DEPLOYMENT_TARGET", "14.0")
    source = [word for name in sorted(NO_WHEEL) for word in ("--no-binary", name)]
    command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", str(tmp_path / "packages")]
    command += ["--python-platform", system, "--python-version", python, "--only-binary", ":all:", *source]
    command += ["--build-constraints", "requirements.lock", "--require-hashes", "-r", "requirements.lock"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    if "Failed to fetch" in result.stderr:
        pytest.skip("no package registry can be reached from here")
    assert result.returncode == 0, result.stderr
    assert "Would install" in result.stderr


def test_files_of_the_environment_name_no_host():
    for name in ("requirements.lock", "container.def", "Makefile", "environment.yml", "pyproject.toml", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text, name
        assert not re.search(r"--(extra-)?index-url \S*\.|--find-links", text), name


def test_conda_environment_agrees_with_the_package():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    conda = yaml.safe_load(text)
    assert list(conda) == ["name", "channels", "dependencies"]
    assert conda["name"] == PROJECT["name"]
    assert conda["channels"] == ["conda-forge"]
    packages = dict(item.partition(" ")[::2] for item in conda["dependencies"] if isinstance(item, str))
    assert SpecifierSet(packages.pop("python")) == SpecifierSet(PROJECT["requires-python"])
    assert packages == {"pip": "", "git": "", "make": "", "ffmpeg": ""}  # system tools only: versions live in one place
    assert "Solving with conda was not run" in text


def test_conda_environment_installs_this_package_with_extras_that_exist():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (section,) = (item for item in conda["dependencies"] if isinstance(item, dict))
    assert list(section) == ["pip"]
    (line,) = section["pip"]
    extras = re.fullmatch(r"-e \.\[([\w,]+)\]", line)
    assert extras, line
    assert set(extras.group(1).split(",")) <= set(PROJECT["optional-dependencies"])
