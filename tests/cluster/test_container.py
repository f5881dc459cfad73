"""The container: its definition agrees with the Makefile and the lock; where Apptainer is, it is built and used."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from nbpkg.runs.files import read_json

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "container.def").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RECEIPT = "infant_engagement/sample/01_parse/receipt.json"
SCRIPTS = ("post", "environment", "runscript", "test")


def sections() -> dict[str, str]:
    """Text of every section; the lines before the first one are the header."""
    parts = re.split(r"^%(\w+)$", TEXT, flags=re.MULTILINE)
    return {"header": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def arguments() -> dict[str, str]:
    """Build arguments with their defaults."""
    return dict(line.strip().split("=", 1) for line in sections()["arguments"].splitlines() if line.strip())


def test_every_section_stands_there_once():
    names = re.findall(r"^%(\w+)$", TEXT, re.MULTILINE)
    assert names == ["arguments", "files", *SCRIPTS, "labels", "help"]


def test_base_image_is_a_build_argument_with_a_default_that_fits():
    header = dict(re.findall(r"^(\w+): (.+)$", sections()["header"], re.MULTILINE))
    assert header == {"Bootstrap": "{{ BOOTSTRAP }}", "From": "{{ BASE }}"}
    assert set(re.findall(r"\{\{ (\w+) \}\}", TEXT)) == set(arguments())
    assert arguments()["BOOTSTRAP"] == "docker"
    assert f"\nBASE ?= {arguments()['BASE']}\n" in MAKEFILE
    python = re.fullmatch(r"python:(3\.\d+)-slim", arguments()["BASE"])
    assert python
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert python.group(1) in SpecifierSet(wanted)
    assert wanted == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info < (3, 14)" in sections()["post"]


def test_no_registry_is_named():
    assert not re.search(r"://|\b[\w-]+\.(com|io|net|org)\b", TEXT)


def test_what_is_copied_exists_and_is_what_the_installation_reads():
    pairs = [line.split() for line in sections()["files"].splitlines() if line.strip()]
    copied = {source for source, _ in pairs}
    assert copied == {"pyproject.toml", "requirements.lock", "README.md", "LICENSE", "nbpkg"}
    assert all((ROOT / source).exists() for source in copied)
    assert all(target == f"/opt/nbpkg/source/{source}" for source, target in pairs)


def test_environment_is_made_as_the_makefile_makes_it():
    """Same lock, same commands; only the paths differ and that an image keeps no cache."""
    (uv,) = re.findall(r"^\s*(sed .* requirements\.lock) \|", sections()["post"], re.MULTILINE)
    assert f"\t{uv.replace('$/', '$$/')} | $(BIN)/python -m pip install --quiet --require-hashes" in MAKEFILE
    steps = re.findall(r"^\s*\$(?:install|\(INSTALL\)) (.*)$", sections()["post"] + MAKEFILE, re.MULTILINE)
    assert steps == [
        "--require-hashes -r requirements.lock",
        "--no-deps .",
        "--require-hashes -r requirements.lock",
        "--no-deps -e . && touch $@",
    ]
    assert len(re.findall(r"pip install .*--build-constraints requirements\.lock", TEXT + MAKEFILE)) == 2


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_valid_shell(name):
    subprocess.run(["sh", "-n"], input=sections()[name], text=True, check=True)


def python_path(folder: Path) -> str:
    """What Python's search path would be in an image that is started in a folder."""
    script = sections()["environment"] + '\necho "$PYTHONPATH:$PYTHONHOME:$PATH"'
    started = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/from/the/host", "PYTHONHOME": "/from/the/host"}
    return subprocess.run(["sh", "-c", script], cwd=folder, env=started, capture_output=True, text=True).stdout.strip()


def test_a_checkout_is_the_code_and_nothing_of_the_host_gets_in(tmp_path):
    path = "/opt/nbpkg/venv/bin:/usr/bin:/bin"
    assert python_path(tmp_path) == f"::{path}"
    assert python_path(ROOT) == f"{ROOT}::{path}"


def test_runscript_is_our_command_line():
    assert sections()["runscript"].split() == ["exec", "python", "-m", "nbpkg", '"$@"']


@pytest.mark.parametrize(("base", "bootstrap"), [("python:3.13-slim", "docker"), ("LICENSE", "localimage")])
def test_make_container_takes_an_image_name_or_a_file(base, bootstrap):
    command = ["make", "-n", "container", f"BASE={base}", "APPTAINER=my-apptainer", "IMAGE=a.sif"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.replace("\\\n", "").split() == [
        *("my-apptainer", "build", "--force", "--build-arg", f"BOOTSTRAP={bootstrap}"),
        *("--build-arg", f"BASE={base}", "a.sif", "container.def"),
    ]


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """The image, built on a local base; NBPKG_TEST_IMAGE names one that was built before."""
    if shutil.which("apptainer") is None:
        pytest.skip("Apptainer is not installed")
    if ready := os.environ.get("NBPKG_TEST_IMAGE"):
        return Path(ready)
    base = os.environ.get("NBPKG_TEST_BASE")
    if base is None:
        pytest.skip("NBPKG_TEST_BASE names no local base image (docs/cluster.md)")
    file = tmp_path_factory.mktemp("image") / "nbpkg.sif"
    subprocess.run(["make", "container", f"BASE={base}", f"IMAGE={file}"], cwd=ROOT, check=True)
    return file


@pytest.fixture
def checkout(demo, tmp_path) -> Path:
    """A copy of the project with the raw data of the sample."""
    for name in ("nbpkg", "notebooks", "params"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy2(ROOT / "Snakefile", tmp_path)
    shutil.copytree(ROOT / "data" / "infant_engagement" / "sample", tmp_path / "data" / "infant_engagement" / "sample")
    return tmp_path


def python_of(image: Path) -> str:
    """Version of the image's Python."""
    line = ["apptainer", "exec", str(image), "python", "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=300).stdout.strip()


def where_code_is(image: Path, folder: Path) -> str:
    """The file that `import nbpkg` reads when the image is started in a folder, whatever the host sets."""
    environment = {**os.environ, "PYTHONPATH": "/from/the/host", "PYTHONHOME": "/from/the/host"}
    line = [
        "apptainer",
        "exec",
        "--bind",
        str(folder),
        str(image),
        "python",
        "-c",
        "import nbpkg; print(nbpkg.__file__)",
    ]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return done.stdout.strip() or done.stderr


@pytest.mark.slow
@pytest.mark.may_skip
def test_image_runs_its_own_code_or_the_checkout_it_is_started_in(image, checkout):
    assert where_code_is(image, checkout / "data").startswith("/opt/nbpkg/venv/lib/")
    assert where_code_is(image, checkout) == str(checkout / "nbpkg" / "__init__.py")


@pytest.mark.slow
@pytest.mark.may_skip
def test_image_runs_a_notebook_to_the_same_artefacts(image, demo, checkout):
    """Snakemake starts the job in the image, as on a cluster; stage 01 then has the bytes that `make demo` made."""
    (checkout / "site.yaml").write_text(yaml.safe_dump({"site": {"image": str(image)}}))
    command = [sys.executable, "-m", "snakemake", "-c1", "--sdm", "apptainer", "--configfile", "site.yaml", "--"]
    made = subprocess.run(
        [*command, str(checkout / "outputs" / RECEIPT)], cwd=checkout, capture_output=True, text=True, timeout=900
    )
    assert made.returncode == 0, made.stdout + made.stderr
    here, there = read_json(checkout / "outputs" / RECEIPT), read_json(demo / "01_parse" / "receipt.json")
    assert here["outputs"] == there["outputs"]
    assert here["provenance"]["python"] == python_of(image)


@pytest.mark.slow
@pytest.mark.may_skip
def test_signals_reach_the_notebook_in_the_image(image, checkout):
    command = ["apptainer", "run", "--bind", str(checkout), str(image), "run", "notebooks/01_parse_annotations.ipynb"]
    process = subprocess.Popen([*command, "-f", "params/infant_engagement/sample.yaml"], cwd=checkout)
    runs = (checkout / "outputs" / RECEIPT).with_name("runs")
    deadline = time.monotonic() + 300
    while not list(runs.glob("*/receipt.running.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    process.terminate()
    assert process.wait(timeout=300) == 128 + signal.SIGTERM
    (note,) = runs.glob("*/receipt.running.json")
    assert read_json(note)["signal"] == "SIGTERM"
    assert not (checkout / "outputs" / RECEIPT).exists()
