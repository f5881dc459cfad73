"""A world small enough for tests: ten sessions of film in which an engaged child is a bright square that moves.

Sessions s8 and s9 are the test fold. Imported by the tests, and by the processes that they kill.
"""

from __future__ import annotations

import pickle
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from nbpkg import seeding, tables
from nbpkg.baking.encode import Bake, bake_features
from nbpkg.baking.encoder import Baked
from nbpkg.baking.plan import plan_features, repeat_draws
from nbpkg.baking.shards import hash_shards
from nbpkg.datasets.draws import draw_clips, label_draws
from nbpkg.datasets.preprocess import Preprocess
from nbpkg.datasets.transforms import Augment
from nbpkg.models.encoders import build_encoder
from nbpkg.runs.files import write_json
from nbpkg.settings.learning import (
    FinalSettings,
    FinetuneSettings,
    NetworkTrainingSettings,
    SearchSettings,
    TrainingSettings,
)
from nbpkg.training.final import Searched, train_final
from nbpkg.training.finetune_search import search_finetuning
from nbpkg.training.head_search import search_heads
from nbpkg.training.rounds import Material, Pair, Where, training_part
from nbpkg.video.frames import FrameStore, StoreWriter

FPS, SIZE, SECONDS, CLIP_MS = Fraction(25, 8), 24, 48, 4000
SESSIONS = [f"s{number}" for number in range(10)]
PAIR = Pair("play", "looking")
CPU = torch.device("cpu")
SEARCH = SearchSettings(settings=6, repetitions=2, epochs=6, window=2, warm_up=1)
FINETUNE = FinetuneSettings(
    settings=2,
    repetitions=1,
    epochs=2,
    window=1,
    warm_up=0,
    learning_rate={"log10": [-4.0, -3.0]},
    chunks=3,
    batch_size=4,
)
FINAL = FinalSettings(
    head=TrainingSettings(epochs=10, window=2, warm_up=1),
    finetune=NetworkTrainingSettings(epochs=3, window=1, chunks=4, batch_size=8, learning_rate=0.003, lr_decay=0.05),
)


def make_tables(shuffled: bool = False) -> SimpleNamespace:
    """Spans, tasks, grid samples and folds; shuffled: every session has the labels of another one."""
    spans, samples = [], []
    for place, session in enumerate(SESSIONS):
        source = session if not shuffled else SESSIONS[(place + 3) % 10]
        chance = np.random.default_rng(SESSIONS.index(source))
        edges = [0, *sorted(chance.choice(np.arange(4, 44), 5, replace=False).tolist()), SECONDS]
        state = chance.integers(2)
        for rater in ("r1", "r2"):
            for number, (start, end) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
                value = "on" if (number + state) % 2 else "no"
                spans.append((session, rater, PAIR.task, PAIR.variable, value, 1000 * start, 1000 * end))
            for start in range(0, 1000 * SECONDS - CLIP_MS + 1, CLIP_MS):
                covered = sum(
                    max(0, min(end * 1000, start + CLIP_MS) - max(begin * 1000, start))
                    for number, (begin, end) in enumerate(zip(edges[:-1], edges[1:], strict=True))
                    if (number + state) % 2
                )
                label, clip = int(2 * covered > CLIP_MS), f"{session}_{start}"
                names = (f"{clip}_{rater}", session, session, rater, PAIR.task, PAIR.variable, clip)
                samples.append((*names, start, start + CLIP_MS, label))
    columns = ["session", "rater", "task", "variable", "value", "start_ms", "end_ms"]
    spans = pd.DataFrame(spans, columns=columns)
    tasks = spans.groupby(["session", "rater", "task"], as_index=False).agg(
        start_ms=("start_ms", "min"), end_ms=("end_ms", "max")
    )
    folds = pd.DataFrame({"session": SESSIONS, "group": SESSIONS, "fold": np.arange(10) // 2})
    folds["role"] = np.where(folds["fold"] == 4, "test", "train")
    named = [column.name for column in tables.CONTRACTS["samples"].columns]
    return SimpleNamespace(spans=spans, tasks=tasks, folds=folds, samples=pd.DataFrame(samples, columns=named))


def write_stores(folder: Path, *, poisoned: bool = False) -> dict[str, FrameStore]:
    """Write the films; poisoned: those of the test sessions are noise."""
    truth = make_tables().spans.query("rater == 'r1'")
    for session in SESSIONS:
        chance = np.random.default_rng(100 + SESSIONS.index(session))
        own = truth[truth["session"] == session]
        (folder / session).mkdir(parents=True)
        writer = StoreWriter(folder / session, (SIZE, SIZE + 8), fps=FPS)
        for number in range(int(SECONDS * FPS)):
            time = number * 1000 / FPS
            on = own[(own["start_ms"] <= time) & (own["end_ms"] > time)]["value"].iloc[0] == "on"
            frame = chance.integers(60, 90, (SIZE, SIZE + 8, 3), dtype=np.uint8)
            if on:
                left = 6 + int(chance.integers(0, 10))
                frame[8:16, left : left + 8] = 220
            if poisoned and session in ("s8", "s9"):
                frame = chance.integers(0, 256, frame.shape, dtype=np.uint8)
            writer.add(frame)
        writer.finish()
    return {session: FrameStore(folder / session) for session in SESSIONS}


def draw(tasks: pd.DataFrame, spans: pd.DataFrame, *, chunks: int, epoch: int, seed: int) -> Any:
    """As a study draws training clips."""
    clips, dropped = draw_clips(tasks, clip_ms=CLIP_MS, chunks=chunks, seed=seed, epoch=epoch)
    label = label_draws(clips, spans, variable=PAIR.variable, absent="no")
    return clips.assign(variable=PAIR.variable, label=label).rename(columns={"epoch": "repeat"}), dropped


def make_bake(seed: int = 0) -> Bake:
    clips = Preprocess(16, 6, (0.3, 0.3, 0.3), (0.2, 0.2, 0.2))
    augment = Augment(rotation_degrees=2, crop_area=(0.8, 1.0), crop_aspect=(0.9, 1.1))
    return Bake(clips, clips, augment, batch_size=8, precision="float32", device=CPU, workers=0, seed=seed)


def plan_bake(known: SimpleNamespace, repeats: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables draws and features, of the training sessions."""
    parts = {name: training_part(getattr(known, name), known.folds) for name in ("tasks", "spans", "samples")}
    drawn = partial(draw, parts["tasks"], parts["spans"], chunks=4, seed=0)
    draws, _ = repeat_draws(drawn, repeats)
    return draws, plan_features(draws, parts["samples"])


def make_material(
    folder: Path,
    *,
    poisoned: bool = False,
    shuffled: bool = False,
    stores: dict[str, FrameStore] | None = None,
    repeats: int = 2,
) -> Material:
    """Bake and hand over what training may see; poisoned: whatever belongs to the test fold is noise."""
    torch.set_num_threads(1)
    known = make_tables(shuffled)
    if poisoned:
        test = known.folds.query("role == 'test'")["session"]
        known.samples.loc[known.samples["session"].isin(test), "label"] ^= 1
        known.spans.loc[known.spans["session"].isin(test), "value"] = "no"
    stores = stores or write_stores(folder / "stores", poisoned=poisoned)
    draws, plan = plan_bake(known, repeats)
    encoder, how = build_encoder("small", "none", seed=0, size=16, frames=6), make_bake()
    bake_features(encoder, plan, stores=stores, folder=folder / "bake", how=how)
    write_json(folder / "bake" / "shards.json", hash_shards(folder / "bake", plan))
    facts = {"encoder": "small", "weights": "none", "normalisation": "training"}
    return Material(
        **{name: training_part(getattr(known, name), known.folds) for name in ("samples", "folds", "spans", "tasks")},
        draws=draws,
        index=plan,
        folder=folder / "bake",
        baked=Baked(encoder, facts, how.train, how.grid, how.augment),
        stores={session: stores[session] for session in SESSIONS[:8]},
        draw=draw,
    )


def run_phases(material: Material, folder: Path, *, only: str = "") -> dict[str, Any]:
    """Run the phases one after the other, as notebook 05 does."""
    found: dict[str, Any] = {}
    where = Where(folder / "head_search", 0, CPU, 0)
    found["head_search"] = search_heads(material, [PAIR], settings=SEARCH, where=where)
    if only == "head_search":
        return found
    heads = found["head_search"].heads
    where = Where(folder / "finetune_search", 0, CPU, 0)
    found["finetune_search"] = search_finetuning(
        material, [PAIR], settings=FINETUNE, heads=heads, shared=False, where=where
    )
    if only == "finetune_search":
        return found
    searched = Searched(found["head_search"].settings, found["finetune_search"].settings)
    where = Where(folder / "final", 0, CPU, 0)
    found["final"] = train_final(material, [PAIR], settings=FINAL, fold=-1, searched=searched, where=where)
    return found


def results(found: dict[str, Any], folder: Path) -> dict[str, bytes]:
    """Everything that a stage would put into its receipt, as bytes."""
    kept: dict[str, bytes] = {}
    for phase in ("head_search", "finetune_search", "final"):
        if phase in found:
            for name in ("trials", "settings", "history"):
                kept[f"{phase} {name}"] = getattr(found[phase], name).to_csv(index=False).encode()
            kept |= {f"{phase} {key}": array.tobytes() for key, array in found[phase].heads.items()}
    for path in sorted((folder / "final" / "networks").rglob("*.*")):
        kept[path.name] = path.read_bytes()
    return kept


def work(folder: Path, phase: str, ready: Path) -> dict[str, bytes]:
    """One run of one phase in a process that may be killed: what it would write, file by file."""
    seeding.seed_everything(0, threads=1)
    if phase == "bake":  # with clips enough for kills to fall among them
        stores = {session: FrameStore(ready.parent / "stores" / session) for session in SESSIONS}
        make_material(folder, stores=stores, repeats=20)
        return {path.name: path.read_bytes() for path in sorted((folder / "bake" / "shards").glob("*.npy"))}
    material: Material = pickle.loads(ready.read_bytes())
    return results(run_phases(material, folder, only=phase), folder)
