"""Folders of annotation files: everything that can be wrong with them is said, at once and in place."""

import re
import unicodedata

import pytest
from eaf_cases import GOOD, simple, small_scheme, write

from nbpkg.annotations.read import read_annotations
from nbpkg.errors import AnnotationError, raise_all


def notes(folder, scheme=None, **options):
    """Return the table and all messages as ``severity | where | what``."""
    table, problems = read_annotations(folder, scheme or small_scheme(), **options)
    return table, [f"{item.severity} | {item.where} | {item.what}" for item in problems]


def both(marks=None, **changes):
    """Good files of two sessions by one rater each; `marks` replaces tiers of the first."""
    return {"s01_ana.eaf": simple({**GOOD, **(marks or {})}), "s02_jörg.eaf": simple(GOOD), **changes}


def test_good_files_give_a_table_and_no_words(tmp_path):
    table, found = notes(write(tmp_path, both()))
    assert found == []
    assert table[["session", "rater", "tier", "value", "row"]].head(3).to_numpy().tolist() == [
        ["s01", "ana", "task", "people", 1],
        ["s01", "ana", "task", "drums", 2],
        ["s01", "ana", "attending", "attending", 1],
    ]
    assert set(table["rater"]) == {"ana", "jörg"}


def test_decomposed_umlauts_of_macos_are_the_same_name(tmp_path):
    name = unicodedata.normalize("NFD", "s02_jörg.eaf")
    table, found = notes(write(tmp_path, {"s01_ana.eaf": simple(GOOD), name: simple(GOOD)}))
    assert found == []
    assert set(table["rater"]) == {"ana", "jörg"}


def test_missing_folder(tmp_path):
    table, problems = read_annotations(tmp_path / "no", small_scheme())
    assert len(table) == 0
    assert problems[0].what == "The folder 'no' is not there."


def test_empty_folder_misses_every_session(tmp_path):
    _, found = notes(tmp_path)
    assert found == [
        "error |  | Session s01 has no annotation file.",
        "error |  | Session s02 has no annotation file.",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s01_ana_x.eaf", "The name 's01_ana_x' does not fit the pattern {session}_{rater}."),
        ("s01 _ana.eaf", "The session 's01 ' is unknown."),
        ("s01_an\na.eaf", "The file's name holds control characters."),
        (".._ana.eaf", None),
        ("s01_ANA.eaf", "The rater 'ANA' is unknown."),
        ("s09_ana.eaf", "The session 's09' is unknown."),
        ("s01_joerg.eaf", "The rater 'joerg' is unknown."),
    ],
)
def test_file_names(tmp_path, name, message):
    table, found = notes(write(tmp_path, both(**{name: simple(GOOD)})))
    assert len(table) == 8
    if message is None:
        assert found == ["warning | .._ana.eaf | It was not read because it is hidden."]
    else:
        assert len([note for note in found if note.startswith("error")]) == 1
        assert message in found[0]
        assert "\n" not in found[0], "a name cannot break a message into lines"


def test_files_that_look_meant_are_mentioned(tmp_path):
    folder = write(tmp_path, both(**{"s02_ana.EAF": "x", "._s01_ana.eaf": "x", "notes.txt": "x", "a.pfsx": "x"}))
    (folder / "s01_jörg.eaf").mkdir()
    assert sorted(notes(folder)[1]) == [
        "warning | ._s01_ana.eaf | It was not read because it is hidden.",
        "warning | s01_jörg.eaf | It was not read because it is no file.",
        "warning | s02_ana.EAF | It was not read because it does not end in .eaf.",
    ]


def test_everything_is_collected_and_raised_once(tmp_path):
    files = {
        "s01_ana.eaf": simple(
            {"task": [(0, 5, "people"), (5, 9, "dums")], "Attending": [(0, 2, "x")], "extra": [(0, 1, "y")]}
        ),
        "s02_jörg.eaf": b"",
        "s03_ana.eaf": simple(GOOD),
    }
    _, problems = read_annotations(write(tmp_path, files), small_scheme())
    with pytest.raises(AnnotationError) as raised:
        raise_all(problems, AnnotationError, summary="the annotation files cannot be used.")
    text = str(raised.value)
    assert text.startswith("7 problems: the annotation files cannot be used.")
    for part in (
        "s01_ana.eaf, tier 'Attending': Tier 'Attending' is not 'attending': capitals and white space count.",
        "s01_ana.eaf, tier 'extra': Tier 'extra' is unknown and holds annotations. Tiers attending, task, ignore.",
        "s01_ana.eaf, tier 'task', row 2, 0:00.005: 'dums' is not a value of tier 'task'. One of people, drums.",
        "s01_ana.eaf, tier 'attending': Tier 'attending' is missing or empty.",
        "s01_ana.eaf, tier 'task': Task 'drums' is missing.",
        "s02_jörg.eaf: The file is empty.",
        "s03_ana.eaf: The session 's03' is unknown. One of s01, s02.",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ([(3000, 2000, "attending")], "error | s01_ana.eaf, tier 'attending', row 1, 0:03.000 | "
         "'attending' ends at 2000 ms, before it starts at 3000 ms."),
        ([(3000, 3000, "attending")], "error | s01_ana.eaf, tier 'attending', row 1, 0:03.000 | "
         "'attending' has no length (start and end are 3000 ms)."),
        ([(-50, 3000, "attending")], "error | s01_ana.eaf, tier 'attending', row 1 | "
         "'attending' starts 50 ms before the video."),
        ([(0, 9, "")], "error | s01_ana.eaf, tier 'attending', row 1, 0:00.000 | The annotation has no text."),
        ([(0, 9, "bored")], "error | s01_ana.eaf, tier 'attending', row 1, 0:00.000 | "
         "'bored' is not a value of tier 'attending'."),
        ([(0, 9, " Excitied ")], "repaired | s01_ana.eaf, tier 'attending', row 1, 0:00.000 | "
         "'Excitied' was read as 'excited'."),
        ([(0, 90, "attending"), (50, 99, "excited")], "repaired | s01_ana.eaf, tier 'attending', row 2, 0:00.050 | "
         "'excited' overlaps 'attending' of row 1 by 40 ms; where they overlap, the one that starts later counts."),
        ([(0, 90, "attending"), (0, 90, "attending")], "repaired | s01_ana.eaf, tier 'attending', row 2, 0:00.000 | "
         "'attending' stands twice at the same time; it counts once."),
    ],
)  # fmt: skip
def test_rated_spans(tmp_path, marks, message):
    _, found = notes(write(tmp_path, both({"attending": marks})))
    assert found == [message]


def test_short_spans_are_reported_after_repair(tmp_path):
    folder = write(tmp_path, both({"attending": [(0, 100, "attending"), (20, 100, "excited"), (200, 230, "excited")]}))
    _, found = notes(folder, small_scheme(minimum_ms=40))
    assert found[1:] == [
        "warning | s01_ana.eaf, tier 'attending', row 1, 0:00.000 | 'attending' is 20 ms long (from 0 ms).",
        "warning | s01_ana.eaf, tier 'attending', row 3, 0:00.200 | 'excited' is 30 ms long (from 200 ms).",
    ]


@pytest.mark.parametrize(
    ("tasks", "changes", "message"),
    [
        ([(0, 5, "people")], {}, "error | s01_ana.eaf, tier 'task' | Task 'drums' is missing."),
        ([(0, 5, "people"), (5, 9, "drums"), (9, 12, "drums")], {},
         "error | s01_ana.eaf, tier 'task' | Task 'drums' stands 2 times."),
        ([(0, 5, "drums"), (5, 9, "people")], {}, "error | s01_ana.eaf, tier 'task' | The tasks are out of order."),
        ([(0, 5, "drums"), (5, 9, "people")], {"task_order": "any"}, None),
        ([(5, 9, "people"), (0, 5, "drums")], {},
         "error | s01_ana.eaf, tier 'task' | In time the tasks follow as drums, people."),
        ([(0, 5000, "people"), (4900, 9000, "drums")], {}, "warning | s01_ana.eaf, tier 'task', row 2, 0:04.900 | "
         "Task 'drums' starts 100 ms before 'people' ends; that time counts for both."),
        ([(0, 5000, "people"), (4900, 9000, "drums")], {"overlaps": "error"},
         "error | s01_ana.eaf, tier 'task', row 2, 0:04.900 | "
         "Task 'drums' starts 100 ms before 'people' ends."),
        ([(0, 5000, "people"), (4000, 9000, "drums")], {}, "error | s01_ana.eaf, tier 'task', row 2, 0:04.000 | "
         "Task 'drums' starts 1000 ms before 'people' ends."),
    ],
)  # fmt: skip
def test_tasks(tmp_path, tasks, changes, message):
    _, found = notes(write(tmp_path, both({"task": tasks})), small_scheme(**changes))
    assert found == ([message] if message else [])


def test_media_times(tmp_path):
    lengths = {"s01": 7950, "s02": 9000}
    _, found = notes(write(tmp_path, both()), media_ms=lengths)
    assert found == [
        "error | s01_ana.eaf, tier 'task', row 2, 0:05.000 | "
        "'drums' ends 1050 ms after the video, which is 7950 ms long.",
        "warning | s01_ana.eaf, tier 'attending', row 2, 0:06.000 | "
        "'excited' ends 50 ms after the video, which is 7950 ms long.",
    ]
    _, found = notes(tmp_path, media_ms={"s01": 9000})
    assert found == ["error |  | Session s02 has annotations but no video."]


def test_assignments(tmp_path):
    folder = write(tmp_path, both(**{"s01_jörg.eaf": simple(GOOD)}))
    assigned = {"ana": ["s01", "s02"], "jörg": ["s02"]}
    for rule, severity, rows in (("error", "error", 8), ("drop", "repaired", 8), ("keep", "warning", 12)):
        table, found = notes(folder, small_scheme(assignments=assigned, unassigned=rule))
        assert len(table) == rows
        assert found[0].startswith(f"{severity} | s01_jörg.eaf | jörg is not assigned to session s01")
        assert found[1] == "error |  | The file of rater ana for session s02 is missing."


def test_two_files_of_one_rater(tmp_path):
    scheme = small_scheme(name_pattern="{session}_{rater}_{date}")
    files = {
        "s01_ana_20220301.eaf": simple(GOOD),
        "s01_ana_20220302.eaf": simple(GOOD),
        "s02_jörg_20220229.eaf": simple(GOOD),
    }
    _, problems = read_annotations(write(tmp_path, files), scheme)
    assert [item.what for item in problems] == [
        "The date 20220229 in the file name is no day of the calendar.",
        "ana has 2 files for session s01.",
        "Session s02 has no annotation file.",
    ]
    assert problems[1].remedy == "Keep one of s01_ana_20220301.eaf, s01_ana_20220302.eaf."


def test_extra_tiers(tmp_path):
    files = both({"extra": [(0, 1, "y")], "default": []})
    table, found = notes(write(tmp_path, files), small_scheme(extra_tiers="warn"))
    assert "extra" not in set(table["tier"])
    assert found == [
        "warning | s01_ana.eaf, tier 'extra' | Tier 'extra' is unknown and holds annotations; they were left out.",
        "warning | s01_ana.eaf, tier 'default' | The empty tier 'default' is unknown.",
    ]


def test_free_text_is_kept_and_its_gaps_mentioned(tmp_path):
    table, found = notes(write(tmp_path, both({"ignore": [(0, 1, "Dropped\n the  toy"), (1, 2, "")]})))
    assert table.loc[table["tier"] == "ignore", "value"].tolist() == ["dropped the toy", ""]
    assert found == ["warning | s01_ana.eaf, tier 'ignore', row 2, 0:00.001 | The annotation has no text."]


def test_session_names_may_hold_the_separator(tmp_path):
    scheme = small_scheme(sessions=["s_01", "s02"])
    table, found = notes(write(tmp_path, {"s_01_ana.eaf": simple(GOOD), "s02_jörg.eaf": simple(GOOD)}), scheme)
    assert found == []
    assert set(table["session"]) == {"s_01", "s02"}


def test_every_error_says_what_to_do(tmp_path):
    files = {
        "s01_ana.eaf": simple(
            {"task": [(0, 5, "x"), (5, 4, "people")], "attending": [(0, 5, ""), (7, 7, "excited")], "q": [(0, 1, "")]}
        ),
        "s01_ana .eaf": b"<a",
        "s02.eaf": b"",
    }
    _, problems = read_annotations(write(tmp_path, files), small_scheme(), media_ms={})
    errors = [item for item in problems if item.severity == "error"]
    assert len(errors) >= 8
    for item in errors:
        assert item.remedy, item
        assert re.search(r"[.]$", item.what), item
