"""All features of a study: files that are whole, kept when made of the same, and faults that stop nobody else."""

from __future__ import annotations

import json
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.errors import StageError
from nbpkg.features.extract import extract_modalities
from nbpkg.features.kinds import FaceHow, Job, SoundHow, TableHow, WordsHow

CUES = ((0, 900, "a good dog"), (1000, 1800, "xyzzy"), (2000, 2900, "the dog"))


@pytest.fixture
def data(tmp_path) -> Path:
    """Two sessions with a table each, one with words, word vectors, and one film with boxes."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"s{number}.csv").write_text(f"x,y\n{number},2\n,\n3,{number + 7}\n")
    (folder / "s1.srt").write_text("the words themselves come with the job")
    (folder / "vectors.txt").write_text("dog 1 0\ngood 0 1\nthe 5 5\n")
    (folder / "boxes.csv").write_text(
        "frame,side,x0,y0,x1,y1\n" + "".join(f"{frame},listener,4,4,30,40\n" for frame in range(20))
    )
    with av.open(str(folder / "s1.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder


def tables_of(data: Path) -> list[Job]:
    return [Job(f"s{number}", "made", TableHow(), data / f"s{number}.csv") for number in (1, 2)]


def face(data: Path, side: str, **options) -> Job:
    how = FaceHow(side, **({"region": (0, 0, 20, 48), "size": 32} | options))
    return Job("s1", f"face_{side}", how, data / "s1.mkv")


def run(jobs: list[Job], data: Path, **options) -> tuple[pd.DataFrame, list]:
    out = data.parent / "run"
    return extract_modalities(jobs, out / "features", sources=data, run_folder=out, **options)


def test_every_kind_becomes_a_file_that_the_table_tells_of(data):
    words = [
        Job("s1", "words", WordsHow(CUES, rows=4, vectors=data / "vectors.txt"), data / "s1.srt"),
        Job("s1", "hashed", WordsHow(CUES, rows=4, width=16), data / "s1.srt"),
    ]
    found, problems = run([*tables_of(data), *words, face(data, "actor")], data)
    tables.check(found, "modalities")
    assert found["modality"].tolist() == ["made", "made", "words", "hashed", "face_actor"]
    assert found["file"].tolist()[:2] == ["features/made/s1.npy", "features/made/s2.npy"]
    assert found[["rows", "width", "missing"]].to_numpy().tolist() == [
        [3, 2, 1],
        [3, 2, 1],
        [4, 2, 2],
        [4, 16, 1],
        [2, 512, 0],
    ]
    assert found["source"].tolist() == ["s1.csv", "s2.csv", "s1.srt", "s1.srt", "s1.mkv"]
    rows = np.load(data.parent / "run" / "features" / "words" / "s1.npy", allow_pickle=False)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.5, 0.5], [np.nan] * 2, [3, 2.5], [np.nan] * 2])
    assert [problem.severity for problem in problems] == ["warning"]
    assert "1 of 3 utterances have no known word: xyzzy" in problems[0].what


def test_what_is_finished_stays_and_what_differs_is_made_again(data):
    jobs = [*tables_of(data), Job("s1", "words", WordsHow(CUES, width=16), data / "s1.srt")]
    first, _ = run(jobs, data)
    folder = data.parent / "run" / "features"
    stamps = {file: file.stat().st_mtime_ns for file in folder.rglob("*.npy")}

    (data / "s2.csv").write_text("x,y\n7,8\n9,1\n")  # another source
    (folder / "words" / "s1.npy").write_bytes(b"cut")  # a damaged file
    again, problems = run(jobs, data)
    changed = {
        file.relative_to(folder).as_posix() for file, stamp in stamps.items() if file.stat().st_mtime_ns != stamp
    }
    assert changed == {"made/s2.npy", "words/s1.npy"}
    assert again["rows"].tolist() == [3, 2, 3]
    assert again["sha256"].tolist()[::2] == first["sha256"].tolist()[::2]

    other, told = run([*jobs[:2], Job("s1", "words", WordsHow(CUES, width=32), data / "s1.srt")], data)  # other options
    assert other["width"].tolist() == [2, 2, 32]
    assert told == problems  # what was noticed is told again
    (folder / "made" / "s1.json").write_text("{")
    assert run(jobs[:1], data)[0]["sha256"].tolist() == first["sha256"].tolist()[:1]


def test_word_vectors_count_by_what_they_hold(data):
    job = Job("s1", "words", WordsHow(CUES, vectors=data / "vectors.txt", silence="hold"), data / "s1.srt")
    first, _ = run([job], data)
    (data / "vectors.txt").write_text("dog 2 0\n")
    second, _ = run([job], data)
    assert first["sha256"].tolist() != second["sha256"].tolist()
    (data / "vectors.txt").write_text("dog 2\nthe 1 2\ngood 3 4\n")
    none, problems = run([job], data)
    assert none.empty
    assert "words of s1 cannot be made" in problems[0].what
    assert problems[0].file == "s1.srt"


def test_a_fault_is_told_with_its_file_and_stops_nobody_else(data):
    (data / "s1.csv").write_text("x,y\n1,what\n")
    jobs = [*tables_of(data), Job("s3", "made", TableHow(), data / "s3.csv"), face(data, "actor", network="resnet")]
    for workers in (1, 2):
        found, problems = run(jobs, data, workers=workers)
        assert found["session"].tolist() == ["s2"]
        told = {problem.file: problem for problem in problems}
        assert set(told) == {"s1.csv", "s3.csv", "s1.mkv"}
        assert {problem.severity for problem in problems} == {"error"}
        assert "'what' in column 'y' is no number" in told["s1.csv"].what
        assert "'s3.csv', for made, cannot be read" in told["s3.csv"].what
        assert "no network 'resnet'" in told["s1.mkv"].what


def test_two_sides_of_a_film_are_one_pass_and_one_fault_does_not_stop_the_other(data, monkeypatch):
    import nbpkg.features.faces as faces

    passes = []
    opened = faces.open_video
    monkeypatch.setattr(faces, "open_video", lambda path: passes.append(path) or opened(path))
    both = [face(data, "actor"), face(data, "listener", boxes=data / "boxes.csv")]
    found, problems = run(both, data)
    assert len(passes) == 1
    assert found["missing"].tolist() == [0, 1]
    assert "missing: 1" in problems[0].what

    beside = [face(data, "actor"), face(data, "listener", region=(70, 0, 90, 48))]
    found, problems = run(beside, data)
    assert found["modality"].tolist() == ["face_actor"]
    assert "outside of a picture of 64" in problems[0].what
    assert "face_listener of s1" in problems[0].what


def test_files_of_other_widths_are_told(data):
    (data / "s2.csv").write_text("x,y,z\n1,2,3\n2,3,5\n")
    (data / "s3.csv").write_text("x,y\n1,2\n3,4\n")
    _, problems = run([*tables_of(data), Job("s3", "made", TableHow(), data / "s3.csv")], data)
    assert [(problem.file, problem.what) for problem in problems] == [("s2.csv", "'s2.csv' has 3 features.")]


def test_the_same_bytes_by_several_workers(data):
    jobs = [*tables_of(data), face(data, "actor"), Job("s1", "words", WordsHow(CUES, width=16), data / "s1.srt")]
    alone, _ = extract_modalities(jobs, data.parent / "one")
    together, _ = extract_modalities(jobs, data.parent / "two", workers=2)
    pd.testing.assert_frame_equal(alone, together)


def test_sound_becomes_a_file(data):
    pytest.importorskip("opensmile", reason="the extra 'audio' is not installed")
    with wave.open(str(data / "s1.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((5000 * np.sin(np.arange(24000) / 7)).astype("<i2").tobytes())
    found, problems = run([Job("s1", "audio", SoundHow(), data / "s1.wav")], data)
    assert found[["rows", "width", "missing"]].to_numpy().tolist() == [[2, 988, 0]]
    assert [problem.severity for problem in problems] == ["repaired"]
    facts = json.loads((data.parent / "run" / "features" / "audio" / "s1.json").read_text())
    assert facts["columns"][0] == "pcm_intensity_sma_max"


@pytest.mark.parametrize("names", [("../s1", "made"), ("s1", "a/b"), ("", "made"), ("s1", ".hidden")])
def test_names_never_become_paths_unchecked(data, names):
    with pytest.raises(StageError, match="cannot be the name of a file"):
        run([Job(*names, TableHow(), data / "s1.csv")], data)
    with pytest.raises(StageError, match="twice"):
        run([*tables_of(data), Job("S1", "made", TableHow(), data / "s1.csv")], data)
