"""ELAN documents: every kind of tier and time, and every way in which a file can be broken."""

import os
from pathlib import Path

import pympi
import pytest
from annotation_cases import unpack_eafs
from eaf_cases import GOOD, aligned, document, simple, symbolic, tier

from nbpkg.annotations.elan import read_eaf, read_eaf_table


def read(tmp_path, text, **options):
    path = tmp_path / "a.eaf"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_eaf(path, **options)
    return [(mark.tier, mark.value, mark.start_ms, mark.end_ms) for mark in found.marks], found.problems


def test_plain_tiers_in_document_order(tmp_path):
    marks, problems = read(tmp_path, simple(GOOD))
    assert problems == []
    assert marks == [
        ("task", "people", 1000, 5000),
        ("task", "drums", 5000, 9000),
        ("attending", "attending", 1000, 2000),
        ("attending", "excited", 6000, 8000),
    ]


def test_symbolic_tiers_get_their_parents_time(tmp_path):
    text = document(
        {"ts1": 0, "ts2": 1000},
        tier("main", aligned(1, "ts1", "ts2", "three words here"))
        # the second word stands first in the file: the links to the previous one count
        + tier(
            "words",
            symbolic(3, "a1", "words", 'PREVIOUS_ANNOTATION="a2"')
            + symbolic(2, "a1", "three")
            + symbolic(4, "a1", "here", 'PREVIOUS_ANNOTATION="a3"'),
            kind="words",
            extra='PARENT_REF="main"',
        )
        + tier("note", symbolic(5, "a3", "", 'CVE_REF="cve1"'), kind="note", extra='PARENT_REF="words"'),
    )
    marks, problems = read(tmp_path, text)
    assert problems == []
    assert marks[1:] == [
        ("words", "words", 333, 666),
        ("words", "three", 0, 333),
        ("words", "here", 666, 1000),
        ("note", "noun", 333, 666),
    ]


def test_unaligned_boundaries_are_spread_evenly(tmp_path):
    text = document(
        {"ts1": 0, "ts2": None, "ts3": None, "ts4": 900},
        tier("main", aligned(1, "ts1", "ts4", "x"))
        + tier(
            "parts",
            aligned(2, "ts1", "ts2", "a") + aligned(3, "ts2", "ts3", "b") + aligned(4, "ts3", "ts4", "c"),
            kind="part",
            extra='PARENT_REF="main"',
        ),
    )
    marks, problems = read(tmp_path, text)
    assert [mark[2:] for mark in marks[1:]] == [(0, 300), (300, 600), (600, 900)]
    assert [problem.what for problem in problems] == [
        "2 time slots have no time of their own; annotations that use them were spread evenly."
    ]


def test_unaligned_boundary_without_neighbour_is_reported(tmp_path):
    marks, problems = read(tmp_path, document({"ts1": 0, "ts2": None}, tier("main", aligned(1, "ts1", "ts2", "x"))))
    assert marks == []
    assert problems[-1].what == "Annotation a1 has an unaligned boundary and no neighbour that tells its time."
    assert problems[-1].where == "a.eaf, tier 'main', row 1"
    assert problems[-1].remedy == "Align it in ELAN."


def test_circular_and_lost_parents_are_reported(tmp_path):
    text = document(
        {"ts1": 0},
        tier("words", symbolic(1, "a2", "x") + symbolic(2, "a1", "y") + symbolic(3, "a99", "z"), kind="words"),
    )
    marks, problems = read(tmp_path, text)
    assert marks == []
    assert "Annotation a3 refers to 'a99', which is not there or refers back to it." in [item.what for item in problems]
    assert len([item for item in problems if item.severity == "error"]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "The file is empty."),
        (b"  \n ", "The file is empty."),
        (b"hello", "The file is no complete XML"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "The file is no complete XML"),
        (simple(GOOD).encode()[:400], "The file is no complete XML"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "The file is no complete XML"),
        (b"<html><body/></html>", "The file is XML, but its root is 'html'."),
        (
            b'<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>',
            "The file declares a document type or entities",
        ),
        (
            b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><ANNOTATION_DOCUMENT>&a;</ANNOTATION_DOCUMENT>',
            "The file declares a document type or entities",
        ),
    ],
)
def test_what_is_no_elan_document(tmp_path, content, message):
    marks, problems = read(tmp_path, content)
    assert marks == []
    assert len(problems) == 1
    assert message in problems[0].what
    assert problems[0].remedy
    assert problems[0].file == "a.eaf"


def test_wrong_unit_and_missing_header(tmp_path):
    text = simple(GOOD)
    _, problems = read(tmp_path, text.replace("milliseconds", "NTSC-frames"))
    assert [(item.what, item.severity) for item in problems] == [("Times are in NTSC-frames.", "error")]
    marks, problems = read(
        tmp_path, text.replace('TIME_UNITS="milliseconds"', "").replace('FORMAT="3.0" VERSION="3.0"', "")
    )
    assert len(marks) == 4
    assert [item.what for item in problems] == [
        "The document's format is not stated.",
        "TIME_UNITS is missing; milliseconds were taken, as the format says.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('TIME_VALUE="1000"', 'TIME_VALUE="1.5 s"', "Time slot 'ts2' has the time '1.5 s'."),
        ('TIME_SLOT_ID="ts3"', 'TIME_SLOT_ID="ts2"', "Time slot 'ts2' is repeated or has no id."),
        ('TIME_SLOT_ID="ts3"', 'TIME_SLOT_ID="x"', "The id 'x' of a time slot has no number."),
        ('TIME_SLOT_REF2="ts3"', 'TIME_SLOT_REF2="ts77"', "Annotation a1 uses the time slot 'ts77', which"),
        ('ANNOTATION_ID="a2"', 'ANNOTATION_ID="a1"', "The annotation id 'a1' is repeated or has no number."),
        ('TIER_ID="attending"', 'TIER_ID="task"', "Tier 'task' stands twice or has no name."),
        ("<ALIGNABLE_ANNOTATION ", "<OTHER ", "A OTHER stands where an annotation should."),
    ],
)
def test_what_would_be_lost_is_reported(tmp_path, old, new, message):
    text = simple(GOOD).replace(old, new, 1)
    if "OTHER" in new:
        text = text.replace("</ALIGNABLE_ANNOTATION>", "</OTHER>", 1)
    _, problems = read(tmp_path, text)
    assert any(item.what.startswith(message) for item in problems if item.severity == "error")


def test_media_offset(tmp_path):
    media = (
        '<MEDIA_DESCRIPTOR MEDIA_URL="a.wav" RELATIVE_MEDIA_URL="./a.wav" MIME_TYPE="audio/x-wav"/>'
        '<MEDIA_DESCRIPTOR MEDIA_URL="b.mp4" RELATIVE_MEDIA_URL="./b.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="{}"/>'
        '<MEDIA_DESCRIPTOR MEDIA_URL="c.mp4" RELATIVE_MEDIA_URL="./c.mp4" MIME_TYPE="video/mp4"/>'
    )
    text = document({"ts1": 1000, "ts2": 2000}, tier("x", aligned(1, "ts1", "ts2", "y")), media=media.format(250))
    marks, problems = read(tmp_path, text)
    assert marks == [("x", "y", 1250, 2250)]
    assert [item.what for item in problems] == [
        "The linked videos have different offsets (250, 0 ms); the first one was used.",
        "The video starts 250 ms before ELAN's zero; all times were moved by it.",
    ]
    marks, problems = read(tmp_path, text, media_offset="ignore")
    assert (marks, problems) == ([("x", "y", 1000, 2000)], [])
    _, problems = read(tmp_path, text.replace('TIME_ORIGIN="250"', 'TIME_ORIGIN="soon"'))
    assert problems[0].what == "The media offset TIME_ORIGIN is 'soon'."


def test_files_written_by_pympi(tmp_path):
    eaf = pympi.Eaf()
    eaf.add_tier("task")
    eaf.add_annotation("task", 0, 700, "people & <others> – ü")
    path = tmp_path / "made.eaf"
    eaf.to_file(str(path))
    table, problems = read_eaf_table(path)
    assert table[["session", "tier", "value", "start_ms", "end_ms"]].to_numpy().tolist() == [
        ["made", "task", "people & <others> – ü", 0, 700]
    ]
    assert {item.severity for item in problems} == {"warning"}


def test_any_document_as_a_table_leaves_out_what_has_no_length(tmp_path):
    path = tmp_path / "a.eaf"
    path.write_text(simple({"x": [(0, 5, "a"), (9, 9, "b"), (8, 2, "c")]}))
    table, problems = read_eaf_table(path)
    assert table["value"].tolist() == ["a"]
    assert [item.what for item in problems] == [
        "The annotation goes from 9 to 9 ms and was left out.",
        "The annotation goes from 8 to 2 ms and was left out.",
    ]


def test_aligned_tiers_agree_with_pympi(tmp_path):
    for path in sorted(unpack_eafs(tmp_path).glob("*.eaf"))[:5]:
        eaf = pympi.Eaf(str(path))
        mine = [(mark.tier, mark.start_ms, mark.end_ms, mark.value) for mark in read_eaf(path).marks]
        theirs = [
            (name, start, end, value.strip())
            for name in eaf.get_tier_names()
            for start, end, value in eaf.get_annotation_data_for_tier(name)
        ]
        assert mine == theirs


@pytest.mark.skipif("NBPKG_REAL_DATA" not in os.environ, reason="NBPKG_REAL_DATA names no folder with real files")
def test_real_document_of_elan():
    table, problems = read_eaf_table(Path(os.environ["NBPKG_REAL_DATA"]) / "elan_sample_3.0.eaf")
    assert table.groupby("tier").size().to_dict() == {
        "gest_included": 1197,
        "gestures": 1197,
        "text": 399,
        "words-pos": 1995,
        "words-symsub": 1995,
        "words-timesub": 1995,
    }
    assert [item.severity for item in problems] == ["warning"]
    words = table[table["tier"] == "words-timesub"].reset_index(drop=True)
    row = words.index[words["start_ms"] == 8000][0]  # its inner borders are unaligned
    assert words.loc[row : row + 4, "end_ms"].tolist() == [8600, 9200, 9800, 10400, 11000]
    parts, parents = (table[table["tier"] == name] for name in ("words-symsub", "text"))
    assert parts.groupby("start_ms")["end_ms"].size().max() == 1
    assert (parts["end_ms"] - parts["start_ms"]).sum() == (parents["end_ms"] - parents["start_ms"]).sum()
