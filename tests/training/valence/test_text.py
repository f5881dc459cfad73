"""The text-only network: chunks, targets, frames and training, as published where that is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from valence_world import CPU

from nbpkg.errors import SettingsError, StageError, TableError
from nbpkg.models.valence.build import build_network
from nbpkg.training.valence.loop import SequenceTraining, squared_errors
from nbpkg.training.valence.text.chunks import cut_chunks, plan_chunks, stack_utterances, targets_of
from nbpkg.training.valence.text.frames import Utterance, assemble
from nbpkg.training.valence.text.utterances import Talk, TextPlan, predict_text, train_text

FRAMES = {"assembled_actual": ("value", 0.0), "assembled_difference": ("difference", 0.0)}
FRAMES |= {"assembled_actual_threshold_0.25": ("value", 0.25)}


@pytest.fixture(scope="module")
def known(vectors):
    return json.loads((vectors / "text_open.json").read_text())


@pytest.fixture(scope="module")
def talk(known):
    """Utterances, answers and frames of the vectors; the second utterance has no known word."""
    info = known["assembly_info"]
    spans = [Utterance(row[2], row[3], name in known["assembly_predictions"]) for name, row in info.items()]
    return spans, list(known["assembly_predictions"].values()), len(known["annotation"])


def test_chunks_as_published(known):
    for case in known["chunks"]:
        plan = plan_chunks(case["lengths"], size=case["size"], step=case["step"])
        assert [[100 * number + start, 100 * number + end - 1] for number, start, end in plan] == case["first_last"]
    with pytest.raises(SettingsError, match="recordings of 3, 0"):
        plan_chunks([3, 0], size=2, step=1)


def test_differences_as_published(known):
    averages = np.array([one["average"] for one in known["utterances"] if one["average"] is not None])
    wanted = [value for _, value in known["differences_without_empty_utterances"]]
    np.testing.assert_allclose(targets_of(averages, target="difference"), wanted, atol=1e-12)
    with_empty = np.array([one["average"] for one in known["utterances"]], float)
    assert np.isnan(targets_of(with_empty, target="difference")).tolist() == [False, True, False, False]
    assert targets_of(np.array([0.1, 0.1 + 1e-9]), target="difference").tolist() == [0.1, 0.0]


@pytest.mark.parametrize("name", FRAMES)
def test_frames_as_published_only_when_asked_for(known, talk, name):
    """Published, silence at the start and between utterances vanishes; ours holds the value through it."""
    spans, answers, frames = talk
    target, threshold = FRAMES[name]
    told = {"target": target, "threshold": threshold}
    np.testing.assert_allclose(assemble(spans, answers, frames, compat="reference", **told), known[name], atol=1e-9)
    course = assemble(spans, answers, frames, **told)
    third = known[name][60]
    wanted = [0.0] * 25 + [0.2] * 100 + [third] * 75 + [0.5] * 60
    np.testing.assert_allclose(course, wanted, atol=1e-9)


def test_a_threshold_keeps_what_changes_little():
    spans = [Utterance(0, 1), Utterance(1, 2), Utterance(2, 3)]
    assert assemble(spans, [0.1, 0.2, 0.9], 3, target="value", threshold=0.3).tolist() == [0.1, 0.1, 0.9]
    with pytest.raises(TableError, match="2 answers are to be spread over 3 utterances"):
        assemble(spans, [0.1, 0.2], 3, target="value")


def make_talks(count: int = 4) -> list[Talk]:
    """Sessions in which each utterance's first number tells how valence changes with it."""
    talks = []
    for number in range(count):
        chance = np.random.default_rng(number)
        vectors = chance.standard_normal((9 + number, 6)).astype(np.float32)
        changes = 0.15 * np.sign(vectors[:, 0])
        course = np.clip(np.cumsum(changes), -1, 1)
        spans = tuple(Utterance(10 * place, 10 * place + 8) for place in range(len(vectors)))
        talks.append(Talk(f"s{number}", spans, vectors, np.repeat(course, 10)))
    return talks


PLAN = TextPlan(
    SequenceTraining(
        epochs=12,
        batch_size=4,
        learning_rate=0.02,
        weight_decay=0.0,
        eval_every=4,
        save_every=4,
        optimiser="adam",
        whole_batches=True,
    ),
    size=5,
    step=3,
)


def test_chunks_are_answered_along_time():
    """A batch of chunks is answered as each chunk alone; published, they ran into each other."""
    talks = make_talks()
    stack = stack_utterances([one.vectors for one in talks], [one.averages() for one in talks])
    chunks = cut_chunks(stack, size=5, step=5)
    network = build_network("text_lstm", ("text",), widths={"text": 6}).eval()
    everything = torch.arange(len(chunks))
    with torch.no_grad():
        together = float(squared_errors(network, chunks.batch(everything)))
        alone = sum(float(squared_errors(network, chunks.batch(one))) for one in everything.split(1))
    assert together == pytest.approx(alone, rel=1e-5)


def test_training_on_differences_learns_is_resumed_and_goes_on_for_a_subject(tmp_path):
    talks = make_talks()
    trained = train_text(talks[:3], PLAN, held_out=talks[3:], seed=1, folder=tmp_path / "a", device=CPU)
    losses = [row[3] for row in trained.course.history if row[1:3] == ["train", "loss"]]
    assert losses[-1] < 0.5 * losses[0]
    scores = [row[3] for row in trained.course.history if row[1:3] == ["held_out", "ccc"]]
    assert scores[-1] > 0.5
    again = train_text(talks[:3], PLAN, held_out=talks[3:], seed=1, folder=tmp_path / "a", device=CPU)
    assert again.course == trained.course
    course = predict_text(trained.network, talks[3:], target="difference", device=CPU)["s3"]
    assert course.shape == (120,)
    start = dict(trained.network.state_dict())
    own = train_text(
        talks[3:],
        TextPlan(SequenceTraining(epochs=2, learning_rate=0.01)),
        start=start,
        seed=1,
        folder=tmp_path / "b",
        device=CPU,
    )
    first = next(row[3] for row in own.course.history if row[1] == "train")
    assert first < losses[0]


def test_less_than_a_batch_is_said(tmp_path):
    with pytest.raises(StageError, match="There are 4 segments to learn from"):
        train_text(make_talks(2), TextPlan(), seed=1, folder=tmp_path, device=CPU)
    with pytest.raises(TableError, match="s0 has 1 utterance vectors for 2"):
        Talk("s0", (Utterance(0, 1), Utterance(1, 2)), np.zeros((1, 3), np.float32), np.zeros(2))
