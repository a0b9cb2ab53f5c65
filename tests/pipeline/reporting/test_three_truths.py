"""Who reads only the first screen learns the truth that was planted, and no more than the log shows.

A log is drawn from chosen slopes (``experiment.source: direct``): click-through rate on recall, and
conversion on order density. The words are those of the written page, above Table 1.
"""

import re
from copy import deepcopy

import numpy as np
import pytest

from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.ingest import ingest, summarise
from pipeline.experiment.log.log_files import write_log
from pipeline.inference.diagnostics.health_checks import health_of
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs, relative_change
from pipeline.reporting.report import finalize, with_analyses, write_report
from pipeline.simulator import planted_slopes
from pipeline.simulator.shop_experiment import SimulationConfig
from pipeline.study import (
    DirectConfig,
    ExperimentConfig,
    RegressionConfig,
    SimulatorConfig,
    SyntheticConfig,
    TrueSlope,
)
from tests.pipeline.reporting.conftest import front_of
from tests.pipeline.reporting.page import Page

RECALL = [0.40, 0.45, 0.50, 0.55, 0.60]
DENSITY = [0.060, 0.056, 0.052, 0.048, 0.044]


def plan_of(n=5):
    groups = tuple(
        Group(
            name=f"g{g + 1}",
            preference_id=f"p{g}",
            preference=(g / (n - 1), 1 - g / (n - 1)),
            first_bucket=g * 2000,
            last_bucket=(g + 1) * 2000 - 1,
        )
        for g in range(n)
    )
    return TrafficPlan(experiment="truth", salt="truth", list_length=20, groups=groups, model="m")


@pytest.fixture(scope="module")
def first_screen(whole_report, tmp_path_factory):
    """What stands above Table 1 of the page on a log with these slopes, and its report.json."""

    def screen(ctr_slope, cvr_slope, *, planned_days=4, users=12_000):
        folder, plan = tmp_path_factory.mktemp("truth"), plan_of()
        chosen = DirectConfig(
            impressions_per_user=8.0,
            ctr=0.18,
            cvr=0.14,
            user_spread=0.3,
            ctr_slope=TrueSlope(metric="recall", slope=ctr_slope),
            cvr_slope=TrueSlope(metric="order_density", slope=cvr_slope),
        )
        setting = SimulationConfig(
            synthetic=SyntheticConfig(),
            experiment=ExperimentConfig(users=users, days=4),
            simulator=SimulatorConfig(direct=chosen),
            seed=1,
        )
        x_ctr, x_cvr = (relative_change(np.array(of)) for of in (RECALL, DENSITY))
        world = planted_slopes.DirectSimulation.of(plan, setting, x_ctr=x_ctr, x_cvr=x_cvr)
        files = [file for day in world.days() for file in write_log(day, folder)]
        ingest(files, plan, folder / "log.duckdb")
        sums, ingestion = aggregate(folder / "log.duckdb", plan), summarise(folder / "log.duckdb")
        evidence = RegressionInputs(
            front_of(RECALL, DENSITY),
            None,
            sums.group_kpis,
            daily_totals=sums.daily_totals,
            returning_user_totals=sums.returning_user_totals,
            planned_days=planned_days,
        )
        asked = RegressionConfig()
        shares = {group.name: group.share for group in plan.groups}
        report = deepcopy(whole_report)
        report["experiment"] |= {"plan": plan.as_dict(), **planted_slopes.log_provenance()}
        report["group_kpis"] = sums.group_kpis.to_dicts()
        report["health"] = health_of(
            evidence, asked.hypotheses, shares=shares, rejected=ingestion["rejected"], seed=1
        )
        found = estimate_hypotheses(evidence, asked, seed=1)
        report["hypotheses"] = with_analyses([one.as_dict() for one in found])
        report = finalize(report)
        write_report(report, folder)
        page = Page((folder / "index.html").read_text("utf-8"))
        words = page.text.partition("Which offline metrics predict online impact?\n")[2]
        words = words.partition("Table 1: the hypotheses")[0]
        return re.sub(r"\s+", " ", words), report

    return screen


def card(words, kpi):
    return words.partition(f"For {kpi}")[2].partition("For ")[0]


def test_a_strong_truth_is_told_with_what_to_serve_and_what_it_costs(first_screen):
    words, report = first_screen(0.9, 1.8)
    clicks, conversion = (
        card(words, "click-through rate"),
        card(words, "post-click conversion rate"),
    )

    assert "This experiment was drawn." in words
    assert "Optimise raise Recall@20" in clicks
    assert "Recall@20 predicts click-through rate (H1, confirmed)" in clicks
    assert "Serve g5 (π of click, order = 1.00, 0.00)" in clicks
    assert "Optimise raise OD@20" in conversion
    assert "Serve g1 (π of click, order = 0.00, 1.00)" in conversion
    expected, cost = (r["expected"] for r in report["recommendations"][:2])
    # x of g5 is 0.5: the odds of a click rise from 0.18 / 0.82 by exp(0.9 · 0.5)
    odds = 0.18 / 0.82 * np.exp(0.45)
    low, high = expected["interval"]
    assert low < odds / (1 + odds) / 0.18 - 1 < high
    assert (expected["against"], cost["against"]) == ("g1", "g5")
    (lost,) = [t for t in report["recommendations"][0]["trades"] if t["kpi"] == "cvr"]
    assert lost["reading"] == "less"
    assert "What else changes post-click conversion rate −" in clicks


def test_without_an_effect_nothing_is_recommended_nor_called_predictive(first_screen):
    words, report = first_screen(0.0, 0.0)

    assert {h["verdict"] for h in report["hypotheses"]} == {"not shown"}
    assert words.count("Optimise no declared metric.") == 3
    assert words.count("Serve any group: no two of them can be told apart by this KPI.") == 3
    assert words.count("It is not shown that") == 4
    assert not re.search(r"predicts .{0,40} confirmed|Expect |raise |more than", words)
    assert (
        words.count("Trust none, because the interval holds 0 and effects in both directions.") == 3
    )


def test_an_opposite_truth_is_not_sold_as_the_declared_one(first_screen):
    words, report = first_screen(-0.9, -1.8)
    clicks = card(words, "click-through rate")

    assert report["hypotheses"][0]["verdict"] == "contradicted"
    assert "Optimise no declared metric. Recall@20 does not predict more click-through" in clicks
    assert "% less click-through rate" in clicks
    assert (
        "Serve g1 (π of click, order = 0.00, 1.00)" in clicks
    )  # as measured, whatever was declared
    assert "raise Recall@20" not in clicks
    assert report["recommendations"][0]["refuted"] == ["H1"]


def test_an_early_look_recommends_no_group(first_screen):
    words, report = first_screen(0.9, 1.8, planned_days=14)

    assert {r["advice"] for r in report["recommendations"]} == {"wait"}
    assert words.count("the experiment has not reached its planned end") == 3
    assert "interval on all days at once" in words
    assert "it is an early look" in words
    assert "Expect" not in words
