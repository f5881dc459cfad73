"""Let the tests of this folder import `jupyter_lab`, which stands beside them, and share browser and server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def browser(chromium):
    """Chromium, driven by Playwright."""
    from jupyter_lab import CHROMIUM
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=CHROMIUM.split())
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def start_lab(chromium, tmp_path_factory):
    """Start JupyterLab on a folder; all servers end with the module."""
    from jupyter_lab import Lab

    servers = []

    def start(folder, settings=None):
        servers.append(Lab(folder, tmp_path_factory.mktemp("jupyter"), settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
