"""What the demo says about attention: snippets, paint, maps, comparisons, and what reports show of people."""

from __future__ import annotations

import base64
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import nbformat
import numpy as np
import pandas as pd
import pytest
from demo_outputs import PAIRS, VALUES, run_of, sessions_of, table_of
from patience import PATIENCE_S
from PIL import Image

from nbpkg.attention.comparing import gather
from nbpkg.attention.comparing.measures import MEASURES
from nbpkg.attention.comparing.resample import central_square, prepare_map
from nbpkg.attention.painting.paintings import read_strokes
from nbpkg.runs.cells import belongs
from nbpkg.video.stores import open_stores

pytestmark = pytest.mark.demo
PAINTERS = VALUES["paint"]["painters"]
METHODS = VALUES["compare"]["explain"]["methods"]
PLANTED = {"attending": ["head"], "participating": ["hands", "toy"]}  # where the sample shows it
SIZE = 32


@pytest.fixture(scope="module")
def snippets(demo):
    return table_of(demo, "paint", "snippets")


@pytest.fixture(scope="module")
def paintings(demo):
    return read_strokes(run_of(demo, "paint") / "strokes.jsonl")


@pytest.fixture(scope="module")
def attention(demo):
    return table_of(demo, "compare", "attention")


class TestPaint:
    def test_snippets_are_balanced_apart_and_of_test_sessions(self, demo, snippets):
        wanted = VALUES["paint"]["per_label"]
        cells = snippets.groupby(["task", "variable", "label"]).size()
        assert {tuple(pair) for pair in snippets[["task", "variable"]].drop_duplicates().to_numpy()} == PAIRS
        assert (cells == wanted).all()
        assert len(cells) == 2 * len(PAIRS)
        assert set(snippets["session"]) == sessions_of(demo, "test")
        for _, own in snippets.sort_values("start_ms").groupby("session"):
            assert (own["start_ms"].to_numpy()[1:] >= own["end_ms"].to_numpy()[:-1]).all()

    def test_what_was_painted_before_is_chosen_first(self, snippets):
        assert snippets["painted"].all()

    def test_each_snippet_has_its_painters(self, demo, snippets):
        queue, paintings = table_of(demo, "paint", "queue"), table_of(demo, "paint", "paintings")
        assert len(queue) == len(snippets) * VALUES["paint"]["painters_per_snippet"]
        assert set(queue["painter"]) == set(PAINTERS)
        orders = {
            painter: tuple(own.sort_values("position")["snippet_id"]) for painter, own in queue.groupby("painter")
        }
        assert len(set(orders.values())) == len(PAINTERS), "everybody got the same order"
        done = paintings[paintings["state"] == "done"]
        assert done.groupby("snippet_id").size().min() >= 2
        assert (done["painted_frames"] > 0).all()

    def test_painters_answered_every_question_before_they_submitted(self, demo):
        paintings, answers = table_of(demo, "paint", "paintings"), table_of(demo, "paint", "answers")
        done = paintings.query("state == 'done'").merge(answers, on=["snippet_id", "painter"], how="left")
        assert (done.groupby(["snippet_id", "painter"])["question"].nunique() == 2).all()


class TestCompare:
    def test_both_classes_are_explained_and_a_random_twin(self, demo, snippets):
        maps = table_of(demo, "compare", "maps")
        counts = maps.groupby(["source", "condition"])["snippet_id"].nunique()
        assert counts["network", "matching"] == counts["network", "opposite"] == len(snippets)
        assert counts["random network", "matching"] == len(snippets)
        assert set(maps["method"]) == set(METHODS)
        assert set(maps["layer"]) - {""}

    def test_every_number_has_chance_ceiling_interval_and_sizes(self, attention, snippets):
        main = attention.query("source == 'network' and condition == 'matching' and task == 'all'")
        assert set(main["metric"]) == set(MEASURES)
        assert main[["value", "low", "high", "chance", "ceiling"]].notna().all(axis=None)
        assert (main["chance_of"] != "").all()
        assert (main["low"] <= main["value"]).all()
        assert (main["value"] <= main["high"]).all()
        assert (main["n"] == len(snippets)).all()
        assert (main["n_groups"] == snippets["session"].nunique()).all()
        assert (attention.loc[attention["value"].isna(), "reason"] != "").all()
        assert {"uniform", "centre", "motion", "other snippet", "random network", "human"} <= set(attention["source"])

    def test_maps_and_people_meet_the_planted_region(self, demo, root, snippets, paintings):
        """How much more of a map lies there than chance puts there: network above random twin, people above both."""
        maps, run = table_of(demo, "compare", "maps"), run_of(demo, "compare")
        painted, lifts = gather.paint_maps(paintings, size=SIZE), []
        for row in snippets.itertuples():
            painting = next(one for one in paintings if one.snippet_id == row.snippet_id)
            region = planted(root / VALUES["data"] / "truth" / f"{row.session}_regions.csv", painting)
            machines = gather.machine_maps(maps, run, row.snippet_id)
            for (source, method, condition), values in machines.items():
                found = prepare_map(values, SIZE, kind="machine", frames=len(region))
                lifts.append((source, method, condition, lift(found, region)))
            for values in painted[row.snippet_id].values():
                found = prepare_map(values, SIZE, kind="human", frames=len(region))
                lifts.append(("human", "", "", lift(found, region)))
        table = pd.DataFrame(lifts, columns=["source", "method", "condition", "lift"]).dropna()
        means = table.groupby(["source", "method", "condition"])["lift"].mean()
        people = means["human", "", ""]
        assert people > means["network", "occlusion", "matching"] > means["random network", "occlusion", "matching"]
        # One twin's Grad-CAM is too noisy to compare with: tests/attention/test_explain_planted.py takes several.
        assert people > means["network", "gradcam", "matching"] > 1

    def test_films_play_everywhere_and_last_as_long_as_the_snippet(self, demo, snippets):
        films = sorted((run_of(demo, "compare") / "films").glob("*.mp4"))
        assert len(films) == VALUES["compare"]["films"]
        for path in films:
            own = snippets[snippets["snippet_id"] == path.stem].iloc[0]
            with av.open(path) as film:
                stream = film.streams.video[0]
                assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
                frames = sum(1 for _ in film.decode(stream))
                assert frames == VALUES["paint"]["frames"]
                seconds = frames / float(stream.average_rate)
                assert seconds == pytest.approx((own["end_ms"] - own["start_ms"]) / 1000, abs=0.05)

    def test_faithfulness_has_random_order_beside_it(self, demo):
        table = table_of(demo, "compare", "faithfulness")
        assert set(table["test"]) == {"deletion", "insertion", "randomisation"}
        curves = table[table["test"] != "randomisation"]
        assert set(curves["note"]) == {"map", "random order"}
        assert set(curves["method"]) == set(METHODS)
        assert curves["value"].between(0, 1).all()


def planted(path: Path, painting) -> np.ndarray:
    """Share of each cell that the planted region covers, float [T, SIZE, SIZE], in the square the network sees."""
    regions = pd.read_csv(path)
    regions = regions[regions["region"].isin(PLANTED[painting.variable])]
    mask = np.zeros((len(painting.frame_ms), painting.height, painting.width), np.float32)
    for frame, start in enumerate(painting.frame_ms):
        shown = regions[(regions["start_ms"] <= start) & (start < regions["end_ms"])]
        for box in shown.itertuples():
            mask[frame, box.y0 : box.y1, box.x0 : box.x1] = 1
    square = central_square(mask)
    return np.stack([cv2.resize(one, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for one in square])


def lift(values: np.ndarray, region: np.ndarray) -> float:
    """Share of the map inside the region, as a multiple of the region's share of the picture."""
    total = float(values.sum())
    return float((values * region).sum()) / total / float(region.mean()) if total else np.nan


@pytest.fixture
def project(root, demo, tmp_path):
    folder = tmp_path / "private"
    folder.mkdir()
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, folder / name)
    place = Path("infant_engagement") / "sample"
    shutil.copytree(demo, folder / "outputs" / place, copy_function=os.link)
    (folder / "data").symlink_to(root / "data")
    return folder


def run_notebook(project: Path, name: str, out: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    """Run a notebook of a copy of the project, headless, with some settings changed."""
    command = [sys.executable, "-m", "nbpkg", "run", f"notebooks/{name}.ipynb", str(out)]
    return subprocess.run(
        [*command, "-f", "params/infant_engagement/sample.yaml", *changes],
        cwd=project,
        env={**os.environ, "NBPKG_ROOT": str(project)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


class TestPrivacy:
    """Reports of 07 and 08 with the default of ``report``, which the sample, whose people are drawn, does not use."""

    def test_by_default_no_frame_is_shown_unpixelated(self, project, demo):
        stores = open_stores(run_of(demo, "prepare"), table_of(demo, "prepare", "media"))
        found = {}
        for frames in ("pixelated", "full"):
            out = project / f"{frames}.ipynb"
            done = run_notebook(project, "07_paint_human_attention", out, "-p", "report.frames", frames)
            assert done.returncode == 0, done.stdout + done.stderr
            content = nbformat.read(out, as_version=4)
            assert "widgets" not in content.metadata
            seen = [cell for cell in content.cells if belongs(cell.source, "clips")]
            (cell,) = [cell for cell in seen if "pick(stage" in cell.source]
            (picture,) = [o["data"]["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
            painting = read_strokes(run_of(project / "outputs/infant_engagement/sample", "paint") / "strokes.jsonl")[0]
            frame = gather.painted_frames(stores, {painting.snippet_id: painting}, painting.snippet_id)[0]
            found[frames] = search(frame, base64.b64decode(picture))
        assert found["full"] > 0.6, found  # it can be found where it is shown
        assert found["pixelated"] < 0.5 * found["full"], found


def search(frame: np.ndarray, png: bytes) -> float:
    """How alike the fine detail of a frame and of its most similar place in a picture are, 0 to 1, at any size."""
    picture = cv2.Laplacian(np.asarray(Image.open(io.BytesIO(png)).convert("L"), np.float32), cv2.CV_32F)
    grey, best = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 0.0
    for width in range(60, 200, 2):
        small = cv2.resize(grey, (width, round(width * frame.shape[0] / frame.shape[1])), interpolation=cv2.INTER_AREA)
        detail = cv2.Laplacian(small.astype(np.float32), cv2.CV_32F)
        best = max(best, float(cv2.matchTemplate(picture, detail, cv2.TM_CCOEFF_NORMED).max()))
    return best


def test_before_anybody_has_painted_07_ends_well_and_08_says_what_to_do(project):
    changes = ("-p", "paint.folder", "nobody")
    done = run_notebook(project, "07_paint_human_attention", project / "07.ipynb", *changes)
    assert done.returncode == 0, done.stdout + done.stderr
    place = project / "outputs" / "infant_engagement" / "sample"
    assert set(table_of(place, "paint", "paintings")["state"]) == {"todo"}
    done = run_notebook(project, "08_compare_attention", project / "08.ipynb", *changes)
    assert done.returncode != 0
    assert "Paint in notebooks/07_paint_human_attention.ipynb" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
