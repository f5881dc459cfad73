"""What a trained network is asked: windows of people are covered, networks of clips show where they look."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch

from nbpkg import tables
from nbpkg.attention.people.clip_regions import correlate_regions, measure_cues
from nbpkg.attention.people.explain import ExplainedClips, Veil, choose_explained, explain_clips
from nbpkg.attention.people.importance import TWIN, explain_conversations, random_twin
from nbpkg.attention.people.views import Look, look_at_clips
from nbpkg.errors import ExplainError
from nbpkg.features.people.tokens import window_frames
from nbpkg.models.people.cross_person.memory_transformer import CrossPersonMemoryTransformer
from nbpkg.settings.people import PeopleExplainSettings
from nbpkg.training.people.material import PeopleMaterial
from nbpkg.training.people.saved import TrainedNetwork


class Asked(NamedTuple):
    """What a network was asked; empty tables for what does not apply to its kind.

    Parameters
    ----------
    importance
        Table ``people_importance``, of the network and of its twin with random weights.
    films, regions
        As in `nbpkg.attention.people.explain.ExplainedClips`.
    cues
        How region scores go with what people do.
    clips
        Clips that were asked about, of families that did not teach the network.
    look
        How a network of clips sees them; None for others.
    """

    importance: pd.DataFrame
    films: pd.DataFrame
    regions: pd.DataFrame
    cues: pd.DataFrame
    clips: pd.DataFrame
    look: Look | None


def ask_network(
    trained: TrainedNetwork,
    material: PeopleMaterial,
    *,
    settings: PeopleExplainSettings,
    folder: Path,
    seed: int,
    device: torch.device,
    veil: Veil,
    privacy: str = "pixelated",
) -> Asked:
    """Explain what a network answers for families that did not teach it.

    Parameters
    ----------
    trained
        The network.
    material
        With the clips of these families.
    settings
        What is asked.
    folder
        Run folder; films are written below it, finished ones kept.
    seed
        Of the choice of clips, and of the twin.
    device
        Where to compute.
    veil, privacy
        `nbpkg.plots.frames.veil`, and how people may be shown.

    Raises
    ------
    ExplainError
        When all families taught the network, or as the explanations say.
    """
    unseen = material.clips[~material.clips["session"].isin([*trained.train, *trained.inner])]
    if unseen.empty:
        raise ExplainError(
            "Every family taught the network.",
            expected="Families left out, or kept for the end.",
            remedy="Use more folds.",
        )
    network = trained.build("best").to(device).eval()
    if isinstance(network, CrossPersonMemoryTransformer):
        seen = trained.see(material).recordings
        wanted = {name: seen[name] for name in unseen["recording"].unique()}
        found = explain_conversations(network, wanted, lags=settings.lags, system=trained.system)
        twin = explain_conversations(random_twin(network, seed=seed), wanted, lags=settings.lags, system=TWIN)
        nothing = pd.DataFrame()
        return Asked(pd.concat([found, twin]), nothing, tables.empty("people_regions"), nothing, unseen, None)
    clips = choose_explained(unseen, material.folds, count=settings.clips, seed=seed)
    look = look_at_clips(trained.settings.network, material, device=device)
    explained = explain_clips(
        network,
        clips,
        look=look,
        people=material.people,
        settings=settings,
        folder=folder,
        system=trained.system,
        veil=veil,
        privacy=privacy,
    )
    cues = _correlate(explained, material, clips)
    return Asked(tables.empty("people_importance"), explained.films, explained.regions, cues, clips, look)


def _correlate(explained: ExplainedClips, material: PeopleMaterial, clips: pd.DataFrame) -> pd.DataFrame:
    """Hold region scores against what people do in the clips."""
    if material.people is None or material.media is None:
        return pd.DataFrame()
    windows = window_frames(clips, material.media)
    spans = {name: (one.first, one.stop - one.first) for name, one in windows.items()}
    cues = measure_cues(material.people, clips, spans=spans, media=material.media)
    return correlate_regions(explained.regions, cues)
