"""What becomes of impressions of units that the plan keeps out, or whose group it forces."""

from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.contracts import IMPRESSIONS
from pipeline.experiment.design.assignment import bucket_of
from pipeline.experiment.log.ingest import ingest
from tests.pipeline.experiment.logs import PLAN, impression, outcomes, users_in

FIRST, SECOND, THIRD = users_in("g1", 3)
(OTHER,) = users_in("g2", 1)


def ingested(folder, plan, rows):
    file = folder / "impressions-1.parquet"
    pl.DataFrame(rows, schema=IMPRESSIONS.columns).write_parquet(file)
    return ingest([file], plan, folder / "experiment.duckdb")


def test_impressions_of_testers_are_set_aside_whatever_group_they_were_shown(tmp_path):
    plan = replace(PLAN, forced_assignment={FIRST: "g2", SECOND: "g1"})
    rows = [
        impression("e1", user=FIRST, group="g2"),
        impression("e2", user=FIRST, group="g1"),
        impression("e3", user=SECOND, group="g1"),
        impression("e4", user=THIRD, group="g1"),
    ]

    result = ingested(tmp_path, plan, rows)

    assert result.rejected == {"forced assignment": 3}
    assert list(outcomes(tmp_path / "experiment.duckdb")) == ["e4"]


@pytest.mark.parametrize(
    ("salt", "changes", "out", "reason"),
    [
        (
            "out",
            lambda share: {"holdout": share, "holdout_salt": "out"},
            min,
            "user in the holdout",
        ),
        (
            "in",
            lambda share: {"traffic_share": share, "traffic_salt": "in"},
            max,
            "user outside the traffic share",
        ),
    ],
    ids=["holdout", "traffic_share"],
)
def test_units_that_were_to_see_nothing_are_set_aside(tmp_path, salt, changes, out, reason):
    buckets = {user: bucket_of(user, salt) for user in (FIRST, SECOND, THIRD, OTHER)}
    kept_out = out(buckets, key=buckets.get)
    cut = sorted(buckets.values())[1 if out is min else 3] / 10_000
    rows = [
        impression(f"e{n}", user=user, group="g2" if user == OTHER else "g1")
        for n, user in enumerate(buckets)
    ]

    result = ingested(tmp_path, replace(PLAN, **changes(cut)), rows)

    assert (result.impressions, result.rejected) == (3, {reason: 1})
    assert f"e{list(buckets).index(kept_out)}" not in outcomes(tmp_path / "experiment.duckdb")


def test_what_was_shown_before_the_kill_switch_stays_in(tmp_path):
    rows = [impression("e1", user=FIRST), impression("e2", user=OTHER, group="g2")]

    result = ingested(tmp_path, replace(PLAN, enabled=False), rows)

    assert (result.impressions, result.rejected) == (2, {})


def test_a_raised_coverage_leaves_earlier_impressions_where_they_were(tmp_path):
    buckets = {user: bucket_of(user, "in") for user in (FIRST, OTHER)}
    plan = replace(PLAN, traffic_share=(max(buckets.values()) + 1) / 10_000, traffic_salt="in")
    rows = [impression("e1", user=FIRST), impression("e2", user=OTHER, group="g2")]

    for coverage in (plan.traffic_share, 1.0):
        result = ingested(tmp_path, replace(plan, traffic_share=coverage), rows)
        assert (result.impressions, result.rejected) == (2, {})
