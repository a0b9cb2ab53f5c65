"""The answer: a slope for every hypothesis, and the report that explains it."""

from dataclasses import asdict

import dagster as dg

from assets.adapting import user_errors
from assets.evaluation import offline_metrics, pareto_front
from assets.experiment import group_kpis
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.experiment.ingestion import summarise
from pipeline.experiment.plan import check_same_preferences, read_plan
from pipeline.inference.exploration import explore
from pipeline.inference.health import sample_ratio_of
from pipeline.inference.hypotheses import Evidence, estimate_hypotheses
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
        dg.AssetCheckSpec(
            "sample_ratio",
            asset="regression_estimates",
            description="as many users came to each group as the plan says (else no verdict)",
        )
    ],
)
def regression_estimates(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One entry a hypothesis: slope, standard error, interval, p-value, n, and how far to trust it."""
    with user_errors(context):
        parameters, paths = study.load()
        metrics = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
        kpis = read_table(paths.require("group_kpis", "group_kpis.parquet"))
        plan = read_plan(paths)
        check_same_preferences(plan, metrics)
        ratio = sample_ratio_of(kpis, {group.name: group.share for group in plan.groups})
        errors = paths.require("offline_metrics", "offline_metric_covariance.parquet")
        evidence = Evidence(metrics, read_table(errors), kpis, healthy=ratio.healthy)
        estimates = estimate_hypotheses(evidence, parameters.regression, seed=parameters.study.seed)
        explored = explore(evidence, level=parameters.regression.level)
        with publish_folder(paths.artifact("regression_estimates")) as folder:
            write_json(folder / ESTIMATES, [estimate.as_dict() for estimate in estimates])
            write_json(folder / HEALTH, {"sample_ratio": asdict(ratio)})
            write_json(folder / EXPLORATION, [asdict(one) for one in explored])
    slopes = {
        f"slope of {estimate.hypothesis.id}": estimate.fit.slope
        for estimate in estimates
        if estimate.fit
    }
    verdicts = {e.hypothesis.id: e.verdict.value for e in estimates}
    return dg.MaterializeResult(
        metadata={**slopes, **verdicts},
        check_results=[
            dg.AssetCheckResult(
                check_name="sample_ratio",
                passed=ratio.healthy,
                metadata={"p-value": ratio.p_value, "users": list(ratio.users)},
            )
        ],
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
