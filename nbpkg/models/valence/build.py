"""Networks over sequences, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from nbpkg.errors import SettingsError
from nbpkg.models.valence.combined import CombinedLstm
from nbpkg.models.valence.cross_modal import CrossModalTransformer
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.text import TextLstm
from nbpkg.models.valence.visual import VisualLstm

NetworkName = Literal["combined_lstm", "text_lstm", "visual_lstm", "cross_modal"]
SequenceNetwork = CombinedLstm | TextLstm | VisualLstm | CrossModalTransformer

NETWORKS: Mapping[str, Callable[..., SequenceNetwork]] = {
    "combined_lstm": CombinedLstm,
    "text_lstm": TextLstm,
    "visual_lstm": VisualLstm,
    "cross_modal": CrossModalTransformer,
}


def build_network(
    name: NetworkName, modalities: Sequence[str], widths: Mapping[str, int], *, options: NetworkOptions | None = None
) -> SequenceNetwork:
    """Build a network with initial weights, which follow from torch's seed.

    Parameters
    ----------
    name
        Which network; ``text_lstm`` and ``visual_lstm`` take exactly one modality, whichever it is.
    modalities
        Names in the order in which the network joins them.
    widths
        Features per step of each.
    options
        Sizes and dropout; ``None`` is as published.

    Returns
    -------
    torch.nn.Module
        In training mode, on the CPU.

    Raises
    ------
    SettingsError
        When there is no such network, or it cannot be built for these modalities.
    """
    if name not in NETWORKS:
        raise SettingsError(
            f"There is no network {name!r}.",
            expected=f"One of {', '.join(get_args(NetworkName))}.",
            remedy="Correct the setting.",
        )
    return NETWORKS[name](modalities, widths, options=options or NetworkOptions())
