"""What a plan costs, what protects users in it, and what would improve it, as lines of text."""

from pipeline.core.labels import KPI_LABELS, counted, metric_label
from pipeline.experiment.design.optimal_design.criterion import Efficiency
from pipeline.experiment.design.optimal_design.guardrails import GuardrailLoss
from pipeline.experiment.design.optimal_design.joint_information import (
    LARGEST_INFLATION,
    fewest_groups,
)
from pipeline.reporting.text.formatting import (
    correlation,
    number,
    percent,
    thousands,
    variance_inflation,
)
from pipeline.results.power import (
    AdaptiveEnd,
    ExpectedCost,
    PlannedHypothesis,
    PlanOffer,
    PowerAnalysis,
    ToldApart,
)


def cost_lines(power: PowerAnalysis, cutoff: int | None) -> list[str]:
    """The guardrails of a plan, and what it is expected to cost."""
    return [
        *(_guardrail(one, cutoff) for one in power.design.guardrails),
        *(_cost(one, power) for one in power.cost),
    ]


def _guardrail(one: GuardrailLoss, cutoff: int | None) -> str:
    metric, loss = metric_label(one.metric, cutoff), percent(max(one.largest, 0.0), 0)
    if one.limit is None:
        return (
            f"no guardrail: a group loses up to {loss} of {metric} against {one.reference}; set "
            f"experiment.guardrails: {{{one.metric}: 0.15}} to bound it"
        )
    candidates = f"{counted(one.excluded, 'candidate')} excluded"
    return (
        f"guardrail: no group may lose more than {percent(one.limit, 0)} of {metric} against "
        f"{one.reference}; the largest loss is {loss}, {candidates}"
    )


def _cost(one: ExpectedCost, power: PowerAnalysis) -> str:
    low, high = one.interval if one.amount >= 0 else (-one.interval[1], -one.interval[0])
    in_revenue = any(other.quantity == "revenue" for other in power.cost)
    also = ", and of the revenue" if one.quantity == "orders" and not in_revenue else ""
    return (
        f"expected, at the slopes assumed for {', '.join(one.hypotheses)}: next to {one.reference} for "
        f"everybody, {counted(power.planned_days, 'day')} {'cost' if one.amount >= 0 else 'gain'} "
        f"{thousands(round(abs(one.amount)))} {one.quantity} ({percent(abs(one.share))}{also}); "
        f"{percent(power.level, 0)} of simulated experiments: {_count(low)} to {_count(high)}"
    )


def _count(value: float) -> str:
    return thousands(round(value)).replace("-", "−")


def offer_lines(offers: tuple[PlanOffer, ...]) -> list[str]:
    """One line per offer: the keys to set, and the power that results."""
    found = [
        f"  {one.change}: "
        + ", ".join(
            f"{name} {'never' if value is None else percent(value, 0)}"
            for name, value in one.power.items()
        )
        for one in offers
    ]
    return ["power of other plans with the same users, set in experiment:", *found] if found else []


def adaptive_line(found: AdaptiveEnd, planned: int) -> str:
    """How long the experiment takes if it ends once decided, or without a chance."""
    return (
        f"  ended once decided or without a chance: {number(found.days, 1)} of {planned} days on average "
        f"({number(found.days_without_slope, 1)} where the metric does nothing), "
        f"{percent(found.confirmed, 0)} confirmed, {percent(found.given_up, 0)} given up"
    )


def rival_lines(one: PlannedHypothesis, cutoff: int | None) -> list[str]:
    """Whether the metric can be distinguished from its rivals, with the plan and on the front alone."""
    information = one.information
    if information is None or information.partial is None or one.apart is None:
        return []
    rivals = [metric_label(name, cutoff) for name in information.rivals]
    kpi = KPI_LABELS[one.response]
    lines = [f"  {_answer(rivals, information.partial, one.apart, kpi)}"]
    if information.partial_one_front and one.apart_one_front:
        answer = _answer(rivals, information.partial_one_front, one.apart_one_front, kpi)
        lines.append(f"  on the front alone: {answer}")
    return lines


def _answer(rivals: list[str], found: Efficiency, apart: ToldApart, kpi: str) -> str:
    moves = ", ".join(
        f"{correlation(value)} with {name}"
        for name, value in zip(rivals, found.correlations, strict=True)
    )
    inflation = variance_inflation(found.inflation)
    if found.inflation is None or found.inflation > LARGEST_INFLATION:
        answer = (
            f"not told apart ({moves}, variance inflation {inflation}, largest allowed "
            f"{LARGEST_INFLATION:g})"
        )
    elif apart.partial is None:
        needed = fewest_groups(1 + len(rivals))
        answer = (
            f"not told apart ({moves}): a slope with the others held fixed needs {needed} groups"
        )
    else:
        answer = (
            f"told apart with {percent(apart.partial, 0)} power ({moves}, variance inflation "
            f"{inflation})"
        )
    closest = rivals[max(range(len(rivals)), key=lambda n: abs(found.correlations[n]))]
    return f"{answer}; significant in {percent(apart.mistaken, 0)} although {kpi} follows {closest} instead"
