"""The front of hand-made points: who is dominated, and the area and width of the rest."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.contracts import OFFLINE_METRICS, Metric
from pipeline.evaluation.pareto_front import extreme_points, front_changes, pareto_front

coordinate = st.integers(1, 10).map(lambda tenths: tenths / 10)


def offline_metrics(points):
    """The table of offline metrics of (recall, order density) points, named p00, p01, …"""
    rows = []
    for number, (recall, density) in enumerate(points):
        product = None if density is None else recall * density
        values = {
            Metric.RECALL: recall,
            Metric.ORDER_DENSITY: density,
            Metric.RECALL_ORDER_DENSITY: product,
            Metric.CLICK_LOSS: 3.0,
        }
        rows += [
            {
                "preference_id": f"p{number:02d}",
                "preference": [number / 10, 1 - number / 10],
                "metric": metric.value,
                "cutoff": 20,
                "segment": "all",
                "value": value,
                "standard_error": None,
                "n_targets": 100,
                "n_sessions": 10,
                "higher_is_better": True,
            }
            for metric, value in values.items()
        ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.columns)


def front_at(points):
    return pareto_front(offline_metrics(points), ["click", "order"])


def dominated(points):
    """For each point, whether another is at least as good on both axes and better on one."""
    return [
        any(x >= u and y >= v and (x, y) != (u, v) for x, y in points)  # every other point
        for u, v in points
    ]


def test_dominance_by_hand():
    points = [
        (0.2, 0.9),
        (0.4, 0.6),
        (0.4, 0.5),  # as much recall as the second, less order density
        (0.1, 0.8),  # less of both than the first
        (0.8, 0.3),
    ]

    front = front_at(points).points

    assert front["preference_id"].to_list() == ["p00", "p01", "p02", "p03", "p04"]
    assert front["dominated"].to_list() == [False, False, True, True, False]
    assert front["recall"].to_list() == [0.2, 0.4, 0.4, 0.1, 0.8]
    assert front["recall_order_density"].to_list() == pytest.approx(
        [0.2 * 0.9, 0.4 * 0.6, 0.4 * 0.5, 0.1 * 0.8, 0.8 * 0.3]
    )


def test_equal_points_do_not_dominate_each_other():
    front = front_at([(0.5, 0.5), (0.5, 0.5), (0.4, 0.5)])

    assert front.points["dominated"].to_list() == [False, False, True]


@settings(max_examples=50)
@given(points=st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=10))
def test_dominance_follows_the_definition(points):
    assert front_at(points).points["dominated"].to_list() == dominated(points)


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(0.5, 0.4)], 0.5 * 0.4),
        ([(0.2, 0.9), (0.8, 0.3)], 0.2 * 0.9 + (0.8 - 0.2) * 0.3),
        (
            [(0.2, 0.9), (0.8, 0.3), (0.4, 0.6)],
            0.2 * 0.9 + (0.4 - 0.2) * 0.6 + (0.8 - 0.4) * 0.3,
        ),
        ([(0.2, 0.9), (0.8, 0.3), (0.1, 0.2)], 0.2 * 0.9 + (0.8 - 0.2) * 0.3),
        ([(1.0, 1.0), (0.3, 0.3)], 1.0),
    ],
    ids=["one-point", "two-points", "three-points", "with-a-dominated-point", "ideal-point"],
)
def test_hypervolume_is_the_area_of_rectangles(points, area):
    assert front_at(points).hypervolume == pytest.approx(area, rel=1e-12)


@settings(max_examples=30)
@given(points=st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=8))
def test_hypervolume_grows_with_points_unless_they_are_dominated_or_repeated(points):
    *others, last = points
    without = front_at(others).hypervolume
    adds_nothing = last in others or dominated(points)[-1]

    gain = front_at(points).hypervolume - without

    assert gain == pytest.approx(0, abs=1e-12) if adds_nothing else gain > 1e-9


def test_span_is_largest_over_smallest_less_one():
    front = front_at([(0.40, 0.050), (0.42, 0.049), (0.44, 0.040)])

    assert front.spans["recall"] == pytest.approx(0.44 / 0.40 - 1)
    assert front.spans["order_density"] == pytest.approx(0.050 / 0.040 - 1)


def test_span_from_zero_is_undefined():
    front = front_at([(0.40, 0.0), (0.42, 0.2)])

    assert front.spans["order_density"] is None
    assert front.spans["recall"] == pytest.approx(0.42 / 0.40 - 1)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.1, 0.9), (0.2, 0.5), (0.9, 0.4)], -1.0),
        ([(0.1, 0.1), (0.2, 0.7), (0.3, 0.8)], 1.0),
        # ranks 1 2 3 4 and 1 3 2 4: one swap, so 1 - 6 · (1 + 1) / (4 · (16 - 1))
        ([(0.1, 0.1), (0.2, 0.3), (0.3, 0.2), (0.4, 0.4)], 1 - 6 * 2 / (4 * 15)),
        ([(0.1, 0.5), (0.2, 0.5), (0.3, 0.5)], None),
    ],
    ids=["opposed", "together", "one-swap", "one-axis-constant"],
)
def test_rank_correlation_by_hand(points, expected):
    found = front_at(points).rank_correlation

    assert found is None if expected is None else found == pytest.approx(expected)


@pytest.mark.parametrize("placed", [[], [(0.4, 0.1)], [(0.4, 0.1), (0.2, 0.3), (0.3, 0.1)]])
def test_preferences_without_order_density_have_no_point_and_change_nothing(placed):
    front = front_at([*placed, (0.0, None), (0.5, None)])

    assert front.points["dominated"].to_list() == [*dominated(placed), None, None]
    assert front.points["order_density"].to_list() == [y for _, y in placed] + [None, None]
    assert front.spans["order_density"] is None
    alone = front_at(placed) if placed else None
    assert front.hypervolume == (alone.hypervolume if alone else 0.0)
    assert front.knee == (alone and alone.knee)
    assert front.rank_correlation == (alone and alone.rank_correlation)


def test_the_knee_is_where_the_front_bends_most():
    # scaled by widths of 0.4 and 0.2: (0, 1), (0.5, 0.9), (0.75, 0.5), (1, 0)
    points = [(0.1, 0.30), (0.3, 0.28), (0.4, 0.20), (0.5, 0.10), (0.2, 0.15)]

    assert front_at(points).knee == "p01"


@pytest.mark.parametrize(
    "points",
    [
        [(0.1, 0.3), (0.2, 0.2), (0.3, 0.1)],  # a straight line
        [(0.1, 0.3), (0.15, 0.15), (0.3, 0.1)],  # a convex front
        [(0.1, 0.3), (0.3, 0.1)],
        [(0.3, 0.3), (0.1, 0.1)],  # one point dominates all
    ],
    ids=["line", "inwards", "two", "one"],
)
def test_a_front_that_bends_nowhere_has_no_knee(points):
    assert front_at(points).knee is None


def test_every_metric_has_its_span():
    spans = front_at([(0.2, 0.4), (0.3, 0.4), (0.5, 0.1)]).spans

    assert spans["recall"] == pytest.approx(0.5 / 0.2 - 1)
    assert spans["order_density"] == pytest.approx(0.4 / 0.1 - 1)
    assert spans["click_loss"] == 0


def test_front_changes_are_of_the_preferences_of_both_fronts():
    before = front_at([(0.2, 0.4), (0.3, 0.3)]).points
    now = front_at([(0.2, 0.4), (0.4, 0.2), (0.5, 0.1)])

    table = front_changes(now, before)

    assert table["preference_id"].to_list() == ["p00", "p01"]
    assert table.select("recall", "recall_before").rows() == [(0.2, 0.2), (0.4, 0.3)]
    assert table.select("order_density", "order_density_before").rows() == [(0.4, 0.4), (0.2, 0.3)]


def test_corners_are_where_one_objective_has_all_the_weight():
    front = front_at([(0.1 + n / 100, 0.06 - n / 1000) for n in range(11)])

    assert extreme_points(front, ["click", "order"]) == pytest.approx(
        {
            "recall, order-only endpoint": 0.1,
            "order_density, order-only endpoint": 0.06,
            "recall, click-only endpoint": 0.2,
            "order_density, click-only endpoint": 0.05,
        }
    )
