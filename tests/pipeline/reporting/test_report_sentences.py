"""A sentence claims what the wider of its intervals allows, and a p-value is never 0."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.reporting.answer import sentence
from pipeline.reporting.words import number, p_value, per_cent
from pipeline.study import PAPER_HYPOTHESES

H1, _, H3, H4 = PAPER_HYPOTHESES


@pytest.mark.parametrize(
    ("slope", "n", "hypothesis", "words"),
    [
        (1.0, 100_000, H1, ["is a positive predictor", "is confirmed: ", "higher click-through"]),
        (-1.0, 100_000, H1, ["is a positive predictor", "is contradicted: ", "lower click"]),
        (-1.0, 100_000, H4, ["is a negative predictor", "is confirmed: ", "lower conversion"]),
        (1.0, 100_000, H4, ["is a negative predictor", "is contradicted: ", "higher conversion"]),
        (1.0, 100, H1, ["is not shown: ", "higher click-through", "0 is within it"]),
        (-1.0, 100, H1, ["is not shown: ", "lower click-through", "0 is within it"]),
    ],
    ids=["confirmed", "contradicted", "negative", "contradicted-negative", "few", "few-lower"],
)
def test_a_sentence_says_what_was_found(estimate, slope, n, hypothesis, words):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = sentence(answer, 20)

    assert [word for word in words if word not in found] == []


@settings(max_examples=40, deadline=None)
@given(slope=st.floats(-3, 3), n=st.integers(100, 200_000), hypothesis=st.sampled_from([H1, H4]))
def test_a_sentence_claims_what_its_interval_allows(estimate, slope, n, hypothesis):
    (answer,) = estimate(slope, n, hypotheses=(hypothesis,))

    found = sentence(answer, 20)

    low, high = answer["verdict_interval"]
    sign = 1 if hypothesis is H1 else -1
    known = answer["few_groups"]
    few = known and [sign * end for end in known["hartung_knapp"]["interval"]]
    claims = {
        "is confirmed": few is not None and min(sign * low, sign * high, *few) > 0,
        "is fragile": min(sign * low, sign * high) > 0 and (few is None or min(few) <= 0),
        "is contradicted": max(sign * low, sign * high) < 0,
        "is not shown": low <= 0 <= high,
    }
    assert {claim for claim in claims if claim in found} == {
        c for c, true in claims.items() if true
    }
    # per cent of the rate, not of the odds: times the share of failures
    points = answer["points"]
    failed = 1 - sum(p["successes"] for p in points) / sum(p["trials"] for p in points)
    change, way = re.search(r"goes with a ([\d.]+) % (\w+)", found).groups()
    ends = [float(end) for end in re.findall(r"([+-][\d.]+) %", found)]
    assert float(change) == pytest.approx(abs(answer["slope"]) * failed, abs=5.1e-3)
    assert way == ("higher" if answer["slope"] > 0 else "lower")
    assert ends == pytest.approx([low * failed, high * failed], abs=5.1e-3)


def test_a_fragile_finding_asks_for_groups_and_one_not_shown_for_trials(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))
    wide = answer | {"verdict": "fragile"}
    (few,) = estimate(1.0, 100, hypotheses=(H1,))

    assert "but 3 groups could lie so by chance. More groups would settle it" in sentence(wide, 20)
    assert f"About {few['trials_to_settle']:,} exposures would settle" in sentence(few, 20)
    # per cent of the rate: times the share of failures
    effect = few["detectable_slope"] * few["rate_elasticity"] / few["slope"]
    assert f"were 300, enough to find one of {effect:.2f} % with a chance of 80 %." in sentence(
        few, 20
    )


def test_a_blocked_finding_says_nothing_of_the_slope(estimate):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,))

    found = sentence(answer | {"verdict": "blocked"}, 20)

    assert found.endswith(
        "is blocked: the users are not divided as planned, so nothing is concluded."
    )
    assert "%" not in found


def test_a_sentence_on_units_speaks_of_what_was_fitted(estimate):
    (answer,) = estimate(-1.0, 100_000, hypotheses=(H3,))

    found = sentence(answer, 20)

    assert "predictor of units per exposure" in found
    assert "% higher sales per exposure" in found


@pytest.mark.parametrize(
    ("level", "words"), [(0.9, "(90 % "), (0.975, "(97.5 % "), (0.999, "(99.9 % ")]
)
def test_a_sentence_states_its_level(estimate, level, words):
    (answer,) = estimate(1.0, 100_000, hypotheses=(H1,), level=level)

    assert words in sentence(answer, 20)


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
    assert (number(0.5), number(-1.26, 1), per_cent(0.123)) == ("0.5000", "-1.3", "12.3 %")
    assert (p_value(None), number(None), per_cent(None)) == ("–", "–", "–")
