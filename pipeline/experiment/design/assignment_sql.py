"""The assignment of users to groups as DuckDB SQL, for users that are in a database.

Part of the public API (docs/experiment.md). It gives the same groups as
:meth:`~pipeline.experiment.design.traffic_plan.TrafficPlan.assign_many`. The plan's values are bound
as parameters, never formatted into the SQL.
"""

from typing import Any

from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import Reason, TrafficPlan

ASSIGNMENT_MACROS = """
CREATE OR REPLACE TEMP MACRO fnv1a("text") AS list_reduce(
    list_transform(string_split("text", ''), lambda c: unicode(c)::UBIGINT),
    lambda h, code: xor(h, code) * 16777619::UBIGINT & 4294967295::UBIGINT,
    2166136261::UBIGINT);
CREATE OR REPLACE TEMP MACRO bucket_of(user, salt) AS
    (fnv1a(fnv1a(salt || user)::VARCHAR) % 10000)::INTEGER;
"""
"""Execute once per connection. ``bucket_of(user, salt)`` equals
:func:`pipeline.experiment.design.assignment.bucket_of`; salt and user must not both be empty, and the
bucket of a null user is null."""

ASSIGNMENT_QUERY = f"""
SELECT user,
    CASE
        WHEN reason = '{Reason.FORCED}' THEN $forced_groups[list_position($forced_users, user)]
        WHEN reason IS NULL THEN $groups[1 + len(list_filter($last_buckets, lambda b: b < bucket))]
    END AS "group",
    reason
FROM (
    SELECT user, bucket_of(user, $salt) AS bucket,
        CASE
            WHEN NOT $enabled THEN '{Reason.DISABLED}'
            WHEN list_contains($forced_users, user) THEN '{Reason.FORCED}'
            WHEN $held_out > 0 AND bucket_of(user, $holdout_salt) < $held_out
                THEN '{Reason.HOLDOUT}'
            WHEN $in_traffic < {N_BUCKETS} AND bucket_of(user, $traffic_salt) >= $in_traffic
                THEN '{Reason.OUTSIDE_TRAFFIC}'
        END AS reason
    FROM users)
"""  # noqa: S608 - constants only
"""Columns ``user``, ``group`` and ``reason`` for each row of the relation ``users``, which has a column
``user``. Needs :data:`ASSIGNMENT_MACROS` and the parameters of :func:`sql_parameters`."""


def sql_parameters(plan: TrafficPlan) -> dict[str, Any]:
    """Parameters of :data:`ASSIGNMENT_QUERY` for a plan."""
    return {
        "enabled": plan.enabled,
        "forced_users": list(plan.forced_assignment),
        "forced_groups": list(plan.forced_assignment.values()),
        "holdout_salt": plan.holdout_salt,
        "held_out": round(plan.holdout * N_BUCKETS),
        "traffic_salt": plan.traffic_salt,
        "in_traffic": round(plan.traffic_share * N_BUCKETS),
        "salt": plan.salt,
        "groups": [group.name for group in plan.groups],
        "last_buckets": [group.last_bucket for group in plan.groups],
    }
