"""Networks over people by name: what each looks at, its variants, and what it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import nn

from nbpkg import seeding
from nbpkg.errors import SettingsError
from nbpkg.models.encoders import ENCODERS
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.models.people.cross_person.multipar import LAYERS, WIDTH, MultiparT
from nbpkg.models.people.cross_person.options import MemoryTransformerOptions
from nbpkg.models.people.families import SKELETONS, Family, family_of, find_name
from nbpkg.models.people.mm_checkpoints import IMAGENET, load_imagenet, load_mm_checkpoint
from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import RgbOptions, find_rgb_network
from nbpkg.models.people.skeleton.build import build_skeleton_network
from nbpkg.models.weights import load_strictly, read_state
from nbpkg.settings.people import PeopleNetworkSettings
from nbpkg.training.people.material import PeopleFacts

WITHOUT = "without_"
FULL = "full"
_TAKEN_OUT: Mapping[str, str] = MappingProxyType(
    {"no_memory": "memory", "no_cross_modal": "cross_modal", "no_cross_person": "cross_person"}
)


class Built(NamedTuple):
    """A network, in training mode, and one sentence about the weights that it begins with."""

    network: nn.Module
    weights: str


def is_painted(name: str) -> bool:
    """Tell whether a network over skeletons sees them as maps of heat."""
    return find_name(name).startswith("posec3d")


def check_variant(settings: PeopleNetworkSettings, variant: str, facts: PeopleFacts) -> None:
    """Refuse a variant that a network does not have.

    Raises
    ------
    SettingsError
        Saying which there are.
    """
    known, family = [FULL], family_of(settings.name)
    if family == "conversation":
        known += _TAKEN_OUT
    if family in ("conversation", "steps") and len(facts.widths) > 1:
        known += [f"{WITHOUT}{name}" for name in sorted(facts.widths)]
    if variant not in known:
        raise SettingsError(
            f"{settings.name} has no variant {variant!r}.",
            expected=f"One of {', '.join(known)}.",
            remedy="Correct train.crossval.variants or train.final.variant.",
        )


def keep_widths(variant: str, facts: PeopleFacts) -> dict[str, int]:
    """Return the widths of the modalities that a variant looks at, by name."""
    left_out = variant.removeprefix(WITHOUT) if variant.startswith(WITHOUT) else ""
    return {name: width for name, width in sorted(facts.widths.items()) if name != left_out}


def build_people_network(
    settings: PeopleNetworkSettings, *, variant: str, facts: PeopleFacts, seed: int, data: Path | None = None
) -> Built:
    """Build a network over people.

    Parameters
    ----------
    settings
        Which network, how large, and what it begins with.
    variant
        ``full``; ``no_memory``, ``no_cross_modal`` and ``no_cross_person`` for ``cpm_t``; ``without_<modality>`` for it
        and ``multipar_t``.
    facts
        Classes, widths, places of people.
    seed
        Of random weights; torch's own generator stays as it is.
    data
        Data folder, in which a file of weights is named.

    Returns
    -------
    Built
        In training mode, on the CPU.

    Raises
    ------
    SettingsError
        When there is no such network, variant or size.
    WeightsError
        When weights are missing or do not fit. The last layer, which depends on the classes, is always new.
    """
    check_variant(settings, variant, facts)
    family, name = family_of(settings.name), find_name(settings.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "network", name))
        if family == "conversation":
            network: nn.Module = _build_cpm(settings, variant, facts)
        elif family == "steps":
            network = _build_multipar(settings, variant, facts)
        elif name in SKELETONS:
            network = _build_skeleton(settings, name, facts)
        else:
            network = _build_rgb(settings, name, facts, seed=seed, data=data)
    return Built(network.train(), _begin(network, settings, family=family, name=name, data=data))


def _build_cpm(settings: PeopleNetworkSettings, variant: str, facts: PeopleFacts) -> nn.Module:
    without = (variant.removeprefix(WITHOUT),) if variant.startswith(WITHOUT) else ()
    given = _pick(settings, {"roles": 8})
    options = MemoryTransformerOptions(
        width=settings.width,
        heads=settings.heads,
        modal_layers=settings.modal_layers,
        memory_layers=settings.memory_layers,
        person_layers=settings.person_layers,
        memory_tokens=settings.memory_tokens,
        dropout=settings.dropout,
        roles=max(given["roles"], facts.places),
        without=without,
        **{field: False for name, field in _TAKEN_OUT.items() if name == variant},  # type: ignore[arg-type]
    )
    return CrossPersonMemoryTransformer(facts.widths, len(facts.classes), options=options)


def _build_multipar(settings: PeopleNetworkSettings, variant: str, facts: PeopleFacts) -> nn.Module:
    given = _pick(settings, {"width": WIDTH, "layers": LAYERS})
    features, people = sum(keep_widths(variant, facts).values()), max(facts.places, 2)
    return MultiparT(features, len(facts.classes), width=given["width"], people=people, layers=given["layers"])


def _build_skeleton(settings: PeopleNetworkSettings, name: str, facts: PeopleFacts) -> nn.Module:
    given = _pick(settings, {"width": None, "blocks": None, "distances": "capped"})
    return build_skeleton_network(
        name,  # type: ignore[arg-type]
        classes=len(facts.classes),
        persons=facts.places,
        width=given["width"],
        blocks=given["blocks"],
        distances=given["distances"],
    )


def _build_rgb(
    settings: PeopleNetworkSettings, name: str, facts: PeopleFacts, *, seed: int, data: Path | None
) -> nn.Module:
    known = find_rgb_network(name)
    given = _pick(settings, dict.fromkeys(item.name for item in fields(RgbOptions)))
    own = {"frames": settings.frames, "segments": settings.frames, "size": settings.size}
    options: dict[str, Any] = {name: value for name, value in own.items() if name in known.options} | {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if value is not None
    }
    weights: str | Path = "none"
    if name in ENCODERS:
        weights = settings.weights if _is_named(settings.weights) else _find_file(settings.weights, data)
    return build_rgb_network(
        name, classes=len(facts.classes), seed=seed, options=RgbOptions(**options), weights=weights
    )


def _begin(network: nn.Module, settings: PeopleNetworkSettings, *, family: Family, name: str, data: Path | None) -> str:
    """Load weights that are asked for, and say which."""
    weights = settings.weights
    if weights == "none":
        return "random weights"
    if name in ENCODERS:
        return f"weights {weights}; the last layer is new"
    if weights in IMAGENET:
        table = load_imagenet(network, weights)
    elif family in ("conversation", "steps"):
        path = _find_file(weights, data)
        load_strictly(network, read_state(path), what=f"a network {name}", where=str(path))
        return f"weights {weights}"
    else:
        table = load_mm_checkpoint(network, _find_file(weights, data), skip_head=True)
    loaded, new = int(table["loaded"].sum()), int(table["initial"].sum())
    return f"{loaded} entries of {weights}; {new} are new, the last layer among them"


def _is_named(weights: str) -> bool:
    return not Path(weights).suffix


def _find_file(weights: str, data: Path | None) -> Path:
    if data is None:
        raise SettingsError(
            f"train.network.weights names the file {weights}, but there is no data folder.",
            remedy="Set the data folder, or the weights to 'none'.",
        )
    path = data / weights
    if not path.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"train.network.weights {weights!r} lies outside the data folder.",
            expected=f"A file below {data}.",
            remedy="Copy it there, and name it relative to the data folder.",
        )
    return path


def _pick(settings: PeopleNetworkSettings, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with what stands in the settings; refuse what a network does not have."""
    strange = sorted(set(settings.options) - set(known))
    if strange:
        raise SettingsError(
            f"train.network.options of {settings.name} has {', '.join(strange)}.",
            expected=f"Some of {', '.join(sorted(known))}.",
            remedy="Correct train.network.options.",
        )
    return {**known, **settings.options}
