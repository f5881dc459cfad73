"""The stages and what each reads from the ones before, for each kind of thing that is learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Reads = Mapping[str, tuple[str, ...]]
MODEL = "model"  # in `inputs`: the experiment whose trained network this one begins with
SYSTEM = "system_"  # in `inputs`, before a name: an experiment whose answers are evaluated together with this one's


@dataclass(frozen=True)
class Node:
    """One stage of the pipeline.

    Parameters
    ----------
    name, folder, notebook
        Name in parameter files; folder below the experiment's outputs; notebook without ending.
    reads
        Artefacts read from earlier steps: step, then file names in its run folder. Only these enter the key, so
        that a stage is not made anew because something it does not read has changed.
    phases
        Phases in order, and what each reads beside `reads`; empty for a stage that runs once.
    also
        Settings of other stages that it uses though it reads none of their artefacts: stage, then keys.
    """

    name: str
    folder: str
    notebook: str
    reads: Reads
    phases: Mapping[str, Reads] = field(default_factory=dict)
    also: Reads = field(default_factory=dict)


_BAKED = ("features.csv", "draws.csv", "shards.json", "encoder.json", "encoder.safetensors")

NODES: dict[str, Node] = {
    node.name: node
    for node in (
        Node("parse", "01_parse", "01_parse_annotations", {}),
        Node("prepare", "02_prepare", "02_prepare_videos", {}),
        Node(
            "stratify",
            "03_stratify",
            "03_stratify",
            {"parse": ("spans.csv", "tasks.csv"), "prepare": ("media.csv",)},
        ),
        Node(
            "bake",
            "04_bake",
            "04_bake",
            {
                "parse": ("spans.csv", "tasks.csv"),
                "prepare": ("media.csv",),
                "stratify": ("samples.csv", "folds.csv"),
            },
        ),
        Node(
            "train",
            "05_train",
            "05_train",
            {
                "parse": ("spans.csv", "tasks.csv"),
                "prepare": ("media.csv",),
                "stratify": ("samples.csv", "folds.csv"),
                "bake": _BAKED,
            },
            {
                "head_search": {},
                "finetune_search": {"train/head_search": ("settings.csv", "heads.safetensors")},
                "final": {
                    "train/head_search": ("settings.csv", "heads.safetensors"),
                    "train/finetune_search": ("settings.csv",),
                },
            },
        ),
        Node(
            "evaluate",
            "06_evaluate",
            "06_evaluate",
            {
                "parse": ("spans.csv",),
                "prepare": ("media.csv",),
                "stratify": ("samples.csv", "folds.csv"),
                "train/final": ("networks.json",),
            },
        ),
        Node(
            "paint",
            "07_paint",
            "07_paint_human_attention",
            {
                "parse": ("spans.csv",),
                "prepare": ("media.csv",),
                "stratify": ("folds.csv",),
            },
        ),
        Node(
            "compare",
            "08_compare",
            "08_compare_attention",
            {
                "prepare": ("media.csv",),
                "stratify": ("folds.csv",),
                "train/final": ("networks.json",),
                "paint": ("snippets.csv", "paintings.csv", "strokes.jsonl"),
            },
        ),
    )
}


def _reading(stage: str, reads: Reads, phases: Mapping[str, Reads] | None = None) -> Node:
    """Return the same stage, folder and notebook, reading other artefacts."""
    return replace(NODES[stage], reads=reads, phases=phases or {})


_GAZE: Reads = {"parse": ("gaze.csv",), "prepare": ("media.csv",), "stratify": ("folds.csv",)}

HEATMAP: dict[str, Node] = {
    **NODES,
    "stratify": _reading("stratify", {"parse": ("gaze.csv",), "prepare": ("media.csv",)}),
    "bake": _reading("bake", {**_GAZE, "model": ("networks.json",)}),
    "train": _reading(
        "train",
        {**_GAZE, "bake": ("features.csv", "baked.json", "shards.json"), "model": ("networks.json",)},
        {"sweep": {}, "final": {"train/sweep": ("gaze_settings.csv",)}},
    ),
    "evaluate": _reading("evaluate", {**_GAZE, "train/final": ("networks.json",)}),
    "paint": _reading("paint", _GAZE),
    "compare": _reading(
        "compare",
        {
            **_GAZE,
            "train/final": ("networks.json",),
            "paint": ("snippets.csv", "paintings.csv", "strokes.jsonl"),
        },
    ),
}

_BAKED_SEQUENCES: Reads = {"stratify": ("folds.csv",), "bake": ("recordings.json",)}

SEQUENCE: dict[str, Node] = {
    **NODES,
    # 01 measures the files of the modalities, 02 makes rows as long as a step of the annotation.
    "parse": replace(NODES["parse"], also={"prepare": ("modalities",)}),
    "prepare": replace(NODES["prepare"], also={"parse": ("parts", "fps", "step_seconds")}),
    "stratify": _reading("stratify", {"parse": ("recordings.csv", "valence.csv")}),
    "bake": _reading(
        "bake",
        {"parse": ("valence.csv", "recordings.csv"), "prepare": ("modalities.csv",), "stratify": ("folds.csv",)},
    ),
    "train": _reading(
        "train",
        _BAKED_SEQUENCES,
        {
            "crossval": {},
            "rescore": {"train/crossval": ("networks.json", "checkpoints.json")},
            "final": {"train/crossval": ("valence_trials.csv",), "train/rescore": ("valence_trials.csv",)},
            "personal": {"train/crossval": ("networks.json",), "train/final": ("networks.json",)},
        },
    ),
    "evaluate": _reading(
        "evaluate",
        {
            **_BAKED_SEQUENCES,
            "parse": ("valence.csv", "recordings.csv"),
            "train/crossval": ("networks.json", "valence_trials.csv"),
            "train/rescore": ("networks.json", "valence_trials.csv"),
            "train/final": ("networks.json",),
            "train/personal": ("networks.json", "valence_trials.csv"),
            SYSTEM: ("valence_predictions.csv", "valence_features.json"),
        },
    ),
    "compare": _reading("compare", {**_BAKED_SEQUENCES, "train/final": ("networks.json",)}),
}

_PEOPLE: Reads = {
    "parse": ("clips.csv",),
    "prepare": ("media.csv", "people.csv", "poses.json"),
    "stratify": ("folds.csv",),
    "bake": ("recordings.json",),
}
# 02 looks for the sources of the clips that 01 lists.
_LISTED = ("form", "folder", "kind", "template", "classes", "table", "columns", "lists", "offsets", "names")

PEOPLE: dict[str, Node] = {
    **NODES,
    "prepare": replace(NODES["prepare"], reads={"parse": ("clips.csv",)}, also={"parse": _LISTED}),
    "stratify": _reading("stratify", {"parse": ("clips.csv",), "prepare": ("media.csv",)}),
    "bake": replace(
        _reading("bake", {name: _PEOPLE[name] for name in ("parse", "prepare", "stratify")}),
        also={"prepare": ("who",)},
    ),
    "train": replace(
        _reading("train", _PEOPLE, {"crossval": {}, "final": {"train/crossval": ("people_trials.csv",)}}),
        also={"parse": ("classes",)},
    ),
    "evaluate": replace(
        _reading(
            "evaluate",
            {
                **_PEOPLE,
                "train/crossval": ("networks.json", "people_trials.csv"),
                "train/final": ("networks.json", "people_trials.csv"),
                SYSTEM: ("people_predictions.csv",),
            },
        ),
        also={"parse": ("classes", "ratings", "rating_columns", "raters", "cuts")},
    ),
    "compare": replace(
        _reading("compare", {**_PEOPLE, "train/final": ("networks.json",)}), also={"parse": ("classes",)}
    ),
}

_TRACKS: Reads = {
    "parse": ("footage.csv", "tracks.csv", "faces.npy"),
    "prepare": ("packs.json", "priors.npy"),
    "stratify": ("folds.csv",),
}
_BAKED_FACES = ("quality.npy", "features.json")

TRACKS: dict[str, Node] = {
    **NODES,
    "parse": replace(NODES["parse"], also={"prepare": ("fps",)}),
    "prepare": replace(
        NODES["prepare"],
        reads={"parse": ("footage.csv", "tracks.csv", "faces.npy", "challenge.csv")},
        also={"parse": ("challenge",)},
    ),
    "stratify": _reading("stratify", {"parse": ("footage.csv", "tracks.csv"), "prepare": ("crops.csv",)}),
    "bake": replace(
        _reading("bake", {**_TRACKS, "parse": (*_TRACKS["parse"], "challenge.csv"), "model": ("networks.json",)}),
        also={"prepare": ("priors",)},
    ),
    "train": _reading(
        "train",
        {**_TRACKS, "bake": _BAKED_FACES, "model": ("networks.json",)},
        {"sweep": {}, "final": {"train/sweep": ("looking_trials.csv",)}},
    ),
    "evaluate": _reading(
        "evaluate",
        {
            **_TRACKS,
            "parse": (*_TRACKS["parse"], "segments.csv", "challenge.csv"),
            "prepare": (*_TRACKS["prepare"], "media.csv"),
            "bake": _BAKED_FACES,
            "train/sweep": ("looking_trials.csv",),
            "train/final": ("networks.json",),
            SYSTEM: ("looking_predictions.csv",),
        },
    ),
    "paint": _reading("paint", {**_TRACKS, "parse": (*_TRACKS["parse"], "segments.csv")}),
    "compare": _reading(
        "compare",
        {
            **_TRACKS,
            "bake": _BAKED_FACES,
            "train/final": ("networks.json",),
            "paint": ("snippets.csv", "paintings.csv", "strokes.jsonl"),
        },
    ),
}

# What the stages read depends on the kind of thing that is learnt; their names, folders and notebooks do not.
KINDS: dict[str, dict[str, Node]] = {
    "clips": NODES,
    "heatmap": HEATMAP,
    "sequence": SEQUENCE,
    "people": PEOPLE,
    "tracks": TRACKS,
}
