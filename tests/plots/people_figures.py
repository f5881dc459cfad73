"""Small made-up tables with plausible values, from which every figure of several people can be drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.annotations.people.ratings import classify

CLASSES = ("low", "medium", "high")
RATERS = ("Anna", "Ben", "Chloe")
FAMILIES = [f"family_{number:02d}" for number in range(1, 13)]
FOLDS = 4
WINDOWS = 12
VARIANTS = {"full": 0.9, "no_memory": 0.45, "no_cross_modal": 0.5, "no_cross_person": 0.3, "without_pose": 0.7}


def names_of(table: str) -> list[str]:
    """Columns of a table."""
    return list(tables.empty(table).columns)


def rating_table() -> pd.DataFrame:
    """Ratings of three annotators who agree roughly: clip, rater, rating; one of them skipped some."""
    random, rows = np.random.default_rng(0), []
    for family in FAMILIES:
        level = random.uniform(1.8, 4.2)
        for play in range(1, 3):
            truth = np.clip(level + np.cumsum(random.normal(0, 0.7, WINDOWS)), 1, 5)
            for window, value in enumerate(truth):
                clip = f"{family}/play{play}/{window:02d}"
                for rater in RATERS:
                    if rater == "Chloe" and window % 4 == 3:
                        continue
                    rating = float(np.clip(np.round(value + random.normal(0, 0.55)), 1, 5))
                    rows.append((clip, rater, rating))
    return pd.DataFrame(rows, columns=["clip", "rater", "rating"])


def clip_table() -> pd.DataFrame:
    """Table ``clips``: two recordings of each family, cut into windows; some families have fewer."""
    mean = rating_table().groupby("clip")["rating"].agg(["mean", "size"])
    rows = []
    for (clip, rating, raters), label in zip(mean.itertuples(), classify(mean["mean"].to_numpy()), strict=True):
        family, play, window = clip.split("/")
        if family == "family_03" and play == "play2":
            continue
        recording = f"{family}_{play}"
        place = int(window)
        source = recording, family, recording, place, place * 75, 75
        rows.append((clip, *source, label, rating, raters, "", f"{recording}.mp4"))
    return tables.check(pd.DataFrame(rows, columns=names_of("clips")), "clips")


def fold_table() -> pd.DataFrame:
    """Table ``folds``: three families in each, the last fold is the test."""
    sessions = clip_table()[["session", "family"]].drop_duplicates()
    number = {family: place % FOLDS for place, family in enumerate(FAMILIES)}
    fold = sessions["family"].map(number)
    role = np.where(fold == FOLDS - 1, "test", "train")
    table = pd.DataFrame({"session": sessions["session"], "group": sessions["family"], "fold": fold, "role": role})
    return tables.check(table, "folds")


def history_table(variants: tuple[str, ...] = ("full", "no_memory"), repeats: int = 2, epochs: int = 25):
    """Table ``people_history``: training clips are learnt by heart, inner ones are not."""
    random, rows = np.random.default_rng(1), []
    for variant in variants:
        for repeat in range(repeats):
            for fold in range(FOLDS - 1):
                rows += _history(random, variant, repeat, fold, epochs)
    return tables.check(pd.DataFrame(rows, columns=names_of("people_history")), "people_history")


def _history(random: np.random.Generator, variant: str, repeat: int, fold: int, epochs: int) -> list[tuple]:
    who = ("cpm_t", f"{variant}-{repeat}-{fold}", variant, repeat, fold)
    best, rows = 0.25 + 0.6 * VARIANTS[variant], []
    for epoch in range(epochs + 1):
        done = 1 - np.exp(-epoch / 6)
        for split, top, late in (("train", 1.0, 0.0), ("inner", best, 0.1 * epoch / epochs)):
            f1 = 0.2 + (top - 0.2) * done - late + random.normal(0, 0.02)
            values = {
                "loss": 1.1 - 0.9 * (f1 - 0.2) + 2 * late,
                "macro_f1": min(f1, 1.0),
                "top1_acc": min(f1 + 0.04, 1.0),
            }
            rows += [(*who, epoch, split, metric, value) for metric, value in values.items()]
    return rows


def trial_table(variants: tuple[str, ...] = ("full", "no_memory"), repeats: int = 2) -> pd.DataFrame:
    """Table ``people_trials``: one training has no result, the last left nothing out."""
    random, rows = np.random.default_rng(2), []
    for variant in variants:
        for repeat in range(repeats):
            for fold in range(FOLDS - 1):
                f1 = 0.2 + 0.6 * VARIANTS[variant] + random.normal(0, 0.05)
                broken = (variant, repeat, fold) == (variants[-1], repeats - 1, 1)
                scores = (np.nan, np.nan, np.nan) if broken else (f1 + 0.05, f1, f1 + 0.03)
                reason = "the loss is no number after epoch 3" if broken else ""
                who = ("cpm_t", f"{variant}-{repeat}-{fold}", variant, repeat, fold, "inner", 10 + fold, 25)
                rows.append((*who, *scores, 140, 70, 250_000, 12.5, reason))
    final = ("cpm_t", "final", "full", 0, -1, "inner", 14, 14, 0.7, np.nan, np.nan, 210, 0, 250_000, 20.0, "")
    return tables.check(pd.DataFrame([*rows, final], columns=names_of("people_trials")), "people_trials")


def prediction_table(
    variants: tuple[str, ...] = tuple(VARIANTS), repeats: int = 3, systems: tuple[str, ...] = ("cpm_t",)
) -> pd.DataFrame:
    """Table ``people_predictions``: families held out answered in every variant and repetition, test ones by `full`."""
    clips, folds = clip_table(), fold_table().set_index("session")
    parts = []
    for place, system in enumerate(systems):
        for variant in variants:
            for repeat in range(repeats):
                skill = VARIANTS[variant] - 0.15 * place
                random = np.random.default_rng([place, list(VARIANTS).index(variant), repeat])
                answered = _answer(clips, skill + random.normal(0, 0.03), random)
                fold = clips["session"].map(folds["fold"])
                train = (folds.loc[clips["session"], "role"] == "train").to_numpy()
                name = [f"{variant}-{repeat}-{number}" for number in fold]
                held = answered.assign(variant=variant, repeat=repeat, role="held_out", round=name)[train]
                parts.append(held.assign(system=system))
                if variant == "full" and repeat == 0:
                    test = answered.assign(variant=variant, repeat=0, role="test", round="final", system=system)
                    parts.append(test[~train])
    return tables.check(pd.concat(parts, ignore_index=True), "people_predictions")


def _answer(clips: pd.DataFrame, skill: float, random: np.random.Generator) -> pd.DataFrame:
    """Probabilities that follow the class as far as the skill goes."""
    hint = skill * 2.2 * np.eye(3)[clips["label"]]
    logits = hint + random.normal(0, 0.8, (len(clips), 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = clips[["sample_id", "session", "family", "recording", "window"]].assign(
        truth=clips["label"], predicted=shares.argmax(axis=1), checkpoint="best"
    )
    return table.assign(**{f"p_{name}": shares[:, place] for place, name in enumerate(CLASSES)})


def slide_table(seconds: float = 40.0) -> pd.DataFrame:
    """Answers of a network of clips every few frames of a long recording."""
    starts = np.arange(0, int(seconds * 25), 16)
    course = np.sin(starts / 120)
    logits = np.stack([-3 * course, 0.6 - np.abs(course), 3 * course], axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame({"session": "family_01_play1", "frame": starts, "frames": 64, "seconds": starts / 25 + 1.28})
    return table.assign(**{f"p_{name}": shares[:, place] for place, name in enumerate(CLASSES)})
