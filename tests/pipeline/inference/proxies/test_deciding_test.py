"""The next experiment: its power by independent simulation, and what makes it larger."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

import paretoscope as ps
from pipeline.inference.proxies.deciding_test import Rivals, deciding_test


def tied():
    """30 past tests that moved both metrics together."""
    rng = np.random.default_rng(2)
    true = rng.normal(0, 0.02, 30)
    other = true + 0.002 * rng.normal(size=30)
    lift = 0.5 * true + rng.normal(0, 0.002, 30)
    seen = [one + 0.002 * rng.normal(size=30) for one in (true, other)]
    return pl.DataFrame(
        {
            "test": [f"t{n}" for n in range(30)],
            "first": seen[0],
            "first_se": 0.002,
            "second": seen[1],
            "second_se": 0.002,
            "ctr_lift": lift + 0.003 * rng.normal(size=30),
            "ctr_lift_se": 0.003,
        }
    )


@pytest.fixture(scope="module")
def rivals():
    best, rival = ps.past_tests(tied()).proxies
    return Rivals(
        best=best,
        rival=rival,
        evidence=0.5,
        change=0.02,
        correlation=0.99,
        change_error=0.002,
        lift_error=0.003,
    )


def test_tied_metrics_get_the_test_that_decides():
    found = ps.past_tests(tied())

    (launches,) = found.document.launches
    (planned,) = launches.deciding_tests
    assert {planned.best, planned.rival} == {"first", "second"}
    assert planned.correlation > 0.9
    assert any(note.startswith("To decide between") for note in found.notes())


def test_its_power_is_that_of_contrasts_with_a_common_control(rivals):
    planned = deciding_test(rivals, np.random.default_rng(0))

    # the likelihoods of whole tests, whose contrasts share the control: half of every variance
    rng = np.random.default_rng(1)
    c, error = planned.variants, planned.standard_error
    best, rival = rivals.best.line, rivals.rival.line
    change = rivals.change * np.resize([1, -1], c)
    shape = (np.eye(c) + 1) / 2
    own = (best.tau**2 + error**2 + (best.slope * rivals.change_error) ** 2) * shape
    decided = []
    for _ in range(1_500):
        slope = best.slope + best.standard_error * rng.standard_normal()
        lifts = rng.multivariate_normal(slope * change, own)
        ratio = stats.multivariate_normal.logpdf(lifts, best.slope * change, own)
        ratio -= stats.multivariate_normal.logpdf(
            lifts, np.zeros(c), (rival.tau**2 + error**2) * shape
        )
        decided.append(rivals.evidence + ratio > np.log(19))
    assert planned.power >= 0.8
    assert np.mean(decided) == pytest.approx(planned.power, abs=0.045)


def test_less_knowledge_and_larger_deviations_need_more_users(rivals):
    rng = np.random.default_rng(0)
    usual, ahead = (
        deciding_test(replace(rivals, evidence=one), rng) for one in (0.0, np.log(19) - 0.1)
    )
    line = replace(rivals.best.line, tau=0.2)
    hopeless = replace(
        rivals,
        best=replace(rivals.best, line=line),
        rival=replace(rivals.rival, line=replace(rivals.rival.line, tau=0.2)),
    )

    assert ahead.variants * ahead.size < usual.variants * usual.size
    assert deciding_test(hopeless, rng) is None
