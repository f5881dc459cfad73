"""What a trained gaze network answers, scored as it answers: no map is kept, no long track is in memory whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from nbpkg.datasets.gaze.blocks import BlockDataset, FrameSource, open_block_loader
from nbpkg.datasets.gaze.items import Preparation
from nbpkg.datasets.gaze.people import PeopleDataset, plan_people
from nbpkg.datasets.gaze.pictures import plan_pictures
from nbpkg.datasets.gaze.plans import plan_blocks, usable_rows
from nbpkg.errors import WeightsError
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.metrics.gaze.distance import Reading
from nbpkg.metrics.gaze.stream import ScoreStream, Truth, one_row_per_map
from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal
from nbpkg.models.gaze.weights import BACKBONE, build_gaze_model
from nbpkg.models.published import load_state
from nbpkg.progress import Report
from nbpkg.runs.files import read_json, sha256

Network = VtdSpatial | VtdTemporal | GazeLle


@dataclass(frozen=True)
class GazeCard:
    """What a saved gaze network is.

    Parameters
    ----------
    facts
        As the training wrote them: network, frozen, footage, prepare, sessions, validation_fold, epoch, settings,
        starting_weights.
    sha256
        Of its file.
    """

    facts: Mapping[str, Any]
    sha256: str

    @property
    def prepare(self) -> Preparation:
        """How frames are prepared for it."""
        return Preparation(**self.facts["prepare"])


class TrainedGaze(NamedTuple):
    """A gaze network and what it is."""

    network: Network
    card: GazeCard


@dataclass(frozen=True)
class Asking:
    """How a network is asked.

    Parameters
    ----------
    batch_size
        Tracks or pictures in the network at once.
    chunk
        Time steps in the network at once, for video.
    device
        Where to compute.
    workers
        Processes that read frames.
    """

    batch_size: int
    chunk: int
    device: torch.device
    workers: int = 0


class Answer(NamedTuple):
    """Answers to some rows of a table.

    Parameters
    ----------
    rows
        Places in the table, ``[n]``.
    heat
        Heat maps, float32 ``[n, 64, 64]``.
    inside
        Logits of inside, ``[n]``; NaN when the network does not judge.
    """

    rows: NDArray[np.int64]
    heat: NDArray[np.float32]
    inside: NDArray[np.float64]


def load_gaze_networks(folder: Path, *, like: Network | None = None) -> dict[tuple[str, str], TrainedGaze]:
    """Load the networks that a final phase saved, keyed by task and variable.

    Parameters
    ----------
    folder
        Its run folder.
    like
        Network of the same name with its frozen DINOv2, which is not saved with a decoder; None builds one at random.

    Raises
    ------
    WeightsError
        When a file is missing, damaged, another one than was written down, or does not fit.
    """
    found = {}
    for entry in read_json(folder / "networks.json"):
        path = folder / entry["file"]
        if not path.is_file() or sha256(path) != entry["sha256"]:
            raise WeightsError(
                "The network is not the one that the final phase wrote down.",
                where=str(path),
                expected=f"The file with hash {entry['sha256'][:12]}….",
                remedy="Run notebooks/05_train.ipynb with phase = 'final' again.",
            )
        found[entry["task"], entry["variable"]] = _load(path, entry["sha256"], like)
    return found


def _load(path: Path, digest: str, like: Network | None) -> TrainedGaze:
    try:
        with safe_open(path, framework="pt") as content:
            facts = json.loads((content.metadata() or {})["card"])
        state = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(
            f"The network cannot be read ({type(error).__name__}).",
            where=str(path),
            expected="Weights with a card, as notebook 05 writes them.",
            remedy="Run notebooks/05_train.ipynb with phase = 'final' again.",
        ) from None
    network = build_gaze_model(facts["network"]) if like is None else copy.deepcopy(like)
    separate = isinstance(network, GazeLle) and network.frozen and not any(key.startswith(BACKBONE) for key in state)
    load_state(network, state, where=str(path), allow=(f"{BACKBONE}*",) if separate else ())
    return TrainedGaze(network.eval(), GazeCard(facts, digest))


def score_network(
    trained: TrainedGaze,
    table: pd.DataFrame,
    *,
    stores: Mapping[str, FrameSource],
    asking: Asking,
    truth: Truth,
    protocol: Protocol,
    reading: Reading = "index",
) -> pd.DataFrame:
    """Let a network answer every row of a table and score the answers.

    Parameters
    ----------
    trained
        The network.
    table
        Table ``gaze``, rows of one kind of data set.
    stores
        Frames of each session.
    asking
        How it is asked.
    truth, protocol, reading
        As in `nbpkg.metrics.gaze.stream.ScoreStream`.

    Returns
    -------
    pandas.DataFrame
        Table ``gaze_scores``; rows without head box have no score, and a reason.
    """
    table = table.reset_index(drop=True)
    asked = table if truth == "box" else table.iloc[one_row_per_map(table)]
    place = asked.index.to_numpy()
    stream = ScoreStream(
        table, truth=truth, protocol=protocol, reading=reading, predictor=trained.card.facts["network"]
    )
    report = Report("answer", total=len(asked), unit="row")
    for answer in answer_rows(trained, asked.reset_index(drop=True), stores=stores, asking=asking):
        stream.add(answer.heat, place[answer.rows], logits=answer.inside)
        report.step(len(answer.rows))
    report.close()
    return stream.table()


@torch.no_grad()
def answer_rows(
    trained: TrainedGaze, table: pd.DataFrame, *, stores: Mapping[str, FrameSource], asking: Asking
) -> Iterator[Answer]:
    """Answer the rows of a table that have a head box, block by block.

    Parameters
    ----------
    trained, table, stores, asking
        As in `score_network`.

    Yields
    ------
    Answer
        Of one block.
    """
    if not usable_rows(table, need_targets=False).any():
        return
    network = trained.network.to(asking.device).eval()
    if isinstance(network, GazeLle):
        yield from _ask_for_people(network, table, stores, asking)
    else:
        yield from _ask_in_blocks(network, trained.card.prepare, table, stores, asking)


def _ask_in_blocks(
    network: VtdSpatial | VtdTemporal,
    how: Preparation,
    table: pd.DataFrame,
    stores: Mapping[str, FrameSource],
    asking: Asking,
) -> Iterator[Answer]:
    size = asking.batch_size
    if isinstance(network, VtdTemporal):
        plan = plan_blocks(table, batch=size, chunk=asking.chunk, how=how, need_targets=False)
    else:
        plan = plan_pictures(table, batch=size, how=how, need_targets=False)
    state = None
    for block in open_block_loader(BlockDataset(plan, table, stores=stores, how=how), workers=asking.workers):
        if block.pixels is None:
            continue
        trunk = network.trunk(*block.pixels.make_inputs(asking.device))
        encoding = trunk.encoding
        if isinstance(network, VtdTemporal):
            encoding, state = network.remember(encoding, block.batch_sizes, None if block.first else state)
        heat, logit = network.decode(encoding)[:, 0], network.judge(trunk.inside)[:, 0]
        yield Answer(block.rows.numpy(), heat.float().cpu().numpy(), logit.double().cpu().numpy())


def _ask_for_people(
    network: GazeLle, table: pd.DataFrame, stores: Mapping[str, FrameSource], asking: Asking
) -> Iterator[Answer]:
    """Ask for all people of a picture at once; annotators, who may have other boxes, one after the other."""
    for _, own in table.groupby("rater", sort=True):
        rows = own.reset_index(drop=True)
        if not usable_rows(rows, need_targets=False).any():
            continue
        plan = plan_people(rows, batch=asking.batch_size, need_targets=False)
        dataset = PeopleDataset(plan, rows, stores=stores, size=network.size.size)
        for batch in open_block_loader(dataset, workers=asking.workers):
            heat, inside = network.decode(network.encode(batch.images.to(asking.device)), batch.boxes)
            chance = torch.full((len(heat),), torch.nan) if inside is None else inside
            place = own.index.to_numpy()[batch.rows.numpy()]
            yield Answer(place, heat.float().cpu().numpy(), torch.logit(chance.double()).cpu().numpy())


def show_answers(
    trained: TrainedGaze, rows: pd.DataFrame, *, stores: Mapping[str, FrameSource], asking: Asking
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Answer a few rows once more and keep their maps, to look at them.

    Parameters
    ----------
    trained, stores, asking
        As in `score_network`; of video each row stands alone, without memory.
    rows
        Rows of table ``gaze``.

    Returns
    -------
    tuple
        The RGB frame of each row, uint8 ``[H, W, 3]``, and the maps ``[N, 64, 64]``.
    """
    alone = rows.reset_index(drop=True).assign(segment=np.arange(len(rows)))
    maps = np.zeros((len(alone), 64, 64), np.float32)
    for answer in answer_rows(trained, alone, stores=stores, asking=asking):
        maps[answer.rows] = answer.heat
    places = zip(alone["session"].astype(str), alone["frame"].tolist(), strict=True)
    frames = [stores[session].frames([frame])[0] for session, frame in places]
    return frames, maps
