"""Films of test clips with what a network answers: each face's box with score and annotation, and where it looks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nbpkg.annotations.gaze.lookup import plain_name
from nbpkg.attention.looking.arrows import Gaze, aim_faces, draw_arrow, open_gaze
from nbpkg.progress import Report
from nbpkg.runs.files import digest, read_json, sha256, write_json
from nbpkg.settings.looking import FaceEvaluationSettings
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.video.stores import Store, open_store
from nbpkg.video.streamed import stream_film

Picture = NDArray[np.uint8]
Veil = Callable[[Picture], Picture]
FOLDER = "films"
COLUMNS = ["session", "file", "frames", "faces", "answered", "arrows"]
LEAST_HEIGHT = 480  # pixels; smaller frames are enlarged, so that letters can be read
_LOOKING, _ELSEWHERE, _NOBODY = (230, 159, 0), (0, 114, 178), (225, 225, 225)  # Okabe and Ito, and pale grey
_CASING = (60, 60, 60)
_ARROW = 0.8  # length of an arrow across, longer sides of a box
_VERSION = 1


@dataclass(frozen=True)
class _Clip:
    """One clip: its frames, its faces with boxes in their pixels and scores, and what they are from."""

    store: Store
    faces: pd.DataFrame
    threshold: float
    enlarged: int


def film_answers(
    predictions: pd.DataFrame,
    test: FaceMaterial,
    *,
    media: pd.DataFrame,
    prepared: Path,
    settings: FaceEvaluationSettings,
    folder: Path,
    data: Path,
    veil: Veil,
    device: torch.device,
) -> pd.DataFrame:
    """Make films of test clips: every face in its box, with score and annotation; those that are finished are kept.

    Parameters
    ----------
    predictions
        Table ``looking_predictions``; of several systems that of `test` counts, or the first.
    test
        The test clips. Those without a video, as the challenge's, have no film.
    media
        Table ``media``.
    prepared
        Run folder of stage 02, which its paths start from.
    settings
        ``films``, how many clips from the first; ``arrow``, file of a Gaze360 network or empty; ``threshold``;
        ``stride``: faces between two that were answered show the answer before them.
    folder
        Run folder: ``films/<clip>.mp4``, and ``films/<clip>.json``, written last, of what it was made.
    data
        Data folder.
    veil
        Makes frames ``[H, W, 3]`` fit to be shown, e.g. `nbpkg.plots.frames.veil` with the setting of the report.
    device
        Where to compute.

    Returns
    -------
    pandas.DataFrame
        session, file, frames, faces, answered (faces with a score), arrows; no row where no film is asked for.

    Raises
    ------
    SettingsError, WeightsError
        When the network of gaze cannot be used.
    MediaError, StageError
        When frames cannot be read, or a film cannot be written.

    Notes
    -----
    Orange boxes are said to look, blue ones not; both are told in words, too, and so is what was annotated. Faces
    without an answer have a thin grey box. For the arrow see `nbpkg.attention.looking.arrows`.
    """
    rows = {str(row["session"]): row for row in media.to_dict("records")}
    chosen = [str(name) for name in test.footage["session"] if str(name) in rows][: settings.films]
    network = open_gaze(settings.arrow, data, device=device) if chosen and settings.arrow else None
    arrow = sha256(data / settings.arrow) if network is not None else ""
    own = _choose_system(predictions, test.system)
    report = Report("films", total=len(chosen), unit="film")
    made = []
    for session in chosen:
        clip = _open_clip(own, test, rows[session], prepared=prepared, settings=settings)
        path = folder / FOLDER / f"{plain_name([session])}.mp4"
        facts: dict[str, Any] = {"made_from": _identify(clip, rows[session], arrow, veil)}
        kept = _read_finished(path, facts)
        if kept is None:
            gaze = None if network is None else aim_faces(network, test, session, device=device)
            stream_film(_draw_all(clip, gaze, veil), path, fps=clip.store.fps)
            kept = facts | _describe(clip, gaze) | {"sha256": sha256(path)}
            write_json(path.with_suffix(".json"), kept)
        made.append({"session": session, "file": path.relative_to(folder).as_posix()} | kept)
        report.step(note=session)
    report.close()
    return pd.DataFrame(made, columns=COLUMNS)


def _choose_system(predictions: pd.DataFrame, wanted: str) -> pd.DataFrame:
    names = predictions["system"].unique().tolist()
    return predictions[predictions["system"] == (wanted if wanted in names or not names else names[0])]


def _open_clip(
    predictions: pd.DataFrame,
    test: FaceMaterial,
    media: dict[Any, Any],
    *,
    prepared: Path,
    settings: FaceEvaluationSettings,
) -> _Clip:
    """Put together a clip's frames and faces; boxes count in the pixels of the source."""
    session, store = str(media["session"]), open_store(prepared / str(media["store"]))
    tracks = test.tracks[test.tracks["session"] == session]
    rows = [np.arange(first, first + count) for first, count in zip(tracks["offset"], tracks["rows"], strict=True)]
    faces = test.describe(np.concatenate(rows)) if rows else test.describe(np.zeros(0, np.int64))
    faces = faces.assign(row=np.concatenate(rows) if rows else np.zeros(0, np.int64))
    scores = predictions.loc[predictions["session"] == session, ["track", "frame", "score"]]
    faces = faces.merge(scores, on=["track", "frame"], how="left")
    place = faces.groupby("track").cumcount() // settings.stride
    faces["score"] = faces.groupby(["track", place])["score"].transform("first")
    for names, kind in ((("x0", "x1"), "width"), (("y0", "y1"), "height")):
        for name in names:
            faces[name] *= media[kind] / media[f"source_{kind}"]
    # the frame of the store that is shown in the middle of a frame of the annotation
    shown = (2 * faces["frame"].astype("int64") + 1) * store.fps.numerator * test.fps.denominator
    faces["shown"] = shown // (2 * store.fps.denominator * test.fps.numerator)
    height = int(media["height"])
    return _Clip(store, faces, settings.threshold, max(1, -(-LEAST_HEIGHT // height)))


def _identify(clip: _Clip, media: dict[Any, Any], arrow: str, veil: Veil) -> str:
    """Say in one word what a film is made of; how frames are veiled shows in the first of them."""
    faces = clip.faces[["shown", "x0", "y0", "x1", "y1", "label", "score", "row"]].to_numpy(np.float64)
    shown = veil(clip.store.frames([0])[0])
    parts = {"faces": hashlib.sha256(faces.tobytes()).hexdigest(), "veil": hashlib.sha256(shown.tobytes()).hexdigest()}
    facts = {"version": _VERSION, "store": str(media["sha256"]), "arrow": arrow, "threshold": clip.threshold}
    return digest(facts | parts)


def _read_finished(path: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    note = path.with_suffix(".json")
    if not note.is_file() or not path.is_file():
        return None
    record: dict[str, Any] = read_json(note)
    same = record.get("made_from") == facts["made_from"] and record.get("sha256") == sha256(path)
    return record if same else None


def _describe(clip: _Clip, gaze: Gaze | None) -> dict[str, int]:
    answered = int(clip.faces["score"].notna().sum())
    arrows = 0 if gaze is None else len(gaze.rows)
    return {"frames": len(clip.store), "faces": len(clip.faces), "answered": answered, "arrows": arrows}


def _draw_all(clip: _Clip, gaze: Gaze | None, veil: Veil) -> Iterator[Picture]:
    """Give the frames of the film, one in memory at a time."""
    aims = {} if gaze is None else {int(row): place for place, row in enumerate(gaze.rows)}
    by_frame = {int(str(number)): own.to_dict("records") for number, own in clip.faces.groupby("shown")}
    for number in range(len(clip.store)):
        picture = veil(clip.store.frames([number])[0])
        picture = picture.repeat(clip.enlarged, axis=0).repeat(clip.enlarged, axis=1)
        faces = [face for face in by_frame.get(number, []) if np.isfinite(_corners(face, clip)).all()]
        for face in faces:
            _draw_box(picture, face, clip)
        for face in faces:
            place = aims.get(int(face["row"]))
            if gaze is not None and place is not None:
                _draw_gaze(picture, _corners(face, clip), gaze, place)
        for face in faces:  # last: words stay readable
            _draw_words(picture, face, clip)
        yield picture


def _corners(face: dict[Any, Any], clip: _Clip) -> NDArray[np.float64]:
    return clip.enlarged * np.array([face[name] for name in ("x0", "y0", "x1", "y1")], np.float64)


def _draw_box(picture: Picture, face: dict[Any, Any], clip: _Clip) -> None:
    x0, y0, x1, y1 = np.rint(_corners(face, clip)).astype(int).tolist()
    line = _line(picture)
    if np.isnan(face["score"]):
        for side, colour in ((0, _CASING), (max(1, line // 2), _NOBODY)):  # seen on any ground
            cv2.rectangle(picture, (x0 + side, y0 + side), (x1 - side, y1 - side), colour, max(1, line // 2))
        return
    cv2.rectangle(picture, (x0, y0), (x1, y1), _LOOKING if face["score"] >= clip.threshold else _ELSEWHERE, 2 * line)


def _draw_words(picture: Picture, face: dict[Any, Any], clip: _Clip) -> None:
    if np.isnan(face["score"]):
        return
    looks = bool(face["score"] >= clip.threshold)
    lines = [f"{face['score']:.2f} {_say(looks)}"]
    if face["label"] >= 0:
        lines.append(f"annotated: {_say(bool(face['label'] == 1))}")
    left, top = np.rint(_corners(face, clip)[:2]).astype(int).tolist()
    line = _line(picture)
    _paste(picture, _write(tuple(lines), picture.shape[0], looks), left - line, top - line)


def _line(picture: Picture) -> int:
    return max(1, round(int(picture.shape[0]) / 240))


def _say(looks: bool) -> str:
    return "looking" if looks else "not looking"


def _draw_gaze(picture: Picture, corners: NDArray[np.float64], gaze: Gaze, place: int) -> None:
    middle, sides = (corners[:2] + corners[2:]) / 2, corners[2:] - corners[:2]
    angles = (float(gaze.angles[place, 0]), float(gaze.angles[place, 1]))
    start = (float(middle[0]), float(middle[1]))
    draw_arrow(picture, start, _ARROW * float(sides.max()), angles, spread=float(gaze.spread[place]))


def _paste(picture: Picture, strip: Picture, left: int, bottom: int) -> None:
    """Put a strip above a place, moved so far that all of it is in the picture, as far as it fits."""
    height, width = (min(have, room) for have, room in zip(strip.shape[:2], picture.shape[:2], strict=True))
    x = min(max(left, 0), picture.shape[1] - width)
    y = min(max(bottom - height, 0), picture.shape[0] - height)
    picture[y : y + height, x : x + width] = strip[:height, :width]


@lru_cache(maxsize=512)
def _write(lines: tuple[str, ...], height: int, looks: bool) -> Picture:
    """Return a strip with lines of text, uint8 ``[h, w, 3]``."""
    letters = max(9, round(0.03 * height))
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), letters)
    step, edge = round(1.25 * letters), round(0.3 * letters)
    width = round(max(font.getlength(line) for line in lines)) + 2 * edge
    strip = Image.new("RGB", (width, step * len(lines) + edge), _LOOKING if looks else _ELSEWHERE)
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        place = (edge, edge / 2 + (number + 0.5) * step)
        pen.text(place, line, font=font, fill="black" if looks else "white", anchor="lm")
    return np.asarray(strip)
