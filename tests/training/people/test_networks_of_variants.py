"""Networks over people by name: families, variants, options, weights to begin with, groups of parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from people_world import conversations, settings
from safetensors.torch import save_file
from torch import nn

from nbpkg.baking.people import PersonRecording
from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.people.cross_person.conversations import Conversations
from nbpkg.models.people.families import CLASSIFIERS, family_of
from nbpkg.models.people.rgb.facts import RGB_NETWORKS
from nbpkg.settings.people import PeopleLearning, PeopleNetworkSettings
from nbpkg.training.people.learners import lay_steps
from nbpkg.training.people.material import PeopleFacts
from nbpkg.training.people.networks import build_people_network, check_variant
from nbpkg.training.people.optimiser import group_parameters

TOKENS = PeopleFacts(("low", "medium", "high"), {"pose": 4, "video": 5}, 3, ("parent", "child", "robot"))
SMALL = {"width": 8, "heads": 2, "modal_layers": 1, "memory_layers": 1, "person_layers": 1, "memory_tokens": 2}


def build(name: str, variant: str = "full", facts: PeopleFacts = TOKENS, **more):
    own = PeopleNetworkSettings(name=name, **{**(SMALL if name == "cpm_t" else {}), **more})
    return build_people_network(own, variant=variant, facts=facts, seed=1).network


def test_names_have_families_long_and_short():
    names = {"cpm_t": "conversation", "multipar_t": "steps", "i3d": "clips", "r2plus1d_18": "clips", "tsm": "clips",
             "torchvision.resnet18": "clips", "stgcn++": "skeletons", "ctr_gcn": "skeletons",
             "posec3d": "skeletons"}  # fmt: skip
    assert {name: family_of(name) for name in names} == names
    with pytest.raises(SettingsError, match="no network 'resnet'"):
        family_of("resnet")


def test_the_list_of_classifiers_is_that_of_their_facts():
    assert tuple(RGB_NETWORKS) == CLASSIFIERS


def test_variants_leave_out_what_they_say():
    keys = {variant: set(build("cpm_t", variant).state_dict()) for variant in
            ("full", "no_memory", "no_cross_modal", "no_cross_person", "without_pose")}  # fmt: skip
    assert {"gate.weight", "cp.norm.weight", "cm.pose__video.norm.weight"} <= keys["full"]
    assert "gate.weight" not in keys["no_memory"]
    assert "cp.norm.weight" not in keys["no_cross_person"]
    assert "cm.pose__pose.norm.weight" in keys["no_cross_modal"]
    assert not any("pose" in key for key in keys["without_pose"])
    assert build("multipar_t", "without_video", options={"layers": 1, "width": 20}).features == 4


@pytest.mark.parametrize(
    ("name", "variant"), [("cpm_t", "without_sound"), ("multipar_t", "no_memory"), ("i3d", "without_pose")]
)
def test_variants_that_a_network_lacks_are_refused(name, variant):
    facts = TOKENS if name != "i3d" else PeopleFacts(TOKENS.classes)
    with pytest.raises(SettingsError, match=f"{name} has no variant '{variant}'"):
        check_variant(PeopleNetworkSettings(name=name), variant, facts)


def test_a_single_modality_cannot_be_left_out():
    with pytest.raises(SettingsError, match="no variant 'without_pose'"):
        check_variant(PeopleNetworkSettings(), "without_pose", PeopleFacts(("a", "b"), {"pose": 3}))


def test_options_are_those_of_the_network():
    thin = build("i3d", facts=PeopleFacts(TOKENS.classes), options={"width": 8, "blocks": [1, 1, 1, 1]})
    whole = sum(weight.numel() for weight in thin.parameters())
    assert whole < 500_000
    with pytest.raises(SettingsError, match="options of stgcn\\+\\+ has depth"):
        build("stgcn++", facts=TOKENS, options={"depth": 3})
    with pytest.raises(SettingsError, match="i3d_r50 has no frames"):
        build("i3d", facts=PeopleFacts(TOKENS.classes), options={"frames": 8})


def test_weights_follow_from_the_seed_and_come_from_files(tmp_path):
    torch.manual_seed(5)
    first, second = (build("ctr_gcn", options={"width": 8, "blocks": [1, 1, 1]}).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    build("cpm_t")
    assert torch.equal(torch.rand(1), drawn)
    file = {key: value + 1 for key, value in first.items()}
    file["cls_head.fc_cls.weight"], file["cls_head.fc_cls.bias"] = torch.zeros(60, 32), torch.zeros(60)
    torch.save({"state_dict": file, "meta": {"epoch": np.float64(3)}}, tmp_path / "published.pth")
    own = PeopleNetworkSettings(name="ctr_gcn", weights="published.pth", options={"width": 8, "blocks": [1, 1, 1]})
    built = build_people_network(own, variant="full", facts=TOKENS, seed=1, data=tmp_path)
    found = built.network.state_dict()
    assert torch.equal(found["backbone.data_bn.weight"], first["backbone.data_bn.weight"] + 1)
    assert found["cls_head.fc_cls.weight"].shape[0] == 3
    assert "published.pth" in built.weights
    save_file(
        {key: value.contiguous() for key, value in build("cpm_t").state_dict().items()}, tmp_path / "c.safetensors"
    )
    again = PeopleNetworkSettings(name="cpm_t", weights="c.safetensors", **SMALL)
    assert build_people_network(again, variant="full", facts=TOKENS, seed=9, data=tmp_path).weights
    outside = again.model_copy(update={"weights": "../c.safetensors"})
    with pytest.raises(SettingsError, match="outside the data folder"):
        build_people_network(outside, variant="full", facts=TOKENS, seed=9, data=tmp_path)
    with pytest.raises(WeightsError):
        build_people_network(again, variant="no_memory", facts=TOKENS, seed=9, data=tmp_path)


def test_groups_of_parameters():
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    layers.register_parameter("pos_embed", nn.Parameter(torch.zeros(1)))
    found = {}
    for name in ("all", "tsm", "no_embedding_decay"):
        groups = group_parameters(layers, PeopleLearning(groups=name, learning_rate=0.1, weight_decay=0.5))
        names = {id(weight): key for key, weight in layers.named_parameters()}
        found[name] = {
            names[id(weight)]: (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]
        }
    assert set(found["all"].values()) == {(0.1, 0.5)}
    assert found["tsm"] == {
        "0.weight": (0.1, 0.5), "0.bias": (0.2, 0.0), "1.weight": (0.1, 0.0), "1.bias": (0.1, 0.0),
        "2.weight": (0.1, 0.5), "2.bias": (0.2, 0.0), "pos_embed": (0.1, 0.5),
    }  # fmt: skip
    assert {key for key, value in found["no_embedding_decay"].items() if value[1] == 0} == {"pos_embed"}


def test_modalities_of_several_clocks_become_steps_of_one():
    tokens = {"pose": torch.arange(12.0).reshape(1, 2, 1, 2, 3), "video": torch.ones(1, 2, 1, 4, 2)}
    valid = {"pose": torch.ones(1, 2, 1, 2, dtype=torch.bool), "video": torch.ones(1, 2, 1, 4, dtype=torch.bool)}
    valid["pose"][0, 1, 0, 1] = False
    one = Conversations(tokens, valid, torch.tensor([[1]]))
    steps, there = lay_steps(one, 1, {"pose": 3, "video": 2}, 2)
    assert there
    assert not steps[0].any()
    assert steps[1].tolist() == [[6, 7, 8, 1, 1], [6, 7, 8, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    nobody = one._replace(valid={name: torch.zeros_like(flags) for name, flags in valid.items()})
    assert lay_steps(nobody, 1, {"pose": 3, "video": 2}, 2)[1] is False


def test_material_says_what_networks_have_to_know():
    material = conversations()
    facts = material.describe("conversation")
    assert facts == PeopleFacts(("low", "high"), {"pose": 4, "video": 4}, 2, ("parent", "child"))
    assert PeopleFacts.from_plain(facts.plain()) == facts
    with pytest.raises(SettingsError, match="no frames of clips"):
        material.describe("clips")
    one = material.recordings["f3"]
    narrow = {name: tokens[..., :2] for name, tokens in one.conversations.tokens.items()}
    other: PersonRecording = one.__class__(
        **{**one.__dict__, "conversations": one.conversations._replace(tokens=narrow)}
    )
    material.recordings["f3"] = other
    with pytest.raises(SettingsError, match="have 2 features, those of others 4"):
        material.describe("conversation")
    assert settings().learning.groups == "all"
