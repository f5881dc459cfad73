"""The cross-person memory transformer (CPM-T): several people, several modalities, and what happened before.

Source: only abstracts of the published model could be read (arXiv 2305.12369; ICMI 2023, doi 10.1145/3577190.3614122):
memory modules carry context from window to window, cross-modal attention aligns modalities, cross-person attention
aligns people. All else is our own choice, kept close to Multipar-T of the same laboratory.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import torch
from torch import nn

from nbpkg.errors import Problem, SettingsError, WeightsError, raise_all
from nbpkg.models.people.cross_person.blocks import Encoder, Spread, make_positions
from nbpkg.models.people.cross_person.conversations import Conversations, find_faults
from nbpkg.models.people.cross_person.options import MemoryTransformerOptions, choose_modalities

STANDARD_DEVIATION = 0.02  # of learnt vectors at the start


class Answer(NamedTuple):
    """What the network says, and what it keeps in mind.

    Parameters
    ----------
    logits
        Target ``joint``: ``[B, K, C]``; ``person``: ``[B, K, P, C]``. Of a window without any token it means nothing.
    memory
        After the last window ``[B, P, memory_tokens, width]``, attached to the graph.
    """

    logits: torch.Tensor
    memory: torch.Tensor


class CrossPersonMemoryTransformer(nn.Module):
    """CPM-T.

    Parameters
    ----------
    widths
        Features per token of each modality.
    classes
        How many.
    options
        Sizes, target, ablations.

    Raises
    ------
    SettingsError
        When the network cannot be built for these modalities or classes.

    Notes
    -----
    Entries ``proj.{m}``, ``mod_embed.{m}``, ``role_embed``, ``cm.{a}__{b}`` (queries of a, keys of b), ``mem``,
    ``gate``, ``mem_init``, ``cp``, ``head.0``, ``head.3``; parts that an ablation leaves idle are not there. All people
    and pairs of people share weights, so that any number of people will do.

    People, pairs and windows are worked out together; one by one are only windows within the memory's encoder, each of
    which needs the memory of the one before.
    """

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, options: MemoryTransformerOptions | None = None
    ) -> None:
        super().__init__()
        options = options or MemoryTransformerOptions()
        self.options, self.modalities = options, choose_modalities(widths, without=options.without)
        if classes < 1:
            raise SettingsError(f"The network has {classes} classes.", expected="At least 1.", remedy="Name classes.")
        self.classes, self.widths = classes, {name: int(widths[name]) for name in self.modalities}
        width, heads, drop = options.width, options.heads, options.dropout
        self.mem_init = nn.Parameter(torch.randn(options.memory_tokens, width) * STANDARD_DEVIATION)
        self.proj = nn.ModuleDict({name: nn.Linear(widths[name], width) for name in self.modalities})
        self.mod_embed = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(width) * STANDARD_DEVIATION) for name in self.modalities}
        )
        self.role_embed = nn.Embedding(options.roles, width)
        nn.init.normal_(self.role_embed.weight, std=STANDARD_DEVIATION)
        crossed = options.cross_modal and len(self.modalities) > 1
        self.pairs = list(permutations(self.modalities, 2)) if crossed else [(name, name) for name in self.modalities]
        self.cm = nn.ModuleDict(
            {_name(pair): Encoder(width, heads, layers=options.modal_layers, dropout=drop) for pair in self.pairs}
        )
        self.mem = Encoder(width, heads, layers=options.memory_layers, dropout=drop)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(drop), nn.Linear(width, classes))
        if options.memory:
            self.gate = nn.Linear(2 * width, width)
        if options.cross_person:
            self.cp = Encoder(width, heads, layers=options.person_layers, dropout=drop)

    def forward(self, batch: Conversations, memory: torch.Tensor | None = None) -> Answer:
        """Answer windows that follow each other.

        Parameters
        ----------
        batch
            Tokens ``[B, K, P, L, D]``, flags and roles; modalities that the network does not know are not looked at,
            and one that is not there is missing throughout.
        memory
            What was kept in mind after the window before the first; None at the beginning of recordings.

        Returns
        -------
        Answer
            Logits of every window, and the memory after the last.

        Raises
        ------
        WeightsError
            When the batch does not fit the network or contradicts itself.
        """
        self._check(batch, memory)
        rows, _, people = batch.size
        if memory is None:
            memory = self.mem_init.expand(rows, people, -1, -1)
        tokens, seen = self._embed(batch)
        tokens, memories, memory = self._remember(tokens, seen, memory)
        if self.options.cross_person and people > 1:
            tokens = tokens + self._attend_to_others(tokens, seen)
        share = seen / seen.sum(dim=-1, keepdim=True).clamp(min=1)
        felt = torch.cat([(share[..., None, :].to(tokens.dtype) @ tokens)[..., 0, :], memories.mean(dim=-2)], dim=-1)
        if self.options.target == "joint":
            present = seen.any(dim=-1)
            share = present / present.sum(dim=-1, keepdim=True).clamp(min=1)
            felt = (share[..., None].to(felt.dtype) * felt).sum(dim=-2)
        return Answer(self.head(felt), memory)

    def _embed(self, batch: Conversations) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens of all modalities, each informed by the others, ``[B, K, P, L, d]``, and flags."""
        rows, windows, people = batch.size
        roles = self.role_embed(batch.roles)[:, None, :, None]
        tokens, seen = {}, {}
        for name in self.modalities:
            values, flags = self._take(batch, name)
            place = make_positions(values.shape[3], self.options.width, self.mem_init) + self.mod_embed[name]
            embedded = self.proj[name](values.masked_fill(~flags[..., None], 0.0)) + place + roles
            tokens[name], seen[name] = embedded.flatten(0, 2), flags.flatten(0, 2)
        informed = []
        for name in self.modalities:
            found = [
                self.cm[_name((own, other))](tokens[own], None if other == own else tokens[other], seen=seen[other])
                for own, other in self.pairs
                if own == name
            ]
            informed.append(found[0] if len(found) == 1 else torch.stack(found).mean(dim=0))
        together = (torch.cat(informed, dim=1), torch.cat([seen[name] for name in self.modalities], dim=1))
        joined, flags = (item.unflatten(0, (rows, windows, people)) for item in together)
        return joined, flags

    def _take(self, batch: Conversations, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return values and flags; of a modality that is not there, one token that is not valid."""
        if name in batch.tokens and batch.tokens[name].shape[3]:
            return batch.tokens[name], batch.valid[name]
        shape = (*batch.size, 1)
        return self.mem_init.new_zeros(*shape, self.widths[name]), batch.roles.new_zeros(shape, dtype=torch.bool)

    def _remember(
        self, tokens: torch.Tensor, seen: torch.Tensor, memory: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return tokens that know the past, the memory in each window ``[B, K, P, n, d]``, and the last one."""
        if not self.options.memory:
            first = self.mem_init.expand(*seen.shape[:3], -1, -1)
            return self._recall(first, tokens, seen)[1], first, memory
        present = seen.any(dim=-1)[..., None, None]
        found, memories = [], []
        for window in range(tokens.shape[1]):
            candidate, informed = self._recall(memory, tokens[:, window], seen[:, window])
            gate = torch.sigmoid(self.gate(torch.cat([memory, candidate], dim=-1)))
            memory = torch.where(present[:, window], torch.lerp(memory, candidate, gate), memory)
            found.append(informed)
            memories.append(memory)
        return torch.stack(found, dim=1), torch.stack(memories, dim=1), memory

    def _recall(
        self, memory: torch.Tensor, tokens: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let memory and tokens attend to each other; leading dimensions are those of `seen` but the last."""
        count, leading = memory.shape[-2], seen.shape[:-1]
        flags = torch.cat([seen.new_ones(*leading, count), seen], dim=-1).flatten(0, -2)
        both = self.mem(torch.cat([memory, tokens], dim=-2).flatten(0, -3), seen=flags).unflatten(0, leading)
        return both[..., :count, :], both[..., count:, :]

    def _attend_to_others(self, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return what each person's tokens learn from those of all others; 0 where nobody else is."""
        people = tokens.shape[2]
        spread = _deal_to_others(people, tokens.device)
        own, flags = tokens.flatten(0, 2), seen.flatten(0, 2)
        visible = spread(flags[..., None])[..., 0]
        learnt: torch.Tensor = self.cp(own, own, seen=visible, spread=spread)
        return (learnt * visible.any(dim=1)[:, None, None]).view_as(tokens)

    def _check(self, batch: Conversations, memory: torch.Tensor | None) -> None:
        problems = find_faults(batch) or self._compare(batch, memory)
        raise_all(problems, WeightsError, summary="the batch does not fit the network.")

    def _compare(self, batch: Conversations, memory: torch.Tensor | None) -> list[Problem]:
        """Compare a batch that holds together with the network."""
        found = {name: batch.tokens[name].shape[-1] for name in self.modalities if name in batch.tokens}
        if not found:
            names = ", ".join(self.modalities)
            return [Problem("The batch has no modality of the network.", expected=f"At least one of {names}.")]
        problems = [
            Problem(f"Tokens of {name} have {width} features.", expected=f"{self.widths[name]}.")
            for name, width in found.items()
            if width != self.widths[name]
        ]
        if batch.roles.numel() and not 0 <= int(batch.roles.min()) <= int(batch.roles.max()) < self.options.roles:
            text = f"Roles are from {int(batch.roles.min())} to {int(batch.roles.max())}."
            problems.append(Problem(text, expected=f"From 0 to {self.options.roles - 1}."))
        kept = (batch.size[0], batch.size[2], *self.mem_init.shape)
        if memory is not None and tuple(memory.shape) != kept:
            problems.append(Problem(f"The memory is {tuple(memory.shape)}.", expected=f"{kept}."))
        return problems


def _name(pair: tuple[str, str]) -> str:
    return "__".join(pair)


def _deal_to_others(people: int, device: torch.device) -> Spread:
    """Return what deals tokens of each person ``[N * P, L, D]`` to all others ``[N * P, (P - 1) * L, D]``."""
    others = torch.tensor([[other for other in range(people) if other != own] for own in range(people)], device=device)

    def spread(items: torch.Tensor) -> torch.Tensor:
        dealt: torch.Tensor = items.unflatten(0, (-1, people))[:, others]  # type: ignore[no-untyped-call]
        return dealt.flatten(2, 3).flatten(0, 1)

    return spread
