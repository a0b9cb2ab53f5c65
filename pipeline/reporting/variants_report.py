"""The report on variants of a recommender that is not this project's: JSON, Markdown and HTML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.artifacts.storage import write_json
from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.core.labels import KPI_LABELS
from pipeline.experiment.kpis.contracts import COUNTS, TERMS
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render
from pipeline.reporting.report import (
    SCHEMA_VERSION,
    finalize,
    pictures_of_hypotheses,
    to_svg,
    with_analyses,
)
from pipeline.study import Study

NOT_TOLD = "The log tells nothing of {counts}, so nothing is said of {kpis}."
ERRORS_UNKNOWN = (
    "The standard errors of the variants' metrics are not known, so neither is what they add: "
    "error_in_x is null."
)


def build_variants_report(
    study: Study,
    *,
    cutoff: int | None,
    hypotheses: list[dict[str, Any]],
    tables: Mapping[str, pl.DataFrame],
    documents: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the report says.

    Args:
        study: The study.
        cutoff: The k of all metrics at k, None if they differ.
        hypotheses: :meth:`RegressionEstimate.as_dict` of each.
        tables: ``offline_metrics`` and ``group_kpis``.
        documents: ``health`` (of the experiment), ``exploration``, ``not_fitted``, ``plan``,
            ``origin`` (of the log), ``ingestion`` and ``provenance``.
    """
    metrics, kpis = tables["offline_metrics"], tables["group_kpis"]
    found = {
        "schema_version": SCHEMA_VERSION,
        "study": study.study.name,
        "cutoff": cutoff,
        "level": study.regression.level,
        "hypotheses": with_analyses(hypotheses),
        "health": documents["health"],
        "exploration": documents["exploration"],
        "not_fitted": documents["not_fitted"],
        "not_known": _not_known(metrics, kpis),
        "experiment": {"plan": documents["plan"], **documents["origin"]},
        "ingestion": documents["ingestion"],
        "offline_metrics": metrics.filter(segment=ALL_TARGETS).to_dicts(),
        "group_kpis": kpis.to_dicts(),
        "parameters": study.as_dict(),
        "provenance": documents["provenance"],
    }
    return finalize(found)


def write_variants_report(report: dict[str, Any], folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``index.html`` into ``folder``, which exists."""
    write_json(folder / "report.json", report)
    values = {
        "title": report["study"],
        "report": report,
        "pictures": to_svg(pictures_of_hypotheses(report)),
    }
    for face, name in ((PAGE, "index.html"), (MARKDOWN, "report.md")):
        text = render(jinja_environment(face, report["cutoff"]), face, "variants.j2", values)
        (folder / name).write_text(text, encoding="utf-8")


def _not_known(metrics: pl.DataFrame, kpis: pl.DataFrame) -> list[str]:
    """What this experiment cannot say."""
    there = {Kpi(kpi) for kpi in kpis["kpi"].unique()}
    absent = [kpi for kpi in TERMS if kpi not in there]
    told = {count for kpi in there for count in TERMS[kpi]}
    untold = [count for count in COUNTS if count not in told]
    labels = ", ".join(KPI_LABELS[kpi] for kpi in absent)
    words = [NOT_TOLD.format(counts=", ".join(untold), kpis=labels)] if absent else []
    if metrics["standard_error"].null_count() == metrics.height:
        words.append(ERRORS_UNKNOWN)
    return words
