"""Lost outcomes: rows of the log that should count for a group's KPIs, but do not.

A group that loses 5% of its clicks has a CTR that is 5% too low, which no regression corrects. The shares
of lost rows are compared between groups, so a group with more clicks does not fail. Rows of one user
are correlated: Pearson's chi-squared is divided by the design effect (Rao and Scott, "A simple method for
the analysis of clustered binary data", Biometrics 1992).
"""

import numpy as np
import polars as pl
from scipy import special

from pipeline.experiment.log.log_files import LogTable
from pipeline.experiment.log.reasons import FAULTY, RowKind
from pipeline.experiment.log.row_fates import RowFates
from pipeline.inference.diagnostics.sample_ratio import BLOCKED_BELOW
from pipeline.results.diagnostics import LossTest, LostOutcomes, SilentGroup

_MAX_SHARE = 0.01
"""Largest share of lost clicks and orders, and largest difference of shares between two groups."""

_MIN_ROWS = 10
"""Fewer lost clicks and orders are no reason to block verdicts."""

_LEAST_EXPECTED = 30
"""A group without an outcome is silent if the other groups' rate gives it as many."""

_EVENTS = (LogTable.CLICKS.value, LogTable.ORDERS.value)


def lost_outcomes(rows: RowFates) -> LostOutcomes:
    """Test whether outcomes are lost, in total or in some groups."""
    events = rows.fates.filter(pl.col("table").is_in(_EVENTS))
    faulty = events.filter(pl.col("kind").is_in([kind.value for kind in FAULTY]))
    used = int(events.filter(kind=RowKind.USED.value)["rows"].sum())
    lost = int(faulty["rows"].sum())
    share = lost / (lost + used) if lost else 0.0
    tests = {
        str(table): test
        for (table,), part in sorted(rows.sums.partition_by("table", as_dict=True).items())
        if (test := loss_test(part)) is not None
    }
    few = lost < _MIN_ROWS or share <= _MAX_SHARE
    silent = silent_groups(rows.outcomes)
    return LostOutcomes(
        passed=few and not silent and all(test.passed for test in tests.values()),
        lost=lost,
        lost_share=share,
        unknown_group=int(faulty.filter(pl.col("group").is_null())["rows"].sum()),
        tables=tests,
        silent=silent,
    )


def silent_groups(outcomes: pl.DataFrame) -> tuple[SilentGroup, ...]:
    """The groups without a click, or else without an order, although the others have some.

    No variant of a recommender takes every click; a log that lacks all of a group's does.

    Args:
        outcomes: One row per group, as in :class:`pipeline.experiment.log.row_fates.RowFates`.
    """
    found: dict[str, SilentGroup] = {}
    for outcome in _EVENTS:
        for group, n, y in outcomes.select("group", "impressions", outcome).iter_rows():
            others = outcomes.filter(pl.col("group") != group)
            expected = n * others[outcome].sum() / max(others["impressions"].sum(), 1)
            if not y and group not in found and expected >= _LEAST_EXPECTED:
                found[group] = SilentGroup(group=group, outcome=outcome, expected=expected)
    return tuple(found.values())


def loss_test(sums: pl.DataFrame) -> LossTest | None:
    """Test whether the share of lost rows differs between groups.

    Args:
        sums: One row per group, as in :class:`pipeline.experiment.log.row_fates.RowFates`.

    Returns:
        The test; None with fewer than two groups.
    """
    groups = sums.filter(pl.col("rows") > 0).sort("group")
    if groups.height < 2:
        return None
    n, r = (groups[name].to_numpy().astype(np.float64) for name in ("rows", "lost"))
    share, pooled = r / n, r.sum() / n.sum()
    effect = _design_effect(groups)
    variance = pooled * (1 - pooled) * n * effect
    with np.errstate(invalid="ignore", divide="ignore"):
        chi2 = float(np.nansum((r - pooled * n) ** 2 / variance))
    p_value = float(special.chdtrc(groups.height - 1, chi2))
    return LossTest(
        passed=p_value >= BLOCKED_BELOW or float(np.ptp(share)) < _MAX_SHARE,
        shares=dict(zip(groups["group"].to_list(), map(float, share), strict=True)),
        chi2=chi2,
        df=groups.height - 1,
        p_value=p_value,
        design_effect=effect,
    )


def _design_effect(groups: pl.DataFrame) -> float:
    """Variance of the lost rows over that of independent rows.

    Estimated from the users' residuals within the groups. Where no group has both lost and used rows,
    it is that of users whose rows are all lost or all used.
    """
    n, r, nn, nr, rr = (
        groups[name].to_numpy().astype(np.float64)
        for name in ("rows", "lost", "sum_nn", "sum_nr", "sum_rr")
    )
    share = r / n
    independent = float((share * (1 - share) * n).sum())
    if independent == 0:
        return float(max((nn / n).max(), 1.0))
    residuals = float((rr - 2 * share * nr + share**2 * nn).sum())
    return max(residuals / independent, 1.0)
