"""Results: reports, comparisons, pooled slopes and reference results."""

import re
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.artifacts import reference
from pipeline.artifacts.storage import REPORT, find_project_root, read_json
from pipeline.cli.context import open_project, print_result
from pipeline.core.errors import StudyError
from pipeline.inference.counts.columns import CountsOptions
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.inference.meta.pool_studies import pool_studies
from pipeline.reporting.comparison.build import build_comparison
from pipeline.reporting.render import write_comparison
from pipeline.reporting.report import build_counts_report, write_new_report
from pipeline.reporting.text.advice import advice_sentence
from pipeline.reporting.text.confounding import direction_sentence
from pipeline.reporting.text.pooled_table import pooled_lines
from pipeline.reporting.text.read_as import read_as_sentences
from pipeline.reporting.text.reasons import limitation_sentences
from pipeline.reporting.text.summary import answer_sentence, exploratory_sentence
from pipeline.results.reader import REPORT_FILE, read_studies
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
    declared = [parse_hypothesis(text, number) for number, text in enumerate(hypothesis, start=1)]
    advice = AdviceConfig(control=control, margin=margin)
    options = CountsOptions(
        columns={ours: theirs for ours, theirs in columns.items() if theirs},
        metrics=tuple(metric),
        one_trial_per_user=one_trial_per_user,
        error_correlation=error_correlation,
    )
    found = fit_counts(
        counts,
        declared,
        level=level,
        seed=0,
        advice=advice,
        options=options,
        x_reference=XReference(x_reference),
    )
    limitations = limitation_sentences(found.limitations)
    page = write_new_report(build_counts_report(found, counts), report) if report else None
    answers = [answer_sentence(result, found.cutoff) for result in found.hypotheses]
    if not answers:
        answers = [exploratory_sentence(one, found.cutoff) for one in found.metric_ranking]
    answers += [direction_sentence(one, found.cutoff) for one in found.shared_directions]
    answers += [advice_sentence(one) for one in found.advice]
    read_as = read_as_sentences(found.read_as)
    written = [f"report: {page}"] if page else []
    return print_result(to_dict(found), [*read_as, *answers, *limitations, *written], json=json)


def meta_analysis(*, reports: list[Path], gain: float | None, json: bool, level: float) -> int:
    """Pool the slopes of several studies."""
    found = pool_studies(reports, level=level, gain=gain)
    return print_result(to_dict(found), pooled_lines(found.hypotheses), json=json)


def report(*, show: bool, json: bool) -> int:
    """Print the path of the report, or open it."""
    _, paths = open_project()
    page = paths.require(REPORT, "index.html")
    found: dict[str, Any] = {}
    if json:
        data, markdown = paths.require(REPORT, REPORT_FILE), paths.require(REPORT, "report.md")
        files = {"page": page, "markdown": markdown, "data": data}
        found = {name: str(file.relative_to(paths.root)) for name, file in files.items()}
        found["summary"] = read_json(data)["summary"]
    print_result(found, [f"report: {page.relative_to(paths.root)}"], json=json)
    if show and not webbrowser.open(page.as_uri()):
        msg = f"no browser found on this machine; open {page} in yours"
        raise StudyError(msg)
    return 0


def verify(*, json: bool) -> int:
    """Compare the study with its pins and reference results; returns 1 if they differ."""
    study, paths = open_project()
    result = reference.verify(paths, study.dataset.path)
    by_label = {
        "identical to the pin": result.identical,
        "DIFFERENT from the pin": result.different,
        "within tolerance": result.within_tolerance,
        "OUT OF TOLERANCE": result.out_of_tolerance,
    }
    if not result.passed:
        conclusion = "not verified: see the lines above"
    elif result.within_tolerance:
        conclusion = "verified: data bit for bit, model outputs within tolerance"
    else:
        conclusion = "verified: everything bit for bit"
    lines = [f"{label}: {item}" for label, items in by_label.items() for item in items]
    found = {"passed": result.passed, **asdict(result)}
    print_result(found, [*lines, conclusion], json=json)
    return 0 if result.passed else 1


def update_reference(*, json: bool) -> int:
    """Replace the reference results with those of the study."""
    _, paths = open_project()
    folder = reference.update_reference(paths).relative_to(paths.root)
    line = f"reference results written to {folder}; commit them with dvc.lock"
    return print_result({"folder": str(folder)}, [line], json=json)


def compare(*, studies: list[str], out: Path | None, json: bool, level: float) -> int:
    """Compare finished studies on one page."""
    found = read_studies(studies)
    comparison = build_comparison(found, level=level)
    page = write_comparison(comparison, out or _default_folder([one.label for one in found]))
    warnings = [
        f"{' and '.join(one.studies)} may be dependent: {'; '.join(one.reasons)}"
        for one in comparison.dependence_warnings
    ]
    return print_result(
        {"page": str(page), **to_dict(comparison)},
        [*comparison.summary, *warnings, f"comparison: {page}"],
        json=json,
    )


def _default_folder(labels: list[str]) -> Path:
    name = "-".join(re.sub(r"[^\w.]+", "-", label).strip("-.") for label in labels)
    return find_project_root() / "data" / "comparisons" / name
