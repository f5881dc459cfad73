"""Reproducible notebooks for research on human engagement, affect and attention.

Rooms are imported by name (``from nbpkg import runs``); this module re-exports nothing, so that
every call in a notebook shows where it lives and ``import nbpkg`` stays quick.
"""

__version__ = "0.1.0"
