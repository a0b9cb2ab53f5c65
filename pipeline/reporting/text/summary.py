"""The answers in sentences that claim no more than their intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.contracts import Kpi
from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.inference.hypotheses.confidence_rating import rate_evidence
from pipeline.inference.hypotheses.recommendation import recommend
from pipeline.reporting.text.formatting import approximate, digits_for, signed

Json = dict[str, Any]

ALONG_THE_FRONT = (
    "A slope describes how a KPI moves from group to group, where all metrics move together; it is "
    "not the effect of one metric with the others held fixed."
)
_NOT_REAL = {
    "simulated": "No real person saw a list: this is a rehearsal, and says nothing of your shop.",
    "drawn": "There were neither users nor lists: this tries out the inference, and says nothing of "
    "your shop.",
    "replayed": "No real person saw a list: past visits were replayed, and the same visits measured "
    "the offline metrics.",
}
_BEYOND = (
    "Nothing is known beyond the groups that were tried, nor of effects that need longer than the "
    "experiment ran."
)


def build_summary(report: Mapping[str, Any], *, level: float) -> Json:
    """What a reader must know first: answers with their trust, recommendations, and the limits.

    Args:
        report: What the report holds otherwise.
        level: Of the intervals.
    """
    hypotheses, experiment = report["hypotheses"], report.get("experiment", {})
    groups: Sequence[Json] = experiment.get("plan", {}).get("groups", [])
    sentences = [answer_sentence(one, report["cutoff"]) for one in hypotheses]
    trusted = [rate_evidence(one, report["health"]).as_dict() for one in hypotheses]
    origin = experiment.get("origin")
    found = recommend(hypotheses, report["group_kpis"], groups, level=level)
    return {
        "summary": sentences,
        "trust": {one["id"]: trust for one, trust in zip(hypotheses, trusted, strict=True)},
        "recommendations": [one.as_dict() for one in found],
        "cannot_say": [
            *([_NOT_REAL[origin]] if origin in _NOT_REAL else []),
            ALONG_THE_FRONT,
            _BEYOND,
        ],
    }


def answer_sentence(hypothesis: Json, cutoff: int | None) -> str:
    """One hypothesis in one sentence that claims no more than the wider of its intervals."""
    metric = metric_label(hypothesis["metric"], cutoff)
    kpi = KPI_LABELS[hypothesis["kpi"]]
    named = f"({hypothesis['id']}, {hypothesis['verdict']})"
    if hypothesis["slope"] is None:
        return f"{metric} and {kpi} {named}: {hypothesis['undefined_because']}."
    other = hypothesis["direction"] == "negative"
    match hypothesis["verdict"]:
        case "blocked":
            return (
                f"{metric} and {kpi} {named}: the users are not divided as planned, so nothing is "
                "concluded."
            )
        case "not shown":
            return f"It is not shown that {metric} predicts {kpi} {named}: {_not_shown(hypothesis)}"
        case "fragile":
            return (
                f"{metric} may predict {'less ' if other else ''}{kpi} {named}: "
                f"{effect(hypothesis, metric)}, but {hypothesis['groups']} groups could lie so by "
                "chance. More groups would settle it, more users would not."
            )
        case "contradicted":
            return (
                f"{metric} does not predict {'less' if other else 'more'} {kpi}, as was declared "
                f"{named}: {effect(hypothesis, metric)}."
            )
        case _:
            return (
                f"{metric} predicts {'less ' if other else ''}{kpi} {named}: "
                f"{effect(hypothesis, metric)}."
            )


def effect(hypothesis: Json, metric: str) -> str:
    """What goes with 1 % more of the metric, with the interval that the verdict rests on."""
    found, response = hypothesis["elasticity"], KPI_LABELS[hypothesis["response"]]
    low, high = found["interval"]
    digits, up = digits_for(low, high), found["estimate"] > 0
    ends = sorted((low, high)) if up else sorted((-low, -high))
    first, last = (f"{end:.{digits}f}" for end in ends)
    return (
        f"1 % more {metric} goes with {abs(found['estimate']):.{digits}f} % "
        f"{'more' if up else 'less'} {response} ({_interval(hypothesis)} {first} to {last} %)"
    )


def _interval(hypothesis: Json) -> str:
    on_all_days = " on all days at once" if hypothesis["reading"] == "early look" else ""
    return f"{100 * hypothesis['level']:g} % interval{on_all_days}"


def _not_shown(hypothesis: Json) -> str:
    found, response = hypothesis["elasticity"], KPI_LABELS[hypothesis["response"]]
    low, high = found["interval"]
    digits = digits_for(low, high)
    trials = TERMS[Kpi(hypothesis["response"])][0]
    words = (
        f"what goes with 1 % more of it may be anything from {signed(low, digits)} to "
        f"{signed(high, digits)} % {response} ({_interval(hypothesis)}; estimate "
        f"{signed(found['estimate'], digits)} %). "
    )
    if hypothesis["trials_to_settle"] is None:
        return words.rstrip()
    detectable = digits_for(0.0, 2 * abs(found["detectable"]))
    return words + (
        f"About {approximate(hypothesis['trials_to_settle'])} {trials} would settle an effect of that size; "
        f"there were {approximate(hypothesis['n'])}, enough to find one of "
        f"{abs(found['detectable']):.{detectable}f} % with a chance of 80 %."
    )
