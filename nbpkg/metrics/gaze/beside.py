"""A network's scores beside those of answers that look at nothing, of people, and of papers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd

from nbpkg import tables
from nbpkg.metrics.gaze.auc import Protocol
from nbpkg.metrics.gaze.baselines import make_baselines, score_baseline
from nbpkg.metrics.gaze.distance import Reading
from nbpkg.metrics.gaze.human import score_annotators
from nbpkg.metrics.gaze.published import published_results
from nbpkg.metrics.gaze.scores import Part, summarise_scores
from nbpkg.metrics.gaze.stream import Truth

CHANCE = "training density"  # what stands as chance in tables: where people look in the training part, whoever it is
PARTS: tuple[Part, ...] = ("all", "participant", "session", "rater")


def split_kinds(gaze: pd.DataFrame, photographs: Collection[str]) -> dict[Truth, pd.DataFrame]:
    """Divide rows by what answers are held against, leaving out what there is none of.

    Parameters
    ----------
    gaze
        Table ``gaze``.
    photographs
        Data sets of single pictures with several annotators each: their answers are held against all ``points``
        together, those of video against each annotator's ``box``.
    """
    single = gaze["dataset"].isin(list(photographs))
    kinds: dict[Truth, pd.DataFrame] = {"box": gaze[~single], "points": gaze[single]}
    return {truth: rows.reset_index(drop=True) for truth, rows in kinds.items() if len(rows)}


def score_blind(
    train: pd.DataFrame,
    kinds: Mapping[Truth, pd.DataFrame],
    *,
    protocol: Protocol,
    reading: Reading,
    seed: int,
) -> pd.DataFrame:
    """Score all answers that do not see the picture, on the test rows.

    Parameters
    ----------
    train
        Training rows of table ``gaze``: what is known without looking. Data sets that have none are answered by all.
    kinds
        Test rows, from `split_kinds`.
    protocol, reading
        As the network is scored.
    seed
        Of the random answer.

    Returns
    -------
    pandas.DataFrame
        Rows of table ``gaze_scores``, baselines apart by ``predictor``.
    """
    found = []
    for truth, rows in kinds.items():
        for dataset, own in rows.groupby("dataset", sort=True):
            known = train[train["dataset"] == dataset]
            for baseline in make_baselines(known if (known["inside"] == 1).any() else train, seed=seed):
                asked = own.reset_index(drop=True)
                found.append(score_baseline(baseline, asked, truth=truth, protocol=protocol, reading=reading))
    return pd.concat(found, ignore_index=True)


def score_people(kinds: Mapping[Truth, pd.DataFrame], *, protocol: Protocol) -> pd.DataFrame:
    """Score annotators in the network's place, on the test rows that have several.

    Returns
    -------
    pandas.DataFrame
        Rows of table ``gaze_scores``; none where nobody shares a frame.
    """
    found = [score_annotators(rows, truth=truth, protocol=protocol) for truth, rows in kinds.items()]
    return pd.concat(found, ignore_index=True) if found else tables.empty("gaze_scores")


def summarise_beside(
    scores: pd.DataFrame, blind: pd.DataFrame, people: pd.DataFrame, *, seed: int, resamples: int
) -> pd.DataFrame:
    """Summarise a network's scores with chance and human ceiling, all data sets in one table.

    Parameters
    ----------
    scores, blind, people
        Rows of table ``gaze_scores``: of the network, from `score_blind`, and from `score_people`.
    seed, resamples
        Of the intervals.

    Returns
    -------
    pandas.DataFrame
        Table ``metrics``; chance is the training density's score.
    """
    found = []
    for truth, own in scores.groupby("truth", sort=True):
        prior = blind[(blind["predictor"] == CHANCE) & (blind["truth"] == truth)]
        ceiling = people[people["truth"] == truth]
        held = ceiling if len(ceiling) else None
        found.append(summarise_scores(own, seed=seed, by=PARTS, chance=prior, ceiling=held, resamples=resamples))
    return tables.check(pd.concat(found, ignore_index=True), "metrics")


def list_references(blind: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """List what others reach: every answer that does not see the picture on these frames, and papers on their own.

    Parameters
    ----------
    blind
        From `score_blind`.
    seed
        Of the summaries.

    Returns
    -------
    pandas.DataFrame
        dataset, metric, name, kind (prior or published), value.
    """
    rows = []
    for (_, name), own in blind.groupby(["truth", "predictor"], sort=False):
        summary = summarise_scores(own, seed=seed, by=("all",), resamples=2)
        rows.append(summary[["task", "metric", "value"]].assign(name=str(name), kind="prior"))
    prior = pd.concat(rows, ignore_index=True).rename(columns={"task": "dataset"})
    papers = published_results()
    known = papers[papers["dataset"].isin(prior["dataset"])].rename(columns={"method": "name"})
    main = known[known["name"].isin(["VTD", "Gaze-LLE ViT-B", "Gaze-LLE ViT-L"])].drop_duplicates(
        ["dataset", "metric", "name"]
    )
    columns = ["dataset", "metric", "name", "kind", "value"]
    return pd.concat([prior, main.assign(kind="published")], ignore_index=True)[columns]
