"""The report: one document with optional sections, written as JSON, Markdown and HTML.

Every number on the pages is taken from the document that ``report.json`` holds.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipeline.artifacts.provenance import environment_info
from pipeline.artifacts.storage import md5
from pipeline.core.contracts import Kpi
from pipeline.inference.hypotheses.evidence_rating import rate_evidence
from pipeline.reporting.figures.charts import hypothesis_panels, learning_curves
from pipeline.reporting.figures.counterfactual import LIFTS, lift_panels
from pipeline.reporting.figures.data_card import data_card_figure
from pipeline.reporting.figures.forest import forest_plot
from pipeline.reporting.figures.front import front_figure
from pipeline.reporting.figures.lead import lead_figure
from pipeline.reporting.figures.svg import as_svg
from pipeline.reporting.first_screen.phrases import short_kpi
from pipeline.reporting.first_screen.screen import first_screen
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render, write_files
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.decisions import Limitation
from pipeline.results.document import GroupSummary, Provenance, Report, SourceFile, Totals
from pipeline.results.findings import Findings
from pipeline.results.reader import REPORT_FILE
from pipeline.results.reasons import LimitationKind
from pipeline.results.serialization import parse, to_dict
from pipeline.results.stored import write_result

_FILES = {PAGE: "index.html", MARKDOWN: "report.md"}
_ORIGINS = {
    "simulated": LimitationKind.SIMULATED,
    "drawn": LimitationKind.DRAWN,
    "replayed": LimitationKind.REPLAYED,
}


def build_report(findings: Findings, provenance: Provenance, **sections: Any) -> Report:
    """The report on the findings of an analysis.

    Args:
        findings: Hypotheses, diagnostics, metric ranking, advice and the tables.
        provenance: Software and inputs.
        sections: Optional fields of :class:`Report`: ``study``, ``objectives``, ``experiment``,
            ``ingestion``, ``front``, ``training``, ``learning_curves``, ``data``, ``counterfactual``,
            ``parameters`` and ``changed_since_training``.
    """
    found = {field.name: getattr(findings, field.name) for field in fields(findings)}
    bare = Report(**found, provenance=provenance, **sections)
    groups = _groups(bare)
    rows = [row for row in bare.group_kpis if row.kpi is Kpi.CTR]
    rejected = bare.ingestion.rejected if bare.ingestion else {}
    return replace(
        bare,
        limitations=_limitations(bare),
        summary=tuple(answer_sentence(one, bare.cutoff) for one in bare.hypotheses),
        evidence={one.id: rate_evidence(one, bare.diagnostics) for one in bare.hypotheses},
        groups=groups,
        totals=Totals(
            groups=len(groups),
            impressions=sum(row.trials for row in rows),
            rejected_rows=sum(rejected.values()),
        ),
    )


def _groups(report: Report) -> tuple[GroupSummary, ...]:
    """The groups of the plan; without one, those of the table, in the order of their metrics."""
    if report.experiment and report.experiment.plan.groups:
        return report.experiment.plan.groups
    order = list(dict.fromkeys(row.preference_id for row in report.offline_metrics))
    found = [
        GroupSummary(name=row.group, preference_id=row.preference_id)
        for row in report.group_kpis
        if row.kpi is Kpi.CTR
    ]
    return tuple(
        sorted(found, key=lambda one: (*order, one.preference_id).index(one.preference_id))
    )


def _limitations(report: Report) -> tuple[Limitation, ...]:
    """What no report can say, and what this one cannot."""
    origin = _ORIGINS.get(report.experiment.origin) if report.experiment else None
    general = (LimitationKind.ASSOCIATION, LimitationKind.EXTRAPOLATION)
    kinds = (origin, *general) if origin else general
    return (*(Limitation(kind=kind) for kind in kinds), *report.limitations)


def build_counts_report(findings: Findings, counts: Path) -> Report:
    """The report on what :func:`pipeline.inference.hypotheses.from_counts.fit_counts` found."""
    source = SourceFile(path=counts.name, md5=md5(counts))
    software = parse(Provenance, environment_info())
    return build_report(findings, replace(software, counts=source))


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.json``, ``index.html`` and ``report.md`` into ``folder``, which exists."""
    write_result(report, folder / REPORT_FILE)
    for name, text in _pages(report).items():
        (folder / name).write_text(text, encoding="utf-8")


def write_new_report(report: Report, folder: Path) -> Path:
    """Write a report to ``folder``, replacing an older report there; returns its page.

    Raises:
        DataError: if the folder contains other files, or cannot be written.
    """
    return write_files(folder, {REPORT_FILE: to_dict(report)}, _pages(report))


def _pages(report: Report) -> dict[str, str]:
    """The report as HTML and Markdown, by file name."""
    values = page_values(report)
    return {
        name: render(jinja_environment(markup, report.cutoff), markup, _template(report), values)
        for markup, name in _FILES.items()
    }


def _template(report: Report) -> str:
    """The template that lists the sections of this kind of report."""
    if report.study is None:
        return "counts.j2"
    return "report.j2" if report.front else "variants.j2"


def page_values(report: Report) -> dict[str, Any]:
    """The variables of the templates: ``title``, ``report``, its first screen ``s``, and ``figures``."""
    figures = hypothesis_figures(report)
    screen = first_screen(report)
    if lead := screen.lead:
        figures["lead"] = lead_figure(lead, short_kpi(lead.response), report.cutoff)
    if report.front:
        figures["front-points"] = front_figure(
            report.front.points, report.front.axes, report.groups, report.cutoff
        )
    figures |= learning_curves(report.learning_curves)
    if report.counterfactual:
        figures[LIFTS] = lift_panels(report.counterfactual.kpis)
    if report.data:
        figures["data"] = data_card_figure(report.data["profile"])
    counts = report.provenance.counts
    return {
        "title": report.study or (counts and counts.path) or "report",
        "report": report,
        "s": screen,
        "counterfactual": report.counterfactual,
        "figures": {name: as_svg(figure, name) for name, figure in figures.items()},
    }


def hypothesis_figures(report: Report) -> dict[str, Figure]:
    """A panel of Figure 1 and a forest plot per hypothesis, by the table with its numbers."""
    found: dict[str, Figure] = {}
    for one in report.hypotheses:
        found[f"points-{one.id}"] = hypothesis_panels([one], report.cutoff)
        if one.analyses:
            found[f"slopes-{one.id}"] = forest_plot(one)
    return found
