"""What became of an impression, case by case."""

import pytest

from pipeline.monitoring.following.outcomes import Event, Totals, Windows, totals_of

WINDOWS = Windows(attribution=100, tolerance=5)
SHOWN = 1000


def click(ts):
    return Event(ts)


def order(ts, units=2, revenue=30, event=None):
    return Event(ts, units, revenue, event)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], Totals(1)),
        ([click(1000)], Totals(1, 1)),
        ([click(1100)], Totals(1, 1)),
        ([click(1101)], Totals(1)),  # a millisecond after the window
        ([click(995)], Totals(1, 1)),  # within the tolerance
        ([click(994)], Totals(1)),
        ([click(1010), click(1020)], Totals(1, 1)),  # clicks of one list count once
        ([click(1090), order(1190)], Totals(1, 1, 1, 2, 30)),  # 100 after the click
        ([click(1090), order(1191)], Totals(1, 1)),
        ([click(1010), click(1090), order(1150)], Totals(1, 1)),  # 140 after the first click
        ([order(1050)], Totals(1, orders_without_click=1)),
        ([order(1101)], Totals(1)),  # a millisecond after the window of the list
        ([order(1050), order(1060)], Totals(1, orders_without_click=1)),
        ([order(1050), click(1101)], Totals(1)),  # its click came late, but is not lost
        ([order(1050), click(1040)], Totals(1, 1, 1, 2, 30)),  # written in the other order
        ([click(1050), order(1044)], Totals(1, 1)),  # before the click
        ([click(1010), order(1020), order(1020)], Totals(1, 1, 1, 2, 30)),  # the same order
        ([click(1010), order(1020), order(1021, 1, None)], Totals(1, 1, 1, 3, 30)),
        # sent again: the earliest that counts
        ([click(1010), order(1030, 3, 30, "o"), order(1020, 2, 30, "o")], Totals(1, 1, 1, 2, 30)),
        ([click(1010), order(1004, 3, 30, "o"), order(1020, 2, 30, "o")], Totals(1, 1, 1, 2, 30)),
        ([click(1010), order(1020, event="o"), order(1020, event="p")], Totals(1, 1, 1, 4, 60)),
    ],
)
def test_totals_of_an_impression(events, expected):
    assert totals_of(SHOWN, events, WINDOWS) == expected


def test_totals_do_not_depend_on_the_order_in_which_events_are_logged():
    events = [click(1030), order(1100), click(1010), order(1105, 1), click(1200)]

    assert totals_of(SHOWN, events, WINDOWS) == totals_of(SHOWN, events[::-1], WINDOWS)
    assert totals_of(SHOWN, events[1:2], WINDOWS).orders_without_click == 1  # until a click is read
