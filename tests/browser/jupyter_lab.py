"""Driving JupyterLab in Chromium: settings that keep it quiet, and opening and running a notebook as a person does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from patience import wait_until

PATIENCE_MS = 600_000  # costs nothing where things are quick
TOKEN = "for-this-test-only"
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio"
)
ERROR = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"
DONE = """([least, error]) => {
  if (document.querySelector(error)) return true;
  const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(e => e.textContent.trim());
  return prompts.length >= least && prompts.every(t => /\\[\\d+\\]:/.test(t));
}"""
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
IDLE = "#jp-main-statusbar >> text=/\\| Idle/"


class Lab:
    """A JupyterLab server of its own on a folder."""

    def __init__(self, folder: Path, state: Path, settings: Mapping[str, Mapping] | None = None) -> None:
        (state / "config" / "labconfig").mkdir(parents=True)
        overrides = json.dumps(SETTINGS | dict(settings or {}))
        (state / "config" / "labconfig" / "default_setting_overrides.json").write_text(overrides)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "NBPKG_ROOT": str(folder),
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
            f"--ServerApp.root_dir={folder}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]
        command = [sys.executable, "-m", "jupyterlab", *options]
        with (state / "log.txt").open("w") as log:
            self.server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.address = f"http://127.0.0.1:{port}"
        wait_until(self.answers, "JupyterLab answers", running=self.server, pause=0.2)

    def answers(self) -> bool:
        """Whether the server has come up."""
        try:
            self.ask("api")
        except OSError:
            return False
        return True

    def ask(self, path: str) -> object:
        """Ask the server's REST interface."""
        with urllib.request.urlopen(f"{self.address}/{path}?token={TOKEN}", timeout=60) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait(300)


def open_page(browser, *, height: int = 1000):
    """A page of a browser, or of one of its contexts, that is patient."""
    page = browser.new_page(**({"viewport": {"width": 1400, "height": height}} if hasattr(browser, "contexts") else {}))
    page.set_default_timeout(PATIENCE_MS)
    return page


def run_all(page, address: str, notebook: str, *, cells: int = 4) -> None:
    """Open a notebook, run all cells, wait for the last; none may end with an error."""
    page.goto(f"{address}/lab/tree/{notebook}?token={TOKEN}&reset", wait_until="domcontentloaded")
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=PATIENCE_MS)
    page.wait_for_selector(IDLE, timeout=PATIENCE_MS)
    start_all(page)
    dialog = page.locator(".jp-Dialog button.jp-mod-accept:has-text('Select')")
    time.sleep(1.5)  # a kernel that was not quite ready asks which kernel; then nothing has run yet
    if dialog.count():
        dialog.click()
        page.wait_for_selector(IDLE, timeout=PATIENCE_MS)
        start_all(page)
    page.wait_for_function(DONE, arg=[cells, ERROR], timeout=PATIENCE_MS)
    errors = page.locator(ERROR)
    assert errors.count() == 0, errors.first.inner_text()


def start_all(page, item: str = "Run All Cells") -> None:
    page.click(".lm-MenuBar-item:has-text('Run')")
    page.click(f".lm-Menu-item:has-text('{item}') >> nth=0")


def photograph(page, name: str, *, after: float = 0.0) -> None:
    """Keep a picture of each figure where somebody asked for them, some seconds after."""
    folder = os.environ.get("NBPKG_SCREENSHOTS")
    if folder:
        time.sleep(after)
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png")
