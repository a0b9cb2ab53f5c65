"""Advice in words: the group to ship with its expected change, or the reason why none ships."""

from dataclasses import replace

import polars as pl
import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.reporting.text.advice import advice_sentence
from pipeline.results.decisions import Advice, KpiChange
from pipeline.results.reasons import Action, AdviceReason, Movement
from pipeline.study import AdviceConfig


def advice_on(columns, *texts, **settings):
    hypotheses = [parse_hypothesis(text, number) for number, text in enumerate(texts, start=1)]
    found = fit_counts(
        pl.DataFrame(columns), hypotheses, level=0.95, seed=0, advice=AdviceConfig(**settings)
    )
    return found.advice


SMALL = {
    "group": ["g1", "g2", "g3"],
    "impressions": [300] * 3,
    "clicks": [27, 36, 42],
    "recall@20": [0.40, 0.42, 0.44],
}


def test_a_small_table_is_inconclusive_and_no_group_is_advised():
    (found,) = advice_on(SMALL)

    assert (found.action, found.group) == ("inconclusive", None)
    assert advice_sentence(found) == (
        "Click-through rate: no recommendation: inconclusive; no group is significantly better than "
        "g1, the group with the lowest value, even if the trials of a user are independent."
    )


def test_significant_counts_without_users_name_the_columns_and_the_flag():
    (found,) = advice_on(SMALL | {"clicks": [27, 36, 90]})

    assert (found.action, found.group) == ("undefined", None)
    assert advice_sentence(found) == (
        "Click-through rate: no recommendation: the correlation of a user's trials is unknown without "
        "sums over users. Add the columns ctr_users, ctr_sum_mm, ctr_sum_my, ctr_sum_yy, or confirm "
        "with --one-trial-per-user that no user has more than one impression."
    )


def test_users_with_one_trial_each_need_no_sums():
    (found,) = advice_on(SMALL | {"clicks": [27, 36, 90], "users": [300] * 3})

    assert (found.action, found.group) == ("ship", "g3")


@pytest.mark.parametrize("unit", [1, 100])
def test_revenue_without_sums_has_the_same_words_in_any_currency_unit(unit):
    columns = {
        "group": [f"g{n}" for n in range(1, 6)],
        "impressions": [100_000] * 5,
        "clicks": [10_000, 10_100, 10_150, 10_250, 10_300],
        "orders": [300, 310, 305, 315, 312],
        "revenue": [unit * amount for amount in (15_100, 16_900, 15_700, 17_600, 16_900)],
        "recall@20": [0.40, 0.41, 0.42, 0.43, 0.44],
    }

    (found,) = advice_on(columns, "recall@20:revenue_per_impression:+")

    sums = ", ".join(f"revenue_per_impression_{n}" for n in ("users", "sum_mm", "sum_my", "sum_yy"))
    assert found.action == "undefined"
    assert advice_sentence(found) == (
        "Revenue per impression: no recommendation: the error of this KPI is unknown without sums over "
        f"users. Add the columns {sums}."
    )


def test_a_sample_ratio_mismatch_blocks():
    columns = {
        "group": ["a", "b", "c"],
        "impressions": [0, 9000, 8000],
        "clicks": [0, 200, 300],
        "users": [0, 9000, 9000],
        "share": [1, 1, 1],
        "auc": [0.6, 0.7, 0.8],
    }

    (found,) = advice_on(columns, "auc:ctr:+")

    assert (found.action, found.group) == ("blocked", None)
    assert advice_sentence(found) == (
        "Click-through rate: keep the current group and find the cause of the sample ratio mismatch."
    )


def change(**changes):
    values = {"kpi": Kpi.CTR, "group": "g3", "baseline": "g1", "movement": Movement.INCREASE}
    ends = {"change": 0.08, "interval": (0.02, 0.14), "measured": 0.18}
    return KpiChange(**values | ends | {"measured_interval": (0.06, 0.31)} | changes)


SHIP = Advice(
    kpi=Kpi.CTR,
    action=Action.SHIP,
    reason=AdviceReason.BETTER,
    group="g3",
    baseline="g1",
    expected=change(),
    explained=True,
    comparisons=10,
    candidates=5,
)


def test_the_expected_change_tells_the_measured_one_and_why_they_differ():
    assert advice_sentence(SHIP) == (
        "Click-through rate: ship g3. Expect +8% (+2% to +14%; measured +18%, drawn in because the best "
        "of 5 was picked) against g1, the group with the lowest value."
    )


def test_of_two_groups_none_was_picked():
    found = replace(SHIP, control=True, candidates=1)

    assert advice_sentence(found).endswith(
        "drawn in because significant changes are overstated on average) against g1, the control."
    )


def test_a_group_that_no_metric_explains_is_said_to_be():
    found = replace(SHIP, explained=False, indistinguishable=("g2",))

    assert advice_sentence(found).startswith(
        "Click-through rate: ship g3; it is better than g1 as measured; no confirmed metric explains "
        "the difference; the difference from g2 is inconclusive. Expect "
    )


def test_a_control_of_that_name_is_not_named_twice():
    named = replace(SHIP, baseline="control", control=True)

    assert advice_sentence(named).count("control") == 1
    assert "against control." in advice_sentence(named)
    assert "against g1, the control." in advice_sentence(replace(named, baseline="g1"))


def test_trade_offs_that_are_inconclusive_show_the_interval_as_measured():
    lost = change(kpi=Kpi.CVR, change=-0.03, interval=(-0.05, -0.01), measured=-0.04,
                  measured_interval=(-0.07, -0.01), movement=Movement.DECREASE)  # fmt: skip
    same = change(kpi=Kpi.UNITS_PER_USER, movement=Movement.INCONCLUSIVE,
                  measured=0.0, measured_interval=(-0.03, 0.04))  # fmt: skip

    found = advice_sentence(replace(SHIP, trade_offs=(lost, same)))

    assert found.endswith(
        "Trade-offs: post-click conversion rate −3% (−5% to −1%); units per user inconclusive (−3% to "
        "+4%)."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": AdviceReason.WITHIN_MARGIN, "action": Action.NO_DIFFERENCE, "margin": 0.01},
         "no difference: the click-through rate of all groups is within 1% of each other"),
        ({"reason": AdviceReason.FEW_USERS, "users": 7}, "has only 7 users with a trial, 10 are"),
        ({"reason": AdviceReason.FEW_EVENTS, "events": 3}, "have only 3 events, 10 are required"),
        ({"reason": AdviceReason.BEFORE_PLANNED_END, "action": Action.WAIT}, "planned end"),
        ({"reason": AdviceReason.CONTROL_LEADS, "control": True}, "no group has a higher click-"),
        ({"reason": AdviceReason.NO_COUNTS}, "the KPI is not counted"),
        ({"reason": AdviceReason.NO_TRIALS}, "a group has no trials"),
        ({"reason": AdviceReason.NOT_POSITIVE}, "the revenue of a group is 0 or less"),
    ],
)  # fmt: skip
def test_every_reason_has_its_words(changes, words):
    bare = Advice(
        kpi=Kpi.CTR, action=Action.INCONCLUSIVE, reason=AdviceReason.NO_COUNTS, baseline="g1"
    )

    found = advice_sentence(replace(bare, **changes))

    assert words in found
    assert "None" not in found
