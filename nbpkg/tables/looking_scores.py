"""Contracts of the tables about answers to "does this person look at the camera wearer?"."""

from __future__ import annotations

from nbpkg.tables.columns import INTEGER, NUMBER, SESSION, TEXT, Column, Contract

_SYSTEM = Column("system", TEXT, "who answered: a network, a baseline or an annotator")
_SPLIT = Column("split", TEXT, "part of the official lists, and where crops are not its own, whose")
_STRIDE = Column("stride", INTEGER, "every how many frames of a track were answered", least=1)
_PART = Column(
    "part",
    TEXT,
    "which answers: all, the less and the more sharp half, or those of one video",
    allowed=("all", "quality_low", "quality_high", "video"),
)
_N = Column("n", INTEGER, "answers", least=0)

LOOKING_SCORES = (
    Contract(
        "looking_predictions",
        "How sure a system is that a face looks at the camera wearer; further columns may follow.",
        (
            _SYSTEM,
            SESSION,
            Column("group", TEXT, "full video that the clip is cut from; what intervals resample"),
            Column("track", TEXT, "face track within its clip; opaque, may hold ':'"),
            Column("frame", INTEGER, "frame of the clip, from 0, at the annotation's rate", least=0),
            Column("person", TEXT, "person of the track"),
            Column("label", INTEGER, "1 looking, 0 not looking, -1 unknown", least=-1),
            Column("score", NUMBER, "probability of looking"),
            Column("quality", NUMBER, "sharpness of the crop; NaN where it was not measured"),
        ),
        key=("system", "session", "track", "frame"),
        open_ended=True,
    ),
    Contract(
        "looking_scores",
        "Scores of each system, each with interval, size, chance and what an annotator reaches.",
        (
            _SYSTEM,
            _SPLIT,
            _STRIDE,
            _PART,
            Column("name", TEXT, "the video; empty for other parts"),
            Column("measure", TEXT, "what was measured"),
            Column("direction", TEXT, "which way is better", allowed=("higher", "lower")),
            Column("value", NUMBER, "the score; NaN when undefined"),
            Column("low", NUMBER, "lower bound of the 95 % interval, bootstrap over videos"),
            Column("high", NUMBER, "upper bound of the 95 % interval"),
            Column("chance", NUMBER, "score of answering without looking"),
            Column("ceiling", NUMBER, "score of one annotator against another; NaN when unknown"),
            _N,
            Column("positives", INTEGER, "of these, looking", least=0),
            Column("n_groups", INTEGER, "videos, or tracks where there is one video", least=0),
            Column("reason", TEXT, "why the value is undefined, and what was left out; else empty"),
        ),
        key=("system", "split", "stride", "part", "name", "measure"),
    ),
    Contract(
        "looking_curves",
        "Precision and recall of each system at falling thresholds.",
        (
            _SYSTEM,
            _SPLIT,
            _STRIDE,
            _PART,
            Column("class", TEXT, "whose precision", allowed=("looking", "not_looking")),
            Column("threshold", NUMBER, "least score that counts as an answer for the class"),
            Column("recall", NUMBER, "share of the class found"),
            Column("precision", NUMBER, "share of the answers that are right"),
            Column("envelope", NUMBER, "best precision at this recall or a higher one"),
            Column("average_precision", NUMBER, "of the whole curve"),
            Column("share", NUMBER, "share of the class: what answering without looking gets"),
            _N,
        ),
    ),
    Contract(
        "looking_confusion",
        "Answers by label.",
        (
            _SYSTEM,
            _SPLIT,
            _STRIDE,
            _PART,
            Column("label", INTEGER, "1 looking, 0 not looking", least=0),
            Column("predicted", INTEGER, "what was answered at the threshold", least=0),
            Column("threshold", NUMBER, "least score that counts as looking"),
            _N,
            Column("share", NUMBER, "of the samples with this label; NaN when there is none"),
        ),
        key=("system", "split", "stride", "part", "label", "predicted"),
    ),
)
