"""What stands beside a network's answers: answers that see no face, a further annotator, published files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from nbpkg import tables
from nbpkg.annotations.looking.tracks import label_faces
from nbpkg.metrics.looking.baselines import answer_blindly, fit_box_prior, share_looking
from nbpkg.metrics.looking.files import write_answers, write_truth
from nbpkg.metrics.looking.human import answer_for_annotators
from nbpkg.metrics.looking.scores import Plan
from nbpkg.metrics.looking.submission import make_submission, write_submission
from nbpkg.settings.looking import FaceEvaluationSettings
from nbpkg.training.looking.material import FaceMaterial

AVERAGE = "average of systems"
FACE = ["session", "track", "frame"]
_BOX = {"x0": "x1", "y0": "y1", "x1": "x2", "y1": "y2"}  # names of the published files


def answer_without_faces(material: FaceMaterial, answers: pd.DataFrame, media: pd.DataFrame) -> pd.DataFrame:
    """Answer without looking at a face: by its size and place, learnt from the training faces.

    Parameters
    ----------
    material
        All clips; only those that teach are learnt from.
    answers
        Table ``looking_predictions`` of labelled test faces, with their boxes.
    media
        Table ``media``, for the size of the pictures.

    Returns
    -------
    pandas.DataFrame
        Rows of table ``looking_predictions``, system ``size and place``.
    """
    train = material.of_folds("train")
    windows = train.list_windows(train.folds["session"].tolist(), stride=1, labelled=True)
    known = _with_size(material.describe(windows.row), media)
    prior = fit_box_prior(known, known["label"].to_numpy(np.int64))
    return answer_blindly(answers, "size and place", prior.score(_with_size(answers, media)))


def share_of_training(material: FaceMaterial) -> float:
    """Return the share of labelled training faces that look."""
    train = material.of_folds("train")
    windows = train.list_windows(train.folds["session"].tolist(), stride=1, labelled=True)
    return share_looking(windows.label)


def join_systems(parts: Sequence[pd.DataFrame], *, average: bool) -> pd.DataFrame:
    """Put the answers of several systems together, and their mean where it is wanted.

    Parameters
    ----------
    parts
        Tables ``looking_predictions``.
    average
        Whether faces that all systems answered are answered by the mean score, too.
    """
    every = pd.concat(parts, ignore_index=True)
    systems = every["system"].nunique()
    if not average or systems < 2:
        return every
    counted = every.groupby(FACE)["score"].agg(["mean", "size"])
    whole = counted.loc[counted["size"] == systems, "mean"].rename("score").reset_index()
    first = every.drop_duplicates(FACE).drop(columns="score")
    mean = first.merge(whole, on=FACE, how="inner").assign(system=AVERAGE)
    return tables.check(pd.concat([every, mean[every.columns]], ignore_index=True), "looking_predictions")


def plan_scores(settings: FaceEvaluationSettings, material: FaceMaterial, *, seed: int) -> Plan:
    """Return how answers are scored; faces less sharp than the median training face count as blurred."""
    train = material.of_folds("train")
    windows = train.list_windows(train.folds["session"].tolist(), stride=1, labelled=True)
    sharpness = material.priors["sharpness"][windows.row]
    known = sharpness[np.isfinite(sharpness)]
    test = set(material.of_folds("test").footage["split"])
    return Plan(
        seed=seed,
        split=test.pop() or "test" if len(test) == 1 else "test",
        stride=settings.stride,
        threshold=settings.threshold,
        ties=settings.ties,
        resamples=settings.resamples,
        quality_cut=float(np.median(known)) if len(known) else None,
    )


def compare_annotators(material: FaceMaterial, segments: pd.DataFrame) -> pd.DataFrame | None:
    """Let annotators answer for each other on the faces of some clips; None where there is one annotator.

    Parameters
    ----------
    material
        The clips, e.g. those of the test.
    segments
        Table ``segments``.

    Returns
    -------
    pandas.DataFrame or None
        As `nbpkg.metrics.looking.human.answer_for_annotators`.
    """
    looking = segments[(segments["kind"] == "looking") & segments["session"].isin(material.footage["session"])]
    if looking["annotator"].nunique() < 2:
        return None
    both = [set(own["session"]) for _, own in looking.groupby("annotator")]
    videos = material.footage.set_index("session")["video"]
    parts = []
    for track in material.tracks.to_dict("records"):
        if track["session"] not in set.intersection(*both):
            continue
        frames = material.faces["frame"][int(track["offset"]) : int(track["offset"]) + int(track["rows"])]
        facts = {name: track[name] for name in ("session", "track", "person")}
        for annotator, own in looking.groupby("annotator"):
            spans = own[(own["session"] == track["session"]) & (own["person"] == track["person"])]
            labels = label_faces(np.asarray(frames), spans[["start_frame", "end_frame"]].to_numpy(np.int64))
            part = pd.DataFrame({"frame": frames, "label": labels})
            parts.append(part.assign(annotator=annotator, group=videos[str(track["session"])], **facts))
    return answer_for_annotators(pd.concat(parts, ignore_index=True)) if parts else None


def write_files(answers: pd.DataFrame, challenge: pd.DataFrame, *, folder: Path, submission: bool) -> pd.DataFrame:
    """Write labels and answers of the published form, and what the challenge asks for.

    Parameters
    ----------
    answers
        Table ``looking_predictions`` with the boxes, of one or several systems.
    challenge
        Table ``challenge``: unique ids of the test crops.
    folder
        Gets ``<system>/gt.csv`` and ``pred.csv`` of labelled faces, ``test_pred.csv`` of test crops, and
        ``submission.json`` where it is asked for.
    submission
        Whether test crops are to be sent in.

    Returns
    -------
    pandas.DataFrame
        system, file, rows.

    Raises
    ------
    TableError
        When a test crop would be answered twice, or not at all.
    """
    rows = []
    for system, own in answers.groupby("system", sort=False):
        place = folder / str(system)
        known = own[own["label"] >= 0].rename(columns={"session": "uid"})
        boxes = known.drop(columns=list(_BOX)).assign(**{new: known[old] for old, new in _BOX.items()})
        if len(boxes):
            write_truth(boxes, place / "gt.csv"), write_answers(boxes.assign(label=1), place / "pred.csv")
            rows += [(system, "gt.csv", len(boxes)), (system, "pred.csv", len(boxes))]
        test = own.merge(challenge, on=FACE, how="inner").rename(columns={"session": "uid"}).assign(label=1)
        if len(test):
            write_answers(test, place / "test_pred.csv")
            rows.append((system, "test_pred.csv", len(test)))
        if submission and len(test):
            write_submission(make_submission(test), place / "submission.json")
            rows.append((system, "submission.json", len(test)))
    return pd.DataFrame(rows, columns=["system", "file", "rows"])


def _with_size(faces: pd.DataFrame, media: pd.DataFrame) -> pd.DataFrame:
    sizes = media.set_index("session")[["source_width", "source_height"]]
    found = sizes.reindex(faces["session"]).to_numpy(np.float64)
    return faces.assign(width=found[:, 0], height=found[:, 1])
