"""Writing pictures and annotation files of the gaze data sets, the same bytes for the same input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

_JPEG_QUALITY = 85


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 RGB ``[H, W, 3]``, as PPM or JPEG by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".ppm":
        path.write_bytes(b"P6\n%d %d\n255\n" % (picture.shape[1], picture.shape[0]) + picture.tobytes())
        return
    bgr = np.ascontiguousarray(picture[..., ::-1])
    path.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write lines of text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def write_voc(
    path: Path,
    picture: str,
    size: tuple[int, int],
    *,
    objects: Sequence[tuple[str, tuple[int, int, int, int]]],
) -> None:
    """Write boxes as labelImg does (Pascal VOC).

    Parameters
    ----------
    path
        The XML file.
    picture
        File name of the annotated picture.
    size
        Its ``(height, width)``, pixels.
    objects
        Names and boxes ``x0 y0 x1 y1``, pixels.
    """
    height, width = size
    lines = [
        "<annotation>",
        "\t<folder>rgb</folder>",
        f"\t<filename>{picture}</filename>",
        f"\t<path>rgb/{picture}</path>",
        "\t<source>\n\t\t<database>Unknown</database>\n\t</source>",
        f"\t<size>\n\t\t<width>{width}</width>\n\t\t<height>{height}</height>\n\t\t<depth>3</depth>\n\t</size>",
        "\t<segmented>0</segmented>",
    ]
    for name, box in objects:
        edges = "".join(
            f"\t\t\t<{edge}>{value}</{edge}>\n"
            for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        lines.append(
            f"\t<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
            f"\t\t<difficult>0</difficult>\n\t\t<bndbox>\n{edges}\t\t</bndbox>\n\t</object>"
        )
    write_lines(path, [*lines, "</annotation>"])
