"""Subsample, rename and annotate a setting as the published program does, known defects included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nbpkg.annotations.gaze.openpose import read_people, reference_head_box
from nbpkg.annotations.gaze.voc import find_target, read_voc


@dataclass
class ReferenceSetting:
    """What the published program makes of a setting.

    Parameters
    ----------
    frames
        New name -> original picture.
    json
        New name -> original JSON file.
    lines
        Lines of the text file. Column 1 is the new JSON name, ending included, which no loader can use.
    """

    frames: dict[str, Path] = field(default_factory=dict)
    json: dict[str, Path] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def subsample_setting(setting: Path, objects: Sequence[str], *, every: int = 2) -> ReferenceSetting:
    """Name and annotate every n-th picture and JSON file of the objects of a setting.

    Pictures and JSON files are counted apart, so that one missing JSON file moves all later rows to other pictures.

    Parameters
    ----------
    setting
        Folder with one XML file and a folder per object, which holds ``rgb…`` and ``rgb…_openpose_json``.
    objects
        Names of the object folders in the order in which they are visited. The published program takes the order in
        which the disk lists them, which differs between machines.
    every
        Keep files 0, every, 2 every, ….

    Raises
    ------
    AnnotationError
        When XML or JSON cannot be read, the target is missing, or a picture shows nobody.
    """
    made = ReferenceSetting()
    voc = read_voc(next(iter(sorted(setting.glob("*.xml"))), setting / "missing.xml"))
    for name in objects:
        x, y = find_target(voc, name, compat="reference")
        inner = sorted(path for path in (setting / name).iterdir() if path.is_dir() and "rgb" in path.name)
        for folder in (path for path in inner if "openpose" not in path.name):
            for picture in sorted(folder.glob("*.ppm"))[::every]:
                made.frames[f"{len(made.frames):05d}.ppm"] = picture
        for folder in (path for path in inner if "json" in path.name):
            for path in sorted(folder.glob("*.json"))[::every]:
                new = f"{len(made.json):05d}.json"
                made.json[new] = path
                box = reference_head_box(read_people(path))
                edges = ["None"] * 4 if box is None else [str(edge) for edge in box]
                made.lines.append(", ".join([new, *edges, str(x), str(y)]))
    return made
