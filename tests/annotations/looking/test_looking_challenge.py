"""Test crops of the challenge, and the commands that fetch clips."""

import numpy as np
import pandas as pd
import pytest
from looking_cases import clip, content, write, write_ego4d

from nbpkg.annotations.looking.challenge import parse_name, read_challenge, window_pictures
from nbpkg.annotations.looking.downloads import clip_commands, list_downloads, read_manifest
from nbpkg.annotations.looking.faces import build_tracks
from nbpkg.errors import AnnotationError
from nbpkg.settings.looking import FaceTrackSettings


def fill(root, *names, clip="u1", track="0"):
    for name in names:
        write(root / clip / track / name, "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("00005_abc.jpg", ("00005", "abc")),
        ("00005_a_b.jpg", ("00005", "a_b")),
        ("5_a.b.c.jpg", ("5", "a.b.c")),
        ("abc.jpg", None),
        ("_a.jpg", None),
        ("x5_a.jpg", None),
        ("5_.jpg", None),
        ("5_a", None),
        ("٥_a.jpg", None),
    ],
)
def test_names_are_cut_at_the_first_line_and_the_last_dot(name, said):
    assert parse_name(name) == said


def test_pictures_are_in_order_of_frames_and_odd_ones_are_named(tmp_path):
    fill(tmp_path, "00010_b.jpg", "9_a.jpg", "00011_c.JPG", ".hidden", "notes.txt")
    fill(tmp_path, track="1")
    (tmp_path / "u1" / "1").mkdir()
    pictures, problems = read_challenge(tmp_path)
    assert pictures["frame"].tolist() == [9, 10, 11]
    assert pictures["path"].tolist() == ["u1/0/9_a.jpg", "u1/0/00010_b.jpg", "u1/0/00011_c.JPG"]
    assert [problem.severity for problem in problems] == ["warning"] * 2
    fill(tmp_path, "noframe.jpg", "00010_d.jpg", "00012_a.jpg", "99999999999_x.jpg")
    _, problems = read_challenge(tmp_path)
    errors = " ".join(problem.what for problem in problems if problem.severity == "error")
    for part in ("'noframe.jpg'", "'99999999999_x.jpg'", "Frame 10 is that of several", "Id 'a' is that of several"):
        assert part in errors


def test_windows_match_frames_and_not_digits_inside_of_ids(tmp_path):
    fill(tmp_path, "00001_a00003b.jpg", "00002_b.jpg", "00003_c.jpg", "00009_d.jpg")
    pictures, _ = read_challenge(tmp_path)
    assert window_pictures(pictures).tolist() == [
        [-1, -1, -1, 0, 1, 2, -1],
        [-1, -1, 0, 1, 2, -1, -1],
        [-1, 0, 1, 2, -1, -1, -1],
        [-1, -1, -1, 3, -1, -1, -1],
    ]
    published = window_pictures(pictures, compat=True)
    assert published[:3].tolist() == [[-1, -1, -1, 0, 1, 0, -1], [-1, -1, 0, 1, 0, -1, -1], [-1, 0, 1, 0, -1, -1, -1]]


def test_windows_stay_in_their_track(tmp_path):
    for number, track in enumerate(("0", "1", "2")):
        fill(tmp_path, *(f"{frame:05d}_{track}{frame}.jpg" for frame in range(number, 9, 2)), track=track)
    pictures, _ = read_challenge(tmp_path)
    found = window_pictures(pictures)
    frames = pictures["frame"].to_numpy()
    for row, slots in enumerate(found):
        for offset, slot in zip(range(-3, 4), slots, strict=True):
            same = (pictures["track"] == pictures["track"][row]) & (frames == frames[row] + offset)
            assert slot == (np.flatnonzero(same)[0] if same.any() else -1)


def test_test_crops_become_tracks_without_boxes_and_labels(tmp_path):
    write_ego4d(tmp_path, content(clip("m1")))
    fill(tmp_path / "crops", "00004_a.jpg", "00006_b.jpg", clip="a1")
    fill(tmp_path / "crops", "00001_c.jpg", clip="z1", track="7")
    settings = FaceTrackSettings(annotations=["json/av_train.json"], challenge="crops")
    found = build_tracks(tmp_path, settings)
    assert found.footage[["session", "split", "labelled"]].to_numpy().tolist() == [
        ["a1", "test", False],
        ["m1", "train", True],
        ["z1", "test", False],
    ]
    assert found.tracks["offset"].tolist() == [0, 2, 6]
    assert found.tracks["person"].tolist() == ["", "1", ""]
    assert found.faces["frame"].tolist() == [4, 6, 1, 2, 3, 4, 1]
    assert np.isnan(found.faces["x0"]).tolist() == [True, True, False, False, False, False, True]
    assert found.faces["label"].tolist() == [-1, -1, 0, 1, 1, 0, -1]
    assert found.challenge["unique_id"].tolist() == ["a", "b", "c"]
    assert found.challenge["path"][0] == "crops/a1/0/00004_a.jpg"
    fill(tmp_path / "crops", "00001_d.jpg", clip="m1")
    with pytest.raises(AnnotationError, match=r"1 clips are annotated and have test crops, too: 'm1'"):
        build_tracks(tmp_path, settings)
    with pytest.raises(AnnotationError, match="There is no folder"):
        build_tracks(tmp_path, settings.model_copy(update={"challenge": "nowhere"}))


def test_test_crops_alone_are_enough(tmp_path):
    fill(tmp_path / "crops", "00004_a.jpg")
    found = build_tracks(tmp_path, FaceTrackSettings(annotations=[], challenge="crops"))
    assert found.tracks["rows"].tolist() == [1]
    assert found.segments.empty


def test_manifest_is_held_against_its_columns(tmp_path):
    _, problems = read_manifest(write(tmp_path / "m.csv", "video_uid,place\nv,s3://x\n"))
    assert "canonical_s3_location" in problems[0].what
    assert problems[0].severity == "error"
    places, problems = read_manifest(
        write(tmp_path / "m.csv", "video_uid,canonical_s3_location\nv,--help\n,s3://x\nw\n")
    )
    assert places == {}
    assert [problem.severity for problem in problems] == ["warning"] * 3
    assert read_manifest(tmp_path / "none.csv")[1][0].severity == "error"


def test_commands_quote_what_a_shell_would_take_apart():
    footage = pd.DataFrame(
        [
            ["c 1", "v;rm", "train", 0.5, 2.25, True],
            ["c2", "v2", "val", 0.0, 1.0, True],
            ["c3", "v;rm", "train", np.nan, np.nan, True],
            ["c4", "lost", "train", 0.0, 1.0, True],
        ],
        columns=["session", "video", "split", "start_s", "end_s", "labelled"],
    )
    places = {"v;rm": "s3://b/$(x)", "v2": "s3://b/v2"}
    lines, problems = list_downloads(footage, places)
    how = "-c:a copy -vcodec libx264 -keyint_min 2 -g 1"
    assert lines == [
        "set -eu",
        "mkdir -p data/tmp data/videos",
        "aws s3 cp s3://b/v2 data/tmp/v2",
        f"ffmpeg -y -i data/tmp/v2 -ss 0.0 -to 1.0 {how} data/videos/c2.mp4",
        "rm -- data/tmp/v2",
        "aws s3 cp 's3://b/$(x)' 'data/tmp/v;rm'",
        f"ffmpeg -y -i 'data/tmp/v;rm' -ss 0.5 -to 2.25 {how} 'data/videos/c 1.mp4'",
        "rm -- 'data/tmp/v;rm'",
    ]
    assert "2 clips cannot be fetched: 'c3', 'c4'" in problems[0].what
    assert clip_commands(footage, places)["session"].tolist() == ["c2", "c 1"]
    assert list_downloads(footage, {})[0] == []
