"""The answer: a slope for every hypothesis, and the report that explains it."""

from collections.abc import Sequence

import dagster as dg

from assets.asset_metadata import asset_kwargs
from assets.checks import health_results, health_specs
from assets.evaluation import offline_metrics, pareto_front
from assets.experiment import group_kpis
from assets.materialization import materialize_result, translate_errors
from assets.model import conditioned_model
from assets.resources import StudyResource
from pipeline.artifacts.provenance import output_md5s
from pipeline.artifacts.storage import REPORT, StudyPaths, atomic_file, atomic_folder, write_json
from pipeline.experiment.design.external_variants import planned_variants
from pipeline.inference.hypotheses.external_variants import cutoff_of
from pipeline.inference.hypotheses.study_estimates import estimate_study
from pipeline.reporting.figures.charts import as_markdown, hypothesis_panels
from pipeline.reporting.report import write_report
from pipeline.reporting.study_report import report_of_study
from pipeline.results.document import Estimates
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.serialization import to_dict, write_estimates
from pipeline.simulator.simulate import log_provenance
from pipeline.study import Study


@dg.asset(
    deps=[group_kpis, offline_metrics],
    check_specs=health_specs(),
    **asset_kwargs("regression_estimates"),
)
def regression_estimates(
    context: dg.AssetExecutionContext, study: StudyResource
) -> dg.MaterializeResult:
    """One row per hypothesis: slope, standard error, interval, p-value, n, and its sensitivity."""
    with translate_errors(context):
        parameters, paths = study.load()
        estimates = estimate_study(parameters, paths)
        with atomic_folder(paths.artifact("regression_estimates")) as folder:
            write_estimates(estimates, folder)
    return materialize_result(
        "regression_estimates",
        parameters,
        paths.artifact("regression_estimates"),
        metadata=_estimates_metadata(estimates, _cutoff(parameters, paths)),
        checks=health_results(estimates.diagnostics),
    )


def _cutoff(parameters: Study, paths: StudyPaths) -> int | None:
    if parameters.experiment.variants is not None:
        return cutoff_of(planned_variants(paths))
    return parameters.evaluation.cutoff


def _estimates_metadata(
    estimates: Estimates, cutoff: int | None
) -> dict[str, dg.MetadataValue | float]:
    """Figure 1, the verdicts, and the numbers to follow over runs."""
    hypotheses, ratio = estimates.hypotheses, estimates.diagnostics.sample_ratio
    figure = hypothesis_panels(hypotheses, cutoff)
    numbers = {f"slope of {one.id}: {one.kpi} on {one.metric}": one.slope for one in hypotheses}
    numbers["sample ratio p"] = ratio.p_value if ratio else None
    return {
        "picture": dg.MetadataValue.md(as_markdown(figure, "Figure 1")),
        "verdicts": dg.MetadataValue.md(_verdicts(hypotheses)),
        "dagster/row_count": len(hypotheses),
        **{name: value for name, value in numbers.items() if value is not None},
    }


def _verdicts(hypotheses: Sequence[HypothesisResult]) -> str:
    """Slope, interval and verdict of each, as Markdown."""
    lines = ["| hypothesis | slope | interval of the verdict | verdict |", "|---|---|---|---|"]
    for one in hypotheses:
        test = one.verdict_test
        interval = f"{test.interval[0]:.3f} to {test.interval[1]:.3f}" if test else "undefined"
        slope = "undefined" if one.slope is None else f"{one.slope:.3f}"
        name = f"{one.id}: {one.kpi} on {one.metric}"
        lines.append(f"| {name} | {slope} | {interval} | {one.verdict} |")
    return "\n".join(lines)


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
        report = report_of_study(parameters, paths, origin=log_provenance(parameters))
        with atomic_folder(paths.artifact(REPORT)) as folder:
            write_report(report, folder)
        manifest = {
            "parameters": report.parameters,
            "provenance": to_dict(report.provenance),
            "outputs": output_md5s(paths),
        }
        with atomic_file(paths.artifact("manifest.json")) as file:
            write_json(file, manifest)
    figure = as_markdown(hypothesis_panels(report.hypotheses, report.cutoff), "Figure 1")
    return materialize_result(
        "regression_report",
        parameters,
        paths.artifact(REPORT),
        metadata={
            "picture": dg.MetadataValue.md(figure),
            "summary": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.summary)),
            "open": dg.MetadataValue.path(str(paths.artifact(REPORT, "index.html"))),
        },
    )
