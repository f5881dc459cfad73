"""What papers and repositories report on OMG-Empathy, to print beside one's own numbers.

A ranking of the challenge that is remembered but nowhere to be found is left out.
"""

from __future__ import annotations

import pandas as pd

_TEAM = "abstract of arXiv 1812.04891"
_ORGANISERS = "README of OMGEmpathyChallenge"
_EIHW = "a third party's notes on Mallol-Ragolta et al., FG 2019"
_EIHW_TEST = f"{_EIHW}; also in the paper's abstract"
_EMOCOG = "README of the EmoCog repository"
_ALL = "all"
_ROWS: tuple[tuple[str, str, str, str, float, str], ...] = (
    ("audio and text, best", "validation", "generalized", _ALL, 0.29, _TEAM),
    ("audio and text, best", "validation", "personalized", _ALL, 0.32, _TEAM),
    ("audio and text, best", "test", "generalized", _ALL, 0.14, _TEAM),
    ("audio and text, best", "test", "personalized", _ALL, 0.14, _TEAM),
    ("organisers, listener's face and audio", "validation", "generalized", _ALL, 0.111, _ORGANISERS),
    ("organisers, listener's face and audio", "validation", "personalized", _ALL, 0.091, _ORGANISERS),
    ("organisers, actor's face and audio", "validation", "generalized", _ALL, -0.04, _ORGANISERS),
    ("organisers, actor's face and audio", "validation", "personalized", _ALL, -0.04, _ORGANISERS),
    ("EIHW, BLSTM of 40 units", "validation", "generalized", _ALL, 0.07, _EIHW),
    ("EIHW, BLSTM of 40 units", "test", "generalized", _ALL, 0.05, _EIHW),
    ("EIHW, BLSTM of 50 units", "validation", "generalized", _ALL, 0.06, _EIHW),
    ("EIHW, BLSTM of 50 units", "test", "generalized", _ALL, 0.06, _EIHW),
    ("EIHW, BLSTM of 50 units", "validation", "personalized", _ALL, 0.06, _EIHW),
    ("EIHW, BLSTM of 50 units", "test", "personalized", _ALL, 0.11, _EIHW_TEST),
    ("EmoCog model 1, SVM", "validation", "personalized", _ALL, 0.19, _EMOCOG),
    ("EmoCog model 1, SVM", "five-fold", "personalized", _ALL, 0.16, _EMOCOG),
)
_BY_SUBJECT = (0.01, 0.11, 0.04, 0.1, 0.11, 0.35, -0.01, 0.05, 0.05, 0.10)
COLUMNS = ["system", "data", "track", "subject", "value", "source"]


def published_results(data: str | None = None) -> pd.DataFrame:
    """Return concordance correlations that others report.

    Story 1 is the validation part, stories 3, 6 and 7 are the test part. The best of several epochs, chosen on the
    validation part, is an upper bound there, as the fall from validation to test shows. None comes with an interval.

    Parameters
    ----------
    data
        ``validation``, ``test`` or ``five-fold``; None for all.

    Returns
    -------
    pandas.DataFrame
        system, data, track (personalized or generalized), subject (``all``, or one of ten), value and source.

    Examples
    --------
    >>> found = published_results("test")
    >>> found.loc[found["system"].str.startswith("audio"), "value"].tolist()
    [0.14, 0.14]
    """
    name, part, track = "organisers, listener's face and audio", "validation", "personalized"
    people = [(name, part, track, str(one), value, _ORGANISERS) for one, value in enumerate(_BY_SUBJECT, start=1)]
    table = pd.DataFrame([*_ROWS, *people], columns=COLUMNS)
    return table if data is None else table[table["data"] == data].reset_index(drop=True)
