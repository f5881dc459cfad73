"""Encoders of clips: torchvision's video networks, and a small one, without their classifiers."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum

from nbpkg import seeding
from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models import weights as files
from nbpkg.models.small import SmallVideoNet

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class EncoderFacts:
    """What one needs to know of an encoder before building it.

    Parameters
    ----------
    features
        Number of features of a clip.
    head
        Name of the classifier in torchvision's network, whose weights are left out; empty where there is none.
    size, frames
        Side (pixels) and length (frames) of the clips of the published weights; a good choice without weights, too.
    min_size, min_frames
        The smallest clips that the network takes.
    fixed
        Whether the network takes clips of `size` and `frames` only.
    mean, std
        The backbone's own normalisation, for pixels on the 0..1 scale; None for a network without published weights.
    weights
        Names of torchvision's weights.
    """

    features: int
    head: str
    size: int
    frames: int
    min_size: int
    min_frames: int
    fixed: bool
    mean: RGB | None
    std: RGB | None
    weights: tuple[str, ...]

    @property
    def accepts(self) -> str:
        """The clips that the network takes, in words."""
        if self.fixed:
            return f"clips of exactly {self.frames} frames of {self.size} × {self.size} pixels"
        return f"clips of at least {self.min_frames} frames of at least {self.min_size} × {self.min_size} pixels"


def _describe(
    name: str, features: int, head: str, *, min_size: int = 1, min_frames: int = 1, fixed: bool = False
) -> EncoderFacts:
    """Take size and normalisation from torchvision, so that they cannot differ from those of its weights."""
    published = torchvision.models.get_model_weights(name)
    preparation = next(iter(published)).transforms()
    return EncoderFacts(
        features=features,
        head=head,
        size=preparation.crop_size[0],
        frames=16,
        min_size=min_size,
        min_frames=min_frames,
        fixed=fixed,
        mean=tuple(preparation.mean),
        std=tuple(preparation.std),
        weights=tuple(member.name for member in published),
    )


ENCODERS: Mapping[str, EncoderFacts] = MappingProxyType(
    {
        "mc3_18": _describe("mc3_18", 512, "fc"),
        "r3d_18": _describe("r3d_18", 512, "fc"),
        "r2plus1d_18": _describe("r2plus1d_18", 512, "fc"),
        # Four halvings that round up and one that rounds down in space; two and one in time.
        "s3d": _describe("s3d", 1024, "classifier", min_size=17, min_frames=5),
        # Its positions are learnt for one shape.
        "mvit_v2_s": _describe("mvit_v2_s", 768, "head", min_size=224, min_frames=16, fixed=True),
        "swin3d_t": _describe("swin3d_t", 768, "head"),
        "small": EncoderFacts(128, "", 48, 16, 16, 1, fixed=False, mean=None, std=None, weights=()),
    }
)


class Encoder(nn.Module):
    """A video network that gives features instead of classes.

    Parameters
    ----------
    name
        One of `ENCODERS`.

    Attributes
    ----------
    base_model
        torchvision's network with `torch.nn.Identity` in place of its classifier.
    features
        Number of features.

    Notes
    -----
    Takes clips float32 ``[B, 3, T, H, W]``, normalised; gives features float32 ``[B, features]``: the mean over time
    and space, for ``mvit_v2_s`` its class token. ``s3d`` takes the plain mean where torchvision averages windows of
    2 × 7 × 7; at 16 frames of 224 pixels both are the same, and smaller clips become possible.

    Source: torchvision's video networks: Tran et al., CVPR 2018 (mc3, r3d, r2plus1d); Xie et al., ECCV 2018 (s3d);
    Li et al., CVPR 2022 (mvit_v2); Liu et al., CVPR 2022 (swin3d).
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name == "small":
            self.base_model: nn.Module = SmallVideoNet()
        else:
            self.base_model = torchvision.models.get_model(name, weights=None)
            setattr(self.base_model, ENCODERS[name].head, nn.Identity())
            if name == "s3d":
                self.base_model.avgpool = nn.AdaptiveAvgPool3d(1)
        self.features = ENCODERS[name].features

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Encode normalised clips ``[B, 3, T, H, W]`` as features ``[B, features]``."""
        features: torch.Tensor = self.base_model(clips)
        return features


def find_encoder(name: str) -> EncoderFacts:
    """Look up the facts of an encoder.

    Raises
    ------
    SettingsError
        Saying which encoders there are.
    """
    if name not in ENCODERS:
        raise SettingsError(
            f"There is no encoder {name!r}.", expected=f"One of {', '.join(ENCODERS)}.", remedy="Correct the setting."
        )
    return ENCODERS[name]


def check_clip(name: str, *, size: int, frames: int) -> EncoderFacts:
    """Check that an encoder exists and takes clips of this shape.

    Parameters
    ----------
    name
        Encoder.
    size
        Side of the square clip, in pixels.
    frames
        Length of the clip, in frames.

    Returns
    -------
    EncoderFacts
        Facts of the encoder.

    Raises
    ------
    SettingsError
        Saying which encoders there are, or what the encoder accepts.
    """
    facts = find_encoder(name)
    exact = (size, frames) == (facts.size, facts.frames)
    fits = exact if facts.fixed else size >= facts.min_size and frames >= facts.min_frames
    if not fits:
        raise SettingsError(
            f"{name} cannot take clips of {frames} frames of {size} × {size} pixels.",
            expected=f"{facts.accepts[0].upper()}{facts.accepts[1:]}.",
            remedy=f"Set size and frames accordingly, e.g. {facts.frames} frames of {facts.size} pixels.",
        )
    return facts


def build_encoder(
    name: str, weights: str | Path, *, seed: int, size: int, frames: int, cache: Path | None = None
) -> Encoder:
    """Build an encoder with random, torchvision's or one's own weights.

    Parameters
    ----------
    name
        One of `ENCODERS`.
    weights
        ``none`` (random, seeded), a name of torchvision's weights such as ``KINETICS400_V1``, or a file with a state
        dict (``.safetensors``, ``.pt``, ``.pth``): torchvision's, the encoder's own, or that of a whole network, of
        which the encoder is taken; or a network that the published program pickled (``net.pt``).
    seed
        Seed of the random weights.
    size, frames
        Side (pixels) and length (frames) of the clips to come.
    cache
        Folder of downloaded weights; None for torchvision's own.

    Returns
    -------
    Encoder
        In evaluation mode, with gradients: training calls ``train()`` first.

    Raises
    ------
    SettingsError
        When there is no such encoder, it cannot take such clips, or has no weights of that name.
    WeightsError
        When weights cannot be downloaded, read, or do not fit key by key.
    """
    facts = check_clip(name, size=size, frames=frames)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "encoder"))
        encoder = Encoder(name)
    if str(weights) == "none":
        return encoder.eval()
    if str(weights) in facts.weights:
        member = torchvision.models.get_model_weights(name)[str(weights)]
        state, where = fetch_weights(member, folder=cache), member.url
    elif Path(weights).suffix in (".safetensors", ".pt", ".pth"):
        state, where = _read_file(Path(weights)), str(weights)
    else:
        raise _no_such_weights(name, str(weights))
    files.load_strictly(encoder.base_model, _keep_encoder(state, facts.head), what=name, where=where)
    return encoder.eval()


def _read_file(path: Path) -> files.State:
    """Read a state dict, or a network that the published program pickled whole."""
    from nbpkg.models.pickled import holds_network, import_pickled  # which build networks, and so need this module

    return import_pickled(path) if holds_network(path) else files.read_state(path)


def fetch_weights(member: WeightsEnum, *, folder: Path | None = None) -> files.State:
    """Read torchvision's weights, downloading them at first use.

    Parameters
    ----------
    member
        Weights as torchvision lists them.
    folder
        Where downloads are kept; None for torchvision's own folder (``TORCH_HOME``).

    Returns
    -------
    dict
        Tensors on the CPU, by key.

    Raises
    ------
    WeightsError
        When they cannot be downloaded, naming the file and the folder to put it in; when the file there is damaged.
    """
    place = folder or Path(torch.hub.get_dir()) / "checkpoints"
    file = place / member.url.rsplit("/", 1)[1]
    if file.is_file():
        _check_download(file)
    try:
        state: files.State = member.get_state_dict(
            progress=False, check_hash=True, model_dir=str(place), map_location="cpu", weights_only=True
        )
    except (http.client.HTTPException, *files.UNREADABLE) as error:
        raise WeightsError(
            f"torchvision's weights {member.name} cannot be downloaded or stored: {error}",
            where=member.url,
            expected=f"{file.name} in the folder {place}.",
            remedy=f"Download {member.url} on a machine with internet and put it here: {file}",
        ) from None
    return state


def _check_download(file: Path) -> None:
    """Compare the hash of a published file with the first digits of it in the file's name."""
    start = file.stem.rsplit("-", 1)[-1]
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not found.startswith(start):
        raise WeightsError(
            "The stored weights are cut or not the published ones.",
            where=str(file),
            expected=f"A file whose SHA-256 begins with {start}; it is {found[:8]}….",
            remedy="Delete it and run again, or put the published file there.",
        )


def _keep_encoder(state: files.State, head: str) -> files.State:
    """Take an encoder's own entries from a state dict of any of the three layouts."""
    for prefix in ("encoder.base_model.", "base_model."):
        if any(key.startswith(prefix) for key in state):
            rest = {key: item for key, item in state.items() if not key.startswith((prefix, "classifier.fc."))}
            return {key.removeprefix(prefix): item for key, item in state.items() if key.startswith(prefix)} | rest
    return {key: item for key, item in state.items() if not (head and key.startswith(f"{head}."))}


def _no_such_weights(name: str, weights: str) -> SettingsError:
    known = ", ".join(["none", *ENCODERS[name].weights])
    return SettingsError(
        f"{name} has no weights {weights!r}.",
        expected=f"{known}, or the path of a .safetensors, .pt or .pth file.",
        remedy="Correct the setting for weights.",
    )
