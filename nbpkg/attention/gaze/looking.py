"""How a network that predicts a gaze target sees one frame and one head, so that explanation methods can ask it.

What is explained is the scene, the head box stays as it is. The score is the log-odds of the share of the predicted map
that lies within three cells of its peak: high when the network is sure of the place it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nbpkg.attention.explain.layers import FramewiseNet
from nbpkg.attention.gaze.points import SIDE, name_frames
from nbpkg.attention.machine import Look
from nbpkg.datasets.gaze.items import Inputs, Preparation, prepare, read_persons
from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal
from nbpkg.video.frames import FrameStore

NEAR = 3  # cells round the peak, the width of the bells that networks are trained on
_LEAST = 1e-6
KEY = ["session", "person", "frame"]


class GazeScore(FramewiseNet):
    """A gaze network as one that gives a score for clips of one frame.

    Parameters
    ----------
    network
        VTD for pictures or video, or Gaze-LLE; of video the first frame of a track, without memory.
    inputs
        Scene, head and face as prepared, one row.
    box
        Head box, fractions ``x0 y0 x1 y1``, ``[1, 4]``.
    """

    def __init__(self, network: VtdSpatial | VtdTemporal | GazeLle, inputs: Inputs, box: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("head", inputs.head)
        self.register_buffer("face", inputs.face)
        self.register_buffer("box", box)
        with torch.no_grad():
            heat = self.answer(inputs.scene[:, :, None])[0, 0]
        peak = np.unravel_index(int(heat.argmax()), heat.shape)
        near = torch.zeros_like(heat)
        near[tuple(slice(max(0, int(at) - NEAR), int(at) + NEAR + 1) for at in peak)] = 1
        self.register_buffer("near", near)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return the score ``[B, 1]`` of clips ``[B, 3, 1, S, S]``."""
        heat = self.answer(clips)[:, 0]
        here = (heat * self.near).sum(dim=(1, 2))  # type: ignore[operator]
        elsewhere = heat.sum(dim=(1, 2)) - here
        return ((here + _LEAST).log() - (elsewhere.clamp(min=0) + _LEAST).log())[:, None]

    def answer(self, clips: torch.Tensor) -> torch.Tensor:
        """Return heat maps ``[B, 1, 64, 64]``, not below 0."""
        scene = clips[:, :, 0]
        count = len(scene)
        if isinstance(self.network, GazeLle):
            heat, _ = self.network.decode(self.network.encode(scene), [self.box] * count)  # type: ignore[list-item]
            return heat[:, None].clamp(min=0)
        head, face = (part.expand(count, -1, -1, -1) for part in (self.head, self.face))  # type: ignore[operator]
        if isinstance(self.network, VtdTemporal):
            heat, _, _ = self.network(scene, head, face, batch_sizes=(count,))
        else:
            heat, _, _ = self.network(scene, head, face)
        found: torch.Tensor = heat.clamp(min=0)
        return found

    @property
    def layer(self) -> str:
        """Layer in which the scene is last laid out over space before the head's attention meets it."""
        return "network.linear" if isinstance(self.network, GazeLle) else "network.layer5_scene"


def look_at_frames(
    gaze: pd.DataFrame, snippets: pd.DataFrame, *, stores: Mapping[str, FrameStore], device: torch.device
) -> Look:
    """Return how a gaze network sees a snippet.

    Parameters
    ----------
    gaze
        Table ``gaze``; of several annotators the first one's head box counts.
    snippets
        From `nbpkg.attention.gaze.points.choose_frames`.
    stores
        Open frame store of each session.
    device
        Where to compute.
    """
    rows = gaze.drop_duplicates(KEY).assign(snippet_id=lambda table: name_frames(table)).set_index("snippet_id")
    rows = rows.loc[rows.index.isin(snippets["snippet_id"])]

    def look(snippet: Mapping[str, Any], trained: Any) -> tuple[GazeScore, torch.Tensor]:
        row = rows.loc[[str(snippet["snippet_id"])]]
        frame = stores[str(snippet["session"])].frames([int(row["frame"].iloc[0])])[0]
        network = trained.network.to(device).eval()
        inputs, _ = prepare([frame], read_persons(row), Preparation(size=network.size.size))
        size = row[["width", "height", "width", "height"]].to_numpy(np.float32)
        box = torch.from_numpy(row[["x0", "y0", "x1", "y1"]].to_numpy(np.float32) / size)
        on_device = Inputs(*(part.to(device) for part in inputs))
        return GazeScore(network, on_device, box.to(device)), on_device.scene[0][:, None]

    return look


class SquareStore:
    """Frames as networks see them, squeezed to a square, so that maps of the square lie where they belong.

    Parameters
    ----------
    store
        The frames as they are.
    """

    closeup = False  # as of `FrameStore`

    def __init__(self, store: FrameStore) -> None:
        self.store, self.fps = store, store.fps

    def __len__(self) -> int:
        return len(self.store)

    def frames(self, indices: Any) -> NDArray[np.uint8]:
        """Read frames by number, uint8 RGB ``[n, S, S, 3]``."""
        found = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in self.store.frames(indices)]
        return np.stack(found).astype(np.uint8)


def square_stores(stores: Mapping[str, FrameStore]) -> dict[str, SquareStore]:
    """Return the stores of all sessions, frames squeezed to squares."""
    return {session: SquareStore(store) for session, store in stores.items()}
