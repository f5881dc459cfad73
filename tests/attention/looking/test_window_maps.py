"""Where in a window of seven faces a network looks: every method, a planted region, a random twin, deletion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from window_world import CORNER, FPS, SIDE, ask_network, wrap

from nbpkg import tables
from nbpkg.attention.explain import randomise
from nbpkg.attention.explain.layers import default_layer
from nbpkg.attention.explain.methods import METHODS, Options, find_method
from nbpkg.attention.faithfulness import explain_by, measure_faithfulness
from nbpkg.attention.faithfulness_scores import average_curves
from nbpkg.attention.looking.tracks import TASK, VARIABLE, name_track, track_stores
from nbpkg.attention.looking.windows import WindowScore, find_window, look_at_windows
from nbpkg.attention.machine import explain_snippets
from nbpkg.attention.maps import read_map
from nbpkg.datasets.looking.windows import CENTRE
from nbpkg.errors import ExplainError
from nbpkg.features.looking.pixels import normalise_crops
from nbpkg.models.looking.build import build_window_network
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.training.looking.networks import build_face_network
from nbpkg.video.clips import find_frames

CPU = torch.device("cpu")
OPTIONS = Options(
    batch_size=8, occlusion_radius=(0, 4, 4), occlusion_stride=(1, 4, 4), occlusion_centred=True, steps=4, samples=3
)
NOT_THESE = {"rollout", "heatmap"}  # of plain transformers, and of networks that answer by a map
COARSE = {"gradcam", "gradcam_plus_plus", "hirescam", "layercam"}


def make_snippets(*rows):
    names = ("session", "start_ms", "label")
    facts = {"task": TASK, "variable": VARIABLE, "raters": 1, "painted": True}
    full = [dict(zip(names, row, strict=True)) | facts for row in rows]
    ends = [{"end_ms": row["start_ms"] + 700, "snippet_id": f"{row['session']}_{row['start_ms']}"} for row in full]
    return tables.from_rows([one | two for one, two in zip(full, ends, strict=True)], "snippets")


@pytest.fixture(scope="module")
def snippets():
    track, other = name_track("a", "1:0"), name_track("b", "2:0")
    return make_snippets((track, 1100, 1), (track, 4700, 1), (other, 500, 1), (track, 200, 0), (track, 3300, 0))


@pytest.fixture(scope="module")
def track(world):
    return {name_track(row["session"], row["track"]): row for row in world.tracks.to_dict("records")}


def first_row(snippets, place=0):
    return snippets.iloc[place].to_dict()


def in_corner(values):
    """Share of a map's mass in the upper left quarter, face by face."""
    rows, columns = (side // 2 for side in values.shape[1:])
    mass = values.clip(0).sum(axis=(1, 2))
    return values.clip(0)[:, :rows, :columns].sum(axis=(1, 2)) / np.where(mass > 0, mass, np.nan)


def test_network_learnt_what_was_planted(world, trained, snippets):
    look = look_at_windows(world, device=CPU)
    for row in snippets.to_dict("records"):
        net, clip = look(row, trained)
        with torch.no_grad():
            found = net(clip[None])
        assert found.shape == (1, 2)
        assert int(found.argmax()) == row["label"]


@pytest.mark.parametrize("start_ms", [0, 40, 50, 99, 550, 1550, 3033])
def test_people_are_shown_the_faces_that_the_network_sees(world, track, trained, start_ms):
    session = name_track("a", "1:0")
    (row,) = make_snippets((session, start_ms, 1)).to_dict("records")
    stores = track_stores(world.crops, world.tracks, faces=world.faces, has_crop=world.priors["crop"], fps=FPS)
    numbers, _ = find_frames(stores[session], row["start_ms"], row["end_ms"], count=7)
    window = find_window(world, track[session], row)
    there = window.slots[0] >= 0
    assert np.array_equal(window.slots[0][there], numbers[there])
    assert there.tolist() == [number not in (20, 21) for number in numbers]
    _, clip = look_at_windows(world, device=CPU)(row, trained)
    shown = normalise_crops(stores[session].frames(numbers)).transpose(0, 1)
    assert clip.shape == (3, 7, SIDE, SIDE)
    assert torch.equal(clip[:, there], shown[:, there])


def test_a_middle_without_a_crop_is_the_nearest_face(world, track):
    (row,) = make_snippets((name_track("a", "1:0"), 1700, 1)).to_dict("records")  # 17 to 23: 20 and 21 have none
    window = find_window(world, track[row["session"]], row)
    assert window.slots[0].tolist() == [17, 18, 19, 19, -1, 22, 23]
    assert window.row.tolist() == [19]
    assert window.label.tolist() == [1]


def test_a_window_stays_in_its_track(world, track):
    (row,) = make_snippets((name_track("a", "1/1"), 0, 0)).to_dict("records")
    first = int(world.tracks["offset"][1])
    window = find_window(world, track[row["session"]], row)
    assert window.slots[0].tolist() == [first, first + 1, first + 2, first + 3, first + 4, -1, -1]


def test_a_track_without_crops_is_refused(world, track):
    (row,) = make_snippets((name_track("b", "x"), 0, 0)).to_dict("records")
    with pytest.raises(ExplainError, match="no crop"):
        find_window(world, track[row["session"]], row)


def test_wrapped_network_answers_as_the_network_does(world, trained, snippets):
    settings = ask_network(name="gazepose")
    posed = wrap(settings, build_face_network(settings.network, seed=3).network.state_dict())
    for one in (trained, posed):
        net, clip = look_at_windows(world, device=CPU)(first_row(snippets), one)
        head, points = net.head, net.landmarks
        with torch.no_grad():
            expected = one.build()(
                clip.transpose(0, 1)[None].repeat(3, 1, 1, 1, 1), head.repeat(3, 1), points.repeat(3, 1, 1)
            )
            found = net(clip[None].repeat(3, 1, 1, 1, 1))
        assert torch.allclose(found, expected, atol=1e-6)


def test_head_pose_of_the_middle_face_goes_to_the_network(world, snippets, track):
    settings = ask_network(name="gazepose")
    posed = wrap(settings, build_face_network(settings.network, seed=3).network.state_dict())
    net, clip = look_at_windows(world, device=CPU)(first_row(snippets), posed)
    with torch.no_grad():
        before = net(clip[None])
        net.head = (net.head + 2) % 10
        assert not torch.allclose(net(clip[None]), before)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("network", ["gaze_lstm", "gazepose", "baseline_lstm"])
def test_every_method_maps_each_of_the_seven_faces(world, snippets, name, network):
    settings = ask_network(name=network)
    made = wrap(settings, build_face_network(settings.network, seed=3).network.state_dict())
    net, clip = look_at_windows(world, device=CPU)(first_row(snippets), made)
    if name in NOT_THESE:
        with pytest.raises(ExplainError):
            find_method(name).run(net, clip, [0, 1], OPTIONS)
        return
    maps = find_method(name).run(net, clip, [0, 1], OPTIONS)
    assert sorted(maps) == [0, 1]
    for found in maps.values():
        side = SIDE // 8 if name in COARSE | {"occlusion"} else SIDE
        side = 8 if name == "occlusion" else side
        assert found.values.shape == (7, side, side)
        assert np.isfinite(found.values).all()


def test_the_large_network_of_faces_is_explained_at_its_last_map():
    options = WindowNetworkOptions(hidden=8, dmodel=16, heads=2, feedforward=16, encoder_layers=0, decoder_layers=1)
    network = build_window_network("gazepose", options=options, seed=0).eval()
    net = WindowScore(network, torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 5, 2, dtype=torch.int64))
    clip = torch.rand(3, 7, 64, 64, generator=torch.Generator().manual_seed(0))
    assert default_layer(net, clip) == "network.base_model.layer4"
    assert find_method("gradcam").run(net, clip, [1], OPTIONS)[1].values.shape == (7, 2, 2)
    assert find_method("guided_backprop").run(net, clip, [1], OPTIONS)[1].values.shape == (7, 64, 64)
    other = Options(layer="network.base_model.layer2")
    assert find_method("gradcam").run(net, clip, [1], other)[1].values.shape == (7, 8, 8)


@pytest.mark.parametrize("name", ["gradcam", "occlusion", "integrated_gradients"])
def test_maps_lie_where_the_planted_region_is_and_those_of_a_random_twin_do_not(world, trained, snippets, name):
    look = look_at_windows(world, device=CPU)
    own, twin = [], []
    for row in snippets[snippets["label"] == 1].to_dict("records"):
        net, clip = look(row, trained)
        for found, shares in ((net, own), (randomise(net, seed=5), twin)):
            values = find_method(name).run(found, clip, [1], OPTIONS)[1].values
            values = values - values.min(axis=(1, 2), keepdims=True) if name == "occlusion" else np.abs(values)
            shares.append(float(in_corner(values)[CENTRE]))
    assert np.mean(own) > 0.45, (own, twin)  # a quarter of the face holds it
    assert np.mean(own) > np.nanmean(twin) + 0.1, (own, twin)


def test_occlusion_of_single_faces_finds_which_of_them_counts(world, trained, snippets):
    net, clip = look_at_windows(world, device=CPU)(first_row(snippets), trained)
    values = find_method("occlusion").run(net, clip, [1], OPTIONS)[1].values
    assert values.shape == (7, 8, 8)
    assert int(values.max(axis=(1, 2)).argmax()) == CENTRE
    place = np.unravel_index(int(values[CENTRE].argmax()), (8, 8))
    assert max(place) * 4 < CORNER.stop


def test_files_of_maps_are_kept_and_the_twin_is_among_them(world, trained, snippets, tmp_path):
    networks, chosen = {(TASK, VARIABLE): trained}, snippets.iloc[[0, 3]]
    how = {"methods": ["gradcam", "occlusion"], "options": OPTIONS, "folder": tmp_path, "seed": 0, "randomised": True}
    maps = explain_snippets(chosen, networks, look=look_at_windows(world, device=CPU), **how)
    assert len(maps) == 2 * 2 * (2 + 1)  # snippets, methods, classes and the twin
    assert set(maps["file"]) == {
        f"maps/{name}__{kind}.npz" for name in chosen["snippet_id"] for kind in ("network", "random")
    }
    own = maps[(maps["source"] == "network") & (maps["condition"] == "matching")]
    assert (own["predicted"] == own["target"]).all()
    assert all(read_map(tmp_path, row).shape[0] == 7 for row in maps.to_dict("records"))

    def nobody_looks(snippet, network):
        raise AssertionError(snippet, network)

    pd.testing.assert_frame_equal(explain_snippets(chosen, networks, look=nobody_looks, **how), maps)


def test_deleting_what_maps_point_at_moves_the_answer_sooner_than_chance(world, trained, snippets):
    chosen = snippets[snippets["label"] == 1]
    found = measure_faithfulness(
        chosen,
        {(TASK, VARIABLE): trained},
        explain_by(["occlusion", "gradcam"], OPTIONS),
        look=look_at_windows(world, device=CPU),
        steps=5,
        fill="mean",
        batch_size=8,
        seed=0,
        randomised=1,
    )
    assert set(found["test"]) == {"deletion", "insertion"}  # networks over windows are not divided into blocks
    assert len(found) == len(chosen) * 2 * 2 * 2 * 6
    means = average_curves(found, seed=0, resamples=100)
    assert not means.empty
    steps = found[(found["step"] > 0) & (found["step"] < 1)].groupby(["method", "test", "note"])["value"].mean()
    assert steps["occlusion", "deletion", "map"] < steps["occlusion", "deletion", "random order"] - 0.05
