"""Batches hold each face once, and are the same for the same seed whatever the batches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from looking_faces import GOLDEN, make_tracks, read_golden

from nbpkg.datasets.looking.batches import Variation, WindowBatches, WindowRule, draw_cut, vary_crop
from nbpkg.datasets.looking.windows import list_windows
from nbpkg.features.looking.cropping import CropRule
from nbpkg.features.looking.cutting import FromPictures, PackRecipe, cut_all
from nbpkg.features.looking.packs import CropPacks, read_facts
from nbpkg.features.looking.pixels import normalise_crops
from nbpkg.features.looking.priors import gather_priors
from nbpkg.models.looking.priors import normalise_landmarks, quantise_head, quantise_landmarks

SIDE = 32


def test_golden_evaluation_transform():
    golden = np.load(GOLDEN / "eval_transform_open.npz")
    picture = np.random.default_rng(int(golden["seed"])).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    found = normalise_crops(picture[None])[0]
    assert found[:, ::16, ::16].numpy() == pytest.approx(golden["out_every16"], abs=1e-6)
    assert float(found.double().sum()) == pytest.approx(float(golden["sum"]), rel=1e-6)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two tracks of pictures that differ in every pixel; one face has no crop."""
    folder = tmp_path_factory.mktemp("faces")
    tracks, faces = make_tracks([("a", "1", list(range(12))), ("b", "1", list(range(5)))])
    faces["label"] = np.arange(17) % 2
    paths = {"a": [f"a{number}.png" for number in range(12)], "b": [f"b{number}.png" for number in range(5)]}
    paths["a"][4] = ""
    for number, path in enumerate([*paths["a"], *paths["b"]]):
        if path:
            picture = np.random.default_rng(number).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / path), picture)
    sources = {session: FromPictures(folder, tuple(own)) for session, own in paths.items()}
    cut_all(tracks, faces, sources, folder=folder / "crops", recipe=PackRecipe(CropRule(size=SIDE)))
    rng = np.random.default_rng(3)
    poses = rng.uniform(-80, 80, (17, 3))
    poses[6] = np.nan
    priors = gather_priors(
        read_facts(folder / "crops", tracks), head_pose=poses, points=rng.uniform(0.2, 0.8, (17, 5, 4))
    )
    windows = list_windows(tracks, faces, crop=priors["crop"], stride=1)
    return windows, CropPacks(folder / "crops", tracks), priors


def test_each_face_is_there_once_and_in_its_places(world):
    windows, packs, priors = world
    batches = WindowBatches(windows, packs, priors, size=SIDE, rule=WindowRule(fill="reference"))
    batch = batches.make([2, 3, 4, 12])
    assert len(batch.rows) == len(set(batch.rows.tolist())) == len(batch.crops)
    assert batch.rows[batch.where][:, 3].tolist() == windows.row[[2, 3, 4, 12]].tolist()
    assert batch.rows[batch.where[2]].tolist() == [2, 2, 3, 5, 6, 7, 8]  # 4 has no crop
    assert torch.equal(batch.crops, normalise_crops(packs.read(batch.rows.tolist())))
    assert batch.label.tolist() == windows.label[[2, 3, 4, 12]].tolist()
    own = priors[windows.row[[2, 3, 4, 12]]]
    assert torch.equal(
        batch.head, torch.from_numpy(quantise_head(np.stack([own["yaw"], own["pitch"], own["roll"]], 1), 1))
    )
    assert batch.points.shape == (4, 5, 2)


def test_windows_vary_alike_whatever_the_batches_and_readers(world):
    windows, packs, priors = world
    batches = WindowBatches(
        windows,
        packs,
        priors,
        p=np.full(17, 0.3),
        size=24,
        rule=WindowRule(dropout=True),
        variation=Variation(),
        seed=5,
    )
    order = batches.shuffle(1)
    assert sorted(order.tolist()) == list(range(len(windows)))
    assert order.tolist() != batches.shuffle(2).tolist()

    def clips(numbers, *, epoch=1, **how):
        found = {}
        for batch in batches.each(numbers, epoch=epoch, **how):
            for number, where, head in zip(batch.number.tolist(), batch.where, batch.head, strict=True):
                found[number] = torch.cat([batch.crops[where].flatten(), head.float()])
        return found

    whole, small = clips(order, batch=16), clips(order[::-1], batch=3, readers=2)
    assert all(torch.equal(whole[number], small[number]) for number in range(len(windows)))
    other = clips(order, batch=16, epoch=2)
    assert not any(torch.equal(whole[number], other[number]) for number in range(len(windows)))


def test_mirrored_windows_have_mirrored_priors_unless_compared_with_published_numbers(world):
    windows, packs, priors = world
    how = Variation(least_area=1.0)
    batches = WindowBatches(windows, packs, priors, size=SIDE, variation=how, seed=2)
    numbers = np.arange(len(windows))
    batch, plain = batches.make(numbers), WindowBatches(windows, packs, priors, size=SIDE).make(numbers)
    flipped = torch.tensor(
        [not torch.equal(batch.crops[a[3]], plain.crops[b[3]]) for a, b in zip(batch.where, plain.where, strict=True)]
    )
    assert 2 < int(flipped.sum()) < len(windows) - 2
    for number in np.flatnonzero(flipped.numpy()):
        assert torch.equal(batch.crops[batch.where[number]], plain.crops[plain.where[number]].flip(-1))
    assert torch.equal(batch.points[~flipped], plain.points[~flipped])
    assert (batch.points[flipped] != plain.points[flipped]).flatten(1).any(dim=1).all()
    mirrored = priors[windows.row]["points"][:, [0, 2, 1, 4, 3]].copy()
    mirrored[..., 0] = 1 - mirrored[..., 0]
    wanted = torch.from_numpy(quantise_landmarks(normalise_landmarks(mirrored), 0.1, csplit=0.1))
    assert torch.equal(batch.points[flipped], wanted[flipped])
    published = WindowBatches(
        windows, packs, priors, size=SIDE, variation=Variation(least_area=1.0, mirror_priors=False), seed=2
    ).make(numbers)
    assert torch.equal(published.points, plain.points)
    assert torch.equal(published.crops, batch.crops)


def test_one_cut_for_a_window_or_one_for_each_face(world):
    windows, packs, priors = world
    edge = [0]  # three places are filled with the first face
    once, each = (
        WindowBatches(windows, packs, priors, size=SIDE, variation=Variation(per=per), seed=1).make(edge)
        for per in ("window", "face")
    )
    assert len(once.rows) == 4
    assert len(each.rows) == 7
    assert each.rows[each.where][0, :4].tolist() == [0, 0, 0, 0]


def test_random_cuts_keep_their_share_and_shape_and_lie_inside():
    random = np.random.default_rng(0)
    cuts = np.array([draw_cut(random, 224, 0.8) for _ in range(2000)])
    assert ((cuts[:, :2] >= 0) & (cuts[:, :2] + cuts[:, 2:] <= 224)).all()
    area = cuts[:, 2] * cuts[:, 3] / 224**2
    assert 0.79 < area.min() < 0.82
    assert area.max() > 0.97
    assert len(np.unique(cuts[:, 0])) > 20
    crop = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    assert np.array_equal(vary_crop(crop, cut=(0, 0, 32, 32)), crop)
    assert np.array_equal(vary_crop(crop, mirrored=True), crop[:, ::-1])


def test_a_middle_that_is_left_out_as_published_is_black(world):
    windows, packs, priors = world
    rule = WindowRule(fill="reference", dropout=True, drop_centre=True)
    batch = WindowBatches(windows, packs, priors, p=np.zeros(17), size=SIDE, rule=rule).make([3])
    assert batch.rows.tolist() == [-1]
    assert batch.crops[0].mean(dim=(1, 2)).tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])


def test_rows_without_pictures_for_features_made_before(world):
    windows, packs, priors = world
    with_pictures = WindowBatches(windows, packs, priors, size=SIDE).make([0, 1])
    rows = WindowBatches(windows, None, priors, size=SIDE).make([0, 1])
    assert len(rows.crops) == 0
    assert torch.equal(rows.rows, with_pictures.rows)
    assert torch.equal(rows.where, with_pictures.where)


def test_golden_test_windows_hold_the_pictures_of_their_frames(tmp_path):
    golden = read_golden("test_loader")
    listed = [
        (session, name, [int(file.split("_")[0]) for file in sorted(files)])
        for session, own in golden["files"].items()
        for name, files in own.items()
    ]
    tracks, faces = make_tracks(listed)
    sources = {}
    for session, own in golden["files"].items():
        paths = [
            f"{session}_{name}_{file.replace('jpg', 'png')}" for name, files in own.items() for file in sorted(files)
        ]
        for path in paths:
            grey = int(path.split("_")[2]) * 2
            cv2.imwrite(str(tmp_path / path), np.full((16, 16, 3), grey, np.uint8))
        sources[session] = FromPictures(tmp_path, tuple(paths))
    cut_all(tracks, faces, sources, folder=tmp_path / "crops", recipe=PackRecipe(CropRule(size=16)))
    priors = gather_priors(read_facts(tmp_path / "crops", tracks))
    run = golden["runs"]["gauss1_stride1"]
    p = np.array([golden["test_p"][image[0]][image[1]].get(image[2], np.nan) for image in run["images"]])
    windows = list_windows(tracks, faces, crop=priors["crop"], stride=1)
    rule = WindowRule(fill="reference", dropout=True, drop_centre=True)
    batches = WindowBatches(windows, CropPacks(tmp_path / "crops", tracks), priors, p=p, size=16, rule=rule)
    batch = batches.make(np.arange(len(windows)))
    red = (batch.crops[:, 0].mean(dim=(1, 2)) * 0.229 + 0.485) * 255 / 2
    wanted = [[frame or 0 for frame in sample["window_frame_ids_None=black"]] for sample in run["samples"]]
    assert red[batch.where].numpy() == pytest.approx(np.array(wanted), abs=0.01)
