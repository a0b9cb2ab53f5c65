"""docs/report.schema.json follows from the types, and every kind of report conforms to it."""

import json
from copy import deepcopy

import pytest
from jsonschema import Draft202012Validator

from pipeline.results.document import SCHEMA_VERSION, Report
from pipeline.results.serialization import parse, to_dict
from pipeline.results.stored import report_schema

VALIDATOR = Draft202012Validator(report_schema())


def faults(document):
    return [f"{error.json_path}: {error.message[:80]}" for error in VALIDATOR.iter_errors(document)]


def test_the_published_schema_is_that_of_the_types(project_root):
    published = json.loads((project_root / "docs/report.schema.json").read_text("utf-8"))

    assert published == report_schema(), "run: python scripts/report_schema.py"
    assert published["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(published)


@pytest.mark.parametrize("kind", ["study", "variants", "counts"])
def test_every_kind_of_report_conforms_and_is_parsed_back(reports, kind):
    document = json.loads(json.dumps(to_dict(reports[kind]), allow_nan=False))

    assert document["schema_version"] == SCHEMA_VERSION == 5
    assert faults(document) == []
    assert parse(Report, document) == reports[kind]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hypotheses", 0, "slope"), "steep"),
        (("hypotheses", 0, "verdict"), "proven"),
        (("hypotheses", 0, "undeclared"), 1),
        (("advice", 0, "action"), "guess"),
        (("totals", "impressions"), 0.5),
        (("undeclared",), 1),
    ],
)
def test_what_the_schema_does_not_contain_is_a_fault(reports, path, value):
    document = deepcopy(to_dict(reports["study"]))
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    assert faults(document) != []
