"""Sentences on metrics that are not told apart."""

import pytest

from pipeline.reporting.text.confounding import direction_sentence, rivals_sentence
from pipeline.results.decisions import Rival, SharedDirection


def rivals(**correlations):
    return [
        Rival(metric=name, correlation=r, probability_better=0.5)
        for name, r in correlations.items()
    ]


@pytest.mark.parametrize(
    ("found", "groups", "words"),
    [
        ({"latency": 0.998, "od": -0.9612}, 5, "they move together along this front"),
        (
            {"latency": 0.998, "od": -0.62},
            5,
            "along this front they move together, or predict the KPI about equally well",
        ),
        ({"od": -0.62}, 5, "along this front they predict the KPI about equally well"),
        ({"od": -0.62}, 3, "3 groups do not tell metrics apart"),
    ],
)
def test_the_reason_fits_the_rivals(found, groups, words):
    sentence = rivals_sentence("recall", rivals(**found), groups, 20)

    assert sentence.startswith("Recall@20")
    assert sentence.endswith(f"cannot be told apart in this experiment: {words}.")


def test_correlations_near_1_have_more_decimals_than_others():
    sentence = rivals_sentence("recall", rivals(latency=0.9995, od=-0.62), 5, 20)

    assert "Recall@20, latency (r = 0.9995) and od (r = −0.62) cannot" in sentence


@pytest.mark.parametrize(
    ("n", "end"),
    [(4, "m2 (r = 0.9900) and m3"), (5, "and 1 other cannot"), (9, "and 5 others cannot")],
)
def test_four_rivals_are_named_and_the_others_counted(n, end):
    sentence = rivals_sentence("recall", rivals(**{f"m{k}": 0.99 for k in range(n)}), 5, 20)

    assert end in sentence


def test_without_rivals_nothing_is_said():
    assert rivals_sentence("recall", [], 5, 20) is None


def test_hypotheses_on_one_direction():
    one = SharedDirection(
        hypotheses=("H1", "H2", "H4"),
        metrics=("recall", "order_density"),
        least_correlation=0.99951,
    )

    assert direction_sentence(one, 20) == (
        "H1, H2 and H4 are one direction of the front and count as one result: Recall@20 and OD@20 "
        "move together over the groups (|r| ≥ 0.9995)."
    )
