"""Puts the helpers of these tests, and those of the golden vectors, on the path."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "golden" / "gaze_target")]
