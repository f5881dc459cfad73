"""The published program's outputs, reproduced; and where ours differ, nowhere else."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from annotation_cases import GOLDEN, as_reference, make_scheme, read_golden, unpack_eafs

from nbpkg.annotations.agreement import count_pairs, measure_agreement, widen
from nbpkg.annotations.exports import two_rater_tables
from nbpkg.annotations.read import read_annotations
from nbpkg.annotations.reference_agreement import reference_tables
from nbpkg.annotations.sampling import unroll
from nbpkg.annotations.spans import cut_to_tasks, fill_tasks, task_spans

FILLED = ["session", "annotator", "task", "variable", "value", "start_ms", "end_ms"]


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    table, problems = read_annotations(unpack_eafs(tmp_path_factory.mktemp("eaf")), make_scheme())
    assert [problem for problem in problems if problem.severity == "error"] == []
    return table


@pytest.fixture(scope="module")
def codes(annotations):
    """Codes as published and ours."""
    made = {}
    for compat in ("reference", "none"):
        scheme = make_scheme(compat=compat)
        spans, _ = fill_tasks(annotations, task_spans(annotations, scheme), scheme)
        made[compat] = unroll(spans, scheme, annotations=annotations)
    return made


def assert_identical(mine: pd.DataFrame, golden: pd.DataFrame):
    pd.testing.assert_frame_equal(mine[golden.columns].reset_index(drop=True), golden, check_dtype=False)


def test_eaf_files_give_the_published_spans(annotations):
    assert_identical(as_reference(annotations), pd.read_csv(GOLDEN / "annotations_open_original_spans.csv"))


@pytest.mark.parametrize("compat", ["reference", "none"])
def test_task_spans_are_the_published_ones(annotations, compat):
    tasks = task_spans(annotations, make_scheme(compat=compat))
    assert_identical(as_reference(tasks), pd.read_csv(GOLDEN / "annotations_open_task_spans.csv"))


def test_reference_fill_is_identical(annotations):
    scheme = make_scheme(compat="reference")
    spans, _ = fill_tasks(annotations, task_spans(annotations, scheme), scheme)
    assert_identical(as_reference(spans), pd.read_csv(GOLDEN / "annotations_open_filled.csv"))


def test_our_fill_differs_only_where_the_published_one_is_reversed(annotations):
    scheme = make_scheme(overlaps="earlier_start")
    spans, dropped = fill_tasks(annotations, task_spans(annotations, scheme), scheme)
    golden = pd.read_csv(GOLDEN / "annotations_open_filled.csv")
    group = FILLED[:4]
    merged = as_reference(spans).merge(golden, how="outer", indicator=True)
    differing = merged[merged["_merge"] != "both"][group].drop_duplicates()
    reversed_ = golden[golden["end_ms"] <= golden["start_ms"]][group].drop_duplicates()
    assert differing.to_numpy().tolist() == reversed_.to_numpy().tolist() == [["fp21", "myz", "eggs", "participating"]]
    assert len(golden) - len(spans) == 2
    assert dropped.loc[dropped["key"] == "overlaps", "rows"].tolist() == [1]


def test_hand_written_edges(tmp_path):
    source = read_golden("fill_edge_open.zip", "input.csv").rename(columns={"annotator": "rater", "variable": "tier"})
    scheme = make_scheme(compat="reference")
    known = source["session"].isin(scheme.sessions)  # an unknown session never gets past the reader
    tasks = task_spans(source[known], scheme)
    assert_identical(as_reference(tasks), read_golden("fill_edge_open.zip", "task_spans.csv"))
    rows = source[known].assign(row=range(known.sum()))
    assert_identical(as_reference(cut_to_tasks(rows, tasks, scheme)), read_golden("fill_edge_open.zip", "cut.csv"))
    spans, dropped = fill_tasks(rows, tasks, scheme)
    golden = read_golden("fill_edge_open.zip", "filled.csv")
    assert_identical(as_reference(spans), golden)
    assert dict(zip(dropped["key"] + ": " + dropped["reason"], dropped["rows"], strict=True)) == {
        "tier ignore: the tier is not rated": 1,
        "variable participating: outside every task, or without length": 3,
        "variable participating: part outside a task cut off (12500 ms in all)": 1,
        "variable attending: the value is unknown": 1,
        "variable attending: outside every task, or without length": 1,
        "variable attending: part outside a task cut off (1000 ms in all)": 1,
    }

    ours, _ = fill_tasks(rows, tasks, make_scheme(overlaps="earlier_start"))
    broken = golden[golden["end_ms"] <= golden["start_ms"]][FILLED[:4]].drop_duplicates()
    whole = as_reference(ours).merge(golden, how="outer", indicator=True)
    differing = whole[whole["_merge"] != "both"][FILLED[:4]].drop_duplicates()
    assert sorted(differing.to_numpy().tolist()) == sorted(broken.to_numpy().tolist())


@pytest.mark.parametrize("pair", ["ew_mf.txt", "ew_myz.txt", "mf_myz.txt"])
def test_two_rater_tables(annotations, pair):
    golden = json.loads((GOLDEN / "annotations_open_tworater_tables.json").read_text())[pair]
    table = two_rater_tables(annotations, make_scheme(compat="reference"))[pair]
    assert len(table) == golden["rows"]
    assert table["tier"].value_counts().to_dict() == golden["rows_per_tier"]
    assert sorted(table["file"].unique()) == golden["files"]
    assert (table["start_ms"].sum(), table["end_ms"].sum()) == (golden["sum_start_ms"], golden["sum_end_ms"])
    ordered = table.sort_values(["tier", "file", "start_ms", "end_ms", "value"])
    assert (
        ordered.head(12)[["tier", "start_ms", "end_ms", "value", "file"]].to_numpy().tolist()
        == golden["sorted_rows_head"]
    )

    ours = two_rater_tables(annotations, make_scheme())[pair]
    both = set.intersection(
        *(set(annotations.loc[annotations["rater"] == name, "session"]) for name in pair[:-4].split("_"))
    )
    assert {name.split("_")[0] for name in ours["file"]} == both
    assert ours["tier"].is_monotonic_increasing


def test_unrolled_codes_are_the_published_ones(codes):
    golden = np.load(GOLDEN / "reliability_unrolled_open.npz")
    first = json.loads((GOLDEN / "reliability_unrolled_open.json").read_text())
    groups = {"|".join(key): rows for key, rows in codes["reference"].groupby(["session", "rater", "task"])}
    assert set(groups) == set(golden.files) == set(first)
    for key, rows in groups.items():
        assert rows["step"].iloc[0] == first[key]
        np.testing.assert_array_equal(rows[["attending", "participating"]].to_numpy().T, golden[key])


@pytest.mark.parametrize(
    ("golden_name", "compat", "labels"),
    [
        ("binary_ref", "reference", "binary"),
        ("original_ref", "reference", "all"),
        ("binary_corrected", "none", "binary"),
        ("original_corrected_3class", "none", "all"),
    ],
)
def test_human_agreement(codes, golden_name, compat, labels):
    golden = json.loads((GOLDEN / "reliability_human_open.json").read_text())[golden_name]
    scheme = make_scheme(compat=compat)
    table = measure_agreement(count_pairs(widen(codes[compat], scheme), scheme, labels=labels), resamples=50)
    index = table.set_index(["task", "variable", "rater_1", "rater_2", "statistic"])
    compared = 0
    for key, group in golden.items():
        task, variable = {"global": ("all", "all")}.get(
            key, tuple(key.split("|")) if "|" in key else (key, "all") if key in scheme.tasks else ("all", key)
        )
        for pair, numbers in group["pairs"].items():
            for statistic in ("raw_agreement", "cohen_kappa"):
                row = index.loc[(task, variable, *pair.split("-"), statistic)]
                assert row["value"] == pytest.approx(numbers[statistic], abs=1e-12)
                assert row["n"] == numbers["n"]
                compared += 1
        for statistic, number in group["human_mean"].items():
            assert index.loc[(task, variable, "human", "human", statistic), "value"] == pytest.approx(number, abs=1e-12)
    assert compared == 72


def assert_tables(mine: dict, archive: Path):
    with zipfile.ZipFile(archive) as files:
        names = [name for name in files.namelist() if "reliability" in Path(name).name]
        assert len(names) == len(mine)
        for name in names:
            with files.open(name) as stream:
                golden = pd.read_csv(stream)
            table = mine[Path(name).name].rename(columns={"": "Unnamed: 0"})
            pd.testing.assert_frame_equal(table, golden, rtol=0, atol=1e-12, check_dtype=False)


def test_sixteen_published_tables(codes):
    scheme = make_scheme(compat="reference")
    wide = widen(codes["reference"], scheme)
    mine = reference_tables(count_pairs(wide, scheme, labels="binary"), prefix="binary_")
    mine |= reference_tables(count_pairs(wide, scheme, labels="all"), prefix="original_")
    assert_tables(mine, GOLDEN / "reliability_human_open_tables.zip")


def test_machine_is_a_rater_like_others():
    wide = read_golden("reliability_machine_open.zip", "labels.csv").rename(columns={"start_ms": "step"})
    counts = count_pairs(wide, make_scheme(), labels="binary")
    assert_tables(reference_tables(counts), GOLDEN / "reliability_machine_open.zip")
    table = measure_agreement(counts, resamples=50).set_index(["task", "variable", "rater_1", "rater_2", "statistic"])
    constant = table.loc[("drums", "participating", "ew", "mf", "cohen_kappa")]
    assert np.isnan(constant["value"])
    assert "one and the same value" in constant["reason"]
    assert table.loc[("all", "all", "human", "machine", "cohen_kappa"), "value"] == pytest.approx(0.1569977203863138)
