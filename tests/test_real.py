"""Notebooks 01 and 02 on files that nobody here made: ELAN's own document, and a film of people."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from patience import PATIENCE_S

from nbpkg import tables

FREE = {"required": False, "values": []}
VALUES = {
    "study": "infant_engagement",
    "experiment": "real",
    "data": "data",
    "device": "cpu",
    "workers": 1,
    "parse": {
        "folder": "annotations",
        "name_pattern": "{session}_{rater}",
        "sessions": ["real"],
        "raters": ["one", "two"],
        "assignments": {"one": ["real"], "two": ["real"]},
        "task_tier": None,
        "tasks": ["whole"],
        "variables": ["gestures"],
        "tiers": {
            "gestures": {"required": True, "values": ["prep", "hold", "retr", "stroke"]},
            **dict.fromkeys(("gest_included", "text", "words-pos", "words-symsub", "words-timesub"), FREE),
        },
    },
}


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    """A project whose data are the real files; the document stands for two raters who agree in everything."""
    source = os.environ.get("NBPKG_REAL_DATA")
    if not source:
        pytest.skip("NBPKG_REAL_DATA names no folder with real files")
    folder = tmp_path_factory.mktemp("real")
    (folder / "notebooks").symlink_to(root / "notebooks")
    for name in ("params", "data/annotations", "data/video"):
        (folder / name).mkdir(parents=True)
    for rater in ("one", "two"):
        shutil.copy(Path(source) / "elan_sample_3.0.eaf", folder / "data" / "annotations" / f"real_{rater}.eaf")
    (folder / "params" / "real.yaml").write_text(yaml.safe_dump(VALUES))
    return folder


def run(project: Path, notebook: str) -> Path:
    """Run a notebook and return the run folder."""
    command = [sys.executable, "-m", "nbpkg", "run", f"notebooks/{notebook}.ipynb", "-f", "params/real.yaml"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    folder = project / "outputs/infant_engagement/real" / {"01": "01_parse", "02": "02_prepare"}[notebook[:2]]
    return folder / json.loads((folder / "receipt.json").read_text())["run"]


def test_elan_document_through_01(project):
    made = run(project, "01_parse_annotations")
    annotations = tables.read(made / "annotations.csv", "annotations")
    assert len(annotations.query("tier == 'gestures' and rater == 'one'")) == 1197
    agreement = tables.read(made / "agreement.csv", "agreement")
    kappa = agreement.query("statistic == 'cohen_kappa' and task == 'all' and variable == 'all' and rater_1 == 'one'")
    assert (kappa["value"] == 1).all()


def test_film_through_02(project):
    shutil.copy(Path(os.environ["NBPKG_REAL_DATA"]) / "clip.mp4", project / "data" / "video" / "real.mp4")
    media = tables.read(run(project, "02_prepare_videos") / "media.csv", "media")
    assert media["frames"].tolist() == [31]
    assert media["source_frames"].tolist() == [300]
