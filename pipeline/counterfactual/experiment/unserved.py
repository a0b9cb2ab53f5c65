"""The value of a policy that was not served, from the finished experiment's log.

Shape suffixes: N requests, G groups, K positions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import Kpi
from pipeline.counterfactual.experiment.examination import ExaminationCurve, ShownLists
from pipeline.counterfactual.experiment.paired_lists import PairedLists
from pipeline.counterfactual.experiment.policy_sums import PolicySums, kpi_estimate, policy_sums
from pipeline.counterfactual.weighted_log import Ints
from pipeline.results.counterfactual import SupportStatus
from pipeline.results.counterfactual_estimates import (
    CounterfactualEstimates,
    KpiCheck,
    PolicyKpi,
    UnservedPolicy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLists:
    """What a policy would show.

    Attributes:
        name: The policy, for the reader.
        preference: Weights of the objectives.
        rows: The requests that it has a list for.
        lists_NK: Its lists for them, with one item at least; -1 fills a short one up.
    """

    name: str
    preference: tuple[float, ...]
    rows: Ints
    lists_NK: NDArray[np.integer]


def evaluate_unserved(
    pairs: PairedLists, policy: PolicyLists, checked: CounterfactualEstimates, *, seed: int
) -> UnservedPolicy:
    """Estimate every KPI with the estimator that Recovery chose on the groups.

    All groups are the logging policy. Lifts are over the experiment as a whole, on the same requests.
    """
    rows = policy.rows
    log = ShownLists.of(
        pairs.log.lists_GNK[:, rows], pairs.log.group_N[rows], pairs.log.user_N[rows]
    )
    curve = ExaminationCurve(exponent=checked.examination.exponent)
    rng = np.random.default_rng([seed, 22])
    found = policy_sums(pairs, log, rows=rows, target_NK=policy.lists_NK, curve=curve, rng=rng)
    same_N = (log.lists_GNK == policy.lists_NK).all(axis=2).any(axis=0)
    return UnservedPolicy(
        policy=policy.name,
        preference=policy.preference,
        requests=len(rows),
        left_out=len(pairs.log.group_N) - len(rows),
        new_lists=float(1 - same_N.mean()),
        diagnostics=next(iter(found.diagnostics.values())),
        kpis=tuple(_kpi(kpi, found, checked.level) for kpi in checked.kpis),
    )


def _kpi(check: KpiCheck, found: PolicySums, level: float) -> PolicyKpi:
    kpi: Kpi = check.kpi
    name = check.headline.name
    diagnostics = found.diagnostics[name]
    logged = kpi_estimate(kpi, found.logged)
    is_supported = diagnostics.status is not SupportStatus.NO_SUPPORT
    estimate = kpi_estimate(kpi, found.sums[name]) if is_supported else None
    lift = estimate.lift_over(logged) if estimate else None
    return PolicyKpi(
        kpi=kpi,
        estimator=name,
        chosen=check.choice is not None,
        status=diagnostics.status,
        limits=diagnostics.limits,
        value=estimate.value if estimate else None,
        interval=estimate.interval(level) if estimate else None,
        realised=logged.value,
        lift=lift.value if lift else None,
        lift_interval=lift.interval(level) if lift else None,
        nested_distance=check.choice.mean_distance if check.choice else None,
        no_choice=check.no_choice,
    )
