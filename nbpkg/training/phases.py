"""The three phases of training behind one call: what each takes from the one before, and what each writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from safetensors.numpy import load_file

from nbpkg.runs.stage import Stage
from nbpkg.settings.learning import TrainSettings
from nbpkg.training.final import Searched, train_final
from nbpkg.training.finetune_search import search_finetuning
from nbpkg.training.head_search import random_heads, search_heads
from nbpkg.training.results import Arrays, Found
from nbpkg.training.rounds import Material, Pair, Where
from nbpkg.training.spaces import Sampler, space_of

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
    where: Where,
) -> Found:
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
    where
        Folder, seed and device.

    Returns
    -------
    Found
        Trials, settings, history, and heads or networks.
    """
    if phase == "head_search":
        return search_heads(material, pairs, settings=settings.head_search, where=where)
    if phase == "finetune_search":
        heads = earlier.heads or random_heads(material, pairs, seed=where.seed)
        how, shared = settings.finetune_search, settings.compat == "reference"
        return search_finetuning(material, pairs, settings=how, heads=heads, shared=shared, where=where)
    fold, searched = settings.validation_fold, earlier.searched
    return train_final(material, pairs, settings=settings.final, fold=fold, searched=searched, where=where)
