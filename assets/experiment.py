"""The online experiment: its plan, its log, its database and its KPIs."""

from collections.abc import Sequence
from dataclasses import asdict

import dagster as dg
import polars as pl

from assets.asset_metadata import asset_kwargs, code_version
from assets.checks import check_results, check_specs
from assets.evaluation import offline_metrics, pareto_front
from assets.materialization import (
    content_version,
    counts_metadata,
    materialize_result,
    translate_errors,
)
from assets.model import conditioned_model
from assets.resources import StudyResource
from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.storage import DATABASE, atomic_folder, md5, read_table, write_json
from pipeline.experiment.design.external_variants import load_plan, publish_variants
from pipeline.experiment.design.plan_checks import check_same_model
from pipeline.experiment.design.traffic_plan import PLAN, read_plan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.ingest import ingest, ingested_md5s
from pipeline.experiment.log.log_files import log_files, log_folder
from pipeline.experiment.log.row_validation import LogRules
from pipeline.inference.power.plan_experiment import POWER, PlannedExperiment, plan_experiment
from pipeline.quality.runner import CheckResult, check_experiment_log, check_tables, enforce
from pipeline.recommender.recommender import Recommender
from pipeline.reporting.figures.charts import as_markdown
from pipeline.reporting.figures.power import design_figure, power_figure
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.document import FrontPoint, GroupSummary
from pipeline.results.serialization import parse, write_result
from pipeline.simulator.ground_truth import truth_table
from pipeline.simulator.simulate import log_provenance, simulate_experiment
from pipeline.study import LogSource


@dg.asset(
    deps=[pareto_front, offline_metrics, conditioned_model],
    **asset_kwargs("traffic_plan"),
)
def traffic_plan(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One entry a group: its preference, share of the users and buckets; beside it their power."""
    with translate_errors(context):
        parameters, paths = study.load()
        place = paths.artifact("traffic_plan")
        if parameters.experiment.variants is not None:
            variants = publish_variants(parameters.experiment, paths).as_dict()["groups"]
            known = {"variants": dg.MetadataValue.json(variants)}
            return materialize_result("traffic_plan", parameters, place, metadata=known)
        planned = plan_experiment(parameters, paths)
        with atomic_folder(place) as folder:
            write_json(folder / PLAN, planned.plan.as_dict())
            write_result(planned.analysis, folder / POWER)
        front = read_table(paths.require("pareto_front", "pareto_front.parquet")).to_dicts()
    points = parse(tuple[FrontPoint, ...], front)
    metadata = _plan_in_pictures(planned, points, parameters.evaluation.cutoff)
    return materialize_result("traffic_plan", parameters, place, metadata=metadata)


def _plan_in_pictures(
    planned: PlannedExperiment, front: Sequence[FrontPoint], cutoff: int
) -> dict[str, dg.MetadataValue]:
    """Where the groups lie, what they will be able to show, and both in words."""
    power, groups = planned.analysis, planned.plan.as_dict()["groups"]
    summaries = parse(tuple[GroupSummary, ...], groups)
    design = design_figure(front, summaries, power.design.even, cutoff)
    curves = power_figure(power, cutoff)
    words = "\n".join(["```", *plan_lines(planned.plan, power, cutoff), "```"])
    return {
        "picture": dg.MetadataValue.md(as_markdown(design, "groups on the front")),
        "power over days": dg.MetadataValue.md(as_markdown(curves, "power over days")),
        "in words": dg.MetadataValue.md(words),
        "groups": dg.MetadataValue.json(groups),
    }


@dg.asset(deps=[traffic_plan, conditioned_model], **asset_kwargs("experiment_log_files"))
def experiment_log_files(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One row an impression, in files as they were brought, simulated or replayed."""
    with translate_errors(context):
        parameters, paths = study.load()
        known: dict[str, dg.MetadataValue] = {}
        if parameters.experiment.source is not LogSource.FILES:
            plan = read_plan(paths)
            checkpoint = paths.require("conditioned_model")
            check_same_model(plan, checkpoint_fingerprint(checkpoint))
            recommender = Recommender.load(checkpoint, paths.require("sessions", "items.parquet"))
            with atomic_folder(paths.artifact("experiment_log_files")) as folder:
                truth = simulate_experiment(parameters, paths, plan, recommender, folder)
            if truth:
                known["truth"] = dg.MetadataValue.md(truth_table(truth, plan))
        place = log_folder(parameters.experiment, paths)
        md5s = {file.name: md5(file) for file in log_files(place)}
    origin = log_provenance(parameters)
    return materialize_result(
        "experiment_log_files",
        parameters,
        content_version(md5s),
        metadata={
            "files": len(md5s),
            "origin": origin["origin"],
            "how": origin["how"],
            **known,
            "lies in": dg.MetadataValue.path(str(place)),
        },
    )


@dg.asset(
    deps=[experiment_log_files, traffic_plan],
    check_specs=check_specs("experiment_log"),
    **asset_kwargs("experiment_log"),
)
def experiment_log(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row an impression, in DuckDB; taken in once however often it runs."""
    outcomes: list[CheckResult] = []
    with translate_errors(context):
        parameters, paths = study.load()
        result = ingest(
            log_files(log_folder(parameters.experiment, paths)),
            load_plan(paths),
            paths.artifact(DATABASE),
            rules=LogRules.of(parameters.experiment),
            check=lambda database: outcomes.extend(enforce(check_experiment_log(database))),
        )
        database = paths.require(DATABASE)
        judged_by = code_version("experiment_log", parameters)
    return materialize_result(
        "experiment_log",
        parameters,
        content_version([ingested_md5s(database), load_plan(paths).as_dict(), judged_by]),
        metadata={
            "dagster/row_count": result.impressions,
            **counts_metadata(asdict(result)),
            "lies in": dg.MetadataValue.path(str(database)),
        },
        checks=check_results(outcomes),
    )


@dg.asset(
    deps=[experiment_log, traffic_plan],
    check_specs=check_specs("group_kpis"),
    **asset_kwargs("group_kpis"),
)
def group_kpis(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row a group and KPI: trials, successes, rate, and the user-level sums behind its error."""
    with translate_errors(context):
        parameters, paths = study.load()
        sums = aggregate(paths.require(DATABASE), load_plan(paths))
        with atomic_folder(paths.artifact("group_kpis")) as folder:
            files = {name: folder / f"{name}.parquet" for name in sums.as_dict()}
            for name, table in sums.as_dict().items():
                table.write_parquet(files[name])
            outcomes = enforce(check_tables("group_kpis", files))
    return materialize_result(
        "group_kpis",
        parameters,
        paths.artifact("group_kpis"),
        metadata={
            "rates": dg.MetadataValue.md(_rates(sums.group_kpis)),
            "dagster/row_count": sums.group_kpis.height,
        },
        checks=check_results(outcomes),
    )


def _rates(table: pl.DataFrame) -> str:
    """Every rate with its standard error, as Markdown."""
    lines = [
        f"| {row['group']} | {row['kpi']} | {_digits(row['rate'])} | {_digits(row['standard_error'])} "
        f"| {row['trials']:,} |"
        for row in table.iter_rows(named=True)
    ]
    heads = ["| group | KPI | rate | standard error | trials |", "|---|---|---|---|---|"]
    return "\n".join([*heads, *lines])


def _digits(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
