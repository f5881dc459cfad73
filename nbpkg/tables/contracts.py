"""What each table that passes between stages holds: columns, types, units, keys, allowed values."""

from __future__ import annotations

from dataclasses import dataclass

TEXT, INTEGER, NUMBER, FLAG = "text", "integer", "number", "flag"


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name, meaning
        The column's name and what it holds, with unit.
    kind
        ``text``, ``integer``, ``number`` (may be NaN: undefined) or ``flag`` (true or false).
    allowed
        The only values there may be; empty for no limit.
    least
        The smallest value there may be.
    """

    name: str
    kind: str
    meaning: str
    allowed: tuple[str, ...] = ()
    least: float | None = None


@dataclass(frozen=True)
class Contract:
    """One table: its columns, its key (unique in the table) and what it is for.

    Parameters
    ----------
    name, purpose
        File name without ending, and one sentence.
    columns
        All columns, in order. With `open_ended` further ones may follow.
    key
        Columns whose values together occur once; empty when rows may repeat.
    before
        Pairs of columns of which the first must be smaller in every row.
    """

    name: str
    purpose: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    open_ended: bool = False


_SESSION = Column("session", TEXT, "recording session")
_RATER = Column("rater", TEXT, "person who annotated")
_TASK = Column("task", TEXT, "part of the session, e.g. a game")
_VARIABLE = Column("variable", TEXT, "what was rated")
_START = Column("start_ms", INTEGER, "start, milliseconds from the start of the video, inclusive", least=0)
_END = Column("end_ms", INTEGER, "end, milliseconds, exclusive")
_SAMPLE = Column("sample_id", TEXT, "name of the sample")
_LABEL = Column("label", INTEGER, "class index of the label", least=0)
_SETTING = (
    Column("setting", INTEGER, "number of the setting, from 0", least=0),
    Column("learning_rate", NUMBER, "learning rate of the first epoch"),
    Column("lr_decay", NUMBER, "loss of learning rate per epoch"),
    Column("weight_decay", NUMBER, "L2 penalty"),
    Column("class_weights", FLAG, "whether classes are weighed inversely to their frequency"),
    Column("optimiser", TEXT, "how the loss is lowered", allowed=("adam", "lbfgs")),
)
_FOLD = Column("fold", INTEGER, "number of the fold, from 0", least=0)
_SPAN = (("start_ms", "end_ms"),)
_ROLES = ("train", "validation", "test")


def _measures(split: str) -> tuple[Column, ...]:
    """Columns of one split; 1e-6 in the denominators as published, so that no score of an epoch is undefined."""
    names = {"loss": "cross entropy", "accuracy": "accuracy", "f1": "F1", "balanced_accuracy": "balanced accuracy"}
    return tuple(Column(f"{split}_{name}", NUMBER, f"{text}, {split} clips") for name, text in names.items())


CONTRACTS: dict[str, Contract] = {
    contract.name: contract
    for contract in (
        Contract(
            "annotations",
            "What the annotation files say, after spelling fixes, row for row.",
            (
                _SESSION,
                _RATER,
                Column("tier", TEXT, "tier of the annotation file"),
                Column("value", TEXT, "the rater's label"),
                _START,
                _END,
                Column("file", TEXT, "annotation file"),
                Column("row", INTEGER, "number of the annotation in its tier, from 1", least=1),
            ),
            before=_SPAN,
        ),
        Contract(
            "tasks",
            "When each task takes place according to each rater.",
            (_SESSION, _RATER, _TASK, _START, _END),
            key=("session", "rater", "task"),
            before=_SPAN,
        ),
        Contract(
            "spans",
            "Each task cut into labelled spans without gap or overlap, for each rater and variable.",
            (_SESSION, _RATER, _TASK, _VARIABLE, Column("value", TEXT, "label over the whole span"), _START, _END),
            key=("session", "rater", "task", "variable", "start_ms"),
            before=_SPAN,
        ),
        Contract(
            "problems",
            "Everything noticed while reading the input files.",
            (
                Column("severity", TEXT, "what became of it", allowed=("error", "repaired", "warning")),
                Column("file", TEXT, "file; empty when about no single file"),
                Column("tier", TEXT, "tier or column"),
                Column("row", INTEGER, "number of the annotation or line, from 1; 0 when unknown", least=0),
                Column("start_ms", INTEGER, "time of the annotation, milliseconds; -1 when unknown", least=-1),
                Column("what", TEXT, "what is wrong"),
                Column("expected", TEXT, "what would have been right"),
                Column("remedy", TEXT, "what to do"),
            ),
        ),
        Contract(
            "dropped",
            "What was left out, and why.",
            (
                Column("stage", TEXT, "stage that left it out"),
                Column("key", TEXT, "what was left out"),
                Column("rows", INTEGER, "how many rows that were", least=0),
                Column("reason", TEXT, "why"),
            ),
        ),
        Contract(
            "agreement",
            "Agreement between raters.",
            (
                Column("labels", TEXT, "categories compared: all, or binary"),
                Column("task", TEXT, "task, or 'all'"),
                Column("variable", TEXT, "variable, or 'all'"),
                Column("rater_1", TEXT, "first rater; 'all' for a statistic over all raters"),
                Column("rater_2", TEXT, "second rater; 'all' for a statistic over all raters"),
                Column("statistic", TEXT, "name of the statistic"),
                Column("value", NUMBER, "the statistic; NaN when undefined"),
                Column("low", NUMBER, "lower bound of the 95 % interval, bootstrap over sessions"),
                Column("high", NUMBER, "upper bound of the 95 % interval"),
                Column("n", INTEGER, "time points or events compared", least=0),
                Column("n_sessions", INTEGER, "sessions compared", least=0),
                Column("reason", TEXT, "why the value is undefined; else empty"),
            ),
            key=("labels", "task", "variable", "rater_1", "rater_2", "statistic"),
        ),
        Contract(
            "media",
            "Every prepared video and what became of its source.",
            (
                _SESSION,
                Column("store", TEXT, "folder of the frame store, relative to the run folder"),
                Column("video", TEXT, "prepared MP4 for people to watch, relative to the run folder"),
                Column("source", TEXT, "source file, relative to the data folder"),
                Column("frames", INTEGER, "prepared frames", least=1),
                Column("fps_num", INTEGER, "prepared rate, numerator, frames", least=1),
                Column("fps_den", INTEGER, "prepared rate, denominator, seconds", least=1),
                Column("width", INTEGER, "prepared width, pixels", least=1),
                Column("height", INTEGER, "prepared height, pixels", least=1),
                Column("duration_ms", INTEGER, "length of the source's picture, milliseconds", least=1),
                Column("source_frames", INTEGER, "frames decoded from the source", least=1),
                Column("source_fps", NUMBER, "mean rate of the source, frames per second"),
                Column("source_width", INTEGER, "width of the source as shown, pixels", least=1),
                Column("source_height", INTEGER, "height of the source as shown, pixels", least=1),
                Column("source_codec", TEXT, "codec of the source"),
                Column("source_rotation", INTEGER, "rotation flag of the source, degrees"),
                Column("source_variable_rate", FLAG, "whether the source's frame intervals differ"),
                Column("bytes", INTEGER, "size of the frame store", least=1),
                Column("source_bytes", INTEGER, "size of the source", least=1),
                Column("sha256", TEXT, "hash of the frame store's frames"),
                Column("source_sha256", TEXT, "hash of the source file"),
            ),
            key=("session",),
        ),
        Contract(
            "samples",
            "What a network learns from: one row per clip, rater, task and variable.",
            (
                _SAMPLE,
                _SESSION,
                Column("group", TEXT, "participant; never in two folds"),
                _RATER,
                _TASK,
                _VARIABLE,
                Column("clip_id", TEXT, "name of the clip, shared by its samples"),
                _START,
                _END,
                _LABEL,
            ),
            key=("sample_id",),
            before=_SPAN,
        ),
        Contract(
            "folds",
            "Which fold each session belongs to.",
            (
                _SESSION,
                Column("group", TEXT, "participant; never in two folds"),
                _FOLD,
                Column("role", TEXT, "what the fold is for", allowed=("train", "test")),
            ),
            key=("session",),
        ),
        Contract(
            "balance",
            "Share of positive time per fold and stratum, against the whole and against chance.",
            (
                Column("stratum", TEXT, "what is balanced"),
                _FOLD,
                Column("value", NUMBER, "share in this fold"),
                Column("whole", NUMBER, "share in all folds together"),
                Column("chance_low", NUMBER, "2.5 % quantile over random assignments"),
                Column("chance_high", NUMBER, "97.5 % quantile over random assignments"),
                Column("sessions", INTEGER, "sessions in this fold", least=0),
            ),
            key=("stratum", "fold"),
        ),
        Contract(
            "baselines",
            "What answering without looking would score.",
            (
                Column("source", TEXT, "what is counted", allowed=("durations", "clips")),
                Column("fold", TEXT, "number of the fold, or 'all'"),
                _TASK,
                _VARIABLE,
                Column("positive_probability", NUMBER, "share of positives"),
                Column("accuracy", NUMBER, "accuracy of always answering the more frequent class"),
                Column("f1", NUMBER, "F1 of always answering positive"),
                Column("balanced_accuracy", NUMBER, "balanced accuracy of any constant answer"),
                Column("n", INTEGER, "milliseconds or clips counted", least=0),
            ),
            key=("source", "fold", "task", "variable"),
        ),
        Contract(
            "draws",
            "Clips drawn at random from training sessions, with the label of the rater drawn.",
            (
                Column("draw_id", TEXT, "name of the clip drawn"),
                _SESSION,
                _TASK,
                _VARIABLE,
                _RATER,
                Column("repeat", INTEGER, "how many times the chunks were drawn before, from 1", least=0),
                Column("chunk", INTEGER, "part of the task from which the start was drawn", least=0),
                _START,
                _END,
                _LABEL,
            ),
            key=("draw_id", "variable"),
            before=_SPAN,
        ),
        Contract(
            "features",
            "Where the features of each clip lie.",
            (
                Column("clip_id", TEXT, "name of the clip: draw_id, or clip_id of the samples"),
                Column("view", TEXT, "train: with random changes; grid: as it is", allowed=("train", "grid")),
                _SESSION,
                Column("rater", TEXT, "rater whose label belongs to the clip; empty where all raters share it"),
                _START,
                _END,
                Column("repeat", INTEGER, "as in draws; 0 for the grid", least=0),
                Column("shard", TEXT, "name of the file in the folder shards"),
                Column("row", INTEGER, "row in that file", least=0),
            ),
            key=("clip_id",),
            before=_SPAN,
        ),
        Contract(
            "history",
            "Course of each training that was kept.",
            (
                _TASK,
                _VARIABLE,
                Column("part", TEXT, "what was trained", allowed=("head", "network")),
                Column("fold", INTEGER, "fold left out for validation; -1 when none was", least=-1),
                Column("repetition", INTEGER, "which of several trainings alike", least=0),
                Column("epoch", INTEGER, "passes over the training clips; 0 is before training", least=0),
                Column("split", TEXT, "clips measured", allowed=("train", "validation")),
                Column("metric", TEXT, "what was measured"),
                Column("value", NUMBER, "the measurement"),
            ),
            key=("task", "variable", "part", "fold", "repetition", "epoch", "split", "metric"),
        ),
        Contract(
            "trials",
            "Every training of a search or of the final phase, at the epoch that was kept.",
            (
                _TASK,
                _VARIABLE,
                Column("part", TEXT, "what was trained", allowed=("head", "network")),
                *_SETTING,
                Column("fold", INTEGER, "fold left out for validation", least=0),
                Column("repetition", INTEGER, "which of several trainings alike", least=0),
                Column("best_epoch", INTEGER, "epoch kept; 0 is before training", least=0),
                *_measures("train"),
                *_measures("validation"),
                Column("last_validation_f1", NUMBER, "F1 of the fold left out after the last epoch, chosen by nothing"),
                Column("failed", FLAG, "whether the loss stopped being a number"),
            ),
            key=("task", "variable", "part", "setting", "fold", "repetition"),
        ),
        Contract(
            "settings",
            "Settings of a search and how they did on the folds left out.",
            (
                _TASK,
                _VARIABLE,
                *_SETTING,
                Column("average_validation_f1", NUMBER, "mean F1 over folds and repetitions; NaN when one failed"),
                Column("low", NUMBER, "lowest of its trainings"),
                Column("high", NUMBER, "highest of its trainings"),
                Column("n", INTEGER, "trainings that ended well", least=0),
                Column("failed", INTEGER, "trainings that did not", least=0),
                Column("chosen", FLAG, "whether this setting was taken"),
            ),
            key=("task", "variable", "setting"),
        ),
        Contract(
            "predictions",
            "What the model answers for each sample, in all folds; only rows with role test say how good it is.",
            (
                _SAMPLE,
                _SESSION,
                _RATER,
                _TASK,
                _VARIABLE,
                _START,
                _END,
                _FOLD,
                Column("role", TEXT, "what the fold was for this model", allowed=_ROLES),
                _LABEL,
                Column("score", NUMBER, "probability of the positive class"),
                Column("predicted", INTEGER, "class index answered", least=0),
            ),
            key=("sample_id",),
            before=_SPAN,
        ),
        Contract(
            "metrics",
            "The scores, each with interval, size, chance and human ceiling.",
            (
                _TASK,
                _VARIABLE,
                Column(
                    "by",
                    TEXT,
                    "what is scored: every rater's label of each test clip, the majority label of each, or one part",
                    allowed=("all", "majority", "rater", "session", "fold"),
                ),
                Column("name", TEXT, "the rater, session or fold; empty for all and majority"),
                Column("role", TEXT, "what the clips' fold was for the model", allowed=_ROLES),
                Column("metric", TEXT, "name of the metric"),
                Column("direction", TEXT, "which way is better", allowed=("higher", "lower")),
                Column("value", NUMBER, "the score; NaN when undefined"),
                Column("low", NUMBER, "lower bound of the 95 % interval, bootstrap over sessions"),
                Column("high", NUMBER, "upper bound of the 95 % interval"),
                Column("chance", NUMBER, "score of answering without looking; NaN when it says nothing"),
                Column("ceiling", NUMBER, "score of a person in the model's place; NaN when unknown"),
                Column("n", INTEGER, "samples", least=0),
                Column("n_groups", INTEGER, "sessions", least=0),
                Column("reason", TEXT, "why the value is undefined, and what was left out; else empty"),
            ),
            key=("task", "variable", "by", "name", "metric"),
        ),
    )
}
