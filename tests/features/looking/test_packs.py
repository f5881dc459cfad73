"""Packs of crops: one pass over the frames, resumed with the same bytes, read in any order."""

from __future__ import annotations

import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from looking_faces import make_tracks

from nbpkg.errors import MediaError
from nbpkg.features.looking.cropping import CropRule, cut_crop, cut_edges
from nbpkg.features.looking.cutting import FromFrames, PackRecipe, cut_all
from nbpkg.features.looking.packs import CUT, EMPTY, NO_FRAME, OPEN, CropPacks, read_facts
from nbpkg.features.looking.priors import gather_priors, table_crops
from nbpkg.features.looking.sources import export_crops, find_challenge, find_given, find_stores
from nbpkg.video.frames import FrameStore, StoreWriter

SIZE, FRAMES = (60, 80), 12
RECIPE = PackRecipe(CropRule(size=32), quality=100)


def write_store(folder, seed):
    """Frames whose grey says which frame it is."""
    folder.mkdir(parents=True)
    writer = StoreWriter(folder, SIZE, fps=Fraction(30))
    for number in range(FRAMES):
        frame = np.full((*SIZE, 3), 15 * number + seed, np.uint8)
        frame[:, SIZE[1] // 2 :] += 40
        writer.add(frame)
    writer.finish()
    return FromFrames(folder)


@pytest.fixture
def world(tmp_path):
    """Two clips; tracks that overlap in time, leave the picture and outlast the clip."""
    tracks, faces = make_tracks(
        [("a", "t:1", [0, 1, 2, 3, 4]), ("a", "t2", [2, 3, 4, 5]), ("b", "t1", [9, 10, 11, 12, 13])]
    )
    for name, value in zip(("x0", "y0", "x1", "y1"), (4.0, 4.0, 36.0, 36.0), strict=True):
        faces[name] = value
    faces["x0"][5:9] += 40
    faces["x1"][5:9] += 40
    faces["x0"][6], faces["x1"][6] = 90, 120  # beside the picture
    sources = {"a": write_store(tmp_path / "stores" / "a", 1), "b": write_store(tmp_path / "stores" / "b", 3)}
    return tracks, faces, sources, tmp_path / "crops"


def read_folder(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_crops_are_those_of_their_frames_and_reasons_are_counted(world):
    tracks, faces, sources, folder = world
    crops, problems = cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    assert problems == []
    assert crops[["faces", "crops", "no_frame", "empty"]].to_numpy().tolist() == [
        [5, 5, 0, 0],
        [4, 3, 0, 1],
        [5, 3, 2, 0],
    ]
    packs = CropPacks(folder, tracks)
    assert packs.size == 32
    assert packs.has(np.arange(14)).tolist() == [True] * 6 + [False] + [True] * 5 + [False] * 2
    rows = [11, 0, 5, 8, 4, 0]
    expected = [15 * 11 + 3, 1, 15 * 2 + 41, 15 * 5 + 41, 15 * 4 + 1, 1]
    found = packs.read(rows)
    assert found.shape == (6, 32, 32, 3)
    assert np.abs(found.mean(axis=(1, 2, 3)) - expected).max() <= 1.5
    facts = read_facts(folder, tracks)
    assert facts.reason.tolist() == [CUT] * 6 + [EMPTY] + [CUT] * 5 + [NO_FRAME] * 2
    assert np.isnan(facts.sharpness[[6, 12, 13]]).all()
    assert crops["sharpness"].notna().all()
    again = pickle.loads(pickle.dumps(packs))
    assert np.array_equal(again.read(rows), found)


def test_cuts_are_those_of_the_rule_in_the_pixels_of_the_store(world):
    tracks, faces, sources, folder = world
    for name in ("x0", "y0", "x1", "y1"):
        faces[name] *= 2  # boxes count in a source twice as large
    media = pd.DataFrame(
        {
            "session": ["a", "b"],
            "store": ["stores/a", "stores/b"],
            "fps_num": 30,
            "fps_den": 1,
            "width": 80,
            "height": 60,
            "source_width": 160,
            "source_height": 120,
        }
    )
    scaled = find_stores(media, folder.parent, fps="30")
    cut_all(tracks, faces, scaled, folder=folder, recipe=RECIPE)
    frame = FrameStore(sources["a"].store).picture(4)
    box = np.array([faces[name][7] / 2 for name in ("x0", "y0", "x1", "y1")])
    wanted = cut_crop(frame, cut_edges(box), RECIPE.rule)
    assert np.abs(CropPacks(folder, tracks).read([7])[0].astype(int) - wanted).max() <= 3
    with pytest.raises(MediaError, match=r"(?s)2 problems.*30 frames/s.*25"):
        find_stores(media, folder.parent, fps="25")


def test_published_frames_are_one_earlier(world):
    tracks, faces, sources, folder = world
    crops, _ = cut_all(tracks, faces, sources, folder=folder, recipe=PackRecipe(CropRule(size=32), 100, shift=-1))
    packs = CropPacks(folder, tracks)
    assert not packs.has([0])[0]
    assert crops["no_frame"].tolist() == [1, 0, 1]
    assert abs(packs.read([1]).mean() - 1) <= 1.5
    assert abs(packs.read([12]).mean() - (15 * 11 + 3)) <= 1.5


def test_side_by_side_and_again_gives_the_same_bytes(world):
    tracks, faces, sources, folder = world
    cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    first = read_folder(folder)
    assert sorted(first) == sorted(
        f"{session}{ending}" for session in "ab" for ending in (".facts.npy", ".jpgs", ".json", ".npy")
    )
    parallel = folder.with_name("parallel")
    table, problems = cut_all(tracks, faces, sources, folder=parallel, recipe=RECIPE, workers=2)
    assert problems == []
    assert read_folder(parallel) == first
    (folder / "b.json").unlink()  # as if it had been killed before the end of b
    (folder / "b.jpgs").write_bytes(b"half")
    stamp = (folder / "a.jpgs").stat().st_mtime_ns
    with pytest.raises(MediaError, match="b.*is not finished"):
        CropPacks(folder, tracks)
    again, _ = cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    assert read_folder(folder) == first
    assert (folder / "a.jpgs").stat().st_mtime_ns == stamp
    pd.testing.assert_frame_equal(table, again)


def test_another_recipe_or_other_boxes_are_cut_again(world):
    tracks, faces, sources, folder = world
    cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    faces["x1"][0] += 10
    cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    changed = CropPacks(folder, tracks).read([0])[0]
    assert changed.std() > 10  # now reaches over the edge in the middle
    cut_all(tracks, faces, sources, folder=folder, recipe=PackRecipe(CropRule(size=16)))
    assert CropPacks(folder, tracks).size == 16


def test_clips_without_pictures_and_tracks_without_crops_are_told(world):
    tracks, faces, sources, folder = world
    faces["x0"][5:9], faces["x1"][5:9] = 200, 230
    crops, problems = cut_all(tracks, faces, {"a": sources["a"]}, folder=folder, recipe=RECIPE)
    assert [problem.severity for problem in problems] == ["warning", "warning"]
    assert "Clip 'b' has no pictures" in problems[0].what
    assert "Track 't2' of clip 'a' has no crop" in problems[1].what
    assert crops["crops"].tolist() == [5, 0, 0]
    assert CropPacks(folder, tracks).read([]).shape == (0, 32, 32, 3)


def write_given(folder, tracks, faces, size=32):
    for row in tracks.itertuples():
        own = folder / row.session / row.track
        own.mkdir(parents=True)
        for place in range(row.offset, row.offset + row.rows):
            grey = np.full((size, size, 3), 10 * place, np.uint8)
            cv2.imwrite(str(own / f"face_{faces['frame'][place]:05d}.jpg"), grey)


def test_given_crops_are_taken_as_they_are_and_exported_again(world, tmp_path):
    tracks, faces, _, folder = world
    given = tmp_path / "face_imgs"
    write_given(given, tracks, faces)
    (given / "a" / "t2" / "face_00003.jpg").unlink()
    (given / "a" / "t2" / "notes.txt").write_text("no picture")
    crops, problems = cut_all(tracks, faces, find_given(given, tracks, faces), folder=folder, recipe=RECIPE)
    assert problems == []
    assert crops["no_frame"].tolist() == [0, 1, 0]
    packs = CropPacks(folder, tracks)
    assert abs(packs.read([7]).mean() - 70) <= 1
    out = tmp_path / "out"
    assert export_crops(packs, tracks, faces, folder=out) == 13
    original = {path.relative_to(given): path.read_bytes() for path in given.rglob("*.jpg")}
    assert {path.relative_to(out): path.read_bytes() for path in out.rglob("*.jpg")} == original


def test_given_crops_of_another_size_or_damaged_are_all_named(world, tmp_path):
    tracks, faces, _, folder = world
    given = tmp_path / "face_imgs"
    write_given(given, tracks, faces)
    (given / "a" / "t:1" / "face_00001.jpg").write_bytes(b"\xff\xd8 no picture")
    (given / "a" / "t:1" / "face_00002.jpg").write_bytes(b"")
    cv2.imwrite(str(given / "a" / "t2" / "face_00004.jpg"), np.zeros((32, 30, 3), np.uint8))
    crops, problems = cut_all(tracks, faces, find_given(given, tracks, faces), folder=folder, recipe=RECIPE)
    assert crops.empty
    assert [(problem.severity, problem.file, problem.what) for problem in problems] == [
        ("error", "a/t:1/face_00001.jpg", "It cannot be read."),
        ("error", "a/t:1/face_00002.jpg", "It cannot be read."),
        ("error", "a/t2/face_00004.jpg", "It is 30 × 32 pixels."),
    ]
    with pytest.raises(MediaError, match="a.*is not finished"):
        CropPacks(folder, tracks)


def test_test_crops_of_the_challenge(tmp_path):
    tracks, faces = make_tracks([("a", "0", [5, 6])])
    challenge = pd.DataFrame(
        {"session": "a", "track": "0", "frame": [5, 6], "unique_id": ["x", "y"], "path": ["a/0/5_x.jpg", "a/0/6_y.jpg"]}
    )
    for number, path in enumerate(challenge["path"]):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), np.full((32, 32, 3), 50 + 50 * number, np.uint8))
    _, problems = cut_all(tracks, faces, find_challenge(tmp_path, challenge), folder=tmp_path / "crops", recipe=RECIPE)
    assert problems == []
    means = CropPacks(tmp_path / "crops", tracks).read([1, 0]).mean(axis=(1, 2, 3))
    assert means == pytest.approx([100, 50], abs=1)


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\\b"])
def test_names_with_path_parts_go_nowhere(name, tmp_path):
    tracks, faces = make_tracks([("a", name, [1])])
    with pytest.raises(MediaError, match="cannot be the name of a folder"):
        find_given(tmp_path, tracks, faces)
    tracks, faces = make_tracks([(name, "1", [1])])
    with pytest.raises(MediaError, match="cannot be the name of a folder"):
        cut_all(tracks, faces, {}, folder=tmp_path / "crops", recipe=RECIPE)


def test_damage_is_noticed(world):
    tracks, faces, sources, folder = world
    cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    packs = CropPacks(folder, tracks)
    with pytest.raises(MediaError, match="holds no crop of row 6"):
        packs.read([5, 6])
    with pytest.raises(MediaError, match="in none of these packs"):
        CropPacks(folder, tracks[tracks["session"] == "a"]).read([10])
    data = bytearray((folder / "a.jpgs").read_bytes())
    (folder / "a.jpgs").write_bytes(b"\0" * len(data))
    with pytest.raises(MediaError, match="damaged crop of row 2"):
        CropPacks(folder, tracks).read([2])
    (folder / "a.jpgs").write_bytes(bytes(data[:-5]))
    with pytest.raises(MediaError, match=r"(?s)a: .*bytes"):
        CropPacks(folder, tracks)
    more, _ = make_tracks([("b", "t1", list(range(9)))])
    with pytest.raises(MediaError, match="Crops were made for rows 9 to 13"):
        CropPacks(folder, more)


@pytest.fixture
def few_open_files():
    """As many files may be opened as two readers of packs keep open, and a few more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(file.name) for file in Path("/dev/fd").iterdir()}
    free = [number for number in range(soft) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[2 * OPEN + 12], hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_clips_than_files_may_be_open_are_read_in_any_order_by_threads_and_after_sending(
    world, few_open_files, tmp_path
):
    _, _, sources, folder = world
    clips = 3 * OPEN
    tracks, faces = make_tracks([(f"{number:03}", "1", [number % FRAMES]) for number in range(clips)])
    for name, value in zip(("x0", "y0", "x1", "y1"), (4.0, 4.0, 36.0, 36.0), strict=True):
        faces[name] = value
    cut_all(tracks, faces, dict.fromkeys(tracks["session"], sources["a"]), folder=folder, recipe=RECIPE)
    packs = CropPacks(folder, tracks)
    greys = 15.0 * (np.arange(clips) % FRAMES) + 1
    orders = [np.random.default_rng(seed).permutation(clips) for seed in range(8)]
    for own in (packs, pickle.loads(pickle.dumps(packs))):
        assert np.abs(own.read(orders[0]).mean(axis=(1, 2, 3)) - greys[orders[0]]).max() <= 1.5
        with ThreadPoolExecutor(4) as pool:
            for order, found in zip(orders, pool.map(own.read, orders), strict=True):
                assert np.abs(found.mean(axis=(1, 2, 3)) - greys[order]).max() <= 1.5
        assert [own.read_bytes(row) for row in (0, clips - 1)] == [
            (folder / f"{row:03}.jpgs").read_bytes() for row in (0, clips - 1)
        ]


def test_a_pack_that_is_cut_short_or_gone_while_it_is_used_is_named(world):
    tracks, faces, sources, folder = world
    cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    packs = CropPacks(folder, tracks)
    (folder / "a.jpgs").write_bytes((folder / "a.jpgs").read_bytes()[:-5])
    with pytest.raises(MediaError, match=r"(?s)a\.jpgs.*before"):
        packs.read([0])
    (folder / "b.jpgs").unlink()
    with pytest.raises(MediaError, match=r"(?s)b\.jpgs.*any more"):
        packs.read_bytes(9)


def test_priors_of_each_track_are_counted(world):
    tracks, faces, sources, folder = world
    cut_all(tracks, faces, sources, folder=folder, recipe=RECIPE)
    facts = read_facts(folder, tracks)
    poses = np.full((14, 3), np.nan)
    poses[:7] = 10  # that of row 6 has no crop
    poses[1, 2] = np.nan  # known in part
    points = np.full((14, 5, 4), np.nan)
    points[9] = 0.5
    priors = gather_priors(facts, head_pose=poses, points=points)
    assert np.isnan(priors["yaw"][1])
    crops = table_crops(tracks, priors, facts=facts)
    assert crops["head_poses"].tolist() == [4, 1, 0]
    assert crops["landmarks"].tolist() == [0, 0, 1]
