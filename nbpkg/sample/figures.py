"""Friendly round figures and their toys as layers of shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nbpkg.sample.rig import Pose
from nbpkg.sample.scene import Colour, Layer, Stack, area, mix, oval, stroke

SKINS: tuple[Colour, ...] = ((250, 218, 194), (240, 198, 166), (222, 172, 132), (178, 124, 88), (134, 90, 64))
HAIRS: tuple[Colour, ...] = ((92, 62, 46), (62, 48, 46), (168, 116, 70), (226, 188, 122), (162, 92, 60))
DARK_HAIRS = 2  # how many of `HAIRS`, from the first, go with every skin
SHIRTS: tuple[Colour, ...] = (
    (232, 178, 84),
    (104, 166, 160),
    (226, 132, 112),
    (160, 148, 204),
    (146, 178, 122),
    (118, 162, 206),
    (222, 150, 176),
)
HAIR_STYLES = ("tuft", "bob", "curls", "buns")
ADULT_STYLES = ("long", "short")
_INK: Colour = (62, 50, 54)
_WHITE: Colour = (252, 250, 246)
_BLUSH: Colour = (236, 120, 112)


@dataclass(frozen=True)
class Look:
    """What a person looks like.

    Parameters
    ----------
    skin, hair, shirt
        Colours.
    style
        Hair: one of `HAIR_STYLES` for children, of `ADULT_STYLES` for adults.
    glasses
        Whether the person wears glasses.
    head
        Radius of the head, world units.
    shoulders
        Half the width of the shoulders.
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    style: str
    glasses: bool = False
    head: float = 27.0
    shoulders: float = 27.0


EXPERIMENTERS = {
    "e1": Look((246, 210, 184), (74, 50, 46), (86, 138, 148), "long", head=22.5, shoulders=34.0),
    "e2": Look((176, 124, 92), (46, 40, 42), (206, 122, 92), "short", glasses=True, head=23.0, shoulders=38.0),
}


def add_person(stack: Stack, look: Look, pose: Pose) -> None:
    """Put a person on the stack: body and head behind the table, arms and hands on it."""
    stack.behind += [*_hair_behind(look, pose), *_body(look, pose), *_face(look, pose), *_hair(look, pose)]
    if look.glasses:
        stack.behind += _glasses(look, pose)
    stack.front += _arms(look, pose)


def add_toys(stack: Stack, pose: Pose, game: np.ndarray, seat_x: float, *, colours: tuple[Colour, Colour]) -> None:
    """Put the toys of one person on the stack: finger puppets, egg shakers, or a drum with sticks.

    Parameters
    ----------
    stack
        Where to put them.
    pose
        The person who plays.
    game
        Index of the game at each frame, -1 for none, shape [frames].
    seat_x
        Where the drum stands on the table, world units.
    colours
        Of the left and right toy.
    """
    hands = (pose.left, pose.right)
    stack.front = [*_drum(seat_x, len(game), game == 2, colours[0]), *stack.front]  # hands are seen before it
    for hand, colour, side in zip(hands, colours, (-1, 1), strict=True):
        stack.front += _egg(hand, colour, game == 1)
        stack.front += _puppet(hand, colour, game == 0)
        stack.front += _stick(hand, side, colour, game == 2)


def toy_boxes(pose: Pose, game: np.ndarray, seat_x: float) -> np.ndarray:
    """Bound the toys of a person at each time, world units ``x0 y0 x1 y1``, shape [times, 4]; NaN between games."""
    hands = np.stack([pose.left, pose.right], axis=1)
    low, high = hands.min(axis=1), hands.max(axis=1)
    boxes = np.full((len(game), 4), np.nan)
    reach = {0: ((-6, -21), (6, -3)), 1: ((-7, -13), (7, 5)), 2: ((-4, -6), (4, 18))}
    for number, (before, after) in reach.items():
        chosen = game == number
        boxes[chosen] = np.concatenate([low + np.array(before), high + np.array(after)], axis=1)[chosen]
    drums = game == 2
    boxes[drums, 0] = np.minimum(boxes[drums, 0], seat_x - 22)
    boxes[drums, 2] = np.maximum(boxes[drums, 2], seat_x + 22)
    boxes[drums, 3] = 169.0
    return boxes


def _on_head(look: Look, pose: Pose, across: float, down: float) -> tuple[np.ndarray, np.ndarray]:
    """Place a point given by two angles on the turned head; return positions and how far it faces the camera."""
    side, height = np.radians(across + pose.yaw), np.radians(down + pose.pitch)
    local = np.stack([np.sin(side) * np.cos(height), np.sin(height)], axis=1) * look.head
    return pose.head + _tilted(local, pose.tilt), np.cos(side) * np.cos(height)


def _tilted(local: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Rotate offsets, shape [frames, ..., 2], by one angle for each frame."""
    angle = np.radians(degrees).reshape(-1, *[1] * (local.ndim - 2))
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([local[..., 0] * cos - local[..., 1] * sin, local[..., 0] * sin + local[..., 1] * cos], axis=-1)


def _sized(width: float, height: np.ndarray | float, facing: np.ndarray) -> np.ndarray:
    """Foreshorten half axes of a mark on the head, shape [frames, 2]."""
    narrow = width * np.clip(0.25 + 0.75 * facing, 0.2, 1)
    return np.stack([narrow, np.broadcast_to(height, narrow.shape)], axis=1)


def _body(look: Look, pose: Pose) -> list[Layer]:
    """Neck and a torso that leans from the hips."""
    wide = look.shoulders
    half = np.array([(1.02, 60.0), (1.04, 34), (1.0, 16), (0.9, 4), (0.72, -3), (0.4, -8)])
    outline = np.concatenate([half * (-1, 1), [(0.0, -9.0)], half[::-1]])
    points = pose.chest[:, None, :] + outline * np.array([wide, 1.0])
    rest = pose.chest.mean(axis=0)
    points[:, :, 0] -= (pose.chest[:, :1] - rest[0]) * np.clip(outline[:, 1] / 60, 0, 1)  # the hips stay
    neck = np.stack([pose.chest + np.array([0.0, 4.0]), pose.chest * 0.55 + pose.head * 0.45], axis=1)
    shade = mix(look.skin, (150, 84, 70), 0.28)
    badge = pose.chest + np.array([0.0, 20.0])
    layers = [area(points, look.shirt), stroke(neck, look.head * 0.62, shade)]
    if look.style not in ADULT_STYLES:
        layers.insert(1, oval(badge, (wide * 0.52, 13.0), mix(look.shirt, _WHITE, 0.28)))
    return layers


def _face(look: Look, pose: Pose) -> list[Layer]:
    layers = []
    scale = look.head / 27
    for side in (-92.0, 92.0) if look.style != "long" else ():
        ear, facing = _on_head(look, pose, side, 6)
        layers.append(oval(ear, (5.5 * scale, 6.5 * scale), mix(look.skin, _BLUSH, 0.22), visible=facing > -0.75))
    layers.append(oval(pose.head, (look.head, look.head * 0.97), look.skin, angle=pose.tilt))
    adult = look.style in ADULT_STYLES
    eye_side, eye_down = (21.0, -1.0) if adult else (24.0, 8.0)
    for sign in (-1, 1):
        cheek, facing = _on_head(look, pose, sign * 40, 26)
        layers.append(
            oval(cheek, _sized(6.0 * scale, 4.2 * scale, facing), mix(look.skin, _BLUSH, 0.36), visible=facing > 0.1)
        )
        eye, facing = _on_head(look, pose, sign * eye_side, eye_down)
        tall = (2.9 if adult else 3.7) * pose.eyes + 0.2
        layers.append(oval(eye, _sized(2.5 if adult else 3.1, tall, facing), _INK, visible=facing > 0.12))
        shine = eye + np.array([0.9, -1.3])
        layers.append(oval(shine, (1.05, 1.05), _WHITE, visible=(facing > 0.3) & (pose.eyes > 0.5)))
        brow = [
            _on_head(look, pose, sign * across, eye_down + down)[0]
            for across, down in ((14, -19), (22, -21), (31, -18))
        ]
        layers.append(stroke(np.stack(brow, axis=1), 1, mix(look.hair, _INK, 0.2), visible=facing > 0.12))
    return layers + _nose_and_mouth(look, pose, scale)


def _nose_and_mouth(look: Look, pose: Pose, scale: float) -> list[Layer]:
    nose, facing = _on_head(look, pose, 0, 16)
    layers = [oval(nose, _sized(2.6 * scale, 2.0 * scale, facing), mix(look.skin, _BLUSH, 0.5), visible=facing > 0.1)]
    bends = [(across, 33 - 7 * (across / 15) ** 2) for across in (-15, -10, -5, 0, 5, 10, 15)]
    curve = []
    for across, down in bends:
        point, _ = _on_head(look, pose, across, 31)
        curve.append(point + np.stack([0 * pose.smile, (down - 31) * 0.42 * pose.smile], axis=1))
    mouth, facing = _on_head(look, pose, 0, 34)
    open_size = np.stack([3.6 * scale * pose.mouth + 1.5, 3.9 * scale * pose.mouth + 1.2], axis=1)
    return [
        *layers,
        stroke(np.stack(curve, axis=1), 2, mix(_INK, _BLUSH, 0.3), visible=(facing > 0.05) & (pose.mouth <= 0.25)),
        oval(mouth, open_size, (150, 66, 70), visible=(facing > 0.05) & (pose.mouth > 0.25)),
    ]


def _hair_behind(look: Look, pose: Pose) -> list[Layer]:
    """Hair seen behind the head, shifted against the turn."""
    back = pose.head - np.stack([0.08 * pose.yaw, 0.02 * pose.yaw + 2], axis=1)
    radius = look.head
    if look.style == "long":
        fall = pose.head + np.stack([-0.12 * pose.yaw, 0 * pose.yaw + radius * 0.75], axis=1)
        return [oval(fall, (radius * 1.12, radius * 1.5), mix(look.hair, _INK, 0.15))]
    if look.style == "bob":
        return [oval(back + np.array([0.0, 6.0]), (radius * 1.16, radius * 1.1), mix(look.hair, _INK, 0.12))]
    if look.style == "buns":
        buns = [_on_head(look, pose, side, -48)[0] + np.array([0.0, -8.0]) for side in (-75.0, 75.0)]
        return [oval(bun, (9.5, 9.5), mix(look.hair, _INK, 0.1)) for bun in buns]
    return [oval(back, (radius * 1.03, radius * 1.02), mix(look.hair, _INK, 0.1))]


def _hair(look: Look, pose: Pose) -> list[Layer]:
    """Hair on the head: a cap whose hairline turns with the head, and what the style adds."""
    hairline = {"tuft": -52.0, "short": -34.0, "long": -36.0}.get(look.style, -28.0)
    screen = np.linspace(-90, 90, 13)
    own = screen[None, :] - pose.yaw[:, None]
    low = np.clip(hairline + 52 * (own / 90) ** 2 * (0.55 if look.style == "tuft" else 1), -70, 38)
    down = np.radians(np.clip(low + pose.pitch[:, None], -88, 60))
    radius = look.head * 1.045
    across = np.broadcast_to(np.radians(screen), down.shape)
    edge = np.stack([np.sin(across) * np.cos(down), np.sin(down)], axis=-1)
    start, stop = np.arctan2(edge[:, -1, 1], edge[:, -1, 0]), np.arctan2(edge[:, 0, 1], edge[:, 0, 0])
    stop = np.where(stop > 0, stop - 2 * np.pi, stop)
    around = start[:, None] + (stop - start)[:, None] * np.linspace(0, 1, 13)
    crown = np.stack([np.cos(around), np.sin(around)], axis=-1)
    outline = pose.head[:, None, :] + _tilted(np.concatenate([edge, crown], axis=1) * radius, pose.tilt)
    layers = [area(outline, look.hair)]
    if look.style == "tuft":
        top, _ = _on_head(look, pose, 0, -80)
        layers += [oval(top + np.array(shift), (4.5, 6.0), look.hair) for shift in ((-3.0, -2.0), (3.0, -4.0))]
    if look.style == "curls":
        for across_deg, down_deg in ((-70, -25), (-45, -48), (-15, -62), (15, -62), (45, -48), (70, -25)):
            curl, facing = _on_head(look, pose, across_deg, down_deg)
            layers.append(oval(curl, (8.5, 8.5), look.hair, visible=facing > -0.4))
    return layers


def _glasses(look: Look, pose: Pose) -> list[Layer]:
    frame, layers = (112, 92, 88), []
    circle = np.linspace(0, 2 * np.pi, 13)
    centres = []
    for sign in (-1, 1):
        eye, facing = _on_head(look, pose, sign * 21, 0)
        size = _sized(6.6, 6.2, facing)
        ring = eye[:, None, :] + np.stack([np.cos(circle), np.sin(circle)], axis=1) * size[:, None, :]
        layers.append(stroke(ring, 1, frame, visible=facing > 0.2))
        centres.append(eye)
    bridge = np.stack([centres[0] * 0.6 + centres[1] * 0.4, centres[0] * 0.4 + centres[1] * 0.6], axis=1)
    return [*layers, stroke(bridge, 1, frame)]


def _arms(look: Look, pose: Pose) -> list[Layer]:
    """Bent arms from shoulder to hand, sleeves over skin."""
    layers = []
    bend = np.linspace(0, 1, 6)[:, None]
    thick = 13.0 if look.style in ADULT_STYLES else 12.0
    for sign, hand in ((-1, pose.left), (1, pose.right)):
        shoulder = pose.chest + np.array([sign * look.shoulders * 0.84, 8.0])
        elbow = (shoulder + hand) / 2 + np.array([sign * 10.0, 13.0])
        start, middle, end = (point[:, None, :] for point in (shoulder, elbow, hand))
        arm = start * (1 - bend) ** 2 + 2 * middle * bend * (1 - bend) + end * bend**2
        layers.append(area(_outlined(arm, (thick, thick * 0.8)), mix(look.shirt, _INK, 0.12)))
        layers.append(oval(hand, (7.6, 7.2), mix(look.skin, _BLUSH, 0.08)))
    return layers


def _outlined(line: np.ndarray, thickness: tuple[float, float]) -> np.ndarray:
    """Turn a line, shape [frames, points, 2], into the outline of a limb; quicker to fill than a thick line."""
    along = np.gradient(line, axis=1)
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-6)
    across *= np.linspace(thickness[0] / 2, thickness[1] / 2, line.shape[1])[:, None]
    first, half = line[:, :1], across[:, :1]
    back = np.stack([-half[..., 1], half[..., 0]], axis=-1)  # away from the hand, half the thickness long
    back = np.where((back * along[:, :1]).sum(axis=-1, keepdims=True) > 0, -back, back)
    round_start = [first + back * 0.75 - half * 0.7, first + back, first + back * 0.75 + half * 0.7]
    return np.concatenate([*round_start, line + across, (line - across)[:, ::-1]], axis=1)


def _egg(hand: np.ndarray, colour: Colour, visible: np.ndarray) -> list[Layer]:
    middle = hand + np.array([0.0, -5.0])
    return [
        oval(middle, (6.4, 8.2), colour, visible=visible),
        oval(middle + np.array([-1.8, -2.8]), (1.8, 2.4), mix(colour, _WHITE, 0.6), visible=visible),
    ]


def _puppet(hand: np.ndarray, colour: Colour, visible: np.ndarray) -> list[Layer]:
    base, face = hand + np.array([0.0, -4.0]), hand + np.array([0.0, -14.0])
    return [
        stroke(np.stack([base, base + np.array([0.0, -6.0])], axis=1), 9, colour, visible=visible),
        oval(face, (5.6, 5.6), (248, 222, 190), visible=visible),
        oval(face + np.array([0.0, -3.6]), (5.2, 2.6), mix(colour, _INK, 0.15), visible=visible),
        oval(face + np.array([-1.9, 0.6]), (0.9, 0.9), _INK, visible=visible),
        oval(face + np.array([1.9, 0.6]), (0.9, 0.9), _INK, visible=visible),
    ]


def _drum(seat_x: float, frames: int, visible: np.ndarray, colour: Colour) -> list[Layer]:
    outline = [(-20, 150), (20, 150), (19, 165), (12, 168), (0, 169), (-12, 168), (-19, 165)]
    body = np.broadcast_to(np.array(outline, dtype=float) + np.array([seat_x, 0.0]), (frames, len(outline), 2))
    top = np.broadcast_to(np.array([seat_x, 150.0]), (frames, 2))
    return [
        area(body, colour, visible=visible),
        oval(top, (20.5, 6.4), mix(colour, _INK, 0.25), visible=visible),
        oval(top, (18.5, 5.2), (250, 240, 222), visible=visible),
    ]


def _stick(hand: np.ndarray, side: int, colour: Colour, visible: np.ndarray) -> list[Layer]:
    tip = hand + np.array([-side * 6.0, 16.0])
    return [
        stroke(np.stack([hand, tip], axis=1), 3, (190, 142, 96), visible=visible),
        oval(tip, (3.4, 3.4), colour, visible=visible),
    ]
