"""The online experiment: its plan, its log, its database and its KPIs."""

from dataclasses import asdict

import dagster as dg
import polars as pl

from assets.adapting import check_results, check_specs, counts, user_errors
from assets.evaluation import pareto_front
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.experiment.ingestion import ingest
from pipeline.experiment.judgement import LogRules
from pipeline.experiment.kpis import sum_up
from pipeline.experiment.log import log_files, log_folder, write_log
from pipeline.experiment.plan import PLAN, check_not_under_way, make_plan, read_plan
from pipeline.quality.runner import Outcome, check_experiment_log, check_tables, enforce
from pipeline.recommend import Recommender
from pipeline.reporting.figures import as_markdown, front_picture
from pipeline.simulator.experiment import describe_log, simulate_experiment
from pipeline.storage import DATABASE, publish_folder, read_table, write_json
from pipeline.study import LogSource


@dg.asset(deps=[pareto_front], group_name="experiment", kinds={"python"})
def traffic_plan(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """The groups, each with a preference, a share of the users and a range of buckets."""
    with user_errors(context):
        parameters, paths = study.load()
        front = read_table(paths.require("pareto_front", "pareto_front.parquet"))
        plan = make_plan(front, parameters.experiment)
        if (
            parameters.experiment.source is LogSource.FILES
            and paths.artifact("traffic_plan").exists()
        ):
            check_not_under_way(read_plan(paths), plan)
        with publish_folder(paths.artifact("traffic_plan")) as folder:
            write_json(folder / PLAN, plan.as_dict())
    groups = plan.as_dict()["groups"]
    picture = front_picture(front.to_dicts(), groups, parameters.evaluation.cutoff)
    return dg.MaterializeResult(
        metadata={
            "groups on the front": dg.MetadataValue.md(as_markdown(picture, "groups")),
            "groups": dg.MetadataValue.json(groups),
        }
    )


@dg.asset(deps=[traffic_plan, conditioned_model], group_name="experiment", kinds={"parquet"})
def experiment_log_files(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """The experiment's log as files, one row an exposure: brought, simulated or replayed."""
    with user_errors(context):
        parameters, paths = study.load()
        plan = read_plan(paths)
        if parameters.experiment.source is not LogSource.FILES:
            checkpoint = paths.require("conditioned_model")
            recommender = Recommender.load(checkpoint, paths.require("sessions", "items.parquet"))
            exposures = simulate_experiment(parameters, paths, plan, recommender)
            with publish_folder(paths.artifact("experiment_log_files")) as folder:
                write_log(exposures, folder)
        files = log_files(log_folder(parameters.experiment, paths))
    origin = describe_log(parameters.experiment.source)
    return dg.MaterializeResult(
        metadata={"files": len(files), "origin": origin["origin"], "how": origin["how"]}
    )


@dg.asset(
    deps=[experiment_log_files, traffic_plan],
    group_name="experiment",
    kinds={"duckdb"},
    check_specs=check_specs("experiment_log"),
)
def experiment_log(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """The log in DuckDB, one row an exposure; taken in once however often it runs."""
    outcomes: list[Outcome] = []
    with user_errors(context):
        parameters, paths = study.load()
        result = ingest(
            log_files(log_folder(parameters.experiment, paths)),
            read_plan(paths),
            paths.artifact(DATABASE),
            rules=LogRules.of(parameters.experiment),
            check=lambda database: outcomes.extend(enforce(check_experiment_log(database))),
        )
    return dg.MaterializeResult(
        metadata={"dagster/row_count": result.exposures, **counts(asdict(result))},
        check_results=check_results(outcomes),
    )


@dg.asset(
    deps=[experiment_log, traffic_plan],
    group_name="experiment",
    kinds={"duckdb"},
    check_specs=check_specs("group_kpis"),
)
def group_kpis(context: dg.AssetExecutionContext, study: StudyResource) -> dg.MaterializeResult:
    """One row a group and KPI: trials, successes, rate, and the user-level sums behind its error."""
    with user_errors(context):
        _, paths = study.load()
        table, daily = sum_up(paths.require(DATABASE), read_plan(paths))
        with publish_folder(paths.artifact("group_kpis")) as folder:
            file = folder / "group_kpis.parquet"
            table.write_parquet(file)
            daily_file = folder / "daily_sums.parquet"
            daily.write_parquet(daily_file)
            tables = {"group_kpis": file, "daily_sums": daily_file}
            outcomes = enforce(check_tables("group_kpis", tables))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": table.height,
            "rates": dg.MetadataValue.md(_rates(table)),
        },
        check_results=check_results(outcomes),
    )


def _rates(table: pl.DataFrame) -> str:
    lines = [
        f"| {row['group']} | {row['kpi']} | {row['rate']} | {row['trials']} |"
        for row in table.iter_rows(named=True)
    ]
    return "\n".join(["| group | KPI | rate | trials |", "|---|---|---|---|", *lines])
