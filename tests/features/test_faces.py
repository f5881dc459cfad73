"""Faces second by second: time never moves, boxes of every form, and networks by name."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import torchvision

from nbpkg.errors import AnnotationError, MediaError, SettingsError, WeightsError
from nbpkg.features.boxes import FaceBoxes, FaceDetector, Region, crop, half_of, read_boxes
from nbpkg.features.embed import NETWORKS, Embedder
from nbpkg.features.faces import face_seconds, fill_missed
from nbpkg.features.reference import reference_average, reference_trim
from nbpkg.features.rows import missing_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "valence_fusion"
LEFT, RIGHT = (0.0, 0.0, 32.0, 48.0), (32.0, 0.0, 64.0, 48.0)


class Grey:
    """Describes a crop by its mean grey, which the films below use to tell the frame and the side."""

    width, batch = 2, 7

    def names(self) -> list[str]:
        return ["grey", "one"]

    def __call__(self, crops) -> np.ndarray:
        return np.array([[part.mean(), 1] for part in crops], dtype=np.float32)


def write_film(path: Path, levels: list[tuple[int, int]], *, fps: int = 25) -> Path:
    """A film whose halves have given grey levels, kept without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for number, (left, right) in enumerate(levels):
            picture = np.full((48, 64, 3), left, np.uint8)
            picture[:, 32:] = right
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def film(tmp_path) -> Path:
    """70 frames; the left half is as bright as the frame's number, the right 100 brighter."""
    return write_film(tmp_path / "film.mkv", [(number, 100 + number) for number in range(70)])


def test_seconds_are_means_of_their_own_frames_for_both_sides(film):
    found = face_seconds(film, {"actor": Region(LEFT), "listener": Region(RIGHT)}, embed=Grey())
    np.testing.assert_allclose(found["actor"].rows[:, 0], [12, 37, 59.5], atol=1e-4)
    np.testing.assert_allclose(found["listener"].rows[:, 0], [112, 137, 159.5], atol=1e-4)
    assert found["actor"].names == ["grey", "one"]
    assert found["actor"].problems == []


def test_missed_faces_move_nothing(film):
    boxes = FaceBoxes({number: [LEFT] for number in range(70) if number % 2 and not 25 <= number < 50})
    found = face_seconds(film, {"a": boxes}, embed=Grey())["a"]
    assert missing_rows(found.rows).tolist() == [False, True, False]
    np.testing.assert_allclose(found.rows[[0, 2], 0], [12, 60], atol=1e-4)
    assert [(problem.severity, problem.what[-3:]) for problem in found.problems] == [("warning", " 1.")]
    filled = face_seconds(film, {"a": boxes}, embed=Grey(), missed="interpolate")["a"]
    np.testing.assert_allclose(filled.rows[:, 0], [12, 36, 60], atol=1e-4)
    assert "interpolated: 1." in filled.problems[0].what
    assert filled.problems[0].severity == "repaired"


def test_no_face_at_all_stays_missing(film):
    found = face_seconds(film, {"a": FaceBoxes({})}, embed=Grey(), missed="interpolate")["a"]
    assert np.isnan(found.rows).all()
    assert "missing: 0, 1, 2" in found.problems[0].what


def test_every_nth_frame_and_the_largest_of_several(film):
    small = (40.0, 0.0, 50.0, 10.0)
    boxes = FaceBoxes({number: [small, LEFT] if number == 5 else [LEFT] for number in range(70)})
    found = face_seconds(film, {"a": boxes}, embed=Grey(), every=5)["a"]
    np.testing.assert_allclose(found.rows[:, 0], [10, 35, 57.5], atol=1e-4)
    assert "In 1 frames there are several faces" in found.problems[0].what


def test_a_film_of_another_rate_is_laid_on_the_annotation_by_time(tmp_path):
    film = write_film(tmp_path / "fast.mkv", [(number, 0) for number in range(100)], fps=50)
    found = face_seconds(film, {"a": Region(LEFT)}, embed=Grey())["a"]
    assert len(found.rows) == 2
    np.testing.assert_allclose(found.rows[:, 0], [24.5, 74.5], atol=0.6)
    halves = face_seconds(film, {"a": Region(LEFT)}, embed=Grey(), seconds=0.4)["a"]
    assert len(halves.rows) == 5
    with pytest.raises(SettingsError, match=r"0\.5 s cannot be made of 25"):
        face_seconds(film, {"a": Region(LEFT)}, embed=Grey(), seconds=0.5)


def test_gaps_are_bridged_and_ends_repeated():
    rows, filled = fill_missed(np.array([[1, 10], [np.nan] * 2, [np.nan] * 2, [4, 40]], np.float32))
    np.testing.assert_allclose(rows, [[1, 10], [2, 20], [3, 30], [4, 40]], rtol=1e-6)
    assert filled == [1, 2]


@pytest.mark.parametrize("video", [f"Subject_{number}_Story_3" for number in (1, 2, 3, 4)])
def test_golden_published_averaging(video):
    with np.load(GOLDEN / "visual_average_open.npz", allow_pickle=False) as file:
        golden = dict(file)
    lines = str(golden["frames_count_txt"]).split("\n")
    counts = {line.split(".csv - ")[0]: int(line.split()[2]) for line in lines if line.strip()}
    means = reference_average(golden[f"in/{video}"])
    assert means.shape == golden[f"avg/{video}"].shape
    np.testing.assert_allclose(means, golden[f"avg/{video}"], atol=1e-6)
    final = reference_trim(means, counts[video])
    assert final.shape == golden[f"final/{video}"].shape
    np.testing.assert_allclose(final, golden[f"final/{video}"], atol=1e-6)


def test_boxes_of_a_csv(tmp_path):
    lines = ["session,frame,side,x0,y0,x1,y1", "s1,0,listener,1,2,9,8", "s1,0,Subject,0,0,4,4", "s1,3,actor,5,5,7,7",
             "s2,1,listener,1,1,2,2", "s1,4,subject,5,5,5,9"]  # fmt: skip
    (tmp_path / "b.csv").write_text("\n".join(lines))
    found, problems = read_boxes(tmp_path / "b.csv", session="s1", side="listener")
    assert found.by_frame == {0: [(1, 2, 9, 8), (0, 0, 4, 4)], 4: []}
    assert "1 boxes without area" in problems[0].what
    assert read_boxes(tmp_path / "b.csv", session="s1", side="actor")[0].by_frame == {3: [(5, 5, 7, 7)]}


def test_broken_boxes_are_all_named(tmp_path):
    (tmp_path / "b.csv").write_text(
        "frame,side,x0,y0,x1,y1\n0,nobody,1,2,9,8\n1.5,actor,1,2,9,8\n1,actor,a,2,9,8\n2,actor,1,2,9,8\n"
    )
    with pytest.raises(AnnotationError, match=r"3 problems(.|\n)*row 2(.|\n)*row 3(.|\n)*row 4"):
        read_boxes(tmp_path / "b.csv", session="s", side="actor")
    (tmp_path / "c.csv").write_text("frame,x0\n1,2\n")
    with pytest.raises(AnnotationError, match="Columns side, y0, x1, y1 are missing"):
        read_boxes(tmp_path / "c.csv", session="s", side="actor")
    with pytest.raises(AnnotationError, match="no face boxes"):
        read_boxes(tmp_path / "none.csv", session="s", side="actor")


def test_published_boxes_count_from_one_and_are_told_apart_by_their_right_end(tmp_path):
    def face(top, right, bottom, left):
        return {"frame_name": "x", "face_no": 1, "face_boundary": [top, right, bottom, left], "landmarks": {}}

    (tmp_path / "00001.json").write_text(json.dumps([face(10, 1200, 60, 1150), face(20, 1080, 70, 900)]))
    (tmp_path / "00010.json").write_text("[]")
    listener, _ = read_boxes(tmp_path, session="s", side="listener")
    assert listener.by_frame == {0: [(1150, 10, 1200, 60)], 9: []}
    assert read_boxes(tmp_path, session="s", side="actor")[0].by_frame == {0: [(900, 20, 1080, 70)], 9: []}
    (tmp_path / "last.json").write_text("[]")
    (tmp_path / "00003.json").write_text('{"a": 1}')
    with pytest.raises(AnnotationError, match="2 problems"):
        read_boxes(tmp_path, session="s", side="actor")


def test_halves_of_the_corpus_picture_and_crops_inside_it():
    assert half_of("actor", (2560, 720)) == (0, 0, 1080, 720)
    assert half_of("listener", (2560, 720)) == (1080, 0, 2560, 720)
    with pytest.raises(SettingsError, match="640 columns"):
        half_of("listener", (640, 360))
    picture = np.zeros((20, 30, 3), np.uint8)
    part, corner = crop(picture, (-5, 2.5, 10.2, 99))
    assert part.shape == (18, 11, 3)
    assert corner == (0, 2)
    with pytest.raises(MediaError, match="outside"):
        crop(picture, (30, 0, 40, 9))


def test_a_detector_that_is_none_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"yunet\.onnx"):
        FaceDetector(tmp_path / "yunet.onnx", LEFT)
    (tmp_path / "yunet.onnx").write_text("no network")
    with pytest.raises(WeightsError, match="no face detector that OpenCV can load"):
        FaceDetector(tmp_path / "yunet.onnx", LEFT)


def test_a_network_describes_crops_of_any_size_the_same_in_any_batch(tmp_path):
    crops = [np.random.default_rng(size).integers(0, 255, (size, size + 5, 3), dtype=np.uint8) for size in (9, 40, 70)]
    embed = Embedder("resnet18", size=48, batch=2)
    rows = embed(crops)
    assert rows.shape == (3, 512)
    assert len(embed.names()) == embed.width == 512
    np.testing.assert_allclose(Embedder("resnet18", size=48)(crops[2:]), rows[2:], rtol=1e-4, atol=1e-5)
    assert not np.allclose(Embedder("resnet18", size=48, seed=1)(crops), rows)
    assert embed([]).shape == (0, 512)

    network = torchvision.models.resnet18(num_classes=7).eval()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    own = Embedder("resnet18", str(tmp_path / "own.pth"), size=48)
    network.fc = torch.nn.Identity()
    pictures = torch.stack([own._to_input(part) for part in crops])
    with torch.inference_mode():
        np.testing.assert_allclose(own(crops), network(pictures), rtol=1e-4, atol=1e-5)
    with pytest.raises(WeightsError, match="resnet34 without its last layer"):
        Embedder("resnet34", str(tmp_path / "own.pth"))


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith(("vgg", "resnet", "convnext"))])
def test_every_network_loses_only_its_last_layer(name):
    embed = Embedder(name, size=64)
    assert embed([np.zeros((8, 8, 3), np.uint8)]).shape == (1, embed.width)


def test_networks_weights_and_sizes_that_do_not_exist():
    with pytest.raises(SettingsError, match="no network 'resnet19'"):
        Embedder("resnet19")
    with pytest.raises(SettingsError, match=r"none, imagenet, IMAGENET1K_V1"):
        Embedder("resnet18", "kinetics")
    with pytest.raises(SettingsError, match="crops of 112 pixels"):
        Embedder("vgg_face", size=112)
    with pytest.raises(SettingsError, match="vgg_face has no weights 'imagenet'"):
        Embedder("vgg_face", "imagenet")
