"""A recording refuses parts that do not fit each other."""

from dataclasses import replace

import numpy as np
import pytest
from valence_recordings import make_recording

from nbpkg.datasets.valence.storage import is_recording, read_notes, read_recording, write_recording
from nbpkg.errors import StageError, TableError


def test_parts_of_different_length_name_session_and_modality():
    good = make_recording(steps=5)
    assert (good.steps, good.modalities, good.widths) == (5, ("audio", "text"), {"audio": 3, "text": 4})
    with pytest.raises(TableError, match=r"'Subject_1_Story_2': modality 'text' has features \(4, 4\)"):
        replace(good, features={**good.features, "text": good.features["text"][:4]})
    with pytest.raises(TableError, match="modality 'audio'.*mask"):
        replace(good, present={**good.present, "audio": np.ones(6, bool)})


def test_other_numbers_modalities_and_empty_annotations_are_refused():
    good = make_recording()
    with pytest.raises(TableError, match="'audio' is float64"):
        replace(good, features={**good.features, "audio": good.features["audio"].astype(float)})
    with pytest.raises(TableError, match="features of audio, but says of audio, text"):
        replace(good, features={"audio": good.features["audio"]})
    with pytest.raises(TableError, match="has valence of shapes"):
        replace(good, valence=np.empty(0))


def test_a_recording_is_stored_and_read_without_a_copy(tmp_path):
    wrote = make_recording("Subject_10_Story_4", steps=7, missing={"text": [2]}, valence=[0, 1, np.nan, 0, 0, 0, 0.5])
    path = write_recording(tmp_path / "a.npz", wrote, notes={"made_of": "x"})
    found = read_recording(path)
    for name in ("session", "subject", "story", "part", "actor", "hidden"):
        assert getattr(found, name) == getattr(wrote, name)
    assert list(found.features) == ["audio", "text"]
    for modality in found.features:
        assert np.array_equal(found.features[modality], wrote.features[modality])
        assert np.array_equal(found.present[modality], wrote.present[modality])
        lies = found.features[modality]
        assert not lies.flags.owndata
        assert not lies.flags.writeable
        assert lies.ctypes.data % 64 == 0
    assert np.array_equal(found.valence, wrote.valence, equal_nan=True)
    assert np.array_equal(found.original, wrote.original, equal_nan=True)
    assert read_notes(path) == {"made_of": "x"}


def test_the_file_is_one_that_numpy_reads_and_has_the_same_bytes_each_time(tmp_path):
    recording = make_recording()
    first = write_recording(tmp_path / "a.npz", recording, notes={})
    second = write_recording(tmp_path / "b.npz", recording, notes={})
    assert first.read_bytes() == second.read_bytes()
    with np.load(first, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["features/text"], recording.features["text"])
        assert np.array_equal(arrays["valence"], recording.valence)


@pytest.mark.parametrize("keep", [0, 100, 700])
def test_a_file_that_was_cut_is_said_to_be_damaged(tmp_path, keep):
    path = write_recording(tmp_path / "a.npz", make_recording(), notes={})
    assert is_recording(path)
    path.write_bytes(path.read_bytes()[:keep])
    assert not is_recording(path)
    with pytest.raises(StageError, match="cannot be read"):
        read_recording(path)


def test_pickled_and_compressed_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", facts=np.array([{}], dtype=object))
    with pytest.raises(StageError, match="Python objects"):
        read_recording(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", facts=np.zeros(3))
    with pytest.raises(StageError, match="compressed"):
        read_recording(tmp_path / "b.npz")
    with pytest.raises(StageError, match="not there"):
        read_recording(tmp_path / "c.npz")
