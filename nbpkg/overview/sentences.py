"""Sentences of the methods paragraph, by kind of study; each is said only when every number in it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sentence:
    """One sentence, or a few that belong together.

    Parameters
    ----------
    text
        With names of `nbpkg.overview.facts.list_facts` in braces.
    when
        Facts that must have this value, or one of these.
    """

    text: str
    when: Mapping[str, Any] = field(default_factory=dict)


def _kept(groups: str) -> Sentence:
    return Sentence(
        f"{{folds:train sessions}} sessions of {{folds:train groups}} {groups} were learnt from; "
        f"{{folds:test sessions}} sessions of {{folds:test groups}} {groups} were kept for the test."
    )


_LEARNING = (
    "It was trained for {train.learning.epochs} epochs with {train.learning.optimiser} (learning rate "
    "{train.learning.learning_rate}, weight decay {train.learning.weight_decay}, {train.learning.batch_size} per step)"
)

SENTENCES: dict[str, tuple[Sentence, ...]] = {
    "clips": (
        Sentence(
            "{parse:files} annotation files of {parse:sessions} sessions were read; raters agreed with a mean Cohen's "
            "kappa of {parse:kappa (mean of pairs)}."
        ),
        Sentence(
            "Videos were brought to {prepare.fps} frames per second, and tasks cut into clips of "
            "{stratify.clip_seconds} s, one every {stratify.stride_seconds} s ({stratify:samples} labels)."
        ),
        Sentence(
            "Sessions were dealt into {stratify.folds} folds so that no participant is in two and labels are spread "
            "evenly; the last fold is the test fold."
        ),
        _kept("participants"),
        Sentence(
            "The network, {bake.encoder} (initial weights: {bake.weights}), saw {bake.frames} frames of {bake.size} × "
            "{bake.size} pixels of each clip; a linear head was trained on its features for {train.final.head.epochs} "
            "epochs, then the whole network for {train.final.finetune.epochs}."
        ),
        Sentence(
            "Training of the whole network used {train.final.finetune.optimiser} with learning rate "
            "{train.final.finetune.learning_rate}, L2 penalty {train.final.finetune.weight_decay} and "
            "{train.final.finetune.batch_size} clips per step."
        ),
        Sentence(
            "What the settings left open was found by a search over {train.head_search.settings} settings of the head, "
            "each scored on training folds left out in turn."
        ),
        Sentence(
            "The epoch kept is the one with the best F1 score on a validation fold out of the training folds, averaged "
            "with the {train.final.finetune.window} epochs before it."
        ),
    ),
    "heatmap": (
        Sentence(
            "{parse:rows} annotations of {parse:pictures} pictures were read; a share of {parse:inside} of the targets "
            "lies inside the frame."
        ),
        Sentence("Training and test are those of the official lists.", {"stratify.scheme": "official"}),
        Sentence(
            "Participants or shows were dealt whole into {stratify.folds} folds; the last one is the test fold.",
            {"stratify.scheme": "participants"},
        ),
        Sentence(
            "{stratify:rows to learn from} annotations were learnt from and {stratify:rows to test on} kept for the "
            "test."
        ),
        Sentence(
            "The network is {bake.network} (initial weights: {bake.weights}), trained as a whole.",
            {"bake.frozen": False},
        ),
        Sentence("The network is {bake.network} (weights: {bake.weights}), its trunk frozen.", {"bake.frozen": True}),
        Sentence(
            "It learnt from {train.footage} for {train.final.epochs} epochs with learning rate "
            "{train.final.learning_rate} and {train.final.batch_size} per step."
        ),
        Sentence(
            "What the settings left open was found by a grid on training folds, {train.sweep.repetitions} trainings of "
            "each cell and fold."
        ),
        Sentence("Epoch {train/final:epoch} was kept, the best on a validation fold out of the training folds."),
        Sentence("Scores are defined as in the VTD paper.", {"evaluate.protocol": "vtd"}),
        Sentence("Scores are defined as in the Gaze-LLE paper.", {"evaluate.protocol": "gazelle"}),
    ),
    "sequence": (
        Sentence("{parse:sessions} annotated sessions ({parse:hours} h) were read."),
        Sentence(
            "Somebody else who saw the listener agrees with them with a concordance of {parse:other rater's CCC}."
        ),
        Sentence("The modalities {train.modalities} were brought to one row of features every {parse.step_seconds} s."),
        Sentence("Cross-validation left out whole stories.", {"stratify.scheme": "story"}),
        Sentence(
            "{stratify:sessions to learn from} sessions were learnt from in {stratify:folds} folds; "
            "{stratify:sessions kept} were kept for the end."
        ),
        Sentence(
            "The network, {train.network.name} (embedding {train.network.embed}, hidden {train.network.hidden}), was "
            "trained with learning rate {train.learning_rate}, weight decay {train.weight_decay} and "
            "{train.batch_size} sessions per step."
        ),
        Sentence(
            "In cross-validation, of up to {train.crossval.epochs} epochs the one kept was chosen on a further fold "
            "left out of training.",
            {"train.crossval.select": "inner"},
        ),
        Sentence(
            "In cross-validation the epoch was fixed beforehand.",
            {"train.crossval.select": "epoch"},
        ),
        Sentence(
            "In cross-validation the epoch kept is the best on the very fold that is scored, which flatters.",
            {"train.crossval.select": "held_out"},
        ),
        Sentence("The final network was trained for {train.final.epochs} epochs."),
    ),
    "people": (
        Sentence(
            "{parse:clips} clips in {parse:recordings} recordings of {parse:families} families were read; a share of "
            "{parse:commonest class} is of the commonest class."
        ),
        Sentence("Annotators agreed with an intraclass correlation of {parse:ICC}."),
        Sentence(
            "Families were dealt whole into {stratify.folds} folds with classes spread as evenly as families allow; "
            "the last fold is the test fold.",
            {"stratify.scheme": "families"},
        ),
        Sentence("Training and test are those of the official lists.", {"stratify.scheme": "official"}),
        _kept("families"),
        Sentence("The network is {train.network.name}."),
        Sentence("It has {train/final:parameters} parameters."),
        Sentence(
            f"{_LEARNING}; the epoch kept has the best macro F1 on a further fold left out of training.",
            {"train.learning.select": "inner"},
        ),
        Sentence(f"{_LEARNING}; the last epoch was kept.", {"train.learning.select": "last"}),
    ),
    "tracks": (
        Sentence(
            "{parse:tracks} face tracks in {parse:clips} clips of {parse:videos} videos were read, with {parse:faces} "
            "faces, {parse:filled} of them filled in between two boxes; a share of {parse:looking} of the labelled "
            "faces looks at the camera wearer."
        ),
        Sentence("Training and test follow the official lists.", {"stratify.scheme": "official"}),
        Sentence(
            "Whole videos were dealt into {stratify.folds} folds; the last fold is the test fold.",
            {"stratify.scheme": "videos"},
        ),
        _kept("videos"),
        Sentence(
            "The network, {train.network.name}, sees a face with the three frames before and after it, "
            "{train.network.size} × {train.network.size} pixels each."
        ),
        Sentence(
            "It asks about the head pose of the middle face (source: {prepare.head_pose}).",
            {"train.network.name": "gazepose", "train.network.head": True},
        ),
        Sentence(
            "It asks about five points of the middle face (source: {prepare.landmarks}).",
            {"train.network.name": "gazepose", "train.network.landmarks": True},
        ),
        Sentence("It began with {train/final:begins}."),
        Sentence("It has {train/final:parameters} weights that learn."),
        Sentence(
            "It was trained for up to {train.learning.epochs} epochs with Adam (learning rate "
            "{train.learning.learning_rate}, {train.learning.batch_size} windows per step) on {train/final:windows} "
            "windows, one every {train.window.stride} faces of a track; the weights kept have the best mean average "
            "precision on clips that neither taught nor are of the test."
        ),
        Sentence("Blurred faces were left out of windows at random.", {"train.window.temporal_dropout": True}),
        Sentence("Windows without a usable face taught nothing.", {"train.window.quality_filter": True}),
        Sentence("Of these settings the variant {train.variant} changes some."),
        Sentence("Test faces were answered for at a stride of {evaluate.stride}."),
    ),
}
