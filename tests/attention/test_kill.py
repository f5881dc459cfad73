"""Killed at any moment and run again, explaining and comparing end with the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

KILLS = int(os.environ.get("NBPKG_KILLS", "3"))
CODE = """
import sys
sys.path.insert(0, {tests!r})
from functools import partial
from pathlib import Path
import numpy as np
import torch
from test_machine import OPTIONS, USED, make_stores, network, snippets
from nbpkg.attention.comparing.comparison import compare_snippets
from nbpkg.attention.comparing.gather import machine_maps
from nbpkg.attention.comparing.measures import Options
from nbpkg.attention.machine import explain_snippets, look_at_clips
from nbpkg.video.frames import FrameStore
torch.set_num_threads(1)
stores = {{name: FrameStore(Path({stores!r}) / name) for name in ("s1", "s2")}}
folder, random = Path(sys.argv[1]), np.random.default_rng(0)
people = {{name: {{painter: random.random((4, 30, 40)) for painter in "ab"}} for name in snippets()["snippet_id"]}}
print("ready", flush=True)
look = look_at_clips(stores, torch.device("cpu"))
how = {{"look": look, "methods": USED, "options": OPTIONS, "seed": 5}}
maps = explain_snippets(snippets(), {{("eggs", "smile"): network()}}, folder=folder, randomised=True, **how)
found = compare_snippets(
    snippets(),
    people.__getitem__,
    machine=partial(machine_maps, maps, folder),
    frames=lambda name: np.zeros((4, 30, 40, 3), np.uint8),
    options=Options(size=8, transport_size=8, top=0.1, tolerance=1, floor=0.01, centre=0.2),
    folder=folder / "compared",
    seed=5,
)
maps.to_csv(folder / "maps.csv")
found.to_csv(folder / "comparisons.csv")
"""


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".partial" not in path.name]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_killed_and_run_again_gives_the_same_bytes(tmp_path):
    sys.path.insert(0, str(Path(__file__).parent))
    from test_machine import make_stores

    make_stores(tmp_path / "stores")
    script = tmp_path / "work.py"
    script.write_text(CODE.format(tests=str(Path(__file__).parent), stores=str(tmp_path / "stores")), encoding="utf-8")

    def start(out: Path) -> subprocess.Popen[str]:
        """Start a run and wait until it has imported everything: the moments that matter come after."""
        out.mkdir(exist_ok=True)
        process = subprocess.Popen([sys.executable, str(script), str(out)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    process = start(tmp_path / "undisturbed")
    began = time.monotonic()
    process.communicate()
    assert process.returncode == 0
    whole_run = time.monotonic() - began
    expected = hashes(tmp_path / "undisturbed")
    assert len(expected) == 6 + 3 + 2

    chance, caught = random.Random(KILLS), 0
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        time.sleep(whole_run * chance.uniform(0.0, 0.7))
        caught += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(tmp_path / "killed")
    process.communicate()
    assert process.returncode == 0
    assert hashes(tmp_path / "killed") == expected
    assert caught, "no run was still going when it was killed: choose earlier moments"
