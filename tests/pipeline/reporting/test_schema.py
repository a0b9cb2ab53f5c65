"""docs/report.schema.json is the schema of the declared types, and reports conform to it."""

import json

import pytest
from jsonschema import Draft202012Validator

from pipeline.results.document import SCHEMA_VERSION
from pipeline.results.serialization import report_schema, to_dict


def faults(validator, document):
    return [f"{error.json_path}: {error.message[:80]}" for error in validator.iter_errors(document)]


def test_the_published_schema_is_that_of_the_types(project_root):
    published = json.loads((project_root / "docs/report.schema.json").read_text("utf-8"))

    assert published == report_schema(), "run: python scripts/report_schema.py"
    assert published["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(published)


def test_a_report_conforms_to_the_schema(whole_report):
    document = json.loads(json.dumps(to_dict(whole_report)))

    assert document["schema_version"] == SCHEMA_VERSION == 3
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
def test_values_outside_the_schema_are_rejected(whole_report, path, value):
    document = to_dict(whole_report)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    assert faults(Draft202012Validator(report_schema()), document) != []
