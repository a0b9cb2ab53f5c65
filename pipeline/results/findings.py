"""The result of an analysis, with the tables it rests on."""

from dataclasses import dataclass, field

from pipeline.core.contracts import Kpi
from pipeline.core.table_file import ReadNote
from pipeline.results.decisions import (
    Advice,
    EvidenceRating,
    Limitation,
    RankedMetric,
    SharedDirection,
    UnfittedPair,
)
from pipeline.results.diagnostics import Diagnostics
from pipeline.results.fit_options import FitOptions
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.lifts import KpiLift
from pipeline.results.slopes import Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """The artifact ``regression_estimates``.

    Attributes:
        hypotheses: One result per declared hypothesis.
        diagnostics: Of the experiment.
        metric_ranking: Every metric that varies and KPI (exploratory), the best of each KPI first.
        unfitted_pairs: Every metric and KPI without a slope.
        advice: Which group to ship, and which metric to optimise: one per KPI with a hypothesis;
            without any hypothesis, one per KPI.
        lifts: The change of every KPI against the control; none without a control.
    """

    hypotheses: tuple[HypothesisResult, ...]
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    metric_ranking: tuple[RankedMetric, ...] = ()
    unfitted_pairs: tuple[UnfittedPair, ...] = ()
    advice: tuple[Advice, ...] = ()
    lifts: tuple[KpiLift, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One offline metric under one preference (or of one variant), on all test targets."""

    preference_id: str
    preference: tuple[Finite, ...] | None = None
    metric: str
    cutoff: int | None = None
    value: Finite | None
    standard_error: Finite | None = None
    n_targets: int | None = None
    n_sessions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupKpi:
    """One KPI of one group; see :data:`pipeline.experiment.kpis.contracts.GROUP_KPIS`.

    Users and their sums are None where a table of counts does not have them.
    """

    group: str
    preference_id: str
    kpi: Kpi
    trials: int
    successes: int | Finite
    rate: Finite | None
    standard_error: Finite | None
    users: int | None
    sum_mm: int | Finite | None
    sum_my: int | Finite | None
    sum_yy: int | Finite | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings(Estimates):
    """Estimates with the tables they rest on: what ``paretoscope fit --json`` prints.

    Attributes:
        level: Nominal coverage of the intervals.
        cutoff: The k of metrics whose name has none; None if they differ.
        offline_metrics: On all test targets.
        group_kpis: One per group and KPI.
        shared_directions: Hypotheses that are one result, because their metrics move together.
        limitations: What the analysis cannot say.
        read_as: How a table of counts was read.
        options: How it was fitted; None for a study.
        evidence: The strength of evidence, by id of the hypothesis.
    """

    level: Finite = 0.95
    cutoff: int | None = None
    offline_metrics: tuple[MetricValue, ...] = ()
    group_kpis: tuple[GroupKpi, ...] = ()
    shared_directions: tuple[SharedDirection, ...] = ()
    limitations: tuple[Limitation, ...] = ()
    read_as: tuple[ReadNote, ...] = ()
    options: FitOptions | None = None
    evidence: dict[str, EvidenceRating] = field(default_factory=dict[str, EvidenceRating])
