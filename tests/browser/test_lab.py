"""The notebooks in JupyterLab, in a real browser, as a person runs them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from jupyter_lab import open_page, photograph, run_all
from painter_hand import Hand, equals_log, wait_until_done

from nbpkg.attention.painting.log import read_painting

pytestmark = pytest.mark.browser
PICTURE = "document.querySelectorAll('.widget-interact')[%d].querySelector('img')"
NOTEBOOKS = {
    "01_parse_annotations": 2,
    "02_prepare_videos": 1,
    "03_stratify": 1,
    "04_bake": 0,
    "05_train": 1,
    "06_evaluate": 2,
    "07_paint_human_attention": 1,
    "08_compare_attention": 1,
}


@pytest.fixture(scope="module")
def project(root, demo, tmp_path_factory):
    """A copy of the project whose outputs may be written; the finished stages of the demo are linked into it."""
    folder = tmp_path_factory.mktemp("lab")
    for name in ("notebooks", "params"):
        shutil.copytree(root / name, folder / name)
    train = folder / "notebooks" / "05_train.ipynb"
    content = nbformat.read(train, as_version=4)
    (cell,) = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    assert 'phase = ""' in cell.source
    cell.source = cell.source.replace('phase = ""', 'phase = "head_search"')  # quick, and it has something to pick
    nbformat.write(content, train)
    settings = folder / "params" / "infant_engagement" / "sample.yaml"
    values = yaml.safe_load(settings.read_text(encoding="utf-8"))
    values["compare"]["explain"]["methods"] = ["gradient", "gradcam"]  # quick, and enough to look at
    values["compare"] |= {"faithfulness": {"snippets": 1, "randomised": 1, "steps": 2}, "films": 1}
    settings.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    sample = Path("data") / "infant_engagement" / "sample"
    (folder / sample).mkdir(parents=True)
    for path in (root / sample).iterdir():
        if path.name == "painted":  # strokes are painted here: never into the sample itself
            shutil.copytree(path, folder / sample / path.name)
        else:
            (folder / sample / path.name).symlink_to(path)
    shutil.copytree(demo, folder / "outputs" / "infant_engagement" / "sample", copy_function=os.link)
    return folder


@pytest.fixture(scope="module")
def lab(project, start_lab):
    """Address of a running JupyterLab."""
    return start_lab(project).address


@pytest.mark.parametrize(("notebook", "pickers"), NOTEBOOKS.items())
def test_runs_live_with_pickers(lab, browser, project, notebook, pickers):
    page = open_page(browser)
    run_all(page, lab, f"notebooks/{notebook}.ipynb")
    drop_downs = page.locator(".widget-dropdown select")
    assert drop_downs.count() == pickers
    for place in range(pickers):
        picture = PICTURE % place
        drop_downs.nth(place).scroll_into_view_if_needed()
        before = page.evaluate(f"{picture}.src")
        drop_downs.nth(place).select_option(index=1)
        page.wait_for_function(f"old => {picture} && {picture}.src !== old", arg=before)
        photograph(page, f"{notebook}_{place}", after=1.0)
    photograph(page, notebook)
    page.close()


def test_a_new_painter_paints_in_notebook_07(lab, browser, project):
    """The whole way: paint three frames, erase, undo, answer, submit, lose the kernel in mid-stroke, come back."""
    settings = project / "params" / "infant_engagement" / "sample.yaml"
    values = yaml.safe_load(settings.read_text(encoding="utf-8"))
    values["paint"] |= {"painters": [*values["paint"]["painters"], "p4"], "painters_per_snippet": 4}
    settings.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    page = open_page(browser)
    notebook = "notebooks/07_paint_human_attention.ipynb"
    run_all(page, lab, notebook, cells=16)
    hand = Hand(page)
    hand.begin("p4")
    for frame in range(3):
        hand.paint((0.3, 0.3), (0.4, 0.35), (0.35, 0.45))
        if frame == 0:
            hand.key("e")
            hand.paint((0.3, 0.3), (0.33, 0.31))
            hand.key("Control+z", "b", "]")
        if frame == 2:
            photograph(page, "painter_in_07", after=1.5)  # until the remark about the brush's size has faded
        hand.key("ArrowRight")
    hand.is_saved()
    (path,) = (project / values["data"] / "painted" / "p4").glob("*.jsonl")
    painting = read_painting(path)
    assert [stroke.frame for stroke in painting.strokes] == [0, 1, 2]
    assert {stroke.tool for stroke in painting.strokes} == {"brush"}  # the eraser was taken back
    assert painting.strokes[1].radius > painting.strokes[0].radius
    equals_log(hand, path)
    first = hand.root.locator(".nbp-title").inner_text()
    hand.key("2", "6", "Enter")
    hand.page.wait_for_function("old => document.querySelector('.nbp-title').innerText !== old", arg=first)
    wait_until_done(path)
    hand.wait_for_snippet()  # its title comes first, its pictures later

    hand.paint((0.5, 0.5), (0.6, 0.6))
    hand.is_saved()
    (second,) = set((project / values["data"] / "painted" / "p4").glob("*.jsonl")) - {path}
    hand.press((0.2, 0.5), (0.3, 0.6))
    kill_kernels(project)
    assert len(read_painting(second).strokes) == 1
    page.close()  # with the stroke in hand

    page = open_page(browser)
    run_all(page, lab, notebook, cells=16)
    hand = Hand(page)
    hand.begin("p4")
    hand.is_saved()
    assert len(read_painting(second).strokes) == 1
    equals_log(hand, second)
    page.close()


def kill_kernels(project) -> None:
    """Kill the kernels that run in a project, as the system does when memory runs out."""
    kernels = [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if "ipykernel_launcher" in (process.info["cmdline"] or [])
        and Path(process.info["cwd"] or "/").resolve() == (project / "notebooks").resolve()
    ]
    assert kernels
    for process in kernels:
        process.kill()
