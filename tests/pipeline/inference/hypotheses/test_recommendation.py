"""What is recommended follows the groups as measured, and stops where their intervals do."""

from math import comb, exp, hypot, log

import pytest
from scipy import stats

from pipeline.inference.hypotheses.recommendation import recommend

GROUPS = [{"name": f"g{n}", "preference": [n / 2, 1 - n / 2]} for n in range(3)]


def hypothesis(verdict="confirmed", **changes):
    points = [{"group": f"g{n}", "x": 0.1 * n} for n in range(3)]
    line = {"slope": 2.0, "intercept": log(0.1), "link": "log", "level": 0.95}
    covariance = [[0.0001, 0.0], [0.0, 0.01]]
    known = {"id": "H1", "metric": "recall", "kpi": "ctr", "reading": "planned end"}
    return {
        **known,
        **line,
        "verdict": verdict,
        "points": points,
        "line_covariance": covariance,
        **changes,
    }


def rows(kpi, rates, error=0.001):
    return [
        {"kpi": kpi, "group": f"g{n}", "rate": rate, "standard_error": error}
        for n, rate in enumerate(rates)
    ]


CTR = rows("ctr", (0.10, 0.12, 0.15))


def advice(hypotheses, table=CTR, level=0.95):
    return recommend(hypotheses, table, GROUPS, level=level)[0]


def test_the_change_from_the_lowest_to_the_best_group_by_hand():
    found = advice([hypothesis()])

    # three pairs at once: 0.95 becomes 1 - 0.05 / 3
    width = stats.norm.ppf(1 - 0.05 / 2 / comb(3, 2)) * hypot(0.001 / 0.15, 0.001 / 0.10)
    assert (found.advice, found.group, found.against) == ("serve", "g2", "g0")
    assert found.preference == (1.0, 0.0)
    assert found.expected.change == pytest.approx(0.15 / 0.10 - 1)
    ends = [1.5 * exp(side * width) - 1 for side in (-1, 1)]
    assert found.expected.interval == pytest.approx(ends)
    assert (found.expected.reading, found.pairs) == ("more", 3)


def test_what_the_line_foretells_by_hand():
    foretold = advice([hypothesis()]).foretold

    # log link: the logarithm changes by 2 · 0.2, its error is 0.2 · 0.1
    assert foretold.change == pytest.approx(exp(0.4) - 1)
    ends = [exp(0.4 + side * 1.959964 * 0.02) - 1 for side in (-1, 1)]
    assert foretold.interval == pytest.approx(ends, rel=1e-5)


def test_the_same_move_is_told_for_the_other_kpis_with_what_is_not_known():
    cvr = hypothesis("not shown", id="H2", kpi="cvr")
    table = CTR + rows("cvr", (0.05, 0.05, 0.0501))

    (trade,) = advice([hypothesis(), cvr], table).trades

    assert (trade.kpi, trade.group, trade.against, trade.reading) == (
        "cvr",
        "g2",
        "g0",
        "not known",
    )
    assert trade.change == pytest.approx(0.002)


def test_groups_that_the_best_is_not_shown_to_beat_are_named():
    found = advice([hypothesis()], rows("ctr", (0.10, 0.149, 0.15)))

    assert found.as_good == ("g1",)
    assert {one.against for one in found.moves} == {"g0", "g1"}


@pytest.mark.parametrize(
    ("changes", "table", "expected"),
    [
        ({"verdict": "blocked"}, CTR, "blocked"),
        ({"reading": "early look"}, CTR, "wait"),
        ({}, rows("ctr", (0.100, 0.101, 0.102)), "no difference shown"),
        ({}, rows("ctr", (0.0, 0.1, 0.2)), "undefined"),
        ({}, rows("ctr", (None, 0.1, 0.2)), "undefined"),
    ],
)
def test_no_group_is_recommended_where_nothing_may_be_concluded(changes, table, expected):
    found = advice([hypothesis(**changes)], table)

    assert (found.advice, found.group, found.expected) == (expected, None, None)


@pytest.mark.parametrize(
    ("asked", "chosen", "optimise", "refuted"),
    [
        ([("H1", "fragile", 1), ("H2", "confirmed", -1)], "H2", "lower", ()),
        ([("H1", "confirmed", -1), ("H2", "confirmed", 1)], "H2", "raise", ()),
        ([("H1", "confirmed", 1), ("H2", "confirmed", 1)], "H1", "raise", ()),
        ([("H1", "fragile", 1), ("H2", "not shown", 1)], "H1", "raise", ()),
        ([("H1", "contradicted", -1), ("H2", "not shown", 1)], None, None, ("H1",)),
    ],
)
def test_the_metric_to_optimise_is_chosen_by_the_stated_rule(asked, chosen, optimise, refuted):
    hypotheses = [hypothesis(verdict, id=name, slope=slope) for name, verdict, slope in asked]

    found = advice(hypotheses)

    assert (found.hypothesis, found.optimise, found.refuted) == (chosen, optimise, refuted)
