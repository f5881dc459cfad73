"""Gaze-LLE: from the tokens of a frozen backbone and head boxes to maps of where each person looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import StageError
from nbpkg.models.gaze.dinov2 import PATCH
from nbpkg.models.gaze.transformer import TransformerBlock

OUTPUT = 64
HEAD_BOX = 4

Boxes = torch.Tensor | Sequence[Sequence[float] | None] | None


class Gaze(TypedDict):
    """Where the people of each picture look.

    Parameters
    ----------
    heatmap
        For each picture, [persons, 64, 64], in 0..1.
    inout
        For each picture, [persons], probability that the target is inside the frame; None in the variant without.
    """

    heatmap: list[torch.Tensor]
    inout: list[torch.Tensor] | None


@dataclass(frozen=True)
class GazelleSize:
    """How large a decoder is.

    Parameters
    ----------
    size
        Side of the pictures, in pixels.
    width
        Of a token in the decoder; a multiple of 4 and of `heads`.
    blocks, heads
        Number of transformer blocks, and of heads in each.
    """

    size: int = 448
    width: int = 256
    blocks: int = 3
    heads: int = 8

    @property
    def grid(self) -> int:
        """Side of the grid of patches."""
        return self.size // PATCH


PUBLISHED = GazelleSize()
SMALL = GazelleSize(size=112, width=64, blocks=2, heads=4)


class GazeLle(nn.Module):
    """Gaze-LLE, for several people in a picture at once.

    Parameters
    ----------
    features
        Width of the backbone's tokens.
    size
        How large the decoder is.
    backbone
        Pictures ``[B, 3, S, S]`` to tokens ``[B, features, S / 14, S / 14]``; None to decode stored tokens only.
    inout
        Whether the network also says whether the target is inside the frame.
    norm_eps
        Of the decoder's norms: 1e-5, with which the published weights were trained.
    drop_path, dropout
        In training: probability of skipping a branch, and of dropping a unit of the in/out head.
    compat
        With ``reference``, a head box smaller than half a cell may mark no cell at all.

    Notes
    -----
    State dict of the decoder as published for `PUBLISHED`: 40 entries without in/out, 45 with; those of the backbone
    come before them as ``backbone.*``.

    Source: Ryan et al., CVPR 2025, gazelle.
    """

    def __init__(
        self,
        features: int,
        size: GazelleSize = PUBLISHED,
        *,
        backbone: nn.Module | None = None,
        inout: bool = False,
        norm_eps: float = 1e-5,
        drop_path: float = 0.1,
        dropout: float = 0.1,
        compat: Literal["none", "reference"] = "none",
    ) -> None:
        super().__init__()
        self.size, self.compat, self.frozen = size, compat, False
        width = size.width
        self.backbone = backbone
        self.pos_embed: torch.Tensor
        self.register_buffer("pos_embed", code_positions(width, size.grid, size.grid))
        self.linear = nn.Conv2d(features, width, 1)
        self.head_token = nn.Embedding(1, width)
        self.inout_token = nn.Embedding(1, width) if inout else None
        self.transformer = nn.Sequential(
            *(TransformerBlock(width, size.heads, norm_eps=norm_eps, drop_path=drop_path) for _ in range(size.blocks))
        )
        self.heatmap_head = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, 2), nn.Conv2d(width, 1, 1, bias=False), nn.Sigmoid()
        )
        self.inout_head: nn.Module | None = None
        if inout:
            half = width // 2
            layers = (nn.Linear(width, half), nn.ReLU(), nn.Dropout(dropout), nn.Linear(half, 1), nn.Sigmoid())
            self.inout_head = nn.Sequential(*layers)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Encode pictures.

        Parameters
        ----------
        images
            [B, 3, S, S], normalised.

        Returns
        -------
        torch.Tensor
            [B, features, h, w]; without a gradient when the backbone is frozen (`freeze_backbone`).

        Raises
        ------
        StageError
            When the network was built without a backbone.
        """
        if self.backbone is None:
            raise StageError(
                "This network decodes stored tokens and has no backbone.",
                remedy="Build it with a backbone, or hand stored tokens to decode().",
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens: torch.Tensor = self.backbone(images)
            return tokens

    def decode(self, tokens: torch.Tensor, boxes: Sequence[Boxes]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say where people look; each picture is encoded once for all its people.

        Parameters
        ----------
        tokens
            [B, features, h, w].
        boxes
            For each picture, its people's head boxes x0 y0 x1 y1 as fractions of width and height: a tensor [p, 4] (NaN
            where unknown), a list with None where unknown, or None for one person of unknown place.

        Returns
        -------
        heat
            [P, 64, 64], in 0..1, of the people of all pictures one after the other.
        inside
            [P], probability that the target is inside the frame; None in the variant without.

        Raises
        ------
        StageError
            When the numbers of pictures differ, the grid is not the network's, or boxes are no four numbers each.
        """
        self._check(tokens, boxes)
        people = [read_boxes(group) for group in boxes]
        counts = torch.tensor([len(group) for group in people], device=tokens.device)
        maps = draw_heads(np.concatenate(people), self.size.grid, compat=self.compat)
        heads = torch.from_numpy(maps)[:, None].to(tokens)
        scenes = self.linear(tokens) + self.pos_embed
        prompted = scenes.repeat_interleave(counts, dim=0) + heads * self.head_token.weight[0][:, None, None]
        sequence = prompted.flatten(2).transpose(1, 2)
        if self.inout_token is not None:
            sequence = torch.cat([self.inout_token.weight.expand(len(sequence), 1, -1).to(sequence), sequence], dim=1)
        sequence = self.transformer(sequence)
        inside = None
        if self.inout_head is not None:
            inside = self.inout_head(sequence[:, 0])[:, 0]
            sequence = sequence[:, 1:]
        heat = self.heatmap_head(sequence.transpose(1, 2).unflatten(2, (self.size.grid, self.size.grid)))
        if heat.shape[-1] != OUTPUT:
            wide = heat if heat.dtype == torch.float64 else heat.float()  # the CPU resizes no shorter numbers
            heat = F.interpolate(wide, (OUTPUT, OUTPUT), mode="bilinear", antialias=True).to(heat.dtype)
        return heat[:, 0], inside

    def _check(self, tokens: torch.Tensor, boxes: Sequence[Boxes]) -> None:
        grid = self.size.grid
        if tuple(tokens.shape[2:]) != (grid, grid) or len(tokens) != len(boxes) or not len(boxes):
            raise StageError(
                f"Tokens of the shape {tuple(tokens.shape)} came with boxes of {len(boxes)} pictures.",
                expected=f"Tokens [B, {self.linear.in_channels}, {grid}, {grid}] and one group of boxes per picture.",
                remedy=f"Encode pictures of {self.size.size} × {self.size.size} pixels; an unknown box is None.",
            )

    def forward(self, images: torch.Tensor, boxes: Sequence[Boxes]) -> Gaze:
        """Say where the people of each picture look; see `encode` and `decode`."""
        heat, inside = self.decode(self.encode(images), boxes)
        counts = [len(read_boxes(group)) for group in boxes]
        return {
            "heatmap": list(heat.split(counts)),
            "inout": None if inside is None else list(inside.split(counts)),
        }

    def train(self, mode: bool = True) -> GazeLle:
        """Set training mode, of which a frozen backbone takes no part."""
        super().train(mode)
        if self.frozen and self.backbone is not None:
            self.backbone.eval()
        return self


def freeze_backbone(network: GazeLle) -> None:
    """Make the backbone a fixed function: evaluation mode for good, no gradients, no activations kept."""
    network.frozen = True
    if network.backbone is not None:
        network.backbone.requires_grad_(requires_grad=False)
        network.backbone.eval()


def decoder_groups(
    network: GazeLle, learning_rate: float, *, inout_learning_rate: float | None = None
) -> list[dict[str, object]]:
    """Sort what may learn into groups for an optimiser.

    Parameters
    ----------
    network
        With the backbone frozen or not.
    learning_rate
        Of all parameters that are not frozen.
    inout_learning_rate
        Of those of the in/out part; None for the same.

    Returns
    -------
    list of dict
        ``params`` and ``lr``; two groups when the in/out part learns at its own rate.
    """
    learnt = {name: item for name, item in network.named_parameters() if item.requires_grad}
    if inout_learning_rate is None:
        return [{"params": list(learnt.values()), "lr": learning_rate}]
    inout = [item for name, item in learnt.items() if "inout" in name]
    others = [item for name, item in learnt.items() if "inout" not in name]
    return [{"params": others, "lr": learning_rate}, {"params": inout, "lr": inout_learning_rate}]


def code_positions(width: int, rows: int, columns: int) -> torch.Tensor:
    """Code the place of each cell in sines and cosines.

    Parameters
    ----------
    width
        Length of a code, a multiple of 4: the first half is for the column, the second for the row.
    rows, columns
        Of the grid.

    Returns
    -------
    torch.Tensor
        float32 [width, rows, columns].
    """
    half = width // 2
    rates = 10000.0 ** (-torch.arange(0, half, 2, dtype=torch.float64) / half)
    across = torch.arange(columns, dtype=torch.float64) * rates[:, None]
    down = torch.arange(rows, dtype=torch.float64) * rates[:, None]
    code = torch.empty(width, rows, columns, dtype=torch.float64)
    code[0:half:2], code[1:half:2] = across.sin()[:, None, :], across.cos()[:, None, :]
    code[half::2], code[half + 1 :: 2] = down.sin()[:, :, None], down.cos()[:, :, None]
    return code.float()


def read_boxes(boxes: Boxes) -> NDArray[np.float64]:
    """Bring the head boxes of one picture into one form.

    Parameters
    ----------
    boxes
        A tensor [p, 4], a list of p boxes or None, or None for one person of unknown place.

    Returns
    -------
    numpy.ndarray
        float64 [p, 4]; NaN where the box is unknown.

    Raises
    ------
    StageError
        When a box has not four numbers.
    """
    unknown = (np.nan,) * HEAD_BOX
    if boxes is None:
        return np.array([unknown])
    rows = boxes.detach().cpu().tolist() if isinstance(boxes, torch.Tensor) else boxes
    listed = [unknown if box is None else tuple(float(edge) for edge in box) for box in rows]
    if any(len(box) != HEAD_BOX for box in listed):
        raise StageError(
            f"Head boxes have {sorted({len(box) for box in listed})} numbers.",
            expected="x0, y0, x1, y1 as fractions of width and height, or None.",
            remedy="Give four numbers for each box.",
        )
    return np.array(listed, dtype=np.float64).reshape(-1, HEAD_BOX)


def draw_heads(
    boxes: NDArray[np.float64], grid: int, *, compat: Literal["none", "reference"] = "none"
) -> NDArray[np.float32]:
    """Mark the cells of head boxes.

    Parameters
    ----------
    boxes
        float64 [P, 4], x0 y0 x1 y1 as fractions; NaN where unknown.
    grid
        Side of the grid.
    compat
        With ``reference``, a box may round to no cell at all; else it marks at least the cell of its centre.

    Returns
    -------
    numpy.ndarray
        float32 [P, grid, grid]; all zero where the box is unknown.
    """
    known = np.isfinite(boxes).all(axis=1)
    edges = np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, 0.0)
    cells = np.clip(np.rint(edges * grid), 0, grid)  # rint rounds halves to even, as the published program does
    if compat == "none":
        for low, high in ((0, 2), (1, 3)):
            centre = np.clip(np.floor((edges[:, low] + edges[:, high]) / 2 * grid), 0, grid - 1)
            empty = cells[:, low] >= cells[:, high]
            cells[:, low] = np.where(empty, centre, cells[:, low])
            cells[:, high] = np.where(empty, centre + 1, cells[:, high])
    place = np.arange(grid)
    across: NDArray[np.bool_] = np.logical_and(place >= cells[:, :1], place < cells[:, 2:3])
    down: NDArray[np.bool_] = np.logical_and(place >= cells[:, 1:2], place < cells[:, 3:])
    marked: NDArray[np.float32] = np.einsum("pr,pc,p->prc", down, across, known).astype(np.float32)
    return marked
