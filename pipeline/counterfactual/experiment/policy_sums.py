"""The sums per user of every estimator and reward of one target policy.

Shape suffixes: N requests, K positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.core.contracts import Kpi
from pipeline.counterfactual.diagnostics import diagnose_each
from pipeline.counterfactual.estimators import sums_of
from pipeline.counterfactual.experiment.examination import ExaminationCurve, ShownLists
from pipeline.counterfactual.experiment.list_rewards import (
    ClickedAmounts,
    ListPlaces,
    predict_rewards,
)
from pipeline.counterfactual.experiment.mixture import weigh_mixture, weigh_same_positions
from pipeline.counterfactual.experiment.paired_lists import PairedLists
from pipeline.counterfactual.user_sums import Estimate, UserSums
from pipeline.counterfactual.weighted_log import Ints
from pipeline.results.counterfactual import Estimator, WeightDiagnostics, estimator_name

KPI_TERMS: Mapping[Kpi, tuple[str, str | None]] = {
    Kpi.CTR: ("clicked", None),
    Kpi.CVR: ("ordered", "clicked"),
    Kpi.ORDERS_PER_IMPRESSION: ("ordered", None),
    Kpi.UNITS_PER_IMPRESSION: ("units", None),
    Kpi.REVENUE_PER_IMPRESSION: ("revenue", None),
}
"""The amount per impression of each KPI, and what it is divided by instead of impressions."""

_WEIGHTED = (
    Estimator.IPS,
    Estimator.SNIPS,
    Estimator.BETA_IPS,
    Estimator.DM,
    Estimator.DR,
    Estimator.SNDR,
    Estimator.BETA_DR,
)
"""Estimators that cut weights are not among them: the mixture's weights are bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySums:
    """Every estimator of one policy.

    Attributes:
        sums: Sums per user by estimator and amount.
        logged: Those of the requests' own mean, by amount.
        diagnostics: By estimator.
        errorless: Estimators whose error is unknown.
    """

    sums: Mapping[str, Mapping[str, UserSums]]
    logged: Mapping[str, UserSums]
    diagnostics: Mapping[str, WeightDiagnostics]
    errorless: frozenset[str]


def kpis_of(pairs: PairedLists) -> tuple[Kpi, ...]:
    """The KPIs whose amounts the log has."""
    known = {"clicked", *pairs.amounts}
    return tuple(kpi for kpi, terms in KPI_TERMS.items() if known.issuperset(filter(None, terms)))


def kpi_estimate(kpi: Kpi, sums: Mapping[str, UserSums]) -> Estimate:
    """A KPI from the sums of its amounts."""
    amount, trials = KPI_TERMS[kpi]
    found = Estimate.of(sums[amount])
    return found if trials is None else found.over(Estimate.of(sums[trials]))


def amount_sums(pairs: PairedLists, rows: Ints) -> dict[str, UserSums]:
    """The sums per user of every amount on some requests."""
    user_N = pairs.log.user_N[rows]
    return {
        name: UserSums.of(user_N, additive_N=pairs.amount_N(name)[rows])
        for name in ("clicked", *pairs.amounts)
    }


def policy_sums(  # noqa: PLR0913 - a log, a policy and what is known of clicks
    pairs: PairedLists,
    log: ShownLists,
    *,
    rows: Ints,
    target_NK: NDArray[np.integer],
    curve: ExaminationCurve,
    rng: np.random.Generator,
) -> PolicySums:
    """Estimate a policy from some requests of an experiment.

    Args:
        pairs: The paired lists.
        log: The lists of these requests, with the shares of the groups that were shown.
        rows: The requests.
        target_NK: The policy's lists for them.
        curve: Examination of positions.
        rng: For the reward model's sample.
    """
    length_N = np.array([len(session) for session in pairs.session_N])[rows]
    shown = ListPlaces.of(log, log.shown_NK, length_N)
    target = ListPlaces.of(log, target_NK, length_N)
    click_NK = pairs.click_NK[rows].astype(np.float64)
    weighted = weigh_mixture(log, target_NK, click_NK, curve)
    naive = weigh_same_positions(log, target_NK, click_NK)
    naive_name = estimator_name(naive.weighting, Estimator.IPS)
    names = {one: estimator_name(weighted.weighting, one) for one in _WEIGHTED}
    sums: dict[str, dict[str, UserSums]] = {name: {} for name in (*names.values(), naive_name)}
    for amount in ("clicked", *pairs.amounts):
        rewards = ClickedAmounts(
            clicked_N=pairs.clicked_N[rows],
            amount_N=pairs.amount_N(amount)[rows],
            user_N=log.user_N,
        )
        model = predict_rewards(rewards, shown, target, curve=curve, rng=rng)
        reward_NK = click_NK * rewards.amount_N[:, None]
        rewarded = replace(weighted, reward_NK=reward_NK, model=model)
        for one, name in names.items():
            sums[name][amount] = sums_of(rewarded, one)
        sums[naive_name][amount] = sums_of(replace(naive, reward_NK=reward_NK), Estimator.IPS)
    diagnostics = {names[one]: each for one, each in diagnose_each(weighted, _WEIGHTED).items()}
    diagnostics[naive_name] = diagnose_each(naive, [Estimator.IPS])[Estimator.IPS]
    return PolicySums(
        sums=sums,
        logged=amount_sums(pairs, rows),
        diagnostics=diagnostics,
        errorless=frozenset(name for one, name in names.items() if one.unknown_error),
    )
