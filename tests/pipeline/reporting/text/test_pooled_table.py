"""Reports, as ``regression_report`` writes them, pooled and described in text."""

from dataclasses import replace

import pytest

from pipeline.core.errors import DataError
from pipeline.inference.meta.pool_studies import pool_studies
from pipeline.reporting.text.pooled_table import pooled_lines
from pipeline.results.stored import write_result


@pytest.fixture
def write(tmp_path, whole_report, estimate):
    def as_experiment(name, slope):
        plan = replace(whole_report.experiment.plan, experiment=name)
        experiment = replace(whole_report.experiment, plan=plan)
        hypotheses = tuple(estimate(slope, 100_000))
        path = tmp_path / f"{name}.json"
        write_result(replace(whole_report, experiment=experiment, hypotheses=hypotheses), path)
        return path

    return as_experiment


def test_written_reports_are_pooled(write):
    paths = [write("spring", 0.8), write("summer", 1.2), write("autumn", 1.0)]

    found = pool_studies(paths, level=0.95, gain=0.05).hypotheses

    assert [(one.metric, one.kpi, one.response) for one in found] == [
        ("recall", "ctr", "ctr"),
        ("order_density", "cvr", "cvr"),
        ("recall_order_density", "orders_per_impression", "orders_per_impression"),
        ("recall", "cvr", "cvr"),
    ]
    assert found[0].pooled.mean.slope == pytest.approx(1.0, abs=0.01)
    table = pooled_lines(found)
    assert [line.split("  ")[0] for line in table[1:5]] == [
        "Recall@20",
        "OD@20",
        "Recall@20 · OD@20",
        "Recall@20",
    ]
    assert any("+5% Recall@20 predicts +4." in line for line in table)


def test_reports_of_the_same_experiment_are_rejected(write, tmp_path):
    first = write("spring", 0.8)
    again = tmp_path / "again.json"
    again.write_text(first.read_text("utf-8").replace('"cutoff": 20', '"cutoff":  20'), "utf-8")

    with pytest.raises(DataError, match="both reports are from experiment 'spring'"):
        pool_studies([first, again], level=0.95)
