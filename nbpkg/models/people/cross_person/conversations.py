"""What networks over several people read: tokens by recording, window, person and modality, with what is there.

A recording is cut into windows; in a window, each person has a sequence of tokens (features of a few frames of picture,
pose or sound) of each modality. Whatever is missing, is said by flags and never by values: a token, a modality, a
person, a whole window, or a recording that is shorter than others of its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional as F

from nbpkg.errors import Problem, TableError, raise_all


class Conversations(NamedTuple):
    """Recordings of several people, some windows of each.

    Parameters
    ----------
    tokens
        Modality to features, float32 ``[B, K, P, L, D]``: recordings, windows in order, people, tokens, features. L and
        D differ between modalities. Where `valid` is false, values do not matter, be they not-a-number.
    valid
        Modality to flags, bool ``[B, K, P, L]``.
    roles
        Role of each person, whole numbers from 0 (parent, child, others), ``[B, P]``; any where nobody is.
    """

    tokens: Mapping[str, torch.Tensor]
    valid: Mapping[str, torch.Tensor]
    roles: torch.Tensor

    @property
    def size(self) -> tuple[int, int, int]:
        """Recordings, windows and people."""
        shape = next(iter(self.valid.values())).shape
        return shape[0], shape[1], shape[2]

    def find_present(self) -> torch.Tensor:
        """Return flags ``[B, K, P]``: who has a token in which window."""
        return torch.stack([flags.any(dim=-1) for flags in self.valid.values()]).any(dim=0)

    def take(self, windows: slice, rows: torch.Tensor | None = None) -> Conversations:
        """Return some windows, of the recordings ``rows`` (numbers) or of all."""
        tokens = {name: item[:, windows] for name, item in self.tokens.items()}
        valid = {name: item[:, windows] for name, item in self.valid.items()}
        if rows is None:
            return Conversations(tokens, valid, self.roles)
        tokens = {name: item[rows] for name, item in tokens.items()}
        return Conversations(tokens, {name: item[rows] for name, item in valid.items()}, self.roles[rows])

    def to(self, device: torch.device | str) -> Conversations:
        """Return all of it on a device."""
        tokens = {name: item.to(device) for name, item in self.tokens.items()}
        valid = {name: item.to(device) for name, item in self.valid.items()}
        return Conversations(tokens, valid, self.roles.to(device))


def pad_conversations(recordings: Sequence[Conversations]) -> Conversations:
    """Join recordings of different lengths, people and modalities to one batch.

    Parameters
    ----------
    recordings
        Each with any number of rows; windows, people and tokens are padded at the end to the longest.

    Returns
    -------
    Conversations
        What was padded is not valid; a modality that a recording lacks, is missing there throughout.

    Raises
    ------
    TableError
        When there is none, or they disagree about a modality's width.
    """
    problems = _find_unequal(recordings)
    raise_all(problems, TableError, summary="recordings cannot be joined.")
    windows, people = (max(one.size[axis] for one in recordings) for axis in (1, 2))
    names = sorted({name for one in recordings for name in one.tokens})
    tokens, valid = {}, {}
    for name in names:
        known = next(one.tokens[name] for one in recordings if name in one.tokens)
        length = max(one.tokens[name].shape[3] for one in recordings if name in one.tokens)
        room = (windows, people, length)
        filled = [_fill(one, name, known) for one in recordings]
        tokens[name] = torch.cat([_pad(item, room, after=1) for item, _ in filled])
        valid[name] = torch.cat([_pad(flags, room, after=0) for _, flags in filled])
    roles = torch.cat([F.pad(one.roles, (0, people - one.roles.shape[1])) for one in recordings])
    return Conversations(tokens, valid, roles)


def find_faults(batch: Conversations) -> list[Problem]:
    """Say where shapes of a batch contradict each other.

    Parameters
    ----------
    batch
        Tokens, flags and roles.

    Returns
    -------
    list of Problem
        Empty for a batch that holds together.
    """
    if not batch.tokens or set(batch.tokens) != set(batch.valid):
        text = f"Tokens are of {_list(batch.tokens)}, flags of {_list(batch.valid)}."
        return [Problem(text, expected="The same modalities, at least one.")]
    faults = [name for name, flags in batch.valid.items() if flags.ndim != 4 or not all(flags.shape[:3])]
    if faults:
        text = f"Flags of {_list(faults)} are {_list([str(tuple(batch.valid[name].shape)) for name in faults])}."
        return [Problem(text, expected="[B, K, P, L], at least one recording, window and person.")]
    size = batch.size
    problems = [
        Problem(f"Tokens of {name} are {tuple(item.shape)}, their flags {tuple(batch.valid[name].shape)}.", _SHAPES)
        for name, item in batch.tokens.items()
        if item.ndim != 5 or item.shape[:4] != batch.valid[name].shape or tuple(item.shape[:3]) != size
    ]
    problems += [
        Problem(f"Flags of {name} are {item.dtype}.", expected="bool.")
        for name, item in batch.valid.items()
        if item.dtype != torch.bool
    ]
    if tuple(batch.roles.shape) != (size[0], size[2]):
        problems.append(Problem(f"Roles are {tuple(batch.roles.shape)}.", expected=f"{(size[0], size[2])}."))
    return problems


_SHAPES = "[B, K, P, L, D] and [B, K, P, L], B, K and P the same for all modalities."


def _find_unequal(recordings: Sequence[Conversations]) -> list[Problem]:
    if not recordings:
        return [Problem("There is no recording.", expected="At least one.")]
    problems = [problem for one in recordings for problem in find_faults(one)]
    if problems:
        return problems
    widths: dict[str, set[int]] = {}
    for one in recordings:
        for name, item in one.tokens.items():
            widths.setdefault(name, set()).add(item.shape[-1])
    return [
        Problem(f"Tokens of {name} have {_list(sorted(map(str, found)))} features.", expected="As many in all.")
        for name, found in widths.items()
        if len(found) > 1
    ]


def _fill(one: Conversations, name: str, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens and flags of a modality; of one that is not there, a single token that is not valid."""
    if name in one.tokens:
        return one.tokens[name], one.valid[name]
    shape = (*one.size, 1)
    return known.new_zeros(*shape, known.shape[-1]), one.roles.new_zeros(shape, dtype=torch.bool)


def _pad(item: torch.Tensor, room: tuple[int, ...], *, after: int) -> torch.Tensor:
    """Pad the dimensions behind the first at their ends, but for the last `after`."""
    missing = [large - small for large, small in zip(room, item.shape[1:], strict=False)]
    return F.pad(item, [0, 0] * after + [part for count in reversed(missing) for part in (0, count)])


def _list(names: object) -> str:
    return ", ".join(names) if isinstance(names, Mapping | list) and names else "none"
