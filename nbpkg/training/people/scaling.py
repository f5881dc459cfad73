"""Tokens of several people on one scale: fitted on the recordings of one training, carried along with its network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from nbpkg.baking.people import PersonRecording

Scales = Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]  # modality to mean and spread of each feature


def fit_scales(recordings: Iterable[PersonRecording]) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return mean and standard deviation of each feature over all tokens that hold something.

    Parameters
    ----------
    recordings
        What is learnt from, and nothing else: a statistic of families left out must not reach a training.

    Returns
    -------
    dict
        Modality to means and standard deviations; 1 in the place of a deviation of 0.
    """
    sums: dict[str, list[np.ndarray]] = {}
    for one in recordings:
        for name, tokens in one.conversations.tokens.items():
            there = tokens[one.conversations.valid[name]].double().numpy()
            own = sums.setdefault(name, [np.zeros(1), np.zeros(tokens.shape[-1]), np.zeros(tokens.shape[-1])])
            own[0] += len(there)
            own[1] += there.sum(axis=0)
            own[2] += (there**2).sum(axis=0)
    found = {}
    for name, (count, total, squares) in sorted(sums.items()):
        mean = total / np.maximum(count, 1)
        spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
        spread = np.where(spread > 1e-6 * np.maximum(np.abs(mean), 1), spread, 1.0)
        found[name] = (tuple(mean.tolist()), tuple(spread.tolist()))
    return found


class ScaledRecordings(Mapping[str, PersonRecording]):
    """Recordings whose tokens have been scaled, each when first asked for.

    Parameters
    ----------
    recordings
        As baked.
    scales
        Of `fit_scales`; modalities without one stay as they are.
    """

    def __init__(self, recordings: Mapping[str, PersonRecording], scales: Scales) -> None:
        self.recordings, self.scales = recordings, scales
        self._made: dict[str, PersonRecording] = {}

    def __getitem__(self, name: str) -> PersonRecording:
        if name not in self._made:
            self._made[name] = self._scale(self.recordings[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.recordings)

    def __len__(self) -> int:
        return len(self.recordings)

    def __getstate__(self) -> dict[str, object]:
        return {"recordings": self.recordings, "scales": self.scales, "_made": {}}

    def _scale(self, one: PersonRecording) -> PersonRecording:
        tokens = dict(one.conversations.tokens)
        for name in tokens.keys() & self.scales.keys():
            mean, spread = (torch.tensor(values, dtype=torch.float32) for values in self.scales[name])
            tokens[name] = (tokens[name] - mean) / spread
        return replace(one, conversations=one.conversations._replace(tokens=tokens))
