"""What papers and earlier runs report, to print beside one's own numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

_LLE, _MEMORY = "Ryan et al. 2025", "Chong et al. 2020, ablation (from memory)"
_OWN = "ObjectAttention fine-tuning, first collection, one participant"
_HELD_OUT = "ObjectAttention fine-tuning, participants held out"
_POINTS, _SHORT = ("auc_points", "avg_distance", "min_distance"), ("auc_box", "distance")
_IN_OUT = (*_SHORT, "average_precision")
_TABLES: tuple[tuple[str, str, tuple[str, ...], dict[str, tuple[float, ...]]], ...] = (
    (
        _LLE,
        "gazefollow",
        _POINTS,
        {
            "VTD": (0.921, 0.137, 0.077),
            "one human": (0.924, 0.096, 0.040),
            "Gaze-LLE ViT-B": (0.956, 0.104, 0.045),
            "Gaze-LLE ViT-L": (0.958, 0.099, 0.041),
            "Gaze-LLE ViT-B, head boxes by YOLO": (0.955, 0.106, 0.047),
            "Gaze-LLE ViT-L, head boxes by YOLO": (0.958, 0.101, 0.043),
            "Gaze-LLE ViT-B, LoRA": (0.957, 0.103, 0.045),
            "Gaze-LLE ViT-L, LoRA": (0.960, 0.097, 0.040),
            "Gaze-LLE without head prompt": (0.926, 0.169, 0.105),
            "Gaze-LLE, supervised ViT-L": (0.928, 0.151, 0.086),
            "Gaze-LLE, MAE ViT-L": (0.947, 0.126, 0.061),
            "Gaze-LLE, CLIP ViT-L": (0.953, 0.107, 0.049),
            "VTD, 448 pixels": (0.923, 0.138, 0.076),
            "VTD, DINOv2 in the scene branch": (0.908, 0.167, 0.101),
        },
    ),
    (
        _LLE,
        "videoattention",
        _IN_OUT,
        {
            "VTD": (0.860, 0.134, 0.853),
            "one human": (0.921, 0.051, 0.925),
            "Gaze-LLE ViT-B": (0.933, 0.107, 0.897),
            "Gaze-LLE ViT-L": (0.937, 0.103, 0.903),
        },
    ),
    (
        f"{_LLE}, trained on GazeFollow only",
        "videoattention",
        _SHORT,
        {"VTD": (0.906, 0.119), "Gaze-LLE ViT-B": (0.932, 0.105), "Gaze-LLE ViT-L": (0.937, 0.100)},
    ),
    (
        f"{_LLE}, trained on GazeFollow only",
        "goo_real",
        _SHORT,
        {"VTD": (0.670, 0.334), "Gaze-LLE ViT-B": (0.901, 0.174), "Gaze-LLE ViT-L": (0.898, 0.175)},
    ),
    (
        f"{_LLE}, trained on GazeFollow only",
        "childplay",
        _SHORT,
        {"VTD": (0.912, 0.121), "Gaze-LLE ViT-B": (0.946, 0.114), "Gaze-LLE ViT-L": (0.951, 0.101)},
    ),
    (
        _LLE,
        "childplay",
        _IN_OUT,
        {"Gaze-LLE ViT-B": (0.949, 0.106, 0.994), "Gaze-LLE ViT-L": (0.951, 0.101, 0.994)},
    ),
    (
        _MEMORY,
        "videoattention",
        _IN_OUT,
        {
            "random": (0.505, 0.458, 0.621),
            "fixed bias": (0.728, 0.326, 0.624),
            "VTD without head position": (0.835, 0.169, 0.827),
            "VTD without head features": (0.758, 0.258, 0.714),
            "VTD without attention": (0.717, 0.226, 0.774),
            "VTD without fusion": (0.853, 0.165, 0.817),
            "VTD without time": (0.854, 0.147, 0.848),
            "VTD": (0.860, 0.134, 0.853),
        },
    ),
    (
        _OWN,
        "objectattention",
        _SHORT,
        {
            "VTD trained on VAT": (0.8915, 0.1682),
            "VTD from temporal weights, batch 16, chunk 3, run 1": (0.8569, 0.0821),
            "VTD from temporal weights, batch 16, chunk 3, run 2": (0.8334, 0.0876),
            "VTD from temporal weights, batch 16, chunk 3, run 3": (0.8017, 0.0862),
            "VTD from VAT weights, batch 16, chunk 3, run 1": (0.8686, 0.1090),
            "VTD from VAT weights, batch 16, chunk 3, run 2": (0.8520, 0.1008),
            "VTD from VAT weights, batch 16, chunk 3, run 3": (0.8207, 0.0919),
        },
    ),
    (
        f"{_OWN}, last of 15 epochs (read off figures)",
        "objectattention",
        _SHORT,
        {
            "VTD, batch 4, chunk 2": (0.861, 0.105),
            "VTD, batch 4, chunk 3": (0.808, 0.076),
            "VTD, batch 4, chunk 4": (0.826, 0.082),
            "VTD, batch 16, chunk 2": (0.869, 0.069),
            "VTD, batch 16, chunk 3": (0.860, 0.075),
        },
    ),
    (
        f"{_OWN}, best of 15 epochs on the test part (read off figures)",
        "objectattention",
        _SHORT,
        {
            "VTD, batch 4, chunk 2": (0.883, 0.074),
            "VTD, batch 4, chunk 3": (0.905, 0.076),
            "VTD, batch 4, chunk 4": (0.907, 0.071),
            "VTD, batch 16, chunk 2": (0.883, 0.069),
            "VTD, batch 16, chunk 3": (0.903, 0.075),
        },
    ),
    (
        f"{_HELD_OUT}, best of 15 epochs on the test part",
        "objectattention",
        _SHORT,
        {
            "VTD, batch 4, chunk 3, group 1": (0.914, 0.080),
            "VTD, batch 4, chunk 3, group 2": (0.932, 0.074),
            "VTD, batch 4, chunk 3, group 3": (0.918, 0.078),
            "VTD, batch 4, chunk 3, group 4": (0.924, 0.075),
            "VTD, batch 4, chunk 3, group 5": (0.936, 0.076),
        },
    ),
)


def published_results(dataset: str | None = None) -> pd.DataFrame:
    """Return what papers and earlier runs report.

    The best of several epochs on a test part is an upper bound: the spread from epoch to epoch (standard deviation up
    to 0.05 of the area) exceeds the differences between settings. Areas of the rows by Ryan et al. follow protocol
    ``gazelle``, all others ``vtd``. The number of frames is not reported.

    Parameters
    ----------
    dataset
        ``gazefollow``, ``videoattention``, ``objectattention``, ``childplay`` or ``goo_real``; None for all.

    Returns
    -------
    pandas.DataFrame
        source, dataset, method, metric (as in table ``metrics``) and value.

    Examples
    --------
    >>> found = published_results("videoattention")
    >>> found.loc[(found["method"] == "one human") & (found["metric"] == "auc_box"), "value"].item()
    0.921
    """
    table = pd.DataFrame(_rows(), columns=["source", "dataset", "method", "metric", "value"])
    return table if dataset is None else table[table["dataset"] == dataset].reset_index(drop=True)


def _rows() -> Iterator[tuple[str, str, str, str, float]]:
    for source, dataset, metrics, methods in _TABLES:
        for method, values in methods.items():
            for metric, value in zip(metrics, values, strict=True):
                yield source, dataset, method, metric, value
