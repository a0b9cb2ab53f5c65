"""The results of the API: each becomes a frame, a dictionary and, where it has one, a figure."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from paretoscope.notebook import Figure, Result
from pipeline.artifacts.storage import read_json
from pipeline.core.labels import counted
from pipeline.core.local_paths import local_path
from pipeline.experiment.design.external_variants import VariantPlan
from pipeline.experiment.design.traffic_plan import PLAN
from pipeline.experiment.log.ingest import Ingestion as IngestCounts
from pipeline.inference.power.plan_experiment import PlannedExperiment
from pipeline.reporting.comparison.build import Comparison as ComparisonDocument
from pipeline.reporting.figures.charts import fronts_figure, hypothesis_panels
from pipeline.reporting.render import write_comparison
from pipeline.results.document import Report as ReportDocument
from pipeline.results.findings import Findings
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.pooled import MetaAnalysis as MetaAnalysisDocument
from pipeline.results.pooled import PooledHypothesis
from pipeline.results.power import POWER
from pipeline.results.serialization import to_dict
from pipeline.steps.result import LazyFigure, StepResult

_HYPOTHESIS_COLUMNS = {
    **dict.fromkeys(("id", "metric", "kpi", "direction"), pl.String),
    **dict.fromkeys(("slope", "standard_error", "ci_low", "ci_high", "holm_p_value"), pl.Float64),
    "n": pl.Int64,
    "groups": pl.Int64,
    "verdict": pl.String,
    "undefined_reason": pl.String,
}
_POOLED_COLUMNS = {
    "metric": pl.String,
    "kpi": pl.String,
    "studies": pl.Int64,
    **dict.fromkeys(("slope", "ci_low", "ci_high", "tau", "i_squared"), pl.Float64),
    **dict.fromkeys(("prediction_low", "prediction_high"), pl.Float64),
}
_COMPARED_COLUMNS = {
    **dict.fromkeys(("metric", "kpi", "study"), pl.String),
    **dict.fromkeys(("slope", "ci_low", "ci_high"), pl.Float64),
}
_NO_INTERVAL = (None, None)


class Document(Result):
    """A result that is a typed document."""

    __slots__ = ()
    document: Any

    def to_dict(self) -> dict[str, Any]:
        """The whole document, as JSON has it."""
        return to_dict(self.document)


@dataclass(frozen=True, slots=True, repr=False)
class _Hypotheses(Document):
    """Results of hypotheses."""

    document: Findings

    @property
    def hypotheses(self) -> tuple[HypothesisResult, ...]:
        """One result per hypothesis."""
        return self.document.hypotheses

    def to_frame(self) -> pl.DataFrame:
        """One row per hypothesis: slope, standard error and CI of the headline, and verdict."""
        rows = [_hypothesis_row(one) for one in self.hypotheses]
        return pl.DataFrame(rows, schema=_HYPOTHESIS_COLUMNS)

    def figure(self) -> Figure | None:
        """Figure 1: the groups and the fitted line of every hypothesis; None without any."""
        if not self.hypotheses:
            return None
        return Figure(hypothesis_panels(self.hypotheses, self.document.cutoff))


@dataclass(frozen=True, slots=True, repr=False)
class Fit(_Hypotheses):
    """Hypotheses tested on a table of group counts; see :func:`paretoscope.fit`.

    Attributes:
        document: The result, of which ``paretoscope fit --json`` prints the JSON.
        source: The frame, or the file, of the counts.
    """

    title: ClassVar[str] = "Hypotheses on group counts"

    source: pl.DataFrame | Path


@dataclass(frozen=True, slots=True, repr=False)
class Report(_Hypotheses):
    """The report of a study, or of a table of counts.

    Attributes:
        document: The content of ``report.json``.
        page: The report as HTML.
    """

    title: ClassVar[str] = "Report"

    document: ReportDocument
    page: Path

    def notes(self) -> tuple[str, ...]:
        """One sentence per hypothesis, and the place of the page."""
        return (*self.document.summary, f"the report: {self.page}")


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Result):
    """Offline metrics of a frame; see :func:`paretoscope.evaluate`."""

    title: ClassVar[str] = "Offline metrics"

    table: pl.DataFrame

    def to_frame(self) -> pl.DataFrame:
        """One row per metric: value, standard error, number of targets and sessions."""
        return self.table

    def to_dict(self) -> list[dict[str, Any]]:
        """The rows of the frame."""
        return self.table.to_dicts()


@dataclass(frozen=True, slots=True, repr=False)
class Plan(Result):
    """The traffic plan of a study, and the power it has; see :func:`paretoscope.plan`."""

    title: ClassVar[str] = "Traffic plan"

    step: StepResult[PlannedExperiment | VariantPlan]

    def to_frame(self) -> pl.DataFrame:
        """One row per test group: its preference or cell (none for a variant) and share of the users."""
        value = self.step.value
        plan = value if isinstance(value, VariantPlan) else value.plan
        return pl.DataFrame(
            {"group": one.name, "preference_id": one.preference_id, "share": one.share}
            for one in plan.groups
        )

    def to_dict(self) -> dict[str, Any]:
        """The plan, and the power of every hypothesis; of variants, the power is None."""
        power = self.step.location / POWER
        return {
            "plan": read_json(self.step.location / PLAN),
            "power": read_json(power) if power.exists() else None,
        }

    def figure(self) -> Figure | None:
        """The groups on the Pareto front; None for variants."""
        return _drawn(self.step, "figure")

    def power_figure(self) -> Figure | None:
        """The power of every hypothesis by day; None for variants."""
        return _drawn(self.step, "power by day")


@dataclass(frozen=True, slots=True, repr=False)
class Ingestion(Result):
    """The ingested log of a study; see :func:`paretoscope.ingest`."""

    title: ClassVar[str] = "Ingested log"

    step: StepResult[IngestCounts]

    def to_frame(self) -> pl.DataFrame:
        """One row per reason for which log rows were rejected."""
        rejected = self.step.value.rejected
        columns = {"reason": list(rejected), "rows": list(rejected.values())}
        return pl.DataFrame(columns, schema={"reason": pl.String, "rows": pl.Int64})

    def to_dict(self) -> dict[str, Any]:
        """Impressions, rejected rows, files, and warnings of the checks."""
        warnings = [str(check) for check in self.step.checks if not check.passed]
        return {**asdict(self.step.value), "warnings": warnings}

    def notes(self) -> tuple[str, ...]:
        """The number of impressions and files."""
        found = self.step.value
        return (f"{counted(found.impressions, 'impression')} of {counted(found.files, 'file')}",)


@dataclass(frozen=True, slots=True, repr=False)
class MetaAnalysis(Document):
    """Hypotheses pooled over several experiments; see :func:`paretoscope.meta_analysis`."""

    title: ClassVar[str] = "Meta-analysis"

    document: MetaAnalysisDocument

    @property
    def hypotheses(self) -> tuple[PooledHypothesis, ...]:
        """One result per metric and KPI."""
        return self.document.hypotheses

    def to_frame(self) -> pl.DataFrame:
        """One row per metric and KPI: mean slope with CI, heterogeneity and prediction interval."""
        rows = [_pooled_row(one) for one in self.hypotheses]
        return pl.DataFrame(rows, schema=_POOLED_COLUMNS)


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Document):
    """Finished studies in comparison; see :func:`paretoscope.compare`."""

    title: ClassVar[str] = "Comparison of studies"

    document: ComparisonDocument

    def to_frame(self) -> pl.DataFrame:
        """One row per hypothesis and study: slope with CI."""
        return pl.DataFrame(
            [
                {
                    "metric": one.metric,
                    "kpi": one.kpi,
                    "study": study.study,
                    "slope": study.slope,
                    "ci_low": study.test and study.test.interval[0],
                    "ci_high": study.test and study.test.interval[1],
                }
                for one in self.document.hypotheses
                for study in one.studies
            ],
            schema=_COMPARED_COLUMNS,
        )

    def figure(self) -> Figure | None:
        """The Pareto fronts of the studies; None if they have none."""
        fronts = self.document.fronts
        return Figure(fronts_figure(fronts)) if fronts else None

    def notes(self) -> tuple[str, ...]:
        """One sentence per hypothesis."""
        return self.document.summary

    def write(self, folder: str | Path) -> Path:
        """Write the comparison as HTML, Markdown and JSON; returns the page.

        Raises:
            DataError: if the folder contains other files, or cannot be written.
        """
        return write_comparison(self.document, local_path(folder, "folder"))


def _hypothesis_row(one: HypothesisResult) -> dict[str, Any]:
    found = one.headline
    low, high = (found and found.interval) or _NO_INTERVAL
    return {
        "id": one.id,
        "metric": one.metric,
        "kpi": one.kpi.value,
        "direction": one.direction,
        "slope": found and found.slope,
        "standard_error": found and found.standard_error,
        "ci_low": low,
        "ci_high": high,
        "holm_p_value": one.holm_p_value,
        "n": one.n,
        "groups": one.groups,
        "verdict": one.verdict.value,
        "undefined_reason": one.undefined_reason and one.undefined_reason.value,
    }


def _pooled_row(one: PooledHypothesis) -> dict[str, Any]:
    row: dict[str, Any] = {"metric": one.metric, "kpi": one.kpi, "studies": len(one.studies)}
    if (pooled := one.pooled) is None:
        return row
    low, high = pooled.prediction_interval or _NO_INTERVAL
    return row | {
        "slope": pooled.mean.slope,
        "ci_low": pooled.mean.interval[0],
        "ci_high": pooled.mean.interval[1],
        "tau": pooled.tau,
        "i_squared": pooled.i_squared,
        "prediction_low": low,
        "prediction_high": high,
    }


def _drawn(step: StepResult[Any], name: str) -> Figure | None:
    figure = step.details.get(name)
    return Figure(figure.draw()) if isinstance(figure, LazyFigure) else None
