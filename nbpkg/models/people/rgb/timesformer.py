"""TimeSformer: attention between the patches of all frames, at once or first over time and then over places."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, cast

import torch
from torch import nn
from torchvision.ops import StochasticDepth

from nbpkg.errors import SettingsError

PATCH, HEADS, EPS = 16, 12, 1e-6
DEEPEST_DROP = 0.1  # the share of samples for which the last layer is left out in training
Attention = Literal["joint", "divided"]


class _Attend(nn.Module):
    """Attention of tokens to each other, behind a normalisation of its own where it is divided."""

    def __init__(self, width: int, drop: float, *, normed: bool, in_time: bool = False) -> None:
        super().__init__()
        if normed:
            self.norm = nn.LayerNorm(width, eps=EPS)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.drop = StochasticDepth(drop, "row")
        if in_time:
            self.temporal_fc = nn.Linear(width, width)
            nn.init.zeros_(self.temporal_fc.weight)  # training begins with attention over places alone
            nn.init.zeros_(self.temporal_fc.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.drop(self.attn(tokens, tokens, tokens, need_weights=False)[0])
        return out


class _FeedForward(nn.Module):
    """Two linear layers, behind a normalisation of its own where attention is divided."""

    def __init__(self, width: int, drop: float, *, normed: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Linear(width, 4 * width), nn.GELU()), nn.Linear(4 * width, width))
        if normed:
            self.norm = nn.LayerNorm(width, eps=EPS)
        self.drop = StochasticDepth(drop, "row")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.drop(self.layers(tokens))
        return out


class JointLayer(nn.Module):
    """Attention between all patches of all frames, then two linear layers."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Attend(width, drop, normed=False)])
        self.ffns = nn.ModuleList([_FeedForward(width, drop, normed=False)])
        self.norms = nn.ModuleList([nn.LayerNorm(width, eps=EPS), nn.LayerNorm(width, eps=EPS)])

    def forward(self, tokens: torch.Tensor, frames: int) -> torch.Tensor:  # noqa: ARG002 - as the divided layer
        """Map tokens ``[B, 1 + patches * frames, D]`` to the same shape."""
        tokens = tokens + self.attentions[0](self.norms[0](tokens))
        out: torch.Tensor = tokens + self.ffns[0](self.norms[1](tokens))
        return out


class DividedLayer(nn.Module):
    """Attention of each patch to itself in all frames, then between the patches of each frame, then linear layers."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            [_Attend(width, drop, normed=True, in_time=True), _Attend(width, drop, normed=True)]
        )
        self.ffns = nn.ModuleList([_FeedForward(width, drop, normed=True)])

    def forward(self, tokens: torch.Tensor, frames: int) -> torch.Tensor:
        """Map tokens ``[B, 1 + patches * frames, D]``, time fastest, to the same shape."""
        tokens = self._over_places(self._over_time(tokens, frames), frames)
        feed = cast("_FeedForward", self.ffns[0])
        out: torch.Tensor = tokens + feed(feed.norm(tokens))
        return out

    def _over_time(self, tokens: torch.Tensor, frames: int) -> torch.Tensor:
        """Return tokens after attention over time; the class token takes no part."""
        part = cast("_Attend", self.attentions[0])
        patches = tokens[:, 1:]
        rows = part.norm(patches).unflatten(1, (-1, frames)).flatten(0, 1)
        change = part.temporal_fc(part(rows)).reshape(patches.shape)
        return torch.cat([tokens[:, :1], patches + change], dim=1)

    def _over_places(self, tokens: torch.Tensor, frames: int) -> torch.Tensor:
        """Return tokens after attention in each frame, to which the class token is added; it takes the mean of all."""
        part = cast("_Attend", self.attentions[1])
        samples, _, width = tokens.shape
        own = tokens[:, :1].unsqueeze(1).expand(-1, frames, -1, -1)
        patches = tokens[:, 1:].unflatten(1, (-1, frames)).transpose(1, 2)
        rows = torch.cat([own, patches], dim=2).flatten(0, 1)
        change = part(part.norm(rows)).unflatten(0, (samples, frames))
        patch_change = change[:, :, 1:].transpose(1, 2).reshape(samples, -1, width)
        return tokens + torch.cat([change[:, :, 0].mean(dim=1, keepdim=True), patch_change], dim=1)


class TimeSformer(nn.Module):
    """The TimeSformer network.

    Parameters
    ----------
    frames, size
        Length and side (pixels) of the clips, for which positions are learnt.
    depth
        Number of layers.
    width
        Length of a token, a multiple of 12.
    attention
        ``joint`` (all patches of all frames) or ``divided`` (over time, then over places).

    Raises
    ------
    SettingsError
        When frames do not divide into patches.

    Notes
    -----
    Takes clips float32 ``[B, 3, frames, size, size]``; gives features ``[B, width]``, those of the class token. Tokens
    behind it stand patch by patch, time fastest; ``grid`` is their number in frames, rows and columns.

    Source: Bertasius et al., ICML 2021; entries named as in mmaction2 0.24.
    """

    def __init__(
        self, *, frames: int = 8, size: int = 224, depth: int = 12, width: int = 768, attention: Attention = "joint"
    ) -> None:
        super().__init__()
        if size % PATCH or size == 0:
            raise SettingsError(
                f"Frames of {size} × {size} pixels do not divide into patches of {PATCH} × {PATCH}.",
                expected=f"A multiple of {PATCH} pixels.",
                remedy="Set size, e.g. to 224.",
            )
        self.grid = (frames, size // PATCH, size // PATCH)
        self.size, self.features = size, width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[1] * self.grid[2], width))
        self.time_embed = nn.Parameter(torch.zeros(1, frames, width))
        projection = nn.Conv2d(3, width, PATCH, PATCH)
        self.patch_embed = nn.Sequential(OrderedDict(projection=projection))
        layer = JointLayer if attention == "joint" else DividedLayer
        drops = torch.linspace(0, DEEPEST_DROP, depth, device="cpu").tolist()
        layers = nn.ModuleList(layer(width, drop) for drop in drops)
        self.transformer_layers = nn.ModuleDict({"layers": layers})
        self.norm = nn.LayerNorm(width, eps=EPS)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Map clips to features."""
        tokens = self._embed(clips)
        for layer in cast("nn.ModuleList", self.transformer_layers["layers"]):
            tokens = layer(tokens, self.grid[0])
        features: torch.Tensor = self.norm(tokens)[:, 0]
        return features

    def _embed(self, clips: torch.Tensor) -> torch.Tensor:
        """Turn clips into tokens ``[B, 1 + patches * frames, D]``."""
        if tuple(clips.shape[2:]) != (self.grid[0], self.size, self.size):
            found = " × ".join(map(str, clips.shape[2:]))
            raise SettingsError(
                f"Clips of {found} (frames, rows, columns) do not fit this TimeSformer.",
                expected=f"{self.grid[0]} frames of {self.size} × {self.size} pixels, for which positions are learnt.",
                remedy="Prepare clips so, or build the network for theirs.",
            )
        samples = len(clips)
        patches = self.patch_embed(clips.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2)
        patches = (patches + self.pos_embed[:, 1:]).unflatten(0, (samples, -1)).transpose(1, 2)
        patches = (patches + self.time_embed.unsqueeze(1)).flatten(1, 2)
        return torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(samples, -1, -1), patches], dim=1)
