"""Impressions of users outside the experiment, and of users with a forced assignment."""

from dataclasses import replace

import pytest

from pipeline.experiment.design.assignment import bucket_of
from tests.pipeline.experiment.logs import (
    PLAN,
    impression,
    ingest_folder,
    outcomes,
    users_in,
    write_impressions,
)

FIRST, SECOND, THIRD = users_in("g1", 3)
(OTHER,) = users_in("g2", 1)


def ingested(folder, plan, rows):
    write_impressions(folder / "impressions-1.parquet", rows)
    return ingest_folder(folder, plan)


def test_impressions_of_forced_assignments_are_rejected_in_any_group(tmp_path):
    plan = replace(PLAN, forced_assignment={FIRST: "g2", SECOND: "g1"})
    rows = [
        impression("e1", user=FIRST, group="g2"),
        impression("e2", user=FIRST, group="g1"),
        impression("e3", user=SECOND, group="g1"),
        impression("e4", user=THIRD, group="g1"),
    ]

    result = ingested(tmp_path, plan, rows)

    assert result.rejected == {"forced assignment": 3}
    assert list(outcomes(tmp_path / "log.duckdb")) == ["e4"]


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
def test_users_outside_the_experiment_are_excluded(tmp_path, salt, changes, out, reason):
    buckets = {user: bucket_of(user, salt) for user in (FIRST, SECOND, THIRD, OTHER)}
    excluded = out(buckets, key=buckets.get)
    share = sorted(buckets.values())[1 if out is min else 3] / 10_000
    rows = [
        impression(f"e{n}", user=user, group="g2" if user == OTHER else "g1")
        for n, user in enumerate(buckets)
    ]

    result = ingested(tmp_path, replace(PLAN, **changes(share)), rows)

    assert (result.impressions, result.rejected) == (3, {reason: 1})
    assert f"e{list(buckets).index(excluded)}" not in outcomes(tmp_path / "log.duckdb")


def test_impressions_from_before_the_kill_switch_are_kept(tmp_path):
    rows = [impression("e1", user=FIRST), impression("e2", user=OTHER, group="g2")]

    result = ingested(tmp_path, replace(PLAN, enabled=False), rows)

    assert (result.impressions, result.rejected) == (2, {})


def test_a_raised_traffic_share_keeps_earlier_impressions(tmp_path):
    buckets = {user: bucket_of(user, "in") for user in (FIRST, OTHER)}
    plan = replace(PLAN, traffic_share=(max(buckets.values()) + 1) / 10_000, traffic_salt="in")
    rows = [impression("e1", user=FIRST), impression("e2", user=OTHER, group="g2")]

    for share in (plan.traffic_share, 1.0):
        result = ingested(tmp_path, replace(plan, traffic_share=share), rows)
        assert (result.impressions, result.rejected) == (2, {})
