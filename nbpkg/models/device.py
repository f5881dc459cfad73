"""Where networks run."""

from __future__ import annotations

import torch

from nbpkg.errors import SettingsError


def choose_device(name: str) -> torch.device:
    """Turn the setting ``device`` into a torch device.

    Parameters
    ----------
    name
        ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    SettingsError
        When a GPU is asked for that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"device is {name!r}, but this machine shows {torch.cuda.device_count()} GPUs to torch.",
            remedy="Set device to 'auto' or 'cpu', or ask the cluster for a GPU.",
        )
    return device
