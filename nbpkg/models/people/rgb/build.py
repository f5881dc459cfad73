"""Classifiers of clips, by name."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import torch

from nbpkg import seeding
from nbpkg.errors import SettingsError
from nbpkg.models.encoders import ENCODERS, build_encoder
from nbpkg.models.people.rgb.c3d import C3d
from nbpkg.models.people.rgb.facts import RgbFacts, RgbOptions, find_rgb_network
from nbpkg.models.people.rgb.networks import ClipNetwork, LinearHead, MeanOfFramesHead, RgbNetwork, SegmentNetwork
from nbpkg.models.people.rgb.pictures import PictureBackbone
from nbpkg.models.people.rgb.r2plus1d import R2Plus1d
from nbpkg.models.people.rgb.relations import RelationHead
from nbpkg.models.people.rgb.resnet2d import ResNet2d
from nbpkg.models.people.rgb.resnet3d import Plan, ResNet3d
from nbpkg.models.people.rgb.slowfast import NARROW, SPEED, SlowFast
from nbpkg.models.people.rgb.timesformer import HEADS, TimeSformer
from nbpkg.models.people.rgb.x3d import BLOCKS as X3D_BLOCKS
from nbpkg.models.people.rgb.x3d import X3d, X3dHead

YES, NO, FIRST, SECOND = (True,), (False,), (True, False), (False, True)
SLOW = Plan((NO, NO, YES, YES))
FAST = Plan((YES,) * 4, stem_kernel=(5, 7, 7))
JOINTS = Plan(
    (NO, YES, YES),
    blocks=(4, 6, 3),
    width=32,
    channels=17,
    stem_stride=(1, 1, 1),
    pool_stride=(1, 1, 1),
    strides=(2, 2, 2),
    frame_strides=(1, 1, 2),
)
PLANS = {
    "i3d_r50": Plan(
        (YES, FIRST, FIRST, SECOND),
        stem_kernel=(5, 7, 7),
        stem_stride=(2, 2, 2),
        pool_stride=(2, 2, 2),
        pool_after_first=True,
        begin_as_nothing=False,
    ),
    "slowonly_r50_4x16": SLOW,
    "ircsn_r50": Plan(
        (NO,) * 4,
        stem_kernel=(3, 7, 7),
        frame_strides=(1, 2, 2, 2),
        depthwise=True,
        eps=1e-3,
        begin_as_nothing=False,
    ),
    "posec3d_custom": JOINTS,
    "posec3d_custom2": replace(JOINTS, blocks=(3, 4, 6)),
}
I3D_FRAMES = 5  # fewer leave nothing for the pooling behind the first stage
RESNET_BLOCKS, RESNET_WIDTH = (3, 4, 6, 3), 64


def build_rgb_network(
    name: str,
    *,
    classes: int,
    seed: int = 0,
    options: RgbOptions | None = None,
    weights: str | Path = "none",
    cache: Path | None = None,
) -> RgbNetwork:
    """Build a classifier of clips.

    Parameters
    ----------
    name
        One of `nbpkg.models.people.rgb.facts.RGB_NETWORKS`, or ``torchvision.<network>`` or ``timm.<network>`` for TSN
        over frames with a network of pictures.
    classes
        Number of classes.
    seed
        Seed of all random weights.
    options
        Departures from the network as published.
    weights, cache
        For torchvision's video networks, as in `nbpkg.models.encoders.build_encoder`. Others begin random; see
        `nbpkg.models.people.mm_checkpoints`.

    Returns
    -------
    ClipNetwork or SegmentNetwork
        In evaluation mode, with gradients: training calls ``train()`` first. ``forward`` gives raw scores, ``features``
        the pooled features.

    Raises
    ------
    SettingsError
        When there is no such network, or it does not have these options.
    WeightsError
        As `nbpkg.models.encoders.build_encoder` does.
    """
    facts, chosen = find_rgb_network(name), options or RgbOptions()
    _check(name, facts, chosen, classes=classes, weights=str(weights))
    dropout = facts.dropout if chosen.dropout is None else chosen.dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "rgb", name))
        if name in ENCODERS:
            size, frames = _side(chosen, facts), chosen.frames or facts.frames
            encoder = build_encoder(name, weights, seed=seed, size=size, frames=frames, cache=cache)
            head = LinearHead(encoder.features, classes, dropout=dropout)
            return ClipNetwork(encoder, head, least_frames=ENCODERS[name].min_frames).eval()
        if facts.layout == "segments":
            return _build_segments(name, chosen, classes=classes, dropout=dropout).eval()
        return _build_clips(name, facts, chosen, classes=classes, dropout=dropout).eval()


def _build_clips(name: str, facts: RgbFacts, chosen: RgbOptions, *, classes: int, dropout: float) -> ClipNetwork:
    if name == "slowfast_r50_4x16":
        return _build_slowfast(chosen, classes=classes, dropout=dropout)
    if name in PLANS:
        plan = _adapt(PLANS[name], chosen)
        resnet, norms = ResNet3d(plan), chosen.norms or ("frozen" if plan.depthwise else "trained")
        head = LinearHead(resnet.features, classes, dropout=dropout)
        least = I3D_FRAMES if plan.pool_after_first else 1
        return ClipNetwork(resnet, head, norms=norms, channels=plan.channels, least_frames=least)
    if name == "x3d_m":
        x3d = X3d(chosen.blocks or X3D_BLOCKS, chosen.width or 24)
        return ClipNetwork(x3d, X3dHead(x3d.features, classes, dropout=dropout), norms=chosen.norms or "trained")
    if name == "r2plus1d_r34":
        factorised = R2Plus1d(chosen.blocks or RESNET_BLOCKS, chosen.width or RESNET_WIDTH)
        head = LinearHead(factorised.features, classes, dropout=dropout)
        return ClipNetwork(factorised, head, norms=chosen.norms or "trained")
    frames = chosen.frames or facts.frames
    if name == "c3d":
        c3d = C3d(chosen.width or 64, size=_both_sides(chosen.size), frames=frames, dropout=dropout)
        return ClipNetwork(c3d, LinearHead(c3d.features, classes, dropout=dropout), least_frames=16)
    former = TimeSformer(
        frames=frames,
        size=_side(chosen, facts),
        depth=(chosen.blocks or (12,))[0],
        width=HEADS * (chosen.width or 64),
        attention="joint" if name == "timesformer_joint" else "divided",
    )
    return ClipNetwork(former, LinearHead(former.features, classes, dropout=dropout, std=0.02))


def _build_slowfast(chosen: RgbOptions, *, classes: int, dropout: float) -> ClipNetwork:
    slow = _adapt(SLOW, chosen)
    fast = replace(_adapt(FAST, chosen), width=slow.width // NARROW)
    backbone = SlowFast(slow, fast)
    head = LinearHead(backbone.features, classes, dropout=dropout)
    return ClipNetwork(backbone, head, norms=chosen.norms or "trained", multiple=SPEED)


def _build_segments(name: str, chosen: RgbOptions, *, classes: int, dropout: float) -> SegmentNetwork:
    norms, segments = chosen.norms or "trained", chosen.segments or 8
    if name.startswith(("torchvision.", "timm.")):
        pictures = PictureBackbone(name)
        mean = MeanOfFramesHead(pictures.features, classes, dropout=dropout, std=0.01, first=True)
        return SegmentNetwork(pictures, mean, segments=chosen.segments or 0, norms=norms)
    shifted = segments if name == "tsm_r50" else 0
    frames = ResNet2d(chosen.blocks or RESNET_BLOCKS, chosen.width or RESNET_WIDTH, shifted=shifted)
    if name == "trn_r50":
        relations = RelationHead(frames.features, classes, segments=segments, dropout=dropout)
        return SegmentNetwork(frames, relations, segments=segments, norms=norms)
    std, first = (0.001, False) if shifted else (0.01, True)
    mean = MeanOfFramesHead(frames.features, classes, dropout=dropout, std=std, first=first)
    return SegmentNetwork(frames, mean, segments=shifted or chosen.segments or 0, norms=norms)


def _adapt(plan: Plan, chosen: RgbOptions) -> Plan:
    """Put what is chosen into a plan."""
    return replace(
        plan,
        blocks=chosen.blocks or plan.blocks,
        width=chosen.width or plan.width,
        channels=chosen.channels or plan.channels,
    )


def _side(chosen: RgbOptions, facts: RgbFacts) -> int:
    size = chosen.size or facts.size
    if not isinstance(size, int):
        raise SettingsError(
            f"The network takes squares, not frames of {size[0]} × {size[1]} pixels.",
            expected="One number of pixels.",
            remedy="Set size to one number.",
        )
    return size


def _both_sides(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else size


def _check(name: str, facts: RgbFacts, chosen: RgbOptions, *, classes: int, weights: str) -> None:
    """Refuse options that the network does not have, and numbers that make no network."""
    wrong = [option for option in _list_chosen(chosen) if option not in facts.options]
    if wrong:
        raise SettingsError(
            f"{name} has no {', '.join(wrong)} to choose.",
            expected=f"Nothing but {', '.join(sorted(facts.options))}.",
            remedy="Leave it out.",
        )
    stages = len(PLANS[name].blocks) if name in PLANS else 1 if name.startswith("timesformer") else 4
    blocks = (1,) * stages if chosen.blocks is None else chosen.blocks
    sides = chosen.size if isinstance(chosen.size, tuple) else (chosen.size,)
    given = (classes, *blocks, *sides, chosen.width, chosen.frames, chosen.segments, chosen.channels)
    uneven = name == "slowfast_r50_4x16" and (chosen.width or RESNET_WIDTH) % NARROW
    small = min(number for number in given if number is not None) < 1
    if small or len(blocks) != stages or uneven or not 0 <= (chosen.dropout or 0) < 1:
        raise SettingsError(
            f"{name} cannot be built with {classes} classes and {_spell(chosen)}.",
            expected=f"Numbers from 1 on, {stages} of blocks, dropout under 1"
            f"{f', a width that is a multiple of {NARROW}' if uneven else ''}.",
            remedy="Correct the settings.",
        )
    if weights != "none" and name not in ENCODERS:
        raise SettingsError(
            f"{name} takes no weights when it is built.",
            expected="'none'.",
            remedy="Load them afterwards with nbpkg.models.people.mm_checkpoints.",
        )


def _list_chosen(chosen: RgbOptions) -> list[str]:
    return [item.name for item in fields(chosen) if getattr(chosen, item.name) is not None]


def _spell(chosen: RgbOptions) -> str:
    return ", ".join(f"{name} {getattr(chosen, name)}" for name in _list_chosen(chosen)) or "nothing else"
