"""Windows of clips: inside their interval, on the grid, none left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpkg.errors import SettingsError
from nbpkg.video.clips import grid, grid_table

times = st.integers(0, 20_000)
lengths = st.integers(1, 3000)


@given(start=times, length=times, clip=lengths, stride=lengths)
def test_windows_lie_inside_on_the_grid_and_none_is_missing(start, length, clip, stride):
    windows = grid(start, start + length, clip_ms=clip, stride_ms=stride)
    assert windows.dtype == np.int64
    assert windows[:, 0].tolist() == [t for t in range(start, start + length, stride) if t + clip <= start + length]
    assert (windows[:, 1] - windows[:, 0] == clip).all()


@given(spans=st.lists(st.tuples(times, times), max_size=8), clip=lengths, stride=lengths)
def test_table_is_the_grid_of_every_span(spans, clip, stride):
    table = pd.DataFrame(
        {"who": range(len(spans)), "start_ms": [a for a, _ in spans], "end_ms": [a + b for a, b in spans]},
        dtype="int64",
    )
    found = grid_table(table, clip_ms=clip, stride_ms=stride)
    expected = [
        (who, *window)
        for who, (a, b) in enumerate(spans)
        for window in grid(a, a + b, clip_ms=clip, stride_ms=stride).tolist()
    ]
    assert list(found.itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize(("clip", "stride"), [(0, 5), (5, 0), (-1, 5)])
def test_lengths_must_be_positive(clip, stride):
    with pytest.raises(SettingsError, match="at least 1 ms"):
        grid(0, 10, clip_ms=clip, stride_ms=stride)
