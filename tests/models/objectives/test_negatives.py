"""What is drawn, how often it counts, and that logQ makes it stand for the catalogue."""

from collections import Counter
from itertools import product
from math import log, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import ModelError
from models.objectives.negatives import CandidateSampler, Negatives

CLICKS = [1, 2, 3, 6, 8]
SCORES = [1.0, -0.5, 0.3, 0.8, -1.0]
CATALOGUE_SUM = sum(torch.tensor(SCORES).double().exp().tolist())
DRAWS = 2500


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sampler(clicks=CLICKS, **negatives):
    return CandidateSampler(
        Negatives(**{"uniform": 0, **negatives}),
        n_items=len(clicks),
        popularity_I=torch.tensor(clicks),
    )


def weighted_sum(candidates, scores=SCORES):
    """Σ_n w_n exp s_n."""
    score_N = torch.tensor(scores).double()[candidates.items_N]
    return (score_N + candidates.log_weight_N).exp().sum().item()


def test_draws_of_an_item_are_merged_by_hand():
    candidates = sampler(in_batch=True).draw(torch.tensor([4, 1, 4, 3, 4, 1]), generator())

    assert candidates.items_N.tolist() == [1, 3, 4]
    assert candidates.log_weight_N.tolist() == pytest.approx([log(2), log(1), log(3)])


@settings(max_examples=50)
@given(targets=st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_a_merged_sum_is_the_sum_over_all_draws(targets):
    candidates = sampler(in_batch=True).draw(torch.tensor(targets), generator())

    one_by_one = sum(torch.tensor(SCORES[item]).double().exp().item() for item in targets)
    assert weighted_sum(candidates) == pytest.approx(one_by_one, rel=1e-6)


@settings(max_examples=50)
@given(
    uniform=st.integers(0, 9),
    targets=st.lists(st.integers(0, 8), min_size=1, max_size=6),
    in_batch=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_candidates_are_ascending_distinct_and_count_every_draw(uniform, targets, in_batch, seed):
    in_batch = in_batch or not uniform
    drawing = sampler(clicks=[1] * 9, uniform=uniform, in_batch=in_batch)

    candidates = drawing.draw(torch.tensor(targets), generator(seed))

    items = candidates.items_N.tolist()
    assert items == sorted(set(items))
    assert set(items) <= set(range(9))
    times = dict(zip(items, candidates.log_weight_N.exp().tolist(), strict=True))
    assert sum(times.values()) == pytest.approx(uniform + in_batch * len(targets), rel=1e-5)
    for item, in_targets in Counter(targets).items():
        assert times.get(item, 0) >= in_batch * in_targets - 1e-4
    assert all(abs(number - round(number)) < 1e-4 for number in times.values())


def test_uniform_draws_hit_every_item_as_often():
    drawing = sampler(uniform=4)
    times_I = torch.zeros(5, dtype=torch.float64)
    rng = generator()

    for _ in range(DRAWS):
        candidates = drawing.draw(torch.tensor([0]), rng)
        times_I[candidates.items_N] += candidates.log_weight_N.double().exp()

    # 4 draws each with a chance of 1/5, whatever an item's clicks; five standard errors
    error = 5 * sqrt(4 * 1 / 5 * 4 / 5 / DRAWS)
    assert (times_I / DRAWS).tolist() == pytest.approx([4 / 5] * 5, abs=error)


@pytest.mark.parametrize(
    "drawn",
    [{"uniform": 3}, {"in_batch": True}, {"uniform": 3, "in_batch": True}],
    ids=["uniform", "in-batch", "both"],
)
def test_with_log_q_the_mean_sum_is_the_catalogues(drawn):
    drawing = sampler(log_q=True, **drawn)
    share_I = torch.tensor(CLICKS).double() / sum(CLICKS)
    rng = generator()

    sums = torch.tensor(
        [
            weighted_sum(
                drawing.draw(torch.multinomial(share_I, 4, replacement=True, generator=rng), rng)
            )
            for _ in range(DRAWS)
        ]
    )

    error = 5 * sums.std().item() / sqrt(DRAWS)
    assert error < 0.1 * CATALOGUE_SUM
    assert sums.mean().item() == pytest.approx(CATALOGUE_SUM, abs=error)


def test_with_log_q_in_batch_expectation_is_exact():
    # all 5 × 5 batches of two targets, each as often as its items' shares of clicks say
    drawing = sampler(in_batch=True, log_q=True)
    share = [clicks / sum(CLICKS) for clicks in CLICKS]

    expected = sum(
        share[one] * share[two] * weighted_sum(drawing.draw(torch.tensor([one, two]), generator()))
        for one, two in product(range(5), repeat=2)
    )

    assert expected == pytest.approx(CATALOGUE_SUM, rel=1e-6)


def test_log_q_weights_by_hand():
    # item 4 has 8 of 20 clicks: on average 8/20 · 3 of three targets, but it was drawn twice
    candidates = sampler(in_batch=True, log_q=True).draw(torch.tensor([4, 0, 4]), generator())

    assert candidates.items_N.tolist() == [0, 4]
    assert candidates.log_weight_N.tolist() == pytest.approx(
        [log(1) - log(1 / 20 * 3), log(2) - log(8 / 20 * 3)]
    )


def test_an_item_never_clicked_in_train_counts_as_clicked_once():
    drawing = sampler(clicks=[0, 3], in_batch=True, log_q=True)

    candidates = drawing.draw(torch.tensor([0]), generator())

    assert candidates.log_weight_N.tolist() == pytest.approx([log(1) - log(1 / 4 * 1)])


@pytest.mark.parametrize("targets", [[0], [3, 3, 2]], ids=str)
def test_all_is_the_catalogue_each_item_once(targets):
    candidates = sampler(all=True).draw(torch.tensor(targets), generator())

    assert candidates.items_N.tolist() == [0, 1, 2, 3, 4]
    assert candidates.log_weight_N.tolist() == [0] * 5


def test_the_same_generator_gives_the_same_draw_and_another_another():
    drawing = sampler(clicks=[1] * 100, uniform=20)
    targets_P = torch.tensor([0])

    first, again = (drawing.draw(targets_P, generator(3)) for _ in range(2))
    rng = generator(3)
    same, following = (drawing.draw(targets_P, rng) for _ in range(2))

    for candidates in (again, same):
        assert torch.equal(candidates.items_N, first.items_N)
        assert torch.equal(candidates.log_weight_N, first.log_weight_N)
    for other in (following, drawing.draw(targets_P, generator(4))):
        assert other.items_N.tolist() != first.items_N.tolist()


@pytest.mark.parametrize(
    ("negatives", "words"),
    [
        ({"uniform": 6}, "uniform = 6 exceeds the catalogue of 5 items"),
        ({"in_batch": True, "top": 6}, "top = 6 exceeds the catalogue of 5 items"),
        ({"all": True, "top": 7}, "top = 7 exceeds the catalogue of 5 items"),
        ({"uniform": 8, "top": 7}, "uniform = 8 exceeds the catalogue of 5 items"),
    ],
    ids=["uniform", "in-batch-top", "top-of-all", "both"],
)
def test_more_than_the_catalogue_is_refused(negatives, words):
    with pytest.raises(ModelError, match=rf"training\.negatives\.{words}; lower it"):
        sampler(**negatives)


def test_as_many_as_the_catalogue_are_accepted():
    assert sampler(uniform=5, top=5).draw(torch.tensor([0]), generator()).items_N.numel() <= 5
