"""Groups of settings for several people: lists and ratings, who is where, networks, their training and their scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from nbpkg.settings.base import Name, Rate, Settings, Subfolder, VideoSettings

Names = list[Name]
Share = Annotated[float, Field(ge=0, le=1)]


class CutSettings(Settings):
    """Where one class of ratings ends and the next begins."""

    at: float = Field(description="rating")
    belongs_to: Literal["lower", "upper"] = Field(description="which of the two a rating of exactly this belongs to")


class PeopleAnnotationSettings(Settings):
    """Which clips there are, whom they show, and what people said of them."""

    form: Literal["table", "lists", "folders"] = Field(
        "table",
        description="table (CSV with a row for each clip), lists (of the published programs) or folders (named after "
        "their class)",
    )
    folder: Subfolder = Field("videos", description="folder of the clips, relative to the data folder")
    kind: Literal["video", "frames"] = Field("video", description="clips are videos or folders of pictures")
    template: str = Field("img_{:05}.jpg", description="names of the pictures of a folder")
    classes: list[str] = Field(["low", "medium", "high"], min_length=2, description="classes in order of their numbers")
    table: str = Field("clips.csv", description="table: columns path, family, session, first frame, frames, label")
    columns: dict[Literal["path", "label", "family", "session", "split", "offset", "frames"], str] = Field(
        default_factory=dict, description="table: headings that differ from these names"
    )
    lists: dict[Literal["train", "val", "test"], str] = Field(
        default_factory=dict, description="lists: files by part, relative to the data folder"
    )
    offsets: bool = Field(False, description="lists: the second entry is the first frame")
    ratings: str = Field("", description="CSV of ratings (clip, annotator, rating); empty = classes are given")
    rating_columns: dict[Literal["clip", "rater", "rating"], str] = Field(
        default_factory=dict, description="headings of the ratings that differ from these names"
    )
    raters: list[str] = Field([], description="annotators whose mean counts; [] = all")
    cuts: list[CutSettings] = Field(
        default_factory=lambda: [CutSettings(at=2, belongs_to="lower"), CutSettings(at=4, belongs_to="upper")],
        description="where classes of ratings end",
    )
    names: str = Field(
        r"(?P<family>[^/]+)/(?:(?P<session>[^/]+)/)?", description="how family and session are read off a path"
    )

    @model_validator(mode="after")
    def _complete(self) -> PeopleAnnotationSettings:
        if self.form == "lists" and not self.lists:
            raise ValueError("form is lists, but lists names no file")
        if self.ratings and len(self.cuts) != len(self.classes) - 1:
            raise ValueError(
                f"{len(self.classes)} classes need {len(self.classes) - 1} cuts; there are {len(self.cuts)}"
            )
        return self


class PersonSettings(VideoSettings):
    """How recordings are prepared, and how the people in them are followed."""

    folder: Subfolder = Field("videos", description="folder of the recordings, as in parse.folder")
    fps: Rate = Field("25", description="rate of the prepared video, frames per second as a fraction")
    height: int = Field(360, ge=16, le=4320, description="height of the prepared video, pixels")
    boxes: str = Field("", description="folder of boxes of people in each frame, one CSV per recording; empty = none")
    poses: str = Field("", description="pickle of skeletons of each recording in the data folder; empty = none")
    roles: str = Field("", description="CSV in the data folder that says who is who; empty = by `order`")
    order: Literal["left", "size"] = Field(
        "size", description="who is who where nobody says: from left, or largest first"
    )
    who: list[Name] = Field(["parent", "child"], min_length=1, description="roles of the people, in order")
    least_overlap: Share = Field(0.2, description="overlap (IoU) from which boxes of two frames are one person")
    patience: int = Field(15, ge=0, description="frames that somebody may be away and keep the number")
    least_score: Share = Field(0.5, description="boxes below this confidence are left out")


class PeopleFoldSettings(Settings):
    """How families are dealt."""

    scheme: Literal["families", "official"] = Field(
        "families", description="families: dealt into folds, the last is the test; official: parts of the lists"
    )
    folds: int = Field(5, ge=3, le=50, description="number of folds; the last one is the test fold")


class PersonModality(Settings):
    """What is perceived of each person, in tokens."""

    kind: Literal["crops", "pose", "table"] = Field(
        description="crops (pooled features of the person's picture), pose (joints) or table (made elsewhere)"
    )
    rate: Rate = Field("8", description="tokens per second, as a fraction")
    network: str = Field("resnet50", description="crops: network of torchvision, or small")
    weights: str = Field("none", description="crops: none (random), imagenet, or a file in the data folder")
    size: int = Field(224, ge=16, le=512, description="crops: side, pixels")
    folder: str = Field(
        "", description="table: folder of CSV files, one per recording, columns time, role and features"
    )


class PersonFeatureSettings(Settings):
    """How people become tokens in windows."""

    modalities: dict[Name, PersonModality] = Field(min_length=1, description="modalities by name")


class PeopleNetworkSettings(Settings):
    """Which network, how large."""

    name: str = Field(
        "cpm_t",
        description="cpm_t (cross-person memory transformer), multipar_t, a network of clips (i3d, slowfast, "
        "r2plus1d_18, mc3_18, s3d, mvit_v2_s, swin3d_t, …) or of skeletons (ctrgcn, stgcn++, …)",
    )
    weights: str = Field("none", description="none (random), a torchvision weights name, or a file in the data folder")
    width: int = Field(128, ge=2, le=4096, description="cpm_t: width of a token")
    heads: int = Field(8, ge=1, le=64, description="cpm_t: attention heads")
    modal_layers: int = Field(2, ge=1, le=16, description="cpm_t: layers across modalities")
    memory_layers: int = Field(2, ge=1, le=16, description="cpm_t: layers with the memory")
    person_layers: int = Field(2, ge=1, le=16, description="cpm_t: layers across people")
    memory_tokens: int = Field(16, ge=1, le=256, description="cpm_t: tokens of each person's memory")
    dropout: float = Field(0.1, ge=0, lt=1, description="share dropped in training")
    frames: int = Field(32, ge=1, le=1024, description="networks of clips and skeletons: frames seen")
    interval: int = Field(2, ge=1, le=256, description="networks of clips: every how many frames")
    views: int = Field(10, ge=1, le=64, description="networks of clips and skeletons: clips averaged when asked")
    size: int = Field(224, ge=16, le=1024, description="networks of clips: side of the picture, pixels")
    average: Literal["prob", "score"] = Field("prob", description="views: mean of probabilities, or of scores")
    options: dict[str, Any] = Field(default_factory=dict, description="sizes of smaller networks, by their own names")


class VariantSettings(Settings):
    """Which copies of training clips are seen; what is held out is never varied."""

    variant: Literal["none", "general", "cutout", "deepfake", "mixed"] = Field(
        "none", description="none, general (background, noise, rotation), cutout (faces covered), deepfake (a plug-in)"
    )
    copies: int = Field(1, ge=0, le=100, description="varied copies of each training clip beside the original")
    swap: str = Field("", description="deepfake: plug-in as module:object with a method swap")


class PeopleLearning(Settings):
    """How a network is trained."""

    epochs: int = Field(50, ge=1, le=100_000, description="passes over the training clips")
    batch_size: int = Field(8, ge=1, le=4096, description="recordings (cpm_t) or clips per step")
    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="how the loss is lowered")
    learning_rate: float = Field(1.0e-4, gt=0, le=10, description="learning rate")
    weight_decay: float = Field(0.01, ge=0, le=10, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd: momentum")
    nesterov: bool = Field(False, description="sgd: Nesterov's momentum")
    groups: Literal["all", "tsm", "no_embedding_decay"] = Field(
        "all", description="rates and decay by parameter: all alike, as for TSM, or no decay of embeddings"
    )
    schedule: Literal["cosine", "step", "constant"] = Field("cosine", description="learning rate over time")
    steps: list[int] = Field([], description="step: epochs after which the rate is a tenth")
    warm_up: Share = Field(0.05, description="share of all steps in which the rate rises")
    clip_norm: float = Field(1.0, ge=0, description="largest gradient norm; 0 = no limit")
    chunk: int = Field(4, ge=1, le=1000, description="cpm_t: windows that gradients go back")
    loss: Literal["cross_entropy", "focal"] = Field("cross_entropy", description="what is lowered")
    gamma: float = Field(2.0, ge=0, le=100, description="focal: how much easy clips count less")
    class_weights: bool = Field(True, description="weigh classes inversely to their frequency")
    class_power: float | None = Field(
        None,
        ge=0,
        le=1,
        description="networks of clips: draw classes by frequency to this power; null = each clip once",
    )
    validate_every: int = Field(1, ge=1, description="epochs from one validation to the next")
    patience: int = Field(10, ge=0, description="validations without gain before a training ends; 0 = never")
    select: Literal["inner", "last"] = Field(
        "inner", description="what chooses the epoch: macro F1 of a further fold left out, or nothing (the last)"
    )

    @model_validator(mode="after")
    def _whole(self) -> PeopleLearning:
        if self.steps and self.schedule != "step":
            raise ValueError(f"steps are given, but schedule is {self.schedule}, which has none")
        if self.schedule == "step" and (not self.steps or max(self.steps) >= self.epochs):
            raise ValueError(
                f"schedule is step, but steps {self.steps} do not lie before epoch {self.epochs}, the last"
            )
        return self


class PeopleCrossvalSettings(Settings):
    """Trainings of which each leaves a fold of families out."""

    variants: list[str] = Field(
        ["full"],
        min_length=1,
        description="full, no_memory, no_cross_modal, no_cross_person, without_<modality>: what is compared",
    )
    repeats: int = Field(1, ge=1, le=100, description="trainings of each variant and fold, each with its own seed")
    folds: list[int] = Field([], description="folds left out in turn; [] = all training folds")


class PeopleFinalSettings(Settings):
    """The network that answers for the test families."""

    variant: str = Field("full", description="variant of the network")
    epochs: int | None = Field(None, ge=1, description="epochs; null = as `select` finds on the inner fold")


class PeopleTrainSettings(Settings):
    """Training of networks over several people."""

    phases: list[Literal["crossval", "final"]] = Field(
        ["crossval", "final"], min_length=1, description="phases of this experiment, in order"
    )
    network: PeopleNetworkSettings = Field(default_factory=PeopleNetworkSettings, description="network")
    learning: PeopleLearning = Field(default_factory=PeopleLearning, description="how it is trained")
    scale: Literal["none", "standard"] = Field(
        "standard", description="tokens of people: as baked, or mean 0 and spread 1 by the families learnt from"
    )
    augment: VariantSettings = Field(default_factory=VariantSettings, description="varied copies of training clips")
    crossval: PeopleCrossvalSettings = Field(
        default_factory=PeopleCrossvalSettings, description="trainings that each leave a fold out"
    )
    final: PeopleFinalSettings = Field(default_factory=PeopleFinalSettings, description="network for the test families")

    @field_validator("crossval")
    @classmethod
    def _once(cls, crossval: PeopleCrossvalSettings) -> PeopleCrossvalSettings:
        twice = sorted({name for name in crossval.variants if crossval.variants.count(name) > 1})
        if twice:
            raise ValueError(f"crossval.variants: {', '.join(twice)} stands twice")
        return crossval


class LateFusionSettings(Settings):
    """Weighted sum of several systems' scores."""

    weights: dict[str, float] = Field(default_factory=dict, description="weight of each system; {} = no fusion")
    softmax: bool = Field(False, description="turn scores into probabilities first")


class PeopleEvaluationSettings(Settings):
    """How answers are scored."""

    topk: list[int] = Field([1], min_length=1, description="top-k accuracies; k below the number of classes")
    fusion: LateFusionSettings = Field(default_factory=LateFusionSettings, description="late fusion of systems")
    legacy: bool = Field(True, description="write the published pickles of scores, too")
    step: int = Field(
        0, ge=0, description="networks of clips: frames from one window of the timeline to the next; 0 = none"
    )
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of families for the intervals")


class PeopleExplainSettings(Settings):
    """What is asked of the final network."""

    clips: int = Field(6, ge=1, le=10_000, description="clips of held-out families that are explained")
    layer: str = Field("", description="networks of clips: layer that maps are made of; empty = the network's last one")
    scale: Literal["clip", "view"] = Field(
        "clip", description="brightness of maps: one scale for a clip, or for a view"
    )
    fps: Rate = Field("5", description="rate of the films, frames per second as a fraction")
    resolution: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        None, description="largest width and height of the films, pixels; -1 = free; null = as seen by the network"
    )
    resize: Literal["nearest", "bilinear", "bicubic", "area", "lanczos"] = Field(
        "bilinear", description="how films are scaled"
    )
    format: Literal["mp4", "gif"] = Field("mp4", description="film format")
    alpha: Share = Field(0.5, description="share of the colours in films, and of the semantic map in region scores")
    lags: int = Field(4, ge=0, le=100, description="cpm_t: windows before the answer that are covered in turn")
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of families for the intervals")
