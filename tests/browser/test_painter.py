"""The painter in a real browser: its preview is the rasteriser's, and nothing finished is lost, whatever dies."""

from __future__ import annotations

import base64
import os
import signal
from pathlib import Path

import nbformat
import numpy as np
import pytest
from jupyter_lab import IDLE, open_page, photograph, run_all, start_all
from painter_hand import Hand, equals_log, wait_until_done

from nbpkg.attention.painting.lines import read_operations, read_painting
from nbpkg.attention.painting.raster import rasterise
from nbpkg.attention.painting.strokes import Stroke, replay

pytestmark = pytest.mark.browser
SCRIPT = Path(__file__).parents[2] / "nbpkg" / "attention" / "painting" / "painter.js"
FRAMES, SIZE = 16, (360, 640)
PREVIEW = """async ([source, strokes, width, height, picture]) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { emptyMap, paintStroke } = await import(url);
  const map = emptyMap(width, height);
  for (const stroke of strokes) paintStroke(stroke, map, picture);
  return btoa(Array.from(new Uint8Array(map.data.buffer), (byte) => String.fromCharCode(byte)).join(""));
}"""
ADD_UP = """async ([source, operations, frames]) => {
  const { Painting } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const painting = new Painting(frames);
  for (const operation of operations) painting.apply(operation);
  const { lists, answers, state, seconds, reason, last, done, undone } = painting;
  return { lists, answers, state, seconds, reason, last, undo: done.length > 0, redo: undone.length > 0 };
}"""
MERGE = """async ([source, stored, unsent]) => {
  const { mergeUnsent } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  return mergeUnsent(stored, unsent);
}"""
WORLD = """
import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from nbpkg.attention.painting.painter import Painter, PainterOptions
from nbpkg.attention.painting.pictures import Clip

HERE = Path(__file__).parent
(HERE / "process.txt").write_text(str(os.getpid()))
NAMES = ["s01_people_4000", "s02_eggs_9000"]


def load(snippet_id):
    height, width, count = {size[0]}, {size[1]}, {frames}
    chance = np.random.default_rng(NAMES.index(snippet_id))
    room = chance.integers(90, 170, (5, 9, 3), dtype=np.uint8)
    room = cv2.resize(room, (width, height), interpolation=cv2.INTER_CUBIC)
    pictures = np.repeat(room[None], count, axis=0)
    for number, picture in enumerate(pictures):
        sway = np.sin(number / 3)
        body, head = (int(width * (0.5 + 0.1 * sway)), 290), (int(width * (0.5 + 0.13 * sway)), 120)
        cv2.ellipse(picture, body, (80, 130), 0, 0, 360, (70, 90, 160), -1, cv2.LINE_AA)
        cv2.ellipse(picture, head, (38, 52), 12 * sway, 0, 360, (205, 165, 140), -1, cv2.LINE_AA)
    return Clip(pictures, tuple(4160 + 320 * number for number in range(count)), Fraction(25, 8), at_source=True)


def make(folder="paintings"):
    snippets = pd.DataFrame({{"snippet_id": NAMES, "session": ["s01", "s02"], "task": ["people", "eggs"]}})
    snippets = snippets.assign(variable="attending", start_ms=4000, end_ms=9000, label=[1, 0], raters=2, painted=True)
    queue = pd.DataFrame({{"snippet_id": [*NAMES, NAMES[0]], "painter": ["r1", "r1", "r2"], "position": [0, 1, 0]}})
    return Painter(
        queue,
        snippets,
        folder=HERE / folder,
        load=load,
        questions={{"participating": ["no", "self", "joint"], "attending": ["no", "attending", "excited"]}},
        painters=["r1", "r2"],
        options=PainterOptions(title="A made-up study", instructions="Paint what made you answer as you did."),
    )
"""


# ---- the preview is the rasteriser's ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blank(browser):
    page = browser.new_page()
    yield page
    page.close()


def random_strokes(seed: int, count: int, *, pressure: bool) -> list[Stroke]:
    chance = np.random.default_rng(seed)
    strokes = []
    for number in range(count):
        steps = int(chance.integers(1, 30))
        path = chance.uniform(-0.1, 1.1, 2) + np.cumsum(chance.normal(0, 0.03, (steps, 2)), axis=0)
        path[chance.random(steps) < 0.1] = path[0]  # a hand that stands still gives segments without length
        points = [(float(10 * k), *map(float, place)) for k, place in enumerate(path)]
        if pressure:
            points = [(*point, float(chance.random())) for point in points]
        tool = "eraser" if number % 4 == 3 else "brush"
        size, strength = float(np.exp(chance.uniform(np.log(0.004), np.log(0.4)))), float(chance.uniform(0.02, 1))
        stroke = {"frame": 0, "tool": tool, "radius": size, "strength": strength, "points": [list(p) for p in points]}
        strokes.append(Stroke.from_json(stroke))
    return strokes


@pytest.mark.parametrize(
    ("seed", "shape", "picture", "pressure"),
    [
        (0, (90, 160), (640, 360), False),
        (1, (90, 160), (640, 360), True),
        (2, (160, 288), (288, 160), True),
        (3, (120, 68), (540, 960), False),
        (4, (64, 64), (1000, 333), True),
    ],
)
def test_preview_equals_rasteriser(blank, seed, shape, picture, pressure):
    strokes = random_strokes(seed, 30, pressure=pressure)
    content = [stroke.to_json() for stroke in strokes]
    size = {"width": picture[0], "height": picture[1]}
    sent = blank.evaluate(PREVIEW, [SCRIPT.read_text(), content, shape[1], shape[0], size])
    preview = np.frombuffer(base64.b64decode(sent), np.float32).reshape(shape)
    wanted = rasterise(strokes, shape=(1, *shape), size=picture)[0]
    assert wanted.max() > 0.2
    assert np.abs(preview - wanted).max() < 1 / 255


def random_operations(seed: int, count: int) -> list[dict]:
    """Operations as a person makes them; undo and redo only where there is something."""
    chance, operations, done, undone = np.random.default_rng(seed), [], 0, 0
    for number in range(1, count + 1):
        kind = str(chance.choice(["stroke", "stroke", "clear", "copy", "undo", "undo", "redo", "answer", "submit"]))
        if (kind == "undo" and not done) or (kind == "redo" and not undone):
            kind = "stroke"
        operation = {"op": kind, "n": number, "seconds": round(0.3 * number, 1)}
        if kind in ("stroke", "clear", "copy"):
            operation["frame"] = int(chance.integers(0, 4))
            done, undone = done + 1, 0
        if kind == "stroke":
            place = [0, *chance.uniform(0, 1, 2).round(5).tolist()]
            operation |= {"tool": "brush", "radius": 0.05, "strength": 0.2, "points": [place]}
        elif kind == "copy":
            operation["source"] = int(chance.integers(0, 4))
        elif kind == "answer":
            operation |= {"question": "attending", "value": str(chance.choice(["no", "yes"]))}
        elif kind in ("undo", "redo"):
            by = -1 if kind == "undo" else 1
            done, undone = done + by, undone - by
        operations.append(operation)
    return operations


@pytest.mark.parametrize("seed", range(5))
def test_operations_add_up_alike(blank, seed):
    operations = random_operations(seed, 120)
    opening = {"snippet_id": "a", "painter": "b", "session": "s", "task": "t", "variable": "v", "start_ms": 0}
    opening |= {"end_ms": 4000, "frame_ms": [0, 1000, 2000, 3000], "width": 64, "height": 36}
    painting = replay([opening, *operations])
    found = blank.evaluate(ADD_UP, [SCRIPT.read_text(), operations, 4])
    for frame, strokes in enumerate(found["lists"]):
        wanted = [stroke.points for stroke in painting.strokes if stroke.frame == frame]
        assert [tuple(map(tuple, stroke["points"])) for stroke in strokes] == wanted
    assert found["answers"] == painting.answers
    assert (found["state"], found["seconds"], found["last"]) == (painting.state, painting.seconds, painting.last)
    assert (found["undo"], found["redo"]) == (painting.can_undo, painting.can_redo)


A, B, C = ({"op": "answer", "question": "q", "value": value} for value in "abc")
UNDO = {"op": "undo"}


@pytest.mark.parametrize(
    ("stored", "unsent", "kept"),
    [
        ([A], [], []),
        ([A], [(2, B), (3, C)], [(2, B), (3, C)]),  # goes on where the log ends
        ([A, B], [(2, B), (3, C)], [(3, C)]),  # arrived, but its acknowledgement was lost
        ([A, B], [(2, C), (3, UNDO), (4, A)], [(3, C), (4, A)]),  # another window painted: its edits are not undone
        ([], [(4, A), (5, B)], [(1, A), (2, B)]),  # the log was taken away
    ],
)
def test_unsent_operations_follow_the_log(blank, stored, unsent, kept):
    log = [{**operation, "n": number} for number, operation in enumerate(stored, start=1)]
    late = [{**operation, "n": number} for number, operation in unsent]
    wanted = [{**operation, "n": number} for number, operation in kept]
    assert blank.evaluate(MERGE, [SCRIPT.read_text(), log, late]) == wanted


# ---- in JupyterLab -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with a notebook that shows the painter."""
    folder = tmp_path_factory.mktemp("painting")
    (folder / "world.py").write_text(WORLD.format(size=SIZE, frames=FRAMES))
    cells = [nbformat.v4.new_code_cell(source) for source in ("import world", "painter = world.make()", "painter")]
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    text = nbformat.v4.new_markdown_cell("\n\n".join(["What stands below."] * 40))
    two = [nbformat.v4.new_code_cell(s) for s in ("import world", "painter = world.make('two')", "painter", "painter")]
    for name, content in {"paint": [*cells, text], "two": two}.items():
        notebook = nbformat.v4.new_notebook(cells=content, metadata={"kernelspec": kernel})
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="module")
def lab(study, start_lab):
    return start_lab(study)


@pytest.fixture
def page(browser):
    opened = open_page(browser, height=900)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.errors = errors
    yield opened
    opened.close()


def paintings(study, painter="r1") -> list[Path]:
    return sorted((study / "paintings" / painter).glob("*.jsonl"))


def kill_kernel(study) -> None:
    os.kill(int((study / "process.txt").read_text()), signal.SIGKILL)


def test_paint_submit_die_and_go_on(lab, study, page):
    run_all(page, lab.address, "paint.ipynb", cells=3)
    hand = Hand(page)
    photograph(page, "painter_who")
    hand.begin("r1")
    hand.wait_for_snippet("s01")

    # Three frames, brush and eraser of their own sizes, undo and redo, a copied frame; the page must not scroll.
    before = page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop")
    hand.paint((0.45, 0.3), (0.55, 0.35), (0.5, 0.5))
    page.mouse.wheel(0, -400)
    hand.paint((0.3, 0.7), (0.6, 0.75))
    assert page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop") == before
    sizes = [hand.session(f"s.tools.{tool}.radius") for tool in ("brush", "eraser")]
    assert sizes[0] > sizes[1]
    hand.key("e")
    hand.paint((0.48, 0.3), (0.52, 0.4))
    hand.key("Control+z", "Control+Shift+z", "ArrowRight", "d", "b", "]")
    hand.paint((0.7, 0.2), (0.8, 0.3))
    hand.key("ArrowRight")
    page.mouse.move(*hand.at(0.2, 0.2))
    page.mouse.down(button="right")
    page.mouse.move(*hand.at(0.3, 0.2), steps=4)
    page.mouse.up(button="right")
    hand.paint((0.2, 0.2), (0.25, 0.6))
    hand.key("Shift+d")  # the next frame has no paint: nothing happens
    hand.is_saved()
    photograph(page, "painter_painted")
    path = paintings(study)[0]
    operations = [line["op"] for line in read_operations(path)[0]]
    assert operations == ["open", *["stroke"] * 3, "undo", "redo", "copy", *["stroke"] * 3]
    painting = read_painting(path)
    assert {stroke.frame for stroke in painting.strokes} == {0, 1, 2}
    assert {stroke.tool for stroke in painting.strokes} == {"brush", "eraser"}
    equals_log(hand, path)
    assert page.locator(".nbp-thumb.nbp-painted").count() == 3

    # Submitting needs all answers; the next snippet opens by itself.
    hand.key("2", "Enter")
    page.locator(".nbp-confirm:has-text('Attending')").wait_for()
    hand.key("6", "Enter")
    hand.wait_for_snippet("s02")
    assert page.locator(".nbp-progress").inner_text().startswith("1 of 2")
    wait_until_done(path)
    assert read_painting(path).answers == {"participating": "self", "attending": "excited"}

    # The kernel is killed in the middle of a stroke.
    hand.paint((0.4, 0.4), (0.6, 0.6))
    hand.key("3")
    hand.is_saved()
    hand.press((0.2, 0.5), (0.3, 0.6))
    kill_kernel(study)
    page.mouse.move(*hand.at(0.4, 0.5), steps=4)
    page.mouse.up()
    hand.paint((0.7, 0.7), (0.8, 0.6))
    # On a slow machine the first stroke is late before the second one is done, so the count may begin with one.
    page.locator(".nbp-saved[data-state=late]:has-text('2 not saved')").wait_for()
    assert page.locator(".nbp-saved").inner_text() == "2 not saved: the kernel does not answer"
    photograph(page, "painter_kernel_dead")
    shown = hand.maps()
    second = paintings(study)[1]
    assert [line["op"] for line in read_operations(second)[0]] == ["open", "stroke", "answer"]

    # A new kernel and the cells run again: what was painted without a kernel arrives, too.
    dialog = page.locator(".jp-Dialog button.jp-mod-accept")
    if dialog.count():
        dialog.first.click()
    page.wait_for_selector(IDLE)
    start_all(page)
    page.locator(".nbp-choices button").first.wait_for()
    hand = Hand(page)
    hand.begin("r1")
    hand.wait_for_snippet("s02")
    hand.is_saved()
    assert [line["op"] for line in read_operations(second)[0]] == ["open", "stroke", "answer", "stroke", "stroke"]
    equals_log(hand, second)
    assert np.array_equal(hand.maps(), shown)
    assert page.locator(".nbp-values [aria-pressed=true]").inner_text().startswith("joint")
    assert hand.session("s.doc.seconds") >= read_painting(second).seconds > 0
    photograph(page, "painter_again")
    assert page.errors == []


def test_reload_skip_and_other_painter(lab, study, page):
    """Runs on what the test before left; the page is loaded anew while the kernel lives."""
    run_all(page, lab.address, "paint.ipynb", cells=3)
    hand = Hand(page)
    hand.begin("r1")
    hand.wait_for_snippet("s02")
    hand.key("s")
    page.locator(".nbp-reason input").fill("the child cannot be seen")
    page.keyboard.press("Enter")
    page.locator("h2:has-text('All 2 snippets are finished')").wait_for()
    hand.is_saved()
    assert read_painting(paintings(study)[1]).reason == "the child cannot be seen"
    photograph(page, "painter_finished")
    page.locator(".nbp-list button >> nth=0").click()
    hand.wait_for_snippet("s01")
    equals_log(hand, paintings(study)[0])
    assert page.locator(".nbp-note:has-text('Submitted')").count() == 1

    page.locator(".nbp-who").click()
    hand.begin("r2")  # sees an empty picture of the snippet that r1 has painted
    assert hand.maps().max() == 0
    assert page.locator(".nbp-list button").count() == 1
    hand.paint((0.5, 0.5), (0.6, 0.5))
    hand.is_saved()
    assert len(paintings(study, "r2")) == 1
    assert page.errors == []


def test_keys_stay_in_the_painter(lab, study, page):
    run_all(page, lab.address, "paint.ipynb", cells=3)
    hand = Hand(page)
    hand.begin("r2")
    cells = page.locator(".jp-Cell").count()
    hand.paint((0.3, 0.3), (0.4, 0.4))
    count = hand.session("s.doc.painting.last")
    hand.key("a", "x", "v", "d", "d", "m", "Shift+Enter", "z")  # commands of JupyterLab, were the cell to hear them
    assert page.locator(".jp-Cell").count() == cells
    hand.key("Control+z")
    assert hand.session("s.doc.painting.last") == count + 1
    assert page.locator(".jp-Cell").count() == cells

    page.keyboard.down("Space")  # held down it moves the picture, tapped it plays
    page.keyboard.down("Control")
    page.mouse.wheel(0, -500)
    page.keyboard.up("Control")
    page.mouse.down()
    page.mouse.move(*hand.at(0.6, 0.6), steps=3)
    page.mouse.up()
    page.keyboard.up("Space")
    assert hand.session("s.doc.painting.last") == count + 1
    assert hand.root.evaluate("root => root.nbpPainter.view.zoom") > 1
    assert not hand.session("Boolean(s.playing)")
    hand.key("0", "Space")
    assert hand.session("Boolean(s.playing)")
    page.wait_for_function("document.querySelector('.nbp').nbpPainter.session.frame >= 2")
    hand.key("Space", "Home")
    hand.key("?")
    assert page.locator(".nbp-help").is_visible()
    photograph(page, "painter_help")
    hand.key("Escape")
    assert page.locator(".nbp-help").is_hidden()
    hand.key("Escape")
    assert not hand.root.evaluate("root => root.contains(document.activeElement)")
    assert page.errors == []


def test_two_views_and_two_windows(lab, study, browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900})  # pages of one context share the storage
    page = open_page(context)
    run_all(page, lab.address, "two.ipynb", cells=4)
    above, below = Hand(page), Hand(page, ".nbp >> nth=1")
    above.begin("r1")
    above.paint((0.3, 0.3), (0.5, 0.5))
    below.wait_for_snippet("s01")
    below.paint((0.6, 0.3), (0.7, 0.5))
    below.key("Control+z")
    below.is_saved()
    path = study / "two" / "r1" / "s01_people_4000.jsonl"
    assert [line["op"] for line in read_operations(path)[0]] == ["open", "stroke", "stroke", "undo"]
    for view in (above, below):
        equals_log(view, path)
        pixels = "view.heat.getContext('2d').getImageData(0, 0, 640, 360).data.reduce((sum, byte) => sum + byte, 0)"
        assert view.root.evaluate(f"root => {{ const {{ view }} = root.nbpPainter; return {pixels}; }}") > 0

    # Another window: whoever opened last paints, the other says so and can take it back.
    other = open_page(context)
    run_all(other, lab.address, "two.ipynb", cells=4)
    second = Hand(other)
    second.begin("r1")
    page.bring_to_front()
    above.root.locator(".nbp-banner:has-text('another window')").wait_for()
    above.paint((0.1, 0.1), (0.2, 0.2))  # not taken
    other.bring_to_front()
    second.paint((0.8, 0.8), (0.7, 0.8))
    second.is_saved()
    page.bring_to_front()
    above.root.locator("button:text-is('Continue here')").click()
    page.wait_for_function("!document.querySelector('.nbp').nbpPainter.session.doc?.readOnly")
    above.wait_for_snippet("s01")
    above.paint((0.1, 0.8), (0.2, 0.8))
    above.is_saved()
    assert [line["op"] for line in read_operations(path)[0]][4:] == ["stroke", "stroke"]
    equals_log(above, path)
    context.close()


def test_pen_touch_and_a_page_loaded_anew(lab, study, page):
    run_all(page, lab.address, "paint.ipynb", cells=3)
    hand = Hand(page)
    hand.begin("r2")
    tools = page.context.new_cdp_session(page)
    count = hand.session("s.doc.painting.last")

    def pen(kind: str, x: float, y: float, force: float) -> None:
        place = dict(zip(("x", "y"), hand.at(x, y), strict=True))
        content = {"type": kind, **place, "button": "left", "buttons": 1, "clickCount": 1, "force": force}
        tools.send("Input.dispatchMouseEvent", content | {"pointerType": "pen"})

    pen("mousePressed", 0.3, 0.3, 0.2)
    for step in range(8):
        pen("mouseMoved", 0.3 + 0.03 * step, 0.3, 0.2 + 0.1 * step)
    pen("mouseReleased", 0.51, 0.3, 0)
    hand.is_saved()
    path = paintings(study, "r2")[0]
    points = read_operations(path)[0][-1]["points"]
    assert all(len(point) == 4 for point in points)
    assert max(point[3] for point in points) > 0.8 > 0.3 > points[0][3]
    equals_log(hand, path)

    def touch(kind: str, *fingers: tuple[float, float]) -> None:
        places = [dict(zip(("x", "y"), hand.at(*place), strict=True)) for place in fingers]
        content = [place | {"id": number} for number, place in enumerate(places)]
        tools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": content})

    touch("touchStart", (0.2, 0.6))  # one finger paints
    for step in range(5):
        touch("touchMove", (0.2 + 0.04 * step, 0.6))
    touch("touchEnd")
    hand.is_saved()
    assert hand.session("s.doc.painting.last") == count + 2
    touch("touchStart", (0.4, 0.5))  # a second one: the picture is meant
    touch("touchStart", (0.4, 0.5), (0.6, 0.5))
    for step in range(6):
        touch("touchMove", (0.4 - 0.03 * step, 0.5), (0.6 + 0.03 * step, 0.5))
    touch("touchEnd")
    assert hand.session("s.doc.painting.last") == count + 2
    assert hand.root.evaluate("root => root.nbpPainter.view.zoom") > 1.5
    equals_log(hand, path)
    hand.key("0")

    # The page goes away in the middle of a stroke; the kernel lives, and no cell is run again.
    page.click(".lm-MenuBar-item:has-text('File')")
    page.click(".lm-Menu-item:has-text('Save Notebook') >> nth=0")
    page.locator(".jp-mod-current.lm-TabBar-tab:not(.jp-mod-dirty)").first.wait_for()
    hand.press((0.2, 0.8), (0.5, 0.8))
    page.reload(wait_until="domcontentloaded")
    page.locator(".nbp-choices button").first.wait_for()
    hand = Hand(page)
    hand.begin("r2")
    hand.is_saved()
    assert read_painting(path).last == count + 3
    equals_log(hand, path)
    assert (study / "paint.ipynb").stat().st_size < 20_000  # no picture in the saved notebook
    assert page.errors == []
