"""Killed at any moment and run again, the preparation ends with the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from killing import kill_in_the_middle, watch

from nbpkg.video.convert import Recipe
from nbpkg.video.prepare import prepare_sessions


def work(sources: str, out: str, workers: int) -> None:
    """Prepare all videos of a folder; in a process that may be killed."""
    jobs = [(path.stem, path) for path in sorted(Path(sources).glob("*.mp4"))]
    media, problems = prepare_sessions(jobs, Path(out), recipe=Recipe(encoding="jpeg"), workers=workers)
    media.to_csv(Path(out) / "media.csv")
    assert not problems


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_run_again_gives_the_same_bytes(workers, video, nursery, tmp_path):
    sources, whole, killed = tmp_path / "sources", tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (sources, whole, killed):
        folder.mkdir()
    for number in range(3):
        video(sources / f"s{number}.mp4", 150, size=(360, 480))
    course, _ = watch(lambda: nursery.start(work, str(sources), str(whole), workers), whole)
    assert len(hashes(whole)) == 3 * 5 + 1
    kill_in_the_middle(lambda: nursery.start(work, str(sources), str(killed), workers), killed, whole=course)
    assert nursery.start(work, str(sources), str(killed), workers).wait() == 0
    assert hashes(killed) == hashes(whole)
