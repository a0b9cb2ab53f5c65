"""Display names of metrics and KPIs."""

import pytest

from pipeline.core.contracts import Kpi
from pipeline.core.labels import KPI_LABELS, counted, metric_label


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("recall", "Recall@5"),
        ("order_density", "OD@5"),
        ("recall_order_density", "Recall@5 · OD@5"),
        ("mrr", "MRR@5"),
        ("click_loss", "click loss"),
    ],
)
def test_metric_labels_are_those_of_the_paper(metric, label):
    assert metric_label(metric, 5) == label


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("recall", "Recall"),
        ("recall_order_density@10", "Recall@10 · OD@10"),
        ("click_loss", "click loss"),
        ("mine@7", "mine@7"),
        ("{mine}", "{mine}"),
    ],
)
def test_an_unknown_cutoff_is_omitted_and_a_custom_metric_keeps_its_name(metric, label):
    assert metric_label(metric, None) == label


def test_every_kpi_has_a_label():
    assert set(KPI_LABELS) == {kpi.value for kpi in Kpi}


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1234, "1,234 files")]
)
def test_a_number_has_its_noun(number, expected):
    assert counted(number, "file") == expected
