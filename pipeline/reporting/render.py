"""The reports' templates: the same sections, written as a page or as Markdown."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import jinja2

from pipeline.core.labels import KPI_LABELS, metric_label
from pipeline.reporting.text.diagnostics import diagnostic_rows
from pipeline.reporting.text.formatting import NUMBERS
from pipeline.reporting.text.power_summary import power_lines
from pipeline.reporting.text.reasons import (
    ANALYSES,
    VERDICTS,
    evidence_words,
    limitation_sentences,
    undefined_words,
)

PAGE, MARKDOWN = "html", "md"

_WORDS: Mapping[str, Callable[..., Any]] = {
    "kpi": KPI_LABELS.__getitem__,
    "verdict": VERDICTS.__getitem__,
    "analysis": ANALYSES.__getitem__,
    "undefined": undefined_words,
    "evidence": evidence_words,
    "limitations": limitation_sentences,
    "diagnostic_rows": diagnostic_rows,
    "power_lines": power_lines,
}
"""The filters that turn results into words."""


@cache
def jinja_environment(face: str, cutoff: int | None) -> jinja2.Environment:
    """The templates of a face, :data:`PAGE` or :data:`MARKDOWN`, with their filters; compiled once."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting", "templates"),
        autoescape=face == PAGE,  # noqa: S701 - Markdown is not escaped
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.do"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers: Mapping[str, Callable[..., Any]] = NUMBERS
    environment.filters |= {**numbers, **_WORDS} | {"metric": partial(metric_label, cutoff=cutoff)}
    return environment


def render(environment: jinja2.Environment, face: str, kind: str, values: Mapping[str, Any]) -> str:
    """A report as text.

    Args:
        environment: Of the face.
        face: :data:`PAGE` or :data:`MARKDOWN`.
        kind: The template that lists the report's sections.
        values: ``report`` and ``pictures``.
    """
    ui = environment.get_template(f"ui.{face}").module
    body = environment.get_template(kind).render(values, ui=ui, face=face)
    if face == MARKDOWN:
        return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", body)).strip() + "\n"
    loader = environment.loader
    assert loader
    script = loader.get_source(environment, "page.js")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    body = re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", body)
    sections = re.findall(r'<section id="([^"]+)".*?<h2[^>]*>(.*?)</h2>', body, flags=re.DOTALL)
    return environment.get_template("page.html").render(
        values, body=body, script=script, digest=digest, sections=sections
    )
