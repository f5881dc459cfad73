"""Groups of settings for where people look: footage and its annotations, networks, their training and their scores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from nbpkg.settings.base import Name, Rate, Settings, Subfolder, VideoSettings

GazeNetwork = Literal[
    "vtd_spatial",
    "vtd_temporal",
    "vtd_small",
    "vtd_small_temporal",
    "gazelle_vitb14",
    "gazelle_vitb14_inout",
    "gazelle_vitl14",
    "gazelle_vitl14_inout",
    "gazelle_small",
]
Probability = Annotated[float, Field(ge=0, le=1)]
OneOrMore = Annotated[list[int], Field(min_length=1)]


class GazeSource(Settings):
    """One data set, or one part of it, in one of the formats that are read."""

    name: Name = Field(description="name of the data set, for tables and figures")
    format: Literal["gazefollow", "videoattention", "objectattention", "voc"] = Field(
        description="gazefollow (extended), videoattention (VideoAttentionTarget), objectattention, or voc (labelImg)"
    )
    folder: Subfolder = Field(description="folder of the data set, relative to the data folder")
    parts: list[Literal["train", "test"]] = Field(["train", "test"], description="parts of the official list to read")
    split: Literal["", "train", "test"] = Field(
        "", description="part of the official list that labelImg files belong to"
    )


class GazeAnnotationSettings(Settings):
    """Who looks where, according to whom, and in which files."""

    sources: list[GazeSource] = Field(min_length=1, description="data sets; any number, in any formats, in one table")
    head: str = Field("head", description="name of the head in labelImg files, upper or lower case")
    smooth: int = Field(11, ge=1, description="rows of the moving average over head boxes of video; 1 = none")
    exclusions: str = Field(
        "", description="CSV in the data folder of frames not to learn from, such as ends of takes; empty = none"
    )
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: files are read as the published programs do, known defects included"
    )

    @field_validator("smooth")
    @classmethod
    def _odd(cls, rows: int) -> int:
        if rows % 2 == 0:
            raise ValueError("must be odd, so that the average has a middle")
        return rows


class PictureSettings(VideoSettings):
    """How videos and folders of pictures are prepared."""

    folder: Subfolder = Field("", description="folder of videos; empty where all footage is folders of pictures")
    fps: Rate = Field("30", description="pictures of a folder per second, and rate of prepared videos, as a fraction")
    pictures: Literal["view", "store"] = Field(
        "view", description="folders of pictures: view (read where they lie) or store (scaled copies, faster to read)"
    )
    longest: int = Field(
        0, ge=0, le=8192, description="longest side of a viewed picture when read, pixels; 0 = its own"
    )


class GazeFoldSettings(Settings):
    """How participants are dealt into folds."""

    scheme: Literal["official", "participants"] = Field(
        "official",
        description="official: test fold as in the lists; participants: all dealt, the last fold is the test",
    )
    folds: int = Field(5, ge=2, le=50, description="folds, the test fold among them")
    test: list[str] = Field([], description="participants of the test fold, whatever the scheme; [] = by the scheme")


class GazeNetworkSettings(Settings):
    """The network, where it begins, and what of it is frozen."""

    network: GazeNetwork = Field("vtd_temporal", description="architecture; names with small are for the sample")
    weights: str = Field(
        "none",
        min_length=1,
        description="where training begins: none (random), imagenet, or a file in the data folder; "
        "inputs.model goes first",
    )
    backbone: str = Field(
        "none",
        min_length=1,
        description="of Gaze-LLE: none, dinov2_vitb14_pretrain or the like, or a file in the data folder",
    )
    frozen: bool = Field(True, description="keep trunk or backbone as they come: no gradient, no activations")
    stored: bool = Field(
        True,
        description="compute what the frozen part sees once, here; false reads frames in every epoch, so that they "
        "can be changed at random",
    )
    single_frame_norm: Literal["always", "reference"] = Field(
        "always", description="reference: batch normalisation is skipped for a block of one frame, as published"
    )
    batch_size: int = Field(16, ge=1, le=4096, description="frames per forward pass")
    precision: Literal["float32", "float16"] = Field("float32", description="numbers kept on disk")


class GazeAugmentSettings(Settings):
    """How training frames are varied; one draw for all frames of a track."""

    jitter: bool = Field(True, description="shift and widen the head box at random")
    crop: bool = Field(True, description="crop at random around head and target")
    flip: bool = Field(True, description="mirror at random")
    colour: bool = Field(True, description="change brightness, contrast and saturation at random")


class GazeLearning(Settings):
    """What all trainings of a gaze network share."""

    epochs: int = Field(15, ge=0, le=100_000, description="passes over the training frames")
    window: int = Field(0, ge=0, description="epochs before each that are averaged with it when the best is chosen")
    warm_up: int = Field(0, ge=0, description="first epochs that cannot be chosen")
    inout_rate: float = Field(5.0, gt=0, description="how many times faster learns what judges inside or outside")
    inout_weight: float = Field(100.0, ge=0, description="weight of inside or outside in the loss; 0 = heat map alone")
    schedule: Literal["none", "cosine"] = Field("none", description="learning rate from epoch to epoch")
    batch_statistics: bool = Field(
        True, description="batch normalisation that learns uses each batch's mean and spread"
    )
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic; bfloat16 needs a GPU to pay")
    max_steps: int = Field(0, ge=0, description="most steps of an epoch; 0 = all")


class GazeSweepSettings(GazeLearning):
    """A grid of trainings; every epoch of every cell is evaluated on the participants left out."""

    batch_size: OneOrMore = Field([4, 8, 16], description="tracks or pictures per step")
    chunk: OneOrMore = Field([2, 3, 4], description="time steps per step of the optimiser, for video")
    learning_rate: list[Annotated[float, Field(gt=0)]] = Field([5e-5], min_length=1, description="learning rates")
    repetitions: int = Field(1, ge=1, le=100, description="trainings of each cell on each fold, with other seeds")


class GazeFinalSettings(GazeLearning):
    """The training that is evaluated; what is null comes from the sweep's best cell."""

    batch_size: int | None = Field(None, ge=1, le=4096, description="tracks or pictures per step; null = the sweep's")
    chunk: int | None = Field(
        None, ge=1, le=512, description="time steps per step of the optimiser; null = the sweep's"
    )
    learning_rate: float | None = Field(None, gt=0, description="learning rate; null = the sweep's")
    patience: int = Field(0, ge=0, description="epochs without improvement after which training stops; 0 = never")
    keep_every: int = Field(0, ge=0, description="keep epoch_NN_weights.pt of every so manieth epoch; 0 = none")


class GazeTrainSettings(Settings):
    """What is trained, on which footage, in up to two phases."""

    phases: list[Literal["sweep", "final"]] = Field(
        ["sweep", "final"], min_length=1, description="phases of this experiment, in order"
    )
    footage: Literal["pictures", "video"] = Field(
        "video", description="pictures: single frames in any order; video: tracks in blocks, with memory"
    )
    longest_track: int = Field(50, ge=1, description="most consecutive frames of a track in one epoch")
    every: int = Field(1, ge=1, description="for pictures: take every so manieth frame of a track")
    validation_fold: int = Field(-1, ge=-1, description="fold that chooses the epoch in final; -1 = last training fold")
    augment: GazeAugmentSettings = Field(default_factory=GazeAugmentSettings, description="how frames are varied")
    sweep: GazeSweepSettings = Field(default_factory=GazeSweepSettings, description="grid of trainings")
    final: GazeFinalSettings = Field(default_factory=GazeFinalSettings, description="the training that is evaluated")
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: target maps, crops and windows as published, known defects included"
    )

    @field_validator("phases")
    @classmethod
    def _ordered(cls, phases: list[str]) -> list[str]:
        if phases != [name for name in ("sweep", "final") if name in phases]:
            raise ValueError("must be some of sweep, final, each once and in this order")
        return phases


class GazeEvaluationSettings(Settings):
    """How answers are scored."""

    protocol: Literal["vtd", "gazelle"] = Field("vtd", description="definitions of the scores, as that paper has them")
    centres: bool = Field(False, description="answer the middle of a cell, not its corner as published")
    chunk: int = Field(3, ge=1, le=512, description="time steps in the network at once, for video")
    batch_size: int = Field(16, ge=1, le=4096, description="tracks or pictures in the network at once")
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of participants")


class GazePointSettings(Settings):
    """How annotators' points become the human map."""

    per_person: int = Field(4, ge=1, le=10_000, description="frames of each person of each test session")
    radius: float = Field(0.11, ge=0.01, le=0.5, description="of the touch at each point, share of the picture's side")
