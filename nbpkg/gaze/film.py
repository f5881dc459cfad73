"""Frames with what the network says of them drawn in, and the film made of these, written while frames come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from nbpkg.datasets.gaze.boxes import WIDENED, widen
from nbpkg.errors import SettingsError
from nbpkg.gaze.footage import Footage
from nbpkg.gaze.predict import FrameGaze, PersonGaze
from nbpkg.plots import gaze_reference
from nbpkg.plots.gaze_overlay import Person, lay_heat, veil_people, write_people, write_text
from nbpkg.video.convert import Film, Recipe
from nbpkg.video.probe import MediaFacts

Picture = NDArray[np.uint8]
Mode = Literal["heatmap", "arrow", "both"]
PRIVACY = ("pixelated", "heads", "full", "none")
_BORDER = 200  # grey beside pictures of another shape


@dataclass(frozen=True)
class FilmStyle:
    """How predictions are shown.

    Parameters
    ----------
    mode
        ``heatmap``, ``arrow`` from the head to the peak, or ``both``.
    threshold
        Probability from which a target counts as inside the frame: below it there is no arrow.
    privacy
        As in `nbpkg.plots.gaze_overlay.veil_people`.
    height
        Pixels; larger frames are made smaller. 0 leaves them.
    strongest
        Value of the maps drawn as the strongest heat, the same for all frames.
    reference
        Draw as the published programs do, ``vtd`` or ``gazelle``; empty for ours.

    Raises
    ------
    SettingsError
        When a value is none of these.
    """

    mode: Mode = "both"
    threshold: float = 0.5
    privacy: str = "pixelated"
    height: int = 540
    strongest: float = 1.0
    reference: Literal["", "vtd", "gazelle"] = ""

    def __post_init__(self) -> None:
        good = self.mode in ("heatmap", "arrow", "both") and self.privacy in PRIVACY and 0 <= self.threshold <= 1
        if not good or self.height < 0 or self.strongest <= 0:
            raise SettingsError(
                f"Films cannot be drawn as {self}.",
                expected=f"A mode heatmap, arrow or both; a probability; frames {', '.join(PRIVACY)}; positive sizes.",
                remedy="Correct the options.",
            )


def draw_gaze(one: FrameGaze, style: FilmStyle) -> Picture:
    """Draw what is known of one frame into it.

    Parameters
    ----------
    one
        Frame and people.
    style
        How.

    Returns
    -------
    ndarray
        RGB ``[H', W', 3]``, uint8; at most ``style.height`` high.

    Notes
    -----
    Heat is weighed with the probability that the target is inside the frame, and of several people the stronger shows.
    """
    picture, scale = _shrink(one.frame.picture, style.height)
    boxes = [[side * scale for side in person.box] for person in one.people]
    shown = veil_people(picture, boxes, privacy=style.privacy)
    if style.reference:
        return _draw_reference(shown, one, style, scale)
    if style.mode != "arrow" and one.people:
        weighed = [person.heat * (person.inside if person.inside == person.inside else 1) for person in one.people]
        shown = lay_heat(shown, np.max(weighed, axis=0), strongest=style.strongest)
    shown = write_people(
        shown, [_drawn(person, scale) for person in one.people], arrows=style.mode != "heatmap",
        threshold=style.threshold,
    )  # fmt: skip
    if not one.people:
        write_text(shown, "no head box", (6, shown.shape[0] - 4))
    return shown


def _drawn(person: PersonGaze, scale: float) -> Person:
    x0, y0, x1, y1 = (side * scale for side in person.box)
    box = (x0, y0, x1, y1) if x0 == x0 else None
    return Person(person.person, box, (person.peak_x * scale, person.peak_y * scale), person.inside)


def _draw_reference(shown: Picture, one: FrameGaze, style: FilmStyle, scale: float) -> Picture:
    for person in one.people:
        logit = 0.0 if person.logit != person.logit else person.logit
        known = person.box[0] == person.box[0]
        x0, y0, x1, y1 = (np.multiply(person.box, scale) if known else np.zeros(4)).tolist()
        if style.reference == "gazelle":
            shown = gaze_reference.picture_gazelle(shown, person.heat, (x0, y0, x1, y1) if known else None)
            continue
        x0, y0, x1, y1 = widen([[x0, y0, x1, y1]], WIDENED)[0].tolist()
        if style.mode == "arrow":
            level = 255 * (1 - style.threshold)
            shown = gaze_reference.picture_arrow(shown, person.cell, logit=logit, box=(x0, y0, x1, y1), threshold=level)
        else:
            heat = gaze_reference.modulate(person.heat, logit, size=(shown.shape[1], shown.shape[0]))
            shown = gaze_reference.picture_heat(shown, heat, (x0, y0, x1, y1))
    return shown


class GazeFilm:
    """The film of a piece of footage, frame by frame.

    Parameters
    ----------
    path
        ``.mp4`` to write; see `nbpkg.runs.files.new_file`.
    footage
        Whose rate and shape the film has.
    """

    def __init__(self, path: Path, footage: Footage) -> None:
        self.path, self.footage = path, footage
        self.film: Film | None = None
        self.size = (0, 0)

    def add(self, picture: Picture) -> None:
        """Append a drawn frame; pictures of another shape than the first are fitted into it."""
        if self.film is None:
            height, width = picture.shape[:2]
            self.size = (height + height % 2, width + width % 2)
            recipe = Recipe(height=self.size[0], fps=self.footage.rate, crf=20, preset="veryfast")
            self.film = Film(self.path, self._facts(), recipe, size=self.size)
        self.film.add(_fit(picture, self.size))

    def finish(self) -> None:
        """Write what is left."""
        if self.film:
            self.film.finish()

    def close(self) -> None:
        """Let go of the file without finishing it."""
        if self.film:
            self.film.close()

    def _facts(self) -> MediaFacts:
        facts, (height, width) = self.footage.facts, self.size
        if facts is not None and facts.pixel_aspect != 1:
            return facts
        zero, one = Fraction(0), Fraction(1)
        plain = MediaFacts(
            "", "", self.footage.rate, 1, "packets", width, height, one, 0, zero, zero, one, False, False, 0, ""
        )
        return plain if facts is None else replace(plain, fps=facts.fps)


def _shrink(picture: Picture, height: int) -> tuple[Picture, float]:
    """Return the picture at most so high, and by what it was made smaller."""
    if not height or picture.shape[0] <= height:
        return picture, 1.0
    scale = height / picture.shape[0]
    width = max(2, round(picture.shape[1] * scale))
    small: Picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return small, scale


def _fit(picture: Picture, size: tuple[int, int]) -> Picture:
    """Bring a picture into a frame of this height and width; a missing last row or column is shown twice."""
    height, width = size
    if 0 <= height - picture.shape[0] <= 1 and 0 <= width - picture.shape[1] <= 1:
        return np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode="edge")
    scale = min(height / picture.shape[0], width / picture.shape[1])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    whole = np.full((height, width, 3), _BORDER, np.uint8)
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return whole
