"""The result of an analysis as one document, and the optional sections of a report."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.core.contracts import Kpi
from pipeline.core.table_file import ReadNote
from pipeline.results.counterfactual_estimates import CounterfactualEstimates
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
from pipeline.results.power import PowerAnalysis
from pipeline.results.slopes import Finite

SCHEMA_VERSION = 5
"""Of ``report.json``; docs/report.schema.json describes it."""

Json = dict[str, Any]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A group of the experiment; a variant has no preference.

    ``level`` is that of the second axis, for the reader ``level_label``; both are None without one.
    """

    name: str
    preference_id: str | None = None
    preference: tuple[Finite, ...] | None = None
    share: Finite | None = None
    level: Finite | None = None
    level_label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over all groups."""

    groups: int
    impressions: int
    rejected_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """The traffic plan of the experiment; ``traffic_plan.json`` has all of it."""

    experiment: str
    groups: tuple[GroupSummary, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The experiment of a study.

    Attributes:
        plan: Who was to get what.
        origin: Of the log: real, simulated, replayed or drawn.
        how: How the log came about, for the reader.
        power: Of the plan; None for variants.
    """

    plan: PlanSummary
    origin: str = "unknown"
    how: str = ""
    power: PowerAnalysis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelRow:
    """Rows of one table and group of the log; the group is None where it is not known.

    Attributes:
        table: Of the log.
        group: Of the row, of the impression it names, or of its user.
        read: Rows of the files.
        usable: Those that are valid and in the experiment's scope.
        attributed: Those that count for the KPIs.
    """

    table: str
    group: str | None
    read: int
    usable: int
    attributed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestion:
    """Ingested impressions and files, rejected rows by reason, and what became of all rows."""

    impressions: int
    rejected: dict[str, int]
    files: int
    funnel: tuple[FunnelRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One preference in metric space.

    ``metrics`` has the axes of the front, by name; one is None, and so is ``dominated``, if no target
    of any session is in the top k. ``level_label`` is that of a cell off the neutral level of the
    second axis; ``dominated`` compares cells of one level.
    """

    preference_id: str
    preference: tuple[Finite, ...]
    metrics: dict[str, Finite | None]
    dominated: bool | None
    level_label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSummary:
    """The Pareto front; see :class:`pipeline.evaluation.pareto_front.Front`."""

    axes: tuple[str, ...]
    hypervolume: Finite
    reference_point: tuple[Finite, ...]
    rank_correlation: Finite | None = None
    knee: str | None = None
    spans: dict[str, Finite | None] = field(default_factory=dict[str, float | None])
    points: tuple[FrontPoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One loss (or the hypervolume) on one split after one epoch."""

    epoch: int
    split: str
    objective: str
    loss: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """An input file and its md5."""

    path: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The software and the inputs of a result.

    ``code`` is the git commit or the version of the package; ``log`` the md5 of each log file.
    """

    code: str | None = None
    packages: dict[str, str] = field(default_factory=dict[str, str])
    python: str | None = None
    machine: str | None = None
    dataset: SourceFile | None = None
    variants: SourceFile | None = None
    counts: SourceFile | None = None
    log: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Findings):
    """What ``report.json`` holds; the pages show nothing else.

    The sections depend on the kind of report: of a study, of external variants, or of a table of
    group counts.

    Attributes:
        study: Name of the study; None for a table of counts.
        objectives: Losses of the study, in the order of π.
        summary: One sentence per hypothesis.
        training: The model as it was trained.
        data: The data card: ``events``, ``sessions``, ``profile`` and ``card``.
        counterfactual: What the groups say of one another; None without estimates of this log.
        parameters: Of the study; those of the model as it was trained.
        changed_since_training: Keys of the model's parameters that params.yaml has changed since.
    """

    schema_version: int = SCHEMA_VERSION
    study: str | None = None
    objectives: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    groups: tuple[GroupSummary, ...] = ()
    totals: Totals | None = None
    experiment: Experiment | None = None
    ingestion: Ingestion | None = None
    front: FrontSummary | None = None
    training: Json | None = None
    learning_curves: tuple[CurvePoint, ...] = ()
    data: Json | None = None
    counterfactual: CounterfactualEstimates | None = None
    parameters: Json | None = None
    changed_since_training: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
