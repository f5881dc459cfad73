"""Lists of clips: every line that the published readers fail on or let pass is named; written lists read the same."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from nbpkg.annotations.people.build import Headings, Labelled, list_folders, list_table, shuffle_samples
from nbpkg.annotations.people.checks import check_files, check_splits, find_leakage, hash_videos, split_template
from nbpkg.annotations.people.classes import class_probabilities, count_classes, epoch_length, sample_weights
from nbpkg.annotations.people.lists import ListForm, read_list, read_lists
from nbpkg.annotations.people.samples import many_hot, parse_labels
from nbpkg.annotations.people.write import convert_list, write_list
from nbpkg.errors import AnnotationError, SettingsError

GOLDEN = Path(__file__).parents[2] / "golden" / "joint_engagement" / "annotations_open.json"
PARSING = json.loads(GOLDEN.read_text())["parsing"]
CLASSES = ("Low", "Medium", "High")
FRAMES = ListForm("frames")


def read_case(case, folder: Path):
    """Read a published case with the form it was read with."""
    asked = case["kwargs"]
    path = folder / f"list{case['ext']}"
    path.write_text(case["file_text"])
    form = ListForm(
        "frames" if case["cls"] == "RawframeDataset" else "video",
        with_offset=asked.get("with_offset", False),
        many_labels=asked.get("multi_class", False),
        classes=asked.get("num_classes", 0),
    )
    return read_list(path, form, prefix=asked["data_prefix"])


def as_records(samples, *, many: bool, offsets: bool) -> list[dict]:
    records = []
    for kind, path, offset, frames, labels in zip(
        samples["kind"],
        samples["path"],
        samples["offset"],
        samples["frames"],
        parse_labels(samples["labels"]),
        strict=True,
    ):
        record = {"frame_dir" if kind == "frames" else "filename": path, "label": list(labels) if many else labels[0]}
        record |= {"total_frames": frames} if kind == "frames" else {}
        records.append(record | ({"offset": offset} if offsets else {}))
    return records


def errors(problems) -> list:
    return [problem for problem in problems if problem.severity == "error"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("place", range(len(PARSING)))
def test_lists_are_read_as_published(place, tmp_path):
    case = PARSING[place]
    samples, problems = read_case(case, tmp_path)
    if "error" in case:
        assert errors(problems)
        assert all(problem.file and problem.row for problem in errors(problems))
    elif not case["video_infos"]:
        assert "empty" in errors(problems)[0].what
    elif any(info["label"] == -1 for info in case["video_infos"]):  # taken without a word by the published reader
        assert [(problem.row, problem.what) for problem in errors(problems)] == [
            (1, "Label -1 of fam01/0001.mp4 is no class.")
        ]
    else:
        asked = case["kwargs"]
        many, offsets = asked.get("multi_class", False), asked.get("with_offset", False)
        assert as_records(samples, many=many, offsets=offsets) == case["video_infos"]
        assert not errors(problems)
        if "class_prob" in case:
            found = class_probabilities(samples["label"].tolist(), asked["power"])
            assert found == {int(label): share for label, share in case["class_prob"].items()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "blank"),
        ("   ", "blank"),
        ("fam01/c", "no label"),
        ("fam01/c 125", "no label"),
        ("fam01/my clip 125 0", "'clip' is no whole number for total_frames"),
        ("fam01/c 125 0 2", "4 entries"),
        ("fam01/c 12.5 0", "'12.5' is no whole number for total_frames"),
        ("fam01/c 1_25 0", "'1_25' is no whole number"),
        ("fam01/c 125 High", "'High' is no whole number for label"),
        ("fam01/c 125 -1", "Label -1"),
        ("fam01/c 125 3", "Label 3"),
        ("fam01/c 0 1", "0 frames"),
    ],
)
def test_wrong_lines_are_named_and_the_others_kept(line, words, tmp_path):
    path = write(tmp_path / "train.txt", "fam01/a 125 0", line, "fam01/b 125 2")
    samples, problems = read_list(path, ListForm("frames", classes=3))
    assert [(problem.row, problem.file) for problem in errors(problems)] == [(2, str(path))]
    assert words in problems[0].what
    assert samples["clip"].tolist() == ["fam01/a", "fam01/b"]


def test_offsets_are_checked(tmp_path):
    path = write(tmp_path / "l.txt", "f/c 12 60 0", "f/c -1 60 0", "f/c 80 60 1")
    samples, problems = read_list(path, ListForm("frames", with_offset=True))
    assert [problem.row for problem in problems] == [2]
    assert samples["sample_id"].tolist() == ["f/c@12", "f/c@80"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("{", 1, "no JSON"),
        ("{}", 0, "dict, not a list"),
        ("[]", 0, "empty"),
        ('[\n{"filename": "a.mp4", "label": [0]},\n{"filename": "b.mp4", "label": 1}]', 3, "Entry 2: its label is 1"),
        ('[\n{"filename": "a.mp4", "label": [0, 1]}]', 2, "2 labels"),
        ('[\n{"filename": "a.mp4", "label": [true]}]', 2, "its label is [True]"),
        ('[\n{"filename": "a.mp4", "label": []}]', 2, "its label is []"),
        ('[{"filename": "a.mp4", "label": [0]}\n, {"frame_dir": "b", "label": [0]}]', 2, "'filename' is None"),
        ('[{"frame_dir": "a", "label": [0]}]', 1, "no 'total_frames'"),
        ('[{"frame_dir": "a", "total_frames": 2.5, "label": [0]}]', 1, "2.5, no whole number"),
        ('[\n\n"a.mp4"]', 3, "str, not an object"),
        ("[" * 100_000, 0, "nested"),
    ],
)
def test_wrong_json_is_named(text, line, words, tmp_path):
    path = tmp_path / "list.json"
    path.write_text(text)
    _, problems = read_list(path, ListForm())
    assert words in problems[0].what
    assert problems[0].row == line


def test_a_list_that_is_not_there_or_no_text_is_a_problem(tmp_path):
    assert "cannot be read" in read_list(tmp_path / "none.txt", ListForm())[1][0].what
    (tmp_path / "b.txt").write_bytes(b"a.mp4 0\n\xff\xfe\xff 1\n")
    assert "no UTF-8" in read_list(tmp_path / "b.txt", ListForm())[1][0].what


def test_forms_that_cannot_be_are_refused():
    with pytest.raises(SettingsError, match="offset"):
        ListForm("video", with_offset=True)
    with pytest.raises(SettingsError, match="number of classes"):
        ListForm(many_labels=True)
    with pytest.raises(SettingsError, match="names no family"):
        read_list(GOLDEN, ListForm(names="(?P<who>.)"))


def test_repeated_clips_are_warned_of_and_refused_with_another_label(tmp_path):
    path = write(tmp_path / "l.txt", "f/a.mp4 0", "f/b.mp4 1", "f/./a.mp4 0", "f/a.mp4 0", "f/b.mp4 2")
    samples, problems = read_list(path, ListForm())
    assert [(problem.row, problem.severity) for problem in problems] == [(4, "warning"), (5, "error")]
    assert "labels 1, 2" in problems[1].what
    assert samples["sample_id"].is_unique
    assert samples["sample_id"].tolist()[3] == "f/a#3"


def test_paths_outside_the_data_folder_are_warned_of(tmp_path):
    path = write(tmp_path / "l.txt", "/abs/a.mp4 0", f"{tmp_path.resolve()}/f/b.mp4 1", "../c.mp4 1")
    samples, problems = read_list(path, ListForm(), prefix=tmp_path)
    assert [(problem.row, problem.severity) for problem in problems] == [(1, "warning")]
    assert "2 paths" in problems[0].what
    assert samples["clip"].tolist() == ["/abs/a", "f/b", "../c"]


def test_family_and_session_come_from_the_path(tmp_path):
    path = write(tmp_path / "l.txt", "fam07/s2/000123.mp4 2", "fam07/1.mp4 0", "1.mp4 0")
    samples, _ = read_list(path, ListForm())
    assert samples["family"].tolist() == ["fam07", "fam07", ""]
    assert samples["session"].tolist() == ["fam07--s2", "fam07", ""]
    other, _ = read_list(path, ListForm(names=r"[^/]*/(?P<family>s\d)"))
    assert other["family"].tolist() == ["s2", "", ""]


def test_a_clip_session_or_family_in_two_splits_is_an_error(tmp_path):
    train = write(tmp_path / "train.txt", "f1/s1/a.mp4 0", "f2/s1/b.mp4 1", "f3/s1/c.mp4 1")
    test = write(tmp_path / "test.txt", "f1/s1/a.avi 0", "f2/s2/d.mp4 1", "f4/s1/e.mp4 1")
    samples, problems = read_lists({"train": train, "test": test}, ListForm())
    leakage = find_leakage(samples)
    assert list(zip(leakage["what"], leakage["name"], strict=True)) == [
        ("clip", "f1/s1/a"),
        ("session", "f1--s1"),
        ("family", "f1"),
        ("family", "f2"),
    ]
    assert set(leakage["splits"]) == {"test;train"}
    assert [problem.severity for problem in problems] == ["error"] * 3
    assert not check_splits(samples[samples["family"].isin(["f3", "f4"])])


def test_copies_of_one_video_are_found_by_their_bytes(tmp_path):
    for name in ("f1/a.mp4", "f2/b.mp4", "f3/c.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("same" if name != "f3/c.mp4" else "other")
    lists = {"train": ("f1/a.mp4 0", "f3/c.mp4 0"), "test": ("f2/b.mp4 0",)}
    files = {split: write(tmp_path / f"{split}.txt", *lines) for split, lines in lists.items()}
    samples, problems = read_lists(files, ListForm(), prefix=tmp_path)
    assert not problems
    leakage = find_leakage(samples, hashes=hash_videos(samples))
    assert leakage[["what", "samples"]].to_numpy().tolist() == [["file content", 2]]


def make_frames(folder: Path, count: int, *, start: int = 1) -> None:
    folder.mkdir(parents=True)
    for number in range(start, start + count):
        (folder / f"img_{number:05}.jpg").touch()


def test_files_are_looked_for_before_anything_is_learnt(tmp_path):
    make_frames(tmp_path / "f/full", 5)
    make_frames(tmp_path / "f/short", 3)
    make_frames(tmp_path / "f/long", 7)
    make_frames(tmp_path / "f/zero", 5, start=0)
    names = ("full", "short", "long", "zero", "none")
    path = write(tmp_path / "l.txt", *(f"f/{name} 5 0" for name in names))
    samples, problems = read_list(path, FRAMES, prefix=tmp_path)
    assert not problems
    found = check_files(samples)
    assert [(problem.row, problem.severity) for problem in found] == [
        (2, "error"),
        (3, "warning"),
        (4, "error"),
        (5, "error"),
    ]
    assert "lacks 2 of 5 pictures, img_00004.jpg" in found[0].what
    assert "2 more pictures" in found[1].what
    assert [problem.row for problem in check_files(samples[samples["clip"] == "f/zero"], start_index=0)] == []


def test_offsets_into_one_folder_reach_its_end(tmp_path):
    make_frames(tmp_path / "f/c", 10)
    path = write(tmp_path / "l.txt", "f/c 0 5 0", "f/c 5 5 1", "f/c 6 5 1")
    samples, _ = read_list(path, ListForm("frames", with_offset=True), prefix=tmp_path)
    assert [problem.row for problem in check_files(samples)] == [3]


def test_videos_are_held_against_their_lists(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "l.json").write_text(
        json.dumps([{"filename": name, "total_frames": 9, "label": [0]} for name in ("a.mp4", "b.mp4")])
    )
    samples, _ = read_list(tmp_path / "l.json", ListForm(), prefix=tmp_path)
    place = samples["path"][0]
    for frames, severities in ((9, ["error"]), (8, ["error", "error"]), (10, ["warning", "error"])):
        assert [problem.severity for problem in check_files(samples, counted={place: frames})] == severities


@pytest.mark.parametrize(
    "template", ["img.jpg", "{:05}{:05}.jpg", "a/{:05}.jpg", "{x}.jpg", "{0.real}.jpg", "{", "{:s}"]
)
def test_names_of_pictures_have_one_number(template):
    with pytest.raises(SettingsError, match="does not name pictures"):
        split_template(template)


@pytest.mark.parametrize("ending", ["txt", "json"])
@pytest.mark.parametrize(
    ("form", "lines"),
    [
        (ListForm(), ("f/a.mp4 0", "f/b.avi 2")),
        (FRAMES, ("f/a 125 0", "f/b 7 2")),
        (ListForm("frames", with_offset=True), ("f/a 0 60 0", "f/a 60 60 1")),
        (ListForm("frames", many_labels=True, classes=3), ("f/a 125 0 2", "f/b 7 1")),
    ],
)
def test_written_lists_read_the_same(form, lines, ending, tmp_path):
    source = write(tmp_path / "in.txt", *lines)
    samples, _ = read_list(source, form, prefix="data/x")
    written = write_list(samples, tmp_path / f"out.{ending}", prefix="data/x", with_offset=form.with_offset)
    again, problems = read_list(written, form, prefix="data/x")
    assert not problems
    pd.testing.assert_frame_equal(again.drop(columns=["file", "row"]), samples.drop(columns=["file", "row"]))


def test_lists_are_converted_both_ways(tmp_path):
    source = write(tmp_path / "in.txt", "f/a 125 0", "f/b 7 2")
    target = convert_list(source, tmp_path / "mid.json", FRAMES)
    assert json.loads(target.read_text())[1] == {"frame_dir": "f/b", "total_frames": 7, "label": [2]}
    assert convert_list(target, tmp_path / "out.txt", FRAMES).read_text() == source.read_text()
    with pytest.raises(AnnotationError, match="row 2: .*blank"):
        convert_list(write(tmp_path / "bad.txt", "f/a 125 0", "", "f/b 7 2"), tmp_path / "bad.json", FRAMES)
    assert not (tmp_path / "bad.json").exists()


def test_what_a_list_cannot_express_is_not_written(tmp_path):
    (tmp_path / "l.json").write_text(json.dumps([{"filename": "my clip.mp4", "label": [0]}]))
    samples, _ = read_list(tmp_path / "l.json", ListForm())
    refused = {
        "blank": samples,
        "no label": samples.assign(labels=""),
        "number of frames": samples.assign(kind="frames"),
        "begins at frame 3": samples.assign(offset=3),
        "cannot hold skeleton": samples.assign(kind="skeleton"),
        "cannot hold no clip": samples[:0],
    }
    for words, table in refused.items():
        with pytest.raises(AnnotationError, match=words):
            write_list(table, tmp_path / "out.txt")
    again, _ = read_list(write_list(samples, tmp_path / "out.json"), ListForm())
    assert again["clip"].tolist() == ["my clip"]


def test_lists_are_built_from_folders_named_after_classes(tmp_path):
    for name in (
        "High/fam1/s1/10.mp4",
        "High/fam1/s1/9.mp4",
        "Low/fam2/1.MP4",
        "odd/fam1/1.mp4",
        "1.mp4",
        "Low/.x.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    samples, problems = list_folders(tmp_path, Labelled(CLASSES))
    assert samples["clip"].tolist() == ["High/fam1/s1/9", "High/fam1/s1/10", "Low/fam2/1"]
    assert samples["label"].tolist() == [2, 2, 0]
    assert samples["session"].tolist() == ["fam1--s1", "fam1--s1", "fam2"]
    assert sorted((problem.severity, problem.what) for problem in problems) == [
        ("error", "1.mp4 lies in no folder of a class."),
        ("error", "Folder 'odd' of odd/fam1/1.mp4 is no class."),
        ("warning", "No clip is of class Medium."),
    ]
    assert "No clip was found." in list_folders(tmp_path / "High", Labelled(("none",)))[1][-1].what


def test_lists_of_picture_folders_are_built_at_any_level(tmp_path):
    make_frames(tmp_path / "fam1/High/c1", 4)
    make_frames(tmp_path / "fam2/Low/c1", 6)
    samples, _ = list_folders(tmp_path, Labelled(CLASSES, "frames"), level=1)
    assert samples[["clip", "family", "frames", "label"]].to_numpy().tolist() == [
        ["fam1/High/c1", "fam1", 4, 2],
        ["fam2/Low/c1", "fam2", 6, 0],
    ]
    assert not check_files(samples)


def test_lists_are_built_from_any_table(tmp_path):
    for name in ("a.mp4", "b.avi", "c.mp4", "c.avi"):
        (tmp_path / name).touch()
    table = pd.DataFrame(
        {
            "video": ["a", "b.avi", "c", "d", "a", "a.mp4"],
            "engagement": ["High", "1", "Low", "Low", "never", "3"],
            "who": ["f1", "f2", "f3", "f4", "f1", "f1"],
            "part": ["train", "test", "test", "test", "test", "train"],
        }
    )
    heads = Headings("video", "engagement", family="who", split="part")
    samples, problems = list_table(table, tmp_path, Labelled(CLASSES), headings=heads, file="t.csv")
    assert samples[["clip", "label", "family", "split"]].to_numpy().tolist() == [
        ["a", 2, "f1", "train"],
        ["b", 1, "f2", "test"],
    ]
    said = {problem.row: problem.what for problem in errors(problems)}
    assert sorted(said) == [4, 5, 6, 7]
    assert "2 videos c" in said[4]
    assert "no video d" in said[5]
    assert "'never'" in said[6]
    assert "Label 3" in said[7]
    assert "no column 'path'" in list_table(table, tmp_path, Labelled(CLASSES))[1][0].what


def test_lists_are_shuffled_the_same_for_the_same_seed(tmp_path):
    samples, _ = read_list(write(tmp_path / "l.txt", *(f"f/{one}.mp4 0" for one in range(30))), ListForm())
    first, again, other = (shuffle_samples(samples, seed=seed)["row"].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(first) == samples["row"].tolist()


def test_classes_are_counted_in_each_split(tmp_path):
    files = {
        "train": write(tmp_path / "a.txt", "f1/s1/a.mp4 0", "f1/s2/b.mp4 2", "f2/s1/c.mp4 2"),
        "test": write(tmp_path / "b.txt", "f3/s1/d.mp4 0"),
    }
    samples, _ = read_lists(files, ListForm())
    table = count_classes(samples, CLASSES).set_index(["split", "name"])
    assert table.loc[("train", "High"), ["samples", "families", "sessions"]].tolist() == [2, 2, 2]
    assert table.loc[("train", "High"), "share"] == pytest.approx(2 / 3)
    assert table.loc[("test", "Medium"), "samples"] == 0


def test_weights_balance_classes_in_every_mode():
    labels = [0] * 2 + [1] * 10 + [2] * 8
    weights = sample_weights(labels, 0.0)
    assert weights.sum() == pytest.approx(1)
    assert [weights[start:stop].sum() for start, stop in ((0, 2), (2, 12), (12, 20))] == pytest.approx([1 / 3] * 3)
    assert sample_weights(labels, 1.0) == pytest.approx([1 / 20] * 20)
    assert epoch_length(labels, 1.0) == 20
    assert epoch_length(labels, 0.0) == 30
    with pytest.raises(AnnotationError, match="balanced"):
        class_probabilities([])


def test_several_labels_become_vectors(tmp_path):
    form = ListForm(many_labels=True, classes=3)
    samples, problems = read_list(write(tmp_path / "l.txt", "a.mp4 0 2", "b.mp4 1", "c.mp4 1 1"), form)
    assert many_hot(samples, 3).tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert [(problem.row, problem.severity) for problem in problems] == [(3, "warning")]
    assert samples["label"].tolist() == [-1, 1, -1]
    with pytest.raises(AnnotationError, match="none of 2 classes"):
        many_hot(samples, 2)
    with pytest.raises(AnnotationError, match="exactly one|each with one"):
        class_probabilities(samples["label"].tolist())
