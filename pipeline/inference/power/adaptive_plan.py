"""What a planned experiment is expected to do if it ends as soon as a hypothesis is decided, or has no chance."""

import numpy as np

from pipeline.inference.headline.working_response import (
    WorkingResponse,
    effective_users,
    user_variance,
)
from pipeline.inference.hypotheses.inputs import family_of
from pipeline.inference.power.power import PowerQuery, expected_sums, true_chances
from pipeline.inference.power.traffic_model import Traffic
from pipeline.inference.sensitivity.adaptive_end import Course, follow
from pipeline.results.family import Floats
from pipeline.results.power import AdaptiveEnd

_DRAWS = 1000


def adaptive_end(
    query: PowerQuery, traffic: Traffic, *, planned: int, slope: float
) -> AdaptiveEnd | None:
    """Simulate the course of experiments day by day, with the assumed slope and with none.

    The groups' KPIs are normal on the link scale, with the variance that the users imply on each day.
    None with two groups, whose slope is never decided, and without two users in every group.
    """
    if len(query.x) < 3 or (traffic.users(planned) * query.shares).min() < 2:
        return None
    with_slope, without = (_course(query, traffic, planned, one) for one in (slope, 0.0))
    ends_R = with_slope.ends_on_R
    experiments = np.arange(len(ends_R))
    decided_R = with_slope.significant_DR[ends_R, experiments]
    right_R = with_slope.positive_DR[ends_R, experiments] == (query.sign > 0)
    return AdaptiveEnd(
        days=float(ends_R.mean() + 1),
        confirmed=float((decided_R & right_R).mean()),
        days_without_slope=float(without.ends_on_R.mean() + 1),
        given_up=float((~decided_R & (ends_R < planned - 1)).mean()),
    )


def _course(query: PowerQuery, traffic: Traffic, planned: int, slope: float) -> Course:
    rng = np.random.default_rng(query.seed)
    family = family_of(query.kpi)
    chances_RG = true_chances(query, traffic, slope, rng, draws=_DRAWS)
    line_RG = family.link(np.clip(chances_RG, 1e-12, 1 - 1e-12))
    variance_DG, users_df_D, known_D = _users(query, traffic, planned, slope)
    days: list[WorkingResponse | None] = [None] * planned
    noise_RG = np.zeros_like(line_RG)
    before_G = np.zeros(len(query.x))
    for day in reversed(range(planned)):
        if not known_D[day]:
            break
        # the mean up to a day is the mean up to the next day, plus what that day averages out
        step_G = np.sqrt(np.maximum(variance_DG[day] - before_G, 0.0))
        noise_RG = noise_RG + step_G * rng.standard_normal(line_RG.shape)
        before_G = np.maximum(variance_DG[day], before_G)
        days[day] = WorkingResponse(
            values_G=line_RG + noise_RG,
            variance_G=before_G,
            users_df=np.full(_DRAWS, users_df_D[day]),
        )
    return follow(query.x, days, planned=planned, level=query.level)


def _users(
    query: PowerQuery, traffic: Traffic, planned: int, slope: float
) -> tuple[Floats, Floats, list[bool]]:
    """Variance of each group on the link scale after each day, its degrees of freedom, and whether known."""
    variance, users_df, known = [], [], []
    for day in range(1, planned + 1):
        sums = expected_sums(query, traffic, days=day, slope=slope)
        variance.append(user_variance(sums.successes / sums.trials, sums))
        users_df.append(max(float(effective_users(sums)) - 2, 1.0))
        known.append(bool(sums.users.min() >= 2))
    return np.stack(variance), np.array(users_df), known
