"""Charts show the values they are given, as SVG and PNG that a page can embed."""

import base64
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from pipeline.core.contracts import Kpi
from pipeline.reporting.figures.charts import (
    as_markdown,
    hypothesis_panels,
    learning_curves_figure,
)
from pipeline.reporting.figures.front import front_figure
from pipeline.reporting.figures.svg import as_svg
from pipeline.results.document import CurvePoint, FrontPoint, GroupSummary
from pipeline.results.family import Family
from pipeline.results.hypothesis import GroupPoint, HypothesisResult
from pipeline.results.reasons import UndefinedReason
from pipeline.results.slopes import BandPoint

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"


def hypothesis(name="H1", rates=(0.10, 0.11, 0.13), groups=("g1", "g2", "g3")):
    """A fitted hypothesis on groups whose metric is 0%, 10%, 20%, … above the worst."""
    points = [
        GroupPoint(
            group=group,
            metric_value=0.4 * (1 + 0.1 * n),
            x=0.1 * n,
            trials=1000,
            successes=round(1000 * rate),
            rate=rate,
            standard_error=0.001,
        )
        for n, (group, rate) in enumerate(zip(groups, rates, strict=True))
    ]
    line = [(0.1 * n, 0.1 + 0.01 * n) for n in range(len(rates))]
    return HypothesisResult(
        id=name,
        metric="recall",
        kpi=Kpi.CTR,
        direction="positive",
        response=Kpi.CTR,
        link=Family.BINOMIAL,
        slope=1.5,
        n=3000,
        groups=len(groups),
        points=tuple(points),
        band=tuple(BandPoint(x=x, rate=y, low=y - 0.002, high=y + 0.002) for x, y in line),
    )


UNDEFINED = replace(hypothesis("H2"), slope=None, undefined_reason=UndefinedReason.NO_SUCCESSES)
FRONT = [
    FrontPoint(
        preference_id=f"p{n}",
        preference=(n / 2, 1 - n / 2),
        metrics={"recall": recall, "order_density": density},
        dominated=n == 1,
    )
    for n, (recall, density) in enumerate([(0.40, 0.08), (0.42, 0.05), (0.48, 0.06)])
]
AXES = ("recall", "order_density")
CURVES = [
    CurvePoint(epoch=epoch, split=split, objective=objective, loss=5 / epoch)
    for objective in ("click", "order")
    for split in ("train", "validation")
    for epoch in (1, 2, 3)
] + [
    CurvePoint(epoch=epoch, split="validation", objective="hypervolume", loss=epoch / 9)
    for epoch in (1, 2, 3)
]


def group(name, preference_id):
    return GroupSummary(name=name, preference_id=preference_id)


FIGURES = {
    "hypotheses": lambda: hypothesis_panels([hypothesis(), UNDEFINED], 20),
    "front": lambda: front_figure(FRONT, AXES, [group("g1", "p0")], 20),
    "learning curves": lambda: learning_curves_figure(CURVES),
}


def texts(figure):
    return [element.text for element in ET.fromstring(as_svg(figure)).iter(f"{SVG}text")]


def markers(figure):
    """The coloured marks outside legends: colour → [(x, y)], from left to right."""
    root = ET.fromstring(as_svg(figure))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.get("id", "").startswith("legend"):
                parent.remove(child)
    found = {}
    for mark in root.iter(f"{SVG}use"):
        style = dict(rule.split(": ") for rule in mark.get("style").split("; "))
        if style.get("stroke", "currentColor") != "currentColor":
            place = (float(mark.get("x")), float(mark.get("y")))
            found.setdefault(style["stroke"], []).append(place)
    return {colour: sorted(places) for colour, places in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_svg_is_xml_in_the_text_colour_of_the_page_without_external_references(name):
    svg = as_svg(FIGURES[name]())

    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert "currentColor" in svg
    assert "#010203" not in svg
    references = [value for e in root.iter() for key, value in e.items() if "href" in key]
    assert all(reference.startswith("#") for reference in references)
    assert "http" not in svg.replace(SVG[1:-1], "").replace(XLINK[1:-1], "")


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_same_values_give_the_same_bytes(name):
    assert as_svg(FIGURES[name]()) == as_svg(FIGURES[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_markdown_carries_the_bytes_of_a_png(name):
    start = "![some words](data:image/png;base64,"

    image = as_markdown(FIGURES[name](), "some words")

    assert image.startswith(start)
    png = base64.b64decode(image.removeprefix(start).removesuffix(")"), validate=True)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert png.endswith(b"IEND\xaeB`\x82")


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3, 4, 5])
def test_every_hypothesis_has_a_panel(n):
    names = [f"H{number}" for number in range(1, n + 1)]

    words = texts(hypothesis_panels([hypothesis(name) for name in names], 20))

    titles = [text for text in words if text and "→" in text]
    assert titles == [f"{name}: Recall@20 → click-through rate" for name in names]
    assert words.count("relative change of Recall@20 [%]") == n


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 8])
def test_every_group_has_a_colour_and_a_label(n):
    groups = [f"g{number}" for number in range(1, n + 1)]

    figure = hypothesis_panels([hypothesis(rates=[0.1] * n, groups=groups)], 20)

    assert [len(places) for places in markers(figure).values()] == [3] * n  # a point, two ends
    assert [text for text in texts(figure) if text in groups] == groups


@pytest.mark.slow
def test_twelve_groups_have_distinct_marks_in_numeric_order():
    groups = sorted(f"g{number}" for number in range(12))  # g10 before g2

    figure = hypothesis_panels([hypothesis(rates=[0.1] * 12, groups=groups)], 20)

    assert [text for text in texts(figure) if text in groups] == [f"g{n}" for n in range(12)]
    (handles, _) = figure.axes[0].get_legend_handles_labels()
    marks = {(handle[0].get_color(), handle[0].get_marker()) for handle in handles}
    assert len(marks) == 12


@pytest.mark.slow
@pytest.mark.parametrize("name", ["v{}", "a variant with a name of eighty letters " * 2 + "{}"])
def test_sixty_groups_leave_room_for_the_panel(name):
    groups = [name.format(n) for n in range(60)]
    rates = [0.1 + 0.001 * n for n in range(60)]

    figure = hypothesis_panels([hypothesis(rates=rates, groups=groups)], 20)
    as_svg(figure)  # computes the layout

    (ax,) = figure.axes
    assert ax.get_position().height * figure.get_figheight() > 1.5


def test_points_are_at_their_values():
    figure = hypothesis_panels([hypothesis(rates=(0.10, 0.11, 0.13))], 20)

    # the ends of an interval have the point's x; its y lies between them
    first, second, third = [
        sorted(places, key=lambda p: p[1]) for places in markers(figure).values()
    ]
    x = [places[1][0] for places in (first, second, third)]
    y = [places[1][1] for places in (first, second, third)]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=1e-3)  # 0%, 10%, 20%
    assert y[0] - y[2] == pytest.approx(3 * (y[0] - y[1]), abs=1e-3)  # 0%, 10%, 30%, upwards
    per_rate = (y[0] - y[1]) / 0.01
    for high, middle, low in (first, second, third):
        assert middle[1] - high[1] == pytest.approx(1.96 * 0.001 * per_rate, abs=1e-3)
        assert low[1] - middle[1] == pytest.approx(1.96 * 0.001 * per_rate, abs=1e-3)


def test_an_undefined_hypothesis_shows_the_reason_and_no_point():
    figure = hypothesis_panels([UNDEFINED], 20)

    assert markers(figure) == {}
    assert {"undefined:", "no trial succeeded"} <= set(texts(figure))


def test_a_group_without_success_has_no_relative_change():
    figure = hypothesis_panels([hypothesis(rates=(0.0, 0.1, 0.2))], 20)

    assert markers(figure) == {}
    assert "the KPI of a group is 0" in texts(figure)


def test_a_point_with_unknown_standard_error_has_no_bar():
    known = hypothesis()
    first, second, third = known.points
    unknown = replace(known, points=(first, replace(second, standard_error=None), third))

    places = list(markers(hypothesis_panels([unknown], 20)).values())

    assert len({y for _, y in places[0]}) == 3
    assert len({y for _, y in places[1]}) == 1


@pytest.mark.slow
def test_a_hostile_name_stays_text():
    name = "<script>alert('1')</script>&amp;"

    figure = hypothesis_panels([hypothesis(groups=("g1", name, "g3"))], 20)

    assert name in texts(figure)
    assert "<script" not in as_svg(figure)


@pytest.mark.slow
def test_the_front_shows_every_preference_and_labels_the_groups():
    groups = [group("g1", "p0"), group("g2", "p2")]

    figure = front_figure(FRONT, AXES, groups, 20)

    (places,) = markers(figure).values()
    assert len(places) == len(FRONT)
    words = " ".join(filter(None, texts(figure)))
    assert ("g1" in words, "g2" in words) == (True, True)
    assert {"Recall@20", "OD@20"} <= set(texts(figure))
    # recall 0.40, 0.42, 0.48 from left to right; order density 0.08, 0.05, 0.06 upwards
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x2 - x0 == pytest.approx(4 * (x1 - x0), abs=1e-3)
    assert y1 - y0 == pytest.approx(3 * (y1 - y2), abs=1e-3)
    marks = ET.fromstring(as_svg(figure)).iter(f"{SVG}use")
    hollow = [float(mark.get("x")) for mark in marks if "fill-opacity: 0;" in mark.get("style")]
    assert hollow == pytest.approx([x1], abs=1)  # the dominated one


def test_no_label_of_a_front_covers_another_or_leaves_its_axes():
    near = [0.30, 0.545, 0.57, 0.585, 0.614, 0.62, 0.6205]
    points = [
        replace(
            FRONT[0], preference_id=f"p{n}", metrics={"recall": x, "order_density": 0.1 - x / 9}
        )
        for n, x in enumerate(near)
    ]

    figure = front_figure(points, AXES, [group(f"g{n}", f"p{n}") for n in range(1, 7)], 20)

    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [one.get_window_extent() for one in ax.texts]
    assert len(boxes) == 6
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert min(box.y0 for box in boxes) >= ax.get_window_extent().y0 - 1


@pytest.mark.parametrize("name", ["$5 off, not $6", r"a$\foo$"])
def test_a_name_with_dollars_is_not_read_as_mathematics(name):
    front = front_figure([FRONT[0]], AXES, [group(name, "p0")], 20)
    panels = hypothesis_panels([hypothesis(rates=[0.1, 0.2], groups=[name, "b"])], 20)

    assert all(name in as_svg(figure) for figure in (front, panels))


@pytest.mark.parametrize("name", ["g{}", "a group with a name of eighty letters " * 2 + "{}"])
def test_sixty_groups_on_a_front_leave_room_for_the_panel(name):
    points = [
        replace(FRONT[0], preference_id=f"p{n}", metrics={"recall": 0.4, "order_density": 0.1})
        for n in range(60)
    ]

    figure = front_figure(points, AXES, [group(name.format(n), f"p{n}") for n in range(60)], 20)

    as_svg(figure)  # computes the layout; warns, which fails, where no room is left
    (ax,) = figure.axes
    assert ax.get_position().height * figure.get_figheight() > 2
    drawn = [label for label in ax.texts if label.get_visible()]
    assert 1 < len(drawn) < 60
    assert ax.get_title(loc="right") == f"{60 - len(drawn)} more groups without a label"


def test_groups_without_a_label_are_counted_where_they_share_a_preference():
    points = [
        replace(FRONT[0], preference_id=f"p{n}", metrics={"recall": 0.4, "order_density": 0.1})
        for n in range(30)
    ]

    figure = front_figure(points, AXES, [group(f"g{n}", f"p{n // 2}") for n in range(60)], 20)

    (ax,) = figure.axes
    drawn = [label for label in ax.texts if label.get_visible()]
    assert 1 < len(drawn) < 30
    assert ax.get_title(loc="right") == f"{60 - 2 * len(drawn)} more groups without a label"


@pytest.mark.slow
def test_learning_curves_have_one_panel_per_objective():
    words = texts(learning_curves_figure(CURVES))

    assert [text for text in words if text and text.endswith("loss")] == [
        "click loss",
        "order loss",
    ]
    assert "hypervolume" in words
    assert (words.count("train"), words.count("validation")) == (2, 3)


@pytest.mark.slow
def test_preferences_without_order_density_are_not_drawn():
    unplaced = [
        replace(point, metrics=point.metrics | {"order_density": None}, dominated=None)
        for point in FRONT
    ]
    axes = ("recall", "order_density")

    some = front_figure([FRONT[0], *unplaced[1:]], axes, [group("g1", "p0"), group("g2", "p1")], 20)
    none = front_figure(unplaced, axes, [group("g1", "p0")], 20)

    assert as_svg(some)
    assert as_svg(none)
    assert any("g1" in text for text in texts(some))
    assert not any("g2" in text for text in texts(some))
    assert "no preference has a target in the top k" in texts(none)
