"""One sentence per hypothesis, which claims no more than its intervals."""

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.experiment.kpis.contracts import TERMS
from pipeline.reporting.text.formatting import approximate, digits_for, signed
from pipeline.reporting.text.reasons import VERDICTS, undefined_words
from pipeline.results.hypothesis import Elasticity, HypothesisResult
from pipeline.results.reasons import Verdict


def answer_sentence(result: HypothesisResult, cutoff: int | None) -> str:
    """The result of one hypothesis in one sentence.

    Args:
        result: The result.
        cutoff: The k of metrics whose name has none.
    """
    metric, kpi = metric_label(result.metric, cutoff), KPI_LABELS[result.kpi]
    named = f"({result.id}, {VERDICTS[result.verdict].partition(':')[0]})"
    if result.slope is None or result.elasticity is None:
        return f"{metric} and {kpi} {named}: {undefined_words(result.undefined_reason)}."
    if result.verdict is Verdict.BLOCKED:
        return (
            f"{metric} and {kpi} {named}: the sample ratio does not match the plan, or outcomes "
            "are lost (see the diagnostics), so nothing is concluded."
        )
    if result.verdict is Verdict.INCONCLUSIVE:
        found = _inconclusive(result, result.elasticity, metric)
        return f"It is inconclusive whether {metric} predicts {kpi} {named}: {found}"
    lower = "lower " if result.direction == "negative" else ""
    found = _effect(result, result.elasticity, metric)
    if result.verdict is Verdict.SUGGESTIVE:
        return (
            f"{metric} may predict {lower}{kpi} {named}: {found}, but with {result.groups} groups this "
            "could be chance. More groups would resolve it, more users would not."
        )
    if result.verdict is Verdict.CONTRADICTED:
        return f"{metric} does not predict {lower or 'higher '}{kpi}, as declared {named}: {found}."
    return f"{metric} predicts {lower}{kpi} {named}: {found}."


def _effect(result: HypothesisResult, found: Elasticity, metric: str) -> str:
    """The change associated with a 1% higher metric, with the interval of the verdict."""
    low, high = found.interval
    digits, up = digits_for(low, high), found.estimate > 0
    ends = sorted((low, high)) if up else sorted((-low, -high))
    first, last = (f"{end:.{digits}f}" for end in ends)
    return (
        f"1% higher {metric} is associated with {abs(found.estimate):.{digits}f}% "
        f"{'higher' if up else 'lower'} {KPI_LABELS[result.response]} ({_interval(result)} {first}% "
        f"to {last}%)"
    )


def _interval(result: HypothesisResult) -> str:
    anytime = "anytime-valid " if result.is_interim else ""
    return f"{anytime}{100 * (result.level or 0.0):g}% CI"


def _inconclusive(result: HypothesisResult, found: Elasticity, metric: str) -> str:
    low, high = found.interval
    digits = digits_for(low, high)
    words = (
        f"1% higher {metric} is associated with a change of {signed(low, digits)}% to "
        f"{signed(high, digits)}% in {KPI_LABELS[result.response]} ({_interval(result)}; estimate "
        f"{signed(found.estimate, digits)}%)."
    )
    if result.required_trials is None:
        return words
    detectable = abs(found.minimum_detectable)
    return (
        f"{words} An effect of the estimated size requires about "
        f"{approximate(result.required_trials)} {TERMS[result.response][0]} for 80% power; there "
        f"were {approximate(result.n)}, enough to detect "
        f"{detectable:.{digits_for(0.0, 2 * detectable)}f}% with 80% power."
    )
