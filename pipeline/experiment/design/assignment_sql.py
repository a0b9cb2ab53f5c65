"""The assignment as SQL, for logs and users that lie in DuckDB; values are bound, never formatted."""

from typing import Any

from pipeline.experiment.design.assignment import N_BUCKETS
from pipeline.experiment.design.traffic_plan import Reason, TrafficPlan

MACROS = """
CREATE OR REPLACE TEMP MACRO fnv1a("text") AS list_reduce(
    list_transform(string_split("text", ''), lambda c: unicode(c)::UBIGINT),
    lambda h, code: xor(h, code) * 16777619::UBIGINT & 4294967295::UBIGINT,
    2166136261::UBIGINT);
CREATE OR REPLACE TEMP MACRO bucket_of(user, salt) AS
    (fnv1a(fnv1a(salt || user)::VARCHAR) % 10000)::INTEGER;
"""
"""``bucket_of(user, salt)``, equal to :func:`pipeline.experiment.design.assignment.bucket_of`; to be run
once a connection. The salt or the user must hold a character; of a null user the bucket is null."""

PLACES = f"""
SELECT user,
    CASE
        WHEN reason = '{Reason.FORCED}' THEN $forced_groups[list_position($forced_users, user)]
        WHEN reason IS NULL THEN $groups[1 + len(list_filter($last_buckets, lambda b: b < bucket))]
    END AS "group",
    reason
FROM (
    SELECT user, bucket_of(user, $salt) AS bucket,
        CASE
            WHEN NOT $enabled THEN '{Reason.OFF}'
            WHEN list_contains($forced_users, user) THEN '{Reason.FORCED}'
            WHEN $held_out > 0 AND bucket_of(user, $holdout_salt) < $held_out
                THEN '{Reason.HELD_OUT}'
            WHEN $covered < {N_BUCKETS} AND bucket_of(user, $traffic_salt) >= $covered
                THEN '{Reason.NOT_COVERED}'
        END AS reason
    FROM users)
"""  # noqa: S608 - the plan's own words
"""Of the relation ``users``, a column ``user``: the group each is served as, and the reason if that
is not by its bucket, as :meth:`TrafficPlan.places_of` says them; needs :data:`MACROS`."""


def sql_parameters(plan: TrafficPlan) -> dict[str, Any]:
    """What :data:`PLACES` is to be executed with."""
    return {
        "enabled": plan.enabled,
        "forced_users": list(plan.forced_assignment),
        "forced_groups": list(plan.forced_assignment.values()),
        "holdout_salt": plan.holdout_salt,
        "held_out": round(plan.holdout * N_BUCKETS),
        "traffic_salt": plan.traffic_salt,
        "covered": round(plan.traffic_share * N_BUCKETS),
        "salt": plan.salt,
        "groups": [group.name for group in plan.groups],
        "last_buckets": [group.last_bucket for group in plan.groups],
    }
