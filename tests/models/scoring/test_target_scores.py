"""Ranks, losses and lists over the whole catalogue equal a session-by-session twin."""

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.network.configuration import Conditioning, ModelConfig, Positions
from models.network.model import build_model
from models.preferences import preference_grid
from models.scoring import target_scores
from models.scoring.recommend import best_items, rows_at_once, top_items
from models.scoring.target_scores import score_targets
from models.scoring.tie_rule import TieRule
from models.tokens import SessionTokens

EVEN = torch.tensor([[0.5, 0.5]])
ITEMS = 12
WINDOW = 4
ADVERSARIAL = [-math.inf, -1.0, -1e-45, -0.0, 0.0, 1.0, math.nextafter(1.0, 2.0), math.inf]
KINDS = [
    {"backbone": "tron", "conditioning": Conditioning.CONCATENATION, "dropout": 0.5},
    {"backbone": "ligr", "conditioning": Conditioning.LOW_RANK_MIXTURE, "dropout": 0.5},
    {"backbone": "gru4rec", "conditioning": Conditioning.FILM, "dropout": 0.5},
]
quick = settings(max_examples=100)


def lively_model(**changes):
    """A model whose weights are all far from 0, left in training mode as after a step."""
    config = ModelConfig(
        **{"hidden_size": 8, "layers": 1, "heads": 2, "max_length": WINDOW} | changes
    )
    model = build_model(config, n_items=ITEMS, n_objectives=2, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
    return model.train()


def written_sessions(lengths, seed=0):
    random = np.random.default_rng(seed)
    return [
        [(int(random.integers(ITEMS)), int(random.integers(2))) for _ in range(length)]
        for length in lengths
    ]


def scores_after(model, clicks, preference):
    """Scores of every item after the clicks, the session computed alone."""
    recent = clicks[-WINDOW:]
    with torch.no_grad():
        states = model(
            torch.tensor([recent]), torch.tensor([len(recent)]), torch.tensor([preference])
        )
        return model.score_all(states[0])[-1].tolist()


def rank_by_sorting(scores, target):
    """The middle place of the target's score in the sorted scores, rounded down the list."""
    places = [
        place
        for place, score in enumerate(sorted(scores, reverse=True), start=1)
        if score == scores[target]
    ]
    return math.ceil((places[0] + places[-1]) / 2)


def best_by_sorting(scores, k):
    return sorted(range(len(scores)), key=lambda item: (-scores[item], item))[:k]


@pytest.mark.parametrize("preference", [(0.3, 0.7), (1.0, 0.0)])
@pytest.mark.parametrize("config", KINDS, ids=lambda config: config["backbone"])
def test_target_scores_equal_a_session_by_session_twin(config, preference, monkeypatch):
    monkeypatch.setattr(target_scores, "_BATCH_SIZE", 3)
    model = lively_model(**config)
    written = written_sessions([2, 7, 3, 2, 5, 9, 4, 2])

    _, got = score_targets(
        model, SessionTokens.from_lists(written), torch.tensor([(0.5, 0.5), preference])
    )

    expected = []
    for number, session in enumerate(written):
        window = session[-(WINDOW + 1) :]
        for place in range(1, len(window)):
            target, ordered = window[place]
            scores = scores_after(model, [item for item, _ in window[:place]], preference)
            likely = 1 / (1 + math.exp(-scores[target]))
            click_loss = math.log(sum(map(math.exp, scores))) - scores[target]
            order_loss = -math.log(likely if ordered else 1 - likely)
            rank = rank_by_sorting(scores, target)
            distortion = math.log(sum(map(math.exp, scores))) - sum(scores) / len(scores)
            uniformity = math.log(len(scores)) / distortion
            found = (click_loss, uniformity, order_loss)
            expected.append((number, target, bool(ordered), rank, *found))
    losses = (got.click_loss, got.uniformity, got.order_loss)
    columns = (got.session, got.item, got.ordered, got.rank, *losses)
    rows = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert [row[:4] for row in rows] == [row[:4] for row in sorted(expected)]
    np.testing.assert_allclose(
        [row[4:] for row in rows], [row[4:] for row in sorted(expected)], rtol=1e-4, atol=1e-5
    )


def test_the_rule_of_ties_decides_the_ranks():
    model, tokens = lively_model(), SessionTokens.from_lists([[(1, 0), (2, 0), (3, 1)]])
    with torch.no_grad():
        model.item_embedding.weight[:] = model.item_embedding.weight[0]  # all items tie

    ranks = {
        rule: score_targets(model, tokens, EVEN, ties=rule)[0].rank.tolist() for rule in TieRule
    }

    assert ranks == {
        TieRule.OPTIMISTIC: [1, 1],
        TieRule.HALF: [1 + 6, 1 + 6],  # half of 11 others, rounded up
        TieRule.PESSIMISTIC: [ITEMS, ITEMS],
    }


def test_the_click_loss_is_left_out_where_nobody_wants_it():
    model, tokens = lively_model(), SessionTokens.from_lists(written_sessions([3, 5]))

    (with_loss,), (without,) = (
        score_targets(model, tokens, EVEN, with_click_loss=wanted) for wanted in (True, False)
    )

    assert with_loss.click_loss is not None
    assert without.click_loss is None
    assert without.rank.tolist() == with_loss.rank.tolist()


def test_preferences_are_ranked_independently():
    model = lively_model(conditioning=Conditioning.FILM)
    tokens = SessionTokens.from_lists(written_sessions([2, 7, 3, 5] * 5))
    grid = preference_grid(4)

    together = score_targets(model, tokens, grid)

    for row, one in enumerate(together):
        (alone,) = score_targets(model, tokens, grid[row : row + 1])
        for mine, yours in zip(astuple(one), astuple(alone), strict=True):
            np.testing.assert_array_equal(mine, yours)


def test_a_folded_model_scores_targets_as_the_model_under_its_preference():
    model, tokens = (
        lively_model(conditioning=Conditioning.FILM),
        SessionTokens.from_lists(written_sessions([5] * 10)),
    )
    preference, another = torch.tensor([0.3, 0.7]), torch.tensor([1.0, 0.0])

    (one,), (twin,) = (
        score_targets(model, tokens, preference[None]),
        score_targets(model.folded(preference), tokens, another[None]),
    )

    assert (one.rank == twin.rank).all()
    np.testing.assert_allclose(one.click_loss, twin.click_loss, rtol=1e-4)


def test_targets_beyond_the_window_are_left_out():
    tokens = SessionTokens.from_lists(written_sessions([WINDOW + 1, WINDOW + 2, 50]))

    (scores,) = score_targets(lively_model(), tokens, EVEN)

    assert np.bincount(scores.session).tolist() == [WINDOW, WINDOW, WINDOW]


def test_a_session_of_one_click_has_no_target():
    tokens = SessionTokens.from_lists([[(1, 0)], [(2, 0), (3, 1)]])

    (scores,) = score_targets(lively_model(), tokens, EVEN)

    assert (scores.session.tolist(), scores.item.tolist()) == ([1], [3])


def test_batches_without_any_target_are_passed_over(monkeypatch):
    monkeypatch.setattr(target_scores, "_BATCH_SIZE", 1)

    (scores,) = score_targets(
        lively_model(), SessionTokens.from_lists([[(1, 0)], [(2, 0), (3, 1)]]), EVEN
    )

    assert scores.item.tolist() == [3]


def test_preference_decides_the_target_scores():
    model, tokens = lively_model(), SessionTokens.from_lists(written_sessions([5] * 20))

    one, other = score_targets(model, tokens, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))

    assert (one.rank != other.rank).any()
    assert (one.click_loss != other.click_loss).all()


@pytest.mark.parametrize(
    "score",
    [
        lambda model, preference: score_targets(
            model, SessionTokens.from_lists([[(1, 0), (2, 0)]]), preference[None]
        ),
        lambda model, preference: top_items(model, [np.array([1])], preference[None], 3),
    ],
    ids=["targets", "lists"],
)
def test_a_preference_off_the_simplex_is_refused(score):
    with pytest.raises(ModelError, match="not a point of the simplex"):
        score(lively_model(), torch.tensor([0.9, 0.9]))


@pytest.mark.parametrize("positions", list(Positions))
@pytest.mark.parametrize("config", KINDS, ids=lambda config: config["backbone"])
def test_top_items_equal_brute_force_for_each_session_alone(config, positions):
    model = lively_model(**config, positions=positions)
    random = np.random.default_rng(3)
    sessions = [random.integers(ITEMS, size=length) for length in (1, 3, 9, WINDOW, 2, WINDOW + 1)]
    weights = random.uniform(size=len(sessions))
    preferences = np.stack([weights, 1 - weights], axis=1).astype(np.float32)

    for k in (1, 5, ITEMS):
        lists = top_items(model, sessions, torch.from_numpy(preferences), k)
        expected = [
            best_by_sorting(scores_after(model, clicks.tolist(), preference.tolist()), k)
            for clicks, preference in zip(sessions, preferences, strict=True)
        ]
        assert lists.tolist() == expected


def test_top_items_read_only_the_window():
    model, recent = lively_model(), [1, 2, 3, 4]
    others = [[first, 2, 3, 4] for first in range(2, ITEMS)]
    sessions = [np.array(session) for session in (recent, [9, 8, *recent], *others)]
    preference_BO = torch.tensor([[0.5, 0.5]] * len(sessions))

    expected, longer, *changed = top_items(model, sessions, preference_BO, ITEMS).tolist()

    assert longer == expected  # clicks before the window are not read
    assert any(one != expected for one in changed)  # its first click is


def test_ties_go_to_the_lower_item():
    model = lively_model()
    with torch.no_grad():  # all items score exactly 0, except that 7 and 9 gain and 3 loses
        model.norm.weight.zero_()
        model.norm.bias.copy_(
            torch.eye(model.config.hidden_size)[0]
        )  # every hidden state is (1, 0, …)
        model.item_embedding.weight.zero_()
        model.item_embedding.weight[[7, 9], 0] = 1.0
        model.item_embedding.weight[3, 0] = -1.0

    lists = [top_items(model, [np.array([5])], torch.tensor([[0.5, 0.5]]), k) for k in (1, 5, 12)]

    assert lists[0].tolist() == [[7]]
    assert lists[1].tolist() == [[7, 9, 0, 1, 2]]
    assert lists[2].tolist() == [[7, 9, 0, 1, 2, 4, 5, 6, 8, 10, 11, 3]]


@pytest.mark.slow
@quick
@given(
    rows=st.integers(1, 9).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from(ADVERSARIAL), min_size=n, max_size=n), min_size=1, max_size=4
        )
    ),
    data=st.data(),
)
def test_best_equals_a_full_sort_on_adversarial_scores(rows, data):
    k = data.draw(st.integers(1, len(rows[0])))

    scores_BI = torch.tensor(rows, dtype=torch.float64)
    values, best = best_items(scores_BI, k)

    assert torch.equal(values, scores_BI.gather(1, best))
    assert best.tolist() == [best_by_sorting(scores, k) for scores in rows]


@pytest.mark.parametrize("size", [40, 3000], ids=["small", "large"])
def test_many_ties_at_the_end_of_the_list_go_to_the_lowest_items(size):
    scores_BI = torch.zeros(2, size)
    scores_BI[1, size - 1] = 1.0

    assert best_items(scores_BI, 3)[1].tolist() == [[0, 1, 2], [size - 1, 0, 1]]


@pytest.mark.parametrize("k", [1, 20, 100])
@pytest.mark.parametrize("size", [65_536, 70_001], ids=["whole tiles", "a rest"])
def test_the_best_of_a_large_catalogue_are_those_of_a_full_sort(size, k):
    generator = torch.Generator().manual_seed(k)
    scores_BI = torch.randn(5, size, generator=generator)
    scores_BI[1] = scores_BI[1].round(decimals=1)  # ties, also at the end of the list
    scores_BI[2] = -torch.inf
    scores_BI[2, torch.arange(0, 65_000, 500)] = torch.rand(130, generator=generator)
    scores_BI[3] = scores_BI[3].sort().values  # all in the last tiles
    scores_BI[4] = scores_BI[4].sort(descending=True).values  # all in the first tiles

    values, best = best_items(scores_BI, k)

    expected = torch.argsort(scores_BI, dim=1, descending=True, stable=True)[:, :k]
    assert torch.equal(best, expected)
    assert torch.equal(values, scores_BI.gather(1, expected))


def test_scores_of_a_large_catalogue_take_bounded_memory():
    sizes = [rows_at_once(n_items, 512) for n_items in (3_000, 50_000, 250_000, 2_000_000)]

    assert sizes == [512, 80, 16, 16]


@pytest.mark.parametrize("k", [0, ITEMS + 1])
def test_a_list_longer_than_the_catalogue_or_empty_is_refused(k):
    with pytest.raises(ModelError, match=f"asked for {k} items, but the catalogue has {ITEMS}"):
        top_items(lively_model(), [np.array([1])], torch.tensor([[0.5, 0.5]]), k)
