"""How many rows files will give, before anything is computed."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from nbpkg.errors import MediaError
from nbpkg.features.kinds import FaceHow, Job, SoundHow, TableHow, WordsHow
from nbpkg.features.lengths import measure_lengths


def sound(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as stream:
        stream.setparams((1, 2, 8000, 0, "NONE", ""))
        stream.writeframes(bytes(2 * round(8000 * seconds)))
    return path


def rows(job: Job, *, steps: int = 0, seconds: float = 1.0) -> int:
    table = measure_lengths([job], {job.session: steps}, seconds=seconds)
    assert list(table.columns) == ["session", "modality", "rows"]
    (found,) = table.to_dict("records")
    assert (found["session"], found["modality"]) == (job.session, job.modality)
    return found["rows"]


@pytest.mark.parametrize(
    ("length", "seconds", "expected"), [(3.0, 1.0, 3), (3.02, 1.0, 3), (3.2, 1.0, 4), (3.2, 0.5, 7), (0.01, 1.0, 0)]
)
def test_recordings_count_by_the_length_of_their_container(tmp_path, length, seconds, expected):
    path = sound(tmp_path / "a.wav", length)
    for how in (SoundHow(), FaceHow("listener")):
        assert rows(Job("a", "m", how, path), seconds=seconds) == expected


def test_tables_count_their_rows(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 2)))
    (tmp_path / "a.csv").write_text("x\n1\n\n3\n")
    assert rows(Job("a", "m", TableHow(), tmp_path / "a.npy"), steps=9) == 5
    assert rows(Job("a", "m", TableHow(), tmp_path / "a.csv"), steps=9) == 3  # a blank row is a second, too


def test_a_transcript_is_never_short_and_long_when_words_come_after_the_end(tmp_path):
    job = Job("a", "text", WordsHow(cues=((0, 900, "a"), (5000, 7400, "b"), (1000, 2000, "c"))), tmp_path / "a.srt")
    assert rows(job, steps=20) == 20
    assert rows(job, steps=6) == 8
    assert rows(Job("a", "text", WordsHow(cues=()), tmp_path / "a.srt"), steps=4) == 4


def test_a_recording_that_is_none_is_named(tmp_path):
    (tmp_path / "a.mp4").write_text("the film is on the other disk")
    for name in ("a.mp4", "b.mp4"):
        with pytest.raises(MediaError, match=rf"(?s)cannot be opened.*{name}"):
            rows(Job("a", "audio", SoundHow(), tmp_path / name))
