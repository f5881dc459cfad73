"""What is made of table ``gaze``: exclusions, smoothing, marks, leakage, statistics."""

import numpy as np
import pandas as pd
import pytest
from gaze_cases import draw, vat_tree, write

from nbpkg import tables
from nbpkg.annotations.gaze.collection import (
    count_collection,
    count_directions,
    count_distances,
    describe_gaze,
    measure_geometry,
)
from nbpkg.annotations.gaze.density import measure_density, measure_point_density, reference_density, tabulate_density
from nbpkg.annotations.gaze.exclusions import apply_exclusions, read_exclusions
from nbpkg.annotations.gaze.leakage import find_leakage, hash_pictures, report_leakage
from nbpkg.annotations.gaze.rows import BOX, add_flag, finish, remove_flag, report_gaps
from nbpkg.annotations.gaze.smoothing import interpolate_gaps, smooth_boxes, split_at_gaps
from nbpkg.annotations.gaze.videoattention import read_videoattention
from nbpkg.errors import AnnotationError


def track(frames, x0=None, **columns):
    """A table of one track whose box moves with the frame."""
    frames = list(frames)
    x0 = [10.0 + frame for frame in frames] if x0 is None else x0
    rows = pd.DataFrame({"dataset": "d", "session": "s", "participant": "p", "frame": frames, "x0": x0})
    rows = rows.assign(y0=5.0, x1=rows["x0"] + 20, y1=25.0, width=640, height=480, inside=1, gaze_x=30.0, gaze_y=40.0)
    rows["image"] = [f"images/s/{frame:05d}.jpg" for frame in frames]
    return finish(rows.assign(**columns))


def test_smoothing_counts_frames_and_stops_at_cuts():
    still = track(range(20), x0=[0.0] * 10 + [100.0] * 10, segment=[0] * 10 + [1] * 10)
    assert smooth_boxes(still)["x0"].tolist() == pytest.approx(still["x0"].tolist())
    assert smooth_boxes(still, compat="reference")["x0"].iloc[9] == pytest.approx(500 / 11)
    # a moving box stays where it is although frames are missing; averaging rows would move it
    moving = track([*range(10), 13, *range(14, 24)])
    assert smooth_boxes(moving)["x0"].tolist()[5:-5] == pytest.approx(moving["x0"].tolist()[5:-5])
    assert np.abs(smooth_boxes(moving, compat="reference")["x0"] - moving["x0"])[5:-5].max() > 0.5
    jump = track([*range(10), *range(100, 110)], x0=[0.0] * 10 + [100.0] * 10)
    assert smooth_boxes(jump)["x0"].tolist() == pytest.approx(jump["x0"].tolist())


def test_smoothing_leaves_missing_boxes_missing_and_tracks_apart():
    one = track(range(12), x0=[0.0] * 6 + [np.nan] + [0.0] * 5)
    two = track(range(12), x0=[50.0] * 12, person="p01")
    both = finish(pd.concat([one, two]))
    smooth = smooth_boxes(both)
    assert smooth["x0"].isna().sum() == 1
    assert set(smooth["x0"].dropna().round(9)) == {0.0, 50.0}
    assert smooth[["gaze_x", "gaze_y", "flags"]].equals(both[["gaze_x", "gaze_y", "flags"]])
    empty = track(range(3), x0=[np.nan] * 3)
    assert smooth_boxes(empty)["x0"].isna().all()


def test_only_short_gaps_between_boxes_are_interpolated_and_marked():
    x0 = [np.nan, 10.0, np.nan, np.nan, 16.0, *[np.nan] * 4, 30.0, np.nan]
    table = track(range(11), x0=x0)
    table = add_flag(table, "no_box", table["x0"].isna())
    table = add_flag(table, "excluded", table["frame"] == 3)
    filled = interpolate_gaps(table, longest=3)
    assert filled["x0"].tolist()[1:5] == [10, 12, 14, 16]
    assert filled["x0"].isna().tolist() == [True, *[False] * 4, *[True] * 4, False, True]
    assert filled["flags"].tolist()[2:4] == ["interpolated", "excluded;interpolated"]
    assert filled["valid"].tolist()[2:4] == [1, 0]
    assert filled["box_source"].value_counts().to_dict() == {"file": 9, "interpolated": 2}
    assert interpolate_gaps(table, longest=4)["x0"].isna().sum() == 2
    other = finish(pd.concat([table.iloc[:2], table.iloc[4:5].assign(segment=1)]))
    assert interpolate_gaps(other).equals(other)


def test_long_gaps_can_become_cuts():
    table = track([0, 1, 3, 4, 9, 10], segment=[0, 0, 0, 1, 1, 1])
    assert split_at_gaps(table, longest=1)["segment"].tolist() == [0, 0, 0, 1, 2, 2]
    assert "1 tracks skip 1 pictures in 1 gaps" in report_gaps(track([0, 1, 3]))[0].what


def test_flags_spoil_rows_and_can_be_taken_back():
    table = add_flag(track(range(3)), "not bending", [True, True, False])
    assert table["valid"].tolist() == [1, 1, 1]
    table = add_flag(add_flag(table, "excluded", [False, True, True]), "excluded", [False, True, False])
    assert table["flags"].tolist() == ["not bending", "not bending;excluded", "excluded"]
    assert table["valid"].tolist() == [1, 0, 0]
    assert remove_flag(table, "excluded", [True] * 3)["valid"].tolist() == [1, 1, 1]


def test_exclusions_spoil_ranges_and_remarks_become_flags(tmp_path):
    path = write(
        tmp_path / "exclusions.csv",
        "session,segment,first_frame,last_frame,exclude,flag\n"
        "s,,0,1,,start of take\n"
        "s,1,-2,,1,\n"
        "s,0,2,2,0,not bending\n"
        "\n"
        "nobody,,,,1,\n",
    )
    table, problems = apply_exclusions(
        track(range(8), segment=[0] * 4 + [1] * 4), read_exclusions(path), file=path.name
    )
    assert table["valid"].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert table["flags"].tolist()[:3] == ["excluded;start of take"] * 2 + ["not bending"]
    assert [problem.severity for problem in problems] == ["repaired", "repaired", "error"]
    assert "'nobody' fits no row" in problems[2].what
    assert problems[2].row == 6
    assert "2 rows of session s (frames 0 to 1)" in problems[0].what


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("session,first_frame\ns,two\n", "first_frame is 'two'"),
        ("session,exclude\ns,0\n", "neither excludes nor remarks"),
        ("session,flag\n\n,x\n", "line 3|row 3: The session is empty"),
        ("name\ns\n", "Unknown columns name"),
        ("flag\nx\n", "'session' is missing"),
        ("", "cannot be read"),
    ],
)
def test_a_bad_table_of_exclusions_is_refused(tmp_path, text, words):
    with pytest.raises(AnnotationError, match=words):
        read_exclusions(write(tmp_path / "e.csv", text))


def test_leakage_finds_shared_participants_sessions_pictures_and_copies(tmp_path):
    train = track(range(3), split="train")
    assert find_leakage(finish(pd.concat([train, track(range(3), split="", session="t")]))).empty
    test = track(range(3), split="test", session="t", image=["images/t/0.jpg", "images/s/00001.jpg", "images/t/2.jpg"])
    both = finish(pd.concat([train, test]))
    found = find_leakage(both)
    assert found[["what", "name", "parts"]].to_numpy().tolist() == [
        ["participant", "d: p", "test;train"], ["picture", "images/s/00001.jpg", "test;train"],
    ]  # fmt: skip
    for number, image in enumerate(both["image"].unique()):
        draw(tmp_path / image, (20 if "0.jpg" in image else 30 + number, 20))
    copies = find_leakage(both, hashes=hash_pictures(tmp_path, both))
    assert copies["what"].tolist()[-1] == "identical picture"
    assert copies["name"].tolist()[-1] == "images/s/00000.jpg = images/t/0.jpg"
    assert [problem.severity for problem in report_leakage(copies)] == ["warning", "error", "error"]


def test_the_collection_table_counts_everything():
    table = track([0, 1, 4, 5], inside=[1, 0, -1, 1], x0=[1.0, np.nan, 3.0, 4.0], target=["cup", "cup", "box", "box"])
    table = add_flag(table, "not bending", table["frame"] > 1)
    row = count_collection(table).iloc[0]
    names = ["participant", "session", "pictures", "segments", "targets", "inside", "outside", "unknown"]
    assert row[names].tolist() == ["p", "s", 4, 1, 2, 2, 1, 1]
    assert row[["missing_boxes", "gaps", "skipped", "valid", "flags"]].tolist() == [1, 1, 2, 4, "not bending (2)"]
    with pytest.raises(AnnotationError, match="no column 'objekt'"):
        count_collection(table, ["objekt"])


def test_geometry_and_its_statistics_are_those_worked_out_by_hand():
    table = track([0, 1], x0=[10.0, 10.0], gaze_x=[20.0, 50.0], gaze_y=[5.0, 15.0], target=["up", "right"])
    geometry = measure_geometry(table)
    assert geometry["distance"].tolist() == [10, 30]
    assert geometry["direction"].tolist() == [90, 0]  # up is up, although y grows downwards
    assert geometry["distance_heads"].tolist() == [0.5, 1.5]
    assert geometry["distance_share"].tolist() == [10 / 800, 30 / 800]
    assert geometry["head_x"].tolist() == [20 / 640] * 2
    described = describe_gaze(table).set_index("target")
    assert described.loc["up", ["distance", "direction", "direction_concentration"]].tolist() == pytest.approx(
        [10, 90, 1]
    )
    sectors = count_directions(table, ["participant"], sectors=4)
    assert sectors.set_index("direction")["rows"].to_dict() == {0.0: 1, 90.0: 1, 180.0: 0, 270.0: 0}
    bins = count_distances(table, ["participant"], bins=3, measure="distance")
    assert bins[["distance", "rows"]].to_numpy().tolist() == [[0, 0], [10, 1], [20, 1]]


def test_outside_and_missing_rows_have_no_direction(tmp_path):
    table, _ = read_videoattention(vat_tree(tmp_path))
    geometry = measure_geometry(table)
    assert geometry["distance"].isna().equals(table["inside"] != 1)
    assert count_directions(table)["rows"].sum() == (table["inside"] == 1).sum()
    assert measure_point_density(table, size=8, radius=0).sum() == pytest.approx(1)
    assert measure_point_density(table, size=8, radius=0)[6, 3] == 1  # 30 of 64, 40 of 48
    with pytest.raises(AnnotationError, match="No row"):
        measure_point_density(table[table["inside"] == 0])


def test_densities_are_shares_for_any_number_of_frames():
    boxes = [[0, 0, 4, 4], [2, 2, 6, 6]]
    density = measure_density(np.array(boxes), [300, 100], width=8, height=8)
    assert density[0, 0] == 0.75
    assert density[3, 3] == 1
    assert density[4, 4] == 0.25
    assert density[7, 7] == 0
    assert tabulate_density(density)["share"].sum() == pytest.approx(density.sum())
    circle = measure_density(np.array([[300, 200, 320, 210]]), [1], shape="fixed_circle")
    assert circle.sum() == pytest.approx(np.pi * 30**2, rel=0.05)
    with pytest.raises(AnnotationError, match="300 frames"):
        reference_density(np.array(boxes), [300, 100])
    with pytest.raises(AnnotationError, match="No frames"):
        measure_density(np.zeros((0, 4)), [])


def test_the_table_keeps_its_contract_and_order():
    table = finish(pd.concat([track([3, 1], person="p01"), track([2, 0])]))
    assert table[["person", "frame"]].to_numpy().tolist() == [["p00", 0], ["p00", 2], ["p01", 1], ["p01", 3]]
    assert table[BOX].dtypes.unique().tolist() == [np.dtype("float64")]
    tables.check(table, "gaze")
