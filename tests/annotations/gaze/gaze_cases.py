"""Small data sets in the published formats, made in a folder of the test's own."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

GOLDEN = Path(__file__).parents[2] / "golden" / "gaze_target"
HEADER = "frame x_min y_min x_max y_max gaze_x gaze_y\n"


def load(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def draw(path: Path, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".ppm": "PPM", ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP"}[path.suffix.lower()]
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path, kind)
    return path


def draw_all(folder: Path, names, size=(64, 48)):
    for name in names:
        draw(folder / name, size)


def write(path: Path, text: str, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def write_rows(path: Path, rows):
    return write(path, "".join(",".join(map(str, row)) + "\n" for row in rows))


def voc_text(objects, filename="00000001.ppm", size=(64, 48)):
    inner = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>"
        f"</object>"
        for name, x0, y0, x1, y1 in objects
    )
    return (
        f"<annotation><folder>f</folder><filename>{filename}</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>{inner}</annotation>"
    )


def pose_text(people):
    """JSON of people given as {joint: (x, y) or (x, y, confidence)}."""
    made = []
    for joints in people:
        points = np.zeros((25, 3))
        for joint, values in joints.items():
            points[int(joint)] = (*values, 0.9) if len(values) == 2 else values
        made.append({"pose_keypoints_2d": points.ravel().tolist(), "face_keypoints_2d": [0.0] * 210})
    return json.dumps({"version": 1.3, "people": made})


def vat_tree(root: Path, shows=(("train", "ShowA"), ("test", "ShowB")), frames=6):
    """A VideoAttentionTarget data set of one clip and one track per show."""
    for split, show in shows:
        names = [f"{number:08d}.jpg" for number in range(1, frames + 1)]
        draw_all(root / "images" / show / "1_20", names)
        rows = [
            (name, 10, 5, 20, 15, -1, -1) if n % 3 == 2 else (name, 10, 5, 20, 15, 30, 40)
            for n, name in enumerate(names)
        ]
        write_rows(root / "annotations" / split / show / "1_20" / "s00.txt", rows)
    return root


def texts(problems, severity=None):
    return [f"{p.where}: {p.what}" for p in problems if severity is None or p.severity == severity]
