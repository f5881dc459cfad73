"""Augmented copies: what is changed, what is kept, and that a copy is drawn once and for all."""

import cv2
import numpy as np
import pandas as pd
import pytest

from nbpkg.datasets.people.augment_people import General, GeneralDraw, draw_general, move, move_boxes, part_boxes, vary
from nbpkg.datasets.people.augment_people_copies import keep_training_copies, select_mixed
from nbpkg.datasets.people.augment_people_faces import cut_out, swap_faces
from nbpkg.errors import FoldError, MediaError, SettingsError, TableError

NONE = [np.nan] * 4
PLAIN = GeneralDraw("keep", (9, 90, 200), 0, None, 0.0, flip=False, overlay=False)


@pytest.fixture
def clip():
    """Four frames of 40 x 60 pixels with a person at columns 20 to 30."""
    frames = np.random.default_rng(0).integers(1, 256, (4, 40, 60, 3), dtype=np.uint8)
    masks = np.zeros(frames.shape[:3], dtype=bool)
    masks[:, 10:38, 20:30] = True
    return frames, masks


class Ellipse:
    """A face swap that draws a filled ellipse in the mean colour of the new face."""

    def swap(self, frame, faces, identities):
        for (x0, y0, x1, y1), identity in zip(faces, identities, strict=True):
            centre, axes = ((x0 + x1) / 2, (y0 + y1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2)
            colour = identity.reshape(-1, 3).mean(axis=0)
            cv2.ellipse(frame, [*map(int, centre)], [*map(int, axes)], 0, 0, 360, colour.tolist(), thickness=-1)
        return frame


def faces_of(level: int) -> np.ndarray:
    return np.full((8, 8, 3), level, np.uint8)


# --- faces covered ---


def test_cut_out_covers_each_face_by_a_square_and_nothing_else(clip):
    frames, _ = clip
    faces = np.array([[[20, 10, 30, 18], NONE], [[22, 10, 32, 18], [-4, 0, 6, 6]], [NONE, NONE], [NONE, NONE]])
    before = frames.copy()
    out = cut_out(frames, faces)
    black = (out == 0).all(axis=3)
    assert np.argwhere(black[0]).min(axis=0).tolist() == [8, 19]
    assert np.argwhere(black[0]).max(axis=0).tolist() == [19, 30]  # a square of 1.2 * 10 round (25, 14)
    assert black[1, 8:20, 21:33].all()
    assert black[1, :9, :7].all()
    assert black[1].sum() == 12 * 12 + 9 * 7
    assert (out[2:] == frames[2:]).all()
    assert (out[~black] == frames[~black]).all()
    assert (frames == before).all()


def test_boxes_that_cannot_be_are_refused(clip):
    frames, _ = clip
    with pytest.raises(MediaError, match="do not belong together"):
        cut_out(frames, np.zeros((3, 1, 4)))
    with pytest.raises(MediaError, match="wrong way round"):
        cut_out(frames, np.array([[[5.0, 0, 2, 2]]] * 4))
    with pytest.raises(SettingsError, match="visible"):
        cut_out(frames, np.zeros((4, 1, 4)), scale=0.9)


# --- faces exchanged ---


def test_each_person_keeps_one_new_face_in_all_frames(clip):
    frames, _ = clip
    faces = np.array(
        [[[10, 10, 20, 20], [40, 10, 50, 20]], [[12, 10, 22, 20], NONE], [NONE, [41, 11, 51, 21]], [NONE] * 2]
    )
    pool = [faces_of(level) for level in (20, 120, 220)]
    out = swap_faces(frames, faces, clip="a", copy=0, seed=1, swap=Ellipse(), identities=pool)
    left = {int(out[0, 15, 15, 0]), int(out[1, 15, 17, 0])}
    right = {int(out[0, 15, 45, 0]), int(out[2, 16, 46, 0])}
    assert len(left) == len(right) == 1
    assert left != right
    assert left | right <= {20, 120, 220}
    assert (out[3] == frames[3]).all()
    assert (out[1, :, 30:] == frames[1, :, 30:]).all()
    copies = {
        tuple(
            swap_faces(frames, faces, clip="a", copy=copy, seed=1, swap=Ellipse(), identities=pool)[0, 15, [15, 45], 0]
        )
        for copy in range(12)
    }
    assert len(copies) > 2


def test_a_face_swap_must_have_faces_and_return_frames(clip):
    frames, _ = clip
    faces = np.array([[[10, 10, 20, 20.0]]] * 4)

    class Wrong:
        def swap(self, frame, faces, identities):
            return frame / 255

    with pytest.raises(SettingsError, match="0 faces for 1 persons"):
        swap_faces(frames, faces, clip="a", copy=0, seed=1, swap=Ellipse(), identities=[])
    with pytest.raises(MediaError, match="float64"):
        swap_faces(frames, faces, clip="a", copy=0, seed=1, swap=Wrong(), identities=[faces_of(1)])


# --- General ---


def test_draws_depend_on_clip_and_copy_alone():
    draw = draw_general("fam1/c", 2, seed=5, general=General(), rooms=3)
    assert draw == draw_general("fam1/c", 2, seed=5, general=General(), rooms=3)
    others = [draw_general(clip, copy, seed=5, general=General(), rooms=3) for clip in "abc" for copy in range(60)]
    assert {other.mode for other in others} == {"keep", "colour", "indoor", "blur"}
    assert 0.35 < np.mean([other.flip for other in others]) < 0.65
    assert 0.35 < np.mean([other.noise is not None for other in others]) < 0.65
    assert 0.2 < np.mean([other.overlay for other in others]) < 0.4
    turned = np.array([other.degrees for other in others if other.degrees])
    assert 0.35 < len(turned) / len(others) < 0.65
    assert -15 <= turned.min() < -10 < 10 < turned.max() <= 15
    calm = draw_general("fam1/c", 2, seed=5, general=General(rotation_share=0, noise_share=0), rooms=3)
    assert (calm.degrees, calm.noise) == (0, None)
    assert (calm.mode, calm.flip, calm.colour) == (draw.mode, draw.flip, draw.colour)


@pytest.mark.parametrize("mode", ["colour", "indoor", "blur"])
def test_backgrounds_change_all_but_the_person(clip, mode):
    frames, masks = clip
    room = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    draw = GeneralDraw(mode, (9, 90, 200), 0, None, 0.0, flip=False, overlay=False)
    out = vary(frames, draw, general=General(blur=2), masks=masks, rooms=[room])
    assert (out[masks] == frames[masks]).all()
    ground = out[~masks]
    if mode == "colour":
        assert (ground == [9, 90, 200]).all()
    elif mode == "indoor":
        assert (out[0][~masks[0]] == out[3][~masks[3]]).all()
        assert (ground != frames[~masks]).mean() > 0.9
    else:
        assert ground.astype(float).std() < 0.5 * frames[~masks].astype(float).std()


def test_noise_is_one_field_for_the_whole_clip(clip):
    frames, masks = clip
    grey = np.full_like(frames, 128)
    draw = GeneralDraw("keep", (0, 0, 0), -1, 77, 0.0, flip=False, overlay=False)
    out = vary(grey, draw, general=General(), masks=masks).astype(float) - 128
    assert (out == out[:1]).all()
    assert 9 < out[0].std() < 11
    assert abs(out[0].mean()) < 1


@pytest.mark.parametrize("degrees", [0.0, 12.0, -7.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_go_where_pixels_go(degrees, mirrored):
    frames = np.zeros((1, 90, 120, 3), np.uint8)
    frames[0, 30:50, 70:100] = 255
    draw = GeneralDraw("keep", (0, 0, 0), -1, None, degrees, flip=mirrored, overlay=False)
    out = vary(frames, draw, general=General(), masks=np.zeros(frames.shape[:3], bool))
    seen = np.argwhere(out[0, ..., 0] > 127)
    box = np.array([seen[:, 1].min(), seen[:, 0].min(), seen[:, 1].max() + 1, seen[:, 0].max() + 1])
    moved = move_boxes(np.array([70.0, 30, 100, 50]), draw, (90, 120))
    assert np.abs(moved - box).max() <= (1.5 if degrees else 0)


def test_boxes_that_leave_the_frame_are_gone():
    draw = GeneralDraw("keep", (0, 0, 0), -1, None, 45.0, flip=False, overlay=False)
    moved = move_boxes(np.array([[[0.0, 0, 4, 4], [40, 40, 60, 60], NONE]]), draw, (100, 100))
    assert np.isnan(moved[0, [0, 2]]).all()
    assert np.isfinite(moved[0, 1]).all()


def test_colours_of_the_parts_lie_where_the_parts_are(clip):
    frames, masks = clip
    persons, faces = np.array([[[18, 4, 32, 40.0]]] * 4), np.array([[[22, 6, 28, 12.0], NONE]] * 4)[:, :1]
    parts = part_boxes((40, 60), faces=faces, persons=persons)
    assert [int(parts[0, y, x]) for y, x in ((9, 25), (5, 25), (18, 20), (30, 20), (20, 50))] == [2, 1, 3, 0, 0]
    draw = GeneralDraw("keep", (0, 0, 0), -1, None, 0.0, flip=True, overlay=True)
    out = vary(np.zeros_like(frames), draw, general=General(), masks=masks, parts=parts)
    found = [out[0, parts[0, :, ::-1] == part] for part in range(4)]
    assert all((pixels == pixels[0]).all() for pixels in found)
    assert len({tuple(pixels[0]) for pixels in found}) == 4
    assert found[0][0].tolist() == [51] * 3  # 0.4 of grey 128


def test_the_original_is_left_alone_and_a_plain_draw_gives_it_back(clip):
    frames, masks = clip
    before = frames.copy()
    assert (vary(frames, PLAIN, general=General(), masks=masks) == before).all()
    every = GeneralDraw("blur", (0, 0, 0), -1, 3, 5.0, flip=True, overlay=True)
    vary(frames, every, general=General(), masks=masks, parts=np.zeros(masks.shape, np.uint8))
    assert (frames == before).all()
    assert move(frames, PLAIN) is frames


def test_what_general_lacks_is_said(clip):
    frames, masks = clip
    with pytest.raises(SettingsError, match="picture of a room"):
        draw_general("a", 0, seed=0, general=General())
    with pytest.raises(SettingsError, match="no parts"):
        vary(
            frames,
            GeneralDraw("keep", (0, 0, 0), -1, None, 0.0, flip=False, overlay=True),
            general=General(),
            masks=masks,
        )
    with pytest.raises(MediaError, match="masks have the shape"):
        vary(frames, PLAIN, general=General(), masks=masks[:2])
    with pytest.raises(MediaError, match="no part 7"):
        vary(frames, PLAIN, general=General(), masks=masks, parts=np.full(masks.shape, 7, np.uint8))
    with pytest.raises(SettingsError, match="Backgrounds of keep"):
        General(modes=("beach",))
    with pytest.raises(SettingsError, match="Blur"):
        General(blur=0)


# --- which copies ---


def copies_of(counts: dict[int, int], copies: int = 1) -> pd.DataFrame:
    rows = [(f"c{label}_{k}", copy, label) for label, n in counts.items() for k in range(n) for copy in range(copies)]
    return pd.DataFrame(rows, columns=["clip_id", "copy", "label"])


def test_mixed_takes_half_of_each_variant_with_the_labels_in_proportion():
    pool = copies_of({0: 4, 1: 20, 2: 16}, copies=2)
    found = select_mixed(pool, pool, size=41, seed=3)
    assert found["variant"].value_counts().to_dict() == {"general": 21, "deepfake": 20}
    assert found[found["variant"] == "deepfake"]["label"].value_counts().to_dict() == {1: 10, 2: 8, 0: 2}
    assert not found.duplicated(["variant", "clip_id", "copy"]).any()
    shuffled = pool.sample(frac=1, random_state=1)
    assert select_mixed(shuffled, shuffled, size=41, seed=3).equals(found)
    assert not select_mixed(pool, pool, size=41, seed=4).equals(found)


def test_mixed_says_what_there_is_too_little_of():
    with pytest.raises(TableError, match="2 copies of label 0, but 3"):
        select_mixed(copies_of({0: 8, 1: 10}), copies_of({0: 2, 1: 0}), size=10, seed=0)
    with pytest.raises(TableError, match="cannot be chosen"):
        select_mixed(copies_of({0: 2}), copies_of({0: 2}), size=0, seed=0)


def test_only_copies_of_training_clips_are_kept():
    copies = copies_of({0: 2, 1: 2}, copies=2)
    kept = keep_training_copies(copies, training=["c0_0", "c1_1"], held_out=["c0_1", "c1_0"])
    assert set(kept["clip_id"]) == {"c0_0", "c1_1"}
    assert len(kept) == 4
    with pytest.raises(FoldError, match="1 clips are in training and held out"):
        keep_training_copies(copies, training=["c0_0"], held_out=["c0_0"])
