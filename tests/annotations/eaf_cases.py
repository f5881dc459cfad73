"""Small ELAN documents, written as text so that each test shows what it feeds in."""

from __future__ import annotations

from pathlib import Path

from nbpkg.annotations.scheme import AnnotationScheme

TYPES = """<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="main" TIME_ALIGNABLE="true"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="part" TIME_ALIGNABLE="true" CONSTRAINTS="Time_Subdivision"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="words" TIME_ALIGNABLE="false" CONSTRAINTS="Symbolic_Subdivision"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="note" TIME_ALIGNABLE="false" CONSTRAINTS="Symbolic_Association"
 CONTROLLED_VOCABULARY_REF="kinds"/>
<CONTROLLED_VOCABULARY CV_ID="kinds"><DESCRIPTION LANG_REF="und"/>
<CV_ENTRY_ML CVE_ID="cve1"><CVE_VALUE LANG_REF="und">noun</CVE_VALUE></CV_ENTRY_ML></CONTROLLED_VOCABULARY>"""


def aligned(number: int, start: str, end: str, value: str) -> str:
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{start}" TIME_SLOT_REF2="{end}">'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
    )


def symbolic(number: int, parent: str, value: str, extra: str = "") -> str:
    return (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a{number}" ANNOTATION_REF="{parent}" {extra}>'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )


def document(
    slots: dict[str, int | None],
    tiers: str,
    *,
    media: str = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///v.mp4" RELATIVE_MEDIA_URL="./v.mp4" MIME_TYPE="video/mp4"/>',
    attributes: str = 'FORMAT="3.0" VERSION="3.0"',
    types: str = TYPES,
) -> str:
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{name}"' + (f' TIME_VALUE="{value}"/>' if value is not None else "/>")
        for name, value in slots.items()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT AUTHOR="" DATE="" {attributes}>'
        f'<HEADER TIME_UNITS="milliseconds">{media}</HEADER><TIME_ORDER>{order}</TIME_ORDER>{tiers}{types}'
        "</ANNOTATION_DOCUMENT>"
    )


def tier(name: str, annotations: str, *, kind: str = "main", extra: str = "") -> str:
    return f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="{kind}" {extra}>{annotations}</TIER>'


def simple(marks: dict[str, list[tuple[int, int, str]]]) -> str:
    """Write a document of independent tiers from (start, end, value)."""
    slots: dict[str, int | None] = {}
    tiers = ""
    number = 0
    for name, rows in marks.items():
        text = ""
        for start, end, value in rows:
            number += 1
            slots |= {f"ts{2 * number}": start, f"ts{2 * number + 1}": end}
            text += aligned(number, f"ts{2 * number}", f"ts{2 * number + 1}", value)
        tiers += tier(name, text)
    return document(slots, tiers)


GOOD = {
    "task": [(1000, 5000, "people"), (5000, 9000, "drums")],
    "attending": [(1000, 2000, "attending"), (6000, 8000, "excited")],
}


def small_scheme(**changes: object) -> AnnotationScheme:
    settings = {
        "folder": "engagement",
        "name_pattern": "{session}_{rater}",
        "sessions": ["s01", "s02"],
        "raters": ["ana", "jörg"],
        "tasks": ["people", "drums"],
        "variables": ["attending"],
        "tiers": {
            "attending": {"values": ["attending", "excited"], "spelling": {"excitied": "excited"}},
            "task": {"values": ["people", "drums"]},
            "ignore": {"required": False, "values": []},
        },
    }
    return AnnotationScheme.model_validate({**settings, **changes})


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
