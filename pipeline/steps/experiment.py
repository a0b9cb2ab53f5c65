"""The online experiment: its traffic plan, its log, its database and its KPIs."""

import logging
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from pipeline.artifacts.content_version import hash_content
from pipeline.artifacts.kept_models import keep_model, remove_unused_models
from pipeline.artifacts.storage import (
    DATABASE,
    StudyPaths,
    atomic_folder,
    read_table,
    write_json,
)
from pipeline.core.contracts import Kpi
from pipeline.core.front_contract import front_metrics
from pipeline.evaluation.pareto_front import point_rows
from pipeline.experiment.design.external_variants import (
    VariantPlan,
    check_control,
    check_planned,
    load_plan,
    planned_variants,
    publish_variants,
    variants_of,
)
from pipeline.experiment.design.optimal_design.measured_front import MeasuredFront
from pipeline.experiment.design.plan_checks import check_not_running, paths_of_plan
from pipeline.experiment.design.traffic_plan import PLAN, TrafficPlan, read_plan
from pipeline.experiment.kpis.aggregate import ExperimentAggregates, aggregate
from pipeline.experiment.log.ingest import Ingestion, ingested_md5s
from pipeline.experiment.log.reading.log_folder import log_location, study_log
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.inference.hypotheses.external_variants import check_hypotheses
from pipeline.inference.power.plan_experiment import PlannedExperiment, plan_with_power
from pipeline.inference.power.traffic_model import traffic_of
from pipeline.quality.runner import check_tables, enforce
from pipeline.recommender.recommender import Recommender
from pipeline.reporting.figures.power import design_figure, power_figure
from pipeline.reporting.text.power_summary import plan_lines
from pipeline.results.document import FrontPoint, GroupSummary
from pipeline.results.power import POWER
from pipeline.results.serialization import parse
from pipeline.results.stored import write_result
from pipeline.rollout.gates import PLAN as ROLLOUT_PLAN
from pipeline.rollout.gates import PLAN_FILE, read_gated_plan
from pipeline.rollout.served import read_served
from pipeline.simulator.ground_truth import truth_table
from pipeline.simulator.simulate import log_provenance, simulate_experiment
from pipeline.steps.checked_ingestion import ingest_study_log
from pipeline.steps.result import (
    LazyFigure,
    Markdown,
    StepResult,
    markdown_table,
    spaced,
)
from pipeline.study import LogSource, Study, WarehouseConfig
from pipeline.study.evaluation import is_of_orders

_log = logging.getLogger(__name__)


def plan_traffic(study: Study, paths: StudyPaths) -> StepResult[PlannedExperiment | VariantPlan]:
    """Choose the test groups, and compute the power they have.

    Raises:
        MissingArtifact: if the front, the metrics or the model are missing.
        DataError: if the study's table of variants cannot be read.
        StudyError: if the control is not a variant.
        LogError: if an experiment with a log of your own is running, and the plan would change it.
    """
    target = paths.artifact("traffic_plan")
    if study.experiment.variants is not None:
        table = variants_of(study.experiment, paths.root)
        check_control(table, study.regression.advice.control)
        variants = publish_variants(study.experiment, paths)
        details = {"variants": variants.as_dict()["groups"]}
        return StepResult(asset="traffic_plan", value=variants, location=target, details=details)
    running = _running_plan(study, paths)
    measured = paths if running is None else paths_of_plan(running, paths)
    if measured != paths:
        _log.warning(
            "experiment %r is running and keeps the model that it is served by, not the current one; give an "
            "experiment with the current model another experiment.name and experiment.salt",
            study.experiment.name,
        )
    front = _measured_front(study, measured)
    if not study.regression.hypotheses:
        kpis = [kpi for kpi in Kpi if front.has_orders or not kpi.needs_orders]
        names: list[str] = front.offline_metrics["metric"].unique().to_list()
        study = replace(study, regression=study.regression.declared(names, kpis))
    traffic = traffic_of(study.experiment.planning, paths)
    planned = plan_with_power(study, front, traffic, model=keep_model(measured))
    if running is not None:
        check_not_running(running, planned.plan)
    with atomic_folder(target) as folder:
        write_json(folder / PLAN, planned.plan.as_dict())
        write_result(planned.analysis, folder / POWER)
    remove_unused_models(paths, used_models(paths))
    return StepResult(
        asset="traffic_plan",
        value=planned,
        location=target,
        details=_plan_details(planned, front, study.evaluation.cutoff),
    )


def _running_plan(study: Study, paths: StudyPaths) -> TrafficPlan | None:
    """The plan of the study's experiment, if it has a log of its own; None for a new experiment."""
    section = study.experiment
    if section.source is not LogSource.FILES or not paths.artifact("traffic_plan").exists():
        return None
    plan = load_plan(paths)
    if isinstance(plan, TrafficPlan) and plan.experiment == section.name:
        return plan
    return None


def used_models(paths: StudyPaths) -> set[str]:
    """Fingerprints of the models that the study's plan names, and any rollout of the project, also one to start.

    Raises:
        MissingArtifact, DataError, LogError: if a plan is missing or damaged.
    """
    plan = load_plan(paths)
    named = {plan.model} if isinstance(plan, TrafficPlan) else set[str | None]()
    for folder in paths.folder.parent.iterdir():
        of = StudyPaths(paths.root, folder.name)
        is_gated = of.artifact(ROLLOUT_PLAN, PLAN_FILE).exists()
        for release in (read_served(of), read_gated_plan(of).plan if is_gated else None):
            if release is not None:
                named |= {release.candidate.model, release.incumbent.model}
    return {one for one in named if one is not None}


def _measured_front(study: Study, paths: StudyPaths) -> MeasuredFront:
    metrics = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
    points = read_table(paths.require("pareto_front", "pareto_front.parquet"))
    axis = study.experiment.second_axis
    return MeasuredFront(
        points,
        metrics,
        read_table(paths.require("offline_metrics", "offline_metric_covariance.parquet")),
        has_orders=any(map(is_of_orders, metrics["metric"].unique())),
        replicates=read_table(
            paths.require("offline_metrics", "offline_metric_replicates.parquet")
        ),
        off_front=axis.off_front(points["preference_id"]) if axis else frozenset(),
    )


def _plan_details(planned: PlannedExperiment, front: MeasuredFront, cutoff: int) -> dict[str, Any]:
    """Where the groups are on the front, what power they have, and a summary of both."""
    plan, power = planned.plan, planned.analysis
    groups = parse(tuple[GroupSummary, ...], plan.as_dict()["groups"])
    points = parse(tuple[FrontPoint, ...], point_rows(front.points, plan.second_axis))
    axes = front_metrics(front.points)[:2]
    design = partial(design_figure, points, axes, groups, power.design.even, cutoff)
    summary = "\n".join(["```", *plan_lines(plan, power, cutoff), "```"])
    return {
        "figure": LazyFigure("groups on the Pareto front", design),
        "power by day": LazyFigure("power by day", partial(power_figure, power, cutoff)),
        "summary": Markdown(summary),
        "groups": plan.as_dict()["groups"],
    }


def collect_log_files(study: Study, paths: StudyPaths) -> StepResult[dict[str, str]]:
    """Simulate the experiment's log, or find the files you bring; the value is the md5 of each.

    Raises:
        MissingArtifact: if the traffic plan or the model is missing.
        LogError: if the model is not the one the plan was made for, or there are no files.
    """
    details: dict[str, Any] = {}
    if study.experiment.source is not LogSource.FILES:
        plan = read_plan(paths)
        served = paths_of_plan(plan, paths)
        recommender = Recommender.load(served).with_axis(plan.second_axis, study, served)
        with atomic_folder(paths.artifact("experiment_log_files")) as folder:
            truth = simulate_experiment(study, served, plan, recommender, folder)
        if truth:
            details["ground truth"] = Markdown(truth_table(truth, plan))
    if study.compute.warehouse is not None:
        return _log_in_warehouse(study.compute.warehouse, paths)
    location = log_location(study.experiment, paths)
    md5s = study_log(study.experiment, paths).md5s()
    return StepResult(
        asset="experiment_log_files",
        value=md5s,
        location=location,
        content_version=hash_content(md5s),
        details={"files": len(md5s), **log_provenance(study), **details},
    )


def _log_in_warehouse(warehouse: WarehouseConfig, paths: StudyPaths) -> StepResult[dict[str, str]]:
    """There are no files: the tables' content is known by its sums, after the ingestion."""
    return StepResult(
        asset="experiment_log_files",
        value={},
        location=paths.params_file,
        content_version=hash_content(asdict(warehouse)),
        details={"warehouse": str(warehouse.backend), "impressions": warehouse.impressions},
    )


def ingest_log(study: Study, paths: StudyPaths) -> StepResult[Ingestion]:
    """Bring the experiment's database up to date with the log's files.

    Raises:
        MissingArtifact: if the traffic plan is missing.
        LogError: if a file is unreadable or breaks the contract, or no row is usable.
        QualityError: if the database breaks a blocking rule; it then stays as it was.
    """
    plan, database = load_plan(paths), paths.artifact(DATABASE)
    check_planned(study.experiment, paths)
    result, checks = ingest_study_log(study, paths, plan, database)
    rules = LogRules.of(study.experiment)
    return StepResult(
        asset="experiment_log",
        value=result,
        location=database,
        content_version=hash_content([ingested_md5s(database), plan.as_dict(), asdict(rules)]),
        rows=result.impressions,
        details=spaced(asdict(result)),
        checks=tuple(checks),
    )


def aggregate_kpis(study: Study, paths: StudyPaths) -> StepResult[ExperimentAggregates]:
    """Sum the experiment's database up by group, day and user segment.

    Raises:
        MissingArtifact: if the database or the traffic plan is missing.
        StudyError: if a hypothesis about variants has a metric or KPI that there is not.
        QualityError: if the tables break a blocking rule.
    """
    plan = load_plan(paths)
    found = aggregate(paths.require(DATABASE), plan)
    if isinstance(plan, VariantPlan):  # other parameters are in the plan and the database
        check_hypotheses(study.regression, planned_variants(paths), found.group_kpis)
    with atomic_folder(paths.artifact("group_kpis")) as folder:
        files = {name: folder / f"{name}.parquet" for name in found.as_dict()}
        for name, table in found.as_dict().items():
            table.write_parquet(files[name])
        checks = enforce(check_tables("group_kpis", files))
    columns = ("group", "kpi", "rate", "standard_error", "trials")
    heads = ("group", "KPI", "rate", "standard error", "trials")
    return StepResult(
        asset="group_kpis",
        value=found,
        location=paths.artifact("group_kpis"),
        rows=found.group_kpis.height,
        details={"rates": markdown_table(heads, found.group_kpis.select(columns).rows())},
        checks=tuple(checks),
    )
