"""The sentences on past tests: a negative slope, no slope, few tests, one faulty test."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest
from scipy import stats

import paretoscope as ps
from pipeline.reporting.text.launches import rule_name


def past(slope, tests, *, seed=8):
    """Past tests whose lift is ``slope`` of ``recall``, and 0 of ``novelty``."""
    rng = np.random.default_rng(seed)
    recall, novelty, errors = rng.normal(0, 0.02, (3, tests))
    return pl.DataFrame(
        {
            "test": [f"t{n}" for n in range(tests)],
            "novelty": novelty,
            "novelty_se": [0.002] * tests,
            "recall": recall,
            "recall_se": [0.002] * tests,
            "ctr_lift": slope * recall + 0.15 * errors,
            "ctr_lift_se": [0.003] * tests,
        }
    )


@cache
def analysed(slope, tests):
    return ps.past_tests(past(slope, tests))


def sentence(found, words):
    (one,) = (one for one in found.notes() if words in one)
    return one


@pytest.mark.slow
def test_a_negative_slope_is_advice_to_launch_the_lower_value():
    table = past(-0.8, 12)
    found = analysed(-0.8, 12)

    opposite = int((table["recall"] * table["ctr_lift"] < 0).sum())
    up, rose = (table[name] > 0 for name in ("recall", "ctr_lift"))
    signs = [[(up & rose).sum(), (up & ~rose).sum()], [(~up & rose).sum(), (~up & ~rose).sum()]]
    p = stats.fisher_exact(signs).pvalue
    assert p < 0.05
    words = f"signs were opposite in {opposite} of 12"
    assert f"p = {p:.4f})." in sentence(found, words).partition(words)[2]
    (rule,) = (one for one in found.document.launches[0].rules if one.metric == "recall")
    assert rule.lower == 12
    assert rule.right >= 10
    assert sentence(found, "Launching").startswith(
        "Launching the variant with the lower recall would have chosen the right variant in "
        f"{rule.right} of 12 tests"
    )
    assert rule_name(rule, found.document.launches[0], str) == "the lower recall"


@pytest.mark.slow
def test_a_positive_slope_is_advice_to_launch_the_higher_value():
    up = analysed(0.8, 12)

    assert sentence(up, "Launching").startswith("Launching by recall would have chosen")
    assert "signs agreed in " in sentence(up, "recall predicts ctr_lift")
    (rule,) = (one for one in up.document.launches[0].rules if one.metric == "recall")
    assert rule.lower == 0
    assert rule_name(rule, up.document.launches[0], str) == "recall"
    mixed = replace(rule, lower=5)
    assert "(the lower value in 5 of 12 tests" in rule_name(mixed, up.document.launches[0], str)


@pytest.mark.slow
def test_that_nothing_is_significant_comes_before_the_best_metric():
    found = ps.past_tests(past(0.0, 12, seed=20))

    assert found.proxies[0].probability_of_best
    assert all(one.line.p_value > 0.05 for one in found.proxies)
    first, second, *_ = found.notes()

    best = found.proxies[0].metric
    assert first.startswith(f"{best} does not significantly predict ctr_lift")
    assert second.startswith(f"If ctr_lift follows one of the 2 metrics at all, it is {best} with")
    assert not any("follows" in one and "best" in one for one in found.notes())


@pytest.mark.slow
@pytest.mark.parametrize(("tests", "few"), [(2, True), (3, True), (9, True), (10, False)])
def test_few_tests_are_said_to_be_few(tests, few):
    words = f"{tests} tests are few: this is a first indication"

    assert any(one.startswith(words) for one in analysed(0.8, tests).notes()) is few


def test_metrics_that_are_not_ranked_are_spoken_of_by_the_clearest_slope():
    """The table has novelty first; three tests are too few for a ranking."""
    found = analysed(0.8, 3)

    assert [one.metric for one in found.proxies] == ["novelty", "recall"]
    assert not any("novelty" in one for one in found.notes())
    assert sentence(found, "recall predicts ctr_lift: slope")


@pytest.mark.slow
def test_one_faulty_test_that_hides_the_answer_is_named():
    faulty = pl.when(pl.col("test") == "t2").then(-9.0).otherwise("ctr_lift")

    found = ps.past_tests(past(0.8, 12).with_columns(ctr_lift=faulty))

    (slope,) = (one.without.slope for one in found.proxies if one.metric == "recall")
    assert slope == pytest.approx(0.8, abs=0.15)
    assert all(one.line.p_value > 0.05 for one in found.proxies)
    assert sentence(found, "Without t2") == (
        f"Without t2 the slope of recall is significant ({slope:.3g}, p < 0.0001): the answer rests on "
        "this one test, so check its data."
    )
    assert not any(one.startswith("Without") for one in analysed(0.0, 12).notes())
