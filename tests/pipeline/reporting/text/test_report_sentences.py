"""A sentence claims what the wider of its intervals allows, and a p-value is never 0."""

import re
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.reporting.text.formatting import (
    approximate,
    change,
    change_interval,
    digits_for,
    number,
    p_value,
    percent,
)
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.reasons import Verdict
from pipeline.results.slopes import Change
from pipeline.study import PAPER_HYPOTHESES

H1, _, H3, H4 = PAPER_HYPOTHESES


@pytest.mark.parametrize(
    ("slope", "n", "hypothesis", "words"),
    [
        (1.0, 100_000, H1, ["Recall@20 predicts click-through rate (H1, confirmed)", "% more cl"]),
        (-1.0, 100_000, H1, ["does not predict more click", "(H1, contradicted)", "% less click"]),
        (-1.0, 100_000, H4, ["predicts less post-click", "(H4, confirmed)", "% less post-click"]),
        (1.0, 100_000, H4, ["does not predict less post", "(H4, contradicted)", "% more post"]),
        (
            1.0,
            100,
            H1,
            ["inconclusive whether Recall@20 predicts", "(H1, inconclusive)", "between"],
        ),
    ],
    ids=["confirmed", "contradicted", "negative", "contradicted-negative", "few"],
)
def test_a_sentence_says_what_was_found(estimate, slope, n, hypothesis, words):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = answer_sentence(answer, 20)

    assert [word for word in words if word not in found] == []


@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(slope=st.floats(-3, 3), n=st.integers(100, 200_000), hypothesis=st.sampled_from([H1, H4]))
def test_a_sentence_claims_what_its_interval_allows(estimate, slope, n, hypothesis):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = answer_sentence(answer, 20).replace("−", "-")

    low, high = answer.verdict_test.interval
    sign = 1 if hypothesis is H1 else -1
    known = answer.small_sample
    few = known and [sign * end for end in known.hartung_knapp.interval]
    claims = {
        "confirmed)": few is not None and min(sign * low, sign * high, *few) > 0,
        "suggestive)": min(sign * low, sign * high) > 0 and (few is None or min(few) <= 0),
        "contradicted)": max(sign * low, sign * high) < 0,
        "inconclusive)": low <= 0 <= high,
    }
    assert {claim for claim in claims if claim in found} == {
        c for c, true in claims.items() if true
    }
    # per cent of the rate, not of the odds: times the share of failures
    points = answer.points
    failed = 1 - sum(p.successes for p in points) / sum(p.trials for p in points)
    low, high, change = (failed * of for of in (low, high, answer.slope))
    if "inconclusive)" in found:
        printed = re.search(
            r"between ([+-]?[\d.]+) and ([+-]?[\d.]+)% .*estimate ([+-]?[\d.]+)", found
        )
        ends = (low, high, change)
    else:
        printed = re.search(
            r"associated with ([\d.]+)% (?:more|less) .*CI ([\d.]+) to ([\d.]+)%", found
        )
        assert ("% more" in found.split("associated with")[1]) == (change > 0)
        ends = (abs(change), *sorted((abs(low), abs(high))))
    # one figure of the half-width: the last printed place is no coarser than it
    rounding = 0.51 * 10 ** -len(printed[1].partition(".")[2])
    assert rounding <= 0.51 * max(1, (high - low) / 2)
    for text, end in zip(printed.groups(), ends, strict=True):
        assert float(text) == pytest.approx(end, abs=rounding)


def test_a_suggestive_result_needs_groups_and_an_inconclusive_one_trials(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))
    wide = replace(answer, verdict=Verdict.SUGGESTIVE)
    (few,) = estimate(1.0, 100, hypotheses=(H1,))

    assert (
        "but 3 groups could show this by chance. More groups would resolve it"
        in answer_sentence(wide, 20)
    )
    assert "may predict click-through rate (H1, suggestive)" in answer_sentence(wide, 20)
    assert (
        f"requires about {approximate(few.required_trials)} impressions for 80% power"
        in answer_sentence(few, 20)
    )
    # per cent of the rate: times the share of failures
    effect = few.minimum_detectable_slope * few.rate_elasticity / few.slope
    assert f"were 300, enough to detect {effect:.0f}% with 80% power." in answer_sentence(few, 20)


def test_a_blocked_finding_says_nothing_of_the_slope(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(replace(answer, verdict=Verdict.BLOCKED), 20)

    assert found.endswith(": the sample ratio does not match the plan, so nothing is concluded.")
    assert "%" not in found


def test_an_early_look_says_that_its_interval_holds_on_all_days(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(replace(answer, is_interim=True), 20)

    assert "(anytime-valid 95% CI " in found


def test_a_sentence_on_units_speaks_of_what_was_fitted(estimate):
    (answer,) = estimate(-1.0, 100_000, hypotheses=(H3,))

    found = answer_sentence(answer, 20)

    assert "may predict units per impression" in found
    assert "% more orders per impression" in found


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [
        (0.671, 0.714, 2),  # half-width 0.02
        (59.7, 66.1, 0),  # 3.2
        (-18.2, 16.1, 0),
        (0.3, 9.0, 1),  # 0.3 must not become 0
        (-0.0004, 0.9, 4),  # nor must -0.0004
    ],
)
def test_an_interval_has_the_digits_that_it_is_worth(low, high, digits):
    assert digits_for(low, high) == digits


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (8_561_269, "8.6 million"),
        (515_615, "520 thousand"),
        (1_234_567_890, "1.2 billion"),
        (4_321, "4,300"),
        (99_999, "100 thousand"),
        (300, "300"),
        (0, "0"),
    ],
)
def test_large_counts_have_no_false_precision(count, words):
    assert approximate(count) == words


def test_changes_have_signs_and_the_digits_of_their_interval():
    found = Change(change=0.968, interval=(0.894, 1.043))
    small = Change(change=-0.0004, interval=(-0.0102, 0.0094))

    assert (change(found), change_interval(found)) == ("+97 %", "+89 to +104 %")
    assert (change(small), change_interval(small)) == ("0.0 %", "−1.0 to +0.9 %")


@pytest.mark.parametrize(
    ("level", "words"), [(0.9, "(90% CI "), (0.975, "(97.5% CI "), (0.999, "(99.9% CI ")]
)
def test_a_sentence_states_its_level(estimate, level, words):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,), level=level)

    assert words in answer_sentence(answer, 20)


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (1.0, "1.0000"),
        (0.0174, "0.0174"),
        (1e-4, "0.0001"),
        (9.9e-5, "< 0.0001"),
        (0.0, "< 0.0001"),
    ],
)
def test_p_values_by_hand(p, words):
    assert p_value(p) == words


@settings(deadline=None)
@given(st.floats(0, 1))
def test_a_p_value_is_never_printed_as_0(p):
    printed = float(p_value(p).removeprefix("< "))

    assert printed > 0
    assert printed == pytest.approx(p, abs=5.1e-5) or p < printed == 1e-4


def test_a_number_keeps_its_digits_and_an_absent_one_is_a_dash():
    assert (number(0.5), number(-1.26, 1), percent(0.123)) == ("0.5000", "-1.3", "12.3 %")
    assert (p_value(None), number(None), percent(None)) == ("–", "–", "–")
