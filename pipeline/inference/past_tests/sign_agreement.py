"""How often the sign of a metric's change was that of the KPI's lift."""

from typing import Any

import numpy as np
from scipy import stats

from pipeline.results.family import Floats
from pipeline.results.past_tests import SignAgreement


def sign_agreement(delta: Floats, lift: Floats, *, level: float) -> SignAgreement | None:
    """Compare signs with chance; None where no test has both.

    Chance is not one half: where most changes and most lifts are positive, signs agree often without
    any relation. So the test is Fisher's exact test of the signs, and ``by_chance`` the agreement that is
    expected of independent signs with the same shares of positive ones. It is two-sided, as the slope
    is: signs that are opposite say as much as signs that agree.
    """
    known = (delta != 0) & (lift != 0)
    up, rose = delta[known] > 0, lift[known] > 0
    n = int(known.sum())
    if not n:
        return None
    agreed = int((up == rose).sum())
    interval = stats.binomtest(agreed, n).proportion_ci(level, method="wilson")
    table = np.array(
        [[(up & rose).sum(), (up & ~rose).sum()], [(~up & rose).sum(), (~up & ~rose).sum()]]
    )
    by_chance: Any = stats.fisher_exact(table)
    return SignAgreement(
        tests=n,
        agreed=agreed,
        share=agreed / n,
        interval=(float(interval.low), float(interval.high)),
        by_chance=float(up.mean() * rose.mean() + (1 - up.mean()) * (1 - rose.mean())),
        p_value=float(by_chance.pvalue),
    )
