"""Contracts of the tables about several people: clips, who is where, trainings, answers, what moved them."""

from __future__ import annotations

from nbpkg.tables.columns import FLAG, INTEGER, LABEL, NUMBER, SAMPLE, SESSION, TEXT, Column, Contract

_FAMILY = Column("family", TEXT, "whom the clip shows; families never part")
_RECORDING = Column("recording", TEXT, "conversation whose windows follow each other")
_WINDOW = Column("window", INTEGER, "place of the clip in its recording, from 0", least=0)
_SYSTEM = Column("system", TEXT, "one trained way of answering; the experiment's name")
_VARIANT = Column("variant", TEXT, "full, or what was taken out of the network or its input")
_SEED = Column("repeat", INTEGER, "number of the repetition, each with its own seed", least=0)
_ROUND = Column("round", TEXT, "one training: variant, repetition and fold")
_LEFT_OUT = Column("fold", INTEGER, "fold left out; -1 when none was", least=-1)
_EPOCH = Column("epoch", INTEGER, "passes over the training clips, from 1; 0 is before training", least=0)
_ROLE = Column("role", TEXT, "what the clip was for this network", allowed=("train", "inner", "held_out", "test"))
_CHECKPOINT = Column("checkpoint", TEXT, "epoch whose weights answered", allowed=("best", "last"))
_PERSON = Column("person", INTEGER, "number of the person in the recording, from 0", least=0)
_PART = Column("who", TEXT, "role of the person, e.g. parent, child or robot")

PEOPLE = (
    Contract(
        "clips",
        "Every labelled clip: whom it shows, where it lies, what people said.",
        (
            SAMPLE,
            SESSION,
            _FAMILY,
            _RECORDING,
            _WINDOW,
            Column("first", INTEGER, "first frame of the clip in its source, from 0", least=0),
            Column("frames", INTEGER, "frames of the clip; -1 = to the end of its source", least=-1),
            LABEL,
            Column("rating", NUMBER, "mean rating; NaN where the class was given"),
            Column("raters", INTEGER, "how many rated it; 0 where the class was given", least=0),
            Column("split", TEXT, "part of the official list; empty when there is none"),
            Column("path", TEXT, "video or folder of pictures, relative to the data folder"),
        ),
        key=("sample_id",),
    ),
    Contract(
        "people",
        "Who is where in each frame of the prepared video, under one number and role throughout.",
        (
            SESSION,
            Column("frame", INTEGER, "frame of the frame store, from 0", least=0),
            _PERSON,
            _PART,
            Column("x0", NUMBER, "left side of the person, share of the width"),
            Column("y0", NUMBER, "top of the person, share of the height"),
            Column("x1", NUMBER, "right side of the person, share of the width"),
            Column("y1", NUMBER, "bottom of the person, share of the height"),
            Column("score", NUMBER, "confidence of the detector; NaN where it was not told"),
            Column("how", TEXT, "where the box comes from", allowed=("seen", "between")),
            Column("face_x0", NUMBER, "left side of the face, share of the width; NaN where there is none"),
            Column("face_y0", NUMBER, "top of the face, share of the height"),
            Column("face_x1", NUMBER, "right side of the face, share of the width"),
            Column("face_y1", NUMBER, "bottom of the face, share of the height"),
        ),
        key=("session", "frame", "person"),
    ),
    Contract(
        "people_history",
        "Course of each training.",
        (
            _SYSTEM,
            _ROUND,
            _VARIANT,
            _SEED,
            _LEFT_OUT,
            _EPOCH,
            Column("split", TEXT, "clips measured", allowed=("train", "inner")),
            Column("metric", TEXT, "what was measured"),
            Column("value", NUMBER, "the measurement"),
        ),
        key=("system", "round", "epoch", "split", "metric"),
    ),
    Contract(
        "people_trials",
        "Every training, at the epoch that was kept.",
        (
            _SYSTEM,
            _ROUND,
            _VARIANT,
            _SEED,
            _LEFT_OUT,
            Column("chosen_by", TEXT, "what chose the epoch", allowed=("inner", "last")),
            _EPOCH,
            Column("epochs", INTEGER, "epochs made", least=0),
            Column("inner_macro_f1", NUMBER, "macro F1 of the inner families at that epoch; NaN when there are none"),
            Column("held_out_macro_f1", NUMBER, "macro F1 of the families left out; NaN when there are none"),
            Column("held_out_accuracy", NUMBER, "share of clips answered rightly, families left out"),
            Column("n_train", INTEGER, "training clips", least=0),
            Column("n_held_out", INTEGER, "clips left out", least=0),
            Column("parameters", INTEGER, "numbers that were learnt", least=0),
            Column("seconds", NUMBER, "time of the training, seconds"),
            Column("reason", TEXT, "why there is no result; else empty"),
        ),
        key=("system", "round"),
    ),
    Contract(
        "people_predictions",
        "What is answered for each clip; a further column `p_<class>` with the probability of each class.",
        (
            _SYSTEM,
            _ROUND,
            _VARIANT,
            _SEED,
            _ROLE,
            _CHECKPOINT,
            SAMPLE,
            SESSION,
            _FAMILY,
            _RECORDING,
            _WINDOW,
            Column("truth", INTEGER, "class index of the label", least=0),
            Column("predicted", INTEGER, "class index answered", least=0),
        ),
        key=("system", "round", "checkpoint", "sample_id"),
        open_ended=True,
    ),
    Contract(
        "people_importance",
        "What moves the answer for a clip: a person, a modality, how many windows before.",
        (
            _SYSTEM,
            SAMPLE,
            _RECORDING,
            _WINDOW,
            _PART,
            Column("modality", TEXT, "what is perceived of the person; `all` for everything"),
            Column("lag", INTEGER, "windows before the one answered for; 0 is the same", least=0),
            Column("value", NUMBER, "total variation between the answers with and without, 0 to 1"),
            Column("flipped", FLAG, "whether another class is answered without"),
        ),
        key=("system", "sample_id", "who", "modality", "lag"),
    ),
    Contract(
        "people_regions",
        "How far Grad-CAM maps of a clip agree with faces, bodies and motion.",
        (
            _SYSTEM,
            SAMPLE,
            _FAMILY,
            _PART,
            Column("region", TEXT, "part of the person, or the whole picture"),
            Column("mutual_information", NUMBER, "mean over frames, nats; NaN where the region is never there"),
            Column("cross_entropy", NUMBER, "mean over frames, nats"),
            Column("share", NUMBER, "share of the map's mass inside the region"),
            Column("area", NUMBER, "share of the picture that the region covers: what a blind map would have inside"),
            Column("frames", INTEGER, "frames in which it is there", least=0),
        ),
        key=("system", "sample_id", "who", "region"),
    ),
)
