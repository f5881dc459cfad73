"""Other raters against the listener."""

import numpy as np
import pandas as pd
import pytest

from nbpkg.metrics.valence.agreement import compare_raters


def _table(values, rater, session="Subject_1_Story_2"):
    frames = np.arange(len(values))
    known = {"session": session, "subject": "1", "story": "2", "part": "Training", "rater": rater}
    return pd.DataFrame({"frame": frames, "value": values}).assign(**known)


def test_the_same_marks_agree_wholly_and_missing_frames_do_not_count():
    own = np.array([0.0, 0.1, 0.4, 0.3, np.nan, 0.2])
    other = np.array([0.0, 0.1, 0.4, 0.3, 0.9, np.nan])
    (row,) = compare_raters(pd.concat([_table(own, "self"), _table(other, "third_party")])).to_dict("records")
    assert row["ccc"] == pytest.approx(1.0)
    assert row["frames"] == 4


def test_a_shift_of_level_lowers_concordance_but_not_correlation():
    own = np.array([0.0, 0.1, 0.4, 0.3])
    (row,) = compare_raters(pd.concat([_table(own, "self"), _table(own + 0.5, "third_party")])).to_dict("records")
    assert row["pearson"] == pytest.approx(1.0)
    assert row["ccc"] < 0.5


def test_one_rater_gives_no_rows_but_the_columns():
    found = compare_raters(_table(np.array([0.0, 0.1]), "self"))
    assert len(found) == 0
    assert "ccc" in found
