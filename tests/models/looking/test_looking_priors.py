"""Priors as rows of tables: the published rows, and where ours differ on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from nbpkg.models.looking.priors import (
    count_cells,
    count_confidence_rows,
    count_head_rows,
    normalise_landmarks,
    quantise_head,
    quantise_landmarks,
)

GRIDS = {"dsplit0.1_csplit0.1": (0.1, 0.1), "dsplit0.2_csplit0.1": (0.2, 0.1)}
GRIDS |= {"dsplit0.25_csplit0.2": (0.25, 0.2), "dsplit0.5_csplit0.5": (0.5, 0.5)}


def test_rows_of_poses_are_the_published_ones(case):
    golden = case.json("prior_index_open")
    for split, rows in golden["head_table_rows_per_split"].items():
        assert count_head_rows(float(split)) == rows
    assert len(golden["head"]) > 50
    for row in golden["head"]:
        angles = [float("nan")] * 3 if row["yaw_pitch_roll"] is None else row["yaw_pitch_roll"]
        found = quantise_head(angles, row["split"], compat="reference")
        assert found.tolist() == row["index"], row
        inside = max(row["index"]) < count_head_rows(row["split"])
        assert (quantise_head(angles, row["split"]).tolist() == row["index"]) == inside


def test_rows_of_landmarks_are_the_published_ones(case):
    golden = case.json("prior_index_open")
    faces = [*golden["landmarks"], golden["missing_landmarks_all_zero"]]
    for face in faces:
        if "keypoints_x_y_z_vis" in face:
            vector = normalise_landmarks(face["keypoints_x_y_z_vis"])
            assert vector.tolist() == face["head2D"]
        else:
            vector = normalise_landmarks(np.full((5, 4), np.nan))
            assert vector.tolist() == [0] * 15
        for name, (dsplit, csplit) in GRIDS.items():
            rows = quantise_landmarks(vector, dsplit, csplit=csplit, compat="reference")
            assert rows[:, 0].tolist() == face[name]["joint"]
            assert rows[:, 1].tolist() == face[name]["conf"]
            assert count_cells(dsplit) ** 2 == face[name]["joint_table"]
            assert count_confidence_rows(csplit) == face[name]["conf_table"]


@pytest.mark.parametrize("dsplit", [0.1, 0.25, 0.5, 0.7])
def test_no_two_cells_share_a_row_and_all_rows_are_in_the_table(dsplit):
    middles = (np.arange(int(4 / dsplit)) + 0.5) * dsplit - 2
    x, y = (item.ravel() for item in np.meshgrid(middles, middles))
    vectors = np.zeros((len(x), 15))
    vectors[:, 0], vectors[:, 5] = x, y
    places = quantise_landmarks(vectors, dsplit, csplit=0.1)[:, 0, 0]
    assert len(set(places.tolist())) == len(places)
    shared = quantise_landmarks(vectors, dsplit, csplit=0.1, compat="reference")[:, 0, 0]
    assert len(set(shared.tolist())) < len(places)
    corners = quantise_landmarks([[2.0] * 10 + [1.0] * 5, [-2.0] * 10 + [-0.5] * 5], dsplit, csplit=0.1)
    assert corners.min() == 0
    assert corners[..., 0].max() == count_cells(dsplit) ** 2 - 1
    assert corners[..., 1].max() == count_confidence_rows(0.1) - 1


def test_batches_get_the_rows_of_each_face(case):
    faces = np.array([face["keypoints_x_y_z_vis"] for face in case.json("prior_index_open")["landmarks"]])
    together = quantise_landmarks(normalise_landmarks(faces), 0.1, csplit=0.1)
    alone = [quantise_landmarks(normalise_landmarks(face), 0.1, csplit=0.1) for face in faces]
    assert together.shape == (len(faces), 5, 2)
    np.testing.assert_array_equal(together, alone)
    assert quantise_head([[98.0, -95.0, 3.0], [np.nan, 0, 0]], 5).tolist() == [[18, 18, 0], [18, 0, 0]]
