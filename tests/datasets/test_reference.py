"""The published sampling, draw for draw."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.datasets.reference import PublishedSampling, label_clip, read_sample
from nbpkg.errors import MediaError, TableError


@pytest.fixture(scope="module")
def case(golden):
    return json.loads((golden / "video_dataset_open.json").read_text())


@pytest.fixture(scope="module")
def spans(golden, case):
    rows = pd.read_csv(golden / "annotations_open_stratified.csv").rename(columns={"annotator": "rater"})
    return rows[(rows["task"] == case["task"]) & (rows["variable"] == case["variable"])]


@pytest.fixture(scope="module", params=["3.125", "3.12"])
def sampling(request, spans, case):
    fold = spans.loc[spans["fold"] == case["test_fold"], "session"].unique().tolist()
    return PublishedSampling(spans, folds=[fold], fps=float(request.param)), case["fps_cases"][request.param]


def made(rows, **how):
    spans = pd.DataFrame(rows, columns=["session", "rater", "engaged", "start_ms", "end_ms"])
    return PublishedSampling(spans, folds=[sorted(set(spans["session"]))], **how)


LONG = [("s", "ann", 1, 100, 9000), ("s", "ann", 0, 9000, 30_000), ("s", "bob", 1, 300, 29_000)]


class TestGolden:
    def test_sessions_raters_and_times(self, sampling):
        ours, facts = sampling
        assert (len(ours), ours.sessions) == (facts["len"], facts["sessions"])
        for session, raters in facts["annotators"].items():
            assert ours.list_raters(session) == raters
            spans = {rater: list(ours.get_span(session, rater)) for rater in raters}
            assert spans == facts["task_span"][session]
            assert list(ours.get_common_times(session)) == facts["common_span"][session]

    def test_clips_at_given_starts(self, sampling):
        ours, facts = sampling
        found = [list(ours.get_sample(*row[:3])) for row in facts["get_sample"]]
        assert found == facts["get_sample"]
        assert {row[-1] for row in found} == {facts["duration_frames"]}

    def test_drawn_clips(self, sampling):
        ours, facts = sampling
        torch.manual_seed(1234)
        for index, start_ms, label, first in facts["getitem_seeded"]:
            sample = ours[index]
            assert (sample.label, sample.first) == (label, first)
            assert sample.start_ms == pytest.approx(start_ms, abs=1e-3)

    def test_errors_come_where_the_published_program_stops(self, sampling, case):
        ours, _ = sampling
        session = ours.sessions[0]
        rater = ours.list_raters(session)[0]
        start, end = ours.get_span(session, rater)
        calls = {
            "before_task": (session, rater, start - 1),
            "past_end": (session, rater, end - 4999),
            "unknown_session": ("nobody", rater, start),
            "unknown_annotator": (session, "nobody", start),
        }
        assert calls.keys() == case["errors"].keys()
        for call in calls.values():
            with pytest.raises(TableError):
                ours.get_sample(*call)
        assert ours.get_sample(session, rater, end - 5000).start_ms == end - 5000

    def test_labels_at_the_border_and_of_reversed_rows(self, case):
        half = np.array([[1, 0, 2500], [0, 2500, 9000]])
        assert label_clip(half, 0) == case["label_tie_exactly_half"]
        assert label_clip(half + [0, 0, 1], 0) == case["label_just_over_half"]
        reversed_rows = case["negative_span_label"]
        assert label_clip(np.array(reversed_rows["rows"]), 0) == reversed_rows["label"] == 0
        assert label_clip(np.array([[1, 0, 4000]]), 0) == 1


class TestSampling:
    def test_folds_keep_their_order_and_sessions_are_sorted_in_them(self, spans):
        ours = PublishedSampling(spans, folds=[["fp31", "fp17"], ["fp14", "fp13"]], subdivision=3)
        assert ours.sessions == ["fp17", "fp31", "fp13", "fp14"]
        assert [ours[index].session for index in range(len(ours))] == [s for s in ours.sessions for _ in range(3)]
        with pytest.raises(IndexError):
            ours[12]

    def test_a_task_shorter_than_a_clip_starts_before_itself(self):
        ours = made([("s", "ann", 1, 9000, 12_000)], subdivision=2, fps=3.125)
        torch.manual_seed(0)
        sample = ours[1]
        assert 7000 < sample.start_ms <= 8000
        assert sample.label == 1

    def test_a_clip_past_the_end_of_the_video_is_an_error(self):
        assert made(LONG, fps=3.125, lengths={"s": 75}).get_sample("s", "ann", 19_200).first == 60
        with pytest.raises(MediaError, match="takes frames 60 to 74"):
            made(LONG, fps=3.125, lengths={"s": 74}).get_sample("s", "ann", 19_200)

    def test_common_times_that_start_at_zero_are_refused_as_published(self):
        with pytest.raises(TableError, match="common time 0 to"):
            made([("s", "ann", 1, 0, 9000)]).get_common_times("s")
        assert made(LONG).get_common_times("s") == (300, 29_000)

    def test_a_common_start_leaves_room_for_the_clip_in_every_raters_task(self):
        ours = made(LONG)
        torch.manual_seed(0)
        starts = [ours.draw_common_start("s") for _ in range(200)]
        assert 300 <= min(starts) < 700
        assert 23_500 < max(starts) <= 24_000
        with pytest.raises(TableError, match="A clip of 5000 ms"):
            made([("s", "ann", 1, 1, 4000)]).draw_common_start("s")

    def test_a_session_of_a_fold_without_labels_is_an_error(self, spans):
        with pytest.raises(TableError, match="'fp99' has no labels"):
            PublishedSampling(spans, folds=[["fp99"]])

    @pytest.mark.parametrize(("fps", "first"), [(3.125, 937), (3.12, 936)])
    def test_frames_are_those_of_the_rate_believed(self, make_store, number, fps, first):
        rows = [("s", "ann", 1, 1000, 400_000)]
        ours = made(rows, fps=fps)
        frames = read_sample(make_store("s", 1000), ours.get_sample("s", "ann", 300_000))
        assert number(frames).tolist() == list(range(first, first + 15))
