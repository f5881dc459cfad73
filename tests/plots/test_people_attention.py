"""Figures of what moves answers about people: what they show, that panels say n, that people are veiled."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from nbpkg.plots.people_attention import (
    gradcam_sheet,
    importance_heat,
    importance_shares,
    lag_profile,
    region_scores,
)


def make_summary() -> pd.DataFrame:
    rows = []
    for system, strength in (("random twin", 0.01), ("cpm_t", 1.0)):
        for place, who in enumerate(("parent", "child")):
            rows.append((system, "who", who, "", -1, 0.25 + 0.5 * place, strength * place))
            rows += [(system, "who and modality", who, name, -1, 0.25, strength * place) for name in ("pose", "video")]
            rows += [(system, "who and lag", who, "", lag, 0.25, strength / (1 + lag)) for lag in range(3)]
        rows += [(system, "modality", "", name, -1, 0.5, strength) for name in ("pose", "video")]
    table = pd.DataFrame(rows, columns=["system", "by", "who", "modality", "lag", "share", "value"])
    edges = {"share_low": table["share"] - 0.1, "share_high": table["share"] + 0.1}
    return table.assign(**edges, low=table["value"] * 0.9, high=table["value"] * 1.1, flipped=0.0, n=7)


def texts(figure) -> str:
    found = [text.get_text() for axis in figure.axes for text in (*axis.texts, axis.title, *axis.get_yticklabels())]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return "\n".join(found + legends)


def test_shares_stand_beside_the_twin_s_and_what_chance_would_be():
    figure = importance_shares(make_summary())
    words = texts(figure)
    assert "n = 7 recordings" in words
    assert "75%" in words
    assert {"random twin", "cpm_t", "all alike", "parent", "pose"} <= set(words.split("\n"))
    lengths = [bar.get_width() for bar in figure.axes[0].patches]
    assert sorted(lengths) == pytest.approx([0.25, 0.25, 0.75, 0.75])


def test_heat_has_one_scale_for_network_and_twin():
    figure = importance_heat(make_summary())
    images = [axis.images[0] for axis in figure.axes if axis.images]
    assert len(images) == 2
    assert {image.norm.vmax for image in images} == {1.0}
    missing = make_summary().query("not (who == 'child' and modality == 'pose')")
    assert "never" in texts(importance_heat(missing))


def test_lags_have_a_line_for_each_person_and_what_was_planted():
    figure = lag_profile(make_summary(), planted={"child": 1})
    lines = [line for line in figure.axes[1].lines if line.get_label() == "child"]
    assert lines[0].get_ydata().tolist() == pytest.approx([1, 0.5, 1 / 3])
    assert "child: planted" in texts(figure)


def test_maps_are_laid_over_veiled_people():
    chance = np.random.default_rng(0)
    pictures = chance.integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    maps = np.zeros((3, 48, 64), np.float32)
    maps[:, :24] = 1
    moments = SimpleNamespace(pictures=pictures, maps=maps, frames=np.array([0, 25, 50]))
    figure = gradcam_sheet([("clip a: high", moments)], fps=25)
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert len(shown) == 3
    assert len(np.unique(np.asarray(shown[0]).reshape(-1, 3), axis=0)) <= 12 * 9 * 2  # blocks, not pixels
    assert np.asarray(shown[0])[:20].mean(axis=(0, 1))[0] > np.asarray(shown[0])[28:].mean(axis=(0, 1))[0] + 50
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["clip a: high\n0.0 s", "\n1.0 s", "\n2.0 s"]
    assert gradcam_sheet([], fps=25).axes[0].texts[0].get_text() == "no maps of clips yet"


def test_regions_stand_beside_what_a_blind_map_would_have():
    regions = pd.DataFrame(
        {"system": "r", "sample_id": list("aabbab"), "family": "f", "who": ["child", "all"] * 2 + ["child"] * 2,
         "region": ["body", "together"] * 2 + ["face"] * 2, "mutual_information": [0.1, 0.2, 0.3, 0.4, np.nan, np.nan],
         "cross_entropy": 5.0, "share": [0.6, 0.8, 0.8, 0.9, np.nan, np.nan],
         "area": [0.2, 0.5, 0.4, 0.7, np.nan, np.nan], "frames": [3, 3, 3, 3, 0, 0]}
    )  # fmt: skip
    figure = region_scores(regions)
    words = texts(figure)
    assert "n = 2 clips, families: 1" in words
    assert "never there" in words
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "everybody together"
    blind = [line.get_xdata()[0] for line in figure.axes[0].lines if "blind" in str(line.get_label())]
    assert blind[:1] == pytest.approx([0.3])
    empty = region_scores(regions.iloc[:0])
    assert "no scores of regions yet" in texts(empty)


def test_without_rows_figures_say_so():
    nothing = make_summary().iloc[:0]
    for figure in (importance_shares(nothing), importance_heat(nothing), lag_profile(nothing)):
        assert "yet" in texts(figure)
