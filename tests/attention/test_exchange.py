"""The published form: written so that its readers take it, read back whole, refused with the folder's name."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import numpy as np
import pytest

from nbpkg.attention.painting.exchange import (
    PublishedName,
    list_published,
    read_published,
    write_published,
)
from nbpkg.attention.painting.raster import rasterise
from nbpkg.attention.painting.reference_brush import PublishedSnippet, replay_events
from nbpkg.attention.painting.strokes import Painting, Stroke
from nbpkg.errors import PaintingError

SHAPE = (4, 24, 31)
PAINTING = Painting(
    snippet_id="x",
    painter="ew",
    session="fp13",
    task="eggs",
    variable="attending",
    start_ms=4835,
    end_ms=9835,
    frame_ms=(4800, 5120, 5440, 5760),
    width=310,
    height=240,
    strokes=(Stroke(1, "brush", 0.1, 0.5, ((0, 0.2, 0.3), (9, 0.7, 0.6))),),
    answers={"participating": "self", "attending": "excited"},
    state="done",
    seconds=12.5,
)
HEAT = rasterise(PAINTING.strokes, shape=SHAPE, size=(310, 240))
FACTS = {"heat": HEAT, "index": 3, "label": 1, "fps": Fraction(25, 8), "saved": "2024-05-06 07:08:09"}


def film() -> np.ndarray:
    ramp = np.linspace(0, 255, 31).astype(np.uint8)
    frames = np.zeros((*SHAPE, 3), np.uint8)
    frames[..., 0] = ramp
    frames[..., 1] = np.array([0, 80, 160, 240], np.uint8)[:, None, None]
    return frames


def test_a_painting_goes_out_and_comes_back(tmp_path):
    folder = write_published(PAINTING, tmp_path, **FACTS, frames=film())
    assert folder.name == "snippet_3__ew_fp13_4s_attending"
    assert sorted(path.name for path in folder.iterdir()) == ["heatmap.npy", "info.json", "visualization.mp4"]
    found = read_published(folder, shape=SHAPE)
    assert found.heat.dtype == np.float32
    np.testing.assert_array_equal(found.heat, HEAT)
    assert (found.start_ms, found.label, found.task, found.fps) == (4835, 1, "eggs", Fraction(25, 8))
    assert found.labels == PAINTING.answers
    assert found.frame_ms == PAINTING.frame_ms
    assert found.name == PublishedName(3, "ew", "fp13", 4, "attending")
    assert found.saved == FACTS["saved"]


def test_what_the_published_comparison_reads_is_where_it_reads_it(tmp_path):
    """It splits the name at '_' into seven parts and takes variable, rater, session and seconds from them."""
    folder = write_published(PAINTING, tmp_path, **FACTS)
    parts = folder.name.split("_")
    assert len(parts) == 7
    assert (parts[3], parts[4], parts[5], parts[6]) == ("ew", "fp13", "4s", "attending")
    text = (folder / "info.json").read_text()
    info = json.loads(text)
    assert text.startswith('{\n    "saved"')
    assert info["sample"] == {
        "session": "fp13",
        "annotator": "ew",
        "start_time_s": 4.835,
        "target_variable": "attending",
        "consensus_label": 1,
    }
    assert info["labels"] == {"participating": "self", "attending": "excited"}
    assert info["painting"]["frame_ms"] == [4800, 5120, 5440, 5760]
    assert not (folder / "visualization.mp4").exists()
    heat = np.load(folder / "heatmap.npy", allow_pickle=False)
    assert (heat.dtype, heat.shape) == (np.float32, SHAPE)


def test_the_film_plays_shows_the_frames_and_is_the_same_each_time(tmp_path):
    paths = [write_published(PAINTING, tmp_path / name, **FACTS, frames=film()) / "visualization.mp4" for name in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with av.open(str(paths[0])) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == Fraction(25, 8)
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert shown.shape == (4, 24, 32, 3)
    assert np.abs(shown[:, :, :31, 1].mean(axis=(1, 2)) - [0, 80, 160, 240]).max() < 12


def test_published_output_without_our_fields_is_read(tmp_path):
    """Files made by the published tool itself (its replay), among folders of other names."""
    snippets = [PublishedSnippet("ew", "fp13", 4835, 0, "people", "participating")]
    events = [("press", "left"), ("move", 9, 9), ("labels", "self", "excited"), ("save", "a")]
    saved = replay_events(events, snippets=snippets, size=(31, 24))["a"]
    folder = tmp_path / saved.folder
    folder.mkdir()
    np.save(folder / "heatmap.npy", saved.heat)
    info = json.dumps({**saved.info, "saved": "2022-10-06 10:00:00.123"}, indent=4)
    (folder / "info.json").write_text(info.replace('"consensus_label": 0', '"consensus_label": 0.0'))
    (tmp_path / "snippet_10__mf_fp2_0s_attending").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "snippet_0__ew_fp_13_4s_participating").mkdir()
    (tmp_path / "notes.txt").write_text("")
    folders, notes = list_published(tmp_path)
    assert [path.name for path in folders] == [saved.folder, "snippet_10__mf_fp2_0s_attending"]
    assert [note.split(":")[0] for note in notes] == ["old", "snippet_0__ew_fp_13_4s_participating"]
    found = read_published(folders[0])
    np.testing.assert_array_equal(found.heat, saved.heat)
    assert (found.task, found.fps, found.frame_ms, found.label) == ("", None, (), 0)
    assert found.start_ms == 4835


@pytest.mark.parametrize(
    "name",
    ["", "snippet_0__ew_fp13_4s", "snippet_x__ew_fp13_4s_a", "snippet_0_ew_fp13_4s_a_b", "snippet_0__ew_fp13_4_a"]
    + ["snippet_0__ew__4s_a", "snippet_-1__ew_fp13_4s_a", "xsnippet_0__ew_fp13_4s_a", "snippet_٣__ew_fp13_4s_a"],
)
def test_other_names_are_no_published_ones(name):
    assert PublishedName.parse(name) is None


@pytest.mark.parametrize(
    "change", [{"painter": "e_w"}, {"session": "a/b"}, {"variable": ""}, {"session": "..\\x"}, {"painter": "_"}]
)
def test_names_that_readers_would_take_apart_wrongly_are_not_written(tmp_path, change):
    facts = {**{name: getattr(PAINTING, name) for name in Painting.__dataclass_fields__}, **change}
    with pytest.raises(PaintingError, match="published folder's name"):
        write_published(Painting(**facts), tmp_path, **FACTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"heat": HEAT[:3]}, "do not fit"),
        ({"heat": HEAT.astype(np.float64)}, "float64"),
        ({"heat": HEAT + 2}, "outside 0..1"),
        ({"frames": film()[:2]}, "do not fit"),
        ({"frames": film()[..., 0]}, "do not fit"),
    ],
)
def test_maps_and_pictures_that_do_not_fit_are_not_written(tmp_path, change, named):
    with pytest.raises(PaintingError, match=named):
        write_published(PAINTING, tmp_path, **{**FACTS, **change})
    assert not list(tmp_path.iterdir())


def spoil_info(folder, **changes):
    info = json.loads((folder / "info.json").read_text())
    for path, value in changes.items():
        *outer, name = path.split("__")
        (info[outer[0]] if outer else info)[name] = value
    (folder / "info.json").write_text(json.dumps(info))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "heatmap.npy").unlink(),
        lambda folder: (folder / "info.json").unlink(),
        lambda folder: (folder / "heatmap.npy").write_bytes(b"nonsense"),
        lambda folder: (folder / "heatmap.npy").write_bytes((folder / "heatmap.npy").read_bytes()[:-9]),
        lambda folder: (folder / "heatmap.npy").write_bytes(b""),
        lambda folder: np.save(folder / "heatmap.npy", HEAT[0]),
        lambda folder: np.save(folder / "heatmap.npy", HEAT.astype(np.float64)),
        lambda folder: np.save(folder / "heatmap.npy", np.full(SHAPE, np.nan, np.float32)),
        lambda folder: np.save(folder / "heatmap.npy", HEAT - 1),
        lambda folder: np.save(folder / "heatmap.npy", np.zeros((4, 24, 30), np.float32)),
        lambda folder: np.save(folder / "heatmap.npy", np.array([{}], dtype=object), allow_pickle=True),
        lambda folder: (folder / "info.json").write_text("nonsense"),
        lambda folder: (folder / "info.json").write_text("[]"),
        lambda folder: (folder / "info.json").write_bytes(b"\xff"),
        lambda folder: spoil_info(folder, sample={}),
        lambda folder: spoil_info(folder, sample__session="fp14"),
        lambda folder: spoil_info(folder, sample__annotator="mf"),
        lambda folder: spoil_info(folder, sample__start_time_s=5.1),
        lambda folder: spoil_info(folder, sample__start_time_s="soon"),
        lambda folder: spoil_info(folder, sample__consensus_label=2),
        lambda folder: spoil_info(folder, labels__attending=3),
        lambda folder: spoil_info(folder, labels=3),
        lambda folder: spoil_info(folder, painting__frame_ms=[1]),
        lambda folder: spoil_info(folder, painting__fps="1/0"),
        lambda folder: spoil_info(folder, painting=3),
    ],
)
def test_broken_folders_are_named(tmp_path, spoil):
    folder = write_published(PAINTING, tmp_path, **FACTS)
    spoil(folder)
    with pytest.raises(PaintingError) as caught:
        read_published(folder, shape=SHAPE)
    assert caught.value.where == str(folder)
    assert caught.value.expected


def test_folders_that_are_not_there_are_named(tmp_path):
    with pytest.raises(PaintingError, match="not there"):
        list_published(tmp_path / "nowhere")
    with pytest.raises(PaintingError, match="no name of a published painting"):
        read_published(tmp_path / "nowhere")
    with pytest.raises(PaintingError, match=r"no heatmap\.npy"):
        read_published(tmp_path / "snippet_0__ew_fp13_4s_attending")
