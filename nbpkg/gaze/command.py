"""The command ``python -m nbpkg gaze``: where people look in a video or picture folder."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbpkg.errors import Problem, SettingsError
from nbpkg.progress import Report, say

if TYPE_CHECKING:  # a network takes a second to import, which no other command needs
    from nbpkg.gaze.footage import Footage
    from nbpkg.gaze.networks import Gazelle, Vtd
    from nbpkg.gaze.outputs import GazeWriter, Wanted
    from nbpkg.gaze.predict import Finder, FrameGaze

RECORD = "gaze.json"
_REFERENCE_THRESHOLD = 1 - 100 / 255  # the published demo's 100 of 255 for outside, as a probability of inside


def add_gaze_command(commands: Any) -> None:
    """Add ``gaze`` to the subcommands of a parser (what `argparse.ArgumentParser.add_subparsers` returns)."""
    gaze = commands.add_parser("gaze", help="say where people look in a video or picture folder")
    source = gaze.add_mutually_exclusive_group(required=True)
    source.add_argument("--video", type=Path, help="video file")
    source.add_argument("--pictures", type=Path, help="folder with one picture per frame")
    gaze.add_argument("--model", default="vtd_spatial", help="network, e.g. vtd_spatial, vtd_temporal, gazelle_vitb14")
    gaze.add_argument("--weights", default="none", help="name of published weights, or a checkpoint; none is random")
    gaze.add_argument("--backbone", default="none", help="weights of Gaze-LLE's DINOv2, name or file")
    heads = gaze.add_mutually_exclusive_group()
    heads.add_argument(
        "--heads", type=Path, nargs="+", metavar="PATH",
        help="head files (one per person), labelImg XML or folder, OpenPose folder, or a table of boxes",
    )  # fmt: skip
    heads.add_argument("--detector", type=Path, help="find heads with OpenCV's YuNet: its .onnx file")
    gaze.add_argument("--first", type=int, default=0, help="number that head files give to a video's first frame")
    gaze.add_argument("--fill", type=int, default=0, help="fill in missing boxes over up to so many frames")
    gaze.add_argument("--out", type=Path, required=True, help="folder for what is written")
    _add_looks(gaze)
    gaze.add_argument("--every", type=int, default=1, help="take every n-th frame")
    gaze.add_argument("--fps", type=Fraction, default=Fraction(5), help="pictures per second of a folder")
    gaze.add_argument("--device", default="auto", help="auto, cpu or cuda")
    gaze.add_argument("--batch", type=int, default=16, help="people answered for at once")
    gaze.add_argument("--workers", type=int, default=2, help="threads that prepare frames")
    gaze.add_argument("--compat", choices=("none", "reference"), default="none", help="as the published demo, or ours")
    gaze.set_defaults(command=run_gaze)


def _add_looks(gaze: argparse.ArgumentParser) -> None:
    gaze.add_argument("--show", choices=("heatmap", "arrow", "both"), default="both", help="what the film shows")
    gaze.add_argument("--threshold", type=float, help="probability of inside from which an arrow is drawn; default 0.5")
    gaze.add_argument(
        "--frames", choices=("pixelated", "heads", "full", "none"), default="pixelated",
        help="how much of people the film shows; heads: a mosaic over head boxes only",
    )  # fmt: skip
    gaze.add_argument("--height", type=int, default=540, help="height of the film, pixels; 0 as the frames")
    gaze.add_argument("--strongest", type=float, default=1.0, help="value of the map drawn as the strongest heat")
    gaze.add_argument("--no-film", action="store_true", help="write no film")
    gaze.add_argument("--save-pictures", action="store_true", help="write every drawn frame as a picture")
    gaze.add_argument("--maps", action="store_true", help="write the heat maps")


def run_gaze(options: argparse.Namespace) -> int:
    """Run the command and return its exit status.

    Raises
    ------
    NbpkgError
        When footage, head boxes, network or options cannot be used; nothing is written then.
    """
    from nbpkg.gaze.footage import open_footage
    from nbpkg.gaze.outputs import GazeWriter, write_in_background
    from nbpkg.gaze.predict import predict_gaze
    from nbpkg.models.device import choose_device

    _check(options)
    footage = open_footage(options.video or options.pictures, step=options.every, fps=options.fps)
    find, problems = _find_heads(options, footage)
    device = choose_device(options.device)
    gazer = _build(options)
    gazer.network.to(device)
    results = predict_gaze(
        footage, find, gazer, device=device, batch=options.batch, workers=options.workers,
        reading="index" if options.compat == "reference" else "centre",
    )  # fmt: skip
    started = time.monotonic()
    with GazeWriter(options.out, footage, method=options.model, wanted=_choose_outputs(options)) as writer:
        write_in_background(_count(results, footage), writer)
    _record(options, writer, problems, seconds=time.monotonic() - started)
    return 0


def _check(options: argparse.Namespace) -> None:
    wrong = [name for name in ("batch", "workers", "every") if getattr(options, name) < 1]
    if wrong or options.fill < 0:
        raise SettingsError(
            f"--{wrong[0] if wrong else 'fill'} cannot be used.",
            expected="At least 1 (0 for --fill).",
            remedy="Correct it.",
        )
    if options.weights == "none" and "small" not in options.model:
        say("No weights were named: the network is random, and so are its answers.")


def _find_heads(options: argparse.Namespace, footage: Footage) -> tuple[Finder, list[Problem]]:
    """Say where head boxes come from."""
    from nbpkg.gaze.following import FaceFinder
    from nbpkg.gaze.heads import fill_gaps, group_heads, read_heads
    from nbpkg.gaze.predict import take_heads, take_scene

    if options.detector:
        finder = FaceFinder(options.detector)
        return (lambda frame: finder.find(frame.number, frame.picture)), []
    if not options.heads and options.model.startswith("gazelle"):
        say("No heads were named: Gaze-LLE is asked where anybody looks.")
        return take_scene, []
    heads = read_heads(options.heads or [], footage, first=options.first)
    for problem in heads.problems:
        say(f"{problem.what} {problem.where}".strip())
    boxes = fill_gaps(heads.boxes, longest=options.fill, step=footage.step) if options.fill else heads.boxes
    return take_heads(group_heads(boxes)), heads.problems


def _build(options: argparse.Namespace) -> Vtd | Gazelle:
    from nbpkg.gaze.networks import wrap_network
    from nbpkg.models.gaze.weights import build_gaze_model

    network = build_gaze_model(
        options.model, weights=options.weights, backbone_weights=options.backbone, compat=options.compat
    )
    return wrap_network(network, options.model, compat=options.compat, step=options.every)


def _choose_outputs(options: argparse.Namespace) -> Wanted:
    from nbpkg.gaze.film import FilmStyle
    from nbpkg.gaze.outputs import Wanted

    published = options.compat == "reference"
    threshold = options.threshold
    if threshold is None:
        threshold = _REFERENCE_THRESHOLD if published else 0.5
    style = FilmStyle(
        mode=options.show,
        threshold=threshold,
        privacy=options.frames,
        height=options.height,
        strongest=options.strongest,
        reference="" if not published else "gazelle" if options.model.startswith("gazelle") else "vtd",
    )
    return Wanted(style, film=not options.no_film, pictures=options.save_pictures, maps=options.maps)


def _count(results: Iterator[FrameGaze], footage: Footage) -> Iterator[FrameGaze]:
    report = Report("gaze", total=len(footage), unit="frame")
    for one in results:
        yield one
        report.step()
    report.close()


def _record(options: argparse.Namespace, writer: GazeWriter, problems: list[Problem], *, seconds: float) -> None:
    """Write how the results came about, and say what was left out."""
    import nbpkg
    from nbpkg.gaze.outputs import WITHOUT
    from nbpkg.runs.files import write_json

    settings = {name: value for name, value in vars(options).items() if name != "command"}
    plain = {name: _plain(value) for name, value in settings.items()}
    counts = {"frames": writer.frames, "frames_without_head": writer.without, "rows": writer.rows}
    notes = [f"{problem.what} {problem.where}".strip() for problem in problems]
    found = {"version": nbpkg.__version__, "settings": plain, **counts, "people": sorted(writer.people)}
    write_json(options.out / RECORD, {**found, "problems": notes, "seconds": round(seconds, 1)})
    if writer.without:
        say(f"{writer.without} of {writer.frames} frames have no head box; they are listed in {WITHOUT}.")
    say(f"{writer.rows} answers for {len(writer.people)} people: {options.out}")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [str(one) for one in value]
    return value if isinstance(value, int | float | bool) or value is None else str(value)
