"""What papers and users report for looking at the camera wearer, to print beside one's own numbers.

Numbers of the validation and the test list are not to be compared: the same weights reach about 0.79 on one and 0.72 on
the other, whose pictures were cut otherwise. Strides differ and are mostly not told. The
8 per cent of random answers are the average precision of looking alone; the mean over both classes is 50.
"""

from __future__ import annotations

import pandas as pd

COLUMNS = ["model", "split", "map", "map_spread", "accuracy", "accuracy_spread", "source"]
_NAN = float("nan")
_REPORT, _ABLATION = "GazePose report 2023, table 1", "GazePose report 2023, table 2 (split not told)"
_README, _LAM = "GazePose README", "EGO4D/social-interactions README, branch lam"
_ISSUES, _STRIDED = "EGO4D/social-interactions, issue", "KanokphanL/Ego4D_LAM_InternLSTM README"
_PAPER = "Ego4D paper as corrected in June 2022 (from memory)"
_ROWS: tuple[tuple[str, str, float, float, float, float, str], ...] = (
    ("random answers", "val", 8.6, _NAN, 51.2, _NAN, _PAPER),
    ("random answers", "test", 8.0, _NAN, 51.0, _NAN, _PAPER),
    ("LSTM from scratch", "val", 78.07, _NAN, 87.97, _NAN, _LAM),
    ("LSTM from Gaze360", "val", 79.90, _NAN, 91.78, _NAN, _LAM),
    ("LSTM", "test", 66.07, _NAN, 75.38, _NAN, _LAM),
    ("LSTM from Gaze360, published weights", "test", 71.97, _NAN, 85.9, _NAN, f"{_ISSUES} 10"),
    ("LSTM, trained by a user", "val", 78.93, _NAN, 92.73, _NAN, f"{_ISSUES} 9"),
    ("EgoT2", "val", 77.63, _NAN, _NAN, _NAN, f"{_ISSUES} 4"),
    ("GazeLSTM", "test", 71.92, _NAN, 85.98, _NAN, _REPORT),
    ("HHW", "test", 74.00, _NAN, 85.00, _NAN, _REPORT),
    ("NPT", "test", 73.00, _NAN, 93.00, _NAN, _REPORT),
    ("GazeTR", "test", 72.01, 0.82, 82.31, 2.22, _REPORT),
    ("Looking", "test", 73.11, 1.45, 84.61, 1.84, _REPORT),
    ("GazeHead", "test", 74.12, 2.32, 85.36, 3.10, _REPORT),
    ("GazePose, 5 runs", "test", 77.02, 0.78, 87.35, 2.09, _REPORT),
    ("GazePose, ensemble by XGBoost", "test", 78.80, _NAN, 92.47, _NAN, _REPORT),
    ("GazePose", "test", 76.29, _NAN, _NAN, _NAN, _README),
    ("GazePose without spatial and temporal part", "", 71.92, _NAN, 85.98, _NAN, _ABLATION),
    ("GazePose without temporal part", "", 76.31, _NAN, 87.02, _NAN, _ABLATION),
    ("GazePose without spatial part", "", 73.85, _NAN, 86.18, _NAN, _ABLATION),
    ("GazePose", "", 77.51, _NAN, 88.11, _NAN, _ABLATION),
    ("InternLSTM", "test", 76.57, _NAN, _NAN, _NAN, _STRIDED),
    ("InternLSTM, mirrored in training", "test", 76.94, _NAN, _NAN, _NAN, _STRIDED),
    ("InternLSTM, mirrored in the test too", "test", 77.18, _NAN, _NAN, _NAN, _STRIDED),
    ("InternLSTM, ensemble and smoothing", "test", 81.0, _NAN, 93.0, _NAN, "arXiv 2406.12211"),
)
PUBLISHED_QUALITY = {"quality_low": 76.83, "quality_high": 93.62}  # AP of the baseline, report, validation list


def published_looking() -> pd.DataFrame:
    """Return mAP and accuracy that others report.

    Returns
    -------
    pandas.DataFrame
        model, split (``val``, ``test``, or empty where it is not told), map and accuracy in per cent with their spread
        over runs (NaN where there is none) and source. Three best GazePose figures differ: ±1 is noise.

    Examples
    --------
    >>> found = published_looking()
    >>> float(found[found["split"] == "val"]["map"].max())
    79.9
    """
    return pd.DataFrame(_ROWS, columns=COLUMNS)
