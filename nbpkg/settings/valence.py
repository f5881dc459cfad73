"""Groups of settings for valence second by second: files, features, folds, networks, training and scores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from nbpkg.settings.base import Name, Settings, Subfolder

SequenceNetwork = Literal["combined_lstm", "text_lstm", "visual_lstm", "cross_modal"]
Rate = Annotated[float, Field(ge=0, lt=1)]
Names = list[Name]


class ValenceAnnotationSettings(Settings):
    """Who said how pleasant it was, and in which files."""

    parts: dict[str, Subfolder] = Field(
        {"Training": "Training", "Validation": "Validation", "Testing": "Testing"},
        min_length=1,
        description="parts of the official list and their folders, relative to the data folder",
    )
    annotations: Subfolder = Field("Annotations", description="folder of the annotation files in each part")
    third_party: str = Field("", description="folder, in each part, of another person's annotations; empty = none")
    hidden: list[str] = Field([], description="parts whose annotations are dummies of the right length")
    fps: int = Field(25, ge=1, le=240, description="annotated frames per second")
    step_seconds: float = Field(1.0, gt=0, le=60, description="step of the features and networks, seconds")
    actors: str = Field("", description="CSV in the data folder with columns story, actor; empty = unknown")
    frame_counts: str = Field("", description="list of frame counts in the data folder to check against; empty = none")

    @property
    def ratio(self) -> int:
        """Frames of a step."""
        return round(self.fps * self.step_seconds)

    @model_validator(mode="after")
    def _whole(self) -> ValenceAnnotationSettings:
        frames = self.fps * self.step_seconds
        if frames < 1 or abs(frames - round(frames)) > 1e-9:
            raise ValueError(f"fps times step_seconds is {frames:g}; a step must be a whole number of frames")
        return self


class ModalitySettings(Settings):
    """One modality: where its files are and how they become one row of features per second."""

    kind: Literal["table", "sound", "words", "face"] = Field(
        description="table (features made elsewhere, .csv or .npy), sound (openSMILE), words (transcripts) or face"
    )
    folder: Subfolder = Field(description="folder of the files in each part")
    time_columns: bool = Field(False, description="keep frameIndex and frameTime, which tell the time, as published")
    vectors: str = Field(
        "", description="words: file of word vectors in the data folder; empty = hashed words and pairs of words"
    )
    width: int = Field(512, ge=8, le=65536, description="words: columns of the hashed words")
    stop_words: bool = Field(False, description="words: leave out and, the, of and the like")
    silence: Literal["missing", "hold", "next"] = Field(
        "missing", description="words: seconds without words are missing, hold the last, or have the next (published)"
    )
    side: Literal["listener", "actor"] = Field("listener", description="face: whose")
    boxes: str = Field("", description="face: folder, in each part, of face boxes; empty = region or detector")
    region: Annotated[list[int], Field(min_length=4, max_length=4)] | None = Field(
        None, description="face: x0, y0, x1, y1 of the picture where there are no boxes, pixels"
    )
    detector: str = Field("", description="face: YuNet model (.onnx) in the data folder; empty = none")
    network: str = Field("resnet18", description="face: network of torchvision, or vgg_face")
    weights: str = Field("none", description="face: none (random), imagenet, or a file in the data folder")
    size: int = Field(224, ge=16, le=512, description="face: side of the crops, pixels")
    every: int = Field(1, ge=1, le=250, description="face: every how many frames")
    missed: Literal["missing", "interpolate"] = Field(
        "missing", description="face: seconds without a face are missing, or between their neighbours"
    )


class FeatureSettings(Settings):
    """What is perceived, and how it becomes features."""

    modalities: dict[Name, ModalitySettings] = Field(min_length=1, description="modalities by name; order matters")


class SequenceFoldSettings(Settings):
    """Which sessions are left out together, and which are kept for the end."""

    scheme: Literal["story", "subject", "actor"] = Field(
        "story", description="what is left out together; story as published, actor is the strictest"
    )
    test_parts: list[str] = Field(["Testing"], description="parts kept for the end")
    test_stories: list[str] = Field([], description="stories kept for the end, beside these parts")
    stories: list[str] = Field([], description="stories used at all; [] = all")
    subjects: list[str] = Field([], description="subjects used at all; [] = all")


class SequenceSettings(Settings):
    """How modalities are laid on the seconds of the annotation."""

    length: Literal["annotation", "shortest"] = Field(
        "annotation", description="seconds of a session: the annotation's, or those that every modality has"
    )
    short: Literal["mask", "hold"] = Field("mask", description="seconds behind a modality's end: masked, or its last")
    incomplete: Literal["mask", "drop"] = Field(
        "mask", description="sessions that lack a modality: it is masked, or they are left out"
    )


class SequenceNetworkSettings(Settings):
    """Network over a sequence of several modalities."""

    name: SequenceNetwork = Field("combined_lstm", description="combined_lstm and the two single ones are published")
    embed: int = Field(128, ge=1, le=4096, description="width of each modality's embedding")
    hidden: int | None = Field(None, ge=1, le=8192, description="width of the recurrence; null = the network's own")
    layers: int | None = Field(None, ge=1, le=16, description="layers; null = the network's own")
    attention_steps: int = Field(3, ge=1, le=100, description="combined_lstm: seconds that local attention looks back")
    heads: int = Field(4, ge=1, le=64, description="cross_modal: attention heads")
    window: int = Field(10, ge=1, le=1000, description="cross_modal: seconds seen to either side")
    dropout: dict[Name, Rate] = Field(
        default_factory=dict, description="share of features dropped, by modality; left out = as published"
    )
    modality_dropout: Rate = Field(0.2, description="cross_modal: how often a whole modality is dropped in training")
    weights: str = Field(
        "", description="published checkpoint in the data folder that training begins with; empty = none"
    )


class CrossvalSettings(Settings):
    """One training for each fold left out."""

    epochs: int = Field(1000, ge=1, le=1_000_000, description="passes over the training sessions")
    select: Literal["inner", "epoch", "held_out"] = Field(
        "inner",
        description="what chooses the epoch kept: a further fold left out of training; a number; or the very fold that "
        "is scored (published, too good)",
    )
    epoch: int | None = Field(None, ge=1, description="epoch kept where select is epoch; null = the last")


class RescoreSettings(Settings):
    """All folds again at other epochs."""

    epoch: int | None = Field(None, ge=1, description="one epoch for all folds; null = search")
    first: int = Field(100, ge=1, description="first epoch searched")
    last: int = Field(1000, ge=1, description="last epoch searched")
    step: int = Field(100, ge=1, description="from one epoch searched to the next")
    choose: Literal["others", "all"] = Field(
        "others", description="each fold's epoch by the mean of the other folds, or one by that of all (published)"
    )


class FinalSettings(Settings):
    """The network that answers for the test sessions."""

    epochs: int | None = Field(None, ge=1, description="epochs; null = as the phases before found")
    subjects: list[str] = Field([], description="subjects trained on, or repeated; [] = all alike")
    augment: int = Field(0, ge=0, le=100, description="further copies of these subjects' sessions beside everybody's")
    leave_out: list[str] = Field([], description="stories not trained on, which are answered as left out")


class PersonalSettings(Settings):
    """One network for each subject, from one for all."""

    epochs: int = Field(250, ge=1, le=1_000_000, description="passes over the subject's sessions")
    initial: str = Field(
        "crossval",
        description="network it begins with: final, crossval (never saw the fold), or a file in the data folder",
    )
    augment: int = Field(0, ge=0, le=100, description="0: the subject's sessions alone; else everybody's and n copies")


class ValenceTrainSettings(Settings):
    """Training of networks over sequences."""

    phases: list[Literal["crossval", "rescore", "final", "personal"]] = Field(
        ["crossval", "rescore", "final", "personal"], min_length=1, description="phases of this experiment, in order"
    )
    modalities: Names = Field([], description="modalities used, in order; [] = all")
    network: SequenceNetworkSettings = Field(default_factory=SequenceNetworkSettings, description="network")
    scale: Literal["none", "range", "standard"] = Field(
        "standard", description="scale of features, by training sessions: none, -1 to 1 (published), or mean and spread"
    )
    reduce: dict[Name, int] = Field(
        default_factory=dict, description="directions kept of a modality, by singular values of training sessions"
    )
    batch_size: int = Field(25, ge=1, le=65536, description="segments per step")
    split: int = Field(5, ge=1, le=1000, description="segments of a session")
    learning_rate: float = Field(1.0e-5, gt=0, le=10, description="learning rate of Adam")
    weight_decay: float = Field(5.0e-4, ge=0, le=10, description="weight decay, in the gradient")
    eval_every: int = Field(1, ge=1, description="epochs from one evaluation to the next")
    save_every: int = Field(100, ge=1, description="epochs from one checkpoint to the next")
    crossval: CrossvalSettings = Field(default_factory=CrossvalSettings, description="one training per fold left out")
    rescore: RescoreSettings = Field(default_factory=RescoreSettings, description="folds again at other epochs")
    final: FinalSettings = Field(default_factory=FinalSettings, description="network for the test sessions")
    personal: PersonalSettings = Field(default_factory=PersonalSettings, description="networks of single subjects")

    @field_validator("modalities")
    @classmethod
    def _once(cls, names: list[str]) -> list[str]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands twice")
        return names


class FusionSettings(Settings):
    """Fusion of several systems' decisions by support-vector regression."""

    source: Literal["answers", "out_of_fold", "in_fold"] = Field(
        "answers",
        description="what is fused: answers of networks that left the session out; what these held before their last "
        "layers; or what one network holds that learnt from them (published, too good in training)",
    )
    saved: str = Field("", description="regression saved before (.safetensors) in the data folder; empty = fit one")
    c: list[float] = Field(
        [0.001, 0.01, 0.03, 0.1, 0.3, 1.0], min_length=1, description="values of C tried inside the folds"
    )
    gamma: float | None = Field(None, gt=0, description="width of the kernel; null = 1 / number of features")
    epsilon: float = Field(0.1, ge=0, description="errors up to here cost nothing")
    tolerance: float = Field(0.01, gt=0, description="when the solver stops")
    normalise: bool = Field(True, description="scale features by the training sessions")


class ValenceEvaluationSettings(Settings):
    """How answers are scored."""

    pad: Literal["hold", "replay"] = Field(
        "hold", description="frames behind the last answer: hold it, or replay the last frames (published)"
    )
    edge: Literal["zero", "nan"] = Field(
        "zero", description="concordance with a constant: zero, or undefined (published)"
    )
    fusion: FusionSettings = Field(default_factory=FusionSettings, description="fusion of decisions")
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of subjects for the intervals")


class ImportanceSettings(Settings):
    """How networks are asked which second of which modality moved them."""

    window: int = Field(2, ge=1, le=600, description="seconds that are covered at once")
    stride: int = Field(1, ge=1, le=600, description="from one covered stretch to the next, seconds")
    fill: Literal["missing", "mean"] = Field("mean", description="what covers: nothing there, or the mean")
    steps: int = Field(16, ge=2, le=1000, description="steps of integrated gradients")
    lags: int = Field(8, ge=1, le=120, description="seconds before the answer that are tried")
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of sessions for the intervals")
