"""Whole reports, as ``regression_report`` writes them, pooled in a table."""

import pytest

from pipeline.artifacts.storage import write_json
from pipeline.core.errors import DataError
from pipeline.inference.meta.pool_studies import pool_studies
from pipeline.reporting.text.pooled_table import pooled_lines
from pipeline.results.serialization import to_dict


@pytest.fixture
def write(tmp_path, whole_report, estimate):
    def as_experiment(name, slope, **changes):
        report = to_dict(whole_report) | changes
        report["experiment"]["plan"]["experiment"] = name
        report["hypotheses"] = [to_dict(one) for one in estimate(slope, 100_000)]
        path = tmp_path / f"{name}.json"
        write_json(path, report)
        return path

    return as_experiment


def test_reports_are_read_as_they_are_written(write):
    paths = [write("spring", 0.8), write("summer", 1.2), write("autumn", 1.0)]

    found = pool_studies(paths, level=0.95, gain=0.05).hypotheses

    assert [(one.metric, one.kpi, one.response) for one in found] == [
        ("recall", "ctr", "ctr"),
        ("order_density", "cvr", "cvr"),
        ("recall_order_density", "units_per_impression", "orders_per_impression"),
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


def test_reports_of_one_experiment_are_refused(write, tmp_path):
    first = write("spring", 0.8)
    again = tmp_path / "again.json"
    again.write_text(first.read_text("utf-8").replace('"cutoff": 20', '"cutoff":  20'), "utf-8")

    with pytest.raises(DataError, match="both are of the experiment 'spring'"):
        pool_studies([first, again], level=0.95)
