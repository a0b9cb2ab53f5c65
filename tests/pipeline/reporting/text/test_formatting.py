"""Numbers have the digits they are worth, and a p-value is never 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reporting.text.formatting import (
    approximate,
    change,
    change_interval,
    digits_for,
    effect,
    interval,
    number,
    p_statement,
    p_value,
    percent,
    plain,
    rate,
)
from pipeline.results.hypothesis import Elasticity
from pipeline.results.slopes import Change


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
def test_an_interval_has_one_digit_of_its_half_width(low, high, digits):
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

    assert (change(found), change_interval(found)) == ("+97%", "+89% to +104%")
    assert (change(small), change_interval(small)) == ("0.0%", "−1.0% to +0.9%")


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


@given(st.floats(0, 1))
def test_a_p_value_is_never_printed_as_0(p):
    printed = float(p_value(p).removeprefix("< "))

    assert printed > 0
    assert printed == pytest.approx(p, abs=5.1e-5) or p < printed == 1e-4


def test_a_number_keeps_its_digits_and_an_absent_one_is_a_dash():
    assert (number(0.5), number(-1.26, 1), percent(0.123)) == ("0.5000", "−1.3", "12.3%")
    assert (p_value(None), number(None), percent(None)) == ("–", "–", "–")


def test_intervals_and_p_values_in_sentences():
    assert interval((0.1, -0.25)) == "0.100 to −0.250"
    assert (p_statement(0.0174), p_statement(1e-9)) == ("p = 0.0174", "p < 0.0001")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), ("a", "a"), (True, "true"), (1234, "1,234"), (0.1 + 0.2, "0.3"), ([1], "[1]")],
)
def test_parameters_are_written_as_in_json(value, text):
    assert plain(value) == text


@pytest.mark.parametrize(
    ("value", "error", "kpi", "words"),
    [
        (0.23847, 0.0018, "ctr", "23.8% ± 0.2%"),
        (0.00156, 0.00012, "orders_per_impression", "0.16% ± 0.01%"),
        (3.17427, 0.04007, "clicks_per_user", "3.17 ± 0.04"),
        (0.5, None, "ctr", "50%"),
        (None, None, "ctr", "–"),
    ],
)
def test_a_kpi_has_the_digits_of_its_error(value, error, kpi, words):
    assert rate(value, error, kpi) == words


@pytest.mark.parametrize(
    ("estimate", "interval", "words"),
    [
        (0.6954, (0.6255, 0.7681), "+0.70%"),
        (0.1757, (-1.5564, 2.1546), "+0.2%"),
        (-0.002, (-0.024, 0.023), "0.00%"),
        (31.2, (-40.0, 99.0), "+31%"),
        (1.0, (0.5, None), "+1.0%"),
        (2.34, (-18.2, 16.1), "+2.3%"),  # half-width 17, but below 10% at least one decimal
    ],
)
def test_an_effect_has_the_digits_of_its_interval(estimate, interval, words):
    found = Elasticity(
        estimate=estimate, interval=interval, minimum_detectable=1.0, minimum_detectable_change=None
    )

    assert effect(found) == words
