"""The answer: a slope for every hypothesis, and the report that explains it."""

from dataclasses import asdict, replace
from typing import Any

import dagster as dg
import polars as pl

from assets.asset_metadata import asset_kwargs
from assets.checks import health_results, health_specs
from assets.evaluation import offline_metrics, pareto_front
from assets.experiment import group_kpis
from assets.materialization import materialize_result, translate_errors
from assets.model import conditioned_model
from assets.resources import StudyResource
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
    VariantPlan,
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
from pipeline.inference.power.plan_experiment import POWER
from pipeline.reporting.figures.charts import as_markdown, hypothesis_panels
from pipeline.reporting.report import build_report, write_report
from pipeline.reporting.variants_report import build_variants_report, write_variants_report
from pipeline.simulator.simulate import log_provenance
from pipeline.study import RegressionConfig, Study

ESTIMATES = "regression_estimates.json"
HEALTH = "health.json"
EXPLORATION = "exploration.json"
NOT_FITTED = "not_fitted.json"


@dg.asset(
    deps=[group_kpis, offline_metrics],
    check_specs=health_specs(),
    **asset_kwargs("regression_estimates"),
)
def regression_estimates(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One entry a hypothesis: slope, standard error, interval, p-value, n, and how far to trust it."""
    with translate_errors(context):
        parameters, paths = study.load()
        seed, plan = parameters.study.seed, load_plan(paths)
        evidence, asked = _evidence(parameters, paths, plan)
        health = health_of(
            evidence,
            asked.hypotheses,
            shares={group.name: group.share for group in plan.groups},
            rejected=summarise(paths.require(DATABASE))["rejected"],
            seed=seed,
        )
        evidence = replace(evidence, healthy=health[SAMPLE_RATIO]["passed"])
        estimates = estimate_hypotheses(evidence, asked, seed=seed)
        explored = explore(evidence, level=asked.level, seed=seed)
        with atomic_folder(paths.artifact("regression_estimates")) as folder:
            write_json(folder / ESTIMATES, [estimate.as_dict() for estimate in estimates])
            write_json(folder / HEALTH, health)
            write_json(folder / EXPLORATION, [asdict(one) for one in explored])
            write_json(folder / NOT_FITTED, unfitted_pairs(evidence, level=asked.level))
    variants = planned_variants(paths) if isinstance(plan, VariantPlan) else None
    found = {
        "hypotheses": [estimate.as_dict() for estimate in estimates],
        "cutoff": parameters.evaluation.cutoff if variants is None else cutoff_of(variants),
        "sample_ratio_p": health[SAMPLE_RATIO]["p_value"],
    }
    return materialize_result(
        "regression_estimates",
        parameters,
        paths.artifact("regression_estimates"),
        metadata=_estimates_metadata(found),
        checks=health_results(health),
    )


def _estimates_metadata(found: dict[str, Any]) -> dict[str, Any]:
    """Figure 1, the verdicts, and the numbers to be followed over runs."""
    hypotheses = found["hypotheses"]
    picture = hypothesis_panels(hypotheses, found["cutoff"])
    numbers = {
        f"slope of {one['id']}: {one['kpi']} on {one['metric']}": one["slope"] for one in hypotheses
    }
    numbers["sample ratio p"] = found["sample_ratio_p"]
    return {
        "picture": dg.MetadataValue.md(as_markdown(picture, "Figure 1")),
        "verdicts": dg.MetadataValue.md(_verdicts(hypotheses)),
        "dagster/row_count": len(hypotheses),
        **{name: value for name, value in numbers.items() if value is not None},
    }


def _verdicts(hypotheses: list[dict[str, Any]]) -> str:
    """Slope, interval and verdict of each, as Markdown."""
    lines = ["| hypothesis | slope | interval of the verdict | verdict |", "|---|---|---|---|"]
    for one in hypotheses:
        ends = one["verdict_interval"]
        interval = f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else "undefined"
        slope = "undefined" if one["slope"] is None else f"{one['slope']:.3f}"
        name = f"{one['id']}: {one['kpi']} on {one['metric']}"
        lines.append(f"| {name} | {slope} | {interval} | {one['verdict']} |")
    return "\n".join(lines)


def _evidence(
    parameters: Study, paths: StudyPaths, plan: Plan
) -> tuple[RegressionInputs, RegressionConfig]:
    """What hypotheses are judged by, and those that are asked."""

    def table(artifact: str, name: str) -> pl.DataFrame:
        return read_table(paths.require(artifact, f"{name}.parquet"))

    def known(name: str) -> pl.DataFrame | None:
        file = paths.artifact("group_kpis", f"{name}.parquet")
        return read_table(file) if file.exists() else None

    variants, replicates = None, None
    if isinstance(plan, VariantPlan):
        variants = planned_variants(paths)
        metrics, covariance = variant_metrics(variants)
    else:
        metrics = table("offline_metrics", "offline_metrics")
        covariance = table("offline_metrics", "offline_metric_covariance")
        replicates = table("offline_metrics", "offline_metric_replicates")
        check_same_model(plan, checkpoint_fingerprint(paths.require("conditioned_model")))
        check_same_preferences(plan, metrics)
    evidence = RegressionInputs(
        metrics,
        covariance,
        table("group_kpis", "group_kpis"),
        replicates=replicates,
        daily_totals=table("group_kpis", "daily_totals"),
        returning_user_totals=table("group_kpis", "returning_user_totals"),
        pre_period_sums=known("pre_period_sums"),
        segment_kpis=known("segment_kpis"),
        planned_days=parameters.experiment.planned_days,
    )
    asked = parameters.regression
    return evidence, asked if variants is None else section_of(asked, evidence, variants)


@dg.asset(
    deps=[regression_estimates, pareto_front, conditioned_model],
    **asset_kwargs("regression_report"),
)
def regression_report(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """The report as HTML (opens offline), Markdown and JSON; and the study's manifest."""
    with translate_errors(context):
        parameters, paths = study.load()
        of_variants = parameters.experiment.variants is not None
        report = (_gather_variants if of_variants else _gather)(parameters, paths)
        with atomic_folder(paths.artifact(REPORT)) as folder:
            (write_variants_report if of_variants else write_report)(report, folder)
        manifest = {
            "parameters": report["parameters"],
            "provenance": report["provenance"],
            "outputs": output_md5s(paths),
        }
        with atomic_file(paths.artifact("manifest.json")) as file:
            write_json(file, manifest)
    picture = as_markdown(hypothesis_panels(report["hypotheses"], report["cutoff"]), "Figure 1")
    return materialize_result(
        "regression_report",
        parameters,
        paths.artifact(REPORT),
        metadata={
            "picture": dg.MetadataValue.md(picture),
            "answer": dg.MetadataValue.md("\n".join(f"- {line}" for line in report["summary"])),
            "open": dg.MetadataValue.path(str(paths.artifact(REPORT, "index.html"))),
        },
    )


def _gather(parameters: Study, paths: StudyPaths) -> dict:
    """Read what the report tells."""
    tables = {
        name: read_table(paths.require(name, f"{name}.parquet"))
        for name in ("offline_metrics", "pareto_front", "group_kpis")
    }
    curves = paths.require("conditioned_model", "learning_curves.parquet")
    documents = {
        **_documents(parameters, paths),
        "front": read_json(paths.require("pareto_front", "summary.json")),
        "power": read_json(paths.require("traffic_plan", POWER)),
        "events": read_json(paths.require("events", "summary.json")),
        "sessions": read_json(paths.require("sessions", "summary.json")),
        "profile": read_json(paths.require("sessions", "profile.json")),
        "training": read_json(paths.require("conditioned_model", "model.json")),
        "provenance": provenance(parameters, paths.root),
    }
    return build_report(
        parameters,
        hypotheses=read_json(paths.require("regression_estimates", ESTIMATES)),
        tables={**tables, "learning_curves": read_table(curves)},
        documents=documents,
    )


def _documents(parameters: Study, paths: StudyPaths) -> dict:
    """What every report tells of its experiment."""
    return {
        "health": read_json(paths.require("regression_estimates", HEALTH)),
        "exploration": read_json(paths.require("regression_estimates", EXPLORATION)),
        "plan": load_plan(paths).as_dict(),
        "origin": log_provenance(parameters),
        "ingestion": summarise(paths.require(DATABASE)),
    }


def _gather_variants(parameters: Study, paths: StudyPaths) -> dict:
    """Read what the report on variants tells."""
    variants = planned_variants(paths)
    return build_variants_report(
        parameters,
        cutoff=cutoff_of(variants),
        hypotheses=read_json(paths.require("regression_estimates", ESTIMATES)),
        tables={
            "offline_metrics": variant_metrics(variants)[0],
            "group_kpis": read_table(paths.require("group_kpis", "group_kpis.parquet")),
        },
        documents={
            **_documents(parameters, paths),
            "not_fitted": read_json(paths.require("regression_estimates", NOT_FITTED)),
            "provenance": provenance_of_variants(
                parameters, paths.root, ingested_md5s(paths.require(DATABASE))
            ),
        },
    )
