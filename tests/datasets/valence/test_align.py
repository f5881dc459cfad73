"""Every part of a recording is given the same length, and what was lost or lacks is counted."""

import numpy as np
import pytest

from nbpkg import tables
from nbpkg.datasets.valence.align import Absent, align_recording
from nbpkg.errors import AnnotationError, TableError


def rows(count: int, width: int = 2) -> np.ndarray:
    return np.arange(1.0, count * width + 1).reshape(count, width)


def align(frames, features, *, length="annotation", short="mask"):
    aligned, notes = align_recording(frames, features, session="s", ratio=25, length=length, short=short)
    lengths = {
        len(aligned.valence),
        *map(len, aligned.features.values()),
        *map(len, aligned.present.values()),
    }
    assert len(lengths) == 1
    return aligned, tables.from_rows(notes, "alignment").set_index("modality")


def test_annotation_longer_than_features_masks_the_end():
    aligned, notes = align(np.zeros(110), {"audio": rows(3), "text": rows(5)})
    assert aligned.present["audio"].tolist() == [True] * 3 + [False] * 2
    assert aligned.features["audio"][3:].tolist() == [[0, 0]] * 2
    assert notes.loc["audio", ["rows", "steps", "lost", "padded", "missing"]].tolist() == [3, 5, 0, 2, 2]
    assert "shorter than the annotation by 2 steps" in notes.loc["audio", "flags"]
    assert notes.loc["text", ["lost", "padded", "missing", "flags"]].tolist() == [0, 0, 0, ""]


def test_annotation_shorter_than_features_cuts_them():
    aligned, notes = align(np.zeros(50), {"audio": rows(3), "text": rows(2)})
    assert aligned.features["audio"].tolist() == rows(3)[:2].tolist()
    assert notes.loc["audio", ["rows", "steps", "lost", "padded", "missing"]].tolist() == [3, 2, 1, 0, 0]
    assert "longer than the annotation: 1 rows cut" in notes.loc["audio", "flags"]


def test_hold_repeats_the_last_row_that_is_there():
    broken = rows(3)
    broken[2] = np.nan
    aligned, notes = align(np.zeros(125), {"audio": broken, "text": rows(4)}, short="hold")
    assert aligned.features["audio"].tolist() == [[1, 2], [3, 4], [0, 0], [3, 4], [3, 4]]
    assert aligned.present["audio"].tolist() == [True, True, False, True, True]
    assert notes.loc["audio", ["padded", "missing"]].tolist() == [2, 1]
    assert "last row held for 2 steps" in notes.loc["audio", "flags"]


def test_shortest_cuts_all_parts_of_every_recording_alike():
    aligned, notes = align(np.linspace(0, 1, 130), {"audio": rows(3), "text": rows(5)}, length="shortest")
    assert len(aligned.valence) == 3
    assert notes["lost"].tolist() == [0, 2]
    assert notes["steps"].tolist() == [6, 6]
    assert notes["padded"].tolist() == [0, 0]
    assert "cut to the shortest part: 3 steps" in notes.loc["text", "flags"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_with_undefined_values_count_as_missing(value):
    broken = rows(4)
    broken[1] = np.nan
    broken[2, 1] = value
    aligned, notes = align(np.zeros(100), {"audio": broken})
    assert aligned.present["audio"].tolist() == [True, False, False, True]
    assert aligned.features["audio"][1:3].tolist() == [[0, 0], [0, 0]]
    assert notes.loc["audio", "missing"] == 2
    assert notes.loc["audio", "flags"] == "1 rows with some undefined values: masked"


def test_a_modality_without_features_is_masked_throughout():
    aligned, notes = align(np.zeros(75), {"audio": rows(3), "face": Absent(4)})
    assert aligned.features["face"].shape == (3, 4)
    assert not aligned.present["face"].any()
    assert notes.loc["face", ["rows", "padded", "missing"]].tolist() == [0, 3, 3]
    assert "no features" in notes.loc["face", "flags"]
    shortest, _ = align(np.zeros(75), {"audio": rows(2), "face": Absent(4)}, length="shortest")
    assert len(shortest.valence) == 2


def test_one_second_video():
    aligned, notes = align(np.full(7, 0.3), {"audio": rows(1), "text": rows(2)})
    assert aligned.valence == pytest.approx([0.3])
    assert notes["missing"].tolist() == [0, 0]


def test_nothing_to_align_is_an_error():
    with pytest.raises(AnnotationError, match="annotation of 's' has no frame"):
        align(np.empty(0), {"audio": rows(3)})
    with pytest.raises(TableError, match=r"'s': modality 'audio' has features of shape \(0, 2\)"):
        align(np.zeros(25), {"audio": rows(0)})
    late = rows(4)
    late[:2] = np.nan
    with pytest.raises(TableError, match="'audio' has no row that can be used within the annotation"):
        align(np.zeros(50), {"audio": late})


def test_a_column_that_is_never_defined_is_named():
    broken = rows(4, 3)
    broken[:, 1] = np.nan
    with pytest.raises(TableError, match="1 of 3 columns, number 1 first"):
        align(np.zeros(100), {"audio": broken})
