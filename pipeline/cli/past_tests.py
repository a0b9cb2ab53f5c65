"""``paretoscope meta-analysis``: past tests, or several studies."""

from pathlib import Path

from pipeline.cli.output import print_result
from pipeline.core.errors import DataError
from pipeline.inference.past_tests.columns import PastTestsOptions
from pipeline.inference.past_tests.ranked_proxies import ProxyOptions
from pipeline.inference.past_tests.read_tests import is_table, read_past_tests
from pipeline.results.past_tests import PastTests
from pipeline.results.serialization import to_dict


def meta_analysis(  # noqa: PLR0913 - the options of the command
    *,
    tables: list[Path],
    report: Path | None,
    gain: float | None,
    json: bool,
    level: float,
    kpi: list[str],
    metric: list[str],
    control: str | None,
    error_correlation: float,
    ci_level: float,
    difference: bool,
    **columns: str | None,
) -> int:
    """Find the metric to trust in a table of past tests, or pool the slopes of several studies."""
    analysis = ProxyOptions(level=level, error_correlation=error_correlation, gain=gain)
    if not is_table(tables):
        of_tables = {"kpi": kpi, "metric": metric, "control": control, "difference": difference}
        if given := [
            name.replace("_", "-") for name, value in (of_tables | columns).items() if value
        ]:
            msg = f"--{given[0]} applies to a table of past tests, not to reports of studies; leave it out"
            raise DataError(msg)
        return _pooled(tables, analysis, report, json=json)
    options = PastTestsOptions(
        columns={ours.replace("_", "-"): theirs for ours, theirs in columns.items() if theirs},
        kpis=tuple(kpi),
        metrics=tuple(metric),
        control=control,
        ci_level=ci_level,
        difference=difference,
    )
    read = read_past_tests(tables[0], options)  # a refusal does not wait for statsmodels
    from pipeline.reporting.text.past_tests import past_tests_lines  # noqa: PLC0415
    from pipeline.reporting.text.read_as import read_as_sentences  # noqa: PLC0415
    from pipeline.steps.past_tests import past_tests_of  # noqa: PLC0415

    found = past_tests_of(read, tables[0], analysis)
    page = _page(found, report) if report else None
    lines = [*read_as_sentences(found.read_as), *past_tests_lines(found)]
    return print_result(to_dict(found), [*lines, *([f"report: {page}"] if page else [])], json=json)


def _pooled(reports: list[Path], analysis: ProxyOptions, report: Path | None, *, json: bool) -> int:
    """Pool the slopes of several studies."""
    from pipeline.inference.meta.pool_studies import pool_studies  # noqa: PLC0415 - statsmodels takes a second
    from pipeline.reporting.text.past_tests import past_tests_lines  # noqa: PLC0415
    from pipeline.reporting.text.pooled_table import pooled_lines  # noqa: PLC0415
    from pipeline.steps.past_tests import past_tests_of_studies  # noqa: PLC0415

    pooled = pool_studies(reports, level=analysis.level, gain=analysis.gain)
    document, lines = to_dict(pooled), pooled_lines(pooled.hypotheses)
    if report:
        found = past_tests_of_studies(reports, analysis)
        page = _page(found, report)
        document |= {"past_tests": to_dict(found)}
        lines = [*lines, "", *past_tests_lines(found), f"report: {page}"]
    return print_result(document, lines, json=json)


def _page(found: PastTests, folder: Path) -> Path:
    from pipeline.reporting.past_tests import write_past_tests  # noqa: PLC0415 - matplotlib takes a second

    return write_past_tests(found, folder)
