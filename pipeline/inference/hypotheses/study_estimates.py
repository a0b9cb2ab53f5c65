"""The estimates of a study, from its artifacts."""

from dataclasses import replace

import polars as pl

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.storage import DATABASE, StudyPaths, read_table
from pipeline.experiment.design.external_variants import (
    Plan,
    VariantPlan,
    load_plan,
    planned_variants,
)
from pipeline.experiment.design.plan_checks import check_same_model, check_same_preferences
from pipeline.experiment.log.ingest import summarise
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.external_variants import section_of, variant_metrics
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.metric_ranking import rank_metrics
from pipeline.results.document import Estimates
from pipeline.study import RegressionConfig, Study


def estimate_study(study: Study, paths: StudyPaths) -> Estimates:
    """Run the diagnostics, test the hypotheses and rank the metrics of a study.

    Raises:
        MissingArtifact: if an artifact is missing.
        LogError: if the experiment ran with another model or other preferences.
    """
    plan, seed = load_plan(paths), study.study.seed
    inputs, section = read_inputs(study, paths, plan)
    diagnostics = run_diagnostics(
        inputs,
        section.hypotheses,
        shares={group.name: group.share for group in plan.groups},
        rejected=summarise(paths.require(DATABASE))["rejected"],
        seed=seed,
    )
    ratio = diagnostics.sample_ratio
    inputs = replace(inputs, healthy=ratio is None or ratio.passed)
    ranking, unfitted = rank_metrics(inputs, level=section.level, seed=seed)
    return Estimates(
        hypotheses=tuple(estimate_hypotheses(inputs, section, seed=seed)),
        diagnostics=diagnostics,
        metric_ranking=tuple(ranking),
        unfitted_pairs=tuple(unfitted),
    )


def read_inputs(
    study: Study, paths: StudyPaths, plan: Plan
) -> tuple[RegressionInputs, RegressionConfig]:
    """The tables that hypotheses are tested on, and the hypotheses, named as in the tables."""

    def table(artifact: str, name: str) -> pl.DataFrame:
        return read_table(paths.require(artifact, f"{name}.parquet"))

    def optional(name: str) -> pl.DataFrame | None:
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
    return inputs, section if variants is None else section_of(section, inputs, variants)
