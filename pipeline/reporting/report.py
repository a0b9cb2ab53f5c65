"""The regression report: one dictionary, and its three faces (JSON, Markdown, HTML).

Every number on the pages is taken from the dictionary that ``report.json`` holds.
"""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from pipeline.experiment.kpis import TERMS
from pipeline.inference.checks import HEALTH_CHECKS
from pipeline.reporting.data_card import data_card_markdown, data_card_picture
from pipeline.reporting.figures import (
    KPI_LABELS,
    as_svg,
    front_picture,
    hypothesis_panels,
    learning_curves_picture,
    metric_label,
)
from pipeline.reporting.planned import power_lines
from pipeline.schemas import ALL_TARGETS, Kpi
from pipeline.storage import write_json
from pipeline.study import Study

SCHEMA_VERSION = 1
_VERDICT_WORDS = {
    "confirmed": "confirmed",
    "fragile": "fragile: so few groups could do this by chance",
    "contradicted": "contradicted: the slope points the other way",
    "not shown": "not shown: the interval holds 0",
    "blocked": "blocked: the users are not divided as planned",
    "undefined": "undefined",
}


def build_report(
    study: Study,
    *,
    hypotheses: list[dict[str, Any]],
    tables: Mapping[str, pl.DataFrame],
    documents: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the report says.

    Args:
        study: The study.
        hypotheses: :meth:`RegressionEstimate.as_dict` of each.
        tables: ``offline_metrics``, ``pareto_front``, ``group_kpis`` and ``learning_curves``.
        documents: ``front`` (its summary), ``health`` (of the experiment), ``exploration``, ``plan``,
            ``power`` (it was planned to have), ``origin`` (of the log), ``events`` and ``sessions`` (counts), ``profile`` (of both),
            ``ingestion``, ``training`` and ``provenance``.
    """
    cutoff = int(tables["offline_metrics"]["cutoff"].drop_nulls()[0])
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.study.name,
        "cutoff": cutoff,
        "summary": [sentence(h, cutoff) for h in hypotheses],
        "hypotheses": hypotheses,
        "health": documents["health"],
        "exploration": documents["exploration"],
        "experiment": {
            "plan": documents["plan"],
            "power": documents["power"],
            **documents["origin"],
        },
        "ingestion": documents["ingestion"],
        "front": {**documents["front"], "points": tables["pareto_front"].to_dicts()},
        "offline_metrics": tables["offline_metrics"].filter(segment=ALL_TARGETS).to_dicts(),
        "group_kpis": tables["group_kpis"].to_dicts(),
        "training": documents["training"],
        "learning_curves": tables["learning_curves"].to_dicts(),
        "data": {name: documents[name] for name in ("events", "sessions", "profile")},
        "parameters": study.as_dict(),
        "provenance": documents["provenance"],
    }


def sentence(hypothesis: dict[str, Any], cutoff: int | None) -> str:
    """One hypothesis in one sentence that claims no more than the wider of its intervals."""
    metric = metric_label(hypothesis["metric"], cutoff)
    kpi, response = KPI_LABELS[hypothesis["kpi"]], KPI_LABELS[hypothesis["response"]]
    start = f"{hypothesis['id']}, “{metric} is a {hypothesis['direction']} predictor of {kpi}”, is "
    if hypothesis["slope"] is None:
        return f"{start}undefined: {hypothesis['undefined_because']}."
    elasticity = hypothesis["rate_elasticity"]
    share = elasticity / hypothesis["slope"] if hypothesis["slope"] else 1.0
    low, high = (share * end for end in hypothesis["verdict_interval"])
    trials = TERMS[Kpi(hypothesis["response"])][0]
    digits = max(2, 1 - math.floor(math.log10((high - low) / 2)))
    on_all_days = ", on all days at once" if hypothesis["reading"] == "early look" else ""
    change = (
        f"1 % more {metric} goes with a {abs(elasticity):.{digits}f} % "
        f"{'higher' if elasticity > 0 else 'lower'} {response} "
        f"({100 * hypothesis['level']:g} % interval of the change{on_all_days}: {low:+.{digits}f} % to "
        f"{high:+.{digits}f} %)"
    )
    match hypothesis["verdict"]:
        case "not shown":
            return (
                f"{start}not shown: the estimate is that {change}, and 0 is within it. About "
                f"{hypothesis['trials_to_settle']:,} {trials} would settle an effect of that size; there "
                f"were {hypothesis['n']:,}, enough to find one of "
                f"{share * hypothesis['detectable_slope']:.{digits}f} % with a chance of 80 %."
            )
        case "fragile":
            return (
                f"{start}fragile: {change}, but {hypothesis['groups']} groups could lie so by "
                "chance. More groups would settle it, more users would not."
            )
        case "blocked":
            return f"{start}blocked: the users are not divided as planned, so nothing is concluded."
        case verdict:
            return f"{start}{verdict}: {change}."


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``index.html`` into ``folder``, which exists."""
    write_json(folder / "report.json", report)
    environment = templates(report["cutoff"])
    pictures, data = _pictures(report), report["data"]
    card = data_card_markdown(data["profile"], data["events"], data["sessions"])
    promised = power_lines(report["experiment"]["power"], report["cutoff"])
    for template, name in (("report.html", "index.html"), ("report.md", "report.md")):
        text = environment.get_template(template).render(
            report=report, pictures=pictures, data_card=card, promised=promised
        )
        (folder / name).write_text(text, encoding="utf-8")


def templates(cutoff: int | None) -> jinja2.Environment:
    """The reports' templates, with the filters that write numbers and names."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting", "."),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "metric": partial(metric_label, cutoff=cutoff),
        "kpi": KPI_LABELS.__getitem__,
        "verdict": _VERDICT_WORDS.__getitem__,
        "health_check": HEALTH_CHECKS.__getitem__,
        "p_value": p_value,
        "number": number,
        "thousands": "{:,}".format,
        "per_cent": per_cent,
        "odds_change": odds_change,
    }
    return environment


def p_value(value: float | None) -> str:
    """A p-value as a table prints it; never 0."""
    if value is None:
        return "–"
    return f"{value:.4f}" if value >= 1e-4 else "< 0.0001"


def number(value: float | None, digits: int = 4) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def per_cent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def odds_change(log_odds: float) -> str:
    """A change of the log odds as the percentage by which the odds change."""
    return per_cent(math.expm1(log_odds))


def _pictures(report: dict[str, Any]) -> dict[str, str]:
    """The pictures as SVG, by name."""
    groups = report["experiment"]["plan"]["groups"]
    figures = {
        "hypotheses": hypothesis_panels(report["hypotheses"], report["cutoff"]),
        "front": front_picture(report["front"]["points"], groups, report["cutoff"]),
        "learning_curves": learning_curves_picture(report["learning_curves"]),
        "data": data_card_picture(report["data"]["profile"]),
    }
    return {name: as_svg(figure) for name, figure in figures.items()}
