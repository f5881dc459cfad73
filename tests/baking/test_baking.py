"""Baking: which clips, which rows, resuming, and what happens when something is missing, cut or too large."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny_world
import torch
from safetensors.torch import save_file
from torch import nn

from nbpkg.baking.encode import bake_features, preview_clips
from nbpkg.baking.encoder import choose_normalisation, configure, describe_encoder, read_encoder
from nbpkg.baking.plan import plan_features, repeat_draws, training_sessions
from nbpkg.baking.shards import check_shards, gather, hash_shards, shard_path
from nbpkg.errors import FoldError, SettingsError, StageError, WeightsError
from nbpkg.models.encoders import build_encoder
from nbpkg.runs.files import write_json
from nbpkg.settings.learning import EncoderSettings


class MeanColour(nn.Module):
    """Features that a test can compute itself; counts the clips it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = 0

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.shown += len(clips)
        return clips.mean(dim=(3, 4)).flatten(1)


class Hungry(MeanColour):
    """Asks the allocator for more than there is when more than two clips come at once."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        if len(clips) > 2:
            torch.empty(2**48)
        return super().forward(clips)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tiny_world.write_stores(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def plan():
    return tiny_world.plan_bake(tiny_world.make_tables())[1]


def bake(encoder, plan, stores, folder, **changes):
    return bake_features(encoder, plan, stores=stores, folder=folder, how=replace(tiny_world.make_bake(), **changes))


def test_the_test_fold_is_not_planned(plan):
    assert set(plan["session"]) == set(tiny_world.SESSIONS[:8])
    assert training_sessions(tiny_world.make_tables().folds) == tiny_world.SESSIONS[:8]


def test_a_clip_shared_by_raters_tasks_and_variables_is_encoded_once(stores, tmp_path):
    known = tiny_world.make_tables()
    both = pd.concat([known.samples, known.samples.assign(variable="smiling")])
    draws, plan = tiny_world.plan_bake(known)
    plan = plan_features(pd.concat([draws, draws.assign(variable="smiling")]), both[both["session"] < "s8"])
    encoder = MeanColour()
    bake(encoder, plan, stores, tmp_path)
    assert len(plan) == 8 * 12 + 8 * 4 * 2  # grid clips, and draws of two repeats
    assert encoder.shown == len(plan) + 1  # and one to learn the number of features


def test_rows_belong_to_their_clips(stores, plan, tmp_path):
    """Grid features, in any order, are those of the frames in the interval."""
    bake(MeanColour(), plan, stores, tmp_path)
    grid = plan.query("view == 'grid'").sample(frac=1, random_state=1)
    features = gather(tmp_path, plan, grid["clip_id"])
    from nbpkg.datasets.preprocess import crop, normalise, read_clip

    for row, clip in zip(features[:20], grid.itertuples(), strict=False):
        frames, _ = read_clip(stores[clip.session], clip.start_ms, clip.end_ms, count=6)
        ready = normalise(torch.from_numpy(crop(frames, 16)), tiny_world.make_bake().grid)
        assert row == pytest.approx(ready.mean(dim=(2, 3)).flatten().numpy(), abs=1e-5)


def test_batches_and_workers_change_nothing(stores, plan, tmp_path):
    few = plan[plan["session"].isin(["s0", "s1"])]
    one = bake(MeanColour(), few, stores, tmp_path / "one")
    two = bake(MeanColour(), few, stores, tmp_path / "two", batch_size=3, workers=2)
    for first, second in zip(one, two, strict=True):
        assert np.load(first) == pytest.approx(np.load(second), abs=1e-6)


def test_finished_shards_stay_and_cut_ones_are_made_again(stores, plan, tmp_path):
    shards = bake(MeanColour(), plan, stores, tmp_path)
    before = {path: path.read_bytes() for path in shards}
    shards[0].unlink()
    shards[1].write_bytes(before[shards[1]][:-100])
    encoder = MeanColour()
    bake(encoder, plan, stores, tmp_path)
    assert {path: path.read_bytes() for path in shards} == before
    lost = plan["shard"].isin([shards[0].stem, shards[1].stem]).sum()
    assert encoder.shown == lost + 1


def test_missing_and_corrupt_shards_are_named(stores, plan, tmp_path):
    bake(MeanColour(), plan, stores, tmp_path)
    write_json(tmp_path / "shards.json", hash_shards(tmp_path, plan))
    check_shards(tmp_path)
    path = shard_path(tmp_path, "s3_train")
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(StageError, match=r"(?s)'s3_train' is damaged.*04_bake"):
        check_shards(tmp_path)
    path.unlink()
    with pytest.raises(StageError, match=r"'s3_train' is missing"):
        check_shards(tmp_path)
    with pytest.raises(StageError, match="1 clips have no features: nobody"):
        gather(tmp_path, plan, pd.Series(["nobody"]))


def test_a_batch_too_large_for_memory_is_halved_and_said(stores, plan, tmp_path, capsys):
    few = plan[plan["session"] == "s0"]
    (halved, *_), (whole, *_) = (bake(kind(), few, stores, tmp_path / kind.__name__) for kind in (Hungry, MeanColour))
    assert np.load(halved) == pytest.approx(np.load(whole), abs=1e-6)
    said = capsys.readouterr().err
    assert "A batch of 8 clips does not fit into memory; going on with 4 at a time." in said
    assert "going on with 2 at a time" in said


def test_a_clip_that_never_fits_is_an_error(stores, plan, tmp_path):
    class Greedy(nn.Module):
        def forward(self, clips):
            return torch.empty(2**48) if clips.abs().sum() > 0 else torch.zeros(len(clips), 4)

    with pytest.raises(StageError, match="Not even a single clip fits into memory"):
        bake(Greedy(), plan.head(3), stores, tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.may_skip
def test_full_disk_while_writing_a_shard(stores, plan, tmp_path):
    """A file system of 64 kB, and features of 100 kB a shard."""
    import os
    import subprocess

    place = tmp_path / "small"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    try:

        class Wide(MeanColour):
            def forward(self, clips):
                return super().forward(clips).repeat(1, 200)

        with pytest.raises(StageError, match="The disk is full"):
            bake(Wide(), plan[plan["session"] == "s0"], stores, place)
        assert not list(place.rglob("*.npy"))
    finally:
        subprocess.run(["umount", place], check=True)


def test_normalisation_reads_training_sessions_only(stores, tmp_path):
    settings = EncoderSettings(encoder="small", size=16, train_size=16, frames=6, normalisation="training")
    mean, std = choose_normalisation(settings, stores, sessions=["s0", "s1"])
    frames = np.concatenate([stores[name].frames(np.arange(len(stores[name]))) for name in ("s0", "s1")]) / 255
    assert mean == pytest.approx(frames.mean(axis=(0, 1, 2)))
    assert std == pytest.approx(frames.std(axis=(0, 1, 2)))
    only = {name: stores[name] for name in ("s0", "s1")}
    assert choose_normalisation(settings, only, sessions=["s0", "s1"]) == (mean, std)
    with pytest.raises(SettingsError, match=r"bake.normalisation is 'backbone', but small was never trained"):
        choose_normalisation(settings.model_copy(update={"normalisation": "backbone"}), stores, sessions=["s0"])
    kinetics = EncoderSettings(encoder="r3d_18")
    assert choose_normalisation(kinetics, {}, sessions=[])[0] == pytest.approx((0.43216, 0.394666, 0.37645))


def test_encoder_and_what_belongs_to_it_come_back(stores, tmp_path):
    settings = EncoderSettings(encoder="small", size=24, train_size=16, frames=6, normalisation="training")
    how = configure(settings, ((0.1, 0.2, 0.3), (1.0, 2.0, 3.0)), seed=0, device=torch.device("cpu"), workers=0)
    encoder = build_encoder("small", "none", seed=3, size=24, frames=6)
    save_file(encoder.state_dict(), tmp_path / "encoder.safetensors")
    write_json(tmp_path / "encoder.json", describe_encoder(settings, how, features=encoder.features))
    baked = read_encoder(tmp_path)
    assert (baked.train, baked.grid, baked.augment) == (how.train, how.grid, how.augment)
    clip = torch.randn(1, 3, 6, 24, 24)
    assert torch.equal(baked.encoder(clip), encoder(clip))
    (tmp_path / "encoder.safetensors").write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"(?s)cannot be read.*04_bake"):
        read_encoder(tmp_path)


def test_too_few_folds_to_train():
    folds = tiny_world.make_tables().folds
    with pytest.raises(FoldError, match="1 of 2 folds are left for training"):
        training_sessions(folds[folds["fold"] >= 3])


def test_nothing_long_enough_to_draw():
    empty = tiny_world.draw
    known = tiny_world.make_tables()
    short = known.tasks.assign(end_ms=known.tasks["start_ms"] + 10)
    with pytest.raises(FoldError, match="No training session is long enough"):
        repeat_draws(lambda epoch: empty(short, known.spans, chunks=2, epoch=epoch, seed=0), 2)


def test_preview_shows_changed_frames(stores, plan):
    clips = preview_clips(plan, stores=stores, how=tiny_world.make_bake(), count=3)
    assert [clip.shape for clip in clips] == [(6, 16, 16, 3)] * 3
    assert clips[0].dtype == np.uint8
    assert clips[0].std() > 5
