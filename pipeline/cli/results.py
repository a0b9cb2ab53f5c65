"""Results: reports, comparisons, pooled slopes and reference results."""

import re
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.artifacts import reference
from pipeline.artifacts.project_root import find_project_root
from pipeline.artifacts.storage import REPORT
from pipeline.cli.context import open_project
from pipeline.cli.output import print_result
from pipeline.core.errors import StudyError
from pipeline.core.labels import counted
from pipeline.reporting.comparison.build import build_comparison
from pipeline.reporting.export import TableFormat, write_tables
from pipeline.reporting.render import write_comparison
from pipeline.reporting.tables import report_tables
from pipeline.reporting.text.message import answer_lines, message_lines
from pipeline.results.reader import REPORT_FILE, find_report, read_report, read_studies
from pipeline.results.serialization import to_dict


def report(*, show: bool, summary: bool, json: bool) -> int:
    """Print the path of the report or its five lines, or open it."""
    _, paths = open_project()
    page = paths.require(REPORT, "index.html")
    found: dict[str, Any] = {}
    if json:
        data, markdown = paths.require(REPORT, REPORT_FILE), paths.require(REPORT, "report.md")
        files = {"page": page, "markdown": markdown, "data": data}
        found = {name: str(file.relative_to(paths.root)) for name, file in files.items()}
        found["summary"] = answer_lines(read_report(data))
    lines = [f"report: {page.relative_to(paths.root)}"]
    if summary:
        lines = list(message_lines(read_report(paths.require(REPORT, REPORT_FILE)), str(page)))
        found["message"] = lines
    print_result(found, lines, json=json)
    if show and not webbrowser.open(page.as_uri()):
        msg = f"no browser found on this machine; open {page} in yours"
        raise StudyError(msg)
    return 0


def verify(*, json: bool) -> int:
    """Compare the study with its pins and reference results; returns 1 if they differ."""
    study, paths = open_project()
    result = reference.verify(study, paths)
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
    study, paths = open_project()
    folder = reference.update_reference(study, paths).relative_to(paths.root)
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


def export(*, report: str | None, out: Path, formats: list[TableFormat], json: bool) -> int:
    """Write the tables of a report as CSV, parquet and a workbook."""
    _, paths = open_project() if report is None else (None, None)
    source = paths.require(REPORT, REPORT_FILE) if paths else find_report(report or "")
    tables = report_tables(read_report(source))
    files = write_tables(tables, out, formats or list(TableFormat), source)
    rows = [f"{name}: {counted(frame.height, 'row')}" for name, frame in tables.items()]
    found = {"folder": str(out), "files": [file.name for file in files]}
    return print_result(
        found, [*rows, f"exported {counted(len(files), 'file')} to {out}"], json=json
    )


def _default_folder(labels: list[str]) -> Path:
    name = "-".join(re.sub(r"[^\w.]+", "-", label).strip("-.") for label in labels)
    return find_project_root() / "data" / "comparisons" / name
