"""Which group to serve for which KPI, what to expect of it, and what it costs in the other KPIs.

Groups are compared as they were measured: users were divided at random, so the difference between
two groups is an effect of what they were served, whether or not a metric explains it. The two
groups are chosen by looking, so intervals hold for all pairs of groups at once (Bonferroni). The
line of a hypothesis says what the metric foretells of the same change.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import combinations
from typing import Any

from scipy import stats

from pipeline.inference.glm.prediction_band import Change, log_change, predicted_change
from pipeline.inference.hypotheses.verdict import Verdict

Json = Mapping[str, Any]
_USABLE = (Verdict.CONFIRMED.value, Verdict.FRAGILE.value)


class Advice(StrEnum):
    """What may be recommended for a KPI."""

    SERVE = "serve"
    """One group is better than the one where the KPI is lowest."""
    NO_DIFFERENCE = "no difference shown"
    """No two groups can be told apart by this KPI."""
    WAIT = "wait"
    """The experiment has not reached its planned end."""
    BLOCKED = "blocked"
    """The users are not divided as planned."""
    UNDEFINED = "undefined"
    """A group's KPI is 0 or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiChange:
    """A KPI of one group against another's.

    Attributes:
        kpi: The KPI.
        group: Where it ends.
        against: Where it starts.
        change: As a fraction of the start.
        interval: For all pairs of groups at once.
        reading: "more", "less", or "not known" where the interval holds 0.
    """

    kpi: str
    group: str
    against: str
    change: float
    interval: tuple[float, float]
    reading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to do for one KPI.

    Attributes:
        kpi: The KPI.
        advice: See :class:`Advice`.
        hypothesis: Id of the declared hypothesis whose metric to optimise: of those on this KPI,
            confirmed before fragile, then one whose metric is to rise, then the first declared.
            None if none is.
        optimise: Whether to "raise" or to "lower" that metric.
        refuted: Ids of hypotheses on this KPI whose slope points the other way.
        group: The group where the KPI was highest.
        preference: Its π; None of a group that is a variant.
        against: The group where the KPI was lowest.
        expected: What was measured from there to here.
        foretold: The same change along the line of ``hypothesis``, at the study's level; the error
            is that of the line alone.
        trades: What the same move does to the other KPIs.
        as_good: Groups that the best one was not shown to be better than.
        moves: Every KPI on the way to ``group`` from every other group.
        pairs: For how many pairs of groups each interval holds at once.
    """

    kpi: str
    advice: Advice
    hypothesis: str | None = None
    optimise: str | None = None
    refuted: tuple[str, ...] = ()
    group: str | None = None
    preference: tuple[float, ...] | None = None
    against: str | None = None
    expected: KpiChange | None = None
    foretold: Change | None = None
    trades: tuple[KpiChange, ...] = ()
    as_good: tuple[str, ...] = ()
    moves: tuple[KpiChange, ...] = field(default=())
    pairs: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As ``report.json`` holds it."""
        return _lists(asdict(self)) | {"advice": self.advice.value}


def recommend(
    hypotheses: Sequence[Json],
    group_kpis: Sequence[Json],
    groups: Sequence[Json],
    *,
    level: float,
) -> list[Recommendation]:
    """A recommendation for every KPI that a hypothesis was declared on, in their order.

    Args:
        hypotheses: As ``report.json`` has them.
        group_kpis: Rows of the table.
        groups: Of the plan, with ``name`` and, if one model serves them, ``preference``.
        level: Of the intervals.
    """
    kpis = list(dict.fromkeys(one["kpi"] for one in hypotheses))
    table: dict[str, dict[str, Json]] = {}
    for row in group_kpis:
        table.setdefault(row["kpi"], {})[row["group"]] = row
    preferences = {group["name"]: group.get("preference") for group in groups}
    return [_for_kpi(kpi, kpis, hypotheses, (table, preferences), level=level) for kpi in kpis]


def _for_kpi(
    kpi: str,
    kpis: Sequence[str],
    hypotheses: Sequence[Json],
    known: tuple[dict[str, dict[str, Json]], dict[str, Any]],
    *,
    level: float,
) -> Recommendation:
    table, preferences = known
    asked = [one for one in hypotheses if one["kpi"] == kpi]
    rows = table.get(kpi, {})
    if any(one["verdict"] == Verdict.BLOCKED for one in asked):
        return Recommendation(kpi=kpi, advice=Advice.BLOCKED)
    chosen = _metric_to_optimise(asked)
    found: dict[str, Any] = {
        "kpi": kpi,
        "hypothesis": chosen and chosen["id"],
        "optimise": chosen and ("raise" if chosen["slope"] > 0 else "lower"),
        "refuted": tuple(o["id"] for o in asked if o["verdict"] == Verdict.CONTRADICTED),
    }
    if any(one["reading"] == "early look" for one in asked):
        return Recommendation(**found, advice=Advice.WAIT)
    if len(rows) < 2 or not all(row["rate"] and row["standard_error"] for row in rows.values()):
        return Recommendation(**found, advice=Advice.UNDEFINED)
    by_rate = sorted(rows, key=lambda name: rows[name]["rate"])
    best, lowest = by_rate[-1], by_rate[0]
    pairs = math.comb(len(rows), 2)
    z = float(stats.norm.ppf(1 - (1 - level) / (2 * pairs)))

    def moved(of: str, start: str) -> KpiChange | None:
        return _compare(of, table.get(of, {}), best, start, z=z)

    expected = moved(kpi, lowest)
    if expected is None or not any(
        (one := _compare(kpi, rows, a, b, z=z)) and one.reading != "not known"
        for a, b in combinations(rows, 2)
    ):
        return Recommendation(**found, advice=Advice.NO_DIFFERENCE, pairs=pairs)
    others = [name for name in rows if name != best]
    weights = preferences.get(best)
    return Recommendation(
        **found,
        advice=Advice.SERVE,
        group=best,
        preference=tuple(weights) if weights else None,
        against=lowest,
        expected=expected,
        foretold=_foretold(chosen, lowest, best),
        trades=tuple(m for of in kpis if of != kpi and (m := moved(of, lowest))),
        as_good=tuple(o for o in others if (m := moved(kpi, o)) and m.reading == "not known"),
        moves=tuple(m for o in others for of in kpis if (m := moved(of, o))),
        pairs=pairs,
    )


def _metric_to_optimise(asked: Sequence[Json]) -> Json | None:
    """The hypothesis whose metric to optimise, by the rule that :class:`Recommendation` states."""
    usable = [one for one in asked if one["verdict"] in _USABLE]
    ranked = sorted(usable, key=lambda o: (_USABLE.index(o["verdict"]), o["slope"] < 0))
    return ranked[0] if ranked else None


def _foretold(chosen: Json | None, start: str, end: str) -> Change | None:
    if chosen is None:
        return None
    x = {point["group"]: point["x"] for point in chosen["points"]}
    return predicted_change(chosen, x[start], x[end])


def _compare(
    kpi: str, rows: Mapping[str, Json], group: str, against: str, *, z: float
) -> KpiChange | None:
    """Two groups' rates; users are divided, so that their errors are independent."""
    one, other = rows.get(group), rows.get(against)
    if not one or not other:
        return None
    if not all(row["rate"] and row["standard_error"] for row in (one, other)):
        return None
    error = math.hypot(*(row["standard_error"] / row["rate"] for row in (one, other)))
    found = log_change(math.log(one["rate"] / other["rate"]), z * error)
    way = "more" if found.change > 0 else "less"
    return KpiChange(
        kpi=kpi,
        group=group,
        against=against,
        change=found.change,
        interval=found.interval,
        reading=way if found.excludes_0 else "not known",
    )


def _lists(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    if isinstance(value, dict):
        return {key: _lists(one) for key, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, tuple | list) else value
