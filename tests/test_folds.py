"""Folds: the published objective, what the search promises, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.errors import FoldError, MediaError
from nbpkg.folds import (
    check_folds,
    drop_sessions_without_video,
    fold_statistics,
    fold_statistics_json,
    score,
    search_folds,
    strata_durations,
    stratified_csv,
    sum_pixels,
)

GOLDEN = Path(__file__).parent / "golden/infant_engagement"
SECOND_EXPERIMENTER = ["fp29", "fp30", "fp31", "fp38", "fp39", "fp40"]
TASKS = ["people", "eggs", "drums"]
COLUMNS = ["session", "rater", "task", "variable", "value", "start_ms", "end_ms"]


def golden(name: str) -> dict:
    return json.loads((GOLDEN / f"annotations_open_{name}.json").read_text())


@pytest.fixture(scope="module")
def spans() -> pd.DataFrame:
    return pd.read_csv(GOLDEN / "annotations_open_filled.csv").rename(columns={"annotator": "rater"})


@pytest.fixture(scope="module")
def durations(spans):
    return strata_durations(spans, "no")


@pytest.fixture(scope="module")
def balance(durations) -> pd.DataFrame:
    flags = [session in SECOND_EXPERIMENTER for session in durations.sessions]
    return pd.DataFrame({"session": durations.sessions, "second_experimenter": flags})


@pytest.fixture(scope="module")
def golden_folds() -> pd.DataFrame:
    stats = golden("fold_statistics")["stats"]
    rows = [
        {"session": session, "group": session, "fold": fold, "role": "test" if fold == 4 else "train"}
        for fold, entry in enumerate(stats)
        for session in entry["sessions"]
    ]
    return pd.DataFrame(rows)


def small_spans(shares: dict[str, float], raters: dict[str, str] | None = None) -> pd.DataFrame:
    """One task and variable, one second per session; `shares` of it positive; one letter per rater."""
    rows = []
    for session, share in shares.items():
        cut = round(1000 * share)
        for rater in (raters or {}).get(session, "a"):
            if cut:
                rows.append((session, rater, "eggs", "attending", "yes", 0, cut))
            if cut < 1000:
                rows.append((session, rater, "eggs", "attending", "no", cut, 1000))
    return pd.DataFrame(rows, columns=COLUMNS)


def search(spans: pd.DataFrame, groups: dict[str, str] | None = None, **changes):
    request = {"seed": 0, "tries": 200, "folds": 2, "require_unrated_test_session": False, **changes}
    return search_folds(strata_durations(spans, "no"), groups, **request)


# the published objective


def test_score_equals_the_published_objective(durations, balance):
    for trial in golden("split_scores")["trials"]:
        assignment = {session: fold for fold, members in enumerate(trial["folds"]) for session in members}
        assert score(assignment, durations, balance=balance) == pytest.approx(trial["score"], abs=1e-12)


def test_expected_probabilities_equal_the_published_ones(durations):
    share = durations.positive_ms.sum(axis=0) / durations.total_ms.sum(axis=0)
    expected = golden("split_scores")["expected"]["Empirical Probabilities"]
    for (task, variable), value in zip(durations.strata, share, strict=True):
        assert value == pytest.approx(expected[task][variable], abs=1e-12)


def test_four_hundred_tries_beat_the_published_best_of_four_hundred(durations, balance):
    published = golden("best_split")["results"]["Final Score"]
    found = search_folds(durations, seed=0, balance=balance, tries=400)
    assert found.facts["score"] <= published


def test_facts_score_is_the_score_of_the_folds_returned(durations, balance):
    found = search_folds(durations, seed=3, balance=balance, tries=400)
    again = score(dict(zip(found.folds["session"], found.folds["fold"], strict=True)), durations, balance=balance)
    assert found.facts["score"] == pytest.approx(again, abs=1e-12)


def test_a_fold_without_the_second_experimenter_costs_a_hundred(durations, balance):
    trial = golden("split_scores")["trials"][0]
    assignment = {session: fold for fold, members in enumerate(trial["folds"]) for session in members}
    no_one = balance.assign(second_experimenter=False)
    assert score(assignment, durations, balance=no_one) == pytest.approx(trial["score"] + 500, abs=1e-9)


def test_a_fold_lacking_a_stratum_costs_a_hundred_instead_of_stopping():
    spans = small_spans({"s1": 0.5, "s2": 0.5})
    other = spans.assign(task="drums")[spans["session"] == "s1"]
    durations = strata_durations(pd.concat([spans, other]), "no")
    assert score({"s1": 0, "s2": 1}, durations, folds=2) == pytest.approx(100)


# what the search promises


@settings(max_examples=25, deadline=None)
@given(
    shares=st.lists(st.floats(0, 1), min_size=6, max_size=14),
    children=st.integers(3, 6),
    folds=st.integers(2, 3),
    seed=st.integers(0, 1000),
)
def test_never_worse_than_random_and_no_group_is_split(shares, children, folds, seed):
    spans = small_spans({f"s{index:02}": share for index, share in enumerate([1.0, *shares])})
    groups = {session: f"child{index % children}" for index, session in enumerate(sorted(set(spans["session"])))}
    found = search(spans, groups, seed=seed, folds=folds, tries=50)
    assert found.facts["score"] <= found.facts["random_score"] + 1e-12
    assert found.folds.groupby("group")["fold"].nunique().max() == 1
    assert set(found.folds["fold"]) == set(range(folds))
    assert sorted(found.folds["session"]) == sorted(groups)
    assert set(found.folds.loc[found.folds["role"] == "test", "fold"]) == {folds - 1}


def test_local_improvement_finds_the_optimum_of_a_small_case():
    spans = small_spans({"a": 0.1, "b": 0.9, "c": 0.2, "d": 0.8, "e": 0.4, "f": 0.6})
    found = search(spans, tries=1, seed=1, folds=3)
    pairs = {frozenset(members) for _, members in found.folds.groupby("fold")["session"]}
    assert pairs == {frozenset("ab"), frozenset("cd"), frozenset("ef")}
    assert found.facts["score"] == pytest.approx(0, abs=1e-12)


def test_marked_sessions_stay_evenly_spread_after_local_improvement(durations, balance):
    for seed in range(3):
        found = search_folds(durations, seed=seed, balance=balance, tries=50)
        counts = found.folds[found.folds["session"].isin(SECOND_EXPERIMENTER)].groupby("fold").size()
        assert sorted(counts) == [1, 1, 1, 1, 2]


def test_marks_stay_even_where_an_uneven_dealing_would_score_better():
    shares = {"m1": 0.8, "m2": 0.8, "m3": 0.8, "m4": 0.2, "u1": 0.5, "u2": 0.5, "u3": 0.5, "u4": 0.5}
    spans = small_spans(shares)
    flags = pd.DataFrame({"session": list(shares), "marked": [name.startswith("m") for name in shares]})
    uneven = {name: int(name in ("m1", "u1", "u2", "u3")) for name in shares}
    assert score(uneven, strata_durations(spans, "no"), folds=2, balance=flags) == pytest.approx(0)
    found = search(spans, balance=flags)
    assert (found.folds[found.folds["session"].str.startswith("m")].groupby("fold").size() == 2).all()


def test_several_balance_columns_and_text_values_are_spread():
    spans = small_spans({f"s{index}": 0.5 for index in range(8)})
    table = pd.DataFrame({"session": [f"s{i}" for i in range(8)], "site": list("AAAABBBB"), "twin": [True, False] * 4})
    found = search(spans, balance=table)
    joined = found.folds.merge(table, on="session")
    assert (joined.groupby(["fold", "site"]).size() == 2).all()
    assert (joined.groupby("fold")["twin"].sum() == 2).all()
    assert {"site=A", "site=B", "twin"} <= set(found.balance["stratum"])


def test_test_fold_holds_a_session_each_rater_did_not_rate(spans, durations, balance):
    rated = spans.groupby("rater")["session"].agg(set)
    for test_fold in ("last", "any"):
        found = search_folds(durations, seed=5, balance=balance, tries=300, test_fold=test_fold)
        test = set(found.folds.loc[found.folds["role"] == "test", "session"])
        assert all(test - known for known in rated)


def test_any_fold_that_meets_the_condition_becomes_the_last():
    raters = {"s0": "a", "s1": "b", "s2": "ab", "s3": "ab", "s4": "ab", "s5": "ab"}
    spans = small_spans(dict.fromkeys(raters, 0.5), raters)
    found = search(spans, tries=40, folds=3, test_fold="any", require_unrated_test_session=True)
    assert {"s0", "s1"} <= set(found.folds.loc[found.folds["role"] == "test", "session"])


def test_same_seed_same_folds_in_every_process(tmp_path):
    program = (
        "import pandas as pd; from nbpkg.folds import *;"
        f"spans = pd.read_csv({str(GOLDEN / 'annotations_open_filled.csv')!r});"
        "spans = spans.rename(columns={'annotator': 'rater'});"
        "print(search_folds(strata_durations(spans, 'no'), seed=7, tries=300).folds.to_csv())"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert len(texts) == 1
    assert "fp13" in texts.pop()


def test_row_order_of_the_spans_does_not_matter(spans, durations):
    shuffled = strata_durations(spans.sample(frac=1, random_state=0), "no")
    first, second = (search_folds(table, seed=0, tries=100) for table in (durations, shuffled))
    pd.testing.assert_frame_equal(first.folds, second.folds)


def test_balance_table_compares_each_fold_with_the_whole_and_with_chance(spans, durations, balance):
    found = search_folds(durations, seed=0, balance=balance, tries=2000)
    table = found.balance.set_index(["stratum", "fold"])
    members = found.folds.loc[found.folds["fold"] == 2, "session"]
    part = spans[spans["session"].isin(members) & (spans["task"] == "eggs") & (spans["variable"] == "attending")]
    length = part["end_ms"] - part["start_ms"]
    row = table.loc[("eggs attending", 2)]
    assert row["value"] == pytest.approx(length[part["value"] != "no"].sum() / length.sum(), abs=1e-12)
    assert row["chance_low"] < row["whole"] < row["chance_high"]
    assert row["sessions"] == len(members)
    strata = found.balance[~found.balance["stratum"].isin(["second_experimenter", "share of all sessions"])]
    assert strata["value"].between(strata["chance_low"], strata["chance_high"]).all()


def test_trace_falls_and_ends_at_the_random_score(durations, balance):
    facts = search_folds(durations, seed=0, balance=balance, tries=3000).facts
    tries, values = zip(*facts["trace"], strict=True)
    assert list(tries) == sorted(tries)
    assert all(later < earlier for earlier, later in zip(values, values[1:], strict=False))
    assert values[-1] == facts["random_score"]
    assert json.loads(json.dumps(facts)) == facts  # fit for a receipt


def test_a_stratum_without_positive_time_is_left_out_and_reported():
    spans = small_spans({"s1": 0.5, "s2": 0.4, "s3": 0.6})
    silent = spans.assign(variable="participating", value="no")
    found = search(pd.concat([spans, silent]))
    assert found.facts["excluded_strata"] == ["eggs participating"]
    assert "eggs participating has no positive time and was not balanced." in found.facts["warnings"]
    assert np.isfinite(found.facts["score"])


def test_a_large_participant_and_a_scarce_mark_are_reported():
    spans = small_spans({f"s{index}": 0.5 for index in range(6)})
    groups = {f"s{index}": "big" if index < 4 else f"c{index}" for index in range(6)}
    flags = pd.DataFrame({"session": list(groups), "twin": [True] + [False] * 5})
    facts = search(spans, groups, balance=flags).facts
    assert "big has 4 sessions, more than the 3 of an equal fold." in facts["warnings"]
    assert any(text.startswith("twin has no session in fold") for text in facts["warnings"])


# before the search


def test_sessions_without_video_are_dropped_before_anything_is_added_up():
    spans = small_spans({"s1": 0.0, "s2": 0.5, "s3": 0.5})
    kept, dropped = drop_sessions_without_video(spans, ["s2", "s3", "s9"])
    assert dropped[["key", "rows"]].to_numpy().tolist() == [["s1", 1], ["s9", 0]]
    assert list(dropped["reason"]) == ["annotated, but there is no video", "there is a video, but no annotation"]
    durations = strata_durations(kept, "no")
    assert durations.positive_ms.sum() / durations.total_ms.sum() == 0.5


# what it refuses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folds": 4}, "4 folds were asked for, but there are only 3 participants"),
        ({"folds": 1}, "1 folds were asked for"),
        ({"tries": 0}, "0 tries were asked for"),
        ({"groups": {"s1": "c1"}}, "2 sessions belong to no group: s2, s3"),
        ({"require_unrated_test_session": True}, "Rater a rated every session"),
        ({"balance": pd.DataFrame({"session": ["s1", "s2"], "x": [True, True]})}, "0 repeated and 1 missing"),
        ({"balance": pd.DataFrame({"session": ["s1", "s2", "s3"], "x": ["A", None, "B"]})}, "'x' is empty for s2"),
    ],
)
def test_infeasible_requests_say_what_to_do(changes, message):
    with pytest.raises(FoldError, match=message) as caught:
        search(small_spans({"s1": 0.5, "s2": 0.4, "s3": 0.6}), **changes)
    assert caught.value.remedy or caught.value.expected


def test_no_positive_time_at_all_is_refused():
    with pytest.raises(FoldError, match="No \\(task, variable\\) has any positive time"):
        search(small_spans({"s1": 0.0, "s2": 0.0}))


def test_no_spans_are_refused():
    with pytest.raises(FoldError, match="no annotation spans"):
        strata_durations(pd.DataFrame(columns=COLUMNS), "no")


def test_a_condition_that_no_try_meets_names_the_remedies():
    raters = {"s0": "a", "s1": "b", "s2": "ab"}  # two folds of 1 and 2: the last needs s0 and s1
    spans = small_spans(dict.fromkeys(raters, 0.5), raters)
    with pytest.raises(FoldError, match="In none of 30 tries") as caught:
        search(spans, folds=3, tries=30, require_unrated_test_session=True)
    assert 'test_fold="any"' in caught.value.remedy


def test_score_refuses_sessions_without_a_fold():
    with pytest.raises(FoldError, match="1 sessions have no fold from 0 to 1: s2"):
        score({"s1": 0, "s2": 5}, strata_durations(small_spans({"s1": 0.5, "s2": 0.5}), "no"), folds=2)


def test_leaked_participants_and_missing_roles_are_refused():
    folds = pd.DataFrame({"session": ["s1", "s2"], "group": ["c", "c"], "fold": [0, 1], "role": ["train", "test"]})
    with pytest.raises(FoldError, match="1 participants are in two folds: c"):
        check_folds(folds)
    with pytest.raises(FoldError, match="All folds have the same role"):
        check_folds(folds.assign(group=["c", "d"], role="train"))
    with pytest.raises(FoldError, match="Fold 0 is both"):
        check_folds(folds.assign(group=["c", "d"], fold=0))


# colour statistics and the published files


def golden_frames(session: str) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(session.encode()))
    count, base = int(random.integers(5, 12)), random.integers(20, 200, 3)
    return np.clip(random.integers(-40, 56, (count, 6, 8, 3)) + base, 0, 255).astype(np.uint8)


def close(found: object, expected: object, tolerance: float) -> None:
    """Compare nested JSON: structure and order of keys exactly, numbers to a tolerance."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            close(found[key], expected[key], tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            close(one, other, tolerance)
    else:
        assert found == expected or found == pytest.approx(expected, abs=tolerance)


def test_fold_statistics_equal_the_published_file(spans, golden_folds):
    sums = {session: sum_pixels(golden_frames(session)) for session in golden_folds["session"]}
    statistics = fold_statistics(sums, golden_folds)
    text = fold_statistics_json(spans, golden_folds, absent="no", tasks=TASKS, statistics=statistics)
    close(json.loads(text), golden("fold_statistics"), 1e-9)
    shares = [entry["empirical_probability"] for entry in json.loads(text)["stats"]]
    close(shares, [entry["empirical_probability"] for entry in golden("fold_statistics")["stats"]], 1e-12)


def test_stratified_csv_equals_the_published_file_byte_for_byte(spans, golden_folds):
    written = stratified_csv(spans.sample(frac=1, random_state=1), golden_folds, absent="no")
    assert written.encode() == (GOLDEN / "annotations_open_stratified.csv").read_bytes()


def test_pixel_sums_are_exact_for_frames_of_different_sizes():
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (5, width, 3)).astype(np.uint8) for width in (3, 8, 1)]
    sums, pixels = sum_pixels(frames), np.concatenate([frame.reshape(-1, 3) for frame in frames])
    np.testing.assert_allclose(sums.mean, pixels.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(sums.std, pixels.std(axis=0), rtol=1e-13)
    assert (sums.frames, sums.pixels) == (3, 60)
    assert sum_pixels(frames[:1]) + sum_pixels(frames[1:]) == sums


def test_training_statistics_leave_the_test_fold_out(golden_folds):
    sums = {session: sum_pixels(golden_frames(session)) for session in golden_folds["session"]}
    before = fold_statistics(sums, golden_folds)
    tested = golden_folds.loc[golden_folds["role"] == "test", "session"]
    changed = {**sums, **{session: sum_pixels(np.zeros((1, 2, 2, 3), np.uint8)) for session in tested}}
    after = fold_statistics(changed, golden_folds)
    pd.testing.assert_frame_equal(before[before["fold"] == "train"], after[after["fold"] == "train"])
    assert not before[before["fold"] == "4"].equals(after[after["fold"] == "4"])


def test_wrong_frames_and_missing_sessions_are_refused(golden_folds):
    with pytest.raises(MediaError, match=r"shape \(2, 2\) and type float64"):
        sum_pixels([np.zeros((2, 2))])
    with pytest.raises(FoldError, match="23 sessions have no frames"):
        fold_statistics({}, golden_folds)


def test_exports_refuse_sessions_without_a_fold(spans, golden_folds):
    with pytest.raises(FoldError, match="1 annotated sessions have no fold: fp13"):
        stratified_csv(spans, golden_folds[golden_folds["session"] != "fp13"], absent="no")
