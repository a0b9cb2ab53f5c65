"""The counterfactual gate: a KPI of both arms, estimated from the finished experiment's log."""

import math

from scipy import stats

from pipeline.artifacts.storage import StudyPaths
from pipeline.reporting.text.counterfactual import limit_phrase
from pipeline.results.counterfactual import SupportStatus
from pipeline.results.counterfactual_estimates import PolicyKpi
from pipeline.rollout.gates import Gate, GateEvidence
from pipeline.rollout.plan import RolloutPlan
from pipeline.rollout.served import Arm
from pipeline.steps.rollout_gates.not_worse import Change, evidence_of, failed
from pipeline.steps.unserved_policies import UnservedQuestion, evaluate_policies_of
from pipeline.study import Study
from pipeline.study.rollout import CounterfactualGate


def check_counterfactual(
    gate: CounterfactualGate, plan: RolloutPlan, study: Study, paths: StudyPaths
) -> GateEvidence:
    """Compare the estimates of both arms, taken as independent although they are of the same requests.

    Their errors are positively correlated, so that the interval of the change is too wide rather than too
    narrow. The log must support both: the status ``usable``.

    Raises:
        MissingArtifact: if there are no ``paired_lists`` or ``counterfactual_estimates``.
    """
    found = {arm: _estimate(gate, arm, study, paths) for arm in (plan.candidate, plan.incumbent)}
    for arm, estimate in found.items():
        if estimate is None or estimate.status is not SupportStatus.USABLE:
            status = estimate.status if estimate else "without this KPI"
            limits = "; ".join(map(limit_phrase, estimate.limits)) if estimate else ""
            return failed(
                Gate.COUNTERFACTUAL,
                f"the log is {status} for {gate.kpi} of {arm.preference_id}; expected usable. {limits}".strip(),
            )
    new, old = (found[arm] for arm in (plan.candidate, plan.incumbent))
    if new is None or old is None or not new.value or not old.value:
        return failed(Gate.COUNTERFACTUAL, f"{gate.kpi} is 0 for one of the two; it has no ratio")
    errors = [_relative_error(one, study.regression.level) for one in (new, old)]
    change = Change(
        name=gate.kpi.value,
        log_ratio=math.log(new.value / old.value),
        standard_error=math.hypot(*errors),
        margin=gate.not_worse,
    )
    return evidence_of(Gate.COUNTERFACTUAL, [change], level=plan.config.level)


def _estimate(
    gate: CounterfactualGate, arm: Arm, study: Study, paths: StudyPaths
) -> PolicyKpi | None:
    other = None if arm.study is None else StudyPaths(paths.root, arm.study).folder
    question = UnservedQuestion(preference=arm.preference, model=other)
    (policy,) = evaluate_policies_of(study, paths, question).policies
    return next((one for one in policy.kpis if one.kpi is gate.kpi), None)


def _relative_error(estimate: PolicyKpi, level: float) -> float:
    """From the estimate's interval; infinite without one."""
    if estimate.interval is None or not estimate.value:
        return math.inf
    low, high = estimate.interval
    return (high - low) / 2 / float(stats.norm.ppf((1 + level) / 2)) / estimate.value
