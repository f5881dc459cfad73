"""The methods paragraph of an experiment, to be pasted into a paper."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from nbpkg.overview.facts import Receipt
from nbpkg.overview.headlines import Headline
from nbpkg.overview.sentences import SENTENCES, Sentence
from nbpkg.studies.protocol import StudyCard

_NAMED = re.compile(r"\{([^{}]+)\}")
_WHERE = {"test": "On test sessions that no training saw", "validation": "On folds left out of training in turn"}


def write_methods(
    facts: Mapping[str, Any], headlines: Sequence[Headline], receipts: Sequence[Receipt], *, card: StudyCard | None
) -> str:
    """Write one paragraph: data, split, network, training, choice, result, seed and code.

    Parameters
    ----------
    facts
        Of `nbpkg.overview.facts.list_facts`.
    headlines
        What was found; each becomes a sentence.
    receipts
        Of all steps, that of 06 last.
    card
        Of the study; None when it is no longer there.

    Returns
    -------
    str
        Plain text. A sentence is left out when a number in it is not known.
    """
    last = receipts[-1]
    opening = [f"Unit of analysis: {card.unit}; target: {card.target}."] if card else []
    told = [fill(sentence, facts) for sentence in SENTENCES.get(last.get("kind", "clips"), ())]
    return " ".join([*opening, *filter(None, told), *_results(headlines, last), _provenance(receipts)])


def fill(sentence: Sentence, facts: Mapping[str, Any]) -> str:
    """Return a sentence with its numbers in it, or nothing when one is not known or a condition does not hold.

    Examples
    --------
    >>> fill(Sentence("{parse:clips} clips were read."), {"parse:clips": 1536})
    '1,536 clips were read.'
    >>> fill(Sentence("The last epoch was kept.", {"train.select": "last"}), {"train.select": "inner"})
    ''
    """
    named = _NAMED.findall(sentence.text)
    known = all(name in facts for name in (*named, *sentence.when))
    if not known or any(facts[name] != wanted for name, wanted in sentence.when.items()):
        return ""
    return _NAMED.sub(lambda found: as_text(facts[found.group(1)]), sentence.text)


def as_text(value: Any) -> str:
    """Return a value as it stands in prose.

    Examples
    --------
    >>> [as_text(value) for value in (1536, 0.83248, 1e-05, ["audio", "text"], "none")]
    ['1,536', '0.832', '1e-05', 'audio, text', 'none']
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _results(headlines: Sequence[Headline], receipt: Receipt) -> list[str]:
    sentences = []
    for place, one in enumerate(headlines):
        text = f"the {one.measure}{f' for {one.label}' if one.label else ''} was {one.value:.3f} ({_beside(one)})."
        sentences.append(f"{_WHERE[one.role]}, {text}" if place == 0 else text[0].upper() + text[1:])
    if headlines and headlines[0].direction == "lower":
        sentences.append("Lower is better.")
    if any(math.isfinite(one.low) for one in headlines) and "resamples" in receipt["settings"]:
        drawn = as_text(receipt["settings"]["resamples"])
        sentences.append(f"Intervals come from {drawn} bootstrap samples of {headlines[0].groups}.")
    return sentences


def _beside(one: Headline) -> str:
    """Say what makes a score honest: interval, size, chance and ceiling, as far as known."""
    parts = [f"95 % interval {one.low:.3f} to {one.high:.3f}"] if math.isfinite(one.low) else []
    parts.append(f"n = {as_text(one.n)} {one.samples} of {as_text(one.n_groups)} {one.groups}")
    known = {"chance": one.chance, "a person in the network's place": one.ceiling}
    return "; ".join([*parts, *(f"{name} {number:.3f}" for name, number in known.items() if math.isfinite(number))])


def _provenance(receipts: Sequence[Receipt]) -> str:
    last, made = receipts[-1], [receipt["provenance"] for receipt in receipts]
    commits = list(dict.fromkeys(one["git_commit"][:8] if one["git_commit"] else "outside of git" for one in made))
    changed = ", with uncommitted changes" if any(one["git_changes_sha256"] for one in made) else ""
    packages = last["provenance"]["packages"]
    torch = f", PyTorch {packages['torch']}" if "torch" in packages else ""
    return (
        f"All random numbers follow from seed {last['seed']}. Computed with nbpkg {last['provenance']['nbpkg']} (code "
        f"{', '.join(commits)}{changed}), Python {last['provenance']['python']}{torch}; run {last['key'][:8]}."
    )
