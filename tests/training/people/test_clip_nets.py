"""Networks of clips and skeletons: trained on real frame stores, resumed, varied only where they learn, slid along."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from people_world import conversations, films, settings

from nbpkg.errors import FoldError, MediaError, SettingsError
from nbpkg.settings.people import PeopleNetworkSettings, VariantSettings
from nbpkg.training.people.answers import answer_items, load_people_networks, predict_people, slide
from nbpkg.training.people.clip_batches import FrameReader, SkeletonReader, find_short, read_ahead
from nbpkg.training.people.material import FrameSpan, locate_clips
from nbpkg.training.people.one_round import Place, Plan, train_round
from nbpkg.training.people.phases import train_people_phase
from nbpkg.training.people.rounds import list_rounds
from nbpkg.training.people.saved import LIST
from nbpkg.training.people.variants import Item, Varying, list_copies
from nbpkg.training.rounds import Where

CPU = torch.device("cpu")
THIN = {"width": 4, "blocks": [1, 1, 1, 1]}
NETWORKS = {
    "r2plus1d_r34": {"frames": 4, "interval": 2, "size": 32, "options": THIN},
    "tsm": {"frames": 4, "size": 32, "options": THIN},
    "stgcn++": {"frames": 8, "options": {"width": 8, "blocks": [1, 1, 1]}},
    "ctrgcn": {"frames": 8, "options": {"width": 8, "blocks": [1, 1, 1]}},
    "posec3d": {"frames": 4, "size": 16, "options": {"width": 4, "blocks": [1, 1, 1]}},
}


class Ellipse:
    """Stands in for a program that exchanges faces: it fills them."""

    identities = (np.zeros((4, 4, 3), np.uint8),)

    def swap(self, frame, faces, identities):
        """Fill the faces."""
        for x0, y0, x1, y1 in np.round(faces).astype(int):
            frame[y0:y1, x0:x1] = len(identities)
        return frame


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return films(tmp_path_factory.mktemp("stores"))


def how(name: str, **more):
    learning = {"epochs": 2, "batch_size": 3, "optimiser": "sgd", "chunk": 1, **more.pop("learning", {})}
    return settings({"name": name, "views": 2, **NETWORKS[name]}, learning, **more)


@pytest.mark.parametrize("name", NETWORKS)
def test_two_epochs_and_answers_of_best_and_last(material, tmp_path, name):
    own = material.of_folds("train")
    found = train_people_phase("final", own, settings=how(name), earlier={}, where=Where(tmp_path, 0, CPU, 1))
    (tmp_path / LIST).write_text(json.dumps(found.networks))
    assert found.trials["epochs"].tolist() == [2]
    assert np.isfinite(found.history["value"]).all()
    networks = load_people_networks(tmp_path)
    table = predict_people(networks, material, system=name, device=CPU, roles=("test",), checkpoints=("best", "last"))
    assert len(table) == 2 * 4
    assert np.isfinite(table[["p_low", "p_high"]]).all(axis=None)
    best, last = (table.loc[table["checkpoint"] == which, "p_low"].to_numpy() for which in ("best", "last"))
    assert (best == last).all() == (networks[0].epoch == 2)


def test_brightness_is_learnt_from_frames(material, tmp_path):
    learning = {"epochs": 15, "batch_size": 4, "optimiser": "adamw", "learning_rate": 0.01, "select": "last"}
    network = {"name": "i3d", "frames": 8, "interval": 1, "size": 16, "options": {"width": 4, "blocks": [1, 1, 1, 1],
               "dropout": 0.0, "norms": "frozen"}}  # fmt: skip
    plan = settings(network, learning, crossval={"folds": [0]})
    found = train_people_phase(
        "crossval", material.of_folds("train"), settings=plan, earlier={}, where=Where(tmp_path, 0, CPU, 1)
    )
    assert found.trials["held_out_accuracy"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "more"),
    [("tsm", {"learning": {"class_power": 0.0}}), ("r2plus1d_r34", {"augment": {"variant": "general"}})],
)
def test_a_training_of_clips_cut_off_ends_with_the_same_bytes(material, tmp_path, name, more):
    own, plan = material.of_folds("train"), how(name, **more)
    one = list_rounds("final", own.folds, settings=plan)[0]

    def train(folder: str, tick) -> bytes:
        facts = own.describe("clips")
        place = Place(tmp_path / folder, CPU, tick, 0.0)
        outcome = train_round(own, one, plan=Plan("final", plan, facts, 0), place=place)
        return (tmp_path / folder / outcome.network["last_file"]).read_bytes()

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("cut", stop)
    assert train("cut", lambda _: None) == train("whole", lambda _: None)


def test_clips_are_found_at_another_rate(material):
    reader = FrameReader(PeopleNetworkSettings(name="tsm", frames=4, size=16), material)
    assert reader.spans["f3_1"] == FrameSpan(12, 12)
    dark, bright = (reader.look(Item(f"f3_{label}"), 5)[0].mean() for label in (0, 1))
    assert bright > dark + 1
    assert reader.look(Item("f3_1"), 5)[0].shape == (1, 4, 3, 16, 16)


def test_clips_of_stores_with_the_frames_of_the_source_are_cut_at_the_end():
    clips = pd.DataFrame({"sample_id": ["a", "b", "c"], "session": "f0", "first": [0, 20, 7], "frames": [24, 9, -1]})
    spans = locate_clips(clips, None, {"f0": 24})
    assert spans == {"a": FrameSpan(0, 24), "b": FrameSpan(20, 4), "c": FrameSpan(7, 17)}
    with pytest.raises(MediaError, match=r"2 problems(.|\n)*begins with frame 24 (.|\n)*'f1' was not prepared"):
        locate_clips(clips.assign(first=[24, 1, 1], session=["f0", "f1", "f0"]), None, {"f0": 24})


def test_views_are_those_of_the_sampling_and_draws_differ_between_epochs(material):
    own = PeopleNetworkSettings(name="i3d", frames=4, interval=1, size=16)
    reader = FrameReader(own, material)
    views = reader.look(Item("f0_0"), 3)[0]
    assert views.shape == (3, 3, 4, 16, 16)
    draws = [reader.draw(Item("f0_0"), epoch, seed=1)[0] for epoch in (1, 1, 2, 3)]
    assert torch.equal(draws[0], draws[1])
    assert not all(torch.equal(draws[0], other) for other in draws[2:])
    assert not find_short(own, material)
    assert len(find_short(own.model_copy(update={"frames": 8, "interval": 2}), material)) == 16


def test_people_of_skeletons_have_the_places_of_their_roles(material):
    facts = material.describe("skeletons")
    assert (facts.places, facts.roles) == (2, ("child",))
    reader = SkeletonReader(PeopleNetworkSettings(name="stgcn++", frames=6), material, facts=facts)
    values, present = reader.look(Item("f0_0"), 2)
    assert values.shape == (2, 2, 6, 17, 3)
    assert present[:, 0].all()
    assert not present[:, 1].any()  # nobody follows the second one, who has no role
    assert float(values[0, 0, :, :, :2].abs().max()) < 1


@pytest.mark.parametrize("variant", ["cutout", "general", "deepfake", "mixed"])
def test_copies_are_varied_and_originals_and_held_out_clips_are_not(material, variant):
    how_varied = VariantSettings(variant=variant, copies=2, swap=f"{__name__}:Ellipse")
    items = material.list_items()[:8]
    listed = list_copies(items, material.take_labels(items).tolist(), settings=how_varied, seed=0, held_out=["f7_0"])
    assert [item.sample for item in listed[:8]] == items
    assert len(listed) == 24
    kinds = Counter(item.variant for item in listed[8:])
    assert kinds == ({"general": 8, "deepfake": 8} if variant == "mixed" else {variant: 16})
    reader = FrameReader(
        PeopleNetworkSettings(name="i3d", frames=4, interval=1, size=32), material,
        varying=Varying(how_varied, material.people, seed=0),
    )  # fmt: skip
    plain, *copies = (
        reader._read(item, np.arange(4)[None]) for item in (Item("f0_1"), *listed[8:]) if item.sample in ("f0_1",)
    )  # noqa: E501, SLF001
    assert any((copy != plain).any() for copy in copies)
    if variant == "cutout":
        assert (copies[0] == 0).all(axis=3).sum() > 4 * 20
        assert (copies[0] != plain).any(axis=3).mean() < 0.3
    with pytest.raises(FoldError, match="training and held out"):
        list_copies(items, [0] * 8, settings=how_varied, seed=0, held_out=[items[0]])


@pytest.mark.parametrize("swap", ["", "nowhere:swap", "json:dumps"])
def test_variants_need_people_and_a_program_for_faces(material, swap):
    with pytest.raises(SettingsError, match="exchanges no faces"):
        Varying(VariantSettings(variant="deepfake", swap=swap), material.people, seed=0)
    with pytest.raises(SettingsError, match="nobody was followed"):
        Varying(VariantSettings(variant="cutout"), None, seed=0)


def test_a_network_slides_along_a_whole_recording(material, tmp_path):
    own = material.of_folds("train")
    found = train_people_phase("final", own, settings=how("r2plus1d_r34"), earlier={}, where=Where(tmp_path, 0, CPU, 1))
    (tmp_path / LIST).write_text(json.dumps(found.networks))
    (network,) = load_people_networks(tmp_path)
    table = slide(network, material.stores["f7"], session="f7", step=3, device=CPU)
    assert table["frame"].tolist() == [0, 3, 6, 9, 12, 15]
    assert table["frames"].unique().tolist() == [8]
    assert table["seconds"].tolist() == pytest.approx([(first + 3.5) / 5 for first in range(0, 18, 3)])
    assert np.allclose(table[["p_low", "p_high"]].sum(axis=1), 1)
    views = FrameReader(network.settings.network, material)
    numbers = np.arange(6, 14, 2)
    with torch.no_grad():
        wanted = network.build()(views.look_at(material.stores["f7"].frames(numbers))).softmax(dim=1)
    assert table["p_high"][2] == pytest.approx(float(wanted[0, 1]), abs=1e-5)
    own_clips = replace(material, stores={"f6": material.stores["f6"]})  # frames of what is asked about will do
    assert len(answer_items(network, own_clips, ["f6_1", "f6_0"], device=CPU)) == 2
    with pytest.raises(SettingsError, match="cannot answer every 0 frames"):
        slide(network, material.stores["f7"], session="f7", step=0, device=CPU)


def test_sessions_without_frames_are_named(material):
    lost = replace(material, stores={name: store for name, store in material.stores.items() if name != "f2"})
    with pytest.raises(MediaError, match="no frames of f2"):
        FrameReader(PeopleNetworkSettings(name="i3d"), lost)


def test_multipar_answers_window_by_window(tmp_path):
    own = settings({"name": "multipar_t", "options": {"width": 10, "layers": 1}}, {"epochs": 2, "batch_size": 8})
    material = conversations()
    found = train_people_phase(
        "final", material.of_folds("train"), settings=own, earlier={}, where=Where(tmp_path, 0, CPU, 1)
    )
    (tmp_path / LIST).write_text(json.dumps(found.networks))
    table = predict_people(load_people_networks(tmp_path), material, system="multipar", device=CPU, roles=("test",))
    assert len(table) == 4 * 8
    assert np.allclose(table[["p_low", "p_high"]].sum(axis=1), 1)


def test_what_is_read_ahead_comes_in_order_and_errors_come_through():
    assert list(read_ahead(lambda number: number**2, 7)) == [number**2 for number in range(7)]

    def fail(number: int) -> int:
        if number == 3:
            raise MediaError("A frame is damaged.")
        return number

    with pytest.raises(MediaError, match="damaged"):
        list(read_ahead(fail, 9))
