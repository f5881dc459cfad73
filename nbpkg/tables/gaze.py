"""Contracts of the tables about where people look."""

from __future__ import annotations

from nbpkg.tables.columns import FLAG, INTEGER, NUMBER, RATER, SESSION, TEXT, Column, Contract

_DATASET = Column("dataset", TEXT, "data set the row comes from")
_PARTICIPANT = Column("participant", TEXT, "who or what may not be split: participant, show, or folder of photographs")
_PERSON = Column("person", TEXT, "person in the picture, one track each")
_FRAME = Column("frame", INTEGER, "number of the picture in its session, from 0", least=0)
_INSIDE = Column("inside", INTEGER, "1 when the target is inside the frame, 0 outside, -1 unknown", least=-1)
_WHAT = (Column("task", TEXT, "what is learnt: gaze"), Column("variable", TEXT, "name of the network"))
_PARAMETERS = (
    Column("batch_size", INTEGER, "tracks or pictures per step", least=1),
    Column("chunk", INTEGER, "time steps per step of the optimiser", least=1),
    Column("learning_rate", NUMBER, "learning rate"),
)
_LEFT_OUT = Column("fold", INTEGER, "fold left out for validation", least=0)

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
            Column("segment", INTEGER, "uninterrupted part of the session, from 0", least=0),
            Column("logit", NUMBER, "log-odds that the target is inside; NaN when not answered"),
            Column("predictor", TEXT, "who answered: a network, a baseline or an annotator"),
            Column("truth", TEXT, "what it was held against: one annotator's box, or all their points"),
            Column("protocol", TEXT, "whose definitions: vtd or gazelle"),
            Column("reading", TEXT, "which point of the highest cell counts: index, centre or exact"),
            Column("raters", INTEGER, "annotators who say where", least=0),
            Column("reason", TEXT, "why a frame inside has no score; else empty"),
        ),
    ),
    Contract(
        "gaze_trials",
        "Every training of a gaze network, at the epoch that was kept.",
        (
            *_WHAT,
            Column("setting", INTEGER, "number of the setting, from 0", least=0),
            *_PARAMETERS,
            _LEFT_OUT,
            Column("repetition", INTEGER, "which of several trainings alike", least=0),
            Column("epoch", INTEGER, "epoch kept; 0 is before training", least=0),
            Column("epochs", INTEGER, "epochs made", least=0),
            Column("failed", FLAG, "whether it ended without a result"),
            Column("reason", TEXT, "why it failed; else empty"),
        ),
        key=("variable", "setting", "fold", "repetition"),
        open_ended=True,
    ),
    Contract(
        "gaze_settings",
        "Settings of a sweep and how they did on the participants left out.",
        (
            *_WHAT,
            Column("setting", INTEGER, "number of the setting, from 0", least=0),
            *_PARAMETERS,
            Column("auc", NUMBER, "mean area under the curve over trainings; NaN when one failed"),
            Column("distance", NUMBER, "mean distance over trainings, fractions of the frame"),
            Column("epoch", INTEGER, "median of the epochs kept", least=0),
            Column("n", INTEGER, "trainings that ended well", least=0),
            Column("failed", INTEGER, "trainings that did not", least=0),
            Column("reason", TEXT, "why one failed; else empty"),
            Column("chosen", FLAG, "whether this setting was taken"),
        ),
        key=("variable", "setting"),
        open_ended=True,
    ),
    Contract(
        "gaze_history",
        "Every score of every epoch of every training of a gaze network.",
        (
            *_WHAT,
            Column("setting", INTEGER, "number of the setting, from 0", least=0),
            Column("parameters", TEXT, "the setting, JSON"),
            *_PARAMETERS,
            _LEFT_OUT,
            Column("repetition", INTEGER, "which of several trainings alike", least=0),
            Column("epoch", INTEGER, "passes over the training frames; 0 is before training", least=0),
            Column("split", TEXT, "frames measured", allowed=("train", "validation")),
            Column("metric", TEXT, "what was measured"),
            Column("value", NUMBER, "the measurement"),
        ),
        key=("variable", "setting", "fold", "repetition", "epoch", "split", "metric"),
    ),
)
