"""The playroom: a soft, slightly blurred backdrop with a table, different in every session."""

from __future__ import annotations

import cv2
import numpy as np

from nbpkg.sample.scene import HEIGHT, SUPERSAMPLING, TABLE_Y, WIDTH, Camera, Colour, mix

WALLS: tuple[Colour, ...] = ((214, 226, 220), (232, 222, 206), (208, 218, 230), (228, 214, 218), (222, 228, 206))
TABLES: tuple[Colour, ...] = ((222, 190, 150), (200, 160, 118), (236, 220, 196), (188, 150, 122))
ACCENTS: tuple[Colour, ...] = ((226, 132, 112), (104, 166, 160), (232, 178, 84), (160, 148, 204), (146, 178, 122))
_WHITE: Colour = (250, 248, 242)
_MARGIN = 40  # world units drawn beyond the picture, for cameras that look aside


def draw_room(random: np.random.Generator, camera: Camera, *, light: float) -> np.ndarray:
    """Draw the empty room as one camera sees it.

    Parameters
    ----------
    random
        Chooses colours and furniture.
    camera
        Where it is seen from.
    light
        Brightness, 1.0 for neutral.

    Returns
    -------
    numpy.ndarray
        Shape [HEIGHT, WIDTH, 3], uint8, red green blue.
    """
    wall, table = WALLS[random.integers(len(WALLS))], TABLES[random.integers(len(TABLES))]
    canvas = _Canvas()
    canvas.gradient((-_MARGIN, -_MARGIN), (WIDTH + _MARGIN, TABLE_Y + 10), mix(wall, _WHITE, 0.25), wall)
    accents = [ACCENTS[index] for index in random.permutation(len(ACCENTS))]
    canvas.box((-_MARGIN, 104), (WIDTH + _MARGIN, 150), mix(wall, (120, 110, 110), 0.14))
    canvas.box((-_MARGIN, 102), (WIDTH + _MARGIN, 105), mix(wall, _WHITE, 0.6))
    if random.random() < 0.6:
        _draw_window(canvas, random.uniform(160, 176), accents[0])
        _draw_shelf(canvas, random.uniform(20, 34), accents)
    else:
        _draw_shelf(canvas, random.uniform(164, 176), accents)
        _draw_pictures(canvas, random.uniform(10, 26), accents)
    _draw_bunting(canvas, accents)
    _draw_high_chair(canvas, accents[3])
    canvas.blur(1.1)
    _draw_table(canvas, table)
    return canvas.seen_by(camera, light=light, tint=random.normal(0, 0.025, size=3))


class _Canvas:
    """A large picture that is drawn in world units and seen through a camera later."""

    def __init__(self) -> None:
        size = ((HEIGHT + 2 * _MARGIN) * SUPERSAMPLING, (WIDTH + 2 * _MARGIN) * SUPERSAMPLING, 3)
        self.picture: np.ndarray = np.zeros(size, np.uint8)

    def box(
        self, corner: tuple[float, float], opposite: tuple[float, float], colour: Colour, *, round_by: float = 0
    ) -> None:
        """Fill a box with straight or round corners."""
        (x0, y0), (x1, y1) = corner, opposite
        if round_by:
            for x in (x0 + round_by, x1 - round_by):
                for y in (y0 + round_by, y1 - round_by):
                    self.disc((x, y), round_by, colour)
            self.box((x0 + round_by, y0), (x1 - round_by, y1), colour)
            self.box((x0, y0 + round_by), (x1, y1 - round_by), colour)
        else:
            cv2.rectangle(self.picture, self._at(corner), self._at(opposite), colour, -1)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        """Fill a circle."""
        cv2.circle(self.picture, self._at(centre), round(radius * SUPERSAMPLING), colour, -1, cv2.LINE_AA)

    def outline(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.picture, [np.array([self._at(point) for point in points])], colour, cv2.LINE_AA)

    def gradient(
        self, corner: tuple[float, float], opposite: tuple[float, float], upper: Colour, lower: Colour
    ) -> None:
        """Fill a box from one colour at the top to another at the bottom."""
        (x0, y0), (x1, y1) = self._at(corner), self._at(opposite)
        share = np.linspace(0, 1, y1 - y0)[:, None, None]
        self.picture[y0:y1, x0:x1] = np.rint(np.array(upper) * (1 - share) + np.array(lower) * share).astype(np.uint8)

    def blur(self, sigma: float) -> None:
        """Put what is drawn so far out of focus, in world units."""
        self.picture = cv2.GaussianBlur(self.picture, (0, 0), sigma * SUPERSAMPLING)

    def seen_by(self, camera: Camera, *, light: float, tint: np.ndarray) -> np.ndarray:
        """Look through the camera, with light falling off from the middle; shape [HEIGHT, WIDTH, 3]."""
        origin, unit = (camera.to_pixels(np.array(point)) for point in ((-_MARGIN, -_MARGIN), (0, -_MARGIN)))
        scale = (unit[0] - origin[0]) / (_MARGIN * SUPERSAMPLING)
        matrix = np.array([[scale, 0, origin[0]], [0, scale, origin[1]]])
        soft = cv2.GaussianBlur(self.picture, (0, 0), SUPERSAMPLING * 0.3)
        seen = cv2.warpAffine(soft, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR).astype(float)
        across, down = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
        fall_off = 1.02 - 0.10 * (across**2 + 0.7 * down**2)
        lit: np.ndarray = np.clip(seen * fall_off[:, :, None] * light * (1 + tint), 0, 250)
        return lit.astype(np.uint8)

    def _at(self, point: tuple[float, float]) -> tuple[int, int]:
        return round((point[0] + _MARGIN) * SUPERSAMPLING), round((point[1] + _MARGIN) * SUPERSAMPLING)


def _draw_window(canvas: _Canvas, left: float, curtain: Colour) -> None:
    canvas.box((left - 3, 11), (left + 55, 79), (246, 242, 234))
    canvas.gradient((left, 14), (left + 52, 76), (196, 222, 240), (232, 240, 232))
    canvas.disc((left + 12, 70), 14, (190, 212, 172))
    canvas.disc((left + 36, 74), 18, (178, 204, 166))
    canvas.box((left, 74), (left + 52, 92), (246, 242, 234))
    canvas.box((left + 25, 14), (left + 27, 76), (246, 242, 234))
    canvas.box((left - 4, 76), (left + 56, 79), (236, 230, 220))
    for side in (left - 9, left + 49):
        canvas.box((side, 8), (side + 12, 84), mix(curtain, _WHITE, 0.45), round_by=2)


def _draw_shelf(canvas: _Canvas, left: float, accents: list[Colour]) -> None:
    canvas.box((left - 4, 66), (left + 52, 70), (214, 190, 160), round_by=1.5)
    for number, width in enumerate((6, 5, 8, 5)):
        x = left + 2 + number * 8
        top = 44 + (number * 5) % 9
        canvas.box((x, top), (x + width, 66), mix(accents[number % len(accents)], _WHITE, 0.3), round_by=1)
    canvas.box((left + 38, 57), (left + 48, 66), (220, 160, 126), round_by=2)
    for x, y in ((38, 50), (43, 45), (48, 51)):
        canvas.disc((left + x, y), 5.5, (150, 184, 140))


def _draw_pictures(canvas: _Canvas, left: float, accents: list[Colour]) -> None:
    for number, (x, y) in enumerate(((0, 34), (32, 26))):
        canvas.box((left + x, y), (left + x + 25, y + 30), _WHITE, round_by=2)
        canvas.box((left + x + 3, y + 3), (left + x + 22, y + 27), mix(accents[number], _WHITE, 0.6))
        canvas.disc((left + x + 12, y + 14), 6, mix(accents[number + 1], _WHITE, 0.25))


def _draw_bunting(canvas: _Canvas, accents: list[Colour]) -> None:
    for number in range(-3, 26):
        x, y = number * 15.0, 2.0 + 3.0 * np.sin(number * 0.9)
        colour = mix(accents[number % len(accents)], _WHITE, 0.35)
        canvas.outline([(x, y - 2), (x + 11, y - 2), (x + 5.5, y + 9)], colour)


def _draw_high_chair(canvas: _Canvas, colour: Colour) -> None:
    canvas.box((70, 74), (150, 150), mix(colour, (96, 84, 84), 0.25), round_by=14)
    canvas.box((77, 81), (143, 150), mix(colour, _WHITE, 0.3), round_by=10)


def _draw_table(canvas: _Canvas, colour: Colour) -> None:
    canvas.gradient((-_MARGIN, TABLE_Y), (WIDTH + _MARGIN, HEIGHT + _MARGIN), mix(colour, _WHITE, 0.22), colour)
    canvas.box((-_MARGIN, TABLE_Y), (WIDTH + _MARGIN, TABLE_Y + 1.2), mix(colour, _WHITE, 0.55))
    canvas.box((-_MARGIN, 174), (WIDTH + _MARGIN, 175), mix(colour, (90, 64, 50), 0.3))
    canvas.box((-_MARGIN, 175), (WIDTH + _MARGIN, HEIGHT + _MARGIN), mix(colour, (90, 64, 50), 0.16))
