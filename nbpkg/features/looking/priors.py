"""What is known of each face beforehand, one row for each face; one rule for what is not known: NaN, and counted."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nbpkg import tables
from nbpkg.errors import TableError
from nbpkg.features.looking.packs import EMPTY, NO_FRAME, PackFacts

POINTS = 5
POINT_NAMES = ("nose", "left eye", "right eye", "left corner of the mouth", "right corner of the mouth")
PRIOR_DTYPE = np.dtype(
    [
        ("crop", "?"),
        ("yaw", "<f4"),
        ("pitch", "<f4"),
        ("roll", "<f4"),
        ("points", "<f4", (POINTS, 4)),
        ("sharpness", "<f8"),
    ]
)
ANGLES = ("yaw", "pitch", "roll")
_MIRRORED = [0, 2, 1, 4, 3]  # which point stands where each stood: eyes and corners of the mouth change sides


def gather_priors(
    facts: PackFacts, *, head_pose: NDArray[np.floating] | None = None, points: NDArray[np.floating] | None = None
) -> NDArray[np.void]:
    """Lay what is known of each face side by side.

    Parameters
    ----------
    facts
        Which faces have a crop, and how sharp it is.
    head_pose
        Yaw, pitch and roll, degrees, ``[faces, 3]``; NaN where unknown. A pose known in part is not known.
    points
        Nose, left and right eye, left and right corner of the mouth, each as x and y in crop sides, z, visibility,
        ``[faces, 5, 4]``; NaN where unknown. Points known in part are not known.

    Returns
    -------
    ndarray
        `PRIOR_DTYPE` ``[faces]``.

    Raises
    ------
    TableError
        When lengths differ.
    """
    count = len(facts.reason)
    priors = np.zeros(count, PRIOR_DTYPE)
    priors["crop"], priors["sharpness"] = facts.has_crop, facts.sharpness
    for name in (*ANGLES, "points"):
        priors[name] = np.nan
    for what, values, shape in (("pose", head_pose, (count, 3)), ("points", points, (count, POINTS, 4))):
        if values is not None and values.shape != shape:
            raise TableError(
                f"The {what} of faces have shape {values.shape}.",
                expected=f"{shape}, a row for each face.",
                remedy="Make them from the same tracks.",
            )
    if head_pose is not None:
        known = np.isfinite(head_pose).all(axis=1)
        for place, name in enumerate(ANGLES):
            priors[name] = np.where(known, head_pose[:, place], np.nan)
    if points is not None:
        known = np.isfinite(points).all(axis=(1, 2))
        priors["points"] = np.where(known[:, None, None], points, np.nan)
    return priors


def read_angles(priors: NDArray[np.void]) -> NDArray[np.float32]:
    """Return yaw, pitch and roll, float32 ``[n, 3]``, degrees; NaN where unknown."""
    return np.stack([priors[name] for name in ANGLES], axis=-1)


def mirror_angles(angles: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the pose of mirrored faces: yaw and roll change their sign.

    Parameters
    ----------
    angles
        ``[..., 3]``: yaw, pitch, roll.

    Examples
    --------
    >>> mirror_angles(np.array([30.0, -5.0, 2.0])).tolist()
    [-30.0, -5.0, -2.0]
    """
    return angles * np.array([-1, 1, -1], angles.dtype)


def mirror_landmarks(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the points of mirrored faces: x changes its sign, and both sides of the face change their names.

    Parameters
    ----------
    vectors
        ``[..., 15]``: five x and five y from the middle between the eyes, five confidences
        (`nbpkg.models.looking.priors.normalise_landmarks`).

    Examples
    --------
    >>> mirror_landmarks(np.array([0.1, -0.2, 0.2, -0.1, 0.3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).tolist()
    [-0.1, -0.2, 0.2, -0.3, 0.1, 1.0, 3.0, 2.0, 5.0, 4.0, 6.0, 8.0, 7.0, 10.0, 9.0]
    """
    parts = vectors.reshape(*vectors.shape[:-1], 3, POINTS)[..., _MIRRORED]
    signs = np.array([-1, 1, 1], vectors.dtype)[:, None]
    return cast(NDArray[np.floating], (parts * signs).reshape(vectors.shape))


def table_crops(tracks: pd.DataFrame, priors: NDArray[np.void], *, facts: PackFacts) -> pd.DataFrame:
    """Count crops, reasons for their absence and priors of each track.

    Parameters
    ----------
    tracks
        Table ``tracks``.
    priors
        Of all faces.
    facts
        Of all faces.

    Returns
    -------
    pandas.DataFrame
        Table ``crops``.
    """
    flags = {
        "crops": priors["crop"],
        "no_frame": facts.reason == NO_FRAME,
        "empty": facts.reason == EMPTY,
        "head_poses": priors["crop"] & np.isfinite(priors["yaw"]),
        "landmarks": priors["crop"] & np.isfinite(priors["points"][:, 0, 0]),
    }
    rows = []
    for track in tracks.itertuples():
        own = slice(int(cast(int, track.offset)), int(cast(int, track.offset)) + int(cast(int, track.rows)))
        sharpness = priors["sharpness"][own]
        known = sharpness[np.isfinite(sharpness)]
        counts = {name: int(flag[own].sum()) for name, flag in flags.items()}
        middle = float(np.median(known)) if len(known) else np.nan
        head = {"session": track.session, "track": track.track, "faces": int(cast(int, track.rows))}
        rows.append({**head, **counts, "sharpness": middle})
    columns = [column.name for column in tables.CONTRACTS["crops"].columns]
    return tables.from_rows(({name: row[name] for name in columns} for row in rows), "crops")


def count_missing(priors: NDArray[np.void], parts: dict[str, NDArray[np.bool_]]) -> pd.DataFrame:
    """Count what is not known of the crops of each part.

    Parameters
    ----------
    priors
        Of all faces.
    parts
        Which faces are in each part, e.g. train, val, test.

    Returns
    -------
    pandas.DataFrame
        A row for each part and prior, with columns ``part``, ``prior`` (head pose, points, sharpness), ``crops``,
        ``missing``.
    """
    unknown = {
        "head pose": np.isnan(priors["yaw"]),
        "points": np.isnan(priors["points"][:, 0, 0]),
        "sharpness": np.isnan(priors["sharpness"]),
    }
    rows = [
        (part, name, int((priors["crop"] & inside).sum()), int((missing & priors["crop"] & inside).sum()))
        for part, inside in parts.items()
        for name, missing in unknown.items()
    ]
    return pd.DataFrame(rows, columns=["part", "prior", "crops", "missing"])
