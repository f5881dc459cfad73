"""Where a gaze training begins when it goes on from another experiment's network."""

from __future__ import annotations

import pandas as pd

from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import VtdTemporal
from nbpkg.models.gaze.weights import BACKBONE
from nbpkg.models.published import FROM_SPATIAL, WITHOUT_INOUT, load_state
from nbpkg.runs.graph import MODEL
from nbpkg.runs.stage import Stage
from nbpkg.training.gaze.answers import load_gaze_networks
from nbpkg.training.gaze.material import GazeNet


def continue_network(network: GazeNet, stage: Stage) -> pd.DataFrame:
    """Copy the weights of the experiment that ``inputs.model`` names into a network, strictly.

    Parameters
    ----------
    network
        Changed in place. A network with memory may begin from one without, Gaze-LLE with in/out from one without.
    stage
        The open stage; without ``inputs.model`` the network stays as it is.

    Returns
    -------
    pandas.DataFrame
        One row per module, what became of its weights; empty when nothing was copied.

    Raises
    ------
    WeightsError
        When they do not fit.
    """
    if MODEL not in stage.receipt["inputs"]:
        return pd.DataFrame()
    folder = stage.input(MODEL)
    ((_, trained),) = load_gaze_networks(folder).items()
    state = dict(trained.network.state_dict())
    allow: tuple[str, ...] = FROM_SPATIAL if isinstance(network, VtdTemporal) else ()
    if isinstance(network, GazeLle):
        allow = (*WITHOUT_INOUT, f"{BACKBONE}*") if network.frozen else WITHOUT_INOUT
    return load_state(network, state, where=str(folder), allow=allow)
