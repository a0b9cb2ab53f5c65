"""Users of a log in a warehouse: their batch, their group by the plan, and why they are excluded.

The same rules as for files, in :mod:`pipeline.experiment.log.exclusions`.
"""

from collections.abc import Sequence
from typing import Any

import ibis

from pipeline.core.contracts import HOUR_MS
from pipeline.core.errors import LogError
from pipeline.experiment.design.assignment import BATCH_SALT, BATCHES, N_BUCKETS
from pipeline.experiment.design.external_variants import Plan
from pipeline.experiment.design.traffic_plan import Reason, TrafficPlan
from pipeline.experiment.kpis.user_totals import exact_quotient
from pipeline.experiment.log.reasons import TWO_GROUPS, WRONG_GROUP, bot_reason
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.experiment.warehouse.assign_users import add_buckets, assignment, salts_of
from pipeline.experiment.warehouse.materialise import materialise
from pipeline.experiment.warehouse.stage_rows import StagedLog

_LONGEST = 256
"""Characters of a user's id; longer ones are not ids."""


def find_users(log: StagedLog, faulty: Sequence[str], plan: Plan, rules: LogRules) -> Any:
    """One row per user with an impression or a faulty row, materialised.

    Args:
        log: All rows with their reasons.
        faulty: The reasons of its faulty impressions.
        plan: Plan of the experiment.
        rules: Rules of the experiment.

    Returns:
        Columns ``user``; ``batch``, 0 to 99; ``assigned``, the group of faulty rows that have none of their
        own: by the plan or, where another system assigns, that of all valid impressions of the user; and
        ``exclusion``, a reason or null.

    Raises:
        LogError: if an id is too long.
    """
    staged = log.impressions
    valid = staged.filter(staged.reason.isnull())
    hours = valid.group_by("user", hour=exact_quotient(valid.ts, HOUR_MS)).agg(n=valid.count())
    busiest = hours.group_by("user").agg(busiest=hours.n.max())
    groups = valid.group_by("user").agg(n_groups=valid.group.nunique(), one_group=valid.group.max())
    known = staged.filter(staged.user.notnull())
    users = known.filter(known.reason.isnull() | known.reason.isin(faulty))
    users = _with_buckets(materialise(users.select("user").distinct()), plan)
    users = users.left_join(groups, "user").drop("user_right")
    users = users.left_join(busiest, "user").drop("user_right")
    is_bot = users.busiest > rules.impressions_per_hour
    by_rule = [(users.n_groups > 1, TWO_GROUPS)]
    assigned = (users.n_groups == 1).ifelse(users.one_group, None)
    if isinstance(plan, TrafficPlan):  # external variants were assigned by another system
        assigned, outside = assignment(plan, users)
        differs = assigned.isnull() | (users.one_group != assigned)
        by_rule = [
            *((outside == reason.value, reason.value) for reason in Reason),
            *by_rule,
            (differs, WRONG_GROUP),
        ]
    by_rule.append((is_bot, bot_reason(rules.impressions_per_hour)))
    has_impression = users.n_groups.notnull()
    exclusion = ibis.cases(*((has_impression & condition, reason) for condition, reason in by_rule))
    return materialise(users.select("user", "batch", assigned=assigned, exclusion=exclusion))


def _with_buckets(users: Any, plan: Plan) -> Any:
    """Users with their batch and, if the plan assigns them, the buckets of its salts."""
    longest = int(users.user.length().max().to_pyarrow().as_py() or 0)
    if longest > _LONGEST:
        msg = (
            f"the longest user of the log has {longest:,} characters, expected at most {_LONGEST}; give ids in the "
            "column user"
        )
        raise LogError(msg)
    salts = salts_of(plan) if isinstance(plan, TrafficPlan) else {}
    users = add_buckets(users, salts | {"batch": BATCH_SALT}, longest)
    return users.mutate(batch=exact_quotient(users.batch, N_BUCKETS // BATCHES))
