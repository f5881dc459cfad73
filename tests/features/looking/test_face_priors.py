"""What is found out about each crop: head pose, points, sound, and what mirroring does to it."""

from __future__ import annotations

import importlib.util
import wave
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from looking_faces import make_tracks
from torch import nn

from nbpkg.errors import MediaError, StageError, TableError
from nbpkg.features.looking.audio_files import write_all_audio, write_audio
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import FromPictures, PackRecipe, cut_all
from nbpkg.features.looking.each_crop import describe_faces
from nbpkg.features.looking.head_pose import HeadPoseEstimator
from nbpkg.features.looking.landmarks import LandmarkFinder, read_points
from nbpkg.features.looking.packs import CropPacks, PackFacts
from nbpkg.features.looking.priors import count_missing, gather_priors, mirror_angles, mirror_landmarks
from nbpkg.models.looking.hopenet import HeadScores, Hopenet, load_hopenet, to_degrees
from nbpkg.models.looking.priors import normalise_landmarks


def test_mirrored_points_are_the_points_of_the_mirrored_picture():
    points = np.random.default_rng(0).uniform(0.1, 0.9, (6, 5, 4))
    mirrored = points[:, [0, 2, 1, 4, 3]].copy()  # what was left is right
    mirrored[..., 0] = 1 - mirrored[..., 0]
    assert mirror_landmarks(normalise_landmarks(points)) == pytest.approx(normalise_landmarks(mirrored), abs=1e-6)
    assert np.array_equal(
        mirror_landmarks(mirror_landmarks(points.reshape(6, 20)[:, :15])), points.reshape(6, 20)[:, :15]
    )
    assert mirror_angles(np.array([[10.0, -20.0, np.nan]])).tolist()[0][:2] == [-10, -20]


def test_priors_of_other_faces_are_refused_and_missing_ones_counted():
    facts = PackFacts(np.array([0, 0, 1], np.uint8), np.array([5.0, 6.0, np.nan]))
    with pytest.raises(TableError, match="points"):
        gather_priors(facts, points=np.zeros((2, 5, 4)))
    with pytest.raises(TableError, match="pose"):
        gather_priors(facts, head_pose=np.zeros((3, 6)))
    priors = gather_priors(facts, head_pose=np.array([[1, 2, 3], [np.nan] * 3, [1, 2, 3]]))
    table = count_missing(priors, {"train": np.array([True, True, False]), "val": np.array([False, False, True])})
    assert table.to_numpy().tolist() == [
        ["train", "head pose", 2, 1],
        ["train", "points", 2, 2],
        ["train", "sharpness", 2, 0],
        ["val", "head pose", 0, 0],
        ["val", "points", 0, 0],
        ["val", "sharpness", 0, 0],
    ]


@pytest.fixture
def packed(tmp_path):
    """Three crops of a grey each, and a face without one."""
    tracks, faces = make_tracks([("a", "1", [1, 2]), ("b", "1", [1, 2])])
    sources = {}
    for session, paths in (("a", ("a1.png", "")), ("b", ("b1.png", "b2.png"))):
        for path in filter(None, paths):
            rng = np.random.default_rng(ord(path[0]) + int(path[1]))
            cv2.imwrite(str(tmp_path / path), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        sources[session] = FromPictures(tmp_path, paths)
    cut_all(tracks, faces, sources, folder=tmp_path / "crops", recipe=PackRecipe(CropRule(size=64)))
    return tracks, CropPacks(tmp_path / "crops", tracks)


class CountingHead(nn.Module):
    """Turns the mean of the red channel into yaw, and counts crops."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, crops):
        self.seen += len(crops)
        assert crops.shape[1:] == (3, 224, 224)
        bins = torch.nn.functional.one_hot((crops[:, 0].mean(dim=(1, 2)) * 10 + 20).long().clamp(0, 65), 66) * 100.0
        return HeadScores(bins, bins, bins)


def test_poses_of_all_crops_session_by_session_and_never_twice(packed, tmp_path):
    tracks, packs = packed
    network = CountingHead()
    estimate = HeadPoseEstimator(network)
    folder = tmp_path / "head_pose"
    found = describe_faces(packs, tracks, estimate, shape=(3,), folder=folder, batch=2)
    assert network.seen == 3
    assert np.isnan(found[1]).all()
    assert np.array_equal(found[[0, 2, 3]], estimate(packs.read([0, 2, 3])))
    (folder / "b.npy").unlink()
    network.seen = 0
    again = describe_faces(packs, tracks, estimate, shape=(3,), folder=folder, batch=2)
    assert network.seen == 2
    assert np.array_equal(found, again, equal_nan=True)
    np.save(folder / "a.npy", np.zeros((5, 3), np.float32))
    with pytest.raises(StageError, match="another set of faces"):
        describe_faces(packs, tracks, estimate, shape=(3,), folder=folder)


def test_hopenet_with_weights_from_a_file_estimates_poses(packed, tmp_path):
    torch.manual_seed(0)
    torch.save(Hopenet().state_dict(), tmp_path / "hopenet.pkl")
    network = load_hopenet(tmp_path / "hopenet.pkl")
    _, packs = packed
    degrees = HeadPoseEstimator(network)(packs.read([0, 3]))
    assert degrees.shape == (2, 3)
    assert ((degrees > -99.1) & (degrees < 96.1)).all()
    assert to_degrees(HeadScores(*[torch.zeros(1, 66)] * 3))[0, 0].item() == pytest.approx(-1.5, abs=1e-4)


def test_five_points_are_kept_in_the_published_order():
    landmarks = [SimpleNamespace(x=number, y=number + 0.5, z=-number, visibility=1) for number in range(33)]
    assert read_points(landmarks)[:, 0].tolist() == [0, 2, 5, 9, 10]
    assert read_points(landmarks)[1].tolist() == [2, 2.5, -2, 1]
    assert np.isnan(read_points(None)).all()


def test_without_mediapipe_or_its_network_it_says_what_to_do(tmp_path):
    there = importlib.util.find_spec("mediapipe") is not None
    with pytest.raises(StageError, match="needs a file" if there else "pip install mediapipe"):
        LandmarkFinder(tmp_path / "none.task")


def write_clip(path, *, sound, rate=44_100):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        noise = container.add_stream("pcm_s16le", rate=rate) if sound else None
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if noise is not None:
            tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(noise.encode(frame))
            container.mux(noise.encode())
    return path


def test_sound_becomes_16_khz_of_one_channel(tmp_path):
    video = write_clip(tmp_path / "a.mkv", sound=True)
    assert write_audio(video, tmp_path / "a.wav") == []
    with wave.open(str(tmp_path / "a.wav")) as stream:
        assert (stream.getframerate(), stream.getnchannels(), stream.getsampwidth()) == (16_000, 1, 2)
        samples = np.frombuffer(stream.readframes(stream.getnframes()), "<i2")
    assert abs(len(samples) - 32_000) <= 16
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * 16_000 / len(samples) == pytest.approx(440, abs=1)


def test_clips_without_sound_are_noted_every_time(tmp_path):
    videos = {
        "a": write_clip(tmp_path / "a.mkv", sound=True),
        "b": write_clip(tmp_path / "b.mkv", sound=False),
    }
    folder = tmp_path / "audio"
    first = write_all_audio(videos, folder)
    assert [(problem.severity, problem.file) for problem in first] == [("warning", "b.mkv")]
    assert sorted(path.name for path in folder.glob("*.wav")) == ["a.wav"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "a.wav.json").unlink()
    assert write_all_audio(videos, folder, workers=2) == first
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(MediaError, match="is not there"):
        write_audio(tmp_path / "none.mp4", tmp_path / "none.wav")
