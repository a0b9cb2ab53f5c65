"""The form of ``report.json``, declared as types; docs/report.schema.json is made of them."""

from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.core.contracts import Kpi
from pipeline.inference.glm.prediction_band import BandPoint, Change
from pipeline.inference.glm.wald import Equivalence, SlopeTest
from pipeline.inference.hypotheses.confidence_rating import EvidenceStrength
from pipeline.inference.hypotheses.metric_ranking import Candidate
from pipeline.inference.hypotheses.recommendation import Advice, KpiChange
from pipeline.inference.hypotheses.results import Elasticity, GroupPoint
from pipeline.inference.hypotheses.verdict import Verdict
from pipeline.inference.sensitivity.cuped import Cuped
from pipeline.inference.sensitivity.day_effects import DayEffects
from pipeline.inference.sensitivity.errors_in_variables import ErrorsInVariables
from pipeline.inference.sensitivity.random_effects import RandomEffectsSlope
from pipeline.inference.sensitivity.robustness import Permutation
from pipeline.inference.sensitivity.user_segments import Segments

_STRICT = ConfigDict(extra="forbid")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Ends = tuple[float, float]
Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Point(GroupPoint):
    """One group in a hypothesis; ``kpi_change`` is against the group where the KPI is lowest."""

    kpi_change: float | None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LackOfFit:
    """How far the groups lie off the line: χ² with independent and with correlated impressions."""

    pearson_chi2: float
    clustered_chi2: float
    df: int
    p_value: float | None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Days:
    """Days of the experiment; None where they are not known."""

    observed: int | None
    planned: int | None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DailyLook(SlopeTest):
    """The slope at the end of a day; its interval holds on all days at once."""

    day: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Analysis:
    """The slope under one analysis; without one group there is a range and no slope."""

    name: str
    slope: float | None
    interval: Ends
    scale: str
    takes_for_granted: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Hypothesis:
    """A declared relation and its answer; see docs/inference.md for every number."""

    id: str
    metric: str
    kpi: Kpi
    direction: str
    response: Kpi
    link: str
    slope: float | None
    standard_error: float | None
    interval: Ends | None
    p_value: float | None
    n: int
    groups: int
    verdict: Verdict
    undefined_because: str | None
    rate_elasticity: float | None
    elasticity: Elasticity | None
    intercept: float | None
    level: float | None
    covariance: str | None
    user_clustered: SlopeTest | None
    verdict_interval: Ends | None
    reading: str
    holm_p_value: float | None
    few_groups: RandomEffectsSlope | None
    permutation: Permutation | None
    lack_of_fit: LackOfFit | None
    curvature: SlopeTest | None
    leave_one_out: dict[str, float | None]
    leave_one_out_range: Ends | None
    band: list[BandPoint]
    line_covariance: tuple[Ends, Ends] | None
    error_in_x: ErrorsInVariables | None
    log_rate: SlopeTest | None
    day_effects: DayEffects | None
    days: Days
    looks: list[DailyLook]
    cuped: Cuped | None
    segments: Segments | None
    equivalence: Equivalence | None
    detectable_slope: float | None
    trials_to_settle: int | None
    points: list[Point]
    metric_covariance: list[list[float]] | None
    analyses: list[Analysis]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrustOf:
    """How far to trust a verdict: what speaks for it, and the doubts."""

    level: EvidenceStrength
    because: list[str]
    serious: list[str]
    minor: list[str]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Recommended:
    """What to do for one KPI; see pipeline.inference.hypotheses.recommendation."""

    kpi: Kpi
    advice: Advice
    hypothesis: str | None
    optimise: str | None
    refuted: list[str]
    group: str | None
    preference: list[float] | None
    against: str | None
    expected: KpiChange | None
    foretold: Change | None
    trades: list[KpiChange]
    as_good: list[str]
    moves: list[KpiChange]
    pairs: int


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GroupOf:
    """A group of the experiment; a variant of a recommender that is not ours has no preference."""

    name: str
    preference_id: str | None
    preference: list[float] | None
    share: float | None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Totals:
    """Counts over all groups."""

    groups: int
    impressions: int
    log_rows_set_aside: int


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EveryReport:
    """What all reports hold."""

    schema_version: int
    cutoff: int | None
    level: float
    summary: list[str]
    trust: dict[str, TrustOf]
    recommendations: list[Recommended]
    cannot_say: list[str]
    hypotheses: list[Hypothesis]
    health: dict[str, Json | None]
    exploration: list[Candidate]
    groups: list[GroupOf]
    totals: Totals
    offline_metrics: list[Json]
    group_kpis: list[Json]
    provenance: Json


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StudyReport(EveryReport):
    """The report of a study whose groups one model serves."""

    study: str
    objectives: list[str]
    experiment: Json
    ingestion: Json
    front: Json
    training: Json
    learning_curves: list[Json]
    data: Json
    parameters: Json
    changed_since_training: list[str]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class VariantsReport(EveryReport):
    """The report of a study whose groups are variants of a recommender that is not ours."""

    study: str
    experiment: Json
    ingestion: Json
    not_fitted: list[Json]
    not_known: list[str]
    parameters: Json


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CountsReport(EveryReport):
    """The report on a table of group counts."""

    not_fitted: list[Json]
    not_known: list[str]


def report_schema() -> Json:
    """JSON Schema (2020-12) of ``report.json``, whichever of the three reports it is."""
    reports: TypeAdapter[Any] = TypeAdapter(StudyReport | VariantsReport | CountsReport)
    described = {
        "$schema": _DIALECT,
        "title": "report.json",
        "description": "What a report of Paretoscope holds; every number on its pages stands in it.",
    }
    return described | reports.json_schema()
