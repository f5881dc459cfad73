"""What the video benches share: a camera-like recording made on the spot, the machine in words, tables."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np


def machine() -> str:
    """Name processor, cores and system."""
    name = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def write_recording(path: Path, seconds: int, *, size: tuple[int, int] = (720, 1280), fps: int = 25) -> Path:
    """Write a room with texture, sensor noise and a moving person, in H.264 with a key frame every 2 s."""
    height, width = size
    noise = np.random.default_rng(0)
    room = cv2.resize(noise.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8), (width, height))
    room = cv2.addWeighted(
        room, 0.8, cv2.resize(noise.integers(0, 255, (9, 16, 3), dtype=np.uint8), (width, height)), 0.2, 0
    )
    grains = [noise.normal(0, 6, (height, width, 1)).astype(np.int8) for _ in range(8)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast", "g": str(2 * fps), "bf": "2"}
        for number in range(seconds * fps):
            frame = room.copy()
            sway = np.sin(number / fps * 1.7)
            body = (int(width * (0.5 + 0.15 * sway)), int(height * 0.8))
            head = (body[0] + int(20 * np.sin(number / 5)), int(height * 0.4))
            cv2.ellipse(frame, body, (width // 8, height // 3), 0, 0, 360, (70, 90, 160), -1, cv2.LINE_AA)
            cv2.ellipse(frame, head, (width // 18, height // 7), 12 * sway, 0, 360, (190, 150, 130), -1, cv2.LINE_AA)
            picture = np.clip(frame.astype(np.int16) + grains[number % 8], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def clock(work: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_of_rounds(sides: dict[str, Callable[[], object]], rounds: int = 3) -> dict[str, float]:
    """Time all sides in turn, `rounds` times, and return the median of each: what disturbs one disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            times[name].append(clock(work))
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, rows: list[dict]) -> None:
    """Print rows as a Markdown table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    print(f"\n### {title}\n\nMachine: {machine()}\n")
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row.get(column, "")) for column in columns) + " |")
