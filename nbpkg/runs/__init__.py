"""Open, write, check and close a stage; the receipt is the only truth about success."""

from nbpkg.runs.graph import NODES, PARALLEL, Node
from nbpkg.runs.stage import Stage, open_stage

__all__ = ["NODES", "PARALLEL", "Node", "Stage", "open_stage"]
