"""Searches that several workers share and that go on after a kill, and the tables made of them."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import resource
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from killing import kill_in_the_middle, watch
from nursery import Worker
from patience import wait_until

from nbpkg.errors import SettingsError, StageError
from nbpkg.metrics import search as tables
from nbpkg.training import importance, search, sharing, storage
from nbpkg.training.leases import keep_lease
from nbpkg.training.spaces import PUBLISHED_HEAD, Choice, Constant, Uniform, draw_settings


def work(folder: str, kind: str, count: int, pause: float, url: str, said: str) -> None:
    """Try settings until none is left, in a process of its own; say so in a file, line by line."""
    settings = draw_settings(PUBLISHED_HEAD, count, seed=0, name="x")
    with keep_lease(Path(folder) / "leases", seconds=60) as lease, Path(said).open("w", buffering=1) as told:
        how = {"space": PUBLISHED_HEAD, "seed": 0, "lease": lease, "sampler": kind, "storage": url}
        opened = search.open_search(Path(folder), "x", settings, **how)
        while (asked := search.next_setting(opened)) is not None:
            told.write(f"{asked.index}\n")
            time.sleep(pause)
            search.tell(opened, asked, value_of(asked))


KEPT = contextlib.ExitStack()  # leases of this process, held to the end of each test


@pytest.fixture(autouse=True)
def _leases_end():
    with KEPT:
        yield


def begin(folder: Path, count: int = 12, *, kind: str = "random", pruner: str = "none", url: str = "") -> search.Search:
    settings = draw_settings(PUBLISHED_HEAD, count, seed=0, name="x")
    return open_search(folder, "x", settings, sampler=kind, pruner=pruner, storage=url)


def open_search(folder: Path, name: str, settings: list, *, space: dict = PUBLISHED_HEAD, **how: str) -> search.Search:
    lease = KEPT.enter_context(keep_lease(folder / "leases", seconds=60))
    return search.open_search(folder, name, settings, space=space, seed=0, lease=lease, **how)


def value_of(asked: search.Asked) -> float:
    return -abs(math.log10(asked.params["learning_rate"]) + 2)


def finish(opened: search.Search) -> pd.DataFrame:
    while (asked := search.next_setting(opened)) is not None:
        search.tell(opened, asked, value_of(asked))
    return search.list_trials(opened)


@pytest.fixture
def start(nursery, tmp_path):
    """Start a worker that tries settings in a process of its own."""
    number = itertools.count()

    def call(folder: Path, *, kind: str = "random", count: int = 12, pause: float = 0.02, url: str = "") -> Worker:
        said = tmp_path / f"said{next(number)}"
        worker = nursery.start(work, str(folder), kind, count, pause, url, str(said))
        worker.said = lambda: [int(line) for line in said.read_text().split()] if said.is_file() else []
        return worker

    return call


def test_one_worker_tries_every_setting_once_and_the_table_is_sorted(tmp_path):
    opened = begin(tmp_path)
    table = finish(opened)
    drawn = draw_settings(PUBLISHED_HEAD, 12, seed=0, name="x")
    assert table["setting"].tolist() == list(range(12))
    assert table[list(PUBLISHED_HEAD)].to_dict("records") == drawn
    assert set(table["state"]) == {"complete"}
    assert list(table.columns) == ["setting", *PUBLISHED_HEAD, "value", "state"]
    assert search.next_setting(opened) is None


def test_a_batch_gives_the_table_of_one_after_the_other(tmp_path):
    expected = finish(begin(tmp_path / "one"))
    opened = begin(tmp_path / "batch")
    first = search.ask_all(opened, limit=5)
    rest = search.ask_all(opened)
    assert [one.index for one in first + rest] == list(range(12))
    assert search.ask_all(opened) == []
    # Told in another order than asked: the table does not show it.
    for asked in (rest, first):
        search.tell_all(opened, asked[::-1], [value_of(one) for one in asked[::-1]])
    pd.testing.assert_frame_equal(search.list_trials(opened), expected)
    with pytest.raises(ValueError, match="shorter"):
        search.tell_all(opened, rest, [0.0])


@pytest.mark.parametrize("url", ["", "sqlite:///{}/search.db"])
def test_two_processes_share_a_search_and_cover_all_settings_once(url, start, tmp_path):
    url = url.format(tmp_path)
    workers = [start(tmp_path, count=16, pause=0.1, url=url) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    told = [worker.said() for worker in workers]
    assert sorted(itertools.chain(*told)) == list(range(16))
    assert all(told), "one worker did everything: nothing was shared"
    opened = begin(tmp_path, 16, url=url)
    assert len(opened.study.trials) == 16, "settings were enqueued twice"
    pd.testing.assert_frame_equal(search.list_trials(opened), finish(begin(tmp_path / "alone", 16)))


@pytest.mark.parametrize(("kind", "url"), [("random", ""), ("tpe", ""), ("random", "sqlite:///{}/search.db")])
def test_killed_and_run_again_gives_the_same_table(kind, url, start, tmp_path):
    expected = finish(begin(tmp_path / "undisturbed", 14, kind=kind))
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    for place in (whole, folder):
        place.mkdir()
    course, _ = watch(lambda: start(whole, kind=kind, count=14, pause=0.05, url=url.format(whole)), whole)
    url = url.format(folder)
    kill_in_the_middle(lambda: start(folder, kind=kind, count=14, pause=0.05, url=url), folder, whole=course)
    assert start(folder, kind=kind, count=14, pause=0, url=url).wait() == 0
    pd.testing.assert_frame_equal(search.list_trials(begin(folder, 14, kind=kind, url=url)), expected)


def test_the_setting_of_a_killed_worker_is_given_to_a_living_one(start, tmp_path):
    opened = begin(tmp_path, 4)
    worker = start(tmp_path, count=4, pause=3600)
    (taken,) = wait_until(worker.said, "it takes a setting", running=worker)
    mine = [search.next_setting(opened).index for _ in range(3)]
    assert sorted([*mine, taken]) == [0, 1, 2, 3]
    assert search.next_setting(opened) is None, "a living worker lost its setting"
    assert [(index, owner["pid"]) for index, owner in sharing.list_running(opened)] == [(taken, worker.pid)]
    worker.kill()
    worker.wait()
    assert search.next_setting(opened).index == taken


def test_a_process_that_opens_again_takes_what_it_left_unfinished(tmp_path):
    left = search.next_setting(begin(tmp_path))
    again = begin(tmp_path)
    assert sorted(one.index for one in search.ask_all(again)) == list(range(12))
    with pytest.raises(StageError, match="given to another worker"):
        search.tell(again, left, 0.5)


def test_a_half_written_line_is_repaired(tmp_path):
    opened = begin(tmp_path)
    search.tell(opened, search.next_setting(opened), 0.5)
    with (tmp_path / storage.FILE).open("ab") as stream:
        stream.write(b'{"op_code":6,"worker_id":"x')
    table = finish(begin(tmp_path))
    assert table["value"].notna().all()
    lines = (tmp_path / storage.FILE).read_text().splitlines()
    assert all(json.loads(line) for line in lines)


def test_a_damaged_journal_is_an_error_that_names_the_file(tmp_path):
    begin(tmp_path)
    path = tmp_path / storage.FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{broken", *lines[2:]]) + "\n")
    with pytest.raises(StageError, match=r"search\.journal"):
        begin(tmp_path)


def test_a_journal_that_cannot_grow_is_said_and_stays_whole(tmp_path):
    opened = begin(tmp_path)
    asked = search.next_setting(opened)
    size = (tmp_path / storage.FILE).stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))  # the system refuses what lies beyond
    try:
        with pytest.raises(StageError, match=r"cannot be written[\s\S]*search\.journal"):
            search.tell(opened, asked, 0.5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    search.tell(opened, asked, 0.5)
    assert finish(begin(tmp_path))["value"].notna().all()


def test_another_search_under_the_same_name_is_refused(tmp_path):
    begin(tmp_path, 12)
    with pytest.raises(StageError, match="begun with other settings"):
        begin(tmp_path, 13)
    other = draw_settings(PUBLISHED_HEAD, 3, seed=0, name="y")
    assert len(search.list_trials(open_search(tmp_path, "y", other))) == 3
    with pytest.raises(SettingsError, match="outside the space"):
        open_search(tmp_path, "z", [{**other[0], "learning_rate": 2.0}])
    with pytest.raises(SettingsError, match="Exactly"):
        open_search(tmp_path, "z", [{"learning_rate": 0.1}])
    with pytest.raises(SettingsError, match="no known sampler"):
        open_search(tmp_path, "z", other, sampler="grid")


def test_a_score_that_is_not_finite_has_failed_and_never_wins(tmp_path):
    opened = begin(tmp_path, 3)
    for asked, value in zip(search.ask_all(opened), [math.nan, 0.25, math.inf], strict=True):
        search.tell(opened, asked, value)
    table = search.list_trials(opened)
    assert table["state"].tolist() == ["failed", "complete", "failed"]
    assert tables.choose(table, column="value")["setting"] == 1
    assert search.next_setting(begin(tmp_path, 3)) is None, "a failed setting was tried again"


def test_tpe_begins_as_drawn_then_suggests_and_repeats_itself(tmp_path):
    first = finish(begin(tmp_path / "a", 30, kind="tpe"))
    drawn = draw_settings(PUBLISHED_HEAD, 30, seed=0, name="x")
    rows = first[list(PUBLISHED_HEAD)].to_dict("records")
    assert rows[: search.STARTUP] == drawn[: search.STARTUP]
    assert all(a != b for a, b in zip(rows[search.STARTUP :], drawn[search.STARTUP :], strict=True))
    assert first.loc[20:, "value"].mean() > first.loc[:9, "value"].mean() + 0.2, "it learnt nothing"
    assert first["learning_rate"].between(1e-5, 1).all()
    assert (first["lr_decay"] == 0).any()
    pd.testing.assert_frame_equal(finish(begin(tmp_path / "b", 30, kind="tpe")), first)


def test_tpe_knows_constants_choices_and_ranges(tmp_path):
    space = {"optimiser": Choice(("adam", "lbfgs")), "momentum": Uniform(0.1, 0.9), "epochs": Constant(20)}
    settings = draw_settings(space, 14, seed=0, name="x")
    opened = open_search(tmp_path, "x", settings, space=space, sampler="tpe")
    while (asked := search.next_setting(opened)) is not None:
        search.tell(opened, asked, asked.params["momentum"])
    table = search.list_trials(opened)
    assert set(table["epochs"]) == {20}
    assert table["momentum"].between(0.1, 0.9).all()
    assert set(table["optimiser"]) <= {"adam", "lbfgs"}


def test_the_median_pruner_stops_what_falls_behind(tmp_path):
    for pruner, stopped in (("median", True), ("none", False)):
        opened = begin(tmp_path / pruner, 8, pruner=pruner)
        for asked in search.ask_all(opened, limit=6):
            for step in range(3):
                search.report(opened, asked, 0.8, step=step)
            search.tell(opened, asked, 0.8)
        worse, better = search.ask_all(opened)
        for asked, value in ((worse, 0.1), (better, 0.9)):
            search.report(opened, asked, value, step=0)
        assert search.should_prune(opened, worse) is stopped
        assert search.should_prune(opened, better) is False
    search.tell(opened, worse, 0.99, pruned=True)
    row = search.list_trials(opened).loc[6]
    assert row["state"] == "pruned"
    assert math.isnan(row["value"]), "a score of some folds only could win"


@pytest.mark.parametrize("url", ["", "sqlite:///{}/search.db"])
def test_optuna_keeps_quiet(url, tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finish(begin(tmp_path, 12, kind="tpe", url=url.format(tmp_path)))
    assert capfd.readouterr() == ("", "")


def test_searches_of_several_runs_live_in_one_database(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.VARIABLE, f"sqlite:///{tmp_path}/all.db")
    one, two = (begin(tmp_path / "study" / run / "search", 3, url="environment") for run in ("a", "b"))
    finish(one)
    assert set(search.list_trials(two)["state"]) == {"waiting"}
    assert one.study.study_name.split(" ")[0].endswith("study/a/search")
    for path in (tmp_path / "study" / "a" / "search").glob("*"):
        path.unlink() if path.is_file() else None
    again = begin(tmp_path / "study" / "a" / "search", 3, url="environment")
    assert set(search.list_trials(again)["state"]) == {"waiting"}, "a folder made anew found the scores of the old one"


def test_a_search_stays_where_it_was_begun(tmp_path):
    url = f"sqlite:///{tmp_path}/all.db"
    for folder, first, second in ((tmp_path / "a", "", url), (tmp_path / "b", url, "")):
        begin(folder, 3, url=first)
        with pytest.raises(SettingsError, match=r"launch\.storage is [\s\S]*the search was begun in"):
            begin(folder, 3, url=second)


def test_a_database_that_cannot_be_used_is_said_without_its_password(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match="there is no variable NBPKG_SEARCH_STORAGE"):
        begin(tmp_path, url="environment")
    (tmp_path / "text.db").write_text("not a database, although it is long enough to be one" * 30)
    nobody = "postgresql+psycopg://lab:secret@127.0.0.1:1/none?password=secret"
    for url, kind, words in (
        (f"sqlite:///{tmp_path}/nowhere/all.db", StageError, "database of the search cannot be used: unable to open"),
        (f"sqlite:///{tmp_path}/text.db", StageError, "cannot be used: file is not a database"),
        ("what:secret", SettingsError, "URL of the database cannot be read"),
        ("mssql+turbodbc://lab:secret@host/x", SettingsError, r"kind 'mssql\+turbodbc' is not installed"),
        (nobody, (SettingsError, StageError), r"not installed|cannot be used"),
    ):
        monkeypatch.setenv(storage.VARIABLE, url)
        with pytest.raises(kind, match=words) as caught:
            begin(tmp_path / "run", url="environment")
        assert "secret" not in str(caught.value)


def test_a_database_that_goes_away_is_said_and_the_worker_goes_on_later(tmp_path):
    opened = begin(tmp_path, 3, url=f"sqlite:///{tmp_path}/all.db")
    asked = search.next_setting(opened)
    (tmp_path / "all.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StageError, match="no such table"):
        search.tell(opened, asked, 0.5)
    (tmp_path / "elsewhere.db").rename(tmp_path / "all.db")
    search.tell(opened, asked, 0.5)
    assert finish(opened)["value"].notna().all()


def trainings(count: int = 40, *, bad: tuple[int, ...] = ()) -> pd.DataFrame:
    rows, random = [], np.random.default_rng(0)
    for task in ("eggs", "drums"):
        for index, setting in enumerate(draw_settings(PUBLISHED_HEAD, count, seed=0, name=task)):
            base = 0.8 - 0.1 * abs(math.log10(setting["learning_rate"]) + 2)
            for fold, repetition in itertools.product(range(3), range(2)):
                failed = index in bad and fold == 1
                f1 = math.nan if failed else base + 0.01 * random.standard_normal()
                row = {"task": task, "variable": "attending", "setting": index, "fold": fold, "repetition": repetition}
                rows.append({**row, **setting, "optimiser": "adam", "validation_f1": f1, "failed": failed})
    return pd.DataFrame(rows)


def test_settings_are_averaged_and_the_best_of_each_pair_is_chosen():
    trials = trainings(bad=(4,))
    table = tables.summarise_trials(trials.sample(frac=1, random_state=0))
    assert list(table.columns) == tables.SETTINGS_COLUMNS
    assert table["setting"].tolist() == list(range(40)) * 2
    own = trials[(trials["task"] == "eggs") & (trials["setting"] == 3)]["validation_f1"]
    row = table[(table["task"] == "eggs") & (table["setting"] == 3)].iloc[0]
    assert row["average_validation_f1"] == pytest.approx(own.mean(), abs=1e-15)
    assert (row["low"], row["high"], row["n"], row["failed"]) == (own.min(), own.max(), 6, 0)
    broken = table[table["setting"] == 4]
    assert broken["average_validation_f1"].isna().all()
    assert (broken["n"] == 4).all()
    assert (broken["failed"] == 2).all()
    for _, pair in table.groupby("task"):
        assert pair["chosen"].sum() == 1
        assert pair.loc[pair["chosen"], "average_validation_f1"].item() == pair["average_validation_f1"].max()
    pd.testing.assert_frame_equal(tables.summarise_trials(trials), table)


def test_of_equal_averages_the_lowest_setting_is_chosen_and_none_is_an_error():
    table = pd.DataFrame({"setting": [3, 1, 2], "average_validation_f1": [0.7, 0.7, 0.6]}, index=[5, 6, 7])
    assert tables.choose(table)["setting"] == 1
    with pytest.raises(StageError, match="None of 3 settings"):
        tables.choose(table.assign(average_validation_f1=math.nan))
    nothing = tables.summarise_trials(trainings(2).assign(failed=True))
    assert not nothing["chosen"].any()
    assert nothing["low"].isna().all()


def test_top_settings_are_distinct_and_ranked():
    table = tables.summarise_trials(trainings())
    best = tables.top_settings(pd.concat([table, table.assign(setting=table["setting"] + 100)]), 10)
    assert best["rank"].tolist() == [*range(1, 11)] * 2
    assert (best["setting"] < 100).all(), "the same parameters are listed twice"
    for task, own in best.groupby("task"):
        scores = table.loc[table["task"] == task, "average_validation_f1"]
        assert own["average_validation_f1"].tolist() == sorted(scores, reverse=True)[:10]


def test_expected_best_is_the_mean_over_all_subsets():
    values = [0.3, 0.9, 0.1, 0.5, 0.5, 0.7]
    table = tables.expected_best(values)
    for row in table.itertuples():
        best = [max(part) for part in itertools.combinations(values, row.budget)]
        assert row.expected == pytest.approx(np.mean(best), abs=1e-12)
        assert row.deviation == pytest.approx(np.std(best), abs=1e-9)
        assert np.mean(np.array(best) < row.low) <= 0.05
        assert np.mean(np.array(best) > row.high) <= 0.05
    assert table["expected"].iloc[-1] == 0.9
    assert tables.expected_best([0.4, math.nan], [1])["expected"].item() == 0.2
    with pytest.raises(StageError, match="7 of 6"):
        tables.expected_best(values, [7])
    assert tables.expected_best(np.linspace(0, 1, 250))["expected"].is_monotonic_increasing


def test_budgets_are_worked_out_for_each_pair():
    table = tables.score_budgets(tables.summarise_trials(trainings(5)))
    assert table[["task", "budget"]].to_numpy().tolist() == [[t, b] for t in ("drums", "eggs") for b in range(1, 6)]


def test_smoothing_of_a_history_is_that_of_the_training():
    from nbpkg.training.history import smooth

    random = np.random.default_rng(0)
    rows = [
        {"task": "eggs", "fold": fold, "epoch": epoch, "value": random.random()}
        for fold in (0, 1)
        for epoch in range(12)
    ]
    history = pd.DataFrame(rows)
    table = tables.smooth_history(history.sample(frac=1, random_state=1), window=5)
    for fold in (0, 1):
        own = history.loc[history["fold"] == fold, "value"].to_numpy()
        assert table.loc[table["fold"] == fold, "smoothed"].to_numpy() == pytest.approx(smooth(own, 5), abs=1e-12)


@pytest.mark.parametrize("method", importance.METHODS)
def test_importance_finds_the_parameter_that_matters(method):
    settings = tables.summarise_trials(trainings(60, bad=(7,)))
    table = importance.rank_importance(settings, space=PUBLISHED_HEAD, seed=0, method=method)
    assert list(table.columns) == importance.COLUMNS
    for _, own in table.groupby("task"):
        assert own["parameter"].iloc[0] == "learning_rate"
        assert own["importance"].iloc[0] > 0.6
        assert own["importance"].sum() == pytest.approx(1)
        assert set(own["n"]) == {59}
    again = importance.rank_importance(settings, space=PUBLISHED_HEAD, seed=0, method=method)
    pd.testing.assert_frame_equal(table, again)


def test_importance_is_undefined_with_a_reason():
    few = tables.summarise_trials(trainings(5))
    table = importance.rank_importance(few, space=PUBLISHED_HEAD, seed=0)
    assert table["importance"].isna().all()
    assert set(table["reason"]) == {"fewer than 10 different settings"}
    assert set(table["parameter"]) == set(PUBLISHED_HEAD)
    same = tables.summarise_trials(trainings(12)).assign(average_validation_f1=0.5)
    table = importance.rank_importance(same, space=PUBLISHED_HEAD, seed=0)
    assert set(table["reason"]) == {"all settings score the same"}
    with pytest.raises(SettingsError, match="no known measure"):
        importance.rank_importance(few, space=PUBLISHED_HEAD, seed=0, method="shap")
