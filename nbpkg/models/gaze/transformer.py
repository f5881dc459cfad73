"""The transformer block of Gaze-LLE's decoder and of the small backbone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

MLP_RATIO = 4


class SelfAttention(nn.Module):
    """Attention of tokens to each other, without a bias before it.

    Parameters
    ----------
    width
        Of a token.
    heads
        Number of heads, a divisor of `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Let tokens ``[B, N, width]`` attend to each other."""
        three = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(three[0], three[1], three[2])
        attended: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return attended


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them.

    Parameters
    ----------
    width
        Of a token; four times as wide inside.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Change each token of ``[B, N, width]`` by itself."""
        changed: torch.Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return changed


class TransformerBlock(nn.Module):
    """A pre-norm block: norm and attention, norm and MLP, each added to what came in.

    Parameters
    ----------
    width, heads
        As for `SelfAttention`.
    norm_eps
        Of both norms; stated because libraries changed their default.
    drop_path
        Probability with which a sample skips a branch in training.

    Notes
    -----
    Entries ``norm1``, ``attn.qkv``, ``attn.proj``, ``norm2``, ``mlp.fc1``, ``mlp.fc2``, as in timm's ``Block``.

    Source: Dosovitskiy et al., ICLR 2021.
    """

    def __init__(self, width: int, heads: int, *, norm_eps: float, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Transform tokens ``[B, N, width]``."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        transformed: torch.Tensor = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return transformed
