"""What ``report.json`` holds: the result of an analysis, and the optional sections of a report."""

from dataclasses import dataclass, field

from pipeline.results.counterfactual_estimates import CounterfactualEstimates
from pipeline.results.findings import Findings
from pipeline.results.power import PowerAnalysis
from pipeline.results.serialization import Json
from pipeline.results.slopes import Finite

SCHEMA_VERSION = 5
"""Of ``report.json``; docs/report.schema.json describes it."""


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
