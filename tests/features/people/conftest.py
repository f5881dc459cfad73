"""Let the tests of this folder import `people_scene` from beside it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
