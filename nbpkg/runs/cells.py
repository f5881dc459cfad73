"""Which cells of a notebook belong to a study: most belong to all, some to one kind of thing that is learnt.

A cell for one kind begins with a line such as ``#| heatmap``, a text for one kind with ``<!-- heatmap -->``; of several
kinds, commas stand between them. Cells of other kinds do nothing, and reports leave them out.
"""

from __future__ import annotations

import re
from typing import Any

EVERY, NONE = "every", "none"  # run the cells of every kind; run none of those that follow
_MARK = re.compile(r"^(?:#\| |<!-- )([a-z, ]+?)(?: -->)?$")
_CALLBACKS: list[Any] = []  # that of the stage opened last


def kinds_of(source: str) -> tuple[str, ...]:
    r"""Return the kinds that a cell or text belongs to; none stands for all.

    Examples
    --------
    >>> kinds_of("#| heatmap\nstage.close()"), kinds_of("<!-- clips, heatmap -->\n**Scores**"), kinds_of("x = 1")
    (('heatmap',), ('clips', 'heatmap'), ())
    """
    found = _MARK.match(source.partition("\n")[0])
    return tuple(name.strip() for name in found[1].split(",")) if found else ()


def belongs(source: str, kind: str) -> bool:
    """Tell whether a cell or text is for a kind."""
    kinds = kinds_of(source)
    return kind == EVERY or (kind != NONE and (not kinds or kind in kinds))


def choose_cells(kind: str) -> None:
    """In a notebook, let only the cells of one kind do anything from now on.

    Parameters
    ----------
    kind
        The kind; `NONE` when the stage does not apply, so that no further cell is for it.
    """
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return

    def choose(lines: list[str]) -> list[str]:
        source = "".join(lines)
        return lines if belongs(source, kind) or _opens(source) else ["None\n"]

    chosen = shell.input_transformers_post
    for old in _CALLBACKS:
        chosen.remove(old)
    _CALLBACKS[:] = [choose]
    chosen.append(choose)


def _opens(source: str) -> bool:
    """Tell whether a cell opens a stage or states parameters: it may choose anew, so that nobody is locked out."""
    return "open_stage(" in source or source.startswith(("study = ", "# Parameters"))
