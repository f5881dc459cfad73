"""The published data set, item for item."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nbpkg.datasets.valence.reference import PublishedDataset, collate_published, load_published
from nbpkg.datasets.valence.segments import lengths_to_mask
from nbpkg.errors import SettingsError, TableError

GOLDEN = Path(__file__).parents[2] / "golden" / "valence_fusion" / "dataset_open.npz"
FOLDERS = {"audio": "CombinedAudio", "text": "CombinedText", "v_sub": "CombinedVSub", "v_act": "CombinedVAct"}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN, allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def corpus(golden, tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus")
    for name, values in golden.items():
        if name.startswith("file:"):
            path = root / name.removeprefix("file:")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(values.tobytes())
    return root


def load(folder: Path, *, truncate: bool, modalities=tuple(FOLDERS), **options) -> PublishedDataset:
    found = []
    for annotation in sorted((folder / "Annotations").iterdir(), key=lambda path: path.name):
        _, subject, _, story = annotation.stem.split("_")
        features = {}
        for modality in modalities:
            (path,) = (folder / FOLDERS[modality]).glob(f"Subject_{subject}_Story_{story}[._]*")
            features[modality] = pd.read_csv(path).to_numpy() if path.suffix == ".csv" else np.load(path)
        frames = pd.read_csv(annotation).to_numpy(float)
        recording = load_published(frames, features, subject=subject, story=story, ratio=25, truncate=truncate)
        found.append(recording)
    return PublishedDataset(found, ratio=25, **options)


@pytest.fixture(scope="module")
def train(corpus):
    return load(corpus / "Training", truncate=True)


@pytest.fixture(scope="module")
def validation(corpus):
    return load(corpus / "Validation", truncate=False)


def pairs(dataset) -> list[list[int]]:
    return [[int(one.subject), int(one.story)] for one in dataset.recordings]


@pytest.mark.parametrize(("name", "what"), [("train_trunc", "train"), ("val_untrunc", "validation")])
def test_recordings_are_read_as_published(golden, request, name, what):
    dataset = request.getfixturevalue(what)
    assert len(dataset) == golden[f"expect:{name}/n"]
    assert dataset.ratio == golden[f"expect:{name}/time_ratio"]
    assert [int(one.subject) for one in dataset.recordings] == golden[f"expect:{name}/subjects"].tolist()
    assert [int(one.story) for one in dataset.recordings] == golden[f"expect:{name}/stories"].tolist()
    for number, recording in enumerate(dataset.recordings):
        np.testing.assert_allclose(recording.valence, golden[f"expect:{name}/val/{number}"], rtol=0, atol=4e-15)
        assert len(recording.original) == golden[f"expect:{name}/val_orig_len/{number}"]
        for modality in FOLDERS:
            wanted = golden[f"expect:{name}/in/{modality}/{number}"]
            found = dataset[number][dataset.modalities.index(modality)]
            assert found.dtype == wanted.dtype
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-15)


def test_without_truncation_every_part_keeps_its_own_length(golden, corpus):
    dataset = load(corpus / "Training", truncate=False)
    lengths = [list(map(len, dataset[number])) for number in range(len(dataset))]
    assert lengths == golden["expect:train_untrunc/lens"].tolist()


@pytest.mark.parametrize("parts", [3, 5])
def test_each_part_is_cut_by_its_own_length_and_may_be_empty(golden, train, parts):
    items = train.split(parts)
    wanted = golden[f"expect:train_split{parts}/split_len"]
    found = np.array([[len(rows) for rows in items[number]] for number in range(len(items))])
    assert found.T.tolist() == wanted.tolist()
    assert (wanted == 0).any()
    first = np.concatenate([items[number][0] for number in range(parts)])
    assert np.array_equal(first, train[0][0])


@pytest.mark.parametrize("name", ["collate4", "collate_val1"])
def test_batches_are_put_together_as_published(golden, train, validation, name):
    items = [train[number] for number in range(4)] if name == "collate4" else [validation[2]]
    batch = collate_published(items, tuple(FOLDERS))
    assert batch.lengths == golden[f"expect:{name}/lengths"].tolist()
    for modality, values in batch.inputs.items():
        assert np.array_equal(values.numpy(), golden[f"expect:{name}/{modality}"])
    np.testing.assert_allclose(batch.valence.numpy(), golden[f"expect:{name}/val"], atol=1e-7)
    assert np.array_equal(batch.mask.numpy(), golden[f"expect:{name}/mask"])
    assert batch.present["text"][0].sum() == len(items[0 if name == "collate_val1" else 3][1])


def test_masks_of_lengths(golden):
    wanted = golden["expect:len_to_mask"]
    assert torch.equal(lengths_to_mask(wanted[:, :, 0].sum(axis=1).tolist()), torch.from_numpy(wanted))


def test_scaling_covers_all_recordings_and_shows_only_in_new_items(golden, train, validation):
    joined = train.join(validation)
    assert pairs(joined) == np.stack([golden["expect:join/subjects"], golden["expect:join/stories"]], 1).tolist()
    before = [rows.copy() for rows in joined[0]]
    joined.normalise()
    assert all(np.array_equal(*rows) for rows in zip(joined[0], before, strict=True))
    assert not golden["expect:norm_stale/item0_is_normalized"]
    assert np.array_equal(train[0][0], before[0])  # `train` was copied by the join
    assert not golden["expect:norm_stale/train_is_normalized"]
    for number, recording in enumerate(joined.recordings):
        for modality in FOLDERS:
            wanted = golden[f"expect:norm/{modality}/{number}"]
            np.testing.assert_allclose(recording.features[modality], wanted, rtol=0, atol=4e-15)
    chosen, rest = joined.extract(stories=["2"])
    np.testing.assert_allclose(chosen[0][0], golden["expect:ex_story/extract_item0_audio"], rtol=0, atol=4e-15)
    assert pairs(chosen) == golden["expect:ex_story/extract"].tolist()
    assert pairs(rest) == golden["expect:ex_story/remain"].tolist()


def test_scaling_before_the_first_cut_shows(corpus, train):
    scaled = load(corpus / "Training", truncate=True, normalise=True)
    assert scaled[0][0].max() <= 1 < train[0][0].max()
    assert (scaled[0][0][:, 5] == -1).all()  # a constant


def test_undefined_values_spread_to_the_whole_feature(train):
    broken = PublishedDataset(train.recordings, ratio=25)
    rows = broken.recordings[0].features["audio"].copy()
    rows[1, 2] = np.nan
    broken.recordings[0].features["audio"] = rows
    broken.normalise()
    for one in broken.recordings:
        assert np.isnan(one.features["audio"]).all(axis=0).tolist() == [False, False, True, False, False, False]


def test_extraction_and_repetition(golden, train, validation):
    joined = train.join(validation)
    for name, chosen in {
        "ex_subj": joined.extract(subjects=["2"]),
        "ex_both": joined.extract(stories=["2"], subjects=["2"]),
    }.items():
        assert pairs(chosen[0]) == golden[f"expect:{name}/extract"].tolist()
        assert pairs(chosen[1]) == golden[f"expect:{name}/remain"].tolist()
    assert pairs(joined.augment(subjects=["2"], copies=2)) == golden["expect:augment2"].tolist()


def test_the_fusion_variant_lays_modalities_beside_each_other(golden, corpus, validation):
    both = load(corpus / "Training", truncate=True, modalities=("audio", "text"))
    assert len(both) == golden["expect:fusion/n"]
    np.testing.assert_allclose(both.fused(0)[0], golden["expect:fusion/0"], rtol=0, atol=1e-15)
    with pytest.raises(TableError, match=r"modalities of 6, 6, 5, 6 rows"):
        validation.fused(0)


def test_data_sets_of_another_cut_or_ratio_are_not_joined(train, validation):
    with pytest.raises(SettingsError, match="cannot be joined"):
        train.split(5).join(validation)
    with pytest.raises(SettingsError, match="whole number of frames"):
        PublishedDataset(train.recordings, ratio=12.5)
