"""What the published programs gave, from our parts: training, cross-validation, epoch search, personal networks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import published
import pytest
from published import AT, TV, build, ccc, embed, predict, read_part, train

from nbpkg.metrics.valence.summary import crossval_table
from nbpkg.training.valence.loop import checkpoint_path
from nbpkg.training.valence.rescore import choose_epochs, tabulate_epochs
from nbpkg.training.valence.rounds import Round, list_final, list_personal

LOSS, CCC = 1e-7, 3e-5  # ten times what two versions of torch differ by


def values(fitted, split: str, metric: str) -> list[float]:
    return [row[3] for row in fitted.course.history if row[1:3] == [split, metric]]


def check(fitted, run: dict) -> None:
    """Hold losses and scores against those of a published run."""
    epochs = [row for row in run["log"] if "train_loss" in row]
    evaluations = [row for row in run["log"] if "ccc" in row][: len(values(fitted, "held_out", "ccc"))]
    assert values(fitted, "train", "loss") == pytest.approx([row["train_loss"] for row in epochs], abs=LOSS)
    for metric, name in (("ccc", "ccc"), ("pearson", "corr"), ("loss", "loss")):
        ours = values(fitted, "held_out", metric)[: len(evaluations)]
        assert ours == pytest.approx([row[name] for row in evaluations], abs=CCC)
    assert fitted.course.best_value == pytest.approx(run["returned"], abs=CCC)


def close(ours: dict, theirs, prefix: str) -> None:
    names = [name for name in theirs.files if name.startswith(prefix)]
    assert names
    for name in names:
        np.testing.assert_allclose(ours[name.removeprefix(prefix)], theirs[name], atol=1e-5)


@pytest.fixture(scope="module")
def ragged(tiny_trees):
    tree = tiny_trees["open --ragged"]
    return {
        "train": read_part(tree, "Training", truncate=True),
        "validation": read_part(tree, "Validation", truncate=False),
        "testing": read_part(tree, "Testing", truncate=False),
    }


@pytest.fixture(scope="module")
def whole(tiny_trees):
    """Training and validation of the plain tree, in one data set."""
    tree = tiny_trees["open"]
    return {
        names: read_part(tree, "Training", names, truncate=True).join(
            read_part(tree, "Validation", names, truncate=False)
        )
        for names in (AT, TV)
    }


def test_training_as_published(ragged, vectors, tmp_path):
    """Losses and scores of every epoch, the files written, answers and features of the best epoch."""
    known = json.loads((vectors / "train_open.json").read_text())
    arrays = np.load(vectors / "train_open.npz")
    fitted, network = train(
        tmp_path, ragged["train"], ragged["validation"], split=3, epochs=7, eval_every=2, save_every=3
    )
    check(fitted, known["runs"]["train"])
    assert fitted.course.best_epoch == 2
    assert [path.name for path in sorted(tmp_path.glob("epoch_*"))] == [
        checkpoint_path(tmp_path, epoch).name for epoch in (3, 6, 7)
    ]
    close(predict(network, ragged["train"]), arrays, "preds/pred_train/")
    close(predict(network, ragged["validation"]), arrays, "preds/pred_test/")
    close(embed(network, ragged["train"]), arrays, "feats/feat_train/")
    close(embed(network, ragged["validation"]), arrays, "feats/feat_test/")
    last = published.build("init:")
    from safetensors.torch import load_file

    last.load_state_dict(load_file(checkpoint_path(tmp_path, 7)))
    close(predict(last, ragged["testing"]), arrays, "preds_testing/pred_test/")


def test_normalisation_that_does_nothing_and_that_does(ragged, vectors, tmp_path):
    known = json.loads((vectors / "train_open.json").read_text())["runs"]
    joined = ragged["train"].join(ragged["validation"])
    joined.normalise()  # what was joined are copies: the parts stay as they are
    fitted, _ = train(tmp_path / "plain", ragged["train"], ragged["validation"], split=3, epochs=2)
    check(fitted, known["train_normalize_noeffect"])
    test, rest = joined.extract(stories=["2"])
    fitted, _ = train(tmp_path / "set", rest, test, split=3, epochs=2)
    check(fitted, known["train_normalize_testset"])


def test_one_subject_alone(ragged, vectors, tmp_path):
    known = json.loads((vectors / "train_open.json").read_text())["runs"]
    own, _ = ragged["train"].extract(subjects=["10"])
    held, _ = ragged["validation"].extract(subjects=["10"])
    fitted, _ = train(tmp_path, own, held, split=3, epochs=2)
    check(fitted, known["train_subject"])
    repeated = ragged["train"].augment(subjects=["10"], copies=2).split(3)
    assert len(repeated) == known["train_subject_augment2_structure_only"]["segments"]
    subjects = {f"Subject_{one.subject}_Story_{one.story}": one.subject for one in ragged["train"].recordings}
    ours = list_final(subjects, chosen=["10"], augment=2).train
    assert list(ours) == [f"Subject_{one.subject}_Story_{one.story}" for one in repeated.recordings]


@pytest.mark.parametrize(("name", "modalities"), [("AT", AT), ("TV", TV)])
def test_cross_validation_and_epoch_search_as_published(whole, vectors, name, modalities):
    known = json.loads((vectors / "crossval_open.json").read_text())[name]
    folds = pd.DataFrame({"session": ["a", "b", "c"], "group": ["1", "2", "4"], "fold": [0, 1, 2], "role": "train"})
    scores, pooled = np.zeros((3, 3)), {}
    for epoch in (1, 2, 3):
        trials = []
        for fold, story in enumerate(("1", "2", "4")):
            held, rest = whole[modalities].extract(stories=[story])
            network = build(f"s{story}e{epoch}:", modalities)
            scores[epoch - 1, fold] = ccc(network, held)
            trials.append({"fold": fold, "train_ccc": ccc(network, rest), "held_out_ccc": scores[epoch - 1, fold]})
            if epoch == 3:
                pooled |= predict(network, held)
        table = crossval_table(pd.DataFrame(trials).assign(system=name), folds=folds)
        header, *rows = known[f"e{epoch}"]
        assert list(table.columns) == header
        assert table.iloc[:, 0].tolist() == [row[0] for row in rows]
        np.testing.assert_allclose(table.iloc[:, 1:], [row[1:] for row in rows], atol=2e-6)
    chosen = choose_epochs([1, 2, 3], scores)
    printed = "Epoch CCC   STD  \n" + "".join(
        f"{row.epoch:5d} {row.mean:0.3f} {row.std:0.3f}\n"
        for row in tabulate_epochs([1, 2, 3], scores, names=["1", "2", "4"], chosen=chosen.all)
        .rename_axis(None)
        .itertuples(index=False)
    )
    assert known["cv_epochs_stdout_table"].startswith(f"{printed}---\nBest epoch: {chosen.all}\n")
    if name == "AT":
        close(pooled, np.load(vectors / "crossval_open.npz"), "cv_pred_AT/")


def test_cross_validation_with_published_normalisation(whole, vectors):
    known = json.loads((vectors / "crossval_open.json").read_text())["AT"]["norm"]
    scaled = read_part_again(whole[AT])
    scaled.normalise()
    for row, story in zip(known[1:4], ("1", "2", "4"), strict=True):
        held, rest = scaled.extract(stories=[story])
        network = build(f"s{story}e2:")
        assert [ccc(network, rest), ccc(network, held)] == pytest.approx(row[1:], abs=5e-6)


def read_part_again(dataset):
    """The same recordings, so that scaling them changes no other test's."""
    return type(dataset)(dataset.recordings, ratio=25)


def test_personal_networks_as_published(tiny_trees, vectors, tmp_path):
    known = json.loads((vectors / "personalize_open.json").read_text())
    tree = tiny_trees["open"]
    parts = [read_part(tree, "Training", truncate=True), read_part(tree, "Validation", truncate=False)]
    arrays = np.load(vectors / "personalize_open.npz")
    names = [[f"Subject_{one.subject}_Story_{one.story}" for one in part.recordings] for part in parts]
    subjects = {name: name.split("_")[1] for name in names[0] + names[1]}
    rounds = list_personal(subjects, outer=[Round("init", 0, tuple(names[0]), (), tuple(names[1]))])
    assert [one.subject for one in rounds] == ["1", "2", "10"]
    losses, evaluations = [], []
    for one in rounds:
        train_part, test_part = (part.extract(subjects=[one.subject])[0] for part in parts)
        fitted, network = train(tmp_path / one.name, train_part, test_part, split=5, epochs=4, save_every=2)
        losses += values(fitted, "train", "loss")
        evaluations += values(fitted, "held_out", "ccc") + [ccc(network, train_part), ccc(network, test_part)]
        for kind, part in (("pred_train", train_part), ("pred_test", test_part)):
            for name, course in predict(network, part).items():
                np.testing.assert_allclose(course, arrays[f"{kind}/{name}"], atol=1e-5)
    assert losses == pytest.approx(known["epoch_losses_in_order"], abs=6e-6)
    assert evaluations == pytest.approx([row["ccc"] for row in known["evaluations_in_order"]], abs=6e-4)
