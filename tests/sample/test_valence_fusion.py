"""The made-up valence data: complete, repeatable, readable, and with a truth that simple features of the files find."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import Ridge

from nbpkg.annotations.valence.corpus import read_valence
from nbpkg.annotations.valence.transcripts import read_srt
from nbpkg.metrics.valence.concordance import ccc
from nbpkg.sample.record import is_made
from nbpkg.sample.valence_faces import BORDER, HEIGHT, WIDTH, find_faces, make_faces
from nbpkg.sample.valence_files import write_transcript
from nbpkg.sample.valence_fusion import LAG_SECONDS, VERSION, WEIGHTS, make_sample
from nbpkg.sample.valence_story import ACTORS, PARTS, SUBJECTS, Telling, tell
from nbpkg.sample.valence_voice import SOUND_HZ, speak

PAIRS = [(subject, story) for subject in SUBJECTS for story in sorted(PARTS)]


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    make_sample(folder, seed=3, subjects=1)
    return folder


@pytest.fixture(scope="module")
def tellings() -> list[Telling]:
    return [tell(*pair, 3) for pair in PAIRS]


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def average_seconds(values: np.ndarray) -> np.ndarray:
    return np.array([values[start : start + 25].mean() for start in range(0, len(values), 25)])


def lagged(values: np.ndarray, steps: int) -> np.ndarray:
    return np.concatenate([np.zeros((steps, *values.shape[1:])), values])[: len(values)]


def test_same_seed_gives_same_bytes_and_all_are_recorded(sample, tmp_path):
    make_sample(tmp_path / "again", seed=3, subjects=1)
    found = hashes(sample)
    assert hashes(tmp_path / "again") == found
    record = json.loads((sample / "sample.json").read_text())
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        name: value for name, value in found.items() if name != "sample.json"
    }
    assert is_made(sample, {"version": VERSION, "seed": 3, "subjects": 1})
    assert not is_made(sample, {"version": VERSION, "seed": 3, "subjects": 5})
    expected = {
        f"{PARTS[story]}/{folder}/Subject_1_Story_{story}.{ending}"
        for story in PARTS
        for folder, ending in (("Annotations", "csv"), ("Videos", "mp4"), ("Transcripts", "srt"), ("Faces", "csv"))
    }
    expected |= {f"{PARTS[story]}/ThirdParty/Subject_1_Story_{story}.csv" for story in PARTS if story != "6"}
    lists = {"actors.csv", "README.txt", "sample.json", "truth/steps.csv", "Testing/Frames_Count.txt"}
    assert set(found) == expected | lists
    assert "Subject_1_Story_4" in (sample / "README.txt").read_text()


def test_films_are_as_long_as_their_annotations(sample):
    lengths = {}
    for path in sorted(sample.glob("*/Videos/*.mp4")):
        values = pd.read_csv(path.parents[1] / "Annotations" / f"{path.stem}.csv")
        with av.open(str(path)) as container:
            picture = container.streams.video[0]
            assert (picture.width, picture.height, picture.average_rate) == (WIDTH, HEIGHT, 25)
            assert sum(1 for _ in container.decode(video=0)) == len(values)
        with av.open(str(path)) as container:
            assert container.streams.audio[0].rate == SOUND_HZ
            samples = sum(frame.samples for frame in container.decode(audio=0))
        assert 0 <= samples / SOUND_HZ - len(values) / 25 < 0.065  # whole AAC frames
        lengths[path.stem] = len(values)
    assert [name for name, frames in lengths.items() if frames % 25] == ["Subject_1_Story_4"]
    assert all(36 * 25 <= frames < 48 * 25 for frames in lengths.values())
    counts = (sample / "Testing/Frames_Count.txt").read_text().splitlines()
    assert counts == [f"Subject_1_Story_{story}.csv - {lengths[f'Subject_1_Story_{story}']} Frames" for story in "36"]


def test_the_readers_find_nothing_wrong(sample):
    parts = {part: part for part in ("Training", "Validation", "Testing")}
    table, problems = read_valence(sample, parts=parts, third_party="ThirdParty")
    assert not [problem for problem in problems if problem.severity == "error"]
    assert table.groupby("rater")["session"].nunique().to_dict() == {"self": 6, "third_party": 5}
    own = table[(table["session"] == "Subject_1_Story_2") & (table["rater"] == "self")]
    assert own["value"].tolist() == pytest.approx(tell("1", "2", 3).valence.tolist())


def test_actors_share_stories_and_the_hidden_story_is_a_dummy(sample):
    actors = pd.read_csv(sample / "actors.csv", dtype=str)
    assert dict(zip(actors["story"], actors["actor"], strict=True)) == ACTORS
    assert sorted(actors["actor"].value_counts()) == [1, 1, 2, 2]
    hidden = pd.read_csv(sample / "Testing/Annotations/Subject_1_Story_6.csv")["valence"]
    assert (hidden == 0.0).all()
    truth = pd.read_csv(sample / "truth/steps.csv")
    own = truth[truth["session"] == "Subject_1_Story_6"]
    assert len(own) == -(-len(hidden) // 25)
    assert own["valence"].std() > 0.1
    shown = pd.read_csv(sample / "Training/Annotations/Subject_1_Story_4.csv")["valence"].to_numpy()
    own = truth[truth["session"] == "Subject_1_Story_4"]
    assert own["valence"].to_numpy() == pytest.approx(average_seconds(shown), abs=1e-4)


def test_valence_is_a_staircase_of_tenths(tellings):
    for one in tellings:
        for values in (one.valence, one.third_party):
            assert np.abs(values * 10 - np.rint(values * 10)).max() < 1e-9
            assert np.abs(values).max() <= 1
            assert len(values) == one.frames
        assert 0.02 < np.mean(np.diff(one.valence) != 0) < 0.1
        assert one.valence.std() > 0.15


def test_transcripts_say_what_was_told_however_untidy(tellings, tmp_path):
    raw = []
    for one in tellings:
        path = tmp_path / f"{one.session}.srt"
        write_transcript(path, one)
        raw.append(path.read_bytes())
        cues, problems = read_srt(path)
        assert not problems
        said = [cue.text.lower().rstrip(".").split() for cue in cues]
        assert said == [list(utterance.words) for utterance in one.utterances]
        for cue, utterance in zip(cues, one.utterances, strict=True):
            assert 1000 * utterance.start < cue.start_ms < 1000 * utterance.start + 500
            assert 1000 * (utterance.stop - 1) < cue.end_ms < min(1000 * utterance.stop, 40 * one.frames)
    assert any(b"\r\n" in text for text in raw)
    assert any(text.startswith(b"\xef\xbb\xbf") for text in raw)
    assert any(b"\n\n\n" in text for text in raw)
    assert any(not text.endswith(b"\n\n") and b"\r" not in text for text in raw)


def test_faces_are_on_their_side_and_missed_for_whole_seconds(tellings):
    whole = 0
    for one in tellings[:6]:
        boxes = find_faces(one, make_faces(one, 3), 3)
        assert not boxes.duplicated(["frame", "side"]).any()
        assert (boxes.loc[boxes["side"] == "actor", "x1"] <= BORDER).all()
        assert (boxes.loc[boxes["side"] == "listener", "x0"] >= BORDER).all()
        assert (boxes["x1"] > boxes["x0"]).all()
        assert boxes["y1"].max() <= HEIGHT
        assert boxes["frame"].between(0, one.frames - 1).all()
        for _, own in boxes.groupby("side"):
            assert 0.5 * one.frames < len(own) < one.frames
            whole += -(-one.frames // 25) - (own["frame"] // 25).nunique()
    assert whole > 3


def test_valence_follows_words_and_voice_with_the_stated_lags(tellings):
    """Of all lags the planted ones explain most, and a line through both gives the weights back."""
    valence = [average_seconds(one.valence) for one in tellings]
    sources = {"text": [one.pleasantness for one in tellings], "audio": [one.arousal for one in tellings]}
    for name, values in sources.items():
        found = [
            np.corrcoef(np.concatenate([lagged(part, steps) for part in values]), np.concatenate(valence))[0, 1]
            for steps in range(6)
        ]
        assert int(np.argmax(found)) == LAG_SECONDS[name]
    columns = [np.concatenate([lagged(part, LAG_SECONDS[name]) for part in sources[name]]) for name in WEIGHTS]
    fit = np.linalg.lstsq(np.stack([*columns, np.ones(len(columns[0]))], 1), np.concatenate(valence), rcond=None)[0]
    assert fit[0] / fit[1] == pytest.approx(WEIGHTS["text"] / WEIGHTS["audio"], rel=0.2)


def simple_features(one: Telling) -> dict[str, np.ndarray]:
    """Hashed words of each second, and loudness and pitch of each second of the sound."""
    words = HashingVectorizer(n_features=256, alternate_sign=False, norm="l1")
    text = np.zeros((len(one.arousal), 256))
    for said in one.utterances:
        text[said.start : said.stop] = words.transform([" ".join(said.words)]).toarray()
    sound, audio = speak(one, 3), []
    for start in range(0, len(sound), SOUND_HZ):
        part = sound[start : start + SOUND_HZ]
        strength = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        heard = np.arange(len(strength)) * SOUND_HZ / len(part)
        low = (heard > 70) & (heard < 420)
        audio.append((10 * np.sqrt(np.mean(part**2)), heard[low][strength[low].argmax()] / 300))
    return {"text": text, "audio": np.array(audio)}


def test_simple_features_of_other_stories_predict_and_the_faces_hardly_do(tellings):
    features = [simple_features(one) for one in tellings]
    faces = [make_faces(one, 3) for one in tellings]
    for one, own, face in zip(tellings, features, faces, strict=True):
        course = [average_seconds(np.repeat(face[side].smile, 2)[: one.frames]) for side in ("actor", "listener")]
        own["faces"] = np.stack(course, axis=1)
    lags = {"text": LAG_SECONDS["text"], "audio": LAG_SECONDS["audio"], "faces": 0}
    scores = {name: cross_validate(tellings, features, {name: lags[name]}) for name in lags}
    both = cross_validate(tellings, features, {"text": lags["text"], "audio": lags["audio"]})
    assert both.mean() > 0.6
    assert both.mean() > scores["text"].mean() > scores["audio"].mean() + 0.2 > 0.3
    assert scores["audio"].mean() > scores["faces"].mean() + 0.05
    others = [tell(one.subject, "1" if one.story != "1" else "2", 3).valence for one in tellings]
    shifted = [ccc(one.valence, np.resize(other, one.frames)) for one, other in zip(tellings, others, strict=True)]
    assert abs(np.mean(shifted)) < 0.15
    blind = [ccc(one.valence, np.full(one.frames, one.valence.mean())) for one in tellings]
    assert blind == pytest.approx([0.0] * len(blind), abs=1e-9)
    people = np.mean([ccc(one.valence, one.third_party) for one in tellings])
    assert 0.5 < people < 0.85


def cross_validate(tellings, features, lags: dict[str, int]) -> np.ndarray:
    """Concordance of each video by ridge regressions that have not seen its story."""
    columns = [np.concatenate([lagged(own[name], lag) for name, lag in lags.items()], axis=1) for own in features]
    scores = []
    for story in sorted(PARTS):
        seen = [number for number, one in enumerate(tellings) if one.story != story]
        table = np.concatenate([columns[number] for number in seen])
        middle, spread = table.mean(axis=0), table.std(axis=0) + 1e-3
        truth = np.concatenate([average_seconds(tellings[number].valence) for number in seen])
        ridge = Ridge(10).fit((table - middle) / spread, truth)
        for one, rows in zip(tellings, columns, strict=True):
            if one.story == story:
                answer = np.repeat(ridge.predict((rows - middle) / spread), 25)[: one.frames]
                scores.append(ccc(one.valence, answer))
    return np.array(scores)
