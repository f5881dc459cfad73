"""One plot function for both lives of a notebook: a drop-down when a person watches, a picture when nobody does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import pyplot
from matplotlib.figure import Figure

from nbpkg import progress
from nbpkg.runs import SavedFigure, Stage


def pick(
    stage: Stage, draw: Callable[[Any], Figure], choices: Sequence[str] | Mapping[str, Any], *, name: str, label: str
) -> SavedFigure | None:
    """Show the figure of one choice, saved with the stage, and let a person choose others.

    Parameters
    ----------
    stage
        Saves the figure of the first choice under `name`.
    draw
        Makes the figure of one choice, e.g. ``partial(timelines, spans)``.
    choices
        What can be chosen, or its names and what `draw` is given for each; the first one is the headless picture.
    name
        File name of the saved figure, without ending.
    label
        What is chosen, e.g. ``Session``.

    Returns
    -------
    SavedFigure or None
        The saved figure, for the cell to show; None when a drop-down shows it instead.
    """
    values = choices if isinstance(choices, Mapping) else {choice: choice for choice in choices}
    names = list(values)
    if not names:
        progress.say(f"There is no {label.lower()} to show yet.")
        return None
    first = stage.figure(draw(values[names[0]]), name)
    if not progress.is_live():
        progress.say(f"{label} {names[0]}, the first of {len(names)}; open the notebook in JupyterLab to choose.")
        return first
    import ipywidgets  # only where a front end is attached, so that no report holds widget state

    def show(choice: str) -> None:
        figure = draw(values[choice])
        display_figure(figure)

    ipywidgets.interact(show, choice=ipywidgets.Dropdown(options=names, description=label))
    return None


def display_figure(figure: Figure) -> None:
    """Show a figure below the drop-down and let go of it."""
    from IPython.display import display

    display(figure)
    pyplot.close(figure)
