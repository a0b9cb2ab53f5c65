"""A sentence claims what the wider of its intervals allows."""

import re
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import Kpi
from pipeline.reporting.text.formatting import approximate
from pipeline.reporting.text.summary import answer_sentence
from pipeline.results.reasons import Verdict
from pipeline.study import PAPER_HYPOTHESES

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


@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(slope=st.floats(-3, 3), n=st.integers(100, 200_000), hypothesis=st.sampled_from([H1, H4]))
def test_a_sentence_claims_what_its_interval_allows(estimate, slope, n, hypothesis):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = answer_sentence(answer, 20).replace("−", "-")

    low, high = answer.verdict_test.interval
    sign = 1 if hypothesis is H1 else -1
    small = answer.small_sample
    ends = small and [sign * end for end in small.hartung_knapp.interval]
    claims = {
        "confirmed)": ends is not None and min(sign * low, sign * high, *ends) > 0,
        "suggestive)": min(sign * low, sign * high) > 0 and (ends is None or min(ends) <= 0),
        "opposite direction)": max(sign * low, sign * high) < 0,
        "inconclusive)": low <= 0 <= high,
    }
    assert {claim for claim in claims if claim in found} == {
        c for c, true in claims.items() if true
    }
    # percent of the rate, not of the odds: times the share of failures
    points = answer.points
    failed = 1 - sum(p.successes for p in points) / sum(p.trials for p in points)
    low, high, change = (failed * of for of in (low, high, answer.slope))
    if "inconclusive)" in found:
        printed = re.search(
            r"change of ([+-]?[\d.]+)% to ([+-]?[\d.]+)% .*estimate ([+-]?[\d.]+)", found
        )
        ends = (low, high, change)
    else:
        printed = re.search(
            r"associated with ([\d.]+)% (?:higher|lower) .*CI ([\d.]+)% to ([\d.]+)%", found
        )
        assert ("% higher" in found.split("associated with")[1]) == (change > 0)
        ends = (abs(change), *sorted((abs(low), abs(high))))
    # one digit of the half-width: the last printed place is no coarser than it
    rounding = 0.51 * 10 ** -len(printed[1].partition(".")[2])
    assert rounding <= 0.51 * max(1, (high - low) / 2)
    for text, end in zip(printed.groups(), ends, strict=True):
        assert float(text) == pytest.approx(end, abs=rounding)


def test_a_suggestive_result_requires_groups_and_an_inconclusive_one_trials(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))
    wide = replace(answer, verdict=Verdict.SUGGESTIVE)
    (few,) = estimate(1.0, 100, hypotheses=(H1,))

    sentence = answer_sentence(wide, 20)
    assert "but with 3 groups this could be chance. More groups would resolve it" in sentence
    assert "may predict click-through rate (H1, suggestive)" in sentence
    sentence = answer_sentence(few, 20)
    assert (
        f"requires about {approximate(few.required_trials)} impressions for 80% power" in sentence
    )
    # percent of the rate: times the share of failures
    effect = few.minimum_detectable_slope * few.rate_elasticity / few.slope
    assert f"were 300, enough to detect {effect:.0f}% with 80% power." in sentence


def test_a_blocked_result_has_no_effect(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(replace(answer, verdict=Verdict.BLOCKED), 20)

    assert found.endswith("are lost (see the diagnostics), so nothing is concluded.")
    assert "%" not in found


def test_an_interim_result_has_the_anytime_valid_interval(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = answer_sentence(replace(answer, is_interim=True), 20)

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
