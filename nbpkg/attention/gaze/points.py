"""Annotators' gaze points as paintings: each point is one touch of the brush, so that 08 compares them like paint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nbpkg import seeding, tables
from nbpkg.attention.painting.strokes import Painting, Stroke
from nbpkg.errors import AnnotationError
from nbpkg.video.frames import FrameStore

TASK, VARIABLE = "gaze", "target"
SIDE = 448  # the picture as networks see it, squeezed to a square, so that nothing of it is cut off
_KEYS = ["session", "person", "frame"]


def choose_frames(
    gaze: pd.DataFrame, sessions: Sequence[str], *, stores: Mapping[str, FrameStore], per_person: int, seed: int
) -> pd.DataFrame:
    """Choose frames in which every annotator of the person says that the target is inside the frame.

    Parameters
    ----------
    gaze
        Table ``gaze``.
    sessions
        Sessions to choose from, those of the test fold.
    stores
        Open frame store of each session, for its rate.
    per_person
        Frames of each person of each session, at even distances with a random start; fewer where there are fewer.
    seed
        The experiment's seed.

    Returns
    -------
    pandas.DataFrame
        Table ``snippets``: each is one frame of one person, of task ``gaze`` and variable ``target``, label 1.

    Raises
    ------
    AnnotationError
        When there is no such frame.
    """
    usable = gaze[gaze["session"].isin(list(sessions)) & (gaze["valid"] == 1)]
    frames = usable.groupby(_KEYS, sort=True).agg(inside=("inside", "min"), raters=("rater", "nunique")).reset_index()
    frames = frames[frames["inside"] == 1]
    if frames.empty:
        raise AnnotationError(
            "No test frame has a target that all its annotators see inside the frame.",
            expected="At least one such frame.",
            remedy="Without one there is no human map: remove 'paint' and 'compare' from the parameter file.",
        )
    parts = []
    for (session, person), rows in frames.groupby(["session", "person"], sort=True):
        step = max(1, len(rows) // per_person)
        first = seeding.generator(seed, "gaze frames", str(session), str(person)).integers(step)
        parts.append(rows.iloc[first::step].head(per_person))
    chosen = pd.concat(parts)
    rate = chosen["session"].map({name: float(1000 / store.fps) for name, store in stores.items()})
    start = (chosen["frame"] * rate).round().astype(int)
    return tables.check(
        pd.DataFrame(
            {
                "snippet_id": name_frames(chosen),
                "session": chosen["session"],
                "task": TASK,
                "variable": VARIABLE,
                "start_ms": start,
                "end_ms": np.maximum(((chosen["frame"] + 1) * rate).round().astype(int), start + 1),
                "label": 1,
                "raters": chosen["raters"],
                "painted": True,
            }
        ),
        "snippets",
    )


def name_frames(rows: pd.DataFrame) -> pd.Series:
    """Return the snippet's name of each row of session, person and frame."""
    return rows["session"] + "__" + rows["person"] + "__" + rows["frame"].astype(str).str.zfill(6)


def paint_points(gaze: pd.DataFrame, snippets: pd.DataFrame, *, radius: float) -> list[Painting]:
    """Turn every annotator's point of each snippet into a submitted painting.

    Parameters
    ----------
    gaze
        Table ``gaze``.
    snippets
        From `choose_frames`.
    radius
        Of the touch, share of the picture's side. The paint falls off as (1 - q²)² over it; 0.11 comes nearest to the
        Gaussian of 3 cells in 64 that networks are trained on.

    Returns
    -------
    list of Painting
        By snippet, then annotator. Width and height are equal: the picture as networks see it, squeezed to a square.
    """
    named = gaze.assign(snippet_id=name_frames(gaze)).merge(
        snippets[["snippet_id", "start_ms", "end_ms"]], on="snippet_id", how="inner"
    )
    named = named[(named["inside"] == 1) & (named["valid"] == 1)].sort_values(["snippet_id", "rater"], kind="stable")
    across, down = named["gaze_x"] / named["width"], named["gaze_y"] / named["height"]
    return [
        Painting(
            snippet_id=str(row.snippet_id),
            painter=str(row.rater),
            session=str(row.session),
            task=TASK,
            variable=VARIABLE,
            start_ms=start,
            end_ms=end,
            frame_ms=(start,),
            width=SIDE,
            height=SIDE,
            strokes=(_touch(x, y, radius),),
            state="done",
        )
        for row, start, end, x, y in zip(
            named.itertuples(), named["start_ms"].tolist(), named["end_ms"].tolist(), across, down, strict=True
        )
    ]


def _touch(x: float, y: float, radius: float) -> Stroke:
    content = {"frame": 0, "tool": "brush", "radius": radius, "strength": 1.0, "points": [[0, float(x), float(y)]]}
    return Stroke.from_json(content)
