"""Random changes of clips ``[C, T, H, W]``, the same for all frames of a clip; none changes the clip it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torchvision.transforms import InterpolationMode, v2

from nbpkg.errors import SettingsError

Transform = Callable[[torch.Tensor], torch.Tensor]
Range = tuple[float, float]


class Draws(Protocol):
    """Where single random numbers come from."""

    def draw_number(self, low: float, high: float) -> float:
        """Draw uniformly from ``low .. high``."""

    def draw_integer(self, low: int, high: int) -> int:
        """Draw uniformly from the whole numbers ``low .. high``, both included."""


@dataclass(frozen=True)
class TorchDraws:
    """Random numbers from torch's global generator, which the caller seeds (see `seeded`)."""

    def draw_number(self, low: float, high: float) -> float:
        """Draw uniformly from ``low .. high``."""
        return low + (high - low) * torch.rand(()).item()

    def draw_integer(self, low: int, high: int) -> int:
        """Draw uniformly from the whole numbers ``low .. high``, both included."""
        return int(torch.randint(low, high + 1, ()).item())


@dataclass(frozen=True)
class AdjustValues:
    """Change brightness and contrast: ``x * scale + bias``, one pair for each clip.

    Parameters
    ----------
    bias, scale
        Ranges, on the scale of the clip.
    draws
        Where random numbers come from.
    """

    bias: Range
    scale: Range
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("bias", self.bias)
        _check_range("scale", self.scale)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        bias = self.draws.draw_number(*self.bias)
        return clip * self.draws.draw_number(*self.scale) + bias


@dataclass(frozen=True)
class AdjustColorChannels:
    """Change the balance of colours: ``x * scale + bias``, one pair for each colour of each clip.

    Parameters
    ----------
    bias, scale
        Ranges, on the scale of the clip.
    """

    bias: Range
    scale: Range

    def __post_init__(self) -> None:
        _check_range("bias", self.bias)
        _check_range("scale", self.scale)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        bias, scale = (
            (torch.rand(len(clip)) * (high - low) + low).to(clip).view(-1, 1, 1, 1)
            for low, high in (self.bias, self.scale)
        )
        return clip * scale + bias


@dataclass(frozen=True)
class NormalNoise:
    """Add noise to every value, of one standard deviation for each clip.

    Parameters
    ----------
    std
        Range of the standard deviation, on the scale of the clip.
    draws
        Where the standard deviation comes from.
    """

    std: Range
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("std", self.std, least=0)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        std = self.draws.draw_number(*self.std)
        # Drawn in the logical order of the axes, so that the noise does not depend on how the clip lies in memory.
        return clip + std * torch.randn(clip.shape).to(clip)


@dataclass(frozen=True)
class AdjustLength:
    """Keep consecutive frames from a random start; a clip that is short enough already stays whole.

    Parameters
    ----------
    keep
        Least and most frames.
    draws
        Where random numbers come from.
    """

    keep: tuple[int, int]
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("keep", self.keep, least=1)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        count = self.draws.draw_integer(*self.keep)
        start = self.draws.draw_integer(0, max(clip.shape[1] - count, 0))
        return clip[:, start : start + count]


@dataclass(frozen=True)
class AdjustLengthCentral:
    """Keep the middle frames; where one more must go on one side, it goes at the start.

    Parameters
    ----------
    keep
        Least and most frames.
    draws
        Where random numbers come from.

    Notes
    -----
    The published version returns an empty clip when it should drop one frame or none.
    """

    keep: tuple[int, int]
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("keep", self.keep, least=1)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        frames = clip.shape[1]
        surplus = max(frames - self.draws.draw_integer(*self.keep), 0)
        return clip[:, surplus - surplus // 2 : frames - surplus // 2]


@dataclass(frozen=True)
class BlockRegion:
    """Set a box in time and space to zero.

    Parameters
    ----------
    fraction
        Range of the box's share of duration, height and width, each drawn for itself, 0..1.
    draws
        Where random numbers come from.
    """

    fraction: Range
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("fraction", self.fraction, least=0, most=1)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        box = []
        for span in clip.shape[1:]:
            size = self.draws.draw_integer(*(int(share * span) for share in self.fraction))
            start = self.draws.draw_integer(0, span - size)
            box.append(slice(start, start + size))
        blocked = clip.clone()
        blocked[(slice(None), *box)] = 0
        return blocked


@dataclass(frozen=True)
class TemporalDownsample:
    """Keep every n-th frame from a random one of the first n.

    Parameters
    ----------
    skip_frames
        Least and greatest n.
    draws
        Where random numbers come from.
    """

    skip_frames: tuple[int, int]
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("skip_frames", self.skip_frames, least=1)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        step = self.draws.draw_integer(*self.skip_frames)
        return clip[:, self.draws.draw_integer(0, step - 1) :: step]


@dataclass(frozen=True)
class SaltPepperNoise:
    """Set random pixels to the clip's greatest value and others to its least, in all colours alike.

    Parameters
    ----------
    salt, pepper
        Ranges of the probability of either, above 0; drawn uniformly on the logarithmic scale.
    draws
        Where the two probabilities come from.
    """

    salt: Range
    pepper: Range
    draws: Draws = field(default_factory=TorchDraws)

    def __post_init__(self) -> None:
        _check_range("salt", self.salt, least=1e-12, most=1)
        _check_range("pepper", self.pepper, least=1e-12, most=1)

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the changed clip."""
        salt, pepper = (
            math.exp(self.draws.draw_number(math.log(low), math.log(high))) for low, high in (self.salt, self.pepper)
        )
        chance = torch.rand(1, *clip.shape[1:]).to(clip.device)
        salted = torch.where(chance > 1 - salt, clip.max(), clip)
        return torch.where(chance < pepper, clip.min(), salted)


@dataclass(frozen=True)
class MakeContiguous:
    """Lay the values of a clip out in memory in the order of its axes."""

    def __call__(self, clip: torch.Tensor) -> torch.Tensor:
        """Return the same clip."""
        return clip.contiguous()


@dataclass(frozen=True)
class Augment:
    """How training clips are changed at random; the defaults are the published ones.

    Parameters
    ----------
    rotation_degrees
        Rotation by up to this angle either way, zero beyond the picture.
    crop_area, crop_aspect
        Share of the picture's area that the crop may have (above 1: the crop is tried less wide or high), and its ratio
        of width to height.
    flip
        Probability of mirroring left and right.
    bias, scale
        Brightness up to plus or minus `bias`, contrast in `scale`, on the normalised scale.
    channel_bias, channel_scale
        The same for each colour on its own.
    blur_sigma
        Standard deviation of the blur, pixels, in a window of 5 x 5.
    noise_std
        Standard deviation of the noise, on the normalised scale.
    probability
        Of rotation, brightness, colours, blur and noise, each on its own.
    central_square
        Whether the crop is taken from the central square of the frame, which is all that evaluation sees, or from the
        whole frame, as published. It is cut before the pipeline begins (see `nbpkg.datasets.clips.ClipDataset`).
    antialias
        Whether the crop is smoothed before it is made smaller. The published program did not.
    """

    rotation_degrees: float = 8.0
    crop_area: Range = (0.6, 1.5)
    crop_aspect: Range = (0.5, 1.5)
    flip: float = 0.5
    bias: float = 0.15
    scale: Range = (0.75, 1.25)
    channel_bias: float = 0.1
    channel_scale: Range = (0.8, 1.2)
    blur_sigma: Range = (0.1, 2.0)
    noise_std: Range = (0.01, 0.03)
    probability: float = 0.35
    central_square: bool = False
    antialias: bool = False


def train_pipeline(augment: Augment, size: int, *, draws: Draws | None = None) -> Transform:
    """Return the published changes of training clips, in the published order.

    Parameters
    ----------
    augment
        How strong they are.
    size
        Side of the result, pixels.
    draws
        Where single random numbers come from; None for torch's global generator.

    Returns
    -------
    Callable
        Takes a normalised clip of whole frames, float ``[3, T, H, W]``, gives ``[3, T, size, size]``. It can be sent
        to another process.

    Source
    ------
    infant-engagement: local/transforms.py. Through torchvision v2, which takes colours and frames as a batch: one draw
    for all frames, and the clip is rotated and cropped at once.
    """
    draws = draws or TorchDraws()
    bilinear = InterpolationMode.BILINEAR

    def sometimes(change: Transform) -> Transform:
        chosen: Transform = v2.RandomApply([change], p=augment.probability)
        return chosen

    crop = v2.RandomResizedCrop(
        size,
        scale=augment.crop_area,
        ratio=augment.crop_aspect,
        interpolation=bilinear,
        antialias=augment.antialias,  # torchvision's own default changed between versions
    )
    # A change of strength zero is left out: turning by no degree would still cost a pass over all pixels.
    rotation = [v2.RandomRotation(augment.rotation_degrees, interpolation=bilinear, fill=0)]
    blur = [v2.GaussianBlur(5, sigma=augment.blur_sigma)] if augment.blur_sigma[1] else []
    noise = [NormalNoise(augment.noise_std, draws=draws)] if augment.noise_std[1] else []
    pipeline: Transform = v2.Compose(
        [
            *map(sometimes, rotation if augment.rotation_degrees else []),
            crop,
            MakeContiguous(),
            v2.RandomHorizontalFlip(augment.flip),
            sometimes(AdjustValues((-augment.bias, augment.bias), augment.scale, draws=draws)),
            sometimes(AdjustColorChannels((-augment.channel_bias, augment.channel_bias), augment.channel_scale)),
            *map(sometimes, blur),
            *map(sometimes, noise),
        ]
    )
    return pipeline


def evaluation_pipeline(size: int) -> Transform:
    """Return the published treatment of clips at evaluation, without its random flip: the central square.

    Frames smaller than the square get a border of zeros.
    """
    pipeline: Transform = v2.CenterCrop(size)
    return pipeline


def seeded(transform: Transform, clip: torch.Tensor, seed: int) -> torch.Tensor:
    """Run a transform on a clip with a seed of its own; torch's global generator is left as it was.

    Parameters
    ----------
    transform
        Draws from torch's global generator on the CPU.
    clip
        float ``[C, T, H, W]``.
    seed
        0 .. 2**63 - 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too, which are not put back
        return transform(clip)


def _check_range(name: str, limits: Range, *, least: float = -math.inf, most: float = math.inf) -> None:
    low, high = limits
    if not least <= low <= high <= most:
        raise SettingsError(
            f"{name} of {low} to {high} is no range to draw from.",
            expected=f"Two rising numbers in {least} to {most}.",
            remedy="Correct the augmentation in the parameter file.",
        )
