"""The values of policies in sentences, each with the numbers that it rests on."""

from collections.abc import Iterator

from scipy import stats

from pipeline.core.labels import counted
from pipeline.reporting.text.formatting import (
    digits_for,
    interval,
    number,
    percent,
    signed,
    thousands,
)
from pipeline.results.counterfactual import SupportLimit, SupportReason, SupportStatus
from pipeline.results.policy_values import EstimatorResult, PolicyResult, PolicyValues
from pipeline.results.slopes import Interval


def policy_value_lines(found: PolicyValues) -> list[str]:
    """What the log says of every policy."""
    logged = found.logged
    users = (
        "no column of users: rows count as independent"
        if found.users is None
        else counted(found.users, "user")
    )
    first = (
        f"{logged.source}: {counted(logged.rows, 'row')}, {counted(found.actions, 'action')}, {users}. Mean reward "
        f"{number(logged.value)} ({percent(found.level, 0)} CI {ends_phrase(logged.interval)})."
    )
    lines = [first]
    for policy in found.policies:
        lines += _policy_lines(policy, found)
    if found.realised is not None:
        lines.append(_realised_line(found))
    return lines


def limit_phrase(limit: SupportLimit) -> str:
    """A number that limits the support, such as ``support 71.0% is below 80%``."""
    value = number(limit.value, 3)
    match limit.reason:
        case SupportReason.SUPPORT:
            return f"support {percent(limit.value)} is below {percent(limit.limit, 0)}"
        case SupportReason.EFFECTIVE_SAMPLE_SIZE:
            size = thousands(round(limit.value))
            return f"the effective sample size {size} is below {thousands(limit.limit)}"
        case SupportReason.EFFECTIVE_SHARE:
            return f"the effective sample is {percent(limit.value)} of the rows, below {percent(limit.limit, 0)}"
        case SupportReason.TAIL:
            return f"the weights have a heavy tail: k̂ {value} is above {number(limit.limit, 2)}"
        case SupportReason.MEAN_WEIGHT:
            return (
                f"the mean weight is {number(abs(limit.value), 3)} standard errors from its expectation, more "
                f"than {number(limit.limit, 2)}: the propensities are not those of this log"
            )
        case SupportReason.EXTRAPOLATION:
            return (
                f"dividing by the weights extends support {percent(limit.value)} to the rest; expected "
                f"{percent(limit.limit)}"
            )


def _policy_lines(policy: PolicyResult, found: PolicyValues) -> Iterator[str]:
    one, weights = policy.headline_result, policy.diagnostics
    if one.found is None:
        yield (
            f"{policy.policy}: no value is given, since {'; '.join(map(limit_phrase, one.limits))}. Log more rows, "
            "or evaluate a policy that is closer to the logging policy."
        )
    else:
        yield f"{policy.policy}: {_value(one, found)}"
    support = "unknown (pass --logging)" if weights.support is None else percent(weights.support)
    tail = "no tail" if weights.k_hat is None else f"k̂ {number(weights.k_hat, 2)}"
    yield (
        f"  support {support}; mean weight {number(weights.mean_weight, 3)}, largest "
        f"{number(weights.max_weight, 3)}; effective sample {thousands(round(weights.effective_sample_size))} of "
        f"{thousands(weights.rows)}; {tail}"
    )
    if policy.betting is not None:
        yield f"  betting CI of IPS, valid at any number of rows: {ends_phrase(policy.betting)}"
    for other in policy.estimators:
        yield f"  {other.name}: {_other(other)}"


def _value(one: EstimatorResult, found: PolicyValues) -> str:
    assert one.found is not None
    text = f"{number(one.found.value)} ({percent(found.level, 0)} CI {ends_phrase(one.found.interval)}) by {one.name}"
    if one.lift is not None and one.lift_interval is not None:
        low, high = one.lift_interval
        text += (
            f", {_signed(one.lift)} against the logging policy ({percent(found.level, 0)} CI "
            f"{_signed(low)} to {_signed(high)})"
        )
    if one.status is SupportStatus.WEAK:
        text += f"; weakly supported: {'; '.join(map(limit_phrase, one.limits))}"
    return f"{text}."


def _other(one: EstimatorResult) -> str:
    if one.found is None:
        return f"no value: {'; '.join(map(limit_phrase, one.limits))}"
    if one.found.interval is None:
        return f"{number(one.found.value)}; its error is that of the reward model, which is unknown"
    text = f"{number(one.found.value)}, CI {ends_phrase(one.found.interval)}"
    if one.found.parameter is not None:
        text += f", with the parameter {number(one.found.parameter, 3)}"
    return text


def _signed(share: float) -> str:
    return f"{signed(100 * share, 1)}%"


def ends_phrase(ends: Interval | None) -> str:
    """An interval with the decimals that its width asks for."""
    return interval(ends) if ends is None else interval(ends, digits_for(*ends))


def _realised_line(found: PolicyValues) -> str:
    realised, policy = found.realised, found.policies[0]
    assert realised is not None
    text = (
        f"Realised in {realised.source}: {number(realised.value)} ({percent(found.level, 0)} CI "
        f"{ends_phrase(realised.interval)}), of {counted(realised.rows, 'row')}."
    )
    if found.difference is None:
        return f"{text} There is no estimate to compare it with."
    agree = abs(found.difference) < stats.norm.ppf((1 + found.level) / 2)
    verdict = "does not differ significantly" if agree else "differs significantly"
    difference = signed(found.difference, 1)
    return (
        f"{text} The estimate by {policy.headline} {verdict} from it: {difference} standard errors."
    )
