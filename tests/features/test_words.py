"""Words as features: vectors from files, utterances, and their places in time."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbpkg.errors import AnnotationError, SettingsError
from nbpkg.features.words import (
    average_utterances,
    english_stop_words,
    follow_ends,
    hash_utterances,
    read_vectors,
    seconds_of_cues,
    tokens,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "valence_fusion" / "text_open.json").read_text())


def to_ms(text: str) -> int:
    hours, minutes, seconds = text.replace(",", ".").split(":")
    return round(1000 * (3600 * int(hours) + 60 * int(minutes) + float(seconds)))


@pytest.fixture(scope="module")
def said() -> tuple[pd.DataFrame, np.ndarray]:
    cues = pd.DataFrame(
        [(to_ms(start), to_ms(end), text) for _, start, end, text in GOLDEN["cues"]],
        columns=["start_ms", "end_ms", "text"],
    )
    facts = GOLDEN["avg_embedding"]
    vectors = {
        word: np.random.default_rng(zlib.crc32(word.encode())).standard_normal(4).astype(np.float32)
        for word in facts["vocab"]
    }
    return cues, average_utterances(cues["text"].tolist(), vectors, leave_out=facts["stop"])


def test_golden_means_of_known_words(said):
    cues, rows = said
    ids = [cue[0] for cue in GOLDEN["cues"]]
    known = ~np.isnan(rows).any(axis=1)
    assert [name for name, is_known in zip(ids, known, strict=True) if is_known] == GOLDEN["avg_embedding"]["valid_ids"]
    np.testing.assert_allclose(rows[known], GOLDEN["avg_embedding"]["features"], rtol=0, atol=1e-6)
    assert np.isnan(rows[~known]).all()


def test_golden_utterance_of_each_second(said):
    cues, rows = said
    wanted = GOLDEN["per_second_utterance_id"]
    place = [cue[0] for cue in GOLDEN["cues"]]
    found = seconds_of_cues(cues, rows, len(wanted), fill="next")
    np.testing.assert_array_equal(found, rows[[place.index(name) for name in wanted]])


def test_the_pointer_skips_utterances_that_are_over_and_stays_at_the_last():
    assert follow_ends(np.array([1000, 1400, 1500, 4000]), 6).tolist() == [0, 1, 3, 3, 3, 3]


def test_silence_is_missing_or_held_and_shared_seconds_are_weighted():
    cues = pd.DataFrame({"start_ms": [1200, 1700, 4000], "end_ms": [1700, 2500, 4000], "text": ["a", "b", "c"]})
    rows = np.array([[0.0], [8.0], [3.0]])
    missing = seconds_of_cues(cues, rows, 6)
    np.testing.assert_allclose(missing.ravel(), [np.nan, 300 * 8 / 800, 8, np.nan, 3, np.nan])
    held = seconds_of_cues(cues, rows, 6, fill="hold")
    np.testing.assert_allclose(held.ravel(), [np.nan, 3, 8, 8, 3, 3])
    rows[1] = np.nan  # an utterance without a known word is silence
    np.testing.assert_allclose(seconds_of_cues(cues, rows, 3, fill="hold").ravel(), [np.nan, 0, 0])


def test_a_session_without_known_words_is_missing_throughout():
    cues = pd.DataFrame({"start_ms": [0], "end_ms": [900], "text": ["hm"]})
    for fill in ("missing", "hold", "next"):
        assert np.isnan(seconds_of_cues(cues, np.full((1, 3), np.nan), 4, fill=fill)).all()
    with pytest.raises(SettingsError, match="2 vectors of 1"):
        seconds_of_cues(cues, np.zeros((2, 3)), 4)


def test_words_are_cut_as_word_vectors_expect():
    assert tokens("I can't; she's WE’LL (Ünal's) 'tis") == [
        "i",
        "ca",
        "n't",
        "she",
        "'s",
        "we",
        "'ll",
        "ünal",
        "'s",
        "tis",
    ]
    assert tokens("the dog and I", leave_out=english_stop_words()) == ["dog"]
    assert tokens("... -- _ !") == []


@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_text_files_of_both_forms(tmp_path, header):
    path = tmp_path / "v.txt"
    path.write_text(f"{header}dog 1 2 3\ndog 9 9 9\n. . . 4 5 6\nat home 7 7 7\nat 1 0 1\n\n", encoding="utf-8")
    found = read_vectors(path, ["dog", "at", "cat", "home"])
    assert {word: row.tolist() for word, row in found.items()} == {"dog": [1, 2, 3], "at": [1, 0, 1]}
    assert found["dog"].dtype == np.float32


def test_broken_lines_are_all_named_by_number(tmp_path):
    (tmp_path / "v.txt").write_text("a 1 2\nb 1\nc 1 x\nd 1 nan\ne 3 4\n")
    with pytest.raises(AnnotationError) as caught:
        read_vectors(tmp_path / "v.txt", "abcde")
    text = str(caught.value)
    assert "3 problems" in text
    assert all(place in text for place in ("v.txt, row 2", "v.txt, row 3", "v.txt, row 4", "1 numbers instead of 2"))


def test_arrays_and_files_that_are_none(tmp_path):
    np.savez(tmp_path / "v.npz", words=np.array(["dog", "cat", "dog"]), vectors=np.arange(6).reshape(3, 2))
    found = read_vectors(tmp_path / "v.npz", {"dog", "bird"})
    assert {word: row.tolist() for word, row in found.items()} == {"dog": [0, 1]}
    np.savez(tmp_path / "w.npz", words=np.array([{"a": 1}], dtype=object), vectors=np.zeros((1, 2)))
    for name in ("w.npz", "none.txt", "empty.txt"):
        (tmp_path / "empty.txt").touch()
        with pytest.raises(AnnotationError, match=name.replace(".", r"\.")):
            read_vectors(tmp_path / name, ["a"])
    with pytest.raises(AnnotationError, match="None of the words"):
        average_utterances(["a"], {})


def test_hashed_words_depend_on_words_alone():
    rows = hash_utterances(["the good dog", "Good Dog the", "the good dog!", "...", "dog"], width=64)
    assert rows.shape == (5, 64)
    np.testing.assert_array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], rows[1])  # pairs of words keep the order
    assert np.isnan(rows[3]).all()
    assert (np.nan_to_num(rows) >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(rows[[0, 1, 4]], axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(hash_utterances(["dog"], width=64)[0], rows[4])
    assert hash_utterances([], width=8).shape == (0, 8)
