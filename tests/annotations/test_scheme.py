"""Contradictory schemes are refused, all contradictions at once."""

import pytest
import yaml
from annotation_cases import make_scheme
from eaf_cases import small_scheme
from pydantic import BaseModel, ValidationError

from nbpkg.annotations import scheme as module
from nbpkg.annotations.scheme import AnnotationScheme


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assignments": {"ana": ["s01"], "bob": ["s02"]}}, "assignments: rater 'bob' is not in raters"),
        ({"assignments": {"ana": ["s01"], "bob": ["s02"]}}, "assignments: rater 'jörg' has none"),
        ({"assignments": {"ana": ["s01"], "jörg": ["s09"]}}, "assignments of 'jörg': 's09' is not in sessions"),
        ({"assignments": {"ana": ["s01"], "jörg": ["s01"]}}, "assignments: nobody rates session 's02'"),
        ({"variables": ["attending", "moving"]}, "variables: 'moving' is no tier"),
        ({"variables": ["task"]}, "variables: 'task' is the task tier"),
        ({"variables": ["ignore"]}, "tiers.ignore: a rated tier needs values"),
        ({"task_tier": "game"}, "task_tier: 'game' is no tier"),
        ({"tasks": ["people", "eggs"]}, "tasks: 'eggs' is no value of tier 'task'"),
        ({"tasks": ["people"]}, "tiers.task: value 'drums' is no task"),
        ({"absent": "excited"}, "tiers.attending: the value 'excited' of unmarked time cannot be marked as well"),
        ({"sessions": ["s01", "s01"]}, "sessions: 's01' stands twice"),
        ({"sessions": ["../x"]}, "'../x' holds a character that file names cannot hold"),
        ({"sessions": [".."]}, "'..' is no usable name"),
        ({"raters": [" ana", "jörg"]}, "' ana' is no usable name"),
        ({"raters": ["ana", "human"]}, "raters: 'human' is a reserved word"),
        ({"sessions": [7]}, "valid string"),
        ({"absent": False}, "valid string"),
        ({"name_pattern": "{session}{rater}"}, "two fields stand side by side"),
        ({"name_pattern": "{session}"}, "name_pattern: {rater} is missing"),
        ({"name_pattern": "{session}_{rater}_{day}"}, "name_pattern: unknown field {day}"),
        ({"date_from": 20220101}, "need {date} in name_pattern"),
        ({"name_pattern": "{session}_{rater}_{date}", "date_from": 20220401, "date_before": 20220101}, "is not before"),
        ({"name_pattern": "{session}_{rater}_{date}", "date_from": 2022}, "date_from: 2022 is no date yyyymmdd"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"overlaps": "first"}, "'error', 'earlier_start', 'later_start' or 'positive'"),
    ],
)
def test_contradictions(changes, message):
    with pytest.raises(ValidationError) as raised:
        small_scheme(**changes)
    assert message in str(raised.value)


def test_all_contradictions_are_listed_at_once():
    with pytest.raises(ValidationError) as raised:
        small_scheme(variables=["moving"], assignments={"bob": ["s09"]}, task_tier="game")
    text = str(raised.value)
    assert all(
        part in text
        for part in ("'moving' is no tier", "'bob' is not in raters", "'s09' is not in", "'game' is no tier")
    )


@pytest.mark.parametrize(
    ("tier", "message"),
    [
        ({"values": ["a", "A"]}, "value 'a' stands twice"),
        ({"values": ["a"], "spelling": {"b": "c"}}, "spelling 'b': 'c' is none of the values a"),
        ({"values": ["a"], "spelling": {"a": "a"}}, "spelling 'a' is a value itself"),
        ({"values": [" "]}, "a value is empty"),
    ],
)
def test_tiers(tier, message):
    with pytest.raises(ValidationError, match=message):
        module.Tier.model_validate(tier)


def test_every_field_says_what_it_means():
    for model in vars(module).values():
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel:
            assert all(field.description for field in model.model_fields.values())


def test_a_scheme_survives_yaml():
    scheme = make_scheme()
    assert AnnotationScheme.model_validate(yaml.safe_load(yaml.safe_dump(scheme.model_dump()))) == scheme
    assert scheme.categories("attending") == ["no", "attending", "excited"]
    assert len(scheme.expected_pairs()) == 51
