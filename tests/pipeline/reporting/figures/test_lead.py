"""Figure 1 in small has the groups at their values, and names the first and the last."""

from dataclasses import replace

import pytest
from matplotlib.container import ErrorbarContainer

from pipeline.reporting.figures.lead import lead_figure

HOSTILE = "$x_1$ {0}"


def test_points_are_at_their_changes(whole_report):
    one = whole_report.hypotheses[0]

    (ax,) = lead_figure(one, "CTR", 20).axes

    found = [tuple(box.lines[0].get_xydata()[0]) for box in ax.containers]
    assert all(isinstance(box, ErrorbarContainer) for box in ax.containers)
    assert found == [
        (pytest.approx(100 * p.x), pytest.approx(100 * p.kpi_change, abs=1e-9)) for p in one.points
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Recall@20", "CTR")
    assert [text.get_text() for text in ax.texts] == ["g1", "g3"]


def test_names_stay_text_and_long_ones_are_left_out(whole_report):
    one = whole_report.hypotheses[0]
    first, *others, last = one.points
    points = (replace(first, group=HOSTILE), *others, replace(last, group="x" * 40))

    (ax,) = lead_figure(replace(one, points=points, metric="m" * 90), "CTR", None).axes

    (name,) = ax.texts
    assert (name.get_text(), name.get_parse_math()) == (HOSTILE, False)
    assert len(ax.get_xlabel()) < 40


def test_a_group_without_success_has_no_relative_change(whole_report):
    one = whole_report.hypotheses[0]
    first, *others = one.points
    points = (replace(first, rate=0.0, successes=0), *others)

    (ax,) = lead_figure(replace(one, points=points), "CTR", 20).axes

    # the others are relative to the lowest of those with a success
    assert len(ax.containers) == 2


def test_a_band_without_a_limit_goes_beyond_the_axes(whole_report):
    one = whole_report.hypotheses[0]
    band = tuple(replace(point, high=point.rate * 1e40) for point in one.band)

    (ax,) = lead_figure(replace(one, band=band), "CTR", 20).axes

    lowest, highest = ax.get_ylim()
    assert -1e4 < lowest < highest < 1e4
    assert all(lowest < 100 * point.kpi_change < highest for point in one.points)
