"""Exports of ELAN, BORIS and plain tables give the same marks as the document itself."""

import pytest
from eaf_cases import small_scheme, write

from nbpkg.annotations.exports import read_boris, read_csv, read_elan_tab, two_rater_tables, two_rater_text
from nbpkg.annotations.read import read_annotations

GAMES = ("task,people,0,50", "task,drums,50,90")
EXPECTED = [("task", "people", 1000, 5000), ("attending", "excited", 61250, 3661500)]


def read(reader, tmp_path, text, name="s01_ana.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    document = reader(path)
    return [(mark.tier, mark.value, mark.start_ms, mark.end_ms) for mark in document.marks], document.problems


@pytest.mark.parametrize(
    "text",
    [
        "Tier\tParticipant\tBegin Time - msec\tEnd Time - msec\tDuration - msec\tAnnotation\n"
        "task\t\t1000\t5000\t4000\tpeople\nattending\t\t61250\t3661500\t0\texcited\n",
        "Tier\tBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\tEnd Time - ss.msec\tAnnotation\n"
        "task\t00:00:01.000\t1.0\t00:00:05.000\t5.0\tpeople\nattending\t00:01:01.250\t61.25\t01:01:01.500\t3661.5\texcited\n",
        "Begin Time - ss.msec\tEnd Time - ss.msec\ttask\tattending\n1.0\t5.0\tpeople\t\n61.25\t3661.5\t\texcited\n",
        "task\t\t00:00:01.000\t00:00:05.000\t00:00:04.000\tpeople\nattending\t\t00:01:01.250\t01:01:01.500\t00:00:00.000\texcited\n",
    ],
    ids=["milliseconds", "clock", "column per tier", "without names"],
)  # fmt: skip
def test_elan_tab(tmp_path, text):
    assert read(read_elan_tab, tmp_path, text) == (EXPECTED, [])
    assert read(read_elan_tab, tmp_path, text.encode("utf-16"))[0] == EXPECTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The file is empty."),
        (b"Tier\t\xff\xff", "Byte 5 is no UTF-8 text."),
        ("task\tpeople\t5\n", "The table has no column names and no times written as hh:mm:ss.ms."),
        ("Tier\tBegin Time - msec\tEnd Time - msec\tAnnotation\na\t1\n", "The line has 2 cells, the first one 4."),
        ("Tier\tBegin Time - msec\tEnd Time - msec\tAnnotation\na\tx\t5\tb\n", "The times 'x' and '5' cannot be read."),
    ],
)
def test_broken_elan_tab(tmp_path, text, message):
    marks, problems = read(read_elan_tab, tmp_path, text)
    assert marks == []
    assert problems[0].what == message
    assert problems[0].remedy


def test_csv_in_milliseconds_and_seconds(tmp_path):
    for text in (
        "session,rater,tier,value,start_ms,end_ms\ns01,ana,task,people,1000,5000\ns01,ana,attending,excited,61250,3661500\n",
        "\ufefftier;value;start_s;end_s\ntask;people;1,0;5\nattending;excited;61,25;3661,5\n",
    ):
        assert read(read_csv, tmp_path, text) == (EXPECTED, [])


def test_broken_csv(tmp_path):
    _, problems = read(read_csv, tmp_path, "tier,value,start\na,b,1\n")
    assert problems[0].what == "Column 'start_ms', 'end_ms' is missing."
    _, problems = read(read_csv, tmp_path, "tier,value,start_ms,end_ms\na,b,1.5,9\na,b,nan,2\na,b,3\n")
    assert [(item.row, item.what) for item in problems] == [
        (4, "The line has 3 cells, the first one 4."),
        (2, "The times '1.5' and '9' cannot be read."),
        (3, "The times 'nan' and '2' cannot be read."),
    ]


BORIS = """Observation id\ts01
Media file(s)\tv.mp4

Time\tMedia file path\tSubject\tBehavior\tBehavioral category\tComment\tStatus
1.0\tv.mp4\tchild\tpeople\ttask\t\tSTART
2.5\tv.mp4\tchild\tattending\tattending\t\tSTART
3.0\tv.mp4\tchild\tlooks up\t\t\tPOINT
4.0\tv.mp4\tchild\tattending\tattending\t\tSTOP
5.0\tv.mp4\tchild\tpeople\ttask\t\tSTOP
"""


def test_boris_tabular_events(tmp_path):
    marks, problems = read(read_boris, tmp_path, BORIS)
    assert problems == []
    assert marks == [
        ("task", "people", 1000, 5000),
        ("attending", "attending", 2500, 4000),
        ("looks up", "looks up", 3000, 3001),
    ]


def test_boris_aggregated_events(tmp_path):
    text = (
        "Observation id,Subject,Behavior,Behavioral category,Modifiers,Behavior type,Start (s),Stop (s)\n"
        "s01,child,attending,attending,,STATE,2.5,4.0\ns01,child,gaze,,left,POINT,3.0,NA\ns01,child,gaze,,,STATE,x,NA\n"
    )
    marks, problems = read(read_boris, tmp_path, text)
    assert marks == [("attending", "attending", 2500, 4000), ("gaze", "left", 3000, 3001)]
    assert [item.what for item in problems] == ["The times of 'gaze' cannot be read."]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4.0\tv.mp4\tchild\tattending\tattending\t\tSTOP\n", "", "'attending' starts but never stops."),
        ("2.5\tv.mp4\tchild\tattending\tattending\t\tSTART\n", "", "'attending' stops but never started."),
        ("4.0\tv.mp4\tchild\tattending\tattending\t\tSTOP", "4.0\tv.mp4\tchild\tattending\tattending\t\tSTART",
         "'attending' starts again before it stopped."),
        ("POINT", "ZIG", "'looks up' has time '3.0' and status 'ZIG'."),
        ("Behavior\t", "Verhalten\t", "No line names the columns of a BORIS export."),
    ],
)  # fmt: skip
def test_broken_boris(tmp_path, old, new, message):
    assert old in BORIS
    _, problems = read(read_boris, tmp_path, BORIS.replace(old, new))
    assert message in [item.what for item in problems]
    assert all(item.remedy for item in problems)


def test_a_folder_of_exports_goes_through_the_same_checks(tmp_path):
    rows = "session,rater,tier,value,start_ms,end_ms\n"
    for session, rater in (("s01", "ana"), ("s02", "jörg"), ("s09", "ana")):
        rows += "".join(f"{session},{rater},{mark}\n" for mark in (*GAMES, "attending,Excitied,5,9"))
    table, problems = read_annotations(write(tmp_path, {"all.csv": rows}), small_scheme(format="csv"))
    assert table.groupby("session").size().to_dict() == {"s01": 3, "s02": 3}
    assert [(item.severity, item.row, item.what) for item in problems] == [
        ("error", 8, "The session 's09' is unknown (3 rows)."),
        ("repaired", 4, "'Excitied' was read as 'excited'."),
        ("repaired", 7, "'Excitied' was read as 'excited'."),
    ]


def test_two_rater_tables_hold_shared_sessions_in_order(tmp_path):
    rows = "session,rater,tier,value,start_ms,end_ms\n"
    for session, rater in (("s02", "ana"), ("s01", "ana"), ("s02", "jörg")):
        rows += "".join(f"{session},{rater},{mark}\n" for mark in (*GAMES, "attending,excited,5,9"))
    scheme = small_scheme(format="csv")
    table, _ = read_annotations(write(tmp_path, {"all.csv": rows}), scheme)
    made = two_rater_tables(table, scheme)
    assert list(made) == ["ana_jörg.txt"]
    assert two_rater_text(made["ana_jörg.txt"]).splitlines() == [
        "attending_R1\t5\t9\texcited\ts02_ana_jörg.eaf",
        "attending_R2\t5\t9\texcited\ts02_ana_jörg.eaf",
        "task_R1\t0\t50\tpeople\ts02_ana_jörg.eaf",
        "task_R1\t50\t90\tdrums\ts02_ana_jörg.eaf",
        "task_R2\t0\t50\tpeople\ts02_ana_jörg.eaf",
        "task_R2\t50\t90\tdrums\ts02_ana_jörg.eaf",
    ]
