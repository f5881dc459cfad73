"""How a network over windows of faces sees one snippet of a track, so that explanation methods can ask it.

What is explained is the seven faces in the middle of the snippet; head pose and landmarks stay as they are. A snippet
as long as seven frames shows people the same faces; where one has no crop, or temporal dropout leaves it out, the
network sees another face of its window there, by its own rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from nbpkg.attention.explain.layers import FramewiseNet
from nbpkg.attention.looking.tracks import find_nearest, name_track
from nbpkg.attention.machine import Look
from nbpkg.datasets.looking.windows import CENTRE, OFFSETS, SLOTS, Windows
from nbpkg.errors import ExplainError
from nbpkg.models.looking.backbone import FaceEncoder
from nbpkg.models.looking.build import LookingNetwork
from nbpkg.training.looking.learner import Setting
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.looking.saved import TrainedFaceNetwork
from nbpkg.video.clips import frame_numbers


class WindowScore(FramewiseNet):
    """A network over windows as one that gives scores of both classes for clips of seven faces.

    Parameters
    ----------
    network
        In evaluation mode.
    head, landmarks
        Rows of the priors of one window, ``[1, 3]`` and ``[1, 5, 2]``; None where the network does not ask.
    """

    def __init__(self, network: LookingNetwork, head: torch.Tensor | None, landmarks: torch.Tensor | None) -> None:
        super().__init__()
        self.head: torch.Tensor | None
        self.landmarks: torch.Tensor | None
        self.network = network
        self.register_buffer("head", head)
        self.register_buffer("landmarks", landmarks)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return scores ``[B, 2]`` of clips ``[B, 3, 7, S, S]``: not looking, looking."""
        count = len(clips)
        features, maps = self.network.encode(clips.transpose(1, 2).flatten(0, 1))
        head, landmarks = (_repeat(part, count) for part in (self.head, self.landmarks))
        middle = maps.unflatten(0, (count, SLOTS))[:, CENTRE]
        scores: torch.Tensor = self.network.decide(features.unflatten(0, (count, SLOTS)), middle, head, landmarks)
        return scores

    def lay_out(self, output: torch.Tensor) -> torch.Tensor:
        """Return the output of a layer that sees faces one by one, ``[B * 7, C, H, W]``, as ``[B, C, 7, H, W]``."""
        if output.ndim != 4 or output.shape[0] % SLOTS:
            return output
        laid: torch.Tensor = output.unflatten(0, (-1, SLOTS)).transpose(1, 2)
        return laid

    @property
    def layer(self) -> str:
        """The last map of a face, from which both what is said of it and what the middle one is asked are made."""
        encoder = self.network.base_model
        return "network.base_model.layer4" if isinstance(encoder, FaceEncoder) else "network.base_model.blocks"


def _repeat(part: torch.Tensor | None, count: int) -> torch.Tensor | None:
    return None if part is None else part.expand(count, *part.shape[1:])


def look_at_windows(material: FaceMaterial, *, device: torch.device) -> Look:
    """Return how a network over windows sees a snippet: the seven faces around its middle.

    Parameters
    ----------
    material
        Of the clips that snippets lie in.
    device
        Where to compute.
    """
    rows = [{str(key): value for key, value in row.items()} for row in material.tracks.to_dict("records")]
    tracks = {name_track(str(row["session"]), str(row["track"])): row for row in rows}
    built: dict[
        int, tuple[TrainedFaceNetwork, LookingNetwork]
    ] = {}  # kept with what they are of, whose id stays its own

    def look(snippet: Mapping[str, Any], trained: TrainedFaceNetwork) -> tuple[WindowScore, torch.Tensor]:
        if id(trained) not in built:
            built[id(trained)] = trained, trained.build().to(device).eval()
        window = find_window(material, tracks[str(snippet["session"])], snippet)
        setting = Setting.of(material, trained.settings, seed=0)._replace(baked=None)
        batch = setting.batches(window, training=False).make([0])
        clip = batch.crops[batch.where[0]].transpose(0, 1).to(device)
        return WindowScore(built[id(trained)][1], batch.head.to(device), batch.points.to(device)), clip

    return look


def find_window(material: FaceMaterial, track: Mapping[str, Any], snippet: Mapping[str, Any]) -> Windows:
    """Find the window in the middle of a snippet.

    Parameters
    ----------
    material
        Of the clips.
    track
        Row of table ``tracks``.
    snippet
        Row of table ``snippets``; times count from the track's first frame.

    Returns
    -------
    Windows
        One: the face of the frame in the middle, where that has no crop the nearest one that has, and the crops of the
        three frames before and after the middle.

    Raises
    ------
    ExplainError
        When the track has no crop.
    """
    first, stop = int(track["offset"]), int(track["offset"]) + int(track["rows"])
    rows = first + np.flatnonzero(material.priors["crop"][first:stop])
    if not len(rows):
        raise ExplainError(
            "The track has no crop that could be explained.",
            where=str(snippet["session"]),
            expected="At least one.",
            remedy="Choose the snippets again with the present tracks.",
        )
    frames = material.faces["frame"][rows].astype(np.int64) - int(track["first"])
    times = int(snippet["start_ms"]), int(snippet["end_ms"])
    wanted = frame_numbers(*times, fps=material.fps, count=1) + np.asarray(OFFSETS)
    found = rows[find_nearest(frames, wanted)]
    there = np.isin(wanted, frames)
    there[CENTRE] = True
    row, nothing = found[[CENTRE]], np.zeros(0, np.int64)
    slots = np.where(there, found, -1)[None]
    return Windows(row, slots, material.faces["label"][row].astype(np.int64), nothing, nothing)
