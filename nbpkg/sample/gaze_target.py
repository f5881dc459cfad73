"""Make a small complete raw data set for the gaze-target study: three collections of rendered people, and the truth."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from nbpkg import progress
from nbpkg.sample.gaze_clips import write_clips
from nbpkg.sample.gaze_photos import write_photos
from nbpkg.sample.gaze_table import write_raw, write_restructured
from nbpkg.sample.record import is_made, new_sample

VERSION = 2  # raise it whenever the same seed would give other bytes
_README = """\
Made-up data for the gaze-target study. All people and things are drawn by a program; nobody was filmed. Everybody
wears a cap with a visor, so that also few pixels show where a head points.

vat/               clips of two people, in the layout of VideoAttentionTarget. Boxes and gaze points in pixels, -1 -1
                   where the target is outside the frame. The test shows Garage and Porch were annotated twice:
                   s00.txt by the first, s00__a2.txt by the second annotator. In the first clip of each show
                   the second person was not annotated for three frames.
object_attention/  one person who looks at one object after the other. images/ and annotations/ are in the layout
                   for learning: frames are .ppm (p02, p05), .jpg or .JPG, the tables of p02, p04 and p06 have no
                   header, head boxes were drawn once per object and copied. raw/ holds participant p07 as recorded:
                   one folder per object with logs beside the frames, one labelImg XML per folder (of session_2/set-b
                   one for the setting), OpenPose key points for one folder.
gazefollow/        single pictures of different size, train with 17 columns, test with 16 and six annotators. Two
                   persons of the training part could not be judged (-1).
truth/gaze.csv     what everybody really looks at (pixels), and where the head points: right, down, to the camera.
sample.json        all files with size and SHA-256.

Made by: python -m nbpkg sample gaze_target --seed {seed}
"""


def make_sample(folder: Path, *, seed: int) -> None:
    """Make the sample, complete or not at all; return at once when it is there.

    Writes ``vat/``, ``object_attention/``, ``gazefollow/``, ``truth/gaze.csv``, ``README.txt`` and last
    ``sample.json`` with the SHA-256 of every file. Files that are not from an earlier sample are left alone.

    Parameters
    ----------
    folder
        Where to put it.
    seed
        Same seed, same bytes (on the same kind of machine).

    Raises
    ------
    StageError
        When the folder holds files of other origin under the names of the sample.
    """
    facts = {"version": VERSION, "seed": seed}
    if is_made(folder, facts):
        return
    with new_sample(folder, facts) as new:
        parts = {
            "vat": write_clips,
            "object_attention": write_restructured,
            "object_attention/raw": write_raw,
            "gazefollow": write_photos,
        }
        truth: list[dict[str, object]] = []
        for place, write in progress.track(parts.items(), "draw people", unit="part", total=len(parts)):
            truth += write(new / place, seed)
        (new / "truth").mkdir()
        with (new / "truth" / "gaze.csv").open("w", encoding="utf-8", newline="") as stream:
            pd.DataFrame(truth).to_csv(stream, index=False, lineterminator="\n")
        (new / "README.txt").write_bytes(_README.format(seed=seed).encode())
