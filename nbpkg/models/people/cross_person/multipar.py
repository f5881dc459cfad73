"""Multipar-T: each of several people as the others attend to them, and a recurrent layer over time.

Source: dondongwon/Multipar-T (Lee et al., IJCAI 2023), ``layers.py`` and ``model.py``, rewritten: same entries, same
answers of its encoder. Its model ran the recurrent layer over the samples of a batch instead of over time, so that
each answer hung on its neighbours in the batch; here it runs over time, and ``compat="reference"`` does it again, to
compare.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.people.cross_person.blocks import INNER, Attention

LAYERS, HEADS = 5, 5
DROPOUT, EMBEDDING_DROPOUT = 0.1, 0.25
FEATURES, WIDTH, PEOPLE = 2183, 100, 5  # 135 of OpenFace and 2048 of a ResNet; four students and a teacher
Compat = Literal["none", "reference"]


def tabulate_positions(count: int, width: int) -> torch.Tensor:
    """Return the codes of positions 0 to count - 1, ``[count, width]``: half sines, half cosines.

    Parameters
    ----------
    count
        How many; position 0, of a step that is not there, has the code 0.
    width
        Of a code, at least 4; of an odd one the last place is 0.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float32) * (-math.log(10_000) / (half - 1)))
    angles = torch.arange(count, dtype=torch.float32)[:, None] * rates
    codes = F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))
    codes[0] = 0
    return codes


class CrossPersonEncoder(nn.Module):
    """Attention of one person's steps to another's, never to later ones.

    Parameters
    ----------
    width
        Of a step, at least 4.
    heads
        Of every attention, a divisor of `width`.
    layers
        How many, each of which reads the keys as they came in.

    Raises
    ------
    SettingsError
        When `heads` does not divide `width`, or positions cannot be told in so narrow a code.

    Notes
    -----
    Entries ``layers.{i}.{self_attn,fc1,fc2,layer_norms.{0,1}}`` and ``layer_norm``, beside ``version`` and
    ``embed_positions._float_tensor``, of which nothing depends and which files hold.

    A step whose first feature is exactly 0 counts as one that is not there and gets no position, as published.
    """

    version: torch.Tensor

    def __init__(self, width: int = WIDTH, *, heads: int = HEADS, layers: int = LAYERS) -> None:
        super().__init__()
        if width < 4:
            raise SettingsError(f"Steps are {width} wide.", expected="At least 4.", remedy="Choose a larger width.")
        self.width = width
        self.layers = nn.ModuleList(_CausalLayer(width, heads) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(width)
        self.embed_positions = _Marker()
        self.register_buffer("version", torch.tensor([2.0]))

    def forward(self, query: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Enrich one person's steps by another's.

        Parameters
        ----------
        query
            ``[T, B, width]``.
        context
            The other's steps ``[S, B, width]``, the same in every layer; None for the query's own, as each layer has
            made them.

        Returns
        -------
        torch.Tensor
            ``[T, B, width]``; a step t has seen those up to t + |T - S|.

        Raises
        ------
        WeightsError
            When widths or batches differ.
        """
        for item in (query, query if context is None else context):
            if item.ndim != 3 or item.shape[1:] != (query.shape[1], self.width):
                raise WeightsError(
                    f"The encoder got steps {tuple(item.shape)}.",
                    expected=f"[T, B, {self.width}], the same B for query and context.",
                    remedy="Project the features to this width first.",
                )
        steps, keys = self._embed(query), None if context is None else self._embed(context)
        length, others = len(query), len(query) if context is None else len(context)
        hidden = torch.ones(length, others, dtype=torch.bool, device=query.device)
        hidden = hidden.triu(1 + abs(others - length))
        for layer in self.layers:
            steps = layer(steps, keys, hidden=hidden)
        enriched: torch.Tensor = self.layer_norm(steps).transpose(0, 1)
        return enriched

    def _embed(self, steps: torch.Tensor) -> torch.Tensor:
        """Scale steps and tell their positions, ``[B, T, width]``."""
        there = (steps[..., 0] != 0).transpose(0, 1)
        numbers = torch.arange(1, len(steps) + 1, device=steps.device) * there
        codes = tabulate_positions(len(steps) + 1, self.width).to(steps)
        embedded = math.sqrt(self.width) * steps.transpose(0, 1) + codes[numbers]
        return F.dropout(embedded, EMBEDDING_DROPOUT, training=self.training)


class MultiparT(nn.Module):
    """Multipar-T: an answer for everybody but the last person.

    Parameters
    ----------
    features
        Of a person and step.
    classes
        How many.
    width
        To which features are projected; where they have it, they are taken as they are, as published.
    people
        How many, the one who gets no answer (the teacher) last.
    layers
        Of each encoder.
    compat
        ``reference``: the recurrent layer runs over the samples of a batch, as published by mistake.

    Raises
    ------
    SettingsError
        When there are not two people, or the width cannot be used.

    Notes
    -----
    Entries ``proj_p{i}``, ``trans_p{i}``, ``trans_p{j}_with_p{i}`` (queries of j, keys and values of i),
    ``trans_p{i}_mem`` and ``classify_layer``; people count from 1. The published projection of the last person was
    sized by the one before, which makes no difference to any weights.
    """

    def __init__(
        self,
        features: int = FEATURES,
        classes: int = 4,
        *,
        width: int = WIDTH,
        people: int = PEOPLE,
        layers: int = LAYERS,
        compat: Compat = "none",
    ) -> None:
        super().__init__()
        if people < 2:
            raise SettingsError(
                f"There are {people} people.", expected="At least two.", remedy="Use a network of one person."
            )
        self.features, self.width, self.people, self.compat = features, width, people, compat
        for person in range(1, people + 1):
            self.add_module(f"proj_p{person}", nn.Conv1d(features, width, 1, bias=False))
        joined = people * width
        for answered in range(1, people):
            for name in self._name_encoders(answered):
                self.add_module(name, CrossPersonEncoder(width, layers=layers))
            self.add_module(f"trans_p{answered}_mem", nn.LSTM(joined, joined, batch_first=True))
        self.classify_layer = nn.Linear(joined, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Answer for each person but the last.

        Parameters
        ----------
        features
            ``[B, people, T, features]``; published: 64 frames, eight a second.

        Returns
        -------
        torch.Tensor
            Logits ``[B, people - 1, classes]``.

        Raises
        ------
        WeightsError
            When the number of people or features is another.
        """
        if features.ndim != 4 or (features.shape[1], features.shape[3]) != (self.people, self.features):
            raise WeightsError(
                f"The features are {tuple(features.shape)}.",
                expected=f"[B, {self.people}, T, {self.features}].",
                remedy="Give every person's features, the one without an answer last.",
            )
        steps = [self._project(features[:, person], person + 1) for person in range(self.people)]
        states = [self._remember(steps, answered) for answered in range(1, self.people)]
        logits: torch.Tensor = self.classify_layer(torch.stack(states, dim=1))
        return logits

    def _name_encoders(self, answered: int) -> list[str]:
        """Name the encoders whose keys are one person's, in the order in which they are joined."""
        others = [person for person in range(1, self.people + 1) if person != answered]
        return [f"trans_p{answered}", *(f"trans_p{other}_with_p{answered}" for other in others)]

    def _project(self, features: torch.Tensor, person: int) -> torch.Tensor:
        """Return steps ``[T, B, width]``."""
        if self.features == self.width:
            return features.transpose(0, 1)
        projected: torch.Tensor = self.get_submodule(f"proj_p{person}")(features.transpose(1, 2))
        return projected.permute(2, 0, 1)

    def _remember(self, steps: list[torch.Tensor], answered: int) -> torch.Tensor:
        """Return the last state of one person's recurrent layer, ``[B, people * width]``."""
        own = steps[answered - 1]
        queries = [own, *(item for person, item in enumerate(steps, start=1) if person != answered)]
        names = self._name_encoders(answered)
        joined = torch.cat(
            [self.get_submodule(name)(query, own) for name, query in zip(names, queries, strict=True)], dim=2
        )
        memory = self.get_submodule(f"trans_p{answered}_mem")
        if self.compat == "reference":
            published: torch.Tensor = memory(joined)[0][-1]  # reads [T, B, .] as [B, T, .]: a step's samples in a row
            return published
        last: torch.Tensor = memory(joined.transpose(0, 1))[0][:, -1]
        return last


class _CausalLayer(nn.Module):
    """Attention and two linear layers; query, keys and values share a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, INNER * width), nn.Linear(INNER * width, width)
        for layer in (self.self_attn.out_proj, self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, steps: torch.Tensor, context: torch.Tensor | None, *, hidden: torch.Tensor) -> torch.Tensor:
        first, second = self.layer_norms
        keys = None if context is None else first(context)
        share = DROPOUT if self.training else 0.0
        attended = self.self_attn(first(steps), keys, hidden=hidden, dropout=share)
        steps = steps + F.dropout(attended, share)
        inner = self.fc2(F.dropout(F.relu(self.fc1(second(steps))), share))
        transformed: torch.Tensor = steps + F.dropout(inner, share)
        return transformed


class _Marker(nn.Module):
    """An entry of published files on which nothing depends."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_float_tensor", torch.zeros(1))
