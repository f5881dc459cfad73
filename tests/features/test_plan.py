"""From settings of modalities to what is made of which file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbpkg.errors import AnnotationError
from nbpkg.features.kinds import FaceHow, SoundHow, TableHow, WordsHow
from nbpkg.features.plan import plan_features
from nbpkg.settings.valence import ModalitySettings

CUES = "1\n00:00:01,000 --> 00:00:02,500\nHello there.\n"


def settings(kind: str, folder: str, **more) -> ModalitySettings:
    return ModalitySettings(kind=kind, folder=folder, **more)


def make(data: Path, *names: str) -> list[tuple[str, Path]]:
    for name in names:
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CUES if path.suffix == ".srt" else "")
    return [(Path(name).stem, data / name) for name in names]


def test_modalities_come_in_their_order_with_the_settings_of_each(tmp_path):
    files = make(
        tmp_path, "Training/Videos/a.mp4", "Training/Videos/b.mp4", "Training/Words/a.srt", "Testing/More/a.csv"
    )
    modalities = {
        "more": settings("table", "More", time_columns=True),
        "text": settings("words", "Words", vectors="glove.txt", stop_words=True, silence="hold"),
        "audio": settings("sound", "Videos", time_columns=True),
    }
    more, text, *audio = plan_features(files, modalities, data=tmp_path, fps=50, seconds=0.5)
    assert (more.session, more.modality, more.how) == ("a", "more", TableHow(time_columns=True))
    assert text.how == WordsHow(
        cues=((1000, 2500, "Hello there."),),
        vectors=tmp_path / "glove.txt",
        stop_words=True,
        silence="hold",
        seconds=0.5,
    )
    assert [one.session for one in audio] == ["a", "b"]
    assert audio[0].how == SoundHow(seconds=0.5, time_columns=True)


def test_faces_get_boxes_or_a_region_or_a_detector(tmp_path):
    (file,) = make(tmp_path, "Training/Videos/a.mp4")
    (tmp_path / "Training" / "Folders" / "a").mkdir(parents=True)
    plain = {"kind": "face", "folder": "Videos"}
    found = {
        name: plan_features([file], {"v": ModalitySettings(**plain, **more)}, data=tmp_path, fps=10)[0].how
        for name, more in {
            "file": {"boxes": "Faces", "side": "actor"},
            "folder": {"boxes": "Folders"},
            "region": {"region": [1, 2, 3, 4], "weights": "vgg.pt", "network": "vgg_face"},
            "detector": {"detector": "yunet.onnx", "weights": "imagenet", "missed": "interpolate", "every": 3},
        }.items()
    }
    assert all(isinstance(how, FaceHow) for how in found.values())
    assert found["file"].boxes == tmp_path / "Training" / "Faces" / "a.csv"
    assert (found["file"].side, found["file"].fps) == ("actor", 10)
    assert found["folder"].boxes == tmp_path / "Training" / "Folders" / "a"
    assert found["region"].region == (1, 2, 3, 4)
    assert (found["region"].boxes, found["region"].weights) == (None, tmp_path / "vgg.pt")
    assert found["detector"].detector == tmp_path / "yunet.onnx"
    assert (found["detector"].weights, found["detector"].missed, found["detector"].every) == (
        "imagenet",
        "interpolate",
        3,
    )


def test_a_session_without_a_file_has_no_job(tmp_path):
    files = make(tmp_path, "Training/Videos/a.mp4", "Training/Words/b.srt")
    modalities = {"audio": settings("sound", "Videos"), "text": settings("words", "Words")}
    jobs = plan_features(files, modalities, data=tmp_path)
    assert [(job.session, job.modality) for job in jobs] == [("a", "audio"), ("b", "text")]


def test_kinds_that_share_a_folder_take_the_files_of_their_own_ending(tmp_path):
    files = make(tmp_path, "Training/All/a.mp4", "Training/All/a.csv", "Training/All/a.SRT")
    modalities = {"audio": settings("sound", "All"), "made": settings("table", "All"), "text": settings("words", "All")}
    jobs = plan_features(files[:2], modalities, data=tmp_path)
    assert [(job.modality, job.source.suffix) for job in jobs] == [("audio", ".mp4"), ("made", ".csv")]


def test_folders_that_end_alike_are_told_apart(tmp_path):
    files = make(tmp_path, "Training/audio/a.npy", "Training/made/audio/b.npy", "Testing/made/audio/c.npy")
    modalities = {"raw": settings("table", "audio"), "made": settings("table", "made/audio/")}
    jobs = plan_features(files, modalities, data=tmp_path)
    assert [(job.modality, job.session) for job in jobs] == [("raw", "a"), ("made", "b"), ("made", "c")]


def test_a_transcript_that_cannot_be_read_is_named(tmp_path):
    (file,) = make(tmp_path, "Training/Words/a.srt")
    file[1].write_text("1\n00:00:02,000 --> never\nHello.\n")
    with pytest.raises(AnnotationError, match=r"(?s)a transcript cannot be read.*a\.srt"):
        plan_features([file], {"text": settings("words", "Words")}, data=tmp_path)
