"""A result written as JSON is read back as it was, and damaged files are named with a remedy."""

import json

import pytest

from pipeline.core.errors import DataError
from pipeline.results.findings import Estimates
from pipeline.results.power import PowerAnalysis
from pipeline.results.reader import read_report
from pipeline.results.serialization import parse, to_dict
from pipeline.results.stored import read_estimates, read_power, write_estimates, write_result
from tests.pipeline.inference.planned import planned_power


def test_estimates_are_read_back(reports, tmp_path):
    study = reports["study"]
    estimates = Estimates(
        hypotheses=study.hypotheses,
        diagnostics=study.diagnostics,
        metric_ranking=study.metric_ranking,
        unfitted_pairs=study.unfitted_pairs,
        advice=study.advice,
        lifts=study.lifts,
    )

    write_estimates(estimates, tmp_path)

    assert read_estimates(tmp_path) == estimates
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "advice.json",
        "diagnostics.json",
        "lifts.json",
        "metric_ranking.json",
        "regression_estimates.json",
        "unfitted_pairs.json",
    ]


@pytest.mark.parametrize("kind", ["study", "variants", "counts"])
def test_a_report_is_read_back(reports, kind, tmp_path):
    write_result(reports[kind], tmp_path / "report.json")

    assert read_report(tmp_path / "report.json") == reports[kind]


@pytest.mark.slow
def test_the_power_of_a_plan_is_read_back(tmp_path):
    analysis = planned_power().analysis

    write_result(analysis, tmp_path / "power.json")

    assert read_power(tmp_path / "power.json") == analysis
    assert parse(PowerAnalysis, to_dict(analysis)) == analysis


def test_public_keys_of_a_hypothesis_are_kept(reports):
    keys = ["id", "metric", "kpi", "direction", "slope", "standard_error", "interval", "p_value"]

    for one in to_dict(reports["study"])["hypotheses"]:
        assert [key for key in (*keys, "n", "groups", "verdict", "level") if key not in one] == []


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"hypotheses": [{"id": "H1"}]}'])
def test_a_damaged_report_is_named_with_its_remedy(tmp_path, content):
    file = tmp_path / "report.json"
    file.write_text(content)

    with pytest.raises(
        DataError, match=r"is not a report\.json: .*; expected the report\.json of a"
    ):
        read_report(file)


def test_a_missing_estimate_is_named_with_its_remedy(reports, tmp_path):
    write_estimates(Estimates(hypotheses=reports["study"].hypotheses), tmp_path)
    (tmp_path / "diagnostics.json").write_text(json.dumps({"sample_ratio": 1}))

    with pytest.raises(
        DataError, match=r"diagnostics\.sample_ratio.*--select regression_estimates"
    ):
        read_estimates(tmp_path)
