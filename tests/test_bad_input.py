"""The command line at two in the morning: mistakes are named in words, all at once, and nothing stays half-written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from patience import PATIENCE_S

from nbpkg import tables
from nbpkg.models.checkpoints import read_checkpoint, save_checkpoint
from nbpkg.models.network import build_network
from nbpkg.runs import NODES
from nbpkg.runs.files import read_json
from nbpkg.runs.graph import own_steps, step_folder
from nbpkg.sample.infant_engagement import make_sample
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

pytestmark = pytest.mark.slow
SESSIONS = ["s01", "s02", "s03", "s04"]
FILE = "params/infant_engagement/small.yaml"
SAMPLE = "params/infant_engagement/sample.yaml"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Four short sessions."""
    folder = tmp_path_factory.mktemp("small") / "data"
    make_sample(folder, seed=1, sessions=4, task_seconds=8)
    return folder


@pytest.fixture
def project(root, sample, tmp_path):
    """A project with its own copy of the small sample, and a parameter file for it."""
    shutil.copytree(root / "notebooks", tmp_path / "notebooks")
    shutil.copytree(sample, tmp_path / "data")
    values = read_file(root / "params" / "infant_engagement" / "sample.yaml")
    found = sorted({tuple(path.stem.split("_")[:2]) for path in (sample / "engagement").glob("*.eaf")})
    raters = sorted({rater for _, rater in found})
    values |= {"experiment": "small", "data": "data", "workers": 1}
    values["parse"] |= {
        "sessions": SESSIONS,
        "raters": raters,
        "assignments": {name: [session for session, rater in found if rater == name] for name in raters},
    }
    values["stratify"] |= {"folds": 2, "balance": {}, "groups": {}}
    save(tmp_path, values)
    return tmp_path


def save(project: Path, values: dict) -> None:
    path = project / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def start(project: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    unwanted = ("NBPKG_ROOT", "NBPKG_LIVE", "JPY_SESSION_NAME")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    return subprocess.Popen(
        [sys.executable, "-m", "nbpkg", *arguments],
        cwd=project,
        env={**environment, "CUDA_VISIBLE_DEVICES": "", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def refused(process: subprocess.Popen) -> str:
    """What a command says that fails as it should: with status 1 and without a call stack."""
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return said


def start_stage(project: Path, stage: str, *more: str) -> subprocess.Popen:
    return start(project, "run", f"notebooks/{NODES[stage].notebook}.ipynb", "-f", FILE, *more)


def no_half_written_file(project: Path) -> bool:
    return not [path for path in (project / "outputs").rglob("*") if "partial" in path.name]


def test_everything_wrong_in_a_parameter_file_is_said_at_once(project):
    good = read_file(project / FILE)
    head = {"epoch": 3, "learning_rate": "1e-3"}
    wrong = {**good, "sede": 3, "workers": "many", "train": {"final": {"head": head}}}
    wrong["stratify"] = {
        **good["stratify"],
        "balance": {"twins": ["s01", "s77"]},
        "groups": {"a": ["s01"], "b": ["s01"]},
    }
    (project / "wrong.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    (project / "other.yaml").write_text(yaml.safe_dump({**good, "study": "infant_engagment"}), encoding="utf-8")
    names = ("wrong", "other", "missing")
    said = dict(
        zip(names, map(refused, [start(project, "check", "-f", f"{name}.yaml") for name in names]), strict=True)
    )
    assert "sede is no known key. Did you mean 'seed'?" in said["wrong"]
    assert "workers is 'many'" in said["wrong"]
    assert "train.final.head.epoch is no known key. Did you mean 'train.final.head.epochs'?" in said["wrong"]
    assert "train.final.head.learning_rate is the text '1e-3'. A number." in said["wrong"]
    assert "6 problems" in said["wrong"]
    assert "stratify.balance.twins names sessions that parse.sessions lacks: s77." in said["wrong"]
    assert "stratify.groups puts sessions into two groups: s01." in said["wrong"]
    assert "There is no study 'infant_engagment'." in said["other"]
    assert "infant_engagement" in said["other"]
    assert "The parameter file cannot be read" in said["missing"]
    assert "missing.yaml" in said["missing"]
    assert not (project / "outputs").exists()


def test_a_missing_data_folder_and_a_missing_gpu_are_named(project, sample):
    process = start_stage(project, "parse", "-p", "data", "nowhere")
    script = "from nbpkg.models.device import choose_device; choose_device('cuda:3')"
    device = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert "device is 'cuda:3', but this machine shows 0 GPUs to torch." in device.stderr
    assert "Set device to 'auto' or 'cpu'" in device.stderr
    said = refused(process)
    assert "nowhere" in said
    assert not list(project.glob("outputs/*/*/*/receipt.json"))
    assert no_half_written_file(project)


def test_all_broken_annotation_files_are_listed_in_one_go(project):
    folder = project / "data" / "engagement"
    cut, turned, *_ = sorted(folder.glob("*.eaf"))
    text = cut.read_text(encoding="utf-8")
    cut.write_text(text[: len(text) // 2], encoding="utf-8")
    row = turn_round_first_mark(turned)
    shutil.copy(turned, folder / turned.name.replace(turned.stem.split("_")[1], "zz"))
    stranger = turned.name.replace(turned.stem.split("_")[1], "zz")
    said = refused(start_stage(project, "parse"))
    assert "the annotation files cannot be used as they are." in said
    assert cut.name in said
    assert f"{turned.name}, tier {row[0]!r}, row {row[1]}" in said
    assert stranger in said
    place = project / "outputs" / "infant_engagement" / "small" / "01_parse"
    (table,) = place.glob("runs/*/problems.csv")
    errors = tables.read(table, "problems").query("severity == 'error'")
    assert {cut.name, turned.name, stranger} <= set(errors["file"])
    assert read_json(table.with_name("receipt.running.json"))["state"] == "failed"
    assert not (place / "receipt.json").exists()
    assert (place / "executed.ipynb").is_file()
    assert no_half_written_file(project)


def turn_round_first_mark(path: Path) -> tuple[str, int]:
    """Let the first mark of the tier `attending` end before it starts; return tier and row."""
    import xml.etree.ElementTree as ET

    tree = ET.parse(path)
    mark = tree.find(".//TIER[@TIER_ID='attending']//ALIGNABLE_ANNOTATION")
    first, last = mark.get("TIME_SLOT_REF1"), mark.get("TIME_SLOT_REF2")
    mark.set("TIME_SLOT_REF1", last)
    mark.set("TIME_SLOT_REF2", first)
    tree.write(path, encoding="UTF-8", xml_declaration=True)
    return "attending", 1


def test_a_session_without_video_is_dropped_and_said(project):
    (project / "data" / "video" / "s02.mp4").unlink()
    said, _ = (process := start_stage(project, "prepare")).communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    place = project / "outputs" / "infant_engagement" / "small" / "02_prepare"
    receipt = read_json(place / "receipt.json")
    dropped = tables.read(place / receipt["run"] / "dropped.csv", "dropped")
    assert dropped.to_dict("records") == [
        {"stage": "prepare", "key": "s02", "rows": 1, "reason": "the session has no video"}
    ]
    assert receipt["dropped"] == 1
    media = tables.read(place / receipt["run"] / "media.csv", "media")
    assert media["session"].tolist() == ["s01", "s03", "s04"]


def test_a_video_that_is_none_and_a_second_one_are_named(project, tmp_path_factory):
    twice = tmp_path_factory.mktemp("twice") / "project"
    shutil.copytree(project, twice)
    shutil.copy(twice / "data" / "video" / "s03.mp4", twice / "data" / "video" / "s03.mov")
    (project / "data" / "video" / "s02.mp4").write_text("the recording is on the other disk\n")
    processes = [start_stage(project, "prepare"), start_stage(twice, "prepare")]
    text_file, two = map(refused, processes)
    assert "recordings cannot be used" in text_file
    assert "s02.mp4" in text_file
    assert "Session s03 has 2 videos: s03.mov, s03.mp4." in two
    assert "Move the others out of this folder." in two
    for folder in (project, twice):
        assert not list(folder.glob("outputs/*/*/*/receipt.json"))
        assert no_half_written_file(folder)


@pytest.fixture
def after_demo(root, demo, tmp_path_factory):
    """Make projects in which the demo's steps have just finished.

    Artefacts are linked, not copied: a test that damages one deletes it first.
    """
    experiment = protocol.check_values(read_file(root / SAMPLE))[1]
    places = [step_folder(experiment, step).relative_to(experiment.folder) for step in own_steps(experiment)]

    def make() -> Path:
        project = tmp_path_factory.mktemp("demo") / "project"
        shutil.copytree(root / "notebooks", project / "notebooks")
        shutil.copytree(root / "params", project / "params")
        (project / "data").symlink_to(root / "data")
        for place in places:
            receipt = read_json(demo / place / "receipt.json")
            target = outputs_of(project) / place
            target.mkdir(parents=True)
            shutil.copy(demo / place / "receipt.json", target)
            for name in (*receipt["outputs"], "receipt.json"):
                file = target / receipt["run"] / name
                file.parent.mkdir(parents=True, exist_ok=True)
                os.link(demo / place / receipt["run"] / name, file)
        return project

    return make


def outputs_of(project: Path) -> Path:
    return project / "outputs" / "infant_engagement" / "sample"


def run_of(project: Path, place: str) -> Path:
    folder = outputs_of(project) / place
    return folder / read_json(folder / "receipt.json")["run"]


def start_step(project: Path, stage: str, *changes: str, **variables: str) -> subprocess.Popen:
    """Start a notebook with the sample's parameters and these changes, one after the other: key, value, key, value."""
    pairs = zip(changes[::2], changes[1::2], strict=True)
    more = [word for pair in pairs for word in ("-p", *pair)]
    notebook = f"notebooks/{NODES[stage].notebook}.ipynb"
    return start(project, "run", notebook, "-f", SAMPLE, *more, **variables)


def left_unfinished(project: Path, place: str) -> bool:
    """Whether a step tried to run again, failed and left no receipt of that run."""
    runs = outputs_of(project) / place / "runs"
    return len(list(runs.glob("*/receipt.running.json"))) == 1 and no_half_written_file(project)


@pytest.mark.demo
def test_weights_that_cannot_be_fetched_and_more_folds_than_sessions_are_named(after_demo, tmp_path):
    project = after_demo()
    network = ("bake.encoder", "mc3_18", "bake.weights", "KINETICS400_V1")
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere)
    offline = {**proxies, "no_proxy": "", "NO_PROXY": "", "TORCH_HOME": str(tmp_path / "torch")}
    processes = [
        start_step(project, "bake", *network, **offline),
        start_step(project, "stratify", "stratify.folds", "25"),
    ]
    weights, folds = map(refused, processes)
    name = "mc3_18-a90a0ba3.pth"
    place = tmp_path / "torch" / "hub" / "checkpoints"
    assert "WeightsError: torchvision's weights KINETICS400_V1 cannot be downloaded or stored: " in weights
    assert f"Expected: {name} in the folder {place}." in weights
    assert (
        f"Download https://download.pytorch.org/models/{name} on a machine with internet and put it here: " in weights
    )
    assert str(place / name) in weights
    assert not list(place.glob("*"))
    assert "FoldError: " in folds
    assert "25 folds" in folds
    assert left_unfinished(project, "04_bake")
    assert left_unfinished(project, "03_stratify")


@pytest.mark.demo
def test_a_missing_shard_and_a_pair_that_does_not_exist_are_named_before_training(after_demo):
    damaged, misspelt = after_demo(), after_demo()
    shard = sorted((run_of(damaged, "04_bake") / "shards").glob("*_grid.npy"))[1]
    shard.unlink()
    pairs = ("train.pairs", "[people/laughing, eggs/attending]")
    processes = [
        start_step(damaged, "train", "phase", "head_search"),
        start_step(misspelt, "train", "phase", "head_search", *pairs),
    ]
    missing, unknown = map(refused, processes)
    assert "shards of features cannot be used" in missing
    assert f"{shard.stem!r} is missing" in missing
    assert str(shard) in missing
    assert "run notebooks/04_bake.ipynb again; it makes only what is missing" in missing
    assert "SettingsError: train.pairs names people/laughing." in unknown
    known = [
        f"{task}/{variable}" for task in ("drums", "eggs", "people") for variable in ("attending", "participating")
    ]
    assert f"Some of {', '.join(known)}." in unknown
    for project in (damaged, misspelt):
        assert left_unfinished(project, "05_train/head_search")


@pytest.mark.demo
def test_a_network_of_another_architecture_is_named_before_evaluation(after_demo):
    project = after_demo()
    path = run_of(project, "05_train/final") / "networks" / "people" / "attending.safetensors"
    card, _ = read_checkpoint(path)
    path.unlink()
    path.with_suffix(".json").unlink()
    save_checkpoint(path, build_network("mc3_18", "none", seed=0, size=48, frames=16).state_dict(), card=card)
    said = refused(start_step(project, "evaluate"))
    assert "WeightsError: The weights do not fit a network with encoder small: " in said
    assert re.search(r"\d+ missing \(encoder\.base_model\.\S+", said), said
    assert re.search(r"\d+ unexpected \(encoder\.base_model\.layer\d\.", said), said
    assert str(path) in said
    assert "Use weights of this network, or name the network they were made for." in said
    assert left_unfinished(project, "06_evaluate")
