"""The published programs' outputs, reproduced: preparation, frame lists, key frames, labels, test crops, commands."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from looking_cases import load, write, write_golden

from nbpkg.annotations.looking.challenge import parse_name, read_challenge, window_pictures
from nbpkg.annotations.looking.downloads import list_downloads, read_manifest
from nbpkg.annotations.looking.exports import write_exports
from nbpkg.annotations.looking.faces import build_tracks, count_classes, list_key_frames
from nbpkg.settings.looking import FaceTrackSettings
from nbpkg.tables import write as write_table

LISTS = {"train": "split/train.list", "val": "split/val.list"}
ANNOTATIONS = ["json/av_train.json", "json/av_val.json"]


@pytest.fixture
def prepared(tmp_path):
    """The published preparation, made by ours from the published annotations."""
    golden = write_golden(tmp_path)
    found = build_tracks(tmp_path, FaceTrackSettings(compat="reference"))
    write_exports(found.clips, tmp_path / "out", annotations=[tmp_path / name for name in ANNOTATIONS])
    return tmp_path, golden


def files_below(folder, part):
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in (folder / part).rglob("*.json")
    }


@pytest.mark.parametrize("part", ["json_original", "result_LAM", "result_TTM"])
def test_preparation_writes_the_published_files(prepared, part):
    folder, golden = prepared
    assert files_below(folder / "out", part) == golden[part]


def test_merged_file_has_train_before_val_and_nothing_else_changed(prepared):
    folder, golden = prepared
    merged = json.loads((folder / "out" / "av.json").read_text())
    assert [video["video_uid"] for video in merged["videos"]] == golden["merged_video_uids"]
    whole = [*golden["av_train"]["videos"], *golden["av_val"]["videos"]]
    assert merged == {**golden["av_train"], "videos": whole}


def test_running_twice_gives_the_same_bytes(prepared):
    folder, _ = prepared
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*.json")}
    found = build_tracks(folder, FaceTrackSettings(compat="reference"))
    write(folder / "out" / "json_original" / "clip-a" / "old.json", "[]")  # of a run with other annotations
    write_exports(found.clips, folder / "out", annotations=[folder / name for name in ANNOTATIONS])
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*.json")} == before
    assert not list(folder.glob(".*partial"))


def in_list_order(found, sessions):
    """Rows of `tracks` as the published loader goes through them: lists in order, files by their names."""
    rank = {session: number for number, session in enumerate(sessions)}
    own = found.tracks[found.tracks["session"].isin(sessions)]
    key = [(rank[session], f"{track}.json") for session, track in zip(own["session"], own["track"], strict=True)]
    return own.iloc[sorted(range(len(own)), key=key.__getitem__)]


def enumerate_faces(found, sessions):
    """Positions in the published frame list, face by face: rows of faces.npy, and the list itself."""
    tracks = in_list_order(found, sessions)
    rows, images = [], []
    for _, one in tracks.iterrows():
        for row in range(one["offset"], one["offset"] + one["rows"]):
            face = found.faces[row]
            rows.append(row)
            images.append([one["session"], one["track"], int(face["frame"]),
                           [float(face[side]) for side in ("x0", "y0", "x1", "y1")], int(face["label"])])  # fmt: skip
    return tracks, np.array(rows), images


def read_list(text):
    return [line.strip() for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize("form", ["ego4d", "prepared"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_frame_lists_and_key_frames_are_the_published_ones(prepared, form, split):
    folder, golden = prepared
    settings = FaceTrackSettings(
        form=form, tracks="out/json_original", segments="out/result_LAM", lists=LISTS, compat="reference"
    )
    found = build_tracks(folder, settings)
    index = load("index_lam_open")
    tracks, rows, images = enumerate_faces(found, read_list(golden["split"][f"{split}.list"]))
    wanted = index[f"{split}_images"]
    assert [[*image[:3], image[4]] for image in images] == [[*image[:3], image[4]] for image in wanted]
    assert np.allclose([image[3] for image in images], [image[3] for image in wanted], atol=1e-9, rtol=0)
    for stride in (1, 3, 13):
        keys = list_key_frames(tracks, stride)
        places = [np.flatnonzero(rows == key)[0] for key in keys]
        assert places == index[f"{split}_stride{stride}_keyframes"]


def keep_faces(found, crops, scores):
    """Whether each face has a crop, and whether the best face of its window is usable."""
    has, usable = (np.zeros(len(found.faces), bool) for _ in range(2))
    for _, one in found.tracks.iterrows():
        own = slice(one["offset"], one["offset"] + one["rows"])
        frames = found.faces["frame"][own]
        has[own] = np.isin(frames, crops.get(one["session"], {}).get(one["track"], []))
        entries = [scores.get(f"{one['session']}:{one['track']}:{frame}") for frame in frames]
        usable[own] = [entry is None or entry["array"][entry["max_index"]] > 0 for entry in entries]
    return has, usable


@pytest.mark.parametrize("run", load("index_gazepose_open")["runs"])
def test_key_frames_with_crops_labels_and_weights_are_the_published_ones(tmp_path, run):
    golden, index = write_golden(tmp_path), load("index_gazepose_open")
    split, gauss, stride = run.split("_")
    found = build_tracks(tmp_path, FaceTrackSettings(lists=LISTS, compat="reference"))
    tracks, rows, _ = enumerate_faces(found, read_list(golden["split"][f"{split}.list"]))
    has, usable = keep_faces(found, index["face_crops_present"], index["priors"]["train_filter_all.json"])
    if (split, gauss) != ("train", "gauss1"):
        usable[:] = True
    wanted = index["runs"][run]
    every = list_key_frames(tracks, int(stride.removeprefix("stride")))
    places = {int(row): place for place, row in enumerate(rows)}
    keys = list_key_frames(tracks, int(stride.removeprefix("stride")), keep=has & usable)
    assert [places[int(key)] for key in keys] == wanted["keyframes"]
    assert [places[int(key)] for key in every if not usable[key]] == wanted["filtered_keyframe_indices"]
    labels = found.faces["label"][keys]
    assert labels.tolist() == wanted["labels"]
    counts = count_classes(labels)
    assert (counts.looking, counts.others) == (wanted["n_positive"], wanted["n_negative"])
    assert counts.weights == pytest.approx(wanted["class_weights"], abs=1e-12)


@pytest.fixture
def challenge(tmp_path):
    for clip, tracks in load("test_loader_open")["files"].items():
        for track, names in tracks.items():
            for name in names:
                write(tmp_path / clip / track / name, "")
    pictures, problems = read_challenge(tmp_path)
    assert not problems
    return pictures


def move_together(slots):
    """The published filling: kept frames on either side move to the middle, the outermost is copied outwards."""
    left, right = ([slot for slot in part if slot >= 0] for part in (slots[:3], slots[4:]))
    before = (left or [slots[3]])[:1] * (3 - len(left)) + left
    return [*before, slots[3], *right, *(right or [slots[3]])[-1:] * (3 - len(right))]


@pytest.mark.parametrize("stride", [1, 3])
def test_test_crops_windows_and_key_frames_are_the_published_ones(challenge, stride):
    wanted = load("test_loader_open")["runs"][f"gauss0_stride{stride}"]
    names = challenge["path"].str.rpartition("/")[2]
    images = [[clip, track, unique, parse_name(name).frame] for clip, track, unique, name
              in zip(challenge["session"], challenge["track"], challenge["unique_id"], names, strict=True)]  # fmt: skip
    assert images == wanted["images"]
    sizes = challenge.groupby(["session", "track"], sort=False).size().to_numpy()
    tracks = pd.DataFrame({"offset": np.cumsum([0, *sizes])[:-1], "rows": sizes})
    keys = list_key_frames(tracks, stride)
    assert keys.tolist() == wanted["keyframes"]
    frames = challenge["frame"].to_numpy()
    for compat in (False, True):
        windows = [
            [int(frames[row]) for row in move_together(slots)]
            for slots in window_pictures(challenge, compat=compat)[keys]
        ]
        assert windows == [sample["window_frame_ids_None=black"] for sample in wanted["samples"]]
    assert [images[key] for key in keys] == [sample["target"] for sample in wanted["samples"]]


def test_commands_are_the_published_ones(tmp_path):
    golden = write_golden(tmp_path)
    for name in ("av_train", "av_val"):
        for video in golden[name]["videos"]:
            for one in video["clips"]:
                one |= {"video_start_sec": 12.5, "video_end_sec": 312.5}
        write(tmp_path / "json" / f"{name}.json", golden[name])
    table = "video_uid,canonical_s3_location,more\n" + "".join(
        f"{uid},s3://bucket/x/{uid},x\n{uid},s3://elsewhere/{uid},x\n" for uid in ("vid-1", "vid-2", "vid-3")
    )
    places, problems = read_manifest(write(tmp_path / "csv" / "manifest.csv", table))
    found = build_tracks(tmp_path, FaceTrackSettings())
    lines, lacking = list_downloads(found.footage, places, compat=True)
    assert lines == load("download_commands_open")["lam"]
    assert problems == lacking == []
    ours, _ = list_downloads(found.footage, places)
    cuts = [line.replace("  -y data", " data") for line in lines[1:3]]
    assert ours[2:6] == ["aws s3 cp s3://bucket/x/vid-3 data/tmp/vid-3", *cuts, "rm -- data/tmp/vid-3"]
    assert [shlex.split(line) for line in ours]


def test_tables_of_the_golden_clips_keep_their_contracts(tmp_path):
    write_golden(tmp_path)
    found = build_tracks(tmp_path, FaceTrackSettings(lists=LISTS))
    for name in ("footage", "tracks", "segments"):
        write_table(getattr(found, name), tmp_path / f"{name}.csv", name)
    assert found.footage.set_index("session")["looking"].to_dict() == {
        "clip-a": 5, "clip-b": 3, "clip-c": -1, "clip-d": 1, "clip-e": 2}  # fmt: skip
    row = found.footage.iloc[0]
    assert (row["at_me"], row["with_target"], row["talking"], row["persons"]) == (1, 1, 3, 2)
    assert found.footage["split"].tolist() == ["train", "train", "", "val", "val"]
    own = found.tracks.set_index(["session", "track"]).loc[("clip-a", "track_1")]
    assert (own["rows"], own["records"], own["between"], own["looking"]) == (39, 34, 5, 13)
    # a box that begins left of the picture ends where it did; the published one is moved
    face = found.faces[own["offset"] + 9]
    assert (face["x0"], face["x1"]) == (0.0, pytest.approx(34.05 - 4.12))
    assert "clip-e" in found.tracks["session"].to_numpy()
    gap = found.tracks[found.tracks["session"] == "clip-e"].iloc[0]
    assert (gap["rows"], gap["between"], gap["last"]) == (15, 0, 250)  # 36 frames without a box are too many
