"""Figures of baked features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot
from matplotlib.figure import Figure


def norms(features: np.ndarray, index: pd.DataFrame) -> Figure:
    """Show how long the feature vectors are, session by session.

    Parameters
    ----------
    features
        [N, D], rows as in `index`.
    index
        Table ``features``.
    """
    lengths = np.linalg.norm(features, axis=1)
    sessions = sorted(index["session"].unique())
    figure, axis = pyplot.subplots(figsize=(9, 3.2), layout="constrained")
    sns.stripplot(x=index["session"], y=lengths, order=sessions, size=3, color="#2f6f73", alpha=0.6, ax=axis)
    axis.set(
        xlabel="session",
        ylabel="length of feature vector",
        title=f"Feature vectors by session (n = {len(index)} clips)",
    )
    axis.tick_params(axis="x", rotation=60 if len(sessions) > 12 else 0)
    axis.set_ylim(bottom=0)
    sns.despine(figure)
    return figure


def projection(points: np.ndarray, index: pd.DataFrame) -> Figure:
    """Show clips as points in two dimensions, coloured by session.

    Parameters
    ----------
    points
        [N, 2], as from `nbpkg.baking.shards.project_features`, rows as in `index`.
    index
        Table ``features``.
    """
    sessions = sorted(index["session"].unique())
    colours = dict(zip(sessions, sns.husl_palette(len(sessions), l=0.55), strict=True))
    figure, axis = pyplot.subplots(figsize=(6.4, 5.2), layout="constrained")
    for session in sessions:
        own = (index["session"] == session).to_numpy()
        axis.scatter(points[own, 0], points[own, 1], s=12, color=colours[session], alpha=0.65, linewidths=0)
        axis.annotate(session, points[own].mean(axis=0), fontsize=8, ha="center", va="center", color="#22313a")
    axis.set(
        xlabel="first principal component",
        ylabel="second principal component",
        title=f"Clips in feature space, labelled by session (n = {len(index)})",
    )
    sns.despine(figure)
    return figure
