"""YAML by the core schema of version 1.2: what a plain word is, and where it stands."""

import math

import pytest

from pipeline.core.errors import StudyError
from pipeline.study.yaml_file import parse_yaml


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("1e5", 1e5),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("0.50", 0.5),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("-.inf", -math.inf),
        ('"1"', "1"),
        ("!!str 5", "5"),
        *((text, text) for text in ("yes", "off", "12:30", "010", "0o7", "0x1F", "1_000", "1,5")),
        *((text, text) for text in ("2025-09-01", "2025-13-45", "2025-09-01 10:00:00", "=", "+")),
    ],
)
def test_a_plain_word_has_one_value(written, value):
    found = parse_yaml(f"key: {written}").values["key"]

    assert (type(found), found) == (type(value), value)


def test_not_a_number_is_read_as_what_it_is():
    assert math.isnan(parse_yaml("key: .nan").values["key"])


def test_every_value_has_a_line_and_an_alias_that_of_its_anchor():
    text = "a: 1\nb:\n  c: &x\n    - 2\n    - {d: 3}\ne: *x\n"

    values, lines = parse_yaml(text)

    assert values == {"a": 1, "b": {"c": [2, {"d": 3}]}, "e": [2, {"d": 3}]}
    assert lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "c", 1, "d"): 5,
        ("e",): 6,
        ("e", 0): 4,
        ("e", 1): 5,
        ("e", 1, "d"): 5,
    }


@pytest.mark.parametrize(
    "written", ["!!binary YWJj", "!!timestamp 2025-09-01", "!!int x", "!!set {a, b}", "!own [1]"]
)
def test_a_tag_that_makes_another_type_is_refused(written):
    with pytest.raises(StudyError, match=r"line 1: the tag .* is not accepted"):
        parse_yaml(f"key: {written}")
