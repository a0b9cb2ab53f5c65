"""The assignment of users to groups as Ibis expressions, for users that are in a warehouse.

It gives the same buckets as :mod:`pipeline.experiment.design.assignment` by integer arithmetic on the code
points of a user's id, without a hash function of the engine. :mod:`pipeline.experiment.warehouse.engine_checks`
makes sure that an engine computes them so.
"""

from collections.abc import Mapping
from typing import Any

import ibis

from pipeline.experiment.design.assignment import N_BUCKETS, fnv1a
from pipeline.experiment.design.traffic_plan import Reason, TrafficPlan
from pipeline.experiment.warehouse.materialise import materialise

_PRIME = 0x01000193
_MASK = 0xFFFFFFFF
_OFFSET_BASIS = 0x811C9DC5
_DIGITS = 10
_BLOCK = 16
"""Characters per query: an expression is nested as deeply as it has characters."""


def add_buckets(users: Any, salts: Mapping[str, str], longest: int) -> Any:
    """Users with the bucket of each salt, 0 to 9,999, materialised in the engine.

    Args:
        users: A table with the column ``user``, without null.
        salts: Salt by name of the column that gets its bucket.
        longest: Characters of the longest id.
    """
    hashed = users.mutate(
        **{name: ibis.literal(fnv1a(salt), "int64") for name, salt in salts.items()}
    )
    for start in range(0, longest, _BLOCK):
        positions = range(start, min(start + _BLOCK, longest))
        # the value of a block is used by the next one, which must not repeat its expression
        columns = {name: _hash_characters(hashed[name], hashed.user, positions) for name in salts}
        hashed = materialise(hashed.mutate(**columns))
    buckets = {name: _hash_digits(hashed[name]) % N_BUCKETS for name in salts}
    return materialise(hashed.mutate(**buckets))


def salts_of(plan: TrafficPlan) -> dict[str, str]:
    """The salts that :func:`assignment` needs, by column."""
    return {"bucket": plan.salt, "holdout": plan.holdout_salt, "traffic": plan.traffic_salt}


def assignment(plan: TrafficPlan, users: Any) -> tuple[Any, Any]:
    """Group (null outside the experiment) and reason (null if the bucket decided) of each user.

    As :meth:`~pipeline.experiment.design.traffic_plan.TrafficPlan.assign_many` of an enabled plan.
    ``users`` has the columns of :func:`salts_of`.
    """
    held_out = users.holdout < round(plan.holdout * N_BUCKETS)
    outside = users.traffic >= round(plan.traffic_share * N_BUCKETS)
    forced = list(plan.forced_assignment.items())
    reason = ibis.cases(
        *((users.user == user, Reason.FORCED.value) for user, _ in forced),
        (held_out, Reason.HOLDOUT.value),
        (outside, Reason.OUTSIDE_TRAFFIC.value),
    )
    nobody = ibis.literal(None, "string")
    group = ibis.cases(
        *((users.user == user, name) for user, name in forced),
        (held_out | outside, nobody),
        *((users.bucket <= group.last_bucket, group.name) for group in plan.groups),
    )
    return group, reason


def _hash_characters(value: Any, text: Any, positions: range) -> Any:
    """FNV-1a of a text's characters at some positions; those beyond its end change nothing."""
    length = text.length()
    for position in positions:
        code = text.substr(position, 1).ascii_str().cast("int64")
        value = _step(value, code, length > position)
    return value


def _hash_digits(number: Any) -> Any:
    """FNV-1a of a number's decimal digits."""
    value = ibis.literal(_OFFSET_BASIS, "int64")
    for power in (10**exponent for exponent in reversed(range(_DIGITS))):
        digit = ((number % (10 * power) - number % power) / power).cast("int64")
        significant = (number >= power) | ibis.literal(power == 1)
        value = _step(value, digit + ord("0"), significant)
    return value


def _step(value: Any, code: Any, applies: Any) -> Any:
    """One step of the hash; ``value`` occurs once, so expressions do not grow with their square."""
    return (value ^ applies.ifelse(code, 0)) * applies.ifelse(_PRIME, 1) & _MASK
