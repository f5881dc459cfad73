"""Segments and batches: nothing lost, nothing mixed, the same order for the same seed and epoch."""

import numpy as np
import pytest
import torch
from valence_recordings import make_recording

from nbpkg.datasets.valence.augment import augment_recordings, choose_subjects, select_recordings
from nbpkg.datasets.valence.preparation import fit_preparation
from nbpkg.datasets.valence.segments import (
    Batch,
    batches,
    collate,
    cut,
    note_short,
    split_recording,
    stack_recordings,
)
from nbpkg.errors import SettingsError


@pytest.fixture
def recordings():
    return [
        make_recording("Subject_1_Story_2", steps=7, missing={"text": [1]}),
        make_recording("Subject_1_Story_4", steps=3, valence=[0.5, np.nan, 0.0]),
        make_recording("Subject_2_Story_2", steps=1),
        make_recording("Subject_2_Story_4", steps=12),
    ]


@pytest.fixture
def preparation(recordings):
    return fit_preparation(recordings, ["text", "audio"], scale="standard", reduce={}, seed=0)


def test_parts_are_those_of_array_split_without_the_empty_ones():
    for steps in range(1, 14):
        for parts in range(1, 7):
            expected = [part.tolist() for part in np.array_split(np.arange(steps), parts) if len(part)]
            assert [list(range(start, end)) for start, end in cut(steps, parts)] == expected
    with pytest.raises(SettingsError, match="0 parts"):
        cut(5, 0)


def test_recordings_shorter_than_the_parts_are_noted(recordings):
    notes = note_short(recordings, parts=3)
    assert [note.file for note in notes] == ["Subject_2_Story_2"]
    assert "1 steps and was to be cut into 3 segments" in notes[0].what
    assert not note_short(recordings, parts=1)


def test_segments_put_together_are_the_recording(recordings, preparation):
    for recording in recordings:
        prepared = preparation.apply(recording)
        segments = split_recording(recording, prepared, parts=3)
        assert len(segments) == min(recording.steps, 3)
        for name in ("text", "audio"):
            assert torch.equal(torch.cat([one.inputs[name] for one in segments]), torch.from_numpy(prepared[name]))
            found = torch.cat([one.present[name] for one in segments])
            assert found.tolist() == recording.present[name].tolist()
        found = torch.cat([one.valence for one in segments]).numpy()
        assert np.array_equal(found, recording.valence.astype(np.float32), equal_nan=True)


def test_a_batch_is_longest_first_and_stable_and_masks_padding_and_unknown_steps(recordings, preparation):
    items = [one for recording in recordings for one in split_recording(recording, preparation.apply(recording))]
    twin = items[1]
    batch = collate([items[2], twin, items[0], items[1]])
    assert batch.lengths == [7, 3, 3, 1]
    assert torch.equal(batch.inputs["text"][3, 0], items[2].inputs["text"][0])
    assert batch.inputs["audio"].shape == (4, 7, 3)
    assert batch.inputs["audio"].dtype == torch.float32
    assert batch.valence.shape == batch.mask.shape == batch.known.shape == (4, 7, 1)
    assert batch.mask[:, :, 0].sum(dim=1).tolist() == batch.lengths
    assert batch.known[1, :4, 0].tolist() == [True, False, True, False]
    assert batch.valence[1, :, 0].tolist() == [0.5] + [0.0] * 6
    assert not batch.inputs["audio"][1, 3:].any()
    assert batch.present["text"][0].tolist() == [True, False] + [True] * 5
    assert not batch.present["text"][3, 1:].any()


def same(first: Batch, second: Batch) -> bool:
    assert first.lengths == second.lengths
    pairs = [(first.valence, second.valence), (first.mask, second.mask), (first.known, second.known)]
    for name in first.inputs:
        pairs += [(first.inputs[name], second.inputs[name]), (first.present[name], second.present[name])]
    return list(first.inputs) == list(second.inputs) and all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_batches_from_the_stack_are_those_of_collate(recordings, preparation, parts):
    items = [
        one for recording in recordings for one in split_recording(recording, preparation.apply(recording), parts=parts)
    ]
    stack = stack_recordings(recordings, preparation, parts=parts)
    assert len(stack) == len(items)
    for chosen in ([0], list(range(len(items))), [3, 1, 2, 1]):
        assert same(stack.batch(torch.tensor(chosen)), collate([items[place] for place in chosen]))


def firsts(made: list[Batch]) -> list[float]:
    return [value for batch in made for value in batch.inputs["audio"][:, 0, 0].tolist()]


def test_an_epoch_gives_every_segment_once_and_keeps_the_last_partial_batch(recordings, preparation):
    stack = stack_recordings(recordings, preparation, parts=5)
    plain = list(batches(stack, batch_size=4, shuffle=False, seed=0, epoch=1))
    drawn = list(batches(stack, batch_size=4, shuffle=True, seed=0, epoch=1))
    assert [len(batch.lengths) for batch in drawn] == [len(batch.lengths) for batch in plain] == [4, 4, 4, 2]
    assert sorted(firsts(drawn)) == sorted(firsts(plain))
    assert sum(sum(batch.lengths) for batch in drawn) == 7 + 3 + 1 + 12


def test_the_order_depends_on_seed_and_epoch_only(recordings, preparation):
    stack = stack_recordings(recordings, preparation, parts=5)

    def order(seed, epoch):
        return firsts(list(batches(stack, batch_size=3, shuffle=True, seed=seed, epoch=epoch)))

    first = order(1, 2)
    state = torch.get_rng_state()
    torch.rand(3)
    assert order(1, 2) == first
    assert order(1, 3) != first
    assert order(2, 2) != first
    torch.set_rng_state(state)
    order(1, 2)
    assert torch.equal(torch.get_rng_state(), state)  # dropout's numbers are left alone


def test_repeated_recordings_are_held_in_memory_once(recordings, preparation):
    more = augment_recordings(recordings, copies=3, subjects=["2"])
    once, often = (stack_recordings(these, preparation, parts=2) for these in (recordings, more))
    assert len(often) == len(once) + 3 * 3
    assert often.inputs["text"].shape == once.inputs["text"].shape
    assert same(often.batch(torch.tensor([len(once)])), once.batch(torch.tensor([4])))


def test_copies_follow_the_originals_block_by_block(recordings):
    sessions = [one.session[8:] for one in augment_recordings(recordings, copies=2, subjects=["1"])]
    assert sessions == ["1_Story_2", "1_Story_4", "2_Story_2", "2_Story_4"] + ["1_Story_2", "1_Story_4"] * 2
    assert augment_recordings(recordings, copies=0) == recordings


def test_selection_meets_subjects_and_stories(recordings):
    chosen, rest = select_recordings(recordings, subjects=["2"], stories=["4"])
    assert [one.session for one in chosen] == ["Subject_2_Story_4"]
    assert len(rest) == 3
    assert select_recordings(recordings) == (recordings, [])


def test_subjects_restrict_training_or_with_copies_lay_weight(recordings):
    train, scored = choose_subjects(recordings[:3], recordings[3:], subjects=["2"])
    assert [one.session for one in train] == ["Subject_2_Story_2"]
    assert [one.session for one in scored] == ["Subject_2_Story_4"]
    weighted, _ = choose_subjects(recordings[:3], recordings[3:], subjects=["2"], copies=2)
    assert [one.subject for one in weighted] == ["1", "1", "2", "2", "2"]


def test_unknown_names_are_refused(recordings):
    with pytest.raises(SettingsError, match="no recording of subject 9"):
        select_recordings(recordings, subjects=["1", "9"])
    with pytest.raises(SettingsError, match="no recording of story 3"):
        augment_recordings(recordings, copies=1, stories=["3"])
    with pytest.raises(SettingsError, match="at once"):
        select_recordings(recordings[:1] + recordings[3:], subjects=["1"], stories=["4"])
    with pytest.raises(SettingsError, match="-1 times"):
        augment_recordings(recordings, copies=-1)


def test_constant_annotation_and_one_second_go_through(preparation):
    flat = make_recording("Subject_3_Story_1", steps=4, valence=np.full(4, 0.2))
    short = make_recording("Subject_4_Story_1", steps=1, hidden=True, valence=[np.nan])
    stack = stack_recordings([flat, short], preparation, parts=5)
    made = list(batches(stack, batch_size=25, shuffle=True, seed=0, epoch=0))
    assert [sorted(batch.lengths) for batch in made] == [[1] * 5]
    assert int(made[0].known.sum()) == 4
    assert bool(made[0].mask.all())


def test_batches_come_from_the_device_of_the_stack(recordings, preparation):
    stack = stack_recordings(recordings, preparation, parts=2)
    here, there = stack.batch(torch.arange(3)), stack.to(torch.device("meta")).batch(torch.arange(3))
    assert there.lengths == here.lengths
    for batch in (there, here.to(torch.device("meta"))):
        tensors = [batch.valence, batch.mask, batch.known, *batch.inputs.values(), *batch.present.values()]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert batch.inputs["audio"].shape == here.inputs["audio"].shape
