"""The page of an experiment's counterfactual estimates, as HTML, Markdown and JSON."""

from pathlib import Path
from typing import Any

from pipeline.reporting.figures.counterfactual import LIFTS, lift_panels
from pipeline.reporting.figures.svg import as_svg
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render
from pipeline.results.counterfactual_estimates import CounterfactualEstimates
from pipeline.results.stored import write_result

_PAGES = {PAGE: "index.html", MARKDOWN: "report.md"}


def write_page(found: CounterfactualEstimates, study: str, folder: Path) -> None:
    """Write ``estimates.json``, ``index.html`` and ``report.md`` into ``folder``, which exists."""
    write_result(found, folder / "estimates.json")
    values: dict[str, Any] = {
        "title": f"{study}: counterfactual estimates",
        "counterfactual": found,
        "figures": {LIFTS: as_svg(lift_panels(found.kpis), LIFTS)},
    }
    for markup, name in _PAGES.items():
        text = render(jinja_environment(markup, None), markup, "counterfactual_page.j2", values)
        (folder / name).write_text(text, encoding="utf-8")
