"""Answers on new footage: the published demo's, one network pass for everybody, memory per person, any batch."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from nbpkg.datasets.gaze.boxes import WIDENED, widen
from nbpkg.datasets.gaze.items import Pixels
from nbpkg.errors import MediaError
from nbpkg.gaze.footage import Frame, open_footage
from nbpkg.gaze.heads import group_heads, read_heads
from nbpkg.gaze.networks import Looks, wrap_network
from nbpkg.gaze.predict import predict_gaze, take_heads, take_scene
from nbpkg.models.gaze.vtd import VtdSpatial
from nbpkg.plots.gaze_reference import modulate

CPU = torch.device("cpu")


def predict(footage, heads, gazer, **options):
    return list(predict_gaze(footage, take_heads(heads), gazer, device=CPU, **options))


@pytest.fixture(scope="module")
def heads(head_files, footage):
    return group_heads(read_heads(head_files, footage).boxes)


def compare(first, second, tolerance=1e-5):
    for one, other in zip(first, second, strict=True):
        assert one.frame.name == other.frame.name
        for a, b in zip(one.people, other.people, strict=True):
            assert (a.person, a.box) == (b.person, b.box)
            np.testing.assert_allclose(a.heat, b.heat, atol=tolerance)
            assert a.inside == pytest.approx(b.inside, abs=tolerance, nan_ok=True)


def test_the_published_demo_is_met(tmp_path, golden_rule, root):
    golden = root / "tests" / "golden" / "gaze_target"
    case = json.loads((golden / "demo_pipeline_open.json").read_text())
    maps = np.load(golden / "demo_pipeline_open.npz", allow_pickle=False)
    (tmp_path / "frames").mkdir()
    size = case["width"], case["height"]
    for name, *_ in case["head_file"]:
        Image.fromarray(golden_rule.frame(f"demo_open_{name}", *size)).save(tmp_path / "frames" / name)
    (tmp_path / "p.txt").write_text("\n".join(",".join(map(str, row)) for row in case["head_file"]))
    network = VtdSpatial()
    network.load_state_dict(golden_rule.filled(network.state_dict()))
    footage = open_footage(tmp_path / "frames")
    boxes = group_heads(read_heads([tmp_path / "p.txt"], footage).boxes)
    found = predict(footage, boxes, wrap_network(network, "vtd", compat="reference"), reading="index")
    assert len(found) == len(case["result"])
    for one, golden_one in zip(found, case["result"], strict=True):
        (person,) = one.people
        assert widen([person.box], WIDENED)[0] == pytest.approx(golden_one["box"], abs=1e-6)
        assert person.logit == pytest.approx(golden_one["inout_logit"], abs=1e-4)
        assert list(person.cell) == golden_one["argmax_xy"]
        assert [person.peak_x, person.peak_y] == pytest.approx(golden_one["point"])
        norm_map = modulate(person.heat, person.logit, size=size)
        assert np.abs(norm_map[::4, ::4] - maps[f"norm_map_stride4_{one.frame.name}"]).max() < 1
        assert norm_map.mean() == pytest.approx(golden_one["norm_map_mean"], abs=0.05)


@pytest.mark.parametrize("name", ["vtd_small", "vtd_small_temporal", "gazelle_small"])
def test_every_frame_comes_back_in_order_with_its_people(name, networks, footage, heads):
    found = predict(footage, heads, wrap_network(networks[name], name), batch=4)
    assert [one.frame.number for one in found] == list(range(12))
    assert [len(one.people) for one in found] == [2, 2, 2, 2, 2, 1, 1, 2, 2, 0, 2, 2]
    for one in found:
        for person in one.people:
            assert person.heat.shape == (64, 64)
            assert person.peak == person.heat.max()
            assert 0 <= person.peak_x <= 128
            assert 0 <= person.peak_y <= 96
            assert 0 <= person.inside <= 1


@pytest.mark.parametrize("name", ["vtd_small", "vtd_small_temporal", "gazelle_small"])
def test_batch_and_workers_change_nothing(name, networks, footage, heads):
    whole = predict(footage, heads, wrap_network(networks[name], name), batch=100, workers=1)
    for batch in (1, 3):
        compare(predict(footage, heads, wrap_network(networks[name], name), batch=batch, workers=3), whole)


@pytest.mark.parametrize("name", ["vtd_small_temporal", "gazelle_small"])
def test_everybody_at_once_is_everybody_alone(name, networks, footage, heads):
    together = predict(footage, heads, wrap_network(networks[name], name))
    for person in ("anna", "ben"):
        own = {frame: [one for one in people if one[0] == person] for frame, people in heads.items()}
        alone = predict(footage, own, wrap_network(networks[name], name))
        for one, other in zip(together, alone, strict=True):
            seen = [a for a in one.people if a.person == person]
            assert len(seen) == len(other.people)
            for a, b in zip(seen, other.people, strict=True):
                np.testing.assert_allclose(a.heat, b.heat, atol=1e-5)


def test_memory_goes_on_from_frame_to_frame_and_begins_anew_after_a_gap(networks, footage, heads):
    network = networks["vtd_small_temporal"]
    found = predict(footage, heads, wrap_network(network, "t"), batch=5)

    def fresh(frames):
        """Ben's last map when only these frames are seen."""
        own = {frame: [one for one in heads[frame] if one[0] == "ben"] for frame in frames}
        return next(one.people[0].heat for one in predict(footage, own, wrap_network(network, "t"))[frames[-1] :][:1])

    def ben(frame):
        return next(one.heat for one in found[frame].people if one.person == "ben")

    np.testing.assert_allclose(ben(4), fresh([0, 1, 2, 3, 4]), atol=1e-5)
    assert np.abs(ben(4) - fresh([4])).max() > 1e-4  # what came before counts
    np.testing.assert_allclose(ben(7), fresh([7]), atol=1e-5)  # missed in 5 and 6
    np.testing.assert_allclose(ben(8), fresh([7, 8]), atol=1e-5)
    np.testing.assert_allclose(ben(10), fresh([10]), atol=1e-5)  # nobody was seen in 9


def test_the_memory_equals_the_networks_own_pass(networks, footage, heads):
    network = networks["vtd_small_temporal"]
    gazer = wrap_network(network, "t")
    looks = []
    for frame in list(footage)[:5]:
        boxes = np.array([box for _, box, _ in heads[frame.number]])
        looks.append(Looks(frame.number, ("anna", "ben"), gazer.prepare(frame.picture, boxes)))
    scene, face, cells = (torch.cat(column) for column in zip(*(look.tensors for look in looks), strict=True))
    inputs = Pixels(scene, face, cells).make_inputs()
    with torch.inference_mode():
        heat, logit, _ = network(inputs.scene, inputs.head, inputs.face, batch_sizes=[2] * 5)
    found = predict(footage, heads, gazer)
    mine = np.stack([person.heat for one in found[:5] for person in one.people])
    np.testing.assert_allclose(mine, heat[:, 0].numpy(), atol=1e-5)
    assert [p.logit for one in found[:5] for p in one.people] == pytest.approx(logit[:, 0].tolist(), abs=1e-5)


def test_gazelle_encodes_a_frame_once_for_all_and_answers_without_heads(networks, footage, heads, monkeypatch):
    network, seen = networks["gazelle_small"], []
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda images: seen.append(len(images)) or encode(images))
    predict(footage, heads, wrap_network(network, "g"), batch=100)
    assert seen == [11]  # of 12 frames one shows nobody
    found = list(predict_gaze(footage, take_scene, wrap_network(network, "g"), device=CPU))
    assert [[person.person for person in one.people] for one in found] == [["scene"]] * 12
    assert np.isnan(found[0].people[0].box).all()


def test_a_peak_stands_for_the_middle_of_its_cell(networks, footage, heads):
    gazer = wrap_network(networks["vtd_small"], "v")
    centre = predict(footage, heads, gazer)[0].people[0]
    corner = predict(footage, heads, gazer, reading="index")[0].people[0]
    assert (centre.peak_x - corner.peak_x, centre.peak_y - corner.peak_y) == pytest.approx((1, 0.75))


def test_few_frames_are_in_memory_however_long_the_footage(networks):
    """Frames are asked for only as fast as answers are taken."""
    made = 0

    def frames():
        nonlocal made
        for number in range(5000):
            made += 1
            yield Frame(number, str(number), 0.0, np.zeros((48, 64, 3), np.uint8))

    find = take_heads({number: [("p", (5.0, 5.0, 20.0, 20.0), "file")] for number in range(5000)})
    results = predict_gaze(frames(), find, wrap_network(networks["vtd_small"], "v"), device=CPU, batch=4)
    for _ in range(6):
        next(results)
    time.sleep(0.3)
    assert made < 60
    before = threading.active_count()
    results.close()
    assert threading.active_count() < before  # nothing goes on behind one's back


def test_what_fails_in_the_background_is_told(networks):
    def frames():
        yield Frame(0, "0", 0.0, np.zeros((48, 64, 3), np.uint8))
        raise MediaError("Picture '1' cannot be read.")

    find = take_heads({0: [("p", (5.0, 5.0, 20.0, 20.0), "file")]})
    with pytest.raises(MediaError, match="Picture '1'"):
        list(predict_gaze(frames(), find, wrap_network(networks["vtd_small"], "v"), device=CPU))


def test_boxes_that_are_odd_are_no_crash(networks, footage):
    odd = [("a", (-20.0, -20.0, 10.0, 10.0), "file"), ("b", (300.0, 5.0, 310.0, 9.0), "file"),
           ("c", (50.0, 50.0, 50.2, 50.2), "file")]  # fmt: skip
    for name in networks:
        found = predict(footage, {0: odd}, wrap_network(networks[name], name))
        assert all(np.isfinite(person.heat).all() for person in found[0].people)
        assert len(found[0].people) == 3
