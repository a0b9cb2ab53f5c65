"""A/A tests: re-randomised users, and groups with the same preference, must not differ."""

import numpy as np
import polars as pl
from scipy import stats

from pipeline.inference.glm.batched_newton import fit_batch
from pipeline.inference.glm.group_regression import GroupSums, cluster_sum_squares
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.inference.sensitivity.random_effects import link_variance
from pipeline.results.diagnostics import UNLIKELY, AaTest, ReplicateTest
from pipeline.results.family import Floats

_DIVISIONS = 1_000
_NOMINAL = 0.05


def aa_test(
    x: Floats, outcome: DailyOutcome, *, seed: int, divisions: int = _DIVISIONS
) -> AaTest | None:
    """Re-randomise the experiment's batches of users to groups, and test the slope each time.

    Users stay in their batches, so the test is the one that day fixed effects and the confidence
    sequence use. None where the slope of a re-randomisation is undefined.
    """
    m, y = outcome.trials_GDB.sum(axis=1), outcome.successes_GDB.sum(axis=1)
    groups, batches = m.shape
    rng = np.random.default_rng([seed, groups])
    order = rng.permuted(np.tile(np.arange(m.size), (divisions, 1)), axis=1)
    m_KGB = m.reshape(-1)[order].reshape(-1, groups, batches)
    y_KGB = y.reshape(-1)[order].reshape(-1, groups, batches)
    sums = GroupSums.over_users(outcome.family, m_KGB, y_KGB)
    x_KG = np.tile(x, (divisions, 1))
    intercept_K, slope_K = fit_batch(x_KG, sums)
    if not np.isfinite(slope_K).all():
        return None
    rate_KG = sums.family.mean(intercept_K[:, None] + slope_K[:, None] * x_KG)
    weight_KG = sums.trials * sums.family.variance(rate_KG)
    centre_K1 = ((weight_KG * x_KG).sum(axis=1) / weight_KG.sum(axis=1))[:, None]
    meat_K = ((x_KG - centre_K1) ** 2 * cluster_sum_squares(rate_KG, sums)).sum(axis=1)
    clusters_K = sums.users.sum(axis=1)
    variance_K = meat_K / (weight_KG * (x_KG - centre_K1) ** 2).sum(axis=1) ** 2
    z_K = slope_K / np.sqrt(variance_K * clusters_K / (clusters_K - 1))
    p_values = 2 * stats.norm.sf(np.abs(z_K))
    false_positives = float((p_values < _NOMINAL).mean())
    return AaTest(
        passed=is_nominal(false_positives, divisions),
        divisions=divisions,
        false_positives=false_positives,
        p_value=float(stats.kstest(p_values, "uniform").pvalue),
    )


def is_nominal(false_positives: float, divisions: int) -> bool:
    """Whether a share of false positives is compatible with a rate of at most 5%."""
    positives = round(false_positives * divisions)
    return bool(stats.binom.sf(positives - 1, divisions, _NOMINAL) >= UNLIKELY)


def replicate_test(preferences: pl.Series, sums: GroupSums) -> ReplicateTest | None:
    """Test the groups of each preference for equality; None without replicates, or if a link is infinite.

    ``preferences`` has the id of each group's preference, in the order of the sums.
    """
    ids = preferences.to_numpy()
    df = len(ids) - len(np.unique(ids))
    with np.errstate(divide="ignore", invalid="ignore"):
        linked, weight = sums.family.link(sums.successes / sums.trials), 1 / link_variance(sums)
    if df < 1 or not (np.isfinite(linked) & np.isfinite(weight)).all():
        return None
    chi2 = 0.0
    for one in np.unique(ids):
        alike = ids == one
        mean = np.average(linked[alike], weights=weight[alike])
        chi2 += float((weight[alike] * (linked[alike] - mean) ** 2).sum())
    return ReplicateTest(chi2=chi2, df=df, p_value=float(stats.chi2.sf(chi2, df)))
