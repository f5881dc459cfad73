"""Notebooks of the study of several people on data with one thing wrong: one clear error where it is met, or a word."""

from __future__ import annotations

import copy
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from valence_project import NOTEBOOKS, _without_figures, change, folder_of, table_of

from nbpkg.errors import AnnotationError, FoldError
from nbpkg.runs import NODES
from nbpkg.runs.cells import belongs
from nbpkg.sample.joint_engagement import make_sample
from nbpkg.settings.experiment import PARAMETERS_CELL, read_file

THIN = {"width": 4, "blocks": [1, 1, 1, 1]}
FILMS = {"name": "i3d", "frames": 8, "interval": 2, "size": 16, "views": 1, "options": THIN}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Three families of the sample's kind."""
    folder = tmp_path_factory.mktemp("people") / "data"
    make_sample(folder, seed=0, families=3, windows=16)
    return folder


@pytest.fixture
def data(raw, tmp_path, monkeypatch) -> Path:
    """A copy of them in a project of their own."""
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("NBPKG_ROOT", str(tmp_path))
    return shutil.copytree(raw, tmp_path / "data")


@pytest.fixture(scope="module")
def base(root) -> dict[str, Any]:
    """Settings of the sample, for three families."""
    values = read_file(root / "params" / "joint_engagement" / "sample.yaml")
    values |= {"data": "data", "workers": 0, "threads": 1, "stratify": {"folds": 3}}
    values["train"]["learning"] |= {"epochs": 1, "validate_every": 1}
    return values


def run(step: str, values: dict[str, Any]) -> dict[str, Any]:
    """Run a notebook's cells of this kind in this process, those that only draw left out; return what they leave."""
    stage, _, phase = step.partition("/")
    names: dict[str, Any] = {}
    exec(PARAMETERS_CELL, names)  # noqa: S102 - the project's own cell
    names |= {**copy.deepcopy(values), "phase": phase}
    notebook = nbformat.read(NOTEBOOKS / f"{NODES[stage].notebook}.ipynb", as_version=4)
    working = [cell for cell in notebook.cells if "parameters" not in cell.metadata.get("tags", [])]
    for source in (cell.source for cell in working if cell.cell_type == "code"):
        if belongs(source, "people"):
            exec(compile(_without_figures(source), f"{step}: {source[:40]!r}", "exec"), names)  # noqa: S102
    return names


def edit(path: Path, how: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    how(pd.read_csv(path)).to_csv(path, index=False)


def label(data: Path, row: int, name: str) -> None:
    """Let the table itself give classes, one of them unknown."""
    edit(data / "clips.csv", lambda clips: clips.assign(label=["low", "medium", "high"] * 16))
    edit(data / "clips.csv", lambda clips: clips.assign(label=clips["label"].where(clips.index != row, name)))


def shorten_skeletons(data: Path) -> None:
    entries = pickle.loads((data / "poses.pkl").read_bytes())  # noqa: S301 - made above
    parts = entries["annotations"] if isinstance(entries, dict) else entries
    for name in ("keypoint", "keypoint_score"):
        parts[1][name] = parts[1][name][:, :50]
    parts[1]["total_frames"] = 50
    (data / "poses.pkl").write_bytes(pickle.dumps(entries))


FAULTS: dict[str, tuple[Callable[[Path], object], dict[str, Any], str, type[Exception], str]] = {
    "labels out of range": (
        lambda data: label(data, 4, "very high"), {"parse__ratings": ""}, "parse", AnnotationError, "very high",
    ),
    "ratings that are none": (
        lambda data: edit(data / "ratings.csv", lambda own: own.astype({"rating": str}).assign(
            rating=lambda all_: all_["rating"].where(all_.index != 7, "much"))),
        {}, "parse", AnnotationError, "much",
    ),
    "clips longer than their video": (
        lambda data: edit(data / "clips.csv", lambda own: own.assign(
            offset=own["offset"].where(own.index != 20, 5000))),
        {}, "parse", AnnotationError, "fam02",
    ),
    "a missing file of people": (
        lambda data: (data / "boxes" / "fam02" / "s1.csv").unlink(), {}, "prepare", AnnotationError,
        r"1 problem: people cannot be followed(.|\n)*fam02/s1.csv: There are no boxes of people",
    ),
    "skeletons of another number of frames": (
        shorten_skeletons, {}, "prepare", AnnotationError, r"fam02--s1: Its skeletons are of 50 frames\. 96 as in",
    ),
    "a role that nobody has": (
        lambda data: edit(data / "roles.csv", lambda own: own.replace({"role": {"child": "kid"}})),
        {}, "prepare", AnnotationError, r"3 problems(.|\n)*roles.csv, row 3: The role is none of parent, child, robot",
    ),
    "fewer families than folds": (lambda data: None, {"stratify__folds": 4}, "stratify", FoldError, "3 families"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_one_error_in_the_notebook_that_meets_it(name, data, base):
    spoil, changes, where, error, said = FAULTS[name]
    spoil(data)
    values = change(base, **changes)
    steps = ["parse", "prepare", "stratify"]
    for step in steps[: steps.index(where)]:
        run(step, values)
    with pytest.raises(error, match=said):
        run(where, values)
    outputs = data.parent / "outputs" / "joint_engagement" / "sample"
    done = {path.name.partition("_")[0] for path in outputs.iterdir() if (path / "receipt.json").is_file()}
    assert done == {f"{place + 1:02}" for place in range(steps.index(where))}


def test_one_person_alone_is_followed_described_and_learnt_from(data, base):
    """Nobody else is in any file: the same notebooks, with one place."""
    edit(data / "roles.csv", lambda own: own[own["role"] == "child"])
    at = pd.read_csv(data / "roles.csv").set_index("path")["x"]
    for path, x in at.items():
        name = Path(str(path)).with_suffix(".csv")
        edit(data / "boxes" / name, lambda own, x=x: own[((own["x0"] + own["x1"]) / 2 - x).abs() < 12])
        edit(data / "audio" / name, lambda own: own[own["role"] == "child"])
    values = change(base, prepare__who=["child"])
    for step in ("parse", "prepare", "stratify", "bake"):
        run(step, values)
    assert set(table_of(values, "prepare", "people")["who"]) == {"child"}
    tokens = pd.read_csv(folder_of(values, "bake") / "tables" / "tokens.csv")
    assert set(tokens["people"]) == {1}
    assert (tokens["share_valid"] > 0.9).all()
    found = run("train/crossval", values)
    assert found["trials"]["held_out_macro_f1"].notna().all()


def test_clips_shorter_than_the_frames_wanted_are_said_and_looped(data, base, capsys):
    values = change(base, train__network=FILMS, train__learning__batch_size=8, bake__modalities={
        "pose": {"kind": "pose", "rate": "4"}})  # fmt: skip
    for step in ("parse", "prepare", "stratify", "bake"):
        run(step, values)
    found = run("train/crossval", values)
    told = capsys.readouterr().err
    assert "32 clips are too short" in told
    assert "has 6 frames, but 8 frames at interval 2" in told
    assert found["trials"]["held_out_accuracy"].between(0, 1).all()
