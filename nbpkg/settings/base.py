"""The base of all settings, and the groups of settings that several studies share.

A field's description is its documentation everywhere: in errors, in the comments of the parameter files and in
``docs/params.md``. Numbers carry their unit in the name where it is not obvious.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Settings that refuse unknown keys and wrong types instead of guessing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _plain_name(text: str) -> str:
    if not text or not all(letter.isalnum() or letter in "_-." for letter in text) or text.startswith("."):
        raise ValueError(
            "must be a plain name of letters, digits, '_', '-' and '.', because folders are named after it"
        )
    return text


def _positive_fraction(text: str) -> str:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError("must be a fraction in quotes such as '25/8', or a whole number in quotes") from None
    if value <= 0:
        raise ValueError("must be greater than 0")
    return text


def _inside(text: str) -> str:
    if text.startswith(("/", "~")) or ".." in text.replace("\\", "/").split("/"):
        raise ValueError("must be a folder inside the data folder, without '..'")
    return text


Name = Annotated[str, AfterValidator(_plain_name)]
Rate = Annotated[str, AfterValidator(_positive_fraction)]
Subfolder = Annotated[str, AfterValidator(_inside)]


class ReportSettings(Settings):
    """What reports may show."""

    frames: Literal["pixelated", "full", "none"] = Field(
        "pixelated", description="how frames of participants are shown: pixelated, full or none"
    )


class InputChoice(Settings):
    """Another experiment whose finished stage is used instead of one's own."""

    experiment: Name = Field(description="experiment whose stage is used")
    phase: str = Field("", description="phase of its stage; empty for the only one")


class VideoSettings(Settings):
    """How videos are prepared."""

    folder: Subfolder = Field("video", description="folder of the videos, relative to the data folder")
    name_pattern: str = Field("{session}", description="file name without ending; {session} stands for the session")
    height: int = Field(160, ge=16, le=4320, description="height of the prepared video, pixels")
    fps: Rate = Field("25/8", description="rate of the prepared video, frames per second as a fraction")
    encoding: Literal["raw", "jpeg"] = Field(
        "raw", description="frame store: raw (fastest) or jpeg (about a tenth of the size)"
    )
    jpeg_quality: int = Field(90, ge=1, le=100, description="quality of the frames where encoding is jpeg, 1 to 100")
    crf: int = Field(18, ge=0, le=51, description="x264 quality of the copy to watch; lower is better and larger")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"] = Field(
        "slow", description="x264 effort of the copy to watch"
    )


class FoldSettings(Settings):
    """How clips are laid out and sessions dealt into folds."""

    clip_seconds: float = Field(5.0, gt=0, le=600, description="length of a clip, seconds")
    stride_seconds: float = Field(5.0, gt=0, le=600, description="from one clip's start to the next's, seconds")
    folds: int = Field(5, ge=2, le=50, description="number of folds; the last one is the test fold")
    tries: int = Field(100_000, ge=1, le=10_000_000, description="random assignments tried before local improvement")
    balance: dict[str, list[str]] = Field(
        default_factory=dict,
        description="properties to spread evenly over the folds: name, then the sessions having it",
    )
    groups: dict[str, list[str]] = Field(
        default_factory=dict,
        description="participants with several sessions, which never part: name, then its sessions",
    )
    unrated_test_session: bool = Field(
        True, description="demand that the test fold holds, for each rater, a session this rater did not rate"
    )
