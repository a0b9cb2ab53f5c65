"""The comparison of two arms: by hand, against users, and at all looks."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from pipeline.rollout.decisions.comparison import (
    Comparison,
    Rule,
    compare_kpi,
    compare_requests,
    half_width,
)
from pipeline.rollout.sums import UserSums
from tests.pipeline.rollout.releases import kpi_sums


def test_one_stage_by_hand():
    """2 users of the candidate with 1 of 4 and 3 of 4 clicks, 2 of the incumbent with 1 of 2 and 2 of 6."""
    new = (np.array([[4.0], [4.0]]), np.array([[1.0], [3.0]]))
    old = (np.array([[2.0], [6.0]]), np.array([[1.0], [2.0]]))

    found = compare_kpi(kpi_sums(new, old))

    # residuals y - r m: -1 and 1 of 8; 1 - 3/4 = 1/4 and 2 - 9/4 = -1/4 of 8
    variance = (2 / 64) / 0.5**2 + (2 / 16 / 64) / 0.375**2
    assert found == Comparison(
        difference=pytest.approx(log(0.5 / 0.375)),
        standard_error=pytest.approx(variance**0.5),
        users=2,
        candidate=0.5,
        incumbent=0.375,
    )


def test_users_of_several_stages_are_one_cluster(rng):
    """The variance over users whose impressions are in two stages, from their sums and from themselves."""
    n = 3000
    taste = rng.beta(0.5, 4.5, n)[:, None]
    m_US = rng.poisson([2.0, 5.0], (n, 2)).astype(float)
    y_US = rng.binomial(m_US.astype(int), taste).astype(float)
    other = (m_US[::-1], rng.binomial(m_US[::-1].astype(int), taste[::-1]).astype(float))

    found = compare_kpi(kpi_sums((m_US, y_US), other))

    weight_S = (m_US > 0).sum(0) / (m_US > 0).sum()
    errors = []
    for m, y in ((m_US, y_US), other):
        rate_S = y.sum(0) / m.sum(0)
        influence_U = ((y - rate_S * m) * weight_S / m.sum(0)).sum(1)
        errors.append((influence_U**2).sum() / (weight_S @ rate_S) ** 2)
    assert found.standard_error == pytest.approx(sum(errors) ** 0.5)
    ignored = UserSums.of(m_US, y_US)
    split = replace(
        ignored,
        mm_SS=np.diag(np.diag(ignored.mm_SS)),
        my_SS=np.diag(np.diag(ignored.my_SS)),
        yy_SS=np.diag(np.diag(ignored.yy_SS)),
    )
    apart = compare_kpi(replace(kpi_sums((m_US, y_US), other), candidate=split, incumbent=split))
    assert apart.standard_error < 0.95 * found.standard_error


def test_a_changing_share_and_rate_are_no_effect(rng):
    """Simpson's paradox: in stage 2 everybody clicks half as often, and the candidate has most of its users."""
    shares, rates, people = (0.05, 0.5), (0.2, 0.1), 20_000

    def arm(share_S):
        m_US = np.zeros((sum(int(people * s) for s in share_S), 2))
        first = int(people * share_S[0])
        m_US[:first, 0] = m_US[first:, 1] = 5
        return m_US, rng.binomial(5, np.where(m_US > 0, rates, 0)).astype(float)

    new, old = arm(shares), arm([1 - s for s in shares])
    pooled = log(new[1].sum() / new[0].sum() / (old[1].sum() / old[0].sum()))

    found = compare_kpi(kpi_sums(new, old))

    assert pooled < -0.2
    assert abs(found.difference) < 3 * found.standard_error < 0.06


def test_a_stage_that_one_arm_lacks_is_not_compared():
    new = (np.array([[5.0, 0.0]] * 4), np.array([[1.0, 0.0]] * 4))
    old = (np.array([[5.0, 5.0]] * 4), np.array([[1.0, 5.0]] * 4))

    assert compare_kpi(kpi_sums(new, old)).difference == 0


def test_without_successes_of_the_incumbent_there_is_no_ratio():
    some, none = (np.full((4, 1), 5.0), np.ones((4, 1))), (np.full((4, 1), 5.0), np.zeros((4, 1)))

    assert compare_kpi(kpi_sums(some, none)) is None
    assert compare_kpi(kpi_sums(some, (0 * some[0], 0 * some[1]))) is None
    assert compare_kpi(kpi_sums((0 * some[0], 0 * some[1]), some)) is None


def test_a_candidate_without_any_click_is_harmed():
    """0 of 1,000 against 100 of 1,000: a share of 1 / 1,002 is the most that its error knows of."""
    m_US = np.full((200, 1), 5.0)
    clicks = np.zeros((200, 1))
    clicks[:100] = 1

    found = compare_kpi(kpi_sums((m_US, 0 * m_US), (m_US, clicks)))

    own = 1001 / 1002**2 / 1000
    other = 200 * 0.5**2 / 1000**2  # residuals of ±1/2
    assert found.difference == -1
    assert found.standard_error == pytest.approx((own + other) ** 0.5 / 0.1)
    rule = Rule(need=200, n_star=20_000, alpha=0.05, guardrails=4)
    assert rule.verdict(found, tolerated=None, is_time=False) == "roll back"


def test_no_error_yet_is_not_certainty():
    """Of 20 requests none fails: a share of 1 / 22 has a variance of 1/22 · 21/22 / 20."""
    none = (np.full((4, 1), 5.0), np.zeros((4, 1)))

    found = compare_requests(kpi_sums(none, none))

    assert found.difference == 0
    assert found.standard_error == pytest.approx((2 * 21 / 22**2 / 20) ** 0.5)


def test_a_higher_share_of_errors_is_a_negative_difference():
    m_US = np.full((50, 1), 4.0)

    found = compare_requests(kpi_sums((m_US, m_US / 4), (m_US, 0 * m_US)))

    assert (found.difference, found.candidate, found.incumbent) == (-0.25, 0.25, 0.0)


@pytest.mark.parametrize(
    ("users", "multiplier"),
    [(5000, 2.7639385725679033), (500, 3.6258465162033184), (50_000, 2.9844766948405974)],
)
def test_bound_at_all_looks(users, multiplier):
    """Golden: one-sided multipliers of the standard error at n*, n*/10 and 10 n*."""
    assert half_width(1.0, users, n_star=5000, alpha=0.05) == pytest.approx(multiplier, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((-0.2, 0.05, 1000, 1), "hold"),
        ((-0.3, 0.05, 1000, 1), "roll back"),
        ((0.0, 0.01, 20_000, 1), "advance"),
        ((0.0, 0.01, 20_000, 0), "hold"),
        ((-0.5, 0.05, 100, 3), "hold"),
        ((0.0, 0.08, 1000, 3), "hold"),
    ],
)
def test_verdicts(values, verdict):
    """Golden: a margin of 0.1, at least 200 users and 1 day, n* = 20,000, alpha = 0.05."""
    difference, error, users, days = values
    comparison = Comparison(
        difference=difference, standard_error=error, users=users, candidate=1, incumbent=1
    )
    rule = Rule(need=200, n_star=20_000, alpha=0.05)

    assert rule.verdict(comparison, tolerated=0.1, is_time=days >= 1) == verdict


def test_several_guardrails_share_the_error_rate_of_harm_only():
    comparison = Comparison(
        difference=-0.19, standard_error=0.05, users=1000, candidate=1, incumbent=1
    )
    alone = Rule(need=200, n_star=20_000, alpha=0.05)
    shared = replace(alone, guardrails=4)

    assert shared.bounds(comparison)[0] == alone.bounds(comparison)[0]
    assert shared.bounds(comparison)[1] > alone.bounds(comparison)[1]
    assert shared.bounds(comparison)[1] == replace(alone, alpha=0.0125).bounds(comparison)[1]


def test_a_look_after_every_day_keeps_the_error_rate(rng):
    """40 looks of 400 users per arm, no difference: a bound of 5% rolls back at most 5%, a fixed one far more."""
    runs, looks, per, n_star = 200, 40, 400, 10_000
    n = np.arange(1, looks + 1) * per
    chance = 0.1

    def arm():
        clicks = rng.binomial(5, rng.beta(chance * 20, (1 - chance) * 20, (runs, looks, per)))
        return clicks.sum(2).cumsum(1), (clicks**2).sum(2).cumsum(1)

    (new, new_squares), (old, old_squares) = arm(), arm()
    difference = np.log(new / old)
    variance = sum(
        (q / n - (y / n) ** 2) / n / (y / n) ** 2
        for y, q in ((new, new_squares), (old, old_squares))
    )
    width = np.array([half_width(1.0, k, n_star=n_star, alpha=0.05) for k in n])

    always = (difference + width * np.sqrt(variance) < 0).any(1).mean()
    naive = (difference + 1.645 * np.sqrt(variance) < 0).any(1).mean()
    assert always <= 0.05
    assert naive > 0.2
