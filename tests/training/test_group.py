"""One training by several processes: the results of one, no process left behind, errors in words."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import group_cases as cases
import killing
import numpy as np
import pytest
import tiny_world
import torch
from patience import wait_until
from torch import nn

from nbpkg.errors import DivergedError, SettingsError, StageError
from nbpkg.settings.launch import LaunchSettings
from nbpkg.training import group, ranks
from nbpkg.training.finetune_search import assemble

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
KILLS = max(2, killing.KILLS // 3)  # each costs the start of a group
ALONE = LaunchSettings()
FILES = ["best.ckpt", "last.ckpt", "trained.json"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Folder of a training by two processes that nothing disturbs; with dropout."""
    folder = tmp_path_factory.mktemp("whole")
    cases.run(folder)
    return folder


def far(one, other) -> float:
    """Greatest difference between the losses of two trainings."""
    splits = one.history.splits
    return max(np.abs(splits[name].loss - other.history.splits[name].loss).max() for name in splits)


# ---- results


# One step of twenty tries, as with one process cut into parts: more of them would enlarge the rounding of sums.
LBFGS = replace(cases.HOW, optimiser="lbfgs", learning_rate=0.3, weight_decay=0.001, epochs=1, accumulate=7)


@pytest.mark.parametrize(
    ("how", "launch", "network"),
    [
        # Three processes for parts of two clips, and a last step of a single one.
        (replace(cases.HOW, batch_size=2, accumulate=3), cases.TRIO, cases.Partly),
        (LBFGS, cases.PAIR, cases.network),
    ],
)
def test_several_processes_train_as_one_does(how, launch, network, tmp_path, capfd):
    data = {"train": partial(cases.clips, count=19), "how": how, "workers": 2}
    one = cases.run(tmp_path / "one", network(), launch=ALONE, **data)
    alone = capfd.readouterr().err.splitlines()
    more = cases.run(tmp_path / "more", network(), launch=launch, **data)
    told = capfd.readouterr()
    assert far(one, more) < 1e-4
    assert one.best_epoch == more.best_epoch
    for name, course in one.history.splits.items():
        np.testing.assert_array_equal(course.confusion, more.history.splits[name].confusion)
    assert list(one.last) == list(more.last)
    for key, value in one.last.items():
        torch.testing.assert_close(more.last[key], value, rtol=1e-3, atol=1e-4)
    assert sorted(path.name for path in (tmp_path / "more").iterdir()) == FILES
    words = [line.split(" in ")[0] + line.partition(";")[2] for line in (*alone, *told.err.splitlines())]
    assert len(words) == 2, words
    assert words[0] == words[1]  # the same report as of one process
    assert told.out == ""


def test_batch_statistics_on_the_cpu_are_those_of_each_process(tmp_path):
    material = tiny_world.make_material(tmp_path)
    clips = material.clips(
        tiny_world.PAIR, 3, chunks=2, seed=0
    )  # with augmentation, which each clip has its own seed for
    how = replace(cases.HOW, batch_size=8, accumulate=1, learning_rate=0.001)
    data = {"train": clips.train, "validation": clips.validation, "watch": {}, "how": how}
    trained = []
    for launch in (ALONE, cases.PAIR):
        head = torch.zeros(2, material.baked.encoder.features), torch.zeros(2)
        network = assemble(material, head)
        trained.append(cases.run(tmp_path / str(launch.group), network, launch=launch, **data))
    one, two = trained
    for split in ("train", "validation"):  # before the first step there are no statistics of a batch
        assert one.history.splits[split].loss[0] == pytest.approx(two.history.splits[split].loss[0], abs=1e-6)
    assert 1e-4 < far(one, two) < 0.2
    assert list(one.last) == list(two.last)


def test_a_training_by_two_is_another_one_than_by_one(whole):
    with pytest.raises(StageError, match="processes 2 there and None here"):
        cases.run(whole, launch=ALONE)


# ---- disturbed


def test_killed_and_interrupted_and_called_again_it_ends_with_the_same_bytes(whole, nursery, tmp_path):
    """SIGKILL to a process and to the caller costs the running epoch only; after SIGINT nobody is left at once."""
    chance, epoch = random.Random(1), 1
    for number in range(KILLS):
        who, epoch = ("rank", "caller")[number % 2], chance.randint(epoch, 3)  # those before are over
        worker = nursery.start(cases.run_and_kill, str(tmp_path), epoch, who)
        if who == "rank":
            assert "was killed (SIGKILL), most often because memory ran out" in worker.result()
        else:
            assert worker.wait() == 1
        wait_until(lambda: not cases.list_processes(tmp_path), "nobody is left")
        assert (tmp_path / "last.ckpt").is_file()
        assert not (tmp_path / "trained.json").exists()
    stop = partial(cases.train, at=epoch, rank=0, act="SIGINT", target=os.getpid())
    with pytest.raises(KeyboardInterrupt):
        cases.run(tmp_path, train=stop)
    assert not cases.list_processes(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES[:2]
    cases.run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    for name in FILES[::2]:
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name


ORPHANING = r"""
import os, subprocess, sys, time
child = "import os, threading, time\n" "threading.Thread(target=lambda: os.read(0, 1) or os._exit(0)).start()\n"
subprocess.Popen([sys.executable, "-u", "-c", child + "while True: print('still here'); time.sleep(0.01)"])
time.sleep(1)
os.kill(os.getpid(), 9)
"""


def test_kill_of_the_launcher_is_noticed_although_its_processes_go_on(tmp_path):
    with (tmp_path / "log").open("ab") as log:
        code, failures = group._run([sys.executable, "-c", ORPHANING], log, dict(os.environ))
    assert (code, failures) == (-9, [])
    assert b"still here" in (tmp_path / "log").read_bytes()
    with pytest.raises(StageError, match=r"was killed \(SIGKILL\)"):
        group._judge(failures, code, tmp_path / "log")


def test_memory_that_does_not_suffice_in_one_process_halves_the_parts_of_all(tmp_path, capfd):
    how = replace(cases.HOW, batch_size=8, accumulate=1)
    tight = cases.run(tmp_path / "tight", cases.Greedy(2), how=how)
    text = capfd.readouterr().err
    assert "A batch of 8 clips does not fit into memory; going on with 4 at a time" in text
    assert (tight.batch_size, tight.accumulate) == (4, 2)
    roomy = cases.run(tmp_path / "roomy", cases.Greedy(8), how=how, launch=ALONE)
    assert far(tight, roomy) < 1e-4


# ---- errors


def test_an_error_of_ours_arrives_as_it_was_raised(tmp_path):
    said = []
    for launch in (ALONE, cases.PAIR):
        folder = tmp_path / "training"
        with pytest.raises(DivergedError, match="The loss is nan in epoch 2, training step") as caught:
            cases.run(folder, cases.network(), train=cases.spoilt, launch=launch)
        said.append(str(caught.value))
        assert sorted(path.name for path in folder.iterdir()) == FILES[:2]
        folder.rename(tmp_path / str(launch.group))
    assert said[0] == said[1]


def test_what_cannot_be_handed_over_is_an_error_in_words(tmp_path):
    with pytest.raises(StageError, match="cannot be handed to other processes: .*lambda"):
        cases.run(tmp_path, train=lambda epoch: cases.clips(epoch))
    with pytest.raises(StageError, match="cannot be handed to other processes"):
        cases.run(tmp_path, _hooked())
    assert not list(tmp_path.iterdir())


def _hooked() -> nn.Module:
    network = nn.Linear(5, 2)
    network.register_forward_hook(lambda *_: None)
    return network


def test_a_job_that_another_wrote_or_that_names_what_is_not_there_is_refused(tmp_path):
    job = tmp_path / "job.pickle"
    job.write_bytes(b"cno_such_module\nThing\n.")
    with pytest.raises(StageError, match="not the one that was written"):
        ranks._read(job, "0" * 64)
    digest = hashlib.sha256(job.read_bytes()).hexdigest()
    with pytest.raises(StageError, match="No module named 'no_such_module'"):
        ranks._read(job, digest)


# ---- several nodes


def test_several_nodes_need_an_allocation(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(SettingsError, match="this is no SLURM job"):
        cases.run(tmp_path, launch=LaunchSettings(processes=2, nodes=2))


def test_the_command_for_several_nodes(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    launch = LaunchSettings(processes=4, nodes=2)
    command = group.build_command(launch, Path("/runs/group/job.pickle"), digest="ab" * 32, meeting="node1:4711")
    assert command == [
        *("srun", "--jobid=17", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"),
        *("--overlap", "--cpu-bind=none", "--kill-on-bad-exit=1"),
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=4", "--log-dir=/runs/group"),
        *("--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=node1:4711"),
        *("--rdzv-id=abababababababab", "--rdzv-conf=is_host=false"),
        *("-m", "nbpkg.training.ranks", "/runs/group/job.pickle", "ab" * 32),
    ]


SRUN = """#!/bin/sh
# Stands for srun on two nodes: starts what follows its options twice, here; both see the end of standard input.
while [ "${1#--}" != "$1" ]; do shift; done
exec 3<&0
"$@" <&3 & first=$!
"$@" <&3 & second=$!
trap 'kill $first $second' TERM
wait $first; code=$?
wait $second || code=$?
exit $code
"""


def test_the_launchers_of_two_nodes_find_each_other(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    one = cases.run(tmp_path / "one", cases.network(), launch=ALONE)
    two = cases.run(tmp_path / "two", cases.network(), launch=LaunchSettings(nodes=2))
    assert far(one, two) < 1e-4
    # An error that is not ours: said in words, all end, and the log stays.
    with pytest.raises(StageError, match="RuntimeError: .*mat1 and mat2 shapes cannot be multiplied") as caught:
        cases.run(tmp_path / "wrong", nn.Linear(7, 2), launch=LaunchSettings(nodes=2))
    log = tmp_path / "wrong" / "group" / "log.txt"
    assert str(log) in caught.value.where
    assert "in forward" in log.read_text()
    assert "Traceback" not in str(caught.value)
    assert [path.name for path in log.parent.iterdir()] == ["log.txt"]
    assert not cases.list_processes(tmp_path)
