"""Let the tests of this folder import `looking_faces` from among the tests of features."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "features" / "looking"))
