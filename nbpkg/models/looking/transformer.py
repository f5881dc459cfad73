"""GazePose's transformer: norms before each part, positions beside the content, as in DETR."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class EncoderLayer(nn.Module):
    """Places of a map look at each other.

    Parameters
    ----------
    width, heads
        Of a token, and of the attention.
    feedforward
        Width between both linear layers.
    dropout
        Share dropped in training.
    """

    def __init__(self, width: int, heads: int, *, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Change tokens ``[B, N, width]`` that lie at places ``[1, N, width]``."""
        normed = self.norm1(tokens)
        placed = normed + places
        tokens = tokens + self.dropout(self.self_attn(placed, placed, normed, need_weights=False)[0])
        inner = self.dropout(F.relu(self.linear1(self.norm2(tokens))))
        changed: torch.Tensor = tokens + self.dropout(self.linear2(inner))
        return changed


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the places of a map.

    Parameters
    ----------
    width, heads, feedforward, dropout
        As for `EncoderLayer`.
    """

    def __init__(self, width: int, heads: int, *, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, tokens: torch.Tensor, memory: torch.Tensor, places: torch.Tensor, queries: torch.Tensor
    ) -> torch.Tensor:
        """Change tokens ``[B, Q, width]`` of queries by what is in memory ``[B, N, width]``."""
        normed = self.norm1(tokens)
        asked = normed + queries
        tokens = tokens + self.dropout(self.self_attn(asked, asked, normed, need_weights=False)[0])
        asked = self.norm2(tokens) + queries
        seen = self.multihead_attn(asked, memory + places, memory, need_weights=False)[0]
        tokens = tokens + self.dropout(seen)
        inner = self.dropout(F.relu(self.linear1(self.norm3(tokens))))
        changed: torch.Tensor = tokens + self.dropout(self.linear2(inner))
        return changed


class Encoder(nn.Module):
    """Encoder layers and a norm.

    Parameters
    ----------
    layers
        How many.
    width, heads, feedforward, dropout
        As for `EncoderLayer`.
    """

    def __init__(self, layers: int, width: int, *, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, feedforward=feedforward, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Turn tokens ``[B, N, width]`` into a memory of the same shape."""
        for layer in self.layers:
            tokens = layer(tokens, places)
        memory: torch.Tensor = self.norm(tokens)
        return memory


class Decoder(nn.Module):
    """Decoder layers and a norm.

    Parameters
    ----------
    layers, width, heads, feedforward, dropout
        As for `Encoder`.
    """

    def __init__(self, layers: int, width: int, *, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feedforward=feedforward, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, memory: torch.Tensor, places: torch.Tensor, queries: torch.Tensor
    ) -> torch.Tensor:
        """Turn tokens ``[B, Q, width]`` into answers of the same shape."""
        for layer in self.layers:
            tokens = layer(tokens, memory, places, queries)
        answers: torch.Tensor = self.norm(tokens)
        return answers


class Transformer(nn.Module):
    """Encoder and decoder.

    Parameters
    ----------
    width, heads, feedforward, dropout
        As for `Encoder`.
    encoder_layers, decoder_layers
        How many.

    Notes
    -----
    Matrices start as Xavier uniform.

    Source: Carion et al., ECCV 2020 (DETR), with norms before each part.
    """

    def __init__(
        self, width: int, *, heads: int, feedforward: int, encoder_layers: int, decoder_layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = Encoder(encoder_layers, width, heads=heads, feedforward=feedforward, dropout=dropout)
        self.decoder = Decoder(decoder_layers, width, heads=heads, feedforward=feedforward, dropout=dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self, maps: torch.Tensor, places: torch.Tensor, queries: torch.Tensor, start: torch.Tensor
    ) -> torch.Tensor:
        """Answer queries about maps.

        Parameters
        ----------
        maps
            ``[B, width, h, w]``.
        places
            ``[width, h, w]``, see `place_sines`.
        queries
            ``[B, Q, width]``.
        start
            ``[Q, width]``, what the answers begin as.

        Returns
        -------
        torch.Tensor
            ``[B, Q, width]``.
        """
        spots = places.flatten(1).T[None].to(maps.dtype)
        memory = self.encoder(maps.flatten(2).transpose(1, 2), spots)
        answers: torch.Tensor = self.decoder(start.expand(len(maps), -1, -1), memory, spots, queries)
        return answers
