"""The trainings of a phase: variants side by side on the clips that choose, and the one for the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nbpkg.errors import Problem, SettingsError, raise_all
from nbpkg.settings.experiment import validated
from nbpkg.settings.looking import FaceTrainSettings

Phase = Literal["sweep", "final"]


@dataclass(frozen=True)
class Round:
    """One training: name of its files, variant, repetition, and all settings as they are for it."""

    name: str
    variant: str
    repeat: int
    settings: FaceTrainSettings


def list_rounds(phase: Phase, settings: FaceTrainSettings) -> list[Round]:
    """List the trainings of a phase.

    Parameters
    ----------
    phase
        ``sweep``: each variant as often as is asked for; ``final``: the variant that the settings name.
    settings
        Of the stage.

    Raises
    ------
    SettingsError
        When a variant changes what there is not, or to what cannot be.
    """
    if phase == "final":
        name = settings.variant
        own = change_settings(settings, settings.sweep.variants.get(name, {}), name=name)
        return [Round("final", name or "as stated", 0, own)]
    variants = settings.sweep.variants.items()
    changed = {name: change_settings(settings, changes, name=name) for name, changes in variants}
    return [
        Round(f"{name}_repeat_{repeat}", name, repeat, own)
        for name, own in changed.items()
        for repeat in range(settings.sweep.repeats)
    ]


def change_settings(settings: FaceTrainSettings, changes: Mapping[str, Any], *, name: str = "") -> FaceTrainSettings:
    """Return the settings with some of them changed.

    Parameters
    ----------
    settings
        Of the stage.
    changes
        Dotted names such as ``network.head`` to values.
    name
        Of the variant, for messages.

    Raises
    ------
    SettingsError
        Listing what does not exist or cannot be.
    """
    values = settings.model_dump()
    problems = []
    for key, value in changes.items():
        group, _, last = key.partition(".")
        if group not in ("network", "window", "augment", "learning") or last not in values[group]:
            problems.append(
                Problem(
                    f"train.sweep.variants.{name} changes {key!r}, which there is not.",
                    expected="Settings such as network.head, window.temporal_dropout or learning.learning_rate.",
                )
            )
            continue
        values[group] = {**values[group], last: value}
    found = validated(FaceTrainSettings, values, f"train.sweep.variants.{name}", problems) if not problems else None
    raise_all(problems, SettingsError, summary="variants cannot be trained")
    if not isinstance(found, FaceTrainSettings):
        raise SettingsError(f"The variant {name!r} cannot be trained.")
    return found
