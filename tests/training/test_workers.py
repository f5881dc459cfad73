"""Searches shared by several workers: signs of life, who takes what, whom to wait for, and kills at random moments."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import tiny_world
from killing import KILLS, Signs, watch
from nursery import Worker
from patience import wait_until
from tiny_world import PAIR

from nbpkg import seeding, tables
from nbpkg.errors import NbpkgError, SettingsError, StageError
from nbpkg.runs.files import write_json
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training import attempts, leases, search, sharing, storage
from nbpkg.training.finetune_search import search_finetuning
from nbpkg.training.head_search import random_heads
from nbpkg.training.rounds import Pair, Where
from nbpkg.training.spaces import PUBLISHED_HEAD, draw_settings, space_of

PAIRS = [PAIR, Pair("play", "smiling")]


def search_once(folder: str, settings: dict, launch: dict, ready: Path) -> dict[str, str]:
    """What one worker of a search finds, as text."""
    seeding.seed_everything(0, threads=1)
    material, heads = pickle.loads(ready.read_bytes())
    where = Where(Path(folder), 0, tiny_world.CPU, 0, LaunchSettings().model_copy(update=launch))
    how = tiny_world.FINETUNE.model_copy(update=settings)
    try:
        found = search_finetuning(material, [PAIR], settings=how, heads=heads, shared=False, where=where)
    except NbpkgError as error:
        return {"error": str(error)}
    return {name: getattr(found, name).to_csv(index=False) for name in ("trials", "settings", "history")}


@pytest.fixture(scope="module")
def begin(nursery, world, tmp_path_factory):
    """Begin a worker of the search in a run folder."""
    ready = tmp_path_factory.mktemp("workers") / "ready.pickle"
    ready.write_bytes(pickle.dumps((world.material, world.found["head_search"].heads)))

    def start(run: Path, *, settings: dict, **launch: object) -> Worker:
        return nursery.start(search_once, str(run), settings, launch, ready)

    return start


SMALL = {"settings": 4, "epochs": 1}


@pytest.fixture(scope="module")
def undisturbed(begin, tmp_path_factory):
    """What one worker finds on its own, and how much work that is."""
    run = tmp_path_factory.mktemp("alone")
    course, worker = watch(lambda: begin(run, settings=SMALL), run)
    assert worker.result()["settings"].count("\n") == 1 + SMALL["settings"]
    return course, worker.result()


@pytest.fixture(scope="module")
def alone(undisturbed):
    """What one worker finds on its own."""
    return undisturbed[1]


# ---- real workers


def test_a_killed_worker_of_three_changes_nothing(begin, undisturbed, tmp_path):
    """SIGKILL of one of three at random moments; whoever gathers makes the same tables as one worker alone."""
    course, alone = undisturbed
    chance, caught = random.Random(KILLS), 0
    for number in range(20 + 4 * KILLS):
        if caught == KILLS:
            break
        run = tmp_path / str(number)
        signs, wanted = Signs(run), chance.randint(1, course.signs // 2)
        workers = [begin(run, settings=SMALL, search_workers=3, worker=k) for k in (1, 2, 3)]
        victim = workers.pop(chance.randrange(3))
        signs.await_work(victim, wanted)
        victim.kill()
        caught += victim.wait() != 0
        assert begin(run, settings=SMALL, search_workers=3).result() == alone
        assert all("error" not in worker.result() for worker in workers)
    assert caught == KILLS, "workers had ended before they were killed"


def test_a_suspended_worker_is_expelled_and_says_so(begin, alone, tmp_path):
    """SIGSTOP, its setting goes to another, SIGCONT: it stops, and what it may still write does no harm."""
    how = {"settings": SMALL, "search_workers": 1, "lease_seconds": 3}
    sleeper = begin(tmp_path, **how, worker=1)
    wait_until(lambda: any(tmp_path.rglob("setting0_fold1_repetition0/last.ckpt")), "it trains", pause=0.01)
    sleeper.send_signal(signal.SIGSTOP)
    (lease,) = (tmp_path / "search" / "leases").iterdir()
    last = begin(tmp_path, **how)
    wait_until(lambda: not lease.is_file(), "its lease is taken away", pause=0.01)
    sleeper.send_signal(signal.SIGCONT)
    said = sleeper.result()["error"]
    assert said.startswith("This worker was taken for dead: others removed its lease")
    assert "Start it again; it goes on with what is left." in said
    assert last.result() == alone
    assert begin(tmp_path, **how, worker=1).result() == alone, "a worker that comes again sees all"


def test_workers_of_a_database_find_what_those_of_a_journal_do(begin, alone, tmp_path):
    how = {"settings": SMALL, "search_workers": 2, "storage": f"sqlite:///{tmp_path}/all.db"}
    workers = [begin(tmp_path / "run", **how, worker=k) for k in (1, 2)]
    assert begin(tmp_path / "run", **how).result() == alone
    assert all("error" not in worker.result() for worker in workers)
    assert not list((tmp_path / "run").rglob(storage.FILE))


def test_what_is_known_is_summarised_while_another_worker_tries_the_rest(world, tmp_path):
    """One pair is done, of the other a living worker has a setting: the tables hold the rest and their contracts."""
    material, parts = world.material, ("samples", "spans", "draws")
    both = {
        name: pd.concat([table, table.assign(**rename(name))]) for name in parts for table in [getattr(material, name)]
    }
    material = replace(material, **both, draw=draw_any)
    how = tiny_world.FINETUNE.model_copy(update={"epochs": 1})
    heads = random_heads(material, PAIRS, seed=0)
    one, last = (Where(tmp_path, 0, tiny_world.CPU, 0, LaunchSettings(search_workers=2, worker=k)) for k in (1, 0))
    space = space_of(how)
    drawn = draw_settings(space, 2, seed=0, name="play_smiling network")
    elsewhere = foreign(tmp_path)
    folder = sharing.search_folder(tmp_path, PAIRS[1])
    other = search.open_search(folder, "play_smiling", drawn, space=space, seed=0, lease=elsewhere)
    assert search.next_setting(other).index == 0
    found = search_finetuning(material, PAIRS, settings=how, heads=heads, shared=False, where=one)
    for name in ("trials", "settings", "history"):
        tables.check(getattr(found, name), name)
    assert found.settings.groupby("variable")["setting"].apply(list).to_dict() == {"looking": [0, 1], "smiling": [1]}
    assert found.settings.groupby("variable")["chosen"].sum().tolist() == [1, 1]
    seen = sharing.list_searches(tmp_path, PAIRS, launch=one.launch)
    assert seen["state"].tolist() == ["complete", "complete", "running", "complete"]
    os.utime(elsewhere.path, (0, 0))
    whole = search_finetuning(material, PAIRS, settings=how, heads=heads, shared=False, where=last)
    assert whole.settings["setting"].tolist() == [0, 1, 0, 1]
    same = whole.settings.drop(columns="chosen").iloc[[0, 1, 3]].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, found.settings.drop(columns="chosen"))


def rename(name: str) -> dict[str, object]:
    own = {"samples": ("sample_id",), "draws": ()}.get(name, ())
    return {"variable": "smiling", **{key: lambda table, key=key: "x" + table[key] for key in own}}


def draw_any(tasks, spans, **how):
    clips, dropped = tiny_world.draw(tasks, spans.assign(variable=PAIR.variable), **how)
    return clips.assign(variable=spans["variable"].iloc[0]), dropped


# ---- who takes what, whom to wait for


def foreign(run: Path, *, seconds: float = 3600, worker: int = 2, share: str = "dynamic") -> leases.Lease:
    """Lease of a worker on another machine, which nothing touches but what a test does."""
    lease = leases.Lease(sharing.lease_folder(run), seconds, worker, share)
    lease.owner |= {"host": "node7", "machine": "another", "pid": 4711}
    write_json(lease.path, {**lease.owner, "share": share, "seconds": seconds})
    return lease


def open_pairs(run: Path, lease: leases.Lease, *, count: int = 4, pairs=PAIRS, url: str = ""):
    return {
        pair: search.open_search(
            sharing.search_folder(run, pair),
            pair.name,
            draw_settings(PUBLISHED_HEAD, count, seed=0, name=pair.name),
            space=PUBLISHED_HEAD,
            seed=0,
            lease=lease,
            storage=url,
        )
        for pair in pairs
    }


def share(run: Path, *, count: int = 4, pairs=PAIRS, seconds: float = 60, **launch: object):
    """Share a search whose trainings take no time; return what was tried, and all trials, by pair."""
    how, tried = LaunchSettings(**launch), {pair: [] for pair in pairs}
    with leases.keep_lease(sharing.lease_folder(run), seconds=seconds, worker=how.worker, share=how.share) as lease:
        opened = open_pairs(run, lease, count=count, pairs=pairs)

        def attempt(pair, asked):
            tried[pair].append(asked.index)
            search.tell(opened[pair], asked, 0.1 * asked.index)

        tries = {pair: lambda asked, pair=pair: attempt(pair, asked) for pair in pairs}
        sharing.share_work(opened, tries, launch=how)
        return tried, {pair: search.list_trials(one) for pair, one in opened.items()}


@contextlib.contextmanager
def later(action, *, when=lambda: True, seconds: float = 1.0):
    """Do something in another thread while the block runs, some time after something has come true."""

    def act() -> None:
        wait_until(when, "it may be done")
        time.sleep(seconds)
        action()

    timer = threading.Thread(target=act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def done(opened: search.Search) -> int:
    """How many settings have a score."""
    return search.list_trials(opened)["state"].tolist().count("complete")


def test_a_worker_takes_all_that_is_free_and_does_not_wait_for_the_rest(tmp_path):
    other = open_pairs(tmp_path, foreign(tmp_path))
    search.tell(other[PAIRS[1]], search.next_setting(other[PAIRS[1]]), 0.5)  # one score would do to summarise
    assert search.next_setting(other[PAIR]).index == 0
    tried, known = share(tmp_path, search_workers=2, worker=1)
    assert tried == {PAIR: [1, 2, 3], PAIRS[1]: [1, 2, 3]}
    assert known[PAIR]["state"].tolist() == ["running", *["complete"] * 3]


def test_the_worker_that_ends_the_search_waits_and_says_for_whom(tmp_path, capfd):
    other = open_pairs(tmp_path, foreign(tmp_path))
    asked = search.next_setting(other[PAIR])
    with later(lambda: search.tell(other[PAIR], asked, 0.75), when=lambda: done(other[PAIRS[1]]) == 4):
        tried, known = share(tmp_path, search_workers=2, seconds=2)
    assert tried[PAIR] == [1, 2, 3]
    assert known[PAIR]["state"].tolist() == ["complete"] * 4
    assert known[PAIR].loc[0, "value"] == 0.75
    assert capfd.readouterr().err.count("Waiting for play looking setting 0 (node7, process 4711).") == 1


def test_the_settings_of_a_worker_whose_lease_ran_out_are_tried_by_another(tmp_path):
    lease = foreign(tmp_path, seconds=2)
    other = open_pairs(tmp_path, lease)
    asked = search.next_setting(other[PAIR])
    tried, known = share(tmp_path, search_workers=2, seconds=2)  # which waits until then
    assert tried[PAIR] == [1, 2, 3, 0]
    assert not lease.path.is_file()
    before = other[PAIR].storage.journal.path.read_bytes()
    for refused in (
        lambda: search.tell(other[PAIR], asked, 0.75),
        lambda: search.report(other[PAIR], asked, 0.75, step=1),
        lambda: search.next_setting(other[PAIR]),
    ):
        with pytest.raises(StageError, match=r"taken for dead[\s\S]*Start it again"):
            refused()
    assert other[PAIR].storage.journal.path.read_bytes() == before, "a worker that is dead to the others wrote"
    assert known[PAIR].loc[0, "value"] == 0.0


def test_a_missing_lease_is_a_dead_worker_and_a_new_one_a_living_worker(tmp_path):
    lease = foreign(tmp_path, seconds=5000)
    other = open_pairs(tmp_path, lease)[PAIR]
    search.next_setting(other)
    with leases.keep_lease(sharing.lease_folder(tmp_path), seconds=60) as own:
        mine = open_pairs(tmp_path, own)[PAIR]
        os.utime(lease.path, (time.time() - 4000, time.time() - 4000))
        assert [one.index for one in search.ask_all(mine)] == [1, 2, 3]
        lease.path.unlink()
        again = search.next_setting(mine)
        assert (again.index, again.attempt) == (0, 1)
        assert search.count_attempts(mine) == {0: 1, 1: 0, 2: 0, 3: 0}


def test_looking_on_takes_nothing_and_waits_for_a_score_of_every_pair(tmp_path):
    other = open_pairs(tmp_path, foreign(tmp_path))
    asked = [search.next_setting(one) for one in other.values()]
    with later(lambda: [search.tell(one, it, 0.75) for one, it in zip(other.values(), asked, strict=True)]):
        tried, known = share(tmp_path, search_workers=2, worker=1, share="none", seconds=2)
    assert tried == {pair: [] for pair in PAIRS}
    assert all(table["state"].tolist() == ["complete", *["waiting"] * 3] for table in known.values())


def test_nothing_to_summarise_is_said_when_nobody_is_at_work(tmp_path):
    other = open_pairs(tmp_path, foreign(tmp_path))
    search.tell(other[PAIR], search.next_setting(other[PAIR]), 0.75)
    with pytest.raises(StageError, match=r"no setting of play smiling has a score[\s\S]*launch\.worker = 0"):
        share(tmp_path, search_workers=2, worker=1, share="none", seconds=0.5)


@pytest.mark.parametrize("workers", [3, 8])
def test_fixed_parts_are_those_of_the_published_job_array(workers, tmp_path):
    count = 7
    how = {"count": count, "pairs": [PAIR], "search_workers": workers, "share": "fixed"}
    taken = [share(tmp_path, **how, worker=worker)[0][PAIR] for worker in range(1, workers + 1)]
    assert [len(one) for one in taken] == [count // workers + (k < count % workers) for k in range(workers)]
    assert sorted(number for one in taken for number in one) == list(range(count))
    assert taken[0] == list(range(0, count, workers))
    tried, known = share(tmp_path, **how)
    assert tried[PAIR] == []
    assert known[PAIR]["state"].tolist() == ["complete"] * count


def test_of_fixed_parts_the_last_worker_takes_those_of_workers_that_are_gone(tmp_path):
    living = foreign(tmp_path, worker=2, share="fixed")
    foreign(tmp_path, worker=3, share="none")  # looking on reserves nothing
    os.utime(foreign(tmp_path, worker=1, share="fixed").path, (0, 0))
    other = open_pairs(tmp_path, living, count=7, pairs=[PAIR])[PAIR]
    with later(living.path.unlink, when=lambda: done(other) == 5):
        tried, _ = share(tmp_path, count=7, pairs=[PAIR], search_workers=3, share="fixed", seconds=2)
    assert tried[PAIR] == [0, 2, 3, 5, 6, 1, 4]


def test_a_worker_without_a_part_waits_for_others_and_then_gives_up(tmp_path):
    how = {"count": 2, "pairs": [PAIR], "search_workers": 3, "worker": 3, "share": "fixed"}
    with pytest.raises(StageError, match="nothing to summarise yet"):
        share(tmp_path, **how, seconds=0.5)
    other = open_pairs(tmp_path, foreign(tmp_path), count=2, pairs=[PAIR])[PAIR]
    asked = search.next_setting(other)
    with later(lambda: search.tell(other, asked, 0.5)):
        tried, known = share(tmp_path, **how, seconds=0.5)
    assert tried[PAIR] == []
    assert known[PAIR]["state"].tolist() == ["complete", "waiting"]


def test_a_search_in_order_goes_on_in_order_after_a_kill_elsewhere(tmp_path):
    """With TPE the next suggestion depends on every score, so that a lost setting comes first."""

    def run(folder: Path, lease: leases.Lease):
        drawn = draw_settings(PUBLISHED_HEAD, 12, seed=0, name="x")
        how = {"space": PUBLISHED_HEAD, "seed": 0, "lease": lease, "sampler": "tpe"}
        return search.open_search(sharing.search_folder(folder, PAIR), "x", drawn, **how)

    def end(folder: Path) -> pd.DataFrame:
        with leases.keep_lease(sharing.lease_folder(folder), seconds=60) as lease:
            opened = run(folder, lease)
            tries = {PAIR: lambda asked: search.tell(opened, asked, asked.params["learning_rate"])}
            sharing.share_work({PAIR: opened}, tries, launch=LaunchSettings())
            return search.list_trials(opened)

    expected = end(tmp_path / "undisturbed")
    lost = run(tmp_path / "killed", foreign(tmp_path / "killed", seconds=1))
    for one in search.ask_all(lost, limit=10):
        search.tell(lost, one, one.params["learning_rate"])
    assert search.next_setting(lost).index == 10
    pd.testing.assert_frame_equal(end(tmp_path / "killed"), expected)


def test_ways_to_share_without_meaning_are_refused():
    with pytest.raises(SettingsError, match=r"share is 'fixed', but the sampler is 'tpe'"):
        sharing.check_launch(LaunchSettings(search_workers=2, worker=1, share="fixed"), sampler="tpe")
    with pytest.raises(SettingsError, match=r"launch\.worker is 0, which ends the search"):
        sharing.check_launch(LaunchSettings(search_workers=2, share="none"), sampler="random")


@pytest.mark.parametrize("kind", ["", "sqlite"])
def test_who_tries_what_is_listed_without_changing_anything(kind, tmp_path):
    url = f"sqlite:///{tmp_path}/all.db" if kind else ""
    launch = LaunchSettings(storage=url)
    run = tmp_path / "run"
    assert list(sharing.list_searches(run, PAIRS, launch=launch).columns) == list(sharing.COLUMNS)
    assert not run.exists()
    living, dead = foreign(run, worker=1), foreign(run, worker=2)
    mine, other = open_pairs(run, living, url=url)[PAIR], open_pairs(run, dead, url=url)[PAIR]
    search.tell(mine, search.next_setting(mine), 0.5)
    assert search.next_setting(mine).index == 1
    assert search.next_setting(other).index == 2
    now = leases.read_clock(living.folder)
    os.utime(dead.path, (now - 10_000, now - 10_000))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    table = sharing.list_searches(run, PAIRS, launch=launch)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert table[["variable", "setting"]].to_numpy().tolist() == [[p.variable, n] for p in PAIRS for n in range(4)]
    own = table[table["variable"] == "looking"].set_index("setting")
    assert own["state"].tolist() == ["complete", "running", "lost", "waiting"]
    assert own["value"].fillna(-1).tolist() == [0.5, -1, -1, -1]
    assert own["worker"].fillna(-1).tolist() == [1, 1, 2, -1]
    assert own["host"].tolist() == ["node7"] * 3 + [""]
    assert own.loc[1, "silent_s"] < 3600
    assert 10_000 <= own.loc[2, "silent_s"] < 13_600
    assert own.loc[[0, 3], "silent_s"].isna().all()


# ---- signs of life


def test_a_reused_process_number_is_not_taken_for_the_owner():
    me = leases.sign()
    assert leases.is_me(me)
    assert not leases.is_gone(me)
    assert leases.is_gone({**me, "born": "1"})
    for other in ({"host": "elsewhere"}, {"machine": "another container"}):
        assert not leases.is_gone({**me, **other, "pid": 2**22 + 1}), "processes of another machine cannot be seen"
    process = subprocess.Popen([sys.executable, "-c", ""])
    state = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z", "it has ended")
    assert leases.is_gone({**me, "pid": process.pid}), "a process that only waits to be collected counts as alive"
    process.wait()


def test_a_lease_is_touched_while_the_block_runs_and_gone_afterwards(tmp_path):
    with leases.keep_lease(tmp_path, seconds=0.6) as lease:
        first = lease.path.stat().st_mtime_ns
        wait_until(lambda: lease.path.stat().st_mtime_ns > first, "it is touched")
        assert [one["lease"] for one in leases.list_living(tmp_path)] == [lease.path.name]
    assert list(tmp_path.iterdir()) == []
    for kind in (ValueError, KeyboardInterrupt):
        with pytest.raises(kind, match="of its own"), leases.keep_lease(tmp_path, seconds=60):
            raise kind("of its own")
        assert list(tmp_path.iterdir()) == []


def test_a_lease_that_ran_out_but_that_nobody_removed_still_holds(tmp_path):
    """As after a laptop slept: nobody took the setting, so nobody is harmed by going on."""
    with leases.keep_lease(tmp_path, seconds=60) as lease:
        os.utime(lease.path, (0, 0))
        assert leases.list_living(tmp_path) == []
        lease.renew()
        assert len(leases.list_living(tmp_path)) == 1


@pytest.mark.parametrize("busy", [lambda: time.sleep(600), lambda: subprocess.run(["sleep", "600"], check=True)])
def test_a_worker_whose_lease_is_removed_is_interrupted_whatever_it_waits_for(busy, tmp_path):
    began = time.monotonic()
    with (
        pytest.raises(StageError, match=r"taken for dead: others removed its lease"),
        leases.keep_lease(tmp_path, seconds=0.6) as lease,
        later(lease.path.unlink, seconds=0.2),
    ):
        busy()
    assert time.monotonic() - began < 500
    time.sleep(0.2)  # a second interruption would come now


def test_a_lease_that_cannot_be_touched_for_too_long_is_lost(tmp_path):
    """As on a disk that does not answer: nobody can know any more who is alive."""
    folder = tmp_path / "leases"

    def lose_it() -> None:
        with leases.keep_lease(folder, seconds=0.5) as lease:
            lease.path.rename(tmp_path / "kept")
            folder.rmdir()
            folder.write_text("")  # a file in place of the folder
            time.sleep(600)

    with pytest.raises(StageError, match=r"could not show a sign of life for 0\.5 s \(Not a directory\)"):
        lose_it()


def test_what_was_signed_by_anybody_names_no_other_file(tmp_path):
    (tmp_path / "leases").mkdir()
    precious = tmp_path / "precious.json"
    precious.write_text('{"seconds": 1}')
    os.utime(precious, (0, 0))
    with leases.keep_lease(tmp_path / "leases", seconds=60) as lease:
        assert lease.judge({"host": "node7", "pid": 1, "born": "1", "lease": "../precious.json"})
        assert lease.judge({"host": "node7", "pid": 1, "born": "1"})
    assert precious.is_file()


# ---- folders of attempts


def test_an_attempt_goes_on_from_the_newest_one_before_it(tmp_path):
    folders = [attempts.name_folder(tmp_path, 3, fold=0, repetition=1, attempt=number) for number in range(3)]
    assert [one.name for one in folders] == [
        f"setting3_fold0_repetition1{end}" for end in ("", "_attempt1", "_attempt2")
    ]
    for folder, text in zip(folders[:2], ("old", "new"), strict=True):
        folder.mkdir()
        (folder / "last.ckpt").write_text(text)
    (folders[1] / ".best.partial.ckpt").write_text("half")
    attempts.take_over(folders[2], folders[:2])
    assert [path.name for path in folders[2].iterdir()] == ["last.ckpt"]
    assert (folders[2] / "last.ckpt").read_text() == "new"
    assert [one.exists() for one in folders] == [False, False, True]
    folders[0].mkdir()
    (folders[0] / "last.ckpt").write_text("written by one who was taken for dead")
    attempts.take_over(folders[2], folders[:2])
    assert (folders[2] / "last.ckpt").read_text() == "new", "an attempt that has begun was overwritten"


def test_a_copy_that_was_cut_off_is_made_anew(tmp_path):
    first, second = (attempts.name_folder(tmp_path, 0, fold=0, repetition=0, attempt=number) for number in range(2))
    for folder, text in ((first, "whole"), (tmp_path / f".{second.name}.partial", "ha")):
        folder.mkdir()
        (folder / "best.ckpt").write_text(text)
    attempts.take_over(second, [first])
    assert (second / "best.ckpt").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == [second.name]
