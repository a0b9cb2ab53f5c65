"""The regression report: one dictionary, and its three faces (JSON, Markdown, HTML).

Every number on the pages is taken from the dictionary that ``report.json`` holds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from pipeline.artifacts.storage import write_json
from pipeline.core.contracts import ALL_TARGETS
from pipeline.core.errors import DataError
from pipeline.reporting.figures.charts import (
    front_figure,
    hypothesis_panels,
    learning_curves,
)
from pipeline.reporting.figures.data_card import data_card_figure
from pipeline.reporting.figures.forest import forest_plot
from pipeline.reporting.figures.slope_rows import slopes_of
from pipeline.reporting.figures.svg import as_svg
from pipeline.reporting.render import MARKDOWN, PAGE, jinja_environment, render
from pipeline.reporting.text.data_card import card_numbers
from pipeline.reporting.text.power_summary import power_lines
from pipeline.reporting.text.summary import answer_sentence, build_summary
from pipeline.study import Study

__all__ = ["SCHEMA_VERSION", "answer_sentence", "build_report", "write_report"]

SCHEMA_VERSION = 2
"""Of ``report.json``; docs/report.schema.json says what it holds."""

_FACES = {PAGE: "index.html", MARKDOWN: "report.md"}


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
    data: dict[str, Any] = {name: documents[name] for name in ("events", "sessions", "profile")}
    numbers = card_numbers(data["profile"], data["events"], data["sessions"])
    cutoff = int(tables["offline_metrics"]["cutoff"].drop_nulls()[0])
    found = {
        "schema_version": SCHEMA_VERSION,
        "study": study.study.name,
        "cutoff": cutoff,
        "level": study.regression.level,
        "objectives": [str(one.loss) for one in study.training.objectives],
        "hypotheses": with_analyses(hypotheses),
        "health": documents["health"],
        "exploration": documents["exploration"],
        "experiment": {
            "plan": documents["plan"],
            "power": documents["power"],
            "promised": power_lines(documents["power"], cutoff),
            **documents["origin"],
        },
        "ingestion": documents["ingestion"],
        "front": {**documents["front"], "points": tables["pareto_front"].to_dicts()},
        "offline_metrics": tables["offline_metrics"].filter(segment=ALL_TARGETS).to_dicts(),
        "group_kpis": tables["group_kpis"].to_dicts(),
        "training": documents["training"],
        "learning_curves": tables["learning_curves"].to_dicts(),
        "data": {**data, "card": numbers},
        **_parameters(study.as_dict(), documents["training"]),
        "provenance": documents["provenance"],
    }
    return finalize(found)


def _parameters(today: dict[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, those of the model as it was trained, and which of them are others today."""
    ran = {name: training[name] for name in ("model", "training") if name in training}
    changed = [
        f"{name}.{key}"
        for name, section in ran.items()
        for key, value in section.items()
        if today[name].get(key) != value
    ]
    merged = {name: {**today[name], **section} for name, section in ran.items()}
    return {"parameters": {**today, **merged}, "changed_since_training": changed}


def with_analyses(hypotheses: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The hypotheses, each with its slope under every analysis.

    Raises:
        DataError: if an older version answered them.
    """
    if any("band" not in one for one in hypotheses):
        msg = (
            "regression_estimates was written by an older version and lacks what the report shows; "
            "make it anew: dagster asset materialize --select regression_estimates"
        )
        raise DataError(msg)
    return [one | {"analyses": slopes_of(one)} for one in hypotheses]


def finalize(found: dict[str, Any]) -> dict[str, Any]:
    """The report with its first screen, its groups and its totals."""
    rows = [row for row in found["group_kpis"] if row["kpi"] == "ctr"]
    planned = found.get("experiment", {}).get("plan", {}).get("groups")
    order = list(dict.fromkeys(row["preference_id"] for row in found["offline_metrics"]))
    served = [{"name": row["group"], "preference_id": row["preference_id"]} for row in rows]
    groups = planned or sorted(
        served, key=lambda one: (*order, one["preference_id"]).index(one["preference_id"])
    )
    rejected = found.get("ingestion", {}).get("rejected", {})
    return {
        **found,
        **build_summary(found, level=found["level"]),
        "groups": [
            {name: one.get(name) for name in ("name", "preference_id", "preference", "share")}
            for one in groups
        ],
        "totals": {
            "groups": len(groups),
            "impressions": sum(row["trials"] for row in rows),
            "log_rows_set_aside": sum(rejected.values()),
        },
    }


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``index.html`` into ``folder``, which exists."""
    write_json(folder / "report.json", report)
    values = page_values(report)
    for face, name in _FACES.items():
        environment = jinja_environment(face, report["cutoff"])
        text = render(environment, face, "report.j2", values)
        (folder / name).write_text(text, encoding="utf-8")


def page_values(report: dict[str, Any]) -> dict[str, Any]:
    """What the templates of the regression report are filled with."""
    groups = report["experiment"]["plan"]["groups"]
    pictures = {
        **pictures_of_hypotheses(report),
        "front-points": front_figure(report["front"]["points"], groups, report["cutoff"]),
        **learning_curves(report["learning_curves"]),
        "data": data_card_figure(report["data"]["profile"]),
    }
    return {
        "title": report["study"],
        "report": report,
        "pictures": to_svg(pictures),
    }


def pictures_of_hypotheses(report: dict[str, Any]) -> dict[str, Figure]:
    """A panel of Figure 1 and a forest plot for every hypothesis, by the table behind it."""
    found: dict[str, Figure] = {}
    for one in report["hypotheses"]:
        found[f"points-{one['id']}"] = hypothesis_panels([one], report["cutoff"])
        if one["analyses"]:
            found[f"slopes-{one['id']}"] = forest_plot(one)
    return found


def to_svg(figures: Mapping[str, Figure]) -> dict[str, str]:
    """Figures as SVG elements, by name."""
    return {name: as_svg(figure, name) for name, figure in figures.items()}
