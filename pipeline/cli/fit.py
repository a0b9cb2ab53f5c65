"""``paretoscope fit``: hypotheses on a table of group counts."""

from pathlib import Path

from pipeline.cli.output import print_result
from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.counts.counts_table import read_counts
from pipeline.results.findings import Findings
from pipeline.results.serialization import to_dict
from pipeline.study import AdviceConfig, XReference


def fit(  # noqa: PLR0913 - the options of the command
    *,
    counts: Path,
    json: bool,
    report: Path | None,
    level: float,
    hypothesis: list[str],
    control: str | None,
    margin: float | None,
    metric: list[str],
    one_trial_per_user: bool,
    error_correlation: float,
    x_reference: str,
    **columns: str | None,
) -> int:
    """Fit hypotheses to a table of group counts."""
    options = CountsOptions(
        columns={ours: theirs for ours, theirs in columns.items() if theirs},
        metrics=tuple(metric),
        one_trial_per_user=one_trial_per_user,
        error_correlation=error_correlation,
    )
    table = read_counts(counts, options)  # a refusal does not wait for the inference
    from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis  # noqa: PLC0415
    from pipeline.reporting.text.findings import findings_lines  # noqa: PLC0415

    found = fit_counts(
        table,
        [parse_hypothesis(text, number) for number, text in enumerate(hypothesis, start=1)],
        level=level,
        seed=0,
        advice=AdviceConfig(control=control, margin=margin),
        options=options,
        x_reference=XReference(x_reference),
    )
    page = _page(found, counts, report) if report else None
    written = [f"report: {page}"] if page else []
    return print_result(to_dict(found), [*findings_lines(found), *written], json=json)


def _page(found: Findings, counts: Path, folder: Path) -> Path:
    from pipeline.reporting.report import build_counts_report, write_new_report  # noqa: PLC0415 - matplotlib takes a second

    return write_new_report(build_counts_report(found, counts), folder)
