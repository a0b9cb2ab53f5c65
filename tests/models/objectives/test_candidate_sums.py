"""The fused sums against two plain loops, in values and in gradients."""

from math import exp, log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from models.objectives import candidate_sums as fast_path
from models.objectives.candidate_sums import candidate_sums
from models.objectives.negatives import Candidates
from models.objectives.objectives import distortion_loss, softmax_loss

WIDTH = 3
tops = pytest.mark.parametrize("top", [None, 1, 3, 50], ids=["all", "one", "three", "more"])


def random_case(*, positions, candidates, seed, dtype=torch.float32):
    """Hidden states, embeddings, candidates and targets, half of them among the candidates."""
    rng = torch.Generator().manual_seed(seed)
    hidden_PD = torch.randn(positions, WIDTH, generator=rng, dtype=torch.float64)
    embedding_ND = torch.randn(candidates, WIDTH, generator=rng, dtype=torch.float64)
    items_N = torch.randperm(2 * candidates, generator=rng)[:candidates].sort().values
    drawn = Candidates(items_N, torch.randn(candidates, generator=rng))
    targets_P = torch.randint(2 * candidates, (positions,), generator=rng)
    return (
        hidden_PD.to(dtype).requires_grad_(),
        embedding_ND.to(dtype).requires_grad_(),
        drawn,
        targets_P,
    )


def sums_by_loops(hidden_PD, embedding_ND, candidates, targets_P, *, top=None):
    """Each position's candidates, one after the other; P × 4 in float64."""
    items, weights = candidates.items_N.tolist(), candidates.log_weight_N.double()
    hidden_PD, embedding_ND = hidden_PD.double(), embedding_ND.double()
    nothing = torch.cat([hidden_PD[:0], embedding_ND[:0]]).flatten()  # has a gradient, 0
    rows = []
    for hidden_D, target in zip(hidden_PD, targets_P.tolist(), strict=True):
        scored = []
        for item, embedding_D, weight in zip(items, embedding_ND, weights, strict=True):
            if item != target:
                scored.append(torch.stack([hidden_D @ embedding_D, weight]))
        scored.sort(key=lambda pair: pair[0].item(), reverse=True)
        score_K, weight_K = torch.cat([nothing, *scored[:top]]).reshape(-1, 2).T
        rows.append(
            torch.stack(
                [
                    (score_K + weight_K).exp().sum().log(),
                    score_K.sum(),
                    torch.tensor(len(score_K)).double(),
                    (1 + score_K.exp()).log().sum(),
                ]
            )
        )
    return torch.stack(rows)


def as_matrix(sums):
    columns = (sums.log_sum_exp_P, sums.sum_P, sums.number_P, sums.softplus_P)
    return torch.stack([column.double() for column in columns], dim=1)


def gradients(sums_PS, hidden_PD, embedding_ND):
    """Of a random mixture of all finite sums."""
    rng = torch.Generator().manual_seed(7)
    mixture_PS = torch.randn(sums_PS.shape, generator=rng, dtype=torch.float64)
    mixed = torch.where(sums_PS.isfinite(), mixture_PS * sums_PS, 0).sum()
    return torch.autograd.grad(mixed, (hidden_PD, embedding_ND))


def assert_same(fast_PS, slow_PS, hidden_PD, embedding_ND):
    torch.testing.assert_close(fast_PS, slow_PS, rtol=1e-5, atol=1e-5)
    fast, slow = (gradients(one, hidden_PD, embedding_ND) for one in (fast_PS, slow_PS))
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@settings(max_examples=80)
@given(
    positions=st.integers(1, 7),
    candidates=st.integers(1, 6),
    top=st.none() | st.integers(1, 8),
    rows_at_once=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)
def test_sums_and_gradients_are_those_of_loops(positions, candidates, top, rows_at_once, seed):
    hidden_PD, embedding_ND, drawn, targets_P = random_case(
        positions=positions, candidates=candidates, seed=seed
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path, "_ROWS_PER_BLOCK", rows_at_once)
        fast_PS = as_matrix(
            candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top, softplus=True)
        )
        slow_PS = sums_by_loops(hidden_PD, embedding_ND, drawn, targets_P, top=top)
        assert_same(fast_PS, slow_PS, hidden_PD, embedding_ND)


@tops
@pytest.mark.parametrize("own", ["all", "none"])
def test_whether_or_not_the_own_target_is_among_them(top, own):
    hidden_PD, embedding_ND, drawn, _ = random_case(positions=6, candidates=6, seed=1)
    others = [item for item in range(12) if item not in drawn.items_N.tolist()]
    targets_P = drawn.items_N.clone() if own == "all" else torch.tensor(others)

    sums = candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top, softplus=True)

    slow_PS = sums_by_loops(hidden_PD, embedding_ND, drawn, targets_P, top=top)
    assert_same(as_matrix(sums), slow_PS, hidden_PD, embedding_ND)
    number = min(top or 6, 5 if own == "all" else 6)
    assert sums.number_P.tolist() == [number] * 6


@tops
def test_more_positions_than_are_scored_at_once(top):
    positions = 2 * fast_path._ROWS_PER_BLOCK + 88
    hidden_PD, embedding_ND, drawn, targets_P = random_case(
        positions=positions, candidates=8, seed=2
    )

    sums = candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top, softplus=True)

    score_PN = hidden_PD.double() @ embedding_ND.double().T
    own_PN = drawn.items_N == targets_P[:, None]
    rank_PN = score_PN.masked_fill(own_PN, -torch.inf).argsort(dim=1, descending=True).argsort()
    counted_PN = ~own_PN & (rank_PN < (top or 8))
    weighted_PN = (score_PN + drawn.log_weight_N).masked_fill(~counted_PN, -torch.inf)
    slow_PS = torch.stack(
        [
            weighted_PN.logsumexp(dim=1),
            (score_PN * counted_PN).sum(dim=1),
            counted_PN.sum(dim=1).double(),
            (functional.softplus(score_PN) * counted_PN).sum(dim=1),
        ],
        dim=1,
    )
    assert_same(as_matrix(sums), slow_PS, hidden_PD, embedding_ND)


@tops
def test_gradients_are_slopes(top):
    # the sums are float32, so differences are taken over a wide step
    hidden_PD, embedding_ND, drawn, targets_P = random_case(
        positions=4, candidates=5, seed=3, dtype=torch.float64
    )

    def values(hidden_PD, embedding_ND):
        sums = candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top, softplus=True)
        return sums.log_sum_exp_P, sums.sum_P, sums.softplus_P

    torch.autograd.gradcheck(values, (hidden_PD, embedding_ND), eps=1e-2, atol=1e-3, rtol=1e-3)


def test_sums_by_hand():
    hidden_PD = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    embedding_ND = torch.tensor([[log(2), 0.0], [log(3), log(5)], [log(7), -log(2)]])
    drawn = Candidates(torch.tensor([4, 6, 9]), torch.tensor([0.0, log(10), 0.0]))

    sums = candidate_sums(hidden_PD, embedding_ND, drawn, torch.tensor([6, 1]), softplus=True)

    assert sums.log_sum_exp_P.exp().tolist() == pytest.approx([2 + 7, 1 + 10 * 5 + 1 / 2])
    assert sums.sum_P.exp().tolist() == pytest.approx([2 * 7, 1 * 5 / 2], rel=1e-5)
    assert sums.number_P.tolist() == [2, 3]
    assert sums.softplus_P.exp().tolist() == pytest.approx(
        [(1 + 2) * (1 + 7), (1 + 1) * (1 + 5) * (1 + 1 / 2)], rel=1e-5
    )


def test_the_highest_scores_count_whatever_their_weights():
    # of scores 3, 2, 1 the two highest; the third's weight of e^9 does not bring it in
    drawn = Candidates(torch.tensor([0, 1, 2]), torch.tensor([0.0, 0.5, 9.0]))
    sums = candidate_sums(
        torch.tensor([[1.0]]),
        torch.tensor([[3.0], [2.0], [1.0]]),
        drawn,
        torch.tensor([5]),
        top=2,
    )

    assert sums.sum_P.tolist() == [3 + 2]
    assert sums.log_sum_exp_P.tolist() == pytest.approx([log(exp(3) + exp(2 + 0.5))])


@tops
@pytest.mark.parametrize("size", [80.0, 800.0], ids=str)
def test_extreme_scores_neither_overflow_nor_vanish(top, size):
    hidden_PD = torch.tensor([[size], [-size], [size]], requires_grad=True)
    embedding_ND = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    drawn = Candidates(torch.tensor([0, 1]), torch.zeros(2))

    sums = candidate_sums(
        hidden_PD, embedding_ND, drawn, torch.tensor([2, 2, 0]), top=top, softplus=True
    )
    (sums.log_sum_exp_P + sums.sum_P + sums.softplus_P).sum().backward()

    # the third position's own score is the size, so less the size is all it has
    both = 0 if top != 1 else size
    assert sums.log_sum_exp_P.tolist() == pytest.approx([size, size, -size])
    assert sums.sum_P.tolist() == pytest.approx([both, both, -size])
    assert sums.softplus_P.tolist() == pytest.approx([size, size, 0], abs=1e-5)
    for grown in (hidden_PD, embedding_ND):
        assert grown.grad is not None
        assert grown.grad.isfinite().all()


@tops
def test_a_position_whose_own_target_is_the_only_candidate_has_none(top):
    hidden_PD = torch.tensor([[2.0], [2.0]], requires_grad=True)
    embedding_ND = torch.tensor([[1.5]], requires_grad=True)
    drawn = Candidates(torch.tensor([4]), torch.tensor([log(3)]))

    sums = candidate_sums(
        hidden_PD, embedding_ND, drawn, torch.tensor([4, 0]), top=top, softplus=True
    )
    positive_P = torch.tensor([2 * 1.5, 1.0])
    (softmax_loss(positive_P, sums) + distortion_loss(positive_P, sums)).sum().backward()

    assert sums.log_sum_exp_P.tolist() == pytest.approx([-torch.inf, 2 * 1.5 + log(3)])
    assert sums.sum_P.tolist() == [0, 2 * 1.5]
    assert sums.number_P.tolist() == [0, 1]
    assert sums.softplus_P.tolist() == pytest.approx([0, log(1 + exp(2 * 1.5))])
    assert softmax_loss(positive_P, sums)[0] == 0
    assert hidden_PD.grad is not None
    assert embedding_ND.grad is not None
    assert hidden_PD.grad[0].tolist() == [0]
    assert hidden_PD.grad.isfinite().all()
    assert embedding_ND.grad.isfinite().all()


@tops
def test_no_position_gives_empty_sums_and_no_gradient(top):
    # a process may get no session of a small batch
    _, embedding_ND, drawn, _ = random_case(positions=1, candidates=4, seed=4)
    hidden_PD = torch.zeros(0, WIDTH, requires_grad=True)

    sums = candidate_sums(
        hidden_PD, embedding_ND, drawn, torch.zeros(0, dtype=torch.long), top=top, softplus=True
    )
    (sums.log_sum_exp_P.sum() + sums.sum_P.sum() + sums.softplus_P.sum()).backward()

    assert as_matrix(sums).shape == (0, 4)
    assert embedding_ND.grad is not None
    assert not embedding_ND.grad.any()


@tops
def test_bfloat16_stays_close(top):
    hidden_PD, embedding_ND, drawn, targets_P = random_case(positions=12, candidates=15, seed=5)
    exact_PS = as_matrix(
        candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top, softplus=True)
    )

    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums = candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top, softplus=True)

    assert sums.log_sum_exp_P.dtype == sums.sum_P.dtype == sums.softplus_P.dtype == torch.float32
    rounded_PS = as_matrix(sums)
    assert not torch.equal(rounded_PS, exact_PS)
    # two factors and their product, each rounded to 8 bits: a score is off by 3/256 of its terms
    off_P = 3 / 256 * (hidden_PD.abs() @ embedding_ND.abs().T).amax(dim=1).double()
    number_P = exact_PS[:, 2]
    for column, times_P in enumerate([1, number_P, 0, number_P]):
        assert ((rounded_PS - exact_PS)[:, column].abs() <= off_P * times_P).all()
    rounded, exact = (gradients(one, hidden_PD, embedding_ND) for one in (rounded_PS, exact_PS))
    for one, other in zip(rounded, exact, strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


def test_softplus_is_summed_only_where_it_is_wanted():
    hidden_PD, embedding_ND, drawn, targets_P = random_case(positions=3, candidates=4, seed=6)

    for top in (None, 2):
        sums = candidate_sums(hidden_PD, embedding_ND, drawn, targets_P, top=top)
        assert sums.softplus_P.tolist() == [0] * 3
