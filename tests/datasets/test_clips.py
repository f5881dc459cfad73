"""Clips as a data set, as a loader and session by session."""

from __future__ import annotations

import pickle
import tracemalloc
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.datasets.clips import ClipDataset, count_repeated, iterate_session_clips, open_loader
from nbpkg.datasets.preprocess import Preprocess, crop, normalise, read_clip
from nbpkg.datasets.transforms import Augment
from nbpkg.errors import MediaError, SettingsError, TableError
from nbpkg.video.clips import grid
from nbpkg.video.frames import FrameStore

HALF = Preprocess(size=8, frames=15, mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.5))


def table(*rows):
    return pd.DataFrame(rows, columns=["session", "start_ms", "end_ms"])


CLIPS = table(("a", 0, 5000), ("b", 3000, 8000), ("a", 27_001, 32_001), ("a", 29_000, 34_000), ("b", 5000, 10_000))
LABELS = [0, 1, 1, 0, 1]


class Counting(FrameStore):
    """A store that counts which frames it is asked for."""

    def __init__(self, path):
        super().__init__(path)
        self.asked = Counter()

    def frames(self, indices):
        self.asked.update(np.asarray(indices).tolist())
        return super().frames(indices)


@pytest.fixture
def stores(make_store):
    return {"a": make_store("a", 100), "b": make_store("b", 80, encoding="jpeg"), "c": make_store("c", 3)}


def make(stores, *, clips=CLIPS, labels=LABELS, **how):
    return ClipDataset(clips, labels, stores=stores, preprocess=HALF, **how)


class TestClipDataset:
    def test_gives_the_central_square_normalised_and_the_label(self, stores):
        dataset = make(stores)
        assert len(dataset) == 5
        for (session, start, end), label, (clip, found) in zip(
            CLIPS.itertuples(index=False), LABELS, dataset, strict=True
        ):
            frames, _ = read_clip(stores[session], start, end, count=15)
            assert torch.equal(clip, normalise(torch.from_numpy(crop(frames, 8)), HALF))
            assert (clip.shape, clip.dtype, found, type(found)) == ((3, 15, 8, 8), torch.float32, label, int)
        assert torch.equal(dataset[-1][0], dataset[4][0])

    def test_counts_what_is_repeated_at_the_ends_of_videos(self, stores):
        expected = [read_clip(stores[s], start, end, count=15)[1] for s, start, end in CLIPS.itertuples(index=False)]
        assert expected == [0, 0, 0, 6, 0]
        assert make(stores).repeated == (1, 6) == count_repeated(CLIPS, stores, HALF)

    def test_what_cannot_be_read_is_told_before_the_first_clip(self, stores):
        with pytest.raises(MediaError, match="32000 to 37000"):
            make(stores, clips=CLIPS.replace({"start_ms": {29_000: 32_000}, "end_ms": {34_000: 37_000}}))
        with pytest.raises(MediaError, match="'b' has clips but no frame store"):
            make({"a": stores["a"]})
        with pytest.raises(TableError, match=r"labels of shape \[4\] for 5 clips"):
            make(stores, labels=LABELS[1:])

    def test_changes_depend_on_seed_and_index_alone(self, stores):
        dataset = make(stores, augment=Augment(), seed=4)
        first = [dataset[index][0] for index in range(5)]
        torch.manual_seed(77)
        again = {index: make(stores, augment=Augment(), seed=4)[index][0] for index in (3, 0, 4, 1, 2)}
        assert all(torch.equal(first[index], again[index]) for index in range(5))
        assert first[0].shape == (3, 15, 8, 8)
        other = make(stores, augment=Augment(), seed=5)
        assert not any(torch.equal(first[index], other[index][0]) for index in range(5))
        twice = make(stores, clips=table(CLIPS.iloc[0], CLIPS.iloc[0]), labels=[0, 0], augment=Augment(), seed=4)
        assert not torch.equal(twice[0][0], twice[1][0])

    def test_can_be_sent_to_another_process(self, stores):
        dataset = make(stores, augment=Augment(), seed=4)
        copy = pickle.loads(pickle.dumps(dataset))
        assert all(torch.equal(dataset[index][0], copy[index][0]) for index in range(5))
        assert set(copy.stores) == {"a", "b"}


class TestLoader:
    @pytest.mark.parametrize("augment", [None, Augment()])
    def test_workers_change_nothing(self, stores, augment):
        dataset = make(stores, augment=augment, seed=2)
        crop(np.zeros((1, 700, 900, 3), np.uint8), 100)  # starts OpenCV's threads here, which a fork must not use
        torch.manual_seed(5)
        alone = list(open_loader(dataset, batch_size=2, workers=0, shuffle_seed=1))
        expected = torch.rand(1)
        torch.manual_seed(6)
        shared = list(open_loader(dataset, batch_size=2, workers=2, shuffle_seed=1))
        assert [len(labels) for _, labels in alone] == [2, 2, 1]
        for (clips, labels), (same, numbers) in zip(alone, shared, strict=True):
            assert torch.equal(clips, same)
            assert torch.equal(labels, numbers)
            assert labels.dtype == torch.int64
        torch.manual_seed(5)
        assert torch.equal(torch.rand(1), expected)  # reading took nothing from the global generator

    def test_order_is_seeded_and_each_clip_comes_once(self, stores):
        dataset = make(stores, clips=table(*[("a", 10 * k, 5000 + 10 * k) for k in range(30)]), labels=np.arange(30))

        def order(**how):
            return torch.cat([labels for _, labels in open_loader(dataset, batch_size=7, workers=0, **how)]).tolist()

        assert order() == list(range(30))
        assert order(shuffle_seed=1) == order(shuffle_seed=1) != order(shuffle_seed=2)
        assert sorted(order(shuffle_seed=1)) == list(range(30)) != order(shuffle_seed=1)
        assert order(shuffle_seed=0) != list(range(30))
        assert len(order(drop_last=True)) == 28
        loader = open_loader(dataset, batch_size=30, workers=0, shuffle_seed=3)
        assert torch.equal(next(iter(loader))[1], next(iter(loader))[1])

    @pytest.mark.parametrize("how", [{"batch_size": 0, "workers": 0}, {"batch_size": 1, "workers": -1}])
    def test_impossible_numbers_are_refused(self, stores, how):
        with pytest.raises(SettingsError, match="cannot be loaded"):
            open_loader(make(stores), **how)

    def test_no_clip_is_refused(self, stores):
        with pytest.raises(SettingsError, match="0 clips"):
            open_loader(make(stores, clips=CLIPS.iloc[:0], labels=[]), batch_size=1, workers=0)


class TestSession:
    @pytest.mark.parametrize("encoding", ["raw", "jpeg"])
    @pytest.mark.parametrize("stride_ms", [400, 2500, 5000, 9000])
    def test_no_frame_is_asked_for_twice_and_clips_are_as_in_the_data_set(self, make_store, encoding, stride_ms):
        store = Counting(make_store("s", 200, encoding=encoding).path)
        windows = grid(130, 65_000, clip_ms=5000, stride_ms=stride_ms)
        clips = table(*(("s", *window) for window in windows.tolist())).sample(frac=1, random_state=0)
        found = dict(iterate_session_clips(store, clips, HALF))
        assert set(store.asked.values()) == {1}
        assert sorted(found) == list(range(len(clips)))
        dataset = ClipDataset(clips, np.zeros(len(clips)), stores={"s": FrameStore(store.path)}, preprocess=HALF)
        assert set(store.asked) == set(dataset.numbers.ravel())
        for row, frames in found.items():
            assert torch.equal(normalise(torch.from_numpy(frames), HALF), dataset[row][0])

    def test_clips_of_different_lengths_share_frames_too(self, make_store):
        store = Counting(make_store("s", 200).path)
        clips = table(("s", 0, 60_000), ("s", 300, 900), ("s", 20_000, 21_000), ("s", 20_000, 25_000), ("s", 0, 500))
        found = dict(iterate_session_clips(store, clips, HALF))
        assert set(store.asked.values()) == {1}
        for row, (_, start, end) in enumerate(clips.itertuples(index=False)):
            assert np.array_equal(found[row], crop(read_clip(FrameStore(store.path), start, end, count=15)[0], 8))

    def test_clips_may_be_changed_by_whoever_gets_them(self, make_store):
        store, clips = make_store("s", 100), table(("s", 0, 5000), ("s", 1000, 6000))
        expected = [frames.copy() for _, frames in iterate_session_clips(store, clips, HALF)]
        found = []
        for _, frames in iterate_session_clips(store, clips, HALF):
            found.append(frames.copy())
            frames[:] = 0
        assert np.array_equal(found, expected)

    def test_holds_a_few_clips_only(self, make_store):
        store = make_store("s", 1500, size=(32, 32))
        windows = grid(0, 470_000, clip_ms=5000, stride_ms=1000)
        large = Preprocess(size=32, frames=15, mean=HALF.mean, std=HALF.std)
        tracemalloc.start()
        for _ in iterate_session_clips(store, table(*(("s", *window) for window in windows.tolist())), large):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1500 * 32 * 32 * 3 / 4

    def test_a_clip_outside_the_video_is_told_at_once(self, make_store):
        clips = table(("s", 0, 5000), ("s", 90_000, 95_000))
        with pytest.raises(MediaError, match="90000 to 95000"):
            next(iterate_session_clips(make_store("s", 100), clips, HALF))

    def test_no_clip_reads_nothing(self, make_store):
        assert list(iterate_session_clips(make_store("s", 10), CLIPS.iloc[:0], HALF)) == []
