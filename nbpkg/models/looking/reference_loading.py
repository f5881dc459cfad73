"""Loading of checkpoints as in the published programs: by the file's name, and without a word about what is left out.

For comparison with published runs only; `nbpkg.models.looking.loading` is what trainings and evaluations use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from nbpkg.errors import Problem, WeightsError, raise_all
from nbpkg.models.looking.build import LookingNetwork
from nbpkg.models.looking.gazepose import GazePose
from nbpkg.models.looking.loading import COLUMNS
from nbpkg.models.looking.lstm_heads import LamLstm
from nbpkg.models.looking.published import read_raw

LAST = ("last_layer.weight", "last_layer.bias")
Run = Literal["train", "val", "eval"]


def load_as_published(network: LookingNetwork, path: Path, *, run: Run) -> pd.DataFrame:
    """Load a checkpoint by the rules of the published programs.

    Parameters
    ----------
    network
        GazePose, its baseline, or that of the challenge.
    path
        Checkpoint; a missing one is passed over, as published.
    run
        ``train``; ``val`` and ``eval``, what ``--val`` and ``--eval`` start.

    Returns
    -------
    pandas.DataFrame
        As `nbpkg.models.looking.loading.begin_from` gives it.

    Raises
    ------
    WeightsError
        Where the published programs stop: shapes that differ; a last layer that should be removed but is not there;
        when GazePose is not trained or ``run`` is ``eval``, entries that are missing or unexpected.
    """
    own = network.state_dict()
    if not path.is_file():
        return pd.DataFrame([(key, "initial", "the file is not there") for key in own], columns=list(COLUMNS))
    state = read_raw(path)
    removed = LAST if _removes_head(network, path.name, run) else ()
    problems = [Problem(f"{key} is to be removed, but is not there.") for key in removed if key not in state]
    kept = {key: item for key, item in state.items() if key not in removed}
    problems += _compare(own, kept, strict=run == "eval" or (run == "val" and isinstance(network, GazePose)))
    raise_all(problems, WeightsError, summary=f"the weights in {path} do not fit the network.")
    network.load_state_dict(kept, strict=False)
    rows = [(key, "loaded", "") if key in kept else (key, "initial", "not in the file") for key in own]
    unknown = [key for key in kept if key not in own]
    rows += [(key, "dropped", "removed by the published rule") for key in removed]
    rows += [(key, "dropped", "the network has no such entry") for key in unknown]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _removes_head(network: LookingNetwork, name: str, run: Run) -> bool:
    if isinstance(network, GazePose):
        return run == "train" or "gaze360_model.pth" in name
    if isinstance(network, LamLstm):
        return "gaze360" in name
    return run == "train" and "gaze360_model.pth" in name


def _compare(own: dict[str, torch.Tensor], kept: dict[str, torch.Tensor], *, strict: bool) -> list[Problem]:
    both = [key for key in kept if key in own and kept[key].shape != own[key].shape]
    problems = [Problem(f"{key} is {list(kept[key].shape)} instead of {list(own[key].shape)}.") for key in both]
    if strict:
        problems += [Problem(f"{key} is missing.") for key in own if key not in kept]
        problems += [Problem(f"{key} is unexpected.") for key in kept if key not in own]
    return problems
