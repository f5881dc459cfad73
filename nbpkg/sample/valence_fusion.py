"""Make a small complete raw data set for the valence study: films of listeners, what they felt, and the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nbpkg import progress
from nbpkg.sample.record import is_made, new_sample
from nbpkg.sample.valence_faces import draw_pictures, find_faces, make_faces
from nbpkg.sample.valence_files import write_table, write_transcript, write_valence
from nbpkg.sample.valence_film import write_film
from nbpkg.sample.valence_story import (
    ACTORS,
    FPS,
    HIDDEN_STORY,
    LAG_SECONDS,
    PARTS,
    SUBJECTS,
    WEIGHTS,
    Telling,
    tell,
)
from nbpkg.sample.valence_voice import speak

VERSION = 1  # raise it whenever the same seed would give other bytes
_README = """\
Made-up data for the valence study, in the layout of OMG-Empathy. All people are drawn and all voices are computed by
a program; nobody was filmed. Listeners (Subject) hear six stories (Story) that four actors tell (actors.csv).

Training/    stories 2, 4, 5     Validation/  story 1     Testing/  stories 3 and 6
  Annotations/   the listener's own valence, -1 .. 1, one row per frame (25 a second). Story 6 is hidden: all 0.
  ThirdParty/    the valence somebody else saw in the listener; not for story 6.
  Videos/        the actor in columns 0 .. 107, the listener in 108 .. 255; sound: the actor's voice.
  Transcripts/   what the actor says, as subtitles; line ends, marks and blank lines differ as in real files.
  Faces/         face boxes in pixels; frames in which the face was not found have no row.
Testing/Frames_Count.txt   how long the films of the part are.
Subject_1_Story_4 ends amid a second.
truth/steps.csv   what was planted, for each second: pleasantness of the words, arousal of the voice, and the
                  listener's valence, also of story 6. Valence is {text} of the words {text_lag} s earlier and
                  {audio} of the voice {audio_lag} s earlier; the faces show next to nothing of it.
sample.json       all files with size and SHA-256.

Made by: python -m nbpkg sample valence_fusion --seed {seed}
"""


def make_sample(folder: Path, *, seed: int, subjects: int = len(SUBJECTS)) -> None:
    """Make the sample, complete or not at all; return at once when it is there.

    Writes ``Training/``, ``Validation/``, ``Testing/``, ``actors.csv``, ``truth/steps.csv``, ``README.txt`` and last
    ``sample.json`` with the SHA-256 of every file. Files that are not from an earlier sample are left alone.

    Parameters
    ----------
    folder
        Where to put it.
    seed
        Same seed, same bytes (on the same kind of machine).
    subjects
        How many of the five listeners, from the first.

    Raises
    ------
    StageError
        When the folder holds files of other origin under the names of the sample.
    """
    facts = {"version": VERSION, "seed": seed, "subjects": subjects}
    if is_made(folder, facts):
        return
    pairs = [(subject, story) for story in sorted(PARTS) for subject in SUBJECTS[:subjects]]
    with new_sample(folder, facts) as new:
        tellings = []
        for subject, story in progress.track(pairs, "film listeners", unit="film", total=len(pairs)):
            telling = tell(subject, story, seed)
            _write_session(new / PARTS[story], telling, seed)
            tellings.append(telling)
        _write_lists(new, tellings)
        words = {"text": WEIGHTS["text"], "audio": WEIGHTS["audio"], "text_lag": LAG_SECONDS["text"],
                 "audio_lag": LAG_SECONDS["audio"], "seed": seed}  # fmt: skip
        (new / "README.txt").write_bytes(_README.format_map(words).encode())


def _write_session(part: Path, telling: Telling, seed: int) -> None:
    name, hidden = telling.session, telling.story == HIDDEN_STORY
    crlf = telling.subject == "2"
    shown = np.zeros(telling.frames) if hidden else telling.valence
    write_valence(part / "Annotations" / f"{name}.csv", shown, crlf=crlf)
    if not hidden:
        write_valence(part / "ThirdParty" / f"{name}.csv", telling.third_party)
    write_transcript(part / "Transcripts" / f"{name}.srt", telling)
    faces = make_faces(telling, seed)
    write_table(part / "Faces" / f"{name}.csv", find_faces(telling, faces, seed))
    (part / "Videos").mkdir(parents=True, exist_ok=True)
    path = part / "Videos" / f"{name}.mp4"
    write_film(path, draw_pictures(faces), frames=telling.frames, sound=speak(telling, seed))


def _write_lists(folder: Path, tellings: list[Telling]) -> None:
    """Write who tells which story, how long the films for testing are, and what was planted."""
    stories = sorted(ACTORS)
    write_table(folder / "actors.csv", pd.DataFrame({"story": stories, "actor": [ACTORS[story] for story in stories]}))
    counts = [f"{one.session}.csv - {one.frames} Frames\n" for one in tellings if PARTS[one.story] == "Testing"]
    (folder / "Testing" / "Frames_Count.txt").write_bytes("".join(counts).encode())
    truth = [
        pd.DataFrame(
            {
                "session": one.session,
                "step": np.arange(len(one.arousal)),
                "pleasantness": one.pleasantness.round(4),
                "arousal": one.arousal.round(4),
                "valence": _average_seconds(one.valence).round(4),
            }
        )
        for one in tellings
    ]
    write_table(folder / "truth" / "steps.csv", pd.concat(truth, ignore_index=True))


def _average_seconds(values: np.ndarray) -> np.ndarray:
    """Average the frames of each second, shape [seconds]; the last second may be shorter."""
    sizes = np.diff([*range(0, len(values), FPS), len(values)])
    average: np.ndarray = np.add.reduceat(values, np.arange(0, len(values), FPS)) / sizes
    return average
