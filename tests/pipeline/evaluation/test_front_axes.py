"""Which metrics span the front: those that the weights of the objectives raise."""

import polars as pl
import pytest

from pipeline.core.contracts import OFFLINE_METRICS
from pipeline.evaluation.front_axes import front_axes
from pipeline.evaluation.pareto_front import pareto_front, point_rows
from pipeline.study.evaluation import is_of_orders

PAIRS = [[n / 4, 1 - n / 4] for n in range(5)]
TRIPLES = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.25, 0.25]]
RISES, FALLS, FLAT = [0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.4, 0.3, 0.2, 0.1], [0.3] * 5
CLICKS = {"recall": RISES, "mrr": RISES, "catalogue_coverage": RISES, "score_uniformity": FALLS}


def offline_metrics(weights=PAIRS, **metrics):
    rows = [
        {
            "preference_id": f"p{number:02d}",
            "preference": preference,
            "metric": metric,
            "segment": "all",
            "value": values[number],
            "higher_is_better": True,
        }
        for metric, values in metrics.items()
        for number, preference in enumerate(weights)
    ]
    return pl.DataFrame(rows, schema=OFFLINE_METRICS.schema)


@pytest.mark.parametrize(
    ("objectives", "metrics", "axes"),
    [
        (("click", "order"), {"recall": RISES, "order_density": FALLS}, ["order_density"]),
        (("order", "click"), {"recall": FALLS, "order_density": RISES}, ["order_density"]),
        # distortion lowers recall and coverage alike; only the uniformity shows what it gains
        (("click", "distortion"), CLICKS, ["score_uniformity"]),
        # a loss without a metric of its own: the metric that follows its weight
        (
            ("click", "cart"),
            {"recall": RISES, "order_density": RISES, "catalogue_coverage": FALLS},
            ["catalogue_coverage"],
        ),
        (
            ("click", "shop:margin"),
            {"recall": RISES, "cold_item_recall": FALLS},
            ["cold_item_recall"],
        ),
        # nothing rises with its weight, and revenue shares the axis of clicks
        (("click", "cart"), {"recall": RISES, "catalogue_coverage": FLAT}, ["catalogue_coverage"]),
        (
            ("click", "revenue"),
            {"recall": RISES, "catalogue_coverage": FALLS},
            ["catalogue_coverage"],
        ),
    ],
)
def test_each_objective_has_the_metric_that_it_raises(objectives, metrics, axes):
    assert front_axes(offline_metrics(**metrics), objectives) == ["recall", *axes]


def test_three_objectives_span_three_axes():
    table = offline_metrics(
        TRIPLES,
        recall=[0.5, 0.2, 0.1, 0.4],
        order_density=[0.02, 0.06, 0.01, 0.04],
        score_uniformity=[0.4, 0.5, 1.0, 0.6],
        recall_order_density=[0.01, 0.012, 0.001, 0.016],
    )

    front = pareto_front(table, ["click", "order", "distortion"])

    assert front.axes == ("recall", "order_density", "score_uniformity")
    assert not front.points["dominated"].any()  # the last point is best on no axis, and in between
    assert front.knee is None
    # boxes from 0, by inclusion and exclusion over the four points
    boxes = [(0.5, 0.02, 0.4), (0.2, 0.06, 0.5), (0.1, 0.01, 1.0), (0.4, 0.04, 0.6)]
    assert front.hypervolume == pytest.approx(_union(boxes), rel=1e-12)


def _union(boxes):
    """Volume of the union of boxes from the origin, on the grid of their coordinates."""
    edges = [sorted({0.0, *axis}) for axis in zip(*boxes, strict=True)]
    return sum(
        (x1 - x0) * (y1 - y0) * (z1 - z0)
        for x0, x1 in zip(edges[0], edges[0][1:], strict=False)
        for y0, y1 in zip(edges[1], edges[1][1:], strict=False)
        for z0, z1 in zip(edges[2], edges[2][1:], strict=False)
        if any(x1 <= x and y1 <= y and z1 <= z for x, y, z in boxes)
    )


def test_a_front_of_clicks_has_no_column_of_orders():
    front = pareto_front(offline_metrics(**CLICKS), ["click", "distortion"])

    assert front.points.columns == [
        "preference_id",
        "preference",
        "recall",
        "score_uniformity",
        "dominated",
    ]
    assert front.points["dominated"].sum() == 0
    assert front.hypervolume == pytest.approx(0.5 * 0.1 + 0.4 * 0.1 + 0.3 * 0.1 + 0.2 * 0.1 + 0.01)
    assert point_rows(front.points)[0] == {
        "preference_id": "p00",
        "preference": [0.0, 1.0],
        "metrics": {"recall": 0.1, "score_uniformity": 0.5},
        "dominated": False,
    }
    assert front.spans["catalogue_coverage"] == pytest.approx(4)


def test_metrics_of_orders_are_known_at_any_cutoff():
    assert [
        name for name in ("order_density@5", "order_loss", "recall@5", "auc") if is_of_orders(name)
    ] == [
        "order_density@5",
        "order_loss",
    ]
