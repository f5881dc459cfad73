"""Groups of settings for face tracks: annotations of Ego4D, crops, windows, networks, scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from nbpkg.settings.base import Name, Rate, Settings, Subfolder, VideoSettings


class FaceTrackSettings(Settings):
    """Whose faces were followed in which clips, and when they look at the camera wearer."""

    form: Literal["ego4d", "prepared"] = Field(
        "ego4d", description="ego4d (av_train.json, av_val.json) or prepared (a file for each track and clip)"
    )
    annotations: list[str] = Field(
        ["json/av_train.json", "json/av_val.json"],
        description="ego4d: annotation files, relative to the data folder, in this order",
    )
    manifest: str = Field("", description="ego4d: table of full videos (CSV with video_uid and place); empty = none")
    tracks: Subfolder = Field("json_original", description="prepared: folder <clip>/<track>.json")
    segments: Subfolder = Field("result_LAM", description="prepared: folder <clip>.json of looking segments")
    lists: dict[Literal["train", "val", "test"], str] = Field(
        default_factory=dict, description="official lists, a clip in each line; {} = the split that the annotations say"
    )
    challenge: str = Field("", description="folder <clip>/<track>/<frame>_<id>.jpg of test crops; empty = none")
    second: str = Field("", description="folder <clip>.json of a second annotator's looking segments; empty = none")
    max_gap: int | None = Field(
        15, ge=0, description="frames without a box that are filled between two boxes; null = any number"
    )
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: boxes are shifted at the left and upper border instead of cut, as published"
    )


class FaceVideoSettings(VideoSettings):
    """How clips are prepared, faces cut, and what is found out about each face."""

    folder: Subfolder = Field("videos", description="folder of the clips, relative to the data folder")
    fps: Rate = Field("30", description="rate of the prepared video: that of the annotation, as a fraction")
    height: int = Field(720, ge=16, le=4320, description="height of the prepared video, pixels")
    encoding: Literal["raw", "jpeg"] = Field("jpeg", description="frame store: raw (fastest) or jpeg (a tenth)")
    audio: bool = Field(True, description="write the sound, 16 kHz, one channel")
    crops: Literal["cut", "given"] = Field(
        "cut", description="cut from the clips, or given: pictures <clip>/<track>/face_<frame>.jpg"
    )
    crop_folder: Subfolder = Field("face_imgs", description="given: folder of the crops, relative to the data folder")
    crop_size: int = Field(224, ge=16, le=1024, description="side of a crop, pixels")
    crop_quality: int = Field(95, ge=1, le=100, description="JPEG quality of the crops")
    enlarge: float = Field(0.0, ge=0, le=2, description="share by which boxes grow about their centre before the cut")
    frame_offset: Literal["aligned", "reference"] = Field(
        "aligned", description="reference: each crop is of the frame before, as in the published programs"
    )
    export_crops: bool = Field(False, description="write crops as pictures <clip>/<track>/face_<frame>.jpg, too")
    head_pose: Literal["none", "hopenet", "file"] = Field(
        "none", description="yaw, pitch, roll: by Hopenet with published weights, or from prior files"
    )
    head_weights: str = Field("", description="hopenet: file of weights in the data folder")
    landmarks: Literal["none", "mediapipe", "file"] = Field(
        "none", description="five points of the face: by MediaPipe where installed, or from prior files"
    )
    landmark_model: str = Field(
        "",
        description="mediapipe: its network pose_landmarker_heavy.task in the data folder; old versions have their own",
    )
    priors: Subfolder = Field("json_prior", description="file: folder of published prior files")
    quality: bool = Field(True, description="measure how sharp each crop is")


class FaceFoldSettings(Settings):
    """Which clips teach, which choose and which are reported on."""

    scheme: Literal["official", "videos"] = Field(
        "official", description="official: parts of the lists; videos: whole videos dealt into folds"
    )
    folds: int = Field(5, ge=3, le=50, description="videos: folds; the last is the test, the one before chooses")
    keep_shared: bool = Field(
        False, description="official: keep clips of a video that has clips in several parts (published, leaks)"
    )


class FaceFeatureSettings(Settings):
    """What is computed of crops once and for all."""

    encoder: Literal["none", "model", "imagenet", "random"] = Field(
        "none",
        description="frozen network of faces: none (trained with the rest), model (of inputs.model), imagenet, random",
    )
    network: Literal["resnet18", "small"] = Field("resnet18", description="imagenet, random: which network")
    size: int = Field(224, ge=16, le=1024, description="side of a crop as the network sees it, pixels")
    maps: bool = Field(True, description="keep maps of crops, too: gazepose asks them; 50 kB a face with resnet18")
    quality: Literal["measured", "file"] = Field(
        "measured", description="how sharp faces are: measured by 02, or from the published files in prepare.priors"
    )
    quality_fit: Literal["train", "split"] = Field(
        "train", description="what sharpness is held against: training clips, or each part by itself (published)"
    )


class FaceNetworkSettings(Settings):
    """Which network, how large."""

    name: Literal["gazepose", "gaze_lstm", "gaze_lstm_lam", "baseline_lstm"] = Field(
        "gazepose", description="gazepose, gaze_lstm (its baseline), gaze_lstm_lam or baseline_lstm (of the challenge)"
    )
    weights: str = Field(
        "none", description="none (random), imagenet, or a file in the data folder (Gaze360, LAM, GazePose)"
    )
    encoder: Literal["resnet18", "small"] = Field("resnet18", description="network of faces")
    size: int = Field(224, ge=16, le=1024, description="side of a crop as the network sees it, pixels")
    hidden: int = Field(256, ge=2, le=4096, description="width of the recurrent part, each direction")
    head: bool = Field(True, description="gazepose: queries from the head pose; false = learnt queries")
    landmarks: bool = Field(True, description="gazepose: queries from five points; false = learnt queries")
    split: float = Field(1.0, gt=0, le=90, description="gazepose: degrees of a head query")
    dsplit: float = Field(0.1, gt=0, le=4, description="gazepose: side of a landmark's cell, crop sides")
    csplit: float = Field(0.1, gt=0, le=1, description="gazepose: step of a landmark's confidence")
    width: int = Field(512, ge=8, le=4096, description="gazepose: width of a token")
    heads: int = Field(8, ge=1, le=64, description="gazepose: attention heads")
    feedforward: int = Field(2048, ge=8, le=16384, description="gazepose: width between the layers")
    encoder_layers: int = Field(6, ge=0, le=24, description="gazepose: layers over the face")
    decoder_layers: int = Field(6, ge=1, le=24, description="gazepose: layers over the queries")
    dropout: float = Field(0.1, ge=0, lt=1, description="gazepose: share dropped in training")
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: landmark tables stay random and share rows, as in published checkpoints"
    )


class WindowSettings(Settings):
    """Which faces a network sees together."""

    stride: int = Field(3, ge=1, le=10_000, description="frames of a track from one training window to the next")
    inner_stride: int = Field(13, ge=1, le=10_000, description="the same for clips that choose the epoch")
    fill: Literal["nearest", "reference"] = Field(
        "nearest", description="missing faces: the nearest one, or moved together around the middle (published)"
    )
    temporal_dropout: bool = Field(False, description="leave blurred faces out of windows at random (Gaussian dropout)")
    margin: float = Field(0.2, ge=0, le=1, description="temporal_dropout: share that is never left out")
    quality_filter: bool = Field(False, description="leave out training windows whose best face is unusable")


class FaceAugmentation(Settings):
    """How training windows are varied."""

    mirror: bool = Field(True, description="mirror half of the windows, with their priors")
    crop: float = Field(0.8, gt=0, le=1, description="least share of the area that a random cut keeps; 1 = no cut")
    per: Literal["window", "face"] = Field(
        "window", description="one cut for the window, or for each of its faces (published)"
    )
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: priors of mirrored windows are not mirrored, as published"
    )


class FaceLearning(Settings):
    """How a network is trained."""

    epochs: int = Field(
        10, ge=0, le=10_000, description="passes over the training windows; 0 = score the whole published network only"
    )
    batch_size: int = Field(64, ge=1, le=4096, description="windows per step")
    learning_rate: float = Field(1.0e-4, gt=0, le=10, description="learning rate of Adam")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="learning rate over epochs")
    period: int = Field(10, ge=1, description="cosine: epochs down to the least rate; beyond them it rises again")
    least_rate: float = Field(5.0e-6, ge=0, le=10, description="cosine: least rate")
    class_weights: Literal["counts", "fixed", "none"] = Field(
        "counts", description="weights of the loss: inverse to the counts, fixed, or alike"
    )
    weights: list[float] = Field([0.0730, 0.9269], min_length=2, max_length=2, description="fixed: not, looking")
    validate_within: int = Field(0, ge=0, description="steps between validations inside an epoch; 0 = only at its end")
    patience: int = Field(0, ge=0, description="validations without gain before a training ends; 0 = never")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic; bfloat16 is mixed precision")
    freeze: bool = Field(False, description="keep the network of faces as it begins; features baked by 04 are used")


class FaceSweepSettings(Settings):
    """Trainings that are compared on the clips that choose."""

    variants: dict[Name, dict[str, Any]] = Field(
        {"full": {}},
        min_length=1,
        description="name: dotted settings of train that it changes, e.g. {network.head: false}",
    )
    repeats: int = Field(1, ge=1, le=100, description="trainings of each variant, each with its own seed")


class FaceTrainSettings(Settings):
    """Training of networks over windows of a face track."""

    phases: list[Literal["sweep", "final"]] = Field(
        ["sweep", "final"], min_length=1, description="phases of this experiment, in order"
    )
    network: FaceNetworkSettings = Field(default_factory=FaceNetworkSettings, description="network")
    window: WindowSettings = Field(default_factory=WindowSettings, description="windows")
    augment: FaceAugmentation = Field(default_factory=FaceAugmentation, description="varied training windows")
    learning: FaceLearning = Field(default_factory=FaceLearning, description="how it is trained")
    sweep: FaceSweepSettings = Field(default_factory=FaceSweepSettings, description="variants side by side")
    variant: str = Field("", description="final: variant of the sweep; empty = these settings as they stand")

    @model_validator(mode="after")
    def _known(self) -> FaceTrainSettings:
        if self.variant and self.variant not in self.sweep.variants:
            raise ValueError(f"variant {self.variant!r} is none of {', '.join(self.sweep.variants)}")
        return self


class FaceEvaluationSettings(Settings):
    """How answers are scored."""

    stride: int = Field(1, ge=1, le=10_000, description="frames of a track from one answer to the next")
    threshold: float = Field(0.5, ge=0, le=1, description="score from which a face is said to look")
    ties: Literal["stable", "grouped"] = Field("stable", description="precision of equal scores: by row, or together")
    average: bool = Field(False, description="average the answers of all systems, too")
    films: int = Field(
        0, ge=0, le=100_000, description="test clips of which films with answers are made, from the first"
    )
    arrow: str = Field(
        "", description="films: file of a Gaze360 network in the data folder that draws arrows; empty = none"
    )
    submission: bool = Field(False, description="write the challenge's file for the test crops")
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of videos for the intervals")
