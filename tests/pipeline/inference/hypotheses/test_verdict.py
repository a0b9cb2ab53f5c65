"""The rules of the verdict, case by case."""

import pytest
from scipy import stats

from pipeline.inference.hypotheses.verdict import detectable_slope, required_trials, verdict
from pipeline.results.reasons import Target, Verdict
from pipeline.study import PAPER_HYPOTHESES
from tests.pipeline.results.samples import headline

H1, _, _, H4 = PAPER_HYPOTHESES  # H1 expects a positive slope, H4 a negative one
ABOVE, BELOW = (0.1, 0.5), (-0.5, -0.1)

OPPOSITE = {
    Verdict.CONFIRMED: Verdict.CONTRADICTED,
    Verdict.SUGGESTIVE: Verdict.SUGGESTIVE_OPPOSITE,
    Verdict.INCONCLUSIVE: Verdict.INCONCLUSIVE,
}


@pytest.mark.parametrize(
    ("level", "p_value", "expected"),
    [
        (0.95, 0.049, Verdict.CONFIRMED),
        (0.95, 0.0501, Verdict.SUGGESTIVE),
        (0.95, 0.099, Verdict.SUGGESTIVE),
        (0.95, 0.1001, Verdict.INCONCLUSIVE),
        (0.96, 0.039, Verdict.CONFIRMED),  # at the planned end under daily looks
        (0.96, 0.0401, Verdict.SUGGESTIVE),
        (0.96, 0.099, Verdict.SUGGESTIVE),
    ],
)
def test_both_directions_need_the_same_evidence(level, p_value, expected):
    above, below = (headline(ends, p_value=p_value, level=level) for ends in (ABOVE, BELOW))

    found = [verdict(one, two, level=0.95) for one in (H1, H4) for two in (above, below)]

    assert found == [expected, OPPOSITE[expected], OPPOSITE[expected], expected]


@pytest.mark.parametrize(
    ("p_value", "expected"),
    [(0.0001, Verdict.SUGGESTIVE), (0.049, Verdict.SUGGESTIVE), (0.0501, Verdict.INCONCLUSIVE)],
)
def test_two_groups_are_suggestive_at_most(p_value, expected):
    two = headline(ABOVE, p_value=p_value, interval=None, target=Target.THESE_GROUPS)

    assert verdict(H1, two, level=0.95) is expected


def test_days_that_contradict_each_other_are_inconclusive():
    assert verdict(H1, headline(ABOVE, conflicting=True), level=0.95) is Verdict.INCONCLUSIVE


def test_a_slope_that_cannot_be_tested_is_undefined():
    assert verdict(H1, headline(ABOVE, p_value=None), level=0.95) is Verdict.UNDEFINED


def test_an_unhealthy_experiment_blocks_whatever_was_found():
    assert verdict(H1, headline(ABOVE), level=0.95, healthy=False) is Verdict.BLOCKED


def test_the_detectable_slope_by_hand():
    # five groups: t with 3 degrees of freedom, (3.182446 + 0.978472) times the error of 1
    assert detectable_slope(headline(ABOVE), 5) == pytest.approx(4.160918, abs=1e-5)
    assert detectable_slope(headline(ABOVE, standard_error=None), 5) is None


def test_required_trials_by_hand():
    multiple = stats.t(3).ppf(0.975) + stats.t(3).ppf(0.8)
    users_alone = headline((0.0, 1.0))

    # the slope is 0.5, its error 1: (multiple / 0.5)² times as many
    assert required_trials(users_alone, 5, 1000) == pytest.approx((2 * multiple) ** 2 * 1000, abs=2)


def test_where_the_groups_deviate_too_far_no_number_of_trials_is_enough():
    # slope 0.5; of the error of 1 the users have 0.6, the groups 0.8, which trials do not shrink
    assert required_trials(headline((0.0, 1.0), users_standard_error=0.6), 5, 1000) is None
    # slope 5: (5 / multiple)² - 0.8² is left for 0.6² · 1000 / n
    multiple = stats.t(3).ppf(0.975) + stats.t(3).ppf(0.8)
    found = required_trials(headline((0.0, 10.0), users_standard_error=0.6), 5, 1000)
    assert found == pytest.approx(1000 * 0.36 / ((5 / multiple) ** 2 - 0.64), abs=2)


def test_a_slope_of_0_requires_any_number():
    assert required_trials(headline((-1.0, 1.0)), 5, 1000) is None
