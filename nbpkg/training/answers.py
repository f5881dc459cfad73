"""What trained networks answer for the clips of the grid; no frame of a session is read or decoded twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.datasets.clips import iterate_session_clips
from nbpkg.datasets.preprocess import Preprocess, normalise
from nbpkg.errors import WeightsError
from nbpkg.models.checkpoints import Card, load_network
from nbpkg.models.device import Parts, to_channels_last
from nbpkg.models.network import Net, decide
from nbpkg.progress import Report
from nbpkg.runs.files import read_json
from nbpkg.video.frames import FrameStore


class Trained(NamedTuple):
    """A network and how to run it."""

    net: Net
    card: Card

    @property
    def preprocess(self) -> Preprocess:
        """What is done to clips before the network."""
        return Preprocess.from_json(self.card.preprocess.model_dump())


Networks = Mapping[tuple[str, str], Trained]


def load_networks(folder: Path) -> dict[tuple[str, str], Trained]:
    """Load the networks of phase ``final``, keyed by task and variable.

    Parameters
    ----------
    folder
        Its run folder.

    Raises
    ------
    WeightsError
        When a checkpoint is missing, damaged, or of another architecture.
    """
    networks = {}
    for entry in read_json(folder / "networks.json"):
        trained = Trained(*load_network(folder / entry["file"]))
        if trained.card.sha256 != entry["sha256"]:
            raise WeightsError(
                "The network is not the one that the final phase wrote down.",
                where=str(folder / entry["file"]),
                expected=f"The weights with hash {entry['sha256'][:12]}….",
                remedy="Run notebooks/05_train.ipynb with phase = 'final' again.",
            )
        networks[entry["task"], entry["variable"]] = trained
    return networks


def predict_samples(
    networks: Networks,
    samples: pd.DataFrame,
    *,
    folds: pd.DataFrame,
    stores: Mapping[str, FrameStore],
    batch_size: int,
    device: torch.device,
) -> pd.DataFrame:
    """Let every network answer for all clips of its task, whatever their fold.

    Parameters
    ----------
    networks
        From `load_networks`.
    samples
        Table ``samples``; pairs without a network are left out.
    folds
        Table ``folds``.
    stores
        Open frame store of each session.
    batch_size
        Clips per forward pass.
    device
        Where to compute.

    Returns
    -------
    pandas.DataFrame
        Table ``predictions``; ``role`` says what the network did with the fold.
    """
    wanted = pd.MultiIndex.from_frame(samples[["task", "variable"]]).isin(list(networks))
    asked = samples[wanted].merge(folds[["session", "fold", "role"]], on="session", how="left", validate="many_to_one")
    scores = _score_clips(networks, asked, stores=stores, batch_size=batch_size, device=device)
    parts = []
    for (task, variable), rows in asked.groupby(["task", "variable"], sort=True):
        own = scores[str(task), str(variable)]
        found = torch.from_numpy(np.stack([own[clip] for clip in rows["clip_id"]]))
        probability = found.double().softmax(dim=1)[:, 1].numpy()
        training = networks[str(task), str(variable)].card.training
        chose = (rows["fold"] == training["validation_fold"]) & (not training["retrained_on_all_folds"])
        role = rows["role"].where(~chose, "validation")
        parts.append(rows.assign(score=probability, predicted=decide(found).numpy(), role=role))
    columns = [column.name for column in tables.CONTRACTS["predictions"].columns]
    return tables.check(pd.concat(parts).sort_index()[columns], "predictions")


def _score_clips(
    networks: Networks,
    asked: pd.DataFrame,
    *,
    stores: Mapping[str, FrameStore],
    batch_size: int,
    device: torch.device,
) -> dict[tuple[str, str], dict[str, NDArray[np.float32]]]:
    """Return clip_id to scores [2] for every pair; sessions are gone through once for each shape of clips."""
    parts = Parts(batch_size)
    scores: dict[tuple[str, str], dict[str, NDArray[np.float32]]] = {pair: {} for pair in networks}
    shapes: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for pair, one in networks.items():
        shapes.setdefault((one.preprocess.size, one.preprocess.frames), []).append(pair)
        to_channels_last(one.net.to(device)).eval()
    for pairs in shapes.values():
        tasks = {task for task, _ in pairs}
        clips = asked[asked["task"].isin(tasks)].drop_duplicates("clip_id")
        report = Report("evaluate", total=len(clips), unit="clip")
        for session, rows in clips.groupby("session", sort=True):
            ready = iterate_session_clips(stores[str(session)], rows, networks[pairs[0]].preprocess)
            waiting: dict[str, list[tuple[str, NDArray[np.uint8]]]] = {task: [] for task in tasks}
            for place, frames in ready:
                task = str(rows["task"].iloc[place])
                waiting[task].append((str(rows["clip_id"].iloc[place]), frames))
                if len(waiting[task]) == batch_size:
                    _answer(networks, pairs, task, waiting[task], scores, parts, device)
                    waiting[task] = []
            for task, rest in waiting.items():
                _answer(networks, pairs, task, rest, scores, parts, device)
            report.step(len(rows), note=str(session))
        report.close()
    return scores


def _answer(
    networks: Networks,
    pairs: list[tuple[str, str]],
    task: str,
    clips: list[tuple[str, NDArray[np.uint8]]],
    scores: dict[tuple[str, str], dict[str, NDArray[np.float32]]],
    parts: Parts,
    device: torch.device,
) -> None:
    """Run the networks of one task on clips of it."""
    if not clips:
        return
    frames = torch.from_numpy(np.stack([frames for _, frames in clips]))
    for pair in pairs:
        if pair[0] != task:
            continue
        one = networks[pair]

        def compute(batch: torch.Tensor, one: Trained = one) -> NDArray[np.float32]:
            with torch.inference_mode():
                answer: NDArray[np.float32] = one.net(normalise(batch.to(device), one.preprocess)).float().cpu().numpy()
            return answer

        scores[pair] |= dict(zip([name for name, _ in clips], parts.run(compute, frames), strict=True))
