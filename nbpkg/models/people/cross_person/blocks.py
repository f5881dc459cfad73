"""Attention that does without what is not there, and the encoder made of it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import SettingsError

INNER = 4  # times as wide between the two linear layers
Spread = Callable[[torch.Tensor], torch.Tensor]


class Attention(nn.Module):
    """Attention with one packed projection, bias included.

    Parameters
    ----------
    width
        Of a token.
    heads
        Number of heads, a divisor of `width`.

    Raises
    ------
    SettingsError
        When `heads` does not divide `width`.

    Notes
    -----
    Entries ``in_proj_weight``, ``in_proj_bias`` and ``out_proj``, initial weights and answers are those of
    `torch.nn.MultiheadAttention`. A row whose every key is hidden gets 0, bias included, instead of not-a-number.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise SettingsError(
                f"A width of {width} cannot be shared among {heads} heads.",
                expected="A multiple of heads.",
                remedy="Change one of them.",
            )
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: torch.Tensor,
        context: torch.Tensor | None = None,
        *,
        seen: torch.Tensor | None = None,
        spread: Spread | None = None,
        hidden: torch.Tensor | None = None,
        dropout: float = 0.0,
    ) -> torch.Tensor:
        """Attend.

        Parameters
        ----------
        query
            ``[N, L, width]``.
        context
            What is attended to, ``[N, S, width]``; None for the query itself.
        seen
            Flags ``[N, R]`` of what may be attended to, after `spread`; None for all.
        spread
            Deals keys and values ``[N, S, 2 * width]`` to the rows that see them, ``[N, R, 2 * width]``: projected
            once, they serve many rows. None: each row sees its own.
        hidden
            Flags ``[L, R]``, true where a query must not see a key, for all rows alike; not together with `seen`.
        dropout
            Share of the attention weights that is dropped.

        Returns
        -------
        torch.Tensor
            ``[N, L, width]``.
        """
        width = query.shape[-1]
        if context is None:
            own, others = F.linear(query, self.in_proj_weight, self.in_proj_bias).split([width, 2 * width], dim=-1)
        else:
            weights, biases = (part.split([width, 2 * width]) for part in (self.in_proj_weight, self.in_proj_bias))
            own, others = F.linear(query, weights[0], biases[0]), F.linear(context, weights[1], biases[1])
        others = others if spread is None else spread(others)
        queries = own.unflatten(2, (self.heads, -1)).transpose(1, 2)
        keys, values = others.unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if seen is None:
            mask = None if hidden is None else ~hidden
            return self._join(F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout))
        some = seen.any(dim=1)[:, None]
        mask = (seen | ~some)[:, None, None]  # a row that sees nothing sees all, so that no gradient is not-a-number
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        return self._join(mixed) * some[..., None]

    def _join(self, mixed: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return joined


class Layer(nn.Module):
    """Attention to the context, then two linear layers with an exact GELU, each normed before and added.

    Parameters
    ----------
    width, heads
        As for `Attention`.
    dropout
        Share dropped in training.

    Notes
    -----
    Entries ``norm_q``, ``norm_kv`` (idle in self-attention), ``norm_f``, ``attn``, ``ff1``, ``ff2``.
    """

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.norm_q, self.norm_kv, self.norm_f = (nn.LayerNorm(width) for _ in range(3))
        self.attn = Attention(width, heads)
        self.ff1, self.ff2 = nn.Linear(width, INNER * width), nn.Linear(INNER * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(
        self,
        query: torch.Tensor,
        context: torch.Tensor | None = None,
        *,
        seen: torch.Tensor,
        spread: Spread | None = None,
    ) -> torch.Tensor:
        """Transform the query ``[N, L, width]``; parameters as for `Attention.forward`."""
        normed = None if context is None else self.norm_kv(context)
        query = query + self.drop(self.attn(self.norm_q(query), normed, seen=seen, spread=spread))
        inner = self.drop(F.gelu(self.ff1(self.norm_f(query))))
        transformed: torch.Tensor = query + self.drop(self.ff2(inner))
        return transformed


class Encoder(nn.Module):
    """Layers that attend to the same context, or to themselves, and a norm.

    Parameters
    ----------
    width, heads, dropout
        As for `Layer`.
    layers
        How many.

    Notes
    -----
    Entries ``layers.{i}`` and ``norm``.
    """

    def __init__(self, width: int, heads: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        query: torch.Tensor,
        context: torch.Tensor | None = None,
        *,
        seen: torch.Tensor,
        spread: Spread | None = None,
    ) -> torch.Tensor:
        """Transform the query ``[N, L, width]``; parameters as for `Attention.forward`."""
        for layer in self.layers:
            query = layer(query, context, seen=seen, spread=spread)
        normed: torch.Tensor = self.norm(query)
        return normed


def make_positions(length: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """Return the codes of positions 0, 1, ..., sines and cosines in turn, ``[length, width]``.

    Parameters
    ----------
    length
        How many.
    width
        Of a code, even.
    like
        A tensor of the device and type wanted.

    Examples
    --------
    >>> make_positions(2, 2, torch.zeros(1)).tolist()
    [[0.0, 1.0], [0.8414709568023682, 0.5403022766113281]]
    """
    times = torch.arange(length, dtype=torch.float64)  # on the CPU: not every GPU has such numbers
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = times[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).to(like)
