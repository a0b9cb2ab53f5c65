"""Experiments of some weeks whose users come back, drawn straight as sums of batches."""

from datetime import date, timedelta

import numpy as np
import polars as pl

from pipeline.experiment.kpis.contracts import PRE_PERIOD_SUMS, PRE_PERIOD_TERMS
from pipeline.inference.sensitivity.day_effects import DailyOutcome
from pipeline.results.family import Family

X = np.array([0.0, 0.02, 0.06, 0.09, 0.11])
FIRST = date(2025, 9, 1)


def weeks(seed, *, slope=0.0, x=X, users=1000, days=30, spread=1.0, fading=0.0, batches=100):
    """Clicks of users of whom each clicks more or less readily, all groups alike but for x.

    Users arrive evenly over the days and come back; days differ in readiness by 0.3 (log odds).
    ``fading`` is taken from the slope for every user of log(day).
    """
    rng = np.random.default_rng(seed)
    shape = (len(x), users)
    readiness, arrival = rng.normal(0, spread, shape), rng.integers(days, size=shape)
    activity, batch = rng.gamma(1, 0.3, shape), rng.integers(batches, size=shape)
    m, y = np.zeros((len(x), days, batches)), np.zeros((len(x), days, batches))
    for day, mood in enumerate(rng.normal(0, 0.3, days)):
        n = np.where(arrival < day, rng.poisson(activity), 0)
        n += (arrival == day) * (1 + rng.poisson(1, shape))
        here = (slope - fading * np.log1p(day)) * x[:, None]
        clicks = rng.binomial(n, 1 / (1 + np.exp(2.2 - readiness - mood - here)))
        for group in range(len(x)):
            m[group, day] = np.bincount(batch[group], n[group], batches)
            y[group, day] = np.bincount(batch[group], clicks[group], batches)
    return DailyOutcome(
        family=Family.BINOMIAL,
        days=tuple(FIRST + timedelta(days=n) for n in range(days)),
        trials_GDB=m,
        successes_GDB=y,
    )


def pre_period_sums_of(users, kpi="ctr"):
    """``pre_period_sums`` of groups g1, g2, … from m, y, a and b of their users; G × U each."""
    rows = []
    for group in range(len(users["m"])):
        one = {name: values[group] for name, values in users.items()}
        sums = [
            int(np.prod([one[name] for name in term], axis=0).sum()) for term in PRE_PERIOD_TERMS
        ]
        rows.append((f"g{group + 1}", kpi, len(one["m"]), *sums))
    return pl.DataFrame(rows, schema=PRE_PERIOD_SUMS.columns, orient="row")
