"""The made-up painters: their logs can be read, follow the truth as people do, and real strokes are never touched."""

import hashlib
import itertools
import json
import shutil
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from nbpkg.attention.choosing.snippets import SnippetRules, choose_snippets
from nbpkg.attention.painting.lines import find_painting, read_operations
from nbpkg.attention.painting.log import PaintingLog
from nbpkg.attention.painting.raster import rasterise
from nbpkg.sample import infant_engagement, painters
from nbpkg.sample.infant_engagement import is_made, make_sample
from nbpkg.sample.plan import plan_visits
from nbpkg.sample.scene import HEIGHT, WIDTH
from nbpkg.video.clips import frame_numbers

SMALL = {"sessions": 5, "task_seconds": 18.0}
SHAPE = (painters.FRAMES, 45, 80)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "sample"
    make_sample(folder, seed=3, workers=2, **SMALL)
    return folder


@pytest.fixture(scope="module")
def paintings(sample):
    paths = sorted((sample / "painted").rglob("*.jsonl"))
    return [find_painting(path) for path in paths]


@pytest.fixture(scope="module")
def snippets(sample):
    return painters.choose_sample_snippets(sample, plan_visits(3, 5), seed=3)


def hashes(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_frames_are_those_the_network_sees():
    for start_ms in [0, 1, 159, 160, 161, 319, 320, *range(1000, 4000, 37), 123_457]:
        numbers = frame_numbers(start_ms, start_ms + painters.CLIP_MS, fps=Fraction(25, 8), count=painters.FRAMES)
        assert painters.list_frames(start_ms) == (numbers * 320).tolist()


def test_snippets_are_agreed_and_apart(sample, snippets):
    assert set(snippets["session"]) == {f"s{number:02}" for number in range(1, 6)}
    assert snippets.groupby(["session", "task", "variable", "label"]).size().max() == 1
    assert len(snippets) > 0.6 * 5 * 2 * len(painters.PAIRS)
    for _, rows in snippets.groupby("session"):
        assert (np.diff(np.sort(rows["start_ms"])) >= painters.CLIP_MS).all()
    assert set(snippets["raters"]) == {2, 3}


def test_snippets_are_taken_over_when_the_test_fold_is_chosen(sample, snippets):
    """What notebook 07 does: all of them, in the sessions asked for, are still permissible."""
    spans = painters._read_spans(sample / "engagement", plan_visits(3, 5))
    fold = ["s02", "s04"]
    painted = snippets[snippets["session"].isin(fold)].assign(painted=True)
    rules = SnippetRules("no", painters.PAIRS, painters.CLIP_MS, 2, tuple(painters.STYLES), 3, False)
    choice = choose_snippets(spans, fold, rules=rules, seed=0, existing=painted)
    assert set(painted["snippet_id"]) <= set(choice.snippets["snippet_id"])
    assert (choice.shortfalls["what"] == "cell").all()


def test_every_painter_paints_every_snippet(paintings, snippets):
    pairs = {(painting.painter, painting.snippet_id) for painting in paintings}
    assert pairs == set(itertools.product(painters.STYLES, snippets["snippet_id"]))
    states = pd.Series([painting.state for painting in paintings]).value_counts()
    assert states.to_dict() == {"done": len(paintings) - 3, "skipped": 2, "begun": 1}
    skipped = [painting for painting in paintings if painting.state == "skipped"]
    assert len({painting.painter for painting in skipped}) == 1
    assert all(painting.reason for painting in skipped)


def test_open_lines_say_what_was_painted(paintings, snippets):
    rows = snippets.set_index("snippet_id")
    for painting in paintings:
        row = rows.loc[painting.snippet_id]
        assert (painting.session, painting.task, painting.variable) == (row["session"], row["task"], row["variable"])
        assert (painting.start_ms, painting.end_ms) == (row["start_ms"], row["end_ms"])
        assert list(painting.frame_ms) == painters.list_frames(row["start_ms"])
        assert (painting.width, painting.height) == (WIDTH, HEIGHT)


def test_logs_hold_every_kind_of_operation(sample):
    operations = [operation for path in (sample / "painted").rglob("*.jsonl") for operation in read_operations(path)[0]]
    kinds = {operation["op"] for operation in operations}
    assert kinds >= {"open", "stroke", "clear", "copy", "undo", "redo", "answer", "skip", "submit"}
    strokes = [operation for operation in operations if operation["op"] == "stroke"]
    assert {stroke["tool"] for stroke in strokes} == {"brush", "eraser"}
    assert {len(point) for stroke in strokes for point in stroke["points"]} == {3, 4}
    assert len({stroke["radius"] for stroke in strokes}) > 20


def test_logs_are_as_the_painter_would_write_them(sample, tmp_path):
    """Every operation, appended to a log of our own, is taken and gives the same bytes."""
    questions = {name: ("no", *values) for name, values in painters.VALUES.items()}
    for source in [next((sample / "painted" / painter).iterdir()) for painter in painters.STYLES]:
        opening, *operations = read_operations(source)[0]
        path = tmp_path / source.parent.name / source.name
        with PaintingLog.open(path, opening, questions) as log:
            for operation in operations:
                assert log.append(operation).n == operation["n"]
        assert path.read_bytes() == source.read_bytes()


def test_answers_are_mostly_the_true_states(sample, paintings):
    states = pd.read_csv(sample / "truth" / "states.csv", keep_default_na=False)
    right = []
    for painting in paintings:
        if painting.state == "done":
            truth = painters._find_answers(
                states[states["session"] == painting.session], painting.start_ms, painting.end_ms
            )
            assert set(painting.answers) == set(truth)
            right += [painting.answers[name] == value for name, value in truth.items()]
    assert 0.85 < np.mean(right) < 1


def boxed(sample, painting):
    """True where the head, or hands and toys, are: somewhat enlarged, because brushes are round."""
    regions = pd.read_csv(sample / "truth" / f"{painting.session}_regions.csv")
    names = ["head"] if painting.variable == "attending" else ["hands", "toy"]
    mask = np.zeros(SHAPE, bool)
    for frame, now in enumerate(painting.frame_ms):
        rows = regions[(regions["start_ms"] <= now) & (now < regions["end_ms"]) & regions["region"].isin(names)]
        for row in rows.itertuples():
            mask[frame, max(0, row.y0 - 8) // 4 : (row.y1 + 8) // 4, max(0, row.x0 - 8) // 4 : (row.x1 + 8) // 4] = True
    return mask


def test_paint_lies_where_the_truth_is_as_people_paint(sample, paintings):
    inside, filled, alike = {}, {}, []
    maps = {}
    for painting in paintings:
        if painting.state != "done":
            continue
        heat = rasterise(painting.strokes, shape=SHAPE, size=(WIDTH, HEIGHT))
        maps[painting.snippet_id, painting.painter] = heat
        mask = boxed(sample, painting)
        inside.setdefault(painting.painter, []).append(heat[mask].sum() / heat.sum())
        filled.setdefault(painting.painter, []).append(heat.any(axis=(1, 2)).mean())
    means = {painter: np.mean(shares) for painter, shares in inside.items()}
    assert all(0.7 < mean < 0.995 for mean in means.values()), means
    assert means["p1"] > means["p3"]
    empty = {painter: 1 - np.mean(shares) for painter, shares in filled.items()}
    assert 0.01 < empty["p1"] < empty["p2"] < empty["p3"] < 0.35
    for name in {name for name, _ in maps}:
        both = [maps[name, painter] for painter in ("p1", "p2") if (name, painter) in maps]
        if len(both) == 2:
            alike.append(np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1])
    assert 0.5 < np.median(alike) < 0.95


def test_same_seed_gives_same_strokes(sample, tmp_path):
    for name in ("engagement", "truth"):
        shutil.copytree(sample / name, tmp_path / name)
    painters.paint_sample(tmp_path, plan_visits(3, 5), seed=3)
    assert hashes(tmp_path / "painted") == hashes(sample / "painted")
    shutil.rmtree(tmp_path / "painted")
    painters.paint_sample(tmp_path, plan_visits(3, 5), seed=4)
    assert hashes(tmp_path / "painted") != hashes(sample / "painted")


def test_strokes_stay_small(sample, paintings):
    size = sum(path.stat().st_size for path in (sample / "painted").rglob("*.jsonl"))
    assert size / len(paintings) < 4e6 / (20 * 2 * len(painters.PAIRS) * len(painters.STYLES))


def test_record_lists_the_strokes(sample):
    listed = {file["path"] for file in json.loads((sample / "sample.json").read_text())["files"]}
    assert {f"painted/{name}" for name in hashes(sample / "painted")} <= listed


def test_strokes_of_people_are_never_overwritten_or_removed(sample, tmp_path, monkeypatch):
    folder = tmp_path / "sample"
    shutil.copytree(sample, folder)
    record = json.loads((folder / "sample.json").read_text())
    facts = {name: value for name, value in record.items() if name != "files"}
    added, changed, removed, untouched = sorted((folder / "painted" / "p1").iterdir())[:4]
    mine = folder / "painted" / "anna" / added.name
    mine.parent.mkdir()
    shutil.copy(added, mine)
    with added.open("a") as stream:
        stream.write('{"op":"undo","n":999}\n')
    changed.write_text("something else\n")
    removed.unlink()
    assert is_made(folder, facts)
    before = hashes(folder / "painted")

    make_sample(folder, seed=3, workers=1, **SMALL)
    assert hashes(folder / "painted") == before

    # another version of the sample, which has other snippets: its own old strokes go, people's stay
    monkeypatch.setattr(infant_engagement, "VERSION", facts["version"] + 1)
    monkeypatch.setattr(infant_engagement, "make_film", lambda job: _copy_film(sample, job))
    make_sample(folder, seed=3, workers=1, **{**SMALL, "task_seconds": 17.0})
    after = hashes(folder / "painted")
    for path in (mine, added, changed):
        name = path.relative_to(folder / "painted").as_posix()
        assert after[name] == before[name]
    assert not untouched.exists()
    assert is_made(folder, {**facts, "version": facts["version"] + 1, "task_seconds": 17.0})


def _copy_film(sample, job):
    """Films take long, and this test is not about them."""
    for name in (f"video/{job.visit.session}.mp4", f"truth/{job.visit.session}_regions.csv"):
        shutil.copy(sample / name, job.folder / name)
    return job.visit.session
