"""Preparing videos: the golden frame choice, odd sources, resuming, and clear words when it cannot work."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg import tables
from nbpkg.errors import SettingsError, StageError
from nbpkg.video.convert import Recipe, count_frames, select_frames, target_size
from nbpkg.video.frames import FrameStore
from nbpkg.video.prepare import estimate_bytes, prepare_sessions
from nbpkg.video.probe import probe

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden/infant_engagement/video_downsample_open.json").read_text(encoding="utf-8")
)
FAST = Recipe(preset="ultrafast")


def prepare_one(source: Path, folder: Path, recipe: Recipe = FAST) -> FrameStore:
    media, problems = prepare_sessions([("s", source)], folder, recipe=recipe)
    assert problems == []
    assert len(media) == 1
    return FrameStore(folder / "s")


def watch(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("case", GOLDEN)
def test_golden_frames_and_size(case, video, number, tmp_path):
    source, output = GOLDEN[case]["source"], GOLDEN[case]["output"]
    path = video(
        tmp_path / f"{case}.mp4", source["frames"], fps=source["fps"], size=(source["height"], source["width"])
    )
    store = prepare_one(path, tmp_path / "out")
    assert list(store.shape) == output["shape_THWC"]
    assert [number(frame) for frame in store.frames(range(len(store)))] == output["source_frame_index_per_output_frame"]
    film = watch(tmp_path / "out/s/video.mp4")
    assert [number(frame) for frame in film] == output["source_frame_index_per_output_frame"]
    with av.open(str(tmp_path / "out/s/video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.codec_context.pix_fmt) == (Fraction(25, 8), "yuv420p")
        assert not container.streams.audio


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(25, [3, 11, 19]), (50, [7, 23, 39]), (30, [4, 14, 23, 33]), (10, [1, 4, 7, 11])],
)
@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_rates_as_the_reference_chooses(fps, expected, ending, video, number, tmp_path):
    path = video(tmp_path / f"a.{ending}", fps * 2, fps=fps, codec="mjpeg" if ending == "avi" else "libx264")
    store = prepare_one(path, tmp_path / "out")
    assert [number(frame) for frame in store.frames(range(len(expected)))] == expected


@given(
    gaps=st.lists(st.integers(1, 900), min_size=1, max_size=60),
    fps=st.fractions(Fraction(1, 2), 30, max_denominator=9),
)
def test_choice_is_the_rule_spelled_out(gaps, fps):
    times = [Fraction(time, 1000) for time in np.cumsum([0, *gaps]).tolist()]
    count = count_frames(times[-1], fps)
    chosen = list(select_frames(zip(times, range(len(times)), strict=True), fps=fps, count=count))
    assert chosen == [max(i for i, t in enumerate(times) if t < (k + Fraction(1, 2)) / fps) for k in range(count)]


def test_variable_rate_follows_time_stamps(video, number, tmp_path):
    times = [0, 40, 80, 500, 520, 540, 1500, 1540, 2400, 2440]
    path = video(tmp_path / "a.mkv", len(times), times_ms=times)
    assert probe(path).variable_rate
    store = prepare_one(path, tmp_path / "out")
    middles = [(k + 0.5) * 320 for k in range(len(store))]
    assert [number(f) for f in store.frames(range(len(store)))] == [
        max(i for i, time in enumerate(times) if time < middle) for middle in middles
    ]


def test_start_later_than_zero_counts_from_the_files_start(video, number, tmp_path):
    both_late = video(tmp_path / "a.ts", 50, start_ms=2000)  # MPEG-TS starts wherever the clock was
    assert probe(both_late).start > 1
    assert probe(both_late).delay == 0
    assert [number(f) for f in prepare_one(both_late, tmp_path / "one").frames(range(3))] == [3, 11, 19]
    picture_late = video(tmp_path / "b.mkv", 50, start_ms=1000, sound=True)
    assert probe(picture_late).delay == 1
    store = prepare_one(picture_late, tmp_path / "two")
    # Sound runs from 0:00, the picture from 0:01: until then its first frame stands.
    assert [number(f) for f in store.frames(range(6))] == [0, 0, 0, 2, 10, 18]
    assert len(store) == 9  # 3 s * 25/8 = 9.375


@pytest.mark.parametrize(("clockwise", "flag"), [(90, 270), (180, 180), (270, 90)])
def test_rotation_flag_is_applied(clockwise, flag, video, tmp_path):
    def corner(_number: int, size: tuple[int, int]) -> np.ndarray:
        picture = np.full((*size, 3), 30, np.uint8)
        picture[: size[0] // 2, : size[1] // 2] = 225
        return picture

    path = video(tmp_path / "a.mp4", 10, size=(96, 128), rotation=clockwise, draw=corner)
    facts = probe(path)
    assert facts.rotation == flag
    store = prepare_one(path, tmp_path / "out")
    frame = store.frames([0])[0]
    expected = np.rot90(corner(0, (96, 128)), -clockwise // 90)
    assert (frame.shape[0] < frame.shape[1]) == (expected.shape[0] < expected.shape[1])
    for row, column in [(1, 1), (1, -2), (-2, 1), (-2, -2)]:
        assert abs(int(frame[row, column, 0]) - int(expected[row, column, 0])) < 20
    assert target_size(facts, Recipe(upright=False)) == (160, 208)


def test_pixel_aspect_counts_unless_told_otherwise(video, tmp_path):
    path = video(tmp_path / "a.mp4", 10, size=(576, 720), pixel_aspect=Fraction(64, 45))
    assert probe(path).pixel_aspect == Fraction(64, 45)
    assert prepare_one(path, tmp_path / "wide").shape[1:] == (160, 288, 3)
    assert prepare_one(path, tmp_path / "reference", Recipe(square_pixels=False)).shape[1:] == (160, 208, 3)
    with av.open(str(tmp_path / "reference/s/video.mp4")) as container:  # people see 16:9 all the same
        stream = container.streams.video[0]
        assert Fraction(stream.sample_aspect_ratio) * 208 / 160 == Fraction(16, 9)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((720, 1280), 288), ((576, 720), 208), ((480, 640), 208), ((288, 352), 192), ((160, 200), 208), ((400, 10), 16)],
)
def test_width_is_the_nearest_multiple_ties_up(size, expected, video, tmp_path):
    path = video(tmp_path / "a.mp4", 1, size=size)
    assert target_size(probe(path), Recipe()) == (160, expected)


def test_colours_survive(video, tmp_path):
    def red(_number: int, size: tuple[int, int]) -> np.ndarray:
        return np.full((*size, 3), (200, 60, 40), np.uint8)

    store = prepare_one(video(tmp_path / "a.mp4", 10, draw=red), tmp_path / "out")
    assert np.abs(store.frames([0])[0].astype(int) - (200, 60, 40)).max() < 12
    film = watch(tmp_path / "out/s/video.mp4")[0]
    assert np.abs(film.astype(int) - (200, 60, 40)).max() < 12


def test_many_sessions_in_processes_give_the_same_bytes_as_one_by_one(video, tmp_path):
    names = ["Zoë – 1", "mit leer zeichen", "c"]
    jobs = [(name, video(tmp_path / f"{name}.mp4", 40 + 10 * i, sound=True)) for i, name in enumerate(names)]
    one, _ = prepare_sessions(jobs, tmp_path / "one", recipe=FAST, sources=tmp_path, run_folder=tmp_path)
    two, _ = prepare_sessions(jobs, tmp_path / "two", recipe=FAST, workers=2, sources=tmp_path)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert len(hashes(tmp_path / "one")) == 12
    assert list(one["session"]) == names == list(two["session"])
    assert list(one["store"]) == [f"one/{name}" for name in names]
    assert list(two["video"]) == [f"{name}/video.mp4" for name in names]
    assert list(one["source"]) == [f"{name}.mp4" for name in names]
    tables.check(one, "media")
    assert (one[["source_frames", "duration_ms"]].to_numpy() == [[40, 1600], [50, 2000], [60, 2400]]).all()


def test_finished_sessions_are_left_alone_and_only_what_changed_is_made(video, tmp_path):
    jobs = [(name, video(tmp_path / f"{name}.mp4", 30)) for name in "abcd"]
    out = tmp_path / "out"
    prepare_sessions(jobs, out, recipe=FAST)
    before, first = {p: p.stat().st_mtime_ns for p in out.rglob("*.npy")}, hashes(out)
    video(tmp_path / "a.mp4", 31)  # another source
    damaged = (out / "b/frames.npy").read_bytes()
    (out / "b/frames.npy").write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))  # one bit flipped
    (out / "c/manifest.json").write_text("{", encoding="utf-8")
    (out / ".c.77.partial").mkdir()  # left by a killed run
    media, problems = prepare_sessions(jobs, out, recipe=FAST)
    fresh = {p.parent.name for p, time in before.items() if p.stat().st_mtime_ns != time}
    assert fresh == {"a", "b", "c"}
    assert problems == []
    assert media["source_frames"].tolist() == [31, 30, 30, 30]
    changed = {name for name, value in hashes(out).items() if first[name] != value}
    assert {Path(name).parent.name for name in changed} == {"a"}
    prepare_sessions(jobs, out, recipe=Recipe(preset="ultrafast", crf=30))
    assert json.loads((out / "d/manifest.json").read_text(encoding="utf-8"))["recipe"]["crf"] == 30
    assert not list(out.glob(".*"))


def test_problems_of_all_sources_are_collected_and_the_good_one_is_made(video, sound, tmp_path):
    (tmp_path / "text.mp4").write_text("My notes", encoding="utf-8")
    (tmp_path / "empty.mp4").touch()
    sound(tmp_path / "sound.mp4")
    cut = video(tmp_path / "cut.mkv", 400, size=(480, 640))
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    video(tmp_path / "good.mp4", 30)
    names = ["text.mp4", "empty.mp4", "sound.mp4", "cut.mkv", "missing.mp4", "good.mp4"]
    jobs = [(name.split(".")[0], tmp_path / name) for name in names]
    media, problems = prepare_sessions(jobs, tmp_path / "out", recipe=FAST, workers=2)
    assert media["session"].tolist() == ["good"]
    assert {problem.file for problem in problems} == set(names) - {"good.mp4"}
    assert all(problem.severity == "error" and problem.remedy for problem in problems)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good"]


@pytest.mark.parametrize(("codec", "ending", "said"), [("libx264", "mp4", "decoded"), ("mpeg4", "avi", "damaged")])
def test_damaged_packets_are_reported_as_repaired(codec, ending, said, video, tmp_path):
    path = video(tmp_path / f"a.{ending}", 50, codec=codec, size=(480, 640))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start, size = places[30]
    data[start + size // 2 : start + size] = b"U" * (size - size // 2)
    path.write_bytes(data)
    media, problems = prepare_sessions([("a", path)], tmp_path / "out", recipe=FAST)
    assert len(media) == 1
    assert [problem.severity for problem in problems] == ["repaired"]
    assert "of 50 frames " in problems[0].what
    assert said in problems[0].what
    again = prepare_sessions([("a", path)], tmp_path / "out", recipe=FAST)[1]
    assert again == problems  # a finished session still says so


def test_jpeg_store_looks_like_raw_and_the_estimate_holds(video, number, tmp_path):
    path = video(tmp_path / "a.mp4", 100)
    raw = prepare_one(path, tmp_path / "raw")
    jpeg = prepare_one(path, tmp_path / "jpeg", Recipe(encoding="jpeg", preset="ultrafast", write_video=False))
    assert raw.shape == jpeg.shape
    assert not (tmp_path / "jpeg/s/video.mp4").exists()
    difference = raw.frames(range(len(raw))).astype(int) - jpeg.frames(range(len(raw)))
    assert np.sqrt((difference**2).mean()) < 4
    recipe = Recipe(write_video=False)
    assert abs(estimate_bytes(probe(path), recipe) - raw.header.bytes) < 5000


def test_folder_that_cannot_be_written_is_named(video, tmp_path):
    path = video(tmp_path / "a.mp4", 10)
    with pytest.raises(StageError, match=r"A file lies where a folder is needed(.|\n)*a\.mp4"):
        prepare_sessions([("a", path)], path / "out", recipe=FAST)
    if os.geteuid() == 0 and Path("/sys").is_dir():
        with pytest.raises(StageError, match=r"cannot be written(.|\n)*/sys"):
            prepare_sessions([("a", path)], Path("/sys/out"), recipe=FAST)


def test_disk_that_runs_full_is_one_clear_error_and_leaves_nothing(video, tmp_path):
    """A limit on file size stands for the full disk: the system refuses the same writes in the same way."""
    path = video(tmp_path / "a.mp4", 100)
    code = (
        "import sys; from pathlib import Path\n"
        "from nbpkg.video.convert import Recipe; from nbpkg.video.prepare import prepare_sessions\n"
        "from nbpkg.errors import StageError\n"
        "try: prepare_sessions([('a', Path(sys.argv[1]))], Path(sys.argv[2]), recipe=Recipe())\n"
        "except StageError as error: print(error)"
    )
    limit = 200_000
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "cannot be written" in done.stdout
    assert str(tmp_path / "out") in done.stdout
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_too_little_room_is_said_before_anything_is_written(video, tmp_path):
    path = video(tmp_path / "a.mp4", 100)
    huge = Recipe(height=100_000, fps=Fraction(1000), write_video=False)
    with pytest.raises(StageError, match=r"need about [\d,]+ MB(.|\n)*out"):
        prepare_sessions([("a", path)], tmp_path / "out", recipe=huge)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a\\b", "a\nb", "a."])
def test_session_that_is_no_folder_name_is_refused(name, tmp_path):
    with pytest.raises(StageError, match="cannot be the name of a folder"):
        prepare_sessions([(name, tmp_path)], tmp_path, recipe=FAST)


def test_session_twice_is_refused(tmp_path):
    with pytest.raises(StageError, match="'A' occurs twice"):
        prepare_sessions([("a", tmp_path), ("A", tmp_path)], tmp_path, recipe=FAST)


@pytest.mark.parametrize(
    "wrong", [{"height": 161}, {"fps": Fraction(0)}, {"crf": 52}, {"encoding": "png"}, {"jpeg_quality": 0}]
)
def test_recipe_that_cannot_be_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Recipe(**wrong)


@settings(max_examples=200)
@given(duration=st.fractions(0, 4000, max_denominator=90_000))
def test_number_of_frames_is_rounded_half_up(duration):
    exact = duration * Fraction(25, 8)
    assert abs(count_frames(duration, Fraction(25, 8)) - exact) <= Fraction(1, 2) or exact < Fraction(1, 2)
    assert count_frames(Fraction(52, 5), Fraction(25, 8)) == 33  # 32.5


@pytest.mark.skipif("NBPKG_REAL_DATA" not in os.environ, reason="NBPKG_REAL_DATA does not name a folder")
def test_real_clip(tmp_path):
    path = Path(os.environ["NBPKG_REAL_DATA"]) / "clip.mp4"
    facts = probe(path)
    assert (facts.codec, facts.fps, facts.frames, facts.has_sound) == ("h264", 30, 300, False)
    store = prepare_one(path, tmp_path / "out")
    assert len(store) == 31  # 31.25
    assert store.frames([10]).std() > 10
