"""Score files of the published programs: a list of scores in the order of a list of clips, without any name.

A list in another order shifts all labels without a word, so that scores are given names from the list of clips they
were made with as soon as they are read. Source: open-mmlab/mmaction2, ``tools/test.py --out``.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import ArrayLike, NDArray

from nbpkg.annotations.people.pickles import read_plain_pickle
from nbpkg.errors import AnnotationError
from nbpkg.runs.files import new_file

ENDINGS = (".pkl", ".pickle", ".json", ".yaml", ".yml")
# NumPy 1, with which the published programs run, knows its own parts by this name only
_NEW_NAME, _OLD_NAME = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"


def read_scores(path: Path, samples: pd.DataFrame) -> NDArray[np.float32]:
    """Read the scores of a published program for the clips they were made of.

    Parameters
    ----------
    path
        Ends in ``.pkl``, ``.pickle``, ``.json``, ``.yaml`` or ``.yml``; what a pickle names is not run.
    samples
        Table of samples of the very list that the program was tested on, in its order.

    Returns
    -------
    numpy.ndarray
        float32 [samples, classes], row for row those of `samples`.

    Raises
    ------
    AnnotationError
        When the file cannot be read, its rows differ in length, or there are not as many as samples.
    """
    scores = _as_table(_read_content(path), path)
    if len(scores) != len(samples):
        raise AnnotationError(
            f"The file has scores of {len(scores)} clips, the list has {len(samples)}.",
            where=str(path),
            expected="One row of scores for each clip, in the order of the list.",
            remedy="Read the list that the scores were made with.",
        )
    return scores


def write_scores(scores: ArrayLike, path: Path) -> Path:
    """Write scores as the published programs do, for their own tools.

    Parameters
    ----------
    scores
        [samples, classes], in the order of the list of clips.
    path
        Ends as in `read_scores`.

    Raises
    ------
    AnnotationError
        When the scores are no table, or the ending is unknown.
    StageError
        When the file cannot be written.
    """
    table = _as_table(scores, path)
    if path.suffix not in ENDINGS:
        raise _unknown_ending(path)
    if path.suffix in (".pkl", ".pickle"):
        # the first occurrence comes before any numbers, which could hold the same bytes
        content = pickle.dumps(list(table), protocol=2).replace(_NEW_NAME, _OLD_NAME, 1)
    else:
        rows = [[float(value) for value in row] for row in table]
        content = (json.dumps(rows) if path.suffix == ".json" else yaml.safe_dump(rows)).encode()
    with new_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def _read_content(path: Path) -> Any:
    if path.suffix not in ENDINGS:
        raise _unknown_ending(path)
    if path.suffix in (".pkl", ".pickle"):
        return read_plain_pickle(path)
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise AnnotationError(
            f"The scores cannot be read: {error}.", where=str(path), remedy="Make them again."
        ) from None


def _as_table(content: Any, path: Path) -> NDArray[np.float32]:
    """Put rows of scores below each other."""
    try:
        table = np.asarray(content, np.float32)
    except (TypeError, ValueError):
        table = np.zeros(0, np.float32)
    if table.ndim != 2 or not table.size:
        raise AnnotationError(
            "The scores are no table.",
            where=str(path),
            expected="A list with a row of numbers for each clip, all of one length.",
            remedy="Test again, with scores of single clips.",
        )
    return table


def _unknown_ending(path: Path) -> AnnotationError:
    return AnnotationError(f"Scores are not kept in {path.name}.", where=str(path), expected=f"{', '.join(ENDINGS)}.")
