"""On the sample's films, where the truth was planted, trained networks point to it and their random twins do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg import tables
from nbpkg.attention.explain import METHODS, Options, randomise
from nbpkg.attention.maps import enlarge, is_constant, normalise
from nbpkg.datasets.preprocess import crop, read_clip
from nbpkg.datasets.preprocess import normalise as scale
from nbpkg.models.device import to_channels_last
from nbpkg.training.answers import load_networks
from nbpkg.video.clips import frame_numbers
from nbpkg.video.stores import open_stores

pytestmark = [pytest.mark.demo, pytest.mark.slow]

OPTIONS = Options(
    gradcam_weights="channel", occlusion_radius=(16, 8, 8), occlusion_stride=(16, 6, 6), occlusion_centred=True
)
PAIRS = (("people", "attending"), ("drums", "attending"))  # attending shows in the child's head


def finished(demo: Path, step: str) -> Path:
    return demo / step / "runs" / json.loads((demo / step / "receipt.json").read_text())["key"][:8]


def mask_of_head(
    truth: pd.DataFrame, clip: pd.Series, *, fps, count: int, size: int, shape: tuple[int, int]
) -> np.ndarray:
    """Where the child's head is, bool [count, size, size] in the central square of a film of `shape`."""
    heads = truth[truth["region"] == "head"]
    scale_, left = size / shape[0], (round(shape[1] * size / shape[0]) - size) / 2
    mask = np.zeros((count, size, size), bool)
    for place, number in enumerate(frame_numbers(clip["start_ms"], clip["end_ms"], fps=fps, count=count)):
        time = float((number + 0.5) * 1000 / fps)
        box = heads[(heads["start_ms"] <= time) & (time < heads["end_ms"])].iloc[0]
        x0, x1 = (int(np.clip(box[name] * scale_ - left, 0, size)) for name in ("x0", "x1"))
        y0, y1 = (int(np.clip(box[name] * scale_, 0, size)) for name in ("y0", "y1"))
        mask[place, y0:y1, x0:x1] = True
    return mask


def choose_clips(samples: pd.DataFrame, folds: pd.DataFrame, pair: tuple[str, str]) -> pd.DataFrame:
    """One clip of each test session and label on which all raters agree."""
    sessions = folds.loc[folds["role"] == "test", "session"]
    own = samples[(samples["task"] == pair[0]) & (samples["variable"] == pair[1]) & samples["session"].isin(sessions)]
    agreed = own.groupby("clip_id").filter(lambda rows: rows["label"].nunique() == 1).drop_duplicates("clip_id")
    return agreed.groupby(["session", "label"]).nth(1)


@pytest.fixture(scope="module")
def shares(demo, root) -> pd.DataFrame:
    """Share of a map's mass in the head's box, as a multiple of the box's share of the picture."""
    networks = load_networks(finished(demo, "05_train/final"))
    media = tables.read(finished(demo, "02_prepare") / "media.csv", "media")
    stores = open_stores(finished(demo, "02_prepare"), media)
    tabled = {name: tables.read(finished(demo, "03_stratify") / f"{name}.csv", name) for name in ("samples", "folds")}
    rows = []
    for pair in PAIRS:
        one = networks[pair]
        nets = {"trained": one.net} | {f"random {seed}": randomise(one.net, seed=seed) for seed in (1, 2)}
        for _, row in choose_clips(tabled["samples"], tabled["folds"], pair).iterrows():
            session, count, size = row["session"], one.preprocess.frames, one.preprocess.size
            truth = pd.read_csv(root / "data/infant_engagement/sample/truth" / f"{session}_regions.csv")
            film = media.set_index("session").loc[session, ["source_height", "source_width"]]
            head = mask_of_head(
                truth, row, fps=stores[session].fps, count=count, size=size, shape=(int(film.min()), int(film.max()))
            )
            frames, _ = read_clip(stores[session], row["start_ms"], row["end_ms"], count=count)
            clip = scale(torch.from_numpy(crop(frames, size)), one.preprocess)
            for name, net in nets.items():
                for method in ("gradcam", "occlusion", "gradient", "guided_backprop"):
                    found = METHODS[method].run(to_channels_last(net), clip, [row["label"]], OPTIONS)[row["label"]]
                    if is_constant(found.values):
                        continue
                    mass = normalise(enlarge(found.values, head.shape, "trilinear"), "clip")
                    lift = mass[head].sum() / mass.sum() / head.mean()
                    rows.append((pair[0], name.split()[0], method, row["label"], lift))
    return pd.DataFrame(rows, columns=["task", "source", "method", "label", "lift"])


def test_the_films_truth_is_where_trained_networks_look(shares):
    # Labels weigh alike: a network that knows inattention when it sees it explains attention by what is elsewhere.
    by_label = shares.groupby(["method", "task", "label", "source"])["lift"].mean().unstack("source")
    overall = by_label.groupby("method").mean()
    print(f"\n{by_label.round(2)}\n{overall.round(2)}")
    assert (overall["trained"] > overall["random"] + 0.1).all()


def test_inattention_shows_in_the_head(shares):
    seen = shares[(shares["label"] == 0) & shares["method"].isin(["gradcam", "occlusion"])]
    lift = seen.groupby(["method", "task", "source"])["lift"].mean().unstack("source")
    assert (lift["trained"] > 1.2).all()
    assert (lift["trained"] > lift["random"]).all()
