"""What all networks over sequences share: checks of what goes in, and seconds without features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from nbpkg.errors import Problem, SettingsError, WeightsError, raise_all

_WITH_TIME, _WITHOUT_TIME = 990, 988  # frameIndex and frameTime, which the published audio features keep

Inputs = Mapping[str, torch.Tensor]


def check_modalities(modalities: Sequence[str], widths: Mapping[str, int]) -> None:
    """Check that a network can be built for these modalities.

    Parameters
    ----------
    modalities
        Names in the order in which the network joins them.
    widths
        Features per step of each.

    Raises
    ------
    SettingsError
        When there is none, one occurs twice, has a name that weights cannot carry, or a width that is missing or
        below 1.
    """
    if not modalities:
        raise SettingsError(
            "The network gets no modality.", expected="At least one, e.g. audio.", remedy="Name modalities."
        )
    problems = [Problem(f"Modality {name!r} occurs twice.") for name in set(modalities) if modalities.count(name) > 1]
    problems += [
        Problem(f"{name!r} cannot name a modality.", expected="Letters, digits and underscores.")
        for name in modalities
        if not name.isidentifier()
    ]
    problems += [
        Problem(f"Modality {name!r} has the width {widths.get(name, 'none')}.", expected="At least one feature.")
        for name in dict.fromkeys(modalities)
        if widths.get(name, 0) < 1
    ]
    raise_all(problems, SettingsError, summary="modalities cannot be used.")


def take_single(modalities: Sequence[str], *, network: str) -> str:
    """Return the only modality of a network that knows no fusion.

    Raises
    ------
    SettingsError
        When there are more.
    """
    if len(modalities) != 1:
        raise SettingsError(
            f"{network} got {len(modalities)} modalities ({', '.join(modalities)}).",
            expected="Exactly one.",
            remedy="Name one modality, or choose combined_lstm or cross_modal.",
        )
    return modalities[0]


def compare_widths(expected: Mapping[str, int], found: Mapping[str, int]) -> list[Problem]:
    """Say in which modalities features are not as wide as a network expects.

    Parameters
    ----------
    expected
        Width of each of the network's modalities.
    found
        Width of the features at hand; more modalities than the network knows do not matter.

    Returns
    -------
    list of Problem
        One for each modality that is missing or of another width.
    """
    problems = []
    for name, width in expected.items():
        if name not in found:
            remedy = f"Add {name} to the modalities, or use a network without it."
            problems.append(Problem(f"The network needs {name}, which the data do not have.", remedy=remedy))
        elif found[name] != width:
            text = f"The network takes {width} features of {name}, the data have {found[name]}."
            problems.append(Problem(text, remedy=_advise(width, found[name])))
    return problems


def _advise(expected: int, found: int) -> str:
    """Return what to do about a width; the published audio features differ by the two columns of elapsed time."""
    if (expected, found) == (_WITH_TIME, _WITHOUT_TIME):
        return "The published networks were told the elapsed time: set time_columns to true for this modality."
    if (expected, found) == (_WITHOUT_TIME, _WITH_TIME):
        return "The data hold the two columns of elapsed time: set time_columns to false for this modality."
    return "Use the features the network was trained on, prepared in the same way."


def check_inputs(inputs: Inputs, widths: Mapping[str, int]) -> None:
    """Check that a batch fits a network.

    Raises
    ------
    WeightsError
        Naming each modality that is missing or has another width.
    """
    found = {name: item.shape[-1] for name, item in inputs.items()}
    if any(found.get(name) != width for name, width in widths.items()):
        raise_all(compare_widths(widths, found), WeightsError, summary="modalities do not fit the network.")


def hide_missing(values: torch.Tensor, present: Inputs | None, *, modality: str) -> torch.Tensor:
    """Set the seconds in which there is nothing of a modality to 0, whatever stands there, not-a-number included.

    Parameters
    ----------
    values
        ``[B, T, D]``.
    present
        Modality to flags ``[B, T]``; ``None`` or a modality that is not named: all seconds are there.
    modality
        Name of the modality.
    """
    if present is None or modality not in present:
        return values
    return values.masked_fill(~present[modality].bool()[..., None], 0.0)


def count_steps(mask: torch.Tensor, lengths: Sequence[int] | None) -> list[int]:
    """Return the valid steps of each sequence, from ``lengths`` where given, else from the mask ``[B, T, 1]``."""
    if lengths is not None:
        return [int(length) for length in lengths]
    return [int(length) for length in mask.bool().sum(dim=(1, 2)).tolist()]
