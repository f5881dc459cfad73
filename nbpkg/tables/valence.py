"""Contracts of the tables about valence, second by second."""

from __future__ import annotations

from nbpkg.tables.columns import FLAG, FOLD, INTEGER, NUMBER, RATER, SESSION, TEXT, Column, Contract

_SUBJECT = Column("subject", TEXT, "the listener, who says how pleasant it is")
_STORY = Column("story", TEXT, "the story that is told")
_PART = Column("part", TEXT, "part of the official list, e.g. Training")
_MODALITY = Column("modality", TEXT, "what is perceived: sound, words, a face")
_SYSTEM = Column("system", TEXT, "one trained way of answering; the experiment's name")
_ROUND = Column("round", TEXT, "one training: what was left out, or for whom")
_STEP = Column("step", INTEGER, "second of the session, from 0", least=0)
_EPOCH = Column("epoch", INTEGER, "passes over the training sessions; 0 is before training", least=0)
_LEFT_OUT = Column("fold", INTEGER, "fold left out; -1 when none was", least=-1)
_ROLE = Column("role", TEXT, "what the session was for this network", allowed=("train", "held_out", "test", "hidden"))
_CCC = "concordance correlation, mean over sessions; NaN when there are none"

VALENCE = (
    Contract(
        "valence",
        "What each rater says of each frame: how pleasant it is for the listener.",
        (
            SESSION,
            _SUBJECT,
            _STORY,
            _PART,
            RATER,
            Column("frame", INTEGER, "frame of the session, from 0", least=0),
            Column("value", NUMBER, "valence, -1 to 1; NaN where the file has none"),
        ),
        key=("session", "rater", "frame"),
    ),
    Contract(
        "recordings",
        "Every session: who, which story, how long, and what its annotation is like.",
        (
            SESSION,
            _SUBJECT,
            _STORY,
            Column("actor", TEXT, "who tells the story; empty when unknown"),
            _PART,
            Column("frames", INTEGER, "annotated frames", least=1),
            Column("steps", INTEGER, "seconds, the last may be in part", least=1),
            Column("missing", INTEGER, "frames without a value", least=0),
            Column("least", NUMBER, "lowest valence"),
            Column("greatest", NUMBER, "highest valence"),
            Column("mean", NUMBER, "mean valence"),
            Column("std", NUMBER, "standard deviation of valence"),
            Column("changes", NUMBER, "share of frames whose value differs from the one before"),
            Column("hidden", FLAG, "whether the truth is withheld and the annotation a dummy"),
            Column("flags", TEXT, "what is odd about it, between semicolons"),
        ),
        key=("session",),
    ),
    Contract(
        "modalities",
        "Features of each session and modality, one row per second.",
        (
            SESSION,
            _MODALITY,
            Column("file", TEXT, "NumPy file (rows, width), relative to the run folder"),
            Column("rows", INTEGER, "seconds", least=1),
            Column("width", INTEGER, "features of a second", least=1),
            Column("missing", INTEGER, "seconds in which there is nothing to perceive", least=0),
            Column("source", TEXT, "file that they were made from, relative to the data folder"),
            Column("how", TEXT, "how they were made"),
            Column("sha256", TEXT, "hash of the file"),
        ),
        key=("session", "modality"),
    ),
    Contract(
        "alignment",
        "Length of each modality against the annotation.",
        (
            SESSION,
            _MODALITY,
            Column("rows", INTEGER, "seconds of the modality; 0 when its file is missing", least=0),
            Column("steps", INTEGER, "seconds of the annotation", least=0),
            Column("lost", INTEGER, "seconds of the modality cut off", least=0),
            Column("padded", INTEGER, "seconds of the annotation behind its end", least=0),
            Column("missing", INTEGER, "seconds without anything to perceive, in all", least=0),
            Column("flags", TEXT, "what is odd about it, between semicolons"),
        ),
        key=("session", "modality"),
    ),
    Contract(
        "valence_history",
        "Course of each training.",
        (
            _SYSTEM,
            _ROUND,
            _LEFT_OUT,
            _EPOCH,
            Column("split", TEXT, "sessions measured", allowed=("train", "inner", "held_out")),
            Column("metric", TEXT, "what was measured", allowed=("loss", "ccc", "pearson")),
            Column("value", NUMBER, "the measurement"),
        ),
        key=("system", "round", "epoch", "split", "metric"),
    ),
    Contract(
        "valence_trials",
        "Every training, at the epoch that was kept.",
        (
            _SYSTEM,
            _ROUND,
            _LEFT_OUT,
            Column(
                "chosen_by",
                TEXT,
                "what chose the epoch: an inner fold, a number, the other folds, the fold left out, or nothing",
                allowed=("inner", "epoch", "others", "held_out", "last"),
            ),
            _EPOCH,
            Column("epochs", INTEGER, "epochs made", least=0),
            Column("train_ccc", NUMBER, f"training sessions: {_CCC}"),
            Column("inner_ccc", NUMBER, f"inner fold: {_CCC}"),
            Column("held_out_ccc", NUMBER, f"sessions left out: {_CCC}"),
            Column("optimistic_ccc", NUMBER, "best epoch on the sessions left out, as published; it chose itself"),
            Column("n_train", INTEGER, "training sessions", least=0),
            Column("n_held_out", INTEGER, "sessions left out", least=0),
            Column("reason", TEXT, "why there is no result; else empty"),
        ),
        key=("system", "round"),
    ),
    Contract(
        "valence_epochs",
        "How all folds do at each kept epoch; a further column for each round.",
        (
            _EPOCH,
            Column("mean", NUMBER, "mean over folds of the concordance correlation"),
            Column("std", NUMBER, "standard deviation over folds"),
            Column("mean_minus_std", NUMBER, "mean less standard deviation"),
            Column("folds", INTEGER, "folds", least=1),
            Column("chosen", FLAG, "whether this epoch was taken, by the best mean of all folds"),
        ),
        key=("epoch",),
        open_ended=True,
    ),
    Contract(
        "valence_predictions",
        "What is answered for each second of each session.",
        (
            _SYSTEM,
            _ROUND,
            _ROLE,
            SESSION,
            _SUBJECT,
            _STORY,
            _STEP,
            Column("truth", NUMBER, "mean valence of the second; NaN where it is withheld"),
            Column("predicted", NUMBER, "valence answered"),
        ),
        key=("system", "session", "step"),
    ),
    Contract(
        "valence_scores",
        "How well each session was answered, frame by frame.",
        (
            Column("predictor", TEXT, "who answered: the network, a baseline, or another person"),
            _SYSTEM,
            _ROLE,
            SESSION,
            _SUBJECT,
            _STORY,
            FOLD,
            Column("ccc", NUMBER, "concordance correlation"),
            Column("pearson", NUMBER, "Pearson's correlation; NaN when a side is constant"),
            Column("mse", NUMBER, "mean squared error"),
            Column("frames", INTEGER, "frames scored", least=0),
            Column("reason", TEXT, "why a value is undefined, or how it was made; else empty"),
        ),
        key=("predictor", "system", "session"),
    ),
    Contract(
        "valence_importance",
        "Which second of which modality moves the answer.",
        (
            _SYSTEM,
            SESSION,
            _STEP,
            _MODALITY,
            Column("method", TEXT, "how it was asked", allowed=("occlusion", "integrated_gradients")),
            Column("value", NUMBER, "change of the answer that is due to this second of this modality"),
        ),
        key=("system", "session", "step", "modality", "method"),
    ),
)
