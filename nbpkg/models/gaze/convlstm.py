"""A convolutional LSTM over packed tracks, which may end before their chunk does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import StageError

State = tuple[torch.Tensor, torch.Tensor]

GATES = 4


class ConvLstm(nn.Module):
    """Layers of a convolutional LSTM, kernel 3 × 3, of as many channels as the input.

    Parameters
    ----------
    channels
        Of the input and of every layer.
    layers
        Number of layers.
    dropout
        Share of the outputs of all layers but the last that is dropped in training.

    Notes
    -----
    Takes packed frames ``[N, C, H, W]`` (see `forward`). The convolution of the input is computed for all frames of a
    chunk at once; only that of the state goes from time step to time step.

    Source: Chong et al., CVPR 2020 (the temporal part of VTD); Shi et al., NeurIPS 2015. Gates in the order input,
    forget, cell, output; each of the two convolutions has a bias.
    """

    def __init__(self, channels: int, layers: int = 2, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.channels, self.layers, self.dropout = channels, layers, dropout
        bound = 1 / math.sqrt(channels)
        for layer in range(layers):
            for kind in ("ih", "hh"):
                weight = torch.empty(GATES * channels, channels, 3, 3).uniform_(-bound, bound)
                self.register_parameter(f"weight_{kind}_l{layer}", nn.Parameter(weight))
            for kind in ("ih", "hh"):
                bias = torch.empty(GATES * channels).uniform_(-bound, bound)
                self.register_parameter(f"bias_{kind}_l{layer}", nn.Parameter(bias))

    def forward(
        self, frames: torch.Tensor, batch_sizes: Sequence[int], state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """Go through one chunk of packed frames.

        Parameters
        ----------
        frames
            [N, C, H, W], time-major: the frames of step 0 of all tracks still going, longest track first, then those
            of step 1, and so on.
        batch_sizes
            Number of tracks still going at each step; never grows; N is their sum.
        state
            Hidden state and cell, each [layers, B, C, H, W], of the first B ≥ ``batch_sizes[0]`` tracks after the chunk
            before; what led to it gets no gradient. None at the beginning of tracks: zeros.

        Returns
        -------
        outputs
            [N, C, H, W], in the order of `frames`.
        state
            Each [layers, ``batch_sizes[0]``, C, H, W], of every track after its own last frame.

        Raises
        ------
        StageError
            When frames, batch sizes and state do not fit each other.
        """
        sizes = [int(size) for size in batch_sizes]
        _check_packing(frames, sizes, state)
        hidden, cells = [], []
        for layer in range(self.layers):
            start = self._begin(frames, sizes[0], layer, state)
            frames, (last_hidden, last_cell) = self._run_layer(layer, frames, sizes, start)
            hidden.append(last_hidden)
            cells.append(last_cell)
            if layer < self.layers - 1:
                frames = F.dropout(frames, self.dropout, self.training)
        return frames, (torch.stack(hidden), torch.stack(cells))

    def _begin(self, frames: torch.Tensor, tracks: int, layer: int, state: State | None) -> State:
        if state is None:
            zeros = frames.new_zeros(tracks, *frames.shape[1:])
            return zeros, zeros
        return state[0][layer, :tracks].detach(), state[1][layer, :tracks].detach()

    def _run_layer(
        self, layer: int, frames: torch.Tensor, sizes: list[int], start: State
    ) -> tuple[torch.Tensor, State]:
        weight_ih, bias_ih = self.get_parameter(f"weight_ih_l{layer}"), self.get_parameter(f"bias_ih_l{layer}")
        weight_hh, bias_hh = self.get_parameter(f"weight_hh_l{layer}"), self.get_parameter(f"bias_hh_l{layer}")
        hidden, cell = start
        outputs: list[torch.Tensor] = []
        ended: list[State] = []
        for step in F.conv2d(frames, weight_ih, bias_ih, padding=1).split(sizes):
            going = len(step)
            if going < len(hidden):  # tracks are sorted by length, so those that ended are the last rows
                ended.append((hidden[going:], cell[going:]))
                hidden, cell = hidden[:going], cell[:going]
            gates = step + F.conv2d(hidden, weight_hh, bias_hh, padding=1)
            enter, forget, change, show = gates.chunk(GATES, dim=1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * change.tanh()
            hidden = show.sigmoid() * cell.tanh()
            outputs.append(hidden)
        last = [(hidden, cell), *reversed(ended)]
        return torch.cat(outputs), (torch.cat([rows for rows, _ in last]), torch.cat([rows for _, rows in last]))


def _check_packing(frames: torch.Tensor, sizes: list[int], state: State | None) -> None:
    falls = bool(sizes) and sizes[-1] > 0 and all(later <= earlier for earlier, later in pairwise(sizes))
    if not falls or sum(sizes) != len(frames):
        raise StageError(
            f"{len(frames)} frames are not packed as the batch sizes {sizes} say.",
            expected="Numbers of tracks above zero that never grow and add up to the number of frames.",
            remedy="Sort the tracks of a batch by length, longest first, and pack their frames time-major.",
        )
    if state is not None and state[0].shape[1] < sizes[0]:
        raise StageError(
            f"The state holds {state[0].shape[1]} tracks, but the chunk begins with {sizes[0]}.",
            expected="A state of at least as many tracks, in the same order.",
            remedy="Hand over no state when new tracks begin.",
        )
