"""The three phases of training behind one call: what each takes from the one before, and what each writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from safetensors.numpy import load_file

from nbpkg.runs.stage import Stage
from nbpkg.settings.learning import TrainSettings
from nbpkg.training.final import Searched, train_final
from nbpkg.training.finetune_search import Where, search_finetuning
from nbpkg.training.head_search import Arrays, Found, search_heads, space_of
from nbpkg.training.rounds import Material, Pair
from nbpkg.training.spaces import Sampler

HEAD, NETWORK = "train/head_search", "train/finetune_search"


class Earlier(NamedTuple):
    """What earlier phases found; empty or None for those that the experiment leaves out."""

    heads: Arrays
    searched: Searched


def read_earlier(stage: Stage) -> Earlier:
    """Read what a phase takes from the phases before it."""
    read = stage.receipt["inputs"]
    tables = {step: stage.read(step, "settings") if step in read else None for step in (HEAD, NETWORK)}
    heads: Arrays = load_file(stage.input(HEAD) / "heads.safetensors") if HEAD in read else {}
    return Earlier(heads, Searched(tables[HEAD], tables[NETWORK]))


def random_heads(material: Material, pairs: Sequence[Pair], *, seed: int) -> Arrays:
    """Return seeded random heads for every round, for an experiment without a search for heads."""
    from nbpkg.training.batched import initial_heads

    drawn = initial_heads([seed], material.baked.encoder.features)
    names = [*(f"fold{fold}" for fold in material.numbers), "best"]
    keys = [f"{pair.task}/{pair.variable}/{name}" for pair in pairs for name in names]
    return {f"{key}.{part}": array[0] for key in keys for part, array in zip(("weight", "bias"), drawn, strict=True)}


def space_of_phase(settings: TrainSettings, phase: str) -> dict[str, Sampler]:
    """Return what a phase searches; nothing for ``final``."""
    return {} if phase == "final" else space_of(getattr(settings, phase))


def window_of_phase(settings: TrainSettings, phase: str) -> int:
    """Return over how many epochs before it the phase smooths a score."""
    own = settings.final.finetune if phase == "final" else getattr(settings, phase)
    window: int = own.window
    return window


def train_phase(
    phase: str,
    material: Material,
    *,
    pairs: Sequence[Pair],
    settings: TrainSettings,
    earlier: Earlier,
    clip_ms: int,
    where: Where,
) -> tuple[Found, list[dict[str, str]]]:
    """Search heads, search fine-tunings, or train what is evaluated.

    Parameters
    ----------
    phase
        ``head_search``, ``finetune_search`` or ``final``.
    material, pairs
        What may be seen, and which tasks and variables to train for.
    settings
        All settings of the stage.
    earlier
        What earlier phases found.
    clip_ms
        Length of a clip, milliseconds.
    where
        Folder, seed and device.

    Returns
    -------
    tuple
        Trials, settings, history and heads; and in the phase ``final`` the networks saved.
    """
    if phase == "head_search":
        own = settings.head_search
        return search_heads(
            material, pairs, settings=own, folder=where.folder, seed=where.seed, device=where.device
        ), []
    if phase == "finetune_search":
        heads = earlier.heads or random_heads(material, pairs, seed=where.seed)
        shared = settings.compat == "reference"
        return search_finetuning(
            material, pairs, settings=settings.finetune_search, heads=heads, shared=shared, where=where
        ), []
    return train_final(
        material,
        pairs,
        settings=settings.final,
        fold=settings.validation_fold,
        searched=earlier.searched,
        clip_ms=clip_ms,
        where=where,
    )
