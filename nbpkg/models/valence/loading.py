"""Published checkpoints of the networks over sequences: sizes and modalities follow from the weights themselves.

A checkpoint is a bare state dict. It says which modalities there are by the names of its entries, and their order by
the order of these, as long as the file keeps one. Nothing that a file holds is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from nbpkg.errors import WeightsError, raise_all
from nbpkg.models import weights as files
from nbpkg.models.published import load_state, read_state
from nbpkg.models.valence.build import SequenceNetwork
from nbpkg.models.valence.combined import CombinedLstm
from nbpkg.models.valence.options import NetworkOptions
from nbpkg.models.valence.sequences import compare_widths
from nbpkg.models.valence.text import TextLstm
from nbpkg.models.valence.visual import VisualLstm

_EMBEDDING = re.compile(r"embed_(\w+)\.1\.weight")


def load_published(
    path: Path, network: SequenceNetwork | None = None, *, modalities: Sequence[str] | None = None
) -> SequenceNetwork:
    """Read a published checkpoint of any of the three networks.

    Parameters
    ----------
    path
        State dict by ``torch.save`` of any version (``best.save``, ``epoch_<n>.save``, ``init.save``, ``.pt``), or
        ``.safetensors``.
    network
        Gets the weights, or stays as it is when they do not fit. ``None``: built as the weights want it.
    modalities
        Their order, or for the networks of one modality its name (``None``: text or v_sub). Of a network at hand, its
        own counts.

    Returns
    -------
    torch.nn.Module
        The network, in evaluation mode.

    Raises
    ------
    WeightsError
        When the file cannot be read, is of no such network, contradicts the order given, or does not fit the network.
    """
    state = _read(path)
    kind = _recognise(state, path)
    if network is not None:
        _check_kind(network, kind, path)
    with torch.device("meta"):  # names and shapes only, until it is known that they fit
        build = _build_combined if kind is CombinedLstm else _build_single
        found = build(state, path, modalities if network is None else network.modalities)
    if network is not None:
        check_widths(found, network.widths, where=str(path))
    else:
        _check_fits(found, state, path)
        network = found.to_empty(device="cpu")
    load_state(network, state, where=str(path))
    return network.eval()


def load_combined(path: Path, *, modalities: Sequence[str] | None = None) -> CombinedLstm:
    """Read a checkpoint of the fusion network; parameters as for `load_published`.

    Raises
    ------
    WeightsError
        As there, and when the file is of another network.
    """
    network = load_published(path, modalities=modalities)
    if not isinstance(network, CombinedLstm):
        raise WeightsError(
            f"The file holds the weights of a {type(network).__name__}.",
            where=str(path),
            expected="Those of a CombinedLstm: embed_<modality>, attn, lstm and dec_target.",
            remedy="Choose the checkpoint of a fusion network.",
        )
    return network


def check_widths(network: SequenceNetwork, widths: Mapping[str, int], *, where: str) -> None:
    """Check that data are as wide as a network was trained for.

    Parameters
    ----------
    network
        The network.
    widths
        Features per step of each modality at hand.
    where
        Where the network comes from, for the message.

    Raises
    ------
    WeightsError
        Naming each modality with both widths; of audio also the two columns of elapsed time that may be the difference.
    """
    raise_all(
        compare_widths(network.widths, widths), WeightsError, summary=f"the network of {where} does not fit the data."
    )


def infer_modalities(state: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Return the modalities of a fusion network's weights, in the order of its entries; none if it is none.

    Examples
    --------
    >>> infer_modalities({"embed_text.1.weight": torch.zeros(2, 3), "embed_audio.1.weight": torch.zeros(2, 4)})
    ('text', 'audio')
    """
    matches = (_EMBEDDING.fullmatch(key) for key in state)
    return tuple(match[1] for match in matches if match)


def _read(path: Path) -> files.State:
    if not path.is_file():
        raise WeightsError(
            "The checkpoint is not there.",
            where=str(path),
            expected="A state dict written by torch.save, e.g. best.save, or a .safetensors file.",
            remedy="Put the file there, or correct the setting.",
        )
    return read_state(path)


def _recognise(state: files.State, path: Path) -> type[CombinedLstm] | type[TextLstm] | type[VisualLstm]:
    """Return which network the weights are of."""
    if infer_modalities(state):
        return CombinedLstm
    if "linear1.weight" in state and "lstm1.weight_ih_l0" in state:
        return VisualLstm
    if "linear1.weight" in state and "lstm.weight_ih_l0" in state:
        return TextLstm
    raise WeightsError(
        f"The weights are of no published network: their entries begin with {', '.join(list(state)[:3])}.",
        where=str(path),
        expected="embed_<modality>, attn, lstm and dec_target; or lstm, linear1, linear2; or lstm1, linear1, linear2.",
        remedy="Networks trained here are read by the notebooks; choose a checkpoint of the published programs.",
    )


def _build_combined(state: files.State, path: Path, modalities: Sequence[str] | None) -> CombinedLstm:
    found = infer_modalities(state)
    ordered = _order(found, state, modalities, where=str(path))
    widths = {name: _size(state, f"embed_{name}.1.weight", 1, path) for name in found}
    options = NetworkOptions(
        embed=_size(state, f"embed_{found[0]}.1.weight", 0, path),
        hidden=_size(state, "dec_target.0.weight", 1, path),
        layers=_count_layers(state, "lstm"),
        attention_steps=_size(state, "attn.2.weight", 0, path),
    )
    return CombinedLstm(ordered, widths, options=options)


def _build_single(state: files.State, path: Path, modalities: Sequence[str] | None) -> TextLstm | VisualLstm:
    """Build a network of one modality, whose name the weights do not tell."""
    visual = "lstm1.weight_ih_l0" in state
    lstm, usual = ("lstm1", "v_sub") if visual else ("lstm", "text")
    names = tuple(modalities or (usual,))
    options = NetworkOptions(
        embed=_size(state, "linear1.weight", 0, path),
        hidden=_size(state, "linear1.weight", 1, path),
        layers=_count_layers(state, lstm),
        both_directions=f"{lstm}.weight_ih_l0_reverse" in state,
    )
    widths = dict.fromkeys(names, _size(state, f"{lstm}.weight_ih_l0", 1, path))
    return VisualLstm(names, widths, options=options) if visual else TextLstm(names, widths, options=options)


def _order(found: tuple[str, ...], state: files.State, given: Sequence[str] | None, *, where: str) -> tuple[str, ...]:
    """Return the order of modalities; the file's own and the one given may not contradict each other."""
    told = _keeps_order(state) or len(found) == 1
    if given is None:
        if told:
            return found
        raise WeightsError(
            "The file does not keep the order of its entries, from which that of the modalities would follow.",
            where=where,
            expected=f"An order of {', '.join(found)}.",
            remedy="Name the modalities in the order in which the network was trained.",
        )
    if sorted(given) != sorted(found) or (told and tuple(given) != found):
        raise WeightsError(
            f"The weights are for {', '.join(found)}{' in this order' if told else ''}, not for {', '.join(given)}.",
            where=where,
            expected="The modalities of the checkpoint in its order, which the weights depend on.",
            remedy=f"Set the modalities to {', '.join(found)}." if told else "Correct the list of modalities.",
        )
    return tuple(given)


def _keeps_order(state: files.State) -> bool:
    """Whether entries come as the network lists them, and not, say, by the alphabet."""
    parts = list(dict.fromkeys(key.split(".", 1)[0] for key in state))
    return parts == [*(f"embed_{name}" for name in infer_modalities(state)), "attn", "lstm", "dec_target"]


def _size(state: files.State, key: str, axis: int, path: Path) -> int:
    """Return a size of a matrix."""
    shape = tuple(state[key].shape) if key in state else ()
    if len(shape) != 2 or 0 in shape:
        raise WeightsError(
            f"The weights have no entry {key}." if key not in state else f"The entry {key} has the shape {shape}.",
            where=str(path),
            expected=f"A matrix {key}.",
            remedy="Copy the file again, or choose another checkpoint.",
        )
    return int(shape[axis])


def _count_layers(state: files.State, lstm: str) -> int:
    return max(1, sum(re.fullmatch(rf"{lstm}\.weight_ih_l\d+", key) is not None for key in state))


def _check_fits(network: SequenceNetwork, state: files.State, path: Path) -> None:
    """Check entries and shapes before memory is taken for them."""
    differences = files.compare_keys({key: tuple(item.shape) for key, item in network.state_dict().items()}, state)
    if differences:
        raise WeightsError(
            f"The weights do not fit together: {'; '.join(differences)}.",
            where=str(path),
            expected=f"The {len(network.state_dict())} entries of a {type(network).__name__} of one size.",
            remedy="Copy the file again, or choose another checkpoint.",
        )


def _check_kind(network: SequenceNetwork, kind: type[SequenceNetwork], path: Path) -> None:
    """Check what can be said more plainly than by the names of entries."""
    if type(network) is not kind:
        raise WeightsError(
            f"The file holds the weights of a {kind.__name__}, the network is a {type(network).__name__}.",
            where=str(path),
            expected="Weights of the same network.",
            remedy="Choose the network the checkpoint was made with.",
        )
