"""The answer: a slope for every hypothesis, and the report that explains it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import polars as pl

from pipeline.artifacts.provenance import output_md5s
from pipeline.artifacts.storage import (
    DATABASE,
    REPORT,
    StudyPaths,
    atomic_file,
    atomic_folder,
    read_table,
    write_json,
)
from pipeline.core.contracts import Kpi
from pipeline.experiment.design.external_variants import (
    Plan,
    TrafficPlan,
    check_planned,
    load_plan,
    planned_variants,
)
from pipeline.experiment.design.plan_checks import check_same_preferences, paths_of_plan
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.external_variants import cutoff_of, section_of, variant_metrics
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.lifts import kpi_lifts
from pipeline.inference.hypotheses.metric_ranking import rank_metrics, with_rivals
from pipeline.inference.hypotheses.recommendation import advise
from pipeline.reporting.figures.charts import hypothesis_panels
from pipeline.reporting.figures.sketch import intervals_sketch, shown_whole
from pipeline.reporting.report import write_report
from pipeline.reporting.study_report import report_of_study
from pipeline.reporting.text.advice import advice_sentence
from pipeline.reporting.text.formatting import interval
from pipeline.reporting.text.lifts import lift_sentence
from pipeline.reporting.text.markdown import as_list
from pipeline.reporting.text.message import answer_lines
from pipeline.reporting.text.progress import progress_lines
from pipeline.results.document import Report
from pipeline.results.findings import Estimates
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.lifts import KpiLift
from pipeline.results.serialization import to_dict
from pipeline.results.stored import write_estimates
from pipeline.simulator.simulate import log_provenance
from pipeline.steps.result import LazyFigure, Markdown, StepResult, markdown_table
from pipeline.study import LogSource, RegressionConfig, Study


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
    section = question.section
    diagnostics = run_diagnostics(
        question.inputs,
        section.hypotheses,
        shares={group.name: group.share for group in plan.groups},
        rows=read_row_fates(paths.require(DATABASE)),
        seed=seed,
    )
    inputs = replace(question.inputs, healthy=diagnostics.allow_verdicts)
    ranking = rank_metrics(inputs, level=section.level)
    hypotheses = with_rivals(estimate_hypotheses(inputs, section, seed=seed), ranking)
    estimates = Estimates(
        hypotheses=hypotheses,
        diagnostics=diagnostics,
        metric_ranking=ranking.metrics,
        unfitted_pairs=ranking.unfitted_pairs,
        advice=advise(hypotheses, inputs, section),
        lifts=kpi_lifts(inputs, section),
    )
    with atomic_folder(paths.artifact("regression_estimates")) as folder:
        write_estimates(estimates, folder)
    return StepResult(
        asset="regression_estimates",
        value=estimates,
        location=paths.artifact("regression_estimates"),
        rows=len(hypotheses),
        details=_details(estimates, question),
        diagnostics=diagnostics,
    )


def _details(estimates: Estimates, question: _Question) -> dict[str, Any]:
    """Figure 1, the verdicts, and the numbers that are tracked over runs."""
    hypotheses, ratio = estimates.hypotheses, estimates.diagnostics.sample_ratio
    lifts = [lift_sentence(one, question.section.level) for one in estimates.lifts]
    advice = [advice_sentence(one) for one in estimates.advice]
    return {
        "figure": _figure_1(hypotheses, question.cutoff),
        "at a glance": _intervals(hypotheses, estimates.lifts),
        "verdicts": _verdicts(hypotheses) if hypotheses else None,
        "lifts": Markdown(shown_whole(lifts)) if lifts else None,
        "advice": Markdown(shown_whole(advice)) if advice else None,
        "progress": Markdown(as_list(progress_lines(hypotheses, question.cutoff))),
        **{f"slope of {_name(one)}": one.slope for one in hypotheses},
        "sample ratio p": ratio and ratio.p_value,
        "sample ratio e-value": ratio and ratio.largest_e_value,
    }


def _intervals(hypotheses: Sequence[HypothesisResult], lifts: Sequence[KpiLift]) -> Markdown | None:
    """The intervals of the slopes, or of the lifts without hypotheses, as a figure."""
    found = [
        (ends[0], one.lift, ends[1])
        for one in (() if hypotheses else lifts)
        if (ends := one.interval) is not None and one.lift is not None
    ]
    for one in hypotheses:
        slope = one.headline and one.headline.slope
        low, high = (one.headline and one.headline.quoted) or (None, None)
        if slope is not None and low is not None and high is not None:
            found.append((low, slope, high))
    what = "slopes" if hypotheses else "lifts"
    sketch = intervals_sketch(found, f"confidence intervals of the {what}")
    return Markdown(sketch) if sketch else None


def _figure_1(hypotheses: Sequence[HypothesisResult], cutoff: int | None) -> LazyFigure | None:
    """Figure 1; None without hypotheses, as of variants that have no offline metrics."""
    draw = partial(hypothesis_panels, hypotheses, cutoff)
    return LazyFigure("Figure 1", draw) if hypotheses else None


def _question(study: Study, paths: StudyPaths, plan: Plan) -> _Question:
    def table(artifact: str, name: str) -> pl.DataFrame:
        return read_table(paths.require(artifact, f"{name}.parquet"))

    def optional(name: str) -> pl.DataFrame | None:
        file = paths.artifact("group_kpis", f"{name}.parquet")
        return read_table(file) if file.exists() else None

    variants, replicates = None, None
    if isinstance(plan, TrafficPlan):
        paths = paths_of_plan(plan, paths)
        metrics = table("offline_metrics", "offline_metrics")
        covariance = table("offline_metrics", "offline_metric_covariance")
        replicates = table("offline_metrics", "offline_metric_replicates")
        check_same_preferences(plan, metrics)
    else:
        check_planned(study.experiment, paths)
        variants = planned_variants(paths)
        metrics, covariance = variant_metrics(variants)
    replayed = study.experiment.source is LogSource.HELD_OUT_REPLAY
    has_days = study.dataset.has_times or not replayed
    inputs = RegressionInputs(
        metrics,
        covariance,
        table("group_kpis", "group_kpis"),
        replicates=replicates,
        daily_totals=table("group_kpis", "daily_totals") if has_days else None,
        returning_user_totals=table("group_kpis", "returning_user_totals") if has_days else None,
        pre_period_sums=optional("pre_period_sums"),
        segment_kpis=optional("segment_kpis"),
        planned_days=study.experiment.planned_days,
    )
    if variants is not None:
        section = section_of(study.regression, inputs, variants)
        return _Question(inputs, section, cutoff_of(variants))
    kpis = [Kpi(name) for name in inputs.group_kpis["kpi"].unique()]
    section = study.regression.declared(metrics["metric"].unique().to_list(), kpis)
    return _Question(inputs, section, study.evaluation.cutoff)


def _verdicts(hypotheses: Sequence[HypothesisResult]) -> Markdown:
    """Slope, confidence interval and verdict of each hypothesis."""
    heads = ("hypothesis", "slope", "CI of the verdict", "verdict")
    return markdown_table(
        heads,
        [
            (
                _name(one),
                one.headline and one.headline.slope,
                interval(one.headline.interval) if one.headline else None,
                one.verdict.value,
            )
            for one in hypotheses
        ],
    )


def _name(one: HypothesisResult) -> str:
    return f"{one.id}: {one.kpi} on {one.metric}"


def write_regression_report(study: Study, paths: StudyPaths) -> StepResult[Report]:
    """Write the report as HTML, Markdown and JSON, and the study's manifest.

    Raises:
        MissingArtifact: if an artifact of the chain is missing.
    """
    report = report_of_study(study, paths, origin=log_provenance(study))
    target = paths.artifact(REPORT)
    with atomic_folder(target) as folder:
        write_report(report, folder)
    manifest = {
        "parameters": report.parameters,
        "provenance": to_dict(report.provenance),
        "outputs": output_md5s(paths),
    }
    with atomic_file(paths.artifact("manifest.json")) as file:
        write_json(file, manifest)
    answer = answer_lines(report)
    return StepResult(
        asset="regression_report",
        value=report,
        location=target,
        details={
            "figure": _figure_1(report.hypotheses, report.cutoff),
            "at a glance": _intervals(report.hypotheses, report.lifts),
            "answer": Markdown(shown_whole(answer)) if answer else None,
            "summary": Markdown(as_list(list(answer))),
            "page": target / "index.html",
        },
    )
