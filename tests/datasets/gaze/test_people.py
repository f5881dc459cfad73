"""Pictures with all their people, for Gaze-LLE."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from gaze_dataset_cases import CountingStore, make_table
from torchvision.transforms.v2 import functional as F

from nbpkg.datasets.gaze import people as pe
from nbpkg.datasets.gaze.augment import UNCHANGED, Augment
from nbpkg.datasets.gaze.blocks import open_block_loader
from nbpkg.datasets.gaze.items import IMAGENET_MEAN, IMAGENET_STD
from nbpkg.datasets.gaze.maps import gazelle_map
from nbpkg.errors import SettingsError, TableError


@pytest.fixture(scope="module")
def table():
    return make_table({("s1", "a"): 13, ("s1", "b"): 13, ("s2", "a"): 5})


def open_set(table, *, frames=True, **plan):
    planned = pe.plan_people(table, **{"batch": 4, **plan})
    stores = {"s1": CountingStore(13), "s2": CountingStore(5, start=100)}
    return pe.PeopleDataset(planned, table, stores=stores, size=28, frames=frames)


class TestPlan:
    def test_people_of_a_picture_come_together_or_one_by_one(self, table):
        together = pe.plan_people(table, batch=4)
        pictures = [rows for batch in together.batches for rows in batch]
        assert [rows.tolist() for rows in pictures[:13]] == [[frame, 13 + frame] for frame in range(13)]
        assert [rows.tolist() for rows in pictures[13:]] == [[26 + frame] for frame in range(5)]
        single = pe.plan_people(table, batch=4, one_head=True)
        assert sorted(int(row) for batch in single.batches for (row,) in batch) == list(range(31))
        assert together.left_out == single.left_out == 0

    def test_every_nth_picture_of_each_session(self, table):
        planned = pe.plan_people(table, batch=99, every=6)
        assert [rows.tolist() for rows in planned.batches[0]] == [[0, 13], [6, 19], [12, 25], [26]]

    def test_inside_heads_only(self, table):
        planned = pe.plan_people(table, batch=99, inside_only=True)
        used = np.concatenate(planned.batches[0])
        assert sorted(used) == np.flatnonzero(table["inside"] == 1).tolist()
        assert planned.left_out == int((table["inside"] == 0).sum())

    def test_same_seed_same_plan(self, table):
        how = {"batch": 4, "seed": 2, "augment": Augment()}
        first, again, later = (pe.plan_people(table, **how, epoch=epoch) for epoch in (0, 0, 1))
        assert first.changes == again.changes != later.changes
        assert all(isinstance(hash(change), int) for batch in first.changes for change in batch)
        quiet = pe.plan_people(table, batch=4)
        assert {change for batch in quiet.changes for change in batch} == {UNCHANGED}

    def test_what_cannot_be_is_refused(self, table):
        for how in ({"batch": 0}, {"every": 0}, {"augment": Augment()}):
            with pytest.raises(SettingsError):
                pe.plan_people(table, **{"batch": 2, **how})
        with pytest.raises(TableError, match="None of 31"):
            pe.plan_people(table.assign(inside=-1), batch=2)


class TestPeople:
    def test_a_batch_is_what_its_rows_say(self, table):
        for batch in open_set(table):
            rows = batch.rows.numpy()
            shown = table.iloc[rows].groupby(["session", "frame"], sort=False).size()
            assert [len(boxes) for boxes in batch.boxes] == shown.tolist()
            boxes = torch.cat(batch.boxes).numpy()
            expected = table[["x0", "y0", "x1", "y1"]].to_numpy()[rows] / [64, 48, 64, 48]
            np.testing.assert_allclose(boxes, expected, rtol=1e-6)
            gaze = table[["gaze_x", "gaze_y"]].to_numpy()[rows] / [64, 48]
            np.testing.assert_array_equal(batch.targets.maps.numpy(), gazelle_map(gaze))
            assert batch.images.shape == (len(batch.boxes), 3, 28, 28)

    def test_pictures_are_scaled_before_their_size_is(self):
        picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        planes = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
        expected = F.resize(F.normalize(planes, list(IMAGENET_MEAN), list(IMAGENET_STD)), [42, 42], antialias=True)
        torch.testing.assert_close(pe.prepare_picture(picture, size=42), expected, rtol=0, atol=1e-5)

    def test_augmented_batches_hold_together(self, table):
        for seed in range(5):
            for batch in open_set(table, seed=seed, augment=Augment()):
                boxes = torch.cat(batch.boxes)
                assert torch.isfinite(batch.images).all()
                assert ((boxes >= 0) & (boxes <= 1)).all()
                inside = batch.targets.inside == 1
                gaze = batch.targets.gaze[inside]
                assert ((gaze >= 0) & (gaze <= 1)).all()
                assert batch.targets.maps[~inside].sum() == 0

    def test_a_head_beyond_the_border_is_cut_to_the_picture(self, table):
        odd = table.assign(x0=-20.0, x1=200.0)
        odd.loc[0, ["x0", "x1", "y0", "y1"]] = [30.0, 10.0, 20.0, 20.0]
        boxes = open_set(odd, seed=1, augment=Augment(), batch=99)[0].boxes
        assert all(((one >= 0) & (one <= 1)).all() for one in boxes)

    def test_workers_and_pickles_and_bare_batches(self, table):
        dataset = open_set(table, seed=3, augment=Augment())
        loaded = list(open_block_loader(dataset, workers=2))
        copied = list(pickle.loads(pickle.dumps(dataset)))
        bare = list(open_set(table, seed=3, augment=Augment(), frames=False))
        for one, two, three in zip(loaded, copied, bare, strict=True):
            assert torch.equal(one.images, two.images)
            assert three.images is None
            for name in ("rows", "targets"):
                torch.testing.assert_close(getattr(one, name), getattr(three, name), equal_nan=True)


def test_a_table_of_two_sessions_with_any_index_is_read_alike(table):
    mixed = pd.concat([table.iloc[20:], table.iloc[:20]])
    planned = pe.plan_people(mixed, batch=99, every=6)
    assert {tuple(sorted(mixed.iloc[rows]["frame"])) for rows in planned.batches[0]} == {(0, 0), (6, 6), (12, 12), (0,)}
