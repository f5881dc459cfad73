"""Training clips drawn at random."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.datasets.draws import COLUMNS, draw_clips, label_draws
from nbpkg.errors import SettingsError, TableError

TASKS = pd.DataFrame(
    [
        ("s1", "ann", "play", 1000, 61_000),
        ("s1", "bob", "play", 2000, 63_000),
        ("s1", "ann", "rest", 61_000, 90_000),
        ("s2", "ann", "play", 0, 50_000),
        ("s2", "cat", "play", 500, 49_000),
        ("s3", "bob", "play", 7000, 12_000),
    ],
    columns=["session", "rater", "task", "start_ms", "end_ms"],
)
HOW = {"clip_ms": 5000, "chunks": 10, "seed": 3}


def draw(tasks=TASKS, *, epoch=0, **how):
    return draw_clips(tasks, **{**HOW, **how}, epoch=epoch)[0]


class TestDrawClips:
    def test_one_clip_of_each_chunk_of_each_task_inside_the_raters_span(self):
        draws = draw()
        assert list(draws.columns) == COLUMNS
        assert draws["draw_id"].is_unique
        assert draws["draw_id"].iloc[0] == "s1_play_0_0"
        assert draws.groupby(["session", "task"])["chunk"].apply(list).tolist() == [list(range(10))] * 4
        joined = draws.merge(TASKS, on=["session", "task", "rater"], suffixes=("", "_task"), validate="many_to_one")
        width = (joined["end_ms_task"] - joined["start_ms_task"] - 5000) / 10
        low = joined["start_ms_task"] + joined["chunk"] * width
        assert len(joined) == len(draws)
        assert (joined["start_ms"] >= np.floor(low)).all()
        assert (joined["start_ms"] <= low + width).all()
        assert (joined["end_ms"] - joined["start_ms"] == 5000).all()
        assert (joined["end_ms"] <= joined["end_ms_task"]).all()

    def test_starts_fill_their_chunks_evenly_and_raters_come_alike(self):
        draws = pd.concat([draw(TASKS[TASKS["session"] == "s1"], epoch=epoch) for epoch in range(100)])
        draws = draws[draws["task"] == "play"].merge(TASKS, on=["session", "task", "rater"], suffixes=("", "_task"))
        width = (draws["end_ms_task"] - draws["start_ms_task"] - 5000) / 10
        share = (draws["start_ms"] - draws["start_ms_task"]) / width - draws["chunk"]
        assert np.abs(np.quantile(share, [0.1, 0.5, 0.9]) - [0.1, 0.5, 0.9]).max() < 0.05
        assert abs((draws["rater"] == "ann").mean() - 0.5) < 0.06
        assert abs(np.corrcoef(share, draws["rater"] == "ann")[0, 1]) < 0.1

    def test_neither_order_nor_other_sessions_change_a_draw(self):
        whole = draw()
        assert draw(TASKS.sample(frac=1, random_state=1)).equals(whole)
        alone = draw(TASKS[TASKS["session"] == "s2"])
        assert alone.equals(whole[whole["session"] == "s2"].reset_index(drop=True))

    def test_epochs_seeds_tasks_and_sessions_differ(self):
        same = TASKS[TASKS["rater"] == "ann"].assign(start_ms=0, end_ms=90_000)
        draws = pd.concat([draw(same), draw(same, epoch=1), draw(same, seed=4)], keys=["base", "epoch", "seed"])
        starts = [
            tuple(rows["start_ms"]) for _, rows in draws.groupby([draws.index.get_level_values(0), "session", "task"])
        ]
        assert len(set(starts)) == len(starts) == 9

    def test_one_rater_can_be_asked_for(self):
        draws = draw(rater="bob")
        assert set(draws["session"]) == {"s1", "s3"}
        assert set(draws["rater"]) == {"bob"}
        with pytest.raises(SettingsError, match="'eve' rated no task"):
            draw(rater="eve")

    def test_a_span_as_long_as_a_clip_gives_that_clip_and_a_shorter_one_is_told(self):
        assert set(draw()[lambda rows: rows["session"] == "s3"]["start_ms"]) == {7000}
        short = TASKS.assign(end_ms=TASKS["end_ms"].where(TASKS["rater"] != "bob", TASKS["start_ms"] + 4999))
        draws, dropped = draw_clips(short, **HOW, epoch=0)
        assert set(draws["session"]) == {"s1", "s2"}
        assert set(draws[draws["session"] == "s1"]["rater"]) == {"ann"}
        assert dropped["key"].tolist() == ["s1, play, bob", "s3, play, bob"]
        assert dropped["rows"].sum() == 2
        assert "4999 ms" in dropped["reason"].iloc[0]
        tables.check(dropped, "dropped")

    def test_nothing_to_draw_gives_tables_without_rows(self):
        draws, dropped = draw_clips(TASKS.iloc[:0], **HOW, epoch=0)
        assert (list(draws.columns), len(draws), len(dropped)) == (COLUMNS, 0, 0)
        assert len(draw_clips(TASKS, clip_ms=100_000, chunks=2, seed=0, epoch=0)[1]) == len(TASKS)

    @pytest.mark.parametrize("how", [{"chunks": 0}, {"clip_ms": 0}])
    def test_impossible_numbers_are_refused(self, how):
        with pytest.raises(SettingsError, match="cannot be drawn"):
            draw(**how)


class TestLabelDraws:
    spans = pd.DataFrame(
        [
            ("s", "ann", "play", "smile", "no", 0, 7500),
            ("s", "ann", "play", "smile", "yes", 7500, 9000),
            ("s", "ann", "play", "smile", "loud", 9000, 20_000),
            ("s", "bob", "play", "smile", "no", 0, 20_000),
            ("s", "bob", "play", "gaze", "yes", 0, 20_000),
        ],
        columns=["session", "rater", "task", "variable", "value", "start_ms", "end_ms"],
    )

    def label(self, *clips, variable="smile"):
        draws = pd.DataFrame([("s", "play", *clip) for clip in clips], columns=COLUMNS[1:4] + COLUMNS[-2:])
        labels = label_draws(draws, self.spans, variable=variable, absent="no")
        assert labels.dtype == np.int64
        return labels.tolist()

    def test_exactly_half_is_negative_and_a_millisecond_more_positive(self):
        assert self.label(("ann", 5000, 10_000), ("ann", 5001, 10_001)) == [0, 1]
        assert self.label(("ann", 7000, 8001), ("ann", 7000, 8000)) == [1, 0]

    def test_each_clip_has_its_own_raters_label_and_variable(self):
        assert self.label(("bob", 8000, 13_000), ("ann", 8000, 13_000), ("bob", 9000, 14_000)) == [0, 1, 0]
        assert self.label(("bob", 8000, 13_000), variable="gaze") == [1]

    def test_a_rater_without_spans_is_an_error(self):
        with pytest.raises(TableError, match="no label for 'gaze'"):
            self.label(("bob", 0, 5000), ("ann", 0, 5000), variable="gaze")

    def test_rows_of_any_index_keep_their_order(self):
        draws = pd.DataFrame(
            {"session": "s", "task": "play", "rater": ["ann", "bob", "ann"], "start_ms": 9000, "end_ms": 14_000},
            index=[7, 7, 2],
        )
        assert label_draws(draws, self.spans, variable="smile", absent="no").tolist() == [1, 0, 1]
