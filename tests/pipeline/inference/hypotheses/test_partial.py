"""Partial slopes of declared hypotheses: where they are stated, where they are refused, and why."""

import numpy as np
import polars as pl
import pytest

from pipeline.inference.headline.interval import headline
from pipeline.inference.headline.slope_test import OtherMetrics
from pipeline.inference.hypotheses.from_counts import fit_counts, parse_hypothesis
from pipeline.results.reasons import UndefinedReason, Verdict
from tests.pipeline.inference.headline.sums import counts

TRIALS = 40_000
FRONT = np.repeat(np.linspace(0, 0.3, 5), 2)
SWITCH = np.tile([0.0, 1.0], 5)
BOTH = ("recall:ctr:+", "diversity:ctr:+")


def table(clicks, **columns):
    groups = len(clicks)
    return pl.DataFrame(
        {
            "group": [f"g{n:02d}" for n in range(groups)],
            "impressions": [TRIALS] * groups,
            "users": [TRIALS] * groups,
            "clicks": clicks,
            **columns,
        }
    )


def fit(frame, *texts, **options):
    asked = [parse_hypothesis(text, number) for number, text in enumerate(texts, start=1)]
    return fit_counts(frame, asked, level=0.95, seed=0, **options)


def clicks_of(line, seed=2):
    return np.random.default_rng(seed).binomial(TRIALS, 1 / (1 + np.exp(2 - line)))


@pytest.fixture(scope="module")
def two_axes():
    """Clicks follow recall; diversity rises with it, and has a second axis of its own."""
    return table(
        clicks_of(0.8 * FRONT),
        recall=0.3 * (1 + FRONT),
        diversity=0.5 * (1 + 0.5 * FRONT + 0.1 * SWITCH),
    )


def test_on_two_axes_the_metric_that_matters_is_told_from_the_one_that_moves_with_it(two_axes):
    recall, diversity = fit(two_axes, *BOTH).hypotheses

    assert diversity.verdict is Verdict.CONFIRMED
    assert recall.partial.verdict is Verdict.CONFIRMED
    assert diversity.partial.verdict is Verdict.INCONCLUSIVE
    assert (recall.partial.held_fixed, diversity.partial.held_fixed) == (
        ("diversity",),
        ("recall",),
    )
    low, high = recall.partial.headline.interval
    assert low < 0.8 < high
    low, high = diversity.partial.headline.interval
    assert low < 0 < high


def test_its_numbers_are_those_of_the_test_on_both_metrics(two_axes):
    found = fit(two_axes, *BOTH).hypotheses[0]
    x, z = (
        (two_axes[name] / two_axes[name].min() - 1).to_numpy() for name in ("recall", "diversity")
    )
    sums = counts([TRIALS] * 10, two_axes["clicks"].to_numpy())

    assert found.partial.headline == headline(
        x, sums, others=OtherMetrics(x_MG=z[None]), level=0.95
    )
    r2 = np.corrcoef(x, z)[0, 1] ** 2
    assert found.partial.variance_inflation == pytest.approx(1 / (1 - r2))
    failures = 1 - sums.rate
    assert found.partial.elasticity.estimate == pytest.approx(
        failures * found.partial.headline.slope
    )


def test_the_declared_direction_decides_the_word(two_axes):
    against = fit(two_axes, "recall:ctr:-", "diversity:ctr:+").hypotheses[0]

    assert against.partial.verdict is Verdict.CONTRADICTED


def test_on_one_front_it_is_refused_with_the_inflation_and_the_metrics():
    front = table(
        clicks_of(0.8 * FRONT[::2]),
        recall=0.3 * (1 + FRONT[::2]),
        diversity=0.5 * (1 + 0.5 * FRONT[::2] + 0.01 * SWITCH[:5]),
    )

    recall, diversity = (one.partial for one in fit(front, *BOTH).hypotheses)

    r2 = np.corrcoef(front["recall"], front["diversity"])[0, 1] ** 2
    for found, other in ((recall, "diversity"), (diversity, "recall")):
        assert found.undefined_reason is UndefinedReason.COLLINEAR_METRICS
        assert found.variance_inflation == pytest.approx(1 / (1 - r2))
        assert found.collinear_with == (other,)
        assert (found.headline, found.verdict) == (None, Verdict.UNDEFINED)


def test_of_three_metrics_only_those_that_are_one_direction_are_refused():
    """MRR is a multiple of recall; both are refused. Of diversity either is held fixed."""
    frame = table(
        clicks_of(0.8 * FRONT),
        recall=0.3 * (1 + FRONT),
        mrr=0.1 * (1 + FRONT),
        diversity=0.5 * (1 + 0.1 * SWITCH),
    )

    found = {one.metric: one.partial for one in fit(frame, *BOTH, "mrr:ctr:+").hypotheses}

    assert found["recall"].variance_inflation is None
    assert found["recall"].collinear_with == ("mrr",)
    assert found["mrr"].collinear_with == ("recall",)
    assert found["diversity"].held_fixed == ("recall",)
    assert found["diversity"].variance_inflation == pytest.approx(1, abs=0.01)
    assert found["diversity"].headline.slope is not None


def test_with_too_few_groups_it_is_refused_and_one_more_is_enough():
    frame = table(
        clicks_of(0.8 * FRONT[::2]),
        recall=0.3 * (1 + FRONT[::2]),
        diversity=[0.5, 0.53, 0.51, 0.54, 0.5],
    )

    few, enough = (fit(frame[:n], *BOTH).hypotheses[0].partial for n in (4, 5))

    assert few.undefined_reason is UndefinedReason.FEW_GROUPS_FOR_METRICS
    assert few.headline is None
    assert enough.headline.interval is not None


def test_a_hypothesis_on_the_only_metric_of_its_kpi_has_none(two_axes):
    orders = two_axes.with_columns(orders=pl.col("clicks") // 9)

    found = {one.id: one for one in fit(orders, *BOTH, "recall:cvr:+").hypotheses}

    assert found["H3"].partial is None
    assert found["H1"].partial is not None
    alone = fit(two_axes, "recall:ctr:+").hypotheses[0]
    assert alone.partial is None
    assert alone.headline == found["H1"].headline


def test_a_metric_that_does_not_vary_is_not_held_fixed(two_axes):
    constant = two_axes.with_columns(novelty=pl.lit(0.4))

    found = {one.metric: one.partial for one in fit(constant, *BOTH, "novelty:ctr:+").hypotheses}

    assert found["novelty"] is None
    assert found["recall"].held_fixed == ("diversity",)


def test_without_valid_randomisation_nothing_is_concluded(two_axes):
    shares = two_axes.with_columns(share=pl.Series([1, 2] * 5))

    found = fit(shares, *BOTH).hypotheses

    assert {one.partial.verdict for one in found} == {Verdict.BLOCKED}


def with_replicates(frame, rng, deviation, correlation, number=400):
    """Bootstrap replicates of both metrics on the same test sessions."""
    common = rng.standard_normal((number, frame.height))
    found = {}
    for name in ("recall", "diversity"):
        own = rng.standard_normal(common.shape)
        error = correlation**0.5 * common + (1 - correlation) ** 0.5 * own
        size = deviation * frame[name].to_numpy()
        found |= {f"{name}_r{n + 1}": frame[name] + size * error[n] for n in range(number)}
    return frame.with_columns(**found)


@pytest.mark.slow
def test_errors_of_two_metrics_on_the_same_sessions_enter_with_their_covariance(two_axes):
    """By hand: the covariance of all replicates of x, which the replicates of one metric lack."""
    frame = with_replicates(two_axes, np.random.default_rng(3), 0.02, 0.8)
    names = ("recall", "diversity")
    drawn, x = [], []
    for name in names:
        values = frame[name].to_numpy()
        worst = values.argmin()
        replicates = np.array([frame[f"{name}_r{n + 1}"].to_numpy() for n in range(400)])
        change = replicates / values[worst] - values * replicates[:, [worst]] / values[worst] ** 2
        drawn.append(change - change.mean(axis=0))
        x.append(values / values[worst] - 1)
    errors = np.einsum("krg,lrh->klgh", np.stack(drawn), np.stack(drawn)) / 399
    sums = counts([TRIALS] * 10, frame["clicks"].to_numpy())
    others = OtherMetrics(x_MG=x[1][None], covariance_KKGG=errors)

    found = fit(frame, *BOTH).hypotheses[0].partial.headline
    expected = headline(x[0], sums, errors[0, 0], others, level=0.95)

    assert found.slope == pytest.approx(expected.slope, rel=1e-6)
    assert found.interval == pytest.approx(expected.interval, rel=1e-6)
    assert found.reliability == pytest.approx(expected.reliability)
    assert abs(errors[0, 1]).max() > 0.5 * abs(errors[0, 0]).max()


def test_revenue_without_sums_over_users_has_no_interval_and_no_partial_slope(two_axes):
    revenue = two_axes.with_columns(
        orders=pl.col("clicks"), units=pl.col("clicks"), revenue=2.5 * pl.col("clicks")
    )
    texts = ("recall:revenue_per_impression:+", "diversity:revenue_per_impression:+")

    found = fit(revenue, *texts).hypotheses[0].partial

    assert found.undefined_reason is UndefinedReason.USER_SUMS_UNKNOWN
    assert found.headline is None
