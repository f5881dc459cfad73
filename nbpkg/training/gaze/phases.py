"""The phases of gaze training behind one call: a grid of trainings, and the one that is evaluated."""

from __future__ import annotations

import pandas as pd

from nbpkg.errors import SettingsError
from nbpkg.settings.gaze import GazeTrainSettings
from nbpkg.training.gaze.final import train_gaze_final
from nbpkg.training.gaze.material import GazeMaterial
from nbpkg.training.gaze.sweep import sweep_gaze
from nbpkg.training.gaze.tabulate import GazeFound
from nbpkg.training.rounds import Where

CHOOSE = "distance"  # what is reported everywhere, and unlike the AUC means the same in all published programs


def train_gaze_phase(
    phase: str,
    material: GazeMaterial,
    *,
    settings: GazeTrainSettings,
    searched: pd.DataFrame | None,
    where: Where,
) -> GazeFound:
    """Train a grid, or what is evaluated; one process trains a network, workers share a grid.

    The spatial network and the one with memory are two experiments of the same two phases: the first trains on
    pictures, the second on video, from the first one's network.

    Parameters
    ----------
    phase
        ``sweep`` or ``final``.
    material
        What may be seen, and where training begins.
    settings
        All settings of the stage.
    searched
        Table ``settings`` of the sweep, for ``final``; None when the experiment has none.
    where
        Folder, seed and device.

    Returns
    -------
    GazeFound
        Trials, settings, history, costs, and the network of ``final``.

    Raises
    ------
    SettingsError
        When several processes are to train one network.
    """
    if where.launch.group > 1:
        raise SettingsError(
            f"launch asks for {where.launch.group} processes to train one gaze network.",
            expected="launch.processes 1 and launch.nodes 1: blocks of video go one after the other.",
            remedy="Set both to 1; to use more machines, let workers share the sweep (launch.search_workers).",
        )
    if phase == "sweep":
        return sweep_gaze(material, settings=settings.sweep, where=where, choose=CHOOSE)
    fold = settings.validation_fold
    return train_gaze_final(material, settings=settings.final, fold=fold, searched=searched, where=where, choose=CHOOSE)
