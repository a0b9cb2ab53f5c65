"""The data card has the numbers of the profile, as text and as a figure."""

import re
from copy import deepcopy
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from pipeline.reporting.figures.data_card import data_card_figure
from pipeline.reporting.figures.svg import as_svg
from pipeline.reporting.text.data_card import data_card_markdown

SVG = "{http://www.w3.org/2000/svg}text"


@pytest.fixture
def profile(card):
    return deepcopy(card[0])


def _tables(markdown):
    """The rows of each table, without its rule."""
    blocks = [part.splitlines() for part in markdown.split("\n\n") if part.startswith("|")]
    return [
        [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in block
            if "---" not in line
        ]
        for block in blocks
    ]


def test_tables_have_rejected_rows_dropped_rows_splits_and_popularity(card):
    rejected, dropped, splits, popular = _tables(data_card_markdown(*card))

    # 18 events: 15 clicks and 3 orders
    assert rejected[1:] == [["not a row of this format", "1", f"{100 / 19:.2f}%"]]
    assert ["clicks on unknown items", "1", f"{100 / 15:.1f}%"] in dropped
    assert ["sessions too short without unknown items", "1", f"{100 / 6:.1f}%"] in dropped
    assert ["", "train", "validation", "test"] in splits
    assert ["last day (UTC)", "2022-08-01", "2022-08-03", "2022-08-04"] in splits
    assert ["clicks", "5", "2", "6"] in splits
    assert ["conversion: share of clicks with an order", "40.0%", "50.0%", "16.7%"] in splits
    assert ["50%", "2", f"{100 * 4 / 5:.1f}%"] in popular


def test_tables_are_rectangular_and_headings_have_blank_lines_around(card):
    markdown = data_card_markdown(*card)

    assert all(len({len(row) for row in table}) == 1 for table in _tables(markdown))
    lines = markdown.splitlines()
    for number, line in enumerate(lines[1:], start=1):
        if line.startswith("#"):
            assert lines[number - 1] == lines[number + 1] == ""
    assert not re.search(r"\b(None|nan|inf|Undefined)\b", markdown)


def test_drift_has_its_distribution_by_chance_and_its_interval(card, profile):
    markdown = data_card_markdown(*card)

    drift, change = profile["drift"], profile["drift"]["conversion"]
    for name in ("length_distance", "item_distance"):
        chance = drift[name]["by_chance"]
        assert (
            f"{drift[name]['value']:.3f}; by chance {chance['mean']:.3f} "
            f"({chance['smallest']:.3f} to {chance['largest']:.3f})"
        ) in markdown
    low, high = (1 / 6 - 2 / 5 + side * 1.96 * change["standard_error"] for side in (-1, 1))
    assert "40.0% of train clicks and 16.7% of test clicks (2 and 1) led to an order" in markdown
    assert "a difference of −23.3 percentage points" in markdown
    interval = f"95% CI {100 * low:+.3g} to {100 * high:+.3g} (z = {change['z']:.1f};"
    assert interval.replace("-", "−") in markdown
    assert "**A larger distance is not necessarily drift over time**" in markdown


def test_popular_items_are_compared_only_in_a_larger_catalogue(card, profile):
    _, *summaries = card
    profile["popularity"]["items"] = 5000
    profile["drift"]["test_clicks_on_top_items"] = {
        "items": 1000,
        "train": 0.5,
        "value": 0.25,
        "by_chance": {"mean": 0.48, "smallest": 0.475, "largest": 0.485},
    }

    assert "Popular items" not in data_card_markdown(*card)
    assert (
        "The 1,000 most clicked items of train receive 50.0% of train clicks and 25.0% of test "
        "clicks; by chance 48.0% (47.5% to 48.5%)."
    ) in data_card_markdown(profile, *summaries)


def test_a_small_share_is_not_rounded_to_nothing(card, profile):
    _, *summaries = card
    profile["by_split"]["test"]["ordered_share"] = 8 / 210_825

    assert "and 0.00379% of test clicks" in data_card_markdown(profile, *summaries)


@pytest.mark.slow
def test_undefined_values_are_a_dash_with_a_reason(card, profile):
    _, *summaries = card
    for split in profile["by_split"].values():
        split.update(dict.fromkeys(("ordered_clicks", "ordered_share", "ordered_share_se")))
    no_error = deepcopy(profile["drift"])
    profile["drift"]["conversion"] = dict.fromkeys(("difference", "standard_error", "z"))

    markdown = data_card_markdown(profile, *summaries)

    rows = {row[0]: row[1:] for row in _tables(markdown)[2]}
    assert rows["share of clicks carted"] == rows["clicks ordered"] == ["–"] * 3
    assert "**Conversion.** Undefined: no order in the data." in markdown
    assert "no order in the data" in _texts(data_card_figure(profile))
    no_error["conversion"] |= {"standard_error": None, "z": None}
    assert "percentage points; its standard error is undefined." in data_card_markdown(
        {**card[0], "drift": no_error}, *summaries
    )


def test_a_card_without_rejected_rows_says_so(card, profile):
    _, *summaries = card
    profile["rejected_by_reason"] = {}
    profile["dropped"] = dict.fromkeys(profile["dropped"], 0)

    assert "No row was rejected." in data_card_markdown(profile, *summaries)
    assert "none" in _texts(data_card_figure(profile))


def _texts(figure):
    return [element.text for element in ET.fromstring(as_svg(figure)).iter(SVG)]


def _panels(profile):
    figure = data_card_figure(profile)
    panels = [axes for part in figure.subfigs for axes in part.axes]
    return {axes.get_title().split(",")[0]: axes for axes in panels}


@pytest.mark.slow
def test_the_figure_uses_the_text_colour_of_the_page_and_is_deterministic(profile):
    svg = as_svg(data_card_figure(profile))

    assert svg == as_svg(data_card_figure(profile))
    assert "currentColor" in svg
    assert "#010203" not in svg


def test_bars_points_and_curves_have_the_values_of_the_profile(profile):
    panels = _panels(profile)

    lengths, popularity = panels["Session length"], panels["Popularity"]
    heights = [bar.get_height() for bar in lengths.patches]
    assert heights == pytest.approx([1 / 2, 1 / 2] + [0] * 18)  # 2 and 3 clicks
    assert list(lengths.lines[0].get_ydata()) == pytest.approx([1 / 2, 0, 1 / 2] + [0] * 17)
    curves = {line.get_label(): line.get_xydata() for line in popularity.lines}
    np.testing.assert_allclose(curves["train"], [[1 / 3, 2 / 5], [2 / 3, 4 / 5], [1, 1]])
    np.testing.assert_allclose(curves["test"], [[1 / 3, 4 / 6], [2 / 3, 5 / 6], [1, 1]])


def test_an_absent_event_type_has_no_line_and_a_day_without_events_interrupts_it(profile):
    lines = {line.get_label(): line for line in _panels(profile)["Events per day (UTC)"].lines}

    assert {label for label in lines if not label.startswith("_")} == {"clicks", "orders"}
    assert lines["clicks"].get_ydata() == pytest.approx([5, float("nan"), 2, 8], nan_ok=True)
    assert lines["orders"].get_ydata() == pytest.approx([1, float("nan"), 1, 1], nan_ok=True)


def test_conversion_has_one_interval_per_split(profile):
    profile["by_split"]["train"]["ordered_share_se"] = 0.01

    points = _panels(profile)["Conversion"].containers[0]

    low, high = points.lines[2][0].get_segments()[0][:, 1]
    assert points.lines[0].get_ydata() == pytest.approx([2 / 5, 1 / 2, 1 / 6])
    assert (low, high) == pytest.approx((2 / 5 - 1.96 * 0.01, 2 / 5 + 1.96 * 0.01))


def test_rejected_and_dropped_rows_are_labelled_with_their_counts(profile):
    rejected = _panels(profile)["Rejected and dropped"]

    numbers = rejected.lines[0].get_xdata()
    names = [label.get_text() for label in rejected.get_yticklabels()]
    assert dict(zip(names, numbers, strict=True)) == {
        "rows: not a row of this format": 1,
        "clicks on unknown items": 1,
        "sessions too short without unknown items": 1,
    }
    assert [text.get_text() for text in rejected.texts] == ["1", "1", "1"]
