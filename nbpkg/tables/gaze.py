"""Contracts of the tables about where people look."""

from __future__ import annotations

from nbpkg.tables.columns import INTEGER, NUMBER, RATER, SESSION, TEXT, Column, Contract

_DATASET = Column("dataset", TEXT, "data set the row comes from")
_PARTICIPANT = Column("participant", TEXT, "who or what may not be split: participant, show, or folder of photographs")
_PERSON = Column("person", TEXT, "person in the picture, one track each")
_FRAME = Column("frame", INTEGER, "number of the picture in its session, from 0", least=0)
_INSIDE = Column("inside", INTEGER, "1 when the target is inside the frame, 0 outside, -1 unknown", least=-1)

GAZE = (
    Contract(
        "gaze",
        "Where each person looks in each picture, according to each annotator.",
        (
            _DATASET,
            Column("split", TEXT, "part of the official list", allowed=("train", "test", "")),
            _PARTICIPANT,
            SESSION,
            _PERSON,
            RATER,
            _FRAME,
            Column("image", TEXT, "picture, relative to the data folder, as found on disk"),
            Column("width", INTEGER, "width of the picture, pixels", least=0),
            Column("height", INTEGER, "height of the picture, pixels", least=0),
            Column("x0", NUMBER, "left edge of the head box, pixels"),
            Column("y0", NUMBER, "upper edge of the head box, pixels"),
            Column("x1", NUMBER, "right edge of the head box, pixels"),
            Column("y1", NUMBER, "lower edge of the head box, pixels"),
            Column(
                "box_source",
                TEXT,
                "where the box comes from",
                allowed=("manual", "propagated", "openpose", "interpolated", "file"),
            ),
            Column("gaze_x", NUMBER, "where the person looks, pixels from the left; NaN outside or unknown"),
            Column("gaze_y", NUMBER, "where the person looks, pixels from above; NaN outside or unknown"),
            _INSIDE,
            Column("target", TEXT, "object looked at; empty when unknown"),
            Column("segment", INTEGER, "uninterrupted part of the session, from 0", least=0),
            Column("valid", INTEGER, "1 when it may be learnt from, else 0", least=0),
            Column("flags", TEXT, "what is odd about it, between semicolons"),
        ),
        key=("session", "person", "rater", "frame"),
    ),
    Contract(
        "gaze_scores",
        "How well each frame of each person was answered.",
        (
            _DATASET,
            _PARTICIPANT,
            SESSION,
            _PERSON,
            RATER,
            _FRAME,
            _INSIDE,
            Column("score", NUMBER, "probability that the target is inside the frame; NaN when not answered"),
            Column("auc", NUMBER, "area under the ROC curve of the heat map; NaN outside the frame"),
            Column("distance", NUMBER, "from predicted to true point, fractions of width and height"),
            Column("min_distance", NUMBER, "the same to the nearest annotator's point"),
            Column("angle", NUMBER, "between predicted and true direction at the head, degrees"),
            Column("peak_x", NUMBER, "predicted point, fraction of the width"),
            Column("peak_y", NUMBER, "predicted point, fraction of the height"),
            Column("peak", NUMBER, "highest value of the heat map"),
        ),
        open_ended=True,
    ),
)
