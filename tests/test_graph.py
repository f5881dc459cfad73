"""The graph makes again what a change concerns, says why, and leaves the rest alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from patience import PATIENCE_S

from nbpkg.errors import SettingsError
from nbpkg.runs import graph
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

PHASES = ["head_search", "finetune_search", "final"]
FROM_FINAL_ON = ["05_train_final", "06_evaluate", "08_compare", "report"]
FROM_TRAIN_ON = ["05_train_final", "05_train_finetune_search", "05_train_head_search", *FROM_FINAL_ON[1:]]
FROM_STRATIFY_ON = ["03_stratify", "04_bake", *FROM_TRAIN_ON[:-2], "07_paint", *FROM_TRAIN_ON[-2:]]
SEARCHED = ("settings.csv", "heads.safetensors")


def start(project: Path, *options: str, config: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run snakemake in a project as the Makefile does."""
    flags = re.search(r"^SNAKEMAKE = \S+ -c\S+ (.*)$", (project / "Makefile").read_text(), re.MULTILINE)
    command = [sys.executable, "-m", "snakemake", "-c2", *flags.group(1).split(), *options]
    environment = {name: value for name, value in os.environ.items() if name != "NBPKG_ROOT"}
    return subprocess.run(
        [*command, "--config", *config],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
    )


def snakemake(project: Path, *options: str) -> str:
    """Run it on the sample experiment, and return what it says."""
    done = start(project, *options, config=("study=infant_engagement", "experiment=sample"))
    assert done.returncode == 0, done.stdout
    return done.stdout


def to_make(text: str) -> list[str]:
    """Rules that a dry run would run, from its table of jobs."""
    return sorted(set(re.findall(r"^(0\d_\w+|report)\s+\d+$", text, re.MULTILINE)))


@pytest.fixture(scope="module")
def project(root, demo, tmp_path_factory):
    """A copy of the project with the demo's finished stages, recorded as made with its present parameters.

    Snakemake's own records name absolute paths, so those of the original say nothing here; ``--touch`` writes anew.
    Receipts and raw files are real copies, because it also sets their times; everything else is linked.
    """
    folder = tmp_path_factory.mktemp("graph")
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, folder / name)
    for name in ("Snakefile", "Makefile"):
        shutil.copy2(root / name, folder / name)

    def link_or_copy(source, target):
        real = Path(target).name in ("receipt.json", "index.html") or Path(target).suffix == ".eaf"
        return shutil.copy2(source, target) if real else os.link(source, target)

    place = Path("infant_engagement") / "sample"
    shutil.copytree(root / "data" / place, folder / "data" / place, copy_function=link_or_copy)
    shutil.copytree(demo, folder / "outputs" / place, copy_function=link_or_copy)
    snakemake(folder, "--touch", "--forceall")
    return folder


@pytest.fixture
def settings(project):
    """The parameter file of the copy, put back afterwards."""
    path = project / "params" / "infant_engagement" / "sample.yaml"
    text = path.read_text(encoding="utf-8")
    yield path
    path.write_text(text, encoding="utf-8")


@pytest.mark.demo
@pytest.mark.slow
class TestRemake:
    """What snakemake would make again after a change, in a copy of the finished demo."""

    def test_a_finished_experiment_needs_nothing_even_after_a_changed_comment(self, project, settings):
        text = settings.read_text(encoding="utf-8")
        assert "# number of folds" in text
        settings.write_text(
            "# another remark\n" + text.replace("# number of folds", "# how many folds"), encoding="utf-8"
        )
        said = snakemake(project, "-n")
        assert "Nothing to be done" in said
        assert to_make(said) == []

    def test_a_changed_setting_makes_its_stage_and_those_after_it_and_says_why(self, project, settings):
        text = settings.read_text(encoding="utf-8")
        assert "tries: 10000" in text
        settings.write_text(text.replace("tries: 10000", "tries: 15000"), encoding="utf-8")
        said = snakemake(project, "-n")
        assert to_make(said) == FROM_STRATIFY_ON
        assert re.search(r"params have changed since last execution:\s+03_stratify\n", said)
        assert re.search(
            r"input files updated by another job:\s+04_bake, 05_train_final, 05_train_finetune_search", said
        )

    def test_a_changed_annotation_file_spares_the_videos(self, project):
        path = sorted((project / "data" / "infant_engagement" / "sample" / "engagement").glob("*.eaf"))[0]
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}<!-- looked at again -->", encoding="utf-8")
        said = snakemake(project, "-n")
        path.write_text(text, encoding="utf-8")
        assert to_make(said) == ["01_parse", *FROM_STRATIFY_ON]
        assert re.search(r"updated input files:\s+01_parse\n", said), said

    @pytest.mark.parametrize(
        ("before", "after", "expected", "changed"),
        [
            ("retrain: false", "retrain: true", FROM_FINAL_ON, "05_train_final"),
            ("repetitions: 4", "repetitions: 3", FROM_TRAIN_ON, "05_train_head_search"),
            ("compat: none", "compat: reference", FROM_TRAIN_ON, "05_train_head_search"),
            ("write_eaf: true", "write_eaf: false", ["06_evaluate", "report"], "06_evaluate"),
            ("per_label: 2", "per_label: 1", ["07_paint", "08_compare", "report"], "07_paint"),
            ("top_share: 0.1", "top_share: 0.2", ["08_compare", "report"], "08_compare"),
        ],
    )  # fmt: skip
    def test_a_setting_of_a_phase_spares_the_phases_before(self, project, settings, before, after, expected, changed):
        text = settings.read_text(encoding="utf-8")
        assert text.count(before) == 1
        settings.write_text(text.replace(before, after), encoding="utf-8")
        said = snakemake(project, "-n")
        assert to_make(said) == expected
        assert re.search(rf"params have changed since last execution:\s+{changed}\n", said), said

    def test_phases_that_an_experiment_does_not_run_have_no_rule(self, project, settings):
        text = settings.read_text(encoding="utf-8")
        assert text.count(f"phases: [{', '.join(PHASES)}]") == 1
        settings.write_text(text.replace(f"[{', '.join(PHASES)}]", "[final]"), encoding="utf-8")
        said = snakemake(project, "-n", "--forceall")
        made = ["01_parse", "02_prepare", "03_stratify", "04_bake", *FROM_FINAL_ON[:-2]]
        made += ["07_paint", *FROM_FINAL_ON[-2:]]
        assert to_make(said) == made
        said = snakemake(project, "-n")
        assert to_make(said) == FROM_FINAL_ON  # it reads less now: only what the searches found is missing
        assert re.search(r"set of input files has changed since last execution:\s+05_train_final\n", said), said


@pytest.mark.demo
@pytest.mark.slow
class TestSideBySide:
    """Several experiments in one graph, as in ``make demo``, and nothing made yet."""

    @pytest.fixture
    def empty(self, root, demo, tmp_path):
        """A project with raw data and no outputs."""
        shutil.copytree(root / "params", tmp_path / "params")
        for name in ("Snakefile", "Makefile"):
            shutil.copy2(root / name, tmp_path / name)
        for name in ("notebooks", "data"):
            (tmp_path / name).symlink_to(root / name)
        return tmp_path

    def test_what_begins_with_another_experiment_waits_for_it(self, empty):
        done = start(empty, "-n", config=("experiments=gaze_target/sample_video gaze_target/sample",))
        assert done.returncode == 0, done.stdout
        rules = set(re.findall(r"^gaze_target_(sample\w*?_0\d_\w+)\s+1$", done.stdout, re.MULTILINE))
        assert {"sample_01_parse", "sample_05_train_final", "sample_video_05_train_final"} <= rules
        assert "sample_video_01_parse" not in rules
        done = start(empty, "-n", config=("experiments=gaze_target/sample_video",))
        assert done.returncode == 1
        assert "outputs/gaze_target/sample/01_parse/receipt.json" in done.stdout

    def test_a_parameter_file_that_cannot_be_used_is_named(self, empty):
        path = empty / "params" / "infant_engagement" / "wrong.yaml"
        path.write_text(yaml.safe_dump({**read_file(path.with_name("sample.yaml")), "sede": 1}), encoding="utf-8")
        done = start(empty, "-n", config=("experiments=infant_engagement/sample infant_engagement/wrong",))
        assert done.returncode == 1
        assert "sede is no known key" in done.stdout
        assert "params/infant_engagement/wrong.yaml" in done.stdout

    def test_each_says_whose_error_it_is_and_one_fails_the_whole(self, empty):
        names, path = ("one", "two"), empty / "params" / "infant_engagement"
        for name in names:
            values = read_file(path / "sample.yaml")
            values["experiment"], values["parse"]["name_pattern"] = name, f"{name}_{{session}}_{{rater}}_{{date}}"
            (path / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        config = "experiments=" + " ".join(f"infant_engagement/{name}" for name in names)
        rules = [f"infant_engagement_{name}_01_parse" for name in names]
        done = start(empty, "--keep-going", "--until", *rules, config=(config,))
        assert done.returncode == 1, done.stdout
        for name, rule in zip(names, rules, strict=True):
            assert f"{rule}: 01_parse_annotations failed.\n" in done.stdout, done.stdout
            executed = empty / "outputs" / "infant_engagement" / name / "01_parse" / "executed.ipynb"
            assert set(re.findall(r"(one|two)_{session}", executed.read_text(encoding="utf-8"))) == {name}


class TestSteps:
    """What the graph says of the sample experiment, without running anything."""

    def experiment(self, root, **changes):
        values = read_file(root / "params" / "infant_engagement" / "sample.yaml")
        return protocol.check_values({**values, "overrides": changes})[1]

    def test_steps_of_an_experiment_in_order(self, root):
        train = [f"train/{phase}" for phase in PHASES]
        before = ["parse", "prepare", "stratify", "bake"]
        assert graph.own_steps(self.experiment(root)) == [*before, *train, "evaluate", "paint", "compare"]
        found = graph.own_steps(
            self.experiment(root, **{"train.phases": ["head_search"], "inputs": {"parse": "other"}})
        )
        assert found == [*before[1:], "train/head_search", "evaluate", "paint", "compare"]

    def test_phases_are_those_of_the_settings(self, root):
        assert graph.phases_of(self.experiment(root), "train") == PHASES
        assert graph.phases_of(self.experiment(root, **{"train.phases": ["final"]}), "train") == ["final"]
        assert graph.phases_of(self.experiment(root), "bake") == []

    def test_an_empty_phase_is_the_last_and_a_stage_that_runs_once_has_none(self, root):
        assert graph.step_of(self.experiment(root), "train") == "train/final"
        assert graph.step_of(self.experiment(root, phase="head_search"), "train") == "train/head_search"
        assert graph.step_of(self.experiment(root, **{"train.phases": PHASES[:2]}), "train") == "train/finetune_search"
        assert graph.step_of(self.experiment(root, phase="head_search"), "bake") == "bake"

    @pytest.mark.parametrize("changes", [{"phase": "finale"}, {"phase": "head_search", "train.phases": ["final"]}])
    def test_an_unknown_phase_is_refused_with_the_known_ones(self, root, changes):
        experiment = self.experiment(root, **changes)
        known = ", ".join(changes.get("train.phases", PHASES))
        with pytest.raises(SettingsError) as caught:
            graph.step_of(experiment, "train")
        assert f"phase is {changes['phase']!r}." in str(caught.value)
        assert f"One of {known}, or empty for the last." in str(caught.value)
        assert "add it to train.phases" in str(caught.value)

    def test_a_step_reads_what_the_phases_before_found(self, root):
        full, short = self.experiment(root), self.experiment(root, **{"train.phases": ["head_search", "final"]})
        shared = dict(graph.NODES["train"].reads)
        assert graph.reads_of(full, "train/head_search") == shared
        assert graph.reads_of(full, "train/finetune_search") == {**shared, "train/head_search": SEARCHED}
        final = {**shared, "train/head_search": SEARCHED, "train/finetune_search": ("settings.csv",)}
        assert graph.reads_of(full, "train/final") == final
        assert graph.reads_of(short, "train/final") == {**shared, "train/head_search": SEARCHED}
        assert graph.reads_of(full, "evaluate")["train/final"] == ("networks.json",)

    def test_settings_of_a_step_hold_no_group_of_another_phase(self, root):
        experiment = self.experiment(root)
        shared = {"pairs", "validation_fold", "compat"}
        for phase in PHASES:
            assert set(graph.settings_of(experiment, f"train/{phase}")) == {*shared, phase}
        assert graph.settings_of(experiment, "train/head_search")["head_search"]["repetitions"] == 4
        assert set(graph.settings_of(experiment, "stratify")) == set(type(experiment.stages["stratify"]).model_fields)

    def test_folders_of_steps_and_of_what_other_experiments_lend(self, root):
        inputs = {"bake": "other", "train": {"experiment": "third", "phase": "head_search"}}
        experiment = self.experiment(root, inputs=inputs)
        place = experiment.folder.parent
        assert graph.step_folder(experiment, "train/final") == experiment.folder / "05_train" / "final"
        assert graph.step_folder(experiment, "bake") == experiment.folder / "04_bake"
        assert graph.input_folder(experiment, "bake") == place / "other" / "04_bake"
        assert graph.input_folder(experiment, "train/final") == place / "third" / "05_train" / "head_search"
        assert graph.input_folder(experiment, "parse") == experiment.folder / "01_parse"


def test_settings_of_other_stages_that_a_stage_uses_enter_its_key(root):
    """Otherwise features of one step would be taken for those of another."""

    def settings(step, **changes):
        values = read_file(root / "params" / "valence_fusion" / "sample.yaml")
        _, experiment = protocol.check_values({**values, "overrides": changes})
        return graph.settings_of(experiment, step)

    changes = {"parse.step_seconds": 2.0}
    assert settings("prepare", **changes) != settings("prepare")
    assert settings("parse", **{"prepare.modalities.audio.folder": "Other"}) != settings("parse")
    assert settings("prepare", **{"parse.third_party": ""}) == settings("prepare")
