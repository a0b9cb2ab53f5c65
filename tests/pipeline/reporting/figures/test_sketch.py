"""Small figures that Dagster shows without a click: fewer than 1,000 characters of Markdown."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from pipeline.reporting.figures.sketch import intervals_sketch, points_sketch, shown_whole

PLACE = re.compile(r"(-?\d+) (-?\d+)")


def paths(markdown):
    """The data of the figure's paths, back to front."""
    found = re.fullmatch(r"!\[(.+)\]\(data:image/svg\+xml,(\S+)\)", markdown)
    assert found, markdown
    figure = ET.fromstring(unquote(found[2]))
    return [one.attrib["d"] for one in figure]


def test_intervals_share_an_axis_with_a_line_at_0():
    text = intervals_sketch([(-1.0, 1.0, 3.0), (1.0, 2.0, 3.0)], "slopes")

    zero, bars, dots = paths(text)
    # from -1 to 3 on 284 pixels right of a margin of 8: a pixel is 4 / 284
    assert zero.startswith("M79 0")
    assert bars == "M8 15H292M150 29H292"
    assert dots == "M150 15h0M221 29h0"


def test_points_rise_upwards():
    line, dots = paths(points_sketch([(0.0, 1.0), (1.0, 2.0)], "front"))

    assert line == "M8 82L292 8"
    assert dots == "M8 82h0M292 8h0"


def test_many_marks_still_fit():
    many = [(0.123 * n, -0.456 * n) for n in range(1000)]

    assert len(points_sketch(many, "the Pareto front") or "") < 1000
    assert len(intervals_sketch([(-9.0, 0.1, 9.0)] * 50, "lifts") or "") < 1000


def test_nothing_to_show_is_no_picture():
    assert intervals_sketch([], "slopes") is None
    assert intervals_sketch([(float("nan"), 1.0, 2.0)], "slopes") is None
    assert points_sketch([], "front") is None
    assert paths(points_sketch([(1.0, 1.0)], "front"))


def test_sentences_beyond_the_limit_are_counted():
    assert shown_whole(["a", "b"]) == "- a\n- b"
    text = shown_whole(["word " * 50] * 10)
    assert len(text) < 1000
    assert text.endswith("- 7 more: see summary")
