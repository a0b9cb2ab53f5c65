"""What each guardrail and signal of a rollout says, with its numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from pipeline.rollout.decisions.comparison import (
    Comparison,
    Rule,
    Verdict,
    compare_kpi,
    compare_requests,
)
from pipeline.rollout.fold import Rollout
from pipeline.rollout.sums import KpiSums, RolloutSums, counted_until
from pipeline.study.rollout import RolloutStage

_LARGEST_LOG_RATIO = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a guardrail or a signal says.

    Attributes:
        name: Of the KPI or the share of requests.
        is_signal: Whether it can only hold.
        verdict: What it says of the next step.
        summary: All numbers, for the reader.
        waits_for: What it needs to pass; empty if it passes, or only days are missing.
        comparison: Of the arms; None if it cannot be computed.
        low: Lower bound of the difference, by which it passes; None likewise.
        high: Upper bound of the difference, by which harm is proven; None likewise.
    """

    name: str
    is_signal: bool
    verdict: Verdict
    summary: str
    waits_for: str = ""
    comparison: Comparison | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_harmed(self) -> bool:
        """Whether harm is proven."""
        return self.verdict is Verdict.ROLL_BACK


def read_guardrails(rollout: Rollout, sums: RolloutSums) -> dict[str, Reading]:
    """The readings of all guardrails and signals of a live rollout, by name."""
    return {one.name: one.read(rollout, sums) for one in _guards(rollout)}


def readings_of(readings: Mapping[str, Reading], verdict: Verdict) -> list[Reading]:
    """The guardrails, without signals, that say so."""
    return [one for one in readings.values() if one.verdict is verdict and not one.is_signal]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guard:
    """A guardrail or a signal in a stage.

    Attributes:
        name: Of the KPI or the share of requests.
        is_signal: Whether it can only hold.
        is_share: Whether it is a share of requests.
        rule: When a comparison is a verdict.
        tolerated: Size of the difference that must be excluded; None for none.
    """

    name: str
    is_signal: bool = False
    is_share: bool = False
    rule: Rule
    tolerated: float | None

    def read(self, rollout: Rollout, sums: RolloutSums) -> Reading:
        """What it says."""
        found = sums.kpis.get(self.name)
        if found is None:
            return self._unknown("the log has no sums of it")
        latest = counted_until(self.name, sums.newest, rollout.plan.attribution_hours)
        if found.until > latest:
            return self._unknown(
                f"it counts impressions until {found.until:%Y-%m-%d %H:%M}; expected until "
                f"{latest:%Y-%m-%d %H:%M} at most, as later ones may still have orders"
            )
        comparison = compare_requests(found) if self.is_share else compare_kpi(found)
        if comparison is None:
            return self._unknown(_counts(found))
        stage_time = found.until - rollout.stage_starts[-1]
        is_time = stage_time >= timedelta(days=stage_of(rollout).days)
        low, high = self.rule.bounds(comparison)
        return Reading(
            name=self.name,
            is_signal=self.is_signal,
            verdict=self.rule.verdict(comparison, tolerated=self.tolerated, is_time=is_time),
            summary=_summary(self.name, comparison, (low, high), is_share=self.is_share),
            waits_for=self._waits_for(comparison, low),
            comparison=comparison,
            low=low,
            high=high,
        )

    def _waits_for(self, comparison: Comparison, low: float) -> str:
        if comparison.users < self.rule.need:
            return f"{self.rule.need} users in the smaller arm"
        if self.tolerated is None or low > -self.tolerated:
            return ""
        if self.is_share:
            return f"at most {self.tolerated:+g}"
        return f"at least {math.expm1(-self.tolerated):+.1%}"

    def _unknown(self, problem: str) -> Reading:
        return Reading(
            name=self.name,
            is_signal=self.is_signal,
            verdict=Verdict.HOLD,
            summary=f"{self.name} cannot be computed: {problem}",
        )


def _guards(rollout: Rollout) -> list[_Guard]:
    """The guardrails and signals of the current stage."""
    config, margin = rollout.plan.config, stage_of(rollout).margin
    guardrails = len(config.guardrails) + len(config.requests)
    loss = None if margin is None else -math.log1p(-margin)
    kpis = [
        _Guard(name=kpi.value, rule=_rule(rollout, guardrails), tolerated=loss)
        for kpi in config.guardrails
    ]
    requests = [
        _Guard(
            name=name,
            is_share=True,
            rule=_rule(rollout, guardrails, harm),
            tolerated=None if margin is None else harm,
        )
        for name, harm in config.requests.items()
    ]
    rule = _rule(rollout, len(config.signals))
    signals = [
        _Guard(name=kpi.value, is_signal=True, rule=rule, tolerated=None) for kpi in config.signals
    ]
    return [*kpis, *requests, *signals]


def _counts(sums: KpiSums) -> str:
    arms = {"candidate": sums.candidate, "incumbent": sums.incumbent}
    return ", ".join(
        f"{arm.y_S.sum():g} of {arm.m_S.sum():g} for the {name}" for name, arm in arms.items()
    )


def _summary(
    name: str, comparison: Comparison, bounds: tuple[float, float], *, is_share: bool
) -> str:
    low, high = bounds
    arms = f"{comparison.candidate:.4g} against {comparison.incumbent:.4g}"
    if is_share:
        change, least, most = (0.0 - x for x in (comparison.difference, high, low))
        numbers = f"{change:+.4f} ({least:+.4f} to {most:+.4f})"
    else:
        change = comparison.candidate / comparison.incumbent - 1
        least, most = _relative(low), _relative(high)
        numbers = f"{change:+.1%} ({least:+.1%} to {most:+.1%})"
    return f"{name} {numbers}, {arms}, {comparison.users} users in the smaller arm"


def _relative(log_ratio: float) -> float:
    """The relative change; infinite where a float has no number for it, as of a few users."""
    return math.expm1(log_ratio) if log_ratio < _LARGEST_LOG_RATIO else math.inf


def stage_of(rollout: Rollout) -> RolloutStage:
    """The stage of a live rollout."""
    if rollout.stage is None:
        msg = "no stage has begun"
        raise ValueError(msg)
    return rollout.stage


def _rule(rollout: Rollout, guardrails: int, harm: float = 0.0) -> Rule:
    plan = rollout.plan
    return Rule(
        need=plan.fewest_users,
        n_star=plan.most_users,
        alpha=1 - plan.config.level,
        guardrails=guardrails,
        harm=harm,
    )
