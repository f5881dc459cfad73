"""Subtitles to cues on exact frames; the published reader with its defects; the published exchange form."""

import json

import numpy as np
import pytest
from valence_files import GOLDEN, texts, write

from nbpkg.annotations.valence.reference_transcripts import read_records
from nbpkg.annotations.valence.srt import Cue, cut_overlaps, find_frame, read_srt, read_time
from nbpkg.annotations.valence.transcripts import (
    ScoredCue,
    difference_cues,
    find_transcripts,
    read_transcript,
    report_cues,
    score_cues,
    write_transcript,
)
from nbpkg.errors import AnnotationError

CASES = json.loads((GOLDEN / "text_open.json").read_text())
CUES = [Cue(*cue) for cue in CASES["cues"]]
VALENCE = np.array(CASES["annotation"])


def srt(tmp_path, text, **options):
    return read_srt(write(tmp_path / "a.srt", text), **options)


def cue_list(cues):
    return [[cue.id, cue.start_time, cue.end_time, cue.text] for cue in cues]


def rendered(*cues):
    return "".join(f"{number}\n{times}\n{text}\n\n" for number, (times, text) in enumerate(cues, 1))


FIRST = "1\n00:00:00,000 --> 00:00:01,000\none\n\n"


@pytest.mark.parametrize("name", CASES["srt"])
def test_the_published_reader_is_reproduced(tmp_path, name):
    case = CASES["srt"][name]
    cues, _ = srt(tmp_path, case["text"], compat="reference")
    assert cue_list(cues) == case["parsed"]


def test_the_published_reader_takes_the_words_of_the_cue_before():
    lines = ["1", "a --> b", "", "2", "c --> d", "words", "", "3", "e --> f"]
    assert read_records(lines) == [("1", "a", "b", None), ("2", "c", "d", "words"), ("3", "e", "f", "words")]


def test_our_reader_joins_lines_and_has_each_cue_once(tmp_path):
    cases = CASES["srt"]
    cues, problems = srt(tmp_path, cases["two_line_cue"]["text"])
    assert [cue.text for cue in cues] == ["first line second line", "third"]
    assert problems == []
    cues, problems = srt(tmp_path, cases["double_blank"]["text"])
    assert cue_list(cues) == [cases["double_blank"]["parsed"][0], cases["double_blank"]["parsed"][2]]
    assert problems == []
    cues, _ = srt(tmp_path, cases["bom_and_spaces"]["text"])
    assert cue_list(cues) == [["1", "00:01:00.040", "00:01:01,960", "padded text"]]
    assert (cues[0].start_ms, cues[0].end_ms) == (60040, 61960)


@pytest.mark.parametrize("name", ["plain", "no_final_newline"])
def test_where_the_published_reader_is_right_ours_agrees(tmp_path, name):
    cues, problems = srt(tmp_path, CASES["srt"][name]["text"].replace("\n", "\r\n"))
    assert cue_list(cues) == CASES["srt"][name]["parsed"]
    assert problems == []


def test_published_frames_by_floating_point_and_ours_exactly():
    for text, frame in CASES["time_to_frame_25fps"].items():
        assert find_frame(read_time(text), 25, compat="reference") == frame
    differ = [ms for ms in range(4000) if find_frame(ms, 25, compat="reference") != find_frame(ms, 25)]
    assert {1160, 2320} <= set(differ)
    assert [find_frame(ms, 25) for ms in (1160, 2320, 1159, 40, 39)] == [29, 58, 28, 1, 0]


def test_overlapping_cues_end_where_the_next_one_starts(tmp_path):
    cues, problems = srt(
        tmp_path,
        rendered(("00:00:00,000 --> 00:00:03,000", "one"), ("00:00:02.500 --> 00:00:04,000", "two"),
                 ("00:00:04,000 --> 00:00:05,000", "three")),
    )  # fmt: skip
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 2500), (2500, 4000), (4000, 5000)]
    assert cues[0].end_time == "00:00:02.500"
    assert problems == []
    assert cut_overlaps([]) == []


def test_blank_lines_within_and_between_cues_do_not_matter(tmp_path):
    text = "\n\n1\n00:00:00,000 --> 00:00:01,000\none\n\nmore\n2\n00:00:01,000 --> 00:00:02,000\ntwo\n\n\n\n3\n\n"
    cues, problems = srt(tmp_path, text + "00:00:02,000 --> 00:00:03,000 X1:10\n20\n")
    assert [(cue.id, cue.text) for cue in cues] == [("1", "one more"), ("2", "two"), ("3", "20")]
    assert problems == []


def test_cues_without_words_are_left_out_and_told(tmp_path):
    text = FIRST + "2\n00:00:01,000 --> 00:00:02,000\n \n\n3\n00:00:02,000 --> 00:00:03,000\nthree"
    cues, problems = srt(tmp_path, text)
    assert [cue.text for cue in cues] == ["one", "three"]
    assert texts(problems, "warning") == ["a.srt, row 6: Cues without words were left out (lines 6)."]


@pytest.mark.parametrize(
    "line",
    [
        "00:00:01,000 -> 00:00:02,000",
        "00:00:01 --> 00:00:02",
        "00:00:01,000 --> 00:00:99,000",
        "00:00:1O,000 --> 00:00:12,000",
        "00:00:01,000 -->",
        "--> 00:00:02,000",
        "one second to two",
    ],
)
def test_a_bad_time_is_named_with_its_line(tmp_path, line):
    text = f"{FIRST}2\n{line}\ntwo\n\n3\n00:00:02,000 --> 00:00:03,000\nthree\n"
    cues, problems = srt(tmp_path, text)
    assert cue_list(cues)[-1] == ["3", "00:00:02,000", "00:00:03,000", "three"]
    assert texts(problems, "error") == [f"a.srt, row 6: Line 6, {line!r}, should hold the times of a cue and does not."]
    assert "HH:MM:SS,mmm --> HH:MM:SS,mmm" in problems[0].expected


def test_a_cue_that_ends_before_it_starts_is_named(tmp_path):
    _, problems = srt(tmp_path, "1\n00:00:02,000 --> 00:00:01,000\none\n")
    assert [problem.what for problem in problems] == ["Line 2, '00:00:02,000 --> 00:00:01,000', ends before it starts."]


def test_words_that_belong_to_no_cue_are_named(tmp_path):
    cues, problems = srt(tmp_path, "WEBVTT\n\n" + FIRST)
    assert len(cues) == 1
    assert texts(problems, "error") == ["a.srt, row 1: Line 1, 'WEBVTT', should hold the times of a cue and does not."]
    cues, problems = srt(tmp_path, "only\nwords\n")
    assert cues == []
    assert len(problems) == 1


def test_numbers_twice_and_order_are_put_right_and_told(tmp_path):
    text = FIRST + FIRST + FIRST.replace("one", "other") + "9\n00:00:07,000 --> 00:00:08,000\nlate\n\n"
    cues, problems = srt(tmp_path, text + "10\n00:00:05,000 --> 00:00:06,000\nearly\n")
    assert [(cue.id, cue.text) for cue in cues] == [("1", "one"), ("1 (2)", "other"), ("10", "early"), ("9", "late")]
    assert [problem.what for problem in problems] == [
        "Cues that repeat another one word for word were left out (lines 6).",
        "Cues with the number of another one got one of their own (lines 10).",
        "Cues that start before the one above were put in order of time (lines 18).",
    ]
    assert {problem.severity for problem in problems} == {"repaired"}


def test_other_kinds_of_files_and_empty_ones_are_refused(tmp_path):
    cues, problems = read_srt(write(tmp_path / "a.ass", "[Script Info]"))
    assert cues == []
    assert texts(problems, "error") == ["a.ass: Files of kind .ass are not read."]
    assert "SubRip" in problems[0].remedy
    assert texts(srt(tmp_path, "")[1], "error") == ["a.srt: The file is empty."]
    assert "no UTF-8" in srt(tmp_path, b"1\n\xe9")[1][0].what


def test_transcripts_are_found_however_their_names_are_spelt(tmp_path):
    for name in ("transcribed_subject_1_story_2.srt", "transcribed_subject_2_Story_4.srt", "Subject_3_story2.SRT"):
        write(tmp_path / name, FIRST)
    write(tmp_path / "transcribed_subject_1_story_2.ass", "")
    files, problems = find_transcripts(tmp_path, show="Transcriptions")
    assert set(files) == {"Subject_1_Story_2", "Subject_2_Story_4", "Subject_3_Story_2"}
    assert texts(problems, "warning") == ["Transcriptions: 1 file was not read: transcribed_subject_1_story_2.ass."]
    write(tmp_path / "Subject_1_Story_2.srt", FIRST)
    assert texts(find_transcripts(tmp_path, show="T")[1], "error") == [
        "T: Subject_1_Story_2 has two files: Subject_1_Story_2.srt and transcribed_subject_1_story_2.srt."
    ]


@pytest.mark.parametrize("compat", ["none", "reference"])
def test_cues_have_the_published_frames_and_averages(compat):
    scored = score_cues(CUES, VALENCE, compat=compat)
    for mine, theirs in zip(scored, CASES["utterances"], strict=True):
        assert [mine.cue.id, mine.cue.start_time, mine.cue.end_time, mine.cue.text] == [
            theirs[name] for name in ("id", "start_time", "end_time", "text")
        ]
        assert (mine.start_frame, mine.end_frame) == (theirs["start_frame"], theirs["end_frame"])
        assert len(mine.scores) == theirs["scores_len"]
        assert mine.average == (None if theirs["average"] is None else pytest.approx(theirs["average"], abs=1e-12))


def test_differences_are_the_published_ones_and_empty_cues_spoil_none():
    changes = [[one.cue.id, one.average] for one in difference_cues(score_cues(CUES, VALENCE))]
    assert changes[1] == ["2", None]
    del changes[1]
    for mine, theirs in zip(changes, CASES["differences_without_empty_utterances"], strict=True):
        assert mine == [theirs[0], pytest.approx(theirs[1], abs=1e-12)]


def test_small_differences_are_none():
    cues = [ScoredCue(CUES[0], 0, 1, (value,), value) for value in (0.5, 0.5 + 9e-7, 0.6)]
    assert [one.average for one in difference_cues(cues)] == [0.5, 0.0, pytest.approx(0.1 - 9e-7)]


def test_frames_without_value_do_not_poison_an_average():
    values = np.array([np.nan, 0.2, 0.4, np.nan])
    cues = [Cue("1", "00:00:00,000", "00:00:03,000", "a"), Cue("2", "00:00:03,000", "00:00:09,000", "b"),
            Cue("3", "00:00:09,000", "00:00:11,000", "c")]  # fmt: skip
    scored = score_cues(cues, values, fps=1)
    assert scored[0].average == pytest.approx(0.3)
    assert scored[0].scores == (None, 0.2, 0.4)
    assert [(one.start_frame, one.end_frame, one.average) for one in scored[1:]] == [(3, 4, None), (9, 4, None)]


def test_cues_behind_the_end_and_too_short_ones_are_told():
    cues = [CUES[0], CUES[1], Cue("9", "00:01:00,000", "00:01:01,000", "late")]
    problems = report_cues(score_cues(cues, VALENCE), len(VALENCE), file="a.srt")
    assert texts(problems, "warning") == [
        "a.srt: Cues begin behind the end of the annotation (260 frames): 9.",
        "a.srt: Cues are shorter than a frame and have no valence: 2.",
    ]


def test_the_published_form_is_written_and_read_back(tmp_path):
    scored = score_cues(CUES, np.where(VALENCE == -1.0, np.nan, VALENCE))
    path = write_transcript(scored, tmp_path / "Training" / "Subject_1_Story_2.json")
    assert read_transcript(path) == scored
    text = path.read_text()
    assert text.startswith('[\n   {\n      "id": "1",\n      "start_time": "00:00:01,000",\n')
    assert list(json.loads(text)[0]) == [
        "id", "start_time", "end_time", "start_frame", "end_frame", "text", "scores", "average",
    ]  # fmt: skip
    assert "NaN" not in text


def test_withheld_transcripts_have_frames_and_null_scores(tmp_path):
    scored = score_cues(CUES, np.zeros(260), hidden=True)
    path = write_transcript(scored, tmp_path / "a.json")
    records = json.loads(path.read_text())
    assert {(record["scores"], record["average"]) for record in records} == {(None, None)}
    assert [record["end_frame"] for record in records] == [75, 75, 212, 260]
    assert read_transcript(path) == scored
    assert difference_cues(scored) == scored


def test_nan_as_published_reads_as_no_value(tmp_path):
    record = json.loads(write_transcript(score_cues(CUES[:1], VALENCE), tmp_path / "a.json").read_text())[0]
    again = read_transcript(write(tmp_path / "b.json", json.dumps([record | {"average": float("nan"), "scores": []}])))
    assert (again[0].average, again[0].scores) == (None, ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"start_time": "soon"}, "record 2"),
        ({"scores": "none"}, "record 2"),
        ({"start_frame": 1.5}, "record 2"),
        ({"text": None}, "record 2"),
        ({"average": "x"}, "record 2"),
    ],
)
def test_odd_records_are_named(tmp_path, change, words):
    records = json.loads(write_transcript(score_cues(CUES, VALENCE), tmp_path / "a.json").read_text())
    records[1] |= change
    with pytest.raises(AnnotationError, match=words):
        read_transcript(write(tmp_path / "b.json", json.dumps(records)))


@pytest.mark.parametrize("content", ["{}", "[1]", "[{}]", "not json", b"\xff"])
def test_files_that_are_no_transcript_are_refused(tmp_path, content):
    with pytest.raises(AnnotationError, match=r"b\.json"):
        read_transcript(write(tmp_path / "b.json", content))
