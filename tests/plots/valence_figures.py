"""Small made-up tables with plausible values, from which every valence figure can be drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.metrics.valence.summary import summarise

SUBJECTS, STORIES = (
    ("1", "2", "10"),
    {"1": "Validation", "2": "Training", "4": "Training", "3": "Testing", "6": "Testing"},
)
MODALITIES = ("audio", "text", "v_sub")
SESSIONS = [f"Subject_{subject}_Story_{story}" for subject in SUBJECTS for story in STORIES]
SECONDS = 40


def names_of(table: str) -> list[str]:
    """Columns of a table."""
    return list(tables.empty(table).columns)


def split(session: str) -> tuple[str, str]:
    """Subject and story of a session."""
    _, subject, _, story = session.split("_")
    return subject, story


def staircase(session: str, seconds: int = SECONDS) -> np.ndarray:
    """Valence in steps of 0.1 for each frame."""
    random = np.random.default_rng(SESSIONS.index(session))
    return np.repeat(np.clip(np.round(np.cumsum(random.normal(0, 0.2, seconds)), 1), -1, 1), 25)


def valence_table(sessions: list[str] | None = None) -> pd.DataFrame:
    """Table ``valence``: both raters, story 6 hidden, some frames without value."""
    rows = []
    for session in sessions or SESSIONS:
        subject, story = split(session)
        for rater in ("self", "third_party"):
            if story == "6" and rater == "third_party":
                continue
            values = staircase(session) if story != "6" else np.zeros(SECONDS * 25)
            if rater == "third_party":
                values = np.round(0.7 * np.roll(values, 20), 1)
            values = values.copy()
            values[100:110] = np.nan
            rows += [
                (session, subject, story, STORIES[story], rater, frame, value) for frame, value in enumerate(values)
            ]
    return tables.check(pd.DataFrame(rows, columns=names_of("valence")), "valence")


def recording_table() -> pd.DataFrame:
    """Table ``recordings``."""
    rows = []
    for session in SESSIONS:
        subject, story = split(session)
        own = staircase(session) * (story != "6")
        moments = own.min(), own.max(), own.mean(), own.std(), np.mean(np.diff(own) != 0)
        actor = "ann" if story in "14" else "ben"
        rows.append((session, subject, story, actor, STORIES[story], len(own), SECONDS, 0, *moments, story == "6", ""))
    return tables.check(pd.DataFrame(rows, columns=names_of("recordings")), "recordings")


def modality_table() -> pd.DataFrame:
    """Table ``modalities``: one file is missing."""
    random = np.random.default_rng(1)
    rows = [
        (session, name, f"features/{name}/{session}.npy", SECONDS - (name == "audio"), width,
         int(random.integers(0, 9)) if name != "audio" else 0, f"{session}.mp4", name, "ab")
        for session in SESSIONS for name, width in zip(MODALITIES, (988, 300, 512), strict=True)
        if (session, name) != (SESSIONS[3], "v_sub")
    ]  # fmt: skip
    return tables.check(pd.DataFrame(rows, columns=names_of("modalities")), "modalities")


def alignment_table() -> pd.DataFrame:
    """Table ``alignment``: audio is a second short, one file is far off, one missing."""
    rows = []
    for session in SESSIONS:
        for name in MODALITIES:
            lacking = (session, name) == (SESSIONS[3], "v_sub")
            count = 0 if lacking else SECONDS - (name == "audio") + 7 * ((session, name) == (SESSIONS[5], "text"))
            lost, padded = max(0, count - SECONDS), max(0, SECONDS - count)
            rows.append((session, name, count, SECONDS, lost, padded, 3 * (name == "v_sub"), ""))
    return tables.check(pd.DataFrame(rows, columns=names_of("alignment")), "alignment")


def presence_arrays() -> dict[str, dict[str, np.ndarray]]:
    """Which seconds hold something."""
    random = np.random.default_rng(2)
    found = {session: {name: np.ones(SECONDS, bool) for name in MODALITIES} for session in SESSIONS}
    for own in found.values():
        start = int(random.integers(0, 30))
        own["v_sub"][start : start + 6] = False
        own["text"][random.integers(0, SECONDS, 3)] = False
    return found


def fold_table() -> pd.DataFrame:
    """Table ``folds`` by story; one session is in no fold."""
    numbers = {"1": 0, "2": 1, "4": 2, "3": 3, "6": 3}
    rows = [(session, split(session)[1], numbers[split(session)[1]], "test" if split(session)[1] in "36" else "train")
            for session in SESSIONS[1:]]  # fmt: skip
    return pd.DataFrame(rows, columns=["session", "group", "fold", "role"])


def range_table() -> pd.DataFrame:
    """What `feature_ranges` gives."""
    random = np.random.default_rng(3)
    rows = [(fold, name, quantity, float(random.gamma(2, scale)))
            for fold in range(4) for name in MODALITIES
            for quantity, scale in (("outside", 0.01), ("shift", 0.2), ("constant", 0.02))]  # fmt: skip
    rows[4] = (*rows[4][:3], np.nan)
    return pd.DataFrame(rows, columns=["fold", "modality", "quantity", "value"])


def history_table(rounds: int = 3, epochs: int = 40) -> pd.DataFrame:
    """Table ``valence_history``."""
    random, rows = np.random.default_rng(4), []
    for fold in range(rounds):
        for epoch in range(epochs + 1):
            done = 1 - np.exp(-epoch / 12)
            for part, better in (("train", 0.2), ("inner", 0.05), ("held_out", 0.0)):
                late = 0.15 * epoch / epochs * (part != "train")
                ccc = (0.5 + better) * done - late + random.normal(0, 0.02)
                loss = 0.35 - 0.25 * done * (1 + better) + late / 2
                rows += [("at", f"story {fold + 1}", fold, epoch, part, metric, value)
                         for metric, value in (("loss", loss), ("ccc", ccc), ("pearson", ccc + 0.05))]  # fmt: skip
    return tables.check(pd.DataFrame(rows, columns=names_of("valence_history")), "valence_history")


def trial_table(systems: tuple[str, ...] = ("at",)) -> pd.DataFrame:
    """Table ``valence_trials``: the last round left nothing out, one has no result."""
    rows = []
    for place, system in enumerate(systems):
        for fold, ccc in enumerate((0.41, 0.22, np.nan)):
            reason = "" if ccc == ccc else "the truth is constant"
            scores = 0.7, 0.45, ccc + 0.05 * place, ccc + 0.12
            rows.append((system, f"story {fold + 1}", fold, "inner", 25, 40, *scores, 12, 3, reason))
        rows.append((system, "final", -1, "epoch", 20, 20, 0.7, np.nan, np.nan, np.nan, 15, 0, ""))
    return tables.check(pd.DataFrame(rows, columns=names_of("valence_trials")), "valence_trials")


def epoch_table() -> pd.DataFrame:
    """Table ``valence_epochs`` with three folds."""
    random, epochs = np.random.default_rng(5), np.arange(100, 1300, 100)
    folds = {
        f"story {n}": 0.5 - 0.1 * n + 0.1 * np.sin(epochs / 300) + random.normal(0, 0.03, len(epochs)) for n in range(3)
    }
    values = np.stack(list(folds.values()))
    mean, std = values.mean(axis=0), values.std(axis=0)
    table = {"epoch": epochs, "mean": mean, "std": std, "mean_minus_std": mean - std, "folds": 3,
             "chosen": mean == mean.max(), **folds}  # fmt: skip
    return tables.check(pd.DataFrame(table), "valence_epochs")


def score_table(systems: tuple[str, ...] = ("at", "atv")) -> pd.DataFrame:
    """Table ``valence_scores`` with a baseline and another person; hidden sessions have no value."""
    random, rows = np.random.default_rng(6), []
    for system in systems:
        for session in SESSIONS:
            subject, story = split(session)
            role = "hidden" if story == "6" else "test" if story == "3" else "held_out"
            for predictor, level in (
                ("network", 0.5 + 0.1 * (system == "atv")),
                ("constant", 0.0),
                ("third_party", 0.7),
            ):
                if role == "hidden" and predictor != "network":
                    continue
                ccc = np.nan if role == "hidden" else level and float(np.clip(level + random.normal(0, 0.15), -1, 1))
                fold, reason = list(STORIES).index(story), "the truth is withheld" if role == "hidden" else ""
                rows.append((predictor, system, role, session, subject, story, fold, ccc, ccc, 0.05, 1000, reason))
    return tables.check(pd.DataFrame(rows, columns=names_of("valence_scores")), "valence_scores")


def metric_table() -> pd.DataFrame:
    """Table ``metrics`` of these scores."""
    scores = score_table()
    return pd.concat([summarise(scores[scores["role"] == role], seed=0, resamples=50) for role in ("held_out", "test")])


def prediction_table(systems: tuple[str, ...] = ("at",)) -> pd.DataFrame:
    """Table ``valence_predictions``; the truth of story 6 is withheld."""
    random, rows = np.random.default_rng(7), []
    for system in systems:
        for session in SESSIONS:
            subject, story = split(session)
            truth = staircase(session)[::25]
            answer = 0.6 * truth + random.normal(0, 0.08, len(truth))
            role = "hidden" if story == "6" else "test" if story == "3" else "held_out"
            truth = np.full(len(truth), np.nan) if role == "hidden" else truth
            rows += [(system, "story 1", role, session, subject, story, step, *both)
                     for step, both in enumerate(zip(truth, answer, strict=True))]  # fmt: skip
    return tables.check(pd.DataFrame(rows, columns=names_of("valence_predictions")), "valence_predictions")


def importance_table(sessions: list[str] | None = None) -> pd.DataFrame:
    """Table ``valence_importance``: text moves the answer most."""
    random, rows = np.random.default_rng(8), []
    for session in sessions or SESSIONS[:2]:
        for name, scale in zip(MODALITIES, (0.03, 0.08, 0.005), strict=True):
            rows += [("at", session, step, name, "occlusion", value)
                     for step, value in enumerate(random.gamma(1.5, scale, SECONDS))]  # fmt: skip
    return tables.check(pd.DataFrame(rows, columns=names_of("valence_importance")), "valence_importance")


def profile_table() -> pd.DataFrame:
    """Lag profiles of several sessions."""
    random = np.random.default_rng(9)
    peaks = (("audio", 1, 0.06), ("text", 2, 0.15), ("v_sub", 0, 0.01))
    rows = [(session, name, lag, scale * np.exp(-(((lag - peak) / 1.2) ** 2)) + random.gamma(1, 0.004))
            for session in SESSIONS[:5] for name, peak, scale in peaks
            for lag in range(-2, 10)]  # fmt: skip
    return pd.DataFrame(rows, columns=["session", "modality", "lag", "change"])
