"""The made-up faces: complete, repeatable, as odd as real files, and sharp or blurred as planned."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from nbpkg.annotations.looking.faces import build_tracks
from nbpkg.sample.looking_at_me import VERSION, make_sample
from nbpkg.sample.looking_faces import Head, blur_face, draw_person, dress, locate_points
from nbpkg.sample.looking_files import annotate_again, list_segments
from nbpkg.sample.looking_film import cut_boxes, draw_pictures
from nbpkg.sample.looking_plan import (
    BEHIND_THE_EDGE,
    BLURRED,
    CHALLENGE,
    FAR_AWAY,
    FPS,
    HEIGHT,
    LONG_GAP,
    LOOKING_PITCH,
    LOOKING_YAW,
    PARTS,
    SHORT_FILM,
    STRANGER,
    UNKNOWN,
    UNSORTED,
    UNUSABLE,
    WEARER_LAST,
    WIDTH,
    WITHOUT_SEGMENTS,
    plan_clip,
    plan_clips,
)
from nbpkg.sample.record import is_made
from nbpkg.settings.looking import FaceTrackSettings

SEED, FRAMES = 3, 60
KEYS = {"clip": str, "person": str, "track": str}


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    make_sample(folder, seed=SEED, frames=FRAMES)
    return folder


@pytest.fixture(scope="module")
def truth(sample) -> pd.DataFrame:
    return pd.read_csv(sample / "truth.csv", dtype=KEYS, keep_default_na=False)


@pytest.fixture(scope="module")
def clips(sample) -> dict[str, dict]:
    found = {}
    for split in ("train", "val", "test"):
        content = json.loads((sample / "json" / f"av_{split}.json").read_text())
        found |= {one["clip_uid"]: one for video in content["videos"] for one in video["clips"]}
    return found


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tracks_of(clip: dict):
    return [
        (person["person_id"], track)
        for person in clip["persons"]
        for track in person["tracking_paths"]
        if track["track"]
    ]


def records_of(clip: dict, person: str) -> list[dict]:
    return [record for name, track in tracks_of(clip) if name == person for record in track["track"]]


def test_same_seed_gives_same_bytes_and_all_are_recorded(sample, tmp_path):
    make_sample(tmp_path / "again", seed=SEED, frames=FRAMES)
    found = hashes(sample)
    assert hashes(tmp_path / "again") == found
    record = json.loads((sample / "sample.json").read_text())
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        name: value for name, value in found.items() if name != "sample.json"
    }
    facts = {"version": VERSION, "seed": SEED, "frames": FRAMES}
    assert is_made(sample, facts)
    assert not is_made(sample, facts | {"seed": SEED + 1})


def test_other_seeds_keep_names_and_change_faces():
    one, two = plan_clips(1, frames=FRAMES), plan_clips(2, frames=FRAMES)
    assert [clip.name for clip in one] == [clip.name for clip in two]
    assert not np.array_equal(one[0].people[0].yaw, two[0].people[0].yaw)


def test_clips_of_a_video_stay_in_one_part_of_the_lists(sample, clips):
    listed = []
    for split, count in (("train", 10), ("val", 2), ("test", 6)):
        text = (sample / "split" / f"{split}.list").read_text()
        assert not text.endswith("\n")
        names = text.split("\n")
        if split == "test":
            assert tuple(names[-len(CHALLENGE) :]) == CHALLENGE
            names = names[: -len(CHALLENGE)]
        assert len(names) == count
        assert {PARTS[name.split("-")[0]] for name in names} == {split}
        content = json.loads((sample / "json" / f"av_{split}.json").read_text())
        assert [clip["clip_uid"] for video in content["videos"] for clip in video["clips"]] == names
        listed += names
    assert sorted(listed) == sorted(clips)
    manifest = pd.read_csv(sample / "csv" / "manifest.csv")
    assert sorted(manifest["video_uid"]) == sorted(PARTS)
    assert [place.rsplit("/", 1)[1] for place in manifest["canonical_s3_location"]] == manifest["video_uid"].tolist()


def test_films_are_as_long_as_annotated_but_for_one(sample, clips):
    for name, clip in clips.items():
        with av.open(str(sample / "videos" / f"{name}.mp4")) as container:
            film = container.streams.video[0]
            assert (film.width, film.height, film.average_rate) == (WIDTH, HEIGHT, FPS)
            frames = sum(1 for _ in container.decode(video=0))
        with av.open(str(sample / "videos" / f"{name}.mp4")) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) > 0
        assert clip["clip_end_frame"] - frames == (2 if name == SHORT_FILM else 0)
    last = max(record["frame"] for _, track in tracks_of(clips[SHORT_FILM]) for record in track["track"])
    assert last == clips[SHORT_FILM]["clip_end_frame"] - 1


def test_segments_are_the_frames_that_look(truth, clips):
    assert (truth["looking"] == ((truth["yaw"].abs() < LOOKING_YAW) & (truth["pitch"].abs() < LOOKING_PITCH))).all()
    for name, clip in clips.items():
        looking = set()
        for one in clip["social_segments_looking"] or []:
            if one["person"] not in (None, UNKNOWN):
                looking |= {(one["person"], frame) for frame in range(one["start_frame"], one["end_frame"] + 1)}
        own = truth[(truth["clip"] == name) & (truth["looking"] == 1)]
        assert looking == set(zip(own["person"], own["frame"], strict=True))


def test_faces_look_as_often_as_planned_and_blur_says_nothing(truth):
    never = (truth["clip"] == WITHOUT_SEGMENTS) | (truth["person"] == UNKNOWN)
    for _, own in truth[~never].groupby(["clip", "person"]):
        assert 0.15 <= own["looking"].mean() <= 0.35
        shares = own.groupby("looking")["blurred"].mean()
        assert shares.to_numpy() == pytest.approx([BLURRED, BLURRED], abs=0.15)
    shares = truth[~never].groupby("looking")["blurred"].mean()
    assert shares.to_numpy() == pytest.approx([BLURRED, BLURRED], abs=0.03)


def test_oddities_of_real_files_are_there(clips):
    assert [name for name, clip in clips.items() if clip["social_segments_looking"] is None] == [WITHOUT_SEGMENTS]
    assert [name for name, clip in clips.items() if not clip["persons"][0]["camera_wearer"]] == [WEARER_LAST]
    assert [name for name, clip in clips.items() if records_of(clip, UNKNOWN)] == [STRANGER]
    small = [record["width"] for record in records_of(clips[FAR_AWAY], "3")]
    assert np.median(small) < 20
    for name, person in BEHIND_THE_EDGE:
        assert min(record["x"] for record in records_of(clips[name], person)) < -5
    for places, is_odd in (
        (UNSORTED, lambda track: [one["frame"] for one in track] != sorted(one["frame"] for one in track)),
        (UNUSABLE, lambda track: any(one["width"] <= 0 or one["height"] <= 0 for one in track)),
    ):
        odd = {
            (name, person) for name, clip in clips.items() for person, one in tracks_of(clip) if is_odd(one["track"])
        }
        assert odd == set(places)
    gaps = {}
    for name, clip in clips.items():
        for person, track in tracks_of(clip):
            steps = np.diff(sorted(one["frame"] for one in track["track"]))
            gaps.setdefault((name, person), []).append(int(steps.max()) - 1)
            assert ":" in track["track_id"]
    assert all(gap >= 1 for own in gaps.values() for gap in own)
    assert [place for place, own in gaps.items() if max(own) > 15] == [LONG_GAP]
    segments = [one for clip in clips.values() for one in clip["social_segments_looking"] or []]
    assert {None, UNKNOWN} < {one["person"] for one in segments}
    assert sum(one["is_at_me"] for one in segments) == len(PARTS)
    begins = {name: [key for key in clip if key.endswith("_start_sec")] for name, clip in clips.items()}
    assert begins["v1-a"] == ["video_start_sec"]
    assert begins["v6-a"] == ["parent_start_sec"]


def test_boxes_lie_on_the_faces(clips):
    for plan in plan_clips(SEED, frames=FRAMES)[::5]:
        for person in plan.people:
            boxes = person.boxes()
            for record in records_of(clips[plan.name], person.name):
                if record["width"] > 0 and record["height"] > 0:
                    x, y = record["x"], record["y"]
                    found = [x, y, x + record["width"], y + record["height"]]
                    assert found == pytest.approx(boxes[record["frame"]].tolist(), abs=2)


def test_head_poses_are_nearly_true_also_where_it_is_blurred(sample, truth):
    known = {(one.clip, one.track, one.frame): one for one in truth[truth["track"] != ""].itertuples()}
    names = ("train_headpose.json", "val_headpose-all.json")
    poses = [json.loads((sample / "json_prior" / name).read_text()) for name in names]
    assert {key.split("-")[0] for key in poses[1]} == {"v6", "v7", "v8", "v9", "v10", "v11", "v12"}
    rows, odd = [], 0
    for key, values in (poses[0] | poses[1]).items():
        name, rest = key.split(":", 1)
        track, frame = rest.rsplit(":", 1)
        one = known[name, track, int(frame)]
        odd += len(values) != 6
        assert values[:3] == pytest.approx([one.yaw, one.pitch, one.roll], abs=12.01)
        rows.append((one.blurred, one.looking, -max(abs(values[0]) / LOOKING_YAW, abs(values[1]) / LOOKING_PITCH)))
    assert odd == 1
    assert len(rows) / sum(one.clip not in CHALLENGE for one in known.values()) == pytest.approx(0.95, abs=0.02)
    table = pd.DataFrame(rows, columns=["blurred", "looking", "score"])
    for _, own in table.groupby("blurred"):
        assert roc_auc_score(own["looking"], own["score"]) > 0.9


def test_points_lie_on_sharp_faces(sample, truth):
    points = json.loads((sample / "json_prior" / "val_mesh.json").read_text())
    seen = {(one.clip, one.track, str(one.frame)): one.blurred for one in truth.itertuples()}
    found = [
        (seen[name, track, frame], np.array(rows))
        for name, tracks in points.items()
        for track, frames in tracks.items()
        for frame, rows in frames.items()
    ]
    assert all(rows.shape == (5, 4) for _, rows in found)
    labelled = truth[truth["clip"].isin(points) & (truth["track"] != "")]
    assert len(found) / len(labelled) == pytest.approx(0.9, abs=0.04)
    seen_well = np.median([rows[:, 3].max() for blurred, rows in found if not blurred])
    assert seen_well > 1.5 * np.median([rows[:, 3].max() for blurred, rows in found if blurred])


def test_second_annotator_is_near_but_not_the_same(sample):
    missed = total = 0
    for plan in plan_clips(SEED, frames=FRAMES):
        path = sample / "second_LAM" / f"{plan.name}.json"
        first = list_segments(plan)
        second = json.loads(path.read_text()) if path.is_file() else []
        assert second == annotate_again(plan, SEED)
        for one in second:
            ends = [(start, end) for name, start, end in first if name == one["label"]]
            off = [(abs(start - one["start_frame"]), abs(end - one["end_frame"])) for start, end in ends]
            assert any(max(pair) <= 3 for pair in off)
        missed, total = missed + len(first) - len(second), total + len(first)
    assert 0 < missed < 0.3 * total
    assert not (sample / "second_LAM" / f"{WITHOUT_SEGMENTS}.json").exists()


def test_challenge_crops_have_ids_that_are_no_numbers_and_priors_of_their_own(sample):
    paths = sorted((sample / "videos_challenge").glob("*/*/*.jpg"))
    assert {path.parts[-3] for path in paths} == set(CHALLENGE)
    names = {}
    for path in paths:
        frame, name = path.stem.split("_", 1)
        assert len(frame) == 5
        names[path.parts[-3], path.parts[-2], name] = frame
    assert len(names) == len(paths)
    assert {"00012", "1e3", "ab_cd"} < {name for _, _, name in names}
    assert cv2.imread(str(paths[0])).shape == (96, 96, 3)
    poses = json.loads((sample / "json_prior" / "test_headpose.json").read_text())
    assert 0.85 * len(paths) < len(poses) <= len(paths)
    for key, values in poses.items():
        clip, track, name, frame = key.rsplit(":", 3)
        assert names[clip, track, name] == frame
        assert len(values) == 3
    points = json.loads((sample / "json_prior" / "test_mesh.json").read_text())
    listed = {(clip, track, name) for clip, tracks in points.items() for track, own in tracks.items() for name in own}
    assert listed < set(names)


def test_blurred_faces_have_no_edges_and_sharp_ones_do():
    plan = plan_clip("v7-a", "v7", SEED, frames=FRAMES)
    sharpness = {True: [], False: []}
    for frame, picture in enumerate(draw_pictures(plan, SEED)):
        for person in plan.people:
            x0, y0, x1, y1 = cut_boxes(person)[frame].astype(int)
            crop = cv2.resize(picture[y0:y1, x0:x1], (48, 48)).astype(np.float64)
            sharpness[bool(person.blurred[frame])].append(cv2.Laplacian(crop, cv2.CV_64F).var())
    assert max(sharpness[True]) < 0.3 * min(sharpness[False])


def draw(**turn: float) -> np.ndarray:
    picture = np.full((120, 160, 3), 180, np.uint8)
    head = Head(80.0, 60.0, 24.0, turn.get("yaw", 0.0), turn.get("pitch", 0.0), turn.get("roll", 0.0))
    draw_person(picture, head, dress(3))
    if turn.get("blurred"):
        blur_face(picture, head)
    return picture[31:89, 56:104].astype(np.float64)


def test_turning_shows_in_a_sharp_face_and_hardly_in_a_blurred_one():
    for turn in ({"yaw": 40.0}, {"pitch": 18.0}):
        sharp = np.abs(draw(**turn) - draw()).mean()
        blurred = np.abs(draw(**turn, blurred=1.0) - draw(blurred=1.0)).mean()
        assert sharp > 8
        assert blurred < 0.25 * sharp


def test_points_move_as_hopenets_signs_say():
    def points(**turn: float) -> np.ndarray:
        angles = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0} | turn
        return locate_points(Head(0.0, 0.0, 10.0, **angles))

    ahead = points()
    assert ahead[1, 0] > 0 > ahead[2, 0]  # the person's left eye is at the picture's right
    assert points(yaw=30.0)[0, 0] < ahead[0, 0] - 3
    assert points(pitch=20.0)[0, 1] < ahead[0, 1] - 2
    assert points(roll=15.0)[1, 1] > ahead[1, 1]
    away = points(yaw=55.0)
    assert away[2, 3] < 0.5 < away[1, 3]


def test_the_reader_finds_only_what_was_planned(sample, truth):
    settings = FaceTrackSettings(
        annotations=[f"json/av_{split}.json" for split in ("train", "val", "test")],
        manifest="csv/manifest.csv",
        lists={split: f"split/{split}.list" for split in ("train", "val", "test")},
        challenge="videos_challenge",
        second="second_LAM",
    )
    found = build_tracks(sample, settings)
    assert [problem for problem in found.problems if problem.severity == "error"] == []
    assert found.footage.loc[~found.footage["labelled"], "session"].tolist() == sorted(CHALLENGE)
    looking = truth.set_index(["clip", "track", "frame"])["looking"]
    tracks = found.tracks[~found.tracks["session"].isin(CHALLENGE)]
    for one in tracks.itertuples():
        faces = found.faces[one.offset : one.offset + one.rows]
        places = [(one.session, one.track, frame) for frame in faces["frame"].tolist()]
        assert faces["label"].tolist() == looking.loc[places].tolist()
    pictures = list((sample / "videos_challenge").glob("*/*/*.jpg"))
    assert len(found.challenge) == len(pictures)
