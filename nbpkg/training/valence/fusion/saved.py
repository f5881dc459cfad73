"""A fitted regression as a file: plain numbers and what they are, so that nothing a file holds is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nbpkg import tables
from nbpkg.errors import FoldError, WeightsError
from nbpkg.metrics.valence.frames import Pad
from nbpkg.runs.files import new_file
from nbpkg.training.valence.fusion.features import FINAL, FusionData, tabulate_answers
from nbpkg.training.valence.fusion.rounds import FusionFound
from nbpkg.training.valence.fusion.svr import FittedSvr, SvrSetting, mean_concordance

Array = NDArray[np.float64]
FORMAT, FACTS = "nbpkg valence fusion 1", "facts"
FOLDER = "fusion"
PICKLED = (".joblib", ".pkl", ".pickle", ".save")
STARTS = (b"\x80", b"x\x01", b"x\x9c", b"x\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # pickles, plain and compressed


def write_svr(fitted: FittedSvr, path: Path) -> Path:
    """Write a fitted regression, complete or not at all; the same regression gives the same bytes.

    Parameters
    ----------
    fitted
        What is written: support vectors, their weights, scale, and the facts, among them the sessions fitted on.
    path
        ``.safetensors``; its folder is made.

    Raises
    ------
    StageError
        When the folder cannot be written or the disk is full.
    """
    arrays = {"support": fitted.support, "weights": fitted.weights}
    arrays |= {} if fitted.low is None or fitted.span is None else {"low": fitted.low, "span": fitted.span}
    facts = {"format": FORMAT, "setting": asdict(fitted.setting), "intercept": fitted.intercept}
    facts |= {"gamma": fitted.gamma, "sessions": list(fitted.sessions)}
    plain = {name: np.ascontiguousarray(values, np.float64) for name, values in arrays.items()}
    with new_file(path) as temporary:
        temporary.write_bytes(save(plain, metadata={FACTS: json.dumps(facts)}))
    return path


def write_fitted(fitted: Mapping[int, FittedSvr], folder: Path) -> list[Path]:
    """Write the regression of each fold, ``fusion/fold_<k>.safetensors``, and of the test, ``fusion/final…``.

    Parameters
    ----------
    fitted
        Fold to regression, -1 for the test, as `FusionFound` holds them.
    folder
        Run folder.
    """
    return [
        write_svr(one, folder / FOLDER / f"{'final' if fold == FINAL else f'fold_{fold}'}.safetensors")
        for fold, one in sorted(fitted.items())
    ]


def read_svr(path: Path) -> FittedSvr:
    """Read what `write_svr` wrote.

    Raises
    ------
    WeightsError
        When the file is not there, is a pickle (joblib), which would run what it holds, or is no regression of ours.
    """
    if not path.is_file():
        raise WeightsError(
            "The regression is not there.", where=str(path), remedy="Correct evaluate.fusion.saved, or leave it empty."
        )
    with path.open("rb") as stream:
        start = stream.read(6)
    if path.suffix in PICKLED or start.startswith(STARTS):
        raise WeightsError(
            "The regression was saved by joblib or pickle, and such a file can run any program when it is read.",
            where=str(path),
            expected="A .safetensors file that notebook 06 wrote, fusion/<round>.safetensors.",
            remedy="Fit it again from the same features, which takes seconds.",
        )
    try:
        with safe_open(path, framework="numpy") as content:
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
            facts = json.loads((content.metadata() or {}).get(FACTS, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise _refuse(path, f"The regression cannot be read: {error}.") from None
    return _build(arrays, facts, path)


def answer_saved(
    data: FusionData, fitted: FittedSvr, *, ratio: int, pad: Pad = "hold", system: str = "fusion"
) -> FusionFound:
    """Answer all sessions by a regression that was fitted before.

    Parameters
    ----------
    data
        The systems that it was fitted to, in the same order; truth and folds.
    fitted
        The regression.
    ratio, pad
        Frames of a step, and how frames behind the last are filled; used for scores only.
    system
        What the fusion is called.

    Returns
    -------
    FusionFound
        Answers, role ``train`` for sessions that it was fitted to; one trial, in which nothing was chosen.

    Raises
    ------
    FoldError
        When the fusion is called like a system.
    TableError
        When a round or features are missing, or are not as wide as those fitted on.
    """
    if system in {one.name for one in data.systems}:
        raise FoldError(f"The fusion cannot be called {system!r}, as a system is.", remedy="Give it a name of its own.")
    test = data.sessions(role="test")
    features = data.held_out_features(data.sessions()) | data.round_features(test, fold=FINAL)
    answers = {session: fitted.predict(rows) for session, rows in features.items()}
    learnt = set(fitted.sessions)
    parts = []
    for role, sessions in (("held_out", data.sessions()), ("test", test)):
        for own, used in ((role, set(sessions) - learnt), ("train", set(sessions) & learnt)):
            some = {session: answers[session] for session in sorted(used)}
            parts.append(tabulate_answers(some, data.recordings, system=system, name="saved", role=own))
    known = {session: answers[session] for session in data.sessions() if session in learnt}
    trial = {"system": system, "round": "saved", "fold": FINAL, "chosen_by": "last", "epoch": 0, "epochs": 0}
    trial |= {"train_ccc": mean_concordance(known, data.recordings, ratio=ratio, pad=pad), "reason": ""}
    trial |= dict.fromkeys(("inner_ccc", "held_out_ccc", "optimistic_ccc"), np.nan)
    trial |= {"n_train": len(fitted.sessions), "n_held_out": 0}
    return FusionFound(
        tables.check(pd.concat(parts, ignore_index=True), "valence_predictions"),
        tables.from_rows([trial], "valence_trials"),
        pd.DataFrame(),
        {},
    )


def _build(arrays: Mapping[str, Array], facts: Mapping[str, Any], path: Path) -> FittedSvr:
    """Put a regression together of which nothing is taken for granted."""
    support, weights = arrays.get("support"), arrays.get("weights")
    sizes = {name: arrays[name].shape for name in ("low", "span") if name in arrays}
    if facts.get("format") != FORMAT or support is None or weights is None:
        raise _refuse(path, f"The file holds {', '.join(sorted(arrays)) or 'nothing'}, which is no fitted regression.")
    fits = support.ndim == 2 and weights.shape == support.shape[:1] and len(sizes) in (0, 2)
    if (
        not fits
        or set(sizes.values()) - {support.shape[1:]}
        or not all(np.isfinite(one).all() for one in arrays.values())
    ):
        raise _refuse(
            path, f"{len(support)} support vectors, {weights.size} weights and their scale do not fit together."
        )
    try:
        setting, sessions = SvrSetting(**facts["setting"]), tuple(map(str, facts["sessions"]))
        intercept, gamma = float(facts["intercept"]), float(facts["gamma"])
    except (KeyError, TypeError, ValueError) as error:
        raise _refuse(path, f"The facts beside the numbers are damaged: {error}.") from None
    low, span = arrays.get("low"), arrays.get("span")
    return FittedSvr(setting, low, span, support, weights, intercept, gamma, sessions)


def _refuse(path: Path, what: str) -> WeightsError:
    return WeightsError(
        what,
        where=str(path),
        expected="A .safetensors file that notebook 06 wrote, fusion/<round>.safetensors.",
        remedy="Copy it again, or fit it again.",
    )
