"""Features of clips: their rows, their shards, and what an interrupted or impossible baking leaves."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nbpkg import tables
from nbpkg.baking import bake_features, distinct_clips
from nbpkg.errors import MediaError, WeightsError
from nbpkg.models.video_resnet import build_encoder
from nbpkg.video.frames import FrameStore, StoreWriter

KILLS = int(os.environ.get("NBPKG_KILLS", "3"))
FPS, FRAMES, SIZE = Fraction(25, 8), 50, (24, 32)  # 16 s of film
SESSIONS = ("s1", "s2", "s3")
HOW = {"size": 16, "batch_size": 2, "device": torch.device("cpu")}


class TinyEncoder(nn.Module):
    """Mean colour of each clip through a fixed random matrix; remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.randn(3, 5, generator=torch.Generator().manual_seed(1)))
        self.seen: list[tuple[torch.dtype, tuple[int, ...]]] = []

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.seen.append((clips.dtype, tuple(clips.shape)))
        return (clips.float() / 255).mean(dim=(2, 3, 4)) @ self.matrix


def write_stores(folder: Path) -> dict[str, FrameStore]:
    """Frames of noise, other ones for each session."""
    for place, session in enumerate(SESSIONS):
        (folder / session).mkdir(parents=True)
        writer = StoreWriter(folder / session, SIZE, fps=FPS)
        for frame in np.random.default_rng(place).integers(0, 256, (FRAMES, *SIZE, 3), dtype=np.uint8):
            writer.add(frame)
        writer.finish()
    return {session: FrameStore(folder / session) for session in SESSIONS}


def make_clips(last_end: int = 15_000) -> pd.DataFrame:
    starts = [0, 5000, 10_000]
    rows = [
        {"clip_id": f"{session}_{start}", "session": session, "start_ms": start, "end_ms": min(start + 5000, last_end)}
        for session in SESSIONS
        for start in starts
    ]
    rows[-1]["end_ms"] = last_end
    return pd.DataFrame(rows)


@pytest.fixture
def stores(tmp_path):
    return write_stores(tmp_path / "stores")


def test_features_have_a_row_for_each_clip_in_the_tables_order(stores, tmp_path):
    encoder, clips = TinyEncoder(), make_clips()
    shuffled = clips.sample(frac=1, random_state=3)
    features, table = bake_features(encoder, shuffled, stores=stores, folder=tmp_path / "shards", **HOW)
    assert (features.shape, features.dtype) == ((9, 5), np.float32)
    assert tables.check(table, "features")["clip_id"].tolist() == clips["clip_id"].tolist()
    assert table["row"].tolist() == list(range(9))
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["s1.npy", "s2.npy", "s3.npy"]
    for kind, (count, colours, length, height, width) in encoder.seen:
        assert kind == torch.uint8
        assert count <= 2
        assert (colours, height, width) == (3, 16, 16)
        assert length in (15, 16)  # 5 s at 25/8 frames/s
    row = table.set_index("clip_id").loc["s2_5000", "row"]
    alone, _ = bake_features(
        encoder, clips[clips["clip_id"] == "s2_5000"], stores=stores, folder=tmp_path / "alone", **HOW
    )
    assert features[row] == pytest.approx(alone[0], rel=1e-5)


def test_a_clip_shared_by_raters_is_baked_once():
    clips = make_clips()
    samples = pd.concat([clips.assign(rater=rater) for rater in ("r1", "r2")])
    assert distinct_clips(samples).equals(clips)


def test_a_lost_shard_is_made_again_and_a_finished_one_kept(stores, tmp_path):
    clips, folder = make_clips(), tmp_path / "shards"
    first, _ = bake_features(TinyEncoder(), clips, stores=stores, folder=folder, **HOW)
    kept = (folder / "s1.npy").stat().st_mtime_ns
    (folder / "s2.npy").unlink()
    encoder = TinyEncoder()
    again, _ = bake_features(encoder, clips, stores=stores, folder=folder, **HOW)
    assert again.tobytes() == first.tobytes()
    assert sum(shape[0] for _, shape in encoder.seen) == 3
    assert (folder / "s1.npy").stat().st_mtime_ns == kept


def test_a_clip_beyond_the_video_is_named(stores, tmp_path):
    with pytest.raises(MediaError, match="Clip 10000 to 19000 ms cannot be taken") as caught:
        bake_features(TinyEncoder(), make_clips(19_000), stores=stores, folder=tmp_path / "shards", **HOW)
    assert caught.value.where.endswith("s3")
    assert "inside 0 to 16000 ms" in caught.value.expected
    assert not (tmp_path / "shards" / "s3.npy").exists()


class SlowEncoder(TinyEncoder):
    """Takes long enough to be killed at work."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return super().forward(clips)


def bake_slowly(folder: Path, stores: dict[str, FrameStore]) -> None:
    bake_features(SlowEncoder(), make_clips(), stores=stores, folder=folder, **HOW)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
def test_killed_and_run_again_gives_the_same_features(stores, tmp_path):
    """Each killed run is a fork of this process, which has torch loaded: a fresh one would import for long."""
    clips = make_clips()
    expected, _ = bake_features(TinyEncoder(), clips, stores=stores, folder=tmp_path / "undisturbed", **HOW)
    target, chance, caught, seen = tmp_path / "killed", random.Random(KILLS), 0, set()
    for _ in range(KILLS):
        process = multiprocessing.get_context("fork").Process(target=bake_slowly, args=(target, stores))
        process.start()
        time.sleep(chance.uniform(0.05, 0.6))
        caught += process.is_alive()
        process.kill()
        process.join()
        seen |= {path.name for path in target.glob("*.npy")}
    features, _ = bake_features(TinyEncoder(), clips, stores=stores, folder=target, **HOW)
    assert features.tobytes() == expected.tobytes()
    shards = {path.name: path.read_bytes() for path in target.glob("[!.]*")}
    assert shards == {path.name: path.read_bytes() for path in (tmp_path / "undisturbed").iterdir()}
    assert caught, "no run was still going when it was killed: choose earlier moments"
    assert seen, "no killed run had finished a shard: choose later moments"


class TestEncoder:
    def test_takes_bytes_and_gives_512_numbers(self):
        encoder = build_encoder("mc3_18", None, seed=0)
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        features = encoder(torch.randint(0, 256, (2, 3, 4, 32, 32), dtype=torch.uint8))
        assert (tuple(features.shape), features.dtype) == ((2, 512), torch.float32)
        assert torch.isfinite(features).all()

    def test_the_seed_decides_the_weights_and_leaves_other_randomness_alone(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        one, same, other = (build_encoder("mc3_18", None, seed=seed).state_dict() for seed in (0, 0, 1))
        assert torch.equal(torch.rand(1), expected)
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert not all(torch.equal(one[key], other[key]) for key in one)

    def test_weights_are_read_with_or_without_a_classifier(self, tmp_path):
        state = build_encoder("mc3_18", None, seed=3).base_model.state_dict()
        torch.save({**state, "fc.weight": torch.zeros(400, 512), "fc.bias": torch.zeros(400)}, tmp_path / "w.pt")
        read = build_encoder("mc3_18", tmp_path / "w.pt", seed=0).base_model.state_dict()
        assert all(torch.equal(read[key], state[key]) for key in state)

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(WeightsError, match="The weights file is not there") as caught:
            build_encoder("mc3_18", tmp_path / "w.pt", seed=0)
        assert "set bake.weights to 'random'" in caught.value.remedy

    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    @pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
    def test_a_pickled_object_is_refused_and_never_runs(self, save, tmp_path):
        save(Trap(str(tmp_path / "it_ran")), tmp_path / "w.pt")
        with pytest.raises(WeightsError, match="holds no plain weights"):
            build_encoder("mc3_18", tmp_path / "w.pt", seed=0)
        assert not (tmp_path / "it_ran").exists()

    def test_a_file_of_something_else_is_refused(self, tmp_path):
        (tmp_path / "notes.pt").write_text("these are no weights")
        with pytest.raises(WeightsError, match="holds no plain weights"):
            build_encoder("mc3_18", tmp_path / "notes.pt", seed=0)
        torch.save([1, 2], tmp_path / "list.pt")
        with pytest.raises(WeightsError, match="holds no state dict"):
            build_encoder("mc3_18", tmp_path / "list.pt", seed=0)

    def test_another_networks_weights_are_refused_key_by_key(self, tmp_path):
        state = build_encoder("mc3_18", None, seed=0).base_model.state_dict()
        state["stem.0.gain"] = state.pop("stem.0.weight")
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match="do not fit mc3_18") as caught:
            build_encoder("mc3_18", tmp_path / "w.pt", seed=0)
        assert "stem.0.weight" in caught.value.what
        assert "stem.0.gain" in caught.value.what


class Trap:
    """Writes a file when it is unpickled by someone who runs what pickles say."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)
