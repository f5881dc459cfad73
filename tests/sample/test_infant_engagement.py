"""The made-up infant-engagement data: complete, readable, repeatable, and never in the way of other files."""

import hashlib
import json
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pympi
import pytest

from nbpkg.errors import StageError
from nbpkg.sample.infant_engagement import make_sample
from nbpkg.sample.plan import RATERS, TASKS, VARIABLES, assignments, plan
from nbpkg.sample.raters import rate
from nbpkg.sample.scene import HEIGHT, WIDTH
from nbpkg.sample.states import STEP_MS, draw_course, state_spans

SMALL = {"sessions": 5, "task_seconds": 6.0}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "sample"
    make_sample(folder, seed=3, workers=1, **SMALL)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decode(path: Path) -> tuple[list[float], list[int], tuple[int, int]]:
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.rotation, (frame.width, frame.height)) for frame in container.decode(video=0)]
    times, rotations, sizes = zip(*frames, strict=True)
    return list(times), list(rotations), sizes[0]


def test_all_files_are_there_and_recorded(sample):
    table = plan(3, 5)
    found = hashes(sample)
    record = json.loads((sample / "sample.json").read_text())
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        name: digest for name, digest in found.items() if name != "sample.json"
    }
    assert {name for name in found if name.startswith("video/")} == {f"video/{name}.mp4" for name in table["session"]}
    rated = {tuple(Path(name).stem.split("_")[:2]) for name in found if name.endswith(".eaf")}
    assert rated == {(row.session, rater) for row in table.itertuples() for rater in row.raters.split()}
    sessions = pd.read_csv(sample / "sessions.csv", dtype=str, keep_default_na=False)
    assert sessions.columns.tolist() == ["session", "child", "experimenter", "note"]
    assert "truth/slips.csv" in found
    assert not list(sample.parent.glob(".*"))


def test_same_seed_gives_same_bytes_with_any_number_of_workers(sample, tmp_path):
    make_sample(tmp_path / "again", seed=3, workers=2, **SMALL)
    assert hashes(tmp_path / "again") == hashes(sample)


def test_finished_sample_is_left_alone_and_damaged_one_is_made_again(tmp_path):
    folder = tmp_path / "sample"
    settings = {"seed": 1, "sessions": 3, "task_seconds": 5.0, "workers": 1}
    make_sample(folder, **settings)
    film = folder / "video" / "s01.mp4"
    before = film.stat().st_mtime_ns
    make_sample(folder, **settings)
    assert film.stat().st_mtime_ns == before

    whole = film.read_bytes()
    film.write_bytes(whole[:1000])
    (folder / "painted").mkdir(exist_ok=True)
    (folder / "painted" / "strokes.jsonl").write_text("{}\n")
    make_sample(folder, **settings)
    assert film.read_bytes() == whole
    assert (folder / "painted" / "strokes.jsonl").exists()


def test_foreign_files_are_never_overwritten(tmp_path):
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "sessions.csv").write_text("mine")
    with pytest.raises(StageError, match=r"sessions\.csv"):
        make_sample(folder, seed=1, sessions=3, task_seconds=5.0, workers=1)
    assert (folder / "sessions.csv").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_films_decode_as_planned(sample):
    for row in plan(3, 5).itertuples():
        times, rotations, size = decode(sample / "video" / f"{row.session}.mp4")
        course = draw_course(3, row.session, task_seconds=6.0)
        assert times[0] == 0
        assert abs(times[-1] - course.seconds) < 0.15
        turned = row.video == "rotated"
        assert set(rotations) == ({-90} if turned else {0})
        assert size == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
        steps = np.diff(times)
        if row.video == "variable":
            assert np.ptp(steps) > 0.01
            assert (steps > 0).all()
        else:
            assert np.allclose(steps, 1 / row.fps, atol=1e-3)


def test_films_have_sound(sample):
    with av.open(str(sample / "video" / "s01.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        loudness = [np.abs(frame.to_ndarray()).max() for frame in container.decode(audio=0)]
    assert max(loudness) > 0.1


def test_annotation_files_are_valid_elan(sample):
    ends = {
        row.session: draw_course(3, row.session, task_seconds=6.0).seconds * 1000 for row in plan(3, 5).itertuples()
    }
    for path in sorted((sample / "engagement").glob("*.eaf")):
        session, rater, day = path.stem.split("_")
        assert "20240108" <= day <= "20240301"
        document = pympi.Eaf(str(path))
        assert document.media_descriptors[0]["RELATIVE_MEDIA_URL"] == f"../video/{session}.mp4"
        assert document.header["TIME_UNITS"] == "milliseconds"
        assert {"task", *VARIABLES} <= set(document.get_tier_names()) <= {"task", *VARIABLES, "ignore", "default"}
        spoken = [value.strip().lower() for _, _, value, *_ in document.get_annotation_data_for_tier("task")]
        assert [value.replace("eggs", "egg") for value in spoken] == ["people", "egg", "drums"]
        for variable in VARIABLES:
            for start_ms, end_ms, *_ in document.get_annotation_data_for_tier(variable):
                assert 0 <= start_ms < end_ms <= ends[session]
        assert "/work" not in path.read_text()
        assert "/tmp" not in path.read_text()


def test_slips_are_in_the_files(sample):
    slips = pd.read_csv(sample / "truth" / "slips.csv")
    assert len(slips) >= 5
    for slip in slips.itertuples():
        document = pympi.Eaf(str(sample / "engagement" / slip.file))
        marks = {(start_ms, value) for start_ms, _, value, *_ in document.get_annotation_data_for_tier(slip.tier)}
        assert (slip.start_ms, slip.written) in marks or slip.kind.endswith("overlap")


def test_true_states_cover_the_games(sample):
    states = pd.read_csv(sample / "truth" / "states.csv", keep_default_na=False)
    for session, rows in states.groupby("session"):
        course = draw_course(3, session, task_seconds=6.0)
        for game in course.games:
            spans = rows[rows["task"] == game.task]
            assert spans["start_ms"].iloc[0] == game.start_ms
            assert spans["end_ms"].iloc[-1] == game.end_ms
            assert (spans["start_ms"].iloc[1:].to_numpy() == spans["end_ms"].iloc[:-1].to_numpy()).all()
    assert set(states["attending"]) <= {"no", "attending", "excited"}
    assert set(states["participating"]) <= {"no", "self", "joint"}


def test_regions_lie_in_the_picture(sample):
    for path in (sample / "truth").glob("*_regions.csv"):
        regions = pd.read_csv(path)
        assert set(regions["region"]) == {"head", "hands", "toy"}
        assert (regions[["x0", "y0"]] >= 0).all(axis=None)
        assert (regions["x1"] <= WIDTH).all()
        assert (regions["y1"] <= HEIGHT).all()
        assert (regions["x0"] < regions["x1"]).all()
        assert (regions["y0"] < regions["y1"]).all()
        assert (regions["end_ms"] - regions["start_ms"] == 200).all()


@pytest.mark.parametrize("video", ["constant", "rotated"])
def test_pictures_change_where_the_regions_say_once_upright(sample, video):
    """In the child's half, nearly all change is in the boxes of head, hands and toys."""
    session = plan(3, 5).set_index("video").loc[[video], "session"].iloc[0]
    regions = pd.read_csv(sample / "truth" / f"{session}_regions.csv")
    with av.open(str(sample / "video" / f"{session}.mp4")) as container:
        frames = {
            round(frame.time * 1000): np.rot90(frame.to_ndarray(format="gray"), frame.rotation // 90)
            for frame in container.decode(video=0)
        }
    inside, outside = [], []
    for start_ms in range(6000, 14_000, 400):
        change = np.abs(frames[start_ms + 160].astype(int) - frames[start_ms].astype(int))[:, : WIDTH // 2]
        mask = np.zeros(change.shape, bool)
        for box in regions[regions["start_ms"] == start_ms].itertuples():
            mask[box.y0 : box.y1, box.x0 : box.x1] = True
        inside.append(change[mask].mean())
        outside.append(change[~mask].mean())
    assert np.mean(inside) > 4 * np.mean(outside)


def test_full_plan_has_what_the_study_needs():
    table = plan(0)
    assert len(table) == 20
    assert (table["experimenter"] == "e2").sum() >= 5
    assert table["child"].nunique() == 19
    assert sorted(zip(table["fps"], table["video"], strict=True))[-2:] == [(30, "constant"), (50, "constant")]
    assert {"variable", "rotated"} <= set(table["video"])
    assert table["date"].between("20240108", "20240229").all()
    counts = table["raters"].str.split().str.len()
    assert set(counts) == {2, 3}


def test_assignments_do_not_depend_on_the_seed():
    assert assignments(plan(0)) == assignments(plan(99))


@pytest.mark.parametrize("sessions", [3, 4, 5, 6, 20])
def test_some_test_fold_lacks_each_rater_once(sessions):
    table = plan(0, sessions).set_index("session")["raters"].str.split()
    size = min(sessions, 4)

    def serves_all(fold):
        return all(any(rater not in table[session] for session in fold) for rater in RATERS)

    assert any(serves_all(fold) for fold in combinations(table.index, size))


def test_too_few_sessions_are_refused():
    with pytest.raises(StageError, match="2 sessions"):
        plan(0, 2)


def unrolled(marks, variable, steps):
    course = np.zeros(steps, bool)
    for mark in marks:
        if mark.tier == variable:
            course[mark.start_ms // STEP_MS : mark.end_ms // STEP_MS] = True
    return course


@pytest.mark.parametrize("variable", VARIABLES)
def test_raters_agree_as_people_do(variable):
    """Cohen's kappa between 0.45 and 0.75 and a positive share between 0.5 and 0.75, over all sessions and pairs."""
    first, second = [], []
    for row in plan(0).itertuples():
        course = draw_course(0, row.session)
        truth, playing = state_spans(course, row.session), course.task != ""
        rated = [
            unrolled(rate(truth, course.games, rater, seed=0, session=row.session), variable, len(playing))[playing]
            for rater in row.raters.split()
        ]
        for one, other in combinations(rated, 2):
            first.append(one)
            second.append(other)
    one, other = np.concatenate(first), np.concatenate(second)
    by_chance = one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean())
    kappa = ((one == other).mean() - by_chance) / (1 - by_chance)
    assert 0.45 < kappa < 0.75
    assert 0.5 < one.mean() < 0.75


def test_ratings_never_overlap_before_slips():
    course = draw_course(0, "s01")
    truth = state_spans(course, "s01")
    for rater in RATERS:
        marks = rate(truth, course.games, rater, seed=0, session="s01")
        assert [mark.text for mark in marks if mark.tier == "task"] == list(TASKS)
        for variable in VARIABLES:
            own = [mark for mark in marks if mark.tier == variable]
            assert all(mark.start_ms < mark.end_ms for mark in own)
            assert all(before.end_ms <= after.start_ms for before, after in zip(own, own[1:], strict=False))
