"""The encoder as stage 04 hands it on: its weights, and what is done to clips before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from nbpkg.baking.encode import Bake
from nbpkg.datasets.preprocess import Preprocess
from nbpkg.datasets.transforms import Augment
from nbpkg.errors import SettingsError, WeightsError
from nbpkg.folds.statistics import sum_pixels
from nbpkg.models.encoders import Encoder, check_clip
from nbpkg.models.weights import load_strictly
from nbpkg.runs.files import read_json
from nbpkg.settings.learning import AugmentSettings, EncoderSettings
from nbpkg.video.frames import FrameStore
from nbpkg.video.stores import each_frame

Three = tuple[float, float, float]


class Baked(NamedTuple):
    """What stage 04 hands on to training.

    Parameters
    ----------
    encoder
        With the weights that made the features; in evaluation mode.
    facts
        As in ``encoder.json``.
    train, grid
        What is done to training clips, and to clips that are scored.
    augment
        Random changes of training clips.
    """

    encoder: Encoder
    facts: dict[str, Any]
    train: Preprocess
    grid: Preprocess
    augment: Augment


def choose_normalisation(
    settings: EncoderSettings, stores: Mapping[str, FrameStore], *, sessions: list[str]
) -> tuple[Three, Three]:
    """Return mean and standard deviation of red, green and blue on the 0..1 scale.

    Parameters
    ----------
    settings
        Encoder and ``normalisation``: the backbone's own constants, or those of the training sessions.
    stores
        Frame stores.
    sessions
        The training sessions; no other is read.

    Raises
    ------
    SettingsError
        When the encoder has no constants of its own.
    """
    facts = check_clip(settings.encoder, size=settings.size, frames=settings.frames)
    check_clip(settings.encoder, size=settings.train_size, frames=settings.frames)
    if settings.normalisation == "training":
        sums = [sum_pixels(each_frame(stores[session])) for session in sessions]
        whole = sum(sums[1:], sums[0])
        return _three(np.array(whole.mean) / 255), _three(np.array(whole.std) / 255)
    if facts.mean is None or facts.std is None:
        raise SettingsError(
            f"bake.normalisation is 'backbone', but {settings.encoder} was never trained on anything.",
            expected="'training' for this encoder.",
            remedy="Set bake.normalisation to 'training'.",
        )
    return facts.mean, facts.std


def configure(
    settings: EncoderSettings, normalisation: tuple[Three, Three], *, seed: int, device: torch.device, workers: int
) -> Bake:
    """Put together how clips are encoded."""
    mean, std = normalisation
    return Bake(
        train=Preprocess(settings.train_size, settings.frames, mean, std),
        grid=Preprocess(settings.size, settings.frames, mean, std),
        augment=make_augment(settings.augment),
        batch_size=settings.batch_size,
        precision=settings.precision,
        device=device,
        workers=workers,
        seed=seed,
    )


def make_augment(settings: AugmentSettings) -> Augment:
    """Turn settings into the random changes of training clips."""
    given = settings.model_dump().items()
    pairs: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given}
    return Augment(**pairs)


def describe_encoder(settings: EncoderSettings, how: Bake, *, features: int) -> dict[str, Any]:
    """Return what ``encoder.json`` holds: all that is needed to show the encoder other clips."""
    return {
        "encoder": settings.encoder,
        "weights": settings.weights,
        "features": features,
        "normalisation": settings.normalisation,
        "train": how.train.to_json(),
        "grid": how.grid.to_json(),
        "augment": settings.augment.model_dump(),
    }


def read_encoder(folder: Path) -> Baked:
    """Read what stage 04 handed on.

    Parameters
    ----------
    folder
        Its run folder.

    Raises
    ------
    WeightsError
        When the weights are damaged or of another network.
    """
    facts = read_json(folder / "encoder.json")
    encoder = Encoder(facts["encoder"])
    path = folder / "encoder.safetensors"
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"The encoder's weights cannot be read: {error}.",
            where=str(path),
            remedy="Run notebooks/04_bake.ipynb again.",
        ) from None
    load_strictly(encoder, state, what=str(facts["encoder"]), where=str(path))
    augment = make_augment(AugmentSettings.model_validate(facts["augment"]))
    train, grid = Preprocess.from_json(facts["train"]), Preprocess.from_json(facts["grid"])
    return Baked(encoder.eval(), facts, train, grid, augment)


def _three(values: np.ndarray) -> Three:
    red, green, blue = map(float, values)
    return red, green, blue
