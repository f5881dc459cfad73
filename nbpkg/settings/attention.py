"""Groups of settings for painting human attention and comparing networks with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from nbpkg.settings.base import Name, Settings, Subfolder

Method = Literal[
    "gradient",
    "gradient_input",
    "guided_backprop",
    "gradcam",
    "guided_gradcam",
    "gradcam_plus_plus",
    "hirescam",
    "layercam",
    "occlusion",
    "integrated_gradients",
    "smoothgrad",
    "rollout",
    "heatmap",
]
Block = Annotated[list[int], Field(min_length=3, max_length=3)]


class PaintSettings(Settings):
    """Which snippets are painted, by whom, and what painters are asked."""

    folder: Subfolder = Field("painted", description="folder of the strokes, relative to the data folder")
    pairs: list[str] = Field([], description="task/variable pairs to choose snippets for; [] = all")
    clip_seconds: float = Field(5.0, gt=0, le=600, description="length of a snippet, seconds; as in stratify")
    per_label: int = Field(1, ge=1, le=1000, description="snippets for each task, variable and label")
    frames: int = Field(16, ge=1, le=256, description="frames of a snippet that are painted; as in bake")
    painters: list[Name] = Field([], description="people who paint; [] = the raters")
    painters_per_snippet: int = Field(
        3, ge=1, le=100, description="painters of each snippet; with one, as published, there is no human ceiling"
    )
    painter_may_have_rated: bool = Field(
        False, description="whether somebody who rated a session may paint snippets of it"
    )
    questions: dict[str, list[str]] = Field(
        default_factory=dict, description="what painters answer before they submit: question, then its answers"
    )
    longest: int = Field(960, ge=64, le=4096, description="longest side of the pictures shown, pixels")
    radius: float = Field(0.06, ge=0.004, le=0.5, description="brush at first, share of the picture's short side")
    strength: float = Field(0.3, ge=0.02, le=1, description="paint laid on by one touch at first, 0 to 1")
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: the published rejection sampling of snippets, which may find too few"
    )

    @field_validator("questions")
    @classmethod
    def _answerable(cls, questions: dict[str, list[str]]) -> dict[str, list[str]]:
        short = [name for name, answers in questions.items() if len(set(answers)) < 2 or len(answers) > 9]
        if short:
            raise ValueError(f"{', '.join(short)}: needs two to nine different answers")
        return questions


class OcclusionSettings(Settings):
    """Blocks of space and time that are covered one after the other."""

    radius: Block = Field([1, 16, 16], description="half of a block: frames, rows, columns, beside its centre")
    stride: Block = Field([1, 16, 16], description="from one block's centre to the next: frames, rows, columns")
    centred: bool = Field(True, description="first block half a stride inside, not at the corner as published")
    fill: float = Field(0.0, description="what covers, after normalisation; 0 = the mean colour")


class ExplainSettings(Settings):
    """How networks are asked where they look."""

    methods: list[Method] = Field(
        ["gradient", "guided_backprop", "gradcam", "guided_gradcam", "occlusion"],
        min_length=1,
        description="explanation methods; by default the five published ones",
    )
    layer: str = Field("", description="layer of the Grad-CAM family, a dotted path; empty = the last with places")
    gradcam_weights: Literal["frame", "channel"] = Field(
        "frame", description="weights of Grad-CAM: per channel and frame, as published, or per channel"
    )
    occlusion: OcclusionSettings = Field(default_factory=OcclusionSettings, description="blocks of occlusion")
    steps: int = Field(32, ge=2, le=1000, description="steps of integrated gradients")
    samples: int = Field(16, ge=1, le=1000, description="noisy copies of SmoothGrad")
    noise: float = Field(0.15, gt=0, le=10, description="noise of SmoothGrad, share of the clip's range")
    batch_size: int = Field(16, ge=1, le=4096, description="clips per pass through the network")


class FaithfulnessSettings(Settings):
    """Whether maps say what moves the network."""

    snippets: int = Field(0, ge=0, le=100_000, description="snippets tested, evenly over the list; 0 = all")
    randomised: int = Field(1, ge=0, le=10_000, description="snippets of each pair for which weights are drawn anew")
    steps: int = Field(10, ge=2, le=1000, description="steps of the deletion and insertion curves")
    fill: Literal["mean", "blur"] = Field("mean", description="what stands in for removed places: mean colour or blur")


class CompareSettings(Settings):
    """How maps of networks are made and held against maps of people."""

    explain: ExplainSettings = Field(default_factory=ExplainSettings, description="explanations")
    size: int = Field(32, ge=4, le=512, description="side of the maps that are compared, cells")
    transport_size: int = Field(
        32, ge=2, le=64, description="side at which the earth mover's distance is solved, cells"
    )
    top_share: float = Field(0.1, gt=0, lt=1, description="share of the cells that count as looked at")
    tolerance: float = Field(2.0, ge=0, le=64, description="distance at which the pointing game still counts, cells")
    centre: float = Field(0.2, gt=0, le=2, description="spread of the centre control, share of the side")
    floor: float = Field(0.01, gt=0, lt=1, description="share of uniform mass put under maps before divergences")
    faithfulness: FaithfulnessSettings = Field(
        default_factory=FaithfulnessSettings, description="deletion, insertion and randomisation"
    )
    films: int = Field(0, ge=0, le=100_000, description="snippets of which films are made, from the first; 0 = all")
    resamples: int = Field(2000, ge=100, le=1_000_000, description="bootstrap resamples of sessions for the intervals")
    compat: Literal["none", "reference"] = Field(
        "none", description="reference: strokes are painted with the published brush"
    )
