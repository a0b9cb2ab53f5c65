"""Counterfactual estimates of an experiment in sentences, each with the numbers that it rests on."""

from collections.abc import Iterator

from pipeline.core.labels import KPI_LABELS, counted
from pipeline.reporting.text.counterfactual import ends_phrase, limit_phrase
from pipeline.reporting.text.formatting import number, percent, thousands
from pipeline.reporting.text.lifts import lift_words
from pipeline.results.counterfactual import SupportStatus
from pipeline.results.counterfactual_estimates import (
    CounterfactualEstimates,
    EstimatorCheck,
    GroupEstimate,
    KpiCheck,
    NoChoice,
    PairingSummary,
    PolicyKpi,
    UnservedPolicies,
    UnservedPolicy,
)
from pipeline.results.slopes import Interval

ASSUMPTIONS = (
    "The estimates assume that a click is examination × attraction, they know nothing of items that no group "
    "shows, and they are of the same requests: that a better list leads to better next requests within a session "
    "is not in them, so even an exact estimate would not recover all of a realised lift."
)

_UNCHECKED = {
    NoChoice.TOO_FEW_GROUPS: "fewer than two groups have a realised lift",
    NoChoice.NO_SUPPORT: "no estimator with a known error is supported on every group by the others",
}


def pairing_sentence(found: PairingSummary) -> str:
    """How the lists of all groups came about."""
    text = (
        f"{counted(found.requests, 'request')} of {counted(found.users, 'user')} under "
        f"{counted(len(found.groups), 'group')}; the model shows {percent(found.equal_share, 2)} of the logged lists again"
    )
    if found.fallbacks:
        text += f"; left out: {counted(found.fallbacks, 'impression')} with a list that was not the model's"
    if found.unplaced_clicks:
        text += (
            f"; counted as none: {counted(found.unplaced_clicks, 'click')} on no item of the list"
        )
    return f"{text}."


def examination_sentence(found: CounterfactualEstimates) -> str:
    """The harvested curve."""
    curve = found.examination
    return (
        f"Examination of position k falls as k^−{number(curve.exponent, 2)} (standard error "
        f"{number(curve.standard_error, 3)}), from {counted(curve.clicks, 'click')} on items that groups place "
        "differently."
    )


def kpi_sentence(kpi: KpiCheck) -> str:
    """What leaving each group out says of a KPI's estimates."""
    label, one = KPI_LABELS[kpi.kpi], kpi.headline
    recovery = one.recovery
    if recovery is None:
        return (
            f"{label}: no group's realised lift over the others has an interval that excludes 0, so there is no "
            f"Recovery to check {one.name} by."
        )
    text = (
        f"{label}: estimated from the other groups by {one.name}, groups recovered {number(recovery.mean, 2)} of "
        f"their realised lift on average (mean |Recovery − 1| {number(recovery.mean_distance, 2)}"
    )
    if recovery.policies > 1:
        text += f", CV {number(recovery.cv_absolute, 2)}"
    if recovery.rank_correlation is not None:
        text += f", rank correlation of all groups {number(recovery.rank_correlation, 2)}"
    text += ")"
    if recovery.excluded:
        text += (
            f", without {', '.join(recovery.excluded)}, whose realised lift does not differ from 0"
        )
    if kpi.choice is None:
        return f"{text}. Recovery cannot choose an estimator: {_no_choice(kpi)}."
    return (
        f"{text}. Chosen on the other groups each time, the estimator's mean |Recovery − 1| is "
        f"{number(kpi.choice.mean_distance, 2)}."
    )


def _no_choice(kpi: KpiCheck) -> str:
    """Why there is no choice, with the groups that the default estimator lacks support on."""
    if kpi.no_choice is not NoChoice.NO_SUPPORT:
        return _UNCHECKED[NoChoice.TOO_FEW_GROUPS]
    refused = [
        f"{one.group} ({'; '.join(map(limit_phrase, one.limits))})"
        for one in kpi.headline.groups
        if one.status is SupportStatus.NO_SUPPORT and one.recovery is not None
    ]
    return (
        f"no estimator with a known error is supported on every group; {kpi.headline.name} is not on "
        f"{', '.join(refused)}"
    )


def support_sentence(found: CounterfactualEstimates) -> str:
    """The support of the groups by one another, with what is refused."""
    supports = [one.diagnostics.support or 0.0 for one in found.groups]
    text = (
        f"The lists of the other groups contain {percent(min(supports), 0)} to {percent(max(supports), 0)} of what "
        "a group's users examine."
    )
    refused = [
        f"{one.group} ({'; '.join(map(limit_phrase, one.diagnostics.limits))})"
        for one in found.groups
        if one.diagnostics.status is not SupportStatus.USABLE
    ]
    return f"{text} Limited: {', '.join(refused)}." if refused else text


def estimate_lines(found: CounterfactualEstimates) -> list[str]:
    """The estimates in a few lines."""
    return [
        pairing_sentence(found.pairing),
        examination_sentence(found),
        support_sentence(found),
        *map(kpi_sentence, found.kpis),
        ASSUMPTIONS,
    ]


def _lift(value: float, ends: Interval | None) -> str:
    """A lift with its interval: ``−20.1% (−21.0% to −19.2%)``."""
    return lift_words(value, ends, least_digits=1, alone=1)


def lift_rows(found: CounterfactualEstimates) -> list[list[str]]:
    """Every KPI and group under the estimator to read: support, estimated and realised lift, Recovery."""
    supports = {one.group: one.diagnostics.support for one in found.groups}
    return [
        [
            KPI_LABELS[kpi.kpi],
            one.group,
            kpi.headline.name,
            percent(supports[one.group]),
            number(one.value, 5),
            number(one.realised, 5),
            _lift(one.lift, one.lift_interval),
            _lift(one.realised_lift, one.realised_interval),
            _recovery(one),
            _status(one),
        ]
        for kpi in found.kpis
        for one in kpi.headline.groups
    ]


def recovery_rows(found: CounterfactualEstimates) -> list[list[str]]:
    """Recovery of every KPI and estimator over the groups."""
    return [
        [
            KPI_LABELS[kpi.kpi],
            one.name,
            number(one.recovery and one.recovery.mean, 3),
            number(one.recovery and one.recovery.mean_distance, 3),
            number(one.recovery and one.recovery.cv_absolute, 3),
            number(one.recovery and one.recovery.cv_standard, 3),
            number(one.recovery and one.recovery.rank_correlation, 2),
            str(one.recovery.policies if one.recovery else 0),
            _choice(kpi, one),
        ]
        for kpi in found.kpis
        for one in kpi.estimators
    ]


def _recovery(one: GroupEstimate) -> str:
    """Recovery with its interval; a dash where the realised lift includes 0."""
    if one.recovery is None or one.recovery_interval is None:
        return number(one.recovery, 2)
    low, high = one.recovery_interval
    return f"{number(one.recovery, 2)} ({number(low, 2)} to {number(high, 2)})"


def _status(one: GroupEstimate) -> str:
    """How far an estimate is supported, with the numbers."""
    if not one.limits:
        return one.status.value
    return f"{one.status.value}: {'; '.join(map(limit_phrase, one.limits))}"


def _choice(kpi: KpiCheck, one: EstimatorCheck) -> str:
    """What became of an estimator in the choice."""
    if kpi.choice and kpi.choice.estimator == one.name:
        return "chosen"
    if not one.supported:
        worst = next(group for group in one.groups if group.status is SupportStatus.NO_SUPPORT)
        return f"refused: {worst.group}, {limit_phrase(worst.limits[0])}"
    return "supported" if one.groups[0].interval else "its error is unknown"


def unserved_lines(found: UnservedPolicies) -> list[str]:
    """What the experiment says of policies that were not served."""
    return [line for policy in found.policies for line in _policy_lines(policy, found)]


def _policy_lines(policy: UnservedPolicy, found: UnservedPolicies) -> Iterator[str]:
    weights = policy.diagnostics
    text = (
        f"{policy.policy}: {counted(policy.requests, 'request')} of {counted(found.users, 'user')}; support "
        f"{percent(weights.support)}, effective sample {thousands(round(weights.effective_sample_size))}; "
        f"{percent(policy.new_lists)} of the lists are those of no group"
    )
    if policy.left_out:
        text += (
            f"; {counted(policy.left_out, 'request')} without a list left out: the model knows no item of theirs, or "
            "the filters leave none"
        )
    yield f"{text}."
    for one in policy.kpis:
        yield f"  {_kpi_line(one, found.level)}"


def _kpi_line(one: PolicyKpi, level: float) -> str:
    label = KPI_LABELS[one.kpi]
    if one.value is None or one.lift is None:
        return f"{label}: no value is given, since {'; '.join(map(limit_phrase, one.limits))}."
    ends = "" if one.interval is None else f" ({percent(level, 0)} CI {ends_phrase(one.interval)})"
    text = (
        f"{label}: {number(one.value, 5)}{ends} by {one.estimator}, {_lift(one.lift, one.lift_interval)} against "
        f"{number(one.realised, 5)} of all groups"
    )
    if one.status is SupportStatus.WEAK:
        text += f"; weakly supported: {'; '.join(map(limit_phrase, one.limits))}"
    if one.no_choice is not None:
        return f"{text}; not checked: {_UNCHECKED[one.no_choice]}."
    return f"{text}; on the groups themselves its lifts were off by {percent(one.nested_distance, 0)} on average."
