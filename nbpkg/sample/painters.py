"""Three made-up painters: what they paint over snippets of the sample, and the logs their painting leaves.

They look where the truth says: at the child's head to judge attention, at its hands and toys to judge participation. As
people do, they aim beside it, tremble, miss frames, look at the adult instead, go over the edge and take strokes back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import seeding, tables
from nbpkg.annotations.read import read_annotations
from nbpkg.annotations.scheme import AnnotationScheme, Tier
from nbpkg.annotations.spans import fill_tasks, task_spans
from nbpkg.attention.choosing.snippets import SnippetRules, find_regions, place_snippets
from nbpkg.attention.painting.operations import check_opening, check_operation
from nbpkg.errors import AnnotationError, raise_all
from nbpkg.sample.plan import RATERS, TASKS, VARIABLES, Visit
from nbpkg.sample.raters import SLIPS
from nbpkg.sample.scene import HEIGHT, WIDTH
from nbpkg.video.clips import frame_numbers

FOLDER = "painted"
PAIRS = (("people", "attending"), ("drums", "attending"), ("people", "participating"))
CLIP_MS, FRAMES, FPS = 5000, 16, Fraction(25, 8)
VALUES = {"participating": ("self", "joint"), "attending": ("attending", "excited")}
_STEP_MS = 200  # of the truth about regions
_TARGETS = {"attending": ("head",), "participating": ("hands", "toy")}
_ADULT_FACE = np.array([0.72, 0.17, 0.86, 0.44])  # of width and height: the same place in every film
_SKIPPED = ("an arm hides the child's face", "the picture is too dark to tell")
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Style:
    """How a person paints.

    Parameters
    ----------
    radius, strength
        Of the brush, as in the log.
    aim
        How far beside the target the person usually is, share of width and height.
    tremor
        Spread of the hand around its way, share of the short side.
    turns
        How often a stroke goes to and fro (``scribble``) or around (``circle``).
    way
        ``scribble`` or ``circle``.
    misses, strays, copies
        Share of frames left empty, spent on the adult's face, and copied from the frame before.
    presses
        Whether a pen with pressure is used.
    """

    radius: float
    strength: float
    aim: tuple[float, float]
    tremor: float
    turns: float
    way: str
    misses: float
    strays: float
    copies: float
    presses: bool


STYLES = {
    "p1": Style(0.07, 0.2, (0.006, 0.004), 0.006, 3, "scribble", 0.05, 0.02, 0.0, presses=False),
    "p2": Style(0.11, 0.2, (0.014, 0.022), 0.010, 1.4, "circle", 0.12, 0.04, 0.25, presses=False),
    "p3": Style(0.09, 0.3, (-0.012, 0.012), 0.014, 2, "scribble", 0.22, 0.09, 0.05, presses=True),
}


def paint_sample(folder: Path, visits: Sequence[Visit], *, seed: int) -> None:
    """Let the painters paint over snippets of every session.

    Each session gives one snippet of each label for each of `PAIRS`, as far as its raters agree on any. Every painter
    paints all of them, but for two that one painter skips and one that another leaves unfinished.

    Parameters
    ----------
    folder
        Folder of the sample, with annotation files and truth; the logs go to ``painted/<painter>/<snippet_id>.jsonl``.
    visits
        The sessions.
    seed
        The sample's seed.
    """
    snippets = choose_sample_snippets(folder, visits, seed=seed)
    states = pd.read_csv(folder / "truth" / "states.csv", keep_default_na=False)
    unfinished = _draw_unfinished(snippets["snippet_id"].tolist(), seed)
    for session, rows in snippets.groupby("session"):
        boxes = _lay_out(pd.read_csv(folder / "truth" / f"{session}_regions.csv"))
        truth = states[states["session"] == session]
        for snippet in rows.to_dict("records"):
            targets = _find_targets(boxes, snippet["variable"], list_frames(snippet["start_ms"]))
            answers = _find_answers(truth, snippet["start_ms"], snippet["end_ms"])
            for painter in STYLES:
                end = unfinished.get((painter, snippet["snippet_id"]), "")
                sheet = _paint(snippet, painter, targets, answers, end=end, seed=seed)
                path = folder / FOLDER / painter / f"{snippet['snippet_id']}.jsonl"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(sheet.encode())


def choose_sample_snippets(folder: Path, visits: Sequence[Visit], *, seed: int) -> pd.DataFrame:
    """Choose the snippets of every session from the annotation files just written.

    Returns
    -------
    pandas.DataFrame
        Table ``snippets``: up to one of each label for each of `PAIRS` in each session.
    """
    spans = _read_spans(folder / "engagement", visits)
    rules = SnippetRules(
        absent="no",
        pairs=PAIRS,
        clip_ms=CLIP_MS,
        per_label=1,
        painters=tuple(STYLES),
        painters_per_snippet=len(STYLES),
        painter_may_have_rated=False,
    )
    regions = find_regions(spans, [visit.session for visit in visits], rules=rules)
    none = tables.empty("snippets")
    parts = [none]
    for session, own in regions.groupby("session"):
        child = seeding.child(seed, "snippets", str(session))
        parts.append(place_snippets(own, none, rules=rules, may_paint={str(session): tuple(STYLES)}, seed=child)[0])
    return tables.check(pd.concat(parts), "snippets")


def list_frames(start_ms: int) -> list[int]:
    """Return when each painted frame of a snippet starts, milliseconds.

    Examples
    --------
    >>> list_frames(1000)[:4], len(list_frames(1000))
    ([960, 1280, 1600, 1920], 16)
    """
    numbers = frame_numbers(start_ms, start_ms + CLIP_MS, fps=FPS, count=FRAMES)
    frames: list[int] = (numbers * 1000 * FPS.denominator // FPS.numerator).tolist()
    return frames


def _read_spans(folder: Path, visits: Sequence[Visit]) -> pd.DataFrame:
    spelling = {
        tier: {slip.written: slip.meant for slip in SLIPS if slip.kind == "spelling" and slip.tier == tier}
        for tier in ("task", *VARIABLES)
    }
    tiers = {name: Tier(required=False, values=list(VALUES[name]), spelling=spelling[name]) for name in VARIABLES}
    tiers["task"] = Tier(required=True, values=list(TASKS), spelling=spelling["task"])
    tiers["ignore"] = Tier(required=False, values=[])
    scheme = AnnotationScheme(
        folder=folder.name,
        sessions=[visit.session for visit in visits],
        raters=list(RATERS),
        tasks=list(TASKS),
        variables=list(VARIABLES),
        tiers=tiers,
    )
    annotations, problems = read_annotations(folder, scheme)
    raise_all(problems, AnnotationError, summary="the sample's own annotation files cannot be read.")
    return fill_tasks(annotations, task_spans(annotations, scheme), scheme)[0]


def _draw_unfinished(snippets: list[str], seed: int) -> dict[tuple[str, str], str]:
    """Draw who leaves what unfinished: a reason for skipping, or ``begun``. Where there are few, nobody does."""
    if len(snippets) < 12:
        return {}
    drawn = seeding.generator(seed, "unfinished").permutation(snippets)[:3].tolist()
    skipped = {("p2", name): reason for name, reason in zip(drawn[:2], _SKIPPED, strict=True)}
    return skipped | {("p3", drawn[2]): "begun"}


def _lay_out(regions: pd.DataFrame) -> dict[str, Points]:
    """Return each region's box at every step of the truth: shares of width and height, NaN where it is not there."""
    size = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    boxes = {}
    for name, rows in regions.groupby("region"):
        boxes[str(name)] = np.full((regions["end_ms"].max() // _STEP_MS, 4), np.nan)
        boxes[str(name)][rows["start_ms"] // _STEP_MS] = rows[["x0", "y0", "x1", "y1"]] / size
    return boxes


def _find_targets(boxes: dict[str, Points], variable: str, frames: list[int]) -> list[list[Points]]:
    """Look up the boxes to look at in each frame."""
    steps = [frame_ms // _STEP_MS for frame_ms in frames]
    found = [[boxes[name][step] for name in _TARGETS[variable] if name in boxes] for step in steps]
    return [[box for box in now if not np.isnan(box).any()] for now in found]


def _find_answers(truth: pd.DataFrame, start_ms: int, end_ms: int) -> dict[str, str]:
    """Return the state of each variable that lasts longest."""
    inside = np.minimum(truth["end_ms"], end_ms) - np.maximum(truth["start_ms"], start_ms)
    lasts: dict[str, dict[str, int]] = {name: {"no": 0} for name in VARIABLES}
    for name in VARIABLES:
        for value, length_ms in zip(truth[name], inside, strict=True):
            lasts[name][value] = lasts[name].get(value, 0) + max(0, length_ms)
    return {name: max(values, key=values.__getitem__) for name, values in lasts.items()}


class _Sheet:
    """Operations of one painting as they come."""

    def __init__(self, opening: dict[str, object]) -> None:
        self.lines = [check_opening(opening)]
        self.seconds = 0.0

    def add(self, operation: dict[str, object], *, took_s: float) -> None:
        self.seconds += took_s
        numbered = {**operation, "n": len(self.lines), "seconds": round(self.seconds, 1)}
        self.lines.append(check_operation(numbered))

    def encode(self) -> bytes:
        text = [json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in self.lines]
        return "".join(text).encode()


def _paint(
    snippet: dict,
    painter: str,
    targets: list[list[Points]],
    answers: dict[str, str],
    *,
    end: str,
    seed: int,
) -> _Sheet:
    """Paint one snippet as one painter would; `end` is empty, ``begun`` or the reason for skipping."""
    random = seeding.generator(seed, "painting", painter, snippet["snippet_id"])
    style = STYLES[painter]
    names = ("snippet_id", "session", "task", "variable", "start_ms", "end_ms")
    frames = list_frames(snippet["start_ms"])
    facts = {"painter": painter, "frame_ms": frames, "width": WIDTH, "height": HEIGHT}
    sheet = _Sheet({**{name: snippet[name] for name in names}, **facts})
    if end not in ("", "begun"):
        sheet.add({"op": "skip", "reason": end}, took_s=random.uniform(5, 12))
        return sheet
    habit = random.normal(0, 0.008, size=2) + style.aim  # the whole snippet is held a little differently each time
    painted = False
    for frame, boxes in enumerate(targets[: FRAMES if not end else 6]):
        if random.random() < style.misses:
            painted = False
        elif painted and random.random() < style.copies:
            sheet.add({"op": "copy", "frame": frame, "source": frame - 1}, took_s=random.uniform(0.5, 1.5))
        else:
            strays = random.random() < style.strays
            _paint_frame(sheet, frame, [_ADULT_FACE] if strays else boxes, style, habit, random)
            painted = not strays
    if not end:
        for question in sorted(answers):
            given = answers[question]
            if random.random() < 0.08:
                given = str(random.choice(["no", *VALUES[question]]))
            sheet.add({"op": "answer", "question": question, "value": given}, took_s=random.uniform(1, 3))
        sheet.add({"op": "submit"}, took_s=random.uniform(0.5, 2))
    return sheet


def _paint_frame(
    sheet: _Sheet, frame: int, boxes: list[Points], style: Style, habit: Points, random: np.random.Generator
) -> None:
    """Paint one frame, now and then with a mistake that is put right."""
    for box in boxes:
        if random.random() < 0.03:
            sheet.add(_stroke(frame, box + 0.25 * random.normal(size=4), style, habit, random), took_s=1.5)
            sheet.add({"op": "undo"}, took_s=0.6)
            if random.random() < 0.3:
                sheet.add({"op": "redo"}, took_s=0.6)
                sheet.add({"op": "clear", "frame": frame}, took_s=0.9)
        sheet.add(_stroke(frame, box, style, habit, random), took_s=1 + random.exponential(1.2))
        if random.random() < 0.04:
            width, height = box[2] - box[0], box[3] - box[1]
            beside = box + np.array([width, 0.2 * height, 0.6 * width, -0.2 * height])
            sheet.add(_stroke(frame, beside, style, habit, random), took_s=1.2)
            sheet.add(_stroke(frame, beside, style, habit, random) | {"tool": "eraser", "strength": 0.5}, took_s=1.8)


def _stroke(frame: int, box: Points, style: Style, habit: Points, random: np.random.Generator) -> dict[str, object]:
    """Draw one stroke over a box: to and fro, or around; `t_ms` counts from its start."""
    count = round(5 * style.turns) + int(random.integers(-1, 3))
    along = np.linspace(0, 1, max(4, count))
    if style.way == "circle":
        turn = 2 * np.pi * (style.turns * along + random.random())
        way = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (0.25 + 0.45 * along[:, None])
    else:
        swing = 2 * np.abs((style.turns * along * 1.25 + 0.5) % 2 - 1) - 1
        way = np.stack([0.6 * swing, 1.2 * along - 0.6], axis=1)
    middle, half = (box[:2] + box[2:]) / 2, np.maximum(np.abs(box[2:] - box[:2]) / 2, 0.01)
    short = HEIGHT * np.array([1 / WIDTH, 1 / HEIGHT])  # one short side, in widths and heights
    shaking = np.cumsum(random.normal(0, style.tremor, size=way.shape), axis=0)
    shaking -= shaking.mean(axis=0)
    reach = random.uniform(0.75, 1.1) * half
    place = np.clip(middle + habit + reach * way + shaking * short, 0, 1)
    times = np.cumsum(random.uniform(25, 70, size=len(way)))
    points = np.column_stack([times - times[0], place])
    if style.presses:
        press = np.sin(np.pi * (0.12 + 0.76 * along)) * random.uniform(0.75, 1)
        points = np.column_stack([points, np.round(press, 2)])
    brush = style.radius * float(random.uniform(0.92, 1.08))
    return {
        "op": "stroke",
        "frame": frame,
        "tool": "brush",
        "radius": brush,
        "strength": style.strength,
        "points": points.tolist(),
    }
