"""People's maps against machines', controls and each other, and what is said of them in the end."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.attention.comparing import comparison, controls, summary
from nbpkg.attention.comparing.agreement import painter_agreement
from nbpkg.attention.comparing.measures import MEASURES, Options, measure_maps
from nbpkg.errors import ExplainError

OPTIONS = Options(size=16, transport_size=8, top=0.1, tolerance=1, floor=0.01, centre=0.2)
FRAMES, SIDE = 4, 32
KINDS = ("network", "random network")


def bump(row: float, column: float, spread: float = 0.08) -> np.ndarray:
    """A spot that drifts to the right, ``[T, SIDE, SIDE]``."""
    place = (np.arange(SIDE) + 0.5) / SIDE
    drift = column + 0.03 * np.arange(FRAMES)[:, None, None]
    found = np.exp(-((place[:, None] - row) ** 2 + (place - drift) ** 2) / (2 * spread**2))
    return np.where(found > 0.05, found, 0)


class World:
    """Snippets, people who paint where something is, a machine that finds it and one that does not."""

    def __init__(self, sessions: int = 4, painters: str = "abc") -> None:
        random = np.random.default_rng(0)
        names = [f"s{number}" for number in range(2 * sessions)]
        self.snippets = pd.DataFrame(
            {
                "snippet_id": names,
                "session": [f"00{number // 2}" for number in range(len(names))],
                "task": ["eggs" if number % 2 else "people" for number in range(len(names))],
                "variable": "attending",
                "start_ms": 0,
                "end_ms": 5000,
                "label": [number % 2 for number in range(len(names))],
                "raters": 3,
                "painted": False,
            }
        )
        where = {name: random.uniform(0.25, 0.6, 2) for name in names}
        self.humans = {
            name: {painter: bump(*(place + random.normal(0, 0.02, 2))) for painter in painters}
            for name, place in where.items()
        }
        self.machines = {
            name: {
                ("network", "good", "matching"): bump(*place),
                ("network", "good", "opposite"): bump(*(place + 0.2)),
                ("network", "coarse", "matching"): bump(*place)[::2, 4::8, 4::8],
                ("random network", "good", "matching"): random.random((FRAMES, SIDE, SIDE)),
            }
            for name, place in where.items()
        }
        self.films = {name: random.integers(0, 255, (FRAMES, 24, 40, 3), dtype=np.uint8) for name in names}
        self.asked: list[str] = []

    def machine(self, name: str):
        self.asked.append(name)
        return self.machines[name]

    def compare(self, folder, seed: int = 0) -> pd.DataFrame:
        return comparison.compare_snippets(
            self.snippets,
            self.humans.__getitem__,
            machine=self.machine,
            frames=self.films.__getitem__,
            options=OPTIONS,
            folder=folder,
            seed=seed,
        )


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return World().compare(tmp_path_factory.mktemp("comparisons"))


@pytest.fixture(scope="module")
def attention(found):
    return summary.summarise_comparisons(found, seed=0, resamples=500)


def pick(table: pd.DataFrame, **wanted) -> pd.DataFrame:
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table


def draw(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).random((FRAMES, 16, 16))
    return values / values.max()


def compare_one(humans, candidates, negatives=None) -> pd.DataFrame:
    row = {"snippet_id": "s", "session": "x", "task": "eggs", "variable": "attending", "label": 1}
    return comparison.compare_snippet(row, humans, candidates=candidates, options=OPTIONS, negatives=negatives)


class TestOneSnippet:
    KEY = ("network", "good", "matching")

    def test_machine_and_people_stand_before_the_same_references(self):
        humans = {name: draw(seed) for seed, name in enumerate("abc")}
        table = compare_one(humans, {self.KEY: draw(9)})
        maps = list(humans.values())
        references = [np.mean([m for other, m in enumerate(maps) if other != place], axis=0) for place in range(3)]
        for source, candidates in (("network", [draw(9)] * 3), ("human", maps)):
            parts = [
                measure_maps(reference, candidate, options=OPTIONS, negatives=None)
                for reference, candidate in zip(references, candidates, strict=True)
            ]
            for row in pick(table, source=source).itertuples():
                wanted = np.mean([np.mean(part[row.metric, row.level]) for part in parts])
                assert row.value == pytest.approx(wanted, nan_ok=True)
                if row.metric != "auc_shuffled":
                    assert (row.frames, row.frames_defined, row.references) == (3 * FRAMES, 3 * FRAMES, 3)

    def test_a_faint_painter_counts_as_much(self):
        humans = {name: draw(seed) for seed, name in enumerate("abc")}
        plain = compare_one(humans, {self.KEY: draw(9)})
        faint = compare_one({**humans, "b": humans["b"] / 50}, {self.KEY: draw(9)})
        pd.testing.assert_frame_equal(plain, faint, rtol=1e-9)

    def test_a_single_painter_is_the_reference_and_leaves_the_ceiling_open(self):
        human = draw(0)
        table = compare_one({"a": human}, {self.KEY: human})
        own, people = pick(table, source="network"), pick(table, source="human")
        assert own.set_index(["metric", "level"])["value"]["linear_correlation", "clip"] == pytest.approx(1)
        assert set(own["references"]) == {0, 1}  # nothing to shuffle with: one measure has none
        assert people["value"].isna().all()
        assert not people[["references", "frames_defined"]].to_numpy().any()

    def test_unpainted_frames_are_counted(self):
        humans = {name: draw(seed) for seed, name in enumerate("ab")}
        humans["a"][:3] = 0
        table = pick(compare_one(humans, {self.KEY: draw(9)}), metric="histogram_intersection", level="frame")
        by_source = table.set_index("source")
        assert by_source.loc["network", ["frames", "frames_defined", "references"]].tolist() == [8, 5, 2]
        assert by_source.loc["human", "frames_defined"] == 5
        alone = [
            measure_maps(humans[name], draw(9), options=OPTIONS, negatives=None)["histogram_intersection", "frame"]
            for name in "ab"
        ]
        assert by_source.loc["network", "value"] == pytest.approx(np.mean([np.nanmean(values) for values in alone]))

    def test_a_missing_control_has_empty_rows(self):
        table = compare_one({"a": draw(0)}, {("other snippet", "", ""): None})
        assert pick(table, source="other snippet")["value"].isna().all()
        assert len(pick(table, source="other snippet")) == sum(len(item.levels) for item in MEASURES.values())

    def test_no_or_unlike_painters_are_refused(self):
        with pytest.raises(ExplainError, match="no human map"):
            compare_one({}, {})
        with pytest.raises(ExplainError, match="shapes"):
            compare_one({"a": draw(0), "b": draw(0)[:2]}, {})


class TestAllSnippets:
    def test_planted_order_comes_out(self, found):
        clear = found[~found["metric"].isin(["auc_shuffled", "pointing_game"])]
        means = clear.groupby(["metric", "level", "source", "method", "condition"])["value"].mean()
        for (metric, level), part in means.groupby(level=["metric", "level"]):
            sign = 1 if MEASURES[metric].direction == "higher" else -1
            values = {key[2:]: sign * value for key, value in part.items()}
            near, far = values["network", "good", "matching"], values["network", "good", "opposite"]
            assert near > far, (metric, level)
            assert values["human", "", ""] > far, (metric, level)
            assert values["network", "coarse", "matching"] > far, (metric, level)
            if metric not in ("linear_correlation", "rank_correlation", "scanpath_saliency"):
                assert values["human", "", ""] > values["uniform", "", ""], (metric, level)

    @pytest.mark.parametrize("snippet", ["s0", "s3", "s6"])
    def test_people_are_nearest_then_a_moved_map_then_a_uniform_one(self, snippet):
        maps = comparison.prepare_humans(World().humans[snippet], OPTIONS.size)
        moved = np.roll(comparison.average_maps(maps), 2, axis=2)
        table = compare_one(maps, {("moved", "", ""): moved, ("uniform", "", ""): controls.uniform_map(FRAMES, 16)})
        values = table[table["level"] == "frame"].pivot(index="metric", columns="source", values="value")
        for metric in ("earth_mover", "histogram_intersection", "kullback_leibler", "jensen_shannon", "auc_judd"):
            sign = 1 if MEASURES[metric].direction == "higher" else -1
            people, near, nowhere = (sign * values.loc[metric, name] for name in ("human", "moved", "uniform"))
            assert people > near > nowhere, metric

    def test_table_is_what_the_plan_says(self, found):
        assert list(found.columns) == comparison.COLUMNS
        assert set(found["source"]) == {*KINDS, *controls.CONTROLS, "human"}
        assert not found.duplicated(["snippet_id", "source", "method", "condition", "metric", "level"]).any()
        assert set(found["session"]) == {"000", "001", "002", "003"}
        if "comparisons" in tables.CONTRACTS:
            pd.testing.assert_frame_equal(tables.check(found, "comparisons"), found, check_dtype=False)

    def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(self, found, tmp_path):
        world = World()
        whole, world.films["s4"] = world.films["s4"], None
        with pytest.raises(ExplainError):
            world.compare(tmp_path)
        kept = sorted(pd.read_csv(path)["snippet_id"].iloc[0] for path in tmp_path.iterdir())
        assert kept == ["s0", "s1", "s2", "s3"]
        world.films["s4"], world.asked = whole, []
        pd.testing.assert_frame_equal(world.compare(tmp_path), found, check_exact=True)
        assert world.asked == ["s4", "s5", "s6", "s7"]

    def test_another_seed_or_painting_begins_anew(self, tmp_path):
        world = World(sessions=2)
        world.compare(tmp_path)
        world.compare(tmp_path, seed=1)
        assert len(world.asked) == 8
        world.humans["s0"]["a"] = world.humans["s0"]["a"][::-1]
        world.compare(tmp_path)
        assert len(world.asked) == 12
        world.snippets.loc[2, "label"] = 1
        world.compare(tmp_path)
        assert world.asked[12:] == ["s2"]

    def test_snippets_and_painters_without_paint_are_left_out(self, tmp_path):
        world = World(sessions=2)
        world.humans["s0"] = {}
        world.humans["s1"] = {name: 0 * values for name, values in world.humans["s1"].items()}
        world.humans["s2"]["a"] = 0 * world.humans["s2"]["a"]
        table = world.compare(tmp_path)
        assert set(table["snippet_id"]) == {"s2", "s3"}
        human = pick(table, source="human", metric="linear_correlation", level="clip")
        assert human["references"].tolist() == [2, 3]
        world.humans = {name: {} for name in world.humans}
        assert list(world.compare(tmp_path).columns) == comparison.COLUMNS


class TestControls:
    def test_the_other_snippet_is_of_another_session_and_alike_if_it_can_be(self):
        snippets = World().snippets
        chosen = controls.choose_others(snippets, list(snippets["snippet_id"]), seed=0)
        rows = snippets.set_index("snippet_id")
        for own, other in chosen.items():
            assert rows.loc[own, "session"] != rows.loc[other, "session"]
            assert rows.loc[own, "task"] == rows.loc[other, "task"]
        assert chosen == controls.choose_others(snippets[::-1], list(snippets["snippet_id"]), seed=0)
        assert any(chosen != controls.choose_others(snippets, list(chosen), seed=seed) for seed in (1, 2))

    def test_another_task_serves_if_need_be_and_one_session_has_no_other(self):
        snippets = World().snippets
        assert controls.choose_others(snippets, ["s0", "s3"], seed=0)["s0"] == "s3"
        assert controls.choose_others(snippets, ["s0", "s1"], seed=0)["s0"] is None

    def test_motion_is_where_the_picture_changes(self):
        film = np.full((5, 48, 80, 3), 90, np.uint8)
        for number in range(5):
            film[number, 20:28, 30 + 4 * number : 34 + 4 * number] = 200
        found = controls.motion_map(film, 12)
        assert (found.shape, found.dtype) == ((5, 12, 12), np.float32)
        weights = found / found.sum(axis=(1, 2), keepdims=True)
        columns = weights.sum(axis=1) @ np.arange(12)
        assert (np.diff(columns) > 0).all()
        assert (weights.sum(axis=2) @ np.arange(12)) == pytest.approx(np.full(5, 5.5), abs=0.1)
        assert not controls.motion_map(film[:1], 12).any()
        with pytest.raises(ExplainError):
            controls.motion_map(film[..., 0], 12)

    @pytest.mark.parametrize("size", [8, 15])
    def test_centre(self, size):
        found = controls.centre_map(2, size, sigma=0.2)
        np.testing.assert_array_equal(found, found[:, ::-1, ::-1])
        assert found.max() == 1


class TestSummary:
    def test_table_is_what_the_plan_says(self, attention):
        assert list(attention.columns) == summary.COLUMNS
        assert not attention.duplicated(["task", "variable", *summary.SERIES]).any()
        assert set(attention["task"]) == {"all", "eggs", "people"}
        if "attention" in tables.CONTRACTS:
            tables.check(attention, "attention")

    def test_means_sizes_chance_and_ceiling(self, found, attention):
        rows = pick(attention, task="people", metric="auc_judd", level="frame")
        part = pick(found, task="people", metric="auc_judd", level="frame")
        row = pick(rows, source="network", method="good", condition="matching").iloc[0]
        values = pick(part, source="network", method="good", condition="matching")["value"]
        assert row["value"] == pytest.approx(values.mean())
        assert (row["n"], row["n_groups"]) == (4, 4)
        assert row["low"] <= row["value"] <= row["high"]
        control = part[part["source"].isin(controls.CONTROLS)].groupby("source")["value"].mean()
        assert (row["chance"], row["chance_of"]) == (pytest.approx(control.max()), control.idxmax())
        assert row["ceiling"] == pytest.approx(pick(part, source="human")["value"].mean())

    def test_chance_is_the_lowest_where_lower_is_better(self, attention):
        rows = pick(attention, task="all", metric="earth_mover")
        control = rows[rows["source"].isin(controls.CONTROLS)].set_index("source")["value"]
        assert (set(rows["chance_of"]) - {"no difference"}) == {control.idxmin()}
        assert set(rows["direction"]) == {"lower"}

    def test_differences_are_taken_snippet_by_snippet(self, found, attention):
        wide = pick(found, metric="linear_correlation", level="clip", method="good").pivot(
            index="snippet_id", columns=["source", "condition"], values="value"
        )
        rows = pick(attention, task="all", metric="linear_correlation", level="clip", method="good")
        classes = pick(rows, source="network", condition="difference").iloc[0]
        wanted = wide["network", "matching"] - wide["network", "opposite"]
        assert classes["value"] == pytest.approx(wanted.mean())
        assert 0 < classes["low"] < classes["value"] < classes["high"]
        random = pick(rows, source="network - random", condition="matching").iloc[0]
        wanted = wide["network", "matching"] - wide["random network", "matching"]
        assert random["value"] == pytest.approx(wanted.mean())
        assert (random["chance"], random["chance_of"]) == (0, "no difference")
        assert np.isnan(random["ceiling"])
        assert pick(rows, source="network - random", condition="opposite").empty

    def test_what_is_undefined_says_why(self, found, attention):
        uniform = pick(attention, task="all", source="uniform", metric="linear_correlation").iloc[0]
        assert np.isnan(uniform["value"])
        assert uniform["n"] == 0
        assert "constant" in uniform["reason"]
        single = summary.summarise_comparisons(pick(found, session="000"), seed=0, resamples=50)
        defined = single[single["n"] > 0]
        assert defined[["low", "high"]].isna().all(axis=None)
        assert (defined["reason"] == "no interval: the snippets are of one session").all()
        alone = found.assign(value=found["value"].where(found["source"] != "human"))
        lonely = summary.summarise_comparisons(alone, seed=0, resamples=50)
        assert (pick(lonely, source="human")["reason"] == "no snippet was painted by two people").all()
        machine = pick(lonely, source="network", condition="matching")
        assert (machine["reason"] == "no ceiling: no snippet was painted by two people").all()
        facts = summary.headline(lonely)
        assert np.isnan(facts["human ceiling"])
        assert facts["most like people"] == "good"  # without people there is no way to go, but still a best method

    def test_same_seed_same_numbers(self, found, attention):
        again = summary.summarise_comparisons(found.sample(frac=1, random_state=0), seed=0, resamples=500)
        keys = ["task", "variable", *summary.SERIES]
        first, second = (table.sort_values(keys, ignore_index=True) for table in (attention, again))
        pd.testing.assert_frame_equal(first.drop(columns=["low", "high"]), second.drop(columns=["low", "high"]))
        pd.testing.assert_frame_equal(attention, summary.summarise_comparisons(found, seed=0, resamples=500))

    def test_methods_are_ranked_between_chance_and_people(self, attention):
        table = summary.rank_methods(attention)
        assert list(table.columns) == ["source", "method", *summary.RANKED, "median"]
        assert set(table["source"]) == {"network", "random network", "other snippet"}
        assert table["median"].is_monotonic_decreasing
        row = pick(table, source="network", method="good").iloc[0]
        one = pick(attention, task="all", source="network", method="good", condition="matching", metric="earth_mover")
        blind = pick(attention, task="all", metric="earth_mover")
        blind = blind[blind["source"].isin(summary.BLIND)]["value"].min()
        share = (one["value"] - blind) / (one["ceiling"] - blind)
        assert row["earth_mover"] == pytest.approx(100 * share.iloc[0])
        assert summary.rank_methods(attention[:0]).empty

    def test_no_percentage_without_people_above_chance(self, attention):
        blind = attention["source"].isin(summary.BLIND)
        table = summary.rank_methods(attention.assign(source=attention["source"].where(~blind, "human")))
        assert table[list(summary.RANKED)].isna().all(axis=None)


class TestPainters:
    def test_agreement_of_each_pair_both_ways(self):
        world = World()
        sessions = dict(zip(world.snippets["snippet_id"], world.snippets["session"], strict=True))
        random = np.random.default_rng(1)
        for name in list(world.humans)[:6]:
            world.humans[name]["odd"] = random.random((FRAMES, SIDE, SIDE))
        table = painter_agreement(world.humans, sessions, options=OPTIONS, seed=0, resamples=200)
        assert list(table.columns) == ["painter", "other", "metric", "value", "low", "high", "n"]
        assert len(table) == 4 * 3 * len(MEASURES)
        values = table.set_index(["metric", "painter", "other"])
        assert values.loc[("jensen_shannon", "a", "b"), "value"] == pytest.approx(
            values.loc[("jensen_shannon", "b", "a"), "value"]
        )
        agreed, odd = values.loc[("linear_correlation", "a", "b")], values.loc[("linear_correlation", "a", "odd")]
        assert agreed["low"] > odd["high"]
        assert (agreed["n"], odd["n"]) == (8, 6)

    def test_a_single_painter_agrees_with_nobody(self):
        maps = {"s": {"a": bump(0.4, 0.4)}}
        assert painter_agreement(maps, {"s": "x"}, options=OPTIONS, seed=0).empty
