"""Offline metrics of cells, against lists that are re-ranked by hand, target by target."""

import numpy as np
import polars as pl
import pytest
import torch

from models.network.configuration import ModelConfig
from models.network.model import build_model
from models.scoring.target_scores import Shard
from models.tokens import SessionTokens
from pipeline.core.contracts import ITEM_ATTRIBUTES
from pipeline.evaluation.metric_tables import compute_metric_tables
from pipeline.evaluation.pareto_front import fronts_by_level, pareto_front, point_rows
from pipeline.evaluation.scoring import score_preferences
from pipeline.evaluation.test_set import HeldOutSessions
from pipeline.study import AxisKind, EvaluationConfig, SecondAxis

ITEMS, SESSIONS, CANDIDATES, K = 40, 24, 15, 5
CONFIG = EvaluationConfig(cutoff=K, extra_cutoffs=(3,), preferences=3, segments=(), bootstrap=50)
WEIGHTS = {"p00": (0.0, 1.0), "p01": (0.5, 0.5), "p02": (1.0, 0.0)}
LEVELS = {
    AxisKind.DIVERSITY: (0.0, 0.4, 0.8),
    AxisKind.NOVELTY: (0.0, 0.4),
    AxisKind.FRESHNESS: (0.0, 0.6),
    AxisKind.LIST_LENGTH: (2.0, 5.0),
}
KINDS = pytest.mark.parametrize(
    "kind",
    [
        AxisKind.NOVELTY,
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in LEVELS
            if kind != AxisKind.NOVELTY
        ),
    ],
    ids=str,
)


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(backbone="tron", hidden_size=8, layers=1, heads=1, max_length=6)
    model = build_model(config, n_items=ITEMS, n_objectives=2, seed=3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.6 * torch.randn(weight.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def test():
    """Sessions of 2 to 8 clicks, some longer than the model's window; a third of the ages unknown."""
    rng = np.random.default_rng(5)
    sessions = [
        [(int(item), int(rng.random() < 0.3)) for item in rng.integers(0, ITEMS, length)]
        for length in rng.integers(2, 9, SESSIONS)
    ]
    tokens = SessionTokens.from_lists(sessions)
    since = [None if n % 3 == 0 else (7 * n) % ITEMS for n in range(ITEMS)]
    attributes = {
        "index": range(ITEMS),
        "item": [str(n) for n in range(ITEMS)],
        "value": [None] * ITEMS,
        "category": [None] * ITEMS,
        "available_since": since,
    }
    items = pl.DataFrame(attributes, schema=ITEM_ATTRIBUTES.schema)
    return HeldOutSessions(
        tokens, np.arange(len(tokens.items)), (np.arange(ITEMS) * 11) % 17, items
    )


def axis_of(kind):
    return SecondAxis(kind=kind, levels=LEVELS[kind], candidates=CANDIDATES)


def scaled(values):
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    return [0.0 if v is None else (v - low) / (high - low) if high > low else 1.0 for v in values]


def ranking_by_hand(model, test, clicks, cell):
    """All items, best first, after these clicks: one score, one sort, one item at a time."""
    weights, axis, level = cell
    with torch.no_grad():
        state = model(
            torch.tensor([clicks]), torch.tensor([len(clicks)]), torch.tensor([list(weights)])
        )[0, -1]
    table = model.item_embedding.weight.detach().double().numpy()
    scores = model.score_all(state[None])[0].tolist()
    everything = sorted(range(ITEMS), key=lambda item: (-scores[item], item))
    if axis.kind is AxisKind.LIST_LENGTH:
        return everything
    candidates, others = everything[:CANDIDATES], everything[CANDIDATES:]
    relevance = scaled([scores[item] for item in candidates])
    if axis.kind is AxisKind.DIVERSITY:
        unit = table / np.linalg.norm(table, axis=1, keepdims=True)
        chosen = []
        while len(chosen) < K:
            gains = {
                n: (1 - level) * relevance[n]
                - level * max([0.0, *(float(unit[item] @ unit[candidates[m]]) for m in chosen)])
                for n, item in enumerate(candidates)
                if n not in chosen
            }
            if not chosen:
                gains = {n: relevance[n] for n in gains}
            chosen.append(max(gains, key=lambda n: gains[n]))
        order = chosen + [n for n in range(CANDIDATES) if n not in chosen]
    else:
        clicked = np.maximum(test.train_clicks_I, 1)
        bits = (-np.log2(clicked / clicked.sum())).tolist()
        since = test.items["available_since"].to_list()
        values = scaled([(bits if axis.kind is AxisKind.NOVELTY else since)[i] for i in candidates])
        gains = [(1 - level) * r + level * v for r, v in zip(relevance, values, strict=True)]
        order = sorted(range(CANDIDATES), key=lambda n: -gains[n])
    return [candidates[n] for n in order] + others


def targets_of(model, test):
    """Session, clicks before (in the window), and the target, for every target in the window."""
    for session in range(test.tokens.n_sessions):
        start, end = test.tokens.offsets[session : session + 2]
        clicks = test.tokens.items[start:end].tolist()
        first = max(0, len(clicks) - 1 - model.config.max_length)
        for history in range(first + 1, len(clicks)):
            yield session, clicks[first:history], clicks[history]


def tables_of(scores, model, test):
    embedding = model.item_embedding.weight.detach().numpy()
    losses = ("click", "order")
    return compute_metric_tables(scores, test, embedding, CONFIG, objectives=losses, seed=0)


def values_of(tables, metric):
    rows = tables.metrics.filter(metric=metric)
    return dict(rows.select("preference_id", "value").iter_rows())


@KINDS
def test_ranks_lists_and_recall_of_every_cell_are_those_by_hand(kind, model, test):
    axis = axis_of(kind)
    found = {one.preference_id: one for one in score_preferences(model, test, CONFIG, axis=axis)}
    tables = tables_of(list(found.values()), model, test)
    recall = {k: values_of(tables, metric) for k, metric in ((K, "recall"), (3, "recall@3"))}
    order_density = values_of(tables, "order_density")

    assert set(found) == {axis.cell(name, level) for name in WEIGHTS for level in axis.levels}
    places = list(targets_of(model, test))
    for name, weights in WEIGHTS.items():
        for level in axis.levels:
            cell = found[axis.cell(name, level)]
            length = axis.list_length(level, K)
            lists = [
                ranking_by_hand(model, test, clicks, (weights, axis, level))
                for _, clicks, _ in places
            ]
            ranks = [
                ranked.index(item) + 1 for ranked, (*_, item) in zip(lists, places, strict=True)
            ]
            shown = [rank if rank <= length or length == K else ITEMS for rank in ranks]
            assert cell.targets.rank.tolist() == shown
            last = {
                session: ranked[:length]
                for (session, *_), ranked in zip(places, lists, strict=True)
            }
            assert cell.lists_SK.tolist() == list(last.values())
            for k, values in recall.items():
                hits = [rank <= min(k, length) for rank in ranks]
                assert values[cell.preference_id] == pytest.approx(sum(hits) / len(ranks))
            ordered = [
                is_ordered
                for rank, is_ordered in zip(ranks, cell.targets.ordered, strict=True)
                if rank <= length
            ]
            expected = sum(ordered) / len(ordered)
            assert order_density[cell.preference_id] == pytest.approx(expected)


@KINDS
def test_at_the_neutral_level_nothing_changes(kind, model, test):
    """Bit for bit, apart from the tables' further rows."""
    without = tables_of(score_preferences(model, test, CONFIG), model, test)
    cells = tables_of(score_preferences(model, test, CONFIG, axis=axis_of(kind)), model, test)

    neutral = pl.col("preference_id").is_in(list(WEIGHTS))
    errors = ("standard_error",)  # the bootstrap multiplies wider matrices
    assert cells.metrics.filter(neutral).drop(errors).equals(without.metrics.drop(errors))
    of_both = neutral & pl.col("other_preference_id").is_in(list(WEIGHTS))
    np.testing.assert_allclose(
        cells.covariance.filter(of_both)["covariance"], without.covariance["covariance"], rtol=1e-9
    )


def test_the_property_of_the_axis_grows_with_the_level(model, test):
    for kind, metric in (
        (AxisKind.DIVERSITY, "intra_list_diversity"),
        (AxisKind.NOVELTY, "novelty"),
    ):
        axis = axis_of(kind)
        values = values_of(
            tables_of(score_preferences(model, test, CONFIG, axis=axis), model, test), metric
        )

        for name in WEIGHTS:
            ascending = [values[axis.cell(name, level)] for level in axis.levels]
            assert ascending == sorted(set(ascending))


def test_the_losses_are_those_of_the_model(model, test):
    axis = axis_of(AxisKind.DIVERSITY)
    tables = tables_of(score_preferences(model, test, CONFIG, axis=axis), model, test)

    for metric in ("click_loss", "order_loss"):
        values = values_of(tables, metric)
        assert all(values[axis.cell(name, 0.8)] == values[name] for name in WEIGHTS)


def test_cells_are_paired(model, test):
    """All are measured on the same sessions, so the errors of two cells are correlated."""
    axis = axis_of(AxisKind.DIVERSITY)
    tables = tables_of(score_preferences(model, test, CONFIG, axis=axis), model, test)
    rows = tables.covariance.filter(metric="recall")
    covariance = {
        tuple(key): value for *key, value in rows.select(pl.exclude("metric", "method")).iter_rows()
    }

    for name in WEIGHTS:
        one, other = name, axis.cell(name, 0.4)
        both = (covariance[one, one] * covariance[other, other]) ** 0.5
        assert 0.3 < covariance[one, other] / both < 1


def test_shards_give_the_same_cells(model, test, monkeypatch):
    monkeypatch.setattr("models.scoring.target_scores._BATCH_SIZE", 7)
    axis = axis_of(AxisKind.DIVERSITY)
    (_, whole, _) = score_preferences(model, test, CONFIG, ids=["p01"], axis=axis)
    parts = [
        score_preferences(model, test, CONFIG, ids=["p01"], axis=axis, shard=Shard(n, 4))[1]
        for n in range(4)
    ]

    ranks = {
        (session, history): rank
        for part in parts
        for session, history, rank in zip(
            part.targets.session.tolist(),
            part.targets.history.tolist(),
            part.targets.rank.tolist(),
            strict=True,
        )
    }
    keys = zip(whole.targets.session.tolist(), whole.targets.history.tolist(), strict=True)
    assert [ranks[key] for key in keys] == whole.targets.rank.tolist()
    lists = {
        s: row
        for part in parts
        for s, row in zip(part.sessions.tolist(), part.lists_SK.tolist(), strict=True)
    }
    assert [lists[s] for s in whole.sessions.tolist()] == whole.lists_SK.tolist()


def test_every_level_has_a_front_of_its_own(model, test):
    axis = axis_of(AxisKind.DIVERSITY)
    metrics = tables_of(score_preferences(model, test, CONFIG, axis=axis), model, test).metrics

    fronts = fronts_by_level(metrics, ("click", "order"), axis)

    of_preferences = metrics.filter(pl.col("preference_id").is_in(list(WEIGHTS)))
    alone = pareto_front(of_preferences, ("click", "order"))
    assert fronts[0].points.equals(alone.points)
    assert fronts[0].hypervolume == alone.hypervolume
    for level, front in zip((0.0, 0.4, 0.8), fronts, strict=True):
        assert front.points["preference_id"].to_list() == [axis.cell(n, level) for n in WEIGHTS]
    labels = [row.get("level_label") for one in fronts for row in point_rows(one.points, axis)]
    assert labels == [None] * 3 + ["diversity 0.4"] * 3 + ["diversity 0.8"] * 3
