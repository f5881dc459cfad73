"""A small transformer in which modalities look at each other, and which does without any that is missing.

Source: the idea that each modality's stream is enriched by attention to the others', without aligning them first, is
that of MulT (Tsai et al., ACL 2019). We differ: streams share one set of weights, because there are tens of videos and
not thousands; a step sees only its surroundings, because what moves a listener lies seconds away; and positions are
differences in time (as in Shaw et al., NAACL 2018), never the time elapsed, which with few stories tells the story
apart. Hiding whole modalities in training, so that a network learns to do without, follows ModDrop (Neverova et al.,
PAMI 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.sequences import Inputs, check_inputs, check_modalities, hide_missing

LAYERS = 2


class CrossModalTransformer(nn.Module):
    """Streams of several modalities that attend to each other within a window.

    Parameters
    ----------
    modalities
        Names; their order changes which weights are whose, not the answer's form.
    widths
        Features per step of each.
    options
        Of which all but `attention_steps` and `both_directions` count.

    Raises
    ------
    SettingsError
        When the modalities cannot be used, or `heads` does not divide `embed`.

    Notes
    -----
    A second in which a modality is missing is seen by no attention and has no part in the answer, and neither has
    padding. Where nothing at all is there, the answer comes from the seconds around.
    """

    def __init__(
        self, modalities: Sequence[str], widths: Mapping[str, int], *, options: NetworkOptions | None = None
    ) -> None:
        super().__init__()
        check_modalities(modalities, widths)
        options = options or NetworkOptions()
        if options.embed % options.heads:
            raise SettingsError(
                f"The embedding of {options.embed} cannot be shared among {options.heads} heads.",
                expected="heads divides embed.",
                remedy="Change one of them.",
            )
        self.options = options
        self.modalities = tuple(modalities)
        self.widths = {name: int(widths[name]) for name in self.modalities}
        width = options.embed
        for name, size in self.widths.items():
            layers = nn.Sequential(nn.Dropout(options.dropout_of(name)), nn.Linear(size, width), nn.LayerNorm(width))
            self.add_module(f"input_{name}", layers)
        self.kinds = nn.Parameter(torch.randn(len(self.modalities), width) * 0.02)
        self.blocks = nn.ModuleList(
            CrossModalBlock(len(self.modalities), options=options) for _ in range(options.layers or LAYERS)
        )
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, 1)
        self.features = nn.Linear(width, width)
        self.answer = nn.Linear(width, 1)

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
            Modality to features ``[B, T, D]``, padded at the end; a modality may be left out.
        mask, lengths, present
            As for `nbpkg.models.valence.combined.CombinedLstm.forward`.

        Returns
        -------
        torch.Tensor
            Valence ``[B, T, 1]``, not bounded; 0 beyond a sequence's end.

        Raises
        ------
        WeightsError
            When a modality has another width, or none of the network's is there.
        """
        answers: torch.Tensor = self.answer(F.gelu(self._decode(inputs, mask, present)))
        return answers * mask

    def embed(
        self,
        inputs: Inputs,
        mask: torch.Tensor,
        lengths: Sequence[int] | None = None,  # noqa: ARG002 - all networks are called alike
        *,
        present: Inputs | None = None,
    ) -> torch.Tensor:
        """Return the features for late fusion ``[B, T, embed]``; parameters as for `forward`."""
        return self._decode(inputs, mask, present) * mask

    def _decode(self, inputs: Inputs, mask: torch.Tensor, present: Inputs | None) -> torch.Tensor:
        known = {name: width for name, width in self.widths.items() if name in inputs}
        if not known:
            raise WeightsError(
                f"The batch has no modality of the network ({', '.join(inputs) or 'none at all'}).",
                expected=f"At least one of {', '.join(self.modalities)}.",
                remedy="Use a network that was trained on the modalities at hand.",
            )
        check_inputs(inputs, known)
        there = self._find_present(inputs, mask, present)
        streams = self._encode(inputs, there)
        for block in self.blocks:
            streams = block(streams, there)
        streams = self.norm(streams)
        usable = there | ~there.any(dim=2, keepdim=True)
        weights = self.weigh(streams).masked_fill(~usable[..., None], -torch.inf).softmax(dim=2)
        features: torch.Tensor = self.features((weights * streams).sum(dim=2))
        return features

    def _find_present(self, inputs: Inputs, mask: torch.Tensor, present: Inputs | None) -> torch.Tensor:
        """Return flags ``[B, T, M]`` of what is there and, in training, not hidden on purpose."""
        valid = mask.bool()[..., 0]
        flags = []
        for name in self.modalities:
            own = valid if present is None or name not in present else valid & present[name].bool()
            flags.append(own if name in inputs else torch.zeros_like(valid))
        there = torch.stack(flags, dim=2)
        if self.training and self.options.modality_dropout:
            there = there & keep_modalities(there.any(dim=1), share=self.options.modality_dropout)[:, None]
        return there

    def _encode(self, inputs: Inputs, there: torch.Tensor) -> torch.Tensor:
        """Return streams ``[B, T, M, E]``; what is not there is only known by which modality it would be."""
        shape = (*there.shape[:2], self.options.embed)
        streams = []
        for at, name in enumerate(self.modalities):
            if name in inputs:
                flags = {name: there[..., at]}
                encoded = self.get_submodule(f"input_{name}")(hide_missing(inputs[name], flags, modality=name))
                streams.append(hide_missing(encoded, flags, modality=name))
            else:
                streams.append(self.kinds.new_zeros(shape))
        return torch.stack(streams, dim=2) + self.kinds


class CrossModalBlock(nn.Module):
    """Attention of every modality to all within a window, then two linear layers, each added to what came in.

    Parameters
    ----------
    modalities
        How many there are.
    options
        Sizes and dropout.
    """

    def __init__(self, modalities: int, *, options: NetworkOptions) -> None:
        super().__init__()
        width, inner = options.embed, options.hidden or 2 * options.embed
        self.heads, self.window = options.heads, options.window
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        # what a head makes of a modality so many seconds away, whatever its content
        self.lags = nn.Parameter(torch.zeros(self.heads, modalities, 2 * self.window + 1))
        self.nothing = nn.Parameter(
            torch.zeros(2, width)
        )  # key and value that are always there, so that none is needed
        self.mlp = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(options.block_dropout), nn.Linear(inner, width)
        )
        self.drop = nn.Dropout(options.block_dropout)

    def forward(self, streams: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Transform streams ``[B, T, M, E]`` of which only those that are there ``[B, T, M]`` are attended to."""
        streams = streams + self.drop(self.proj(self._attend(self.norm1(streams), there)))
        transformed: torch.Tensor = streams + self.drop(self.mlp(self.norm2(streams)))
        return transformed

    def _attend(self, streams: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Attend within the window; time is cut into blocks that see themselves and both neighbours."""
        batch, steps, kinds, width = streams.shape
        size = max(1, self.window)
        count = -(-steps // size)
        tail = count * size - steps
        query, key, value = self.qkv(streams).chunk(3, dim=-1)
        query = F.pad(query, (0, 0, 0, 0, 0, tail)).reshape(batch * count, size * kinds, width)
        keys, values = (_surround(item, size, tail) for item in (key, value))
        seen = _surround(there[..., None], size, tail)[..., 0]
        empty = self.nothing.expand(len(keys), -1, -1)
        keys, values = torch.cat([empty[:, :1], keys], dim=1), torch.cat([empty[:, 1:], values], dim=1)
        bias = self._bias(size, kinds).expand(len(keys), -1, -1, -1)
        hidden = F.pad(~seen, (1, 0), value=False)[:, None, None]
        query, keys, values = (item.unflatten(2, (self.heads, -1)).transpose(1, 2) for item in (query, keys, values))
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias.masked_fill(hidden, -torch.inf))
        return mixed.transpose(1, 2).reshape(batch, count * size, kinds, width)[:, :steps]

    def _bias(self, size: int, kinds: int) -> torch.Tensor:
        """Return what scores get by lag, -inf out of sight, ``[heads, size * kinds, 1 + 3 * size * kinds]``."""
        own = torch.arange(size, device=self.lags.device)
        lag = torch.arange(3 * size, device=self.lags.device)[None] - size - own[:, None]
        near = lag.abs() <= self.window
        bias = self.lags[:, :, (lag.clamp(-self.window, self.window) + self.window)]  # [heads, kinds, size, 3 size]
        bias = bias.masked_fill(~near, -torch.inf).permute(0, 2, 3, 1).flatten(2)
        return F.pad(bias.repeat_interleave(kinds, dim=1), (1, 0))


def _surround(values: torch.Tensor, size: int, tail: int) -> torch.Tensor:
    """Lay out ``[B, T, M, D]`` as ``[B * blocks, 3 * size * M, D]``: each block between its neighbours."""
    padded = F.pad(values, (0, 0, 0, 0, size, size + tail))
    blocks = padded.unfold(1, 3 * size, size).movedim(-1, 2)
    return blocks.flatten(2, 3).flatten(0, 1)


def keep_modalities(available: torch.Tensor, *, share: float) -> torch.Tensor:
    """Draw which modalities a sequence keeps: each is hidden with a probability, but of those it has one always stays.

    Parameters
    ----------
    available
        ``[B, M]``, false for a modality that the sequence does not have.
    share
        Probability, at least 0 and below 1.

    Returns
    -------
    torch.Tensor
        ``[B, M]``, true for what is kept.
    """
    draws = torch.rand(available.shape, device=available.device).masked_fill(~available, -1.0)
    keep = draws >= share
    return keep.scatter(1, draws.argmax(dim=1, keepdim=True), True)
