"""The command that gives the report on a table of counts again."""

import shlex

from pipeline.results.document import Report
from pipeline.results.fit_options import FitOptions


def fit_command(report: Report) -> str:
    """``paretoscope fit`` with the options that the table was fitted with, for a shell."""
    source = report.provenance.counts
    first = ["paretoscope", "fit", (source and source.path) or "TABLE", "--report", "FOLDER"]
    lines = [[*first, *_option("level", report.level), *_options(report.options or FitOptions())]]
    for one in report.hypotheses:
        sign = "+" if one.direction == "positive" else "-"
        lines.append(_option("hypothesis", f"{one.metric}:{one.kpi.value}:{sign}"))
    return " \\\n  ".join(shlex.join(line) for line in lines)


def _options(options: FitOptions) -> list[str]:
    """The options that are not the defaults."""
    found = [word for ours, theirs in options.columns.items() for word in _option(ours, theirs)]
    found += [word for metric in options.metrics for word in _option("metric", metric)]
    if options.control is not None:
        found += _option("control", options.control)
    if options.margin is not None:
        found += _option("margin", options.margin)
    if options.x_reference != FitOptions().x_reference:
        found += _option("x-reference", options.x_reference)
    if options.error_correlation:
        found += _option("error-correlation", options.error_correlation)
    return [*found, "--one-trial-per-user"] if options.one_trial_per_user else found


def _option(name: str, value: object) -> list[str]:
    """An option; a value that looks like an option itself is attached to it."""
    text = str(value)
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
