"""The answer: a slope for every hypothesis, and the report that explains it."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import polars as pl

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.provenance import output_md5s, provenance, provenance_of_variants
from pipeline.artifacts.storage import (
    DATABASE,
    REPORT,
    StudyPaths,
    atomic_file,
    atomic_folder,
    read_json,
    read_table,
    write_json,
)
from pipeline.experiment.design.external_variants import (
    Plan,
    TrafficPlan,
    load_plan,
    planned_variants,
)
from pipeline.experiment.design.plan_checks import check_same_model, check_same_preferences
from pipeline.experiment.log.ingest import ingested_md5s, summarise
from pipeline.inference.diagnostics.health_checks import SAMPLE_RATIO, health_of
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.external_variants import cutoff_of, section_of, variant_metrics
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.metric_ranking import explore, unfitted_pairs
from pipeline.inference.hypotheses.results import RegressionEstimate
from pipeline.inference.power.plan_experiment import POWER
from pipeline.reporting.figures.charts import hypothesis_panels
from pipeline.reporting.report import build_report, write_report
from pipeline.reporting.variants_report import build_variants_report, write_variants_report
from pipeline.simulator.simulate import log_provenance
from pipeline.steps.result import LazyFigure, Markdown, StepResult, markdown_table
from pipeline.study import RegressionConfig, Study

ESTIMATES = "regression_estimates.json"
HEALTH = "health.json"
EXPLORATION = "exploration.json"
NOT_FITTED = "not_fitted.json"

Estimates = tuple[RegressionEstimate, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    """The tables the hypotheses are tested on, those hypotheses, and the cutoff of the metrics."""

    inputs: RegressionInputs
    section: RegressionConfig
    cutoff: int | None


def estimate_slopes(study: Study, paths: StudyPaths) -> StepResult[Estimates]:
    """Check the experiment's health, test every hypothesis, and rank all metrics.

    Raises:
        MissingArtifact: if KPIs, metrics or the plan are missing.
        LogError: if the model or its preferences are not those that users were served by.
    """
    seed, plan = study.study.seed, load_plan(paths)
    question = _question(study, paths, plan)
    health = health_of(
        question.inputs,
        question.section.hypotheses,
        shares={group.name: group.share for group in plan.groups},
        rejected=summarise(paths.require(DATABASE))["rejected"],
        seed=seed,
    )
    inputs, level = (
        replace(question.inputs, healthy=health[SAMPLE_RATIO]["passed"]),
        question.section.level,
    )
    estimates = tuple(estimate_hypotheses(inputs, question.section, seed=seed))
    rows = [estimate.as_dict() for estimate in estimates]
    with atomic_folder(paths.artifact("regression_estimates")) as folder:
        write_json(folder / ESTIMATES, rows)
        write_json(folder / HEALTH, health)
        ranking = explore(inputs, level=level, seed=seed)
        write_json(folder / EXPLORATION, [asdict(one) for one in ranking])
        write_json(folder / NOT_FITTED, unfitted_pairs(inputs, level=level))
    return StepResult(
        asset="regression_estimates",
        value=estimates,
        location=paths.artifact("regression_estimates"),
        rows=len(rows),
        details={
            "figure": LazyFigure("Figure 1", partial(hypothesis_panels, rows, question.cutoff)),
            "verdicts": _verdicts(rows),
            **{
                f"slope of {one['id']}: {one['kpi']} on {one['metric']}": one["slope"]
                for one in rows
            },
            "sample ratio p": health[SAMPLE_RATIO]["p_value"],
        },
        health=health,
    )


def _question(study: Study, paths: StudyPaths, plan: Plan) -> _Question:
    def table(artifact: str, name: str) -> pl.DataFrame:
        return read_table(paths.require(artifact, f"{name}.parquet"))

    def optional(name: str) -> pl.DataFrame | None:
        file = paths.artifact("group_kpis", f"{name}.parquet")
        return read_table(file) if file.exists() else None

    variants, replicates = None, None
    if isinstance(plan, TrafficPlan):
        metrics = table("offline_metrics", "offline_metrics")
        covariance = table("offline_metrics", "offline_metric_covariance")
        replicates = table("offline_metrics", "offline_metric_replicates")
        check_same_model(plan, checkpoint_fingerprint(paths.require("conditioned_model")))
        check_same_preferences(plan, metrics)
    else:
        variants = planned_variants(paths)
        metrics, covariance = variant_metrics(variants)
    inputs = RegressionInputs(
        metrics,
        covariance,
        table("group_kpis", "group_kpis"),
        replicates=replicates,
        daily_sums=table("group_kpis", "daily_sums"),
        returning_sums=table("group_kpis", "returning_sums"),
        before_sums=optional("before_sums"),
        segment_kpis=optional("segment_kpis"),
        planned_days=study.experiment.planned_days,
    )
    section = study.regression
    if variants is None:
        return _Question(inputs, section, study.evaluation.cutoff)
    return _Question(inputs, section_of(section, inputs, variants), cutoff_of(variants))


def _verdicts(rows: list[dict[str, Any]]) -> Markdown:
    """Slope, confidence interval and verdict of each hypothesis."""
    return markdown_table(
        ("hypothesis", "slope", "CI of the verdict", "verdict"),
        [
            (
                f"{one['id']}: {one['kpi']} on {one['metric']}",
                one["slope"],
                "{:.3f} to {:.3f}".format(*ci) if (ci := one["verdict_interval"]) else None,
                one["verdict"],
            )
            for one in rows
        ],
    )


def write_regression_report(study: Study, paths: StudyPaths) -> StepResult[dict[str, Any]]:
    """Write the report as HTML, Markdown and JSON, and the study's manifest.

    Raises:
        MissingArtifact: if an artifact of the chain is missing.
    """
    of_variants = study.experiment.variants is not None
    report = (_variants_report if of_variants else _study_report)(study, paths)
    target = paths.artifact(REPORT)
    with atomic_folder(target) as folder:
        (write_variants_report if of_variants else write_report)(report, folder)
    manifest = {
        "parameters": report["parameters"],
        "provenance": report["provenance"],
        "outputs": output_md5s(paths),
    }
    with atomic_file(paths.artifact("manifest.json")) as file:
        write_json(file, manifest)
    panels = partial(hypothesis_panels, report["hypotheses"], report["cutoff"])
    return StepResult(
        asset="regression_report",
        value=report,
        location=target,
        details={
            "figure": LazyFigure("Figure 1", panels),
            "summary": Markdown("\n".join(f"- {line}" for line in report["summary"])),
            "page": target / "index.html",
        },
    )


def _study_report(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """The report on groups of the study's own model."""
    tables = {
        name: read_table(paths.require(name, f"{name}.parquet"))
        for name in ("offline_metrics", "pareto_front", "group_kpis")
    }
    curves = paths.require("conditioned_model", "learning_curves.parquet")
    documents = {
        **_experiment_documents(study, paths),
        "front": read_json(paths.require("pareto_front", "summary.json")),
        "power": read_json(paths.require("traffic_plan", POWER)),
        "events": read_json(paths.require("events", "summary.json")),
        "sessions": read_json(paths.require("sessions", "summary.json")),
        "profile": read_json(paths.require("sessions", "profile.json")),
        "training": read_json(paths.require("conditioned_model", "model.json")),
        "provenance": provenance(study, paths.root),
    }
    return build_report(
        study,
        hypotheses=read_json(paths.require("regression_estimates", ESTIMATES)),
        tables={**tables, "learning_curves": read_table(curves)},
        documents=documents,
    )


def _variants_report(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """The report on variants of a recommender that is not this project's."""
    variants, log = planned_variants(paths), ingested_md5s(paths.require(DATABASE))
    return build_variants_report(
        study,
        cutoff=cutoff_of(variants),
        hypotheses=read_json(paths.require("regression_estimates", ESTIMATES)),
        tables={
            "offline_metrics": variant_metrics(variants)[0],
            "group_kpis": read_table(paths.require("group_kpis", "group_kpis.parquet")),
        },
        documents={
            **_experiment_documents(study, paths),
            "not_fitted": read_json(paths.require("regression_estimates", NOT_FITTED)),
            "provenance": provenance_of_variants(study, paths.root, log),
        },
    )


def _experiment_documents(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """What every report says of its experiment."""
    return {
        "health": read_json(paths.require("regression_estimates", HEALTH)),
        "exploration": read_json(paths.require("regression_estimates", EXPLORATION)),
        "plan": load_plan(paths).as_dict(),
        "origin": log_provenance(study),
        "ingestion": summarise(paths.require(DATABASE)),
    }
