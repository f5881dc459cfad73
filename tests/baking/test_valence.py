"""Recordings are baked alike in every part, kept when finished, and read without filling memory."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nbpkg import tables
from nbpkg.baking.valence import bake_recordings, feature_ranges, read_baked
from nbpkg.errors import SettingsError, StageError, TableError
from nbpkg.runs.files import sha256, write_array

SESSIONS = {  # frames, rows of audio, rows of text
    "Subject_1_Story_1": (110, 5, 4),
    "Subject_1_Story_2": (75, 3, 3),
    "Subject_2_Story_1": (20, 1, 1),
    "Subject_10_Story_2": (100, 6, 4),
}
WIDTHS = {"text": 3, "audio": 2}


class World:
    """Tables and features of four small recordings."""

    def __init__(self, root):
        self.root, self.features, self.out = root, root / "features", root / "run"
        draws = np.random.default_rng(0)
        self.arrays = {
            (session, modality): draws.standard_normal((rows, WIDTHS[modality])).astype(np.float32)
            for session, (_, *lengths) in SESSIONS.items()
            for modality, rows in zip(("audio", "text"), lengths, strict=True)
        }
        self.values = {session: draws.uniform(-1, 1, sizes[0]) for session, sizes in SESSIONS.items()}
        self.hidden = {"Subject_10_Story_2"}
        self.write()

    def write(self):
        """Write all features and make the tables anew."""
        rows = []
        for (session, modality), array in self.arrays.items():
            name = f"{modality}/{session}.npy"
            path = write_array(self.features / name, array)
            facts = {"session": session, "modality": modality, "file": name, "rows": len(array), "how": "made"}
            facts |= {"width": array.shape[1], "missing": 0, "source": "", "sha256": sha256(path)}
            rows.append(facts)
        self.modalities = tables.from_rows(rows, "modalities")
        self.recordings = tables.from_rows(map(self._recording, SESSIONS), "recordings")
        self.valence = tables.check(pd.concat([self._valence(session) for session in SESSIONS]), "valence")

    def _recording(self, session):
        _, subject, _, story = session.split("_")
        values = self.values[session]
        facts = {"session": session, "subject": subject, "story": story, "part": "Training", "actor": "a"}
        facts |= {"frames": len(values), "steps": -(-len(values) // 25), "missing": int(np.isnan(values).sum())}
        facts |= dict.fromkeys(("least", "greatest", "mean", "std", "changes"), 0.0)
        return facts | {"hidden": session in self.hidden, "flags": ""}

    def _valence(self, session):
        facts = {name: self._recording(session)[name] for name in ("session", "subject", "story", "part")}
        frames = np.arange(len(self.values[session]))
        return pd.DataFrame({**facts, "rater": "self", "frame": frames, "value": self.values[session]})

    def bake(self, **options):
        """Bake with the usual settings, or others."""
        wanted = {"ratio": 25, "length": "annotation", "short": "mask", **options}
        inputs = (self.valence, self.recordings, self.modalities, self.features, self.out)
        return bake_recordings(*inputs, **wanted)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_every_recording_is_aligned_and_read_as_it_was_baked(world):
    baked = world.bake()
    assert list(baked.files) == list(SESSIONS)
    found = read_baked(world.out)
    assert sorted(found) == sorted(SESSIONS)
    first = found["Subject_1_Story_1"]
    assert (first.subject, first.story, first.part, first.actor) == ("1", "1", "Training", "a")
    assert first.modalities == ("audio", "text")
    assert np.array_equal(first.features["audio"], world.arrays["Subject_1_Story_1", "audio"])
    assert first.present["text"].tolist() == [True] * 4 + [False]
    frames = world.values["Subject_1_Story_1"]
    assert np.array_equal(first.original, frames)
    assert first.valence == pytest.approx([*frames[:100].reshape(4, 25).mean(axis=1), frames[100:].mean()])
    lengths = baked.alignment.set_index(["session", "modality"])
    assert lengths.loc[("Subject_1_Story_1", "text"), ["padded", "missing", "lost"]].tolist() == [1, 1, 0]
    assert lengths.loc[("Subject_10_Story_2", "audio"), ["padded", "missing", "lost"]].tolist() == [0, 0, 2]
    assert {problem.severity for problem in baked.problems} == {"warning"}
    assert {problem.file for problem in baked.problems} == {"Subject_1_Story_1", "Subject_10_Story_2"}


def test_withheld_truth_is_not_there_but_its_length_is(world):
    world.bake()
    hidden = read_baked(world.out, ["Subject_10_Story_2"])["Subject_10_Story_2"]
    assert hidden.hidden
    assert len(hidden.original) == 100
    assert np.isnan(hidden.original).all()
    assert np.isnan(hidden.valence).all()


def test_order_and_choice_of_modalities(world):
    world.bake(order=["text"])
    assert read_baked(world.out)["Subject_1_Story_1"].modalities == ("text",)
    world.bake(order=["text", "audio"])
    assert read_baked(world.out)["Subject_1_Story_1"].modalities == ("text", "audio")
    with pytest.raises(TableError, match="no features of face"):
        world.bake(order=["audio", "face"])


def test_finished_recordings_are_kept_and_give_the_same_tables(world):
    first = world.bake()
    stamps = {session: path.stat().st_mtime_ns for session, path in first.files.items()}
    first.files["Subject_1_Story_2"].write_bytes(b"cut")
    second = world.bake()
    assert second.alignment.equals(first.alignment)
    assert second.problems == first.problems
    again = {session for session, path in second.files.items() if path.stat().st_mtime_ns != stamps[session]}
    assert again == {"Subject_1_Story_2"}
    assert read_baked(world.out, ["Subject_1_Story_2"])["Subject_1_Story_2"].steps == 3


@pytest.mark.parametrize("change", ["features", "annotation", "settings", "hidden"])
def test_whatever_changes_is_baked_again(world, change):
    world.bake()
    before = {path.name: path.read_bytes() for path in (world.out / "recordings").iterdir()}
    session = "Subject_1_Story_2"
    if change == "features":
        world.arrays[session, "audio"][0, 0] = 9
    elif change == "annotation":
        world.values[session][0] = 0.123
    elif change == "hidden":
        world.hidden.add(session)
    world.write()
    world.bake(**({"length": "shortest"} if change == "settings" else {}))
    after = {path.name: path.read_bytes() for path in (world.out / "recordings").iterdir()}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == ({*before} if change == "settings" else {f"{session}.npz"})


def test_two_bakes_give_the_same_bytes(world, tmp_path):
    first = {path.name: path.read_bytes() for path in world.bake().files.values()}
    world.out = tmp_path / "other"
    assert {path.name: path.read_bytes() for path in world.bake().files.values()} == first


def test_a_missing_file_masks_its_modality_or_leaves_the_session_out(world):
    del world.arrays["Subject_1_Story_2", "text"]
    world.write()
    masked = world.bake()
    recording = read_baked(world.out)["Subject_1_Story_2"]
    assert recording.features["text"].shape == (3, 3)
    assert not recording.present["text"].any()
    assert recording.present["audio"].all()
    (warning,) = [problem for problem in masked.problems if problem.file == "Subject_1_Story_2"]
    assert warning.what == "There are no features of text. It counts as missing in every second."
    row = masked.alignment.query("session == 'Subject_1_Story_2' and modality == 'text'").iloc[0]
    assert (row["rows"], row["missing"]) == (0, 3)
    dropped = world.bake(incomplete="drop")
    assert "Subject_1_Story_2" not in dropped.files
    assert "Subject_1_Story_2" not in set(dropped.alignment["session"])
    assert [problem.what for problem in dropped.problems if "left out" in problem.what]


def test_a_session_without_any_features_is_left_out(world):
    for modality in WIDTHS:
        del world.arrays["Subject_1_Story_2", modality]
    world.write()
    assert "Subject_1_Story_2" not in world.bake().files
    world.modalities = world.modalities[world.modalities["session"] == "Subject_1_Story_2"]
    with pytest.raises(TableError, match="no features of any modality"):
        world.bake()


def test_everything_that_cannot_be_used_is_listed_at_once(world):
    world.arrays["Subject_1_Story_2", "text"][:] = np.nan
    world.arrays["Subject_2_Story_1", "audio"][:] = np.inf
    world.write()
    with pytest.raises(TableError, match="2 problems") as caught:
        world.bake()
    assert "'Subject_1_Story_2': modality 'text'" in str(caught.value)
    assert "'Subject_2_Story_1': modality 'audio'" in str(caught.value)


def test_another_width_names_session_and_both_widths(world):
    world.arrays["Subject_1_Story_2", "text"] = np.ones((3, 7), np.float32)
    world.write()
    with pytest.raises(TableError, match="'text' of session 'Subject_1_Story_2' is 7 wide, others are 3 wide"):
        world.bake()


def test_undefined_features_constant_annotations_and_one_second_are_baked(world):
    world.arrays["Subject_1_Story_1", "audio"][1, 0] = np.nan
    world.values["Subject_1_Story_2"][:] = 0.3
    world.values["Subject_1_Story_1"][25:50] = np.nan
    world.write()
    baked = world.bake()
    found = read_baked(world.out)
    assert found["Subject_1_Story_1"].present["audio"].tolist() == [True, False, True, True, True]
    assert np.isnan(found["Subject_1_Story_1"].valence).tolist() == [False, True, False, False, False]
    assert found["Subject_1_Story_2"].valence == pytest.approx([0.3] * 3)
    assert found["Subject_2_Story_1"].steps == 1
    assert any("1 rows with some undefined values" in problem.what for problem in baked.problems)


def test_an_annotation_without_values_is_noted(world):
    world.values["Subject_1_Story_2"][:] = np.nan
    world.write()
    notes = [problem.what for problem in world.bake().problems if problem.file == "Subject_1_Story_2"]
    assert notes == ["There is no value in its annotation: nothing can be learnt from it or scored."]


def test_settings_and_raters_that_cannot_be(world):
    with pytest.raises(SettingsError, match="12.5 frames"):
        world.bake(ratio=12.5)
    with pytest.raises(TableError, match="no annotation of rater 'slef'") as caught:
        world.bake(rater="slef")
    assert "One of self." in str(caught.value)


def test_features_that_are_not_what_the_table_says(world):
    write_array(world.features / "text/Subject_1_Story_2.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(StageError, match=r"float32 \(2, 3\)"):
        world.bake()
    (world.features / "text/Subject_1_Story_2.npy").unlink()
    with pytest.raises(StageError, match="cannot be read"):
        world.bake()


def test_reading_what_is_not_there(world):
    with pytest.raises(StageError, match="no baked recording"):
        read_baked(world.out)
    world.bake()
    with pytest.raises(StageError, match="is not there"):
        read_baked(world.out, ["Subject_3_Story_1"])
    with pytest.raises(TableError, match="cannot name a file"):
        read_baked(world.out, ["../receipt"])


def test_folds_that_are_far_out_are_seen(world):
    world.arrays["Subject_1_Story_2", "audio"] += 100
    for session in SESSIONS:
        world.arrays[session, "text"][:, 2] = 1
    world.write()
    world.bake()
    rows = [
        {"session": session, "group": str(number), "fold": number, "role": "train"}
        for number, session in enumerate(list(SESSIONS)[:3])
    ]
    rows.append({"session": "Subject_10_Story_2", "group": "9", "fold": 3, "role": "test"})
    found = feature_ranges(read_baked(world.out), tables.from_rows(rows, "folds"))
    assert list(found.columns) == ["fold", "modality", "quantity", "value"]
    assert set(found["fold"]) == {0, 1, 2}
    value = found.set_index(["modality", "quantity", "fold"])["value"]
    assert value["audio", "outside", 1] == 1
    assert value["audio", "shift", 1] > 20
    assert value["audio", "shift", 0] < 3
    text = {session: world.arrays[session, "text"] for session in SESSIONS}
    rest = np.concatenate([text["Subject_1_Story_2"], text["Subject_2_Story_1"]]).astype(float)
    own = text["Subject_1_Story_1"].astype(float)
    outside = ((own < rest.min(0)) | (own > rest.max(0))).mean()
    assert value["text", "outside", 0] == pytest.approx(outside)
    shift = np.abs(own.mean(0) - rest.mean(0))[:2] / rest.std(0)[:2]
    assert value["text", "shift", 0] == pytest.approx(shift.mean(), rel=1e-6)
    assert value["text", "constant", 0] == pytest.approx(1 / 3)


def test_folds_without_rows_of_a_modality_are_undefined(world):
    world.bake()
    recordings = read_baked(world.out)
    one = recordings["Subject_1_Story_2"]
    recordings["Subject_1_Story_2"] = replace(one, present={**one.present, "text": np.zeros(3, bool)})
    folds = [
        {"session": session, "group": session, "fold": number, "role": "train"}
        for number, session in enumerate(["Subject_1_Story_1", "Subject_1_Story_2"])
    ]
    found = feature_ranges(recordings, tables.from_rows(folds, "folds"))
    assert found.loc[found["modality"] == "text", "value"].isna().all()
    assert found.loc[found["modality"] == "audio", "value"].notna().all()


def test_facts_are_stored_as_text(world):
    path = world.bake().files["Subject_1_Story_1"]
    with np.load(path, allow_pickle=False) as arrays:
        facts = json.loads(str(arrays["facts"]))
    assert facts["modalities"] == ["audio", "text"]
    assert len(facts["notes"]["made_of"]) == 64
