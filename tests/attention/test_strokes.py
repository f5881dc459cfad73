"""Strokes, their replay and the log: nothing that was acknowledged is lost, nothing else is believed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import PATIENCE_S

from nbpkg.attention.painting import log as logs
from nbpkg.attention.painting.lines import find_painting
from nbpkg.attention.painting.log import Acknowledged, PaintingLog, Refused, painting_path, read_painting
from nbpkg.attention.painting.operations import check_name, check_opening, check_operation
from nbpkg.attention.painting.strokes import Painting, Stroke, replay
from nbpkg.errors import PaintingError

FRAMES = 4
HEADER = {
    "snippet_id": "fp13_4835",
    "painter": "ew",
    "session": "fp13",
    "task": "eggs",
    "variable": "attending",
    "start_ms": 4835,
    "end_ms": 9835,
    "frame_ms": [4800, 5120, 5440, 5760],
    "width": 320,
    "height": 180,
}
QUESTIONS = {"attending": ["no", "attending", "excited"], "sure": ["no", "yes"]}


def stroke(n: int, frame: int = 0, *, x: float = 0.25, tool: str = "brush") -> dict:
    points = [[0, x, 0.5], [16, x + 0.1, 0.5]]
    return {"op": "stroke", "n": n, "frame": frame, "tool": tool, "radius": 0.05, "strength": 0.2, "points": points}


def answers(n: int) -> list[dict]:
    pairs = (("attending", "no"), ("sure", "yes"))
    return [{"op": "answer", "n": n + i, "question": what, "value": value} for i, (what, value) in enumerate(pairs)]


def begin(folder: Path, **changes: object) -> PaintingLog:
    header = {**HEADER, **changes}
    return PaintingLog.open(painting_path(folder, header["painter"], header["snippet_id"]), header, QUESTIONS)


# ---- one stroke -----------------------------------------------------------------------------------------------------


def test_a_stroke_is_rounded_once_and_for_all():
    points = [[1.6, 0.123456789, 1], [20, -0.2, 1.1, 0.3333333]]
    content = {**stroke(1), "radius": 0.06666, "strength": 1, "points": points}
    found = Stroke.from_json(content)
    assert found.points == ((2, 0.12346, 1.0), (20, -0.2, 1.1, 0.33333))
    assert (found.radius, found.strength) == (0.0667, 1.0)
    assert Stroke.from_json(found.to_json()) == found
    assert Stroke.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tool": "pencil"}, "tool"),
        ({"tool": ["brush"]}, "tool"),
        ({"frame": -1}, "frame"),
        ({"frame": 1.5}, "frame"),
        ({"frame": True}, "frame"),
        ({"radius": 0}, "radius"),
        ({"radius": 1.01}, "radius"),
        ({"radius": float("nan")}, "radius"),
        ({"radius": float("inf")}, "radius"),
        ({"radius": "0.1"}, "radius"),
        ({"strength": -0.1}, "strength"),
        ({"strength": 2}, "strength"),
        ({"strength": None}, "strength"),
        ({"strength": True}, "strength"),
        ({"points": []}, "points"),
        ({"points": "abc"}, "points"),
        ({"points": [[0, 0.1]]}, "points[0]"),
        ({"points": [[0, 0.1, 0.1], [0, 0.1, 0.1, 0.1, 0.1]]}, "points[1]"),
        ({"points": [[0, float("nan"), 0.1]]}, "points[0]"),
        ({"points": [[float("inf"), 0.1, 0.1]]}, "points[0]"),
        ({"points": [[0, 0.1, 11]]}, "points[0]"),
        ({"points": [[0, 0.1, 0.1, 1.5]]}, "points[0]"),
        ({"points": [[0, True, 0.1]]}, "points[0]"),
        ({"points": [[0, 10**400, 0.1]]}, "points[0]"),
        ({"frame": 10**30}, "frame"),
        ({"colour": "red"}, "colour"),
        ({"seconds": -1}, "seconds"),
        ({"n": "1"}, "n"),
        ({"n": None}, "n"),
    ],
)
def test_a_malformed_stroke_names_what_is_wrong(change, named):
    with pytest.raises(PaintingError) as caught:
        replay([HEADER, {**stroke(1), **change}])
    assert named in caught.value.what


@pytest.mark.parametrize("name", ["tool", "points", "frame", "radius", "strength", "n", "op"])
def test_a_missing_part_is_named(name):
    content = stroke(1)
    del content[name]
    with pytest.raises(PaintingError, match=name):
        check_operation(content)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "a/b", "..\\b", "a\x00b", "a\nb", " a", "a ", "a.", "a:b", "x" * 151, "u\u0308", 3, None]
    + ["a\u202eb", "\ud800"],
)
def test_names_that_could_lead_elsewhere_are_refused(name, tmp_path):
    with pytest.raises(PaintingError, match="cannot be the name"):
        check_name(name, "painter")
    for painter, snippet in ((name, "a"), ("a", name)):
        with pytest.raises(PaintingError):
            painting_path(tmp_path, painter, snippet)
        with pytest.raises(PaintingError):
            PaintingLog.open(tmp_path / "a" / "a.jsonl", {**HEADER, "painter": painter, "snippet_id": snippet}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"op": "stroke"},
        {"n": 1},
        {"end_ms": 4835},
        {"frame_ms": []},
        {"frame_ms": [1.5]},
        {"frame_ms": [-1]},
        {"width": 0},
        {"session": 3},
        {"extra": 1},
    ],
)
def test_a_malformed_open_line_is_refused(change):
    with pytest.raises(PaintingError) as caught:
        check_opening({**HEADER, **change})
    assert next(iter(change)) in caught.value.what or "op" in caught.value.what


# ---- replay ---------------------------------------------------------------------------------------------------------


class Model:
    """The same with whole copies: every state of all frames is kept."""

    def __init__(self) -> None:
        self.states: list[dict[int, list[float]]] = [{}]
        self.at = 0

    def edit(self, kind: str, frame: int, other: int, mark: float) -> None:
        now = {key: list(value) for key, value in self.states[self.at].items()}
        if kind == "stroke":
            now.setdefault(frame, []).append(mark)
        else:
            now[frame] = list(now.get(other, [])) if kind == "copy" else []
        self.states = [*self.states[: self.at + 1], now]
        self.at += 1

    def step(self, way: int) -> bool:
        possible = 0 <= self.at + way < len(self.states)
        self.at += way if possible else 0
        return possible


COMMAND = st.tuples(
    st.sampled_from(["stroke", "stroke", "stroke", "clear", "copy", "undo", "undo", "redo"]),
    st.integers(0, FRAMES - 1),
    st.integers(0, FRAMES - 1),
)


@given(commands=st.lists(COMMAND, max_size=60))
@settings(max_examples=150, deadline=None)
def test_replay_is_what_whole_copies_would_give(commands):
    model, operations = Model(), []
    for kind, frame, other in commands:
        n = len(operations) + 1
        mark = n / 1000
        if kind in ("undo", "redo"):
            if not model.step(-1 if kind == "undo" else 1):
                with pytest.raises(PaintingError, match=f"nothing to {kind}"):
                    replay([HEADER, *operations, {"op": kind, "n": n}])
                continue
            operations.append({"op": kind, "n": n})
            continue
        model.edit(kind, frame, other, mark)
        extra = {"copy": {"op": "copy", "n": n, "frame": frame, "source": other}, "stroke": stroke(n, frame, x=mark)}
        operations.append(extra.get(kind, {"op": "clear", "n": n, "frame": frame}))
    painting = replay([HEADER, *operations])
    found: dict[int, list[float]] = {}
    for one in painting.strokes:
        found.setdefault(one.frame, []).append(one.points[0][1])
    assert found == {key: value for key, value in model.states[model.at].items() if value}
    assert (painting.can_undo, painting.can_redo) == (model.at > 0, model.at < len(model.states) - 1)
    assert (painting.last, painting.edits) == (len(operations), len(operations))
    assert [one.frame for one in painting.strokes] == sorted(one.frame for one in painting.strokes)


def test_states_follow_the_last_act():
    steps = [
        ([], "todo"),
        ([stroke(1)], "begun"),
        ([{"op": "skip", "n": 2, "reason": "nobody there"}], "skipped"),
        (answers(3), "begun"),
        ([{"op": "submit", "n": 5}], "done"),
        ([{"op": "undo", "n": 6, "seconds": 3.5}], "begun"),
        ([{"op": "submit", "n": 7, "seconds": 2.0}], "done"),
    ]
    operations: list[dict] = []
    for more, state in steps:
        operations += more
        painting = replay([HEADER, *operations])
        assert painting.state == state
        assert painting.reason == ("nobody there" if state == "skipped" else "")
    assert painting.seconds == 3.5
    assert painting.answers == {"attending": "no", "sure": "yes"}


@pytest.mark.parametrize(
    "operation",
    [stroke(1, FRAMES), {"op": "clear", "n": 1, "frame": FRAMES}, {"op": "copy", "n": 1, "frame": 0, "source": 9}],
)
def test_a_frame_that_is_not_there_is_refused(operation):
    with pytest.raises(PaintingError, match="4 frames") as caught:
        replay([HEADER, operation])
    assert "frame" in caught.value.what or "source" in caught.value.what


# ---- the log --------------------------------------------------------------------------------------------------------


def test_resent_changed_early_and_impossible_operations(tmp_path):
    with begin(tmp_path) as log:
        assert log.append(stroke(1)) == Acknowledged(1, "begun")
        assert log.append({**stroke(2), "seconds": 2.5}) == Acknowledged(2, "begun")
        size = log.path.stat().st_size
        assert log.append(stroke(1)) == Acknowledged(1, "begun")
        assert log.append(json.loads(json.dumps(stroke(1)))) == Acknowledged(1, "begun")
        refused = [stroke(1, 1), stroke(4), stroke(0), {"op": "redo", "n": 3}, {"op": "submit", "n": 3}, "x", None, {}]
        refused += [{"op": "answer", "n": 3, "question": "sure", "value": "perhaps"}]
        refused += [{"op": "answer", "n": 3, "question": "else", "value": "no"}]
        for operation in refused:
            result = log.append(operation)
            assert isinstance(result, Refused), operation
            assert result.last == 2
            assert result.why
        assert log.path.stat().st_size == size
        for operation in answers(3):
            log.append(operation)
        assert log.append({"op": "submit", "n": 5}) == Acknowledged(5, "done")
        assert log.append(stroke(2) | {"seconds": 2.5}) == Acknowledged(2, "done")
        assert log.painting == read_painting(log.path) == replay([log.header, *log.operations])
    assert log.painting.seconds == 2.5
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["fp13_4835.jsonl"]


def test_an_answer_that_is_no_longer_offered_must_be_given_again(tmp_path):
    with begin(tmp_path) as log:
        for operation in answers(1):
            log.append(operation)
    path = log.path
    with PaintingLog.open(path, HEADER, {**QUESTIONS, "attending": ["never", "always"]}) as log:
        assert "attending" in log.append({"op": "submit", "n": 3}).why
        log.append({"op": "answer", "n": 3, "question": "attending", "value": "never"})
        assert log.append({"op": "submit", "n": 4}) == Acknowledged(4, "done")


def test_a_log_cut_at_any_byte_of_its_last_line_reads_as_without_it(tmp_path):
    with begin(tmp_path) as log:
        log.append(stroke(1))
        before = read_painting(log.path)
        first = log.path.stat().st_size
        log.append({**stroke(2, 1), "seconds": 1.5})
        path, content = log.path, log.path.read_bytes()
    after = read_painting(path)
    for length in range(first, len(content)):
        path.write_bytes(content[:length])
        assert read_painting(path) == before
        with PaintingLog.open(path, HEADER, QUESTIONS) as log:
            assert path.stat().st_size == first
            assert log.append({**stroke(2, 1), "seconds": 1.5}) == Acknowledged(2, "begun")
        assert path.read_bytes() == content
        assert read_painting(path) == after


def test_an_open_line_cut_at_any_byte_is_written_again(tmp_path):
    with begin(tmp_path) as log:
        path = log.path
    content = path.read_bytes()
    queue = pd.DataFrame({"snippet_id": ["fp13_4835"], "painter": ["ew"], "position": [0]})
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert find_painting(path) is None
        assert logs.read_paintings(tmp_path, queue) == ([Painting("fp13_4835", "ew")], [])
        with pytest.raises(PaintingError, match="no complete line"):
            read_painting(path)
        begin(tmp_path).close()
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, b'{"op":"open"'),
        (1, b"[]"),
        (2, b'{"op":"stroke"}'),
        (2, b"\xff\xfe"),
        (2, b'{"op":"stroke","n":1,"frame":NaN}'),
        (2, b"[" * 100_000),
        (2, b""),
        (3, b'{"op":"undo","n":9}'),
        (3, b"\0\0\0\0"),
        (4, b'{"op":"redo","n":3}'),
    ],
)
def test_a_damaged_line_names_file_and_line(tmp_path, line, text):
    with begin(tmp_path) as log:
        for operation in (stroke(1), stroke(2), stroke(3)):
            log.append(operation)
        path = log.path
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = text
    path.write_bytes(b"\n".join(lines))
    for reading in (read_painting, lambda path: PaintingLog.open(path, HEADER, QUESTIONS)):
        with pytest.raises(PaintingError) as caught:
            reading(path)
        assert f"fp13_4835.jsonl, line {line}" in caught.value.where
        assert caught.value.remedy
    assert path.read_bytes() == b"\n".join(lines)


@pytest.mark.parametrize(
    "change",
    [{"frame_ms": [4800, 5120, 5440, 5761]}, {"start_ms": 4834}, {"session": "fp14"}, {"task": "drums"}]
    + [{"variable": "joint"}, {"end_ms": 9999}, {"width": 180, "height": 320}],
)
def test_another_snippet_under_the_same_name_is_refused(tmp_path, change):
    begin(tmp_path).close()
    with pytest.raises(PaintingError) as caught:
        begin(tmp_path, **change)
    assert next(iter(change)) in caught.value.what
    assert "move the file away" in caught.value.remedy


def test_the_same_pictures_at_another_resolution_are_taken(tmp_path):
    begin(tmp_path).close()
    with begin(tmp_path, width=853, height=480) as log:
        assert log.header["width"] == 320


def test_a_file_under_another_name_is_refused(tmp_path):
    with begin(tmp_path) as log:
        path = log.path
    with pytest.raises(PaintingError, match="does not fit"):
        PaintingLog.open(path.with_name("other.jsonl"), HEADER, QUESTIONS)
    path.rename(path.with_name("other.jsonl"))
    with pytest.raises(PaintingError, match="holds snippet 'fp13_4835'"):
        read_painting(path.with_name("other.jsonl"))


def test_opening_again_in_this_process_shares_the_painting(tmp_path):
    first, second = begin(tmp_path), begin(tmp_path)
    assert first is second
    first.append(stroke(1))
    first.close()
    assert second.append(stroke(2)) == Acknowledged(2, "begun")
    second.close()
    second.close()
    with pytest.raises(PaintingError, match="closed"):
        second.append(stroke(3))
    assert not list(tmp_path.glob("*/.*"))
    with begin(tmp_path) as third:
        assert third.append(stroke(3)) == Acknowledged(3, "begun")


def test_many_threads_at_once_leave_one_whole_log(tmp_path):
    """Every thread sends everything until all is acknowledged, as callbacks of several kernel threads might."""
    log, count = begin(tmp_path), 40
    ends = threading.Barrier(4)

    def send() -> None:
        ends.wait()
        for number in range(1, count + 1):
            while not isinstance(log.append(stroke(number, number % FRAMES)), Acknowledged):
                time.sleep(0)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert read_painting(log.path).last == count


@pytest.mark.parametrize("what", ["removed", "replaced", "longer"])
def test_a_file_changed_by_somebody_else_is_not_written(tmp_path, what):
    with begin(tmp_path) as log:
        log.append(stroke(1))
        content = log.path.read_bytes()
        if what == "longer":
            with log.path.open("ab") as stream:
                stream.write(b'{"op":"undo","n":2}\n')
        else:
            log.path.unlink()
        if what == "replaced":
            log.path.write_bytes(content)
        with pytest.raises(PaintingError, match="moved, replaced or changed") as caught:
            log.append(stroke(2))
        assert "still in the browser" in caught.value.expected
        with begin(tmp_path) as again:  # opening anew sees what is there now
            assert again is not log
            last = {"removed": 0, "replaced": 1, "longer": 2}[what]
            assert again.painting.last == last
            assert again.append(stroke(last + 1)) == Acknowledged(last + 1, "begun")


# ---- other processes, and disks ----------------------------------------------------------------------------------

WRITER = """
import json, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from nbpkg.attention.painting.log import PaintingLog, painting_path
from nbpkg.errors import PaintingError
header, operation = json.loads({header!r}), json.loads({operation!r})
try:
    log = PaintingLog.open(painting_path(Path({folder!r}), "ew", "fp13_4835"), header, {{}})
    for number in range(log.painting.last + 1, {count}):
        answer = log.append(operation | {{"n": number}})
        print(number, type(answer).__name__, flush=True)
except PaintingError as error:
    print(error, flush=True)
{after}
"""


def script(root: Path, folder: Path, *, count: int = 100_000, after: str = "", points: int = 30) -> str:
    operation = json.dumps({**stroke(0), "points": [[i, 0.1 + i / 1e5, 0.5] for i in range(points)]})
    return WRITER.format(
        root=str(root), folder=str(folder), header=json.dumps(HEADER), operation=operation, count=count, after=after
    )


def test_a_second_process_is_refused_and_told_who_paints(root, tmp_path):
    with begin(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", script(root, tmp_path, count=3)], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert f"open elsewhere: process {os.getpid()} on " in done.stdout
        assert "other notebook" in done.stdout
    done = subprocess.run(
        [sys.executable, "-c", script(root, tmp_path, count=3)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout.split() == ["1", "Acknowledged", "2", "Acknowledged"], done.stderr
    with begin(tmp_path) as log:
        assert log.painting.last == 2


@pytest.mark.parametrize("wait", [0.0, 0.013, 0.057])
def test_sigkill_loses_at_most_the_operation_in_hand(root, tmp_path, wait):
    process = subprocess.Popen([sys.executable, "-c", script(root, tmp_path, points=900)], stdout=subprocess.PIPE)
    for _ in range(8):
        process.stdout.readline()
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().decode()
    process.wait()
    lines = rest.split("\n")[:-1]
    acknowledged = int(lines[-1].split()[0]) if lines else 8
    painting = read_painting(painting_path(tmp_path, "ew", "fp13_4835"))
    assert painting.last in (acknowledged, acknowledged + 1)
    with PaintingLog.open(painting_path(tmp_path, "ew", "fp13_4835"), HEADER, {}) as log:  # the lock died with it
        assert log.append(stroke(painting.last + 1)) == Acknowledged(painting.last + 1, "begun")


def in_tmpfs(root: Path, tmp_path: Path, *, size: str, before: str = "", after: str = "") -> str:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare (Linux) for a file system of its own")
    folder = tmp_path / "disk"
    folder.mkdir()
    file = tmp_path / "script.py"
    file.write_text(script(root, folder, after=after, points=200))
    command = f"mount -t tmpfs -o size={size} tmpfs {folder} && {before} exec {sys.executable} {file}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode != 0 and "mount" in done.stderr:
        pytest.skip(f"no file system of one's own here: {done.stderr.strip()}")
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


FREE_SPACE = """
last = log.painting.last
size = log.path.stat().st_size
(Path({folder!r}) / "ballast").unlink()
print(type(log.append(operation | {{"n": last + 1}})).__name__, log.path.stat().st_size > size)
log.close()
from nbpkg.attention.painting.log import read_painting
print("read", read_painting(log.path).last - last)
"""


@pytest.mark.may_skip
def test_a_full_disk_is_said_in_words_and_the_stroke_can_be_sent_again(root, tmp_path):
    ballast = f"head -c 40000 /dev/zero > {tmp_path}/disk/ballast &&"
    text = in_tmpfs(root, tmp_path, size="200k", before=ballast, after=FREE_SPACE.format(folder=f"{tmp_path}/disk"))
    assert "The disk is full." in text
    assert "still in the browser" in text
    assert text.splitlines()[-2:] == ["Acknowledged True", "read 1"]


@pytest.mark.may_skip
def test_a_read_only_folder_is_said_in_words(root, tmp_path):
    before = f"mount -o remount,ro,size=1m tmpfs {tmp_path}/disk &&"
    text = in_tmpfs(root, tmp_path, size="1m", before=before)
    assert "cannot be written" in text
    assert "write permission" in text


# ---- all paintings --------------------------------------------------------------------------------------------------


def paint_some(folder: Path) -> pd.DataFrame:
    with begin(folder) as log:
        for operation in (stroke(1), stroke(2, 1), stroke(3, 2, tool="eraser"), *answers(4), {"op": "submit", "n": 6}):
            log.append(operation | {"seconds": operation["n"] * 1.5})
    with begin(folder, painter="mf", snippet_id="other one") as log:
        log.append({"op": "skip", "n": 1, "reason": 'dark, "very"'})
    with begin(folder, painter="mf", snippet_id="unused") as log:
        log.append(stroke(1))
    begin(folder, painter="mf", snippet_id="opened").close()
    rows = [("fp13_4835", "ew", 0), ("fp13_4835", "mf", 1), ("other one", "mf", 0), ("opened", "mf", 2)]
    return pd.DataFrame(rows, columns=["snippet_id", "painter", "position"])


def test_paintings_follow_the_queue_and_the_others_are_kept_apart(tmp_path):
    queue = paint_some(tmp_path)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / ".ipynb_checkpoints" / "x.jsonl").write_text("nonsense\n")
    (tmp_path / "mf" / "notes.txt").write_text("kept\n")
    paintings, unused = logs.read_paintings(tmp_path, queue)
    assert [(one.snippet_id, one.painter, one.state) for one in paintings] == [
        ("fp13_4835", "ew", "done"),
        ("fp13_4835", "mf", "todo"),
        ("other one", "mf", "skipped"),
        ("opened", "mf", "todo"),
    ]
    assert [(one.snippet_id, one.state) for one in unused] == [("unused", "begun")]
    assert logs.read_paintings(tmp_path / "nowhere", queue.iloc[1:2])[0] == [Painting("fp13_4835", "mf")]


def test_every_damaged_painting_is_listed_at_once(tmp_path):
    queue = paint_some(tmp_path)
    for path in (tmp_path / "ew" / "fp13_4835.jsonl", tmp_path / "mf" / "unused.jsonl"):
        path.write_bytes(path.read_bytes() + b"nonsense\n")
    with pytest.raises(PaintingError) as caught:
        logs.read_paintings(tmp_path, queue)
    text = str(caught.value)
    assert "2 problems" in text
    assert "ew/fp13_4835.jsonl, line 8" in text
    assert "mf/unused.jsonl, line 3" in text


@pytest.mark.parametrize("column", ["painter", "snippet_id"])
def test_names_in_the_queue_are_checked(tmp_path, column):
    queue = pd.DataFrame({"snippet_id": ["a"], "painter": ["b"], "position": [0], column: ["../c"]})
    with pytest.raises(PaintingError, match="cannot be the name"):
        logs.read_paintings(tmp_path, queue)


def test_tables_hold_what_was_painted_and_answered(tmp_path):
    found = logs.tabulate(logs.read_paintings(tmp_path, paint_some(tmp_path))[0])
    first = found["paintings"].iloc[0].to_dict()
    assert first == {
        "snippet_id": "fp13_4835",
        "painter": "ew",
        "state": "done",
        "frames": 4,
        "painted_frames": 2,
        "strokes": 3,
        "seconds": 9.0,
        "reason": "",
    }
    assert found["paintings"]["reason"].tolist() == ["", "", 'dark, "very"', ""]
    assert found["answers"].to_numpy().tolist() == [
        ["fp13_4835", "ew", "attending", "no"],
        ["fp13_4835", "ew", "sure", "yes"],
    ]
    assert {name: len(table) for name, table in logs.tabulate([]).items()} == {"paintings": 0, "answers": 0}


def test_strokes_that_were_submitted_go_to_the_next_stage_and_come_back(tmp_path):
    paintings = logs.read_paintings(tmp_path, paint_some(tmp_path))[0]
    path = logs.write_strokes(paintings, tmp_path / "strokes.jsonl")
    content = path.read_bytes()
    found = logs.read_strokes(path)
    assert found == [replace(paintings[0], can_undo=False, can_redo=False)]
    assert logs.write_strokes(found, path).read_bytes() == content
    assert logs.read_strokes(logs.write_strokes([], tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("text", ["nonsense", "{}", "[]", '{"snippet_id":"a"}'])
def test_damaged_strokes_name_the_line(tmp_path, text):
    path = logs.write_strokes(logs.read_paintings(tmp_path, paint_some(tmp_path))[0], tmp_path / "strokes.jsonl")
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(PaintingError, match="Line 2"):
        logs.read_strokes(path)
    with pytest.raises(PaintingError, match="not there"):
        logs.read_strokes(tmp_path / "nowhere.jsonl")


def test_two_thousand_strokes_come_back(tmp_path):
    """How long it takes is measured in bench/strokes.py."""
    operations = [{**stroke(n, n % FRAMES), "points": [[i, i / 30, 0.5] for i in range(30)]} for n in range(1, 2001)]
    path = painting_path(tmp_path, "ew", "fp13_4835")
    path.parent.mkdir()
    path.write_text("".join(json.dumps(line) + "\n" for line in [check_opening(HEADER), *operations]))
    assert len(read_painting(path).strokes) == 2000
