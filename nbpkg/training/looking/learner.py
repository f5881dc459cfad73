"""How a network over windows learns from faces and answers for them; a face that several windows share is seen once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn
from torch.nn import functional as F

from nbpkg.baking.looking import BakedFaces
from nbpkg.datasets.looking import windows as rules
from nbpkg.datasets.looking.batches import PriorGrids, Variation, WindowBatch, WindowBatches, WindowRule
from nbpkg.datasets.looking.windows import CENTRE, Windows
from nbpkg.errors import Problem, SettingsError, raise_all
from nbpkg.features.looking.packs import CropPacks
from nbpkg.models.device import autocast
from nbpkg.models.looking.build import LookingNetwork
from nbpkg.settings.looking import FaceLearning, FaceTrainSettings
from nbpkg.training.looking.material import FaceMaterial
from nbpkg.training.peers import ALONE, Peers, Shared

ANSWERED = 64  # windows at a time; those of a track share most faces


class Setting(NamedTuple):
    """What a network looks at, and how.

    Parameters
    ----------
    crops, baked
        Pictures of faces; features of them where they are frozen.
    priors, quality
        What is known of each face.
    settings
        Of the training.
    seed
        Of orders and draws.
    """

    crops: CropPacks
    baked: BakedFaces | None
    priors: NDArray[Any]
    quality: NDArray[Any]
    settings: FaceTrainSettings
    seed: int

    @classmethod
    def of(cls, material: FaceMaterial, settings: FaceTrainSettings, *, seed: int) -> Setting:
        """Take what is needed from the material; features only where the network of faces stays as it is.

        Raises
        ------
        SettingsError
            When features were baked that this network cannot use.
        """
        baked = material.baked if settings.learning.freeze else None
        if baked is not None:
            _check_baked(baked, settings)
        return cls(material.crops, baked, material.priors, material.quality, settings, seed)

    def batches(self, windows: Windows, *, training: bool) -> WindowBatches:
        """Return what makes batches of windows, varied in training."""
        network, window, augment = self.settings.network, self.settings.window, self.settings.augment
        varied = Variation(
            mirror=augment.mirror,
            least_area=augment.crop,
            per=augment.per,
            mirror_priors=augment.compat == "none",
        )
        return WindowBatches(
            windows,
            None if self.baked is not None else self.crops,
            self.priors,
            p=self.quality["p"],
            size=network.size,
            grids=PriorGrids(network.split, network.dsplit, network.csplit, network.compat),
            rule=WindowRule(window.fill, window.temporal_dropout, window.margin),
            variation=varied if training else None,
            seed=self.seed,
        )


def _check_baked(baked: BakedFaces, settings: FaceTrainSettings) -> None:
    """Refuse features of other crops than the network would see."""
    network, augment, problems = settings.network, settings.augment, []
    if network.size != baked.size:
        problems.append(Problem(f"train.network.size is {network.size}, features were baked at {baked.size} pixels."))
    if network.name == "gazepose" and not baked.has_maps:
        problems.append(Problem("gazepose asks maps of faces, but bake.maps is false."))
    if augment.mirror or augment.crop < 1:
        problems.append(
            Problem(
                "Crops are varied by train.augment, but their features are baked.",
                expected="mirror false and crop 1 where train.learning.freeze is true.",
            )
        )
    raise_all(problems, SettingsError, summary="baked features cannot be used.")


def weigh_classes(labels: NDArray[np.integer], how: FaceLearning) -> tuple[float, float]:
    """Return the weights of not looking and looking in the loss.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1])
    >>> weigh_classes(labels, FaceLearning(class_weights="counts"))
    (0.25, 0.75)
    >>> weigh_classes(labels, FaceLearning(class_weights="none"))
    (1.0, 1.0)
    """
    if how.class_weights == "none":
        return 1.0, 1.0
    if how.class_weights == "fixed":
        return how.weights[0], how.weights[1]
    return rules.weigh_classes(labels)


def to_scores(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn log odds of looking into probabilities: the softmax of both classes."""
    scores: NDArray[np.float64] = expit(log_odds)
    return scores


class FaceLearner:
    """A network with what it looks at.

    Parameters
    ----------
    network
        Over windows; its network of faces is kept as it is where the settings say so.
    setting
        What it looks at, and how.
    weights
        Of not looking and looking in the loss.
    """

    def __init__(self, network: LookingNetwork, setting: Setting, weights: tuple[float, float]) -> None:
        self.network, self.setting, self.weights = network, setting, weights
        self.frozen = setting.settings.learning.freeze
        self.device, self.peers, self.shared = torch.device("cpu"), ALONE, Shared(_Seeing(network), 1)
        if self.frozen:
            network.base_model.requires_grad_(requires_grad=False)

    def portable(self) -> FaceLearner:
        """Return a copy with its network on the CPU."""
        return FaceLearner(copy.deepcopy(self.network).cpu(), self.setting, self.weights)

    def enter(self, device: torch.device, peers: Peers) -> None:
        """Bring the network to its device, and share its gradients with the other processes."""
        self.device, self.peers = device, peers
        self.network = peers.prepare(self.network.to(device))  # type: ignore[assignment]
        self.shared = peers.share_gradients(_Seeing(self.network))

    def count_batches(self, windows: Windows, size: int) -> int:
        """Return the steps of an epoch."""
        return -(-len(windows) // size)

    def epoch(self, windows: Windows, size: int, *, epoch: int, workers: int = 0) -> Iterator[WindowBatch]:
        """Go through the windows in the random order of an epoch, from 1; each process gets its share of each batch.

        A process for which nothing is left of a batch gets its first window with the label -1, so that it keeps step.
        """
        made, rank = self.setting.batches(windows, training=True), self.peers.rank
        order = made.shuffle(epoch)
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        shares = [part[rank :: self.peers.size] if rank < len(part) else part[:1] for part in parts]
        for part, batch in zip(parts, made.each_of(shares, epoch=epoch, readers=workers), strict=True):
            yield batch if rank < len(part) else batch._replace(label=torch.full_like(batch.label, -1))

    def learn(self, batch: WindowBatch) -> tuple[float, NDArray[np.float64]]:
        """Make gradients from a batch.

        Parameters
        ----------
        batch
            Windows; those with the label -1 count for nothing.

        Returns
        -------
        float, ndarray
            Loss over the windows of all processes, weighted by class; log odds of looking for those of this one
            ``[B]``.
        """
        self.network.train()
        if self.frozen:
            self.network.base_model.eval()  # its batch norms keep their statistics
        labels = batch.label.to(self.device)
        share = torch.tensor(self.weights, device=self.device)[labels.clamp(min=0)] * (labels >= 0)
        total = self.peers.add_up(float(share.sum()), self.device)
        logits = self._decide(self.shared.network, batch)
        losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=-1)
        part = (losses * share).sum() / total
        self.shared.scale(part).backward()
        loss = self.peers.sum(part.detach())
        return float(loss), _log_odds(logits.detach()).cpu().numpy()

    @torch.no_grad()
    def answer(self, windows: Windows, *, workers: int = 0) -> NDArray[np.float64]:
        """Return the log odds of looking for each window ``[n]``; processes share the work.

        Windows are asked track by track, so that those of a batch share most of their faces, each of which is encoded
        once.
        """
        self.network.eval()
        self.peers.share_buffers(self.network)
        found = torch.zeros(len(windows), dtype=torch.float64, device=self.device)
        order = np.argsort(windows.row, kind="stable")
        parts = [order[start : start + ANSWERED] for start in range(0, len(order), ANSWERED)]
        made, seeing = self.setting.batches(windows, training=False), _Seeing(self.network)
        for batch in made.each_of(parts[self.peers.rank :: self.peers.size], readers=workers):
            found[batch.number.to(self.device)] = _log_odds(self._decide(seeing, batch))
        whole: NDArray[np.float64] = self.peers.sum(found).cpu().numpy()
        return whole

    def lose(self, log_odds: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
        """Return the loss of answers, weighted by class as in training."""
        share = np.asarray(self.weights)[labels]
        losses = np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds))
        return float((losses * share).sum() / share.sum())

    def _decide(self, network: nn.Module, batch: WindowBatch) -> torch.Tensor:
        """Give a batch to the network; logits ``[B, 2]``."""
        features, centre = self._read_baked(batch)
        parts = (batch.crops, features, centre, batch.where, batch.head, batch.points)
        there = [None if part is None else part.to(self.device, non_blocking=True) for part in parts]
        with autocast(self.device, self.setting.settings.learning.precision):
            logits: torch.Tensor = network(*there)
        return logits.float()

    def _read_baked(self, batch: WindowBatch) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Read features of the faces of a batch, and maps of those in the middle, as far as the network asks."""
        baked = self.setting.baked
        if baked is None:
            return None, None
        rows = batch.rows.numpy()
        features = torch.from_numpy(baked.read(rows, "features"))
        if not self.network.uses_maps:
            return features, None
        return features, torch.from_numpy(baked.read(rows[batch.where[:, CENTRE].numpy()], "maps"))


class _Seeing(nn.Module):
    """Both parts of a network as one call, so that gradients of several processes can be shared."""

    def __init__(self, network: LookingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        crops: torch.Tensor,
        features: torch.Tensor | None,
        centre: torch.Tensor | None,
        where: torch.Tensor,
        head: torch.Tensor,
        landmarks: torch.Tensor,
    ) -> torch.Tensor:
        """Score windows ``[B, 2]`` from the different crops of a batch, or from their features and maps."""
        if features is None:
            features, maps = self.network.encode(crops)
            centre = maps[where[:, CENTRE]] if self.network.uses_maps else None
        scores: torch.Tensor = self.network.decide(features[where], centre, head, landmarks)
        return scores


def _log_odds(logits: torch.Tensor) -> torch.Tensor:
    return (logits[:, 1] - logits[:, 0]).double()
