"""Render reports, comparisons and the data card as HTML pages and Markdown."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2

from pipeline.artifacts.storage import atomic_folder, write_json
from pipeline.core.errors import DataError
from pipeline.core.labels import metric_label
from pipeline.reporting.comparison.build import Comparison
from pipeline.reporting.figures.charts import fronts_figure, slopes_figure
from pipeline.reporting.figures.svg import as_svg
from pipeline.reporting.first_screen.phrases import short_kpi
from pipeline.reporting.output_folder import refuse_other_files
from pipeline.reporting.text.advice import (
    expected_words,
    measured_briefly,
    moved,
    moved_briefly,
    predicted_words,
    ship_words,
)
from pipeline.reporting.text.command import fit_command
from pipeline.reporting.text.confounding import direction_words, optimise_words, runners_up
from pipeline.reporting.text.counterfactual_estimates import (
    estimate_lines,
    lift_rows,
    recovery_rows,
)
from pipeline.reporting.text.diagnostics import diagnostic_rows
from pipeline.reporting.text.formatting import NUMBERS, kpi, plain
from pipeline.reporting.text.lifts import lift_sentence
from pipeline.reporting.text.markdown import as_cell, as_text
from pipeline.reporting.text.partial import partial_sentences
from pipeline.reporting.text.plan_costs import cost_lines
from pipeline.reporting.text.power_summary import power_lines
from pipeline.reporting.text.progress import progress_words
from pipeline.reporting.text.read_as import read_as_sentences
from pipeline.reporting.text.reasons import (
    ANALYSES,
    EXCLUSIONS,
    VERDICTS,
    evidence_words,
    limitation_sentences,
    undefined_words,
)
from pipeline.results.serialization import to_dict

PAGE, MARKDOWN = "html", "md"
"""The formats of a rendered template."""

_LABELS: Mapping[str, Callable[..., Any]] = {
    "moved_briefly": moved_briefly,
    "measured_briefly": measured_briefly,
    "short_kpi": short_kpi,
    "fit_command": fit_command,
    "kpi": kpi,
    "plain": plain,
    "verdict": VERDICTS.__getitem__,
    "analysis": ANALYSES.__getitem__,
    "undefined": undefined_words,
    "exclusion": EXCLUSIONS.__getitem__,
    "evidence": evidence_words,
    "limitations": limitation_sentences,
    "read_as": read_as_sentences,
    "diagnostic_rows": diagnostic_rows,
    "runners_up": runners_up,
    "ship_words": ship_words,
    "expected_words": expected_words,
    "predicted_words": predicted_words,
    "moved": moved,
    "lift_sentence": lift_sentence,
    "counterfactual_lines": estimate_lines,
    "lift_rows": lift_rows,
    "recovery_rows": recovery_rows,
    "cell": as_cell,
}
"""The filters that write names, reasons and sentences."""


@cache
def jinja_environment(markup: str, cutoff: int | None) -> jinja2.Environment:
    """The templates of a format, :data:`PAGE` or :data:`MARKDOWN`, with their filters.

    ``cutoff`` is the k of metrics whose name has none; None leaves it out.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting", "templates"),
        autoescape=markup == PAGE,  # noqa: S701 - of Markdown, `finalize` escapes names
        finalize=as_text if markup == MARKDOWN else None,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: Mapping[str, Callable[..., Any]] = {
        **NUMBERS,
        **_LABELS,
        "metric": partial(metric_label, cutoff=cutoff),
        "direction_words": partial(direction_words, cutoff=cutoff),
        "optimise_words": partial(optimise_words, cutoff=cutoff),
        "partial_sentences": partial(partial_sentences, cutoff=cutoff),
        "power_lines": partial(power_lines, cutoff=cutoff),
        "cost_lines": partial(cost_lines, cutoff=cutoff),
        "progress": progress_words,
    }
    environment.filters.update(filters)
    return environment


def render(
    environment: jinja2.Environment, markup: str, template: str, values: Mapping[str, Any]
) -> str:
    """Render the template that lists the sections; the values of a page must have a ``title``."""
    ui = environment.get_template(f"ui.{markup}").module
    body = environment.get_template(template).render(values, ui=ui, markup=markup)
    if markup == MARKDOWN:
        return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", body)).strip() + "\n"
    loader = environment.loader
    assert loader
    script = loader.get_source(environment, "page.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sections = re.findall(r'<section id="([^"]+)".*?<h2[^>]*>(.*?)</h2>', body, flags=re.DOTALL)
    return environment.get_template("page.html").render(
        values, body=body, script=script, digest=digest, sections=sections
    )


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write ``comparison.json``, ``comparison.md`` and ``index.html``; returns the page.

    Raises:
        DataError: if the folder contains other files, or cannot be written.
    """
    figures = {
        f"slopes-{number}": slopes_figure(one.studies, f"slopes-{number}")
        for number, one in enumerate(comparison.hypotheses)
    }
    if comparison.fronts:
        figures["points"] = fronts_figure(comparison.fronts)
    values = {
        "title": f"Comparison of {', '.join(one.label for one in comparison.studies)}",
        "comparison": comparison,
        "figures": {name: as_svg(one, name) for name, one in figures.items() if one},
    }
    return write_files(
        folder,
        {"comparison.json": to_dict(comparison)},
        {
            name: render(jinja_environment(markup, None), markup, "comparison.j2", values)
            for name, markup in (("index.html", PAGE), ("comparison.md", MARKDOWN))
        },
    )


def write_files(folder: Path, documents: Mapping[str, Any], texts: Mapping[str, str]) -> Path:
    """Write a folder of JSON documents and texts, replacing an older one; returns its page.

    Raises:
        DataError: if the folder contains other files, or cannot be written.
    """
    try:
        refuse_other_files(folder, {*documents, *texts}, "choose a new or empty folder")
        with atomic_folder(folder.resolve()) as fresh:
            for name, document in documents.items():
                write_json(fresh / name, document)
            for name, text in texts.items():
                (fresh / name).write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write to {folder}: {error}; choose another folder"
        raise DataError(msg) from error
    return folder / "index.html"
