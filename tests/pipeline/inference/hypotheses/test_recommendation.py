"""Recommendations follow the groups as measured, and stop where their intervals do."""

from math import comb, exp, hypot, log

import pytest
from scipy import stats

from pipeline.core.contracts import Kpi
from pipeline.inference.hypotheses.recommendation import recommend
from pipeline.results.document import GroupKpi
from pipeline.results.family import Family
from pipeline.results.hypothesis import GroupPoint
from pipeline.results.reasons import Verdict
from tests.pipeline.results.samples import hypothesis_result

PREFERENCES = {f"g{n}": (n / 2, 1 - n / 2) for n in range(3)}


def hypothesis(verdict="confirmed", **changes):
    points = tuple(
        GroupPoint(
            group=f"g{n}", metric_value=None, x=0.1 * n,
            trials=1, successes=0, rate=None, standard_error=None,
        )
        for n in range(3)
    )  # fmt: skip
    line = {"slope": 2.0, "intercept": log(0.1), "link": Family.POISSON, "level": 0.95}
    covariance = ((0.0001, 0.0), (0.0, 0.01))
    return hypothesis_result(
        **line
        | {"points": points, "line_covariance": covariance, "verdict": Verdict(verdict)}
        | changes
    )


def rows(kpi, rates, error=0.001):
    sums = dict.fromkeys(("trials", "successes", "users", "sum_mm", "sum_my", "sum_yy"), 1)
    return [
        GroupKpi(
            kpi=Kpi(kpi), group=f"g{n}", preference_id="p", rate=rate, standard_error=error, **sums
        )
        for n, rate in enumerate(rates)
    ]


CTR = rows("ctr", (0.10, 0.12, 0.15))


def advice(hypotheses, table=CTR, level=0.95):
    return recommend(hypotheses, table, PREFERENCES, level=level)[0]


def test_the_change_from_the_lowest_to_the_best_group_by_hand():
    found = advice([hypothesis()])

    # three pairs at once: 0.95 becomes 1 - 0.05 / 3
    width = stats.norm.ppf(1 - 0.05 / 2 / comb(3, 2)) * hypot(0.001 / 0.15, 0.001 / 0.10)
    assert (found.advice, found.group, found.baseline) == ("ship", "g2", "g0")
    assert found.preference == (1.0, 0.0)
    assert found.expected_change.change == pytest.approx(0.15 / 0.10 - 1)
    ends = [1.5 * exp(side * width) - 1 for side in (-1, 1)]
    assert found.expected_change.interval == pytest.approx(ends)
    assert (found.expected_change.movement, found.comparisons) == ("increase", 3)


def test_the_predicted_change_by_hand():
    predicted = advice([hypothesis()]).predicted_change

    # log link: the logarithm changes by 2 · 0.2, its error is 0.2 · 0.1
    assert predicted.change == pytest.approx(exp(0.4) - 1)
    ends = [exp(0.4 + side * 1.959964 * 0.02) - 1 for side in (-1, 1)]
    assert predicted.interval == pytest.approx(ends, rel=1e-5)


def test_trade_offs_are_the_changes_of_the_other_kpis():
    cvr = hypothesis("inconclusive", id="H2", kpi=Kpi.CVR)
    table = CTR + rows("cvr", (0.05, 0.05, 0.0501))

    (trade,) = advice([hypothesis(), cvr], table).trade_offs

    assert (trade.kpi, trade.group, trade.baseline, trade.movement) == (
        "cvr",
        "g2",
        "g0",
        "inconclusive",
    )
    assert trade.change == pytest.approx(0.002)


def test_groups_not_significantly_worse_than_the_best_are_named():
    found = advice([hypothesis()], rows("ctr", (0.10, 0.149, 0.15)))

    assert found.indistinguishable == ("g1",)
    assert {one.baseline for one in found.changes} == {"g0", "g1"}


@pytest.mark.parametrize(
    ("changes", "table", "expected"),
    [
        ({"verdict": Verdict.BLOCKED}, CTR, "blocked"),
        ({"is_interim": True}, CTR, "wait"),
        ({}, rows("ctr", (0.100, 0.101, 0.102)), "no_difference"),
        ({}, rows("ctr", (0.0, 0.1, 0.2)), "undefined"),
        ({}, rows("ctr", (None, 0.1, 0.2)), "undefined"),
    ],
)
def test_no_group_is_recommended_where_nothing_may_be_concluded(changes, table, expected):
    found = advice([hypothesis(**changes)], table)

    assert (found.advice, found.group, found.expected_change) == (expected, None, None)


@pytest.mark.parametrize(
    ("declared", "chosen", "direction", "contradicted"),
    [
        ([("H1", "suggestive", 1), ("H2", "confirmed", -1)], "H2", "decrease", ()),
        ([("H1", "confirmed", -1), ("H2", "confirmed", 1)], "H2", "increase", ()),
        ([("H1", "confirmed", 1), ("H2", "confirmed", 1)], "H1", "increase", ()),
        ([("H1", "suggestive", 1), ("H2", "inconclusive", 1)], "H1", "increase", ()),
        ([("H1", "contradicted", -1), ("H2", "inconclusive", 1)], None, None, ("H1",)),
    ],
)
def test_the_metric_to_optimise_is_chosen_by_the_stated_rule(
    declared, chosen, direction, contradicted
):
    hypotheses = [hypothesis(verdict, id=name, slope=slope) for name, verdict, slope in declared]

    found = advice(hypotheses)

    assert (found.hypothesis, found.metric_direction) == (chosen, direction)
    assert found.contradicted == contradicted
