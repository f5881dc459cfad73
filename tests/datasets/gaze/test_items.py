"""What networks see, against the published programs' items."""

import inputs as golden_inputs
import numpy as np
import pytest
import torch
from gaze_dataset_cases import people, read_facts, read_vectors
from PIL import Image

from nbpkg.annotations.gaze.smoothing import smooth_values
from nbpkg.datasets.gaze import augment as au
from nbpkg.datasets.gaze import items, maps
from nbpkg.errors import TableError

REFERENCE = items.Preparation(compat="reference")
FOLLOW = items.Preparation(compat="reference", widened=0.1)


def assert_item(made: tuple[items.Inputs, items.Targets], golden: dict) -> None:
    inputs, targets = made
    for part, name in ((inputs.scene, "image"), (inputs.face, "face")):
        np.testing.assert_allclose(part[:, :, ::16, ::16].numpy(), golden[f"{name}_stride16"], rtol=0, atol=1e-5)
        stats = torch.stack([part.mean((1, 2, 3)), part.std((1, 2, 3), correction=0)], dim=1).numpy()
        np.testing.assert_allclose(stats, golden[f"{name}_stats"][:, :2], rtol=0, atol=1e-4)
    boxes = [items.show_sample(inputs, targets, row).head_box.tolist() for row in range(len(targets.maps))]
    assert boxes == golden["head_rect"].tolist()
    np.testing.assert_allclose(targets.maps[:, ::4, ::4].numpy(), golden["heatmap_stride4"], rtol=0, atol=1e-6)
    assert targets.maps.flatten(1).argmax(1).tolist() == golden["heatmap_argmax"].tolist()
    assert targets.inside[:, None].tolist() == golden["inout"].tolist()
    if "gaze" in golden:
        assert torch.nan_to_num(targets.gaze, nan=-1).tolist() == golden["gaze"].tolist()


def open_track(name: str, frames: str) -> tuple[au.Persons, list[np.ndarray]]:
    """Smoothed rows and frames of a golden track."""
    facts = read_facts(name)
    size = (facts["width"], facts["height"])
    gaze = np.array([row[5:] for row in facts["rows"]], dtype=float)
    gaze[(gaze == -1).all(1)] = np.nan
    boxes = smooth_values(np.array([row[1:5] for row in facts["rows"]], dtype=float))
    pictures = [golden_inputs.frame(f"{frames}_open_{row[0]}", *size) for row in facts["rows"]]
    return people(boxes, gaze, size=size), pictures


class TestGolden:
    def test_video_test_item(self):
        track, pictures = open_track("item_vat", "vat")
        assert_item(items.prepare(pictures, track, REFERENCE), read_vectors("item_vat_test"))

    @pytest.mark.parametrize("seed", [1, 7])
    def test_video_training_item(self, seed):
        track, pictures = open_track("item_vat", "vat")
        draws = np.random.RandomState(seed)
        drawn = au.draw_video(draws, track, augment=au.Augment(), limit=4, compat="reference")
        window = slice(drawn.start, drawn.start + drawn.length)
        made = items.prepare(pictures[window], track.take(np.arange(7)[window]), REFERENCE, changes=drawn.changes)
        assert_item(made, read_vectors(f"item_vat_train_seed{seed}"))

    def test_object_attention_test_item(self):
        track, pictures = open_track("item_oa", "oa")
        assert_item(items.prepare(pictures, track, REFERENCE), read_vectors("item_oa_test"))

    def test_gazefollow_test_items(self):
        golden = read_vectors("item_gazefollow")
        for number, (path, width, height, points, box, _) in enumerate(read_facts("item_gazefollow")["test"]):
            person = people([box], [np.multiply(points[0], [width, height])], size=(width, height))
            picture = golden_inputs.frame(f"gf_open_{path}", width, height)
            inputs, targets = items.prepare([picture], person, FOLLOW)
            self.assert_picture(inputs, targets, golden, f"test{number}")
            heat = maps.annotators_map(np.array([points]), compat="reference")[0]
            np.testing.assert_allclose(heat[::2, ::2], golden[f"test{number}_heatmap_stride2"], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("seed", read_facts("item_gazefollow")["seeds"])
    @pytest.mark.parametrize("item", [0, 1])
    def test_gazefollow_training_items(self, seed, item):
        golden, facts = read_vectors("item_gazefollow"), read_facts("item_gazefollow")
        path, x, y, *box, inside = facts["train"][item]
        size = next(tuple(row[1:3]) for row in facts["test"] if row[0] == path)
        person = people([box], [[x * size[0], y * size[1]]], [inside], size=size)
        ready = items.ready_persons(person, FOLLOW)
        drawn = au.draw_picture(np.random.RandomState(seed), ready, augment=au.Augment(), compat="reference")
        picture = golden_inputs.frame(f"gf_open_{path}", *size)
        inputs, targets = items.prepare([picture], person, FOLLOW, changes=drawn)
        name = f"train_seed{seed}_item{item}"
        self.assert_picture(inputs, targets, golden, name)
        assert int(targets.maps[0].argmax()) == int(golden[f"{name}_heatmap_argmax"][()])
        assert bool(targets.inside[0]) == bool(golden[f"{name}_inside"][()])

    @staticmethod
    def assert_picture(inputs, targets, golden, name):
        for part, kind in ((inputs.scene, "image"), (inputs.face, "face")):
            found = part[0, :, ::16, ::16].numpy()
            np.testing.assert_allclose(found, golden[f"{name}_{kind}_stride16"], rtol=0, atol=1e-5)
        assert items.show_sample(inputs, targets, 0).head_box.tolist() == golden[f"{name}_head_rect"].tolist()


class TestPrepare:
    how = items.Preparation(size=32)

    def test_pictures_may_differ_in_size_and_come_one_at_a_time(self):
        sizes = [(40, 30), (64, 20), (32, 32)]
        rows = au.Persons(
            np.tile([2.0, 3, 20, 15], (3, 1)), np.full((3, 2), 10.0), np.ones(3, np.int64), np.array(sizes, float)
        )
        pictures = (np.full((height, width, 3), 9, dtype=np.uint8) for width, height in sizes)
        inputs, targets = items.prepare(pictures, rows, self.how)
        assert [tuple(part.shape) for part in inputs] == [(3, 3, 32, 32), (3, 1, 32, 32), (3, 3, 32, 32)]
        np.testing.assert_allclose(targets.gaze.numpy(), 10 / np.array(sizes), rtol=1e-6)
        assert all(part.dtype == torch.float32 for part in (*inputs, *targets))

    def test_a_picture_stored_at_half_size_gives_the_same_face(self):
        tiles = np.kron(np.arange(48).reshape(6, 8), np.ones((8, 8)))[..., None].astype(np.uint8).repeat(3, 2)
        small = np.asarray(Image.fromarray(tiles).resize((32, 24), Image.Resampling.NEAREST))
        person = people([[16, 8, 48, 40]], [[30, 30]], size=(64, 48))
        (whole, targets), (half, same) = (items.prepare([picture], person, self.how) for picture in (tiles, small))
        assert torch.equal(whole.head, half.head)
        assert torch.equal(targets.maps, same.maps)
        assert (whole.face - half.face).abs().mean() < 0.05

    @pytest.mark.parametrize("box", [[10, 10, 10, 10], [30, 20, 10, 5], [300, 5, 320, 25], [-40, -40, -10, -10]])
    def test_odd_boxes_are_prepared_without_a_crash(self, box):
        picture = np.full((48, 64, 3), 200, dtype=np.uint8)
        inputs, targets = items.prepare([picture], people([box], [[10, 10]], size=(64, 48)), self.how)
        assert all(torch.isfinite(part).all() for part in (*inputs, *targets))
        outside = box[0] >= 64 or max(box[0], box[2]) <= 0
        assert bool(inputs.head.any()) == (not outside)

    def test_a_target_outside_or_unknown_has_no_map_and_no_point(self):
        pictures = [np.zeros((48, 64, 3), dtype=np.uint8)] * 3
        rows = people([[5, 5, 20, 20]] * 3, [[10, 10], [-1, -1], [30, 30]], [1, 0, -1], size=(64, 48))
        _, targets = items.prepare(pictures, rows, self.how)
        assert targets.maps.amax((1, 2)).tolist() == [1, 0, 0]
        assert targets.inside.tolist() == [1, 0, -1]
        assert torch.isnan(targets.gaze).tolist() == [[False] * 2, [True] * 2, [True] * 2]

    def test_a_negative_coordinate_of_an_inside_target_counts_as_the_border(self):
        rows = people([[5, 5, 20, 20]], [[-3, 24]], size=(64, 48))
        _, targets = items.prepare([np.zeros((48, 64, 3), dtype=np.uint8)], rows, self.how)
        assert targets.gaze.tolist() == [[0, 0.5]]

    def test_numbers_of_pictures_and_persons_must_agree(self):
        rows = people([[5, 5, 20, 20]] * 2, size=(64, 48))
        for count in (1, 3):
            with pytest.raises(TableError, match=f"{count} pictures for 2 persons"):
                items.prepare([np.zeros((48, 64, 3), dtype=np.uint8)] * count, rows, self.how)
        with pytest.raises(TableError, match="no head box"):
            items.prepare([], people([[np.nan] * 4]), self.how)

    def test_scaling_on_a_device_is_the_published_one(self):
        pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
        made = items.Pixels(pixels, pixels.flip(1), torch.tensor([[1, 2, 4, 8], [0, 0, 0, 0]])).make_inputs("cpu")
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (items.IMAGENET_MEAN, items.IMAGENET_STD))
        torch.testing.assert_close(made.scene, (pixels.permute(0, 3, 1, 2) / 255 - mean) / std, rtol=0, atol=2e-6)
        assert made.scene.is_contiguous()
        assert made.head[0, 0].nonzero().tolist() == [[row, column] for row in range(2, 8) for column in range(1, 4)]
        assert not made.head[1].any()


def test_a_sample_is_shown_as_it_was_prepared():
    picture = golden_inputs.frame("shown", 64, 64)
    rows = people([[8, 16, 24, 40]], [[32, 16]], size=(64, 64))
    inputs, targets = items.prepare([picture], rows, items.Preparation(size=64))
    shown = items.show_sample(inputs, targets, 0)
    assert np.array_equal(shown.scene, picture)
    assert shown.head_box.tolist() == [8, 16, 24, 40]
    assert shown.gaze.tolist() == [32, 16]
    assert divmod(int(shown.heat.argmax()), 64) == (16, 32)
    assert shown.inside == 1
    assert shown.face.shape == (64, 64, 3)
