"""The kernel's side of the painter: what it answers, what it keeps to itself, and that nothing is swallowed."""

from __future__ import annotations

import json
import threading
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from nbpkg.attention.painting.lines import read_painting
from nbpkg.attention.painting.painter import Painter, PainterOptions, show_painter
from nbpkg.attention.painting.pictures import Clip
from nbpkg.errors import MediaError, PaintingError

NAMES = ["s01_people_0", "s02_eggs_5000", "s03_drums_9000"]
QUESTIONS = {"participating": ["no", "yes"], "attending": ["no", "yes"]}
SNIPPETS = pd.DataFrame({"snippet_id": NAMES, "session": ["s01", "s02", "s03"], "task": ["people", "eggs", "drums"]})
SNIPPETS = SNIPPETS.assign(variable="attending", start_ms=[0, 5000, 9000], end_ms=[5000, 10000, 14000], label=[1, 0, 1])
SNIPPETS = SNIPPETS.assign(raters=2, painted=True)
QUEUE = pd.DataFrame(
    {"snippet_id": [NAMES[2], NAMES[0], NAMES[1], NAMES[0]], "painter": ["ann", "ann", "ann", "bob"]}
).assign(position=[0, 1, 2, 0])


def picture_clip(snippet_id: str) -> Clip:
    x = np.linspace(40, 200, 64 + 16)[None, :, None] + 7 * NAMES.index(snippet_id)
    frames = np.stack([np.broadcast_to(x[:, k : k + 64], (36, 64, 3)) for k in range(4)]).astype(np.uint8)
    start = int(SNIPPETS.set_index("snippet_id").loc[snippet_id, "start_ms"])
    return Clip(frames, tuple(start + 320 * k for k in range(4)), Fraction(25, 8), at_source=True)


class Browser:
    """The other end of the line: what a browser's page sends and gets."""

    comm_id, kernel = "line", SimpleNamespace()

    def __init__(self, painter: Painter) -> None:
        self.painter, self.got = painter, []
        painter.comm = self

    def on_msg(self, _receive) -> None:
        """The widget listens to what `tell` hands it directly."""

    def close(self, *_, **__) -> None:
        """The page lets go of the widget."""

    def send(self, data, buffers=None) -> None:
        content = json.loads(json.dumps(data["content"]))  # what cannot travel fails here
        self.got.append((content, list(buffers or [])))

    def tell(self, kind: str, client: str = "page", **content) -> list[dict]:
        """Send a message and return the answers, without their buffers."""
        before = len(self.got)
        data = {"method": "custom", "content": {"type": kind, "client": client, **content}}
        self.painter._handle_msg({"content": {"data": data}, "buffers": []})
        return [answer for answer, _ in self.got[before:]]

    def paint(self, n: int, snippet_id: str, painter: str = "ann", **operation) -> dict:
        full = {"op": "stroke", "n": n, "seconds": 1.5, "frame": 0, "tool": "brush", "radius": 0.1, "strength": 0.3}
        full = full | {"points": [[0, 0.5, 0.5], [8, 0.6, 0.5]]} if not operation else {"n": n, **operation}
        (answer,) = self.tell("op", painter=painter, snippet_id=snippet_id, op=full)
        return answer


@pytest.fixture
def make(tmp_path):
    """Make a painter and its browser; both end with the test."""
    made = []

    def build(load=picture_clip, **changes):
        how = {"folder": tmp_path / "paintings", "questions": QUESTIONS, "painters": ["ann", "bob"]} | changes
        queue, snippets = how.pop("queue", QUEUE), how.pop("snippets", SNIPPETS)
        made.append(Painter(queue, snippets, load=load, **how))
        return Browser(made[-1])

    yield build
    for painter in made:
        painter.close()


def test_a_painting_from_hello_to_submit(make, tmp_path):
    browser = make()
    (state,) = browser.tell("hello")
    assert (state["type"], state["client"], state["painter"], state["queue"]) == ("state", "page", None, [])
    assert state["painters"] == ["ann", "bob"]
    assert state["questions"] == [{"question": name, "values": values} for name, values in QUESTIONS.items()]
    (state,) = browser.tell("who", painter="ann")
    assert [row["snippet_id"] for row in state["queue"]] == [NAMES[2], NAMES[0], NAMES[1]]
    assert [row["position"] for row in state["queue"]] == [0, 1, 2]
    opened, clip = browser.tell("open", painter="ann", snippet_id=NAMES[2])
    assert (opened["type"], opened["client"]) == ("opened", "page")
    assert (clip["type"], clip["ops"], clip["fps"]) == ("clip", [], 3.125)
    assert clip["header"]["frame_ms"] == [9000, 9320, 9640, 9960]
    assert (clip["header"]["width"], clip["header"]["height"]) == (64, 36)
    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in browser.got[-1][1]]
    wanted = picture_clip(NAMES[2]).frames[..., ::-1].astype(int)
    assert np.abs(np.stack(pictures) - wanted).mean() < 2
    wanted = {"type": "ack", "client": "page", "painter": "ann", "snippet_id": NAMES[2], "n": 1, "state": "begun"}
    assert browser.paint(1, NAMES[2]) == wanted
    assert browser.paint(1, NAMES[2])["type"] == "ack"  # sent again, as its acknowledgement was lost
    refused = browser.paint(2, NAMES[2], op="submit")
    assert (refused["type"], refused["n"], refused["last"]) == ("refused", 2, 1)
    assert "participating" in refused["why"]
    assert browser.paint(5, NAMES[2], op="clear", frame=0)["type"] == "refused"
    for n, question in enumerate(QUESTIONS, start=2):
        browser.paint(n, NAMES[2], op="answer", question=question, value="yes")
    assert browser.paint(4, NAMES[2], op="submit")["state"] == "done"
    painting = read_painting(tmp_path / "paintings" / "ann" / f"{NAMES[2]}.jsonl")
    assert (painting.state, painting.last, len(painting.strokes)) == ("done", 4, 1)
    (state,) = browser.tell("who", painter="ann")
    assert [row["state"] for row in state["queue"]] == ["done", "todo", "todo"]


def test_reopening_gives_every_operation_back(make):
    browser = make()
    browser.tell("open", painter="ann", snippet_id=NAMES[0])
    for n in range(1, 6):
        browser.paint(n, NAMES[0])
    browser.paint(6, NAMES[0], op="undo")
    for other in (browser, make()):  # the same widget, and one made by running the cell again
        *_, clip = other.tell("open", painter="ann", snippet_id=NAMES[0])
        assert [operation["op"] for operation in clip["ops"]] == ["stroke"] * 5 + ["undo"]
        assert [operation["n"] for operation in clip["ops"]] == list(range(1, 7))


def test_painters_are_blind(make):
    """No label, no rater and nothing of another painter reaches the browser."""
    browser = make()
    browser.tell("open", painter="bob", snippet_id=NAMES[0])
    browser.paint(1, NAMES[0], painter="bob")
    before = len(browser.got)
    browser.tell("who", painter="ann")
    browser.tell("open", painter="ann", snippet_id=NAMES[0])
    seen = [answer for answer, _ in browser.got[before:]]
    assert seen[0]["queue"][1]["state"] == "todo"
    assert seen[-1]["ops"] == []
    for answer in seen:
        for row in [answer.get("header", {}), *answer.get("queue", [])]:
            assert not {"label", "raters", "painted"} & set(row)
    assert "bob" not in json.dumps([{key: value for key, value in row.items() if key != "painters"} for row in seen])


def test_no_picture_is_widget_state(make):
    browser = make()
    browser.tell("open", painter="ann", snippet_id=NAMES[0])
    state = browser.painter.get_state()
    assert {"_esm", "_css"} <= set(state)
    rest = {name: value for name, value in state.items() if name not in ("_esm", "_css")}
    assert len(json.dumps(rest, default=repr)) < 1000


def test_clips_are_read_once_and_the_next_ahead(make):
    loaded = []

    def load(snippet_id):
        loaded.append((snippet_id, threading.current_thread().name))
        return picture_clip(snippet_id)

    browser = make(load)
    browser.tell("open", painter="ann", snippet_id=NAMES[2])
    browser.tell("open", painter="ann", snippet_id=NAMES[2])
    browser.tell("open", painter="ann", snippet_id=NAMES[0])
    browser.painter.close()  # waits for nothing, so wait here
    browser.painter._reader.shutdown(wait=True)
    assert [name for name, _ in loaded][:2] == [NAMES[2], NAMES[0]]
    assert len(loaded) <= 3
    assert {thread.split("_")[0] for _, thread in loaded} == {"painter-pictures"}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"kind": "who", "painter": "eve"}, "not among the painters"),
        ({"kind": "open", "painter": "bob", "snippet_id": NAMES[1]}, "not in the queue"),
        ({"kind": "open", "painter": "ann", "snippet_id": "../../etc"}, "not in the queue"),
        ({"kind": "op", "painter": "ann", "snippet_id": NAMES[0], "op": {}}, "not open"),
        ({"kind": "dance"}, "unknown"),
    ],
)
def test_what_cannot_be_answered_is_said(make, message, text):
    (answer,) = make().tell(**message)
    assert (answer["type"], answer["client"], answer["about"]) == ("error", "page", message["kind"])
    assert text in answer["text"]


@pytest.mark.parametrize("error", [MediaError("'a.mp4' is not there."), ZeroDivisionError("by hand")])
def test_pictures_that_cannot_be_read_are_said_and_tried_again(make, error):
    broken = [True]

    def load(snippet_id):
        if broken[0]:
            raise error
        return picture_clip(snippet_id)

    browser = make(load)
    (answer,) = browser.tell("open", painter="ann", snippet_id=NAMES[0])
    assert answer["type"] == "error"
    assert str(error) in answer["text"]
    broken[0] = False
    assert browser.tell("open", painter="ann", snippet_id=NAMES[0])[-1]["type"] == "clip"


def test_damaged_log_is_said_and_leaves_others_alone(make, tmp_path):
    for painter in ("ann", "bob"):
        (tmp_path / "paintings" / painter).mkdir(parents=True)
    (tmp_path / "paintings" / "ann" / f"{NAMES[0]}.jsonl").write_text("no json\n")
    browser = make()
    state, error = browser.tell("who", painter="ann")
    assert [row["state"] for row in state["queue"]] == ["todo", "begun", "todo"]
    assert "damaged" in error["text"]
    (answer,) = browser.tell("open", painter="ann", snippet_id=NAMES[0])
    assert (answer["type"], answer["about"]) == ("error", "open")
    assert len(browser.tell("who", painter="bob")) == 1


def test_messages_of_many_threads(make, tmp_path):
    browser = make()
    for painter, snippet_id in (("ann", NAMES[0]), ("ann", NAMES[1]), ("bob", NAMES[0])):
        browser.tell("open", painter=painter, snippet_id=snippet_id)

    def work(painter: str, snippet_id: str) -> None:
        for n in range(1, 31):
            browser.tell("op", painter=painter, snippet_id=snippet_id, op={"op": "clear", "n": n, "frame": n % 4})

    jobs = [("ann", NAMES[0]), ("ann", NAMES[1]), ("bob", NAMES[0]), ("ann", NAMES[0])]  # the last one re-sends
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for painter, snippet_id in jobs:
        assert read_painting(tmp_path / "paintings" / painter / f"{snippet_id}.jsonl").last == 30


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"painters": ["ann"]}, "no painters: bob"),
        ({"painters": ["ann", "bob", "a/b"]}, "name of a painter"),
        ({"snippets": SNIPPETS.iloc[:2]}, NAMES[2]),
        ({"questions": {"attending": []}}, "without answers"),
    ],
)
def test_contradictions_are_refused(make, change, text):
    with pytest.raises(PaintingError, match=text):
        make(**change)


@pytest.mark.parametrize("name", ["radius", "eraser_radius", "strength", "eraser_strength", "opacity"])
def test_options_outside_their_range_are_refused(name):
    with pytest.raises(PaintingError, match=name):
        PainterOptions(**{name: 1.5})


def test_headless_makes_no_widget(monkeypatch, tmp_path, capsys):
    how = {"folder": tmp_path, "load": picture_clip, "questions": QUESTIONS, "painters": ["ann", "bob"]}
    monkeypatch.setenv("NBPKG_LIVE", "0")
    assert show_painter(QUEUE, SNIPPETS, **how) is None
    assert "4 snippets for 2 painters" in capsys.readouterr().err
    monkeypatch.setenv("NBPKG_LIVE", "1")
    painter = show_painter(QUEUE, SNIPPETS, **how)
    assert isinstance(painter, Painter)
    painter.close()
