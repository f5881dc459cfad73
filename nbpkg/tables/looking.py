"""Contracts of the tables about face tracks: clips, tracks, segments, crops, trainings, answers."""

from __future__ import annotations

from nbpkg.tables.columns import FLAG, INTEGER, NUMBER, SESSION, TEXT, Column, Contract

_TRACK = Column("track", TEXT, "face track within its clip; opaque, may hold ':'")
_FRAME = Column("frame", INTEGER, "frame of the clip, from 0, at the annotation's rate", least=0)
_WHO = Column("person", TEXT, "person of the track")
_VARIANT = Column("variant", TEXT, "full, or what was changed")
_SEED = Column("repeat", INTEGER, "number of the repetition, each with its own seed", least=0)
_ROUND = Column("round", TEXT, "one training: variant and repetition")

LOOKING = (
    Contract(
        "footage",
        "Every clip with face tracks: its video, its part of the official lists, what was annotated in it.",
        (
            SESSION,
            Column("video", TEXT, "full video that the clip is cut from; clips of a video never part"),
            Column("split", TEXT, "part of the official lists", allowed=("train", "val", "test", "")),
            Column("start_s", NUMBER, "begin in the full video, seconds; NaN where it is not known"),
            Column("end_s", NUMBER, "end in the full video, seconds"),
            Column("persons", INTEGER, "persons beside the camera wearer", least=0),
            Column("tracks", INTEGER, "face tracks with at least one usable box", least=0),
            Column("looking", INTEGER, "looking segments; -1 where the clip has none annotated", least=-1),
            Column("at_me", INTEGER, "of these, marked is_at_me", least=0),
            Column("with_target", INTEGER, "of these, with a target", least=0),
            Column("talking", INTEGER, "talking segments; -1 where the clip has none annotated", least=-1),
            Column("labelled", FLAG, "whether its faces have labels; test crops of the challenge have none"),
        ),
        key=("session",),
    ),
    Contract(
        "tracks",
        "Every face track; its faces are `rows` rows of `faces.npy` from row `offset`.",
        (
            SESSION,
            _TRACK,
            _WHO,
            Column("first", INTEGER, "first frame kept", least=0),
            Column("last", INTEGER, "last frame kept", least=0),
            Column("offset", INTEGER, "row of its first face in faces.npy", least=0),
            Column("rows", INTEGER, "faces, seen or between two that were", least=1),
            Column("records", INTEGER, "boxes in the annotation", least=0),
            Column("dropped", INTEGER, "of these, not usable", least=0),
            Column("between", INTEGER, "faces between two boxes", least=0),
            Column("looking", INTEGER, "faces that look at the camera wearer; 0 where nothing is known", least=0),
        ),
        key=("session", "track"),
    ),
    Contract(
        "challenge",
        "Test crops of the challenge, in the order of their faces.",
        (
            SESSION,
            _TRACK,
            _FRAME,
            Column("unique_id", TEXT, "what the challenge asks for"),
            Column("path", TEXT, "picture, relative to the folder of test crops"),
        ),
        key=("session", "track", "unique_id"),
    ),
    Contract(
        "segments",
        "When somebody looks at or talks to whom, as annotated.",
        (
            SESSION,
            Column("annotator", TEXT, "who annotated", allowed=("first", "second")),
            Column("kind", TEXT, "what was annotated", allowed=("looking", "talking")),
            _WHO,
            Column("start_frame", INTEGER, "first frame, inclusive"),
            Column("end_frame", INTEGER, "last frame, inclusive"),
            Column("target", TEXT, "whom; empty where it is not said"),
        ),
    ),
    Contract(
        "crops",
        "Crops of each track: how many there are and why others are not.",
        (
            SESSION,
            _TRACK,
            Column("faces", INTEGER, "faces of the track", least=0),
            Column("crops", INTEGER, "of these, cut", least=0),
            Column("no_frame", INTEGER, "behind the end of the clip, or without a picture", least=0),
            Column("empty", INTEGER, "boxes outside of the picture", least=0),
            Column("sharpness", NUMBER, "median variance of the Laplacian; NaN where it was not measured"),
            Column("head_poses", INTEGER, "crops with yaw, pitch, roll", least=0),
            Column("landmarks", INTEGER, "crops with five points", least=0),
        ),
        key=("session", "track"),
    ),
    Contract(
        "looking_trials",
        "Every training over windows of faces: what was chosen and what it came to.",
        (
            Column("system", TEXT, "one trained way of answering; the experiment's name"),
            _ROUND,
            _VARIANT,
            _SEED,
            Column("epoch", NUMBER, "epoch whose weights are kept; a fraction inside an epoch", least=0),
            Column("epochs", INTEGER, "epochs made", least=0),
            Column("inner_map", NUMBER, "mAP on the clips that chose the epoch; NaN where none did"),
            Column("train_map", NUMBER, "mAP on the varied training windows of the last epoch"),
            Column("n_train", INTEGER, "training windows", least=0),
            Column("n_looking", INTEGER, "of these, looking", least=0),
            Column("n_filtered", INTEGER, "windows left out by the quality filter", least=0),
            Column("n_inner", INTEGER, "windows that chose", least=0),
            Column("parameters", INTEGER, "weights that are trained", least=0),
            Column("weights", TEXT, "what it began with"),
            Column("seconds", NUMBER, "time of all epochs", least=0),
        ),
        key=("round",),
    ),
    Contract(
        "looking_history",
        "Epoch by epoch: losses and scores.",
        (
            _ROUND,
            Column("epoch", NUMBER, "passes over the training windows; a fraction inside an epoch", least=0),
            Column("split", TEXT, "of what", allowed=("train", "inner")),
            Column("metric", TEXT, "loss, map, accuracy or rate"),
            Column("value", NUMBER, "its value"),
        ),
    ),
)
