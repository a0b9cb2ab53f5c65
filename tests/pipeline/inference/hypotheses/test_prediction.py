"""The line's KPI at a metric: by hand, and by known truth."""

from dataclasses import asdict

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from pipeline.artifacts.storage import write_json
from pipeline.core.errors import DataError
from pipeline.inference.glm.group_regression import GroupSums
from pipeline.inference.hypotheses.estimate import estimate_hypotheses
from pipeline.inference.hypotheses.inputs import RegressionInputs
from pipeline.inference.hypotheses.prediction import fitted_line
from pipeline.results.family import Family
from pipeline.results.serialization import to_dict
from pipeline.results.stored import read_hypotheses
from pipeline.study import parse_study

VALUES = [0.2, 0.25, 0.3, 0.4]


def sums_frame(kpi, sums: GroupSums) -> pl.DataFrame:
    """``group_kpis`` of groups g1, g2, … with these sums."""
    columns = {
        name: value.astype(np.int64) for name, value in asdict(sums).items() if name != "family"
    }
    rate = sums.successes / sums.trials
    n = len(rate)
    return pl.DataFrame(
        {
            "group": [f"g{i + 1}" for i in range(n)],
            "preference_id": [f"p{i}" for i in range(n)],
            "kpi": kpi,
            **columns,
            "rate": rate,
            "standard_error": np.sqrt(rate * (1 - rate).clip(0) / sums.trials),
        }
    )


def metrics_frame(values):
    return pl.DataFrame(
        {
            "preference_id": [f"p{i}" for i in range(len(values))],
            "metric": "recall",
            "segment": "all",
            "value": values,
        }
    )


def users_of(rng, rates, *, users, visits, spread=0.0):
    """Impressions and clicks of every user, G × U; a user's rate varies around its group's."""
    shape = (len(rates), users)
    m = rng.integers(1, visits + 1, shape).astype(float)
    own = rng.normal(0, spread, shape)
    line = np.log(np.array(rates) / (1 - np.array(rates)))[:, None] + own
    return m, rng.binomial(m.astype(int), expit(line)).astype(float)


@pytest.fixture
def section(small_params):
    """One hypothesis, recall on CTR."""
    one = {"id": "H1", "metric": "recall", "kpi": "ctr", "direction": "positive", "margin": None}
    regression = {**small_params["regression"], "hypotheses": [one]}
    return parse_study({**small_params, "regression": regression}).regression


def answer_of(tmp_path, section, kpis, values=VALUES):
    """What ``regression_estimates.json`` says of it, read back."""
    (estimate,) = estimate_hypotheses(
        RegressionInputs(metrics_frame(values), None, kpis), section, seed=1
    )
    write_json(tmp_path / "estimates.json", [to_dict(estimate)])
    (answer,) = read_hypotheses(tmp_path / "estimates.json")
    return answer, estimate


def test_the_line_and_its_interval_are_those_of_the_headline(tmp_path, section):
    """At x = 0.7, by the matrices of the report that is read back."""
    rng = np.random.default_rng(5)
    m, y = users_of(rng, [0.2, 0.26, 0.28, 0.4], users=60, visits=6, spread=0.8)
    kpis = sums_frame("ctr", GroupSums.over_users(Family.BINOMIAL, m, y))
    answer, estimate = answer_of(tmp_path, section, kpis)
    found, place = estimate.headline, np.array([1, 0.7])

    at = fitted_line(answer).at(0.2 * 1.7)

    line = place @ [found.intercept, found.slope]
    width = max(np.sqrt(place @ np.array(one) @ place) for one in found.margins)
    assert at.rate == pytest.approx(expit(line))
    assert at.interval == pytest.approx((expit(line - width), expit(line + width)))
    assert at.level == 0.95


def test_the_interval_of_the_slope_is_that_of_the_headline(tmp_path, section):
    rng = np.random.default_rng(6)
    m, y = users_of(rng, [0.2, 0.27, 0.28, 0.4], users=200, visits=5, spread=0.5)
    kpis = sums_frame("ctr", GroupSums.over_users(Family.BINOMIAL, m, y))
    _, estimate = answer_of(tmp_path, section, kpis)
    low, high = estimate.headline.interval

    width = max(np.sqrt(np.array(one)[1, 1]) for one in estimate.headline.margins)

    assert (estimate.headline.slope - width, estimate.headline.slope + width) == pytest.approx(
        (low, high)
    )


def test_beyond_the_groups_the_line_is_carried_on_and_says_so(tmp_path, section):
    rng = np.random.default_rng(7)
    m, y = users_of(rng, [0.2, 0.25, 0.3, 0.4], users=100, visits=5)
    kpis = sums_frame("ctr", GroupSums.over_users(Family.BINOMIAL, m, y))
    line = fitted_line(answer_of(tmp_path, section, kpis)[0])

    found = {metric: line.at(metric) for metric in (0.19, 0.2, 0.3, 0.4, 0.5)}

    assert [one.is_extrapolated for one in found.values()] == [True, False, False, False, True]
    widths = {metric: np.diff(one.interval)[0] for metric, one in found.items()}
    assert widths[0.5] > widths[0.4] > widths[0.3]


@pytest.mark.slow
def test_the_interval_holds_the_true_kpi_as_often_as_it_says(tmp_path, section):
    """A true line, users who differ: of 100 experiments, the interval at a place between groups
    misses at most as many as 5% allow (0.05 · 100 + 3.1 · √(100 · 0.05 · 0.95) < 12)."""
    rng = np.random.default_rng(8)
    x = np.array(VALUES) / 0.2 - 1
    rates = expit(-1.4 + 0.8 * x)
    # the mean over users whose log odds vary by 0.3 lies nearer to 1/2 than expit of the mean
    draws = rng.normal(0, 0.3, 200_000)
    truth = expit(-1.4 + 0.8 * 0.7 + draws).mean()
    missed = 0
    for _ in range(100):
        m, y = users_of(rng, rates, users=400, visits=5, spread=0.3)
        kpis = sums_frame("ctr", GroupSums.over_users(Family.BINOMIAL, m, y))
        low, high = fitted_line(answer_of(tmp_path, section, kpis)[0]).at(0.34).interval
        missed += not low <= truth <= high

    assert missed < 12


def test_an_answer_without_a_slope_has_no_line(tmp_path, section):
    sums = GroupSums.over_users(Family.BINOMIAL, np.ones((4, 9)), np.zeros((4, 9)))
    kpis = sums_frame("ctr", sums)
    answer, _ = answer_of(tmp_path, section, kpis)

    assert answer.undefined_reason == "no_successes"
    assert fitted_line(answer) is None


@pytest.mark.parametrize("content", ["", "{}", "[{}]", '[{"id": "H1"}]'])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path, content):
    file = tmp_path / "regression_estimates.json"
    file.write_text(content)

    with pytest.raises(DataError, match=r"regression_estimates.json is not valid: .* Re-run"):
        read_hypotheses(file)
