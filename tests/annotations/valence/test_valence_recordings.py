"""Seconds as means of frames, and what each annotation is like."""

import numpy as np
import pytest
from valence_files import GOLDEN, PARTS, annotate, make_tree, texts, unpack, write

from nbpkg.annotations.valence.corpus import read_valence
from nbpkg.annotations.valence.recordings import (
    count_step_frames,
    describe_recordings,
    hash_annotations,
    read_actors,
    report_recordings,
    step_means,
)
from nbpkg.errors import AnnotationError, SettingsError


def test_seconds_are_the_published_ones(tmp_path):
    unpack(tmp_path)
    with np.load(GOLDEN / "dataset_open.npz", allow_pickle=False) as golden:
        ratio = float(golden["expect:val_untrunc/time_ratio"])
        for part, where in (("Training", "train_trunc"), ("Validation", "val_untrunc")):
            table, _ = read_valence(tmp_path, parts={part: part}, compat="reference")
            groups = table.groupby("session", sort=False)["value"]
            for number, (_, values) in enumerate(groups):
                expected = golden[f"expect:{where}/val/{number}"][:, 0]
                means = step_means(values.to_numpy(), ratio)
                np.testing.assert_allclose(means[: len(expected)], expected, rtol=0, atol=4e-15)
                if where == "val_untrunc":
                    assert len(means) == len(expected)
            assert number + 1 == int(golden[f"expect:{where}/n"])


def test_a_second_is_the_mean_of_what_it_has():
    values = np.array([1.0, np.nan, 3.0, np.nan, np.nan, np.nan, -1.0])
    np.testing.assert_array_equal(step_means(values, 3), [2.0, np.nan, -1.0])
    assert len(step_means(np.empty(0), 3)) == 0
    assert step_means(np.arange(6.0), 25).tolist() == [2.5]


@pytest.mark.parametrize("ratio", [12.5, 0, 0.5, 24.99])
def test_a_ratio_that_is_not_whole_is_refused(ratio):
    with pytest.raises(SettingsError, match="whole number of frames"):
        step_means(np.zeros(50), ratio)


def test_frames_of_a_step_are_counted_exactly():
    assert count_step_frames(30, 0.1) == 3
    assert count_step_frames(25, 1.0) == 25
    with pytest.raises(SettingsError):
        count_step_frames(29.97, 1.0)


def test_recordings_say_what_each_annotation_is_like(tmp_path):
    annotate(tmp_path, "Subject_1_Story_2", [0.0, 0.5, 0.5, -0.5, "nan", 0.5, 0.5])
    annotate(tmp_path, "Subject_2_Story_2", [0.3] * 6)
    annotate(tmp_path, "Subject_3_Story_2", ["nan"] * 6)
    table, _ = read_valence(tmp_path, parts={"Training": "Training"}, fps=3)
    found = describe_recordings(table, ratio=3, actors={"2": "Anna"})
    assert found[["frames", "steps", "missing"]].to_numpy().tolist() == [[7, 3, 1], [6, 2, 0], [6, 2, 6]]
    assert found["flags"].tolist() == ["missing values; partial last second", "constant", "no value at all"]
    first = found.iloc[0]
    assert first[["actor", "least", "greatest"]].tolist() == ["Anna", -0.5, 0.5]
    assert first["mean"] == pytest.approx(0.25)
    assert first["std"] == pytest.approx(np.std([0, 0.5, 0.5, -0.5, 0.5, 0.5]))
    assert first["changes"] == pytest.approx(2 / 4)  # neither side of the frame without value counts
    assert not found["hidden"].any()
    assert found.iloc[2][["least", "mean", "std", "changes"]].isna().all()


def test_a_constant_annotation_is_told_and_a_withheld_one_too(tmp_path):
    make_tree(tmp_path)
    annotate(tmp_path, "Subject_5_Story_2", [0.3] * 60)
    annotate(tmp_path, "Subject_6_Story_2", ["nan"] * 60)
    table, _ = read_valence(tmp_path, parts=PARTS)
    found = describe_recordings(table, ratio=25)
    assert found.loc[found["hidden"], "session"].tolist() == ["Subject_10_Story_3", "Subject_1_Story_3"]
    problems = report_recordings(found)
    assert texts(problems, "warning") == [
        ": The annotation of 1 session never changes: Subject_5_Story_2.",
        ": The annotation of 1 session has no value at all: Subject_6_Story_2.",
        ": The truth of 2 sessions is withheld: Subject_10_Story_3, Subject_1_Story_3.",
    ]
    assert "zero whatever is answered" in problems[0].remedy


def test_a_part_named_hidden_is_hidden_whatever_it_holds(tmp_path):
    table, _ = read_valence(make_tree(tmp_path), parts=PARTS)
    found = describe_recordings(table, ratio=25, hidden=["Validation"])
    assert set(found.loc[found["hidden"], "part"]) == {"Validation", "Testing"}


def test_test_annotations_that_vary_are_the_truth(tmp_path):
    annotate(make_tree(tmp_path), "Subject_1_Story_3", [0.0] * 59 + [0.1], part="Testing")
    table, _ = read_valence(tmp_path, parts=PARTS)
    found = describe_recordings(table, ratio=25).set_index("session")
    assert not found.loc["Subject_1_Story_3", "hidden"]
    assert found.loc["Subject_10_Story_3", "hidden"]


def test_another_persons_annotation_is_not_described(tmp_path):
    annotate(tmp_path, "Subject_1_Story_2", [0.0, 0.1])
    annotate(tmp_path, "Subject_1_Story_2", [0.9, 0.8], folder="Others")
    table, _ = read_valence(tmp_path, parts={"Training": "Training"}, fps=2, third_party="Others")
    assert table["rater"].tolist() == ["self", "self", "third_party", "third_party"]
    assert describe_recordings(table, ratio=2)[["frames", "greatest"]].to_numpy().tolist() == [[2, 0.1]]


def test_copies_have_one_hash(tmp_path):
    make_tree(tmp_path)
    annotate(tmp_path, "Subject_4_Story_2", [0.0, 0.1, "nan"])
    annotate(tmp_path, "Subject_5_Story_2", ["-0.0", "0.10", '""'])
    annotate(tmp_path, "Subject_6_Story_2", [0.0, 0.1, 0.0])
    hashes = hash_annotations(read_valence(tmp_path, parts={"Training": "Training"})[0])
    assert len(hashes) == 7
    assert hashes["Subject_4_Story_2"] == hashes["Subject_5_Story_2"]
    assert len(set(hashes.values())) == 6


def test_actors_are_read(tmp_path):
    path = write(tmp_path / "actors.csv", "\ufeffactor, story\r\nAnna,1\r\nAnna, 04\r\n\r\nBen,2\r\n")
    assert read_actors(path) == {"1": "Anna", "4": "Anna", "2": "Ben"}


def test_odd_lists_of_actors_are_refused_with_all_rows(tmp_path):
    path = write(tmp_path / "actors.csv", "story,actor\n1,Anna\n1,Ben\n2,\n3,Ben,x\n")
    with pytest.raises(AnnotationError) as caught:
        read_actors(path)
    assert "3 problems" in str(caught.value)
    assert "row 3: Story 1 has two actors, Anna and Ben." in str(caught.value)
    assert "row 4: The row does not hold one story and one actor." in str(caught.value)
    with pytest.raises(AnnotationError, match="The columns are 'a', 'b'"):
        read_actors(write(tmp_path / "b.csv", "a,b\n"))
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_actors(tmp_path / "none.csv")
