"""The answer: a slope for every hypothesis, and the report that explains it."""

from dataclasses import asdict, replace

import dagster as dg

from assets.adapting import user_errors
from assets.evaluation import offline_metrics, pareto_front
from assets.experiment import group_kpis
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.experiment.ingestion import summarise
from pipeline.experiment.plan import check_same_preferences, read_plan
from pipeline.inference.checks import HEALTH_CHECKS, SAMPLE_RATIO, health_of
from pipeline.inference.evidence import Evidence
from pipeline.inference.exploration import explore
from pipeline.inference.hypotheses import estimate_hypotheses
from pipeline.provenance import output_md5s, provenance
from pipeline.reporting.figures import as_markdown, hypothesis_panels
from pipeline.reporting.report import build_report, write_report
from pipeline.simulator.experiment import describe_log
from pipeline.storage import (
    DATABASE,
    REPORT,
    StudyPaths,
    publish_file,
    publish_folder,
    read_json,
    read_table,
    write_json,
)
from pipeline.study import Study

ESTIMATES = "regression_estimates.json"
HEALTH = "health.json"
EXPLORATION = "exploration.json"


@dg.asset(
    deps=[group_kpis, offline_metrics],
    group_name="inference",
    kinds={"python"},
    check_specs=[
        dg.AssetCheckSpec(name, asset="regression_estimates", description=description)
        for name, description in HEALTH_CHECKS.items()
    ],
)
def regression_estimates(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One entry a hypothesis: slope, standard error, interval, p-value, n, and how far to trust it."""
    with user_errors(context):
        parameters, paths = study.load()
        seed, plan = parameters.study.seed, read_plan(paths)
        evidence = _evidence(parameters, paths)
        check_same_preferences(plan, evidence.offline_metrics)
        health = health_of(
            evidence,
            parameters.regression.hypotheses,
            shares={group.name: group.share for group in plan.groups},
            rejected=summarise(paths.require(DATABASE))["rejected"],
            seed=seed,
        )
        evidence = replace(evidence, healthy=health[SAMPLE_RATIO]["passed"])
        estimates = estimate_hypotheses(evidence, parameters.regression, seed=seed)
        explored = explore(evidence, level=parameters.regression.level)
        with publish_folder(paths.artifact("regression_estimates")) as folder:
            write_json(folder / ESTIMATES, [estimate.as_dict() for estimate in estimates])
            write_json(folder / HEALTH, health)
            write_json(folder / EXPLORATION, [asdict(one) for one in explored])
    slopes = {f"slope of {e.hypothesis.id}": e.fit.slope for e in estimates if e.fit}
    verdicts = {e.hypothesis.id: e.verdict.value for e in estimates}
    return dg.MaterializeResult(
        metadata={**slopes, **verdicts},
        check_results=[
            dg.AssetCheckResult(
                check_name=name,
                passed=health[name]["passed"],
                severity=dg.AssetCheckSeverity.ERROR
                if name == SAMPLE_RATIO
                else dg.AssetCheckSeverity.WARN,
                metadata={"numbers": dg.MetadataValue.json(health[name])},
            )
            for name in HEALTH_CHECKS
        ],
    )


def _evidence(parameters: Study, paths: StudyPaths) -> Evidence:
    errors = paths.require("offline_metrics", "offline_metric_covariance.parquet")
    return Evidence(
        read_table(paths.require("offline_metrics", "offline_metrics.parquet")),
        read_table(errors),
        read_table(paths.require("group_kpis", "group_kpis.parquet")),
        daily_sums=read_table(paths.require("group_kpis", "daily_sums.parquet")),
        planned_days=parameters.experiment.planned_days,
    )


@dg.asset(
    deps=[regression_estimates, pareto_front, conditioned_model],
    group_name="inference",
    kinds={"html"},
)
def regression_report(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """The report as HTML (opens offline), Markdown and JSON; and the study's manifest."""
    with user_errors(context):
        parameters, paths = study.load()
        report = _gather(parameters, paths)
        with publish_folder(paths.artifact(REPORT)) as folder:
            write_report(report, folder)
        manifest = {
            "parameters": report["parameters"],
            "provenance": report["provenance"],
            "outputs": output_md5s(paths),
        }
        with publish_file(paths.artifact("manifest.json")) as file:
            write_json(file, manifest)
    picture = as_markdown(hypothesis_panels(report["hypotheses"], report["cutoff"]), "Figure 1")
    return dg.MaterializeResult(
        metadata={
            "figure 1": dg.MetadataValue.md(picture),
            "answer": dg.MetadataValue.md("\n".join(f"- {line}" for line in report["summary"])),
            "open": dg.MetadataValue.path(str(paths.artifact(REPORT, "index.html"))),
        }
    )


def _gather(parameters: Study, paths: StudyPaths) -> dict:
    """Read what the report tells."""
    tables = {
        name: read_table(paths.require(name, f"{name}.parquet"))
        for name in ("offline_metrics", "pareto_front", "group_kpis")
    }
    curves = paths.require("conditioned_model", "learning_curves.parquet")
    plan = read_plan(paths)
    documents = {
        "front": read_json(paths.require("pareto_front", "summary.json")),
        "health": read_json(paths.require("regression_estimates", HEALTH)),
        "exploration": read_json(paths.require("regression_estimates", EXPLORATION)),
        "plan": plan.as_dict(),
        "origin": describe_log(parameters.experiment.source),
        "events": read_json(paths.require("events", "summary.json")),
        "sessions": read_json(paths.require("sessions", "summary.json")),
        "profile": read_json(paths.require("sessions", "profile.json")),
        "ingestion": summarise(paths.require(DATABASE)),
        "training": read_json(paths.require("conditioned_model", "model.json")),
        "provenance": provenance(parameters, paths.root),
    }
    return build_report(
        parameters,
        hypotheses=read_json(paths.require("regression_estimates", ESTIMATES)),
        tables={**tables, "learning_curves": read_table(curves)},
        documents=documents,
    )
