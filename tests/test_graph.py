"""The graph makes again what a change concerns, says why, and leaves the rest alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.demo, pytest.mark.slow]
FROM_STRATIFY_ON = ["03_stratify", "04_bake", "05_train", "06_evaluate", "report"]


def snakemake(project: Path, *options: str) -> str:
    """Run snakemake in a project as the Makefile does, and return what it says."""
    flags = re.search(r"^SNAKEMAKE = \S+ -c\S+ (.*)$", (project / "Makefile").read_text(), re.MULTILINE)
    command = [sys.executable, "-m", "snakemake", "-c2", *flags.group(1).split(), *options]
    environment = {name: value for name, value in os.environ.items() if name != "NBPKG_ROOT"}
    done = subprocess.run(
        [*command, "--config", "study=infant_engagement", "experiment=sample"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def to_make(text: str) -> list[str]:
    """Rules that a dry run would run, from its table of jobs."""
    return sorted(set(re.findall(r"^(0\d_\w+|report)\s+\d+$", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def project(root, demo, tmp_path_factory):
    """A copy of the project with the demo's finished stages, recorded as made with its present parameters.

    Snakemake's own records name absolute paths, so those of the original say nothing here; ``--touch`` writes anew.
    Receipts and raw files are real copies, because it also sets their times; everything else is linked.
    """
    folder = tmp_path_factory.mktemp("graph")
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, folder / name)
    for name in ("Snakefile", "Makefile"):
        shutil.copy2(root / name, folder / name)

    def link_or_copy(source, target):
        real = Path(target).name in ("receipt.json", "index.html") or Path(target).suffix == ".eaf"
        return shutil.copy2(source, target) if real else os.link(source, target)

    place = Path("infant_engagement") / "sample"
    shutil.copytree(root / "data" / place, folder / "data" / place, copy_function=link_or_copy)
    shutil.copytree(demo, folder / "outputs" / place, copy_function=link_or_copy)
    snakemake(folder, "--touch", "--forceall")
    return folder


@pytest.fixture
def settings(project):
    """The parameter file of the copy, put back afterwards."""
    path = project / "params" / "infant_engagement" / "sample.yaml"
    text = path.read_text(encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


def test_a_finished_experiment_needs_nothing_even_after_a_changed_comment(project, settings):
    text = settings.read_text(encoding="utf-8")
    assert "# number of folds" in text
    settings.write_text("# another remark\n" + text.replace("# number of folds", "# how many folds"), encoding="utf-8")
    said = snakemake(project, "-n")
    assert "Nothing to be done" in said
    assert to_make(said) == []


def test_a_changed_setting_makes_its_stage_and_those_after_it_and_says_why(project, settings):
    text = settings.read_text(encoding="utf-8")
    assert "tries: 10000" in text
    settings.write_text(text.replace("tries: 10000", "tries: 15000"), encoding="utf-8")
    said = snakemake(project, "-n")
    assert to_make(said) == FROM_STRATIFY_ON
    assert re.search(r"params have changed since last execution:\s+03_stratify\n", said)
    assert re.search(r"input files updated by another job:\s+04_bake, 05_train, 06_evaluate", said)


def test_a_changed_annotation_file_spares_the_videos(project):
    path = sorted((project / "data" / "infant_engagement" / "sample" / "engagement").glob("*.eaf"))[0]
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}<!-- looked at again -->", encoding="utf-8")
    said = snakemake(project, "-n")
    path.write_text(text, encoding="utf-8")
    assert to_make(said) == ["01_parse", *FROM_STRATIFY_ON]
    assert re.search(r"updated input files:\s+01_parse\n", said), said
