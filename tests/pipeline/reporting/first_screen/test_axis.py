"""Bars are where their numbers are, on an axis that includes 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.reporting.first_screen.axis import Axis, Tone

ENDS = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(sorted).map(tuple)


def test_places_are_percent_of_the_width():
    axis = Axis(low=-1.0, high=3.0)

    bar = axis.bar((1.0, 2.0), 1.5, Tone.YES, margin=0.5)

    # (1 + 1) / 4, (2 + 1) / 4, (1.5 + 1) / 4, (0 + 1) / 4, and 0.5 / 4 on both sides of 0
    assert (bar.start, bar.end, bar.estimate, bar.zero) == (50.0, 75.0, 62.5, 25.0)
    assert bar.margin == (12.5, 37.5)
    assert not bar.cut_start
    assert not bar.cut_end


@given(st.lists(ENDS, max_size=6))
def test_every_bar_is_on_the_axis_with_0(intervals):
    axis = Axis.of(intervals)

    assert axis.low < 0.0 < axis.high
    for ends in intervals:
        bar = axis.bar(ends, sum(ends) / 2, Tone.OPEN)
        assert 0.0 <= bar.start <= bar.end <= 100.0
        assert bar.estimate is None or bar.start <= bar.estimate <= bar.end


def test_an_interval_far_longer_than_the_others_is_cut_and_does_not_stretch_the_axis():
    axis = Axis.of([(0.5, 1.0), (-1.0, 0.5), (-80.0, 90.0)])

    # the median reach is 1, so that the axis ends at ±4, with 5% of its length on both sides
    assert (axis.low, axis.high) == (-4.4, 4.4)
    wide = axis.bar((-80.0, 90.0), 5.0, Tone.OPEN)
    assert (wide.start, wide.end, wide.cut_start, wide.cut_end) == (0.0, 100.0, True, True)
    assert wide.estimate is None


def test_an_open_end_has_an_arrow():
    bar = Axis.of([(0.5, None)]).bar((0.5, None), 1.0, Tone.YES)

    assert (bar.end, bar.cut_start, bar.cut_end) == (100.0, False, True)


def test_the_ticks_are_the_outer_round_values():
    assert [one.label for one in Axis(low=-0.52, high=1.1).ticks] == ["−0.5%", "+1.0%"]
    assert [one.label for one in Axis(low=-0.02, high=31).ticks] == ["+30%"]


@given(st.floats(-1e3, -1e-3), st.floats(1e-3, 1e3))
def test_a_tick_is_where_its_label_says(low, high):
    axis = Axis(low=low, high=high)

    for tick in axis.ticks:
        value = float(tick.label.removesuffix("%").replace("−", "-"))
        assert axis.place(value) == pytest.approx(tick.place, abs=0.02)
