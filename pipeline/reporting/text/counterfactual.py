"""The values of policies in sentences, each with the numbers that it rests on."""

from collections.abc import Iterator, Sequence

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
from pipeline.results.counterfactual import (
    NoInterval,
    PolicyValue,
    SupportLimit,
    SupportReason,
    SupportStatus,
    WeightDiagnostics,
)
from pipeline.results.policy_values import EstimatorResult, MeanReward, PolicyResult, PolicyValues
from pipeline.results.slopes import Interval

_NO_INTERVAL = {
    NoInterval.MODEL: "its error is that of the reward model, which is unknown",
    NoInterval.CUT_WEIGHTS: "its error has a bias of cutting the weights, which is unknown",
    NoInterval.SUPPORT: "the reward of what the log cannot show is unknown",
    NoInterval.ONE_USER: "there is only one user, or one row",
    NoInterval.EQUAL_REWARDS: "the rewards that it rests on are all equal",
}
_MOST_NAMES = 3
"""Of actions in one line."""


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
        f"{number(logged.value)} ({interval_phrase(logged, found.level)})."
    )
    lines = [first]
    for policy in found.policies:
        lines += _policy_lines(policy, found)
    if found.realised is not None:
        lines.append(_realised_line(found))
    return lines


def limit_phrase(limit: SupportLimit, *, support_known: bool = True) -> str:
    """A number that limits the support, such as ``support 71.0% is below 80%``.

    If the support is not known, the mean weight allows the largest.
    """
    value = number(limit.value, 3)
    match limit.reason:
        case SupportReason.SUPPORT:
            share = percent(limit.value)
            text = (
                f"support {share} is"
                if support_known
                else f"the mean weight allows {share} support at most,"
            )
            return f"{text} below {percent(limit.limit, 0)}"
        case SupportReason.EFFECTIVE_SAMPLE_SIZE:
            size = thousands(round(limit.value))
            return f"the effective sample size {size} is below {thousands(limit.limit)}"
        case SupportReason.EFFECTIVE_SHARE:
            return f"the effective sample is {percent(limit.value)} of the rows, below {percent(limit.limit, 0)}"
        case SupportReason.TAIL:
            return f"the weights have a heavy tail: k̂ {value} is above {number(limit.limit, 2)}"
        case SupportReason.MEAN_WEIGHT:
            return (
                f"the mean weight is {number(abs(limit.value), 1)} standard errors "
                f"{'above' if limit.value > 0 else 'below'} its expectation, more than {number(limit.limit, 0)}"
            )
        case SupportReason.EXTRAPOLATION:
            return (
                f"dividing by the weights extends support {percent(limit.value)} to the rest; expected "
                f"{percent(limit.limit)}"
            )


def interval_phrase(value: MeanReward | PolicyValue, level: float) -> str:
    """``95% CI 0.19 to 0.22``, or why there is none."""
    if value.no_interval is not None:
        return f"no CI: {_NO_INTERVAL[value.no_interval]}"
    return f"{percent(level, 0)} CI {ends_phrase(value.interval)}"


def _policy_lines(policy: PolicyResult, found: PolicyValues) -> Iterator[str]:
    one, weights = policy.headline_result, policy.diagnostics
    if one.found is None:
        yield f"{policy.policy}: no value is given, since {_limits(one, policy)}. {_advice(policy)}"
    else:
        yield f"{policy.policy}: {_value(one, policy, found)}"
    if policy.unlogged:
        yield f"  {_unlogged(policy)}"
    yield f"  {_weights(weights, at_most=bool(policy.unlogged))}"
    if policy.betting is not None:
        yield f"  betting CI of IPS, valid at any number of rows: {ends_phrase(policy.betting)}"
    alike = [
        other.name
        for other in policy.estimators
        if one.found is None and other.limits == one.limits
    ]
    if alike:
        yield f"  {', '.join(alike)}: no value, for the same reason"
    for other in policy.estimators:
        if other.name not in alike:
            yield f"  {other.name}: {_other(other, policy)}"


def _limits(one: EstimatorResult, policy: PolicyResult, *, but: Sequence[SupportLimit] = ()) -> str:
    known = policy.diagnostics.support is not None
    kept = [limit for limit in one.limits if limit not in but]
    return "; ".join(limit_phrase(limit, support_known=known) for limit in kept)


def _advice(policy: PolicyResult) -> str:
    """What to do about a refusal."""
    weights = policy.diagnostics
    found = {one.reason: one.value for one in policy.headline_result.limits}
    z = found.get(SupportReason.MEAN_WEIGHT)
    if z is None:
        return "Log more rows, or evaluate a policy that is closer to the logging policy."
    text = "Correct the propensities: they are not the probabilities that the logged actions were chosen with"
    if z < 0 and weights.support is None:
        return (
            f"{text}, unless the logging policy could never choose some of what this policy chooses; pass --logging "
            "to tell the two apart."
        )
    return f"{text}."


def _unlogged(policy: PolicyResult) -> str:
    named = [f"{one.action} ({percent(one.share)})" for one in policy.unlogged[:_MOST_NAMES]]
    if (more := len(policy.unlogged) - len(named)) > 0:
        named.append(f"{thousands(more)} more")
    share = percent(sum(one.share for one in policy.unlogged))
    return (
        f"never logged: {', '.join(named)}; the log says nothing of {share} of what the policy chooses. Pass --logging, "
        "the policy that wrote the log, to know the support."
    )


def _weights(weights: WeightDiagnostics, *, at_most: bool) -> str:
    support = "unknown (pass --logging)"
    if weights.support is not None:
        support = f"{percent(weights.support)}{' at most' if at_most else ''}"
    tail = "no tail" if weights.k_hat is None else f"k̂ {number(weights.k_hat, 2)}"
    return (
        f"support {support}; mean weight {number(weights.mean_weight, 3)}, largest "
        f"{number(weights.max_weight, 3)}; effective sample {thousands(round(weights.effective_sample_size))} of "
        f"{thousands(weights.rows)}; {tail}"
    )


def _value(one: EstimatorResult, policy: PolicyResult, found: PolicyValues) -> str:
    assert one.found is not None
    text = f"{number(one.found.value)} ({interval_phrase(one.found, found.level)}) by {one.name}"
    if one.lift is not None and one.lift_interval is not None:
        low, high = one.lift_interval
        text += (
            f", {_signed(one.lift)} against the logging policy ({percent(found.level, 0)} CI "
            f"{_signed(low)} to {_signed(high)})"
        )
    if one.status is SupportStatus.WEAK:
        text += f"; weakly supported: {_limits(one, policy)}"
    return f"{text}."


def _other(one: EstimatorResult, policy: PolicyResult) -> str:
    if one.found is None:
        shared = policy.headline_result.limits if policy.is_refused else ()
        own = _limits(one, policy, but=shared)
        if len(one.limits) > len(shared) and own and set(shared) <= set(one.limits):
            return f"no value, for the same reason; {own}" if shared else f"no value: {own}"
        return f"no value: {_limits(one, policy)}"
    text = number(one.found.value)
    if one.found.interval is not None:
        text += f", CI {ends_phrase(one.found.interval)}"
    if one.found.parameter is not None:
        text += f", with the parameter {number(one.found.parameter, 3)}"
    if one.found.no_interval is not None:
        text += f"; {_NO_INTERVAL[one.found.no_interval]}"
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
        f"Realised in {realised.source}: {number(realised.value)} "
        f"({interval_phrase(realised, found.level)}), of {counted(realised.rows, 'row')}."
    )
    if policy.is_refused:
        return f"{text} There is no estimate to compare it with."
    if found.difference is None:
        return f"{text} Without a CI of both, it is not compared with the estimate."
    agree = abs(found.difference) < stats.norm.ppf((1 + found.level) / 2)
    verdict = "does not differ significantly" if agree else "differs significantly"
    difference = signed(found.difference, 1)
    return (
        f"{text} The estimate by {policy.headline} {verdict} from it: {difference} standard errors."
    )
