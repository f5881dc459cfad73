"""The notebooks in JupyterLab, in a real browser, as a person runs them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser
TOKEN = "for-this-test-only"
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio"
)
DONE = """() => {
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent.trim());
  return prompts.length > 3 && prompts.every(t => /\\[\\d+\\]:/.test(t));
}"""
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
PICTURE = "document.querySelectorAll('.widget-interact')[%d].querySelector('img')"
NOTEBOOKS = {
    "01_parse_annotations": 2,
    "02_prepare_videos": 1,
    "03_stratify": 1,
    "04_bake": 0,
    "05_train": 1,
    "06_evaluate": 2,
}


@pytest.fixture(scope="module")
def project(root, demo, tmp_path_factory):
    """A copy of the project whose outputs may be written; the finished stages of the demo are linked into it."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, folder / name)
    train = folder / "notebooks" / "05_train.ipynb"
    content = nbformat.read(train, as_version=4)
    (cell,) = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    assert 'phase = ""' in cell.source
    cell.source = cell.source.replace('phase = ""', 'phase = "head_search"')  # quick, and it has something to pick
    nbformat.write(content, train)
    (folder / "data").symlink_to(root / "data")
    shutil.copytree(demo, folder / "outputs" / "infant_engagement" / "sample", copy_function=os.link)
    return folder


@pytest.fixture(scope="module")
def lab(project, chromium, tmp_path_factory):
    """Address of a running JupyterLab."""
    state = tmp_path_factory.mktemp("jupyter")
    (state / "config" / "labconfig").mkdir(parents=True)
    (state / "config" / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "NBPKG_ROOT": str(project),
        "JUPYTER_CONFIG_DIR": str(state / "config"),
        "JUPYTER_DATA_DIR": str(state / "data"),
        "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
    }
    environment.pop("NBPKG_LIVE", None)
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={project}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    log = (state / "log.txt").open("w")
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=CHROMIUM.split())
        yield opened
        opened.close()


def run_all(page, address: str, notebook: str) -> None:
    """Open a notebook, run all cells, wait for the last."""
    page.goto(f"{address}/lab/tree/notebooks/{notebook}?token={TOKEN}&reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=90_000)
    page.wait_for_selector("#jp-main-statusbar >> text=/\\| Idle/", timeout=90_000)
    start_all(page)
    dialog = page.locator(".jp-Dialog button.jp-mod-accept:has-text('Select')")
    time.sleep(1.5)  # a kernel that was not quite ready asks which kernel; then nothing has run yet
    if dialog.count():
        dialog.click()
        page.wait_for_selector("#jp-main-statusbar >> text=/\\| Idle/", timeout=90_000)
        start_all(page)
    page.wait_for_function(DONE, timeout=180_000)


def start_all(page) -> None:
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.click(".lm-Menu-item:has-text('Run All Cells')")


def photograph(page, name: str) -> None:
    """Keep a picture of each figure where somebody asked for them."""
    folder = os.environ.get("NBPKG_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.mark.parametrize(("notebook", "pickers"), NOTEBOOKS.items())
def test_runs_live_with_pickers(lab, browser, project, notebook, pickers):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    run_all(page, lab, f"{notebook}.ipynb")
    errors = page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")
    assert errors.count() == 0, errors.first.inner_text()
    drop_downs = page.locator(".widget-dropdown select")
    assert drop_downs.count() == pickers
    for place in range(pickers):
        picture = PICTURE % place
        drop_downs.nth(place).scroll_into_view_if_needed()
        before = page.evaluate(f"{picture}.src")
        drop_downs.nth(place).select_option(index=1)
        page.wait_for_function(f"old => {picture} && {picture}.src !== old", arg=before, timeout=60_000)
        time.sleep(1)
        photograph(page, f"{notebook}_{place}")
    photograph(page, notebook)
    page.close()
