"""Words as features: word vectors from a file or hashed words, averaged over utterances and laid on seconds."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg.errors import AnnotationError, Problem, SettingsError, raise_all

Vectors = Mapping[str, NDArray[np.float32]]
Silence = Literal["missing", "hold", "next"]
# As in the Penn Treebank, with which word vectors are trained: "don't" is "do" and "n't", "it's" is "it" and "'s".
_TOKEN = re.compile(r"[^\W_]+?(?=n't\b)|n't\b|'(?:s|m|d|re|ve|ll)\b|[^\W_]+")
_LOOKED_AT = 100  # lines that tell how many numbers a line has
_BROKEN = "A line is a word and its numbers, all lines equally many, between single spaces."


def tokens(text: str, *, leave_out: Collection[str] = ()) -> list[str]:
    """Return the lower-cased words of a text.

    Parameters
    ----------
    text
        Any text.
    leave_out
        Words that do not count, e.g. `english_stop_words`.

    Examples
    --------
    >>> tokens("Well, I don’t know: it's 2 dogs!")
    ['well', 'i', 'do', "n't", 'know', 'it', "'s", '2', 'dogs']
    """
    found = _TOKEN.findall(text.lower().replace("’", "'"))
    return [word for word in found if word not in leave_out]


def english_stop_words() -> frozenset[str]:
    """Return scikit-learn's list of English words that say little, like ``the`` and ``of``."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS) | {"n't", "'s", "'m", "'d", "'re", "'ve", "'ll"}


def read_vectors(path: Path, vocabulary: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Read the vectors of some words.

    Parameters
    ----------
    path
        Text as GloVe writes it (a word and its numbers per line) or word2vec (the same below a line with the numbers of
        words and of columns), or ``.npz`` with arrays ``words`` and ``vectors``.
    vocabulary
        Words wanted. Of a word that occurs twice the first counts.

    Returns
    -------
    dict
        float32 ``[D]`` by word, for the words that are there.

    Raises
    ------
    AnnotationError
        When the file is missing or no such file, naming all broken lines.
    """
    if not path.is_file():
        raise AnnotationError(
            f"There is no file of word vectors {path.name!r}.",
            where=str(path),
            remedy="Correct the setting 'vectors', or leave it empty for hashed words.",
        )
    wanted = set(vocabulary)
    if path.suffix == ".npz":
        return _read_arrays(path, wanted)
    with path.open("rb") as stream:
        return _read_text(stream, path, {word.encode(): word for word in wanted})


def _read_text(stream: BinaryIO, path: Path, wanted: Mapping[bytes, str]) -> dict[str, NDArray[np.float32]]:
    """Read lines as bytes: only those of words that are wanted are turned into numbers."""
    head = [line.split() for line in islice(stream, _LOOKED_AT)]
    has_header = bool(head) and len(head[0]) == 2 and all(part.isdigit() for part in head[0])
    # A word may hold spaces and a line may be cut, so that no single line tells how many numbers there are.
    lengths = Counter(len(parts) - 1 for parts in head)
    width = int(head[0][1]) if has_header else max(lengths, key=lambda length: lengths[length], default=0)
    if width < 1:
        raise AnnotationError(f"{path.name!r} holds no word vectors.", where=str(path), expected=_BROKEN)
    stream.seek(0)
    if has_header:
        stream.readline()
    found: dict[str, NDArray[np.float32]] = {}
    problems: list[Problem] = []
    for number, line in enumerate(stream, start=2 if has_header else 1):
        line = line.rstrip()
        if line.count(b" ") < width:
            if line:
                problems.append(_broken(path, number, f"has {line.count(b' ')} numbers instead of {width}"))
            continue
        word = wanted.get(line[: line.index(b" ")])
        if word is None or word in found:
            continue
        parts = line.rsplit(b" ", width)
        if b" " in parts[0]:  # GloVe has words with spaces, such as ". . ."
            continue
        numbers = _to_numbers(parts[1:])
        if numbers is None:
            problems.append(_broken(path, number, f"of {word!r} has something that is no number"))
        else:
            found[word] = numbers
    raise_all(problems, AnnotationError, summary="word vectors cannot be read.")
    return found


def _to_numbers(parts: Sequence[bytes]) -> NDArray[np.float32] | None:
    try:
        numbers = np.array([float(part) for part in parts], dtype=np.float32)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _broken(path: Path, number: int, what: str) -> Problem:
    remedy = "Download the file again, or take the line out."
    return Problem(f"The line {what}.", expected=_BROKEN, remedy=remedy, file=path.name, row=number)


def _read_arrays(path: Path, wanted: Collection[str]) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            words, vectors = file["words"], np.asarray(file["vectors"], dtype=np.float32)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise AnnotationError(
            f"{path.name!r} holds no word vectors: {error}.",
            where=str(path),
            expected="Arrays 'words' [n] (text) and 'vectors' [n, D] (numbers), written by numpy.savez.",
            remedy="Write the file again.",
        ) from None
    if words.dtype.kind != "U" or vectors.ndim != 2 or len(words) != len(vectors) or not np.isfinite(vectors).all():
        raise AnnotationError(
            f"{path.name!r} holds words {words.dtype} {words.shape} and vectors {vectors.shape}.",
            where=str(path),
            expected="As many words (text) as vectors, all numbers finite.",
            remedy="Write the file again.",
        )
    places = {str(word): place for place, word in reversed(list(enumerate(words)))}
    return {word: vectors[places[word]] for word in sorted(wanted) if word in places}


def average_utterances(
    texts: Sequence[str], vectors: Vectors, *, leave_out: Collection[str] = ()
) -> NDArray[np.float32]:
    """Average the vectors of each utterance's known words.

    Parameters
    ----------
    texts
        Utterances.
    vectors
        Vector of each known word, as `read_vectors` gives them.
    leave_out
        Words that do not count.

    Returns
    -------
    ndarray
        float32 ``[utterances, D]``; NaN where no word is known.

    Raises
    ------
    AnnotationError
        When there is no vector at all.
    """
    if not vectors:
        raise AnnotationError(
            "None of the words that are said has a vector.",
            expected="Word vectors of the language of the transcripts, in lower case.",
            remedy="Use another file of word vectors, or leave 'vectors' empty for hashed words.",
        )
    rows = np.full((len(texts), len(next(iter(vectors.values())))), np.nan, dtype=np.float32)
    for place, text in enumerate(texts):
        known = [vectors[word] for word in tokens(text, leave_out=leave_out) if word in vectors]
        if known:
            rows[place] = np.mean(known, axis=0)
    return rows


def hash_utterances(
    texts: Sequence[str],
    *,
    width: int = 512,
    ngrams: tuple[int, int] = (1, 2),
    leave_out: Collection[str] = (),
) -> NDArray[np.float32]:
    """Count words and runs of words in columns chosen by a hash, which needs no file and fits nothing to the data.

    Parameters
    ----------
    texts
        Utterances.
    width
        Columns.
    ngrams
        Shortest and longest run of words.
    leave_out
        Words that do not count.

    Returns
    -------
    ndarray
        float32 ``[utterances, width]``, rows of length 1; NaN where there is no word.

    Source
    ------
    Weinberger et al., ICML 2009, without signs, in scikit-learn's implementation.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    hasher = HashingVectorizer(
        n_features=width,
        ngram_range=ngrams,
        alternate_sign=False,
        lowercase=False,
        token_pattern=None,
        tokenizer=lambda text: tokens(text, leave_out=leave_out),
    )
    rows = hasher.transform(texts).toarray().astype(np.float32) if len(texts) else np.zeros((0, width), np.float32)
    rows[~rows.any(axis=1)] = np.nan
    return rows


def seconds_of_cues(
    cues: pd.DataFrame,
    vectors: NDArray[np.floating],
    seconds: int,
    *,
    fill: Silence = "missing",
    step_ms: int = 1000,
) -> NDArray[np.float32]:
    """Lay utterances on seconds.

    Parameters
    ----------
    cues
        Columns start_ms, end_ms (integers, half-open), in order of time.
    vectors
        ``[cues, D]``; NaN for utterances without a known word, which do not count.
    seconds
        Rows wanted.
    fill
        Seconds in which nothing is said: ``missing`` are NaN, ``hold`` repeat the row before (none at the start),
        ``next`` takes for every second the first utterance that has not ended when it begins, as published, which
        tells what will be said next, and at the end the last.
    step_ms
        Length of a second, if it is none.

    Returns
    -------
    ndarray
        float32 ``[seconds, D]``. Where several utterances share a second they are averaged by their time in it, except
        with ``next``.

    Raises
    ------
    SettingsError
        When there are not as many vectors as cues.
    """
    if len(cues) != len(vectors):
        raise SettingsError(f"There are {len(vectors)} vectors of {len(cues)} utterances.", expected="One for each.")
    known = ~np.isnan(vectors).any(axis=1)
    starts, ends = (cues[name].to_numpy(dtype=np.int64)[known] for name in ("start_ms", "end_ms"))
    rows = np.full((seconds, vectors.shape[1]), np.nan, dtype=np.float32)
    if not known.any():
        return rows
    if fill == "next":
        rows[:] = vectors[known][follow_ends(ends, seconds, step_ms=step_ms)]
        return rows
    begins = np.arange(seconds)[:, None] * step_ms
    ends = np.maximum(ends, starts + 1)  # an utterance of no length still falls into the second of its start
    overlap = (np.minimum(ends, begins + step_ms) - np.maximum(starts, begins)).clip(min=0).astype(np.float64)
    spoken = overlap.any(axis=1)
    weights = overlap[spoken] / overlap[spoken].sum(axis=1, keepdims=True)
    rows[spoken] = weights @ vectors[known]
    if fill == "hold" and spoken.any():
        last = np.maximum.accumulate(np.where(spoken, np.arange(seconds), -1))
        rows[last >= 0] = rows[last[last >= 0]]
    return rows


def follow_ends(ends_ms: NDArray[np.int64], seconds: int, *, step_ms: int = 1000) -> NDArray[np.int64]:
    """Return for each second which utterance the published program takes.

    A pointer starts at the first utterance and advances while the current one has ended when the second begins; it
    stops at the last.

    Parameters
    ----------
    ends_ms
        Ends of the utterances with known words, at least one, in file order.
    seconds
        How many.
    step_ms
        Length of a second, if it is none.

    Returns
    -------
    ndarray
        ``[seconds]``, places in `ends_ms`.

    Source
    ------
    text_features_generator.py in the history of cheem-omg-empathy.
    """
    places, place = np.zeros(seconds, np.int64), 0
    for second in range(seconds):
        while place < len(ends_ms) - 1 and ends_ms[place] <= second * step_ms:
            place += 1
        places[second] = place
    return places
