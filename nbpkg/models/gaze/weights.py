"""Building gaze networks: by name, with random, published or one's own weights."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pandas as pd
import torch
import torchvision

from nbpkg import seeding
from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models import weights as files
from nbpkg.models.encoders import fetch_weights
from nbpkg.models.gaze import gazelle, vtd
from nbpkg.models.gaze.dinov2 import DINOV2, WIDTHS, DinoV2, SmallBackbone, build_dinov2
from nbpkg.models.gaze.gazelle import GazeLle, GazelleSize, freeze_backbone
from nbpkg.models.gaze.vtd import BRANCHES, VtdSize, VtdSpatial, VtdTemporal
from nbpkg.models.published import FROM_SPATIAL, WITHOUT_INOUT, load_state, read_state
from nbpkg.runs.files import new_file

__all__ = ["FROM_SPATIAL", "MODELS", "WITHOUT_INOUT", "build_gaze_model", "load_gaze_weights", "write_reference"]

GazeNetwork = VtdSpatial | VtdTemporal | GazeLle
Compat = Literal["none", "reference"]

_DROPBOX = "https://www.dropbox.com/s/{}/{}.pt?dl=1"
_GAZELLE = "https://github.com/fkryan/gazelle/releases/download/v1.0.0/{}.pt"
_DINOV2 = "https://dl.fbaipublicfiles.com/dinov2/dinov2_{0}/dinov2_{0}_pretrain.pth"


@dataclass(frozen=True)
class GazeModel:
    """What one needs to know of a network before building it.

    Parameters
    ----------
    size
        Of VTD, or of a Gaze-LLE decoder.
    temporal
        Whether it is VTD with memory.
    inout
        Whether it says whether the target is inside the frame.
    backbone
        Of Gaze-LLE: a name of `DINOV2`, ``small``, or empty for VTD.
    weights
        Names of published weights that fit.
    """

    size: VtdSize | GazelleSize
    temporal: bool = False
    inout: bool = True
    backbone: str = ""
    weights: tuple[str, ...] = ()


def _gazelle(backbone: str, *, inout: bool) -> GazeModel:
    name = f"gazelle_dinov2_{backbone}{'_inout' if inout else ''}"
    return GazeModel(gazelle.PUBLISHED, inout=inout, backbone=backbone, weights=(name,))


IMAGENET = ("IMAGENET1K_V1", "IMAGENET1K_V2")
BACKBONE = "backbone."
SMALL_WIDTH = 64

MODELS: Mapping[str, GazeModel] = MappingProxyType(
    {
        "vtd_spatial": GazeModel(
            vtd.PUBLISHED,
            weights=("initial_weights_for_spatial_training", "model_gazefollow", "model_demo", *IMAGENET),
        ),
        "vtd_temporal": GazeModel(
            vtd.PUBLISHED,
            temporal=True,
            weights=("initial_weights_for_temporal_training", "model_videoatttarget", *IMAGENET),
        ),
        "gazelle_vitb14": _gazelle("vitb14", inout=False),
        "gazelle_vitb14_inout": _gazelle("vitb14", inout=True),
        "gazelle_vitl14": _gazelle("vitl14", inout=False),
        "gazelle_vitl14_inout": _gazelle("vitl14", inout=True),
        "vtd_small": GazeModel(vtd.SMALL),
        "vtd_small_temporal": GazeModel(vtd.SMALL, temporal=True),
        "gazelle_small": GazeModel(gazelle.SMALL, backbone="small"),
    }
)
# Where published weights are found, each one file.
ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        name: _DROPBOX.format(identifier, name)
        for name, identifier in (
            ("initial_weights_for_spatial_training", "s9y65ajzjz4thve"),
            ("initial_weights_for_temporal_training", "ye3lyyyzd73afa7"),
            ("model_demo", "vt8hua06r1yoi2i"),
            ("model_gazefollow", "nloym5bmvv1v7wr"),
            ("model_videoatttarget", "ywd16kcv06vn93x"),
        )
    }
    | {
        # The variant without in/out on ViT-B is released under another name.
        name: _GAZELLE.format("gazelle_dinov2_vitb14_hub" if name == "gazelle_dinov2_vitb14" else name)
        for backbone in ("vitb14", "vitl14")
        for name in (f"gazelle_dinov2_{backbone}", f"gazelle_dinov2_{backbone}_inout")
    }
    | {f"dinov2_{name}_pretrain": _DINOV2.format(name) for name in DINOV2}
)


def build_gaze_model(
    name: str,
    *,
    weights: str | Path = "none",
    backbone_weights: str | Path | None = "none",
    seed: int = 0,
    allow: Sequence[str] = (),
    compat: Compat = "none",
    norm_eps: float = 1e-5,
    cache: Path | None = None,
) -> GazeNetwork:
    """Build a gaze network.

    Parameters
    ----------
    name
        One of `MODELS`.
    weights
        ``none`` (random, seeded), a name from the model's facts, or the path of a checkpoint.
    backbone_weights
        Of Gaze-LLE's DINOv2: ``none`` (random), ``dinov2_<name>_pretrain``, or a path; None builds no backbone, for
        stored tokens.
    seed
        Seed of the random weights.
    allow
        Patterns of keys in which checkpoint and network may differ: `FROM_SPATIAL` to start a temporal network from a
        spatial checkpoint, `WITHOUT_INOUT` between Gaze-LLE with and without in/out.
    compat
        With ``reference``, what is known to be wrong in the published programs, for comparison: see `VtdTemporal` and
        `GazeLle`.
    norm_eps
        Of Gaze-LLE's decoder.
    cache
        Folder of downloaded weights; None for torch's own.

    Returns
    -------
    VtdSpatial, VtdTemporal or GazeLle
        In evaluation mode; a DINOv2 backbone is frozen, all else learns.

    Raises
    ------
    SettingsError
        When there is no such network or no weights of that name.
    WeightsError
        When weights cannot be read or do not fit, or a published decoder would stand on a random backbone.
    """
    facts = find_model(name)
    released = facts.backbone in DINOV2
    if released and str(weights) != "none" and backbone_weights == "none":
        raise WeightsError(
            f"The weights {weights} are those of a decoder, and its backbone would stay random.",
            where=name,
            expected=f"Weights of DINOv2 {facts.backbone}, or no backbone at all where stored tokens are decoded.",
            remedy=f"Set the backbone's weights to 'dinov2_{facts.backbone}_pretrain' or the path of that file.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeding.child(seed, "gaze network"))
        backbone = _build_backbone(facts, backbone_weights, cache) if facts.backbone else None
        network = _build_network(facts, backbone, compat=compat, norm_eps=norm_eps)
    if released and isinstance(network, GazeLle):
        freeze_backbone(network)
    if str(weights) != "none":
        load_gaze_weights(network, weights, allow=allow, cache=cache)
    return network.eval()


def find_model(name: str) -> GazeModel:
    """Look up the facts of a network.

    Raises
    ------
    SettingsError
        Saying which networks there are.
    """
    if name not in MODELS:
        raise SettingsError(
            f"There is no gaze network {name!r}.",
            expected=f"One of {', '.join(MODELS)}.",
            remedy="Correct the setting.",
        )
    return MODELS[name]


def load_gaze_weights(
    network: GazeNetwork, weights: str | Path, *, allow: Sequence[str] = (), cache: Path | None = None
) -> pd.DataFrame:
    """Copy weights into a network, strictly.

    Parameters
    ----------
    network
        Changed in place; left as it is when the weights do not fit.
    weights
        A path; or a name: published weights, or ``IMAGENET1K_V1`` and ``_V2`` for torchvision's ResNet-50 in both
        branches of VTD, all else staying initial.
    allow, cache
        As for `build_gaze_model`.

    Returns
    -------
    pandas.DataFrame
        One row per module (see `loading.compare_state`).

    Raises
    ------
    SettingsError
        When there are no weights of that name.
    WeightsError
        When weights cannot be downloaded, read, or do not fit.
    """
    if str(weights) in IMAGENET:
        return _load_imagenet(network, str(weights), cache)
    path = _locate(weights, cache)
    state = read_state(path)
    separate = isinstance(network, GazeLle) and network.frozen and not any(key.startswith(BACKBONE) for key in state)
    table = load_state(network, state, where=str(path), allow=(*allow, f"{BACKBONE}*") if separate else allow)
    return table[table["module"] != "backbone"].reset_index(drop=True) if separate else table


def collect_state(network: GazeNetwork) -> files.State:
    """Return what a checkpoint holds: the state dict, of Gaze-LLE without a frozen backbone."""
    state = network.state_dict()
    if isinstance(network, GazeLle) and network.frozen:
        return {key: item for key, item in state.items() if not key.startswith(BACKBONE)}
    return dict(state)


def write_reference(network: GazeNetwork, path: Path) -> None:
    """Write a checkpoint that the published programs read, too.

    Parameters
    ----------
    network
        VTD is written as entry ``model``, Gaze-LLE bare.
    path
        ``.pt``; complete or not there.

    Raises
    ------
    StageError
        When the file cannot be written.
    """
    state = {key: item.detach().cpu() for key, item in collect_state(network).items()}
    with new_file(path) as temporary:
        torch.save(state if isinstance(network, GazeLle) else {"model": state}, temporary)


def spread_resnet(state: Mapping[str, torch.Tensor]) -> files.State:
    """Put torchvision's ResNet-50 into both branches of VTD.

    Parameters
    ----------
    state
        torchvision's state dict.

    Returns
    -------
    dict
        Stem and layers 1 to 4 of both branches; the scene's head channel has the weight zero.
    """
    spread: files.State = {}
    for branch in BRANCHES:
        for key, item in state.items():
            module, rest = key.split(".", 1)
            if module != "fc":
                spread[f"{module}_{branch}.{rest}"] = item
    stem = spread["conv1_scene.weight"]
    spread["conv1_scene.weight"] = torch.cat([stem, torch.zeros_like(stem[:, :1])], dim=1)
    return spread


def _load_imagenet(network: GazeNetwork, name: str, cache: Path | None) -> pd.DataFrame:
    if isinstance(network, GazeLle) or network.size != vtd.PUBLISHED:
        raise SettingsError(
            f"The weights {name} are those of a ResNet-50, which this network does not hold.",
            expected="VTD in its published size.",
            remedy="Set the weights to 'none'.",
        )
    member = torchvision.models.get_model_weights("resnet50")[name]
    state = spread_resnet(fetch_weights(member, folder=cache))
    others = [key for key in network.state_dict() if key not in state]
    return load_state(network, state, where=f"torchvision's resnet50 {name}", allow=others)


def _build_backbone(facts: GazeModel, weights: str | Path | None, cache: Path | None) -> DinoV2 | SmallBackbone | None:
    if weights is None:
        return None
    if facts.backbone not in DINOV2:
        return SmallBackbone(SMALL_WIDTH)
    return build_dinov2(facts.backbone, None if str(weights) == "none" else read_state(_locate(weights, cache)))


def _build_network(
    facts: GazeModel, backbone: DinoV2 | SmallBackbone | None, *, compat: Compat, norm_eps: float
) -> GazeNetwork:
    if isinstance(facts.size, GazelleSize):
        features = WIDTHS.get(facts.backbone, SMALL_WIDTH)
        drop_path = 0.1 if facts.backbone in DINOV2 else 0.0  # the small decoder has no blocks to spare
        return GazeLle(
            features,
            facts.size,
            backbone=backbone,
            inout=facts.inout,
            norm_eps=norm_eps,
            drop_path=drop_path,
            compat=compat,
        )
    if not facts.temporal:
        return VtdSpatial(facts.size)
    published: Literal["reference"] = "reference"
    if compat == "reference":
        return VtdTemporal(facts.size, single_frame_norm=published, double_norm=published)
    return VtdTemporal(facts.size)


def _locate(weights: str | Path, cache: Path | None) -> Path:
    """Return the path of weights given by path or name, downloading the latter at first use."""
    if str(weights) not in ADDRESSES:
        if Path(weights).suffix not in (".pt", ".pth", ".safetensors"):
            raise SettingsError(
                f"There are no weights {str(weights)!r}.",
                expected=f"none, the path of a .pt, .pth or .safetensors file, {', '.join([*IMAGENET, *ADDRESSES])}.",
                remedy="Correct the setting for weights.",
            )
        return Path(weights)
    address = ADDRESSES[str(weights)]
    file = (cache or Path(torch.hub.get_dir()) / "checkpoints") / f"{weights}{Path(address.split('?')[0]).suffix}"
    if file.is_file():
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(file), progress=False)
    except (http.client.HTTPException, OSError) as error:
        raise WeightsError(
            f"The weights {weights} cannot be downloaded or stored: {error}",
            where=address,
            expected=f"{file.name} in the folder {file.parent}.",
            remedy=f"Download {address} on a machine with internet and put it here: {file}",
        ) from None
    return file
