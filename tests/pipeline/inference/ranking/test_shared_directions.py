"""Hypotheses that are one direction of the front."""

import pytest

from pipeline.core.contracts import Kpi
from pipeline.inference.ranking.shared_directions import shared_directions
from pipeline.results.family import Family
from pipeline.results.hypothesis import GroupPoint, HypothesisResult

RECALL = (0.40, 0.42, 0.45, 0.47)
DENSITY = (0.080, 0.0761, 0.0699, 0.066)
DIVERSITY = (0.3, 0.5, 0.2, 0.4)


def result(name, metric, values, kpi=Kpi.CTR):
    return HypothesisResult(
        id=name,
        metric=metric,
        kpi=kpi,
        direction="positive",
        response=kpi,
        link=Family.BINOMIAL,
        n=400,
        groups=len(values),
        points=tuple(
            GroupPoint(
                group=f"g{n}",
                metric_value=value,
                x=None,
                trials=100,
                successes=10,
                rate=0.1,
                standard_error=0.03,
            )
            for n, value in enumerate(values)
        ),
    )


def test_hypotheses_whose_metrics_move_together_are_one_direction():
    found = shared_directions(
        [
            result("H1", "recall", RECALL),
            result("H2", "order_density", DENSITY, Kpi.CVR),
            result("H3", "diversity", DIVERSITY),
            result("H4", "recall", RECALL, Kpi.CVR),
        ]
    )

    (one,) = found
    assert one.hypotheses == ("H1", "H2", "H4")
    assert one.metrics == ("recall", "order_density")
    assert one.least_correlation == pytest.approx(0.9999, abs=1e-4)


@pytest.mark.parametrize("other", [("H2", "diversity", DIVERSITY), ("H2", "recall", RECALL)])
def test_hypotheses_on_metrics_that_do_not_or_on_the_same_metric_are_not(other):
    assert shared_directions([result("H1", "recall", RECALL), result(*other)]) == ()


@pytest.mark.parametrize("values", [(0.4, 0.4, 0.4, 0.4), (0.4, None, 0.42, 0.45)])
def test_a_metric_that_is_constant_or_unknown_has_no_direction(values):
    found = shared_directions([result("H1", "recall", RECALL), result("H2", "mrr", values)])

    assert found == ()
