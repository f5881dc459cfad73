"""Progress per painter and what comes next."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from nbpkg.attention.painting.queue import next_snippet, queue_states
from nbpkg.attention.painting.strokes import Painting
from nbpkg.errors import PaintingError

QUEUE = pd.DataFrame(
    [("a", "ew", 2), ("b", "ew", 0), ("c", "ew", 1), ("a", "mf", 0), ("b", "mf", 1)],
    columns=["snippet_id", "painter", "position"],
)


def painting(snippet_id: str, painter: str, state: str, seconds: float = 0.0) -> Painting:
    return Painting(snippet_id, painter, state=state, seconds=seconds)


def test_progress_counts_every_state_and_time_of_what_is_done():
    paintings = [
        painting("a", "ew", "done", 10.0),
        painting("b", "ew", "done", 20.0),
        painting("c", "ew", "begun", 5.0),
        painting("a", "mf", "skipped", 1.0),
        painting("elsewhere", "mf", "done", 99.0),
        painting("a", "myz", "done", 99.0),
    ]
    found = queue_states(QUEUE, paintings).set_index("painter")
    assert list(found.columns) == ["snippets", "todo", "begun", "done", "skipped", "seconds", "seconds_per_snippet"]
    assert found.loc["ew"].tolist() == [3, 0, 1, 2, 0, 35.0, 15.0]
    assert found.loc["mf"].tolist()[:-1] == [2, 1, 0, 0, 1, 1.0]
    assert math.isnan(found.loc["mf", "seconds_per_snippet"])


def test_nothing_painted_and_nothing_queued():
    assert queue_states(QUEUE, [])["todo"].tolist() == [3, 2]
    assert queue_states(QUEUE.iloc[:0], []).empty


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, "b"),
        ({"b": "begun"}, "b"),
        ({"b": "done"}, "c"),
        ({"b": "skipped", "c": "done"}, "a"),
        ({"b": "done", "c": "skipped", "a": "done"}, None),
    ],
)
def test_the_next_is_the_first_in_the_painters_order_that_is_not_finished(states, expected):
    paintings = [painting(snippet, "ew", state) for snippet, state in states.items()]
    assert next_snippet(QUEUE, paintings, "ew") == expected
    assert next_snippet(QUEUE, paintings, "mf") == "a"


def test_a_painter_without_a_queue_is_named():
    with pytest.raises(PaintingError, match="'myz'") as caught:
        next_snippet(QUEUE, [], "myz")
    assert "ew, mf" in caught.value.expected
