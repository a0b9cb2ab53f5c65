"""The first screen states the planted truth, and no more than the log shows.

A log is drawn from planted slopes (``experiment.source: direct``): click-through rate on recall, and
conversion on order density. The text is that of the written page, above Table 1.
"""

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.experiment.design.traffic_plan import Group, TrafficPlan
from pipeline.experiment.kpis.aggregate import aggregate
from pipeline.experiment.log.log_files import write_log
from pipeline.experiment.log.row_fates import read_row_fates
from pipeline.inference.diagnostics.run_diagnostics import run_diagnostics
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs, relative_change
from pipeline.inference.hypotheses.recommendation import advise
from pipeline.reporting.report import write_report
from pipeline.results.document import Experiment
from pipeline.results.findings import GroupKpi, MetricValue
from pipeline.results.serialization import parse
from pipeline.simulator import planted_slopes
from pipeline.simulator.shop_experiment import SimulationConfig
from pipeline.study import (
    PAPER_HYPOTHESES,
    DirectConfig,
    ExperimentConfig,
    RegressionConfig,
    SimulatorConfig,
    SyntheticConfig,
    TrueSlope,
)
from tests.pipeline.experiment.logs import ingest
from tests.pipeline.reporting.conftest import front_of, rebuild
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
    """The text above Table 1 of the page on a log with these slopes, and its report."""

    def screen(ctr_slope, cvr_slope, *, planned_days=4, users=12_000, seed=1):
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
            seed=seed,
        )
        x_ctr, x_cvr = (relative_change(np.array(of)) for of in (RECALL, DENSITY))
        world = planted_slopes.DirectSimulation.of(plan, setting, x_ctr=x_ctr, x_cvr=x_cvr)
        files = [file for day in world.days() for file in write_log(day, folder)]
        ingest(files, plan, folder / "log.duckdb")
        sums = aggregate(folder / "log.duckdb", plan)
        rows = read_row_fates(folder / "log.duckdb")
        evidence = RegressionInputs(
            front_of(RECALL, DENSITY),
            None,
            sums.group_kpis,
            daily_totals=sums.daily_totals,
            returning_user_totals=sums.returning_user_totals,
            planned_days=planned_days,
        )
        asked = RegressionConfig(hypotheses=PAPER_HYPOTHESES)
        shares = {group.name: group.share for group in plan.groups}
        metrics = front_of(RECALL, DENSITY).to_dicts()
        origin = {"plan": plan.as_dict(), **planted_slopes.PROVENANCE}
        hypotheses = estimate_hypotheses(evidence, asked, seed=1)
        report = rebuild(
            whole_report,
            experiment=replace(parse(Experiment, origin), power=whole_report.experiment.power),
            hypotheses=tuple(hypotheses),
            advice=advise(hypotheses, evidence, asked),
            diagnostics=run_diagnostics(
                evidence, asked.hypotheses, shares=shares, rows=rows, seed=1
            ),
            offline_metrics=parse(tuple[MetricValue, ...], metrics),
            group_kpis=parse(tuple[GroupKpi, ...], sums.group_kpis.to_dicts()),
        )
        write_report(report, folder)
        page = Page((folder / "index.html").read_text("utf-8"))
        text = page.text.partition("Skip to the summary")[2].partition("Findings")[2]
        return re.sub(r"\s+", " ", text.partition("Table 1: hypotheses\n")[0]), report

    return screen


def card(text, kpi):
    return text.partition(f"For {kpi}")[2].partition("For ")[0]


@pytest.mark.slow
def test_a_strong_effect_has_a_group_to_ship_and_its_trade_offs(first_screen):
    text, report = first_screen(0.9, 1.8)
    clicks, conversion = (
        card(text, "click-through rate"),
        card(text, "post-click conversion rate"),
    )

    assert "This experiment was drawn." in text
    assert "Optimise increase Recall@20" in clicks
    assert "Recall@20 predicts click-through rate (H1, confirmed)" in clicks
    assert "Ship g5 (π of click, order = 1.00, 0.00)" in clicks
    assert "Optimise increase OD@20" in conversion
    assert "Ship g1 (π of click, order = 0.00, 1.00)" in conversion
    expected, cost = (one.expected for one in report.advice[:2])
    # x of g5 is 0.5: the odds of a click rise from 0.18 / 0.82 by exp(0.9 · 0.5)
    odds = 0.18 / 0.82 * np.exp(0.45)
    low, high = expected.interval
    assert low < odds / (1 + odds) / 0.18 - 1 < high
    assert (expected.baseline, cost.baseline) == ("g1", "g5")
    (lost,) = [one for one in report.advice[0].trade_offs if one.kpi == "cvr"]
    assert lost.movement == "decrease"
    assert "Trade-offs post-click conversion rate −" in clicks
    assert 0 < expected.change < expected.measured
    assert re.search(
        r"Expected change \+\S+% \(\+\S+% to \+\S+%; measured \+\S+%, drawn in because the best of 5 was "
        r"picked\) against g1, the group with the lowest value",
        clicks,
    )


@pytest.mark.slow
def test_without_an_effect_nothing_is_recommended_or_called_predictive(first_screen):
    text, report = first_screen(0.0, 0.0, seed=2)

    assert {one.verdict for one in report.hypotheses} == {"inconclusive"}
    assert text.count("Optimise no pre-registered metric.") == 3
    assert text.count("Ship no recommendation: inconclusive; no group is significantly better") == 3
    assert text.count("It is inconclusive whether") == 4
    assert not re.search(r"predicts .{0,40} confirmed|Expected change |increase |higher than", text)
    assert text.count("Strength of evidence none. The CI includes 0.") == 3


@pytest.mark.slow
def test_an_opposite_effect_is_not_reported_as_the_declared_one(first_screen):
    text, report = first_screen(-0.9, -1.8)
    clicks = card(text, "click-through rate")

    assert report.hypotheses[0].verdict == "contradicted"
    assert "Optimise no pre-registered metric. Recall@20 does not predict higher click-" in clicks
    assert "% lower click-through rate" in clicks
    # as measured, whatever was declared
    assert "Ship g1 (π of click, order = 0.00, 1.00)" in clicks
    assert "increase Recall@20" not in clicks
    assert report.advice[0].contradicted == ("H1",)


@pytest.mark.slow
def test_an_interim_result_recommends_no_group(first_screen):
    text, report = first_screen(0.1, 0.1, planned_days=14)

    assert {one.action for one in report.advice} == {"wait"}
    keep = "Ship keep the current group: the experiment has not reached its planned end"
    assert text.count(keep) == 3
    assert "Expected change" not in text


@pytest.mark.slow
def test_strong_evidence_ships_before_the_planned_end(first_screen):
    text, report = first_screen(0.9, 1.8, planned_days=14)

    assert report.advice[0].action == "ship"
    assert "anytime-valid 95% CI" in text
    assert "the experiment has not reached its planned end" in text
