"""Which rows each block holds."""

import numpy as np
import pandas as pd
import pytest
from gaze_dataset_cases import make_table, read_facts
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.annotations.gaze.smoothing import split_at_gaps
from nbpkg.datasets.gaze import plans
from nbpkg.datasets.gaze.augment import UNCHANGED, Augment
from nbpkg.datasets.gaze.items import Preparation
from nbpkg.datasets.gaze.pictures import merge_annotators, plan_pictures
from nbpkg.errors import SettingsError, TableError

HOW = Preparation(size=16)


@pytest.fixture(scope="module")
def table():
    return make_table({("s1", "a"): 7, ("s1", "b"): 3, ("s2", "a"): 5, ("s3", "a"): 7, ("s3", "b"): 1})


def plan(table, **how):
    return plans.plan_blocks(table, **{"batch": 2, "chunk": 3, "how": HOW, **how})


class TestPacking:
    facts = read_facts("collate")

    def test_published_order_comes_back(self):
        track, step, sizes = plans.pack_tracks(self.facts["lengths_in"])
        assert sizes.tolist() == self.facts["batch_sizes"]
        assert np.stack([track, step], axis=1).tolist() == self.facts["packed_seq_frame"]

    @pytest.mark.parametrize("chunk", [2, 3, 4])
    def test_published_chunks_come_back(self, chunk):
        track, step, sizes = plans.pack_tracks(self.facts["lengths_in"])
        packed = np.stack([track, step], axis=1)
        lengths = {(f"s{place}", "a"): length for place, length in enumerate(self.facts["lengths_in"])}
        planned = plan(make_table(lengths), batch=5, chunk=chunk).blocks
        found = plans.cut_blocks(sizes, chunk)
        for (part, sizes_here), block, golden in zip(found, planned, self.facts["chunks"][str(chunk)], strict=True):
            assert packed[part].tolist() == golden["frames"]
            assert list(sizes_here) == list(block.batch_sizes) == golden["batch_sizes"]
            assert block.keep == golden["state_rows"]
            assert block.first == (part.start == 0)
            assert block.draws.tolist() == packed[part][:, 0].tolist()

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 4), st.integers(1, 5))
    def test_every_row_comes_once_in_its_order_and_state_rows_follow_tracks(self, lengths, batch, chunk):
        table = make_table({(f"s{place}", "a"): length for place, length in enumerate(lengths)})
        planned = plan(table, batch=batch, chunk=chunk)
        state: list[int] = []
        seen: dict[int, list[int]] = {}
        for block in planned.blocks:
            assert len(block.rows) == sum(block.batch_sizes)
            if block.first:
                state = block.draws[: block.keep].tolist()
            state = state[: block.keep]
            for start, size in zip(np.cumsum([0, *block.batch_sizes[:-1]]), block.batch_sizes, strict=True):
                assert block.draws[start : start + size].tolist() == state[:size]
            for row, draw in zip(block.rows.tolist(), block.draws.tolist(), strict=True):
                seen.setdefault(draw, []).append(row)
            state = state[: block.batch_sizes[-1]]
        assert sorted(row for rows in seen.values() for row in rows) == list(range(len(table)))
        assert all(rows == sorted(rows) for rows in seen.values())


class TestTracks:
    def test_they_follow_the_table_and_are_named(self, table):
        tracks = plans.list_tracks(table)
        assert [track.name for track in tracks] == ["s1/a/a1/0", "s1/b/a1/0", "s2/a/a1/0", "s3/a/a1/0", "s3/b/a1/0"]
        mixed = table.sample(frac=1, random_state=3)
        for track in plans.list_tracks(mixed):
            assert mixed["frame"].iloc[track.rows].tolist() == list(range(len(track.rows)))

    def test_rows_that_cannot_be_used_are_left_out_and_counted(self, table):
        spoilt = table.copy()
        spoilt.loc[0, "x0"] = np.nan
        spoilt.loc[1, "valid"] = 0
        spoilt.loc[2, "inside"] = -1
        spoilt.loc[3, ["inside", "gaze_x"]] = [1, np.nan]
        assert plan(spoilt).left_out == 4
        assert plan(spoilt, need_targets=False).left_out == 1
        with pytest.raises(TableError, match="None of 23 rows can be used"):
            plan(spoilt.assign(valid=0))
        with pytest.raises(TableError, match="None of 0 rows can be used"):
            plan(spoilt.iloc[:0])

    def test_gaps_run_through_unless_the_table_is_cut_there(self):
        table = make_table({("s1", "a"): 6})
        table.loc[3:, "frame"] += 20
        assert len(plans.list_tracks(table)) == 1
        assert [len(track.rows) for track in plans.list_tracks(split_at_gaps(table, longest=5))] == [3, 3]

    def test_segments_and_raters_are_tracks_of_their_own(self, table):
        second = table.assign(rater="a2", segment=(table["frame"] > 2).astype(int))
        assert len(plans.list_tracks(pd.concat([table, second], ignore_index=True))) == 5 + 8


class TestTraining:
    lengths = {(f"s{place}", "a"): 60 for place in range(6)}

    def test_same_seed_same_plan_another_epoch_another(self):
        table = make_table(self.lengths)
        how = {"seed": 3, "limit": 50, "augment": Augment()}
        first, again, later = (plan(table, **how, epoch=epoch) for epoch in (0, 0, 1))
        assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first.blocks, again.blocks, strict=True))
        assert first.changes == again.changes
        assert first.changes != later.changes
        assert first.tracks != later.tracks

    def test_windows_are_consecutive_of_the_limit_and_every_start_occurs(self):
        table = make_table({("s1", "a"): 5})
        starts = set()
        for epoch in range(40):
            planned = plan(table, seed=0, epoch=epoch, limit=3, chunk=9)
            (block,) = planned.blocks
            assert np.diff(block.rows).tolist() == [1, 1]
            starts.add(int(block.rows[0]))
        assert starts == {0, 1, 2}

    def test_a_draw_belongs_to_the_track_wherever_it_comes(self):
        table = make_table(self.lengths)
        whole = plan(table, seed=1, augment=Augment(), limit=50)
        part = plan(table[table["session"] != "s2"].reset_index(drop=True), seed=1, augment=Augment(), limit=50)
        drawn = dict(zip(whole.tracks, whole.changes, strict=True))
        assert all(drawn[name] == change for name, change in zip(part.tracks, part.changes, strict=True))

    def test_scores_take_whole_unchanged_tracks_in_order(self, table):
        planned = plan(table)
        assert set(planned.changes) == {UNCHANGED}
        assert list(planned.tracks) == [track.name for track in plans.list_tracks(table)]
        assert planned.largest == int(np.argmax([len(block.rows) for block in planned.blocks]))

    @pytest.mark.parametrize(
        "how", [{"batch": 0}, {"chunk": 0}, {"seed": 1, "limit": 0}, {"limit": 50}, {"augment": Augment()}]
    )
    def test_impossible_settings_are_refused(self, table, how):
        with pytest.raises(SettingsError):
            plan(table, **how)


class TestPictures:
    def test_each_row_comes_once_and_only_training_shuffles(self, table):
        quiet = plan_pictures(table, batch=4, how=HOW)
        assert np.concatenate([block.rows for block in quiet.blocks]).tolist() == list(range(23))
        assert [block.batch_sizes for block in quiet.blocks] == [(4,)] * 5 + [(3,)]
        loud = plan_pictures(table, batch=4, how=HOW, seed=1, augment=Augment())
        order = np.concatenate([block.rows for block in loud.blocks])
        assert sorted(order) == list(range(23))
        assert order.tolist() != list(range(23))
        assert all(block.first and block.keep == len(block.rows) for block in loud.blocks)
        again = plan_pictures(table, batch=7, how=HOW, seed=1, augment=Augment())
        assert loud.changes == again.changes
        assert len(set(loud.changes)) > 15

    def test_annotators_of_a_person_come_together(self, table):
        second = table.assign(rater="a2", gaze_x=32.0, gaze_y=12.0, inside=1)
        first, points = merge_annotators(pd.concat([table, second.iloc[:4]], ignore_index=True))
        pd.testing.assert_frame_equal(first, table)
        assert points.shape == (23, 20, 2)
        assert points[:4, 1].tolist() == [[0.5, 0.25]] * 4
        assert np.isnan(points[4:, 1:]).all()
        inside = table["inside"].to_numpy() == 1
        np.testing.assert_allclose(points[inside, 0, 0] * 64, table["gaze_x"][inside])
        assert np.isnan(points[~inside, 0]).all()
        with pytest.raises(TableError, match="21 annotators"):
            merge_annotators(pd.concat([table.iloc[:1]] * 21))
