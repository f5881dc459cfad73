"""The published visual-only network: an LSTM over face features, reading forward or in both directions.

Source: desmond-ong/cheem-omg-empathy, ``visual/src/train.py``, whose program cannot run; the network it intends, on
sequences of one video each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.sequences import (
    Inputs,
    check_inputs,
    check_modalities,
    count_steps,
    hide_missing,
    take_single,
)

HIDDEN = 512
DROPOUT = 0.5


class VisualLstm(nn.Module):
    """LSTM over a single modality, published for VGG-Face features.

    Parameters
    ----------
    modalities
        Exactly one name.
    widths
        Features per step.
    options
        Of which `embed`, `hidden`, `layers`, `dropout` and `both_directions` count; ``None`` is as published.

    Raises
    ------
    SettingsError
        When it is not exactly one modality, or one that cannot be used.

    Notes
    -----
    Entries ``lstm1``, ``linear1``, ``linear2``. In both directions the states of both are added up, so that the linear
    layers keep their shapes. A second without features is one whose features are all 0.
    """

    def __init__(
        self, modalities: Sequence[str], widths: Mapping[str, int], *, options: NetworkOptions | None = None
    ) -> None:
        super().__init__()
        check_modalities(modalities, widths)
        options = options or NetworkOptions()
        self.options = options
        self.modalities = tuple(modalities)
        self.widths = {name: int(widths[name]) for name in self.modalities}
        self.modality = take_single(self.modalities, network="visual_lstm")
        hidden = options.hidden or HIDDEN
        self.dropout = options.dropout_of(self.modality, default=DROPOUT)
        self.lstm1 = nn.LSTM(
            self.widths[self.modality],
            hidden,
            options.layers or 1,
            batch_first=True,
            bidirectional=options.both_directions,
        )
        self.linear1 = nn.Linear(hidden, options.embed)
        self.linear2 = nn.Linear(options.embed, 1)

    def forward(
        self, inputs: Inputs, mask: torch.Tensor, lengths: Sequence[int] | None = None, *, present: Inputs | None = None
    ) -> torch.Tensor:
        """Answer each step; parameters as for `nbpkg.models.valence.combined.CombinedLstm.forward`.

        Returns
        -------
        torch.Tensor
            Valence ``[B, T, 1]`` between -1 and 1; 0 beyond a sequence's end.
        """
        features = self._drop(self._decode(inputs, mask, lengths, present=present))
        return torch.tanh(self.linear2(torch.relu(features))) * mask

    def embed(
        self, inputs: Inputs, mask: torch.Tensor, lengths: Sequence[int] | None = None, *, present: Inputs | None = None
    ) -> torch.Tensor:
        """Return the features for late fusion ``[B, T, embed]``; parameters as for `forward`."""
        return self._decode(inputs, mask, lengths, present=present) * mask

    def _drop(self, values: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(values, self.dropout, training=self.training)

    def _decode(
        self, inputs: Inputs, mask: torch.Tensor, lengths: Sequence[int] | None, *, present: Inputs | None
    ) -> torch.Tensor:
        check_inputs(inputs, self.widths)
        values = hide_missing(inputs[self.modality], present, modality=self.modality)
        states = self._read_twice(values, count_steps(mask, lengths)) if self.options.both_directions else None
        if states is None:
            states, _ = self.lstm1(values)
        features: torch.Tensor = self.linear1(self._drop(states))
        return features

    def _read_twice(self, values: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Read from both ends; packed, because the way back has to begin at each sequence's own end."""
        packed = pack_padded_sequence(values, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm1(packed)[0], batch_first=True, total_length=values.shape[1])
        forward, backward = states.chunk(2, dim=-1)
        return forward + backward
