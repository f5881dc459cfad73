"""What a frozen trunk or backbone makes of every row or picture of a table `gaze`: computed once, read when needed.

An epoch of the rest then costs the rest only, as long as frames are not changed at random. A row takes 98 KiB in the
published size of VTD (encoding 512 × 7 × 7 and 49 values for inside or outside, float32), a picture 3 MiB for Gaze-LLE
on ViT-B (768 × 32 × 32, float32).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg.baking.shards import shard_path
from nbpkg.datasets.gaze.blocks import BlockDataset, FrameSource, open_block_loader
from nbpkg.datasets.gaze.items import Pixels, Preparation
from nbpkg.datasets.gaze.people import PeopleDataset, plan_people
from nbpkg.datasets.gaze.pictures import plan_pictures
from nbpkg.datasets.gaze.plans import usable_rows
from nbpkg.errors import StageError
from nbpkg.models.device import Parts, autocast
from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal
from nbpkg.progress import Report
from nbpkg.runs.files import new_file, read_json, write_json

FACTS = "baked.json"
ROWS = 2048  # of a shard at most, so that little is lost in a kill
LEARNS = ("fc_inout.", "convlstm_scene.", "deconv", "conv4.")  # of VTD; the rest is its trunk
Rows = NDArray[np.int64]


class TimedSource(FrameSource, Protocol):
    """Frames with a rate."""

    @property
    def fps(self) -> Fraction:
        """Frames per second."""


@dataclass(frozen=True)
class GazeBake:
    """How rows are baked.

    Parameters
    ----------
    prepare
        How VTD's inputs are made; of Gaze-LLE only its size, the side of the pictures, counts.
    batch_size
        Rows or pictures per forward pass; halved when memory runs out.
    device
        Where the network runs.
    precision
        Numbers on disk: ``float32`` or ``float16``.
    workers
        Processes that read frames.
    """

    prepare: Preparation
    batch_size: int
    device: torch.device
    precision: Literal["float32", "float16"] = "float32"
    workers: int = 0


def plan_gaze_features(table: pd.DataFrame, stores: Mapping[str, TimedSource], *, pictures: bool) -> pd.DataFrame:
    """Plan where the features of each row lie; rows that show the same head share them.

    Parameters
    ----------
    table
        Table `gaze` of the sessions to be baked.
    stores
        Frames of each session.
    pictures
        Whether the features are those of whole pictures (Gaze-LLE), or of a head in a picture (VTD).

    Returns
    -------
    pandas.DataFrame
        Table ``features``: every row with a head box (VTD), or every picture with one (Gaze-LLE).
    """
    own = table[usable_rows(table, need_targets=False)].reset_index(drop=True)
    names = name_rows(own, pictures=pictures)
    own, names = own[~names.duplicated()].reset_index(drop=True), names[~names.duplicated()].reset_index(drop=True)
    same = ["session", "frame"] if pictures else ["session", "person", "frame", "x0", "y0", "x1", "y1"]
    place = own.groupby(same, sort=False, observed=True).ngroup()
    first = ~place.duplicated()
    within = own[first].groupby("session", sort=False, observed=True).cumcount().to_numpy()
    at = dict(zip(place[first], within, strict=True))
    row = place.map(at).to_numpy(np.int64)
    rates = own["session"].map({session: store.fps for session, store in stores.items()})
    start = [round(1000 * frame / rate) for frame, rate in zip(own["frame"], rates, strict=True)]
    end = [round(1000 * (frame + 1) / rate) for frame, rate in zip(own["frame"], rates, strict=True)]
    return pd.DataFrame(
        {
            "clip_id": names,
            "view": "grid",
            "session": own["session"].astype(str),
            "rater": "" if pictures else own["rater"].astype(str),
            "start_ms": np.array(start, np.int64),
            "end_ms": np.array(end, np.int64),
            "repeat": 0,
            "shard": own["session"].astype(str) + [f"_{number // ROWS:03d}" for number in row],
            "row": row % ROWS,
        }
    )


def name_rows(table: pd.DataFrame, *, pictures: bool) -> pd.Series:
    """Name the features of each row of a table `gaze`, as in column ``clip_id``."""
    columns = ["session", "frame"] if pictures else ["session", "person", "rater", "segment", "frame"]
    named = table[columns[0]].astype(str)
    for column in columns[1:]:
        named = named + "/" + table[column].astype(str)
    return named


def bake_gaze(
    network: VtdSpatial | VtdTemporal | GazeLle,
    table: pd.DataFrame,
    index: pd.DataFrame,
    *,
    stores: Mapping[str, FrameSource],
    folder: Path,
    how: GazeBake,
) -> list[Path]:
    """Run all planned rows through trunk or backbone into shards; what an earlier run finished stays.

    Parameters
    ----------
    network
        VTD, or Gaze-LLE with its backbone; evaluation mode.
    table
        Table `gaze`, as planned.
    index
        From `plan_gaze_features`.
    stores
        Frames of each session.
    folder
        Run folder; must belong to this network and these settings alone.
    how
        How rows are baked.

    Returns
    -------
    list of Path
        All shards, ``[rows, numbers]``; ``baked.json`` says what the numbers are.

    Raises
    ------
    StageError
        When the disk is full, or memory does not suffice for a single row.
    """
    network = network.to(how.device).eval()
    pictures = isinstance(network, GazeLle)
    shape = _measure(network)
    width = sum(int(np.prod(one)) for one in shape)
    table = table[usable_rows(table, need_targets=False)].reset_index(drop=True)
    names = name_rows(table, pictures=pictures)
    unique = index.drop_duplicates(["shard", "row"]).sort_values(["shard", "row"], kind="stable")
    first = pd.Series(np.arange(len(names)), index=names).groupby(level=0).first()
    report = Report("bake", total=len(unique), unit="picture" if pictures else "row")
    paths = []
    for name, rows in unique.groupby("shard", sort=True):
        path = shard_path(folder, str(name))
        paths.append(path)
        if not _is_whole(path, (len(rows), width), how.precision):
            chosen = table.iloc[first.loc[rows["clip_id"]].to_numpy()].reset_index(drop=True)
            _bake_shard(network, chosen, stores, path, how)
        report.step(len(rows), note=str(name))
    facts = {"pictures": pictures, "shape": shape, "precision": how.precision, "weights": hash_trunk(network)}
    write_json(folder / FACTS, facts)
    report.close()
    return paths


def hash_trunk(network: VtdSpatial | VtdTemporal | GazeLle) -> str:
    """Hash the weights on which baked features depend: VTD's trunk, or Gaze-LLE's backbone."""
    hashed = hashlib.sha256()
    for key, value in network.state_dict().items():
        own = key.startswith("backbone.") if isinstance(network, GazeLle) else not key.startswith(LEARNS)
        if own and not key.endswith("num_batches_tracked"):
            hashed.update(key.encode())
            hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()


@dataclass
class BakedGaze:
    """Features of rows or pictures on disk, memory-mapped; can be sent to another process.

    Parameters
    ----------
    folder
        Run folder of `bake_gaze`.
    index
        Table ``features``.

    Raises
    ------
    StageError
        When the folder holds none.
    """

    folder: Path
    index: pd.DataFrame
    facts: dict[str, Any] = field(init=False)
    _maps: dict[str, NDArray] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        path = self.folder / FACTS
        if not path.is_file():
            raise StageError(
                "There are no baked features.", where=str(path), remedy="Run notebooks/04_bake.ipynb again."
            )
        self.facts = read_json(path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def check(self, network: VtdSpatial | VtdTemporal | GazeLle) -> None:
        """Refuse features that another network made.

        Raises
        ------
        StageError
            When trunk or backbone differ from those that were baked.
        """
        here = hash_trunk(network)
        if here != self.facts["weights"]:
            raise StageError(
                "The baked features were made with other weights than training begins with.",
                where=str(self.folder),
                expected=f"A trunk with the hash {self.facts['weights'][:12]}; this one has {here[:12]}.",
                remedy="Bake again with the network that is to be trained, or train without baked features.",
            )

    def open(self, table: pd.DataFrame) -> BakedRows:
        """Find the features of all rows of a table.

        Raises
        ------
        StageError
            When a row with a head box has none.
        """
        names = name_rows(table, pictures=bool(self.facts["pictures"]))
        found = self.index.set_index("clip_id")[["shard", "row"]].reindex(names)
        lacking = found.index[found["row"].isna().to_numpy() & usable_rows(table, need_targets=False)]
        if len(lacking):
            raise StageError(
                f"{len(lacking)} rows have no baked features: {', '.join(map(str, lacking[:5]))}.",
                where=str(self.folder),
                expected="Features of every row of the training sessions.",
                remedy="Run notebooks/04_bake.ipynb again.",
            )
        shards = found["shard"].fillna("").to_numpy(dtype=str)
        return BakedRows(self, shards, found["row"].fillna(-1).to_numpy(np.int64))

    def map(self, name: str) -> NDArray:
        """Map one shard into memory."""
        if name not in self._maps:
            self._maps[name] = np.load(shard_path(self.folder, name), mmap_mode="r", allow_pickle=False)
        return self._maps[name]


@dataclass(frozen=True)
class BakedRows:
    """The features of the rows of one table.

    Parameters
    ----------
    baked
        Where they lie.
    shards, places
        Shard and row in it, of each row of the table.
    """

    baked: BakedGaze
    shards: NDArray[np.str_]
    places: Rows

    def read(self, rows: Rows) -> list[torch.Tensor]:
        """Read the features of some rows, float32: encoding and inside of VTD, or tokens of Gaze-LLE."""
        shape = self.baked.facts["shape"]
        sizes = [int(np.prod(one)) for one in shape]
        numbers = np.empty((len(rows), sum(sizes)), np.float32)
        for name in np.unique(self.shards[rows]):
            own = np.flatnonzero(self.shards[rows] == name)
            numbers[own] = self.baked.map(str(name))[self.places[rows[own]]]
        parts = torch.from_numpy(numbers).split(sizes, dim=1)
        return [part.reshape(len(rows), *one) for part, one in zip(parts, shape, strict=True)]


def _bake_shard(
    network: Any, table: pd.DataFrame, stores: Mapping[str, FrameSource], path: Path, how: GazeBake
) -> None:
    """Write one shard, complete or not at all; rows lie as in the table."""
    forward = Parts(how.batch_size)
    with new_file(path) as temporary:
        numbers, done = None, 0
        for count, compute in _batches(network, table, stores, how):
            part = forward.run(compute, torch.arange(count))
            if numbers is None:
                shape = (len(table), part.shape[1])
                numbers = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(how.precision), shape=shape)
                _claim_room(temporary)
            numbers[done : done + count] = part
            done += count


def _claim_room(path: Path) -> None:
    """Make a full disk an error here, and not a dead process at some later byte."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _batches(
    network: Any, table: pd.DataFrame, stores: Mapping[str, FrameSource], how: GazeBake
) -> Iterator[tuple[int, Callable[[torch.Tensor], NDArray[np.float32]]]]:
    """Give the number of rows of each batch, and what computes the numbers of some of them."""
    batch = how.batch_size
    if isinstance(network, GazeLle):
        people = plan_people(table, batch=batch, need_targets=False)
        for loaded in open_block_loader(
            PeopleDataset(people, table, stores=stores, size=network.size.size), workers=how.workers
        ):
            if loaded.images is not None:
                yield len(loaded.images), partial(_encode, network, loaded.images, how)
        return
    plan = plan_pictures(table, batch=batch, how=how.prepare, need_targets=False)
    for block in open_block_loader(BlockDataset(plan, table, stores=stores, how=how.prepare), workers=how.workers):
        if block.pixels is not None:
            yield len(block.rows), partial(_look, network, block.pixels, how)


def _look(network: VtdSpatial | VtdTemporal, pixels: Pixels, how: GazeBake, rows: torch.Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        trunk = network.trunk(*Pixels(*(one[rows] for one in pixels)).make_inputs(how.device))
    return torch.cat([trunk.encoding.flatten(1), trunk.inside], dim=1).float().cpu().numpy()


def _encode(network: GazeLle, images: torch.Tensor, how: GazeBake, rows: torch.Tensor) -> NDArray[np.float32]:
    with torch.inference_mode(), autocast(how.device, "float32"):
        tokens = network.encode(images[rows].to(how.device))
    return tokens.flatten(1).float().cpu().numpy()


def _measure(network: VtdSpatial | VtdTemporal | GazeLle) -> list[list[int]]:
    """Return the shape of what is baked of one row."""
    if isinstance(network, GazeLle):
        side = network.size.grid
        return [[network.linear.in_channels, side, side]]
    own = network.size
    return [[own.compress[1], own.grid, own.grid], [own.grid**2]]


def _is_whole(path: Path, shape: tuple[int, int], precision: str) -> bool:
    """Tell whether an earlier run completed a shard: it is renamed into place only when whole."""
    if not path.is_file():
        return False
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError):  # cut or overwritten by something else: it is made again
        return False
    return bool(found.shape == shape and found.dtype == np.dtype(precision))
