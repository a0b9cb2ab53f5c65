"""The report of a finished study, from its artifacts."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from models.checkpoint import checkpoint_fingerprint
from pipeline.artifacts.provenance import provenance, variants_provenance
from pipeline.artifacts.storage import DATABASE, StudyPaths, read_json, read_table
from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.counterfactual.experiment.stored_estimates import current_estimates
from pipeline.evaluation.pareto_front import point_rows
from pipeline.experiment.design.external_variants import (
    VariantPlan,
    load_plan,
    planned_variants,
)
from pipeline.experiment.design.plan_checks import paths_of_plan
from pipeline.experiment.kpis.contracts import COUNTS, TERMS
from pipeline.experiment.log.ingest import ingested_md5s, summarise
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.hypotheses.external_variants import cutoff_of, variant_metrics
from pipeline.inference.ranking.shared_directions import shared_directions
from pipeline.reporting.report import build_report
from pipeline.reporting.text.data_card import card_numbers
from pipeline.results.decisions import Limitation
from pipeline.results.document import (
    CurvePoint,
    Experiment,
    FrontSummary,
    Ingestion,
    Provenance,
    Report,
)
from pipeline.results.findings import Findings, GroupKpi, MetricValue
from pipeline.results.power import POWER
from pipeline.results.reasons import LimitationKind
from pipeline.results.serialization import parse
from pipeline.results.served_index import read_served_index
from pipeline.results.stored import read_estimates
from pipeline.study import Study


def report_of_study(study: Study, paths: StudyPaths, *, origin: Mapping[str, str]) -> Report:
    """Read the artifacts of a study and build its report.

    ``origin`` has the ``origin`` of the log and ``how`` it came about.

    Raises:
        MissingArtifact: if an artifact is missing.
    """
    plan = load_plan(paths)
    experiment = {"plan": plan.as_dict(), **origin}
    if isinstance(plan, VariantPlan):
        return _report_of_variants(study, paths, experiment)
    paths = paths_of_plan(plan, paths)
    metrics = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
    power = read_json(paths.require("traffic_plan", POWER))
    findings = _findings(study, paths, metrics)
    has_orders = plan.has_orders or any(row.kpi.needs_orders for row in findings.group_kpis)
    findings = replace(
        findings,
        cutoff=int(metrics["cutoff"].drop_nulls()[0]),
        limitations=(
            *(() if has_orders else (Limitation(kind=LimitationKind.NO_ORDERS),)),
            *_approximate_lists(paths, {group.name for group in plan.groups}),
        ),
    )
    return build_report(
        findings,
        parse(Provenance, provenance(study, paths.root)),
        objectives=tuple(str(one.loss) for one in study.training.objectives),
        **_study_sections(study, paths, experiment | {"power": power})
        | _model_sections(study, paths),
    )


def _report_of_variants(study: Study, paths: StudyPaths, experiment: Mapping[str, Any]) -> Report:
    variants = planned_variants(paths)
    metrics = variant_metrics(variants)[0]
    findings = _findings(study, paths, metrics)
    kpis = {row.kpi for row in findings.group_kpis}
    log = ingested_md5s(paths.require(DATABASE))
    return build_report(
        replace(
            findings, cutoff=cutoff_of(variants), limitations=limitations_of_log(metrics, kpis)
        ),
        parse(Provenance, variants_provenance(study, paths.root, log)),
        **_study_sections(study, paths, experiment),
    )


def _study_sections(
    study: Study, paths: StudyPaths, experiment: Mapping[str, Any]
) -> dict[str, Any]:
    """The sections of every study."""
    return {
        "study": study.study.name,
        "experiment": parse(Experiment, experiment),
        "ingestion": _ingestion(paths.require(DATABASE)),
        "parameters": study.as_dict(),
    }


def _ingestion(database: Path) -> Ingestion:
    funnel = read_row_fates(database).funnel().to_dicts()
    return parse(Ingestion, summarise(database) | {"funnel": funnel})


def _findings(study: Study, paths: StudyPaths, metrics: pl.DataFrame) -> Findings:
    estimates = read_estimates(paths.require("regression_estimates"))
    kpis = read_table(paths.require("group_kpis", "group_kpis.parquet"))
    rows = metrics.filter(segment=ALL_TARGETS).to_dicts()
    return Findings(
        **{field.name: getattr(estimates, field.name) for field in fields(estimates)},
        level=study.regression.level,
        offline_metrics=parse(tuple[MetricValue, ...], rows),
        group_kpis=parse(tuple[GroupKpi, ...], kpis.to_dicts()),
        shared_directions=shared_directions(estimates.hypotheses),
    )


def _approximate_lists(paths: StudyPaths, groups: Collection[str]) -> Iterator[Limitation]:
    """That the endpoint took the groups' lists from an index of this model, if it did."""
    served = read_served_index(paths)
    if served is None or served.model != checkpoint_fingerprint(paths.require("conditioned_model")):
        return
    if recall := [value for name, value in served.recall.items() if name in groups]:
        bounds = (min(recall), max(recall))
        yield Limitation(kind=LimitationKind.APPROXIMATE_LISTS, recall=bounds)


def limitations_of_log(metrics: pl.DataFrame, kpis: Collection[Kpi]) -> tuple[Limitation, ...]:
    """What the log, which contains ``kpis``, and the metrics of external variants do not contain."""
    absent = tuple(kpi for kpi in TERMS if kpi not in kpis)
    counted = {count for kpi in kpis for count in TERMS[kpi]}
    missing = tuple(count for count in COUNTS if count not in counted)
    lost = Limitation(kind=LimitationKind.COUNTS_UNKNOWN, kpis=absent, counts=missing)
    no_errors = metrics["standard_error"].null_count() == metrics.height
    errors = Limitation(kind=LimitationKind.METRIC_COVARIANCE_UNKNOWN)
    return (*((lost,) if absent else ()), *((errors,) if no_errors else ()))


def _model_sections(study: Study, paths: StudyPaths) -> dict[str, Any]:
    """The sections of a study that trains a model: front, training and data."""
    front = read_json(paths.require("pareto_front", "summary.json"))
    points = read_table(paths.require("pareto_front", "pareto_front.parquet"))
    curves = read_table(paths.require("conditioned_model", "learning_curves.parquet"))
    training = read_json(paths.require("conditioned_model", "model.json"))
    events = read_json(paths.require("events", "summary.json"))
    sessions = read_json(paths.require("sessions", "summary.json"))
    profile = read_json(paths.require("sessions", "profile.json"))
    card = card_numbers(profile, events, sessions)
    return {
        "front": parse(
            FrontSummary, front | {"points": point_rows(points, study.experiment.second_axis)}
        ),
        "training": training,
        "learning_curves": parse(tuple[CurvePoint, ...], curves.to_dicts()),
        "data": {"events": events, "sessions": sessions, "profile": profile, "card": card},
        "counterfactual": current_estimates(paths),
        **trained_parameters(study.as_dict(), training),
    }


def trained_parameters(today: dict[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with those of the model as it was trained, and the keys that differ."""
    trained = {name: training[name] for name in ("model", "training") if name in training}
    changed = [
        f"{name}.{key}"
        for name, section in trained.items()
        for key, value in section.items()
        if today[name].get(key) != value
    ]
    merged = {name: {**today[name], **section} for name, section in trained.items()}
    return {"parameters": {**today, **merged}, "changed_since_training": tuple(changed)}
