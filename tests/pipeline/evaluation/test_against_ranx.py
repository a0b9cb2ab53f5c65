"""Our metrics against ranx's, from a model's scores of the whole catalogue; a target is a query."""

from importlib import import_module

import numpy as np
import pytest
import torch

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.scoring.target_scores import score_targets
from models.tokens import SessionTokens
from pipeline.core.contracts import Metric
from pipeline.evaluation.ranking_metrics import TARGET_METRICS, Targets

pytestmark = [
    pytest.mark.slow,  # it compiles itself
    pytest.mark.filterwarnings("ignore:.*unsafe cast from uint64"),
]
ITEMS = 50
THEIRS = {"recall": Metric.RECALL, "mrr": Metric.MRR, "ndcg": Metric.NDCG}


@pytest.fixture(scope="module")
def ranx():
    """Imported by those who use it, for it takes two seconds."""
    return import_module("ranx")


@pytest.fixture(scope="module")
def case():
    """Our scores of the targets, and the same targets as ranx's queries."""
    rng = np.random.default_rng(8)
    written = [
        [(int(rng.integers(ITEMS)), int(rng.random() < 0.3)) for _ in range(rng.integers(2, 7))]
        for _ in range(60)
    ]
    model = build_model(
        ModelConfig(hidden_size=8, layers=1, max_length=10), n_items=ITEMS, n_objectives=2, seed=4
    ).eval()
    preference = torch.tensor([[0.4, 0.6]])
    (ours,) = score_targets(model, SessionTokens.from_lists(written), preference)
    relevant, ranked, ordered = {}, {}, []
    for number, session in enumerate(written):
        for place in range(1, len(session)):
            clicks = torch.tensor([[item for item, _ in session[:place]]])
            with torch.no_grad():
                states = model(clicks, torch.tensor([place]), preference)
                scores = model.score_all(states[0])[-1].tolist()
            query = f"q{number}-{place}"
            relevant[query] = {f"i{session[place][0]}": 1}
            ranked[query] = {f"i{item}": score for item, score in enumerate(scores)}
            ordered.append(session[place][1])
    return ours, relevant, ranked, np.array(ordered, dtype=bool)


def our_value(metric, scores, k):
    nothing = np.zeros(ITEMS, dtype=np.bool_)
    numerator, denominator = TARGET_METRICS[metric](
        Targets.from_scores(scores, k, nothing, np.arange(ITEMS).astype(str))
    )
    return numerator.sum() / denominator.sum()


@pytest.mark.parametrize("k", [1, 5, 20, ITEMS])
@pytest.mark.parametrize("name", THEIRS)
def test_metrics_are_theirs(ranx, case, name, k):
    ours, relevant, ranked, _ = case

    theirs = ranx.evaluate(ranx.Qrels(relevant), ranx.Run(ranked), f"{name}@{k}")

    assert our_value(THEIRS[name], ours, k) == pytest.approx(theirs, rel=1e-12)


def test_order_recall_is_their_recall_of_the_ordered_targets(ranx, case):
    ours, relevant, ranked, ordered = case
    kept = [query for query, is_ordered in zip(relevant, ordered, strict=True) if is_ordered]

    theirs = ranx.evaluate(
        ranx.Qrels({query: relevant[query] for query in kept}),
        ranx.Run({query: ranked[query] for query in kept}),
        "recall@20",
    )

    assert our_value(Metric.ORDER_RECALL, ours, 20) == pytest.approx(theirs, rel=1e-12)
