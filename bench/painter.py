"""The painter's front end in headless Chromium: from a move of the pointer to paint on the screen, and a full reload.

Targets: the 95th percentile below 16 ms, also with a large brush, and 2,000 strokes back on the screen within a second.
The kernel is played by a few lines of script in the page, so that only the browser is measured.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from pathlib import Path

import numpy as np

from bench.common import show
from nbpkg.attention.painting.painter import encode_jpeg

ROOT = Path(__file__).parents[1] / "nbpkg" / "attention" / "painting"
FRAMES, SIZE, STROKES, RATE = 16, (360, 640), 2000, 125
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
PAGE = """async ([script, style, pictures, operations, size]) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  const bytes = pictures.map((text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer));
  const frame_ms = bytes.map((_, number) => 160 + 320 * number), listeners = [];
  const span = { start_ms: 0, end_ms: 5000 }, header = { frame_ms, ...span, ...size };
  const queue = [{ snippet_id: "a", position: 0, state: "begun", session: "s", task: "t", variable: "v", ...span }];
  const say = (message, buffers) => setTimeout(() => listeners.forEach((listener) => listener(message, buffers)));
  const answers = {
    hello: () => ({ type: "state", store: "x", painters: ["p"], painter: "p", questions: [], queue, tools: {} }),
    open: () => ({ type: "clip", painter: "p", snippet_id: "a", header, ops: operations, fps: 3.125 }),
    op: (message) => ({ type: "ack", painter: "p", snippet_id: "a", n: message.op.n, state: "begun" }),
  };
  const send = (message) => {
    if (message.type === "open") window.began = performance.now();
    say({ ...answers[message.type](message), client: message.client }, message.type === "open" ? bytes : []);
  };
  const model = { on: (_, listener) => listeners.push(listener), off: () => {}, send };
  const make = (await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })))).default;
  const widget = make();
  widget.initialize({ model });
  widget.render({ model, el: document.body });
  const { session, view } = document.querySelector(".nbp").nbpPainter;
  const shown = () => session.doc?.painting.lists.every((list, frame) => !list.length || session.doc.layers[frame]);
  while (!shown()) await new Promise((done) => setTimeout(done));
  window.ready = performance.now() - window.began;
  Object.assign(window, { drawn: [], painted: [] });
  view.stage.addEventListener("pointermove", (event) => {
    if (!session.stroke) return;
    window.drawn.push(performance.now() - event.timeStamp);
    requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => window.painted.push(performance.now() - event.timeStamp);
      after.port2.postMessage(0);
    });
  });
}"""


def make_strokes() -> list[dict]:
    """Strokes as a hand draws them, spread over all frames."""
    chance, operations = np.random.default_rng(0), []
    for number in range(1, STROKES + 1):
        steps = chance.normal(0, 0.012, (40, 2))
        path = (chance.uniform(0.2, 0.8, 2) + np.cumsum(steps, axis=0)).round(5)
        points = [[8 * place, float(x), float(y)] for place, (x, y) in enumerate(path)]
        operation = {"op": "stroke", "n": number, "seconds": number, "frame": number % FRAMES, "tool": "brush"}
        operations.append(operation | {"radius": 0.06, "strength": 0.2, "points": points})
    return operations


async def make_page(browser, operations: list[dict]):
    """Open the painter on a clip of noise, with these operations in its log."""
    chance = np.random.default_rng(0)
    frames = [chance.integers(60, 200, (*SIZE, 3), dtype=np.uint8) for _ in range(FRAMES)]
    pictures = [base64.b64encode(encode_jpeg(frame)).decode() for frame in frames]
    page = await browser.new_page(viewport={"width": 1300, "height": 900})
    sources = [(ROOT / name).read_text() for name in ("painter.js", "painter.css")]
    await page.evaluate(PAGE, [*sources, pictures, operations, {"width": SIZE[1], "height": SIZE[0]}])
    return page


async def draw(page, radius: float, moves: int = 500) -> dict[str, np.ndarray]:
    """Draw with real mouse events at the rate of a common mouse; return the latencies in milliseconds.

    Events are sent at their time, whether or not the page has answered the ones before: a hand does not wait.
    """
    await page.evaluate("Object.assign(window, { drawn: [], painted: [], points: 0 })")
    await page.evaluate(f"document.querySelector('.nbp').nbpPainter.session.setBrush('radius', {radius})")
    box = await page.locator(".nbp-stage").bounding_box()
    client = await page.context.new_cdp_session(page)

    def event(kind: str, place: float) -> asyncio.Task:
        x = box["x"] + box["width"] * (0.5 + 0.3 * np.cos(place / 25))
        y = box["y"] + box["height"] * (0.5 + 0.3 * np.sin(place / 17))
        content = {"type": kind, "x": float(x), "y": float(y), "button": "left", "buttons": 1, "clickCount": 1}
        return asyncio.ensure_future(client.send("Input.dispatchMouseEvent", content))

    sent = [event("mousePressed", 0)]
    began = time.perf_counter()
    for number in range(moves):
        sent.append(event("mouseMoved", number))
        await asyncio.sleep(max(0.0, began + (number + 1) / RATE - time.perf_counter()))
    sent.append(event("mouseReleased", moves))
    await asyncio.gather(*sent)
    await page.wait_for_timeout(100)
    return {name: np.asarray(await page.evaluate(f"window.{name}")) for name in ("drawn", "painted")}


async def measure() -> list[dict]:
    """Draw with a common and a large brush, then load a long painting, three times."""
    from playwright.async_api import async_playwright

    rows = []
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
        page = await make_page(browser, [])
        await draw(page, 0.06, moves=100)  # the browser compiles what is called often
        for radius in (0.06, 0.4):
            for name, times in (await draw(page, radius)).items():
                what = {"drawn": "on the canvas", "painted": "frame ready for the screen"}[name]
                row = {"what": f"pointer to {what}, radius {radius:.0%}", "n": len(times)}
                rows.append(row | _summary(times))
        await page.close()
        operations, times = make_strokes(), []
        for _ in range(3):
            page = await make_page(browser, operations)
            times.append(await page.evaluate("window.ready"))
            await page.close()
        rows.append({"what": f"{STROKES} strokes back on the screen", "n": len(times)} | _summary(np.asarray(times)))
        await browser.close()
    return rows


def _summary(times: np.ndarray) -> dict[str, str]:
    return {f"{share} % ms": f"{np.percentile(times, share):.1f}" for share in (50, 95)}


def main() -> list[dict]:
    rows = asyncio.run(measure())
    show(f"Painter, {FRAMES} frames of {SIZE[1]}x{SIZE[0]}, mouse at {RATE} Hz, headless Chromium", rows)
    return rows


if __name__ == "__main__":
    main()
