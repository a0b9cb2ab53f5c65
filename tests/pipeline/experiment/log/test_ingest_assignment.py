"""What becomes of exposures of units that the plan keeps out, or whose group it forces."""

from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.contracts import EXPOSURES
from pipeline.experiment.design.assignment import bucket_of
from pipeline.experiment.log.ingest import ingest
from tests.pipeline.experiment.logs import PLAN, exposure, outcomes, units_of

FIRST, SECOND, THIRD = units_of("g1", 3)
(OTHER,) = units_of("g2", 1)


def ingested(folder, plan, rows):
    file = folder / "exposures-1.parquet"
    pl.DataFrame(rows, schema=EXPOSURES.columns).write_parquet(file)
    return ingest([file], plan, folder / "experiment.duckdb")


def test_exposures_of_testers_are_set_aside_whatever_group_they_were_shown(tmp_path):
    plan = replace(PLAN, testers={FIRST: "g2", SECOND: "g1"})
    rows = [
        exposure("e1", unit=FIRST, group="g2"),
        exposure("e2", unit=FIRST, group="g1"),
        exposure("e3", unit=SECOND, group="g1"),
        exposure("e4", unit=THIRD, group="g1"),
    ]

    result = ingested(tmp_path, plan, rows)

    assert result.rejected == {"a tester, whose group is forced": 3}
    assert list(outcomes(tmp_path / "experiment.duckdb")) == ["e4"]


@pytest.mark.parametrize(
    ("salt", "changes", "out", "reason"),
    [
        (
            "out",
            lambda share: {"holdout": share, "holdout_salt": "out"},
            min,
            "a unit that is held out of experiments",
        ),
        (
            "in",
            lambda share: {"coverage": share, "coverage_salt": "in"},
            max,
            "a unit outside of the coverage",
        ),
    ],
    ids=["holdout", "coverage"],
)
def test_units_that_were_to_see_nothing_are_set_aside(tmp_path, salt, changes, out, reason):
    buckets = {unit: bucket_of(unit, salt) for unit in (FIRST, SECOND, THIRD, OTHER)}
    kept_out = out(buckets, key=buckets.get)
    cut = sorted(buckets.values())[1 if out is min else 3] / 10_000
    rows = [
        exposure(f"e{n}", unit=unit, group="g2" if unit == OTHER else "g1")
        for n, unit in enumerate(buckets)
    ]

    result = ingested(tmp_path, replace(PLAN, **changes(cut)), rows)

    assert (result.exposures, result.rejected) == (3, {reason: 1})
    assert f"e{list(buckets).index(kept_out)}" not in outcomes(tmp_path / "experiment.duckdb")


def test_what_was_shown_before_the_kill_switch_stays_in(tmp_path):
    rows = [exposure("e1", unit=FIRST), exposure("e2", unit=OTHER, group="g2")]

    result = ingested(tmp_path, replace(PLAN, enabled=False), rows)

    assert (result.exposures, result.rejected) == (2, {})


def test_a_raised_coverage_leaves_earlier_exposures_where_they_were(tmp_path):
    buckets = {unit: bucket_of(unit, "in") for unit in (FIRST, OTHER)}
    plan = replace(PLAN, coverage=(max(buckets.values()) + 1) / 10_000, coverage_salt="in")
    rows = [exposure("e1", unit=FIRST), exposure("e2", unit=OTHER, group="g2")]

    for coverage in (plan.coverage, 1.0):
        result = ingested(tmp_path, replace(plan, coverage=coverage), rows)
        assert (result.exposures, result.rejected) == (2, {})
