"""Films of answers: what is drawn where, resumed, veiled, the same bytes; arrows of gaze and their directions."""

from __future__ import annotations

import importlib.util
import json
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from looking_faces import make_tracks, read_golden

from nbpkg.attention.looking import film
from nbpkg.attention.looking.arrows import REACH, Gaze, aim_faces, open_gaze, project_gaze, render_arrow
from nbpkg.attention.looking.film import film_answers
from nbpkg.errors import ExplainError, MediaError, SettingsError, WeightsError
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import PackRecipe, cut_all
from nbpkg.features.looking.packs import CropPacks, read_facts
from nbpkg.features.looking.priors import gather_priors
from nbpkg.features.looking.quality import QUALITY_DTYPE
from nbpkg.features.looking.sources import find_stores
from nbpkg.models.looking.backbone import SmallFaceEncoder
from nbpkg.models.looking.lstm_heads import Gaze360Lstm, angles_to_vectors
from nbpkg.plots.frames import veil
from nbpkg.settings.looking import FaceEvaluationSettings
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.video.convert import Recipe
from nbpkg.video.film import write_film
from nbpkg.video.prepare import prepare_sessions
from nbpkg.video.streamed import stream_film

GREY = 120
ORANGE, BLUE = (230, 159, 0), (0, 114, 178)
CPU = torch.device("cpu")
FULL = partial(veil, privacy="full")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of 8 frames, 240 × 160, prepared half as large; ``c`` is of the challenge and has no film."""
    folder = tmp_path_factory.mktemp("clips")
    for name, shade in (("a:1", GREY), ("b", 60)):
        frames = np.full((8, 160, 240, 3), shade, np.uint8)
        frames[:, 40:120, 30:90] = np.random.default_rng(1).integers(0, 255, (80, 60, 3), dtype=np.uint8)
        write_film(frames, folder / f"{name[0]}.mp4", fps=Fraction(10))
    jobs = [("a:1", folder / "a.mp4"), ("b", folder / "b.mp4")]
    recipe = Recipe(height=80, fps=Fraction(10), width_multiple=2, write_video=False)
    media, _ = prepare_sessions(
        [(name.replace(":", "_"), path) for name, path in jobs], folder / "frames", recipe=recipe, run_folder=folder
    )
    tracks, faces = make_tracks(
        [("a_1", "1:0", list(range(1, 7))), ("a_1", "2", [0, 1, 2, 3]), ("b", "1:0", [2, 3]), ("c", "1", [0])]
    )
    tracks["person"] = ["1", "2", "1", ""]
    for name, values in {"x0": 30, "y0": 60, "x1": 90, "y1": 120}.items():
        faces[name] = values
        faces[name][tracks["offset"][1] :] += 120 if name[0] == "x" else 0
    faces["label"] = np.where(np.arange(len(faces)) < 3, 1, 0)
    faces["label"][6:10] = -1
    cut_all(
        tracks,
        faces,
        find_stores(media, folder, fps="10"),
        folder=folder / "crops",
        recipe=PackRecipe(CropRule(size=32)),
    )
    priors = gather_priors(read_facts(folder / "crops", tracks))
    names = ["a_1", "b", "c"]
    footage = pd.DataFrame({"session": names, "video": names, "split": "test", "labelled": True})
    folds = pd.DataFrame({"session": names, "group": names, "fold": 0, "role": "test"})
    crops, quality = CropPacks(folder / "crops", tracks), np.full(len(faces), np.nan, QUALITY_DTYPE)
    test = FaceMaterial(footage, tracks, faces, priors, quality, crops, folds, None, Fraction(10), "own", folder)
    return test, media, folder


@pytest.fixture(scope="module")
def predictions(clips):
    """Answers for track 1:0 of the first clip but its last face, none for track 2; another system says the contrary."""
    rows = [("own", "a_1", "1:0", frame, 0.9 if frame < 4 else 0.125) for frame in range(1, 6)]
    rows += [("other", "a_1", "1:0", frame, 0.01) for frame in range(1, 7)]
    return pd.DataFrame(rows, columns=["system", "session", "track", "frame", "score"])


def make(clips, predictions, folder, *, privacy="full", **changes):
    test, media, prepared = clips
    settings = FaceEvaluationSettings(**{"films": 1} | changes)
    places = {"prepared": prepared, "data": prepared, "folder": folder, "device": CPU}
    return film_answers(
        predictions, test, media=media, settings=settings, veil=partial(veil, privacy=privacy), **places
    )


def read(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def is_like(pixels, colour):
    return np.abs(pixels - np.asarray(colour)).max(axis=-1) < 40


def line_of(frame, x0, y0, x1, y1):
    """Pixels on both lower corners' sides of a box, where no words stand."""
    return np.concatenate([frame[(y0 + y1) // 2 : y1 - 8, x0], frame[(y0 + y1) // 2 : y1 - 8, x1], frame[y1, x0:x1]])


def test_no_film_without_being_asked_for(clips, predictions, tmp_path):
    made = make(clips, predictions, tmp_path, films=0)
    assert made.empty
    assert list(made) == film.COLUMNS
    assert not list(tmp_path.iterdir())


def test_films_are_of_the_first_clips_that_have_a_video(clips, predictions, tmp_path):
    made = make(clips, predictions, tmp_path, films=9)
    assert made["session"].tolist() == ["a_1", "b"]
    assert made["frames"].tolist() == [8, 8]
    assert made["faces"].tolist() == [10, 2]
    assert made["answered"].tolist() == [5, 0]
    assert made["arrows"].tolist() == [0, 0]
    assert all((tmp_path / name).is_file() for name in made["file"])


def test_boxes_lie_on_faces_in_the_colour_of_the_answer(clips, predictions, tmp_path):
    made = make(clips, predictions, tmp_path)
    frames = read(tmp_path / made["file"][0])
    assert frames.shape == (8, 480, 720, 3)  # 80 pixels high, six times
    box, other = [
        (15 * 6, 30 * 6, 45 * 6, 60 * 6),
        (75 * 6, 30 * 6, 105 * 6, 60 * 6),
    ]  # halved, then six times as large
    for number in range(8):
        lines = line_of(frames[number], *box)
        expected = {0: GREY, 6: None, 7: GREY}.get(number, ORANGE if number < 4 else BLUE)
        if expected in (ORANGE, BLUE):
            assert is_like(lines, expected).mean() > 0.9, number
        else:
            assert not is_like(lines, ORANGE).any()
            assert not is_like(lines, BLUE).any()
    unanswered, nothing = (line_of(frames[number], *other) for number in (2, 5))
    assert (np.abs(unanswered - GREY).max(axis=-1) > 25).mean() > 0.5  # a thin box
    assert (np.abs(nothing - GREY).max(axis=-1) > 25).mean() < 0.05
    thick, thin = frames[2, 300, 84:100], frames[2, 300, 444:460]
    assert is_like(thick, ORANGE).sum() > 1.5 * (np.abs(thin - GREY).max(axis=-1) > 25).sum()


def test_words_say_score_and_annotation(clips, predictions, tmp_path, monkeypatch):
    said = set()
    write = film._write

    def listen(lines, height, looks):
        said.add((lines, looks))
        return write(lines, height, looks)

    monkeypatch.setattr(film, "_write", listen)
    make(clips, predictions, tmp_path)
    assert said == {
        (("0.90 looking", "annotated: looking"), True),
        (("0.12 not looking", "annotated: not looking"), False),
    }


def test_faces_between_two_answers_show_the_one_before(clips, predictions, tmp_path):
    some = predictions[(predictions["frame"] - 1) % 3 == 0]
    assert make(clips, some, tmp_path / "every", stride=1)["answered"].tolist() == [2]
    made = make(clips, some, tmp_path / "third", stride=3)
    assert made["answered"].tolist() == [6]
    frames = read(tmp_path / "third" / made["file"][0])
    colours = [is_like(line_of(frames[number], 90, 180, 270, 360), ORANGE).mean() > 0.9 for number in range(1, 7)]
    assert colours == [True, True, True, False, False, False]


def test_frames_are_veiled_before_anything_is_drawn(clips, predictions, tmp_path):
    shown = {
        how: read(tmp_path / how / make(clips, predictions, tmp_path / how, privacy=how)["file"][0])
        for how in ("full", "pixelated", "none")
    }
    inside = {how: frames[7, 190:350, 100:260] for how, frames in shown.items()}  # nobody is followed in this frame
    assert np.ptp(shown["none"][7]) < 12
    changes = {how: (np.abs(np.diff(part, axis=1)).max(axis=-1) > 12).mean() for how, part in inside.items()}
    assert changes["pixelated"] < 0.05 < changes["full"]
    assert is_like(line_of(shown["none"][2], 90, 180, 270, 360), ORANGE).mean() > 0.9


def test_the_same_again_gives_the_same_bytes_and_finished_films_are_kept(clips, predictions, tmp_path):
    made = make(clips, predictions, tmp_path / "one", films=2)
    again = make(clips, predictions, tmp_path / "two", films=2)
    pd.testing.assert_frame_equal(made, again)
    files = [(tmp_path / "one" / name).read_bytes() for name in made["file"]]
    assert files == [(tmp_path / "two" / name).read_bytes() for name in made["file"]]
    assert files[0] != files[1]
    paths = sorted((tmp_path / "one" / "films").iterdir())
    times = {path: path.stat().st_mtime_ns for path in paths}
    (tmp_path / "one" / made["file"][1]).write_bytes(b"half")
    pd.testing.assert_frame_equal(make(clips, predictions, tmp_path / "one", films=2), made)
    same = [path.stem for path in paths if path.stat().st_mtime_ns == times[path]]
    assert same == [paths[0].stem] * 2
    assert (tmp_path / "one" / made["file"][1]).read_bytes() == files[1]


def test_other_answers_another_veil_and_another_threshold_make_films_anew(clips, predictions, tmp_path):
    first = make(clips, predictions, tmp_path)["file"][0]
    seen = {(tmp_path / first).read_bytes()}
    for changed, how in (
        (predictions.assign(score=predictions["score"] / 2), {}),
        (predictions, {"privacy": "pixelated"}),
        (predictions, {"threshold": 0.05}),
    ):
        make(clips, changed, tmp_path, **how)
        seen.add((tmp_path / first).read_bytes())
    assert len(seen) == 4


def test_predictions_of_one_unknown_system_are_drawn(clips, predictions, tmp_path):
    other = predictions[predictions["system"] == "other"]
    frames = read(tmp_path / make(clips, other, tmp_path)["file"][0])
    assert is_like(line_of(frames[2], 90, 180, 270, 360), BLUE).mean() > 0.9
    assert make(clips, predictions.iloc[:0], tmp_path / "none")["answered"].tolist() == [0]


def fill(network):
    path = Path(__file__).parents[2] / "golden" / "fill.py"
    spec = importlib.util.spec_from_file_location("film_fill", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network.load_state_dict(module.fill_state_dict(network.state_dict()))
    return network


def test_a_gaze_network_of_the_data_folder_draws_arrows(clips, predictions, tmp_path):
    test, media, folder = clips
    network = fill(Gaze360Lstm())
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}},
        folder / "gaze360.pth.tar",
    )
    plain = make(clips, predictions, tmp_path / "plain")
    made = make(clips, predictions, tmp_path / "arrow", arrow="gaze360.pth.tar")
    assert made["arrows"].tolist() == [10]
    without, drawn = (read(tmp_path / name / table["file"][0]) for name, table in (("plain", plain), ("arrow", made)))
    yellow = [is_like(frame, (240, 228, 66)) for frame in drawn]
    assert [bool(one.sum() > 30) for one in yellow] == [True] * 7 + [False]  # in the last frame nobody is followed
    assert not any(is_like(frame, (240, 228, 66)).any() for frame in without)
    assert bool(yellow[2][255:285, 165:195].any())  # from the middle of the first face
    note = json.loads((tmp_path / "arrow" / made["file"][0]).with_suffix(".json").read_text())
    assert note["arrows"] == 10


def test_gaze_networks_elsewhere_missing_or_of_another_kind_are_refused(clips, tmp_path):
    _, _, folder = clips
    with pytest.raises(SettingsError, match="outside"):
        open_gaze("../gaze.pth", folder, device=CPU)
    with pytest.raises(WeightsError):
        open_gaze("nothing.pth", folder, device=CPU)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError):
        open_gaze("odd.pth", tmp_path, device=CPU)


def test_each_face_is_aimed_from_its_own_window(clips):
    test, _, _ = clips
    network = fill(Gaze360Lstm(SmallFaceEncoder(), hidden=8)).eval()
    found = aim_faces(network, test, "a_1", device=CPU, side=32)
    windows = test.list_windows(["a_1"], stride=1, labelled=False)
    assert found.rows.tolist() == windows.row.tolist() == list(range(10))
    from nbpkg.datasets.looking.batches import WindowBatches

    for number in (0, 5, 7):
        batch = WindowBatches(windows, test.crops, test.priors, size=32).make([number])
        with torch.no_grad():
            angles, spread = network(batch.crops[batch.where])
        assert found.angles[number] == pytest.approx(angles[0].numpy(), abs=1e-5)
        assert found.spread[number] == pytest.approx(float(spread[0, 0]), abs=1e-5)
    assert isinstance(found, Gaze)


def test_directions_are_the_published_ones_seen_from_the_camera():
    golden = read_golden("spherical")
    shown = project_gaze(golden["azimuth_elevation_rad"])
    assert shown == pytest.approx(np.array(golden["xyz"])[:, :2] * [1, -1], abs=1e-6)
    angles = np.random.default_rng(0).uniform([-np.pi, -np.pi / 2], [np.pi, np.pi / 2], (200, 2))
    vectors = angles_to_vectors(torch.from_numpy(angles)).numpy()
    assert project_gaze(angles) == pytest.approx(vectors[:, :2] * [1, -1], abs=1e-12)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "side"),
    [(0.9, 0.0, (1, 0)), (-0.9, 0.0, (-1, 0)), (0.0, 0.9, (0, -1)), (0.0, -0.9, (0, 1)), (2.2, 0.0, (1, 0))],
)
def test_arrows_point_where_the_face_looks(azimuth, elevation, side):
    crop = np.full((224, 224, 3), 90, np.uint8)
    out = render_arrow(crop, azimuth, elevation)
    assert (crop == 90).all()
    rows, columns = np.nonzero(is_like(out.astype(int), (240, 228, 66)))
    reach = REACH * 224 * abs(np.sin(azimuth) if side[0] else np.sin(elevation))
    farthest = columns if side[0] else rows
    sign = side[0] or side[1]
    assert (sign * (farthest - 112)).max() == pytest.approx(reach, abs=5)
    assert (sign * (farthest - 112)).min() > -12  # nothing but the dot behind


def test_a_look_into_the_camera_is_a_dot_and_one_away_is_thinner():
    crop = np.full((224, 224, 3), 90, np.uint8)
    counts = [int((render_arrow(crop, azimuth, 0.0) != 90).any(axis=-1).sum()) for azimuth in (0.0, 0.7, np.pi - 0.7)]
    assert 10 < counts[0] < 200
    assert counts[0] < counts[2] < counts[1]


def test_the_ring_grows_with_the_spread():
    crop = np.full((224, 224, 3), 90, np.uint8)
    widths = []
    for spread in (0.1, 0.3, 0.6):
        columns = np.nonzero((render_arrow(crop, 0.0, 0.0, spread=spread) != 90).any(axis=(0, 2)))[0]
        widths.append(np.ptp(columns))
    expected = [2 * REACH * 224 * np.sin(spread) for spread in (0.1, 0.3, 0.6)]
    assert widths == pytest.approx(expected, abs=8)  # with half a line on either side


def test_what_cannot_be_drawn_is_refused():
    crop = np.zeros((8, 8, 3), np.uint8)
    for wrong in (crop[..., 0], crop.astype(float), crop[:0]):
        with pytest.raises(ExplainError):
            render_arrow(wrong, 0.0, 0.0)
    for angles in ((np.nan, 0.0, 0.0), (0.0, np.inf, 0.0), (0.0, 0.0, -1.0)):
        with pytest.raises(ExplainError):
            render_arrow(crop, angles[0], angles[1], spread=angles[2])


def test_long_films_are_written_frame_by_frame(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (5, 31, 45, 3), dtype=np.uint8)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), 6) for frame in frames])
    one = stream_film(iter(smooth), tmp_path / "one.mp4", fps=Fraction(30000, 1001))
    two = stream_film(list(smooth), tmp_path / "two.mp4", fps=Fraction(30000, 1001))
    assert one.read_bytes() == two.read_bytes()
    found = read(one)
    assert found.shape == (5, 32, 46, 3)
    assert np.abs(found[:, :31, :45] - smooth).mean() < 4
    with av.open(str(one)) as container:
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    with pytest.raises(MediaError, match="no frame"):
        stream_film([], tmp_path / "none.mp4", fps=Fraction(5))
    with pytest.raises(MediaError, match="Frame 1"):
        stream_film([frames[0], frames[0, :20]], tmp_path / "odd.mp4", fps=Fraction(5))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.mp4", "two.mp4"]
