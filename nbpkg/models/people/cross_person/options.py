"""How large the cross-person memory transformer is, what it answers, and what is taken out of it to see its worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from nbpkg.errors import Problem, SettingsError, raise_all

Target = Literal["joint", "person"]
_NOT_NAMES = frozenset(dir(nn.ModuleDict())) | frozenset(dir(nn.ParameterDict()))


@dataclass(frozen=True)
class MemoryTransformerOptions:
    """Sizes, target and ablations.

    Parameters
    ----------
    width
        Of every token inside; even, and a multiple of `heads`.
    heads
        Of every attention.
    modal_layers, memory_layers, person_layers
        Layers across modalities, with the memory, and across people.
    memory_tokens
        Tokens in which a person's past is kept.
    dropout
        Share dropped in training.
    roles
        How many roles there are at most.
    target
        ``joint``: one answer for all who are present; ``person``: one for each.
    memory
        False: the memory stays what every recording begins with, so that windows know nothing of each other.
    cross_modal
        False: tokens of a modality attend to their own modality only.
    cross_person
        False: nobody attends to anybody else.
    without
        Modalities that are left out, though the data have them.

    Raises
    ------
    SettingsError
        Listing every value that cannot be used.
    """

    width: int = 128
    heads: int = 8
    modal_layers: int = 2
    memory_layers: int = 2
    person_layers: int = 2
    memory_tokens: int = 16
    dropout: float = 0.1
    roles: int = 8
    target: Target = "joint"
    memory: bool = True
    cross_modal: bool = True
    cross_person: bool = True
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in _COUNTS}
        problems = [
            Problem(f"{name} is {value}.", expected="A whole number from 1.")
            for name, value in counts.items()
            if isinstance(value, bool) or not isinstance(value, int) or value < 1
        ]
        if not problems and (self.width % 2 or self.width % self.heads):
            text = f"A width of {self.width} cannot be shared among {self.heads} heads and halved for positions."
            problems.append(Problem(text, expected="An even multiple of heads."))
        if isinstance(self.dropout, bool) or not 0 <= self.dropout < 1:
            problems.append(Problem(f"dropout is {self.dropout}.", expected="A share from 0, below 1."))
        if self.target not in get_args(Target):
            problems.append(Problem(f"target is {self.target!r}.", expected="joint or person."))
        raise_all(problems, SettingsError, summary="sizes of the network cannot be used.")


_COUNTS = ("width", "heads", "modal_layers", "memory_layers", "person_layers", "memory_tokens", "roles")


def choose_modalities(widths: Mapping[str, int], *, without: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Choose the modalities of a network and check that it can be built for them.

    Parameters
    ----------
    widths
        Features per token of each modality of the data.
    without
        Which to leave out.

    Returns
    -------
    tuple of str
        In the order of their names.

    Raises
    ------
    SettingsError
        When none is left, one to leave out is unknown, or a name or width cannot be used.
    """
    problems = [
        Problem(f"{name!r} is to be left out.", expected=f"One of {', '.join(sorted(widths))}.")
        for name in without
        if name not in widths
    ]
    kept = tuple(sorted(set(widths) - set(without)))
    if not kept:
        problems.append(Problem("No modality is left.", expected="At least one, e.g. video."))
    problems += [
        Problem(f"{name!r} cannot name a modality.", expected="Letters, digits and single underscores, e.g. audio.")
        for name in kept
        if not name.isidentifier() or "__" in name or name in _NOT_NAMES
    ]
    problems += [
        Problem(f"Modality {name!r} has the width {widths[name]}.", expected="At least one feature.")
        for name in kept
        if widths[name] < 1
    ]
    raise_all(problems, SettingsError, summary="modalities cannot be used.")
    return kept
