"""Analyses without a study: of group counts, of ranks and lists, and of several reports."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import polars as pl

from paretoscope.arguments import (
    advice_config,
    as_list,
    as_polars,
    as_texts,
    as_x_reference,
    check_level,
    columns_mapping,
    counts_options,
)
from paretoscope.proxies import PastTests
from paretoscope.results import Comparison, Evaluation, Fit, MetaAnalysis
from paretoscope.study import Study
from pipeline.core.errors import DataError
from pipeline.core.local_paths import local_path
from pipeline.evaluation.evaluate import evaluate_lists, evaluate_ranks
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.inference.meta.pool_studies import pool_studies
from pipeline.inference.past_tests.columns import PastTestsOptions
from pipeline.inference.past_tests.ranked_proxies import ProxyOptions
from pipeline.inference.past_tests.read_tests import read_past_tests
from pipeline.reporting.comparison.build import build_comparison
from pipeline.results.reader import find_report, read_studies
from pipeline.steps.past_tests import past_tests_of, past_tests_of_studies

if TYPE_CHECKING:
    import pandas as pd

    Frame = pl.DataFrame | pd.DataFrame


def fit(  # noqa: PLR0913 - the options of `paretoscope fit`
    counts: "Frame | str | Path",
    hypotheses: Sequence[str] | str = (),
    *,
    level: float = 0.95,
    seed: int = 0,
    control: str | None = None,
    margin: float | None = None,
    columns: Mapping[str, str] | None = None,
    metrics: Sequence[str] | str = (),
    one_trial_per_user: bool = False,
    error_correlation: float = 0.0,
    x_reference: Literal["worst", "control", "log"] = "worst",
) -> Fit:
    """Test hypotheses on a table of group counts, as ``paretoscope fit`` does.

    Args:
        counts: One row per test group: ``group``, ``impressions``, ``clicks``, and optionally
            ``orders``, ``units``, ``revenue``, ``users``, ``share`` and per-user sums; every other
            numeric column is an offline metric, such as ``recall@20``. A polars or pandas frame, or
            a file: CSV of any separator, parquet, JSON or JSON lines.
        hypotheses: One or several ``METRIC:KPI:SIGN``; if none, those of the paper that the table allows.
        level: Nominal coverage of the confidence intervals.
        seed: Of the permutations and draws.
        control: The group that others are compared with, such as the one in production; None to
            compare with the group where a KPI is lowest.
        margin: Largest negligible relative difference of a KPI between groups, such as 0.01.
        columns: The table's column by our name, such as ``{"impressions": "views"}``.
        metrics: The columns that are offline metrics; if none, every numeric column that is nothing
            else.
        one_trial_per_user: Whether no user has two impressions, so that impressions are independent.
        error_correlation: Correlation of the errors of two groups' metrics with standard errors
            (``auc_se``): 0 on different test data, near 1 on the same sessions.
        x_reference: What slopes are relative to: M / min M - 1, M / M of the control - 1, or log M.

    Raises:
        DataError: if the table is not valid; the message names the column.
        StudyError: if a hypothesis names a metric or KPI that the table does not have, or the
            control is not a group.

    Examples:
        >>> counts = pl.DataFrame(
        ...     {
        ...         "group": ["A", "B", "C"],
        ...         "impressions": [10_000, 10_000, 10_000],
        ...         "clicks": [1_000, 1_050, 1_110],
        ...         "recall@20": [0.40, 0.42, 0.44],
        ...     }
        ... )
        >>> result = ps.fit(counts, ["recall@20:ctr:+"])
        >>> result.to_frame().select("id", "metric", "kpi", "n", "groups").rows()
        [('H1', 'recall', 'ctr', 30000, 3)]
        >>> round(result.hypotheses[0].slope, 2)
        1.17
    """
    check_level(level)
    texts = as_texts(hypotheses, "hypotheses METRIC:KPI:SIGN, such as recall@20:ctr:+")
    parsed = [parse_hypothesis(text, number) for number, text in enumerate(texts, start=1)]
    source = local_path(counts, "counts") if isinstance(counts, str | Path) else as_polars(counts)
    advice = advice_config(control, margin)
    options = counts_options(columns, metrics, one_trial_per_user, error_correlation)
    found = fit_counts(
        source,
        parsed,
        level=level,
        seed=seed,
        advice=advice,
        options=options,
        x_reference=as_x_reference(x_reference),
    )
    return Fit(found, source)


def evaluate(
    frame: "Frame",
    metrics: "Sequence[str | Callable[..., Any]] | str | None" = None,
    *,
    k: int = 20,
    catalogue: "Frame | None" = None,
) -> Evaluation:
    """Measure offline metrics on a frame of ranks, or of recommendation lists.

    Args:
        frame: Ranks: one row per target with ``session``, ``rank`` (1 is best), and optionally
            ``ordered``, ``history``, ``train_clicks`` and others; or lists: one row per session
            with ``session`` and ``items``, best first.
        metrics: Names, such as ``recall`` or ``ndcg@5``; of ranks also import paths
            ``package.module:function`` or functions. None for all that the columns allow.
        k: The cutoff of metrics without one of their own.
        catalogue: Required for lists: one row per item with ``item``, and what the metrics need of
            ``train_clicks``, ``embedding``, ``category`` and ``available_since``.

    Raises:
        DataError: if a column is missing or not valid, or a metric is unknown.

    Examples:
        >>> ranks = pl.DataFrame({"session": ["a", "a", "b"], "rank": [1, 30, 2]})
        >>> ps.evaluate(ranks, ["recall", "mrr"], k=20).to_frame().select("metric", "value").rows()
        [('recall', 0.6666666666666666), ('mrr', 0.5)]
        >>> lists = pl.DataFrame({"session": [1, 2], "items": [["a", "b"], ["a", "c"]]})
        >>> items = pl.DataFrame({"item": ["a", "b", "c", "d"]})
        >>> ps.evaluate(lists, ["catalogue_coverage"], k=2, catalogue=items).to_dict()[0]["value"]
        0.75
    """
    table = as_polars(frame)
    if metrics is not None:
        metrics = as_list(metrics, "names of metrics, such as recall@20, or functions")
    if "rank" in table.columns:
        return Evaluation(evaluate_ranks(table, metrics, k=k))
    if "items" in table.columns and catalogue is not None:
        return Evaluation(evaluate_lists(table, as_polars(catalogue), _names(metrics), k=k))
    msg = (
        f"the frame has the columns {table.columns}; expected session and rank, or session and "
        "items with a catalogue"
    )
    raise DataError(msg)


def _names(metrics: "Sequence[str | Callable[..., Any]] | None") -> list[str] | None:
    if metrics is None:
        return None
    names = [one for one in metrics if isinstance(one, str)]
    if len(names) < len(metrics):
        msg = "functions are metrics of ranks; of lists, expected names such as novelty"
        raise DataError(msg)
    return names


def meta_analysis(
    reports: "Sequence[Study | str | Path] | str", *, level: float = 0.95, gain: float | None = None
) -> MetaAnalysis:
    """Pool the hypotheses that several experiments share, as ``paretoscope meta-analysis`` does.

    Args:
        reports: Two or more studies, each of a different experiment: a :class:`Study`, the name of
            one in this project, or the path of its folder or ``report.json``.
        level: Nominal coverage of the confidence intervals.
        gain: A relative change of the metrics, such as 0.02, to predict the KPIs for.

    Raises:
        MissingArtifact, DataError: if a report does not exist or is not valid, an experiment occurs
            twice, or no two reports have a hypothesis in common.
    """
    check_level(level)
    return MetaAnalysis(pool_studies(_report_files(reports), level=level, gain=gain))


def past_tests(  # noqa: PLR0913 - the options of `paretoscope meta-analysis`
    table: "Frame | str | Path | Sequence[Study | str | Path]",
    kpis: Sequence[str] | str = (),
    metrics: Sequence[str] | str = (),
    *,
    level: float = 0.95,
    gain: float | None = None,
    columns: Mapping[str, str] | None = None,
    control: str | None = None,
    error_correlation: float = 0.0,
    ci_level: float = 0.95,
    difference: bool = False,
) -> PastTests:
    """Find the metric to trust in a table of past tests, as ``paretoscope meta-analysis`` does.

    Args:
        table: A frame or a file. A row is a test with columns of changes, lifts and their errors
            (``recall_delta``, ``recall_delta_se``, ``ctr_lift``, ``ctr_lift_ci_low``, …); or the
            change of one metric in a test; or counts and metrics of a variant; or count, mean and
            variance of one metric of a variant. A list is two or more studies, as for
            :func:`meta_analysis`, whose groups are variants; of the options, level, gain and
            error_correlation apply to them.
        kpis: Names of the KPIs; if none, columns ``NAME_lift`` and our KPIs.
        metrics: Names of the metrics; if none, all that is not a KPI.
        level: Nominal coverage of the intervals.
        gain: A change of the metrics to predict the lifts for.
        columns: The table's column by our name, such as ``{"test": "experiment"}``.
        control: The variant that others are compared with; None for ``control``, or the first.
        error_correlation: Correlation of the errors of metric and KPI in a variant: 0 for offline
            metrics, unknown where both are measured on the same users.
        ci_level: Level of the confidence intervals in the table.
        difference: Whether counts and means are compared by their difference, instead of the
            logarithm of their ratio.

    Raises:
        DataError: if it is not a table of past tests; the message names the row or column.
        StudyError: if an option is out of range.

    Examples:
        >>> tests = pl.DataFrame(
        ...     {
        ...         "test": ["spring", "summer", "autumn"],
        ...         "recall_delta": [0.01, 0.03, -0.02],
        ...         "recall_delta_se": [0.001, 0.001, 0.001],
        ...         "ctr_lift": [0.008, 0.022, -0.017],
        ...         "ctr_lift_se": [0.002, 0.002, 0.002],
        ...     }
        ... )
        >>> found = ps.past_tests(tests, gain=0.02)
        >>> found.to_frame().select("metric", "kpi", "tests", "signs_agreed").rows()
        [('recall_delta', 'ctr_lift', 3, 3)]
        >>> round(found.proxies[0].line.slope, 2)
        0.77
    """
    check_level(level)
    check_level(ci_level)
    analysis = ProxyOptions(level=level, error_correlation=error_correlation, gain=gain)
    if isinstance(table, list | tuple):
        return PastTests(past_tests_of_studies(_report_files(table), analysis))
    source = (
        local_path(table, "table")
        if isinstance(table, str | Path)
        else as_polars(cast("Frame", table))
    )
    options = PastTestsOptions(
        columns=columns_mapping(columns, '{"test": "experiment"}'),
        kpis=tuple(as_texts(kpis, "names of KPIs, such as ctr_lift")),
        metrics=tuple(as_texts(metrics, "names of metrics, such as recall_delta")),
        control=control,
        ci_level=ci_level,
        difference=difference,
    )
    return PastTests(past_tests_of(read_past_tests(source, options), source, analysis))


def compare(studies: "Sequence[Study | str | Path] | str", *, level: float = 0.95) -> Comparison:
    """Compare finished studies: their fronts, slopes and parameters.

    Args:
        studies: Two or more, as for :func:`meta_analysis`.
        level: Nominal coverage of the confidence intervals.

    Raises:
        MissingArtifact, DataError: if a report does not exist, is not valid, or occurs twice.
    """
    check_level(level)
    found = read_studies([str(file) for file in _report_files(studies)])
    return Comparison(build_comparison(found, level=level))


def _report_files(studies: Any) -> list[Path]:
    given = as_list(studies, "studies: the results of ps.open_study, names or paths")
    return [find_report(str(s.paths.folder if isinstance(s, Study) else s)) for s in given]
