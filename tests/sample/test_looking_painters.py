"""The made-up painters of faces: their logs can be read, are finished, are taken first by 07, and lie on the eyes."""

from __future__ import annotations

import hashlib
import itertools
from fractions import Fraction

import numpy as np
import pytest

from nbpkg import tables
from nbpkg.attention.choosing.choice import choose
from nbpkg.attention.comparing.gather import paint_maps
from nbpkg.attention.looking.tracks import ELSEWHERE, LOOKING, TASK, VARIABLE, name_track, track_spans
from nbpkg.attention.painting.lines import read_operations
from nbpkg.attention.painting.log import PaintingLog
from nbpkg.attention.painting.paintings import read_paintings, tabulate
from nbpkg.features.looking.cropping import CropRule, cut_crop
from nbpkg.sample import looking_painters as painters
from nbpkg.sample.looking_files import annotate, annotate_again, write_json
from nbpkg.sample.looking_film import draw_pictures
from nbpkg.sample.looking_plan import FPS, plan_clips
from nbpkg.sample.record import is_made, new_sample
from nbpkg.settings.attention import PaintSettings

SEED, FRAMES = 3, 80
QUESTIONS = {VARIABLE: (ELSEWHERE, LOOKING)}
SETTINGS = PaintSettings(clip_seconds=0.7, frames=7, per_label=3, painters=["p1", "p2", "p3"])


@pytest.fixture(scope="module")
def clips():
    return plan_clips(SEED, frames=FRAMES)


@pytest.fixture(scope="module")
def sample(tmp_path_factory, clips):
    """Annotations alone: painters look at the plan, not at films."""
    folder = tmp_path_factory.mktemp("data")
    own = [clip for clip in clips if clip.part == "test"]
    write_json(folder / "json" / "av_test.json", annotate(own, SEED))
    for clip in own:
        write_json(folder / "second_LAM" / f"{clip.name}.json", annotate_again(clip, SEED))
    painters.paint_sample(folder, clips, seed=SEED)
    return folder


@pytest.fixture(scope="module")
def found(sample):
    return painters.read_test_tracks(sample)


@pytest.fixture(scope="module")
def snippets(found):
    return painters.choose_sample_snippets(found, plan_clips(SEED, frames=FRAMES), seed=SEED)


@pytest.fixture(scope="module")
def paintings(sample):
    return read_paintings(sample / "painted", tables.empty("queue"))[1]


def hashes(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def each_frame(painting, snippets, found, clips):
    """Yield place in the painting, person, frame of the clip and edges of the crop."""
    tracks = {name_track(row["session"], row["track"]): row for row in found.tracks.to_dict("records")}
    track = tracks[painting.session]
    clip = next(clip for clip in clips if clip.name == track["session"])
    person = next(person for person in clip.people if person.name == track["person"])
    for place, now in enumerate(painting.frame_ms):
        frame = track["first"] + now * FPS // 1000
        yield place, clip, person, frame, painters.find_crop(track, found.faces, frame)


def test_snippets_of_both_labels_are_spread_over_the_test_clips(snippets, found):
    assert snippets.groupby("label").size().to_dict() == {0: painters.PER_LABEL, 1: painters.PER_LABEL}
    assert set(snippets["raters"]) == {2}
    assert snippets["session"].value_counts().max() <= 3
    clips = {
        row["session"]
        for row in found.tracks.to_dict("records")
        if name_track(row["session"], row["track"]) in set(snippets["session"])
    }
    assert len(clips) >= 4


def test_every_painter_has_finished_every_snippet(paintings, snippets):
    pairs = {(painting.painter, painting.snippet_id) for painting in paintings}
    assert pairs == set(itertools.product(painters.STYLES, snippets["snippet_id"]))
    assert {painting.state for painting in paintings} == {"done"}
    for painting in paintings:
        assert (painting.task, painting.variable) == (TASK, VARIABLE)
        assert (painting.width, painting.height, len(painting.frame_ms)) == (painters.SIDE, painters.SIDE, 7)
        assert np.diff(painting.frame_ms).tolist() == [100] * 6
        assert 0 <= painting.start_ms + 50 - painting.frame_ms[0] < 100  # the middle of the first of seven parts


def test_logs_are_as_the_painter_would_write_them(sample, tmp_path):
    sources = sorted((sample / "painted").rglob("*.jsonl"))
    kinds = set()
    for source in sources:
        opening, *operations = read_operations(source)[0]
        kinds |= {operation["op"] for operation in operations}
        path = tmp_path / source.parent.name / source.name
        with PaintingLog.open(path, opening, QUESTIONS) as log:
            for operation in operations:
                assert log.append(operation).n == operation["n"]
        assert path.read_bytes() == source.read_bytes()
    assert kinds >= {"stroke", "copy", "undo", "answer", "submit"}


def test_notebook_07_takes_what_was_painted_first(sample, found, snippets):
    names = [name_track(row["session"], row["track"]) for row in found.tracks.to_dict("records")]
    spans = track_spans(found.tracks, found.segments, faces=found.faces, fps=Fraction(FPS), names=names)
    how = {"settings": SETTINGS, "absent": ELSEWHERE, "folder": sample / "painted", "seed": 9}
    choice = choose(spans, sorted(set(spans["session"])), **how)
    assert choice.snippets["painted"].all()
    assert len(choice.snippets) == 2 * SETTINGS.per_label
    assert set(choice.snippets["snippet_id"]) <= set(snippets["snippet_id"])
    assert not (choice.shortfalls["what"] == "cell").any()
    paintings, _ = read_paintings(sample / "painted", choice.queue)
    assert {painting.state for painting in paintings} == {"done"}
    assert len(tabulate(paintings)["answers"]) == len(choice.queue) == 18


def test_answers_are_mostly_those_of_the_annotators(paintings, snippets):
    labels = snippets.set_index("snippet_id")["label"]
    right = [
        painting.answers[VARIABLE] == (LOOKING if labels[painting.snippet_id] else ELSEWHERE) for painting in paintings
    ]
    assert 0.8 < np.mean(right) < 1


def test_eyes_of_the_plan_are_where_crops_show_them(paintings, snippets, found, clips):
    dark = []
    for painting in [one for one in paintings if one.painter == "p1"][:6]:
        frames = list(each_frame(painting, snippets, found, clips))
        pictures = dict(enumerate(draw_pictures(frames[0][1], SEED)))
        for _, _, person, frame, edges in frames:
            if person.blurred[frame] or not person.looks[frame]:
                continue
            crop = cut_crop(pictures[frame], edges.astype(np.int64), CropRule(size=96))
            for x, y, _ in painters.find_eyes(person, frame, edges)[1:]:
                part = crop[
                    max(0, round(96 * y) - 2) : round(96 * y) + 3, max(0, round(96 * x) - 2) : round(96 * x) + 3
                ]
                dark.append(float(part.mean()))
    assert len(dark) > 10
    assert np.median(dark) < 90  # pupils


def test_maps_lie_on_the_eyes_more_than_by_chance(paintings, snippets, found, clips):
    maps = paint_maps(paintings, size=24)
    labels = snippets.set_index("snippet_id")["label"]
    gains = {(painter, label): [] for painter in painters.STYLES for label in (0, 1)}
    for painting in paintings:
        heat = maps[painting.snippet_id][painting.painter]
        rows, columns = np.mgrid[: heat.shape[1], : heat.shape[2]] / heat.shape[1]
        for place, _, person, frame, edges in each_frame(painting, snippets, found, clips):
            if heat[place].sum() == 0:
                continue
            eyes = painters.find_eyes(person, frame, edges)[1:]
            near = np.zeros(heat.shape[1:], bool)
            for x, y, seen in eyes:
                if seen > 0.3:
                    near |= np.hypot(columns - x, rows - y) < 0.14
            if near.any():
                share = heat[place][near].sum() / heat[place].sum()
                gains[painting.painter, int(labels[painting.snippet_id])].append(share / near.mean())
    means = {key: np.mean(own) for key, own in gains.items()}
    assert all(mean > 3 for (_, label), mean in means.items() if label == 1), means
    assert all(mean > 1.5 for (_, label), mean in means.items() if label == 0), means
    assert means["p1", 1] > means["p3", 1]  # who aims better


def test_same_seed_gives_the_same_strokes(sample, clips, tmp_path):
    before = hashes(sample / "painted")
    for name in ("json/av_test.json", *(f"second_LAM/{path.name}" for path in (sample / "second_LAM").iterdir())):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((sample / name).read_bytes())
    painters.paint_sample(tmp_path, clips, seed=SEED)
    assert hashes(tmp_path / "painted") == before


def test_strokes_of_people_are_never_overwritten_or_removed(sample, tmp_path):
    folder, facts = tmp_path / "sample", {"version": 1}

    def make(now, names):
        with new_sample(folder, now, strokes="painted") as new:
            for name in names:
                path = new / "painted" / "p1" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(sources[name])
            (new / "truth.csv").write_text(str(now))

    sources = {path.name: path.read_bytes() for path in (sample / "painted" / "p1").iterdir()}
    added, untouched, other = sorted(sources)[:3]
    make(facts, [added, untouched])
    own = folder / "painted" / "anna" / added
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with (folder / "painted" / "p1" / added).open("ab") as stream:
        stream.write(b"more")
    (folder / "painted" / "p1" / other).write_bytes(b"mine, too")
    assert is_made(folder, facts, strokes="painted")
    make({"version": 2}, [added, other])
    assert own.read_bytes() == b"mine"
    assert (folder / "painted" / "p1" / added).read_bytes() == sources[added] + b"more"
    assert (folder / "painted" / "p1" / other).read_bytes() == b"mine, too"
    assert not (folder / "painted" / "p1" / untouched).exists()
    assert is_made(folder, {"version": 2}, strokes="painted")
    assert not is_made(folder, facts, strokes="painted")
