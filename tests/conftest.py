"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(Path(__file__).parent))  # for `demo_outputs`, `killing`, `nursery`, `patience` beside this file
sys.path.insert(0, str(Path(__file__).parent / "cluster"))  # for `cluster_project`


def pytest_configure() -> None:
    """Take interrupts, which are ignored where tests run in the background: much is said by SIGINT here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests, so that no worker is left with one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def root() -> Path:
    """Project folder."""
    return ROOT


@pytest.fixture(scope="session")
def golden() -> Path:
    """Input and output pairs from running the source system."""
    return ROOT / "tests" / "golden" / "infant_engagement"


@pytest.fixture(scope="session")
def demo() -> Path:
    """Outputs of ``make demo``, which ``make test`` runs first."""
    folder = ROOT / "outputs" / "infant_engagement" / "sample"
    if not (folder / "index.html").is_file():
        pytest.skip("no outputs of `make demo`; run it first, as `make test` does")
    return folder


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    """A process with everything loaded, which forks off workers."""
    from nursery import Nursery

    loaded = ("nbpkg.training.lightning_loop", "nbpkg.training.head_search", "nbpkg.training.finetune_search")
    made = Nursery(tmp_path_factory.mktemp("nursery"), *loaded)
    yield made
    made.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed")
    return path


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI, what is needed was installed first, so that a skip for want of it is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("NBPKG_NO_SKIP") and item.get_closest_marker("may_skip") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped although NBPKG_NO_SKIP is set: {report.longrepr}"
