"""Open, write, check and close a stage; the receipt is the only truth about success."""

from nbpkg.runs.graph import NODES, PARALLEL, Node
from nbpkg.runs.opening import open_stage
from nbpkg.runs.stage import SavedFigure, Stage

__all__ = ["NODES", "PARALLEL", "Node", "SavedFigure", "Stage", "open_stage"]
