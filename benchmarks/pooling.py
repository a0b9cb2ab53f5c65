r"""Pooling of experiments: do intervals cover what they say, and are planted weights and returns recovered?

    python benchmarks/pooling.py --write

Every row is over independent simulated families of experiments whose truth is known. ``--write`` writes
``results/pooling.md``.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from machine import described
from scipy import optimize, sparse, stats
from scipy.special import ndtr

import paretoscope as ps
from pipeline.inference.meta.meta_analysis import pool_slopes
from pipeline.inference.proxies.latent_effects import Draws, MeasuredEffects, sample
from pipeline.inference.proxies.launch_rules import Scores, evaluate
from pipeline.inference.proxies.portfolio import (
    correlation_with_lift,
    lift_weights,
    quality,
    usual_test,
)
from pipeline.inference.proxies.rotated_tests import RotatedTests, TestsOfSize
from pipeline.results.pooled import PooledSlope
from pipeline.results.proxies import RuleKind

RESULTS = Path(__file__).parent / "results" / "pooling.md"
LEVEL = 0.95
IDEAL = 2 * 1.959964

ERRORS = ("alike", "differ", "one is a tenth")
"""Standard errors of the experiments' slopes."""


def slope_errors(rng: np.random.Generator, kind: str, number: int) -> np.ndarray:
    """Of one family of experiments."""
    errors = np.ones(number)
    if kind == "differ":
        errors = np.exp(0.4 * rng.standard_normal(number))
    if kind == "one is a tenth":
        errors[0] = 0.1
    return errors


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--worlds", type=int, default=500)
    arguments = parser.parse_args()
    worlds = arguments.worlds
    lines = [*_families(worlds), *_shortest(), *_launches(worlds), *_decisions(worlds // 5)]
    text = "\n".join(["# Pooling", "", described(), "", *lines]) + "\n"
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")


def _families(worlds: int) -> list[str]:
    """Coverage and width of both intervals."""
    error = 100 * (LEVEL * (1 - LEVEL) / worlds) ** 0.5
    words = (
        f"95% intervals of the mean slope and of the next experiment's, in {worlds:,} families per row (standard "
        f"error of 95%: {error:.1f} points). τ is in units of an experiment's error; widths are over those with "
        "known τ."
    )
    lines = [
        words,
        "",
        "| experiments | errors | τ | mean covered | width | next covered | width |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    rng = np.random.default_rng(1)
    for number in (3, 5, 10, 50):
        for name in ERRORS:
            for tau in (0.0, 0.5, 1.0, 2.0) if name == "alike" else (0.5, 1.0, 2.0):
                errors = (slope_errors(rng, name, number) for _ in range(worlds))
                row = np.array([_family(rng, one, tau) for one in errors])
                mean, width, following, wide = row.mean(axis=0).tolist()
                lines.append(
                    f"| {number} | {name} | {tau:g} | {mean:.1%} | {width:.2f} | {following:.1%} | {wide:.2f} |"
                )
    return [*lines, ""]


def _family(rng: np.random.Generator, errors: np.ndarray, tau: float) -> tuple[float, ...]:
    number = len(errors)
    slopes = tau * rng.standard_normal(number) + errors * rng.standard_normal(number)
    following = tau * rng.standard_normal()
    found = pool_slopes(slopes, errors, level=LEVEL)
    assert isinstance(found, PooledSlope)
    assert found.prediction_interval
    (low, high), (first, last) = found.mean.interval, found.prediction_interval
    variance = 1 / (1 / (errors**2 + tau**2)).sum()
    return (
        float(low <= 0 <= high),
        (high - low) / (IDEAL * variance**0.5),
        float(first <= following <= last),
        (last - first) / (IDEAL * (variance + tau**2) ** 0.5),
    )


def _shortest() -> list[str]:
    """How short an interval could be that covers 93% for every τ: a linear programme."""
    words = (
        "The shortest interval there can be: the least of the largest width, over the ideal one, at τ = 0.5, 1, 2 "
        "and 5 among all intervals around the mean that cover 93% for every τ (errors alike; a linear programme "
        "over their half widths given the observed spread)."
    )
    lines = [
        words,
        "",
        "| experiments | largest width | at τ = 0.5 |",
        "|---:|---:|---:|",
    ]
    for number in (3, 5, 10):
        largest, at_half = shortest(number)
        lines.append(f"| {number} | {largest:.2f} | {at_half:.2f} |")
    return [*lines, ""]


def shortest(number: int, floor: float = 0.93) -> tuple[float, float]:
    """The least of the largest relative width, and the width at τ = 0.5."""
    df, halves = number - 1, 50
    spread_S = np.geomspace(0.03, 200, 140)
    half_SH = np.geomspace(0.4 * 1.96 / number**0.5, np.maximum(6, 8 * spread_S), halves, axis=-1)
    edges = np.concatenate([[0], np.sqrt(spread_S[1:] * spread_S[:-1]), [np.inf]])

    def weights(tau: float) -> np.ndarray:
        return np.diff(stats.chi2.cdf(df * edges**2 / (1 + tau**2), df))

    def deviation(tau: float) -> float:
        return float(np.sqrt(tau**2 + (1 + tau**2) / number))

    rows, limits = [], []
    for tau in np.concatenate([[0], np.geomspace(0.1, 40, 30)]).tolist():
        covered = 2 * ndtr(half_SH / deviation(tau)) - 1
        rows.append(np.append(-(weights(tau)[:, None] * covered).ravel(), 0.0))
        limits.append(-floor)
    widths = {
        tau: (weights(tau)[:, None] * half_SH / (IDEAL / 2 * deviation(tau))).ravel()
        for tau in (0.5, 1.0, 2.0, 5.0)
    }
    for one in widths.values():
        rows.append(np.append(one, -1.0))
        limits.append(0.0)
    one_half = sparse.kron(sparse.eye(len(spread_S)), np.ones((1, halves)))
    goal = np.append(np.zeros(half_SH.size), 1.0)
    found = optimize.linprog(
        goal,
        A_ub=sparse.csr_matrix(np.array(rows)),
        b_ub=limits,
        A_eq=sparse.hstack([one_half, np.zeros((len(spread_S), 1))]).tocsr(),
        b_eq=np.ones(len(spread_S)),
        method="highs",
    )
    return float(found.x[-1]), float(widths[0.5] @ found.x[:-1])


TRUE = np.array([[1.0, 0.3, 0.7], [0.3, 1.0, 0.5], [0.7, 0.5, 1.0]])
"""Covariance of the true effects of two metrics and the KPI; both metrics carry weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archives:
    """Many simulated archives at once, the first axis: true and measured effects."""

    true_WKD: np.ndarray
    measured: MeasuredEffects


def archives(rng: np.random.Generator, worlds: int, tests: int, errors_D: np.ndarray) -> Archives:
    """Archives of tests with one variant, whose errors differ by a factor of about four."""
    true = rng.multivariate_normal(np.zeros(3), TRUE, size=(worlds, tests))
    errors = errors_D * np.exp(0.4 * rng.standard_normal((worlds, tests, 3)) - 0.08)
    return Archives(
        true_WKD=true,
        measured=MeasuredEffects(
            values_KD=true + errors * rng.standard_normal(true.shape),
            errors_KD=errors,
            correlation=0.0,
            used_K=np.ones((worlds, tests), dtype=bool),
        ),
    )


def _launches(worlds: int) -> list[str]:
    """Portfolio, quality and launch rules against their truth."""
    words = (
        f"Two metrics and their portfolio in {worlds:,} archives per row; the true changes have the standard "
        "deviation 1, and correlate at 0.7 and 0.5 with the true lifts. Errors: of a metric and of a lift. Weights: "
        "the median of what is estimated over what they should be. Quality: coverage of the first metric's "
        "interval. Right, share: coverage of the 95% intervals of the rule that launches by the first metric, and "
        "the median share, estimated and true. Earned: mean of what the rule by the measured lift earned, naive (by "
        "the lift it chose by), cross-validated, and true; coverage of its interval."
    )
    lines = [
        words,
        "",
        "| tests | errors | weights | quality | right | share | share, median | truth | naive | earned | truth | covered |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    rng = np.random.default_rng(2)
    for tests in (5, 10, 50):
        for metric_error, kpi_error in ((0.3, 0.5), (0.8, 1.5)):
            errors_D = np.array([metric_error, metric_error, kpi_error])
            found = archives(rng, worlds, tests, errors_D)
            draws = sample(found.measured, rng, draws=300, burn_in=80)
            rows = np.array([_archive(found, draws, world, rng) for world in range(worlds)])
            ratio = np.median(rows[:, :2], axis=0)
            # few tests may have had nothing to win
            rest = np.nanmean(rows[:, 2:], axis=0).tolist()
            rest[3:5] = np.nanmedian(rows[:, 5:7], axis=0).tolist()
            quality_in, right_in, share_in, share, truth, naive, earned, true, earned_in = rest
            lines.append(
                f"| {tests} | {metric_error:g}, {kpi_error:g} | {ratio[0]:.2f}, {ratio[1]:.2f} | {quality_in:.1%} | "
                f"{right_in:.1%} | {share_in:.1%} | {share:.0%} | {truth:.0%} | {naive:.2f} | {earned:.2f} | "
                f"{true:.2f} | {earned_in:.1%} |"
            )
    return [*lines, ""]


def _archive(
    found: Archives, draws: Draws, world: int, rng: np.random.Generator
) -> tuple[float, ...]:
    values, errors = found.measured.values_KD[world], found.measured.errors_KD[world]
    own = Draws(covariance_NDD=draws.covariance_NDD[:, world], kpi_NK=draws.kpi_NK[:, world])
    usual = usual_test(errors, 0.0)
    weights = lift_weights(own.covariance_NDD, usual.noise_DD).mean(axis=0)
    ratio = weights / lift_weights(TRUE, usual.noise_DD)
    first = np.array([1.0, 0.0])
    of_first = quality(first, own, usual, level=LEVEL)
    true_quality = correlation_with_lift(first, TRUE, usual.noise_DD[:2, :2])
    by_metric, by_kpi = evaluate(_table(values, errors), own, _rules(len(values)), rng, level=LEVEL)
    true = found.true_WKD[world, :, 2]
    launched = values[:, 0] > 0
    possible = np.maximum(true, 0).sum()
    share = float(np.where(launched, true, 0).sum() / possible) if possible else np.nan
    right = int((launched == (true > 0)).sum())
    # the same rule with nine tenths of the users, over tests like these
    known = float((1 / np.sqrt(2 * np.pi * (1 + errors[:, 2] ** 2 / 0.9))).mean())
    return (
        *ratio.tolist(),
        _inside(true_quality, of_first.quality_interval),
        _inside(right, by_metric.right_interval),
        np.nan if by_metric.share_interval is None else _inside(share, by_metric.share_interval),
        np.nan if by_metric.share is None else by_metric.share,
        share,
        float(np.maximum(values[:, 2], 0).mean()),
        by_kpi.earned,
        known,
        _inside(known, by_kpi.earned_interval),
    )


def _inside(value: float, ends: tuple[float, float]) -> float:
    return float(ends[0] <= value <= ends[1])


def _rules(tests: int) -> list[Scores]:
    by_metric, by_kpi = np.zeros((2, tests, 3))
    by_metric[:, 0] = by_kpi[:, 2] = 1
    return [
        Scores(kind=RuleKind.METRIC, metric="first", weights_ED=by_metric),
        Scores(kind=RuleKind.KPI, metric=None, weights_ED=by_kpi),
    ]


def _table(values: np.ndarray, errors: np.ndarray) -> RotatedTests:
    def roots(side: np.ndarray) -> np.ndarray:
        return side[..., None, None]

    block = TestsOfSize(
        metrics_MEC=values[:, :2].T[..., None],
        metric_roots_MECC=roots(errors[:, :2].T),
        kpi_EC=values[:, 2:],
        kpi_root_ECC=roots(errors[:, 2]),
        between_root_CC=np.eye(1),
    )
    measured = MeasuredEffects(
        values_KD=values, errors_KD=errors, correlation=0.0, used_K=np.ones(len(values), dtype=bool)
    )
    return RotatedTests(measured=measured, blocks=(block,), test_K=np.arange(len(values)))


def _decisions(worlds: int) -> list[str]:
    """Run the test that was proposed, and see whether it decides."""
    words = (
        f"Two metrics that correlate at 0.97 in 20 past tests; the KPI follows one of them. In {worlds} archives "
        "per row, of those in which they are tied and the best one is the right one: the proposed test is run and "
        "added. Proposed: its median variants and size (users of a variant over those of a past test)."
    )
    lines = [
        words,
        "",
        "| τ | tied | proposed | decides | stated |",
        "|---:|---:|---|---:|---:|",
    ]
    rng = np.random.default_rng(3)
    for tau in (0.2, 0.5):
        found = [one for _ in range(worlds) if (one := _decision(rng, tau))]
        right = [one for one in found if one[0] >= 0]
        decided, power, variants, size = np.array(right).T
        lines.append(
            f"| {tau:g} | {len(found)} of {worlds} | {np.median(variants):.0f} variants of {np.median(size):.2g} | "
            f"{decided.mean():.0%} of {len(right)} | {power.mean():.0%} |"
        )
    return [*lines, ""]


def _decision(rng: np.random.Generator, tau: float) -> tuple[float, ...] | None:
    true = rng.multivariate_normal([0, 0], [[1, 0.97], [0.97, 1]], size=20)
    past = _rows(rng, [f"p{n}" for n in range(20)], true, tau, 1.0)
    (launches,) = ps.past_tests(past).document.launches
    if not launches.deciding_tests:
        return None
    planned = launches.deciding_tests[0]
    if planned.best != "first":
        return (-1.0, 0.0, 0.0, 0.0)
    up = np.resize([1.0, -1.0], planned.variants) * planned.change
    next_true = np.stack([up, 0 * up], axis=1)
    # its variants as tests of their own, with a control each
    following = _rows(
        rng, [f"n{n}" for n in range(len(up))], next_true * 2**0.5, tau, planned.size**-0.5
    )
    best, rival = ps.past_tests(pl.concat([past, following])).proxies
    decided = best.metric == "first" and not rival.tied
    return (float(decided), planned.power, planned.variants, planned.size)


def _rows(
    rng: np.random.Generator, names: list[str], true: np.ndarray, tau: float, error: float
) -> pl.DataFrame:
    seen = true + 0.1 * rng.standard_normal(true.shape)
    lift = (
        true[:, 0] + tau * rng.standard_normal(len(true)) + error * rng.standard_normal(len(true))
    )
    return pl.DataFrame(
        {
            "test": names,
            "first": seen[:, 0],
            "first_se": 0.1,
            "second": seen[:, 1],
            "second_se": 0.1,
            "ctr_lift": lift,
            "ctr_lift_se": error,
        }
    )


if __name__ == "__main__":
    main()
