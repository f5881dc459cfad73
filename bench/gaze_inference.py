"""Frames per second of gaze inference on a video against the network alone. Target: at most 5 % fewer.

Reading and preparing run beside the network: on the CPU they need a core of their own, so that torch is given one less
than there are. Add ``cuda`` to measure on a GPU, and names of networks to measure only these.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.common import clock, show, write_recording
from nbpkg.gaze.film import FilmStyle
from nbpkg.gaze.footage import Footage, open_footage
from nbpkg.gaze.networks import Gazer, Looks, wrap_network
from nbpkg.gaze.outputs import GazeWriter, Wanted, write_in_background
from nbpkg.gaze.predict import predict_gaze, take_heads
from nbpkg.models.gaze.weights import build_gaze_model

BATCH, WORKERS, SIZE, ROUNDS = 8, 2, (720, 1280), 3
NETWORKS = ("vtd_spatial", "vtd_temporal", "gazelle_vitb14")
BOX = (580.0, 200.0, 700.0, 390.0)


def run_bare(gazer: Gazer, footage: Footage, count: int, device: torch.device) -> None:
    """Ask the network for `count` frames whose tensors are on the device already."""
    picture = next(iter(footage)).picture
    looks = [Looks(place, ("p",), gazer.prepare(picture, np.array([BOX]))) for place in range(BATCH)]
    tensors = [torch.cat(column).to(device) for column in zip(*(look.tensors for look in looks), strict=True)]
    with torch.inference_mode():
        for start in range(0, count, BATCH):
            moved = [look._replace(number=start + place) for place, look in enumerate(looks)]
            answers = gazer.answer(moved, tensors)
        answers.heat.cpu()


def run_whole(gazer: Gazer, footage: Footage, device: torch.device, *, folder: Path | None, film: bool = False) -> None:
    """Read, prepare and ask; and write the table, and the film, if there is a folder."""
    heads = {number: [("p", BOX, "file")] for number in range(footage.frames)}
    results = predict_gaze(footage, take_heads(heads), gazer, device=device, batch=BATCH, workers=WORKERS)
    if folder is None:
        for _ in results:
            pass
        return
    wanted = Wanted(FilmStyle(), film=film)
    with GazeWriter(folder, footage, method="bench", wanted=wanted) as writer:
        write_in_background(results, writer)


def measure(name: str, footage: Footage, folder: Path, device: torch.device) -> dict:
    """Time one network on some footage."""
    gazer = wrap_network(build_gaze_model(name).to(device), name, step=footage.step)
    count = len(footage)
    sides = {
        "network alone": partial(run_bare, gazer, footage, count, device),
        "video in, answers out": partial(run_whole, gazer, footage, device, folder=None),
        "and table": partial(run_whole, gazer, footage, device, folder=folder),
        "and film": partial(run_whole, gazer, footage, device, folder=folder, film=True),
    }
    for work in sides.values():
        work()  # once for caches and kernels
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(ROUNDS):
        for side, work in sides.items():
            times[side].append(clock(work))
    rates = {side: count / statistics.median(values) for side, values in times.items()}
    bare = rates["network alone"]
    told = {side: f"{rate:.1f} ({100 * rate / bare - 100:+.1f} %)" for side, rate in list(rates.items())[1:]}
    return {"network": name, "frames": count, "network alone, frames/s": round(bare, 1), **told}


def main() -> list[dict]:
    """Time all networks."""
    device = torch.device("cuda" if sys.argv[-1] == "cuda" else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    names = [name for name in NETWORKS if name in sys.argv] or NETWORKS
    seconds, steps = (60, {}) if device.type == "cuda" else (1, {"gazelle_vitb14": 6})
    with tempfile.TemporaryDirectory() as name:
        clip = write_recording(Path(name) / "clip.mp4", seconds, size=SIZE, fps=24)
        rows = [measure(one, open_footage(clip, step=steps.get(one, 1)), Path(name), device) for one in names]
    show(f"Gaze inference on 1280x720, one person, {device}, torch with {torch.get_num_threads()} threads", rows)
    return rows


if __name__ == "__main__":
    main()
