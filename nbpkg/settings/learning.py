"""Groups of settings for encoding clips, searching settings and training networks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from nbpkg.settings.base import Settings

Two = Annotated[list[float], Field(min_length=2, max_length=2)]
Encoder = Literal["small", "mc3_18", "r3d_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t"]
Precision = Literal["float32", "bfloat16", "float16"]
Space = float | bool | list[bool] | list[float] | dict[str, Any]  # as nbpkg.training.spaces.from_plain reads it


class AugmentSettings(Settings):
    """How training clips are varied; one draw for all frames of a clip, values after normalisation."""

    rotation_degrees: float = Field(8.0, ge=0, le=180, description="largest rotation, degrees")
    crop_area: Two = Field([0.6, 1.5], description="area of the random crop, share of the frame, from and to")
    crop_aspect: Two = Field([0.5, 1.5], description="width by height of the random crop, from and to")
    flip: float = Field(0.5, ge=0, le=1, description="probability of a mirror image")
    bias: float = Field(0.15, ge=0, description="largest change of brightness, standard deviations")
    scale: Two = Field([0.75, 1.25], description="factor of contrast, from and to")
    channel_bias: float = Field(0.1, ge=0, description="largest change of one colour, standard deviations")
    channel_scale: Two = Field([0.8, 1.2], description="factor of one colour, from and to")
    blur_sigma: Two = Field([0.1, 2.0], description="strength of Gaussian blur, pixels, from and to")
    noise_std: Two = Field([0.01, 0.03], description="strength of normal noise, standard deviations, from and to")
    probability: float = Field(0.35, ge=0, le=1, description="probability of each of rotation, colour, blur and noise")
    central_square: bool = Field(False, description="crop from the central square, which evaluation sees, only")


class EncoderSettings(Settings):
    """The network that turns clips into features, and the clips it is shown."""

    encoder: Encoder = Field("mc3_18", description="video network of torchvision, or small")
    weights: str = Field(
        "none",
        min_length=1,
        description="none (random), a torchvision weights name such as KINETICS400_V1, or a file in the data folder",
    )
    size: int = Field(160, ge=16, le=1024, description="side of the central square used for evaluation, pixels")
    train_size: int = Field(112, ge=16, le=1024, description="side of the random crop used for training, pixels")
    frames: int = Field(16, ge=2, le=256, description="frames of a clip put into the network")
    normalisation: Literal["backbone", "training"] = Field(
        "backbone", description="constants of the weights' own training, or mean and spread of the training folds"
    )
    repeats: int = Field(100, ge=1, le=100_000, description="random draws of each training chunk")
    chunks: int = Field(10, ge=1, le=10_000, description="parts of a task from each of which one clip is drawn")
    augment: AugmentSettings = Field(default_factory=AugmentSettings, description="how training clips are varied")
    batch_size: int = Field(16, ge=1, le=4096, description="clips per forward pass")
    precision: Precision = Field("float32", description="arithmetic of the forward pass; bfloat16 needs a GPU to pay")


class SearchSettings(Settings):
    """A random search, as published for heads."""

    settings: int = Field(250, ge=1, le=100_000, description="settings tried")
    repetitions: int = Field(4, ge=1, le=100, description="trainings of each setting on each fold")
    epochs: int = Field(20, ge=0, le=100_000, description="passes over the training clips")
    window: int = Field(5, ge=0, description="epochs before each that are averaged with it when the best is chosen")
    warm_up: int = Field(5, ge=0, description="first epochs that cannot be chosen")
    learning_rate: Space = Field(
        {"log10": [-5.0, 0.0]}, description="learning rate: a number, a list to choose from, or {log10: [from, to]}"
    )
    lr_decay: Space = Field(
        {"log10": [-3.0, -1.0], "zero": 0.2}, description="loss of learning rate per epoch; zero: probability of none"
    )
    weight_decay: Space = Field(
        {"log10": [-4.0, 1.0], "zero": 0.2}, description="L2 penalty; zero: probability of none"
    )
    class_weights: bool | list[bool] = Field([True, False], description="weigh classes inversely to their frequency")
    optimiser: Literal["adam", "lbfgs"] = Field("adam", description="adam, or lbfgs with up to 20 inner steps")
    sampler: Literal["random", "tpe"] = Field("random", description="random as published, or tpe (learns as it goes)")


class FinetuneSettings(SearchSettings):
    """A random search over trainings of the whole network."""

    settings: int = Field(150, ge=1, le=100_000, description="settings tried")
    epochs: int = Field(100, ge=0, le=100_000, description="passes over the training clips")
    learning_rate: Space = Field({"log10": [-8.0, -2.0]}, description="as in head_search")
    lr_decay: Space = Field({"log10": [-4.0, 0.0], "zero": 1 / 6}, description="as in head_search")
    weight_decay: Space = Field({"log10": [-4.0, 0.0], "zero": 1 / 6}, description="as in head_search")
    pruner: Literal["none", "median"] = Field("none", description="median stops settings that fall behind")
    chunks: int = Field(10, ge=1, le=10_000, description="parts of a task from each of which one clip is drawn")
    batch_size: int = Field(16, ge=1, le=4096, description="clips per step; halved and accumulated if memory runs out")
    accumulate: int = Field(1, ge=1, le=1024, description="batches whose gradients are added before a step")
    precision: Precision = Field("float32", description="arithmetic: float32, bfloat16 or float16 (mixed)")
    batch_statistics: bool = Field(
        True, description="batch normalisation by each batch's mean and spread; false keeps those of the encoder"
    )
    max_batches: int = Field(0, ge=0, description="batches per epoch for a short trial; 0 = all")
    profile: bool = Field(False, description="write a profile of one step with torch's profiler")


class TrainingSettings(Settings):
    """One training; what is null comes from the search's best setting."""

    epochs: int = Field(1500, ge=0, le=1_000_000, description="passes over the training clips")
    window: int = Field(8, ge=0, description="epochs before each that are averaged with it when the best is chosen")
    warm_up: int = Field(8, ge=0, description="first epochs that cannot be chosen")
    learning_rate: float | None = Field(None, gt=0, description="learning rate; null = the search's best")
    lr_decay: float | None = Field(None, ge=0, le=1, description="loss of learning rate per epoch; null as above")
    weight_decay: float | None = Field(None, ge=0, description="L2 penalty; null as above")
    class_weights: bool | None = Field(None, description="weigh classes inversely to their frequency; null as above")
    optimiser: Literal["adam", "lbfgs"] = Field("adam", description="adam, or lbfgs with up to 20 inner steps")


class NetworkTrainingSettings(TrainingSettings):
    """One training of the whole network."""

    epochs: int = Field(5000, ge=0, le=1_000_000, description="passes over the training clips; 0 keeps the encoder")
    warm_up: int = Field(0, ge=0, description="first epochs that cannot be chosen")
    chunks: int = Field(20, ge=1, le=10_000, description="parts of a task from each of which one clip is drawn")
    batch_size: int = Field(64, ge=1, le=4096, description="clips per step; halved and accumulated if memory runs out")
    accumulate: int = Field(1, ge=1, le=1024, description="batches whose gradients are added before a step")
    precision: Precision = Field("float32", description="arithmetic: float32, bfloat16 or float16 (mixed)")
    patience: int = Field(0, ge=0, description="epochs without improvement after which training stops; 0 = never")
    batch_statistics: bool = Field(
        True, description="batch normalisation by each batch's mean and spread; false keeps those of the encoder"
    )
    max_batches: int = Field(0, ge=0, description="batches per epoch for a short trial; 0 = all")
    profile: bool = Field(False, description="write a profile of one step with torch's profiler")


class FinalSettings(Settings):
    """The final training: the head on baked features, then the whole network from there."""

    head: TrainingSettings = Field(default_factory=TrainingSettings, description="training of the head")
    finetune: NetworkTrainingSettings = Field(
        default_factory=NetworkTrainingSettings, description="training of the whole network, from that head"
    )
    retrain: bool = Field(
        False, description="train once more on all training folds, for the number of epochs found, and keep that"
    )


PHASES = ("head_search", "finetune_search", "final")


class TrainSettings(Settings):
    """What is trained, in up to three phases."""

    pairs: list[str] = Field([], description="task/variable pairs to train networks for; [] = all")
    phases: list[Literal["head_search", "finetune_search", "final"]] = Field(
        ["head_search", "finetune_search", "final"], min_length=1, description="phases of this experiment, in order"
    )
    validation_fold: int = Field(-1, ge=-1, description="fold that chooses the epoch in final; -1 = last training fold")
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: one search winner starts all rounds, though it saw their validation folds"
    )
    head_search: SearchSettings = Field(default_factory=SearchSettings, description="search for the best head")
    finetune_search: FinetuneSettings = Field(
        default_factory=FinetuneSettings, description="search for the best training of the whole network"
    )
    final: FinalSettings = Field(default_factory=FinalSettings, description="the training that is evaluated")

    @field_validator("phases")
    @classmethod
    def _ordered(cls, phases: list[str]) -> list[str]:
        if phases != [name for name in PHASES if name in phases]:
            raise ValueError(f"must be some of {', '.join(PHASES)}, each once and in this order")
        return phases


class EvaluationSettings(Settings):
    """How scores are reported."""

    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of sessions for the intervals")
    batch_size: int = Field(16, ge=1, le=4096, description="clips per forward pass")
    write_eaf: bool = Field(True, description="write the answers as new tiers into copies of the annotation files")
