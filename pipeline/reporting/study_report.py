"""The report of a finished study, from its artifacts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from pipeline.artifacts.provenance import provenance, variants_provenance
from pipeline.artifacts.storage import DATABASE, StudyPaths, read_json, read_table
from pipeline.core.contracts import ALL_TARGETS, Kpi
from pipeline.experiment.design.external_variants import (
    VariantPlan,
    load_plan,
    planned_variants,
)
from pipeline.experiment.kpis.contracts import COUNTS, TERMS
from pipeline.experiment.log.ingest import ingested_md5s, summarise
from pipeline.inference.hypotheses.external_variants import cutoff_of, variant_metrics
from pipeline.inference.power.plan_experiment import POWER
from pipeline.reporting.report import build_report
from pipeline.reporting.text.data_card import card_numbers
from pipeline.results.decisions import Limitation
from pipeline.results.document import (
    CurvePoint,
    Estimates,
    Experiment,
    Findings,
    FrontSummary,
    GroupKpi,
    Ingestion,
    MetricValue,
    Provenance,
    Report,
)
from pipeline.results.reasons import LimitationKind
from pipeline.results.serialization import parse, read_estimates
from pipeline.study import Study


def report_of_study(study: Study, paths: StudyPaths, *, origin: Mapping[str, str]) -> Report:
    """Read the artifacts of a study and build its report.

    Args:
        study: Its parameters.
        paths: Its artifacts.
        origin: ``origin`` of the log and ``how`` it came about.

    Raises:
        MissingArtifact: if an artifact is missing.
    """
    plan = load_plan(paths)
    estimates = read_estimates(paths.require("regression_estimates"))
    kpis = read_table(paths.require("group_kpis", "group_kpis.parquet"))
    experiment = {"plan": plan.as_dict(), **origin}
    sections: dict[str, Any] = {
        "study": study.study.name,
        "ingestion": parse(Ingestion, summarise(paths.require(DATABASE))),
        "parameters": study.as_dict(),
    }
    if isinstance(plan, VariantPlan):
        variants = planned_variants(paths)
        metrics = variant_metrics(variants)[0]
        log = ingested_md5s(paths.require(DATABASE))
        return build_report(
            replace(
                _findings(study, estimates, metrics, kpis),
                cutoff=cutoff_of(variants),
                limitations=limitations_of_log(metrics, kpis),
            ),
            parse(Provenance, variants_provenance(study, paths.root, log)),
            experiment=parse(Experiment, experiment),
            **sections,
        )
    power = read_json(paths.require("traffic_plan", POWER))
    metrics = read_table(paths.require("offline_metrics", "offline_metrics.parquet"))
    cutoff = int(metrics["cutoff"].drop_nulls()[0])
    return build_report(
        replace(_findings(study, estimates, metrics, kpis), cutoff=cutoff),
        parse(Provenance, provenance(study, paths.root)),
        experiment=parse(Experiment, experiment | {"power": power}),
        objectives=tuple(str(one.loss) for one in study.training.objectives),
        **sections | _model_sections(study, paths),
    )


def _findings(
    study: Study, estimates: Estimates, metrics: pl.DataFrame, kpis: pl.DataFrame
) -> Findings:
    rows = metrics.filter(segment=ALL_TARGETS).to_dicts()
    return Findings(
        hypotheses=estimates.hypotheses,
        diagnostics=estimates.diagnostics,
        metric_ranking=estimates.metric_ranking,
        unfitted_pairs=estimates.unfitted_pairs,
        level=study.regression.level,
        offline_metrics=parse(tuple[MetricValue, ...], rows),
        group_kpis=parse(tuple[GroupKpi, ...], kpis.to_dicts()),
    )


def limitations_of_log(metrics: pl.DataFrame, kpis: pl.DataFrame) -> tuple[Limitation, ...]:
    """What the log and the metrics of external variants do not contain."""
    known = {Kpi(kpi) for kpi in kpis["kpi"].unique()}
    absent = tuple(kpi for kpi in TERMS if kpi not in known)
    counted = {count for kpi in known for count in TERMS[kpi]}
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
        "front": parse(FrontSummary, front | {"points": points.to_dicts()}),
        "training": training,
        "learning_curves": parse(tuple[CurvePoint, ...], curves.to_dicts()),
        "data": {"events": events, "sessions": sessions, "profile": profile, "card": card},
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
