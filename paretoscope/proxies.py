"""The result of an analysis of past tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from paretoscope.notebook import Figure
from paretoscope.results import Document
from pipeline.core.local_paths import local_path
from pipeline.reporting.figures.past_tests import proxy_figure
from pipeline.reporting.past_tests import write_past_tests
from pipeline.results.past_tests import PastTests as PastTestsDocument
from pipeline.results.past_tests import Proxy
from pipeline.results.proxies import LaunchRule

_PROXY_COLUMNS = {
    "metric": pl.String,
    "kpi": pl.String,
    "tests": pl.Int64,
    **dict.fromkeys(("slope", "ci_low", "ci_high", "p_value", "tau"), pl.Float64),
    "signs_agreed": pl.Int64,
    **dict.fromkeys(("probability_of_best", "true_correlation"), pl.Float64),
    "right_launches": pl.Int64,
    "share_of_best_lift": pl.Float64,
}


@dataclass(frozen=True, slots=True, repr=False)
class PastTests(Document):
    """Metrics as predictors of lifts over past tests; see :func:`paretoscope.past_tests`."""

    title: ClassVar[str] = "Past tests"

    document: PastTestsDocument

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """One result per metric and KPI, best first."""
        return self.document.proxies

    def to_frame(self) -> pl.DataFrame:
        """One row per metric and KPI: slope, sign agreement, and what launching by it would have earned."""
        rules = {
            (one.kpi, rule.metric): rule for one in self.document.launches for rule in one.rules
        }
        rows = [_proxy_row(one, rules.get((one.kpi, one.metric))) for one in self.proxies]
        return pl.DataFrame(rows, schema=_PROXY_COLUMNS)

    def figure(self) -> Figure | None:
        """The lifts of the best metric's tests, with line and prediction; None without a slope."""
        best = next((one for one in self.proxies if one.line), None)
        return Figure(proxy_figure(best, self.document.scale, "tests")) if best else None

    def notes(self) -> tuple[str, ...]:
        """Which metric to trust, and what a change of it predicts."""
        return self.document.summary

    def write(self, folder: str | Path) -> Path:
        """Write the findings as HTML, Markdown and JSON; returns the page.

        Raises:
            DataError: if the folder contains other files, or cannot be written.
        """
        return write_past_tests(self.document, local_path(folder, "folder"))


def _proxy_row(one: Proxy, rule: LaunchRule | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "metric": one.metric,
        "kpi": one.kpi,
        "tests": one.tests,
        "signs_agreed": one.signs and one.signs.agreed,
        "probability_of_best": one.probability_of_best,
        "true_correlation": one.true_correlation,
        "right_launches": rule and rule.right,
        "share_of_best_lift": rule and rule.share,
    }
    if (line := one.line) is None:
        return row
    low, high = line.interval
    return row | {
        "slope": line.slope,
        "ci_low": low,
        "ci_high": high,
        "p_value": line.p_value,
        "tau": line.tau,
    }
