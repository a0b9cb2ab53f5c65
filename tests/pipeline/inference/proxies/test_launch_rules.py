"""Launch rules: outcomes by hand, cross-validation over real users, and planted returns."""

import numpy as np
import polars as pl
import pytest

from pipeline.inference.proxies.latent_effects import Draws
from pipeline.inference.proxies.launch_rules import Scores, evaluate, rule_scores
from pipeline.inference.proxies.portfolio import usual_test
from pipeline.inference.proxies.rotated_tests import rotate
from pipeline.results.proxies import RuleKind


def effects(metric, kpi, metric_error, kpi_error, variants=1):
    """A table of tests; with several variants the control has half of a contrast's variance."""
    number = len(kpi)
    names = [f"t{n // variants:04}" for n in range(number)]
    labels = [f"v{n % variants}" for n in range(number)]
    parts = []
    for name, values, size in (("m", metric, metric_error), ("kpi", kpi, kpi_error)):
        error = np.broadcast_to(size, number).astype(float)
        own = error**2 / 2 if variants > 1 else error**2
        parts.append(
            pl.DataFrame(
                {
                    "test": names,
                    "variant": labels,
                    "name": name,
                    "estimate": np.asarray(values, dtype=float),
                    "variance": own,
                    "shared": error * 0.5**0.5 if variants > 1 else 0 * error,
                    "error_known": True,
                }
            )
        )
    return pl.concat(parts)


def by(kind, tests, column):
    weights = np.zeros((tests, 2))
    weights[:, column] = 1
    return Scores(kind=kind, metric="m", weights_ED=weights)


def test_outcomes_by_hand():
    # two variants each; the metric chooses variant 1, the control and variant 0
    metric = [0.1, 0.3, -0.2, -0.1, 0.4, 0.2]
    tests = rotate(effects(metric, np.zeros(6), 0.0, 1.0, variants=2), ["m"], "kpi", 0.0)
    truth = np.array([[[1.0, 3.0], [0.5, -1.0], [2.0, -4.0]]])
    root = np.linalg.cholesky((np.eye(2) + 1) / 2)
    draws = Draws(
        covariance_NDD=np.eye(2)[None],
        kpi_NK=(truth @ np.linalg.inv(root).T).reshape(1, 6),
    )

    (found,) = evaluate(
        tests, draws, [by(RuleKind.METRIC, 3, 0)], np.random.default_rng(0), level=0.95
    )

    # it launches 3, keeps the control where 0.5 was possible, and launches 2
    assert (found.launched, found.right) == (2, 2)
    assert found.share == pytest.approx((3 + 0 + 2) / (3 + 0.5 + 2))
    # measured lifts are 0
    assert found.earned == 0


def test_folds_that_are_drawn_earn_as_folds_of_real_users():
    rng = np.random.default_rng(4)
    tests, users, folds = 3, 400, 10
    lifts = np.array([0.05, -0.02, 0.0])
    values = lifts[:, None] + rng.normal(0, 1, (tests, users))
    measured, error = values.mean(axis=1), values.std(axis=1, ddof=1) / users**0.5

    earned = []
    for _ in range(3_000):
        fold = rng.permutation(users).reshape(folds, -1)
        of_fold = values[:, fold].mean(axis=2)
        others = (folds * measured[:, None] - of_fold) / (folds - 1)
        earned.append(np.where(others > 0, of_fold, 0.0).mean(axis=1))
    expected, spread = np.mean(earned, axis=0), np.std(earned, axis=0)

    table = rotate(effects(np.ones(tests), measured, 0.0, error), ["m"], "kpi", 0.0)
    draws = Draws(covariance_NDD=np.eye(2)[None], kpi_NK=np.ones((1, tests)))
    found = [
        evaluate(table, draws, [by(RuleKind.KPI, tests, 1)], rng, level=0.95)[0].earned
        for _ in range(60)
    ]

    error = np.sqrt((spread**2).sum() / 3_000) / tests + np.std(found) / 60**0.5
    assert abs(np.mean(found) - expected.mean()) < 4 * error


def test_what_is_earned_is_not_the_luck_it_was_chosen_by():
    rng = np.random.default_rng(5)
    number, error = 4_000, 2.0
    true = rng.normal(size=number)
    kpi = true + error * rng.normal(size=number)
    tests = rotate(effects(true, kpi, 0.0, error), ["m"], "kpi", 0.0)
    draws = Draws(covariance_NDD=np.eye(2)[None], kpi_NK=true[None])

    by_metric, by_kpi = evaluate(
        tests,
        draws,
        [by(RuleKind.METRIC, number, 0), by(RuleKind.KPI, number, 1)],
        rng,
        level=0.95,
    )

    # E max(θ, 0) = 1 / √2π by a perfect metric; by a KPI known from nine tenths of the users,
    # E θ 1(θ + error > 0) = 1 / √(2π (1 + error²))
    best = 1 / np.sqrt(2 * np.pi)
    assert by_metric.earned_interval[0] < best < by_metric.earned_interval[1]
    known = best / np.sqrt(1 + error**2 / 0.9)
    assert by_kpi.earned_interval[0] < known < by_kpi.earned_interval[1]
    assert np.maximum(kpi, 0).mean() > 2 * by_kpi.earned_interval[1]
    assert by_metric.share == 1
    assert by_kpi.share == pytest.approx(1 / np.sqrt(1 + error**2), abs=0.06)


def test_a_metric_on_the_users_of_the_kpi_is_not_praised_for_their_luck():
    rng = np.random.default_rng(6)
    number = 3_000
    luck, own = rng.normal(size=(2, number))
    both = effects(0.9 * luck + 0.19**0.5 * own, luck, 1.0, 1.0)

    ignoring, knowing = (
        evaluate(
            rotate(both, ["m"], "kpi", correlation),
            Draws(covariance_NDD=np.eye(2)[None], kpi_NK=np.zeros((1, number)) + 1e-9),
            [by(RuleKind.METRIC, number, 0)],
            rng,
            level=0.95,
        )[0]
        for correlation in (0.0, 0.9)
    )

    assert ignoring.earned_interval[0] > 0.2
    assert knowing.earned_interval[0] < 0 < knowing.earned_interval[1]


def test_the_direction_of_a_metric_is_learned_from_other_tests():
    rng = np.random.default_rng(7)
    true = rng.normal(size=40)
    table = effects(-true, true + 0.1 * rng.normal(size=40), 0.1, 0.1)
    tests = rotate(table, ["m"], "kpi", 0.0)

    metric, kpi = rule_scores(tests, ["m"], usual_test(tests.measured.errors_KD, 0.0), rng)

    assert (metric.weights_ED == [-1, 0]).all()
    assert (kpi.weights_ED == [0, 1]).all()
