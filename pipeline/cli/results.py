"""What was found, on the command line: reports, comparisons, and what is released."""

import re
import webbrowser
from dataclasses import asdict
from pathlib import Path

from pipeline.artifacts.release import Verification
from pipeline.artifacts.release import release as release_study
from pipeline.artifacts.release import verify as verify_study
from pipeline.artifacts.storage import REPORT, find_project_root
from pipeline.cli.context import open_project
from pipeline.cli.output import echo, print_json
from pipeline.core.errors import StudyError
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.inference.meta.pool_studies import pool_studies
from pipeline.reporting.comparison.build import build_comparison
from pipeline.reporting.render import write_comparison
from pipeline.reporting.report import build_counts_report, write_new_report
from pipeline.reporting.text.pooled_table import pooled_lines
from pipeline.reporting.text.reasons import limitation_sentences
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.document import Report
from pipeline.results.reader import REMEDY, read_studies
from pipeline.results.serialization import read_result, to_dict


def fit(
    *, counts: Path, json: bool, report: Path | None, level: float, hypothesis: list[str]
) -> int:
    """Fit hypotheses to a table of counts."""
    declared = [parse_hypothesis(text, number) for number, text in enumerate(hypothesis, start=1)]
    found = fit_counts(counts, declared, level=level, seed=0)
    limitations = limitation_sentences(found.limitations)
    if not found.hypotheses and not report:
        raise StudyError(limitations[0])
    page = write_new_report(build_counts_report(found, counts), report) if report else None
    if json:
        print_json(to_dict(found))
        return 0
    for line in (*(answer_sentence(one, found.cutoff) for one in found.hypotheses), *limitations):
        echo(line)
    if page:
        echo(f"the report: {page}")
    return 0


def meta(*, reports: list[Path], gain: float | None, json: bool, level: float) -> int:
    """Pool the hypotheses of several studies."""
    found = pool_studies(reports, level=level, gain=gain)
    if json:
        print_json(to_dict(found))
        return 0
    for line in pooled_lines(found.hypotheses):
        echo(line)
    return 0


def report(*, show: bool, json: bool) -> int:
    """Say where the report lies, or show it."""
    _, paths = open_project()
    page = paths.require(REPORT, "index.html")
    if json:
        data = paths.require(REPORT, "report.json")
        markdown = paths.require(REPORT, "report.md")
        files = {"page": page, "markdown": markdown, "data": data}
        found = {name: str(file.relative_to(paths.root)) for name, file in files.items()}
        print_json({**found, "summary": list(read_result(Report, data, remedy=REMEDY).summary)})
    else:
        echo(f"the report: {page.relative_to(paths.root)}")
    if show and not webbrowser.open(page.as_uri()):
        msg = f"no browser can be started here; open {page} in yours"
        raise StudyError(msg)
    return 0


def verify(*, json: bool) -> int:
    """Compare the study with its pins and the released tables."""
    study, paths = open_project()
    result = verify_study(paths, study.dataset.path)
    status = 0 if result.passed else 1
    if json:
        print_json({"passed": result.passed, **asdict(result)})
        return status
    for words, names in (
        ("identical to the pin", result.identical),
        ("DIFFERENT from the pin", result.different),
        ("close to the release", result.close),
        ("FAR from the release", result.apart),
    ):
        for name in names:
            echo(f"{words}: {name}")
    echo(_verdict(result))
    return status


def _verdict(result: Verification) -> str:
    if not result.passed:
        return "not verified: see the lines above"
    if result.close:
        return "verified: data bit for bit, what comes out of the network within tolerance"
    return "verified: everything bit for bit"


def release(*, json: bool) -> int:
    """Make the study's tables the released ones."""
    _, paths = open_project()
    folder = release_study(paths).relative_to(paths.root)
    if json:
        print_json({"folder": str(folder)})
    else:
        echo(f"released to {folder}; commit it with dvc.lock")
    return 0


def compare(*, studies: list[str], out: Path | None, json: bool, level: float) -> int:
    """Compare finished studies on one page."""
    found = read_studies(studies)
    comparison = build_comparison(found, level=level)
    page = write_comparison(comparison, out or _default_folder([one.label for one in found]))
    if json:
        print_json({"page": str(page), **to_dict(comparison)})
        return 0
    for sentence in comparison.summary:
        echo(sentence)
    for warning in comparison.dependence_warnings:
        echo(f"{' and '.join(warning.studies)} may be dependent: {'; '.join(warning.reasons)}")
    echo(f"the comparison: {page}")
    return 0


def _default_folder(labels: list[str]) -> Path:
    name = "-".join(re.sub(r"[^\w.]+", "-", label).strip("-.") for label in labels)
    return find_project_root() / "data" / "comparisons" / name
