"""Killed at any moment and run again, the preparation ends with the same bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("NBPKG_KILLS", "3"))
CODE = """
import sys
from pathlib import Path
from nbpkg.video.convert import Recipe
from nbpkg.video.prepare import prepare_sessions
if __name__ == "__main__":
    sources, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    jobs = [(path.stem, path) for path in sorted(sources.glob("*.mp4"))]
    media, problems = prepare_sessions(jobs, out, recipe=Recipe(encoding="jpeg"), workers=workers)
    media.to_csv(out / "media.csv")
    sys.exit(len(problems))
"""


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_run_again_gives_the_same_bytes(workers, video, tmp_path):
    sources, script = tmp_path / "sources", tmp_path / "work.py"
    sources.mkdir()
    script.write_text(CODE, encoding="utf-8")
    for number in range(3):
        video(sources / f"s{number}.mp4", 300, size=(360, 480))

    def start(out: Path) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(script), str(sources), str(out), str(workers)])

    began = time.monotonic()
    assert start(tmp_path / "undisturbed").wait() == 0
    whole_run = time.monotonic() - began
    expected = hashes(tmp_path / "undisturbed")
    assert len(expected) == 3 * 5 + 1

    chance, caught = random.Random(KILLS), 0
    for _ in range(KILLS):
        process = start(tmp_path / "killed")
        # Most of a run is starting Python and importing; the moments that matter come after.
        time.sleep(whole_run * chance.uniform(0.3, 1.0))
        caught += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert hashes(tmp_path / "killed") == expected
    assert caught, "no run was still going when it was killed: choose earlier moments"
