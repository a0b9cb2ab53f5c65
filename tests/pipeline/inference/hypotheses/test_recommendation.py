"""Advice follows the groups as measured, and stops where the test of two groups does."""

import json
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from pipeline.core.contracts import OFFLINE_METRICS, Kpi
from pipeline.core.errors import StudyError
from pipeline.experiment.kpis.contracts import DAILY_TOTALS, GROUP_KPIS
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.recommendation import advise
from pipeline.reporting.text.advice import advice_sentence
from pipeline.results.family import Family
from pipeline.results.hypothesis import GroupPoint
from pipeline.results.reasons import Verdict
from pipeline.results.serialization import to_dict
from pipeline.study import AdviceConfig, RegressionConfig
from tests.pipeline.results.samples import headline, hypothesis_result

USERS = 10_000


def hypothesis(verdict="confirmed", **changes):
    points = tuple(
        GroupPoint(
            group=f"g{n}", metric_value=None, x=0.1 * n,
            trials=1, successes=0, rate=None, standard_error=None,
        )
        for n in range(3)
    )  # fmt: skip
    line = headline((1.0, 3.0), intercept=np.log(0.1), margins=(((0.0004, 0.0), (0.0, 0.04)),))
    fitted = {"slope": 2.0, "link": Family.POISSON, "level": 0.95, "headline": line}
    return hypothesis_result(**fitted | {"points": points, "verdict": Verdict(verdict)} | changes)


def rows(kpi, successes, users=USERS, amount=1):
    """Groups g0, g1, … of users with one trial each, of which some have a success of ``amount``."""
    return pl.DataFrame(
        [
            {
                "group": f"g{n}",
                "preference_id": f"p{n}",
                "kpi": kpi,
                "trials": users,
                "successes": amount * y,
                "rate": amount * y / users if users else None,
                "standard_error": None,
                "users": users,
                "sum_mm": users,
                "sum_my": amount * y,
                "sum_yy": amount**2 * y,
            }
            for n, y in enumerate(successes)
        ],
        schema=GROUP_KPIS.schema,
    )


CTR = rows("ctr", (1000, 1200, 1500))


def all_advice(hypotheses, table=CTR, *, missing=None, level=0.95, settings=None, **changes):
    evidence = RegressionInputs(
        pl.DataFrame(schema=OFFLINE_METRICS.schema),
        None,
        table,
        users_unknown=frozenset(missing or ()),
        **changes,
    )
    section = RegressionConfig(level=level, advice=settings or AdviceConfig())
    return advise(hypotheses, evidence, section, missing_columns=missing)


def advice(*args, **named):
    return all_advice(*args, **named)[0]


def z_of(first, second, users=USERS):
    """Of two groups of equal size: users differ with the variance p (1 - p) at the common rate p."""
    p = (first + second) / (2 * users)
    return (first - second) / users / (2 * p * (1 - p) / users) ** 0.5


def test_the_group_to_ship_and_its_change_by_hand():
    found = advice([hypothesis()])

    assert (found.action, found.reason) == ("ship", "better")
    assert (found.group, found.baseline, found.control) == ("g2", "g0", False)
    assert (found.comparisons, found.candidates) == (3, 3)
    assert (found.users, found.events) == (USERS, 2500)
    assert found.expected.measured == pytest.approx(0.5)
    assert found.expected.movement == "increase"
    # a test-based interval: log 1.5 is z standard errors, three pairs at once
    width = stats.t.isf(0.05 / 2 / 3, 2 * USERS - 2) / z_of(1500, 1000)
    ends = [1.5 ** (1 + side * width) - 1 for side in (-1, 1)]
    assert found.expected.measured_interval == pytest.approx(ends)


@pytest.mark.parametrize(("alpha", "action"), [(1.02, "ship"), (0.98, "inconclusive")])
@pytest.mark.parametrize(("control", "comparisons"), [(None, 3), ("g0", 2)])
def test_a_group_ships_if_and_only_if_its_z_exceeds_the_corrected_quantile(
    alpha, action, control, comparisons
):
    p_value = 2 * stats.t.sf(z_of(1090, 1000), 2 * USERS - 2)
    table, level = rows("ctr", (1000, 1040, 1090)), 1 - alpha * comparisons * p_value

    found = advice([hypothesis()], table, level=level, settings=AdviceConfig(control=control))

    assert (found.action, found.comparisons) == (action, comparisons)
    assert (found.control, found.candidates) == (bool(control), 2 if control else 3)


def test_the_expected_change_is_drawn_in_and_the_prior_says_how_much():
    wide, usual = (
        advice([hypothesis()], settings=AdviceConfig(effect_scale=scale)).expected
        for scale in (1.0, 0.05)
    )

    assert 0 < usual.change < wide.change < usual.measured == wide.measured
    low, high = usual.interval
    assert low < usual.change < high


def test_the_predicted_change_by_hand():
    predicted = advice([hypothesis()]).predicted_change

    # log link: the logarithm changes by 2 · 0.2, its margin is 0.2 · 0.2
    assert predicted.change == pytest.approx(np.exp(0.4) - 1)
    assert predicted.interval == pytest.approx([np.exp(0.4 + side * 0.04) - 1 for side in (-1, 1)])


def test_trade_offs_are_the_changes_of_the_other_kpis():
    cvr, orders = (
        hypothesis("inconclusive", id="H2", kpi=Kpi.CVR),
        hypothesis(kpi=Kpi.ORDERS_PER_USER),
    )
    table = pl.concat([CTR, rows("cvr", (500, 500, 501)), rows("orders_per_user", (500, 450, 300))])

    same, lost = advice([hypothesis(), cvr, orders], table).trade_offs

    assert (same.kpi, same.group, same.baseline) == ("cvr", "g2", "g0")
    assert (same.movement, lost.movement) == ("inconclusive", "decrease")
    assert same.measured == pytest.approx(0.002)
    assert same.measured_interval[0] < 0 < same.measured_interval[1]
    assert lost.measured == pytest.approx(-0.4)
    assert lost.measured < lost.change < 0


def test_groups_not_significantly_worse_than_the_best_are_named():
    found = advice([hypothesis()], rows("ctr", (1000, 1490, 1500)))

    assert found.indistinguishable == ("g1",)
    assert {one.baseline for one in found.changes} == {"g0", "g1"}


@pytest.mark.parametrize(
    ("table", "named", "expected"),
    [
        (CTR, {"healthy": False}, ("blocked", "sample_ratio")),
        (rows("ctr", (1000, 1010, 1020)), {}, ("inconclusive", "not_significant")),
        (rows("ctr", (1000, 1500, 2000)), {"settings": AdviceConfig(control="g2")},
         ("inconclusive", "control_leads")),
        (rows("ctr", (0, 1, 9)), {}, ("inconclusive", "few_events")),
        (rows("ctr", (0, 0, 9), users=9), {}, ("inconclusive", "few_users")),
        (rows("ctr", (0, 0, 0)), {}, ("inconclusive", "few_events")),
        (rows("ctr", (0, 0, 0), users=0), {}, ("undefined", "no_trials")),
        (rows("cvr", (1, 2, 3)), {}, ("undefined", "no_counts")),
        (CTR, {"missing": {Kpi.CTR: ["ctr_users"]}}, ("undefined", "users_unknown")),
    ],
)  # fmt: skip
def test_no_group_is_recommended_where_nothing_may_be_concluded(table, named, expected):
    found = advice([hypothesis()], table, **named)

    assert (found.action, found.reason) == expected
    assert (found.group, found.expected) == (None, None)


def test_a_group_without_success_may_lose():
    found = advice([hypothesis()], rows("ctr", (0, 20, 40)))

    assert (found.action, found.group, found.baseline) == ("ship", "g2", "g0")
    assert found.expected is None
    assert "not stated: one of them has too few events" in advice_sentence(found)


@pytest.mark.parametrize(("fewest", "stated"), [(0, False), (4, False), (5, True), (20, True)])
def test_a_gain_over_a_group_of_few_events_is_not_stated(fewest, stated):
    found = advice([hypothesis()], rows("ctr", (fewest, 60, 90)))

    assert found.action == "ship"
    assert (found.expected is not None) is stated
    assert ("Expect +" in advice_sentence(found)) is stated


def test_where_nothing_ships_the_leading_group_is_told_with_its_change():
    leading = advice([hypothesis()], rows("ctr", (1000, 1010, 1020))).leading

    assert (leading.group, leading.baseline, leading.movement) == ("g2", "g0", "inconclusive")
    assert 0 < leading.change < leading.measured == pytest.approx(0.02)


def test_trials_of_unknown_users_are_compared_only_to_say_that_nothing_differs():
    same = advice([hypothesis()], rows("ctr", (1000, 1010, 1020)), missing={Kpi.CTR: ["ctr_users"]})

    # not significant even if they are independent, which is the best case
    assert (same.action, same.leading, same.users) == ("inconclusive", None, None)


@pytest.mark.parametrize("successes", [(100, 100, 100), (100, 150, 300)])
def test_amounts_of_unknown_users_are_never_compared(successes):
    kpi = Kpi.REVENUE_PER_IMPRESSION
    table = rows(kpi, successes, amount=50)

    found = advice([hypothesis(kpi=kpi)], table, missing={kpi: ["sums"]})

    assert (found.action, found.reason) == ("undefined", "users_unknown")
    assert found.missing_columns == ("sums",)


@pytest.mark.parametrize("unit", [1, 100])
def test_amounts_do_not_know_their_currency_unit(unit):
    kpi = Kpi.REVENUE_PER_USER
    found = advice([hypothesis(kpi=kpi)], rows(kpi, (1000, 1200, 1500), amount=7 * unit))

    assert (found.action, found.group) == ("ship", "g2")
    # without orders in the table, at most the number of users who paid: 1000 + 1500
    assert found.events == 2500
    assert found.expected.measured == pytest.approx(0.5)
    assert found.expected.change == pytest.approx(0.486, abs=1e-3)


def test_revenue_of_0_or_less_has_no_relative_change():
    kpi = Kpi.REVENUE_PER_USER

    found = advice([hypothesis(kpi=kpi)], rows(kpi, (-3, 1200, 1500), amount=7))

    assert (found.action, found.reason) == ("undefined", "not_positive")


@pytest.mark.parametrize(("margin", "action"), [(0.02, "no difference"), (0.001, "inconclusive")])
@pytest.mark.parametrize("control", [None, "g1"])
def test_no_difference_needs_a_margin_and_precise_groups(margin, action, control):
    table = rows("ctr", (1_000_000, 1_001_000, 1_002_000), users=10_000_000)

    found = advice([hypothesis()], table, settings=AdviceConfig(margin=margin, control=control))
    without = advice([hypothesis()], table, settings=AdviceConfig(control=control))

    assert (found.action, without.action) == (action, "inconclusive")
    assert found.margin == margin


def test_an_unknown_control_is_refused():
    with pytest.raises(StudyError, match=r"the control 'g9' is not a test group.*g0, g1, g2"):
        advice([hypothesis()], settings=AdviceConfig(control="g9"))


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

    optimise = found.optimise
    assert (optimise and optimise.hypothesis, optimise and optimise.direction) == (
        chosen,
        direction,
    )
    assert found.contradicted == contradicted


@pytest.mark.parametrize(
    ("verdict", "explained"),
    [("confirmed", True), ("contradicted", True), ("inconclusive", False), ("undefined", False)],
)
def test_whether_a_metric_explains_the_difference(verdict, explained):
    assert advice([hypothesis(verdict)]).explained == explained


FIRST = date(2026, 3, 1)


def by_day(clicks_GD, users_a_day):
    """New users with one impression each, day by day, in 100 equal batches; clicks at random."""
    rng, clicks_GD, users = np.random.default_rng(0), np.asarray(clicks_GD), users_a_day // 100
    found = [
        {"group": f"g{group}", "day": FIRST + timedelta(days=day), "batch": batch, "clicks": clicks}
        for group, day in np.ndindex(clicks_GD.shape)
        for batch, clicks in enumerate(
            rng.multinomial(clicks_GD[group, day], [0.01] * 100).tolist()
        )
    ]
    absent = {"orders": 0, "units": 0, "revenue": None, "new_users": users, "impressions": users}
    return pl.DataFrame([one | absent for one in found], schema=DAILY_TOTALS.schema)


def on_day(clicks_GD, planned_days, users_a_day=10_000):
    clicks_GD = np.asarray(clicks_GD)
    table = rows("ctr", clicks_GD.sum(axis=1).tolist(), users=users_a_day * clicks_GD.shape[1])
    days = by_day(clicks_GD, users_a_day)
    return advice([hypothesis()], table, daily_totals=days, planned_days=planned_days)


@pytest.mark.parametrize(
    ("weak", "planned_days", "expected"),
    [
        (False, 3, ("ship", "better")),
        (False, 14, ("ship", "better")),
        (False, 2, ("ship", "better")),
        (True, 3, ("inconclusive", "not_significant")),
        (True, 14, ("wait", "before_planned_end")),
        (True, 2, ("inconclusive", "not_significant")),
    ],
)
def test_before_the_planned_end_only_strong_evidence_ships(weak, planned_days, expected):
    clicks = [[1000] * 3, [1010] * 3, [1020 if weak else 1200] * 3]

    found = on_day(clicks, planned_days)

    assert (found.action, found.reason) == expected


def test_evidence_that_suffices_at_the_planned_end_does_not_suffice_earlier():
    # z = 3.2: the t test at 0.04 / 3 asks for 2.5, the sequential one for more than 4
    clicks = [[1000] * 2, [1010] * 2, [1100] * 2]

    assert on_day(clicks, 2).action == "ship"
    assert on_day(clicks, 14).action == "wait"
    after = on_day([[*row, 1000] for row in clicks], 2)
    assert (after.action, after.users) == ("ship", 30_000)


def random_table(rng):
    """A KPI of 2 to 12 groups with few successes, few users, or none."""
    kpi = rng.choice([Kpi.CTR, Kpi.CVR, Kpi.ORDERS_PER_USER, Kpi.REVENUE_PER_USER])
    groups, users = int(rng.integers(2, 13)), int(rng.choice([0, 1, 3, 30, 3000]))
    trials = np.ones(users, dtype=int) if "user" in kpi else rng.geometric(0.2, users)
    amount = 10 ** int(rng.integers(0, 10)) if kpi == Kpi.REVENUE_PER_USER else 1
    columns = []
    for n in range(groups):
        y = amount * rng.binomial(trials, rng.choice([0.0, 0.001, 0.1, 1.0]))
        sums = {"trials": trials, "successes": y, "sum_mm": trials**2, "sum_my": trials * y}
        found = {
            name: int(one.sum()) for name, one in (sums | {"sum_yy": y.astype(float) ** 2}).items()
        }
        names = {"group": f"g{n}", "preference_id": f"p{n}", "kpi": str(kpi), "users": users}
        columns.append(names | found | {"rate": None, "standard_error": None})
    return Kpi(kpi), pl.DataFrame(columns, schema=GROUP_KPIS.schema | {"sum_yy": pl.Float64})


@pytest.mark.slow
def test_every_small_table_has_an_answer_of_finite_numbers():
    rng = np.random.default_rng(8)
    for _ in range(300):
        kpi, table = random_table(rng)
        control = AdviceConfig(control="g1" if rng.random() < 0.5 else None, margin=0.01)
        unknown = {kpi: ["ctr_users"]} if rng.random() < 0.2 else None

        found = advice(
            [hypothesis("inconclusive", kpi=kpi)], table, settings=control, missing=unknown
        )

        json.dumps(to_dict(found), allow_nan=False)
        assert (found.group is not None) == (found.action == "ship")
        assert found.expected is None or found.action == "ship"
        assert advice_sentence(found)
