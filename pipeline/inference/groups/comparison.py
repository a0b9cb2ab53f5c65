"""The groups of one KPI, compared: which is the best, and how the KPI changes from one to another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from pipeline.core.contracts import Kpi
from pipeline.inference.groups.looks import Look
from pipeline.inference.groups.pair_test import PairTest, pair_test
from pipeline.inference.groups.shrinkage import Posterior
from pipeline.results.decisions import KpiChange
from pipeline.results.family import Floats
from pipeline.results.reasons import Action, AdviceReason, Movement
from pipeline.results.slopes import Interval

FEWEST_USERS = 10
"""With a trial, in each of two groups that are compared."""

FEWEST_EVENTS = 10
"""Clicks or orders, in two groups that are compared."""


FEWEST_EVENTS_OF_A_GROUP = 5
"""Clicks or orders of a group whose rate a change is relative to."""

_BEYOND = 20.0
"""In logs: a factor of 500 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiGroups:
    """One KPI of all groups.

    Attributes:
        kpi: The KPI.
        names: Of the groups.
        looks: When they are compared, see :func:`pipeline.inference.groups.looks.looks`.
        events_G: Clicks or orders of each group.
        posterior: Of the groups' true KPIs; None where undefined.
        control: Index of the control; None if none is declared.
        level: Of the posterior intervals.
        users_known: Whether there are per-user statistics; if not, every trial counts as a user.
    """

    kpi: Kpi
    names: Sequence[str]
    looks: Sequence[Look]
    events_G: Floats
    posterior: Posterior | None
    control: int | None
    level: float
    users_known: bool = True

    @property
    def comparisons(self) -> int:
        """All other groups with the control, or all pairs of groups."""
        groups = len(self.names)
        return math.comb(groups, 2) if self.control is None else groups - 1

    @property
    def users_G(self) -> Floats:
        """Users with a trial in the whole log, of each group; sums of a day may be over batches."""
        return self.looks[-1].sums.users

    @property
    def candidates(self) -> int:
        """The groups that the best is selected from."""
        return len(self.names) - (self.control is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The group with the highest KPI at a look, the group it is compared with, and the result.

    ``users`` are those of the smaller of the two, ``events`` those of both.
    """

    action: Action
    reason: AdviceReason
    best: int
    baseline: int
    look: Look
    users: int
    events: int


def choose(groups: KpiGroups, margin: float | None) -> Choice:
    """The first look with an answer decides; without one, the last look, which is today's."""
    found = [_choose_at(look, groups, margin) for look in groups.looks]
    answers = {Action.SHIP, Action.NO_DIFFERENCE}
    return next((one for one in found if one.action in answers), found[-1])


def _choose_at(look: Look, groups: KpiGroups, margin: float | None) -> Choice:
    rates = look.sums.successes / look.sums.trials
    best = int(rates.argmax())
    baseline = int(rates.argmin()) if groups.control is None else groups.control
    pair = pair_test(look.sums, best, baseline)
    users = int(min(groups.users_G[best], groups.users_G[baseline]))
    events = int(groups.events_G[best] + groups.events_G[baseline])

    def choice(action: Action, reason: AdviceReason) -> Choice:
        return Choice(
            action=action,
            reason=reason,
            best=best,
            baseline=baseline,
            look=look,
            users=users,
            events=events,
        )

    significant = pair.z > look.critical(pair, best, baseline, comparisons=groups.comparisons)
    enough_users = not groups.users_known or users >= FEWEST_USERS
    enough_events = events >= FEWEST_EVENTS
    if significant and enough_users and enough_events:
        return choice(Action.SHIP, AdviceReason.BETTER)
    if margin and enough_users and _within(margin, look, groups):
        return choice(Action.NO_DIFFERENCE, AdviceReason.WITHIN_MARGIN)
    if look.early:
        return choice(Action.WAIT, AdviceReason.BEFORE_PLANNED_END)
    if not enough_users:
        return choice(Action.INCONCLUSIVE, AdviceReason.FEW_USERS)
    if not enough_events:
        return choice(Action.INCONCLUSIVE, AdviceReason.FEW_EVENTS)
    leads = groups.control is not None and rates[groups.control] == rates[best]
    reason = AdviceReason.CONTROL_LEADS if leads else AdviceReason.NOT_SIGNIFICANT
    return choice(Action.INCONCLUSIVE, reason)


def _within(margin: float, look: Look, groups: KpiGroups) -> bool:
    """Whether all compared groups differ by less than the margin, simultaneously."""
    every = range(len(groups.names))
    pairs = (
        combinations(every, 2)
        if groups.control is None
        else ((one, groups.control) for one in every if one != groups.control)
    )
    found = (_log_interval(look, a, b, groups.comparisons)[1] for a, b in pairs)
    return all(ends and max(-ends[0], ends[1]) < math.log1p(margin) for ends in found)


def _log_interval(
    look: Look, a: int, b: int, comparisons: int
) -> tuple[PairTest, tuple[float, float] | None, float]:
    pair = pair_test(look.sums, a, b)
    critical = look.critical(pair, a, b, comparisons=comparisons)
    ends = pair.log_interval(critical) if math.isfinite(critical) else None
    return pair, ends, critical


def kpi_change(groups: KpiGroups, look: Look, group: int, baseline: int) -> KpiChange | None:
    """The change of the KPI from a baseline to a group; None without a posterior.

    None also where one of the two has fewer than ``FEWEST_EVENTS_OF_A_GROUP``: the ratio of two
    rates is then mostly the chance of its denominator.
    """
    if groups.posterior is None or not groups.users_known:
        return None
    if min(groups.events_G[group], groups.events_G[baseline]) < FEWEST_EVENTS_OF_A_GROUP:
        return None
    pair, ends, critical = _log_interval(look, group, baseline, groups.comparisons)
    movement = Movement.INCREASE if pair.z > 0 else Movement.DECREASE
    expected = groups.posterior.change(group, baseline, level=groups.level)
    rates = look.sums.successes / look.sums.trials
    return KpiChange(
        kpi=groups.kpi,
        group=groups.names[group],
        baseline=groups.names[baseline],
        change=expected.change,
        interval=expected.interval,
        measured=float(rates[group] / rates[baseline] - 1) if rates[baseline] > 0 else None,
        measured_interval=ends and _relative(ends),
        movement=movement if abs(pair.z) > critical else Movement.INCONCLUSIVE,
    )


def _relative(ends: Interval) -> Interval | None:
    """The ends as relative changes; None where the upper one is beyond all measure."""
    low, high = ends
    return (math.expm1(low), math.expm1(high)) if high < _BEYOND else None
