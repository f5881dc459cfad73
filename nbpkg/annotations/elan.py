"""ELAN documents (EAF 2.7 to 3.0) to marks on tiers.

pympi-ling reads the document, but never the file as it came: its XML parser expands entities, and it stops with a
``KeyError`` where an optional attribute is missing. So defusedxml reads the file first, every element that would be
lost or stop pympi is reported, and pympi gets the cleaned copy. What pympi does not keep (references into
controlled vocabularies, document order of mixed tiers) is taken from the checked XML.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree  # builds and writes; reading is defusedxml's

import defusedxml.ElementTree as SafeTree
import pandas as pd
import pympi
from defusedxml import DefusedXmlException

from nbpkg import tables
from nbpkg.annotations.marks import Document, Mark, show_name
from nbpkg.errors import Problem

SCHEMA = "{http://www.w3.org/2001/XMLSchema-instance}noNamespaceSchemaLocation"
KNOWN_FORMATS = ("2.7", "2.8", "3.0")
OPEN_IN_ELAN = "Open the file in ELAN, save it and try again."


@dataclass(frozen=True)
class _Annotation:
    """One annotation of the document before its time is known."""

    tier: str
    number: int
    value: str
    slots: tuple[str, str] | None
    parent: str


def read_eaf(path: Path, *, media_offset: Literal["apply", "ignore"] = "apply") -> Document:
    """Read every tier of an ELAN document.

    Symbolic annotations get their parent's time (subdivisions an even share of it), unaligned boundaries of a time
    subdivision are spread evenly, as ELAN shows them. Nothing is raised for a broken file: what could not be read is
    in the document's findings.

    Parameters
    ----------
    path
        The ``.eaf`` file.
    media_offset
        ``apply`` adds the TIME_ORIGIN that ELAN notes for a video started late, so that times count from the
        video's own first frame.

    Returns
    -------
    Document
        Marks in document order, times in milliseconds, with everything noticed.
    """
    document = Document(show_name(path.name))
    root = _parse(path, document)
    if root is None:
        return document
    _check_header(root, document)
    slots = _clean_slots(root, document)
    annotations, references = _clean_tiers(root, document, slots)
    eaf = _hand_to_pympi(root)
    offset = _find_offset(eaf, document) if media_offset == "apply" else 0
    times = _Times(eaf, annotations, document)
    for name, annotation in annotations.items():
        span = times.of(name)
        if span is None:
            continue
        value = annotation.value or _from_vocabulary(eaf, annotation.tier, references.get(name, ""))
        mark = Mark(annotation.tier, value, span[0] + offset, span[1] + offset, annotation.number)
        document.marks.append(mark)
    return document


def read_eaf_table(path: Path) -> tuple[pd.DataFrame, list[Problem]]:
    """Read any ELAN document without a scheme.

    Parameters
    ----------
    path
        The ``.eaf`` file.

    Returns
    -------
    annotations : pandas.DataFrame
        Table ``annotations`` of all tiers: session is the file's stem, rater the annotator the tier notes.
    problems : list of Problem
        What was noticed; reversed and zero-length annotations are left out of the table and listed.
    """
    document = read_eaf(path)
    for mark in document.marks:
        if mark.end_ms <= mark.start_ms or mark.start_ms < 0:
            document.note(
                f"The annotation goes from {mark.start_ms} to {mark.end_ms} ms and was left out.",
                remedy="Correct it in ELAN.",
                tier=mark.tier,
                row=mark.row,
                start_ms=mark.start_ms,
            )
    rows = (
        {
            "session": show_name(path.stem),
            "rater": document.tiers[mark.tier],
            "tier": mark.tier,
            "value": mark.value,
            "start_ms": mark.start_ms,
            "end_ms": mark.end_ms,
            "file": document.file,
            "row": mark.row,
        }
        for mark in document.marks
        if 0 <= mark.start_ms < mark.end_ms
    )
    return tables.from_rows(rows, "annotations"), document.problems


def _parse(path: Path, document: Document) -> ElementTree.Element | None:
    """Read the XML without ever expanding an entity; None, with a finding, when there is none to read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        document.note(f"The file cannot be opened: {error.strerror}.", remedy="Check the file and its permissions.")
        return None
    if not content.strip():
        document.note("The file is empty.", expected="An ELAN document.", remedy="Export or copy it again.")
        return None
    try:
        root: ElementTree.Element = SafeTree.fromstring(content, forbid_dtd=True)
    except DefusedXmlException:
        document.note(
            "The file declares a document type or entities, which ELAN never writes and which can be an attack.",
            expected="Plain XML.",
            remedy="Do not open it; get the original file again.",
        )
        return None
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        document.note(
            f"The file is no complete XML ({error}).", expected="An ELAN document.", remedy="Copy or export it again."
        )
        return None
    if root.tag != "ANNOTATION_DOCUMENT":
        document.note(
            f"The file is XML, but its root is {root.tag[:40]!r}.",
            expected="ANNOTATION_DOCUMENT, as ELAN writes it.",
            remedy="Give the .eaf file, not another XML file.",
        )
        return None
    return root


def _check_header(root: ElementTree.Element, document: Document) -> None:
    """Check format, unit and media, and fill in the attributes that pympi insists on."""
    version = root.get("FORMAT", root.get("VERSION", ""))
    if version not in KNOWN_FORMATS:
        document.note(
            f"The document's format is {version or 'not stated'}.",
            expected=f"Formats {', '.join(KNOWN_FORMATS)} were tested.",
            remedy="Compare the first rows with ELAN.",
            severity="warning",
            reference="accepted",
        )
    root.set("VERSION", root.get("VERSION", "3.0"))
    root.set(SCHEMA, root.get(SCHEMA, ""))
    header = root.find("HEADER")
    unit = header.get("TIME_UNITS") if header is not None else None
    if unit is None:
        document.note(
            "TIME_UNITS is missing; milliseconds were taken, as the format says.", severity="warning", reference="error"
        )
    elif unit != "milliseconds":
        document.note(f"Times are in {unit}.", expected="milliseconds.", remedy="Save the file with ELAN 3 or later.")
    media = header.findall("MEDIA_DESCRIPTOR") if header is not None else []
    if not media:
        document.note("No media file is linked.", severity="warning", reference="error")
    elif media[0].get("RELATIVE_MEDIA_URL") is None or media[0].get("MEDIA_URL") is None:
        document.note("The media file has no relative address.", severity="warning", reference="error")
    document.media = [item.get("MEDIA_URL", item.get("RELATIVE_MEDIA_URL", "")) for item in media]
    for tag, wanted in (("LICENSE", ("LICENSE_URL",)), ("CONSTRAINT", ("STEREOTYPE", "DESCRIPTION"))):
        for element in root.findall(tag):
            for attribute in wanted:
                element.set(attribute, element.get(attribute, ""))


def _clean_slots(root: ElementTree.Element, document: Document) -> set[str]:
    """Report and take out time slots without id, with a broken or a repeated one; return the ids that remain."""
    kept: set[str] = set()
    order = root.find("TIME_ORDER")
    unaligned = 0
    for slot in list(order) if order is not None else []:
        name, value = slot.get("TIME_SLOT_ID"), slot.get("TIME_VALUE")
        broken = value is not None and not value.strip().removeprefix("-").isdecimal()
        if not name or name in kept or broken:
            what = (
                f"Time slot {name!r} has the time {value!r}."
                if broken
                else f"Time slot {name!r} is repeated or has no id."
            )
            document.note(what, expected="Ids once each, whole milliseconds.", remedy=OPEN_IN_ELAN)
            order.remove(slot)  # type: ignore[union-attr]
            continue
        kept.add(name)
        unaligned += value is None
        if not any(map(str.isdigit, name)):
            order.remove(slot)  # type: ignore[union-attr]
            document.note(f"The id {name!r} of a time slot has no number.", expected="ts1, ts2, …", remedy=OPEN_IN_ELAN)
            kept.discard(name)
    if unaligned:
        document.note(
            f"{unaligned} time slots have no time of their own; annotations that use them were spread evenly.",
            severity="warning",
            reference="error",
        )
    return kept


def _clean_tiers(
    root: ElementTree.Element, document: Document, slots: set[str]
) -> tuple[dict[str, _Annotation], dict[str, str]]:
    """Report and take out what is broken; return annotations by id and their references into vocabularies."""
    annotations: dict[str, _Annotation] = {}
    references: dict[str, str] = {}
    for tier in root.findall("TIER"):
        name = tier.get("TIER_ID", "")
        if not name or name in document.tiers:
            document.note(
                f"Tier {name!r} stands twice or has no name.", remedy="Rename or merge it in ELAN.", tier=name
            )
            root.remove(tier)
            continue
        document.tiers[name] = tier.get("ANNOTATOR", "")
        for number, wrapper in enumerate(list(tier), start=1):
            element = wrapper[0] if wrapper.tag == "ANNOTATION" and len(wrapper) else wrapper
            key = element.get("ANNOTATION_ID", "")
            fault = _find_fault(element, slots, key in annotations)
            if fault:
                document.note(fault, remedy=OPEN_IN_ELAN, tier=name, row=number)
                tier.remove(wrapper)
                continue
            text = element.findtext("ANNOTATION_VALUE") or ""
            for child in list(element):
                element.remove(child)
            ElementTree.SubElement(element, "ANNOTATION_VALUE").text = text
            begin, end = element.get("TIME_SLOT_REF1"), element.get("TIME_SLOT_REF2")
            pair = (begin, end) if begin and end else None
            parent = element.get("ANNOTATION_REF", "")
            annotations[key] = _Annotation(name, number, text.strip(), pair, parent)
            references[key] = element.get("CVE_REF", "")
    return annotations, references


def _find_fault(element: ElementTree.Element, slots: set[str], is_repeated: bool) -> str:
    """Say what keeps an annotation from being read, or nothing."""
    key = element.get("ANNOTATION_ID", "")
    if element.tag not in ("ALIGNABLE_ANNOTATION", "REF_ANNOTATION"):
        return f"A {element.tag} stands where an annotation should."
    if is_repeated or not any(map(str.isdigit, key)):
        return f"The annotation id {key!r} is repeated or has no number."
    if element.tag == "REF_ANNOTATION":
        return "" if element.get("ANNOTATION_REF") else f"Annotation {key} refers to no parent."
    used = [element.get("TIME_SLOT_REF1", ""), element.get("TIME_SLOT_REF2", "")]
    missing = [slot for slot in used if slot not in slots]
    return f"Annotation {key} uses the time slot {missing[0]!r}, which is not there." if missing else ""


def _hand_to_pympi(root: ElementTree.Element) -> pympi.Eaf:
    """Let pympi read the checked document (it reads named files only)."""
    for element in root.iter("CV_ENTRY_ML"):
        for value in element.findall("CVE_VALUE"):
            value.set("LANG_REF", value.get("LANG_REF", "und"))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checked.eaf"
        ElementTree.ElementTree(root).write(copy, encoding="utf-8", xml_declaration=True)
        return pympi.Eaf(str(copy), suppress_version_warning=True)


def _find_offset(eaf: pympi.Eaf, document: Document) -> int:
    """Return what to add to ELAN's times to count from the start of the (first) video, in milliseconds."""
    media = [(item.get("MIME_TYPE", ""), item.get("TIME_ORIGIN", "0")) for item in eaf.media_descriptors]
    videos = [origin for kind, origin in media if kind.startswith("video")] or [origin for _, origin in media]
    if not videos:
        return 0
    if not videos[0].strip().removeprefix("-").isdecimal():
        document.note(f"The media offset TIME_ORIGIN is {videos[0]!r}.", expected="Milliseconds.", remedy=OPEN_IN_ELAN)
        return 0
    offset = int(videos[0])
    if len(set(videos)) > 1:
        document.note(
            f"The linked videos have different offsets ({', '.join(videos)} ms); the first one was used.",
            remedy="Make sure that the first linked video is the one that is analysed.",
            severity="warning",
        )
    if offset:
        document.note(
            f"The video starts {offset} ms before ELAN's zero; all times were moved by it.", severity="repaired"
        )
    return offset


class _Times:
    """Times of annotations, worked out when asked for and kept."""

    def __init__(self, eaf: pympi.Eaf, annotations: dict[str, _Annotation], document: Document) -> None:
        self._eaf, self._annotations, self._document = eaf, annotations, document
        self._known: dict[str, tuple[int, int] | None] = {}
        self._children: dict[tuple[str, str], list[str]] = {}
        for name, annotation in annotations.items():
            if annotation.slots is None:
                self._children.setdefault((annotation.tier, annotation.parent), []).append(name)
        for tier in document.tiers:
            self._align(tier)

    def of(self, name: str) -> tuple[int, int] | None:
        """Return start and end in milliseconds, or None (reported) when there is none."""
        chain = []
        while name not in self._known:  # climb to an ancestor whose time is known, then come down again
            chain.append(name)
            parent = self._annotations[name].parent
            if parent not in self._annotations or parent in chain:
                self._known[name] = None
                self._report(name, f"refers to {parent!r}, which is not there or refers back to it.")
                break
            name = parent
        for child in reversed(chain):
            if child not in self._known:
                self._divide(child)
        return self._known[chain[0] if chain else name]

    def _divide(self, name: str) -> None:
        """Give an annotation, and those that share its parent, their part of the parent's time."""
        annotation = self._annotations[name]
        span = self._known[annotation.parent]
        siblings = self._children[annotation.tier, annotation.parent]
        kind = self._eaf.tiers[annotation.tier][2].get("LINGUISTIC_TYPE_REF", "")
        stereotype = self._eaf.linguistic_types.get(kind, {}).get("CONSTRAINTS", "")
        if span is None or stereotype != "Symbolic_Subdivision":
            for sibling in siblings:
                self._known[sibling] = span
                if span is None:
                    self._report(sibling, "has no time because its parent has none.")
            return
        self._known.update(_spread(self._in_order(annotation.tier, siblings), *span))

    def _in_order(self, tier: str, siblings: list[str]) -> list[str]:
        """Sort the parts of a parent by their links to the previous one, or leave them as they stand."""
        links = self._eaf.tiers[tier][1]
        following = {links[name][2]: name for name in siblings}
        chain: list[str] = []
        name = following.get(None)
        while name is not None and name not in chain:
            chain.append(name)
            name = following.get(name)
        return chain if len(chain) == len(siblings) else siblings

    def _align(self, tier: str) -> None:
        """Time the annotations of a tier that hang on time slots, spreading chains of unaligned ones evenly."""
        times = self._eaf.timeslots
        pairs = {name: (slots[0], slots[1]) for name, slots in self._eaf.tiers[tier][0].items()}
        by_start = {begin: name for name, (begin, _) in pairs.items()}
        for name, (begin, end) in pairs.items():
            if times[begin] is None:
                continue
            chain = [name]
            while times[end] is None and by_start.get(end) not in (None, *chain):
                chain.append(by_start[end])
                end = pairs[chain[-1]][1]
            if times[end] is not None:
                self._known.update(_spread(chain, times[begin], times[end]))
        for name in pairs:
            if name not in self._known:
                self._known[name] = None
                self._report(name, "has an unaligned boundary and no neighbour that tells its time.")

    def _report(self, name: str, what: str) -> None:
        annotation = self._annotations[name]
        self._document.note(
            f"Annotation {name} {what}", remedy="Align it in ELAN.", tier=annotation.tier, row=annotation.number
        )


def _spread(names: list[str], start: int, end: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Deal a span out evenly, without gap, in whole milliseconds."""
    count = len(names)
    for index, name in enumerate(names):
        yield name, (start + (end - start) * index // count, start + (end - start) * (index + 1) // count)


def _from_vocabulary(eaf: pympi.Eaf, tier: str, reference: str) -> str:
    """Look an entry up in the controlled vocabulary of a tier; empty when there is none."""
    kind = eaf.tiers[tier][2].get("LINGUISTIC_TYPE_REF", "")
    vocabulary = eaf.linguistic_types.get(kind, {}).get("CONTROLLED_VOCABULARY_REF", "")
    entry = eaf.controlled_vocabularies.get(vocabulary, ([], {}, None))[1].get(reference)
    return (entry[0][0][0] or "").strip() if entry and entry[0] else ""
