"""docs/report.schema.json is made of the declared types, and real reports keep to it."""

import json
from copy import deepcopy

import pytest
from jsonschema import Draft202012Validator
from pipeline.reporting.schema import report_schema

from pipeline.reporting.report import SCHEMA_VERSION


def of(schema, event_type):
    """The schema of one kind of report, so that a fault is told of it alone."""
    return Draft202012Validator({"$ref": f"#/$defs/{event_type}", "$defs": schema["$defs"]})


def faults(validator, document):
    return [f"{error.json_path}: {error.message[:80]}" for error in validator.iter_errors(document)]


def test_the_published_schema_is_that_of_the_types(project_root):
    published = json.loads((project_root / "docs/report.schema.json").read_text("utf-8"))

    assert published == report_schema(), "run: python scripts/report_schema.py"
    assert published["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(published)


def test_a_report_keeps_to_the_schema(whole_report):
    document = json.loads(json.dumps(whole_report))

    assert document["schema_version"] == SCHEMA_VERSION == 2
    assert faults(of(report_schema(), "StudyReport"), document) == []
    assert faults(Draft202012Validator(report_schema()), document) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hypotheses", 0, "slope"), "steep"),
        (("hypotheses", 0, "verdict"), "proven"),
        (("hypotheses", 0, "undeclared"), 1),
        (("recommendations", 0, "advice"), "guess"),
        (("totals", "impressions"), 0.5),
        (("undeclared",), 1),
    ],
)
def test_what_the_schema_does_not_know_is_a_fault(whole_report, path, value):
    document = deepcopy(whole_report)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    assert faults(of(report_schema(), "StudyReport"), document) != []
