"""Bad annotations get one error that names them all; what can be used is used, and said."""

import json

import numpy as np
import pytest
from looking_cases import box, clip, content, person, segment, track, write, write_ego4d

from nbpkg.annotations.looking.exports import write_exports
from nbpkg.annotations.looking.faces import build_tracks, count_marks
from nbpkg.errors import AnnotationError, StageError
from nbpkg.settings.looking import FaceTrackSettings


def build(root, *clips, val=None, video="v1", split="train", **settings):
    names = write_ego4d(root, content(*clips, video=video, split=split), val)
    return build_tracks(root, FaceTrackSettings(annotations=names, **settings))


def refuse(root, *clips, **settings):
    with pytest.raises(AnnotationError) as error:
        build(root, *clips, **settings)
    return error.value.what


def said(found):
    return [f"{problem.severity}: {problem.what}" for problem in found.problems]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\\b", "", "a\0b", ".hidden", "x" * 300, "a\nb", "tail. "])
def test_ids_that_would_leave_the_folder_are_refused_by_name(tmp_path, name):
    shown = json.dumps(name)[1:-1].replace("\\u0000", "\\x00").replace("\\\\", "\\")[:40]
    text = refuse(tmp_path, clip(persons=[person("1", track(name))]))
    assert "Track id" in text
    assert shown in text
    assert "Clip uid" in refuse(tmp_path, clip(name))
    assert "Video uid" in refuse(tmp_path, clip(), video=name)


def test_opaque_ids_are_kept(tmp_path):
    found = build(tmp_path, clip("007", [person("1", track("a:b 1"), track("10"), track("9"))]))
    assert found.tracks["track"].tolist() == ["10", "9", "a:b 1"]
    assert found.footage["session"].tolist() == ["007"]


def test_values_of_another_kind_are_all_named(tmp_path):
    bad = track("t9")
    bad["track"] = [box(1), box(2, x="10"), box(3, x=None), box(4)]
    floating = track("t8")
    floating["track"] = [box(1.0)]
    lacking = track("t7")
    lacking["track"] = [{"frame": 1, "x": 0, "y": 0, "width": 3}, 5]
    infinite = track("t6")
    infinite["track"] = [box(1, height=1e999), box(2)]
    far = track("t5")
    far["track"] = [box(10**12)]
    clips = [
        clip("c1", [person("1", bad, floating), person("2", lacking, infinite, far), "nobody", {"person_id": 1.5}]),
        clip("c2", social_segments_looking=[segment(start="2"), 7, segment(is_at_me="yes")]),
        {"persons": []},
    ]
    text = refuse(tmp_path, *clips)
    for part in (
        "av_train.json",
        "Clip 'c1', track 't9', box 2: x is '10', and 1 more like it",
        "track 't8', box 1: frame is 1.0",
        "track 't7', box 1: height is null",
        "track 't7', box 2",
        "track 't6', box 1: height is Infinity",
        "track 't5', box 1: frame is 1000000000000",
        "Clip 'c1', person 3: It is \"nobody\"".replace('"', "'"),
        "person 4: person_id is 1.5",
        "Clip 'c2', looking segment 1: start_frame is '2'",
        "looking segment 2: It is 7",
        "looking segment 3: is_at_me is 'yes'",
        "there is no clip_uid",
    ):
        assert part in text


def test_same_track_id_under_two_persons_and_same_clip_twice_are_errors(tmp_path):
    text = refuse(
        tmp_path,
        clip("c1", [person("1", track("t")), person("2", track("t"))]),
        val=content(clip("c1"), video="v2", split="val"),
    )
    assert "Clip 'c1' has 2 tracks 't'" in text
    assert "Clip 'c1' is annotated in av_train.json, too" in text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "It is no JSON"),
        ("[]{}", "More follows"),
        ("[]", "It holds []"),
        ('{"videos": {}}', "videos is {}"),
        ("[" * 100_000, "no JSON text"),
    ],
)
def test_a_file_that_is_no_annotation_is_named(tmp_path, text, part):
    write(tmp_path / "a.json", text)
    with pytest.raises(AnnotationError, match="a.json") as error:
        build_tracks(tmp_path, FaceTrackSettings(annotations=["a.json", "missing.json"]))
    assert part in error.value.what
    assert "missing.json: The file cannot be read" in error.value.what


def test_camera_wearer_is_known_by_flag_and_by_place_as_published(tmp_path):
    persons = [person("1", track("a")), person("0", track("me"), wearer=True), person("2", track("b"))]
    found = build(tmp_path, clip("c1", persons))
    assert found.tracks["track"].tolist() == ["a", "b"]
    assert found.footage["persons"].tolist() == [2]
    assert any("The camera wearer is person 2 of the list" in one for one in said(found))
    published = build(tmp_path, clip("c1", persons), compat="reference")
    assert published.tracks["track"].tolist() == ["b", "me"]
    unmarked = [{**one, "camera_wearer": None} for one in persons]
    assert build(tmp_path, clip("c1", unmarked)).tracks["track"].tolist() == ["b", "me"]
    nobody = build(tmp_path, clip("c1", [person("1", track("a"))]))
    assert nobody.tracks["track"].tolist() == ["a"]
    assert any("No person is the camera wearer" in one for one in said(nobody))


def test_either_pair_of_cut_points_is_taken(tmp_path):
    older = clip("c2", parent_start_sec=3, parent_end_sec=4.5)
    del older["video_start_sec"], older["video_end_sec"]
    none = {key: value for key, value in older.items() if not key.startswith("parent")} | {"clip_uid": "c3"}
    found = build(tmp_path, clip("c1"), older, none, clip("c4", video_start_sec=9, video_end_sec=1))
    assert found.footage[["start_s", "end_s"]].fillna(-1).to_numpy().tolist() == [[0, 10], [3, 4.5], [-1, -1], [9, 1]]
    assert any("cut from 9.0 s to 1.0 s" in one for one in said(found))
    assert "video_end_sec" in refuse(tmp_path, clip("c1", video_end_sec=None))


def test_labels_follow_persons_and_nobody_looks_without_segments(tmp_path):
    looking = [
        segment("1", 2, 3),
        segment("'2'", 1, 1),
        segment(None, 1, 9),
        segment("-1", 1, 9),
        segment("9", 1, 2),
        segment("1", 8, 4),
    ]
    persons = [person("0", wearer=True), person("1", track("a")), person("2", track("b")), person("", track("c"))]
    found = build(
        tmp_path,
        clip("c1", persons, social_segments_looking=looking),
        clip("c2", social_segments_looking=None),
        clip("c3", social_segments_looking=[]),
    )
    assert found.faces["label"].tolist() == [0, 1, 1, 0, 1, 0, 0, 0, *[0] * 8]
    assert found.tracks["track"].tolist() == ["a", "b", "t1", "t1"]
    assert found.footage["looking"].tolist() == [6, -1, 0]
    lines = " ".join(said(found))
    for part in (
        "without a usable box: 'c'",
        "1 looking segments without a person",
        "of '9', who has no track",
        "1 looking segments that end before they begin",
        "repaired: Clip 'c1' has 1 looking segments with apos",
        "'c2' has no looking segments: nobody counts as looking",
        "4 boxes without size",
    ):
        assert part in lines
    assert "'c3'" not in lines
    published = build(tmp_path, clip("c1", persons, social_segments_looking=looking), compat="reference")
    assert published.faces["label"].tolist() == [0, 1, 1, 0, 0, 0, 0, 0]


def test_marks_of_segments_are_counted_and_change_no_label(tmp_path):
    looking = [segment("1", 1, 2, is_at_me=True), segment("1", 3, 3, target="0"), segment("1", 4, 4, target="2")]
    found = build(
        tmp_path,
        clip("c1", social_segments_looking=looking),
        val=content(clip("c2", social_segments_looking=None), video="v2", split="val"),
    )
    assert found.faces["label"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    counts = count_marks(found.footage).set_index("split")
    assert counts.loc["all"].tolist() == [2, 1, 3, 1, 2]
    assert counts.loc["train"].tolist() == [1, 0, 3, 1, 2]


def test_test_clips_without_segments_have_no_labels(tmp_path):
    hidden = clip("c1", social_segments_looking=None)
    found = build(tmp_path, hidden, clip("c2"), split="test")
    assert found.footage["labelled"].tolist() == [False, True]
    assert found.faces["label"].tolist() == [-1, -1, -1, -1, 0, 1, 1, 0]
    assert found.tracks["looking"].tolist() == [0, 2]


def test_repeated_frames_are_noted(tmp_path):
    found = build(tmp_path, clip("c1", [person("0", wearer=True), person("1", track("a", [2, 1, 1, 3]))]))
    assert found.faces["frame"].tolist() == [1, 2, 3]
    assert any(one.startswith("repaired: Clip 'c1' has 1 further boxes") for one in said(found))


def test_rows_of_faces_follow_the_table(tmp_path):
    clips = [
        clip(name, [person("0", wearer=True), person("1", track("t2", range(1, 4)), track("t10", range(5, 12, 2)))])
        for name in ("z", "a")
    ]
    found = build(tmp_path, *clips)
    assert found.tracks[["session", "track"]].agg(" ".join, axis=1).tolist() == ["a t10", "a t2", "z t10", "z t2"]
    assert found.tracks["offset"].tolist() == [0, 7, 10, 17]
    assert len(found.faces) == found.tracks["rows"].sum() == 20
    assert found.tracks["between"].tolist() == [3, 0, 3, 0]
    for row in found.tracks.to_dict("records"):
        own = found.faces[row["offset"] : row["offset"] + row["rows"]]
        assert (own["frame"][0], own["frame"][-1]) == (row["first"], row["last"])
        assert (np.diff(own["frame"]) > 0).all()


def test_lists_decide_the_part_and_say_what_is_odd(tmp_path):
    write(tmp_path / "train.list", "\ufeffc1\r\n c2 \n\nc1\nother\n")
    write(tmp_path / "val.list", "c3")
    lists = {"train": "train.list", "val": "val.list"}
    clips = [clip(f"c{number}") for number in range(1, 5)]
    found = build(tmp_path, *clips, lists=lists)
    assert found.footage["split"].tolist() == ["train", "train", "val", ""]
    lines = " ".join(said(found))
    for part in (
        "1 line is empty",
        "1 clips are repeated; each counts once: 'c1'",
        "1 clips of the list are not annotated and left out: 'other'",
        "are annotated but in no list: 'c4'",
    ):
        assert part in lines
    write(tmp_path / "val.list", "c3\nc2\n")
    assert "val.list: Clip 'c2' is in list train, too" in refuse(tmp_path, *clips, lists=lists)
    assert "test.list: The list cannot be read" in refuse(tmp_path, *clips, lists={"test": "test.list"})


def prepare(root, *records, name="t1", who="1"):
    write(root / "json_original" / "c1" / f"{name}.json", list(records))


def record(frame, who="1", **changes):
    return {
        "clip_uid": "c1",
        "frameNumber": frame,
        "Person ID": who,
        "x": 1,
        "y": 2,
        "width": 3,
        "height": 4,
        **changes,
    }


def test_prepared_folders_give_the_same_as_annotations(tmp_path):
    found = build(tmp_path, clip("c1"), clip("c2", social_segments_looking=None))
    write_exports(found.clips, tmp_path / "out")
    settings = FaceTrackSettings(form="prepared", tracks="out/json_original", segments="out/result_LAM")
    again = build_tracks(tmp_path, settings)
    assert np.array_equal(again.faces, found.faces)
    assert again.tracks.equals(found.tracks)
    assert again.footage["looking"].tolist() == [1, -1]
    assert again.footage["video"].tolist() == ["c1", "c2"]
    assert any("each counts as a video of its own" in one for one in said(again))


def test_prepared_files_that_cannot_be_used_are_all_named(tmp_path):
    prepare(tmp_path, record(1), record(2, "2"))
    prepare(tmp_path, record(1), record("2"), name="t2")
    prepare(tmp_path, record(1, clip_uid="c9"), name="t3")
    write(tmp_path / "json_original" / "c1" / "t4.json", "[][]")
    write(tmp_path / "json_original" / "c1" / "t5.json", "{}")
    write(tmp_path / "result_LAM" / "c1.json", [{"label": "1", "start_frame": 1}])
    with pytest.raises(AnnotationError) as error:
        build_tracks(tmp_path, FaceTrackSettings(form="prepared"))
    for part in (
        "c1/t1.json: Its boxes are of 2 persons: '1', '2'",
        "c1/t2.json: Track 't2', box 2: frameNumber is '2'",
        "c1/t3.json: Its boxes are of clip 'c9'",
        "c1/t4.json: More follows behind the end",
        "appended when it was run twice",
        "c1/t5.json: It holds {}",
        "result_LAM/c1.json: Segment 1: there is no end_frame",
    ):
        assert part in error.value.what
    with pytest.raises(AnnotationError, match=r"There is no folder .*nowhere"):
        build_tracks(tmp_path, FaceTrackSettings(form="prepared", tracks="nowhere"))


def test_prepared_boxes_of_nobody_are_dropped(tmp_path):
    prepare(tmp_path, record(1), record(2, ""), record(3))
    write(tmp_path / "result_LAM" / "c1.json", [])
    write(tmp_path / "result_LAM" / "c7.json", [])
    found = build_tracks(tmp_path, FaceTrackSettings(form="prepared", max_gap=0))
    assert found.faces["frame"].tolist() == [1, 3]
    assert any("files are of clips without tracks: 'c7'" in one for one in said(found))


def test_a_second_annotator_adds_segments_and_no_labels(tmp_path):
    write(tmp_path / "second" / "c1.json", [{"label": "1", "start_frame": 4, "end_frame": 4}])
    found = build(tmp_path, clip("c1"), clip("c2"), second="second")
    assert found.segments[["session", "annotator", "start_frame"]].to_numpy().tolist() == [
        ["c1", "first", 2],
        ["c1", "second", 4],
        ["c2", "first", 2],
    ]
    assert found.faces["label"].tolist() == [0, 1, 1, 0] * 2
    assert "second: There is no folder" in refuse(tmp_path, clip("c1"), second="elsewhere/second")


def test_nothing_at_all_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="No clip is annotated"):
        build(tmp_path)


def test_exports_are_complete_or_not_there(tmp_path):
    found = build(tmp_path, clip("c1"))
    write(tmp_path / "bad.json", "[]")
    with pytest.raises(AnnotationError, match=r"no list of videos"):
        write_exports(found.clips, tmp_path / "out", annotations=[tmp_path / "bad.json"])
    assert not (tmp_path / "out").exists()
    write(tmp_path / "file", "")
    with pytest.raises(StageError):
        write_exports(found.clips, tmp_path / "file" / "out")
    table = write_exports(found.clips, tmp_path / "out", downloads=["a", "b"])
    assert table.set_index("what")["entries"].to_dict() == {
        "json_original": 4,
        "result_LAM": 1,
        "result_TTM": 0,
        "download.txt": 2,
    }
    assert (tmp_path / "out" / "download.txt").read_text() == "a\nb\n"
    assert not list(tmp_path.glob(".*"))
