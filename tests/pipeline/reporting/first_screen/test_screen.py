"""The first screen says what the results say: verdicts, effects, what to ship, and nothing more."""

from dataclasses import replace

import pytest

from pipeline.core.contracts import Kpi
from pipeline.reporting.first_screen.phrases import CHIPS, SHORT_KPIS, SHORT_REASONS, headline
from pipeline.reporting.first_screen.screen import (
    FEWEST_ROWS,
    MOST_COLUMNS,
    MOST_DECISIONS,
    MOST_ROWS,
    first_screen,
)
from pipeline.results.reasons import Action, AdviceReason, Verdict
from pipeline.study import PAPER_HYPOTHESES
from tests.pipeline.reporting.truths import SHAPES, SIX, TRUTHS, report_of


@pytest.fixture
def screen_of(tmp_path):
    """The first screen of a truth or shape, and its report."""

    def screen(name, **options):
        report = report_of(*(TRUTHS | SHAPES)[name], tmp_path, **options)
        return first_screen(report), report

    return screen


@pytest.mark.slow
def test_a_metric_that_drives_clicks(screen_of):
    screen, report = screen_of("drives-clicks", control="g1")

    assert screen.headline == "Recall@20 predicts CTR"
    assert [one.word for one in screen.rows] == ["confirmed", "inconclusive", "inconclusive"]
    assert [str(one.evidence.strength) for one in screen.rows] == ["high", "none", "none"]
    clicks, orders = screen.decisions
    assert (clicks.advice.group, clicks.advice.baseline, screen.control) == ("g6", "g1", True)
    gain, cost = clicks.cells
    assert gain.own
    assert gain.bar.tone == "yes"
    # planted: 50% more recall is 25% more clicks
    assert gain.change.interval[0] < 0.25 < gain.change.interval[1]
    assert cost.bar.tone == "open"
    assert orders.advice.group is None
    assert screen.lead is report.hypotheses[0]


@pytest.mark.slow
def test_a_metric_that_drives_nothing(screen_of):
    screen, _ = screen_of("none", control="g1")

    assert screen.headline == "No metric is confirmed: inconclusive"
    assert {one.word for one in screen.rows} == {"inconclusive"}
    assert [one.advice.group for one in screen.decisions] == [None, None]
    assert {one.reason for one in screen.decisions} == {"inconclusive"}


@pytest.mark.slow
def test_a_metric_that_drives_clicks_and_costs_orders(screen_of):
    screen, _ = screen_of("costs-orders", control="g1")

    assert screen.headline == "Recall@20 predicts CTR and lower orders/impression"
    clicks, orders = screen.decisions
    gain, cost = clicks.cells
    assert (clicks.advice.group, gain.bar.tone, cost.bar.tone) == ("g6", "yes", "no")
    # planted: 50% more recall is 30% fewer orders
    assert cost.change.interval[0] < -0.3 < cost.change.interval[1]
    assert (orders.advice.group, orders.reason) == (None, "control leads")


def test_rivals_are_in_the_headline(screen_of):
    screen, _ = screen_of("zero-orders")

    assert screen.headline == "Recall@20 (or one of 2 rivals) predicts CTR"
    assert [one.note for one in screen.rows[1:]] == ["no events"] * 3
    assert screen.no_orders


def test_two_groups_have_lifts_and_no_slope(screen_of):
    screen, report = screen_of("two-groups", control="A")

    assert screen.two_groups
    assert screen.headline == "B beats A on CTR"
    clicks = screen.rows[0]
    # 10,900 clicks against 10,000
    assert clicks.lift.measured == pytest.approx(0.09)
    assert clicks.bar.tone == "yes"
    assert {one.headline.interval for one in report.hypotheses} == {None}
    # the control has the higher CVR: the lift is the trade-off
    assert screen.rows[1].lift.measured == pytest.approx((470 / 10_900) / (500 / 10_000) - 1)


def test_a_headline_names_few_kpis_and_counts_the_others(screen_of):
    _, report = screen_of("two-groups", control="A")
    (won,) = (one for one in report.advice if one.action is Action.SHIP)
    kpis = ("ctr", "clicks_per_user", "units_per_user", "orders_per_user")
    many = [replace(won, kpi=Kpi(kpi)) for kpi in kpis]

    three, four = (headline(replace(report, hypotheses=(), advice=tuple(many[:n]))) for n in (3, 4))

    assert three == "B beats A on CTR, clicks/user and units/user"
    assert four == "B beats A on CTR, clicks/user and 2 more KPIs"


def test_a_failed_sample_ratio_blocks_everything(screen_of):
    screen, _ = screen_of("blocked")

    assert screen.alert == "sample ratio mismatch (SRM)"
    assert screen.headline == "No verdict: the experiment is invalid"
    assert screen.blocked
    assert screen.lead is None
    assert [(one.word, one.bar, one.note) for one in screen.rows] == [("blocked", None, "")]


def test_without_hypotheses_the_best_metric_of_each_kpi_is_exploratory(screen_of):
    screen, report = screen_of("no-hypotheses")

    assert screen.headline == "D beats A on CTR"
    assert (screen.rows, screen.lead) == ((), None)
    assert [one.found for one in screen.ranked] == [report.metric_ranking[0]]


@pytest.mark.slow
def test_many_hypotheses_are_cut_to_those_with_an_answer(screen_of):
    screen, report = screen_of("many")

    assert FEWEST_ROWS <= len(screen.rows) <= MOST_ROWS
    assert screen.hidden_rows == len(report.hypotheses) - len(screen.rows)
    answered = {Verdict.CONFIRMED, Verdict.CONTRADICTED}
    assert {one.result.verdict for one in screen.rows} <= answered
    assert [report.hypotheses[one.number] for one in screen.rows] == [
        one.result for one in screen.rows
    ]


@pytest.mark.slow
def test_many_kpis_leave_room_for_fewer_rows(screen_of):
    few, _ = screen_of("costs-orders")
    many, report = screen_of("four-kpis")

    assert (len(few.rows), few.hidden_rows) == (3, 0)
    assert len(report.hypotheses) == 12
    assert len(many.rows) < MOST_ROWS
    assert (len(many.decisions), many.hidden_decisions) == (MOST_DECISIONS, 1)
    assert {len(row.cells) for row in many.decisions} == {len(many.kpis)} == {MOST_COLUMNS}


@pytest.mark.slow
def test_a_margin_is_marked_on_the_changes(screen_of):
    screen, _ = screen_of("none", control="g1", margin=0.02)

    axis = screen.change_axis
    cells = [one for row in screen.decisions for one in row.cells if one]
    assert {one.bar.margin for one in cells} == {(axis.place(-2.0), axis.place(2.0))}


def test_a_declared_margin_of_a_slope_is_in_percent_of_the_kpi(whole_report, estimate):
    (one,) = estimate(1.0, 100_000, hypotheses=(replace(PAPER_HYPOTHESES[0], margin=0.1),))
    report = replace(whole_report, hypotheses=(one,))

    screen = first_screen(report)

    # the odds change by 0.1 per unit of x; the rate by that times the share of failures
    failed = one.elasticity.estimate / one.headline.slope
    assert screen.rows[0].bar.margin == (
        screen.axis.place(-0.1 * failed),
        screen.axis.place(0.1 * failed),
    )


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ({"H1": Verdict.CONTRADICTED}, "Recall@20 predicts lower CTR, against the declaration"),
        ({"H1": Verdict.SUGGESTIVE}, "Recall@20 may predict CTR"),
        ({"H4": Verdict.CONFIRMED}, "Recall@20 predicts lower CVR"),
        (
            {"H4": Verdict.SUGGESTIVE_OPPOSITE},
            "Recall@20 may predict higher CVR, against the declaration",
        ),
        (
            {"H1": Verdict.CONFIRMED, "H2": Verdict.CONFIRMED},
            "Recall@20 predicts CTR; OD@20 predicts CVR",
        ),
        (
            {"H1": Verdict.CONFIRMED, "H2": Verdict.CONFIRMED, "H3": Verdict.CONTRADICTED},
            "2 confirmed and 1 opposite, of 4 hypotheses",
        ),
        (dict.fromkeys(("H1", "H2", "H3", "H4"), Verdict.UNDEFINED), "No verdict: the slopes are"),
        ({}, "No metric is confirmed: inconclusive"),
    ],
)
def test_the_headline_claims_what_the_verdicts_say(whole_report, verdicts, words):
    found = tuple(
        replace(one, verdict=verdicts.get(one.id, Verdict.INCONCLUSIVE), rivals=())
        for one in whole_report.hypotheses
    )

    assert first_screen(replace(whole_report, hypotheses=found)).headline.startswith(words)


def test_every_verdict_kpi_and_reason_has_its_words():
    assert set(CHIPS) == set(Verdict)
    assert set(SHORT_KPIS) == {kpi.value for kpi in Kpi}
    assert set(SHORT_REASONS) == set(AdviceReason)


def test_no_group_is_better_where_none_is(tmp_path):
    table = {name: values[:2] for name, values in SIX.items()}
    table |= {"clicks": [24_000, 24_010], "diversity": [0.5, 0.4]}

    report = report_of(table, ("recall@20:ctr:+",), tmp_path)

    assert first_screen(report).headline == "No group is significantly better"
