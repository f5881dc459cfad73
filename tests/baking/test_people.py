"""Recordings of several people are baked once, resumed file by file, and read as networks want them."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from nbpkg.baking.people import PeopleRecordings, bake_people, hash_recordings
from nbpkg.errors import StageError, TableError
from nbpkg.features.people.following import find_people
from nbpkg.features.people.poses import match_poses
from nbpkg.features.people.tracking import source_frames
from nbpkg.models.people.cross_person.conversations import find_faults, pad_conversations
from nbpkg.settings.people import PersonFeatureSettings, PersonModality, PersonSettings
from nbpkg.video.stores import open_store

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))
from people_scene import FRAMES, SIZE, SOURCE_FPS, WHO, make_boxes, make_media, write_skeletons, write_store

SESSIONS = ("fam01--s1", "fam02--s1")
STORED = 75


class World:
    """Two recordings: of parent and child, with everything, and of a parent alone, without a skeleton or a sound."""

    def __init__(self, root):
        self.root, self.out = root, root / "run"
        shown = source_frames(STORED, fps=12.5, source_fps=SOURCE_FPS)
        folders = {name: write_store(root / "stores" / name, frames=STORED, shown=shown) for name in SESSIONS}
        self.media = make_media(SESSIONS)
        self.stores = {name: open_store(folder) for name, folder in folders.items()}
        boxes = make_boxes()
        alone = boxes[(boxes["x1"] - boxes["x0"]).round() == 120]
        facts = {"source_size": SIZE, "store_fps": 12.5, "source_fps": SOURCE_FPS, "frames": STORED}
        settings = PersonSettings(boxes="boxes")
        found = [find_people(name, one, **facts, settings=settings)[0]
                 for name, one in zip(SESSIONS, (boxes, alone), strict=True)]  # fmt: skip
        self.people = pd.concat(found, ignore_index=True)
        path = write_skeletons(root / "poses.pkl")
        self.poses = match_poses(self.people, path, None, self.media)
        del self.poses["fam02--s1"]
        rows = [[time / 10, role, time, 1.0] for time in range(60) for role in WHO]
        (root / "audio/fam01").mkdir(parents=True)
        pd.DataFrame(rows, columns=["time", "role", "pitch", "energy"]).to_csv(root / "audio/fam01/s1.csv", index=False)
        self.clips = pd.concat([self._clips(name) for name in SESSIONS], ignore_index=True)
        self.settings = PersonFeatureSettings(
            modalities={
                "video": PersonModality(kind="crops", network="small", size=32, rate="4"),
                "pose": PersonModality(kind="pose", rate="4"),
                "audio": PersonModality(kind="table", folder="audio", rate="5"),
            }
        )

    def _clips(self, session):
        rows = [{"sample_id": f"{session}-{place}", "session": session, "family": session[:5], "recording": session,
                 "window": place, "first": 50 * place, "frames": 50 if place < 2 else FRAMES - 100, "label": place}
                for place in (2, 0, 1)]  # fmt: skip
        return pd.DataFrame(rows)

    def bake(self, **changed):
        """Bake, and write what stage 04 writes beside."""
        given = {"stores": self.stores, "poses": self.poses, "settings": self.settings, "who": WHO, "data": self.root}
        given |= {"folder": self.out, "places": {"fam01--s1": "fam01/s1", "fam02--s1": "fam02/s1"}}
        clips = changed.pop("clips", self.clips)
        given |= changed
        table = bake_people(clips, self.people, self.media, **given)
        (given["folder"] / "recordings.json").write_text(json.dumps(hash_recordings(table, given["folder"])))
        return table


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def baked(world):
    return world.bake()


def test_table_tells_how_much_there_is(baked):
    assert list(baked.columns) == ["recording", "windows", "people", "modality", "width", "share_valid", "file", "note"]
    rows = baked.set_index(["recording", "modality"])
    assert rows["width"].xs("fam02--s1").to_dict() == {"video": 96, "pose": 51, "audio": 2}
    assert set(rows["windows"]) == {3}
    assert set(rows["people"]) == {2}
    assert rows.loc[("fam02--s1", "video"), "share_valid"] == 0.5
    assert rows.loc[("fam02--s1", "audio"), "share_valid"] == 0
    assert rows.loc[("fam01--s1", "audio"), "share_valid"] == 1
    assert "no skeletons" in rows.loc[("fam02--s1", "pose"), "note"]
    assert "no features" in rows.loc[("fam02--s1", "audio"), "note"]


def test_recordings_are_what_networks_read(world, baked):
    recordings = PeopleRecordings(world.out)
    assert list(recordings) == list(SESSIONS)
    one, alone = (recordings[name] for name in SESSIONS)
    assert one.clips == tuple(f"fam01--s1-{place}" for place in range(3))
    assert one.labels.tolist() == [0, 1, 2]
    assert (one.family, one.sessions, one.roles) == ("fam01", ("fam01--s1",), ("parent", "child"))
    assert find_faults(one.conversations) == []
    assert one.conversations.size == (1, 3, 2)
    assert one.conversations.roles.tolist() == [[0, 1]]
    assert {name: tokens.shape[3:] for name, tokens in one.conversations.tokens.items()} == {
        "video": (8, 96), "pose": (8, 51), "audio": (10, 2)}  # fmt: skip
    pitch = one.conversations.tokens["audio"][0, 1, 0, :, 0]
    assert torch.allclose(pitch, torch.arange(20, 40, dtype=torch.float32).reshape(10, 2).mean(dim=1))
    away = one.conversations.valid["video"][0, :, 1].float().mean(dim=1)
    assert away[0] == 1
    assert 0 < away[1] < 0.5
    assert not alone.conversations.find_present()[0, :, 1].any()
    assert alone.conversations.find_present()[0, :, 0].all()
    assert pad_conversations([one.conversations, alone.conversations]).size == (2, 3, 2)
    again = pickle.loads(pickle.dumps(recordings))
    assert torch.equal(again["fam01--s1"].conversations.tokens["pose"], one.conversations.tokens["pose"])


def test_what_is_finished_stays_and_what_changed_is_made_again(world, baked):
    table = world.bake()
    files = [world.out / name for name in sorted(set(table["file"]))]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    pd.testing.assert_frame_equal(world.bake(), baked)
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before
    files[0].write_bytes(before[0][1][:-10])  # cut as by a full disk
    pd.testing.assert_frame_equal(world.bake(workers=3), baked)
    assert files[0].read_bytes() == before[0][1]
    assert files[1].stat().st_mtime_ns == before[1][0]
    labels = world.clips.assign(label=world.clips["label"].where(world.clips["session"] != "fam02--s1", 0))
    world.bake(clips=labels)
    assert files[0].read_bytes() == before[0][1]
    assert files[1].read_bytes() != before[1][1]
    world.bake()


def test_damage_is_told(world, baked):
    world.bake()
    path = world.out / baked["file"].iloc[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StageError, match="were changed"):
        PeopleRecordings(world.out)
    path.write_bytes(content)
    assert len(PeopleRecordings(world.out)) == 2


def test_what_cannot_be_baked_is_refused(world):
    mixed = world.clips.assign(recording="all")
    with pytest.raises(TableError, match="several families"):
        world.bake(clips=mixed)
    nothing = PersonFeatureSettings(modalities={"text": PersonModality(kind="table", folder="text"),
                                                "pose": PersonModality(kind="pose")})  # fmt: skip
    with pytest.raises(TableError, match="2 problems"):
        world.bake(settings=nothing, poses={})


def test_one_person_alone(world, tmp_path):
    settings = PersonFeatureSettings(modalities={"video": world.settings.modalities["video"]})
    own = world.clips[world.clips["session"] == "fam02--s1"]
    table = world.bake(who=["parent"], folder=tmp_path, clips=own, settings=settings)
    assert table["people"].tolist() == [1]
    assert table["share_valid"].tolist() == [1.0]
