"""The command ``python -m nbpkg looking``: score, average and convert files of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbpkg.progress import say


def add_looking_command(commands: Any) -> None:
    """Add ``looking`` to the subcommands of a parser (what `argparse.ArgumentParser.add_subparsers` returns)."""
    looking = commands.add_parser("looking", help="score, average and convert files of looking at the camera wearer")
    actions = looking.add_subparsers(required=True, metavar="ACTION")

    score = actions.add_parser("score", help="mAP, accuracy and confusion of a pair of CSV files")
    score.add_argument("-g", "--truth", type=Path, required=True, help="labels, gt.csv")
    score.add_argument("-p", "--answers", type=Path, required=True, help="answers, pred.csv")
    score.add_argument("-t", "--threshold", type=float, default=0.5, help="of accuracy and confusion; default 0.5")
    score.add_argument(
        "--ties", choices=("stable", "grouped"), default="stable", help="equal scores: by row, or as one"
    )
    score.add_argument("-v", "--verbose", action="store_true", help="say the average precision of either class, and n")
    score.set_defaults(command=_score)

    average = actions.add_parser("average", help="average the scores of several answer files, face by face")
    average.add_argument("answers", type=Path, nargs="+", help="pred.csv of each system")
    average.add_argument("--out", type=Path, required=True, help="file to write")
    average.set_defaults(command=_average)

    submission = actions.add_parser("submission", help="turn answers to test pictures into the challenge's JSON")
    submission.add_argument("answers", type=Path, help="pred.csv of the test pictures")
    submission.add_argument("--out", type=Path, required=True, help="JSON to write")
    submission.add_argument(
        "--pictures", type=Path, help="videos_challenge: each of its pictures must be answered once"
    )
    submission.set_defaults(command=_convert)


def score_files(
    truth: Path, answers: Path, *, threshold: float = 0.5, ties: str = "stable", verbose: bool = False
) -> str:
    """Score a pair of files and return the text that the published program prints.

    Parameters
    ----------
    truth, answers
        Labels and answers, see `nbpkg.metrics.looking.files`.
    threshold
        From which score on the answer is "looking"; mAP does not depend on it.
    ties
        ``stable`` or ``grouped``, see `nbpkg.metrics.looking.precision.average_precision`.
    verbose
        Whether lines with the average precision of either class, the number of faces and doubled rows follow. That a
        class does not occur is always said.

    Raises
    ------
    TableError
        When a file cannot be read, or the two do not fit together.
    """
    from nbpkg.metrics.looking.files import match_answers, read_answers, read_truth
    from nbpkg.metrics.looking.precision import format_reference, score_answers

    matched, problems = match_answers(read_truth(truth), read_answers(answers))
    found = score_answers(
        matched["label"],
        matched["score"],
        threshold=threshold,
        ties="grouped" if ties == "grouped" else "stable",
    )
    text = format_reference(found)
    if verbose:
        text += f"AP looking: {found.looking:.6f}\nAP not looking: {found.not_looking:.6f}\n"
        text += f"n: {len(matched)} faces, {int(matched['label'].sum())} looking\n"
        text += "".join(f"{problem.where}: {problem.what}\n" for problem in problems)
    return text + "".join(f"{problem.what} {problem.expected}\n" for problem in found.problems)


def average_files(paths: Sequence[Path], out: Path) -> int:
    """Average the scores of several answer files face by face, write them, and return the number of faces.

    Raises
    ------
    TableError
        When a file cannot be read, or they are not about the same faces.
    StageError
        When the file cannot be written.
    """
    from nbpkg.metrics.looking.files import average_answers, read_answers, write_answers

    mean, _ = average_answers([read_answers(path) for path in paths])
    write_answers(mean, out)
    return len(mean)


def convert_submission(answers: Path, out: Path, *, pictures: Path | None = None) -> int:
    """Turn answers to test pictures into the challenge's file, and return the number of answers.

    Parameters
    ----------
    answers
        Answers to test pictures.
    out
        JSON to write.
    pictures
        Folder ``<uid>/<track>/<frame>_<unique id>.<ending>`` of the test pictures, each of which must be answered once;
        None where it is not at hand.

    Raises
    ------
    TableError
        When answers lack, are doubled, or are no probabilities; nothing is written then.
    StageError
        When the file cannot be written.
    """
    from nbpkg.errors import TableError, raise_all
    from nbpkg.metrics.looking.files import read_answers
    from nbpkg.metrics.looking.submission import find_problems, list_pictures, make_submission, write_submission

    content = make_submission(read_answers(answers))
    if pictures is not None:
        problems = find_problems(content, list_pictures(pictures))
        raise_all(problems, TableError, summary=f"{answers.name} cannot be submitted")
    write_submission(content, out)
    return len(content["results"])


def _score(options: argparse.Namespace) -> int:
    text = score_files(
        options.truth, options.answers, threshold=options.threshold, ties=options.ties, verbose=options.verbose
    )
    say(text.rstrip("\n"))
    return 0


def _average(options: argparse.Namespace) -> int:
    count = average_files(options.answers, options.out)
    say(f"{count} faces, mean of {len(options.answers)} systems: {options.out}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    count = convert_submission(options.answers, options.out, pictures=options.pictures)
    checked = "each picture once" if options.pictures else "whether every picture is answered was not checked"
    say(f"{count} answers ({checked}): {options.out}")
    return 0
