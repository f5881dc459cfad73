"""What one needs to know of each classifier of clips before building it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from nbpkg.errors import SettingsError
from nbpkg.models.encoders import ENCODERS
from nbpkg.models.people.rgb.networks import Norms
from nbpkg.models.people.rgb.views import Averaging

Rgb = tuple[float, float, float]
IMAGENET: tuple[Rgb, Rgb] = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
Layout = Literal["clip", "segments", "joints"]
Option = Literal["frames", "size", "segments", "width", "blocks", "dropout", "norms", "channels"]


@dataclass(frozen=True)
class RgbOptions:
    """Departures from a network as published; None is as published.

    Parameters
    ----------
    frames, size
        Length and side (pixels) of the clips, for networks that are made for one; of C3D height and width.
    segments
        Frames of a clip, for networks over single frames.
    width
        Channels of the first convolution, of which all others are multiples; of TimeSformer a twelfth of a token.
        Small ones make small networks for tries and tests.
    blocks
        Number of blocks of each stage; of TimeSformer one number of layers.
    dropout
        Share of features left out in training.
    norms
        What training does with batch normalisation, as for `nbpkg.models.people.rgb.networks.ClipNetwork`.
    channels
        Number of joints, for heat maps of skeletons.
    """

    frames: int | None = None
    size: int | tuple[int, int] | None = None
    segments: int | None = None
    width: int | None = None
    blocks: tuple[int, ...] | None = None
    dropout: float | None = None
    norms: Norms | None = None
    channels: int | None = None


@dataclass(frozen=True)
class RgbFacts:
    """What is known of a classifier as published.

    Parameters
    ----------
    frames, interval
        Length of a clip, and every how manieth frame of the video it takes; 0 where frames are spread over the video.
    size
        Side of the clips in training, in pixels.
    averaging
        Rule for several views, see `nbpkg.models.people.rgb.views.average_views`.
    layout
        ``clip`` ``[B, 3, T, H, W]``, ``segments`` ``[B, S, 3, H, W]`` or ``joints`` ``[B, joints, T, H, W]``.
    mean, std
        Of colours on the 0..255 scale.
    dropout
        Share of features left out in training.
    options
        What `RgbOptions` may change.
    published
        File of the weights the published training starts from, empty where it starts from nothing.
    """

    frames: int
    interval: int
    size: int
    averaging: Averaging | None = "prob"
    layout: Layout = "clip"
    mean: Rgb = IMAGENET[0]
    std: Rgb = IMAGENET[1]
    dropout: float = 0.5
    options: frozenset[Option] = field(
        default_factory=lambda: frozenset[Option](("width", "blocks", "dropout", "norms"))
    )
    published: str = ""


_SEGMENTS = frozenset[Option](("width", "blocks", "dropout", "norms", "segments"))
_JOINTS = frozenset[Option](("width", "blocks", "dropout", "norms", "channels"))
_FIXED = frozenset[Option](("width", "blocks", "dropout", "frames", "size"))
_GREY: tuple[Rgb, Rgb] = ((127.5,) * 3, (127.5,) * 3)


def _of_encoder(name: str) -> RgbFacts:
    facts = ENCODERS[name]
    mean, std = facts.mean or (0.0, 0.0, 0.0), facts.std or (1.0, 1.0, 1.0)
    return RgbFacts(
        frames=facts.frames,
        interval=2,
        size=facts.size,
        mean=(255 * mean[0], 255 * mean[1], 255 * mean[2]),
        std=(255 * std[0], 255 * std[1], 255 * std[2]),
        options=frozenset[Option](("frames", "size", "dropout")),
    )


RGB_NETWORKS: Mapping[str, RgbFacts] = MappingProxyType(
    {
        "i3d_r50": RgbFacts(
            32, 2, 224, published="i3d_r50_video_32x2x1_100e_kinetics400_rgb_20200826-e31c6f52.pth"
        ),
        "slowfast_r50_4x16": RgbFacts(
            32, 2, 224, published="slowfast_r50_video_4x16x1_256e_kinetics400_rgb_20200826-f85b90c5.pth"
        ),
        "slowonly_r50_4x16": RgbFacts(
            4, 16, 224, published="slowonly_r50_video_320p_4x16x1_256e_kinetics400_rgb_20201014-c9cdc656.pth"
        ),
        "r2plus1d_r34": RgbFacts(
            8, 8, 224, published="r2plus1d_r34_video_8x8x1_180e_kinetics400_rgb_20200826-ab35a529.pth"
        ),
        "ircsn_r50": RgbFacts(
            32, 2, 224, published="ircsn_bnfrozen_r50_32x2x1_180e_kinetics400_rgb_20210618-4e29e2e8.pth"
        ),
        "x3d_m": RgbFacts(
            16, 2, 224, mean=(114.75,) * 3, std=(57.38,) * 3,
            published="x3d_m_facebook_16x5x1_kinetics400_rgb_20201027-3f42382a.pth",
        ),
        "c3d": RgbFacts(
            16, 1, 112, "score", mean=(104.0, 117.0, 128.0), std=(1.0, 1.0, 1.0),
            options=frozenset[Option](("width", "dropout", "frames", "size")),
            published="c3d_sports1m_16x1x1_45e_ucf101_rgb_20201021-26655025.pth",
        ),
        "timesformer_joint": RgbFacts(
            8, 32, 224, mean=_GREY[0], std=_GREY[1], dropout=0.0, options=_FIXED,
            published="timesformer_jointST_8x32x1_15e_kinetics400_rgb-0d6e3984.pth",
        ),
        "timesformer_divided": RgbFacts(8, 32, 224, mean=_GREY[0], std=_GREY[1], dropout=0.0, options=_FIXED),
        "tsn_r50": RgbFacts(8, 0, 224, None, "segments", dropout=0.4, options=_SEGMENTS),
        "tsm_r50": RgbFacts(
            8, 0, 224, "prob", "segments", options=_SEGMENTS,
            published="tsm_r50_video_1x1x8_100e_kinetics400_rgb_20200702-a77f4328.pth",
        ),
        "trn_r50": RgbFacts(
            8, 0, 224, "prob", "segments", dropout=0.8, options=_SEGMENTS,
            published="trn_r50_1x1x8_50e_sthv1_rgb_20210401-163704a8.pth",
        ),
        "posec3d_custom": RgbFacts(
            48, 0, 56, layout="joints", options=_JOINTS, published="slowonly_r50_u48_240e_gym_keypoint-b07a98a0.pth"
        ),
        "posec3d_custom2": RgbFacts(48, 0, 48, layout="joints", options=_JOINTS, published="k400_posec3d-041f49c6.pth"),
        **{name: _of_encoder(name) for name in ENCODERS},
    }
)  # fmt: skip


def find_rgb_network(name: str) -> RgbFacts:
    """Look up the facts of a classifier.

    Parameters
    ----------
    name
        One of `RGB_NETWORKS`, or ``torchvision.<network>`` or ``timm.<network>`` for TSN over frames with a network of
        pictures.

    Raises
    ------
    SettingsError
        Saying which there are.
    """
    if name.startswith(("torchvision.", "timm.")):
        return RgbFacts(8, 0, 224, None, "segments", dropout=0.4, options=frozenset(("segments", "dropout", "norms")))
    if name not in RGB_NETWORKS:
        raise SettingsError(
            f"There is no classifier {name!r}.",
            expected=f"One of {', '.join(RGB_NETWORKS)}, or torchvision.<network> or timm.<network>.",
            remedy="Correct the setting.",
        )
    return RGB_NETWORKS[name]
