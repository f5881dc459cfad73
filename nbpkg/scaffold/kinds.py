"""For each kind of study, the one that a new study begins as, and how its sample is made small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """What a new study of one kind begins as.

    Parameters
    ----------
    like
        Study of the same kind whose methods, settings and sample maker it takes over until they are changed.
    table
        Table that its ``read_annotations`` returns, see ``docs/tables.md``.
    size
        Arguments of that study's ``make_sample`` for a small sample; none leave it as large as it is.
    changes
        What its ``sample.yaml`` says differently from that study's, so that it suits the small sample.
    """

    like: str
    table: str
    size: Mapping[str, int | float] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)


_SESSIONS = ["s01", "s02", "s03", "s04", "s05", "s06"]
_CLIPS: Changes = {
    "parse": {
        "sessions": _SESSIONS,
        "assignments": {
            "r1": ["s01", "s02", "s03", "s04", "s05"],
            "r2": ["s01", "s04", "s05", "s06"],
            "r3": ["s01", "s02", "s03", "s06"],
        },
    },
    "stratify": {"folds": 3, "tries": 500, "balance": ..., "groups": {"c03": ["s03", "s04"]}},
    "bake": {"chunks": 3},
    "train": {
        "pairs": ["people/attending", "drums/attending"],
        "phases": ["final"],
        "head_search": ...,
        "finetune_search": ...,
        "final": {"head": {"epochs": 20}, "finetune": {"epochs": 2, "window": 1, "warm_up": 0, "chunks": 2}},
    },
    "evaluate": {"resamples": 500},
    "paint": {"pairs": ["people/attending", "drums/attending"], "per_label": 1},
    "compare": {
        "explain": {"methods": ["gradient", "gradcam"], "occlusion": ..., "steps": ..., "samples": ..., "noise": ...},
        "size": 16,
        "faithfulness": {"snippets": 1, "steps": 3},
        "films": 1,
        "resamples": 500,
    },
}
_PEOPLE: Changes = {
    "stratify": {"folds": 3},
    "train": {"phases": ["final"], "learning": {"epochs": 3}, "crossval": ...},
    "compare": {"clips": 2, "lags": 1, "resamples": 500},
}

_TRACKS: Changes = {
    "train": {"phases": ["final"], "learning": {"epochs": 2}, "sweep": ...},
    "paint": ...,  # paint belongs to snippets of the whole sample
    "compare": ...,
}

# A kind of its own right needs its networks and notebook cells first; then it is one more line here.
STARTS: dict[str, Start] = {
    "clips": Start("infant_engagement", "spans", {"sessions": 6, "task_seconds": 20.0}, _CLIPS),
    "heatmap": Start("gaze_target", "gaze"),
    "sequence": Start("valence_fusion", "valence"),
    "people": Start("joint_engagement", "clips", {"families": 6, "windows": 16}, _PEOPLE),
    "tracks": Start("looking_at_me", "footage", {"frames": 60}, _TRACKS),
}


def change(values: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    """Return settings with changes in them, group by group.

    Parameters
    ----------
    values
        As read from a parameter file.
    changes
        Keys with their new values, groups of them, or ``...`` for a key that goes.

    Examples
    --------
    >>> change({"train": {"epochs": 9, "rate": 0.1}, "seed": 0}, {"train": {"epochs": 2, "rate": ...}})
    {'train': {'epochs': 2}, 'seed': 0}
    """
    result = {key: value for key, value in values.items() if changes.get(key) is not ...}
    for key, new in changes.items():
        if isinstance(new, EllipsisType):
            continue
        old = result.get(key)
        merge = isinstance(new, Mapping) and isinstance(old, Mapping) and key not in _WHOLE
        result[key] = change(old, new) if merge else new  # type: ignore[arg-type]
    return result


_WHOLE = ("assignments", "groups")  # their keys are names of the sample: they are replaced, not merged
