"""The published scheme and the golden files, for the tests of this folder."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pandas as pd

from nbpkg.annotations.scheme import AnnotationScheme

GOLDEN = Path(__file__).parents[1] / "golden" / "infant_engagement"

PILOTS = ["fp19", "fp28", "fp29", "fp35", "fp32"]
EW = ["fp15", "fp27", "fp20", "fp14", "fp21", "fp16"]
MF = ["fp33", "fp24", "fp18", "fp39", "fp25", "fp40"]
MYZ = ["fp38", "fp30", "fp31", "fp13", "fp17", "fp34"]
TOY = ["egg fell", "pieces fell", "stick fell", "drop the toy", "dropped the toy"]

SETTINGS = {
    "folder": "engagement",
    "date_from": 20220207,
    "date_before": 20220401,
    "sessions": PILOTS + EW + MF + MYZ,
    "raters": ["ew", "mf", "myz"],
    "assignments": {"ew": PILOTS + EW + MF, "mf": PILOTS + MF + MYZ, "myz": PILOTS + MYZ + EW},
    "tasks": ["people", "eggs", "drums"],
    "variables": ["participating", "attending"],
    "tiers": {
        "participating": {"values": ["self", "joint"]},
        "attending": {
            "values": ["attending", "excited"],
            "spelling": {"attednding": "attending", "attendinh": "attending", "excitied": "excited"},
        },
        "task": {"values": ["people", "eggs", "drums"], "spelling": {"egg": "eggs"}},
        "ignore": {
            "required": False,
            "values": [],
            "spelling": {**dict.fromkeys(TOY, "dropped toy"), "flip the drum": "change of tempo"},
        },
    },
}


def make_scheme(**changes: object) -> AnnotationScheme:
    return AnnotationScheme.model_validate({**SETTINGS, **changes})


def read_golden(archive: str, member: str) -> pd.DataFrame:
    with zipfile.ZipFile(GOLDEN / archive) as files:
        name = next(name for name in files.namelist() if Path(name).name == member)
        return pd.read_csv(io.BytesIO(files.read(name)))


def unpack_eafs(folder: Path) -> Path:
    with zipfile.ZipFile(GOLDEN / "annotations_open_eaf.zip") as files:
        files.extractall(folder)
    return next(folder.rglob("*.eaf")).parent


def as_reference(table: pd.DataFrame) -> pd.DataFrame:
    """Name our columns as the published tables do."""
    return table.rename(columns={"rater": "annotator", "tier": "variable"})
