"""The network of a pair: encoder and linear classifier, with the published names of all entries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from nbpkg import seeding
from nbpkg.errors import WeightsError
from nbpkg.models import weights as files
from nbpkg.models.encoders import Encoder, build_encoder

CLASSES = 2


class Classifier(nn.Module):
    """One linear layer from features to the scores of two classes.

    Parameters
    ----------
    features
        Number of features.

    Notes
    -----
    Takes features float32 ``[B, features]``; gives raw scores float32 ``[B, 2]``.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, CLASSES)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Score features ``[B, features]`` as ``[B, 2]``."""
        scores: torch.Tensor = self.fc(features)
        return scores


class Net(nn.Module):
    """Encoder and classifier.

    Parameters
    ----------
    encoder
        Clips to features.
    classifier
        Features to scores.

    Notes
    -----
    Takes clips float32 ``[B, 3, T, H, W]``, normalised; gives raw scores float32 ``[B, 2]``, which `decide` and
    `probability` read. Entries of its state dict: ``encoder.base_model.*``, ``classifier.fc.*``.

    Source: MarcFraile/infant-engagement, ``local/network_models.py``.
    """

    def __init__(self, encoder: Encoder, classifier: Classifier) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Score normalised clips ``[B, 3, T, H, W]`` as ``[B, 2]``."""
        scores: torch.Tensor = self.classifier(self.encoder(clips))
        return scores


def build_classifier(features: int, *, seed: int) -> Classifier:
    """Build a classifier with seeded random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "classifier"))
        return Classifier(features)


def build_network(
    name: str, weights: str | Path, *, seed: int, size: int, frames: int, cache: Path | None = None
) -> Net:
    """Build a network whose encoder has the given weights and whose classifier has seeded random ones.

    Parameters
    ----------
    name, weights, size, frames, cache
        As in `nbpkg.models.encoders.build_encoder`.
    seed
        Seed of all random weights.

    Returns
    -------
    Net
        In evaluation mode, with gradients: training calls ``train()`` first.

    Raises
    ------
    SettingsError, WeightsError
        As `nbpkg.models.encoders.build_encoder` does.
    """
    encoder = build_encoder(name, weights, seed=seed, size=size, frames=frames, cache=cache)
    return Net(encoder, build_classifier(encoder.features, seed=seed)).eval()


def load_head(classifier: Classifier, state: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Copy the weights of a head into a classifier, strictly.

    Parameters
    ----------
    classifier
        Of as many features as the head.
    state
        ``fc.weight`` [2, features] or [1, features], ``fc.bias`` [2] or [1].
    where
        Where the head comes from, for the message.

    Raises
    ------
    WeightsError
        Naming keys that are missing, unexpected or mis-shaped.
    """
    files.load_strictly(classifier, with_two_classes(state, prefix=""), what="the classifier", where=where)


def as_two_class(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a head with one logit into one with two classes that gives the same probabilities.

    Parameters
    ----------
    weight, bias
        [1, features] and [1]: the logit of class 1; a head with two classes is returned as it is.

    Returns
    -------
    weight, bias
        [2, features] and [2]; class 0 always scores zero, so that class 1 wins when its logit is above zero.

    Raises
    ------
    WeightsError
        When the head has neither one nor two rows.

    Examples
    --------
    >>> weight, bias = as_two_class(torch.tensor([[2.0, -1.0]]), torch.tensor([0.5]))
    >>> weight.tolist(), bias.tolist()
    ([[0.0, 0.0], [2.0, -1.0]], [0.0, 0.5])
    """
    rows = weight.shape[0] if weight.ndim == 2 else 0
    if rows not in (1, CLASSES) or bias.shape != (rows,):
        raise WeightsError(
            f"The head's weight has the shape {tuple(weight.shape)} and its bias {tuple(bias.shape)}.",
            where="fc.weight, fc.bias",
            expected="Weight [2, features] and bias [2], or [1, features] and [1] for a single logit.",
            remedy="Use a head of two classes or of one logit.",
        )
    if rows == CLASSES:
        return weight, bias
    return torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])


def with_two_classes(state: Mapping[str, torch.Tensor], *, prefix: str) -> files.State:
    """Copy a state dict with a head of one logit made one of two classes (see `as_two_class`).

    Parameters
    ----------
    state
        Tensors by key; without a head it is copied as it is.
    prefix
        What stands before ``fc.weight``: ``classifier.`` in a whole network, nothing in a head.
    """
    weight, bias = f"{prefix}fc.weight", f"{prefix}fc.bias"
    if weight not in state or bias not in state:
        return dict(state)
    two_weight, two_bias = as_two_class(state[weight], state[bias])
    return {**state, weight: two_weight, bias: two_bias}


def decide(scores: torch.Tensor) -> torch.Tensor:
    """Pick the class of the highest score.

    Parameters
    ----------
    scores
        [..., 2].

    Returns
    -------
    torch.Tensor
        int64 [...]; class 0 of equal scores, and the first class whose score is not a number, as published.

    Examples
    --------
    >>> decide(torch.tensor([[0.0, 1.0], [2.0, 2.0], [5.0, float("nan")]])).tolist()
    [1, 0, 1]
    """
    return scores.argmax(dim=-1)


def probability(scores: torch.Tensor) -> torch.Tensor:
    """Give the probability of class 1, the softmax of the scores.

    Parameters
    ----------
    scores
        [..., 2], of any floating type.

    Returns
    -------
    torch.Tensor
        float32 (float64 for float64) [...], in 0..1.

    Examples
    --------
    >>> probability(torch.tensor([[0.0, 0.0], [-1000.0, 1000.0]])).tolist()
    [0.5, 1.0]
    """
    exact = scores if scores.dtype == torch.float64 else scores.float()
    return exact.softmax(dim=-1)[..., 1]
