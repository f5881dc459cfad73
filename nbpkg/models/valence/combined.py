"""The published fusion network: features of all modalities joined second by second, an LSTM, and a short look back.

Source: desmond-ong/cheem-omg-empathy, ``multimodal/model.py`` (arXiv 1812.04891), rewritten. Same entries, same
initial weights and, without dropout, the same answers. It differs in three ways: sequences need not be sorted, one step
alone works, and seconds in which a modality is missing can be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.sequences import Inputs, check_inputs, check_modalities, hide_missing

HIDDEN = 512


class CombinedLstm(nn.Module):
    """Fusion LSTM with local attention.

    Parameters
    ----------
    modalities
        Names in the order in which embeddings are joined; weights hold for this order only.
    widths
        Features per step of each.
    options
        Sizes and dropout; the defaults are the published ones.

    Raises
    ------
    SettingsError
        When the modalities cannot be used.

    Notes
    -----
    Entries ``embed_<modality>.1``, ``attn.0``, ``attn.2``, ``lstm``, ``dec_target.0``, ``dec_target.2``.

    The LSTM runs over the padding, too, which no answer sees: it reads forward only, and what lies behind a sequence's
    end is set to 0. On a CPU that is twice as fast as packing sequences of different lengths.

    A second in which a modality is missing gets the embedding 0, as if all its units were silent; a 0 among
    the features would still speak through the bias. Without flags nothing is hidden, as published.
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
        embed, hidden, joined = options.embed, options.hidden or HIDDEN, options.embed * len(self.modalities)
        # In this order, and before the rest, as published: the same initial weights.
        for name, width in self.widths.items():
            layers = nn.Sequential(nn.Dropout(options.dropout_of(name)), nn.Linear(width, embed), nn.ReLU())
            self.add_module(f"embed_{name}", layers)
        self.attn = nn.Sequential(nn.Linear(joined, embed), nn.ReLU(), nn.Linear(embed, options.attention_steps))
        self.lstm = nn.LSTM(joined, hidden, options.layers or 1, batch_first=True)
        self.dec_target = nn.Sequential(nn.Linear(hidden, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(
        self,
        inputs: Inputs,
        mask: torch.Tensor,
        lengths: Sequence[int] | None = None,  # noqa: ARG002 - all networks are called alike
        *,
        present: Inputs | None = None,
    ) -> torch.Tensor:
        """Answer each step.

        Parameters
        ----------
        inputs
            Modality to features ``[B, T, D]``, padded at the end.
        mask
            ``[B, T, 1]``, true where a step belongs to the sequence.
        lengths
            Steps of each sequence; not needed.
        present
            Modality to flags ``[B, T]``, false where nothing was seen or heard.

        Returns
        -------
        torch.Tensor
            Valence ``[B, T, 1]``, not bounded; 0 beyond a sequence's end.

        Raises
        ------
        WeightsError
            When a modality is missing or has another width.
        """
        answers: torch.Tensor = self.dec_target[1:](self._decode(inputs, present))
        return answers * mask

    def embed(
        self,
        inputs: Inputs,
        mask: torch.Tensor,
        lengths: Sequence[int] | None = None,  # noqa: ARG002 - all networks are called alike
        *,
        present: Inputs | None = None,
    ) -> torch.Tensor:
        """Return the features for late fusion ``[B, T, embed]``, before the last ReLU; parameters as for `forward`."""
        return self._decode(inputs, present) * mask

    def attend(self, inputs: Inputs, *, present: Inputs | None = None) -> torch.Tensor:
        """Return how much each step looks back 0, 1, ... steps, ``[B, T, attention_steps]``; they add up to 1."""
        return torch.softmax(self.attn(self._join(inputs, present)), dim=-1)

    def _join(self, inputs: Inputs, present: Inputs | None) -> torch.Tensor:
        check_inputs(inputs, self.widths)
        parts = []
        for name in self.modalities:
            layers = self.get_submodule(f"embed_{name}")
            embedded = layers(hide_missing(inputs[name], present, modality=name))
            parts.append(hide_missing(embedded, present, modality=name))
        return torch.cat(parts, dim=-1)

    def _decode(self, inputs: Inputs, present: Inputs | None) -> torch.Tensor:
        joined = self._join(inputs, present)
        weights = torch.softmax(self.attn(joined), dim=-1)
        states, _ = self.lstm(joined)
        features: torch.Tensor = self.dec_target[0](look_back(states, weights))
        return features


def look_back(states: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Add up the latest states, each with its weight; before the first step there is nothing.

    Parameters
    ----------
    states
        ``[B, T, H]``.
    weights
        ``[B, T, K]``, column i for the state i steps ago; K may exceed T.

    Returns
    -------
    torch.Tensor
        ``[B, T, H]``.

    Examples
    --------
    >>> states = torch.tensor([[[1.0], [10.0]]])
    >>> look_back(states, torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]]])).flatten().tolist()
    [0.5, 5.25]
    """
    context = weights[..., :1] * states
    for shift in range(1, min(weights.shape[-1], states.shape[1])):
        earlier = weights[:, shift:, shift : shift + 1] * states[:, :-shift]
        context = context + nn.functional.pad(earlier, (0, 0, shift, 0))
    return context
