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
from pipeline.serving.ranking.snapshot import paths_of_arm
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
    arms, axis = (plan.candidate, plan.incumbent), study.experiment.second_axis
    if axis and (off := axis.off_front(arm.preference_id for arm in arms)):
        return failed(
            Gate.COUNTERFACTUAL,
            f"{' and '.join(sorted(off))} differs from its preference in {axis.kind}, but the estimates are of "
            "preferences; set rollout.gates.counterfactual to null to skip them",
        )
    found = [_estimate(gate, arm, study, paths) for arm in arms]
    for arm, (estimate, _) in zip(arms, found, strict=True):
        if estimate is None or estimate.status is not SupportStatus.USABLE:
            status = estimate.status if estimate else "without this KPI"
            limits = "; ".join(map(limit_phrase, estimate.limits)) if estimate else ""
            return failed(
                Gate.COUNTERFACTUAL,
                f"the log is {status} for {gate.kpi} of {arm.preference_id}; expected usable. {limits}".strip(),
            )
    new, old = [one.value if one and one.value else 0.0 for one, _ in found]
    if min(new, old) <= 0:  # an estimate that a model of the clicks corrects may be below 0
        reason = f"{gate.kpi} is estimated as {new:.4g} and {old:.4g}, which have no ratio"
        return failed(Gate.COUNTERFACTUAL, reason)
    change = Change(
        name=gate.kpi.value,
        log_ratio=math.log(new / old),
        standard_error=math.hypot(*(_relative_error(one, level) for one, level in found)),
        margin=gate.not_worse,
    )
    return evidence_of(Gate.COUNTERFACTUAL, [change], level=plan.config.level)


def _estimate(
    gate: CounterfactualGate, arm: Arm, study: Study, paths: StudyPaths
) -> tuple[PolicyKpi | None, float]:
    """The gate's KPI of an arm, under its own model, and the level of its interval."""
    model = paths_of_arm(arm, paths).artifact("conditioned_model").parent
    found = evaluate_policies_of(
        study, paths, UnservedQuestion(preference=arm.preference, rules=arm.rules, model=model)
    )
    (policy,) = found.policies
    return next((one for one in policy.kpis if one.kpi is gate.kpi), None), found.level


def _relative_error(estimate: PolicyKpi | None, level: float) -> float:
    """From the estimate's interval, which has this level; infinite without one."""
    if estimate is None or estimate.interval is None or not estimate.value:
        return math.inf
    low, high = estimate.interval
    return (high - low) / 2 / float(stats.norm.ppf((1 + level) / 2)) / estimate.value
