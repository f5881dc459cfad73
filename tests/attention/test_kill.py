"""Killed at any moment and run again, explaining and comparing end with the same bytes."""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from killing import kill_in_the_middle, watch

sys.path.insert(0, str(Path(__file__).parent))


def work(sources: str, out: str) -> None:
    """Explain and compare; in a process that may be killed."""
    from test_machine import OPTIONS, USED, network, snippets

    from nbpkg.attention.comparing.comparison import compare_snippets
    from nbpkg.attention.comparing.gather import machine_maps
    from nbpkg.attention.comparing.measures import Options
    from nbpkg.attention.machine import explain_snippets, look_at_clips
    from nbpkg.video.frames import FrameStore

    stores = {name: FrameStore(Path(sources) / name) for name in ("s1", "s2")}
    folder, chance = Path(out), np.random.default_rng(0)
    people = {name: {who: chance.random((4, 30, 40)) for who in "ab"} for name in snippets()["snippet_id"]}
    how = {"look": look_at_clips(stores, torch.device("cpu")), "methods": USED, "options": OPTIONS, "seed": 5}
    maps = explain_snippets(snippets(), {("eggs", "smile"): network()}, folder=folder, randomised=True, **how)
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


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and ".partial" not in path.name]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_killed_and_run_again_gives_the_same_bytes(nursery, tmp_path):
    from test_machine import make_stores

    make_stores(tmp_path / "stores")
    whole, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    course, _ = watch(lambda: nursery.start(work, str(tmp_path / "stores"), str(whole)), whole)
    assert len(hashes(whole)) == 6 + 3 + 2
    kill_in_the_middle(lambda: nursery.start(work, str(tmp_path / "stores"), str(killed)), killed, whole=course)
    assert nursery.start(work, str(tmp_path / "stores"), str(killed)).wait() == 0
    assert hashes(killed) == hashes(whole)
