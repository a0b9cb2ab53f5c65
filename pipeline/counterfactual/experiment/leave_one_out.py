"""Every group estimated from the other groups, next to what the experiment realised.

No estimator can be trusted on its own word. Here the truth is in the log: what the other groups say of a group
can be compared with what that group did (Recovery; Radwan et al. 2024).

Shape suffixes: E estimators, G groups, B bootstrap replicates.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.contracts import Kpi
from pipeline.core.errors import TooLittleDataError
from pipeline.core.labels import KPI_LABELS
from pipeline.counterfactual.experiment.examination import ExaminationCurve
from pipeline.counterfactual.experiment.mixture import leave_group_out
from pipeline.counterfactual.experiment.paired_lists import PairedLists
from pipeline.counterfactual.experiment.policy_sums import (
    KPI_TERMS,
    PolicySums,
    amount_sums,
    kpi_estimate,
    kpis_of,
    policy_sums,
)
from pipeline.counterfactual.experiment.recovery import choose_estimator, summarise_recovery
from pipeline.counterfactual.user_sums import UserSums, bootstrap, percentile_interval
from pipeline.results.counterfactual import (
    NestedChoice,
    PolicyLift,
    RecoverySummary,
    SupportStatus,
)
from pipeline.results.counterfactual_estimates import (
    EstimatorCheck,
    GroupEstimate,
    KpiCheck,
    LeftOutGroup,
)
from pipeline.results.family import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class _LeftOut:
    """One group: what the others say of it, what it did, and replicates of both."""

    group: str
    requests: int
    others: PolicySums
    own: Mapping[str, UserSums]
    replicates: Mapping[tuple[str, str], Floats]


_log = logging.getLogger(__name__)
_LOGGED, _OWN = "logged", "own"


def leave_groups_out(
    pairs: PairedLists,
    names: Sequence[str],
    curve: ExaminationCurve,
    *,
    level: float,
    seed: int,
) -> tuple[tuple[LeftOutGroup, ...], tuple[KpiCheck, ...]]:
    """Estimate every group from the others, by every estimator and every KPI that is above 0 in all groups.

    Intervals of lifts and of Recovery are percentiles of a bootstrap of users, which does not fit the
    examination curve and the reward model again.

    Raises:
        TooLittleDataError: if fewer than two groups have requests, or no KPI is above 0 in every group.
    """
    found = [
        _left_out(pairs, number, name, curve, np.random.default_rng([seed, number]))
        for number, name in enumerate(names)
        if (pairs.log.group_N == number).any()
    ]
    groups = tuple(
        LeftOutGroup(
            group=one.group,
            requests=one.requests,
            diagnostics=next(iter(one.others.diagnostics.values())),
        )
        for one in found
    )
    return groups, tuple(_check_kpi(kpi, found, level) for kpi in _observed(kpis_of(pairs), found))


def _observed(kpis: Sequence[Kpi], found: Sequence[_LeftOut]) -> list[Kpi]:
    """The KPIs that are above 0 in every group: others have no lift, or one without an error."""
    kept = list(kpis)
    for kpi in kpis:
        amounts = [one for one in KPI_TERMS[kpi] if one is not None]
        without = [
            one.group
            for one in found
            if not all(one.own[name].additive_U.any() for name in amounts)
        ]
        if without:
            kept.remove(kpi)
            _log.warning("%s is left out: it is 0 in %s", KPI_LABELS[kpi], ", ".join(without))
    if not kept:
        msg = "every KPI is 0 in a group, so that no lift can be compared; expected clicks in every group: log more"
        raise TooLittleDataError(msg)
    return kept


def _left_out(
    pairs: PairedLists,
    number: int,
    name: str,
    curve: ExaminationCurve,
    rng: np.random.Generator,
) -> _LeftOut:
    log, rows = leave_group_out(pairs.log, number)
    target_NK = pairs.log.lists_GNK[number, rows]
    others = policy_sums(pairs, log, rows=rows, target_NK=target_NK, curve=curve, rng=rng)
    own = amount_sums(pairs, np.flatnonzero(pairs.log.group_N == number))
    parts = {(name, amount): one for name, by in others.sums.items() for amount, one in by.items()}
    parts |= {(_LOGGED, amount): one for amount, one in others.logged.items()}
    parts |= {(_OWN, amount): one for amount, one in own.items()}
    values = bootstrap(list(parts.values()), rng)
    return _LeftOut(
        group=name,
        requests=len(rows),
        others=others,
        own=own,
        replicates=dict(zip(parts, values, strict=True)),
    )


def _check_kpi(kpi: Kpi, found: Sequence[_LeftOut], level: float) -> KpiCheck:
    checks = tuple(_check(kpi, name, found, level) for name in found[0].others.sums)
    return KpiCheck(kpi=kpi, estimators=checks, choice=choose_by_recovery(checks))


def _check(kpi: Kpi, name: str, found: Sequence[_LeftOut], level: float) -> EstimatorCheck:
    groups = tuple(_group_estimate(kpi, name, one, level) for one in found)
    realised = [one for one in groups if one.recovery is not None]
    return EstimatorCheck(
        name=name,
        groups=groups,
        recovery=_summary(groups),
        supported=all(one.status is not SupportStatus.NO_SUPPORT for one in realised or groups),
    )


def _group_estimate(kpi: Kpi, name: str, one: _LeftOut, level: float) -> GroupEstimate:
    estimate = kpi_estimate(kpi, one.others.sums[name])
    logged, own = kpi_estimate(kpi, one.others.logged), kpi_estimate(kpi, one.own)
    realised = own.lift_over(logged)
    lift = PolicyLift(
        policy=one.group,
        estimated=estimate.lift_over(logged).value,
        realised=realised.value,
        interval=realised.interval(level),
    )
    logged_B = _replicates(kpi, _LOGGED, one)
    lift_B = _replicates(kpi, name, one) / logged_B - 1
    with np.errstate(divide="ignore", invalid="ignore"):  # a replicate without any lift
        recovery_B = lift_B / (_replicates(kpi, _OWN, one) / logged_B - 1)
    has_error = name not in one.others.errorless
    diagnostics = one.others.diagnostics[name]
    return GroupEstimate(
        group=one.group,
        status=diagnostics.status,
        limits=diagnostics.limits,
        value=estimate.value,
        interval=estimate.interval(level) if has_error else None,
        realised=own.value,
        lift=lift.estimated,
        lift_interval=percentile_interval(lift_B, level) if has_error else None,
        realised_lift=lift.realised,
        realised_interval=lift.interval,
        recovery=lift.recovery if lift.is_realised else None,
        recovery_interval=(
            percentile_interval(recovery_B, level) if has_error and lift.is_realised else None
        ),
    )


def _replicates(kpi: Kpi, name: str, one: _LeftOut) -> Floats:
    amount, trials = KPI_TERMS[kpi]
    values_B = one.replicates[name, amount]
    return values_B if trials is None else values_B / one.replicates[name, trials]


def _summary(groups: Sequence[GroupEstimate]) -> RecoverySummary | None:
    if all(one.recovery is None for one in groups):
        return None
    return summarise_recovery(
        [
            PolicyLift(
                policy=one.group,
                estimated=one.lift,
                realised=one.realised_lift,
                interval=one.realised_interval,
            )
            for one in groups
        ]
    )


def choose_by_recovery(checks: Sequence[EstimatorCheck]) -> NestedChoice | None:
    """The estimator to read: supported, with a known error on every group, and with the best Recovery.

    None if there is no such estimator, or fewer than two groups have a realised lift.
    """
    usable = [one for one in checks if one.supported and all(two.interval for two in one.groups)]
    recovery_EP = np.array(
        [[two.recovery for two in one.groups if two.recovery is not None] for one in usable]
    )
    if not usable or recovery_EP.shape[1] < 2:
        return None
    return choose_estimator(recovery_EP, [one.name for one in usable])
