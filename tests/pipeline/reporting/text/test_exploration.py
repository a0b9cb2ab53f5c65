"""The lines on the expected cost of exploration."""

from dataclasses import replace

import pytest

from pipeline.core.contracts import Metric
from pipeline.reporting.text.exploration import exploration_lines
from pipeline.results.exploration import ExplorationLoss, MetricLoss
from pipeline.study import ExplorationConfig
from tests.pipeline.inference.planned import planned_power


def loss_of(metric, loss):
    return MetricLoss(
        metric=metric, loss=loss, standard_error=0.003, by_group=(loss / 2, 1.5 * loss)
    )


@pytest.mark.slow
def test_the_cost_is_the_share_of_the_position_sensitive_loss():
    """10% of the lists lose 20% of the clicks: 2% of 1,000 × 0.2 × 30 clicks are 120."""
    power = planned_power().analysis
    power = replace(
        power,
        planned_days=30,
        traffic=replace(power.traffic, ctr=0.2, impressions_per_day=1000.0),
    )
    loss = ExplorationLoss(
        temperature=0.5,
        metrics=(loss_of(Metric.RECALL, 0.1), loss_of(Metric.NDCG, 0.2)),
        kept=0.68,
        first_kept=0.41,
        sessions=1000,
    )

    head, lost, cost = exploration_lines(
        ExplorationConfig(share=0.1, temperature=0.5), loss, power, 20
    )

    assert head == (
        "exploration: 10% of the lists are drawn at random, temperature 0.5: they keep 68% of the best items, and "
        "the first one in 41%"
    )
    assert "10.0% of Recall@20 (standard error 0.3%; by group 5.0% to 15.0%)" in lost
    assert "20.0% of NDCG@20 (standard error 0.3%; by group 10.0% to 30.0%)" in lost
    assert lost.endswith("on 1,000 held-out sessions")
    assert "2.00% of the clicks, 120 of 6,000 in 30 days" in cost
    assert cost.endswith("the power is that of 90% of the impressions")
