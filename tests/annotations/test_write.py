"""A model's answers written into copies of ELAN documents, and everything else left as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pympi
import pytest
from annotation_cases import unpack_eafs
from eaf_cases import aligned, document, simple, tier, write
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpkg.annotations.elan import read_eaf
from nbpkg.annotations.write import add_prediction_tiers, list_answers, merge_answers
from nbpkg.errors import AnnotationError, StageError, TableError
from nbpkg.runs import files

AUTHOR = "the model"
OUTER = ("LICENSE", "HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE", "LANGUAGE", "CONSTRAINT",
         "CONTROLLED_VOCABULARY", "LEXICON_REF", "REF_LINK_SET", "EXTERNAL_REF")  # fmt: skip


def answers(*rows: tuple[int, int, float]) -> pd.DataFrame:
    """Clips from (start, end, probability); yes above 0.5."""
    table = pd.DataFrame(rows, columns=["start_ms", "end_ms", "probability"])
    return table.assign(value=np.where(table["probability"] > 0.5, "yes", "no"))


def spans_of(path: Path, name: str) -> list[tuple[int, int, str]]:
    return [(mark.start_ms, mark.end_ms, mark.value) for mark in read_eaf(path).marks if mark.tier == name]


def check_document(path: Path) -> None:
    """What ELAN's schema asks for: order of elements, ids once each, references that lead somewhere."""
    root = ElementTree.parse(path).getroot()
    places = [OUTER.index(element.tag) for element in root]
    assert places == sorted(places)
    ids = [value for item in root.iter() for key in ("TIME_SLOT_ID", "ANNOTATION_ID") if (value := item.get(key))]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z_][\w.-]*", name) for name in ids)  # xsd:ID
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE") for slot in root.iter("TIME_SLOT")}
    types = {item.get("LINGUISTIC_TYPE_ID"): item for item in root.iter("LINGUISTIC_TYPE")}
    names = [item.get("TIER_ID") for item in root.iter("TIER")]
    assert len(names) == len(set(names))
    for item in root.iter("TIER"):
        assert item.get("LINGUISTIC_TYPE_REF") in types
        if item.get("ANNOTATOR") != AUTHOR:
            continue
        assert types[item.get("LINGUISTIC_TYPE_REF")].get("TIME_ALIGNABLE") == "true"
        assert "CONSTRAINTS" not in types[item.get("LINGUISTIC_TYPE_REF")].attrib
        for annotation in item.iter("ALIGNABLE_ANNOTATION"):
            start, end = (int(slots[annotation.get(f"TIME_SLOT_REF{place}")]) for place in (1, 2))
            assert 0 <= start < end


def without_ours(path: Path) -> str:
    """The document without the model's tiers, time slots and type, in canonical form."""
    root = ElementTree.parse(
        path, ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    ).getroot()
    order = root.find("TIME_ORDER")
    for parent, kind in ((root, "TIER"), (root, "LINGUISTIC_TYPE"), (order, "TIME_SLOT")):
        for item in parent.findall(kind):
            mine = (item.get("ANNOTATOR"), item.get("LINGUISTIC_TYPE_ID"), item.get("TIME_SLOT_ID", "")[:3])
            if mine[0] == AUTHOR or mine[1] == "model answer" or mine[2] == "tsm":
                parent.remove(item)
    return ElementTree.canonicalize(ElementTree.tostring(root, encoding="unicode"), with_comments=True)


def original(path: Path) -> str:
    return ElementTree.canonicalize(from_file=str(path), with_comments=True)


# spans from clips


def test_equal_neighbours_are_joined_and_gaps_stay():
    found = merge_answers(answers((0, 10, 0.9), (10, 20, 0.6), (20, 30, 0.1), (40, 50, 0.2), (50, 60, 0.8)))
    assert found.to_numpy().tolist() == [[0, 20, "yes"], [20, 30, "no"], [40, 50, "no"], [50, 60, "yes"]]


def test_overlapping_clips_are_averaged_instant_by_instant():
    # 0-4: 0.9; 4-6: mean 0.9, 0.2 = 0.55; 6-8: mean 0.2, 0.3 alone from 6
    found = merge_answers(answers((0, 6, 0.9), (4, 10, 0.2), (8, 14, 0.7)))
    assert found.to_numpy().tolist() == [[0, 6, "yes"], [6, 10, "no"], [10, 14, "yes"]]  # 8-10: 0.45
    tipped = merge_answers(answers((0, 6, 0.9), (4, 10, 0.1)))  # the mean is exactly one half: no
    assert tipped.to_numpy().tolist() == [[0, 4, "yes"], [4, 10, "no"]]


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 12), st.sampled_from([0.1, 0.3, 0.45, 0.5, 0.7, 0.9])),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_merged_spans_say_at_every_instant_what_the_mean_says(rows):
    clips = answers(*((start, start + length, probability) for start, length, probability in rows))
    found = merge_answers(clips)
    said = dict.fromkeys(range(45), "")
    for start, end, value in found.itertuples(index=False, name=None):
        for instant in range(start, end):
            assert said[instant] == ""  # no overlap
            said[instant] = value
    for instant in range(45):
        here = clips[(clips["start_ms"] <= instant) & (clips["end_ms"] > instant)]["probability"]
        expected = "" if here.empty else "yes" if here.mean() > 0.5 + 1e-9 else "no"
        assert said[instant] == expected
    assert found["start_ms"].is_monotonic_increasing
    touching = found["start_ms"].iloc[1:].to_numpy() == found["end_ms"].iloc[:-1].to_numpy()
    assert (found["value"].iloc[1:].to_numpy() != found["value"].iloc[:-1].to_numpy())[touching].all()


def test_clips_that_cannot_be_merged_are_refused():
    with pytest.raises(TableError, match="1 clips have no length or no probability"):
        merge_answers(answers((0, 10, 0.9), (10, 10, 0.2)))
    with pytest.raises(TableError, match="1 clips have no length or no probability"):
        merge_answers(answers((0, 10, np.nan)))
    with pytest.raises(TableError, match=r"above 0.5 stand for sure and yes"):
        merge_answers(answers((0, 10, 0.9), (10, 20, 0.8)).assign(value=["yes", "sure"]))
    assert merge_answers(answers((0, 10, 0.9)).iloc[:0]).empty


def test_a_tier_per_variable_of_one_session():
    table = pd.DataFrame(
        {
            "session": ["s1"] * 4 + ["s2"], "rater": list("abab") + ["a"], "task": ["eggs"] * 5,
            "variable": ["attending", "attending", "attending", "laughing", "laughing"],
            "start_ms": [5, 5, 0, 0, 0], "end_ms": [10, 10, 5, 5, 5], "score": [0.2, 0.2, 0.9, 0.1, 0.5],
            "predicted": [0, 0, 1, 0, 0],
        }
    )  # fmt: skip
    found = list_answers(table, "s1", present="there")
    assert list(found) == ["model_attending", "model_laughing"]
    assert found["model_attending"].to_numpy().tolist() == [[0, 5, "there", 0.9], [5, 10, "no", 0.2]]
    with pytest.raises(TableError, match="'s3' has no predictions"):
        list_answers(table, "s3")


# documents

MARKS = {"task": [(1000, 9000, "eggs")], "attending": [(1000, 2000, "attending"), (6000, 8000, "excited")]}


def test_written_tiers_read_back_and_nothing_else_changes(tmp_path):
    source = write(tmp_path, {"s01.eaf": simple(MARKS)}) / "s01.eaf"
    copy = tmp_path / "out" / "s01.eaf"
    written = add_prediction_tiers(
        source, {"model_attending": answers((0, 3000, 0.9), (2000, 5000, 0.4), (7000, 9000, 0.1))}, copy, author=AUTHOR
    )
    expected = [(0, 3000, "yes"), (3000, 5000, "no"), (7000, 9000, "no")]
    assert spans_of(copy, "model_attending") == expected
    assert written.to_numpy().tolist() == [["model_attending", *span] for span in expected]
    assert [mark for mark in read_eaf(copy).marks if mark.tier != "model_attending"] == read_eaf(source).marks
    assert read_eaf(copy).tiers["model_attending"] == AUTHOR
    assert not [problem for problem in read_eaf(copy).problems if problem not in read_eaf(source).problems]
    assert without_ours(copy).replace("\n", "").replace(" ", "") == original(source).replace("\n", "").replace(" ", "")
    check_document(copy)


def test_doing_it_twice_gives_the_same_bytes_and_new_answers_replace_old_ones(tmp_path):
    source = write(tmp_path, {"s01.eaf": simple(MARKS)}) / "s01.eaf"
    first, second, third = (tmp_path / name for name in ("1.eaf", "2.eaf", "3.eaf"))
    tiers = {"model_attending": answers((0, 3000, 0.9)), "model_smiling": answers((0, 500, 0.1), (500, 900, 0.8))}
    add_prediction_tiers(source, tiers, first, author=AUTHOR)
    add_prediction_tiers(first, tiers, second, author=AUTHOR)
    assert first.read_bytes() == second.read_bytes()
    add_prediction_tiers(second, {"model_attending": answers((100, 200, 0.2))}, third, author=AUTHOR)
    assert spans_of(third, "model_attending") == [(100, 200, "no")]
    assert spans_of(third, "model_smiling") == [(0, 500, "no"), (500, 900, "yes")]
    check_document(third)


def test_tiers_of_others_are_never_touched(tmp_path):
    marks = {**MARKS, "model_attending": [(0, 1, "mine")]}
    source = write(tmp_path, {"s01.eaf": simple(marks)}) / "s01.eaf"
    with pytest.raises(AnnotationError, match="Tier 'model_attending' is there already, by nobody stated"):
        add_prediction_tiers(source, {"model_attending": answers((0, 9, 0.9))}, tmp_path / "x.eaf", author=AUTHOR)
    assert not (tmp_path / "x.eaf").exists()
    with pytest.raises(AnnotationError, match="need an author"):
        add_prediction_tiers(source, {}, tmp_path / "x.eaf", author="")
    with pytest.raises(AnnotationError, match="annotator's own file"):
        add_prediction_tiers(source, {}, source, author=AUTHOR)


def test_a_tier_on_which_another_hangs_is_not_replaced(tmp_path):
    ours = tier("model_attending", aligned(1, "ts1", "ts2", "yes"), extra=f'ANNOTATOR="{AUTHOR}"')
    child = tier("remark", "", kind="note", extra='PARENT_REF="model_attending"')
    source = write(tmp_path, {"s.eaf": document({"ts1": 0, "ts2": 9}, ours + child)}) / "s.eaf"
    with pytest.raises(AnnotationError, match="'model_attending' cannot be replaced: another tier hangs on it"):
        add_prediction_tiers(source, {"model_attending": answers((0, 9, 0.9))}, tmp_path / "x.eaf", author=AUTHOR)


@pytest.mark.parametrize("origin", [0, 400, -300])
def test_times_are_in_the_documents_own_count(tmp_path, origin):
    kind = f'MIME_TYPE="video/mp4" TIME_ORIGIN="{origin}"'
    media = f'<MEDIA_DESCRIPTOR MEDIA_URL="v.mp4" RELATIVE_MEDIA_URL="./v.mp4" {kind}/>'
    source = write(
        tmp_path, {"s.eaf": document({"ts1": 0, "ts2": 900}, tier("x", aligned(1, "ts1", "ts2", "a")), media=media)}
    )
    copy = tmp_path / "copy.eaf"
    clips = answers((0, 300, 0.9), (300, 1000, 0.2), (1000, 2000, 0.9))
    written = add_prediction_tiers(source / "s.eaf", {"model_x": clips}, copy, author=AUTHOR, duration_ms=1500)
    whole = [(0, 300, "yes"), (300, 1000, "no"), (1000, 1500, "yes")]
    before = [(max(start, origin), end, value) for start, end, value in whole if end > origin]  # no negative times
    assert spans_of(copy, "model_x") == before
    assert written["start_ms"].tolist() == [start - origin for start, _, _ in before]
    check_document(copy)


def test_participant_type_slots_and_comments(tmp_path):
    rated = tier("attending", aligned(1, "ts1", "ts3", "yes"), extra='PARTICIPANT="child" ANNOTATOR="ana"')
    text = document({"ts1": 100, "ts2": None, "ts3": 900, "tsm1": 950}, "<!-- by hand -->" + rated)
    text = text.replace('LINGUISTIC_TYPE_ID="part"', 'LINGUISTIC_TYPE_ID="model answer"')  # not one we could use
    source = write(tmp_path, {"s.eaf": text}) / "s.eaf"
    copy = tmp_path / "copy.eaf"
    add_prediction_tiers(source, {"model_attending": answers((50, 500, 0.9))}, copy, author=AUTHOR)
    root = ElementTree.parse(copy).getroot()
    made = next(item for item in root.iter("TIER") if item.get("TIER_ID") == "model_attending")
    assert made.get("PARTICIPANT") == "child"
    assert made.get("ANNOTATOR") == AUTHOR
    assert made.get("LINGUISTIC_TYPE_REF") == "model answer 2"
    order = [(slot.get("TIME_SLOT_ID"), slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    assert order == [
        ("tsm2", "50"), ("ts1", "100"), ("ts2", None), ("tsm3", "500"), ("ts3", "900"), ("tsm1", "950")
    ]  # fmt: skip
    assert "<!-- by hand -->" in copy.read_text()
    assert "noun" in copy.read_text()  # the controlled vocabulary
    check_document(copy)


def test_broken_and_hostile_documents_are_refused(tmp_path):
    hostile = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>'
    folder = write(tmp_path, {"hostile.eaf": hostile, "cut.eaf": simple(MARKS)[:400], "bare.eaf": simple(MARKS)})
    bare = (folder / "bare.eaf").read_text()
    (folder / "bare.eaf").write_text(re.sub("<TIME_ORDER>.*</TIER>", "", bare))
    for name, message in (
        ("hostile.eaf", "document type or entities"),
        ("cut.eaf", "no complete XML"),
        ("bare.eaf", "no TIME_ORDER"),
        ("none.eaf", "cannot be opened"),
    ):
        with pytest.raises(AnnotationError, match=message):
            add_prediction_tiers(folder / name, {"m": answers((0, 9, 0.9))}, tmp_path / "x.eaf", author=AUTHOR)
    assert not (tmp_path / "x.eaf").exists()


def test_a_copy_is_complete_or_not_there(tmp_path, monkeypatch):
    source = write(tmp_path, {"s01.eaf": simple(MARKS)}) / "s01.eaf"

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fail)  # a full disk says so at the latest here
    with pytest.raises(StageError, match="The disk is full"):
        add_prediction_tiers(source, {"m": answers((0, 9, 0.9))}, tmp_path / "out" / "x.eaf", author=AUTHOR)
    assert list((tmp_path / "out").iterdir()) == []


def test_every_published_document_takes_new_tiers(tmp_path):
    sources = sorted(unpack_eafs(tmp_path / "in").glob("*.eaf"))[::5]
    assert len(sources) == 11
    clips = answers(*((start, start + 5000, (start // 3500 % 7) / 7) for start in range(0, 200_000, 3500)))
    for source in sources:
        copy = tmp_path / "out" / source.name
        add_prediction_tiers(source, {"model_attending": clips}, copy, author=AUTHOR)
        assert [mark for mark in read_eaf(copy).marks if mark.tier != "model_attending"] == read_eaf(source).marks
        expected = list(merge_answers(clips).itertuples(index=False, name=None))
        assert spans_of(copy, "model_attending") == expected
        check_document(copy)
        before, after = pympi.Eaf(str(source)), pympi.Eaf(str(copy))
        assert sorted(after.get_annotation_data_for_tier("model_attending")) == expected
        for name in before.get_tier_names():
            assert after.get_annotation_data_for_tier(name) == before.get_annotation_data_for_tier(name)


def test_elans_own_document_keeps_everything(tmp_path):
    folder = os.environ.get("NBPKG_REAL_DATA")
    if not folder:
        pytest.skip("NBPKG_REAL_DATA names no folder with real files")
    source, copy, again = Path(folder) / "elan_sample_3.0.eaf", tmp_path / "copy.eaf", tmp_path / "again.eaf"
    tiers = {"model_gestures": answers((0, 5000, 0.9), (3500, 8500, 0.2), (7000, 12_000, 0.3))}
    add_prediction_tiers(source, tiers, copy, author=AUTHOR)
    before, after = read_eaf(source), read_eaf(copy)
    assert [mark for mark in after.marks if mark.tier != "model_gestures"] == before.marks
    assert [problem.what for problem in after.problems] == [problem.what for problem in before.problems]
    assert spans_of(copy, "model_gestures") == [(0, 5000, "yes"), (5000, 12_000, "no")]
    squeeze = re.compile(r">\s+<")
    assert squeeze.sub("><", without_ours(copy)) == squeeze.sub("><", original(source))
    check_document(copy)
    assert len(pympi.Eaf(str(copy)).get_annotation_data_for_tier("model_gestures")) == 2
    add_prediction_tiers(copy, tiers, again, author=AUTHOR)
    assert again.read_bytes() == copy.read_bytes()
