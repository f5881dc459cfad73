"""A person's hand at the painter, and what it must leave on disk."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from patience import wait_until

from nbpkg.attention.painting.log import read_painting
from nbpkg.attention.painting.raster import rasterise


class Hand:
    """A person at the painter: mouse, keys, and what they see."""

    def __init__(self, page, painter: str = ".nbp") -> None:
        self.page, self.root = page, page.locator(painter).first
        self.stage = self.root.locator(".nbp-stage")

    def begin(self, painter: str) -> None:
        self.root.locator(f".nbp-choices button:text-is('{painter}')").click()
        self.wait_for_snippet()

    def wait_for_snippet(self, name: str = "") -> None:
        self.root.locator(".nbp-work:not([hidden]) >> nth=0").wait_for()
        self.root.locator(f".nbp-title:has-text('{name}')").wait_for()
        self.stage.scroll_into_view_if_needed()

    def at(self, x: float, y: float) -> tuple[float, float]:
        self.stage.wait_for()  # until it can be seen: only then it has a place
        box = self.stage.bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def press(self, *path: tuple[float, float]) -> None:
        """Draw along points of the picture (0 to 1) and keep the button down."""
        self.page.mouse.move(*self.at(*path[0]))
        self.page.mouse.down()
        for point in path[1:]:
            self.page.mouse.move(*self.at(*point), steps=8)

    def paint(self, *path: tuple[float, float]) -> None:
        self.press(*path)
        self.page.mouse.up()

    def key(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)

    def is_saved(self) -> None:
        self.root.locator(".nbp-saved:text-is('saved')").wait_for()

    def session(self, expression: str):
        return self.root.evaluate(f"root => {{ const s = root.nbpPainter.session; return {expression}; }}")

    def maps(self) -> np.ndarray:
        """What the browser shows, float32 ``[T, H, W]``."""
        script = """root => {
          const s = root.nbpPainter.session, bytes = [];
          for (let frame = 0; frame < s.doc.frames.length; frame++) {
            const part = new Uint8Array(s.layer(frame).map.data.buffer), step = 8192;
            for (let at = 0; at < part.length; at += step) {
              bytes.push(String.fromCharCode(...part.subarray(at, at + step)));
            }
          }
          return btoa(bytes.join(""));
        }"""
        flat = np.frombuffer(base64.b64decode(self.root.evaluate(script)), np.float32)
        return flat.reshape(-1, self.session("s.doc.size.height"), self.session("s.doc.size.width"))


def equals_log(hand: Hand, path: Path) -> None:
    """Check that what the browser shows is what the log's strokes give, within 1/255."""
    painting, shown = read_painting(path), hand.maps()
    wanted = rasterise(painting.strokes, shape=shown.shape, size=(painting.width, painting.height))
    assert np.abs(shown - wanted).max() < 1 / 255


def wait_until_done(path: Path) -> None:
    """Wait for the last operation to reach the disk: the next snippet opens at once."""
    wait_until(lambda: read_painting(path).state == "done", "the last operation reaches the disk")
