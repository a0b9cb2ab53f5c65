"""Predictions: the power of a plan, and the slope of the next experiment."""

from dataclasses import dataclass, field, replace

import numpy as np

from claims.result import ALPHA, LEVEL, Claim, Row, share_row, tails
from claims.worlds import Line, Users, evenly, world
from pipeline.core.contracts import Kpi
from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.readings import PLANNED_END_SHARE
from pipeline.inference.headline.working_response import WorkingResponse
from pipeline.inference.hypotheses.verdict import verdict
from pipeline.inference.meta.common_slope import NoisyGroups, pool_around_common_slope
from pipeline.inference.meta.meta_analysis import pool_slopes
from pipeline.inference.meta.surrogate_slope import MeasuredGroups, total_covariance
from pipeline.inference.power.power import DRAWS, power
from pipeline.results.family import Floats
from pipeline.results.pooled import PooledSlope, TotalCovariance
from pipeline.results.reasons import Verdict
from pipeline.study import Hypothesis

_MEANS = 20

CLICKS = Hypothesis(id="H1", metric="metric", kpi=Kpi.CTR, direction="positive")


def planned_power(worlds: int) -> list[Claim]:
    """Predicted power less the share of simulated experiments that are confirmed."""
    rng, rows = np.random.default_rng(8), []
    few = np.linspace(0, 1, 5)
    for heavy, correlation in ((False, 0.0), (False, 0.05), (True, 0.05)):
        for clicks in (1, 3, 10, 30):
            users = Users(number=60, mean=20, heavy=heavy, correlation=correlation)
            planned = PlannedWorld(users=users, line=Line(x=few, ctr=clicks / 1200, slope=3.0))
            setting = f"{clicks} clicks a group, {tails(heavy=heavy)}, correlation {correlation:g}"
            rows.append(planned.compare(rng, worlds, setting))
    for tau in (0.0, 0.03):
        for users in (Users(heavy=True), Users(number=3000, mean=30)):
            planned = PlannedWorld(users=users, line=Line(x=evenly(5), tau=tau))
            setting = f"{users.number} users a group, {tails(heavy=users.heavy)}, τ = {tau:g}"
            rows.append(planned.compare(rng, worlds, setting))
    limit = (
        "With exact metrics. Where much of a metric's spread is error, the plan has to estimate how much: at "
        "reliability 0.7 the mean over measured metrics is 0.02 above the observed power with 5 groups, and "
        "0.08 to 0.12 below with 10; at 0.95 it is 0.02 below."
    )
    title = "Predicted less observed power, g = 5"
    return [Claim(title=title, rows=tuple(rows), limit=limit)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWorld:
    """An experiment that is planned, and then run in many worlds."""

    users: Users
    line: Line

    def compare(self, rng: np.random.Generator, worlds: int, setting: str) -> Row:
        """Predicted less observed power."""
        observed = self._observed(rng, worlds)
        groups = len(self.line.x)
        traffic = self.users.traffic(self.line.ctr, groups, days=10)
        predicted = power(self.line.query, traffic, days=10, slope=self.line.slope).confirmed
        assert predicted is not None
        return Row(
            setting=f"{setting}: observed {observed.value:.3f}",
            value=predicted - observed.value,
            error=float(np.hypot(observed.error, (predicted * (1 - predicted) / DRAWS) ** 0.5)),
            low=-0.05,
            high=0.05,
        )

    def _observed(self, rng: np.random.Generator, worlds: int) -> Row:
        sums = self.users.sums(rng, self.line.rates(rng, worlds))
        found = (
            headline(self.line.x, world(sums, n), level=1 - PLANNED_END_SHARE * ALPHA)
            for n in range(worlds)
        )
        confirmed = [verdict(CLICKS, one, level=LEVEL) is Verdict.CONFIRMED for one in found]
        return share_row("observed", np.array(confirmed))


def meta_analysis(worlds: int) -> list[Claim]:
    """The prediction interval of the next experiment, and the pooled slope of a noisy metric."""
    rng, coverage, width = np.random.default_rng(9), [], []
    for experiments in (3, 5, 10):
        for ratio in (0.5, 1.0, 1.5, 2.0, 3.0):
            errors = np.exp(0.4 * rng.standard_normal((worlds, experiments)))
            slopes_RE = ratio * rng.standard_normal((worlds, experiments))
            slopes_RE = slopes_RE + errors * rng.standard_normal((worlds, experiments))
            following = ratio * rng.standard_normal(worlds)
            found = np.array([_interval(b, se) for b, se in zip(slopes_RE, errors, strict=True)])
            inside = (found[:, 0] <= following) & (following <= found[:, 1])
            known = 3.92 * np.sqrt(ratio**2 + 1 / (1 / (errors**2 + ratio**2)).sum(axis=1))
            wider = (found[:, 1] - found[:, 0]) / known
            setting = f"{experiments} experiments, τ = {ratio:g} standard errors"
            coverage.append(share_row(setting, inside, low=0.93, high=0.98))
            error = float(wider.std(ddof=1) / worlds**0.5)
            width.append(Row(setting=setting, value=float(wider.mean()), error=error, high=2.0))
    limit = (
        "With 3 experiments and τ below 1.5 standard errors, and with 5 and half a standard error, the "
        "interval covers up to 99% or is wider than twice the ideal: two to four degrees of freedom cannot "
        "separate such a τ from 0, and an interval that is short there covers less than 93% where τ is large."
    )
    return [
        Claim(
            title="Coverage of the 95% prediction interval of the next slope",
            rows=tuple(coverage),
            limit=limit,
        ),
        Claim(
            title="Width of that interval, over its width if mean error and τ were known",
            rows=tuple(width),
            limit=limit,
        ),
        _noisy_metric(rng, worlds),
    ]


def _interval(slopes_E: Floats, errors_E: Floats) -> tuple[float, float]:
    found = pool_slopes(slopes_E, errors_E, level=LEVEL)
    assert isinstance(found, PooledSlope)
    assert found.prediction_interval
    return found.prediction_interval


def _noisy_metric(rng: np.random.Generator, worlds: int) -> Claim:
    rows = []
    for reliability in (0.42, 0.7, 0.95):
        tests = [
            SmallTests(reliability=reliability).measure(rng) for _ in range(max(20, worlds // 10))
        ]
        contrasts, naive, covered = np.array([one.contrasts() for one in tests]).T
        # iterative, so on fewer worlds
        means = np.array([one.mean() for one in tests[:_MEANS]])
        setting = f"reliability {reliability:g}"
        rows += [
            _slope_row(f"{setting}: all contrasts", contrasts, low=0.95, high=1.05),
            share_row(f"{setting}: coverage of its interval", covered, low=0.93, high=0.985),
            _slope_row(f"{setting}: mean of the tests' slopes", means),
            _slope_row(f"{setting}: without correction", naive),
        ]
    limit = (
        "The mean over the tests stays closer to 0 where a metric is noisy: each test estimates the "
        "deviations of its four groups, and what it takes for deviation it does not correct. The slope "
        "over all contrasts has no such part, and is the one to use for many small tests."
    )
    title = "Slope over 150 small tests of a noisy metric; the true one is 1"
    return Claim(title=title, rows=tuple(rows), limit=limit)


def _slope_row(setting: str, slopes: Floats, **bounds: float) -> Row:
    error = float(1.25 * slopes.std(ddof=1) / len(slopes) ** 0.5)
    return Row(setting=f"{setting}, median", value=float(np.median(slopes)), error=error, **bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTests:
    """150 tests of four groups with a noisy metric; the spread of the true log metric is 0.2."""

    reliability: float
    log_metric_EG: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    kpi_EG: Floats = field(default_factory=lambda: np.zeros((0, 4)))

    @property
    def variance(self) -> float:
        """Of the errors of the log metric."""
        return 0.04 * (1 - self.reliability) / self.reliability

    def measure(self, rng: np.random.Generator) -> "SmallTests":
        """The same with a metric and a KPI: deviations of 0.1, errors of users of 0.15."""
        true = 0.2 * rng.standard_normal((150, 4))
        return replace(
            self,
            kpi_EG=true + (0.1**2 + 0.15**2) ** 0.5 * rng.standard_normal(true.shape),
            log_metric_EG=true + self.variance**0.5 * rng.standard_normal(true.shape),
        )

    def contrasts(self) -> tuple[float, float, bool]:
        """Slope over all contrasts, the same without correction, and whether its interval covers 1."""
        noise = np.diag([self.variance] * 4 + [0.15**2] * 4)
        tests = [
            MeasuredGroups(proxy=metric, kpi=kpi, noise=noise)
            for metric, kpi in zip(self.log_metric_EG, self.kpi_EG, strict=True)
        ]
        found = total_covariance(tests, level=LEVEL)
        assert isinstance(found, TotalCovariance)
        low, high = found.slope.interval
        return found.slope.slope, found.naive_slope, low <= 1 <= high

    def mean(self) -> float:
        """Mean of the tests' slopes."""
        tests = [
            NoisyGroups(
                x=metric,
                response=WorkingResponse(
                    values_G=kpi, variance_G=np.full(4, 0.15**2), users_df=np.array(np.inf)
                ),
                covariance_GG=self.variance * np.eye(4),
            )
            for metric, kpi in zip(self.log_metric_EG, self.kpi_EG, strict=True)
        ]
        found = pool_around_common_slope(tests, level=LEVEL)
        assert isinstance(found, PooledSlope)
        return found.mean.slope
