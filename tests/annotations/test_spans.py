"""Interval algebra: fixed cases, and properties held for any marks."""

import numpy as np
import pandas as pd
import pytest
from annotation_cases import make_scheme
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.annotations.sampling import common_window, unroll
from nbpkg.annotations.spans import check_partition, durations, fill_tasks, label_at, overlap_ms, task_spans
from nbpkg.annotations.sweep import sweep
from nbpkg.errors import TableError

TASKS = [("people", 0, 100), ("eggs", 110, 200), ("drums", 195, 300)]
RULES = ["earlier_start", "later_start", "positive"]
VALUES = ["attending", "excited"]


def annotate(marks, tasks=TASKS, rater="ew"):
    rows = [("task", name, start, end) for name, start, end in tasks] + [("attending", *mark) for mark in marks]
    table = pd.DataFrame(rows, columns=["tier", "value", "start_ms", "end_ms"])
    return table.assign(session="fp19", rater=rater, file="f", row=range(1, len(table) + 1))


def fill(marks, tasks=TASKS, **changes):
    scheme = make_scheme(**changes)
    table = annotate(marks, tasks)
    spans, dropped = fill_tasks(table, task_spans(table, scheme), scheme)
    return spans[spans["variable"] == "attending"], dropped


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("earlier_start", [("no", 0, 10), ("attending", 10, 60), ("excited", 60, 70), ("no", 70, 100)]),
        ("later_start", [("no", 0, 10), ("attending", 10, 40), ("excited", 40, 50), ("attending", 50, 55),
                         ("excited", 55, 70), ("no", 70, 100)]),
        ("positive", [("no", 0, 10), ("attending", 10, 40), ("excited", 40, 50), ("attending", 50, 55),
                      ("excited", 55, 70), ("no", 70, 100)]),
    ],
)  # fmt: skip
def test_overlap_rules(rule, expected):
    spans, dropped = fill([("attending", 10, 60), ("excited", 40, 50), ("excited", 55, 70)], overlaps=rule)
    people = spans[spans["task"] == "people"]
    assert list(people[["value", "start_ms", "end_ms"]].itertuples(index=False, name=None)) == expected
    overruled = dropped.loc[dropped["key"] == "overlaps", "rows"].tolist()
    assert overruled == ([1] if rule == "earlier_start" else [])


def test_positive_prefers_the_stronger_value_whatever_the_order():
    spans, _ = fill([("excited", 10, 60), ("attending", 40, 70)], overlaps="positive")
    people = spans[spans["task"] == "people"]
    assert people["value"].tolist() == ["no", "excited", "attending", "no"]
    assert people["end_ms"].tolist() == [10, 60, 70, 100]


def test_overlaps_are_refused_when_asked():
    with pytest.raises(TableError, match=r"Annotations of 'attending' overlap\.[\s\S]*fp19, ew, people"):
        fill([("attending", 10, 60), ("excited", 40, 50)], overlaps="error")


def test_what_is_dropped_is_counted():
    spans, dropped = fill([("attending", 90, 120), ("excited", 105, 108), ("attending", 400, 500)])
    assert spans.loc[spans["value"] == "attending", ["task", "start_ms", "end_ms"]].to_numpy().tolist() == [
        ["people", 90, 100],
        ["eggs", 110, 120],
    ]
    assert dropped[["key", "rows", "reason"]].to_numpy().tolist() == [
        ["variable attending", 2, "outside every task, or without length"],
        ["variable attending", 1, "part outside a task cut off (10 ms in all)"],
    ]


marks = st.lists(
    st.tuples(st.sampled_from(VALUES), st.integers(0, 320), st.integers(1, 120)).map(
        lambda m: (m[0], m[1], m[1] + m[2])
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(marks, st.sampled_from(RULES))
def test_fill_is_a_partition_and_labels_every_instant_by_the_rule(some, rule):
    spans, _ = fill(some, overlaps=rule)
    for name, start, end in TASKS:
        rows = spans[spans["task"] == name]
        assert rows["start_ms"].iloc[0] == start
        assert rows["end_ms"].iloc[-1] == end
        assert (rows["start_ms"].to_numpy()[1:] == rows["end_ms"].to_numpy()[:-1]).all()
        assert (rows["start_ms"] < rows["end_ms"]).all()
        times = range(start, end, 7)
        labels = label_at(rows, times)["value"].tolist()
        for time, label in zip(times, labels, strict=True):
            covering = [(place, *mark) for place, mark in enumerate(some) if mark[1] <= time < mark[2]]
            ranked = {
                "earlier_start": lambda mark: (-mark[2], -mark[0]),
                "later_start": lambda mark: (mark[2], mark[0]),
                "positive": lambda mark: (VALUES.index(mark[1]), mark[2], mark[0]),
            }
            winner = max(covering, key=ranked[rule])[1] if covering else "no"
            assert label == winner


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-5, 40)).map(lambda s: (s[0], s[0] + s[1])), max_size=15),
    st.randoms(use_true_random=False),
)
def test_sweep_gives_every_instant_to_its_greatest_span(spans, random):
    priorities = [(random.randint(0, 3),) for _ in spans]
    pieces = sweep(spans, priorities)
    assert all(start < end for start, end, _ in pieces)
    assert all(first[1] <= second[0] for first, second in zip(pieces, pieces[1:], strict=False))
    for time in range(-60, 100):
        covering = [i for i, (start, end) in enumerate(spans) if start <= time < end]
        found = [index for start, end, index in pieces if start <= time < end]
        assert found == ([max(covering, key=lambda i: (priorities[i], -i))] if covering else [])


@settings(max_examples=25, deadline=None)
@given(marks, st.lists(st.tuples(st.integers(-20, 330), st.integers(0, 90)), min_size=1, max_size=6))
def test_overlap_of_windows_counts_labelled_milliseconds(some, windows):
    spans, _ = fill(some, tasks=[("people", 0, 300)])
    edges = np.array([(start, start + length) for start, length in windows])
    values = np.full(700, "no", dtype=object)
    for row in spans.itertuples():
        values[row.start_ms + 100 : row.end_ms + 100] = row.value
    expected = [int(np.isin(values[start + 100 : end + 100], VALUES).sum()) for start, end in edges]
    assert overlap_ms(spans, edges, values=VALUES).tolist() == expected


def test_overlap_needs_disjoint_spans():
    spans = pd.DataFrame({"value": ["a", "a"], "start_ms": [0, 5], "end_ms": [9, 12]})
    with pytest.raises(TableError, match="The spans overlap or have no length"):
        overlap_ms(spans, np.array([[0, 5]]), values=["a"])
    assert overlap_ms(spans.iloc[:0], np.array([[0, 5]]), values=["a"]).tolist() == [0]


def test_broken_partitions_are_refused():
    spans, _ = fill([("attending", 10, 60)], tasks=[("people", 0, 100)])
    tasks = pd.DataFrame({"session": ["fp19"], "rater": ["ew"], "task": ["people"], "start_ms": [0], "end_ms": [100]})
    check_partition(spans, tasks, ["attending"])
    for broken, message in (
        (spans.drop(index=spans.index[1]), "have a gap, an overlap or no length"),
        (spans.iloc[:-1], "do not fill the task"),
        (spans.assign(end_ms=spans["end_ms"] + 1), "have a gap"),
        (spans.iloc[:0], "do not fill the task"),
    ):
        with pytest.raises(TableError, match=message):
            check_partition(broken, tasks, ["attending"])


def test_durations_add_up():
    spans, _ = fill([("attending", 10, 60), ("excited", 60, 70)])
    table = durations(spans)
    people = table[table["task"] == "people"].set_index("value")
    assert people["total_ms"].to_dict() == {"no": 40, "attending": 50, "excited": 10}
    assert people["spans"].to_dict() == {"no": 2, "attending": 1, "excited": 1}
    assert people["share"].sum() == pytest.approx(1)


def test_unrolling_uses_the_time_that_raters_share():
    scheme = make_scheme()
    first = annotate([("attending", 1000, 2000)], [("people", 0, 3000)])
    second = annotate([("excited", 1500, 2600)], [("people", 450, 2950)], rater="mf")
    table = pd.concat([first, second], ignore_index=True)
    spans, _ = fill_tasks(table, task_spans(table, scheme), scheme)
    window = common_window(task_spans(table, scheme))
    assert window[["start_ms", "end_ms", "raters"]].to_numpy().tolist() == [[450, 2950, 2]]
    codes = unroll(spans, scheme)
    ew, mf = (codes[codes["rater"] == name] for name in ("ew", "mf"))
    assert ew["step"].tolist() == mf["step"].tolist() == list(range(4, 30))  # 4.5 and 29.5 go to the even step
    assert ew["attending"].tolist() == [0] * 6 + [1] * 10 + [0] * 10  # half-open: 10 samples for 1000 ms
    assert mf["attending"].tolist() == [0] * 11 + [2] * 11 + [0] * 4
    published = unroll(spans, make_scheme(compat="reference"), annotations=table)
    assert published[published["rater"] == "ew"]["attending"].sum() == 11
    with pytest.raises(TableError, match="samples the annotations, not the spans"):
        unroll(spans, make_scheme(compat="reference"))
