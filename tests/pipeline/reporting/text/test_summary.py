"""A sentence claims what the wider of its intervals allows."""

import re
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import Kpi
from pipeline.reporting.text.formatting import approximate
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.reasons import Reading, Verdict
from pipeline.study import PAPER_HYPOTHESES
from tests.pipeline.reporting.truths import TWO, report_of

H1, _, H3, H4 = PAPER_HYPOTHESES
OPPOSITE = "significant in the opposite direction)"


@pytest.mark.parametrize(
    ("slope", "n", "hypothesis", "words"),
    [
        (
            1.0,
            100_000,
            H1,
            ["Recall@20 predicts click-through rate (H1, confirmed)", "% higher cl"],
        ),
        (-1.0, 100_000, H1, ["does not predict higher click", OPPOSITE, "% lower click"]),
        (-1.0, 100_000, H4, ["predicts lower post-click", "(H4, confirmed)", "% lower post-click"]),
        (1.0, 100_000, H4, ["does not predict lower post", OPPOSITE, "% higher post"]),
        (
            1.0,
            100,
            H1,
            ["It is inconclusive whether Recall@20 predicts", "(H1, inconclusive)", "a change of"],
        ),
    ],
    ids=["confirmed", "contradicted", "negative", "contradicted-negative", "few"],
)
def test_a_sentence_has_the_verdict_and_the_effect(estimate, slope, n, hypothesis, words):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = answer_sentence(answer, 20)

    assert [word for word in words if word not in found] == []


@pytest.mark.slow
@settings(max_examples=30, phases=[Phase.explicit, Phase.generate])
@given(slope=st.floats(-3, 3), n=st.integers(100, 200_000), hypothesis=st.sampled_from([H1, H4]))
def test_a_sentence_claims_what_its_interval_allows(estimate, slope, n, hypothesis):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = answer_sentence(answer, 20).replace("−", "-")

    p_value, (low, high) = answer.headline.p_value, answer.headline.interval
    declared = (answer.headline.slope > 0) == (hypothesis is H1)
    claims = {
        "confirmed)": p_value < 0.05 and declared,
        "suggestive)": 0.05 <= p_value < 0.1 and declared,
        "suggestive of the opposite)": 0.05 <= p_value < 0.1 and not declared,
        "opposite direction)": p_value < 0.05 and not declared,
        "inconclusive)": p_value >= 0.1,
    }
    assert {claim for claim in claims if claim in found} == {
        c for c, true in claims.items() if true
    }
    # percent of the rate, not of the odds: times the share of failures
    points = answer.points
    failed = 1 - sum(p.successes for p in points) / sum(p.trials for p in points)
    low, high, change = (failed * of for of in (low, high, answer.headline.slope))
    if "inconclusive)" in found:
        printed = re.search(
            r"change of ([+-]?[\d.]+)% to ([+-]?[\d.]+)% .*estimate ([+-]?[\d.]+)", found
        )
        ends = (low, high, change)
    else:
        printed = re.search(
            r"associated with ([\d.]+)% (?:higher|lower) .*CI (-?[\d.]+)% to ([\d.]+)%", found
        )
        assert ("% higher" in found.split("associated with")[1]) == (change > 0)
        ends = (abs(change), *((low, high) if change > 0 else (-high, -low)))
    # one digit of the half-width: the last printed place is no coarser than it
    rounding = 0.51 * 10 ** -len(printed[1].partition(".")[2])
    assert rounding <= 0.51 * max(1, (high - low) / 2)
    for text, end in zip(printed.groups(), ends, strict=True):
        assert float(text) == pytest.approx(end, abs=rounding)


def with_headline(answer, **changes):
    return replace(answer, headline=replace(answer.headline, **changes))


def test_a_suggestive_result_says_what_would_resolve_it(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))
    suggestive = replace(answer, verdict=Verdict.SUGGESTIVE)
    users = with_headline(suggestive, users_interval=(-0.1, 1.0), p_value=0.07)
    groups = with_headline(suggestive, users_interval=(0.1, 1.0), p_value=0.07, tau=0.03)
    on_the_line = with_headline(suggestive, users_interval=(0.1, 1.0), p_value=0.07, tau=0.0)

    assert "may predict click-through rate (H1, suggestive)" in answer_sentence(users, 20)
    assert answer_sentence(users, 20).endswith("but this could be chance (p = 0.0700).")
    assert "More groups would resolve it, more users would not." in answer_sentence(groups, 20)
    assert "More groups" not in answer_sentence(on_the_line, 20)


def test_the_opposite_is_suggested_in_the_same_words(estimate):
    (answer,) = estimate(-1.0, 100_000, hypotheses=(H1,))
    opposite = replace(answer, verdict=Verdict.SUGGESTIVE_OPPOSITE)

    found = answer_sentence(opposite, 20)

    assert (
        "may predict lower click-through rate, not higher, as declared (H1, suggestive of the "
        "opposite)"
    ) in found


def test_an_inconclusive_result_says_what_would_resolve_it(estimate):
    (few,) = estimate(1.0, 100, hypotheses=(H1,))
    scattered = with_headline(few, users_interval=(0.1, 1.0), tau=0.03)

    sentence = answer_sentence(few, 20)

    assert (
        f"requires about {approximate(few.required_trials)} impressions for 80% power" in sentence
    )
    # percent of the rate: times the share of failures
    effect = few.minimum_detectable_slope * few.rate_elasticity / few.slope
    assert f"were 300, enough to detect {effect:.0f}% with 80% power." in sentence
    assert (
        "The users of these groups differ, but the groups deviate from the line as much: other "
        "preferences may show nothing."
    ) in answer_sentence(scattered, 20)


def test_a_sentence_says_what_its_interval_is_for(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    assert "%, for a new group like these)" in answer_sentence(answer, 20)


def test_two_groups_have_a_change_of_the_kpi_and_no_interval_of_a_slope(tmp_path):
    clicks, orders, *_ = report_of(TWO, (), tmp_path).hypotheses

    first, second = answer_sentence(clicks, 20), answer_sentence(orders, 20)

    assert clicks.headline.interval is None
    assert first.startswith(
        "Recall@20 may predict click-through rate (H1, suggestive): B has 10.0% higher Recall@20 than "
        "A, and 9.0% higher click-through rate (p < 0.0001, for the users alone). The slope is "
        "undefined with 2 groups"
    )
    # 500 / 10,000 against 470 / 10,900, and 0.08 against 0.07
    assert "A has 14.3% higher OD@20 than B, and 16.0% higher post-click" in second
    assert "CI" not in first + second


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((0.5, None), "CI from 0.5%, without an upper limit, for"),
        ((None, 1.5), "CI up to 1.5%, without a lower limit, for"),
    ],
)
def test_an_end_without_a_limit_is_said(estimate, ends, words):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))
    size = replace(answer.elasticity, estimate=1.0, interval=ends)

    assert words in answer_sentence(replace(answer, elasticity=size), 20)


def test_days_that_contradict_each_other_conclude_nothing(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(with_headline(answer, conflicting=True), 20)

    assert "significant in opposite directions on different days" in found


def test_too_few_events_are_counted(estimate):
    (answer,) = estimate(0.0, 6, hypotheses=(H1,))

    successes = sum(point.successes for point in answer.points)
    assert answer.undefined_reason == "few_successes"
    assert f"only {successes} click" in answer_sentence(answer, 20)
    assert answer_sentence(answer, 20).endswith("in all groups; a CI requires 5.")


def test_a_blocked_result_has_no_effect(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(replace(answer, verdict=Verdict.BLOCKED), 20)

    assert found.endswith("are lost (see the diagnostics), so nothing is concluded.")
    assert "%" not in found


def test_an_interim_result_has_the_anytime_valid_interval(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(with_headline(answer, reading=Reading.EARLY_LOOK), 20)

    assert "(anytime-valid 95% CI " in found


def test_a_sentence_on_units_has_the_effect_on_the_fitted_kpi(estimate):
    (answer,) = estimate(-1.0, 100_000, hypotheses=(replace(H3, kpi=Kpi.UNITS_PER_IMPRESSION),))

    found = answer_sentence(answer, 20)

    assert "may predict units per impression" in found
    assert "% higher orders per impression" in found


@pytest.mark.parametrize(
    ("level", "words"), [(0.9, "(90% CI"), (0.975, "(97.5% CI"), (0.999, "(99.9% CI")]
)
def test_a_sentence_has_the_level(estimate, level, words):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,), level=level)

    assert words in answer_sentence(answer, 20)
