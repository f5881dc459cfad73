"""Parameter files and cells: everything wrong is refused by name, at once, before anything is computed."""

from __future__ import annotations

import pytest
import yaml

from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import SettingsError
from nbpkg.settings import document, experiment
from nbpkg.settings.base import FoldSettings, VideoSettings
from nbpkg.settings.learning import EncoderSettings, TrainSettings

MODELS = {"prepare": VideoSettings, "stratify": FoldSettings, "bake": EncoderSettings, "train": TrainSettings}
VALUES = {"study": "infant_engagement", "experiment": "x", "data": "data/x"}


def refusal(values, **more) -> str:
    with pytest.raises(SettingsError) as caught:
        experiment.resolve({**VALUES, **values}, MODELS, **more)
    return str(caught.value)


def test_a_typo_a_wrong_type_and_a_range_are_all_reported_at_once():
    text = refusal({"sede": 3, "stratify": {"fold": 5, "tries": "many"}, "prepare": {"fps": "0/8", "height": 4}})
    assert "5 problems" in text
    assert "sede is no known key. Did you mean 'seed'?" in text
    assert "stratify.fold is no known key. Did you mean 'stratify.folds'?" in text
    assert "stratify.tries is 'many'" in text
    assert "prepare.fps: must be greater than 0" in text
    assert "prepare.height is 4" in text


def test_number_that_yaml_reads_as_text_is_refused_with_the_right_spelling():
    values = yaml.safe_load("train: {final: {head: {learning_rate: 1e-3}}}")
    text = refusal(values)
    assert "train.final.head.learning_rate is the text '1e-3'" in text
    assert "write 0.001 with a decimal point" in text


def test_names_cannot_leave_their_folders():
    text = refusal({"experiment": "../other", "prepare": {"folder": "../secret"}})
    assert "experiment: must be a plain name" in text
    assert "prepare.folder: must be a folder inside the data folder" in text


def test_overrides_reach_nested_settings_and_leave_the_original_alone():
    values = {**VALUES, "stratify": {"folds": 4}, "overrides": {"stratify.tries": 10, "seed": 7}}
    found = experiment.resolve(values, MODELS)
    assert (found.of("stratify", FoldSettings).folds, found.of("stratify", FoldSettings).tries) == (4, 10)
    assert found.header.seed == 7
    assert values["stratify"] == {"folds": 4}


def test_a_misspelt_override_is_refused():
    assert "stratify.trys is no known key" in refusal({"overrides": {"stratify.trys": 10}})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("train.final.head.epoch", "train.final.head.epochs"),
        ("train.final.finetun", "train.final.finetune"),
        ("train.head_serch", "train.head_search"),
        ("bake.augment.rotation", "bake.augment.rotation_degrees"),
    ],
)
def test_a_typo_deep_inside_is_corrected_from_the_keys_of_its_own_group(wrong, right):
    said = refusal({"overrides": {wrong: 3}})
    assert f"{wrong} is no known key. Did you mean {right!r}?" in said
    *groups, last = wrong.split(".")
    values = {last: 3}
    for group in reversed(groups):
        values = {group: values}
    assert refusal(values) == said


def test_a_key_like_no_other_gets_the_list_of_its_group():
    said = refusal({"bake": {"augment": {"zzz": 3}}})
    assert (
        "bake.augment.zzz is no known key. Known keys: bake.augment.rotation_degrees, bake.augment.crop_area," in said
    )


def test_a_typo_below_a_name_of_ones_own_is_corrected_too():
    values = {"tiers": {"values": {"requird": True, "values": []}}}  # a tier may be named as a setting is
    with pytest.raises(SettingsError) as caught:
        experiment.resolve({**VALUES, "parse": values}, {"parse": AnnotationScheme})
    assert "parse.tiers.values.requird is no known key. Did you mean 'parse.tiers.values.required'?" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "phases",
    [["final", "head_search"], ["head_search", "head_search"], ["finetune_search", "head_search", "final"]],
)
def test_phases_out_of_order_are_refused(phases):
    said = refusal({"train": {"phases": phases}})
    assert "train.phases: must be some of head_search, finetune_search, final, each once and in this order" in said


@pytest.mark.parametrize("phases", [["final"], ["head_search", "final"], ["head_search", "finetune_search", "final"]])
def test_phases_in_order_are_taken(phases):
    found = experiment.resolve({**VALUES, "train": {"phases": phases}}, MODELS)
    assert found.of("train", TrainSettings).phases == phases


@pytest.mark.parametrize("phases", [[], ["finale"], "final"])
def test_phases_that_are_none_are_refused(phases):
    assert "train" in refusal({"train": {"phases": phases}})


def test_stage_that_the_study_does_not_have_is_refused():
    assert "paint: this study has no such stage yet." in refusal({"paint": {"brush": 3}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "the key 'seed' stands twice"),
        ("on: 1\n", "the key True is no text"),
        ("[1, 2]\n", "holds no keys"),
        ("seed: [1\n", "no valid YAML"),
        ("x: !!python/object/apply:os.system ['true']\n", "no valid YAML"),
    ],
)
def test_unusable_files_are_refused(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        experiment.read_file(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        experiment.read_file(tmp_path / "none.yaml")


class TestCell:
    """What the first working cell of a notebook sees."""

    stock = experiment._assignments(experiment.PARAMETERS_CELL)

    def test_injected_values_are_taken_as_they_are(self):
        injected = {**self.stock, "seed": 5, "stratify": {"folds": 4}}
        assert experiment.read_cell({**injected, "In": [""]})["stratify"] == {"folds": 4}

    def test_injected_typo_is_refused(self):
        cells = ["", experiment.PARAMETERS_CELL, "# Parameters\nseeed = 3\n"]
        with pytest.raises(SettingsError, match="seeed is no known key"):
            experiment.read_cell({**self.stock, "seeed": 3, "In": cells})

    def test_injected_parameters_are_noticed(self):
        assert experiment.was_injected({"In": ["", "# Parameters\nseed = 3\n"]})
        assert not experiment.was_injected({"In": ["", experiment.PARAMETERS_CELL, "# a remark"]})

    def test_ordinary_variables_of_a_live_notebook_are_no_parameters(self, root, monkeypatch):
        monkeypatch.chdir(root / "notebooks")
        found = experiment.read_cell({**self.stock, "tmp": 3, "In": ["", "tmp = 3"]})
        assert found["parse"]["sessions"]

    def test_live_the_file_is_read_and_the_cell_changes_what_it_states_differently(self, root, monkeypatch):
        monkeypatch.chdir(root / "notebooks")
        found = experiment.read_cell({**self.stock, "seed": 9})
        assert found["seed"] == 9
        assert found["data"] == "data/infant_engagement/sample"


def test_comments_are_generated_and_reading_gives_the_values_back():
    values = {**VALUES, "seed": 3, "stratify": {"folds": 4, "balance": {"second": ["a", "b"]}}}
    text = document.write_yaml(values, MODELS, title="x")
    assert yaml.safe_load(text) == values
    assert "  # number of folds; the last one is the test fold (default 5)\n  folds: 4" in text


def test_comments_reach_nested_settings():
    space = {"log10": [-3.5, -2.5]}
    nested = {"final": {"head": {"epochs": 100}, "retrain": True}, "head_search": {"learning_rate": space}}
    values = {**VALUES, "train": {"phases": ["final"], **nested}}
    text = document.write_yaml(values, MODELS, title="x")
    assert yaml.safe_load(text) == values
    head = ["    # training of the head", "    head:", "      # passes over the training clips (default 1500)"]
    assert "\n".join(["  # the training that is evaluated", "  final:", *head, "      epochs: 100"]) in text
    assert "    # train once more on all training folds" in text
    assert "\n    learning_rate: {log10: [-3.5, -2.5]}\n" in text  # a mapping that is one value stays on its line


def test_parameter_files_are_in_order_and_their_comments_current(root):
    from nbpkg.studies import protocol

    files = sorted((root / "params").glob("*/*.yaml"))
    assert files
    for path in files:
        values = experiment.read_file(path)
        study, _ = protocol.check_values(values)
        assert (values["study"], values["experiment"]) == (path.parent.name, path.stem)
        title = f"{study.card.title}: experiment {values['experiment']}"
        assert document.write_yaml(values, study.settings, title=title) == path.read_text(), f"make params FILE={path}"


def test_generated_docs_are_current(root, tmp_path):
    from nbpkg.__main__ import main

    assert main(["docs", str(tmp_path)]) == 0
    for name in ("tables.md", "params.md"):
        assert (tmp_path / name).read_text() == (root / "docs" / name).read_text(), "run `make docs`"
