"""VTD: scene, head position and face to a map of where the person looks; for pictures, and for video with memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from nbpkg.models.gaze.convlstm import ConvLstm, State
from nbpkg.models.gaze.residual import EXPANSION, Block, normalise

BRANCHES = ("scene", "face")
INOUT_FACTOR = 5.0  # fc_inout learns five times as fast in video training


@dataclass(frozen=True)
class VtdSize:
    """How large a VTD network is.

    Parameters
    ----------
    size
        Side of scene, head channel and face, in pixels.
    stem
        Channels of the first convolution.
    planes, blocks, strides
        Inner channels, number of blocks and stride of each of the five layers.
    compress
        Output channels of the two convolutions before the decoder; the last are also those of the memory.
    inout
        Channels between the features and the in/out map.
    decoder
        Output channels of the three transposed convolutions.
    output_spread
        Standard deviation of the last convolution's initial weights; 0 for the published rule, by which maps begin a
        hundred times too strong: a network that learns from scratch then kills its last ReLU and stays at zero.

    Notes
    -----
    Stem and layers bring `size` down to a grid of 7 × 7, which the decoder brings to 64 × 64.
    """

    size: int = 224
    stem: int = 64
    planes: tuple[int, int, int, int, int] = (64, 128, 256, 512, 256)
    blocks: tuple[int, int, int, int, int] = (3, 4, 6, 3, 2)
    strides: tuple[int, int, int, int, int] = (1, 2, 2, 2, 1)
    compress: tuple[int, int] = (1024, 512)
    inout: int = 512
    decoder: tuple[int, int, int] = (256, 128, 1)
    output_spread: float = 0.0

    @property
    def grid(self) -> int:
        """Side of the feature maps, in cells."""
        return self.size // (4 * math.prod(self.strides))

    @property
    def features(self) -> int:
        """Channels of the last layer of each branch."""
        return EXPANSION * self.planes[-1]


PUBLISHED = VtdSize()
SMALL = VtdSize(
    size=112,
    stem=8,
    planes=(8, 8, 16, 32, 16),
    blocks=(1, 1, 1, 1, 1),
    strides=(1, 2, 2, 1, 1),
    compress=(64, 32),
    inout=32,
    decoder=(32, 16, 8),
    output_spread=0.05,
)


class Trunk(NamedTuple):
    """What the trunk makes of frames, all that decoder, memory and in/out head need.

    Parameters
    ----------
    encoding
        [N, C, 7, 7]; C is 512 in the published size.
    inside
        [N, 49], what ``fc_inout`` sees.
    attention
        [N, 1, 7, 7], sums to 1.
    """

    encoding: torch.Tensor
    inside: torch.Tensor
    attention: torch.Tensor


class _Vtd(nn.Module):
    """What both networks share: trunk, in/out head and decoder, under the published names.

    `twice` adds the norm ``bn_ds`` to every block; with a memory it stands before the decoder, as published.
    """

    def __init__(self, size: VtdSize, *, twice: bool, memory: ConvLstm | None) -> None:
        super().__init__()
        self.size = size
        self.frozen = False
        self.skip_single = False
        for branch, channels in zip(BRANCHES, (4, 3), strict=True):
            self._add_branch(branch, channels, twice=twice)
        cells, features = size.grid**2, size.features
        self.attn = nn.Linear((size.size // 8) ** 2 + features, cells)
        self.compress_conv1 = nn.Conv2d(2 * features, size.compress[0], 1, bias=False)
        self.compress_bn1 = nn.BatchNorm2d(size.compress[0])
        self.compress_conv2 = nn.Conv2d(size.compress[0], size.compress[1], 1, bias=False)
        self.compress_bn2 = nn.BatchNorm2d(size.compress[1])
        self.compress_conv1_inout = nn.Conv2d(2 * features, size.inout, 1, bias=False)
        self.compress_bn1_inout = nn.BatchNorm2d(size.inout)
        self.compress_conv2_inout = nn.Conv2d(size.inout, 1, 1, bias=False)
        self.compress_bn2_inout = nn.BatchNorm2d(1)
        self.fc_inout = nn.Linear(cells, 1)
        if memory is not None:
            self.convlstm_scene = memory
        self._add_decoder()
        self.apply(_draw_weights)
        if size.output_spread:
            nn.init.normal_(self.conv4.weight, 0, size.output_spread)

    def _add_branch(self, branch: str, channels: int, *, twice: bool) -> None:
        size = self.size
        self.add_module(f"conv1_{branch}", nn.Conv2d(channels, size.stem, 7, 2, 3, bias=False))
        self.add_module(f"bn1_{branch}", nn.BatchNorm2d(size.stem))
        channels = size.stem
        for layer, (planes, count, stride) in enumerate(zip(size.planes, size.blocks, size.strides, strict=True), 1):
            blocks = []
            for number in range(count):
                first = number == 0
                blocks.append(Block(channels, planes, stride=stride if first else 1, first=first, twice=twice))
                channels = EXPANSION * planes
            self.add_module(f"layer{layer}_{branch}", nn.Sequential(*blocks))

    def _add_decoder(self) -> None:
        first, second, third = self.size.decoder
        self.deconv1 = nn.ConvTranspose2d(self.size.compress[1], first, 3, 2)
        self.deconv_bn1 = nn.BatchNorm2d(first)
        self.deconv2 = nn.ConvTranspose2d(first, second, 3, 2)
        self.deconv_bn2 = nn.BatchNorm2d(second)
        self.deconv3 = nn.ConvTranspose2d(second, third, 4, 2)
        self.deconv_bn3 = nn.BatchNorm2d(third)
        self.conv4 = nn.Conv2d(third, 1, 1)

    def trunk(self, scene: torch.Tensor, head: torch.Tensor, face: torch.Tensor) -> Trunk:
        """Encode frames; frame by frame, without memory.

        Parameters
        ----------
        scene, face
            [N, 3, S, S], normalised: the whole frame and the crop of the head box.
        head
            [N, 1, S, S], ones in the head box.

        Returns
        -------
        Trunk
            Without a gradient once the trunk is frozen (`freeze_trunk`).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            seen = self._run_branch("scene", torch.cat([scene, head], dim=1))
            looks = self._run_branch("face", face)
            place = head
            for _ in range(3):
                place = F.max_pool2d(place, 3, 2, 1)
            # Not a mean over both axes, whose last digits differ: Adam makes much of them within two steps.
            average = F.avg_pool2d(looks, looks.shape[-1], stride=1)
            logits = self.attn(torch.cat([place.flatten(1), average.flatten(1)], dim=1))
            attention = logits.softmax(dim=1).view(-1, 1, self.size.grid, self.size.grid)
            both = torch.cat([seen * attention, looks], dim=1)
            encoding = F.relu(self.compress_bn1(self.compress_conv1(both)))
            encoding = F.relu(self.compress_bn2(self.compress_conv2(encoding)))
            inside = F.relu(self.compress_bn1_inout(self.compress_conv1_inout(both)))
            inside = F.relu(self.compress_bn2_inout(self.compress_conv2_inout(inside)))
            return Trunk(encoding, inside.flatten(1), attention)

    def _run_branch(self, branch: str, frames: torch.Tensor) -> torch.Tensor:
        maps = F.relu(self.get_submodule(f"bn1_{branch}")(self.get_submodule(f"conv1_{branch}")(frames)))
        maps = F.max_pool2d(maps, 3, 2, 1)
        for layer in range(1, len(self.size.blocks) + 1):
            maps = self.get_submodule(f"layer{layer}_{branch}")(maps)
        return maps

    def decode(self, encoding: torch.Tensor) -> torch.Tensor:
        """Turn an encoding ``[N, C, 7, 7]`` into heat maps ``[N, 1, 64, 64]``, which may be negative."""
        skip = self.skip_single and len(encoding) == 1
        maps = F.relu(normalise(self.deconv1(encoding), self.deconv_bn1, skip=skip))
        maps = F.relu(normalise(self.deconv2(maps), self.deconv_bn2, skip=skip))
        maps = F.relu(normalise(self.deconv3(maps), self.deconv_bn3, skip=skip))
        heat: torch.Tensor = self.conv4(maps)
        return heat

    def judge(self, inside: torch.Tensor) -> torch.Tensor:
        """Turn what the trunk says of the target ``[N, 49]`` into logits ``[N, 1]``; above 0 is inside the frame."""
        logits: torch.Tensor = self.fc_inout(inside)
        return logits

    def train(self, mode: bool = True) -> _Vtd:
        """Set training mode, of which frozen parts take no part."""
        super().train(mode)
        for part in self.modules():
            if getattr(part, "always_evaluates", False):
                part.train(False)
        return self


class VtdSpatial(_Vtd):
    """VTD for single pictures.

    Parameters
    ----------
    size
        How large the network is.

    Notes
    -----
    State dict as published for `PUBLISHED`: 771 entries, 61,451,706 parameters.

    Source: Chong et al., CVPR 2020, attention-target-detection, ``ModelSpatial``.
    """

    def __init__(self, size: VtdSize = PUBLISHED) -> None:
        super().__init__(size, twice=False, memory=None)

    def forward(
        self, scene: torch.Tensor, head: torch.Tensor, face: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Say where people look.

        Parameters
        ----------
        scene, head, face
            As for `trunk`.

        Returns
        -------
        heat
            [N, 1, 64, 64].
        attention
            [N, 1, 7, 7].
        logit
            [N, 1], above 0: the target is inside the frame.
        """
        trunk = self.trunk(scene, head, face)
        return self.decode(trunk.encoding), trunk.attention, self.judge(trunk.inside)


class VtdTemporal(_Vtd):
    """VTD for video: a convolutional LSTM between trunk and decoder.

    Parameters
    ----------
    size
        How large the network is.
    single_frame_norm
        ``always`` normalises as usual; with ``reference`` a call with exactly one frame leaves out the norms of blocks
        and decoder, as the published program does.
    double_norm
        What the second norm on shortcuts (``bn_ds``) is: ``fixed``, the scale and shift stored in the weights, which
        are 1 and 0 unless these were trained with it; or, with ``reference``, a batch norm that learns.
    dropout
        Share of the outputs of the memory's first layer that is dropped in training.

    Notes
    -----
    State dict as published for `PUBLISHED`: 959 entries, 99,277,242 parameters. Published weights hold statistics of
    ``bn_ds`` and give the published outputs only with them, so they are always applied; new weights begin with the
    identity, and ``fixed`` keeps it.

    Source: Chong et al., CVPR 2020, attention-target-detection, ``ModelSpatioTemporal``.
    """

    def __init__(
        self,
        size: VtdSize = PUBLISHED,
        *,
        single_frame_norm: Literal["always", "reference"] = "always",
        double_norm: Literal["fixed", "reference"] = "fixed",
        dropout: float = 0.5,
    ) -> None:
        super().__init__(size, twice=True, memory=ConvLstm(size.compress[1], dropout=dropout))
        self.skip_single = single_frame_norm == "reference"
        for block in self.modules():
            if isinstance(block, Block):
                block.skip_single = self.skip_single
                if double_norm == "fixed" and block.bn_ds is not None:
                    _freeze(block.bn_ds)

    def remember(
        self, encoding: torch.Tensor, batch_sizes: Sequence[int], state: State | None = None
    ) -> tuple[torch.Tensor, State]:
        """Take the frames before into account; see `ConvLstm.forward`."""
        remembered: tuple[torch.Tensor, State] = self.convlstm_scene(encoding, batch_sizes, state)
        return remembered

    def forward(
        self,
        scene: torch.Tensor,
        head: torch.Tensor,
        face: torch.Tensor,
        *,
        batch_sizes: Sequence[int],
        state: State | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, State]:
        """Say where people look in one chunk of packed tracks.

        Parameters
        ----------
        scene, head, face
            As for `trunk`, packed time-major.
        batch_sizes, state
            As for `ConvLstm.forward`.

        Returns
        -------
        heat
            [N, 1, 64, 64].
        logit
            [N, 1], above 0: the target is inside the frame.
        state
            For the next chunk of the same tracks.
        """
        trunk = self.trunk(scene, head, face)
        encoding, state = self.remember(trunk.encoding, batch_sizes, state)
        return self.decode(encoding), self.judge(trunk.inside), state


def freeze_trunk(network: VtdSpatial | VtdTemporal, *, decoder_norms: bool = True) -> None:
    """Make the trunk a fixed function: evaluation mode for good, no gradients, no activations kept.

    Parameters
    ----------
    network
        Changed in place; `train` no longer reaches the frozen parts.
    decoder_norms
        Whether the norms of the decoder are fixed, too, as in published video training.
    """
    learns = ("fc_inout", "convlstm_scene", "deconv", "conv4")
    for name, part in network.named_children():
        if not name.startswith(learns) or (decoder_norms and name.startswith("deconv_bn")):
            _freeze(part)
    network.frozen = True


def parameter_groups(
    network: VtdSpatial | VtdTemporal, learning_rate: float, *, inout_factor: float = INOUT_FACTOR
) -> list[dict[str, object]]:
    """Sort what may learn into groups for an optimiser.

    Parameters
    ----------
    network
        With the trunk frozen or not.
    learning_rate
        Of all parameters that are not frozen.
    inout_factor
        How much faster ``fc_inout`` of a temporal network learns.

    Returns
    -------
    list of dict
        ``params`` and ``lr``; one group for a spatial network, two for a temporal one.
    """
    learnt = {name: item for name, item in network.named_parameters() if item.requires_grad}
    if isinstance(network, VtdSpatial):
        return [{"params": list(learnt.values()), "lr": learning_rate}]
    inout = [item for name, item in learnt.items() if name.startswith("fc_inout.")]
    others = [item for name, item in learnt.items() if not name.startswith("fc_inout.")]
    return [{"params": others, "lr": learning_rate}, {"params": inout, "lr": inout_factor * learning_rate}]


def _freeze(part: nn.Module) -> None:
    part.requires_grad_(requires_grad=False)
    part.always_evaluates = True  # type: ignore[assignment]
    part.eval()


def _draw_weights(part: nn.Module) -> None:
    """Draw initial weights of convolutions as published; other layers keep torch's own."""
    if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
        spread = math.sqrt(2 / (math.prod(part.kernel_size) * part.out_channels))
        nn.init.normal_(part.weight, 0, spread)
