"""Grad-CAM films of clips of real frame stores: on what the network looks at, complete, resumed, scored by region."""

import json
from fractions import Fraction

import av
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nbpkg import tables
from nbpkg.attention.people import explain as room
from nbpkg.attention.people.clip_regions import correlate_regions, measure_cues, score_clip
from nbpkg.attention.people.explain import choose_explained, explain_clips, name_file, read_moments
from nbpkg.attention.people.views import look_at_clips
from nbpkg.errors import ExplainError, TableError
from nbpkg.models.people.rgb.build import build_rgb_network
from nbpkg.models.people.rgb.facts import RgbOptions
from nbpkg.plots.frames import veil
from nbpkg.settings.people import PeopleExplainSettings, PeopleNetworkSettings
from nbpkg.training.people.material import FrameSpan, PeopleMaterial
from nbpkg.video.frames import FrameStore, StoreWriter

SIZE, FRAMES, CLIP = (48, 64), 24, 12  # of the store; two clips of half its frames
NETWORK = PeopleNetworkSettings(name="slowonly_r50_4x16", frames=4, interval=2, views=2, size=32)
SETTINGS = PeopleExplainSettings(layer="conv", fps="5")
CHILD, FACE = np.array([32, 12, 60, 44]), np.array([40, 14, 52, 24])  # pixels of the store
PARENT = np.array([4, 4, 24, 46])


class Red(nn.Module):
    """Answers 'red' where there is much of it, which the second of its two channels sees."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[0.2, 0.2, 0.2], [gain, -gain, 0.0]])[..., None, None, None])
            self.conv.bias.copy_(torch.tensor([0.0, -1.5]))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.conv(clips).relu().mean(dim=(2, 3, 4)) * torch.tensor([0.01, 9.0])


def draw(number: int) -> np.ndarray:
    """A grey room with two people; the child has a red face that goes to and fro."""
    frame = np.full((*SIZE, 3), 100, np.uint8)
    for box, colour in ((PARENT, (90, 110, 90)), (CHILD, (100, 105, 120)), (FACE + shift(number), (230, 30, 40))):
        x0, y0, x1, y1 = box
        frame[y0:y1, x0:x1] = colour
    return frame


def shift(number: int) -> np.ndarray:
    return np.array([1, 0, 1, 0]) * (number % 4)


@pytest.fixture
def store(tmp_path) -> FrameStore:
    folder = tmp_path / "store"
    folder.mkdir()
    writer = StoreWriter(folder, SIZE, fps=Fraction(25))
    for number in range(FRAMES):
        writer.add(draw(number))
    writer.finish()
    writer.close()
    return FrameStore(folder)


@pytest.fixture
def world(store, tmp_path):
    """Material, look and people of one session with two clips."""
    clips = make_clips({"s0": "f0"}, per_session=2)
    folds = make_folds({"s0": ("f0", 4)}, test=4)
    material = PeopleMaterial(clips, folds, ("grey", "red"), stores={"s0": store})
    return material, look_at_clips(NETWORK, material), make_people(), tmp_path / "run"


def make_clips(families: dict[str, str], *, per_session: int) -> pd.DataFrame:
    rows = [
        {"sample_id": f"{session}/c{window}", "session": session, "family": family, "recording": session,
         "window": window, "first": window * CLIP, "frames": CLIP, "label": (window + number) % 2, "rating": 0.5,
         "raters": 1, "split": "", "path": f"{session}.mp4"}
        for number, (session, family) in enumerate(families.items())
        for window in range(per_session)
    ]  # fmt: skip
    return tables.check(pd.DataFrame(rows), "clips")


def make_folds(sessions: dict[str, tuple[str, int]], *, test: int) -> pd.DataFrame:
    rows = [
        {"session": name, "group": family, "fold": fold, "role": "test" if fold == test else "train"}
        for name, (family, fold) in sessions.items()
    ]
    return tables.check(pd.DataFrame(rows), "folds")


def make_people(*, child: bool = True) -> pd.DataFrame:
    rows = []
    for number in range(FRAMES):
        people = [(0, "parent", PARENT, None)]
        people += [(1, "child", CHILD, FACE + shift(number))] if child else []
        for person, who, body, face in people:
            scale = np.array([SIZE[1], SIZE[0]] * 2)
            sides = np.concatenate([body / scale, np.full(4, np.nan) if face is None else face / scale])
            names = [f"{kind}{side}" for kind in ("", "face_") for side in ("x0", "y0", "x1", "y1")]
            facts = {"session": "s0", "frame": number, "person": person, "who": who, "score": 0.9, "how": "seen"}
            rows.append(facts | dict(zip(names, sides, strict=True)))
    return tables.check(pd.DataFrame(rows), "people")


def work(world, network=None, settings=SETTINGS, *, people="given", **how):
    material, look, known, folder = world
    chosen = known if isinstance(people, str) else people
    given = {"look": look, "people": chosen, "settings": settings, "folder": folder, "system": "tried", "veil": veil}
    return explain_clips(network or Red(), material.clips, **{**given, **how})


def read(path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


# --- what a network sees ---


def test_pictures_are_those_of_the_store_at_the_numbers_told(world, store):
    material, look, _, _ = world
    seen = look(material.clips.iloc[1])
    assert seen.views.shape == (2, 3, 4, 32, 32)
    assert seen.numbers.min() >= CLIP
    assert (np.diff(seen.numbers, axis=1) == 2).all()
    reds = [np.flatnonzero((picture[10, :, 0] > 180) & (picture[10, :, 1] < 80)) for picture in seen.pictures()]
    wanted = [(FACE[0] + number % 4) / 2 for number in seen.numbers.reshape(-1)]
    assert [red[0] for red in reds] == pytest.approx(wanted, abs=1)
    assert np.allclose(seen.place(np.array([0.5, 0.25, 1.0, 1.0])), [16, 8, 32, 32])


def test_networks_over_single_frames_are_seen_and_explained_too(world):
    material, _, people, folder = world
    how = NETWORK.model_copy(update={"name": "tsn_r50", "frames": 3})
    network = build_rgb_network("tsn_r50", classes=2, options=RgbOptions(width=8, blocks=(1, 1, 1, 1), segments=3))
    found = work(world, network, SETTINGS.model_copy(update={"layer": ""}), look=look_at_clips(how, material))
    assert found.films["frames"].tolist() == [3, 3]
    assert len(read(folder / found.films["film"][0])) == 3
    assert len(people)


# --- films ---


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_films_hold_all_views_with_the_colours_where_the_network_looks(world, ending):
    settings = SETTINGS.model_copy(update={"format": ending, "resolution": [48, 64]})
    found = work(world, settings=settings, privacy="full")
    folder = world[3]
    assert found.films["sample_id"].tolist() == ["s0/c0", "s0/c1"]
    assert found.films["target"].tolist() == [1, 1]
    assert (found.films["score"] > 0.6).all()
    assert not found.films["constant"].any()
    for column in ("film", "pictures", "heat"):
        assert (folder / found.films[column][0]).suffix == f".{ending}"
    if ending == "mp4":
        blended, heat = (read(folder / found.films[name][1]).astype(int) for name in ("film", "heat"))
        assert blended.shape == (8, 48, 48, 3)
        assert heat[:, 15:27, 34:37].mean() > heat[:, 35:, :20].mean() + 60  # yellow on the face, violet elsewhere


def test_people_are_veiled_below_the_colours(world):
    found = work(world, privacy="none")
    pictures = read(world[3] / found.films["pictures"][0])
    assert np.abs(pictures.astype(int) - 200).max() <= 3


def test_a_second_run_makes_only_what_is_missing_or_of_other_things(world, monkeypatch):
    made, explain = [], room.explain_views
    monkeypatch.setattr(room, "explain_views", lambda *given, **how: (made.append(1), explain(*given, **how))[1])

    def run(**how):
        made.clear()
        return work(world, **how), len(made)

    first, fresh = run()
    kept = {path: path.stat().st_mtime_ns for path in (world[3] / "films").iterdir()}
    second, again = run()
    assert (fresh, again) == (2, 0)
    pd.testing.assert_frame_equal(first.films, second.films)
    pd.testing.assert_frame_equal(first.regions, second.regions)
    assert kept == {path: path.stat().st_mtime_ns for path in (world[3] / "films").iterdir()}
    (world[3] / first.films["heat"][0]).write_bytes(b"cut")
    assert run()[1] == 1
    for changed in (
        {"network": Red(1.1)},
        {"settings": SETTINGS.model_copy(update={"alpha": 0.4})},
        {"privacy": "full"},
        {"people": make_people(child=False)},
    ):
        assert run(**changed)[1] == 2
    others = SETTINGS.model_copy(update={"clips": 2, "lags": 1, "resamples": 100})
    assert run(settings=others, people=make_people(child=False))[1] == 0  # of no weight for films


def test_a_wrong_layer_names_the_clip_and_keeps_what_is_finished(world):
    with pytest.raises(ExplainError) as caught:
        work(world, settings=SETTINGS.model_copy(update={"layer": "conv9"}))
    assert "s0/c0" in caught.value.where
    assert not list((world[3]).glob("films/*.mp4"))


def test_moments_are_pictures_of_the_store_with_their_maps(world, store):
    found = work(world)
    film = next(found.films.itertuples())
    moments = read_moments(film, folder=world[3], look=world[1])
    assert (np.diff(moments.frames) >= 0).all()
    assert len(moments.frames) == len(moments.maps) == len(moments.pictures) == 6
    red = (moments.pictures[..., 0] > 180) & (moments.pictures[..., 1] < 80)
    assert moments.maps[red].mean() > 0.7 > 0.1 > moments.maps[~red].mean()
    told = json.loads((world[3] / "films" / f"{name_file('s0/c0')}.json").read_text())
    assert told["found"]["frames"] == 8


def test_names_of_files_are_plain_and_differ():
    names = [name_file(text) for text in ("a_1-b", "a/1.mp4", "a_1_mp4", "ä/1.mp4", "..")]
    assert names[0] == "a_1-b"
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-") for name in names)


# --- regions ---


def test_regions_say_where_the_map_lies_against_chance(world):
    regions = work(world).regions.set_index(["sample_id", "who", "region"]).loc["s0/c0"]
    assert set(regions.index) == {(who, part) for who in ("parent", "child") for part in ("face", "body")} | {
        ("all", "together"),
        ("all", "picture"),
    }
    face, whole = regions.loc[("child", "face")], regions.loc[("all", "picture")]
    assert face["share"] > 0.9
    assert face["area"] == pytest.approx(120 / (48 * 64), rel=0.35)
    assert regions.loc[("parent", "body"), "share"] < 0.05
    assert (whole["share"], whole["area"]) == (pytest.approx(1), pytest.approx(1))
    assert regions.loc[("parent", "face"), "frames"] == 0
    assert np.isnan(regions.loc[("parent", "face"), ["share", "area", "mutual_information"]].astype(float)).all()
    assert regions.loc[("child", "body"), "mutual_information"] > regions.loc[("parent", "body"), "mutual_information"]
    assert regions.loc[("all", "together"), "area"] == pytest.approx(56 * 42 / (48 * 64), rel=0.1)


def test_a_map_that_is_the_same_everywhere_has_its_area_inside(world):
    material, look, people, _ = world
    seen = look(material.clips.iloc[0])
    flat = score_clip(np.full((2, 4, 32, 32), 0.3, np.float32), seen, people, alpha=0.5)
    there = flat["frames"] > 0
    assert np.allclose(flat.loc[there, "share"], flat.loc[there, "area"])
    none = score_clip(np.zeros((2, 4, 32, 32), np.float32), seen, people, alpha=0.5)
    assert none["share"].isna().all()
    assert np.allclose(none.loc[there, "area"], flat.loc[there, "area"])


def test_without_people_only_the_picture_is_scored(world):
    regions = work(world, people=None).regions
    assert set(regions["region"]) == {"picture"}


def test_regions_are_correlated_with_cues(world):
    material, _, people, _ = world
    media = pd.DataFrame({"session": ["s0"], "width": [64], "height": [48], "fps_num": [25], "fps_den": [1]})
    spans = {"s0/c0": FrameSpan(0, 12), "s0/c1": FrameSpan(12, 12)}
    cues = measure_cues(people, material.clips, spans=spans, media=media)
    middle = (CHILD[:2] + CHILD[2:] - PARENT[:2] - PARENT[2:]) / 2
    assert cues["body_distance"].tolist() == pytest.approx([np.hypot(*middle) / 64] * 2)
    assert cues["movement"].tolist() == [0, 0]
    assert cues["face_seen"].tolist() == [0.5, 0.5]
    moving = people.assign(x1=people["x1"] + 0.02 * (people["frame"] % 2) * (people["who"] == "child"))
    assert measure_cues(moving, material.clips, spans=spans, media=media)["movement"][0] == pytest.approx(0.01 / 2 * 25)
    alone = measure_cues(make_people(child=False), material.clips, spans=spans, media=media)
    assert alone["body_distance"].isna().all()
    own = pd.DataFrame({"sample_id": list("abcd"), "system": "x", "who": "child", "region": "face",
                        "cross_entropy": 1.0, "mutual_information": [0.1, 0.2, 0.3, 0.5]})  # fmt: skip
    found = correlate_regions(own, pd.DataFrame({"unit": list("abcd"), "smile": [1.0, 2, 3, 5]}))
    assert found.loc[found["measure"] == "mutual_information", "pearson"].item() == pytest.approx(1)
    assert found.loc[0, ["who", "region"]].tolist() == ["child", "face"]
    with pytest.raises(TableError, match="several systems"):
        correlate_regions(own.assign(system=list("xxyy")), cues)


# --- which clips ---


def test_clips_are_of_families_held_out_with_classes_and_families_in_turn():
    families = {f"s{number}": f"f{number % 6}" for number in range(12)}
    clips = make_clips(families, per_session=4)
    folds = make_folds({name: (family, int(family[1]) // 2) for name, family in families.items()}, test=2)
    chosen = choose_explained(clips, folds, count=4, seed=0)
    assert set(chosen["family"]) == {"f4", "f5"}
    assert chosen["label"].value_counts().tolist() == [2, 2]
    assert chosen.groupby("label")["family"].nunique().tolist() == [2, 2]
    shuffled = choose_explained(clips.sample(frac=1, random_state=1), folds, count=4, seed=0)
    pd.testing.assert_frame_equal(chosen, shuffled)
    assert chosen["sample_id"].tolist() != choose_explained(clips, folds, count=4, seed=1)["sample_id"].tolist()
    assert set(choose_explained(clips, folds, count=99, seed=0, inner=0)["family"]) == {"f4", "f5", "f0", "f1"}
    with pytest.raises(ExplainError, match="no clip to explain"):
        choose_explained(clips, folds[folds["role"] == "train"], count=4, seed=0)


def test_rare_classes_come_first_once():
    clips = make_clips({"s0": "f0"}, per_session=9).assign(label=[0, 0, 0, 0, 0, 0, 0, 1, 2])
    folds = make_folds({"s0": ("f0", 1)}, test=1)
    assert sorted(choose_explained(clips, folds, count=3, seed=0)["label"]) == [0, 1, 2]
