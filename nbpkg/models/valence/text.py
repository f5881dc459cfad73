"""The published text-only network: an LSTM over one modality, two linear layers and a bounded answer.

Source: desmond-ong/cheem-omg-empathy, ``text/train.py``, rewritten batch first. Trained there, batches were laid out
again as if items were time, so that the recurrence ran across unrelated pieces; here it runs along time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.sequences import Inputs, check_inputs, check_modalities, hide_missing, take_single

HIDDEN = 256
DROPOUT = 0.2


class TextLstm(nn.Module):
    """LSTM over a single modality, published for sentence embeddings.

    Parameters
    ----------
    modalities
        Exactly one name.
    widths
        Features per step.
    options
        Of which `embed`, `hidden`, `layers` and `dropout` count; ``None`` is as published.

    Raises
    ------
    SettingsError
        When it is not exactly one modality, or one that cannot be used.

    Notes
    -----
    Entries ``lstm``, ``linear1``, ``linear2``. A second without features is one whose features are all 0.
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
        self.modality = take_single(self.modalities, network="text_lstm")
        hidden = options.hidden or HIDDEN
        self.dropout = options.dropout_of(self.modality, default=DROPOUT)
        self.lstm = nn.LSTM(self.widths[self.modality], hidden, options.layers or 1, batch_first=True)
        self.linear1 = nn.Linear(hidden, options.embed)
        self.linear2 = nn.Linear(options.embed, 1)

    def forward(
        self,
        inputs: Inputs,
        mask: torch.Tensor,
        lengths: Sequence[int] | None = None,  # noqa: ARG002 - all networks are called alike
        *,
        present: Inputs | None = None,
    ) -> torch.Tensor:
        """Answer each step; parameters as for `nbpkg.models.valence.combined.CombinedLstm.forward`.

        Returns
        -------
        torch.Tensor
            Valence ``[B, T, 1]`` between -1 and 1; 0 beyond a sequence's end.
        """
        answers = torch.tanh(self.linear2(torch.relu(self._decode(inputs, present))))
        return answers * mask

    def embed(
        self,
        inputs: Inputs,
        mask: torch.Tensor,
        lengths: Sequence[int] | None = None,  # noqa: ARG002 - all networks are called alike
        *,
        present: Inputs | None = None,
    ) -> torch.Tensor:
        """Return the features for late fusion ``[B, T, embed]``, before the ReLU; parameters as for `forward`."""
        return self._decode(inputs, present) * mask

    def _decode(self, inputs: Inputs, present: Inputs | None) -> torch.Tensor:
        check_inputs(inputs, self.widths)
        states, _ = self.lstm(hide_missing(inputs[self.modality], present, modality=self.modality))
        if self.training and self.dropout:  # all of a second or nothing of it, as published
            states = states * nn.functional.dropout(torch.ones_like(states[..., :1]), self.dropout)
        features: torch.Tensor = self.linear1(states)
        return features
