"""Blocks as they are read."""

import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from gaze_dataset_cases import CountingStore, make_table
from PIL import Image

from nbpkg import seeding
from nbpkg.datasets.gaze.augment import Augment, draw_video
from nbpkg.datasets.gaze.blocks import BlockDataset, check_frames, open_block_loader
from nbpkg.datasets.gaze.items import Preparation, prepare, read_persons
from nbpkg.datasets.gaze.plans import list_tracks, plan_blocks
from nbpkg.errors import MediaError, SettingsError
from nbpkg.video.folders import PictureStore

HOW = Preparation(size=32)
LENGTHS = {("s1", "a"): 7, ("s1", "b"): 7, ("s2", "a"): 5, ("s3", "a"): 9}


def open_stores(table, **how):
    last = table.groupby("session")["frame"].max()
    return {
        name: CountingStore(int(frame) + 1, start=30 * place, **how) for place, (name, frame) in enumerate(last.items())
    }


def open_set(table, *, how=HOW, frames=True, **plan):
    planned = plan_blocks(table, **{"batch": 3, "chunk": 2, "how": how, **plan})
    return BlockDataset(planned, table, stores=open_stores(table) if frames else {}, how=how, frames=frames)


def same(one, other) -> bool:
    tensors = [(*block.pixels, *block.targets, block.rows) for block in (one, other)]
    equal = all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(*tensors, strict=True))
    return equal and one[3:] == other[3:]


class TestBlocks:
    def test_a_block_is_what_its_rows_say(self):
        table = make_table(LENGTHS)
        dataset, stores = open_set(table), open_stores(table)
        for block in dataset:
            rows = block.rows.numpy()
            frames = [stores[table["session"][row]].frames([table["frame"][row]])[0] for row in rows]
            inputs, targets = prepare(frames, read_persons(table).take(rows), HOW)
            found = block.pixels.make_inputs()
            for a, b in zip((*found, *block.targets), (*inputs, *targets), strict=True):
                assert torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))

    def test_a_track_read_chunk_by_chunk_has_one_draw(self):
        table = make_table({("s1", "a"): 8})
        for seed in range(4):
            how = {"seed": seed, "augment": Augment(), "limit": 6, "batch": 1}
            small, whole = (list(open_set(table, **how, chunk=chunk)) for chunk in (2, 99))
            assert (len(small), len(whole)) == (3, 1)
            for name in ("scene", "face", "heads"):
                parts = torch.cat([getattr(block.pixels, name) for block in small])
                assert torch.equal(parts, getattr(whole[0].pixels, name))
            assert torch.equal(torch.cat([block.targets.maps for block in small]), whole[0].targets.maps)
            (track,) = list_tracks(table)
            draws = seeding.generator(seed, "gaze track", 0, track.name)
            people = read_persons(table)
            drawn = draw_video(draws, people, augment=Augment(), limit=6)
            assert whole[0].rows.tolist() == list(range(drawn.start, drawn.start + 6))

    @pytest.mark.parametrize("workers", [1, 2])
    def test_the_same_bytes_however_many_workers_read(self, workers):
        how = {"seed": 5, "augment": Augment(), "limit": 6}
        dataset = open_set(make_table(LENGTHS), **how)
        alone = list(open_block_loader(dataset, workers=0))
        torch.manual_seed(3)
        before = torch.get_rng_state()
        shared = list(open_block_loader(dataset, workers=workers))
        assert torch.equal(torch.get_rng_state(), before)
        assert all(same(*pair) for pair in zip(alone, shared, strict=True))
        assert all(isinstance(block.batch_sizes, tuple) for block in shared)

    def test_it_survives_the_way_to_another_process(self):
        dataset = open_set(make_table(LENGTHS))
        copy = pickle.loads(pickle.dumps(dataset))
        assert all(same(*pair) for pair in zip(dataset, copy, strict=True))

    def test_two_people_in_a_picture_cost_one_decoding(self):
        table = make_table({("s1", "a"): 6, ("s1", "b"): 6})
        dataset = open_set(table, batch=2, chunk=3)
        assert len(dataset[0].rows) == 6
        assert dataset.stores["s1"].read == [0, 1, 2]

    def test_without_frames_there_are_targets_and_rows(self):
        table = make_table(LENGTHS)
        for bare, whole in zip(open_set(table, frames=False), open_set(table), strict=True):
            assert bare.pixels is None
            assert torch.equal(bare.targets.maps, whole.targets.maps)
            assert torch.equal(bare.rows, whole.rows)

    def test_picture_folders_of_mixed_kinds_and_sizes_are_read(self, tmp_path):
        sizes = [(64, 48), (80, 60), (40, 30)]
        for number, size in enumerate(sizes):
            Image.new("RGB", size, (50 * number, 0, 0)).save(tmp_path / f"{number:03}.{['ppm', 'png', 'bmp'][number]}")
        table = make_table({("s1", "a"): 3})
        table[["width", "height"]] = sizes
        planned = plan_blocks(table, batch=1, chunk=3, how=HOW)
        dataset = BlockDataset(planned, table, stores={"s1": PictureStore(tmp_path)}, how=HOW)
        for block in (dataset[0], pickle.loads(pickle.dumps(dataset))[0]):
            assert block.pixels.scene[:, 0, 0].tolist() == [[0, 0, 0], [50, 0, 0], [100, 0, 0]]

    def test_unknown_targets_are_read_for_inference(self):
        table = make_table(LENGTHS).assign(inside=-1, gaze_x=np.nan, gaze_y=np.nan)
        block = open_set(table, need_targets=False)[0]
        assert not block.targets.maps.any()
        assert set(block.targets.inside.tolist()) == {-1}

    def test_missing_frames_are_listed_before_anything_is_read(self):
        table = make_table(LENGTHS)
        stores = {"s1": CountingStore(7), "s2": CountingStore(3)}
        with pytest.raises(MediaError, match="2 problems") as caught:
            check_frames(table, stores)
        assert "s2: Frame 4 is asked for, but there are 3" in str(caught.value)
        assert "s3: Frame 8 is asked for, but there are 0" in str(caught.value)
        with pytest.raises(SettingsError):
            open_block_loader(open_set(table), workers=-1)


class TestMemory:
    def peak(self, length: int) -> int:
        """Most bytes held while all blocks are read."""
        table = make_table({("s1", "a"): length, ("s2", "a"): length})
        dataset = open_set(table, batch=2, chunk=4, how=Preparation(size=64))
        tracemalloc.start()
        for block in open_block_loader(dataset, workers=0):
            block.pixels.make_inputs()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    def test_it_does_not_grow_with_the_length_of_a_track(self):
        self.peak(8)  # what is made once
        short, long = self.peak(40), self.peak(800)
        block = 8 * (2 * 64 * 64 * 3 + 64 * 64 * 4)
        assert long < short + block
        assert long < 6 * block
