"""Ages and rates as text."""

import pytest

from pipeline.serving.live.words import age, ago, rates


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 seconds"),
        (1, "1 second"),
        (59.4, "59 seconds"),
        (60, "1 minute"),
        (90, "1.5 minutes"),
        (119.9, "2 minutes"),
        (9038, "2.5 hours"),
        (3599, "60 minutes"),
        (3 * 3600, "3 hours"),
        (86_400, "1 day"),
        (40 * 86_400, "40 days"),
    ],
)
def test_an_age_has_its_largest_unit(seconds, words):
    assert age(seconds) == words


def test_less_than_a_second_ago_is_just_now():
    assert (ago(0.5), ago(2)) == ("just now", "2 seconds ago")


@pytest.mark.parametrize(
    ("kpi", "values", "words"),
    [
        ("ctr", (0.1797, 0.163, 0.196), ["18.0%", "16.3%", "19.6%"]),
        ("cvr", (0.01, 0.009, 0.011), ["1.00%", "0.90%", "1.10%"]),
        ("units_per_impression", (0.0512, 0.0486, 0.0538), ["0.0512", "0.0486", "0.0538"]),
        ("another", (3.0, 2.0, 4.2), ["3.0", "2.0", "4.2"]),
    ],
)
def test_rates_have_two_digits_of_their_half_width(kpi, values, words):
    assert rates(kpi, values, values[1], values[2]) == words
