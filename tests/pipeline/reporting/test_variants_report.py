"""The report on external variants has the results, and what its log does not contain."""

import numpy as np
import polars as pl
import pytest

from pipeline.artifacts.storage import read_json
from pipeline.core.contracts import DAY_MS, Kpi
from pipeline.experiment.design.external_variants import Variant, VariantPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.ingest import summarise
from pipeline.experiment.log.log_files import EXTERNAL_PROVENANCE
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.experiment.log.validation.row_validation import LogRules
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.external_variants import cutoff_of, section_of, variant_metrics
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.metric_ranking import rank_metrics
from pipeline.reporting.report import build_report, write_report
from pipeline.reporting.study_report import limitations_of_log
from pipeline.results.document import Experiment, Ingestion, Provenance, SourceFile
from pipeline.results.findings import Findings, GroupKpi, MetricValue
from pipeline.results.serialization import parse
from pipeline.study import Hypothesis, LogColumns, RegressionConfig, parse_study
from tests.pipeline.experiment.logs import ingest

MONDAY = 1_767_571_200_000
NAMES = ("plain", "tuned", "deep", "wide")
VARIANTS = pl.DataFrame(
    {
        "variant": NAMES,
        "share": [1, 1, 1, 1],
        "ndcg@10": [0.20, 0.22, 0.25, 0.27],
        "ndcg@10_se": [0.001] * 4,
        "r2": [-1.0, 0.1, 0.2, 0.3],
    }
)
ASKED = RegressionConfig(
    hypotheses=(
        Hypothesis(id="H1", metric="ndcg@10", kpi=Kpi.CTR, direction="positive"),
        Hypothesis(id="H2", metric="r2", kpi=Kpi.CTR, direction="positive"),
    )
)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    """A log of clicks alone: 150 users per variant, 6 impressions each over two days."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(5)
    rows = [
        {
            "user": f"{name}-{user}",
            "group": name,
            "ts": MONDAY + (n % 2) * DAY_MS + 1000 * n,
            "clicked": bool(rng.random() < 0.2 + 0.1 * place),
        }
        for place, name in enumerate(NAMES)
        for user in range(150)
        for n in range(6)
    ]
    pl.DataFrame([*rows, rows[0]]).write_parquet(folder / "log.parquet")
    plan = VariantPlan(
        experiment="autumn", groups=tuple(Variant(name=name, share=0.25) for name in NAMES)
    )
    rules = LogRules(columns=LogColumns())
    ingest([folder / "log.parquet"], plan, folder / "log.duckdb", rules=rules)
    sums = aggregate(folder / "log.duckdb", plan)
    kpis, daily = sums.group_kpis, sums.daily_totals
    found = RegressionInputs(*variant_metrics(VARIANTS), kpis, daily_totals=daily, planned_days=2)
    rows = read_row_fates(folder / "log.duckdb")
    return found, plan, summarise(folder / "log.duckdb"), rows


@pytest.fixture(scope="module")
def written(evidence, small_params, tmp_path_factory):
    """The report's JSON, its page and its Markdown."""
    found, plan, ingestion, rows = evidence
    asked = section_of(ASKED, found, VARIANTS)
    shares = {group.name: group.share for group in plan.groups}
    diagnostics = run_diagnostics(found, asked.hypotheses, shares=shares, rows=rows, seed=1)
    ranking = rank_metrics(found, level=0.95)
    metrics, kpis = found.offline_metrics, found.group_kpis
    findings = Findings(
        hypotheses=tuple(estimate_hypotheses(found, asked, seed=1)),
        diagnostics=diagnostics,
        metric_ranking=ranking.metrics,
        unfitted_pairs=ranking.unfitted_pairs,
        cutoff=cutoff_of(VARIANTS),
        offline_metrics=parse(tuple[MetricValue, ...], metrics.to_dicts()),
        group_kpis=parse(tuple[GroupKpi, ...], kpis.to_dicts()),
        limitations=limitations_of_log(metrics, {Kpi(kpi) for kpi in kpis["kpi"]}),
    )
    study = parse_study(small_params)
    report = build_report(
        findings,
        Provenance(
            code="c",
            python="3.11",
            machine="m",
            packages={"polars": "2"},
            variants=SourceFile(path="v.csv", md5="0a1b"),
            log={"log.parquet": "2c3d"},
        ),
        study=study.study.name,
        experiment=parse(Experiment, {"plan": plan.as_dict(), **EXTERNAL_PROVENANCE}),
        ingestion=parse(Ingestion, ingestion),
        parameters=study.as_dict(),
    )
    folder = tmp_path_factory.mktemp("report")
    write_report(report, folder)
    page, text = ((folder / name).read_text("utf-8") for name in ("index.html", "report.md"))
    return read_json(folder / "report.json"), page, text


def test_absent_counts_are_a_limitation(written):
    report, page, _ = written

    assert {row["kpi"] for row in report["group_kpis"]} == {"ctr", "clicks_per_user"}
    (lost,) = [one for one in report["limitations"] if one["kind"] == "counts_unknown"]
    assert lost["counts"] == ["orders", "units", "revenue"]
    assert "cvr" in lost["kpis"]
    assert "Without counts of orders, units, revenue, post-click conversion rate" in page


def test_the_variants_confirm_what_was_planted_and_r2_is_undefined(written):
    report, page, text = written
    ndcg, r2 = report["hypotheses"]

    # the odds of a click rise from 0.2 / 0.8 to 0.5 / 0.5 while NDCG rises by 35 %
    low, high = ndcg["cluster_robust"]["interval"]
    assert low < np.log((0.5 / 0.5) / (0.2 / 0.8)) / 0.35 < high
    assert (ndcg["metric"], ndcg["verdict"]) == ("ndcg", "confirmed")
    assert report["cutoff"] == 10
    # the covariance of the metrics of different variants is unknown, so their errors are independent
    assert ndcg["metric_covariance"] == np.diag([0.001**2] * 4).tolist()
    assert r2["undefined_reason"] == "metric_not_positive"
    assert "r2 and click-through rate: undefined" in page
    assert all(words in text for words in report["summary"])


def test_groups_log_and_rejected_rows_are_on_the_page(written):
    report, page, text = written

    assert report["ingestion"]["rejected"] == {"duplicate impression": 1}
    assert "4 variants of a recommender in experiment “autumn”, 3,600 impressions" in page
    assert "3,600 impressions ingested from 1 file; 1 log row rejected" in page
    assert "users: 150, 150, 150, 150; p = 1.0000" in page
    assert "<code>2c3d</code> (log.parquet)" in page
    clicks = {r["group"]: r["successes"] for r in report["group_kpis"] if r["kpi"] == "ctr"}
    assert all(f"| {name} | 25.0% | 150 | 900 | {clicks[name]} |" in text for name in NAMES)
