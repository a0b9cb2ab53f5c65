"""A report on three groups whose slopes are planted, and a data set small enough to redo by hand."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import read_json
from pipeline.core.contracts import OFFLINE_METRICS, Kpi
from pipeline.datasets.ingest_events import write_events
from pipeline.experiment.kpis.contracts import GROUP_KPIS
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.recommendation import advise
from pipeline.reporting.report import build_report
from pipeline.reporting.text.data_card import card_numbers
from pipeline.results.decisions import RankedMetric
from pipeline.results.diagnostics import (
    AaRerandomisation,
    AaTest,
    Diagnostics,
    Replicates,
    SampleRatio,
    WholeWeeks,
)
from pipeline.results.document import (
    CurvePoint,
    Experiment,
    FrontPoint,
    FrontSummary,
    GroupSummary,
    Ingestion,
    PlanSummary,
    Provenance,
    Report,
    SourceFile,
)
from pipeline.results.findings import Findings, GroupKpi, MetricValue
from pipeline.results.hypothesis import HypothesisResult
from pipeline.results.serialization import parse
from pipeline.sessions.prepare import write_sessions
from pipeline.sessions.profile import profile_sessions
from pipeline.sessions.rules import rules_of
from pipeline.study import (
    PAPER_HYPOTHESES,
    DatasetConfig,
    DatasetFormat,
    RegressionConfig,
    SessionsConfig,
    load_study,
)
from tests.pipeline.inference.planned import planned_power

RECALL = (0.40, 0.44, 0.48)
"""Of three groups: x = 0, 0.1 and 0.2."""


TRAINING = {
    "n_items": 4,
    "best_epoch": 1,
    "hypervolume": 0.47,
    "model": {"backbone": "tron", "conditioning": "concat", "hidden_size": 64, "layers": 2},
    "training": {
        "objectives": [{"loss": "click", "scale": 1.0}, {"loss": "order", "scale": 4.0}],
        "scalarisation": "linear",
        "regulariser": "non-uniformity",
        "epochs": 7,
    },
}

DIAGNOSTICS = Diagnostics(
    sample_ratio=SampleRatio(
        passed=True,
        users=(100_000,) * 3,
        expected=(100_000.0,) * 3,
        p_value=1.0,
        e_value=0.03,
        largest_e_value=0.9,
    ),
    whole_weeks=WholeWeeks(passed=False, days=9),
    aa_rerandomisation=AaRerandomisation(
        passed=True,
        hypotheses={
            "H1": AaTest(passed=True, divisions=1000, false_positives=0.051, p_value=0.4),
            "H2": None,
        },
    ),
    pre_experiment_balance=Replicates(passed=None, kpis={}),
)
PROVENANCE = Provenance(
    code="abc123",
    packages={"torch": "2.0"},
    python="3.11.7",
    machine="x86_64",
    dataset=SourceFile(path="data/raw/log.jsonl", md5="0" * 32),
)

START, DAY, MINUTE = 1_659_333_600_000, 86_400_000, 60_000
SESSIONS = [
    (0, [10, 10, 20], [10]),
    (0, [20, 30], []),
    (2, [10, 20], [10]),
    (3, [10, 10], []),
    (3, [30, 20, 10, 10], [30]),
    (3, [40, 10], []),
]
"""Day, clicks and orders; 2022-08-01, 3 and 4 are train, validation and test. 40 is no item of train."""


@pytest.fixture(scope="session")
def card(tmp_path_factory):
    """Arguments of the card: profile and the summaries of events and of sessions."""
    folder = tmp_path_factory.mktemp("card")
    raw, events, sessions = (folder / name for name in ("raw.jsonl", "events", "sessions"))
    lines = ["not a session"]
    for number, (day, clicked, ordered) in enumerate(SESSIONS):
        happened = [(item, "clicks") for item in clicked] + [(item, "orders") for item in ordered]
        rows = [
            {"aid": item, "ts": START + day * DAY + n * MINUTE, "type": event_type}
            for n, (item, event_type) in enumerate(happened)
        ]
        lines.append(json.dumps({"session": number, "events": rows}))
    raw.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for made in (events, sessions):
        made.mkdir()
    dataset = DatasetConfig(format=DatasetFormat.OTTO, path=str(raw))
    section = SessionsConfig(min_item_support=1, test_days=1.0, validation_days=1.0)
    write_events(dataset, raw, events, max_rejected_share=0.5)
    write_sessions(events, sessions, rules_of(section, dataset))
    summaries = [read_json(made / "summary.json") for made in (events, sessions)]
    return profile_sessions(events, sessions), *summaries


def offline_metrics(recall=RECALL):
    return front_of(recall, (0.08, 0.07, 0.06))


def front_of(recall, order_density):
    """The offline metrics of preferences p0, p1, … from the order end to the click end."""
    last = len(recall) - 1
    values = {
        "recall": recall,
        "order_density": order_density,
        "recall_order_density": [r * d for r, d in zip(recall, order_density, strict=True)],
    }
    rows = [
        {
            "preference_id": f"p{n}",
            "preference": [n / last, 1 - n / last],
            "metric": metric,
            "cutoff": 20,
            "segment": "all",
            "value": value,
            "standard_error": None,
            "n_targets": 1000,
            "n_sessions": 400,
            "higher_is_better": True,
        }
        for metric, column in values.items()
        for n, value in enumerate(column)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.columns)


def group_kpis(slope, n):
    """Three groups of n users with one trial each; log odds of success are -2 + slope · x."""
    rows = []
    for group, x in enumerate((0.0, 0.1, 0.2)):
        y = round(n / (1 + np.exp(2 - slope * x)))
        sums = {"trials": n, "successes": y, "users": n, "sum_mm": n, "sum_my": y, "sum_yy": y}
        rate = {"rate": y / n, "standard_error": (y / n * (1 - y / n) / n) ** 0.5}
        names = {"group": f"g{group + 1}", "preference_id": f"p{group}"}
        rows += [{**names, "kpi": kpi.value, **sums, **rate} for kpi in Kpi]
    return pl.DataFrame(rows, schema=GROUP_KPIS.columns)


def answers(slope, n, *, recall=RECALL, hypotheses=PAPER_HYPOTHESES, level=0.95):
    """The paper's hypotheses, answered on a planted slope of log odds."""
    section = RegressionConfig(level=level, hypotheses=hypotheses)
    evidence = RegressionInputs(offline_metrics(recall), None, group_kpis(slope, n))
    return estimate_hypotheses(evidence, section, seed=0)


def advice_on(slope, n):
    """The advice on the KPIs of the paper's hypotheses, for a planted slope of log odds."""
    evidence = RegressionInputs(offline_metrics(), None, group_kpis(slope, n))
    return advise(answers(slope, n), evidence, RegressionConfig())


@pytest.fixture(scope="session")
def estimate() -> Callable[..., list[HypothesisResult]]:
    """Tests the paper's hypotheses, or others, on a planted slope and n users per group."""
    return answers


@pytest.fixture(scope="session")
def whole_report(card) -> Report:
    """A report on 300,000 impressions of three groups, on which H1 is true."""
    ids = [(f"p{n}", (0.5 * n, 1 - 0.5 * n)) for n in range(3)]
    groups = [
        GroupSummary(name=f"g{n + 1}", preference_id=name, preference=preference)
        for n, (name, preference) in enumerate(ids)
    ]
    profile, events, sessions = card
    findings = Findings(
        hypotheses=tuple(answers(1.0, 100_000)),
        advice=advice_on(1.0, 100_000),
        diagnostics=DIAGNOSTICS,
        metric_ranking=tuple(ranked("recall", 0.9) + ranked("mrr@5", 0.1)),
        cutoff=20,
        offline_metrics=parse(tuple[MetricValue, ...], offline_metrics().to_dicts()),
        group_kpis=parse(tuple[GroupKpi, ...], group_kpis(1.0, 100_000).to_dicts()),
    )
    return build_report(
        findings,
        PROVENANCE,
        study="synthetic-shop",
        objectives=("click", "order"),
        experiment=Experiment(
            plan=PlanSummary(experiment="spring", groups=tuple(groups)),
            origin="simulated",
            how="All users are simulated.",
            power=planned_power().analysis,
        ),
        ingestion=Ingestion(impressions=300_000, rejected={"units below 0": 7}, files=1),
        front=FrontSummary(
            axes=("recall", "order_density"),
            hypervolume=0.03,
            reference_point=(0.0, 0.0),
            spans={"recall": 0.2, "order_density": 1 / 3},
            rank_correlation=-1.0,
            knee="p1",
            points=tuple(
                FrontPoint(
                    preference_id=name,
                    preference=preference,
                    metrics={
                        "recall": RECALL[n],
                        "order_density": 0.08 - 0.01 * n,
                        "recall_order_density": 0.03,
                    },
                    dominated=False,
                )
                for n, (name, preference) in enumerate(ids)
            ),
        ),
        training=TRAINING,
        learning_curves=tuple(
            CurvePoint(epoch=1, split=split, objective="click", loss=loss)
            for split, loss in (("train", 5.0), ("validation", 6.0))
        ),
        data={
            "events": events,
            "sessions": sessions,
            "profile": profile,
            "card": card_numbers(profile, events, sessions),
        },
        parameters=load_study(Path(__file__).parents[3] / "params.yaml").as_dict(),
    )


def ranked(metric, probability):
    return [
        RankedMetric(
            metric=metric,
            kpi=Kpi.CTR,
            slope=0.9,
            p_value=None,
            interval=None,
            bh_p_value=None,
            probability_of_best=probability,
            undefined_reason=None,
            tied=True,
            correlation_with_best=1.0 if metric == "recall" else 0.7,
            leave_one_out_error=0.0006,
        )
    ]


SECTIONS = (
    "study",
    "objectives",
    "experiment",
    "ingestion",
    "front",
    "training",
    "learning_curves",
    "data",
    "parameters",
    "changed_since_training",
)


def rebuild(report, **changes):
    """The report with other sections, and the summary that follows from them."""
    changed = replace(report, limitations=(), **changes)
    findings = Findings(**{one.name: getattr(changed, one.name) for one in fields(Findings)})
    sections = {name: getattr(changed, name) for name in SECTIONS}
    return build_report(findings, changed.provenance, **sections)
