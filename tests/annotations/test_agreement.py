"""Coefficients against independent programs, hand-made cases, and properties."""

import krippendorff
import numpy as np
import pandas as pd
import pytest
from annotation_cases import make_scheme
from eaf_cases import small_scheme
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import cohen_kappa_score

from nbpkg.annotations import coefficients
from nbpkg.annotations.agreement import count_pairs, measure_agreement, tabulate_pairs
from nbpkg.annotations.events import list_events, match_events, measure_events
from nbpkg.errors import TableError

KEYS = ["labels", "task", "variable", "rater_1", "rater_2", "statistic"]


def make_wide(seed=0, raters=("ew", "mf", "myz"), sessions=("fp19", "fp28", "fp29"), steps=80, missing=0.2):
    generator = np.random.default_rng(seed)
    rows = []
    for session in sessions:
        for task in ("people", "eggs", "drums"):
            for variable in ("participating", "attending"):
                truth = generator.integers(0, 3, steps)
                part = {"task": task, "variable": variable, "session": session, "step": np.arange(steps)}
                for rater in raters:
                    codes = np.where(generator.random(steps) < 0.7, truth, generator.integers(0, 3, steps)).astype(
                        float
                    )
                    part[rater] = np.where(generator.random(steps) < missing, np.nan, codes)
                rows.append(pd.DataFrame(part))
    return pd.concat(rows, ignore_index=True)


tables_of_counts = hnp.arrays(np.int64, (3, 3), elements=st.integers(0, 30)).filter(lambda counts: counts.sum() > 1)


@settings(max_examples=60, deadline=None)
@given(tables_of_counts)
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_coefficients_agree_with_other_programs(counts):
    first, second = np.repeat(np.indices(counts.shape).reshape(2, -1), counts.reshape(-1), axis=1)
    for compute, weights in ((coefficients.cohen_kappa, None), (coefficients.weighted_kappa, "linear")):
        expected = cohen_kappa_score(first, second, labels=[0, 1, 2], weights=weights)
        assert float(compute(counts)) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    alpha = float(coefficients.alpha_of_pair(counts))
    if len(set(first) | set(second)) > 1:
        expected = krippendorff.alpha(np.stack([first, second]), value_domain=[0, 1, 2], level_of_measurement="nominal")
        assert alpha == pytest.approx(expected, abs=1e-9)
    else:
        assert np.isnan(alpha)


def test_gwet_by_hand():
    # Gwet (2008): po = 0.9, mean shares 0.95 and 0.05, so chance agreement 2 * 0.95 * 0.05
    counts = np.array([[90, 5], [5, 0]])
    assert float(coefficients.gwet_ac1(counts)) == pytest.approx((0.9 - 0.095) / (1 - 0.095))
    assert float(coefficients.cohen_kappa(counts)) < 0  # the paradox that AC1 avoids


def test_alpha_of_many_raters_with_missing_ones():
    wide = make_wide()
    table = measure_agreement(count_pairs(wide, make_scheme()), resamples=20).set_index(KEYS)
    rows = wide[(wide["task"] == "eggs") & (wide["variable"] == "attending")]
    expected = krippendorff.alpha(rows[["ew", "mf", "myz"]].to_numpy().T, level_of_measurement="nominal")
    assert table.loc[("all", "eggs", "attending", "all", "all", "krippendorff_alpha"), "value"] == pytest.approx(
        expected
    )


def test_bootstrap_is_that_of_whole_sessions():
    scheme, wide = make_scheme(), make_wide(sessions=("fp19", "fp28", "fp29", "fp35"))
    table = measure_agreement(count_pairs(wide, scheme), seed=5, resamples=200).set_index(KEYS)
    row = table.loc[("all", "people", "attending", "ew", "mf", "cohen_kappa")]
    assert row["low"] < row["value"] < row["high"]
    # the same resamples, computed the slow way
    from nbpkg import seeding

    drawn = coefficients.resample(4, 200, seeding.generator(5, "agreement"))
    rows = wide[(wide["task"] == "people") & (wide["variable"] == "attending")].dropna(subset=["ew", "mf"])
    parts = [rows[rows["session"] == name] for name in ("fp19", "fp28", "fp29", "fp35")]
    slow = []
    for weights in drawn:
        sample = pd.concat([part for part, count in zip(parts, weights, strict=True) for _ in range(count)])
        slow.append(cohen_kappa_score(sample["ew"], sample["mf"]))
    assert (row["low"], row["high"]) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])))
    again = measure_agreement(count_pairs(wide, scheme), seed=5, resamples=200).set_index(KEYS)
    pd.testing.assert_frame_equal(table, again)


def test_undefined_numbers_have_reasons():
    wide = make_wide(missing=0.0)
    wide.loc[wide["task"] == "drums", ["ew", "mf"]] = 0.0
    wide.loc[wide["task"] == "eggs", "ew"] = np.nan
    table = measure_agreement(count_pairs(wide, make_scheme()), resamples=20).set_index(KEYS)
    constant = table.loc[("all", "drums", "all", "ew", "mf", "cohen_kappa")]
    assert np.isnan(constant["value"])
    assert constant["reason"] == "all raters compared gave one and the same value throughout"
    assert table.loc[("all", "drums", "all", "ew", "mf", "raw_agreement"), "value"] == 1
    apart = table.loc[("all", "eggs", "all", "ew", "mf", "raw_agreement")]
    assert (apart["n"], apart["n_sessions"], apart["reason"]) == (0, 0, "the raters share no time")
    assert not table["reason"][table["value"].notna()].any()


def test_machine_counts_as_a_rater_but_not_as_a_person():
    wide = make_wide().assign(machine=1.0)
    table = measure_agreement(count_pairs(wide, make_scheme()), resamples=20).set_index(KEYS)
    key = ("all", "all", "all")
    pairs = [table.loc[(*key, rater, "machine", "raw_agreement"), "value"] for rater in ("ew", "mf", "myz")]
    assert table.loc[(*key, "human", "machine", "raw_agreement"), "value"] == pytest.approx(np.mean(pairs))
    without = measure_agreement(count_pairs(wide.drop(columns="machine"), make_scheme()), resamples=20).set_index(KEYS)
    people = (*key, "all", "all", "krippendorff_alpha")
    assert table.loc[people, "value"] == without.loc[people, "value"]


def test_contingency_tables_add_up():
    counts = count_pairs(make_wide(), make_scheme(), labels="binary")
    long = tabulate_pairs(counts)
    assert long["count"].sum() == counts.tables.sum()
    assert set(long["value_1"]) == {"no", "marked"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda wide: wide.drop(columns=["mf", "myz"]), "Agreement needs two raters"),
        (lambda wide: wide.assign(ew=7.0), "A code has no category"),
        (lambda wide: wide.assign(session="fp99"), "The session 'fp99' is unknown"),
    ],
)
def test_tables_that_cannot_be_counted(change, message):
    with pytest.raises(TableError, match=message):
        count_pairs(change(make_wide()), make_scheme())


def spans_of(marks, rater, session="s01"):
    """Spans of one rater in task people [0, 1000) from (value, start, end), gaps unmarked."""
    rows, now = [], 0
    for value, start, end in [*marks, ("no", 1000, 1000)]:
        rows += [("no", now, start)] if start > now else []
        rows += [(value, start, end)] if end > start else []
        now = end
    table = pd.DataFrame(rows, columns=["value", "start_ms", "end_ms"])
    return table.assign(session=session, rater=rater, task="people", variable="attending")


def test_events_are_matched_one_to_one():
    ana = spans_of([("attending", 100, 300), ("attending", 500, 520), ("excited", 700, 800)], "ana")
    other = spans_of([("attending", 120, 200), ("attending", 200, 260), ("excited", 850, 900)], "jörg")
    table = measure_events(pd.concat([ana, other]), small_scheme(), tolerance_ms=50, resamples=10).set_index(
        "statistic"
    )
    overall = table[(table["task"] == "all") & (table["variable"] == "all")]
    # jörg's first two spans follow one another with one value and so are one event
    assert overall.loc["onset_recall", "value"] == pytest.approx(1 / 3)
    assert overall.loc["onset_precision", "value"] == pytest.approx(1 / 2)
    assert overall.loc["onset_f1", ["value", "n", "n_sessions"]].tolist() == [pytest.approx(0.4), 5, 1]
    assert overall.loc["overlap_f1", "value"] == pytest.approx(0.4)
    empty = table[(table["task"] == "drums") & (table["variable"] == "all")]
    assert empty.loc["onset_f1", "reason"] == "the raters share no time"


def test_what_was_going_on_at_the_start_has_no_onset():
    scheme = small_scheme()
    events = list_events(
        pd.concat([spans_of([("attending", 0, 100), ("excited", 300, 400)], name) for name in ("ana", "jörg")]), scheme
    )
    assert events["has_onset"].tolist() == [False, True, False, True]


@settings(max_examples=60, deadline=None)
@given(*[st.lists(st.integers(0, 60), max_size=6, unique=True).map(sorted)] * 2, st.integers(0, 20))
def test_matching_is_the_largest_there_is(one, two, tolerance):
    first, second = (
        pd.DataFrame({"value": "x", "start_ms": starts, "end_ms": [start + 1 for start in starts]})
        for starts in (one, two)
    )
    pairs = match_events(first, second, criterion="onset", tolerance_ms=tolerance)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert all(abs(one[a] - two[b]) <= tolerance for a, b in pairs)
    free, best = list(two), 0  # on a line, taking the earliest that fits is largest
    for start in one:
        fitting = [other for other in free if abs(start - other) <= tolerance]
        if fitting:
            free.remove(min(fitting))
            best += 1
    assert len(pairs) == best
