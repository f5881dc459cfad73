"""Names of the networks over people and what each looks at; loads no torch, so that settings are checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from nbpkg.errors import SettingsError

Family = Literal["conversation", "steps", "clips", "skeletons"]
SkeletonName = Literal["ctr_gcn", "st_gcn_pp", "st_gcn", "st_gcn_first", "agcn", "ms_g3d"]
SKELETONS: tuple[str, ...] = get_args(SkeletonName)
# Those of `nbpkg.models.people.rgb.facts.RGB_NETWORKS`, which need torchvision to be described.
CLASSIFIERS: tuple[str, ...] = (
    "i3d_r50", "slowfast_r50_4x16", "slowonly_r50_4x16", "r2plus1d_r34", "ircsn_r50", "x3d_m", "c3d",
    "timesformer_joint", "timesformer_divided", "tsn_r50", "tsm_r50", "trn_r50", "posec3d_custom", "posec3d_custom2",
    "mc3_18", "r3d_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t", "small",
)  # fmt: skip
_OF_PICTURES = ("torchvision.", "timm.")
_SHORT: Mapping[str, str] = MappingProxyType(
    {
        "i3d": "i3d_r50",
        "slowfast": "slowfast_r50_4x16",
        "slowonly": "slowonly_r50_4x16",
        "csn": "ircsn_r50",
        "x3d": "x3d_m",
        "timesformer": "timesformer_joint",
        "tsn": "tsn_r50",
        "tsm": "tsm_r50",
        "trn": "trn_r50",
        "posec3d": "posec3d_custom",
        "ctrgcn": "ctr_gcn",
        "stgcn++": "st_gcn_pp",
        "stgcn": "st_gcn",
        "2s-agcn": "agcn",
        "msg3d": "ms_g3d",
    }
)


def find_name(name: str) -> str:
    """Return the whole name of a network that is also known by a short one."""
    return _SHORT.get(name, name)


def family_of(name: str) -> Family:
    """Tell what a network looks at.

    Parameters
    ----------
    name
        As in the settings.

    Returns
    -------
    str
        ``conversation`` (recordings, window by window), ``steps`` (each window by itself), ``clips`` (frames) or
        ``skeletons``.

    Raises
    ------
    SettingsError
        When there is no such network.
    """
    name = find_name(name)
    if name in ("cpm_t", "multipar_t"):
        return "conversation" if name == "cpm_t" else "steps"
    if name in SKELETONS or name.startswith("posec3d"):
        return "skeletons"
    if name in CLASSIFIERS or name.startswith(_OF_PICTURES):
        return "clips"
    raise SettingsError(
        f"There is no network {name!r}.",
        expected=f"cpm_t, multipar_t; over skeletons {', '.join(SKELETONS)}; of clips one of {', '.join(CLASSIFIERS)}, "
        "or torchvision.<network> or timm.<network>.",
        remedy="Correct train.network.name.",
    )
