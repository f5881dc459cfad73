"""The published program's tables of agreement, file for file."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nbpkg.annotations import coefficients
from nbpkg.annotations.agreement import MACHINE, Counts, list_groups, select_group

STATISTICS = {"cohen_kappa": coefficients.cohen_kappa, "raw_agreement": coefficients.raw_agreement}


def reference_tables(counts: Counts, *, prefix: str = "") -> dict[str, pd.DataFrame]:
    """Write agreement in the published form.

    Parameters
    ----------
    counts
        Result of `nbpkg.annotations.agreement.count_pairs`. The published numbers need it to be made with
        ``compat: reference``; without it the tables have the same form and the corrected numbers.
    prefix
        ``binary_`` or ``original_`` before the file names between people (``binary_`` also renames the variables),
        empty with the machine.

    Returns
    -------
    dict of str to pandas.DataFrame
        Eight tables by file name: pairwise and average, for global, task, variable and combo.

    Source
    ------
    infant-engagement: local/reliability.py
    """
    pairwise: dict[str, list[dict[str, object]]] = {"global": [], "task": [], "variable": [], "combo": []}
    average: dict[str, list[dict[str, object]]] = {"global": [], "task": [], "variable": [], "combo": []}
    order = sorted(list_groups(counts), key=lambda group: (("all", *counts.tasks).index(group[0]), group[1]))
    for task, variable in order:
        kind = {(True, True): "global", (False, True): "task", (True, False): "variable", (False, False): "combo"}[
            task == "all", variable == "all"
        ]
        group = {"task": task} if task != "all" else {}
        if variable != "all":
            group["variable"] = f"{variable}_binary" if prefix == "binary_" else variable
        tables_ = select_group(counts, task, variable).tables.sum(axis=1)
        found = {name: compute(tables_) for name, compute in STATISTICS.items()}
        for place in sorted(range(len(counts.pairs)), key=lambda place: counts.pairs[place]):
            first, second = counts.pairs[place]
            numbers = {name: values[place] for name, values in found.items()}
            pairwise[kind].append({**group, "rater_1": first, "rater_2": second, **numbers})
        with_machine = np.array([MACHINE in pair for pair in counts.pairs])
        for name, members in (("human", ~with_machine), (MACHINE, with_machine)):
            means = {key: pd.Series(values[members], dtype=float).mean() for key, values in found.items()}
            average[kind].append({**group, "index": name, **means})
    made = {f"{prefix}pairwise_reliability_{kind}.csv": pd.DataFrame(rows) for kind, rows in pairwise.items()}
    for kind, rows in average.items():
        table = pd.DataFrame(rows)
        made[f"{prefix}average_reliability_{kind}.csv"] = (
            table.rename(columns={"index": ""}) if kind == "global" else table
        )
    return made
