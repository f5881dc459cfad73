"""A model's answers as new tiers of a copy of an ELAN document, to be watched beside the annotators' own.

Elements are added to the document's own XML tree, so that everything else stays as it is: header, media, time slots and
tiers of the annotators, controlled vocabularies, external references, comments. (pympi would lose some of these.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, pairwise
from pathlib import Path
from xml.etree import ElementTree  # builds and writes; reading is defusedxml's

import defusedxml.ElementTree as SafeTree
import numpy as np
import pandas as pd

from nbpkg.annotations.elan import read_eaf
from nbpkg.annotations.marks import Document
from nbpkg.annotations.naming import read_name
from nbpkg.annotations.scheme import AnnotationScheme
from nbpkg.errors import AnnotationError, TableError, raise_all
from nbpkg.runs.files import new_file

PREFIX = "model_"
TYPE = {"LINGUISTIC_TYPE_ID": "model answer", "TIME_ALIGNABLE": "true", "GRAPHIC_REFERENCES": "false"}
# ids of our own series: ELAN numbers its slots ts1, ts2, … and annotations a1, a2, … and goes on from the highest
SLOT, ANNOTATION = "tsm", "am"
COLUMNS = ["tier", "start_ms", "end_ms", "value"]


def list_answers(
    predictions: pd.DataFrame, session: str, *, present: str = "yes", absent: str = "no"
) -> dict[str, pd.DataFrame]:
    """Make the tiers of one session from its predictions, one per variable, all tasks together.

    Parameters
    ----------
    predictions
        Table ``predictions``; the rows of one clip hold the same answer.
    session
        The session.
    present, absent
        Words for the two answers.

    Returns
    -------
    dict
        ``model_<variable>``: start_ms, end_ms, value and probability of every clip, as `add_prediction_tiers` takes it.

    Raises
    ------
    TableError
        When the session has no predictions.
    """
    own = predictions[predictions["session"] == session]
    if own.empty:
        raise TableError(
            f"Session {session!r} has no predictions.", expected=f"One of {sorted(set(predictions['session']))[:5]}."
        )
    tiers = {}
    for variable, part in own.groupby("variable", sort=True):
        clips = part.drop_duplicates(["task", "start_ms", "end_ms"]).sort_values(["start_ms", "end_ms"])
        value = np.where(clips["predicted"] == 1, present, absent)
        named = clips.rename(columns={"score": "probability"}).assign(value=value)
        tiers[f"{PREFIX}{variable}"] = named[["start_ms", "end_ms", "value", "probability"]].reset_index(drop=True)
    return tiers


def merge_answers(clips: pd.DataFrame) -> pd.DataFrame:
    """Turn answers for clips into spans: where clips overlap their probabilities are averaged, equal answers joined.

    Parameters
    ----------
    clips
        start_ms, end_ms, value and probability (of the answer that is given above 0.5).

    Returns
    -------
    pandas.DataFrame
        start_ms, end_ms and value: spans without overlap, in order; no span joins clips that do not touch.

    Raises
    ------
    TableError
        When a clip has no length or no probability, or one side of 0.5 has two values.

    Examples
    --------
    >>> clips = pd.DataFrame({"start_ms": [0, 10], "end_ms": [20, 30], "value": ["yes", "no"]})
    >>> merge_answers(clips.assign(probability=[0.9, 0.2])).to_numpy().tolist()
    [[0, 20, 'yes'], [20, 30, 'no']]
    """
    words = _find_words(clips)
    if clips.empty:
        return pd.DataFrame({"start_ms": [], "end_ms": [], "value": []}).astype({"start_ms": int, "end_ms": int})
    start, end = clips["start_ms"].to_numpy(np.int64), clips["end_ms"].to_numpy(np.int64)
    borders = np.unique(np.concatenate([start, end]))
    change = np.zeros(len(borders)), np.zeros(len(borders))
    for steps, weight in zip(change, (np.ones(len(clips)), clips["probability"].to_numpy(float)), strict=True):
        np.add.at(steps, np.searchsorted(borders, start), weight)
        np.add.at(steps, np.searchsorted(borders, end), -weight)
    covering, total = (steps.cumsum() for steps in change)
    # sums of the same numbers in another order differ in the last digits, which must not tip a mean of 0.5
    answer = (total > 0.5 * covering + 1e-9).tolist()
    rows: list[list[object]] = []
    for place, (begin, stop) in enumerate(pairwise(borders.tolist())):
        if round(covering[place]) == 0:
            continue
        word = words[answer[place]]
        if rows and rows[-1][1] == begin and rows[-1][2] == word:
            rows[-1][1] = stop
        else:
            rows.append([begin, stop, word])
    return pd.DataFrame(rows, columns=COLUMNS[1:])


def write_copies(
    sources: Sequence[Path], predictions: pd.DataFrame, folder: Path, *, scheme: AnnotationScheme, author: str
) -> pd.DataFrame:
    """Write one ELAN document for every session answered: the first rater's, with the answers as further tiers.

    Parameters
    ----------
    sources
        Annotation files; those of another format than ELAN's, or whose name tells no session, are passed over.
    predictions
        Table ``predictions`` of the sessions wanted.
    folder
        Receives the copies, under their own names.
    scheme
        What names look like, and the word for unmarked time.
    author
        Noted as the annotator of the new tiers.

    Returns
    -------
    pandas.DataFrame
        session, file, and for each the number of new tiers and annotations.
    """
    rows = []
    for session in sorted(predictions["session"].unique()):
        names = ((path, read_name(path, scheme, Document(path.name))) for path in sources if path.suffix == ".eaf")
        own = [path for path, name in names if name is not None and name.session == session]
        if not own:
            continue
        answers = list_answers(predictions, session, absent=scheme.absent)
        written = add_prediction_tiers(own[0], answers, folder / own[0].name, author=author)
        size = {"tiers": written["tier"].nunique(), "annotations": len(written)}
        rows.append({"session": session, "file": own[0].name, **size})
    return pd.DataFrame(rows, columns=["session", "file", "tiers", "annotations"])


def add_prediction_tiers(
    source: Path,
    predictions: Mapping[str, pd.DataFrame],
    destination: Path,
    *,
    author: str,
    duration_ms: int | None = None,
) -> pd.DataFrame:
    """Write a copy of an ELAN document with a model's answers as further tiers.

    One annotation per run of equal answers (see `merge_answers`). Times are written in the document's own count: where
    it notes that the video was started late (TIME_ORIGIN), that is taken off again, and what lies before ELAN's zero is
    cut off. A tier of the same name that `author` wrote earlier is replaced, so that doing it twice gives the same
    bytes.

    Parameters
    ----------
    source
        The ``.eaf`` file; it is never changed.
    predictions
        Name of each new tier and its clips: start_ms, end_ms (from the start of the video), value and probability. A
        tier ``model_<name>`` takes over the participant of tier ``<name>``.
    destination
        The ``.eaf`` file to write.
    author
        Noted as the annotator of the new tiers; by it they are known again.
    duration_ms
        Length of the video; answers beyond its end are cut off there.

    Returns
    -------
    pandas.DataFrame
        The new annotations as written: tier, start_ms, end_ms (in ELAN's count) and value.

    Raises
    ------
    AnnotationError
        When the source cannot be read without error, is the destination, or holds a tier of such a name that someone
        else wrote or others hang on.
    TableError
        When the clips cannot be merged.
    """
    if source.resolve() == destination.resolve():
        raise AnnotationError(
            "The copy would replace the annotator's own file.", where=str(source), remedy="Write it to another folder."
        )
    if not author:
        raise AnnotationError("The new tiers need an author.", expected="A name that no annotator has.")
    raise_all(read_eaf(source).problems, AnnotationError, summary="the file takes no new tiers.")
    root = _parse(source)
    _take_out(root, set(predictions), author)
    _refuse_foreign(root, set(predictions), source.name)
    offset = _find_offset(root)
    spans = {name: _in_own_time(merge_answers(clips), offset, duration_ms) for name, clips in predictions.items()}
    _add(root, spans, author)
    with new_file(destination) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)
    tables_ = [rows.assign(tier=name)[COLUMNS] for name, rows in spans.items() if len(rows)]
    return pd.concat(tables_, ignore_index=True) if tables_ else pd.DataFrame(columns=COLUMNS)


def _find_words(clips: pd.DataFrame) -> dict[bool, str]:
    """Find the words for answers above 0.5 and up to it; where all clips are on one side, so are their means."""
    broken = clips[(clips["end_ms"] <= clips["start_ms"]) | clips["probability"].isna()]
    if len(broken):
        one = broken.iloc[0]
        raise TableError(
            f"{len(broken)} clips have no length or no probability.",
            where=f"e.g. {one['start_ms']} to {one['end_ms']} ms, probability {one['probability']}",
        )
    words: dict[bool, str] = {}
    for is_above, part in clips.groupby(clips["probability"] > 0.5):
        if len(set(part["value"])) > 1:
            side = "above" if is_above else "up to"
            raise TableError(
                f"Probabilities {side} 0.5 stand for {' and '.join(sorted(set(part['value'])))}.",
                expected="One value above 0.5 and one up to it.",
            )
        words[bool(is_above)] = str(part["value"].iloc[0])
    return {**dict.fromkeys((True, False), next(iter(words.values()), "")), **words}


def _parse(path: Path) -> ElementTree.Element:
    """Read the tree, comments included; `read_eaf` has made sure that there is one."""
    builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
    parser = SafeTree.DefusedXMLParser(target=builder, forbid_dtd=True)
    parser.feed(path.read_bytes())
    root: ElementTree.Element = parser.close()
    return root


def _take_out(root: ElementTree.Element, names: set[str], author: str) -> None:
    """Take out tiers of these names that the author wrote earlier, and the time slots that only they used."""
    old = [tier for tier in root.findall("TIER") if tier.get("TIER_ID") in names and tier.get("ANNOTATOR") == author]
    hanging = {tier.get("PARENT_REF") for tier in root.findall("TIER")} & {tier.get("TIER_ID") for tier in old}
    if hanging:
        raise AnnotationError(
            f"Tier {hanging.pop()!r} cannot be replaced: another tier hangs on it.",
            remedy="Give the new tier another name, or start from the annotator's own file.",
        )
    freed = {slot for tier in old for slot in _used_slots(tier)}
    for tier in old:
        root.remove(tier)
    freed -= {slot for tier in root.findall("TIER") for slot in _used_slots(tier)}
    order = root.find("TIME_ORDER")
    for slot in list(order) if order is not None else []:
        if slot.get("TIME_SLOT_ID") in freed and order is not None:
            order.remove(slot)


def _used_slots(tier: ElementTree.Element) -> Iterator[str]:
    for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
        yield annotation.get("TIME_SLOT_REF1", "")
        yield annotation.get("TIME_SLOT_REF2", "")


def _refuse_foreign(root: ElementTree.Element, names: set[str], file: str) -> None:
    for tier in root.findall("TIER"):
        if tier.get("TIER_ID") in names:
            raise AnnotationError(
                f"Tier {tier.get('TIER_ID')!r} is there already, by {tier.get('ANNOTATOR') or 'nobody stated'}.",
                where=file,
                expected="No tier of that name, or one by the same author.",
                remedy="Give the new tier another name.",
            )


def _find_offset(root: ElementTree.Element) -> int:
    """Return what `read_eaf` adds to the document's times: TIME_ORIGIN of the first video, else of the first media."""
    media = root.findall("HEADER/MEDIA_DESCRIPTOR")
    videos = [item for item in media if item.get("MIME_TYPE", "").startswith("video")] or media
    return int(videos[0].get("TIME_ORIGIN", "0")) if videos else 0


def _in_own_time(spans: pd.DataFrame, offset: int, duration_ms: int | None) -> pd.DataFrame:
    """Count from ELAN's zero, and leave out what the video or ELAN has no time for."""
    last = None if duration_ms is None else duration_ms - offset
    start, end = (spans["start_ms"] - offset).clip(0), (spans["end_ms"] - offset).clip(upper=last)
    moved = spans.assign(start_ms=start, end_ms=end)
    return moved[moved["start_ms"] < moved["end_ms"]].reset_index(drop=True)


def _add(root: ElementTree.Element, spans: Mapping[str, pd.DataFrame], author: str) -> None:
    """Add time slots in order of time, the tiers behind the last tier, and their linguistic type."""
    order = root.find("TIME_ORDER")
    if order is None:
        raise AnnotationError("The document has no TIME_ORDER.", remedy="Open the file in ELAN, save it and try again.")
    kind = _find_type(root)
    participants = {tier.get("TIER_ID", ""): tier.get("PARTICIPANT") for tier in root.findall("TIER")}
    slot_ids = _free_ids(SLOT, [slot.get("TIME_SLOT_ID", "") for slot in order.iter("TIME_SLOT")])
    ids = _free_ids(ANNOTATION, [item.get("ANNOTATION_ID", "") for item in root.iter() if item.get("ANNOTATION_ID")])
    made: list[tuple[int, ElementTree.Element]] = []
    place = max((index for index, item in enumerate(root) if item.tag in ("TIER", "TIME_ORDER")), default=0) + 1
    for name, rows in spans.items():
        tier = ElementTree.Element("TIER", {"TIER_ID": name, "ANNOTATOR": author, "LINGUISTIC_TYPE_REF": kind})
        participant = participants.get(name.removeprefix(PREFIX))
        if participant:
            tier.set("PARTICIPANT", participant)
        for start, end, value in rows[COLUMNS[1:]].itertuples(index=False, name=None):
            pair = [next(slot_ids), next(slot_ids)]
            for slot, time in zip(pair, (start, end), strict=True):
                made.append((time, ElementTree.Element("TIME_SLOT", {"TIME_SLOT_ID": slot, "TIME_VALUE": str(time)})))
            facts = {"ANNOTATION_ID": next(ids), "TIME_SLOT_REF1": pair[0], "TIME_SLOT_REF2": pair[1]}
            own = ElementTree.SubElement(ElementTree.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION", facts)
            ElementTree.SubElement(own, "ANNOTATION_VALUE").text = value
        ElementTree.indent(tier, "    ", level=1)
        tier.tail = "\n    "
        root.insert(place, tier)
        place += 1
    _insert_slots(order, made)


def _insert_slots(order: ElementTree.Element, made: Sequence[tuple[int, ElementTree.Element]]) -> None:
    """Put each new slot before the first one of a later time, where ELAN puts it; the others keep their order."""
    waiting = sorted(made, key=lambda item: item[0])[::-1]
    merged: list[ElementTree.Element] = []
    for slot in order:
        time = slot.get("TIME_VALUE")
        while waiting and time is not None and waiting[-1][0] < int(time):
            merged.append(waiting.pop()[1])
        merged.append(slot)
    merged += [slot for _, slot in reversed(waiting)]
    for _, slot in made:
        slot.tail = "\n        "
    order[:] = merged


def _find_type(root: ElementTree.Element) -> str:
    """Return a linguistic type for tiers with times of their own and free text, adding ours where it is not there."""
    types = root.findall("LINGUISTIC_TYPE")
    known = {item.get("LINGUISTIC_TYPE_ID", ""): dict(item.attrib) for item in types}
    for number in count(1):
        wanted = {**TYPE, "LINGUISTIC_TYPE_ID": TYPE["LINGUISTIC_TYPE_ID"] + (f" {number}" if number > 1 else "")}
        name = wanted["LINGUISTIC_TYPE_ID"]
        if known.get(name) == wanted:
            return name
        if name not in known:
            break
    own = ElementTree.Element("LINGUISTIC_TYPE", wanted)
    own.tail = "\n    "
    before = [index for index, item in enumerate(root) if item.tag in ("TIER", "TIME_ORDER", "LINGUISTIC_TYPE")]
    root.insert(max(before) + 1, own)
    return name


def _free_ids(prefix: str, taken: Sequence[str]) -> Iterator[str]:
    """Go on from the highest id of our series."""
    numbers = [int(name.removeprefix(prefix)) for name in taken if re.fullmatch(rf"{prefix}[0-9]+", name)]
    return (f"{prefix}{number}" for number in count(max(numbers, default=0) + 1))
